"""Orders on their way to the venue: row taken, journal written, request pushed, in this order.

The callers have asked for room everywhere first, so nothing is journaled that cannot go out.
"""

import numpy as np

from bot4.atomics import load_acquire
from bot4.crash import (
    CHANGE_SENT,
    CHANGE_UNJOURNALED,
    CHANGE_UNSENT,
    KILL_CANCEL,
    STOP_SENT,
    STOP_UNJOURNALED,
    STOP_UNSENT,
    crash_here,
)
from bot4.engine.execution_memory import IN_FLIGHT_NS
from bot4.engine.journal import has_failed, journal_room, journal_settled
from bot4.engine.order_state import (
    BASE_FREE,
    BASE_JOURNALED,
    BASE_SENT,
    BASE_WORKING,
    EV_AMBIGUOUS,
    EV_CANCEL_REQUEST,
    EV_REPLACE_REQUEST,
    EV_SEND,
    ILLEGAL,
    OVERLAY_CANCEL,
    OVERLAY_REPLACE,
    OVERLAY_TRIGGERED,
    OVERLAY_UNKNOWN,
    is_open,
    transition,
)
from bot4.engine.portfolio import STATE_ACTIVE, STATE_HALTED, STATE_RECOVERING
from bot4.engine.report_out import tell_end, write_journal
from bot4.jit import inlined, kernel
from bot4.kernels.risk.order_checks import note_done
from bot4.kernels.risk.position import is_reducing
from bot4.kernels.risk.rate_limit import take_token
from bot4.model.enums import (
    ACTION_CANCEL,
    ACTION_PLACE,
    ACTION_QUERY_ORDER,
    LEG_ENTRY,
    LEG_EXIT,
    LEG_PROFIT,
    LEG_SLICE,
    ORDER_POST_ONLY,
    ORDER_REDUCE_ONLY,
    REPORT_CANCELED,
    TIF_GTC,
    TIF_IOC,
    TYPE_LIMIT,
    TYPE_MARKET,
)
from bot4.model.records import (
    JOURNAL_INTENT,
    JOURNAL_REQUEST,
    ORDER_WORDS,
)
from bot4.shm.layout import CONTROL_KILL
from bot4.shm.spsc_ring import has_space, push_order
from bot4.shm.wires import (
    GAUGE_EXEC_ORDERS,
)

SLICE_NS = 100_000_000  # of `slice_ds`


@kernel
def take_row(x):
    """A free row of the order table, -1 if there is none.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    count = x.free[0]
    if count == 0:
        return -1
    x.free[0] = count - 1
    return x.free[count]


@kernel
def release_row(x, row):
    """The row is free again, and the next one to be taken.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    x.orders[row]["base"] = BASE_FREE
    x.free[0] += 1
    x.free[x.free[0]] = row


@kernel
def fill_row(x, row, intent):
    """Order row from an intent; the same when it is read back from the journal.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    order = x.orders[row]
    order["id_hi"] = intent["id_hi"]
    order["id_lo"] = intent["id_lo"]
    order["venue_order_id"] = 0
    order["instrument"] = np.int64(intent["instrument"])
    order["shard"] = np.int64(intent["shard"])
    order["side"] = np.int64(intent["side"])
    order["leg"] = np.int64(intent["leg"])
    order["type"] = np.int64(intent["type"])
    order["tif"] = np.int64(intent["tif"])
    order["flags"] = np.int64(intent["flags"])
    order["qty_lots"] = intent["qty_lots"]
    order["price_ticks"] = intent["price_ticks"]
    order["stop_ticks"] = intent["stop_ticks"]
    order["trail_ticks"] = np.int64(intent["trail_ticks"])
    order["even_ticks"] = np.int64(intent["even_ticks"])
    order["profit_ticks"] = intent["aux"]
    order["cum_lots"] = 0
    order["base"] = BASE_JOURNALED
    order["done"] = 0
    order["overlay"] = 0
    order["sends"] = 0
    order["sent_ns"] = 0
    order["slices"] = np.int64(intent["slices"])
    order["slice_ns"] = np.int64(intent["slice_ds"]) * SLICE_NS
    order["sliced"] = 0
    order["slice_row"] = -1
    order["due_ns"] = 0
    order["event_no"] = np.int64(intent["event_no"])
    order["code"] = 0
    order["result_e8"] = 0
    order["lost"] = 0
    x.account[0]["open_orders"] += 1


@inlined
def leaves_of(order):
    """Lots that may still fill."""
    return max(np.int64(0), order["qty_lots"] - order["cum_lots"])


@inlined
def release_exit(view, order, lots):
    """Lots of a shard's order are pending no more: if it may only reduce, those of exits are fewer."""
    if is_reducing(order):
        if order["side"] > 0:
            view["exit_buy_lots"] -= lots
        else:
            view["exit_sell_lots"] -= lots


