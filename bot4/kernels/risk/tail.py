"""What the account could lose: value at risk and expected shortfall of all that is held and pending, in two ways.

The moves of the last WINDOW seconds are applied to what the account may come to hold. That gives its loss in each of
them, and both ways read this one series:

    parametric   normal, around zero as in `correlation`: the root of the mean square times what the confidence says
    historical   the worst seconds themselves; the shortfall is their mean, the last one counted by its part (Acerbi and
                 Tasche, 2002)

The larger of the two counts, times the root of the horizon. Instruments count with their worse side, as everywhere, and
so that no hedge is taken for granted whose stop may go off first the longs alone and the shorts alone are looked at
too. With fewer than ENOUGH seconds in which all that is held has moved, everything may be lost.

Budget: 2 us for one position, 0.2 us for each further one; for orders that passed everything else.
"""

import math
from typing import NamedTuple

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.risk.correlation import ENOUGH
from bot4.kernels.risk.portfolio import is_priced, twice_price
from bot4.kernels.risk.position import may_buy, may_sell
from bot4.kernels.risk.share import share_floor, worth
from bot4.kernels.risk.view import MAX_BPS, MAX_MONEY_E8
from bot4.model.enums import OK, RISK_SHORTFALL, RISK_VALUE_AT_RISK

_BLOCK = 32  # seconds that are looked at together


class Tail(NamedTuple):
    """Scratch of `note_tail` for n instruments and as many seconds as there are in the window."""

    longs: np.ndarray  # float64[n], twice what each exposed instrument may be worth, in their order
    shorts: np.ndarray  # float64[n]
    held: np.ndarray  # float64[n], signed: what the series in hand is of
    losses: np.ndarray  # float64[seconds]
    worst: np.ndarray  # float64[seconds], the largest of them, falling


def tail_memory(n: int, seconds: int) -> Tail:
    """Room for `n` instruments and so many seconds."""
    return Tail(np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(seconds), np.zeros(seconds))


@inlined
def _ratio(x, times, a0, a1, a2, a3, a4, a5, a6, a7, b1, b2, b3, b4, b5, b6, b7):
    over = ((((((a7 * x + a6) * x + a5) * x + a4) * x + a3) * x + a2) * x + a1) * x + a0
    return over * times / (((((((b7 * x + b6) * x + b5) * x + b4) * x + b3) * x + b2) * x + b1) * x + 1.0)


@kernel
def normal_quantile(p):
    """Where the standard normal distribution has the share `p` below it, exact to 1e-15; 1e-10 < p < 1 - 1e-10.

    Notes
    -----
    Wichura (1988), algorithm AS 241, without its part for what is rarer. Complexity: O(1).
    Twin: tests/reference/kernels/risk/tail.py
    """
    q = p - 0.5
    if abs(q) <= 0.425:
        return _ratio(
            0.180625 - q * q, q,
            3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
            4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3,
            4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3, 2.1213794301586595867e4,
            3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3,
        )  # fmt: skip
    r = math.sqrt(-math.log(p if q < 0.0 else 1.0 - p))
    found = _ratio(
        r - 1.6, 1.0,
        1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
        1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4,
        2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1, 1.48103976427480074590e-1,
        1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9,
    )  # fmt: skip
    return -found if q < 0.0 else found


