"""A position's two ends: the stop and the take-profit, never more closed than is held, in the wiring."""

import pytest
from rig.execution import ASK, BID, Rig
from rig.tables import MS

from bot4.model.enums import (
    ACTION_AMEND,
    ACTION_CANCEL,
    ACTION_PLACE,
    LEG_EXIT,
    LEG_FLATTEN,
    LEG_PROFIT,
    LEG_STOP,
    ORDER_REDUCE_ONLY,
    REPORT_CANCEL_REJECT,
    REPORT_CANCELED,
    REPORT_EXPIRED,
    REPORT_REJECT,
    REPORT_REPLACED,
    REPORT_TRIGGERED,
    RISK_BAD_ORDER,
    RISK_SELF_TRADE,
    SIDE_SELL,
    TIF_GTC,
    TYPE_LIMIT,
    TYPE_MARKET,
    VENUE_FILTER,
    VENUE_REDUCE_ONLY,
    VENUE_UNKNOWN_ORDER,
)
from bot4.shm.layout import CONTROL_KILL

AIM = 30_000
LONG = {"aux": ASK + AIM}
SHORT = {"side": SIDE_SELL, "price_ticks": BID, "stop_ticks": ASK + 60_000, "aux": BID - AIM}


def entered(rig, lots=None, **fields):
    """An entry that filled; the stop as it was sent, which is not confirmed yet."""
    rig.open_market()
    rig.intent(1, **{**LONG, **fields})
    rig.run()
    (entry,) = rig.requests()
    rig.ack(2 * MS, entry)
    rig.fill(2 * MS, entry, qty=lots, price=entry["price_ticks"])
    rig.run()
    (stop,) = rig.requests()
    assert stop["leg"] == LEG_STOP
    return entry, stop


def both(rig, **fields):
    """Entry, stop and take-profit; both ends are confirmed."""
    entry, stop = entered(rig, **fields)
    rig.ack(4 * MS, stop)
    rig.run()
    (profit,) = rig.requests()
    rig.ack(6 * MS, profit)
    rig.run()
    assert rig.requests() == []
    return entry, stop, profit


def legs(requests):
    """Action and leg of what went out."""
    return [(int(request["action"]), int(request["leg"])) for request in requests]


@pytest.mark.parametrize(("fields", "sign"), [(LONG, 1), (SHORT, -1)], ids=["long", "short"])
def test_a_take_profit_rests_beside_a_stop_that_stands(tmp_path, fields, sign):
    rig = Rig(tmp_path)
    entry, stop = entered(rig, **fields)
    rig.quote(3 * MS)
    rig.run()
    assert rig.requests() == [], "not before the stop is confirmed"
    rig.ack(4 * MS, stop)
    rig.run()
    (profit,) = rig.requests()
    assert (profit["action"], profit["leg"], profit["type"]) == (ACTION_PLACE, LEG_PROFIT, TYPE_LIMIT)
    assert (profit["tif"], profit["flags"]) == (TIF_GTC, ORDER_REDUCE_ONLY)
    assert (profit["side"], profit["qty_lots"]) == (-sign, entry["qty_lots"])
    assert profit["price_ticks"] == fields["aux"]
    assert profit["id_lo"] not in (entry["id_lo"], stop["id_lo"])


def test_an_entry_without_one_has_the_stop_alone(tmp_path):
    rig = Rig(tmp_path)
    _, stop = entered(rig, aux=0)
    rig.ack(4 * MS, stop)
    rig.run()
    assert rig.requests() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"aux": ASK}, {"aux": ASK - 1}, {"aux": -1}, {"aux": 2**40}, {**SHORT, "aux": BID}, {**SHORT, "aux": BID + 1},
        {"aux": ASK + AIM, "type": TYPE_MARKET, "price_ticks": 0},
        {"aux": ASK + AIM, "leg": LEG_EXIT, "flags": ORDER_REDUCE_ONLY},
    ],
)  # fmt: skip
def test_a_take_profit_lies_where_it_wins(tmp_path, fields):
    rig = Rig(tmp_path)
    rig.open_market()
    rig.intent(1, **fields)
    rig.run()
    assert rig.requests() == []
    assert rig.rejects == {RISK_BAD_ORDER: 1}


def test_the_take_profit_fills_and_the_stop_goes(tmp_path):
    rig = Rig(tmp_path)
    _, _, profit = both(rig)
    rig.fill(8 * MS, profit, price=profit["price_ticks"])
    rig.run()
    assert rig.position["lots"] == 0
    assert legs(rig.requests()) == [(ACTION_CANCEL, LEG_STOP)]


