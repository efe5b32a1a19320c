"""A strategy that loses on purpose: it wants in at every other tick and out at the next, and pays each time."""

import numpy as np

from bot4.jit import inlined
from bot4.kernels.parameter import TRADING, Parameter, record_dtype

PARAMETERS = (*TRADING, Parameter("every", 2, 2, 1_000_000, "decisions from one entry to the next"))
PARAMS = record_dtype(PARAMETERS)
STATE = np.dtype([("warm", "i8"), ("ticks", "i8")])


@inlined
def init(params, state):
    """Warm at once."""
    state["warm"] = 1


@inlined
def on_bar(params, state, view):
    """Nothing."""


@inlined
def on_tick(params, state, view):
    """In, then out."""
    state["ticks"] += 1
    return 1.0 if state["ticks"] % params["every"] == 0 else -1.0


@inlined
def on_fill(params, state, view):
    """Nothing."""
