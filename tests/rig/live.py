"""A live feed on a replayer: real sockets, TLS and REST; its readers keep what it published."""

import random
import time
from pathlib import Path

import numpy as np
from reference.kernels.scan import Listing
from rig.feed import instruments_of

from bot4.adapters.net.pool import StreamPool, Wanted
from bot4.adapters.net.rest import RestFetcher
from bot4.engine.live import LiveFeed
from bot4.model.enums import FLAG_LAST, INPUT_REASONS, STATUS_CLEAR, STATUS_WHOLE, TICK_LEVEL, TICK_STATUS
from bot4.model.records import SESSION, TICK, words
from bot4.ports.feed import Decoder
from bot4.ports.stream import VenueStreams
from bot4.shm.spsc_ring import consume, peek_tick
from bot4.shm.wires import private_wires

SECOND_NS = 1_000_000_000


class ReaderBook:
    """The book of one instrument as a reader of a ring sees it."""

    def __init__(self) -> None:
        self.sides: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self.whole = False
        self.update = -1
        self.ts_ns = 0

    def take(self, tick: np.void) -> bool:
        """One record; True after the last one of a message that leaves the book whole."""
        self.ts_ns = int(tick["ts_recv_ns"])
        kind, last = int(tick["kind"]), bool(int(tick["flags"]) & FLAG_LAST)
        w0, w1, w2 = int(tick["w0"]), int(tick["w1"]), int(tick["w2"])
        if kind == TICK_LEVEL:
            self.sides[w2].pop(w0, None)
            if w1:
                self.sides[w2][w0] = w1
            self.update = int(tick["w3"])
            return last and self.whole
        if kind == TICK_STATUS:
            if w0 == STATUS_CLEAR:
                self.sides = {1: {}, -1: {}}
            else:
                self.whole = w0 == STATUS_WHOLE
            self.update = w1
            return self.whole
        return False

    def top(self, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """The best levels of both sides."""
        return sorted(self.sides[1].items(), reverse=True)[:count], sorted(self.sides[-1].items())[:count]


class LiveRig:
    """One instrument, heard from a replayer on a port of this machine."""

    def __init__(
        self, streams: VenueStreams, decoder: Decoder, listing: Listing, ca_file: Path, silence_s: float = 10.0
    ) -> None:
        session = np.zeros(1, SESSION)
        session[0]["n_shards"] = session[0]["n_instruments"] = 1
        self.wires = private_wires(1, 1)
        self.symbol, self.venue = listing.symbol, streams.venue
        self.pool = StreamPool(
            [Wanted(streams, [listing.symbol])], silence_s, random.Random(1), time.monotonic_ns, ca_file=ca_file
        )
        self.feed = LiveFeed(
            self.wires, instruments_of([listing]), session, [(listing.symbol, streams.venue)],
            {streams.venue: streams}, {streams.venue: decoder}, self.pool,
            RestFetcher([streams], time.monotonic_ns, ca_file=ca_file), np.full(1, 100 * SECOND_NS, np.int64),
        )  # fmt: skip
        self.feed.warm()  # so that nothing is compiled while messages come
        self.wires.refused[...] = 0
        self._scratch = np.zeros(1, TICK)

    def turn(self) -> tuple[int, list[np.void]]:
        """One turn of the feed: messages taken, and what the venue's reader got."""
        rows = self.feed.memory.connections
        before = int(rows["messages"].sum())
        self.feed.do_work()
        handled = max(0, int(rows["messages"].sum()) - before)  # a connection that is opened begins at 0
        found = []
        for ring in (self.wires.ticks[0], self.wires.quotes, self.wires.market):
            while peek_tick(ring, words(self._scratch), np.int64(0)):
                if ring is self.wires.market:
                    found.append(self._scratch.copy()[0])
                consume(ring)
        return handled, found

    def refused(self) -> dict[str, int]:
        """Refused messages by reason."""
        table = self.wires.refused.sum(axis=(0, 1))
        return {INPUT_REASONS[index]: int(count) for index, count in enumerate(table) if count}

    def close(self) -> None:
        """End threads and connections."""
        self.feed.close()
