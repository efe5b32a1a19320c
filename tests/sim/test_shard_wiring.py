"""The shard as it runs: ticks and reports in by ring, intents and refusals out, the test playing feed and execution."""

import numpy as np
import pytest
from rig import puppet
from rig.breaker import row_of, state_of
from rig.puppet import INFINITE_LOTS, NOT_A_NUMBER_LOTS
from rig.shard import ASK, BID, DOWN, FLAT, T0, UP, Rig
from rig.tables import MS, SECOND

from bot4.engine.shard import MAX_BATCH
from bot4.engine.shard_keep import COPIES, NUMBER
from bot4.model import enums
from bot4.model.breaker import FAILURES
from bot4.model.enums import (
    ACTION_CANCEL,
    ACTION_PLACE,
    FLAG_LAST,
    FLAG_SNAPSHOT,
    INT64_MAX,
    LEG_ENTRY,
    LEG_EXIT,
    LEG_STOP,
    ORDER_POST_ONLY,
    ORDER_REDUCE_ONLY,
    REPORT_ACK,
    REPORT_CANCELED,
    REPORT_DENIED,
    REPORT_EXPIRED,
    REPORT_FILL,
    REPORT_ORDER,
    REPORT_POSITION,
    REPORT_REJECT,
    STATUS_STALE,
    TICK_LEVEL,
    TICK_MARK,
    TICK_QUOTE,
    TIF_GTC,
    TIF_IOC,
    TYPE_LIMIT,
    TYPE_MARKET,
)
from bot4.shm.layout import CLOCK_FEED, CLOCK_SHARD, CONTROL_KILL, CONTROL_RESYNC, CONTROL_SNAPSHOT, LINE, RING_TAIL
from bot4.shm.spsc_ring import has_space, push_order
from bot4.shm.wires import GAUGE_SHARD_GATE_OPEN, GAUGE_SHARD_INTENTS, GAUGE_SHARD_STEPS, STAGES

ENTRY_LOTS = 100_000 * 10**8 * 150 // 10_000 // ((ASK + 1) * 10)  # 1.5 % of equity at the limit price


# --- from a tick to an intent ----------------------------------------------------------------------------------------


def test_an_entry_says_everything_that_execution_needs():
    rig = Rig()
    at = rig.warm_up()
    rig.quote(at, UP)
    order = rig.intent()
    event_no = rig.last_event_no[0]
    assert (order["ts_ns"], order["event_no"], order["instrument"], order["shard"]) == (T0 + at, event_no, 0, 0)
    assert (order["action"], order["side"], order["leg"]) == (ACTION_PLACE, 1, LEG_ENTRY)
    assert (order["type"], order["tif"], order["flags"]) == (TYPE_LIMIT, TIF_IOC, 0)
    assert (order["price_ticks"], order["qty_lots"]) == (ASK + 1, ENTRY_LOTS)
    assert order["ref_ticks"] == BID + ASK and order["score"] == pytest.approx(0.8)
    assert order["stop_ticks"] == ASK + 1 - 1_200  # 1.2 ranges of 1,000 ticks
    assert order["order_row"] == -1 and order["tsc"] == 0
    assert int(order["id_hi"]) == 1 << 48 | 1 << 32 | 0 << 16 | 1
    assert int(order["id_lo"]) == event_no << 32 | LEG_ENTRY << 24
    assert rig.wires.gauges[0, GAUGE_SHARD_INTENTS] == 1
    assert rig.rejects() == {}


def test_a_short_entry_mirrors_a_long_one():
    rig = Rig()
    rig.quote(rig.warm_up(), DOWN)
    order = rig.intent()
    assert (order["side"], order["price_ticks"], order["stop_ticks"]) == (-1, BID - 1, BID - 1 + 1_200)


def test_one_order_at_a_time():
    rig = Rig()
    at = rig.warm_up()
    rig.quote(at, UP)
    order = rig.intent()
    rig.quote(at + MS, UP)
    rig.quote(at + 2 * MS, DOWN)
    assert rig.intents() == []
    rig.report(at + 3 * MS, REPORT_EXPIRED, order)
    assert rig.risk()["pending_buy_lots"] == rig.risk()["open_orders"] == 0
    rig.quote(at + 4 * MS, UP)
    assert rig.intent()["side"] == 1


def test_hysteresis_and_exit():
    rig = Rig()
    _, at = rig.held()
    rig.quote(at, (60, 40))  # score 0.2: too little to open, enough to stay
    assert rig.intents() == []
    rig.quote(at + MS, FLAT)
    order = rig.intent()
    assert (order["side"], order["leg"], order["type"], order["tif"]) == (-1, LEG_EXIT, TYPE_MARKET, TIF_IOC)
    assert (order["flags"], order["qty_lots"], order["price_ticks"]) == (ORDER_REDUCE_ONLY, ENTRY_LOTS, 0)
    rig.fill(at + 2 * MS, order)
    assert rig.risk()["position_lots"] == 0
    assert rig.agent.memory.strategies[0]["fills"] == 2 and rig.agent.memory.strategies[0]["filled_lots"] == 0


