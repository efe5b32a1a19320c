"""Coinbase Advanced Trade's public streams: one message a channel, for many products.

The venue ends a quiet subscription after a minute or so unless heartbeats are subscribed, so every connection has them:
they are the topic of no product. Each message of a connection is numbered; that is how a hole is found. `level2` begins
with a snapshot of the whole book, of some megabytes. Nobody who is silent for 5 s after connecting stays connected.
"""

import json
from collections.abc import Sequence

from bot4.ports.stream import Attempts, Heartbeat, Request

HEARTBEATS = "heartbeats"
_NUMBERED = b'{"channel":"heartbeats","timestamp":"2000-01-01T00:00:00Z","sequence_num":%d,"events":[]}'
_CHANNELS = ("level2", "ticker", "market_trades", "status")


class CoinbaseStreams:
    """Spot; symbols are such as BTC-USD, topics such as `level2:BTC-USD`."""

    venue = "coinbase"
    max_topics = 100  # some snapshots of megabytes come at once on a new connection
    depth = 0
    attempts = Attempts(8, 1.0)
    snapshots: Attempts | None = None
    texts_per_s = 4  # it takes 8 of one address, which may have two connections
    lifetime_s = 0.0
    heartbeat: Heartbeat | None = None

    def __init__(
        self, ws_url: str = "wss://advanced-trade-ws.coinbase.com", rest_url: str = "https://api.coinbase.com"
    ) -> None:
        self.ws_url, self.rest_url = ws_url, rest_url

    def topics(self, symbol: str) -> list[str]:
        """Book, best quote, trades, status, and the heartbeats that all products of a connection share."""
        return [*(f"{channel}:{symbol}" for channel in _CHANNELS), HEARTBEATS]

    def route(self, topic: str) -> str:
        """One address for all."""
        return ""

    def url(self, topics: Sequence[str]) -> str:
        """The address of public data."""
        return self.ws_url

    def subscribe(self, topics: Sequence[str], request_id: int) -> list[str]:
        """A message for each channel; the venue has no ids of requests."""
        return self._messages("subscribe", topics)

    def unsubscribe(self, topics: Sequence[str], request_id: int) -> list[str]:
        """The same, to end them."""
        return self._messages("unsubscribe", topics)

    def book_topic(self, symbol: str) -> str:
        """The whole book."""
        return f"level2:{symbol}"

    def has_book(self, topics: Sequence[str]) -> bool:
        """Whether the book is among them."""
        return any(topic.startswith("level2:") for topic in topics)

    def snapshot(self, symbol: str) -> Request | None:
        """None: a book of REST says nothing of where in the stream it belongs."""
        return None

    def metadata(self) -> Request:
        """All public products."""
        return "/api/v3/brokerage/market/products", ""

    def _messages(self, kind: str, topics: Sequence[str]) -> list[str]:
        products: dict[str, list[str]] = {}
        for topic in topics:
            channel, _, product = topic.partition(":")
            products.setdefault(channel, []).extend([product] if product else [])
        return [
            json.dumps({"type": kind, "channel": channel} | ({"product_ids": of} if of else {}))
            for channel, of in products.items()
        ]


def heartbeat_of(number: int) -> bytes:
    """A message that says its number on the connection and no market data; its time is that of none."""
    return _NUMBERED % number
