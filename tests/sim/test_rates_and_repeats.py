"""Shards that flood, repeat themselves or trade with themselves, in execution's real wiring: how that ends."""

import random

import numpy as np
import pytest
from rig.execution import ASK, BID, Rig
from rig.tables import MS, SECOND

from bot4.adapters.system.latch import FILE_NAME, KillLatch, is_tripped
from bot4.engine.execution_memory import DENIED_TOKENS
from bot4.model.enums import (
    ACTION_CANCEL,
    ACTION_PLACE,
    LEG_ENTRY,
    LEG_EXIT,
    LEG_FLATTEN,
    LEG_STOP,
    ORDER_REDUCE_ONLY,
    REPORT_CANCELED,
    REPORT_EXPIRED,
    RISK_GROSS,
    RISK_KILLED,
    RISK_MESSAGE_RATE,
    RISK_ORDER_RATE,
    RISK_REPEAT,
    RISK_SELF_TRADE,
    RISK_SHARD_RATE,
    RISK_STOP_MISSING,
    SIDE_BUY,
    SIDE_SELL,
    TIF_GTC,
    TYPE_MARKET,
)
from bot4.model.records import JOURNAL, JOURNAL_DENIED, ORDER_INTENT
from bot4.shm.layout import CONTROL_KILL, KILLED_BY_REPEATS
from bot4.shm.wires import GAUGE_EXEC_INTENTS
from workers.execution import REPEATS, LatchReader
from workers.session import reset

RESTING = {"tif": TIF_GTC, "price_ticks": BID, "qty_lots": 100}
LEAVE = {
    "side": SIDE_SELL, "type": TYPE_MARKET, "price_ticks": 0, "stop_ticks": 0, "leg": LEG_EXIT,
    "flags": ORDER_REDUCE_ONLY,
}  # fmt: skip


def rig_of(folder, n=2, capacity=20_000, **limits):
    """As many shards as instruments, books whole."""
    rig = Rig(folder, n, n, capacity, limits)
    rig.open_market()
    return rig


def legs(requests):
    """What went out, by leg."""
    return [int(request["leg"]) for request in requests]


# --- rates -----------------------------------------------------------------------------------------------------------


def test_a_shard_that_floods_takes_the_rate_of_no_other(tmp_path):
    """The first shard writes a thousand orders before the second writes its one."""
    rig = rig_of(
        tmp_path, shard_tokens=3, shard_refill_ns=SECOND, order_tokens=5, order_refill_ns=SECOND, open_orders=99
    )
    for at in range(1_000):
        rig.intent(5 + at, **RESTING)
        rig.run()
    assert legs(rig.requests()) == [LEG_ENTRY] * 3
    assert rig.rejects == {RISK_SHARD_RATE: 997}
    rig.intent(2_000, shard=1, instrument=1, **RESTING)
    rig.run()
    (request,) = rig.requests()
    assert request["shard"] == 1


def test_all_shards_together_have_a_rate_of_their_own(tmp_path):
    rig = rig_of(tmp_path, 3, shard_tokens=3, shard_refill_ns=SECOND, order_tokens=5, order_refill_ns=SECOND)
    for shard in (0, 1, 2, 0, 1, 2, 0):
        rig.intent(5, shard=shard, instrument=shard, **RESTING)
        rig.run()
    assert [int(request["shard"]) for request in rig.requests()] == [0, 1, 2, 0, 1]
    assert rig.rejects == {RISK_ORDER_RATE: 2}


def test_exits_stops_and_cancels_pass_when_no_message_is_left(tmp_path):
    """An entry, its stop and a resting entry are three of four; from then on only what lowers risk goes out."""
    rig = rig_of(tmp_path, message_tokens=4, message_refill_ns=3_600 * SECOND)
    entry, (stop,) = rig.enter()
    assert int(stop["leg"]) == LEG_STOP
    rig.ack(4 * MS, stop)
    rig.intent(5 * MS, shard=1, instrument=1, **RESTING)
    rig.run()
    assert rig.rejects == {RISK_MESSAGE_RATE: 1} and not rig.requests()
    for number in range(20):  # far beyond the bucket
        rig.intent(6 * MS + number, **{**LEAVE, "qty_lots": 1})
        rig.run()
        (leave,) = rig.requests()
        rig.event(6 * MS + number + 1, REPORT_EXPIRED, leave)
        rig.run()
    rig.intent(7 * MS, **{**LEAVE, "qty_lots": 400})
    rig.run()
    (leave,) = rig.requests()
    rig.fill(8 * MS, leave)
    rig.run()
    (smaller,) = rig.requests()  # the stop follows the position
    assert int(smaller["leg"]) == LEG_STOP and smaller["qty_lots"] == entry["qty_lots"] - 400


