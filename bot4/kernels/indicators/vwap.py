"""Volume-weighted average price since the day began, from every trade.

The anchor is event time: a trade of a new day (UTC) starts afresh. Prices are summed as distances from the anchor
price, so that sums of a whole day keep their digits.
"""

import numpy as np

from bot4.jit import inlined

DAY_NS = 86_400_000_000_000
VWAP = np.dtype([("value", "f8"), ("weighted", "f8"), ("volume", "f8"), ("anchor_ticks", "i8"), ("day", "i8")])


@inlined
def vwap_init(vwap):
    """Nothing traded yet. vwap : VWAP."""
    vwap["value"] = 0.0
    vwap["weighted"] = 0.0
    vwap["volume"] = 0.0
    vwap["anchor_ticks"] = 0
    vwap["day"] = -1


@inlined
def vwap_update(vwap, ts_ns, price_ticks, qty_lots):
    """Take one trade and return the day's average price.

    Parameters
    ----------
    vwap : VWAP, changed
    ts_ns : int64 >= 0, event time
    price_ticks, qty_lots : int64 > 0

    Notes
    -----
    Complexity: O(1). Invariant: between the lowest and the highest price of the day. Twin:
    tests/reference/kernels/indicators.py
    """
    day = ts_ns // DAY_NS
    if day != vwap["day"]:
        vwap["day"] = day
        vwap["weighted"] = 0.0
        vwap["volume"] = 0.0
        vwap["anchor_ticks"] = price_ticks
    vwap["weighted"] += float(price_ticks - vwap["anchor_ticks"]) * qty_lots
    vwap["volume"] += qty_lots
    vwap["value"] = vwap["anchor_ticks"] + vwap["weighted"] / vwap["volume"]
    return vwap["value"]


@inlined
def vwap_ready(vwap):
    """True once something traded."""
    return vwap["volume"] > 0.0
