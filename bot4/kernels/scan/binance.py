"""Reading the venue's own bytes: one pass over a line, no object made, numbers straight to integers.

A message is `{"stream":"btcusdt@trade","data":{...}}`, a bare snapshot of the book, or the bare data of a stream that
was subscribed to alone: that begins with its event, `{"e":"trade",...}`, but for a best quote of spot, `{"u":...}`,
which names none. Other keys may come in any order (but the stream before its data), white space is passed over, keys
that nobody needs are skipped. It is strict about everything else: what is not well formed up to the line's last byte is
refused, never guessed. Narrower than JSON on purpose: no escapes, no bytes above ASCII, no known key twice, no
container in a key that nobody needs.

Stands in the feed, before validation. Budget: 0.2 us a quote or trade, 30 ns a level (`bot4-bench`).
"""

import numpy as np

from bot4.digits import run_before, word_at
from bot4.jit import inlined, kernel
from bot4.kernels.scan.decimal import CUT, MAX_E8, MAX_QUANTITY, MAX_TICKS, quoted_decimal, scan_decimal
from bot4.kernels.scan.directory import find_listing
from bot4.kernels.scan.scanned import (
    ASK,
    ASK_LOTS,
    ASKS,
    BID,
    BID_LOTS,
    BIDS,
    BUYER_MAKER,
    CHECKSUM,
    DATA,
    EVENT_MS,
    FIRST_ID,
    INDEX,
    INSTRUMENT,
    IS_SNAPSHOT,
    KIND,
    LAST_ID,
    LINE_END,
    MARK,
    N_WORDS,
    OFF_MARKET,
    OTHER_SYMBOL,
    PREVIOUS_ID,
    PRICE,
    QTY,
    RATE,
    REASON,
    RULE_FUTURES,
    SEEN,
    SEQUENCE,
    STREAM,
    SYMBOL,
    TIME_MS,
    TRADE_ID,
    TRADE_KIND,
)
from bot4.kernels.scan.token import (
    BACKSLASH,
    CLOSE_BRACE,
    CLOSE_BRACKET,
    COLON,
    COMMA,
    MINUS,
    NEWLINE,
    OPEN_BRACE,
    OPEN_BRACKET,
    QUOTE,
    find_newline,
    read_integer,
    scan_integer,
    scan_literal,
    skip_space,
    skip_value,
    string_end,
)
from bot4.model.enums import (
    INPUT_BAD_NUMBER,
    INPUT_OFF_LOT,
    INPUT_OFF_TICK,
    INPUT_OK,
    INPUT_TOO_MANY_LEVELS,
    INPUT_UNKNOWN_STREAM,
    INPUT_UNPARSABLE,
    INPUT_WRONG_SYMBOL,
    INPUT_ZERO,
    N_KINDS,
    TICK_LEVEL,
    TICK_MARK,
    TICK_QUOTE,
    TICK_TRADE,
)

_NONE = 63  # field of a key that nobody needs
_COMMON = {"E": EVENT_MS, "T": TIME_MS, "s": SYMBOL}
_KEYS = {
    TICK_QUOTE: {"u": LAST_ID, "b": BID, "B": BID_LOTS, "a": ASK, "A": ASK_LOTS},
    TICK_TRADE: {"t": TRADE_ID, "p": PRICE, "q": QTY, "m": BUYER_MAKER, "X": TRADE_KIND},
    TICK_LEVEL: {"U": FIRST_ID, "u": LAST_ID, "b": BIDS, "a": ASKS},
    TICK_MARK: {"p": MARK, "i": INDEX, "r": RATE},
}
_FIELDS = np.full((N_KINDS, 128), _NONE, np.int64)
for _kind, _names in _KEYS.items():
    for _name, _field in (_COMMON | _names).items():
        _FIELDS[_kind, ord(_name)] = _field
_FIELDS[TICK_LEVEL, 0] = PREVIOUS_ID  # "pu", the one key of two letters
_NEEDED = np.zeros(N_KINDS, np.int64)
for _kind, _names in _KEYS.items():
    for _field in _names.values():
        if _field not in (TRADE_KIND, INDEX, RATE):
            _NEEDED[_kind] |= 1 << _field
    _NEEDED[_kind] |= 1 << SYMBOL
_NEEDED_SNAPSHOT = 1 << LAST_ID | 1 << BIDS | 1 << ASKS


