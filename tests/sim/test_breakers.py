"""Circuit breakers in the wiring of what they watch: each opens, is tried, and closes, or stays open where it must.

Others are where their rigs are: a venue's connections and their messages in test_reconnects.py, the venue's orders in
test_execution_wiring.py, the strategy in test_shard_wiring.py, shards in test_supervisor.py.
"""

import time

import numpy as np
import pytest
from rig.breaker import changes, row_of, set_limits, state_of
from rig.execution import Rig
from rig.gateway import Exchange, GatewayRig
from rig.tables import MS, SECOND
from unit.engine.test_recorder import Rig as RecorderRig
from unit.engine.test_recorder import ticks

from bot4.adapters.files.journal_lines import journal_lines
from bot4.engine.execution_memory import PROTECTIVE_RESERVE
from bot4.engine.journal import journal_room
from bot4.model import breaker as b
from bot4.model import enums as e
from bot4.model.records import JOURNAL_BREAKER
from bot4.shm.breaker import Breaker
from bot4.shm.wires import GAUGE_RECORDER_FAILURES, GAUGE_RECORDER_TICKS

HOUR_MS = 3_600_000


class Shifted:
    """The monotonic clock, and what the test has put on top of it."""

    def __init__(self):
        self.more_ns = 0

    def __call__(self):
        return time.monotonic_ns() + self.more_ns


# --- execution's calls to a real venue -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "limits"),
    [
        ({"kind": "error_before"}, {"failures": 3}),
        ({"kind": "error_before"}, {"failure_bps": 1_000, "calls": 12}),
        ({"kind": "late_before", "delay_ms": 700}, {"slow_ms": 500, "slow_bps": 1_000, "calls": 12}),
    ],
    ids=["failures", "share", "slow"],
)
def test_calls_that_fail_or_are_slow_hold_back_what_opens_and_nothing_else(tmp_path, fault, limits):
    clock, told, row = Shifted(), [], np.zeros(b.BREAKER_WORDS, np.int64)
    set_limits(row, window_ms=HOUR_MS, open_ms=HOUR_MS, doublings=2, probes=2, **limits)
    breaker = Breaker(row, clock, told.append, "execution")
    (tmp_path / "gateway").mkdir()
    with Exchange(tmp_path / "exchange") as server:
        server.make_book()
        with GatewayRig(tmp_path / "gateway", server, breaker=breaker).ready() as rig:
            held = rig.place(1, 9, tif=e.TIF_IOC)
            rig.until(lambda: "fill" in rig.kinds(held))
            assert breaker.state == b.CLOSED
            bad = 0
            while breaker.state == b.CLOSED:  # what opens goes on until enough has failed
                server.fault(endpoint="POST /v5/order/create", times=1, **fault)
                rig.place(1, 1, tif=e.TIF_IOC)
                bad += 1
                rig.until(lambda bad=bad: row[b.FAILURES] + row[b.SLOW] >= bad)
            assert bad == limits.get("failures", bad) and state_of(row) == ("open", 1)
            held_back = rig.place(1, 1, tif=e.TIF_IOC)
            rig.until(lambda: rig.of(held_back))
            assert (rig.kinds(held_back), rig.code(held_back)) == (["reject"], e.VENUE_DOWN) and row[b.REFUSED] == 1
            way_out = rig.place(-1, 3, tif=e.TIF_IOC, flags=e.ORDER_REDUCE_ONLY)
            rig.until(lambda: "fill" in rig.kinds(way_out))
            assert state_of(row) == ("open", 1), "what reduces goes through, and does not try it"
            clock.more_ns += HOUR_MS * MS
            rig.until(lambda: breaker.state == b.CLOSED)  # the gateway's own questions are calls too
            again = rig.place(1, 1, tif=e.TIF_IOC)
            rig.until(lambda: "fill" in rig.kinds(again))
    assert changes(told) == ["open", "half-open", "closed"]


