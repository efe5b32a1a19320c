"""Messages of Kraken's first websocket version as the second one would have written them: captures of it are converted.

The feed reads the second version alone. The check sum of the first is of the digits as they were sent (five decimals of
a price that has one), which a book in ticks does not keep; so a naive book is kept here, digit by digit. What is
written into the message is the second version's own sum of that book, off by what the first one's was: the feed's rule
stays the judge of both, and a sum that was wrong is wrong.

Trades of the first version bear no number. They are counted here, per pair, so none can be told from a repeat.
"""

import heapq
import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from bot4.adapters.kraken.fields import NS
from bot4.adapters.kraken.parse import CHECKED_LEVELS, KrakenV1, book_checksum
from bot4.adapters.kraken.symbols import fixed
from bot4.ports.feed import BookChange, Level, MessageError, Quote, Status, Trade

_SILENT = b'{"channel":"heartbeat"}'
_REFUSED = b'{"method":"subscribe","success":false,"error":"refused"}'
_UNREADABLE = b"[]"  # nothing that the second version says
_Side = dict[Decimal, Level]  # by price, with the digits that were sent last


class SecondOfFirst:
    """Translates the messages of connections, each in its order.

    Parameters
    ----------
    sizes : by symbol of version 2: tick and the venue's step of quantities, whose digits its check sums are of
    """

    def __init__(self, sizes: Mapping[str, tuple[Decimal, Decimal]]) -> None:
        self._decoder = KrakenV1(renamed=True)
        self._sizes = sizes
        self._books: dict[tuple[Hashable, str], tuple[_Side, _Side]] = {}
        self._trades: Counter[str] = Counter()

    def translate(self, connection: Hashable, body: bytes) -> bytes:
        """The message of version 2 that says the same; what cannot be read becomes one that cannot be read.

        Parameters
        ----------
        connection : whose book it is
        body : a message of version 1
        """
        try:
            message = self._decoder.decode(body)
        except MessageError:
            return _UNREADABLE
        trades = [self._trade(event) for event in message.events if isinstance(event, Trade)]
        if trades:
            return _message("trade", "update", trades)
        for event in message.events:
            if isinstance(event, BookChange):
                return _message("book", "snapshot" if event.snapshot else "update", [self._book(connection, event)])
            if isinstance(event, Quote):
                return _message("ticker", "update", [_ticker(event)])
            if isinstance(event, Status):
                return _message("status", "update", [{"system": _text(event.word)}])
        return _REFUSED if message.kind.endswith(".error") else _SILENT

    def _trade(self, trade: Trade) -> dict[str, str]:
        self._trades[trade.symbol] += 1
        return {
            "symbol": _text(trade.symbol),
            "side": _text("buy" if trade.side > 0 else "sell"),
            "price": f"{trade.price:f}",
            "qty": f"{trade.qty:f}",
            "trade_id": str(self._trades[trade.symbol]),
            "timestamp": _moment(trade.venue_ns),
        }

    def _book(self, connection: Hashable, change: BookChange) -> dict[str, str]:
        if change.snapshot:
            self._books[connection, change.symbol] = {}, {}
        sides = self._books.setdefault((connection, change.symbol), ({}, {}))
        best = []
        for side, levels, is_bid in zip(sides, (change.bids, change.asks), (True, False), strict=True):
            for level in levels:
                side[level[0]] = level
                if not level[1]:
                    del side[level[0]]
            _forget(side, change.depth, is_bid)
            best.append((heapq.nlargest if is_bid else heapq.nsmallest)(CHECKED_LEVELS, side.values()))
        checksum = book_checksum(*(self._written(change.symbol, levels) for levels in best))
        if change.checksum is not None:
            checksum ^= book_checksum(*best) ^ change.checksum
        written = {
            "symbol": _text(change.symbol),
            "bids": _levels(self._written(change.symbol, change.bids)),
            "asks": _levels(self._written(change.symbol, change.asks)),
            "checksum": str(checksum),
        }
        if not change.snapshot and change.venue_ns:  # the levels of a whole book tell when each was changed last
            written["timestamp"] = _moment(change.venue_ns)
        return written

    def _written(self, symbol: str, levels: Sequence[Level]) -> list[Level]:
        """The same with the digits of version 2, as far as the sizes are known and fit."""
        if symbol not in self._sizes:
            return list(levels)
        tick, step = self._sizes[symbol]
        return [(fixed(price, tick), fixed(qty, step)) for price, qty in levels]


def _forget(side: _Side, depth: int, is_bid: bool) -> None:
    """Drop the levels that the venue does not keep up to date."""
    if len(side) > depth:
        for price in sorted(side, reverse=is_bid)[depth:]:
            del side[price]


def _ticker(quote: Quote) -> dict[str, str]:
    written = {
        "symbol": _text(quote.symbol),
        "bid": f"{quote.bid:f}",
        "bid_qty": f"{quote.bid_qty:f}",
        "ask": f"{quote.ask:f}",
        "ask_qty": f"{quote.ask_qty:f}",
    }
    return written | ({"timestamp": _moment(quote.venue_ns)} if quote.venue_ns else {})


def _levels(levels: Sequence[Level]) -> str:
    return "[" + ",".join(_object({"price": f"{price:f}", "qty": f"{qty:f}"}) for price, qty in levels) + "]"


def _moment(ts_ns: int) -> str:
    seconds, fraction = divmod(ts_ns, NS)
    return _text(f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z")


def _text(value: str) -> str:
    return json.dumps(value)


def _object(fields: Mapping[str, str]) -> str:
    """A JSON object of values that are JSON already: numbers keep their digits."""
    return "{" + ",".join(f"{_text(name)}:{value}" for name, value in fields.items()) + "}"


def _message(channel: str, kind: str, data: Sequence[Mapping[str, str]]) -> bytes:
    rows = "[" + ",".join(map(_object, data)) + "]"
    return _object({"channel": _text(channel), "type": _text(kind), "data": rows}).encode()
