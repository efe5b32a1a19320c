"""Is a message's number believable? One that leaps is refused, or everything after it would look old.

Two counts per instrument: update ids (quotes, diffs and snapshots of the book share them) and trade ids. An id may be
ahead of the last believed one by a step and by what the time since then explains, and behind it as far as no delay
reaches. What lies beyond is refused and not believed, unless the next id of the count goes on from there: then two bear
each other out, and the count starts anew (the first id of all was damaged, or the venue has renumbered).

The bounds, from the recordings of BTCUSDT and ETHUSDT in April 2023 and August 2024, the seams between files included:

    count              on average      largest step              here
    futures, updates   39, 80 per ms   978,919 in 3.9 s          10,000,000 and 10,000 per ms
    spot, updates      0.5, 0.7        1,466 in 102 ms           100,000 and 100 per ms
    trades             0.02 to 0.06    1 (7 s without any: 1)    10,000 and 100 per ms

A digit in front of an id makes it larger by 10^13, 10^10 and 10^9. A smaller leap, within the bounds, is believed; on
average the true ids reach it within a few minutes.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.scan.scanned import RULE_FUTURES

UPDATES, TRADES = 0, 1  # rows of FEED_STATE.counts
N_COUNTS = 2
# columns of a row
LAST = 0  # the last id believed, -1: none yet
LAST_NS = 1  # when it was received
SUSPECT = 2  # an id that leapt and was refused, -1: none
SUSPECT_NS = 3
N_COUNT_WORDS = 4

UPDATE_STEP_FUTURES = 10_000_000
UPDATES_PER_MS_FUTURES = 10_000
UPDATE_STEP_SPOT = 100_000
UPDATES_PER_MS_SPOT = 100
TRADE_STEP = 10_000
TRADES_PER_MS = 100
BEHIND = 100  # steps: an id may be that far behind, as a snapshot that took its time
MS = 1_000_000

LEAPS, GOES_ON, ANEW = range(3)


@inlined
def _is_explained(leap, elapsed_ns, step, per_ms):
    return leap <= step + elapsed_ns // MS * per_ms


@kernel
def judge_id(count, number, ts_ns, step, per_ms):
    """Compare an id with those before it, and remember it.

    Parameters
    ----------
    count : int64[N_COUNT_WORDS], changed
    number : int64 >= 0, the id
    ts_ns : int64, its receive time, not before those of the ids before
    step, per_ms : int64, bounds of a leap

    Returns
    -------
    int64, LEAPS (refuse it), GOES_ON, or ANEW (believe it and forget what was known by the ids before)

    Notes
    -----
    Complexity: O(1). Twin: tests/reference/engine/feed.py
    """
    last = count[LAST]
    behind = last - number > step * BEHIND
    if last < 0 or (not behind and _is_explained(number - last, ts_ns - count[LAST_NS], step, per_ms)):
        if number > last:
            count[LAST] = number
            count[LAST_NS] = ts_ns
        count[SUSPECT] = -1
        return np.int64(GOES_ON)
    leap = number - count[SUSPECT]
    if count[SUSPECT] >= 0 and leap > 0 and _is_explained(leap, ts_ns - count[SUSPECT_NS], step, per_ms):
        count[LAST] = number
        count[LAST_NS] = ts_ns
        count[SUSPECT] = -1
        return np.int64(ANEW)
    count[SUSPECT] = number
    count[SUSPECT_NS] = ts_ns
    return np.int64(LEAPS)


@inlined
def judge_update(state, number, ts_ns):
    """`judge_id` of an update id. state : FEED_STATE."""
    if state["listing"]["rule"] == RULE_FUTURES:
        return judge_id(state["counts"][UPDATES], number, ts_ns, UPDATE_STEP_FUTURES, UPDATES_PER_MS_FUTURES)
    return judge_id(state["counts"][UPDATES], number, ts_ns, UPDATE_STEP_SPOT, UPDATES_PER_MS_SPOT)


@inlined
def judge_trade(state, number, ts_ns):
    """`judge_id` of a trade id. state : FEED_STATE."""
    return judge_id(state["counts"][TRADES], number, ts_ns, TRADE_STEP, TRADES_PER_MS)
