"""Messages of any length through a ring of 64-byte slots: whole or not at all, in pieces of 48 bytes.

Why not a ring of bytes of its own: this one has the other rings' rules, recovery and counters, and a copy of a third
more bytes costs nothing where a disk comes next. Where it stands: from the feed to the recorder, for raw messages.

    first slot of a message   length + 1 | receive time ns | source | 0 0 0 0 | sequence
    each of the others        0 | 48 bytes, little endian                     | sequence

A feed that dies within a message leaves some of its pieces; the next message's first slot tells the reader, who passes
over them and counts one that was torn.

Twin: tests/reference/shm/byte_ring.py
Sides: only the producer calls `has_room`, `push_message`; only the consumer calls `take_messages`.
"""

import numpy as np

from bot4.atomics import load_acquire, store_release
from bot4.jit import inlined, kernel
from bot4.model.records import TICK_WORDS
from bot4.shm.layout import RING_CAPACITY_WORD, RING_HEAD, RING_SLOTS, RING_TAIL
from bot4.shm.spsc_ring import has_space

PIECE_BYTES = 48
SEQUENCE = TICK_WORDS - 1

# columns of the table of taken messages
TAKEN_NS = 0
TAKEN_SOURCE = 1
TAKEN_AT = 2  # first byte in the text
TAKEN_END = 3
N_TAKEN = 4

# words of what is taken
TAKE_MESSAGES = 0  # in the table
TAKE_BYTES = 1  # in the text
TAKE_TORN = 2  # messages whose end never came
N_TAKE = 3


@inlined
def slots_of(size):
    """Slots that a message of so many bytes takes."""
    return 1 + (size + PIECE_BYTES - 1) // PIECE_BYTES


@inlined
def has_room(ring, size):
    """True if a message of `size` bytes fits now."""
    return has_space(ring, slots_of(size))


@inlined
def _publish(ring, slot):
    head = ring[RING_HEAD]
    # SYNC POINT: pairs with load_acquire in _is_there: who sees the sequence sees the piece.
    store_release(ring, slot + SEQUENCE, head + 1)
    ring[RING_HEAD] = head + 1


@kernel
def push_message(ring, ts_ns, source, text, at, end):
    """Publish text[at:end]; the caller has asked `has_room`.

    Parameters
    ----------
    ring : int64[ring_words(capacity, TICK_WORDS)]
    ts_ns : int64, when it was received; 0: the text says so itself
    source : int64 >= 0
    text : uint8[N]; at, end : int64

    Notes
    -----
    Complexity: O(bytes). Twin: tests/reference/shm/byte_ring.py
    """
    mask = ring[RING_CAPACITY_WORD] - 1
    slot = RING_SLOTS + (ring[RING_HEAD] & mask) * TICK_WORDS
    ring[slot] = end - at + 1
    ring[slot + 1] = ts_ns
    ring[slot + 2] = source
    _publish(ring, slot)
    while at < end:
        slot = RING_SLOTS + (ring[RING_HEAD] & mask) * TICK_WORDS
        ring[slot] = 0
        for word in range(1, SEQUENCE):
            value = np.int64(0)
            for byte in range(min(np.int64(8), end - at)):
                value |= np.int64(text[at + byte]) << (8 * byte)
            ring[slot + word] = value
            at = min(at + 8, end)
        _publish(ring, slot)


@inlined
def _is_there(ring, place):
    """Whether the slot of that place in the stream has been published."""
    slot = RING_SLOTS + (place & (ring[RING_CAPACITY_WORD] - 1)) * TICK_WORDS
    # SYNC POINT: pairs with store_release in _publish.
    return load_acquire(ring, slot + SEQUENCE) == place + 1


@inlined
def _first_word(ring, place):
    return ring[RING_SLOTS + (place & (ring[RING_CAPACITY_WORD] - 1)) * TICK_WORDS]


@inlined
def _pieces(ring, tail, wanted):
    """How many of the slots from `tail` on belong to this message, and whether that is all that will come."""
    for found in range(1, wanted):
        if not _is_there(ring, tail + found):
            return np.int64(found), False
        if _first_word(ring, tail + found) != 0:
            return np.int64(found), True
    return np.int64(wanted), True


@kernel
def take_messages(ring, text, table, take):
    """Take whole messages out of the ring for as long as there is room for them.

    Parameters
    ----------
    ring : int64[ring_words(capacity, TICK_WORDS)]
    text : uint8[N], out, appended to; N at least what the ring holds, or a message may never fit
    table : int64[M, N_TAKEN], out, appended to: time, source, first and last byte + 1 of each message
    take : int64[N_TAKE], how much is there already, and how many messages were torn

    Returns
    -------
    int64, messages taken

    Notes
    -----
    Complexity: O(bytes). Invariant: a message is taken whole or not at all. Twin: tests/reference/shm/byte_ring.py
    """
    taken = np.int64(0)
    while take[TAKE_MESSAGES] < len(table):
        tail = ring[RING_TAIL]
        if not _is_there(ring, tail):
            break
        size = _first_word(ring, tail) - 1
        if size < 0:  # the rest of a message whose beginning is gone
            store_release(ring, RING_TAIL, tail + 1)
            continue
        wanted = slots_of(size)
        found, is_all = _pieces(ring, tail, wanted)
        if not is_all:
            break
        if found == wanted:
            at = take[TAKE_BYTES]
            if at + size > len(text):
                break
            slot = RING_SLOTS + (tail & (ring[RING_CAPACITY_WORD] - 1)) * TICK_WORDS
            row = table[take[TAKE_MESSAGES]]
            row[TAKEN_NS] = ring[slot + 1]
            row[TAKEN_SOURCE] = ring[slot + 2]
            row[TAKEN_AT] = at
            row[TAKEN_END] = at + size
            for index in range(size):
                place = tail + 1 + index // PIECE_BYTES
                inside = index % PIECE_BYTES
                slot = RING_SLOTS + (place & (ring[RING_CAPACITY_WORD] - 1)) * TICK_WORDS
                text[at + index] = (ring[slot + 1 + inside // 8] >> (8 * (inside % 8))) & 0xFF
            take[TAKE_BYTES] = at + size
            take[TAKE_MESSAGES] += 1
            taken += 1
        else:
            take[TAKE_TORN] += 1
        # SYNC POINT: pairs with load_acquire in has_space: the slots up to the tail are read and may be overwritten.
        store_release(ring, RING_TAIL, tail + found)
    return taken
