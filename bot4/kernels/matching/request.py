"""Requests to the venue: place, cancel, amend, cancel all, and the queries. One call handles one request whole.

Refusals are decided in a fixed order (malformed, duplicate, quantity, position, room, market, value, price, balance),
so that a test can name the one code that a bad request must get.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.book import top_ask, top_bid
from bot4.kernels.matching.fill import rests, take, walk_cost
from bot4.kernels.matching.order import (
    end_order,
    enter_order,
    find_order,
    list_order,
    only_reduces,
    reducible,
    settle,
)
from bot4.kernels.matching.queue import join_queue
from bot4.kernels.matching.report import (
    next_event,
    order_event,
    request_event,
    write_order,
    write_refusal,
    write_request,
)
from bot4.kernels.matching.state import ANSWER_CHUNK, LIQUIDITY_TAKER, MAX_FILLS, MAX_OPEN
from bot4.model.enums import (
    ACTION_AMEND,
    ACTION_CANCEL,
    ACTION_CANCEL_ALL,
    ACTION_PLACE,
    ACTION_QUERY_BALANCE,
    ACTION_QUERY_OPEN,
    ACTION_QUERY_ORDER,
    ACTION_QUERY_POSITION,
    ACTION_QUERY_TRADES,
    OK,
    ORDER_POST_ONLY,
    ORDER_REDUCE_ONLY,
    REPORT_ACK,
    REPORT_BALANCE,
    REPORT_CANCEL_REJECT,
    REPORT_CANCELED,
    REPORT_EXPIRED,
    REPORT_FILL,
    REPORT_NOT_FOUND,
    REPORT_ORDER,
    REPORT_POSITION,
    REPORT_QUERY_END,
    REPORT_REJECT,
    REPORT_REPLACED,
    SIDE_BUY,
    SIDE_SELL,
    TIF_GTC,
    TIF_IOC,
    TYPE_LIMIT,
    TYPE_MARKET,
    TYPE_STOP_MARKET,
    VENUE_BAD_REQUEST,
    VENUE_BALANCE,
    VENUE_DUPLICATE_ID,
    VENUE_FILTER,
    VENUE_NO_MARKET,
    VENUE_POST_ONLY,
    VENUE_REDUCE_ONLY,
    VENUE_STOP_WOULD_TRIGGER,
    VENUE_TOO_MANY_ORDERS,
    VENUE_UNKNOWN_ORDER,
)
from bot4.model.units import fee_e8

ALL_INSTRUMENTS = 0xFFFF  # instrument of an ACTION_CANCEL_ALL that means every instrument
_VALUE_BOUND = 2**61  # of an order's value in 1e-8 quote currency: products of a fill fit int64


@inlined
def is_market(memory, index):
    """True if the instrument's book is whole and no record of it is missing."""
    return np.int64(memory.books[index]["whole"]) != 0 and memory.seats[index]["gapped"] == 0


@inlined
def best_against(memory, index, side):
    """Best price that an order of that side meets; 0 if there is none."""
    return np.int64(top_ask(memory.books[index]) if side > 0 else top_bid(memory.books[index]))


@kernel
def stop_would_trigger(memory, index, side, stop_ticks):
    """True if a stop would go off at once: by the last trade; before the first one by the best price it would meet."""
    price = memory.seats[index]["last_trade_ticks"]
    if price == 0 and is_market(memory, index):
        price = best_against(memory, index, side)
    return price > 0 and side * (price - stop_ticks) >= 0


@kernel
def reserved_e8(memory, instruments):
    """Cash that resting buys of spot instruments hold, 1e-8 quote currency.

    Notes
    -----
    Complexity: O(instruments + open spot orders). Each fill rounds its fee up, hence one unit more for each lot.
    Twin: tests/reference/kernels/matching.py
    """
    held = np.int64(0)
    for index in range(len(memory.seats)):
        if np.int64(instruments[index]["is_spot"]) == 0:
            continue
        for place in range(memory.seats[index]["n_listed"]):
            order = memory.orders[memory.listed[index, place]]
            if order["open"] != 0 and order["side"] == SIDE_BUY and order["type"] == TYPE_LIMIT:
                held += needed_e8(instruments[index], order["price_ticks"], order["qty_lots"] - order["cum_lots"])
    return held


