"""The only conversions between decimals and integers. What is not exact is refused, never rounded.

Money is int64 in 1e-8 of the quote currency (`_e8`). A position is (lots, cost in tick x lot units); a fill is turned
into currency once: value = price_ticks * qty_lots * value_e8, fee rounded away from us by `fee_e8`.
"""

from decimal import Decimal, InvalidOperation

import numpy as np

from bot4.jit import kernel
from bot4.model.errors import UnitError

E8 = 100_000_000
PPM = 1_000_000
_DIGIT_BITS, _DIGITS = 15, 3
BPS = 10_000


def to_e8(value: str | int | Decimal, field: str) -> int:
    """An exact decimal as int64 in units of 1e-8. Raises UnitError that names `field`."""
    return to_units(value, Decimal(1).scaleb(-8), field)


def to_units(value: str | int | Decimal, unit: Decimal, field: str) -> int:
    """`value / unit` as an int64; UnitError if it is not a number, not exact or does not fit."""
    try:
        number = Decimal(value)
    except (InvalidOperation, ValueError, TypeError):
        raise UnitError(f'{field}: {value!r} is not a decimal number; write it like "0.10"') from None
    if not number.is_finite():
        raise UnitError(f"{field}: {value!r} is not finite")
    units = number / unit
    if units != units.to_integral_value():
        raise UnitError(f"{field}: {value} is not a multiple of {unit}")
    if abs(units) >= 2**62:
        raise UnitError(f"{field}: {value} does not fit")
    return int(units)


def from_e8(amount_e8: int) -> str:
    """Money as a decimal string, without trailing zeros beyond what is needed."""
    return decimal_string(Decimal(int(amount_e8)).scaleb(-8))


def decimal_string(value: Decimal) -> str:
    """Plain decimal notation, no exponent, no trailing zeros."""
    text = format(value.normalize(), "f")
    return "0" if text in ("-0", "0") else text


@kernel
def fee_e8(value_e8, rate_ppm):
    """Fee on a fill's absolute value, rounded up to the venue's favour (a rebate is rounded towards zero).

    Parameters
    ----------
    value_e8 : int64 >= 0, value of the fill
    rate_ppm : int64, parts per million; negative is a rebate

    Notes
    -----
    Complexity: O(1). Bound: value_e8 * |rate_ppm| < 2**63, that is a fill below 9e6 at 10,000 ppm; larger values are
    split into whole and rest so that nothing wraps.
    Twin: tests/reference/model/units.py
    """
    whole = value_e8 // 1_000_000
    rest = value_e8 - whole * 1_000_000
    product = rest * rate_ppm
    return whole * rate_ppm - ((-product) // 1_000_000)


@kernel
def share_of(part, count, whole):
    """floor(part * count / whole) where the product would wrap, by long multiplication.

    Parameters
    ----------
    part : int64, 0 <= part < whole
    count : int64, 0 <= count < 2**45
    whole : int64 < 2**46

    Notes
    -----
    Complexity: O(1), three divisions. Bound: a step is below 2 * 2**46 * 2**15. Twin: tests/reference/model/units.py
    """
    share = np.int64(0)
    rest = np.int64(0)
    for place in range(_DIGITS - 1, -1, -1):
        rest = (rest << _DIGIT_BITS) + part * ((count >> (place * _DIGIT_BITS)) & ((1 << _DIGIT_BITS) - 1))
        digit = rest // whole
        rest -= digit * whole
        share = (share << _DIGIT_BITS) + digit
    return share
