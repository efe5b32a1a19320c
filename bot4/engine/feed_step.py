"""The feed's duty cycle as one kernel: the venue's bytes in, validated ticks out to shards, venue and execution.

    1 merge     the source whose next line was received first (ties: source index, then line)
    2 scan      bytes to integers                                    kernels/scan
    3 validate  numbers, order, crossed quotes: a bad message is counted by reason and goes no further   feed_message
    4 book      rebuilt from snapshot and diffs, compared with the venue's own best quote                feed_depth
    5 publish   one message whole into each ring that wants it, or not at all                            feed_out

Budget: 1 us a quote or trade with everything.
"""

import numpy as np

from bot4.atomics import load_acquire, store_release
from bot4.engine.feed_depth import drop_pending
from bot4.engine.feed_memory import DONE, NEEDS_DATA, OUT_COUNT
from bot4.engine.feed_message import take_line
from bot4.engine.feed_out import publish, serve_snapshots
from bot4.engine.feed_raw import record_line
from bot4.jit import inlined, kernel
from bot4.kernels.scan.binance import scan_time
from bot4.kernels.scan.token import NEWLINE, find_newline, skip_space
from bot4.model.enums import INT64_MAX
from bot4.shm.layout import CLOCK_FEED, CONTROL_FEED_DONE
from bot4.shm.wires import (
    FEED_ROW,
    GAUGE_EVENT_TIME_NS,
    GAUGE_FEED_MESSAGES,
    GAUGE_FEED_SPAN_END_NS,
    GAUGE_FEED_SPAN_START_NS,
    GAUGE_ITEMS,
)

LEAP_NS = 60_000_000_000  # a receive time that is this far ahead of the one before needs the next lines' word for it
WITNESSES = 8  # so many of them: some may be damaged too


@kernel
def _strays(text, at, end, ts_ns):
    """1 if one of the next lines was received before `ts_ns`: then that time is wrong, not the stream silent.

    0 if they bear it out, -1 if too few of them are here to tell.
    """
    for _ in range(WITNESSES):
        at = find_newline(text, at, end) + 1
        if at <= 0 or at >= end:
            return np.int64(-1)
        following, _ = scan_time(text, at)
        if following > 0 and following < ts_ns:
            return np.int64(1)
    return np.int64(0)


@kernel
def look_ahead(feed, index):
    """Find the next line of a source and when it was received.

    Parameters
    ----------
    feed : FeedMemory
    index : int64, source

    Notes
    -----
    Complexity: O(1) but after a leap in time. Sets `ready`, or `hungry` when no complete line is left, or `finished`.
    """
    source = feed.sources[index]
    text = feed.buffers[index]
    at = source["at"]
    end = source["end"]
    while at < end and text[skip_space(text, at)] == NEWLINE:
        at = skip_space(text, at) + 1  # an empty line is no message
    source["at"] = at
    if at >= end:
        source["next_ns"] = INT64_MAX
        if source["ended"] != 0:
            source["finished"] = 1
        else:
            source["hungry"] = 1
        return
    last_ns = feed.states[source["instrument"]]["last_recv_ns"]
    ts_ns, json_at = scan_time(text, at)
    source["strays"] = 0
    if ts_ns - last_ns > LEAP_NS and last_ns > 0:
        found = _strays(text, at, end, ts_ns)
        if found < 0 and source["ended"] == 0 and end - at < len(text) // 2:
            source["hungry"] = 1
            return
        if found > 0:
            source["strays"] = 1
            ts_ns = last_ns
    # A line without a time, or with a wrong one, is refused where it stands: right after the one before it.
    source["json_at"] = json_at
    source["next_ns"] = max(ts_ns, last_ns) if source["strays"] != 0 or ts_ns < 0 else ts_ns
    source["ready"] = 1


