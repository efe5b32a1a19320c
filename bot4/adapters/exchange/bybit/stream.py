"""Public topics of Bybit: books by level, trades, tickers and bars, of both categories.

A book's topic has a count of its own, which goes up by one with each message. Whoever subscribes gets the book as the
topic has told it last, so that the next change fits. Level 1 is told whole, and again after three seconds of silence.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from bot4.adapters.exchange.bybit.api_market import levels, ticker
from bot4.adapters.exchange.bybit.gateway import BybitGateway
from bot4.adapters.exchange.bybit.symbol import price_text, qty_text
from bot4.adapters.exchange.bybit.text import INTERVALS, plain, trade_text
from bot4.adapters.exchange.market import Aggregate, Trade, begin_of
from bot4.adapters.exchange.number import parse_e8
from bot4.adapters.exchange.symbol import Symbol

TICK_MS = 20
_PERIODS_MS = {1: 20, 50: 20, 200: 100}
_REPEAT_MS = 3_000
_TICKER_MS = 100
_BAR_MS = 1_000
_FORM = re.compile(
    r"(?:orderbook\.(?P<depth>1|50|200)|(?P<trades>publicTrade)|(?P<ticker>tickers)|kline\.(?P<bar>[0-9DWM]{1,3}))"
    r"\.(?P<symbol>[A-Z0-9]{1,20})",
    re.ASCII,
)
_SPOT_TICKER = ("symbol", "lastPrice", "highPrice24h", "lowPrice24h", "prevPrice24h", "volume24h", "turnover24h",
                "price24hPcnt", "usdIndexPrice")  # fmt: skip
_LEFT_OUT = ("predictedDeliveryPrice", "basisRate", "basis", "deliveryFeeRate", "deliveryTime")  # of REST alone

Side = dict[str, str]


class Listener(Protocol):
    """A connection that hears topics."""

    def push(self, text: bytes, kind: str) -> None:
        """Send one message; `kind` is the topic's first word, for those who spoil it."""


@dataclass(slots=True)
class Topic:
    """One topic of one symbol that somebody hears."""

    name: str
    symbol: Symbol
    period_ms: int
    due: Callable[["Topic", int], bytes | None]  # the next message, None if there is none; at a time in ms
    first: Callable[["Topic", int], bytes | None]  # what a new listener gets
    depth: int = 0
    interval: str = ""
    listeners: dict[Listener, None] = field(default_factory=dict)
    bids: Side = field(default_factory=dict)
    asks: Side = field(default_factory=dict)
    u: int = 0
    seen: int = -1  # the symbol's update that was told last
    told_ms: int = 0
    values: dict[str, str] = field(default_factory=dict)
    begin: int = -1

    @property
    def kind(self) -> str:
        """Its first word."""
        return self.name.partition(".")[0]


