"""The promise of a venue's private side: what the gateway needs of connections and of a venue's words.

`Caller` and `Listener` keep connections and know no venue; `Private` is one venue's words, pure and without any
connection. Rows are what a venue tells, in our units: ticks, lots, 1e-8 of the quote currency; times in ms are the
venue's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from bot4.model.intent import OrderIntent
from bot4.ports.venue import Done, Refused, Unknown

# what a call is about: budgets and urgency are by kind
CALL_PLACE = 0
CALL_CANCEL = 1
CALL_AMEND = 2
CALL_QUERY = 3
N_CALLS = 4


class Call(NamedTuple):
    """A request that is not signed yet."""

    kind: int  # CALL_*
    name: str  # of the question, as `Private.judge` wants to know it
    method: str
    path: str
    payload: str  # query of a GET, body of a POST
    signed: bool = True
    weight: int = 1  # of the limit of all calls together


class Reply(NamedTuple):
    """What came back for a call; `error` says why nothing did, and proves nothing about what the venue has done."""

    status: int
    head: dict[str, str]  # names in lower case
    body: bytes
    error: str = ""


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order as the venue knows it."""

    link: str  # the client's own id
    venue_id: str
    instrument: int
    side: int
    type: int
    status: int  # REPORT_ACK while it works, else REPORT_FILL, _CANCELED, _EXPIRED, _REJECT
    code: int
    price_ticks: int
    stop_ticks: int
    qty_lots: int
    cum_lots: int
    is_triggered: bool
    updated_ms: int
    is_reduce_only: bool
    cum_part_e8: int = 0  # filled beyond whole lots, of a coin, in 1e-8 of it

    @property
    def cum(self) -> tuple[int, int]:
        """All that has been filled: whole lots, and 1e-8 beyond them."""
        return self.cum_lots, self.cum_part_e8


@dataclass(frozen=True, slots=True)
class TradeRow:
    """One fill."""

    key: str  # the venue's id of it, unique with the symbol
    link: str  # "": the venue names the order by its own id alone
    instrument: int
    side: int
    price_ticks: int
    qty_lots: int
    fee_e8: int  # positive: paid
    time_ms: int
    part_e8: int = 0  # of a coin, traded beyond whole lots, in 1e-8 of it
    coin_fee_e8: int = 0  # taken of the coin itself, in 1e-8 of it: so much less is held
    venue_id: str = ""  # of the order


