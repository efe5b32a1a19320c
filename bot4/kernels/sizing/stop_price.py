"""Where an entry's ends go: the stop and the take-profit, so many average true ranges away."""

import math

from bot4.jit import inlined
from bot4.kernels.risk.view import MAX_PRICE_TICKS


@inlined
def stop_price_ticks(side, price_ticks, atr_ticks, atr_multiple, min_bps):
    """Trigger price of the stop, rounded away from the price; 0 if there is none.

    Parameters
    ----------
    side : int64, +1 or -1 of the entry
    price_ticks : int64 > 0, the entry's price
    atr_ticks : float64 >= 0
    atr_multiple, min_bps : float64

    Notes
    -----
    Complexity: O(1). Invariant: a buy's stop is below its price, a sell's above, by at least both distances. Errors: 0
    (then risk says RISK_STOP_MISSING) if the distance is 0, not a number or leads out of range. Twin:
    tests/reference/kernels/sizing.py
    """
    distance = max(atr_ticks * atr_multiple, price_ticks * min_bps / 10_000.0)
    if not 0.0 < distance < MAX_PRICE_TICKS:
        return 0
    stop = price_ticks - side * int(math.ceil(distance))
    return stop if 0 < stop <= MAX_PRICE_TICKS else 0


@inlined
def profit_price_ticks(side, price_ticks, atr_ticks, atr_multiple):
    """Price of the take-profit, rounded away from the entry's; 0 if there is none.

    Parameters
    ----------
    side, price_ticks, atr_ticks : as for `stop_price_ticks`
    atr_multiple : float64, 0: no take-profit

    Notes
    -----
    Complexity: O(1). Invariant: a buy's is above its price, a sell's below. Errors: 0 if the distance is 0, not a
    number or leads out of range: the position then has its stop alone. Twin: tests/reference/kernels/sizing.py
    """
    distance = atr_ticks * atr_multiple
    if not 0.0 < distance < MAX_PRICE_TICKS:
        return 0
    price = price_ticks + side * int(math.ceil(distance))
    return price if 0 < price <= MAX_PRICE_TICKS else 0
