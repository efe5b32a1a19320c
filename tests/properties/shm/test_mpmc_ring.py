"""The ring of many against its twin, one process playing all parts; and what it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.shm.mpmc_ring import ManyRing

from bot4.model.errors import SegmentError
from bot4.shm.layout import MANY_BURIED, MANY_MAGIC, ring_words
from bot4.shm.mpmc_ring import (
    FULL,
    TAKEN,
    many_bury,
    many_claim,
    many_create,
    many_pop,
    many_publish,
    many_push,
    slot_word,
)
from bot4.shm.spsc_ring import ring_check

PIDS = (7, 8, (1 << 22) - 1)


def make(capacity=4, width=8) -> np.ndarray:
    raw = np.zeros(ring_words(capacity, width) + 8, np.int64)
    start = (-raw.ctypes.data % 64) // 8
    return many_create(raw[start : start + ring_words(capacity, width)], capacity, width)


STEPS = st.lists(
    st.tuples(st.sampled_from(("push", "claim", "publish", "pop", "bury")), st.sampled_from(PIDS)), max_size=120
)


@settings(deadline=None)
@given(steps=STEPS, capacity=st.sampled_from((2, 4, 16)), width=st.sampled_from((8, 16)))
def test_it_does_what_the_twin_does(steps, capacity, width):
    ring, twin = make(capacity, width), ManyRing(capacity)
    open_claims: list[tuple[int, int]] = []
    target = np.zeros(width, np.int64)
    for number, (what, pid) in enumerate(steps):
        source = np.arange(width) * 1_000 + number
        words = tuple(source[: width - 1].tolist())
        if what == "push":
            index = twin.claim(pid)
            assert many_push(ring, source, pid) == (index >= 0)
            assert index < 0 or twin.publish(index, words, pid)
        elif what == "claim":
            index = twin.claim(pid)
            assert many_claim(ring, pid) == index
            if index >= 0:
                open_claims.append((index, pid))
        elif what == "publish" and open_claims:
            index, owner = open_claims.pop(number % len(open_claims))
            assert many_publish(ring, index, source, owner) == twin.publish(index, words, owner)
        elif what == "pop":
            expected = twin.pop()
            assert many_pop(ring, target, pid) == (expected is not None)
            assert expected is None or tuple(target[: width - 1].tolist()) == expected
        elif what == "bury":
            assert many_bury(ring, pid) == twin.bury(pid)
    assert ring[MANY_BURIED] == twin.buried
    ring_check(ring, width, MANY_MAGIC)


def test_a_full_ring_refuses_and_nothing_is_lost():
    ring, one = make(2), np.arange(8)
    assert [many_push(ring, one, 7) for _ in range(3)] == [True, True, False]
    assert many_claim(ring, 7) == FULL
    assert many_pop(ring, one, 7) and many_push(ring, one, 7)


def test_a_consumer_that_died_with_a_record_in_hand_gives_its_slot_back():
    ring, one = make(2), np.arange(8)
    many_push(ring, one, 7)
    ring[64 + 7] = slot_word(0, TAKEN, 9)  # as if process 9 had been killed before it moved the tail
    assert not many_pop(ring, one, 8) and many_push(ring, one, 7)
    assert many_claim(ring, 7) == FULL, "the slot is not free before its owner is known to be dead"
    assert many_bury(ring, 8) == 0 and many_bury(ring, 9) == 1 and ring[MANY_BURIED] == 1
    assert many_pop(ring, one, 8) and not many_pop(ring, one, 8)
    assert many_push(ring, one, 7) and many_push(ring, one, 7)


def test_what_is_no_such_ring_is_refused():
    memory = np.zeros(ring_words(4, 8) + 8, np.int64)
    with pytest.raises(SegmentError, match="power of two"):
        many_create(memory, 3, 8)
    with pytest.raises(SegmentError, match="slots of 9 words"):
        many_create(memory, 4, 9)
    with pytest.raises(SegmentError, match="aligned"):
        many_create(memory[(1 if memory.ctypes.data % 64 == 0 else 0) :], 4, 8)
    ring = make(4, 8)
    with pytest.raises(SegmentError, match="16 words"):
        ring_check(ring, 16, MANY_MAGIC)
    with pytest.raises(SegmentError, match="no ring"):
        ring_check(ring, 8)  # a ring, but of the other kind
    with pytest.raises(SegmentError, match="does not match"):
        ring_check(np.append(ring, 0), 8, MANY_MAGIC)
