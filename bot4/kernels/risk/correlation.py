"""Correlation of the instruments' moves, exponentially weighted, and what a new position adds to those that are open.

Once a second the mids of whole, fresh books are compared with those of the second before. A pair learns from seconds in
which both have moved from one fresh mid to another, so a book that stands still because it is stale makes nothing look
unrelated. Moves count from zero, not from their mean: over seconds the mean is noise (RiskMetrics, 1996, 5.2). A pair
with fewer than ENOUGH shared seconds, or of which one never moved, is unknown, and unknown counts as the same thing.

All in event time; a restart knows what the journal holds, that is all but what came when it was nearly full.
Budget: 1 ns a pair and second.
"""

import math
from typing import NamedTuple

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.risk.position import may_buy, may_sell

ENOUGH = 100  # samples: the error of a correlation of 0.7 is then 0.05
WINDOW = 1_024  # seconds of which each move is kept, for `tail`
SAME = 10_000  # correlation 1, in 1/10,000


class Moves(NamedTuple):
    """What is known of the moves of n instruments."""

    mids: np.ndarray  # float64[n], twice the mid in ticks, of the second in hand
    fresh: np.ndarray  # int64[n], 1: that mid is one
    before: np.ndarray  # float64[n], the same of the second before; 0.0: there was none
    moves: np.ndarray  # float64[n], scratch: relative, from the one to the other
    moved: np.ndarray  # int64[n], scratch: 1: both are there
    covariance: np.ndarray  # float64[n, n]
    variance: np.ndarray  # float64[n, n], [i, j]: of i, over the seconds shared with j
    shared: np.ndarray  # int64[n, n]
    window: np.ndarray  # float64[n, WINDOW], the moves of the last seconds, round and round; NaN: none in that second
    seconds: np.ndarray  # int64[1], how many there were


def moves_memory(n: int) -> Moves:
    """Nothing known yet of `n` instruments."""
    square = (n, n)
    return Moves(
        np.zeros(n), np.zeros(n, np.int64), np.zeros(n), np.zeros(n), np.zeros(n, np.int64),
        np.zeros(square), np.zeros(square), np.zeros(square, np.int64), np.full((n, WINDOW), np.nan),
        np.zeros(1, np.int64),
    )  # fmt: skip


@kernel
def note_moves(known, decay, seconds):
    """Learn from the second in hand (`mids`, `fresh`), which then is the one before.

    What moved in several seconds, since nothing came between, counts as the move of one that adds up to as much risk:
    divided by the root of their number.

    Parameters
    ----------
    known : Moves, changed
    decay : float64 in 0 .. 1, weight of a second against the next one
    seconds : int64 >= 1, since the one before

    Notes
    -----
    Complexity: O(n**2). Twin: tests/reference/kernels/risk/correlation.py
    """
    n = len(known.mids)
    root = math.sqrt(float(seconds))
    place = known.seconds[0] % known.window.shape[1]
    known.seconds[0] += 1
    for i in range(n):
        known.moved[i] = 1 if known.fresh[i] != 0 and known.before[i] > 0.0 else 0
        known.moves[i] = (known.mids[i] / known.before[i] - 1.0) / root if known.moved[i] != 0 else 0.0
        known.before[i] = known.mids[i] if known.fresh[i] != 0 else 0.0
        known.window[i, place] = known.moves[i] if known.moved[i] != 0 else math.nan
    for i in range(n):
        if known.moved[i] == 0:
            continue
        for j in range(n):
            if i == j or known.moved[j] == 0:
                continue
            cross, own = known.moves[i] * known.moves[j], known.moves[i] * known.moves[i]
            known.covariance[i, j] = decay * known.covariance[i, j] + (1.0 - decay) * cross
            known.variance[i, j] = decay * known.variance[i, j] + (1.0 - decay) * own
            known.shared[i, j] += 1


@inlined
def correlation(known, i, j):
    """Of the moves of two instruments, -1.0 .. 1.0; NaN: unknown."""
    product = known.variance[i, j] * known.variance[j, i]
    if known.shared[i, j] < ENOUGH or not product > 0.0:
        return math.nan
    return min(max(known.covariance[i, j] / math.sqrt(product), -1.0), 1.0)


@kernel
def correlation_bps(known, views, exposed, index, side):
    """The largest correlation of an order's side with any other position, open orders included, in 1/10,000.

    Parameters
    ----------
    known : Moves
    views : RISK_VIEW[n]
    exposed : int64[1 + n], which instruments may hold something, see `portfolio.find_exposed`
    index : int64, the order's instrument
    side : int64, +1 or -1 of the order

    Returns
    -------
    int64, -10,000 .. 10,000, rounded up; -10,000 if nothing else is open, 10,000 for an unknown one

    Notes
    -----
    Complexity: O(exposed). Twin: tests/reference/kernels/risk/correlation.py
    """
    worst = np.int64(-SAME)
    for at in range(1, exposed[0] + 1):
        other = exposed[at]
        view = views[other]
        long = view["position_lots"] > 0 or may_buy(view) > 0
        short = view["position_lots"] < 0 or may_sell(view) > 0
        if other == index or not (long or short):
            continue
        value = correlation(known, index, other)
        if math.isnan(value):
            return np.int64(SAME)
        if long:
            worst = max(worst, np.int64(math.ceil(side * value * SAME)))
        if short:
            worst = max(worst, np.int64(math.ceil(-side * value * SAME)))
    return worst
