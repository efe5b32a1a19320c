"""The order table: every order ever sent, found by client id; the open ones listed in order of arrival.

A client id once used stays used, whatever became of its order (a recovery that asks for it gets its outcome, a repeated
request is refused). Ids are hashed into twice as many slots as there can be ids, so a probe is short and always ends.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.matching.report import order_event, write_order
from bot4.kernels.matching.state import ID_SLOTS
from bot4.model.enums import (
    ORDER_REDUCE_ONLY,
    REPORT_ACK,
    REPORT_EXPIRED,
    REPORT_FILL,
    REPORT_REPLACED,
    SIDE_SELL,
    TYPE_STOP_MARKET,
    VENUE_REDUCE_ONLY,
)

_LOW = np.uint64(0xFFFF_FFFF)
_HALF = np.uint64(32)


@inlined
def id_slot(id_hi, id_lo):
    """First slot to look at for a client id; all four halves take part, no product wraps.

    Parameters
    ----------
    id_hi, id_lo : uint64
    """
    mixed = (np.int64(id_lo >> _HALF) * 1_640_531_527) ^ ((np.int64(id_hi & _LOW) * 1_013_904_223) >> 7)
    mixed ^= (np.int64(id_lo & _LOW) * 1_103_515_245) >> 5
    mixed ^= (np.int64(id_hi >> _HALF) * 1_566_083_941) >> 9
    return (mixed ^ (mixed >> 23)) & (ID_SLOTS - 1)


@kernel
def find_order(memory, id_hi, id_lo):
    """Row of the order with this client id, -1 if the id was never used.

    Notes
    -----
    Complexity: O(1) expected; at most half of the slots are taken, so the probe ends.
    Twin: tests/reference/kernels/matching.py
    """
    slot = id_slot(id_hi, id_lo)
    while memory.ids[slot] != 0:
        row = memory.ids[slot] - 1
        if memory.orders[row]["id_hi"] == id_hi and memory.orders[row]["id_lo"] == id_lo:
            return row
        slot = (slot + 1) & (ID_SLOTS - 1)
    return np.int64(-1)


@kernel
def enter_order(memory, request):
    """Make the row of a request to place; its id is used from now on. Returns the row, -1 if the table is full."""
    desk = memory.desk[0]
    row = desk["n_orders"]
    if row >= len(memory.orders):
        return np.int64(-1)
    desk["n_orders"] = row + 1
    slot = id_slot(request["id_hi"], request["id_lo"])
    while memory.ids[slot] != 0:
        slot = (slot + 1) & (ID_SLOTS - 1)
    memory.ids[slot] = row + 1
    order = memory.orders[row]
    order_type = np.int64(request["type"])
    order["id_hi"] = request["id_hi"]
    order["id_lo"] = request["id_lo"]
    order["instrument"] = np.int64(request["instrument"])
    order["shard"] = np.int64(request["shard"])
    order["order_row"] = np.int64(request["order_row"])
    order["side"] = np.int64(request["side"])
    order["type"] = order_type
    order["tif"] = np.int64(request["tif"])
    order["flags"] = np.int64(request["flags"])
    order["leg"] = np.int64(request["leg"])
    order["price_ticks"] = request["price_ticks"]
    order["stop_ticks"] = request["stop_ticks"] if order_type == TYPE_STOP_MARKET else np.int64(0)
    order["qty_lots"] = request["qty_lots"]
    return row


@kernel
def list_order(memory, row):
    """An accepted order becomes open, last in its instrument's order of arrival; the caller has checked the room."""
    order = memory.orders[row]
    seat = memory.seats[order["instrument"]]
    memory.listed[order["instrument"], seat["n_listed"]] = row
    seat["n_listed"] += 1
    memory.desk[0]["n_open"] += 1
    memory.desk[0]["n_accepted"] += 1
    order["open"] = 1
    order["status"] = REPORT_ACK


@kernel
def end_order(memory, row, status, code, tell):
    """An open order is over: `status` says how, `code` why. It stays listed until `sweep`; `tell` makes an event."""
    order = memory.orders[row]
    order["open"] = 0
    order["status"] = status
    order["code"] = code
    memory.desk[0]["n_open"] -= 1
    memory.seats[order["instrument"]]["changed"] = 1
    if tell:
        order_event(memory, row, status, code, True)
    write_order(memory, row, status, code)


@inlined
def only_reduces(order, instrument):
    """True if the order may only lower the position: reduce-only, or a sell of a spot instrument (nothing to short)."""
    spot_sell = np.int64(instrument["is_spot"]) != 0 and order["side"] == SIDE_SELL
    return spot_sell or (order["flags"] & ORDER_REDUCE_ONLY) != 0


@inlined
def reducible(seat, side):
    """Lots by which an order of that side can lower the position."""
    lots = seat["lots"]
    if lots == 0 or (lots > 0) == (side > 0):
        return np.int64(0)
    return abs(lots)


@kernel
def settle(memory, instruments, index):
    """After an item: reduce-only orders shrink to the position or expire, ended orders leave the list.

    Notes
    -----
    Complexity: O(listed orders of the instrument). Invariant: afterwards no open order that may only reduce asks for
    more than the position. Twin: tests/reference/kernels/matching.py
    """
    seat = memory.seats[index]
    if seat["changed"] == 0:
        return
    seat["changed"] = 0
    kept = np.int64(0)
    for place in range(seat["n_listed"]):
        row = memory.listed[index, place]
        order = memory.orders[row]
        if order["open"] != 0 and only_reduces(order, instruments[index]):
            left = reducible(seat, order["side"])
            if left == 0:
                end_order(memory, row, REPORT_EXPIRED, VENUE_REDUCE_ONLY, True)
            elif order["qty_lots"] - order["cum_lots"] > left:
                order["qty_lots"] = order["cum_lots"] + left
                order_event(memory, row, REPORT_REPLACED, VENUE_REDUCE_ONLY, True)
                write_order(memory, row, REPORT_REPLACED, VENUE_REDUCE_ONLY)
        if order["open"] != 0:
            memory.listed[index, kept] = row
            kept += 1
    seat["n_listed"] = kept
    seat["changed"] = 0


@kernel
def complete(memory, row):
    """Close an order that is filled; the fill has told everybody, only the ledger gets an entry."""
    order = memory.orders[row]
    if order["cum_lots"] >= order["qty_lots"]:
        end_order(memory, row, REPORT_FILL, 0, False)
        return True
    return False
