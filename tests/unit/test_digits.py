"""Runs of digits against a plain loop, whatever stands around them and however near the array's end."""

import random

import numpy as np

from bot4.digits import run_of_digits
from bot4.jit import kernel


@kernel
def _run(text, at):
    return run_of_digits(text, at)


def twin(data: bytes, at: int) -> tuple[int, int]:
    """Count and value."""
    count = 0
    while count < 8 and at + count < len(data) and chr(data[at + count]) in "0123456789":
        count += 1
    return count, int(data[at : at + count] or b"0")


def test_runs_of_digits():
    source = random.Random(1)
    seen = set()
    for _ in range(4_000):
        alphabet = source.choice([b"0123456789", b"0123456789./:", bytes(range(256)), b"09\x2f\x3a\xff\x80\xb0"])
        data = bytes(source.choice(alphabet) for _ in range(source.randint(1, 20)))
        text = np.frombuffer(data, np.uint8)
        for at in range(len(data)):
            found = _run(text, np.int64(at))
            assert found == twin(data, at), (data, at)
            seen.add(found[0])
    assert seen == set(range(9))


def test_each_byte_ends_a_run_at_each_place():
    for byte in set(range(256)) - set(b"0123456789"):
        for place in range(8):
            for behind in (b"0", b"9", b"\x00", b"\xff"):
                data = b"98765432"[:place] + bytes([byte]) + behind * 12
                assert _run(np.frombuffer(data, np.uint8), np.int64(0)) == twin(data, 0)
