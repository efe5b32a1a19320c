"""Positions against their twin, and the law that no money appears or vanishes."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.engine.portfolio import RefPosition

from bot4.engine.portfolio import PORTFOLIO, apply_fill, removed_cost, unrealised_e8

FILL = st.tuples(st.sampled_from((-1, 1)), st.integers(1, 10_000_000), st.integers(1, 1_000_000))


@settings(deadline=None, max_examples=300)
@given(st.lists(FILL, max_size=60))
def test_fills_equal_the_twin_and_conserve_money(fills):
    position, twin = np.zeros(1, PORTFOLIO), RefPosition()
    for side, price, qty in fills:
        assert apply_fill(position[0], side, price, qty) == twin.fill(side, price, qty)
        assert (position[0]["lots"], position[0]["cost_tl"], position[0]["realised_tl"]) == (
            twin.lots,
            twin.cost,
            twin.realised,
        )
        assert position[0]["realised_tl"] - position[0]["cost_tl"] == twin.cash
        assert (position[0]["lots"] == 0) == (position[0]["cost_tl"] == 0)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**61), st.integers(1, 2**31 - 1), st.data())
def test_removed_cost_is_exact_where_the_product_would_wrap(cost, lots, data):
    qty = data.draw(st.integers(0, lots))
    assert removed_cost(np.int64(cost), np.int64(lots), np.int64(qty)) == cost * qty // lots


def test_removed_cost_is_exact_for_holdings_of_very_many_lots():
    source = random.Random(5)
    for _ in range(1_000):
        lots = source.randrange(1, 2 ** source.randint(31, 45))
        cost, qty = source.randrange(2**61), source.randint(0, lots)
        assert removed_cost(np.int64(cost), np.int64(lots), np.int64(qty)) == cost * qty // lots


def test_open_profit_is_valued_at_the_mid_and_rounded_down():
    position = np.zeros(1, PORTFOLIO)
    assert unrealised_e8(position[0], 10) == 0
    apply_fill(position[0], 1, 100, 3)
    assert unrealised_e8(position[0], 10) == 0  # no quote yet
    position["bid_ticks"], position["ask_ticks"] = 101, 102
    assert unrealised_e8(position[0], 1) == (3 * 203 - 600) // 2 == 4
    apply_fill(position[0], -1, 100, 6)
    assert position[0]["lots"] == -3
    assert unrealised_e8(position[0], 1) == (-3 * 203 + 600) // 2 == -5