@inlined
def reducing_leaves(x, instrument, side):
    """Lots of a side that orders which only reduce, stops and closes among them, may still fill."""
    lots = np.int64(0)
    for row in range(len(x.orders)):
        order = x.orders[row]
        if order["base"] != BASE_FREE and order["instrument"] == instrument and order["side"] == side:
            if is_reducing(order):
                lots += leaves_of(order)
    return lots


@inlined
def set_doubt(view, position, side, lots):
    """So many lots of a side may have opened: they count with what may, as if no exit made up for them."""
    if side > 0:
        view["exit_buy_lots"] += position["doubt_buy_lots"] - lots
        position["doubt_buy_lots"] = lots
    else:
        view["exit_sell_lots"] += position["doubt_sell_lots"] - lots
        position["doubt_sell_lots"] = lots


@kernel
def end_order(x, row):
    """An order is over: give back what it held in the views and forget it as stop, take-profit or close.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    order = x.orders[row]
    instrument = order["instrument"]
    position = x.positions[instrument]
    x.account[0]["open_orders"] -= 1
    if order["leg"] <= LEG_EXIT:
        note_done(x.views[instrument], order["side"], leaves_of(order))
        release_exit(x.views[instrument], order, leaves_of(order))
    if position["stop_row"] == row:
        position["stop_row"] = -1
    if position["flatten_row"] == row:
        position["flatten_row"] = -1
    if position["profit_row"] == row:
        position["profit_row"] = -1
    if position["sliced_row"] == row:
        position["sliced_row"] = -1
    if order["leg"] == LEG_SLICE:
        x.orders[position["sliced_row"]]["slice_row"] = -1
    release_row(x, row)
    side = order["side"]
    doubt = position["doubt_buy_lots"] if side > 0 else position["doubt_sell_lots"]
    if doubt > 0 and is_reducing(order):
        set_doubt(x.views[instrument], position, side, min(doubt, reducing_leaves(x, instrument, side)))


@inlined
def note_message(x):
    """One message more to the venue, for the message rate."""
    account = x.account[0]
    account["message_bucket_ns"] = take_token(
        account["message_bucket_ns"], account["now_ns"], account["message_refill_ns"]
    )


@inlined
def push_request(x, wires, session):
    """Hand the scratch request to the venue, where it arrives after the latency."""
    x.request[0]["ts_ns"] = x.account[0]["now_ns"] + session[0]["order_latency_ns"]
    push_order(wires.requests, x.request_words, 0)
    note_message(x)


@kernel
def send_order(x, wires, session, row):
    """Hand the scratch request to the venue; the caller has asked for room and written the journal.

    Where the settings are strict it goes out when its record is synced. If that can never be, only protection goes out;
    any other order is as good as lost on its way, and the venue will be asked about it.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    order = x.orders[row]
    transition(order, EV_SEND)
    order["sent_ns"] = x.account[0]["now_ns"]
    protects = order["leg"] > LEG_EXIT and order["leg"] != LEG_SLICE
    if journal_settled(x.header) or protects:
        push_request(x, wires, session)
    x.stats[GAUGE_EXEC_ORDERS] += 1


