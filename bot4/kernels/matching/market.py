"""The recorded market arrives: the book moves, trades fill resting orders and set off stops, funding falls due.

A trade's quantity is shared out once: first to our orders that the market traded through (best price, then arrival),
then, at its own price, to the queue ahead of our orders and to them. When a message is complete and the book whole,
what was taken from levels that changed is forgotten, triggered stops that waited are executed, and orders that the
opposite side now meets are filled at their own price, as far as that side offers.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.book import book_apply_tick
from bot4.kernels.matching.account import funding_e8
from bot4.kernels.matching.fill import execute, may_trade, take, walk_cost
from bot4.kernels.matching.order import end_order, settle
from bot4.kernels.matching.queue import follow_levels, note_trade
from bot4.kernels.matching.report import order_event, report_funding, write_fault, write_order
from bot4.kernels.matching.request import best_against, expire_rest, is_market, reserved_e8
from bot4.kernels.matching.state import FAULT_GAP, LIQUIDITY_MAKER, LIQUIDITY_TAKER
from bot4.kernels.matching.taken import forget_changed
from bot4.model.enums import (
    FLAG_LAST,
    FLAG_SNAPSHOT,
    OK,
    REPORT_EXPIRED,
    REPORT_TRIGGERED,
    SIDE_BUY,
    STATUS_CLEAR,
    TICK_LEVEL,
    TICK_MARK,
    TICK_QUOTE,
    TICK_STATUS,
    TICK_TRADE,
    TYPE_LIMIT,
    TYPE_STOP_MARKET,
    VENUE_BALANCE,
    VENUE_REDUCE_ONLY,
)


@inlined
def _waits(order):
    return order["open"] != 0 and order["type"] == TYPE_LIMIT


@kernel
def best_waiting(memory, index, side, beyond_ticks):
    """Row of our best resting order of a side, oldest first, whose price is better than `beyond_ticks`; -1: none.

    Parameters
    ----------
    memory : Matching
    index : int64, instrument
    side : int64, of the order
    beyond_ticks : int64, only strictly better prices count (higher for a buy, lower for a sell)
    """
    found = np.int64(-1)
    best = beyond_ticks
    for place in range(memory.seats[index]["n_listed"]):
        row = memory.listed[index, place]
        order = memory.orders[row]
        if _waits(order) and order["side"] == side and side * (order["price_ticks"] - best) > 0:
            best = order["price_ticks"]
            found = row
    return found


@kernel
def trade_resting(memory, instruments, index, price_ticks, qty_lots, aggressor):
    """Share a recorded trade out among our resting orders.

    Parameters
    ----------
    memory : Matching
    instruments : INSTRUMENT[n]
    index : int64, instrument
    price_ticks, qty_lots : int64 > 0, the trade's
    aggressor : int64, +1 the buyer took (sells that rest are hit), -1 the seller

    Notes
    -----
    Complexity: O(fills * open orders). Invariant: our fills of one trade do not exceed its quantity.
    Source: price-time priority; queue position from displayed quantity. Twin: tests/reference/kernels/matching.py
    """
    left = qty_lots
    for turn in range(2):
        side = -aggressor if turn == 0 else aggressor
        row = best_waiting(memory, index, side, price_ticks)
        while left > 0 and row >= 0:
            memory.orders[row]["queue_lots"] = 0
            quantity = min(left, may_trade(memory, instruments, row))
            if quantity <= 0:
                end_order(memory, row, REPORT_EXPIRED, VENUE_REDUCE_ONLY, True)  # its position is gone
            else:
                execute(memory, instruments, row, memory.orders[row]["price_ticks"], quantity, LIQUIDITY_MAKER)
                left -= quantity
            row = best_waiting(memory, index, side, price_ticks)
    filled = np.int64(0)
    for place in range(memory.seats[index]["n_listed"]):
        row = memory.listed[index, place]
        order = memory.orders[row]
        if not _waits(order) or order["side"] != -aggressor or order["price_ticks"] != price_ticks:
            continue
        ahead = min(order["queue_lots"], left - filled)
        order["queue_lots"] -= ahead
        quantity = min(left - filled - ahead, may_trade(memory, instruments, row))
        if quantity > 0:
            execute(memory, instruments, row, price_ticks, quantity, LIQUIDITY_MAKER)
            filled += quantity
        note_trade(memory, row, qty_lots)


@kernel
def execute_stop(memory, instruments, row):
    """A triggered stop takes from the book as a market order; the rest of it expires."""
    order = memory.orders[row]
    index = order["instrument"]
    if np.int64(instruments[index]["is_spot"]) != 0 and order["side"] == SIDE_BUY:
        cost = walk_cost(memory, instruments, index, SIDE_BUY, order["qty_lots"])
        if cost > memory.desk[0]["cash_e8"] - reserved_e8(memory, instruments):
            end_order(memory, row, REPORT_EXPIRED, VENUE_BALANCE, True)
            return
    take(memory, instruments, row, np.int64(0), LIQUIDITY_TAKER)
    if order["open"] != 0:
        expire_rest(memory, instruments, row)


@kernel
def trigger_stops(memory, instruments, index, price_ticks):
    """Set off the stops that a recorded trade reaches; without a whole book they wait for one."""
    for place in range(memory.seats[index]["n_listed"]):
        row = memory.listed[index, place]
        order = memory.orders[row]
        if order["open"] == 0 or order["type"] != TYPE_STOP_MARKET or order["triggered"] != 0:
            continue
        if order["side"] * (price_ticks - order["stop_ticks"]) < 0:
            continue
        order["triggered"] = 1
        order_event(memory, row, REPORT_TRIGGERED, OK, True)
        write_order(memory, row, REPORT_TRIGGERED, OK)
        if is_market(memory, index):
            execute_stop(memory, instruments, row)


@kernel
def meet_resting(memory, instruments, index):
    """After a message: stops that waited for a book, then resting orders that the opposite side has come to."""
    for place in range(memory.seats[index]["n_listed"]):
        row = memory.listed[index, place]
        if memory.orders[row]["open"] != 0 and memory.orders[row]["triggered"] != 0:
            execute_stop(memory, instruments, row)
    for turn in range(2):
        side = SIDE_BUY if turn == 0 else -SIDE_BUY
        best = best_against(memory, index, side)
        if best == 0:
            continue
        # strictly better than one tick worse than the best: at it or through it
        last_price = best - side
        row = best_waiting(memory, index, side, last_price)
        while row >= 0:
            order = memory.orders[row]
            take(memory, instruments, row, order["price_ticks"], LIQUIDITY_MAKER)
            if order["open"] != 0:
                if may_trade(memory, instruments, row) > 0:
                    break  # nothing is offered any more, neither to those behind it
                end_order(memory, row, REPORT_EXPIRED, VENUE_REDUCE_ONLY, True)
            row = best_waiting(memory, index, side, last_price)


@kernel
def apply_mark(memory, instruments, index, tick):
    """A mark price: settle funding when its time has passed, by the last mark before.

    Notes
    -----
    Due when the announced next funding time changes and the venue's clock has passed the one announced before.
    """
    seat = memory.seats[index]
    venue_ns = tick["ts_recv_ns"] + np.int64(tick["venue_lag_us"]) * 1_000
    due = seat["next_funding_ns"]
    if due > 0 and tick["w3"] != due and venue_ns >= due and seat["lots"] != 0:
        if np.int64(instruments[index]["is_spot"]) == 0:
            amount = funding_e8(seat["lots"], instruments[index]["lot_e8"], seat["mark_e8"], seat["rate_e8"])
            seat["funding_e8"] += amount
            memory.desk[0]["cash_e8"] += amount
            report_funding(memory, index, amount, seat["mark_e8"], seat["rate_e8"])
    seat["mark_e8"] = tick["w0"]
    seat["rate_e8"] = tick["w2"]
    seat["next_funding_ns"] = tick["w3"]


@kernel
def handle_tick(memory, instruments, tick):
    """Apply one record of the recorded market.

    Parameters
    ----------
    memory : Matching
    instruments : INSTRUMENT[n]
    tick : TICK record

    Notes
    -----
    Complexity: O(1) beside the book while nothing is open. Errors: a missing record shuts the instrument's market until
    a snapshot begins (ledger: fault). Twin: tests/reference/kernels/matching.py
    """
    desk = memory.desk[0]
    desk["now_ns"] = max(desk["now_ns"], tick["ts_recv_ns"])
    index = np.int64(tick["instrument"])
    if index >= len(memory.seats):
        return
    seat = memory.seats[index]
    kind = np.int64(tick["kind"])
    flags = np.int64(tick["flags"])
    number = np.int64(tick["event_no"])
    if (flags & FLAG_SNAPSHOT) == 0 and number != max(seat["next_event_no"], 1):
        if seat["gapped"] == 0:
            write_fault(memory, index, FAULT_GAP)
            desk["n_gaps"] += 1
        seat["gapped"] = 1
    seat["next_event_no"] = number + 1
    if kind == TICK_TRADE:
        seat["last_trade_ticks"] = tick["w0"]
        if seat["n_listed"] > 0:
            trade_resting(memory, instruments, index, tick["w0"], tick["w1"], tick["w3"])
            trigger_stops(memory, instruments, index, tick["w0"])
            settle(memory, instruments, index)
    elif kind == TICK_MARK:
        apply_mark(memory, instruments, index, tick)
    elif kind == TICK_LEVEL or kind == TICK_QUOTE or kind == TICK_STATUS:
        if kind == TICK_STATUS and tick["w0"] == STATUS_CLEAR:
            seat["gapped"] = 0
        book_apply_tick(memory.books[index], tick)
        busy = seat["n_listed"] > 0 or seat["n_taken"] > 0
        if busy and (flags & FLAG_LAST) != 0 and is_market(memory, index):
            forget_changed(memory.taken[index], seat, memory.books[index])
            follow_levels(memory, instruments, index)
            meet_resting(memory, instruments, index)
            settle(memory, instruments, index)
