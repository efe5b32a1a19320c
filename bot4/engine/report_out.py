"""What execution says: to its journal and to the shards.

A report never blocks: a shard whose ring is full is marked and gets the full picture once it reads again.
"""

import numpy as np

from bot4.engine.execution_memory import DENIED_REFILL_NS, DENIED_TOKENS, PROTECTIVE_RESERVE
from bot4.engine.journal import journal_append, journal_room
from bot4.engine.order_state import (
    BASE_FREE,
    is_open,
)
from bot4.engine.portfolio import STATE_ACTIVE, is_breaker_open
from bot4.jit import inlined, kernel
from bot4.kernels.risk.rate_limit import is_empty, take_token
from bot4.model.enums import (
    LEG_EXIT,
    REPORT_ACK,
    REPORT_DENIED,
    REPORT_LIMIT,
    REPORT_ORDER,
    REPORT_POSITION,
    REPORT_QUERY_END,
    REPORT_TOTALS,
)
from bot4.model.records import (
    JOURNAL_DENIED,
    JOURNAL_WORDS,
    ORDER_WORDS,
)
from bot4.shm.spsc_ring import has_space, push_order


@kernel
def write_journal(x, kind, ts_ns, instrument, code, body):
    """One record with what execution knows at this moment.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    account = x.account[0]
    record = x.record[0]
    record["type"] = kind
    record["ts_ns"] = ts_ns
    record["instrument"] = instrument
    record["code"] = code
    if instrument >= 0:
        position = x.positions[instrument]
        record["position_lots"] = position["lots"]
        record["cost_tl"] = position["cost_tl"]
        record["realised_tl"] = position["realised_tl"]
        record["bid_ticks"] = position["bid_ticks"]
        record["ask_ticks"] = position["ask_ticks"]
        record["fees_e8"] = position["fees_e8"]
    record["equity_e8"] = account["equity_e8"]
    record["high_water_e8"] = account["high_water_e8"]
    record["day_start_e8"] = account["day_start_e8"]
    first = JOURNAL_WORDS - ORDER_WORDS
    for word in range(ORDER_WORDS):
        x.record_words[first + word] = body[word]
    journal_append(x.header, x.records, x.record, x.record_words)


@kernel
def count_alarm(x):
    """Something a person has to look at.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    x.account[0]["alarms"] += 1


@kernel
def clear_report(x):
    for word in range(ORDER_WORDS):
        x.report_words[word] = 0


@inlined
def push_report(x, wires, shard):
    """Push the scratch report as it is; a full ring is remembered, and the shard gets a full picture later."""
    ring = wires.reports[shard]
    if x.lost[shard] == 0 and has_space(ring, 1):
        push_order(ring, x.report_words, 0)
    else:
        x.lost[shard] = 1