@kernel
def hold_against(window, seconds, exposed, held, losses):
    """The loss of what is held in each second of the window in which all of it moved; how many there are.

    Parameters
    ----------
    window : float64[n, WINDOW], moves; NaN where there was none
    seconds : int64, so many of them have been
    exposed : int64[1 + n], how many instruments are held, then which
    held : float64[n], their signed values in the same order
    losses : float64[WINDOW], changed: so many losses in its front, gains below zero

    Notes
    -----
    Complexity: O(seconds * instruments held). Twin: tests/reference/kernels/risk/tail.py
    """
    for second in range(seconds):
        losses[second] = 0.0
    at = np.int64(0)
    while at < exposed[0]:
        # Four in one pass, so that each second's loss is read and written once.
        if at + 4 <= exposed[0] and held[at] * held[at + 1] * held[at + 2] * held[at + 3] != 0.0:
            v0, v1, v2, v3 = held[at], held[at + 1], held[at + 2], held[at + 3]
            i0, i1, i2, i3 = exposed[at + 1], exposed[at + 2], exposed[at + 3], exposed[at + 4]
            for second in range(seconds):
                loss = losses[second] - v0 * window[i0, second] - v1 * window[i1, second]
                losses[second] = loss - v2 * window[i2, second] - v3 * window[i3, second]
            at += 4
            continue
        value = held[at]
        if value != 0.0:
            i = exposed[at + 1]
            for second in range(seconds):
                losses[second] -= value * window[i, second]
        at += 1
    count = 0
    for second in range(seconds):
        count += 1 if losses[second] == losses[second] else 0
    if count == seconds:
        return count
    count = 0
    for second in range(seconds):
        loss = losses[second]
        if loss == loss:
            losses[count] = loss
            count += 1
    return count


@kernel
def parametric_tail(losses, count, confidence_bps):
    """Value at risk and expected shortfall of a second if losses are normal around zero.

    Parameters
    ----------
    losses : float64[seconds], `count` of them, at least one
    confidence_bps : int64, 1 .. 9,999, in 1/10,000

    Notes
    -----
    Eight sums side by side, as the processor has places for them, then these. Complexity: O(count).
    Twin: tests/reference/kernels/risk/tail.py
    """
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    whole = count // 8 * 8
    for at in range(0, whole, 8):
        s0 += losses[at] * losses[at]
        s1 += losses[at + 1] * losses[at + 1]
        s2 += losses[at + 2] * losses[at + 2]
        s3 += losses[at + 3] * losses[at + 3]
        s4 += losses[at + 4] * losses[at + 4]
        s5 += losses[at + 5] * losses[at + 5]
        s6 += losses[at + 6] * losses[at + 6]
        s7 += losses[at + 7] * losses[at + 7]
    total = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7
    for second in range(whole, count):
        total += losses[second] * losses[second]
    deviation = math.sqrt(total / count)
    share = (10_000 - confidence_bps) / 10_000.0
    z = -normal_quantile(share)
    density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return deviation * z, deviation * density / share


@inlined
def _put(worst, place, loss):
    """Into the falling row, whose place is free, where it belongs."""
    while place > 0 and worst[place - 1] < loss:
        worst[place] = worst[place - 1]
        place -= 1
    worst[place] = loss


@kernel
def historical_tail(losses, count, confidence_bps, worst):
    """Value at risk and expected shortfall of a second by the losses there were; arguments as `parametric_tail`.

    Notes
    -----
    The value at risk is the least loss that no more than the share beyond the confidence exceed; NumPy calls that
    quantile "inverted_cdf". worst : float64, scratch for so many. Complexity: O(count), and sorting the worst.
    Twin: tests/reference/kernels/risk/tail.py
    """
    share = count * (10_000 - confidence_bps)  # in 1/10,000 of a second
    whole = share // 10_000
    found = min(count, whole + 1)
    for second in range(found):
        _put(worst, second, losses[second])
    for block in range(found, count, _BLOCK):
        end = min(block + _BLOCK, count)
        above = 0
        for second in range(block, end):  # without a branch: nearly all blocks hold nothing that counts
            above += 1 if losses[second] > worst[whole] else 0
        if above > 0:
            for second in range(block, end):
                if losses[second] > worst[whole]:
                    _put(worst, whole, losses[second])
    total = 0.0
    for place in range(whole):
        total += worst[place]
    total += worst[whole] * ((share - whole * 10_000) / 10_000.0)
    return worst[whole], total / (share / 10_000.0)


@inlined
def _amount(second, horizon_s):
    """Of a second's loss that of the horizon, rounded up."""
    return np.int64(math.ceil(min(max(second, 0.0) * math.sqrt(float(horizon_s)), float(MAX_MONEY_E8))))


