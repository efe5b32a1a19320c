"""Orders that end at a time, in a binary heap of rows: the earliest first, of equal times the older order.

Each order knows its place, so one that ends before its time leaves in O(log n).
Twin: tests/reference/kernels/exchange.py
"""

import numpy as np

from bot4.jit import inlined, kernel


@inlined
def _earlier(memory, a, b):
    first = memory["orders"][a]
    second = memory["orders"][b]
    if first["expire_ns"] != second["expire_ns"]:
        return first["expire_ns"] < second["expire_ns"]
    return (first["order_id"]) < (second["order_id"])


@inlined
def _put(memory, place, row):
    memory["heap"][place] = row
    memory["orders"][row]["heap"] = place


@kernel
def _rise(memory, place):
    row = np.int64(memory["heap"][place])
    while place > 0:
        above = (place - 1) >> 1
        other = np.int64(memory["heap"][above])
        if not _earlier(memory, row, other):
            break
        _put(memory, place, other)
        place = above
    _put(memory, place, row)


@kernel
def _sink(memory, place):
    n = memory["desk"]["n_heap"]
    row = np.int64(memory["heap"][place])
    while 2 * place + 1 < n:
        below = 2 * place + 1
        if below + 1 < n and _earlier(memory, np.int64(memory["heap"][below + 1]), np.int64(memory["heap"][below])):
            below += 1
        other = np.int64(memory["heap"][below])
        if not _earlier(memory, other, row):
            break
        _put(memory, place, other)
        place = below
    _put(memory, place, row)


@kernel
def heap_add(memory, row):
    """An order with a time to end at."""
    desk = memory["desk"]
    place = desk["n_heap"]
    desk["n_heap"] = place + 1
    _put(memory, place, row)
    _rise(memory, place)


@kernel
def heap_remove(memory, row):
    """The order ends; one that has no such time is not there."""
    place = np.int64(memory["orders"][row]["heap"])
    if place < 0:
        return
    desk = memory["desk"]
    last = desk["n_heap"] - 1
    desk["n_heap"] = last
    memory["orders"][row]["heap"] = -1
    if place == last:
        return
    moved = np.int64(memory["heap"][last])
    _put(memory, place, moved)
    _rise(memory, place)
    _sink(memory, np.int64(memory["orders"][moved]["heap"]))
