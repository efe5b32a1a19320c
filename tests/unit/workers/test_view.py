"""The session as JSON line, plain line and page."""

import io
import json
import time

import numpy as np
import pytest
from rich.console import Console

from bot4.adapters.files.report import symbol_keys
from bot4.adapters.system.instance import SessionLabel
from bot4.model import breaker as b
from bot4.model.enums import INT64_MAX, RISK_COLLAR
from bot4.shm import wires as w
from bot4.shm.histogram import histogram_record
from bot4.shm.layout import CLOCK_FEED, CONTROL_KILL, SEQLOCK_VERSION
from bot4.shm.seqlock import seqlock_write
from workers.view import (
    JsonView,
    LiveView,
    PlainView,
    Rates,
    WorkerState,
    choose_view,
    live_page,
    plain_line,
    snapshot,
    status_lines,
)

SYMBOLS = symbol_keys([("BTCUSDT", "binance_spot"), ("BTCUSDT", "binance_usdm"), ("ETHUSDT", "binance_spot")])
FEED, EXECUTION = 1 + w.FEED_ROW, 1 + w.EXECUTION_ROW


def label(**changes) -> SessionLabel:
    fields = {
        "instance": "b0", "feed": "synthetic:1", "synthetic": True, "pace": "free", "speed": "max",
        "symbols": tuple(SYMBOLS), "values_e8": (10, 100, 1), "start_equity_e8": 10**13,
    }  # fmt: skip
    return SessionLabel(**(fields | changes))


WORKERS = {
    "shard-0": WorkerState(pid=7, core=1, restarts=2, rows=(0,), alive=True),
    "feed": WorkerState(pid=8, core=None, restarts=0, rows=(3,), alive=False),
}


@pytest.fixture
def wires():
    """Wires of a session in the middle of its life."""
    made = w.private_wires(1, 3, 64)
    made.gauges[FEED, w.GAUGE_FEED_MESSAGES] = 1000
    made.gauges[FEED, w.GAUGE_FEED_TICKS] = 4000
    made.gauges[EXECUTION, w.GAUGE_EXEC_EQUITY_E8] = 10**13 - 5 * 10**8
    made.gauges[EXECUTION, w.GAUGE_EXEC_STATE] = 2
    made.gauges[0, w.GAUGE_HEARTBEAT_NS] = 1
    made.rejects[0, RISK_COLLAR] = 3
    seqlock_write(made.calibration, np.array([0, 0, 0, 2_000_000_000]))
    made.positions[1, w.POSITION_LOTS] = 2
    made.positions[1, w.POSITION_COST_TL] = 200
    made.positions[1, w.POSITION_BID] = 109
    made.positions[1, w.POSITION_ASK] = 112
    made.positions[1, w.POSITION_FEES_E8] = 7
    made.venue_clocks[1, : w.CLOCK_ANEW + 1] = [50, -1_272_500_000, 53_100_000, 1]
    for value in (100, 200, 300):
        histogram_record(made.histograms[w.STAGE_TICK_TO_INTENT], value)
    return made


def test_a_venue_of_a_live_feed_is_told_with_what_it_lacks(wires):
    live = label(venues=("kraken", "binance_spot", "kraken"))
    assert snapshot(wires, label(), WORKERS, 2.0)["venues"] == {}
    row = wires.gauges[FEED, w.GAUGE_FEED_VENUES :]
    row[: w.N_VENUE_GAUGES] = (1, 1, time.monotonic_ns() - 12 * 10**9)
    row[w.N_VENUE_GAUGES : 2 * w.N_VENUE_GAUGES] = (1, 0, time.monotonic_ns() - 3_000 * 10**9)
    found = snapshot(wires, live, WORKERS, 2.0)
    good, bad = found["venues"]["binance_spot"], found["venues"]["kraken"]
    assert (good["connected"], good["books"], good["books_whole"]) == (True, 1, 1) and 12 <= good["since_s"] < 60
    assert (bad["connected"], bad["books"], bad["books_whole"]) == (False, 2, 0) and 3_000 <= bad["since_s"] < 3_060
    line = plain_line(found)
    assert "kraken not connected for 3,0" in line and "0 of 2 books whole" in line and "binance_spot" not in line
    file = io.StringIO()
    Console(file=file, width=120).print(live_page(Rates().add(found)))
    assert "binance_spot" in file.getvalue() and "not connected for 3,0" in file.getvalue()
    told = status_lines(
        {"latch": None, "running": True, "pid": 1, "report_folder": "r", "state_folder": "s", "session": found}
    )
    assert [text for text in told if text.startswith("venue binance_spot: connected for 1")]
    row[: 2 * w.N_VENUE_GAUGES] = 0  # the feed has not looked yet
    assert snapshot(wires, live, WORKERS, 2.0)["venues"]["kraken"]["since_s"] is None


