"""One shard's duty cycle: from a tick to an order intent, everything compiled, nothing allocated.

    1 data check   fields, time, unbroken count; the book and the open bar take the record in
    2 indicators   when a bar has closed
    3 decision     on the last record of a message: score, hysteresis, minimum hold, warm-up
    4 sizing       fraction of equity, price, stop
    5 risk         the same pure function that execution calls; then the intent goes into the ring

`step` is the five stages without any ring and is what `bot4-bench step` times; `shard_step` is `step` between rings
with the promises of event time around it. Budget of `step`: 60 ns median over instruments in random order.

This file is a template: `load_loop` in `engine/shard.py` makes a copy of it for another strategy by replacing the one
import line of the strategy, so that the strategy's functions are globals, inlined, cached on disk, and never stale.
"""

from typing import NamedTuple

import numpy as np

from bot4.atomics import load_acquire, rdtsc, store_release
from bot4.engine.shard_keep import NUMBER, keep, keep_number
from bot4.jit import inlined, kernel
from bot4.kernels.book import (
    book_apply_tick,
    top_ask,
    top_ask_lots,
    top_bid,
    top_bid_lots,
)
from bot4.kernels.breaker import is_shut, note_outcome
from bot4.kernels.data_check import check_sequence, check_values
from bot4.kernels.decision.gate import check_gate
from bot4.kernels.decision.score import target_of
from bot4.kernels.indicators.atr import atr_init, atr_ready, atr_update
from bot4.kernels.indicators.bar import bar_add, bar_close, bar_init, bar_is_over, bar_size
from bot4.kernels.indicators.imbalance import imbalance
from bot4.kernels.indicators.microprice import microprice
from bot4.kernels.indicators.vwap import vwap_init, vwap_update
from bot4.kernels.risk.order_checks import check_order, note_done, note_fill, note_order, note_protective_fill
from bot4.kernels.sizing.entry import size_entry
from bot4.kernels.sizing.stop_price import profit_price_ticks, stop_price_ticks
from bot4.model.breaker import breaker_row
from bot4.model.enums import (
    ACTION_CANCEL,
    ACTION_PLACE,
    DATA_BAD_KIND,
    DATA_STALE,
    DECISION_BAD_SCORE,
    DECISION_GATE_SHUT,
    DECISION_MODEL_SHUT,
    DECISION_NO_QUOTE,
    DECISION_WARMING,
    EXEC_RING_FULL,
    FLAG_LAST,
    FLAG_SNAPSHOT,
    INT64_MAX,
    LEG_ENTRY,
    LEG_EXIT,
    OK,
    ORDER_POST_ONLY,
    ORDER_REDUCE_ONLY,
    REPORT_CANCELED,
    REPORT_DENIED,
    REPORT_EXPIRED,
    REPORT_FILL,
    REPORT_LIMIT,
    REPORT_ORDER,
    REPORT_POSITION,
    REPORT_QUERY_END,
    REPORT_REJECT,
    REPORT_TOTALS,
    RISK_SIZE_ZERO,
    STATUS_CLEAR,
    TICK_LEVEL,
    TICK_MARK,
    TICK_STATUS,
    TICK_TRADE,
    TIF_GTC,
    TIF_IOC,
    TYPE_LIMIT,
    TYPE_MARKET,
)
from bot4.model.records import ORDER_WORDS, TICK_WORDS
from bot4.shm.breaker_word import show_breaker
from bot4.shm.histogram import histogram_record
from bot4.shm.layout import (
    CLOCK_EXEC_SHARD,
    CLOCK_FEED,
    CLOCK_SHARD,
    CONTROL_KILL,
    CONTROL_RESYNC,
    CONTROL_SNAPSHOT,
    LINE,
    RING_HEAD,
    RING_TAIL,
)
from bot4.shm.spsc_ring import consume, has_space, next_time, peek_order, peek_tick, push_order
from bot4.shm.waiting import IDLE_POLLS, SLEPT, rest, rise, wake
from bot4.shm.wires import (
    GAPPED_SHARD,
    GAUGE_EVENT_TIME_NS,
    GAUGE_ITEMS,
    GAUGE_SHARD_GATE_OPEN,
    GAUGE_SHARD_INTENTS,
    GAUGE_SHARD_STEPS,
    STAGE_FEED_TO_SHARD,
    STAGE_STEP,
    STAGE_TICK_TO_INTENT,
)
from bot4.strategies.trend import STATE, init, on_bar, on_fill, on_tick  # noqa: F401  (STATE: for the builder)

