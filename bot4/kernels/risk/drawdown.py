"""Losses that end the opening of risk:

from the high-water mark, since the day began (for the rest of that day, though it is regained), and so many times in a
row. Larger ones set the kill switch. Reached counts as exceeded.
"""

from bot4.jit import inlined
from bot4.kernels.risk.share import share_ceil
from bot4.model.enums import OK, RISK_DAILY_LOSS, RISK_DRAWDOWN, RISK_NO_EQUITY, RISK_STREAK


@inlined
def is_lost(mark_e8, equity_e8, bps, limits):
    """True if so much of a mark, or of the capital at stake, is lost. Complexity: O(1)."""
    return mark_e8 > equity_e8 and mark_e8 - equity_e8 >= share_ceil(min(mark_e8, limits["capital_e8"]), bps)


@inlined
def check_ruin(account, limits):
    """RISK_DRAWDOWN or RISK_DAILY_LOSS if so much is lost that the kill switch is due, as the mids have it now."""
    equity = account["equity_e8"]
    if is_lost(account["high_water_e8"], equity, limits["kill_drawdown_bps"], limits):
        return RISK_DRAWDOWN
    if is_lost(account["day_start_e8"], equity, limits["kill_daily_loss_bps"], limits):
        return RISK_DAILY_LOSS
    return OK


@inlined
def check_losses(view, limits):
    """RISK_NO_EQUITY, RISK_DRAWDOWN, RISK_DAILY_LOSS or RISK_STREAK, in this order.

    Notes
    -----
    A mark counts as no more than the capital at stake. loss * 10,000 >= mark * bps is compared as
    loss >= ceil(mark * bps / 10,000), exact. Equity is positive from the first line on, so neither difference can wrap.
    """
    equity = view["equity_e8"]
    if equity <= 0:
        return RISK_NO_EQUITY
    if is_lost(view["high_water_e8"], equity, limits["drawdown_bps"], limits):
        return RISK_DRAWDOWN
    if view["day_shut"]:
        return RISK_DAILY_LOSS
    if is_lost(view["day_start_e8"], equity, limits["daily_loss_bps"], limits):
        return RISK_DAILY_LOSS
    if view["streak"]:
        return RISK_STREAK
    return OK
