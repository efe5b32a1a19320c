"""How trading moves the price: what stays of it, what passes, and how to trade if it does.

Three models. Linear and square root say by what share of itself the price moves for a quantity, measured in days of
turnover (ADV, average daily volume). Almgren and Chriss say it in money per unit: a quantity n sold within tau moves
the price for good by gamma * n, and its own price besides by epsilon + eta * n / tau, which is gone afterwards.

For those who take from a market that does not react by itself, and for plans; floats, since they steer prices and are
none.
"""

import math

import numpy as np

from bot4.jit import kernel
from bot4.model.impact import IMPACT_SQUARE_ROOT

FLOW_S = 600.0  # after which a share of 1 / e of a flow still moves the price

# What an execution is reckoned with, in one unit of quantity, of money and of time (a day, say).
SCHEDULE = np.dtype(
    [
        ("quantity", "f8"),  # to be sold, > 0
        ("tau", "f8"),  # length of an interval, > 0
        ("sigma", "f8"),  # of the price in a square root of time, >= 0
        ("epsilon", "f8"),  # fixed cost of a unit: half the spread and fees, >= 0
        ("gamma", "f8"),  # permanent: price a unit, >= 0
        ("eta", "f8"),  # temporary: price by rate of trading; eta > gamma * tau / 2
        ("risk_aversion", "f8"),  # lambda, by money, >= 0
    ]
)


@kernel
def impact_share(model, quantity, daily_quantity, coefficient):
    """Share of the price by which a quantity moves it; IMPACT_LINEAR or IMPACT_SQUARE_ROOT.

    Parameters
    ----------
    model : int64
    quantity : float64 >= 0
    daily_quantity : float64 > 0, turnover of a day in the same unit (ADV)
    coefficient : float64 >= 0, the share for a whole day's turnover

    Notes
    -----
    Complexity: O(1). Source: coefficient * V / ADV; coefficient * sqrt(V / ADV), the square-root law.
    Twin: tests/reference/kernels/impact.py
    """
    days = quantity / daily_quantity
    return coefficient * (math.sqrt(days) if model == IMPACT_SQUARE_ROOT else days)


@kernel
def flow_share(flow, daily_quantity, coefficient):
    """By what signed share the price stands off where `flow` has been bought (below zero: sold) of late.

    Parameters
    ----------
    flow : float64, signed quantity, what is older counts less (`decayed_flow`)
    daily_quantity, coefficient : as for `impact_share`

    Notes
    -----
    The square-root law of one order, read as a law of the flow: in parts or at once the same quantity moves the price
    by the same, there and back by nothing, and so nobody is paid for the way he cuts his order. Complexity: O(1).
    Source: Bouchaud and others, Trades, Quotes and Prices (2018), 13.2. Twin: tests/reference/kernels/impact.py
    """
    share = impact_share(IMPACT_SQUARE_ROOT, abs(flow), daily_quantity, coefficient)
    return share if flow >= 0.0 else -share


@kernel
def mean_flow_share(begin, end, daily_quantity, coefficient):
    """The mean of `flow_share` while the flow grows from `begin` to `end`, 0 <= begin < end.

    Notes
    -----
    Complexity: O(1). The integral of a root, (2 / 3) * (end ** 1.5 - begin ** 1.5), without the difference of powers.
    Twin: tests/reference/kernels/impact.py
    """
    first, last = math.sqrt(begin), math.sqrt(end)
    mean = 2.0 / 3.0 * (begin + first * last + end) / (first + last)
    return coefficient * mean / math.sqrt(daily_quantity)


@kernel
def decayed_flow(flow, seconds, decay_s):
    """What a flow counts so many seconds later: a share of 1 / e of it after `decay_s`.

    Notes
    -----
    Complexity: O(1). Twin: tests/reference/kernels/impact.py
    """
    return flow * math.exp(-seconds / decay_s)


@kernel
def permanent_move(schedule, quantity):
    """By how much the price has fallen for good once so much has been sold. Source: Almgren, Chriss 2000, (7)."""
    return schedule["gamma"] * quantity


@kernel
def temporary_move(schedule, quantity):
    """By how much what is sold within one interval is sold worse, and nothing after it. Source: the same, (8)."""
    return schedule["epsilon"] + schedule["eta"] * quantity / schedule["tau"] if quantity > 0.0 else 0.0


@kernel
def urgency(schedule):
    """kappa, by time: how fast the best plan gives up its holdings; 0: at a constant rate.

    Notes
    -----
    Source: the same, (16) to (20): 2 / tau^2 * (cosh(kappa * tau) - 1) = lambda * sigma^2 / (eta - gamma * tau / 2);
    acosh(1 + x) by log1p, which is exact for small x.
    """
    eta = schedule["eta"] - 0.5 * schedule["gamma"] * schedule["tau"]
    bend = 0.5 * schedule["tau"] ** 2 * schedule["risk_aversion"] * schedule["sigma"] ** 2 / eta
    return math.log1p(bend + math.sqrt(bend) * math.sqrt(bend + 2.0)) / schedule["tau"]


@kernel
def best_trajectory(schedule, out):
    """What is still held at the end of each interval by the plan of least cost plus lambda times its variance.

    Parameters
    ----------
    schedule : SCHEDULE record
    out : float64[N + 1], is written: out[0] is the quantity, out[N] zero; N >= 1 intervals

    Notes
    -----
    Complexity: O(N). Source: the same, (17): sinh(kappa * (T - t)) / sinh(kappa * T), written in powers of e below 1,
    so that nothing overflows. Twin: tests/reference/kernels/impact.py
    """
    n = len(out) - 1
    kappa = urgency(schedule)
    whole = kappa * schedule["tau"] * n
    for j in range(n + 1):
        rest = kappa * schedule["tau"] * (n - j)
        if whole > 0.0:
            share = math.exp(rest - whole) * math.expm1(-2.0 * rest) / math.expm1(-2.0 * whole)
        else:
            share = (n - j) / n
        out[j] = schedule["quantity"] * share


@kernel
def expected_cost(schedule, trajectory):
    """What selling by a plan costs on average against the price at its beginning.

    Parameters
    ----------
    schedule : SCHEDULE record
    trajectory : float64[N + 1], what is held at the end of each interval, from the quantity to zero

    Notes
    -----
    Complexity: O(N). Source: the same, (14): gamma * X^2 / 2 + epsilon * sum |n| + (eta - gamma * tau / 2) / tau *
    sum n^2. Twin: tests/reference/kernels/impact.py
    """
    eta = schedule["eta"] - 0.5 * schedule["gamma"] * schedule["tau"]
    sold = 0.0
    squares = 0.0
    for j in range(1, len(trajectory)):
        part = trajectory[j - 1] - trajectory[j]
        sold += abs(part)
        squares += part * part
    quantity = schedule["quantity"]
    return 0.5 * schedule["gamma"] * quantity * quantity + schedule["epsilon"] * sold + eta / schedule["tau"] * squares