STEP_NOTHING = 0  # nothing to do, or the record only moved book and indicators
STEP_INTENT = -1  # `shard.intent` holds an order that passed every check; `note_intent` after it is out
STEP_CANCEL = -2  # `shard.intent` holds a cancel of our resting entry
CANCEL_RETRY_NS = 1_000_000_000  # a cancel that nothing came of is sent again; execution ignores one too many
REFUSAL_PAUSE_NS = 100_000_000  # after a refusal by execution or venue: asking at every tick would only repeat it
LOW_HALF = 0xFFFF_FFFF
MODEL_BREAKERS = breaker_row("model", 0)
MOST_TICKS = 2**31 - 1  # of a distance in an intent


class ShardMemory(NamedTuple):
    """Everything a shard knows, private to it. Rows of instruments of other shards stay untouched.

    The scratch records come twice, as record and as int64 words over the same memory.
    """

    states: np.ndarray  # SHARD_STATE[n_instruments]
    views: np.ndarray  # VIEW[n_instruments]
    risks: np.ndarray  # RISK_VIEW[n_instruments]
    books: np.ndarray  # BOOK[n_instruments]
    strategies: np.ndarray  # STATE of the strategy [n_instruments]
    strategy_words: np.ndarray  # int64[n_instruments, words]: the same memory
    params: np.ndarray  # PARAMS of the strategy [1]
    limits: np.ndarray  # LIMITS[1], in force for this shard
    limit_words: np.ndarray  # int64[LIMIT_WORDS]: the same memory
    status: np.ndarray  # SHARD_STATUS[1]
    model: np.ndarray  # BREAKER[1], of the strategy
    kept: np.ndarray  # int64[n_instruments, words]: what the next life goes on from, see engine/shard_keep.py
    state_words: np.ndarray  # int64[n_instruments, words]: the same memory as states, views
    view_words: np.ndarray
    tick: np.ndarray  # TICK[1]
    tick_words: np.ndarray
    report: np.ndarray  # EXEC_REPORT[1]
    totals: np.ndarray  # PORTFOLIO_TOTALS[1], the same memory
    report_words: np.ndarray
    intent: np.ndarray  # ORDER_INTENT[1]
    intent_words: np.ndarray


# --- indicators ------------------------------------------------------------------------------------------------------


@kernel
def reset_indicators(shard, i):
    """Start the warm-up of instrument `i` anew; position, order and limits' memory stay.

    Notes
    -----
    Complexity: O(words of the strategy's state). Twin: tests/reference/engine/shard.py
    """
    state = shard.states[i]
    bar_init(state["bar"])
    atr_init(state["atr"], shard.params[0]["atr_period"])
    vwap_init(state["vwap"])
    for word in range(shard.strategy_words.shape[1]):
        shard.strategy_words[i, word] = 0
    view = shard.views[i]
    view["bars"] = 0
    view["atr"] = 0.0
    init(shard.params[0], shard.strategies[i])


@inlined
def _close_bar(shard, i):
    state = shard.states[i]
    view = shard.views[i]
    bar = state["bar"]
    first = bar["open"]  # read whole before anything is written: the compiler cannot tell the records apart
    high = bar["high"]
    low = bar["low"]
    close = bar["close"]
    volume = bar["volume"]
    buy_volume = bar["buy_volume"]
    turnover = bar["turnover"]
    trades = bar["trades"]
    begin_ns = bar["begin_ns"]
    end_ns = bar["end_ns"]
    bar_close(bar)
    closed = bar["closed"]
    view["open"] = first
    view["high"] = high
    view["low"] = low
    view["close"] = close
    view["volume"] = float(volume)
    view["buy_volume"] = float(buy_volume)
    view["turnover"] = float(turnover)
    view["bar_trades"] = trades
    view["bar_begin_ns"] = begin_ns
    view["bar_end_ns"] = end_ns
    view["bars"] = closed
    view["atr"] = atr_update(state["atr"], high, low, close)
    on_bar(shard.params[0], shard.strategies[i], view)


@inlined
def _take_trade(shard, instruments, i, tick):
    params = shard.params[0]
    state = shard.states[i]
    view = shard.views[i]
    ts_ns = tick["ts_recv_ns"]
    price = tick["w0"]
    lots = tick["w1"]
    side = tick["w3"]
    kind = params["bar_kind"]
    size = bar_size(kind, params["bar_ns"], params["bar_size"], instruments[i]["value_e8"])
    view["trade_ticks"] = price
    view["trade_lots"] = lots
    view["trade_side"] = side
    view["vwap"] = vwap_update(state["vwap"], ts_ns, price, lots)
    if bar_add(state["bar"], ts_ns, price, lots, side, kind, size):
        _close_bar(shard, i)


@inlined
def _keep(shard, i, told):
    keep(shard.kept, i, shard.states[i], shard.state_words, shard.view_words, shard.strategy_words, told)


# --- order intents ---------------------------------------------------------------------------------------------------


