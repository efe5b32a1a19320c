"""One line of a source: scanned, validated by kind, turned into the message in hand, counted as accepted or refused."""

import numpy as np

from bot4.engine.feed_depth import WAITING, begin_anew, is_like_book, on_depth, on_snapshot, remember_quote
from bot4.engine.feed_ids import ANEW, GOES_ON, LEAPS, judge_trade, judge_update
from bot4.engine.feed_memory import HASHES, OUT_COUNT
from bot4.engine.feed_out import emit, go_stale
from bot4.engine.feed_stream import on_stream_book
from bot4.engine.feed_time import is_near, judge_time, sent_ns_of
from bot4.jit import inlined, kernel
from bot4.kernels.scan.binance import scan_message
from bot4.kernels.scan.scanned import (
    ABSENT,
    ASK,
    ASK_LOTS,
    ASKS,
    BID,
    BID_LOTS,
    BIDS,
    BUYER_MAKER,
    EVENT_MS,
    INDEX,
    IS_SNAPSHOT,
    KIND,
    LAST_ID,
    LINE_END,
    MARK,
    OFF_MARKET,
    PRICE,
    QTY,
    RATE,
    RULE_STREAM,
    TIME_MS,
    TRADE_HASHED,
    TRADE_ID,
    TRADE_NS,
    TRADE_NUMBER,
    TRADE_OFF_MARKET,
    TRADE_PRICE,
    TRADE_QTY,
    TRADE_SIDE,
    TRADES,
    VENUE_NS,
)
from bot4.kernels.scan.token import find_newline
from bot4.model.enums import (
    FLAG_BOOK_NEWER,
    FLAG_LAST,
    INPUT_CROSSED,
    INPUT_DUPLICATE,
    INPUT_HALTED,
    INPUT_ID_LEAP,
    INPUT_NON_MARKET_TRADE,
    INPUT_OK,
    INPUT_OUT_OF_ORDER,
    INPUT_OVERFLOW,
    INPUT_SPIKE,
    INPUT_TIME_BACK,
    INPUT_UNKNOWN_STREAM,
    INPUT_UNPARSABLE,
    INPUT_VENUE_TIME,
    INPUT_WRONG_SYMBOL,
    TICK_LEVEL,
    TICK_MARK,
    TICK_QUOTE,
    TICK_TRADE,
)

MAX_MS = 9_000_000_000_000  # 2255; times in ns fit
BPS = 10_000
LAG_LIMIT_US = 2_000_000_000


@inlined
def _lag_us(message, ts_ns):
    """Venue's own time of the message minus its receive time, us; 0 where it sends none."""
    venue_ns = message[VENUE_NS]
    if venue_ns <= 0:
        venue_ms = message[EVENT_MS]
        if venue_ms <= 0 or venue_ms > MAX_MS:
            return np.int64(0)
        venue_ns = venue_ms * 1_000_000
    lag = (venue_ns - ts_ns) // 1_000
    return min(max(lag, np.int64(-LAG_LIMIT_US)), np.int64(LAG_LIMIT_US))


@inlined
def _is_spike(state, twice):
    """Whether twice a price is further from the last quote's mid than anybody believes."""
    quote = state["quote"]
    known = quote[0] + quote[2]
    return state["spike_bps"] > 0 and known > 0 and abs(twice - known) * BPS > known * state["spike_bps"]


@inlined
def _is_unheard_of(state, twice):
    """A quote's spike is believed once a second one bears it out: the market may really have moved."""
    if not _is_spike(state, twice):
        state["spike_at"] = 0
        return False
    before = state["spike_at"]
    state["spike_at"] = twice
    if before > 0 and abs(twice - before) * BPS <= before * state["spike_bps"]:
        state["spike_at"] = 0
        return False
    return True


