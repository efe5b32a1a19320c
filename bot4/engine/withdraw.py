"""Take everything back at a venue: orders first, then, if wanted, positions. For `bot4-kill`, which nothing else helps.

It uses no shared memory and nobody's state: what is open is what the venue says. Orders that are no protective stops go
in one call where the venue's own spares the stops, then each by its name; that nothing is left counts once two lists in
a row, further apart than a venue's copies lag, say so. A position is closed by a market order that may only reduce it,
so a repetition takes nothing too much; a stop is taken back when there is nothing left that it guards, or gives its
place to the close where it locks what that would sell. What is too large for one order goes in parts; what is too small
for any is named, and stays.

Each question goes out again until it is answered or the time is over. Reading and taking back may be repeated; what
could add risk is never sent.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bot4.engine.gateway_order import part_of
from bot4.model.enums import (
    ACTION_PLACE,
    ORDER_REDUCE_ONLY,
    SIDE_BUY,
    SIDE_SELL,
    TIF_IOC,
    TYPE_MARKET,
    TYPE_STOP_MARKET,
    VENUE_TOO_LARGE,
    VENUE_TOO_SMALL,
)
from bot4.model.intent import OrderIntent
from bot4.ports.gateway import Call, Caller, OrderRow, PositionRow, Private, Reply
from bot4.ports.venue import Done, Refused

NS = 1_000_000_000
ANSWER_S = 2.0
TRIES = 2  # of what there is another way for
APART_S, APART_MOST_S = 0.1, 2.0  # between two tries
SURE_S = 1.5  # between two lists that have to agree: a venue's copies may lag by a second
NAP_S = 0.0005
TELL_S = 3.0  # between two words about what is being done
_PAUSE_S = 0.2  # after a reply that proves nothing


@dataclass
class Withdrawn:
    """What came of it."""

    cancelled: int = 0  # orders that were open and are no more, stops of closed positions included
    left: list[str] | None = None  # what could not be taken back, by the client's own id or else the venue's
    stops: int | None = None  # that guard what is still held
    positions: dict[int, int] | None = None  # signed lots by instrument that are left; None: the venue has not said
    proven: bool = False  # the venue has said twice that nothing is left of what was to go
    trouble: str = ""  # why not
    seconds: float = 0.0


def _protects(row: OrderRow) -> bool:
    """Whether an order guards a position: a stop that may only reduce it."""
    return row.type == TYPE_STOP_MARKET and row.is_reduce_only


class OutOfTimeError(Exception):
    """The time is over; the text says what was being done."""


class Withdrawal:
    """One venue's account.

    Parameters
    ----------
    private, caller : the venue's words and connections
    flatten : close positions too
    timeout_s : for everything
    ours : so many instruments are ours, those after them a person's, whose stops stay; None: all are
    tell : hears what is being done, where it takes longer than a venue that answers
    now_s : a clock that only goes forward
    """

    def __init__(
        self,
        private: Private,
        caller: Caller,
        flatten: bool,
        timeout_s: float,
        tell: Callable[[str], None],
        ours: int | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._private, self._caller, self._flatten, self._tell, self._now_s = private, caller, flatten, tell, now_s
        self._ours = ours
        self._begun_s = self._told_s = now_s()
        self._until_s = self._begun_s + timeout_s
        self._token = 0
        self._said = "nothing was answered"
        self._skew_ns = 0
        self._replies: dict[int, Reply] = {}
        self._seen: set[str] = set()
        self._most: dict[int, int] = {}  # lots of an instrument that one order may close, where the venue refused more
        self._dust: dict[int, int] = {}  # lots held, for which the venue takes no order

    def run(self) -> Withdrawn:
        """Until it is proven, or the time is over. Never raises for what the venue does."""
        found = Withdrawn()
        try:
            self._set_clock()
            self._orders()
            if self._flatten:
                self._positions()
            found.proven = True
        except OutOfTimeError as over:
            found.trouble = str(over)
        self._until_s = max(self._until_s, self._now_s() + 2 * ANSWER_S)  # what is left has to be told, if it can be
        try:
            rows, held = self._open(), self._held()
        except OutOfTimeError as over:
            found.proven, found.trouble = False, found.trouble or str(over)
        else:
            found.positions = {row.instrument: row.lots for row in held}
            found.stops = sum(_protects(row) for row in rows)
            found.left = [row.link or row.venue_id for row in rows if self._goes(row)]
            found.cancelled = len(self._seen - {row.venue_id for row in rows})
            found.proven = found.proven and not found.left and not (self._flatten and found.positions)
            dust = [self._private.symbols[row.instrument] for row in held if self._is_dust(row)]
            if dust and not found.trouble:
                found.trouble = f"what is held of {', '.join(dust)} is dust: the venue takes no order for so little"
        found.seconds = self._now_s() - self._begun_s
        return found

    def _goes(self, row: OrderRow) -> bool:
        """Whether an order is to be taken back: no stop, and of a person's instruments none that waits for a price."""
        is_a_persons = self._ours is not None and row.instrument >= self._ours
        return not _protects(row) and not (is_a_persons and row.stop_ticks)

    # --- what is done ------------------------------------------------------------------------------------------------

    def _set_clock(self) -> None:
        """How far off the venue's clock is; where it does not say, ours has to do."""
        for _ in range(TRIES):
            outcome = self._outcome(self._private.ask_time())
            if isinstance(outcome, Done):
                self._skew_ns = int(outcome.value) - time.time_ns()
                return

    def _orders(self) -> None:
        """Take back every order that is no protective stop, until two lists in a row name none."""
        call = self._private.cancel_but_stops()
        tries = 0
        while call is not None and tries < TRIES:
            tries += 1
            outcome = self._outcome(call)
            if isinstance(outcome, Done):
                self._seen.update(outcome.value)
                break  # otherwise each is taken back by its name
        none_yet = True
        while True:
            rows = [row for row in self._open() if self._goes(row)]
            if rows:
                none_yet = True
                self._cancel(rows)
                self._nap(APART_S)  # those that were refused are asked for again, not at once
            elif none_yet:
                none_yet = False
                self._nap(SURE_S)
            else:
                return

    def _positions(self) -> None:
        """Close what is held; the stops of what is flat go, those of the others stay until it is."""
        apart_s = APART_S
        while True:
            held = [row for row in self._held() if not self._is_dust(row)]
            stops = [row for row in self._open() if self._ours is None or row.instrument < self._ours]
            stops = [row for row in stops if row.instrument not in self._dust]
            guards = {row.instrument: row for row in stops if _protects(row)}
            for row in held:
                self._close(row, guards.get(row.instrument))
            if not held:
                if not stops:
                    return
                self._cancel(stops)
            self._nap(apart_s)
            apart_s = min(2 * apart_s, APART_MOST_S)

    def _is_dust(self, row: PositionRow) -> bool:
        return self._dust.get(row.instrument) == row.lots

    def _close(self, held: PositionRow, guard: OrderRow | None) -> None:
        lots = part_of(abs(held.lots), self._most.get(held.instrument, abs(held.lots)))
        order = OrderIntent(
            action=ACTION_PLACE,
            instrument=held.instrument,
            side=SIDE_SELL if held.lots > 0 else SIDE_BUY,
            type=TYPE_MARKET,
            tif=TIF_IOC,
            qty_lots=lots,
            flags=ORDER_REDUCE_ONLY,
        )
        link = secrets.token_hex(16)
        call = self._private.replace(order, link, guard.link) if guard is not None else None
        outcome = self._outcome(call or self._private.place(order, link))
        if isinstance(outcome, Refused) and outcome.code == VENUE_TOO_LARGE:
            self._most[held.instrument] = max(lots // 2, 1)
        elif isinstance(outcome, Refused) and outcome.code == VENUE_TOO_SMALL and lots == abs(held.lots):
            self._dust[held.instrument] = held.lots

    def _cancel(self, rows: list[OrderRow]) -> None:
        """Each by its name, as many at a time as there are connections; who is answered "no" has gone already."""
        self._said = f"taking back {len(rows)} orders"
        calls = {row.venue_id: self._private.cancel_named(row) for row in rows}
        waiting: dict[int, tuple[Call, float]] = {}
        while calls or waiting:
            self._look()
            for token in [token for token in waiting if token in self._replies]:
                call, _ = waiting.pop(token)
                pause_s = self._private.pause_s(self._replies.pop(token))
                self._pause(pause_s)
            while calls and self._caller.free():
                _, call = calls.popitem()
                waiting[self._send(call)] = (call, self._now_s())
            self._nap(NAP_S)

    # --- questions ---------------------------------------------------------------------------------------------------

    def _open(self) -> list[OrderRow]:
        rows: list[OrderRow] = []
        cursor = ""
        while True:
            page: Any = self._ask(self._private.ask_open(cursor), "the list of open orders")
            rows += page.rows
            cursor = page.cursor
            if not cursor:
                self._seen.update(row.venue_id for row in rows)
                return rows

    def _held(self) -> list[PositionRow]:
        rows: list[PositionRow] = self._ask(self._private.ask_positions(), "the positions")
        return [row for row in rows if row.lots]

    def _ask(self, call: Call, what: str) -> Any:
        """The venue's answer; asked again until there is one that counts."""
        self._said = what
        while True:
            outcome = self._outcome(call)
            if isinstance(outcome, Done):
                return outcome.value
            self._said = f"{what}: {outcome.name if isinstance(outcome, Refused) else outcome.reason}"
            self._nap(_PAUSE_S)

    def _outcome(self, call: Call) -> Any:
        while not self._caller.free():
            self._look()
            self._nap(NAP_S)
        token = self._send(call)
        while token not in self._replies:
            self._look()
            self._nap(NAP_S)
        reply = self._replies.pop(token)
        pause_s = self._private.pause_s(reply)
        self._pause(pause_s)
        return self._private.judge(call, reply)

    def _send(self, call: Call) -> int:
        self._token += 1
        now_ms = (time.time_ns() + self._skew_ns) // 1_000_000
        if not self._caller.send(self._token, self._private.sign(call, now_ms), ANSWER_S):
            self._replies[self._token] = Reply(0, {}, b"", "no connection was free")
        return self._token

    def _look(self) -> None:
        self._replies.update(self._caller.turn())

    def _pause(self, seconds: float) -> None:
        """As long as the venue wants it: who asks sooner is shut out, and a session at this address with him."""
        end_s = self._now_s() + seconds
        while (left_s := end_s - self._now_s()) > 0:
            self._nap(min(left_s, APART_S))

    def _nap(self, seconds: float) -> None:
        now_s = self._now_s()
        if now_s >= self._until_s:
            raise OutOfTimeError(f"no end in time at: {self._doing()}")
        if now_s >= self._told_s + TELL_S:
            self._told_s = now_s
            self._tell(f"still at: {self._doing()}; for {self._until_s - now_s:.0f} s more")
        time.sleep(seconds)

    def _doing(self) -> str:
        trouble = self._caller.trouble()
        return self._said + (f" ({trouble})" if trouble else "")
