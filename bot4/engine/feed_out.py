"""The feed's way out: records of one message, published whole into each ring that wants them, or not at all.

    shard of the instrument, venue    everything
    execution                         quotes, marks, states of the book
    recorder, where there is one      everything, after those who trade on it

Where a session gives the market's data a latency, execution and shards are told so much later, by the time in the
record itself: it lies in their rings until the venue is as far. The venue trades on what it has had at once.

Who lost its place asks for a snapshot (a shard, the venue); it alone gets one, instrument by instrument. Execution
needs only to know whether each book is whole, and is told when its ring has missed something.
"""

import numpy as np

from bot4.atomics import load_acquire, rdtsc
from bot4.engine.feed_memory import (
    IS_MODELLED,
    OUT_COUNT,
    READER_EXECUTION,
    READER_RECORDER,
    WAY_IS_SHUT,
    WAY_KIND,
    WAY_LAST_NS,
    WAY_SENT,
)
from bot4.jit import inlined, kernel
from bot4.kernels.book import book_depth, book_level
from bot4.kernels.latency import latency_ns
from bot4.kernels.risk.view import MAX_QTY_LOTS
from bot4.model.enums import (
    FLAG_BOOK_NEWER,
    FLAG_LAST,
    FLAG_SNAPSHOT,
    INT64_MAX,
    STATUS_CLEAR,
    STATUS_STALE,
    STATUS_WHOLE,
    TICK_LEVEL,
    TICK_QUOTE,
    TICK_STATUS,
    TICK_TRADE,
)
from bot4.model.records import TICK_WORDS
from bot4.shm.layout import (
    CLOCK_FEED,
    CONTROL_NO_RECORDER,
    CONTROL_SNAPSHOT,
    CONTROL_SNAPSHOT_VENUE,
    LINE,
    RING_CAPACITY_WORD,
    RING_DROPPED,
)
from bot4.shm.spsc_ring import count_dropped, has_space, push_tick, unread_time
from bot4.shm.wires import FEED_ROW, GAUGE_FEED_DROPPED, GAUGE_FEED_TICKS

LOW_HALF = 0xFFFF_FFFF


