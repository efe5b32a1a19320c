"""Imbalance of the displayed size, -1 (all offered) to +1 (all bid), of the best level or of several."""

from bot4.jit import inlined
from bot4.kernels.book import book_imbalance


@inlined
def top_imbalance(bid_lots, ask_lots):
    """(bid - ask) / (bid + ask) of the best level's sizes, int64 >= 0; 0.0 where both are 0.

    Notes
    -----
    Complexity: O(1). Invariant: -1 <= result <= 1. Twin: tests/reference/kernels/indicators.py
    """
    total = bid_lots + ask_lots
    if total <= 0:
        return 0.0
    return (bid_lots - ask_lots) / total


@inlined
def imbalance(book, levels, bid_lots, ask_lots):
    """Imbalance of the best `levels` levels a side; of the given best sizes when `levels` is at most 1.

    Parameters
    ----------
    book : BOOK
    levels : int64
    bid_lots, ask_lots : int64 >= 0, sizes of the effective best level

    Notes
    -----
    Complexity: O(levels). Twin: tests/reference/kernels/indicators.py
    """
    if levels <= 1:
        return top_imbalance(bid_lots, ask_lots)
    return book_imbalance(book, levels)