@inlined
def _earliest(feed):
    """Index of the source whose line is next, -1 if there is none (all finished, or one is hungry)."""
    found = -1
    best_ns = np.int64(INT64_MAX)
    for index in range(len(feed.sources)):
        source = feed.sources[index]
        if source["finished"] != 0:
            continue
        if source["ready"] == 0:
            look_ahead(feed, index)
            if source["hungry"] != 0:
                feed.state[NEEDS_DATA] = 1
                return -1
            if source["finished"] != 0:
                continue
        # a line that went back in time is due at once
        due_ns = max(source["next_ns"], feed.states[source["instrument"]]["last_recv_ns"])
        if due_ns < best_ns:
            best_ns = due_ns
            found = index
    return found


@kernel
def _end(feed, wires):
    """Everything is read: count what still waited, and promise that nothing comes any more."""
    for instrument in range(len(feed.states)):
        drop_pending(feed, wires, instrument)
    feed.state[DONE] = 1
    # SYNC POINT: pairs with load_acquire in every reader: the last record has been pushed.
    store_release(wires.clocks, CLOCK_FEED, INT64_MAX)
    store_release(wires.control, CONTROL_FEED_DONE, 1)


@kernel
def feed_step(feed, wires, instruments, session, until_ns, wait, max_messages):
    """Read up to `max_messages` lines in order of receive time and publish what is good.

    Parameters
    ----------
    feed : FeedMemory
    wires : Wires
    instruments, session : INSTRUMENT[n], SESSION[1]
    until_ns : int64, event time up to which lines may be read (INT64_MAX: all)
    wait : bool, True: a message waits until every ring has room, and for snapshots that were asked for; False: a ring
    without room misses it, counted
    max_messages : int64, bound of the batch

    Returns
    -------
    int64, lines read; 0 with feed.state[NEEDS_DATA] set when a source must be fed first, while a message or a snapshot
    waits for room, when nothing is due by `until_ns`, or at the end

    Notes
    -----
    Complexity: O(lines * sources). Promise: CLOCK_FEED, written before a message is pushed: nothing earlier comes any
    more. Twin: tests/reference/engine/feed.py
    """
    handled = np.int64(0)
    row = wires.gauges[session[0]["n_shards"] + FEED_ROW]
    if not publish(feed, wires, instruments, session, wait):
        return handled
    # Where it waits for room, a snapshot goes first: messages would take each place that becomes free, and a shard that
    # lost its place would be blind to the end. The next message waits as for a full ring, its time promised, so the
    # readers come to the end of what they have, and there is room (tests/unit/engine/test_feed.py).
    held = serve_snapshots(feed, wires, instruments, session) and wait
    while handled < max_messages and feed.state[DONE] == 0 and feed.state[NEEDS_DATA] == 0:
        index = _earliest(feed)
        if index < 0:
            if feed.state[NEEDS_DATA] == 0:
                _end(feed, wires)
            break
        source = feed.sources[index]
        due_ns = max(source["next_ns"], feed.states[source["instrument"]]["last_recv_ns"])
        clock = load_acquire(wires.clocks, CLOCK_FEED)
        promise = min(due_ns, until_ns)
        if promise > clock:
            # SYNC POINT: pairs with load_acquire in every reader: everything before this time has been pushed.
            store_release(wires.clocks, CLOCK_FEED, promise)
        if due_ns > until_ns or held:
            break
        if not record_line(feed, wires, source, wait):
            break
        take_line(feed, wires, source)
        source["ready"] = 0
        handled += 1
        if row[GAUGE_FEED_SPAN_START_NS] == 0:
            row[GAUGE_FEED_SPAN_START_NS] = due_ns
        row[GAUGE_FEED_SPAN_END_NS] = due_ns
        row[GAUGE_EVENT_TIME_NS] = due_ns
        if feed.state[OUT_COUNT] > 0 and not publish(feed, wires, instruments, session, wait):
            break
    row[GAUGE_FEED_MESSAGES] += handled
    row[GAUGE_ITEMS] += handled
    return handled