def test_a_position_is_not_closed_on_a_score_that_is_still_cold():
    rig = Rig()
    _, at = rig.held()
    next(rig.event_no[0])
    rig.quote(at, DOWN)
    rig.snapshot(at + MS)
    rig.quote(at + 2 * MS, DOWN)
    assert rig.intents() == [] and rig.rejects()[enums.DECISION_WARMING] == 1
    for number in range(3):
        rig.trade(at + (3 + number) * MS, price=BID + 1_000 * (number % 2), flags=0)
    rig.quote(at + 8 * MS, DOWN)
    assert rig.intent()["leg"] == LEG_EXIT


def test_a_position_is_held_for_the_minimum_time():
    rig = Rig(min_hold_ns=SECOND)
    _, at = rig.held()
    entered = at - MS
    rig.quote(entered + SECOND - 1, DOWN)
    assert rig.intents() == []
    rig.quote(entered + SECOND, DOWN)
    assert rig.intent()["leg"] == LEG_EXIT


def test_a_position_is_closed_when_its_time_is_over():
    """Though the score wants it, and though it would be held longer."""
    rig = Rig(max_hold_ns=SECOND, min_hold_ns=2 * SECOND)
    _, at = rig.held()
    entered = at - MS
    rig.quote(entered + SECOND - 1, UP)
    assert rig.intents() == []
    rig.quote(entered + SECOND, UP)
    assert rig.intent()["leg"] == LEG_EXIT


def test_the_order_says_what_decided_its_size():
    for method, decided in ((0, enums.SIZED_BY_FRACTION), (1, enums.SIZED_BY_EVIDENCE), (2, enums.SIZED_BY_VOLATILITY)):
        rig = Rig(sizing=method, sizing_budget_bps=0.001)
        at = rig.warm_up()
        rig.quote(at, UP)
        order = rig.intent()
        assert order["sized_by"] == decided and (order["qty_lots"] < ENTRY_LOTS) == (method > 0)


def test_a_partial_fill_is_pending_until_the_rest_expires():
    rig = Rig()
    at = rig.warm_up()
    rig.quote(at, UP)
    order = rig.intent()
    rig.report(at + MS, REPORT_ACK, order)
    rig.fill(at + MS, order, lots=100, leaves=ENTRY_LOTS - 100)
    assert (rig.risk()["position_lots"], rig.risk()["pending_buy_lots"]) == (100, ENTRY_LOTS - 100)
    rig.quote(at + 2 * MS, DOWN)
    assert rig.intents() == []  # the order is still out
    rig.report(at + 3 * MS, REPORT_EXPIRED, order)
    assert (rig.risk()["pending_buy_lots"], rig.risk()["open_orders"]) == (0, 0)
    rig.quote(at + 4 * MS, DOWN)
    assert rig.intent()["qty_lots"] == 100


def test_a_protective_stop_moves_the_position():
    rig = Rig()
    entry, at = rig.held()
    rig.report(at, REPORT_FILL, entry, id_lo=int(entry["id_lo"]) | LEG_STOP << 24, side=-1, leg=LEG_STOP,
               qty_lots=ENTRY_LOTS, price_ticks=BID)  # fmt: skip
    assert rig.risk()["position_lots"] == rig.agent.memory.views[0]["position_lots"] == 0
    rig.quote(at + MS, UP)
    assert rig.intent()["leg"] == LEG_ENTRY


@pytest.mark.parametrize("kind", [REPORT_REJECT, REPORT_DENIED])
def test_after_a_refusal_from_outside_it_waits(kind):
    rig = Rig()
    at = rig.warm_up()
    rig.quote(at, UP)
    rig.report(at, kind, rig.intent(), code=enums.RISK_POSITION)
    rig.quote(at + 100 * MS - 1, UP)
    assert rig.intents() == []
    rig.quote(at + 100 * MS, UP)
    rig.intent()


def test_no_decision_between_the_records_of_one_message():
    rig = Rig()
    at = rig.warm_up()
    rig.quote(at, UP, flags=0)
    assert rig.intents() == []
    rig.tick(at, TICK_LEVEL, (BID - 5, 10, 1, 0), flags=0)
    assert rig.intents() == []
    rig.tick(at, TICK_LEVEL, (BID - 6, 10, 1, 0), flags=FLAG_LAST | enums.FLAG_QUOTE_NEWER)
    rig.intent()


def test_mark_prices_and_status_decide_nothing():
    rig = Rig()
    at = rig.warm_up()
    rig.quote(at, UP, flags=0)
    rig.tick(at, TICK_MARK, (60_000 * 10**8, 0, 0, 0))
    rig.whole(at)
    assert rig.intents() == []
    assert rig.agent.memory.states[0]["mark_e8"] == 60_000 * 10**8


