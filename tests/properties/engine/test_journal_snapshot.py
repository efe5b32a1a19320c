"""A snapshot with the rest folded is the fold of everything, whichever snapshot it is and whatever it lost."""

import random

import numpy as np
import pytest
from rig.execution import Rig
from rig.journal import wait_for
from rig.tables import MS

from bot4.engine.execution import ExecutionAgent
from bot4.engine.journal import CRC_WORD, record_crc
from bot4.engine.journal_snapshot import KEPT, snapshots_of
from bot4.model.enums import (
    LEG_STOP,
    REPORT_CANCELED,
    REPORT_FUNDING,
    REPORT_NOT_FOUND,
    REPORT_QUERY_END,
    REPORT_REJECT,
    REPORT_TRIGGERED,
    SIDE_SELL,
    TIF_GTC,
    VENUE_FILTER,
)
from bot4.model.errors import JournalError
from bot4.model.records import JOURNAL_WORDS

EVERY = 40
FOLDED = (
    "orders", "free", "account", "positions", "views", "known", "shard_bucket_ns", "denied_bucket_ns", "untold",
    "stats", "failed_ns",
)  # fmt: skip


def of(memory, name):
    """The arrays of this name."""
    found = getattr(memory, name)
    return [found] if isinstance(found, np.ndarray) else list(found)


def lively(folder, seed, rounds=60, **options):
    """A rig whose venue does this and that, with a snapshot every EVERY records; worked in small steps."""
    dice = random.Random(seed)
    rig = Rig(folder, 2, 1, capacity=64, one_segment=False, every=EVERY, limit_changes={"cool_down_ns": 0}, **options)
    reserve(rig)
    rig.open_market()
    at = 10 * MS
    for _ in range(rounds):
        at += dice.randint(1, 900) * MS
        which = dice.randrange(2)
        bid = 6_000_000 + dice.randint(-2_000, 2_000)
        rig.quote(at, bid=bid, ask=bid + 1, instrument=which)
        resting = {"tif": TIF_GTC, "price_ticks": bid} if dice.random() < 0.5 else {"price_ticks": bid + 1}
        side = {"side": SIDE_SELL, "stop_ticks": bid + 60_000} if dice.random() < 0.4 else {"stop_ticks": bid - 60_000}
        rig.intent(at + 1, instrument=which, qty_lots=dice.randint(1, 200), **resting, **side)
        work(rig)
        for request in rig.requests():
            at += MS
            if request["action"] == 1 and dice.random() < 0.9:
                rig.ack(at, request)
                if request["leg"] == LEG_STOP:
                    if dice.random() < 0.2:
                        rig.event(at, REPORT_TRIGGERED, request)
                        rig.fill(at, request, price=bid)
                elif dice.random() < 0.6:
                    rig.fill(
                        at, request, qty=dice.randint(1, int(request["qty_lots"])), price=bid, fee=dice.randint(0, 99)
                    )
                    rig.event(at, REPORT_CANCELED, request)
            elif request["action"] == 1 and dice.random() < 0.5:
                rig.event(at, REPORT_REJECT, request, code=VENUE_FILTER)
            if dice.random() < 0.1:
                rig.event(at, REPORT_FUNDING, request, cash_e8=dice.randint(-(10**8), 10**8))
        work(rig)
    return rig


def reserve(rig):
    """Room as a journal of full size would have: the reserves are larger than these small segments."""
    while rig.agent.journal.room < 20_000:
        rig.agent.journal._extend()


def work(rig):
    """Until nothing is left, with what is due between two batches."""
    rig.run()
    rig.agent.snapshots.look()
    rig.agent.snapshots.close()
    assert not rig.agent.snapshots.fault


