"""Wires execution: journal, rings, and the kill latch, which it reads itself, whether a supervisor lives or not.

It also sets it, where execution has ended a strategy that repeats itself or that has lost too much: that lasts until a
person resets it.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from bot4.adapters.system.account_file import AccountFile, AccountState
from bot4.adapters.system.latch import FILE_NAME, KillLatch, is_tripped
from bot4.engine.execution import ExecutionAgent
from bot4.log import start_log
from bot4.model.breaker import CLOSED, breaker_row
from bot4.model.errors import Bot4Error
from bot4.shm.breaker import Breaker
from bot4.shm.layout import (
    CONTROL_ALONE,
    CONTROL_KILL,
    CONTROL_SUPERVISOR,
    KILLED_BY_DAILY_LOSS,
    KILLED_BY_DRAWDOWN,
    KILLED_BY_REPEATS,
)
from bot4.shm.wires import Wires
from workers.bootstrap import Agent, Runner
from workers.plan import Plan
from workers.takeup import mark_flat

ALONE_NS = 500_000_000  # a supervisor that has not been there for so long is dead, or hangs
LATCH_EVERY_NS = 10_000_000  # a read costs 10 us: 0.1 % of the time
DRAWDOWN = "the drawdown from the high-water mark has reached kill_drawdown_bps"
DAILY_LOSS = "the loss of the day has reached kill_daily_loss_bps"
REPEATS = "the same order again and again: more than repeat_orders of one side of an instrument in a row"
REASONS = {KILLED_BY_REPEATS: REPEATS, KILLED_BY_DRAWDOWN: DRAWDOWN, KILLED_BY_DAILY_LOSS: DAILY_LOSS}
KILLED = "killed by execution or its gateway; see their logs"


class LatchReader:
    """An agent that sets the kill word as soon as the latch on disk is tripped, and then does its work.

    A journal that fails trips the latch: what is opened after the next start is a person's decision.
    """

    def __init__(
        self,
        agent: Agent,
        wires: Wires,
        latch: Path,
        execution: ExecutionAgent,
        by_the_clock: bool = False,
        session: Path | None = None,
    ) -> None:
        self._agent, self._execution, self._session = agent, execution, session
        self._control = wires.control
        self._latch = latch
        self._next_ns = 0
        self._by_the_clock = by_the_clock
        self._told = False
        self._warned = ""
        row = wires.breakers[breaker_row("journal", 0)]
        self._journal = Breaker(row, time.monotonic_ns, start_log("execution").warning, "journal")
        self._read()  # before the first order of this process

    def _read(self) -> None:
        word = self._control[CONTROL_KILL]
        if word and not self._told:
            self._told = True
            if not is_tripped(self._latch):
                self._trip(REASONS.get(int(word), KILLED))
        now = time.monotonic_ns()
        if now >= self._next_ns:
            self._next_ns = now + LATCH_EVERY_NS
            if self._execution.warning != self._warned:
                self._warned = self._execution.warning
                start_log("execution").warning(self._warned or "the journal is well again")
            if self._execution.failure and self._journal.state == CLOSED:
                self._journal.trip(self._execution.failure)
            if self._control[CONTROL_KILL]:
                return
            if self._execution.failure:
                self._control[CONTROL_KILL] = 1
                self._told = True
                self._trip(self._execution.failure)
            elif is_tripped(self._latch):
                self._control[CONTROL_KILL] = 1
            if self._by_the_clock:  # what goes by event time stands still with whoever is not there
                seen = int(self._control[CONTROL_SUPERVISOR])
                self._control[CONTROL_ALONE] = int(seen != 0 and now - seen > ALONE_NS)

    def _trip(self, reason: str) -> None:
        with suppress(Bot4Error):  # the disk may be what is broken: the word alone ends this session's opening
            KillLatch(self._latch.parent).trip(reason)

    def do_work(self) -> int:
        """One batch of the agent."""
        self._read()
        return self._agent.do_work()

    def settle(self, names: Sequence[str]) -> str:
        """One more step towards a clean end; what is still left, "" if nothing. What ends flat is not taken up."""
        left = self._execution.settle(names)
        if not left and self._session is not None and self._execution.is_flat:
            with suppress(OSError):  # the next start finds out itself that there is nothing
                mark_flat(self._session)
        return left

    def close(self) -> None:
        """Close the agent."""
        self._read()
        self._agent.close()
        self._read()  # what could not be kept


class Keeper:
    """Execution that keeps what its account carries into the next session, after each batch that changed it."""

    def __init__(self, agent: ExecutionAgent, file: AccountFile) -> None:
        self._agent, self._file = agent, file
        self._account = agent.memory.account[0]

    def _keep(self) -> None:
        if self._account["started"]:
            stake_e8 = int(self._agent.session[0]["stake_e8"])
            names = (name for name in AccountState._fields if name != "stake_e8")
            state = AccountState(stake_e8=stake_e8, **{name: int(self._account[name]) for name in names})
            self._try(lambda: self._file.write(state))

    def _try(self, act: Callable[[], None]) -> None:
        """What cannot be kept ends opening, until a person has looked; whatever is held is looked after."""
        try:
            act()
        except Bot4Error as error:
            if not self._agent.wires.control[CONTROL_KILL]:
                self._agent.wires.control[CONTROL_KILL] = 1
                start_log("execution").error("killed", extra={"fields": {"reason": str(error)}})

    def do_work(self) -> int:
        """One batch of execution."""
        done = self._agent.do_work()
        self._keep()
        return done

    def run(self, idle: np.ndarray, peers: np.ndarray) -> int:
        """Execution until its next sleep is over, a millisecond at most otherwise."""
        done = self._agent.run(idle, peers)
        self._keep()
        return done

    def close(self) -> None:
        """Keep the last of it, on disk."""
        self._keep()
        self._try(self._file.close)
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
    tables = (plan.instruments, plan.limits.copy(), plan.session)
    return ExecutionAgent(
        wires,
        *tables,
        plan.journal_path,
        synced=plan.synced,
        strict=plan.strict,
        history=plan.history,
        scheduled=plan.tightened,
    )


def build(plan: Plan, wires: Wires, name: str, attempt: int) -> LatchRunner:
    """Execution behind the reader of the kill latch; of a live market it keeps what its account carries on."""
    made = execution_agent(plan, wires)
    if made.tail_lost:
        told = {"records": made.journal.count, "then": "what was sent behind them is found at the venue"}
        start_log("execution").warning("a power cut may have taken the journal's tail", extra={"fields": told})
    agent: Runner = made
    if plan.feed.kind == "live":
        agent = Keeper(made, AccountFile(plan.state_folder, int(plan.session[0]["account"]), plan.traded))
    return LatchRunner(agent, wires, plan.state_folder / FILE_NAME, made, plan.speed != 0, plan.session_folder)
