"""Entries in slices, in time and at one price: bounded, one at a time, never more than the entry, in the wiring."""

from decimal import Decimal

import numpy as np
import pytest
from rig.execution import ASK, BID, Rig
from rig.tables import MS, SECOND

from bot4.adapters.files.digest import bodies
from bot4.adapters.files.journal_lines import journal_lines
from bot4.engine.order_state import BASE_FREE
from bot4.model.enums import (
    ACTION_AMEND,
    ACTION_CANCEL,
    ACTION_PLACE,
    ACTION_QUERY_ORDER,
    EXEC_GATE_SHUT,
    LEG_EXIT,
    LEG_PROFIT,
    LEG_SLICE,
    LEG_STOP,
    ORDER_POST_ONLY,
    ORDER_REDUCE_ONLY,
    REPORT_ACK,
    REPORT_CANCELED,
    REPORT_DENIED,
    REPORT_EXPIRED,
    REPORT_FILL,
    REPORT_NOT_FOUND,
    REPORT_ORDER,
    REPORT_QUERY_END,
    REPORT_REJECT,
    RISK_BAD_ORDER,
    RISK_MIN_NOTIONAL,
    RISK_OPEN_ORDERS,
    RISK_POSITION,
    RISK_STOP_SIDE,
    SIDE_SELL,
    TIF_GTC,
    TIF_IOC,
    TYPE_MARKET,
    VENUE_BALANCE,
)
from bot4.model.records import EXEC_REPORT, JOURNAL_EVENT, JOURNAL_INTENT, JOURNAL_SLICED, ORDER_INTENT
from bot4.shm.layout import CONTROL_KILL, CONTROL_STOP

TWAP = {"slices": 4, "slice_ds": 10, "qty_lots": 1_002, "price_ticks": ASK + 100}
ICEBERG = {"slices": 4, "tif": TIF_GTC, "flags": ORDER_POST_ONLY, "qty_lots": 1_002, "price_ticks": BID}


def begun(rig, **fields):
    """The first slice of an entry, and the entry."""
    rig.open_market()
    entry = rig.intent(1, **fields)
    rig.run()
    (first,) = rig.requests()
    return first, entry


def slices_of(rig, at):
    """What is asked at a quote of then, but for stops."""
    rig.quote(at)
    rig.run()
    return [request for request in rig.requests() if request["leg"] == LEG_SLICE]


def over(rig, at, request, lots=None):
    """An IOC order that has filled so much, all of it unless said; the rest expires."""
    lots = int(request["qty_lots"]) if lots is None else lots
    rig.ack(at, request)
    if lots:
        rig.fill(at, request, qty=lots, price=request["price_ticks"])
    if lots < request["qty_lots"]:
        rig.event(at, REPORT_EXPIRED, request)
    rig.run()


def ends(rig, entry):
    """How the shard was told that its entry is over."""
    kinds = (REPORT_CANCELED, REPORT_EXPIRED, REPORT_REJECT)
    told = [report for report in rig.reports() if report["id_lo"] == entry["id_lo"]]
    last = told[-1] if told else None
    filled = [report for report in told if report["kind"] == REPORT_FILL and report["leaves_lots"] == 0]
    assert len([report for report in told if report["kind"] in kinds]) + len(filled) <= 1
    return (int(last["kind"]), int(last["cum_lots"]), int(last["leaves_lots"])) if last is not None else None


def test_in_time_an_entry_goes_out_in_equal_parts_at_the_touch(tmp_path):
    rig = Rig(tmp_path)
    first, entry = begun(rig, **TWAP)
    sent = [first]
    for second in range(4):
        at = second * SECOND
        assert (sent[-1]["tif"], sent[-1]["side"], sent[-1]["price_ticks"]) == (TIF_IOC, 1, ASK)
        over(rig, at + 5 * MS, sent[-1])
        assert slices_of(rig, at + SECOND - MS) == [], "not before its time"
        sent += slices_of(rig, at + SECOND + 9 * MS)
    assert [int(one["qty_lots"]) for one in sent] == [251, 251, 250, 250]
    assert len({int(one["id_lo"]) for one in sent}) == 4
    assert rig.position["lots"] == 1_002
    assert rig.position["sliced_row"] == -1
    assert ends(rig, entry) == (REPORT_FILL, 1_002, 0)
    assert rig.agent.memory.views[0]["pending_buy_lots"] == rig.agent.memory.views[0]["open_orders"] == 0


