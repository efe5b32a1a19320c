"""Fills, round trips and thinned series."""

import numpy as np
import pytest
from builders.report_sample import SampleSession, instruments
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bot4.adapters.files.report_series import FILL, equity_of, fills_of, round_trips, samples_of, thin
from bot4.model import records as r


def fills(*rows: tuple[int, int, int, int, int]) -> np.ndarray:
    """(instrument, side, price, quantity, fee) as FILL records one second apart."""
    out = np.zeros(len(rows), FILL)
    for k, (i, side, price, quantity, fee) in enumerate(rows):
        out[k] = (k, i, side, 0, price, quantity, fee, k + 1)
    return out


def test_round_trip_is_what_flowed_less_fees() -> None:
    trips = round_trips(fills((0, 1, 100, 4, 10), (0, -1, 103, 1, 3), (0, -1, 102, 3, 9)), instruments())
    assert trips == [(103 + 3 * 102 - 4 * 100) * 10_000 - 22]


def test_turning_ends_one_round_trip_and_starts_the_next() -> None:
    trips = round_trips(fills((0, 1, 100, 2, 0), (0, -1, 90, 6, 60), (0, 1, 95, 4, 0)), instruments())
    assert trips == [-20 * 10_000 - 20, -20 * 10_000 - 40]


def test_instruments_do_not_mix_and_an_open_trip_does_not_count() -> None:
    assert round_trips(fills((0, 1, 100, 2, 0), (1, -1, 100, 2, 0)), instruments()) == []


@pytest.mark.parametrize("seed", range(6))
def test_round_trips_are_the_flow_up_to_the_last_flat_moment(seed: int) -> None:
    session = SampleSession(seed=seed, seconds=500)
    found = fills_of(session.journal())
    expected = 0
    for i, instrument in enumerate(session.instruments):
        own = found[found["instrument"] == i]
        flat = np.flatnonzero(np.cumsum(own["side"] * own["qty_lots"]) == 0)
        own = own[: flat[-1] + 1]
        flow = -(own["side"] * own["price_ticks"] * own["qty_lots"]).sum() * int(instrument["value_e8"])
        expected += int(flow - own["fee_e8"].sum())
    assert sum(round_trips(found, session.instruments)) == expected


def test_fills_come_in_the_order_of_the_journal() -> None:
    journal = SampleSession(seed=2, seconds=300).journal()
    shuffled = np.random.default_rng(0).permutation(journal)
    found = fills_of(shuffled)
    assert found["trade_id"].tolist() == list(range(1, len(found) + 1))


def test_samples_without_a_quote_are_left_out() -> None:
    journal = SampleSession(seconds=30).journal()
    journal["bid_ticks"][:10] = 0
    sample = samples_of(journal, 0, 10_000_000)
    assert len(sample.ts_ns) < 30
    assert (sample.mid > 0).all()
    assert sample.mid[0] == pytest.approx(journal["bid_ticks"][10] / 10 + 0.1)


def test_equity_has_one_value_per_time_and_no_nan() -> None:
    journal = SampleSession(seconds=40).journal()
    journal["high_water_e8"][:4] = 0
    curve = equity_of(journal)
    assert (np.diff(curve.ts_ns) > 0).all()
    assert np.isfinite(curve.drawdown).all()
    assert (curve.drawdown <= 0).all()
    assert len(equity_of(np.zeros(0, r.JOURNAL)).equity) == 0


@given(
    arrays(np.float64, st.integers(0, 3_000), elements=st.floats(-1e9, 1e9)),
    st.integers(4, 200),
)
def test_thinning_keeps_ends_and_extremes(values: np.ndarray, points: int) -> None:
    kept = thin(values, points)
    assert len(kept) <= max(points, 0) or len(values) <= points
    assert (np.diff(kept) > 0).all()
    if len(values):
        assert kept[0] == 0
        assert kept[-1] == len(values) - 1
        assert values[kept].min() == values.min()
        assert values[kept].max() == values.max()


def test_thinning_keeps_every_spike_of_a_long_series() -> None:
    values = np.sin(np.linspace(0, 9, 500_000))
    spikes = [7, 12_345, 250_001, 499_990]
    values[spikes] = [5, -5, 6, -6]
    kept = thin(values)
    assert len(kept) <= 2_000
    assert set(spikes) <= set(kept.tolist())
