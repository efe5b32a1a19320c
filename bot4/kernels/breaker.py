"""The circuit breaker of a strategy: what is counted in the time of events, so that a replay finds it again.

The same states and words as everywhere (`bot4.model.breaker`); of the settings it goes by failures in a window, which
ends with the last of them, by the open time with its doublings, and by the probes.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.model.breaker import (
    CLOSED,
    HALF_OPEN,
    LIMIT_DOUBLINGS,
    LIMIT_FAILURES,
    LIMIT_OPEN_NS,
    LIMIT_PROBES,
    LIMIT_WINDOW_NS,
    MOST_FAILURES,
    OPEN,
)

BREAKER = np.dtype(
    [
        ("state", "i8"),
        ("until_ns", "i8"),
        ("openings", "i8"),
        ("trips", "i8"),  # openings since it was closed
        ("failures", "i8"),  # of the session
        ("counted", "i8"),  # ... since it last opened
        ("done", "i8"),  # of the probes
        ("limit_failures", "i8"),  # 0: it never opens
        ("limit_window_ns", "i8"),
        ("limit_open_ns", "i8"),
        ("limit_doublings", "i8"),
        ("limit_probes", "i8"),
        ("_pad", "i8", (4,)),
        ("failed_ns", "i8", (MOST_FAILURES,)),  # when, by `counted`
    ]
)
LIMITS_TAKEN = {
    "limit_failures": LIMIT_FAILURES,
    "limit_window_ns": LIMIT_WINDOW_NS,
    "limit_open_ns": LIMIT_OPEN_NS,
    "limit_doublings": LIMIT_DOUBLINGS,
    "limit_probes": LIMIT_PROBES,
}

assert BREAKER.itemsize % 64 == 0


@kernel
def note_outcome(breaker, failed, now_ns):
    """One outcome. While the breaker is closed only failures need be told.

    Parameters
    ----------
    breaker : BREAKER record, changed
    failed : bool
    now_ns : int64, event time, never less than before

    Notes
    -----
    Complexity: O(1). Twin: tests/reference/engine/shard.py
    """
    if breaker["state"] == OPEN and now_ns >= breaker["until_ns"]:
        breaker["state"] = HALF_OPEN
        breaker["done"] = 0
    if failed:
        breaker["failures"] += 1
        if breaker["state"] == OPEN or breaker["limit_failures"] == 0:
            return
        if breaker["state"] == CLOSED:
            breaker["counted"] += 1
            breaker["failed_ns"][breaker["counted"] % MOST_FAILURES] = now_ns
            first = breaker["counted"] - breaker["limit_failures"] + 1  # of as many as open it, up to this one
            if first < 1 or now_ns - breaker["failed_ns"][first % MOST_FAILURES] >= breaker["limit_window_ns"]:
                return
        doubled = min(breaker["trips"], breaker["limit_doublings"])
        breaker["state"] = OPEN
        breaker["until_ns"] = now_ns + (breaker["limit_open_ns"] << doubled)
        breaker["trips"] += 1
        breaker["openings"] += 1
        breaker["counted"] = 0
    elif breaker["state"] == HALF_OPEN:
        breaker["done"] += 1
        if breaker["done"] >= breaker["limit_probes"]:
            breaker["state"] = CLOSED
            breaker["trips"] = 0


@inlined
def is_shut(breaker):
    """True while it lets nothing through: open, or being tried by what is watched anyway. One load."""
    return breaker["state"] != CLOSED
