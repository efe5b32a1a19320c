"""Correlation against its twin on arbitrary moves, and against NumPy's weighted covariance."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.kernels.risk.correlation import RefMoves

from bot4.kernels.risk.correlation import ENOUGH, correlation, correlation_bps, moves_memory, note_moves
from bot4.kernels.risk.portfolio import find_exposed
from bot4.kernels.risk.view import RISK_VIEW

DECAY = 0.97
N = 4


def walk(rng, seconds, share, gaps=0.0):
    """Twice the mids of N instruments that move together by some share; NaN where there is none."""
    common = rng.normal(0, 1e-4, (seconds, 1))
    own = rng.normal(0, 1e-4, (seconds, N))
    mids = np.round(12e6 * np.exp(np.cumsum(share * common + (1 - share) * own, axis=0)))
    mids[rng.random((seconds, N)) < gaps] = np.nan
    return mids


def learned(mids, decay=DECAY, steps=False):
    """Kernel and twin after the same seconds."""
    known, twin = moves_memory(N), RefMoves(N, decay)
    for row in mids:
        known.fresh[:] = ~np.isnan(row)
        known.mids[:] = np.nan_to_num(row, nan=7.0)
        seconds = 1 + int(row[0]) % 3 if steps and not math.isnan(row[0]) else 1
        note_moves(known, decay, seconds)
        twin.note([None if math.isnan(mid) else float(mid) for mid in row], seconds)
    return known, twin


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    share=st.floats(0, 1),
    gaps=st.sampled_from([0.0, 0.1, 0.4]),
    side=st.sampled_from([1, -1]),
)
def test_equal_to_the_twin_to_the_last_bit(seed, share, gaps, side):
    rng = np.random.default_rng(seed)
    known, twin = learned(walk(rng, int(rng.integers(2, 300)), share, gaps), steps=True)
    views = np.zeros(N, RISK_VIEW)
    views["position_lots"] = rng.integers(-1, 2, N)
    views["pending_buy_lots"], views["pending_sell_lots"] = rng.integers(0, 2, N), rng.integers(0, 2, N)
    long = (views["position_lots"] > 0) | (views["pending_buy_lots"] > 0)
    short = (views["position_lots"] < 0) | (views["pending_sell_lots"] > 0)
    rows, exposed = list(zip(long, short, strict=True)), np.zeros(1 + N, np.int64)
    for i in range(N):
        find_exposed(views, i, exposed)
        assert correlation_bps(known, views, exposed, i, side) == twin.worst_bps(rows, i, side)
        for j in range(N):
            if i != j:
                expected = twin.correlation(i, j)
                found = float(correlation(known, i, j))
                assert math.isnan(found) if expected is None else found == expected


def test_equal_to_numpy():
    for share in (0.0, 0.5, 0.9):
        mids = walk(np.random.default_rng(5), 2_000, share)
        known, _ = learned(mids)
        moves = mids[1:] / mids[:-1] - 1
        weights = DECAY ** np.arange(len(moves))[::-1]
        second = (moves * weights[:, None]).T @ moves  # moves count from zero
        spread = np.sqrt(np.diag(second))
        expected = second / np.outer(spread, spread)
        for i in range(N):
            for j in range(N):
                if i != j:
                    assert abs(float(correlation(known, i, j)) - expected[i, j]) < 1e-9


def test_unknown_until_a_hundred_seconds_were_shared_and_where_nothing_moved():
    mids = walk(np.random.default_rng(1), ENOUGH + 1, 0.5)
    mids[:, 3] = 12e6
    assert math.isnan(float(correlation(learned(mids[:-1])[0], 0, 1)))
    known, _ = learned(mids)
    assert abs(float(correlation(known, 0, 1))) < 1 and math.isnan(float(correlation(known, 0, 3)))


def test_the_same_and_the_opposite():
    mids = walk(np.random.default_rng(2), 200, 1.0)
    mids[:, 1], mids[:, 2] = mids[:, 0], np.round(12e6**2 / mids[:, 0])
    known, _ = learned(mids)
    assert float(correlation(known, 0, 1)) == 1.0 and float(correlation(known, 0, 2)) < -0.999
