"""The position that an order could lead to: its size against equity, no short on spot, exits no larger than it.

Worst case of an order: everything on its side that is pending and may open, and the order itself, on top of what is
held on that side. What is held or pending on the other side does not help: nothing says that an order fills, and a
position may be gone before, by its own stop. So what may only reduce has to say so to the venue, which then clips it
(reduce-only).
"""

from bot4.jit import inlined
from bot4.kernels.risk.share import is_worth_more, share_floor
from bot4.kernels.risk.view import MAX_BPS
from bot4.model.enums import (
    OK,
    ORDER_REDUCE_ONLY,
    RISK_POSITION,
    RISK_REDUCE_ONLY,
    RISK_SELF_TRADE,
    RISK_SHORT_SPOT,
    TYPE_MARKET,
)


@inlined
def worst_lots(side, qty, view):
    """Lots on the order's side if it and everything pending there that may open fill; int64 > 0."""
    held = max(view["position_lots"] * side, 0)
    return held + (may_buy(view) if side > 0 else may_sell(view)) + qty


@inlined
def may_buy(view):
    """Pending lots that may add to a long position: the venue clips a reduce-only order."""
    return view["pending_buy_lots"] - view["exit_buy_lots"]


@inlined
def may_sell(view):
    """... to a short one."""
    return view["pending_sell_lots"] - view["exit_sell_lots"]


@inlined
def is_reducing(order):
    """True if the order can only bring the position nearer to zero: the venue clips it."""
    return order["flags"] & ORDER_REDUCE_ONLY != 0


@inlined
def check_reduce_only(order, view):
    """RISK_REDUCE_ONLY unless a reduce-only order faces a position at least as large as itself."""
    if order["qty_lots"] > -view["position_lots"] * order["side"]:
        return RISK_REDUCE_ONLY
    return OK


@inlined
def check_short_spot(order, view, instrument):
    """RISK_SHORT_SPOT if a spot holding could go below zero."""
    if instrument["is_spot"] and order["side"] < 0:
        if view["position_lots"] - view["pending_sell_lots"] < order["qty_lots"]:
            return RISK_SHORT_SPOT
    return OK


@inlined
def check_self_trade(order, view):
    """RISK_SELF_TRADE if the order could meet an own one on the other side: it would trade with ourselves."""
    own = view["own_ask_ticks"] if order["side"] > 0 else view["own_bid_ticks"]
    if own > 0 and (order["type"] == TYPE_MARKET or (order["price_ticks"] - own) * order["side"] >= 0):
        return RISK_SELF_TRADE
    return OK


@inlined
def check_position(order, view, instrument, limits):
    """RISK_POSITION if the worst case's value at the mid exceeds the share of equity allowed.

    Notes
    -----
    Compared as lots * twice the mid * value <= twice the share; doubled in bps and not in the result, so that the half
    tick of an odd mid is not lost. The caller has made sure of a quote and of a value unit. Complexity: O(1).
    """
    lots = worst_lots(order["side"], order["qty_lots"], view)
    most_e8 = share_floor(min(view["equity_e8"], limits["capital_e8"]), 2 * min(limits["position_bps"], MAX_BPS))
    if is_worth_more(lots, view["bid_ticks"] + view["ask_ticks"], instrument["value_e8"], most_e8):
        return RISK_POSITION
    return OK
