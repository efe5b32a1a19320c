"""Recompute a session from the venue's ledger alone, to the smallest unit, and compare it with what Bot4 reported.

    python tests/oracle/recompute.py LEDGER SESSION_JSON [--journal FILE] [--stop-limit-s 1] [--slack-s 0.25]

Imports nothing of Bot4: rules written anew from the venue's documentation. Prints every difference and one summary
line; exit code 0 when there is none, 1 otherwise, 2 when a file cannot be read.

What is checked in the ledger itself: numbers without a hole and times that do not go back; each client id sent once
and each order accepted once; the request's bytes say what its line says; fills only of accepted, open orders, never
beyond their quantity; fee, position, cash after every fill and funding payment; every order ends as its fills say;
stops: within `--stop-limit-s` of event time after a fill a confirmed stop covers the position or a market close is in
flight (it may reach the venue `--slack-s` later: the deadline is execution's, two latencies away), and a flat position
has no stop left.

With `--journal`, each order at the venue has exactly one journaled intent with the same content, and the journal holds
each of the venue's fills once, with the same numbers.
"""

import argparse
import base64
import json
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

E8 = 10**8
PPM = 10**6
SECOND = 10**9
SIGN = {"buy": 1, "sell": -1}
ENDED = ("filled", "canceled", "expired", "rejected")
TYPES = (None, "market", "limit", "stop_market")
TIFS = (None, "gtc", "ioc")
# time, id high, id low, price, quantity, stop, reference, instrument, strategy, shard, action, side, type, tif, flags
REQUEST = struct.Struct("<qQQqqqqHHHBbBBB")
# time, id high, id low, price, quantity, cum, leaves, venue order, trade, fee, event number, cash, instrument, shard,
# kind
REPORT = struct.Struct("<qQQqqqqqqqqqHHB")
JOURNAL_HEADER_BYTES = 4096
JOURNAL_COMMIT_BYTE = 64
JOURNAL_RECORD_BYTES = 256
JOURNAL_BODY_BYTE = 128
JOURNAL_INTENT = 2
JOURNAL_EVENT = 4
REPORT_FILL = 3
REPORT_NOT_FOUND = 10
# What a difference means: an order that one side does not know; one that is there twice; another position or amount; a
# position without its stop; a request without an answer; a fill that the journal does not know; anything else.
KINDS = ("lost", "doubled", "broken", "naked", "unanswered", "untold", "other")
LOST, DOUBLED, BROKEN, NAKED, UNANSWERED, UNTOLD, OTHER = KINDS


