"""How an order is spread over venues that trade the same thing: by price, by fee, or level by level over all of them.

All venues here share one tick, one lot and one side of a book each, best level first. What a level costs is its price
with the taker's fee of its venue, so the best price is not always the cheapest. Level by level the cheapest next lot is
taken wherever it lies, which no other split of the same quantity beats; a venue is trusted with that share of what it
shows that is likely to be there still when an order arrives, so a slow or thin one gets less. No clock, no float: a
price and a fee in parts per million make an integer below 2**61.
"""

import numpy as np

from bot4.jit import inlined, kernel

PPM = 1_000_000
BARRED = -1  # in `at`: the venue gets nothing


@inlined
def net_price(side, price_ticks, fee_ppm):
    """What a lot costs (bought) or brings (sold) with its fee, in ticks / 1e6. price below 2**40, fee below 2**20."""
    return price_ticks * (PPM + side * fee_ppm)


@inlined
def likely_lots(shown_lots, trust_ppm):
    """Of what is shown, the lots that are counted on; rounded down. Both below 2**40 and PPM."""
    whole = shown_lots // PPM
    return whole * trust_ppm + (shown_lots - whole * PPM) * trust_ppm // PPM


@inlined
def _is_within(side, price_ticks, limit_ticks):
    return price_ticks > 0 and side * (limit_ticks - price_ticks) >= 0


@inlined
def _cheapest(side, limit_ticks, prices, shown, fee_ppm, at):
    """Venue whose next level is the cheapest within the limit, the first of equals; -1: there is none."""
    best = np.int64(-1)
    best_net = np.int64(0)
    for venue in range(len(at)):
        level = at[venue]
        if level == BARRED or level >= prices.shape[1] or shown[venue, level] <= 0:
            continue
        price = prices[venue, level]
        if not _is_within(side, price, limit_ticks):
            continue
        net = side * net_price(side, price, fee_ppm[venue])
        if best < 0 or net < best_net:
            best = np.int64(venue)
            best_net = net
    return best


@kernel
def route_smart(side, lots, limit_ticks, prices, shown, fee_ppm, trust_ppm, least_lots, at, out):
    """Spread a taking order over the levels of all venues, the cheapest first. Returns the lots that have a place.

    Parameters
    ----------
    side : int64, +1 buy, -1 sell
    lots, limit_ticks : int64 > 0; nothing beyond the limit price
    prices, shown : int64[venues, levels], ticks and lots of the side that would be met, best first; 0 lots: no more
    fee_ppm : int64[venues], the taker's, negative where the venue pays
    trust_ppm : int64[venues], 0 to 1,000,000
    least_lots : int64[venues], a smaller part is not sent there
    at : int64[venues], scratch
    out : int64[venues], written: lots of each venue

    Notes
    -----
    A venue whose part would be below its least is left out, the smallest part first, and the rest is spread anew.
    Complexity: O(venues**2 * levels * venues). Invariant: sum(out) = the result <= lots, no part above what is trusted.
    Twin: tests/reference/kernels/route.py
    """
    at[:] = 0
    for _ in range(len(at) + 1):
        left = lots
        for venue in range(len(at)):
            out[venue] = 0
            at[venue] = BARRED if at[venue] == BARRED else 0
        while left > 0:
            venue = _cheapest(side, limit_ticks, prices, shown, fee_ppm, at)
            if venue < 0:
                break
            part = min(left, likely_lots(shown[venue, at[venue]], trust_ppm[venue]))
            out[venue] += part
            left -= part
            at[venue] += 1
        worst = np.int64(-1)
        for venue in range(len(at)):
            if 0 < out[venue] < least_lots[venue] and (worst < 0 or out[venue] < out[worst]):
                worst = np.int64(venue)
        if worst < 0:
            return lots - left
        at[worst] = BARRED
    return np.int64(0)


@kernel
def route_one(by_fee, side, lots, limit_ticks, prices, shown, fee_ppm, trust_ppm, least_lots, out):
    """The whole order to one venue: the lowest fee if `by_fee`, else the best price with the fee. Returns its lots.

    Parameters
    ----------
    by_fee : bool
    side .. out : as for `route_smart`

    Notes
    -----
    Who can take all of it within the limit goes before who cannot, then whoever takes more; the best price is that of
    the last lot it would take, with the fee. The first of equals.
    Complexity: O(venues * levels). Twin: tests/reference/kernels/route.py
    """
    best = np.int64(-1)
    best_lots = best_net = np.int64(0)
    for venue in range(len(fee_ppm)):
        out[venue] = 0
        taken = np.int64(0)
        last = np.int64(0)
        for level in range(prices.shape[1]):
            price = prices[venue, level]
            if taken == lots or shown[venue, level] <= 0 or not _is_within(side, price, limit_ticks):
                break
            part = min(lots - taken, likely_lots(shown[venue, level], trust_ppm[venue]))
            taken += part
            last = price if part > 0 else last
        if taken == 0 or taken < least_lots[venue]:
            continue
        net = fee_ppm[venue] if by_fee else side * net_price(side, last, fee_ppm[venue])
        if best < 0 or taken > best_lots or (taken == best_lots and net < best_net):
            best = np.int64(venue)
            best_lots = taken
            best_net = net
    if best >= 0:
        out[best] = best_lots
    return best_lots
