"""What the exchange's ledger says of a live session that was killed again and again, beside the session's journal.

Imports nothing of Bot4. The ledger is the truth: requests as they came, orders, fills. What may be wrong:

    lost       an order or a fill that the exchange has and the journal does not know, or has otherwise; an order that
               the journal has given up and that works; one that the journal has as working and that has long ended
    doubled    an order id that was sent or accepted twice, a fill that the journal has twice
    unknown    an order of the journal of which nobody was told anything at all
    broken     another position than the sum of the fills, by the journal, the report or the exchange
    naked      lots without a stop and without a close under way for longer than the limit, while execution was there

An order that never arrived is none of these, if the journal says so.
"""

import base64
import json
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oracle.recompute import (
    JOURNAL_EVENT,
    JOURNAL_INTENT,
    REPORT,
    REPORT_FILL,
    REPORT_NOT_FOUND,
    REQUEST,
    SIGN,
)

LIVE_KINDS = ("lost", "doubled", "unknown", "broken", "naked")
LOST, DOUBLED, UNKNOWN, BROKEN, NAKED = LIVE_KINDS
ENDED = ("filled", "canceled", "expired", "rejected")
WORKS = (1, 6, 7)  # REPORT_ACK, _TRIGGERED, _REPLACED
ENDS = (2, 4, 5, REPORT_NOT_FOUND)  # REPORT_REJECT, _CANCELED, _EXPIRED
EVENT = struct.Struct(f"{REPORT.format}Bb")  # ... status, side
CREATE = "/v5/order/create"
SECOND = 10**9


@dataclass
class Order:
    """One order: as the exchange has it, or as the journal does."""

    side: int
    qty: int
    is_stop: bool = False
    cum: int = 0
    ended: str | int = ""
    ended_ns: int = 0


@dataclass
class Told:
    """What the journal of a session says."""

    orders: dict[str, Order] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)  # orders of which anything was told
    fills: Counter = field(default_factory=Counter)  # (order, price, quantity, fee)
    lots: int = 0
    twice: list[str] = field(default_factory=list)


@dataclass
class Verdict:
    """Everything that is wrong, and what it was found in."""

    problems: list[str] = field(default_factory=list)
    kinds: Counter = field(default_factory=Counter)
    orders: int = 0
    fills: int = 0
    naked_ns: int = 0  # longest time that counts

    def note(self, kind: str, text: str) -> None:
        """One problem."""
        self.kinds[kind] += 1
        self.problems.append(f"{kind}: {text}")


def ledger_lines(path: Path, account: str) -> list[dict]:
    """The account's lines."""
    lines = map(json.loads, path.read_bytes().splitlines())
    return [line for line in lines if line.get("account") == account]


def told_by(bodies: Iterable[tuple[int, bytes]]) -> Told:
    """Fold a journal: what was sent, and what of the numbered events was told of it, each number once."""
    told, numbers = Told(), set()
    for kind, body in bodies:
        if kind == JOURNAL_INTENT:
            one = REQUEST.unpack_from(body)
            client_id = f"{one[1]:016x}{one[2]:016x}"
            if client_id in told.orders:
                told.twice.append(client_id)
            told.orders[client_id] = Order(one[11], one[4])
        elif kind == JOURNAL_EVENT:
            one = EVENT.unpack_from(body)
            if not one[10] or one[10] in numbers:
                continue  # an answer, or an event that was told again after a death
            numbers.add(one[10])
            _apply(told, f"{one[1]:016x}{one[2]:016x}", one)
    return told


def _apply(told: Told, client_id: str, one: tuple) -> None:
    """One event."""
    order, what = told.orders.get(client_id), one[14]
    if what in (REPORT_FILL, *WORKS, *ENDS):
        told.heard.add(client_id)
    if what == REPORT_FILL:
        told.fills[client_id, one[3], one[4], one[9]] += 1
        told.lots += one[16] * one[4]
        if order is not None:
            order.cum += one[4]
            order.ended = order.ended or (REPORT_FILL if order.cum >= order.qty else "")
    elif order is not None and what in ENDS:
        order.ended = what
    elif order is not None and what in WORKS:
        order.ended = ""  # it works after all
        order.qty = one[4] if what == WORKS[2] else order.qty


