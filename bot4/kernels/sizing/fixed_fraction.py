"""Size of an entry: a fixed share of equity, never more than the position limit, in whole lots.

The first and plainest method; it knows neither edge nor volatility. A spot purchase also has to pay its fee out of the
share.
"""

from bot4.jit import inlined
from bot4.kernels.risk.share import SMALL, share_floor


@inlined
def fixed_fraction_lots(price_ticks, fraction_bps, equity_e8, instrument, limits):
    """Lots to buy or sell, 0 if not even one fits.

    Parameters
    ----------
    price_ticks : int64 > 0, the order's price
    fraction_bps : int64, share of equity; capped by the limit
    equity_e8 : int64
    instrument : INSTRUMENT
    limits : LIMITS

    Notes
    -----
    Complexity: O(1), one division, two on spot, one more for large numbers. Invariant: lots * price * value is at most
    the smaller of fraction and limit of equity, or of the capital at stake if that is less. Bound: every product is
    below 2**62. Twin: tests/reference/kernels/sizing.py
    """
    value_e8 = instrument["value_e8"]
    if price_ticks <= 0 or value_e8 <= 0:
        return 0
    budget_e8 = share_floor(min(equity_e8, limits["capital_e8"]), min(fraction_bps, limits["position_bps"]))
    if instrument["is_spot"] and instrument["taker_fee_ppm"] > 0:
        whole = budget_e8 // (1_000_000 + instrument["taker_fee_ppm"])
        budget_e8 = whole * 1_000_000
    if value_e8 < SMALL and price_ticks < SMALL:
        return budget_e8 // (value_e8 * price_ticks)
    return budget_e8 // value_e8 // price_ticks
