"""A recording in the venue's own order, whatever the order in which a recorder heard it.

Streams overtake each other by up to some tenths of a second: a best quote comes before the trade that made it, a trade
after the change of the book that holds it. A decrease of a level would then count twice, as one and as a trade. The
venue's own marks tell what was first: the update ids of changes and quotes, the times of trades and changes. A look
ahead puts in front of

    a change    the trades that it holds: those of its time and earlier
    a quote     the changes that end before it
    a trade     the changes that are earlier than it

Nothing else is moved, and what comes later than the look ahead reaches stays where it is.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bot4.ports.feed import BookChange, Quote, Trade

AHEAD_NS = 1_000_000_000


class Told(NamedTuple):
    """One event of a recording: when it was received, the message's kind, what it said."""

    ts_ns: int
    kind: str
    event: BookChange | Quote | Trade


class _Waiting:
    __slots__ = ("event", "is_told", "ts_ns")

    def __init__(self, ts_ns: int, event: BookChange | Quote | Trade) -> None:
        self.ts_ns = ts_ns
        self.event = event
        self.is_told = False


class _Lane:
    """What waits of one symbol."""

    def __init__(self) -> None:
        self.changes: deque[_Waiting] = deque()
        self.trades: deque[_Waiting] = deque()
        self.trade_kind = ""  # trade or aggTrade, whatever came first: the other one tells the same again
        self.last_trade = -1

    def is_new(self, kind: str, trade: Trade) -> bool:
        """Whether a trade of the market is told for the first time."""
        self.trade_kind = self.trade_kind or kind
        if kind != self.trade_kind or not trade.market:
            return False
        if trade.trade_id.isdecimal():
            number = int(trade.trade_id)
            if number <= self.last_trade:
                return False
            self.last_trade = number
        return True


class VenueOrder:
    """Yields (time of receipt, event) of book changes, quotes and trades; what was moved bears the time it moved to."""

    def __init__(self, told: Iterable[Told], ahead_ns: int = AHEAD_NS) -> None:
        self._told = iter(told)
        self._ahead_ns = ahead_ns
        self._buffer: deque[_Waiting] = deque()
        self._lanes: dict[str, _Lane] = {}
        self._newest_ns = 0

    def __iter__(self) -> Iterator[tuple[int, BookChange | Quote | Trade]]:
        for one in self._told:
            self._take(one)
            while self._buffer and self._newest_ns - self._buffer[0].ts_ns > self._ahead_ns:
                yield from self._next()
        while self._buffer:
            yield from self._next()

    def _take(self, one: Told) -> None:
        event = one.event
        lane = self._lanes.setdefault(event.symbol, _Lane())
        self._newest_ns = max(self._newest_ns, one.ts_ns)
        waiting = _Waiting(self._newest_ns, event)
        if isinstance(event, BookChange):
            if event.last is None:
                return  # a part of the book, without an id
            if not event.snapshot:
                lane.changes.append(waiting)
        elif isinstance(event, Trade):
            if not lane.is_new(one.kind, event):
                return
            lane.trades.append(waiting)
        elif event.update_id is None:
            return
        self._buffer.append(waiting)

    def _next(self) -> Iterator[tuple[int, BookChange | Quote | Trade]]:
        head = self._buffer.popleft()
        if head.is_told:
            return
        event, lane = head.event, self._lanes[head.event.symbol]
        if isinstance(event, BookChange):
            if event.snapshot:
                yield head.ts_ns, event
            else:
                yield from self._tell_changes(lane, head, head.ts_ns)
            return
        while lane.changes and _is_before(lane.changes[0].event, event):
            yield from self._tell_changes(lane, lane.changes[0], head.ts_ns)
        if isinstance(event, Trade):
            yield from self._tell_trades(lane, event.venue_ns, head.ts_ns)
        if not head.is_told:
            yield head.ts_ns, event

    def _tell_changes(
        self, lane: _Lane, last: _Waiting, ts_ns: int
    ) -> Iterator[tuple[int, BookChange | Quote | Trade]]:
        """Changes up to this one, each with its trades in front of it."""
        while not last.is_told:
            change = lane.changes.popleft()
            change.is_told = True
            yield from self._tell_trades(lane, change.event.venue_ns, ts_ns)
            yield ts_ns, change.event

    @staticmethod
    def _tell_trades(lane: _Lane, to_ns: int, ts_ns: int) -> Iterator[tuple[int, BookChange | Quote | Trade]]:
        while lane.trades and lane.trades[0].event.venue_ns <= to_ns:
            trade = lane.trades.popleft()
            trade.is_told = True
            yield ts_ns, trade.event


def _is_before(change: BookChange | Quote | Trade, event: Quote | Trade) -> bool:
    """Whether a change ended before a quote or a trade was made."""
    if isinstance(event, Trade):
        return change.venue_ns < event.venue_ns
    assert isinstance(change, BookChange) and change.last is not None and event.update_id is not None
    return change.last < event.update_id
