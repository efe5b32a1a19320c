"""Circuit breakers in the tests' rigs: settings by name, and what has been told of them."""

import numpy as np

from bot4.model import breaker as b
from bot4.settings.conversion import NS_PER_MS
from bot4.shm.wires import N_OTHER_ROWS, Wires

COLUMNS = {
    "failures": b.LIMIT_FAILURES, "window_ns": b.LIMIT_WINDOW_NS, "calls": b.LIMIT_CALLS,
    "failure_bps": b.LIMIT_FAILURE_BPS, "slow_ns": b.LIMIT_SLOW_NS, "slow_bps": b.LIMIT_SLOW_BPS,
    "open_ns": b.LIMIT_OPEN_NS, "doublings": b.LIMIT_DOUBLINGS, "probes": b.LIMIT_PROBES,
}  # fmt: skip


def set_limits(row: np.ndarray, **limits: int) -> np.ndarray:
    """What a breaker goes by, by name; times may be in ms."""
    for name, value in limits.items():
        if name.endswith("_ms"):
            name, value = name.replace("_ms", "_ns"), value * NS_PER_MS
        row[COLUMNS[name]] = value
    return row


def row_of(wires: Wires, component: str, number: int = 0, **limits: int) -> np.ndarray:
    """The row of a component, with these settings."""
    n_shards = wires.gauges.shape[0] - N_OTHER_ROWS
    return set_limits(wires.breakers[b.breaker_row(component, n_shards, number)], **limits)


def state_of(row: np.ndarray) -> tuple[str, int]:
    """What its word says: the state, and how often it has opened."""
    return b.STATES[int(row[b.WORD]) & 3], int(row[b.WORD]) >> 2


def changes(told: list[str]) -> list[str]:
    """The states that were told of, in order."""
    return [line.split(": ")[1] for line in told]
