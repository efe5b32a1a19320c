"""Execution's kernels and their twin side by side: the same on every ring of both, compared field by field."""

from collections import Counter

import numpy as np
from reference.engine.execution import NEVER, PUBLISHED, STATS, FullError, RefExecution, Ring, Wires
from rig.execution import Rig

from bot4.engine.journal import COMMIT_WORD, commit_word
from bot4.engine.order_state import ORDER
from bot4.engine.portfolio import PORTFOLIO
from bot4.model.enums import ACTION_CANCEL_ALL, INT64_MAX, REPORT_TOTALS, TICK_QUOTE
from bot4.model.errors import JournalError
from bot4.model.records import EXEC_REPORT, ORDER_INTENT, ORDER_WORDS, PORTFOLIO_TOTALS, TICK, words
from bot4.shm import wires as w
from bot4.shm.layout import (
    CLOCK_EXEC_SHARD,
    CLOCK_EXEC_VENUE,
    CLOCK_FEED,
    CLOCK_SHARD,
    CLOCK_VENUE,
    CONTROL_KILL,
    CONTROL_RESYNC,
    LINE,
    RING_CAPACITY_WORD,
    RING_HEAD,
    RING_SLOTS,
    RING_TAIL,
)
from bot4.shm.spsc_ring import consume, push_order, push_tick

KINDS = (
    "", "start", "intent", "denied", "event", "request", "sample", "limit", "day_shut", "day", "breaker", "sliced",
)  # fmt: skip
BASES = {"journaled": 1, "sent": 2, "working": 3}
OVERLAYS = {"unknown": 1, "cancel": 2, "replace": 4, "triggered": 8}
GAUGES = {
    "items": w.GAUGE_ITEMS,
    "event_time_ns": w.GAUGE_EVENT_TIME_NS,
    "state": w.GAUGE_EXEC_STATE,
    "intents": w.GAUGE_EXEC_INTENTS,
    "orders": w.GAUGE_EXEC_ORDERS,
    "fills": w.GAUGE_EXEC_FILLS,
    "stops_placed": w.GAUGE_EXEC_STOPS_PLACED,
    "stops_triggered": w.GAUGE_EXEC_STOPS_TRIGGERED,
    "naked_ns_max": w.GAUGE_EXEC_NAKED_NS_MAX,
    "flattens": w.GAUGE_EXEC_FLATTENS,
    "equity_e8": w.GAUGE_EXEC_EQUITY_E8,
    "high_water_e8": w.GAUGE_EXEC_HIGH_WATER_E8,
    "day_start_e8": w.GAUGE_EXEC_DAY_START_E8,
    "drawdown_ppm": w.GAUGE_EXEC_DRAWDOWN_PPM,
    "open_orders": w.GAUGE_EXEC_OPEN_ORDERS,
    "breaker": w.GAUGE_EXEC_BREAKER,
    "streak_pause": w.GAUGE_EXEC_STREAK,
    "streak_until": w.GAUGE_EXEC_STREAK_UNTIL_NS,
    "day_shut_until": w.GAUGE_EXEC_DAY_SHUT_UNTIL_NS,
    "breaker_until": w.GAUGE_EXEC_BREAKER_UNTIL_NS,
    "unknown": w.GAUGE_EXEC_UNKNOWN,
    "alarms": w.GAUGE_EXEC_ALARMS,
}
COLUMNS = {
    "lots": w.POSITION_LOTS,
    "cost": w.POSITION_COST_TL,
    "realised": w.POSITION_REALISED_TL,
    "fees": w.POSITION_FEES_E8,
    "funding": w.POSITION_FUNDING_E8,
    "bid": w.POSITION_BID,
    "ask": w.POSITION_ASK,
    "stop_ticks": w.POSITION_STOP_TICKS,
    "stop_lots": w.POSITION_STOP_LOTS,
    "whole": w.POSITION_WHOLE,
    "quote_ns": w.POSITION_QUOTE_NS,
}
ACCOUNT_FIELDS = (
    "now_ns", "state", "equity_e8", "high_water_e8", "day_start_e8", "day", "started", "next_grid_ns",
    "next_sample_ns", "sampled_s", "next_deadline_ns", "last_event_seq", "open_orders", "unknown", "asking",
    "breaker_open_until_ns", "breaker_count", "killed", "alarms", "drawdown_ppm", "streak",
    "streak_until_ns", "day_shut_until_ns", "epoch", "generation", "order_bucket_ns", "message_bucket_ns",
    "breaker_trips",
    "breaker_probe_until_ns",
)  # fmt: skip
POSITION_FIELDS = PORTFOLIO.names
VIEW_FIELDS = ("pending_buy_lots", "pending_sell_lots", "open_orders", "last_open_ns", "bucket_ns", "run", "run_ns",
               "exit_buy_lots", "exit_sell_lots")  # fmt: skip
