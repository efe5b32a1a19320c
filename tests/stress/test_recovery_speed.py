"""Execution's way back with a long journal, a thousand open orders, fifty of them unknown, and no snapshot."""

import random
import time

import pytest
from rig.execution import ASK, BID, Rig
from rig.tables import MS, SECOND

from bot4.engine.execution_memory import IN_FLIGHT_NS
from bot4.engine.journal import whole_records
from bot4.engine.journal_snapshot import snapshots_of
from bot4.engine.portfolio import STATE_ACTIVE
from bot4.model.enums import (
    ACTION_QUERY_TRADES,
    REPORT_ACK,
    REPORT_EXPIRED,
    REPORT_ORDER,
    REPORT_QUERY_END,
    TIF_GTC,
)
from bot4.model.records import JOURNAL_WORDS

N, OPEN, UNKNOWN = 20, 1_000, 50
WIDE = {"cool_down_ns": 0, "open_orders": 10**6, "bucket_tokens": 10**6, "bucket_refill_ns": 1}
RESTING = {"tif": TIF_GTC, "price_ticks": BID - 10, "qty_lots": 10}


def long_past(folder, records):
    """A session of so many records that ends with its orders open; the requests that wait for an answer."""
    rig = Rig(folder, N, 1, capacity=262_144, limit_changes=WIDE, one_segment=False, rows=1_200)
    rig.open_market()
    dice = random.Random(1)
    second = 10
    while rig.agent.journal.count < records - 4 * OPEN:
        second += 1
        now = second * SECOND
        which = second % N
        bid = BID + dice.randint(-500, 500)
        rig.quote(now, bid=bid, ask=bid + 1, instrument=which)
        rig.run()
        for order in range(2):
            rig.intent(now + MS + order, instrument=which, price_ticks=bid + 1, qty_lots=10)
        rig.run()
        for request in rig.requests():
            rig.ack(now + 2 * MS, request)
            rig.event(now + 3 * MS, REPORT_EXPIRED, request)
        rig.run()
        rig.reports()
    now = (second + 1) * SECOND
    for instrument in range(N):
        rig.quote(now, bid=BID, ask=ASK, instrument=instrument)
    rig.run()
    waiting = []
    for number in range(OPEN):
        rig.intent(now + number, instrument=number % N, **RESTING)
        if number % 100 == 99:
            rig.run()
            waiting += rig.requests()
    for request in waiting[UNKNOWN:]:
        rig.ack(now + MS, request)
    rig.run()
    for later in (2, 3):  # asked about, and counted
        rig.quote(now + later * IN_FLIGHT_NS, instrument=0)
        rig.run()
    rig.requests()
    account = rig.agent.memory.account[0]
    assert (account["unknown"], account["open_orders"]) == (UNKNOWN, OPEN), rig.rejects
    return rig, now


@pytest.mark.compiled
@pytest.mark.parametrize("records", [30_000, pytest.param(1_000_000, marks=pytest.mark.stress)])
def test_execution_is_back_with_a_long_journal(tmp_path, records):
    rig, now = long_past(tmp_path, records)
    rig.agent.close()
    for _, file in snapshots_of(rig.path):
        file.unlink()
    begun = time.process_time()
    count = rig.agent.journal.count
    assert whole_records(rig.agent.journal.records[: count * JOURNAL_WORDS]) == count
    check_s = time.process_time() - begun
    begun = time.process_time()
    rig.build()
    built_s = time.process_time() - begun
    rig.run()
    questions = rig.requests()
    assert [one["action"] for one in questions[-1:]] == [ACTION_QUERY_TRADES] and len(questions) == OPEN + 1
    for question in questions[:-1]:
        rig.event(now + 9 * SECOND, REPORT_ORDER, question, status=REPORT_ACK, qty_lots=10, event_seq=0)
    rig.event(now + 9 * SECOND, REPORT_QUERY_END, questions[-1], event_seq=0)
    rig.run()
    back_s = time.process_time() - begun
    account = rig.agent.memory.account[0]
    assert (account["state"], account["open_orders"], account["unknown"]) == (STATE_ACTIVE, OPEN, 0)
    print(
        f"\n{count:,} records, {OPEN:,} open orders: check {check_s:.2f} s, check and fold {built_s:.2f} s, "
        f"back and active after {back_s:.2f} s of one core"
    )
    if records >= 1_000_000:
        assert back_s <= 5
