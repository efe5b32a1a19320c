"""How large an entry is, and what decided it: the number goes with the order.

    0  fixed fraction      `position_fraction_bps` of equity, as asked; where that is too much the order is refused
    1  quarter Kelly       see `kelly`; a quarter of the fraction while there is too little evidence
    2  volatility target   a bar's average true range moves the position by `sizing_budget_bps` of equity
    3  value at risk       over `var_horizon_s` and with `var_confidence_bps` of the limits the position loses no more
                           than `sizing_budget_bps` of equity, if moves are normal

The last three never ask for more than the fraction, nor for more than the checks of the instrument allow.
"""

import math

import numpy as np

from bot4.jit import inlined
from bot4.kernels.risk.position import worst_lots
from bot4.kernels.risk.share import parts_ceil, share_floor
from bot4.kernels.risk.tail import normal_quantile
from bot4.kernels.risk.view import MAX_BPS
from bot4.kernels.sizing.fixed_fraction import fixed_fraction_lots
from bot4.kernels.sizing.kelly import NO_EVIDENCE, quarter_kelly_bps
from bot4.model.enums import (
    SIZED_BY_EVIDENCE,
    SIZED_BY_FRACTION,
    SIZED_BY_KELLY,
    SIZED_BY_NOTIONAL,
    SIZED_BY_ORDER_SIZE,
    SIZED_BY_POSITION,
    SIZED_BY_STOP_LOSS,
    SIZED_BY_VALUE_AT_RISK,
    SIZED_BY_VOLATILITY,
    SIZING_FRACTION,
    SIZING_KELLY,
    SIZING_VALUE_AT_RISK,
)

RANGE_OF_DEVIATION = math.sqrt(8.0 / math.pi)  # mean range of a normal walk in its deviations (Feller, 1951)


@inlined
def _fraction_bps(params, state, atr_ticks, price_ticks, limits):
    """Share of equity that the method asks for, and what decided it."""
    most = params["position_fraction_bps"]
    method = params["sizing"]
    if method == SIZING_FRACTION:
        return most, SIZED_BY_FRACTION
    if method == SIZING_KELLY:
        bps = quarter_kelly_bps(state["trips"], state["wins"], state["won_ppb"], state["lost_ppb"])
        if bps == NO_EVIDENCE:
            return max(most // 4, np.int64(1)), SIZED_BY_EVIDENCE
        return (bps, SIZED_BY_KELLY) if bps < most else (most, SIZED_BY_FRACTION)
    move = atr_ticks / price_ticks
    why = SIZED_BY_VOLATILITY
    if method == SIZING_VALUE_AT_RISK:
        bars = limits["var_horizon_s"] * 1e9 / params["bar_ns"]
        z = normal_quantile(limits["var_confidence_bps"] / 10_000.0)
        move = move / RANGE_OF_DEVIATION * math.sqrt(bars) * z
        why = SIZED_BY_VALUE_AT_RISK
    if not move * most > params["sizing_budget_bps"]:
        return most, SIZED_BY_FRACTION
    return np.int64(params["sizing_budget_bps"] / move), why


@inlined
def size_entry(params, state, atr_ticks, side, price_ticks, stop_ticks, risk, instrument, limits):
    """Lots of an entry, 0 if not even one fits, and SIZED_BY_*.

    Parameters
    ----------
    params : of the strategy, with TRADING's fields
    state : record with trips, wins, won_ppb, lost_ppb
    atr_ticks : float64 >= 0
    side : int64, +1 or -1
    price_ticks : int64 > 0, the order's price
    stop_ticks : int64, where its stop goes; 0: nowhere
    risk : RISK_VIEW of the instrument, with its quote
    instrument : INSTRUMENT
    limits : LIMITS

    Notes
    -----
    Complexity: O(1). Invariant: but for a fixed fraction no check of the instrument refuses the order for its size,
    only for being too small. Twin: tests/reference/kernels/sizing.py
    """
    fraction_bps, why = _fraction_bps(params, state, atr_ticks, price_ticks, limits)
    lots = np.int64(fixed_fraction_lots(price_ticks, fraction_bps, risk["equity_e8"], instrument, limits))
    value_e8 = instrument["value_e8"]
    if params["sizing"] == SIZING_FRACTION or lots == 0:
        return lots, why
    if fraction_bps > limits["position_bps"]:
        why = SIZED_BY_POSITION
    equity_e8, held = min(risk["equity_e8"], limits["capital_e8"]), worst_lots(side, 0, risk)
    share_e8 = share_floor(equity_e8, 2 * min(limits["position_bps"], MAX_BPS))
    room = share_e8 // value_e8 // (risk["bid_ticks"] + risk["ask_ticks"]) - held
    if room < lots:
        lots, why = max(room, np.int64(0)), SIZED_BY_POSITION
    most = limits["order_notional_e8"] // value_e8 // max(price_ticks, risk["bid_ticks"])
    if most < lots:
        lots, why = most, SIZED_BY_NOTIONAL
    most = min(limits["order_lots"], instrument["max_qty_lots"])
    if most < lots:
        lots, why = most, SIZED_BY_ORDER_SIZE
    if stop_ticks > 0:
        fee_ppm = max(instrument["taker_fee_ppm"], 0)
        loss_e8 = abs(price_ticks - stop_ticks) * value_e8 + parts_ceil(price_ticks * value_e8, fee_ppm)
        loss_e8 += parts_ceil(stop_ticks * value_e8, fee_ppm + 100 * limits["slippage_bps"])
        room = share_floor(equity_e8, limits["stop_loss_bps"]) // max(loss_e8, np.int64(1)) - held
        if room < lots:
            lots, why = max(room, np.int64(0)), SIZED_BY_STOP_LOSS
    return lots, why
