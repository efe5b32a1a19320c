"""An order that opens risk names its protective stop.

The stop lies on the losing side, not too far away, and what is lost there, costs included, is a small share of equity.
"""

from bot4.jit import inlined
from bot4.kernels.risk.position import worst_lots
from bot4.kernels.risk.share import parts_ceil, share_floor, worth
from bot4.kernels.risk.view import MAX_BPS
from bot4.model.enums import OK, RISK_STOP_FAR, RISK_STOP_LOSS, RISK_STOP_MISSING, RISK_STOP_SIDE, TYPE_MARKET


@inlined
def _price(order, view):
    """The worst price that the order can fill at: its own, or the touch."""
    if order["type"] != TYPE_MARKET:
        return order["price_ticks"]
    return view["ask_ticks"] if order["side"] > 0 else view["bid_ticks"]


@inlined
def check_stop(order, view, limits):
    """RISK_STOP_MISSING, RISK_STOP_SIDE or RISK_STOP_FAR.

    Notes
    -----
    A buy's stop is below its limit price and below the best bid, a sell's above its limit price and above the best ask:
    a stop inside the spread would trigger at once. Distances are from the worst price that the order can fill at.
    """
    stop = order["stop_ticks"]
    if stop <= 0:
        return RISK_STOP_MISSING
    market = order["type"] == TYPE_MARKET
    if order["side"] > 0:
        reference = view["bid_ticks"] if market else min(order["price_ticks"], view["bid_ticks"])
        if stop >= reference:
            return RISK_STOP_SIDE
    else:
        reference = view["ask_ticks"] if market else max(order["price_ticks"], view["ask_ticks"])
        if stop <= reference:
            return RISK_STOP_SIDE
    price = _price(order, view)
    if abs(price - stop) * 10_000 > price * min(limits["stop_bps"], MAX_BPS):
        return RISK_STOP_FAR
    return OK


@inlined
def _farthest(order, view):
    """The stop that the position could come to have: the order's, or that of one before it which fills later."""
    own = view["own_stop_ticks"]
    if own == 0 or (own - order["stop_ticks"]) * order["side"] > 0:
        return order["stop_ticks"]
    return own


@inlined
def check_stop_loss(order, view, instrument, limits):
    """RISK_STOP_LOSS if all that is held, pending and wanted on this side could lose too much at its farthest stop.

    Notes
    -----
    Counted are the way from price to stop, the taker's fee there and back, and so much slippage beyond the stop; each
    of the costs is rounded up. The caller has made sure of a stop and of a value unit. The sum stays below 2**63.
    """
    lots = worst_lots(order["side"], order["qty_lots"], view)
    price = _price(order, view)
    stop = _farthest(order, view)
    value_e8 = instrument["value_e8"]
    fee_ppm = max(instrument["taker_fee_ppm"], 0)
    loss = worth(lots, abs(price - stop), value_e8)
    loss += parts_ceil(worth(lots, price, value_e8), fee_ppm)
    loss += parts_ceil(worth(lots, stop, value_e8), fee_ppm + 100 * limits["slippage_bps"])
    if loss > share_floor(min(view["equity_e8"], limits["capital_e8"]), limits["stop_loss_bps"]):
        return RISK_STOP_LOSS
    return OK
