"""Orders spread over venues: equal to the twin, never dearer than any other split, never more than there is."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.kernels import route as twin

from bot4.kernels.route import route_one, route_smart

LEVELS = 4


@st.composite
def markets(draw):
    """Side, lots, limit and one to four venues with up to LEVELS levels, each worse than the one before."""
    side = draw(st.sampled_from([1, -1]))
    venues = []
    for _ in range(draw(st.integers(1, 4))):
        steps = draw(st.lists(st.integers(1, 9), min_size=LEVELS, max_size=LEVELS))
        best = 1_000 + side * draw(st.integers(0, 20))
        prices = [int(price) for price in best + side * np.cumsum([0, *steps[1:]])]
        shown = draw(st.lists(st.integers(1, 12), min_size=LEVELS, max_size=LEVELS))
        for level in range(draw(st.integers(0, LEVELS)), LEVELS):
            prices[level] = shown[level] = 0
        fee = draw(st.integers(-2_000, 8_000))
        trust = draw(st.sampled_from([0, 250_000, 999_999, 1_000_000]))
        venues.append((prices, shown, fee, trust, draw(st.sampled_from([0, 1, 3, 9]))))
    return side, draw(st.integers(1, 60)), 1_000 + side * draw(st.integers(-2, 40)), venues


def arrays(venues):
    """As the kernels take them."""
    columns = [np.array(column, np.int64) for column in zip(*venues, strict=True)]
    return [*columns, np.zeros(len(venues), np.int64)]


@settings(deadline=None, max_examples=300)
@given(markets())
def test_the_smart_route_equals_the_twin_and_no_split_is_cheaper(market):
    side, lots, limit, venues = market
    *columns, out = arrays(venues)
    routed = route_smart(side, lots, limit, *columns, np.zeros(len(venues), np.int64), out)
    assert out.tolist() == twin.smart(side, lots, limit, venues)
    assert routed == out.sum() <= lots
    assert all(part == 0 or part >= row[4] for part, row in zip(out.tolist(), venues, strict=True))
    free = [(*row[:4], 0) for row in venues]
    *columns, out = arrays(free)
    route_smart(side, lots, limit, *columns, np.zeros(len(venues), np.int64), out)
    least, most = twin.cost(side, lots, limit, free)
    assert out.sum() == most
    assert twin.cost_of(side, out.tolist(), limit, free) == least


@settings(deadline=None, max_examples=300)
@given(st.booleans(), markets())
def test_one_venue_equals_the_twin(by_fee, market):
    side, lots, limit, venues = market
    *columns, out = arrays(venues)
    routed = route_one(by_fee, side, lots, limit, *columns, out)
    assert out.tolist() == twin.one(by_fee, side, lots, limit, venues)
    assert routed == out.sum()
    assert np.count_nonzero(out) <= 1


def test_the_best_price_is_not_the_cheapest_where_fees_differ():
    """100.10 with 0.02 % is less than 100.00 with 0.2 %."""
    prices, shown = np.array([[10_000], [10_010]]), np.array([[5], [5]])
    fees, trust, least, out = (
        np.array([2_000, 200]),
        np.full(2, 1_000_000),
        np.zeros(2, np.int64),
        np.zeros(2, np.int64),
    )
    assert route_smart(1, 7, 10_100, prices, shown, fees, trust, least, np.zeros(2, np.int64), out) == 7
    assert out.tolist() == [2, 5]
    assert route_one(False, 1, 5, 10_100, prices, shown, fees, trust, least, out) == 5
    assert out.tolist() == [0, 5]


def test_the_largest_numbers_do_not_wrap():
    price, many = 2**40 - 1, 2**40 - 1
    prices, shown = np.array([[price], [price]]), np.array([[many], [many]])
    fees, trust, least, out = np.array([100_000, 0]), np.full(2, 999_999), np.zeros(2, np.int64), np.zeros(2, np.int64)
    assert route_smart(1, many, price, prices, shown, fees, trust, least, np.zeros(2, np.int64), out) == many
    assert out[1] == many * 999_999 // 1_000_000
