"""Bybit's public market data, v5, spot and linear: the checked decoder that every faster one has to agree with.

A topic reads `orderbook.200.BTCUSDT` on the connections of both markets: the connection tells which one it is, and each
market has its decoder. The rules of a book, as recorded from the venue (a restart and REST: as it documents them):

    u       counts by one within a topic. Each topic (depth and symbol) has a count of its own
    delta   takes the book from u - 1 to u
    type    says whether a message is the whole book; after a restart of the venue that is u = 1. A delta of u = 1 fits
            no book that anyone holds: it shows as a gap, and subscribing anew mends it
    depth   every level that leaves the best N is removed by a delta of its own; a book never has more than N a side
    level 1 whole books only. After 3 s without a change the same u is sent again, its seq the same or later
    seq     counts within the matching engine and leaps: it compares messages of several topics, and shows no gap
    cts     time of the matching engine: the time of the change. `ts` is when the message was made

A book read by REST carries the u of the venue's deep topic, so deltas of a shallower one do not continue it.
A linear ticker names what has changed, so most name one side of the quote alone: a quote is made where all four values
are there. Spot tickers hold no quote; there `orderbook.1` is the best bid and ask.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType, field

from bot4.adapters.bybit.symbols import SUFFIX, instruments_of
from bot4.adapters.bybit.value import (
    NS_PER_MS,
    accepted_at,
    ident,
    ns,
    parsed,
    same,
    text_ns,
)
from bot4.ports.feed import Bar, BookChange, Event, Instrument, Level, Mark, Message, MessageError, Quote, Trade
from bot4.ports.feed_values import levels, not_negative, positive, signed

MINUTE_NS = 60_000_000_000
DAY_NS = 1_440 * MINUTE_NS
BAR_NS = {str(minutes): minutes * MINUTE_NS for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)}
BAR_NS |= {"D": DAY_NS, "W": 7 * DAY_NS}
MONTH_NS = (28 * DAY_NS, 31 * DAY_NS)
DEFAULT_LIMIT = {"spot": 1, "linear": 25, "inverse": 25}  # levels of a REST book that was asked for without a limit
MARKET_PATH = "/v5/market/"

# --- the messages ------------------------------------------------------------------------------------------------


class _Head(msgspec.Struct):
    """What tells a message's type."""

    topic: str = ""
    op: str = ""


class _Push(msgspec.Struct):
    topic: str
    ts: int


class _BookData(msgspec.Struct):
    s: str
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    u: int


class _Book(msgspec.Struct):
    topic: str
    type: Literal["snapshot", "delta"]
    ts: int
    data: _BookData
    cts: int | UnsetType = UNSET


class _TradeData(msgspec.Struct):
    i: str
    T: int
    p: str
    v: str
    S: Literal["Buy", "Sell"]
    s: str
    BT: bool


class _Trades(msgspec.Struct):
    topic: str
    ts: int
    data: list[_TradeData]


class _TickerData(msgspec.Struct):
    """Any value may be missing, and one that the venue has none of is empty: funding of a dated future."""

    symbol: str
    bid: str = field(name="bid1Price", default="")
    bid_qty: str = field(name="bid1Size", default="")
    ask: str = field(name="ask1Price", default="")
    ask_qty: str = field(name="ask1Size", default="")
    mark: str = field(name="markPrice", default="")
    index: str = field(name="indexPrice", default="")
    rate: str = field(name="fundingRate", default="")
    next_ms: str = field(name="nextFundingTime", default="")


class _Ticker(msgspec.Struct):
    topic: str
    type: Literal["snapshot", "delta"]
    ts: int
    data: _TickerData


class _BarData(msgspec.Struct):
    start: int
    end: int
    interval: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    confirm: bool
    timestamp: int


class _Bars(msgspec.Struct):
    topic: str
    ts: int
    data: list[_BarData]


class _Answer(msgspec.Struct):
    op: str
    success: bool


class _RestBookData(msgspec.Struct):
    s: str
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    ts: int
    u: int
    cts: int | UnsetType = UNSET


class _RestBook(msgspec.Struct):
    result: _RestBookData


_head = msgspec.json.Decoder(_Head)
_push = msgspec.json.Decoder(_Push)
_book = msgspec.json.Decoder(_Book)
_trades = msgspec.json.Decoder(_Trades)
_ticker = msgspec.json.Decoder(_Ticker)
_bars = msgspec.json.Decoder(_Bars)
_answer = msgspec.json.Decoder(_Answer)
_rest_book = msgspec.json.Decoder(_RestBook)


# --- pushed messages: body and topic to Message ------------------------------------------------------------------


