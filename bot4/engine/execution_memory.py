"""Everything execution knows, as one tuple of arrays that its kernels take."""

from typing import NamedTuple

import numpy as np

from bot4.engine.journal import JournalFile
from bot4.engine.order_state import ORDER
from bot4.engine.portfolio import ACCOUNT, PORTFOLIO
from bot4.kernels.risk.correlation import Moves, moves_memory
from bot4.kernels.risk.view import RISK_VIEW
from bot4.model.enums import INT64_MAX
from bot4.model.records import EXEC_REPORT, JOURNAL, ORDER_INTENT, PORTFOLIO_TOTALS, TICK, words
from bot4.shm.wires import N_GAUGES

ORDER_ROWS = 1_024  # as many as the venue lets rest

DAY_NS = 86_400_000_000_000
ITEM_RECORDS = 8  # journal records that one event may cause
PROTECTIVE_RESERVE = 4_096  # journal records kept for stops, closes and fills when intents are no longer taken
REPORT_RESERVE = 256  # slots of a report ring kept free of totals
IN_FLIGHT_NS = 2_000_000_000  # event time after which a venue that is silent about an order is asked
SAMPLE_NS = 1_000_000_000


class ExecutionMemory(NamedTuple):
    """Everything execution knows, process-private but for the journal; int64 arrays and records."""

    orders: np.ndarray  # ORDER[rows]
    free: np.ndarray  # int64[rows + 1]: [0] how many, then a stack of free rows
    account: np.ndarray  # ACCOUNT[1]
    positions: np.ndarray  # PORTFOLIO[n_instruments]
    views: np.ndarray  # RISK_VIEW[n_instruments]
    known: Moves  # how the instruments move together
    lost: np.ndarray  # int64[n_shards]: 1 when a report found that shard's ring full
    resync_seen: np.ndarray  # int64[n_shards]
    stats: np.ndarray  # int64[N_GAUGES]: what the gauges of this run are built from
    header: np.ndarray  # journal: int64[512]
    records: np.ndarray  # journal: int64[capacity * 32]
    record: np.ndarray  # JOURNAL[1], scratch
    record_words: np.ndarray
    tick: np.ndarray  # TICK[1], scratch
    tick_words: np.ndarray
    intent: np.ndarray  # ORDER_INTENT[1], as read
    intent_words: np.ndarray
    request: np.ndarray  # ORDER_INTENT[1], as sent
    request_words: np.ndarray
    event: np.ndarray  # EXEC_REPORT[1], as read
    event_words: np.ndarray
    report: np.ndarray  # EXEC_REPORT[1], as sent
    report_words: np.ndarray
    totals: np.ndarray  # PORTFOLIO_TOTALS over the same memory as `report`


def execution_memory(
    journal: JournalFile, n_instruments: int, n_shards: int, session: np.ndarray, rows: int
) -> ExecutionMemory:
    """All memory of execution, for `rows` orders at a time, zeroed but for the start equity and the free list."""
    record, tick = np.zeros(1, JOURNAL), np.zeros(1, TICK)
    intent, request = np.zeros(1, ORDER_INTENT), np.zeros(1, ORDER_INTENT)
    event, report = np.zeros(1, EXEC_REPORT), np.zeros(1, EXEC_REPORT)
    account, positions = np.zeros(1, ACCOUNT), np.zeros(n_instruments, PORTFOLIO)
    equity = session[0]["start_equity_e8"]
    account["equity_e8"] = account["high_water_e8"] = equity
    account["next_deadline_ns"] = INT64_MAX
    positions["stop_row"] = positions["flatten_row"] = -1
    return ExecutionMemory(
        orders=np.zeros(rows, ORDER),
        free=np.array([rows, *range(rows - 1, -1, -1)], np.int64),
        account=account,
        positions=positions,
        views=np.zeros(n_instruments, RISK_VIEW),
        known=moves_memory(n_instruments),
        lost=np.zeros(n_shards, np.int64),
        resync_seen=np.zeros(n_shards, np.int64),
        stats=np.zeros(N_GAUGES, np.int64),
        header=journal.header,
        records=journal.records,
        record=record,
        record_words=words(record),
        tick=tick,
        tick_words=words(tick),
        intent=intent,
        intent_words=words(intent),
        request=request,
        request_words=words(request),
        event=event,
        event_words=words(event),
        report=report,
        report_words=words(report),
        totals=report.view(PORTFOLIO_TOTALS),
    )