def test_what_a_slice_leaves_over_makes_no_other_one_larger_than_the_first(tmp_path):
    rig = Rig(tmp_path)
    sent, entry = begun(rig, **TWAP)
    for second in range(4):
        assert sent["qty_lots"] <= 251
        over(rig, second * SECOND + 5 * MS, sent, lots=50)
        sent = [*slices_of(rig, (second + 1) * SECOND + 9 * MS), None][0]
    assert sent is None
    assert ends(rig, entry) == (REPORT_EXPIRED, 200, 802)


@pytest.mark.parametrize(("side", "best"), [(1, ASK + 50), (-1, BID - 50)])
def test_no_slice_goes_beyond_the_price_of_its_entry(tmp_path, side, best):
    rig = Rig(tmp_path)
    limit = ASK + 50 if side > 0 else BID - 50
    first, _ = begun(rig, **{**TWAP, "price_ticks": limit, "side": side, "stop_ticks": BID - side * 60_000})
    over(rig, 5 * MS, first, lots=0)
    rig.quote(SECOND + 9 * MS, bid=BID + side * 1_000, ask=ASK + side * 1_000)
    rig.run()
    (second,) = rig.requests()
    assert second["price_ticks"] == best


def test_at_one_price_one_part_rests_behind_the_other(tmp_path):
    rig = Rig(tmp_path)
    first, entry = begun(rig, **ICEBERG)
    assert (first["tif"], first["flags"], first["price_ticks"]) == (TIF_GTC, ORDER_POST_ONLY, BID)
    sent, at = [first], 5 * MS
    while True:
        rig.ack(at, sent[-1])
        rig.fill(at, sent[-1], qty=100, price=BID)
        rig.run()
        assert [one for one in rig.requests() if one["leg"] == LEG_SLICE] == [], "a part of it is no reason for more"
        rig.fill(at + MS, sent[-1], qty=int(sent[-1]["qty_lots"]) - 100, price=BID)
        rig.run()
        more = [one for one in rig.requests() if one["leg"] == LEG_SLICE]
        if not more:
            break
        sent, at = [*sent, *more], at + 10 * MS
    assert [int(one["qty_lots"]) for one in sent] == [251, 251, 250, 250]
    assert ends(rig, entry) == (REPORT_FILL, 1_002, 0)


def test_the_whole_entry_counts_from_its_first_moment(tmp_path):
    """The first slice would be within the limit; what is left counts as pending all the time."""
    rig = Rig(tmp_path)
    rig.open_market()
    rig.intent(1, **{**TWAP, "qty_lots": 4_000})  # 2,400 of 2,000 allowed
    rig.run()
    assert rig.requests() == []
    assert rig.rejects == {RISK_POSITION: 1}
    rig.intent(2, **{**TWAP, "qty_lots": 2_000})
    rig.run()
    (first,) = rig.requests()
    over(rig, 5 * MS, first)
    view = rig.agent.memory.views[0]
    assert (view["position_lots"], view["pending_buy_lots"], view["open_orders"]) == (500, 1_500, 1)
    rig.requests()
    rig.intent(8 * MS, qty_lots=2_000)
    rig.run()
    assert rig.rejects == {RISK_POSITION: 2}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"slices": 1, "slice_ds": 10}, RISK_BAD_ORDER),
        ({"slices": 0, "slice_ds": 10}, RISK_BAD_ORDER),
        ({"slices": 4, "slice_ds": 0}, RISK_BAD_ORDER),  # IOC without a time
        ({"slices": 4, "slice_ds": 10, "tif": TIF_GTC}, RISK_BAD_ORDER),
        ({"slices": 4, "slice_ds": 10, "type": TYPE_MARKET, "price_ticks": 0}, RISK_BAD_ORDER),
        ({"slices": 4, "slice_ds": 10, "leg": LEG_EXIT, "flags": ORDER_REDUCE_ONLY}, RISK_BAD_ORDER),
        ({"slices": 200, "slice_ds": 10, "qty_lots": 199}, RISK_BAD_ORDER),
        ({"slices": 200, "slice_ds": 10}, RISK_MIN_NOTIONAL),  # 5 lots are 3 USDT of 5
    ],
)
def test_what_cannot_be_cut_is_refused(tmp_path, fields, code):
    rig = Rig(tmp_path)
    rig.open_market()
    rig.intent(1, **fields)
    rig.run()
    assert rig.requests() == []
    assert rig.rejects == {code: 1}
    assert [int(report["kind"]) for report in rig.reports() if report["id_lo"]] == [REPORT_DENIED]


