"""How much one order may be: lots, value, and the distance of its price from the market."""

import numpy as np

from bot4.jit import inlined
from bot4.kernels.risk.share import is_worth_less, is_worth_more
from bot4.kernels.risk.view import MAX_BPS
from bot4.model.enums import OK, RISK_COLLAR, RISK_MIN_NOTIONAL, RISK_NOTIONAL, RISK_ORDER_SIZE, TYPE_MARKET


@inlined
def check_size(order, limits):
    """RISK_ORDER_SIZE if the quantity exceeds the limit in lots."""
    if order["qty_lots"] > limits["order_lots"]:
        return RISK_ORDER_SIZE
    return OK


@inlined
def check_notional(order, view, instrument, limits):
    """RISK_NOTIONAL or RISK_MIN_NOTIONAL if the order's value is outside its bounds.

    Notes
    -----
    The largest value is taken at the dearest price it can fill at (a sell below the bid fills at the bid or better);
    the smallest at its own price, as the venue's filter does, of an entry in slices that of one of them.
    Errors: RISK_NOTIONAL if there is no price or no value unit.
    """
    side = order["side"]
    price = order["price_ticks"]
    if order["type"] == TYPE_MARKET:
        price = view["ask_ticks"] if side > 0 else view["bid_ticks"]
    dearest = price if side > 0 else max(price, view["bid_ticks"])
    value_e8 = instrument["value_e8"]
    if price <= 0 or value_e8 <= 0:
        return RISK_NOTIONAL
    qty = order["qty_lots"]
    if is_worth_more(qty, dearest, value_e8, limits["order_notional_e8"]):
        return RISK_NOTIONAL
    least = qty // max(np.int64(order["slices"]), 1)
    if is_worth_less(least, price, value_e8, instrument["min_notional_e8"]):
        return RISK_MIN_NOTIONAL
    return OK


@inlined
def check_collar(order, view, limits):
    """RISK_COLLAR if a limit price is further from the mid than the limit allows; a market order has no price."""
    if order["type"] == TYPE_MARKET:
        return OK
    twice_mid = view["bid_ticks"] + view["ask_ticks"]
    distance = abs(2 * order["price_ticks"] - twice_mid)
    if distance * 10_000 > twice_mid * min(limits["collar_bps"], MAX_BPS):
        return RISK_COLLAR
    return OK
