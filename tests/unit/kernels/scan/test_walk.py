"""The walk over JSON against the standard library's."""

import json
import random
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4.jit import JIT
from bot4.kernels.scan.walk import MAX_NESTING, skip_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
BYTES = b'{}[],:"0159-.eE+ truefalsn\\'


def skipped(text: bytes) -> int:
    found = [int(skip_json(np.frombuffer(text + b"\n" + more, np.uint8), np.int64(0))) for more in (b"", b'"}]}]5,')]
    assert found[0] == found[1], text
    return found[0]


def is_json(text: bytes) -> bool:
    with suppress(ValueError):
        json.loads(text, parse_constant=int)
        return True
    return False


@settings(max_examples=300 if JIT else 50, deadline=None)
@given(VALUES, st.sampled_from([(",", ":"), (" , ", "\t:  ")]), st.integers(0, 2**32))
def test_what_is_json_is_passed_over_and_nothing_else(value, separators, seed):
    text = json.dumps(value, separators=separators).encode()
    assert skipped(text) == len(text)
    source = random.Random(seed)
    for _ in range(20):
        data = bytearray(text)
        at = source.randrange(len(data) + 1)
        data[at : at + source.randint(0, 2)] = bytes(source.choice(BYTES) for _ in range(source.randint(0, 2)))
        after = skipped(bytes(data))
        if after >= 0:
            assert is_json(bytes(data[:after])), bytes(data)
        elif b"\\" not in data:
            assert not is_json(bytes(data)) or not data.strip() or data[:1].isspace(), bytes(data)


@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_has_a_bound(pair):
    opening, closing = pair
    assert skipped(opening * MAX_NESTING + b"1" + closing * MAX_NESTING) > 0
    assert skipped(opening * (MAX_NESTING + 1) + b"1" + closing * (MAX_NESTING + 1)) == -1


@pytest.mark.parametrize(
    "text",
    ['"ä"', '"a\\n"', '"a', "nul", "01", "1.", "-", "+1", "1e", "{1:2}", '{"a" 1}', "[1 2]", "[1,]", '{"a":1,}',
     '{"a":1{"b":2}}', "[1}", '{"a":1]', "", "[", "{"],
)  # fmt: skip
def test_what_is_left_to_the_typed_decoders(text):
    assert skipped(text.encode()) == -1
