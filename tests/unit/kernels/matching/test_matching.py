"""The matching core against its twin, over long seeded scripts of market and orders."""

import pytest
from rig.matching import Pair, RandomScript

from bot4.jit import JIT
from bot4.model import enums as e

STEPS = 50_000 if JIT else 10_000
ALL_CODES = {
    e.VENUE_POST_ONLY, e.VENUE_REDUCE_ONLY, e.VENUE_UNKNOWN_ORDER, e.VENUE_DUPLICATE_ID, e.VENUE_FILTER,
    e.VENUE_BALANCE, e.VENUE_NO_MARKET, e.VENUE_STOP_WOULD_TRIGGER, e.VENUE_BAD_REQUEST,
}  # fmt: skip


def run(seed, steps, **more):
    pair = Pair(**more)
    script = RandomScript(pair, seed)
    for number in range(steps):
        script.step()
        if number % 500 == 0:
            pair.check_state()
    pair.check_state()
    return pair


def test_same_script_same_words_same_state():
    """Everything both say and hold is equal over 50,000 steps, and every rule came to pass."""
    pair = run(20_240_808, STEPS)
    kinds = {event[2] for event in pair.events}
    assert kinds == {
        e.REPORT_ACK, e.REPORT_REJECT, e.REPORT_FILL, e.REPORT_CANCELED, e.REPORT_EXPIRED, e.REPORT_TRIGGERED,
        e.REPORT_REPLACED, e.REPORT_CANCEL_REJECT, e.REPORT_FUNDING,
    }  # fmt: skip
    assert {event[15] for event in pair.events} >= ALL_CODES
    assert [event[0] for event in pair.events] == list(range(1, len(pair.events) + 1))
    assert [int(entry["seq"]) for entry in pair.entries] == list(range(1, len(pair.entries) + 1))
    fills = [event for event in pair.events if event[2] == e.REPORT_FILL]
    assert len(fills) > STEPS // 20
    assert [event[11] for event in fills] == list(range(1, len(fills) + 1))
    print(f"{STEPS} steps, {len(pair.events)} events, {len(fills)} fills, sha256 {pair.hash.hexdigest()}")


@pytest.mark.parametrize("seed", range(4))
def test_the_same_seed_gives_the_same_hash(seed):
    assert run(seed, 400).hash.digest() == run(seed, 400).hash.digest()


def test_a_poor_account_is_refused_what_it_cannot_pay():
    pair = run(5, 2_000, cash_e8=10**7)
    assert any(event[15] == e.VENUE_BALANCE and event[2] == e.REPORT_REJECT for event in pair.events)


def test_a_full_order_table_refuses_new_ids_and_remembers_the_old_ones():
    pair = run(6, 1_500, max_orders=100)
    codes = [event[15] for event in pair.events]
    assert e.VENUE_TOO_MANY_ORDERS in codes
    said = pair.request(e.ACTION_QUERY_ORDER, 1)
    assert said[0][2] == e.REPORT_ORDER
