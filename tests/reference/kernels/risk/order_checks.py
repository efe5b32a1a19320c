"""Slow twin of bot4/kernels/risk: every rule as a sentence about fractions of unbounded integers.

Records are dictionaries by field name. Codes are the numbers of the reject table.
"""

from fractions import Fraction
from math import ceil

KILLED, BREAKER, POSITION, NOTIONAL, SIZE, COLLAR, DRAWDOWN, DAILY_LOSS, STOP_MISSING, STOP_SIDE = range(301, 311)
OPEN_ORDERS, COOL_DOWN, RATE, SIZE_ZERO, NO_EQUITY, SHORT_SPOT, BAD_ORDER, MIN_NOTIONAL = range(311, 319)
GROSS, NET, VENUE, STREAK, CORRELATION = range(319, 324)
STRATEGY, NOTHING_TO_REDUCE = 331, 332
SHARD_RATE, ORDER_RATE, MESSAGE_RATE, REPEAT, STOP_FAR, STOP_LOSS, SELF_TRADE = range(324, 331)
STALE, NO_QUOTE = 103, 409
MARKET, LIMIT = 1, 2
GTC, IOC = 1, 2
REDUCE_ONLY, POST_ONLY = 1, 2
TOO_LARGE = 2**40
MOST_MONEY = 2**61
MOST_BPS = 1_000_000


def bad_fields(order, instrument):
    """True if any field is outside its range."""
    reduce_only, post_only = bool(order["flags"] & REDUCE_ONLY), bool(order["flags"] & POST_ONLY)
    least = 1 if reduce_only else max(1, instrument["min_qty_lots"])
    return not (
        order["action"] == 1
        and order["side"] in (1, -1)
        and least <= order["qty_lots"] <= min(instrument["max_qty_lots"], TOO_LARGE - 1)
        and order["ts_ns"] >= 0
        and 0 <= order["stop_ticks"] < TOO_LARGE
        and order["trail_ticks"] >= 0
        and order["even_ticks"] >= 0
        and order["tif"] in (GTC, IOC)
        and order["flags"] in (0, 1, 2, 3)
        and order["leg"] in ((0, 1, 2, 3) if reducing(order) else (0,))
        and (
            (
                order["type"] == LIMIT
                and 0 < order["price_ticks"] < TOO_LARGE
                and not (post_only and order["tif"] == IOC)
            )
            or (order["type"] == MARKET and order["price_ticks"] == 0 and not post_only)
        )
        and (order["aux"] == 0 or good_profit(order, reduce_only))
        and (order["slices"] == order["slice_ds"] == 0 or good_slices(order, reduce_only, least))
    )


def good_slices(order, reduce_only, least):
    """True if an entry at a limit is cut in time, by IOC, or at one price, at rest, into parts that the venue takes."""
    cut = order["slices"] >= 2 and order["type"] == LIMIT and not reduce_only
    return cut and (order["tif"] == IOC) == (order["slice_ds"] > 0) and order["qty_lots"] // order["slices"] >= least


def good_profit(order, reduce_only):
    """True if a take-profit is named by what opens at a limit, and lies where that wins."""
    price, profit = order["price_ticks"], order["aux"]
    beyond = profit > price if order["side"] > 0 else profit < price
    return order["type"] == LIMIT and not reduce_only and 0 < profit < TOO_LARGE and beyond


def worst(order, view):
    """Lots on the order's side if it and all that is pending there and may open fills; the other side may be gone."""
    name = "buy" if order["side"] > 0 else "sell"
    pending = view[f"pending_{name}_lots"] - view[f"exit_{name}_lots"]
    return max(view["position_lots"] * order["side"], 0) + pending + order["qty_lots"]


def reducing(order):
    """True if the venue clips the order at the position."""
    return bool(order["flags"] & REDUCE_ONLY)


def collar(order, view, limits):
    """COLLAR if the limit price is too far from the mid."""
    mid = Fraction(view["bid_ticks"] + view["ask_ticks"], 2)
    far = Fraction(min(limits["collar_bps"], MOST_BPS), 10_000)
    return COLLAR if order["type"] == LIMIT and abs(order["price_ticks"] - mid) > mid * far else 0


