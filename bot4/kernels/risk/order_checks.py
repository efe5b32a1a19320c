"""The one risk check, called twice: by the shard before the ring and by execution as the last code before the wire.

Pure function of four records. Everything is compared in integers, exactly at the limit (the limit itself is allowed,
for losses it is not); nothing here can overflow, see the bounds in `view`. Cheap checks first, divisions last. Stands
between sizing and the intent ring. Budget: 30 ns (`bot4-bench step`).

Two kinds of order. One that can only reduce the position, since the venue clips it (reduce-only), passes kill, breaker,
losses, cool-down, rates, position and value limits, for getting out must always be possible; it needs sane fields, a
price within the collar, room among the open orders and an end to repeating (so that a shard gone mad cannot send exits
without end). Every other order opens risk and passes all checks.
"""

import numpy as np

from bot4.jit import inlined
from bot4.kernels.risk.drawdown import check_losses
from bot4.kernels.risk.exposure import check_collar, check_notional, check_size
from bot4.kernels.risk.portfolio import check_exposure
from bot4.kernels.risk.position import (
    check_position,
    check_reduce_only,
    check_self_trade,
    check_short_spot,
    is_reducing,
)
from bot4.kernels.risk.rate_limit import check_cool_down, check_rate, check_repeat, take_token
from bot4.kernels.risk.stop import check_stop, check_stop_loss
from bot4.kernels.risk.view import MAX_PRICE_TICKS, MAX_QTY_LOTS
from bot4.model.enums import (
    ACTION_PLACE,
    DATA_STALE,
    EXEC_NO_QUOTE,
    LEG_ENTRY,
    LEG_FLATTEN,
    OK,
    ORDER_POST_ONLY,
    ORDER_REDUCE_ONLY,
    RISK_BAD_ORDER,
    RISK_BREAKER_OPEN,
    RISK_CORRELATION,
    RISK_KILLED,
    RISK_OPEN_ORDERS,
    TIF_GTC,
    TIF_IOC,
    TYPE_LIMIT,
    TYPE_MARKET,
)


@inlined
def check_fields(order, instrument):
    """RISK_BAD_ORDER if any field is outside its range; whatever passes cannot overflow later.

    A quantity below the venue's least is only allowed to reduce-only orders: remainders must be able to leave. What
    opens is an entry: no other leg's stop would be placed.
    """
    kind = order["type"]
    flags = np.int64(order["flags"])
    qty = order["qty_lots"]
    price = order["price_ticks"]
    if order["action"] != ACTION_PLACE or (order["side"] != 1 and order["side"] != -1):
        return RISK_BAD_ORDER
    if qty <= 0 or qty > MAX_QTY_LOTS or qty > instrument["max_qty_lots"]:
        return RISK_BAD_ORDER
    if qty < instrument["min_qty_lots"] and not flags & ORDER_REDUCE_ONLY:
        return RISK_BAD_ORDER
    if order["trail_ticks"] < 0 or order["even_ticks"] < 0:
        return RISK_BAD_ORDER
    if order["ts_ns"] < 0 or order["stop_ticks"] < 0 or order["stop_ticks"] > MAX_PRICE_TICKS:
        return RISK_BAD_ORDER
    if order["tif"] != TIF_GTC and order["tif"] != TIF_IOC:
        return RISK_BAD_ORDER
    if flags & ~(ORDER_REDUCE_ONLY | ORDER_POST_ONLY) or order["leg"] > LEG_FLATTEN:
        return RISK_BAD_ORDER
    if order["leg"] != LEG_ENTRY and not flags & ORDER_REDUCE_ONLY:
        return RISK_BAD_ORDER
    if kind == TYPE_LIMIT:
        if price <= 0 or price > MAX_PRICE_TICKS:
            return RISK_BAD_ORDER
        if flags & ORDER_POST_ONLY and order["tif"] != TIF_GTC:
            return RISK_BAD_ORDER
    elif kind != TYPE_MARKET or price != 0 or flags & ORDER_POST_ONLY:
        return RISK_BAD_ORDER
    slices = np.int64(order["slices"])
    wait_ds = np.int64(order["slice_ds"])
    if slices != 0 or wait_ds != 0:  # in time by IOC, at one price at rest; each of them of a size that the venue takes
        if slices < 2 or kind != TYPE_LIMIT or flags & ORDER_REDUCE_ONLY or (wait_ds != 0) != (order["tif"] == TIF_IOC):
            return RISK_BAD_ORDER
        if qty // slices < max(instrument["min_qty_lots"], 1):
            return RISK_BAD_ORDER
    profit = order["aux"]
    if profit != 0:  # an entry names a take-profit: beyond its limit price, on the side where it wins
        if kind != TYPE_LIMIT or flags & ORDER_REDUCE_ONLY or profit < 0 or profit > MAX_PRICE_TICKS:
            return RISK_BAD_ORDER
        if (profit - price) * order["side"] <= 0:
            return RISK_BAD_ORDER
    return OK


