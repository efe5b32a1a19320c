"""What orders lock and fills move: balances per account and asset, positions of contracts, fees.

Spot: an open sell locks its base asset, an open buy its quote asset at its price; the legs of an OCO pair, of which one
at most trades, lock the larger of the two. A buy that fills below its price gets the difference back. The fee is a
share of the asset received, rounded up (a rebate towards zero); an account that pays in the token pays the same share
of the value there instead, less the discount, if it has enough of it free. A linear contract locks nothing: its profit
is realised in the quote asset by average cost, as ARCHITECTURE.md states it, its fee a share of the value.

Invariant, per asset: free + locked over all accounts + fees - cost of the positions that settle in it = deposits.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.exchange.event import command_event
from bot4.kernels.exchange.state import FEE_IN_TOKEN, FUNDING_BOUND_E8, LIQUIDITY_MAKER, MAX_INSTRUMENTS
from bot4.kernels.matching.account import removed_cost
from bot4.model.enums import (
    LIST_OCO,
    LIST_OTOCO,
    OK,
    ORDER_REDUCE_ONLY,
    REPORT_FUNDING,
    REPORT_REJECT,
    VENUE_BAD_REQUEST,
)
from bot4.model.units import E8, PPM, fee_e8, share_of


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
def token_fee_e8(fee_in_quote_e8, discount_ppm, price_e8, free_e8):
    """A fee in the token, less the discount, rounded up; -1: there is not so much of it.

    Parameters
    ----------
    fee_in_quote_e8 : int64 >= 0, the fee as a share of the fill's value
    discount_ppm : int64, 0 to 1,000,000
    price_e8 : int64, 1 to 2**46 - 1, what one token is worth in the quote asset
    free_e8 : int64 >= 0, of the token

    Notes
    -----
    Complexity: O(1). Twin: `in_token` in tests/reference/kernels/exchange.py
    """
    due = fee_e8(fee_in_quote_e8, PPM - discount_ppm)
    whole = due // price_e8
    rest = due - whole * price_e8
    if whole > free_e8 // E8:  # and nothing wraps below
        return np.int64(-1)
    amount = whole * E8
    if rest > 0:
        amount += E8 - share_of(price_e8 - rest, np.int64(E8), price_e8)
    return amount if amount <= free_e8 else np.int64(-1)


@kernel
def _charge(memory, number, asset, amount_e8, quote, value_e8, ppm):
    """The fee of a fill: a share of an amount, or of the value in the token. Returns (fee, FEE_IN_TOKEN or 0).

    Notes
    -----
    Invariant: what leaves the account comes to `fees`. A rebate is never paid in the token.
    """
    desk = memory["desk"]
    account = memory["accounts"][number]
    price = memory["token_price_e8"][quote]
    if account["pays_token"] != 0 and price > 0 and ppm > 0:
        balance = memory["balances"][number, desk["token"]]
        fee = token_fee_e8(fee_e8(value_e8, ppm), desk["token_discount_ppm"], price, balance["free_e8"])
        if fee >= 0:
            balance["free_e8"] -= fee
            memory["fees"][desk["token"]] += fee
            return fee, np.int64(FEE_IN_TOKEN)
    fee = fee_e8(amount_e8, ppm)
    memory["balances"][number, asset]["free_e8"] -= fee
    memory["fees"][asset] += fee
    return fee, np.int64(0)


@kernel
def _settle_linear(memory, row, price_ticks, lots):
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
    memory["balances"][order["account"], market["quote"]]["free_e8"] += realised * market["value_e8"]


@kernel
def _settle_spot(memory, row, value, amount, lots):
    order = memory["orders"][row]
    market = memory["markets"][order["instrument"]]
    base = memory["balances"][order["account"], market["base"]]
    quote = memory["balances"][order["account"], market["quote"]]
    if order["side"] > 0:
        held = order["lock_ticks"] * lots * market["value_e8"] if order["locks"] != 0 else np.int64(0)
        quote["locked_e8"] -= held
        quote["free_e8"] += held - value
        base["free_e8"] += amount
        return
    if order["locks"] != 0:
        base["locked_e8"] -= amount
    else:
        base["free_e8"] -= amount
    quote["free_e8"] += value


@kernel
def settle(memory, row, price_ticks, lots, liquidity):
    """One side of a fill: money, position, fee, and what the order has done so far.

    Returns
    -------
    (int64, int64) : the fee, and `liquidity` with FEE_IN_TOKEN where it was paid in the token

    Notes
    -----
    Complexity: O(1). The order's leaves are the caller's.
    Twin: tests/reference/kernels/exchange.py
    """
    order = memory["orders"][row]
    market = memory["markets"][order["instrument"]]
    number = np.int64(order["account"])
    account = memory["accounts"][number]
    ppm = account["maker_ppm"] if liquidity == LIQUIDITY_MAKER else account["taker_ppm"]
    value = price_ticks * lots * market["value_e8"]
    quote = market["quote"]
    order["cum_lots"] += lots
    order["cum_value_e8"] += value
    if market["linear"] != 0:
        add_open(memory, row, -lots)
        _settle_linear(memory, row, price_ticks, lots)
        fee, paid = _charge(memory, number, quote, value, quote, value, ppm)
        return fee, liquidity | paid
    amount = lots * market["lot_e8"]
    _settle_spot(memory, row, value, amount, lots)
    if order["side"] > 0:
        fee, paid = _charge(memory, number, market["base"], amount, quote, value, ppm)
    else:
        fee, paid = _charge(memory, number, quote, value, quote, value, ppm)
    return fee, liquidity | paid


@kernel
def funding(memory, command):
    """Every position of a contract pays or receives the rate of its value at the mark; the rounding is the venue's.

    Notes
    -----
    A long position pays a positive rate. Each payment is rounded up, so together they are nothing or a little, which
    comes to `fees`; a balance may go below zero, as by a loss.
    Complexity: O(accounts). Errors: VENUE_BAD_REQUEST (no such contract, a mark or a rate that cannot be).
    Twin: tests/reference/kernels/exchange.py
    """
    desk = memory["desk"]
    instrument = np.int64(command["instrument"])
    mark = command["price_ticks"]
    rate = command["amount_e8"]
    known = 0 <= instrument < desk["n_instruments"] and memory["markets"][instrument]["linear"] != 0
    if not known or mark < 1 or mark > memory["markets"][instrument]["max_price_ticks"]:
        command_event(memory, REPORT_REJECT, command, VENUE_BAD_REQUEST)
        return
    if rate < -FUNDING_BOUND_E8 or rate > FUNDING_BOUND_E8:
        command_event(memory, REPORT_REJECT, command, VENUE_BAD_REQUEST)
        return
    market = memory["markets"][instrument]
    quote = market["quote"]
    for account in range(desk["n_accounts"]):
        lots = memory["seats"][account * MAX_INSTRUMENTS + instrument]["lots"]
        if lots == 0:
            continue
        value = lots * mark * market["value_e8"]
        whole = value // E8
        paid = whole * rate - ((whole * E8 - value) * rate) // E8
        balance = memory["balances"][account, quote]
        balance["free_e8"] -= paid
        memory["fees"][quote] += paid
        event = memory["events"][command_event(memory, REPORT_FUNDING, command, OK)]
        event["account"] = account
        event["last_lots"] = lots
        event["last_ticks"] = mark
        event["fee_e8"] = paid
        event["cum_value_e8"] = balance["free_e8"]
