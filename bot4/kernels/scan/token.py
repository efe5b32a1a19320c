"""The smallest pieces of a line: white space, strings, whole numbers, values that nobody needs.

Every line ends with a newline byte, and no token may contain one: so no function here needs the line's length to stop
at its end. Strings are plain ASCII without escapes, which is all these venues send; any other is refused.
"""

import numpy as np

from bot4.digits import run_of_digits, run_of_plain, word_at
from bot4.jit import inlined, kernel
from bot4.model.enums import INPUT_BAD_NUMBER, INPUT_NEGATIVE, INPUT_OVERFLOW

NEWLINE, QUOTE, BACKSLASH, COMMA, COLON = 10, 34, 92, 44, 58
MINUS, PLUS, POINT, ZERO = 45, 43, 46, 48
OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET = 123, 125, 91, 93
MAX_DIGITS = 18  # more could wrap an int64
_FOUR = 0xFFFF_FFFF
_TRUE, _FALSE, _NULL = (int.from_bytes(name[:4], "little") for name in (b"true", b"false", b"null"))
TENS = np.array([10**exponent for exponent in range(9)], np.int64)


@kernel
def find_newline(text, start, end):
    """Index of the next newline in text[start:end], -1 if there is none.

    Notes
    -----
    Complexity: O(length). Twin: bytes.find
    """
    for at in range(start, end):
        if text[at] == NEWLINE:
            return np.int64(at)
    return np.int64(-1)


@inlined
def skip_space(text, at):
    """Index of the next byte that is no white space; at the latest the line's newline."""
    while text[at] <= 32 and (text[at] == 32 or text[at] == 9 or text[at] == 13):
        at += 1
    return at


@inlined
def string_end(text, at):
    """Index of the quote that closes the string whose first byte is text[at], -1 if it is no plain string."""
    count = np.int64(8)
    while count == 8:
        count = run_of_plain(text, at)
        at += count
    return np.int64(at) if text[at] == QUOTE else np.int64(-1)


@inlined
def _digits_end(text, at):
    while 48 <= text[at] <= 57:
        at += 1
    return at


@kernel
def scan_integer(text, at):
    """A JSON number that has to be whole and not negative.

    Parameters
    ----------
    text : uint8[N], with a newline at the line's end
    at : index of its first byte

    Returns
    -------
    (int64, int64) : index after the number, -1 if this is no JSON number; its value, or minus the reason:
    INPUT_NEGATIVE, INPUT_BAD_NUMBER (a fraction or an exponent), INPUT_OVERFLOW (more than 18 digits)

    Notes
    -----
    Complexity: O(length). Twin: tests/reference/kernels/scan.py
    """
    negative = text[at] == MINUS
    if negative:
        at += 1
    first = at
    count, value = run_of_digits(text, at)
    at += count
    while count == 8:
        count, more = run_of_digits(text, at)
        at += count
        if at - first <= MAX_DIGITS:
            value = value * TENS[count] + more
    if at == first or (text[first] == ZERO and at - first > 1):
        return np.int64(-1), np.int64(0)
    digits = at - first
    whole = True
    if text[at] == POINT:
        whole = False
        fraction = at + 1
        at = _digits_end(text, fraction)
        if at == fraction:
            return np.int64(-1), np.int64(0)
    if text[at] == 101 or text[at] == 69:  # an exponent
        whole = False
        at += 1
        if text[at] == PLUS or text[at] == MINUS:
            at += 1
        exponent = at
        at = _digits_end(text, exponent)
        if at == exponent:
            return np.int64(-1), np.int64(0)
    if not whole:
        return np.int64(at), np.int64(-INPUT_BAD_NUMBER)
    if negative:
        return np.int64(at), np.int64(-INPUT_NEGATIVE)
    if digits > MAX_DIGITS:
        return np.int64(at), np.int64(-INPUT_OVERFLOW)
    return np.int64(at), value


@inlined
def read_integer(text, at):
    """`scan_integer`, with a short way for what nearly every key has: at most 15 digits and no more."""
    count, value = run_of_digits(text, at)
    if count == 8:
        count, more = run_of_digits(text, at + 8)
        value = value * TENS[count] + more
        count += 8
    byte = text[at + count]
    if 0 < count < 16 and (byte == COMMA or byte == CLOSE_BRACE) and (text[at] != ZERO or count == 1):
        return np.int64(at + count), value
    return scan_integer(text, at)


@inlined
def scan_literal(text, at):
    """(index after, what it is) of a JSON literal: 1 true, 0 false, -1 null; index -1 if it is none."""
    word = word_at(text, at) & _FOUR
    if word == _TRUE:
        return np.int64(at + 4), np.int64(1)
    if word == _FALSE and text[at + 4] == 101:
        return np.int64(at + 5), np.int64(0)
    if word == _NULL:
        return np.int64(at + 4), np.int64(-1)
    return np.int64(-1), np.int64(0)


@kernel
def skip_value(text, at):
    """Index after a value that nobody needs; -1 if it is no string, number or literal (or holds other values)."""
    if text[at] == QUOTE:
        last = string_end(text, at + 1)
        return last + 1 if last >= 0 else np.int64(-1)
    if text[at] == MINUS or 48 <= text[at] <= 57:
        after, _ = scan_integer(text, at)
        return after
    after, _ = scan_literal(text, at)
    return after