# --- the recorder's store --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fails", "is slow"])
def test_a_store_that_fails_or_is_slow_is_left_alone_until_it_is_tried(tmp_path, how):
    rig = RecorderRig(tmp_path / "session", rows=10)
    row = row_of(rig.wires, "recorder", failures=2, slow_ms=50, slow_bps=5_000, calls=2, window_ms=HOUR_MS,
                 open_ms=1_000, doublings=1, probes=1)  # fmt: skip
    rig.watch(row)
    place = rig.folder / "date=2023-11-14"
    if how == "fails":
        place.parent.mkdir(parents=True)
        place.write_text("in the way")
    else:
        rig.store_takes_ns = 60 * MS
    number = iter(range(1, 10_000, 10))

    def part():
        rig.push(ticks(10, next(number)))
        rig.agent.do_work()
        return state_of(row)

    assert [part(), part()] == [("closed", 0), ("open", 1)]
    files, begun = rig.gauge(GAUGE_RECORDER_TICKS), rig.begun
    assert [part(), part()] == [("open", 1)] * 2 and rig.begun == begun, "not even tried"
    assert row[b.REFUSED] == 2 and rig.gauge(GAUGE_RECORDER_TICKS) == files
    rig.now_ns += SECOND
    assert part() == ("open", 2)  # tried, and no better: twice as long
    rig.now_ns += SECOND
    assert part() == ("open", 2)
    if how == "fails":
        place.unlink()
    rig.store_takes_ns = 0
    rig.now_ns += SECOND
    assert part() == ("closed", 2)
    assert part() == ("closed", 2) and rig.gauge(GAUGE_RECORDER_TICKS) >= files + 20
    lost = rig.gauge(GAUGE_RECORDER_FAILURES)
    assert lost == (6 if how == "fails" else 3) and len(rig.told) == (3 if how == "fails" else 0)


# --- what the journal has of them ------------------------------------------------------------------------------------


def test_execution_journals_each_change_of_a_breaker_that_goes_by_the_clock(tmp_path):
    rig = Rig(tmp_path)
    rig.open_market()
    words = {("feed", 2): 1 << 2 | b.OPEN, ("shard", 0): 1 << 2 | b.OPEN, ("recorder", 0): 3 << 2 | b.HALF_OPEN}
    for (component, number), word in words.items():
        row_of(rig.wires, component, number)[b.WORD] = word
    for untold in ("venue", "model"):  # follow from the rest of the journal
        row_of(rig.wires, untold)[b.WORD] = 1 << 2 | b.OPEN
    for at in (200, 300, 400):  # once each
        rig.quote(at * MS)
        rig.run()
    row_of(rig.wires, "feed", 2)[b.WORD] = 1 << 2 | b.CLOSED
    rig.quote(500 * MS)
    rig.run()
    told = [line for line in journal_lines(rig.agent.journal.table, []) if line["record"] == "breaker"]
    assert [(line["of"], line["is"], line["opened"]) for line in told] == [
        ("recorder", "half-open", 3), ("feed of venue 3", "open", 1), ("shard-0", "open", 1),
        ("feed of venue 3", "closed", 1),
    ]  # fmt: skip
    rig.agent.close()
    rig.start()  # the fold passes them over, and nothing is told twice
    rig.quote(600 * MS)
    rig.run()
    assert np.count_nonzero(rig.agent.journal.table["type"] == JOURNAL_BREAKER) == 4


def test_breakers_that_flap_leave_the_journals_room_to_stops_and_closes(tmp_path):
    rig = Rig(tmp_path)
    rig.open_market()
    for turn in range(1, 700):
        for venue in range(b.MOST_VENUES):
            for component in ("feed", "parser"):
                row_of(rig.wires, component, venue)[b.WORD] = turn << 2 | b.OPEN
        rig.quote(100 * turn * MS)
        rig.run()
    room, told = journal_room(rig.agent.memory.header), rig.agent.journal.table["type"] == JOURNAL_BREAKER
    assert abs(int(room) - 2 * PROTECTIVE_RESERVE) < 100 and np.count_nonzero(told) > 4_000
