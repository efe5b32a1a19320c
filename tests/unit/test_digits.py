"""Words and runs of digits and letters against a plain loop, whatever stands around them, near the array's end too."""

import random

import numpy as np

from bot4.digits import run_before, run_of_digits, run_of_plain, upper_word, word_at
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


@kernel
def _word(text, at):
    return word_at(text, at)


@kernel
def _upper(text, at, count):
    return upper_word(text, at, count)


@kernel
def _plain(text, at):
    return run_of_plain(text, at)


@kernel
def _before(text, at, byte):
    return run_before(text, at, byte)


def test_words_are_the_bytes():
    source = random.Random(2)
    for _ in range(4_000):
        alphabet = source.choice([bytes(range(256)), b"azAZ`{@[\x19\xe1\xfa019", b'"\\ ~\x1f\x7f!#[]\x80\xa2\xdcab'])
        data = bytes(source.choice(alphabet) for _ in range(source.randint(1, 20)))
        text = np.frombuffer(data, np.uint8)
        for at in range(len(data)):
            part = data[at : at + 8]
            assert _word(text, np.int64(at)) == int.from_bytes(part.ljust(8, b"\0"), "little", signed=True), (data, at)
            ends = [index for index, byte in enumerate(part) if not 32 <= byte <= 126 or byte in b'"\\']
            assert _plain(text, np.int64(at)) == min([*ends, len(part)]), (data, at)
            byte = source.choice(alphabet)
            before = (part.ljust(8, b"\0") + bytes([byte])).index(byte)
            assert _before(text, np.int64(at), np.int64(byte)) == before, (data, at, byte)
            count = source.randint(1, len(part))
            upper = bytes(byte - 32 if byte in b"abcdefghijklmnopqrstuvwxyz" else byte for byte in part[:count])
            assert _upper(text, np.int64(at), np.int64(count)) == int.from_bytes(
                upper.ljust(8, b"\0"), "little", signed=True
            ), (data, at, count)