def test_a_resting_entry_is_cancelled_when_it_is_old():
    rig = Rig(entry_style=1, entry_life_ns=SECOND)
    at = rig.warm_up()
    rig.quote(at, UP)
    order = rig.intent()
    assert (order["tif"], order["flags"], order["price_ticks"]) == (TIF_GTC, ORDER_POST_ONLY, BID)
    rig.report(at, REPORT_ACK, order)
    rig.quote(at + SECOND - 1, UP)
    assert rig.intents() == []
    rig.quote(at + SECOND, UP)
    cancel = rig.intent()
    assert (cancel["action"], cancel["id_hi"], cancel["id_lo"]) == (ACTION_CANCEL, order["id_hi"], order["id_lo"])
    rig.quote(at + 2 * SECOND - 1, UP)
    assert rig.intents() == []  # the cancel is on its way
    rig.quote(at + 2 * SECOND, UP)
    assert rig.intent()["action"] == ACTION_CANCEL  # nothing came of it: again
    rig.report(at + 2 * SECOND + 1, REPORT_CANCELED, order)
    rig.quote(at + 2 * SECOND + 2, UP)
    assert rig.intent()["action"] == ACTION_PLACE


def test_a_resting_entry_is_cancelled_when_it_is_no_longer_wanted():
    rig = Rig(entry_style=1)
    at = rig.warm_up()
    rig.quote(at, UP)
    rig.intent()
    rig.quote(at + MS, FLAT)
    assert rig.intent()["action"] == ACTION_CANCEL


def test_two_shards_handle_their_own_instruments():
    rig = Rig(n_instruments=4, n_shards=2, k=1)
    rig.whole(0, instrument=3)
    rig.quote(MS, instrument=3)
    for number in range(3):
        rig.trade((2 + number) * MS, price=BID + 1_000 * (number % 2), instrument=3)
    rig.quote(5 * MS, UP, instrument=3)
    order = rig.intent()
    assert (order["instrument"], order["shard"]) == (3, 1)
    rig.quote(6 * MS, UP, instrument=2)
    assert rig.rejects() == {enums.DATA_BAD_KIND: 1}


# --- refusals: each code of data, decision and risk ------------------------------------------------------------------


def wanting(limit_changes=(), before=lambda rig: None, sizes=UP, bid=BID, ask=ASK, **more):
    """A warm shard that wants to act once; returns the rig."""
    rig = Rig(limit_changes=limit_changes, **more)
    at = rig.warm_up()
    before(rig)
    rig.quote(at + MS, sizes, bid, ask)
    return rig


def refused(rig, code):
    """Nothing went out and this code was counted once, nothing else."""
    assert rig.intents() == []
    assert {enums.REJECT_NAMES[found]: count for found, count in rig.rejects().items()} == {enums.REJECT_NAMES[code]: 1}
    assert rig.risk()["open_orders"] == rig.risk()["pending_buy_lots"] == rig.risk()["last_open_ns"] == 0


def test_data_gap():
    rig = Rig()
    at = rig.warm_up()
    next(rig.event_no[0])
    rig.quote(at, UP)
    refused(rig, enums.DATA_GAP)


def test_data_crossed():
    refused(wanting(bid=ASK, ask=BID), enums.DATA_CROSSED)


def test_data_bad_value():
    refused(wanting(bid=0), enums.DATA_BAD_VALUE)


def test_data_time_back():
    rig = Rig()
    at = rig.warm_up()
    rig.quote(at - 2 * MS, UP)
    refused(rig, enums.DATA_TIME_BACK)


def test_data_bad_kind():
    rig = Rig()
    rig.tick(rig.warm_up(), 9)
    refused(rig, enums.DATA_BAD_KIND)


def test_data_stale():
    refused(wanting(before=lambda rig: rig.whole(5 * MS, STATUS_STALE)), enums.DATA_STALE)


def test_decision_warming():
    refused(wanting(warm_bars=100), enums.DECISION_WARMING)
    refused(wanting(atr_period=100), enums.DECISION_WARMING)


def test_decision_no_quote():
    rig = Rig()
    rig.whole(0)
    rig.trade(MS)
    refused(rig, enums.DECISION_NO_QUOTE)


def test_decision_old_quote():
    rig = Rig(limit_changes={"quote_age_ns": SECOND}, warm_bars=0)
    at = rig.warm_up()
    rig.quote(at, UP, flags=0)
    rig.trade(at + SECOND + 1)
    refused(rig, enums.DECISION_NO_QUOTE)


def test_decision_gate_shut():
    refused(wanting(before=lambda rig: rig.totals(5 * MS, gate=0)), enums.DECISION_GATE_SHUT)


@pytest.mark.parametrize("lots", [NOT_A_NUMBER_LOTS, INFINITE_LOTS, puppet.BEYOND_LOTS])
def test_decision_bad_score(lots):
    refused(wanting(sizes=(lots, 5)), enums.DECISION_BAD_SCORE)


def test_the_least_score_is_one():
    rig = wanting(sizes=(puppet.LEAST_LOTS, 5))
    assert rig.intent()["side"] == enums.SIDE_SELL and rig.rejects() == {}


def test_risk_killed():
    rig = Rig()
    at = rig.warm_up()
    rig.wires.control[CONTROL_KILL] = 1
    rig.quote(at, UP)
    refused(rig, enums.RISK_KILLED)


