"""The position that an order could lead to: reducing or opening, its size against equity, no short on spot.

Worst case of an order: the position plus everything pending on the order's side plus the order itself. Orders on the
other side do not help, for nothing says that they fill.
"""

from bot4.jit import inlined
from bot4.kernels.risk.share import is_worth_more, share_floor
from bot4.kernels.risk.view import MAX_BPS
from bot4.model.enums import OK, ORDER_REDUCE_ONLY, RISK_POSITION, RISK_SHORT_SPOT


@inlined
def worst_lots(side, qty, view):
    """Signed position in lots if the order and everything pending on its side fills; int64."""
    if side > 0:
        return view["position_lots"] + view["pending_buy_lots"] + qty
    return view["position_lots"] - view["pending_sell_lots"] - qty


@inlined
def is_reducing(order, view):
    """True if the order can only bring the position nearer to zero.

    Either the venue clips it (reduce-only) or, together with what is pending on its side, it cannot cross zero.
    """
    if order["flags"] & ORDER_REDUCE_ONLY:
        return True
    side = order["side"]
    return worst_lots(side, order["qty_lots"], view) * side <= 0


@inlined
def check_reduce_only(order, view):
    """RISK_POSITION unless a reduce-only order faces a position at least as large as itself."""
    if order["qty_lots"] > -view["position_lots"] * order["side"]:
        return RISK_POSITION
    return OK


@inlined
def check_short_spot(order, view, instrument):
    """RISK_SHORT_SPOT if a spot holding could go below zero."""
    if instrument["is_spot"] and order["side"] < 0 and worst_lots(-1, order["qty_lots"], view) < 0:
        return RISK_SHORT_SPOT
    return OK


@inlined
def check_position(order, view, instrument, limits):
    """RISK_POSITION if the worst case's value at the mid exceeds the share of equity allowed.

    Notes
    -----
    Compared as lots * twice the mid * value <= twice the share; doubled in bps and not in the result, so that the half
    tick of an odd mid is not lost. The caller has made sure of a quote and of a value unit. Complexity: O(1).
    """
    side = order["side"]
    lots = worst_lots(side, order["qty_lots"], view) * side
    most_e8 = share_floor(view["equity_e8"], 2 * min(limits["position_bps"], MAX_BPS))
    if is_worth_more(lots, view["bid_ticks"] + view["ask_ticks"], instrument["value_e8"], most_e8):
        return RISK_POSITION
    return OK