def test_a_breaker_that_has_opened_is_told_whoever_looks(wires):
    live = label(venues=("kraken", "binance_spot", "kraken"))
    assert {row["state"] for row in snapshot(wires, live, WORKERS, 2.0)["breakers"].values()} == {"closed"}
    now = time.monotonic_ns()
    wires.gauges[EXECUTION, w.GAUGE_EVENT_TIME_NS] = 10**18
    for component, number, state, times, until_ns in (
        ("feed", 1, b.OPEN, 3, now + 90 * 10**9), ("shard", 0, b.OPEN, 1, b.NEVER),
        ("recorder", 0, b.CLOSED, 2, 0), ("venue", 0, b.OPEN, 1, 10**18 + 25 * 10**9),
    ):  # fmt: skip
        row = wires.breakers[b.breaker_row(component, 1, number)]
        row[[b.WORD, b.UNTIL_NS, b.CALLS, b.FAILURES]] = times << 2 | state, until_ns, 40 * number, 7 * number
    found = snapshot(wires, live, WORKERS, 2.0)
    kraken = dict(found["breakers"]["feed kraken"])
    assert 80 < kraken.pop("tried_in_s") <= 90
    assert kraken == {"state": "open", "openings": 3, "calls": 40, "failures": 7, "slow": 0, "refused": 0}
    assert found["breakers"]["venue"]["tried_in_s"] == 25 and found["breakers"]["shard-0"]["tried_in_s"] is None
    assert set(found["breakers"]) == {
        "execution", "venue", "journal", "recorder", "shard-0", "model-0",
        *(f"{name} {venue}" for name in ("feed", "parser") for venue in ("binance_spot", "kraken")),
    }  # fmt: skip
    told = status_lines(
        {"latch": None, "running": True, "pid": 1, "report_folder": "r", "state_folder": "s", "session": found | {
            "breakers": found["breakers"] | {"feed kraken": kraken | {"tried_in_s": 81.5}}}}
    )  # fmt: skip
    assert [text for text in told if text.startswith("breaker ")] == [
        "breaker venue: open, tried in 25.0 s, opened once", "breaker recorder: closed, opened 2 times",
        "breaker feed kraken: open, tried in 81.5 s, opened 3 times; 7 of 40 calls failed, 0 were slow",
        "breaker shard-0: open, for good, opened once",
    ]  # fmt: skip
    file = io.StringIO()
    Console(file=file, width=120).print(live_page(Rates().add(found)))
    assert "breaker shard-0: open, for good" in file.getvalue()


def test_a_snapshot_says_what_the_wires_hold(wires):
    shot = snapshot(wires, label(), WORKERS, 2.0)
    assert shot["messages"] == 1000 and shot["ticks"] == 4000 and shot["state"] == "active"
    assert shot["profit"] == "-5" and shot["equity"] == "99995"
    assert shot["rejects"] == {"RISK_COLLAR": 3}
    position = shot["positions"]["BTCUSDT.binance_usdm"]  # 2 lots bought at 100, mid 110: 20 tick x lot of 100e-8
    assert position == {"lots": 2, "unrealised": "0.00002", "profit": "0.00001993", "fees": "0.00000007"}
    assert set(shot["latency_ns"]) == {"tick_to_intent"}
    clock = {"offset_ms": -1272.5, "latest_ms": 53.1, "learned_anew": 1}
    assert shot["clock"] == {"BTCUSDT.binance_spot": None, "BTCUSDT.binance_usdm": clock, "ETHUSDT": None}
    assert 90 <= shot["latency_ns"]["tick_to_intent"]["p50"] <= 110, "cycles became ns"
    assert shot["workers"]["shard-0"]["heartbeat_ms"] > 0 and shot["workers"]["feed"]["heartbeat_ms"] is None
    assert not shot["killed"] and not shot["feed_done"]
    json.dumps(shot)


def test_before_execution_speaks_the_equity_is_the_start(wires):
    wires.gauges[EXECUTION, w.GAUGE_EXEC_EQUITY_E8] = 0
    assert snapshot(wires, label(), WORKERS, 0.0)["profit"] == "0"


def test_paced_by_event_time_latency_says_nothing(wires):
    assert snapshot(wires, label(pace="event"), WORKERS, 0.0)["latency_ns"] is None


def test_without_a_calibration_cycles_say_nothing(wires):
    wires.calibration[SEQLOCK_VERSION] = 1  # the template died while it wrote
    assert snapshot(wires, label(), WORKERS, 0.0)["latency_ns"] is None


