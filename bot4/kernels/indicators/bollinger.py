"""Bollinger bands: mean and population deviation of the last `period` values, incremental and numerically stable.

The obvious sum of squares cancels at prices of 10**7 ticks. Here mean and squared deviations slide (Welford with
removal), and each time the window wraps both are summed afresh, so errors do not grow. Amortised O(1).
"""

import math

import numpy as np

from bot4.jit import inlined

MAX_PERIOD = 64  # the window lies in the record: 512 bytes
BOLLINGER = np.dtype(
    [
        ("mean", "f8"),
        ("deviation", "f8"),  # population standard deviation
        ("squares", "f8"),  # sum of squared deviations from the mean
        ("period", "i8"),
        ("count", "i8"),
        ("position", "i8"),  # where the next value goes
        ("window", "f8", (MAX_PERIOD,)),
    ]
)


@inlined
def bollinger_init(bollinger, period):
    """Empty window. bollinger : BOLLINGER; period : int64, 1 to MAX_PERIOD (clipped), values."""
    bollinger["mean"] = 0.0
    bollinger["deviation"] = 0.0
    bollinger["squares"] = 0.0
    bollinger["period"] = max(1, min(period, MAX_PERIOD))
    bollinger["count"] = 0
    bollinger["position"] = 0


@inlined
def _sum_afresh(bollinger, filled):
    window = bollinger["window"]
    total = 0.0
    for i in range(filled):
        total += window[i]
    mean = total / filled
    squares = 0.0
    for i in range(filled):
        squares += (window[i] - mean) * (window[i] - mean)
    bollinger["mean"] = mean
    bollinger["squares"] = squares


@inlined
def bollinger_update(bollinger, value):
    """Take one value; `mean` and `deviation` are then those of the last `period` values (of all, while fewer).

    Parameters
    ----------
    bollinger : BOLLINGER, changed
    value : float64, finite

    Notes
    -----
    Complexity: O(1), O(period) once a period. Invariant: deviation >= 0. Source: TA-Lib 0.4 ta_BBANDS.c (simple mean,
    population deviation); sliding update after Welford 1962. Twin: tests/reference/kernels/indicators.py
    """
    period = bollinger["period"]
    position = bollinger["position"]
    window = bollinger["window"]
    old = window[position]
    window[position] = value
    position += 1
    full = bollinger["count"] >= period
    if not full:
        bollinger["count"] += 1
    filled = bollinger["count"]
    if position == period:
        bollinger["position"] = 0
        _sum_afresh(bollinger, filled)
    else:
        bollinger["position"] = position
        mean = bollinger["mean"]
        if full:
            bollinger["mean"] = mean + (value - old) / filled
            bollinger["squares"] += (value - old) * (value - bollinger["mean"] + old - mean)
        else:
            bollinger["mean"] = mean + (value - mean) / filled
            bollinger["squares"] += (value - mean) * (value - bollinger["mean"])
    bollinger["deviation"] = math.sqrt(max(bollinger["squares"], 0.0) / filled)


@inlined
def bollinger_score(bollinger, value):
    """How many deviations `value` is above the mean; 0 while nothing deviates."""
    if bollinger["deviation"] <= 0.0:
        return 0.0
    return (value - bollinger["mean"]) / bollinger["deviation"]


@inlined
def bollinger_ready(bollinger):
    """True once the window is full."""
    return bollinger["count"] >= bollinger["period"]
