"""Intents of the shards: the last checks before the wire.

A shard may be mad or hostile: nothing it writes is believed. Risk is the same pure function the shard calls, on
execution's own positions, quotes and counters.
"""

import numpy as np

from bot4.atomics import load_acquire, rdtsc, store_release
from bot4.crash import INTENT_CHECKED, INTENT_READ, ORDER_SENT, ORDER_UNSENT, crash_here
from bot4.engine.execution_memory import PROTECTIVE_RESERVE
from bot4.engine.journal import LEVEL_REDUCING, LEVEL_WORD, journal_room
from bot4.engine.order_out import clear_way, fill_row, halt, must_halt, send_order, take_back, take_row
from bot4.engine.order_state import (
    BASE_FREE,
)
from bot4.engine.portfolio import STATE_ACTIVE, is_breaker_open
from bot4.engine.protection import flatten
from bot4.engine.report_out import count_alarm, deny_intent, write_journal
from bot4.engine.tighten import reach
from bot4.jit import inlined, kernel
from bot4.kernels.risk.correlation import correlation_bps
from bot4.kernels.risk.order_checks import check_order, note_order
from bot4.kernels.risk.portfolio import find_exposed, note_others
from bot4.kernels.risk.position import is_reducing
from bot4.kernels.risk.rate_limit import note_repeat, take_token
from bot4.kernels.risk.tail import check_tail, note_tail
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
    LEG_PROFIT,
    OK,
    RISK_BAD_ORDER,
    RISK_OPEN_ORDERS,
    RISK_REPEAT,
    TYPE_LIMIT,
)
from bot4.model.records import (
    JOURNAL_INTENT,
    JOURNAL_SLICED,
    ORDER_WORDS,
)
from bot4.shm.histogram import histogram_record
from bot4.shm.layout import CLOCK_FEED, CONTROL_ALONE, CONTROL_KILL, CONTROL_STOP, KILLED_BY_REPEATS
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


@inlined
def _note_own(x, view, instrument, side):
    """Write into the view the own price that an order of this side could meet: limit orders, those that close too; and
    the farthest stop that an opening order of its side may still bring.
    """
    view["own_bid_ticks"] = 0
    view["own_ask_ticks"] = 0
    view["own_stop_ticks"] = 0
    pending = view["pending_sell_lots"] != 0 or view["pending_buy_lots"] != 0
    if not pending and x.positions[instrument]["profit_row"] < 0:
        return
    for row in range(len(x.orders)):
        order = x.orders[row]
        if order["base"] == BASE_FREE or order["instrument"] != instrument:
            continue
        if order["leg"] > LEG_EXIT and order["leg"] != LEG_PROFIT:
            continue
        if order["side"] == side:
            stop = order["stop_ticks"]
            if not is_reducing(order) and (view["own_stop_ticks"] == 0 or (view["own_stop_ticks"] - stop) * side > 0):
                view["own_stop_ticks"] = stop
            continue
        price = order["price_ticks"]
        if order["type"] != TYPE_LIMIT:
            continue
        if side < 0:
            view["own_bid_ticks"] = max(view["own_bid_ticks"], price)
        elif view["own_ask_ticks"] == 0 or price < view["own_ask_ticks"]:
            view["own_ask_ticks"] = price


