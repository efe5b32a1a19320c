"""Entries that execution works in slices: in time (TWAP) or one behind the other at one price (iceberg).

The shard's order is checked as a whole when it comes, journaled, and keeps its place in the order table and all of its
lots in the views until it is over; it never goes out. What goes out are its slices, orders of execution's own, one at a
time: the next one when the venue has said how the one before ended, so that together they are never more than the
entry, whatever is lost on the way, and a restart goes on where the journal ends. Every slice is checked again as the
last thing before the wire; what may not go out then ends the entry.

    in time        IOC at the best price of the other side, never beyond the entry's; so long after the one before
    at one price   rests at the entry's price; the next one when it is filled
"""

import numpy as np

from bot4.atomics import load_acquire
from bot4.engine.execution_memory import PROTECTIVE_RESERVE
from bot4.engine.intent import note_view
from bot4.engine.journal import LEVEL_REDUCING, LEVEL_WORD, journal_room
from bot4.engine.order_out import fill_row, leaves_of, send_order, take_back, take_row
from bot4.engine.order_state import OVERLAY_CANCEL
from bot4.engine.report_out import write_journal
from bot4.jit import inlined, kernel
from bot4.kernels.risk.order_checks import check_order
from bot4.kernels.risk.tail import check_tail, note_tail
from bot4.model.enums import (
    ACTION_PLACE,
    EXEC_GATE_SHUT,
    EXEC_JOURNAL_FULL,
    EXEC_NO_QUOTE,
    EXEC_VENUE_BUSY,
    LEG_ENTRY,
    LEG_SLICE,
    OK,
    RISK_MESSAGE_RATE,
    TIF_GTC,
    TIF_IOC,
    TYPE_LIMIT,
)
from bot4.model.records import JOURNAL_INTENT, ORDER_WORDS
from bot4.shm.layout import CONTROL_ALONE, CONTROL_STOP
from bot4.shm.spsc_ring import has_space

RETRY_NS = 100_000_000  # a slice that has found no quote, no room or no token is tried again after this


