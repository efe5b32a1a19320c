"""The clock of events jumps: no id changes or comes twice, the journal stays in order, no day begins twice."""

import numpy as np
import pytest
from rig.execution import ASK, BID, Rig
from rig.tables import MS, SECOND

from bot4.engine.journal import read_journal
from bot4.model.enums import ACTION_PLACE, REPORT_EXPIRED
from bot4.model.records import JOURNAL_EVENT, JOURNAL_INTENT

JUMPS = 100
HOUR = 3_600 * SECOND
MIDNIGHT = 6_400 * SECOND  # after the rig's first moment
DAY = 86_400 * SECOND
CLOCKS = {
    "steady": lambda n: n * SECOND,
    "an hour ahead and back": lambda n: n * SECOND + HOUR * (n % 2),
    "an hour back and ahead": lambda n: (n + 2 * JUMPS) * SECOND + HOUR * ((n + 1) % 2),
    "a saw of a second": lambda n: n * SECOND // 2 + SECOND * (n % 2),
    "leap seconds": lambda n: n * SECOND - SECOND * (n // 10),
    "suspended for five minutes": lambda n: n * 300 * SECOND,
    "steps of the time service": lambda n: n * SECOND + (n * 7_919 % 401 - 200) * MS,
    "to and fro over midnight": lambda n: MIDNIGHT + (30 - 60 * (n % 2)) * SECOND + n * MS,
}


def driven(folder, clock):
    """A session by this clock; ids of what went out, in order."""
    rig = Rig(folder, limit_changes={"cool_down_ns": 0, "bucket_tokens": 10_000}, capacity=20_480)
    rig.open_market(CLOCKS[clock](0))
    sent, days = [], []
    for n in range(JUMPS):
        at = CLOCKS[clock](n)
        rig.whole(at)
        rig.quote(at)
        rig.intent(at + 1, qty_lots=10, price_ticks=ASK if n % 3 else BID - 5)
        rig.run()
        for request in rig.requests():
            if request["action"] == ACTION_PLACE:
                sent.append((int(request["id_hi"]), int(request["id_lo"])))
                rig.ack(at + MS, request)
                rig.event(at + 2 * MS, REPORT_EXPIRED, request)
        rig.run()
        days.append((int(rig.agent.memory.account["day"][0]), int(rig.agent.memory.account["day_start_e8"][0])))
    return rig, sent, days


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_clock_that_jumps_changes_no_id_no_order_and_no_day(tmp_path, clock):
    rig, sent, days = driven(tmp_path, clock)
    steady = {(1 << 48 | 1 << 32 | 1, number << 32) for number in range(1, JUMPS + 1)}
    assert sent and len(set(sent)) == len(sent) and set(sent) <= steady and sent == sorted(sent)
    records = read_journal(rig.path)
    own = records[records["type"] != JOURNAL_EVENT]  # those bear the venue's time
    assert (np.diff(own["ts_ns"]) >= 0).all() and (own["type"] == JOURNAL_INTENT).any()
    assert records["seq"].tolist() == list(range(1, len(records) + 1))
    begun = [day for day, _ in days]
    first = (1_700_000_000 * SECOND + CLOCKS[clock](0)) // DAY
    last = max(1_700_000_000 * SECOND + CLOCKS[clock](n) + MS for n in range(JUMPS)) // DAY
    assert begun == sorted(begun) and begun[0] == first and begun[-1] == last
    if clock == "steady":
        assert len(sent) == JUMPS
