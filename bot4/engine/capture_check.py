"""Is a capture sound? Every message decoded, every book rebuilt by its venue's rule and compared with the venue's word.

The reference that reads slowly and forgives nothing: typed decoding, exact decimals, sorted lists. What it finds equal
on recorded data, the compiled feed has to find equal too.

A book is whole from a snapshot on until a change does not fit, its check sum is wrong or it crosses. It is compared
with a best quote that names the same update, with check sums, and with a later snapshot of the same update. A quote
that names no update runs beside the book on a channel of its own: its prices have to be those of the book a few changes
before or after (`near`), which says less and is counted apart. Where the venue sends bars too, they are compared with
the trades (engine/bar_check.py).
"""

import statistics
from bisect import bisect_left, insort
from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from bot4.engine.bar_check import BarCheck
from bot4.ports.feed import Bar, BookChange, Decoder, Event, Level, Message, MessageError, Quote, Trade

WAITING = 10_000  # changes kept while a snapshot is awaited
REMEMBERED = 4_096  # quotes kept for the change that they belong to
SUPPORTED = "Binance (spot, USD-M), Bybit (v5), Kraken and Coinbase (Advanced Trade)"
COMPLAINT = 200  # characters of an example
TRADES = 4_096  # ids of the last trades of an instrument
NEAR = 8  # changes between a quote that names no update and the book that it speaks of

SAMPLED = 1 << 16  # offsets that the median is taken of, at most
PATIENCE = 256  # quotes that may come before it is given up

Top = tuple[Decimal, Decimal]  # best bid and ask


class Book:
    """One book, both sides sorted, the best level last."""

    def __init__(self, depth: int = 0) -> None:
        self.depth = depth
        self.whole = False
        self.fresh = False  # no change since the snapshot
        self.last: int | None = None
        self._keys: tuple[list[Decimal], list[Decimal]] = ([], [])  # bids: price, asks: -price
        self._qty: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] = ({}, {})

    def clear(self) -> None:
        """Forget everything."""
        self._keys, self._qty = ([], []), ({}, {})

    def set(self, row: int, level: Level) -> None:
        """Set a level of row 0 (bids) or 1 (asks)."""
        price, qty = level
        key = price if row == 0 else price.copy_negate()
        keys, known = self._keys[row], self._qty[row]
        if qty == 0:
            if known.pop(key, None) is not None:
                del keys[bisect_left(keys, key)]
        else:
            if key not in known:
                insort(keys, key)
            known[key] = qty

    def truncate(self) -> None:
        """Drop what is deeper than the venue keeps up to date."""
        for keys, known in zip(self._keys, self._qty, strict=True):
            while self.depth and len(keys) > self.depth:
                del known[keys.pop(0)]

    def levels(self, row: int, count: int = 0) -> list[Level]:
        """The best `count` levels of a side (0: all), best first."""
        keys, known = self._keys[row], self._qty[row]
        best = reversed(keys[-count:] if count else keys)
        return [(key.copy_abs(), known[key]) for key in best]

    @property
    def crossed(self) -> bool:
        """Whether somebody would buy for more than another asks."""
        bids, asks = self._keys
        return bool(bids and asks and bids[-1] >= asks[-1].copy_negate())


class Watched:
    """One book and what is waiting for it."""

    def __init__(self, depth: int) -> None:
        self.book = Book(depth)
        self.waiting: deque[BookChange] = deque(maxlen=WAITING)
        self.quotes: OrderedDict[int, Quote] = OrderedDict()
        self.tops: deque[Top] = deque(maxlen=NEAR)  # of the last changes
        self.undecided: list[tuple[Top, int]] = []  # quotes without an update, and the changes that they may wait for
        self.overlaps = False  # this venue joins a fetched snapshot and changes by their ids

    def fail(self) -> None:
        """The book is none any more, and nothing that was said of it can be judged."""
        self.book.whole = False
        self.undecided.clear()
        self.tops.clear()