@inlined
def _on_quote(feed, wires, instrument, ts_ns):
    message = feed.message
    state = feed.states[instrument]
    update = message[LAST_ID]
    bid = message[BID]
    bid_lots = message[BID_LOTS]
    ask = message[ASK]
    ask_lots = message[ASK_LOTS]
    verdict = judge_update(state, update, ts_ns)
    if verdict == LEAPS:
        return np.int64(INPUT_ID_LEAP)
    if verdict == ANEW:
        begin_anew(feed, wires, instrument, ts_ns)
    if update == state["quote_u"]:
        return np.int64(INPUT_DUPLICATE)
    if update < state["quote_u"]:
        return np.int64(INPUT_OUT_OF_ORDER)
    if bid >= ask:
        return np.int64(INPUT_CROSSED)
    if _is_unheard_of(state, bid + ask):
        return np.int64(INPUT_SPIKE)
    quote = state["quote"]
    quote[0] = bid
    quote[1] = bid_lots
    quote[2] = ask
    quote[3] = ask_lots
    state["quote_u"] = update
    state["quote_ns"] = ts_ns
    state["quote_owed"] = 0
    remember_quote(state, update, bid, bid_lots, ask, ask_lots)
    flags = np.int64(FLAG_LAST)
    if state["whole"] != 0 and update == state["book_u"]:
        if not is_like_book(feed, wires, instrument, bid, bid_lots, ask, ask_lots):
            go_stale(feed, instrument, ts_ns)
    if state["whole"] != 0 and update <= state["book_u"]:
        flags |= FLAG_BOOK_NEWER
    emit(feed, instrument, TICK_QUOTE, flags, ts_ns, _lag_us(message, ts_ns), bid, bid_lots, ask, ask_lots)
    return np.int64(INPUT_OK)


@inlined
def _on_trade(feed, instrument, ts_ns):
    message = feed.message
    state = feed.states[instrument]
    trade_id = message[TRADE_ID]
    if message[OFF_MARKET] != 0:
        return np.int64(INPUT_NON_MARKET_TRADE)
    verdict = judge_trade(state, trade_id, ts_ns)
    if verdict == LEAPS:
        return np.int64(INPUT_ID_LEAP)
    if verdict == ANEW:
        state["last_trade_id"] = -1
    if trade_id == state["last_trade_id"]:
        return np.int64(INPUT_DUPLICATE)
    if trade_id < state["last_trade_id"]:
        return np.int64(INPUT_OUT_OF_ORDER)
    if _is_spike(state, 2 * message[PRICE]):
        return np.int64(INPUT_SPIKE)
    state["last_trade_id"] = trade_id
    side = np.int64(-1) if message[BUYER_MAKER] != 0 else np.int64(1)
    lag_us = _lag_us(message, ts_ns)
    emit(feed, instrument, TICK_TRADE, FLAG_LAST, ts_ns, lag_us, message[PRICE], message[QTY], trade_id, side)
    return np.int64(INPUT_OK)


@inlined
def _is_repeated(state, number):
    """Whether a trade with that hash was among the last ones; remembers it."""
    hashes = state["hashes"]
    for index in range(HASHES):
        if hashes[index] == number:
            return True
    hashes[state["hashed"] % HASHES] = number
    state["hashed"] += 1
    return False


@inlined
def _judge_one(state, clock, trade, ts_ns):
    """INPUT_OK or why one trade of several is refused."""
    if trade[TRADE_OFF_MARKET] != 0:
        return np.int64(INPUT_NON_MARKET_TRADE)
    if not is_near(state, clock, trade[TRADE_NS], ts_ns, np.int64(0)):
        return np.int64(INPUT_VENUE_TIME)
    if _is_spike(state, 2 * trade[TRADE_PRICE]):
        return np.int64(INPUT_SPIKE)
    number = trade[TRADE_NUMBER]
    if trade[TRADE_HASHED] != 0:
        return np.int64(INPUT_DUPLICATE if _is_repeated(state, number) else INPUT_OK)
    verdict = judge_trade(state, number, ts_ns)
    if verdict == LEAPS:
        return np.int64(INPUT_ID_LEAP)
    if verdict == GOES_ON and number == state["last_trade_id"]:
        return np.int64(INPUT_DUPLICATE)
    if verdict == GOES_ON and number < state["last_trade_id"]:
        return np.int64(INPUT_OUT_OF_ORDER)
    state["last_trade_id"] = number
    return np.int64(INPUT_OK)


