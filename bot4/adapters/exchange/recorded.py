"""The recorded market: a recording of Binance Spot in front of the book, and the orders of accounts in between.

The displayed quantity of each level stands in the core's own queues as orders of one account, ahead of our orders and
behind them. What happens to it:

    a level grows           the new quantity queues behind everybody
    a level shrinks         without a trade somebody has cancelled, ahead of an order of ours or behind it: the queue
                            model says how much of it behind (`bot4/kernels/queue_model.py`); of several orders the last
                            one is asked first, then the one before it about what was ahead of that
    a trade                 takes first what waits ahead of ours, then ours. Orders of ours at better prices, whoever's
                            side they are on, come before: the market went through them. What meets none of ours is told
                            as a trade of others
    the market comes to us  a level that reaches an order of ours takes it, at our price, and has that much less
    we take                 from the displayed quantity; in the recording it is still there, and not offered again:
                            what comes beyond it is, until a trade goes through it there or the level shows less

Best quotes are newer than the changes of the book and move it at once, except where an order of ours waits: of a
quote nobody knows whether a trade is behind it, so a queue of ours moves by trades and by changes of the book alone.
After each change the book without our part is the recorded one, level for level.

A symbol is traded while its book is known: until the first snapshot, from a gap in the ids to the next snapshot, during
a silence, and from the end of the recording on its status is BREAK, nothing moves, and orders are refused. Who waited
goes on waiting, his place in the queue kept.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

from bot4.adapters.exchange.core import OrderWish
from bot4.adapters.exchange.number import E8
from bot4.adapters.exchange.order import Order
from bot4.adapters.exchange.refusal import Refused
from bot4.adapters.exchange.symbol import Symbol
from bot4.adapters.exchange.venue import Account, Venue
from bot4.kernels.exchange.state import MAX_ORDERS
from bot4.kernels.queue_model import lost_behind
from bot4.model.enums import REPORT_REJECT, REPORT_REPLACED
from bot4.model.errors import RecordingError
from bot4.model.queue import AVERSE, QueueModel
from bot4.ports.feed import BookChange, Level, Quote, Trade

BOOK_MONEY_E8 = 2**58  # of each asset: no level that fits into the core is too dear
TURN_BOUND = 200  # events a turn: a recording that is too fast for the machine is slower than asked, nothing left out
SILENCE_NS = 60_000_000_000  # of the recording: a book that nothing was said of for so long is not known
WAITING = 10_000  # changes that wait for a snapshot
ROOM = MAX_ORDERS // 8 * 7  # orders open at once with which a level is still taken up
_LOOK = 16

Key = tuple[bool, int]  # bids, price in ticks
Event = BookChange | Quote | Trade
_SCALE = Decimal(E8)


class Recording(NamedTuple):
    """What is replayed."""

    symbols: list[Symbol]
    events: Iterable[tuple[int, Event | str]]  # in order; a symbol's name: nothing of it comes any more
    queue: QueueModel = AVERSE


class RecordedBook:
    """The book as the recording tells it, in ticks and lots, put together by the venue's rule for spot.

    Attributes
    ----------
    sides : bids, then asks: lots by price
    last : id of the last update that is in it
    is_whole : False until a snapshot, and after a gap
    """

    def __init__(self) -> None:
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.last = -1
        self.is_whole = False
        self._is_fresh = False
        self._waiting: deque[tuple[int, int, tuple[dict[int, int], dict[int, int]]]] = deque(maxlen=WAITING)

    def snapshot(self, last: int, sides: tuple[dict[int, int], dict[int, int]]) -> list[Key]:
        """Begin anew, with the changes that have waited; the levels that were and those that are."""
        if self.is_whole and last < self.last:
            return []  # older than what is known
        keys = [(side == 0, price) for side in (0, 1) for price in self.sides[side]]
        self.sides = ({}, {})
        self.last, self.is_whole, self._is_fresh = last, True, True
        keys += self._apply(last, sides)
        waiting, self._waiting = self._waiting, deque(maxlen=WAITING)
        for before, id_, change in waiting:
            keys += self.change(before, id_, change)
        return keys

    def change(self, before: int, last: int, sides: tuple[dict[int, int], dict[int, int]]) -> list[Key]:
        """Take the book from update `before` to `last`; the levels that were told."""
        if not self.is_whole:
            self._waiting.append((before, last, sides))
            return []
        if last <= self.last:
            return []
        if before != self.last and not (self._is_fresh and before <= self.last):
            self.is_whole = False
            self._waiting.append((before, last, sides))
            return []
        self._is_fresh = False
        return self._apply(last, sides)

    def _apply(self, last: int, sides: tuple[dict[int, int], dict[int, int]]) -> list[Key]:
        self.last = last
        keys = []
        for side, told in enumerate(sides):
            book = self.sides[side]
            for price, lots in told.items():
                if lots:
                    book[price] = lots
                else:
                    book.pop(price, None)
                keys.append((side == 0, price))
        return keys


class _Level(NamedTuple):
    """What the market has done at a price: what the recording shows, what it has there, what we took of it."""

    displayed: int = 0
    lots: int = 0
    taken: int = 0


_NOTHING = _Level()


class SymbolRecording:
    """The recorded market of one symbol."""

    def __init__(self, venue: Venue, symbol: Symbol, account: Account, queue: QueueModel) -> None:
        self.symbol = symbol
        self.book = RecordedBook()
        self.is_open = False
        self.has_ended = False
        self.left_out = 0  # so often a part of the recording found no room, or the core did not take it
        self.last_ns = 0
        self._venue = venue
        self._core = venue.core
        self._account = account
        self._queue = queue
        self._unit = symbol.lot_e8 / E8
        self._others = [one for one in venue.accounts if not one.is_agent]
        self._max_ticks, self._max_lots = self._core.bounds(symbol)
        self._levels: dict[Key, _Level] = {}
        self._unsettled: dict[Key, None] = {}  # levels that are other than the book of changes says
        self._touched: dict[tuple[bool, int], None] = {}
        self._quote_id = -1
        self._is_known = False
        venue.close(symbol, "BREAK", True)

    # --- what the recording says ---

    def take(self, ts_ns: int, event: Event) -> None:
        """One event."""
        self.last_ns = ts_ns
        if isinstance(event, BookChange):
            self._change(event)
        elif self.is_open and isinstance(event, Quote):
            self._quote(event)
        elif self.is_open and isinstance(event, Trade):
            self._trade(event)
        self._tell()

    def look(self, now_ns: int) -> None:
        """Open or close, as what is known of the book and a scenario's halts say; `now_ns` of the recording."""
        is_known = self.book.is_whole and not self.has_ended and now_ns - self.last_ns <= SILENCE_NS
        if is_known != self._is_known:
            self._is_known = is_known
            self._venue.close(self.symbol, "BREAK", not is_known)
        is_open = is_known and self.symbol.status == "TRADING"
        if is_open and not self.is_open:
            self._unsettled.clear()
            self._settle([*self._levels, *((side == 0, price) for side in (0, 1) for price in self.book.sides[side])])
            self._tell()
        self.is_open = is_open

    def _tell(self) -> None:
        if self._touched:
            touched, self._touched = self._touched, {}
            self._venue.tell_book(self.symbol, touched)

    def _ticks(self, price: Decimal) -> int:
        """Whole ticks; 0 for a price between them or beyond what the core knows, which no order can have."""
        units = price * _SCALE
        ticks, rest = divmod(int(units), self.symbol.tick_e8)
        return 0 if rest or units != int(units) or ticks > self._max_ticks else ticks

    def _lots(self, qty: Decimal) -> int:
        """Whole lots, at least one of what is there: orders older than the lot have quantities in between."""
        return max(int(qty * _SCALE) // self.symbol.lot_e8, 1 if qty else 0)

    def _side(self, levels: Iterable[Level]) -> dict[int, int]:
        """Levels in ticks and lots; those at prices that no order can have, older than the tick, are left out."""
        found = {self._ticks(price): self._lots(qty) for price, qty in levels}
        found.pop(0, None)
        return found

    def _change(self, event: BookChange) -> None:
        sides = (self._side(event.bids), self._side(event.asks))
        assert event.last is not None
        if event.snapshot:
            keys = self.book.snapshot(event.last, sides)
        else:
            keys = self.book.change(-1 if event.before is None else event.before, event.last, sides)
        self.look(self.last_ns)
        if self.is_open and keys:
            keys += self._unsettled
            self._unsettled.clear()
            self._settle(keys)

    def _settle(self, keys: Iterable[Key]) -> None:
        """These levels as the book of changes has them: what goes off first, then what comes, the best prices first."""
        grows = []
        for key in dict.fromkeys(keys):
            displayed = self.book.sides[0 if key[0] else 1].get(key[1], 0)
            if displayed > self._levels.get(key, _NOTHING).lots:
                grows.append((key, displayed))
            else:
                self._show(key, displayed)
        for key, displayed in sorted(grows, key=lambda one: -one[0][1] if one[0][0] else one[0][1]):
            self._show(key, displayed)

    def _quote(self, quote: Quote) -> None:
        """The best levels of both sides, and nothing beyond them; where ours wait it is left to the next change."""
        assert quote.update_id is not None
        if quote.update_id <= max(self.book.last, self._quote_id):
            return
        self._quote_id = quote.update_id
        if not self._ticks(quote.bid) or not self._ticks(quote.ask):
            return
        bests = (
            (True, self._ticks(quote.bid), self._lots(quote.bid_qty)),
            (False, self._ticks(quote.ask), self._lots(quote.ask_qty)),
        )
        for is_bid, best, _ in bests:
            for price in self._better(is_bid, best):
                self._show_quoted((is_bid, price), 0)
        for is_bid, best, lots in bests:
            self._show_quoted((is_bid, best), lots)

    def _show_quoted(self, key: Key, displayed: int) -> None:
        self._unsettled[key] = None
        rows = self._core.queue(self.symbol, *key)
        if all(row[1] == self._account.index for row in rows):
            self._show(key, displayed, rows)
            return
        have = sum(row[3] for row in rows if row[1] == self._account.index)
        level = self._note(key, have)  # from now on it is this quantity that we take from
        self._levels[key] = _Level(displayed, have, min(level.taken, displayed))

    # --- the levels ---

    def _better(self, is_bid: bool, limit: int) -> list[int]:
        """Prices of the book that are better than this one."""
        count = _LOOK
        while True:
            tick_e8 = self.symbol.tick_e8
            prices = [price_e8 // tick_e8 for price_e8, _ in self._core.depth(self.symbol, is_bid, count)]
            found = [price for price in prices if (price > limit if is_bid else price < limit)]
            if len(found) < count:
                return found
            count *= 4

    def _note(self, key: Key, lots: int) -> _Level:
        """What we have taken of a level since the market was there last; `lots` of the market are there now."""
        level = self._levels.get(key, _NOTHING)
        if lots < level.lots:
            level = _Level(level.displayed, lots, level.taken + level.lots - lots)
            self._levels[key] = level
        return level

    def _show(self, key: Key, displayed: int, rows: list[list[int]] | None = None) -> None:
        """The recording shows so many lots at a price now."""
        rows = self._core.queue(self.symbol, *key) if rows is None else rows
        have = sum(row[3] for row in rows if row[1] == self._account.index)
        level = self._note(key, have)
        taken = min(level.taken, displayed)
        target = displayed - taken
        lots = min(have, target)
        if target < have:
            self._lessen(key, rows, have - target)
        elif target > have:
            met, placed = self._grow(key, rows, target - have)
            taken += met
            lots += placed
        if displayed:
            self._levels[key] = _Level(displayed, lots, taken)
        else:
            self._levels.pop(key, None)

    def _lessen(self, key: Key, rows: list[list[int]], lost: int) -> None:
        """So many lots of the market go off without a trade."""
        parts: list[list[list[int]]] = [[]]  # the market's orders ahead of our first order, between ours, behind
        for row in rows:
            if row[1] == self._account.index:
                parts[-1].append(row)
            else:
                parts.append([])
        sizes = [sum(row[3] for row in part) for part in parts]
        for place in range(len(parts) - 1, -1, -1):
            off = lost
            if place:
                model, exponent = self._queue
                off = int(lost_behind(model, exponent, self._unit, sum(sizes[:place]), sizes[place], lost))
            lost -= off
            for row in reversed(parts[place]):
                if off == 0:
                    break
                off -= self._take_off(key, row, min(off, row[3]))

    def _take_off(self, key: Key, row: list[int], lots: int) -> int:
        """Lots of one order of the market; its place in the queue stays."""
        now_ns, lot_e8 = self._venue.clock_ns(), self.symbol.lot_e8
        if lots == row[3]:
            self._core.cancel(now_ns, self._account.index, self.symbol, row[0])
        else:
            self._core.amend(now_ns, self._account.index, self.symbol, row[0], (row[4] - lots) * lot_e8, 0, 0)
        self._touched[key[0], key[1] * self.symbol.tick_e8] = None
        return lots

    def _grow(self, key: Key, rows: list[list[int]], more: int) -> tuple[int, int]:
        """So many lots more, behind everybody; first they take what of ours they reach.

        Returns how many lots did, and how many wait now.
        """
        is_bid, ticks = key
        met = self._meet(is_bid, ticks, more)
        lots = more - met
        last = rows[-1] if rows else None
        if lots and last and last[1] == self._account.index and last[4] + lots <= self._max_lots:
            qty_e8 = (last[4] + lots) * self.symbol.lot_e8
            now_ns = self._venue.clock_ns()
            events = self._core.amend(now_ns, self._account.index, self.symbol, last[0], qty_e8, 0, 0)
            self._touched[is_bid, ticks * self.symbol.tick_e8] = None
            if events[0].kind == REPORT_REPLACED:
                return met, lots
        while lots and self._core.open_orders < ROOM:
            part = min(lots, self._max_lots)
            wish = OrderWish(
                self._account.index, self.symbol, self._venue.order_number(), is_bid, "LIMIT", "GTC",
                ticks * self.symbol.tick_e8, part * self.symbol.lot_e8,
            )  # fmt: skip
            events = self._core.place(self._venue.clock_ns(), wish)
            if events[0].kind == REPORT_REJECT:
                break
            lots -= part
            self._touched[is_bid, ticks * self.symbol.tick_e8] = None
        if lots:
            self._leave_out()
        return met, more - met - lots

    def _leave_out(self) -> None:
        self.left_out += 1
        if self.left_out == 1:
            fields = {"symbol": self.symbol.name, "open_orders": self._core.open_orders}
            logging.getLogger("bot4").warning("a part of the recording is left out", extra={"fields": fields})

    def _meet(self, is_bid: bool, limit: int, lots: int) -> int:
        """The market comes with so many lots to this price: it takes ours that are there. Returns how many lots.

        Of its own nothing can be there any more on the other side.
        """
        step = 1 if is_bid else -1
        prices = self._better(not is_bid, limit + step)
        if not prices:
            return 0
        ours = False
        for price in prices:
            ours = self._clear((not is_bid, price)) or ours
        if not ours:
            return 0
        done = 0
        while done < lots:
            part = min(lots - done, self._max_lots)
            order = self._send(is_bid, limit, part)
            if not order:
                break
            done += order
        return done

    def _clear(self, key: Key) -> bool:
        """The market's own orders leave a level until the recording says it anew. True: there are others."""
        self._unsettled[key] = None
        rows = self._core.queue(self.symbol, *key)
        own = [row for row in rows if row[1] == self._account.index]
        level = self._note(key, sum(row[3] for row in own))
        for row in own:
            self._take_off(key, row, row[3])
        if key in self._levels:
            self._levels[key] = level._replace(lots=0)
        return len(own) < len(rows)

    def _send(self, is_bid: bool, limit: int, lots: int) -> int:
        """The market takes what of ours it reaches. Returns how many lots."""
        venue, symbol = self._venue, self.symbol
        self._tell()
        number = venue.order_number()
        order = Order(
            symbol, number, f"m{number}", self._account.index, is_bid, "LIMIT", "IOC", limit * symbol.tick_e8,
            lots * symbol.lot_e8, 0, 0, "NONE", 0,
        )  # fmt: skip
        try:
            venue.place(self._account, order)
        except Refused:
            self._leave_out()
        return order.executed_e8 // symbol.lot_e8

    # --- trades ---

    def _trade(self, trade: Trade) -> None:
        """A trade of the recording, shared out once: ours beyond its price, then the queue at it."""
        price, lots = self._ticks(trade.price), self._lots(trade.qty)
        if not price or not lots:
            return
        side = trade.side
        left = lots
        if any(account.open for account in self._others):
            left -= self._through(side > 0, price + side, left)
            left -= self._through(side < 0, price - side, left)
        others = self._pass_queue((side < 0, price), left)
        self._tell()
        if others:
            self._venue.tell_trade(self.symbol, price, others, side < 0)

    def _through(self, is_bid: bool, limit: int, lots: int) -> int:
        """Orders of ours as good as `limit` or better, which the market went through. Returns their lots."""
        step = -1 if is_bid else 1
        prices = self._better(is_bid, limit + step)
        of_ours = [
            price for price in prices
            if any(row[1] != self._account.index for row in self._core.queue(self.symbol, is_bid, price))
        ]  # fmt: skip
        if not of_ours or not lots:
            return 0
        worst = min(of_ours) if is_bid else max(of_ours)
        for price in prices:
            if (price - worst) * step <= 0:
                self._clear((is_bid, price))
        done = 0
        while done < lots:
            part = self._send(not is_bid, worst, min(lots - done, self._max_lots))
            if not part:
                break
            done += part
        return done

    def _pass_queue(self, key: Key, lots: int) -> int:
        """A trade at a price: through the queue, who is first first. Returns the lots that met none of ours."""
        others = 0
        self._unsettled[key] = None
        rows = self._core.queue(self.symbol, *key)
        level = self._note(key, sum(row[3] for row in rows if row[1] == self._account.index))
        if level.taken:  # in the recording what we took was still there, the first of all
            self._levels[key] = level._replace(taken=max(0, level.taken - lots))
        while lots:
            rows = self._core.queue(self.symbol, *key)
            level = self._note(key, sum(row[3] for row in rows if row[1] == self._account.index))
            if not rows:
                break
            row = rows[0]
            if row[1] == self._account.index:
                part = self._take_off(key, row, min(lots, row[3]))
                others += part
                if key in self._levels:
                    self._levels[key] = level._replace(lots=level.lots - part)
            else:
                is_bid, price = key
                for better in self._better(is_bid, price):
                    self._clear((is_bid, better))
                part = self._send(not is_bid, price, min(lots, row[2]))
                if not part:
                    break
            lots -= part
        return others + lots


class RecordedMarket:
    """The recordings of all symbols, on one clock.

    Parameters
    ----------
    venue : its symbols are those of the recording
    account : whose orders are the book
    recording : what is replayed
    speed : seconds of the recording in a second

    Raises
    ------
    RecordingError : it ends before any book is whole
    """

    def __init__(self, venue: Venue, account: Account, recording: Recording, speed: float) -> None:
        venue.book_account = account.index
        self.symbols = {
            symbol.name: SymbolRecording(venue, symbol, account, recording.queue) for symbol in recording.symbols
        }
        self._events: Iterator[tuple[int, Event | str]] = iter(recording.events)
        self._clock_ns: Callable[[], int] = venue.clock_ns
        self._speed = speed
        self._next: tuple[int, Event | str] | None = next(self._events, None)
        while self._next is not None and not any(one.is_open for one in self.symbols.values()):
            self._step(self._next)
        if not any(one.is_open for one in self.symbols.values()):
            raise RecordingError(
                f"--market recorded: no book of {', '.join(self.symbols)} ever becomes whole; name the file with the "
                "snapshot too, the one that begins the chain"
            )
        self.position_ns = max(one.last_ns for one in self.symbols.values())  # where in the recording we are
        self._at_ns = venue.clock_ns()

    def _step(self, told: tuple[int, Event | str]) -> None:
        ts_ns, event = told
        name = event if isinstance(event, str) else event.symbol
        one = self.symbols.get(name)
        if one is not None and isinstance(event, str):
            one.has_ended = True
            one.look(ts_ns)
            fields = {"symbol": name, "at_ns": ts_ns, "left_out": one.left_out}
            logging.getLogger("bot4").info("the recording of a symbol has ended", extra={"fields": fields})
        elif one is not None and not isinstance(event, str):
            one.take(ts_ns, event)
        self._next = next(self._events, None)

    @property
    def has_ended(self) -> bool:
        """Whether the whole recording has been told."""
        return self._next is None

    def advance(self, to_ns: int) -> None:
        """Everything until then, TURN_BOUND events at most."""
        for one in self.symbols.values():
            one.look(self.position_ns)  # a scenario may have halted it, or let it go on
        position_ns = self.position_ns + int((to_ns - self._at_ns) * self._speed)
        self._at_ns = to_ns
        for _ in range(TURN_BOUND):
            if self._next is None or self._next[0] > position_ns:
                break
            self._step(self._next)
        else:
            position_ns = min(position_ns, self._next[0]) if self._next is not None else position_ns
        self.position_ns = position_ns
        for one in self.symbols.values():
            one.look(position_ns)