ORDER_FIELDS = tuple(name for name in ORDER.names if not name.startswith("asked"))


def bits(dtype: np.dtype) -> np.dtype:
    """The same record with its floats as bit patterns, so that a NaN equals itself."""
    return np.dtype([(name, "i8" if dtype[name] == np.float64 else dtype[name]) for name in dtype.names])


INTENT_BITS = bits(ORDER_INTENT)


def check(what: object, names: tuple[str, ...], got: tuple, expected: tuple) -> None:
    """Assert that two rows are equal; says which columns are not: kernel, then twin."""
    if got != expected:
        rows = zip(names, got, expected, strict=True)
        raise AssertionError(f"{what}: " + ", ".join(f"{name} {a} != {b}" for name, a, b in rows if a != b))


def message(record: np.ndarray, dtype: np.dtype) -> dict:
    """One record as a dictionary of integers, without what the ring adds."""
    values = dict(zip(dtype.names, record.view(dtype)[0].item(), strict=True))
    del values["seq"]
    if "ts_recv_ns" in values:
        values["ts_ns"] = values.pop("ts_recv_ns")
    return values


def report_message(record: np.ndarray) -> dict:
    """A report, or the totals it may be."""
    if record.view(EXEC_REPORT)["kind"][0] != REPORT_TOTALS:
        return message(record, EXEC_REPORT)
    full = message(record, PORTFOLIO_TOTALS)
    assert full.pop("reserved").tolist() == [0, 0]
    return full


