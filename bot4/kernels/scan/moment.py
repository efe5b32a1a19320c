"""Times as venues write them in text, exact to the nanosecond: `2026-08-09T21:05:48.228568804Z`.

Only this one form of RFC 3339: UTC, capital letters, one to nine digits of a second. A second of 60 is the next
minute's first, as for the typed decoders.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.scan.token import POINT, ZERO

_SHORTEST = 20  # characters, without a fraction
_LONGEST = 30
_DAYS = np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365], np.int64)  # of a year before a month
_LAST_SECOND = 9_223_372_036  # of those whose nanoseconds surely fit, but for its last fraction
_LAST_NS = 854_775_807


@inlined
def _two(text, at):
    """The number of two digits, a large negative one if they are none."""
    tens = np.int64(text[at]) - ZERO
    ones = np.int64(text[at + 1]) - ZERO
    if tens < 0 or tens > 9 or ones < 0 or ones > 9:
        return np.int64(-1_000_000)
    return tens * 10 + ones


@kernel
def scan_moment(text, first, last):
    """Nanoseconds since 1970 of text[first:last], -1 if it is no such time.

    Parameters
    ----------
    text : uint8[N]
    first, last : int64, the bytes between the quotes

    Notes
    -----
    Complexity: O(1). Errors: -1, also before 1970 and where it does not fit an int64. Source: RFC 3339, section 5.6.
    Twin: bot4/ports/feed_values.py (moment)
    """
    size = last - first
    if size < _SHORTEST or size > _LONGEST or text[last - 1] != 90:  # Z
        return np.int64(-1)
    if text[first + 4] != 45 or text[first + 7] != 45 or text[first + 10] != 84:  # - - T
        return np.int64(-1)
    if text[first + 13] != 58 or text[first + 16] != 58:
        return np.int64(-1)
    century = _two(text, first)
    rest = _two(text, first + 2)
    month = _two(text, first + 5)
    day = _two(text, first + 8)
    hour = _two(text, first + 11)
    minute = _two(text, first + 14)
    second = _two(text, first + 17)
    year = century * 100 + rest
    if century < 0 or rest < 0 or year < 1970 or month < 1 or month > 12 or day < 1:
        return np.int64(-1)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 60:
        return np.int64(-1)
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > _DAYS[month + 1] - _DAYS[month] + (1 if leap and month == 2 else 0):
        return np.int64(-1)
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - 719_162
    days += _DAYS[month] + (1 if leap and month > 2 else 0) + day - 1
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
    fraction = np.int64(0)
    if size > _SHORTEST:
        if text[first + 19] != POINT or size == _SHORTEST + 1:
            return np.int64(-1)
        for index in range(20, 29):
            fraction *= 10
            if first + index < last - 1:
                digit = np.int64(text[first + index]) - ZERO
                if digit < 0 or digit > 9:
                    return np.int64(-1)
                fraction += digit
    if seconds > _LAST_SECOND or (seconds == _LAST_SECOND and fraction > _LAST_NS):
        return np.int64(-1)
    return seconds * 1_000_000_000 + fraction
