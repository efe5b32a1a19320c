"""Decimals of the protocol, against the standard library's."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot4.adapters.exchange.number import MAX_E8, mul_e8, parse_e8, parse_whole, text_e8
from bot4.adapters.exchange.refusal import Refused


@given(st.integers(min_value=0, max_value=MAX_E8 - 1))
def test_what_is_written_is_read(value):
    text = text_e8(value)
    assert Decimal(text) * 10**8 == value
    assert len(text.partition(".")[2]) == 8
    assert parse_e8(text, "price") == value


@given(st.decimals(min_value=0, max_value=10**9, places=8))
def test_any_form_of_a_decimal(value):
    text = format(value.normalize(), "f")
    assert parse_e8(text, "price") == int(value * 10**8)
    assert parse_e8(text + ("" if "." in text else ".0") + "00", "price") == int(value * 10**8)


@pytest.mark.parametrize(
    ("text", "code"),
    [("-1", -1100), ("1e5", -1100), ("", -1100), (".5", -1100), ("1.", -1100), ("NaN", -1100), ("1,5", -1100),
     ("١", -1100), (" 1", -1100), ("1" * 21, -1100), ("0.000000001", -1111), ("46116860184.27387904", -1108)],
)  # fmt: skip
def test_what_is_no_amount(text, code):
    with pytest.raises(Refused) as refused:
        parse_e8(text, "quantity")
    assert refused.value.code == code
    assert "quantity" in refused.value.text


@pytest.mark.parametrize(("text", "code"), [("-1", -1100), ("1.0", -1100), ("²", -1100), ("9" * 20, -1108)])
def test_what_is_no_whole_number(text, code):
    with pytest.raises(Refused) as refused:
        parse_whole(text, "orderId")
    assert refused.value.code == code


@given(st.integers(min_value=0, max_value=10**16), st.integers(min_value=0, max_value=10**16))
def test_products_are_rounded_down(left, right):
    exact = Decimal(left).scaleb(-8) * Decimal(right).scaleb(-8)
    assert 0 <= exact - Decimal(mul_e8(left, right)).scaleb(-8) < Decimal("1e-8")


def test_below_zero():
    assert text_e8(-123_456_789) == "-1.23456789"
    assert text_e8(-1) == "-0.00000001"
