"""The lowest bit of a word."""

import numpy as np

from bot4.bits import lowest_bit


def test_the_lowest_bit_of_every_word():
    """Alone, with all above it, and with some."""
    for bit in range(64):
        for above in (0, 2**64 - 1, 0xF0F0_F0F0_F0F0_F0F0, 0x8000_0000_0000_0000):
            word = (1 << bit) | (above >> bit + 1 << bit + 1)
            assert lowest_bit(np.uint64(word).astype(np.int64)) == bit
