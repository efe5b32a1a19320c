"""Orders and order lists enter: made, checked, accepted whole or refused whole, then each where it belongs.

What waits for its turn in this command (triggered orders, pending legs) is taken in order of arrival by `take_turns`.
"""

import numpy as np

from bot4.jit import kernel
from bot4.kernels.exchange.account import add_open, lock
from bot4.kernels.exchange.check import (
    begin_lock,
    check_bounds,
    check_form,
    check_legs,
    check_market,
    parts_of,
    waits_for_price,
)
from bot4.kernels.exchange.ending import close, drop, seat_add
from bot4.kernels.exchange.event import command_event, list_event, order_event
from bot4.kernels.exchange.expiry import heap_add
from bot4.kernels.exchange.identity import find_client, remember, take_list, take_row
from bot4.kernels.exchange.queue import join_trigger, leave
from bot4.kernels.exchange.state import AT_LIST, AT_NOWHERE, LIST_LEGS, MAX_INSTRUMENTS, ROW_BITS
from bot4.kernels.exchange.trigger import follow
from bot4.kernels.exchange.walk import execute
from bot4.model.enums import (
    LIST_OCO,
    LIST_OTOCO,
    OK,
    REPORT_ACK,
    REPORT_EXPIRED,
    REPORT_LIST_STARTED,
    REPORT_REJECT,
    VENUE_BAD_REQUEST,
    VENUE_DUPLICATE_ID,
    VENUE_TOO_MANY_ORDERS,
)


@kernel
def make_order(memory, command):
    """A row for an order whose form is right: counted and found by its client id, in no queue and without a lock.

    Returns
    -------
    (int64, int64) : row, OK; or -1 and why not
    """
    desk = memory["desk"]
    parts = parts_of(command["qty_lots"], command["display_lots"])
    if desk["n_parts"] + parts > memory["desk"]["max_orders"]:
        return np.int64(-1), VENUE_TOO_MANY_ORDERS
    if find_client(memory, np.int64(command["account"]), command["client_id"]) >= 0:
        return np.int64(-1), VENUE_DUPLICATE_ID
    row = take_row(memory)
    order = memory["orders"][row]
    instrument = np.int64(command["instrument"])
    order["place"] = AT_NOWHERE
    order["account"] = command["account"]
    order["instrument"] = instrument
    order["seat"] = np.int64(command["account"]) * MAX_INSTRUMENTS + instrument
    order["side"] = np.int64(command["side"])
    order["leaves_lots"] = command["qty_lots"]
    order["slice_lots"] = 0
    order["lock_ticks"] = 0
    order["price_ticks"] = command["price_ticks"]
    order["client_id"] = command["client_id"]
    order["cum_lots"] = 0
    order["cum_value_e8"] = 0
    order["qty_lots"] = command["qty_lots"]
    order["prevented_lots"] = 0
    order["stop_ticks"] = command["stop_ticks"]
    order["display_lots"] = command["display_lots"]
    order["amount_e8"] = command["amount_e8"]
    order["trail_bps"] = command["trail_bps"]
    order["extreme_ticks"] = 0
    order["expire_ns"] = command["expire_ns"]
    order["type"] = np.int64(command["type"])
    order["tif"] = np.int64(command["tif"])
    order["flags"] = np.int64(command["flags"])
    order["stp"] = np.int64(command["stp"])
    order["locks"] = 0
    order["list"] = -1
    order["leg"] = 0
    order["parts"] = parts
    order["heap"] = -1
    order["fired"] = 0
    desk["n_parts"] += parts
    desk["n_open"] += 1
    if command["trail_bps"] > 0:
        memory["markets"][instrument]["n_trailing"] += 1
    remember(memory, row)
    seat_add(memory, row)
    add_open(memory, row, order["leaves_lots"])
    return row, OK


@kernel
def _accept(memory, row):
    """The order has an id from now on, and a time to end at if it wants one."""
    desk = memory["desk"]
    order = memory["orders"][row]
    desk["order_seq"] += 1
    order["order_id"] = (desk["order_seq"] << ROW_BITS) | row
    if order["expire_ns"] > 0:
        heap_add(memory, row)
    order_event(memory, REPORT_ACK, row, OK)


@kernel
def _enter(memory, row):
    """An accepted order goes where it belongs: to its trigger, or to the book and takes."""
    order = memory["orders"][row]
    order["place"] = AT_NOWHERE
    if not waits_for_price(order["type"]):
        execute(memory, row)
    elif order["stop_ticks"] == 0:
        follow(memory, row, memory["markets"][order["instrument"]]["last_ticks"])
    else:
        join_trigger(memory, row)


@kernel
def place(memory, command):
    """A new order: refused, or accepted and on its way.

    Notes
    -----
    Complexity: O(orders met). Twin: tests/reference/kernels/exchange.py
    """
    code = check_form(memory, command)
    row = np.int64(-1)
    if code == OK:
        row, code = make_order(memory, command)
    if code == OK:
        code = check_bounds(memory, row, np.int64(0))
        if code == OK:
            code = check_market(memory, row)
        if code != OK:
            drop(memory, row)
    if code != OK:
        command_event(memory, REPORT_REJECT, command, code)
        return
    lock(memory, row, begin_lock(memory, row))
    _accept(memory, row)
    _enter(memory, row)


@kernel
def refuse_list(memory, code):
    """The staged legs are no list: told once, by the list's client id, and forgotten."""
    first = memory["staged"][0]
    event = memory["events"][command_event(memory, REPORT_REJECT, first, code)]
    event["client_id"] = first["list_client_id"]
    event["list_id"] = -1
    memory["desk"]["n_staged"] = 0


