"""What the venue publishes of one symbol: trades, aggregate trades, bars, averages and statistics.

Everything is made of the trades of the core, in whole numbers of 1e-8 and ms. Bars are kept by the second (the last
hour) and by the minute (the last days); longer ones are put together of minutes when somebody asks. A span without a
trade has a bar too, at the last price, as the venue does it.
"""

from collections import deque
from dataclasses import dataclass

from bot4.adapters.exchange.number import E8, text_e8

MAX_TRADES = 10_000
MAX_SECONDS = 3_600
MAX_MINUTES = 4_320
MAX_BARS = 1_000
_DAY_MS = 86_400_000
_LENGTHS_MS = {
    "1s": 1_000, "1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000, "1h": 3_600_000,
    "2h": 7_200_000, "4h": 14_400_000, "6h": 21_600_000, "8h": 28_800_000, "12h": 43_200_000, "1d": _DAY_MS,
    "3d": 3 * _DAY_MS, "1w": 7 * _DAY_MS, "1M": 30 * _DAY_MS,
}  # fmt: skip
_MONDAY_MS = 4 * _DAY_MS  # the epoch was a Thursday: weeks of the venue begin on Monday


@dataclass(slots=True)
class Trade:
    """One trade as everybody sees it."""

    trade_id: int
    price_e8: int
    qty_e8: int
    time_ms: int
    buyer_maker: bool
    buyer_order: int
    seller_order: int


@dataclass(slots=True)
class Aggregate:
    """Trades of one taker order at one price."""

    aggregate_id: int
    price_e8: int
    qty_e8: int
    first_id: int
    last_id: int
    time_ms: int
    buyer_maker: bool


@dataclass(slots=True)
class Bar:
    """Open, high, low, close and what was traded from `open_ms` on."""

    open_ms: int
    open_e8: int
    high_e8: int
    low_e8: int
    close_e8: int
    qty_e8: int = 0
    quote_e8: int = 0
    count: int = 0
    taker_qty_e8: int = 0
    taker_quote_e8: int = 0
    first_id: int = -1
    last_id: int = -1

    def add(self, trade: Trade) -> None:
        """One trade more."""
        price = trade.price_e8
        if self.count == 0:
            self.open_e8 = self.high_e8 = self.low_e8 = price
            self.first_id = trade.trade_id
        self.high_e8 = max(self.high_e8, price)
        self.low_e8 = min(self.low_e8, price)
        self.close_e8 = price
        quote_e8 = price * trade.qty_e8 // E8
        self.qty_e8 += trade.qty_e8
        self.quote_e8 += quote_e8
        self.count += 1
        self.last_id = trade.trade_id
        if not trade.buyer_maker:
            self.taker_qty_e8 += trade.qty_e8
            self.taker_quote_e8 += quote_e8

    def join(self, other: "Bar") -> None:
        """The bar of both; `other` comes after this one."""
        if other.count:
            if self.count == 0:
                self.open_e8, self.high_e8, self.low_e8 = other.open_e8, other.high_e8, other.low_e8
                self.first_id = other.first_id
            self.high_e8 = max(self.high_e8, other.high_e8)
            self.low_e8 = min(self.low_e8, other.low_e8)
            self.last_id = other.last_id
        self.close_e8 = other.close_e8
        self.qty_e8 += other.qty_e8
        self.quote_e8 += other.quote_e8
        self.count += other.count
        self.taker_qty_e8 += other.taker_qty_e8
        self.taker_quote_e8 += other.taker_quote_e8

    def row(self, length_ms: int) -> list:
        """As `klines` answers."""
        return [
            self.open_ms, text_e8(self.open_e8), text_e8(self.high_e8), text_e8(self.low_e8), text_e8(self.close_e8),
            text_e8(self.qty_e8), self.open_ms + length_ms - 1, text_e8(self.quote_e8), self.count,
            text_e8(self.taker_qty_e8), text_e8(self.taker_quote_e8), "0",
        ]  # fmt: skip


def begin_of(time_ms: int, interval: str) -> int:
    """Where the bar that holds `time_ms` begins."""
    length = _LENGTHS_MS[interval]
    return time_ms - ((time_ms - _MONDAY_MS) % length if interval == "1w" else time_ms % length)


