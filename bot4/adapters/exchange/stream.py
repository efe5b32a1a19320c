"""Market streams: who hears what, and the messages, immediate ones and those by the clock.

A message is put into JSON once for each form (raw, combined) and only if somebody listens.
"""

import re
from collections.abc import Callable
from typing import Any, Protocol

import orjson

from bot4.adapters.exchange.api_market import DAY_MS, average_of, book, statistics
from bot4.adapters.exchange.market import Aggregate, Trade, begin_of, window_ms
from bot4.adapters.exchange.number import text_e8
from bot4.adapters.exchange.symbol import Symbol
from bot4.adapters.exchange.venue import Venue

TICK_MS = 100
MAX_STREAMS = 1_024  # of one connection
_FORM = re.compile(
    r"(?P<symbol>[a-z0-9]{1,20})@(?P<kind>trade|aggTrade|bookTicker|ticker|miniTicker|avgPrice"
    r"|ticker_(?P<window>1h|4h|1d)|kline_(?P<interval>1s|1m|3m|5m|15m|30m|1h|2h|4h|6h|8h|12h|1d|3d|1w|1M)"
    r"|depth(?P<levels>5|10|20)?(?:@(?P<speed>100ms|1000ms))?)"
    r"|!(?P<all>ticker|miniTicker|ticker_(?:1h|4h|1d))@arr|!(?P<bests>bookTicker)",
    re.ASCII,
)


class Listener(Protocol):
    """A connection that hears streams."""

    combined: bool

    def push(self, text: bytes, kind: str) -> None:
        """Send one message; `kind` is the event's name, for those who spoil it."""


