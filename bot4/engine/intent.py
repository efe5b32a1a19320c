"""Intents of the shards: the last checks before the wire.

A shard may be mad or hostile: nothing it writes is believed. Risk is the same pure function the shard calls, on
execution's own positions, quotes and counters.
"""

import numpy as np

from bot4.atomics import load_acquire, rdtsc
from bot4.engine.execution_memory import PROTECTIVE_RESERVE
from bot4.engine.journal import journal_room
from bot4.engine.order_out import change_order, fill_row, halt, send_order, take_row
from bot4.engine.order_state import (
    BASE_FREE,
)
from bot4.engine.portfolio import STATE_ACTIVE
from bot4.engine.report_out import deny_intent, write_journal
from bot4.jit import inlined, kernel
from bot4.kernels.risk.correlation import correlation_bps
from bot4.kernels.risk.order_checks import check_order, note_order
from bot4.kernels.risk.portfolio import note_others
from bot4.model.enums import (
    ACTION_CANCEL,
    ACTION_PLACE,
    EXEC_DUPLICATE,
    EXEC_GATE_SHUT,
    EXEC_JOURNAL_FULL,
    EXEC_TABLE_FULL,
    EXEC_UNKNOWN_INSTRUMENT,
    EXEC_VENUE_BUSY,
    LEG_EXIT,
    OK,
    RISK_BAD_ORDER,
)
from bot4.model.records import (
    JOURNAL_INTENT,
    ORDER_WORDS,
)
from bot4.shm.histogram import histogram_record
from bot4.shm.layout import CLOCK_FEED, CONTROL_KILL
from bot4.shm.spsc_ring import has_space
from bot4.shm.wires import (
    GAUGE_EXEC_INTENTS,
    STAGE_ORDER_INSIDE,
    STAGE_TICK_TO_EXECUTION,
)


@inlined
def _has_own_id(x, session, instrument, leg):
    """True if the id is the one that follows from the event: no shard can take that of another order."""
    high = (
        (session[0]["account"] << 48)
        | (session[0]["strategy"] << 32)
        | (instrument << 16)
        | session[0]["feed_generation"]
    )
    low = (np.int64(x.intent[0]["event_no"]) << 32) | (leg << 24)
    return x.intent_words[1] == high and x.intent_words[2] == low


@kernel
def check_intent(x, wires, instruments, limits, session, shard):
    """Everything that may stand between an intent and the wire, cheapest first. Returns a reject code.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    intent = x.intent[0]
    account = x.account[0]
    instrument = np.int64(intent["instrument"])
    if instrument >= len(x.positions) or np.int64(instruments[instrument]["shard"]) != shard:
        return EXEC_UNKNOWN_INSTRUMENT
    leg = np.int64(intent["leg"])
    if np.int64(intent["action"]) != ACTION_PLACE or leg > LEG_EXIT:
        return RISK_BAD_ORDER
    if not _has_own_id(x, session, instrument, leg):
        return RISK_BAD_ORDER
    position = x.positions[instrument]
    if np.int64(intent["event_no"]) <= position["last_event_no"]:
        return EXEC_DUPLICATE
    if account["state"] != STATE_ACTIVE and account["killed"] == 0:
        return EXEC_GATE_SHUT
    view = x.views[instrument]
    view["position_lots"] = position["lots"]
    view["bid_ticks"] = position["bid_ticks"]
    view["ask_ticks"] = position["ask_ticks"]
    view["quote_ts_ns"] = position["quote_ts_ns"]
    view["high_water_e8"] = account["high_water_e8"]
    view["day_start_e8"] = account["day_start_e8"]
    view["killed"] = account["killed"]
    view["breaker_open"] = 1 if account["now_ns"] < account["breaker_open_until_ns"] else 0
    view["streak"] = 1 if account["now_ns"] < account["streak_until_ns"] else 0
    unproven = note_others(x.views, x.positions, instruments, instrument, account["now_ns"], limits[0]["quote_age_ns"])
    view["equity_e8"] = account["equity_e8"] - unproven
    view["correlation_bps"] = correlation_bps(x.known, x.views, instrument, np.int64(intent["side"]))
    view["stale"] = 0 if position["whole"] != 0 else 1
    code = check_order(intent, view, instruments[instrument], limits[0])
    if code != OK:
        return code
    if journal_room(x.header, x.records) < PROTECTIVE_RESERVE:
        return EXEC_JOURNAL_FULL
    if x.free[0] <= len(x.positions) * 2:
        return EXEC_TABLE_FULL  # the rest is for stops and closes
    if not has_space(wires.requests, 2 * len(x.positions) + 1):
        return EXEC_VENUE_BUSY
    return OK


@kernel
def _cancel_for_shard(x, wires, session, shard):
    """A shard takes back its own resting order."""
    for row in range(len(x.orders)):
        order = x.orders[row]
        if (
            order["base"] != BASE_FREE
            and order["id_hi"] == x.intent[0]["id_hi"]
            and order["id_lo"] == x.intent[0]["id_lo"]
        ):
            if order["shard"] == shard and order["leg"] <= LEG_EXIT:
                change_order(x, wires, session, np.int64(row), ACTION_CANCEL, 0, 0)
            return


@kernel
def on_intent(x, wires, instruments, limits, session, shard):
    """Take one intent: cancel, refuse or send it.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    intent = x.intent[0]
    account = x.account[0]
    intent["shard"] = shard  # the ring tells whose it is
    from_the_future = intent["ts_ns"] > load_acquire(wires.clocks, CLOCK_FEED)
    if not from_the_future:
        account["now_ns"] = max(account["now_ns"], intent["ts_ns"])
    measure = session[0]["measure"] != 0 and session[0]["paced"] == 0
    begun = np.int64(0)
    if measure:
        begun = rdtsc()
        if intent["tsc"] > 0:
            histogram_record(wires.histograms[STAGE_TICK_TO_EXECUTION], begun - intent["tsc"])
    x.stats[GAUGE_EXEC_INTENTS] += 1
    if load_acquire(wires.control, CONTROL_KILL) != 0 and account["killed"] == 0 and account["state"] == STATE_ACTIVE:
        halt(x, wires, session)
    if np.int64(intent["action"]) == ACTION_CANCEL:
        _cancel_for_shard(x, wires, session, shard)
        return
    intent["ts_ns"] = account["now_ns"]
    code = np.int64(RISK_BAD_ORDER)
    if not from_the_future:
        code = check_intent(x, wires, instruments, limits, session, shard)
    if code != OK:
        deny_intent(x, wires, session, shard, code)
        return
    instrument = np.int64(intent["instrument"])
    row = take_row(x)
    x.positions[instrument]["last_event_no"] = np.int64(intent["event_no"])
    intent["order_row"] = row
    note_order(intent, x.views[instrument], limits[0])
    fill_row(x, row, intent)
    write_journal(x, JOURNAL_INTENT, account["now_ns"], instrument, 0, x.intent_words)
    for word in range(ORDER_WORDS):
        x.request_words[word] = x.intent_words[word]
    send_order(x, wires, session, row)
    if measure:
        histogram_record(wires.histograms[STAGE_ORDER_INSIDE], rdtsc() - begun)