@inlined
def told_lots(quantity, scale):
    """A quantity of the market, in the venue's own steps, as readers get it: in lots, within their bounds.

    Parameters
    ----------
    quantity : int64 >= 0, 18 digits at most
    scale : int64, steps in a lot; up to 1: a step is a lot

    Returns
    -------
    int64, 0 .. MAX_QTY_LOTS: cut, but what is there is one lot at least, and a wall larger than any order the most

    Notes
    -----
    Complexity: O(1). So every product of readers fits, whatever the market shows; the feed's own book stays exact.
    Twin: tests/unit/engine/test_feed_out.py
    """
    if scale > 1 and quantity > 0:
        quantity = max(quantity // scale, np.int64(1))
    return min(quantity, np.int64(MAX_QTY_LOTS))


@inlined
def emit(feed, instrument, kind, flags, ts_ns, lag_us, w0, w1, w2, w3):
    """Append one record to the message in hand, with the instrument's next event number; quantities become lots."""
    state = feed.states[instrument]
    if kind == TICK_LEVEL or kind == TICK_TRADE or kind == TICK_QUOTE:
        w1 = told_lots(np.int64(w1), state["listing"]["lot_scale"])
    if kind == TICK_QUOTE:
        w3 = told_lots(np.int64(w3), state["listing"]["lot_scale"])
    index = feed.state[OUT_COUNT]
    number = state["event_no"] + 1
    state["event_no"] = number
    tick = feed.out[index]
    tick["ts_recv_ns"] = ts_ns
    tick["venue_lag_us"] = lag_us
    tick["instrument"] = instrument
    tick["kind"] = kind
    tick["flags"] = flags | state["mark_flags"]
    tick["w0"] = w0
    tick["w1"] = w1
    tick["w2"] = w2
    tick["w3"] = w3
    tick["event_no"] = number & LOW_HALF
    tick["tsc_low"] = 0
    feed.state[OUT_COUNT] = index + 1


@inlined
def go_stale(feed, instrument, ts_ns):
    """The book is not whole any more: say so once."""
    state = feed.states[instrument]
    state["silent"] = 0
    if state["whole"] != 0:
        state["whole"] = 0
        emit(feed, instrument, TICK_STATUS, FLAG_LAST, ts_ns, 0, STATUS_STALE, state["book_u"], 0, 0)


@inlined
def _is_for_execution(kind):
    return kind != TICK_TRADE and kind != TICK_LEVEL


@inlined
def _push_all(feed, ring, count):
    for index in range(count):
        push_tick(ring, feed.out_words, index * TICK_WORDS)


@inlined
def _push_for_execution(feed, ring, count):
    for index in range(count):
        if _is_for_execution(np.int64(feed.out[index]["kind"])):
            push_tick(ring, feed.out_words, index * TICK_WORDS)


@inlined
def _must_wait(ring, count):
    """True if the records do not fit now but will; what is larger than the ring never fits and is dropped."""
    return count <= ring[RING_CAPACITY_WORD] and not has_space(ring, count)


@inlined
def _miss(ring, row, count):
    count_dropped(ring, count)
    row[GAUGE_FEED_DROPPED] += count


@inlined
def must_wait_for_recorder(wires, ring, count):
    """True if a ring of the recorder has no room and somebody is there who will make some."""
    return len(ring) > 0 and _must_wait(ring, count) and load_acquire(wires.control, CONTROL_NO_RECORDER) == 0


@kernel
def _way_ns(feed):
    """How much later the message in hand is told to who decides; none overtakes the one before."""
    way = feed.way
    sent = np.int64(feed.out[0]["ts_recv_ns"])
    number = way.state[WAY_SENT]
    way.state[WAY_SENT] = number + 1
    told = max(sent + latency_ns(way.state[WAY_KIND], way.times, way.values, number, sent), way.state[WAY_LAST_NS])
    way.state[WAY_LAST_NS] = told
    return told - sent


@inlined
def _move(feed, count, ns):
    for index in range(count):
        feed.out[index]["ts_recv_ns"] += ns


@kernel
def _look_for_the_end(feed, wires, session, shard_ring, count, some):
    """A ring without room: is what lies in it for a time that cannot come before this message has gone out?

    The venue goes as far as the feed's promise, execution and shards as far as its reports of then would be there.
    """
    heard = load_acquire(wires.clocks, CLOCK_FEED) + session[0]["report_latency_ns"]
    quotes_shut = _must_wait(wires.quotes, some) and unread_time(wires.quotes, TICK_WORDS) >= heard
    heard += session[0]["internal_latency_ns"]
    if quotes_shut or (_must_wait(shard_ring, count) and unread_time(shard_ring, TICK_WORDS) >= heard):
        feed.way.state[WAY_IS_SHUT] = 1


@inlined
def _record(feed, wires, count):
    """A full ring costs a gap in the recording, which is seen there and in the ring's count, and nothing else."""
    if len(wires.record) == 0:
        return
    if has_space(wires.record, count):
        _push_all(feed, wires.record, count)
    else:
        count_dropped(wires.record, count)


@inlined
def publish_here(feed, wires, instruments, session, wait):
    """Give the message in hand to everybody who wants it; where it stands, for the hot path (see `publish`).

    Parameters
    ----------
    feed : FeedMemory
    wires : Wires
    instruments, session : INSTRUMENT[n], SESSION[1]
    wait : bool, True: nobody gets it before all have room; False: who has no room misses it, counted

    Returns
    -------
    bool, False if it has to wait

    Notes
    -----
    Complexity: O(records). Invariant: a ring gets all records of a message or none.
    Twin: tests/reference/engine/feed.py
    """
    count = feed.state[OUT_COUNT]
    if count == 0:
        return True
    instrument = np.int64(feed.out[0]["instrument"])
    shard_ring = wires.ticks[np.int64(instruments[instrument]["shard"])]
    some = np.int64(0)
    for index in range(count):
        if _is_for_execution(np.int64(feed.out[index]["kind"])):
            some += 1
    modelled = feed.way.state[IS_MODELLED] != 0
    if wait:
        if _must_wait(shard_ring, count) or _must_wait(wires.market, count) or _must_wait(wires.quotes, some):
            if modelled and session[0]["paced"] != 0:
                _look_for_the_end(feed, wires, session, shard_ring, count, some)
            return False
        if must_wait_for_recorder(wires, wires.record, count):
            return False
    if session[0]["measure"] != 0:
        low = rdtsc() & LOW_HALF
        for index in range(count):
            feed.out[index]["tsc_low"] = low
    row = wires.gauges[session[0]["n_shards"] + FEED_ROW]
    # The shard comes last: when its order reaches execution, the quote it was decided on is there.
    if has_space(wires.market, count):
        _push_all(feed, wires.market, count)
    else:
        _miss(wires.market, row, count)
    later_ns = np.int64(0)
    if modelled:
        later_ns = _way_ns(feed)
        _move(feed, count, later_ns)
    if some > 0:
        if has_space(wires.quotes, some):
            _push_for_execution(feed, wires.quotes, count)
        else:
            _miss(wires.quotes, row, some)
    if has_space(shard_ring, count):
        _push_all(feed, shard_ring, count)
    else:
        _miss(shard_ring, row, count)
    if modelled:
        _move(feed, count, -later_ns)
    _record(feed, wires, count)
    row[GAUGE_FEED_TICKS] += count
    feed.state[OUT_COUNT] = 0
    return True


@kernel
def publish(feed, wires, instruments, session, wait):
    """`publish_here` as a call, which costs the copy of its arguments."""
    return publish_here(feed, wires, instruments, session, wait)


# --- snapshots for readers that missed records -----------------------------------------------------------------------


@kernel
def _snapshot_tick(feed, instrument, ts_ns, kind, flags, w0, w1, w2, w3):
    feed.states[instrument]["event_no"] -= 1  # a snapshot repeats the last number: the reader goes on with the next
    emit(feed, instrument, kind, flags | FLAG_SNAPSHOT, ts_ns, 0, w0, w1, w2, w3)


@kernel
def _snapshot(feed, instrument, ts_ns, levels):
    """The book of one instrument as the message in hand; without `levels` only whether it is whole."""
    state = feed.states[instrument]
    book = feed.books[instrument]
    update = state["book_u"]
    if levels:
        _snapshot_tick(feed, instrument, ts_ns, TICK_STATUS, 0, STATUS_CLEAR, update, 0, 0)
        for turn in range(2):
            side = 1 - 2 * turn
            for level in range(book_depth(book, side)):
                price, lots = book_level(book, side, level)
                _snapshot_tick(feed, instrument, ts_ns, TICK_LEVEL, 0, price, lots, side, update)
        if state["quote_u"] >= 0:
            quote = state["quote"]
            older = FLAG_BOOK_NEWER if state["whole"] != 0 and state["quote_u"] <= update else 0
            _snapshot_tick(feed, instrument, ts_ns, TICK_QUOTE, older, quote[0], quote[1], quote[2], quote[3])
    status = STATUS_WHOLE if state["whole"] != 0 else STATUS_STALE
    _snapshot_tick(feed, instrument, ts_ns, TICK_STATUS, FLAG_LAST, status, update, 0, 0)


@inlined
def _asked(wires, n_shards, reader):
    """How many snapshots a reader has asked for: shard, venue, execution.

    Execution gets a part of the records and cannot see a hole in their numbers: what its ring missed asks for it. So
    does what the recorder's ring missed: after a hole a recording is of use only with the books in it.
    """
    if reader == n_shards + READER_RECORDER:
        return wires.record[RING_DROPPED] if len(wires.record) > 0 else np.int64(0)
    if reader == n_shards + READER_EXECUTION:
        return wires.quotes[RING_DROPPED]
    # SYNC POINT: pairs with store_release in the reader: it asks after it has thrown its book away.
    word = CONTROL_SNAPSHOT + reader * LINE if reader < n_shards else CONTROL_SNAPSHOT_VENUE
    return load_acquire(wires.control, word)


@kernel
def _answer(feed, wires, instruments, n_shards, reader):
    """Send what fits of the snapshot that a reader asked for; the rest next time. True when all of it is out."""
    work = feed.snapshots[reader]
    ring = wires.market
    if reader < n_shards:
        ring = wires.ticks[reader]
    elif reader == n_shards + READER_EXECUTION:
        ring = wires.quotes
    elif reader == n_shards + READER_RECORDER:
        ring = wires.record
    levels = reader != n_shards + READER_EXECUTION
    clock = load_acquire(wires.clocks, CLOCK_FEED)
    while work[2] < len(instruments):
        instrument = work[2]
        if reader >= n_shards or np.int64(instruments[instrument]["shard"]) == reader:
            book = feed.books[instrument]
            size = book_depth(book, 1) + book_depth(book, -1) + 3 if levels else 1
            if _must_wait(ring, size):
                return False
            if has_space(ring, size):
                # not before what was promised; at the end of the stream, when nothing is promised, at its last time
                ts_ns = clock if clock != INT64_MAX else feed.states[instrument]["last_recv_ns"]
                if reader < n_shards or reader == n_shards + READER_EXECUTION:
                    ts_ns = max(ts_ns, feed.way.state[WAY_LAST_NS])  # behind what is under way
                _snapshot(feed, instrument, ts_ns, levels)
                _push_all(feed, ring, feed.state[OUT_COUNT])
                feed.state[OUT_COUNT] = 0
            elif reader != n_shards + READER_RECORDER:
                _miss(ring, wires.gauges[n_shards + FEED_ROW], size)  # larger than the ring
        work[2] += 1
    work[0] = work[1]
    return True


@kernel
def serve_snapshots(feed, wires, instruments, session):
    """Answer the readers that ask; only between messages (nothing may be in hand). True if one still waits for room."""
    n_shards = session[0]["n_shards"]
    waiting = False
    for reader in range(len(feed.snapshots)):
        work = feed.snapshots[reader]
        if work[0] == work[1]:
            asked = _asked(wires, n_shards, reader)
            if asked == work[0]:
                continue
            work[1] = asked
            work[2] = 0
        if not _answer(feed, wires, instruments, n_shards, reader) and reader != n_shards + READER_RECORDER:
            waiting = True
    return waiting
