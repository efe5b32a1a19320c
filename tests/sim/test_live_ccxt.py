"""A live session and the kill program through ccxt, as a user starts them; the exchange's ledger is the judge."""

import os
import signal
from pathlib import Path

import pytest
from rig.exchange_bybit import BTC, BybitServer
from rig.journal import wait_for
from rig.live_trading import trading, trading_settings
from sim.test_gateway_ccxt import gone
from sim.test_kill_program import fill_up, held, kill, still_open
from sim.test_live_trading import FILLS, REPOSITORY, filled, judged, refused, stopped

from workers.session import StartOptions, prepare

pytestmark = pytest.mark.compiled
GONE = "GONEUSDT"
WATCH = """import os, sys
def _seen(event, of):
    if event == "import" and of[0].split(".")[0] in ("ccxt", "aiohttp"):
        with open({path!r}, "a") as file:
            file.write(" ".join(sys.orig_argv) + "\\n")
sys.addaudithook(_seen)
"""


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "exchange"
    folder.mkdir()
    with BybitServer(folder, "--tls", market="generated:7") as made:
        yield made


def child_of(parent):
    """ccxt's process of that one; 0: none."""
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            try:
                above = int((place / "stat").read_text().rpartition(") ")[2].split()[1])
                if above == parent and b"workers.ccxt_venue" in (place / "cmdline").read_bytes():
                    return int(place.name)
            except (OSError, IndexError, ValueError):
                continue
    return 0


def test_a_session_through_ccxt_whose_process_and_whose_execution_are_killed(tmp_path, server, monkeypatch):
    """Whoever of its processes imports ccxt is written down."""
    seen = tmp_path / "imports"
    (tmp_path / "sitecustomize.py").write_text(WATCH.format(path=str(seen)))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{REPOSITORY / 'tests'}")
    with trading(tmp_path, server, ccxt=True) as running:
        line = running.until(filled(1))
        assert line["dead_man"] == "none at this venue"
        execution = line["workers"]["execution"]["pid"]
        first = child_of(execution)
        os.kill(first, signal.SIGKILL)
        running.until(filled(FILLS // 2))
        second = child_of(execution)
        assert second not in (0, first)
        os.kill(execution, signal.SIGKILL)
        line = running.until(lambda line: line["kind"] == "status" and line["workers"]["execution"]["restarts"] > 0)
        wait_for(lambda: gone(second))
        stopped(running, tmp_path)
    judged(server, tmp_path)
    by = seen.read_text().splitlines()
    assert by and all("workers.ccxt_venue" in one for one in by)


def test_what_a_session_through_ccxt_does_not_start_with(tmp_path, server):
    config = trading_settings(tmp_path, server.ready, ccxt=True)
    (told,) = (one for one in prepare(StartOptions(config=config, feed="live")).warnings if "ccxt" in one)
    assert "no dead-man's switch" in told
    text = config.read_text()
    for old, new, said in (
        ('"bybit"', '"kraken"', "venue.bybit_linear.ccxt: kraken is not how ccxt trades on bybit_linear; write bybit"),
        ('"bybit"', '"Bybit"', "is no CCXT; write ccxt's name of a venue"),
        ("key_file", "dead_man_s = 30\nkey_file", "dead_man_s: ccxt knows no dead-man's switch; write 0"),
        (
            "[venue.bybit_linear]",
            "[venue.kraken]",
            "venue.kraken.key_file: orders cannot be sent to kraken, natively or",
        ),
        (
            "[venue.bybit_linear]",
            "[venue.coinbase]",
            "coinbase, natively or through ccxt: a stop there becomes a limit",
        ),
    ):
        config.write_text(text.replace(old, new))
        assert said in refused(config)


def with_other_sizes(config):
    """The settings name another tick than the venue's, and what the venue has no more."""
    file = config.with_name("instruments.toml")
    head, table = file.read_text().rsplit("[[instrument]]", 1)
    assert BTC in table and 'tick_size = "0.1"' in table
    other = table.replace(BTC, GONE)
    file.write_text("[[instrument]]".join((head, table.replace('"0.1"', '"0.2"'), other)))


def test_the_kill_program_takes_back_and_closes_through_ccxt(server, tmp_path):
    config = trading_settings(tmp_path, server.ready, ccxt=True)
    fill_up(server, 60)
    with_other_sizes(config)
    code, said = kill(config)
    assert (code, said["latch"], said["proven"], said["left"]) == (0, "tripped", True, [])
    assert (said["cancelled"], said["stops"], said["positions"]) == (60, 1, {BTC: 20})
    code, said = kill(config, "--flatten")
    assert (code, said["proven"], said["positions"], said["stops"]) == (0, True, {}, 0)
    assert still_open(server) == [] and held(server) == 0