@dataclass(frozen=True, slots=True)
class FundingRow:
    """What a position has paid."""

    key: str
    instrument: int
    paid_e8: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class PositionRow:
    """Signed lots of a contract and their cost, or whole lots of a coin; a venue of coins knows no cost."""

    instrument: int
    lots: int
    cost_tl: int
    rest_e8: int = 0  # of a coin what is no whole lot, in 1e-8 of it


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list; `cursor` "" where it is the last one."""

    rows: tuple[Any, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class Told:
    """A message of the private stream: rows, or a word about the connection itself."""

    rows: tuple[OrderRow | TradeRow | FundingRow, ...] = ()
    answered: str = ""  # the command that the venue has done: `auth`, `subscribe`, `pong`
    refused: str = ""  # why it has not


Outcome = Done[Any] | Refused | Unknown


class Private(Protocol):
    """One venue's words for one account."""

    host: str  # as the Host header names it
    deadline_ms: int  # a request that the venue has not begun with after so long is refused by it
    limits: Sequence[int]  # calls a second, by kind, until the venue names others
    total: tuple[int, float]  # weight of the address's calls within so many seconds
    window_ms: int  # the longest time that a list of trades covers

    @property
    def symbols(self) -> Sequence[str]:
        """The instruments' names, by index."""
        ...

    def place(self, order: OrderIntent, link: str) -> Call:
        """A new order."""
        ...

    def replace(self, order: OrderIntent, link: str, gone: str) -> Call | None:
        """A new order for which another one of that client's id makes room first, if it is still there: in one call.

        None where an order that only reduces needs no room. Judged as a new order is.
        """
        ...

    def cancel(self, instrument: int, link: str) -> Call:
        """Take an order back."""
        ...

    def amend(self, instrument: int, link: str, qty_lots: int, stop_ticks: int) -> Call | None:
        """Another quantity and, unless 0, trigger; None where the venue changes no such order under its id."""
        ...

    def cancel_all(self, instrument: int) -> Call:
        """Every order of an instrument."""
        ...

    def cancel_but_stops(self) -> Call | None:
        """Every order of the account that is no stop, in one call; None where the venue has none that spares stops.

        Done: the venue's names of them.
        """
        ...

    def cancel_named(self, order: OrderRow) -> Call:
        """Take an order back by the venue's own name of it, whoever placed it."""
        ...

    def ask_order(self, instrument: int, link: str) -> Call:
        """Done: OrderRow, None where the venue does not show one."""
        ...

    def ask_ended(self, instrument: int, link: str) -> Call:
        """The same among those that have ended."""
        ...

    def ask_owner(self, instrument: int, venue_id: str) -> Call:
        """Done: OrderRow, by the venue's own id."""
        ...

    def ask_open(self, cursor: str) -> Call:
        """Done: Page of OrderRow; of this list as of the others a page may be empty, the last one has no cursor."""
        ...

    def ask_ended_list(self, cursor: str) -> Call:
        """Done: Page of OrderRow of those that have ended, the latest first."""
        ...

    def ask_trades(self, since_ms: int, until_ms: int, link: str, cursor: str) -> Call:
        """Done: Page of TradeRow and FundingRow of that time, the latest first; of one order where a link is given."""
        ...

    def ask_positions(self) -> Call:
        """Done: list of PositionRow; what is not in it is flat."""
        ...

    def ask_cash(self) -> Call:
        """Done: cash in 1e-8."""
        ...

    def ask_fees(self, instrument: int) -> Call:
        """Done: what making and taking costs the account there, in parts per million of the value, rounded up."""
        ...

    def set_guard(self, timeout_s: int) -> Call | None:
        """The venue ends all orders when the private stream has been gone for so long; None where it cannot."""
        ...

    def guard(self, is_armed: bool) -> str:
        """Said on the private stream: whether the venue is to watch it. `read` answers "guard".

        Not asked of a venue whose `set_guard` is None.
        """
        ...

    def ask_time(self) -> Call:
        """Done: the venue's clock in ns."""
        ...

    def ask_key(self) -> Call:
        """Done: why the key must not be used, "" where it may."""
        ...

    def sign(self, call: Call, now_ms: int) -> bytes:
        """The whole request as it goes out at that time of the venue's clock."""
        ...

    def judge(self, call: Call, reply: Reply) -> Outcome:
        """What a reply proves: nothing where it is not the venue's clear word."""
        ...

    def limit_of(self, reply: Reply) -> int:
        """Calls a second of this kind, where the reply names them; 0: it does not."""
        ...

    def pause_s(self, reply: Reply) -> float:
        """For how long the venue wants no call of this kind; 0: it does not mind."""
        ...

    def logon(self, now_ms: int) -> str:
        """The first message of the private stream."""
        ...

    def subscribe(self) -> str:
        """The second one."""
        ...

    def ping(self) -> str:
        """A sign of life."""
        ...

    def read(self, text: bytes) -> Told:
        """A message of the private stream. ValueError: it is none."""
        ...


class Caller(Protocol):
    """Connections for requests, one at a time on each."""

    def free(self) -> int:
        """Connections that could take a request now."""
        ...

    def send(self, token: int, data: bytes, timeout_s: float) -> bool:
        """Hand a request to a connection; False: none is free, and nothing has gone out."""
        ...

    def turn(self) -> list[tuple[int, Reply]]:
        """What has come since, by token. Never waits."""
        ...

    def trouble(self) -> str:
        """Why the last connection did not come about; "": it did."""
        ...

    def close(self) -> None:
        """Close all."""
        ...


class Listener(Protocol):
    """The private stream, opened again whenever it is gone."""

    def turn(self) -> list[bytes | None]:
        """Messages that have come; None where the connection is another one from here on, or is gone."""
        ...

    def is_open(self) -> bool:
        """Whether there is a connection."""
        ...

    def send(self, text: str) -> None:
        """Say something on it."""
        ...

    def drop(self, reason: str) -> None:
        """It is not trusted any more: close it and open another."""
        ...

    def close(self) -> None:
        """Close it for good."""
        ...
