"""How often risk may be opened: a pause between two openings of an instrument, token buckets, and an end to repeating.

A bucket is a GCRA: one time instead of a count and a time. `bucket_ns` is when the next order would come at the steady
rate; an order may be early by (tokens - 1) refill times. Event time drives it, so a replay decides alike.

Opening orders take a token of their instrument's bucket, of their shard's and of that of all shards, so no shard that
floods takes the rate of another one's instruments alone. Whatever goes to the venue takes a token of the message
bucket; opening orders leave the smaller half of it to exits, stops, cancels and questions, which always pass.

A strategy that always signals ends by itself (RTS 6, article 15(3)): so many orders of one side of an instrument in a
row, each soon after the one before, and the next one sets the kill switch, which only a person resets. Exits count too;
of a position that a shard cannot get out of in so many orders execution makes the market close itself.
"""

from bot4.jit import inlined
from bot4.model.enums import (
    OK,
    RISK_COOL_DOWN,
    RISK_MESSAGE_RATE,
    RISK_ORDER_RATE,
    RISK_RATE,
    RISK_REPEAT,
    RISK_SHARD_RATE,
)


@inlined
def check_cool_down(now_ns, view, limits):
    """RISK_COOL_DOWN if the last opening order was less than the pause ago (or lies in the future)."""
    last_ns = view["last_open_ns"]
    if last_ns > 0 and now_ns - last_ns < limits["cool_down_ns"]:
        return RISK_COOL_DOWN
    return OK


@inlined
def is_empty(bucket_ns, now_ns, tokens, refill_ns):
    """True if the bucket holds no token.

    Notes
    -----
    early <= (tokens - 1) * refill, compared as ceil(early / refill) <= tokens - 1: no product. A bucket without tokens
    or without a refill time lets nothing through.
    """
    if refill_ns <= 0 or tokens <= 0:
        return True
    early_ns = bucket_ns - now_ns
    return early_ns > 0 and -(-early_ns // refill_ns) > tokens - 1


@inlined
def check_rate(now_ns, view, limits):
    """RISK_RATE, RISK_SHARD_RATE, RISK_ORDER_RATE or RISK_MESSAGE_RATE if that bucket holds no token."""
    if is_empty(view["bucket_ns"], now_ns, limits["bucket_tokens"], limits["bucket_refill_ns"]):
        return RISK_RATE
    if is_empty(view["shard_bucket_ns"], now_ns, limits["shard_tokens"], limits["shard_refill_ns"]):
        return RISK_SHARD_RATE
    if is_empty(view["order_bucket_ns"], now_ns, limits["order_tokens"], limits["order_refill_ns"]):
        return RISK_ORDER_RATE
    most = limits["message_tokens"] - limits["message_tokens"] // 2
    if is_empty(view["message_bucket_ns"], now_ns, most, limits["message_refill_ns"]):
        return RISK_MESSAGE_RATE
    return OK


@inlined
def take_token(bucket_ns, now_ns, refill_ns):
    """The bucket after one order more."""
    return max(bucket_ns, now_ns) + refill_ns


@inlined
def check_repeat(order, view, limits):
    """RISK_REPEAT if as many orders of this side have gone out in a row as may."""
    if view["run"] * order["side"] < limits["repeat_orders"]:
        return OK
    return RISK_REPEAT if order["ts_ns"] - view["run_ns"] < limits["repeat_pause_ns"] else OK


@inlined
def note_repeat(order, view, limits):
    """Enter an accepted order, opening or not: one more of the row, or the first of a new one."""
    same = view["run"] * order["side"] > 0 and order["ts_ns"] - view["run_ns"] < limits["repeat_pause_ns"]
    view["run"] = (view["run"] if same else 0) + order["side"]
    view["run_ns"] = order["ts_ns"]
