"""Stops that follow the price, that go to the cost, and what happens when the price has gone through, in the wiring."""

import pytest
from rig.execution import ASK, BID, Rig
from rig.tables import MS

from bot4.model.enums import (
    ACTION_AMEND,
    LEG_FLATTEN,
    LEG_STOP,
    REPORT_CANCEL_REJECT,
    REPORT_REPLACED,
    SIDE_SELL,
    VENUE_STOP_WOULD_TRIGGER,
)

TRAIL = 60_000
LONG = {"stop_ticks": BID - TRAIL}
SHORT = {"side": SIDE_SELL, "price_ticks": BID, "stop_ticks": ASK + TRAIL}


def held(rig, **fields):
    """A position whose stop is confirmed; the stop as it was sent."""
    rig.open_market()
    rig.intent(1, **fields)
    rig.run()
    (entry,) = rig.requests()
    rig.ack(2 * MS, entry)
    rig.fill(2 * MS, entry, price=entry["price_ticks"])
    rig.run()
    (stop,) = rig.requests()
    rig.ack(4 * MS, stop)
    rig.run()
    return stop


def quoted(rig, at, move):
    """The market so many ticks from where it began; what was asked of the venue then."""
    rig.quote(at, bid=BID + move, ask=ASK + move)
    rig.run()
    return rig.requests()


def replaced(rig, at, request):
    """The venue has amended it."""
    rig.event(at, REPORT_REPLACED, request, qty_lots=request["qty_lots"], price_ticks=request["stop_ticks"])
    rig.run()


@pytest.mark.parametrize(("fields", "sign"), [(LONG, 1), (SHORT, -1)], ids=["long", "short"])
def test_a_stop_follows_the_price_and_never_goes_back(tmp_path, fields, sign):
    rig = Rig(tmp_path)
    stop = held(rig, trail_ticks=TRAIL, **fields)
    first = int(stop["stop_ticks"])
    assert quoted(rig, 5 * MS, sign * (TRAIL // 8 - 1)) == [], "a move is a message: not for an eighth of the way"
    (amended,) = quoted(rig, 6 * MS, sign * TRAIL // 8)
    assert (amended["action"], amended["leg"]) == (ACTION_AMEND, LEG_STOP)
    assert amended["stop_ticks"] == first + sign * TRAIL // 8
    assert quoted(rig, 7 * MS, sign * TRAIL) == [], "one amend at a time"
    replaced(rig, 9 * MS, amended)
    (again,) = rig.requests()
    assert again["stop_ticks"] == first + sign * TRAIL, "what came meanwhile is not forgotten"
    replaced(rig, 11 * MS, again)
    assert quoted(rig, 12 * MS, -sign * 20_000) == []
    assert rig.position["stop_ticks"] == first + sign * TRAIL
    rig.whole(13 * MS, whole=False)
    assert quoted(rig, 14 * MS, 3 * sign * TRAIL) == [], "nothing moves on a book that is not whole"


def test_a_stop_that_does_not_trail_stays(tmp_path):
    rig = Rig(tmp_path)
    held(rig, **LONG)
    assert quoted(rig, 5 * MS, 5 * TRAIL) == []


@pytest.mark.parametrize(("fields", "sign", "cost"), [(LONG, 1, ASK), (SHORT, -1, BID)], ids=["long", "short"])
def test_a_stop_goes_to_the_cost_once_enough_is_gained(tmp_path, fields, sign, cost):
    rig = Rig(tmp_path)
    held(rig, even_ticks=5_000, **fields)
    spread = 1
    assert quoted(rig, 5 * MS, sign * (5_000 + spread - 1)) == []
    (amended,) = quoted(rig, 6 * MS, sign * (5_000 + spread))
    assert amended["stop_ticks"] == cost
    replaced(rig, 8 * MS, amended)
    assert quoted(rig, 9 * MS, sign * 50_000) == [], "and stays there"


def test_a_gap_through_the_stop_that_was_to_move_closes_at_the_market(tmp_path):
    """While the amend is on its way the price falls through it: the venue refuses, and nothing is waited for."""
    rig = Rig(tmp_path)
    held(rig, trail_ticks=TRAIL, **LONG)
    (amended,) = quoted(rig, 5 * MS, TRAIL)
    rig.event(7 * MS, REPORT_CANCEL_REJECT, amended, code=VENUE_STOP_WOULD_TRIGGER)
    rig.run()
    assert [request["leg"] for request in rig.requests()][:1] == [LEG_FLATTEN]


def test_where_the_stop_has_gone_survives_a_death(tmp_path):
    rig = Rig(tmp_path)
    held(rig, trail_ticks=TRAIL, even_ticks=7, **LONG)
    (amended,) = quoted(rig, 5 * MS, TRAIL)
    replaced(rig, 7 * MS, amended)
    before = rig.position[["stop_ticks", "trail_ticks", "even_ticks"]].item()
    assert before[0] == amended["stop_ticks"]
    rig.build()
    assert rig.position[["stop_ticks", "trail_ticks", "even_ticks"]].item() == before