def test_a_cancel_of_an_entry_passes_when_no_message_is_left(tmp_path):
    rig = rig_of(tmp_path, message_tokens=2, message_refill_ns=3_600 * SECOND)
    rig.intent(5, **RESTING)
    rig.run()
    (entry,) = rig.requests()
    rig.ack(2 * MS, entry)
    rig.intent(3 * MS, shard=1, instrument=1, **RESTING)
    rig.whole(4 * MS, whole=False)  # the entry leaves the book that broke
    rig.run()
    assert rig.rejects == {RISK_MESSAGE_RATE: 1}
    assert [int(request["action"]) for request in rig.requests()] == [ACTION_CANCEL]


# --- the journal of who is refused ------------------------------------------------------------------------------------


def test_refusals_of_a_flood_are_counted_in_few_records(tmp_path):
    """Ten thousand refusals within a second; each is in a record's count, once."""
    rig = rig_of(tmp_path, capacity=40_000)
    before = rig.agent.journal.count
    for at in range(10_000):
        rig.intent(5 + at, stop_ticks=0)
        if at % 100 == 0:
            rig.run()
            rig.reports()
    rig.run()
    assert rig.rejects == {RISK_STOP_MISSING: 10_000}
    assert rig.agent.journal.count - before == DENIED_TOKENS
    rig.intent(5 * SECOND, shard=1, instrument=1, stop_ticks=0)  # another shard has its own
    rig.intent(5 * SECOND, stop_ticks=0)
    rig.run()
    records = rig.agent.journal.records.view(JOURNAL)[: rig.agent.journal.count]
    denied = records[records["type"] == JOURNAL_DENIED]
    bodies = np.ascontiguousarray(denied["body"]).view(ORDER_INTENT)[:, 0]
    assert len(denied) == DENIED_TOKENS + 2
    assert bodies["aux"].tolist() == [0] * DENIED_TOKENS + [10_000 - DENIED_TOKENS, 0]
    told = int(rig.agent.memory.stats[GAUGE_EXEC_INTENTS])
    rig.build()
    assert rig.agent.memory.stats[GAUGE_EXEC_INTENTS] == told == 10_002


# --- repeats ---------------------------------------------------------------------------------------------------------

RUNS = 100


def signals_for_ever(rig, dice, orders):
    """A strategy that always wants more of one side: filled, expired, stopped out. Returns how many it sent."""
    sent = 0
    at = MS
    for _ in range(orders):
        at += dice.randrange(2 * MS, 200 * MS)
        rig.quote(at)
        rig.intent(at + 1, qty_lots=dice.randint(10, 100))
        rig.run()
        for request in rig.requests():
            if request["leg"] != LEG_ENTRY or request["action"] != ACTION_PLACE:
                continue
            sent += 1
            ending = dice.choice(("fill", "expire", "part"))
            if ending != "expire":
                rig.fill(at + 2 * MS, request, qty=request["qty_lots"] if ending == "fill" else 5)
            if ending != "fill":
                rig.event(at + 2 * MS, REPORT_EXPIRED, request)
            rig.run()
        for stop in rig.requests():
            if stop["leg"] == LEG_STOP and stop["action"] == ACTION_PLACE:
                rig.ack(at + 2 * MS + 1, stop)
                if dice.random() < 0.3 and rig.position["lots"]:
                    rig.fill(at + 2 * MS + 2, stop, qty=abs(int(rig.position["lots"])), price=BID)
        rig.run()
    return sent


