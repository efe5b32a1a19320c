"""Slow twin of execution: queues of dictionaries in, queues of dictionaries out, unbounded integers, one rule a method.

Written from the rules (blueprint 2, 5, 7 and the order states of reliability 2), not from the kernels. What the kernels
keep up to date step by step is summed up anew here wherever it is asked for: equity from the positions, exposure and
open orders from the orders that live. Compared item by item in tests/properties/engine/test_execution.py.
"""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from math import ceil, floor
from typing import Any

from reference.engine.order_state import DEAD, OPEN, RefOrder
from reference.engine.portfolio import RefPosition
from reference.kernels.risk.correlation import RefMoves
from reference.kernels.risk.order_checks import (
    BAD_ORDER,
    GTC,
    IOC,
    LIMIT,
    MARKET,
    MESSAGE_RATE,
    NO_QUOTE,
    OPEN_ORDERS,
    REDUCE_ONLY,
    REPEAT,
    check,
    exposed_of,
    loss,
    others,
    reducing,
    unproven,
)
from reference.kernels.risk.tail import could_lose, tail_check

Message = dict[str, Any]

NEVER = 2**63 - 1
SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS
PPM = 10**6

PLACE, CANCEL, AMEND, QUERY_ORDER, QUERY_TRADES = 1, 2, 3, 5, 7
STOP_MARKET = 3
ENTRY, EXIT, STOP, FLATTEN, PROFIT, SLICE = range(6)
ACK, REJECT, FILL, CANCELED, EXPIRED, TRIGGERED, REPLACED, CANCEL_REJECT, ORDER, NOT_FOUND = range(1, 11)
QUERY_END, POSITION, FUNDING, DENIED, TOTALS = range(11, 16)
TIGHTER = 20
QUOTE, STATUS = 2, 6
DUPLICATE, GATE_SHUT, JOURNAL_FULL, TABLE_FULL, VENUE_BUSY, UNKNOWN_INSTRUMENT, NEVER_LANDED = range(402, 409)
POST_ONLY_TAKES, NOTHING_TO_REDUCE, DUPLICATE_ID, OUTSIDE_FILTERS, WOULD_TRIGGER = 501, 502, 504, 505, 509
TOO_LARGE, TOO_SMALL = 521, 522
N_CODES = 640

SET_AT_THE_START = {
    "day_offset_ns", "correlation_decay_ppb", "bucket_refill_ns", "shard_refill_ns", "order_refill_ns",
    "message_refill_ns",
}  # fmt: skip
GROWS = {  # tighter the larger, within what the settings take
    "cool_down_ns": DAY_NS, "repeat_pause_ns": DAY_NS, "streak_pause_ns": 7 * DAY_NS, "slippage_bps": 5_000,
    "breaker_window_ns": 3_600 * SECOND_NS, "breaker_open_ns": 3_600 * SECOND_NS, "var_confidence_bps": 9_990,
    "var_horizon_s": 10 * 86_400,
}  # fmt: skip

STARTING, RECOVERING, ACTIVE, HALTED = range(4)
TABLE_ROWS = 1_024
EVENT_RECORDS = 9  # journal records that one event may cause
PROTECTIVE_RECORDS = 4_096  # journal records that only protection may use
PLENTY_RECORDS = 4 * PROTECTIVE_RECORDS  # with less, nothing is written that recovery can do without
DENIED_AT_ONCE, DENIED_EVERY_NS = 256, SECOND_NS  # records of a shard's refusals; the others are counted in the next
TOTALS_ROOM = 256  # slots of a report ring that totals leave alone
SILENCE_NS = 2 * SECOND_NS  # then the venue is asked what became of an order

INTENT_FIELDS = (
    "ts_ns", "id_hi", "id_lo", "price_ticks", "qty_lots", "stop_ticks", "ref_ticks", "instrument", "strategy", "shard",
    "action", "side", "type", "tif", "flags", "leg", "event_no", "order_row", "sized_by",
    "slices", "slice_ds", "tsc", "aux", "score",
    "tsc_read", "trail_ticks", "even_ticks",
)  # fmt: skip
REPORT_FIELDS = (
    "ts_ns", "id_hi", "id_lo", "price_ticks", "qty_lots", "cum_lots", "leaves_lots", "venue_order_id", "trade_id",
    "fee_e8", "event_seq", "cash_e8", "instrument", "shard", "kind", "status", "side", "type", "flags", "leg", "code",
    "order_row", "t_venue_ns",
)  # fmt: skip
TOTALS_FIELDS = ("equity_e8", "high_water_e8", "day_start_e8", "gross_e8", "open_orders", "breaker", "streak",
                 "day_shut", "gate")  # fmt: skip

STATS = ("intents", "orders", "fills", "stops_placed", "stops_triggered", "naked_ns_max", "flattens")
HAPPENED = {
    ACK: "ack", REJECT: "reject", CANCELED: "canceled", EXPIRED: "expired", TRIGGERED: "triggered",
    REPLACED: "replaced", CANCEL_REJECT: "cancel_reject", NOT_FOUND: "not_found",
}  # fmt: skip
ANSWERED = {CANCELED: "canceled", EXPIRED: "expired", REJECT: "reject"}  # any other answer: the order works
TOLD = {"filled": CANCELED, "canceled": CANCELED, "expired": EXPIRED, "rejected": REJECT, "never_landed": DENIED}


class ContradictionError(Exception):
    """A journal record whose own snapshot is not what the records before it lead to."""


class FullError(Exception):
    """No room in the journal for one more event."""


class Ring(list[Message]):
    """Everything ever pushed; `taken` of it has been read. A negative time is read as an empty slot."""

    def __init__(self, slots: int) -> None:
        super().__init__()
        self.slots, self.taken = slots, 0

    @property
    def room(self) -> int:
        """Slots that are free."""
        return self.slots - (len(self) - self.taken)

    @property
    def head(self) -> Message | None:
        """Oldest record not taken yet."""
        readable = self.taken < len(self) and self[self.taken]["ts_ns"] >= 0
        return self[self.taken] if readable else None

    def take(self) -> Message:
        """Read one record."""
        self.taken += 1
        return self[self.taken - 1]


class Wires:
    """What outlives execution's process: rings, promises, control words, counters, what was last published."""

    def __init__(self, n_shards: int, n_instruments: int, slots: int, request_slots: int, report_slots: int) -> None:
        self.intents = [Ring(slots) for _ in range(n_shards)]
        self.quotes, self.events = Ring(2**14), Ring(slots)
        self.requests = Ring(request_slots)
        self.reports = [Ring(report_slots) for _ in range(n_shards)]
        self.feed = self.venue = self.to_venue = self.to_shards = 0
        self.shards = [0] * n_shards
        self.kill = 0
        self.asked: list[Message] = []  # limits that somebody wants, one wish after the other
        self.leaving = False  # the session ends, or nobody watches it
        self.resync = [0] * n_shards
        self.rejects: Counter[int] = Counter()
        self.gauges: dict[str, int] = dict.fromkeys(("items", "naked_ns_max", "drawdown_ppm", "high_water_e8"), 0)
        self.positions: list[Message] = [dict.fromkeys(PUBLISHED, 0) for _ in range(n_instruments)]


PUBLISHED = (
    "lots", "cost", "realised", "fees", "funding", "bid", "ask", "stop_ticks", "stop_lots", "whole", "quote_ns",
)  # fmt: skip


class Order(RefOrder):
    """One row of the table."""

    def __init__(self, row: int, intent: Message) -> None:
        super().__init__(intent["qty_lots"])
        self.row, self.intent = row, intent
        self.id = intent["id_hi"], intent["id_lo"]
        self.instrument, self.shard = intent["instrument"], intent["shard"]
        self.side, self.leg = intent["side"], intent["leg"]
        self.stop = intent["stop_ticks"]
        self.asked_stop = 0
        self.venue_id = self.code = self.sent_ns = 0
        self.closed: list[int] = []  # results of its fills that closed
        self.lost = False
        self.slices, self.slice_ns = intent["slices"], intent["slice_ds"] * SECOND_NS // 10
        self.sliced = self.due_ns = 0
        self.slice: Order | None = None  # the one that is out

    @property
    def leaves(self) -> int:
        """Lots that may still fill."""
        return max(0, self.qty - self.cum)

    @property
    def owed_a_word(self) -> bool:
        """The venue has not answered the order, a cancel, an amend or a question, or has not ended what takes."""
        takes = self.intent["tif"] == IOC or "triggered" in self.over
        return self.base == "sent" or takes or bool(self.over & {"unknown", "cancel", "replace"})

    @property
    def of_a_shard(self) -> bool:
        """Not one of execution's own protective orders."""
        return self.leg <= EXIT


