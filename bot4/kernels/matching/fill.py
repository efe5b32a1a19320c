"""Executions: an order that takes walks the effective book, a resting one is filled by the market that comes to it.

Both end in `execute`, the one place where order, position, cash and fee move together.
"""

import numpy as np

from bot4.jit import kernel
from bot4.kernels.book import effective_level
from bot4.kernels.matching.account import account_fill
from bot4.kernels.matching.impact import impact_before, impact_paid, impact_passes, impact_taken
from bot4.kernels.matching.order import complete, only_reduces, reducible
from bot4.kernels.matching.report import report_fill
from bot4.kernels.matching.state import LIQUIDITY_MAKER, LIQUIDITY_TAKER
from bot4.kernels.matching.taken import offered, take_level
from bot4.model.enums import TIF_IOC, TYPE_LIMIT
from bot4.model.impact import IMPACT_NONE
from bot4.model.units import fee_e8


@kernel
def execute(memory, instruments, row, price_ticks, qty_lots, liquidity):
    """One fill of an open order.

    Parameters
    ----------
    memory : Matching
    instruments : INSTRUMENT[n]
    row : int64, the order's
    price_ticks : int64 > 0
    qty_lots : int64, 0 < qty_lots <= what the order may still trade
    liquidity : LIQUIDITY_MAKER or LIQUIDITY_TAKER

    Notes
    -----
    Complexity: O(1). Invariant: cum_lots <= qty_lots. Bound: the value of an order fits, see `request.check_place`.
    Twin: tests/reference/kernels/matching.py
    """
    order = memory.orders[row]
    index = order["instrument"]
    instrument = instruments[index]
    ppm = instrument["maker_fee_ppm"] if liquidity == LIQUIDITY_MAKER else instrument["taker_fee_ppm"]
    fee = fee_e8(price_ticks * qty_lots * instrument["value_e8"], ppm)
    account_fill(memory.seats[index], instrument, memory.desk[0], order["side"], price_ticks, qty_lots, fee)
    memory.seats[index]["changed"] = 1
    order["cum_lots"] += qty_lots
    report_fill(memory, row, price_ticks, qty_lots, fee, ppm, liquidity)
    complete(memory, row)


@kernel
def may_trade(memory, instruments, row):
    """Lots that an order may still trade: what is left of it, for one that may only reduce at most the position."""
    order = memory.orders[row]
    left = order["qty_lots"] - order["cum_lots"]
    if only_reduces(order, instruments[order["instrument"]]):
        left = min(left, reducible(memory.seats[order["instrument"]], order["side"]))
    return left


@kernel
def _within(impact, side, best, price, before, flow, part, done, quantity, limit_ticks):
    """Lots of `quantity` that an order may take at a level before the impact takes it beyond its limit."""
    if limit_ticks == 0:
        return quantity
    low, high = np.int64(0), quantity
    while low < high:
        middle = (low + high + 1) >> 1
        if side * (impact_paid(impact, side, best, price, before, flow, part, done, middle) - limit_ticks) > 0:
            high = middle - 1
        else:
            low = middle
    return low


@kernel
def take(memory, instruments, row, limit_ticks, liquidity):
    """Walk the effective book against an open order up to its limit, taking what is offered.

    Parameters
    ----------
    memory : Matching
    instruments : INSTRUMENT[n]
    row : int64, the order's
    limit_ticks : int64, worst price; 0 for any
    liquidity : LIQUIDITY_TAKER: each level at its own price; LIQUIDITY_MAKER: the market came to a resting order,
        everything at the order's price

    Notes
    -----
    Complexity: O(levels walked * (levels taken from + log quantity)). Twin: tests/reference/kernels/matching.py
    """
    order = memory.orders[row]
    index = order["instrument"]
    seat = memory.seats[index]
    side = order["side"]
    book = memory.books[index]
    impact = memory.impacts[index]
    best, _ = effective_level(book, -side, np.int64(0))
    before = np.int64(0)
    if impact["model"] != IMPACT_NONE:
        impact_passes(impact, memory.desk[0]["now_ns"])
        before = impact_before(impact, side, best)
    moves = impact["model"] != IMPACT_NONE and liquidity == LIQUIDITY_TAKER
    flow, part = impact["flow"], impact["part"]
    done = np.int64(0)
    left = may_trade(memory, instruments, row)
    level = np.int64(0)
    while left > 0:
        price, shown = effective_level(book, -side, level)
        if price == 0 or (limit_ticks > 0 and side * (price + side * before - limit_ticks) > 0):
            return
        level += 1
        quantity = min(left, offered(memory.taken[index], seat, -side, price, shown))
        if moves and quantity > 0:
            quantity = _within(impact, side, best, price, before, flow, part, done, quantity, limit_ticks)
            if quantity == 0:
                return
        if quantity > 0:
            take_level(memory.taken[index], seat, -side, price, shown, quantity)
            paid = price if liquidity == LIQUIDITY_TAKER else order["price_ticks"]
            if moves:
                paid = impact_paid(impact, side, best, price, before, flow, part, done, quantity)
                impact_taken(impact, side, quantity)
                done += quantity
            execute(memory, instruments, row, paid, quantity, liquidity)
            left -= quantity


@kernel
def walk_cost(memory, instruments, index, side, qty_lots):
    """What a market order would pay now, fees and impact included, 1e-8 quote currency; no quantity moves.

    Notes
    -----
    Complexity: as `take`. Twin: tests/reference/kernels/matching.py
    """
    instrument = instruments[index]
    seat = memory.seats[index]
    impact = memory.impacts[index]
    best, _ = effective_level(memory.books[index], -side, np.int64(0))
    before = np.int64(0)
    if impact["model"] != IMPACT_NONE:
        impact_passes(impact, memory.desk[0]["now_ns"])
        before = impact_before(impact, side, best)
    flow, part = impact["flow"], impact["part"]
    done = np.int64(0)
    cost = np.int64(0)
    left = qty_lots
    level = np.int64(0)
    while left > 0:
        price, shown = effective_level(memory.books[index], -side, level)
        if price == 0:
            return cost
        level += 1
        quantity = min(left, offered(memory.taken[index], seat, -side, price, shown))
        if quantity > 0:
            if impact["model"] != IMPACT_NONE:
                price = impact_paid(impact, side, best, price, before, flow, part, done, quantity)
                done += quantity
            value = price * quantity * instrument["value_e8"]
            cost += value + fee_e8(value, instrument["taker_fee_ppm"])
            left -= quantity
    return cost


@kernel
def rests(order):
    """True if what an order cannot trade now waits in the book."""
    return order["type"] == TYPE_LIMIT and order["tif"] != TIF_IOC
