"""Orders in their queues: a price level in the book or among the triggers, and the queue of those whose turn comes.

Linked by row numbers in the order records, so joining and leaving is O(1) wherever the order stands. A level knows what
is shown and what is there, icebergs included. It exists as long as somebody waits at its price.
Twin: lists, tests/reference/kernels/exchange.py
"""

import numpy as np

from bot4.jit import kernel
from bot4.kernels.exchange.state import (
    AT_BOOK,
    AT_NOWHERE,
    AT_QUEUE,
    AT_TRIGGER,
    TREE_ASK,
    TREE_BID,
    TREE_FALLING,
    TREE_RISING,
)
from bot4.kernels.exchange.tree import key_of, root_of, tree_add, tree_find, tree_first, tree_remove
from bot4.model.enums import ORDER_REDUCE_ONLY, TYPE_STOP_LIMIT, TYPE_STOP_MARKET


@kernel
def _level_at(memory, instrument, tree, price_ticks):
    """The level of a price, made if there is none."""
    market = memory["markets"][instrument]
    best = market["best"][tree]
    if best >= 0 and memory["levels"][best]["price_ticks"] == price_ticks:
        return best
    key = key_of(market, tree, price_ticks)
    root = root_of(instrument, tree)
    level = tree_find(memory, root, market["digits"], key)
    if level >= 0:
        return level
    desk = memory["desk"]
    level = desk["free_level"]
    if level >= 0:
        desk["free_level"] = np.int64(memory["levels"][level]["next"])
    else:
        level = desk["fresh_level"]
        desk["fresh_level"] = level + 1
    row = memory["levels"][level]
    row["price_ticks"] = price_ticks
    row["shown_lots"] = 0
    row["total_lots"] = 0
    row["head"] = -1
    row["tail"] = -1
    row["instrument"] = instrument
    row["tree"] = tree
    tree_add(memory, root, market["digits"], key, level)
    if best < 0 or key < key_of(market, tree, memory["levels"][best]["price_ticks"]):
        market["best"][tree] = level
    return level


@kernel
def _drop_level(memory, level):
    """A level without orders is none."""
    row = memory["levels"][level]
    tree = np.int64(row["tree"])
    instrument = np.int64(row["instrument"])
    market = memory["markets"][instrument]
    root = root_of(instrument, tree)
    tree_remove(memory, root, market["digits"], key_of(market, tree, row["price_ticks"]))
    if market["best"][tree] == level:
        market["best"][tree] = tree_first(memory, root, market["digits"])
    row["next"] = memory["desk"]["free_level"]
    memory["desk"]["free_level"] = level


@kernel
def _link_last(memory, level, row):
    order = memory["orders"][row]
    place = memory["levels"][level]
    tail = np.int64(place["tail"])
    order["prev"] = tail
    order["next"] = -1
    if tail >= 0:
        memory["orders"][tail]["next"] = row
    else:
        place["head"] = row
    place["tail"] = row


@kernel
def _unlink(memory, level, row):
    order = memory["orders"][row]
    place = memory["levels"][level]
    before = np.int64(order["prev"])
    behind = np.int64(order["next"])
    if before >= 0:
        memory["orders"][before]["next"] = behind
    else:
        place["head"] = behind
    if behind >= 0:
        memory["orders"][behind]["prev"] = before
    else:
        place["tail"] = before


@kernel
def join_book(memory, row):
    """An order that rests goes to the end of the queue at its price, as much of it shown as it wants."""
    order = memory["orders"][row]
    tree = np.int64(TREE_BID if order["side"] > 0 else TREE_ASK)
    level = _level_at(memory, np.int64(order["instrument"]), tree, order["price_ticks"])
    leaves = order["leaves_lots"]
    shown = leaves if order["display_lots"] == 0 else min(order["display_lots"], leaves)
    order["slice_lots"] = shown
    order["level"] = level
    order["place"] = AT_BOOK
    _link_last(memory, level, row)
    place = memory["levels"][level]
    place["shown_lots"] += shown
    place["total_lots"] += leaves
    if order["flags"] & ORDER_REDUCE_ONLY:
        memory["seats"][order["seat"]]["reduce_lots"][0 if order["side"] > 0 else 1] += leaves


