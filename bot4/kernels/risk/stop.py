"""An order that opens risk names its protective stop, and the stop lies on the losing side."""

from bot4.jit import inlined
from bot4.model.enums import OK, RISK_STOP_MISSING, RISK_STOP_SIDE, TYPE_MARKET


@inlined
def check_stop(order, view):
    """RISK_STOP_MISSING or RISK_STOP_SIDE.

    Notes
    -----
    A buy's stop is below its limit price and below the best bid, a sell's above its limit price and above the best ask:
    a stop inside the spread would trigger at once.
    """
    stop = order["stop_ticks"]
    if stop <= 0:
        return RISK_STOP_MISSING
    market = order["type"] == TYPE_MARKET
    if order["side"] > 0:
        reference = view["bid_ticks"] if market else min(order["price_ticks"], view["bid_ticks"])
        return OK if stop < reference else RISK_STOP_SIDE
    reference = view["ask_ticks"] if market else max(order["price_ticks"], view["ask_ticks"])
    return OK if stop > reference else RISK_STOP_SIDE
