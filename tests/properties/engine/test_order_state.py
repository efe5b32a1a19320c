"""The table of transitions against its twin in sentences, and the laws that must hold for any history."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.engine.order_state import OPEN, RefOrder

from bot4.engine.order_state import (
    BASE_JOURNALED,
    EVENT_NAMES,
    ILLEGAL,
    N_EVENTS,
    N_STATUS,
    ORDER,
    STATUS_NAMES,
    TRANSITIONS,
    is_open,
    status_of,
    transition,
)

EVENTS = st.lists(st.tuples(st.integers(1, N_EVENTS - 1), st.integers(1, 4)), max_size=25)
QTY = 10


def new_order():
    order = np.zeros(1, ORDER)
    order["base"], order["qty_lots"], order["asked_qty_lots"] = BASE_JOURNALED, QTY, QTY
    return order[0], RefOrder(QTY)


@settings(deadline=None, max_examples=1500)
@given(EVENTS)
def test_any_history_equals_the_twin(history):
    order, twin = new_order()
    for event, lots in history:
        before = order.tobytes()
        legal = twin.handle(EVENT_NAMES[event])
        effect = transition(order, event)
        assert (effect != ILLEGAL) == legal, (EVENT_NAMES[event], STATUS_NAMES[status_of(order)])
        if effect == ILLEGAL:
            assert order.tobytes() == before
        if event == EVENT_NAMES.index("fill") and legal:
            order["cum_lots"] += lots
            twin.cum += lots
        assert STATUS_NAMES[status_of(order)] == twin.status
        assert bool(is_open(order)) == (twin.status in OPEN)
        assert order["sends"] == twin.sends <= 1


def test_an_order_is_sent_once_and_unknown_is_never_sent_again():
    sends = [STATUS_NAMES[status] for status in range(N_STATUS) if TRANSITIONS[status, EVENT_NAMES.index("send")]]
    assert sends == ["journaled"]


@pytest.mark.parametrize("status", ["unknown", "pending_new"])
def test_no_timer_ends_an_order(status):
    order, _ = new_order()
    transition(order, EVENT_NAMES.index("send"))
    if status == "unknown":
        transition(order, EVENT_NAMES.index("ambiguous"))
    for _ in range(5):
        transition(order, EVENT_NAMES.index("ambiguous"))
    assert STATUS_NAMES[status_of(order)] == "unknown"


def test_every_status_takes_a_fill_but_those_that_never_went_out():
    fill = EVENT_NAMES.index("fill")
    refuse = {STATUS_NAMES[status] for status in range(N_STATUS) if TRANSITIONS[status, fill] == ILLEGAL}
    assert refuse == {"free", "journaled", "denied"}
