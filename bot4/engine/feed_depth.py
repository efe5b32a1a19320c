"""The depth book: snapshot, diffs in unbroken order, diffs that wait for a snapshot, the check against the best quote.

A diff takes the book from the update before its first one to its last one. Futures name the update before ("pu"),
spot counts without a hole (first - 1). A diff fits if that is the book's last update; the first one after a snapshot
may overlap it. Whatever does not fit, or cannot be read, leaves the book stale until a snapshot comes; so does a best
quote of the same update that says something else. Meanwhile diffs are kept, since a snapshot is older than the diffs
that arrive before it; they are counted when their fate is known. A book that was only silent goes on with them, where
the first of them continues it: no update is missing then.
"""

import numpy as np

from bot4.engine.feed_ids import ANEW, LEAPS, judge_update
from bot4.engine.feed_memory import (
    OUT_COUNT,
    OUT_RECORDS,
    PENDING_LEVELS,
    PENDING_MESSAGES,
    QUOTE_MEMORY,
)
from bot4.engine.feed_out import emit, go_stale
from bot4.jit import inlined, kernel
from bot4.kernels.book import book_best, book_clear, book_depth, book_level, book_set
from bot4.kernels.scan.scanned import ASKS, BIDS, FIRST_ID, LAST_ID, PREVIOUS_ID, RULE_FUTURES
from bot4.model.enums import (
    FLAG_LAST,
    FLAG_QUOTE_NEWER,
    INPUT_BEFORE_SNAPSHOT,
    INPUT_BOOK_CROSSED,
    INPUT_DUPLICATE,
    INPUT_GAP,
    INPUT_ID_LEAP,
    INPUT_NO_SNAPSHOT,
    INPUT_OK,
    INPUT_OUT_OF_ORDER,
    INPUT_UNLIKE_QUOTE,
    INPUT_ZERO,
    STATUS_CLEAR,
    STATUS_WHOLE,
    TICK_LEVEL,
    TICK_QUOTE,
    TICK_STATUS,
)

WAITING = -1  # instead of a reason: kept until a snapshot decides


@inlined
def remember_quote(state, update, bid, bid_lots, ask, ask_lots):
    """Keep a best quote, for the depth message with the same last update that may come later."""
    recent = state["recent"]
    slot = update & (QUOTE_MEMORY - 1)
    recent[slot, 0] = update
    recent[slot, 1] = bid
    recent[slot, 2] = bid_lots
    recent[slot, 3] = ask
    recent[slot, 4] = ask_lots


@kernel
def is_like_book(feed, wires, instrument, bid, bid_lots, ask, ask_lots):
    """Whether the venue's best quote and the rebuilt book, which speak of the same update, say the same; counted."""
    book = feed.books[instrument]
    wires.book_checks[instrument, 0] += 1
    our_bid, our_bid_lots = book_level(book, 1, 0)
    our_ask, our_ask_lots = book_level(book, -1, 0)
    same = our_bid == bid and our_bid_lots == bid_lots and our_ask == ask and our_ask_lots == ask_lots
    wires.book_checks[instrument, 1] += same
    return same


@inlined
def is_crossed(book):
    bid = book_best(book, 1)
    ask = book_best(book, -1)
    return bid > 0 and ask > 0 and bid >= ask


@inlined
def is_one_sided(book):
    """Whether a side has no level: nothing can be decided on such a book."""
    return book_best(book, 1) == 0 or book_best(book, -1) == 0


@inlined
def _order(state, before, last):
    """INPUT_OK if a diff from `before` to `last` continues the book, else why not."""
    known = state["book_u"]
    if state["fresh"] != 0:
        if last <= known:
            return np.int64(INPUT_BEFORE_SNAPSHOT)
        return np.int64(INPUT_OK) if before <= known else np.int64(INPUT_GAP)
    if last == known:
        return np.int64(INPUT_DUPLICATE)
    if last < known:
        return np.int64(INPUT_OUT_OF_ORDER)
    return np.int64(INPUT_OK) if before == known else np.int64(INPUT_GAP)


