"""Coinbase Advanced Trade's public messages as typed events: the checked way, which knows every field it uses.

Every message bears a number that counts the messages of its connection over all channels from 0 on, which is what a gap
shows by; books have neither update ids nor check sums.

The venue gives a trade's side as that of the maker, on the websocket and in REST: in the recordings a SELL traded at
the best ask and a BUY at the best bid, never the other way round. An event's side is the taker's, thus the opposite.
Trades of one message come latest first, and are turned to the order in which they were made. What a subscription sends
of trades made before it is no news: it has no events, and a message of nothing else is of kind
`market_trades.snapshot`.

A quote's and a bar's time is that of their message: they have none of their own. A quote does not belong to the book's
update before it: the two channels run beside each other, and either may be some updates ahead. A bar is never said to
be closed: it is complete once the next one begins.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from bot4.adapters.coinbase.fields import NS, count, fail, named, read, seconds
from bot4.adapters.coinbase.symbols import parse_products
from bot4.ports.feed import Bar, BookChange, Event, Instrument, Level, Message, MessageError, Quote, Status, Trade
from bot4.ports.feed_values import moment, not_negative, positive

CANDLE_NS = 300 * NS  # of the websocket's candles
GRANULARITIES = {
    "ONE_MINUTE": 60 * NS,
    "FIVE_MINUTE": 300 * NS,
    "FIFTEEN_MINUTE": 900 * NS,
    "THIRTY_MINUTE": 1800 * NS,
    "ONE_HOUR": 3600 * NS,
    "TWO_HOUR": 7200 * NS,
    "FOUR_HOUR": 14_400 * NS,
    "SIX_HOUR": 21_600 * NS,
    "ONE_DAY": 86_400 * NS,
}

_Moment = Literal["snapshot", "update"]


class _Head(msgspec.Struct, gc=False):
    channel: str | None = None
    type: str | None = None


class _Level(msgspec.Struct, gc=False):
    side: Literal["bid", "offer"]
    event_time: str
    price_level: str
    new_quantity: str


class _BookEvent(msgspec.Struct, gc=False):
    type: _Moment
    product_id: str
    updates: list[_Level]


class _Trade(msgspec.Struct, gc=False):
    product_id: str
    trade_id: str
    price: str
    size: str
    time: str
    side: Literal["BUY", "SELL"]


class _TradesEvent(msgspec.Struct, gc=False):
    type: _Moment
    trades: list[_Trade]


class _Ticker(msgspec.Struct, gc=False):
    product_id: str
    best_bid: str = ""
    best_bid_quantity: str = ""
    best_ask: str = ""
    best_ask_quantity: str = ""


class _TickerEvent(msgspec.Struct, gc=False):
    type: _Moment
    tickers: list[_Ticker]


class _Product(msgspec.Struct, gc=False):
    id: str
    status: str


class _StatusEvent(msgspec.Struct, gc=False):
    products: list[_Product] = []


class _RestCandle(msgspec.Struct, gc=False):
    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str


class _Candle(_RestCandle, kw_only=True, gc=False):
    product_id: str


class _CandlesEvent(msgspec.Struct, gc=False):
    type: _Moment
    candles: list[_Candle]


class _Message(msgspec.Struct, gc=False):
    channel: str
    timestamp: str
    sequence_num: int


class _BookMessage(_Message, gc=False):
    events: list[_BookEvent]


class _TradesMessage(_Message, gc=False):
    events: list[_TradesEvent]


class _TickerMessage(_Message, gc=False):
    events: list[_TickerEvent]


class _CandlesMessage(_Message, gc=False):
    events: list[_CandlesEvent]


class _StatusMessage(_Message, gc=False):
    events: list[_StatusEvent]


class _RestLevel(msgspec.Struct, gc=False):
    price: str
    size: str


class _RestBook(msgspec.Struct, gc=False):
    product_id: str
    bids: list[_RestLevel]
    asks: list[_RestLevel]
    time: str


class _ProductBook(msgspec.Struct, gc=False):
    pricebook: _RestBook


class _RestTrades(msgspec.Struct, gc=False):
    trades: list[_Trade]


class _RestCandles(msgspec.Struct, gc=False):
    candles: list[_RestCandle]


class _Time(msgspec.Struct, gc=False):
    iso: str


_HEAD = msgspec.json.Decoder(_Head)
_PLAIN = msgspec.json.Decoder(_Message)
_BOOK = msgspec.json.Decoder(_BookMessage)
_TRADES = msgspec.json.Decoder(_TradesMessage)
_TICKER = msgspec.json.Decoder(_TickerMessage)
_CANDLES = msgspec.json.Decoder(_CandlesMessage)
_STATUS = msgspec.json.Decoder(_StatusMessage)
_PRODUCT_BOOK = msgspec.json.Decoder(_ProductBook)
_REST_TRADES = msgspec.json.Decoder(_RestTrades)
_REST_CANDLES = msgspec.json.Decoder(_RestCandles)
_TIME = msgspec.json.Decoder(_Time)
_PEEK = re.compile(rb'\s*\{\s*"channel"\s*:\s*"([a-z0-9_]+)"').match
_SILENT = {"heartbeats", "subscriptions"}
_TRADING = "online"


class CoinbaseAdvanced:
    """The public websocket and REST of Advanced Trade, whose symbols are such as BTC-USD."""

    venue = "coinbase"

    def __init__(self) -> None:
        self._decoders: dict[str, Callable[[bytes], Message | None]] = {
            "candles": _candles,
            "l2_data": _book,
            "market_trades": _market_trades,
            "status": _status,
            "ticker": _ticker,
            "ticker_batch": _ticker,
        }

    def decode(self, body: bytes) -> Message:
        """A message of the public websocket."""
        found = _PEEK(body)
        decoder = self._decoders.get(found[1].decode()) if found else None
        message = decoder(body) if decoder else None
        return message or self._other(body)

    def decode_rest(self, endpoint: str, query: Mapping[str, str], body: bytes) -> Message:
        """An answer of a public REST endpoint: books, trades and candles have events, products and the time none."""
        parts = _parts(endpoint)
        name = parts[-1]
        kind = f"rest.{name}"
        if name == "product_book":
            return Message(kind, (_rest_book(body),))
        if name == "ticker":
            return Message(kind, _trade_events(read(_REST_TRADES, body, kind).trades))
        if name == "candles":
            return Message(kind, _rest_candles(parts, query, body))
        if name == "products":
            parse_products(body)
            return Message(kind)
        if name == "time":
            return Message(kind, (), None, moment(read(_TIME, body, kind).iso, "iso"))
        raise MessageError("unknown_type", f"coinbase REST endpoint {endpoint!r}")

    def instruments(self, endpoint: str, body: bytes) -> list[Instrument]:
        """Of the list of products."""
        return parse_products(body) if _parts(endpoint)[-1] == "products" else []

    def checksum(self, bids: Sequence[Level], asks: Sequence[Level]) -> int:
        """Never: the venue sends none."""
        raise MessageError("unknown_type", "coinbase sends no check sums of books")

    def _other(self, body: bytes) -> Message:
        """What the peek did not find: keys in another order, rare channels, errors."""
        head = read(_HEAD, body, "message")
        if head.channel is None:
            if head.type == "error":
                return Message("error")
            fail("unknown_type", "message without channel, type", head.type)
        if head.channel in _SILENT:
            plain = read(_PLAIN, body, head.channel)
            return Message(head.channel, (), count(plain.sequence_num, "sequence_num"), _sent(plain))
        decoder = self._decoders.get(head.channel)
        message = decoder(body) if decoder else None
        return message or fail("unknown_type", "channel", head.channel)


def _parts(endpoint: str) -> list[str]:
    return endpoint.partition("?")[0].rstrip("/").split("/")


def _sent(message: _Message) -> int:
    return moment(message.timestamp, "timestamp")


# --- websocket ---------------------------------------------------------------------------------------------------


def _book(body: bytes) -> Message | None:
    message = read(_BOOK, body, "l2_data")
    if message.channel != "l2_data":
        return None
    events = [_book_change(event) for event in message.events]
    return Message("l2_data", events, count(message.sequence_num, "sequence_num"), _sent(message))


def _book_change(event: _BookEvent) -> BookChange:
    symbol = named(event.product_id, "product_id")
    bids: list[Level] = []
    asks: list[Level] = []
    written = ""
    venue_ns = 0
    for update in event.updates:
        if update.event_time != written:  # as a rule all levels of an event have one
            written = update.event_time
            venue_ns = max(venue_ns, moment(written, "event_time"))
        level = (positive(update.price_level, "price_level"), not_negative(update.new_quantity, "new_quantity"))
        (bids if update.side == "bid" else asks).append(level)
    return BookChange(symbol, event.type == "snapshot", bids, asks, None, None, venue_ns)


def _trade_events(trades: list[_Trade]) -> list[Event]:
    """In the order made: the venue sends the latest first."""
    return [
        Trade(
            symbol=named(trade.product_id, "product_id"),
            price=positive(trade.price, "price"),
            qty=positive(trade.size, "size"),
            side=1 if trade.side == "SELL" else -1,
            trade_id=named(trade.trade_id, "trade_id"),
            venue_ns=moment(trade.time, "time"),
        )
        for trade in reversed(trades)
    ]


def _market_trades(body: bytes) -> Message | None:
    message = read(_TRADES, body, "market_trades")
    if message.channel != "market_trades":
        return None
    events: list[Event] = []
    news = not message.events
    for event in message.events:
        trades = _trade_events(event.trades)
        if event.type == "update":
            news = True
            events += trades
    kind = "market_trades" if news else "market_trades.snapshot"
    return Message(kind, events, count(message.sequence_num, "sequence_num"), _sent(message))


def _ticker(body: bytes) -> Message | None:
    message = read(_TICKER, body, "ticker")
    if message.channel not in ("ticker", "ticker_batch"):
        return None
    sent = _sent(message)
    events: list[Event] = []
    for event in message.events:
        for ticker in event.tickers:
            symbol = named(ticker.product_id, "product_id")
            if "" in (ticker.best_bid, ticker.best_bid_quantity, ticker.best_ask, ticker.best_ask_quantity):
                continue  # a batch may leave them out
            events.append(
                Quote(
                    symbol,
                    positive(ticker.best_bid, "best_bid"),
                    positive(ticker.best_bid_quantity, "best_bid_quantity"),
                    positive(ticker.best_ask, "best_ask"),
                    positive(ticker.best_ask_quantity, "best_ask_quantity"),
                    None,
                    sent,
                )
            )
    return Message(message.channel, events, count(message.sequence_num, "sequence_num"), sent)


def _status(body: bytes) -> Message | None:
    message = read(_STATUS, body, "status")
    if message.channel != "status":
        return None
    sent = _sent(message)
    events = [
        Status(named(product.id, "id"), product.status == _TRADING, product.status.lower(), sent)
        for event in message.events
        for product in event.products
    ]
    return Message("status", events, count(message.sequence_num, "sequence_num"), sent)


def _bar(symbol: str, length_ns: int, candle: _RestCandle, venue_ns: int) -> Bar:
    return Bar(
        symbol=symbol,
        begin_ns=seconds(candle.start, "start"),
        length_ns=length_ns,
        open=positive(candle.open, "open"),
        high=positive(candle.high, "high"),
        low=positive(candle.low, "low"),
        close=positive(candle.close, "close"),
        volume=not_negative(candle.volume, "volume"),
        closed=False,
        venue_ns=venue_ns,
    )


def _candles(body: bytes) -> Message | None:
    message = read(_CANDLES, body, "candles")
    if message.channel != "candles":
        return None
    sent = _sent(message)
    events = [
        _bar(named(candle.product_id, "product_id"), CANDLE_NS, candle, sent)
        for event in message.events
        for candle in event.candles
    ]
    return Message("candles", events, count(message.sequence_num, "sequence_num"), sent)


# --- REST --------------------------------------------------------------------------------------------------------


def _rest_book(body: bytes) -> BookChange:
    book = read(_PRODUCT_BOOK, body, "product_book").pricebook
    bids, asks = (
        [(positive(level.price, f"{side}.price"), not_negative(level.size, f"{side}.size")) for level in levels]
        for side, levels in (("bids", book.bids), ("asks", book.asks))
    )
    symbol = named(book.product_id, "product_id")
    return BookChange(symbol, True, bids, asks, None, None, moment(book.time, "time"))


def _rest_candles(parts: list[str], query: Mapping[str, str], body: bytes) -> Sequence[Event]:
    """In the order of time: the venue sends the latest first. The product is named by the endpoint alone."""
    symbol = parts[-2] if len(parts) > 2 and parts[-3] == "products" else ""
    length = GRANULARITIES.get(query.get("granularity", ""))
    if length is None:
        fail("bad_field", "candles query granularity", query.get("granularity"))
    bars = [_bar(named(symbol, "candles endpoint"), length, c, 0) for c in read(_REST_CANDLES, body, "candles").candles]
    bars.sort(key=lambda bar: bar.begin_ns)
    return bars
