"""The recorder agent: everything the feed published, and by switch every raw message, out of memory into a store.

It has two rings of its own, so whatever it does nobody waits for it on a wall clock: what finds them full is a gap in
the recording, counted in the ring and seen in the numbers of the records. Its memory is one block of records and one of
raw text, taken at the start; a part is written when one of them is full or old. What cannot be written is lost, counted
and said; nothing is kept for later, since a disk that was full once may stay so. A store that fails again and again, or
takes too long, is left alone for a while: its breaker is open, and parts are dropped unwritten.
"""

import time
from collections.abc import Callable

import numpy as np

from bot4.jit import kernel
from bot4.model.breaker import BREAKER_WORDS
from bot4.model.errors import RecordingError
from bot4.model.records import TICK, TICK_WORDS, words
from bot4.ports.store import Raw, Store, Written
from bot4.shm.breaker import Breaker
from bot4.shm.byte_ring import N_TAKE, N_TAKEN, PIECE_BYTES, TAKE_BYTES, TAKE_MESSAGES, take_messages
from bot4.shm.layout import RING_CAPACITY_WORD, RING_DROPPED, RING_HEAD
from bot4.shm.spsc_ring import consume, peek_tick
from bot4.shm.wires import (
    GAUGE_EVENT_TIME_NS,
    GAUGE_ITEMS,
    GAUGE_RECORDER_FAILURES,
    GAUGE_RECORDER_FILES,
    GAUGE_RECORDER_RAW,
    GAUGE_RECORDER_TICKS,
    N_OTHER_ROWS,
    RECORDER_ROW,
    Wires,
)

BATCH = 65_536  # records of one do_work: some ms
RAW_ROWS = 65_536  # raw messages of one part


@kernel
def take_ticks(ring, block, at, limit):
    """Move records out of the ring into block[at:], up to `limit` of them.

    Parameters
    ----------
    ring : int64[ring_words(capacity, TICK_WORDS)]
    block : int64[N * TICK_WORDS], out
    at, limit : int64, records; at + limit <= N

    Returns
    -------
    int64, records moved

    Notes
    -----
    Complexity: O(limit). Twin: tests/reference/shm/spsc_ring.py
    """
    for taken in range(limit):
        if not peek_tick(ring, block, (at + taken) * TICK_WORDS):
            return np.int64(taken)
        consume(ring)
    return np.int64(limit)


class RecorderAgent:
    """Rings in, parts of a recording out.

    Parameters
    ----------
    wires : the bot's shared memory, with a `record` ring
    store : where parts go
    rows : records of a part
    part_s : seconds after which a part is written though it is not full
    tell : takes a line about what went wrong
    clock : monotonic ns
    breaker : of the store; None: one that never opens
    """

    def __init__(
        self,
        wires: Wires,
        store: Store,
        rows: int,
        part_s: float,
        tell: Callable[[str], None],
        clock: Callable[[], int] = time.monotonic_ns,
        breaker: Breaker | None = None,
    ) -> None:
        self._breaker = breaker or Breaker(np.zeros(BREAKER_WORDS, np.int64), clock)
        self._wires, self._store, self._tell, self._clock = wires, store, tell, clock
        self._gauges = wires.gauges[wires.gauges.shape[0] - N_OTHER_ROWS + RECORDER_ROW]
        self._block = np.zeros(rows, TICK)
        self._words = words(self._block)
        self._filled = 0
        raw = int(wires.raw[RING_CAPACITY_WORD]) if wires.raw.size else 0
        self._text = np.zeros(raw * PIECE_BYTES, np.uint8)
        self._table = np.zeros((RAW_ROWS if raw else 0, N_TAKEN), np.int64)
        self._take = np.zeros(N_TAKE, np.int64)
        self._part_ns = int(part_s * 1e9)
        self._since_ns = clock()
        self._count()

    def do_work(self) -> int:
        """Take what is there, and write a part if it is time; how much was taken."""
        taken = self._fill()
        if self._full() or self._clock() - self._since_ns >= self._part_ns:
            self.write()
        return taken

    def _fill(self) -> int:
        room = min(len(self._block) - self._filled, BATCH)
        taken = int(take_ticks(self._wires.record, self._words, np.int64(self._filled), np.int64(room)))
        self._filled += taken
        if taken:
            self._gauges[GAUGE_EVENT_TIME_NS] = self._block["ts_recv_ns"][self._filled - 1]
        if self._table.size:
            taken += int(take_messages(self._wires.raw, self._text, self._table, self._take))
        self._gauges[GAUGE_ITEMS] += taken
        return taken

    def _full(self) -> bool:
        if self._filled == len(self._block):
            return True
        messages, size = int(self._take[TAKE_MESSAGES]), int(self._take[TAKE_BYTES])
        return bool(messages) and (messages == len(self._table) or 2 * size >= len(self._text))

    def write(self) -> None:
        """Write what is there as a part; what cannot be written is lost and counted."""
        self._since_ns = self._clock()
        messages = int(self._take[TAKE_MESSAGES])
        if not self._filled and not messages:
            return
        guarded = self._breaker.begin()
        if guarded is None:  # a store that fails or is slow: what comes meanwhile has to find room in the rings
            self._gauges[GAUGE_RECORDER_FAILURES] += 1
        else:
            try:
                with guarded:
                    self._store.write(self._block[: self._filled], Raw(self._text, self._table[:messages]))
            except RecordingError as error:
                self._fail(error)
        self._count()
        self._filled = 0
        self._take[:] = 0

    def written(self) -> Written:
        """What lies in files."""
        return self._store.written()

    def _count(self) -> None:
        written = self.written()
        self._gauges[GAUGE_RECORDER_TICKS] = written.ticks
        self._gauges[GAUGE_RECORDER_RAW] = written.raw
        self._gauges[GAUGE_RECORDER_FILES] = written.files

    def _fail(self, error: RecordingError) -> None:
        self._gauges[GAUGE_RECORDER_FAILURES] += 1
        self._tell(str(error))

    def close(self) -> None:
        """Take and write all that is left, and say that this was all."""
        while self._fill() or self._filled or self._take[TAKE_MESSAGES]:
            self.write()
        try:
            ring = self._wires.record
            self._store.finish(int(ring[RING_HEAD]) + int(ring[RING_DROPPED]))
        except RecordingError as error:
            self._fail(error)