@kernel
def _finish(feed, wires, instrument, ts_ns, last, begun):
    """After the levels of a diff: crossed? unlike the quote of the same update? and flags."""
    state = feed.states[instrument]
    state["book_u"] = last
    state["fresh"] = 0
    made = feed.state[OUT_COUNT] - begun
    reason = np.int64(INPUT_OK)
    recent = state["recent"]
    slot = last & (QUOTE_MEMORY - 1)
    if is_crossed(feed.books[instrument]):
        reason = np.int64(INPUT_BOOK_CROSSED)
    elif is_one_sided(feed.books[instrument]):
        reason = np.int64(INPUT_ZERO)
    elif recent[slot, 0] == last and not is_like_book(
        feed, wires, instrument, recent[slot, 1], recent[slot, 2], recent[slot, 3], recent[slot, 4]
    ):
        reason = np.int64(INPUT_UNLIKE_QUOTE)
    if reason != INPUT_OK:
        state["event_no"] -= made  # nobody gets these levels
        feed.state[OUT_COUNT] = begun
        go_stale(feed, instrument, ts_ns)
        return reason
    if made > 0:
        wires.levels[instrument] += made
        newer = FLAG_QUOTE_NEWER if state["quote_u"] > last else 0
        flags = np.int64(feed.out[begun + made - 1]["flags"])
        feed.out[begun + made - 1]["flags"] = flags | FLAG_LAST | newer
    return np.int64(INPUT_OK)


# --- diffs that wait -------------------------------------------------------------------------------------------------


@kernel
def drop_pending(feed, wires, instrument):
    """Diffs that waited for a snapshot in vain."""
    state = feed.states[instrument]
    wires.refused[instrument, TICK_LEVEL, INPUT_NO_SNAPSHOT] += state["pending_messages"]
    state["pending_messages"] = 0
    state["pending_levels"] = 0


@kernel
def begin_anew(feed, wires, instrument, ts_ns):
    """The update ids count from somewhere else: what is known by the ones before is old."""
    go_stale(feed, instrument, ts_ns)
    drop_pending(feed, wires, instrument)
    feed.states[instrument]["quote_u"] = -1
    feed.states[instrument]["recent"][:, 0] = -1


@kernel
def _keep(feed, wires, instrument, first, last, before):
    """Keep a diff until a snapshot comes; when there is no room, all that waited are given up."""
    state = feed.states[instrument]
    bids = feed.message[BIDS]
    asks = feed.message[ASKS]
    if state["pending_messages"] == PENDING_MESSAGES or state["pending_levels"] + bids + asks > PENDING_LEVELS:
        drop_pending(feed, wires, instrument)
    row = state["pending"][state["pending_messages"]]
    at = state["pending_levels"]
    quote = state["quote"]
    moved = False  # at the best levels as they were last told: the venue owes a quote
    row[0] = first
    row[1] = last
    row[2] = before
    row[3] = at
    row[4] = bids + asks
    for index in range(bids):
        state["pending_prices"][at + index] = feed.prices[0, index]
        moved = moved or feed.prices[0, index] >= quote[0]
        state["pending_lots"][at + index] = feed.lots[0, index]
    at += bids
    for index in range(asks):
        state["pending_prices"][at + index] = -feed.prices[1, index]
        moved = moved or feed.prices[1, index] <= quote[2]
        state["pending_lots"][at + index] = feed.lots[1, index]
    state["pending_messages"] += 1
    state["pending_levels"] += bids + asks
    if moved and quote[0] > 0 and last > state["quote_u"]:
        state["quote_owed"] = 1


@kernel
def _apply_pending(feed, wires, instrument, ts_ns, row):
    """One diff that waited; INPUT_* of its fate."""
    state = feed.states[instrument]
    last = row[1]
    if state["whole"] == 0:
        return np.int64(INPUT_NO_SNAPSHOT)
    reason = _order(state, row[2], last)
    if reason == INPUT_BEFORE_SNAPSHOT or reason == INPUT_DUPLICATE or reason == INPUT_OUT_OF_ORDER:
        return reason
    if reason == INPUT_OK and feed.state[OUT_COUNT] + row[4] + 1 > OUT_RECORDS:
        reason = np.int64(INPUT_NO_SNAPSHOT)  # more than one message can carry
    if reason != INPUT_OK:
        go_stale(feed, instrument, ts_ns)
        return reason
    begun = feed.state[OUT_COUNT]
    for index in range(row[3], row[3] + row[4]):
        price = state["pending_prices"][index]
        lots = state["pending_lots"][index]
        side = np.int64(1) if price > 0 else np.int64(-1)
        book_set(feed.books[instrument], side, side * price, lots)
        emit(feed, instrument, TICK_LEVEL, 0, ts_ns, 0, side * price, lots, side, last)
    return _finish(feed, wires, instrument, ts_ns, last, begun)