@inlined
def _blank_intent(shard, instruments, session, i, tick, leg):
    words = shard.intent_words
    for word in range(ORDER_WORDS):
        words[word] = 0
    event_no = np.int64(tick["event_no"])
    words[0] = tick["ts_recv_ns"]
    words[1] = (
        (session["account"] << 48) | (session["strategy"] << 32) | (np.int64(i) << 16) | session["feed_generation"]
    )
    words[2] = (event_no << 32) | (np.int64(leg) << 24)
    intent = shard.intent[0]
    intent["instrument"] = i
    intent["strategy"] = session["strategy"]
    intent["shard"] = np.int64(instruments[i]["shard"])
    intent["action"] = ACTION_PLACE
    intent["leg"] = leg
    intent["event_no"] = event_no
    intent["order_row"] = -1
    intent["ref_ticks"] = shard.views[i]["bid_ticks"] + shard.views[i]["ask_ticks"]
    intent["score"] = shard.states[i]["last_score"]


@inlined
def _cancel_entry(shard, instruments, session, i, tick):
    """A cancel carries the id of the order that it ends."""
    state = shard.states[i]
    _blank_intent(shard, instruments, session, i, tick, LEG_ENTRY)
    shard.intent_words[1] = state["order_hi"]
    shard.intent_words[2] = state["order_lo"]
    shard.intent[0]["action"] = ACTION_CANCEL
    shard.intent[0]["side"] = state["order_side"]
    return STEP_CANCEL


@inlined
def _exit(shard, instruments, limits, session, i, tick):
    """Close the whole position at the market."""
    risk = shard.risks[i]
    position = risk["position_lots"]
    _blank_intent(shard, instruments, session, i, tick, LEG_EXIT)
    intent = shard.intent[0]
    intent["side"] = -1 if position > 0 else 1
    intent["type"] = TYPE_MARKET
    intent["tif"] = TIF_IOC
    intent["flags"] = ORDER_REDUCE_ONLY
    intent["qty_lots"] = abs(position)
    code = check_order(intent, risk, instruments[i], limits)
    return STEP_INTENT if code == OK else code


@inlined
def _entry(shard, instruments, limits, session, i, tick, side):
    """Open a position, if gate, sizing and risk allow it."""
    params = shard.params[0]
    state = shard.states[i]
    view = shard.views[i]
    risk = shard.risks[i]
    status = shard.status[0]
    if status["lagging"] != 0:
        return DATA_STALE
    ready = status["execution_gate"] != 0 and status["resyncing"] == 0
    warm = shard.strategies[i]["warm"] != 0 and atr_ready(state["atr"])
    code = check_gate(ready, warm, tick["ts_recv_ns"] - risk["quote_ts_ns"], limits["quote_age_ns"])
    if code != OK:
        return code
    resting = params["entry_style"] == 1
    if resting:
        price = view["bid_ticks"] if side > 0 else view["ask_ticks"]
    else:
        price = (view["ask_ticks"] if side > 0 else view["bid_ticks"]) + side * params["slippage_ticks"]
    stop = stop_price_ticks(side, price, view["atr"], params["stop_atr_multiple"], params["stop_min_bps"])
    lots, why = size_entry(params, state, view["atr"], side, price, stop, risk, instruments[i], limits)
    if lots == 0 and risk["equity_e8"] > 0:
        return RISK_SIZE_ZERO
    _blank_intent(shard, instruments, session, i, tick, LEG_ENTRY)
    intent = shard.intent[0]
    intent["side"] = side
    intent["type"] = TYPE_LIMIT
    intent["tif"] = TIF_GTC if resting else TIF_IOC
    intent["flags"] = ORDER_POST_ONLY if resting else 0
    intent["price_ticks"] = price
    # without equity: the least quantity, so that risk names that reason
    intent["qty_lots"] = lots if lots > 0 else max(instruments[i]["min_qty_lots"], 1)
    intent["sized_by"] = why
    intent["slices"] = params["entry_slices"]
    intent["slice_ds"] = params["slice_ms"] // 100
    intent["stop_ticks"] = stop
    if params["stop_trails"] == 1 and stop > 0:
        intent["trail_ticks"] = min(abs(price - stop), MOST_TICKS)
    intent["even_ticks"] = np.int64(min(view["atr"] * params["even_atr_multiple"], float(MOST_TICKS)))
    intent["aux"] = profit_price_ticks(side, price, view["atr"], params["profit_atr_multiple"])
    code = check_order(intent, risk, instruments[i], limits)
    return STEP_INTENT if code == OK else code