def test_a_part_of_the_take_profit_makes_the_stop_smaller_and_the_other_way_round(tmp_path):
    rig = Rig(tmp_path)
    _, stop, profit = both(rig)
    rig.fill(8 * MS, profit, qty=300, price=profit["price_ticks"])
    rig.run()
    (smaller,) = rig.requests()
    assert (smaller["action"], smaller["leg"], smaller["qty_lots"]) == (ACTION_AMEND, LEG_STOP, 700)
    rig.event(10 * MS, REPORT_REPLACED, stop, qty_lots=700, price_ticks=stop["stop_ticks"])
    rig.event(11 * MS, REPORT_TRIGGERED, stop)
    rig.fill(11 * MS, stop, qty=200, price=stop["stop_ticks"])
    rig.run()
    amended = [request for request in rig.requests() if request["leg"] == LEG_PROFIT]
    assert [(int(one["action"]), int(one["qty_lots"])) for one in amended] == [(ACTION_AMEND, 800)], "300 filled, 500"
    rig.fill(12 * MS, stop, qty=500, price=stop["stop_ticks"])
    rig.event(13 * MS, REPORT_REPLACED, profit, qty_lots=800)
    rig.run()
    assert rig.position["lots"] == 0
    assert legs(rig.requests()) == [(ACTION_CANCEL, LEG_PROFIT)]


def test_it_grows_with_the_position_once_the_stop_has(tmp_path):
    rig = Rig(tmp_path)
    entry, stop = entered(rig, lots=400)
    rig.ack(4 * MS, stop)
    rig.run()
    (profit,) = rig.requests()
    assert profit["qty_lots"] == 400
    rig.ack(6 * MS, profit)
    rig.fill(7 * MS, entry, qty=600)
    rig.run()
    assert legs(rig.requests()) == [(ACTION_AMEND, LEG_STOP)]
    rig.event(9 * MS, REPORT_REPLACED, stop, qty_lots=1_000, price_ticks=stop["stop_ticks"])
    rig.run()
    (grown,) = rig.requests()
    assert (grown["action"], grown["leg"], grown["qty_lots"]) == (ACTION_AMEND, LEG_PROFIT, 1_000)


def test_both_ends_fill_at_once_and_nothing_more_is_sent(tmp_path):
    """The venue clips what only reduces; what it tells in a row leaves no end open and opens nothing."""
    rig = Rig(tmp_path)
    _, stop, profit = both(rig)
    rig.fill(8 * MS, profit, qty=600, price=profit["price_ticks"])
    rig.event(8 * MS, REPORT_TRIGGERED, stop)
    rig.event(8 * MS, REPORT_REPLACED, stop, qty_lots=400, price_ticks=stop["stop_ticks"], code=VENUE_REDUCE_ONLY)
    rig.fill(8 * MS, stop, qty=400, price=stop["stop_ticks"])
    rig.event(8 * MS, REPORT_EXPIRED, profit, code=VENUE_REDUCE_ONLY)
    rig.run()
    assert rig.position["lots"] == 0
    assert [action for action, _ in legs(rig.requests()) if action == ACTION_PLACE] == []
    assert rig.agent.is_flat


def test_a_cancel_that_comes_after_the_fill_is_no_loss(tmp_path):
    rig = Rig(tmp_path)
    _, stop, profit = both(rig)
    rig.event(7 * MS, REPORT_TRIGGERED, stop)
    rig.fill(8 * MS, stop, price=stop["stop_ticks"])
    rig.run()
    assert legs(rig.requests()) == [(ACTION_CANCEL, LEG_PROFIT)]
    rig.event(10 * MS, REPORT_CANCEL_REJECT, profit, code=VENUE_UNKNOWN_ORDER)
    rig.event(10 * MS, REPORT_EXPIRED, profit, code=VENUE_REDUCE_ONLY)
    rig.run()
    assert rig.agent.is_flat
    assert {action for action, _ in legs(rig.requests())} <= {ACTION_CANCEL}


@pytest.mark.parametrize(("kind", "code"), [(REPORT_REJECT, VENUE_FILTER), (REPORT_EXPIRED, VENUE_REDUCE_ONLY)])
def test_what_the_venue_does_not_take_is_not_sent_again(tmp_path, kind, code):
    rig = Rig(tmp_path)
    _, stop = entered(rig)
    rig.ack(4 * MS, stop)
    rig.run()
    (profit,) = rig.requests()
    rig.event(6 * MS, kind, profit, code=code)
    for at in range(7, 12):
        rig.quote(at * MS)
    rig.run()
    assert rig.requests() == [], "the stop stands; the position has no take-profit any more"