def folded(rig, every=EVERY, **options):
    """Copies of what a fresh agent has in its memory, and the records that its snapshot covered."""
    tables = rig.instruments, rig.limits, rig.session
    agent = ExecutionAgent(rig.wires, *tables, rig.path, rig.capacity, rig.rows, every=every, **options)
    arrays = [array.copy() for name in FOLDED for array in of(agent.memory, name)]
    fresh = agent.snapshots._fresh()
    covered = agent.snapshots.load(fresh)
    agent.close()
    return arrays, covered


def same(these, those):
    """Bit for bit."""
    return len(these) == len(those) and all(a.tobytes() == b.tobytes() for a, b in zip(these, those, strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_a_snapshot_and_the_rest_is_the_fold_of_everything(tmp_path, seed):
    rig = lively(tmp_path, seed)
    rig.agent.close()
    found = snapshots_of(rig.path)
    assert len(found) == KEPT and found[0][0] % EVERY == 0 and rig.agent.journal.count - found[0][0] < 2 * EVERY
    newest, covered = folded(rig)
    assert covered == found[0][0]
    assert newest[5].any() and newest[0]["base"].any() and newest[2]["equity_e8"] != rig.session["start_equity_e8"]
    content = bytearray(found[0][1].read_bytes())
    content[random.Random(seed).randrange(len(content))] ^= 1 << seed
    found[0][1].write_bytes(content)
    older, covered = folded(rig)
    assert covered == found[1][0] and same(older, newest), "the one before serves"
    found[1][1].unlink()
    everything, covered = folded(rig)
    assert covered == 0 and same(everything, newest)


def test_a_snapshot_of_other_settings_or_of_another_journal_is_not_believed(tmp_path):
    rig = lively(tmp_path, 1)
    rig.agent.close()
    assert folded(rig)[1] > 0
    rig.limits["streak_losses"] += 1
    assert folded(rig)[1] == 0
    rig.limits["streak_losses"] -= 1
    assert folded(rig, history=np.array([[1.0, 2.0], [1.5, 2.5]]))[1] == 0, "it knew something else of before"
    seq, file = snapshots_of(rig.path)[0]
    file.rename(file.with_name(f"journal.snap-{seq + 1}"))
    assert folded(rig)[1] == snapshots_of(rig.path)[1][0], "what it speaks of is the record of another number"


def test_restarts_go_on_from_a_snapshot_and_take_further_ones(tmp_path):
    rig = lively(tmp_path, 2)
    before = snapshots_of(rig.path)[0][0]
    rig.agent.close()
    rig.start()
    reserve(rig)
    questions = rig.requests()
    for request in questions[:-1]:
        rig.event(10**12, REPORT_NOT_FOUND, request)
    rig.event(10**12, REPORT_QUERY_END, questions[-1], event_seq=0)
    rig.run()
    for number in range(EVERY):
        rig.quote(10**12 + number * 10**9, instrument=0)
    work(rig)
    assert snapshots_of(rig.path)[0][0] > before
    newest = folded(rig)[0]
    for _, file in snapshots_of(rig.path):
        file.unlink()
    assert same(newest, folded(rig)[0])


def test_a_journal_that_would_not_fold_is_noticed_while_execution_runs(tmp_path):
    rig = lively(tmp_path, 3, rounds=10)
    journal = rig.agent.journal
    table = journal.table
    spoilt = next(index for index in range(len(table)) if table["position_lots"][index] and table["type"][index] == 2)
    table["position_lots"][spoilt] += 1
    journal.records[spoilt * JOURNAL_WORDS + CRC_WORD] = record_crc(journal.records, spoilt * JOURNAL_WORDS)
    other = rig.agent.snapshots
    other._memory, other._due = None, 0
    for _, file in snapshots_of(rig.path):
        file.unlink()
    other.look()
    wait_for(lambda: other.fault)
    assert f"record {spoilt + 1} contradicts" in other.fault
    with pytest.raises(JournalError, match="damaged"):
        rig.build()
    assert np.count_nonzero(rig.agent.memory.orders["base"]) >= 0
