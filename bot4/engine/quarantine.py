"""In the place of a shard that cannot be kept alive: nothing is decided, what it had resting is taken back.

Its ticks are dropped, so that nobody waits for room. Execution is asked for the full picture as by any restarted shard;
each opening order in it is cancelled, and execution is asked again until none is left. Exits and stops stay. As soon as
the first cancels are out, it promises that nothing follows, so that others' event time goes on without it.
"""

import time

import numpy as np

from bot4.atomics import load_acquire, store_release
from bot4.model.enums import ACTION_CANCEL, INT64_MAX, LEG_ENTRY, REPORT_ORDER, REPORT_QUERY_END
from bot4.model.records import EXEC_REPORT, ORDER_INTENT, TICK_WORDS, words
from bot4.shm.layout import CLOCK_FEED, CLOCK_SHARD, CONTROL_RESYNC, LINE
from bot4.shm.spsc_ring import consume, has_space, next_time, peek_order, push_order, ring_recover
from bot4.shm.wires import GAUGE_EVENT_TIME_NS, GAUGE_ITEMS, Wires

BATCH = 1_024  # ticks dropped at a time
ASK_NS = 1_000_000_000  # of wall time between two pictures while an opening order is left


class QuarantineAgent:
    """Shard `k` in quarantine, on its own rings; one use a process."""

    def __init__(self, wires: Wires, k: int) -> None:
        self.wires, self.k = wires, k
        ring_recover(wires.intents[k])
        self._report, self._intent = np.zeros(1, EXEC_REPORT), np.zeros(1, ORDER_INTENT)
        self._left = 0  # opening orders of the picture in hand
        self._ask_ns = 0  # when the next picture is asked for; 0: none is
        self._ask()

    def do_work(self) -> int:
        """Drop a batch of ticks, answer reports; returns how many there were."""
        wires, k, done = self.wires, self.k, 0
        while done < BATCH and next_time(wires.ticks[k], TICK_WORDS) >= 0:
            consume(wires.ticks[k])
            done += 1
        while has_space(wires.intents[k], 1) and peek_order(wires.reports[k], words(self._report), 0):
            self._on_report(self._report[0])
            consume(wires.reports[k])
            done += 1
        if self._ask_ns and time.monotonic_ns() >= self._ask_ns:
            self._ask()
        gauges = wires.gauges[k]
        gauges[GAUGE_ITEMS] += done
        feed = load_acquire(wires.clocks, CLOCK_FEED)
        if feed < INT64_MAX:
            gauges[GAUGE_EVENT_TIME_NS] = max(gauges[GAUGE_EVENT_TIME_NS], feed)
        return done

    def close(self) -> None:
        """Nothing is held."""

    def _ask(self) -> None:
        word = CONTROL_RESYNC + self.k * LINE
        store_release(self.wires.control, word, load_acquire(self.wires.control, word) + 1)
        self._left = self._ask_ns = 0

    def _on_report(self, report: np.void) -> None:
        if report["kind"] == REPORT_ORDER and report["leg"] == LEG_ENTRY:
            self._left += 1
            intent = self._intent[0]
            for name in ("ts_ns", "id_hi", "id_lo", "instrument", "shard", "side", "leg"):
                intent[name] = report[name]
            intent["action"] = ACTION_CANCEL
            push_order(self.wires.intents[self.k], words(self._intent), 0)
        elif report["kind"] == REPORT_QUERY_END:
            # SYNC POINT: pairs with execution's load of the promise: the cancels are in the ring before it.
            store_release(self.wires.clocks, CLOCK_SHARD + self.k * LINE, INT64_MAX)
            self._ask_ns = time.monotonic_ns() + ASK_NS if self._left else 0
