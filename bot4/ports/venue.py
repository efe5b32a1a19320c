"""The promise of a venue: what any exchange, simulated or real, must do for execution and for the recovery tools.

Words
-----
client id     two unsigned 64-bit numbers chosen by us before the order is sent. A venue accepts one at most once, for
              ever: a second order under it is refused VENUE_DUPLICATE_ID and the first is not touched.
outcome       `Done` (the venue did it), `Refused` (the venue did not do it, and never will under this id; the code says
              why) or `Unknown` (no answer came that proves either). Unknown is no failure: it is resolved by `order`,
              never by sending again.
order         market, limit or stop-market. IOC: what cannot trade at once expires. Post-only: refused if it would take.
              Reduce-only: trades at most the position, shrinks with it (event REPLACED), and expires when there is
              nothing left to reduce; a stop that waits may be left as it is, and is cut when it goes off. Stop-market:
              becomes a market order at the first trade at or beyond its trigger (event TRIGGERED, before its fills);
              refused if it would go off at once.
events        what happens to our orders, in order, numbered 1, 2, 3, ... without a hole; an answer to a query is none.

Money
-----
Position: signed lots and their cost in tick x lot, average-cost rule: a fill that reduces removes
floor(|cost| * qty / |lots|) of the cost and realises the rest; one that turns the position closes first.

    spot      a buy pays value + fee out of cash, a sell adds value - fee: cash = start - sum(side * value) - fees.
              A sell may not exceed the position; a resting buy holds the cash it may need.
    linear    no cash changes hands for the contract itself: cash = start + realised - fees + funding.

Value of a fill: price_ticks * qty_lots * value_e8, in 1e-8 of the quote currency; the fee is the rate times that value,
rounded up to the venue's favour for each fill. Funding: -position * mark price * rate at the funding time, rounded
against us.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from bot4.model.enums import REJECT_NAMES

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Done(Generic[Answer]):
    """The venue did it; `value` is its answer."""

    value: Answer


@dataclass(frozen=True)
class Refused:
    """The venue did not do it; `code` is a 5xx reject code."""

    code: int

    @property
    def name(self) -> str:
        """The code's name."""
        return REJECT_NAMES.get(self.code, str(self.code))


@dataclass(frozen=True)
class Unknown:
    """Nothing proves that it was done or not; ask `order` by the client id, never send again."""

    reason: str


@dataclass(frozen=True)
class ClientId:
    """Client order id, two unsigned 64-bit halves."""

    high: int
    low: int

    def __str__(self) -> str:
        return f"{self.high:016x}{self.low:016x}"


@dataclass(frozen=True)
class NewOrder:
    """An order to place; prices in ticks, quantity in lots, enumerations of `model.enums`."""

    id: ClientId
    instrument: int
    side: int
    type: int
    qty_lots: int
    tif: int
    price_ticks: int = 0
    stop_ticks: int = 0
    flags: int = 0
    leg: int = 0


@dataclass(frozen=True)
class OrderState:
    """An order as the venue knows it; `status` is REPORT_ACK while it works, else REPORT_FILL, _CANCELED, ..."""

    id: ClientId
    venue_order_id: int
    instrument: int
    side: int
    type: int
    status: int
    code: int
    price_ticks: int  # limit, or trigger of a stop order
    qty_lots: int
    cum_lots: int
    leaves_lots: int
    flags: int


@dataclass(frozen=True)
class Trade:
    """One fill of ours."""

    event_seq: int
    trade_id: int
    id: ClientId
    instrument: int
    side: int
    price_ticks: int
    qty_lots: int
    fee_e8: int
    t_venue_ns: int


@dataclass(frozen=True)
class PositionState:
    """Position of one instrument: signed lots and signed cost in tick x lot."""

    instrument: int
    lots: int
    cost_tl: int


class Venue(Protocol):
    """One account at one venue. Every verb returns an outcome and raises only for a programmer's error."""

    def place(self, order: NewOrder) -> Done[OrderState] | Refused | Unknown:
        """Send a new order. Done: the venue took it; the state is that of the moment after what it could do at once."""
        ...

    def cancel(self, instrument: int, client_id: ClientId) -> Done[OrderState] | Refused | Unknown:
        """Take an open order back. Refused VENUE_UNKNOWN_ORDER if it is not open (any more)."""
        ...

    def amend(
        self, instrument: int, client_id: ClientId, qty_lots: int, stop_ticks: int = 0
    ) -> Done[OrderState] | Refused | Unknown:
        """New total quantity (what is filled included) and, unless 0, new trigger of an open order.

        A refused amend leaves the order as it was. A reduce-only order gets at most the position.
        """
        ...

    def cancel_all(self, instrument: int | None = None) -> Done[list[ClientId]] | Unknown:
        """Cancel every open order of an instrument, or of all, protective ones included; Done: the ids canceled."""
        ...

    def order(self, instrument: int, client_id: ClientId) -> Done[OrderState | None] | Unknown:
        """An order by its client id, however long ago it ended; Done(None): the venue has never seen it."""
        ...

    def open_orders(self) -> Done[list[OrderState]] | Unknown:
        """Every open order, by instrument and order of arrival."""
        ...

    def trades_since(self, event_seq: int) -> Done[list[Trade]] | Unknown:
        """Every fill whose event number is larger, in order."""
        ...

    def positions(self) -> Done[list[PositionState]] | Unknown:
        """The position of every instrument, flat ones too."""
        ...

    def balances(self) -> Done[int] | Unknown:
        """Cash of the account, 1e-8 of the quote currency."""
        ...

    def server_time(self) -> Done[int] | Unknown:
        """The venue's own time, ns."""
        ...

    def instruments(self) -> np.ndarray:
        """INSTRUMENT[n]: sizes, filters and fees of what is traded here."""
        ...

    def events(self) -> Iterator[np.ndarray]:
        """What has happened since the last call, in order: EXEC_REPORT[1] each, answers to queries left out."""
        ...
