"""The simulated venue's loop against its twin: random markets and orders, clocks that lag, a reader that lags.

Compared after every call: items, promise, idleness, gauges, every event in the ring, positions and open orders.
"""

import functools
import random
from collections import Counter

import numpy as np
import pytest
from reference.adapters.sim.venue_loop import END_NS, RefVenueLoop, Tick
from rig.matching import Pair, RandomScript, event_tuple

from bot4.adapters.sim.venue_loop import NONE, venue_idle, venue_memory, venue_step
from bot4.jit import JIT
from bot4.kernels.matching.state import ITEM_ENTRIES, LEDGER_CAPACITY
from bot4.model import enums as e
from bot4.model.latency import BY_NUMBER, BY_TIME, Latency
from bot4.model.records import EXEC_REPORT, ORDER_WORDS, SESSION, words
from bot4.shm.layout import CLOCK_EXEC_VENUE, CLOCK_FEED, CLOCK_VENUE, RING_HEAD, RING_TAIL
from bot4.shm.spsc_ring import consume, peek_order, private_rings, push_order, push_tick
from bot4.shm.wires import (
    GAUGE_EVENT_TIME_NS,
    GAUGE_ITEMS,
    GAUGE_VENUE_FILLS,
    GAUGE_VENUE_ORDERS,
    VENUE_ROW,
    private_wires,
)

SEEDS = range(24) if JIT else range(16)
LENGTH = 1_000 if JIT else 400
SLOTS = 8  # of the events' ring: a query's answer or a sweep of orders fills it
ORDER_NS, REPORT_NS = 40, 15
N_SHARDS = 2


def latencies(draw: random.Random):
    """Of orders by number, of cancels by time, of reports either; now and then shorter than the least."""
    times = np.array(sorted(draw.sample(range(20_000), 40)), np.int64)
    by_time = [Latency(BY_TIME, times, np.array([draw.randrange(400) for _ in times], np.int64)) for _ in range(2)]
    by_number = [
        Latency(BY_NUMBER, times[:1], np.array([draw.randrange(bound) for _ in range(17)], np.int64))
        for bound in (400, 100)
    ]
    return by_number[0], by_time[0], draw.choice((by_number[1], by_time[1]))


