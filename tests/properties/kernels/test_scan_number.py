"""Numbers without quotes and ids of trades, against json, Decimal and int."""

import json
from decimal import Decimal

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference.kernels.scan import ref_decimal

from bot4.jit import JIT
from bot4.kernels.scan.decimal import CUT, MAX_QUANTITY, MAX_TICKS
from bot4.kernels.scan.number import scan_count, scan_number, trade_number
from bot4.model.enums import INPUT_OFF_TICK, INPUT_REASONS

EXAMPLES = 500 if JIT else 60


def number(text, decimals, units, off, limit):
    """(bytes read, value or reason)."""
    for behind in (b"", b"123.456", b"e5"):
        line = np.frombuffer(text.encode() + b"\n" + behind, np.uint8)
        after, value = scan_number(line, np.int64(0), np.int64(decimals), np.int64(units), off, np.int64(limit))
    return int(after), (int(value), "") if value >= 0 else (0, INPUT_REASONS[-value])


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.from_regex(r"\A-?[0-9]{1,20}(\.[0-9]{1,42})?([eE][+-]?[0-9])?\Z"),
    st.integers(0, 8), st.sampled_from((1, 2, 5, 25)), st.booleans(), st.sampled_from((MAX_TICKS, MAX_QUANTITY)),
)  # fmt: skip
@example("-0.0", 2, 1, True, MAX_TICKS)
@example("0.1" + "0" * 40, 2, 1, True, MAX_TICKS)
@example("9999999999.99999999", 8, 1, True, MAX_QUANTITY)
@example("10000000000.00000000", 8, 1, True, MAX_QUANTITY)
def test_numbers_equal_the_twin_or_are_left_to_the_typed_decoder(text, decimals, units, exact, limit):
    after, found = number(text, decimals, units, INPUT_OFF_TICK if exact else CUT, limit)
    try:
        value = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        assert after != len(text)
        return
    if after < 0:
        assert "e" in text.lower() or value.is_signed() or len(text) > 42
        return
    assert after == len(text)
    assert found == ref_decimal(text, Decimal(units).scaleb(-decimals), decimals, "off_tick" if exact else "", limit)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.from_regex(r"\A-?[0-9]{1,20}(\.[0-9])?\Z"), st.integers(0, 10**18))
def test_counts_are_whole_and_within_their_limit(text, limit):
    after, value = scan_count(np.frombuffer(text.encode() + b"\n", np.uint8), np.int64(0), np.int64(limit))
    good = text == str(abs(int(float(text)))) if len(text) < 15 else text.isdigit() and text == str(int(text))
    if good and int(text) <= limit and len(text) <= 18:
        assert (after, value) == (len(text), int(text))
    else:
        assert after == -1


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.from_regex(r"\A([0-9]{1,20}|[0-9a-f-]{1,36})\Z"))
@example(str(2**63 - 1))
@example("9223372036854775799")
@example("9223372036854775800")
def test_an_id_is_its_number_or_a_hash(text):
    found, hashed = trade_number(np.frombuffer(text.encode(), np.uint8), np.int64(0), np.int64(len(text)))
    if hashed:
        assert not text.isdigit() or text != str(int(text)) or int(text) > 9_223_372_036_854_775_799
        assert 0 <= found < 2**62
    else:
        assert text == str(found)


def test_hashes_of_many_ids_do_not_meet():
    source = np.random.default_rng(5)
    ids = {source.bytes(16).hex() for _ in range(100_000 if JIT else 2_000)}
    hashes = {int(trade_number(np.frombuffer(name.encode(), np.uint8), np.int64(0), np.int64(32))[0]) for name in ids}
    assert len(hashes) == len(ids)
