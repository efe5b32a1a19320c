"""The feed agent: keeps the buffers of its sources full and lets the compiled step do the rest."""

from collections.abc import Sequence

import numpy as np

from bot4.engine.feed_memory import BUFFER_BYTES, NEEDS_DATA, FeedMemory, Source, check_data_way, feed_memory
from bot4.engine.feed_step import feed_step
from bot4.model.enums import INPUT_UNPARSABLE, INT64_MAX
from bot4.model.errors import Bot4Error
from bot4.model.latency import Latency
from bot4.shm.spsc_ring import ring_recover
from bot4.shm.wires import Wires, feed_rings

__all__ = ["FeedAgent", "FeedMemory", "Source", "feed_memory", "feed_step"]

BATCH = 256  # messages of one do_work: some 400 us of work
NEWLINE = 10
LAST_EVENT_NO = (1 << 32) - (1 << 24)  # a number has 32 bits and must never come again: order ids are made of it


class FeedAgent:
    """Sources in, ticks out.

    Parameters
    ----------
    wires, instruments, session : the bot's shared memory and tables
    sources : one per instrument, in the order of the instruments
    wait : True: a full ring makes the feed wait (replay); False: it misses the message, counted
    latency : of the messages on their way to shards and execution

    Attributes
    ----------
    until_ns : event time up to which the feed may go; INT64_MAX: as fast as it can
    """

    def __init__(
        self,
        wires: Wires,
        instruments: np.ndarray,
        session: np.ndarray,
        sources: Sequence[Source],
        wait: bool,
        latency: Latency | None = None,
    ) -> None:
        self.wires, self.instruments, self.session, self.sources, self.wait = wires, instruments, session, sources, wait
        self.until_ns = INT64_MAX
        self.memory = feed_memory(instruments, sources, len(wires.ticks), latency)
        for ring in feed_rings(wires):
            ring_recover(ring)

    def refill(self) -> None:
        """Give bytes to every source that asked for them. Bot4Error if a source or the way does not go on."""
        check_data_way(self.memory.way)
        if not self.memory.state[NEEDS_DATA]:
            return
        for index in np.flatnonzero(self.memory.sources["hungry"]):
            self._feed_source(int(index))
        self.memory.state[NEEDS_DATA] = 0

    def _feed_source(self, index: int) -> None:
        """Move the rest of a line to the front and fill up behind it, up to a last newline."""
        row, buffer = self.memory.sources[index], self.memory.buffers[index]
        if self.memory.states[index]["event_no"] > LAST_EVENT_NO:
            raise Bot4Error(
                f"instrument {index} has had {LAST_EVENT_NO:,} records, all that a session can number; start a new one"
            )
        left = int(row["filled"] - row["at"])
        buffer[:left] = buffer[row["at"] : row["filled"]].copy()
        if left >= BUFFER_BYTES - 1:
            self.wires.refused[index, 0, INPUT_UNPARSABLE] += 1 - row["skipping"]  # a line longer than the buffer
            row["skipping"] = 1
            left = 0
        count = self.sources[index].read_into(buffer[left : BUFFER_BYTES - 1])
        filled = left + count
        if count == 0:
            row["ended"] = 1
            if filled:
                buffer[filled] = NEWLINE  # the last line ended with the stream
                filled += 1
        start = 0
        if row["skipping"] and filled:
            end = _index(buffer[:filled], first=True)
            start = end + 1 if end >= 0 else filled
            row["skipping"] = end < 0
        row["at"], row["filled"], row["hungry"] = start, filled, 0
        row["end"] = start + 1 + _index(buffer[start:filled], first=False)

    def do_work(self) -> int:
        """One batch of messages; returns how many were read."""
        self.refill()
        return int(
            feed_step(
                self.memory, self.wires, self.instruments, self.session, np.int64(self.until_ns), self.wait, BATCH
            )
        )

    def close(self) -> None:
        """The sources close themselves at their end."""


def _index(text: np.ndarray, first: bool) -> int:
    """Index of the first or last newline, -1 if there is none."""
    data = text.tobytes() if first else text[-(1 << 17) :].tobytes()
    if first:
        return data.find(b"\n")
    found = data.rfind(b"\n")
    if found < 0 and len(data) < text.size:
        return text.tobytes().rfind(b"\n")
    return found + text.size - len(data) if found >= 0 else -1
