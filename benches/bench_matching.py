"""The simulated venue: records of the market with nothing open, orders placed and canceled, market orders filled.

Figures are of the compiled step over its rings, ledger entries made and not written. A small run; the case prints ns an
item beside pytest-benchmark's.
"""

import time

import numpy as np
import pytest

from bot4.adapters.sim.venue_loop import venue_memory, venue_step
from bot4.jit import kernel
from bot4.model import enums as e
from bot4.model.records import INSTRUMENT, ORDER_INTENT, SESSION, TICK, words
from bot4.shm.layout import CLOCK_FEED, RING_HEAD, RING_TAIL
from bot4.shm.spsc_ring import push_order, push_tick
from bot4.shm.wires import private_wires

BATCH = 200  # ACK, FILL and the like of 200 requests fit the events ring
ROUNDS = 30


@kernel
def drive(venue, wires, instruments, session, items):
    """Work until `items` are handled and their events out; entries count as drained, else no event goes out."""
    done = np.int64(0)
    while done < items:
        done += venue_step(venue, wires, instruments, session, items - done)
        venue.core.desk[0]["n_entries"] = 0
    venue_step(venue, wires, instruments, session, np.int64(1))


class Stand:
    """A venue with a deep book; `send` fills its rings, `work` is what is measured."""

    def __init__(self):
        self.instruments = np.zeros(1, INSTRUMENT)
        row = self.instruments[0]
        row["value_e8"], row["tick_e8"], row["lot_e8"] = 10_000, 10_000_000, 100_000
        row["min_qty_lots"], row["max_qty_lots"] = 1, 10**6
        row["maker_fee_ppm"], row["taker_fee_ppm"] = 200, 500
        self.session = np.zeros(1, SESSION)
        self.session[0]["n_shards"] = 1
        self.wires = private_wires(1, 1)
        self.wires.clocks[CLOCK_FEED] = e.INT64_MAX
        self.venue = venue_memory(1, 10**17)
        self.number = 0
        self.ids = 0
        self.tick = np.zeros(1, TICK)
        self.request = np.zeros(1, ORDER_INTENT)
        self.push(e.TICK_STATUS, e.FLAG_SNAPSHOT, e.STATUS_CLEAR)
        for distance in range(1, 500):
            for side in (1, -1):
                self.push(e.TICK_LEVEL, e.FLAG_SNAPSHOT, 60_000 - side * distance, 10**9, side)
        self.push(e.TICK_STATUS, e.FLAG_SNAPSHOT | e.FLAG_LAST, e.STATUS_WHOLE)
        self.work(1_000)

    def push(self, kind, flags, *values):
        self.number += 1
        row = self.tick[0]
        row["ts_recv_ns"], row["kind"], row["flags"], row["event_no"] = self.number, kind, flags, self.number
        for name, value in zip(("w0", "w1", "w2", "w3"), (*values, 0, 0, 0, 0)[:4], strict=True):
            row[name] = value
        push_tick(self.wires.market, words(self.tick), 0)

    def send(self, action, **fields):
        self.request[:] = 0
        row = self.request[0]
        row["ts_ns"], row["id_hi"], row["id_lo"], row["action"] = self.number, 1, self.ids, action
        row["side"], row["qty_lots"], row["tif"] = 1, 1, e.TIF_GTC
        for name, value in fields.items():
            row[name] = value
        push_order(self.wires.requests, words(self.request), 0)

    def work(self, items) -> float:
        """Seconds that the step takes for all that waits."""
        begun = time.perf_counter()
        drive(self.venue, self.wires, self.instruments, self.session, items)
        taken = time.perf_counter() - begun
        self.venue.core.desk[0]["n_entries"] = 0
        self.wires.events[RING_TAIL] = self.wires.events[RING_HEAD]  # the reader has everything
        return taken


def market(stand) -> tuple[float, int]:
    for number in range(BATCH * 20):
        stand.push(e.TICK_LEVEL, e.FLAG_LAST, 59_999 - number % 5, 10**9 + number, 1)
    return stand.work(BATCH * 20), BATCH * 20


def place_cancel(stand) -> tuple[float, int]:
    for _ in range(BATCH):
        stand.ids += 1
        stand.send(e.ACTION_PLACE, type=e.TYPE_LIMIT, price_ticks=59_000)
        stand.send(e.ACTION_CANCEL)
    return stand.work(2 * BATCH), 2 * BATCH


def fills(stand) -> tuple[float, int]:
    for _ in range(BATCH):
        stand.ids += 1
        stand.send(e.ACTION_PLACE, type=e.TYPE_MARKET, side=1 if stand.ids % 2 else -1)
    return stand.work(BATCH), BATCH


@pytest.mark.parametrize("case", [market, place_cancel, fills])
def test_matching(benchmark, case):
    stand = Stand()
    case(stand)
    figures = []
    benchmark.pedantic(lambda: figures.append(case(stand)), rounds=ROUNDS)
    each = sorted(seconds / count * 1e9 for seconds, count in figures)
    benchmark.extra_info.update({"unit": "ns", "p50": each[len(each) // 2], "max": each[-1]})
    print(f"{case.__name__}: {each[len(each) // 2]:.0f} ns an item, worst batch {each[-1]:.0f}")
    assert stand.wires.requests[RING_TAIL] == stand.wires.requests[RING_HEAD]
