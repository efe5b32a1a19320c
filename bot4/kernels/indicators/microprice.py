"""The mid price weighted by the opposite side's size: where the next trade is likely to move the quote."""

from bot4.jit import inlined


@inlined
def microprice(bid_ticks, bid_lots, ask_ticks, ask_lots):
    """(bid * ask size + ask * bid size) / (bid size + ask size), float64 ticks; the mid where both sizes are 0.

    Parameters
    ----------
    bid_ticks, ask_ticks : int64 > 0
    bid_lots, ask_lots : int64 >= 0

    Notes
    -----
    Computed as the bid plus a share of the spread, which keeps the digits. Complexity: O(1). Invariant: bid <= result
    <= ask. Source: Gatheral and Oomen 2010, weighted mid. Twin: tests/reference/kernels/indicators.py
    """
    total = bid_lots + ask_lots
    if total <= 0:
        return 0.5 * (bid_ticks + ask_ticks)
    return bid_ticks + (ask_ticks - bid_ticks) * (bid_lots / total)
