"""Value at risk and expected shortfall against their twin to the last bit, and against NumPy and SciPy."""

import json
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.kernels.risk.correlation import RefMoves
from reference.kernels.risk.tail import could_lose, historical, losses_of, parametric, tail_check
from rig.tables import instruments, limits
from scipy import stats

from bot4.engine.portfolio import PORTFOLIO
from bot4.kernels.risk.correlation import ENOUGH, WINDOW, moves_memory, note_moves
from bot4.kernels.risk.portfolio import find_exposed
from bot4.kernels.risk.tail import (
    check_tail,
    historical_tail,
    hold_against,
    normal_quantile,
    note_tail,
    parametric_tail,
    tail_memory,
)
from bot4.kernels.risk.view import RISK_VIEW
from bot4.model.records import ORDER_INTENT

N = 7  # more than go into one pass
NOW, AGE = 10**18, 10**9


def learned(rng, seconds, gaps):
    """Kernel and twin after the same seconds of N instruments."""
    known, twin = moves_memory(N), RefMoves(N, 0.97)
    mids = np.round(12e6 * np.exp(np.cumsum(rng.standard_t(3, (seconds, N)) * 1e-4, axis=0)))
    fresh = rng.random((seconds, N)) >= gaps
    for row, there in zip(mids, fresh, strict=True):
        known.mids[:], known.fresh[:] = row, there
        note_moves(known, 0.97, 1)
        twin.note([float(mid) if ok else None for mid, ok in zip(row, there, strict=True)])
    return known, twin


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    seconds=st.sampled_from([2, ENOUGH, ENOUGH + 1, ENOUGH + 2, 400, WINDOW + 300]),
    gaps=st.sampled_from([0.0, 0.0, 0.02, 0.3]),
    confidence=st.sampled_from([9_000, 9_500, 9_750, 9_900, 9_990]),
    horizon=st.sampled_from([1, 60, 86_400]),
)
def test_equal_to_the_twin_to_the_last_unit(seed, seconds, gaps, confidence, horizon):
    rng = np.random.default_rng(seed)
    known, twin = learned(rng, seconds, gaps)
    table, views, positions = instruments(N), np.zeros(N, RISK_VIEW), np.zeros(N, PORTFOLIO)
    for name in ("pending_buy_lots", "pending_sell_lots"):
        views[name] = rng.integers(0, 400, N) * rng.integers(0, 2, N)
    views["position_lots"] = positions["lots"] = rng.integers(-1_000, 1_000, N) * rng.integers(0, 2, N)
    positions["cost_tl"] = positions["lots"] * rng.integers(4_000_000, 8_000_000)
    positions["bid_ticks"] = rng.choice([0, 6_000_000], N, p=[0.1, 0.9])
    positions["ask_ticks"], positions["whole"] = positions["bid_ticks"] + 1, rng.integers(0, 5, N) > 0
    positions["quote_ts_ns"] = NOW - AGE - rng.choice([0, 1], N)
    held = limits(var_confidence_bps=confidence, var_horizon_s=horizon, quote_age_ns=AGE, var_bps=300)
    held["shortfall_bps"] = 400
    rows = [
        {
            "lots": int(of["lots"]), "cost": int(of["cost_tl"]), "value_e8": 10,
            "buys": int(view["pending_buy_lots"]), "sells": int(view["pending_sell_lots"]),
            "twice_mid": int(of["bid_ticks"] + of["ask_ticks"]) if of["bid_ticks"] else 0,
            "live": bool(of["whole"] and of["bid_ticks"] and NOW - of["quote_ts_ns"] <= AGE),
        }
        for of, view in zip(positions, views, strict=True)
    ]  # fmt: skip
    told = dict(zip(held.dtype.names, held[0].item(), strict=True))
    order = np.zeros(1, ORDER_INTENT)
    order["ts_ns"], order["qty_lots"] = NOW, 700
    tail, exposed = tail_memory(N, WINDOW), np.zeros(1 + N, np.int64)
    for index in range(N):
        for side in (1, -1):
            order["instrument"], order["side"] = index, side
            find_exposed(views, index, exposed)
            note_tail(known, tail, exposed, views, positions, table, order[0], held[0])
            mine = views[index]
            expected = could_lose(twin.window, rows, index, side, 700, told)
            assert [int(mine["value_at_risk_e8"]), int(mine["shortfall_e8"])] == expected
            for equity in (10**12, min(expected[0] * 16, 2**62), min(expected[1] * 12 + 1, 2**62)):
                mine["equity_e8"] = equity
                assert check_tail(mine, held[0]) == tail_check(expected, equity, told)