def _decode_book(body: bytes, topic: str) -> Message:
    message = parsed(_book, body)
    same(message.topic, topic, "topic")
    _, _, rest = topic.partition(".")
    depth, _, symbol = rest.partition(".")
    if not (depth.isascii() and depth.isdigit() and len(depth) < 6 and depth[0] != "0"):
        raise MessageError("unknown_type", f"topic: {topic[:60]!r} has no number of levels")
    data = message.data
    _symbol(data.s, symbol, "data.s")
    snapshot = message.type == "snapshot"
    u = ident(data.u, "data.u", 0 if snapshot else 1)
    sent = ns(message.ts, "ts")
    made = sent if message.cts is UNSET else ns(message.cts, "cts")
    change = BookChange(
        symbol,
        snapshot,
        levels(data.b, "data.b"),
        levels(data.a, "data.a"),
        None if snapshot else u - 1,
        u,
        made,
        depth=int(depth),
    )
    return Message("orderbook", (change,), None, sent)


def _decode_trades(body: bytes, topic: str) -> Message:
    message = parsed(_trades, body)
    same(message.topic, topic, "topic")
    symbol = topic.partition(".")[2]
    events = []
    for row, data in enumerate(message.data):
        where = f"data[{row}]."
        _symbol(data.s, symbol, where + "s")
        if not data.i:
            raise MessageError("bad_field", f"{where}i: empty")
        events.append(
            Trade(
                symbol,
                positive(data.p, where + "p"),
                positive(data.v, where + "v"),
                1 if data.S == "Buy" else -1,
                data.i,
                ns(data.T, where + "T"),
                not data.BT,  # a block trade is agreed between two parties, away from the book
            )
        )
    return Message("publicTrade", events, None, ns(message.ts, "ts"))


def _decode_ticker(body: bytes, topic: str) -> Message:
    message = parsed(_ticker, body)
    same(message.topic, topic, "topic")
    data = message.data
    symbol = topic.partition(".")[2]
    _symbol(data.symbol, symbol, "data.symbol")
    sent = ns(message.ts, "ts")
    bid = positive(data.bid, "data.bid1Price") if data.bid else None
    bid_qty = positive(data.bid_qty, "data.bid1Size") if data.bid_qty else None
    ask = positive(data.ask, "data.ask1Price") if data.ask else None
    ask_qty = positive(data.ask_qty, "data.ask1Size") if data.ask_qty else None
    events: list[Event] = []
    if bid is not None and bid_qty is not None and ask is not None and ask_qty is not None:
        events.append(Quote(symbol, bid, bid_qty, ask, ask_qty, None, sent))
    if data.mark or data.index or data.rate or data.next_ms:
        events.append(
            Mark(
                symbol,
                positive(data.mark, "data.markPrice") if data.mark else None,
                positive(data.index, "data.indexPrice") if data.index else None,
                signed(data.rate, "data.fundingRate") if data.rate else None,
                text_ns(data.next_ms, "data.nextFundingTime") if data.next_ms else 0,
                sent,
            )
        )
    return Message("tickers", events, None, sent)


def _decode_bars(body: bytes, topic: str) -> Message:
    message = parsed(_bars, body)
    same(message.topic, topic, "topic")
    _, _, rest = topic.partition(".")
    interval, _, symbol = rest.partition(".")
    _symbol(symbol, symbol, "topic")
    events = []
    for row, data in enumerate(message.data):
        where = f"data[{row}]."
        same(data.interval, interval, where + "interval")
        begin = ns(data.start, where + "start")
        length = ns(data.end, where + "end") - begin + NS_PER_MS  # the end is the last ms within
        least, most = MONTH_NS if interval == "M" else (BAR_NS.get(interval, 0),) * 2
        if not 0 < least <= length <= most:
            raise MessageError("bad_field", f"{where}end: {data.end} ends no bar of interval {interval[:10]!r}")
        events.append(
            Bar(
                symbol,
                begin,
                length,
                positive(data.open, where + "open"),
                positive(data.high, where + "high"),
                positive(data.low, where + "low"),
                positive(data.close, where + "close"),
                not_negative(data.volume, where + "volume"),
                data.confirm,
                ns(data.timestamp, where + "timestamp"),
            )
        )
    return Message("kline", events, None, ns(message.ts, "ts"))


def _decode_no_event(body: bytes, topic: str) -> Message:
    message = parsed(_push, body)
    same(message.topic, topic, "topic")
    return Message(topic.partition(".")[0], (), None, ns(message.ts, "ts"))


def _symbol(found: str, wanted: str, field: str) -> None:
    """A message is of one symbol, which its topic names too."""
    if found != wanted or not found or "." in found:
        raise MessageError("bad_field", f"{field}: {found[:40]!r} where the topic names {wanted[:40]!r}")


