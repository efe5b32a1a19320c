"""Whole sessions on a live feed, against a venue of its own on the loopback, over TLS: as a user starts and stops them.

The market passes several times as fast as it was recorded. Whether a session ever trades on a wrong book is told by the
recording that it makes of its own ticks, and by the venue's ledger.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from oracle.recompute import main as recompute
from rig.live_session import (
    SYMBOL,
    VENUE,
    deaf_port,
    intents_of,
    live_session,
    log_of,
    report_of,
    status,
    ticks_of,
)
from rig.replayer import Plan, binance_tape, certificates, serve_apart

from bot4.adapters.system.affinity import favour
from bot4.model.enums import ACTION_PLACE, FLAG_SNAPSHOT, LEG_ENTRY, STATUS_STALE, STATUS_WHOLE, TICK_STATUS
from bot4.ports.store import NUMBERS_APART

pytestmark = [pytest.mark.compiled, pytest.mark.data]
SPEED = 10.0
SLOWER = 4.0  # there is still a market after two kills on a busy machine
ORDERS = 100
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def strategies_are_found(monkeypatch):
    """The workers import the busy strategy, which lies in the tests."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "tests"))


@pytest.fixture(scope="module")
def tape(data_dir):
    return binance_tape([data_dir / "hftbacktest/usdm/btcusdt_20240808.gz"])


def served(tape, folder, speed=SPEED):
    """The recorded market in a process of its own."""
    return serve_apart(Plan(VENUE, *tape, speed=speed), folder / "server.pem")


def stop(folder):
    """As a user stops it, from another terminal."""
    command = [sys.executable, "-m", "bot4.cli.supervisor", "stop", "--config", folder / "config" / "paper.toml"]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)


def ended(running, folder):
    """Stop it; its report, after the checks that hold for every session."""
    stopped = stop(folder)
    code, _, error = running.finish()
    assert code == 0 and stopped.returncode == 0, (error, stopped.stderr)
    pids = {worker["pid"] for line in running.lines if status(line) for worker in line["workers"].values()}
    assert not [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and is_ours(pid)]
    (instance,) = {line["instance"] for line in running.lines if status(line)}
    assert not list(Path("/dev/shm").glob(f"*{instance}*"))
    return report_of(folder)


def is_ours(pid):
    """Whether the process still is a worker, and not another one that got its number."""
    return b"bot4" in Path(f"/proc/{pid}/cmdline").read_bytes()


def traded(orders, since=0):
    """Whether a line tells of so many orders."""
    return lambda line: status(line) and line["orders"] >= since + orders


def restarted(times):
    """Whether a line tells of a feed that has been started again so often."""
    return lambda line: status(line) and line["workers"]["feed"]["restarts"] == times


def judged(folder, capsys):
    """The oracle's judgement of the ledger; stops are not judged by time, since the market is hurried.

    An order that was on its way when the session was stopped is in the journal and not in the ledger.
    """
    (ledger,) = folder.glob("config/state/sessions/*/ledger.jsonl")
    capsys.readouterr()
    recompute([str(ledger), str(folder / "report" / "session.json"), "--stop-limit-s", "86400"])
    text = capsys.readouterr().out
    told = [line for line in text.splitlines() if ", recomputed " in line]
    late = [re.fullmatch(r"session: orders is (\d+), recomputed (\d+)", line.strip()) for line in told]
    assert all(late) and all(0 < int(found[1]) - int(found[2]) <= 2 for found in late), text[-3000:]
    assert f"{len(late)} differences" in text, text[-3000:]


def hour_ahead(message):
    """The message with another time of the venue."""
    body = re.sub(rb'"E":([0-9]+)', lambda found: b'"E":%d' % (int(found[1]) + 3_600_000), message.payload)
    return message._replace(payload=body)


