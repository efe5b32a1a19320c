"""The messages of Kraken spot's public websockets as typed events: the checked way, which knows every field it uses.

Two decoders, because the venue has two protocols: `KrakenV2` reads what it speaks today, `KrakenV1` what older
recordings hold. Both check a book by CRC32 over the digits of its ten best levels a side. The first version writes
those digits itself. The second writes JSON numbers, whose trailing zeros mean nothing to JSON, so a decoder that is
given the instruments writes the prices and quantities of books with the digits of the venue's precision; without, it
keeps the digits as sent. A level beyond the subscribed depth is never taken back by the venue: `BookChange.depth` says
how many a side remain after a change.

Kinds are the names of channels, events and methods. An answer that refuses a request has `.error` after its kind. What
a subscription sends of trades made before it is no news: its kind is `trade.snapshot`, and it has no events. A bar is
never said to be closed: it is complete once the next one begins. Of the pairs that the channel `instrument` tells of
only the status becomes an event.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec

from bot4.adapters.kraken.fields import (
    MINUTE_NS,
    above,
    count,
    fail,
    moment_or_none,
    named,
    number,
    read,
    seconds,
    text,
    text_above,
)
from bot4.adapters.kraken.rest import SIDES, decode_answer, long_enough, name_of, quote_of
from bot4.adapters.kraken.symbols import fixed, parse_asset_pairs, parse_instrument_message, second_name
from bot4.model.errors import InputError
from bot4.ports.feed import Bar, BookChange, Event, Instrument, Level, Message, MessageError, Quote, Status, Trade
from bot4.ports.feed_values import moment

CHECKED_LEVELS = 10  # a side, whatever the subscribed depth
DEPTHS = (10, 25, 100, 500, 1000)  # that can be subscribed

_CRC_MAX = 2**32 - 1
_LONGEST_BAR = 525_600  # minutes: a year


def book_checksum(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """CRC32 of the ten best asks, then bids: price and quantity of each without point and leading zeros."""
    digits = [
        f"{value:f}".replace(".", "").lstrip("0")
        for side in (asks, bids)
        for level in side[:CHECKED_LEVELS]
        for value in level
    ]
    return zlib.crc32("".join(digits).encode())


# --- version 2 ---------------------------------------------------------------------------------------------------


class _Head(msgspec.Struct, gc=False):
    channel: str | None = None
    method: str | None = None
    error: str | None = None


class _Answer(msgspec.Struct, gc=False):
    success: bool = True
    error: str | None = None
    time_out: str = ""


class _Level(msgspec.Struct, gc=False):
    price: Any
    qty: Any


class _Book(msgspec.Struct, gc=False):
    symbol: str
    bids: list[_Level]
    asks: list[_Level]
    checksum: int
    timestamp: str = ""


class _Trade(msgspec.Struct, gc=False):
    symbol: str
    side: Literal["buy", "sell"]
    price: Any
    qty: Any
    trade_id: int
    timestamp: str


class _Ticker(msgspec.Struct, gc=False):
    symbol: str
    bid: Any = None
    bid_qty: Any = None
    ask: Any = None
    ask_qty: Any = None
    timestamp: str = ""


class _System(msgspec.Struct, gc=False):
    system: str


class _Pair(msgspec.Struct, gc=False):
    symbol: str
    status: str


class _Pairs(msgspec.Struct, gc=False):
    pairs: list[_Pair] = []


class _Candle(msgspec.Struct, gc=False):
    symbol: str
    interval: int
    interval_begin: str
    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any


class _Message(msgspec.Struct, gc=False):
    channel: str
    type: Literal["snapshot", "update"]
    timestamp: str = ""


class _BookMessage(_Message, kw_only=True, gc=False):
    data: list[_Book]


class _TradeMessage(_Message, kw_only=True, gc=False):
    data: list[_Trade]


class _TickerMessage(_Message, kw_only=True, gc=False):
    data: list[_Ticker]


class _CandleMessage(_Message, kw_only=True, gc=False):
    data: list[_Candle]


class _StatusMessage(_Message, kw_only=True, gc=False):
    data: list[_System]


class _InstrumentMessage(_Message, kw_only=True, gc=False):
    data: _Pairs


_HEAD = msgspec.json.Decoder(_Head)
_ANSWER = msgspec.json.Decoder(_Answer)
_BOOK = msgspec.json.Decoder(_BookMessage, float_hook=Decimal)
_TRADE = msgspec.json.Decoder(_TradeMessage, float_hook=Decimal)
_TICKER = msgspec.json.Decoder(_TickerMessage, float_hook=Decimal)
_CANDLE = msgspec.json.Decoder(_CandleMessage, float_hook=Decimal)
_STATUS = msgspec.json.Decoder(_StatusMessage)
_INSTRUMENT = msgspec.json.Decoder(_InstrumentMessage)
_PEEK = re.compile(rb'\s*\{\s*"channel"\s*:\s*"([a-z0-9]+)"').match
_METHODS = {"ping", "pong", "subscribe", "unsubscribe"}
_SILENT = {"heartbeat"}
_TRADING = "online"  # every other word forbids some orders at least


class KrakenV2:
    """The public websocket of version 2, whose symbols are such as BTC/USD."""

    venue = "kraken"

    def __init__(self, instruments: Iterable[Instrument] = (), depth: int = 10) -> None:
        """`instruments` give the digits of books, `depth` is what was subscribed: the messages do not tell it.

        A depth of 0 is not known: that of a symbol is then the least that its largest snapshot needs.
        """
        if depth and depth not in DEPTHS:
            raise InputError(f"kraken book depth: {depth} is none of {', '.join(map(str, DEPTHS))}")
        self._digits = {instrument.symbol: (instrument.tick, instrument.lot) for instrument in instruments}
        self._depth = depth
        self._depths: dict[str, int] = {}  # by symbol, as its snapshots tell
        self._decoders: dict[str, Callable[[bytes], Message | None]] = {
            "book": self._book,
            "instrument": self._pairs,
            "ohlc": self._candle,
            "status": self._system,
            "ticker": self._ticker,
            "trade": self._trade,
        }

    def decode(self, body: bytes) -> Message:
        """A message of the public websocket."""
        found = _PEEK(body)
        decoder = self._decoders.get(found[1].decode()) if found else None
        message = decoder(body) if decoder else None
        return message or self._other(body)

    def decode_rest(self, endpoint: str, query: Mapping[str, str], body: bytes) -> Message:
        """An answer of a public REST endpoint."""
        return decode_answer(endpoint, query, body)

    def instruments(self, endpoint: str, body: bytes) -> list[Instrument]:
        """Of AssetPairs, or of a message of the channel `instrument` with that as the endpoint."""
        if endpoint == "instrument":
            return parse_instrument_message(body)
        return parse_asset_pairs(body, renamed=True) if name_of(endpoint) == "AssetPairs" else []

    def checksum(self, bids: Sequence[Level], asks: Sequence[Level]) -> int:
        """CRC32 of the ten best levels a side."""
        return book_checksum(bids, asks)

    def _other(self, body: bytes) -> Message:
        """What the peek did not find: keys in another order, rare channels, answers."""
        head = read(_HEAD, body, "message")
        if head.channel is not None:
            if head.channel in _SILENT:
                return Message(head.channel)
            decoder = self._decoders.get(head.channel)
            message = decoder(body) if decoder else None
            return message or fail("unknown_type", "channel", head.channel)
        if head.method is not None and head.method not in _METHODS:
            fail("unknown_type", "method", head.method)
        if head.method is None and head.error is None:
            raise MessageError("unknown_type", "kraken message without channel or method")
        answer = read(_ANSWER, body, "answer")
        refused = not answer.success or answer.error is not None
        kind = (head.method + (".error" if refused else "")) if head.method else "error"
        return Message(kind, (), None, moment_or_none(answer.time_out, "time_out"))

    def _book(self, body: bytes) -> Message | None:
        message = read(_BOOK, body, "book")
        if message.channel != "book":
            return None
        events = []
        for book in message.data:
            symbol = named(book.symbol, "book.symbol")
            bids, asks = self._levels(symbol, book.bids, "bids"), self._levels(symbol, book.asks, "asks")
            is_snapshot = message.type == "snapshot"
            events.append(
                BookChange(
                    symbol=symbol,
                    snapshot=is_snapshot,
                    bids=bids,
                    asks=asks,
                    before=None,
                    last=None,
                    venue_ns=moment_or_none(book.timestamp, "book.timestamp"),
                    checksum=count(book.checksum, "book.checksum", _CRC_MAX),
                    depth=self._depth or self._depth_of(symbol, max(len(bids), len(asks)) if is_snapshot else 0),
                )
            )
        return Message("book", events, None, moment_or_none(message.timestamp, "timestamp"))

    def _depth_of(self, symbol: str, levels: int) -> int:
        """What must have been subscribed, now that so many levels have come at once."""
        needed = next((depth for depth in DEPTHS if depth >= levels), DEPTHS[-1])
        self._depths[symbol] = found = max(needed, self._depths.get(symbol, 0))
        return found

    def _levels(self, symbol: str, levels: list[_Level], side: str) -> list[Level]:
        digits = self._digits.get(symbol)
        found = [(above(level.price, f"{side}.price"), number(level.qty, f"{side}.qty")) for level in levels]
        if digits is None:
            return found
        tick, lot = digits
        return [(fixed(price, tick), fixed(qty, lot)) for price, qty in found]

    def _trade(self, body: bytes) -> Message | None:
        message = read(_TRADE, body, "trade")
        if message.channel != "trade":
            return None
        events = [
            Trade(
                symbol=named(trade.symbol, "trade.symbol"),
                price=above(trade.price, "trade.price"),
                qty=above(trade.qty, "trade.qty"),
                side=1 if trade.side == "buy" else -1,
                trade_id=str(count(trade.trade_id, "trade.trade_id")),
                venue_ns=moment(trade.timestamp, "trade.timestamp"),
            )
            for trade in message.data
        ]
        sent = moment_or_none(message.timestamp, "timestamp")
        if message.type == "snapshot":
            return Message("trade.snapshot", (), None, sent)
        return Message("trade", events, None, sent)

    def _ticker(self, body: bytes) -> Message | None:
        message = read(_TICKER, body, "ticker")
        if message.channel != "ticker":
            return None
        events = []
        for ticker in message.data:
            symbol = named(ticker.symbol, "ticker.symbol")
            if None in (ticker.bid, ticker.bid_qty, ticker.ask, ticker.ask_qty):
                continue  # a side without orders has no best one
            events.append(
                Quote(
                    symbol,
                    above(ticker.bid, "ticker.bid"),
                    above(ticker.bid_qty, "ticker.bid_qty"),
                    above(ticker.ask, "ticker.ask"),
                    above(ticker.ask_qty, "ticker.ask_qty"),
                    None,
                    moment_or_none(ticker.timestamp, "ticker.timestamp"),
                )
            )
        return Message("ticker", events, None, moment_or_none(message.timestamp, "timestamp"))

    def _system(self, body: bytes) -> Message | None:
        message = read(_STATUS, body, "status")
        if message.channel != "status":
            return None
        sent = moment_or_none(message.timestamp, "timestamp")
        words = [named(one.system, "status.system") for one in message.data]
        return Message("status", [Status("", word == _TRADING, word.lower(), sent) for word in words], None, sent)

    def _pairs(self, body: bytes) -> Message | None:
        message = read(_INSTRUMENT, body, "instrument")
        if message.channel != "instrument":
            return None
        sent = moment_or_none(message.timestamp, "timestamp")
        events = [
            Status(named(pair.symbol, "pair.symbol"), pair.status == _TRADING, pair.status.lower(), sent)
            for pair in message.data.pairs
        ]
        return Message("instrument", events, None, sent)

    def _candle(self, body: bytes) -> Message | None:
        message = read(_CANDLE, body, "ohlc")
        if message.channel != "ohlc":
            return None
        sent = moment_or_none(message.timestamp, "timestamp")
        events = [
            Bar(
                symbol=named(candle.symbol, "ohlc.symbol"),
                begin_ns=moment(candle.interval_begin, "ohlc.interval_begin"),
                length_ns=_bar_ns(candle.interval, "ohlc.interval"),
                open=above(candle.open, "ohlc.open"),
                high=above(candle.high, "ohlc.high"),
                low=above(candle.low, "ohlc.low"),
                close=above(candle.close, "ohlc.close"),
                volume=number(candle.volume, "ohlc.volume"),
                closed=False,
                venue_ns=sent,
            )
            for candle in message.data
        ]
        return Message("ohlc", events, None, sent)


def _bar_ns(minutes: int, field: str) -> int:
    return (count(minutes, field, _LONGEST_BAR) or fail("zero", field, minutes)) * MINUTE_NS


# --- version 1 ---------------------------------------------------------------------------------------------------

_Rows = list[list[Any]]


class _BookPart(msgspec.Struct, gc=False, rename={"all_asks": "as", "all_bids": "bs"}):
    all_asks: _Rows | msgspec.UnsetType = msgspec.UNSET
    all_bids: _Rows | msgspec.UnsetType = msgspec.UNSET
    a: _Rows | msgspec.UnsetType = msgspec.UNSET
    b: _Rows | msgspec.UnsetType = msgspec.UNSET
    c: str | None = None


class _TickerPart(msgspec.Struct, gc=False):
    a: list[Any]
    b: list[Any]


class _Event(msgspec.Struct, gc=False):
    event: str
    status: str | None = None


_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_NAME = msgspec.json.Decoder(str)
_BOOK_PART = msgspec.json.Decoder(_BookPart)
_TICKER_PART = msgspec.json.Decoder(_TickerPart)
_ROW_PART = msgspec.json.Decoder(list[Any])
_ROWS_PART = msgspec.json.Decoder(_Rows)
_EVENT = msgspec.json.Decoder(_Event)
_ARRAYED = re.compile(rb"\s*\[").match
_CHECKSUM = re.compile(r"[0-9]{1,10}").fullmatch
_CHANNEL = re.compile(r"(book|ohlc)-([0-9]{1,6})|ticker|trade|spread").fullmatch
_EVENTS = {"error", "heartbeat", "ping", "pong", "subscriptionStatus", "systemStatus"}


class KrakenV1:
    """The public websocket of version 1, whose symbols are such as XBT/USD."""

    venue = "kraken"

    def __init__(self, renamed: bool = False) -> None:
        """`renamed`: tell the pairs by the names of version 2, BTC/USD."""
        self._renamed = renamed

    def decode(self, body: bytes) -> Message:
        """A message of the public websocket: an array holds market data, an object anything else."""
        if not _ARRAYED(body):
            event = read(_EVENT, body, "event")
            if event.event not in _EVENTS:
                fail("unknown_type", "event", event.event)
            word = event.status
            if event.event == "systemStatus" and word:
                return Message(event.event, (Status("", word == _TRADING, word.lower(), 0),))
            return Message(event.event + (".error" if word == "error" else ""))
        parts = read(_ARRAY, body, "message")
        if len(parts) < 4:
            raise MessageError("bad_field", f"kraken message: {len(parts)} parts of 4")
        name = read(_NAME, parts[-2], "channel name")
        symbol = named(read(_NAME, parts[-1], "pair"), "pair")
        symbol = second_name(symbol) if self._renamed else symbol
        channel = _CHANNEL(name)
        if channel is None:
            fail("unknown_type", "channel name", name)
        kind, parameter = channel[1], channel[2]
        if kind == "book":
            return Message(kind, (_book_v1(symbol, int(parameter), parts[1:-2]),))
        if len(parts) != 4:
            raise MessageError("bad_field", f"kraken {name}: {len(parts)} parts instead of 4")
        if kind == "ohlc":
            return Message(kind, (_bar_v1(symbol, int(parameter), read(_ROW_PART, parts[1], name)),))
        if name == "trade":
            return Message(name, _trades_v1(symbol, read(_ROWS_PART, parts[1], name)))
        if name == "spread":
            return Message(name, (_spread_v1(symbol, read(_ROW_PART, parts[1], name)),))
        return Message(name, (quote_of(symbol, read(_TICKER_PART, parts[1], name), 0),))

    def decode_rest(self, endpoint: str, query: Mapping[str, str], body: bytes) -> Message:
        """An answer of a public REST endpoint."""
        return decode_answer(endpoint, query, body)

    def instruments(self, endpoint: str, body: bytes) -> list[Instrument]:
        """Of AssetPairs."""
        return parse_asset_pairs(body, self._renamed) if name_of(endpoint) == "AssetPairs" else []

    def checksum(self, bids: Sequence[Level], asks: Sequence[Level]) -> int:
        """CRC32 of the ten best levels a side."""
        return book_checksum(bids, asks)


def _levels_v1(rows: _Rows | msgspec.UnsetType, side: str, into: list[Level], latest: int) -> int:
    """Append the levels; the time of the latest of them and of those before."""
    if rows is msgspec.UNSET:
        return latest
    for row in rows:
        if not 3 <= len(row) <= 4:
            fail("bad_field", f"book.{side} level", row)
        into.append((text_above(row[0], f"book.{side}.price"), text(row[1], f"book.{side}.volume")))
        latest = max(latest, seconds(row[2], f"book.{side}.timestamp"))
    return latest


def _book_v1(symbol: str, depth: int, parts: list[msgspec.Raw]) -> BookChange:
    """One change of all objects of a message: a snapshot, or the two sides of an update, each or both in one."""
    if not depth:
        fail("zero", "book depth", depth)
    bids: list[Level] = []
    asks: list[Level] = []
    sums: list[str] = []
    latest = 0
    whole = changed = 0
    for part in parts:
        book = read(_BOOK_PART, part, "book")
        whole += (book.all_asks is not msgspec.UNSET) + (book.all_bids is not msgspec.UNSET)
        changed += (book.a is not msgspec.UNSET) + (book.b is not msgspec.UNSET)
        latest = _levels_v1(book.all_asks, "as", asks, latest)
        latest = _levels_v1(book.all_bids, "bs", bids, latest)
        latest = _levels_v1(book.a, "a", asks, latest)
        latest = _levels_v1(book.b, "b", bids, latest)
        if book.c is not None:
            sums.append(book.c)
    if (whole, changed > 0) not in ((2, False), (0, True)):
        raise MessageError("bad_field", "kraken book: needs as and bs, or a or b")
    checksum = None
    if not whole:
        if len(sums) != 1:
            raise MessageError("bad_field", f"kraken book.c: {len(sums)} check sums of one")
        if not _CHECKSUM(sums[0]):
            fail("bad_number", "book.c", sums[0])
        checksum = count(int(sums[0]), "book.c", _CRC_MAX)
    return BookChange(symbol, whole > 0, bids, asks, None, None, latest, False, checksum, depth)


def _trades_v1(symbol: str, rows: _Rows) -> Sequence[Event]:
    events = []
    for row in rows:
        long_enough(row, 4, "trade")
        side = SIDES.get(row[3]) if type(row[3]) is str else None
        events.append(
            Trade(
                symbol=symbol,
                price=text_above(row[0], "trade.price"),
                qty=text_above(row[1], "trade.volume"),
                side=side or fail("bad_field", "trade.side", row[3]),
                trade_id="",
                venue_ns=seconds(row[2], "trade.time"),
            )
        )
    return events


def _spread_v1(symbol: str, row: list[Any]) -> Quote:
    long_enough(row, 5, "spread")
    return Quote(
        symbol,
        text_above(row[0], "spread.bid"),
        text_above(row[3], "spread.bid_volume"),
        text_above(row[1], "spread.ask"),
        text_above(row[4], "spread.ask_volume"),
        None,
        seconds(row[2], "spread.timestamp"),
    )


def _bar_v1(symbol: str, minutes: int, row: list[Any]) -> Bar:
    """The message tells the bar's end, and when it last changed."""
    long_enough(row, 8, "ohlc")
    length = _bar_ns(minutes, "ohlc interval")
    end = seconds(row[1], "ohlc.etime")
    return Bar(
        symbol=symbol,
        begin_ns=end - length if end >= length else fail("bad_field", "ohlc.etime", row[1]),
        length_ns=length,
        open=text_above(row[2], "ohlc.open"),
        high=text_above(row[3], "ohlc.high"),
        low=text_above(row[4], "ohlc.low"),
        close=text_above(row[5], "ohlc.close"),
        volume=text(row[7], "ohlc.volume"),
        closed=False,
        venue_ns=seconds(row[0], "ohlc.time"),
    )
