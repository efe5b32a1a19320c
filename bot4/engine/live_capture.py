"""The live feed on a capture: the same books by the same rules, but nobody there who could be asked for anything."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bot4.engine.feed_depth import drop_pending
from bot4.engine.live import LiveFeed
from bot4.model.enums import INT64_MAX
from bot4.ports.feed import Decoder
from bot4.ports.stream import VenueStreams
from bot4.shm.wires import Wires

ASKED = 1 << 40  # snapshots that whoever recorded it may have asked for: any that comes is believed


class CaptureFeed(LiveFeed):
    """Captured connections in, ticks out.

    Books never go stale by silence: what is silent in a capture is a quiet market, or a hole that the rules tell.

    Parameters
    ----------
    wires, instruments, session, symbols, streams, decoders : as of `LiveFeed`
    pool : pool and fetcher in one
    clock : event time in ns
    """

    def __init__(
        self,
        wires: Wires,
        instruments: np.ndarray,
        session: np.ndarray,
        symbols: Sequence[tuple[str, str]],
        streams: Mapping[str, VenueStreams],
        decoders: Mapping[str, Decoder],
        pool: Any,
        clock: Callable[[], int],
    ) -> None:
        never = np.full(len(symbols), INT64_MAX, np.int64)
        super().__init__(wires, instruments, session, symbols, streams, decoders, pool, pool, never, clock=clock)
        self._offset_ns = 0  # the capture's clock is event time
        self.memory.feed.states["awaited"] = ASKED
        self.told: Counter[str] = Counter()  # of connections that are gone: see `finish`

    def finish(self) -> dict[str, int]:
        """Everything is read: count what still waited. Messages that no instrument could be told of, by what they were:
        `silent` (no market data), `passed_over` (repeats by number), `unreadable`; and `holes` in their numbers.
        """
        for index in range(len(self.symbols)):
            drop_pending(self.memory.feed, self.wires, np.int64(index))
        for slot in self._connections:
            self._tell(slot)
        return dict(self.told)

    def _ask(self, now_ns: int) -> None:
        """For books that are fetched, once a change waits; for those that come in the stream nobody can be asked."""
        states = self.memory.feed.states
        stale = (states["whole"] == 0) & (states["halted"] == 0) & (states["pending_messages"] > 0)
        for index in np.flatnonzero(stale).tolist():
            symbol, venue = self.symbols[index]
            request = self.streams[venue].snapshot(symbol)
            if request is not None:
                self.fetcher.ask((venue, symbol), venue, request)

    def _forget(self, slot: int) -> None:
        if slot in self._connections:
            self._tell(slot)
        super()._forget(slot)

    def _tell(self, slot: int) -> None:
        row = self.memory.connections[slot]
        self.told.update({name: int(row[name]) for name in ("silent", "passed_over", "unreadable", "holes")})
