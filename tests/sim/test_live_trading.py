"""Live sessions as a user starts them, on the exchange over TLS with a key from a file; its ledger is the judge."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import trustme
from rig.exchange_bybit import BybitServer
from rig.journal import wait_for
from rig.live_trading import VENUE, Books, key_file, trading, trading_settings
from rig.session import Running, run_command

from bot4.adapters.system.instance import instance_of
from bot4.adapters.system.secret import check_key_file, read_key_file
from bot4.model import enums as e
from bot4.model.errors import InputError, SettingsError
from bot4.model.records import JOURNAL_DAY, JOURNAL_EVENT, JOURNAL_SAMPLE, JOURNAL_START
from bot4.shm.wiring import unlink_leftovers
from workers.session import StartOptions, prepare

pytestmark = pytest.mark.compiled
VALUE_E8 = 10_000  # of one tick of one lot
FILLS, KILLS = 8, 2
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def strategies_are_found(monkeypatch):
    """The workers import the busy strategy, which lies in the tests."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "tests"))


def filled(fills):
    return lambda line: line["kind"] == "status" and line["state"] == "active" and line["fills"] >= fills


def stopped(running, folder):
    """Stop it as a user does; execution's process was not to be looked into."""
    line = running.until(filled(FILLS))
    pid = line["workers"]["execution"]["pid"]
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    assert next(text for text in limits if text.startswith("Max core file size")).split()[4:6] == ["0", "0"]
    command = [sys.executable, "-m", "bot4.cli.supervisor", "stop", "--config", folder / "config" / "live.toml"]
    told = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    code, _, error = running.finish()  # somebody has to read what it says while it ends
    _, why = told.communicate(timeout=120)
    assert (code, told.returncode) == (0, 0), (error, why)


def judged(server, folder):
    """Position and cash are the exchange's to the smallest unit, and no order went out twice."""
    row = server.done("GET", "position/list", category="linear", symbol="BTCUSDT")["list"][0]
    held = round(float(row["size"]) * 1_000) * (-1 if row["side"] == "Sell" else 1)
    key, secret = server.ready["api_key"], server.ready["api_secret"]
    server.conserved()
    server.stop()
    books = Books(server.ledger, folder / "config" / "state")
    assert books.lots == books.told_lots == held
    assert books.gained_e8 == books.told_gain_e8(VALUE_E8) != 0
    assert len(books.fills) == len(books.told) >= FILLS
    assert max(books.sent.values()) == max(books.accepted.values()) == 1
    journaled = {f"{int(one['id_hi']):016x}{int(one['id_lo']):016x}" for one in books.intents}
    assert set(books.accepted) <= set(books.sent) <= journaled
    kept = [path for path in (folder / "config" / "state").rglob("*") if path.is_file()]
    shown = [path for path in kept if key.encode() in path.read_bytes() or secret.encode() in path.read_bytes()]
    assert not shown
    return books


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "exchange"
    folder.mkdir()
    with BybitServer(folder, "--tls", market="generated:7") as made:
        yield made


def test_a_live_session_ends_with_the_exchanges_own_numbers(tmp_path, server):
    with trading(tmp_path, server) as running:
        stopped(running, tmp_path)
    report = (tmp_path / "report" / "session.json").read_text()
    assert '"mode":"live"' in report.replace(" ", "") and "simulated venue" not in report
    books = judged(server, tmp_path)
    assert {int(one["id_hi"]) & 0xFFFF for one in books.intents} == {1}  # the first session of this state folder
    assert (tmp_path / "config" / "state" / "generation").read_text() == "1"


@pytest.mark.data
def test_a_recorded_market_that_moves_at_once_is_traded_only_when_the_account_is_known(tmp_path, data_dir):
    """Ten times as fast as it was: the strategy wants in while the venue is still asked what there is."""
    folder = tmp_path / "exchange"
    folder.mkdir()
    file = data_dir / "hftbacktest" / "usdm" / "btcusdt_20230404.dat.gz"
    with BybitServer(folder, "--tls", "--loop", "--speed", "10x", market=f"recorded:{file}") as server:
        with trading(tmp_path, server) as running:
            stopped(running, tmp_path)
        server.conserved()
        server.stop()
        books = Books(server.ledger, tmp_path / "config" / "state")
    before, after = books.fills[: len(books.told)], books.fills[len(books.told) :]  # the market went on without us
    sides = {"buy": 1, "sell": -1}
    assert len(before) >= FILLS and books.told_lots == sum(sides[one["side"]] * one["qty_lots"] for one in before)
    ends = {f"{leg:02x}" for leg in (e.LEG_STOP, e.LEG_PROFIT)}  # which stay at the venue
    assert {one["client_order_id"][24:26] for one in after} <= ends, after
    assert max(books.sent.values()) == max(books.accepted.values()) == 1
    asked = [record["type"] for record in books.journal if record["type"] not in (JOURNAL_SAMPLE, JOURNAL_DAY)][:2]
    assert asked == [JOURNAL_START, JOURNAL_EVENT], "the end of what the venue said comes before any order"