def up(a: int, b: int) -> int:
    """a / b rounded up."""
    return -(-a // b)


def money(amount_e8: int) -> str:
    """1e-8 units as a decimal."""
    return format(Decimal(amount_e8).scaleb(-8).normalize(), "f")


@dataclass
class Order:
    """One order as the ledger tells it."""

    client_id: str
    symbol: str
    side: int
    type: str
    reduce_only: bool
    qty: int
    cum: int = 0
    status: str = "accepted"
    triggered: bool = False

    @property
    def leaves(self) -> int:
        """What may still trade."""
        return 0 if self.status in ENDED else self.qty - self.cum

    @property
    def is_stop(self) -> bool:
        """A protective stop."""
        return self.type == "stop_market" and self.reduce_only


@dataclass
class Book:
    """Position and money of one symbol."""

    spot: bool
    scale: dict
    lots: int = 0
    cost: int = 0
    realised: int = 0
    fees: int = 0
    funding: int = 0
    fills: int = 0
    naked_since: int | None = None
    close_id: str | None = None  # of the market close in flight
    left_over_since: int | None = None

    def fill(self, side: int, price: int, qty: int, fee: int) -> int:
        """Average cost; returns what the fill does to cash."""
        before = self.realised
        closing = min(qty, max(0, -side * self.lots))
        if closing:
            sign = 1 if self.lots > 0 else -1
            removed = abs(self.cost) * closing // abs(self.lots)
            self.realised += sign * (price * closing - removed)
            self.cost -= sign * removed
        self.cost += side * (qty - closing) * price
        self.lots += side * qty
        self.fees += fee
        self.fills += 1
        moved = -side * price * qty if self.spot else self.realised - before
        return moved * self.scale["value_e8"] - fee


@dataclass
class Recomputed:
    """Everything that the ledger says, and everything that is wrong with it."""

    stop_limit_ns: int = SECOND
    slack_ns: int = SECOND // 4
    cash: int | None = None
    start: int | None = None
    books: dict[str, Book] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    requests: dict[str, dict] = field(default_factory=dict)
    trades: dict[int, dict] = field(default_factory=dict)
    last_seq: int = 0
    last_t: int = 0
    naked_max: int = 0
    ids: dict[str, int] = field(default_factory=dict)
    refused: set = field(default_factory=set)
    stops: dict[str, list[Order]] = field(default_factory=dict)
    faults: Counter = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    kinds: Counter = field(default_factory=Counter)  # of the problems: KINDS
    # Beside the journal: intents that never arrived, of which nobody was told so, and trades that the journal does not
    # know; those after everything that arrived or was told were on their way when the session ended.
    open_ended: list[str] = field(default_factory=list)
    on_their_way: list[str | int] = field(default_factory=list)

    def note(self, text: str, kind: str = OTHER) -> None:
        """Note a difference."""
        self.problems.append(text)
        self.kinds[kind] += 1

    def wrong(self, line: dict, text: str, kind: str = OTHER) -> None:
        """Note a difference, with the line it was found in."""
        self.note(f"ledger {line.get('seq')}: {text}", kind)

    def expect(self, line: dict, name: str, should: object) -> None:
        """A field of a line must have this value."""
        if line.get(name) != should:
            kind = BROKEN if name in ("position_lots", "cash_e8", "cum_lots") else OTHER
            self.wrong(line, f"{name} is {line.get(name)!r}, recomputed {should!r}", kind)

    def read(self, line: dict) -> None:
        """One line of the ledger."""
        if line["seq"] != self.last_seq + 1:
            self.wrong(line, f"number follows {self.last_seq}")
        self.last_seq = line["seq"]
        if line["t_ns"] < self.last_t:
            self.wrong(line, "time goes back")
        self.last_t = max(self.last_t, line["t_ns"])
        if line.get("symbol") is not None and line["symbol"] not in self.books:
            self.books[line["symbol"]] = Book(line["contract"] == "spot", line["scale"])
        handler = {
            "request": self.request,
            "order": self.order,
            "fill": self.fill,
            "balance": self.balance,
            "fault": self.fault,
        }.get(line["kind"])
        if handler is None:
            self.wrong(line, f"unknown kind {line['kind']!r}")
            return
        handler(line)
        if line.get("symbol") is not None:
            self.protection(line)

    def request(self, line: dict) -> None:
        """What was sent: the bytes agree with the line, and nothing is placed twice."""
        body = base64.b64decode(line["body"])
        if len(body) != 128:
            self.wrong(line, f"body of {len(body)} bytes")
            return
        told = REQUEST.unpack_from(body)
        same = (
            (f"{told[1]:016x}{told[2]:016x}" if told[1] or told[2] else None) == line["client_order_id"]
            and told[3:6] == (line["price_ticks"], line["qty_lots"], line["stop_ticks"])
            and {1: "buy", -1: "sell"}.get(told[11]) == line["side"]
            and (told[12] >= len(TYPES) or TYPES[told[12]] == line["type"])
            and (told[13] >= len(TIFS) or TIFS[told[13]] == line["tif"])
        )
        if not same:
            self.wrong(line, "the request's bytes say something else than its line")
        if line["action"] != "place":
            return
        if line["client_order_id"] in self.requests:
            self.wrong(line, f"client id {line['client_order_id']} was sent before", DOUBLED)
        self.requests[line["client_order_id"]] = line
        if line["type"] == "market" and "reduce_only" in line["flags"] and line["symbol"] in self.books:
            self.close_in_flight(line)

    def close_in_flight(self, line: dict) -> None:
        """A market close arrived: it counts for a position that has no stop."""
        book = self.books[line["symbol"]]
        since = book.naked_since
        if since is not None and SIGN[line["side"]] * book.lots < 0:
            if line["t_ns"] - since > self.stop_limit_ns + self.slack_ns:
                late = f"{line['symbol']}: market close {line['t_ns'] - since} ns after the fill, too late"
                self.wrong(line, late, NAKED)
            book.close_id = line["client_order_id"]

    def close_over(self, line: dict) -> None:
        """A market close ended; a position that is still there and without a stop has its second anew."""
        book = self.books.get(line["symbol"])
        if book is not None and book.close_id is not None and book.close_id == line["client_order_id"]:
            book.close_id = None
            book.naked_since = line["t_ns"]

    def order(self, line: dict) -> None:
        """A change of an order's state."""
        status = line["status"]
        number = line["venue_order_id"]
        if number is None:
            if status not in ("rejected", "change_refused") or line["reason"] is None:
                self.wrong(line, f"{status} without an order")
            if status == "rejected":
                self.refused.add(line["client_order_id"])
            return
        if status in ("accepted", "rejected"):
            self.new_order(line, number, status)
            return
        order = self.orders.get(number)
        if order is None or order.client_id != line["client_order_id"]:
            self.wrong(line, f"{status} of an order that was never accepted", LOST)
            return
        if order.status in ENDED:
            self.wrong(line, f"{status} after {order.status}")
        if status == "replaced":
            order.qty = line["qty_lots"]
            if order.qty <= order.cum:
                self.wrong(line, f"replaced to {order.qty} with {order.cum} filled")
        elif status == "triggered":
            order.triggered = True
        elif status in ENDED:
            order.status = status
            self.close_over(line)
            if (status == "filled") != (order.cum == order.qty):
                self.wrong(line, f"{status} with {order.cum} of {order.qty} filled")
        else:
            self.wrong(line, f"unknown status {status!r}")
        self.expect(line, "cum_lots", order.cum)
        self.expect(line, "qty_lots", order.qty)
        self.expect(line, "leaves_lots", order.leaves)

    def new_order(self, line: dict, number: int, status: str) -> None:
        """The venue's first word about an order."""
        if number in self.orders:
            self.wrong(line, f"order {number} appears twice", DOUBLED)
            return
        request = self.requests.get(line["client_order_id"])
        if request is None:
            self.wrong(line, "an order that nobody sent", LOST)
        else:
            for name in ("symbol", "side", "type", "qty_lots", "price_ticks", "flags"):
                self.expect(line, name, request[name])
        if line["client_order_id"] in self.ids:
            self.wrong(line, f"client id {line['client_order_id']} has two orders", DOUBLED)
        order = Order(
            line["client_order_id"], line["symbol"], SIGN.get(line["side"], 0), line["type"],
            "reduce_only" in line["flags"], line["qty_lots"],
        )  # fmt: skip
        order.status = status
        self.orders[number] = order
        self.ids[order.client_id] = number
        if status == "rejected":
            self.close_over(line)
        elif order.is_stop:
            self.stops.setdefault(order.symbol, []).append(order)

    def fill(self, line: dict) -> None:
        """An execution: everything about it is recomputed."""
        order = self.orders.get(line["venue_order_id"])
        book = self.books[line["symbol"]]
        side, price, qty = SIGN[line["side"]], line["price_ticks"], line["qty_lots"]
        self.expect(line, "trade_id", len(self.trades) + 1)
        self.trades[line["trade_id"]] = line
        if price <= 0 or qty <= 0:
            self.wrong(line, f"fill of {qty} at {price}")
        value = price * qty * book.scale["value_e8"]
        self.expect(line, "fee_e8", up(value * line["fee_ppm"], PPM))
        if order is None or order.status in ENDED:
            self.wrong(line, f"fill of an order that is {'unknown' if order is None else order.status}")
        else:
            order.cum += qty
            if order.cum > order.qty:
                self.wrong(line, f"filled {order.cum} of {order.qty}", BROKEN)
            if (order.client_id, order.symbol, order.side) != (line["client_order_id"], line["symbol"], side):
                self.wrong(line, "fill of another order than it says")
            self.expect(line, "cum_lots", order.cum)
            if order.reduce_only and (book.lots * side >= 0 or qty > abs(book.lots)):
                self.wrong(line, "a reduce-only order opened or turned the position", BROKEN)
        if self.cash is not None:
            self.cash += book.fill(side, price, qty, line["fee_e8"])
        self.expect(line, "position_lots", book.lots)
        self.expect(line, "cash_e8", self.cash)
        if book.spot and book.lots < 0:
            self.wrong(line, "short of a spot pair", BROKEN)

    def balance(self, line: dict) -> None:
        """Start balance or funding."""
        if line["reason"] == "start":
            if self.start is not None:
                self.wrong(line, "a second start balance")
            self.start = self.cash = line["amount_e8"]
            return
        book = self.books[line["symbol"]]
        self.expect(line, "position_lots", book.lots)
        base = abs(book.lots) * book.scale["lot_e8"]
        mark, rate = line["mark_e8"], line["rate_e8"]
        if (book.lots > 0) == (rate > 0) and rate:
            amount = -up(up(base * mark, E8) * abs(rate), E8)
        else:
            amount = base * mark // E8 * abs(rate) // E8
        self.expect(line, "amount_e8", amount)
        book.funding += line["amount_e8"]
        self.cash = (self.cash or 0) + line["amount_e8"]
        self.expect(line, "cash_e8", self.cash)

    def fault(self, line: dict) -> None:
        """Trouble that the venue itself had."""
        self.faults[line["reason"]] += 1

    def protection(self, line: dict) -> None:
        """After each line: how long has the position been without its stop, or a stop without its position?"""
        symbol, now = line["symbol"], line["t_ns"]
        book = self.books[symbol]
        stops = [order for order in self.open_stops(symbol) if order.side * book.lots < 0]
        covered = sum(order.leaves for order in stops) >= abs(book.lots)
        if book.naked_since is not None:
            naked = now - book.naked_since
            if book.close_id is None:
                self.naked_max = max(self.naked_max, naked)
                if naked > self.stop_limit_ns + self.slack_ns:
                    text = f"{symbol}: {naked} ns without a stop for {book.lots} lots, no close in flight"
                    self.wrong(line, text, NAKED)
                    book.naked_since = now  # told once a limit
                elif covered and naked > self.stop_limit_ns:
                    self.wrong(line, f"{symbol}: the stop came {naked} ns after the fill", NAKED)
            if covered:
                book.naked_since = None
                book.close_id = None
        elif not covered:
            book.naked_since = now
            book.close_id = None
        idle = [order for order in self.open_stops(symbol) if order not in stops] if book.lots == 0 else []
        if book.left_over_since is not None and now - book.left_over_since > self.stop_limit_ns:
            self.wrong(line, f"{symbol}: a stop was left {now - book.left_over_since} ns after the position had gone")
        if not idle:
            book.left_over_since = None
        elif book.left_over_since is None:
            book.left_over_since = now

    def open_stops(self, symbol: str) -> list[Order]:
        """Protective stops of a symbol that are open; the few last orders can be."""
        still = [order for order in self.stops.get(symbol, []) if order.status not in ENDED]
        self.stops[symbol] = still
        return still

    def finish(self) -> None:
        """What can be said only at the end."""
        if self.start is None:
            self.note("ledger: no start balance")
            return
        cash = self.start
        for book in self.books.values():
            flow = book.realised - (book.cost if book.spot else 0)
            cash += flow * book.scale["value_e8"] - book.fees + book.funding
        if cash != self.cash:
            self.note(f"ledger: cash {self.cash} is not conserved, {cash} by positions", BROKEN)
        for number, order in self.orders.items():
            if order.cum == order.qty and order.status not in ENDED:
                self.note(f"ledger: order {number} is full but never ended")
        answered = {order.client_id for order in self.orders.values()}
        for client_id, line in self.requests.items():
            if client_id not in answered and client_id not in self.refused:
                self.wrong(line, "placed, and never accepted or rejected", UNANSWERED)
        for symbol, book in self.books.items():
            naked = 0 if book.naked_since is None else self.last_t - book.naked_since
            if naked > self.stop_limit_ns + self.slack_ns and book.close_id is None:
                self.note(f"ledger: {symbol} ends with {naked} ns without a stop for {book.lots} lots", NAKED)


def read_ledger(path: Path, stop_limit_ns: int, slack_ns: int) -> Recomputed:
    """All lines of a ledger."""
    result = Recomputed(stop_limit_ns, slack_ns)
    with path.open("rb") as file:
        for text in file:
            result.read(json.loads(text))
    result.finish()
    return result


def compare_session(result: Recomputed, session: dict, never_landed: int) -> None:
    """The report says what the ledger says."""

    def check(name: str, told: object, should: object) -> None:
        same = Decimal(str(told)) == Decimal(str(should)) if told is not None else should is None
        if not same:
            kind = LOST if name in ("fills", "orders") else BROKEN
            result.note(f"session: {name} is {told!r}, recomputed {should!r}", kind)

    check("fills", session.get("fills"), len(result.trades))
    check("orders", session.get("orders"), len(result.requests) + never_landed)
    total = Decimal(0)
    for symbol, told in session["positions"].items():
        book = result.books.get(symbol)
        if book is None:
            book = Book(False, {"tick_e8": 0, "lot_e8": 0, "value_e8": 0})
        average = Decimal(0)
        if book.lots:
            price = Decimal(book.cost) / book.lots * Decimal(book.scale["tick_e8"]).scaleb(-8)
            average = price.quantize(Decimal("1e-8"), ROUND_HALF_EVEN)
        check(f"{symbol}.lots", told["lots"], book.lots)
        check(f"{symbol}.average_price", told["average_price"], average)
        check(f"{symbol}.realised", told["realised"], money(book.realised * book.scale["value_e8"]))
        check(f"{symbol}.fees", told["fees"], money(book.fees))
        check(f"{symbol}.funding", told["funding"], money(book.funding))
        total += sum(Decimal(told[name]) for name in ("realised", "unrealised", "funding")) - Decimal(told["fees"])
    for symbol in result.books.keys() - session["positions"].keys():
        result.note(f"session: no position of {symbol}", BROKEN)
    equity = session["equity"]
    check("equity.start", equity["start"], money(result.start or 0))
    if "cash" in equity:
        check("equity.cash", equity["cash"], money(result.cash or 0))
    check("equity.end", equity["end"], Decimal(equity["start"]) + total)


def journal_bodies(path: Path) -> Iterator[tuple[int, bytes]]:
    """Type and body of each record of a journal that counts, through all its segments."""
    data = path.read_bytes()
    committed = struct.unpack_from("<I", data, JOURNAL_COMMIT_BYTE)[0]  # the upper half is its complement
    number = 0
    while (segment := path.with_name(f"{path.name}.{(number := number + 1)}")).exists():
        data += segment.read_bytes()[JOURNAL_HEADER_BYTES:]
    for number in range(committed):
        base = JOURNAL_HEADER_BYTES + number * JOURNAL_RECORD_BYTES
        yield struct.unpack_from("<H", data, base + 4)[0], data[base + JOURNAL_BODY_BYTE : base + JOURNAL_RECORD_BYTES]


def compare_journal(result: Recomputed, path: Path) -> int:
    """Journal and ledger tell of the same orders and fills. Returns the intents that never reached the venue."""
    intents: dict[str, tuple] = {}
    fills: dict[int, tuple] = {}
    not_found = set()
    for number, (kind, body) in enumerate(journal_bodies(path)):
        if kind == JOURNAL_INTENT:
            told = REQUEST.unpack_from(body)
            client_id = f"{told[1]:016x}{told[2]:016x}"
            if client_id in intents:
                result.note(f"journal {number + 1}: client id {client_id} is journaled twice", DOUBLED)
            intents[client_id] = told
        elif kind == JOURNAL_EVENT:
            told = REPORT.unpack_from(body)
            if told[14] == REPORT_NOT_FOUND:
                not_found.add(f"{told[1]:016x}{told[2]:016x}")
            if told[14] == REPORT_FILL:
                numbers = (f"{told[1]:016x}{told[2]:016x}", told[3], told[4], told[9])
                if fills.setdefault(told[8], numbers) != numbers:
                    result.note(f"journal {number + 1}: trade {told[8]} is told in two ways", BROKEN)
    last_told = max(fills, default=0)
    for client_id, line in result.requests.items():
        told = intents.get(client_id)
        if told is None:
            result.wrong(line, f"order {client_id} has no journaled intent", LOST)
            continue
        same = told[3:6] == (line["price_ticks"], line["qty_lots"], line["stop_ticks"])
        if not same or {1: "buy", -1: "sell"}.get(told[11]) != line["side"] or TYPES[told[12]] != line["type"]:
            result.wrong(line, f"order {client_id} is not what was journaled", LOST)
    for trade_id, line in result.trades.items():
        numbers = (line["client_order_id"], line["price_ticks"], line["qty_lots"], line["fee_e8"])
        told = fills.pop(trade_id, None)
        if told != numbers:
            if told is None and trade_id > last_told:
                result.on_their_way.append(trade_id)
            kind = UNTOLD if told is None else BROKEN
            result.wrong(line, f"trade {trade_id} is missing or different in the journal", kind)
    for trade_id in fills:
        result.note(f"journal: trade {trade_id} never happened at the venue", BROKEN)
    never_landed = [client_id for client_id in intents if client_id not in result.requests]
    places = {client_id: place for place, client_id in enumerate(intents)}
    last = max((places[client_id] for client_id in result.requests if client_id in places), default=-1)
    for client_id in never_landed:
        if client_id not in not_found:
            (result.on_their_way if places[client_id] > last else result.open_ended).append(client_id)
    return len(never_landed)


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ledger", type=Path)
    parser.add_argument("session", type=Path)
    parser.add_argument("--journal", type=Path)
    parser.add_argument("--stop-limit-s", type=Decimal, default=Decimal(1))
    parser.add_argument("--slack-s", type=Decimal, default=Decimal("0.25"))
    options = parser.parse_args(arguments)
    try:
        session = json.loads(options.session.read_bytes())
        result = read_ledger(options.ledger, int(options.stop_limit_s * SECOND), int(options.slack_s * SECOND))
        never_landed = compare_journal(result, options.journal) if options.journal else 0
        compare_session(result, session, never_landed)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        print(f"recompute: cannot read: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    for problem in result.problems:
        print(problem)
    statuses = Counter(order.status for order in result.orders.values())
    fees = sum(book.fees for book in result.books.values())
    print(
        f"recomputed {result.last_seq} entries: {len(result.requests)} orders"
        f" ({', '.join(f'{count} {name}' for name, count in sorted(statuses.items()))}), {len(result.trades)} fills,"
        f" fees {money(fees)}, cash {money(result.cash or 0)}, longest without a stop {result.naked_max / 1e6:.3f} ms,"
        f" {len(result.problems)} differences"
    )
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
