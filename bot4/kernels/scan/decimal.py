"""Decimals in quotes to whole ticks, lots or 1e-8: exact or refused, no float in between.

A value is a run of digits with at most one point inside; sign, exponent, NaN and anything else are no numbers here.
Digits beyond what a tick or lot can hold have to be zeros.
"""

import numpy as np

from bot4.jit import kernel
from bot4.kernels.scan.token import MAX_DIGITS, MINUS, POINT, QUOTE, ZERO, string_end
from bot4.model.enums import INPUT_BAD_NUMBER, INPUT_NEGATIVE, INPUT_OVERFLOW

POWERS = np.array([10**exponent for exponent in range(MAX_DIGITS + 1)], np.int64)
MAX_UNITS = 2**40 - 1  # of ticks and lots: risk's own bound, which keeps every product below 2**63
MAX_E8 = 10**18
CUT = 0  # instead of a reason: what is finer than the unit is cut off, but never down to nothing


@kernel
def scan_decimal(text, at, decimals, units, off_reason, limit):
    """A decimal as a whole number of units of `units` / 10**decimals.

    Parameters
    ----------
    text : uint8[N], with a newline at the line's end
    at : index of the byte after the opening quote
    decimals : int64, 0 .. 18
    units : int64 >= 1, the unit in its last decimal: 1 for 0.01, 5 for 0.05
    off_reason : INPUT_* for a value between two units, or CUT
    limit : int64, largest result

    Returns
    -------
    (int64, int64) : index after the closing quote, -1 if there is no plain string; the value >= 0, or minus the reason

    Notes
    -----
    Complexity: O(length). Errors: INPUT_BAD_NUMBER, INPUT_NEGATIVE (also -0), INPUT_OVERFLOW, `off_reason`.
    Bound: whole digits + decimals <= 18, so nothing wraps. Twin: tests/reference/kernels/scan.py
    """
    negative = text[at] == MINUS
    if negative:
        at += 1
    value = np.int64(0)
    first = at
    while 48 <= text[at] <= 57:
        if at - first < MAX_DIGITS:
            value = value * 10 + (np.int64(text[at]) - ZERO)
        at += 1
    whole = at - first
    good = whole > 0
    fraction = np.int64(0)
    beyond = np.int64(0)
    room = min(decimals, MAX_DIGITS - whole)
    if text[at] == POINT:
        at += 1
        point = at
        while 48 <= text[at] <= 57:
            if fraction < room:
                value = value * 10 + (np.int64(text[at]) - ZERO)
                fraction += 1
            else:
                beyond |= np.int64(text[at]) - ZERO
            at += 1
        good = good and at > point
    if text[at] != QUOTE:
        at = string_end(text, at)
        if at < 0:
            return np.int64(-1), np.int64(0)
        good = False
    at += 1
    if not good or units < 1:
        return np.int64(at), np.int64(-INPUT_BAD_NUMBER)
    if negative:
        return np.int64(at), np.int64(-INPUT_NEGATIVE)
    if whole + decimals > MAX_DIGITS:
        return np.int64(at), np.int64(-INPUT_OVERFLOW)
    value *= POWERS[decimals - fraction]
    if units != 1:
        count = value // units
        beyond |= value - count * units
        value = count
    if value > limit:
        return np.int64(at), np.int64(-INPUT_OVERFLOW)
    if beyond != 0:
        if off_reason != CUT:
            return np.int64(at), np.int64(-off_reason)
        value = max(value, np.int64(1))
    return np.int64(at), value
