"""Wires circuit breakers: their settings into shared memory, and each into the hands of what it watches."""

import logging
import time
from collections.abc import Callable

from bot4.model.breaker import BEGUN, LIMIT_FAILURES, LIMIT_PROBES, breaker_names, rows_of_component
from bot4.shm.breaker import Breaker
from bot4.shm.wires import Wires
from workers.plan import Plan


def rows_in_use(plan: Plan) -> dict[str, int]:
    """Rows of `Wires.breakers` by the component's name."""
    return breaker_names(plan.n_shards, sorted({venue for _, venue in plan.symbols}))


def set_breakers(plan: Plan, wires: Wires) -> None:
    """What every breaker goes by, before anybody reads it; the venue's are limits of execution."""
    for component, line in plan.breakers.items():
        for row in rows_of_component(component, plan.n_shards):
            wires.breakers[row, LIMIT_FAILURES : LIMIT_PROBES + 1] = line
            wires.breakers[row, LIMIT_FAILURES + BEGUN : LIMIT_PROBES + BEGUN + 1] = line


def breaker_of(
    plan: Plan, wires: Wires, name: str, logger: logging.Logger, clock: Callable[[], int] = time.monotonic_ns
) -> Breaker:
    """The breaker of the component of this name; each change goes into the log."""
    return Breaker(wires.breakers[rows_in_use(plan)[name]], clock, logger.warning, name)
