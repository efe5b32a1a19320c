"""Rows of orders and how they are found: by order id, which holds the row, or by account and client id, hashed.

A client id is free again when its order has ended; the table closes the gap that it leaves, so a probe never meets more
than open orders, half of the slots at most.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.exchange.state import ID_SLOTS, ROW_BITS

_LOW = 0xFFFF_FFFF


@inlined
def id_slot(account, client_id):
    """First slot to look at; no product wraps."""
    mixed = (client_id & _LOW) * 1_640_531_527
    mixed ^= ((client_id >> 32) & _LOW) * 1_013_904_223
    mixed ^= np.int64(account) * 1_566_083_941
    return (mixed ^ (mixed >> 17) ^ (mixed >> 35)) & (ID_SLOTS - 1)


@kernel
def find_client(memory, account, client_id):
    """Row of an account's open order with this client id, -1: none.

    Notes
    -----
    Complexity: O(1) expected. Twin: a dictionary, tests/reference/kernels/exchange.py
    """
    if client_id == 0:
        return np.int64(-1)
    slot = id_slot(account, client_id)
    while memory["ids"][slot] != 0:
        row = np.int64(memory["ids"][slot]) - 1
        order = memory["orders"][row]
        if order["client_id"] == client_id and order["account"] == account:
            return row
        slot = (slot + 1) & (ID_SLOTS - 1)
    return np.int64(-1)


@kernel
def find_order(memory, account, order_id, client_id):
    """Row of an account's open order, by its id or, where that is 0, by its client id; -1: none."""
    if order_id == 0:
        return find_client(memory, account, client_id)
    row = order_id & ((1 << ROW_BITS) - 1)
    if row >= memory["desk"]["max_orders"] or memory["orders"][row]["order_id"] != order_id:
        return np.int64(-1)
    return row if memory["orders"][row]["account"] == account else np.int64(-1)


@kernel
def remember(memory, row):
    """The order can be found by its client id."""
    order = memory["orders"][row]
    if order["client_id"] == 0:
        return
    slot = id_slot(np.int64(order["account"]), order["client_id"])
    while memory["ids"][slot] != 0:
        slot = (slot + 1) & (ID_SLOTS - 1)
    memory["ids"][slot] = row + 1


@kernel
def forget(memory, row):
    """The order's client id is free again; those that were pushed on by it move back."""
    order = memory["orders"][row]
    if order["client_id"] == 0:
        return
    mask = ID_SLOTS - 1
    hole = id_slot(np.int64(order["account"]), order["client_id"])
    while memory["ids"][hole] != row + 1:
        hole = (hole + 1) & mask
    probe = (hole + 1) & mask
    while memory["ids"][probe] != 0:
        other = memory["orders"][memory["ids"][probe] - 1]
        home = id_slot(np.int64(other["account"]), other["client_id"])
        if ((probe - home) & mask) >= ((probe - hole) & mask):
            memory["ids"][hole] = memory["ids"][probe]
            hole = probe
        probe = (probe + 1) & mask
    memory["ids"][hole] = 0


@kernel
def take_row(memory):
    """A free row of the order table; the caller has seen that there is one."""
    desk = memory["desk"]
    row = desk["free_order"]
    if row >= 0:
        desk["free_order"] = np.int64(memory["orders"][row]["next"])
    else:
        row = desk["fresh_order"]
        desk["fresh_order"] = row + 1
    return row


@kernel
def free_row(memory, row):
    """The row may be used again."""
    order = memory["orders"][row]
    order["order_id"] = 0
    order["next"] = memory["desk"]["free_order"]
    memory["desk"]["free_order"] = row


@kernel
def take_list(memory):
    """A free row of the order lists; there are as many as orders."""
    desk = memory["desk"]
    at = desk["free_list"]
    if at >= 0:
        desk["free_list"] = np.int64(memory["lists"][at]["next"])
    else:
        at = desk["fresh_list"]
        desk["fresh_list"] = at + 1
    return at


@kernel
def free_list(memory, at):
    """The row may be used again."""
    memory["lists"][at]["next"] = memory["desk"]["free_list"]
    memory["desk"]["free_list"] = at