@kernel
def note_view(x, instruments, limits, instrument, shard):
    """Write into an instrument's view what the risk check wants to know of the order in `x.intent`.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    intent = x.intent[0]
    account = x.account[0]
    position = x.positions[instrument]
    view = x.views[instrument]
    view["position_lots"] = position["lots"]
    view["bid_ticks"] = position["bid_ticks"]
    view["ask_ticks"] = position["ask_ticks"]
    view["quote_ts_ns"] = position["quote_ts_ns"]
    view["high_water_e8"] = account["high_water_e8"]
    view["day_start_e8"] = account["day_start_e8"]
    view["killed"] = account["killed"]
    view["breaker_open"] = is_breaker_open(account)
    view["streak"] = 1 if account["now_ns"] < account["streak_until_ns"] else 0
    view["day_shut"] = 1 if account["reached_ns"] < account["day_shut_until_ns"] else 0
    find_exposed(x.views, instrument, x.exposed)
    unproven = note_others(
        x.views, x.positions, instruments, x.exposed, instrument, account["now_ns"], limits[0]["quote_age_ns"]
    )
    view["equity_e8"] = account["equity_e8"] - unproven
    view["correlation_bps"] = correlation_bps(x.known, x.views, x.exposed, instrument, np.int64(intent["side"]))
    view["stale"] = 0 if position["whole"] != 0 else 1
    _note_own(x, view, instrument, np.int64(intent["side"]))
    view["shard_bucket_ns"] = x.shard_bucket_ns[shard]
    view["order_bucket_ns"] = account["order_bucket_ns"]
    view["message_bucket_ns"] = account["message_bucket_ns"]


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
    leaving = load_acquire(wires.control, CONTROL_STOP) != 0 or load_acquire(wires.control, CONTROL_ALONE) != 0
    if leaving and not is_reducing(intent):
        return EXEC_GATE_SHUT  # a session that ends, or that nobody watches, opens nothing
    note_view(x, instruments, limits, instrument, shard)
    view = x.views[instrument]
    code = check_order(intent, view, instruments[instrument], limits[0])
    if code != OK:
        return code
    if not is_reducing(intent):
        note_tail(x.known, x.tail, x.exposed, x.views, x.positions, instruments, intent, limits[0])
        code = check_tail(view, limits[0])
        if code != OK:
            return code
    if intent["slices"] > 0 and position["sliced_row"] >= 0:
        return RISK_OPEN_ORDERS  # one at a time
    if journal_room(x.header) < PROTECTIVE_RESERVE:
        return EXEC_JOURNAL_FULL
    if x.header[LEVEL_WORD] >= LEVEL_REDUCING and not is_reducing(intent):
        return EXEC_JOURNAL_FULL  # the disk nearly is
    if x.free[0] <= 2 * x.exposed[0]:
        return EXEC_TABLE_FULL  # the rest is for stops and closes
    if not has_space(wires.requests, 2 * x.exposed[0] + 1):
        return EXEC_VENUE_BUSY
    return OK


@inlined
def note_accepted(x, limits, intent):
    """Enter an accepted intent of a shard, also when it is read back: views, buckets, the row of repeats."""
    view = x.views[np.int64(intent["instrument"])]
    note_order(intent, view, limits[0])
    note_repeat(intent, view, limits[0])
    if is_reducing(intent):
        if intent["side"] > 0:
            view["exit_buy_lots"] += intent["qty_lots"]
        else:
            view["exit_sell_lots"] += intent["qty_lots"]
    else:
        account = x.account[0]
        shard = np.int64(intent["shard"])
        now_ns = intent["ts_ns"]
        x.shard_bucket_ns[shard] = take_token(x.shard_bucket_ns[shard], now_ns, limits[0]["shard_refill_ns"])
        if account["breaker_trips"] > 0 and intent["slices"] == 0:
            account["breaker_probe_until_ns"] = now_ns + limits[0]["breaker_open_ns"]
        account["order_bucket_ns"] = take_token(account["order_bucket_ns"], now_ns, limits[0]["order_refill_ns"])


@kernel
def _end_repeating(x, wires, instruments, limits, session):
    """The shard has been refused its one order too many: nothing is opened until a person resets the kill switch.

    What it wanted to leave is left by execution, at the market.
    """
    account = x.account[0]
    if account["killed"] == 0:
        count_alarm(x)
        # SYNC POINT: pairs with the load_acquire of whoever looks whether it is killed.
        store_release(wires.control, CONTROL_KILL, KILLED_BY_REPEATS)
        halt(x, wires, session)
    if is_reducing(x.intent[0]):
        flatten(x, wires, instruments, limits, session, np.int64(x.intent[0]["instrument"]))


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
                take_back(x, wires, session, np.int64(row))
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
    crash_here(INTENT_READ)
    intent["shard"] = shard  # the ring tells whose it is
    from_the_future = intent["ts_ns"] > load_acquire(wires.clocks, CLOCK_FEED)
    if not from_the_future:
        account["now_ns"] = max(account["now_ns"], intent["ts_ns"])
        reach(x, intent["ts_ns"])
    measure = session[0]["measure"] != 0 and session[0]["paced"] == 0
    begun = np.int64(0)
    if measure:
        begun = rdtsc()
        if intent["tsc"] > 0:
            histogram_record(wires.histograms[STAGE_TICK_TO_EXECUTION], begun - intent["tsc"])
    x.stats[GAUGE_EXEC_INTENTS] += 1
    if must_halt(x, wires):
        halt(x, wires, session)
    if np.int64(intent["action"]) == ACTION_CANCEL:
        _cancel_for_shard(x, wires, session, shard)
        return
    intent["ts_ns"] = account["now_ns"]
    code = np.int64(RISK_BAD_ORDER)
    if not from_the_future:
        code = check_intent(x, wires, instruments, limits, session, shard)
    if code == RISK_REPEAT:
        _end_repeating(x, wires, instruments, limits, session)
    if code != OK:
        deny_intent(x, wires, session, shard, code)
        return
    instrument = np.int64(intent["instrument"])
    side = np.int64(intent["side"])
    if is_reducing(intent) and (x.views[instrument]["own_bid_ticks"] > 0 or x.views[instrument]["own_ask_ticks"] > 0):
        clear_way(x, wires, session, instrument, side, intent["price_ticks"])
    row = take_row(x)
    x.positions[instrument]["last_event_no"] = np.int64(intent["event_no"])
    intent["order_row"] = row
    note_accepted(x, limits, intent)
    fill_row(x, row, intent)
    if intent["slices"] > 0:
        x.positions[instrument]["sliced_row"] = row
        account["next_deadline_ns"] = min(account["next_deadline_ns"], account["now_ns"])
        write_journal(x, JOURNAL_SLICED, account["now_ns"], instrument, 0, x.intent_words)
        return
    crash_here(INTENT_CHECKED)
    write_journal(x, JOURNAL_INTENT, account["now_ns"], instrument, 0, x.intent_words)
    crash_here(ORDER_UNSENT)
    for word in range(ORDER_WORDS):
        x.request_words[word] = x.intent_words[word]
    send_order(x, wires, session, row)
    crash_here(ORDER_SENT)
    if measure:
        histogram_record(wires.histograms[STAGE_ORDER_INSIDE], rdtsc() - begun)
