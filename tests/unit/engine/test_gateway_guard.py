"""The gateway and the venue's dead-man's switch, on a clock of the test's own."""

import pytest
from rig.gateway_script import ScriptRig

from bot4.model import enums as e
from bot4.shm.layout import CONTROL_KILL
from bot4.shm.wires import (
    GAUGE_VENUE_GUARD,
    GUARD_ABSENT,
    GUARD_ARMED,
    GUARD_NOTHING_RESTS,
    GUARD_STOP_RESTS,
    VENUE_ROW,
)


def state(rig):
    """GUARD_*, as `status` shows it."""
    return int(rig.wires.gauges[1 + VENUE_ROW][GAUGE_VENUE_GUARD])


def said(rig):
    """What the venue has been told of the switch."""
    return [str(one["op"]) for one in rig.venue.said if one.get("req_id") == "guard"]


def test_the_dead_mans_switch_is_armed_while_what_opens_rests_and_no_stop_does(tmp_path):
    with ScriptRig(tmp_path, guard_s=60).ready() as rig:
        assert rig.venue.count("order/disconnected-cancel-all") == 1
        rig.until(lambda: state(rig) == GUARD_NOTHING_RESTS)
        assert said(rig)[-1] == "unsubscribe"
        entry = rig.place(1, 5, price=599_000)
        rig.until(lambda: state(rig) == GUARD_ARMED)
        assert said(rig)[-1] == "subscribe"
        rig.venue.before["order/create"] = lambda: before_it.append(said(rig)[-1])
        before_it: list[str] = []
        stop = rig.place(-1, 5, stop=590_000, flags=e.ORDER_REDUCE_ONLY)
        rig.until(lambda: rig.of(stop))
        assert before_it == ["unsubscribe"] and state(rig) == GUARD_STOP_RESTS  # before the stop had left
        before = len(said(rig))
        rig.venue.say(None)  # another stream: the count that has begun ends
        rig.until(lambda: len(said(rig)) == before + 2)
        assert said(rig)[before:] == ["subscribe", "unsubscribe"]
        rig.send(e.ACTION_CANCEL, stop)
        rig.until(lambda: state(rig) == GUARD_ARMED)
        rig.send(e.ACTION_CANCEL, entry)
        rig.until(lambda: state(rig) == GUARD_NOTHING_RESTS)


def test_a_venue_without_a_dead_mans_switch_is_shown_and_traded_on(tmp_path):
    with ScriptRig(tmp_path, guard_s=60) as rig:
        rig.venue.refuses["order/disconnected-cancel-all"] = 10_005
        rig.until(lambda: state(rig) == GUARD_ABSENT)
        rig.ready()
        assert not rig.wires.control[CONTROL_KILL] and not said(rig)


def test_a_stop_that_the_switch_takes_while_the_stream_is_away_is_told(tmp_path):
    """Requests have their answers all the while; what was said last of the switch counts on."""
    with ScriptRig(tmp_path, guard_s=60).ready() as rig:
        entry = rig.place(1, 5, price=599_000)
        rig.until(lambda: state(rig) == GUARD_ARMED)
        before = said(rig)
        rig.venue.lose_stream()
        stop = rig.place(-1, 5, stop=590_000, flags=e.ORDER_REDUCE_ONLY)  # leaves before anybody knows
        rig.until(lambda: rig.of(stop))
        rig.venue.fill(rig.link(entry), 5)
        rig.until(lambda: rig.lots() == 5, patience_s=10.0)
        rig.go_on(10.0)
        assert state(rig) == GUARD_ARMED and said(rig) == before
        rig.venue.end(rig.link(stop), "Cancelled")  # the count is over
        rig.until(lambda: rig.kinds(stop)[-1] == "canceled", patience_s=10.0)
        rig.venue.has_stream = True
        rig.venue.say(None)
        rig.turn()
        again = rig.place(-1, 5, stop=590_000, flags=e.ORDER_REDUCE_ONLY)  # the new stream is not ours yet
        rig.until(lambda: rig.of(again) and state(rig) == GUARD_STOP_RESTS)
        assert said(rig) == [*before, "subscribe", "unsubscribe"]


@pytest.mark.parametrize("code", [10_006, 10_002])
def test_a_refusal_that_passes_is_asked_again(tmp_path, code):
    """Too many requests, or a clock that was off: neither says that the account has no switch."""
    with ScriptRig(tmp_path, guard_s=60) as rig:
        rig.venue.refuses["order/disconnected-cancel-all"] = code
        rig.until(lambda: rig.venue.count("order/disconnected-cancel-all") == 2)
        rig.venue.refuses.clear()
        rig.ready()
        rig.place(1, 5, price=599_000)
        rig.until(lambda: state(rig) == GUARD_ARMED)
        assert said(rig)[-1] == "subscribe"


def test_a_new_stream_is_armed_no_longer_than_it_takes_to_say_so_where_a_stop_rests(tmp_path):
    with ScriptRig(tmp_path, guard_s=60).ready() as rig:
        stop = rig.place(-1, 5, stop=590_000, flags=e.ORDER_REDUCE_ONLY)
        rig.until(lambda: rig.of(stop) and state(rig) == GUARD_STOP_RESTS)
        before = said(rig)
        rig.venue.say(None)
        rig.until(lambda: said(rig) != before)
        assert said(rig) == [*before, "subscribe", "unsubscribe"]
