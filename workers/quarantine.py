"""Wires what takes a shard's place when it cannot be kept alive."""

from bot4.engine.quarantine import QuarantineAgent
from bot4.shm.wires import Wires
from workers.plan import Plan


def build(plan: Plan, wires: Wires, name: str, attempt: int) -> QuarantineAgent:
    """The agent of `quarantine-<k>`."""
    return QuarantineAgent(wires, int(name.removeprefix("quarantine-")))
