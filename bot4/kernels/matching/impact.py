"""What our own taking does to the prices that we take at: the recording cannot react to it, so a model does.

    before   what earlier orders have left behind moves the whole book away from us: it is added to each level, and what
             rests meets the market only at prices moved so
    own      an order moves the price while it takes: it pays the worse of what it finds on its way through the book and
             of the best price moved by the model, on average over the lots of each fill. So what is the same cost in
             the book and in the model counts once, and parts cost what the whole does

Never in our favour: a price that our own buying has raised is no price to sell at. Fills of what rests move nothing.
Moves are rounded against us to whole ticks, and a price moves by half of itself at most.
Source: `kernels/impact`. Twin: tests/reference/kernels/matching.py
"""

import math

import numpy as np

from bot4.jit import kernel
from bot4.kernels.impact import (
    FLOW_S,
    decayed_flow,
    flow_share,
    impact_share,
    mean_flow_share,
    permanent_move,
    temporary_move,
)
from bot4.model.impact import IMPACT_ALMGREN_CHRISS, IMPACT_LINEAR, IMPACT_NONE, IMPACT_SQUARE_ROOT

_NS = 1e-9


@kernel
def impact_passes(impact, now_ns):
    """Time goes by: a flow is forgotten, an interval ends.

    Parameters
    ----------
    impact : IMPACT record, changed
    now_ns : int64, not before `at_ns`

    Notes
    -----
    Complexity: O(1). Twin: tests/reference/kernels/matching.py
    """
    if impact["model"] == IMPACT_SQUARE_ROOT:
        impact["flow"] = decayed_flow(impact["flow"], (now_ns - impact["at_ns"]) * _NS, FLOW_S)
    elif impact["model"] == IMPACT_ALMGREN_CHRISS:
        length = np.int64(impact["tau"] * 1e9)
        if now_ns // length != impact["at_ns"] // length:
            impact["flow"] += impact["part"]
            impact["part"] = 0.0
    impact["at_ns"] = now_ns


@kernel
def impact_taken(impact, side, qty_lots):
    """So much has been taken; `impact_passes` of now was before."""
    if impact["model"] == IMPACT_ALMGREN_CHRISS:
        impact["part"] += side * qty_lots
    elif impact["model"] != IMPACT_NONE:
        impact["flow"] += side * qty_lots


@kernel
def _bounded(ticks, price_ticks):
    """A move in whole ticks, rounded up, by half of the price at most."""
    return np.int64(min(math.ceil(ticks), price_ticks >> 1))


@kernel
def impact_before(impact, side, best_ticks):
    """By how many ticks the market stands off for an order of that side before it takes anything, >= 0."""
    flow = max(0.0, side * impact["flow"])
    if flow == 0.0:
        return np.int64(0)
    if impact["model"] == IMPACT_ALMGREN_CHRISS:
        return _bounded(permanent_move(impact, flow), best_ticks)
    if impact["model"] == IMPACT_LINEAR:
        share = impact_share(IMPACT_LINEAR, flow, impact["daily_lots"], impact["coefficient"])
    else:
        share = flow_share(flow, impact["daily_lots"], impact["coefficient"])
    return _bounded(best_ticks * share, best_ticks)


@kernel
def impact_paid(impact, side, best_ticks, price_ticks, before_ticks, flow, part, done_lots, qty_lots):
    """What an order pays for its lots from `done_lots` on, so many of them.

    Parameters
    ----------
    impact : IMPACT record, has a model
    side : int64, of the order
    best_ticks, price_ticks : int64 > 0, best price against the order when it came, and that of the level it takes from
    before_ticks : int64, `impact_before` when it came
    flow, part : float64, fields of the record when it came
    done_lots, qty_lots : int64, taken before by the same order; taken now, > 0

    Notes
    -----
    Complexity: O(1). Twin: tests/reference/kernels/matching.py
    """
    begin = np.float64(done_lots)
    end = begin + qty_lots
    flow = max(0.0, side * flow)
    if impact["model"] == IMPACT_ALMGREN_CHRISS:
        inside = 2.0 * max(0.0, side * part)
        # the mean of a move that grows with the quantity: that of both ends together is twice its linear part
        ticks = permanent_move(impact, flow) + temporary_move(impact, inside + begin + end)
    elif impact["model"] == IMPACT_LINEAR:
        middle = flow + 0.5 * (begin + end)
        ticks = best_ticks * impact_share(IMPACT_LINEAR, middle, impact["daily_lots"], impact["coefficient"])
    else:
        share = mean_flow_share(flow + begin, flow + end, impact["daily_lots"], impact["coefficient"])
        ticks = best_ticks * share
    walked = price_ticks + side * min(before_ticks, price_ticks >> 1)
    moved = best_ticks + side * _bounded(ticks, best_ticks)
    return max(walked, moved) if side > 0 else min(walked, moved)
