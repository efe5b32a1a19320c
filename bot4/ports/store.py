"""The promise of a place where a recording goes: parts are written whole, in order, and counted."""

from typing import NamedTuple, Protocol

import numpy as np

NUMBERS_APART = 1 << 20  # between the last number of a feed that died and the first of the next, at least


class Raw(NamedTuple):
    """Raw messages of a part.

    The source is an instrument; behind them come the venues in alphabetical order, for messages of no instrument.
    """

    text: np.ndarray  # uint8[]
    table: np.ndarray  # int64[n, 4]: receive time (0: the text says it), source, first byte, last byte + 1


class Written(NamedTuple):
    """What a store has written in all, dead recorders of this session included."""

    ticks: int
    raw: int
    files: int


class Store(Protocol):
    """Where a recording goes."""

    def write(self, ticks: np.ndarray, raw: Raw) -> None:
        """Write a part (TICK[n], raw messages), each file whole or not at all.

        Raises
        ------
        RecordingError
            some of it could not be written; what could be written counts in `written`
        """
        ...

    def written(self) -> Written:
        """What lies there."""
        ...

    def finish(self, published: int) -> None:
        """Say that this was all, and of how many records: those in no part are missing, whether or not numbers show it.

        RecordingError if that cannot be written.
        """
        ...
