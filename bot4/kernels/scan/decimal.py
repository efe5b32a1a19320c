"""Decimals in quotes to whole ticks, lots or 1e-8: exact or refused, no float in between.

A value is a run of digits with at most one point inside; sign, exponent, NaN and anything else are no numbers here.
Digits beyond what a tick or lot can hold have to be zeros.
"""

import numpy as np

from bot4.digits import run_of_digits
from bot4.jit import inlined, kernel
from bot4.kernels.scan.token import MAX_DIGITS, MINUS, POINT, QUOTE, string_end
from bot4.model.enums import INPUT_BAD_NUMBER, INPUT_NEGATIVE, INPUT_OVERFLOW

POWERS = np.array([10**exponent for exponent in range(MAX_DIGITS + 1)], np.int64)
MAX_TICKS = 2**40 - 1  # of a price: risk's own bound, which keeps every product below 2**63
MAX_QUANTITY = 10**MAX_DIGITS - 1  # of a market's quantity: what readers are told of it is bounded by `told_lots`
MAX_E8 = 10**18
MAX_FRACTION = 40  # digits behind the point; more are no number to the typed decoders either
CUT = 0  # instead of a reason: what is finer than the unit is cut off, but never down to nothing


@inlined
def in_units(value, whole, fraction, beyond, decimals, units, off_reason, limit):
    """Digits read to the last decimal that counts, as units: what `scan_decimal` ends with.

    value: the digits; whole, fraction: how many of them stand before and behind the point; beyond: 0 if all digits
    behind those were zeros.
    """
    if whole + decimals > MAX_DIGITS:
        return np.int64(-INPUT_OVERFLOW)
    value *= POWERS[decimals - fraction]
    if units != 1:
        count = value // units
        beyond |= value - count * units
        value = count
    if value > limit:
        return np.int64(-INPUT_OVERFLOW)
    if beyond != 0:
        if off_reason != CUT:
            return np.int64(-off_reason)
        value = max(value, np.int64(1))
    return np.int64(value)


@inlined
def read_decimal(text, at, decimals):
    """Digits with at most one point among them, up to the last decimal that counts.

    Returns
    -------
    (index behind them, the digits as an integer, how many stand before the point, how many behind it were taken, 0 if
    all those behind were zeros, how many there are behind it in all: -1 without a point)
    """
    count, value = run_of_digits(text, at)
    at += count
    whole = count
    while count == 8:
        count, more = run_of_digits(text, at)
        at += count
        whole += count
        if whole <= MAX_DIGITS:
            value = value * POWERS[count] + more
    fraction = np.int64(0)
    beyond = np.int64(0)
    behind = np.int64(-1)
    room = max(min(decimals, MAX_DIGITS - whole), 0)
    if text[at] == POINT:
        at += 1
        point = at
        count = np.int64(8)
        while count == 8:
            count, more = run_of_digits(text, at)
            at += count
            taken = min(count, room - fraction)
            scale = POWERS[count - taken]
            head = more // scale if scale > 1 else more
            beyond |= more - head * scale
            value = value * POWERS[taken] + head
            fraction += taken
        behind = at - point
    return np.int64(at), value, whole, fraction, beyond, np.int64(behind)


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
    at, value, whole, fraction, beyond, behind = read_decimal(text, at, decimals)
    good = whole > 0 and (behind == -1 or 0 < behind <= MAX_FRACTION)
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
    return np.int64(at), in_units(value, whole, fraction, beyond, decimals, units, off_reason, limit)


@inlined
def quoted_decimal(text, at, decimals, units, off_reason, limit):
    """`scan_decimal`, with a short way for what nearly every value is: good, at most eight digits a side of its point.

    Notes
    -----
    Complexity: O(1) there. Twin: tests/reference/kernels/scan.py
    """
    whole, value = run_of_digits(text, at)
    point = at + whole
    if text[point] == POINT:
        fraction, more = run_of_digits(text, point + 1)
        last = point + 1 + fraction
        if text[last] == QUOTE and whole > 0 and fraction > 0 and units == 1 and whole + decimals <= MAX_DIGITS:
            cut = fraction - decimals
            if cut > 0:
                scale = POWERS[cut]
                head = more // scale
                beyond = more - head * scale
            else:
                head = more * POWERS[-cut]
                beyond = np.int64(0)
            value = value * POWERS[decimals] + head
            if beyond == 0 and value <= limit:
                return np.int64(last + 1), value
    return scan_decimal(text, at, decimals, units, off_reason, limit)
