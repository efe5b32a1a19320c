"""Where in a queue quantity goes off that nobody traded: models for a book that shows levels and no orders.

When a level gets smaller and no trade says why, somebody has cancelled, ahead of an order of ours or behind it. A model
tells the share behind it; what is left of the decrease was ahead, and our order comes forward by that much.

    risk-averse    everything behind, as long as anything is there
    power          f(behind) / (f(behind) + f(ahead)) of it, f(x) = x ** n
    log            the same with f(x) = log(1 + x)

A share is an estimate and the one number here that is no integer; it is rounded against our order to whole lots.
Source: hftbacktest's RiskAdverseQueueModel, PowerProbQueueFunc and LogProbQueueFunc, after R. Rigtorp, "Estimating
order queue position", 2013. Twin: tests/reference/kernels/queue_model.py
"""

import math

import numpy as np

from bot4.jit import kernel
from bot4.model.queue import QUEUE_POWER, QUEUE_RISK_AVERSE


@kernel
def lost_behind(model, exponent, unit, ahead, behind, lost):
    """Lots of a decrease that go off behind an order; the others go off ahead of it.

    Parameters
    ----------
    model : int64, QUEUE_*
    exponent : float64 > 0, of QUEUE_POWER
    unit : float64 > 0, quantity of a lot: log(1 + x) depends on what x is counted in
    ahead, behind : int64 >= 0, lots of others around the order before the decrease
    lost : int64, 0 <= lost <= ahead + behind

    Returns
    -------
    int64 : at most `behind`, at least `lost - ahead`

    Notes
    -----
    Complexity: O(1).
    """
    if model == QUEUE_RISK_AVERSE:
        return min(behind, lost)
    if behind == 0 or ahead == 0:
        share = np.float64(1.0 if ahead == 0 else 0.0)
    elif model == QUEUE_POWER:  # f(behind) / (f(behind) + f(ahead)), without a power that could be too large
        share = 1.0 / (1.0 + (ahead / behind) ** exponent)
    else:
        ours = math.log1p(behind * unit)
        share = ours / (ours + math.log1p(ahead * unit))
    off = np.int64(math.ceil(share * lost))
    return max(min(off, behind), lost - ahead)
