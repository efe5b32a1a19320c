"""What every worker does: pin, build its agents, run their duty cycle until the stop word.

A worker is forked by the template, so everything is compiled and mapped already. It takes no orders by signal: Ctrl-C
of the terminal and SIGTERM are ignored in favour of the control word, so that a stop never falls inside a batch. Its
heartbeat is stamped by the work loop itself: a loop that hangs is seen.
"""

import gc
import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from bot4.adapters.system.affinity import favour, pin
from bot4.adapters.system.process import aim_out_of_memory, sharpen_timers
from bot4.model.errors import Bot4Error
from bot4.settings.schema import IDLE_STRATEGIES
from bot4.shm.layout import CLOCK_FEED, CLOCK_VENUE, CONTROL_STOP, CONTROL_STOP_RECORDER, LINE, RING_HEAD
from bot4.shm.waiting import HOLD, NEVER, WAITER_FLAG, WAITER_ORDER, WAYS, idle_words, rest_once, wake_peers
from bot4.shm.wires import EXECUTION_ROW, FEED_ROW, GAUGE_BEGAN_NS, GAUGE_HEARTBEAT_NS, VENUE_ROW, Wires
from workers.plan import SETTLE, SETTLE_LIMIT_S, Plan, WorkerSpec, kind_of, rows_of


class Agent(Protocol):
    """One duty cycle."""

    def do_work(self) -> int:
        """Handle one bounded batch; 0 if there was nothing to do."""
        ...

    def close(self) -> None:
        """Write what is left and let go."""
        ...


class Runner(Agent, Protocol):
    """An agent whose kernel polls, waits and wakes by itself."""

    def run(self, idle: np.ndarray, peers: np.ndarray) -> int:
        """Handle one bounded batch, or wait as `idle` says; wake the peers after news."""
        ...


SPINS = 400  # some 20 us of empty polls in a kernel
SPINS_OUTSIDE = 16  # the same from Python
YIELDS = 64
# Paced by event time the peers answer within microseconds, if they get a core: who spins keeps it from them.
SPINS_PACED, YIELDS_PACED = 5, 20
POLLS = 20_000  # of one call in a kernel: a heartbeat a millisecond
TIME_OUT_NS = 10_000_000  # of a sleep: heartbeat, stop word and kill latch are looked at so often
# Whom the kernel kills first where memory is short: what is rebuilt at no cost first, execution last.
OUT_OF_MEMORY = {"recorder": 800, "feed": 500, "shard": 500, "quarantine": 500}
NAP_NS = 1_000_000  # where nobody wakes: what goes by the wall clock (feed, venue), several agents in one process


def idle_strategy(way: str, paced: bool, inside: bool, time_out_ns: int) -> np.ndarray:
    """How to wait, as words for a kernel: `spin` never gives the core away, `backoff` spins, then yields, then sleeps,
    `block` sleeps at once. `inside`: the polls are a kernel's, not Python's.
    """
    if way == "spin":
        return idle_words(NEVER, 0, time_out_ns, POLLS)
    if way == "block" or time_out_ns == NAP_NS:  # whatever comes, comes with the clock: polling finds nothing sooner
        return idle_words(0, 0, time_out_ns, POLLS)
    if way == "backoff":
        spins = SPINS_PACED if paced else SPINS if inside else SPINS_OUTSIDE
        return idle_words(spins, YIELDS_PACED if paced else YIELDS, time_out_ns, POLLS)
    raise Bot4Error(f"idle strategy {way!r} is none of {', '.join(IDLE_STRATEGIES)}")


class Duty:
    """The turns of one worker: work, and wait where there is none, and wake those whom news concerns.

    A `controlled` worker waits in the way that the order word of its line says at the moment, or holds still.
    """

    def __init__(self, plan: Plan, wires: Wires, spec: WorkerSpec, agents: Sequence[Any]) -> None:
        self._agents = agents
        self._rests = not getattr(agents[0], "waits_itself", False)
        self._waiters = wires.waiters
        self._row = rows_of(spec.agents[0], plan.n_shards)[0]
        self._order = self._row * LINE + WAITER_ORDER
        alone = len(agents) == 1
        inside = alone and hasattr(agents[0], "run")
        by_the_clock = spec.agents[0] == "bot" or (spec.agents[0] in ("feed", "venue") and not plan.replayed)
        woken = alone and not by_the_clock  # the recorder only by the time: no publisher shall pay for it
        ways = WAYS[:HOLD] if spec.idle == "controlled" else (spec.idle,)
        paced = bool(plan.session[0]["paced"])
        self._idles = [idle_strategy(way, paced, inside, TIME_OUT_NS if woken else NAP_NS) for way in ways]
        self._controlled = len(ways) > 1
        self._peers = np.array(sorted({row for name in spec.agents for row in peers_of(name, plan)}), np.int64)
        self._published = [words for name in spec.agents for words in published_by(name, wires, plan.n_shards, paced)]
        self._empty = 0
        self.turn: Callable[[], object] = self._run if inside else self._poll

    def _idle(self) -> np.ndarray | None:
        """The strategy of the moment; None: hold still."""
        order = int(self._waiters[self._order]) if self._controlled else 0
        return self._idles[order] if 0 <= order < len(self._idles) else None

    def _run(self) -> None:
        idle = self._idle()
        if idle is None:
            time.sleep(NAP_NS * 1e-9)
        else:
            self._agents[0].run(idle, self._peers)

    def _poll(self) -> None:
        idle = self._idle()
        if idle is None:
            time.sleep(NAP_NS * 1e-9)
            return
        told = [int(word[0]) for word in self._published]
        done = 0
        for agent in self._agents:
            done += agent.do_work()
        if done or told != [int(word[0]) for word in self._published]:
            if self._empty:
                self._waiters[self._row * LINE + WAITER_FLAG] = 0
            self._empty = 0
            wake_peers(self._waiters, self._peers)
        elif self._rests:
            self._empty = max(0, rest_once(self._waiters, self._row, idle, self._empty))