def test_rates_are_those_since_the_last_look(wires):
    rates = Rates()
    first = rates.add(snapshot(wires, label(), {}, 2.0))
    assert (first["messages_per_s"], first["ticks_per_s"]) == (500, 2000)
    wires.gauges[FEED, w.GAUGE_FEED_TICKS] += 30
    second = rates.add(snapshot(wires, label(), {}, 3.0))
    assert (second["messages_per_s"], second["ticks_per_s"]) == (0, 30)
    assert rates.add(snapshot(wires, label(), {}, 3.0))["ticks_per_s"] == 0


def test_json_lines_are_json_lines(wires):
    lines = []
    view = JsonView(lines.append)
    view.show(snapshot(wires, label(), WORKERS, 2.0))
    view.note("worker\nended")
    view.close()
    status, note = map(json.loads, lines)
    assert status["kind"] == "status" and status["ticks_per_s"] == 2000
    assert note["kind"] == "note" and note["text"] == "worker\nended"


def test_a_plain_line_tells_the_most_important(wires):
    wires.control[CONTROL_KILL] = 1
    wires.gauges[FEED, w.GAUGE_FEED_DROPPED] = 9
    lines = []
    view = PlainView(lines.append)
    view.show(snapshot(wires, label(), WORKERS, 2.0))
    view.note("hello")
    assert lines[1] == "hello"
    for word in ("synthetic", "2,000 ticks/s", "profit -5", "3 refusals", "tick to intent p50", "9 dropped",
                 "2 restarts", "KILLED"):  # fmt: skip
        assert word in lines[0], lines[0]
    quiet = plain_line(snapshot(w.private_wires(1, 3, 64), label(synthetic=False), {}, 1.0))
    assert "KILLED" not in quiet and "restarts" not in quiet and "synthetic" not in quiet and "dropped" not in quiet


def drawn(shot) -> str:
    console = Console(file=io.StringIO(), width=140, force_terminal=False)
    console.print(live_page(shot))
    return console.file.getvalue()


def test_the_page_shows_it_all(wires):
    page = drawn(Rates().add(snapshot(wires, label(), WORKERS, 2.0)))
    for word in ("SYNTHETIC MARKET: not real prices", "2,000", "99995", "-5", "BTCUSDT.binance_usdm", "tick_to_intent",
                 "RISK_COLLAR", "shard-0", "dead", "any", "pace free", "-1,272.5", "53.1"):  # fmt: skip
        assert word in page, page


def test_the_page_of_an_empty_session(wires):
    wires.control[CONTROL_KILL] = 1
    wires.clocks[CLOCK_FEED] = INT64_MAX
    wires.rejects[:] = 0
    wires.venue_clocks[:] = 0
    shot = Rates().add(snapshot(wires, label(pace="event", synthetic=False), {}, 0.0))
    page = drawn(shot)
    assert "killed" in page and "SYNTHETIC" not in page and "tick_to_intent" not in page and shot["feed_done"]
    assert "clock" not in page


def test_the_view_fits_where_the_output_goes():
    assert isinstance(choose_view(True, True), JsonView)
    assert isinstance(choose_view(False, False), PlainView)
    view = choose_view(False, True)
    assert isinstance(view, LiveView)
    view.close()


def test_the_live_view_draws_and_gives_the_terminal_back(wires):
    file = io.StringIO()
    view = LiveView(file)
    view.note("worker [shard-0] ended")
    view.show(snapshot(wires, label(), WORKERS, 1.0))
    view.close()
    assert "worker [shard-0] ended" in file.getvalue()


def test_status_lines(wires):
    base = {"state_folder": "state", "not_flat": [], "trouble": "", "running": False, "latch": None}
    assert status_lines(base) == ["nothing runs on state folder state"]
    latch = {"tripped": True, "reason": "drill"}
    assert status_lines(base | {"latch": latch})[1] == "kill latch: SET (drill)"
    running = base | {"running": True, "pid": 5, "report_folder": "r", "latch": {"tripped": False, "reason": ""}}
    assert status_lines(running | {"session": None})[-1] == (
        "starting: the kernels are being loaded, or compiled if the cache is empty (or just ending)"
    )
    lines = status_lines(running | {"session": snapshot(wires, label(), WORKERS, 1.0)})
    assert lines[0] == "running as pid 5; report goes to r" and lines[1] == "kill latch: clear"
    assert any(line.startswith("position ETHUSDT: 0 lots") for line in lines)
    assert sum(line.startswith("clock BTCUSDT.binance_usdm: receive time minus") for line in lines) == 1
    assert not any(line.startswith("clock ETHUSDT") for line in lines)
    assert any("worker feed: pid 8, any core, dead, 0 restarts" in line for line in lines)
