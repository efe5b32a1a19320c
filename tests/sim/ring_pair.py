"""A small real bot for tests of the supervisor: a feed that counts into a ring, a shard that checks the counting.

Real processes, real shared memory, the real rings; only the trading is left out. What an agent shall do wrong, and
when, stands in the plan's strategy parameters.
"""

import json
import os
import signal
from pathlib import Path

import numpy as np

from bot4.jit import kernel
from bot4.model.enums import INT64_MAX
from bot4.model.errors import JournalError, RecordingError
from bot4.model.records import INSTRUMENT, LIMITS, SESSION, TICK, TICK_WORDS, words
from bot4.settings.conversion import breaker_words
from bot4.settings.loader import load
from bot4.shm.layout import (
    CLOCK_EXEC_VENUE,
    CLOCK_FEED,
    CLOCK_VENUE,
    CONTROL_FEED_DONE,
    CONTROL_KILL,
    RING_HEAD,
    RING_TAIL,
)
from bot4.shm.spsc_ring import consume, has_space, peek_tick, push_tick, ring_recover
from bot4.shm.wires import (
    GAUGE_EVENT_TIME_NS,
    GAUGE_FEED_MESSAGES,
    GAUGE_FEED_TICKS,
    GAUGE_ITEMS,
    NOTHING_KEPT,
    private_wires,
)
from workers.plan import FeedSpec, Plan, WorkerSpec

BATCH = 64
WRONG = 40  # gauge: records of the ring that were not the next number


@kernel
def produce(ring, record, numbers, last, batch):
    """Push the numbers after ring[RING_HEAD] up to `last`; returns how many."""
    done = 0
    while done < batch and ring[RING_HEAD] < last and has_space(ring, 1):
        numbers[0] = ring[RING_HEAD] + 1
        push_tick(ring, numbers, 0)
        done += 1
    return done


@kernel
def check(ring, numbers, gauges, batch):
    """Take records and count those that are not the next number; returns how many were taken."""
    done = 0
    while done < batch and peek_tick(ring, numbers, 0):
        if numbers[0] != ring[RING_TAIL] + 1:
            gauges[WRONG] += 1
        consume(ring)
        done += 1
    return done


class _Agent:
    def __init__(self, plan, wires, name, attempt):
        self.plan, self.wires, self.name, self.attempt = plan, wires, name, attempt
        self.parameters = json.loads(str(plan.strategy_params))
        self.calls = 0
        self.record = np.zeros(1, TICK)
        self.numbers = words(self.record)
        if attempt < self.parameters.get(f"{name.split('-')[0]}_stillborn", 0):
            os.kill(os.getpid(), signal.SIGKILL)

    def misbehave(self):
        """Die, hang or fail as the plan says, on the first `<agent>_times` starts of this agent."""
        self.calls += 1
        kind = self.name.split("-")[0]
        if self.attempt >= self.parameters.get(f"{kind}_times", 0) or self.calls < self.parameters.get(f"{kind}_at", 1):
            return
        fault = self.parameters.get(f"{kind}_fault", 0)
        if fault == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        if fault == 3:
            raise ZeroDivisionError("an error nobody meant")
        if fault == 4:
            raise RecordingError("recording.gz: truncated at byte 17; fetch it again")
        if fault == 5:
            raise JournalError("journal.bin: record 7 is damaged")
        if fault == 6:
            while True:
                pass
        if fault == 7:
            _, full = os.pipe()
            os.write(full, bytes(10**7))

    def close(self):
        """Nothing is held."""


class Feed(_Agent):
    """Counts from where the ring stands up to `ticks`; 0 means for ever."""

    def do_work(self):
        """One batch."""
        self.misbehave()
        last = int(self.parameters.get("ticks", 1000)) or INT64_MAX
        done = produce(self.wires.ticks[0], self.record, self.numbers, last, BATCH)
        gauges = self.wires.gauges[self.plan.n_shards + 2]
        for gauge in (GAUGE_ITEMS, GAUGE_FEED_MESSAGES, GAUGE_FEED_TICKS):
            gauges[gauge] += done
        if self.wires.ticks[0][RING_HEAD] >= last:
            self.wires.clocks[CLOCK_FEED] = INT64_MAX
            self.wires.control[CONTROL_FEED_DONE] = 1
        return done


class Shard(_Agent):
    """Takes the numbers."""

    def do_work(self):
        """One batch."""
        gauges = self.wires.gauges[0]
        done = check(self.wires.ticks[0], self.numbers, gauges, BATCH)
        gauges[GAUGE_ITEMS] += done
        gauges[GAUGE_EVENT_TIME_NS] = self.wires.ticks[0][RING_TAIL]
        if (
            self.wires.clocks[CLOCK_FEED] == INT64_MAX
            and self.wires.ticks[0][RING_TAIL] == self.wires.ticks[0][RING_HEAD]
        ):
            self.wires.clocks[CLOCK_EXEC_VENUE] = INT64_MAX
        self.misbehave()
        return done


class Still(_Agent):
    """Execution and venue: alive, with nothing to do."""

    def do_work(self):
        """Promise that nothing comes."""
        self.misbehave()
        self.wires.clocks[CLOCK_VENUE] = INT64_MAX
        if self.name == "execution" and self.wires.control[CONTROL_KILL]:
            self.wires.gauges[self.plan.n_shards][41] = 1  # seen
        return 0


def warm(plan):
    """Compile the two kernels."""
    wires = private_wires(1, 1, 64)
    record = np.zeros(1, TICK)
    ring_recover(wires.ticks[0])
    produce(wires.ticks[0], record, words(record), 10, BATCH)
    check(wires.ticks[0], words(record), wires.gauges[0], BATCH)
    assert words(record).shape == (TICK_WORDS,)
    fault = json.loads(str(plan.strategy_params)).get("warm_fault", 0)
    if fault == 1:
        raise RecordingError("nothing to warm with")
    if fault == 2:
        raise ZeroDivisionError("an error nobody meant")
    return NOTHING_KEPT


BUILDERS = {
    "feed": f"{__name__}:Feed",
    "shard": f"{__name__}:Shard",
    "execution": f"{__name__}:Still",
    "venue": f"{__name__}:Still",
    "bot": f"{__name__}:Still",
    "quarantine": "workers.quarantine:build",
}
CONFIG = Path(__file__).resolve().parents[2] / "config" / "paper.toml"
WORKERS = tuple(WorkerSpec(name=name, agents=(name,), core=None) for name in ("venue", "execution", "shard-0", "feed"))


def ring_pair_plan(instance: str, state: Path, **parameters: float) -> Plan:
    """A plan whose agents are those above."""
    return Plan(
        instance=instance,
        generation=1,
        n_shards=1,
        symbols=(("COUNT", "synthetic"),),
        instruments=np.zeros(1, INSTRUMENT),
        limits=np.zeros(1, LIMITS),
        session=np.zeros(1, SESSION),
        feed=FeedSpec(kind="synthetic"),
        speed=0.0,
        strategy_module="none",
        strategy_params=np.array(json.dumps(parameters)),
        state_folder=state,
        session_folder=state / "sessions" / "1",
        breakers=breaker_words(load(CONFIG)),
        builders=BUILDERS,
        warm=f"{__name__}:warm",
    )
