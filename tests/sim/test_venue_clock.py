"""A venue whose clock is not ours: what is ahead, what is set while a session runs, what nobody knows well enough."""

import pytest
from rig.gateway_desk import SECOND, DeskRig

from bot4.model import enums as e

RESTING = 599_000


def ready(rig):
    rig.until(lambda: rig.agent.is_ready)
    return rig


def calls(rig, name):
    """Requests of that kind by the exchange's ledger."""
    rig.desk.venue.ledger.flush()
    return rig.desk.ledger.read_text().count(f'"target":"/v5/order/{name}')


@pytest.mark.parametrize("ahead_s", [-5.0, -2.5, -0.4, 0.0, 0.4, 2.5, 5.0])
def test_a_clock_that_is_off_by_a_constant_is_none_the_less_exact(tmp_path, ahead_s):
    ahead_ns = int(ahead_s * SECOND)
    with ready(DeskRig(tmp_path, ahead_ns=ahead_ns)) as rig:
        assert abs(rig.agent._calls.offset_ns + ahead_ns) < 10_000_000
        order = rig.place(1, 5, price=RESTING, wait=False)
        rig.until(lambda: rig.of(order))
        bought = rig.place(1, 5, wait=False)
        rig.until(lambda: len(rig.of(bought)) == 2)
        assert rig.kinds(order) == ["ack"] and rig.kinds(bought) == ["ack", "fill"]
        assert abs(int(rig.of(bought)[1]["t_venue_ns"]) - rig.desk.now_ns - ahead_ns) < 2 * SECOND


@pytest.mark.parametrize("set_by_ms", [-5_000, 5_000])
def test_a_clock_that_is_set_costs_a_new_order_its_life_and_a_cancel_one_more_try(tmp_path, set_by_ms, caplog):
    with ready(DeskRig(tmp_path)) as rig:
        rig.agent._calls._logger.setLevel("ERROR")
        rig.agent._calls._logger.addHandler(caplog.handler)
        resting = rig.place(1, 5, price=RESTING, wait=False)
        rig.until(lambda: rig.of(resting))
        rig.desk.venue.skew_ms = set_by_ms
        late = rig.place(1, 5, price=RESTING, wait=False)
        rig.until(lambda: rig.of(late))
        assert (rig.kinds(late), rig.code(late)) == (["reject"], e.VENUE_TIME)
        rig.until(lambda: abs(rig.agent._calls.offset_ns - set_by_ms * 1_000_000) < 10_000_000, patience_s=2.0)
        told = [record.fields for record in caplog.records if "was set" in record.message]
        assert len(told) == 1 and abs(told[0]["by_ms"] - set_by_ms) < 10
        rig.go_on(5.0)
        assert calls(rig, "create") == 3 + 1, "the book's two, the one that rests, and once the one that was refused"
        rig.desk.venue.skew_ms = 0
        rig.send(e.ACTION_CANCEL, resting)
        rig.until(lambda: rig.kinds(resting)[-1] == "canceled")
        assert calls(rig, "cancel") == 2
        again = rig.place(1, 5, price=RESTING, wait=False)
        rig.until(lambda: rig.of(again))
        assert rig.kinds(again) == ["ack"]


def test_while_answers_take_too_long_to_tell_the_time_only_what_reduces_leaves(tmp_path):
    with ready(DeskRig(tmp_path)) as rig:
        bought = rig.place(1, 5, wait=False)
        rig.until(lambda: len(rig.of(bought)) == 2)
        rig.network.answer_s = 0.49  # a quarter of a second to and fro
        rig.until(lambda: rig.agent._calls.skew_ns > SECOND // 3, patience_s=120.0)
        near = rig.place(1, 5, price=RESTING, wait=False)
        rig.until(lambda: rig.of(near))
        assert rig.kinds(near) == ["ack"]
        rig.network.answer_s = 0.6
        rig.until(lambda: not rig.agent._calls.is_timely, patience_s=120.0)
        entry = rig.place(1, 5, price=RESTING, wait=False)
        exit_ = rig.place(-1, 5, flags=e.ORDER_REDUCE_ONLY, wait=False)
        rig.until(lambda: rig.of(entry) and len(rig.of(exit_)) == 2)
        assert (rig.kinds(entry), rig.code(entry)) == (["reject"], e.VENUE_TIME)
        assert rig.kinds(exit_) == ["ack", "fill"]
        rig.network.answer_s = 0.0005
        rig.until(lambda: rig.agent._calls.is_timely, patience_s=20.0)
        entry = rig.place(1, 5, price=RESTING, wait=False)
        rig.until(lambda: rig.of(entry))
        assert rig.kinds(entry) == ["ack"]