@pytest.mark.parametrize("count", [ENOUGH, 333, WINDOW])
@pytest.mark.parametrize("confidence", [9_000, 9_750, 9_900, 9_990])
def test_equal_to_numpy_and_scipy(count, confidence):
    rng = np.random.default_rng(count)
    window = np.full((3, WINDOW), np.nan)
    window[:, :count] = rng.standard_t(3, (3, count)) * 1e-4
    held, losses, worst = np.array([3e11, -1e11, 0.0]), np.zeros(WINDOW), np.zeros(WINDOW)
    window[2] = np.nan  # nothing is held of it
    assert hold_against(window, WINDOW, np.array([3, 0, 1, 2]), held, losses) == count
    expected = -(held[:2] @ window[:2, :count])
    assert np.allclose(losses[:count], expected, rtol=1e-9, atol=0)
    alpha = confidence / 10_000
    deviation, z = math.sqrt(np.mean(expected**2)), stats.norm.ppf(alpha)
    tail = stats.norm.expect(lambda x: x, lb=z, conditional=True)
    normal = deviation * z, deviation * tail
    assert parametric_tail(losses, count, confidence) == pytest.approx(normal, rel=1e-9)
    value, shortfall = historical_tail(losses, count, confidence, worst)
    rank = count - count * (10_000 - confidence) // 10_000
    at = (rank - 0.5) / count  # the middle of the step, so that no rounding decides
    assert value == pytest.approx(np.quantile(expected, at, method="inverted_cdf"), rel=1e-9)
    tail = count * (1 - alpha)
    above = np.sort(expected)[rank:]
    wanted = value + np.sum(above - value) / tail  # Rockafellar and Uryasev: VaR and the mean excess over it
    assert shortfall == pytest.approx(wanted, rel=1e-9)


def test_the_quantile_is_that_of_the_normal_distribution():
    for p in [*np.linspace(1e-4, 1 - 1e-4, 1_001), 1e-9, 1 - 1e-9, 0.075, 0.925]:
        assert normal_quantile(float(p)) == pytest.approx(stats.norm.ppf(p), rel=1e-12, abs=1e-12)
        assert normal_quantile(float(p)) == NormalDist().inv_cdf(float(p))


@pytest.mark.data
def test_published_figures_of_the_normal_distribution(data_dir):
    printed = json.loads((data_dir / "references" / "published_numbers.json").read_text())["normal"]
    losses = np.array([1.0, -1.0])
    value, shortfall = parametric_tail(losses, 2, 9_900)
    assert abs(value - printed["var_99"]) < 5e-7 and abs(shortfall - printed["es_99"]) < 5e-7
    assert abs(parametric_tail(losses, 2, 9_750)[1] - printed["es_97_5"]) < 5e-7


def test_the_twin_by_hand():
    """Ten losses at 75 %: two and a half are the worst."""
    losses = [float(loss) for loss in (3, 9, 1, 10, 8, 2, 0, 4, 6, 5)]
    assert historical(losses, 7_500) == (8.0, (10 + 9 + 0.5 * 8) / 2.5)
    assert parametric([2.0, -2.0], 8_413, lambda _: -1.0)[0] == 2.0
    assert losses_of([[0.1, None], [0.2, 0.1], [None, 0.3]], [10.0, -10.0]) == [-1.0]
    assert losses_of([[0.1, None], [None, 0.3]], [10.0, 0.0]) == [-1.0]