def empty(bucket_ns, now, limits, name, tokens=None):
    """True if no token is left in the bucket of that name."""
    tokens = limits[f"{name}_tokens"] if tokens is None else tokens
    refill = limits[f"{name}_refill_ns"]
    return tokens <= 0 or refill <= 0 or bucket_ns - now > (tokens - 1) * refill


def repeated(order, view, limits):
    """REPEAT if as many of this side have gone out in a row as may."""
    in_a_row = view["run"] * order["side"] >= limits["repeat_orders"]
    return REPEAT if in_a_row and order["ts_ns"] - view["run_ns"] < limits["repeat_pause_ns"] else 0


def meets_own(order, view):
    """True if an own order of the other side is at its price or beyond."""
    own = view["own_ask_ticks"] if order["side"] > 0 else view["own_bid_ticks"]
    return own > 0 and (order["type"] == MARKET or order["side"] * order["price_ticks"] >= order["side"] * own)


def stop_loss(order, view, price, lots, instrument, limits):
    """What so many lots lose from `price` to the farthest stop, with fees both ways and slippage, each rounded up."""
    fee = Fraction(max(instrument["taker_fee_ppm"], 0), 10**6)
    stops = [stop for stop in (order["stop_ticks"], view["own_stop_ticks"]) if stop]
    stop, value = min(stops) if order["side"] > 0 else max(stops), instrument["value_e8"]
    there = min(fee, 1) * min(lots * price * value, MOST_MONEY)
    back = min(fee + Fraction(limits["slippage_bps"], 10_000), 1) * min(lots * stop * value, MOST_MONEY)
    return min(lots * abs(price - stop) * value, MOST_MONEY) + ceil(there) + ceil(back)


def loss(mark, equity, bps, capital):
    """True if the loss from `mark` has reached its share of it, or of the capital at stake."""
    return mark > equity and mark - equity >= min(mark, capital, MOST_MONEY) * Fraction(bps, 10_000)


def valued(lots, twice_mid, value_e8):
    """Twice what lots are worth; without a price more than any limit."""
    if lots and (twice_mid <= 0 or value_e8 <= 0):
        return MOST_MONEY
    return min(lots * twice_mid * value_e8, MOST_MONEY)


def worth_twice(row):
    """Twice the price at which an instrument counts: the mid, or more where that is not live and the cost was."""
    twice = row["twice_mid"]
    if twice and not row["live"] and row["lots"]:
        twice = max(twice, 2 * ceil(Fraction(abs(row["cost"]), abs(row["lots"]))))
    return twice


def others(rows, index):
    """What all instruments but one may come to: gross, long, short, and at that one's venue; twice the value.

    rows : by instrument lots, cost, buys, sells (pending), twice_mid, live (the price is), value_e8, venue
    """
    found = dict.fromkeys(("gross", "long", "short", "venue"), 0)
    for number, row in enumerate(rows):
        if number == index:
            continue
        long, short = max(row["lots"], 0) + row["buys"], max(-row["lots"], 0) + row["sells"]
        twice = worth_twice(row)
        worst = valued(max(long, short), twice, row["value_e8"])
        found["gross"] += worst
        found["long"] += valued(long, twice, row["value_e8"])
        found["short"] += valued(short, twice, row["value_e8"])
        found["venue"] += worst if row["venue"] == rows[index]["venue"] else 0
    return {f"others_{name}_e8": min(amount, MOST_MONEY) for name, amount in found.items()}


def unproven(rows):
    """Profit at prices that are not live: it counts for nothing. rows : lots, buys, sells, live, worth"""
    return sum(max(0, row["worth"]) for row in rows if not row["live"] and (row["lots"] or row["buys"] or row["sells"]))


def exposed_of(rows, index):
    """The instruments that hold something or may come to, and that one. rows : lots, buys, sells"""
    return [number for number, row in enumerate(rows) if number == index or row["lots"] or row["buys"] or row["sells"]]


