"""Each risk check at limit - 1, at the limit and at limit + 1, one case a sentence."""

import numpy as np
import pytest
from rig.risk import ASK, BID, EQUITY, T0, Case
from rig.tables import SECOND

from bot4.kernels.risk.order_checks import note_done, note_fill, note_order, note_protective_fill
from bot4.kernels.risk.share import share_ceil, share_floor
from bot4.kernels.risk.view import MAX_BPS, MAX_MONEY_E8, MAX_PRICE_TICKS, MAX_QTY_LOTS
from bot4.model.enums import (
    ACTION_CANCEL,
    DATA_STALE,
    EXEC_NO_QUOTE,
    LEG_EXIT,
    OK,
    ORDER_POST_ONLY,
    ORDER_REDUCE_ONLY,
    RISK_BAD_ORDER,
    RISK_BREAKER_OPEN,
    RISK_COLLAR,
    RISK_COOL_DOWN,
    RISK_DAILY_LOSS,
    RISK_DRAWDOWN,
    RISK_KILLED,
    RISK_MIN_NOTIONAL,
    RISK_NO_EQUITY,
    RISK_NOTIONAL,
    RISK_OPEN_ORDERS,
    RISK_ORDER_SIZE,
    RISK_POSITION,
    RISK_RATE,
    RISK_REDUCE_ONLY,
    RISK_SHORT_SPOT,
    RISK_STOP_MISSING,
    RISK_STOP_SIDE,
    SIDE_BUY,
    SIDE_SELL,
    TIF_GTC,
    TIF_IOC,
    TYPE_LIMIT,
    TYPE_MARKET,
    TYPE_STOP_MARKET,
)

MID = (BID + ASK) // 2
POSITION_LOTS = 200 * EQUITY // 10_000 // (MID * 10)  # 2 % of equity at the mid


def sell(**changes):
    """The opposite of the good order, as good."""
    return Case(side=SIDE_SELL, price_ticks=BID, stop_ticks=ASK + 1_000).set(**changes)


def leaving(**changes):
    """A market exit of a long position of 5,000 lots."""
    case = sell(type=TYPE_MARKET, price_ticks=0, stop_ticks=0, leg=LEG_EXIT, flags=ORDER_REDUCE_ONLY)
    return case.set(position_lots=5_000, qty_lots=5_000).set(**changes)


def test_the_good_orders_pass():
    assert Case().code() == OK
    assert sell().code() == OK
    assert Case(type=TYPE_MARKET, price_ticks=0).code() == OK
    assert Case(tif=TIF_GTC, flags=ORDER_POST_ONLY, price_ticks=BID).code() == OK
    assert leaving().code() == OK


@pytest.mark.parametrize(
    "change",
    [
        {"action": ACTION_CANCEL},
        {"side": 0},
        {"side": 2},
        {"type": 0},
        {"type": TYPE_STOP_MARKET},
        {"tif": 0},
        {"tif": 3},
        {"flags": 4},
        {"leg": 4},
        {"leg": LEG_EXIT},  # and opens
        {"qty_lots": 0},
        {"qty_lots": -1},
        {"qty_lots": 0, "flags": ORDER_REDUCE_ONLY},
        {"qty_lots": -1, "flags": ORDER_REDUCE_ONLY},
        {"qty_lots": MAX_QTY_LOTS + 1, "max_qty_lots": 2**62},
        {"qty_lots": 2**62, "max_qty_lots": 2**62},
        {"qty_lots": 1_001, "max_qty_lots": 1_000},
        {"qty_lots": 999, "min_qty_lots": 1_000},
        {"price_ticks": 0},
        {"price_ticks": -1},
        {"price_ticks": MAX_PRICE_TICKS + 1},
        {"price_ticks": 2**63 - 1},
        {"stop_ticks": -1},
        {"stop_ticks": MAX_PRICE_TICKS + 1},
        {"ts_ns": -1},
        {"type": TYPE_MARKET},  # with a price
        {"type": TYPE_MARKET, "price_ticks": 0, "flags": ORDER_POST_ONLY},
        {"flags": ORDER_POST_ONLY, "tif": TIF_IOC},
    ],
)
def test_a_field_out_of_its_range_is_refused(change):
    assert Case(**change).code() == RISK_BAD_ORDER