@kernel
def needed_e8(instrument, price_ticks, qty_lots):
    """Cash that a spot limit buy needs at most: value and the dearer of the two fees."""
    value = price_ticks * qty_lots * instrument["value_e8"]
    ppm = max(instrument["maker_fee_ppm"], instrument["taker_fee_ppm"])
    return value + max(np.int64(0), fee_e8(value, ppm)) + qty_lots


@inlined
def _too_dear(price_ticks, qty_lots, value_e8):
    return qty_lots > _VALUE_BOUND // value_e8 or price_ticks > _VALUE_BOUND // value_e8 // qty_lots


@kernel
def _check_form(memory, instruments, request):
    """Fields that make no sense together; the rest may then be computed without fear."""
    side = np.int64(request["side"])
    order_type = np.int64(request["type"])
    tif = np.int64(request["tif"])
    flags = np.int64(request["flags"])
    if np.int64(request["instrument"]) >= len(memory.seats) or (side != SIDE_BUY and side != SIDE_SELL):
        return VENUE_BAD_REQUEST
    if request["id_hi"] == 0 and request["id_lo"] == 0:
        return VENUE_BAD_REQUEST
    if order_type < TYPE_MARKET or order_type > TYPE_STOP_MARKET or (tif != TIF_GTC and tif != TIF_IOC):
        return VENUE_BAD_REQUEST
    if (flags & ~(ORDER_REDUCE_ONLY | ORDER_POST_ONLY)) != 0 or request["qty_lots"] <= 0:
        return VENUE_BAD_REQUEST
    if order_type == TYPE_LIMIT and request["price_ticks"] <= 0:
        return VENUE_BAD_REQUEST
    if order_type == TYPE_STOP_MARKET and (request["stop_ticks"] <= 0 or tif != TIF_GTC):
        return VENUE_BAD_REQUEST
    if (flags & ORDER_POST_ONLY) != 0 and (order_type != TYPE_LIMIT or tif != TIF_GTC):
        return VENUE_BAD_REQUEST
    return OK


@kernel
def check_place(memory, instruments, row):
    """Why the order in `row`, whose form is right, is refused, or OK. Changes nothing.

    Notes
    -----
    Complexity: O(open spot orders) for a spot buy, else O(1). Errors: VENUE_*.
    Twin: tests/reference/kernels/matching.py
    """
    order = memory.orders[row]
    index = order["instrument"]
    instrument = instruments[index]
    seat = memory.seats[index]
    side = order["side"]
    qty = order["qty_lots"]
    reduce_only = (order["flags"] & ORDER_REDUCE_ONLY) != 0
    if qty < instrument["min_qty_lots"] or qty > instrument["max_qty_lots"]:
        return VENUE_FILTER
    if reduce_only and reducible(seat, side) == 0:
        return VENUE_REDUCE_ONLY
    if memory.desk[0]["n_open"] >= MAX_OPEN:
        return VENUE_TOO_MANY_ORDERS
    price = order["price_ticks"]
    best = np.int64(0)
    if order["type"] == TYPE_STOP_MARKET:
        price = order["stop_ticks"]
    else:
        if not is_market(memory, index):
            return VENUE_NO_MARKET
        best = best_against(memory, index, side)
        if order["type"] == TYPE_MARKET:
            if best == 0:
                return VENUE_NO_MARKET
            price = best
    if _too_dear(price, qty, instrument["value_e8"]):
        return VENUE_FILTER
    if not reduce_only and price * qty * instrument["value_e8"] < instrument["min_notional_e8"]:
        return VENUE_FILTER
    if (order["flags"] & ORDER_POST_ONLY) != 0 and best > 0 and side * (price - best) >= 0:
        return VENUE_POST_ONLY
    if order["type"] == TYPE_STOP_MARKET and stop_would_trigger(memory, index, side, price):
        return VENUE_STOP_WOULD_TRIGGER
    if np.int64(instrument["is_spot"]) != 0:
        if side == SIDE_SELL:
            if not reduce_only and qty > seat["lots"]:
                return VENUE_BALANCE
        else:
            needed = np.int64(0)
            if order["type"] == TYPE_MARKET:
                needed = walk_cost(memory, instruments, index, side, qty)
            else:
                needed = needed_e8(instrument, price, qty)
            if needed > memory.desk[0]["cash_e8"] - reserved_e8(memory, instruments):
                return VENUE_BALANCE
    return OK