def test_decision_model_shut():
    """A strategy whose scores are no numbers is shut, tried and opened again."""
    rig = Rig()
    row = row_of(rig.wires, "model", failures=3, window_ms=1_000, open_ms=1_000, doublings=1, probes=2)
    rig.start()
    at = rig.warm_up()

    def score(after_ms, sizes):
        nonlocal at
        at += after_ms * MS
        rig.quote(at, sizes)
        return state_of(row)

    nan = (puppet.NOT_A_NUMBER_LOTS, 5)
    assert [score(10, nan), score(10, nan)] == [("closed", 0)] * 2
    assert score(1_000, nan) == ("closed", 0)  # the window of the first two is over
    assert [score(10, nan), score(10, nan)] == [("closed", 0), ("open", 1)]
    assert score(10, UP) == ("open", 1) and rig.intents() == []
    assert rig.rejects() == {enums.DECISION_BAD_SCORE: 5, enums.DECISION_MODEL_SHUT: 1}
    assert score(1_000, UP) == ("half-open", 1) and rig.intents() == []
    assert score(10, nan) == ("open", 2)  # twice as long
    assert score(1_500, UP) == ("open", 2)
    assert score(500, UP) == ("half-open", 2) and rig.intents() == []
    assert score(10, UP) == ("closed", 2) and [one["side"] for one in rig.intents()] == [enums.SIDE_BUY]
    assert row[FAILURES] == 6


def test_risk_breaker_open():
    refused(wanting(before=lambda rig: rig.totals(5 * MS, breaker=1)), enums.RISK_BREAKER_OPEN)


def test_risk_no_equity():
    refused(wanting(before=lambda rig: rig.totals(5 * MS, equity=0)), enums.RISK_NO_EQUITY)


def test_risk_drawdown():
    refused(wanting(before=lambda rig: rig.totals(5 * MS, 85_000, high=100_000)), enums.RISK_DRAWDOWN)


def test_risk_daily_loss():
    refused(wanting(before=lambda rig: rig.totals(5 * MS, 97_000, start=100_000)), enums.RISK_DAILY_LOSS)


def test_risk_streak():
    refused(wanting(before=lambda rig: rig.totals(5 * MS, streak=1)), enums.RISK_STREAK)


def test_risk_gross():
    refused(wanting({"gross_bps": 99}), enums.RISK_GROSS)


def test_risk_strategy():
    refused(wanting({"strategy_bps": 99}), enums.RISK_STRATEGY)


def test_risk_net():
    refused(wanting({"net_bps": 99}), enums.RISK_NET)


def test_risk_venue():
    refused(wanting({"venue_bps": 99}), enums.RISK_VENUE)


def test_risk_open_orders():
    refused(wanting({"open_orders": 0}), enums.RISK_OPEN_ORDERS)


def test_risk_position():
    """The size is right at the bid and one lot too many at the mid of a wide quote."""
    refused(wanting({"position_bps": 150}, sizes=DOWN, ask=BID + 40_000, stop_min_bps=200.0), enums.RISK_POSITION)


def test_risk_notional():
    refused(wanting({"order_notional_e8": 10**8}), enums.RISK_NOTIONAL)


def test_risk_min_notional():
    refused(wanting(before=lambda rig: rig.instruments.__setitem__("min_notional_e8", 10**15)), enums.RISK_MIN_NOTIONAL)


def test_risk_order_size():
    refused(wanting({"order_lots": ENTRY_LOTS - 1}), enums.RISK_ORDER_SIZE)


def test_risk_collar():
    refused(wanting({"collar_bps": 10}, slippage_ticks=10_000, stop_min_bps=100.0), enums.RISK_COLLAR)


def test_risk_stop_missing():
    refused(wanting(stop_atr_multiple=0.0, stop_min_bps=0.0), enums.RISK_STOP_MISSING)


def test_risk_stop_side():
    """The quote is wider than the stop's distance: the stop would trigger at once."""
    refused(wanting({"collar_bps": 100}, ask=BID + 5_000), enums.RISK_STOP_SIDE)


def test_risk_stop_far():
    refused(wanting({"stop_bps": 1}, stop_min_bps=2.0), enums.RISK_STOP_FAR)


def test_risk_stop_loss():
    refused(wanting({"stop_loss_bps": 0}), enums.RISK_STOP_LOSS)


def test_risk_size_zero():
    refused(wanting(before=lambda rig: rig.instruments.__setitem__("value_e8", 10**12)), enums.RISK_SIZE_ZERO)


def test_risk_bad_order():
    refused(wanting(before=lambda rig: rig.instruments.__setitem__("min_qty_lots", 10**8)), enums.RISK_BAD_ORDER)


def test_risk_short_spot():
    refused(wanting(spot=True, sizes=DOWN), enums.RISK_SHORT_SPOT)


def test_risk_cool_down():
    rig = Rig(limit_changes={"cool_down_ns": SECOND})
    at = rig.warm_up()
    rig.quote(at, UP)
    rig.report(at + MS, REPORT_EXPIRED, rig.intent())
    rig.quote(at + SECOND - 1, UP)
    assert rig.intents() == [] and rig.rejects() == {enums.RISK_COOL_DOWN: 1}
    rig.quote(at + SECOND, UP)
    rig.intent()


