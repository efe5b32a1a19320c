"""Moving average convergence divergence, incremental, equal to TA-Lib with its default compatibility.

TA-Lib seeds both averages at the same bar, the slow one's first: the fast one skips the first slow - fast values. The
signal is seeded by the mean of the first `signal` differences. Warm after slow + signal - 1 values.
"""

import numpy as np

from bot4.jit import inlined
from bot4.kernels.indicators.ema import EMA, ema_init, ema_ready, ema_update

MACD = np.dtype([("fast", EMA), ("slow", EMA), ("signal", EMA), ("skip", "i8"), ("macd", "f8"), ("histogram", "f8")])


@inlined
def macd_init(macd, fast, slow, signal):
    """Empty averages. macd : MACD; 1 <= fast <= slow, signal >= 1 : int64, values."""
    ema_init(macd["fast"], fast)
    ema_init(macd["slow"], slow)
    ema_init(macd["signal"], signal)
    macd["skip"] = slow - fast
    macd["macd"] = 0.0
    macd["histogram"] = 0.0


@inlined
def macd_update(macd, value):
    """Take one value and return the histogram (difference minus signal); 0 until the signal has its first value.

    Parameters
    ----------
    macd : MACD, changed
    value : float64, finite

    Notes
    -----
    Complexity: O(1). Source: TA-Lib 0.4 ta_MACD.c. Twin: tests/reference/kernels/indicators.py
    """
    ema_update(macd["slow"], value)
    if macd["skip"] > 0:
        macd["skip"] -= 1
        return 0.0
    ema_update(macd["fast"], value)
    if not ema_ready(macd["slow"]):
        return 0.0
    difference = macd["fast"]["value"] - macd["slow"]["value"]
    macd["macd"] = difference
    macd["histogram"] = difference - ema_update(macd["signal"], difference)
    return macd["histogram"]


@inlined
def macd_ready(macd):
    """True once the signal's seed is complete."""
    return ema_ready(macd["signal"])
