"""Positions in integers: (lots, cost in tick x lot), average-cost accounting, and the account's equity.

A fill is turned into currency once. Averages are never stored: the part of the cost that a reducing fill removes is
floor(|cost| * qty / |lots|), so realised plus what is left always equals the cash that flowed.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.model.units import share_of

_SMALL = 2**31  # the product of two numbers below it fits

PORTFOLIO = np.dtype(
    [
        ("lots", "i8"),
        ("cost_tl", "i8"),
        ("realised_tl", "i8"),
        ("fees_e8", "i8"),
        ("funding_e8", "i8"),
        ("unrealised_e8", "i8"),  # as last added to the account's equity
        ("bid_ticks", "i8"),
        ("ask_ticks", "i8"),
        ("quote_ts_ns", "i8"),
        ("whole", "i8"),  # 1 while the instrument's book is whole
        ("last_event_no", "i8"),  # of the last intent seen: an older one is a repeat
        ("last_trade_id", "i8"),  # of the last fill applied
        ("own_number", "i8"),  # protective orders made so far: part of their ids
        ("stop_ticks", "i8"),  # where the position's protective stop belongs
        ("trail_ticks", "i8"),  # it follows the price at this distance; 0: it stays
        ("even_ticks", "i8"),  # so far beyond the cost it goes to the cost; 0: it does not
        ("profit_ticks", "i8"),  # where its take-profit belongs; 0: there is none
        ("stop_row", "i8"),  # order row of the protective stop, -1: none
        ("flatten_row", "i8"),  # order row of the last market close in flight, -1: none
        ("profit_row", "i8"),  # order row of the take-profit that rests, -1: none
        ("sliced_row", "i8"),  # order row of the entry that is worked in slices, -1: none
        ("naked_since_ns", "i8"),  # event time since which a part of the position has no confirmed stop; 0: covered
        ("trip_e8", "i8"),  # result since the position was last flat: realised, fees, funding
        ("trip_lost", "i8"),  # 1: since then a loss has been counted
        ("retry", "i8"),  # 1: a protective request found no room or must wait, and is due again
        ("doubt_buy_lots", "i8"),  # that orders which open took off a short position; or opened, if one that only ...
        ("doubt_sell_lots", "i8"),  # ... reduces had filled before and is told of later
        ("wait_ns", "i8"),  # after a close that found nothing to reduce at the venue, until the next one; 0: none
        ("wait_until_ns", "i8"),  # nothing protective is placed before
    ]
)

ACCOUNT = np.dtype(
    [
        ("now_ns", "i8"),
        (
            "reached_ns",
            "i8",
        ),  # event time up to which the market was taken: that of the day, and never ahead of a quote
        ("state", "i8"),  # STATE_*
        ("equity_e8", "i8"),
        ("high_water_e8", "i8"),
        ("day_start_e8", "i8"),
        ("day", "i8"),
        ("started", "i8"),  # 1 once the first day has begun
        ("next_grid_ns", "i8"),
        ("next_sample_ns", "i8"),
        ("sampled_s", "i8"),  # second of the last sample; 0: none yet
        ("next_deadline_ns", "i8"),
        ("last_event_seq", "i8"),
        ("open_orders", "i8"),
        ("unknown", "i8"),
        ("asking", "i8"),  # 1 until the last answer to this start's questions is in
        ("breaker_open_until_ns", "i8"),
        ("breaker_count", "i8"),  # failures of the venue since it last opened
        ("breaker_trips", "i8"),  # openings since the venue last worked; 0: closed
        ("breaker_probe_until_ns", "i8"),  # half-open: an order that tries the venue is under way, no other before
        ("killed", "i8"),
        ("alarms", "i8"),
        ("drawdown_ppm", "i8"),
        ("streak", "i8"),  # losses in a row: orders that closed at a loss, and positions that lost by costs alone
        ("streak_until_ns", "i8"),  # nothing is opened before
        ("day_shut_until_ns", "i8"),  # the loss of the day reached its limit: nothing is opened before the next one
        ("folding", "i8"),  # 1 while the journal is being replayed: nothing goes out
        ("epoch", "i8"),
        ("generation", "i8"),  # number of the start whose event numbers are counted
        ("published_shard", "i8"),  # promises as last published
        ("published_venue", "i8"),
        ("order_bucket_ns", "i8"),  # token buckets of all shards' opening orders, and of whatever goes to the venue
        ("message_bucket_ns", "i8"),
        ("message_refill_ns", "i8"),  # of the limits in force
        ("limits_ns", "i8"),  # from then on `next_words` hold; 0: they do already
        ("asked", "i8"),  # the last wish for tighter limits that was looked at
        ("shown", "i8"),  # 1: all positions are in wires.positions, what changes is shown as it changes
    ]
)

STATE_STARTING = 0
STATE_RECOVERING = 1
STATE_ACTIVE = 2
STATE_HALTED = 3


@inlined
def removed_cost(cost_abs, lots_abs, qty):
    """floor(cost_abs * qty / lots_abs) without a product that could wrap; 0 <= qty <= lots_abs, lots_abs > 0.

    Notes
    -----
    Bound: lots below 2**45, cost below 2**62. Twin: tests/reference/engine/portfolio.py
    """
    average = cost_abs // lots_abs
    rest = cost_abs - average * lots_abs
    share = (rest * qty) // lots_abs if lots_abs < _SMALL else share_of(rest, qty, lots_abs)
    return average * qty + share


@kernel
def apply_fill(position, side, price_ticks, qty_lots):
    """Move a position by one fill: closes first, then opens; average cost.

    Parameters
    ----------
    position : PORTFOLIO record, changed (lots, cost_tl, realised_tl)
    side : +1 bought, -1 sold
    price_ticks, qty_lots : int64 > 0

    Returns
    -------
    int64, realised profit in tick x lot

    Notes
    -----
    Invariant: cost_tl + cash flow of all fills in tick x lot = realised_tl.
    Twin: tests/reference/engine/portfolio.py
    """
    lots = position["lots"]
    realised = np.int64(0)
    left = qty_lots
    if lots != 0 and (lots > 0) != (side > 0):
        held = abs(lots)
        closing = min(held, left)
        sign = np.int64(1) if lots > 0 else np.int64(-1)
        removed = removed_cost(abs(position["cost_tl"]), held, closing)
        realised = sign * (price_ticks * closing - removed)
        position["cost_tl"] -= sign * removed
        position["lots"] = lots - sign * closing
        position["realised_tl"] += realised
        left -= closing
    if left > 0:
        position["lots"] += side * left
        position["cost_tl"] += side * left * price_ticks
    return realised


@inlined
def is_breaker_open(account):
    """1 while nothing is opened because of failures of the venue, or because one order is trying it."""
    until_ns = account["breaker_open_until_ns"]
    if account["breaker_trips"] > 0:
        until_ns = max(until_ns, account["breaker_probe_until_ns"])
    return 1 if account["now_ns"] < until_ns else 0


@inlined
def unrealised_e8(position, value_e8):
    """Open profit at the mid price, rounded down; without a quote a loss stays what it was and a profit is none."""
    if position["lots"] == 0:
        return np.int64(0)
    if position["bid_ticks"] <= 0:
        return min(position["unrealised_e8"], np.int64(0))
    double = position["lots"] * (position["bid_ticks"] + position["ask_ticks"]) - 2 * position["cost_tl"]
    return (double * value_e8) >> 1
