"""Single-producer single-consumer ring with the sequence in the slot.

Why not head and tail indices: they bounce one cache line between the cores on every message once the consumer is
close behind; here a message moves exactly one line (64 bytes) or two (128). Where it stands: between every two agents.
Budget: one hop within 1.1 x the machine's cache-line ping-pong (`bot4-bench ring`).

A ring is an int64[:] array (see `layout`). The producer copies the payload words and then publishes the sequence, which
is index + 1, in the last word. A full ring refuses; nobody laps. The position of either side lives in the ring, so a
process goes on where the dead one stopped: at most the record in hand comes twice, and readers stay idempotent.

Twin: tests/reference/shm/spsc_ring.py
Sides: only the producer calls `ring_recover`, `has_space`, `push_*`; only the consumer calls `peek_*`, `consume`.
"""

import numpy as np

from bot4.atomics import load_acquire, store_release
from bot4.crash import SLOT_PUBLISHED, SLOT_WHOLE, SLOT_WORD, crash_here
from bot4.jit import inlined, kernel
from bot4.model.errors import SegmentError
from bot4.model.records import ORDER_WORDS, TICK_WORDS
from bot4.shm.layout import (
    RING_CACHED_TAIL,
    RING_CAPACITY_WORD,
    RING_DROPPED,
    RING_HEAD,
    RING_MAGIC,
    RING_MAGIC_WORD,
    RING_SLOTS,
    RING_TAIL,
    RING_WIDTH_WORD,
    ring_words,
)


def ring_create(memory: np.ndarray, capacity: int, width: int, magic: int = RING_MAGIC) -> np.ndarray:
    """Lay an empty ring into zeroed memory and return it.

    Parameters
    ----------
    memory : int64[>= ring_words(capacity, width)], zeroed, 64-byte aligned
    capacity : slots, a power of two
    width : words per slot, TICK_WORDS or ORDER_WORDS
    magic : which kind of ring it is
    """
    if capacity < 2 or capacity & (capacity - 1):
        raise SegmentError(f"ring capacity {capacity} is not a power of two of at least 2")
    if width not in (TICK_WORDS, ORDER_WORDS):
        raise SegmentError(f"ring slots of {width} words do not exist; {TICK_WORDS} or {ORDER_WORDS}")
    if memory.ctypes.data % 64:
        raise SegmentError("ring memory is not aligned to 64 bytes")
    memory[RING_WIDTH_WORD] = width
    memory[RING_CAPACITY_WORD] = capacity
    memory[RING_MAGIC_WORD] = magic
    return memory[: ring_words(capacity, width)]


def private_rings(count: int, capacity: int, width: int) -> np.ndarray:
    """Empty rings in this process's own memory: int64[count, ring_words(capacity, width)], rows 64-byte aligned."""
    length = ring_words(capacity, width)
    raw = np.zeros(count * length + 8, np.int64)
    start = (-raw.ctypes.data % 64) // 8
    rings = raw[start : start + count * length].reshape(count, length)
    for row in range(count):
        ring_create(rings[row], capacity, width)
    return rings


def ring_check(ring: np.ndarray, width: int, magic: int = RING_MAGIC) -> None:
    """SegmentError if this memory is not a ring of that kind and width."""
    if ring[RING_MAGIC_WORD] != magic or ring[RING_WIDTH_WORD] != width:
        raise SegmentError(f"this memory is no ring of {width} words a slot")
    if ring.shape[0] != ring_words(int(ring[RING_CAPACITY_WORD]), width):
        raise SegmentError("the ring's size does not match its capacity")


@kernel
def ring_recover(ring):
    """Producer's first call after a restart: a slot published before the head was stored is not published again."""
    head = ring[RING_HEAD]
    width = ring[RING_WIDTH_WORD]
    mask = ring[RING_CAPACITY_WORD] - 1
    if load_acquire(ring, RING_SLOTS + (head & mask) * width + width - 1) == head + 1:
        ring[RING_HEAD] = head + 1


@inlined
def has_space(ring, count):
    """True if `count` more records fit. Reads the consumer's line only when the cached tail does not suffice."""
    limit = ring[RING_HEAD] + count - ring[RING_CAPACITY_WORD]
    if ring[RING_CACHED_TAIL] >= limit:
        return True
    # SYNC POINT: pairs with store_release in consume: the slots up to the tail are read and may be overwritten.
    ring[RING_CACHED_TAIL] = load_acquire(ring, RING_TAIL)
    return ring[RING_CACHED_TAIL] >= limit


@inlined
def _push(ring, source, offset, width):
    head = ring[RING_HEAD]
    slot = RING_SLOTS + (head & (ring[RING_CAPACITY_WORD] - 1)) * width
    for word in range(width - 1):
        ring[slot + word] = source[offset + word]
        crash_here(SLOT_WORD)
    crash_here(SLOT_WHOLE)
    # SYNC POINT: pairs with load_acquire in _peek: who sees the sequence sees the payload.
    store_release(ring, slot + width - 1, head + 1)
    crash_here(SLOT_PUBLISHED)
    ring[RING_HEAD] = head + 1


@inlined
def _peek(ring, target, offset, width):
    tail = ring[RING_TAIL]
    slot = RING_SLOTS + (tail & (ring[RING_CAPACITY_WORD] - 1)) * width
    # SYNC POINT: pairs with store_release in _push.
    if load_acquire(ring, slot + width - 1) != tail + 1:
        return False
    for word in range(width):
        target[offset + word] = ring[slot + word]
    return True


@inlined
def push_tick(ring, source, offset):
    """Publish 8 words from source[offset:]; the caller has asked `has_space`."""
    _push(ring, source, offset, TICK_WORDS)


@inlined
def push_order(ring, source, offset):
    """Publish 16 words from source[offset:]; the caller has asked `has_space`."""
    _push(ring, source, offset, ORDER_WORDS)


@inlined
def peek_tick(ring, target, offset):
    """Copy the next record (8 words) into target[offset:] without taking it; False if there is none."""
    return _peek(ring, target, offset, TICK_WORDS)


@inlined
def peek_order(ring, target, offset):
    """Copy the next record (16 words) into target[offset:] without taking it; False if there is none."""
    return _peek(ring, target, offset, ORDER_WORDS)


@inlined
def consume(ring):
    """Take the record that was peeked: its slot may be overwritten from now on."""
    # SYNC POINT: pairs with load_acquire in has_space.
    store_release(ring, RING_TAIL, ring[RING_TAIL] + 1)


@inlined
def next_time(ring, width):
    """Event time (first word) of the next record, or -1 if there is none. Consumer's side."""
    tail = ring[RING_TAIL]
    slot = RING_SLOTS + (tail & (ring[RING_CAPACITY_WORD] - 1)) * width
    if load_acquire(ring, slot + width - 1) != tail + 1:
        return -1
    return ring[slot]


@inlined
def unread_time(ring, width):
    """Event time of the oldest record that the consumer has not taken, or -1 if it took all. Producer's side."""
    tail = load_acquire(ring, RING_TAIL)
    if tail == ring[RING_HEAD]:
        return -1
    return ring[RING_SLOTS + (tail & (ring[RING_CAPACITY_WORD] - 1)) * width]


@inlined
def count_dropped(ring, count):
    """Producer: records that found the ring full and took no slot."""
    ring[RING_DROPPED] += count
