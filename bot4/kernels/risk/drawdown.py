"""Losses that end the opening of risk:

from the high-water mark, and since the day began. Reached counts as exceeded.
"""

from bot4.jit import inlined
from bot4.kernels.risk.share import share_ceil
from bot4.model.enums import OK, RISK_DAILY_LOSS, RISK_DRAWDOWN, RISK_NO_EQUITY


@inlined
def check_losses(view, limits):
    """RISK_NO_EQUITY, RISK_DRAWDOWN or RISK_DAILY_LOSS, in this order.

    Notes
    -----
    loss * 10,000 >= mark * bps is compared as loss >= ceil(mark * bps / 10,000), exact. Equity is positive from
    the first line on, so neither difference can wrap.
    """
    equity = view["equity_e8"]
    if equity <= 0:
        return RISK_NO_EQUITY
    high = view["high_water_e8"]
    if high > equity and high - equity >= share_ceil(high, limits["drawdown_bps"]):
        return RISK_DRAWDOWN
    start = view["day_start_e8"]
    if start > equity and start - equity >= share_ceil(start, limits["daily_loss_bps"]):
        return RISK_DAILY_LOSS
    return OK
