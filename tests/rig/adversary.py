"""Shards replaced by an adversary, in front of the product's own execution and venue; the ledger is the judge.

    market by hand --quotes--> execution <--intents[k]-- adversary, who knows everything
                  \\-market--> venue <--requests--/            |
                                |                      twin: which of them are legal
                             ledger --> audit: breaches

Time goes on in rounds: the market moves, the venue works on what was sent, execution hears of it, and then the shards
write. So what execution knew when it judged an intent is what the ledger held by then. The twin (the slow one of
execution, on rings of its own) says of each intent whether it is legal; on a table of limits that is looser than the
auditor's there is no twin, only the audit.
"""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
from reference.engine.execution import FullError, Record, RefExecution, Wires
from reference.engine.order_audit import Audit, Decision
from rig.execution import T0, Rig
from rig.execution_pair import INTENT_BITS, message
from rig.tables import MS, SECOND, limits

from bot4.adapters.sim.ledger import client_order_id
from bot4.adapters.sim.venue import VenueAgent
from bot4.engine.execution_step import execution_step
from bot4.model import enums as e
from bot4.model.records import EXEC_REPORT, ORDER_INTENT, ORDER_WORDS, TICK, words
from bot4.shm.layout import CLOCK_FEED, CONTROL_KILL, RING_CAPACITY_WORD, RING_HEAD, RING_SLOTS, RING_TAIL
from bot4.shm.spsc_ring import push_order, push_tick