def _text(name: bytes) -> np.ndarray:
    return np.frombuffer(name, np.uint8)


def _word(name: bytes) -> int:
    """As `word_at` reads it."""
    return int.from_bytes(name[:8], "little")


_FIVE = _word(b"\xff" * 5)
_BOOK_TICKER, _TRADE, _DEPTH, _MARK_PRICE = map(_word, (b"bookTicker", b"trade", b"depth", b"markPrice"))
_MARKET = _text(b"MARKET")
_HEAD, _HEAD_REST = _word(b'{"stream'), _word(b'ream":"')  # the rest with seven letters
_SEVEN = _word(b"\xff" * 7)
_HEAD_BYTES = len(b'{"stream":"')
_DATA_FOLLOWS = _word(b'","data":')  # but for the colon
_ANY_KEY, _ONE_LETTER = _word(b"\xff\0\xff\xff"), _word(b'"\0":')
_EVENT_HEAD, _QUOTE_HEAD = _text(b'{"e":"'), _text(b'{"u":')
_EVENTS = tuple(map(_text, (b"trade", b"bookTicker", b"depthUpdate", b"markPriceUpdate")))
_RESULT = _text(b'{"result":null,"id":')
_STREAM = _text(b"stream")
_DATA = _text(b"data")
_LAST_UPDATE_ID = _text(b"lastUpdateId")
_BIDS = _text(b"bids")
_ASKS = _text(b"asks")


@inlined
def _is_word(text, first, last, word):
    """Whether text[first:last] is that word."""
    if last - first != len(word):
        return False
    for index in range(len(word)):  # noqa: SIM110  (a kernel has no generators)
        if text[first + index] != word[index]:
            return False
    return True


@inlined
def _note(message, value):
    """Keep the first reason among the numbers; a reason comes as a negative value."""
    if value < 0 and message[REASON] == INPUT_OK:
        message[REASON] = -value


@inlined
def _is_other_symbol(text, first, last, listing, lower):
    """1 if text[first:last] is not the instrument's symbol (in lower case where asked)."""
    if last - first != listing["symbol_length"]:
        return np.int64(1)
    if not lower:
        for at in range(0, last - first, 8):
            beyond = 8 * max(8 - (last - first - at), 0)
            if (word_at(text, first + at) ^ word_at(listing["symbol"], at)) << beyond != 0:
                return np.int64(1)
        return np.int64(0)
    for index in range(last - first):
        byte = np.int64(text[first + index])
        if 65 <= byte <= 90:
            return np.int64(1)
        if 97 <= byte <= 122:
            byte -= 32
        if byte != np.int64(listing["symbol"][index]):
            return np.int64(1)
    return np.int64(0)


@inlined
def _kind_of(text, at, last):
    """TICK_* of the stream whose name goes on from text[at] to text[last], or to a further '@'; 0: none is known."""
    word = word_at(text, at)
    kind = np.int64(0)
    behind = at + 5
    if word & _FIVE == _TRADE:
        kind = np.int64(TICK_TRADE)
    elif word & _FIVE == _DEPTH:
        kind = np.int64(TICK_LEVEL)
    elif word == _BOOK_TICKER and text[at + 8] == 101 and text[at + 9] == 114:
        kind = np.int64(TICK_QUOTE)
        behind = at + 10
    elif word == _MARK_PRICE and text[at + 8] == 101:
        kind = np.int64(TICK_MARK)
        behind = at + 9
    return kind if behind == last or (behind < last and text[behind] == 64) else np.int64(0)


@inlined
def _scan_stream(text, at, listing, message):
    """The stream's name in quotes: symbol and kind. Index after it, -1 if it is no string."""
    if text[at] != QUOTE:
        return np.int64(-1)
    first = at + 1
    last = string_end(text, first)
    if last < 0:
        return np.int64(-1)
    sign = first
    while sign < last and text[sign] != 64:
        sign += 1
    message[KIND] = _kind_of(text, sign + 1, last)
    message[OTHER_SYMBOL] |= _is_other_symbol(text, first, sign, listing, True)
    return last + 1


@inlined
def _behind(text, at, byte):
    """Index behind that byte, which comes next but for white space; -1 if another one does."""
    if text[at] != byte:
        at = skip_space(text, at)
        if text[at] != byte:
            return np.int64(-1)
    return np.int64(at + 1)


