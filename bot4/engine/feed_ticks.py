"""The feed of a recording: records as they were published go out again through the same rings, bit for bit.

Nothing is scanned or judged a second time. What the feed has to know is what it tells a reader that lost its place: the
books. Where the numbers of an instrument's records leap, the recording has a hole: the book is not whole from there on
until the recording holds a snapshot; shards and venue see the leap themselves, execution is told. A message of which
the recording holds a part is no message.

Budget: 100 ns a record with everything. Twin: tests/reference/engine/feed_ticks.py
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bot4.atomics import load_acquire, store_release
from bot4.engine.feed_memory import (
    DONE,
    FEED_STATE,
    N_OTHER_READERS,
    N_STATE,
    NEEDS_DATA,
    OUT_COUNT,
    OUT_RECORDS,
    SOURCE,
    DataWay,
    check_data_way,
    data_way,
)
from bot4.engine.feed_out import publish, serve_snapshots
from bot4.jit import inlined, kernel
from bot4.kernels.book import BOOK, book_apply_tick
from bot4.model.enums import (
    FLAG_BOOK_NEWER,
    FLAG_LAST,
    FLAG_QUOTE_NEWER,
    FLAG_SNAPSHOT,
    FLAG_SYNTHETIC,
    INPUT_GAP,
    INT64_MAX,
    STATUS_WHOLE,
    TICK_LEVEL,
    TICK_QUOTE,
    TICK_STATUS,
)
from bot4.model.errors import RecordingError
from bot4.model.latency import Latency
from bot4.model.records import TICK, TICK_WORDS, words
from bot4.shm.layout import CLOCK_FEED, CONTROL_FEED_DONE
from bot4.shm.spsc_ring import count_dropped, ring_recover
from bot4.shm.wires import (
    FEED_ROW,
    GAUGE_EVENT_TIME_NS,
    GAUGE_FEED_MESSAGES,
    GAUGE_FEED_SPAN_END_NS,
    GAUGE_FEED_SPAN_START_NS,
    GAUGE_ITEMS,
    Wires,
    feed_rings,
)

BATCH = 256  # messages of one do_work, as many as the other feed reads
BLOCK = 65_536  # records that are read ahead, beside the longest message

# words of TickMemory.place
AT = 0  # next record of the block
END = 1  # records in the block
ENDED = 2  # 1: no more will come
LAST_NS = 3  # time of the last message
N_PLACE = 4


class TickMemory(NamedTuple):
    """All that the step works on; what `feed_out` needs is named as in FeedMemory."""

    ticks: np.ndarray  # TICK[BLOCK + OUT_RECORDS]
    tick_words: np.ndarray  # int64, the same memory
    place: np.ndarray  # int64[N_PLACE]
    sources: np.ndarray  # SOURCE[n]: when the next record is due
    states: np.ndarray  # FEED_STATE[n]
    books: np.ndarray  # BOOK[n]
    state: np.ndarray  # int64[N_STATE]
    out: np.ndarray  # TICK[OUT_RECORDS]: the message in hand
    out_words: np.ndarray  # int64, the same memory
    snapshots: np.ndarray  # int64[n_shards + N_OTHER_READERS, 3]
    way: DataWay


@inlined
def _follows(before, tick):
    """Whether a record belongs to the message of the one before it."""
    if before["instrument"] != tick["instrument"] or np.int64(before["flags"]) & FLAG_LAST:
        return False
    step = np.int64(tick["event_no"]) - np.int64(before["event_no"])
    return step == (0 if np.int64(tick["flags"]) & FLAG_SNAPSHOT else 1)


@kernel
def _length(feed):
    """Records of the message at the place, 0: its end is not read yet; and whether it is whole."""
    place = feed.place
    first = place[AT]
    for at in range(first, place[END]):
        if at > first and not _follows(feed.ticks[at - 1], feed.ticks[at]):
            return at - first, False
        if np.int64(feed.ticks[at]["flags"]) & FLAG_LAST:
            return at - first + 1, True
    return (place[END] - first if place[ENDED] != 0 else np.int64(0)), False


@inlined
def _remember(feed, wires, tick):
    """What a snapshot of the book will have to tell."""
    instrument = np.int64(tick["instrument"])
    state = feed.states[instrument]
    kind = np.int64(tick["kind"])
    flags = np.int64(tick["flags"])
    state["event_no"] = np.int64(tick["event_no"])
    state["last_recv_ns"] = tick["ts_recv_ns"]
    book_apply_tick(feed.books[instrument], tick)
    if kind == TICK_QUOTE:
        quote = state["quote"]
        quote[0] = tick["w0"]
        quote[1] = tick["w1"]
        quote[2] = tick["w2"]
        quote[3] = tick["w3"]
        state["quote_u"] = state["book_u"] + (0 if flags & FLAG_BOOK_NEWER else 1)
    elif kind == TICK_LEVEL:
        wires.levels[instrument] += 1
        state["book_u"] = tick["w3"]
        if flags & FLAG_LAST:  # does the last quote still override the top?
            state["quote_u"] = tick["w3"] + 1 if flags & FLAG_QUOTE_NEWER else min(state["quote_u"], tick["w3"])
    elif kind == TICK_STATUS:
        state["whole"] = 1 if tick["w0"] == STATUS_WHOLE else 0
        state["book_u"] = tick["w1"]


@kernel
def _take(feed, wires, size):
    """The message at the place becomes the message in hand."""
    first = feed.place[AT]
    tick = feed.ticks[first]
    state = feed.states[np.int64(tick["instrument"])]
    leaps = np.int64(tick["event_no"]) != state["event_no"] + 1
    if leaps and not np.int64(tick["flags"]) & FLAG_SNAPSHOT:
        state["whole"] = 0  # a hole in the recording
        count_dropped(wires.quotes, 1)  # execution gets a part of the records: it cannot see holes
    kind = np.int64(tick["kind"])
    for index in range(size):
        for word in range(TICK_WORDS):
            feed.out_words[index * TICK_WORDS + word] = feed.tick_words[(first + index) * TICK_WORDS + word]
        _remember(feed, wires, feed.ticks[first + index])
        if np.int64(feed.ticks[first + index]["kind"]) == TICK_LEVEL:
            kind = np.int64(TICK_LEVEL)
    feed.state[OUT_COUNT] = size
    wires.messages[np.int64(tick["instrument"]), kind] += 1


@kernel
def _end(feed, wires):
    feed.state[DONE] = 1
    # SYNC POINT: pairs with load_acquire in every reader: the last record has been pushed.
    store_release(wires.clocks, CLOCK_FEED, INT64_MAX)
    store_release(wires.control, CONTROL_FEED_DONE, 1)


@kernel
def tick_step(feed, wires, instruments, session, until_ns, wait, max_messages):
    """Publish up to `max_messages` messages of the recording, in its order.

    Parameters
    ----------
    feed : TickMemory
    wires, instruments, session, until_ns, wait, max_messages : as for `feed_step`, whose place this step takes

    Returns
    -------
    int64, messages; 0 with feed.state[NEEDS_DATA] set when the block has to be filled first, while a message or a
    snapshot waits for room, when nothing is due by `until_ns`, or at the end

    Notes
    -----
    Complexity: O(records). Promise: CLOCK_FEED, written before a message is pushed. Errors: a part of a message counts
    as INPUT_GAP. Twin: tests/reference/engine/feed_ticks.py
    """
    handled = np.int64(0)
    row = wires.gauges[session[0]["n_shards"] + FEED_ROW]
    if not publish(feed, wires, instruments, session, wait):
        return handled
    held = serve_snapshots(feed, wires, instruments, session) and wait
    place = feed.place
    while handled < max_messages and feed.state[DONE] == 0 and feed.state[NEEDS_DATA] == 0:
        size, whole = _length(feed)
        if size == 0:
            if place[ENDED] != 0:
                _end(feed, wires)
            else:
                feed.state[NEEDS_DATA] = 1
            break
        tick = feed.ticks[place[AT]]
        due_ns = max(tick["ts_recv_ns"], place[LAST_NS])
        for index in range(len(feed.sources)):
            feed.sources[index]["next_ns"] = due_ns
        promise = min(due_ns, until_ns)
        if promise > load_acquire(wires.clocks, CLOCK_FEED):
            # SYNC POINT: pairs with load_acquire in every reader: everything before this time has been pushed.
            store_release(wires.clocks, CLOCK_FEED, promise)
        if due_ns > until_ns or held:
            break
        if whole:
            _take(feed, wires, size)
        else:
            wires.refused[np.int64(tick["instrument"]), np.int64(tick["kind"]), INPUT_GAP] += 1
        place[AT] += size
        place[LAST_NS] = due_ns
        handled += 1
        if row[GAUGE_FEED_SPAN_START_NS] == 0:
            row[GAUGE_FEED_SPAN_START_NS] = due_ns
        row[GAUGE_FEED_SPAN_END_NS] = due_ns
        row[GAUGE_EVENT_TIME_NS] = due_ns
        if not publish(feed, wires, instruments, session, wait):
            break
    row[GAUGE_FEED_MESSAGES] += handled
    row[GAUGE_ITEMS] += handled
    return handled


def tick_memory(n_instruments: int, n_shards: int, synthetic: bool, latency: Latency | None = None) -> TickMemory:
    """All memory of the feed; pages are touched only when used."""
    ticks, out = np.zeros(BLOCK + OUT_RECORDS, TICK), np.zeros(OUT_RECORDS, TICK)
    states = np.zeros(n_instruments, FEED_STATE)
    states["quote_u"] = -1
    states["mark_flags"] = FLAG_SYNTHETIC if synthetic else 0
    return TickMemory(
        ticks=ticks,
        tick_words=words(ticks),
        place=np.zeros(N_PLACE, np.int64),
        sources=np.zeros(n_instruments, SOURCE),
        states=states,
        books=np.zeros(n_instruments, BOOK),
        state=np.zeros(N_STATE, np.int64),
        out=out,
        out_words=words(out),
        snapshots=np.zeros((n_shards + N_OTHER_READERS, 3), np.int64),
        way=data_way(latency),
    )


class TickFeed:
    """Blocks of recorded records in, the same records out; used like the feed of raw messages.

    Parameters
    ----------
    wires, instruments, session : the bot's shared memory and tables
    blocks : TICK[n] each, in the order in which they were published, `instrument` as in `instruments`
    synthetic : True if no market made them
    wait : True: a full ring makes the feed wait; False: it misses the message, counted
    latency : of the records on their way to shards and execution

    Attributes
    ----------
    until_ns : event time up to which the feed may go; INT64_MAX: as fast as it can
    """

    def __init__(
        self,
        wires: Wires,
        instruments: np.ndarray,
        session: np.ndarray,
        blocks: Iterator[np.ndarray],
        synthetic: bool,
        wait: bool,
        latency: Latency | None = None,
    ) -> None:
        self.wires, self.instruments, self.session, self.wait = wires, instruments, session, wait
        self.until_ns = INT64_MAX
        self.memory = tick_memory(len(instruments), len(wires.ticks), synthetic, latency)
        self._blocks = blocks
        self._pending = np.zeros(0, TICK)
        for ring in feed_rings(wires):
            ring_recover(ring)

    def refill(self) -> None:
        """Fill the block if the step asked for it. Bot4Error if the recording or the way does not go on."""
        memory = self.memory
        check_data_way(memory.way)
        if not memory.state[NEEDS_DATA]:
            return
        place, ticks = memory.place, memory.ticks
        left = int(place[END] - place[AT])
        ticks[:left] = ticks[place[AT] : place[END]].copy()
        if left >= OUT_RECORDS:
            raise RecordingError(f"a message of more than {OUT_RECORDS:,} records; this is no recording of a feed")
        if not len(self._pending):
            self._pending = next(self._blocks, self._pending)
        count = min(len(self._pending), len(ticks) - left)
        ticks[left : left + count] = self._pending[:count]
        self._pending = self._pending[count:]
        place[AT], place[END] = 0, left + count
        place[ENDED] = count == 0
        memory.state[NEEDS_DATA] = 0

    def do_work(self) -> int:
        """One batch of messages; returns how many were published."""
        self.refill()
        return int(
            tick_step(
                self.memory, self.wires, self.instruments, self.session, np.int64(self.until_ns), self.wait, BATCH
            )
        )

    def close(self) -> None:
        """The files close themselves."""
