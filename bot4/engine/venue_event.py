"""Venue events applied to orders, positions and the account.

`apply_event` is also how the journal is read back: normal work and recovery cannot drift apart.
"""

import numpy as np

from bot4.crash import EVENT_APPLIED, EVENT_JOURNALED, EVENT_PROTECTED, EVENT_READ, crash_here
from bot4.engine.execution_memory import SAMPLE_NS
from bot4.engine.order_out import end_order, end_sliced, leaves_of, reducing_leaves, release_exit, set_doubt
from bot4.engine.order_state import (
    APPLY_ALARM,
    BASE_FREE,
    CANCELED,
    EV_ACK,
    EV_AMBIGUOUS,
    EV_CANCEL_REJECT,
    EV_CANCELED,
    EV_EXPIRED,
    EV_FILL,
    EV_NOT_FOUND,
    EV_REJECT,
    EV_REPLACED,
    EV_TRIGGERED,
    EXPIRED,
    FILLED,
    ILLEGAL,
    NEVER_LANDED,
    OVERLAY_CANCEL,
    OVERLAY_REPLACE,
    REJECTED,
    REOPEN,
    status_of,
    transition,
)
from bot4.engine.portfolio import STATE_RECOVERING, apply_fill, unrealised_e8
from bot4.engine.protection import flatten, protect, wait_for_a_fill, wait_longer, wait_no_more
from bot4.engine.report_out import (
    count_alarm,
    forward_event,
    write_journal,
)
from bot4.engine.slicing import work_slices
from bot4.jit import inlined, kernel
from bot4.kernels.risk.correlation import note_moves
from bot4.kernels.risk.order_checks import note_fill
from bot4.kernels.risk.position import is_reducing
from bot4.model.enums import (
    EXEC_NEVER_LANDED,
    LEG_ENTRY,
    LEG_EXIT,
    LEG_FLATTEN,
    LEG_PROFIT,
    LEG_SLICE,
    LEG_STOP,
    N_CODES,
    REPORT_ACK,
    REPORT_CANCEL_REJECT,
    REPORT_CANCELED,
    REPORT_DENIED,
    REPORT_EXPIRED,
    REPORT_FILL,
    REPORT_FUNDING,
    REPORT_NOT_FOUND,
    REPORT_ORDER,
    REPORT_QUERY_END,
    REPORT_REJECT,
    REPORT_REPLACED,
    REPORT_TRIGGERED,
    TYPE_STOP_MARKET,
    VENUE_DUPLICATE_ID,
    VENUE_FILTER,
    VENUE_POST_ONLY,
    VENUE_REDUCE_ONLY,
    VENUE_STOP_WOULD_TRIGGER,
    VENUE_TOO_LARGE,
    VENUE_TOO_SMALL,
)
from bot4.model.records import (
    JOURNAL_EVENT,
)
from bot4.shm.wires import (
    GAUGE_EXEC_FILLS,
    GAUGE_EXEC_STOPS_TRIGGERED,
)

BACK_OFF = 5  # doublings of the breaker's open time at most: half a minute becomes a quarter of an hour


@kernel
def _find_row(x, event):
    row = np.int64(event["order_row"])
    if 0 <= row < len(x.orders):
        order = x.orders[row]
        if order["base"] != BASE_FREE and order["id_hi"] == event["id_hi"] and order["id_lo"] == event["id_lo"]:
            return row
    for other in range(len(x.orders)):
        order = x.orders[other]
        if order["base"] != BASE_FREE and order["id_hi"] == event["id_hi"] and order["id_lo"] == event["id_lo"]:
            return np.int64(other)
    return np.int64(-1)


