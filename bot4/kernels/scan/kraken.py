"""Reading Kraken's own bytes, version 2 of its websocket: one pass, no object made.

`{"channel":"book","type":"update","data":[{"symbol":"BTC/USD",...}]}`: the channel stands first, a symbol before its
values, and a message is of one symbol. Prices and quantities are JSON numbers, read exactly; one with an exponent is
left to the typed decoder, as is anything else that is not known here.

    book      a change or the whole of a book, with the check sum of the book after it: the word CHECKSUM
    trade     trades in the order in which they were made; what a subscription sends of those made before it is no news
    ticker    the best quote, where both sides have one
    heartbeat, instrument, ohlc, status, and answers that say yes    no market data

Stands in the live feed, before validation. Twin: bot4/adapters/kraken/parse.py (KrakenV2)
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.scan.decimal import CUT, MAX_QUANTITY, MAX_TICKS
from bot4.kernels.scan.directory import find_listing
from bot4.kernels.scan.moment import scan_moment
from bot4.kernels.scan.number import scan_count, scan_number
from bot4.kernels.scan.scanned import (
    ASK,
    ASK_LOTS,
    BID,
    BID_LOTS,
    BIDS,
    CHECKSUM,
    INSTRUMENT,
    IS_SNAPSHOT,
    KIND,
    MAX_LEVELS,
    MAX_TRADES,
    REASON,
    SENT_NS,
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
from bot4.kernels.scan.token import scan_literal, skip_space
from bot4.kernels.scan.walk import (
    begin_scan,
    first_item,
    first_key,
    is_word,
    next_item,
    next_key,
    note,
    skip_json,
    text_value,
    word,
)
from bot4.model.enums import (
    INPUT_OFF_LOT,
    INPUT_OFF_TICK,
    INPUT_OK,
    INPUT_TOO_MANY_LEVELS,
    INPUT_UNKNOWN_STREAM,
    INPUT_UNPARSABLE,
    INPUT_WRONG_SYMBOL,
    INPUT_ZERO,
    TICK_LEVEL,
    TICK_QUOTE,
    TICK_TRADE,
)

_LAST_COUNT = 10**18
_LAST_SUM = 2**32 - 1
_NOT_KNOWN, _SILENT, _BARS, _BOOK, _TRADES, _TICKER = range(6)  # types of channels
_UNASKED = -2  # instead of an index: nobody asked for this symbol

_CHANNEL, _METHOD, _ERROR, _TYPE, _DATA = (word(name) for name in (b"channel", b"method", b"error", b"type", b"data"))
_TIMESTAMP, _TIME_OUT, _SUCCESS = word(b"timestamp"), word(b"time_out"), word(b"success")
_BOOK_NAME, _TRADE_NAME, _TICKER_NAME, _OHLC = (word(name) for name in (b"book", b"trade", b"ticker", b"ohlc"))
_HEARTBEAT = word(b"heartbeat")
_SUBSCRIBE, _UNSUBSCRIBE, _PING, _PONG = (word(name) for name in (b"subscribe", b"unsubscribe", b"ping", b"pong"))
_SNAPSHOT, _UPDATE, _SYMBOL = word(b"snapshot"), word(b"update"), word(b"symbol")
_BIDS, _ASKS, _SUM = word(b"bids"), word(b"asks"), word(b"checksum")
_PRICE, _QTY, _SIDE, _TRADE_ID = (word(name) for name in (b"price", b"qty", b"side", b"trade_id"))
_BUY, _SELL = word(b"buy"), word(b"sell")
_BID, _BID_QTY, _ASK, _ASK_QTY = (word(name) for name in (b"bid", b"bid_qty", b"ask", b"ask_qty"))


@inlined
def _channel_of(text, first, last):
    """Type of a channel."""
    if is_word(text, first, last, _BOOK_NAME):
        return np.int64(_BOOK)
    if is_word(text, first, last, _TRADE_NAME):
        return np.int64(_TRADES)
    if is_word(text, first, last, _TICKER_NAME):
        return np.int64(_TICKER)
    if is_word(text, first, last, _OHLC):
        return np.int64(_BARS)
    return np.int64(_SILENT if is_word(text, first, last, _HEARTBEAT) else _NOT_KNOWN)


@inlined
def _price(text, at, listing):
    """(index behind, ticks or minus the reason) of a price."""
    at, ticks = scan_number(text, at, listing["price_decimals"], listing["tick_units"], INPUT_OFF_TICK, MAX_TICKS)
    return at, np.int64(-INPUT_ZERO) if ticks == 0 else ticks


@inlined
def _quantity(text, at, listing, off_reason):
    """(index behind, lots or minus the reason) of a quantity; zero is one if it may be cut."""
    at, lots = scan_number(text, at, listing["qty_decimals"], listing["lot_units"], off_reason, MAX_QUANTITY)
    return at, np.int64(-INPUT_ZERO) if lots == 0 and off_reason != CUT else lots


@inlined
def _scan_time(text, at):
    """(index behind, ns) of a time in quotes; index -1 if it is none."""
    first, last = text_value(text, at)
    moment = scan_moment(text, first, last) if last >= 0 else np.int64(-1)
    return last + 1 if moment >= 0 else np.int64(-1), moment


@inlined
def _scan_symbol(text, at, message, directory, listings):
    """Index behind a symbol, which goes to the word INSTRUMENT; -1 if the message is of another one already."""
    first, last = text_value(text, at)
    if last < 0:
        return np.int64(-1)
    found = find_listing(text, first, last, directory, listings)
    if found < 0:
        return np.int64(_UNASKED)
    if message[INSTRUMENT] >= 0 and message[INSTRUMENT] != found:
        return np.int64(-1)
    message[INSTRUMENT] = found
    return last + 1


@kernel
def _scan_levels(text, at, listing, prices, lots, message, place):
    """One side of a book; their number goes to message[place]. Index behind it, -1 if it is malformed."""
    count = np.int64(0)
    at, more = first_item(text, at)
    while more:
        seen = np.int64(0)
        ticks = np.int64(0)
        quantity = np.int64(0)
        at, first, last = first_key(text, at)
        while first >= 0:
            bit = np.int64(0)
            if is_word(text, first, last, _PRICE):
                bit = np.int64(1)
                at, ticks = _price(text, at, listing)
            elif is_word(text, first, last, _QTY):
                bit = np.int64(2)
                at, quantity = _quantity(text, at, listing, CUT)
            else:
                at = skip_json(text, at)
            if at < 0 or seen & bit:
                return np.int64(-1)
            seen |= bit
            at, first, last = next_key(text, at)
        if at < 0 or seen != 3:
            return np.int64(-1)
        note(message, ticks)
        note(message, quantity)
        if count < MAX_LEVELS:
            prices[count] = ticks
            lots[count] = quantity
            count += 1
        else:
            note(message, np.int64(-INPUT_TOO_MANY_LEVELS))
        at, more = next_item(text, at)
    message[place] = count
    return at


@kernel
def _scan_book(text, at, directory, listings, scanned):
    """One book. Index behind it, -1 if it is malformed, _UNASKED."""
    message = scanned.message
    seen = np.int64(0)
    at, first, last = first_key(text, at)
    while first >= 0:
        bit = np.int64(0)
        if is_word(text, first, last, _SYMBOL):
            bit = np.int64(1)
            at = _scan_symbol(text, at, message, directory, listings)
        elif is_word(text, first, last, _BIDS) or is_word(text, first, last, _ASKS):
            if not seen & 1:
                return np.int64(-1)
            row = 0 if text[first] == 98 else 1  # b
            bit = np.int64(2 + 2 * row)
            listing = listings[message[INSTRUMENT]]
            at = _scan_levels(text, at, listing, scanned.prices[row], scanned.lots[row], message, BIDS + row)
        elif is_word(text, first, last, _SUM):
            bit = np.int64(8)
            at, value = scan_count(text, at, _LAST_SUM)
            message[CHECKSUM] = value
        elif is_word(text, first, last, _TIMESTAMP):
            bit = np.int64(16)
            at, value = _scan_time(text, at)
            message[VENUE_NS] = value
        else:
            at = skip_json(text, at)
        if at < 0 or seen & bit:
            return at if at < 0 else np.int64(-1)
        seen |= bit
        at, first, last = next_key(text, at)
    return at if seen & 15 == 15 else np.int64(-1)


@kernel
def _scan_trade(text, at, directory, listings, trade, message):
    """One trade. As `_scan_book`."""
    seen = np.int64(0)
    at, first, last = first_key(text, at)
    while first >= 0:
        bit = np.int64(0)
        if is_word(text, first, last, _SYMBOL):
            bit = np.int64(1)
            at = _scan_symbol(text, at, message, directory, listings)
        elif is_word(text, first, last, _PRICE):
            if not seen & 1:
                return np.int64(-1)
            bit = np.int64(2)
            at, value = _price(text, at, listings[message[INSTRUMENT]])
            trade[TRADE_PRICE] = value
            note(message, value)
        elif is_word(text, first, last, _QTY):
            if not seen & 1:
                return np.int64(-1)
            bit = np.int64(4)
            at, value = _quantity(text, at, listings[message[INSTRUMENT]], INPUT_OFF_LOT)
            trade[TRADE_QTY] = value
            note(message, value)
        elif is_word(text, first, last, _SIDE):
            bit = np.int64(8)
            value_first, value_last = text_value(text, at)
            if value_last < 0:
                return np.int64(-1)
            buy = is_word(text, value_first, value_last, _BUY)
            if not buy and not is_word(text, value_first, value_last, _SELL):
                return np.int64(-1)
            trade[TRADE_SIDE] = 1 if buy else -1
            at = value_last + 1
        elif is_word(text, first, last, _TRADE_ID):
            bit = np.int64(16)
            at, value = scan_count(text, at, _LAST_COUNT)
            trade[TRADE_NUMBER] = value
        elif is_word(text, first, last, _TIMESTAMP):
            bit = np.int64(32)
            at, value = _scan_time(text, at)
            trade[TRADE_NS] = value
        else:
            at = skip_json(text, at)
        if at < 0 or seen & bit:
            return at if at < 0 else np.int64(-1)
        seen |= bit
        at, first, last = next_key(text, at)
    trade[TRADE_OFF_MARKET] = 0
    trade[TRADE_HASHED] = 0
    return at if seen == 63 else np.int64(-1)


@kernel
def _scan_ticker(text, at, directory, listings, message):
    """One ticker that has both sides. As `_scan_book`."""
    seen = np.int64(0)
    at, first, last = first_key(text, at)
    while first >= 0:
        bit = np.int64(0)
        if is_word(text, first, last, _SYMBOL):
            bit = np.int64(1)
            at = _scan_symbol(text, at, message, directory, listings)
        elif is_word(text, first, last, _BID) or is_word(text, first, last, _ASK):
            if not seen & 1:
                return np.int64(-1)
            place = BID if text[first] == 98 else ASK
            bit = np.int64(1) << place
            at, value = _price(text, at, listings[message[INSTRUMENT]])
            message[place] = value
            note(message, value)
        elif is_word(text, first, last, _BID_QTY) or is_word(text, first, last, _ASK_QTY):
            if not seen & 1:
                return np.int64(-1)
            place = BID_LOTS if text[first] == 98 else ASK_LOTS
            bit = np.int64(1) << place
            at, value = _quantity(text, at, listings[message[INSTRUMENT]], INPUT_OFF_LOT)
            message[place] = value
            note(message, value)
        elif is_word(text, first, last, _TIMESTAMP):
            bit = np.int64(2)
            at, value = _scan_time(text, at)
            message[VENUE_NS] = value
        else:
            at = skip_json(text, at)
        if at < 0 or seen & bit:
            return at if at < 0 else np.int64(-1)
        seen |= bit
        at, first, last = next_key(text, at)
    needed = 1 | 1 << BID | 1 << ASK | 1 << BID_LOTS | 1 << ASK_LOTS
    return at if seen & needed == needed else np.int64(-1)


@kernel
def _scan_data(text, at, channel, directory, listings, scanned):
    """The data of a message: one book, one ticker, or trades. As `_scan_book`."""
    message = scanned.message
    limit = MAX_TRADES if channel == _TRADES else 1
    count = np.int64(0)
    at, more = first_item(text, at)
    while more:
        if count == limit:
            return np.int64(-1)
        if channel == _BOOK:
            at = _scan_book(text, at, directory, listings, scanned)
        elif channel == _TICKER:
            at = _scan_ticker(text, at, directory, listings, message)
        else:
            at = _scan_trade(text, at, directory, listings, scanned.trades[count], message)
        if at < 0:
            return at
        count += 1
        at, more = next_item(text, at)
    if at < 0 or count == 0:
        return np.int64(-1)
    if channel == _TRADES:
        message[TRADES] = count
        message[VENUE_NS] = scanned.trades[count - 1][TRADE_NS]
    return at


@kernel
def _scan_rest(text, at, channel, directory, listings, scanned):
    """What follows the channel. As `_scan_book`, index behind the message."""
    message = scanned.message
    seen = np.int64(0)
    at, first, last = next_key(text, at)
    while first >= 0:
        bit = np.int64(0)
        if is_word(text, first, last, _DATA):
            bit = np.int64(1)
            if channel <= _BARS:
                at = skip_json(text, at)
            else:
                at = _scan_data(text, at, channel, directory, listings, scanned)
        elif channel > _SILENT and is_word(text, first, last, _TYPE):
            bit = np.int64(2)
            value, value_last = text_value(text, at)
            if value_last < 0:
                return np.int64(-1)
            whole = is_word(text, value, value_last, _SNAPSHOT)
            if not whole and not is_word(text, value, value_last, _UPDATE):
                return np.int64(-1)
            message[IS_SNAPSHOT] = 1 if whole else 0
            at = value_last + 1
        elif channel > _SILENT and is_word(text, first, last, _TIMESTAMP):
            bit = np.int64(4)
            at, value = _scan_time(text, at)
            message[SENT_NS] = value
        elif is_word(text, first, last, _CHANNEL) or is_word(text, first, last, _METHOD):
            return np.int64(-1)
        elif is_word(text, first, last, _ERROR):
            return np.int64(-1)
        else:
            at = skip_json(text, at)
        if at < 0 or seen & bit:
            return at if at < 0 else np.int64(-1)
        seen |= bit
        at, first, last = next_key(text, at)
    return at if channel == _SILENT or seen & 3 == 3 else np.int64(-1)


@kernel
def _scan_answer(text, at, end):
    """The answer to a request, at the value of its method; good if it says yes."""
    first, last = text_value(text, at)
    if last < 0:
        return np.int64(INPUT_UNPARSABLE)
    known = is_word(text, first, last, _SUBSCRIBE) or is_word(text, first, last, _UNSUBSCRIBE)
    if not known and not is_word(text, first, last, _PING) and not is_word(text, first, last, _PONG):
        return np.int64(INPUT_UNPARSABLE)
    seen = np.int64(0)
    at, first, last = next_key(text, last + 1)
    while first >= 0:
        bit = np.int64(0)
        if is_word(text, first, last, _SUCCESS):
            bit = np.int64(1)
            at, value = scan_literal(text, at)
            if value != 1:
                return np.int64(INPUT_UNPARSABLE)
        elif is_word(text, first, last, _TIME_OUT):
            bit = np.int64(2)
            at, _ = _scan_time(text, at)
        elif is_word(text, first, last, _ERROR) or is_word(text, first, last, _CHANNEL):
            return np.int64(INPUT_UNPARSABLE)
        elif is_word(text, first, last, _METHOD):
            return np.int64(INPUT_UNPARSABLE)
        else:
            at = skip_json(text, at)
        if at < 0 or seen & bit:
            return np.int64(INPUT_UNPARSABLE)
        seen |= bit
        at, first, last = next_key(text, at)
    good = at >= 0 and skip_space(text, at) == end and (seen & 1 or not known)
    return np.int64(INPUT_OK if good else INPUT_UNPARSABLE)


@kernel
def scan_kraken(text, at, end, directory, listings, scanned):
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
    judge, INPUT_WRONG_SYMBOL that nobody asked for this symbol, else what is wrong with the first bad number

    Notes
    -----
    Complexity: O(length). Memory: none. Invariant: no byte behind text[end] is read.
    Twin: bot4/adapters/kraken/parse.py
    """
    message = scanned.message
    begin_scan(message, end)
    at, first, last = first_key(text, skip_space(text, at))
    if first < 0:
        return np.int64(INPUT_UNPARSABLE)
    if is_word(text, first, last, _METHOD):
        return _scan_answer(text, at, end)
    if not is_word(text, first, last, _CHANNEL):
        return np.int64(INPUT_UNPARSABLE)
    name, name_last = text_value(text, at)
    if name_last < 0:
        return np.int64(INPUT_UNPARSABLE)
    channel = _channel_of(text, name, name_last)
    if channel == _NOT_KNOWN:
        return np.int64(INPUT_UNKNOWN_STREAM)
    at = _scan_rest(text, name_last + 1, channel, directory, listings, scanned)
    if at == _UNASKED:
        message[INSTRUMENT] = -1
        return np.int64(INPUT_WRONG_SYMBOL)
    if at < 0 or skip_space(text, at) != end:
        return np.int64(INPUT_UNPARSABLE)
    whole = message[IS_SNAPSHOT] != 0
    if channel == _BOOK:
        message[KIND] = TICK_LEVEL
        return message[REASON]
    message[IS_SNAPSHOT] = 0
    if channel == _TICKER:
        message[KIND] = TICK_QUOTE
    elif channel == _TRADES:
        if whole:  # made before the subscription
            message[TRADES] = 0
            return np.int64(INPUT_OK if message[REASON] == INPUT_OK else INPUT_UNPARSABLE)
        message[KIND] = TICK_TRADE
    return message[REASON]