@pytest.mark.parametrize("seed", range(4))
def test_a_strategy_that_always_signals_is_ended_until_a_person_resets_it(tmp_path, seed):
    repeat(tmp_path, seed)


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(4, RUNS))
def test_a_strategy_that_always_signals_is_ended_a_hundred_times(tmp_path, seed):
    repeat(tmp_path, seed)


def repeat(folder, seed):
    """After so many orders nothing more is opened, now or after a restart, until somebody resets it."""
    dice = random.Random(seed)
    most = dice.randint(1, 20)
    state = folder / "state"
    state.mkdir()
    KillLatch(state).initialise()
    rig = rig_of(folder, repeat_orders=most, open_orders=100)
    watched = LatchReader(rig.agent, rig.wires, state / FILE_NAME, rig.agent)
    assert signals_for_ever(rig, dice, 2 * most + 3) == most
    assert rig.rejects[RISK_REPEAT] == 1 and rig.rejects[RISK_KILLED] == most + 2
    assert rig.wires.control[CONTROL_KILL] == KILLED_BY_REPEATS
    while watched.do_work():
        pass
    assert KillLatch(state).read().reason == REPEATS
    rig.start()
    rig.event(3_600 * SECOND, 11, {"id_hi": 2, "id_lo": 0, "order_row": -1, "instrument": 0, "side": 0}, event_seq=0)
    rig.intent(3_600 * SECOND, shard=1, instrument=1)
    rig.quote(3_600 * SECOND - 1, instrument=1)
    rig.run()
    assert LEG_ENTRY not in [int(r["leg"]) for r in rig.requests() if r["action"] == ACTION_PLACE]
    reset(state, "the strategy was mended")
    assert not is_tripped(state / FILE_NAME)


def test_what_rests_is_taken_back_and_stops_stay(tmp_path):
    rig = rig_of(tmp_path, repeat_orders=3)
    _, (stop,) = rig.enter()
    rig.ack(4 * MS, stop)
    rig.intent(5 * MS, **RESTING)
    rig.intent(6 * MS, **RESTING)
    rig.run()
    resting = rig.requests()
    for request in resting:
        rig.ack(8 * MS, request)
    rig.intent(9 * MS, **RESTING)
    rig.run()
    cancels = rig.requests()
    assert rig.rejects == {RISK_REPEAT: 1}
    assert sorted(int(one["id_lo"]) for one in cancels) == sorted(int(one["id_lo"]) for one in resting)
    assert {int(one["action"]) for one in cancels} == {ACTION_CANCEL}
    for cancel in cancels:
        rig.event(11 * MS, REPORT_CANCELED, cancel)
    rig.run()
    assert rig.position["lots"] == 1_000 and rig.requests() == []


def test_who_leaves_by_the_lot_for_ever_is_taken_out_by_execution(tmp_path):
    """Four exits of one lot; the fifth is refused and the rest of the position closed at the market, once."""
    rig = rig_of(tmp_path, repeat_orders=4, open_orders=100)
    _, (stop,) = rig.enter()
    rig.ack(4 * MS, stop)
    for number in range(1_000):
        rig.intent(5 * MS + number, **{**LEAVE, "qty_lots": 1})
    rig.run()
    requests = rig.requests()
    assert legs(requests) == [LEG_EXIT] * 4 + [LEG_EXIT] * 4 + [LEG_FLATTEN]
    assert [int(one["action"]) for one in requests[4:8]] == [ACTION_CANCEL] * 4
    assert requests[-1]["qty_lots"] == 1_000
    assert rig.rejects == {RISK_REPEAT: 996}


@pytest.mark.parametrize("between", ["a pause", "the other side"])
def test_a_row_ends(tmp_path, between):
    rig = rig_of(tmp_path, repeat_orders=2, repeat_pause_ns=SECOND, open_orders=100)
    other = {"side": SIDE_SELL, "price_ticks": ASK, "stop_ticks": ASK + 60_000, "tif": TIF_GTC, "qty_lots": 100}
    at = 5
    for number in range(12):
        rig.intent(at, **RESTING)
        if between == "the other side" and number % 2:
            rig.intent(at + 1, **other)
        at += SECOND if between == "a pause" and number % 2 else 10
    rig.run()
    assert rig.rejects == {} and rig.wires.control[CONTROL_KILL] == 0
    assert {int(request["side"]) for request in rig.requests()} >= {SIDE_BUY}


