"""Is the venue's time of a message believable? Compared with our clock, whose offset from the venue's is estimated.

A lag is receive time minus venue's time: the offset of the two clocks and the way here. The offset is the smallest lag
that two messages in a row bear out (one stamp that is wrong moves nothing), and rises by a thousandth of the time that
passes, which is more than clocks drift apart and less than a queue grows. A steady offset of any size is no fault.

What comes earlier or later than the limit allows is refused, as is a stamp that is missing where one was before. What
lasts is learned: the clock of one of the two has been set, or the way has become longer. Nothing but a clock makes
messages early, so some in a row suffice; late ones may be a jam that ends, and are waited for. As long as no more than
that have ever been believed there is nothing to be late against: the first of all may have been wrong.

    sent   when the venue sent the message; where it says that, the offset is estimated by it
    made   when what it tells came about: of a whole book or a best quote that may be long ago, of the rest it is now

A whole book may be as late as it likes: it is asked for and may have megabytes, and whether it is old its ids tell, or
the numbers of its connection. Ahead of its time it is refused like any other message.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.scan.scanned import ASKS, BIDS, EVENT_MS, IS_SNAPSHOT, KIND, RULE_STREAM, SENT_NS, VENUE_NS
from bot4.model.enums import INPUT_OK, INPUT_VENUE_TIME, TICK_LEVEL, TICK_QUOTE, TICK_TRADE
from bot4.shm.wires import (
    CLOCK_ANEW,
    CLOCK_AT_NS,
    CLOCK_BEFORE_NS,
    CLOCK_LATEST_NS,
    CLOCK_OFFSET_NS,
    CLOCK_STAMPS,
    CLOCK_SUSPECT_NS,
    CLOCK_SUSPECT_SINCE_NS,
    CLOCK_SUSPECTS,
)

LASTING = 8  # messages in a row, each as far off as the one before: the clocks stand otherwise to each other now
JAM_NS = 60_000_000_000  # ... of late ones for so long too: longer than a stale book keeps its connection
RISE = 10  # the offset rises by 2 ** -RISE of the time that passes,
RISE_NS = 60_000_000_000  # of which a silence counts for no more than this
FAR_NS = 4_000_000_000_000_000_000  # lags are cut here: their differences fit
MAX_MS = 9_000_000_000_000  # 2255; times in ns fit

SENT, MADE = 1, 2  # bits of FEED_STATE.stamped, a pair for each kind, whole books apart
_WHOLE = 8


@inlined
def _lag_ns(venue_ns, ts_ns):
    return min(max(ts_ns - venue_ns, np.int64(-FAR_NS)), np.int64(FAR_NS))


@inlined
def sent_ns_of(message):
    """When the venue sent the message, 0 where it does not say so or no time."""
    if message[SENT_NS] > 0:
        return message[SENT_NS]
    venue_ms = message[EVENT_MS]
    return venue_ms * 1_000_000 if 0 < venue_ms <= MAX_MS else np.int64(0)


@kernel
def judge_lag(clock, lag_ns, ts_ns, limit_ns):
    """Compare a lag with the offset and learn from it.

    Parameters
    ----------
    clock : int64[N_CLOCK_COLUMNS], a row of Wires.venue_clocks, changed
    lag_ns : int64, within FAR_NS
    ts_ns : int64, receive time, not before those of the lags before
    limit_ns : int64, deviation from the offset that is believed; 0: any is

    Returns
    -------
    bool, False if it is not believed

    Notes
    -----
    Complexity: O(1). Invariant: one lag alone moves nothing but the first. Twin: tests/reference/engine/feed_time.py
    """
    deviation = lag_ns - clock[CLOCK_OFFSET_NS]
    if clock[CLOCK_STAMPS] == 0:
        clock[CLOCK_OFFSET_NS] = lag_ns
        deviation = np.int64(0)
        clock[CLOCK_BEFORE_NS] = lag_ns
    elif limit_ns > 0 and abs(deviation) > limit_ns:
        if clock[CLOCK_SUSPECTS] == 0 or abs(lag_ns - clock[CLOCK_SUSPECT_NS]) > limit_ns:
            clock[CLOCK_SUSPECTS] = 0
            clock[CLOCK_SUSPECT_SINCE_NS] = ts_ns
        clock[CLOCK_SUSPECTS] += 1
        clock[CLOCK_SUSPECT_NS] = lag_ns
        waits = deviation > 0 and clock[CLOCK_STAMPS] > LASTING and ts_ns - clock[CLOCK_SUSPECT_SINCE_NS] < JAM_NS
        if clock[CLOCK_SUSPECTS] < LASTING or waits:
            return False
        clock[CLOCK_OFFSET_NS] = lag_ns
        deviation = np.int64(0)
        clock[CLOCK_BEFORE_NS] = lag_ns
        clock[CLOCK_ANEW] += 1
    else:
        least = max(lag_ns, clock[CLOCK_BEFORE_NS])
        rise = min(ts_ns - clock[CLOCK_AT_NS], np.int64(RISE_NS)) >> RISE
        clock[CLOCK_OFFSET_NS] = min(least, clock[CLOCK_OFFSET_NS] + rise)
        clock[CLOCK_BEFORE_NS] = lag_ns
    clock[CLOCK_SUSPECTS] = 0
    clock[CLOCK_STAMPS] += 1
    clock[CLOCK_AT_NS] = ts_ns
    clock[CLOCK_LATEST_NS] = max(clock[CLOCK_LATEST_NS], deviation)
    return True


@inlined
def is_near(state, clock, venue_ns, ts_ns, later_ns):
    """Whether a time of the venue is one, and within the limit of what the offset says; teaches nothing.

    later_ns : how much later than the limit it may be.
    """
    limit_ns = state["time_limit_ns"]
    if limit_ns == 0:
        return True
    if venue_ns <= 0:
        return False
    deviation = _lag_ns(venue_ns, ts_ns) - clock[CLOCK_OFFSET_NS]
    return clock[CLOCK_STAMPS] == 0 or (-limit_ns <= deviation and deviation - limit_ns <= later_ns)


@kernel
def judge_time(state, clock, message, ts_ns):
    """Whether the times that a scanned message bears are believable.

    Parameters
    ----------
    state : FEED_STATE record of the instrument, changed
    clock : int64[N_CLOCK_COLUMNS], its row of Wires.venue_clocks, changed
    message : int64[N_WORDS]
    ts_ns : int64, receive time

    Returns
    -------
    int64, INPUT_OK or INPUT_VENUE_TIME

    Notes
    -----
    Complexity: O(1). The trades of a message are judged one by one (see `is_near`), by whoever takes them.
    Twin: tests/reference/engine/feed_time.py
    """
    kind = message[KIND]
    whole = message[IS_SNAPSHOT] != 0
    sent_ns = sent_ns_of(message)
    made_ns = np.int64(0)
    by_rule = state["listing"]["rule"] >= RULE_STREAM
    if by_rule and (kind != TICK_LEVEL or message[BIDS] + message[ASKS] > 0):
        made_ns = message[VENUE_NS]
    elif sent_ns == 0 and not by_rule:
        sent_ns = message[VENUE_NS]
    limit_ns = state["time_limit_ns"]
    told = (SENT if sent_ns > 0 else 0) | (MADE if made_ns > 0 else 0)
    place = 2 * (kind + (_WHOLE if whole else 0))
    expected = (state["stamped"] >> place) & (SENT | MADE)
    if kind == TICK_LEVEL and by_rule and message[BIDS] + message[ASKS] == 0:
        expected &= SENT  # of no level there is no time
    if limit_ns > 0 and expected & ~told:
        return np.int64(INPUT_VENUE_TIME)
    now = not whole and kind != TICK_QUOTE
    if whole:
        if sent_ns > 0 and not is_near(state, clock, sent_ns, ts_ns, np.int64(FAR_NS)):
            return np.int64(INPUT_VENUE_TIME)
    elif sent_ns > 0 or (made_ns > 0 and now):
        if not judge_lag(clock, _lag_ns(sent_ns if sent_ns > 0 else made_ns, ts_ns), ts_ns, limit_ns):
            return np.int64(INPUT_VENUE_TIME)
    if made_ns > 0 and kind != TICK_TRADE:
        if not is_near(state, clock, made_ns, ts_ns, np.int64(0 if now else FAR_NS)):
            return np.int64(INPUT_VENUE_TIME)
    state["stamped"] |= np.int64(told) << place
    return np.int64(INPUT_OK)