@kernel
def _take_pending(feed, wires, instrument, ts_ns):
    """Apply the diffs that waited for this snapshot; each is counted now."""
    state = feed.states[instrument]
    for message in range(state["pending_messages"]):
        reason = _apply_pending(feed, wires, instrument, ts_ns, state["pending"][message])
        if reason == INPUT_OK:
            wires.messages[instrument, TICK_LEVEL] += 1
        else:
            wires.refused[instrument, TICK_LEVEL, reason] += 1
    state["pending_messages"] = 0
    state["pending_levels"] = 0


@kernel
def _tell_whole(feed, instrument, ts_ns, lag_us, update):
    """The end of a book that was begun anew: a quote that is newer than it, and that it is whole."""
    state = feed.states[instrument]
    if state["quote_u"] > update:
        quote = state["quote"]
        emit(feed, instrument, TICK_QUOTE, 0, ts_ns, lag_us, quote[0], quote[1], quote[2], quote[3])
    emit(feed, instrument, TICK_STATUS, FLAG_LAST, ts_ns, lag_us, STATUS_WHOLE, update, 0, 0)


@kernel
def _joined(state, update, fresh):
    """The last update that a book of `update` and the diffs that wait for it come to, -1 where one between is missing.

    fresh : bool, the book is a snapshot: the first diff behind it may overlap it
    """
    known = np.int64(update)
    for message in range(state["pending_messages"]):
        row = state["pending"][message]
        if row[1] <= known:
            continue
        if row[2] > known or (row[2] != known and not fresh):
            return np.int64(-1)
        known = row[1]
        fresh = False
    return known


@kernel
def judge_body(state, update):
    """INPUT_OK if a snapshot that was asked for may begin a stale book, else why not.

    It may have been asked for long ago, on another connection. So a diff has to wait, and the snapshot and what waits
    have to follow each other without a hole; if it is newer than all of them, the next one continues it.
    """
    if state["pending_messages"] == 0:
        return np.int64(INPUT_NO_SNAPSHOT)
    return np.int64(INPUT_OK if _joined(state, update, True) >= 0 else INPUT_GAP)


@kernel
def go_on(feed, wires, instrument, ts_ns):
    """Take the diffs that came to a book that was only silent: where they continue it, it is whole and told anew.

    Parameters
    ----------
    feed : FeedMemory, nothing in hand
    wires : Wires, for the counters
    instrument, ts_ns : int64

    Notes
    -----
    Complexity: O(levels that wait). Where they do not continue it, it was more than silent: a snapshot has to come.
    Twin: tests/sim/test_books_by_hand.py holds every whole book against the venue's
    """
    state = feed.states[instrument]
    last = _joined(state, state["book_u"], state["fresh"] != 0)
    if last == state["book_u"]:
        return
    state["silent"] = 0
    if last < 0:
        return
    state["whole"] = 1
    begun = feed.state[OUT_COUNT]
    _take_pending(feed, wires, instrument, ts_ns)
    state["event_no"] -= feed.state[OUT_COUNT] - begun  # who was told that it is stale begins it anew
    feed.state[OUT_COUNT] = begun
    if state["whole"] == 0:
        return
    emit(feed, instrument, TICK_STATUS, 0, ts_ns, 0, STATUS_CLEAR, last, 0, 0)
    book = feed.books[instrument]
    for turn in range(2):
        side = np.int64(1 - 2 * turn)
        for level in range(book_depth(book, side)):
            price, lots = book_level(book, side, level)
            emit(feed, instrument, TICK_LEVEL, 0, ts_ns, 0, price, lots, side, last)
    _tell_whole(feed, instrument, ts_ns, 0, last)


# --- diffs and snapshots ---------------------------------------------------------------------------------------------


