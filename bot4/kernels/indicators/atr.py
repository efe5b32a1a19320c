"""Average true range after Wilder, incremental, equal to TA-Lib: seed by the mean of the first `period` true ranges.

The first bar has no previous close and only gives one, so `period` + 1 bars make it warm. It sets the distance of
stops.
"""

import numpy as np

from bot4.jit import inlined

ATR = np.dtype([("value", "f8"), ("last_close", "f8"), ("period", "i8"), ("count", "i8")])


@inlined
def true_range(high, low, last_close):
    """Largest of high - low, |high - last close|, |low - last close|; float64 in the prices' unit."""
    return max(high, last_close) - min(low, last_close)


@inlined
def atr_init(atr, period):
    """Empty range. atr : ATR; period : int64 >= 1, bars."""
    atr["value"] = 0.0
    atr["last_close"] = 0.0
    atr["period"] = period
    atr["count"] = 0


@inlined
def atr_update(atr, high, low, close):
    """Take one closed bar and return the new range.

    Parameters
    ----------
    atr : ATR, changed
    high, low, close : float64, low <= close <= high

    Notes
    -----
    Complexity: O(1). Invariant: range >= 0. Source: TA-Lib 0.4 ta_ATR.c, ta_TRANGE.c.
    Twin: tests/reference/kernels/indicators.py
    """
    count = atr["count"]
    atr["count"] = count + 1
    if count > 0:
        distance = true_range(high, low, atr["last_close"])
        atr["value"] += (distance - atr["value"]) / min(count, atr["period"])
    atr["last_close"] = close
    return atr["value"]


@inlined
def atr_ready(atr):
    """True once `period` true ranges have been seen."""
    return atr["count"] > atr["period"]