class LoopPair(Pair):
    """Rings between the script and both venues; takes the script's market and orders like its parent."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.paced = bool(seed % 2)
        self.session = np.zeros(1, SESSION)
        self.session["paced"], self.session["n_shards"] = self.paced, N_SHARDS
        self.session["order_latency_ns"], self.session["report_latency_ns"] = ORDER_NS, REPORT_NS
        self.wires = private_wires(N_SHARDS, 2, 1_024)._replace(events=private_rings(1, SLOTS, ORDER_WORDS)[0])
        tables = latencies(self.random) if seed % 3 == 2 else None
        self.venue = venue_memory(2, self.cash_e8, tables or NONE)
        self.memory = self.venue.core
        self.memory.desk[0]["n_entries"] = 0
        twins = tables and [(one.kind, one.times.tolist(), one.values.tolist()) for one in tables]
        self.loop = RefVenueLoop(self.twin, self.paced, ORDER_NS, REPORT_NS, SLOTS, twins)
        self.event = np.zeros(1, EXEC_REPORT)
        self.arrival = 0

    # --- the script's hands ---
    def tick(self, instrument, kind, flags, *values, lag_us=0, skip=0):
        """One record into the market's ring."""
        w = (*values, 0, 0, 0, 0)[:4]
        self.numbers[instrument] += 1 + skip
        self.tick_record[0] = (self.now, lag_us, instrument, kind, flags, *w, self.numbers[instrument], 0, 0)
        push_tick(self.wires.market, words(self.tick_record), 0)
        self.loop.market.append(Tick(self.now, lag_us, instrument, kind, flags, w, self.numbers[instrument]))
        self.turn()
        if not flags & e.FLAG_LAST and self.random.random() < 0.1:  # within a message
            self.request(e.ACTION_QUERY_POSITION)
            self.now += 3 * ORDER_NS

    def request(self, action, number=0, instrument=0, **fields):
        """One request, on its way for a while."""
        self.arrival = max(self.arrival, self.now + self.random.choice((0, 0, 1, ORDER_NS, 2 * ORDER_NS)))
        values = {
            "t": self.arrival, "action": action, "id": (11, number) if number else (0, 0), "instrument": instrument,
            "side": 0, "type": 0, "tif": 0, "flags": 0, "price": 0, "qty": 0, "trigger": 0, "row": -1, "aux": 0,
        } | fields  # fmt: skip
        self.request_record[:] = 0
        row = self.request_record[0]
        for name, key in (("ts_ns", "t"), ("price_ticks", "price"), ("qty_lots", "qty"), ("stop_ticks", "trigger"),
                          ("order_row", "row")):  # fmt: skip
            row[name] = values[key]
        row["id_hi"], row["id_lo"] = values["id"]
        for name in ("action", "instrument", "side", "type", "tif", "flags", "aux"):
            row[name] = values[name]
        push_order(self.wires.requests, words(self.request_record), 0)
        self.loop.requests.append(values)
        self.turn()

    # --- time and work ---
    def turn(self) -> None:
        """Clocks move on, the venue works, execution reads, each of them or not."""
        pick = self.random.choice
        if self.random.random() < 0.5:
            self.clocks(self.now, self.now + pick((-50, 0, 0, 1, ORDER_NS)))
        if self.random.random() < 0.6:
            self.work(pick((1, 1, 2, 3, 50)))
        if self.random.random() < 0.3:
            self.read(pick((1, 1, 3, SLOTS)))
        if max(len(self.loop.market), len(self.loop.requests)) > 60:
            self.catch_up(self.now, self.now + 1)

    def clocks(self, feed_ns: int, exec_ns: int) -> None:
        """Promises of feed and execution, which never go back."""
        self.loop.feed_ns, self.loop.exec_ns = max(self.loop.feed_ns, feed_ns), max(self.loop.exec_ns, exec_ns)
        self.wires.clocks[CLOCK_FEED], self.wires.clocks[CLOCK_EXEC_VENUE] = self.loop.feed_ns, self.loop.exec_ns

    def catch_up(self, feed_ns: int, exec_ns: int) -> None:
        """Everything that is due."""
        self.clocks(feed_ns, exec_ns)
        while self.work(50) or self.loop.ledger_full or self.read(SLOTS):
            pass

    def work(self, most: int) -> int:
        """Both, compared."""
        self.loop.ledger_full = self.random.random() < 0.05
        least = LEDGER_CAPACITY - ITEM_ENTRIES  # still room for one item, whatever it causes
        waiting = least + 1 if self.loop.ledger_full else least if most == 1 and self.random.random() < 0.5 else 0
        self.memory.desk[0]["n_entries"] = waiting
        self.loop.undrained = waiting > 0
        found = venue_step(self.venue, self.wires, self.instruments, self.session, most)
        assert found == self.loop.work(most)
        self.memory.desk[0]["n_entries"] = 0
        for ring, left in ((self.wires.market, self.loop.market), (self.wires.requests, self.loop.requests)):
            assert ring[RING_HEAD] - ring[RING_TAIL] == len(left)
        assert int(self.wires.clocks[CLOCK_VENUE]) == self.loop.clock_ns
        assert bool(venue_idle(self.venue, self.wires)) == self.loop.is_idle()
        gauges = self.wires.gauges[N_SHARDS + VENUE_ROW]
        assert (gauges[GAUGE_ITEMS], gauges[GAUGE_EVENT_TIME_NS]) == (self.loop.items, self.twin.now)
        accepted = sum(order.status != e.REPORT_REJECT for order in self.twin.ids.values())
        assert (gauges[GAUGE_VENUE_ORDERS], gauges[GAUGE_VENUE_FILLS]) == (accepted, len(self.twin.trades))
        assert self.state() == self.twin.state()
        return int(found)

    def read(self, most: int) -> int:
        """Execution takes up to `most` events; how many."""
        for taken in range(most):
            there = bool(peek_order(self.wires.events, words(self.event), 0))
            assert there == bool(self.loop.ring)
            if not there:
                return taken
            assert event_tuple(self.event[0]) == self.loop.ring.popleft()
            consume(self.wires.events)
        return most


@functools.cache
def reached(seed: int) -> Counter[str]:
    """What the run of a seed reached, venue and twin agreeing throughout."""
    pair = LoopPair(seed)
    script = RandomScript(pair, seed)
    for _ in range(LENGTH):
        script.step()
    pair.catch_up(END_NS, END_NS)
    assert pair.loop.is_idle() and pair.loop.clock_ns == END_NS
    kinds = Counter({f"paced {name}" if pair.paced else name: count for name, count in pair.loop.seen.items()})
    return kinds + Counter({"fills": len(pair.twin.trades)})


@pytest.mark.parametrize("seed", SEEDS)
def test_random_runs_equal_the_twin(seed):
    assert reached(seed)


BOTH = {
    "ledger first", "ledger full", "market", "market before a request of its time", "message before a request",
    "no room", "nothing", "request", "request waits", "waits within a message",
}  # fmt: skip
BOTH |= {"held", "released"}
FREE = BOTH | {"request at rest"}
PACED = BOTH | {"market waits", "unread event"}


def test_the_runs_reach_every_order_of_events():
    total = sum((reached(seed) for seed in SEEDS), Counter())
    assert set(total) == FREE | {f"paced {name}" for name in PACED} | {"fills"}
