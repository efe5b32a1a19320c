"""Start-up and crash recovery, one path: fold the journal, mark open orders UNKNOWN, query, never send again."""

import numpy as np

from bot4.crash import (
    RECOVERY_ACTIVE,
    RECOVERY_ASKED,
    RECOVERY_QUERY,
    RECOVERY_TRADES,
    START_FOLDING,
    START_UNWRITTEN,
    START_WRITTEN,
    crash_here,
)
from bot4.engine.execution_memory import DENIED_REFILL_NS
from bot4.engine.intent import note_accepted
from bot4.engine.journal import journal_room
from bot4.engine.order_out import end_sliced, fill_row, note_message, push_request, query_order
from bot4.engine.order_state import (
    BASE_FREE,
    EV_AMBIGUOUS,
    EV_CANCEL_REQUEST,
    EV_REPLACE_REQUEST,
    EV_SEND,
    ILLEGAL,
    OVERLAY_CANCEL,
    is_open,
    transition,
)
from bot4.engine.portfolio import STATE_ACTIVE, STATE_RECOVERING
from bot4.engine.protection import is_covered, protect
from bot4.engine.report_out import clear_report, write_journal
from bot4.engine.slicing import note_slice, work_slices
from bot4.engine.tighten import hold_limits, note_limit
from bot4.engine.venue_event import apply_event, mark_position, note_second
from bot4.jit import inlined, kernel
from bot4.kernels.risk.rate_limit import take_token
from bot4.model.enums import (
    ACTION_CANCEL,
    ACTION_QUERY_ORDER,
    ACTION_QUERY_TRADES,
    INT64_MAX,
    LEG_EXIT,
    LEG_PROFIT,
    LEG_SLICE,
    LEG_STOP,
    REPORT_CANCELED,
)
from bot4.model.records import (
    JOURNAL_DAY,
    JOURNAL_DAY_SHUT,
    JOURNAL_DENIED,
    JOURNAL_EVENT,
    JOURNAL_INTENT,
    JOURNAL_LIMIT,
    JOURNAL_REQUEST,
    JOURNAL_SAMPLE,
    JOURNAL_SLICED,
    JOURNAL_START,
    JOURNAL_WORDS,
    ORDER_WORDS,
)
from bot4.shm.spsc_ring import has_space
from bot4.shm.wires import (
    GAUGE_EXEC_FLATTENS,
    GAUGE_EXEC_INTENTS,
    GAUGE_EXEC_ORDERS,
    GAUGE_EXEC_STOPS_PLACED,
    LIMITS_IN_FORCE,
)


@kernel
def _fold_request(x, wires, session, order, request):
    if order["slices"] > 0:
        order["overlay"] |= OVERLAY_CANCEL
        if order["slice_row"] < 0:
            end_sliced(x, wires, session, np.int64(request["order_row"]), REPORT_CANCELED, 0)
    elif np.int64(request["action"]) == ACTION_CANCEL:
        transition(order, EV_CANCEL_REQUEST)
    elif np.int64(request["action"]) == ACTION_QUERY_ORDER:
        transition(order, EV_AMBIGUOUS)
    elif transition(order, EV_REPLACE_REQUEST) != ILLEGAL:
        order["asked_qty_lots"] = request["qty_lots"]
        order["asked_stop_ticks"] = request["stop_ticks"]
        if order["leg"] == LEG_STOP:
            x.positions[order["instrument"]]["stop_ticks"] = request["stop_ticks"]  # it may have moved since its entry


@inlined
def _fold_denied(x, intent):
    shard = np.int64(intent["shard"])
    x.denied_bucket_ns[shard] = take_token(x.denied_bucket_ns[shard], x.account[0]["now_ns"], DENIED_REFILL_NS)
    x.stats[GAUGE_EXEC_INTENTS] += 1 + intent["aux"]


@kernel
def _claim_row(x, row):
    """Take one named row from the free stack (the journal says which row an order had)."""
    for index in range(1, x.free[0] + 1):
        if x.free[index] == row:
            x.free[index] = x.free[x.free[0]]
            x.free[0] -= 1
            return


@inlined
def _mark_anew(x, instruments, instrument):
    """An open position at the price that its record saw; prices of others may be older, so marks of highest and
    lowest equity are the record's.
    """
    account = x.account[0]
    high_water, drawdown = account["high_water_e8"], account["drawdown_ppm"]
    mark_position(x, instruments, np.int64(instrument))
    account["high_water_e8"], account["drawdown_ppm"] = high_water, drawdown


