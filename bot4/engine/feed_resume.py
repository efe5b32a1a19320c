"""A feed that was killed goes on where it stopped: it reads its recording again up to the last record it sent.

Why not a saved position: what a feed knows is its books, its sequence numbers and its place in every file, and reading
a million messages again takes a second. The reading is deterministic, so the record that lies last in a ring
marks the place in that ring; what follows it in the second reading is sent. A message that was cut in the middle is
completed, ring by ring, and nothing is sent twice. Snapshots are not part of the recording: they are passed over, and
shards that ever asked for one get a new one.
"""

import time
from typing import NamedTuple

import numpy as np

from bot4.atomics import store_release
from bot4.engine.feed import FeedAgent
from bot4.engine.feed_memory import DONE
from bot4.engine.feed_ticks import TickFeed
from bot4.model.enums import FLAG_SNAPSHOT, INT64_MAX
from bot4.model.errors import Bot4Error
from bot4.model.records import TICK, TICK_WORDS
from bot4.shm.layout import (
    CLOCK_FEED,
    CONTROL_FEED_DONE,
    CONTROL_NO_RECORDER,
    CONTROL_STOP,
    RING_CAPACITY_WORD,
    RING_HEAD,
    RING_SLOTS,
    RING_TAIL,
)
from bot4.shm.spsc_ring import count_dropped, has_space, push_tick
from bot4.shm.wires import FEED_ROW, GAUGE_FEED_DROPPED, GAUGE_HEARTBEAT_NS, Wires, private_wires

FULL_NAP_S = 1e-4  # a reader needs about that long for a few hundred records
TABLES = ("messages", "refused", "levels", "book_checks", "venue_clocks")


class Place(NamedTuple):
    """The last record of the recording in a ring."""

    instrument: int
    event_no: int


def slots_of(ring: np.ndarray) -> np.ndarray:
    """All slots of a tick ring as TICK[capacity], a view."""
    return ring[RING_SLOTS:].view(TICK)


def place_of(ring: np.ndarray) -> Place | None:
    """Where the dead feed stopped in this ring; None if it had sent nothing. Bot4Error if that cannot be told."""
    head = int(ring[RING_HEAD])
    if head == 0:
        return None
    slots = slots_of(ring)
    own = slots[(slots["seq"] > 0) & (slots["seq"] <= head) & (slots["flags"] & FLAG_SNAPSHOT == 0)]
    if own.size == 0:
        raise Bot4Error("the feed cannot find its place again: snapshots have covered the whole ring")
    last = own[np.argmax(own["seq"])]
    return Place(int(last["instrument"]), int(last["event_no"]))


def waiting(ring: np.ndarray) -> np.ndarray:
    """Records between tail and head in order, a copy."""
    numbers = np.arange(int(ring[RING_TAIL]), int(ring[RING_HEAD])) % int(ring[RING_CAPACITY_WORD])
    return slots_of(ring)[numbers]


def _after(records: np.ndarray, place: Place) -> np.ndarray | None:
    """What follows that record, None if it is not among them."""
    here = np.flatnonzero((records["instrument"] == place.instrument) & (records["event_no"] == place.event_no))
    return records[here[-1] + 1 :] if here.size else None


def _send(wires: Wires, ring: np.ndarray, records: np.ndarray, wait: bool) -> None:
    words = np.ascontiguousarray(records).view(np.int64).reshape(-1)
    spared = ring is wires.record  # it costs a gap in the recording instead, where nobody waits for the recorder
    for index in range(len(records)):
        while not has_space(ring, 1):
            if wires.control[CONTROL_STOP]:
                return
            if spared and (not wait or wires.control[CONTROL_NO_RECORDER]):
                count_dropped(ring, len(records) - index)
                return
            time.sleep(FULL_NAP_S)
        push_tick(ring, words, index * TICK_WORDS)


def resume(agent: FeedAgent | TickFeed) -> int:
    """Bring a fresh agent to where the dead one stopped; returns the number of messages read again.

    Raises
    ------
    Bot4Error
        the recording does not hold what was sent: it is not the same any more
    """
    wires = agent.wires
    recorded = int(wires.record[RING_CAPACITY_WORD]) if wires.record.size else 0
    staging = private_wires(len(wires.ticks), len(wires.messages), int(wires.market[RING_CAPACITY_WORD]), recorded)
    # in the order in which a message is published: the shard after its quote is where its order will be checked
    pairs = [(wires.market, staging.market), (wires.quotes, staging.quotes)]
    pairs += list(zip(wires.ticks, staging.ticks, strict=True))
    pairs += [(wires.record, staging.record)] if recorded else []
    missing: list[Place | None] = [place_of(ring) for ring, _ in pairs]
    until_ns, wait = agent.until_ns, agent.wait
    agent.wires, agent.until_ns, agent.wait = staging, INT64_MAX, True
    unsent: list[list[np.ndarray]] = [[] for _ in pairs]  # nothing goes out before every place is found
    read = 0
    while any(place is not None for place in missing):
        if agent.memory.state[DONE]:
            raise Bot4Error("the feed cannot find its place again: the recording is not what it was")
        read += agent.do_work()
        for index, (_, private) in enumerate(pairs):
            fresh: np.ndarray | None = waiting(private)
            private[RING_TAIL] = private[RING_HEAD]
            place = missing[index]
            if place is not None and fresh is not None:
                fresh = _after(fresh, place)
                if fresh is not None:
                    missing[index] = None
            if fresh is not None:
                unsent[index].append(fresh)
    for (ring, _), parts in zip(pairs, unsent, strict=True):
        for records in parts:
            _send(wires, ring, records, wait)
    agent.wires, agent.until_ns, agent.wait = wires, until_ns, wait
    _take_over(wires, staging)
    if agent.memory.state[DONE]:
        # SYNC POINT: pairs with load_acquire in every reader: the last record has been pushed.
        store_release(wires.clocks, CLOCK_FEED, INT64_MAX)
        store_release(wires.control, CONTROL_FEED_DONE, 1)
    return read


def _take_over(wires: Wires, staging: Wires) -> None:
    """The second reading has counted everything the first one did, and the message in the middle once."""
    for name in TABLES:
        getattr(wires, name)[...] = getattr(staging, name)
    row = len(wires.ticks) + FEED_ROW
    kept = {gauge: int(wires.gauges[row, gauge]) for gauge in (GAUGE_HEARTBEAT_NS, GAUGE_FEED_DROPPED)}
    wires.gauges[row] = staging.gauges[row]
    for gauge, value in kept.items():
        wires.gauges[row, gauge] = value
