"""The promise of a venue's market data: its public messages as typed events, every price and quantity exact.

A decoder is pure: bytes in, events out, nothing remembered. It knows every message that its venue sends on a public
connection; one that it does not know is an error, never skipped in silence. What makes a book whole is the same
everywhere, told by a few words of each change:

    snapshot       the change is the whole book: begin anew
    before, last   ids: the change takes the book from update `before` to update `last`; a book that is not at `before`
                   has a gap. None: this venue numbers connections instead (`Message.sequence`) or sends check sums
    overlap        the first change after a snapshot may begin before it
    checksum       what `Decoder.checksum` must make of the book after the change; None: nothing to compare

Units: decimals as the venue wrote them, digits kept; times in ns, 0 where the venue sends none.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from bot4.model.errors import InputError

Level = tuple[Decimal, Decimal]  # price, quantity; a quantity of 0 removes the level


class MessageError(InputError):
    """A message that no event can be made of; `reason` is one of REASONS."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason


# why a message is refused: the bytes are no message, no such type, a value is missing or of the wrong kind, no number
# (NaN, infinite, not a decimal), below zero, zero where none may be
REASONS = ("unparsable", "unknown_type", "bad_field", "bad_number", "negative", "zero")


class Trade(NamedTuple):
    """One trade of the market."""

    symbol: str
    price: Decimal
    qty: Decimal
    side: int  # +1: the buyer took
    trade_id: str  # "": the venue sends none
    venue_ns: int
    market: bool = True  # False: an insurance fund's or a settlement's, no price of the market


class Quote(NamedTuple):
    """The best bid and ask."""

    symbol: str
    bid: Decimal
    bid_qty: Decimal
    ask: Decimal
    ask_qty: Decimal
    update_id: int | None  # of the book's update that it belongs to; None: the venue does not say
    venue_ns: int


class BookChange(NamedTuple):
    """A snapshot of a book, or a change of one."""

    symbol: str
    snapshot: bool
    bids: Sequence[Level]
    asks: Sequence[Level]
    before: int | None
    last: int | None
    venue_ns: int
    overlap: bool = False
    checksum: int | None = None
    depth: int = 0  # levels a side that the venue keeps up to date; deeper ones are to be forgotten; 0: all


class Mark(NamedTuple):
    """Mark price, index and funding of a perpetual; what the message does not hold is None."""

    symbol: str
    mark: Decimal | None
    index_price: Decimal | None
    rate: Decimal | None
    next_ns: int
    venue_ns: int


class Status(NamedTuple):
    """Whether something is traded, as the venue says it."""

    symbol: str  # "": the venue as a whole
    trading: bool  # without any restriction
    word: str  # the venue's own, in lower case
    venue_ns: int


class Bar(NamedTuple):
    """A candlestick as the venue makes it."""

    symbol: str
    begin_ns: int
    length_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    closed: bool
    venue_ns: int


Event = Trade | Quote | BookChange | Mark | Status | Bar


class Message(NamedTuple):
    """One message of the venue."""

    kind: str  # the venue's own name of the type, without the symbol: depth, bookTicker, orderbook, l2_data, ...
    events: Sequence[Event] = ()  # none: an answer, a heartbeat, a type that carries no market data
    sequence: int | None = None  # counts the messages of the connection; None: this venue has no such count
    venue_ns: int = 0  # when the venue sent it


class Instrument(NamedTuple):
    """What a venue's own metadata say of an instrument."""

    symbol: str  # the venue's name
    base: str
    quote: str
    kind: str  # spot, linear, inverse, option
    status: str  # trading, or the venue's word for anything else, in lower case
    tick: Decimal
    lot: Decimal
    min_qty: Decimal
    max_qty: Decimal | None
    min_notional: Decimal | None
    contract_size: Decimal  # base currency per contract; inverse: quote currency
    keeps_apart: bool = True  # the venue does not let own orders trade with each other, as ours ask it


class Decoder(Protocol):
    """One venue's messages."""

    venue: str

    def decode(self, body: bytes) -> Message:
        """A message of a public websocket. MessageError with the reason, naming the field."""
        ...

    def decode_rest(self, endpoint: str, query: Mapping[str, str], body: bytes) -> Message:
        """A response of a public REST endpoint, such as a book's snapshot; kind `rest.<last part of the path>`."""
        ...

    def instruments(self, endpoint: str, body: bytes) -> list[Instrument]:
        """The instruments of a metadata response; empty where the endpoint is none."""
        ...

    def checksum(self, bids: Sequence[Level], asks: Sequence[Level]) -> int:
        """The venue's check sum of a book, best levels first. MessageError where the venue has none."""
        ...
