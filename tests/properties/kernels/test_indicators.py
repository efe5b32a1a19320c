"""Indicators one value at a time against the textbooks over whole series."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.kernels import indicators as twin

from bot4.kernels.indicators.atr import ATR, atr_init, atr_ready, atr_update
from bot4.kernels.indicators.bar import (
    BAR,
    BAR_DOLLAR,
    BAR_TICK,
    BAR_TIME,
    BAR_VOLUME,
    MOST,
    bar_add,
    bar_close,
    bar_init,
    bar_is_over,
    bar_size,
)
from bot4.kernels.indicators.bollinger import (
    BOLLINGER,
    bollinger_init,
    bollinger_ready,
    bollinger_score,
    bollinger_update,
)
from bot4.kernels.indicators.ema import EMA, ema_init, ema_ready, ema_update
from bot4.kernels.indicators.imbalance import top_imbalance
from bot4.kernels.indicators.macd import MACD, macd_init, macd_ready, macd_update
from bot4.kernels.indicators.microprice import microprice
from bot4.kernels.indicators.rsi import RSI, rsi_init, rsi_ready, rsi_update
from bot4.kernels.indicators.vwap import DAY_NS, VWAP, vwap_init, vwap_ready, vwap_update

prices = st.lists(st.integers(6_000_000, 6_000_400).map(float), min_size=40, max_size=120)
period = st.integers(1, 30)
lots = st.integers(0, 10**9)
tick = st.integers(1, 2**40 - 1)


def record(dtype):
    return np.zeros(1, dtype)[0]


def close(a, b):
    return a == pytest.approx(b, rel=1e-11, abs=1e-7)


@settings(deadline=None)
@given(values=prices, period=period)
def test_ema(values, period):
    state = record(EMA)
    ema_init(state, period)
    for seen, (value, expected) in enumerate(zip(values, twin.ema(values, period), strict=True), start=1):
        found = ema_update(state, value)
        assert ema_ready(state) == (expected is not None)
        assert min(values) - 1e-6 <= found <= max(values) + 1e-6
        assert close(found, expected if expected is not None else sum(values[:seen]) / seen)


@settings(deadline=None)
@given(values=prices, period=period)
def test_rsi(values, period):
    state = record(RSI)
    rsi_init(state, period)
    for value, expected in zip(values, twin.rsi(values, period), strict=True):
        found = rsi_update(state, value)
        assert rsi_ready(state) == (expected is not None)
        assert 0.0 <= found <= 100.0
        assert expected is None or close(found, expected)


@settings(deadline=None)
@given(
    bars=st.lists(
        st.lists(st.integers(6_000_000, 6_000_400).map(float), min_size=3, max_size=3), min_size=30, max_size=80
    ),
    period=period,
)
def test_atr(bars, period):
    bars = [(max(bar), min(bar), sorted(bar)[1]) for bar in bars]
    state = record(ATR)
    atr_init(state, period)
    for bar, expected in zip(bars, twin.atr(bars, period), strict=True):
        found = atr_update(state, *bar)
        assert atr_ready(state) == (expected is not None)
        assert found >= 0.0
        assert expected is None or close(found, expected)


@settings(deadline=None)
@given(values=prices, fast=st.integers(1, 12), more=st.integers(0, 14), signal=st.integers(1, 9))
def test_macd(values, fast, more, signal):
    state = record(MACD)
    macd_init(state, fast, fast + more, signal)
    rows = twin.macd(values, fast, fast + more, signal) if len(values) >= fast + more else [None] * len(values)
    for value, expected in zip(values, rows, strict=True):
        histogram = macd_update(state, value)
        assert macd_ready(state) == (expected is not None)
        if expected is not None:
            assert close(state["macd"], expected[0])
            assert close(state["macd"] - histogram, expected[1])
            assert close(histogram, expected[2])


@settings(deadline=None)
@given(values=prices, period=period, repeat=st.integers(1, 5))
def test_bollinger_keeps_its_digits(values, period, repeat):
    """Prices of 6,000,000 ticks that differ by few: the sum of squares would have lost them."""
    values = values * repeat
    state = record(BOLLINGER)
    bollinger_init(state, period)
    for value, expected in zip(values, twin.bollinger(values, period), strict=True):
        bollinger_update(state, value)
        assert bollinger_ready(state) == (expected is not None)
        if expected is not None:
            assert state["mean"] == pytest.approx(expected[0], rel=1e-12)
            assert state["deviation"] == pytest.approx(expected[1], abs=1e-3)
            assert state["deviation"] ** 2 == pytest.approx(expected[1] ** 2, rel=1e-6, abs=1e-6)


def test_bollinger_score():
    state = record(BOLLINGER)
    bollinger_init(state, 2)
    for value in (10.0, 14.0):
        bollinger_update(state, value)
    assert bollinger_score(state, 15.0) == 1.5
    for _ in range(3):
        bollinger_update(state, 14.0)
    assert bollinger_score(state, 15.0) == 0.0  # nothing deviates


def test_bollinger_period_stays_within_its_window():
    state = record(BOLLINGER)
    bollinger_init(state, 1_000)
    assert state["period"] == 64
    bollinger_init(state, 0)
    assert state["period"] == 1


trades = st.lists(
    st.tuples(st.integers(0, DAY_NS // 2), st.integers(1, 10**7), st.integers(1, 10**6)), min_size=10, max_size=40
)


def timed(steps):
    """(pause, price, lots) into (time, price, lots)."""
    now, out = 0, []
    for pause, price, size in steps:
        now += pause
        out.append((now, price, size))
    return out


@settings(deadline=None)
@given(steps=trades)
def test_vwap_starts_afresh_each_day(steps):
    state = record(VWAP)
    vwap_init(state)
    assert not vwap_ready(state)
    rows = timed(steps)
    for row, expected in zip(rows, twin.vwap(rows), strict=True):
        assert vwap_update(state, *row) == pytest.approx(expected, rel=1e-9)
        assert vwap_ready(state)


NEVER = 2**63 - 1  # end of an open bar that no time ends


def bars_of(rows, kind, span, size, value_e8):
    """(closed bars, the open one) that the kernel makes of (time, price, lots, side) rows, as dictionaries."""
    state, found = record(BAR), []
    bar_init(state)
    given_size = bar_size(kind, span, size, value_e8)
    for ts, price, lots, side in rows:
        if bar_is_over(state, ts):
            found.append({name: state[name].item() for name in twin.BAR_FIELDS})
            bar_close(state)
        if bar_add(state, ts, price, lots, side, kind, given_size):
            found.append({name: state[name].item() for name in twin.BAR_FIELDS})
            bar_close(state)
    assert state["closed"] == len(found)
    return found, {name: state[name].item() for name in twin.BAR_FIELDS} if state["trades"] else None


def sided(steps, sides):
    """Rows of trades with a side each."""
    return [(*row, side) for row, side in zip(timed(steps), sides, strict=False)]


any_sides = st.lists(st.sampled_from((1, -1)), min_size=40, max_size=40)
wild = st.lists(
    st.tuples(st.sampled_from((0, 1, 999, 1_000, 10**9)), st.integers(1, 2**40 - 1), st.integers(1, 2**40 - 1)),
    min_size=1,
    max_size=40,
)
rules = st.one_of(
    st.tuples(st.just(BAR_TIME), st.one_of(st.integers(0, 5_000), st.integers(0, DAY_NS)), st.just(0)),
    st.tuples(st.just(BAR_TICK), st.just(0), st.integers(1, 9)),
    st.tuples(
        st.sampled_from((BAR_VOLUME, BAR_DOLLAR)), st.just(0), st.integers(0, 62).map(lambda bits: min(2**bits, MOST))
    ),
    st.tuples(st.sampled_from((BAR_VOLUME, BAR_DOLLAR)), st.just(0), st.integers(1, MOST)),
)


@settings(deadline=None, max_examples=300)
@given(steps=st.one_of(trades, wild), sides=any_sides, rule=rules, value_e8=st.sampled_from((1, 2, 3, 10, 10**8)))
def test_bars_of_any_stream(steps, sides, rule, value_e8):
    rows, (kind, span, size) = sided(steps, sides), rule
    closed, still = bars_of(rows, kind, span, size, value_e8)
    expected, inside = twin.bars(rows, kind, span, size, value_e8)
    assert closed == expected
    if not inside:
        assert still is None
    else:
        ends = {} if kind == BAR_TIME else {"end_ns": NEVER}
        assert still == twin.bar_row(inside, kind, span) | ends
    # what holds of them whatever the twin says
    every = closed + ([still] if still else [])
    assert sum(bar["trades"] for bar in every) == len(rows)
    assert sum(bar["volume"] for bar in every) == sum(lots for _, _, lots, _ in rows)
    assert sum(bar["buy_volume"] for bar in every) == sum(lots for _, _, lots, side in rows if side > 0)
    worth = sum(price * lots for _, price, lots, _ in rows)
    total = sum(bar["turnover"] for bar in every)
    assert total == worth if worth <= MOST else total <= worth
    for bar in every:
        assert 0 < bar["low"] <= min(bar["open"], bar["close"]) <= max(bar["open"], bar["close"]) <= bar["high"]
        assert 0 <= bar["buy_volume"] <= bar["volume"] and 0 < bar["turnover"] <= MOST
    for bar in closed:
        if kind == BAR_TIME and span:
            assert bar["begin_ns"] % span == 0 and bar["end_ns"] == bar["begin_ns"] + span
        if kind == BAR_TICK:
            assert bar["trades"] == size
        if kind == BAR_VOLUME:
            assert bar["volume"] >= size
        if kind == BAR_DOLLAR:
            assert bar["turnover"] * value_e8 >= size or bar["turnover"] == MOST
    if still and kind == BAR_VOLUME:
        assert still["volume"] < size
    if still and kind == BAR_DOLLAR:
        assert still["turnover"] * value_e8 < size


@pytest.mark.parametrize("away", [-1, 0, 1])
def test_a_time_bar_ends_at_its_end(away):
    span = 1_000
    rows = [(5_000, 7, 1, 1), (6_000 + away, 9, 1, 1)]
    closed, still = bars_of(rows, BAR_TIME, span, 0, 1)
    assert [bar["close"] for bar in closed] == ([] if away < 0 else [7.0])
    assert (still["begin_ns"], still["end_ns"], still["trades"]) == (
        (5_000, 6_000, 2) if away < 0 else (6_000, 7_000, 1)
    )


@pytest.mark.parametrize("away", [-1, 0, 1])
@pytest.mark.parametrize("kind", [BAR_TICK, BAR_VOLUME, BAR_DOLLAR])
def test_a_bar_closes_with_the_trade_that_fills_it(kind, away):
    """Ten trades of 30 lots at 7 ticks are at, one above or one below its size."""
    full = {BAR_TICK: 10, BAR_VOLUME: 300, BAR_DOLLAR: 2_100}[kind]
    rows = [(100 * number, 7, 30, 1) for number in range(10)]
    closed, still = bars_of(rows, kind, 0, full + away, 1)
    first_nine = kind == BAR_TICK and away < 0  # nine trades fill it, the tenth begins the next one
    assert [bar["trades"] for bar in closed] == ([9] if first_nine else [10] if away <= 0 else [])
    assert (still is None) == (away <= 0 and not first_nine)
    if closed:
        assert closed[0]["end_ns"] == 100 * (closed[0]["trades"] - 1)


@pytest.mark.parametrize("kind", [BAR_VOLUME, BAR_DOLLAR])
def test_a_trade_that_overfills_a_bar_is_not_split(kind):
    rows = [(0, 1, 60, 1), (1, 1, 500, -1), (2, 1, 70, 1), (3, 1, 30, -1)]
    closed, still = bars_of(rows, kind, 0, 100, 1)
    assert [(bar["volume"], bar["buy_volume"], bar["turnover"]) for bar in closed] == [(560, 60, 560), (100, 70, 100)]
    assert still is None


@pytest.mark.parametrize(("away", "trades"), [(-1, 2), (0, 2), (1, 3)])
def test_the_size_of_a_dollar_bar_is_rounded_up(away, trades):
    """A tick x lot is worth 10 units; two trades are worth 100."""
    rows = [(number, 5, 1, 1) for number in range(3)]
    closed, _ = bars_of(rows, BAR_DOLLAR, 0, 100 + away, 10)
    assert [bar["trades"] for bar in closed] == [trades]


@pytest.mark.parametrize("away", [-1, 0, 1])
def test_turnover_stops_at_its_bound(away):
    rows = [(0, 2**31, 2**31 + away, 1), (1, 2**40 - 1, 2**40 - 1, 1)]
    state = record(BAR)
    bar_init(state)
    assert bar_add(state, *rows[0], BAR_DOLLAR, MOST) == (away >= 0)
    assert state["turnover"] == min(2**62 + away * 2**31, MOST)
    assert bar_add(state, *rows[1], BAR_DOLLAR, MOST) and state["turnover"] == MOST


def test_a_bar_that_no_time_ends_waits_for_its_trades():
    state = record(BAR)
    bar_init(state)
    assert not bar_add(state, 5, 7, 1, 1, BAR_TICK, 2)
    assert not bar_is_over(state, NEVER - 1)
    assert bar_add(state, 5, 7, 1, 1, BAR_TICK, 2)


@settings(deadline=None)
@given(bid=tick, bid_lots=lots, spread=st.integers(1, 10**6), ask_lots=lots)
def test_microprice_lies_within_the_spread(bid, bid_lots, spread, ask_lots):
    found = microprice(bid, bid_lots, bid + spread, ask_lots)
    assert bid <= found <= bid + spread
    assert found == pytest.approx(twin.microprice(bid, bid_lots, bid + spread, ask_lots), rel=1e-12)


@settings(deadline=None)
@given(bid_lots=lots, ask_lots=lots)
def test_imbalance(bid_lots, ask_lots):
    found = top_imbalance(bid_lots, ask_lots)
    assert -1.0 <= found <= 1.0
    assert math.isclose(found, twin.imbalance(bid_lots, ask_lots), abs_tol=1e-12)
