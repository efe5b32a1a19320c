"""The feed on live connections, its compiled part: frames of websockets in, the same ticks out as of a replay.

A connection has a buffer that its socket is read into; frames are found and messages scanned where they lie. What a
scanner does not know goes to the typed decoder, and parts of messages to whoever holds the socket: the step stops there
and says why (`needs`). Of pings it notes the last one, which alone has to be answered (RFC 6455, 5.5.3).

Who may speak of an instrument: of a venue whose diffs bear ids, any of its connections, since the ids tell repeats. Of
a book of the others the one that brought its snapshot (`owners`); a connection that replaces another one takes over
with its own snapshot, and what the old one still sends is passed over.

A message that cannot be read may have been a change of any book of its connection, so they all go stale; so does a hole
in the numbers of a connection whose venue counts its messages.
"""

from typing import NamedTuple

import numpy as np

from bot4.atomics import store_release
from bot4.engine.feed_depth import drop_pending, go_on, judge_body
from bot4.engine.feed_memory import FeedMemory
from bot4.engine.feed_message import take_scanned
from bot4.engine.feed_out import go_stale, publish, publish_here, serve_snapshots
from bot4.engine.feed_raw import record_message
from bot4.engine.feed_scan import scan_any
from bot4.jit import inlined, kernel
from bot4.kernels.scan.binance import scan_message
from bot4.kernels.scan.frame import FRAME_DAMAGED, FRAME_PART, PING, PONG, TEXT, next_frame
from bot4.kernels.scan.scanned import (
    INSTRUMENT,
    IS_SNAPSHOT,
    KIND,
    LAST_ID,
    RULE_STREAM,
    SEQUENCE,
    Scanned,
)
from bot4.kernels.scan.token import NEWLINE
from bot4.model.enums import INPUT_OK, INPUT_UNKNOWN_STREAM, INPUT_UNPARSABLE, TICK_LEVEL, TICK_MARK, TICK_TRADE
from bot4.shm.layout import CLOCK_FEED
from bot4.shm.wires import (
    FEED_ROW,
    GAUGE_EVENT_TIME_NS,
    GAUGE_FEED_MESSAGES,
    GAUGE_FEED_SPAN_END_NS,
    GAUGE_FEED_SPAN_START_NS,
    GAUGE_ITEMS,
)

CONNECTION_BYTES = 1 << 24  # of a connection's buffer; the largest snapshot known has 6 MB
MAX_MESSAGE = CONNECTION_BYTES - 64

# why the step stopped
NEEDS_NOTHING = 0
NEEDS_ANSWER = 1  # the end, or a message in parts or of bytes: see `opcode`, `final`
NEEDS_DECODER = 2  # a message that the scanner does not know
NEEDS_CLOSING = 3  # a damaged frame: nothing behind it can be trusted

MOST_OLD = 1_000  # messages in a row: so many of the past are a venue that numbers anew
MOST_AHEAD = 1_000_000  # a number that leaps so far is damaged: everything behind it would look old

HEARS = 1  # something: trades, quotes, marks
HEARS_BOOK = 2  # changes of its book too

CONNECTION = np.dtype(
    [
        ("scanner", "i8"),  # see feed_scan
        ("venue", "i8"),  # row of the directories
        ("at", "i8"),  # next byte of the buffer
        ("filled", "i8"),  # bytes in it
        ("sequence", "i8"),  # number of the last message, -1: none yet
        ("needs", "i8"),
        ("opcode", "i8"),  # of the frame that it stopped at
        ("final", "i8"),
        ("first", "i8"),  # of its payload
        ("last", "i8"),
        ("messages", "i8"),  # taken, good or bad
        ("silent", "i8"),  # good ones without market data
        ("passed_over", "i8"),  # of a connection that has been replaced, or a repeat by number
        ("unreadable", "i8"),  # that no instrument could be told of
        ("refused", "i8"),  # that could not be read, those among them
        ("holes", "i8"),  # in the numbers
        ("old", "i8"),  # messages in a row whose number had been before
        ("parted", "i8"),  # 1: a message in parts has begun and not ended
        ("ping_first", "i8"),  # payload of the last ping
        ("ping_last", "i8"),  # 0: none is to be answered
    ]
)


