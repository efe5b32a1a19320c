"""Slow twin of bot4/kernels/risk/tail.py: sorted lists and the textbook's formulas.

Sums go in the kernel's order, so that both round alike.
"""

import math
from statistics import NormalDist

from reference.kernels.risk.order_checks import MOST_MONEY, valued, worth_twice

ENOUGH = 100
VALUE_AT_RISK, SHORTFALL = 340, 341
NORMAL = NormalDist()


def losses_of(window, held):
    """The loss in each second of which everything held has a move.

    window : by second a list of moves, None where there was none; held : signed values by instrument
    """
    found = []
    for moves in window:
        loss = 0.0
        for value, move in zip(held, moves, strict=True):
            if value and loss is not None:
                loss = None if move is None else loss - value * move
        if loss is not None:
            found.append(loss)
    return found


def parametric(losses, confidence_bps, quantile=NORMAL.inv_cdf):
    """Normal around zero."""
    share = (10_000 - confidence_bps) / 10_000.0
    lanes, whole = [0.0] * 8, len(losses) // 8 * 8
    for second, loss in enumerate(losses[:whole]):
        lanes[second % 8] += loss * loss
    square = 0.0
    for part in (*lanes, *(loss * loss for loss in losses[whole:])):
        square += part
    deviation, z = math.sqrt(square / len(losses)), -quantile(share)
    return deviation * z, deviation * (math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)) / share


def historical(losses, confidence_bps):
    """The first loss that is not in the worst share, and the mean of that share."""
    worst = sorted(losses, reverse=True)
    whole, rest = divmod(len(losses) * (10_000 - confidence_bps), 10_000)
    total = 0.0
    for loss in worst[:whole]:
        total += loss
    total += worst[whole] * (rest / 10_000.0)
    return worst[whole], total / ((whole * 10_000 + rest) / 10_000.0)


def could_lose(window, rows, index, side, qty, limits):
    """Twice what the account could lose with the order, and on average in the worst cases.

    rows : as for `others` of the order checks
    """
    longs, shorts, net = [], [], []
    for number, row in enumerate(rows):
        long, short = max(row["lots"], 0) + row["buys"], max(-row["lots"], 0) + row["sells"]
        if number == index:
            long, short = long + max(side, 0) * qty, short + max(-side, 0) * qty
        price = worth_twice(row)
        longs.append(float(valued(long, price, row["value_e8"])))
        shorts.append(float(valued(short, price, row["value_e8"])))
        net.append(longs[-1] if long >= short else -shorts[-1])
    held = [net]
    if any(longs) and any(shorts):
        held += [longs, [-short for short in shorts]]
    worst = [0, 0]
    for values in held:
        losses = losses_of(window, values)
        if len(losses) < ENOUGH:
            found = [min(sum(map(abs, values)), float(MOST_MONEY))] * 2
        else:
            confidence, root = limits["var_confidence_bps"], math.sqrt(limits["var_horizon_s"])
            ways = parametric(losses, confidence), historical(losses, confidence)
            found = [math.ceil(min(max(*both, 0.0) * root, MOST_MONEY)) for both in zip(*ways, strict=True)]
        worst = [max(old, int(new)) for old, new in zip(worst, found, strict=True)]
    return worst


def tail_check(worst, equity, limits):
    """The code that `check_tail` has to return."""
    equity = max(min(equity, limits["capital_e8"], MOST_MONEY), 0)
    for amount, bps, code in zip(
        worst, (limits["var_bps"], limits["shortfall_bps"]), (VALUE_AT_RISK, SHORTFALL), strict=True
    ):
        if amount * 10_000 > equity * 2 * bps:
            return code
    return 0