class Streams:
    """All market streams of a venue."""

    tick_ms = TICK_MS

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._listeners: dict[str, dict[Listener, None]] = {}
        self._timed: dict[str, Callable[[int], Any]] = {}
        self._periods: dict[str, int] = {}
        self._told: list[dict[int, dict[tuple[bool, int], int]]] = [{100: {}, 1_000: {}} for _ in venue.by_index]
        self._last_ids = [dict.fromkeys((100, 1_000), first) for first in venue.update_ids]
        self._bests: list[tuple] = [() for _ in venue.by_index]
        self._bars: dict[str, int] = {}
        venue.on_trades = self._on_trades
        venue.on_book = self._on_book

    # --- who listens ---

    def add(self, name: str, listener: Listener) -> bool:
        """Hear a stream from now on; False if there is none of that name."""
        form = _FORM.fullmatch(name)
        if form is None:
            return False
        if form["symbol"] and form["symbol"].upper() not in self._venue.symbols:
            return True  # the venue says nothing and sends nothing
        self._listeners.setdefault(name, {})[listener] = None
        if name not in self._timed:
            made = self._make(name, form)
            if made is not None:
                self._periods[name], self._timed[name] = made
        return True

    def remove(self, name: str, listener: Listener) -> None:
        """Hear it no more."""
        heard = self._listeners.get(name)
        if heard is not None:
            heard.pop(listener, None)
            if not heard:
                del self._listeners[name]
                self._timed.pop(name, None)
                self._bars.pop(name, None)

    def _send(self, name: str, data: Any, kind: str) -> None:
        heard = self._listeners.get(name)
        if not heard:
            return
        raw = orjson.dumps(data)
        combined = b'{"stream":"' + name.encode() + b'","data":' + raw + b"}"
        for listener in list(heard):
            listener.push(combined if listener.combined else raw, kind)

    # --- at once ---

    def _on_trades(self, trades: list[tuple[Symbol, Trade, Aggregate]]) -> None:
        now_ms = self._venue.now_ms()
        told: set[int] = set()
        for symbol, trade, aggregate in trades:
            name = symbol.name.lower()
            if name + "@trade" in self._listeners:
                self._send(name + "@trade", {
                    "e": "trade", "E": now_ms, "s": symbol.name, "t": trade.trade_id, "p": text_e8(trade.price_e8),
                    "q": text_e8(trade.qty_e8), "T": trade.time_ms, "m": trade.buyer_maker, "M": True,
                }, "trade")  # fmt: skip
            if name + "@aggTrade" in self._listeners and id(aggregate) not in told:
                told.add(id(aggregate))
                self._send(name + "@aggTrade", {
                    "e": "aggTrade", "E": now_ms, "s": symbol.name, "a": aggregate.aggregate_id,
                    "p": text_e8(aggregate.price_e8), "q": text_e8(aggregate.qty_e8), "f": aggregate.first_id,
                    "l": aggregate.last_id, "T": aggregate.time_ms, "m": aggregate.buyer_maker, "M": True,
                }, "aggTrade")  # fmt: skip

    def _on_book(self, symbol: Symbol) -> None:
        changed = self._venue.changed[symbol.index]
        for waiting in self._told[symbol.index].values():
            waiting.update(changed)
        changed.clear()
        name = symbol.name.lower() + "@bookTicker"
        if name not in self._listeners and "!bookTicker" not in self._listeners:
            return
        best = self._venue.best(symbol)
        if best == self._bests[symbol.index]:
            return
        self._bests[symbol.index] = best
        (bid, bid_qty), (ask, ask_qty) = best
        data = {
            "u": self._venue.update_ids[symbol.index], "s": symbol.name, "b": text_e8(bid), "B": text_e8(bid_qty),
            "a": text_e8(ask), "A": text_e8(ask_qty),
        }  # fmt: skip
        self._send(name, data, "bookTicker")
        self._send("!bookTicker", data, "bookTicker")

    # --- by the clock ---

    def tick(self, number: int) -> None:
        """Once every TICK_MS: what is due goes out; `number` counts the ticks."""
        for period in (100, 1_000):
            if number * TICK_MS % period == 0:
                for symbol in self._venue.by_index:
                    self._tell_changes(symbol, period)
        now_ms = self._venue.now_ms()
        for name, make in list(self._timed.items()):
            if number * TICK_MS % self._periods[name] == 0:
                data = make(now_ms)
                if data is not None:
                    kind = data.get("e", "depth") if isinstance(data, dict) else "array"
                    self._send(name, data, kind)

    def _tell_changes(self, symbol: Symbol, period: int) -> None:
        """The differences of the book since this period's last message, their ids without a hole."""
        waiting = self._told[symbol.index][period]
        if not waiting:
            return
        first = self._last_ids[symbol.index][period] + 1
        last = self._venue.update_ids[symbol.index]
        self._last_ids[symbol.index][period] = last
        stream = symbol.name.lower() + "@depth"
        names = (stream + "@100ms",) if period == 100 else (stream, stream + "@1000ms")
        if any(name in self._listeners for name in names):
            data = {
                "e": "depthUpdate", "E": self._venue.now_ms(), "s": symbol.name, "U": first, "u": last,
                "b": [[text_e8(price), text_e8(qty)] for (bid, price), qty in waiting.items() if bid],
                "a": [[text_e8(price), text_e8(qty)] for (bid, price), qty in waiting.items() if not bid],
            }  # fmt: skip
            for name in names:
                self._send(name, data, "depthUpdate")
        waiting.clear()

    def _make(self, name: str, form: re.Match) -> tuple[int, Callable[[int], Any]] | None:
        """How often a stream by the clock speaks, and what it says; None for those that speak at once."""
        venue = self._venue
        if form["all"]:
            window = DAY_MS if form["all"] in ("ticker", "miniTicker") else window_ms(form["all"][7:])
            return 1_000, lambda now_ms: [
                self._ticker(symbol, now_ms, form["all"], window) for symbol in venue.by_index
            ]
        if form["bests"]:
            return None
        symbol = venue.symbols[form["symbol"].upper()]
        kind = form["kind"]
        if kind in ("ticker", "miniTicker"):
            return 1_000, lambda now_ms: self._ticker(symbol, now_ms, kind, DAY_MS)
        if form["window"]:
            return 1_000, lambda now_ms: self._ticker(symbol, now_ms, kind, window_ms(form["window"]))
        if kind == "avgPrice":
            return 1_000, lambda now_ms: {
                "e": "avgPrice", "E": now_ms, "s": symbol.name, "i": "5m", "w": text_e8(venue.average_e8(symbol, 5)),
                "T": now_ms,
            }  # fmt: skip
        if form["interval"]:
            period = 1_000 if form["interval"] == "1s" else 2_000
            return period, lambda now_ms: self._kline(name, symbol, form["interval"], now_ms)
        if form["levels"]:
            period = 100 if form["speed"] == "100ms" else 1_000
            return period, lambda now_ms: book(venue, symbol, int(form["levels"]))
        return None

    def _kline(self, name: str, symbol: Symbol, interval: str, now_ms: int) -> dict | None:
        tape = self._venue.tapes[symbol.index]
        begin = begin_of(now_ms, interval)
        before = self._bars.get(name)
        self._bars[name] = begin
        if before is not None and before != begin:
            closed = tape.kline(interval, now_ms, before)
            closed["k"]["x"] = True
            self._send(name, closed, "kline")
        return tape.kline(interval, now_ms, begin)

    def _ticker(self, symbol: Symbol, now_ms: int, kind: str, window: int) -> dict:
        bar = self._venue.tapes[symbol.index].statistics(now_ms, window)
        if kind == "miniTicker":
            return {
                "e": "24hrMiniTicker", "E": now_ms, "s": symbol.name, "c": text_e8(bar.close_e8),
                "o": text_e8(bar.open_e8), "h": text_e8(bar.high_e8), "l": text_e8(bar.low_e8),
                "v": text_e8(bar.qty_e8), "q": text_e8(bar.quote_e8),
            }  # fmt: skip
        found = statistics(self._venue, symbol, now_ms, window, True)
        data = {
            "e": "24hrTicker" if kind == "ticker" else kind.split("_")[1] + "Ticker", "E": now_ms, "s": symbol.name,
            "p": found["priceChange"], "P": found["priceChangePercent"], "w": text_e8(average_of(bar)),
            "c": found["lastPrice"], "o": found["openPrice"], "h": found["highPrice"], "l": found["lowPrice"],
            "v": found["volume"], "q": found["quoteVolume"], "O": found["openTime"], "C": found["closeTime"],
            "F": found["firstId"], "L": found["lastId"], "n": found["count"],
        }  # fmt: skip
        if kind == "ticker":
            (bid, bid_qty), (ask, ask_qty) = self._venue.best(symbol)
            tape = self._venue.tapes[symbol.index]
            last = tape.trades[-1].qty_e8 if tape.trades else 0
            data |= {"x": found["openPrice"], "Q": text_e8(last), "b": text_e8(bid), "B": text_e8(bid_qty),
                     "a": text_e8(ask), "A": text_e8(ask_qty)}  # fmt: skip
        return data
