"""Binance's public streams: combined streams, all named in the address.

A connection lives 24 hours. The venue pings every 20 s (spot) or 3 minutes (futures) and wants a pong; it wants to hear
nothing else. A book's snapshot is read by REST and joined to the diffs by its ids.

The venue splits USD-M streams over two addresses: book, best quote and trades come from `/public`, mark price from
`/market`, and a stream of the other address is never sent and never refused. So its topics have two routes.
"""

import json
from collections.abc import Sequence

from bot4.ports.stream import Attempts, Heartbeat, Request

DAY_S = 86_400.0


class BinanceSpotStreams:
    """Spot: best quote, trades and diffs every 100 ms."""

    venue = "binance_spot"
    max_topics = 200  # the venue takes 1024; the address of 200 stays below 8 KB, which every proxy passes
    depth = 0
    attempts = Attempts(300, 300.0)
    snapshots: Attempts | None = Attempts(48, 60.0)  # 50 of the 6000 weight each; the rest is the gateway's
    texts_per_s = 5
    lifetime_s = DAY_S
    heartbeat: Heartbeat | None = None

    _suffixes: tuple[str, ...] = ("@bookTicker", "@trade", "@depth@100ms")
    _depth = "/api/v3/depth"
    _levels = 1000  # weight 50; 5000 would weigh five times that
    _metadata = "/api/v3/exchangeInfo"

    def __init__(
        self, ws_url: str = "wss://stream.binance.com:9443", rest_url: str = "https://api.binance.com"
    ) -> None:
        self.ws_url, self.rest_url = ws_url, rest_url

    def topics(self, symbol: str) -> list[str]:
        """Names of streams, in lower case as the venue has them."""
        return [symbol.lower() + suffix for suffix in self._suffixes]

    def route(self, topic: str) -> str:
        """One address for all."""
        return ""

    def url(self, topics: Sequence[str]) -> str:
        """The combined stream."""
        return f"{self.ws_url}{self.route(topics[0])}/stream?streams={'/'.join(topics)}"

    def subscribe(self, topics: Sequence[str], request_id: int) -> list[str]:
        """Nothing: the address names the streams."""
        return []

    def unsubscribe(self, topics: Sequence[str], request_id: int) -> list[str]:
        """End streams of a living connection."""
        return [json.dumps({"method": "UNSUBSCRIBE", "params": list(topics), "id": request_id})]

    def book_topic(self, symbol: str) -> str:
        """None: diffs only."""
        return ""

    def has_book(self, topics: Sequence[str]) -> bool:
        """Whether diffs are among them."""
        return any("@depth" in topic for topic in topics)

    def snapshot(self, symbol: str) -> Request | None:
        """The deepest book whose weight leaves room for many symbols."""
        return self._depth, f"symbol={symbol}&limit={self._levels}"

    def metadata(self) -> Request:
        """Rules of all instruments."""
        return self._metadata, ""


class BinanceUsdmStreams(BinanceSpotStreams):
    """USD-M futures: best quote, trades, diffs as they happen, and the mark price every second."""

    venue = "binance_usdm"
    snapshots = Attempts(96, 60.0)  # 20 of the 2400 weight each, a fifth is left
    texts_per_s = 10

    _suffixes = ("@bookTicker", "@trade", "@depth@0ms", "@markPrice@1s")
    _depth = "/fapi/v1/depth"
    _metadata = "/fapi/v1/exchangeInfo"

    def __init__(self, ws_url: str = "wss://fstream.binance.com", rest_url: str = "https://fapi.binance.com") -> None:
        super().__init__(ws_url, rest_url)

    def route(self, topic: str) -> str:
        """The part of the address that serves the topic."""
        return "/market" if "@markPrice" in topic else "/public"
