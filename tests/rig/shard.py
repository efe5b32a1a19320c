"""A shard in the real wiring, with the test playing feed and execution by hand on the rings."""

import itertools

import numpy as np
from rig import puppet
from rig.tables import MS, SECOND, instruments, limits, session

from bot4.atomics import store_release
from bot4.engine.shard import ShardAgent, kept_row, load_loop, strategy_module, strategy_parameters
from bot4.kernels.parameter import defaults
from bot4.model.enums import (
    FLAG_LAST,
    FLAG_SNAPSHOT,
    N_CODES,
    REPORT_FILL,
    REPORT_QUERY_END,
    REPORT_TOTALS,
    STATUS_CLEAR,
    STATUS_WHOLE,
    TICK_LEVEL,
    TICK_QUOTE,
    TICK_STATUS,
    TICK_TRADE,
)
from bot4.model.records import EXEC_REPORT, ORDER_INTENT, ORDER_WORDS, PORTFOLIO_TOTALS, TICK, words
from bot4.shm.layout import CLOCK_EXEC_SHARD, CLOCK_FEED
from bot4.shm.spsc_ring import consume, peek_order, private_rings, push_order, push_tick
from bot4.shm.wires import private_wires

T0 = 1_700_000_000 * SECOND
BID, ASK = 6_000_000, 6_000_002
STRATEGY = "rig.puppet"
UP, FLAT, DOWN = (90, 10), (50, 50), (10, 90)  # sizes of bid and ask: score +0.8, 0, -0.8


