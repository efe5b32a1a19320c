"""Quantity that we took from the recorded book is not offered again until the recording changes that level.

The recording cannot know of our fills: it goes on showing what we bought. A small table an instrument remembers, for
each level we took from, what the recording showed and how much of it is gone. An entry dies when the recording shows
another quantity at that level. Linear search: the table holds the few levels that the last orders walked through.
"""

import numpy as np

from bot4.jit import kernel
from bot4.kernels.book import book_depth, book_level
from bot4.kernels.matching.state import MAX_TAKEN


@kernel
def displayed(book, side, price_ticks):
    """Quantity that the recording shows at a price, the newer best quote taken into account; 0 where there is none.

    Parameters
    ----------
    book : BOOK record
    side : int64, +1 bids, -1 asks
    price_ticks : int64 > 0

    Notes
    -----
    Complexity: O(log levels). Twin: tests/reference/kernels/matching.py
    """
    if np.int64(book["quote_newer"]) != 0:
        if side > 0:
            top = np.int64(book["quote_bid"])
            lots = np.int64(book["quote_bid_lots"])
        else:
            top = np.int64(book["quote_ask"])
            lots = np.int64(book["quote_ask_lots"])
        if price_ticks == top:
            return lots
        if top == 0 or side * (price_ticks - top) > 0:
            return np.int64(0)
    low = np.int64(0)
    high = np.int64(book_depth(book, side)) - 1
    while low <= high:
        middle = (low + high) >> 1
        price, lots = book_level(book, side, middle)
        if price == price_ticks:
            return np.int64(lots)
        if side * (price - price_ticks) > 0:
            low = middle + 1
        else:
            high = middle - 1
    return np.int64(0)


@kernel
def find_taken(table, count, side, price_ticks):
    """Index of a level's entry in TAKEN[count], -1 if we took nothing there."""
    for index in range(count):
        entry = table[index]
        if entry["price_ticks"] == price_ticks and entry["side"] == side:
            return np.int64(index)
    return np.int64(-1)


@kernel
def offered(table, seat, side, price_ticks, shown_lots):
    """What is left for us of a displayed level; 0 also where the table has no room to remember a new level."""
    index = find_taken(table, seat["n_taken"], side, price_ticks)
    if index < 0:
        return shown_lots if seat["n_taken"] < MAX_TAKEN else np.int64(0)
    return max(np.int64(0), shown_lots - table[index]["taken_lots"])


@kernel
def take_level(table, seat, side, price_ticks, shown_lots, qty_lots):
    """Remember that we took `qty_lots` of the `shown_lots` of a level; the caller has asked `offered`."""
    index = find_taken(table, seat["n_taken"], side, price_ticks)
    if index < 0:
        index = seat["n_taken"]
        seat["n_taken"] = index + 1
        entry = table[index]
        entry["side"] = side
        entry["price_ticks"] = price_ticks
        entry["seen_lots"] = shown_lots
        entry["taken_lots"] = 0
    table[index]["taken_lots"] += qty_lots


@kernel
def forget_changed(table, seat, book):
    """Drop the entries of all levels at which the recording now shows another quantity.

    Notes
    -----
    Complexity: O(entries * log levels), after each message; most have no entry. Order of the rest is kept.
    Twin: tests/reference/kernels/matching.py
    """
    kept = np.int64(0)
    for index in range(seat["n_taken"]):
        entry = table[index]
        if displayed(book, entry["side"], entry["price_ticks"]) == entry["seen_lots"]:
            if kept != index:
                table[kept]["side"] = entry["side"]
                table[kept]["price_ticks"] = entry["price_ticks"]
                table[kept]["seen_lots"] = entry["seen_lots"]
                table[kept]["taken_lots"] = entry["taken_lots"]
            kept += 1
    seat["n_taken"] = kept