@kernel
def mark_position(x, instruments, instrument):
    """Fold an instrument's new open profit into the account's equity, high-water mark and drawdown.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    account = x.account[0]
    position = x.positions[instrument]
    now_worth = unrealised_e8(position, instruments[instrument]["value_e8"])
    account["equity_e8"] += now_worth - position["unrealised_e8"]
    position["unrealised_e8"] = now_worth
    equity = account["equity_e8"]
    if equity > account["high_water_e8"]:
        account["high_water_e8"] = equity
    elif account["high_water_e8"] > 0:
        # parts per million in two steps: the product of the plain formula could wrap for large accounts
        lost = account["high_water_e8"] - equity
        ppm = lost // max(np.int64(1), account["high_water_e8"] // 1_000_000)
        if ppm > account["drawdown_ppm"]:
            account["drawdown_ppm"] = ppm


@kernel
def note_failure(x, limits):
    """Count a failure of the venue; enough of them within any window open the breaker.

    Afterwards it is half-open: one order at a time tries the venue. If that fails too, the breaker opens at once and
    for twice as long, BACK_OFF times at most; a word of the venue for an opening order closes it.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    account = x.account[0]
    now = account["now_ns"]
    count = account["breaker_count"] + 1
    account["breaker_count"] = count
    x.failed_ns[count % len(x.failed_ns)] = now
    half_open = account["breaker_trips"] > 0 and now >= account["breaker_open_until_ns"]
    first = count - limits[0]["breaker_failures"] + 1  # of as many as open it, up to this one
    enough = first > 0 and now - x.failed_ns[first % len(x.failed_ns)] <= limits[0]["breaker_window_ns"]
    if half_open or enough:
        if half_open or account["breaker_trips"] == 0:
            account["breaker_trips"] += 1
        doubled = min(account["breaker_trips"] - 1, BACK_OFF)
        account["breaker_open_until_ns"] = now + (limits[0]["breaker_open_ns"] << doubled)
        account["breaker_count"] = 0
        account["next_grid_ns"] = 0


@inlined
def _note_success(account, order):
    """The venue works an opening order again: a breaker that is half-open closes."""
    if (order["leg"] == LEG_ENTRY or order["leg"] == LEG_SLICE) and account["breaker_trips"] > 0:
        if account["now_ns"] >= account["breaker_open_until_ns"]:
            account["breaker_trips"] = 0
            account["next_grid_ns"] = 0


@kernel
def note_second(x, limits, instrument, is_fresh, now_ns):
    """An instrument's mid of the second in hand; with the last instrument's the second is over.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    position = x.positions[instrument]
    x.known.mids[instrument] = float(position["bid_ticks"] + position["ask_ticks"])
    x.known.fresh[instrument] = is_fresh
    if instrument == len(x.positions) - 1:
        account = x.account[0]
        second = now_ns // SAMPLE_NS
        passed = second - account["sampled_s"] if account["sampled_s"] > 0 else 1
        account["sampled_s"] = second
        note_moves(x.known, limits[0]["correlation_decay_ppb"] * 1e-9, max(passed, 1))


@kernel
def _note_sequence(x, row, instrument, side, was, lots):
    """A fill took its part off a position of `was` lots. It may be told before one that was there first.

    What opens has then opened all of it, and what only reduces has closed: so as long as an order that only reduces
    that side has no end, what others take off the position is in doubt. Its own fill takes away as much of the doubt as
    it leads beyond zero.

    Notes
    -----
    Complexity: O(rows) where a position is reduced by what may open. Twin: tests/reference/engine/execution.py
    """
    position = x.positions[instrument]
    doubt = position["doubt_buy_lots"] if side > 0 else position["doubt_sell_lots"]
    closed = min(lots, max(-was * side, np.int64(0)))
    if row >= 0 and is_reducing(x.orders[row]):
        set_doubt(x.views[instrument], position, side, max(doubt - (lots - closed), np.int64(0)))
    elif closed > 0:
        most = reducing_leaves(x, instrument, side)
        set_doubt(x.views[instrument], position, side, min(doubt + closed, most))


@inlined
def _note_size(x, order, leaves):
    """A shard's order had that much left, and the venue gave it another size: the views hold what may still fill."""
    if order["leg"] <= LEG_EXIT:
        view = x.views[order["instrument"]]
        if order["side"] > 0:
            view["pending_buy_lots"] += leaves_of(order) - leaves
        else:
            view["pending_sell_lots"] += leaves_of(order) - leaves
        release_exit(view, order, leaves - leaves_of(order))