@kernel
def place(memory, instruments, request):
    """Take a new order or refuse it; take what it can, let the rest wait or expire."""
    code = _check_form(memory, instruments, request)
    known = find_order(memory, request["id_hi"], request["id_lo"])
    if known >= 0:
        request_event(memory, request, REPORT_REJECT, VENUE_DUPLICATE_ID, True)
        write_refusal(memory, request, REPORT_REJECT, VENUE_DUPLICATE_ID)
        return
    row = np.int64(-1)
    if request["id_hi"] != 0 or request["id_lo"] != 0:
        row = enter_order(memory, request)
    if row < 0:
        code = code if code != OK else VENUE_TOO_MANY_ORDERS
        request_event(memory, request, REPORT_REJECT, code, True)
        write_refusal(memory, request, REPORT_REJECT, code)
        return
    order = memory.orders[row]
    if code == OK:
        code = check_place(memory, instruments, row)
    if code != OK:
        order["status"] = REPORT_REJECT
        order["code"] = code
        order_event(memory, row, REPORT_REJECT, code, True)
        write_order(memory, row, REPORT_REJECT, code)
        return
    index = order["instrument"]
    list_order(memory, row)
    memory.seats[index]["changed"] = 1
    order_event(memory, row, REPORT_ACK, OK, True)
    write_order(memory, row, REPORT_ACK, OK)
    if order["type"] != TYPE_STOP_MARKET:
        limit = order["price_ticks"] if order["type"] == TYPE_LIMIT else np.int64(0)
        take(memory, instruments, row, limit, LIQUIDITY_TAKER)
        if order["open"] != 0:
            if rests(order):
                join_queue(memory, row)
            else:
                expire_rest(memory, instruments, row)
    settle(memory, instruments, index)


@kernel
def expire_rest(memory, instruments, row):
    """What a market or IOC order could not trade expires; the code says when it was the position that ended."""
    order = memory.orders[row]
    out_of_position = only_reduces(order, instruments[order["instrument"]]) and (
        reducible(memory.seats[order["instrument"]], order["side"]) == 0
    )
    end_order(memory, row, REPORT_EXPIRED, VENUE_REDUCE_ONLY if out_of_position else OK, True)


@kernel
def _refuse_change(memory, request, code):
    request_event(memory, request, REPORT_CANCEL_REJECT, code, True)
    write_refusal(memory, request, REPORT_CANCEL_REJECT, code)


@kernel
def cancel(memory, instruments, request, row):
    """Cancel an open order by its client id."""
    if row < 0 or memory.orders[row]["open"] == 0:
        _refuse_change(memory, request, VENUE_UNKNOWN_ORDER)
        return
    end_order(memory, row, REPORT_CANCELED, OK, True)
    settle(memory, instruments, memory.orders[row]["instrument"])


@kernel
def cancel_all(memory, instruments, request):
    """Cancel every open order of an instrument, or of all (ALL_INSTRUMENTS), protective ones included."""
    chosen = np.int64(request["instrument"])
    for index in range(len(memory.seats)):
        if chosen != ALL_INSTRUMENTS and chosen != index:
            continue
        for place in range(memory.seats[index]["n_listed"]):
            row = memory.listed[index, place]
            if memory.orders[row]["open"] != 0:
                end_order(memory, row, REPORT_CANCELED, OK, True)
        settle(memory, instruments, np.int64(index))