@kernel
def scan_levels(text, at, listing, prices, lots, message, field):
    """Levels `[["price","quantity"], ...]` as ticks and lots; their number goes to message[field].

    Parameters
    ----------
    text : uint8[N], with a newline at the line's end
    at : index of the opening bracket
    listing : LISTING record
    prices, lots : int64[MAX_LEVELS], out
    message : int64[N_WORDS], out
    field : BIDS or ASKS

    Returns
    -------
    int64, index after the closing bracket, -1 if this is no array of pairs of strings

    Notes
    -----
    Complexity: O(length). Errors: the first bad value's reason in message[REASON]. A quantity of 0 is good; one between
    two lots (venues hold such remainders of old orders) counts as the lots we could take, at least one.
    Twin: tests/reference/kernels/scan.py
    """
    if text[at] != OPEN_BRACKET:
        return np.int64(-1)
    price_decimals = listing["price_decimals"]
    tick_units = listing["tick_units"]
    qty_decimals = listing["qty_decimals"]
    lot_units = listing["lot_units"]
    count = np.int64(0)
    at = skip_space(text, at + 1)
    while text[at] == OPEN_BRACKET:
        at = _behind(text, at + 1, QUOTE)
        if at < 0:
            return np.int64(-1)
        at, price = quoted_decimal(text, at, price_decimals, tick_units, INPUT_OFF_TICK, MAX_TICKS)
        if at < 0:
            return np.int64(-1)
        at = _behind(text, at, COMMA)
        if at < 0:
            return np.int64(-1)
        at = _behind(text, at, QUOTE)
        if at < 0:
            return np.int64(-1)
        at, quantity = quoted_decimal(text, at, qty_decimals, lot_units, CUT, MAX_QUANTITY)
        if at < 0:
            return np.int64(-1)
        at = _behind(text, at, CLOSE_BRACKET)
        if at < 0:
            return np.int64(-1)
        at = skip_space(text, at)
        if price == 0:
            price = np.int64(-INPUT_ZERO)
        _note(message, price)
        _note(message, quantity)
        if count < len(prices):
            prices[count] = price
            lots[count] = quantity
            count += 1
        else:
            _note(message, np.int64(-INPUT_TOO_MANY_LEVELS))
        if text[at] == CLOSE_BRACKET:
            message[field] = count
            return at + 1
        if text[at] != COMMA:
            return np.int64(-1)
        at = skip_space(text, at + 1)
    if count == 0 and text[at] == CLOSE_BRACKET:
        message[field] = 0
        return at + 1
    return np.int64(-1)


@inlined
def _scan_rate(text, at):
    """A decimal in 1e-8 that may be negative, or empty (some contracts have none). (index after, value, reason)"""
    if text[at] == QUOTE:
        return at + 1, np.int64(0), np.int64(INPUT_OK)
    negative = text[at] == MINUS
    at, value = scan_decimal(text, at + 1 if negative else at, 8, 1, INPUT_BAD_NUMBER, MAX_E8)
    if value < 0:
        return at, np.int64(0), np.int64(INPUT_BAD_NUMBER)
    return at, -value if negative else value, np.int64(INPUT_OK)


@inlined
def _scan_number(text, at, field, listing, message):
    """A decimal in quotes, read as its field wants it. Index after it, -1 if it is no string."""
    if text[at] != QUOTE:
        return np.int64(-1)
    at += 1
    if field <= QTY:
        decimals, units, off = listing["price_decimals"], listing["tick_units"], np.int64(INPUT_OFF_TICK)
        limit = np.int64(MAX_TICKS)
        if field > PRICE:
            decimals, units, off = listing["qty_decimals"], listing["lot_units"], np.int64(INPUT_OFF_LOT)
            limit = np.int64(MAX_QUANTITY)
        at, value = quoted_decimal(text, at, decimals, units, off, limit)
    elif field < RATE:
        at, value = scan_decimal(text, at, 8, 1, INPUT_BAD_NUMBER, MAX_E8)
    else:
        at, value, reason = _scan_rate(text, at)
        _note(message, -reason)
        message[field] = value
        return np.int64(at)
    _note(message, np.int64(-INPUT_ZERO) if value == 0 and field != INDEX else value)
    message[field] = value
    return at


