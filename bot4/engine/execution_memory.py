"""Everything execution knows, as one tuple of arrays that its kernels take."""

from typing import NamedTuple

import numpy as np

from bot4.engine.journal import JournalFile
from bot4.engine.order_state import ORDER
from bot4.engine.portfolio import ACCOUNT, PORTFOLIO
from bot4.kernels.risk.correlation import WINDOW, Moves, moves_memory
from bot4.kernels.risk.tail import Tail, tail_memory
from bot4.kernels.risk.view import RISK_VIEW
from bot4.model.breaker import MOST_FAILURES
from bot4.model.enums import INT64_MAX
from bot4.model.records import EXEC_REPORT, JOURNAL, LIMIT_WORDS, ORDER_INTENT, PORTFOLIO_TOTALS, TICK, words
from bot4.shm.wires import N_GAUGES

ORDER_ROWS = 1_024  # as many as the venue lets rest

DAY_NS = 86_400_000_000_000
ITEM_RECORDS = 9  # journal records that one event may cause
PROTECTIVE_RESERVE = 4_096  # journal records kept for stops, closes and fills when intents are no longer taken
REPORT_RESERVE = 256  # slots of a report ring kept free of totals
IN_FLIGHT_NS = 2_000_000_000  # event time after which a venue that is silent about an order is asked
SAMPLE_NS = 1_000_000_000
DENIED_TOKENS = 256  # refusals of a shard that get a journal record of their own at once, and one more every ...
DENIED_REFILL_NS = 1_000_000_000  # ... second; what is refused in between is counted in the next record
NOTHING_SCHEDULED = np.zeros((0, 3), np.int64)


class ExecutionMemory(NamedTuple):
    """Everything execution knows, process-private but for the journal; int64 arrays and records."""

    orders: np.ndarray  # ORDER[rows]
    free: np.ndarray  # int64[rows + 1]: [0] how many, then a stack of free rows
    account: np.ndarray  # ACCOUNT[1]
    positions: np.ndarray  # PORTFOLIO[n_instruments]
    views: np.ndarray  # RISK_VIEW[n_instruments]
    known: Moves  # how the instruments move together
    tail: Tail  # scratch
    exposed: np.ndarray  # int64[1 + n_instruments], scratch: which may hold something, see kernels/risk/portfolio.py
    lost: np.ndarray  # int64[n_shards]: 1 when a report found that shard's ring full
    resync_seen: np.ndarray  # int64[n_shards]
    failed_ns: np.ndarray  # int64[MOST_FAILURES]: when the venue failed, by `account["breaker_count"]`
    shard_bucket_ns: np.ndarray  # int64[n_shards]: token buckets of their opening orders
    denied_bucket_ns: np.ndarray  # int64[n_shards]: ... of journal records that say of a refusal
    untold: np.ndarray  # int64[n_shards]: refusals since the last such record
    limits: np.ndarray  # LIMITS[1], in force
    limit_words: np.ndarray  # int64[LIMIT_WORDS]: the same memory
    begun_words: np.ndarray  # int64[LIMIT_WORDS]: what this start was given
    next_words: np.ndarray  # int64[LIMIT_WORDS]: as `account["limits_ns"]` says, in force or about to be
    tightened: np.ndarray  # int64[LIMIT_WORDS]: 1 where they are not what this start was given
    scheduled: np.ndarray  # int64[n, 3]: event time, word and value of what is tightened in a session played again
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
    journal: JournalFile,
    n_instruments: int,
    n_shards: int,
    limits: np.ndarray,
    session: np.ndarray,
    rows: int,
    scheduled: np.ndarray = NOTHING_SCHEDULED,
) -> ExecutionMemory:
    """All memory of execution, for `rows` orders at a time: what the session begins with, and the free list.

    `limits` are those in force; they are changed where they lie when they are tightened.
    """
    record, tick = np.zeros(1, JOURNAL), np.zeros(1, TICK)
    intent, request = np.zeros(1, ORDER_INTENT), np.zeros(1, ORDER_INTENT)
    event, report = np.zeros(1, EXEC_REPORT), np.zeros(1, EXEC_REPORT)
    account, positions = np.zeros(1, ACCOUNT), np.zeros(n_instruments, PORTFOLIO)
    equity = session[0]["start_equity_e8"]
    account["equity_e8"], account["high_water_e8"] = equity, max(equity, session[0]["high_water_e8"])
    for name in ("day", "day_start_e8", "streak", "streak_until_ns", "day_shut_until_ns"):
        account[name] = session[0][name]
    account["started"] = int(session[0]["day"] > 0)
    account["next_deadline_ns"] = INT64_MAX
    for name in ("stop_row", "flatten_row", "profit_row", "sliced_row"):
        positions[name] = -1
    return ExecutionMemory(
        orders=np.zeros(rows, ORDER),
        free=np.array([rows, *range(rows - 1, -1, -1)], np.int64),
        account=account,
        positions=positions,
        views=np.zeros(n_instruments, RISK_VIEW),
        known=moves_memory(n_instruments),
        tail=tail_memory(n_instruments, WINDOW),
        exposed=np.zeros(1 + n_instruments, np.int64),
        lost=np.zeros(n_shards, np.int64),
        resync_seen=np.zeros(n_shards, np.int64),
        failed_ns=np.zeros(MOST_FAILURES, np.int64),
        shard_bucket_ns=np.zeros(n_shards, np.int64),
        denied_bucket_ns=np.zeros(n_shards, np.int64),
        untold=np.zeros(n_shards, np.int64),
        limits=limits,
        limit_words=words(limits),
        begun_words=words(limits).copy(),
        next_words=words(limits).copy(),
        tightened=np.zeros(LIMIT_WORDS, np.int64),
        scheduled=scheduled,
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
