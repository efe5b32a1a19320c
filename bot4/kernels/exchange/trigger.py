"""A trade's price sets orders off: stops, take-profits, and trailing ones, whose trigger follows the price.

A sell's trailing trigger is floor(best price * (10,000 - bps) / 10,000), a buy's ceil(best * (10,000 + bps) / 10,000):
the first whole ticks that are that far away. What goes off gets its turn when those before it have had theirs.
"""

import numpy as np

from bot4.jit import kernel
from bot4.kernels.exchange.ending import end_sibling, trail_add, trail_remove
from bot4.kernels.exchange.event import order_event
from bot4.kernels.exchange.queue import join_queue, join_trigger, leave
from bot4.kernels.exchange.state import BPS, TREE_FALLING, TREE_RISING
from bot4.model.enums import REPORT_TRIGGERED


@kernel
def follow(memory, row, price_ticks):
    """A trailing order's best price is this one now; its trigger goes with it.

    Notes
    -----
    The order is not among those that wait. Bound: price * 20,000 fits by MAX_PRICE_TICKS.
    """
    order = memory["orders"][row]
    if order["extreme_ticks"] == 0:
        trail_add(memory, row)
    order["extreme_ticks"] = price_ticks
    if order["side"] > 0:
        order["stop_ticks"] = -((-price_ticks * (BPS + order["trail_bps"])) // BPS)
    else:
        order["stop_ticks"] = price_ticks * (BPS - order["trail_bps"]) // BPS
    join_trigger(memory, row)


@kernel
def _fire(memory, row, price_ticks):
    order = memory["orders"][row]
    leave(memory, row)
    if order["trail_bps"] > 0:
        if order["extreme_ticks"] == 0:
            follow(memory, row, price_ticks)
            return
        trail_remove(memory, row)
    order["fired"] = 1
    join_queue(memory, row)
    order_event(memory, REPORT_TRIGGERED, row, 0)
    end_sibling(memory, row)


@kernel
def on_price(memory, instrument, price_ticks):
    """The last price is another one: who waited for it goes off, trailing triggers follow.

    Notes
    -----
    Complexity: O(orders that go off + trailing orders). Twin: tests/reference/kernels/exchange.py
    """
    market = memory["markets"][instrument]
    if market["last_ticks"] == price_ticks:
        return
    market["last_ticks"] = price_ticks
    level = market["best"][TREE_RISING]
    while level >= 0 and memory["levels"][level]["price_ticks"] <= price_ticks:
        _fire(memory, np.int64(memory["levels"][level]["head"]), price_ticks)
        level = market["best"][TREE_RISING]
    level = market["best"][TREE_FALLING]
    while level >= 0 and memory["levels"][level]["price_ticks"] >= price_ticks:
        _fire(memory, np.int64(memory["levels"][level]["head"]), price_ticks)
        level = market["best"][TREE_FALLING]
    row = market["trail_head"]
    while row >= 0:
        order = memory["orders"][row]
        if order["side"] * (price_ticks - order["extreme_ticks"]) < 0:
            leave(memory, row)
            follow(memory, row, price_ticks)
        row = np.int64(order["trail_next"])