class _Sample:
    """Every n-th of what it is given, n as small as the room allows."""

    def __init__(self) -> None:
        self.values: list[int] = []
        self._every = self._left = 1

    def take(self, value: int) -> None:
        """The next value."""
        self._left -= 1
        if self._left:
            return
        self._left = self._every
        self.values.append(value)
        if len(self.values) == SAMPLED:
            del self.values[1::2]
            self._every *= 2


class CaptureCheck:
    """Takes the messages of one capture in order and tells what was in them.

    Parameters
    ----------
    decoders : by the key that comes with each message; one venue may have several
    counted : keys of those whose trades bear numbers without a hole
    """

    def __init__(self, decoders: Mapping[str, Decoder], counted: Collection[str] = ()) -> None:
        self._decoders = decoders
        self._counted = [decoders[key] for key in counted]
        self._trade_numbers: dict[tuple[str, str, str], int] = {}  # the last one by connection, stream and symbol
        self.messages: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.examples: dict[str, str] = {}  # a complaint of each class
        self.near = self.near_equal = self.passed = 0
        self.compared = self.equal = self.stale = self.gaps = self.duplicates = self.crossed = self.out_of_order = 0
        self.venues: set[str] = set()
        self.bars = BarCheck()
        self._books: dict[str, dict[tuple[str, int], Watched]] = {}  # by venue and symbol, connection and depth
        self._snapshots: dict[str, BookChange] = {}  # the last one fetched, for a book whose changes begin after it
        self._sequence: dict[str, int] = {}
        self._trades: dict[tuple[str, str], OrderedDict[str, None]] = {}
        self._offsets = _Sample()
        self._last_ns = 0

    def take(
        self,
        ts_ns: int,
        connection: str,
        venue: str,
        rest: tuple[str, Mapping[str, str]] | None,
        body: bytes,
        address: str = "",
    ) -> None:
        """One message; `ts_ns` is 0 where no time can be read, `rest` is (endpoint, query) of a REST response, None for
        a websocket's, `connection` is "" where nobody wrote down which one brought it: its numbers are not compared.
        `address` is where it came from, for whoever reads why it was refused.
        """
        if 0 < ts_ns < self._last_ns:
            self.out_of_order += 1
        self._last_ns = max(self._last_ns, ts_ns)
        decoder = self._decoders.get(venue)
        if decoder is None:
            origin = address.partition("?")[0] or connection or venue
            self._refuse("unknown_venue", f"its venue is not supported: {origin}; {SUPPORTED} are")
            return
        self.venues.add(decoder.venue)
        try:
            message = decoder.decode_rest(*rest, body) if rest else decoder.decode(body)
        except MessageError as error:
            self._refuse(error.reason, str(error))
            return
        self.messages[message.kind] += 1
        if message.sequence is not None and connection:
            self._count(connection, message)
        for event in message.events:
            self._event(connection, decoder, event, rest is not None, message.kind)
        if message.venue_ns and rest is None:
            self._offsets.take(ts_ns - message.venue_ns)

    def _refuse(self, reason: str, text: str) -> None:
        self.rejected[reason] += 1
        self.examples.setdefault(reason, text[:COMPLAINT])

    def _count(self, connection: str, message: Message) -> None:
        """The connection's own count: a hole makes all its books stale."""
        before = self._sequence.get(connection)
        assert message.sequence is not None
        self._sequence[connection] = message.sequence
        if before is None or message.sequence == before + 1:
            return
        if message.sequence == before:
            self.duplicates += 1
            return
        self.gaps += 1
        for books in self._books.values():
            for (owner, _), watched in books.items():
                if owner == connection:
                    watched.fail()

    # --- events ---
    def _event(self, connection: str, decoder: Decoder, event: Event, rest: bool, kind: str) -> None:
        if isinstance(event, BookChange) and rest:
            self._fetched(decoder, event)
        elif isinstance(event, BookChange):
            self._book(decoder, self._watched(connection, decoder, event), event)
        elif isinstance(event, Quote):
            self._quote(connection, decoder, event)
        elif isinstance(event, Trade):
            if self._is_repeated(connection, event):
                self.duplicates += 1
            elif not rest:
                self._count_trade(connection, decoder, kind, event)
                self.bars.trade(f"{decoder.venue}:{event.symbol}", (connection, kind), event)
        elif isinstance(event, Bar) and not rest:
            self.bars.bar(f"{decoder.venue}:{event.symbol}", event)

    def _count_trade(self, connection: str, decoder: Decoder, kind: str, trade: Trade) -> None:
        """Trades whose numbers leap are missing."""
        if decoder not in self._counted or not trade.trade_id.isdecimal():
            return
        stream, number = (connection, kind, trade.symbol), int(trade.trade_id)
        last = self._trade_numbers.get(stream, number - 1)
        self.gaps += max(0, number - last - 1)
        self._trade_numbers[stream] = max(last, number)

    def _is_repeated(self, connection: str, trade: Trade) -> bool:
        """Whether a trade of this id has been told on this connection; one without an id never has."""
        seen = self._trades.setdefault((connection, trade.symbol), OrderedDict())
        if trade.trade_id in seen:
            return True
        if trade.trade_id:
            seen[trade.trade_id] = None
            if len(seen) > TRADES:
                seen.popitem(last=False)
        return False

    def _watched(self, connection: str, decoder: Decoder, change: BookChange) -> Watched:
        """The book that a change belongs to: one for each connection and depth."""
        name = f"{decoder.venue}:{change.symbol}"
        books = self._books.setdefault(name, {})
        watched = books.get((connection, change.depth))
        if watched is None:
            watched = books[connection, change.depth] = Watched(change.depth)
            if change.overlap and name in self._snapshots:
                self._snapshot(decoder, watched, self._snapshots[name], fetched=True)
        return watched

    def _fetched(self, decoder: Decoder, change: BookChange) -> None:
        """A snapshot by REST: for books whose venue joins the two by overlapping ids. Others count apart."""
        name = f"{decoder.venue}:{change.symbol}"
        self._snapshots[name] = change
        for watched in self._books.get(name, {}).values():
            if watched.overlaps:
                self._snapshot(decoder, watched, change, fetched=True)

    def _quote(self, connection: str, decoder: Decoder, quote: Quote) -> None:
        if quote.bid >= quote.ask:
            self.crossed += 1
            return
        for (owner, _), watched in self._books.get(f"{decoder.venue}:{quote.symbol}", {}).items():
            if quote.update_id is None:
                if owner == connection:  # on another one nothing tells how far the two are apart
                    self._look_near(watched, (quote.bid, quote.ask))
                continue
            watched.quotes[quote.update_id] = quote
            if len(watched.quotes) > REMEMBERED:
                watched.quotes.popitem(last=False)
            if watched.book.whole and watched.book.last == quote.update_id:
                self._compare_quote(watched.book, quote)

    def _look_near(self, watched: Watched, top: Top) -> None:
        """A quote that names no update: is it a book of a moment ago? Else wait for the next ones."""
        if not watched.book.whole:
            return
        if top in watched.tops:
            self.near += 1
            self.near_equal += 1
        else:
            watched.undecided.append((top, NEAR))
            if len(watched.undecided) > PATIENCE:  # so many quotes later no change has borne it out
                del watched.undecided[0]
                self.near += 1

    def _note_top(self, watched: Watched) -> None:
        """After a change of a whole book: decide on the quotes that waited for it."""
        bids, asks = watched.book.levels(0, 1), watched.book.levels(1, 1)
        if not bids or not asks:
            return
        now = (bids[0][0], asks[0][0])
        watched.tops.append(now)
        still = []
        for top, left in watched.undecided:
            if top == now or left == 1:
                self.near += 1
                self.near_equal += top == now
            else:
                still.append((top, left - 1))
        watched.undecided = still

    def _compare_quote(self, book: Book, quote: Quote) -> None:
        bids, asks = book.levels(0, 1), book.levels(1, 1)
        self._compared(bids == [(quote.bid, quote.bid_qty)] and asks == [(quote.ask, quote.ask_qty)])

    def _compared(self, equal: bool) -> bool:
        self.compared += 1
        self.equal += equal
        return equal

    def _book(self, decoder: Decoder, watched: Watched, change: BookChange) -> None:
        watched.overlaps = watched.overlaps or change.overlap
        if change.snapshot:
            self._snapshot(decoder, watched, change)
        elif watched.book.whole:
            self._apply(decoder, watched, change)
        else:
            self._wait(watched, change)

    def _wait(self, watched: Watched, change: BookChange) -> None:
        """A change that no book can take: kept where a snapshot that is yet to come may need it."""
        waiting = watched.waiting
        if waiting and change.before is not None and change.before != waiting[-1].last:
            self.gaps += 1
        if not change.overlap or len(waiting) == WAITING:
            self.stale += 1
        if not change.overlap:
            waiting.clear()  # only the last one, to see holes
        waiting.append(change)

    def _snapshot(self, decoder: Decoder, watched: Watched, change: BookChange, fetched: bool = False) -> None:
        book = watched.book
        if book.whole and change.last is not None and book.last is not None:
            if fetched and change.last < book.last:
                return  # older than what is known; on the stream itself the venue's count begins anew
            if change.last == book.last:
                same = [book.levels(row, len(side)) == list(side) for row, side in ((0, change.bids), (1, change.asks))]
                self._compared(all(same))
        book.clear()
        for row, side in ((0, change.bids), (1, change.asks)):
            for level in side:
                book.set(row, level)
        book.whole, book.fresh, book.last = True, True, change.last
        book.truncate()
        self._look(decoder, watched, change)
        waiting, watched.waiting = watched.waiting, deque(maxlen=WAITING)
        watched.tops.clear()
        self._note_top(watched)
        for late in waiting if change.last is not None and watched.overlaps else ():
            if book.whole:
                self._apply(decoder, watched, late)
            else:
                watched.waiting.append(late)

    def _apply(self, decoder: Decoder, watched: Watched, change: BookChange) -> None:
        book = watched.book
        if change.last is not None and book.last is not None:
            if change.last <= book.last:
                if not book.fresh:
                    self.duplicates += change.last == book.last
                    self.passed += change.last < book.last
                return
            fits = change.before == book.last
            if book.fresh and change.overlap:
                fits = change.before is not None and change.before <= book.last
            if not fits:
                self.gaps += 1
                watched.fail()
                self._wait(watched, change)
                return
        for row, side in ((0, change.bids), (1, change.asks)):
            for level in side:
                book.set(row, level)
        book.truncate()
        book.fresh, book.last = False, change.last
        self._look(decoder, watched, change)
        if book.whole:
            self._note_top(watched)
        quote = None if change.last is None else watched.quotes.get(change.last)
        if book.whole and quote is not None:
            self._compare_quote(book, quote)

    def _look(self, decoder: Decoder, watched: Watched, change: BookChange) -> None:
        """After a change: crossed, or another sum than the venue's?"""
        book = watched.book
        if book.crossed:
            self.crossed += 1
            watched.fail()
        if change.checksum is not None:
            found = decoder.checksum(book.levels(0, 10), book.levels(1, 10))
            if not self._compared(found == change.checksum):
                watched.fail()

    # --- the end ---
    def finish(self) -> dict[str, Any]:
        """What was found, as `bot4-data check --json` prints it, without the files."""
        for books in self._books.values():
            self.stale += sum(len(watched.waiting) for watched in books.values() if watched.overlaps)
        self.bars.finish()
        offset = statistics.median(self._offsets.values) / 1e6 if self._offsets.values else None
        return {
            "venue": "+".join(sorted(self.venues)),
            "messages": dict(sorted(self.messages.items())),
            "rejected": dict(sorted(self.rejected.items())),
            "book": {
                "compared": self.compared, "equal": self.equal, "near": self.near, "near_equal": self.near_equal,
                "stale": self.stale, "crossed": self.crossed,
            },
            "bars": {"compared": self.bars.compared, "equal": self.bars.equal},
            "clock_offset_ms": None if offset is None else round(offset, 3),
            "gaps": self.gaps,
            "duplicates": self.duplicates,
            "out_of_order": self.out_of_order + self.passed,
        }  # fmt: skip