def check(order, view, instrument, limits):
    """The code that `check_order` has to return."""
    if bad_fields(order, instrument):
        return BAD_ORDER
    now, side, qty, price = order["ts_ns"], order["side"], order["qty_lots"], order["price_ticks"]
    bid, ask = view["bid_ticks"], view["ask_ticks"]
    quoted = 0 < bid < ask < TOO_LARGE and now - view["quote_ts_ns"] <= limits["quote_age_ns"]
    crowded = view["open_orders"] >= limits["open_orders"]
    if reducing(order):
        if not (view["position_lots"] * side < 0 and qty <= abs(view["position_lots"])):
            return NOTHING_TO_REDUCE
        if crowded:
            return OPEN_ORDERS
        return (quoted and collar(order, view, limits)) or repeated(order, view, limits)
    for refused, code in (
        (view["killed"], KILLED),
        (view["breaker_open"], BREAKER),
        (view["stale"], STALE),
        (not quoted, NO_QUOTE),
        (view["equity_e8"] <= 0, NO_EQUITY),
        (loss(view["high_water_e8"], view["equity_e8"], limits["drawdown_bps"], limits["capital_e8"]), DRAWDOWN),
        (view["day_shut"], DAILY_LOSS),
        (loss(view["day_start_e8"], view["equity_e8"], limits["daily_loss_bps"], limits["capital_e8"]), DAILY_LOSS),
        (view["streak"], STREAK),
        (crowded, OPEN_ORDERS),
        (view["last_open_ns"] > 0 and now - view["last_open_ns"] < limits["cool_down_ns"], COOL_DOWN),
        (empty(view["bucket_ns"], now, limits, "bucket"), RATE),
        (empty(view["shard_bucket_ns"], now, limits, "shard"), SHARD_RATE),
        (empty(view["order_bucket_ns"], now, limits, "order"), ORDER_RATE),
        (empty(view["message_bucket_ns"], now, limits, "message", ceil(limits["message_tokens"] / 2)), MESSAGE_RATE),
        (instrument["is_spot"] and side < 0 and view["position_lots"] - view["pending_sell_lots"] < qty, SHORT_SPOT),
        (meets_own(order, view), SELF_TRADE),
        (qty > limits["order_lots"], SIZE),
        (order["stop_ticks"] <= 0, STOP_MISSING),
    ):
        if refused:
            return code
    touch = ask if side > 0 else bid
    own = touch if order["type"] == MARKET else price
    edge = (bid if side > 0 else ask) if order["type"] == MARKET else (min(price, bid) if side > 0 else max(price, ask))
    if not side * (edge - order["stop_ticks"]) > 0:
        return STOP_SIDE
    if abs(own - order["stop_ticks"]) > own * Fraction(min(limits["stop_bps"], MOST_BPS), 10_000):
        return STOP_FAR
    if collar(order, view, limits):
        return COLLAR
    dearest = own if side > 0 else max(own, bid)
    if qty * dearest * instrument["value_e8"] > limits["order_notional_e8"]:
        return NOTIONAL
    if qty // (order["slices"] or 1) * own * instrument["value_e8"] < instrument["min_notional_e8"]:
        return MIN_NOTIONAL
    mid = Fraction(bid + ask, 2)
    equity = min(view["equity_e8"], limits["capital_e8"], MOST_MONEY)
    share = equity * Fraction(limits["position_bps"], 10_000)
    if worst(order, view) * mid * instrument["value_e8"] > share:
        return POSITION
    if stop_loss(order, view, own, worst(order, view), instrument, limits) > min(
        equity * limits["stop_loss_bps"] // 10_000, MOST_MONEY
    ):
        return STOP_LOSS
    long = worst(order, view)
    other = worst({**order, "side": -side, "qty_lots": 0}, view)
    own, most = (valued(lots, bid + ask, instrument["value_e8"]) for lots in (long, max(long, other)))
    for amount, bps, code in (
        (view["others_gross_e8"] + most, "gross_bps", GROSS),
        (view["others_gross_e8"] + most, "strategy_bps", STRATEGY),
        (view["others_long_e8" if side > 0 else "others_short_e8"] + own, "net_bps", NET),
        (view["others_venue_e8"] + most, "venue_bps", VENUE),
    ):
        if amount > min(equity * 2 * min(limits[bps], MOST_BPS) // 10_000, MOST_MONEY):
            return code
    if view["correlation_bps"] > limits["correlation_bps"]:
        return CORRELATION
    return repeated(order, view, limits)
