"""Times in text against the typed decoders' own reading."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4.jit import JIT
from bot4.kernels.scan.moment import scan_moment
from bot4.ports.feed import MessageError
from bot4.ports.feed_values import moment


def read(text: str) -> int:
    line = np.frombuffer(b'"' + text.encode() + b'"\n', np.uint8)
    return int(scan_moment(line, np.int64(1), np.int64(1 + len(text.encode()))))


def twin(text: str) -> int:
    if text < "1970":
        return -1  # nothing here is that old: the last leap second before it is left out
    try:
        return moment(text, "time")
    except MessageError:
        return -1


@settings(max_examples=1_000 if JIT else 100, deadline=None)
@given(
    st.integers(1965, 2270), st.integers(0, 13), st.integers(0, 32), st.integers(0, 25), st.integers(0, 61),
    st.integers(0, 62), st.from_regex(r"\A(\.[0-9]{0,10})?\Z"), st.integers(0, 31), st.sampled_from("0T:-.Zz a"),
)  # fmt: skip
def test_times_equal_the_twin(year, month, day, hour, minute, second, fraction, place, byte):
    text = f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}{fraction}Z"
    assert read(text) == twin(text)
    damaged = text[:place] + byte + text[place + 1 :]
    assert read(damaged) == twin(damaged), damaged


def test_every_day_of_four_centuries_ends_where_the_next_begins():
    for year in (1970, 1999, 2000, 2024, 2026, 2100, 2261):
        for month in range(1, 13):
            for day in (1, 28, 29, 30, 31):
                text = f"{year}-{month:02d}-{day:02d}T23:59:60Z"
                assert read(text) == twin(text), text


@pytest.mark.parametrize(
    "text", ["2262-04-11T23:47:16.854775807Z", "2262-04-11T23:47:16.854775808Z", "2262-04-11T23:47:17Z",
             "1970-01-01T00:00:00Z", "1969-12-31T23:59:60Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
             "2026-08-09T21:05:48.228568804Z", "2026-08-09T21:05:48.2285688049Z", "2026-08-09T21:05:48.Z", ""],
)  # fmt: skip
def test_the_ends(text):
    assert read(text) == twin(text)