def test_one_entry_in_slices_an_instrument(tmp_path):
    rig = Rig(tmp_path)
    begun(rig, **{**TWAP, "qty_lots": 400})
    rig.intent(2, **{**TWAP, "qty_lots": 400})
    rig.run()
    assert rig.requests() == []
    assert rig.rejects == {RISK_OPEN_ORDERS: 1}


def test_a_slice_without_a_word_is_the_last_until_there_is_one(tmp_path):
    """Whatever is lost on the way: none goes out beside one of which nobody knows."""
    rig = Rig(tmp_path)
    first, _ = begun(rig, **TWAP)
    rig.fill(5 * MS, first, qty=100)
    rig.run()
    (stop,) = rig.requests()
    for at in range(1, 12):
        rig.ack(at * SECOND, stop)
        assert slices_of(rig, at * SECOND) == []
    rig.event(12 * SECOND, REPORT_ORDER, first, status=REPORT_EXPIRED, event_seq=0)
    rig.run()
    sent = [one for one in rig.requests() if one["leg"] == LEG_SLICE and one["action"] == ACTION_PLACE]
    assert [int(one["qty_lots"]) for one in sent] == [251]


def test_a_cancel_that_finds_its_slice_filled_is_the_end_all_the_same(tmp_path):
    rig = Rig(tmp_path)
    first, entry = begun(rig, **ICEBERG)
    rig.ack(2 * MS, first)
    rig.intent(3 * MS, action=ACTION_CANCEL, event_no=int(entry["event_no"]))
    rig.run()
    assert [(int(one["action"]), int(one["leg"])) for one in rig.requests()] == [(ACTION_CANCEL, LEG_SLICE)]
    rig.fill(4 * MS, first, price=BID)
    rig.run()
    assert slices_of(rig, SECOND) == []
    assert ends(rig, entry) == (REPORT_CANCELED, 251, 751)


@pytest.mark.parametrize("fields", [TWAP, ICEBERG], ids=["in time", "at one price"])
def test_the_kill_switch_ends_it_with_the_slice_that_is_out(tmp_path, fields):
    rig = Rig(tmp_path)
    first, entry = begun(rig, **fields)
    rig.ack(2 * MS, first)
    rig.run()
    rig.wires.control[CONTROL_KILL] = 1
    rig.run()
    assert [(int(one["action"]), int(one["leg"])) for one in rig.requests()] == [(ACTION_CANCEL, LEG_SLICE)]
    rig.event(5 * MS, REPORT_CANCELED, first)
    rig.run()
    for at in range(1, 6):
        assert slices_of(rig, at * SECOND) == []
    assert ends(rig, entry) == (REPORT_CANCELED, 0, 1_002)
    assert rig.agent.is_flat


def test_the_kill_switch_between_two_slices_ends_it_at_once(tmp_path):
    rig = Rig(tmp_path)
    first, entry = begun(rig, **TWAP)
    over(rig, 5 * MS, first, lots=0)
    rig.wires.control[CONTROL_KILL] = 1
    rig.run()
    assert rig.requests() == []
    assert ends(rig, entry) == (REPORT_CANCELED, 0, 1_002)
    assert rig.agent.is_flat


