"""Bounded ring of many producers and many consumers, any of which may be killed at any instruction.

For the control plane: commands and answers, a few a second from many processes, where losing one is worse than being
slow; no agent sends through it yet. Market data, intents and reports go through `spsc_ring`, which moves one cache line
instead of three.

The last word of a slot says everything about it, so one exchange claims it and names its owner at the same time:

    index << 25 | state << 22 | pid          index: number of the record that the slot waits for or holds

    FREE -> CLAIMED by pid -> PUBLISHED -> TAKEN by pid -> FREE for the record `capacity` later
                  |                          |
                  +-> SKIPPED -> FREE        +-> FREE       `many_bury`: pid has died

Head and tail follow the slots: whoever finds them behind moves them, so nobody waits for a process that was killed
between its claim and the move. A slot whose owner died keeps its place until somebody who knows the death for certain
(the supervisor, by pidfd) calls `many_bury`: its record is counted and stepped over. What a producer published it sends
in order; a record is delivered at most once, and exactly once unless its taker is killed with it in hand.
"""

import numpy as np

from bot4.atomics import compare_exchange, load_acquire
from bot4.jit import inlined, kernel
from bot4.shm.layout import (
    MANY_BURIED,
    MANY_HEAD,
    MANY_MAGIC,
    MANY_TAIL,
    RING_CAPACITY_WORD,
    RING_SLOTS,
    RING_WIDTH_WORD,
)
from bot4.shm.spsc_ring import ring_create

PID_BITS = 22  # the kernel's own bound of a pid
STATE_BITS = 3
FREE, CLAIMED, PUBLISHED, TAKEN, SKIPPED = range(5)
FULL = -1  # of `many_claim`


def many_create(memory: np.ndarray, capacity: int, width: int) -> np.ndarray:
    """Lay an empty ring into zeroed memory and return it.

    Parameters
    ----------
    memory : int64[>= ring_words(capacity, width)], zeroed, 64-byte aligned
    capacity : slots, a power of two
    width : words per slot with the slot's own word, TICK_WORDS or ORDER_WORDS
    """
    ring = ring_create(memory, capacity, width, MANY_MAGIC)
    ring[RING_SLOTS + width - 1 :: width] = [slot_word(index, FREE, 0) for index in range(capacity)]
    return ring


@inlined
def slot_word(index, state, pid):
    """A slot's last word."""
    return index << (PID_BITS + STATE_BITS) | state << PID_BITS | pid


@inlined
def _index(word):
    return word >> (PID_BITS + STATE_BITS)


@inlined
def _state(word):
    return (word >> PID_BITS) & ((1 << STATE_BITS) - 1)


@inlined
def _place(ring, index):
    """Offset of the slot's last word."""
    width = ring[RING_WIDTH_WORD]
    return RING_SLOTS + (index & (ring[RING_CAPACITY_WORD] - 1)) * width + width - 1


@kernel
def many_claim(ring, pid):
    """Reserve the next slot for a record of process `pid`; its index, or FULL.

    What follows is `many_publish`. Between the two the process should do nothing else: everybody waits for it.
    """
    while True:
        head = load_acquire(ring, MANY_HEAD)
        place = _place(ring, head)
        word = load_acquire(ring, place)
        index = _index(word)
        if index == head:
            claimed = False
            if _state(word) == FREE:
                # SYNC POINT: pairs with the exchange to FREE in many_pop: the record before has been copied out.
                claimed = compare_exchange(ring, place, word, slot_word(head, CLAIMED, pid))
            compare_exchange(ring, MANY_HEAD, head, head + 1)
            if claimed:
                return head
        elif index < head and load_acquire(ring, MANY_HEAD) == head:
            return np.int64(FULL)


@kernel
def many_publish(ring, index, source, pid):
    """Fill the claimed slot with width - 1 words of `source`; False if this process had been buried meanwhile."""
    place = _place(ring, index)
    start = place - ring[RING_WIDTH_WORD] + 1
    if load_acquire(ring, place) != slot_word(index, CLAIMED, pid):
        return False
    for word in range(place - start):
        ring[start + word] = source[word]
    # SYNC POINT: pairs with load_acquire in many_pop: who sees PUBLISHED sees the payload.
    return compare_exchange(ring, place, slot_word(index, CLAIMED, pid), slot_word(index, PUBLISHED, 0))


@kernel
def many_push(ring, source, pid):
    """Append width - 1 words of `source`; False if the ring is full (or `pid` was buried), nothing is sent then.

    Parameters
    ----------
    ring : int64[ring_words(capacity, width)]
    source : int64[>= width - 1]
    pid : int64, the calling process

    Notes
    -----
    Complexity: O(1) without rivals. Twin: tests/reference/shm/mpmc_ring.py
    """
    index = many_claim(ring, pid)
    return index != FULL and many_publish(ring, index, source, pid)


@kernel
def many_pop(ring, target, pid):
    """Take the oldest record into `target`; False if there is none, or its producer is not ready yet.

    Parameters
    ----------
    ring : int64[ring_words(capacity, width)]
    target : int64[>= width - 1]
    pid : int64, the calling process

    Notes
    -----
    Complexity: O(1) without rivals. Twin: tests/reference/shm/mpmc_ring.py
    """
    while True:
        tail = load_acquire(ring, MANY_TAIL)
        place = _place(ring, tail)
        word = load_acquire(ring, place)
        index = _index(word)
        if index < tail:
            continue  # the tail was read too early
        state = _state(word)
        free = slot_word(tail + ring[RING_CAPACITY_WORD], FREE, 0)
        if index == tail:
            if state == FREE or state == CLAIMED:
                return False
            taken = slot_word(tail, TAKEN, pid)
            if state == PUBLISHED and compare_exchange(ring, place, word, taken):
                compare_exchange(ring, MANY_TAIL, tail, tail + 1)
                start = place - ring[RING_WIDTH_WORD] + 1
                for at in range(place - start):
                    target[at] = ring[start + at]
                # SYNC POINT: pairs with the exchange in many_claim: the slot may be filled anew.
                return compare_exchange(ring, place, taken, free)
            if state == SKIPPED:
                compare_exchange(ring, place, word, free)
        if index > tail or state == TAKEN or state == SKIPPED:
            compare_exchange(ring, MANY_TAIL, tail, tail + 1)


@kernel
def many_bury(ring, pid):
    """Give up the slots of a process that is dead for certain; returns how many records went with it (also counted).

    Notes
    -----
    One caller at a time. Complexity: O(capacity). Twin: tests/reference/shm/mpmc_ring.py
    """
    buried = 0
    for number in range(ring[RING_CAPACITY_WORD]):
        place = _place(ring, number)
        word = load_acquire(ring, place)
        index = _index(word)
        if word == slot_word(index, CLAIMED, pid):
            buried += compare_exchange(ring, place, word, slot_word(index, SKIPPED, 0))
        elif word == slot_word(index, TAKEN, pid):
            buried += compare_exchange(ring, place, word, slot_word(index + ring[RING_CAPACITY_WORD], FREE, 0))
    ring[MANY_BURIED] += buried
    return buried
