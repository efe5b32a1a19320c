"""One made-up market in the words of every venue, whose true book is known after each message.

A ladder of levels around a price that walks; what a message tells of it has the venue's own form, ids, numbers and
check sums. `KINDS` names the messages that a market can be asked for; `Message.about` says which one it is.
"""

import datetime as dt
import json
import random
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from reference.kernels.scan import Listing

from bot4.adapters.binance.parse import BinanceSpot, BinanceUsdm
from bot4.adapters.binance.streams import BinanceSpotStreams, BinanceUsdmStreams
from bot4.adapters.bybit.parse import BybitLinear
from bot4.adapters.bybit.streams import BybitLinearStreams
from bot4.adapters.coinbase.parse import CoinbaseAdvanced
from bot4.adapters.coinbase.streams import CoinbaseStreams
from bot4.adapters.kraken.parse import KrakenV2
from bot4.adapters.kraken.streams import KrakenStreams

DEPTH = 9  # levels a side: no more than any venue keeps up to date
BASE = 60_000  # price
START_MS = 1_723_161_256_000
FUNDING_MS = START_MS + 8 * 3_600_000  # the next one, for as long as any test takes
Side = dict[int, int]


class Message(NamedTuple):
    """What the venue sends."""

    about: str  # depth, quote, trade, mark
    body: bytes


def compact(made: object) -> bytes:
    """As venues write it."""
    return json.dumps(made, separators=(",", ":")).encode()


