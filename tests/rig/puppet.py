"""A strategy on strings: its score is the imbalance of the best quote's sizes, so a test's quotes say what it wants."""

import numpy as np

from bot4.jit import inlined
from bot4.kernels.parameter import TRADING, Parameter, record_dtype

NOT_A_NUMBER_LOTS = 13  # a bid of this size makes the score NaN
INFINITE_LOTS = 11  # ... and of this one infinite
BEYOND_LOTS, LEAST_LOTS = 1_000_003, 1_000_033  # ... the next number beyond 1, and -1 itself; no market shows them

PARAMETERS = (*TRADING, Parameter("warm_bars", 2, 0, 1_000, "bars until it is warm"))
PARAMS = record_dtype(PARAMETERS)
STATE = np.dtype([("warm", "i8"), ("ticks", "i8"), ("fills", "i8"), ("filled_lots", "i8")])


@inlined
def init(params, state):
    """Warm at once if no bar is asked for."""
    state["warm"] = 1 if params["warm_bars"] == 0 else 0


@inlined
def on_bar(params, state, view):
    """Count bars."""
    if view["bars"] >= params["warm_bars"]:
        state["warm"] = 1


@inlined
def on_tick(params, state, view):
    """The imbalance, or what is no score."""
    state["ticks"] += 1
    if view["bid_lots"] == NOT_A_NUMBER_LOTS:
        return np.nan
    if view["bid_lots"] == INFINITE_LOTS:
        return -np.inf
    if view["bid_lots"] == BEYOND_LOTS:
        return 1.0 + 2.0**-52
    if view["bid_lots"] == LEAST_LOTS:
        return -1.0
    return view["imbalance"]


@inlined
def on_fill(params, state, view):
    """Count fills."""
    state["fills"] += 1
    state["filled_lots"] += view["fill_side"] * view["fill_lots"]