@kernel
def rising(order):
    """True if an order waits for a price at or above its trigger. One that tracks waits for the way back."""
    if order["trail_bps"] > 0 and order["extreme_ticks"] > 0:
        return order["side"] > 0
    is_stop = order["type"] == TYPE_STOP_MARKET or order["type"] == TYPE_STOP_LIMIT
    return (order["side"] > 0) == is_stop


@kernel
def join_trigger(memory, row):
    """An order waits for its trigger, behind those that wait for the same."""
    order = memory["orders"][row]
    tree = np.int64(TREE_RISING if rising(order) else TREE_FALLING)
    level = _level_at(memory, np.int64(order["instrument"]), tree, order["stop_ticks"])
    order["level"] = level
    order["place"] = AT_TRIGGER
    _link_last(memory, level, row)


@kernel
def join_queue(memory, row):
    """An order's turn comes when those before it have had theirs."""
    desk = memory["desk"]
    order = memory["orders"][row]
    tail = desk["queue_tail"]
    order["place"] = AT_QUEUE
    order["prev"] = tail
    order["next"] = -1
    if tail >= 0:
        memory["orders"][tail]["next"] = row
    else:
        desk["queue_head"] = row
    desk["queue_tail"] = row


@kernel
def leave(memory, row):
    """Take an order out of whatever it waits in."""
    order = memory["orders"][row]
    place = np.int64(order["place"])
    order["place"] = AT_NOWHERE
    if place == AT_QUEUE:
        desk = memory["desk"]
        before = np.int64(order["prev"])
        behind = np.int64(order["next"])
        if before >= 0:
            memory["orders"][before]["next"] = behind
        else:
            desk["queue_head"] = behind
        if behind >= 0:
            memory["orders"][behind]["prev"] = before
        else:
            desk["queue_tail"] = before
        return
    if place != AT_BOOK and place != AT_TRIGGER:
        return
    level = np.int64(order["level"])
    if place == AT_BOOK:
        memory["levels"][level]["shown_lots"] -= order["slice_lots"]
        memory["levels"][level]["total_lots"] -= order["leaves_lots"]
        if order["flags"] & ORDER_REDUCE_ONLY:
            memory["seats"][order["seat"]]["reduce_lots"][0 if order["side"] > 0 else 1] -= order["leaves_lots"]
    _unlink(memory, level, row)
    if memory["levels"][level]["head"] < 0:
        _drop_level(memory, level)


@kernel
def lessen_booked(memory, row, lots, from_slice):
    """An order in the book has `lots` less, of what it shows or of what it hides first.

    Parameters
    ----------
    memory : EXCHANGE record
    row : int64, of an order in the book
    lots : int64, less than its leaves, or all of them if it ends now
    from_slice : bool, True for a fill, which meets what is shown

    Notes
    -----
    An iceberg whose shown part is gone shows the next one, at the end of the queue.
    """
    order = memory["orders"][row]
    level = np.int64(order["level"])
    place = memory["levels"][level]
    order["leaves_lots"] -= lots
    place["total_lots"] -= lots
    before = order["slice_lots"]
    after = before - lots if from_slice else min(before, order["leaves_lots"])
    if after == 0 and order["leaves_lots"] > 0:
        after = min(order["display_lots"], order["leaves_lots"])
        _unlink(memory, level, row)
        _link_last(memory, level, row)
    order["slice_lots"] = after
    place["shown_lots"] += after - before
    if order["flags"] & ORDER_REDUCE_ONLY:
        memory["seats"][order["seat"]]["reduce_lots"][0 if order["side"] > 0 else 1] -= lots
