"""What execution says: to its journal and to the shards.

A report never blocks: a shard whose ring is full is marked and gets the full picture once it reads again.
"""

import numpy as np

from bot4.engine.execution_memory import PROTECTIVE_RESERVE
from bot4.engine.journal import journal_append, journal_room
from bot4.engine.order_state import (
    BASE_FREE,
    is_open,
)
from bot4.engine.portfolio import STATE_ACTIVE
from bot4.jit import kernel
from bot4.model.enums import (
    LEG_EXIT,
    REPORT_ACK,
    REPORT_DENIED,
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


@kernel
def send_report(x, wires, session, shard):
    """Push the scratch report; a full ring is remembered, and the shard gets a full picture later.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    if x.account[0]["folding"] != 0:
        return
    x.report[0]["ts_ns"] = x.account[0]["now_ns"] + session[0]["internal_latency_ns"]
    ring = wires.reports[shard]
    if x.lost[shard] == 0 and has_space(ring, 1):
        push_order(ring, x.report_words, 0)
    else:
        x.lost[shard] = 1


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
def deny_intent(x, wires, session, shard, code):
    """Refuse the intent in hand: counter, journal (while there is plenty of room), report.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    intent = x.intent[0]
    wires.rejects[session[0]["n_shards"], code] += 1
    if journal_room(x.header, x.records) > 4 * PROTECTIVE_RESERVE:
        instrument = np.int64(intent["instrument"])
        known = instrument if instrument < len(x.positions) else np.int64(-1)
        write_journal(x, JOURNAL_DENIED, x.account[0]["now_ns"], known, code, x.intent_words)
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
    totals["breaker"] = 1 if account["now_ns"] < account["breaker_open_until_ns"] else 0
    totals["streak"] = 1 if account["now_ns"] < account["streak_until_ns"] else 0
    totals["gate"] = 1 if account["state"] == STATE_ACTIVE else 0
    send_report(x, wires, session, shard)


@kernel
def resync_shard(x, wires, instruments, session, shard):
    """Everything a shard must know, as after its restart: positions, its open orders, totals, end mark.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    ring = wires.reports[shard]
    if not has_space(ring, len(x.positions) + x.account[0]["open_orders"] + 4):
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
    send_totals(x, wires, session, shard)
    clear_report(x)
    x.report[0]["kind"] = REPORT_QUERY_END
    x.report[0]["shard"] = shard
    send_report(x, wires, session, shard)
    return True
