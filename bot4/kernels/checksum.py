"""Kraken's check sum of a book: CRC32 over the digits of its ten best levels a side, asks first.

The digits are those of price and quantity without point and leading zeros. A tick is a whole number of units of the
price's last digit, so the digits are those of an integer, as long as the instrument's sizes are the venue's own.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.book import book_depth, book_level
from bot4.kernels.scan.decimal import POWERS

CHECKED_LEVELS = 10
_START = 0xFFFF_FFFF
_POLYNOMIAL = 0xEDB8_8320


def _table() -> np.ndarray:
    table = np.zeros(256, np.int64)
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table[byte] = value
    return table


_CRC = _table()


@inlined
def _add_digits(crc, value):
    """The sum with the decimal digits of a positive integer of at most 18 digits added."""
    place = len(POWERS) - 2
    while place > 0 and value < POWERS[place]:
        place -= 1
    while place >= 0:
        digit = value // POWERS[place]
        value -= digit * POWERS[place]
        crc = crc >> 8 ^ _CRC[(crc ^ (48 + digit)) & 0xFF]
        place -= 1
    return crc


@kernel
def book_checksum(book, listing):
    """The venue's check sum of a book.

    Parameters
    ----------
    book : BOOK
    listing : LISTING of its instrument

    Returns
    -------
    int64, 0 .. 2**32 - 1

    Notes
    -----
    Complexity: O(digits of 20 levels). Bound: prices and quantities below 10**18 units.
    Twin: tests/unit/kernels/test_checksum.py (zlib)
    """
    crc = np.int64(_START)
    for turn in range(2):
        side = np.int64(2 * turn - 1)
        for index in range(min(book_depth(book, side), CHECKED_LEVELS)):
            price, lots = book_level(book, side, index)
            crc = _add_digits(crc, price * listing["tick_units"])
            crc = _add_digits(crc, lots * listing["lot_units"])
    return crc ^ _START
