"""Execution as kernels: the only code that knows orders, between the shards and the venue.

    1 promises     how far may event time advance without anything earlier arriving
    2 venue event  journal, order state, position, report to the shard
    3 quote        mark to market, day, drawdown, grid of totals, deadlines; entries leave a book that went stale
    4 intent       duplicate, gate, risk (the same pure function as in the shard), journal, then out
    5 protection   after every change: one stop per position, resized, confirmed in time, else a market close; then
                   the take-profit

At equal times venue events go first, then quotes, then intents by (instrument, event_no): the result depends on the
input alone, not on scheduling, the number of shards or processes.

Budget: intent read to request written, 1 us (`order_inside`); most of it is the journal's check sum.
"""

import numpy as np

from bot4.atomics import load_acquire, store_release
from bot4.crash import RECOVERY_ANSWER, RECOVERY_ANSWERED, crash_here
from bot4.engine.execution_memory import DAY_NS, ITEM_RECORDS, PROTECTIVE_RESERVE, REPORT_RESERVE, SAMPLE_NS
from bot4.engine.intent import on_intent
from bot4.engine.journal import journal_room
from bot4.engine.order_out import halt, must_halt, question_silent_orders, withdraw
from bot4.engine.portfolio import STATE_RECOVERING, is_breaker_open
from bot4.engine.protection import flatten, move_stop, protect, watch_profit
from bot4.engine.recovery import finish_recovery
from bot4.engine.report_out import clear_report, count_alarm, resync_shard, send_totals, write_journal
from bot4.engine.slicing import work_slices
from bot4.engine.tighten import reach, take_limits
from bot4.engine.venue_event import mark_position, note_second, on_event
from bot4.jit import inlined, kernel
from bot4.kernels.risk.drawdown import check_ruin, is_lost
from bot4.kernels.risk.portfolio import is_priced
from bot4.model.breaker import CLOSED, HALF_OPEN, JOURNALED, OPEN, WORD, breaker_row
from bot4.model.enums import (
    INT64_MAX,
    OK,
    RISK_DRAWDOWN,
    STATUS_STALE,
    STATUS_WHOLE,
    TICK_QUOTE,
    TICK_STATUS,
)
from bot4.model.records import (
    JOURNAL_BREAKER,
    JOURNAL_DAY_SHUT,
    JOURNAL_SAMPLE,
    ORDER_WORDS,
    TICK_WORDS,
)
from bot4.shm.breaker_word import show_breaker
from bot4.shm.layout import (
    CLOCK_EXEC_SHARD,
    CLOCK_EXEC_VENUE,
    CLOCK_FEED,
    CLOCK_SHARD,
    CLOCK_VENUE,
    CONTROL_KILL,
    CONTROL_RESYNC,
    KILLED_BY_DAILY_LOSS,
    KILLED_BY_DRAWDOWN,
    LINE,
    RING_HEAD,
)
from bot4.shm.spsc_ring import consume, has_space, next_time, peek_order, peek_tick, unread_time
from bot4.shm.waiting import IDLE_POLLS, SLEPT, rest, rise, wake
from bot4.shm.wires import (
    EXECUTION_ROW,
    GAUGE_EVENT_TIME_NS,
    GAUGE_EXEC_ALARMS,
    GAUGE_EXEC_BREAKER,
    GAUGE_EXEC_BREAKER_UNTIL_NS,
    GAUGE_EXEC_DAY_SHUT_UNTIL_NS,
    GAUGE_EXEC_DAY_START_E8,
    GAUGE_EXEC_DRAWDOWN_PPM,
    GAUGE_EXEC_EQUITY_E8,
    GAUGE_EXEC_FILLS,
    GAUGE_EXEC_FLATTENS,
    GAUGE_EXEC_HIGH_WATER_E8,
    GAUGE_EXEC_INTENTS,
    GAUGE_EXEC_NAKED_NS_MAX,
    GAUGE_EXEC_OPEN_ORDERS,
    GAUGE_EXEC_ORDERS,
    GAUGE_EXEC_STATE,
    GAUGE_EXEC_STOPS_PLACED,
    GAUGE_EXEC_STOPS_TRIGGERED,
    GAUGE_EXEC_STREAK,
    GAUGE_EXEC_STREAK_UNTIL_NS,
    GAUGE_EXEC_UNKNOWN,
    GAUGE_ITEMS,
    POSITION_ASK,
    POSITION_BID,
    POSITION_COST_TL,
    POSITION_FEES_E8,
    POSITION_FUNDING_E8,
    POSITION_LOTS,
    POSITION_QUOTE_NS,
    POSITION_REALISED_TL,
    POSITION_STOP_LOTS,
    POSITION_STOP_TICKS,
    POSITION_WHOLE,
)