class Holding(RefPosition):
    """Position of one instrument, what protects it, and what the market says."""

    def __init__(self) -> None:
        super().__init__()
        self.fees = self.funding = self.worth = self.trip = 0
        self.trip_lost = False
        self.bid = self.ask = self.quote_ns = self.whole = 0
        self.last_event_no = self.last_trade = self.own_orders = 0
        self.stop_ticks = self.naked_since = self.retry = 0
        self.doubt = {1: 0, -1: 0}  # lots that may have opened, by side, if fills were told in another order
        self.nothing_found: list[int] = []  # when closes were refused for want of anything to reduce, in a row
        self.is_dust = False  # the last close was too small for the venue
        self.trail_ticks = self.even_ticks = self.profit_ticks = 0
        self.stop: Order | None = None
        self.profit: Order | None = None
        self.in_slices: Order | None = None  # the entry that is worked in slices
        self.close: Order | None = None
        self.last_open_ns = self.bucket_ns = 0
        self.run: list[int] = []  # times of the accepted orders of one side in a row
        self.run_side = 0

    @property
    def wait_ns(self) -> int:
        """After one refusal a second, after each one more twice as long, half a minute at most."""
        return min(2 ** (len(self.nothing_found) - 1), 30) * SECOND_NS if self.nothing_found else 0

    @property
    def wait_until(self) -> int:
        """The venue is left alone until then; what is dust until a fill."""
        if self.is_dust:
            return 2**63 - 1
        return self.nothing_found[-1] + self.wait_ns if self.nothing_found else 0


class Record:
    """One journal record; `body` is an intent, an event or empty."""

    def __init__(self, kind: str, ts_ns: int, instrument: int, code: int, body: Message) -> None:
        self.kind, self.ts_ns, self.instrument, self.code, self.body = kind, ts_ns, instrument, code, dict(body)
        self.account: tuple[int, ...] = ()
        self.holding: tuple[int, ...] = ()  # empty without an instrument


def blank(fields: tuple[str, ...], **values: int) -> Message:
    """A message with these fields, zero unless said."""
    return {**dict.fromkeys(fields, 0), **values}


def later(time_ns: int, latency_ns: int) -> int:
    """A promise with a latency added; never stays never."""
    return min(NEVER, time_ns + latency_ns)


