"""Books whose snapshots come in the stream itself: Bybit, Kraken, Coinbase. Their rules, and the quotes made of them.

    Bybit      each change counts one on; a snapshot begins anew (u = 1 after a restart of the venue)
    Kraken     no ids: after each change the check sum of the ten best levels has to be the venue's; of a change that
               pushes a level out of the subscribed depth the venue says nothing more
    Coinbase   no ids: the messages of a connection are numbered, and a hole makes all its books stale (feed_live)

A change that does not fit leaves the book stale until the next snapshot, which has to be asked for by subscribing anew;
until then changes are refused. A snapshot that nobody asked for would turn a whole book back in time: it is refused.

The best quote is made of the book after each change of it, not taken from the venue's own channel of quotes: that one
runs beside the book, names no update of it, and could not be checked.
"""

import numpy as np

from bot4.engine.feed_depth import begin_book, is_crossed, is_one_sided
from bot4.engine.feed_memory import OUT_COUNT
from bot4.engine.feed_out import emit, go_stale
from bot4.jit import inlined, kernel
from bot4.kernels.book import book_depth, book_level, book_set
from bot4.kernels.checksum import book_checksum
from bot4.kernels.scan.scanned import ASKS, BIDS, CHECKSUM, IS_SNAPSHOT, LAST_ID, PREVIOUS_ID, RULE_STREAM, VENUE_NS
from bot4.model.enums import (
    FLAG_BOOK_NEWER,
    FLAG_LAST,
    INPUT_BAD_CHECKSUM,
    INPUT_BOOK_CROSSED,
    INPUT_DUPLICATE,
    INPUT_GAP,
    INPUT_NO_SNAPSHOT,
    INPUT_OK,
    INPUT_OUT_OF_ORDER,
    INPUT_ZERO,
    TICK_LEVEL,
    TICK_QUOTE,
)

RESTARTED = 1  # Bybit's first update id after a restart of the venue


@inlined
def _emit_quote(feed, instrument, ts_ns, lag_us):
    """The book's best levels as a quote, if they have changed. True if one was made."""
    state = feed.states[instrument]
    book = feed.books[instrument]
    bid, bid_lots = book_level(book, 1, 0)
    ask, ask_lots = book_level(book, -1, 0)
    state["quote_u"] = state["book_u"]
    quote = state["quote"]
    if quote[0] == bid and quote[1] == bid_lots and quote[2] == ask and quote[3] == ask_lots:
        return False
    quote[0] = bid
    quote[1] = bid_lots
    quote[2] = ask
    quote[3] = ask_lots
    emit(feed, instrument, TICK_QUOTE, FLAG_LAST | FLAG_BOOK_NEWER, ts_ns, lag_us, bid, bid_lots, ask, ask_lots)
    return True


@kernel
def _apply(feed, instrument, ts_ns, lag_us):
    """The scanned levels into the book and the message in hand; deeper ones than the venue keeps are taken out."""
    book = feed.books[instrument]
    state = feed.states[instrument]
    depth = state["listing"]["depth"]
    update = state["book_u"]
    for turn in range(2):
        side = np.int64(1 - 2 * turn)
        count = feed.message[BIDS] if side > 0 else feed.message[ASKS]
        prices = feed.prices[turn]
        lots = feed.lots[turn]
        for index in range(count):
            book_set(book, side, prices[index], lots[index])
            emit(feed, instrument, TICK_LEVEL, 0, ts_ns, lag_us, prices[index], lots[index], side, update)
        if depth > 0:
            for _ in range(count):
                held = book_depth(book, side)
                if held <= depth:
                    break
                price, _ = book_level(book, side, held - 1)
                book_set(book, side, price, 0)
                emit(feed, instrument, TICK_LEVEL, 0, ts_ns, lag_us, price, 0, side, update)


@inlined
def _fits(state, message):
    """INPUT_OK if the change continues the book, else why not."""
    if state["whole"] == 0:
        return np.int64(INPUT_NO_SNAPSHOT)
    if state["listing"]["rule"] != RULE_STREAM:
        return np.int64(INPUT_OK)
    if message[LAST_ID] == state["book_u"]:
        return np.int64(INPUT_DUPLICATE)
    if message[PREVIOUS_ID] == state["book_u"]:
        return np.int64(INPUT_OK)
    if message[LAST_ID] < state["book_u"] and message[LAST_ID] != RESTARTED:
        return np.int64(INPUT_OUT_OF_ORDER)
    return np.int64(INPUT_GAP)


