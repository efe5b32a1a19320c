"""Public REST answers of Kraken spot, which both websocket versions share.

An answer is an object of `error` and `result`; one that holds an error is refused with the venue's words. The result's
key is REST's own name of the pair (XXBTZUSD); where the query asked for one pair, events bear the name it asked by.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from bot4.adapters.kraken.fields import (
    MINUTE_NS,
    NS,
    count,
    fail,
    read,
    seconds_number,
    text,
    text_above,
)
from bot4.ports.feed import Bar, BookChange, Event, Level, Message, MessageError, Quote, Trade

SIDES = {"b": 1, "s": -1}  # the order that took


class _Answer(msgspec.Struct):
    error: list[str]
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Depth(msgspec.Struct):
    asks: list[list[Any]]
    bids: list[list[Any]]


class _Ticker(msgspec.Struct):
    a: list[Any]
    b: list[Any]


class _Time(msgspec.Struct):
    unixtime: int


_ANSWER = msgspec.json.Decoder(_Answer)
_DEPTHS = msgspec.json.Decoder(dict[str, _Depth])
_TICKERS = msgspec.json.Decoder(dict[str, _Ticker])
_TIME = msgspec.json.Decoder(_Time)
_PARTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ROWS = msgspec.json.Decoder(list[list[Any]], float_hook=Decimal)


def name_of(endpoint: str) -> str:
    """The last part of an endpoint's path."""
    return endpoint.partition("?")[0].rstrip("/").rpartition("/")[2]


def long_enough(row: list[Any], least: int, field: str) -> list[Any]:
    """A row that has all of its columns."""
    return row if len(row) >= least else fail("bad_field", field, row)


def quote_of(symbol: str, ticker: Any, venue_ns: int) -> Quote:
    """The quote of a ticker whose sides are price, whole lots, quantity."""
    ask, bid = long_enough(ticker.a, 3, "ticker.a"), long_enough(ticker.b, 3, "ticker.b")
    return Quote(
        symbol,
        text_above(bid[0], "ticker.b[0]"),
        text_above(bid[2], "ticker.b[2]"),
        text_above(ask[0], "ticker.a[0]"),
        text_above(ask[2], "ticker.a[2]"),
        None,
        venue_ns,
    )


def _symbol(key: str, keys: int, query: Mapping[str, str]) -> str:
    return query["pair"] if keys == 1 and query.get("pair") else key


def _levels(rows: list[list[Any]], field: str) -> list[Level]:
    levels = []
    for row in rows:
        long_enough(row, 2, field)
        levels.append((text_above(row[0], f"{field}.price"), text(row[1], f"{field}.volume")))
    return levels


def _depth(result: msgspec.Raw, query: Mapping[str, str]) -> list[Event]:
    books = read(_DEPTHS, result, "Depth")
    return [
        BookChange(
            symbol=_symbol(key, len(books), query),
            snapshot=True,
            bids=_levels(book.bids, "bids"),
            asks=_levels(book.asks, "asks"),
            before=None,
            last=None,
            venue_ns=0,
        )
        for key, book in books.items()
    ]


def _ticker(result: msgspec.Raw, query: Mapping[str, str]) -> list[Event]:
    tickers = read(_TICKERS, result, "Ticker")
    return [quote_of(_symbol(key, len(tickers), query), ticker, 0) for key, ticker in tickers.items()]


def _rows(result: msgspec.Raw, what: str, query: Mapping[str, str]) -> list[tuple[str, list[list[Any]]]]:
    parts = read(_PARTS, result, what)
    parts.pop("last", None)
    return [(_symbol(key, len(parts), query), read(_ROWS, rows, what)) for key, rows in parts.items()]


def _trades(result: msgspec.Raw, query: Mapping[str, str]) -> list[Event]:
    events: list[Event] = []
    for symbol, rows in _rows(result, "Trades", query):
        for row in rows:
            long_enough(row, 4, "trade")
            side = SIDES.get(row[3]) if type(row[3]) is str else None
            events.append(
                Trade(
                    symbol=symbol,
                    price=text_above(row[0], "trade.price"),
                    qty=text_above(row[1], "trade.volume"),
                    side=side or fail("bad_field", "trade.side", row[3]),
                    trade_id=_trade_id(row[6]) if len(row) > 6 else "",
                    venue_ns=seconds_number(row[2], "trade.time"),
                )
            )
    return events


def _trade_id(value: Any) -> str:
    return str(count(value, "trade.id")) if type(value) is int else fail("bad_field", "trade.id", value)


def _bars(result: msgspec.Raw, query: Mapping[str, str]) -> list[Event]:
    """The last bar of each pair still grows: the venue says so of this endpoint."""
    interval = query.get("interval", "1")
    if not (interval.isascii() and interval.isdigit() and 0 < len(interval) < 7 and int(interval)):
        fail("bad_field", "OHLC query interval", interval)
    events: list[Event] = []
    for symbol, rows in _rows(result, "OHLC", query):
        for k, row in enumerate(rows):
            long_enough(row, 7, "ohlc")
            events.append(
                Bar(
                    symbol=symbol,
                    begin_ns=seconds_number(row[0], "ohlc.time"),
                    length_ns=int(interval) * MINUTE_NS,
                    open=text_above(row[1], "ohlc.open"),
                    high=text_above(row[2], "ohlc.high"),
                    low=text_above(row[3], "ohlc.low"),
                    close=text_above(row[4], "ohlc.close"),
                    volume=text(row[6], "ohlc.volume"),
                    closed=k + 1 < len(rows),
                    venue_ns=0,
                )
            )
    return events


_EVENTS: dict[str, Callable[[msgspec.Raw, Mapping[str, str]], list[Event]]] = {
    "Depth": _depth,
    "OHLC": _bars,
    "Ticker": _ticker,
    "Trades": _trades,
}
_OTHER = {"AssetPairs", "Assets", "Spread", "SystemStatus", "Time"}


def decode_answer(endpoint: str, query: Mapping[str, str], body: bytes) -> Message:
    """An answer of a public endpoint: Depth, OHLC, Ticker and Trades have events, the rest of the known ones none."""
    name = name_of(endpoint)
    if name not in _EVENTS and name not in _OTHER:
        raise MessageError("unknown_type", f"kraken REST endpoint {endpoint!r}")
    answer = read(_ANSWER, body, name)
    if answer.error:
        fail("bad_field", f"{name}.error", answer.error)
    if answer.result is msgspec.UNSET:
        raise MessageError("bad_field", f"kraken {name}.result is missing")
    events = _EVENTS[name](answer.result, query) if name in _EVENTS else ()
    sent = 0
    if name == "Time":
        sent = count(read(_TIME, answer.result, name).unixtime, "Time.unixtime", (2**63 - 1) // NS) * NS
    return Message(f"rest.{name}", events, None, sent)
