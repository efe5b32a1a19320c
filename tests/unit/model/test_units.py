"""Conversions are exact or refused; the fee equals its twin."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.model.units import ref_fee_e8, ref_share

from bot4.model.errors import UnitError
from bot4.model.units import decimal_string, fee_e8, from_e8, share_of, to_e8, to_units


@settings(deadline=None, max_examples=500)
@given(st.integers(0, 2**61), st.integers(-1_000, 10_000))
def test_the_fee_equals_its_twin_also_where_the_product_would_wrap(value, rate):
    expected = ref_fee_e8(value, rate)
    if abs(expected) < 2**62:
        assert fee_e8(value, rate) == expected


@settings(deadline=None, max_examples=500)
@given(st.integers(1, 2**46 - 1), st.integers(0, 2**45 - 1), st.data())
def test_a_share_equals_its_twin_where_the_product_wraps(whole, count, data):
    part = data.draw(st.integers(0, whole - 1))
    assert share_of(np.int64(part), np.int64(count), np.int64(whole)) == ref_share(part, count, whole)


@pytest.mark.parametrize("away", [0, 1, 2])
def test_a_share_at_its_bounds(away):
    whole, count = 2**46 - 1, 2**45 - 1 - away
    for part in (0, 1, whole - 1 - away):
        assert share_of(np.int64(part), np.int64(count), np.int64(whole)) == ref_share(part, count, whole)


@given(st.integers(-(2**61), 2**61))
def test_money_survives_the_way_there_and_back(amount):
    assert to_e8(from_e8(amount), "amount") == amount


@pytest.mark.parametrize("bad", ["", "abc", "NaN", "Infinity", "0.000000001", "1e30", None, [], "0,1"])
def test_what_is_not_exact_is_refused_by_name(bad):
    with pytest.raises(UnitError, match="price"):
        to_e8(bad, "price")


def test_units_and_text():
    assert to_units("0.30", Decimal("0.1"), "price") == 3
    with pytest.raises(UnitError, match="multiple"):
        to_units("0.35", Decimal("0.1"), "price")
    assert decimal_string(Decimal("1.500")) == "1.5" and decimal_string(Decimal("-0")) == "0"
