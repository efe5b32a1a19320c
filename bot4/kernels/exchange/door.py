"""The exchange for callers in Python: what `step.py` does, of arrays that hold one record.

A record by itself costs a caller a look at every field of its type, 100 us for this one; an array is known by its type.
"""

import numpy as np

from bot4.jit import kernel
from bot4.kernels.exchange.state import TREE_ASK, TREE_BID
from bot4.kernels.exchange.step import depth, exchange_step
from bot4.kernels.exchange.tree import key_of, root_of, tree_find


@kernel
def door_step(memories, commands):
    """`exchange_step` of memories[0] and commands[0], EXCHANGE[1] and COMMAND[1]. Returns the number of events."""
    return exchange_step(memories[0], commands[0])


@kernel
def door_depth(memories, instrument, side, out):
    """`depth` of memories[0], EXCHANGE[1]. Returns the number of levels written."""
    return depth(memories[0], instrument, side, out)


@kernel
def door_shown(memories, instrument, side, price_ticks):
    """Lots that everybody sees at a price of memories[0], 0: none.

    Parameters
    ----------
    memories : EXCHANGE[1]
    instrument : int64, of those there are
    side : int64, +1 bids, -1 asks
    price_ticks : int64, 1 to the instrument's largest

    Notes
    -----
    Complexity: O(digits of the price), at most 5. Twin: the orders by price, tests/reference/kernels/exchange.py
    """
    memory = memories[0]
    market = memory["markets"][instrument]
    tree = np.int64(TREE_BID if side > 0 else TREE_ASK)
    level = tree_find(memory, root_of(instrument, tree), market["digits"], key_of(market, tree, price_ticks))
    if level < 0:
        return np.int64(0)
    return memory["levels"][level]["shown_lots"]


@kernel
def door_queue(memories, instrument, side, price_ticks, out):
    """The orders that wait at a price of memories[0], who is first first.

    Parameters
    ----------
    memories : EXCHANGE[1]
    instrument : int64, of those there are
    side : int64, +1 bids, -1 asks
    price_ticks : int64, 1 to the instrument's largest
    out : int64[n, 5], client id, account, lots shown, lots left and lots of the whole order, is written

    Returns
    -------
    int64 : orders that wait there; those beyond n are not written

    Notes
    -----
    Complexity: O(orders at the price). Twin: the orders by price, tests/reference/kernels/exchange.py
    """
    memory = memories[0]
    market = memory["markets"][instrument]
    tree = np.int64(TREE_BID if side > 0 else TREE_ASK)
    level = tree_find(memory, root_of(instrument, tree), market["digits"], key_of(market, tree, price_ticks))
    n = np.int64(0)
    row = np.int64(memory["levels"][level]["head"]) if level >= 0 else np.int64(-1)
    while row >= 0:
        order = memory["orders"][row]
        if n < len(out):
            out[n, 0] = order["client_id"]
            out[n, 1] = order["account"]
            out[n, 2] = order["slice_lots"]
            out[n, 3] = order["leaves_lots"]
            out[n, 4] = order["qty_lots"]
        n += 1
        row = np.int64(order["next"])
    return n