def test_the_venues_least_and_largest_quantity_are_allowed():
    assert Case(qty_lots=1_000, min_qty_lots=1_000, max_qty_lots=1_000).code() == OK


def test_a_remainder_below_the_venues_least_quantity_may_leave():
    assert leaving(position_lots=3, qty_lots=3, min_qty_lots=1_000).code() == OK


def test_kill_word():
    assert Case(killed=1).code() == RISK_KILLED
    assert leaving(killed=1).code() == OK


def test_breaker():
    assert Case(breaker_open=1).code() == RISK_BREAKER_OPEN
    assert leaving(breaker_open=1).code() == OK


def test_stale_book():
    assert Case(stale=1).code() == DATA_STALE
    assert leaving(stale=1).code() == OK


@pytest.mark.parametrize("change", [{"bid_ticks": 0}, {"ask_ticks": BID}, {"ask_ticks": MAX_PRICE_TICKS + 1}])
def test_no_quote(change):
    assert Case(**change).code() == EXEC_NO_QUOTE
    assert leaving(**change).code() == OK


def test_age_of_the_quote():
    for age, code in ((9, OK), (10, OK), (11, EXEC_NO_QUOTE)):
        assert Case(quote_age_ns=10, quote_ts_ns=T0 - age).code() == code


def test_equity():
    for equity, code in ((-1, RISK_NO_EQUITY), (0, RISK_NO_EQUITY), (1, RISK_POSITION)):
        assert Case(equity_e8=equity, high_water_e8=0, day_start_e8=0).code() == code
    assert leaving(equity_e8=0).code() == OK


