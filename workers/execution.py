"""Wires execution: journal, rings, and the kill latch, which it reads itself, whether a supervisor lives or not."""

import time
from pathlib import Path

import numpy as np

from bot4.adapters.system.latch import FILE_NAME, is_tripped
from bot4.engine.execution import ExecutionAgent
from bot4.shm.layout import CONTROL_KILL
from bot4.shm.wires import Wires
from workers.bootstrap import Agent, Runner
from workers.plan import Plan

LATCH_EVERY_NS = 10_000_000  # a read costs 10 us: 0.1 % of the time


class LatchReader:
    """An agent that sets the kill word as soon as the latch on disk is tripped, and then does its work."""

    def __init__(self, agent: Agent, wires: Wires, latch: Path) -> None:
        self._agent = agent
        self._control = wires.control
        self._latch = latch
        self._next_ns = 0
        self._read()  # before the first order of this process

    def _read(self) -> None:
        now = time.monotonic_ns()
        if now >= self._next_ns:
            self._next_ns = now + LATCH_EVERY_NS
            if not self._control[CONTROL_KILL] and is_tripped(self._latch):
                self._control[CONTROL_KILL] = 1

    def do_work(self) -> int:
        """One batch of the agent."""
        self._read()
        return self._agent.do_work()

    def close(self) -> None:
        """Close the agent."""
        self._agent.close()


class LatchRunner(LatchReader):
    """The same for an agent whose kernel waits by itself."""

    _agent: Runner

    def run(self, idle: np.ndarray, peers: np.ndarray) -> int:
        """Read the latch, then run the agent until its next sleep is over, a millisecond at most otherwise."""
        self._read()
        return self._agent.run(idle, peers)


def execution_agent(plan: Plan, wires: Wires) -> ExecutionAgent:
    """The agent of execution; whether something is to be recovered is what the journal says."""
    return ExecutionAgent(wires, plan.instruments, plan.limits, plan.session, plan.journal_path)


def build(plan: Plan, wires: Wires, name: str, attempt: int) -> LatchRunner:
    """Execution behind the reader of the kill latch."""
    return LatchRunner(execution_agent(plan, wires), wires, plan.state_folder / FILE_NAME)