class ExecutionPair:
    """Kernels and twin with the same past; `work` compares everything that both know and said."""

    def __init__(
        self,
        folder,
        n_instruments,
        n_shards,
        capacity,
        slots,
        spot=False,
        rows=1_024,
        twin=RefExecution,
        seen=None,
        **changes,
    ):
        self.rig = Rig(folder, n_instruments, n_shards, capacity, spot=spot, rows=rows, slots=slots, **changes)
        self.n_shards, self.capacity, self.rows = n_shards, capacity, rows
        self.wires = Wires(n_shards, n_instruments, 1_024, *slots)
        self.journal = []
        self.instruments = [dict(zip(row.dtype.names, row.item(), strict=True)) for row in self.rig.instruments]
        self.limits, self.session = (
            dict(zip(table.dtype.names, table[0].item(), strict=True)) for table in (self.rig.limits, self.rig.session)
        )
        self.seen: Counter = Counter() if seen is None else seen  # what was said
        self.told = [0] * (1 + n_shards)  # compared so far: requests, then reports of each shard
        self.read = 0  # journal records compared so far
        self.life, self.twin = twin, None
        self.build_twin()
        while self.twin.work(1_024):  # as the rig does with the agent
            pass
        self.compare()

    # --- in ---
    def push(self, ring, twin: Ring, record) -> None:
        """One record on a ring of both sides."""
        if record.dtype == TICK:
            push_tick(ring, words(record), 0)
            twin.append(message(record, TICK))
        else:
            push_order(ring, words(record), 0)
            twin.append(message(record, INTENT_BITS if record.dtype == ORDER_INTENT else EXEC_REPORT))

    def tick(self, ts_ns, instrument, kind, *values) -> None:
        """From the feed."""
        record = np.zeros(1, TICK)
        record["ts_recv_ns"], record["instrument"], record["kind"] = ts_ns, instrument, kind
        for name, value in zip(("w0", "w1", "w2", "w3"), values, strict=False):
            record[name] = value
        self.push(self.rig.wires.quotes, self.wires.quotes, record)

    def quote(self, ts_ns, instrument, bid, ask) -> None:
        """Best bid and ask."""
        self.tick(ts_ns, instrument, TICK_QUOTE, bid, 10**6, ask, 10**6)

    def intent(self, shard, fields) -> None:
        """From a shard; any field may hold anything."""
        record = np.zeros(1, ORDER_INTENT)
        for name, value in fields.items():
            record[name] = value
        self.push(self.rig.wires.intents[shard], self.wires.intents[shard], record)

    def event(self, fields) -> None:
        """From the venue."""
        record = np.zeros(1, EXEC_REPORT)
        for name, value in fields.items():
            record[name] = value
        self.push(self.rig.wires.events, self.wires.events, record)

    def promise(self, feed=None, venue=None, shards=None) -> None:
        """How far the others say they are."""
        clocks = self.rig.wires.clocks
        if feed is not None:
            clocks[CLOCK_FEED] = self.wires.feed = feed
        if venue is not None:
            clocks[CLOCK_VENUE] = self.wires.venue = venue
        for shard, value in enumerate(shards or ()):
            clocks[CLOCK_SHARD + shard * LINE] = self.wires.shards[shard] = value

    def kill(self) -> None:
        """Somebody sets the kill word."""
        self.rig.wires.control[CONTROL_KILL] = self.wires.kill = 1

    def ask_limits(self, changes) -> None:
        """A person wants limits to be these; all others as they are in force."""
        wires, twin = self.rig.wires, self.twin
        wish = twin.limits | twin.coming | changes
        self.wires.asked.append(wish)
        wires.asked[LINE:] = list(wish.values())
        wires.asked[0] = len(self.wires.asked)

    def ask_resync(self, shard) -> None:
        """A shard asks for the full picture."""
        self.rig.wires.control[CONTROL_RESYNC + shard * LINE] += 1
        self.wires.resync[shard] += 1

    def fill_requests(self, leave) -> None:
        """The venue does not read: all slots to it but so many are taken."""
        filler = np.zeros(1, ORDER_INTENT)
        filler["ts_ns"], filler["action"] = self.twin.now, ACTION_CANCEL_ALL
        self.compare_messages()  # these are ours, and may be overwritten before anybody looks
        while self.wires.requests.room > leave:
            self.push(self.rig.wires.requests, self.wires.requests, filler)
        self.told[0] = len(self.wires.requests)

    # --- out ---
    def read_requests(self, most) -> list[dict]:
        """The venue reads."""
        return self.read_ring(self.rig.wires.requests, self.wires.requests, most)

    def read_reports(self, shard, most) -> list[dict]:
        """A shard reads."""
        return self.read_ring(self.rig.wires.reports[shard], self.wires.reports[shard], most)

    def read_ring(self, ring, twin: Ring, most) -> list[dict]:
        """Up to so many records, which were compared when they were pushed."""
        found = []
        while len(found) < most and twin.taken < len(twin):
            consume(ring)
            found.append(twin.take())
        return found

    # --- both ---
    def build_twin(self) -> None:
        """A new life of the twin."""
        tables = self.instruments, self.limits, self.session
        self.twin = self.life(self.wires, *tables, self.journal, self.capacity, self.rows)

    def restart(self) -> None:
        """Both processes die; new ones read what is left, and have not begun yet."""
        self.rig.build()
        self.build_twin()
        self.compare()

    def work(self, most) -> int:
        """One call of both agents, then everything is compared; -1 once the journal is full."""
        try:
            done = self.rig.work(most)
        except JournalError:
            done = -1
        try:
            expected = self.twin.work(most)
        except FullError:
            expected = -1
        assert done == expected
        if done >= 0:
            self.compare()
        return done

    def compare(self) -> None:
        """Assert that both sides are and said the same."""
        self.compare_messages()
        self.compare_journal()
        memory, twin = self.rig.agent.memory, self.twin
        check("account", ACCOUNT_FIELDS, memory.account[0][list(ACCOUNT_FIELDS)].item(), self.account())
        for index, holding in enumerate(twin.holdings):
            view = memory.views[index]
            check(f"position {index}", POSITION_FIELDS, memory.positions[index].item(), self.position(holding))
            told = twin.view(index, 1)  # nothing that is compared depends on the side of an order
            check(f"view {index}", VIEW_FIELDS, view[list(VIEW_FIELDS)].item(), tuple(told[n] for n in VIEW_FIELDS))
        live = np.flatnonzero(memory.orders["base"]).tolist()
        assert live == sorted(twin.orders)
        for row in live:
            order = memory.orders[row]
            check(f"order {row}", ORDER_FIELDS, order[list(ORDER_FIELDS)].item(), self.order(row))
            if "replace" in twin.orders[row].over and "cancel" not in twin.orders[row].over:
                assert order["asked_qty_lots"] == twin.orders[row].asked
                assert order["asked_stop_ticks"] == twin.orders[row].asked_stop
        assert memory.free[1 : 1 + memory.free[0]].tolist() == twin.free
        assert memory.shard_bucket_ns.tolist() == twin.shard_bucket and memory.untold.tolist() == twin.untold
        assert memory.denied_bucket_ns.tolist() == twin.denied_bucket
        assert memory.lost.tolist() == twin.lost and memory.resync_seen.tolist() == twin.answered
        assert {name: memory.stats[GAUGES[name]] for name in STATS} == {name: twin.stats[name] for name in STATS}
        check("limits", tuple(twin.limits), tuple(memory.limit_words.tolist()), tuple(twin.limits.values()))
        coming = twin.limits | twin.coming
        assert memory.next_words.tolist() == list(coming.values()) == self.rig.wires.limits[0].tolist()
        assert memory.account["limits_ns"][0] == twin.limits_from
        self.compare_wires()

    def account(self) -> tuple:
        """The twin's account in the order of ACCOUNT_FIELDS."""
        twin = self.twin
        return (
            twin.now, twin.state, twin.equity, twin.high_water, twin.day_start, twin.day, twin.day_begun,
            twin.next_grid, twin.next_sample, twin.sampled, min(twin.deadlines, default=NEVER), twin.last_seq,
            len(twin.orders),
            twin.unknown, twin.asking, twin.breaker_until, len(twin.failed), twin.killed,
            twin.alarms, twin.drawdown, twin.streak, twin.streak_until, twin.day_shut_until, twin.epoch,
            twin.generation,
            twin.order_bucket, twin.message_bucket, twin.trips, twin.probe_until,
        )  # fmt: skip

    def position(self, of) -> tuple:
        """A position of the twin in the order of POSITION_FIELDS."""
        return (
            of.lots, of.cost, of.realised, of.fees, of.funding, of.worth, of.bid, of.ask, of.quote_ns, of.whole,
            of.last_event_no, of.last_trade, of.own_orders, of.stop_ticks, of.trail_ticks, of.even_ticks,
            of.profit_ticks, of.stop.row if of.stop else -1, of.close.row if of.close else -1,
            of.profit.row if of.profit else -1, of.in_slices.row if of.in_slices else -1, of.naked_since, of.trip,
            int(of.trip_lost), of.retry, of.doubt[1], of.doubt[-1], of.wait_ns, of.wait_until,
        )  # fmt: skip

    def order(self, row) -> tuple:
        """An order of the twin in the order of ORDER_FIELDS."""
        order = self.twin.orders[row]
        values = {
            **{name: order.intent[name] for name in ORDER_FIELDS if name in order.intent},
            "venue_order_id": order.venue_id,
            "profit_ticks": order.intent["aux"],
            "slice_ns": order.slice_ns,
            "sliced": order.sliced,
            "slice_row": order.slice.row if order.slice else -1,
            "due_ns": order.due_ns,
            "qty_lots": order.qty,
            "stop_ticks": order.stop,
            "cum_lots": order.cum,
            "base": BASES[order.base],
            "done": 0,
            "overlay": sum(OVERLAYS[name] for name in order.over),
            "sends": order.sends,
            "sent_ns": order.sent_ns,
            "code": order.code,
            "result_e8": sum(order.closed),
            "lost": int(order.lost),
        }
        return tuple(values[name] for name in ORDER_FIELDS)

    def compare_messages(self) -> None:
        """What went out since the last time."""
        pairs = [(self.rig.wires.requests, self.wires.requests)]
        pairs += list(zip(self.rig.wires.reports, self.wires.reports, strict=True))
        for place, (ring, twin) in enumerate(pairs):
            head = int(ring[RING_HEAD])
            assert (head, int(ring[RING_TAIL])) == (len(twin), twin.taken), place
            for index in range(self.told[place], head):
                slot = RING_SLOTS + (index & (int(ring[RING_CAPACITY_WORD]) - 1)) * ORDER_WORDS
                record = ring[slot : slot + ORDER_WORDS]
                said = report_message(record) if place else message(record, INTENT_BITS)
                expected = twin[index]
                if place and said["kind"] == REPORT_TOTALS:
                    said = {name: value for name, value in said.items() if value or name in expected}
                assert said == expected, (place, index)
                key = ("report", said["kind"]) if place else ("request", said["action"], said["leg"])
                self.seen[key] += 1
                if place:
                    self.seen["told", said.get("code", 0)] += 1
            self.told[place] = head

    def compare_journal(self) -> None:
        """Records since the last time."""
        table = self.rig.agent.journal.table
        assert self.rig.agent.journal.count == len(self.journal)
        for index in range(self.read, len(self.journal)):
            record, twin = table[index], self.journal[index]
            kind = KINDS[record["type"]]
            names = ("kind", "ts_ns", "instrument", "code")
            expected = twin.kind, twin.ts_ns, twin.instrument, twin.code
            check(f"record {index}", names, (kind, *record[list(names[1:])].item()), expected)
            names = ["equity_e8", "high_water_e8", "day_start_e8"]
            assert record[names].item() == twin.account, (index, kind)
            if twin.instrument >= 0:
                names = ["position_lots", "cost_tl", "realised_tl", "bid_ticks", "ask_ticks", "fees_e8"]
                assert record[names].item() == twin.holding, (index, kind)
            body = record["body"]
            if kind == "start":
                assert body.tolist() == [twin.body["epoch"], twin.body["generation"], *[0] * 14]
            elif kind == "sample":
                assert not body.any()
            else:
                fields = EXEC_REPORT if kind in ("event", "limit", "day_shut", "day") else INTENT_BITS
                assert message(body, fields) == twin.body, (index, kind)
            self.seen["record", kind] += 1
            if kind == "event":
                self.seen["event", twin.body["kind"]] += 1
        self.read = len(self.journal)

    def compare_wires(self) -> None:
        """Counters, promises and what was published."""
        wires, twin = self.rig.wires, self.wires
        row = wires.rejects[self.n_shards]
        assert {int(code): int(row[code]) for code in row.nonzero()[0]} == +twin.rejects
        assert wires.clocks[CLOCK_EXEC_VENUE] == twin.to_venue and wires.clocks[CLOCK_EXEC_SHARD] == twin.to_shards
        row = wires.gauges[self.n_shards]
        assert {name: int(row[GAUGES[name]]) for name in twin.gauges} == twin.gauges
        for index, known in enumerate(twin.positions):
            out = wires.positions[index]
            assert {name: int(out[COLUMNS[name]]) for name in PUBLISHED} == known, index

    # --- crashes ---
    def crash(self, records, requests, unread) -> None:
        """Killed in the middle of the last item: so many of its last records and requests never came to be.

        unread : rings (as pairs) whose last record was not consumed yet
        """
        del self.journal[len(self.journal) - records :]
        self.rig.agent.memory.header[COMMIT_WORD] = commit_word(len(self.journal))
        self.read = len(self.journal)
        ring, twin = self.rig.wires.requests, self.wires.requests
        for _ in range(requests):
            twin.pop()
            ring[RING_HEAD] -= 1
            slot = RING_SLOTS + (int(ring[RING_HEAD]) & (int(ring[RING_CAPACITY_WORD]) - 1)) * ORDER_WORDS
            ring[slot + ORDER_WORDS - 1] = 0
        self.told[0] = len(twin)
        for ring, twin in unread:
            twin.taken -= 1
            ring[RING_TAIL] -= 1
        self.restart()


assert INT64_MAX == NEVER
