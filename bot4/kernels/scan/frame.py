"""Frames of a websocket (RFC 6455), as a server sends them: where the next payload lies, without copying it.

Read here and not by a library, because the scanners read payloads where they lie in the socket's buffer.
"""

import numpy as np

from bot4.jit import kernel

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FRAME_WHOLE, FRAME_PART, FRAME_DAMAGED = 1, 0, -1
_FINAL, _RESERVED, _OPCODE = 0x80, 0x70, 0x0F
_MASKED, _LENGTH = 0x80, 0x7F
_CONTROL_BYTES = 125  # the most that a control frame may hold


@kernel
def next_frame(text, at, end, limit):
    """The frame that begins at text[at].

    Parameters
    ----------
    text : uint8[N]
    at, end : int64, what has been received is text[at:end)
    limit : int64, largest payload that is believed

    Returns
    -------
    (int64, int64, bool, int64, int64) : FRAME_WHOLE, FRAME_PART (more bytes are needed) or FRAME_DAMAGED (masked,
    reserved bits or opcodes, a control frame in parts or too long, a length above the limit or not in its shortest
    form); opcode; whether it ends its message; first byte of the payload and the byte after its last

    Notes
    -----
    Complexity: O(1). Twin: tests/unit/kernels/scan/test_frame.py
    """
    nothing = (np.int64(FRAME_PART), np.int64(0), False, np.int64(0), np.int64(0))
    damaged = (np.int64(FRAME_DAMAGED), np.int64(0), False, np.int64(0), np.int64(0))
    if at >= end:
        return nothing
    head = np.int64(text[at])
    opcode = head & _OPCODE
    final = head & _FINAL != 0
    control = opcode >= CLOSE
    if head & _RESERVED or opcode > PONG or BINARY < opcode < CLOSE or (control and not final):
        return damaged
    if at + 1 >= end:
        return nothing
    length = np.int64(text[at + 1])
    if length & _MASKED or (control and length > _CONTROL_BYTES):
        return damaged
    first = at + 2
    wide = 2 if length == 126 else 8 if length == 127 else 0
    if wide:
        if first + wide > end:
            return nothing
        if wide == 8 and text[first] & 0x80:
            return damaged
        length = np.int64(0)
        for index in range(wide):
            length = length << 8 | np.int64(text[first + index])
        if length < (126 if wide == 2 else 65_536):
            return damaged
        first += wide
    if length > limit:
        return damaged
    if first + length > end:
        return nothing
    return np.int64(FRAME_WHOLE), opcode, final, np.int64(first), first + length