@inlined
def note_intent(shard, limits):
    """The intent in `shard.intent` is out: remember the order (or that its cancel is on its way)."""
    intent = shard.intent[0]
    i = np.int64(intent["instrument"])
    state = shard.states[i]
    if np.int64(intent["action"]) == ACTION_CANCEL:
        state["cancel_sent_ns"] = intent["ts_ns"]
        return
    note_order(intent, shard.risks[i], limits)
    state["order_active"] = 1
    state["cancel_sent_ns"] = 0
    state["order_hi"] = shard.intent_words[1]
    state["order_lo"] = shard.intent_words[2]
    state["order_leg"] = np.int64(intent["leg"])
    state["order_side"] = np.int64(intent["side"])
    state["order_leaves"] = intent["qty_lots"]
    state["order_sent_ns"] = intent["ts_ns"]


# --- decision --------------------------------------------------------------------------------------------------------


@inlined
def _decide(shard, instruments, limits, session, i, tick):
    params = shard.params[0]
    state = shard.states[i]
    view = shard.views[i]
    risk = shard.risks[i]
    book = shard.books[i]
    now_ns = tick["ts_recv_ns"]
    bid = top_bid(book)
    ask = top_ask(book)
    risk["bid_ticks"] = bid
    risk["ask_ticks"] = ask
    if bid <= 0 or ask <= bid:
        return DECISION_NO_QUOTE
    bid_lots = top_bid_lots(book)
    ask_lots = top_ask_lots(book)
    view["ts_ns"] = now_ns
    view["bid_ticks"] = bid
    view["ask_ticks"] = ask
    view["bid_lots"] = bid_lots
    view["ask_lots"] = ask_lots
    view["mid"] = 0.5 * (bid + ask)
    view["microprice"] = microprice(bid, bid_lots, ask, ask_lots)
    view["imbalance"] = imbalance(book, params["imbalance_levels"], bid_lots, ask_lots)
    score = on_tick(params, shard.strategies[i], view)
    model = shard.model[0]
    if not -1.0 <= score <= 1.0:  # NaN too; cut to that, a wrong scale would pass for the surest of scores
        note_outcome(model, True, now_ns)
        return DECISION_BAD_SCORE
    if is_shut(model):
        note_outcome(model, False, now_ns)
    state["last_score"] = score
    if state["order_active"]:
        takes = params["entry_style"] == 0
        if state["order_leg"] != LEG_ENTRY or (takes and params["entry_slices"] == 0):
            return STEP_NOTHING
        if state["cancel_sent_ns"] > 0 and now_ns - state["cancel_sent_ns"] < CANCEL_RETRY_NS:
            return STEP_NOTHING
        side = state["order_side"]
        wanted = target_of(score, side, params["enter_threshold"], params["exit_threshold"]) == side
        if wanted and (takes or now_ns - state["order_sent_ns"] < params["entry_life_ns"]):
            return STEP_NOTHING
        return _cancel_entry(shard, instruments, session, i, tick)
    position = risk["position_lots"]
    current = 1 if position > 0 else (-1 if position < 0 else 0)
    target = target_of(score, current, params["enter_threshold"], params["exit_threshold"])
    timed_out = current != 0 and 0 < params["max_hold_ns"] <= now_ns - state["entry_ns"]
    if (target == current and not timed_out) or now_ns < state["pause_until_ns"]:
        return STEP_NOTHING
    if current != 0:
        if now_ns - state["entry_ns"] < params["min_hold_ns"] and not timed_out:
            return STEP_NOTHING
        if shard.status[0]["resyncing"] != 0:  # an order of ours may still be told and take this one's place
            return DECISION_GATE_SHUT
        cold = shard.strategies[i]["warm"] == 0 and not timed_out
        if cold:  # the score means nothing yet: the stop guards the position meanwhile
            return DECISION_WARMING
        return _exit(shard, instruments, limits, session, i, tick)
    if is_shut(model):
        return DECISION_MODEL_SHUT
    return _entry(shard, instruments, limits, session, i, tick, target)