@kernel
def on_depth(feed, wires, instrument, ts_ns, lag_us):
    """Apply a diff to the book and put its levels into the message in hand.

    Parameters
    ----------
    feed : FeedMemory, whose `message`, `prices`, `lots` hold the scanned diff
    wires : Wires, for the counters
    instrument, ts_ns, lag_us : int64

    Returns
    -------
    int64, INPUT_OK, why it is refused, or WAITING

    Notes
    -----
    Complexity: O(levels * log book). Invariant: while the book is whole, it has seen every update up to `book_u`.
    Source: Binance, How to manage a local order book correctly. Twin: tests/reference/engine/feed.py
    """
    state = feed.states[instrument]
    first = feed.message[FIRST_ID]
    last = feed.message[LAST_ID]
    before = first - 1
    if state["listing"]["rule"] == RULE_FUTURES:
        before = feed.message[PREVIOUS_ID]
    if first > last or before >= last:
        go_stale(feed, instrument, ts_ns)
        return np.int64(INPUT_OUT_OF_ORDER)
    verdict = judge_update(state, last, ts_ns)
    if verdict == LEAPS:
        go_stale(feed, instrument, ts_ns)
        return np.int64(INPUT_ID_LEAP)
    if verdict == ANEW:
        begin_anew(feed, wires, instrument, ts_ns)
    if state["whole"] == 0:
        _keep(feed, wires, instrument, first, last, before)
        return np.int64(WAITING)
    reason = _order(state, before, last)
    if reason != INPUT_OK:
        if reason == INPUT_GAP:
            go_stale(feed, instrument, ts_ns)
        return reason
    book = feed.books[instrument]
    begun = feed.state[OUT_COUNT]
    for turn in range(2):
        side = np.int64(1 - 2 * turn)
        count = feed.message[BIDS] if side > 0 else feed.message[ASKS]
        prices = feed.prices[turn]
        lots = feed.lots[turn]
        for index in range(count):
            book_set(book, side, prices[index], lots[index])
            emit(feed, instrument, TICK_LEVEL, 0, ts_ns, lag_us, prices[index], lots[index], side, last)
    return _finish(feed, wires, instrument, ts_ns, last, begun)


@kernel
def begin_book(feed, wires, instrument, ts_ns, lag_us):
    """The scanned snapshot becomes the book: INPUT_OK, INPUT_ZERO (a side is empty) or INPUT_BOOK_CROSSED."""
    state = feed.states[instrument]
    update = feed.message[LAST_ID]
    bids = feed.message[BIDS]
    asks = feed.message[ASKS]
    best_bid = np.int64(0)
    best_ask = np.int64(0)
    for index in range(bids):
        if feed.lots[0, index] > 0:
            best_bid = max(best_bid, feed.prices[0, index])
    for index in range(asks):
        if feed.lots[1, index] > 0 and (best_ask == 0 or feed.prices[1, index] < best_ask):
            best_ask = feed.prices[1, index]
    if best_bid == 0 or best_ask == 0:
        return np.int64(INPUT_ZERO)
    if best_bid >= best_ask:
        return np.int64(INPUT_BOOK_CROSSED)
    book = feed.books[instrument]
    book_clear(book)
    emit(feed, instrument, TICK_STATUS, 0, ts_ns, lag_us, STATUS_CLEAR, update, 0, 0)
    for turn in range(2):
        side = np.int64(1 - 2 * turn)
        for index in range(bids if side > 0 else asks):
            price = feed.prices[turn, index]
            lots = feed.lots[turn, index]
            book_set(book, side, price, lots)
            emit(feed, instrument, TICK_LEVEL, 0, ts_ns, lag_us, price, lots, side, update)
    wires.levels[instrument] += bids + asks
    state["book_u"] = update
    state["whole"] = 1
    state["silent"] = 0
    state["fresh"] = 1
    _tell_whole(feed, instrument, ts_ns, lag_us, update)
    return np.int64(INPUT_OK)


@kernel
def on_snapshot(feed, wires, instrument, ts_ns, lag_us):
    """Begin the book anew from a snapshot, then take the diffs that waited for it.

    Parameters
    ----------
    feed : FeedMemory, whose `message`, `prices`, `lots` hold the scanned snapshot
    wires : Wires, for the counters
    instrument, ts_ns, lag_us : int64

    Returns
    -------
    int64, INPUT_OK or why it is refused: INPUT_ID_LEAP, INPUT_OUT_OF_ORDER (older than the book), INPUT_ZERO (a side is
    empty), INPUT_BOOK_CROSSED

    Notes
    -----
    Complexity: O(levels). A refused snapshot leaves a whole book as it was. Twin: tests/reference/engine/feed.py
    """
    state = feed.states[instrument]
    update = feed.message[LAST_ID]
    verdict = judge_update(state, update, ts_ns)
    if verdict == LEAPS:
        return np.int64(INPUT_ID_LEAP)
    if verdict == ANEW:
        begin_anew(feed, wires, instrument, ts_ns)
    if state["whole"] != 0 and update < state["book_u"]:
        return np.int64(INPUT_OUT_OF_ORDER)
    reason = begin_book(feed, wires, instrument, ts_ns, lag_us)
    if reason == INPUT_OK:
        _take_pending(feed, wires, instrument, ts_ns)
    return reason
