"""Slow twins of bot4/kernels/sizing, in fractions."""

import math
from fractions import Fraction
from statistics import NormalDist


def lots(price, fraction_bps, limit_bps, equity_e8, value_e8, spot_fee_ppm):
    """Whole lots whose value, with the fee where spot pays one, is within the share of equity."""
    if price <= 0 or value_e8 <= 0 or equity_e8 <= 0:
        return 0
    budget = equity_e8 * min(fraction_bps, limit_bps) // 10_000
    if spot_fee_ppm > 0:
        budget = budget // (1_000_000 + spot_fee_ppm) * 1_000_000
    return budget // (price * value_e8)


def stop(side, price, atr, multiple, min_bps):
    """Price less (buy) or plus (sell) the larger distance, rounded away; 0 where there is none."""
    distance = max(Fraction(atr * multiple), Fraction(price * min_bps / 10_000.0))
    if not 0 < distance < 2**40 - 1:
        return 0
    trigger = price - side * math.ceil(distance)
    return trigger if 0 < trigger < 2**40 else 0


def profit(side, price, atr, multiple):
    """Price plus (buy) or less (sell) the distance, rounded away; 0 where there is none."""
    distance = Fraction(atr * multiple)
    if not 0 < distance < 2**40 - 1:
        return 0
    limit = price + side * math.ceil(distance)
    return limit if 0 < limit < 2**40 else 0


# --- methods: 0 fixed fraction, 1 quarter Kelly, 2 volatility target, 3 value at risk ---------------------------------
EVIDENCE = 30
BY_FRACTION, BY_KELLY, BY_VOLATILITY, BY_VALUE_AT_RISK, BY_EVIDENCE = range(5)
BY_POSITION, BY_NOTIONAL, BY_SIZE, BY_STOP = range(5, 9)


def kelly(p, win, loss):
    """Share that makes the account's logarithm grow fastest: the zero of growth's slope, found by halving."""
    low, high = -1.0 / win, 1.0 / loss

    def slope(share):
        return p * win / (1 + share * win) - (1 - p) * loss / (1 - share * loss)

    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return (low + high) / 2


def quarter_kelly(results):
    """Basis points of equity, None without evidence. results : of closed positions, in 1e-9 of what was put in."""
    won, lost = [one for one in results if one > 0], [-one for one in results if one <= 0]
    if len(results) < EVIDENCE or not sum(lost):
        return None
    if not won:
        return 0
    win, loss = Fraction(sum(won), len(won) * 10**9), Fraction(sum(lost), len(lost) * 10**9)
    p = (len(won) + EVIDENCE * loss / (win + loss)) / (len(results) + EVIDENCE)
    return float(min(max(2_500 * (p / loss - (1 - p) / win), 0), 200))


def wanted_bps(params, results, atr, price, limits):
    """(share of equity in basis points, what decided it)."""
    most, method = params["position_fraction_bps"], params["sizing"]
    if method == 1:
        bps = quarter_kelly(results)
        if bps is None:
            return max(most // 4, 1), BY_EVIDENCE
        return (math.floor(bps), BY_KELLY) if math.floor(bps) < most else (most, BY_FRACTION)
    if method == 0:
        return most, BY_FRACTION
    move = atr / price
    if method == 3:
        bars = limits["var_horizon_s"] * 1e9 / params["bar_ns"]
        z = NormalDist().inv_cdf(limits["var_confidence_bps"] / 10_000)
        move = move / math.sqrt(8 / math.pi) * math.sqrt(bars) * z
    if move * most <= params["sizing_budget_bps"]:
        return most, BY_FRACTION
    return math.floor(params["sizing_budget_bps"] / move), BY_VOLATILITY if method == 2 else BY_VALUE_AT_RISK


def stopped_out(price, stop_ticks, equity, held, instrument, limits):
    """How many lots more may be lost at the stop, each with its costs rounded up."""
    if not stop_ticks:
        return
    value, fee = instrument["value_e8"], Fraction(max(instrument["taker_fee_ppm"], 0), 10**6)
    lost = abs(price - stop_ticks) * value + math.ceil(price * value * fee)
    lost += math.ceil(stop_ticks * value * (fee + Fraction(limits["slippage_bps"], 10_000)))
    yield math.floor(equity * Fraction(limits["stop_loss_bps"], 10_000)) // lost - held, BY_STOP


def entry(params, results, atr, side, price, stop_ticks, view, instrument, limits):
    """(lots, what decided them)."""
    bps, why = wanted_bps(params, results, atr, price, limits)
    value, equity = instrument["value_e8"], min(view["equity_e8"], limits["capital_e8"])
    fee = instrument["taker_fee_ppm"] if instrument["is_spot"] else 0
    found = lots(price, bps, limits["position_bps"], equity, value, fee)
    if params["sizing"] == 0 or not found:
        return found, why
    if bps > limits["position_bps"]:
        why = BY_POSITION
    held = max(view["position_lots"] * side, 0) + view["pending_buy_lots" if side > 0 else "pending_sell_lots"]
    mid = Fraction(view["bid_ticks"] + view["ask_ticks"], 2)
    bounds = (
        (math.floor(equity * Fraction(limits["position_bps"], 10_000) / (mid * value)) - held, BY_POSITION),
        (limits["order_notional_e8"] // (value * max(price, view["bid_ticks"])), BY_NOTIONAL),
        (min(limits["order_lots"], instrument["max_qty_lots"]), BY_SIZE),
        *stopped_out(price, stop_ticks, equity, held, instrument, limits),
    )
    for bound, reason in bounds:
        if bound < found:
            found, why = max(bound, 0), reason
    return found, why