@kernel
def _note_series(known, tail, exposed, view, limits):
    """Into the view what is held now may lose, where that is more than what is there."""
    seconds = min(known.seconds[0], np.int64(known.window.shape[1]))
    count = hold_against(known.window, seconds, exposed, tail.held, tail.losses)
    if count < ENOUGH:
        total = 0.0
        for at in range(exposed[0]):
            total += abs(tail.held[at])
        everything = np.int64(min(total, float(MAX_MONEY_E8)))
        view["value_at_risk_e8"] = max(view["value_at_risk_e8"], everything)
        view["shortfall_e8"] = max(view["shortfall_e8"], everything)
        return
    confidence_bps = limits["var_confidence_bps"]
    value, shortfall = parametric_tail(tail.losses, count, confidence_bps)
    past_value, past_shortfall = historical_tail(tail.losses, count, confidence_bps, tail.worst)
    horizon_s = limits["var_horizon_s"]
    view["value_at_risk_e8"] = max(view["value_at_risk_e8"], _amount(max(value, past_value), horizon_s))
    view["shortfall_e8"] = max(view["shortfall_e8"], _amount(max(shortfall, past_shortfall), horizon_s))


@kernel
def note_tail(known, tail, exposed, views, positions, instruments, order, limits):
    """Write into the view of an order's instrument what the account could lose if it went out; twice the amounts.

    Parameters
    ----------
    known : Moves
    tail : Tail, changed
    exposed : int64[1 + n], which instruments may hold something, that of the order among them
    views : RISK_VIEW[n], of the order's instrument `value_at_risk_e8` and `shortfall_e8` are changed
    positions : records [n] with lots, cost_tl, bid_ticks, ask_ticks, quote_ts_ns, whole
    instruments : INSTRUMENT[n]
    order : ORDER_INTENT, `ts_ns` is now
    limits : LIMITS

    Notes
    -----
    Complexity: O(seconds * exposed). Twin: tests/reference/kernels/risk/tail.py
    """
    index = np.int64(order["instrument"])
    any_long = any_short = False
    for at in range(exposed[0]):
        i = exposed[at + 1]
        view = views[i]
        longs = max(view["position_lots"], 0) + may_buy(view)
        shorts = max(-view["position_lots"], 0) + may_sell(view)
        if i == index:
            if order["side"] > 0:
                longs += order["qty_lots"]
            else:
                shorts += order["qty_lots"]
        any_long |= longs > 0
        any_short |= shorts > 0
        price = twice_price(positions[i], is_priced(positions[i], order["ts_ns"], limits["quote_age_ns"]))
        tail.longs[at] = float(worth(longs, price, instruments[i]["value_e8"]))
        tail.shorts[at] = float(worth(shorts, price, instruments[i]["value_e8"]))
        tail.held[at] = tail.longs[at] if longs >= shorts else -tail.shorts[at]
    mine = views[index]
    mine["value_at_risk_e8"] = mine["shortfall_e8"] = 0
    _note_series(known, tail, exposed, mine, limits)
    if any_long and any_short:
        for at in range(exposed[0]):
            tail.held[at] = tail.longs[at]
        _note_series(known, tail, exposed, mine, limits)
        for at in range(exposed[0]):
            tail.held[at] = -tail.shorts[at]
        _note_series(known, tail, exposed, mine, limits)


@inlined
def check_tail(view, limits):
    """RISK_VALUE_AT_RISK or RISK_SHORTFALL if the account could lose more than the share of equity allowed.

    Notes
    -----
    Exact: twice the amount against twice the share. Complexity: O(1).
    """
    equity = min(view["equity_e8"], limits["capital_e8"])
    if view["value_at_risk_e8"] > share_floor(equity, 2 * min(limits["var_bps"], MAX_BPS)):
        return RISK_VALUE_AT_RISK
    if view["shortfall_e8"] > share_floor(equity, 2 * min(limits["shortfall_bps"], MAX_BPS)):
        return RISK_SHORTFALL
    return OK