@inlined
def step(shard, instruments, limits, session, k, tick, killed):
    """The five stages for one tick, without rings.

    Parameters
    ----------
    shard : ShardMemory, changed
    instruments : INSTRUMENT[n]
    limits : LIMITS record
    session : SESSION record
    k : int64, this shard
    tick : TICK record
    killed : int64, the kill word

    Returns
    -------
    int64 : STEP_NOTHING, STEP_INTENT or STEP_CANCEL (see `shard.intent`), or a reject code 1xx-3xx

    Notes
    -----
    Complexity: O(1) but for a change deep in the book. Invariant: no decision between the records of one message, none
    on a refused record. Twin: tests/reference/engine/shard.py
    """
    i = np.int64(tick["instrument"])
    if i >= len(instruments) or np.int64(instruments[i]["shard"]) != k:
        return DATA_BAD_KIND
    state = shard.states[i]
    # 1 data check
    flags = np.int64(tick["flags"])
    if flags & FLAG_SNAPSHOT and state["synced"] and np.int64(tick["event_no"]) >= state["next_event_no"]:
        reset_indicators(shard, i)  # records before this snapshot are missing
    code = check_sequence(tick, state)
    if code == OK:
        code = check_values(tick)
    if code != OK:
        if state["synced"]:
            state["synced"] = 0
            shard.status[0]["snapshot_wanted"] = 1
            reset_indicators(shard, i)
        return code
    # 2 indicators
    ts_ns = tick["ts_recv_ns"]
    if bar_is_over(state["bar"], ts_ns):
        _close_bar(shard, i)
    kind = np.int64(tick["kind"])
    if kind == TICK_TRADE:
        _take_trade(shard, instruments, i, tick)
    elif kind == TICK_MARK:
        state["mark_e8"] = tick["w0"]
        return STEP_NOTHING
    elif not state["blind"] or (kind == TICK_STATUS and tick["w0"] == STATUS_CLEAR):
        state["blind"] = 0  # with this a whole book begins
        book = shard.books[i]
        book_apply_tick(book, tick)
        shard.risks[i]["stale"] = 0 if book["whole"] else 1
        if kind < TICK_MARK:
            shard.risks[i]["quote_ts_ns"] = ts_ns
    # 3 decision, 4 sizing, 5 risk
    if kind > TICK_MARK or not flags & FLAG_LAST:
        return STEP_NOTHING
    if state["blind"]:
        return DATA_STALE
    shard.risks[i]["killed"] = 1 if killed != 0 else 0
    return _decide(shard, instruments, limits, session, i, tick)


@kernel
def step_batch(shard, instruments, limits, session, ticks, first, count):
    """Steps over ticks[first : first + count] of shard 0; every intent is noted and expires at once unfilled.

    For the bench and for tests: no ring, no clock. Returns the number of intents.

    Parameters
    ----------
    shard : ShardMemory
    instruments : INSTRUMENT[n]; limits : LIMITS[1]; session : SESSION[1]
    ticks : TICK[m]
    first, count : int64

    Notes
    -----
    Complexity: O(count). Twin: tests/reference/engine/shard.py
    """
    intents = 0
    for position in range(first, first + count):
        tick = ticks[position]
        if step(shard, instruments, limits[0], session[0], 0, tick, 0) == STEP_INTENT:
            intents += 1
            note_intent(shard, limits[0])
            i = np.int64(shard.intent[0]["instrument"])
            shard.states[i]["order_active"] = 0
            note_done(shard.risks[i], shard.intent[0]["side"], shard.intent[0]["qty_lots"])
    return intents


# --- reports ---------------------------------------------------------------------------------------------------------


@inlined
def _end_order(state, risk, leaves_lots):
    note_done(risk, state["order_side"], leaves_lots)
    state["order_active"] = 0
    state["order_leaves"] = 0


@inlined
def _note_trip(state, before, side, lots, price_ticks, fee_e8, value_e8):
    """A fill in the statistics: what closes a position ends its account, what is left over begins another."""
    closing = min(lots, abs(before)) if before != 0 and (before > 0) != (side > 0) else np.int64(0)
    state["trip_cash_tl"] -= side * closing * price_ticks
    state["trip_fees_e8"] += fee_e8
    if closing > 0 and closing == abs(before):
        result = float(state["trip_cash_tl"]) * value_e8 - state["trip_fees_e8"]
        ppb = np.int64(result / (float(state["trip_cost_tl"]) * value_e8) * 1e9) if state["trip_cost_tl"] > 0 else 0
        state["trips"] += 1
        if ppb > 0:
            state["wins"] += 1
            state["won_ppb"] += ppb
        else:
            state["lost_ppb"] -= ppb
        state["trip_cash_tl"] = state["trip_cost_tl"] = state["trip_fees_e8"] = 0
    state["trip_cash_tl"] -= side * (lots - closing) * price_ticks
    state["trip_cost_tl"] += (lots - closing) * price_ticks


@inlined
def _take_fill(shard, instruments, i, ours):
    report = shard.report[0]
    state = shard.states[i]
    view = shard.views[i]
    risk = shard.risks[i]
    side = np.int64(report["side"])
    lots = report["qty_lots"]
    before = risk["position_lots"]
    _note_trip(state, before, side, lots, report["price_ticks"], report["fee_e8"], instruments[i]["value_e8"])
    if ours:
        note_fill(risk, side, lots)
        state["order_leaves"] = max(state["order_leaves"] - lots, 0)
        if state["order_leaves"] == 0 or report["leaves_lots"] == 0:
            _end_order(state, risk, state["order_leaves"])
    else:
        note_protective_fill(risk, side, lots)
    after = risk["position_lots"]
    if (before <= 0 < after) or (before >= 0 > after):
        state["entry_ns"] = report["ts_ns"]
    view["position_lots"] = after
    view["fill_ticks"] = report["price_ticks"]
    view["fill_lots"] = lots
    view["fill_side"] = side
    view["fill_leg"] = np.int64(report["leg"])
    on_fill(shard.params[0], shard.strategies[i], view)


