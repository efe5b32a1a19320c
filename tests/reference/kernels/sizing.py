"""Slow twins of bot4/kernels/sizing, in fractions."""

import math
from fractions import Fraction


def lots(price, fraction_bps, limit_bps, equity_e8, value_e8, spot_fee_ppm):
    """Whole lots whose value, with the fee where spot pays one, is within the share of equity."""
    if price <= 0 or value_e8 <= 0 or equity_e8 <= 0:
        return 0
    budget = equity_e8 * min(fraction_bps, limit_bps) // 10_000
    if spot_fee_ppm > 0:
        budget = budget // (1_000_000 + spot_fee_ppm) * 1_000_000
    return budget // (price * value_e8)


def stop(side, price, atr, multiple, min_bps):
    """Price less (buy) or plus (sell) the larger distance, rounded away; 0 where there is none."""
    distance = max(Fraction(atr * multiple), Fraction(price * min_bps / 10_000.0))
    if not 0 < distance < 2**40 - 1:
        return 0
    trigger = price - side * math.ceil(distance)
    return trigger if 0 < trigger < 2**40 else 0
