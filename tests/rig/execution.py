"""Execution's kernels in the real wiring, with the test playing feed, shards and venue by hand on the rings."""

import itertools

import numpy as np
from rig.tables import MS, instruments, limits, session

from bot4.engine.execution import ExecutionAgent
from bot4.engine.execution_memory import ORDER_ROWS
from bot4.engine.execution_step import execution_step
from bot4.model.enums import (
    ACTION_PLACE,
    FLAG_LAST,
    REPORT_ACK,
    REPORT_FILL,
    SIDE_BUY,
    STATUS_STALE,
    STATUS_WHOLE,
    TICK_QUOTE,
    TICK_STATUS,
    TIF_IOC,
    TYPE_LIMIT,
)
from bot4.model.records import EXEC_REPORT, ORDER_INTENT, ORDER_WORDS, TICK, words
from bot4.shm.layout import CLOCK_FEED
from bot4.shm.spsc_ring import consume, peek_order, private_rings, push_order, push_tick
from bot4.shm.wires import ORDER_RING_CAPACITY, private_wires

T0 = 1_700_000_000 * 10**9
BID, ASK = 6_000_000, 6_000_001


class Rig:
    """One execution agent on private wires; times are ns after T0. `slots`: of the rings of requests and of reports."""

    def __init__(
        self,
        folder,
        n_instruments=1,
        n_shards=1,
        capacity=16_384,
        limit_changes=(),
        session_changes=(),
        spot=False,
        rows=ORDER_ROWS,
        slots=(ORDER_RING_CAPACITY, ORDER_RING_CAPACITY),
        one_segment=True,
        **journal,
    ):
        self.path = folder / "journal"
        if one_segment:  # no second one can be made: the capacity is all the room there is
            (folder / "journal.1").mkdir(exist_ok=True)
        self.journal = journal
        self.wires = private_wires(n_shards, n_instruments)._replace(
            requests=private_rings(1, slots[0], ORDER_WORDS)[0], reports=private_rings(n_shards, slots[1], ORDER_WORDS)
        )
        self.rows = rows
        self.instruments = instruments(n_instruments, n_shards, spot)
        self.limits = limits(**dict(limit_changes))
        self.begun = self.limits.copy()
        self.agent = None
        self.session = session(n_shards, n_instruments, **dict(session_changes))
        self.capacity = capacity
        self.event_seq, self.trade_id = itertools.count(1), itertools.count(1)
        self.event_no = itertools.count(1)
        self.agent = self.start()

    def build(self):
        """A new agent on the same rings and journal, which has not begun; what was tightened it reads there."""
        if self.agent is not None:
            tightened = self.agent.memory.tightened != 0
            words(self.limits)[tightened] = words(self.begun)[tightened]
        tables = self.instruments, self.limits, self.session
        self.agent = ExecutionAgent(self.wires, *tables, self.path, self.capacity, self.rows, **self.journal)
        return self.agent

    def start(self):
        """A new agent on the same rings and journal, as after a restart, worked until it has nothing to do."""
        self.build()
        self.run()
        return self.agent

    def work(self, most):
        """One call of the agent that handles at most so many items."""
        agent = self.agent
        if not agent._opened():
            return 1
        return int(execution_step(agent.memory, self.wires, self.instruments, self.limits, self.session, most))

    def run(self):
        """Work until nothing is left to do."""
        while self.agent.do_work():
            pass

    def drain(self, ring, dtype):
        """Take everything out of a ring."""
        out, one = [], np.zeros(1, dtype)
        while peek_order(ring, words(one), 0):
            out.append(one[0].copy())
            consume(ring)
        return out

    def requests(self):
        """What went out to the venue since the last call."""
        return self.drain(self.wires.requests, ORDER_INTENT)

    def reports(self, shard=0):
        """What the shard was told since the last call, without the totals' grid."""
        return [report for report in self.drain(self.wires.reports[shard], EXEC_REPORT) if report["kind"] != 15]

    def quote(self, at, bid=BID, ask=ASK, instrument=0):
        """Best bid and ask from the feed."""
        tick = np.zeros(1, TICK)
        tick["ts_recv_ns"], tick["kind"], tick["flags"], tick["instrument"] = T0 + at, TICK_QUOTE, FLAG_LAST, instrument
        tick["w0"], tick["w1"], tick["w2"], tick["w3"] = bid, 10**6, ask, 10**6
        push_tick(self.wires.quotes, words(tick), 0)

    def whole(self, at, whole=True, instrument=0):
        """The book is whole, or not."""
        tick = np.zeros(1, TICK)
        tick["ts_recv_ns"], tick["kind"], tick["flags"], tick["instrument"] = (
            T0 + at,
            TICK_STATUS,
            FLAG_LAST,
            instrument,
        )
        tick["w0"] = STATUS_WHOLE if whole else STATUS_STALE
        push_tick(self.wires.quotes, words(tick), 0)

    def open_market(self, at=0):
        """Whole books and quotes on every instrument."""
        for instrument in range(len(self.instruments)):
            self.whole(at, instrument=instrument)
            self.quote(at, instrument=instrument)
        self.run()

    def intent(self, at, shard=0, **fields):
        """A shard's intent: buys 1,000 lots with an IOC limit and a stop 1 % below, unless said otherwise."""
        if not self.session[0]["paced"]:  # the feed is always at least as far as who decides on its ticks
            self.wires.clocks[CLOCK_FEED] = max(self.wires.clocks[CLOCK_FEED], T0 + at)
        record = np.zeros(1, ORDER_INTENT)
        number = next(self.event_no)
        values = {
            "event_no": number,
            "price_ticks": ASK,
            "qty_lots": 1_000,
            "stop_ticks": BID - 60_000,
            "action": ACTION_PLACE,
            "side": SIDE_BUY,
            "type": TYPE_LIMIT,
            "tif": TIF_IOC,
            "shard": shard,
        }
        values.update({"ts_ns": T0 + at, **fields})
        generation = int(self.session[0]["feed_generation"])
        values["id_hi"] = 1 << 48 | 1 << 32 | values.get("instrument", 0) << 16 | generation
        values["id_lo"] = values["event_no"] << 32 | values.get("leg", 0) << 24
        for name, value in values.items():
            record[name] = value
        push_order(self.wires.intents[shard], words(record), 0)
        return record[0]

    def event(self, at, kind, request, **fields):
        """An event of the venue about one of the requests it got."""
        record = np.zeros(1, EXEC_REPORT)
        values = {
            "id_hi": request["id_hi"],
            "id_lo": request["id_lo"],
            "order_row": request["order_row"],
            "instrument": request["instrument"],
            "side": request["side"],
            "event_seq": next(self.event_seq),
        }
        for name, value in {**values, "ts_ns": T0 + at, "kind": kind, **fields}.items():
            record[name] = value
        push_order(self.wires.events, words(record), 0)

    def ack(self, at, request):
        """The venue works the order."""
        self.event(at, REPORT_ACK, request, venue_order_id=9)

    def fill(self, at, request, qty=None, price=ASK, fee=0):
        """The venue filled it."""
        lots = request["qty_lots"] if qty is None else qty
        self.event(at, REPORT_FILL, request, qty_lots=lots, price_ticks=price, fee_e8=fee, trade_id=next(self.trade_id))

    def enter(self, at=1, **fields):
        """Intent, ack and full fill; returns the entry and the requests that followed it."""
        self.intent(at, **fields)
        self.run()
        entry = self.requests()[-1]
        self.ack(at + 2 * MS, entry)
        self.fill(at + 2 * MS, entry)
        self.run()
        return entry, self.requests()

    @property
    def rejects(self):
        """Execution's own refusals by code."""
        row = self.wires.rejects[len(self.wires.reports)]
        return {int(code): int(row[code]) for code in row.nonzero()[0]}

    @property
    def position(self):
        """Of the first instrument."""
        return self.agent.memory.positions[0]
