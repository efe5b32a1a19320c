"""Messages of any length through a ring of slots, against a slow twin: whole or not at all, also after a death."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.shm.byte_ring import PIECE, MessageRing

from bot4.shm.byte_ring import N_TAKE, N_TAKEN, TAKE_TORN, has_room, push_message, take_messages
from bot4.shm.layout import RING_HEAD, RING_SLOTS
from bot4.shm.spsc_ring import private_rings

CAPACITY = 32


class Pair:
    """Ring and twin with the same past."""

    def __init__(self) -> None:
        self.ring, self.twin = private_rings(1, CAPACITY, 8)[0], MessageRing(CAPACITY)
        self.text = np.zeros(CAPACITY * PIECE, np.uint8)
        self.torn = 0

    def push(self, ts_ns: int, source: int, data: bytes) -> bool:
        """To both if it fits, and both agree on that."""
        fits = bool(has_room(self.ring, np.int64(len(data))))
        assert fits == self.twin.room(len(data))
        if fits:
            self.twin.push(ts_ns, source, data)
            self._push(ts_ns, source, data)
        return fits

    def _push(self, ts_ns: int, source: int, data: bytes) -> None:
        padded = np.frombuffer(b"<" + data + b">", np.uint8)
        push_message(self.ring, np.int64(ts_ns), np.int64(source), padded, np.int64(1), np.int64(1 + len(data)))

    def die(self, data: bytes, slots: int) -> None:
        """A feed that published only so many slots of the message."""
        if not self.twin.room(len(data)):
            return
        before = int(self.ring[RING_HEAD])
        self._push(1, 1, data)
        for place in range(before + slots, int(self.ring[RING_HEAD])):
            self.ring[RING_SLOTS + (place % CAPACITY) * 8 + 7] = 0
        self.ring[RING_HEAD] = before + slots
        self.twin.push(1, 1, data, dies_after=slots)

    def take(self, rows: int = 64) -> list[tuple[int, int, bytes]]:
        """What both give."""
        table, take = np.zeros((rows, N_TAKEN), np.int64), np.zeros(N_TAKE, np.int64)
        count = take_messages(self.ring, self.text, table, take)
        self.torn += int(take[TAKE_TORN])
        found = [(int(ts), int(source), self.text[at:end].tobytes()) for ts, source, at, end in table[:count].tolist()]
        assert found == self.twin.take()
        assert self.torn == self.twin.torn
        return found


steps = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 2**62), st.integers(0, 255), st.binary(max_size=400)),
        st.tuples(st.just("die"), st.binary(min_size=60, max_size=200), st.integers(1, 2)),
        st.just(("take",)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(steps)
def test_the_ring_does_what_its_twin_does(given_steps):
    pair = Pair()
    for step in given_steps:
        if step[0] == "push":
            pair.push(*step[1:])
        elif step[0] == "die":
            pair.die(*step[1:])
        else:
            pair.take()
    pair.take()


@pytest.mark.parametrize("size", [0, 1, 47, 48, 49, 96, (CAPACITY - 1) * PIECE])
def test_every_byte_comes_out_as_it_went_in(size):
    pair = Pair()
    data = bytes(index * 7 % 256 for index in range(size))
    assert pair.push(5, 3, data)
    assert pair.take() == [(5, 3, data)]


def test_one_byte_more_than_the_ring_holds_is_refused():
    assert not Pair().push(1, 0, b"x" * ((CAPACITY - 1) * PIECE + 1))


def test_a_message_that_a_dead_feed_left_unfinished_costs_nothing_but_itself():
    pair = Pair()
    pair.push(1, 0, b"before")
    pair.die(b"y" * 150, 2)
    assert [data for *_, data in pair.take()] == [b"before"]  # the rest may still come
    pair.push(2, 0, b"after")
    assert [data for *_, data in pair.take()] == [b"after"]
    assert pair.torn == 1


def test_what_does_not_fit_the_table_stays_in_the_ring():
    pair = Pair()
    for number in range(3):
        pair.push(number, 0, b"%d" % number)
    table, take = np.zeros((2, N_TAKEN), np.int64), np.zeros(N_TAKE, np.int64)
    assert take_messages(pair.ring, pair.text, table, take) == 2
    assert take_messages(pair.ring, pair.text, table, np.zeros(N_TAKE, np.int64)) == 1