def test_an_instrument_repeats_for_itself_alone(tmp_path):
    rig = rig_of(tmp_path, repeat_orders=2)
    for number in range(4):
        rig.intent(5 + number, shard=number % 2, instrument=number % 2, **RESTING)
    rig.run()
    assert rig.rejects == {} and len(rig.requests()) == 4


# --- self-trade ------------------------------------------------------------------------------------------------------

CROSSES = 2_000


@pytest.mark.parametrize("crosses", [CROSSES, pytest.param(5 * CROSSES, marks=pytest.mark.stress)])
def test_two_sides_of_one_account_never_meet(tmp_path, crosses):
    """Both sides on purpose, thousands of times; of what is open at the venue no buy is at or above a sell."""
    dice = random.Random(7)
    rig = rig_of(tmp_path, capacity=16 * crosses + 20_000, open_orders=200, position_bps=10_000)
    open_orders: dict[int, tuple[int, int]] = {}
    requests: dict[int, np.ndarray] = {}
    for number in range(crosses):
        at = (5 + number) * MS
        rig.quote(at)
        side = dice.choice((1, -1))
        price = dice.choice((BID, ASK, BID - 50, ASK + 50, (BID + ASK) // 2))
        stop = BID - 50_000 if side > 0 else ASK + 50_000
        rig.intent(at + 1, side=side, price_ticks=price, stop_ticks=stop, tif=TIF_GTC, qty_lots=10)
        rig.run()
        for request in rig.requests():
            for _, (other_side, other) in open_orders.items():
                assert other_side == request["side"] or (request["price_ticks"] - other) * request["side"] < 0
            open_orders[int(request["id_lo"])] = int(request["side"]), int(request["price_ticks"])
            requests[int(request["id_lo"])] = request
        while len(open_orders) > 6:
            gone = dice.choice(list(open_orders))
            del open_orders[gone]
            rig.event(at + 2, REPORT_CANCELED, requests.pop(gone))
            rig.run()
            rig.reports()
    assert rig.rejects[RISK_SELF_TRADE] > crosses // 5
    assert set(rig.rejects) == {RISK_SELF_TRADE}


@pytest.mark.parametrize("beyond", [True, False])
def test_an_exit_cancels_the_own_entry_that_it_would_meet(tmp_path, beyond):
    rig = rig_of(tmp_path)
    _, (stop,) = rig.enter()
    rig.ack(4 * MS, stop)
    rig.intent(5 * MS, **RESTING)
    rig.run()
    (entry,) = rig.requests()
    rig.ack(5 * MS + 1, entry)
    rig.intent(6 * MS, **{**LEAVE, "type": 2, "price_ticks": BID if beyond else ASK, "qty_lots": 500, "tif": TIF_GTC})
    rig.run()
    sent = rig.requests()
    if beyond:
        assert (int(sent[0]["action"]), sent[0]["id_lo"]) == (ACTION_CANCEL, entry["id_lo"])
    assert legs(sent)[-1] == LEG_EXIT and len(sent) == 1 + beyond


def test_an_exit_that_is_pending_is_no_exposure(tmp_path):
    """The position of 1,000 that leaves counts once: its exit would only be clipped."""
    rig = rig_of(tmp_path)
    rig.enter()
    rig.intent(6 * MS, **{**LEAVE, "type": 2, "price_ticks": ASK, "qty_lots": 1_000, "tif": TIF_GTC})
    rig.run()
    rig.requests()
    rig.limits["gross_bps"], rig.limits["net_bps"] = 80, 50  # 1,000 lots are worth 600 of 100,000, 300 more 180
    rig.intent(7 * MS, shard=1, instrument=1, side=SIDE_SELL, price_ticks=BID, stop_ticks=ASK + 60_000, qty_lots=300)
    rig.intent(8 * MS, shard=1, instrument=1, side=SIDE_SELL, price_ticks=BID, stop_ticks=ASK + 60_000, qty_lots=900)
    rig.run()
    assert rig.rejects == {RISK_GROSS: 1} and len(rig.requests()) == 1