@inlined
def _take_totals(shard, instruments, k):
    totals = shard.totals[0]
    shard.status[0]["execution_gate"] = totals["gate"]
    for i in range(len(instruments)):
        if np.int64(instruments[i]["shard"]) == k:
            risk = shard.risks[i]
            risk["equity_e8"] = totals["equity_e8"]
            risk["high_water_e8"] = totals["high_water_e8"]
            risk["day_start_e8"] = totals["day_start_e8"]
            risk["breaker_open"] = totals["breaker"]
            risk["streak"] = totals["streak"]
            risk["day_shut"] = totals["day_shut"]


@inlined
def _adopt_position(shard, i):
    """Execution's word on the position: it replaces ours, and whatever order we thought of.

    It begins the full picture, asked for or not: until the end mark our open orders are not known.
    """
    report = shard.report[0]
    shard.status[0]["resyncing"] = 1
    if shard.views[i]["position_lots"] != report["qty_lots"]:
        reset_indicators(shard, i)  # the strategy has missed a fill
        state = shard.states[i]
        state["trip_cash_tl"] = -report["cash_e8"]
        state["trip_cost_tl"] = abs(report["cash_e8"])
        state["trip_fees_e8"] = 0
    risk = shard.risks[i]
    risk["position_lots"] = report["qty_lots"]
    risk["pending_buy_lots"] = 0
    risk["pending_sell_lots"] = 0
    risk["open_orders"] = 0
    shard.views[i]["position_lots"] = report["qty_lots"]
    shard.states[i]["order_active"] = 0
    shard.states[i]["order_leaves"] = 0
    shard.states[i]["entry_ns"] = report["ts_ns"]


@inlined
def _adopt_order(shard, i):
    """Execution's word on an open order of an earlier life of this shard."""
    report = shard.report[0]
    state = shard.states[i]
    risk = shard.risks[i]
    side = np.int64(report["side"])
    state["order_active"] = 1
    state["cancel_sent_ns"] = 0
    state["order_hi"] = shard.report_words[1]
    state["order_lo"] = shard.report_words[2]
    state["order_leg"] = np.int64(report["leg"])
    state["order_side"] = side
    state["order_leaves"] = report["leaves_lots"]
    state["order_sent_ns"] = report["ts_ns"]
    if side > 0:
        risk["pending_buy_lots"] += report["leaves_lots"]
    else:
        risk["pending_sell_lots"] += report["leaves_lots"]
    risk["open_orders"] += 1


@kernel
def take_report(shard, instruments, k):
    """Apply the execution report in `shard.report`: own fills, ends of orders, totals, tighter limits, the
    answer to a resync.

    Notes
    -----
    Complexity: O(1), totals O(n_instruments). Reports of instruments that are not this shard's are ignored. A fill of
    an order that we do not know (a protective stop, or one from before a restart) moves the position alone.
    Twin: tests/reference/engine/shard.py
    """
    report = shard.report[0]
    kind = np.int64(report["kind"])
    if kind == REPORT_TOTALS:
        _take_totals(shard, instruments, k)
        return
    if kind == REPORT_LIMIT:
        shard.limit_words[np.int64(report["code"])] = report["cash_e8"]
        return
    if kind == REPORT_QUERY_END:
        shard.status[0]["resyncing"] = 0
        return
    i = np.int64(report["instrument"])
    if i >= len(instruments) or np.int64(instruments[i]["shard"]) != k:
        return
    state = shard.states[i]
    ours = (
        state["order_active"] != 0
        and shard.report_words[1] == state["order_hi"]
        and shard.report_words[2] == state["order_lo"]
    )
    if kind == REPORT_FILL:
        _take_fill(shard, instruments, i, ours)
    elif kind == REPORT_POSITION:
        _adopt_position(shard, i)
    elif kind == REPORT_ORDER:
        _adopt_order(shard, i)
    elif ours and (kind == REPORT_REJECT or kind == REPORT_DENIED or kind == REPORT_CANCELED or kind == REPORT_EXPIRED):
        _end_order(state, shard.risks[i], state["order_leaves"])
        if kind == REPORT_REJECT or kind == REPORT_DENIED:
            state["pause_until_ns"] = report["ts_ns"] + REFUSAL_PAUSE_NS