def test_a_size_that_the_venue_does_not_take_ends_it(tmp_path):
    rig = Rig(tmp_path)
    _, stop, profit = both(rig)
    rig.event(8 * MS, REPORT_TRIGGERED, stop)
    rig.fill(8 * MS, stop, qty=999, price=stop["stop_ticks"])
    rig.run()
    assert legs(rig.requests())[-1] == (ACTION_AMEND, LEG_PROFIT)
    rig.event(10 * MS, REPORT_CANCEL_REJECT, profit, code=VENUE_FILTER)
    rig.run()
    assert legs(rig.requests()) == [(ACTION_CANCEL, LEG_PROFIT)]
    rig.event(12 * MS, REPORT_CANCELED, profit)
    rig.run()
    assert rig.requests() == []


def test_the_kill_switch_takes_it_back_and_leaves_the_stop(tmp_path):
    rig = Rig(tmp_path)
    _, _, profit = both(rig)
    rig.wires.control[CONTROL_KILL] = 1
    rig.run()
    assert legs(rig.requests()) == [(ACTION_CANCEL, LEG_PROFIT)]
    rig.event(8 * MS, REPORT_CANCELED, profit)
    for at in range(9, 12):
        rig.quote(at * MS)
    rig.run()
    assert rig.requests() == [], "and none is placed any more"


def test_an_entry_that_could_meet_the_old_take_profit_waits(tmp_path):
    """Its cancel is under way: a buy at its price would be a trade with ourselves."""
    rig = Rig(tmp_path)
    _, stop, profit = both(rig, aux=ASK + 5)
    rig.event(8 * MS, REPORT_TRIGGERED, stop)
    rig.fill(8 * MS, stop, price=stop["stop_ticks"])
    rig.run()
    rig.intent(9 * MS, price_ticks=ASK + 5, aux=ASK + AIM)
    rig.run()
    assert rig.rejects == {RISK_SELF_TRADE: 1}
    rig.event(10 * MS, REPORT_CANCELED, profit)
    rig.intent(11 * MS, price_ticks=ASK + 5, aux=ASK + AIM)
    rig.run()
    assert rig.rejects == {RISK_SELF_TRADE: 1}


def test_stops_and_closes_have_the_last_rows(tmp_path):
    rig = Rig(tmp_path, rows=3)
    _, stop = entered(rig)  # a row for the entry, one for its stop; one is left
    rig.ack(4 * MS, stop)
    rig.quote(5 * MS)
    rig.run()
    assert rig.requests() == []
    assert rig.position["retry"] == 1


def test_coins_are_sold_where_the_take_profit_would_be_met(tmp_path):
    """A resting sale would lock what the stop needs."""
    rig = Rig(tmp_path, spot=True)
    _, stop = entered(rig)
    rig.ack(4 * MS, stop)
    rig.quote(5 * MS, bid=ASK + AIM - 1, ask=ASK + AIM + 3)
    rig.run()
    assert rig.requests() == []
    rig.whole(6 * MS, whole=False)
    rig.quote(6 * MS, bid=ASK + AIM, ask=ASK + AIM + 3)
    rig.run()
    assert rig.requests() == [], "not on a book that is not whole"
    rig.whole(7 * MS)
    rig.quote(7 * MS, bid=ASK + AIM, ask=ASK + AIM + 3)
    rig.quote(8 * MS, bid=ASK + AIM, ask=ASK + AIM + 3)
    rig.run()
    (close,) = rig.requests()
    assert (close["leg"], close["type"], close["qty_lots"]) == (LEG_FLATTEN, TYPE_MARKET, 1_000)


@pytest.mark.parametrize("sent", [True, False])
def test_it_survives_a_death_and_is_not_doubled(tmp_path, sent):
    rig = Rig(tmp_path)
    _, stop = entered(rig)
    rig.ack(4 * MS, stop)
    rig.run()
    (profit,) = rig.requests()
    if sent:
        rig.ack(6 * MS, profit)
        rig.run()
    before = rig.position[["profit_ticks", "profit_row"]].item()
    rig.build()
    assert rig.position[["profit_ticks", "profit_row"]].item() == before
    rig.run()
    questions = rig.requests()
    assert ACTION_PLACE not in [int(request["action"]) for request in questions], "it is asked for, never sent again"
    assert {int(question["order_row"]) for question in questions[:2]} == {int(stop["order_row"]), before[1]}