def test_execution_killed_in_the_middle_loses_and_doubles_nothing(tmp_path, server):
    with trading(tmp_path, server) as running:
        for kill in range(KILLS):
            line = running.until(filled(FILLS * kill // KILLS))
            os.kill(line["workers"]["execution"]["pid"], signal.SIGKILL)
            running.until(lambda line, kill=kill: line["kind"] == "status"
                          and line["workers"]["execution"]["restarts"] > kill)  # fmt: skip
        stopped(running, tmp_path)
    judged(server, tmp_path)


def refused(config, feed="live"):
    """What a start says, before anything is begun."""
    with pytest.raises(InputError) as told:
        prepare(StartOptions(config=config, feed=feed))
    return str(told.value)


def test_what_a_live_session_does_not_start_with(tmp_path, server):
    config = trading_settings(tmp_path, server.ready)
    prepare(StartOptions(config=config, feed="live"))
    text, key = config.read_text(), tmp_path / "key.toml"
    assert "write --feed live" in refused(config, "synthetic")
    for mode in (0o600, 0o440, 0o404):
        key.chmod(mode)
        assert f"has mode {mode:04o}" in refused(config)
    key.chmod(0o400)
    for field, name in (("rest_url", "rest"), ("ws_url", "ws"), ("ws_private_url", "ws_private")):
        scheme = server.ready[name].partition(":")[0]
        config.write_text(text.replace(f'{field} = "{server.ready[name]}"', f'{field} = "{scheme}://api.bybit.com"'))
        told = refused(config)
        assert f"venue.{VENUE}.{field}: api.bybit.com is another machine" in told and "certificate" in told
        config.write_text("\n".join(line for line in text.splitlines() if not line.startswith(f"{field} =")))
        assert f"venue.{VENUE}.{field}: missing" in refused(config)
    config.write_text("\n".join(line for line in text.splitlines() if not line.startswith("key_file")))
    assert "key_file" in refused(config)
    config.write_text(text.replace('mode = "live"', 'mode = "paper"'))
    assert "venue.sim: missing" in refused(config)
    config.write_text(text)
    instruments = config.with_name("instruments.toml")
    listed = instruments.read_text()
    for field, old, new in (("tick_size", "0.1", "0.01"), ("lot_size", "0.001", "0.0001"), ("min_notional", "5", "4"),
                            ("max_qty", "100", "100000"), ("symbol", "BTCUSDT", "XYZUSDT")):  # fmt: skip
        instruments.write_text(listed.replace(f'{field} = "{old}"', f'{field} = "{new}"'))
        assert (new if field == "symbol" else f"instrument[0].{field}") in refused(config)
    instruments.write_text(listed)
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    config.write_text(text.replace(server.ready["ca"], str(other)))
    assert "certificate refused: " in (told := refused(config)) and 'copy its "ca" and key anew' in told
    config.write_text(text)
    server.fault(kind="error_before", endpoint="GET /v5/market/instruments-info")
    assert "its instruments cannot be had" in refused(config)


def test_more_money_than_the_account_holds_ends_the_start(tmp_path, server):
    config = trading_settings(tmp_path, server.ready)
    config.write_text(config.read_text().replace('equity = "100000"', 'equity = "100001"'))
    found = run_command("start", "--config", config, "--feed", "live", folder=tmp_path)
    assert (found.returncode, len(found.stderr.splitlines())) == (2, 1), found.stderr
    assert "account.equity: the account holds 100000 only" in found.stderr


def test_fees_that_are_less_than_the_venue_takes_end_the_start(tmp_path, server):
    config = trading_settings(tmp_path, server.ready)
    file = config.with_name("instruments.toml")
    file.write_text(file.read_text().replace('maker_fee_bps = "2"', 'maker_fee_bps = "1.99"'))
    found = run_command("start", "--config", config, "--feed", "live", folder=tmp_path)
    assert (found.returncode, len(found.stderr.splitlines())) == (2, 1), found.stderr
    assert "instruments.toml: maker_fee_bps of BTCUSDT: 1.99 is less" in found.stderr


def test_a_key_is_told_by_systemd_too(tmp_path, monkeypatch):
    ready = {"api_key": "k" * 20, "api_secret": "s" * 20}
    path = key_file(tmp_path, ready)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_key_file("key.toml", "at") == ("k" * 20, "s" * 20)
    path.chmod(0o440)
    check_key_file("key.toml", "at")
    path.chmod(0o444)
    with pytest.raises(SettingsError, match="credential"):
        read_key_file("key.toml", "at")
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(SettingsError, match="no plain file"):
        check_key_file(str(link), "at")
    path.chmod(0o600)
    path.write_text('api_key = "not-to-be-shown"\n')
    path.chmod(0o400)
    with pytest.raises(SettingsError, match="no file of a key") as told:
        read_key_file(str(path), "at")
    assert "shown" not in str(told.value)


def stopped_with_entries_resting(folder, server, *faults):
    """Exit code, last line and errors of a session that is stopped while an entry rests that would do so a minute."""
    config = trading_settings(folder, server.ready)
    text = config.read_text().replace("entry_style = 0", "entry_style = 1")
    config.write_text(text.replace("entry_life_ns = 1000000000", "entry_life_ns = 60000000000"))
    running = Running(config, "--feed", "live", "--report", folder / "report")
    try:
        running.until(lambda line: line["kind"] == "status" and line["orders"] > 0)
        wait_for(lambda: opening(server))
        for fault in faults:
            server.fault(**fault)
        running.process.terminate()
        return running.finish()
    finally:
        running.close()


def test_a_session_that_stops_leaves_nothing_open_that_opens(tmp_path, server):
    """A stop takes entries back, and what has been filled keeps its stop."""
    code, last, error = stopped_with_entries_resting(tmp_path, server)
    assert (code, last["state"]) == (0, "stopped"), error
    assert opening(server) == []
    held = float(server.done("GET", "position/list", category="linear", symbol="BTCUSDT")["list"][0]["size"] or 0)
    assert sum(float(row["qty"]) for row in resting(server) if row["stopOrderType"]) == held


def test_a_stop_that_cannot_take_back_what_opens_says_so(tmp_path, server):
    refuses = {"kind": "error_before", "endpoint": "POST /v5/order/cancel"}
    nothing_trades = {"kind": "halt", "symbol": "BTCUSDT"}
    code, _, error = stopped_with_entries_resting(tmp_path, server, nothing_trades, refuses)
    assert code == 1 and "left at the venue after 8 s of stopping: entry 0" in error, error
    assert " of BTCUSDT" in error and "bot4-kill --flatten" in error
    assert opening(server)


def test_a_position_whose_stop_and_close_are_lost_is_closed_before_anybody_knows_of_them(tmp_path, server):
    """Neither of them is proven not to have landed for thirteen seconds; the second close does not wait for that."""
    config = trading_settings(tmp_path, server.ready)
    config.write_text(config.read_text().replace("min_hold_ns = 0", "min_hold_ns = 600000000000"))
    server.fault(kind="timeout_before", endpoint="POST /v5/order/create", skip=1, times=2)  # behind the entry
    running = Running(config, "--feed", "live", "--report", tmp_path / "report")
    try:
        running.until(lambda line: line["kind"] == "status" and line["fills"] >= 2
                      and line["positions"]["BTCUSDT"]["lots"] == 0)  # fmt: skip
    finally:
        running.close()
        unlink_leftovers(os.getuid(), instance_of(tmp_path / "config" / "state"))
    server.stop()
    books = Books(server.ledger, tmp_path / "config" / "state")
    ended = books.events[np.isin(books.events["kind"], (e.REPORT_NOT_FOUND, e.REPORT_REJECT))]
    refused = {identity(one) for one in ended}  # before the gateway was ready, for one
    orders = [one for one in books.intents if identity(one) not in refused][:4]
    # of the stop and the first close nothing is known yet, or they would not be among them
    assert [int(one["leg"]) for one in orders] == [e.LEG_ENTRY, e.LEG_STOP, e.LEG_FLATTEN, e.LEG_FLATTEN]
    links = [identity(one) for one in orders]
    assert [books.accepted[link] for link in links] == [1, 0, 0, 1]
    filled_lots = [sum(int(fill["qty_lots"]) for fill in books.told if identity(fill) == link) for link in links]
    assert filled_lots == [filled_lots[0], 0, 0, filled_lots[0]] and filled_lots[0] > 0


def identity(one):
    """A record's order id as the exchange knows it."""
    return f"{int(one['id_hi']):016x}{int(one['id_lo']):016x}"


def test_after_the_death_of_everybody_the_venue_takes_back_what_opens(tmp_path, server):
    config = trading_settings(tmp_path, server.ready)
    text = config.read_text().replace("key_file", "dead_man_s = 3\nkey_file")
    text = text.replace("entry_style = 0", "entry_style = 1")
    config.write_text(text.replace("entry_life_ns = 1000000000", "entry_life_ns = 60000000000"))
    running = Running(config, "--feed", "live", "--report", tmp_path / "report")
    try:
        running.until(lambda line: line["kind"] == "status" and line["orders"] > 0)
        wait_for(lambda: opening(server))
        server.fault(kind="halt", symbol="BTCUSDT")  # it rests, whatever the market does
        line = running.until(lambda line: line["kind"] == "status" and line["dead_man"] == "armed")
        for pid in (running.process.pid, *(one["pid"] for one in line["workers"].values())):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not opening(server))
    finally:
        running.close()
        state = tmp_path / "config" / "state"
        if state.is_dir():
            unlink_leftovers(os.getuid(), instance_of(state))  # as the next start does
    assert "disconnection protection" in server.ledger.read_text()


def opening(server):
    """What opens there once it is filled."""
    time.sleep(0.2)  # the exchange counts how often it is asked
    return [row for row in resting(server) if not row["reduceOnly"]]


def resting(server):
    """What is open at the exchange."""
    return server.done("GET", "order/realtime", category="linear", settleCoin="USDT", openOnly=0, limit=50)["list"]