class Market(ABC):
    """A market; its time goes on by itself, or is the test's (`time_ms`)."""

    venue = ""
    symbol = "BTCUSDT"
    tick, lot = "0.10", "0.001"
    futures = False
    streams: Any = None
    decoder: Any = None
    kinds: tuple[str, ...] = ("depth", "quote", "trade")

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.time_ms: Callable[[], int] | None = None  # None: a millisecond a message
        self._now_ms = START_MS
        self.listing = Listing(self.symbol, Decimal(self.tick), Decimal(self.lot), self.futures)
        self._price_digits, self._lot_digits = self.listing.decimals
        self.mid = int(BASE / self.listing.tick)
        self.update, self.number = 1_000_000, 500
        self.sides: tuple[Side, Side] = ({}, {})
        self._walk()
        self.connection_number = 0  # Coinbase numbers the messages of each connection

    @property
    def now_ms(self) -> int:
        """The venue's time."""
        return self.time_ms() if self.time_ms else self._now_ms

    # --- the truth ---------------------------------------------------------------------------------------------------

    def _lots(self) -> int:
        return self.random.randint(1, 30) * 10 ** max(0, self._lot_digits - 2)

    def _walk(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """The next book; what of it is new, gone or changed, a side each."""
        self.mid += self.random.choice((-1, 0, 0, 1))
        told = []
        for place, side in enumerate((-1, 1)):
            before = self.sides[place]
            best = self.mid + (side if side > 0 else 0)
            wanted = [best + side * step for step in range(DEPTH)]
            after = {price: before.get(price) or self._lots() for price in wanted}
            after[best] = self._lots()
            deeper = self.random.choice(wanted)
            after[deeper] = self._lots()
            gone = [(price, 0) for price in before if price not in after]
            told.append(gone + [(price, lots) for price, lots in after.items() if before.get(price) != lots])
            self.sides[place].clear()
            self.sides[place].update(after)
        self.update += 1
        return told[0], told[1]

    def top(self, count: int = DEPTH) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Best bids and asks: (ticks, lots)."""
        return sorted(self.sides[0].items(), reverse=True)[:count], sorted(self.sides[1].items())[:count]

    def price(self, ticks: int) -> str:
        """As text."""
        return f"{self.listing.tick * ticks:.{self._price_digits}f}"

    def qty(self, lots: int) -> str:
        """As text."""
        return f"{self.listing.lot * lots:.{self._lot_digits}f}"

    def rows(self, levels: list[tuple[int, int]]) -> list[list[str]]:
        """Levels as pairs of texts."""
        return [[self.price(ticks), self.qty(lots)] for ticks, lots in levels]

    def when(self) -> str:
        """The venue's time as text."""
        seconds, ms = divmod(self.now_ms, 1_000)
        moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms:03d}000Z"

    # --- what is told ------------------------------------------------------------------------------------------------

    def next(self, about: str = "") -> Message:
        """The market goes on, and tells of it."""
        about = about or self.random.choice(self.kinds)
        self._now_ms += 1
        if about == "depth":
            return Message(about, self.depth(*self._walk()))
        if about == "trade":
            self.number += 1
            place = self.random.randrange(2)
            ticks = self.top(1)[place][0][0]
            return Message(about, self.trade(ticks, self._lots(), place == 1))
        return Message(about, getattr(self, about)())

    def without_bids(self) -> bytes:
        """A change of the book that takes every bid away, though the market still has them."""
        before = list(self.sides[0])
        self._walk()
        return self.depth([(price, 0) for price in {*before, *self.sides[0]}], [])

    def whole_without_bids(self) -> bytes:
        """The whole book, as if nobody bid."""
        bids = dict(self.sides[0])
        self.sides[0].clear()
        body = self.whole()
        self.sides[0].update(bids)
        return body

    @abstractmethod
    def depth(self, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> bytes:
        """A change of the book."""

    @abstractmethod
    def quote(self) -> bytes:
        """The best bid and ask."""

    @abstractmethod
    def trade(self, ticks: int, lots: int, bought: bool) -> bytes:
        """A trade."""

    @abstractmethod
    def whole(self) -> bytes:
        """The whole book: a message of the stream, or the body of REST."""


class BinanceUsdmMarket(Market):
    """USD-M futures."""

    venue = "binance_usdm"
    futures = True
    streams, decoder = BinanceUsdmStreams, BinanceUsdm
    kinds = ("depth", "quote", "quote", "trade", "mark")

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.told = self.update  # last update of the last diff
        self._untold: tuple[Side, Side] = ({}, {})

    def _said(self, stream: str, data: dict[str, Any]) -> bytes:
        if self.futures:
            data |= {"T": data.get("T", self.now_ms - 2), "E": data.get("E", self.now_ms)}
        return compact({"stream": f"{self.symbol.lower()}@{stream}", "data": data})

    def next(self, about: str = "") -> Message:
        """Quotes and diffs count the updates of one book: a diff tells all since the last one."""
        about = about or self.random.choice(self.kinds)
        if about == "quote" or (about == "depth" and (self.update == self.told or self.random.random() < 0.5)):
            for told, changes in zip(self._untold, self._walk(), strict=True):
                told.update(changes)
        if about == "depth":
            self._now_ms += 1
            changes = [list(told.items()) for told in self._untold]
            for told in self._untold:
                told.clear()
            return Message(about, self.depth(*changes))
        return super().next(about)

    def without_bids(self):
        """The same of the updates since the last diff."""
        before = {*self.sides[0], *self._untold[0]}
        self._walk()
        for told in self._untold:
            told.clear()
        return self.depth([(price, 0) for price in {*before, *self.sides[0]}], [])

    def depth(self, bids, asks):
        """All updates since the last diff."""
        first, self.told = self.told + 1, self.update
        data = {"e": "depthUpdate", "E": self.now_ms, "s": self.symbol, "U": first, "u": self.update}
        data |= {"pu": first - 1} if self.futures else {}
        data |= {"b": self.rows(bids), "a": self.rows(asks)}
        return self._said("depth@0ms" if self.futures else "depth@100ms", data)

    def quote(self):
        """The best level of an update of the book."""
        bids, asks = self.top(1)
        data = {"u": self.update, "s": self.symbol, "b": self.price(bids[0][0]), "B": self.qty(bids[0][1])}
        return self._said("bookTicker", data | {"a": self.price(asks[0][0]), "A": self.qty(asks[0][1])})

    def trade(self, ticks, lots, bought):
        """As the market's own trades, no insurance fund's."""
        data = {"e": "trade", "E": self.now_ms, "T": self.now_ms - 2, "s": self.symbol, "t": self.number}
        data |= {"p": self.price(ticks), "q": self.qty(lots), "X": "MARKET", "m": not bought}
        return self._said("trade", data)

    def mark(self):
        """Mark, index, rate."""
        price = f"{self.price(self.mid)}000000"
        data = {"e": "markPriceUpdate", "E": self.now_ms, "s": self.symbol, "p": price, "P": price, "i": price}
        return self._said("markPrice@1s", data | {"r": "0.00010000", "T": FUNDING_MS})

    def whole(self):
        """The answer of REST."""
        bids, asks = self.top()
        return compact({"lastUpdateId": self.update, "bids": self.rows(bids), "asks": self.rows(asks)})


class BinanceSpotMarket(BinanceUsdmMarket):
    """Spot."""

    venue = "binance_spot"
    futures = False
    tick, lot = "0.01", "0.00001"
    streams, decoder = BinanceSpotStreams, BinanceSpot
    kinds = ("depth", "quote", "quote", "trade")

    def trade(self, ticks, lots, bought):
        """Spot's."""
        data = {"e": "trade", "E": self.now_ms, "s": self.symbol, "t": self.number, "p": self.price(ticks)}
        return self._said("trade", data | {"q": self.qty(lots), "T": self.now_ms - 2, "m": not bought, "M": True})


class BybitMarket(Market):
    """Linear perpetuals of v5."""

    venue = "bybit_linear"
    futures = True
    streams, decoder = BybitLinearStreams, BybitLinear
    kinds = ("depth", "depth", "quote", "trade", "mark")

    def _book(self, topic: str, kind: str, bids, asks, update: int) -> bytes:
        data = {"s": self.symbol, "b": self.rows(bids), "a": self.rows(asks), "u": update, "seq": 7 * update}
        made = {"topic": f"{topic}.{self.symbol}", "type": kind, "ts": self.now_ms, "data": data}
        return compact(made | {"cts": self.now_ms - 2})

    def depth(self, bids, asks):
        """A delta."""
        return self._book("orderbook.50", "delta", bids, asks, self.update)

    def quote(self):
        """The book of one level."""
        return self._book("orderbook.1", "snapshot", *self.top(1), self.update)

    def trade(self, ticks, lots, bought):
        """One of a message."""
        name = f"{self.number:08x}-20f4-5e05-8b5e-0f2c3f1b7a11"
        row = {"T": self.now_ms - 2, "s": self.symbol, "S": "Buy" if bought else "Sell", "v": self.qty(lots)}
        row |= {"p": self.price(ticks), "L": "PlusTick", "i": name, "BT": False, "seq": self.number}
        made = {"topic": f"publicTrade.{self.symbol}", "type": "snapshot", "ts": self.now_ms, "data": [row]}
        return compact(made)

    def mark(self):
        """Of the ticker, with its quote."""
        bids, asks = self.rows(self.top(1)[0]), self.rows(self.top(1)[1])
        price = self.price(self.mid)
        data = {"symbol": self.symbol, "markPrice": price, "indexPrice": price, "fundingRate": "0.0001"}
        data |= {"nextFundingTime": str(FUNDING_MS), "bid1Price": bids[0][0], "bid1Size": bids[0][1]}
        data |= {"ask1Price": asks[0][0], "ask1Size": asks[0][1]}
        made = {"topic": f"tickers.{self.symbol}", "type": "delta", "data": data, "cs": 24987956059}
        return compact(made | {"ts": self.now_ms})

    def whole(self):
        """A snapshot in the stream."""
        return self._book("orderbook.50", "snapshot", *self.top(), self.update)


class KrakenMarket(Market):
    """Version 2; numbers are JSON numbers."""

    venue = "kraken"
    symbol = "BTC/USD"
    tick, lot = "0.1", "0.00001"
    streams, decoder = KrakenStreams, KrakenV2

    def _levels(self, levels: list[tuple[int, int]]) -> str:
        return ",".join(f'{{"price":{self.price(t)},"qty":{self.qty(q)}}}' for t, q in levels)

    def _book(self, kind: str, bids, asks) -> bytes:
        best = self.top(10)
        digits = "".join(f"{ticks}{lots}" for side in (best[1], best[0]) for ticks, lots in side)
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{self.symbol}","bids":[{self._levels(bids)}],'
            f'"asks":[{self._levels(asks)}],"checksum":{zlib.crc32(digits.encode())},"timestamp":"{self.when()}"}}]}}'
        ).encode()

    def depth(self, bids, asks):
        """With the check sum of what comes out."""
        return self._book("update", bids, asks)

    def quote(self):
        """The ticker."""
        bids, asks = self.top(1)
        return (
            f'{{"channel":"ticker","type":"update","data":[{{"symbol":"{self.symbol}","bid":{self.price(bids[0][0])},'
            f'"bid_qty":{self.qty(bids[0][1])},"ask":{self.price(asks[0][0])},"ask_qty":{self.qty(asks[0][1])},'
            f'"last":{self.price(bids[0][0])},"volume":2.5,"vwap":1.5,"low":1.5,"high":2.5,"change":0.5,'
            f'"change_pct":0.5}}]}}'
        ).encode()

    def trade(self, ticks, lots, bought):
        """One of a message."""
        return (
            f'{{"channel":"trade","type":"update","data":[{{"symbol":"{self.symbol}","side":"'
            f'{"buy" if bought else "sell"}","price":{self.price(ticks)},"qty":{self.qty(lots)},"ord_type":"market",'
            f'"trade_id":{self.number},"timestamp":"{self.when()}"}}]}}'
        ).encode()

    def whole(self):
        """A snapshot in the stream."""
        return self._book("snapshot", *self.top())