def test_risk_rate():
    rig = Rig(limit_changes={"bucket_tokens": 2, "bucket_refill_ns": SECOND})
    at = rig.warm_up()
    for number in range(2):
        rig.quote(at + 2 * number * MS, UP)
        rig.report(at + (2 * number + 1) * MS, REPORT_EXPIRED, rig.intent())
    rig.quote(at + 5 * MS, UP)
    assert rig.intents() == [] and rig.rejects() == {enums.RISK_RATE: 1}


def test_every_code_of_data_decision_and_risk_is_fired_above():
    """A code without a test of its name would be one that nothing here can cause."""
    names = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    of_execution_alone = {
        "risk_correlation", "risk_value_at_risk", "risk_shortfall", "risk_shard_rate", "risk_order_rate",
        "risk_message_rate", "risk_repeat", "risk_self_trade", "risk_reduce_only",
    }  # fmt: skip
    assert {name.lower() for code, name, _ in enums.REJECTS if code < 400} - of_execution_alone <= names


def test_a_full_intent_ring_refuses_and_nothing_is_noted():
    rig = Rig()
    at = rig.warm_up()
    while has_space(rig.wires.intents[0], 1):
        push_order(rig.wires.intents[0], np.zeros(16, np.int64), 0)
    rig.quote(at, UP)
    assert rig.rejects() == {enums.EXEC_RING_FULL: 1}
    assert rig.risk()["open_orders"] == rig.risk()["last_open_ns"] == 0
    assert len(rig.intents()) == 1_024
    rig.quote(at + MS, UP)
    rig.intent()


def test_an_exit_passes_what_stops_an_entry():
    rig = Rig(limit_changes={"cool_down_ns": 10 * SECOND})
    _, at = rig.held()
    rig.totals(at, equity=1, high=100_000, breaker=1, gate=0)
    rig.whole(at, STATUS_STALE)
    rig.wires.control[CONTROL_KILL] = 1
    rig.quote(at + MS, DOWN)
    assert rig.intent()["leg"] == LEG_EXIT


# --- gaps, snapshots, restarts ---------------------------------------------------------------------------------------


def test_gap_shuts_the_gate_and_a_snapshot_opens_it():
    rig = Rig()
    at = rig.warm_up()
    assert rig.wires.gauges[0, GAUGE_SHARD_GATE_OPEN] == 1
    next(rig.event_no[0])
    rig.quote(at, UP)
    assert rig.wires.control[CONTROL_SNAPSHOT] == 1 and rig.wires.gauges[0, GAUGE_SHARD_GATE_OPEN] == 0
    rig.quote(at + MS, UP)
    assert rig.intents() == [] and rig.rejects() == {enums.DATA_GAP: 2}
    assert rig.wires.control[CONTROL_SNAPSHOT] == 1  # asked once
    rig.snapshot(at + 2 * MS)
    rig.quote(at + 3 * MS, UP)
    assert rig.intents() == [] and rig.rejects()[enums.DECISION_WARMING] == 1  # bars were missed: warm up anew
    for number in range(3):
        rig.trade(at + (4 + number) * MS, price=BID + 1_000 * (number % 2), flags=0)
    assert rig.wires.gauges[0, GAUGE_SHARD_GATE_OPEN] == 1
    rig.quote(at + 8 * MS, UP)
    rig.intent()
    assert rig.wires.control[CONTROL_SNAPSHOT] == 1


def test_a_second_gap_asks_again():
    rig = Rig()
    at = rig.warm_up()
    for number in range(2):
        next(rig.event_no[0])
        rig.quote(at + 2 * number * MS, UP)
        rig.snapshot(at + (2 * number + 1) * MS)
    assert rig.wires.control[CONTROL_SNAPSHOT] == 2


def test_the_middle_of_a_snapshot_is_no_beginning():
    rig = Rig()
    at = rig.warm_up()
    next(rig.event_no[0])
    rig.quote(at, UP)
    rig.tick(at, TICK_LEVEL, (BID, 50, 1, 0), flags=FLAG_SNAPSHOT | FLAG_LAST, event_no=rig.last_event_no[0])
    rig.quote(at + MS, UP)
    assert rig.rejects() == {enums.DATA_GAP: 3}


def test_a_gap_of_one_instrument_leaves_the_others_open():
    rig = Rig(n_instruments=2)
    for instrument in range(2):
        rig.whole(0, instrument=instrument)
        rig.quote(MS, instrument=instrument)
        for number in range(3):
            rig.trade((2 + number) * MS, price=BID + 1_000 * (number % 2), instrument=instrument)
    next(rig.event_no[0])
    rig.quote(10 * MS, UP, instrument=0)
    rig.quote(10 * MS, UP, instrument=1)
    assert rig.intent()["instrument"] == 1


def test_a_restarted_shard_stays_shut_until_snapshot_and_resync_are_answered():
    rig = Rig()
    _, at = rig.held()
    rig.start()
    assert rig.wires.control[CONTROL_SNAPSHOT] == rig.wires.control[CONTROL_RESYNC] == 1
    rig.quote(at, DOWN)
    assert rig.rejects() == {enums.DATA_STALE: 1}
    rig.snapshot(at + MS)
    rig.totals(at + 5 * MS)
    rig.quote(at + 5 * MS, DOWN)
    assert rig.intents() == [] and rig.rejects()[enums.DECISION_GATE_SHUT] == 1
    rig.report(at + 6 * MS, REPORT_POSITION, qty_lots=ENTRY_LOTS)
    rig.resynced(at + 6 * MS)
    rig.quote(at + 7 * MS, UP)
    assert rig.intents() == []  # it knows that it is long
    rig.quote(at + 8 * MS, DOWN)
    assert rig.intent()["qty_lots"] == ENTRY_LOTS