def peers_of(agent: str, plan: Plan) -> list[int]:
    """Rows of the agents that may wait for what `agent` does."""
    shards = list(range(plan.n_shards))
    execution, venue, feed = (plan.n_shards + row for row in (EXECUTION_ROW, VENUE_ROW, FEED_ROW))
    readers = {"feed": [*shards, execution, venue], "shard": [execution], "venue": [execution], "bot": []}
    readers |= {"execution": [*shards, venue], "recorder": [], "gateway": [], "quarantine": [execution]}
    room = [feed] if plan.replayed and agent not in ("feed", "bot") else []  # a replay's feed waits for room
    return readers[kind_of(agent)] + room


def published_by(agent: str, wires: Wires, n_shards: int, paced: bool) -> list[np.ndarray]:
    """Words that change whenever an agent driven from Python has published something, each as int64[1].

    A promise is news where somebody waits for it, paced by event time; on the wall clock it moves all the time.
    """
    if agent not in ("feed", "venue"):
        return []
    rings = [*wires.ticks[:n_shards], wires.market, wires.quotes] if agent == "feed" else [wires.events]
    clock = CLOCK_FEED if agent == "feed" else CLOCK_VENUE
    promises = [wires.clocks[clock : clock + 1]] if paced else []
    return [ring[RING_HEAD : RING_HEAD + 1] for ring in rings] + promises


def builder(path: str) -> Callable[..., Any]:
    """The function that `module:name` names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def build_agents(plan: Plan, wires: Wires, names: Sequence[str], attempt: int) -> list[Agent]:
    """Wire the agents of one worker; `attempt` counts its starts from 0."""
    return [builder(plan.builders[kind_of(name)])(plan, wires, name, attempt) for name in names]


def worker_main(plan: Plan, wires: Wires, spec: WorkerSpec, attempt: int) -> None:
    """Run the agents of `spec` until the stop word is set.

    Told to settle, execution leaves by itself: nothing that opens is left at the venue then, and nothing unprotected.
    Bot4Error if that takes too long.
    """
    rows = [row for name in spec.agents for row in rows_of(name, plan.n_shards)]
    heartbeats = [wires.gauges[row] for row in rows]
    pin(spec.core)
    aim_out_of_memory(OUT_OF_MEMORY.get(kind_of(spec.agents[0]), 0))
    if not plan.replayed and kind_of(spec.agents[0]) in ("feed", "shard"):
        favour()
    sharpen_timers()
    agents = build_agents(plan, wires, spec.agents, attempt)
    gc.collect()
    gc.freeze()
    turn = Duty(plan, wires, spec, agents).turn
    control = wires.control
    stop = CONTROL_STOP_RECORDER if spec.agents == ("recorder",) else CONTROL_STOP
    settle = getattr(agents[0], "settle", None)
    give_up_ns = 0
    clock = time.monotonic_ns
    for gauges in heartbeats:
        gauges[GAUGE_BEGAN_NS] = gauges[GAUGE_BEGAN_NS] or clock()
    try:
        while (word := control[stop]) in (0, SETTLE):  # read anew each time; the batch before is finished
            turn()
            now = clock()
            for gauges in heartbeats:
                gauges[GAUGE_HEARTBEAT_NS] = now
            if word == SETTLE and settle is not None:
                left = settle([symbol for symbol, _ in plan.symbols])
                if not left:
                    break
                give_up_ns = give_up_ns or now + int(SETTLE_LIMIT_S * 1e9)
                if now > give_up_ns:
                    way_out = "the next start goes on with it, bot4-kill --flatten closes everything"
                    raise Bot4Error(f"left at the venue after {SETTLE_LIMIT_S:.0f} s of stopping: {left}; {way_out}")
    finally:
        for agent in agents:
            agent.close()