@kernel
def check_amend(memory, instruments, request, row):
    """Why an open order cannot be changed as asked, or OK."""
    order = memory.orders[row]
    index = order["instrument"]
    instrument = instruments[index]
    qty = request["qty_lots"]
    stop = request["stop_ticks"]
    if qty <= 0 or stop < 0 or (request["price_ticks"] != 0 and request["price_ticks"] != order["price_ticks"]):
        return VENUE_BAD_REQUEST
    if order["triggered"] != 0:
        return VENUE_UNKNOWN_ORDER
    if qty <= order["cum_lots"] or qty < instrument["min_qty_lots"] or qty > instrument["max_qty_lots"]:
        return VENUE_FILTER
    price = order["price_ticks"]
    if order["type"] == TYPE_STOP_MARKET:
        price = stop if stop > 0 else order["stop_ticks"]
    if _too_dear(price, qty, instrument["value_e8"]):
        return VENUE_FILTER
    reduce_only = (order["flags"] & ORDER_REDUCE_ONLY) != 0
    if not reduce_only and price * (qty - order["cum_lots"]) * instrument["value_e8"] < instrument["min_notional_e8"]:
        return VENUE_FILTER
    if order["type"] == TYPE_STOP_MARKET:
        moved = price != order["stop_ticks"]
        if moved and stop_would_trigger(memory, index, order["side"], price):
            return VENUE_STOP_WOULD_TRIGGER
    if np.int64(instrument["is_spot"]) != 0 and qty > order["qty_lots"]:
        if order["side"] == SIDE_SELL:
            if not reduce_only and qty - order["cum_lots"] > memory.seats[index]["lots"]:
                return VENUE_BALANCE
        elif order["type"] == TYPE_LIMIT:
            more = needed_e8(instrument, price, qty - order["qty_lots"])
            if more > memory.desk[0]["cash_e8"] - reserved_e8(memory, instruments):
                return VENUE_BALANCE
    return OK


@kernel
def amend(memory, instruments, request, row):
    """New total quantity (filled part included) and stop price of an open order.

    Notes
    -----
    A larger quantity goes to the end of the queue, a smaller one keeps its place. `stop_ticks` 0 keeps the trigger.
    Twin: tests/reference/kernels/matching.py
    """
    if row < 0 or memory.orders[row]["open"] == 0:
        _refuse_change(memory, request, VENUE_UNKNOWN_ORDER)
        return
    code = check_amend(memory, instruments, request, row)
    if code != OK:
        _refuse_change(memory, request, code)
        return
    order = memory.orders[row]
    index = order["instrument"]
    if order["type"] == TYPE_LIMIT and request["qty_lots"] > order["qty_lots"]:
        join_queue(memory, row)
    order["qty_lots"] = request["qty_lots"]
    if order["type"] == TYPE_STOP_MARKET and request["stop_ticks"] > 0:
        order["stop_ticks"] = request["stop_ticks"]
    if only_reduces(order, instruments[index]):
        # asked for more than the position: it gets what there is, in one answer
        left = reducible(memory.seats[index], order["side"])
        order["qty_lots"] = min(order["qty_lots"], order["cum_lots"] + left)
    order_event(memory, row, REPORT_REPLACED, OK, True)
    write_order(memory, row, REPORT_REPLACED, OK)


@kernel
def query_open(memory, request):
    """Answer with every open order, by instrument and order of arrival, then the end mark."""
    for index in range(len(memory.seats)):
        for place in range(memory.seats[index]["n_listed"]):
            order_event(memory, memory.listed[index, place], REPORT_ORDER, 0, False)
    request_event(memory, request, REPORT_QUERY_END, 0, False)


@kernel
def query_positions(memory, request):
    """Answer with the position of every instrument, flat ones too, then the end mark."""
    for index in range(len(memory.seats)):
        event = memory.events[next_event(memory, REPORT_POSITION, False)]
        event["instrument"] = index
        event["shard"] = request["shard"]
        event["qty_lots"] = memory.seats[index]["lots"]
        event["cash_e8"] = memory.seats[index]["cost_tl"]
        event["fee_e8"] = memory.seats[index]["fees_e8"]
    request_event(memory, request, REPORT_QUERY_END, 0, False)


@kernel
def query_balance(memory, request):
    """Answer with the account's cash, then the end mark."""
    event = memory.events[next_event(memory, REPORT_BALANCE, False)]
    event["shard"] = request["shard"]
    event["cash_e8"] = memory.desk[0]["cash_e8"]
    request_event(memory, request, REPORT_QUERY_END, 0, False)


