"""Single calls of the ring: what it refuses to be laid into, full and empty, and each crash point inside a slot."""

import numpy as np
import pytest

from bot4.model.errors import SegmentError
from bot4.model.records import ORDER_WORDS, TICK_WORDS
from bot4.shm.layout import RING_CACHED_TAIL, RING_CAPACITY_WORD, RING_HEAD, RING_SLOTS, RING_TAIL, ring_words
from bot4.shm.spsc_ring import (
    consume,
    has_space,
    peek_order,
    peek_tick,
    private_rings,
    push_order,
    push_tick,
    ring_check,
    ring_create,
    ring_recover,
)

WIDTHS = {TICK_WORDS: (push_tick, peek_tick), ORDER_WORDS: (push_order, peek_order)}
both_widths = pytest.mark.parametrize("width", WIDTHS)


def record(width: int, value: int) -> np.ndarray:
    return np.arange(value, value + width, dtype=np.int64)


@pytest.mark.parametrize("capacity", [0, 1, 3, 6, -4])
def test_capacity_is_a_power_of_two(capacity):
    with pytest.raises(SegmentError, match="power of two"):
        ring_create(np.zeros(2_000, np.int64), capacity, TICK_WORDS)


@pytest.mark.parametrize("width", [0, 7, 9, 32])
def test_width_is_that_of_a_record(width):
    with pytest.raises(SegmentError, match="words do not exist"):
        ring_create(np.zeros(2_000, np.int64), 4, width)


def test_memory_that_is_not_aligned_is_refused():
    rings = private_rings(2, 4, TICK_WORDS).reshape(-1)
    with pytest.raises(SegmentError, match="aligned"):
        ring_create(rings[1:], 4, TICK_WORDS)


def test_rows_are_rings_of_their_own():
    rings = private_rings(3, 8, ORDER_WORDS)
    for row in rings:
        assert row.ctypes.data % 64 == 0
        ring_check(row, ORDER_WORDS)
    push_order(rings[1], record(ORDER_WORDS, 5), 0)
    assert [int(row[RING_HEAD]) for row in rings] == [0, 1, 0]


def test_check_refuses_another_width_size_or_no_ring():
    ring = private_rings(1, 8, TICK_WORDS)[0]
    ring_check(ring, TICK_WORDS)
    with pytest.raises(SegmentError, match="no ring"):
        ring_check(ring, ORDER_WORDS)
    with pytest.raises(SegmentError, match="no ring"):
        ring_check(np.zeros(ring_words(8, TICK_WORDS), np.int64), TICK_WORDS)
    ring[RING_CAPACITY_WORD] = 16
    with pytest.raises(SegmentError, match="size"):
        ring_check(ring, TICK_WORDS)


@both_widths
def test_full_ring_refuses_and_takes_again_after_one_consume(width):
    push, peek = WIDTHS[width]
    ring = private_rings(1, 4, width)[0]
    target = np.zeros(width, np.int64)
    assert has_space(ring, 4) and not has_space(ring, 5)
    for value in range(4):
        assert has_space(ring, 1)
        push(ring, record(width, value), 0)
    assert not has_space(ring, 1)
    assert peek(ring, target, 0) and target[0] == 0
    assert not has_space(ring, 1)  # a look takes nothing
    consume(ring)
    assert has_space(ring, 1) and not has_space(ring, 2)


def test_space_is_seen_without_reading_the_consumers_line():
    ring = private_rings(1, 4, TICK_WORDS)[0]
    for value in range(3):
        push_tick(ring, record(TICK_WORDS, value), 0)
    ring[RING_TAIL] = 3
    assert has_space(ring, 1)
    assert ring[RING_CACHED_TAIL] == 0
    assert has_space(ring, 2)
    assert ring[RING_CACHED_TAIL] == 3


@both_widths
def test_a_slot_that_was_never_published_is_not_there(width):
    push, peek = WIDTHS[width]
    for words_stored in range(width + 1):
        ring = private_rings(1, 4, width)[0]
        target = np.zeros(width, np.int64)
        for value in range(6):  # the ring has lapped: old sequences stand in the slots
            push(ring, record(width, value), 0)
            consume(ring)
        slot = RING_SLOTS + (6 % 4) * width
        payload = record(width, 600)
        payload[-1] = 7
        ring[slot : slot + words_stored] = payload[:words_stored]  # died here
        assert bool(peek(ring, target, 0)) == (words_stored == width)
        ring_recover(ring)
        assert ring[RING_HEAD] == 6 + (words_stored == width)
        push(ring, record(width, 700), 0)
        assert peek(ring, target, 0)
        first = 600 if words_stored == width else 700
        assert target.tolist() == [*range(first, first + width - 1), 7]


@both_widths
def test_recovery_of_an_empty_and_of_a_full_ring_changes_nothing(width):
    push, _ = WIDTHS[width]
    ring = private_rings(1, 4, width)[0]
    before = ring.copy()
    ring_recover(ring)
    assert (ring == before).all()
    for value in range(4):
        push(ring, record(width, value), 0)
    before = ring.copy()
    ring_recover(ring)
    assert (ring == before).all()


def test_indices_go_on_for_ever():
    ring = private_rings(1, 4, TICK_WORDS)[0]
    far = 2**62
    ring[RING_HEAD] = ring[RING_TAIL] = ring[RING_CACHED_TAIL] = far
    target = np.zeros(TICK_WORDS, np.int64)
    for value in range(9):
        assert not peek_tick(ring, target, 0)
        push_tick(ring, record(TICK_WORDS, value), 0)
        assert peek_tick(ring, target, 0) and target[0] == value
        consume(ring)
    assert ring[RING_TAIL] == far + 9
