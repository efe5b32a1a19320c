"""Any sequence of calls and crashes: the ring says what the twin, a deque, says."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from reference.shm.spsc_ring import RefRing

from bot4.model.records import ORDER_WORDS, TICK_WORDS
from bot4.shm.layout import RING_DROPPED, RING_HEAD, RING_SLOTS, RING_TAIL
from bot4.shm.spsc_ring import (
    consume,
    count_dropped,
    has_space,
    next_time,
    peek_order,
    peek_tick,
    private_rings,
    push_order,
    push_tick,
    ring_recover,
    unread_time,
)

PUSH = {TICK_WORDS: push_tick, ORDER_WORDS: push_order}
PEEK = {TICK_WORDS: peek_tick, ORDER_WORDS: peek_order}


class RingMachine(RuleBasedStateMachine):
    """Producer and consumer take turns at random; either may die between two stores."""

    @initialize(bits=st.integers(1, 4), width=st.sampled_from((TICK_WORDS, ORDER_WORDS)))
    def start(self, bits, width):
        self.width = width
        self.capacity = 1 << bits
        self.ring = private_rings(1, self.capacity, width)[0]
        self.twin = RefRing(self.capacity)
        self.source = np.zeros(3 * width, np.int64)
        self.target = np.zeros(3 * width, np.int64)

    def payload(self, first):
        words = tuple(first + 7 * word + self.twin.published for word in range(self.width - 1))
        self.source[self.width : 2 * self.width - 1] = words
        self.source[2 * self.width - 1] = -99  # transport word: must not travel
        return words

    @rule(first=st.integers(0, 2**40))
    def push(self, first):
        assert bool(has_space(self.ring, 1)) == self.twin.has_space(1)
        if self.twin.has_space(1):
            words = self.payload(first)
            PUSH[self.width](self.ring, self.source, self.width)
            self.twin.push(words)

    @rule(count=st.integers(1, 20))
    def ask_space(self, count):
        assert bool(has_space(self.ring, count)) == self.twin.has_space(count)

    @rule(count=st.integers(1, 5))
    def drop(self, count):
        count_dropped(self.ring, count)
        self.twin.dropped += count

    @rule()
    def look_twice(self):
        for _ in range(2):
            self.target[:] = -1
            found = bool(PEEK[self.width](self.ring, self.target, self.width))
            expected = self.twin.peek()
            assert found == (expected is not None)
            if expected is not None:
                assert tuple(self.target[self.width : 2 * self.width].tolist()) == expected
                assert (self.target[: self.width] == -1).all() and (self.target[2 * self.width :] == -1).all()

    @precondition(lambda self: self.twin.queue)
    @rule()
    def take(self):
        consume(self.ring)
        self.twin.consume()

    @rule()
    def producer_restarts(self):
        ring_recover(self.ring)
        ring_recover(self.ring)

    @rule(first=st.integers(0, 2**40), stored=st.integers(0, ORDER_WORDS))
    def producer_dies_inside_a_slot(self, first, stored):
        if not self.twin.has_space(1):
            return
        words = self.payload(first)
        head = int(self.ring[RING_HEAD])
        slot = RING_SLOTS + (head % self.capacity) * self.width
        for word in range(min(stored, self.width - 1)):
            self.ring[slot + word] = words[word]
        if stored >= self.width:  # the sequence was stored, the head was not
            self.ring[slot + self.width - 1] = head + 1
            self.twin.push(words)
        ring_recover(self.ring)
        assert self.ring[RING_HEAD] == self.twin.published

    @invariant()
    def counters_and_times(self):
        if not hasattr(self, "twin"):
            return
        assert self.ring[RING_HEAD] == self.twin.published
        assert self.ring[RING_TAIL] == self.twin.consumed
        assert self.ring[RING_DROPPED] == self.twin.dropped
        assert next_time(self.ring, self.width) == self.twin.first_time()
        assert unread_time(self.ring, self.width) == self.twin.first_time()


TestRing = RingMachine.TestCase
TestRing.settings = settings(deadline=None, max_examples=60, stateful_step_count=60)
