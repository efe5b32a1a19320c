"""Texts that are values, and every kind of text that is none."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot4.ports.feed import MessageError
from bot4.ports.feed_values import levels, moment, not_negative, positive, signed

NO_NUMBERS = (
    "", " ", "1 ", " 1", "1e5", "1E5", "NaN", "Infinity", "-Infinity", "1_0", "+1", "--1", ".5", "5.", "1.2.3", "0x1",
    "1,5", "\u0661", "1" * 50 + "x",
)  # fmt: skip


@pytest.mark.parametrize("read", [not_negative, positive, signed])
@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_plain_decimal_is_refused(read, text):
    with pytest.raises(MessageError, match="price: ") as refusal:
        read(text, "price")
    assert refusal.value.reason == "bad_number" and len(str(refusal.value)) < 120


def test_signs_and_zeros():
    assert (not_negative("0", "x"), signed("-0.5", "x"), signed("7", "x")) == (0, Decimal("-0.5"), 7)
    for read, text, reason in (
        (not_negative, "-1", "negative"),
        (positive, "-0.0", "negative"),
        (positive, "0.00", "zero"),
    ):
        with pytest.raises(MessageError) as refusal:
            read(text, "x")
        assert refusal.value.reason == reason


@given(st.decimals(min_value=0, allow_nan=False, allow_infinity=False, places=12))
def test_digits_are_kept(value):
    text = format(value, "f")
    assert str(not_negative(text, "x")) == str(Decimal(text))
    assert levels([("1.50", text)], "b") == [(Decimal("1.50"), Decimal(text))]


@pytest.mark.parametrize(
    ("rows", "reason", "where"),
    [
        ([("1", "1"), ("0", "1")], "zero", "b[1][0]"),
        ([("1", "1"), ("2", "-1")], "negative", "b[1][1]"),
        ([("1", "1,2")], "bad_number", "b[0][1]"),
        ([("1,1", "1"), ("", "3")], "bad_number", "b[0][0]"),
        ([("1", "")], "bad_number", "b[0][1]"),
        ([("NaN", "1")], "bad_number", "b[0][0]"),
    ],
)
def test_the_level_at_fault_is_named(rows, reason, where):
    with pytest.raises(MessageError) as refusal:
        levels(rows, "b")
    assert refusal.value.reason == reason and where in str(refusal.value)


def test_levels_may_be_empty_and_removed():
    assert levels([], "b") == [] and levels([("2", "0")], "b") == [(2, 0)]


def test_moments_are_exact():
    assert moment("1970-01-01T00:00:00Z", "t") == 0
    assert moment("2024-02-29T23:59:59.123456789Z", "t") == 1_709_251_199_123_456_789
    assert moment("2016-12-31T23:59:60Z", "t") == moment("2017-01-01T00:00:00Z", "t")  # a leap second


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2262, 4, 1)))
def test_moments_are_those_of_the_calendar(when):
    whole = int(when.replace(microsecond=0, tzinfo=UTC).timestamp())
    assert moment(f"{when.isoformat(timespec='microseconds')}Z", "t") == whole * 10**9 + when.microsecond * 1_000


@pytest.mark.parametrize(
    "text",
    ["", "2024-02-30T00:00:00Z", "2024-13-01T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01T00:00:00",
     "1969-12-31T23:59:59Z", "2024-01-01 00:00:00Z",
     "2024-01-01T00:00:00.Z", "2263-01-01T00:00:00Z", "2024-01-01T00:00:00.1234567890Z"],
)  # fmt: skip
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(MessageError) as refusal:
        moment(text, "t")
    assert refusal.value.reason == "bad_field"