def judge(
    lines: Sequence[dict],
    told: Told,
    ended_ns: int,
    limit_ns: int,
    absent: Sequence[tuple[int, int]] = (),
    reported: int | None = None,
    held: int | None = None,
) -> Verdict:
    """Hold the two against each other.

    `ended_ns` : when the session was asked to end, by the exchange's clock; stops that trade later are nobody's
    business. `absent` : from when to when execution was dead or not yet there again. `reported`, `held` : lots by the
    session's report, and by the exchange after its last line.
    """
    found = Verdict()
    sent: Counter = Counter()
    accepted: Counter = Counter()
    orders: dict[str, Order] = {}
    stops: dict[str, Order] = {}  # that are open
    fills: Counter = Counter()
    lots = lots_at_end = 0
    watch = _Watch(limit_ns, absent)
    for line in lines:
        kind, now = line["kind"], line["t_ns"]
        if kind == "request" and line["target"] == CREATE:
            body = json.loads(base64.b64decode(line["body"]))
            sent[body["orderLinkId"]] += 1
            if body.get("reduceOnly") and not body.get("triggerPrice"):
                watch.close_asked(now)
        elif kind == "order":
            _follow(line, orders, stops, accepted)
        elif kind == "fill":
            client_id = line["client_order_id"]
            lots += SIGN[line["side"]] * line["qty_lots"]
            order = orders.get(client_id)
            if order is not None:
                order.cum += line["qty_lots"]
                if order.cum >= order.qty:
                    _end(client_id, order, "filled", now, stops)
            numbers = (client_id, line["price_ticks"], line["qty_lots"], line["fee_e8"])
            if now < ended_ns or not (order is not None and order.is_stop) or numbers in told.fills:
                fills[numbers] += 1
                lots_at_end = lots
        watch.see(now, lots, stops.values())
    watch.see(max(ended_ns, lines[-1]["t_ns"]), lots, stops.values())
    found.orders, found.fills, found.naked_ns = len(accepted), sum(fills.values()), watch.longest_ns
    for text in watch.told:
        found.note(NAKED, text)
    _compare_orders(found, orders, sent, accepted, told, ended_ns)
    for numbers in fills - told.fills:
        found.note(LOST, f"fill {numbers} of the exchange is not in the journal")
    for numbers, times in (told.fills - fills).items():
        kind = DOUBLED if fills[numbers] else BROKEN
        found.note(kind, f"fill {numbers} is in the journal {times} times too often")
    for what, number, should in (
        ("the journal", told.lots, lots_at_end), ("the report", reported, lots_at_end), ("the exchange", held, lots),
    ):  # fmt: skip
        if number not in (None, should):
            found.note(BROKEN, f"{should} lots by the exchange's fills, {number} by {what}")
    return found


def _follow(line: dict, orders: dict[str, Order], stops: dict[str, Order], accepted: Counter) -> None:
    """What the exchange says of an order."""
    client_id, status = line["client_order_id"], line["status"]
    if status == "accepted":
        accepted[client_id] += 1
        order = orders[client_id] = Order(SIGN[line["side"]], line["qty_lots"], line["type"] == "stop_market")
        if order.is_stop:
            stops[client_id] = order
    order = orders.get(client_id)
    if order is None:
        return  # rejected at once
    if status == "replaced":
        order.qty = line["qty_lots"]
    elif status in ENDED:
        _end(client_id, order, status, line["t_ns"], stops)


def _end(client_id: str, order: Order, status: str, now: int, stops: dict[str, Order]) -> None:
    """It works no more."""
    order.ended, order.ended_ns = status, now
    stops.pop(client_id, None)


def _compare_orders(
    found: Verdict, orders: dict[str, Order], sent: Counter, accepted: Counter, told: Told, ended_ns: int
) -> None:
    """Each order once on both sides, and in the same state."""
    for client_id, times in sent.items():
        if times > 1:
            found.note(DOUBLED, f"order {client_id} was sent {times} times")
    for client_id, times in accepted.items():
        if times > 1:
            found.note(DOUBLED, f"order {client_id} was accepted {times} times")
    for client_id in told.twice:
        found.note(DOUBLED, f"order {client_id} is in the journal twice")
    for client_id in sent.keys() - told.orders.keys():
        found.note(LOST, f"order {client_id} was sent and is not in the journal")
    for client_id, mine in told.orders.items():
        theirs = orders.get(client_id)
        if client_id not in told.heard:
            found.note(UNKNOWN, f"of order {client_id} nobody was told anything")
        elif theirs is None:
            if not mine.ended:
                found.note(LOST, f"order {client_id} works by the journal, and the exchange does not know it")
        elif mine.ended and not theirs.ended:
            found.note(LOST, f"order {client_id} has ended by the journal ({mine.ended}), and works")
        elif theirs.ended and not mine.ended and theirs.ended_ns < ended_ns:
            found.note(LOST, f"order {client_id} works by the journal, and has ended ({theirs.ended})")


class _Watch:
    """How long lots are without a stop and without a close under way, but for the times when execution is not there."""

    def __init__(self, limit_ns: int, absent: Sequence[tuple[int, int]]) -> None:
        self._limit_ns, self._absent = limit_ns, absent
        self._since_ns: int | None = None
        self.longest_ns = 0
        self.told: list[str] = []

    def close_asked(self, now: int) -> None:
        """A close has arrived: whatever becomes of it, somebody is at work."""
        self._count(now)
        if self._since_ns is not None:
            self._since_ns = now

    def see(self, now: int, lots: int, stops: Iterable[Order]) -> None:
        """After a line."""
        self._count(now)
        bare = lots != 0 and abs(lots) > sum(stop.qty - stop.cum for stop in stops if stop.side * lots < 0)
        if not bare:
            self._since_ns = None
        elif self._since_ns is None:
            self._since_ns = now

    def _count(self, now: int) -> None:
        if self._since_ns is None:
            return
        naked_ns = now - self._since_ns - sum(
            max(0, min(end, now) - max(begin, self._since_ns)) for begin, end in self._absent
        )  # fmt: skip
        self.longest_ns = max(self.longest_ns, naked_ns)
        if naked_ns > self._limit_ns:
            self.told.append(f"{naked_ns / SECOND:.2f} s without a stop or a close, since {self._since_ns}")
            self._since_ns = now  # told once a limit