class Rig:
    """One shard agent on private wires; times are ns after T0."""

    def __init__(
        self,
        n_instruments=1,
        n_shards=1,
        k=0,
        spot=False,
        limit_changes=(),
        session_changes=(),
        strategy=None,
        intent_slots=None,
        **params,
    ):
        self.k = k
        self.wires = private_wires(n_shards, n_instruments)
        if intent_slots:
            self.wires = self.wires._replace(intents=private_rings(n_shards, intent_slots, ORDER_WORDS))
        self.instruments = instruments(n_instruments, n_shards, spot)
        self.limits = limits(**dict(limit_changes))
        self.session = session(n_shards, n_instruments, **dict(session_changes))
        name = strategy or STRATEGY
        table = strategy_module(name).PARAMETERS if strategy else puppet.PARAMETERS
        values = {**defaults(table), "bar_ns": 0, "atr_period": 1, "min_hold_ns": 0, "exit_threshold": 0.1}
        self.params = strategy_parameters(name, {**values, **params})
        self.loop = load_loop(name)
        self.wires = self.wires._replace(kept=np.zeros((n_instruments, kept_row(self.loop)), np.int64))
        self.event_no = [itertools.count(1) for _ in range(n_instruments)]
        self.last_event_no = [0] * n_instruments
        self.agent = self.start()

    def start(self):
        """A new agent on the same rings, as after a restart."""
        self.agent = ShardAgent(self.loop, self.wires, self.instruments, self.limits, self.session, self.k, self.params)
        return self.agent

    def run(self):
        """Work until nothing is left to do."""
        while self.agent.do_work():
            pass

    def work(self, most):
        """Handle at most so many items; returns how many."""
        arguments = (self.wires, self.instruments, self.limits, self.session, self.k)
        return int(self.loop.shard_step(self.agent.memory, *arguments, most))

    def feed_clock(self, at):
        """The feed promises to send nothing before."""
        store_release(self.wires.clocks, CLOCK_FEED, T0 + at)

    def report_clock(self, at):
        """Execution promises to deliver nothing before."""
        store_release(self.wires.clocks, CLOCK_EXEC_SHARD, T0 + at)

    # --- the feed ---------------------------------------------------------------------------------------------------

    def tick(self, at, kind, words_=(0, 0, 0, 0), flags=FLAG_LAST, instrument=0, event_no=None, run=True):
        """One record, which is returned; consecutive unless `event_no` is given."""
        one = np.zeros(1, TICK)
        if event_no is None:
            event_no = next(self.event_no[instrument])
        self.last_event_no[instrument] = event_no
        one["ts_recv_ns"], one["kind"], one["flags"], one["instrument"] = T0 + at, kind, flags, instrument
        one["w0"], one["w1"], one["w2"], one["w3"] = words_
        one["event_no"] = event_no
        push_tick(self.wires.ticks[self.k], words(one), 0)
        if run:
            self.run()
        return one[0]

    def quote(self, at, sizes=FLAT, bid=BID, ask=ASK, **more):
        """Best bid and ask; the sizes are what the puppet wants."""
        self.tick(at, TICK_QUOTE, (bid, sizes[0], ask, sizes[1]), **more)

    def trade(self, at, price=BID, lots=1, side=1, **more):
        """A trade, which here is a bar."""
        self.tick(at, TICK_TRADE, (price, lots, 0, side), **more)

    def whole(self, at, state=STATUS_WHOLE, **more):
        """Status of the book."""
        self.tick(at, TICK_STATUS, (state, 0, 0, 0), **more)

    def warm_up(self, at=0):
        """Book whole, quote there, two bars with a range of 1,000 ticks; gate open. Ends 5 ms later."""
        self.whole(at)
        self.quote(at + MS)
        for number in range(3):
            self.trade(at + (2 + number) * MS, price=BID + 1_000 * (number % 2))
        return at + 5 * MS

    def snapshot(self, at, instrument=0, event_no=None, flags=FLAG_SNAPSHOT):
        """What the feed answers to a request: one message, event_no not counted on."""
        event_no = self.last_event_no[instrument] if event_no is None else event_no
        same = {"instrument": instrument, "event_no": event_no, "run": False}
        self.tick(at, TICK_STATUS, (STATUS_CLEAR, 0, 0, 0), flags=flags, **same)
        self.tick(at, TICK_LEVEL, (BID, 50, 1, 0), flags=flags, **same)
        self.tick(at, TICK_LEVEL, (ASK, 50, -1, 0), flags=flags, **same)
        self.tick(at, TICK_STATUS, (STATUS_WHOLE, 0, 0, 0), flags=flags | FLAG_LAST, **same)
        self.event_no[instrument] = itertools.count(event_no + 1)
        self.run()

    # --- execution --------------------------------------------------------------------------------------------------

    def intents(self):
        """What the shard sent since the last call."""
        out, one = [], np.zeros(1, ORDER_INTENT)
        while peek_order(self.wires.intents[self.k], words(one), 0):
            out.append(one[0].copy())
            consume(self.wires.intents[self.k])
        return out

    def intent(self):
        """The only intent since the last call."""
        found = self.intents()
        assert len(found) == 1, f"{len(found)} intents"
        return found[0]

    def report(self, at, kind, order=None, run=True, **fields):
        """One execution report, about `order` if given; it is returned."""
        one = np.zeros(1, EXEC_REPORT)
        one["ts_ns"], one["kind"], one["shard"] = T0 + at, kind, self.k
        if order is not None:
            for name in ("id_hi", "id_lo", "instrument", "side", "leg"):
                one[name] = order[name]
        for name, value in fields.items():
            one[name] = value
        push_order(self.wires.reports[self.k], words(one), 0)
        if run:
            self.run()
        return one[0]

    def fill(self, at, order, lots=None, leaves=0, price=ASK):
        """The order filled, wholly unless said."""
        lots = order["qty_lots"] if lots is None else lots
        self.report(at, REPORT_FILL, order, qty_lots=lots, leaves_lots=leaves, price_ticks=price)

    def totals(self, at, equity=100_000, high=None, start=None, breaker=0, streak=0, gate=1, run=True):
        """Portfolio totals in units of the quote currency."""
        one = np.zeros(1, PORTFOLIO_TOTALS)
        one["ts_ns"], one["kind"], one["breaker"], one["gate"] = T0 + at, REPORT_TOTALS, breaker, gate
        one["equity_e8"], one["streak"] = equity * 10**8, streak
        one["high_water_e8"] = (equity if high is None else high) * 10**8
        one["day_start_e8"] = (equity if start is None else start) * 10**8
        push_order(self.wires.reports[self.k], words(one), 0)
        if run:
            self.run()
        return one[0]

    def resynced(self, at):
        """End of the answer to a resync."""
        self.report(at, REPORT_QUERY_END)

    # --- what the shard knows ---------------------------------------------------------------------------------------

    def rejects(self):
        """{code: count} of the shard's refusals."""
        row = self.wires.rejects[self.k]
        return {code: int(row[code]) for code in range(N_CODES) if row[code]}

    def risk(self, instrument=0):
        """The shard's risk view."""
        return self.agent.memory.risks[instrument]

    def held(self, at=0, side=1, **more):
        """Warm up and get into a position; returns the entry and the time after."""
        at = self.warm_up(at)
        self.quote(at, UP if side > 0 else DOWN, **more)
        entry = self.intent()
        self.fill(at + MS, entry)
        return entry, at + 2 * MS
