"""Exponential moving average, incremental, seeded like TA-Lib by the simple mean of the first `period` values.

Until the seed is complete the value is the mean of what came so far, usable but not warm. O(1), one multiplication.
"""

import numpy as np

from bot4.jit import inlined

EMA = np.dtype([("value", "f8"), ("alpha", "f8"), ("period", "i8"), ("count", "i8")])


@inlined
def ema_init(ema, period):
    """Empty average. ema : EMA; period : int64 >= 1, values."""
    ema["value"] = 0.0
    ema["alpha"] = 2.0 / (period + 1.0)
    ema["period"] = period
    ema["count"] = 0


@inlined
def ema_update(ema, value):
    """Take one value and return the new average.

    Parameters
    ----------
    ema : EMA, changed
    value : float64, finite

    Notes
    -----
    Complexity: O(1). Invariant: min <= average <= max of the values. Source: TA-Lib 0.4 ta_EMA.c, default
    compatibility. Twin: tests/reference/kernels/indicators.py
    """
    count = ema["count"] + 1
    ema["count"] = count
    if count <= ema["period"]:
        ema["value"] += (value - ema["value"]) / count
    else:
        ema["value"] += (value - ema["value"]) * ema["alpha"]
    return ema["value"]


@inlined
def ema_ready(ema):
    """True once the seed is complete: after `period` values."""
    return ema["count"] >= ema["period"]