@inlined
def _note_loss(account, limits, lost_ns):
    """Enough losses in a row make a pause, after which they are counted anew."""
    account["streak"] += 1
    if account["streak"] >= limits[0]["streak_losses"]:
        account["streak"] = 0
        account["streak_until_ns"] = lost_ns + limits[0]["streak_pause_ns"]
        account["next_grid_ns"] = 0  # the shards hear of it at once


@inlined
def _note_result(x, limits, row, position, lost_ns, result_e8, ended):
    """What a fill that closes has brought: an order that loses counts once, whether its position ends with it or not.

    The end of a position that has lost by costs alone counts too, and only the end of one that has not lost begins the
    row anew: who keeps a lot of it back, or closes the good half first, is counted all the same.
    """
    account = x.account[0]
    lost = result_e8 < 0
    if row >= 0:
        order = x.orders[row]
        order["result_e8"] += result_e8
        lost = order["result_e8"] < 0 and order["lost"] == 0
        if lost:
            order["lost"] = 1
    if ended and position["trip_e8"] < 0 and position["trip_lost"] == 0:
        lost = True
    if lost:
        position["trip_lost"] = 1
        _note_loss(account, limits, lost_ns)
    if ended:
        if position["trip_e8"] >= 0:
            account["streak"] = 0
        position["trip_e8"] = 0
        position["trip_lost"] = 0


@kernel
def _apply_fill(x, wires, instruments, limits, session, row):
    """A fill is always applied, whatever the order's state; a trade seen before is not a fill."""
    event = x.event[0]
    instrument = np.int64(event["instrument"])
    position = x.positions[instrument]
    if event["trade_id"] <= position["last_trade_id"]:
        return False
    position["last_trade_id"] = event["trade_id"]
    side = np.int64(event["side"])
    was = position["lots"]
    wait_no_more(position)
    realised = apply_fill(position, side, event["price_ticks"], event["qty_lots"])
    position["fees_e8"] += event["fee_e8"]
    result = realised * instruments[instrument]["value_e8"] - event["fee_e8"]
    x.account[0]["equity_e8"] += result
    position["trip_e8"] += result
    whole = whose(x, row) if row >= 0 else row
    if was * side < 0:
        ended = position["lots"] == 0 or (position["lots"] > 0) != (was > 0)
        _note_result(x, limits, whole, position, event["ts_ns"], result, ended)
    x.stats[GAUGE_EXEC_FILLS] += 1
    if row < 0 and event["qty_lots"] == 0:
        pass  # a part of a lot, of an order that was told as filled before
    elif row < 0:
        count_alarm(x)  # not ours, or given up: the position follows all the same
        x.lost[np.int64(instruments[instrument]["shard"])] = 1  # no report of an order tells it
        turned = was == 0 or (position["lots"] > 0) != (was > 0)
        if position["lots"] != 0 and turned:  # nobody has named a stop for what it has opened
            position["stop_ticks"] = 0
            position["trail_ticks"] = 0
            position["even_ticks"] = 0
            position["profit_ticks"] = 0
        x.views[instrument]["position_lots"] = position["lots"]
    else:
        order = x.orders[row]
        of = x.orders[whole]
        leaves = leaves_of(of)
        overfilled = event["qty_lots"] > leaves_of(order)
        if (order["base"] != BASE_FREE and transition(order, EV_FILL) == APPLY_ALARM) or overfilled:
            count_alarm(x)
        order["cum_lots"] += event["qty_lots"]
        if whole != row:
            of["cum_lots"] += event["qty_lots"]
        if of["leg"] <= LEG_EXIT:
            note_fill(x.views[instrument], side, min(leaves, event["qty_lots"]))
            release_exit(x.views[instrument], of, min(leaves, event["qty_lots"]))
        x.views[instrument]["position_lots"] = position["lots"]
        # What only takes back a part of a position names no stop for the rest: it would lie on the wrong side.
        if of["leg"] == LEG_ENTRY and of["stop_ticks"] > 0 and position["lots"] * side > 0:
            position["stop_ticks"] = of["stop_ticks"]
            position["trail_ticks"] = of["trail_ticks"]
            position["even_ticks"] = of["even_ticks"]
            position["profit_ticks"] = of["profit_ticks"]
    _note_sequence(x, row, instrument, side, was, event["qty_lots"])
    grown = abs(position["lots"]) > abs(was) or (position["lots"] > 0) != (was > 0)
    if position["lots"] != 0 and grown and position["naked_since_ns"] == 0:
        own = event["ts_ns"] - session[0]["report_latency_ns"]
        if event["event_seq"] != 0 and event["t_venue_ns"] > 0:  # an answer's is that of a trade of long ago
            own = min(own, event["t_venue_ns"])
        position["naked_since_ns"] = own  # the fill's own time
    mark_position(x, instruments, instrument)
    return True


