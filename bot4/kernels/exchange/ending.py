"""How orders end, and what their order lists make of it.

An order of a list that ends other than by being filled takes the rest of the list along. Of an OCO pair, the first leg
that trades or goes off ends the other; the pending legs of a list get their turn when its working leg is filled.
"""

import numpy as np

from bot4.jit import kernel
from bot4.kernels.exchange.account import add_open, reducible, release_all, sibling
from bot4.kernels.exchange.event import list_event, order_event
from bot4.kernels.exchange.expiry import heap_remove
from bot4.kernels.exchange.identity import forget, free_list, free_row
from bot4.kernels.exchange.queue import join_queue, leave, lessen_booked
from bot4.kernels.exchange.state import AT_BOOK, LIST_LEGS
from bot4.model.enums import (
    LIST_OCO,
    ORDER_REDUCE_ONLY,
    REPORT_CANCELED,
    REPORT_EXPIRED,
    REPORT_FILL,
    REPORT_LIST_DONE,
    REPORT_REPLACED,
    SIDE_BUY,
    VENUE_LIST,
    VENUE_REDUCE_ONLY,
)


@kernel
def seat_add(memory, row):
    """The newest open order of its account on its instrument."""
    order = memory["orders"][row]
    seat = memory["seats"][order["seat"]]
    tail = np.int64(seat["tail"])
    order["seat_prev"] = tail
    order["seat_next"] = -1
    if tail >= 0:
        memory["orders"][tail]["seat_next"] = row
    else:
        seat["head"] = row
    seat["tail"] = row


@kernel
def _seat_remove(memory, row):
    order = memory["orders"][row]
    seat = memory["seats"][order["seat"]]
    before = np.int64(order["seat_prev"])
    behind = np.int64(order["seat_next"])
    if before >= 0:
        memory["orders"][before]["seat_next"] = behind
    else:
        seat["head"] = behind
    if behind >= 0:
        memory["orders"][behind]["seat_prev"] = before
    else:
        seat["tail"] = before


@kernel
def trail_add(memory, row):
    """A trailing order that looks at every new price, before those that did already."""
    order = memory["orders"][row]
    market = memory["markets"][order["instrument"]]
    head = market["trail_head"]
    order["trail_prev"] = -1
    order["trail_next"] = head
    if head >= 0:
        memory["orders"][head]["trail_prev"] = row
    market["trail_head"] = row


@kernel
def trail_remove(memory, row):
    """A trailing order has gone off or ends."""
    order = memory["orders"][row]
    market = memory["markets"][order["instrument"]]
    market["n_trailing"] -= 1
    if order["extreme_ticks"] == 0:
        return
    before = np.int64(order["trail_prev"])
    behind = np.int64(order["trail_next"])
    if before >= 0:
        memory["orders"][before]["trail_next"] = behind
    else:
        market["trail_head"] = behind
    if behind >= 0:
        memory["orders"][behind]["trail_prev"] = before


@kernel
def drop(memory, row):
    """An order is nowhere any more, and its row free; nothing is told."""
    order = memory["orders"][row]
    release_all(memory, row)
    leave(memory, row)
    if order["trail_bps"] > 0 and order["fired"] == 0:
        trail_remove(memory, row)
    add_open(memory, row, -order["leaves_lots"])
    heap_remove(memory, row)
    forget(memory, row)
    _seat_remove(memory, row)
    desk = memory["desk"]
    desk["n_parts"] -= order["parts"]
    desk["n_open"] -= 1
    free_row(memory, row)


@kernel
def _end(memory, row, kind, code):
    """One order ends by itself; a fill has told everybody."""
    if kind != REPORT_FILL:
        release_all(memory, row)
        leave(memory, row)
        order_event(memory, kind, row, code)
    drop(memory, row)


@kernel
def end_sibling(memory, row):
    """The order has traded or gone off: the other leg of its pair ends."""
    other = sibling(memory, row)
    if other >= 0:
        memory_list = memory["lists"][memory["orders"][other]["list"]]
        leg = np.int64(memory["orders"][other]["leg"])
        _end(memory, other, REPORT_EXPIRED, VENUE_LIST)
        memory_list["legs"][leg] = -1


@kernel
def close(memory, row, kind, code):
    """An open order ends, with what that means for its list.

    Parameters
    ----------
    memory : EXCHANGE record
    row : int64
    kind : REPORT_FILL (filled, the fill has told so), REPORT_CANCELED or REPORT_EXPIRED
    code : int64, VENUE_*

    Notes
    -----
    Complexity: O(log n) with a time of expiry, else O(1). Twin: tests/reference/kernels/exchange.py
    """
    order = memory["orders"][row]
    at = np.int64(order["list"])
    leg = np.int64(order["leg"])
    account = np.int64(order["account"])
    instrument = np.int64(order["instrument"])
    _end(memory, row, kind, code)
    if at < 0:
        return
    one = memory["lists"][at]
    one["legs"][leg] = -1
    is_open = False
    for other in range(LIST_LEGS):
        left = np.int64(one["legs"][other])
        if left < 0:
            continue
        if kind != REPORT_FILL:
            _end(memory, left, REPORT_CANCELED if kind == REPORT_CANCELED else REPORT_EXPIRED, VENUE_LIST)
            one["legs"][other] = -1
            continue
        is_open = True
        if leg == 0 and one["kind"] != LIST_OCO:
            join_queue(memory, left)
    if not is_open:
        list_event(memory, REPORT_LIST_DONE, at, account, instrument)
        free_list(memory, at)


@kernel
def shrink(memory, at):
    """Reduce-only orders in the book never ask for more than the position: the newest give way first.

    Parameters
    ----------
    memory : EXCHANGE record
    at : int64, seat

    Notes
    -----
    Complexity: O(open orders of the seat) where there is something to cut, else O(1).
    """
    seat = memory["seats"][at]
    for turn in range(2):
        side = SIDE_BUY if turn == 0 else -SIDE_BUY
        row = np.int64(seat["tail"])
        while row >= 0 and seat["reduce_lots"][turn] > reducible(seat, side):
            order = memory["orders"][row]
            if order["place"] != AT_BOOK or order["side"] != side or order["flags"] & ORDER_REDUCE_ONLY == 0:
                row = np.int64(order["seat_prev"])
                continue
            cut = seat["reduce_lots"][turn] - reducible(seat, side)
            if cut >= order["leaves_lots"]:
                close(memory, row, REPORT_EXPIRED, VENUE_REDUCE_ONLY)
                row = np.int64(seat["tail"])  # its list may have taken others along
                continue
            order["qty_lots"] -= cut
            lessen_booked(memory, row, cut, False)
            order_event(memory, REPORT_REPLACED, row, VENUE_REDUCE_ONLY)