@kernel
def _on_trades(feed, wires, instrument, ts_ns):
    """The trades of one message. It is accepted if one of them is; else refused for the reason of the first."""
    state = feed.states[instrument]
    begun = feed.state[OUT_COUNT]
    refusal = np.int64(INPUT_OK)
    for row in range(feed.message[TRADES]):
        trade = feed.trades[row]
        reason = _judge_one(state, wires.venue_clocks[instrument], trade, ts_ns)
        if reason != INPUT_OK:
            refusal = reason if refusal == INPUT_OK else refusal
            continue
        lag = (trade[TRADE_NS] - ts_ns) // 1_000 if trade[TRADE_NS] > 0 else np.int64(0)
        lag = min(max(lag, np.int64(-LAG_LIMIT_US)), np.int64(LAG_LIMIT_US))
        emit(
            feed, instrument, TICK_TRADE, 0, ts_ns, lag,
            trade[TRADE_PRICE], trade[TRADE_QTY], trade[TRADE_NUMBER], trade[TRADE_SIDE],
        )  # fmt: skip
    made = feed.state[OUT_COUNT]
    if made == begun:
        return refusal
    feed.out[made - 1]["flags"] = np.int64(feed.out[made - 1]["flags"]) | FLAG_LAST
    return np.int64(INPUT_OK)


@inlined
def _is_settlement(state, message, next_ns, ts_ns):
    """Whether the next funding can be then: as told before, or later once that is past; else it has to be told twice.

    A time that is believed and is not true would make a funding be paid that is not due.
    """
    known_ns = state["marks"][3]
    sent_ns = sent_ns_of(message)
    now_ns = sent_ns if sent_ns > 0 else ts_ns
    due = next_ns > max(now_ns, known_ns) and known_ns <= now_ns
    if next_ns == known_ns or due or next_ns == state["settlement"]:
        state["settlement"] = -1
        return True
    state["settlement"] = next_ns
    return False


@kernel
def _on_marks(feed, instrument, ts_ns):
    """A mark that tells only what has changed: told on once all is known, or a funding would have no rate."""
    message = feed.message
    state = feed.states[instrument]
    marks = state["marks"]
    lag_us = _lag_us(message, ts_ns)
    if message[TIME_MS] > MAX_MS:
        return np.int64(INPUT_OVERFLOW)
    if message[TIME_MS] != ABSENT and not _is_settlement(state, message, message[TIME_MS] * 1_000_000, ts_ns):
        return np.int64(INPUT_VENUE_TIME)
    for place in range(3):
        if message[MARK + place] != ABSENT:
            marks[place] = message[MARK + place]
    if message[TIME_MS] != ABSENT:
        marks[3] = message[TIME_MS] * 1_000_000
    if marks[0] != ABSENT and marks[1] != ABSENT and marks[2] != ABSENT and marks[3] > 0:
        emit(feed, instrument, TICK_MARK, FLAG_LAST, ts_ns, lag_us, marks[0], marks[1], marks[2], marks[3])
    return np.int64(INPUT_OK)


@kernel
def _on_stream(feed, wires, instrument, ts_ns):
    """A good message of a venue whose snapshots come in the stream."""
    kind = feed.message[KIND]
    if kind == TICK_TRADE:
        return _on_trades(feed, wires, instrument, ts_ns)
    if kind == TICK_MARK:
        return _on_marks(feed, instrument, ts_ns)
    if kind == TICK_QUOTE:  # the quotes that are used are made of the book
        return np.int64(INPUT_CROSSED if feed.message[BID] >= feed.message[ASK] else INPUT_OK)
    reason = on_stream_book(feed, wires, instrument, ts_ns, _lag_us(feed.message, ts_ns))
    if reason == INPUT_OK and feed.message[BIDS] + feed.message[ASKS] > 0:
        feed.states[instrument]["book_ns"] = ts_ns
    return reason


@kernel
def _on_mark(feed, instrument, ts_ns):
    message = feed.message
    next_ms = message[TIME_MS]
    if next_ms > MAX_MS:
        return np.int64(INPUT_OVERFLOW)
    lag_us = _lag_us(message, ts_ns)
    state = feed.states[instrument]
    next_ns = next_ms * 1_000_000
    if not _is_settlement(state, message, next_ns, ts_ns):
        return np.int64(INPUT_VENUE_TIME)
    state["marks"][3] = next_ns
    emit(feed, instrument, TICK_MARK, FLAG_LAST, ts_ns, lag_us, message[MARK], message[INDEX], message[RATE], next_ns)
    return np.int64(INPUT_OK)


