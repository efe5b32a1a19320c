"""The gateway on coins dies at each of its named points; the next life holds what the venue says, to the last unit."""

from collections import Counter

import numpy as np
import pytest
from rig.gateway_spot import TICKS, SpotRig
from sim.test_gateway_spot import COARSE, LOTS, REDUCE, equal, ledger, stop, trade_of_parts
from unit.engine.test_gateway_crash import STARTING, Died, arm  # noqa: F401 - a fixture

from bot4 import crash
from bot4.engine.gateway_log import Heard
from bot4.model import enums as e


def trade(rig):
    """An entry that pays a fee of the coin, a stop, an exit in its place, an entry and a stop that is taken back."""
    for closes in (True, False):
        entry = rig.place(1, LOTS + 7, price=60_001 * TICKS, tif=e.TIF_IOC, wait=False)
        rig.until(lambda entry=entry: rig.kinds(entry)[-1:] == ["expired"])
        guard = stop(rig, rig.lots())
        if closes:
            leaving = rig.place(-1, rig.lots(), flags=REDUCE, wait=False)
            rig.until(lambda leaving=leaving: "fill" in rig.kinds(leaving))
        else:
            rig.send(e.ACTION_CANCEL, guard)
        rig.until(lambda guard=guard: rig.kinds(guard)[-1] == "canceled")


def asked(rig, order):
    """Execution asks for it: the answer."""
    rig.answers.clear()
    rig.send(e.ACTION_QUERY_ORDER, order)
    rig.until(lambda: rig.of(order, answers=True))
    return rig.of(order, answers=True)[-1]


def identities(rig):
    """Everything that execution has sent an order for."""
    return [(int(one["id_hi"]), int(one["id_lo"])) for one in rig.placed]


def judged(rig):
    """Every event has one number and one meaning, no order went out twice, what is held is the venue's."""
    rig.read()
    meanings = {}
    for one in rig.events:
        said = (int(one["kind"]), int(one["id_lo"]), int(one["trade_id"]))
        assert meanings.setdefault(int(one["event_seq"]), said) == said
    assert sorted(meanings) == list(range(1, len(meanings) + 1))
    by_number = {int(one["event_seq"]): one for one in rig.events}
    rig.events[:] = [by_number[number] for number in sorted(by_number)]
    lines = ledger(rig)
    taken = Counter(one["client_order_id"] for one in lines if one["kind"] == "order" and one["status"] == "accepted")
    for order in identities(rig):
        kind = int(asked(rig, order)["kind"])
        assert taken[rig.link(order)] == (kind == e.REPORT_ORDER and not refused(rig, order))
    equal(rig)


def refused(rig, order):
    """Whether the venue, or the gateway for it, has refused it."""
    return int(rig.answers[-1]["status"]) == e.REPORT_REJECT


def dies(arm, rig, name, act, nth=1):  # noqa: F811
    """It does, there."""
    arm(name, nth)
    with pytest.raises(Died):
        act()
    rig.agent._log.close()  # the kernel's part


@pytest.mark.parametrize("name", [name for name in crash.GATEWAY_POINTS if name not in STARTING])
@pytest.mark.parametrize("copies", [1, 0], ids=["heard", "silent"])
def test_a_gateway_that_dies_at_work(tmp_path, arm, name, copies):  # noqa: F811
    first = SpotRig(tmp_path, copies=copies, coins_e8=500)
    first.until(lambda: first.agent.is_ready)
    trade(first)
    dies(arm, first, name, lambda: trade(first))
    with SpotRig(tmp_path, before=first) as second:
        second.until(lambda: second.agent.is_ready)
        judged(second)
        held = second.lots()
        if held and not second.desk.done(0, "GET", "openOrders"):
            stop(second, held)
        trade(second) if not held else None
        judged(second)


