"""The scanner against json and Decimal: decimals by hypothesis, and real lines mutated in thousands of ways."""

import gzip
import random
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.kernels.scan import is_narrow, ref_decimal, ref_message
from rig.scan import SPOT, USDM, assert_same

from bot4.jit import JIT
from bot4.kernels.scan.decimal import CUT, MAX_QUANTITY, MAX_TICKS, quoted_decimal, scan_decimal
from bot4.model.enums import INPUT_OFF_TICK, INPUT_REASONS

MUTATIONS = 25_000 if JIT else 250
SYMBOLS = b'0123456789.,:{}[]"-+eE \t\\abUuptTsm@NI\x00\x7f\xff'


def fast_decimal(text, decimals, units, off, limit):
    line = np.frombuffer(b'"' + text.encode() + b'"\n', np.uint8).copy()
    arguments = line, np.int64(1), np.int64(decimals), np.int64(units), off, np.int64(limit)
    after, value = scan_decimal(*arguments)
    assert after == len(line) - 1
    assert quoted_decimal(*arguments) == (after, value)  # the short way, where there is one
    return (int(value), "") if value >= 0 else (0, INPUT_REASONS[-value])


@settings(max_examples=500 if JIT else 60, deadline=None)
@given(
    text=st.one_of(
        st.decimals(allow_nan=True, allow_infinity=True).map(str),
        st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", fullmatch=True),
        st.from_regex(r"[0-9]{1,8}\.[0-9]{1,8}", fullmatch=True),
        st.text(st.sampled_from("0123456789.-+e"), max_size=24),
    ),
    decimals=st.integers(0, 8),
    units=st.sampled_from((1, 2, 5, 25)),
    exact=st.booleans(),
    limit=st.sampled_from((MAX_TICKS, MAX_QUANTITY)),
)
def test_decimals_equal_the_twin(text, decimals, units, exact, limit):
    unit = Decimal(units).scaleb(-decimals)
    off = INPUT_OFF_TICK if exact else CUT
    expected = ref_decimal(text, unit, decimals, "off_tick" if exact else "", limit)
    assert fast_decimal(text, decimals, units, off, limit) == expected


def mutated(line: bytes, source: random.Random, others: list[bytes]) -> bytes:
    """One line with one to three random changes."""
    data = bytearray(line)
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(data) + 1)
        size = source.choice((1, 1, 1, 2, 8, 40))
        way = source.randrange(6)
        if way == 0:
            data[at : at + size] = b""
        elif way == 1:
            data[at:at] = bytes(source.choice(SYMBOLS) for _ in range(size))
        elif way == 2:
            data[at : at + 1] = bytes([source.choice(SYMBOLS)])
        elif way == 3:
            data[at:at] = data[at : at + size]
        elif way == 4:
            other = source.choice(others)
            start = source.randrange(len(other))
            data[at : at + size] = other[start : start + size]
        else:
            del data[at:]
    return bytes(data).replace(b"\n", b" ")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "listing"), [("usdm/btcusdt_20230405.dat.gz", USDM), ("spot/btcusdt_20240808.gz", SPOT)]
)
def test_mutated_lines_are_decided_as_the_twin_does(data_dir, name, listing):
    with gzip.open(data_dir / "hftbacktest" / name) as file:
        lines = [line.split(b" ", 1)[1].strip() for _, line in zip(range(3_000), file, strict=False)]
    lines = [line for line in lines if len(line) < 3_000]
    lines += [line.partition(b'"data":')[2][:-1] for line in lines[1::4] if b'"data":' in line]  # of a stream alone
    source = random.Random(4)
    for line in lines[: MUTATIONS // 10]:
        assert_same(line, listing, ref_message(line, listing), is_narrow(line))
    for _ in range(MUTATIONS):
        text = mutated(source.choice(lines), source, lines)
        assert_same(text, listing, ref_message(text, listing), is_narrow(text))