@inlined
def _judge(feed, wires, instrument, ts_ns, reason, strays):
    """What becomes of a scanned message: INPUT_OK, WAITING or why it is refused."""
    state = feed.states[instrument]
    kind = feed.message[KIND]
    if reason == INPUT_UNKNOWN_STREAM or reason == INPUT_WRONG_SYMBOL:
        return reason
    if state["halted"] != 0:
        state["last_recv_ns"] = max(ts_ns, state["last_recv_ns"])
        return np.int64(INPUT_HALTED)
    if ts_ns < state["last_recv_ns"] or strays:
        reason = np.int64(INPUT_TIME_BACK)
        ts_ns = state["last_recv_ns"]
    if reason != INPUT_OK:
        if kind == TICK_LEVEL and feed.message[IS_SNAPSHOT] == 0:
            go_stale(feed, instrument, ts_ns)  # a change of the book is lost
        return reason
    state["last_recv_ns"] = ts_ns
    reason = judge_time(state, wires.venue_clocks[instrument], feed.message, ts_ns)
    if reason != INPUT_OK:
        if kind == TICK_LEVEL and (feed.message[IS_SNAPSHOT] == 0 or state["listing"]["rule"] >= RULE_STREAM):
            go_stale(feed, instrument, ts_ns)
        return reason
    if state["listing"]["rule"] >= RULE_STREAM:
        return _on_stream(feed, wires, instrument, ts_ns)
    if kind == TICK_QUOTE:
        return _on_quote(feed, wires, instrument, ts_ns)
    if kind == TICK_TRADE:
        return _on_trade(feed, instrument, ts_ns)
    if kind == TICK_MARK:
        return _on_mark(feed, instrument, ts_ns)
    lag_us = _lag_us(feed.message, ts_ns)
    if feed.message[IS_SNAPSHOT] != 0:
        reason = on_snapshot(feed, wires, instrument, ts_ns, lag_us)
    else:
        reason = on_depth(feed, wires, instrument, ts_ns, lag_us)
    if reason == INPUT_OK or reason == WAITING:
        state["book_ns"] = ts_ns
    return reason


@inlined
def take_scanned(feed, wires, instrument, ts_ns, reason, strays):
    """Judge the scanned message of an instrument; count it as accepted or refused, by kind and reason.

    Parameters
    ----------
    feed : FeedMemory, whose `message` and tables hold the message; nothing in hand
    wires : Wires, for the counters
    instrument : int64
    ts_ns : int64, when it was received
    reason : int64, what the scanner said
    strays : bool, its receive time is not believed

    Notes
    -----
    Complexity: O(levels). Invariant: each message is counted once; a diff that waits for a snapshot, when its fate is
    known. Twin: tests/reference/engine/feed.py
    """
    kind = feed.message[KIND]
    reason = _judge(feed, wires, instrument, ts_ns, reason, strays)
    if reason == INPUT_OK:
        wires.messages[instrument, kind] += 1
    elif reason != WAITING:
        wires.refused[instrument, kind, reason] += 1


@kernel
def take_line(feed, wires, source):
    """Read the next line of a source; count it as accepted or refused, by kind and reason.

    Parameters
    ----------
    feed : FeedMemory, nothing in hand
    wires : Wires, for the counters
    source : SOURCE record whose next line is known

    Notes
    -----
    Complexity: O(length of the line). Invariant: each line is counted once. Twin: tests/reference/engine/feed.py
    """
    instrument = source["instrument"]
    text = feed.buffers[instrument]
    state = feed.states[instrument]
    if source["json_at"] == 0:
        wires.refused[instrument, 0, INPUT_UNPARSABLE] += 1
        source["at"] = find_newline(text, source["at"], source["end"]) + 1
        return
    reason = scan_message(
        text, source["json_at"], source["end"], state["listing"], feed.message, feed.prices, feed.lots
    )
    source["at"] = feed.message[LINE_END] + 1
    take_scanned(feed, wires, instrument, source["next_ns"], reason, source["strays"] != 0)