PushDecoder = Callable[[bytes, str], Message]
_BOTH: dict[str, PushDecoder] = {
    "orderbook": _decode_book,
    "publicTrade": _decode_trades,
    "kline": _decode_bars,
    "priceLimit": _decode_no_event,
}
_SPOT = _BOTH | {"tickers": _decode_no_event}
_LINEAR = _BOTH | {
    "tickers": _decode_ticker,
    "liquidation": _decode_no_event,
    "allLiquidation": _decode_no_event,
    "insurance": _decode_no_event,
    "adlAlert": _decode_no_event,
}
_ANSWERS = ("subscribe", "unsubscribe", "ping")


def _peeked_topic(body: bytes) -> str:
    """The topic where the venue writes it, without parsing; "" where it is not there. Parsing confirms it."""
    begin = body.find(b'"topic":"', 0, 200)
    if begin < 0:
        return ""
    begin += 9
    end = body.find(b'"', begin, begin + 80)
    return body[begin:end].decode("ascii", "replace") if end > 0 else ""


# --- the decoders ------------------------------------------------------------------------------------------------


class _Bybit:
    """What both markets share."""

    venue = ""
    _categories: tuple[str, ...] = ()
    _topics: Mapping[str, PushDecoder] = {}

    def decode(self, body: bytes) -> Message:
        """A message of the public websocket; kind is the topic's first word, or the `op` of an answer.

        A refused subscription has the kind `subscribe.failed`: the venue sends no data for it.
        """
        topic = _peeked_topic(body)
        decoder = self._topics.get(topic.partition(".")[0])
        if decoder is not None:
            return decoder(body, topic)
        head = parsed(_head, body)
        if not head.topic:
            return self._answer(body, head.op)
        decoder = self._topics.get(head.topic.partition(".")[0])
        if decoder is None:
            raise MessageError("unknown_type", f"topic: {head.topic[:60]!r}")
        return decoder(body, head.topic)

    def decode_rest(self, endpoint: str, query: Mapping[str, str], body: bytes) -> Message:
        """A response below /v5/market: the book as a snapshot, anything else without events."""
        if not endpoint.startswith(MARKET_PATH):
            raise MessageError("unknown_type", f"{endpoint} is no public market data")
        sent = accepted_at(body)
        kind = "rest." + endpoint.rpartition("/")[2]
        if kind != "rest.orderbook":
            return Message(kind, (), None, sent)
        data = parsed(_rest_book, body).result
        same(data.s, query.get("symbol", data.s), "result.s")
        if not data.s:
            raise MessageError("bad_field", "result.s: empty")
        made = ns(data.ts, "result.ts") if data.cts is UNSET else ns(data.cts, "result.cts")
        bids, asks = levels(data.b, "result.b"), levels(data.a, "result.a")
        last = ident(data.u, "result.u")
        return Message(
            kind, (BookChange(data.s, True, bids, asks, None, last, made, depth=self._limit(query)),), None, sent
        )

    def instruments(self, endpoint: str, body: bytes) -> list[Instrument]:
        """The instruments of one page of /v5/market/instruments-info; empty for any other endpoint."""
        return instruments_of(self._categories, body) if endpoint.endswith(SUFFIX) else []

    def checksum(self, bids: Sequence[Level], asks: Sequence[Level]) -> int:
        """Bybit sends no check sums: MessageError."""
        raise MessageError("unknown_type", f"{self.venue} sends no check sum of a book")

    def _answer(self, body: bytes, op: str) -> Message:
        if op == "pong":
            return Message(op)
        if op not in _ANSWERS:
            raise MessageError("unknown_type", f"no topic, op: {op[:60]!r}")
        return Message(op if parsed(_answer, body).success else op + ".failed")

    def _limit(self, query: Mapping[str, str]) -> int:
        limit = query.get("limit", "")
        if not limit:
            return DEFAULT_LIMIT[self._categories[0]]
        if not (limit.isascii() and limit.isdigit() and 0 < int(limit[:6])):
            raise MessageError("bad_field", f"limit: {limit[:20]!r} of the query is no number of levels")
        return int(limit[:6])


class BybitSpot(_Bybit):
    """Public messages of the spot connection."""

    venue = "bybit_spot"
    _categories = ("spot",)
    _topics = _SPOT


class BybitLinear(_Bybit):
    """Public messages of the linear connection: perpetuals and dated futures that settle in USDT or USDC.

    Its metadata may be of inverse contracts too: their messages have the same form on a connection of their own.
    """

    venue = "bybit_linear"
    _categories = ("linear", "inverse")
    _topics = _LINEAR