LATEST_NS = 2**61  # later than any moment, the year 2043; twice that and all records there will be fit into 64 bits
VENUE_BREAKER = breaker_row("venue", 0)


@kernel
def _end_losing(x, wires, session, limits):
    """So much is lost that nothing is opened until the next day, or until a person resets the kill switch.

    What is held keeps its stops.
    """
    account = x.account[0]
    if account["reached_ns"] >= account["day_shut_until_ns"] and is_lost(
        account["day_start_e8"], account["equity_e8"], limits[0]["daily_loss_bps"], limits[0]
    ):
        account["day_shut_until_ns"] = (account["day"] + 1) * DAY_NS + limits[0]["day_offset_ns"]
        account["next_grid_ns"] = 0  # the shards hear of it at once
        if journal_room(x.header) >= ITEM_RECORDS:
            clear_report(x)
            x.report[0]["cash_e8"] = account["day_shut_until_ns"]
            write_journal(x, JOURNAL_DAY_SHUT, account["now_ns"], np.int64(-1), np.int64(0), x.report_words)
    if account["killed"] != 0 or load_acquire(wires.control, CONTROL_KILL) != 0:
        return
    code = check_ruin(account, limits[0])
    if code != OK:
        count_alarm(x)
        word = KILLED_BY_DRAWDOWN if code == RISK_DRAWDOWN else KILLED_BY_DAILY_LOSS
        # SYNC POINT: pairs with the load_acquire of whoever looks whether it is killed.
        store_release(wires.control, CONTROL_KILL, word)
        if account["state"] != STATE_RECOVERING:  # else as soon as it is known what is open
            halt(x, wires, session)


@kernel
def _on_tick(x, wires, instruments, limits, session):
    tick = x.tick[0]
    account = x.account[0]
    account["now_ns"] = max(account["now_ns"], tick["ts_recv_ns"])
    instrument = np.int64(tick["instrument"])
    position = x.positions[instrument]
    kind = np.int64(tick["kind"])
    if kind == TICK_QUOTE:
        position["bid_ticks"] = tick["w0"]
        position["ask_ticks"] = tick["w2"]
        position["quote_ts_ns"] = tick["ts_recv_ns"]
        if position["lots"] != 0:
            mark_position(x, instruments, instrument)
            move_stop(x, wires, instruments, limits, session, instrument)
            watch_profit(x, wires, instruments, limits, session, instrument)
            _end_losing(x, wires, session, limits)
    elif kind == TICK_STATUS:
        position["whole"] = 1 if tick["w0"] == STATUS_WHOLE else 0
        wires.positions[instrument, POSITION_WHOLE] = position["whole"]
        if tick["w0"] == STATUS_STALE:
            withdraw(x, wires, session, instrument)
    _publish_position(x, wires, instrument)


@kernel
def _journal_breakers(x, wires, n_shards):
    """Breakers that go by the clock and have changed; the venue's and the models' follow from the rest."""
    for row in range(len(wires.breakers) - n_shards):
        words = wires.breakers[row]
        # SYNC POINT: pairs with the store of whoever keeps the breaker.
        word = load_acquire(words, WORD)
        if word != words[JOURNALED] and row != VENUE_BREAKER and journal_room(x.header) > 2 * PROTECTIVE_RESERVE:
            words[JOURNALED] = word
            clear_report(x)
            x.report[0]["cash_e8"] = word
            write_journal(x, JOURNAL_BREAKER, x.account[0]["now_ns"], np.int64(-1), np.int64(row), x.report_words)


