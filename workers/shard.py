"""Wires one shard: the loop of its strategy, its rows, its rings."""

from bot4.engine.shard import ShardAgent, load_loop
from bot4.shm.wires import Wires
from workers.plan import Plan


def build(plan: Plan, wires: Wires, name: str, attempt: int) -> ShardAgent:
    """The agent of `shard-<k>`; after a restart it finds out by itself that it has to sync."""
    k = int(name.removeprefix("shard-"))
    loop = load_loop(plan.strategy_module)
    return ShardAgent(loop, wires, plan.instruments, plan.limits.copy(), plan.session, k, plan.strategy_params)