@inlined
def slice_lots(order):
    """Lots of the next slice: what is left over the slices that are left, never more than the first one had."""
    left = leaves_of(order)
    share = -(-left // max(order["slices"] - order["sliced"], np.int64(1)))
    return min(share, -(-order["qty_lots"] // order["slices"]))


@inlined
def note_slice(x, limits, instrument, row, ts_ns):
    """A slice is journaled, also when it is read back."""
    order = x.orders[x.positions[instrument]["sliced_row"]]
    order["slice_row"] = row
    order["sliced"] += 1
    order["due_ns"] = ts_ns + order["slice_ns"]
    if x.account[0]["breaker_trips"] > 0:
        x.account[0]["breaker_probe_until_ns"] = ts_ns + limits[0]["breaker_open_ns"]


@inlined
def _write_slice(x, session, instrument, order):
    """The next slice, as it would go out now, in `x.intent`."""
    for word in range(ORDER_WORDS):
        x.intent_words[word] = 0
    position = x.positions[instrument]
    intent = x.intent[0]
    side = order["side"]
    price = order["price_ticks"]
    if order["slice_ns"] > 0 and position["bid_ticks"] > 0:
        price = min(price, position["ask_ticks"]) if side > 0 else max(price, position["bid_ticks"])
    intent["ts_ns"] = x.account[0]["now_ns"]
    intent["price_ticks"] = price
    intent["qty_lots"] = slice_lots(order)
    intent["stop_ticks"] = order["stop_ticks"]
    intent["instrument"] = instrument
    intent["strategy"] = session[0]["strategy"]
    intent["shard"] = order["shard"]
    intent["action"] = ACTION_PLACE
    intent["side"] = side
    intent["type"] = TYPE_LIMIT
    intent["tif"] = TIF_IOC if order["slice_ns"] > 0 else TIF_GTC
    intent["flags"] = order["flags"]
    intent["leg"] = LEG_ENTRY


@kernel
def check_slice(x, wires, instruments, limits, session, instrument):
    """Whether the slice in `x.intent` may go out now: the risk check of the whole entry, and what may stand in its way.

    Its own lots are pending already. The cool-down, the opening rates and the row of repeats are the entry's.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    intent = x.intent[0]
    if load_acquire(wires.control, CONTROL_STOP) != 0 or load_acquire(wires.control, CONTROL_ALONE) != 0:
        return EXEC_GATE_SHUT
    note_view(x, instruments, limits, instrument, np.int64(intent["shard"]))
    view = x.views[instrument]
    last_open_ns, bucket_ns, run = view["last_open_ns"], view["bucket_ns"], view["run"]
    lots = intent["qty_lots"]
    view["last_open_ns"] = view["bucket_ns"] = view["run"] = view["shard_bucket_ns"] = view["order_bucket_ns"] = 0
    view["open_orders"] -= 1
    if intent["side"] > 0:
        view["pending_buy_lots"] -= lots
    else:
        view["pending_sell_lots"] -= lots
    code = check_order(intent, view, instruments[instrument], limits[0])
    if code == OK:
        note_tail(x.known, x.tail, x.exposed, x.views, x.positions, instruments, intent, limits[0])
        code = check_tail(view, limits[0])
    view["last_open_ns"], view["bucket_ns"], view["run"] = last_open_ns, bucket_ns, run
    view["open_orders"] += 1
    if intent["side"] > 0:
        view["pending_buy_lots"] += lots
    else:
        view["pending_sell_lots"] += lots
    if code != OK:
        return code
    if journal_room(x.header) < PROTECTIVE_RESERVE or x.header[LEVEL_WORD] >= LEVEL_REDUCING:
        return EXEC_JOURNAL_FULL
    if x.free[0] <= 2 * len(x.positions) or not has_space(wires.requests, 2 * len(x.positions) + 1):
        return EXEC_VENUE_BUSY
    return OK


@kernel
def work_slices(x, wires, instruments, limits, session, instrument):
    """Send the next slice of an instrument's entry if it is due, or end the entry if it may not go on.

    Notes
    -----
    Complexity: O(rows), once a slice. Twin: tests/reference/engine/execution.py
    """
    account = x.account[0]
    row = x.positions[instrument]["sliced_row"]
    if row < 0:
        return
    order = x.orders[row]
    now_ns = account["now_ns"]
    if order["overlay"] & OVERLAY_CANCEL:
        if not take_back(x, wires, session, row):
            account["next_deadline_ns"] = min(account["next_deadline_ns"], now_ns + RETRY_NS)
        return
    if order["slice_row"] >= 0:
        return
    if now_ns < order["due_ns"]:
        account["next_deadline_ns"] = min(account["next_deadline_ns"], order["due_ns"])
        return
    _write_slice(x, session, instrument, order)
    code = check_slice(x, wires, instruments, limits, session, instrument)
    if code == OK:
        _send_slice(x, wires, limits, session, instrument)
    elif code == RISK_MESSAGE_RATE or code == EXEC_NO_QUOTE or code == EXEC_VENUE_BUSY:
        account["next_deadline_ns"] = min(account["next_deadline_ns"], now_ns + RETRY_NS)
    else:
        wires.rejects[session[0]["n_shards"], code] += 1
        if not take_back(x, wires, session, row):
            account["next_deadline_ns"] = min(account["next_deadline_ns"], now_ns + RETRY_NS)


@kernel
def _send_slice(x, wires, limits, session, instrument):
    """Row, journal, wire: the slice in `x.intent` under an id of execution's own."""
    position = x.positions[instrument]
    row = take_row(x)
    position["own_number"] += 1
    number = position["own_number"]
    for word in range(ORDER_WORDS):
        x.request_words[word] = x.intent_words[word]
    request = x.request[0]
    request["id_hi"] = (
        (session[0]["account"] << 48)
        | (session[0]["strategy"] << 32)
        | (np.int64(instrument) << 16)
        | session[0]["feed_generation"]
    )
    request["id_lo"] = (number << 32) | (np.int64(LEG_SLICE) << 24)
    request["leg"] = LEG_SLICE
    request["event_no"] = number
    request["order_row"] = row
    fill_row(x, row, request)
    write_journal(x, JOURNAL_INTENT, x.account[0]["now_ns"], instrument, 0, x.request_words)
    note_slice(x, limits, instrument, row, x.account[0]["now_ns"])
    send_order(x, wires, session, row)
