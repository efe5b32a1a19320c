"""`bot4-kill` against `bot4-exchange` as Bybit over TLS: what is open afterwards is what the exchange says."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest
from rig.exchange_bybit import BTC, BybitServer, order
from rig.live_trading import trading_settings

from bot4.adapters.system import latch
from bot4.settings.loader import load_state_folder

COMMAND = [sys.executable, "-m", "bot4.cli.kill"]
PAGES = 130  # orders: three pages of the list, and the last one is not full
BATCH = 10
BUSY = 10006  # too many orders a second


def kill(config: Path, *options: str) -> tuple[int, dict]:
    """Run it: exit code, and what it says."""
    command = [*COMMAND, "--config", config, "--reason", "drill", "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=os.environ)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def still_open(server: BybitServer) -> list[dict]:
    """Every open order, page by page."""
    rows, cursor = [], ""
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = server.done("GET", "order/realtime", category="linear", settleCoin="USDT", openOnly=0, limit=50, **more)
        rows += page["list"]
        cursor = page["nextPageCursor"]
        if not cursor or not page["list"]:
            return rows


def held(server: BybitServer) -> Decimal:
    """The position in BTC."""
    (row,) = server.done("GET", "position/list", category="linear", symbol=BTC)["list"]
    return Decimal(row["size"]) * (-1 if row["side"] == "Sell" else 1)


def fill_up(server: BybitServer, orders: int) -> None:
    """A position with its stop, and orders that rest far from the market, some of them without a name of ours."""
    last = float(server.get("market/tickers", category="linear", symbol=BTC)["list"][0]["lastPrice"])
    server.done("POST", "order/create", **order("Buy", "0.02"))
    stop = {"triggerPrice": f"{last * 0.8:.1f}", "triggerDirection": 2, "reduceOnly": True}
    server.done("POST", "order/create", **order("Sell", "0.02", **stop))
    fields = [
        order("Buy", "0.001", f"{last * 0.7 - number:.1f}", **({"orderLinkId": f"{number:032x}"} if number % 3 else {}))
        for number in range(orders)
    ]
    for begin in range(0, orders, BATCH):
        batch = {"category": "linear", "request": fields[begin : begin + BATCH]}
        while server.signed("POST", "order/create-batch", **batch)[1]["retCode"] == BUSY:
            time.sleep(0.05)


@pytest.fixture
def server(tmp_path):
    with BybitServer(tmp_path, "--tls", market="generated:7") as running:
        yield running


def test_everything_but_the_stop_goes_and_the_latch_is_set(server, tmp_path):
    config = trading_settings(tmp_path, server.ready)
    fill_up(server, PAGES)
    assert len(still_open(server)) == PAGES + 1
    code, said = kill(config)
    assert (code, said["latch"], said["proven"], said["left"]) == (0, "tripped", True, [])
    assert (said["cancelled"], said["stops"], said["positions"]) == (PAGES, 1, {BTC: 20})
    (left,) = still_open(server)
    assert left["stopOrderType"] and left["reduceOnly"]
    state = latch.read(next(tmp_path.rglob(latch.FILE_NAME)))
    assert state.tripped and state.reason == "drill"

    code, said = kill(config, "--flatten")  # again, with the position
    assert (code, said["proven"], said["positions"], said["stops"]) == (0, True, {}, 0)
    assert still_open(server) == [] and held(server) == 0


def test_what_the_settings_do_not_name_is_the_accounts_too(server, tmp_path):
    config = trading_settings(tmp_path, server.ready)
    fill_up(server, 2)
    ether = {"category": "linear", "symbol": "ETHUSDT", "side": "Buy", "qty": "0.1"}
    server.done("POST", "order/create", **ether, orderType="Market")
    server.done("POST", "order/create", **ether, orderType="Limit", price="2800")
    code, said = kill(config)
    assert (code, said["proven"], said["cancelled"]) == (0, True, 3)
    assert said["positions"] == {BTC: 20, "ETHUSDT": 10_000_000}
    code, said = kill(config, "--flatten")
    assert (code, said["proven"], said["positions"]) == (0, True, {}) and still_open(server) == []


@pytest.mark.parametrize("kind", ["error_before", "timeout_after", "garbage"])
def test_a_venue_in_trouble_is_asked_until_it_answers(tmp_path, kind):
    scenario = "".join(
        f'[[fault]]\nkind = "{kind}"\nendpoint = "{endpoint}"\ntimes = 2\nskip = {skip}\n'
        for endpoint, skip in (("POST /v5/order/cancel*", 0), ("GET /v5/market/time", 0), ("GET /v5/order/realtime", 0))
    )
    with BybitServer(tmp_path, "--tls", scenario="seed = 3\n" + scenario, market="generated:7") as server:
        config = trading_settings(tmp_path, server.ready)
        fill_up(server, 10)
        code, said = kill(config)
        assert (code, said["proven"], said["left"], said["stops"]) == (0, True, [], 1), said
        assert len(still_open(server)) == 1


def test_what_could_not_be_taken_back_is_named_and_nothing_is_called_proven(tmp_path):
    scenario = '[[fault]]\nkind = "error_before"\nendpoint = "POST /v5/order/cancel*"\nstatus = 503\n'
    with BybitServer(tmp_path, "--tls", scenario="seed = 3\n" + scenario, market="generated:7") as server:
        config = trading_settings(tmp_path, server.ready)
        fill_up(server, 4)
        code, said = kill(config, "--timeout", "2")
        assert (code, said["proven"], len(said["left"]), said["cancelled"]) == (1, False, 4, 0)
        assert said["latch"] == "tripped" and said["trouble"].startswith("no end in time at: ")
        assert said["seconds"] < 30


def test_while_the_venue_is_gone_it_says_what_it_waits_for(server, tmp_path):
    config = trading_settings(tmp_path, server.ready)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    config.write_text(re.sub(r'(?m)^rest_url = ".*"$', f'rest_url = "https://127.0.0.1:{port}"', config.read_text()))
    command = [*COMMAND, "--config", config, "--reason", "drill", "--timeout", "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1 and "NOT PROVEN" in done.stdout, done
    lines = done.stderr.splitlines()
    assert lines and all(line.startswith("bot4-kill: still at: ") and "refused" in line for line in lines), done


def test_without_the_venues_clock_orders_are_taken_back_all_the_same_and_only_what_reduces_stays(tmp_path):
    scenario = '[[fault]]\nkind = "error_before"\nendpoint = "GET /v5/market/time"\nstatus = 503\n'
    with BybitServer(tmp_path, "--tls", scenario="seed = 3\n" + scenario, market="generated:7") as server:
        config = trading_settings(tmp_path, server.ready)
        fill_up(server, 3)
        opening = {"triggerPrice": "200000", "triggerDirection": 1}
        server.done("POST", "order/create", **order("Buy", "0.01", **opening))
        code, said = kill(config)
        assert (code, said["proven"], said["left"], said["cancelled"], said["stops"]) == (0, True, [], 4, 1), said
        (left,) = still_open(server)
        assert left["reduceOnly"]


def test_what_the_venue_has_not_said_is_not_called_nothing(server, tmp_path):
    config = trading_settings(tmp_path, server.ready)
    server.process.kill()
    server.process.wait()
    code, said = kill(config, "--timeout", "1")
    assert (code, said["proven"], said["positions"], said["stops"]) == (1, False, None, None)


def test_a_close_that_finds_nothing_left_turns_no_position(tmp_path):
    late = '[[fault]]\nkind = "late_before"\nendpoint = "POST /v5/order/create"\nskip = 2\ntimes = 1\n'
    with BybitServer(tmp_path, "--tls", scenario=f"seed = 3\n{late}delay_ms = 1_500\n", market="generated:7") as server:
        config = trading_settings(tmp_path, server.ready)
        fill_up(server, 1)

        def asked() -> int:
            return sum('"/v5/order/create"' in line for line in server.ledger.read_text().splitlines())

        command = [*COMMAND, "--config", config, "--reason", "drill", "--flatten"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
            while asked() < 3:
                time.sleep(0.01)
            server.done("POST", "order/create", **order("Sell", "0.02"))  # as its stop would, before the close lands
        assert running.returncode == 0 and held(server) == 0
        fills = [json.loads(line) for line in server.ledger.read_text().splitlines() if '"kind":"fill"' in line]
        assert sum(fill["qty_lots"] for fill in fills if fill["account"] == "main") == 40


def test_a_latch_that_cannot_be_written_keeps_no_order_alive(server, tmp_path):
    config = trading_settings(tmp_path, server.ready)
    fill_up(server, 2)
    folder = next(line.split('"')[1] for line in config.read_text().splitlines() if line.startswith("folder"))
    shutil.rmtree(folder, ignore_errors=True)
    Path(folder).write_text("no folder")
    code, said = kill(config)
    assert (code, said["proven"], said["left"]) == (1, True, []) and "cannot be written" in said["latch"]
    assert len(still_open(server)) == 1


def test_a_typo_in_limits_or_instruments_keeps_no_order_alive(server, tmp_path):
    config = trading_settings(tmp_path, server.ready)
    instruments = config.with_name("instruments.toml")
    given = instruments.read_text()
    for file in (config.with_name("limits.toml"), config.with_name("topology.toml"), instruments):
        file.write_text("oops = = 1\n")
    fill_up(server, 3)
    code, said = kill(config)
    assert (code, said["latch"], said["proven"], said["positions"]) == (0, "tripped", True, {BTC: 2_000_000})
    assert "instruments.toml: not TOML" in said["sizes"] and "1e-8" in said["sizes"]

    for session, text in (("1", given), ("2", "not a table")):
        inputs = load_state_folder(config) / "sessions" / session / "inputs"
        inputs.mkdir(parents=True)
        (inputs / instruments.name).write_text(text)
    code, said = kill(config)
    assert (code, said["proven"], said["positions"]) == (0, True, {BTC: 20})
    assert "sessions/1/inputs/instruments.toml are used" in said["sizes"]


def test_the_latch_is_set_before_anything_else_is_read(tmp_path):
    """A session's file of which nothing but the state folder can be used."""
    config = tmp_path / "live.toml"
    config.write_text(f'mode = "lively"\n[state]\nfolder = "{tmp_path / "state"}"\nstrict = "perhaps"\n')
    code, said = kill(config)
    assert code == 2 and f"the kill latch of {tmp_path / 'state'} is set, and nothing else was done" in said["error"]
    assert latch.read(tmp_path / "state" / latch.FILE_NAME).reason == "drill"
    config.write_text("[state\n")
    code, said = kill(config)
    assert (
        code == 2 and "not TOML" in said["error"] and "NOT set" in said["error"] and "--state FOLDER" in said["error"]
    )


def test_bad_settings_are_one_line(tmp_path):
    for options, expected in (
        (("--config", tmp_path / "none.toml", "--reason", "x"), "no such file"),
        (("--config", "config/paper.toml", "--reason", " "), "--reason is empty"),
        (("--timeout", "-1", "--reason", "x"), "--timeout -1: write seconds"),
    ):
        done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2 and expected in done.stderr and done.stderr.count("\n") == 1, done.stderr
