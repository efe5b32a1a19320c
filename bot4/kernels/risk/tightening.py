"""Which limits may be changed while a session runs, and which way: tighter, never looser.

What has no tighter side (the start of the day, how fast a correlation forgets, the pace at which a bucket fills, on
which what it holds already depends) is set at the start alone. Bounds stand beside those that grow, so that whatever is
written where values are asked for can make no product wrap.
"""

import numpy as np

from bot4.jit import inlined
from bot4.model.records import LIMITS

AT_THE_START = -1
DOWNWARDS = 0
_NS = 1_000_000_000
_UP_TO = {  # tighter the larger, up to
    "cool_down_ns": 86_400 * _NS,
    "breaker_window_ns": 3_600 * _NS,
    "breaker_open_ns": 3_600 * _NS,
    "streak_pause_ns": 604_800 * _NS,
    "repeat_pause_ns": 86_400 * _NS,
    "slippage_bps": 5_000,
    "var_confidence_bps": 9_990,
    "var_horizon_s": 864_000,
}
_START = {
    "day_offset_ns", "correlation_decay_ppb", "bucket_refill_ns", "shard_refill_ns", "order_refill_ns",
    "message_refill_ns",
}  # fmt: skip
# By word of LIMITS: AT_THE_START, DOWNWARDS, or the value up to which it grows tighter.
TIGHTER = np.array(
    [AT_THE_START if name in _START else _UP_TO.get(name, DOWNWARDS) for name in LIMITS.names or ()], np.int64
)


@inlined
def is_tighter(word, value, current):
    """True if a limit, by its word in LIMITS, would be tighter with `value` than it is. Complexity: O(1)."""
    bound = TIGHTER[word]
    if bound == DOWNWARDS:
        return 0 <= value < current
    return current < value <= bound  # a bound below zero: nothing is