@inlined
def _note_start(x, generation):
    """A start of the whole bot numbers events anew, under ids of another generation: those before are no repeats.

    It is a person's, so the limits are those that he gave it, looser ones too.
    """
    if x.account[0]["generation"] != generation:
        x.account[0]["generation"] = generation
        x.account[0]["limits_ns"] = 0
        for word in range(len(x.limit_words)):
            x.limit_words[word] = x.next_words[word] = x.begun_words[word]
            x.tightened[word] = 0
        for instrument in range(len(x.positions)):
            x.positions[instrument]["last_event_no"] = 0


@kernel
def execution_fold(x, wires, instruments, limits, session, first, count):
    """Rebuild orders, positions and account from the journal: the same functions that made it, without sending.

    Parameters
    ----------
    x : ExecutionMemory that the records before `first` have been folded into
    first, count : int64, index of the first record to fold, and of the one behind the last
    wires, instruments, limits, session : as for `execution_step`

    Returns
    -------
    int64: 0, or the number of the record whose own risk snapshot contradicts what the fold arrived at

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    account = x.account[0]
    account["folding"] = 1
    account["message_refill_ns"] = limits[0]["message_refill_ns"]
    body = JOURNAL_WORDS - ORDER_WORDS
    for index in range(first, count):
        crash_here(START_FOLDING)
        base = index * JOURNAL_WORDS
        for word in range(JOURNAL_WORDS):
            x.record_words[word] = x.records[base + word]
        record = x.record[0]
        kind = np.int64(record["type"])
        instrument = record["instrument"]
        account["now_ns"] = max(account["now_ns"], record["ts_ns"])
        hold_limits(x, account["now_ns"])
        if instrument >= 0:
            position = x.positions[instrument]
            position["bid_ticks"] = record["bid_ticks"]
            position["ask_ticks"] = record["ask_ticks"]
            if position["lots"] != 0:
                _mark_anew(x, instruments, instrument)
            if kind != JOURNAL_EVENT and record["position_lots"] != position["lots"]:
                return np.int64(index + 1)
        if kind == JOURNAL_INTENT:
            for word in range(ORDER_WORDS):
                x.request_words[word] = x.record_words[body + word]
            request = x.request[0]
            row = np.int64(request["order_row"])
            _claim_row(x, row)
            fill_row(x, row, request)
            transition(x.orders[row], EV_SEND)
            note_message(x)
            x.stats[GAUGE_EXEC_ORDERS] += 1
            leg = np.int64(request["leg"])
            position = x.positions[instrument]
            if leg <= LEG_EXIT:
                position["last_event_no"] = np.int64(request["event_no"])
                note_accepted(x, limits, request)
                x.stats[GAUGE_EXEC_INTENTS] += 1
            else:
                position["own_number"] = np.int64(request["event_no"])
                if leg == LEG_STOP:
                    position["stop_row"] = row
                    position["stop_ticks"] = request["stop_ticks"]
                    x.stats[GAUGE_EXEC_STOPS_PLACED] += 1
                elif leg == LEG_SLICE:
                    note_slice(x, limits, instrument, row, record["ts_ns"])
                elif leg == LEG_PROFIT:
                    position["profit_row"] = row
                else:
                    position["flatten_row"] = row
                    x.stats[GAUGE_EXEC_FLATTENS] += 1
        elif kind == JOURNAL_SLICED:
            for word in range(ORDER_WORDS):
                x.request_words[word] = x.record_words[body + word]
            row = np.int64(x.request[0]["order_row"])
            _claim_row(x, row)
            fill_row(x, row, x.request[0])
            x.positions[instrument]["last_event_no"] = np.int64(x.request[0]["event_no"])
            x.positions[instrument]["sliced_row"] = row
            note_accepted(x, limits, x.request[0])
            x.stats[GAUGE_EXEC_INTENTS] += 1
        elif kind == JOURNAL_START:
            _note_start(x, x.record_words[body + 1])
            for row in range(len(x.orders)):
                if x.orders[row]["base"] != BASE_FREE and is_open(x.orders[row]) and x.orders[row]["slices"] == 0:
                    transition(x.orders[row], EV_AMBIGUOUS)
        elif kind == JOURNAL_SAMPLE:
            note_second(x, limits, instrument, record["code"], record["ts_ns"])
        elif kind == JOURNAL_LIMIT:
            for word in range(ORDER_WORDS):
                x.event_words[word] = x.record_words[body + word]
            note_limit(x, record["code"], x.event[0]["cash_e8"], x.event[0]["ts_ns"])
        elif kind == JOURNAL_DAY:
            for word in range(ORDER_WORDS):
                x.event_words[word] = x.record_words[body + word]
            account["day"] = x.event[0]["cash_e8"]
        elif kind == JOURNAL_DAY_SHUT:
            for word in range(ORDER_WORDS):
                x.event_words[word] = x.record_words[body + word]
            account["day_shut_until_ns"] = x.event[0]["cash_e8"]
        elif kind == JOURNAL_DENIED:
            for word in range(ORDER_WORDS):
                x.request_words[word] = x.record_words[body + word]
            _fold_denied(x, x.request[0])
        elif kind == JOURNAL_REQUEST:
            for word in range(ORDER_WORDS):
                x.request_words[word] = x.record_words[body + word]
            row = np.int64(x.request[0]["order_row"])
            if x.orders[row]["base"] == BASE_FREE or x.orders[row]["slices"] == 0:
                note_message(x)
            if x.orders[row]["base"] != BASE_FREE:
                _fold_request(x, wires, session, x.orders[row], x.request[0])
        elif kind == JOURNAL_EVENT:
            for word in range(ORDER_WORDS):
                x.event_words[word] = x.record_words[body + word]
            apply_event(x, wires, instruments, limits, session)
            for touched in range(len(x.positions)):
                if x.positions[touched]["lots"] == 0 or is_covered(x, touched):
                    x.positions[touched]["naked_since_ns"] = 0
        account["high_water_e8"] = max(account["high_water_e8"], record["high_water_e8"])
        account["day_start_e8"] = record["day_start_e8"]
        account["started"] = 1 if record["day_start_e8"] != 0 else 0
    account["folding"] = 0
    return np.int64(0)


@kernel
def execution_start(x, wires, session, epoch):
    """Open for business. Orders without an outcome become UNKNOWN and are queried, never sent again.

    Returns
    -------
    bool: False if the request ring has no room for the queries yet (call again)

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    account = x.account[0]
    open_count = np.int64(0)
    for row in range(len(x.orders)):
        if x.orders[row]["base"] != BASE_FREE and is_open(x.orders[row]) and x.orders[row]["slices"] == 0:
            open_count += 1
    if not has_space(wires.requests, open_count + 1) or journal_room(x.header) < 1:
        return False
    account["epoch"] = epoch
    clear_report(x)
    x.report_words[0] = epoch
    x.report_words[1] = session[0]["feed_generation"]
    crash_here(START_UNWRITTEN)
    write_journal(x, JOURNAL_START, account["now_ns"], np.int64(-1), 0, x.report_words)
    crash_here(START_WRITTEN)
    _note_start(x, session[0]["feed_generation"])
    for word in range(len(x.next_words)):
        wires.limits[LIMITS_IN_FORCE, word] = x.next_words[word]
    account["next_deadline_ns"] = INT64_MAX
    if epoch == 1 and session[0]["asks_first"] == 0:
        account["state"] = STATE_ACTIVE
        return True
    account["state"] = STATE_RECOVERING
    account["asking"] = 1
    account["unknown"] = open_count
    for row in range(len(x.orders)):
        order = x.orders[row]
        if order["base"] == BASE_FREE or not is_open(order) or order["slices"] > 0:
            continue
        query_order(x, wires, session, np.int64(row))
        crash_here(RECOVERY_QUERY)
    crash_here(RECOVERY_TRADES)
    for word in range(ORDER_WORDS):
        x.request_words[word] = 0
    x.request[0]["action"] = ACTION_QUERY_TRADES
    x.request[0]["id_hi"] = epoch  # comes back with the last answer, so that those to an earlier start do not count
    x.request[0]["aux"] = account["last_event_seq"]
    push_request(x, wires, session)
    crash_here(RECOVERY_ASKED)
    return True


@kernel
def finish_recovery(x, wires, instruments, limits, session):
    """All answers are in: open the gate, put every position's protection right, give the shards the full picture.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    account = x.account[0]
    account["state"] = STATE_ACTIVE
    account["unknown"] = 0
    account["next_grid_ns"] = 0
    crash_here(RECOVERY_ACTIVE)
    for instrument in range(len(x.positions)):
        protect(x, wires, instruments, limits, session, instrument)
        work_slices(x, wires, instruments, limits, session, np.int64(instrument))
    for shard in range(session[0]["n_shards"]):
        x.lost[shard] = 1