@pytest.mark.parametrize("nth", range(1, 9))
@pytest.mark.parametrize("name", ["gateway_event_unlogged", "gateway_event_logged"])
def test_whatever_it_told_last_the_next_life_goes_on_from_there(tmp_path, arm, name, nth):  # noqa: F811
    """Acknowledged, filled, ended for what the fee took, the stop, the exit in its place, and the stop's end."""
    first = SpotRig(tmp_path)
    first.until(lambda: first.agent.is_ready)
    dies(arm, first, name, lambda: trade(first), nth)
    with SpotRig(tmp_path, before=first) as second:
        second.until(lambda: second.agent.is_ready)
        judged(second)


@pytest.mark.parametrize("name", STARTING)
def test_a_gateway_that_dies_while_it_takes_up_what_another_life_has_left(tmp_path, arm, name):  # noqa: F811
    first = SpotRig(tmp_path)
    first.until(lambda: first.agent.is_ready)
    dies(arm, first, "gateway_stop_logged", lambda: trade(first))

    def next_life():
        second = SpotRig(tmp_path, before=first)
        for order in identities(first):
            second.send(e.ACTION_QUERY_ORDER, order)
        second.go_on(60.0)

    dies(arm, first, name, next_life)
    with SpotRig(tmp_path, before=first) as third:
        third.until(lambda: third.agent.is_ready)
        judged(third)


@pytest.mark.parametrize("nth", range(2, 30, 3))
@pytest.mark.parametrize("name", ["gateway_event_unlogged", "gateway_event_logged", "gateway_answer"])
def test_parts_of_lots_outlive_it(tmp_path, arm, name, nth):  # noqa: F811
    dice = np.random.default_rng(nth)
    first = SpotRig(tmp_path, coarse=COARSE)
    first.until(lambda: first.agent.is_ready)
    dies(arm, first, name, lambda: trade_of_parts(first, dice, 100), nth)
    with SpotRig(tmp_path, before=first, coarse=COARSE) as second:
        second.until(lambda: second.agent.is_ready)
        judged(second)
        for order in identities(second):
            assert second.agent._orders[order].ended or second.agent._orders[order].type == e.TYPE_STOP_MARKET
        trade_of_parts(second, dice, 2)


class AfterTheCut(SpotRig):
    """A life whose log a power cut has taken all but the start of; execution's journal is whole."""

    journaled = None

    def past(self, before):
        return {"heard": Heard(self.journaled), "has_lost": True}


@pytest.mark.parametrize("seed", range(4))
def test_parts_of_lots_outlive_a_power_cut(tmp_path, seed, monkeypatch):
    dice = np.random.default_rng(seed)
    with SpotRig(tmp_path, coarse=COARSE) as first:
        first.until(lambda: first.agent.is_ready)
        log = tmp_path / "gateway.bin"
        kept = log.read_bytes()
        trade_of_parts(first, dice, 3)
        resting = first.place(1, 3, price=60_000 * TICKS, wait=False)
        first.until(lambda: first.of(resting))
        first.desk.limit(2, "SELL", "60000", "0.01234")  # ... and 1,766 more to come
        first.until(lambda: len(first.of(resting)) > 1)
    log.write_bytes(kept)
    monkeypatch.setattr(AfterTheCut, "journaled", first.journal(tmp_path / "journal.bin"))
    with AfterTheCut(tmp_path, before=first, coarse=COARSE) as second:
        second.until(lambda: second.agent.is_ready)
        second.go_on(5.0)
        assert second.agent._orders[resting].cum == (1, 234 * 1_000)
        equal(second)
    with SpotRig(tmp_path, before=second, coarse=COARSE) as third:
        third.until(lambda: third.agent.is_ready)
        assert third.agent._orders[resting].cum == (1, 234 * 1_000)
        third.desk.limit(2, "SELL", "60000", "0.01766")
        third.until(lambda: third.agent._orders[resting].ended)
        assert third.agent._orders[resting].cum == (3, 0)
        trade_of_parts(third, dice, 2)