def indicators(rig):
    """What trades have brought, in view, state and strategy."""
    memory = rig.agent.memory
    view = [memory.views[0][name] for name in ("bars", "open", "high", "low", "close", "volume", "atr", "vwap")]
    return view, memory.strategies[0]["warm"], memory.states[0]["atr"].item(), memory.states[0]["bar"].item()


def reopen(rig, at):
    """Feed and execution answer a restarted shard."""
    rig.snapshot(at)
    rig.report(at, REPORT_POSITION)
    rig.totals(at)
    rig.resynced(at)


def test_a_restarted_shard_is_as_warm_as_before_and_misses_no_trade_meanwhile():
    rigs = [Rig(warm_bars=3), Rig(warm_bars=3)]
    for rig in rigs:
        at = rig.warm_up()
    rigs[1].start()
    assert indicators(rigs[1]) == indicators(rigs[0])
    for rig in rigs:
        rig.trade(at, price=BID + 300)  # comes before the snapshot that the restarted one waits for
    assert indicators(rigs[1]) == indicators(rigs[0])
    assert rigs[1].rejects() == {enums.DATA_STALE: 1}
    assert rigs[1].wires.gapped[0, 0] == 1
    reopen(rigs[1], at + MS)
    assert rigs[1].wires.gapped[0, 0] == 0
    for rig in rigs:
        rig.quote(at + 2 * MS, UP)
    orders = [rig.intent() for rig in rigs]
    assert orders[0]["stop_ticks"] == orders[1]["stop_ticks"] > 0
    assert rigs[1].rejects() == {enums.DATA_STALE: 1}


@pytest.mark.parametrize("moment", ["before it is kept", "while it is kept", "after it is kept"])
def test_a_shard_killed_with_a_record_in_hand_takes_it_exactly_once(moment):
    rig, twin = Rig(warm_bars=3), Rig(warm_bars=3)
    for one in (rig, twin):
        at = one.warm_up()
    kept = rig.wires.kept
    before = kept.copy()
    for one in (rig, twin):
        one.trade(at, price=BID + 300)
    rig.wires.ticks[0][RING_TAIL] -= 1  # it had not been taken
    if moment != "after it is kept":
        kept[0, NUMBER] = before[0, NUMBER]
        if moment == "while it is kept":
            half = (kept.shape[1] - COPIES) // 2
            begin = COPIES + (1 - (int(kept[0, NUMBER]) & 1)) * half
            kept[0, begin + 9 : begin + half] = -1  # the copy that is not valid, torn
    rig.start()
    reopen(rig, at + MS)
    assert indicators(rig) == indicators(twin)
    rig.quote(at + 2 * MS, UP)
    assert rig.intent()["side"] == 1 and not rig.rejects().get(enums.DATA_GAP)


@pytest.mark.parametrize("moment", ["before it is kept", "after it is kept"])
def test_a_fill_in_hand_reaches_the_strategy_exactly_once(moment):
    rig = Rig(warm_bars=3)
    at = rig.warm_up()
    rig.quote(at, UP)
    before = rig.wires.kept.copy()
    rig.fill(at, rig.intent())
    rig.wires.reports[0][RING_TAIL] -= 1  # it had not been taken
    if moment == "before it is kept":
        rig.wires.kept[:] = before
    rig.start()
    rig.run()
    strategy = rig.agent.memory.strategies[0]
    assert (strategy["fills"], strategy["filled_lots"], rig.risk()["position_lots"]) == (1, ENTRY_LOTS, ENTRY_LOTS)


def test_fills_that_came_while_it_was_dead_are_told_with_the_true_position():
    rig = Rig(warm_bars=3)
    _, at = rig.held()
    rig.report(at, REPORT_FILL, side=-1, qty_lots=ENTRY_LOTS, leg=LEG_STOP, id_lo=5, price_ticks=BID, run=False)
    rig.start()
    rig.run()
    strategy = rig.agent.memory.strategies[0]
    assert (strategy["fills"], strategy["filled_lots"], rig.agent.memory.views[0]["position_lots"]) == (2, 0, 0)
    reopen(rig, at + MS)
    assert strategy["warm"] == 1  # it has missed nothing


def test_a_strategy_that_missed_a_fill_begins_anew():
    rig = Rig(warm_bars=3)
    _, at = rig.held()
    rig.start()
    reopen(rig, at)  # flat, says execution
    strategy = rig.agent.memory.strategies[0]
    assert (strategy["warm"], strategy["fills"], rig.agent.memory.views[0]["bars"]) == (0, 0, 0)


def test_the_first_record_within_a_message_is_kept_whole():
    rig = Rig(warm_bars=3)
    rig.tick(0, TICK_LEVEL, (BID, 5, 1, 0), flags=0)
    kept = rig.wires.kept[0]
    half = (len(kept) - COPIES) // 2
    valid = COPIES + (int(kept[NUMBER]) & 1) * half
    assert (kept[NUMBER] >> 1) - 1 == 2 and kept[valid : valid + half].any()


