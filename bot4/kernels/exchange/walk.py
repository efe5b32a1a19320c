"""An order takes: it walks the other side of the book from the best price, oldest first, and each meeting is a fill.

The walk asks for the best level anew at each step, because a fill may take away more than the order it met: an OCO leg,
a reduce-only order whose position is gone. Triggers wait until the walk is over, so what a fill-or-kill order counted
on is there. Fills are at the resting order's price.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.exchange.account import add_open, claim_e8, lock, reducible, settle
from bot4.kernels.exchange.ending import close, end_sibling, shrink
from bot4.kernels.exchange.event import fill_event, prevented_event
from bot4.kernels.exchange.queue import join_book, lessen_booked
from bot4.kernels.exchange.state import (
    AT_TAKING,
    LIQUIDITY_MAKER,
    LIQUIDITY_TAKER,
    TREE_ASK,
    TREE_BID,
)
from bot4.kernels.exchange.tree import key_of, root_of, tree_after
from bot4.kernels.exchange.trigger import on_price
from bot4.model.enums import (
    OK,
    ORDER_REDUCE_ONLY,
    REPORT_EXPIRED,
    REPORT_FILL,
    STP_DECREMENT,
    STP_EXPIRE_MAKER,
    STP_EXPIRE_TAKER,
    STP_NONE,
    TIF_FOK,
    TIF_IOC,
    TYPE_LIMIT,
    TYPE_STOP_LIMIT,
    TYPE_TAKE_PROFIT_LIMIT,
    VENUE_BALANCE,
    VENUE_NOT_WHOLE,
    VENUE_REDUCE_ONLY,
    VENUE_SELF_TRADE,
    VENUE_SPENT,
)


@inlined
def has_limit(order_type):
    """True for the types that name a price they go no further than."""
    return order_type == TYPE_LIMIT or order_type == TYPE_STOP_LIMIT or order_type == TYPE_TAKE_PROFIT_LIMIT


@inlined
def against(side):
    """The tree that an order of this side takes from."""
    return np.int64(TREE_ASK if side > 0 else TREE_BID)


@inlined
def reaches(order, price_ticks):
    """True if the order goes as far as this price of the other side."""
    return order["price_ticks"] == 0 or order["side"] * (price_ticks - order["price_ticks"]) <= 0


@kernel
def _is_own(memory, order, maker):
    if order["account"] == maker["account"]:
        return True
    group = memory["accounts"][order["account"]]["group"]
    return group != 0 and group == memory["accounts"][maker["account"]]["group"]


@kernel
def _fillable(memory, row):
    """True if the whole order can be filled now.

    Notes
    -----
    Complexity: O(orders met). Reduce-only orders of others are not counted on: a fill on the way may shrink them.
    Own ones that the order would expire are passed over; one that would stop it does, behind what is shown before it.
    """
    order = memory["orders"][row]
    need = order["leaves_lots"]
    if order["flags"] & ORDER_REDUCE_ONLY and reducible(memory["seats"][order["seat"]], order["side"]) < need:
        return False
    instrument = np.int64(order["instrument"])
    market = memory["markets"][instrument]
    tree = against(order["side"])
    level = market["best"][tree]
    while level >= 0 and reaches(order, memory["levels"][level]["price_ticks"]):
        all_lots = np.int64(0)
        shown_lots = np.int64(0)
        other = np.int64(memory["levels"][level]["head"])
        while other >= 0:
            maker = memory["orders"][other]
            own = order["stp"] != STP_NONE and _is_own(memory, order, maker)
            if own and order["stp"] != STP_EXPIRE_MAKER:
                return shown_lots >= need
            if not own and maker["flags"] & ORDER_REDUCE_ONLY == 0:
                all_lots += maker["leaves_lots"]
                shown_lots += maker["slice_lots"]
            other = np.int64(maker["next"])
        need -= all_lots
        if need <= 0:
            return True
        key = key_of(market, tree, memory["levels"][level]["price_ticks"])
        level = tree_after(memory, root_of(instrument, tree), market["digits"], key)
    return False


@kernel
def _prevent(memory, row, other, price_ticks):
    """The order meets one of its own account: what its mode says instead of a trade. Returns why it ends, or OK."""
    desk = memory["desk"]
    desk["prevented_seq"] += 1
    match = desk["prevented_seq"]
    order = memory["orders"][row]
    maker = memory["orders"][other]
    mode = order["stp"]
    if mode == STP_DECREMENT:
        lots = min(order["leaves_lots"], maker["leaves_lots"])
        before = claim_e8(memory, row)
        order["leaves_lots"] -= lots
        order["prevented_lots"] += lots
        lock(memory, row, claim_e8(memory, row) - before)
        add_open(memory, row, -lots)
        prevented_event(memory, row, price_ticks, lots, match, LIQUIDITY_TAKER, VENUE_SELF_TRADE)
        before = claim_e8(memory, other)
        lessen_booked(memory, other, lots, False)
        maker["prevented_lots"] += lots
        lock(memory, other, claim_e8(memory, other) - before)
        add_open(memory, other, -lots)
        prevented_event(memory, other, price_ticks, lots, match, LIQUIDITY_MAKER, VENUE_SELF_TRADE)
        if maker["leaves_lots"] == 0:
            close(memory, other, REPORT_EXPIRED, VENUE_SELF_TRADE)
        return VENUE_SELF_TRADE if order["leaves_lots"] == 0 else OK
    if mode != STP_EXPIRE_MAKER:
        prevented_event(memory, row, price_ticks, order["leaves_lots"], match, LIQUIDITY_TAKER, VENUE_SELF_TRADE)
    if mode != STP_EXPIRE_TAKER:
        prevented_event(memory, other, price_ticks, maker["leaves_lots"], match, LIQUIDITY_MAKER, VENUE_SELF_TRADE)
        close(memory, other, REPORT_EXPIRED, VENUE_SELF_TRADE)
    return OK if mode == STP_EXPIRE_MAKER else VENUE_SELF_TRADE


@kernel
def _fill(memory, row, other, price_ticks, lots):
    """The order takes from a resting one: pairs lose their other leg, both sides settle, both are told."""
    desk = memory["desk"]
    desk["trade_seq"] += 1
    trade_id = desk["trade_seq"]
    end_sibling(memory, row)
    end_sibling(memory, other)
    order = memory["orders"][row]
    maker = memory["orders"][other]
    fee, told = settle(memory, row, price_ticks, lots, LIQUIDITY_TAKER)
    if order["amount_e8"] == 0:
        order["leaves_lots"] -= lots
    fill_event(memory, row, price_ticks, lots, fee, trade_id, told)
    fee, told = settle(memory, other, price_ticks, lots, LIQUIDITY_MAKER)
    fill_event(memory, other, price_ticks, lots, fee, trade_id, told)
    seat = np.int64(maker["seat"])
    lessen_booked(memory, other, lots, True)
    if maker["leaves_lots"] == 0:
        close(memory, other, REPORT_FILL, OK)
    if memory["markets"][order["instrument"]]["linear"] != 0:
        shrink(memory, np.int64(order["seat"]))
        shrink(memory, seat)


@kernel
def _payable(memory, order, price_ticks, lots):
    """(lots of a spot order without a limit that its money and its amount pay for, why not more)."""
    market = memory["markets"][order["instrument"]]
    unit = price_ticks * market["value_e8"]
    code = OK
    if order["amount_e8"] > 0:
        affordable = (order["amount_e8"] - order["cum_value_e8"]) // unit
        if affordable < lots:
            lots = affordable
            code = VENUE_SPENT
    if order["side"] > 0:
        affordable = memory["balances"][order["account"], market["quote"]]["free_e8"] // unit
    elif order["locks"] == 0:
        affordable = memory["balances"][order["account"], market["base"]]["free_e8"] // market["lot_e8"]
    else:
        affordable = lots
    if affordable < lots:
        lots = max(np.int64(0), affordable)
        code = VENUE_BALANCE
    return lots, code


@kernel
def _walk(memory, row):
    """Take until the order is done, the book is, or something forbids more. Returns why it must not rest, or OK."""
    desk = memory["desk"]
    order = memory["orders"][row]
    market = memory["markets"][order["instrument"]]
    tree = against(order["side"])
    pays_as_it_goes = market["linear"] == 0 and not has_limit(order["type"])
    by_amount = order["amount_e8"] > 0
    while True:
        left = market["max_lots"] - order["cum_lots"] if by_amount else order["leaves_lots"]
        if left > 0 and order["flags"] & ORDER_REDUCE_ONLY:
            left = min(left, reducible(memory["seats"][order["seat"]], order["side"]))
            if left == 0:
                return VENUE_REDUCE_ONLY
        if left == 0:
            return VENUE_SPENT if by_amount else OK
        level = market["best"][tree]
        if level < 0:
            return OK
        price = memory["levels"][level]["price_ticks"]
        if not reaches(order, price):
            return OK
        other = np.int64(memory["levels"][level]["head"])
        maker = memory["orders"][other]
        if order["stp"] != STP_NONE and _is_own(memory, order, maker):
            code = _prevent(memory, row, other, price)
            if code != OK:
                return code
            continue
        lots = min(left, maker["slice_lots"])
        if pays_as_it_goes:
            lots, code = _payable(memory, order, price, lots)
            if lots == 0:
                return code
        if desk["walk_first_ticks"] == 0:
            desk["walk_first_ticks"] = price
        desk["walk_last_ticks"] = price
        _fill(memory, row, other, price, lots)


@kernel
def execute(memory, row):
    """An order takes what it may; what is left rests or expires, and the prices it made set others off.

    Parameters
    ----------
    memory : EXCHANGE record
    row : int64, an open order that waits in nothing

    Notes
    -----
    Complexity: O(orders met). Invariant: afterwards the book is not crossed.
    Source: price-time priority; self-trade prevention and OCO as Binance Spot documents them.
    Twin: tests/reference/kernels/exchange.py
    """
    desk = memory["desk"]
    order = memory["orders"][row]
    instrument = np.int64(order["instrument"])
    order["place"] = AT_TAKING
    limited = has_limit(order["type"])
    if not limited and order["side"] > 0:  # a triggered one: what it had locked is what it pays with
        before = claim_e8(memory, row)
        order["lock_ticks"] = 0
        lock(memory, row, claim_e8(memory, row) - before)
    if order["tif"] == TIF_FOK and not _fillable(memory, row):
        close(memory, row, REPORT_EXPIRED, VENUE_NOT_WHOLE)
        return
    desk["walk_first_ticks"] = 0
    code = _walk(memory, row)
    if code == OK and order["leaves_lots"] == 0 and order["amount_e8"] == 0:
        close(memory, row, REPORT_FILL, OK)
    elif code == OK and limited and order["tif"] != TIF_IOC and order["tif"] != TIF_FOK:
        join_book(memory, row)
        shrink(memory, np.int64(order["seat"]))
    else:
        close(memory, row, REPORT_EXPIRED, code)
    if desk["walk_first_ticks"] != 0:
        last = desk["walk_last_ticks"]
        on_price(memory, instrument, desk["walk_first_ticks"])
        on_price(memory, instrument, last)
