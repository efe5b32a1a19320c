"""The walk over frames against the frames of a library: whole, cut at every byte, damaged in every way."""

import numpy as np
import pytest
from websockets.frames import Frame, Opcode

from bot4.kernels.scan.frame import FRAME_DAMAGED, FRAME_PART, FRAME_WHOLE, next_frame

LIMIT = np.int64(1 << 20)
SIZES = (0, 1, 125, 126, 127, 65_535, 65_536, 100_000)


def walk(data: bytes, end: int | None = None) -> tuple[int, int, bool, int, int]:
    """The first frame of the bytes; something else lies behind them."""
    text = np.frombuffer(data + b"\x81\x05hello", np.uint8)
    return next_frame(text, np.int64(0), np.int64(len(data) if end is None else end), LIMIT)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY, Opcode.CONT])
@pytest.mark.parametrize("final", [True, False])
def test_a_whole_frame(size, opcode, final):
    payload = bytes(index & 0x7F for index in range(size))
    data = Frame(opcode, payload, final).serialize(mask=False)
    found, kind, last, first, end = walk(data)
    assert (found, kind, last) == (FRAME_WHOLE, opcode, final)
    assert data[first:end] == payload and end == len(data)
    header = len(data) - size
    for cut in {*range(header + 1), header + size // 2, len(data) - 1} - {len(data)}:
        assert walk(data, cut)[0] == FRAME_PART


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG, Opcode.CLOSE])
def test_a_control_frame(opcode):
    data = Frame(opcode, b"12").serialize(mask=False)
    assert walk(data) == (FRAME_WHOLE, opcode, True, 2, 4)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(Frame(Opcode.TEXT, b"x").serialize(mask=True), id="masked"),
        b"\xc1\x01x",  # a reserved bit: compressed
        b"\xa1\x01x",
        b"\x91\x01x",
        b"\x83\x01x",  # reserved opcodes
        b"\x8b\x01x",
        b"\x8f\x01x",
        b"\x09\x01x",  # a ping in parts
        b"\x89\x7e\x00\x80" + b"x" * 128,  # a long ping
        b"\x81\x7e\x00\x05hello",  # lengths that fit a shorter form
        b"\x81\x7f" + (65_535).to_bytes(8, "big"),
        b"\x81\x7f" + (int(LIMIT) + 1).to_bytes(8, "big"),
        b"\x81\x7f" + (2**63).to_bytes(8, "big"),
        b"\x81\x7f" + (2**64 - 1).to_bytes(8, "big"),
    ],
)
def test_a_damaged_frame(data):
    assert walk(data)[0] == FRAME_DAMAGED


def test_the_largest_payload_is_taken():
    data = Frame(Opcode.TEXT, b"x" * int(LIMIT)).serialize(mask=False)
    assert walk(data)[0] == FRAME_WHOLE