class Tape:
    """The public history of one symbol."""

    def __init__(self, symbol: str, start_price_e8: int, now_ms: int) -> None:
        self.symbol = symbol
        self.last_e8 = start_price_e8
        self.trades: deque[Trade] = deque(maxlen=MAX_TRADES)
        self.aggregates: deque[Aggregate] = deque(maxlen=MAX_TRADES)
        self._seconds: deque[Bar] = deque(maxlen=MAX_SECONDS)
        self._minutes: deque[Bar] = deque(maxlen=MAX_MINUTES)
        self._taker_order = 0
        self._aggregate_id = 0
        for bars, length in ((self._seconds, 1_000), (self._minutes, 60_000)):
            bars.append(self._empty(now_ms - now_ms % length))

    def _empty(self, open_ms: int) -> Bar:
        price = self.last_e8
        return Bar(open_ms, price, price, price, price)

    def _reach(self, bars: deque[Bar], length_ms: int, now_ms: int) -> Bar:
        """The bar of `now_ms`, after empty ones for every span in between; a clock that went back stays in the last."""
        last = bars[-1]
        missing = (now_ms - last.open_ms) // length_ms
        for number in range(max(1, missing - (bars.maxlen or 0)), missing + 1):
            bars.append(self._empty(last.open_ms + number * length_ms))
        return bars[-1]

    def add(self, trade: Trade, taker_order: int) -> Aggregate:
        """Take a trade of `taker_order`; the aggregate it belongs to, which grows no more after the taker's command."""
        second = self._reach(self._seconds, 1_000, trade.time_ms)
        minute = self._reach(self._minutes, 60_000, trade.time_ms)
        second.add(trade)
        minute.add(trade)
        self.last_e8 = trade.price_e8
        self.trades.append(trade)
        aggregate = self.aggregates[-1] if self.aggregates else None
        if aggregate and taker_order == self._taker_order and aggregate.price_e8 == trade.price_e8:
            aggregate.qty_e8 += trade.qty_e8
            aggregate.last_id = trade.trade_id
            return aggregate
        self._aggregate_id += 1
        self._taker_order = taker_order
        aggregate = Aggregate(self._aggregate_id, trade.price_e8, trade.qty_e8, trade.trade_id, trade.trade_id,
                              trade.time_ms, trade.buyer_maker)  # fmt: skip
        self.aggregates.append(aggregate)
        return aggregate

    def average_e8(self, now_ms: int, minutes: int) -> int:
        """The average price of the last minutes by volume; the last price where nothing was traded."""
        self._reach(self._minutes, 60_000, now_ms)
        since = now_ms - minutes * 60_000
        qty_e8 = quote_e8 = 0
        for bar in reversed(self._minutes):
            if bar.open_ms + 60_000 <= since:
                break
            qty_e8 += bar.qty_e8
            quote_e8 += bar.quote_e8
        return quote_e8 * E8 // qty_e8 if qty_e8 else self.last_e8

    def bars(self, interval: str, now_ms: int, start_ms: int | None, end_ms: int | None, limit: int) -> list[list]:
        """The bars that begin within start and end, the first `limit` from a start, else the last ones."""
        length_ms = _LENGTHS_MS[interval]
        seconds = interval == "1s"
        source = self._seconds if seconds else self._minutes
        self._reach(source, 1_000 if seconds else 60_000, now_ms)
        found: dict[int, Bar] = {}
        for bar in source:
            begin = begin_of(bar.open_ms, interval)
            if (start_ms is not None and begin < start_ms) or (end_ms is not None and begin > end_ms):
                continue
            joined = found.get(begin)
            if joined is None:
                joined = found[begin] = Bar(begin, bar.open_e8, bar.high_e8, bar.low_e8, bar.close_e8)
            joined.join(bar)
        rows = list(found.values())
        chosen = rows[:limit] if start_ms is not None else rows[-limit:]
        return [bar.row(length_ms) for bar in chosen]

    def kline(self, interval: str, now_ms: int, begin: int) -> dict:
        """The bar that begins at `begin`, as the stream tells it."""
        length_ms = _LENGTHS_MS[interval]
        seconds = interval == "1s"
        source = self._seconds if seconds else self._minutes
        self._reach(source, 1_000 if seconds else 60_000, now_ms)
        parts = []
        for bar in reversed(source):
            if bar.open_ms < begin:
                break
            if bar.open_ms < begin + length_ms:
                parts.append(bar)
        joined = self._empty(begin)
        if parts:
            first = parts[-1]
            joined.open_e8 = joined.high_e8 = joined.low_e8 = first.open_e8
        for bar in reversed(parts):
            joined.join(bar)
        return {
            "e": "kline",
            "E": now_ms,
            "s": self.symbol,
            "k": {
                "t": begin,
                "T": begin + length_ms - 1,
                "s": self.symbol,
                "i": interval,
                "f": joined.first_id,
                "L": joined.last_id,
                "o": text_e8(joined.open_e8),
                "c": text_e8(joined.close_e8),
                "h": text_e8(joined.high_e8),
                "l": text_e8(joined.low_e8),
                "v": text_e8(joined.qty_e8),
                "n": joined.count,
                "x": False,
                "q": text_e8(joined.quote_e8),
                "V": text_e8(joined.taker_qty_e8),
                "Q": text_e8(joined.taker_quote_e8),
                "B": "0",
            },
        }

    def statistics(self, now_ms: int, window_ms: int) -> Bar:
        """One bar over the last `window_ms`, by whole minutes."""
        self._reach(self._minutes, 60_000, now_ms)
        since = now_ms - window_ms
        parts = []
        for bar in reversed(self._minutes):
            if bar.open_ms + 60_000 <= since:
                break
            parts.append(bar)
        joined = self._empty(parts[-1].open_ms)
        joined.open_e8 = joined.high_e8 = joined.low_e8 = parts[-1].open_e8
        for bar in reversed(parts):
            joined.join(bar)
        return joined


def window_ms(window: str) -> int:
    """5m, 2h, 7d in ms."""
    return int(window[:-1]) * {"m": 60_000, "h": 3_600_000, "d": _DAY_MS}[window[-1]]
