"""The compiled check sum against zlib's, over the digits as a person would write them."""

import zlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4.kernels.book import BOOK, book_set
from bot4.kernels.checksum import book_checksum
from bot4.kernels.scan.scanned import LISTING

LEVELS = st.dictionaries(st.integers(1, 10**9), st.integers(1, 10**17 - 1), max_size=25)  # 18 digits with the units


@settings(deadline=None, max_examples=200)
@given(LEVELS, LEVELS, st.sampled_from([1, 5, 25]), st.sampled_from([1, 10]))
def test_it_is_zlibs(bids, asks, tick_units, lot_units):
    book, listing = np.zeros(1, BOOK)[0], np.zeros(1, LISTING)[0]
    listing["tick_units"], listing["lot_units"] = tick_units, lot_units
    for side, levels in ((1, bids), (-1, asks)):
        for price, lots in levels.items():
            book_set(book, side, price, lots)
    best = [*sorted(asks.items())[:10], *sorted(bids.items(), reverse=True)[:10]]
    digits = "".join(f"{price * tick_units}{lots * lot_units}" for price, lots in best)
    assert book_checksum(book, listing) == zlib.crc32(digits.encode())
