"""Losses that end the opening of risk:

from the high-water mark, since the day began, and so many times in a row. Reached counts as exceeded.
"""

from bot4.jit import inlined
from bot4.kernels.risk.share import share_ceil
from bot4.model.enums import OK, RISK_DAILY_LOSS, RISK_DRAWDOWN, RISK_NO_EQUITY, RISK_STREAK


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
    high = view["high_water_e8"]
    if high > equity and high - equity >= share_ceil(min(high, limits["capital_e8"]), limits["drawdown_bps"]):
        return RISK_DRAWDOWN
    start = view["day_start_e8"]
    if start > equity and start - equity >= share_ceil(min(start, limits["capital_e8"]), limits["daily_loss_bps"]):
        return RISK_DAILY_LOSS
    if view["streak"]:
        return RISK_STREAK
    return OK
