"""Captures of BTCUSDT written by hand, one event every 100 ms, in the form in which recorders write them."""

import gzip
import json
from pathlib import Path

FIRST_NS = 1_723_000_000_000_000_000
STEP_NS = 100_000_000


class Capture:
    """A capture that begins with a snapshot; levels are (price, quantity) as text, one after the other."""

    def __init__(self, bids: str, asks: str, snapshot: bool = True) -> None:
        self.now_ns = FIRST_NS
        self.update = 100
        self.trade_id = 0
        self.lines: list[str] = []
        if snapshot:
            self.snapshot(bids, asks)
        else:
            self.depth(bids, asks)

    @staticmethod
    def rows(text: str) -> list[list[str]]:
        """`60000.00 5, 59999.00 2` as pairs."""
        return [part.split() for part in text.split(",") if part.strip()]

    def add(self, data: dict, stream: str = "", at_ns: int | None = None) -> "Capture":
        """One line, and time goes on."""
        message = {"stream": f"btcusdt@{stream}", "data": data} if stream else data
        self.lines.append(f"{self.now_ns if at_ns is None else at_ns} {json.dumps(message, separators=(',', ':'))}")
        if at_ns is None:
            self.now_ns += STEP_NS
        return self

    def snapshot(self, bids: str, asks: str) -> "Capture":
        """The whole book."""
        return self.add({"lastUpdateId": self.update, "bids": self.rows(bids), "asks": self.rows(asks)})

    def depth(self, bids: str = "", asks: str = "", lost: int = 0) -> "Capture":
        """A change of the book; `lost` updates before it are missing."""
        first = self.update + 1 + lost
        self.update = first + 4
        return self.add(
            {"e": "depthUpdate", "E": self.now_ns // 1_000_000, "s": "BTCUSDT", "U": first, "u": self.update,
             "b": self.rows(bids), "a": self.rows(asks)}, "depth@100ms"
        )  # fmt: skip

    def quote(self, bid: str, ask: str, more: int = 1) -> "Capture":
        """The best levels, of an update that comes `more` after the last one and is part of the next change."""
        (bid_price, bid_qty), (ask_price, ask_qty) = bid.split(), ask.split()
        return self.add(
            {"u": self.update + more, "s": "BTCUSDT", "b": bid_price, "B": bid_qty, "a": ask_price, "A": ask_qty},
            "bookTicker",
        )

    def trade(self, price: str, qty: str, seller: bool = True, ago_ms: int = 0) -> "Capture":
        """A trade; `seller`: who sold took. It was `ago_ms` before it was heard of."""
        self.trade_id += 1
        at_ms = self.now_ns // 1_000_000 - ago_ms
        return self.add(
            {"e": "trade", "E": at_ms, "s": "BTCUSDT", "t": self.trade_id, "p": price, "q": qty, "T": at_ms,
             "m": seller, "M": True}, "trade"
        )  # fmt: skip

    def wait(self, seconds: float) -> "Capture":
        """Nothing is recorded for a while."""
        self.now_ns += int(seconds * 1e9)
        return self

    def write(self, path: Path) -> Path:
        """Into a file."""
        path.write_bytes(gzip.compress(("\n".join(self.lines) + "\n").encode()))
        return path