@kernel
def _on_time(x, wires, instruments, limits, session):
    """What is due at this event time: a new day, totals, samples, protection that is late."""
    account = x.account[0]
    now = account["now_ns"]
    if now >= account["next_grid_ns"]:
        _end_losing(x, wires, session, limits)
        grid = session[0]["totals_grid_ns"]
        account["next_grid_ns"] = (now // grid + 1) * grid
        if account["killed"] != 0:
            halt(x, wires, session)  # again and again until every cancel has found room
        account["unknown"] = 0
        if account["open_orders"] > 0:
            question_silent_orders(x, wires, session)
            for instrument in range(len(x.positions)):
                if x.positions[instrument]["whole"] == 0:
                    withdraw(x, wires, session, np.int64(instrument))
        for shard in range(session[0]["n_shards"]):
            if x.lost[shard] == 0 and has_space(wires.reports[shard], REPORT_RESERVE):
                send_totals(x, wires, session, shard)
        _journal_breakers(x, wires, session[0]["n_shards"])
        if now >= account["next_sample_ns"]:
            account["next_sample_ns"] = (now // SAMPLE_NS + 1) * SAMPLE_NS
            has_room = journal_room(x.header) > 4 * PROTECTIVE_RESERVE  # the rest is for orders
            clear_report(x)
            for instrument in range(len(x.positions)):
                priced = is_priced(x.positions[instrument], now, limits[0]["quote_age_ns"])
                fresh = np.int64(1 if priced else 0)
                if has_room:
                    write_journal(x, JOURNAL_SAMPLE, now, np.int64(instrument), fresh, x.report_words)
                note_second(x, limits, np.int64(instrument), fresh, now)
    if now >= account["next_deadline_ns"]:
        account["next_deadline_ns"] = INT64_MAX
        for instrument in range(len(x.positions)):
            position = x.positions[instrument]
            since = position["naked_since_ns"]
            if position["lots"] != 0 and since != 0 and now >= since + limits[0]["stop_confirm_ns"]:
                flatten(x, wires, instruments, limits, session, instrument)
                account["next_deadline_ns"] = min(account["next_deadline_ns"], now + limits[0]["stop_confirm_ns"])
            if position["retry"] != 0 or since != 0:
                protect(x, wires, instruments, limits, session, instrument)
                _publish_position(x, wires, np.int64(instrument))
            if position["sliced_row"] >= 0:
                work_slices(x, wires, instruments, limits, session, np.int64(instrument))


@inlined
def _pass_time(x, wires, instruments, limits, session, clock_ns):
    """Nothing has come, and the feed promises nothing earlier than this: at a real venue what is due does not wait.

    A market may be silent while a stop has not been confirmed; a simulated venue has no time but the market's.
    """
    account = x.account[0]
    if clock_ns > account["now_ns"] and clock_ns >= min(account["next_grid_ns"], account["next_deadline_ns"]):
        account["now_ns"] = clock_ns
        _on_time(x, wires, instruments, limits, session)


@inlined
def _later(time_ns, latency_ns):
    return INT64_MAX if time_ns >= INT64_MAX - latency_ns else time_ns + latency_ns


@kernel
def _goes_first(x, shard_a, time_a, wires):
    """False if another shard's next intent goes before shard_a's, which is in x.intent (ties by instrument)."""
    for other in range(wires.intents.shape[0]):
        if other == shard_a or next_time(wires.intents[other], ORDER_WORDS) != time_a:
            continue
        peek_order(wires.intents[other], x.request_words, 0)
        rival = x.request[0]
        mine = x.intent[0]
        if np.int64(rival["instrument"]) < np.int64(mine["instrument"]):
            return False
    return True


@kernel
def execution_step(x, wires, instruments, limits, session, max_items):
    """Handle up to `max_items` venue events, quotes and intents in event-time order; publish promises.

    Parameters
    ----------
    x : ExecutionMemory
    wires : Wires
    instruments, limits, session : INSTRUMENT[n], LIMITS[1], SESSION[1]
    max_items : int64, bound of the batch

    Returns
    -------
    int64, items handled

    Notes
    -----
    Complexity: O(max_items * n_shards). Errors: reject codes in wires.rejects[n_shards].
    Twin: tests/reference/engine/execution.py
    """
    account = x.account[0]
    account["message_refill_ns"] = limits[0]["message_refill_ns"]
    paced = session[0]["paced"] != 0
    items = np.int64(0)
    while items < max_items:
        # SYNC POINT: every promise is read before the ring it speaks of.
        feed_clock = load_acquire(wires.clocks, CLOCK_FEED)
        venue_clock = load_acquire(wires.clocks, CLOCK_VENUE)
        unread = unread_time(wires.requests, ORDER_WORDS)
        if unread >= 0:
            venue_clock = min(venue_clock, unread + session[0]["report_latency_ns"])
        shard_bound = np.int64(INT64_MAX)  # nothing from a shard before this
        silent_bound = np.int64(INT64_MAX)  # nothing from a shard whose ring is empty before this
        first_shard = -1
        first_time = np.int64(INT64_MAX)
        for shard in range(session[0]["n_shards"]):
            promise = load_acquire(wires.clocks, CLOCK_SHARD + shard * LINE)
            waiting = next_time(wires.intents[shard], ORDER_WORDS)
            if waiting < 0:
                silent_bound = min(silent_bound, promise)
                shard_bound = min(shard_bound, promise)
            else:
                shard_bound = min(shard_bound, waiting)
                if waiting < first_time:
                    first_time = waiting
                    first_shard = shard
        quote_time = next_time(wires.quotes, TICK_WORDS)
        quote_bound = quote_time if quote_time >= 0 else feed_clock
        event_time = next_time(wires.events, ORDER_WORDS)
        event_bound = event_time if event_time >= 0 else venue_clock

        lower = min(shard_bound, quote_bound)
        # Answers of a recovery are taken ahead of older quotes; who dies then goes on from their time, and asks at it.
        promise_venue = _later(max(lower, account["now_ns"]), session[0]["order_latency_ns"])
        promise_shard = _later(min(lower, event_bound), session[0]["internal_latency_ns"])
        if account["state"] != STATE_RECOVERING:
            take_limits(x, wires, session, promise_shard)
        if promise_venue != account["published_venue"]:
            account["published_venue"] = promise_venue
            store_release(wires.clocks, CLOCK_EXEC_VENUE, promise_venue)
        if promise_shard != account["published_shard"] and account["state"] != STATE_RECOVERING:
            account["published_shard"] = promise_shard
            store_release(wires.clocks, CLOCK_EXEC_SHARD, promise_shard)

        if account["state"] == STATE_RECOVERING:
            if event_time < 0 or not has_space(wires.requests, 2) or journal_room(x.header) < ITEM_RECORDS:
                break
            # No day ends by an answer before the quotes of that day have been taken.
            known_ns = quote_time if quote_time >= 0 else feed_clock
            reach(x, min(event_time, known_ns) if known_ns > 0 else event_time)
            _end_losing(x, wires, session, limits)  # told by the event before, or journaled and death came before this
            peek_order(wires.events, x.event_words, 0)
            on_event(x, wires, instruments, limits, session)
            crash_here(RECOVERY_ANSWER)
            if account["asking"] == 0:
                crash_here(RECOVERY_ANSWERED)
                finish_recovery(x, wires, instruments, limits, session)
                account["shown"] = 0
            consume(wires.events)  # last: the venue counts what an unread event may still cause
            items += 1
            continue

        if not paced:
            if quote_time < 0:
                quote_bound = np.int64(INT64_MAX)
            if event_time < 0:
                event_bound = np.int64(INT64_MAX)
            silent_bound = np.int64(INT64_MAX)
            shard_bound = first_time
        if event_time >= 0 and event_time <= quote_bound and event_time <= shard_bound:
            if not has_space(wires.requests, 2) or journal_room(x.header) < ITEM_RECORDS:
                break
            reach(x, event_time)
            peek_order(wires.events, x.event_words, 0)
            on_event(x, wires, instruments, limits, session)
            _end_losing(x, wires, session, limits)
            if np.int64(x.event[0]["instrument"]) < len(x.positions):
                _publish_position(x, wires, np.int64(x.event[0]["instrument"]))
            consume(wires.events)
        elif quote_time >= 0 and quote_time < event_bound and quote_time <= shard_bound:
            reach(x, quote_time)
            peek_tick(wires.quotes, x.tick_words, 0)
            _on_tick(x, wires, instruments, limits, session)
            consume(wires.quotes)
        elif first_shard >= 0 and first_time < event_bound and first_time < quote_bound and first_time < silent_bound:
            for shard in range(session[0]["n_shards"]):
                if next_time(wires.intents[shard], ORDER_WORDS) == first_time:
                    peek_order(wires.intents[shard], x.intent_words, 0)
                    if _goes_first(x, shard, first_time, wires):
                        first_shard = shard
                        break
            peek_order(wires.intents[first_shard], x.intent_words, 0)
            on_intent(x, wires, instruments, limits, session, first_shard)
            consume(wires.intents[first_shard])
        else:
            if session[0]["asks_first"] != 0 and feed_clock < INT64_MAX:
                _pass_time(x, wires, instruments, limits, session, feed_clock)
            break
        items += 1
        now = account["now_ns"]
        if now >= account["next_grid_ns"] or now >= account["next_deadline_ns"]:
            _on_time(x, wires, instruments, limits, session)
    if must_halt(x, wires):
        halt(x, wires, session)
    _serve_shards(x, wires, instruments, session)
    _publish(x, wires, session, items)
    return items


@kernel
def _serve_shards(x, wires, instruments, session):
    """Answer shards that ask for the full picture, or that missed a report.

    Not while an intent of theirs lies unread: a shard that died after it would be told a picture without it, and decide
    again.
    """
    if x.account[0]["state"] == STATE_RECOVERING:
        return
    for shard in range(session[0]["n_shards"]):
        asked = load_acquire(wires.control, CONTROL_RESYNC + shard * LINE)
        if next_time(wires.intents[shard], ORDER_WORDS) >= 0:
            continue
        if (asked != x.resync_seen[shard] or x.lost[shard] != 0) and resync_shard(
            x, wires, instruments, session, shard
        ):
            x.resync_seen[shard] = asked


@kernel
def _publish_position(x, wires, instrument):
    """One position for whoever looks on; the others have not changed."""
    position = x.positions[instrument]
    out = wires.positions[instrument]
    out[POSITION_LOTS] = position["lots"]
    out[POSITION_COST_TL] = position["cost_tl"]
    out[POSITION_REALISED_TL] = position["realised_tl"]
    out[POSITION_FEES_E8] = position["fees_e8"]
    out[POSITION_FUNDING_E8] = position["funding_e8"]
    out[POSITION_BID] = position["bid_ticks"]
    out[POSITION_ASK] = position["ask_ticks"]
    out[POSITION_QUOTE_NS] = position["quote_ts_ns"]
    out[POSITION_STOP_TICKS] = position["stop_ticks"]
    stop = position["stop_row"]
    out[POSITION_STOP_LOTS] = 0 if stop < 0 else x.orders[stop]["qty_lots"] - x.orders[stop]["cum_lots"]


@inlined
def _publish_breaker(row, account):
    """The venue's breaker, which is a function of the journal, for whoever looks on."""
    state = np.int64(CLOSED)
    if account["now_ns"] < account["breaker_open_until_ns"]:
        state = np.int64(OPEN)
    elif account["breaker_trips"] > 0:
        state = np.int64(HALF_OPEN)
    show_breaker(row, state, account["breaker_open_until_ns"], account["breaker_trips"], 0, account["now_ns"])


@kernel
def _publish(x, wires, session, items):
    """Gauges for whoever looks on, and the first time all positions."""
    row = wires.gauges[session[0]["n_shards"]]
    account = x.account[0]
    row[GAUGE_ITEMS] += items
    row[GAUGE_EVENT_TIME_NS] = account["now_ns"]
    row[GAUGE_EXEC_STATE] = account["state"]
    if items == 0:
        return
    row[GAUGE_EXEC_INTENTS] = x.stats[GAUGE_EXEC_INTENTS]
    row[GAUGE_EXEC_ORDERS] = x.stats[GAUGE_EXEC_ORDERS]
    row[GAUGE_EXEC_FILLS] = x.stats[GAUGE_EXEC_FILLS]
    row[GAUGE_EXEC_STOPS_PLACED] = x.stats[GAUGE_EXEC_STOPS_PLACED]
    row[GAUGE_EXEC_STOPS_TRIGGERED] = x.stats[GAUGE_EXEC_STOPS_TRIGGERED]
    row[GAUGE_EXEC_NAKED_NS_MAX] = x.stats[GAUGE_EXEC_NAKED_NS_MAX]
    row[GAUGE_EXEC_FLATTENS] = x.stats[GAUGE_EXEC_FLATTENS]
    row[GAUGE_EXEC_EQUITY_E8] = account["equity_e8"]
    row[GAUGE_EXEC_HIGH_WATER_E8] = account["high_water_e8"]
    row[GAUGE_EXEC_DAY_START_E8] = account["day_start_e8"]
    row[GAUGE_EXEC_DRAWDOWN_PPM] = account["drawdown_ppm"]
    row[GAUGE_EXEC_OPEN_ORDERS] = account["open_orders"]
    row[GAUGE_EXEC_BREAKER] = is_breaker_open(account)
    _publish_breaker(wires.breakers[VENUE_BREAKER], account)
    row[GAUGE_EXEC_STREAK] = 1 if account["now_ns"] < account["streak_until_ns"] else 0
    row[GAUGE_EXEC_STREAK_UNTIL_NS] = account["streak_until_ns"]
    row[GAUGE_EXEC_DAY_SHUT_UNTIL_NS] = account["day_shut_until_ns"]
    row[GAUGE_EXEC_BREAKER_UNTIL_NS] = max(account["breaker_open_until_ns"], account["breaker_probe_until_ns"])
    row[GAUGE_EXEC_UNKNOWN] = account["unknown"]
    row[GAUGE_EXEC_ALARMS] = account["alarms"]
    if account["shown"] == 0 or account["state"] == STATE_RECOVERING:
        account["shown"] = 1  # from then on whatever touches a position shows it
        for instrument in range(len(x.positions)):
            _publish_position(x, wires, np.int64(instrument))


@inlined
def _told(wires, session):
    """Changes with whatever execution has published: a request, a report, a promise."""
    told = wires.requests[RING_HEAD]
    told += min(wires.clocks[CLOCK_EXEC_VENUE], LATEST_NS) + min(wires.clocks[CLOCK_EXEC_SHARD], LATEST_NS)
    for shard in range(session[0]["n_shards"]):
        told += wires.reports[shard, RING_HEAD]
    return told


@kernel
def execution_run(x, wires, instruments, limits, session, max_items, idle, peers):
    """Poll `idle[IDLE_POLLS]` times, or until a sleep is over, and wake the peers after each poll that had news.

    Parameters
    ----------
    x .. max_items : as for `execution_step`
    idle : int64[IDLE_WORDS], how to wait
    peers : int64[n], rows of those that wait for execution

    Returns
    -------
    int64, items handled
    """
    row = session[0]["n_shards"] + EXECUTION_ROW
    handled = np.int64(0)
    empty = np.int64(0)
    for _ in range(idle[IDLE_POLLS]):
        told = _told(wires, session)
        done = execution_step(x, wires, instruments, limits, session, max_items)
        handled += done
        if done > 0 or _told(wires, session) != told:
            empty = rise(wires.waiters, row, idle, empty)
            wake(wires.waiters, peers)
            if handled >= max_items:
                break
        else:
            empty = rest(wires.waiters, row, idle, empty)
            if empty == SLEPT:
                break
    rise(wires.waiters, row, idle, empty)  # nobody need wake a process that does not sleep
    return handled
