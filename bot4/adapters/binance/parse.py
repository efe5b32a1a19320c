"""Binance's public market data as typed events: spot, USD-M and COIN-M futures.

The checked way through a message, of every type that the venue sends on a public connection: for research, for
comparing venues, and as the judge of the compiled scanner that stands on the hot path. A message comes in the envelope
of a combined stream, `{"stream":"btcusdt@trade","data":{..}}`, or bare; the stream's name, else the event's, tells the
type, and a decoder prepared for that type reads the bytes in one pass.

What makes a book whole:

    spot      a diff takes the book from U-1 to u; the next one's U is u+1
    futures   a diff takes the book from pu to u; ids are shared by all symbols, so pu is told and not U-1
    both      the snapshot of REST has lastUpdateId; diffs that end at or before it are passed over, the first one that
              ends after it may begin before it (spot: U <= lastUpdateId+1 <= u, futures: U <= lastUpdateId <= u).
              Hence every diff has `overlap`, and `before` may be earlier than the snapshot's id
    partial   depth5, depth10, depth20 are whole books of so many levels, each a snapshot, without ids

A partial book is told by its stream's name alone: a bare one of spot looks like the snapshot of REST, a bare one of
futures like a diff. Subscribe to partial books by the combined stream.

Times: an event's is the matching engine's (T) where it is sent, else the message's own (E). Snapshots and quotes of
spot have neither.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec

from bot4.adapters.binance.checks import (
    NOT_JSON,
    Id,
    Name,
    Time,
    nanoseconds,
    refusal,
)
from bot4.adapters.binance.symbols import decode_instruments
from bot4.ports.feed import Bar, BookChange, Instrument, Level, Mark, Message, MessageError, Quote, Trade
from bot4.ports.feed_values import levels, not_negative, positive, signed

T = TypeVar("T")
Side = list[tuple[str, str]]
Make = Callable[[Any, str], Message]  # of what was read and the stream's name ("": a bare message)

_MINUTE_NS = 60_000_000_000
_INTERVAL_NS = {
    "1s": _MINUTE_NS // 60,
    "1m": _MINUTE_NS,
    "3m": 3 * _MINUTE_NS,
    "5m": 5 * _MINUTE_NS,
    "15m": 15 * _MINUTE_NS,
    "30m": 30 * _MINUTE_NS,
    "1h": 60 * _MINUTE_NS,
    "2h": 120 * _MINUTE_NS,
    "4h": 240 * _MINUTE_NS,
    "6h": 360 * _MINUTE_NS,
    "8h": 480 * _MINUTE_NS,
    "12h": 720 * _MINUTE_NS,
    "1d": 1_440 * _MINUTE_NS,
    "3d": 4_320 * _MINUTE_NS,
    "1w": 10_080 * _MINUTE_NS,
}
Interval = Literal[
    "1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"
]  # a month's length is told by its ends

_TIMES = {"event_time": "E", "time": "T"}


# --- the messages ------------------------------------------------------------------------------------------------
# An event's type need not be told where the stream tells it, but when told it has to be that stream's.


class _Trade(
    msgspec.Struct, gc=False, rename=_TIMES | {"symbol": "s", "id": "t", "price": "p", "qty": "q", "cause": "X"}
):
    symbol: Name
    id: Id
    price: str
    qty: str
    m: bool  # the buyer made, so the seller took
    e: Literal["trade"] = "trade"
    event_time: Time = 0
    time: Time = 0
    cause: str = "MARKET"  # futures: else INSURANCE_FUND, ADL, NA, ...


class _AggTrade(msgspec.Struct, gc=False, rename=_TIMES | {"symbol": "s", "id": "a", "price": "p", "qty": "q"}):
    symbol: Name
    id: Id
    price: str
    qty: str
    m: bool
    e: Literal["aggTrade"] = "aggTrade"
    event_time: Time = 0
    time: Time = 0


class _Quote(
    msgspec.Struct,
    gc=False,
    rename=_TIMES | {"symbol": "s", "last": "u", "bid": "b", "bid_qty": "B", "ask": "a", "ask_qty": "A"},
):
    symbol: Name
    last: Id
    bid: str
    bid_qty: str
    ask: str
    ask_qty: str
    e: Literal["bookTicker"] = "bookTicker"
    event_time: Time = 0
    time: Time = 0


class _SpotDepth(
    msgspec.Struct, gc=False, rename=_TIMES | {"symbol": "s", "first": "U", "last": "u", "bids": "b", "asks": "a"}
):
    symbol: Name
    first: Id
    last: Id
    bids: Side
    asks: Side
    e: Literal["depthUpdate"] = "depthUpdate"
    event_time: Time = 0


class _UsdmDepth(_SpotDepth, gc=False, kw_only=True, rename=_TIMES | {"previous": "pu"}):
    previous: Id
    time: Time = 0


class _Snapshot(msgspec.Struct, gc=False, rename=_TIMES | {"last": "lastUpdateId"}):
    last: Id
    bids: Side
    asks: Side
    symbol: Name | None = None
    event_time: Time = 0
    time: Time = 0


class _Mark(msgspec.Struct, gc=False, rename=_TIMES | {"symbol": "s", "mark": "p", "index": "i", "rate": "r"}):
    symbol: Name
    mark: str
    index: str | None = None
    rate: str | None = None  # "": a contract that expires has no funding
    e: Literal["markPriceUpdate"] = "markPriceUpdate"
    event_time: Time = 0
    time: Time = 0  # of the next funding


class _Candle(
    msgspec.Struct,
    gc=False,
    rename={"begin": "t", "end": "T", "interval": "i", "open": "o", "close": "c", "high": "h", "low": "l"}
    | {"volume": "v", "closed": "x"},
):
    begin: Time
    end: Time
    interval: Interval
    open: str
    close: str
    high: str
    low: str
    volume: str
    closed: bool


class _Kline(msgspec.Struct, gc=False, rename=_TIMES | {"symbol": "s"}):
    symbol: Name
    k: _Candle
    e: Literal["kline"] = "kline"
    event_time: Time = 0


class _Other(msgspec.Struct, gc=False, rename=_TIMES):
    """A type that carries nothing the engine uses; only its name and time are read."""

    e: str
    event_time: Time = 0


class _Envelope(msgspec.Struct, Generic[T], gc=False):
    stream: str
    data: T


class _Head(msgspec.Struct, gc=False, rename={"last": "lastUpdateId"}):
    """The keys that tell what a message is; UNSET: it has no such key."""

    stream: str | msgspec.UnsetType = msgspec.UNSET
    e: str | msgspec.UnsetType = msgspec.UNSET
    last: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    code: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    B: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    A: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _ServerTime(msgspec.Struct, gc=False, rename="camel"):
    server_time: Time = 0


_head = msgspec.json.Decoder(_Head | list[_Head]).decode
_snapshot = msgspec.json.Decoder(_Snapshot).decode
_server_time = msgspec.json.Decoder(_ServerTime).decode


# --- from message to events --------------------------------------------------------------------------------------


def _trade(data: _Trade, _: str) -> Message:
    market = data.cause == "MARKET"
    read = positive if market else not_negative
    price, qty = read(data.price, "p"), read(data.qty, "q")
    sent = nanoseconds(data.event_time)
    if not (price and qty):  # futures fill a trade's number with X: NA and zeros when nothing was traded
        return Message("trade", (), None, sent)
    side = -1 if data.m else 1
    at = nanoseconds(data.time or data.event_time)
    return Message("trade", (Trade(data.symbol, price, qty, side, str(data.id), at, market),), None, sent)


def _agg_trade(data: _AggTrade, _: str) -> Message:
    price, qty = positive(data.price, "p"), positive(data.qty, "q")
    at = nanoseconds(data.time or data.event_time)
    event = Trade(data.symbol, price, qty, -1 if data.m else 1, str(data.id), at)
    return Message("aggTrade", (event,), None, nanoseconds(data.event_time))


def _quote(data: _Quote, _: str) -> Message:
    event = Quote(
        data.symbol,
        positive(data.bid, "b"),
        positive(data.bid_qty, "B"),
        positive(data.ask, "a"),
        positive(data.ask_qty, "A"),
        data.last,
        nanoseconds(data.time or data.event_time),
    )
    return Message("bookTicker", (event,), None, nanoseconds(data.event_time))


def _spot_depth(data: _SpotDepth, _: str) -> Message:
    if data.first > data.last:
        raise MessageError("bad_field", f"U: {data.first} is after u: {data.last}")
    return _diff(data, data.first - 1, data.event_time)


def _usdm_depth(data: _UsdmDepth, _: str) -> Message:
    if not data.previous <= data.first <= data.last:
        raise MessageError("bad_field", f"pu: {data.previous}, U: {data.first} and u: {data.last} are out of order")
    return _diff(data, data.previous, data.time or data.event_time)


def _diff(data: _SpotDepth, before: int, time: int) -> Message:
    bids, asks = levels(data.bids, "b"), levels(data.asks, "a")
    event = BookChange(data.symbol, False, bids, asks, before, data.last, nanoseconds(time), overlap=True)
    return Message("depth", (event,), None, nanoseconds(data.event_time))


def _partial(kept: int) -> Make:
    """Of streams with so many levels: futures send a diff's keys, spot a snapshot's without the symbol."""

    def partial(data: _Snapshot | _SpotDepth, stream: str) -> Message:
        names = ("bids", "asks") if isinstance(data, _Snapshot) else ("b", "a")
        bids, asks = levels(data.bids, names[0]), levels(data.asks, names[1])
        symbol = data.symbol or stream.partition("@")[0].upper()
        if not symbol:
            raise MessageError("bad_field", f"stream: no symbol in {stream!r}")
        sent = data.event_time
        at = nanoseconds(getattr(data, "time", 0) or sent)
        event = BookChange(symbol, True, bids, asks, None, None, at, depth=kept)
        return Message(f"depth{kept}", (event,), None, nanoseconds(sent))

    return partial


def _marks(data: "_Mark | list[_Mark]", _: str) -> Message:
    marks = data if isinstance(data, list) else (data,)
    sent = max((mark.event_time for mark in marks), default=0)
    return Message("markPrice", tuple(_mark(mark) for mark in marks), None, nanoseconds(sent))


def _mark(data: _Mark) -> Mark:
    return Mark(
        data.symbol,
        positive(data.mark, "p"),
        None if data.index is None else positive(data.index, "i"),
        signed(data.rate, "r") if data.rate else None,
        nanoseconds(data.time),
        nanoseconds(data.event_time),
    )


def _kline(data: _Kline, _: str) -> Message:
    k = data.k
    if k.end < k.begin:
        raise MessageError("bad_field", f"k.T: {k.end} is before k.t: {k.begin}")
    unit = nanoseconds(k.end + 1) - nanoseconds(k.end)  # the end is the last ms, or us, that belongs to the bar
    at = nanoseconds(data.event_time)
    event = Bar(
        data.symbol,
        nanoseconds(k.begin),
        _INTERVAL_NS.get(k.interval) or nanoseconds(k.end) - nanoseconds(k.begin) + unit,
        positive(k.open, "k.o"),
        positive(k.high, "k.h"),
        positive(k.low, "k.l"),
        positive(k.close, "k.c"),
        not_negative(k.volume, "k.v"),
        k.closed,
        at,
    )
    return Message("kline", (event,), None, at)


def _other(kind: str, names: Sequence[str]) -> Make:
    """Of a type without events: the names of its event, and of the message made of it."""

    def other(data: _Other | list[_Other], _: str) -> Message:
        entries = data if isinstance(data, list) else [data]
        for entry in entries:
            if entry.e not in names:
                raise MessageError("bad_field", f"e: {entry.e!r} in a stream of {kind}")
        return Message(kind, (), None, nanoseconds(max((entry.event_time for entry in entries), default=0)))

    return other


class _Type(NamedTuple):
    """One type of message: how its bytes are read, in the envelope and bare, and what is made of them."""

    envelope: Callable[[bytes], Any]
    bare: Callable[[bytes], Any]
    make: Make


def _type(form: Any, make: Make) -> _Type:
    return _Type(msgspec.json.Decoder(_Envelope[form]).decode, msgspec.json.Decoder(form).decode, make)


def _types(
    forms: Mapping[str, tuple[str, Any, Make]], others: Mapping[str, Sequence[str]]
) -> tuple[dict[bytes, _Type], dict[str, _Type]]:
    """Types by the word in a stream's name, and by the name of the event."""
    streams: dict[bytes, _Type] = {}
    events: dict[str, _Type] = {}
    for word, (name, form, make) in forms.items():
        streams[word.encode()] = _type(form, make)
        if name:
            events[name] = streams[word.encode()]
    for word, names in others.items():
        streams[word.encode()] = _type(_Other | list[_Other], _other(word, names))
        events |= dict.fromkeys(names, streams[word.encode()])
    return streams, events