@kernel
def _on_change(feed, wires, instrument, ts_ns, lag_us):
    state = feed.states[instrument]
    message = feed.message
    reason = _fits(state, message)
    if reason != INPUT_OK:
        if reason == INPUT_GAP or reason == INPUT_OUT_OF_ORDER:  # an old id: it, or the one that the book has, is wrong
            go_stale(feed, instrument, ts_ns)
        return reason
    book = feed.books[instrument]
    begun = feed.state[OUT_COUNT]
    state["book_u"] = message[LAST_ID] if state["listing"]["rule"] == RULE_STREAM else state["book_u"] + 1
    _apply(feed, instrument, ts_ns, lag_us)
    if is_crossed(book):
        reason = np.int64(INPUT_BOOK_CROSSED)
    elif is_one_sided(book):
        reason = np.int64(INPUT_ZERO)
    elif message[CHECKSUM] >= 0:
        wires.book_checks[instrument, 0] += 1
        if book_checksum(book, state["listing"]) == message[CHECKSUM]:
            wires.book_checks[instrument, 1] += 1
        else:
            reason = np.int64(INPUT_BAD_CHECKSUM)
    made = feed.state[OUT_COUNT] - begun
    if reason != INPUT_OK:
        state["event_no"] -= made  # nobody gets these levels
        feed.state[OUT_COUNT] = begun
        go_stale(feed, instrument, ts_ns)
        return reason
    state["book_venue_ns"] = message[VENUE_NS]
    wires.levels[instrument] += made
    if made > 0 and not _emit_quote(feed, instrument, ts_ns, lag_us):
        last = feed.out[begun + made - 1]
        last["flags"] = np.int64(last["flags"]) | FLAG_LAST
    return np.int64(INPUT_OK)


@kernel
def _on_whole_book(feed, wires, instrument, ts_ns, lag_us):
    state = feed.states[instrument]
    message = feed.message
    by_id = state["listing"]["rule"] == RULE_STREAM
    if state["whole"] != 0 and state["awaited"] == 0:
        if not by_id:
            go_stale(feed, instrument, ts_ns)
            return np.int64(INPUT_OUT_OF_ORDER)
        again = message[LAST_ID] == RESTARTED and message[VENUE_NS] > state["book_venue_ns"]
        if message[LAST_ID] <= state["book_u"] and not again:
            return np.int64(INPUT_DUPLICATE if message[LAST_ID] == state["book_u"] else INPUT_OUT_OF_ORDER)
    state["awaited"] = max(state["awaited"] - 1, 0)
    if not by_id:
        message[LAST_ID] = state["book_u"] + 1
    state["quote_u"] = -1  # it was of the book that is gone, whichever id that had
    begun = feed.state[OUT_COUNT]
    reason = begin_book(feed, wires, instrument, ts_ns, lag_us)
    if reason == INPUT_OK and message[CHECKSUM] >= 0:
        wires.book_checks[instrument, 0] += 1
        if book_checksum(feed.books[instrument], state["listing"]) == message[CHECKSUM]:
            wires.book_checks[instrument, 1] += 1
        else:
            state["event_no"] -= feed.state[OUT_COUNT] - begun
            feed.state[OUT_COUNT] = begun
            reason = np.int64(INPUT_BAD_CHECKSUM)
    if reason != INPUT_OK:
        go_stale(feed, instrument, ts_ns)
        return reason
    state["book_venue_ns"] = message[VENUE_NS]
    state["quote"][0] = 0  # so that it is told anew
    _emit_quote(feed, instrument, ts_ns, lag_us)
    return np.int64(INPUT_OK)


@kernel
def on_stream_book(feed, wires, instrument, ts_ns, lag_us):
    """Apply a snapshot or a change that came in the stream and put it into the message in hand.

    Parameters
    ----------
    feed : FeedMemory, whose `message`, `prices`, `lots` hold what was scanned
    wires : Wires, for the counters
    instrument, ts_ns, lag_us : int64

    Returns
    -------
    int64, INPUT_OK or why it is refused

    Notes
    -----
    Complexity: O(levels * log book). Invariant: a whole book is the venue's. Source: the venues' documentation of
    their books (see adapters/<venue>/parse). Twin: tests/reference/engine/feed_stream.py
    """
    if feed.message[IS_SNAPSHOT] != 0:
        return _on_whole_book(feed, wires, instrument, ts_ns, lag_us)
    return _on_change(feed, wires, instrument, ts_ns, lag_us)
