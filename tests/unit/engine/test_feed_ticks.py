"""The feed of a recording publishes what was recorded, whole messages alone, and tells who lost its place the books."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.engine.feed_ticks import Row, published
from reference.kernels.scan import Listing
from rig.feed import FeedRig, KnownMarket

from bot4.engine.feed_ticks import TickFeed
from bot4.model.enums import (
    FLAG_LAST,
    FLAG_SNAPSHOT,
    INPUT_GAP,
    STATUS_STALE,
    STATUS_WHOLE,
    TICK_LEVEL,
    TICK_STATUS,
    TICK_TRADE,
)
from bot4.model.errors import RecordingError
from bot4.model.records import TICK
from bot4.shm.layout import CLOCK_FEED, CONTROL_FEED_DONE, CONTROL_SNAPSHOT, RING_DROPPED
from bot4.shm.wires import private_rings

FIELDS = tuple(name for name in TICK.names if name not in ("seq", "tsc_low"))
LISTINGS = [Listing(symbol, Decimal("0.01"), Decimal("0.00001"), False) for symbol in ("BTCUSDT", "ETHUSDT")]


class TickRig(FeedRig):
    """A feed of recorded blocks with the same readers as the feed of raw messages."""

    def __init__(self, blocks, wait=True, capacity=16_384, n=2, record=0):
        super().__init__([b""] * n, LISTINGS[:n], wait=wait, capacity=capacity)
        if record:
            self.wires = self.wires._replace(record=private_rings(1, record, 8)[0])
        self.agent = TickFeed(self.wires, self.instruments, self.session, iter(blocks), False, wait)

    def taken_of(self, name="market"):
        """Records as one array."""
        return np.array([tick[0] for tick in self.taken.get(name, [])], TICK)


def recorded(seed=3, count=600):
    """What a feed of raw messages published."""
    rig = FeedRig([b"".join(KnownMarket(seed, futures=False).run(count))], LISTINGS[:1]).run()
    return np.array([tick[0] for tick in rig.taken["market"]], TICK), rig


def same(left, right):
    """Equal but for the ring's sequence and the moment of publication."""
    return len(left) == len(right) and all((left[name] == right[name]).all() for name in FIELDS)


@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_every_reader_gets_what_it_got_when_it_was_recorded(piece):
    ticks, before = recorded()
    again = TickRig([ticks[at : at + piece] for at in range(0, len(ticks), piece)], n=1).run()
    for name in ("market", "quotes", "shard-0"):
        assert same(again.taken_of(name), np.array([tick[0] for tick in before.taken[name]], TICK)), name
    assert again.wires.clocks[CLOCK_FEED] == before.wires.clocks[CLOCK_FEED]
    assert int(again.wires.levels[0]) == np.count_nonzero(ticks["kind"] == TICK_LEVEL)


rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(1, 4), st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=40
)


@settings(deadline=None, max_examples=200)
@given(rows, st.integers(1, 9))
def test_parts_of_messages_are_counted_and_nobody_sees_them(messages, piece):
    """Messages of some records; now and then a record of one is not in the recording."""
    made, number = [], [0, 0]
    for instrument, size, lost, chance in messages:
        for index in range(size):
            number[instrument] += 1
            if chance < 3 and index == lost:
                continue
            last = FLAG_LAST if index == size - 1 else 0
            made.append((1_000 + len(made), 0, instrument, TICK_TRADE, last, 5, 5, 0, 1, number[instrument], 0, 0))
    ticks = np.array(made, TICK)
    expected, parts, leaps = published(
        [
            Row(*(int(tick[name]) for name in ("ts_recv_ns", "instrument", "kind", "flags", "event_no")))
            for tick in ticks
        ]
    )
    rig = TickRig([ticks[at : at + piece] for at in range(0, len(ticks), piece)], n=2).run()
    found = rig.taken_of()
    assert [(int(tick["instrument"]), int(tick["event_no"])) for tick in found] == [
        (row.instrument, row.event_no) for row in expected
    ]
    assert int(rig.wires.refused[:, :, INPUT_GAP].sum()) == parts
    assert int(rig.wires.quotes[RING_DROPPED]) == leaps


def snapshot_of(rig, name):
    """The records of the last snapshot that a reader got."""
    taken = rig.taken_of(name)
    return taken[taken["flags"] & FLAG_SNAPSHOT != 0]


def test_a_reader_that_lost_its_place_is_told_the_book_of_that_moment():
    ticks, before = recorded()
    rig = TickRig([ticks], n=1).run()
    rig.wires.control[CONTROL_SNAPSHOT] = 1
    before.wires.control[CONTROL_SNAPSHOT] = 1
    for one in (rig, before):
        one.agent.do_work()
        one.drain()
    raw = np.array([tick[0] for tick in before.taken["shard-0"]], TICK)
    raw = raw[raw["flags"] & FLAG_SNAPSHOT != 0]
    assert len(raw) > 10 and same(snapshot_of(rig, "shard-0"), raw)


def test_after_a_hole_the_book_is_stale_and_execution_is_told():
    ticks, _ = recorded()
    ends = np.flatnonzero(ticks["flags"] & FLAG_LAST)
    whole = np.flatnonzero((ticks["kind"] == TICK_STATUS) & (ticks["w0"] == STATUS_WHOLE))[0]
    after = ends[ends > whole + 20]
    rig = TickRig([np.concatenate([ticks[: after[0] + 1], ticks[after[1] + 1 :]])], n=1).run()
    rig.agent.do_work()
    rig.drain()
    told = snapshot_of(rig, "quotes")
    assert len(told) and (told["kind"] == TICK_STATUS).all() and told["w0"][0] == STATUS_STALE


def test_a_recording_whose_message_has_no_end_is_refused():
    ticks = np.zeros(200_000, TICK)
    ticks["event_no"] = np.arange(1, 200_001)
    rig = TickRig([ticks], n=1)
    with pytest.raises(RecordingError, match="no recording"):
        rig.run()


def test_what_the_recorder_missed_is_followed_by_the_books():
    """A recorder that stood still: its ring is full, then empty again. What it gets then is of use."""
    ticks, _ = recorded()
    rig = TickRig([ticks], wait=False, n=1, record=256)
    half = len(ticks) // 2
    rig.agent.until_ns = int(ticks["ts_recv_ns"][half])
    for _ in range(200):
        rig.agent.do_work()
        rig.drain()
    ring = rig.wires.record
    assert int(ring[RING_DROPPED]) > 0
    ring[32] = ring[16]  # the recorder has taken everything
    rig.agent.until_ns = 2**63 - 1
    for _ in range(400):
        rig.agent.do_work()
        rig.drain()
        if rig.wires.control[CONTROL_FEED_DONE]:
            break
    first = ring[64:].view(TICK)[int(ring[32]) % 256]
    assert first["flags"] & FLAG_SNAPSHOT or first["kind"] == TICK_STATUS
    assert len(rig.taken_of("market")) == len(ticks)
