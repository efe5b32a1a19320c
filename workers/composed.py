"""Wires all agents into one process: one compiled loop, on the same rings as if they were several."""

from types import ModuleType

import numpy as np

from bot4.adapters.sim.venue import VenueAgent
from bot4.adapters.sim.venue_loop import venue_step
from bot4.adapters.system.latch import FILE_NAME
from bot4.engine.execution import ExecutionAgent
from bot4.engine.execution_step import execution_step
from bot4.engine.feed import FeedAgent
from bot4.engine.feed_step import feed_step
from bot4.engine.feed_ticks import TickFeed, tick_step
from bot4.engine.shard import ShardAgent, generate_module, load_loop
from bot4.engine.shard_loop import shard_step
from bot4.jit import compile_callee
from bot4.shm.wires import Wires
from workers import composed_loop as template
from workers import execution, shard, venue
from workers.bootstrap import Agent
from workers.composed_loop import FEED_BATCH, STEP_BATCH
from workers.execution import LatchReader
from workers.feed import Pace, feed_agent
from workers.plan import Plan
from workers.ticks import composed_of_ticks

ROUNDS = 256  # rounds of one do_work: about a millisecond, so that heartbeat and stop word are looked at in time


def load_composed(shard_loop: ModuleType) -> ModuleType:
    """The composed loop around a strategy's shard loop: the template itself, or a generated copy."""
    if shard_loop.shard_step is shard_step:
        return template
    line = "from bot4.engine.shard_loop import shard_step"
    replacement = line.replace("bot4.engine.shard_loop", shard_loop.__name__)
    return generate_module(template, "bot4_composed", {line: replacement}, shard_loop)


class ComposedAgent:
    """Feed, shards, execution and venue driven by one compiled loop."""

    def __init__(
        self,
        loop: ModuleType,
        feed_agent: FeedAgent | TickFeed,
        shards: list[ShardAgent],
        execution_agent: ExecutionAgent,
        venue_agent: VenueAgent,
        speed: float = 0.0,
    ) -> None:
        self._step = loop.composed_step
        self._pace = Pace(feed_agent, speed)
        self.feed, self.shards, self.execution, self.venue = feed_agent, shards, execution_agent, venue_agent
        while not execution_agent.started:
            execution_agent.do_work()
        self._memories = (
            feed_agent.memory,
            tuple(agent.memory for agent in shards),
            execution_agent.memory,
            venue_agent.memory,
        )
        self._tables = (feed_agent.wires, execution_agent.instruments, execution_agent.limits, execution_agent.session)

    def do_work(self) -> int:
        """One batch of rounds; the venue's ledger is written after it."""
        self._pace.advance()
        self.feed.refill()
        self.execution.tend()
        done = self._step(*self._memories, *self._tables, np.int64(self.feed.until_ns), self.feed.wait, ROUNDS)
        return int(done) + self.venue.drain()

    def close(self) -> None:
        """Close what the agents hold."""
        agents: list[Agent] = [self.feed, *self.shards, self.execution, self.venue]
        for agent in agents:
            agent.close()


def build(plan: Plan, wires: Wires, name: str, attempt: int) -> LatchReader:
    """All agents of the plan in one; never started twice, for the venue's ledger dies with it."""
    loop = load_composed(load_loop(plan.strategy_module))
    loop = composed_of_ticks(loop) if plan.feed.recording else loop
    shards = [shard.build(plan, wires, f"shard-{k}", attempt) for k in range(plan.n_shards)]
    agent = ComposedAgent(
        loop,
        feed_agent(plan, wires),
        shards,
        execution.execution_agent(plan, wires),
        venue.build(plan, wires, "venue", attempt),
        plan.speed,
    )
    return LatchReader(agent, wires, plan.state_folder / FILE_NAME, agent.execution)


def compile_part(plan: Plan, wires: Wires, name: str) -> None:
    """Compile one agent's step as the composed loop calls it."""
    tables = (plan.instruments, plan.limits, plan.session)
    if name == "feed":
        memory = feed_agent(plan, wires).memory
        step = tick_step if plan.feed.recording else feed_step
        compile_callee(step, memory, wires, plan.instruments, plan.session, np.int64(0), True, FEED_BATCH)
    elif name == "venue":
        made = venue.build(plan, wires, name, 0)
        compile_callee(venue_step, made.memory, wires, plan.instruments, plan.session, STEP_BATCH)
        made.close()
    elif name == "execution":
        compile_callee(execution_step, execution.execution_agent(plan, wires).memory, wires, *tables, STEP_BATCH)
    else:
        loop = load_loop(plan.strategy_module)
        compile_callee(loop.shard_step, shard.build(plan, wires, name, 0).memory, wires, *tables, 0, STEP_BATCH)
