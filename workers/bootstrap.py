"""What every worker does: pin, build its agents, run their duty cycle until the stop word.

A worker is forked by the template, so everything is compiled and mapped already. It takes no orders by signal: Ctrl-C
of the terminal and SIGTERM are ignored in favour of the control word, so that a stop never falls inside a batch. Its
heartbeat is stamped by the work loop itself: a loop that hangs is seen.
"""

import gc
import importlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from bot4.adapters.system.affinity import pin
from bot4.adapters.system.process import sharpen_timers
from bot4.model.errors import Bot4Error
from bot4.shm.layout import CONTROL_STOP
from bot4.shm.wires import GAUGE_BEGAN_NS, GAUGE_HEARTBEAT_NS, Wires
from workers.plan import Plan, WorkerSpec, kind_of, rows_of


class Patience(NamedTuple):
    """How long `backoff` waits in which way."""

    spins: int  # empty polls before the core is offered to others
    yields: int  # offers before the first nap
    nap_first_s: float
    nap_last_s: float  # bounds the delay of the first message after a quiet time


FREE = Patience(spins=64, yields=64, nap_first_s=50e-6, nap_last_s=1e-3)
# Paced by event time the peers answer within microseconds, if they get a core. A yield goes behind everybody else who
# wants the core, a nap wakes before them: on two busy cores short naps gave 8,400 messages/s, long yields 650.
PACED = Patience(spins=5, yields=20, nap_first_s=1e-6, nap_last_s=50e-6)


class Agent(Protocol):
    """One duty cycle."""

    def do_work(self) -> int:
        """Handle one bounded batch; 0 if there was nothing to do."""
        ...

    def close(self) -> None:
        """Write what is left and let go."""
        ...


class Idle:
    """Waiting: `spin` never gives the core away, `backoff` spins, then yields, then naps, `block` naps at once."""

    def __init__(self, strategy: str, patience: Patience = FREE) -> None:
        if strategy not in ("spin", "backoff", "block"):
            raise Bot4Error(f"idle strategy {strategy!r} is none of spin, backoff, block")
        self._spins = sys.maxsize if strategy == "spin" else patience.spins if strategy == "backoff" else 0
        self._naps_after = self._spins + (patience.yields if strategy == "backoff" else 0)
        self._patience = patience
        self._empty = 0

    def worked(self) -> None:
        """There was something to do."""
        self._empty = 0

    def wait(self) -> None:
        """There was nothing to do."""
        self._empty += 1
        if self._empty <= self._spins:
            return
        if self._empty <= self._naps_after:
            os.sched_yield()
            return
        naps = self._empty - self._naps_after
        time.sleep(min(self._patience.nap_last_s, self._patience.nap_first_s * naps))


def builder(path: str) -> Callable[..., Any]:
    """The function that `module:name` names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def build_agents(plan: Plan, wires: Wires, names: Sequence[str], attempt: int) -> list[Agent]:
    """Wire the agents of one worker; `attempt` counts its starts from 0."""
    return [builder(plan.builders[kind_of(name)])(plan, wires, name, attempt) for name in names]


def worker_main(plan: Plan, wires: Wires, spec: WorkerSpec, attempt: int) -> None:
    """Run the agents of `spec` until the stop word is set."""
    rows = [row for name in spec.agents for row in rows_of(name, plan.n_shards)]
    heartbeats = [wires.gauges[row] for row in rows]
    pin(spec.core)
    sharpen_timers()
    agents = build_agents(plan, wires, spec.agents, attempt)
    gc.collect()
    gc.freeze()
    idle = Idle(spec.idle, PACED if plan.session[0]["paced"] else FREE)
    control = wires.control
    clock = time.monotonic_ns
    works = [agent.do_work for agent in agents]
    for gauges in heartbeats:
        gauges[GAUGE_BEGAN_NS] = gauges[GAUGE_BEGAN_NS] or clock()
    try:
        while not control[CONTROL_STOP]:  # read anew by the interpreter each time; the batch before is finished
            done = 0
            for work in works:
                done += work()
            now = clock()
            for gauges in heartbeats:
                gauges[GAUGE_HEARTBEAT_NS] = now
            if done:
                idle.worked()
            else:
                idle.wait()
    finally:
        for agent in agents:
            agent.close()
