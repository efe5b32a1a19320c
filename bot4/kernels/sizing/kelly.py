"""A quarter of Kelly's share, from how a strategy's own closed positions have ended.

With p the chance to win `win` and 1 - p to lose `loss`, both as shares of what was put in, the account grows fastest
with p / loss - (1 - p) / win of it put in (Kelly, 1956, where win and loss are the whole stake: 2 p - 1). A quarter of
that, for p, win and loss are guesses, and never more than KELLY_CAP_BPS.

p is shrunk: EVIDENCE positions are added that neither earn nor lose anything in the mean. With fewer than EVIDENCE of
its own a strategy has shown nothing.
"""

import math

import numpy as np

from bot4.jit import inlined

EVIDENCE = 30
KELLY_CAP_BPS = 200
NO_EVIDENCE = -1


@inlined
def kelly_share(p, win, loss):
    """Share of the account that grows fastest; below zero where the odds are bad. p : 0 .. 1; win, loss : > 0.

    Notes
    -----
    Twin: tests/reference/kernels/sizing.py
    """
    return p / loss - (1.0 - p) / win


@inlined
def kelly_growth(p, win, loss, share):
    """Mean growth of the account's logarithm a bet if that share is put in; share * loss < 1.

    Notes
    -----
    Twin: tests/reference/kernels/sizing.py
    """
    return p * math.log1p(share * win) + (1.0 - p) * math.log1p(-share * loss)


@inlined
def quarter_kelly_bps(trips, wins, won_ppb, lost_ppb):
    """Share of equity to put in, in basis points rounded down; NO_EVIDENCE where too little is known.

    Parameters
    ----------
    trips, wins : int64 >= 0, closed positions; those that earned something
    won_ppb, lost_ppb : int64 >= 0, what they earned and lost in all, each in 1e-9 of what was put in

    Notes
    -----
    Complexity: O(1). Invariant: 0 .. KELLY_CAP_BPS or NO_EVIDENCE. Twin: tests/reference/kernels/sizing.py
    """
    losses = trips - wins
    if trips < EVIDENCE or losses <= 0 or lost_ppb <= 0:
        return np.int64(NO_EVIDENCE)
    if wins <= 0 or won_ppb <= 0:
        return np.int64(0)
    win = won_ppb / wins * 1e-9
    loss = lost_ppb / losses * 1e-9
    fair = loss / (win + loss)
    p = (wins + EVIDENCE * fair) / (trips + EVIDENCE)
    share = kelly_share(p, win, loss)
    return np.int64(min(max(2_500.0 * share, 0.0), float(KELLY_CAP_BPS)))