@kernel
def _place_list(memory, n):
    """The staged legs as a list: all are accepted or none. Returns the list's row and OK, or -1 and why not."""
    desk = memory["desk"]
    kind = np.int64(memory["staged"][0]["list_kind"])
    code = OK
    for leg in range(n):
        if code == OK:
            code = check_form(memory, memory["staged"][leg])
    if code == OK:
        code = check_legs(memory, n)
    if code != OK:
        return np.int64(-1), code
    at = take_list(memory)
    one = memory["lists"][at]
    for leg in range(LIST_LEGS):
        one["legs"][leg] = -1
    made = 0
    for leg in range(n):
        if code == OK:
            row, code = make_order(memory, memory["staged"][leg])
            if code == OK:
                one["legs"][leg] = row
                made += 1
                memory["orders"][row]["leg"] = leg
                if leg > 0 and kind != LIST_OCO:
                    memory["orders"][row]["place"] = AT_LIST
                code = check_bounds(memory, row, np.int64(0))
    n_active = 2 if kind == LIST_OCO else 1
    needed = np.int64(0)
    for leg in range(n_active):
        if code == OK:
            code = check_market(memory, np.int64(one["legs"][leg]))
    if code != OK:
        for leg in range(made):
            drop(memory, np.int64(one["legs"][leg]))
        one["next"] = desk["free_list"]
        desk["free_list"] = at
        return np.int64(-1), code
    for leg in range(n_active):
        needed = max(needed, begin_lock(memory, np.int64(one["legs"][leg])))
    lock(memory, np.int64(one["legs"][0]), needed)
    return at, OK


@kernel
def place_list(memory):
    """The staged legs have come whole: refuse them, or accept them and let the first ones enter.

    Notes
    -----
    Complexity: O(orders met). Source: order lists as Binance Spot documents them.
    Twin: tests/reference/kernels/exchange.py
    """
    desk = memory["desk"]
    n = desk["n_staged"]
    first = memory["staged"][0]
    at, code = _place_list(memory, n)
    if code != OK:
        refuse_list(memory, code)
        return
    desk["n_staged"] = 0
    desk["list_seq"] += 1
    one = memory["lists"][at]
    one["list_id"] = desk["list_seq"]
    one["client_id"] = first["list_client_id"]
    one["kind"] = np.int64(first["list_kind"])
    list_event(memory, REPORT_LIST_STARTED, at, np.int64(first["account"]), np.int64(first["instrument"]))
    for leg in range(n):
        memory["orders"][one["legs"][leg]]["list"] = at
        _accept(memory, np.int64(one["legs"][leg]))
    list_id = one["list_id"]
    for leg in range(2 if one["kind"] == LIST_OCO else 1):
        # the first leg's fill may have ended the second, and with it the list
        if one["list_id"] == list_id and one["legs"][leg] >= 0:
            _enter(memory, np.int64(one["legs"][leg]))


@kernel
def stage_leg(memory, command):
    """One more leg of a list that comes; legs of one list follow each other, their last one places it."""
    desk = memory["desk"]
    n = desk["n_staged"]
    leg = np.int64(command["leg"])
    first = memory["staged"][0]
    if n > 0 and (
        leg != n
        or command["account"] != first["account"]
        or command["instrument"] != first["instrument"]
        or command["list_kind"] != first["list_kind"]
    ):
        refuse_list(memory, VENUE_BAD_REQUEST)
        n = np.int64(0)
    memory["staged"][n] = command
    desk["n_staged"] = n + 1
    if leg != n:
        refuse_list(memory, VENUE_BAD_REQUEST)
    elif n + 1 == (LIST_LEGS if np.int64(command["list_kind"]) == LIST_OTOCO else 2):
        place_list(memory)


@kernel
def _activate(memory, row):
    """The working leg is filled: its pending legs enter, a pair together or not at all."""
    order = memory["orders"][row]
    one = memory["lists"][order["list"]]
    list_id = one["list_id"]
    code = OK
    for leg in range(1, LIST_LEGS):
        if one["legs"][leg] >= 0:
            leave(memory, np.int64(one["legs"][leg]))
            memory["orders"][one["legs"][leg]]["place"] = AT_LIST
            if code == OK:
                code = check_market(memory, np.int64(one["legs"][leg]))
    if code != OK:
        close(memory, row, REPORT_EXPIRED, code)
        return
    needed = np.int64(0)
    for leg in range(1, LIST_LEGS):
        if one["legs"][leg] >= 0:
            needed = max(needed, begin_lock(memory, np.int64(one["legs"][leg])))
    lock(memory, row, needed)
    for leg in range(1, LIST_LEGS):
        if one["legs"][leg] >= 0:
            memory["orders"][one["legs"][leg]]["place"] = AT_NOWHERE
            order_event(memory, REPORT_ACK, np.int64(one["legs"][leg]), OK)
    for leg in range(1, LIST_LEGS):
        if one["list_id"] == list_id and one["legs"][leg] >= 0:
            _enter(memory, np.int64(one["legs"][leg]))


@kernel
def take_turns(memory):
    """Those whose turn has come, until there are none; each order at most twice, as a pending leg and triggered."""
    desk = memory["desk"]
    while desk["queue_head"] >= 0:
        row = desk["queue_head"]
        leave(memory, row)
        if memory["orders"][row]["fired"] != 0:
            execute(memory, row)
        else:
            _activate(memory, row)
