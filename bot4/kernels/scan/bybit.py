"""Reading Bybit's own bytes, v5, spot and linear: one pass, no object made.

`{"topic":"orderbook.50.BTCUSDT",...}`: the topic stands first, it tells the type and the instrument. Books, trades and
tickers are read; bars and answers that say yes hold no market data. Anything else is refused, and left to the typed
decoder. Narrower than that one on purpose: no escapes, no key twice, no message without the topic in front.

    orderbook.N    a change or the whole of a book, TICK_LEVEL; N = 1: the best quote, TICK_QUOTE, if it has two sides
    publicTrade    trades in the order in which they were made
    tickers        what it tells of mark, index and funding, TICK_MARK; its quotes belong to no update of the book and
                   are looked at, but not used. Spot tickers have no marks: no market data

Stands in the live feed, before validation. Twin: bot4/adapters/bybit/parse.py
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.scan.binance import scan_levels
from bot4.kernels.scan.decimal import CUT, MAX_E8, MAX_QUANTITY, MAX_TICKS, scan_decimal
from bot4.kernels.scan.directory import find_listing
from bot4.kernels.scan.number import scan_count, trade_number
from bot4.kernels.scan.scanned import (
    ABSENT,
    ASK,
    ASK_LOTS,
    ASKS,
    BID,
    BID_LOTS,
    BIDS,
    FIRST_ID,
    INDEX,
    INSTRUMENT,
    IS_SNAPSHOT,
    KIND,
    LAST_ID,
    MARK,
    MAX_TRADES,
    PREVIOUS_ID,
    RATE,
    REASON,
    SENT_NS,
    TIME_MS,
    TRADE_HASHED,
    TRADE_NS,
    TRADE_NUMBER,
    TRADE_OFF_MARKET,
    TRADE_PRICE,
    TRADE_QTY,
    TRADE_SIDE,
    TRADES,
    VENUE_NS,
)
from bot4.kernels.scan.token import MINUS, POINT, QUOTE, ZERO, scan_literal, skip_space
from bot4.kernels.scan.walk import (
    begin_scan,
    first_item,
    first_key,
    is_same,
    is_word,
    next_item,
    next_key,
    note,
    skip_json,
    text_value,
    word,
)
from bot4.model.enums import (
    INPUT_BAD_NUMBER,
    INPUT_OFF_LOT,
    INPUT_OFF_TICK,
    INPUT_OK,
    INPUT_UNKNOWN_STREAM,
    INPUT_UNPARSABLE,
    INPUT_WRONG_SYMBOL,
    INPUT_ZERO,
    TICK_LEVEL,
    TICK_MARK,
    TICK_QUOTE,
    TICK_TRADE,
)

_LAST_MS = (2**63 - 1) // 1_000_000
_LAST_COUNT = 10**18
_NS = 1_000_000
_NOT_KNOWN, _BOOK, _BEST, _TRADES, _TICKER, _BARS = range(6)  # types of topics

_TOPIC, _TYPE, _TS, _CTS, _DATA = (word(name) for name in (b"topic", b"type", b"ts", b"cts", b"data"))
_OP, _SUCCESS = word(b"op"), word(b"success")
_SUBSCRIBE, _UNSUBSCRIBE, _PING, _PONG = (word(name) for name in (b"subscribe", b"unsubscribe", b"ping", b"pong"))
_ORDERBOOK, _PUBLIC_TRADE, _TICKERS, _KLINE = (
    word(name) for name in (b"orderbook", b"publicTrade", b"tickers", b"kline")
)
_SNAPSHOT, _DELTA = word(b"snapshot"), word(b"delta")
_BUY, _SELL = word(b"Buy"), word(b"Sell")
_BLOCK = word(b"BT")
_SYMBOL, _MARK_PRICE, _INDEX_PRICE = word(b"symbol"), word(b"markPrice"), word(b"indexPrice")
_FUNDING_RATE, _NEXT_FUNDING = word(b"fundingRate"), word(b"nextFundingTime")
_BID_PRICE, _BID_SIZE, _ASK_PRICE, _ASK_SIZE = (
    word(name) for name in (b"bid1Price", b"bid1Size", b"ask1Price", b"ask1Size")
)
_NEEDED_OF_TRADE = 0b1111111
_OF_SYMBOL, _OF_MARK, _OF_INDEX, _OF_RATE, _OF_NEXT, _OF_QUOTE = range(1, 7)  # values of a ticker; four of a quote


@inlined
def _topic_of(text, first, last):
    """(type, first byte of the symbol) of a topic."""
    dot = first
    while dot < last and text[dot] != POINT:
        dot += 1
    if is_word(text, first, dot, _PUBLIC_TRADE):
        return np.int64(_TRADES), np.int64(dot + 1)
    if is_word(text, first, dot, _TICKERS):
        return np.int64(_TICKER), np.int64(dot + 1)
    if is_word(text, first, dot, _KLINE):
        return np.int64(_BARS), np.int64(last)
    if not is_word(text, first, dot, _ORDERBOOK):
        return np.int64(_NOT_KNOWN), np.int64(last)
    depth = dot + 1
    at = depth
    while at < last and 48 <= text[at] <= 57:
        at += 1
    if at == depth or at - depth > 5 or text[depth] == ZERO or at >= last or text[at] != POINT:
        return np.int64(_NOT_KNOWN), np.int64(last)
    best = at - depth == 1 and text[depth] == 49
    return np.int64(_BEST if best else _BOOK), np.int64(at + 1)


@kernel
def _scan_book(text, at, symbol, symbol_last, listing, scanned):
    """The data of a book. Index behind it, -1 if it is malformed."""
    message = scanned.message
    seen = np.int64(0)
    at, first, last = first_key(text, at)
    while first >= 0:
        bit = np.int64(0)
        if last - first == 1:
            byte = text[first]
            if byte == 115:  # s
                bit = np.int64(1)
                name, name_last = text_value(text, at)
                at = name_last + 1 if name_last >= 0 else np.int64(-1)
                if at < 0 or not is_same(text, name, name_last, symbol, symbol_last):
                    return np.int64(-1)
            elif byte == 98:  # b
                bit = np.int64(2)
                at = scan_levels(text, at, listing, scanned.prices[0], scanned.lots[0], message, BIDS)
            elif byte == 97:  # a
                bit = np.int64(4)
                at = scan_levels(text, at, listing, scanned.prices[1], scanned.lots[1], message, ASKS)
            elif byte == 117:  # u
                bit = np.int64(8)
                at, number = scan_count(text, at, _LAST_COUNT)
                message[LAST_ID] = number
                message[FIRST_ID] = number
                message[PREVIOUS_ID] = number - 1
            else:
                at = skip_json(text, at)
        else:
            at = skip_json(text, at)
        if at < 0 or seen & bit:
            return np.int64(-1)
        seen |= bit
        at, first, last = next_key(text, at)
    return at if seen == 15 else np.int64(-1)


@inlined
def _scan_trade(text, at, symbol, symbol_last, listing, trade, message):
    """One trade. Index behind it, -1 if it is malformed."""
    seen = np.int64(0)
    at, first, last = first_key(text, at)
    while first >= 0:
        bit = np.int64(0)
        if last - first == 1:
            byte = text[first]
            if byte == 84:  # T
                bit = np.int64(1)
                at, value = scan_count(text, at, _LAST_MS)
                trade[TRADE_NS] = value * _NS
            elif byte == 115 or byte == 83 or byte == 105:  # s, S, i
                value_first, value_last = text_value(text, at)
                if value_last < 0:
                    return np.int64(-1)
                if byte == 115:
                    bit = np.int64(2)
                    if not is_same(text, value_first, value_last, symbol, symbol_last):
                        return np.int64(-1)
                elif byte == 83:
                    bit = np.int64(4)
                    buy = is_word(text, value_first, value_last, _BUY)
                    if not buy and not is_word(text, value_first, value_last, _SELL):
                        return np.int64(-1)
                    trade[TRADE_SIDE] = 1 if buy else -1
                else:
                    bit = np.int64(8)
                    if value_first == value_last:
                        return np.int64(-1)
                    number, hashed = trade_number(text, value_first, value_last)
                    trade[TRADE_NUMBER] = number
                    trade[TRADE_HASHED] = hashed
                at = value_last + 1
            elif byte == 112 or byte == 118:  # p, v
                if text[at] != QUOTE:
                    return np.int64(-1)
                if byte == 112:
                    bit = np.int64(16)
                    at, value = scan_decimal(
                        text, at + 1, listing["price_decimals"], listing["tick_units"], INPUT_OFF_TICK, MAX_TICKS
                    )
                    trade[TRADE_PRICE] = value
                else:
                    bit = np.int64(32)
                    at, value = scan_decimal(
                        text, at + 1, listing["qty_decimals"], listing["lot_units"], INPUT_OFF_LOT, MAX_QUANTITY
                    )
                    trade[TRADE_QTY] = value
                note(message, np.int64(-INPUT_ZERO) if value == 0 else value)
            else:
                at = skip_json(text, at)
        elif is_word(text, first, last, _BLOCK):
            bit = np.int64(64)
            at, value = scan_literal(text, at)
            if value < 0:
                return np.int64(-1)
            trade[TRADE_OFF_MARKET] = value
        else:
            at = skip_json(text, at)
        if at < 0 or seen & bit:
            return np.int64(-1)
        seen |= bit
        at, first, last = next_key(text, at)
    return at if seen == _NEEDED_OF_TRADE else np.int64(-1)


@kernel
def _scan_trades(text, at, symbol, symbol_last, listing, scanned):
    """The data of trades. Index behind it, -1 if it is malformed, empty or longer than the table."""
    message = scanned.message
    count = np.int64(0)
    at, more = first_item(text, at)
    while more:
        if count == MAX_TRADES:
            return np.int64(-1)
        at = _scan_trade(text, at, symbol, symbol_last, listing, scanned.trades[count], message)
        if at < 0:
            return np.int64(-1)
        message[VENUE_NS] = scanned.trades[count][TRADE_NS]
        count += 1
        at, more = next_item(text, at)
    message[TRADES] = count
    return at if count > 0 else np.int64(-1)


@inlined
def _scan_milliseconds(text, first, last):
    """Digits between quotes as milliseconds, -1 if they are none."""
    value = np.int64(0)
    for at in range(first, last):
        if text[at] < 48 or text[at] > 57 or last - first > 18:
            return np.int64(-1)
        value = value * 10 + (np.int64(text[at]) - ZERO)
    return value if value <= _LAST_MS else np.int64(-1)


@inlined
def _ticker_field(text, first, last):
    """Which value of a ticker a key names, 0 if nobody needs it."""
    if is_word(text, first, last, _SYMBOL):
        return np.int64(_OF_SYMBOL)
    if is_word(text, first, last, _MARK_PRICE):
        return np.int64(_OF_MARK)
    if is_word(text, first, last, _INDEX_PRICE):
        return np.int64(_OF_INDEX)
    if is_word(text, first, last, _FUNDING_RATE):
        return np.int64(_OF_RATE)
    if is_word(text, first, last, _NEXT_FUNDING):
        return np.int64(_OF_NEXT)
    if is_word(text, first, last, _BID_PRICE):
        return np.int64(_OF_QUOTE)
    if is_word(text, first, last, _BID_SIZE):
        return np.int64(_OF_QUOTE + 1)
    if is_word(text, first, last, _ASK_PRICE):
        return np.int64(_OF_QUOTE + 2)
    if is_word(text, first, last, _ASK_SIZE):
        return np.int64(_OF_QUOTE + 3)
    return np.int64(0)


@inlined
def _is_above_zero(text, first, last):
    """Whether text[first:last], with a quote behind it, is a plain decimal above zero."""
    digits = np.int64(0)
    for index in range(first, last):
        if 48 < text[index] <= 57:
            digits += 1
    after, value = scan_decimal(text, first, 0, 1, CUT, MAX_E8)
    return after == last + 1 and value >= 0 and digits > 0


@inlined
def _take_ticker_value(text, field, first, last, message):
    """A value of a ticker that is not empty; False if it is left to the typed decoder."""
    if field >= _OF_QUOTE:
        return _is_above_zero(text, first, last)
    if field == _OF_NEXT:
        milliseconds = _scan_milliseconds(text, first, last)
        message[TIME_MS] = milliseconds if milliseconds > 0 else ABSENT
        return milliseconds >= 0
    negative = field == _OF_RATE and text[first] == MINUS
    _, value = scan_decimal(text, first + 1 if negative else first, 8, 1, INPUT_BAD_NUMBER, MAX_E8)
    if field == _OF_RATE:
        note(message, np.int64(-INPUT_BAD_NUMBER) if value < 0 else value)
        message[RATE] = -value if negative else value
        return True
    note(message, np.int64(-INPUT_ZERO) if value == 0 else value)
    message[MARK if field == _OF_MARK else INDEX] = value
    return True


@kernel
def _scan_ticker(text, at, symbol, symbol_last, message):
    """The data of a ticker. Index behind it, -1 if it is malformed."""
    for place in (MARK, INDEX, RATE, TIME_MS):
        message[place] = ABSENT
    marks = False
    seen = np.int64(0)
    at, first, last = first_key(text, at)
    while first >= 0:
        field = _ticker_field(text, first, last)
        if field == 0:
            at = skip_json(text, at)
        else:
            value, value_last = text_value(text, at)
            if value_last < 0 or (seen >> field) & 1:
                return np.int64(-1)
            seen |= np.int64(1) << field
            at = value_last + 1
            if field == _OF_SYMBOL:
                if not is_same(text, value, value_last, symbol, symbol_last):
                    return np.int64(-1)
            elif value_last > value:
                if not _take_ticker_value(text, field, value, value_last, message):
                    return np.int64(-1)
                marks = marks or field < _OF_QUOTE
        if at < 0:
            return np.int64(-1)
        at, first, last = next_key(text, at)
    message[KIND] = TICK_MARK if marks else 0
    return at if (seen >> _OF_SYMBOL) & 1 else np.int64(-1)


@kernel
def _scan_answer(text, at, first, last, end):
    """The answer to a request, good if it says yes."""
    seen = np.int64(0)
    pong = False
    while first >= 0:
        bit = np.int64(0)
        if is_word(text, first, last, _OP):
            bit = np.int64(1)
            op, op_last = text_value(text, at)
            if op_last < 0:
                return np.int64(INPUT_UNPARSABLE)
            at = op_last + 1
            pong = is_word(text, op, op_last, _PONG)
            known = pong or is_word(text, op, op_last, _PING)
            known = known or is_word(text, op, op_last, _SUBSCRIBE) or is_word(text, op, op_last, _UNSUBSCRIBE)
            if not known:
                return np.int64(INPUT_UNPARSABLE)
        elif is_word(text, first, last, _SUCCESS):
            bit = np.int64(2)
            at, value = scan_literal(text, at)
            if value != 1:
                return np.int64(INPUT_UNPARSABLE)
        elif is_word(text, first, last, _TOPIC):
            return np.int64(INPUT_UNPARSABLE)
        else:
            at = skip_json(text, at)
        if at < 0 or seen & bit:
            return np.int64(INPUT_UNPARSABLE)
        seen |= bit
        at, first, last = next_key(text, at)
    good = at >= 0 and skip_space(text, at) == end and (seen == 3 or (pong and seen & 1))
    return np.int64(INPUT_OK if good else INPUT_UNPARSABLE)


@kernel
def _scan_push(text, at, topic, symbol, symbol_last, listing, scanned):
    """What follows the topic. Index behind the message, -1 if it is malformed."""
    message = scanned.message
    seen = np.int64(0)
    sent_ns = np.int64(0)
    made_ns = np.int64(-1)
    at, first, last = next_key(text, at)
    while first >= 0:
        bit = np.int64(0)
        if is_word(text, first, last, _DATA):
            bit = np.int64(1)
            if topic == _TRADES:
                at = _scan_trades(text, at, symbol, symbol_last, listing, scanned)
            elif topic == _TICKER:
                at = _scan_ticker(text, at, symbol, symbol_last, message)
            elif topic == _BARS:
                at = skip_json(text, at)
            else:
                at = _scan_book(text, at, symbol, symbol_last, listing, scanned)
        elif is_word(text, first, last, _TS):
            bit = np.int64(2)
            at, value = scan_count(text, at, _LAST_MS)
            sent_ns = value * _NS
        elif is_word(text, first, last, _TYPE):
            bit = np.int64(4)
            value, value_last = text_value(text, at)
            if value_last < 0:
                return np.int64(-1)
            at = value_last + 1
            whole = is_word(text, value, value_last, _SNAPSHOT)
            if not whole and not is_word(text, value, value_last, _DELTA):
                return np.int64(-1)
            if topic == _BOOK:
                message[IS_SNAPSHOT] = 1 if whole else 0
            elif topic == _BEST and not whole:
                return np.int64(-1)
        elif is_word(text, first, last, _CTS):
            bit = np.int64(8)
            at, value = scan_count(text, at, _LAST_MS)
            made_ns = value * _NS
        else:
            if is_word(text, first, last, _TOPIC):
                return np.int64(-1)
            at = skip_json(text, at)
        if at < 0 or seen & bit:
            return np.int64(-1)
        seen |= bit
        at, first, last = next_key(text, at)
    needed = 3 if topic == _TRADES or topic == _BARS else 7
    if seen & needed != needed:
        return np.int64(-1)
    message[SENT_NS] = sent_ns
    if topic != _TRADES:
        message[VENUE_NS] = made_ns if made_ns >= 0 and topic != _TICKER else sent_ns
    return at


@kernel
def _verdict_of_book(topic, scanned):
    """Of a book that is well formed."""
    message = scanned.message
    if topic == _BOOK:
        if message[IS_SNAPSHOT] == 0 and message[LAST_ID] == 0:
            return np.int64(INPUT_UNPARSABLE)
        return message[REASON]
    best = message[BIDS] == 1 and message[ASKS] == 1 and scanned.lots[0, 0] != 0 and scanned.lots[1, 0] != 0
    message[KIND] = TICK_QUOTE if best or message[REASON] != INPUT_OK else 0
    message[FIRST_ID] = 0
    message[PREVIOUS_ID] = 0
    if best:
        message[BID] = scanned.prices[0, 0]
        message[BID_LOTS] = scanned.lots[0, 0]
        message[ASK] = scanned.prices[1, 0]
        message[ASK_LOTS] = scanned.lots[1, 0]
    message[BIDS] = 0
    message[ASKS] = 0
    return message[REASON]


@kernel
def scan_bybit(text, at, end, directory, listings, scanned):
    """Read one message of a public connection.

    Parameters
    ----------
    text : uint8[N]
    at, end : int64, the message is text[at:end); text[end] is a newline
    directory, listings : see `find_listing`
    scanned : Scanned, out; its word INSTRUMENT is -1 where none could be told

    Returns
    -------
    int64, INPUT_OK, or why it is refused: INPUT_UNPARSABLE and INPUT_UNKNOWN_STREAM say that the typed decoder has to
    judge, INPUT_WRONG_SYMBOL that nobody asked for this instrument, else what is wrong with the first bad number

    Notes
    -----
    Complexity: O(length). Memory: none. Invariant: no byte behind text[end] is read.
    Twin: bot4/adapters/bybit/parse.py
    """
    message = scanned.message
    begin_scan(message, end)
    at, first, last = first_key(text, skip_space(text, at))
    if first < 0:
        return np.int64(INPUT_UNPARSABLE)
    if not is_word(text, first, last, _TOPIC):
        return _scan_answer(text, at, first, last, end)
    name, name_last = text_value(text, at)
    if name_last < 0 or at != last + 2:  # with a blank there, the typed decoder may take a topic further inside
        return np.int64(INPUT_UNPARSABLE)
    topic, symbol = _topic_of(text, name, name_last)
    if topic == _NOT_KNOWN:
        return np.int64(INPUT_UNKNOWN_STREAM)
    instrument = np.int64(0)
    if topic != _BARS:
        instrument = find_listing(text, symbol, name_last, directory, listings)
        if instrument < 0:
            return np.int64(INPUT_WRONG_SYMBOL)
        message[INSTRUMENT] = instrument
        if topic == _TRADES:
            message[KIND] = TICK_TRADE
        elif topic == _TICKER:
            message[KIND] = TICK_MARK
        else:
            message[KIND] = TICK_LEVEL
    at = _scan_push(text, name_last + 1, topic, symbol, name_last, listings[instrument], scanned)
    if at < 0 or skip_space(text, at) != end:
        return np.int64(INPUT_UNPARSABLE)
    if topic == _BOOK or topic == _BEST:
        return _verdict_of_book(topic, scanned)
    return message[REASON]
