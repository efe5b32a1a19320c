"""Slow twin of the books whose snapshots come in the stream: dictionaries and text, one instrument.

Records are (kind, flags, words); kinds and flags as in tests/reference/engine/feed.py.
"""

import zlib
from typing import NamedTuple

LEVEL, QUOTE, STATUS = 3, 2, 6
LAST, BOOK_NEWER = 1, 4
STALE, WHOLE, CLEAR = 0, 1, 2

MOST_LOTS = 2**40 - 1

Levels = list[tuple[int, int, int]]  # side, price, lots
Out = tuple[int, int, tuple[int, int, int, int]]


class Change(NamedTuple):
    """One message of a book."""

    snapshot: bool
    levels: Levels
    update: int = 0  # where the venue has ids
    checksum: int = -1


def digits_sum(bids: dict[int, int], asks: dict[int, int], tick_units: int, lot_units: int) -> int:
    """CRC32 of the ten best levels, asks first."""
    best = sorted(asks.items())[:10] + sorted(bids.items(), reverse=True)[:10]
    return zlib.crc32("".join(f"{price * tick_units}{lots * lot_units}" for price, lots in best).encode())


class RefStreamBook:
    """One book by the rule `ids`, `sums` or `numbered`."""

    def __init__(self, rule: str, depth: int, tick_units: int = 1, lot_units: int = 1, scale: int = 1) -> None:
        self.rule, self.depth, self.units, self.scale = rule, depth, (tick_units, lot_units), scale
        self.sides: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self.update = 0
        self.whole = self.awaited = False
        self.quote: tuple[int, int, int, int] = (0, 0, 0, 0)
        self.out: list[Out] = []

    def stale(self) -> None:
        """Told once."""
        if self.whole:
            self.whole = False
            self.out.append((STATUS, LAST, (STALE, self.update, 0, 0)))

    def top(self) -> tuple[int, int, int, int]:
        """Best bid and ask with their lots, zeros for an empty side."""
        bids, asks = self.sides[1], self.sides[-1]
        bid, ask = max(bids, default=0), min(asks, default=0)
        return bid, bids.get(bid, 0), ask, asks.get(ask, 0)

    def tell_quote(self) -> bool:
        """The best quote, where it has changed and both sides have one."""
        top = self.top()
        if top == self.quote:
            return False
        self.quote = top
        if not top[0] or not top[2]:
            return False
        bid, bid_lots, ask, ask_lots = top
        self.out.append((QUOTE, LAST | BOOK_NEWER, (bid, self.told(bid_lots), ask, self.told(ask_lots))))
        return True

    def told(self, quantity: int) -> int:
        """A quantity of the venue's steps in lots: cut, but not to nothing, and bounded."""
        return min(-(-quantity // self.scale) if quantity < self.scale else quantity // self.scale, MOST_LOTS)

    def is_damaged(self, checksum: int) -> str:
        """Crossed, or another sum than the venue's."""
        bid, _, ask, _ = self.top()
        if bid and ask and bid >= ask:
            return "book_crossed"
        if not bid or not ask:
            return "zero"
        if checksum >= 0 and digits_sum(self.sides[1], self.sides[-1], *self.units) != checksum:
            return "bad_checksum"
        return ""

    def take(self, change: Change) -> str:
        """Why it is refused, or "" ."""
        return self.begin(change) if change.snapshot else self.go_on(change)

    def begin(self, change: Change) -> str:
        """A snapshot."""
        if self.whole and not self.awaited:
            if self.rule != "ids":
                self.stale()
                return "out_of_order"
            if change.update <= self.update:
                return "duplicate" if change.update == self.update else "out_of_order"
        self.awaited = False
        update = change.update if self.rule == "ids" else self.update + 1
        sides = {side: {p: q for s, p, q in change.levels if s == side and q} for side in (1, -1)}
        if not sides[1] or not sides[-1]:
            self.stale()
            return "zero"
        if max(sides[1]) >= min(sides[-1]):
            self.stale()
            return "book_crossed"
        self.sides, self.update = sides, update
        if self.is_damaged(change.checksum):
            self.out.append((STATUS, LAST, (STALE, self.update, 0, 0)))
            self.whole = False
            return "bad_checksum"
        self.out.append((STATUS, 0, (CLEAR, update, 0, 0)))
        self.out += [
            (LEVEL, 0, (price, self.told(lots), side, update)) for side, price, lots in in_order(change.levels)
        ]
        self.out.append((STATUS, LAST, (WHOLE, update, 0, 0)))
        self.whole = True
        self.quote = (0, 0, 0, 0)
        self.tell_quote()
        return ""

    def go_on(self, change: Change) -> str:
        """A change of the book."""
        if not self.whole:
            return "no_snapshot"
        if self.rule == "ids" and change.update != self.update + 1:
            if change.update == self.update:
                return "duplicate"
            self.stale()  # an old one too: a snapshot may have had a wrong id
            return "out_of_order" if change.update < self.update and change.update != 1 else "gap"
        self.update += 1
        made: list[Out] = []
        for side in (1, -1):
            book = self.sides[side]
            for _, price, lots in (level for level in change.levels if level[0] == side):
                book[price] = lots
                if not lots:
                    del book[price]
                made.append((LEVEL, 0, (price, self.told(lots), side, self.update)))
            while self.depth and len(book) > self.depth:
                worst = min(book) if side > 0 else max(book)
                del book[worst]
                made.append((LEVEL, 0, (worst, 0, side, self.update)))
        reason = self.is_damaged(change.checksum)
        if reason:
            self.stale()
            return reason
        self.out += made
        if made and not self.tell_quote():
            kind, _, words = self.out[-1]
            self.out[-1] = (kind, LAST, words)
        return ""


def in_order(levels: Levels) -> Levels:
    """Bids, then asks, each as they came."""
    return [level for level in levels if level[0] > 0] + [level for level in levels if level[0] < 0]