@kernel
def send_report(x, wires, session, shard):
    """Push the scratch report, to arrive after the latency.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    if x.account[0]["folding"] != 0:
        return
    x.report[0]["ts_ns"] = x.account[0]["now_ns"] + session[0]["internal_latency_ns"]
    push_report(x, wires, shard)


@kernel
def forward_event(x, wires, session, order, kind, code):
    """Tell the shard what happened to its order (or to its position, for execution's own orders).

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    for word in range(ORDER_WORDS):
        x.report_words[word] = x.event_words[word]
    report = x.report[0]
    report["kind"] = kind
    report["code"] = code
    report["id_hi"] = order["id_hi"]
    report["id_lo"] = order["id_lo"]
    report["instrument"] = order["instrument"]
    report["shard"] = order["shard"]
    report["side"] = order["side"]
    report["leg"] = order["leg"]
    report["cum_lots"] = order["cum_lots"]
    report["leaves_lots"] = max(np.int64(0), order["qty_lots"] - order["cum_lots"])
    send_report(x, wires, session, order["shard"])


@kernel
def tell_end(x, wires, session, order, kind, code):
    """Tell the shard that an order of its own is over of which the venue does not know.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    clear_report(x)
    report = x.report[0]
    report["kind"] = kind
    report["code"] = code
    report["id_hi"] = order["id_hi"]
    report["id_lo"] = order["id_lo"]
    report["instrument"] = order["instrument"]
    report["shard"] = order["shard"]
    report["side"] = order["side"]
    report["leg"] = order["leg"]
    report["cum_lots"] = order["cum_lots"]
    report["leaves_lots"] = max(np.int64(0), order["qty_lots"] - order["cum_lots"])
    send_report(x, wires, session, order["shard"])


@kernel
def deny_intent(x, wires, session, shard, code):
    """Refuse the intent in hand: counter, journal, report.

    A record bears the number of refusals of this shard before it that got none (`aux`): a shard that floods shall not
    fill the journal for the others. None is written when there is not plenty of room.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    intent = x.intent[0]
    wires.rejects[session[0]["n_shards"], code] += 1
    now_ns = x.account[0]["now_ns"]
    x.untold[shard] += 1
    has_room = journal_room(x.header) > 4 * PROTECTIVE_RESERVE
    if has_room and not is_empty(x.denied_bucket_ns[shard], now_ns, DENIED_TOKENS, DENIED_REFILL_NS):
        instrument = np.int64(intent["instrument"])
        known = instrument if instrument < len(x.positions) else np.int64(-1)
        intent["aux"] = x.untold[shard] - 1
        write_journal(x, JOURNAL_DENIED, now_ns, known, code, x.intent_words)
        x.denied_bucket_ns[shard] = take_token(x.denied_bucket_ns[shard], now_ns, DENIED_REFILL_NS)
        x.untold[shard] = 0
    clear_report(x)
    report = x.report[0]
    report["kind"] = REPORT_DENIED
    report["code"] = code
    report["id_hi"] = intent["id_hi"]
    report["id_lo"] = intent["id_lo"]
    report["instrument"] = intent["instrument"]
    report["shard"] = shard
    report["side"] = intent["side"]
    report["leg"] = intent["leg"]
    report["qty_lots"] = intent["qty_lots"]
    report["leaves_lots"] = intent["qty_lots"]
    send_report(x, wires, session, shard)


@kernel
def send_totals(x, wires, session, shard):
    """The account's figures, to one shard.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    account = x.account[0]
    clear_report(x)
    totals = x.totals[0]
    totals["kind"] = REPORT_TOTALS
    totals["shard"] = shard
    totals["equity_e8"] = account["equity_e8"]
    totals["high_water_e8"] = account["high_water_e8"]
    totals["day_start_e8"] = account["day_start_e8"]
    totals["open_orders"] = account["open_orders"]
    totals["breaker"] = is_breaker_open(account)
    totals["streak"] = 1 if account["now_ns"] < account["streak_until_ns"] else 0
    totals["day_shut"] = 1 if account["reached_ns"] < account["day_shut_until_ns"] else 0
    totals["gate"] = 1 if account["state"] == STATE_ACTIVE else 0
    send_report(x, wires, session, shard)


@kernel
def resync_shard(x, wires, instruments, session, shard):
    """Everything a shard must know, as after its restart: positions, its open orders, limits that were
    tightened, totals, end mark.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    ring = wires.reports[shard]
    told = len(x.positions) + x.account[0]["open_orders"] + 4
    for word in range(len(x.tightened)):
        told += x.tightened[word]
    if not has_space(ring, told):
        return False
    x.lost[shard] = 0
    for instrument in range(len(x.positions)):
        if np.int64(instruments[instrument]["shard"]) != shard:
            continue
        clear_report(x)
        report = x.report[0]
        report["kind"] = REPORT_POSITION
        report["instrument"] = instrument
        report["shard"] = shard
        report["qty_lots"] = x.positions[instrument]["lots"]
        report["cash_e8"] = x.positions[instrument]["cost_tl"]
        send_report(x, wires, session, shard)
    for row in range(len(x.orders)):
        order = x.orders[row]
        if order["base"] != BASE_FREE and order["shard"] == shard and order["leg"] <= LEG_EXIT and is_open(order):
            clear_report(x)
            report = x.report[0]
            report["kind"] = REPORT_ORDER
            report["status"] = REPORT_ACK
            report["id_hi"] = order["id_hi"]
            report["id_lo"] = order["id_lo"]
            report["instrument"] = order["instrument"]
            report["shard"] = shard
            report["side"] = order["side"]
            report["leg"] = order["leg"]
            report["qty_lots"] = order["qty_lots"]
            report["price_ticks"] = order["price_ticks"]
            report["cum_lots"] = order["cum_lots"]
            report["leaves_lots"] = order["qty_lots"] - order["cum_lots"]
            report["order_row"] = row
            send_report(x, wires, session, shard)
    for word in range(len(x.tightened)):
        if x.tightened[word] != 0:
            clear_report(x)
            x.report[0]["kind"] = REPORT_LIMIT
            x.report[0]["shard"] = shard
            x.report[0]["code"] = word
            x.report[0]["cash_e8"] = x.next_words[word]
            send_report(x, wires, session, shard)
    send_totals(x, wires, session, shard)
    clear_report(x)
    x.report[0]["kind"] = REPORT_QUERY_END
    x.report[0]["shard"] = shard
    send_report(x, wires, session, shard)
    return True