def test_the_rest_of_a_snapshot_is_not_believed_without_its_head():
    rig = Rig()
    at = rig.warm_up()
    head = rig.wires.ticks[0][RING_TAIL]
    rig.snapshot(at)
    rig.wires.ticks[0][RING_TAIL] = head + 2  # killed after two of its four records
    rig.start()
    rig.run()
    assert not rig.agent.memory.books["whole"][0] and rig.risk()["stale"] == 1
    reopen(rig, at + MS)
    assert rig.agent.memory.books["whole"][0]


def test_a_restarted_shard_that_missed_records_warms_up_anew():
    for fault in ("before the snapshot", "in the snapshot"):
        rig = Rig(warm_bars=3)
        at = rig.warm_up()
        rig.start()
        next(rig.event_no[0])
        if fault == "before the snapshot":
            rig.trade(at)
            assert rig.rejects() == {enums.DATA_GAP: 1}
            reopen(rig, at + MS)
        else:
            rig.last_event_no[0] += 1
            reopen(rig, at + MS)
        rig.quote(at + 2 * MS, UP)
        assert rig.intents() == [] and rig.rejects()[enums.DECISION_WARMING] == 1


def test_a_shard_that_lags_behind_the_feed_opens_nothing_until_it_has_caught_up():
    rig = Rig(session_changes={"lag_limit_ns": 250 * MS})
    at = rig.warm_up()
    rig.feed_clock(at + 251 * MS)
    rig.quote(at, UP)
    assert rig.intents() == [] and rig.rejects() == {enums.DATA_STALE: 1}
    assert rig.wires.gauges[0, GAUGE_SHARD_GATE_OPEN] == 0
    rig.quote(at + MS, UP)
    assert rig.intent()["leg"] == LEG_ENTRY
    assert rig.wires.gauges[0, GAUGE_SHARD_GATE_OPEN] == 1


@pytest.mark.parametrize("unit", [-1, 0, 1])
def test_a_lag_counts_from_the_first_nanosecond_beyond_its_limit(unit):
    rig = Rig(session_changes={"lag_limit_ns": 250 * MS})
    at = rig.warm_up()
    rig.feed_clock(at + 250 * MS + unit)
    rig.quote(at, UP)
    assert rig.rejects() == ({enums.DATA_STALE: 1} if unit > 0 else {})
    assert len(rig.intents()) == (unit <= 0)


def test_a_shard_that_lags_closes_what_it_has():
    rig = Rig(session_changes={"lag_limit_ns": 250 * MS})
    _, at = rig.held()
    rig.feed_clock(at + SECOND)
    rig.quote(at, DOWN)
    assert rig.intent()["leg"] == LEG_EXIT


def test_nobody_lags_without_a_limit():
    rig = Rig(session_changes={"lag_limit_ns": 0})
    at = rig.warm_up()
    rig.feed_clock(at + SECOND)
    rig.quote(at, UP)
    assert rig.intent()["leg"] == LEG_ENTRY


@pytest.mark.parametrize("behind", [0, SECOND])
def test_at_the_end_of_the_market_its_last_time_holds(behind):
    rig = Rig(session_changes={"lag_limit_ns": MS})
    at = rig.warm_up()
    rig.feed_clock(at + behind)
    rig.trade(at)
    rig.feed_clock(INT64_MAX - T0)
    rig.quote(at, UP)
    assert len(rig.intents()) == (0 if behind else 1)
    rig.quote(at + behind, UP)
    assert len(rig.intents()) == (1 if behind else 0)


def test_a_restarted_shard_takes_up_its_open_order():
    rig = Rig(entry_style=1)
    at = rig.warm_up()
    rig.quote(at, UP)
    order = rig.intent()
    rig.start()
    rig.snapshot(at + MS)
    rig.report(at + MS, REPORT_POSITION)
    rig.report(at + MS, REPORT_ORDER, order, leaves_lots=70, status=REPORT_ACK)
    rig.totals(at + MS)
    rig.resynced(at + MS)
    assert (rig.risk()["pending_buy_lots"], rig.risk()["open_orders"]) == (70, 1)
    rig.quote(at + 2 * MS, DOWN)
    assert rig.intent()["id_lo"] == order["id_lo"]  # cancelled, not doubled
    rig.fill(at + 3 * MS, order, lots=30, leaves=40)
    rig.report(at + 4 * MS, REPORT_CANCELED, order, leaves_lots=40)
    assert (rig.risk()["position_lots"], rig.risk()["pending_buy_lots"], rig.risk()["open_orders"]) == (30, 0, 0)


