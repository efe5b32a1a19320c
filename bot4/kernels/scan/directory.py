"""From a venue's name of an instrument, as it stands in a message, to our number of it: a small hash table of bytes."""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.scan.scanned import LISTING

_MULTIPLIER = 31
_MASK = 0xFFFF_FFFF


@inlined
def _upper(byte):
    return byte - 32 if 97 <= byte <= 122 else byte


@inlined
def _is_named(text, first, last, listing):
    if last - first != listing["symbol_length"]:
        return False
    for index in range(last - first):
        if _upper(np.int64(text[first + index])) != np.int64(listing["symbol"][index]):
            return False
    return True


@kernel
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
    key = np.int64(0)
    for index in range(first, last):
        key = (key * _MULTIPLIER + _upper(np.int64(text[index]))) & _MASK
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
        for byte in listings[member]["symbol"][: listings[member]["symbol_length"]].tolist():
            key = (key * _MULTIPLIER + byte) & _MASK
        while table[key & (size - 1)]:
            key += 1
        table[key & (size - 1)] = member + 1
    return table