@inlined
def has_quote(now_ns, view, limits):
    """True if bid and ask are there, in order, representable and not too old."""
    bid = view["bid_ticks"]
    ask = view["ask_ticks"]
    if bid <= 0 or ask <= bid or ask > MAX_PRICE_TICKS:
        return False
    return now_ns - view["quote_ts_ns"] <= limits["quote_age_ns"]


@inlined
def check_order(order, view, instrument, limits):
    """Whether this order may go out now: OK or the first reason against it.

    Parameters
    ----------
    order : ORDER_INTENT; `ts_ns` is now
    view : RISK_VIEW of the order's instrument, not changed
    instrument : INSTRUMENT
    limits : LIMITS

    Returns
    -------
    int64 : OK, a RISK_* code, or for an opening order DATA_STALE (book not whole) and EXEC_NO_QUOTE (no live quote)

    Notes
    -----
    Complexity: O(1), at most eighteen divisions. Invariant: after any sequence of accepted orders and fills the worst
    case of the position, and of all of them, is within the limit at the mid of the last acceptance. Errors: the codes;
    nothing raises. Twin: tests/reference/kernels/risk/order_checks.py
    """
    code = check_fields(order, instrument)
    if code != OK:
        return code
    now_ns = order["ts_ns"]
    quoted = has_quote(now_ns, view, limits)
    if is_reducing(order):
        code = check_reduce_only(order, view)
        if code != OK:
            return code
        if view["open_orders"] >= limits["open_orders"]:
            return RISK_OPEN_ORDERS
        if quoted:
            code = check_collar(order, view, limits)
            if code != OK:
                return code
        return check_repeat(order, view, limits)
    if view["killed"]:
        return RISK_KILLED
    if view["breaker_open"]:
        return RISK_BREAKER_OPEN
    if view["stale"]:
        return DATA_STALE
    if not quoted:
        return EXEC_NO_QUOTE
    code = check_losses(view, limits)
    if code != OK:
        return code
    if view["open_orders"] >= limits["open_orders"]:
        return RISK_OPEN_ORDERS
    code = check_cool_down(now_ns, view, limits)
    if code != OK:
        return code
    code = check_rate(now_ns, view, limits)
    if code != OK:
        return code
    code = check_short_spot(order, view, instrument)
    if code != OK:
        return code
    code = check_self_trade(order, view)
    if code != OK:
        return code
    code = check_size(order, limits)
    if code != OK:
        return code
    code = check_stop(order, view, limits)
    if code != OK:
        return code
    code = check_collar(order, view, limits)
    if code != OK:
        return code
    code = check_notional(order, view, instrument, limits)
    if code != OK:
        return code
    code = check_position(order, view, instrument, limits)
    if code != OK:
        return code
    code = check_stop_loss(order, view, instrument, limits)
    if code != OK:
        return code
    code = check_exposure(order, view, instrument, limits)
    if code != OK:
        return code
    if view["correlation_bps"] > limits["correlation_bps"]:
        return RISK_CORRELATION
    return check_repeat(order, view, limits)


@inlined
def note_order(order, view, limits):
    """Enter an accepted order: pending lots, open orders, and for an opening one the cool-down and the bucket.

    Parameters
    ----------
    order : ORDER_INTENT that `check_order` accepted with this view
    view : RISK_VIEW, changed
    limits : LIMITS
    """
    if not is_reducing(order):
        view["last_open_ns"] = order["ts_ns"]
        view["bucket_ns"] = take_token(view["bucket_ns"], order["ts_ns"], limits["bucket_refill_ns"])
    if order["side"] > 0:
        view["pending_buy_lots"] += order["qty_lots"]
    else:
        view["pending_sell_lots"] += order["qty_lots"]
    view["open_orders"] += 1


@inlined
def _release(view, side, lots):
    if side > 0:
        view["pending_buy_lots"] = max(view["pending_buy_lots"] - lots, 0)
    else:
        view["pending_sell_lots"] = max(view["pending_sell_lots"] - lots, 0)


@inlined
def note_fill(view, side, lots):
    """Lots of a noted order filled: they move from pending into the position. side : +1 or -1; lots : int64 > 0."""
    view["position_lots"] += side * lots
    _release(view, side, lots)


@inlined
def note_protective_fill(view, side, lots):
    """Lots of a protective order (stop, flatten) filled: it was never pending, only the position moves."""
    view["position_lots"] += side * lots


@inlined
def note_done(view, side, leaves_lots):
    """A noted order ended with `leaves_lots` unfilled (0 after its last fill): they are pending no more."""
    _release(view, side, leaves_lots)
    view["open_orders"] = max(view["open_orders"] - 1, 0)
