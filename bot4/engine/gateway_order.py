"""An order as the gateway knows it: what was sent, what has been told of it, what is still to be found out."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from bot4.model.enums import (
    REPORT_ACK,
    REPORT_CANCELED,
    REPORT_EXPIRED,
    REPORT_FILL,
    REPORT_NOT_FOUND,
    REPORT_REJECT,
    REPORT_REPLACED,
    REPORT_TRIGGERED,
    TYPE_STOP_MARKET,
    VENUE_DUPLICATE_ID,
)
from bot4.model.intent import OrderIntent
from bot4.ports.gateway import OrderRow


def number_of(venue_id: str) -> int:
    """A number that stands for the venue's own id of an order."""
    return int.from_bytes(hashlib.blake2b(venue_id.encode(), digest_size=8).digest(), "big") >> 1


def part_of(lots: int, most: int) -> int:
    """Of so many lots, of which no order may sell more than `most`: equal parts, so that none of them is a crumb."""
    return -(-lots // -(-lots // most))


def link_of(high: int, low: int) -> str:
    """The client's id as the venue knows it: 32 digits."""
    return f"{high:016x}{low:016x}"


@dataclass(slots=True, eq=False)
class Known:
    """One order."""

    high: int
    low: int
    link: str
    instrument: int = 0
    shard: int = 0
    side: int = 0
    type: int = 0
    flags: int = 0
    leg: int = 0
    order_row: int = -1
    price_ticks: int = 0
    stop_ticks: int = 0
    qty_lots: int = 0
    sent_ns: int = 0  # monotonic; 0: it has not left
    since_ms: int = 0  # venue's clock: a time before it was sent
    order: np.ndarray | None = None  # int64[16], while it waits for its turn
    # told
    is_acked: bool = False
    is_triggered: bool = False
    cum_lots: int = 0  # by the venue
    cum_part_e8: int = 0  # ... and of a coin beyond whole lots
    fee_lots: int = 0  # ... of the lots what was never told: taken as a fee, or told as the part of another fill
    ended: int = 0  # REPORT_*, 0: not yet
    code: int = 0
    # heard
    venue_no: int = 0  # stands for the venue's id
    updated_ms: int = 0
    last: OrderRow | None = None  # its end, which waits for fills
    # to be found out
    is_asked: bool = False  # execution wants an answer
    is_unheard: bool = False  # ... and the venue has not said anything yet
    look_no: int = 0  # of who looks for it; whoever has another number does no more
    look_ns: int = 0  # when it asks next, 0: nobody looks
    asked_ns: int = 0  # when the venue was asked last
    tries: int = 0  # to prove that it never landed
    negatives: list[int] = field(default_factory=list)  # when the venue was asked that does not know it
    wants_cancel: bool = False
    is_stray: bool = False  # execution does not know it, or has given it up; it works all the same, and is to end
    cancel_ns: int = 0  # no cancel before that
    room: "Known | None" = None  # a stop that makes room for it in the same call
    held_by: "Known | None" = None  # of such a stop: its end is told after that one's, or it would be placed anew
    amend: tuple[int, int] | None = None  # lots and trigger that were asked for
    amend_ns: int = 0  # what is otherwise then was not amended

    @property
    def cum(self) -> tuple[int, int]:
        """As `OrderRow.cum`."""
        return self.cum_lots, self.cum_part_e8

    def add_part(self, carry: int, part_e8: int) -> None:
        """Parts of lots that fills have had: of all of them `part_e8` is left beyond whole lots, `carry` is one."""
        self.cum_lots += carry
        self.fee_lots += carry
        self.cum_part_e8 = part_e8

    def recall(self, report: np.void) -> None:
        """Take an event that was told before."""
        kind = int(report["kind"])
        self.venue_no = int(report["venue_order_id"]) or self.venue_no
        if kind == REPORT_ACK:
            self.is_acked = True
        elif kind == REPORT_TRIGGERED:
            self.is_triggered = True
        elif kind == REPORT_FILL:
            self.cum_lots = int(report["cum_lots"]) + self.fee_lots
            if self.cum_lots >= self.qty_lots and not self.fee_lots:
                self.ended = REPORT_FILL
        elif kind == REPORT_REPLACED:
            self.qty_lots = int(report["qty_lots"])
            if self.type == TYPE_STOP_MARKET:
                self.stop_ticks = int(report["price_ticks"])
        elif kind in (REPORT_CANCELED, REPORT_EXPIRED, REPORT_NOT_FOUND) or (
            kind == REPORT_REJECT and int(report["code"]) != VENUE_DUPLICATE_ID
        ):
            self.ended, self.code = kind, int(report["code"])

    def write(self, report: np.void) -> None:
        """Its fields of an EXEC_REPORT; a stop order's trigger stands in `price_ticks`."""
        report["id_hi"], report["id_lo"] = self.high, self.low
        report["price_ticks"] = self.stop_ticks if self.type == TYPE_STOP_MARKET else self.price_ticks
        report["qty_lots"], report["cum_lots"] = self.qty_lots, self.cum_lots - self.fee_lots
        report["leaves_lots"] = 0 if self.ended else max(0, self.qty_lots - self.cum_lots)
        report["instrument"], report["shard"] = self.instrument, self.shard
        report["side"], report["type"], report["flags"], report["leg"] = self.side, self.type, self.flags, self.leg
        report["order_row"], report["code"], report["venue_order_id"] = self.order_row, self.code, self.venue_no


def known_of(intent: OrderIntent) -> Known:
    """An order as it is asked for."""
    return Known(
        intent.id_hi,
        intent.id_lo,
        link_of(intent.id_hi, intent.id_lo),
        instrument=intent.instrument,
        shard=intent.shard,
        side=intent.side,
        type=intent.type,
        flags=intent.flags,
        leg=intent.leg,
        order_row=intent.order_row,
        price_ticks=intent.price_ticks,
        stop_ticks=intent.stop_ticks,
        qty_lots=intent.qty_lots,
    )
