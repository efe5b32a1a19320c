"""A shard and its twin on the same input; after every call to work they must agree in all that can be seen."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from reference.engine.shard import Record, RefShard, RefStrategy
from rig.shard import Rig

from bot4.kernels.breaker import LIMITS_TAKEN
from bot4.kernels.risk.view import RISK_VIEW
from bot4.kernels.state import SHARD_STATE, VIEW
from bot4.model.breaker import STATES, TRIPS, WORD, breaker_row
from bot4.model.records import ORDER_INTENT
from bot4.shm.layout import (
    CLOCK_EXEC_SHARD,
    CLOCK_FEED,
    CLOCK_SHARD,
    CONTROL_KILL,
    CONTROL_RESYNC,
    CONTROL_SNAPSHOT,
    LINE,
    RING_CAPACITY_WORD,
    RING_HEAD,
    RING_TAIL,
)
from bot4.shm.wires import (
    GAUGE_EVENT_TIME_NS,
    GAUGE_ITEMS,
    GAUGE_SHARD_GATE_OPEN,
    GAUGE_SHARD_INTENTS,
    GAUGE_SHARD_STEPS,
    STAGE_FEED_TO_SHARD,
    STAGE_STEP,
    STAGE_TICK_TO_INTENT,
    STAGES,
)

INDICATORS = ("mid", "microprice", "imbalance", "open", "high", "low", "close", "atr", "vwap")


def plain(record: Any) -> Record:
    """A record as a dictionary by field name."""
    return dict(zip(record.dtype.names, record.item(), strict=True))


def near(found: float, expected: float, scale: float = 1.0) -> bool:
    """Equal but for the rounding of another order of operations."""
    return found == expected or math.isclose(found, expected, rel_tol=1e-11, abs_tol=1e-9 * scale)


class ShardPair:
    """`rig` is the real shard, `twin` the slow one; what goes in goes into both."""

    def __init__(self, make: Callable[[Record], RefStrategy], adjust: Callable[[Rig], None], **more: Any) -> None:
        self.rig = Rig(**more)
        adjust(self.rig)
        self.twin = RefShard(
            self.rig.k,
            [plain(row) for row in self.rig.instruments],
            plain(self.rig.limits[0]),
            plain(self.rig.session[0]),
            plain(self.rig.params[0]),
            make,
            [name for name in VIEW.names if name != "_pad"],
        )
        self.drained = 0
        self.measured = bool(self.twin.session["measure"] and not self.twin.session["paced"])

    def watch_model(self, **limits: int) -> None:
        """The strategy's breaker goes by these, from the start of the session on."""
        row = self.rig.wires.breakers[breaker_row("model", len(self.rig.wires.ticks), self.rig.k)]
        for name, value in limits.items():
            row[LIMITS_TAKEN[f"limit_{name}"]] = value
        self.twin.model_limits = limits
        self.rig.start()

    def tick(self, *arguments: Any, **more: Any) -> None:
        """One record of the feed."""
        self.twin.ticks.append(plain(self.rig.tick(*arguments, run=False, **more)))

    def report(self, *arguments: Any, **more: Any) -> None:
        """One report of execution."""
        self.twin.reports.append(plain(self.rig.report(*arguments, run=False, **more)))

    def totals(self, *arguments: Any, **more: Any) -> None:
        """Portfolio totals."""
        self.twin.reports.append(plain(self.rig.totals(*arguments, run=False, **more)))

    def restart(self) -> None:
        """The shard's process dies and comes back; rings and counters stay."""
        self.rig.start()
        self.twin.start(fresh=self.twin.items == 0)  # an earlier life that took nothing knew nothing

    def work(self, most: int) -> int:
        """Both handle up to `most` items and are compared."""
        wires, k = self.rig.wires, self.rig.k
        ring = wires.intents[k]
        self.twin.room = int(ring[RING_CAPACITY_WORD] - ring[RING_HEAD] + ring[RING_TAIL])
        self.twin.feed_ns, self.twin.report_ns = int(wires.clocks[CLOCK_FEED]), int(wires.clocks[CLOCK_EXEC_SHARD])
        self.twin.kill = int(wires.control[CONTROL_KILL])
        handled = self.rig.work(most)
        assert handled == self.twin.work(most)
        self.compare(handled)
        return handled

    # --- comparison -------------------------------------------------------------------------------------------------

    def drain(self) -> list[Record]:
        """Take what was sent since the last time; every field as the twin says."""
        found = [plain(intent) for intent in self.rig.intents()]
        expected = self.twin.sent[self.drained :]
        assert len(found) == len(expected)
        for intent, twin in zip(found, expected, strict=True):
            for name in ORDER_INTENT.names[:-1]:
                if name == "score":
                    assert near(intent[name], twin[name])
                elif name in ("tsc", "tsc_read") and self.measured:
                    assert 0 <= intent["tsc"] <= intent["tsc_read"] > 0
                else:
                    assert intent[name] == twin[name], (name, intent, twin)
        self.drained = len(self.twin.sent)
        return expected

    def compare(self, handled: int) -> None:
        """Promise, requests, counters, and what is known of every instrument."""
        wires, k, twin = self.rig.wires, self.rig.k, self.twin
        gauges = wires.gauges[k].tolist()
        assert int(wires.clocks[CLOCK_SHARD + k * LINE]) == twin.clock_ns
        assert int(wires.control[CONTROL_SNAPSHOT + k * LINE]) == twin.snapshots
        assert int(wires.control[CONTROL_RESYNC + k * LINE]) == twin.resyncs
        assert (gauges[GAUGE_ITEMS], gauges[GAUGE_EVENT_TIME_NS]) == (twin.items, twin.event_ns)
        assert (gauges[GAUGE_SHARD_STEPS], gauges[GAUGE_SHARD_INTENTS]) == (twin.steps, twin.intents)
        assert gauges[GAUGE_SHARD_GATE_OPEN] == twin.open_gates
        counts = [int(histogram[0]) for histogram in wires.histograms]
        alone = self.measured and k == 0  # one writer a row: the first shard
        expected = {STAGE_FEED_TO_SHARD: twin.steps, STAGE_STEP: twin.steps, STAGE_TICK_TO_INTENT: twin.intents}
        assert counts == [expected.get(stage, 0) if alone else 0 for stage in range(len(STAGES))]
        row = wires.rejects[k]
        assert {int(code): int(row[code]) for code in np.flatnonzero(row)} == +twin.rejects
        assert self.rig.agent.memory.limit_words.tolist() == list(twin.limits.values())
        status = self.rig.agent.memory.status[0]
        assert (status["execution_gate"] != 0, status["resyncing"] != 0) == (twin.gate, twin.resyncing)
        assert status["snapshot_wanted"] == 0  # passed on at once
        model = self.rig.agent.memory.model[0]
        assert STATES[model["state"]] == twin.model and model["trips"] == twin.model_trips
        assert twin.model == "closed" or model["until_ns"] == twin.model_until
        if handled:
            row = wires.breakers[breaker_row("model", len(wires.ticks), k)]
            assert STATES[int(row[WORD]) & 3] == twin.model and row[TRIPS] == twin.model_trips
        for i in twin.lines:
            self.compare_line(i)

    def compare_line(self, i: int) -> None:
        """One instrument."""
        memory, line = self.rig.agent.memory, self.twin.lines[i]
        state = dict(zip(SHARD_STATE.names, memory.states[i].item(), strict=True))
        risk = dict(zip(RISK_VIEW.names, memory.risks[i].item(), strict=True))
        assert {name: risk[name] for name in line.risk} == line.risk
        assert not any(value for name, value in risk.items() if name not in line.risk), "what execution alone knows"
        assert (state["synced"] != 0, state["next_event_no"]) == (line.sequence.synced, line.sequence.next)
        assert (state["last_ts_ns"], state["mark_e8"]) == (line.sequence.last_ns, line.mark_e8)
        assert (state["pause_until_ns"], state["entry_ns"]) == (line.pause_ns, line.entry_ns)
        assert near(state["last_score"], line.score)
        won, lost = [one for one in line.results if one > 0], [-one for one in line.results if one <= 0]
        assert (state["trips"], state["wins"]) == (len(line.results), len(won))
        assert (state["won_ppb"], state["lost_ppb"]) == (sum(won), sum(lost))
        cash = -sum(side * worth for side, worth in line.trip)
        assert (state["trip_cash_tl"], state["trip_cost_tl"], state["trip_fees_e8"]) == (
            cash, line.trip_cost, line.trip_fees
        )  # fmt: skip
        assert (state["order_active"] != 0) == (line.order is not None)
        if line.order:
            order = line.order
            ids = (state["order_hi"] % 2**64, state["order_lo"] % 2**64)
            assert (*ids, state["order_leg"]) == (order.id_hi, order.id_lo, order.leg)
            assert (state["order_side"], state["order_leaves"]) == (order.side, order.leaves)
            assert (state["order_sent_ns"], state["cancel_sent_ns"]) == (order.sent_ns, order.cancel_ns)
        view = dict(zip(VIEW.names, memory.views[i].item(), strict=True))
        for name, value in line.view.items():
            if name in INDICATORS:
                assert near(view[name], value, 100.0), (name, view[name], value)
            else:
                assert view[name] == value, (name, view[name], value)
        strategy = dict(zip(self.rig.loop.STATE.names, memory.strategies[i].item(), strict=True))
        assert (strategy["warm"] != 0) == line.strategy.warm
        for name in ("ticks", "fills", "filled_lots"):
            assert strategy.get(name) == getattr(line.strategy, name, None)