class BybitStreams:
    """All public topics, and the watch over private connections that have gone."""

    tick_ms = TICK_MS

    def __init__(self, gateway: BybitGateway) -> None:
        self._gateway = gateway
        self._venue = gateway.venue
        self._topics: dict[tuple[str, str], Topic] = {}
        self._counts: dict[tuple[str, str], int] = {}  # of book topics: they outlive their listeners
        self._gone: dict[tuple[int, str], int] = {}  # since when (ms), by account and product
        self._last_ticks: dict[str, int] = {}
        self._venue.on_trades = self._on_trades
        self._venue.on_book = self._on_book

    # --- who listens ---

    def add(self, category: str, name: str, listener: Listener) -> bytes | None:
        """Hear a topic from now on; the first message, b"" for none. None if there is no such topic."""
        topic = self._topics.get((category, name))
        if topic is None:
            topic = self._make(category, name)
            if topic is None:
                return None
            self._topics[(category, name)] = topic
        topic.listeners[listener] = None
        return topic.first(topic, self._venue.now_ms()) or b""

    def remove(self, category: str, name: str, listener: Listener) -> None:
        """Hear it no more."""
        topic = self._topics.get((category, name))
        if topic is not None:
            topic.listeners.pop(listener, None)
            if not topic.listeners:
                del self._topics[(category, name)]

    def _make(self, category: str, name: str) -> Topic | None:
        form = _FORM.fullmatch(name)
        if form is None:
            return None
        for symbol in self._venue.by_index:
            if symbol.name == form["symbol"] and symbol.category == category:
                break
        else:
            return None
        if form["depth"]:
            depth = int(form["depth"])
            topic = Topic(name, symbol, _PERIODS_MS[depth], self._book, self._book_now, depth)
            topic.u = self._counts.get((category, name), 0)
            self._take_book(topic, self._sides(topic))
            return topic
        if form["trades"]:
            return Topic(name, symbol, 0, _nothing, _nothing)
        if form["ticker"]:
            return Topic(name, symbol, _TICKER_MS, self._ticker, self._ticker_now)
        if form["bar"] not in INTERVALS:
            return None
        return Topic(name, symbol, _BAR_MS, self._bar, _nothing, interval=form["bar"])

    # --- at once ---

    def _on_trades(self, trades: list[tuple[Symbol, Trade, Aggregate]]) -> None:
        rows: dict[int, list[dict[str, Any]]] = {}
        for symbol, trade, _ in trades:
            topic = self._topics.get((symbol.category, f"publicTrade.{symbol.name}"))
            if topic is None:
                continue
            before = self._last_ticks.get(symbol.key, trade.price_e8)
            self._last_ticks[symbol.key] = trade.price_e8
            turn = "PlusTick" if trade.price_e8 > before else "MinusTick" if trade.price_e8 < before else "ZeroPlusTick"
            rows.setdefault(symbol.index, []).append({
                "T": trade.time_ms,
                "s": symbol.name,
                "S": "Sell" if trade.buyer_maker else "Buy",
                "v": qty_text(symbol, trade.qty_e8),
                "p": price_text(symbol, trade.price_e8),
                "L": turn,
                "i": trade_text(self._gateway.seed, symbol.key, trade.trade_id),
                "BT": False,
                "RPI": False,
                "seq": self._venue.update_ids[symbol.index],
            })  # fmt: skip
        now_ms = self._venue.now_ms()
        for index, data in rows.items():
            symbol = self._venue.by_index[index]
            topic = self._topics[(symbol.category, f"publicTrade.{symbol.name}")]
            message = {"topic": topic.name, "type": "snapshot", "ts": now_ms, "data": data}
            self._send(topic, orjson.dumps(message))

    def _on_book(self, symbol: Symbol) -> None:
        self._venue.changed[symbol.index].clear()  # topics look at the book themselves

    @staticmethod
    def _send(topic: Topic, text: bytes) -> None:
        for listener in list(topic.listeners):
            listener.push(text, topic.kind)

    # --- by the clock ---

    def tick(self, number: int) -> None:
        """Once every `tick_ms`: what is due goes out; `number` counts the ticks."""
        now_ms = self._venue.now_ms()
        at_ms = number * TICK_MS
        for topic in list(self._topics.values()):
            if topic.period_ms and at_ms % topic.period_ms == 0:
                text = topic.due(topic, now_ms)
                if text is not None:
                    self._send(topic, text)
        self._gateway.fund()
        self.watch(now_ms)

    def _sides(self, topic: Topic) -> tuple[Side, Side]:
        core, symbol = self._venue.core, topic.symbol
        bids = levels(symbol, core.depth(symbol, True, topic.depth))
        asks = levels(symbol, core.depth(symbol, False, topic.depth))
        return {one[0]: one[1] for one in bids}, {one[0]: one[1] for one in asks}

    def _take_book(self, topic: Topic, sides: tuple[Side, Side]) -> None:
        topic.bids, topic.asks = sides
        topic.seen = self._venue.update_ids[topic.symbol.index]
        topic.told_ms = self._venue.now_ms()
        topic.u += 1
        self._counts[(topic.symbol.category, topic.name)] = topic.u

    def _book_text(self, topic: Topic, kind: str, bids: Any, asks: Any, now_ms: int) -> bytes:
        data = {"s": topic.symbol.name, "b": list(bids), "a": list(asks), "u": topic.u, "seq": topic.seen}
        return orjson.dumps({"topic": topic.name, "type": kind, "ts": now_ms, "data": data, "cts": topic.told_ms})

    def _book_now(self, topic: Topic, now_ms: int) -> bytes:
        return self._book_text(topic, "snapshot", topic.bids.items(), topic.asks.items(), now_ms)

    def _book(self, topic: Topic, now_ms: int) -> bytes | None:
        if topic.seen == self._venue.update_ids[topic.symbol.index]:
            if topic.depth == 1 and now_ms - topic.told_ms >= _REPEAT_MS:
                topic.told_ms = now_ms
                return self._book_now(topic, now_ms)
            return None
        before = topic.bids, topic.asks
        sides = self._sides(topic)
        if sides == before:
            topic.seen = self._venue.update_ids[topic.symbol.index]
            return None
        self._take_book(topic, sides)
        if topic.depth == 1:
            return self._book_now(topic, now_ms)
        changes = [_changes(old, new) for old, new in zip(before, sides, strict=True)]
        return self._book_text(topic, "delta", changes[0], changes[1], now_ms)

    def _ticker_values(self, symbol: Symbol) -> dict[str, str]:
        values = ticker(self._venue, symbol)
        if not symbol.is_linear:
            return {name: values[name] for name in _SPOT_TICKER}
        for name in _LEFT_OUT:
            del values[name]
        return values

    def _ticker_text(self, topic: Topic, kind: str, data: dict[str, str], now_ms: int) -> bytes:
        number = self._venue.update_ids[topic.symbol.index]
        return orjson.dumps({"topic": topic.name, "type": kind, "data": data, "cs": number, "ts": now_ms})

    def _ticker_now(self, topic: Topic, now_ms: int) -> bytes:
        topic.values = topic.values or self._ticker_values(topic.symbol)
        return self._ticker_text(topic, "snapshot", topic.values, now_ms)

    def _ticker(self, topic: Topic, now_ms: int) -> bytes | None:
        values = self._ticker_values(topic.symbol)
        changed = {name: value for name, value in values.items() if topic.values.get(name) != value}
        topic.values = values
        if not changed:
            return None
        if not topic.symbol.is_linear:
            return self._ticker_now(topic, now_ms)
        for pair in (("bid1Price", "bid1Size"), ("ask1Price", "ask1Size")):  # one side is told whole
            if any(name in changed for name in pair):
                changed |= {name: values[name] for name in pair}
        return self._ticker_text(topic, "delta", {"symbol": topic.symbol.name} | changed, now_ms)

    def _bar(self, topic: Topic, now_ms: int) -> bytes | None:
        tape = self._venue.tapes[topic.symbol.index]
        interval = INTERVALS[topic.interval]
        begin = begin_of(now_ms, interval)
        begins = [begin] if topic.begin in (-1, begin) else [topic.begin, begin]
        topic.begin = begin
        rows = []
        for start in begins:
            bar = tape.kline(interval, now_ms, start)["k"]
            prices = {
                name: price_text(topic.symbol, parse_e8(bar[letter], name))
                for name, letter in (("open", "o"), ("close", "c"), ("high", "h"), ("low", "l"))
            }
            volumes = {"volume": plain(parse_e8(bar["v"], "v")), "turnover": plain(parse_e8(bar["q"], "q"))}
            rows.append({
                "start": bar["t"], "end": bar["T"], "interval": topic.interval, **prices, **volumes,
                "confirm": start != begin, "timestamp": now_ms,
            })  # fmt: skip
        return orjson.dumps({"topic": topic.name, "data": rows, "ts": now_ms, "type": "snapshot"})

    # --- private connections that have gone ---

    def gone(self, account: int, product: str) -> None:
        """The last private connection that protects a product's orders is gone."""
        self._gone[(account, product)] = self._venue.clock_ns() // 1_000_000

    def back(self, account: int, product: str) -> None:
        """There is one again."""
        self._gone.pop((account, product), None)

    def watch(self, now_ms: int) -> None:
        """Those who have been gone for longer than they set have their orders cancelled."""
        if not self._gone:
            return
        at_ms = self._venue.clock_ns() // 1_000_000
        for (index, product), since_ms in list(self._gone.items()):
            window_s = self._gateway.words.states[index].windows_s.get(product)
            if window_s is None:
                del self._gone[(index, product)]
            elif at_ms - since_ms > window_s * 1_000:
                del self._gone[(index, product)]
                self._gateway.protect(self._venue.accounts[index], product)


def _nothing(topic: Topic, now_ms: int) -> None:
    return None


def _changes(old: Side, new: Side) -> list[tuple[str, str]]:
    """What takes one side to its new levels: quantities that are other ones, and 0 for a level that has gone."""
    found = [(price, qty) for price, qty in new.items() if old.get(price) != qty]
    found.extend((price, "0") for price in old if price not in new)
    return found
