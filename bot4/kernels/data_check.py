"""Stage 1 of the step: is this record fit to be used? Fields, time and the unbroken count of the instrument's records.

The feed has validated the venue's messages; this guards what only the reader can see (a record lost on a full ring) and
holds even if the feed errs. A refused record shuts the instrument until a snapshot, because a book that misses a change
is wrong for good.
"""

import numpy as np

from bot4.jit import inlined
from bot4.kernels.risk.view import MAX_PRICE_TICKS, MAX_QTY_LOTS
from bot4.model.enums import (
    DATA_BAD_KIND,
    DATA_BAD_VALUE,
    DATA_CROSSED,
    DATA_GAP,
    DATA_TIME_BACK,
    FLAG_SNAPSHOT,
    OK,
    STATUS_CLEAR,
    TICK_FUNDING,
    TICK_LEVEL,
    TICK_MARK,
    TICK_QUOTE,
    TICK_STATUS,
    TICK_TRADE,
)


@inlined
def _is_price(value):
    return 0 < value <= MAX_PRICE_TICKS


@inlined
def check_values(tick):
    """DATA_BAD_KIND, DATA_BAD_VALUE, DATA_CROSSED or OK, from the record alone. tick : TICK."""
    kind = np.int64(tick["kind"])
    if kind == TICK_QUOTE:
        if not (_is_price(tick["w0"]) and _is_price(tick["w2"])):
            return DATA_BAD_VALUE
        if tick["w1"] <= 0 or tick["w3"] <= 0 or tick["w1"] > MAX_QTY_LOTS or tick["w3"] > MAX_QTY_LOTS:
            return DATA_BAD_VALUE
        return OK if tick["w0"] < tick["w2"] else DATA_CROSSED
    if kind == TICK_LEVEL:
        if not _is_price(tick["w0"]) or tick["w1"] < 0 or tick["w1"] > MAX_QTY_LOTS:
            return DATA_BAD_VALUE
        return OK if tick["w2"] == 1 or tick["w2"] == -1 else DATA_BAD_VALUE
    if kind == TICK_TRADE:
        if not _is_price(tick["w0"]) or tick["w1"] <= 0 or tick["w1"] > MAX_QTY_LOTS:
            return DATA_BAD_VALUE
        return OK
    if kind == TICK_MARK:
        return OK if tick["w0"] > 0 else DATA_BAD_VALUE
    if kind == TICK_FUNDING or kind == TICK_STATUS:
        return OK
    return DATA_BAD_KIND


@inlined
def check_sequence(tick, state):
    """DATA_TIME_BACK, DATA_GAP or OK; keeps the count. A snapshot's first record takes the count up anew.

    Parameters
    ----------
    tick : TICK
    state : SHARD_STATE of its instrument, changed

    Notes
    -----
    Complexity: O(1). Invariant: OK means that every record since the last snapshot (or the start) has come once.
    Twin: tests/reference/kernels/decision.py
    """
    event_no = np.int64(tick["event_no"])
    if np.int64(tick["flags"]) & FLAG_SNAPSHOT:
        if np.int64(tick["kind"]) == TICK_STATUS and tick["w0"] == STATUS_CLEAR:
            state["synced"] = 1
        state["next_event_no"] = event_no + 1
        state["last_ts_ns"] = tick["ts_recv_ns"]
        return OK if state["synced"] else DATA_GAP
    if event_no != state["next_event_no"] or not state["synced"]:
        return DATA_GAP
    state["next_event_no"] = event_no + 1
    if tick["ts_recv_ns"] < state["last_ts_ns"]:
        return DATA_TIME_BACK
    state["last_ts_ns"] = tick["ts_recv_ns"]
    return OK