@inlined
def whose(x, row):
    """Row of the order that a fill of this one fills: its own, or of a slice that of the entry."""
    order = x.orders[row]
    return x.positions[order["instrument"]]["sliced_row"] if order["leg"] == LEG_SLICE else np.int64(row)


@kernel
def _slice_over(x, wires, session, row, status, code):
    """The slice that was out is over: so is its entry if it is filled, taken back or refused, or if that was the last.

    Of slices that rest one that is neither filled nor lost on its way was taken from us.
    """
    order = x.orders[row]
    rests = order["slice_ns"] == 0
    if leaves_of(order) == 0:
        end_order(x, row)  # its last fill has told the shard
    elif status == REJECTED and order["cum_lots"] == 0:
        end_sliced(x, wires, session, row, REPORT_REJECT, code)
    elif status == REJECTED or order["overlay"] & OVERLAY_CANCEL:
        end_sliced(x, wires, session, row, REPORT_CANCELED, code)
    elif rests and (status == CANCELED or status == EXPIRED):
        end_sliced(x, wires, session, row, REPORT_CANCELED, code)
    elif not rests and order["sliced"] >= order["slices"]:
        end_sliced(x, wires, session, row, REPORT_EXPIRED, 0)


@kernel
def _slice_no_more(x, wires, session, row):
    """A fill that nobody knows may be that of a slice which was given up: no other one goes out."""
    order = x.orders[row]
    order["overlay"] |= OVERLAY_CANCEL
    if order["slice_row"] < 0:
        end_sliced(x, wires, session, row, REPORT_CANCELED, 0)


@inlined
def _give_up(position, order):
    """The venue does not want the take-profit of this position, or not in its size: it is not asked again and again."""
    if order["side"] * position["lots"] < 0:
        position["profit_ticks"] = 0


