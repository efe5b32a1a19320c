"""How often an instrument may open risk: a pause between two openings, and a token bucket.

The bucket is a GCRA: one time instead of a count and a time. `bucket_ns` is when the next order would come at the
steady rate; an order may be early by (tokens - 1) refill times. Event time drives it, so a replay decides alike.
"""

from bot4.jit import inlined
from bot4.model.enums import OK, RISK_COOL_DOWN, RISK_RATE


@inlined
def check_cool_down(now_ns, view, limits):
    """RISK_COOL_DOWN if the last opening order was less than the pause ago (or lies in the future)."""
    last_ns = view["last_open_ns"]
    if last_ns > 0 and now_ns - last_ns < limits["cool_down_ns"]:
        return RISK_COOL_DOWN
    return OK


@inlined
def check_rate(now_ns, view, limits):
    """RISK_RATE if the bucket holds no token.

    Notes
    -----
    early <= (tokens - 1) * refill, compared as ceil(early / refill) <= tokens - 1: no product. A bucket without tokens
    or without a refill time lets nothing through.
    """
    refill_ns = limits["bucket_refill_ns"]
    tokens = limits["bucket_tokens"]
    if refill_ns <= 0 or tokens <= 0:
        return RISK_RATE
    early_ns = view["bucket_ns"] - now_ns
    if early_ns > 0 and -(-early_ns // refill_ns) > tokens - 1:
        return RISK_RATE
    return OK


@inlined
def take_token(now_ns, view, limits):
    """Move the bucket on by one order."""
    view["bucket_ns"] = max(view["bucket_ns"], now_ns) + limits["bucket_refill_ns"]