# --- the duty cycle --------------------------------------------------------------------------------------------------


@inlined
def _send(shard, wires, limits, k):
    """Push the intent in hand; a full ring refuses it and nothing is noted, so the next tick decides anew."""
    ring = wires.intents[k]
    if not has_space(ring, 1):
        wires.rejects[k, EXEC_RING_FULL] += 1
        return False
    push_order(ring, shard.intent_words, 0)
    note_intent(shard, limits)
    wires.gauges[k, GAUGE_SHARD_INTENTS] += 1
    return True


@inlined
def _keep_told(shard, instruments, k, told):
    """After a fill or a position: the strategy may have learnt from it, or begun anew."""
    i = np.int64(shard.report[0]["instrument"])
    kind = np.int64(shard.report[0]["kind"])
    if (kind == REPORT_FILL or kind == REPORT_POSITION) and i < len(instruments):
        if np.int64(instruments[i]["shard"]) == k:
            _keep(shard, i, told)


@inlined
def _count_open_gates(shard, instruments, k):
    status = shard.status[0]
    if status["execution_gate"] == 0 or status["resyncing"] != 0 or status["lagging"] != 0:
        return 0
    count = 0
    for i in range(len(instruments)):
        if np.int64(instruments[i]["shard"]) != k:
            continue
        state = shard.states[i]
        if state["synced"] and shard.books[i]["whole"] and shard.strategies[i]["warm"] and atr_ready(state["atr"]):
            count += 1
    return count


@inlined
def _tell_gaps(shard, wires, instruments, k):
    for i in range(len(instruments)):
        if np.int64(instruments[i]["shard"]) == k:
            state = shard.states[i]
            gapped = np.int64(0) if state["synced"] and not state["blind"] else np.int64(1)
            if wires.gapped[i, GAPPED_SHARD] != gapped:
                wires.gapped[i, GAPPED_SHARD] = gapped


@inlined
def _take_tick(shard, wires, instruments, limits, session, k):
    """One tick from the ring through the step; what comes of it goes out before the tick is taken."""
    measure = session["measure"] != 0 and session["paced"] == 0
    tick = shard.tick[0]
    start = np.int64(0)
    if measure:
        start = rdtsc()
    # SYNC POINT: pairs with the store_release of whoever killed.
    killed = load_acquire(wires.control, CONTROL_KILL)
    i = np.int64(tick["instrument"])
    ours = i < len(instruments) and np.int64(instruments[i]["shard"]) == k
    bars = shard.views[i]["bars"] if ours else np.int64(0)
    result = step(shard, instruments, limits, session, k, tick, killed)
    if result > 0:
        wires.rejects[k, result] += 1
    elif result < 0:
        age = np.int64(0)
        if measure:
            age = (start - np.int64(tick["tsc_low"])) & LOW_HALF
            shard.intent[0]["tsc"] = start - age
            shard.intent[0]["tsc_read"] = start
        if _send(shard, wires, limits, k) and measure and k == 0:
            histogram_record(wires.histograms[STAGE_TICK_TO_INTENT], rdtsc() - start + age)
    within = np.int64(tick["kind"]) == TICK_LEVEL and not np.int64(tick["flags"]) & FLAG_LAST
    if ours:
        if within and result == STEP_NOTHING and shard.views[i]["bars"] == bars and shard.kept[i, NUMBER] != 0:
            keep_number(shard.kept, i, shard.states[i])
        else:
            _keep(shard, i, wires.reports[k, RING_TAIL])
    if np.int64(tick["flags"]) & FLAG_LAST:
        wires.gauges[k, GAUGE_SHARD_STEPS] += 1
        if measure and k == 0:  # one writer a row
            histogram_record(wires.histograms[STAGE_FEED_TO_SHARD], (start - np.int64(tick["tsc_low"])) & LOW_HALF)
            histogram_record(wires.histograms[STAGE_STEP], rdtsc() - start)
    if shard.status[0]["snapshot_wanted"]:
        shard.status[0]["snapshot_wanted"] = 0
        word = CONTROL_SNAPSHOT + k * LINE
        # SYNC POINT: pairs with the feed's load_acquire of this word.
        store_release(wires.control, word, wires.control[word] + 1)


