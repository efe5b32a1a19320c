"""Relative strength index after Wilder, incremental, equal to TA-Lib: seed by the mean of the first `period` changes.

The first value only gives a reference, so `period` + 1 values make it warm. Where nothing moved it is 0, as in TA-Lib.
"""

import numpy as np

from bot4.jit import inlined

RSI = np.dtype([("value", "f8"), ("gain", "f8"), ("loss", "f8"), ("last", "f8"), ("period", "i8"), ("count", "i8")])


@inlined
def rsi_init(rsi, period):
    """Empty index. rsi : RSI; period : int64 >= 1, changes."""
    rsi["value"] = 0.0
    rsi["gain"] = 0.0
    rsi["loss"] = 0.0
    rsi["last"] = 0.0
    rsi["period"] = period
    rsi["count"] = 0


@inlined
def rsi_update(rsi, value):
    """Take one value and return the new index, 0 to 100.

    Parameters
    ----------
    rsi : RSI, changed
    value : float64, finite

    Notes
    -----
    Complexity: O(1), two divisions. Invariant: 0 <= index <= 100. Source: TA-Lib 0.4 ta_RSI.c.
    Twin: tests/reference/kernels/indicators.py
    """
    count = rsi["count"]
    rsi["count"] = count + 1
    change = value - rsi["last"]
    rsi["last"] = value
    if count == 0:
        return rsi["value"]
    weight = 1.0 / min(count, rsi["period"])
    rsi["gain"] += (max(change, 0.0) - rsi["gain"]) * weight
    rsi["loss"] += (max(-change, 0.0) - rsi["loss"]) * weight
    total = rsi["gain"] + rsi["loss"]
    rsi["value"] = min(100.0 * rsi["gain"] / total, 100.0) if total > 0.0 else 0.0  # rounding may pass 100
    return rsi["value"]


@inlined
def rsi_ready(rsi):
    """True once `period` changes have been seen."""
    return rsi["count"] > rsi["period"]
