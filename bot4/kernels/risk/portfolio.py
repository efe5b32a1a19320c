"""Exposure of the whole account at its worst, an order's own instrument included: gross, on one side, at one venue.

Of an instrument the worst case of a side is what is held there and everything pending on that side, as for its own
limit; gross counts the dearer side, since a position cannot be both. What is held on the other side is no hedge: its
stop may go off first. So nothing that fills, ends or is unknown in any order can bring the account over a limit that
held when the last order went out; only prices can. Sums are of twice the value, at twice the mid, so that the half
tick is not lost. An instrument that holds something and has no quote has no bound: then nothing is opened. Where the
quote is old or the book stale, a position counts at the dearer of its cost and the last mid, and its profit is none.

Execution looks for what may be held and sums up the others anew for each intent: nothing to keep, nothing to recover,
2 ns an instrument, and 10 ns for each of those where something may be held.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.risk.position import may_buy, may_sell, worst_lots
from bot4.kernels.risk.share import share_floor, worth
from bot4.kernels.risk.view import MAX_BPS, MAX_MONEY_E8
from bot4.model.enums import OK, RISK_GROSS, RISK_NET, RISK_STRATEGY, RISK_VENUE


@inlined
def is_priced(position, now_ns, quote_age_ns):
    """True if the book is whole and its quote not older than allowed: what the mid says is so."""
    return position["whole"] != 0 and position["bid_ticks"] > 0 and now_ns - position["quote_ts_ns"] <= quote_age_ns


@inlined
def twice_price(position, priced):
    """Twice the price at which what is held or pending there counts; 0 if there is none."""
    if position["bid_ticks"] <= 0:
        return np.int64(0)  # `worth` has no bound without a price
    twice_mid = position["bid_ticks"] + position["ask_ticks"]
    if not priced and position["lots"] != 0:
        average = -(-abs(position["cost_tl"]) // abs(position["lots"]))
        return max(twice_mid, 2 * average)
    return twice_mid


@kernel
def find_exposed(views, index, exposed):
    """Which instruments hold something or may come to, and the one in hand.

    Parameters
    ----------
    views : RISK_VIEW[n]
    index : int64, the instrument in hand, 0 .. n - 1
    exposed : int64[1 + n], changed: how many there are, then which, rising

    Notes
    -----
    Complexity: O(n). Twin: tests/reference/kernels/risk/order_checks.py
    """
    count = np.int64(0)
    for i in range(len(views)):
        view = views[i]
        if view["position_lots"] != 0 or may_buy(view) != 0 or may_sell(view) != 0 or i == index:
            count += 1
            exposed[count] = i
    exposed[0] = count


@kernel
def note_others(views, positions, instruments, exposed, index, now_ns, quote_age_ns):
    """Write into a view what all other instruments may come to, and tell what profit nothing bears out.

    Parameters
    ----------
    views : RISK_VIEW[n], the others_* of `index` are changed
    positions : records [n] with lots, cost_tl, unrealised_e8, bid_ticks, ask_ticks, quote_ts_ns, whole
    instruments : INSTRUMENT[n]
    exposed : int64[1 + n], as `find_exposed` leaves it
    index : int64, 0 .. n - 1
    now_ns, quote_age_ns : int64

    Returns
    -------
    int64, 1e-8 quote currency: open profit, `index` included, at prices that are not live

    Notes
    -----
    Complexity: O(exposed). Bound: sums saturate at MAX_MONEY_E8; average costs are below 2**61.
    Twin: tests/reference/kernels/risk/order_checks.py
    """
    gross = np.int64(0)
    long = np.int64(0)
    short = np.int64(0)
    venue = np.int64(0)
    unproven = np.int64(0)
    for at in range(1, exposed[0] + 1):
        other = exposed[at]
        view = views[other]
        longs = max(view["position_lots"], 0) + may_buy(view)
        shorts = max(-view["position_lots"], 0) + may_sell(view)
        if longs == 0 and shorts == 0:
            continue  # the one in hand
        position = positions[other]
        priced = is_priced(position, now_ns, quote_age_ns)
        if not priced:
            unproven += max(position["unrealised_e8"], 0)
        if other == index:
            continue
        price = twice_price(position, priced)
        value_e8 = instruments[other]["value_e8"]
        worst = worth(max(longs, shorts), price, value_e8)
        gross = min(gross + worst, MAX_MONEY_E8)
        long = min(long + worth(longs, price, value_e8), MAX_MONEY_E8)
        short = min(short + worth(shorts, price, value_e8), MAX_MONEY_E8)
        if instruments[other]["venue"] == instruments[index]["venue"]:
            venue = min(venue + worst, MAX_MONEY_E8)
    mine = views[index]
    mine["others_gross_e8"] = gross
    mine["others_long_e8"] = long
    mine["others_short_e8"] = short
    mine["others_venue_e8"] = venue
    return unproven


@inlined
def check_exposure(order, view, instrument, limits):
    """RISK_GROSS, RISK_STRATEGY, RISK_NET or RISK_VENUE if the account could come to hold more than is allowed.

    An account has one strategy a session, and execution takes no order of another: what is held is that strategy's.

    Notes
    -----
    The caller has made sure of a quote. Sums stay below 2**62. Complexity: O(1).
    """
    side = order["side"]
    twice_mid = view["bid_ticks"] + view["ask_ticks"]
    lots = worst_lots(side, order["qty_lots"], view)
    same = worth(lots, twice_mid, instrument["value_e8"])
    worst = worth(max(lots, worst_lots(-side, 0, view)), twice_mid, instrument["value_e8"])
    equity = min(view["equity_e8"], limits["capital_e8"])
    if view["others_gross_e8"] + worst > share_floor(equity, 2 * min(limits["gross_bps"], MAX_BPS)):
        return RISK_GROSS
    if view["others_gross_e8"] + worst > share_floor(equity, 2 * min(limits["strategy_bps"], MAX_BPS)):
        return RISK_STRATEGY
    side_e8 = view["others_long_e8"] if side > 0 else view["others_short_e8"]
    if side_e8 + same > share_floor(equity, 2 * min(limits["net_bps"], MAX_BPS)):
        return RISK_NET
    if view["others_venue_e8"] + worst > share_floor(equity, 2 * min(limits["venue_bps"], MAX_BPS)):
        return RISK_VENUE
    return OK