@pytest.mark.parametrize("how", ["cancel", "stale", "stop", "exit"])
def test_what_takes_back_an_entry_takes_back_its_slices(tmp_path, how):
    rig = Rig(tmp_path)
    first, entry = begun(rig, **TWAP)
    over(rig, 5 * MS, first)
    stop = rig.requests()[-1]
    rig.ack(7 * MS, stop)
    rig.run()
    if how == "cancel":
        rig.intent(8 * MS, action=ACTION_CANCEL, event_no=int(entry["event_no"]))
    elif how == "stale":
        rig.whole(8 * MS, whole=False)
    elif how == "stop":
        rig.wires.control[CONTROL_STOP] = 1
    else:
        fields = {"side": SIDE_SELL, "leg": LEG_EXIT, "type": TYPE_MARKET, "price_ticks": 0, "stop_ticks": 0}
        rig.intent(8 * MS, **fields, tif=TIF_IOC, flags=ORDER_REDUCE_ONLY, qty_lots=251)
    rig.run()
    assert how == "stop" or rig.position["sliced_row"] == -1, "at once"
    assert slices_of(rig, SECOND + 9 * MS) == []
    assert ends(rig, entry) == (REPORT_CANCELED, 251, 751)
    if how == "stop":
        assert rig.rejects == {EXEC_GATE_SHUT: 1}


def test_a_slice_is_checked_as_the_last_thing_before_the_wire(tmp_path):
    """The market has gone through where its stop would lie."""
    rig = Rig(tmp_path)
    first, entry = begun(rig, **TWAP)
    over(rig, 5 * MS, first, lots=0)
    rig.quote(SECOND + 9 * MS, bid=BID - 60_001, ask=BID - 60_000)
    rig.run()
    assert rig.requests() == []
    assert rig.rejects == {RISK_STOP_SIDE: 1}
    assert ends(rig, entry) == (REPORT_CANCELED, 0, 1_002)


def test_a_slice_that_the_venue_refuses_is_the_last(tmp_path):
    rig = Rig(tmp_path)
    first, entry = begun(rig, **TWAP)
    rig.event(5 * MS, REPORT_REJECT, first, code=VENUE_BALANCE)
    rig.run()
    assert slices_of(rig, SECOND + 9 * MS) == []
    assert ends(rig, entry) == (REPORT_REJECT, 0, 1_002)


def test_a_fill_that_nobody_knows_ends_it(tmp_path):
    """It may be that of a slice that counted as lost: the next one could be one too many."""
    rig = Rig(tmp_path)
    first, _ = begun(rig, **TWAP)
    over(rig, 5 * MS, first, lots=0)
    rig.fill(6 * MS, first, qty=251)
    rig.run()
    assert slices_of(rig, SECOND + 9 * MS) == []
    assert rig.position["sliced_row"] == -1, "its shard is told anew what there is"


