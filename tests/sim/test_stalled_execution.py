"""Execution stands still while a shard wants to send ten times what the ring takes: refused and counted, never lost."""

import random

import numpy as np
import pytest
from rig.shard import DOWN, FLAT, UP, Rig
from rig.tables import MS

from bot4.model.enums import EXEC_RING_FULL, REPORT_EXPIRED
from bot4.shm.spsc_ring import peek_order
from bot4.shm.wires import GAUGE_SHARD_INTENTS

TIMES = 10  # as many orders as ring sizes


def warm(slots: int) -> tuple[Rig, int]:
    """A shard with so many instruments, all of them ready to trade, that their orders fill the ring ten times."""
    n = slots * TIMES
    rig = Rig(n_instruments=n, intent_slots=slots, warm_bars=0, limit_changes={"open_orders": n})
    for i in range(n):
        rig.whole(0, instrument=i, run=False)
        rig.quote(MS, FLAT, instrument=i, run=False)
        rig.trade(2 * MS, instrument=i, run=False)
        rig.trade(3 * MS, price=6_001_000, instrument=i)
    assert rig.intents() == []
    return rig, 4 * MS


@pytest.mark.parametrize("runs", [3, pytest.param(100, marks=pytest.mark.stress)])
@pytest.mark.parametrize("slots", [2, 16])
def test_refused_and_accepted_are_all_that_was_produced(slots, runs):
    total = [0, 0]
    for run in range(runs):
        chance = random.Random(run)
        rig, at = warm(slots)
        wanted: dict[int, tuple[int, int]] = {}  # instrument: event number and side of the order that went out
        produced = refused = 0
        order = list(range(slots * TIMES))
        for turn in range(3):  # who was refused asks again with its next tick
            chance.shuffle(order)
            for i in order:
                sizes = chance.choice((UP, DOWN))
                rig.quote(at, sizes, instrument=i)
                at += 1
                if i in wanted:
                    continue  # one order at a time: nothing is produced
                produced += 1
                if len(wanted) < slots:
                    wanted[i] = (rig.last_event_no[i], 1 if sizes == UP else -1)
                else:
                    refused += 1
                assert rig.rejects() == ({EXEC_RING_FULL: refused} if refused else {}), (turn, i)
        accepted = int(rig.wires.gauges[0, GAUGE_SHARD_INTENTS])
        assert accepted == slots == len(wanted) and accepted + refused == produced
        found = rig.intents()  # execution goes on
        said = {int(intent["instrument"]): (int(intent["event_no"]), int(intent["side"])) for intent in found}
        assert len(found) == accepted and list(said.items()) == list(wanted.items()), "overwritten or doubled"
        assert sum(int(risk["open_orders"]) for risk in rig.agent.memory.risks) == accepted, "a refused order is none"
        for intent in found:
            rig.report(at, REPORT_EXPIRED, intent)
        late = next(i for i in order if i not in wanted)
        rig.quote(at, UP, instrument=late)
        assert rig.intent()["instrument"] == late, "who was refused is no worse off"
        assert not peek_order(rig.wires.intents[0], np.zeros(16, np.int64), 0)
        total[0] += accepted
        total[1] += refused
    print(f"{runs} stalls, ring of {slots}: {total[0]:,} accepted, {total[1]:,} refused")