MID = 6_000_000
N, SHARDS = 6, 3
SYMBOLS = [f"SYMBOL{index}" for index in range(N)]
ROUND_NS = 5 * MS  # more than there and back
BURST = 16  # intents of a round
DAY = 86_400 * SECOND
EQUITY_E8 = 100_000 * 10**8
LIMITS = {
    "cool_down_ns": 2 * MS, "bucket_tokens": 3, "bucket_refill_ns": 18 * MS, "open_orders": 5, "order_lots": 20_000,
    "order_notional_e8": 1_900 * 10**8, "breaker_failures": 12, "breaker_window_ns": SECOND,
    "breaker_open_ns": 40 * MS, "quote_age_ns": SECOND, "gross_bps": 900, "net_bps": 800, "venue_bps": 500,
    "strategy_bps": 880,
    "streak_losses": 16, "streak_pause_ns": 20 * MS, "repeat_orders": 1_000, "repeat_pause_ns": SECOND,
    "stop_bps": 150, "stop_loss_bps": 2, "slippage_bps": 5,
}  # fmt: skip
# What is special about a session.
KINDS = ("killed", "losses", "ruin", "breaker", "journal", "crowd", "busy", "related", "rates", "repeats", "calm")
RATES = {
    "shard_tokens": 2, "shard_refill_ns": 9 * MS, "order_tokens": 5, "order_refill_ns": 4 * MS, "message_tokens": 10,
    "message_refill_ns": 800_000,
}  # fmt: skip
NOT_OF_AN_INTENT = (e.RISK_SIZE_ZERO, e.EXEC_RING_FULL, e.EXEC_NEVER_LANDED)  # a shard's own, and what is no refusal
CODES = [e.REJECT_NAMES[e.DATA_STALE]] + [
    name for code, name in e.REJECT_NAMES.items() if 300 < code < 500 and code not in NOT_OF_AN_INTENT
]  # what execution says of an intent
FIELDS = {
    "instrument": (0, 1, 5, 6, 7, 65_535), "strategy": (0, 2, 65_535), "shard": (0, 60_000),
    "action": (0, 3, 4, 5, 6, 7, 255), "side": (0, -128, 127, 2), "type": (0, 3, 4, 5, 6, 255), "tif": (0, 3, 9, 255),
    "flags": (1, 2, 3, 4, 255), "leg": (1, 2, 3, 255),
    "qty_lots": (-1, 0, 1, 5, 9_000, 30_000, 20_000_000, 2**41, 2**63 - 1, -(2**63)),
    "price_ticks": (-1, 0, 1, MID // 2, MID * 2, MID + 100_000, MID - 100_000, 2**40, 2**63 - 1, -(2**63)),
    "stop_ticks": (-1, 0, 0, 1, MID * 2, 2**40, 2**63 - 1), "event_no": (0, 1),
    "id_hi": (0, 2**64 - 1), "id_lo": (0, 2**64 - 1), "score": (float("nan"), float("inf")),
    "order_row": (0, 5, 2**31 - 1), "tsc": (-1, 2**63 - 1), "ts_ns": (0, T0, T0 + 400 * DAY),
}  # fmt: skip
NAMES = ORDER_INTENT.names


BLANK = Record("denied", 0, -1, 0, {})


class Twin(RefExecution):
    """The slow execution; its journal has a length and nothing in it."""

    def write(self, kind, ts_ns, instrument, code, body) -> None:
        """Nobody reads it."""
        self.journal.append(BLANK)


class Starting(Rig):
    """A rig whose agent has not opened yet when it is built."""

    def start(self):
        """Only built."""
        return self.build()


class Session:
    """One session of an adversary; `loose` are limits that execution has and the auditor has not."""

    def __init__(self, folder: Path, seed: int, kind: str, loose: dict[str, int] | None = None) -> None:
        self.dice, self.kind = random.Random(seed), kind
        capacity = {"journal": 4_992}.get(kind, 40_000)
        slots, rows = ((32 if kind == "busy" else 64), 4_096), 22 if kind == "crowd" else 1_024
        held = {**LIMITS, "correlation_bps": 7_000 if kind == "related" else 10_000}
        if kind == "losses":
            held.update(
                streak_losses=1_000, drawdown_bps=400, stop_loss_bps=1_000
            )  # no pause, reached on the second day
        if kind == "rates":
            held.update(RATES)
        if kind == "repeats":
            held.update(repeat_orders=20)
        if kind in ("breaker", "calm"):  # no session is long enough to know: everything may be lost
            held["var_bps" if kind == "calm" and seed // len(KINDS) % 2 == 0 else "shortfall_bps"] = 600
        told = limits(**held)
        self.table = dict(zip(told.dtype.names, told[0].item(), strict=True))
        self.rig = Starting(folder, N, SHARDS, capacity, {**held, **(loose or {})}, rows=rows, slots=slots)
        instruments = self.rig.instruments
        instruments["is_spot"][N - 2 :] = 1
        instruments["venue"][N // 2 :] = 1
        instruments["maker_fee_ppm"] = instruments["taker_fee_ppm"] = 200_000 if kind == "losses" else 200
        self.instruments = [dict(zip(instruments.dtype.names, row.item(), strict=True)) for row in instruments]
        self.ledger = folder / "ledger"
        self.venue = VenueAgent(self.rig.wires, instruments, self.rig.session, EQUITY_E8, self.ledger, SYMBOLS)
        self.mirror = Wires(SHARDS, N, 2**14, *slots)
        self.session = dict(zip(self.rig.session.dtype.names, self.rig.session[0].item(), strict=True))
        self.twin = None if loose else Twin(self.mirror, self.instruments, self.table, self.session, [], capacity, rows)
        self.now = T0
        self.mids = [MID] * N
        self.market_no, self.event_no = [0] * N, [0] * N
        self.whole = [False] * N
        self.asleep = 0
        self.killed = self.opened = self.full = self.stubborn = False
        self.intents = 0
        self.recent: list[tuple[int, dict]] = []
        self.decisions: list[Decision] = []
        self.legal: set[str] = set()
        self.quotes: list[tuple[int, int, int, int]] = []
        self.states: list[tuple[int, bool]] = []
        self.record = np.zeros(1, TICK)

    def chance(self, share: float) -> bool:
        """True that often."""
        return self.dice.random() < share

    # --- market ---
    def tick(self, index: int, kind: int, *values: int, flags: int = e.FLAG_LAST, to: str = "both") -> None:
        """One record of the market, to execution, to the venue or to both."""
        self.record[0] = (self.now, 0, index, kind, flags, *(*values, 0, 0, 0, 0)[:4], 0, 0, 0)
        if to != "execution":
            self.market_no[index] += 1
            self.record["event_no"] = self.market_no[index]
            push_tick(self.rig.wires.market, words(self.record), 0)
        if to == "execution" or kind == e.TICK_QUOTE or (kind == e.TICK_STATUS and values[0] != e.STATUS_CLEAR):
            push_tick(self.rig.wires.quotes, words(self.record), 0)
            self.mirror.quotes.append(message(self.record, TICK))
            if kind == e.TICK_STATUS:
                self.states.append((index, values[0] == e.STATUS_WHOLE))

    def snapshot(self, index: int) -> None:
        """The book begins anew, and is whole."""
        self.tick(index, e.TICK_STATUS, e.STATUS_CLEAR, flags=e.FLAG_SNAPSHOT)
        self.tick(index, e.TICK_LEVEL, MID // 4, 10**6, 1, flags=e.FLAG_SNAPSHOT)
        self.tick(index, e.TICK_LEVEL, MID * 10_000, 10**6, -1, flags=e.FLAG_SNAPSHOT)
        self.tick(index, e.TICK_STATUS, e.STATUS_WHOLE, flags=e.FLAG_SNAPSHOT | e.FLAG_LAST)
        self.whole[index] = True
        self.quote(index)

    def quote(self, index: int) -> None:
        """Best bid and ask around the mid, and a trade there."""
        bid = self.mids[index] - self.dice.randrange(3)
        ask = self.mids[index] + 1 + self.dice.randrange(3)
        self.tick(index, e.TICK_QUOTE, bid, 10**6, ask, 10**6)
        self.quotes.append((self.now, index, bid, ask))
        self.tick(index, e.TICK_TRADE, self.mids[index], 10, 1, 1, to="venue")

    def move(self) -> None:
        """What the market does in a round; a mark, at least, tells execution the time."""
        self.tick(0, e.TICK_MARK, 1, to="execution")
        together = self.dice.choice((-900, 900))
        for index in range(N):
            if not self.whole[index]:
                if self.chance(0.2):
                    self.snapshot(index)
            elif self.chance(0.006):
                self.whole[index] = False
                self.tick(index, e.TICK_STATUS, e.STATUS_STALE)
            elif self.kind == "related":  # three of them are one, the others go their own ways
                self.mids[index] += self.dice.choice((-900, 900)) if index > 2 else together
                self.mids[index] = min(max(self.mids[index], MID * 3 // 4), MID * 3 // 2)
                self.quote(index)
            elif self.chance(0.5):
                self.mids[index] += self.dice.choice((-1, 1)) * self.dice.choice((1, 20, 300, 4_000))
                self.mids[index] = min(max(self.mids[index], MID * 3 // 4), MID * 3 // 2)
                self.quote(index)

    # --- everybody works ---
    def work(self) -> None:
        """Execution and its twin, until nothing is left to do; nobody reads the reports."""
        tables = self.rig.instruments, self.rig.limits, self.rig.session
        if not self.opened:
            self.both(lambda: execution_step(self.rig.agent.memory, self.rig.wires, *tables, 1_024), "step")
        else:
            self.both(lambda: self.rig.work(1_024), "work")
        for ring in self.rig.wires.reports:
            ring[RING_TAIL] = ring[RING_HEAD]
        for ring in self.mirror.reports:
            ring.clear()
            ring.taken = 0

    def both(self, real, name: str) -> None:
        """One after the other, compared by what they did."""
        while True:
            done = real()
            if self.twin is not None:
                try:
                    expected = getattr(self.twin, name)(1_024)
                except FullError:
                    expected = done
                assert done == expected, f"execution took {done} items, its twin {expected}"
            if not done:
                break
        if self.twin is not None:
            refused = int(self.rig.wires.rejects[SHARDS].sum())
            assert refused == sum(self.mirror.rejects.values()), (self.rig.rejects, +self.mirror.rejects)
            assert int(self.rig.wires.requests[RING_HEAD]) == len(self.mirror.requests)

    def deliver(self) -> None:
        """The venue works; its events and what it took are mirrored."""
        self.venue.do_work()
        ring = self.rig.wires.events
        mask = int(ring[RING_CAPACITY_WORD]) - 1
        for index in range(len(self.mirror.events), int(ring[RING_HEAD])):
            slot = RING_SLOTS + (index & mask) * ORDER_WORDS
            self.mirror.events.append(message(ring[slot : slot + ORDER_WORDS], EXEC_REPORT))
        self.mirror.requests.taken = int(self.rig.wires.requests[RING_TAIL])

    def round(self, intents: int) -> None:
        """The market moves, the venue works, execution hears of it, the shards write."""
        self.now += ROUND_NS
        self.rig.wires.clocks[CLOCK_FEED] = self.mirror.feed = self.now
        if self.opened:
            self.happen()
        self.move()
        if self.asleep:
            self.asleep -= 1
        else:
            self.deliver()
        self.work()
        events = self.rig.wires.events
        if events[RING_HEAD] != events[RING_TAIL]:
            return  # execution has no room for what follows from them: the next round sees
        known = int(self.venue.memory.core.desk[0]["ledger_seq"])
        memory = self.rig.agent.memory
        decision = Decision(int(memory.account["now_ns"][0]), known, set(), self.killed, self.quotes, self.states)
        self.quotes, self.states = [], []
        for _ in range(intents):
            self.send(decision)
        head = len(self.mirror.requests)
        self.work()
        decision.now_ns = int(memory.account["now_ns"][0])
        self.decisions.append(decision)
        for request in self.mirror.requests[head:]:
            if request["action"] == e.ACTION_PLACE and request["leg"] <= e.LEG_EXIT:
                self.legal.add(client_order_id(request["id_hi"], request["id_lo"]))

    def happen(self) -> None:
        """What makes this session a special one."""
        if self.kind in ("busy", "journal", "killed") and self.chance(0.05 if self.kind == "busy" else 0.01):
            self.asleep = self.dice.choice((3, 10, 30))
        if self.chance(0.008):
            self.now += self.dice.choice((SECOND - 5 * MS, SECOND, 3 * SECOND))  # quotes are old then
        if self.kind == "breaker" and self.chance(0.1):
            index = self.dice.randrange(N)
            if self.whole[index]:  # the venue has lost its own book, and nobody knows
                self.market_no[index] += 1
        if self.kind == "losses" and self.chance(0.03):
            self.now += DAY
        self.rig.wires.clocks[CLOCK_FEED] = self.mirror.feed = self.now

    def kill(self) -> None:
        """Somebody sets the kill word."""
        self.rig.wires.control[CONTROL_KILL] = self.mirror.kill = 1
        self.killed = True

    def repeat(self) -> None:
        """Exits of one lot, again and again, until that is ended; and then again."""
        self.stubborn = True
        self.killed = bool(self.rig.wires.control[CONTROL_KILL])

    def leap(self) -> None:
        """All prices are a thousand times as high, through every stop: who was short has lost all."""
        for index in range(N):
            self.mids[index] = MID * 1_000
        self.now += ROUND_NS
        for index in range(N):
            if self.whole[index]:
                self.quote(index)

    # --- what the adversary writes ---
    def lots(self, index: int) -> int:
        """What is held: he reads execution's own memory."""
        return int(self.rig.agent.memory.positions[index]["lots"])

    def sane(self, index: int) -> dict:
        """An intent as a shard would write it: in, or out of what is held."""
        self.event_no[index] += 1
        mid, held = self.mids[index], self.lots(index)
        side = self.dice.choice((1, -1)) if index < N - 2 else 1
        if self.kind == "ruin":
            side = -1 if index < N - 2 else 1
        fields = dict.fromkeys(NAMES, 0)
        fields.update(
            ts_ns=self.now, event_no=self.event_no[index], instrument=index, action=e.ACTION_PLACE, side=side,
            type=e.TYPE_LIMIT, tif=e.TIF_IOC, price_ticks=mid + 3 * side, qty_lots=self.dice.randint(90, 2_500),
            stop_ticks=mid - side * self.dice.choice((5_000, 60_000)), strategy=1, order_row=-1, score=0.5,
        )  # fmt: skip
        if self.chance(0.25):
            fields.update(tif=e.TIF_GTC, price_ticks=mid - side * self.dice.choice((3, 500)))
        if held and self.chance(0.55 if self.kind != "ruin" else 0.2):
            fields.update(side=-1 if held > 0 else 1, leg=e.LEG_EXIT, flags=e.ORDER_REDUCE_ONLY, stop_ticks=0)
            fields.update(qty_lots=self.dice.choice((abs(held), max(1, abs(held) // 3))), tif=e.TIF_IOC)
            fields["price_ticks"] = mid + 3 * fields["side"]
            if self.chance(0.5):
                fields.update(type=e.TYPE_MARKET, price_ticks=0)
        return fields

    def edge(self, index: int) -> dict:
        """At a limit, or one unit beside it."""
        fields = self.sane(index)
        near = self.dice.choice((-1, 0, 1))
        memory, row, table = self.rig.agent.memory, self.instruments[index], self.table
        position, side, value = memory.positions[index], fields["side"], row["value_e8"]
        bid, ask = int(position["bid_ticks"]), int(position["ask_ticks"])
        price = max(1, fields["price_ticks"] or ask)
        view = memory.views[index]
        pending = int(view["pending_buy_lots"] if side > 0 else view["pending_sell_lots"])
        equity = max(0, int(memory.account["equity_e8"][0]))
        held = abs(self.lots(index)) + near
        which = self.dice.randrange(8)
        if which == 0:
            most = equity * table["position_bps"] * 2 // 10_000 // max(1, (bid + ask) * value)
            fields.update(leg=0, flags=0, qty_lots=most - side * self.lots(index) - pending + near)
            fields["stop_ticks"] = self.mids[index] - side * 9_000
        elif which == 1:
            fields["qty_lots"] = table["order_lots"] + near
        elif which == 2:
            fields["qty_lots"] = table["order_notional_e8"] // (price * value) + near
        elif which == 3:
            twice = bid + ask
            most = twice * table["collar_bps"] // 10_000
            away = self.dice.choice((1, -1))
            fields["price_ticks"] = (twice + away * most) // 2 + near
        elif which == 4:
            fields["stop_ticks"] = (min(price, bid) if side > 0 else max(price, ask)) + near
        elif which == 5:
            fields["qty_lots"] = -(-row["min_notional_e8"] // (price * value)) + near
        elif which == 6:
            fields.update(leg=e.LEG_EXIT, flags=e.ORDER_REDUCE_ONLY, stop_ticks=0, qty_lots=held)
        else:  # the other way round, without a flag
            fields.update(leg=0, flags=0, side=-1 if self.lots(index) > 0 else 1, qty_lots=self.dice.randint(1, 4_000))
            fields["price_ticks"] = self.mids[index] + 3 * fields["side"]
            fields["stop_ticks"] = self.mids[index] - fields["side"] * 9_000 if self.chance(0.7) else 0
        return fields

    def garbage(self) -> dict:
        """Whatever the bytes hold."""
        fields = {}
        for name in NAMES:
            base = ORDER_INTENT.fields[name][0]
            low, high = (0, 1) if base.kind == "f" else (np.iinfo(base).min, np.iinfo(base).max)
            fields[name] = self.dice.randint(int(low), int(high))
        if fields["action"] == e.ACTION_CANCEL:
            fields["action"] = 0
        return {**fields, "seq": 0, "ts_ns": self.now}

    def send(self, decision: Decision) -> None:
        """One intent, onto the ring of its shard or of another."""
        index = self.dice.randrange(N)
        shard = index % SHARDS
        way = self.dice.random()
        if self.stubborn and self.chance(0.8):
            index = max(range(N), key=lambda index: abs(self.lots(index)))
            shard, way = index % SHARDS, 0.5
        if way < 0.06 and self.recent:
            shard, fields = self.dice.choice(self.recent)
        elif way < 0.10:
            fields = self.garbage()
        else:
            fields = self.edge(index) if way < 0.3 else self.sane(index)
            if self.stubborn and (held := self.lots(index)):
                fields.update(side=-1 if held > 0 else 1, leg=e.LEG_EXIT, flags=e.ORDER_REDUCE_ONLY, stop_ticks=0)
                fields.update(qty_lots=1, tif=e.TIF_IOC, type=e.TYPE_MARKET, price_ticks=0)
            if way > 0.75:
                for _ in range(self.dice.choice((1, 1, 2, 4))):
                    name = self.dice.choice(tuple(FIELDS))
                    fields[name] = self.dice.choice(FIELDS[name])
            if way > 0.97:
                shard = self.dice.randrange(SHARDS)
            if "id_hi" not in fields or way <= 0.9:
                fields["id_hi"] = 1 << 48 | 1 << 32 | index << 16 | 1
                fields["id_lo"] = fields["event_no"] << 32 | (fields["leg"] & 255) << 24
        self.intents += 1
        if self.twin is not None:
            self.recent = [*self.recent[-40:], (shard, fields)]
        record = np.array([tuple(fields[name] for name in NAMES)], ORDER_INTENT)
        decision.ids.add(client_order_id(fields["id_hi"], fields["id_lo"]))
        push_order(self.rig.wires.intents[shard], words(record), 0)
        self.mirror.intents[shard].append(message(record, INTENT_BITS))

    # --- the whole session ---
    def run(self, intents: int) -> dict:
        """So many intents; what came of them."""
        for index in range(N):
            self.snapshot(index)
        while self.kind == "related" and self.now < T0 + 120 * SECOND:  # until it is known what moves like what
            self.now += SECOND
            self.round(0)
        for _ in range(max(1, intents // 200 // BURST)):
            self.round(BURST)  # before execution has opened
        self.opened = True
        while self.intents < intents and not self.full:
            share = self.intents / intents
            if self.kind == "killed" and share > 0.93 and not self.killed:
                self.kill()
            if self.kind == "repeats" and share > 0.8 and not self.killed:
                self.repeat()
            if self.kind == "ruin" and share > 0.8 and self.mids[0] < MID * 2:
                self.leap()
            self.round(min(BURST, intents - self.intents))
        self.asleep, self.kind = 0, "over"  # whatever is on its way arrives
        for _ in range(3):
            self.round(0)
        self.venue.close()
        return self.found()

    def found(self) -> dict:
        """By the ledger."""
        lines = [json.loads(line) for line in self.ledger.read_text().splitlines()]
        audit = Audit(SYMBOLS, self.instruments, self.table, self.session)
        breaches = audit.run(lines, self.decisions)
        placed = [line for line in lines if line["kind"] == "request" and line["action"] == "place"]
        sent = {line["client_order_id"] for line in placed if line["leg"] in ("entry", "exit")}
        refused = {code: count for code, count in self.rig.rejects.items() if code < e.VENUE_POST_ONLY}
        return {
            "intents": self.intents,
            "legal": len(self.legal),
            "legal_sent": len(self.legal & sent),
            "refused": Counter({e.REJECT_NAMES[code]: count for code, count in refused.items()}),
            "sent": audit.sent,
            "breaches": breaches,
        }


def total(parts: list[dict]) -> dict:
    """Several sessions as one."""
    whole = {name: sum(part[name] for part in parts) for name in ("intents", "legal", "legal_sent", "sent")}
    for name in ("refused", "breaches"):
        whole[name] = dict(sum((part[name] for part in parts), Counter()))
        whole[name] = {key: whole[name].get(key, 0) for part in parts for key in part[name]}
    return whole