class CoinbaseMarket(Market):
    """Advanced Trade; the test numbers the messages of its connection."""

    venue = "coinbase"
    symbol = "BTC-USD"
    tick, lot = "0.01", "0.00001"
    streams, decoder = CoinbaseStreams, CoinbaseAdvanced

    def _said(self, channel: str, event: dict[str, Any]) -> bytes:
        number, self.connection_number = self.connection_number, self.connection_number + 1
        made = {"channel": channel, "timestamp": self.when(), "sequence_num": number, "events": [event]}
        return compact(made)

    def _book(self, kind: str, bids, asks) -> bytes:
        rows = [
            {"side": side, "event_time": self.when(), "price_level": price, "new_quantity": qty}
            for side, levels in (("bid", bids), ("offer", asks))
            for price, qty in self.rows(levels)
        ]
        return self._said("l2_data", {"type": kind, "product_id": self.symbol, "updates": rows})

    def depth(self, bids, asks):
        """Bids and offers in one list."""
        return self._book("update", bids, asks)

    def quote(self):
        """The ticker."""
        bids, asks = self.rows(self.top(1)[0]), self.rows(self.top(1)[1])
        ticker = {"type": "ticker", "product_id": self.symbol, "price": bids[0][0], "volume_24_h": "16038.28"}
        ticker |= {"best_bid": bids[0][0], "best_bid_quantity": bids[0][1]}
        ticker |= {"best_ask": asks[0][0], "best_ask_quantity": asks[0][1]}
        return self._said("ticker", {"type": "update", "tickers": [ticker]})

    def trade(self, ticks, lots, bought):
        """The side is the maker's."""
        row = {"product_id": self.symbol, "trade_id": str(self.number), "price": self.price(ticks)}
        row |= {"size": self.qty(lots), "time": self.when(), "side": "SELL" if bought else "BUY"}
        return self._said("market_trades", {"type": "update", "trades": [row]})

    def whole(self):
        """A snapshot in the stream."""
        return self._book("snapshot", *self.top())


MARKETS = {
    market.venue: market for market in (BinanceUsdmMarket, BinanceSpotMarket, BybitMarket, KrakenMarket, CoinbaseMarket)
}