class RefExecution:
    """One life of the process; the next one begins with the same wires and journal."""

    def __init__(
        self,
        wires: Wires,
        instruments: list[Message],
        limits: Message,
        session: Message,
        journal: list[Record],
        capacity: int,
        rows: int = TABLE_ROWS,
    ) -> None:
        self.wires, self.instruments, self.session = wires, instruments, session
        self.begun, self.limits = limits, dict(limits)
        self.coming: Message = {}  # limits that hold from `limits_from` on
        self.limits_from = self.wishes = 0
        self.journal, self.capacity = journal, capacity
        self.holdings = [Holding() for _ in instruments]
        self.orders: dict[int, Order] = {}
        self.free = list(range(rows - 1, -1, -1))  # the row given back last is taken first
        self.now = self.epoch = self.generation = self.last_seq = self.unknown = self.alarms = 0
        self.state = STARTING
        self.killed = self.asking = self.started = self.folding = False
        self.high_water = max(session["start_equity_e8"], session["high_water_e8"])
        self.day, self.day_start = session["day"], session["day_start_e8"]
        self.day_begun = self.day > 0
        self.next_grid = self.next_sample = self.sampled = 0
        self.deadlines: list[int] = []
        self.breaker_until = 0
        self.failed: list[int] = []  # when the venue failed, since the breaker last opened
        self.trips = self.probe_until = 0
        self.streak, self.streak_until = session["streak"], session["streak_until_ns"]
        self.day_shut_until = session["day_shut_until_ns"]
        self.reached = 0
        self.order_bucket = self.message_bucket = 0
        self.shard_bucket = [0] * session["n_shards"]
        self.denied_bucket = [0] * session["n_shards"]
        self.untold = [0] * session["n_shards"]
        self.moves = RefMoves(len(instruments), limits["correlation_decay_ppb"] * 1e-9)
        self.second: list[int | None] = [None] * len(instruments)
        self.lost = [False] * session["n_shards"]
        self.answered = [0] * session["n_shards"]
        self.stats: Counter[str] = Counter(naked_ns_max=wires.gauges["naked_ns_max"])
        self.drawdown = wires.gauges["drawdown_ppm"]
        self.fold()
        for holding, known in zip(self.holdings, wires.positions, strict=True):
            holding.quote_ns, holding.whole = known["quote_ns"], known["whole"]
            if known["quote_ns"]:
                holding.bid, holding.ask = known["bid"], known["ask"]

    # --- what follows from orders and positions ----------------------------------------------------------------------
    @property
    def equity(self) -> int:
        """Start + realised + open profit as last marked - fees + funding."""
        return self.session["start_equity_e8"] + sum(
            holding.realised * instrument["value_e8"] + holding.worth - holding.fees + holding.funding
            for holding, instrument in zip(self.holdings, self.instruments, strict=True)
        )

    @property
    def breaker_open(self) -> int:
        """1 while the venue is left alone after failures, or one order tries it."""
        return int(self.now < self.breaker_until or (self.trips > 0 and self.now < self.probe_until))

    @property
    def streak_pause(self) -> int:
        """1 while nothing is opened after losses in a row."""
        return int(self.now < self.streak_until)

    @property
    def day_shut(self) -> int:
        """1 until the next day once its loss has reached the limit."""
        return int(self.reached < self.day_shut_until)

    @property
    def room(self) -> int:
        """Journal records that still fit."""
        return self.capacity - len(self.journal)

    def working(self, instrument: int) -> list[Order]:
        """Orders of shards that live on an instrument."""
        return [order for order in self.orders.values() if order.of_a_shard and order.instrument == instrument]

    def pending(self, instrument: int, side: int) -> int:
        """Lots that may still fill on one side."""
        return sum(order.leaves for order in self.working(instrument) if order.side == side)

    def leaving(self, instrument: int, side: int) -> int:
        """Of these, what may only reduce."""
        orders = self.working(instrument)
        return sum(order.leaves for order in orders if order.side == side and reducing(order.intent))

    def could_reduce(self, instrument: int, side: int) -> int:
        """Lots of all orders of a side that may only reduce, whoever placed them."""
        orders = [order for order in self.orders.values() if (order.instrument, order.side) == (instrument, side)]
        return sum(order.leaves for order in orders if reducing(order.intent))

    def own_prices(self, instrument: int, side: int) -> list[int]:
        """Of limit orders of that side that are open, take-profits among them."""
        orders = self.working(instrument)
        orders += [order for order in (self.holdings[instrument].profit,) if order]
        return [o.intent["price_ticks"] for o in orders if o.side == side and o.intent["type"] == LIMIT]

    def own_stops(self, instrument: int, side: int) -> list[int]:
        """Of orders of that side that may still open."""
        return [o.stop for o in self.working(instrument) if o.side == side and not reducing(o.intent)]

    def is_live(self, holding: Holding) -> bool:
        """The book is whole and has a quote that is not old."""
        return bool(holding.whole and holding.bid > 0 and self.now - holding.quote_ns <= self.limits["quote_age_ns"])

    def exposures(self) -> list[Message]:
        """What each instrument holds, what is pending, and its price."""
        return [
            {
                "lots": holding.lots, "buys": self.pending(index, 1) - self.leaving(index, 1) + holding.doubt[1],
                "sells": self.pending(index, -1) - self.leaving(index, -1) + holding.doubt[-1],
                "twice_mid": holding.bid + holding.ask if holding.bid > 0 else 0, **self.instruments[index],
                "cost": holding.cost, "worth": holding.worth, "live": self.is_live(holding),
            }
            for index, holding in enumerate(self.holdings)
        ]  # fmt: skip

    def view(self, instrument: int, side: int) -> Message:
        """What the risk check is told."""
        holding = self.holdings[instrument]
        return others(self.exposures(), instrument) | {
            "correlation_bps": 0,
            "streak": self.streak_pause,
            "day_shut": self.day_shut,
            "position_lots": holding.lots,
            "pending_buy_lots": self.pending(instrument, 1),
            "pending_sell_lots": self.pending(instrument, -1),
            "exit_buy_lots": self.leaving(instrument, 1) - holding.doubt[1],
            "exit_sell_lots": self.leaving(instrument, -1) - holding.doubt[-1],
            "own_bid_ticks": max(self.own_prices(instrument, 1), default=0),
            "own_ask_ticks": min(self.own_prices(instrument, -1), default=0),
            "own_stop_ticks": (min if side > 0 else max)(self.own_stops(instrument, side), default=0),
            "open_orders": len(self.working(instrument)),
            "bid_ticks": holding.bid,
            "ask_ticks": holding.ask,
            "quote_ts_ns": holding.quote_ns,
            "equity_e8": self.equity - unproven(self.exposures()),
            "high_water_e8": self.high_water,
            "day_start_e8": self.day_start,
            "last_open_ns": holding.last_open_ns,
            "bucket_ns": holding.bucket_ns,
            "shard_bucket_ns": self.shard_bucket[self.instruments[instrument]["shard"]],
            "order_bucket_ns": self.order_bucket,
            "message_bucket_ns": self.message_bucket,
            "run": len(holding.run) * holding.run_side,
            "run_ns": max(holding.run, default=0),
            "killed": self.killed,
            "breaker_open": self.breaker_open,
            "stale": not holding.whole,
        }

    def is_covered(self, holding: Holding) -> bool:
        """The venue has confirmed a stop for the whole position (while it is amended: in either size)."""
        stop = holding.stop
        if holding.lots == 0 or holding.is_dust:
            return True
        if stop is None or stop.side * holding.lots > 0:
            return False
        stands = {"new": stop.qty, "partially_filled": stop.qty, "pending_replace": min(stop.qty, stop.asked)}
        return stands.get(stop.status, 0) - stop.cum >= abs(holding.lots)

    # --- one batch ---------------------------------------------------------------------------------------------------
    def work(self, most: int) -> int:
        """One call of the agent: at most so many items."""
        if self.room < EVENT_RECORDS:
            raise FullError
        if not self.started:
            self.started = self.start()
            return 1
        return self.step(most)

    def step(self, most: int) -> int:
        """At most so many items, then the kill word, the shards that asked, and what others may look at."""
        items = 0
        while items < most and self.one_item():
            items += 1
        if self.wires.kill and not self.killed and self.state == ACTIVE:
            self.halt()
        if self.state != RECOVERING:
            for shard in range(len(self.lost)):
                asked = self.wires.resync[shard]
                if self.wires.intents[shard].head is not None:
                    continue
                if (asked != self.answered[shard] or self.lost[shard]) and self.resync(shard):
                    self.answered[shard] = asked
        self.publish(items)
        return items

    def sources(self) -> Iterator[tuple[Ring, int, int]]:
        """Each ring with its place among equals (events, quotes, intents) and the promise of who writes it."""
        wires = self.wires
        venue = wires.venue
        if wires.requests.taken < len(wires.requests):  # what is unread there may still cause an event
            arrival = wires.requests[wires.requests.taken]["ts_ns"]
            venue = min(venue, arrival + self.session["report_latency_ns"])
        yield wires.events, 0, venue
        yield wires.quotes, 1, wires.feed
        for ring, promise in zip(wires.intents, wires.shards, strict=True):
            yield ring, 2, promise

    def promise(self) -> None:
        """Tell the venue and the shards how far nothing earlier can come from here."""
        earliest = {0: NEVER, 1: NEVER, 2: NEVER}
        for ring, place, promised in self.sources():
            earliest[place] = min(earliest[place], ring.head["ts_ns"] if ring.head else promised)
        cause = min(earliest[1], earliest[2])
        self.wires.to_venue = later(max(cause, self.now), self.session["order_latency_ns"])
        if self.state != RECOVERING:
            self.wires.to_shards = later(min(cause, earliest[0]), self.session["internal_latency_ns"])

    # --- tighter limits ----------------------------------------------------------------------------------------------
    def take_wishes(self) -> None:
        """What somebody wants tighter holds from when nothing before it can be decided otherwise any more."""
        asked = self.wires.asked
        if self.state == RECOVERING or self.limits_from or self.wishes == len(asked):
            return
        if self.room < PROTECTIVE_RECORDS:
            return
        self.wishes = len(asked)
        from_ns = self.now + self.session["internal_latency_ns"]
        if self.session["paced"] and self.wires.to_shards < NEVER:
            from_ns = max(from_ns, self.wires.to_shards)
        for word, name in enumerate(self.limits):
            self.tighten(word, name, asked[-1][name], from_ns)

    def tighten(self, word: int, name: str, value: int, from_ns: int) -> None:
        """One of them, if it is tighter."""
        limit = self.limits[name]
        if value == limit:
            return
        if name in SET_AT_THE_START or not (limit < value <= GROWS[name] if name in GROWS else 0 <= value < limit):
            self.alarms += 1
            return
        told = blank(REPORT_FIELDS, kind=TIGHTER, ts_ns=from_ns, code=word, cash_e8=value)
        self.write("limit", self.now, -1, word, told)
        self.coming[name], self.limits_from = value, from_ns
        for shard in range(len(self.lost)):
            self.push(shard, {**told, "shard": shard})

    def reach(self, time_ns: int) -> None:
        """The market has come to that time: a new day begins with what is there, and the journal has it."""
        self.reached = max(self.reached, time_ns)
        day = (self.reached - self.limits["day_offset_ns"]) // DAY_NS
        if day > self.day or not self.day_begun:
            self.day, self.day_begun, self.day_start = day, True, self.equity
            if self.room >= EVENT_RECORDS:
                self.write("day", self.now, -1, 0, blank(REPORT_FIELDS, cash_e8=day))
        self.hold_limits(max(self.now, time_ns))

    def hold_limits(self, now_ns: int) -> None:
        """Event time comes to where they hold."""
        if self.limits_from and now_ns >= self.limits_from:
            self.limits |= self.coming
            self.coming, self.limits_from = {}, 0
            self.deadlines.append(0)
            self.next_grid = 0

    def may_take_event(self) -> bool:
        """An event is taken when everything that it may cause has room."""
        return self.wires.requests.room >= 2 and self.room >= EVENT_RECORDS

    def one_item(self) -> bool:
        """Handle what is earliest, unless something earlier may still come."""
        self.take_wishes()
        self.promise()
        wires = self.wires
        if self.state == RECOVERING:
            if wires.events.head is None or not self.may_take_event():
                return False
            quote = wires.quotes.head
            known = quote["ts_ns"] if quote else wires.feed
            answered = wires.events.head["ts_ns"]
            self.reach(min(answered, known) if known > 0 else answered)
            self.end_losing()
            self.on_event(wires.events.take())
            if not self.asking:
                self.finish_recovery()
            return True
        waiting, silent = [], []
        for number, (ring, place, promised) in enumerate(self.sources()):
            if ring.head:
                time = ring.head["ts_ns"]
                waiting.append(((time, place), ring.head.get("instrument", 0) if place == 2 else 0, number))
            elif self.session["paced"]:
                silent.append((promised, place))
        if not waiting or min(waiting)[0][0] == NEVER or any(other <= min(waiting)[0] for other in silent):
            return self.pass_time(wires.feed)
        when, _, number = min(waiting)
        if when[1] == 0:
            if not self.may_take_event():
                return False
            self.reach(when[0])
            self.on_event(wires.events.take())
            self.end_losing()
        elif when[1] == 1:
            self.reach(when[0])
            self.on_tick(wires.quotes.take())
        else:
            self.on_intent(number - 2, wires.intents[number - 2].take())
        self.on_time()
        return True

    def pass_time(self, feed: int) -> bool:
        """There is nothing to take; with a real venue, what is due by the feed's promise is done all the same."""
        if self.session["asks_first"] and self.now < feed < NEVER:
            if feed >= self.next_grid or (self.deadlines and feed >= min(self.deadlines)):
                self.now = feed
                self.on_time()
        return False

    def publish(self, items: int) -> None:
        """What others may look at; most of it after a batch that did something."""
        gauges = self.wires.gauges
        gauges["items"] += items
        gauges |= {"event_time_ns": self.now, "state": self.state}
        if not items:
            return
        gauges |= {name: self.stats[name] for name in STATS}
        gauges |= {
            "equity_e8": self.equity,
            "high_water_e8": self.high_water,
            "day_start_e8": self.day_start,
            "drawdown_ppm": self.drawdown,
            "open_orders": len(self.orders),
            "breaker": self.breaker_open,
            "streak_pause": self.streak_pause,
            "streak_until": self.streak_until,
            "day_shut_until": self.day_shut_until,
            "breaker_until": max(self.breaker_until, self.probe_until),
            "unknown": self.unknown,
            "alarms": self.alarms,
        }
        for holding, known in zip(self.holdings, self.wires.positions, strict=True):
            stop_lots = holding.stop.qty - holding.stop.cum if holding.stop else 0
            known.update(stop_lots=stop_lots, **{name: getattr(holding, name) for name in PUBLISHED[:8]})
            known["quote_ns"] = holding.quote_ns

    # --- the market and the time -------------------------------------------------------------------------------------
    def on_tick(self, tick: Message) -> None:
        """A quote is what positions are worth; a status tells whether the book is whole."""
        self.now = max(self.now, tick["ts_ns"])
        holding = self.holdings[tick["instrument"]]
        if tick["kind"] == QUOTE:
            holding.bid, holding.ask, holding.quote_ns = tick["w0"], tick["w2"], tick["ts_ns"]
            if holding.lots:
                self.mark(tick["instrument"])
                self.move_stop(tick["instrument"])
                self.watch_profit(tick["instrument"])
                self.end_losing()
        elif tick["kind"] == STATUS:
            holding.whole = self.wires.positions[tick["instrument"]]["whole"] = int(tick["w0"] == 1)
            if tick["w0"] == 0:
                self.withdraw(tick["instrument"])

    def move_stop(self, instrument: int) -> None:
        """Towards the price, never back: at the distance to follow, or to the cost once enough is gained."""
        holding = self.holdings[instrument]
        if not holding.whole or holding.bid <= 0:
            return
        long = holding.lots > 0
        better = max if long else min
        price = holding.bid if long else holding.ask
        average = Fraction(holding.cost, holding.lots)
        cost = ceil(average) if long else floor(average)
        places = [holding.stop_ticks]
        if holding.trail_ticks:
            places.append(price - holding.trail_ticks if long else price + holding.trail_ticks)
        if holding.even_ticks and (price - cost if long else cost - price) >= holding.even_ticks:
            places.append(cost)
        if abs(better(places) - holding.stop_ticks) >= max(1, holding.trail_ticks // 8):
            holding.stop_ticks = better(places)
            self.protect(instrument)

    def mark(self, instrument: int) -> None:
        """Open profit at the mid, rounded down; the high-water mark and the largest loss from it follow."""
        holding = self.holdings[instrument]
        if not holding.lots:
            holding.worth = 0
        elif holding.bid <= 0:
            holding.worth = min(holding.worth, 0)
        else:
            double = holding.lots * (holding.bid + holding.ask) - 2 * holding.cost
            holding.worth = double * self.instruments[instrument]["value_e8"] // 2
        lost = self.high_water - self.equity
        if lost < 0:
            self.high_water = self.equity
        elif self.high_water > 0:
            self.drawdown = max(self.drawdown, lost // max(1, self.high_water // PPM))

    def on_time(self) -> None:
        """The grid (day, totals, silent orders, samples), then protection that is late or found no room."""
        if self.now >= self.next_grid:
            self.end_losing()
            grid = self.session["totals_grid_ns"]
            self.next_grid = (self.now // grid + 1) * grid
            if self.killed:
                self.halt()
            self.ask_about_silent_orders()
            for instrument, holding in enumerate(self.holdings):
                if not holding.whole:
                    self.withdraw(instrument)
            for shard, ring in enumerate(self.wires.reports):
                if not self.lost[shard] and ring.room >= TOTALS_ROOM:
                    self.send_totals(shard)
            if self.now >= self.next_sample:
                self.next_sample = (self.now // SECOND_NS + 1) * SECOND_NS
                plenty = self.room > PLENTY_RECORDS
                for instrument, holding in enumerate(self.holdings):
                    fresh = int(self.is_live(holding))
                    if plenty:
                        self.write("sample", self.now, instrument, fresh, {})
                    self.note_second(instrument, fresh, self.now)
        if self.deadlines and self.now >= min(self.deadlines):
            self.deadlines = []
            for instrument, holding in enumerate(self.holdings):
                late = holding.naked_since and self.now >= holding.naked_since + self.limits["stop_confirm_ns"]
                if holding.lots and late:
                    self.flatten(instrument)
                    self.deadlines.append(self.now + self.limits["stop_confirm_ns"])
                if holding.retry or holding.naked_since:
                    self.protect(instrument)
                self.work_slices(instrument)

    def note_second(self, index: int, fresh: int, time_ns: int) -> None:
        """The mids of a second, one instrument after the other."""
        self.second[index] = self.holdings[index].bid + self.holdings[index].ask if fresh else None
        if index == len(self.holdings) - 1:
            before, self.sampled = self.sampled, time_ns // SECOND_NS
            self.moves.note(self.second, max(1, self.sampled - before) if before else 1)

    def ask_about_silent_orders(self) -> None:
        """What the venue does not answer makes an order unknown: it is asked again and again; nothing else ends it."""
        self.unknown = sum("unknown" in order.over for order in self.orders.values())
        for order in self.in_rows():
            silent = not order.slices and order.owed_a_word and self.now - order.sent_ns >= SILENCE_NS
            if silent and self.wires.requests.room and self.room:
                question = self.question(order)
                if "unknown" not in order.over:  # what an answer does to it depends on that, in the next life too
                    self.write("request", self.now, order.instrument, 0, question)
                order.handle("ambiguous")
                order.sent_ns = self.now
                self.alarms += 1
                self.request(question)

    def in_rows(self) -> list[Order]:
        """The orders by their rows."""
        return [self.orders[row] for row in sorted(self.orders)]

    # --- intents -----------------------------------------------------------------------------------------------------
    def on_intent(self, shard: int, intent: Message) -> None:
        """Nothing a shard writes is believed: its ring tells who it is, the feed how late it can be."""
        intent = {**intent, "shard": shard}
        of_the_future = intent["ts_ns"] > self.wires.feed
        if not of_the_future:
            self.now = max(self.now, intent["ts_ns"])
            self.reach(intent["ts_ns"])
        self.stats["intents"] += 1
        if self.wires.kill and not self.killed and self.state == ACTIVE:
            self.halt()
        if intent["action"] == CANCEL:
            for order in self.in_rows():
                if order.id == (intent["id_hi"], intent["id_lo"]) and order.shard == shard and order.of_a_shard:
                    self.take_back(order)
                    break
            return
        intent["ts_ns"] = self.now
        code = BAD_ORDER if of_the_future else self.refusal(intent)
        if code == REPEAT:
            self.end_repeating(intent)
        if code:
            self.deny(intent, code)
            return
        holding = self.holdings[intent["instrument"]]
        if reducing(intent):
            self.clear_way(intent)
        holding.last_event_no = intent["event_no"]
        if intent["slices"]:
            intent = {**intent, "order_row": self.free.pop()}
            self.note_accepted(intent)
            self.take_in(intent)
            self.deadlines.append(self.now)
            self.write("sliced", self.now, intent["instrument"], 0, intent)
        else:
            self.place(intent)

    # --- entries in slices -------------------------------------------------------------------------------------------
    def take_in(self, intent: Message) -> None:
        """It keeps a row and never goes out."""
        order = self.orders[intent["order_row"]] = Order(intent["order_row"], intent)
        self.holdings[order.instrument].in_slices = order

    def whose(self, order: Order) -> Order:
        """What a fill of it fills."""
        entry = self.holdings[order.instrument].in_slices
        return entry if order.leg == SLICE and entry else order

    def work_slices(self, instrument: int) -> None:
        """The next one, if it is due and may go out; an entry that may not go on ends."""
        entry = self.holdings[instrument].in_slices
        if entry is None:
            return
        if "cancel" in entry.over:
            if not self.take_back(entry):
                self.deadlines.append(self.now + SECOND_NS // 10)
            return
        if entry.slice:
            return
        if self.now < entry.due_ns:
            self.deadlines.append(entry.due_ns)
            return
        part = self.next_slice(entry)
        code = self.slice_refusal(entry, part)
        if not code:
            holding = self.holdings[instrument]
            holding.own_orders += 1
            high, low = self.client_id(instrument, holding.own_orders, SLICE)
            part |= {"id_hi": high, "id_lo": low, "leg": SLICE, "event_no": holding.own_orders}
            self.note_slice(entry, self.place(part), self.now)
        elif code in (MESSAGE_RATE, NO_QUOTE, VENUE_BUSY):
            self.deadlines.append(self.now + SECOND_NS // 10)
        else:
            self.wires.rejects[code] += 1
            if not self.take_back(entry):
                self.deadlines.append(self.now + SECOND_NS // 10)

    def next_slice(self, entry: Order) -> Message:
        """An even share of what is left, at the touch or at the entry's price."""
        holding, price = self.holdings[entry.instrument], entry.intent["price_ticks"]
        if entry.slice_ns and holding.bid > 0:
            price = min(price, holding.ask) if entry.side > 0 else max(price, holding.bid)
        lots = ceil(Fraction(entry.leaves, max(1, entry.slices - entry.sliced)))
        lots = min(lots, ceil(Fraction(entry.qty, entry.slices)))
        same = ("stop_ticks", "instrument", "shard", "side", "flags")
        part = blank(INTENT_FIELDS, **{name: entry.intent[name] for name in same})
        return part | {
            "ts_ns": self.now, "price_ticks": price, "qty_lots": lots, "strategy": self.session["strategy"],
            "action": PLACE, "type": LIMIT, "tif": IOC if entry.slice_ns else GTC, "leg": ENTRY,
        }  # fmt: skip

    def slice_refusal(self, entry: Order, part: Message) -> int:
        """The check of an entry, as if the slice were no part of it yet, without what the entry has paid already."""
        if self.wires.leaving:
            return GATE_SHUT
        index, own = entry.instrument, entry.intent
        exposures = self.exposures()
        name = "buys" if entry.side > 0 else "sells"
        exposed = [(row["lots"] > 0 or row["buys"] > 0, row["lots"] < 0 or row["sells"] > 0) for row in exposures]
        view = self.view(index, own["side"]) | {
            "correlation_bps": self.moves.worst_bps(exposed, index, own["side"]),
            "last_open_ns": 0, "bucket_ns": 0, "run": 0, "shard_bucket_ns": 0, "order_bucket_ns": 0,
        }  # fmt: skip
        view["open_orders"] -= 1
        view["pending_buy_lots" if entry.side > 0 else "pending_sell_lots"] -= part["qty_lots"]
        exposures[index][name] -= part["qty_lots"]
        code = check(part, view, self.instruments[index], self.limits)
        if not code:
            order = index, part["side"], part["qty_lots"]
            worst = could_lose(self.moves.window, exposures, *order, self.limits)
            code = tail_check(worst, view["equity_e8"], self.limits)
        if code:
            return code
        if self.room < PROTECTIVE_RECORDS:
            return JOURNAL_FULL
        all_ends = 2 * len(self.holdings)
        return VENUE_BUSY if len(self.free) <= all_ends or self.wires.requests.room <= all_ends else 0

    def note_slice(self, entry: Order, part: Order, at_ns: int) -> None:
        """It is out."""
        entry.slice, entry.sliced, entry.due_ns = part, entry.sliced + 1, at_ns + entry.slice_ns
        if self.trips:
            self.probe_until = at_ns + self.limits["breaker_open_ns"]

    def take_back(self, order: Order) -> bool:
        """No more slices, and the end with the one that is out; any other order is cancelled."""
        if not order.slices:
            return self.change(order, CANCEL)
        if "cancel" not in order.over:
            if self.room < 1:
                return False
            same = ("id_hi", "id_lo", "instrument", "shard", "side", "type", "flags", "leg", "order_row")
            request = blank(INTENT_FIELDS, **{name: order.intent[name] for name in same})
            self.write("request", self.now, order.instrument, 0, request | {"ts_ns": self.now, "action": CANCEL})
            order.over.add("cancel")
        if order.slice:
            return self.change(order.slice, CANCEL)
        self.end_sliced(order, CANCELED, 0)
        return True

    def end_sliced(self, entry: Order, kind: int, code: int) -> None:
        """Its shard hears of it from here."""
        same = ("id_hi", "id_lo", "instrument", "shard", "side", "leg")
        report = blank(REPORT_FIELDS, **{name: entry.intent[name] for name in same})
        report |= {"kind": kind, "code": code, "cum_lots": entry.cum, "leaves_lots": entry.leaves}
        self.report(entry.shard, report)
        self.end(entry)

    def slice_over(self, entry: Order, status: str, code: int) -> None:
        """What the end of a slice means for its entry."""
        if not entry.leaves:
            self.end(entry)
        elif status == "rejected" and not entry.cum:
            self.end_sliced(entry, REJECT, code)
        elif status == "rejected" or "cancel" in entry.over:
            self.end_sliced(entry, CANCELED, code)
        elif not entry.slice_ns and status in ("canceled", "expired"):
            self.end_sliced(entry, CANCELED, code)
        elif entry.slice_ns and entry.sliced >= entry.slices:
            self.end_sliced(entry, EXPIRED, 0)

    def client_id(self, instrument: int, number: int, leg: int) -> tuple[int, int]:
        """The id follows from what caused the order: account, strategy, instrument, feed; number, leg."""
        session = self.session
        whose = session["account"] << 16 | session["strategy"]
        return whose << 32 | instrument << 16 | session["feed_generation"], number << 32 | leg << 24

    def refusal(self, intent: Message) -> int:
        """Why an intent may not go out, 0 if it may."""
        index = intent["instrument"]
        if index >= len(self.instruments) or self.instruments[index]["shard"] != intent["shard"]:
            return UNKNOWN_INSTRUMENT
        if intent["action"] != PLACE or intent["leg"] not in (ENTRY, EXIT):
            return BAD_ORDER
        if (intent["id_hi"], intent["id_lo"]) != self.client_id(index, intent["event_no"], intent["leg"]):
            return BAD_ORDER
        if intent["event_no"] <= self.holdings[index].last_event_no:
            return DUPLICATE
        if self.state != ACTIVE and not self.killed:
            return GATE_SHUT
        if self.wires.leaving and not reducing(intent):
            return GATE_SHUT
        may_be = [(row["lots"] > 0 or row["buys"] > 0, row["lots"] < 0 or row["sells"] > 0) for row in self.exposures()]
        view = self.view(index, intent["side"])
        view["correlation_bps"] = self.moves.worst_bps(may_be, index, intent["side"])
        reserve = 2 * len(exposed_of(self.exposures(), index))
        for refused, code in (
            (True, check(intent, view, self.instruments[index], self.limits)),
            (True, self.tail_refusal(intent, view)),
            (intent["slices"] and self.holdings[index].in_slices, OPEN_ORDERS),
            (self.room < PROTECTIVE_RECORDS, JOURNAL_FULL),
            (len(self.free) <= reserve, TABLE_FULL),
            (self.wires.requests.room <= reserve, VENUE_BUSY),
        ):
            if refused and code:
                return code
        return 0

    def tail_refusal(self, intent: Message, view: Message) -> int:
        """Whether all that is held and pending could lose too much with an order that is sound otherwise."""
        if reducing(intent) or check(intent, view, self.instruments[intent["instrument"]], self.limits):
            return 0
        order = intent["instrument"], intent["side"], intent["qty_lots"]
        return tail_check(
            could_lose(self.moves.window, self.exposures(), *order, self.limits), view["equity_e8"], self.limits
        )

    def end_repeating(self, intent: Message) -> None:
        """One too many in a row: killed, and what was to be left is left at the market."""
        if not self.killed:
            self.wires.kill = 2
            self.alarms += 1
            self.halt()
        if reducing(intent):
            self.flatten(intent["instrument"])

    def end_losing(self) -> None:
        """So much is lost that the day is over, or the kill switch due: by the high-water mark, then by the day."""
        lost = loss(self.day_start, self.equity, self.limits["daily_loss_bps"], self.limits["capital_e8"])
        if lost and not self.day_shut:
            self.day_shut_until, self.next_grid = (self.day + 1) * DAY_NS + self.limits["day_offset_ns"], 0
            if self.room >= EVENT_RECORDS:
                self.write("day_shut", self.now, -1, 0, blank(REPORT_FIELDS, cash_e8=self.day_shut_until))
        for mark, name, word in ((self.high_water, "drawdown", 3), (self.day_start, "daily_loss", 4)):
            killed = self.killed or self.wires.kill
            if not killed and loss(mark, self.equity, self.limits[f"kill_{name}_bps"], self.limits["capital_e8"]):
                self.wires.kill = word
                self.alarms += 1
                if self.state != RECOVERING:
                    self.halt()

    def token(self, bucket: int, at: int, name: str) -> int:
        """A bucket after one more."""
        return max(bucket, at) + self.limits[f"{name}_refill_ns"]

    def note_accepted(self, intent: Message) -> None:
        """The row of one side goes on or begins anew; an order that opens risk starts the pause and takes tokens."""
        holding, at, shard = self.holdings[intent["instrument"]], intent["ts_ns"], intent["shard"]
        if intent["side"] != holding.run_side or at - max(holding.run, default=0) >= self.limits["repeat_pause_ns"]:
            holding.run, holding.run_side = [], intent["side"]
        holding.run.append(at)
        if not reducing(intent):
            holding.last_open_ns = at
            holding.bucket_ns = self.token(holding.bucket_ns, at, "bucket")
            self.shard_bucket[shard] = self.token(self.shard_bucket[shard], at, "shard")
            self.order_bucket = self.token(self.order_bucket, at, "order")
            if self.trips and not intent["slices"]:
                self.probe_until = at + self.limits["breaker_open_ns"]

    def note_message(self) -> None:
        """Something goes to the venue."""
        self.message_bucket = self.token(self.message_bucket, self.now, "message")

    def note_record_of_denial(self, shard: int) -> None:
        """It had a token."""
        self.denied_bucket[shard] = max(self.denied_bucket[shard], self.now) + DENIED_EVERY_NS

    def deny(self, intent: Message, code: int) -> None:
        """Refuse an intent, and say so; who is refused too often for the journal is counted in his next record."""
        self.wires.rejects[code] += 1
        shard = intent["shard"]
        has_token = self.denied_bucket[shard] - self.now <= (DENIED_AT_ONCE - 1) * DENIED_EVERY_NS
        if self.room > PLENTY_RECORDS and has_token:
            self.write("denied", self.now, self.known(intent), code, {**intent, "aux": self.untold[shard]})
            self.note_record_of_denial(shard)
            self.untold[shard] = 0
        else:
            self.untold[shard] += 1
        same = ("id_hi", "id_lo", "instrument", "shard", "side", "leg", "qty_lots")
        self.report(
            intent["shard"],
            blank(REPORT_FIELDS, **{name: intent[name] for name in same})
            | {"kind": DENIED, "code": code, "leaves_lots": intent["qty_lots"]},
        )

    # --- out to the venue --------------------------------------------------------------------------------------------
    def place(self, intent: Message) -> Order:
        """A new order: row, journal, wire, in this order. The caller has made sure of room."""
        row = self.free.pop()
        intent = {**intent, "order_row": row}
        if intent["leg"] <= EXIT:
            self.note_accepted(intent)
        order = self.orders[row] = Order(row, intent)
        self.write("intent", self.now, order.instrument, 0, intent)
        order.handle("send")
        order.sent_ns = self.now
        self.request(intent)
        self.stats["orders"] += 1
        return order

    def request(self, request: Message) -> None:
        """Onto the ring, to arrive after the latency."""
        self.wires.requests.append({**request, "ts_ns": self.now + self.session["order_latency_ns"]})
        self.note_message()

    def place_own(self, instrument: int, leg: int, kind: int, ticks: int) -> Order | None:
        """A reduce-only order for the whole position; None without room."""
        if self.room < 1 or not self.wires.requests.room or not self.free:
            return None
        holding, session = self.holdings[instrument], self.session
        holding.own_orders += 1
        high, low = self.client_id(instrument, holding.own_orders, leg)
        return self.place(
            blank(
                INTENT_FIELDS,
                ts_ns=self.now,
                id_hi=high,
                id_lo=low,
                qty_lots=abs(holding.lots),
                stop_ticks=ticks if kind == STOP_MARKET else 0,
                price_ticks=ticks if kind == LIMIT else 0,
                instrument=instrument,
                strategy=session["strategy"],
                shard=self.instruments[instrument]["shard"],
                action=PLACE,
                side=-1 if holding.lots > 0 else 1,
                type=kind,
                tif=IOC if kind == MARKET else GTC,
                flags=REDUCE_ONLY,
                leg=leg,
                event_no=holding.own_orders,
            )
        )

    def change(self, order: Order, action: int, qty: int = 0, stop: int = 0) -> bool:
        """Cancel or amend; False if there is no room or the order's state forbids it."""
        if self.room < 1 or not self.wires.requests.room:
            return False
        if "cancel" in order.over:
            return True
        if not order.handle("cancel_request" if action == CANCEL else "replace_request"):
            return False
        order.asked, order.asked_stop, order.sent_ns = qty, stop, self.now
        same = ("id_hi", "id_lo", "instrument", "shard", "side", "type", "flags", "leg", "order_row")
        request = blank(INTENT_FIELDS, **{name: order.intent[name] for name in same})
        request |= {"ts_ns": self.now, "action": action, "qty_lots": qty, "stop_ticks": stop}
        self.write("request", self.now, order.instrument, 0, request)
        self.request(request)
        return True

    def question(self, order: Order) -> Message:
        """What became of that client id? The only thing that is ever done about an unknown order."""
        same = ("id_hi", "id_lo", "instrument", "shard", "order_row")
        asked = blank(INTENT_FIELDS, **{name: order.intent[name] for name in same})
        return asked | {"ts_ns": self.now, "action": QUERY_ORDER}

    def halt(self) -> None:
        """Killed: no way in, every order of the shards and every take-profit cancelled, stops stay."""
        self.killed, self.state = True, HALTED
        for order in self.in_rows():
            if (order.of_a_shard or order.leg == PROFIT) and order.status in OPEN:
                self.take_back(order)

    def clear_way(self, leave: Message) -> None:
        """Own entries on the other side are cancelled before an exit that could meet them."""
        for order in self.in_rows():
            entry = order.instrument == leave["instrument"] and order.leg == ENTRY and order.intent["type"] == LIMIT
            rests = order.intent["flags"] & 2 or order.base == "working" or order.slices
            entry = entry and rests and order.side == -leave["side"]
            if entry and order.status in OPEN and self.wires.requests.room >= 2:
                beyond = leave["side"] * (leave["price_ticks"] - order.intent["price_ticks"]) >= 0
                if beyond or leave["type"] == MARKET:
                    self.take_back(order)

    def withdraw(self, instrument: int) -> None:
        """Nothing of ours opens a position in a book that is not whole: resting entries are cancelled."""
        for order in self.in_rows():
            if order.instrument == instrument and order.leg == ENTRY and order.status in OPEN:
                if order.intent["flags"] & 2 or order.base == "working" or order.slices:
                    self.take_back(order)

    # --- protection --------------------------------------------------------------------------------------------------
    def protect(self, instrument: int) -> None:
        """Ask for what is missing between position and stop, unless it is under way."""
        holding = self.holdings[instrument]
        done = True
        if self.is_covered(holding):
            if holding.naked_since:
                self.stats["naked_ns_max"] = max(self.stats["naked_ns_max"], self.now - holding.naked_since)
            holding.naked_since = 0
        elif not holding.naked_since:
            holding.naked_since = self.now
        stop = holding.stop
        if not holding.lots:
            if stop:
                done = self.change(stop, CANCEL)
        elif stop is None and holding.is_dust:
            pass  # nobody takes an order for it
        elif stop is None and self.now < holding.wait_until:
            done = False
        elif stop is None and holding.stop_ticks <= 0:
            self.flatten(instrument)
            done = holding.close is not None
        elif stop is None:
            holding.stop = self.place_own(instrument, STOP, STOP_MARKET, holding.stop_ticks)
            done = holding.stop is not None
            self.stats["stops_placed"] += done
        elif stop.status in ("new", "partially_filled"):
            if stop.side * holding.lots > 0:
                done = self.change(stop, CANCEL)
            elif stop.qty - stop.cum != abs(holding.lots) or stop.stop != holding.stop_ticks:
                done = self.change(stop, AMEND, stop.cum + abs(holding.lots), holding.stop_ticks)
        done &= self.take_profit(instrument)
        holding.retry = int(not done)
        if holding.naked_since:
            self.deadlines.append(holding.naked_since + self.limits["stop_confirm_ns"])
        if holding.retry:
            self.deadlines.append(self.now + 1)

    def take_profit(self, instrument: int) -> bool:
        """The limit that closes all of a position with profit, beside a stop that stands; False if it found no room."""
        holding = self.holdings[instrument]
        order, held = holding.profit, abs(holding.lots)
        wanted = held and holding.profit_ticks > 0 and not self.killed and not self.instruments[instrument]["is_spot"]
        if order is None:
            if not wanted or holding.close or not self.is_covered(holding):
                return True
            all_ends = 2 * len(self.holdings)  # what stops and closes may ask for comes first
            if len(self.free) <= all_ends or self.wires.requests.room <= all_ends or self.room <= PROTECTIVE_RECORDS:
                return False
            holding.profit = self.place_own(instrument, PROFIT, LIMIT, holding.profit_ticks)
            return holding.profit is not None
        if order.status not in ("new", "partially_filled"):
            return True
        if not wanted or order.side * holding.lots > 0 or order.intent["price_ticks"] != holding.profit_ticks:
            return self.change(order, CANCEL)
        if order.leaves > held or (order.leaves < held and self.is_covered(holding)):
            return self.change(order, AMEND, order.cum + held)
        return True

    def watch_profit(self, instrument: int) -> None:
        """Of coins no limit rests: where it would be met they are sold."""
        holding = self.holdings[instrument]
        if holding.profit_ticks and self.instruments[instrument]["is_spot"] and not self.killed and holding.whole:
            if holding.lots > 0 and holding.bid >= holding.profit_ticks:
                self.flatten(instrument)

    def flatten(self, instrument: int) -> None:
        """Close at the market; once more if nothing has been said of the last close for the time of a stop, and thrice
        at most. Whoever finds nothing to reduce is asked less and less often; what closes the other side counts for
        nothing, and what is unknown has had its time.
        """
        holding = self.holdings[instrument]
        last = holding.close
        if last and last.side * holding.lots >= 0:
            waits = False
        else:
            in_time = last and "unknown" not in last.over and self.now < last.sent_ns + self.limits["stop_confirm_ns"]
            waits = last and (last.base == "working" or in_time)
        open_ones = [
            order
            for order in self.in_rows()
            if (order.instrument, order.leg) == (instrument, FLATTEN) and order.side * holding.lots < 0
        ]
        if holding.lots and not waits and len(open_ones) < 3 and self.now >= holding.wait_until:
            holding.close = self.place_own(instrument, FLATTEN, MARKET, 0) or last
            self.stats["flattens"] += holding.close is not last

    # --- events of the venue -----------------------------------------------------------------------------------------
    def known(self, message: Message) -> int:
        """Its instrument, -1 if there is no such one."""
        return message["instrument"] if message["instrument"] < len(self.instruments) else -1

    def on_event(self, event: Message) -> None:
        """Journal first, then apply, then protect. What was applied before a restart is not applied again."""
        self.now = max(self.now, event["ts_ns"])
        if 0 < event["event_seq"] <= self.last_seq:
            return
        self.write("event", event["ts_ns"], self.known(event), 0, event)
        touched, stop_refused = self.apply(event)
        if stop_refused:
            self.flatten(touched)  # the same stop again would be refused again
        elif touched >= 0 and self.state != RECOVERING:
            self.protect(touched)
            self.work_slices(touched)

    def apply(self, event: Message) -> tuple[int, bool]:
        """Orders and positions after an event: the instrument to look at (-1: none), was its stop refused?"""
        nothing = -1, False
        kind, index = event["kind"], self.known(event)
        self.last_seq = event["event_seq"] or self.last_seq
        if kind == QUERY_END:
            if event["id_hi"] == self.epoch:
                self.asking = False
            return nothing
        if index < 0:
            self.alarms += 1
            return nothing
        if kind == FUNDING:
            self.holdings[index].funding += event["cash_e8"]
            self.holdings[index].trip += event["cash_e8"] if self.holdings[index].lots else 0
            self.mark(index)
            return nothing
        order = self.find(event)
        if kind == FILL:
            return (index, False) if self.on_fill(order, event) else nothing
        if order is None:
            self.alarms += kind not in (NOT_FOUND, CANCEL_REJECT, ORDER)
            return nothing
        order.venue_id = event["venue_order_id"] or order.venue_id
        code = event["code"]
        happened = HAPPENED.get(kind, "")
        if kind == ACK:
            self.on_success(order)
        if kind == REJECT and code == DUPLICATE_ID:
            happened = "ambiguous"  # that id was used before: by whom, only a query tells
        elif kind == REPLACED:
            order.asked = event["qty_lots"]
            order.asked_stop = event["price_ticks"] if order.intent["type"] == STOP_MARKET else order.stop
        elif kind == ORDER:
            happened = ANSWERED.get(event["status"], "ack")
            if event["status"] == ACK:  # asked after every cancel and amend, so the answer holds them
                order.qty = event["qty_lots"]
                order.over -= {"cancel", "replace"}
        if happened == "ack" and order.leg == FLATTEN:
            self.holdings[index].nothing_found = []
            self.holdings[index].is_dust = False
        was_amended = "replace" in order.over
        legal = bool(happened) and order.handle(happened)
        self.alarms += not legal
        if legal and happened == "replaced":
            order.stop = order.asked_stop
        if kind == REJECT:
            order.code = code
            if 0 < code < N_CODES and not self.folding:
                self.wires.rejects[code] += 1
            if code not in (NOTHING_TO_REDUCE, WOULD_TRIGGER, POST_ONLY_TAKES, TOO_LARGE, TOO_SMALL):
                self.on_failure()
            if code in (NOTHING_TO_REDUCE, OUTSIDE_FILTERS) and order.leg == FLATTEN and self.holdings[index].lots:
                self.alarms += 1
                if event["ts_ns"] >= self.holdings[index].wait_until:
                    self.holdings[index].nothing_found.append(event["ts_ns"])
            if code == TOO_SMALL and order.leg == FLATTEN and self.holdings[index].lots:
                self.alarms += 1
                if 0 < -self.holdings[index].lots * order.side <= order.leaves:
                    self.holdings[index].is_dust = True
        self.stats["stops_triggered"] += kind == TRIGGERED
        if order.status in DEAD and order.leg == SLICE:
            entry = self.whose(order)
            self.end(order)
            self.slice_over(entry, order.status, code)
            return index, False
        if order.status in DEAD:
            self.tell(order, event, TOLD[order.status], NEVER_LANDED if order.status == "never_landed" else code)
            if order.status in ("rejected", "expired"):
                self.give_up(order)
            refused = order.leg == STOP and order.status == "rejected" and self.holdings[order.instrument].lots != 0
            self.end(order)
            return (order.instrument, True) if refused else (index, False)
        if kind == CANCEL_REJECT and was_amended:
            self.give_up(order)
        if order.of_a_shard:
            self.tell(order, event, ACK if kind == ORDER else kind, code)
        if kind == CANCEL_REJECT and code == WOULD_TRIGGER and order.leg == STOP and self.holdings[index].lots:
            return index, True  # the price is beyond where the stop was to go
        return index, False

    def give_up(self, order: Order) -> None:
        """A take-profit that the venue does not take: the position has its stop alone."""
        holding = self.holdings[order.instrument]
        if order.leg == PROFIT and order.side * holding.lots < 0:
            holding.profit_ticks = 0

    def find(self, event: Message) -> Order | None:
        """The order an event speaks of: by the row it echoes if the id fits, else by the id."""
        wanted = event["id_hi"], event["id_lo"]
        echoed = self.orders.get(event["order_row"])
        if echoed and echoed.id == wanted:
            return echoed
        return next((order for order in self.in_rows() if order.id == wanted), None)

    def on_fill(self, order: Order | None, event: Message) -> bool:
        """A fill is always applied, whatever the order's state; a trade that was told before is none."""
        index = event["instrument"]
        holding, side, lots = self.holdings[index], event["side"], event["qty_lots"]
        if event["trade_id"] <= holding.last_trade:
            return False
        was = holding.lots
        holding.last_trade = event["trade_id"]
        holding.nothing_found = []
        holding.is_dust = False
        realised = holding.fill(side, event["price_ticks"], lots)
        holding.fees += event["fee_e8"]
        result = realised * self.instruments[index]["value_e8"] - event["fee_e8"]
        holding.trip += result
        if was * side < 0:
            self.on_closed(order and self.whose(order), holding, result, event["ts_ns"], was * holding.lots <= 0)
        self.stats["fills"] += 1
        opens = holding.lots * side > 0
        doubted = None
        if order is None and lots:
            self.alarms += 1
            self.lost[self.instruments[index]["shard"]] = True  # it has missed a change of its position
            doubted = holding.in_slices
            if was == 0 or was * holding.lots < 0:  # opened or turned by nobody knows whom
                holding.stop_ticks = holding.trail_ticks = holding.even_ticks = holding.profit_ticks = 0
        elif order is not None:
            legal = order.handle("fill")
            self.alarms += not legal or lots > order.leaves  # more than was asked for
            order.cum += lots
            whole = self.whose(order)
            whole.cum += lots if whole is not order else 0
            if whole.leg == ENTRY and whole.stop > 0 and opens:
                holding.stop_ticks = whole.stop
                holding.trail_ticks, holding.even_ticks = whole.intent["trail_ticks"], whole.intent["even_ticks"]
                holding.profit_ticks = whole.intent["aux"]
        closed = min(lots, abs(was)) if was * side < 0 else 0
        if order is not None and reducing(order.intent):
            holding.doubt[side] = max(0, holding.doubt[side] - (lots - closed))
        elif closed:
            holding.doubt[side] = min(holding.doubt[side] + closed, self.could_reduce(index, side))
        if holding.lots and (abs(holding.lots) > abs(was) or holding.lots * was < 0) and not holding.naked_since:
            times = [event["ts_ns"] - self.session["report_latency_ns"]]
            if event["event_seq"] and event["t_venue_ns"] > 0:
                times.append(event["t_venue_ns"])
            holding.naked_since = min(times)
        self.mark(index)
        if order is not None:
            whole = self.whose(order)
            self.on_success(order)
            if lots:
                self.tell(whole, event, FILL, 0)
            if order.status == "filled":
                self.end(order)
                if whole is not order:
                    self.slice_over(whole, "filled", 0)
        elif doubted:
            doubted.over.add("cancel")
            if not doubted.slice:
                self.end_sliced(doubted, CANCELED, 0)
        return True

    def on_closed(self, order: Order | None, holding: Holding, result: int, at_ns: int, ended: bool) -> None:
        """Losses in a row: each order once, and a position that loses though none of its orders did."""
        losses = result < 0
        if order is not None:
            order.closed.append(result)
            losses = sum(order.closed) < 0 and not order.lost
            order.lost |= losses
        losses |= ended and holding.trip < 0 and not holding.trip_lost
        holding.trip_lost |= losses
        self.streak += losses
        if losses and self.streak >= self.limits["streak_losses"]:
            self.streak, self.streak_until = 0, at_ns + self.limits["streak_pause_ns"]
            self.next_grid = 0
        if ended:
            self.streak = 0 if holding.trip >= 0 else self.streak
            holding.trip, holding.trip_lost = 0, False

    def end(self, order: Order) -> None:
        """The order is over: its row is free, and it is nobody's stop or close any more."""
        for holding in self.holdings:
            holding.stop = None if holding.stop is order else holding.stop
            holding.close = None if holding.close is order else holding.close
            holding.profit = None if holding.profit is order else holding.profit
            if holding.in_slices and holding.in_slices.slice is order:
                holding.in_slices.slice = None
            holding.in_slices = None if holding.in_slices is order else holding.in_slices
        del self.orders[order.row]
        self.free.append(order.row)
        if reducing(order.intent):
            doubt = self.holdings[order.instrument].doubt
            doubt[order.side] = min(doubt[order.side], self.could_reduce(order.instrument, order.side))

    def on_success(self, order: Order) -> None:
        """A word of the venue for an entry closes what was half-open."""
        if order.leg in (ENTRY, SLICE) and self.trips and self.now >= self.breaker_until:
            self.trips, self.next_grid = 0, 0

    def on_failure(self) -> None:
        """Enough failures of the venue within a window, wherever it begins, and it is left alone for a while."""
        self.failed.append(self.now)
        lately = sum(self.now - at <= self.limits["breaker_window_ns"] for at in self.failed)
        half_open = self.trips > 0 and self.now >= self.breaker_until
        if half_open or lately >= self.limits["breaker_failures"]:
            self.trips = self.trips + 1 if half_open else max(self.trips, 1)
            self.breaker_until = self.now + self.limits["breaker_open_ns"] * 2 ** min(self.trips - 1, 5)
            self.failed = []
            self.next_grid = 0  # the shards hear of it at once

    # --- to journal and shards ---------------------------------------------------------------------------------------
    def write(self, kind: str, ts_ns: int, instrument: int, code: int, body: Message) -> None:
        """One record, with what execution knew at that moment."""
        record = Record(kind, ts_ns, instrument, code, body)
        record.account = self.equity, self.high_water, self.day_start
        if instrument >= 0:
            of = self.holdings[instrument]
            record.holding = of.lots, of.cost, of.realised, of.bid, of.ask, of.fees
        self.journal.append(record)

    def report(self, shard: int, report: Message) -> None:
        """To a shard; once its ring was full it gets nothing but the full picture."""
        if self.folding:
            return
        self.push(shard, {**report, "ts_ns": self.now + self.session["internal_latency_ns"]})

    def push(self, shard: int, report: Message) -> None:
        """With a time of its own."""
        ring = self.wires.reports[shard]
        if self.lost[shard] or not ring.room:
            self.lost[shard] = True
            return
        ring.append(report)

    def tell(self, order: Order, event: Message, kind: int, code: int) -> None:
        """What happened to an order, to its shard."""
        report = event | {name: order.intent[name] for name in ("id_hi", "id_lo", "instrument", "shard", "side", "leg")}
        self.report(
            order.shard, report | {"kind": kind, "code": code, "cum_lots": order.cum, "leaves_lots": order.leaves}
        )

    def send_totals(self, shard: int) -> None:
        """The account's figures."""
        totals = blank((*TOTALS_FIELDS, "instrument", "shard", "kind"), shard=shard, kind=TOTALS)
        totals |= {
            "equity_e8": self.equity,
            "high_water_e8": self.high_water,
            "day_start_e8": self.day_start,
            "open_orders": len(self.orders),
            "breaker": self.breaker_open,
            "streak": self.streak_pause,
            "day_shut": self.day_shut,
            "gate": int(self.state == ACTIVE),
        }
        self.report(shard, totals)

    def resync(self, shard: int) -> bool:
        """The full picture: positions, open orders, totals, end mark; all of it or nothing."""
        limits = self.limits | self.coming
        changed = [(word, name) for word, name in enumerate(limits) if limits[name] != self.begun[name]]
        if self.wires.reports[shard].room < len(self.instruments) + len(self.orders) + len(changed) + 4:
            return False
        self.lost[shard] = False
        for index, holding in enumerate(self.holdings):
            if self.instruments[index]["shard"] == shard:
                self.report(
                    shard,
                    blank(
                        REPORT_FIELDS,
                        kind=POSITION,
                        instrument=index,
                        shard=shard,
                        qty_lots=holding.lots,
                        cash_e8=holding.cost,
                    ),
                )
        for order in self.in_rows():
            if order.of_a_shard and order.shard == shard:
                same = ("id_hi", "id_lo", "instrument", "shard", "side", "leg", "price_ticks", "order_row")
                report = blank(REPORT_FIELDS, **{name: order.intent[name] for name in same})
                report |= {"kind": ORDER, "status": ACK, "qty_lots": order.qty, "cum_lots": order.cum}
                self.report(shard, report | {"leaves_lots": order.leaves})
        for word, name in changed:
            self.report(shard, blank(REPORT_FIELDS, kind=TIGHTER, shard=shard, code=word, cash_e8=limits[name]))
        self.send_totals(shard)
        self.report(shard, blank(REPORT_FIELDS, kind=QUERY_END, shard=shard))
        return True

    # --- start and recovery ------------------------------------------------------------------------------------------
    def fold(self) -> None:
        """What the journal alone tells: the same rules, and nothing goes out."""
        self.folding = True
        for number, record in enumerate(self.journal, 1):
            self.now = max(self.now, record.ts_ns)
            self.hold_limits(self.now)
            if record.instrument >= 0:
                holding = self.holdings[record.instrument]
                lots, _, _, bid, ask, _ = record.holding
                holding.bid, holding.ask = bid, ask
                if holding.lots:
                    marks = self.high_water, self.drawdown
                    self.mark(record.instrument)
                    self.high_water, self.drawdown = marks
                if record.kind != "event" and lots != holding.lots:
                    raise ContradictionError(number)
            getattr(self, f"fold_{record.kind}")(record)
            _, high_water, self.day_start = record.account
            self.high_water = max(self.high_water, high_water)
            self.day_begun = self.day_start != 0
        self.high_water = max(self.high_water, self.wires.gauges["high_water_e8"])
        self.folding = False

    def fold_start(self, record: Record) -> None:
        """A life of the process began: nobody knows what became of what was open."""
        self.note_start(record.body["generation"])
        for order in self.orders.values():
            if not order.slices:
                order.handle("ambiguous")

    def note_start(self, generation: int) -> None:
        """A start of the whole bot numbers what it hears from one again; a restart of this process alone does not."""
        if generation != self.generation:
            self.generation = generation
            for holding in self.holdings:
                holding.last_event_no = 0
            self.limits, self.coming, self.limits_from = dict(self.begun), {}, 0

    def fold_limit(self, record: Record) -> None:
        """A limit was tightened."""
        self.coming[list(self.limits)[record.code]] = record.body["cash_e8"]
        self.limits_from = record.body["ts_ns"]

    def fold_day(self, record: Record) -> None:
        """A day began."""
        self.day = record.body["cash_e8"]

    def fold_day_shut(self, record: Record) -> None:
        """Nothing was opened any more that day."""
        self.day_shut_until = record.body["cash_e8"]

    def fold_sample(self, record: Record) -> None:
        """A figure for the report, and a mid to learn from."""
        self.note_second(record.instrument, record.code, record.ts_ns)

    def fold_denied(self, record: Record) -> None:
        """An intent that went nowhere."""
        self.stats["intents"] += 1 + record.body["aux"]
        self.note_record_of_denial(record.body["shard"])

    def fold_intent(self, record: Record) -> None:
        """An order that may have gone out."""
        intent = record.body
        row = intent["order_row"]
        place = self.free.index(row)  # the top of the stack fills the hole
        self.free[place] = self.free[-1]
        self.free.pop()
        holding = self.holdings[record.instrument]
        if intent["leg"] <= EXIT:
            self.note_accepted(intent)
            holding.last_event_no = intent["event_no"]
            self.stats["intents"] += 1
        order = self.orders[row] = Order(row, intent)
        order.handle("send")
        self.note_message()
        self.stats["orders"] += 1
        if intent["leg"] > EXIT:
            holding.own_orders = intent["event_no"]
        if intent["leg"] == STOP:
            holding.stop = order
            holding.stop_ticks = order.stop
            self.stats["stops_placed"] += 1
        elif intent["leg"] == PROFIT:
            holding.profit = order
        elif intent["leg"] == SLICE:
            self.note_slice(holding.in_slices, order, record.ts_ns)
        elif intent["leg"] == FLATTEN:
            holding.close = order
            self.stats["flattens"] += 1

    def fold_sliced(self, record: Record) -> None:
        """An entry that goes out in slices."""
        place = self.free.index(record.body["order_row"])
        self.free[place] = self.free[-1]
        self.free.pop()
        self.note_accepted(record.body)
        self.holdings[record.instrument].last_event_no = record.body["event_no"]
        self.stats["intents"] += 1
        self.take_in(record.body)

    def fold_request(self, record: Record) -> None:
        """A cancel or amend that may have gone out."""
        order = self.orders.get(record.body["order_row"])
        if order and order.slices:
            order.over.add("cancel")
            if not order.slice:
                self.end_sliced(order, CANCELED, 0)
            return
        self.note_message()
        if order is None:
            return
        if record.body["action"] == CANCEL:
            order.handle("cancel_request")
        elif record.body["action"] == QUERY_ORDER:
            order.handle("ambiguous")
        elif order.handle("replace_request"):
            order.asked, order.asked_stop = record.body["qty_lots"], record.body["stop_ticks"]
            if order.leg == STOP:
                self.holdings[order.instrument].stop_ticks = order.asked_stop

    def fold_event(self, record: Record) -> None:
        """An event that was applied."""
        self.apply(record.body)
        for holding in self.holdings:
            if self.is_covered(holding):
                holding.naked_since = 0

    def start(self) -> bool:
        """Open for business, or ask about every open order and never send one again; False without room to ask."""
        live = [order for order in self.in_rows() if order.status in OPEN and not order.slices]
        if self.wires.requests.room < len(live) + 1 or self.room < 1:
            return False
        self.epoch = sum(record.kind == "start" for record in self.journal) + 1
        self.write("start", self.now, -1, 0, {"epoch": self.epoch, "generation": self.session["feed_generation"]})
        self.note_start(self.session["feed_generation"])
        self.deadlines = []
        if self.epoch == 1 and not self.session["asks_first"]:
            self.state = ACTIVE
            return True
        self.state, self.asking, self.unknown = RECOVERING, True, len(live)
        for order in live:
            order.handle("ambiguous")
            self.request(self.question(order))
        self.request(blank(INTENT_FIELDS, action=QUERY_TRADES, id_hi=self.epoch, aux=self.last_seq))
        return True

    def finish_recovery(self) -> None:
        """Every answer is in: open the gate, look at every position, give every shard the full picture."""
        self.state, self.unknown, self.next_grid = ACTIVE, 0, 0
        for instrument in range(len(self.holdings)):
            self.protect(instrument)
            self.work_slices(instrument)
        self.lost = [True] * len(self.lost)
