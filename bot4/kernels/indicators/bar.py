"""Bars from trades: so much time, so many trades, so many lots, or so much money, by one rule that is an argument.

    BAR_TIME      a span of event time, aligned to it; size in ns, 0: each trade is a bar
    BAR_TICK      so many trades
    BAR_VOLUME    so many lots
    BAR_DOLLAR    so much turnover, price x quantity

A time bar closes when any record of its instrument, trade or not, comes at or after its end, so a decision need not
wait for the next trade. A span without a trade makes no bar. Every other bar closes with the trade that fills it. That
trade is not split, as is usual: what it brings beyond the size stays in the bar, and the next one begins empty.

Prices are float64 ticks (exact), for indicators only; what is summed is int64. Sums stop at MOST, 4.6 * 10**18
lots, or tick x lot, in one bar (in ticks of 0.1 and lots of 0.001, 4.6 * 10**14 of the quote currency).
"""

import numpy as np

from bot4.jit import inlined
from bot4.model.enums import INT64_MAX

BAR_TIME, BAR_TICK, BAR_VOLUME, BAR_DOLLAR = range(4)
MOST = 2**62 - 1  # twice this fits an int64
_MOST_FLOAT = float(MOST)

BAR = np.dtype(
    [
        ("open", "f8"),
        ("high", "f8"),
        ("low", "f8"),
        ("close", "f8"),
        ("volume", "i8"),  # lots
        ("buy_volume", "i8"),  # lots of the trades in which the buyer took
        ("turnover", "i8"),  # tick x lot
        ("trades", "i8"),  # 0: the bar is empty
        ("begin_ns", "i8"),  # of the span; of a bar by any other rule: its first trade
        ("end_ns", "i8"),  # of the span, exclusive; by any other rule: its last trade, INT64_MAX while it is open
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
def bar_size(kind, bar_ns, size, value_e8):
    """Parameters of a strategy as the size that `bar_add` takes.

    Parameters
    ----------
    kind : int64, BAR_*
    bar_ns : int64 >= 0, of time bars
    size : int64 > 0, of the others: trades, lots, or 1e-8 of the quote currency
    value_e8 : int64 > 0, value of one tick x lot

    Returns
    -------
    int64 : ns, trades, lots, or tick x lot, rounded up: a bar is full when its value is not below `size`

    Notes
    -----
    Twin: tests/reference/kernels/indicators.py
    """
    if kind == BAR_TIME:
        return bar_ns
    if kind == BAR_DOLLAR and value_e8 > 1:
        return (size - 1) // value_e8 + 1
    return size


@inlined
def bar_is_over(bar, ts_ns):
    """True if the open bar holds a trade and event time has reached its end."""
    return bar["trades"] > 0 and ts_ns >= bar["end_ns"]


@inlined
def bar_close(bar):
    """Empty the bar and count it; all else in it stays readable until the next trade."""
    bar["trades"] = 0
    bar["closed"] += 1


@inlined
def bar_add(bar, ts_ns, price_ticks, qty_lots, side, kind, size):
    """Add one trade and return whether it fills the bar; the caller has closed a bar that is over, and closes this one.

    Parameters
    ----------
    bar : BAR, changed
    ts_ns : int64 >= 0, event time of the trade, never back; with the length of a time bar within int64
    price_ticks, qty_lots : int64 > 0, below 2**40
    side : int64, above 0: the buyer took
    kind : int64, BAR_*
    size : int64 in the rule's unit, see `bar_size`; > 0, of BAR_TIME 0 too: each trade is a bar

    Notes
    -----
    Complexity: O(1). Invariants: low <= open, close <= high; buy_volume <= volume; a bar that is not full is below its
    size. Nothing wraps: a product is judged as a float first, a sum of two numbers up to MOST fits.
    Twin: tests/reference/kernels/indicators.py
    """
    price = float(price_ticks)
    if bar["trades"] == 0:
        bar["open"] = price
        bar["high"] = price
        bar["low"] = price
        bar["volume"] = 0
        bar["buy_volume"] = 0
        bar["turnover"] = 0
        if kind == BAR_TIME and size > 0:
            begin_ns = ts_ns - ts_ns % size
            bar["begin_ns"] = begin_ns
            bar["end_ns"] = begin_ns + size
        else:
            bar["begin_ns"] = ts_ns
            bar["end_ns"] = INT64_MAX
    bar["high"] = max(bar["high"], price)
    bar["low"] = min(bar["low"], price)
    bar["close"] = price
    turnover = min(price_ticks * qty_lots, MOST) if price * float(qty_lots) <= _MOST_FLOAT else MOST
    turnover = min(bar["turnover"] + turnover, MOST)
    volume = min(bar["volume"] + qty_lots, MOST)
    trades = bar["trades"] + 1
    bar["turnover"] = turnover
    bar["volume"] = volume
    bar["trades"] = trades
    if side > 0:
        bar["buy_volume"] = min(bar["buy_volume"] + qty_lots, MOST)
    if kind == BAR_TIME:
        full = size == 0
    elif kind == BAR_TICK:
        full = trades >= size
    elif kind == BAR_VOLUME:
        full = volume >= size
    else:
        full = turnover >= size
    if full:
        bar["end_ns"] = ts_ns
    return full
