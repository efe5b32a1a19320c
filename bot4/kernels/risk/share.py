"""Shares of an amount and values of lots in exact integers, rounded either way, without overflow.

A limit in basis points is turned into an amount once and then compared: x * 10,000 <= amount * bps holds exactly when
x <= floor(amount * bps / 10,000). Splitting the amount keeps the product small; 128-bit integers are not needed.
A 64-bit division costs as much as ten other instructions, so each is avoided where a bound shows that a product fits.
"""

from bot4.jit import inlined
from bot4.kernels.risk.view import MAX_BPS, MAX_MONEY_E8

SMALL = 2**31  # the product of two numbers below it fits
COMMON_MONEY, COMMON_BPS = 2**50, 2**12  # so does that of these two: 11 million, 40 %
COMMON_WORTH, COMMON_VALUE = 2**42, 2**20  # and of these: lots * price, value
MAX_PPM = 1_000_000  # costs that are more than all of the value count as that


@inlined
def _share(amount, bps, up):
    if amount <= 0 or bps <= 0:
        return 0
    if amount < COMMON_MONEY and bps < COMMON_BPS:
        return (amount * bps + up) // 10_000
    amount = min(amount, MAX_MONEY_E8)
    bps = min(bps, MAX_BPS)
    whole = amount // 10_000
    if bps > 10_000 and whole > MAX_MONEY_E8 // bps:
        return MAX_MONEY_E8
    rest = amount - whole * 10_000
    return min(whole * bps + (rest * bps + up) // 10_000, MAX_MONEY_E8)


@inlined
def share_floor(amount, bps):
    """floor(amount * bps / 10,000), saturated at MAX_MONEY_E8.

    Parameters
    ----------
    amount : int64, any; below 0 counts as 0, above MAX_MONEY_E8 as MAX_MONEY_E8
    bps : int64, any; below 0 counts as 0, above MAX_BPS as MAX_BPS

    Notes
    -----
    Complexity: O(1). Bound: whole * bps is only formed when it is at most 2**61, rest * bps is below 10**10.
    Twin: tests/reference/kernels/risk/order_checks.py
    """
    return _share(amount, bps, 0)


@inlined
def share_ceil(amount, bps):
    """ceil(amount * bps / 10,000); arguments, bounds and twin as `share_floor`."""
    return _share(amount, bps, 9_999)


@inlined
def parts_ceil(amount, ppm):
    """ceil(amount * ppm / 1,000,000) of an amount up to MAX_MONEY_E8 and 0 to MAX_PPM parts; more parts count as those.

    Notes
    -----
    Complexity: O(1). Bound: what divides makes at most 2**62. Twin: tests/reference/kernels/risk/order_checks.py
    """
    ppm = min(ppm, MAX_PPM)
    whole = amount // 1_000_000
    return whole * ppm + ((amount - whole * 1_000_000) * ppm + 999_999) // 1_000_000


@inlined
def is_worth_more(lots, price_ticks, value_e8, amount_e8):
    """True if lots * price * value exceeds the amount, exactly.

    Parameters
    ----------
    lots, price_ticks, value_e8 : int64 > 0
    amount_e8 : int64 >= 0

    Notes
    -----
    lots * price > floor(amount / value), and where that product might not fit lots > floor(amount / value) / price.
    Complexity: O(1), no division for common numbers, two for large ones.
    Twin: tests/reference/kernels/risk/order_checks.py
    """
    if lots < SMALL and price_ticks < SMALL:
        worth = lots * price_ticks
        if worth < COMMON_WORTH and value_e8 < COMMON_VALUE:
            return worth * value_e8 > amount_e8
        return worth > amount_e8 // value_e8
    return lots > amount_e8 // value_e8 // price_ticks


@inlined
def is_worth_less(lots, price_ticks, value_e8, amount_e8):
    """True if lots * price * value is below the amount, exactly; arguments, cost and twin as `is_worth_more`."""
    if lots < SMALL and price_ticks < SMALL:
        worth = lots * price_ticks
        if worth < COMMON_WORTH and value_e8 < COMMON_VALUE:
            return worth * value_e8 < amount_e8
        return worth < -(-amount_e8 // value_e8)
    least = -(-amount_e8 // value_e8)
    return lots < -(-least // price_ticks)


@inlined
def worth(lots, price_ticks, value_e8):
    """lots * price * value, saturated at MAX_MONEY_E8; that, too, where lots have no price or no value.

    Parameters
    ----------
    lots, price_ticks, value_e8 : int64 >= 0

    Notes
    -----
    Complexity: O(1), no division for common numbers. Twin: tests/reference/kernels/risk/order_checks.py
    """
    if lots == 0:
        return 0
    if price_ticks <= 0 or value_e8 <= 0:
        return MAX_MONEY_E8
    if lots < SMALL and price_ticks < SMALL:
        product = lots * price_ticks
        if product < COMMON_WORTH and value_e8 < COMMON_VALUE:
            return min(product * value_e8, MAX_MONEY_E8)
    if lots > MAX_MONEY_E8 // value_e8 // price_ticks:
        return MAX_MONEY_E8
    return lots * price_ticks * value_e8
