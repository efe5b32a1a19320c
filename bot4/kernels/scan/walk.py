"""A walk over JSON where it lies: keys of objects and items of arrays one by one, and what all scanners begin with.

    at, first, last = first_key(text, at)          at, more = first_item(text, at)
    while first >= 0:                              while more:
        at = ... the value at `at` ...                 at = ... the item at `at` ...
        if at < 0: return -1                           if at < 0: return -1
        at, first, last = next_key(text, at)           at, more = next_item(text, at)
    return at                                      return at

Afterwards `at` is the index behind the closing bracket, -1 if it is malformed. Twin: bot4/adapters/<venue>/parse.py,
whose parser is msgspec; a scanner takes nothing that it would refuse.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.scan.scanned import CHECKSUM, INSTRUMENT, LINE_END, N_WORDS, REASON, SEQUENCE
from bot4.kernels.scan.token import (
    CLOSE_BRACE,
    CLOSE_BRACKET,
    COLON,
    COMMA,
    OPEN_BRACE,
    OPEN_BRACKET,
    QUOTE,
    skip_space,
    skip_value,
    string_end,
)
from bot4.model.enums import INPUT_OK

MAX_NESTING = 60


def word(name: bytes) -> np.ndarray:
    """The bytes of a key or a value that a scanner knows."""
    return np.frombuffer(name, np.uint8)


@inlined
def is_word(text, first, last, name):
    """Whether text[first:last] is that word."""
    if last - first != len(name):
        return False
    for index in range(len(name)):  # noqa: SIM110  (a kernel has no generators)
        if text[first + index] != name[index]:
            return False
    return True


@inlined
def is_same(text, first, last, other, other_last):
    """Whether text[first:last] is text[other:other_last]."""
    if last - first != other_last - other:
        return False
    for index in range(last - first):  # noqa: SIM110
        if text[first + index] != text[other + index]:
            return False
    return True


@inlined
def begin_scan(message, end):
    """Forget what the words say of the message before."""
    for index in range(N_WORDS):
        message[index] = 0
    message[INSTRUMENT] = -1
    message[SEQUENCE] = -1
    message[CHECKSUM] = -1
    message[LINE_END] = end


@inlined
def note(message, value):
    """Keep the first reason among the numbers; a reason comes as a negative value."""
    if value < 0 and message[REASON] == INPUT_OK:
        message[REASON] = -value


@inlined
def text_value(text, at):
    """(first byte, closing quote) of the string at text[at]; (at, -1) if it is no plain string."""
    if text[at] != QUOTE:
        return np.int64(at), np.int64(-1)
    return np.int64(at + 1), string_end(text, at + 1)


@inlined
def _key(text, at):
    """(index of the value, first byte of the key, its closing quote), at = -1 and first = -1 if there is no key."""
    first, last = text_value(text, at)
    if last < 0:
        return np.int64(-1), np.int64(-1), np.int64(-1)
    at = skip_space(text, last + 1)
    if text[at] != COLON:
        return np.int64(-1), np.int64(-1), np.int64(-1)
    return np.int64(skip_space(text, at + 1)), first, last


@inlined
def first_key(text, at):
    """The first key of the object at text[at]: as `next_key`."""
    if text[at] != OPEN_BRACE:
        return np.int64(-1), np.int64(-1), np.int64(-1)
    at = skip_space(text, at + 1)
    if text[at] == CLOSE_BRACE:
        return np.int64(at + 1), np.int64(-1), np.int64(-1)
    return _key(text, at)


@inlined
def next_key(text, at):
    """The key behind the value that ends before text[at].

    Returns (index of its value, first byte of the key, its closing quote); first is -1 where there is none: at the
    object's end, the index is then the one behind it, or -1 where the text is malformed.
    """
    at = skip_space(text, at)
    if text[at] == CLOSE_BRACE:
        return np.int64(at + 1), np.int64(-1), np.int64(-1)
    if text[at] != COMMA:
        return np.int64(-1), np.int64(-1), np.int64(-1)
    return _key(text, skip_space(text, at + 1))


@inlined
def first_item(text, at):
    """(index of the first item, True) of the array at text[at]; (index behind it or -1, False) if there is none."""
    if text[at] != OPEN_BRACKET:
        return np.int64(-1), False
    at = skip_space(text, at + 1)
    if text[at] == CLOSE_BRACKET:
        return np.int64(at + 1), False
    return np.int64(at), True


@inlined
def next_item(text, at):
    """As `first_item`, of the item behind the one that ends before text[at]."""
    at = skip_space(text, at)
    if text[at] == CLOSE_BRACKET:
        return np.int64(at + 1), False
    if text[at] != COMMA:
        return np.int64(-1), False
    return np.int64(skip_space(text, at + 1)), True


@kernel
def skip_json(text, at):
    """Index behind any JSON value, -1 if it is malformed, nested too deep or holds more than plain strings.

    Parameters
    ----------
    text : uint8[N], with a newline at the line's end
    at : index of its first byte

    Notes
    -----
    Complexity: O(length). Bound: MAX_NESTING. Twin: json, in tests/unit/kernels/scan/test_walk.py
    """
    kinds = np.int64(0)  # of the containers around it, the innermost in the lowest bit; 1: an object
    depth = np.int64(0)
    while True:
        if text[at] == OPEN_BRACE or text[at] == OPEN_BRACKET:
            if depth == MAX_NESTING:
                return np.int64(-1)
            is_object = text[at] == OPEN_BRACE
            kinds = kinds << 1 | (1 if is_object else 0)
            depth += 1
            at = skip_space(text, at + 1)
            if text[at] != (CLOSE_BRACE if is_object else CLOSE_BRACKET):
                if is_object:
                    at, _, _ = _key(text, at)
                    if at < 0:
                        return np.int64(-1)
                continue
            at += 1
            kinds >>= 1
            depth -= 1
        else:
            at = skip_value(text, at)
            if at < 0:
                return np.int64(-1)
        while depth > 0:  # behind a value
            first = np.int64(0)
            more = False
            if kinds & 1:
                at, first, _ = next_key(text, at)
                more = first >= 0
            else:
                at, more = next_item(text, at)
            if at < 0:
                return np.int64(-1)
            if more:
                break
            kinds >>= 1
            depth -= 1
        if depth == 0:
            return np.int64(at)
