"""Indicators one value at a time against the textbooks over whole series."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.kernels import indicators as twin

from bot4.kernels.indicators.atr import ATR, atr_init, atr_ready, atr_update
from bot4.kernels.indicators.bar import BAR, bar_add, bar_close, bar_init, bar_is_over
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


@settings(deadline=None)
@given(steps=trades, span=st.integers(1, DAY_NS))
def test_bars(steps, span):
    state = record(BAR)
    bar_init(state)
    rows, found = timed(steps), []
    for ts, price, size in rows:
        if bar_is_over(state, ts):
            bar_close(state)
            found.append(tuple(state[name] for name in ("open", "high", "low", "close", "volume")))
        bar_add(state, ts, price, size, span)
    expected = twin.bars(rows, span)
    assert found == expected[:-1]
    assert state["closed"] == len(found)
    assert not bar_is_over(state, rows[-1][0]) and bar_is_over(state, rows[-1][0] + span)


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
