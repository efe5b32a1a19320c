"""Rules of the market side that a venue's port does not show: gaps, ties within a message, limits of tables."""

import pytest
from rig.matching import Pair

from bot4.kernels.matching.state import MAX_TAKEN
from bot4.model import enums as e


@pytest.fixture
def pair():
    """Kernels and twin with a whole book of the linear contract."""
    made = Pair(cash_e8=10**12)
    made.instruments[0]["min_notional_e8"] = 0
    made.twin.rules[0].min_notional_e8 = 0
    snapshot(made)
    return made


def snapshot(pair, levels=3):
    pair.tick(0, e.TICK_STATUS, e.FLAG_SNAPSHOT, e.STATUS_CLEAR)
    for distance in range(levels):
        pair.tick(0, e.TICK_LEVEL, e.FLAG_SNAPSHOT, 399 - distance, 10, 1)
        pair.tick(0, e.TICK_LEVEL, e.FLAG_SNAPSHOT, 401 + distance, 10, -1)
    pair.tick(0, e.TICK_STATUS, e.FLAG_SNAPSHOT | e.FLAG_LAST, e.STATUS_WHOLE)


def place(pair, number, side, order_type, qty, **fields):
    said = pair.request(e.ACTION_PLACE, number, side=side, type=order_type, qty=qty, **{"tif": e.TIF_GTC, **fields})
    return [(event[2], event[15]) for event in said]


def test_a_missing_record_shuts_the_market_until_a_snapshot(pair):
    pair.tick(0, e.TICK_LEVEL, e.FLAG_LAST, 401, 12, -1, skip=1)
    assert place(pair, 1, 1, e.TYPE_MARKET, 5) == [(e.REPORT_REJECT, e.VENUE_NO_MARKET)]
    pair.tick(0, e.TICK_STATUS, e.FLAG_LAST, e.STATUS_WHOLE)  # the feed lost nothing: only a snapshot heals
    assert place(pair, 2, 1, e.TYPE_MARKET, 5) == [(e.REPORT_REJECT, e.VENUE_NO_MARKET)]
    snapshot(pair)
    assert place(pair, 3, 1, e.TYPE_MARKET, 5) == [(e.REPORT_ACK, 0), (e.REPORT_FILL, 0)]
    faults = [entry for entry in pair.entries if entry["kind"] == 5]
    assert len(faults) == 1


def test_a_level_that_changes_and_comes_back_within_a_message_stays_taken(pair):
    place(pair, 1, 1, e.TYPE_MARKET, 10)
    pair.tick(0, e.TICK_LEVEL, 0, 401, 50, -1)
    pair.tick(0, e.TICK_LEVEL, e.FLAG_LAST, 401, 10, -1)
    assert place(pair, 2, 1, e.TYPE_LIMIT, 5, price=401, tif=e.TIF_IOC) == [(e.REPORT_ACK, 0), (e.REPORT_EXPIRED, 0)]


def test_a_quote_that_shows_another_quantity_offers_anew(pair):
    place(pair, 1, 1, e.TYPE_MARKET, 10)
    pair.tick(0, e.TICK_QUOTE, e.FLAG_LAST, 399, 10, 401, 10)
    assert place(pair, 2, 1, e.TYPE_LIMIT, 5, price=401, tif=e.TIF_IOC) == [(e.REPORT_ACK, 0), (e.REPORT_EXPIRED, 0)]
    pair.tick(0, e.TICK_QUOTE, e.FLAG_LAST, 399, 10, 401, 11)
    assert place(pair, 3, 1, e.TYPE_LIMIT, 5, price=401, tif=e.TIF_IOC) == [(e.REPORT_ACK, 0), (e.REPORT_FILL, 0)]


