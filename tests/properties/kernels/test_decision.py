"""Data check, decision and sizing against their twins."""

import math

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference.kernels import decision as twin
from reference.kernels import sizing as sizing_twin
from rig.tables import instruments, limits

from bot4.kernels.data_check import check_sequence, check_values
from bot4.kernels.decision.gate import check_gate
from bot4.kernels.decision.score import target_of
from bot4.kernels.sizing.fixed_fraction import fixed_fraction_lots
from bot4.kernels.sizing.stop_price import profit_price_ticks, stop_price_ticks
from bot4.kernels.state import SHARD_STATE
from bot4.model.records import TICK

scores = st.one_of(st.floats(-1, 1), st.sampled_from([0.3, -0.3, 0.1, -0.1, 0.0]))


@settings(deadline=None)
@given(score=scores, current=st.sampled_from([-1, 0, 1]), enter=st.sampled_from([0.3, 0.5]), leave=st.floats(-0.3, 0.3))
@example(score=0.3, current=0, enter=0.3, leave=0.1)
@example(score=0.1, current=1, enter=0.3, leave=0.1)
def test_target(score, current, enter, leave):
    target = target_of(score, current, enter, leave)
    assert target == twin.target(score, current, enter, leave)
    assert target_of(score, target, enter, leave) == target  # the same score twice gives the same target


@settings(deadline=None)
@given(is_open=st.booleans(), warm=st.booleans(), age=st.integers(0, 20), most=st.integers(0, 20))
def test_gate(is_open, warm, age, most):
    assert check_gate(is_open, warm, age, most) == twin.gate(is_open, warm, age, most)


word = st.one_of(st.integers(-2, 3), st.integers(2**40 - 2, 2**40 + 1), st.integers(-(2**63), 2**63 - 1))
ticks = st.fixed_dictionaries(
    {
        "ts_recv_ns": st.integers(0, 5),
        "kind": st.integers(0, 8),
        "flags": st.sampled_from([0, 0, 0, 1, 2, 3]),
        "w0": word,
        "w1": word,
        "w2": word,
        "w3": word,
        "event_no": st.integers(0, 6),
    }
)


def tick_record(fields):
    tick = np.zeros(1, TICK)
    for name, value in fields.items():
        tick[name] = value
    return tick[0]


@settings(deadline=None, max_examples=500)
@given(fields=ticks)
def test_values(fields):
    assert check_values(tick_record(fields)) == twin.values(fields)


@settings(deadline=None, max_examples=200)
@given(rows=st.lists(ticks, max_size=30))
def test_sequence(rows):
    state = np.zeros(1, SHARD_STATE)
    state["next_event_no"], state["synced"] = 1, 1
    reference = twin.Sequence()
    for number, fields in enumerate(rows, start=1):
        if number % 3:  # mostly in order
            fields = {**fields, "event_no": reference.next, "ts_recv_ns": reference.last_ns + number % 2}
        code = check_sequence(tick_record(fields), state[0])
        assert code == reference.code(fields)
        if code:  # whoever calls it shuts the instrument
            state["synced"], reference.synced = 0, False
        assert (state["next_event_no"], bool(state["synced"])) == (reference.next, reference.synced)


@settings(deadline=None, max_examples=300)
@given(
    price=st.integers(0, 2**40 - 1),
    fraction=st.integers(1, 10_000),
    equity=st.integers(-5, 2**61),
    value=st.integers(0, 10**10),
    spot=st.booleans(),
    fee=st.integers(-500, 5_000),
)
def test_lots(price, fraction, equity, value, spot, fee):
    table = instruments(1, spot=spot)
    table["value_e8"], table["taker_fee_ppm"] = value, fee
    found = int(fixed_fraction_lots(price, fraction, equity, table[0], limits(position_bps=200)[0]))
    assert found == sizing_twin.lots(price, fraction, 200, equity, value, fee if spot else 0)
    assert found * price * value * 10_000 <= max(equity, 0) * min(fraction, 200)


@settings(deadline=None, max_examples=300)
@given(
    side=st.sampled_from([1, -1]),
    price=st.integers(1, 2**40 - 1),
    atr=st.floats(0, 1e7),
    multiple=st.floats(0, 100),
    min_bps=st.floats(0, 5_000),
)
@example(side=1, price=100, atr=10.0, multiple=1.0, min_bps=0.0)
@example(side=1, price=10, atr=10.0, multiple=1.0, min_bps=0.0)
def test_stop(side, price, atr, multiple, min_bps):
    found = stop_price_ticks(side, price, atr, multiple, min_bps)
    assert found == sizing_twin.stop(side, price, atr, multiple, min_bps)
    assert found == 0 or side * (price - found) >= max(atr * multiple, price * min_bps / 10_000.0)


@settings(deadline=None, max_examples=300)
@given(
    side=st.sampled_from([1, -1]), price=st.integers(1, 2**40 - 1), atr=st.floats(0, 1e7), multiple=st.floats(0, 1e3)
)
@example(side=1, price=2**40 - 1, atr=1.0, multiple=1.0)
@example(side=-1, price=10, atr=10.0, multiple=1.0)
def test_take_profit(side, price, atr, multiple):
    found = profit_price_ticks(side, price, atr, multiple)
    assert found == sizing_twin.profit(side, price, atr, multiple)
    assert found == 0 or side * (found - price) >= atr * multiple > 0


def test_no_stop_from_what_is_no_number():
    for atr in (math.nan, math.inf):
        assert profit_price_ticks(1, 6_000_000, atr, 2.0) == 0
        assert stop_price_ticks(1, 6_000_000, atr, 2.0, 0.0) == 0
    assert stop_price_ticks(1, 6_000_000, 0.0, 2.0, 0.0) == 0