def test_drawdown():
    for loss, code in ((-1, OK), (0, RISK_DRAWDOWN), (1, RISK_DRAWDOWN)):
        high = 120_000 * 10**8
        assert Case(high_water_e8=high, equity_e8=high - high * 15 // 100 - loss, day_start_e8=0).code() == code
    assert leaving(equity_e8=1).code() == OK


def test_drawdown_of_an_odd_mark():
    """15 % of 10,000,000,001 is not whole: 1,500,000,000 is still below it, one more is above."""
    for loss, code in ((1_500_000_000, OK), (1_500_000_001, RISK_DRAWDOWN)):
        mark = 10_000_000_001
        case = Case(high_water_e8=mark, equity_e8=mark - loss, day_start_e8=0, qty_lots=1, min_notional_e8=0)
        assert case.set(position_bps=10_000).code() == code


def test_daily_loss():
    for loss, code in ((-1, OK), (0, RISK_DAILY_LOSS), (1, RISK_DAILY_LOSS)):
        start = 103_000 * 10**8
        assert Case(day_start_e8=start, equity_e8=start - start * 3 // 100 - loss, high_water_e8=0).code() == code


def test_open_orders():
    for count, code in ((3, OK), (4, RISK_OPEN_ORDERS), (5, RISK_OPEN_ORDERS)):
        assert Case(open_orders=count, max_open_orders=4).code() == code
        assert leaving(open_orders=count, max_open_orders=4).code() == code


def test_cool_down():
    for pause, code in ((SECOND - 1, RISK_COOL_DOWN), (SECOND, OK), (SECOND + 1, OK)):
        assert Case(last_open_ns=T0 - pause).code() == code
        assert leaving(last_open_ns=T0 - pause).code() == OK
    assert Case(last_open_ns=T0 + 1).code() == RISK_COOL_DOWN


def test_rate():
    """Three tokens, one a second: an order may be two seconds early and not a nanosecond more."""
    for early, code in ((2 * SECOND - 1, OK), (2 * SECOND, OK), (2 * SECOND + 1, RISK_RATE)):
        assert Case(bucket_ns=T0 + early).code() == code
        assert leaving(bucket_ns=T0 + early).code() == OK


@pytest.mark.parametrize("change", [{"bucket_tokens": 0}, {"bucket_refill_ns": 0}])
def test_a_bucket_without_tokens_lets_nothing_through(change):
    assert Case(**change).code() == RISK_RATE


def test_a_burst_takes_as_many_tokens_as_the_bucket_holds():
    case = Case(cool_down_ns=0, qty_lots=10)
    for code in (OK, OK, OK, RISK_RATE):
        assert case.code() == code
        if code == OK:
            note_order(case.order[0], case.view[0], case.limits[0])
            note_done(case.view[0], SIDE_BUY, 10)
    assert case.set(ts_ns=T0 + SECOND).code() == OK


def test_order_size():
    for lots, code in ((999, OK), (1_000, OK), (1_001, RISK_ORDER_SIZE)):
        assert Case(order_lots=1_000, qty_lots=lots).code() == code
    assert leaving(order_lots=1_000).code() == OK


def test_notional():
    worth = 1_000 * ASK * 10
    for limit, code in ((worth - 1, RISK_NOTIONAL), (worth, OK), (worth + 1, OK)):
        assert Case(order_notional_e8=limit).code() == code
    assert leaving(order_notional_e8=1).code() == OK


def test_notional_of_a_sell_is_taken_at_the_bid_when_that_is_dearer():
    worth = 1_000 * BID * 10
    for limit, code in ((worth - 1, RISK_NOTIONAL), (worth, OK)):
        assert sell(price_ticks=BID - 10, order_notional_e8=limit).code() == code


def test_notional_of_a_market_order_is_taken_at_the_touch():
    for case, worth in ((Case(), 1_000 * ASK * 10), (sell(), 1_000 * BID * 10)):
        case.set(type=TYPE_MARKET, price_ticks=0)
        assert case.set(order_notional_e8=worth).code() == OK
        assert case.set(order_notional_e8=worth - 1).code() == RISK_NOTIONAL


def test_a_value_unit_of_zero_is_refused():
    assert Case(value_e8=0).code() == RISK_NOTIONAL


def test_min_notional():
    worth = 1_000 * ASK * 10
    for least, code in ((worth - 1, OK), (worth, OK), (worth + 1, RISK_MIN_NOTIONAL)):
        assert Case(min_notional_e8=least).code() == code
    assert leaving(min_notional_e8=10**18).code() == OK


def test_collar():
    """1 % of the mid, above and below."""
    reach = MID // 100
    for case, inward, outward in ((Case(), MID + reach, MID + reach + 1), (Case(), MID - reach, MID - reach - 1)):
        case.set(stop_ticks=1)
        assert case.set(price_ticks=inward).code() == OK
        assert case.set(price_ticks=outward).code() == RISK_COLLAR


def test_collar_holds_for_a_limit_exit_too():
    case = leaving(type=TYPE_LIMIT, price_ticks=MID - MID // 100)
    assert case.code() == OK
    assert case.set(price_ticks=MID - MID // 100 - 1).code() == RISK_COLLAR


def test_collar_of_an_odd_mid_is_exact():
    """Mid 6,000,000.5 and 1 %: 6,060,000 is within 60,000.005, 6,060,001 is not."""
    case = Case(ask_ticks=BID + 1, stop_ticks=1)
    assert case.set(price_ticks=6_060_000).code() == OK
    assert case.set(price_ticks=6_060_001).code() == RISK_COLLAR


def test_stop_missing():
    assert Case(stop_ticks=0).code() == RISK_STOP_MISSING
    assert Case(stop_ticks=1).code() == OK
    assert leaving().code() == OK


def test_stop_side():
    for stop, code in ((BID - 1, OK), (BID, RISK_STOP_SIDE), (BID + 1, RISK_STOP_SIDE)):
        assert Case(stop_ticks=stop).code() == code
        assert Case(stop_ticks=stop, type=TYPE_MARKET, price_ticks=0).code() == code
    for stop, code in ((ASK + 1, OK), (ASK, RISK_STOP_SIDE), (ASK - 1, RISK_STOP_SIDE)):
        assert sell(stop_ticks=stop).code() == code
        assert sell(stop_ticks=stop, type=TYPE_MARKET, price_ticks=0).code() == code


def test_stop_side_of_a_passive_price():
    """The stop is beyond the order's own price where that is beyond the quote."""
    for stop, code in ((BID - 11, OK), (BID - 10, RISK_STOP_SIDE)):
        assert Case(price_ticks=BID - 10, stop_ticks=stop).code() == code
    for stop, code in ((ASK + 11, OK), (ASK + 10, RISK_STOP_SIDE)):
        assert sell(price_ticks=ASK + 10, stop_ticks=stop).code() == code


def test_position():
    for lots, code in ((POSITION_LOTS - 1, OK), (POSITION_LOTS, OK), (POSITION_LOTS + 1, RISK_POSITION)):
        assert Case(qty_lots=lots).code() == code
        assert sell(qty_lots=lots).code() == code


@pytest.mark.parametrize("held", ["position_lots", "pending_buy_lots"])
def test_position_counts_what_is_held_and_what_is_pending(held):
    for lots, code in ((POSITION_LOTS - 1_000, OK), (POSITION_LOTS - 999, RISK_POSITION)):
        assert Case(**{held: lots}).code() == code


def test_position_is_exact_to_the_last_unit_of_equity():
    lots = 1_000
    exact = lots * (BID + ASK) * 10 * 10_000 // (2 * 200)  # equity of which 2 % is just these lots
    for equity, code in ((exact - 1, RISK_POSITION), (exact, OK)):
        assert Case(qty_lots=lots, equity_e8=equity, high_water_e8=0, day_start_e8=0).code() == code


def test_position_does_not_lose_the_half_tick_of_an_odd_mid():
    """1,001 lots at a mid of 6,000,000.5 are worth a half; 2 % of equity is worth the same half."""
    equity = 25 * 1_001 * (2 * BID + 1)
    case = Case(ask_ticks=BID + 1, price_ticks=BID + 1, qty_lots=1_001, value_e8=1, min_notional_e8=0)
    case.set(high_water_e8=0, day_start_e8=0)
    for change, code in ((0, OK), (-1, RISK_POSITION)):
        assert case.set(equity_e8=equity + change).code() == code


def test_turning_a_position_counts_all_of_the_order():
    """Short 2,000 with a stop that may go off before the order arrives."""
    for lots, code in ((POSITION_LOTS, OK), (POSITION_LOTS + 1, RISK_POSITION)):
        assert Case(position_lots=-2_000, qty_lots=lots).code() == code


def test_an_order_that_is_not_flagged_as_an_exit_is_none():
    case = sell(position_lots=5_000, qty_lots=5_000, killed=1, stop_ticks=0)
    assert case.code() == RISK_KILLED
    assert case.set(killed=0, qty_lots=1_000).code() == RISK_STOP_MISSING
    assert case.set(flags=ORDER_REDUCE_ONLY, killed=1).code() == OK


def test_reduce_only_does_not_exceed_the_position():
    for lots, code in ((4_999, OK), (5_000, OK), (5_001, RISK_REDUCE_ONLY)):
        assert leaving(qty_lots=lots).code() == code
    assert leaving(position_lots=0, qty_lots=1).code() == RISK_REDUCE_ONLY
    assert leaving(position_lots=-5_000).code() == RISK_REDUCE_ONLY
    assert leaving(side=SIDE_BUY).code() == RISK_REDUCE_ONLY
    assert leaving(side=SIDE_BUY, position_lots=-5_000).code() == OK


def test_short_spot():
    for held, code in ((999, RISK_SHORT_SPOT), (1_000, OK), (1_001, OK)):
        assert sell(is_spot=1, position_lots=held).code() == code
    assert sell(is_spot=1, position_lots=1_001, pending_sell_lots=2).code() == RISK_SHORT_SPOT
    assert Case(is_spot=1).code() == OK


def test_extreme_but_legal_records_do_not_overflow():
    case = Case(
        bid_ticks=MAX_PRICE_TICKS - 1, ask_ticks=MAX_PRICE_TICKS, price_ticks=MAX_PRICE_TICKS, stop_ticks=1,
        qty_lots=MAX_QTY_LOTS, max_qty_lots=2**62, order_lots=2**62, order_notional_e8=2**63 - 1, value_e8=2**62,
        position_lots=MAX_QTY_LOTS, pending_buy_lots=MAX_QTY_LOTS, position_bps=2**62, collar_bps=2**62,
        equity_e8=2**63 - 1, high_water_e8=2**63 - 1, day_start_e8=2**63 - 1,
    )  # fmt: skip
    assert case.code() == RISK_NOTIONAL
    assert case.set(value_e8=1).code() == RISK_NOTIONAL
    assert case.set(qty_lots=1, position_lots=0, pending_buy_lots=0, min_notional_e8=0).code() == OK


def test_shares_round_down_for_limits_and_up_for_losses():
    assert share_floor(10_001, 200) == 200 and share_ceil(10_001, 200) == 201
    assert share_floor(10_000, 200) == 200 and share_ceil(10_000, 200) == 200
    assert share_floor(0, 200) == share_floor(-5, 200) == share_floor(10_000, 0) == share_ceil(-5, 1) == 0


def test_shares_are_bounded():
    assert share_floor(2**63 - 1, 2**62) == share_ceil(2**63 - 1, 2**62) == MAX_MONEY_E8
    assert share_floor(np.int64(MAX_MONEY_E8), np.int64(MAX_BPS)) == MAX_MONEY_E8
    assert share_floor(MAX_MONEY_E8, 10_000) == MAX_MONEY_E8
    assert share_floor(10_000, MAX_BPS + 1) == MAX_BPS


def test_an_order_is_pending_until_filled_or_done():
    case = Case()
    note_order(case.order[0], case.view[0], case.limits[0])
    view = case.view[0]
    assert (view["pending_buy_lots"], view["open_orders"], view["last_open_ns"]) == (1_000, 1, T0)
    assert view["bucket_ns"] == T0 + SECOND
    note_fill(view, SIDE_BUY, 400)
    assert (view["position_lots"], view["pending_buy_lots"], view["open_orders"]) == (400, 600, 1)
    note_done(view, SIDE_BUY, 600)
    assert (view["position_lots"], view["pending_buy_lots"], view["open_orders"]) == (400, 0, 0)


def test_an_exit_starts_no_cool_down_and_takes_no_token():
    case = leaving()
    note_order(case.order[0], case.view[0], case.limits[0])
    view = case.view[0]
    assert (view["pending_sell_lots"], view["open_orders"]) == (5_000, 1)
    assert view["last_open_ns"] == view["bucket_ns"] == 0


def test_a_protective_fill_moves_the_position_and_nothing_pending():
    case = leaving(pending_sell_lots=5_000, open_orders=1)
    note_protective_fill(case.view[0], SIDE_SELL, 2_000)
    assert (case.view[0]["position_lots"], case.view[0]["pending_sell_lots"]) == (3_000, 5_000)


def test_counts_never_go_below_zero():
    case = Case()
    note_done(case.view[0], SIDE_SELL, 5)
    assert (case.view[0]["pending_sell_lots"], case.view[0]["open_orders"]) == (0, 0)