class LiveMemory(NamedTuple):
    """All that the live step works on; process-private."""

    feed: FeedMemory
    connections: np.ndarray  # CONNECTION[n]
    buffers: np.ndarray  # uint8[n, CONNECTION_BYTES]
    members: np.ndarray  # int64[n, instruments] what the connection brings of the instrument: HEARS, HEARS_BOOK
    owners: np.ndarray  # int64[instruments] the connection that speaks of it, -1: none
    listings: np.ndarray  # LISTING[instruments]
    directories: np.ndarray  # int64[venues, size]


@kernel
def _stale_all(live, wires, instruments, session, slot, ts_ns):
    """Every book that this connection keeps is whole no more."""
    feed = live.feed
    for instrument in range(len(live.owners)):
        if live.members[slot, instrument] != HEARS_BOOK:
            continue
        state = feed.states[instrument]
        if state["listing"]["rule"] >= RULE_STREAM and live.owners[instrument] != slot:
            continue
        go_stale(feed, instrument, max(ts_ns, state["last_recv_ns"]))
        publish(feed, wires, instruments, session, False)


@inlined
def _is_owner(live, slot, instrument):
    """Whether the message in hand may be taken; a snapshot makes its connection the owner.

    Ids and hashes tell repeated trades. A mark is no part of the book: what it says holds until it is told otherwise,
    so none may be missed for the book's sake.
    """
    message = live.feed.message
    state = live.feed.states[instrument]
    if live.members[slot, instrument] == 0:
        return False
    if state["listing"]["rule"] < RULE_STREAM or live.owners[instrument] == slot:
        return True
    if message[KIND] == TICK_TRADE or message[KIND] == TICK_MARK:
        return True
    if message[KIND] == TICK_LEVEL and message[IS_SNAPSHOT] != 0:
        live.owners[instrument] = slot
        state["awaited"] += 1
        return True
    return False


@inlined
def _take(live, wires, instruments, session, slot, ts_ns, reason):
    """The message that was scanned or filled in: numbers of the connection, owner, judgement, publication."""
    feed = live.feed
    row = live.connections[slot]
    message = feed.message
    row["refused"] += reason != INPUT_OK
    number = message[SEQUENCE]
    if number >= 0:
        last = row["sequence"]
        if last >= 0 and number <= last:
            row["passed_over"] += 1
            row["old"] += 1
            if row["old"] > MOST_OLD:
                row["needs"] = NEEDS_CLOSING
            return
        row["sequence"] = number
        row["old"] = 0
        if last >= 0 and number - last > MOST_AHEAD:
            row["needs"] = NEEDS_CLOSING
        if last >= 0 and number != last + 1:
            row["holes"] += 1
            _stale_all(live, wires, instruments, session, slot, ts_ns)
    instrument = message[INSTRUMENT]
    if instrument < 0:
        if reason == INPUT_OK:
            row["silent"] += 1
        else:
            row["unreadable"] += 1
            _stale_all(live, wires, instruments, session, slot, ts_ns)
        return
    if message[KIND] == 0 and reason == INPUT_OK:
        row["silent"] += 1
        return
    if reason == INPUT_OK and not _is_owner(live, slot, instrument):
        row["passed_over"] += 1
        return
    state = feed.states[instrument]
    at_ns = max(ts_ns, state["last_recv_ns"])
    take_scanned(feed, wires, instrument, at_ns, reason, False)
    if reason != INPUT_OK and state["listing"]["rule"] >= RULE_STREAM and live.owners[instrument] == slot:
        go_stale(feed, instrument, at_ns)  # whatever it was, it is lost
    publish_here(feed, wires, instruments, session, False)


@kernel
def take_filled(live, wires, instruments, session, slot, ts_ns, reason):
    """One event that the typed decoder has read, filled into the feed's message; arguments as of `live_step`.

    Notes
    -----
    Complexity: O(levels). Twin: tests/reference/engine/feed_stream.py
    """
    _take(live, wires, instruments, session, slot, ts_ns, reason)


