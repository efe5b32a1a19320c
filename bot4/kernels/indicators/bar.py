"""Bars from trades: time bars aligned to event time, or each trade a bar.

A time bar closes when any record of its instrument, trade or not, comes at or after its end, so a decision need not
wait for the next trade. A span without a trade makes no bar. Prices are float64 ticks (exact), for indicators only.
"""

import numpy as np

from bot4.jit import inlined

BAR = np.dtype(
    [
        ("open", "f8"),
        ("high", "f8"),
        ("low", "f8"),
        ("close", "f8"),
        ("volume", "f8"),  # lots
        ("trades", "i8"),  # 0: the bar is empty
        ("end_ns", "i8"),  # exclusive
        ("closed", "i8"),  # bars closed so far
    ]
)


@inlined
def bar_init(bar):
    """No bar yet. bar : BAR."""
    bar["trades"] = 0
    bar["end_ns"] = 0
    bar["closed"] = 0


@inlined
def bar_is_over(bar, ts_ns):
    """True if the open bar holds a trade and event time has reached its end."""
    return bar["trades"] > 0 and ts_ns >= bar["end_ns"]


@inlined
def bar_close(bar):
    """Empty the bar and count it; its prices stay readable until the next trade."""
    bar["trades"] = 0
    bar["closed"] += 1


@inlined
def bar_add(bar, ts_ns, price_ticks, qty_lots, bar_ns):
    """Add one trade; the caller has closed a bar that is over.

    Parameters
    ----------
    bar : BAR, changed
    ts_ns : int64 >= 0, event time of the trade
    price_ticks, qty_lots : int64 > 0
    bar_ns : int64, length of a bar; 0: the bar is over at once

    Notes
    -----
    Complexity: O(1). Invariant: low <= open, close <= high. Twin: tests/reference/kernels/indicators.py
    """
    price = float(price_ticks)
    if bar["trades"] == 0:
        bar["open"] = price
        bar["high"] = price
        bar["low"] = price
        bar["volume"] = 0.0
        bar["end_ns"] = ts_ns - ts_ns % bar_ns + bar_ns if bar_ns > 0 else ts_ns
    bar["high"] = max(bar["high"], price)
    bar["low"] = min(bar["low"], price)
    bar["close"] = price
    bar["volume"] += qty_lots
    bar["trades"] += 1
