"""Kraken spot's public streams, version 2: one message a channel, for many symbols; the book's depth is chosen.

The venue sends heartbeats by itself, so nothing has to be said to it. The book begins with a snapshot; trades begin
without one, since trades from before the subscription are no news. The ticker is asked for at every change of the best
bid or ask: by default it comes with trades only.
"""

import json
from collections.abc import Sequence
from typing import Any

from bot4.adapters.kraken.parse import DEPTHS
from bot4.model.errors import InputError
from bot4.ports.stream import Attempts, Heartbeat, Request

INSTRUMENTS = "instrument"  # of all pairs, so it is the topic of none
_PARAMETERS: dict[str, dict[str, Any]] = {
    "book": {"snapshot": True},
    "ticker": {"event_trigger": "bbo", "snapshot": True},
    "trade": {"snapshot": False},
    INSTRUMENTS: {"snapshot": True},
}


class KrakenStreams:
    """Spot; symbols are such as BTC/USD, topics such as `book:BTC/USD`."""

    venue = "kraken"
    max_topics = 300
    attempts = Attempts(150, 600.0)
    snapshots: Attempts | None = None
    texts_per_s = 5
    lifetime_s = 0.0
    heartbeat: Heartbeat | None = None

    def __init__(
        self, depth: int = 10, ws_url: str = "wss://ws.kraken.com", rest_url: str = "https://api.kraken.com"
    ) -> None:
        """`depth`: levels a side of the book, as the decoder is told too."""
        if depth not in DEPTHS:
            raise InputError(f"kraken book depth: {depth} is none of {', '.join(map(str, DEPTHS))}")
        self.depth, self.ws_url, self.rest_url = depth, ws_url, rest_url

    def topics(self, symbol: str) -> list[str]:
        """Book, best quote, trades, and which pairs are traded, which all pairs of a connection share."""
        return [*(f"{channel}:{symbol}" for channel in _PARAMETERS if channel != INSTRUMENTS), INSTRUMENTS]

    def route(self, topic: str) -> str:
        """One address for all."""
        return ""

    def url(self, topics: Sequence[str]) -> str:
        """The address of version 2."""
        return f"{self.ws_url}/v2"

    def subscribe(self, topics: Sequence[str], request_id: int) -> list[str]:
        """A message for each channel."""
        return self._messages("subscribe", topics, request_id)

    def unsubscribe(self, topics: Sequence[str], request_id: int) -> list[str]:
        """The same, to end them."""
        return self._messages("unsubscribe", topics, request_id)

    def book_topic(self, symbol: str) -> str:
        """The book."""
        return f"book:{symbol}"

    def has_book(self, topics: Sequence[str]) -> bool:
        """Whether the book is among them."""
        return any(topic.startswith("book:") for topic in topics)

    def snapshot(self, symbol: str) -> Request | None:
        """None: check sums are of the stream's book."""
        return None

    def metadata(self) -> Request:
        """Rules of all pairs."""
        return "/0/public/AssetPairs", ""

    def _messages(self, method: str, topics: Sequence[str], request_id: int) -> list[str]:
        symbols: dict[str, list[str]] = {}
        for topic in topics:
            channel, _, symbol = topic.partition(":")
            symbols.setdefault(channel, []).extend([symbol] if symbol else [])
        return [
            json.dumps(
                {"method": method, "params": self._parameters(method, channel, of), "req_id": request_id + number},
                separators=(",", ":"),
            )
            for number, (channel, of) in enumerate(symbols.items())
        ]

    def _parameters(self, method: str, channel: str, symbols: list[str]) -> dict[str, Any]:
        named: dict[str, Any] = {"channel": channel} | ({"symbol": symbols} if symbols else {})
        if channel == "book":
            named["depth"] = self.depth
        if method == "subscribe":
            return named | _PARAMETERS[channel]
        if channel == "ticker":
            named["event_trigger"] = _PARAMETERS[channel]["event_trigger"]
        return named