@kernel
def place_own(x, wires, instruments, session, instrument, leg, order_type, ticks):
    """Place an order that closes the whole position: stop, take-profit, market close. Its row, -1 without room.

    `ticks` is a stop's trigger, a limit's price, and of a market order 0.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    account = x.account[0]
    position = x.positions[instrument]
    if journal_room(x.header) < 1 or not has_space(wires.requests, 1):
        return -1
    row = take_row(x)
    if row < 0:
        return -1
    for word in range(ORDER_WORDS):
        x.request_words[word] = 0
    position["own_number"] += 1
    number = position["own_number"]
    lots = position["lots"]
    request = x.request[0]
    request["ts_ns"] = account["now_ns"]
    request["id_hi"] = (
        (session[0]["account"] << 48)
        | (session[0]["strategy"] << 32)
        | (np.int64(instrument) << 16)
        | session[0]["feed_generation"]
    )
    request["id_lo"] = (number << 32) | (np.int64(leg) << 24)
    request["qty_lots"] = abs(lots)
    if order_type == TYPE_LIMIT:
        request["price_ticks"] = ticks
    else:
        request["stop_ticks"] = ticks
    request["instrument"] = instrument
    request["strategy"] = session[0]["strategy"]
    request["shard"] = np.int64(instruments[instrument]["shard"])
    request["action"] = ACTION_PLACE
    request["side"] = -1 if lots > 0 else 1
    request["type"] = order_type
    request["tif"] = TIF_IOC if order_type == TYPE_MARKET else TIF_GTC
    request["flags"] = ORDER_REDUCE_ONLY
    request["leg"] = leg
    request["event_no"] = number
    request["order_row"] = row
    fill_row(x, row, request)
    crash_here(STOP_UNJOURNALED)
    write_journal(x, JOURNAL_INTENT, account["now_ns"], instrument, 0, x.request_words)
    crash_here(STOP_UNSENT)
    send_order(x, wires, session, row)
    crash_here(STOP_SENT)
    return row


@kernel
def change_order(x, wires, session, row, action, qty_lots, stop_ticks):
    """Cancel or amend one of our orders: journal first, then out. False without room or when it is not the time.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    order = x.orders[row]
    if journal_room(x.header) < 1 or not has_space(wires.requests, 1):
        return False
    event = EV_CANCEL_REQUEST if action == ACTION_CANCEL else EV_REPLACE_REQUEST
    if order["overlay"] & OVERLAY_CANCEL:
        return True
    if transition(order, event) == ILLEGAL:
        return False
    for word in range(ORDER_WORDS):
        x.request_words[word] = 0
    order["asked_qty_lots"] = qty_lots
    order["asked_stop_ticks"] = stop_ticks
    order["sent_ns"] = x.account[0]["now_ns"]
    request = x.request[0]
    request["ts_ns"] = x.account[0]["now_ns"]
    request["id_hi"] = order["id_hi"]
    request["id_lo"] = order["id_lo"]
    request["qty_lots"] = qty_lots
    request["stop_ticks"] = stop_ticks
    request["instrument"] = order["instrument"]
    request["shard"] = order["shard"]
    request["action"] = action
    request["side"] = order["side"]
    request["type"] = order["type"]
    request["flags"] = order["flags"]
    request["leg"] = order["leg"]
    request["order_row"] = row
    crash_here(CHANGE_UNJOURNALED)
    write_journal(x, JOURNAL_REQUEST, x.account[0]["now_ns"], order["instrument"], 0, x.request_words)
    crash_here(CHANGE_UNSENT)
    push_request(x, wires, session)
    crash_here(CHANGE_SENT)
    return True


@kernel
def end_sliced(x, wires, session, row, kind, code):
    """An entry that was worked in slices is over, and none of them is open: tell its shard.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    tell_end(x, wires, session, x.orders[row], kind, code)
    end_order(x, row)


@kernel
def take_back(x, wires, session, row):
    """Cancel an order of a shard; one that is worked in slices sends no more of them and ends with the one that is out.

    Returns
    -------
    bool: False without room or when it is not the time (ask again)

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    order = x.orders[row]
    if order["slices"] == 0:
        return change_order(x, wires, session, row, ACTION_CANCEL, 0, 0)
    if order["overlay"] & OVERLAY_CANCEL == 0:
        if journal_room(x.header) < 1:
            return False
        for word in range(ORDER_WORDS):
            x.request_words[word] = 0
        request = x.request[0]
        request["ts_ns"] = x.account[0]["now_ns"]
        request["id_hi"] = order["id_hi"]
        request["id_lo"] = order["id_lo"]
        request["instrument"] = order["instrument"]
        request["shard"] = order["shard"]
        request["action"] = ACTION_CANCEL
        request["side"] = order["side"]
        request["type"] = order["type"]
        request["flags"] = order["flags"]
        request["leg"] = order["leg"]
        request["order_row"] = row
        write_journal(x, JOURNAL_REQUEST, x.account[0]["now_ns"], order["instrument"], 0, x.request_words)
        order["overlay"] |= OVERLAY_CANCEL
    if order["slice_row"] >= 0:
        return change_order(x, wires, session, order["slice_row"], ACTION_CANCEL, 0, 0)
    end_sliced(x, wires, session, row, REPORT_CANCELED, 0)
    return True


