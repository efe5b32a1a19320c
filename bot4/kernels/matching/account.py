"""What a fill and a funding payment do to the account, in integers.

Average cost: a position is (lots, cost in tick x lot). A reducing fill removes floor(|cost| * qty / |lots|) of the
cost, so realised plus what is left always equals what flowed. Cash of a spot instrument moves by the whole value of the
fill, cash of a linear contract by the realised profit; both pay the fee.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.model.units import share_of

_SMALL = 2**31  # the product of two numbers below it fits


@inlined
def removed_cost(cost_abs, held, qty):
    """floor(cost_abs * qty / held) without a product that could wrap.

    Parameters
    ----------
    cost_abs : int64 >= 0, tick x lot
    held : int64 > 0, lots
    qty : int64, 0 <= qty <= held

    Notes
    -----
    Bound: held below 2**45 lots. Source: the average-cost rule in ARCHITECTURE.md.
    Twin: tests/reference/kernels/matching.py
    """
    average = cost_abs // held
    rest = cost_abs - average * held
    share = (rest * qty) // held if held < _SMALL else share_of(rest, qty, held)
    return average * qty + share


@kernel
def account_fill(seat, instrument, desk, side, price_ticks, qty_lots, fee_e8):
    """Move position and cash by one fill.

    Parameters
    ----------
    seat : SEAT record, changed
    instrument : INSTRUMENT record
    desk : DESK record, its cash is changed
    side : int64, +1 bought, -1 sold
    price_ticks, qty_lots : int64 > 0
    fee_e8 : int64, 1e-8 quote currency; negative is a rebate

    Notes
    -----
    Complexity: O(1). Invariant: spot cash = start - sum(side * value) - fees; linear cash = start + realised - fees.
    Twin: tests/reference/kernels/matching.py
    """
    value_e8 = instrument["value_e8"]
    lots = seat["lots"]
    left = qty_lots
    realised = np.int64(0)
    if lots != 0 and (lots > 0) != (side > 0):
        held = abs(lots)
        closing = min(held, left)
        sign = np.int64(1) if lots > 0 else np.int64(-1)
        removed = removed_cost(abs(seat["cost_tl"]), held, closing)
        realised = sign * (price_ticks * closing - removed)
        seat["cost_tl"] -= sign * removed
        seat["lots"] = lots - sign * closing
        left -= closing
    if left > 0:
        seat["lots"] += side * left
        seat["cost_tl"] += side * left * price_ticks
    seat["realised_tl"] += realised
    seat["fees_e8"] += fee_e8
    if np.int64(instrument["is_spot"]) != 0:
        desk["cash_e8"] -= side * price_ticks * qty_lots * value_e8 + fee_e8
    else:
        desk["cash_e8"] += realised * value_e8 - fee_e8


@inlined
def mul_e8(a, b):
    """floor(a * b / 1e8) for a, b >= 0 by long multiplication, where only the result must fit.

    Parameters
    ----------
    a, b : int64 >= 0
    """
    whole_a = a // 100_000_000
    rest_a = a - whole_a * 100_000_000
    whole_b = b // 100_000_000
    rest_b = b - whole_b * 100_000_000
    return a * whole_b + whole_a * rest_b + (rest_a * rest_b) // 100_000_000


@inlined
def mul_e8_up(a, b):
    """ceil(a * b / 1e8) for a, b >= 0."""
    exact = (a % 100_000_000) * (b % 100_000_000) % 100_000_000 == 0
    return mul_e8(a, b) + (0 if exact else 1)


@kernel
def funding_e8(lots, lot_e8, mark_e8, rate_e8):
    """Funding payment of a position: negative is paid, positive received; each rounding goes against us.

    Parameters
    ----------
    lots : int64, position, signed
    lot_e8 : int64, lot size in 1e-8 of the base currency
    mark_e8 : int64 >= 0, mark price
    rate_e8 : int64, funding rate in 1e-8, signed; a long position pays a positive rate

    Notes
    -----
    Complexity: O(1). Value, then payment, each to the unit of 1e-8: up when paying, down when receiving.
    Twin: tests/reference/kernels/matching.py
    """
    if lots == 0 or rate_e8 == 0 or mark_e8 <= 0:
        return np.int64(0)
    base = abs(lots) * lot_e8
    rate = abs(rate_e8)
    if (lots > 0) == (rate_e8 > 0):
        return -mul_e8_up(mul_e8_up(base, mark_e8), rate)
    return mul_e8(mul_e8(base, mark_e8), rate)
