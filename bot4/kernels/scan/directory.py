"""From a venue's name of an instrument, as it stands in a message, to our number of it: a small hash table of bytes."""

import numpy as np

from bot4.digits import upper_word
from bot4.jit import inlined
from bot4.kernels.scan.scanned import LISTING, SYMBOL_BYTES

_MULTIPLIER = 0x5BD1_E995  # odd; times 32 bits stays below 2**63
_MASK = 0xFFFF_FFFF


@inlined
def _is_named(text, first, last, listing):
    length = last - first
    if length != listing["symbol_length"]:
        return False
    for at in range(0, length, 8):
        count = min(length - at, 8)
        if upper_word(text, first + at, count) != upper_word(listing["symbol"], at, count):
            return False
    return True


@inlined
def find_listing(text, first, last, directory, listings):
    """Number of the instrument that text[first:last] names in letters of any case, -1 if there is none.

    Parameters
    ----------
    text : uint8[N]
    first, last : int64
    directory : int64[size], made by `directory_of`
    listings : LISTING[n]

    Notes
    -----
    Complexity: O(length) where the table is not crowded. Twin: a dict, in tests/unit/kernels/scan/test_directory.py
    """
    if not 0 < last - first <= SYMBOL_BYTES:
        return np.int64(-1)
    key = np.int64(0)
    for at in range(first, last, 8):
        word = upper_word(text, at, min(last - at, 8))
        key = (key ^ word ^ word >> 32) & _MASK
        key = key * _MULTIPLIER >> 15 & _MASK
    size = len(directory)
    for probe in range(size):
        entry = directory[(key + probe) & (size - 1)]
        if entry == 0:
            return np.int64(-1)
        if _is_named(text, first, last, listings[entry - 1]):
            return np.int64(entry - 1)
    return np.int64(-1)


def directory_of(listings: np.ndarray, members: np.ndarray) -> np.ndarray:
    """The table for the listings (LISTING[n]) whose numbers are in `members`: those of one venue. int64[size]."""
    assert listings.dtype == LISTING
    size = 4  # the same for all venues of a session
    while size < 4 * len(listings):
        size *= 2
    table = np.zeros(size, np.int64)
    for member in members.tolist():
        key = 0
        name = listings[member]["symbol"][: listings[member]["symbol_length"]].tobytes()
        for at in range(0, len(name), 8):
            word = int.from_bytes(name[at : at + 8], "little", signed=True)
            key = (key ^ word ^ word >> 32) & _MASK
            key = key * _MULTIPLIER >> 15 & _MASK
        while table[key & (size - 1)]:
            key += 1
        table[key & (size - 1)] = member + 1
    return table