@kernel
def take_body(live, wires, instruments, session, instrument, text, size, ts_ns):
    """A snapshot that was asked for by REST: text[:size] is its body, text[size] a newline. INPUT_* of its fate.

    Notes
    -----
    Complexity: O(length). Twin: tests/reference/engine/feed.py
    """
    feed = live.feed
    listing = live.listings[instrument]
    record_message(wires, instrument, ts_ns, text, np.int64(0), size)
    reason = scan_message(text, np.int64(0), size + 1, listing, feed.message, feed.prices, feed.lots)
    if reason == INPUT_OK and feed.message[IS_SNAPSHOT] == 0:
        reason = np.int64(INPUT_UNKNOWN_STREAM)
    if reason == INPUT_OK and feed.states[instrument]["whole"] == 0:
        reason = judge_body(feed.states[instrument], feed.message[LAST_ID])
    take_scanned(feed, wires, instrument, max(ts_ns, feed.states[instrument]["last_recv_ns"]), reason, False)
    publish(feed, wires, instruments, session, False)
    return reason


@kernel
def forget_connection(live, wires, instruments, session, slot, ts_ns):
    """The connection is gone: books of which it was the last to speak go stale; its row is free.

    Notes
    -----
    Complexity: O(instruments * connections). Twin: tests/reference/engine/feed_stream.py
    """
    feed = live.feed
    for instrument in range(len(live.owners)):
        had_book = live.members[slot, instrument] == HEARS_BOOK
        live.members[slot, instrument] = 0
        others = np.int64(0)
        for other in range(len(live.connections)):
            others += live.members[other, instrument] == HEARS_BOOK
        state = feed.states[instrument]
        owned = live.owners[instrument] == slot
        if owned:
            live.owners[instrument] = -1
        if had_book and others == 0:
            drop_pending(feed, wires, instrument)
            state["quote_owed"] = 0
        if owned or (had_book and others == 0):
            state["awaited"] = 0  # what it was asked for does not come any more
        if owned or (had_book and state["listing"]["rule"] < RULE_STREAM and others == 0):
            go_stale(feed, instrument, max(ts_ns, state["last_recv_ns"]))
            publish(feed, wires, instruments, session, False)


@kernel
def set_halted(live, wires, instruments, session, instrument, bit, halted, ts_ns):
    """The venue has said whether an instrument is traded. What is not has no book, and nothing of it is taken.

    Parameters
    ----------
    live, wires, instruments, session : as of `live_step`
    instrument : int64
    bit : int64, HALTED_*: what is not traded
    halted : bool
    ts_ns : int64

    Notes
    -----
    Complexity: O(1). Twin: tests/reference/engine/feed_stream.py
    """
    feed = live.feed
    state = feed.states[instrument]
    if not halted:
        state["halted"] &= ~bit
        return
    state["halted"] |= bit
    drop_pending(feed, wires, instrument)
    go_stale(feed, instrument, max(ts_ns, state["last_recv_ns"]))
    publish(feed, wires, instruments, session, False)


@kernel
def check_silence(live, wires, instruments, session, now_ns, limits):
    """Books that have not changed for longer than their limit are stale; how many went so.

    Those of diffs with ids go on once they change again: the ids tell that nothing is missing.

    Parameters
    ----------
    live, wires, instruments, session : as of `live_step`
    now_ns : int64
    limits : int64[instruments], ns; where the venue sends quotes of its own, they fall under it too

    Notes
    -----
    Complexity: O(instruments). Twin: tests/reference/engine/feed_stream.py
    """
    feed = live.feed
    found = np.int64(0)
    for instrument in range(len(limits)):
        state = feed.states[instrument]
        by_diffs = state["listing"]["rule"] < RULE_STREAM
        if state["whole"] == 0 and state["silent"] == 0:
            continue
        heard_ns = state["book_ns"]
        if by_diffs:
            heard_ns = min(heard_ns, state["quote_ns"])
        at_ns = max(now_ns, state["last_recv_ns"])
        if now_ns - heard_ns <= limits[instrument]:
            if state["silent"] != 0:
                go_on(feed, wires, instrument, at_ns)
                publish(feed, wires, instruments, session, False)
        elif state["whole"] != 0:
            found += 1
            go_stale(feed, instrument, at_ns)
            state["silent"] = by_diffs
            publish(feed, wires, instruments, session, False)
    return found


