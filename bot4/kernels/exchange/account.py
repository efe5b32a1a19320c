"""What orders lock and fills move: balances per account and asset, positions of contracts, fees.

Spot: an open sell locks its base asset, an open buy its quote asset at its price; the legs of an OCO pair, of which one
at most trades, lock the larger of the two. A buy that fills below its price gets the difference back. The fee is a
share of the asset received, rounded up (a rebate towards zero). A linear contract locks nothing: its profit is realised
in the quote asset by average cost, as ARCHITECTURE.md states it, its fee a share of the value.

Invariant, per asset: free + locked over all accounts + fees - cost of the positions that settle in it = deposits.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.exchange.state import LIQUIDITY_MAKER
from bot4.kernels.matching.account import removed_cost
from bot4.model.enums import LIST_OCO, LIST_OTOCO, ORDER_REDUCE_ONLY
from bot4.model.units import fee_e8


@kernel
def sibling(memory, row):
    """Row of the other leg of an order's OCO pair, -1: none that is open."""
    order = memory["orders"][row]
    at = np.int64(order["list"])
    if at < 0:
        return np.int64(-1)
    one = memory["lists"][at]
    if one["kind"] == LIST_OCO:
        return np.int64(one["legs"][1 - order["leg"]])
    if one["kind"] == LIST_OTOCO and order["leg"] > 0:
        return np.int64(one["legs"][3 - order["leg"]])
    return np.int64(-1)


@kernel
def own_claim_e8(memory, row):
    """What an order by itself locks, of the asset that it pays with."""
    order = memory["orders"][row]
    market = memory["markets"][order["instrument"]]
    if order["locks"] == 0:
        return np.int64(0)
    unit = order["lock_ticks"] * market["value_e8"] if order["side"] > 0 else market["lot_e8"]
    return order["leaves_lots"] * unit


@kernel
def claim_e8(memory, row):
    """What an order locks together with the other leg of its pair."""
    own = own_claim_e8(memory, row)
    other = sibling(memory, row)
    if other < 0:
        return own
    return max(own, own_claim_e8(memory, other))


@inlined
def _paid_in(memory, order):
    market = memory["markets"][order["instrument"]]
    asset = market["quote"] if order["side"] > 0 else market["base"]
    return memory["balances"][order["account"], asset]


@kernel
def paid_in_free_e8(memory, row):
    """Free balance of the asset that an order pays with."""
    return _paid_in(memory, memory["orders"][row])["free_e8"]


@kernel
def lock(memory, row, amount_e8):
    """Move an amount from free to locked, or back if it is negative."""
    if amount_e8 != 0:
        balance = _paid_in(memory, memory["orders"][row])
        balance["free_e8"] -= amount_e8
        balance["locked_e8"] += amount_e8


@kernel
def release_all(memory, row):
    """The order locks nothing any more; what the other leg of its pair needs stays locked."""
    other = sibling(memory, row)
    rest = own_claim_e8(memory, other) if other >= 0 else np.int64(0)
    lock(memory, row, min(np.int64(0), rest - own_claim_e8(memory, row)))
    memory["orders"][row]["locks"] = 0


@inlined
def reducible(seat, side):
    """Lots by which an order of that side can lower the position."""
    lots = seat["lots"]
    if lots == 0 or (lots > 0) == (side > 0):
        return np.int64(0)
    return abs(lots)


@inlined
def opens(memory, order):
    """True if the order is one of a contract that may grow the position."""
    return memory["markets"][order["instrument"]]["linear"] != 0 and order["flags"] & ORDER_REDUCE_ONLY == 0


@kernel
def add_open(memory, row, lots):
    """Count lots of an open order towards the positions that it could make."""
    order = memory["orders"][row]
    if opens(memory, order):
        memory["seats"][order["seat"]]["open_lots"][0 if order["side"] > 0 else 1] += lots


@kernel
def _settle_linear(memory, row, price_ticks, lots, ppm):
    order = memory["orders"][row]
    market = memory["markets"][order["instrument"]]
    seat = memory["seats"][order["seat"]]
    side = np.int64(order["side"])
    left = lots
    realised = np.int64(0)
    if seat["lots"] != 0 and (seat["lots"] > 0) != (side > 0):
        held = abs(seat["lots"])
        closing = min(held, left)
        removed = removed_cost(abs(seat["cost_tl"]), held, closing)
        realised = -side * (price_ticks * closing - removed)
        seat["cost_tl"] += side * removed
        seat["lots"] += side * closing
        left -= closing
    if left > 0:
        seat["lots"] += side * left
        seat["cost_tl"] += side * left * price_ticks
    seat["realised_tl"] += realised
    fee = fee_e8(price_ticks * lots * market["value_e8"], ppm)
    memory["balances"][order["account"], market["quote"]]["free_e8"] += realised * market["value_e8"] - fee
    memory["fees"][market["quote"]] += fee
    return fee


@kernel
def _settle_spot(memory, row, price_ticks, lots, ppm):
    order = memory["orders"][row]
    market = memory["markets"][order["instrument"]]
    base = memory["balances"][order["account"], market["base"]]
    quote = memory["balances"][order["account"], market["quote"]]
    value = price_ticks * lots * market["value_e8"]
    amount = lots * market["lot_e8"]
    if order["side"] > 0:
        held = order["lock_ticks"] * lots * market["value_e8"] if order["locks"] != 0 else np.int64(0)
        quote["locked_e8"] -= held
        quote["free_e8"] += held - value
        fee = fee_e8(amount, ppm)
        base["free_e8"] += amount - fee
        memory["fees"][market["base"]] += fee
        return fee
    if order["locks"] != 0:
        base["locked_e8"] -= amount
    else:
        base["free_e8"] -= amount
    fee = fee_e8(value, ppm)
    quote["free_e8"] += value - fee
    memory["fees"][market["quote"]] += fee
    return fee


@kernel
def settle(memory, row, price_ticks, lots, liquidity):
    """One side of a fill: money, position, fee, and what the order has done so far. Returns the fee.

    Notes
    -----
    Complexity: O(1). The order's leaves are the caller's.
    Twin: tests/reference/kernels/exchange.py
    """
    order = memory["orders"][row]
    market = memory["markets"][order["instrument"]]
    account = memory["accounts"][order["account"]]
    ppm = account["maker_ppm"] if liquidity == LIQUIDITY_MAKER else account["taker_ppm"]
    order["cum_lots"] += lots
    order["cum_value_e8"] += price_ticks * lots * market["value_e8"]
    if market["linear"] != 0:
        add_open(memory, row, -lots)
        return _settle_linear(memory, row, price_ticks, lots, ppm)
    return _settle_spot(memory, row, price_ticks, lots, ppm)