@kernel
def query_order(memory, request, row):
    """Answer with an order as the venue knows it, however it ended, or NOT_FOUND."""
    if row < 0:
        request_event(memory, request, REPORT_NOT_FOUND, VENUE_UNKNOWN_ORDER, False)
        return
    event = memory.events[order_event(memory, row, REPORT_ORDER, memory.orders[row]["code"], False)]
    event["order_row"] = request["order_row"]


@kernel
def start_trades(memory, request):
    """Begin to answer a trades query at the first fill whose event number is beyond `aux` (both ascend)."""
    newest = memory.desk[0]["n_fills"]
    low = max(np.int64(1), newest - MAX_FILLS + 1)
    high = newest + 1
    while low < high:
        middle = (low + high) >> 1
        if memory.fills[(middle - 1) % MAX_FILLS]["event_seq"] > request["aux"]:
            high = middle
        else:
            low = middle + 1
    memory.desk[0]["answer_next"] = low


@kernel
def answer_trades(memory, request):
    """Go on answering a trades query: up to ANSWER_CHUNK fills as they were told first, then the end mark.

    Notes
    -----
    Each answer is a FILL with event number 0; its first number stands in `cash_e8`, its time in `t_venue_ns`.
    """
    desk = memory.desk[0]
    for _ in range(ANSWER_CHUNK):
        trade_id = desk["answer_next"]
        if trade_id > desk["n_fills"]:
            request_event(memory, request, REPORT_QUERY_END, 0, False)
            desk["answer_next"] = 0
            return
        index = desk["n_events"]
        desk["n_events"] = index + 1
        memory.events[index] = memory.fills[(trade_id - 1) % MAX_FILLS]
        event = memory.events[index]
        event["cash_e8"] = event["event_seq"]
        event["event_seq"] = 0
        event["ts_ns"] = desk["now_ns"]
        event["kind"] = REPORT_FILL
        desk["answer_next"] = trade_id + 1


@kernel
def handle_request(memory, instruments, request, request_words):
    """Handle one request at its time of arrival.

    Parameters
    ----------
    memory : Matching
    instruments : INSTRUMENT[n]
    request : ORDER_INTENT record; `ts_ns` is its arrival at the venue
    request_words : int64[16], the same memory

    Notes
    -----
    Complexity: see the verbs. Errors: an event REPORT_REJECT or REPORT_CANCEL_REJECT with a code VENUE_*.
    Invariant: event times never go back; a request that comes late (free-running) is handled now.
    Twin: tests/reference/kernels/matching.py
    """
    desk = memory.desk[0]
    desk["now_ns"] = max(desk["now_ns"], request["ts_ns"])
    write_request(memory, request, request_words)
    action = np.int64(request["action"])
    if action == ACTION_PLACE:
        place(memory, instruments, request)
        return
    row = np.int64(-1)
    if action == ACTION_CANCEL or action == ACTION_AMEND or action == ACTION_QUERY_ORDER:
        row = find_order(memory, request["id_hi"], request["id_lo"])
        if row >= 0 and np.int64(request["order_row"]) >= 0:
            memory.orders[row]["order_row"] = np.int64(request["order_row"])
    if action == ACTION_CANCEL:
        cancel(memory, instruments, request, row)
    elif action == ACTION_AMEND:
        amend(memory, instruments, request, row)
    elif action == ACTION_CANCEL_ALL:
        cancel_all(memory, instruments, request)
    elif action == ACTION_QUERY_ORDER:
        query_order(memory, request, row)
    elif action == ACTION_QUERY_OPEN:
        query_open(memory, request)
    elif action == ACTION_QUERY_TRADES:
        start_trades(memory, request)
    elif action == ACTION_QUERY_POSITION:
        query_positions(memory, request)
    elif action == ACTION_QUERY_BALANCE:
        query_balance(memory, request)
    else:
        request_event(memory, request, REPORT_REJECT, VENUE_BAD_REQUEST, True)
        write_refusal(memory, request, REPORT_REJECT, VENUE_BAD_REQUEST)