_COMMON: dict[str, tuple[str, Any, Make]] = {
    "trade": ("trade", _Trade, _trade),
    "aggTrade": ("aggTrade", _AggTrade, _agg_trade),
    "bookTicker": ("bookTicker", _Quote, _quote),
    "kline": ("kline", _Kline, _kline),
}
_COMMON_OTHERS: dict[str, Sequence[str]] = {
    "ticker": ("24hrTicker", "1hTicker", "4hTicker", "1dTicker"),
    "miniTicker": ("24hrMiniTicker",),
}
_KEPT = (5, 10, 20)  # levels of the partial books

_SPOT = _types(
    _COMMON
    | {"depth": ("depthUpdate", _SpotDepth, _spot_depth)}
    | {f"depth{kept}": ("", _Snapshot, _partial(kept)) for kept in _KEPT},
    _COMMON_OTHERS | {"avgPrice": ("avgPrice",)},
)
_FUTURES = _types(
    _COMMON
    | {"depth": ("depthUpdate", _UsdmDepth, _usdm_depth)}
    | {f"depth{kept}": ("", _UsdmDepth, _partial(kept)) for kept in _KEPT}
    | {"markPrice": ("markPriceUpdate", _Mark | list[_Mark], _marks)},
    _COMMON_OTHERS
    | {
        "forceOrder": ("forceOrder",),
        "continuousKline": ("continuous_kline",),
        "markPriceKline": ("markPrice_kline",),
        "indexPriceKline": ("indexPrice_kline",),
        "indexPrice": ("indexPriceUpdate",),
        "compositeIndex": ("compositeIndex",),
        "assetIndex": ("assetIndexUpdate",),
        "contractInfo": ("contractInfo",),
    },
)