def may_be_favoured():
    """The place that a process gets here when it asks."""
    pid = os.fork()
    if pid == 0:
        favour()
        os._exit(-os.getpriority(os.PRIO_PROCESS, 0))
    return -os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_live_session_trades_and_leaves_nothing_behind(tmp_path, tape, capsys):
    made = certificates(tmp_path)
    messages = list(tape[0])
    for number in [n for n, message in enumerate(messages) if message.topic.endswith("@trade")][50::100]:
        messages[number] = hour_ahead(messages[number])
    with served((messages, tape[1]), tmp_path) as venue, live_session(tmp_path, venue.port, made.ca_file) as running:
        line = running.until(traded(ORDERS))
        places = {name: os.getpriority(os.PRIO_PROCESS, worker["pid"]) for name, worker in line["workers"].items()}
        report = ended(running, tmp_path)
        assert venue.end()[2] > 1_000
    assert {places.pop("feed"), places.pop("shard-0")} == {may_be_favoured()} and set(places.values()) <= {0, 10}
    assert report["feed"]["source"] == "live" and report["dropped"] == 0, report["feed"]
    stood = next(line for line in reversed(running.lines) if status(line) and line["orders"] < report["orders"])
    assert {"connected": True, "books": 1}.items() <= stood["venues"][VENUE].items()
    assert any(status(line) and line["venues"][VENUE]["books_whole"] == 1 for line in running.lines)
    assert sum(report["messages"][SYMBOL].values()) > 1_000 and report["orders"] >= ORDERS < report["fills"] * 2
    assert report["book"][SYMBOL]["compared"] == report["book"][SYMBOL]["equal"] > 0
    assert set(report["rejected_input"]) <= {"before_snapshot", "no_snapshot", "venue_time"}, report["rejected_input"]
    assert report["rejected_by_kind"][SYMBOL]["trade"]["venue_time"] >= 1, "an hour ahead"
    clock, behind_ms = report["clock"][SYMBOL], (time.time_ns() - tape[0][0].at_ns) / 1e6
    assert clock["learned_anew"] == 0 and 0.999 * behind_ms < clock["offset_ms"] < 1.001 * behind_ms, clock
    assert all(worker["restarts"] == 0 for worker in report["workers"].values())
    judged(tmp_path, capsys)


def test_a_feed_that_is_killed_numbers_on_and_trading_goes_on(tmp_path, tape, capsys):
    made = certificates(tmp_path)
    with served(tape, tmp_path, SLOWER) as venue, live_session(tmp_path, venue.port, made.ca_file) as running:
        for kill in range(2):
            before = running.until(traded(ORDERS // 4, running.lines[-1]["orders"] if kill else 0))
            os.kill(before["workers"]["feed"]["pid"], signal.SIGKILL)
            running.until(restarted(kill + 1))
        last = running.until(status)
        running.until(traded(ORDERS // 4, last["orders"]))
        report = ended(running, tmp_path)
    assert report["workers"]["feed"]["restarts"] == 2
    assert sum(worker["restarts"] for worker in report["workers"].values()) == 2
    ticks = ticks_of(tmp_path)
    published = ticks[ticks["flags"] & FLAG_SNAPSHOT == 0]
    steps = np.diff(published["event_no"].astype(np.int64))
    leaps = np.flatnonzero(steps != 1)
    intents = intents_of(tmp_path)
    opened = intents[intents["leg"] == LEG_ENTRY]
    assert len(leaps) == 2 and (steps[leaps] >= NUMBERS_APART).all(), steps[leaps]
    for at in leaps:
        first, later = published[at + 1], published[at + 2 :]
        assert (first["kind"], first["w0"]) == (TICK_STATUS, STATUS_STALE)
        states = later[later["kind"] == TICK_STATUS]
        assert STATUS_WHOLE in states["w0"][:3]
        whole_ns = later["ts_recv_ns"][later["kind"] == TICK_STATUS][states["w0"] == STATUS_WHOLE][0]
        inside = (opened["ts_ns"] > first["ts_recv_ns"]) & (opened["ts_ns"] < whole_ns)
        assert not inside.any(), "it opened on a book that was stale"
        assert (opened["ts_ns"] > whole_ns).any()
    placed = intents[intents["action"] == ACTION_PLACE]
    assert len(np.unique(placed[["id_hi", "id_lo"]])) == len(placed)
    judged(tmp_path, capsys)


def test_a_venue_that_is_down_is_told_and_nothing_is_traded(tmp_path):
    made = certificates(tmp_path)
    with deaf_port() as port, live_session(tmp_path, port, made.ca_file) as running:
        assert_idle(running, tmp_path, "refused")


def test_a_certificate_that_is_not_trusted_is_told_and_nothing_is_traded(tmp_path, tape):
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    other = certificates(stranger)
    certificates(tmp_path)
    with served(tape, tmp_path) as venue, live_session(tmp_path, venue.port, other.ca_file) as running:
        assert_idle(running, tmp_path, "certificate")
        assert venue.end()[1:] == (0, 0)


def assert_idle(running, folder, reason):
    """It runs for some seconds, hears nothing, trades nothing, says why, and ends in order."""
    line = running.until(lambda line: status(line) and line["elapsed_s"] > 3)
    assert line["state"] == "active" and line["messages"] == line["orders"] == 0
    (venue,) = line["venues"].values()
    assert (venue["connected"], venue["books"], venue["books_whole"]) == (False, 1, 0) and venue["since_s"] is not None
    report = ended(running, folder)
    assert report["orders"] == report["fills"] == report["intents"] == 0 == sum(report["messages"][SYMBOL].values())
    assert any("never a whole book" in text for text in report["warnings"])
    assert all(worker["restarts"] == 0 for worker in report["workers"].values())
    told = [entry["reason"] for entry in log_of(folder, "feed") if entry["event"] == "connection"]
    assert told and all(reason in text for text in told), told