def test_nothing_is_sent_between_the_parts_of_the_full_picture():
    """Asked for or not: an order that is still to be told must not find another one in its place."""
    for sizes in (UP, DOWN):
        rig = Rig(entry_style=1)
        entry, at = rig.held()
        rig.report(at, REPORT_POSITION, qty_lots=0 if sizes == UP else entry["qty_lots"])
        rig.quote(at, sizes)
        assert rig.intents() == [] and rig.rejects() == {enums.DECISION_GATE_SHUT: 1}
        rig.report(at, REPORT_ORDER, entry, leaves_lots=70, status=REPORT_ACK)
        rig.resynced(at)
        rig.report(at, REPORT_CANCELED, entry)
        assert (rig.risk()["pending_buy_lots"], rig.risk()["pending_sell_lots"], rig.risk()["open_orders"]) == (0, 0, 0)
        if sizes == UP:
            rig.trade(at + SECOND)
            assert rig.intents() == []  # a fill was missed: the strategy begins anew
            rig.trade(at + SECOND, price=BID + 1_000)
        else:
            rig.quote(at + MS, sizes)
        assert rig.intent()["leg"] == (LEG_ENTRY if sizes == UP else LEG_EXIT)


def test_the_same_decision_after_a_restart_has_the_same_id():
    ids = []
    for _ in range(2):
        rig = Rig()
        rig.quote(rig.warm_up(), UP)
        order = rig.intent()
        ids.append((order["id_hi"], order["id_lo"]))
    assert ids[0] == ids[1]


# --- event time ------------------------------------------------------------------------------------------------------


def paced():
    """A warm rig that waits for execution's promises."""
    rig = Rig(session_changes={"paced": 1})
    rig.report_clock(INT64_MAX - T0)
    at = rig.warm_up()
    rig.report_clock(at)
    return rig, at


def test_a_tick_waits_until_no_earlier_report_can_come():
    rig, at = paced()
    rig.quote(at, UP)
    assert rig.intents() == []
    rig.report_clock(at)
    rig.run()
    assert rig.intents() == []  # a report at the same time could still come, and would go first
    rig.report_clock(at + 1)
    rig.run()
    rig.intent()


def test_a_report_goes_before_a_tick_of_the_same_time():
    rig, at = paced()
    rig.quote(at, UP, run=False)
    rig.totals(at, gate=0, run=False)
    rig.report_clock(at + 1)
    rig.run()
    assert rig.intents() == [] and rig.rejects() == {enums.DECISION_GATE_SHUT: 1}


def test_a_report_goes_after_an_earlier_tick():
    rig, at = paced()
    rig.quote(at, UP, run=False)
    rig.totals(at + 1, gate=0, run=False)
    rig.report_clock(at + 1)
    rig.run()
    rig.intent()


def test_a_report_waits_while_an_earlier_tick_may_come():
    rig, at = paced()
    rig.feed_clock(at)
    rig.totals(at + MS, gate=0)
    rig.report_clock(at + MS)
    rig.quote(at, UP)
    rig.intent()


def test_the_shard_promises_the_time_of_its_next_tick():
    rig, at = paced()
    rig.feed_clock(at + 3 * MS)
    rig.quote(at + 2 * MS, UP)
    assert rig.wires.clocks[CLOCK_SHARD] == T0 + at + 2 * MS
    rig.report_clock(at + 2 * MS + 1)
    rig.run()
    assert rig.wires.clocks[CLOCK_SHARD] == T0 + at + 3 * MS  # the ring is empty: what the feed has promised
    rig.wires.clocks[CLOCK_FEED] = INT64_MAX
    rig.run()
    assert rig.wires.clocks[CLOCK_SHARD] == INT64_MAX


def test_free_running_nobody_waits_and_the_end_is_still_promised():
    rig = Rig()
    at = rig.warm_up()
    rig.totals(at + 5 * SECOND, gate=0)
    rig.quote(at, UP)
    assert rig.rejects() == {enums.DECISION_GATE_SHUT: 1}
    rig.wires.clocks[CLOCK_FEED] = INT64_MAX
    rig.run()
    assert rig.wires.clocks[CLOCK_SHARD] == INT64_MAX


def test_the_second_shard_keeps_its_own_clock():
    rig = Rig(n_instruments=2, n_shards=2, k=1, session_changes={"paced": 1})
    rig.feed_clock(7)
    rig.run()
    assert rig.wires.clocks[CLOCK_SHARD + LINE] == T0 + 7 and rig.wires.clocks[CLOCK_SHARD] == 0


def test_stages_are_measured_when_asked_for():
    rig = Rig(session_changes={"measure": 1})
    at = rig.warm_up()
    rig.quote(at, UP)
    order = rig.intent()
    counts = {stage: int(rig.wires.histograms[row, 0]) for row, stage in enumerate(STAGES)}
    steps = int(rig.wires.gauges[0, GAUGE_SHARD_STEPS])
    assert counts == {
        "feed_to_shard": steps, "step": steps, "tick_to_intent": 1, "tick_to_execution": 0, "order_inside": 0,
    }  # fmt: skip
    assert order["tsc_read"] > 0 and order["tsc"] <= order["tsc_read"]


def test_a_batch_is_bounded():
    rig = Rig()
    rig.whole(0, run=False)
    for number in range(2 * MAX_BATCH + 88):
        rig.tick(number, TICK_QUOTE, (BID, 50, ASK, 50), run=False)
    assert [rig.agent.do_work() for _ in range(4)] == [MAX_BATCH, MAX_BATCH, 89, 0]