@kernel
def query_order(x, wires, session, row):
    """Ask the venue what became of an order, by client id: the only thing that is ever done about an unknown one.

    Journaled when it makes the order unknown: what the answer does to it depends on that, also when it is read back.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    order = x.orders[row]
    was_known = order["overlay"] & OVERLAY_UNKNOWN == 0
    transition(order, EV_AMBIGUOUS)
    for word in range(ORDER_WORDS):
        x.request_words[word] = 0
    request = x.request[0]
    request["ts_ns"] = x.account[0]["now_ns"]
    request["id_hi"] = order["id_hi"]
    request["id_lo"] = order["id_lo"]
    request["instrument"] = order["instrument"]
    request["shard"] = order["shard"]
    request["action"] = ACTION_QUERY_ORDER
    request["order_row"] = row
    if was_known and x.account[0]["state"] != STATE_RECOVERING:  # the start's own record says it for all
        write_journal(x, JOURNAL_REQUEST, x.account[0]["now_ns"], order["instrument"], 0, x.request_words)
    push_request(x, wires, session)


@kernel
def question_silent_orders(x, wires, session):
    """Orders about which the venue owes a word for IN_FLIGHT_NS become UNKNOWN; it is asked until it answers.

    It owes one for whatever was sent: the order, a cancel, an amend, the last question; and for what is over at once,
    an end: a close that was acknowledged may have filled without a word. A resting order awaits nothing.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    account = x.account[0]
    now = account["now_ns"]
    for row in range(len(x.orders)):
        order = x.orders[row]
        if order["base"] != BASE_FREE and order["overlay"] & OVERLAY_UNKNOWN and is_open(order):
            account["unknown"] += 1
        if order["slices"] > 0:
            continue  # the venue knows its slices alone
        awaited = order["base"] == BASE_SENT or order["overlay"] & (OVERLAY_UNKNOWN | OVERLAY_CANCEL | OVERLAY_REPLACE)
        awaited = awaited or order["tif"] == TIF_IOC or order["overlay"] & OVERLAY_TRIGGERED
        if order["base"] == BASE_FREE or not awaited or now - order["sent_ns"] < IN_FLIGHT_NS:
            continue
        if not has_space(wires.requests, 1) or journal_room(x.header) < 1:
            continue
        order["sent_ns"] = now
        account["alarms"] += 1
        query_order(x, wires, session, np.int64(row))


@inlined
def must_halt(x, wires):
    """True if the gate is open and has to be shut: the kill word is set, or the journal cannot be synced any more."""
    account = x.account[0]
    if account["killed"] != 0 or account["state"] != STATE_ACTIVE:
        return False
    return load_acquire(wires.control, CONTROL_KILL) != 0 or has_failed(x.header)


@kernel
def halt(x, wires, session):
    """The kill word is set, or the journal has failed: shut the gate for good, cancel all but stops and market closes.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    x.account[0]["killed"] = 1
    x.account[0]["state"] = STATE_HALTED
    for row in range(len(x.orders)):
        order = x.orders[row]
        crash_here(KILL_CANCEL)
        goes = order["leg"] <= LEG_EXIT or order["leg"] == LEG_PROFIT
        if order["base"] != BASE_FREE and goes and is_open(order):
            take_back(x, wires, session, np.int64(row))


@kernel
def clear_way(x, wires, session, instrument, side, price_ticks):
    """An order that closes is about to go out: cancel own opening orders that rest where it could meet them, first.

    A price of 0 meets any. Best effort, the close has the last place on the ring: the venue's own rule is behind it.

    Notes
    -----
    Complexity: O(rows). Twin: tests/reference/engine/execution.py
    """
    for row in range(len(x.orders)):
        order = x.orders[row]
        if order["base"] == BASE_FREE or order["instrument"] != instrument or order["leg"] != LEG_ENTRY:
            continue
        rests = order["flags"] & ORDER_POST_ONLY != 0 or order["base"] == BASE_WORKING or order["slices"] > 0
        meets = rests and order["side"] == -side and order["type"] == TYPE_LIMIT
        meets = meets and (price_ticks == 0 or (price_ticks - order["price_ticks"]) * side >= 0)
        if meets and is_open(order) and has_space(wires.requests, 2):
            take_back(x, wires, session, np.int64(row))


@kernel
def withdraw(x, wires, session, instrument):
    """The book is not whole: cancel opening orders that rest in it, or are on their way to.

    What takes at once is over before a cancel could reach it; exits and stops stay.

    Notes
    -----
    Complexity: O(rows). Called again and again until every cancel has found room.
    Twin: tests/reference/engine/execution.py
    """
    for row in range(len(x.orders)):
        order = x.orders[row]
        if order["base"] == BASE_FREE or order["instrument"] != instrument or order["leg"] != LEG_ENTRY:
            continue
        rests = order["flags"] & ORDER_POST_ONLY != 0 or order["base"] == BASE_WORKING or order["slices"] > 0
        if rests and is_open(order):
            take_back(x, wires, session, np.int64(row))
