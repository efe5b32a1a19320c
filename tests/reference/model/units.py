"""Slow twins: the fee as an exact fraction, rounded in the venue's favour, and shares."""

from fractions import Fraction
from math import ceil


def ref_fee_e8(value_e8: int, rate_ppm: int) -> int:
    """Fee of a fill's value at a rate in parts per million; a rebate (negative rate) is rounded towards zero."""
    return ceil(Fraction(value_e8 * rate_ppm, 1_000_000))


def ref_share(part: int, count: int, whole: int) -> int:
    """floor(part * count / whole)."""
    return part * count // whole