@kernel
def apply_event(x, wires, instruments, limits, session):
    """Apply the venue event in hand to orders and positions. The journal's reader calls it too: no journal, no sending.

    Returns
    -------
    int64: instrument whose protection must be looked at, -1: none

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    event = x.event[0]
    account = x.account[0]
    kind = np.int64(event["kind"])
    if event["event_seq"] > 0:
        account["last_event_seq"] = event["event_seq"]
    if kind == REPORT_QUERY_END:
        if event["id_hi"] == np.uint64(account["epoch"]):
            account["asking"] = 0
        return np.int64(-1)
    instrument = np.int64(event["instrument"])
    if instrument >= len(x.positions):
        count_alarm(x)
        return np.int64(-1)
    if kind == REPORT_FUNDING:
        x.positions[instrument]["funding_e8"] += event["cash_e8"]
        if x.positions[instrument]["lots"] != 0:
            x.positions[instrument]["trip_e8"] += event["cash_e8"]
        account["equity_e8"] += event["cash_e8"]
        mark_position(x, instruments, instrument)
        return np.int64(-1)
    row = _find_row(x, event)
    if kind == REPORT_FILL:
        if not _apply_fill(x, wires, instruments, limits, session, row):
            return np.int64(-1)
        if row >= 0:
            whole = whose(x, row)
            _note_success(account, x.orders[row])
            if event["qty_lots"] != 0:  # else a part of a lot, of which the shard holds nothing more
                forward_event(x, wires, session, x.orders[whole], REPORT_FILL, 0)
            if status_of(x.orders[row]) == FILLED:
                end_order(x, row)
                if whole != row:
                    _slice_over(x, wires, session, whole, FILLED, 0)
        elif event["qty_lots"] != 0 and x.positions[instrument]["sliced_row"] >= 0:
            _slice_no_more(x, wires, session, x.positions[instrument]["sliced_row"])
        return instrument
    if row < 0:
        if kind != REPORT_NOT_FOUND and kind != REPORT_CANCEL_REJECT and kind != REPORT_ORDER:
            count_alarm(x)
        return np.int64(-1)
    order = x.orders[row]
    leaves = leaves_of(order)
    code = np.int64(event["code"])
    if event["venue_order_id"] != 0:
        order["venue_order_id"] = event["venue_order_id"]
    happened = np.int64(0)
    if kind == REPORT_ACK:
        happened = np.int64(EV_ACK)
        _note_success(account, order)
    elif kind == REPORT_REJECT and code == VENUE_DUPLICATE_ID:
        happened = np.int64(EV_AMBIGUOUS)  # somebody used the id before: that says nothing of the order that did
    elif kind == REPORT_REJECT:
        happened = np.int64(EV_REJECT)
    elif kind == REPORT_CANCELED:
        happened = np.int64(EV_CANCELED)
    elif kind == REPORT_EXPIRED:
        happened = np.int64(EV_EXPIRED)
    elif kind == REPORT_TRIGGERED:
        happened = np.int64(EV_TRIGGERED)
    elif kind == REPORT_REPLACED:
        # Asked for by us, or the venue's own: a reduce-only order shrinks with its position.
        happened = np.int64(EV_REPLACED)
        order["asked_qty_lots"] = event["qty_lots"]
        order["asked_stop_ticks"] = order["stop_ticks"]
        if order["type"] == TYPE_STOP_MARKET:  # of any other the price is its limit
            order["asked_stop_ticks"] = event["price_ticks"]
    elif kind == REPORT_CANCEL_REJECT:
        happened = np.int64(EV_CANCEL_REJECT)
    elif kind == REPORT_NOT_FOUND:
        happened = np.int64(EV_NOT_FOUND)
    elif kind == REPORT_ORDER:
        status = np.int64(event["status"])
        happened = np.int64(EV_ACK)
        if status == REPORT_CANCELED:
            happened = np.int64(EV_CANCELED)
        elif status == REPORT_EXPIRED:
            happened = np.int64(EV_EXPIRED)
        elif status == REPORT_REJECT:
            happened = np.int64(EV_REJECT)
        elif status == REPORT_ACK:
            # The query went out behind every cancel and amend of before, so the answer already reflects them.
            order["qty_lots"] = event["qty_lots"]
            order["overlay"] &= ~(OVERLAY_CANCEL | OVERLAY_REPLACE)
    if happened == EV_ACK and order["leg"] == LEG_FLATTEN:
        wait_no_more(x.positions[instrument])
    asked = order["overlay"] & OVERLAY_REPLACE != 0
    effect = transition(order, happened)
    if effect == ILLEGAL or effect == REOPEN:
        count_alarm(x)
    _note_size(x, order, leaves)
    if kind == REPORT_REJECT:
        order["code"] = code
        if 0 < code < N_CODES and account["folding"] == 0:
            wires.rejects[session[0]["n_shards"], code] += 1
        is_size = code == VENUE_TOO_LARGE or code == VENUE_TOO_SMALL
        if not is_size and code != VENUE_REDUCE_ONLY and code != VENUE_STOP_WOULD_TRIGGER and code != VENUE_POST_ONLY:
            note_failure(x, limits)  # those are the market's doing or that of what is held, not the venue's
        if order["leg"] == LEG_FLATTEN and x.positions[instrument]["lots"] != 0:
            if code == VENUE_REDUCE_ONLY or code == VENUE_FILTER:
                count_alarm(x)
                wait_longer(x.positions[instrument], event["ts_ns"])
            elif code == VENUE_TOO_SMALL:
                count_alarm(x)
                if leaves >= -x.positions[instrument]["lots"] * order["side"] > 0:  # all that is held
                    wait_for_a_fill(x.positions[instrument])
    if kind == REPORT_TRIGGERED:
        x.stats[GAUGE_EXEC_STOPS_TRIGGERED] += 1
    status = status_of(order)
    if status == REJECTED or status == CANCELED or status == EXPIRED or status == NEVER_LANDED or status == FILLED:
        if order["leg"] == LEG_SLICE:
            whole = whose(x, row)
            end_order(x, row)
            _slice_over(x, wires, session, whole, status, code)
            return instrument
        told = REPORT_REJECT
        if status == CANCELED or status == FILLED:  # filled: shrunk to what it has
            told = REPORT_CANCELED
        elif status == EXPIRED:
            told = REPORT_EXPIRED
        elif status == NEVER_LANDED:
            told = REPORT_DENIED
            code = np.int64(EXEC_NEVER_LANDED)
        forward_event(x, wires, session, order, told, code)
        refused_stop = order["leg"] == LEG_STOP and status == REJECTED
        if order["leg"] == LEG_PROFIT and (status == REJECTED or status == EXPIRED):
            _give_up(x.positions[instrument], order)
        end_order(x, row)
        if refused_stop and x.positions[instrument]["lots"] != 0:
            return np.int64(-2) - instrument  # close instead of trying the same stop again
    elif order["leg"] <= LEG_EXIT:
        forward_event(x, wires, session, order, REPORT_ACK if kind == REPORT_ORDER else kind, code)
    if order["leg"] == LEG_PROFIT and kind == REPORT_CANCEL_REJECT and asked:
        _give_up(x.positions[instrument], order)
    gapped = kind == REPORT_CANCEL_REJECT and code == VENUE_STOP_WOULD_TRIGGER and order["leg"] == LEG_STOP
    if gapped and x.positions[instrument]["lots"] != 0:
        return np.int64(-2) - instrument  # the price has gone through where the stop was to go
    return instrument


@kernel
def on_event(x, wires, instruments, limits, session):
    """Journal one venue event, apply it, and see to the protection of what it touched.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    event = x.event[0]
    account = x.account[0]
    account["now_ns"] = max(account["now_ns"], event["ts_ns"])
    if 0 < event["event_seq"] <= account["last_event_seq"]:
        return  # applied before this process was restarted
    instrument = np.int64(event["instrument"])
    known = instrument if instrument < len(x.positions) else np.int64(-1)
    crash_here(EVENT_READ)
    write_journal(x, JOURNAL_EVENT, event["ts_ns"], known, 0, x.event_words)
    crash_here(EVENT_JOURNALED)
    touched = apply_event(x, wires, instruments, limits, session)
    crash_here(EVENT_APPLIED)
    if touched <= -2:
        flatten(x, wires, instruments, limits, session, np.int64(-2) - touched)
    elif touched >= 0 and account["state"] != STATE_RECOVERING:
        protect(x, wires, instruments, limits, session, touched)
        if x.positions[touched]["sliced_row"] >= 0:
            work_slices(x, wires, instruments, limits, session, touched)
        crash_here(EVENT_PROTECTED)