@inlined
def _scan_field(text, at, field, listing, message, prices, lots):
    """The value of one key of the data. Index after it, -1 if it is not of the key's kind."""
    if field == _NONE:
        return skip_value(text, at)
    if (message[SEEN] >> field) & 1:
        return np.int64(-1)
    message[SEEN] |= np.int64(1) << field
    if field <= TRADE_ID:
        at, value = read_integer(text, at)
        _note(message, value)
        message[field] = value
        return at
    if field <= RATE:
        return _scan_number(text, at, field, listing, message)
    if field == BIDS:
        return scan_levels(text, at, listing, prices[0], lots[0], message, field)
    if field == ASKS:
        return scan_levels(text, at, listing, prices[1], lots[1], message, field)
    if field == BUYER_MAKER:
        at, value = scan_literal(text, at)
        message[field] = value
        return at if value >= 0 else np.int64(-1)
    if text[at] != QUOTE:
        return np.int64(-1)
    first = at + 1
    last = string_end(text, first)
    if last < 0:
        return np.int64(-1)
    if field == SYMBOL:
        message[OTHER_SYMBOL] |= _is_other_symbol(text, first, last, listing, False)
    else:
        message[OFF_MARKET] = 0 if _is_word(text, first, last, _MARKET) else 1
    return last + 1


@inlined
def _data_field(text, first, last, kind):
    """Field of a key inside the data."""
    byte = np.int64(text[first])
    if last - first == 1 and byte < 128:
        return _FIELDS[kind, byte]
    if last - first == 2 and byte == 112 and text[first + 1] == 117:  # pu
        return _FIELDS[kind, 0]
    return np.int64(_NONE)


@inlined
def _begins(text, at, word):
    """Whether the text goes on with that word; nothing behind the first other byte is read."""
    for index in range(len(word)):  # noqa: SIM110  (a kernel has no generators)
        if text[at + index] != word[index]:
            return False
    return True


@inlined
def _bare_kind(text, at, listing):
    """TICK_* of the event that the object at text[at] is, 0 if it is no bare one, -1 if nobody knows it."""
    if _begins(text, at, _EVENT_HEAD):
        first = at + len(_EVENT_HEAD)
        last = string_end(text, first)
        if last < 0:
            return np.int64(0)
        if _is_word(text, first, last, _EVENTS[0]):
            return np.int64(TICK_TRADE)
        if _is_word(text, first, last, _EVENTS[1]):
            return np.int64(TICK_QUOTE)
        if _is_word(text, first, last, _EVENTS[2]):
            return np.int64(TICK_LEVEL)
        return np.int64(TICK_MARK if _is_word(text, first, last, _EVENTS[3]) else -1)
    of_spot = listing["rule"] != RULE_FUTURES
    return np.int64(TICK_QUOTE if of_spot and _begins(text, at, _QUOTE_HEAD) else 0)


@inlined
def _outer_field(text, first, last):
    """Field of a key of the envelope or of a snapshot."""
    length = last - first
    if length == 6 and _is_word(text, first, last, _STREAM):
        return np.int64(STREAM)
    if length == 4:
        if _is_word(text, first, last, _DATA):
            return np.int64(DATA)
        if _is_word(text, first, last, _BIDS):
            return np.int64(BIDS)
        if _is_word(text, first, last, _ASKS):
            return np.int64(ASKS)
    if length == 12 and _is_word(text, first, last, _LAST_UPDATE_ID):
        return np.int64(LAST_ID)
    if length == 1 and text[first] == 69:  # E: when the venue made the snapshot
        return np.int64(EVENT_MS)
    return np.int64(_NONE)


@inlined
def _scan_data(text, at, listing, message, prices, lots):
    """The object under "data". Index after it, -1 if it is malformed."""
    kind = message[KIND]
    if text[at] != OPEN_BRACE:
        return np.int64(-1)
    at = skip_space(text, at + 1)
    if text[at] == CLOSE_BRACE:
        return at + 1
    while text[at] == QUOTE:
        word = word_at(text, at)
        letter = word >> 8 & 0xFF
        if word & _ANY_KEY == _ONE_LETTER and 65 <= letter < 127 and letter != BACKSLASH:
            field = _FIELDS[kind, letter]  # nearly every key has one letter
            at += 3
        else:
            first = at + 1
            last = string_end(text, first)
            if last < 0:
                return np.int64(-1)
            field = _data_field(text, first, last, kind)
            at = skip_space(text, last + 1)
            if text[at] != COLON:
                return np.int64(-1)
        at = _scan_field(text, skip_space(text, at + 1), field, listing, message, prices, lots)
        if at < 0:
            return np.int64(-1)
        at = skip_space(text, at)
        if text[at] == CLOSE_BRACE:
            return at + 1
        if text[at] != COMMA:
            return np.int64(-1)
        at = skip_space(text, at + 1)
    return np.int64(-1)