@kernel
def promise(clocks, now_ns):
    """Nothing earlier comes any more; once a turn, after everything that had arrived has been published.

    Notes
    -----
    Complexity: O(1). Twin: none, one store
    """
    # SYNC POINT: pairs with load_acquire in every reader: everything before this time has been pushed.
    store_release(clocks, CLOCK_FEED, now_ns)


@kernel
def answer_readers(live, wires, instruments, session):
    """Snapshots for readers that missed records: between messages."""
    serve_snapshots(live.feed, wires, instruments, session)


@kernel
def live_step(live, wires, instruments, session, slot, ts_ns, max_messages):
    """Take the messages that lie in the buffer of one connection.

    Parameters
    ----------
    live : LiveMemory
    wires : Wires
    instruments, session : INSTRUMENT[n], SESSION[1]
    slot : int64, the connection
    ts_ns : int64, when its bytes were received
    max_messages : int64, bound of the batch

    Returns
    -------
    int64, messages taken. It stops at the end of what is there, after the batch, or where `needs` is set; the frame
    that it stopped at has been passed.

    Notes
    -----
    Complexity: O(bytes). Invariant: no byte behind what has been received is read, but for one that it writes itself.
    Twin: tests/reference/engine/feed_stream.py
    """
    feed = live.feed
    row = live.connections[slot]
    text = live.buffers[slot]
    scanned = Scanned(feed.message, feed.trades, feed.prices, feed.lots)
    directory = live.directories[row["venue"]]
    row["needs"] = NEEDS_NOTHING
    handled = np.int64(0)
    while handled < max_messages:
        found, opcode, final, first, last = next_frame(text, row["at"], row["filled"], MAX_MESSAGE)
        if found == FRAME_PART:
            break
        row["opcode"] = opcode
        row["final"] = final
        row["first"] = first
        row["last"] = last
        if found == FRAME_DAMAGED:
            row["needs"] = NEEDS_CLOSING
            break
        row["at"] = last
        handled += 1
        if opcode == PING:
            row["ping_first"] = first
            row["ping_last"] = last
            continue
        if opcode == PONG:
            continue
        if opcode != TEXT or not final or row["parted"] != 0:
            row["needs"] = NEEDS_ANSWER
            break
        behind = text[last]
        text[last] = NEWLINE  # the scanners read until there, never further
        reason = scan_any(row["scanner"], text, first, last, directory, live.listings, scanned)
        text[last] = behind
        if reason == INPUT_UNPARSABLE or reason == INPUT_UNKNOWN_STREAM:
            row["needs"] = NEEDS_DECODER
            break
        row["messages"] += 1
        if len(wires.raw) > 0:  # a call copies its arguments
            source = feed.message[INSTRUMENT]
            record_message(wires, source if source >= 0 else len(live.owners) + row["venue"], ts_ns, text, first, last)
        _take(live, wires, instruments, session, slot, ts_ns, reason)
        if row["needs"] != NEEDS_NOTHING:
            break
    gauges = wires.gauges[session[0]["n_shards"] + FEED_ROW]
    if handled > 0:
        if gauges[GAUGE_FEED_SPAN_START_NS] == 0:
            gauges[GAUGE_FEED_SPAN_START_NS] = ts_ns
        gauges[GAUGE_FEED_SPAN_END_NS] = ts_ns
        gauges[GAUGE_EVENT_TIME_NS] = ts_ns
        gauges[GAUGE_FEED_MESSAGES] += handled
        gauges[GAUGE_ITEMS] += handled
    return handled