_STREAM = b'{"stream":"'  # how the venue begins an envelope


def _word(stream: bytes) -> bytes:
    """The type in a stream's name: btcusdt@kline_1m, btcusdt@depth@100ms, !markPrice@arr@1s."""
    first, _, rest = stream.partition(b"@")
    word = first[1:] if first.startswith(b"!") else rest.partition(b"@")[0]
    return word.partition(b"_")[0]


# --- the markets -------------------------------------------------------------------------------------------------


class BinanceSpot:
    """Decoder of the spot market."""

    venue = "binance_spot"
    _kind = "spot"
    _api = "/api/"
    _streams, _events = _SPOT
    _bare_quote: _Type | None = _SPOT[1]["bookTicker"]  # a quote of spot names no event

    def decode(self, body: bytes) -> Message:
        """A message of a public websocket. MessageError with the reason, naming the field."""
        try:
            if body.startswith(_STREAM):
                name = body[len(_STREAM) : body.find(b'"', len(_STREAM))]
                found = self._streams.get(_word(name))
                if found is not None:
                    return found.make(found.envelope(body).data, name.decode())
            return self._decode_any(body)
        except NOT_JSON as error:
            raise refusal(body, error) from None

    def decode_rest(self, endpoint: str, query: Mapping[str, str], body: bytes) -> Message:
        """A response of a public REST endpoint: depth, exchangeInfo, time, ping.

        A book's symbol is the query's where the response has none.
        """
        name = endpoint.rpartition("/")[2]
        try:
            if endpoint.startswith(self._api):
                if name == "depth":
                    return self._book(_snapshot(body), query.get("symbol") or "")
                if name in ("exchangeInfo", "time", "ping"):
                    return Message(f"rest.{name}", (), None, nanoseconds(_server_time(body).server_time))
        except NOT_JSON as error:
            raise refusal(body, error) from None
        raise MessageError("unknown_type", f"endpoint {endpoint} of {self.venue}")

    def instruments(self, endpoint: str, body: bytes) -> list[Instrument]:
        """The instruments of exchangeInfo; empty for another endpoint."""
        if not (endpoint.startswith(self._api) and endpoint.endswith("/exchangeInfo")):
            return []
        return decode_instruments(body, self._kind)

    def checksum(self, bids: Sequence[Level], asks: Sequence[Level]) -> int:
        """Binance sends none: MessageError."""
        raise MessageError("unknown_type", f"{self.venue} has no check sum")

    def _decode_any(self, body: bytes) -> Message:
        """A message whose first bytes do not tell its type."""
        head = _head(body)
        if isinstance(head, list):
            if not head:
                raise MessageError("unknown_type", "an empty list")
            head = head[0]
        if isinstance(head.stream, str):
            found = self._streams.get(_word(head.stream.encode()))
            if found is None:
                raise MessageError("unknown_type", f"stream {head.stream!r} of {self.venue}")
            return found.make(found.envelope(body).data, head.stream)
        if isinstance(head.e, str):
            found = self._events.get(head.e)
            if found is None:
                raise MessageError("unknown_type", f"event {head.e!r} of {self.venue}")
            return found.make(found.bare(body), "")
        if head.last is not msgspec.UNSET:
            return self._book(_snapshot(body), None)
        if head.error is not msgspec.UNSET or head.code is not msgspec.UNSET:
            return Message("error")
        if head.result is not msgspec.UNSET:
            return Message("result")
        if self._bare_quote and head.A is not msgspec.UNSET and head.B is not msgspec.UNSET:
            return self._bare_quote.make(self._bare_quote.bare(body), "")
        raise MessageError("unknown_type", f"neither stream nor event of {self.venue}: {body[:80]!r}")

    def _book(self, data: _Snapshot, symbol: str | None) -> Message:
        """A snapshot; symbol: of the query, None: a recorded line without one, whose file tells it."""
        symbol = data.symbol or symbol
        if symbol == "":
            raise MessageError("bad_field", "symbol: neither in the response nor in the query")
        bids, asks = levels(data.bids, "bids"), levels(data.asks, "asks")
        at = nanoseconds(data.time or data.event_time)
        event = BookChange(symbol or "", True, bids, asks, None, data.last, at)
        return Message("rest.depth", (event,), None, nanoseconds(data.event_time))


class BinanceUsdm(BinanceSpot):
    """Decoder of the USD-M futures."""

    venue = "binance_usdm"
    _kind = "linear"
    _api = "/fapi/"
    _streams, _events = _FUTURES
    _bare_quote = None


class BinanceCoinm(BinanceUsdm):
    """Decoder of the COIN-M futures: USD-M's messages with quantities in contracts."""

    venue = "binance_coinm"
    _kind = "inverse"
    _api = "/dapi/"