@inlined
def _scan_envelope(text, at, listing, message, prices, lots):
    """The outer object. Index after it, -1 if it is malformed."""
    at = skip_space(text, at)
    if text[at] != OPEN_BRACE:
        return np.int64(-1)
    bare = _bare_kind(text, at, listing)
    if bare < 0:
        return at  # as of a stream that nobody knows
    message[KIND] = bare
    at = skip_space(text, at + 1)
    if text[at] == CLOSE_BRACE:
        return at + 1
    while text[at] == QUOTE:
        first = at + 1
        last = string_end(text, first)
        if last < 0:
            return np.int64(-1)
        field = _data_field(text, first, last, bare) if bare > 0 else _outer_field(text, first, last)
        at = skip_space(text, last + 1)
        if text[at] != COLON:
            return np.int64(-1)
        at = skip_space(text, at + 1)
        if field == STREAM or field == DATA:
            if (message[SEEN] >> field) & 1 or (field == STREAM and message[SEEN] & _NEEDED_SNAPSHOT):
                return np.int64(-1)
            message[SEEN] |= np.int64(1) << field
            if field == STREAM:
                at = _scan_stream(text, at, listing, message)
                if at >= 0 and message[KIND] == 0:
                    return at  # nobody knows this stream: what else the line says does not matter
            elif message[KIND] == 0 or message[IS_SNAPSHOT] != 0:
                return np.int64(-1)  # data before its stream, or in a snapshot
            else:
                at = _scan_data(text, at, listing, message, prices, lots)
        else:
            if bare == 0 and field == LAST_ID and not (message[SEEN] >> STREAM) & 1:
                message[KIND] = TICK_LEVEL
                message[IS_SNAPSHOT] = 1
            if (message[SEEN] >> STREAM) & 1:
                field = np.int64(_NONE)
            at = _scan_field(text, at, field, listing, message, prices, lots)
        if at < 0:
            return np.int64(-1)
        at = skip_space(text, at)
        if text[at] == CLOSE_BRACE:
            return at + 1
        if text[at] != COMMA:
            return np.int64(-1)
        at = skip_space(text, at + 1)
    return np.int64(-1)


@inlined
def _verdict(text, at, listing, message):
    """What the fields of a well-formed object make of the message."""
    kind = message[KIND]
    seen = message[SEEN]
    if kind == 0:
        return np.int64(INPUT_UNKNOWN_STREAM)
    if text[at] != NEWLINE:
        return np.int64(INPUT_UNPARSABLE)
    needed = _NEEDED_SNAPSHOT if message[IS_SNAPSHOT] != 0 else _NEEDED[kind]
    if kind == TICK_LEVEL and message[IS_SNAPSHOT] == 0 and listing["rule"] == RULE_FUTURES:
        needed |= 1 << PREVIOUS_ID
    if seen & needed != needed:
        return np.int64(INPUT_UNPARSABLE)
    if message[OTHER_SYMBOL] != 0:
        return np.int64(INPUT_WRONG_SYMBOL)
    if message[OFF_MARKET] != 0 and message[REASON] == INPUT_ZERO:
        return np.int64(INPUT_OK)  # a trade that is none of the market may have neither price nor quantity
    return message[REASON]


@kernel
def scan_message(text, at, end, listing, message, prices, lots):
    """Read one message into integers.

    Parameters
    ----------
    text : uint8[N]
    at : index of the first byte after the receive time
    end : index after the last complete line; text[end - 1] is a newline
    listing : LISTING record of the instrument whose source this is
    message : int64[N_WORDS], out: KIND (as far as it could be told, also when refused), the fields of that kind,
        numbers of levels at BIDS and ASKS, LINE_END
    prices, lots : int64[2, MAX_LEVELS], out: levels of a depth message or snapshot, bids and asks

    Returns
    -------
    int64, INPUT_OK or why the message is refused: INPUT_UNPARSABLE, INPUT_UNKNOWN_STREAM, INPUT_WRONG_SYMBOL, or what
    is wrong with the first bad number

    Notes
    -----
    Complexity: O(length). Memory: none. Invariant: no byte after the line's newline is read.
    Twin: tests/reference/kernels/scan.py
    """
    for index in range(N_WORDS):
        message[index] = 0
    after = _scan_envelope(text, at, listing, message, prices, lots)
    if after < 0:
        message[LINE_END] = find_newline(text, at, end)
        return np.int64(INPUT_UNPARSABLE)
    after = skip_space(text, after)
    message[LINE_END] = after if text[after] == NEWLINE else find_newline(text, after, end)
    return _verdict(text, after, listing, message)


