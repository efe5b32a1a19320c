"""Bybit's public streams, v5: subscribed by messages of few topics each; whoever is silent for long is cut off.

`orderbook.50` comes every 20 ms (200 levels: every 100 ms) and begins with a snapshot; subscribing again brings
another one. Best bid and ask come
from `orderbook.1`, every 10 ms. The ticker of a perpetual holds mark price and funding; that of spot nothing that is
used here.
"""

import json
from collections.abc import Sequence

from bot4.model.errors import InputError
from bot4.ports.stream import Attempts, Heartbeat, Request

DEPTHS = (50, 200)  # of both markets, beside the best level alone
ARGUMENTS = 10  # of one message, which is all that spot takes


class _Streams:
    """What both markets share."""

    venue = ""
    max_topics = 500  # 21,000 characters a connection are allowed, and the longest topic has some 40
    attempts = Attempts(500, 300.0)
    snapshots: Attempts | None = None
    texts_per_s = 10
    lifetime_s = 0.0
    heartbeat: Heartbeat | None = Heartbeat(20.0, '{"op":"ping"}')

    _channels: tuple[str, ...] = ()  # beside the book
    _category = ""

    def __init__(
        self, depth: int = 50, ws_url: str = "wss://stream.bybit.com", rest_url: str = "https://api.bybit.com"
    ) -> None:
        """`depth`: levels a side of the book; the deeper one comes less often."""
        if depth not in DEPTHS:
            raise InputError(f"bybit book depth: {depth} is none of {', '.join(map(str, DEPTHS))}")
        self.depth, self.ws_url, self.rest_url = depth, ws_url, rest_url

    def topics(self, symbol: str) -> list[str]:
        """Channel and symbol, the book first."""
        return [self.book_topic(symbol), *(f"{channel}.{symbol}" for channel in self._channels)]

    def route(self, topic: str) -> str:
        """One address for all."""
        return ""

    def url(self, topics: Sequence[str]) -> str:
        """The market's address."""
        return f"{self.ws_url}/v5/public/{self._category}"

    def subscribe(self, topics: Sequence[str], request_id: int) -> list[str]:
        """A message for every ten topics."""
        return self._messages("subscribe", topics, request_id)

    def unsubscribe(self, topics: Sequence[str], request_id: int) -> list[str]:
        """The same, to end them."""
        return self._messages("unsubscribe", topics, request_id)

    def book_topic(self, symbol: str) -> str:
        """The deep book."""
        return f"orderbook.{self.depth}.{symbol}"

    def has_book(self, topics: Sequence[str]) -> bool:
        """Whether the deep book is among them."""
        return any(topic.startswith(f"orderbook.{self.depth}.") for topic in topics)

    def snapshot(self, symbol: str) -> Request | None:
        """None: a book of REST has ids that the stream's do not continue."""
        return None

    def metadata(self) -> Request:
        """Rules of the instruments; a market of more than 1000 has further pages, which no session needs."""
        return "/v5/market/instruments-info", f"category={self._category}&limit=1000"

    def _messages(self, op: str, topics: Sequence[str], request_id: int) -> list[str]:
        parts = [list(topics[at : at + ARGUMENTS]) for at in range(0, len(topics), ARGUMENTS)]
        return [
            json.dumps({"req_id": str(request_id + number), "op": op, "args": part}, separators=(",", ":"))
            for number, part in enumerate(parts)
        ]


class BybitSpotStreams(_Streams):
    """Spot."""

    venue = "bybit_spot"
    _channels = ("orderbook.1", "publicTrade")
    _category = "spot"


class BybitLinearStreams(_Streams):
    """Perpetuals and dated futures that settle in USDT or USDC."""

    venue = "bybit_linear"
    _channels = ("orderbook.1", "publicTrade", "tickers")
    _category = "linear"
