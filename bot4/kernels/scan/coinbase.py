"""Reading Coinbase's own bytes, Advanced Trade: one pass, no object made.

`{"channel":"l2_data","timestamp":...,"sequence_num":7,"events":[{...}]}`: the channel stands first, the number of the
message before its events, a product before its values. A message has one event of one product; one that has more is
refused, as is anything that is not known here, and left to the typed decoder. Every message is numbered, also those
that hold no market data: the word SEQUENCE.

    l2_data         a change or the whole of a book, bids and offers in one list. A whole book has tens of thousands of
                    levels, best first: those behind the first MAX_LEVELS of a side are looked at and left out, because
                    no book of ours reaches so deep
    market_trades   trades, latest first: turned to the order in which they were made. The side is the maker's. What a
                    subscription sends of trades made before it is no news
    ticker          the best quote, at the message's time
    candles, heartbeats, subscriptions            no market data

Stands in the live feed, before validation. Twin: bot4/adapters/coinbase/parse.py
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.scan.decimal import CUT, MAX_QUANTITY, MAX_TICKS, scan_decimal
from bot4.kernels.scan.directory import find_listing
from bot4.kernels.scan.moment import scan_moment
from bot4.kernels.scan.number import scan_count, trade_number
from bot4.kernels.scan.scanned import (
    ASK,
    ASK_LOTS,
    BID,
    BID_LOTS,
    BIDS,
    INSTRUMENT,
    IS_SNAPSHOT,
    KIND,
    MAX_LEVELS,
    MAX_TRADES,
    N_TRADE_WORDS,
    REASON,
    SENT_NS,
    SEQUENCE,
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
from bot4.kernels.scan.token import QUOTE, skip_space
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
    INPUT_OFF_LOT,
    INPUT_OFF_TICK,
    INPUT_OK,
    INPUT_OVERFLOW,
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
_NOT_KNOWN, _SILENT, _BOOK, _TRADES, _TICKER = range(5)  # types of channels

_CHANNEL, _TIMESTAMP, _SEQUENCE_NUM, _EVENTS = (
    word(name) for name in (b"channel", b"timestamp", b"sequence_num", b"events")
)
_L2_DATA, _MARKET_TRADES, _TICKER_NAME, _TICKER_BATCH = (
    word(name) for name in (b"l2_data", b"market_trades", b"ticker", b"ticker_batch")
)
_CANDLES, _HEARTBEATS, _SUBSCRIPTIONS = (word(name) for name in (b"candles", b"heartbeats", b"subscriptions"))
_TYPE, _PRODUCT, _SNAPSHOT, _UPDATE = (word(name) for name in (b"type", b"product_id", b"snapshot", b"update"))
_UPDATES, _TRADES_NAME, _TICKERS = word(b"updates"), word(b"trades"), word(b"tickers")
_SIDE, _EVENT_TIME, _LEVEL_PRICE, _NEW_QUANTITY = (
    word(name) for name in (b"side", b"event_time", b"price_level", b"new_quantity")
)
_BID_SIDE, _OFFER_SIDE, _BUY, _SELL = (word(name) for name in (b"bid", b"offer", b"BUY", b"SELL"))
_TRADE_ID, _PRICE, _SIZE, _TIME = (word(name) for name in (b"trade_id", b"price", b"size", b"time"))
_BEST_BID, _BEST_BID_QTY, _BEST_ASK, _BEST_ASK_QTY = (
    word(name) for name in (b"best_bid", b"best_bid_quantity", b"best_ask", b"best_ask_quantity")
)


@inlined
def _channel_of(text, first, last):
    """Type of a channel."""
    if is_word(text, first, last, _L2_DATA):
        return np.int64(_BOOK)
    if is_word(text, first, last, _MARKET_TRADES):
        return np.int64(_TRADES)
    if is_word(text, first, last, _TICKER_NAME) or is_word(text, first, last, _TICKER_BATCH):
        return np.int64(_TICKER)
    silent = is_word(text, first, last, _CANDLES) or is_word(text, first, last, _HEARTBEATS)
    silent = silent or is_word(text, first, last, _SUBSCRIPTIONS)
    return np.int64(_SILENT if silent else _NOT_KNOWN)


@inlined
def _price(text, at, listing):
    """(index behind, ticks or minus the reason) of a price in quotes."""
    if text[at] != QUOTE:
        return np.int64(-1), np.int64(0)
    at, ticks = scan_decimal(text, at + 1, listing["price_decimals"], listing["tick_units"], INPUT_OFF_TICK, MAX_TICKS)
    return at, np.int64(-INPUT_ZERO) if ticks == 0 else ticks


@inlined
def _quantity(text, at, listing, off_reason):
    """(index behind, lots or minus the reason) of a quantity in quotes; zero is one if it may be cut."""
    if text[at] != QUOTE:
        return np.int64(-1), np.int64(0)
    at, lots = scan_decimal(text, at + 1, listing["qty_decimals"], listing["lot_units"], off_reason, MAX_QUANTITY)
    return at, np.int64(-INPUT_ZERO) if lots == 0 and off_reason != CUT else lots


@inlined
def _scan_product(text, at, instrument, directory, listings):
    """(index behind, number of the instrument) of a product's name; the number is -1 for one that nobody asked for.

    instrument: the one that the message is of already, -1: none yet; another one is refused.
    """
    first, last = text_value(text, at)
    if last < 0:
        return np.int64(-1), np.int64(-1)
    found = find_listing(text, first, last, directory, listings)
    if instrument >= 0 and found != instrument:
        return np.int64(-1), np.int64(-1)
    return last + 1, found


@inlined
def _keep_level(scanned, row, ticks, lots):
    """Put a level into the table, or pass over one that lies too deep in a whole book, however much it holds."""
    message = scanned.message
    place = BIDS + row
    count = message[place]
    prices = scanned.prices[row]
    if count < MAX_LEVELS:
        prices[count] = ticks
        scanned.lots[row][count] = lots
        message[place] = count + 1
        note(message, ticks)
        note(message, lots)
        return
    deepest = prices[count - 1]
    deeper = 0 < ticks < deepest if row == 0 else ticks > deepest or ticks == -INPUT_OVERFLOW
    if not deeper or message[IS_SNAPSHOT] == 0:
        note(message, np.int64(-INPUT_TOO_MANY_LEVELS))
    if lots != -INPUT_OVERFLOW:
        note(message, lots)


@kernel
def _scan_levels(text, at, listing, scanned):
    """The updates of a book. Index behind them, -1 if they are malformed."""
    message = scanned.message
    known = np.int64(0)  # the time of the level before, which most levels share
    known_last = np.int64(-1)
    at, more = first_item(text, at)
    while more:
        seen = np.int64(0)
        row = np.int64(0)
        ticks = np.int64(0)
        lots = np.int64(0)
        at, first, last = first_key(text, at)
        while first >= 0:
            bit = np.int64(0)
            if is_word(text, first, last, _SIDE):
                bit = np.int64(1)
                value, value_last = text_value(text, at)
                if value_last < 0:
                    return np.int64(-1)
                if is_word(text, value, value_last, _OFFER_SIDE):
                    row = np.int64(1)
                elif not is_word(text, value, value_last, _BID_SIDE):
                    return np.int64(-1)
                at = value_last + 1
            elif is_word(text, first, last, _EVENT_TIME):
                bit = np.int64(2)
                value, value_last = text_value(text, at)
                if value_last < 0:
                    return np.int64(-1)
                if known_last < 0 or not is_same(text, value, value_last, known, known_last):
                    known = value
                    known_last = value_last
                    moment = scan_moment(text, value, value_last)
                    if moment < 0:
                        return np.int64(-1)
                    message[VENUE_NS] = max(message[VENUE_NS], moment)
                at = value_last + 1
            elif is_word(text, first, last, _LEVEL_PRICE):
                bit = np.int64(4)
                at, ticks = _price(text, at, listing)
            elif is_word(text, first, last, _NEW_QUANTITY):
                bit = np.int64(8)
                at, lots = _quantity(text, at, listing, CUT)
            else:
                at = skip_json(text, at)
            if at < 0 or seen & bit:
                return np.int64(-1)
            seen |= bit
            at, first, last = next_key(text, at)
        if at < 0 or seen != 15:
            return np.int64(-1)
        _keep_level(scanned, row, ticks, lots)
        at, more = next_item(text, at)
    return at


@kernel
def _scan_trade(text, at, instrument, directory, listings, trade, message):
    """(index behind, instrument) of one trade; index -1 if it is malformed or of another product."""
    seen = np.int64(0)
    found = np.int64(-1)
    at, first, last = first_key(text, at)
    while first >= 0:
        bit = np.int64(0)
        if is_word(text, first, last, _PRODUCT):
            bit = np.int64(1)
            at, found = _scan_product(text, at, instrument, directory, listings)
            if found < 0:
                return np.int64(-1), at  # at >= 0: a product that nobody asked for
        elif is_word(text, first, last, _PRICE):
            bit = np.int64(2)
            if found < 0:
                return np.int64(-1), np.int64(-1)
            at, value = _price(text, at, listings[found])
            trade[TRADE_PRICE] = value
            note(message, value)
        elif is_word(text, first, last, _SIZE):
            bit = np.int64(4)
            if found < 0:
                return np.int64(-1), np.int64(-1)
            at, value = _quantity(text, at, listings[found], INPUT_OFF_LOT)
            trade[TRADE_QTY] = value
            note(message, value)
        elif (
            is_word(text, first, last, _TRADE_ID)
            or is_word(text, first, last, _TIME)
            or (is_word(text, first, last, _SIDE))
        ):
            value, value_last = text_value(text, at)
            if value_last <= value:
                return np.int64(-1), np.int64(-1)
            at = value_last + 1
            if text[first] == 115:  # side: of the maker
                bit = np.int64(8)
                sell = is_word(text, value, value_last, _SELL)
                if not sell and not is_word(text, value, value_last, _BUY):
                    return np.int64(-1), np.int64(-1)
                trade[TRADE_SIDE] = 1 if sell else -1
            elif last - first == 4:
                bit = np.int64(16)
                moment = scan_moment(text, value, value_last)
                if moment < 0:
                    return np.int64(-1), np.int64(-1)
                trade[TRADE_NS] = moment
            else:
                bit = np.int64(32)
                number, hashed = trade_number(text, value, value_last)
                trade[TRADE_NUMBER] = number
                trade[TRADE_HASHED] = hashed
        else:
            at = skip_json(text, at)
        if at < 0 or seen & bit:
            return np.int64(-1), np.int64(-1)
        seen |= bit
        at, first, last = next_key(text, at)
    trade[TRADE_OFF_MARKET] = 0
    return at if seen == 63 else np.int64(-1), found


@inlined
def _turn_round(trades, count):
    """The latest first becomes the latest last."""
    for row in range(count // 2):
        for place in range(N_TRADE_WORDS):
            value = trades[row, place]
            trades[row, place] = trades[count - 1 - row, place]
            trades[count - 1 - row, place] = value


@kernel
def _scan_trades(text, at, directory, listings, scanned):
    """The trades of an event. Index behind them, -1 if they are malformed, -2 if nobody asked for the product."""
    message = scanned.message
    count = np.int64(0)
    at, more = first_item(text, at)
    while more:
        if count == MAX_TRADES:
            return np.int64(-1)
        at, found = _scan_trade(text, at, message[INSTRUMENT], directory, listings, scanned.trades[count], message)
        if at < 0:
            return np.int64(-2 if found >= 0 else -1)
        message[INSTRUMENT] = found
        count += 1
        at, more = next_item(text, at)
    if at < 0 or count == 0:
        return np.int64(-1)
    _turn_round(scanned.trades, count)
    message[TRADES] = count
    message[VENUE_NS] = scanned.trades[count - 1][TRADE_NS]
    return at


@kernel
def _scan_ticker(text, at, directory, listings, message):
    """The tickers of an event, which have to be one. As `_scan_trades`."""
    at, more = first_item(text, at)
    if not more:
        return np.int64(-1)
    seen = np.int64(0)
    found = np.int64(-1)
    at, first, last = first_key(text, at)
    while first >= 0:
        bit = np.int64(0)
        if is_word(text, first, last, _PRODUCT):
            bit = np.int64(1)
            at, found = _scan_product(text, at, np.int64(-1), directory, listings)
            if found < 0:
                return np.int64(-2 if at >= 0 else -1)
        elif is_word(text, first, last, _BEST_BID) or is_word(text, first, last, _BEST_ASK):
            if found < 0 or text[at] != QUOTE or text[at + 1] == QUOTE:
                return np.int64(-1)  # what is left out makes no quote
            place = BID if text[last - 1] == 100 else ASK  # d
            bit = np.int64(1) << place
            at, value = _price(text, at, listings[found])
            message[place] = value
            note(message, value)
        elif is_word(text, first, last, _BEST_BID_QTY) or is_word(text, first, last, _BEST_ASK_QTY):
            if found < 0 or text[at] != QUOTE or text[at + 1] == QUOTE:
                return np.int64(-1)
            place = BID_LOTS if text[first + 5] == 98 else ASK_LOTS  # b
            bit = np.int64(1) << place
            at, value = _quantity(text, at, listings[found], INPUT_OFF_LOT)
            message[place] = value
            note(message, value)
        else:
            at = skip_json(text, at)
        if at < 0 or seen & bit:
            return np.int64(-1)
        seen |= bit
        at, first, last = next_key(text, at)
    if at < 0 or seen != 1 | 1 << BID | 1 << ASK | 1 << BID_LOTS | 1 << ASK_LOTS:
        return np.int64(-1)
    message[INSTRUMENT] = found
    at, more = next_item(text, at)
    return np.int64(-1) if more else at


@kernel
def _scan_event(text, at, channel, directory, listings, scanned):
    """The one event of a message. As `_scan_trades`."""
    message = scanned.message
    seen = np.int64(0)
    at, first, last = first_key(text, at)
    while first >= 0:
        bit = np.int64(0)
        if is_word(text, first, last, _TYPE):
            bit = np.int64(1)
            value, value_last = text_value(text, at)
            if value_last < 0:
                return np.int64(-1)
            whole = is_word(text, value, value_last, _SNAPSHOT)
            if not whole and not is_word(text, value, value_last, _UPDATE):
                return np.int64(-1)
            message[IS_SNAPSHOT] = 1 if whole else 0
            at = value_last + 1
        elif channel == _BOOK and is_word(text, first, last, _PRODUCT):
            bit = np.int64(2)
            at, found = _scan_product(text, at, np.int64(-1), directory, listings)
            if found < 0:
                return np.int64(-2 if at >= 0 else -1)
            message[INSTRUMENT] = found
        elif channel == _BOOK and is_word(text, first, last, _UPDATES):
            bit = np.int64(4)
            if seen & 3 != 3:
                return np.int64(-1)  # what the levels are of has to be known
            at = _scan_levels(text, at, listings[message[INSTRUMENT]], scanned)
        elif channel == _TRADES and is_word(text, first, last, _TRADES_NAME):
            bit = np.int64(6)
            at = _scan_trades(text, at, directory, listings, scanned)
        elif channel == _TICKER and is_word(text, first, last, _TICKERS):
            bit = np.int64(6)
            at = _scan_ticker(text, at, directory, listings, message)
        else:
            at = skip_json(text, at)
        if at < 0 or seen & bit:
            return at if at < 0 else np.int64(-1)
        seen |= bit
        at, first, last = next_key(text, at)
    return at if seen == 7 else np.int64(-1)


@inlined
def _scan_events(text, at, channel, directory, listings, scanned):
    """The events of a message, which have to be one. As `_scan_trades`."""
    if channel == _SILENT:
        return skip_json(text, at)
    at, more = first_item(text, at)
    if not more:
        return np.int64(-1)
    at = _scan_event(text, at, channel, directory, listings, scanned)
    if at < 0:
        return at
    at, more = next_item(text, at)
    return np.int64(-1) if more else at


@kernel
def _scan_rest(text, at, channel, directory, listings, scanned):
    """What follows the channel. As `_scan_trades`, index behind the message."""
    message = scanned.message
    seen = np.int64(0)
    sent_ns = np.int64(0)
    at, first, last = next_key(text, at)
    while first >= 0:
        bit = np.int64(0)
        if is_word(text, first, last, _EVENTS):
            bit = np.int64(1)
            if not seen & 4:
                return np.int64(-1)
            at = _scan_events(text, at, channel, directory, listings, scanned)
        elif is_word(text, first, last, _TIMESTAMP):
            bit = np.int64(2)
            value, value_last = text_value(text, at)
            sent_ns = scan_moment(text, value, value_last) if value_last >= 0 else np.int64(-1)
            at = value_last + 1 if sent_ns >= 0 else np.int64(-1)
        elif is_word(text, first, last, _SEQUENCE_NUM):
            bit = np.int64(4)
            at, value = scan_count(text, at, _LAST_COUNT)
            message[SEQUENCE] = value
        elif is_word(text, first, last, _CHANNEL):
            return np.int64(-1)
        else:
            at = skip_json(text, at)
        if at < 0 or seen & bit:
            return at if at < 0 else np.int64(-1)
        seen |= bit
        at, first, last = next_key(text, at)
    message[SENT_NS] = sent_ns
    if channel == _TICKER:
        message[VENUE_NS] = sent_ns
    return at if seen == 7 or (channel == _SILENT and seen == 6) else np.int64(-1)


@kernel
def scan_coinbase(text, at, end, directory, listings, scanned):
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
    judge, INPUT_WRONG_SYMBOL that nobody asked for this product, else what is wrong with the first bad number

    Notes
    -----
    Complexity: O(length). Memory: none. Invariant: no byte behind text[end] is read.
    Twin: bot4/adapters/coinbase/parse.py
    """
    message = scanned.message
    begin_scan(message, end)
    at, first, last = first_key(text, skip_space(text, at))
    if first < 0 or not is_word(text, first, last, _CHANNEL):
        return np.int64(INPUT_UNPARSABLE)
    name, name_last = text_value(text, at)
    if name_last < 0:
        return np.int64(INPUT_UNPARSABLE)
    channel = _channel_of(text, name, name_last)
    if channel == _NOT_KNOWN:
        return np.int64(INPUT_UNKNOWN_STREAM)
    at = _scan_rest(text, name_last + 1, channel, directory, listings, scanned)
    if at == -2:
        message[INSTRUMENT] = -1
        return np.int64(INPUT_WRONG_SYMBOL)
    if at < 0 or skip_space(text, at) != end:
        return np.int64(INPUT_UNPARSABLE)
    if channel == _BOOK:
        message[KIND] = TICK_LEVEL
    elif channel == _TICKER:
        message[KIND] = TICK_QUOTE
        message[IS_SNAPSHOT] = 0
    elif channel == _TRADES:
        if message[IS_SNAPSHOT] != 0:  # made before the subscription
            message[TRADES] = 0
            message[IS_SNAPSHOT] = 0
            return np.int64(INPUT_OK if message[REASON] == INPUT_OK else INPUT_UNPARSABLE)
        message[KIND] = TICK_TRADE
    return message[REASON]