def test_levels_that_cannot_be_remembered_are_not_taken(pair):
    snapshot(pair, levels=MAX_TAKEN + 40)
    for number in range(MAX_TAKEN // 6 + 10):
        place(pair, number + 1, 1, e.TYPE_MARKET, 60)
    pair.check_state()
    assert pair.memory.seats[0]["n_taken"] == MAX_TAKEN
    assert pair.memory.seats[0]["lots"] == MAX_TAKEN * 10


def test_an_order_joins_behind_what_is_displayed(pair):
    place(pair, 1, 1, e.TYPE_LIMIT, 5, price=399)
    place(pair, 2, 1, e.TYPE_LIMIT, 5, price=400)  # alone at its price
    assert [pair.memory.orders[row]["queue_lots"] for row in range(2)] == [10, 0]


def test_a_trade_through_clears_the_queue(pair):
    place(pair, 1, 1, e.TYPE_LIMIT, 5, price=399)
    pair.tick(0, e.TICK_TRADE, e.FLAG_LAST, 398, 2, 1, -1)
    pair.tick(0, e.TICK_TRADE, e.FLAG_LAST, 399, 2, 1, -1)
    assert pair.memory.orders[0]["cum_lots"] == 4


LATER = 100_000_000


def level(pair, lots, after_ns=LATER, price=399):
    """The level of our order shows another quantity, after a while."""
    pair.now += after_ns
    pair.tick(0, e.TICK_LEVEL, e.FLAG_LAST, price, lots, 1)
    pair.check_state()
    return int(pair.memory.orders[0]["queue_lots"])


def waiting(queue, lots=10):
    """A pair with an order of ours behind so many lots."""
    pair = Pair(cash_e8=10**12, queue=queue)
    pair.instruments[0]["min_notional_e8"] = 0
    pair.twin.rules[0].min_notional_e8 = 0
    snapshot(pair)
    pair.tick(0, e.TICK_LEVEL, e.FLAG_LAST, 399, lots, 1)
    place(pair, 1, 1, e.TYPE_LIMIT, 5, price=399)
    level(pair, lots)
    return pair


@pytest.mark.parametrize(("queue", "left"), [("risk-averse", 40), ("power:1", 30), ("power", 28), ("log", 31)])
def test_what_goes_without_a_trade_was_ahead_as_far_as_the_model_says(queue, left):
    """Forty ahead, twenty behind, and fifteen go: behind 15; 15/3; 15/5; 15 * 0.335, rounded up."""
    pair = waiting(queue, 40)
    assert level(pair, 60) == 40, "what comes is behind"
    assert level(pair, 45) == 40, "its trade may still come"
    assert level(pair, 45, LATER - 1) == 40
    assert level(pair, 45, 1 + LATER) == left


@pytest.mark.parametrize("queue", ["risk-averse", "power", "log"])
def test_nobody_is_left_ahead_where_nothing_is_left(queue):
    pair = waiting(queue)
    level(pair, 0)
    level(pair, 0)
    assert level(pair, 0) == 0
    pair.tick(0, e.TICK_TRADE, e.FLAG_LAST, 399, 3, 1, -1)
    assert pair.memory.orders[0]["cum_lots"] == 3


@pytest.mark.parametrize("queue", ["risk-averse", "power", "log"])
def test_what_was_traded_was_not_cancelled_too(queue):
    """Forty ahead and twenty behind; thirty are traded, and the level says so before or after the trade."""
    for trade_first in (True, False):
        pair = waiting(queue, 40)
        level(pair, 60)
        if not trade_first:
            level(pair, 30, 10_000_000)
        pair.now += 10_000_000
        pair.tick(0, e.TICK_TRADE, e.FLAG_LAST, 399, 30, 1, -1)
        level(pair, 30, 10_000_000)
        for _ in range(5):
            assert level(pair, 30) == 10, "thirty of the forty that were ahead, and no more"
        pair.tick(0, e.TICK_TRADE, e.FLAG_LAST, 399, 12, 1, -1)
        assert pair.memory.orders[0]["cum_lots"] == 2


def test_a_trade_of_long_ago_explains_no_cancel():
    pair = waiting("power:1", 40)
    level(pair, 80)
    pair.tick(0, e.TICK_TRADE, e.FLAG_LAST, 399, 10, 1, -1)
    assert level(pair, 70, 2_000_000_001) == 30, "nobody knows yet"
    level(pair, 70)
    assert level(pair, 70) == 27, "ten went, of thirty ahead and fifty behind: 6.25 behind, rounded up to seven"


def test_what_comes_back_at_once_never_went():
    pair = waiting("log", 40)
    level(pair, 60)
    for _ in range(4):
        level(pair, 20, 20_000_000)
        level(pair, 60, 20_000_000)
    for _ in range(4):
        assert level(pair, 60) == 40


def test_two_orders_at_one_price_do_not_share_the_same_trade(pair):
    place(pair, 1, 1, e.TYPE_LIMIT, 6, price=400)
    place(pair, 2, 1, e.TYPE_LIMIT, 6, price=400)
    pair.tick(0, e.TICK_TRADE, e.FLAG_LAST, 400, 8, 1, -1)
    assert [pair.memory.orders[row]["cum_lots"] for row in range(2)] == [6, 2]


def test_records_of_an_instrument_beyond_the_session_are_left_alone(pair):
    before = pair.state()
    pair.numbers.append(0)
    pair.tick(2, e.TICK_TRADE, e.FLAG_LAST, 400, 8, 1, -1)
    assert pair.state() == before


def test_a_spot_buy_stop_that_cannot_be_paid_expires():
    pair = Pair(cash_e8=10**7)
    pair.tick(1, e.TICK_STATUS, e.FLAG_SNAPSHOT, e.STATUS_CLEAR)
    for side in (1, -1):
        pair.tick(1, e.TICK_LEVEL, e.FLAG_SNAPSHOT, 400 - side, 60, side)
    pair.tick(1, e.TICK_STATUS, e.FLAG_SNAPSHOT | e.FLAG_LAST, e.STATUS_WHOLE)
    assert place(pair, 1, 1, e.TYPE_STOP_MARKET, 30, trigger=405, instrument=1) == [(e.REPORT_ACK, 0)]
    assert place(pair, 2, 1, e.TYPE_LIMIT, 30, price=390, instrument=1) == [(e.REPORT_ACK, 0)]  # holds the cash
    said = pair.tick(1, e.TICK_TRADE, e.FLAG_LAST, 405, 1, 1, 1)
    assert [(event[2], event[15]) for event in said] == [
        (e.REPORT_TRIGGERED, 0), (e.REPORT_EXPIRED, e.VENUE_BALANCE),
    ]  # fmt: skip