@kernel
def shard_step(shard, wires, instruments, limits, session, k, max_items):
    """Handle up to `max_items` reports and ticks in the order of event time and return how many.

    Parameters
    ----------
    shard : ShardMemory, changed
    wires : Wires
    instruments : INSTRUMENT[n]; limits : LIMITS[1]; session : SESSION[1]
    k : int64, this shard
    max_items : int64 > 0

    Notes
    -----
    Order: a report that is due at or before a tick goes before it. Paced by event time, a tick at t waits until
    execution has promised that no report at or before t is still to come. Promise given: CLOCK_SHARD, no intent earlier
    than the next tick. Complexity: O(max_items). Twin: tests/reference/engine/shard.py
    """
    run = session[0]
    paced = run["paced"] != 0
    ticks = wires.ticks[k]
    reports = wires.reports[k]
    clock = CLOCK_SHARD + k * LINE
    promised = wires.clocks[clock]
    handled = 0
    last_ns = np.int64(0)
    while handled < max_items:
        # Both clocks before the rings that they speak of: what was promised has then been pushed.
        # SYNC POINT: pairs with the feed's store_release.
        feed_ns = load_acquire(wires.clocks, CLOCK_FEED)
        report_bound_ns = INT64_MAX
        if paced:
            # SYNC POINT: pairs with execution's store_release.
            report_bound_ns = load_acquire(wires.clocks, CLOCK_EXEC_SHARD)
        tick_ns = next_time(ticks, TICK_WORDS)
        bound_ns = tick_ns if tick_ns >= 0 else feed_ns
        if bound_ns > promised and (paced or bound_ns == INT64_MAX):
            promised = bound_ns
            # SYNC POINT: pairs with execution's load_acquire; every earlier intent has been pushed.
            store_release(wires.clocks, clock, promised)
        report_ns = next_time(reports, ORDER_WORDS)
        if report_ns >= 0 and (report_ns <= bound_ns or (not paced and tick_ns < 0)):
            peek_order(reports, shard.report_words, 0)
            take_report(shard, instruments, k)
            _keep_told(shard, instruments, k, reports[RING_TAIL] + 1)
            consume(reports)
            last_ns = max(last_ns, report_ns)
        elif tick_ns >= 0 and report_bound_ns > tick_ns:
            peek_tick(ticks, shard.tick_words, 0)
            if run["lag_limit_ns"] > 0:
                status = shard.status[0]
                if feed_ns != INT64_MAX:  # at the end of the market its last time holds
                    status["feed_ns"] = feed_ns
                status["lagging"] = 1 if status["feed_ns"] - tick_ns > run["lag_limit_ns"] else 0
            _take_tick(shard, wires, instruments, limits[0], run, k)
            consume(ticks)
            last_ns = max(last_ns, tick_ns)
        else:
            break
        handled += 1
    if handled > 0:
        wires.gauges[k, GAUGE_ITEMS] += handled
        wires.gauges[k, GAUGE_EVENT_TIME_NS] = max(wires.gauges[k, GAUGE_EVENT_TIME_NS], last_ns)
        wires.gauges[k, GAUGE_SHARD_GATE_OPEN] = _count_open_gates(shard, instruments, k)
        _tell_gaps(shard, wires, instruments, k)
        model = shard.model[0]
        row = wires.breakers[MODEL_BREAKERS + run["n_shards"] + k]
        show_breaker(row, model["state"], model["until_ns"], model["trips"], model["failures"], last_ns)
        if not paced:
            tick_ns = next_time(ticks, TICK_WORDS)
            if tick_ns > promised:
                store_release(wires.clocks, clock, tick_ns)
    return handled


@inlined
def _told(wires, k):
    """Changes with whatever this shard has published: an intent, a promise, a question."""
    line = k * LINE
    asked = wires.control[CONTROL_SNAPSHOT + line] + wires.control[CONTROL_RESYNC + line]
    promised = min(wires.clocks[CLOCK_SHARD + line], 2**62)  # the last one, for good, is the largest number there is
    return wires.intents[k, RING_HEAD] + promised + asked


@kernel
def shard_run(shard, wires, instruments, limits, session, k, max_items, idle, peers):
    """Poll `idle[IDLE_POLLS]` times, or until a sleep is over, and wake the peers after each poll that had news.

    Parameters
    ----------
    shard .. max_items : as for `shard_step`
    idle : int64[IDLE_WORDS], how to wait
    peers : int64[n], rows of those that wait for this shard

    Returns
    -------
    int64, items handled

    Notes
    -----
    With a strategy that spins this makes no system call. Twin: tests/reference/engine/shard.py, for each step.
    """
    handled = np.int64(0)
    empty = np.int64(0)
    for _ in range(idle[IDLE_POLLS]):
        told = _told(wires, k)
        done = shard_step(shard, wires, instruments, limits, session, k, max_items)
        handled += done
        if done > 0 or _told(wires, k) != told:
            empty = rise(wires.waiters, k, idle, empty)
            wake(wires.waiters, peers)
            if handled >= max_items:
                break
        else:
            empty = rest(wires.waiters, k, idle, empty)
            if empty == SLEPT:
                break
    rise(wires.waiters, k, idle, empty)  # nobody need wake a process that does not sleep
    return handled
