"""Execution against its twin: shards gone mad, a venue that is silent, late or wrong, and death at any moment.

After every item everything that both know and said is equal, and every scenario reaches the paths it is there for.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle

import pytest
from reference.engine.execution import ACTIVE, CANCEL, HALTED, ContradictionError, RefExecution
from rig.execution_pair import ExecutionPair
from rig.tables import MS, SECOND

from bot4.engine.execution_step import execution_step
from bot4.engine.journal import COMMIT_WORD, CRC_WORD, commit_word, record_crc
from bot4.jit import JIT
from bot4.model import enums as e
from bot4.model.errors import JournalError
from bot4.model.records import JOURNAL_WORDS

T0 = 1_700_000_000 * SECOND
DAY = 86_400 * SECOND
MID = 6_000_000
STEPS = 500
LEAST_SCRIPTS = 4 if JIT else 1
MOST_SCRIPTS = 60  # to reach what a scenario must reach
PROTECTIVE = (e.LEG_STOP, e.LEG_FLATTEN)
REFUSED = (
    e.VENUE_POST_ONLY, e.VENUE_REDUCE_ONLY, e.VENUE_UNKNOWN_ORDER, e.VENUE_DUPLICATE_ID, e.VENUE_DUPLICATE_ID,
    e.VENUE_FILTER, e.VENUE_BALANCE, e.VENUE_TOO_MANY_ORDERS, e.VENUE_NO_MARKET, e.VENUE_STOP_WOULD_TRIGGER,
    e.VENUE_BAD_REQUEST, e.VENUE_TOO_LARGE, e.VENUE_TOO_SMALL, 0, 65_535,
)  # fmt: skip
HOSTILE = {
    "instrument": (0, 1, 2, 3, 65_535),
    "shard": (0, 60_000),
    "action": (0, 3, 4, 5, 255),
    "side": (0, -128, 127),
    "type": (0, 1, 3, 255),
    "tif": (0, 9),
    "flags": (1, 2, 3, 4, 255),
    "leg": (1, 2, 3, 255),
    "qty_lots": (-1, 0, 1, 5, 9_000, 20_000_000, 2**41, 2**63 - 1, -(2**63)),
    "price_ticks": (-1, 0, 1, MID // 2, MID * 2, MID + 100_000, MID - 100_000, 2**40, 2**63 - 1),
    "stop_ticks": (-1, 0, 0, 1, MID * 2, 2**40, 2**63 - 1),
    "event_no": (0, 1, 2**32 - 1),
    "id_hi": (0, 2**64 - 1),
    "score": (float("nan"), float("inf")),
    "order_row": (0, 5, 2**31 - 1),
    "tsc": (-1, 2**63 - 1),
    "trail_ticks": (-1, 2**31 - 1),
    "even_ticks": (-1,),
    "slices": (1, 2, 255),
    "slice_ds": (1, 65_535),
    "aux": (-1, 1, MID, MID * 2, 2**40, 2**63 - 1),
    "ts_ns": (0, 3_600 * SECOND, -60 * SECOND),  # from now, but for 0
}


@dataclass
class Resting:
    """An order as the venue knows it."""

    request: dict
    qty: int
    cum: int = 0
    over: bool = False


@dataclass
class Scenario:
    """Tables of a pair, weights of what happens, and what must have happened at the end."""

    weights: dict[str, int]
    must: set = field(default_factory=set)
    pair: dict = field(default_factory=dict)
    kill_at: float = 1.0  # share of the steps after which somebody may set the kill word
    trouble: float = 0.1  # share of the venue's answers that are not what one hopes for
    jump_ticks: int = 3_000
    profits: float = 0.2  # share of the entries that name a take-profit
    slices: float = 0.1  # ... that are worked in slices
    funding_e8: int = 10**8


class Watched(RefExecution):
    """The twin, counting the ways that it takes."""

    def __init__(self, seen: Counter, *tables) -> None:
        self.seen = seen
        super().__init__(*tables)

    def change(self, order, action, qty=0, stop=0):
        """Done, no room, or already asked for."""
        room, asked = self.wires.requests.room > 0, "cancel" in order.over
        done = super().change(order, action, qty, stop)
        self.seen["change", "cancel" if action == CANCEL else "amend", room, asked, done] += 1
        return done

    def move_stop(self, instrument):
        """Up or down."""
        before = self.holdings[instrument].stop_ticks
        super().move_stop(instrument)
        moved = self.holdings[instrument].stop_ticks - before
        self.seen["stop moved", "up" if moved > 0 else "down" if moved < 0 else "not"] += 1

    def place_own(self, instrument, leg, kind, stop_ticks):
        """Done or no room."""
        order = super().place_own(instrument, leg, kind, stop_ticks)
        self.seen["place own", leg, order is not None] += 1
        return order

    def end_sliced(self, entry, kind, code):
        """How."""
        self.seen["sliced over", kind] += 1
        super().end_sliced(entry, kind, code)

    def slice_over(self, entry, status, code):
        """Filled whole or not."""
        self.seen["sliced entry filled"] += not entry.leaves
        super().slice_over(entry, status, code)

    def slice_refusal(self, entry, part):
        """Or none."""
        code = super().slice_refusal(entry, part)
        self.seen["slice refused", code] += 1
        return code

    def give_up(self, order):
        """By what the venue said."""
        before = self.holdings[order.instrument].profit_ticks
        super().give_up(order)
        if before and not self.holdings[order.instrument].profit_ticks:
            self.seen["take-profit given up", order.status] += 1

    def watch_profit(self, instrument):
        """Sold or not."""
        before = self.stats["flattens"]
        super().watch_profit(instrument)
        self.seen["coins sold with profit"] += self.stats["flattens"] > before

    def flatten(self, instrument):
        """For a stop that is late, or was refused; behind a close without a word in its time."""
        holding = self.holdings[instrument]
        late = 0 < holding.naked_since <= self.now - self.limits["stop_confirm_ns"]
        has_close, before = holding.close is not None, self.stats["flattens"]
        self.seen["flatten", "late" if late else "refused", has_close] += 1
        if holding.lots and self.now < holding.wait_until:
            self.seen["close waits for a venue that finds nothing"] += 1
        super().flatten(instrument)
        if has_close:
            self.seen["closed again", self.stats["flattens"] > before] += 1

    def end_repeating(self, intent):
        """The position is closed for who tries to leave it again and again."""
        before = self.stats["flattens"]
        super().end_repeating(intent)
        self.seen["flattened for who repeats himself"] += self.stats["flattens"] > before

    def end_losing(self):
        """By the high-water mark, or by the day."""
        before = self.killed
        super().end_losing()
        self.seen["killed", self.wires.kill] += self.killed and not before

    def clear_way(self, leave):
        """An entry of ours was in the way, or none."""
        before = len(self.wires.requests)
        super().clear_way(leave)
        self.seen["the way is cleared"] += len(self.wires.requests) > before

    def on_fill(self, order, event):
        """Of a known order or not, repeated or not, more than was asked for or not; what it does to the position."""
        holding = self.holdings[event["instrument"]]
        was = holding.lots
        over = order is not None and event["qty_lots"] > order.leaves
        beside = over and order.of_a_shard and self.pending(order.instrument, order.side) > order.leaves
        self.seen["doubted"] += order is None and holding.in_slices is not None
        done = super().on_fill(order, event)
        self.seen["overfill beside another order"] += done and beside
        if self.folding:
            self.seen["fill folded"] += 1
        elif not done:
            self.seen["fill", "repeated"] += 1
        else:
            turned = "turns" if was * holding.lots < 0 else "closes" if not holding.lots else "moves"
            self.seen["fill", turned, "unknown" if order is None else "over" if over else "known"] += 1
        return done

    def find(self, event):
        """By its row, by its id, or not at all."""
        order = super().find(event)
        self.seen["found", order is not None, order is not None and order.row == event["order_row"]] += 1
        return order

    def end(self, order):
        """How it ended, and where the news came from."""
        self.seen["ended", order.status, order.leg] += 1
        super().end(order)

    def resync(self, shard):
        """Answered, or no room."""
        done = super().resync(shard)
        self.seen["resync", done] += 1
        return done

    def may_take_event(self):
        """Or it waits."""
        free = super().may_take_event()
        self.seen["event waits"] += not free
        return free

    def start(self):
        """Or it waits."""
        done = super().start()
        self.seen["start", done] += 1
        return done

    def finish_recovery(self):
        """Every answer was in."""
        super().finish_recovery()
        self.seen["recovered"] += 1

    def reach(self, time_ns):
        """A new day."""
        day = self.day
        super().reach(time_ns)
        if not self.folding:
            self.seen["new day"] += day != self.day

    def on_time(self):
        """The grid: totals that find no room, samples that the journal has no room for."""
        grid = self.now >= self.next_grid
        if grid:
            self.seen["totals", any(ring.room < 256 for ring in self.wires.reports)] += 1
        super().on_time()


class Script:
    """A market, shards and a venue with dice, playing on the rings of a pair."""

    def __init__(self, folder, scenario: Scenario, seed: int) -> None:
        tables = {"n_instruments": 3, "n_shards": 2, "capacity": 17_504, "slots": (64, 512), "rows": 64}
        self.seen: Counter = Counter()
        life = partial(Watched, self.seen)
        self.pair = ExecutionPair(folder, **{**tables, **scenario.pair}, seen=self.seen, twin=life)
        self.scenario = scenario
        self.dice = random.Random(seed)
        self.profits = random.Random(seed)
        self.asleep = 0
        spoilt = [(name, value) for name, values in HOSTILE.items() for value in values]
        self.spoilt = cycle(self.dice.sample(spoilt, len(spoilt)))
        self.refused = cycle(REFUSED)
        self.now = T0 + self.dice.randrange(DAY)
        self.mids = [MID] * len(self.pair.instruments)
        self.seq = self.trade = self.number = 0
        self.book: dict[tuple[int, int], Resting] = {}
        self.answers: list[tuple] = []
        self.events: list[dict] = []  # as sent, to be sent again
        self.intents: list[tuple[int, dict]] = []
        self.dead = False
        for instrument in range(len(self.mids)):
            self.pair.tick(self.now, instrument, e.TICK_STATUS, e.STATUS_WHOLE)
            self.do_quote(instrument)

    def chance(self, share: float) -> bool:
        """True that often."""
        return self.dice.random() < share

    def run(self, steps: int) -> None:
        """Dice choose what happens; in between the agents work, one item at a time or a batch."""
        names, weights = zip(*self.scenario.weights.items(), strict=True)
        for step in range(steps):
            self.now += self.dice.choice((0, 0, 1, 1_000, MS // 10, MS, 20 * MS))
            killing = step >= steps * self.scenario.kill_at and not self.pair.wires.kill and self.chance(0.1)
            what = "kill" if killing else self.dice.choices(names, weights)[0]
            if self.pair.twin.state < ACTIVE and self.chance(0.6):
                what = self.dice.choice(("venue_reads", "answer", "answer", "choke" if "choke" in names else "answer"))
            getattr(self, f"do_{what}")()
            self.asleep = max(0, self.asleep - 1)
            self.look()
            self.promise()
            most = self.dice.choice((1, 1, 1, 1, 2, 1_024))
            for _ in range(self.dice.choice((0, 1, 1, 1, 2, 20))):
                done = self.pair.work(most)
                self.dead = done < 0
                self.look()
                if done <= 0:
                    break
            if self.dead:
                self.seen["end", "full"] += 1
                return

    def look(self) -> None:
        """Count the states that pass."""
        twin, seen = self.pair.twin, self.seen
        seen["state", twin.state] += 1
        for order in twin.orders.values():
            seen["status", order.status] += 1
            seen["status", order.status, order.leg] += 1
        for holding in twin.holdings:
            seen["retry"] += holding.retry
            seen["naked"] += holding.naked_since > 0
            seen["long"] += holding.lots > 0
            seen["short"] += holding.lots < 0
        seen["lost"] += any(twin.lost)
        seen["breaker"] += twin.breaker_open

    def promise(self) -> None:
        """Feed, venue and shards say how far they are; paced, somebody lags now and then."""
        if self.pair.session["paced"]:
            lags = [self.dice.choice((0, 0, 1, -1, -MS)) for _ in range(2 + self.pair.n_shards)]
            wires = self.pair.wires
            feed, venue, *shards = (
                max(old, self.now - lag)
                for old, lag in zip((wires.feed, wires.venue, *wires.shards), lags, strict=True)
            )
            self.pair.promise(feed, venue, shards)
        else:
            self.pair.promise(feed=max(self.pair.wires.feed, self.now))

    # --- market ---
    def do_quote(self, instrument=None) -> None:
        """The market moves."""
        index = self.dice.randrange(len(self.mids)) if instrument is None else instrument
        move = self.dice.randint(-self.scenario.jump_ticks, self.scenario.jump_ticks)
        self.mids[index] = max(MID // 2, self.mids[index] + move)
        bid = self.mids[index] - self.dice.randrange(3)
        if self.chance(0.01):
            bid = 0
        self.pair.quote(self.now, index, bid, self.mids[index] + 1 + self.dice.randrange(3))

    def do_status(self) -> None:
        """A book breaks, or is whole again."""
        status = self.dice.choice((e.STATUS_STALE, e.STATUS_WHOLE, e.STATUS_WHOLE, e.STATUS_WHOLE, e.STATUS_CLEAR))
        self.pair.tick(self.now, self.dice.randrange(len(self.mids)), e.TICK_STATUS, status)

    def do_trade(self) -> None:
        """A record that execution has no use for."""
        self.pair.tick(self.now, self.dice.randrange(len(self.mids)), e.TICK_MARK, 1, 2, 3, 4)

    def do_pause(self) -> None:
        """Nothing for a while, then a quote."""
        self.now += self.dice.choice((100 * MS, SECOND, SECOND, 2 * SECOND + 1, 3 * SECOND, 11 * SECOND, DAY // 2))
        self.do_quote()

    # --- shards ---
    def fresh(self, index: int) -> dict:
        """A sane intent for an instrument: an entry, or an exit of what is held."""
        self.number += 1
        side = self.dice.choice((1, -1))
        price = self.mids[index] + self.dice.choice((0, side, 2 * side, 2_000 * side))
        fields = {
            "ts_ns": self.now, "event_no": self.number,
            "instrument": index, "action": e.ACTION_PLACE, "side": side, "type": e.TYPE_LIMIT, "leg": e.LEG_ENTRY,
            "tif": self.dice.choice((e.TIF_IOC, e.TIF_GTC)), "price_ticks": price,
            "qty_lots": self.dice.randint(9, 1_500),
            "stop_ticks": self.mids[index] - side * self.dice.choice((5_000, 60_000)), "score": self.dice.random(),
            "strategy": 1, "order_row": -1, "tsc": 5,
            "trail_ticks": self.dice.choice((0, 0, 3_000)), "even_ticks": self.dice.choice((0, 0, 1, 2_000)),
        }  # fmt: skip
        if self.profits.random() < self.scenario.profits:
            fields["aux"] = price + side * self.profits.choice((1, 500, 3_000, 20_000))
        if self.profits.random() < self.scenario.slices:
            fields["slices"] = self.profits.choice((2, 3, 7))
            fields["slice_ds"] = self.profits.choice((1, 2, 9)) if fields["tif"] == e.TIF_IOC else 0
        held = self.pair.twin.holdings[index].lots
        if held and self.chance(0.3):
            fields.update(side=-1 if held > 0 else 1, leg=e.LEG_EXIT, flags=e.ORDER_REDUCE_ONLY, stop_ticks=0, aux=0)
            fields.update(slices=0, slice_ds=0)
            fields["qty_lots"] = self.dice.choice((abs(held), max(1, abs(held) // 3)))
            if self.chance(0.7):
                fields.update(type=e.TYPE_MARKET, price_ticks=0)
        elif held and self.chance(0.2):  # an entry that only takes back a part
            fields.update(side=-1 if held > 0 else 1, qty_lots=max(9, abs(held) // 2), aux=0)
        fields["id_hi"], fields["id_lo"] = self.pair.twin.client_id(index, self.number, fields["leg"])
        return fields

    def send(self, shard: int, fields: dict) -> None:
        """Onto the shard's ring, and into the memory of who repeats."""
        if self.pair.wires.intents[shard].room:
            self.pair.intent(shard, fields)
            self.intents = [*self.intents[-30:], (shard, fields)]

    def do_intent(self) -> None:
        """A sane one."""
        index = self.dice.randrange(len(self.mids))
        self.send(self.pair.instruments[index]["shard"], self.fresh(index))

    def do_hostile(self) -> None:
        """One or more fields hold what no sane shard writes."""
        index = self.dice.randrange(len(self.mids))
        fields = self.fresh(index)
        shard = self.pair.instruments[index]["shard"]
        for _ in range(self.dice.choice((1, 1, 1, 2, 4))):
            name, value = next(self.spoilt)
            fields[name] = value + self.now if name == "ts_ns" and value else value
        if self.intents and self.chance(0.2):  # an id that belongs to another order
            _, other = self.dice.choice(self.intents)
            fields["id_hi"], fields["id_lo"] = other["id_hi"], other["id_lo"]
        self.send(self.dice.choice((shard, shard, self.dice.randrange(self.pair.n_shards))), fields)

    def do_repeat(self) -> None:
        """The same intent again, as from a shard that died and decided anew."""
        if self.intents:
            self.send(*self.dice.choice(self.intents))

    def do_cancel(self) -> None:
        """Somebody takes back an order: his own, another's, execution's, or none."""
        live = list(self.pair.twin.orders.values())
        shard = self.dice.randrange(self.pair.n_shards)
        fields = {"ts_ns": self.now, "action": e.ACTION_CANCEL, "id_hi": 1, "id_lo": 2, "instrument": 40_000}
        if live:
            order = self.dice.choice(live)
            fields["id_hi"], fields["id_lo"] = order.id
            shard = order.shard if self.chance(0.7) else shard
        self.send(shard, fields)

    def do_shard_reads(self) -> None:
        """A shard reads some or all of its reports."""
        self.pair.read_reports(self.dice.randrange(self.pair.n_shards), self.dice.choice((1, 20, 10_000)))

    def do_resync(self) -> None:
        """A shard began anew."""
        self.pair.ask_resync(self.dice.randrange(self.pair.n_shards))

    def do_tighten(self) -> None:
        """Somebody wants some limits to be others: mostly a little tighter."""
        limits = self.pair.twin.limits
        names = self.dice.sample(sorted(limits), self.dice.choice((1, 1, 2, 5)))
        ways = (0.9, 0.9, 0.97, 1.0, 1.1, 1.1, 1.5, -1.0)
        self.pair.ask_limits({name: int(limits[name] * self.dice.choice(ways)) for name in names})
        self.seen["wish"] += 1

    def do_kill(self) -> None:
        """Somebody pulls the switch."""
        self.pair.kill()
        self.seen["kill"] += 1

    # --- venue ---
    def tell(self, kind: int, request: dict, numbered=True, **fields) -> None:
        """An event about an order."""
        if not self.pair.wires.events.room:
            return
        self.seq += (1 if self.chance(0.95) else self.dice.randint(2, 9)) if numbered else 0
        same = ("id_hi", "id_lo", "order_row", "instrument", "side")
        event = {name: request[name] for name in same} | {"ts_ns": self.now, "kind": kind, **fields}
        event["event_seq"] = self.seq if numbered else 0
        if self.chance(0.3):  # it was under way for longer than the least
            event["t_venue_ns"] = self.now - self.dice.randrange(30_000_000)
        self.events = [*self.events[-30:], event]
        self.pair.event(event)

    def do_venue_reads(self) -> None:
        """The venue takes requests from the ring and will answer some time."""
        if self.asleep:
            return
        for request in self.pair.read_requests(self.dice.choice((1, 2, 10_000))):
            key = request["id_hi"], request["id_lo"]
            if request["action"] == e.ACTION_PLACE:
                self.book.setdefault(key, Resting(request, request["qty_lots"]))
            if request["action"] != e.ACTION_CANCEL_ALL and not self.chance(self.scenario.trouble / 2):
                self.answers.append((request, key))

    def do_sleep(self) -> None:
        """The venue reads nothing for a while."""
        self.asleep = self.dice.randint(10, 60)

    def do_choke(self) -> None:
        """The ring to the venue is full but for a few slots, and time passes."""
        self.pair.fill_requests(self.dice.randrange(3))
        self.asleep = 8
        self.do_pause()

    def do_answer(self) -> None:
        """One of the answers that are due, mostly the oldest."""
        if not self.answers:
            return
        place = 0 if self.chance(0.8) else self.dice.randrange(len(self.answers))
        request, key = self.answers.pop(place)
        order = self.book.get(key)
        action = request["action"]
        if action == e.ACTION_QUERY_TRADES:
            for event in [event for event in self.events if event["kind"] == e.REPORT_FILL][-3:]:
                self.pair.event({**event, "event_seq": 0, "ts_ns": self.now})
            if "choke" in self.scenario.weights and self.chance(0.7):
                self.pair.fill_requests(2)  # recovery ends, and there is hardly room for what it finds missing
            self.tell(e.REPORT_QUERY_END, request, numbered=False)
        elif action == e.ACTION_QUERY_ORDER:
            if order is None or self.chance(self.scenario.trouble):
                self.tell(e.REPORT_NOT_FOUND, request, numbered=False)
            else:
                worked = e.REPORT_EXPIRED if order.over else e.REPORT_ACK
                others = (e.REPORT_FILL, e.REPORT_CANCELED, e.REPORT_EXPIRED, e.REPORT_REJECT, e.REPORT_ACK)
                status = self.dice.choice(others) if self.chance(self.scenario.trouble) else worked
                fields = {"qty_lots": order.qty, "cum_lots": order.cum, "price_ticks": request["price_ticks"]}
                self.tell(e.REPORT_ORDER, request, numbered=False, status=status, **fields)
        elif order is None:
            self.tell(e.REPORT_CANCEL_REJECT, request, code=e.VENUE_UNKNOWN_ORDER)
        elif action == e.ACTION_PLACE:
            self.answer_order(order)
        elif order.over or self.chance(self.scenario.trouble):
            self.tell(e.REPORT_CANCEL_REJECT, request, code=e.VENUE_UNKNOWN_ORDER)
        elif action == e.ACTION_CANCEL:
            order.over = True
            self.tell(e.REPORT_CANCELED, request)
        else:
            order.qty = max(1, request["qty_lots"])
            self.tell(e.REPORT_REPLACED, request, qty_lots=order.qty, price_ticks=request["stop_ticks"])

    def answer_order(self, order: Resting) -> None:
        """A new order is refused, or works, and some fill at once."""
        if self.chance(self.scenario.trouble):
            order.over = True
            self.tell(e.REPORT_REJECT, order.request, code=next(self.refused))
            return
        if self.chance(0.8):
            self.tell(e.REPORT_ACK, order.request, venue_order_id=self.dice.randrange(1, 2**40))
        if order.request["leg"] not in (e.LEG_STOP, e.LEG_PROFIT) and self.chance(0.7):
            self.fill(order)
        if order.request["tif"] == e.TIF_IOC and not order.over and self.chance(0.8):
            order.over = True
            self.tell(e.REPORT_EXPIRED, order.request)

    def fill(self, order: Resting) -> None:
        """A part, the rest, or more than was asked for."""
        left = order.qty - order.cum
        lots = self.dice.choice((left, left, left // 2, left // 3, 1))
        if self.chance(self.scenario.trouble / 4):
            lots = left + 7
        if lots <= 0:
            return
        self.trade += 1
        order.cum += lots
        order.over |= order.cum >= order.qty
        price = self.mids[order.request["instrument"] % len(self.mids)] + self.dice.randint(-500, 500)
        fields = {"qty_lots": lots, "price_ticks": price, "trade_id": self.trade, "cum_lots": order.cum}
        self.tell(e.REPORT_FILL, order.request, fee_e8=self.dice.randint(-(10**6), 10**7), **fields)
        if self.chance(0.1):  # a part of a lot of a coin
            self.trade += 1
            fields |= {"qty_lots": 0, "trade_id": self.trade}
            self.tell(e.REPORT_FILL, order.request, fee_e8=self.dice.randint(-(10**6), 10**7), **fields)

    def do_order_lives(self) -> None:
        """Something happens to an order of the venue's own accord."""
        live = [order for order in self.book.values() if not order.over]
        if not live:
            return
        order = self.dice.choice(live[-12:])
        way = self.dice.randrange(10)
        if way < 5:
            if order.request["leg"] == e.LEG_STOP:
                self.tell(e.REPORT_TRIGGERED, order.request)
            self.fill(order)
        elif way == 5:
            order.over = True
            self.tell(e.REPORT_CANCELED, order.request)
        elif way == 6:
            order.over = True
            self.tell(e.REPORT_EXPIRED, order.request)
        elif way == 7:  # a reduce-only order shrinks with its position
            order.qty = max(1, order.cum, self.dice.randint(order.cum, max(order.cum, order.qty)))
            order.over |= order.cum >= order.qty
            self.tell(
                e.REPORT_REPLACED, order.request, qty_lots=order.qty, price_ticks=order.request["stop_ticks"],
                code=e.VENUE_REDUCE_ONLY,
            )  # fmt: skip
        elif way == 8:
            self.tell(e.REPORT_ACK, order.request, venue_order_id=9)
        elif self.chance(0.5):
            order.over = True
            self.tell(e.REPORT_REJECT, order.request, code=next(self.refused))

    def do_noise(self) -> None:
        """Events that come again, come out of the blue, or speak of what nobody knows."""
        index = self.dice.randrange(len(self.mids))
        stranger = {"id_hi": 5, "id_lo": self.dice.randrange(9), "order_row": -1, "instrument": index, "side": 1}
        stranger |= {"side": self.dice.choice((1, -1)), "order_row": self.dice.choice((-1, 0, 3, 2**31 - 1))}
        way = self.dice.randrange(9)
        if not self.pair.wires.events.room:
            return
        if way == 0 and self.events:  # the very same event
            self.pair.event({**self.dice.choice(self.events), "ts_ns": self.now})
            self.seen["repeated"] += 1
        elif way == 1:  # a trade told twice, under another number
            trades = [event for event in self.events if event["kind"] == e.REPORT_FILL]
            if trades:
                self.seq += 1
                self.pair.event({**self.dice.choice(trades), "ts_ns": self.now, "event_seq": self.seq})
                self.seen["trade repeated"] += 1
        elif way == 2:
            self.trade += 1
            lots, price = self.dice.choice((0, self.dice.randint(1, 900))), self.mids[index]
            self.tell(e.REPORT_FILL, stranger, qty_lots=lots, price_ticks=price, trade_id=self.trade, fee_e8=3)
            self.seen["unknown fill"] += 1
        elif way == 3:
            kind = self.dice.choice((1, 2, 4, 5, 6, 7, 8, 9, 10, 12, 16, 0, 255))
            self.tell(kind, stranger)
            self.seen["unknown order", kind] += 1
        elif way == 4:
            stranger["instrument"] = self.dice.choice((3, 65_535))
            self.tell(self.dice.choice((1, 3, 13)), stranger, trade_id=1)
            self.seen["unknown instrument"] += 1
        elif way == 5:  # the venue lost its echo of our row
            live = [order for order in self.book.values() if not order.over]
            if live:
                self.tell(e.REPORT_ACK, {**self.dice.choice(live).request, "order_row": self.dice.choice((-1, 0, 63))})
        elif self.book:  # anything about an order that may be over for long
            order = self.dice.choice(list(self.book.values())[-12:])
            kind = self.dice.choice((1, 2, 4, 5, 6, 7, 8, 9, 10, 12, 16, 0))
            fields = {"qty_lots": order.qty} if kind in (7, 9) else {}
            fields |= {"code": self.dice.choice((0, 501)), "status": self.dice.choice((1, 2, 3, 4, 5))}
            self.tell(kind, order.request, **fields)
            if self.chance(0.3):
                order.over = False
                self.fill(order)

    def do_funding(self) -> None:
        """Paid or received."""
        index = self.dice.randrange(len(self.mids))
        request = {"id_hi": 0, "id_lo": 0, "order_row": -1, "instrument": index, "side": 0}
        most = self.scenario.funding_e8
        self.tell(e.REPORT_FUNDING, request, cash_e8=self.dice.randint(-most, most))

    def do_ruin(self) -> None:
        """All the money is gone, or back."""
        request = {"id_hi": 0, "id_lo": 0, "order_row": -1, "instrument": 0, "side": 0}
        sign = -1 if self.pair.twin.equity > 0 else 1
        self.tell(e.REPORT_FUNDING, request, cash_e8=sign * 110_000 * 10**8)

    # --- death ---
    def do_restart(self) -> None:
        """Killed between two items."""
        self.pair.restart()
        self.seen["restart"] += 1

    def do_crash(self) -> None:
        """Killed inside an item: some of its records and requests never came to be, its cause is read again."""
        pair = self.pair
        rings = [(pair.rig.wires.events, pair.wires.events), (pair.rig.wires.quotes, pair.wires.quotes)]
        rings += list(zip(pair.rig.wires.intents, pair.wires.intents, strict=True))
        before = [twin.taken for _, twin in rings], len(pair.journal), len(pair.wires.requests)
        self.dice.choice((self.do_answer, self.do_intent, self.do_order_lives, self.do_noise))()
        self.promise()
        done = pair.work(1)
        self.dead = done < 0
        if done <= 0 or pair.twin.state not in (ACTIVE, HALTED):
            return
        taken, records, requests = before
        written = pair.journal[records:]
        sending = [record.kind in ("intent", "request") for record in written]
        if sum(sending) != len(pair.wires.requests) - requests or pair.wires.requests.taken > requests:
            return  # a question is among them
        keep = self.dice.randint(0, len(written))
        sent = sum(sending[:keep])
        if keep and sending[keep - 1] and self.chance(0.5):
            sent -= 1  # journaled, not yet sent
        unread = [ring for ring, count in zip(rings, taken, strict=True) if ring[1].taken > count]
        pair.crash(len(written) - keep, sum(sending) - sent, unread)
        self.seen["crash"] += 1
        self.seen["crash", keep < len(written), sent < sum(sending)] += 1


USUAL = {
    "quote": 25, "status": 2, "trade": 2, "pause": 3, "intent": 25, "hostile": 10, "repeat": 2, "cancel": 5,
    "shard_reads": 8, "resync": 1, "venue_reads": 20, "answer": 40, "order_lives": 10, "noise": 6, "funding": 2,
    "restart": 0, "crash": 0,
}  # fmt: skip

EVERYWHERE = {
    *(("event", kind) for kind in (*range(e.REPORT_ACK, e.REPORT_QUERY_END), e.REPORT_FUNDING)),
    *(("status", status) for status in ("pending_new", "unknown", "new", "partially_filled", "pending_cancel")),
    *(("record", kind) for kind in ("start", "intent", "event", "request")),
    *(("request", e.ACTION_PLACE, leg) for leg in PROTECTIVE),
    *("long", "short", "naked", "repeated", "new day"),
    ("status", "pending_replace"),
    ("found", False, False),
    ("fill", "moves", "known"),
    ("fill", "repeated"),
    ("flatten", "late", False),
    *(("closed again", done) for done in (True, False)),
}
USUALLY = EVERYWHERE | {
    *(("request", e.ACTION_PLACE, leg) for leg in (e.LEG_ENTRY, e.LEG_EXIT)),
    *(("request", e.ACTION_CANCEL, leg) for leg in (e.LEG_ENTRY, e.LEG_EXIT, e.LEG_STOP)),
    *(("ended", how, leg) for how in ("filled", "canceled", "expired") for leg in (e.LEG_ENTRY, e.LEG_EXIT)),
    ("request", e.ACTION_AMEND, e.LEG_STOP),
    ("request", e.ACTION_QUERY_ORDER, 0),
    ("change", "cancel", True, True, True),
    ("fill", "turns", "known"),
    ("fill", "moves", "unknown"),
    ("found", True, False),
    ("resync", True),
    "unknown instrument",
}
WITH_DENIALS = USUALLY | {("record", "denied"), ("record", "sample")}
KILLED = {"kill", ("state", HALTED), ("reject", e.RISK_KILLED)}


def codes(*wanted: int) -> set:
    """Refusals that must have happened."""
    return {("reject", code) for code in wanted}


SCENARIOS = {
    "free": Scenario(
        USUAL,
        WITH_DENIALS | KILLED | codes(e.DATA_STALE) | {("stop moved", way) for way in ("up", "down", "not")},
        kill_at=0.8,
    ),
    "paced": Scenario(USUAL, WITH_DENIALS | KILLED, pair={"session_changes": {"paced": 1}}, kill_at=0.8),
    "tightened": Scenario(
        {**USUAL, "tighten": 3, "restart": 2, "crash": 2},
        WITH_DENIALS | codes(e.RISK_POSITION) | {("record", "limit"), ("report", e.REPORT_LIMIT), "restart", "wish"},
        pair={"limit_changes": {"open_orders": 50, "order_lots": 2_000}},
    ),
    "tightened and paced": Scenario(
        {**USUAL, "tighten": 3, "restart": 1},
        WITH_DENIALS | {("record", "limit"), ("report", e.REPORT_LIMIT), "restart", "wish"},
        pair={"session_changes": {"paced": 1}, "limit_changes": {"open_orders": 50}},
    ),
    "mad": Scenario(
        {**USUAL, "hostile": 100, "repeat": 10},
        WITH_DENIALS
        | codes(
            e.RISK_POSITION, e.RISK_NOTIONAL, e.RISK_ORDER_SIZE, e.RISK_COLLAR, e.RISK_STOP_MISSING, e.RISK_STOP_SIDE,
            e.RISK_BAD_ORDER, e.RISK_MIN_NOTIONAL, e.RISK_REDUCE_ONLY, e.EXEC_DUPLICATE, e.EXEC_UNKNOWN_INSTRUMENT,
        )
        | {"overfill beside another order"},
        pair={"limit_changes": {"open_orders": 8}},
        trouble=0.2,
    ),
    "narrow": Scenario(
        {**USUAL, "venue_reads": 12, "shard_reads": 2, "sleep": 1, "choke": 2, "restart": 4, "pause": 6, "noise": 4},
        EVERYWHERE
        | codes(e.EXEC_VENUE_BUSY, e.EXEC_NO_QUOTE)
        | {"lost", "event waits", "retry", "recovered", ("resync", False), ("start", False), ("totals", True)}
        | {("place own", leg, False) for leg in PROTECTIVE},
        pair={"slots": (8, 32), "rows": 16, "limit_changes": {"open_orders": 12}},
        trouble=0.2,
    ),
    "tiny": Scenario(
        {**USUAL, "noise": 40, "venue_reads": 20, "choke": 3, "restart": 2, "pause": 3},
        EVERYWHERE | codes(e.EXEC_TABLE_FULL) | {"lost", "event waits", ("start", False), ("totals", True)},
        pair={"slots": (8, 16), "rows": 8},
        trouble=0.4,
    ),
    "death": Scenario(
        {**USUAL, "restart": 2, "crash": 8},
        EVERYWHERE
        | {"restart", "recovered", "fill folded", ("request", e.ACTION_QUERY_TRADES, 0), ("told", e.EXEC_NEVER_LANDED)}
        | {("crash", records, requests) for records, requests in ((False, False), (True, False), (True, True))}
        | {("ended", "never_landed", leg) for leg in (e.LEG_ENTRY, e.LEG_EXIT, e.LEG_STOP)},
        trouble=0.2,
    ),
    "losses": Scenario(
        {**USUAL, "funding": 6},
        WITH_DENIALS | codes(e.RISK_DRAWDOWN, e.RISK_DAILY_LOSS, e.RISK_COOL_DOWN, e.RISK_RATE),
        pair={"limit_changes": {"drawdown_bps": 12, "daily_loss_bps": 5, "cool_down_ns": 5 * MS, "bucket_tokens": 2,
                                "bucket_refill_ns": 500 * MS, "open_orders": 8}},
        jump_ticks=30_000,
        funding_e8=40 * 10**8,
        trouble=0.05,
    ),
    "lost": Scenario(
        {**USUAL, "funding": 6, "restart": 1},
        {("record", "intent"), ("state", HALTED), ("killed", 3), ("killed", 4)} | codes(e.RISK_KILLED),
        pair={"limit_changes": {"kill_drawdown_bps": 14, "kill_daily_loss_bps": 12, "open_orders": 8}},
        jump_ticks=30_000,
        funding_e8=40 * 10**8,
        trouble=0.05,
    ),
    "together": Scenario(
        {**USUAL, "restart": 1},
        WITH_DENIALS | codes(e.RISK_GROSS, e.RISK_STRATEGY, e.RISK_NET, e.RISK_VENUE, e.RISK_STREAK),
        pair={"limit_changes": {"gross_bps": 260, "strategy_bps": 230, "net_bps": 200, "venue_bps": 150,
                                "streak_losses": 2, "streak_pause_ns": 100 * MS, "open_orders": 8,
                                "capital_e8": 99_000 * 10**8}},
        trouble=0.05,
    ),
    "rates": Scenario(
        {**USUAL, "restart": 1, "crash": 1},
        WITH_DENIALS | codes(e.RISK_SHARD_RATE, e.RISK_ORDER_RATE, e.RISK_MESSAGE_RATE),
        pair={"limit_changes": {"shard_tokens": 2, "shard_refill_ns": 15 * MS, "order_tokens": 3, "open_orders": 8,
                                "order_refill_ns": 12 * MS, "message_tokens": 13, "message_refill_ns": 2 * MS}},
    ),
    "repeats": Scenario(
        {**USUAL, "hostile": 0, "repeat": 0, "restart": 1, "crash": 1},
        {("record", "denied"), ("state", HALTED)} | codes(e.RISK_REPEAT, e.RISK_KILLED)
        | {("request", e.ACTION_PLACE, e.LEG_FLATTEN), "flattened for who repeats himself"},
        pair={"limit_changes": {"repeat_orders": 4, "repeat_pause_ns": 20 * SECOND, "open_orders": 50}},
        trouble=0.05,
    ),
    "stops": Scenario(
        {**USUAL, "hostile": 40},
        WITH_DENIALS | codes(e.RISK_STOP_FAR, e.RISK_STOP_LOSS, e.RISK_SELF_TRADE) | {"the way is cleared"},
        pair={"limit_changes": {"stop_bps": 100, "stop_loss_bps": 1, "open_orders": 8}},
    ),
    "related": Scenario(
        {**USUAL, "restart": 1, "pause": 20},
        WITH_DENIALS | codes(e.RISK_CORRELATION),
        pair={"limit_changes": {"correlation_bps": 7_000, "open_orders": 8}, "session_changes": {"asks_first": 1}},
    ),
    "at risk": Scenario(
        {**USUAL, "restart": 1, "pause": 40},
        WITH_DENIALS | codes(e.RISK_VALUE_AT_RISK, e.RISK_SHORTFALL),
        pair={"limit_changes": {"var_bps": 240, "shortfall_bps": 200, "open_orders": 8, "var_horizon_s": 30}},
    ),
    "ruin": Scenario(
        {**USUAL, "ruin": 2},
        WITH_DENIALS
        | codes(e.RISK_BREAKER_OPEN, e.RISK_NO_EQUITY, *range(e.VENUE_POST_ONLY, e.VENUE_BAD_REQUEST + 1))
        | {"breaker", ("flatten", "refused", False), ("ended", "rejected", e.LEG_STOP)}
        | {"close waits for a venue that finds nothing"},
        pair={"limit_changes": {"breaker_failures": 2}, "session_changes": {"measure": 1}},
        trouble=0.3,
    ),
    "spot": Scenario(
        USUAL,
        WITH_DENIALS | codes(e.RISK_SHORT_SPOT, e.RISK_OPEN_ORDERS),
        pair={"spot": True, "n_instruments": 2, "n_shards": 1},
    ),
    "profits": Scenario(
        {**USUAL, "restart": 1, "crash": 2, "hostile": 0},
        USUALLY
        | {("request", action, e.LEG_PROFIT) for action in (e.ACTION_PLACE, e.ACTION_CANCEL, e.ACTION_AMEND)}
        | {("ended", how, e.LEG_PROFIT) for how in ("filled", "canceled", "expired", "rejected", "never_landed")}
        | {("status", how, e.LEG_PROFIT) for how in ("partially_filled", "unknown")}
        | {("place own", e.LEG_PROFIT, True), "restart", "crash"}
        | {("take-profit given up", how) for how in ("rejected", "expired", "new")},
        pair={"limit_changes": {"open_orders": 8}},
        profits=1.0,
    ),
    "profits of coins": Scenario(
        {**USUAL, "hostile": 0},
        WITH_DENIALS | {"coins sold with profit"},
        pair={"spot": True, "n_instruments": 2, "n_shards": 1, "limit_changes": {"open_orders": 8}},
        profits=1.0,
    ),
    "slices": Scenario(
        {**USUAL, "restart": 1, "crash": 2, "hostile": 0, "pause": 6},
        USUALLY
        | {("record", "sliced"), ("request", e.ACTION_PLACE, e.LEG_SLICE), ("request", e.ACTION_CANCEL, e.LEG_SLICE)}
        | {("ended", how, e.LEG_SLICE) for how in ("filled", "canceled", "expired", "rejected", "never_landed")}
        | {("sliced over", how) for how in (e.REPORT_CANCELED, e.REPORT_REJECT, e.REPORT_EXPIRED)}
        | {("status", "unknown", e.LEG_SLICE), "restart", "crash", "sliced entry filled", "doubted"}
        | {("slice refused", e.RISK_STOP_SIDE)},
        pair={"limit_changes": {"open_orders": 8}},
        slices=0.8,
    ),
    "slices of narrow ways": Scenario(
        {**USUAL, "hostile": 0, "choke": 2, "pause": 6, "restart": 1, "ruin": 1},
        {("record", "sliced"), ("slice refused", e.EXEC_VENUE_BUSY), ("slice refused", e.EXEC_NO_QUOTE)}
        | {("slice refused", e.RISK_MESSAGE_RATE), "breaker", "kill"},
        pair={"slots": (16, 64), "rows": 16, "limit_changes": {"open_orders": 12, "breaker_failures": 2,
              "message_tokens": 20, "message_refill_ns": 5 * MS}},
        slices=1.0,
        trouble=0.2,
        kill_at=0.8,
    ),
    "journal": Scenario({**USUAL, "restart": 1}, USUALLY | codes(e.EXEC_JOURNAL_FULL), pair={"capacity": 4_304}),
    "full": Scenario(
        {**USUAL, "noise": 30, "restart": 1}, {("end", "full")} | codes(e.EXEC_JOURNAL_FULL), pair={"capacity": 128}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_any_script_equals_the_twin(tmp_path, name):
    seen: Counter = Counter()
    missing = SCENARIOS[name].must
    for seed in range(MOST_SCRIPTS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        script = Script(folder, SCENARIOS[name], seed)
        script.run(STEPS)
        seen.update(script.seen)
        seen.update({("reject", code): count for code, count in script.pair.wires.rejects.items()})
        missing = missing - set(+seen)
        if seed + 1 >= LEAST_SCRIPTS and not missing:
            break
    assert not missing, f"never reached: {sorted(map(str, missing))}"


def test_every_refusal_is_reached_by_a_scenario():
    wanted = {key[1] for scenario in SCENARIOS.values() for key in scenario.must if key[0] == "reject"}
    elsewhere = {e.RISK_SIZE_ZERO, e.EXEC_RING_FULL, e.EXEC_NEVER_LANDED, e.EXEC_GATE_SHUT}
    # the exchange's own, and what the gateway says of a real venue
    others = {e.VENUE_POSITION, e.VENUE_SELF_TRADE, e.VENUE_NOT_WHOLE, e.VENUE_LIST, e.VENUE_SPENT}
    others |= {e.VENUE_RATE, e.VENUE_TIME, e.VENUE_KEY, e.VENUE_DOWN, e.VENUE_DIFFERS}
    others |= {e.VENUE_TOO_LARGE, e.VENUE_TOO_SMALL}
    codes = {code for code in e.REJECT_NAMES if code >= e.RISK_KILLED} | {e.DATA_STALE}
    assert wanted | elsewhere == codes - others


def test_before_its_start_execution_refuses_as_its_twin_does(tmp_path):
    script = Script(tmp_path, SCENARIOS["free"], 0)
    pair = script.pair
    pair.restart()
    script.do_intent()
    script.promise()
    tables = pair.rig.instruments, pair.rig.limits, pair.rig.session
    while pair.twin.step(1):
        assert execution_step(pair.rig.agent.memory, pair.rig.wires, *tables, 1) == 1
        pair.compare()
    assert pair.wires.rejects == {e.EXEC_GATE_SHUT: 1}


def test_a_record_that_contradicts_the_others_is_the_same_one_for_both(tmp_path):
    script = Script(tmp_path, SCENARIOS["free"], 0)
    script.run(200)
    pair = script.pair
    spoilt = [index for index, record in enumerate(pair.journal) if record.kind == "denied" and record.holding][-1]
    record = pair.journal[spoilt]
    record.holding = (record.holding[0] + 1, *record.holding[1:])
    journal = pair.rig.agent.journal
    journal.header[COMMIT_WORD] = commit_word(spoilt + 1)
    journal.table[spoilt]["position_lots"] += 1
    word = spoilt * JOURNAL_WORDS
    journal.records[word + CRC_WORD] = record_crc(journal.records, word)
    with pytest.raises(JournalError, match=rf"record {spoilt + 1} contradicts"):
        pair.rig.build()
    with pytest.raises(ContradictionError, match=rf"^{spoilt + 1}$"):
        pair.build_twin()