def test_stop_and_take_profit_are_those_of_the_entry_and_grow_with_it(tmp_path):
    rig = Rig(tmp_path)
    first, _ = begun(rig, **TWAP, aux=ASK + 30_000)
    over(rig, 5 * MS, first)
    (stop,) = rig.requests()
    assert (stop["leg"], stop["qty_lots"], stop["stop_ticks"]) == (LEG_STOP, 251, BID - 60_000)
    rig.ack(7 * MS, stop)
    rig.run()
    (profit,) = rig.requests()
    assert (profit["leg"], profit["qty_lots"], profit["price_ticks"]) == (LEG_PROFIT, 251, ASK + 30_000)
    rig.ack(8 * MS, profit)
    (second,) = slices_of(rig, SECOND + 9 * MS)
    over(rig, SECOND + 15 * MS, second)
    (grown,) = rig.requests()
    assert (grown["action"], grown["leg"], grown["qty_lots"]) == (ACTION_AMEND, LEG_STOP, 502)


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("fields", [TWAP, ICEBERG], ids=["in time", "at one price"])
def test_a_restart_goes_on_without_doubling(tmp_path, fields, landed):
    """Death with a slice on its way: it is asked for, and only when the venue has spoken the next one follows."""
    rig = Rig(tmp_path)
    first, _ = begun(rig, **fields)
    rig.start()
    asked = [one for one in rig.requests() if one["action"] != ACTION_PLACE]
    assert [int(one["action"]) for one in asked][:1] == [ACTION_QUERY_ORDER]
    assert len([one for one in asked if one["action"] == ACTION_QUERY_ORDER]) == 1, "nobody is asked for the entry"
    assert slices_of(rig, SECOND + 9 * MS) == []
    if landed:
        rig.event(
            SECOND + 10 * MS,
            REPORT_FILL,
            first,
            qty_lots=251,
            price_ticks=BID,
            trade_id=next(rig.trade_id),
            event_seq=0,
        )
        rig.event(SECOND + 10 * MS, REPORT_ORDER, first, status=REPORT_FILL, cum_lots=251, event_seq=0)
    else:
        rig.event(SECOND + 10 * MS, REPORT_NOT_FOUND, first, event_seq=0)
    rig.event(SECOND + 11 * MS, REPORT_QUERY_END, asked[-1], event_seq=0)
    rig.run()
    sent = [one for one in rig.requests() if one["leg"] == LEG_SLICE] or slices_of(rig, SECOND + 20 * MS)
    assert [int(one["qty_lots"]) for one in sent] == [251]
    assert sent[0]["id_lo"] != first["id_lo"]
    at, filled = SECOND + 30 * MS, 251 if landed else 0
    while sent:
        filled += int(sent[0]["qty_lots"])
        over(rig, at, sent[0])
        sent = [one for one in rig.requests() if one["leg"] == LEG_SLICE] or slices_of(rig, at + SECOND)
        at += 2 * SECOND
    assert filled == rig.position["lots"] <= 1_002
    assert (filled == 1_002) == (landed or fields is ICEBERG), "in time the lost one has had its time"
    assert not (rig.agent.memory.orders["slices"][rig.agent.memory.orders["base"] != BASE_FREE] > 0).any()


def test_the_journal_proves_that_the_parts_are_never_more_than_the_whole(tmp_path):
    rig = Rig(tmp_path)
    sent, _ = begun(rig, **TWAP)
    for second in range(4):
        over(rig, second * SECOND + 5 * MS, sent, lots=200)
        sent = [*slices_of(rig, (second + 1) * SECOND + 9 * MS), None][0]
    table = rig.agent.journal.table
    (whole,) = bodies(table[table["type"] == JOURNAL_SLICED], ORDER_INTENT)
    parts = bodies(table[table["type"] == JOURNAL_INTENT], ORDER_INTENT)
    parts = parts[parts["leg"] == LEG_SLICE]
    fills = bodies(table[table["type"] == JOURNAL_EVENT], EXEC_REPORT)
    filled = fills[fills["kind"] == REPORT_FILL]["qty_lots"]
    assert len(parts) == whole["slices"] == 4
    for number in range(4):  # before each of them: what has filled and what goes out
        assert filled[:number].sum() + parts["qty_lots"][number] <= whole["qty_lots"]
    assert np.all(parts["qty_lots"] <= -(-whole["qty_lots"] // 4))
    assert REPORT_ACK in fills["kind"]


def test_the_journal_says_it_in_words(tmp_path):
    rig = Rig(tmp_path)
    begun(rig, **TWAP, aux=ASK + 30_000)
    lines = list(journal_lines(rig.agent.journal.table, [("BTCUSDT", Decimal("0.01"), Decimal("0.00001"))]))
    (whole,) = [line for line in lines if line["record"] == "entry in slices"]
    assert (whole["slices"], whole["slice_s"], whole["quantity"]) == (4, 1.0, "0.01002")
    assert (whole["leg"], whole["take_profit"]) == ("entry", "60300.01")
    (part,) = [line for line in lines if line["record"] == "order"]
    assert (part["leg"], part["quantity"]) == ("slice", "0.00251")