@kernel
def scan_time(text, at):
    """Receive time of a line: (ns, index after the space), or (-1, 0). Nanoseconds have 19 digits, microseconds 16.

    Notes
    -----
    Bound: what is below 9e18 ns fits, nothing else is a time. Twin: tests/reference/kernels/scan.py
    """
    first = at
    value = np.int64(0)
    while at - first < 19 and 48 <= text[at] <= 57:
        if at - first < 18:
            value = value * 10 + (np.int64(text[at]) - 48)
        at += 1
    digits = at - first
    if text[at] != 32 or text[first] == 48:
        return np.int64(-1), np.int64(0)
    if digits == 16 and text[first] < 57:
        return value * 1_000, np.int64(at + 1)
    if digits == 19 and text[first] < 57:
        return value * 10 + (np.int64(text[at - 1]) - 48), np.int64(at + 1)
    return np.int64(-1), np.int64(0)


@inlined
def _scan_answer(text, at, end, message):
    """What has no stream: the answer to a subscription, as the venue writes it, is good and says nothing."""
    after = at + len(_RESULT)
    if after >= end or not _is_word(text, at, after, _RESULT):
        return np.int64(INPUT_UNPARSABLE)
    after, number = scan_integer(text, after)
    if after < 0 or number < 0 or text[after] != CLOSE_BRACE or after + 1 != end:
        return np.int64(INPUT_UNPARSABLE)
    return np.int64(INPUT_OK)


@kernel
def scan_binance(text, at, end, directory, listings, scanned):
    """Read one message of a combined stream of many instruments.

    Parameters
    ----------
    text : uint8[N]
    at, end : int64, the message is text[at:end); text[end] is a newline
    directory, listings : see `find_listing`
    scanned : Scanned, out; its word INSTRUMENT is -1 where none could be told

    Returns
    -------
    int64, as `scan_message`; INPUT_UNPARSABLE also where the stream does not come first

    Notes
    -----
    Complexity: O(length). Twin: bot4/adapters/binance/parse.py
    """
    message = scanned.message
    for index in range(N_WORDS):
        message[index] = 0
    message[INSTRUMENT] = -1
    message[LINE_END] = end
    message[SEQUENCE] = -1
    message[CHECKSUM] = -1
    first = at + _HEAD_BYTES
    if word_at(text, at) != _HEAD or word_at(text, at + 4) & _SEVEN != _HEAD_REST:
        return _scan_answer(text, at, end, message)
    last = first
    count = np.int64(8)
    while count == 8 and last < end:
        count = run_before(text, last, 64)
        last += count
    last = min(last, end)
    instrument = find_listing(text, first, last, directory, listings)
    if instrument < 0:
        return np.int64(INPUT_WRONG_SYMBOL)
    message[INSTRUMENT] = instrument
    listing = listings[instrument]
    close = string_end(text, last)
    if close < 0:
        return np.int64(INPUT_UNPARSABLE)
    kind = _kind_of(text, last + 1, close)
    data = close + 9
    if kind == 0 or data >= end or word_at(text, close) != _DATA_FOLLOWS or text[close + 8] != COLON:
        reason = scan_message(text, at, end + 1, listing, message, scanned.prices, scanned.lots)
        message[INSTRUMENT] = instrument
        message[SEQUENCE] = -1
        message[CHECKSUM] = -1
        return reason
    message[KIND] = kind
    message[SEEN] = 1 << STREAM | 1 << DATA
    after = _scan_data(text, data, listing, message, scanned.prices, scanned.lots)
    if after < 0 or text[after] != CLOSE_BRACE or after + 1 != end:
        return np.int64(INPUT_UNPARSABLE)
    return _verdict(text, end, listing, message)
