"""Numbers without quotes, and ids: JSON numbers to ticks and lots, counts, the numbers of trades."""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.scan.decimal import MAX_FRACTION, in_units, read_decimal
from bot4.kernels.scan.token import MAX_DIGITS, MINUS, ZERO, scan_integer
from bot4.model.enums import INPUT_NEGATIVE

_HASH_BITS = 0x7FFF_FFFF
_FIRST_START, _FIRST_FACTOR = 0x011C_9DC5, 16_777_619
_SECOND_START, _SECOND_FACTOR = 0x2545_F491, 22_695_477
_LAST_WHOLE = 922_337_203_685_477_579  # whatever digit comes behind it, an int64 holds it


@inlined
def scan_count(text, at, limit):
    """A JSON number from 0 to a limit: (index behind it, value); index -1 if it is anything else."""
    at, value = scan_integer(text, at)
    if at < 0 or value < 0 or value > limit:
        return np.int64(-1), np.int64(0)
    return at, value


@kernel
def scan_number(text, at, decimals, units, off_reason, limit):
    """A JSON number as a whole number of units; arguments and result as of `scan_decimal`, but without quotes.

    Parameters
    ----------
    text : uint8[N], with a newline at the line's end
    at : index of its first byte
    decimals, units, off_reason, limit : as of `scan_decimal`

    Returns
    -------
    (int64, int64) : index behind it, -1 if there is none or one with an exponent; the value >= 0, or minus the reason

    Notes
    -----
    Complexity: O(length). Errors: INPUT_NEGATIVE, INPUT_OVERFLOW, `off_reason`. Twin: Decimal, in
    tests/properties/kernels/test_scan_number.py
    """
    negative = text[at] == MINUS
    if negative:
        at += 1
    first = at
    at, value, whole, fraction, beyond, behind = read_decimal(text, at, decimals)
    if whole == 0 or (whole > 1 and text[first] == ZERO) or behind == 0 or behind > MAX_FRACTION:
        return np.int64(-1), np.int64(0)
    if text[at] == 101 or text[at] == 69:  # an exponent
        return np.int64(-1), np.int64(0)
    if negative:
        if value == 0 and beyond == 0:
            return np.int64(-1), np.int64(0)
        return np.int64(at), np.int64(-INPUT_NEGATIVE)
    return np.int64(at), in_units(value, whole, fraction, beyond, decimals, units, off_reason, limit)


@kernel
def trade_number(text, first, last):
    """The number of a trade whose id is text[first:last): (number, 1 if it is a hash of an id that is no number).

    Notes
    -----
    Complexity: O(length). Bound: numbers of 19 digits, where an int64 holds them; hashes below 2**62.
    Twin: bot4/engine/feed_typed.py
    """
    value = np.int64(0)
    good = 0 < last - first <= MAX_DIGITS + 1 and (text[first] != ZERO or last - first == 1)
    one = np.int64(_FIRST_START)
    two = np.int64(_SECOND_START)
    at = first
    while good and at < last:
        byte = np.int64(text[at])
        good = 48 <= byte <= 57 and value <= _LAST_WHOLE
        if good:
            value = value * 10 + (byte - ZERO)
        at += 1
    if good:
        return value, np.int64(0)
    for index in range(first, last):
        byte = np.int64(text[index])
        one = ((one ^ byte) * _FIRST_FACTOR) & _HASH_BITS
        two = ((two ^ byte) * _SECOND_FACTOR) & _HASH_BITS
    return one << 31 | two, np.int64(1)
