"""A producer that dies after each single store of a push, as often as asked. Run as a program; prints JSON.

The dying producer is a process of its own, which makes the stores of a push one by one by the ring's layout and then
kills itself; reader and successor are the product's. Every payload word of a record is one checksum of its index:

    torn       a word that is not the checksum of the index that its sequence says
    early      a record whose sequence had not been stored      lost   one whose sequence had been
    repeated   after the restart a record came twice            points  places to die tried, of one ring
"""

import argparse
import json
import mmap
import os
import random
import signal

import numpy as np

from bot4.adapters.system.process import die_with_parent
from bot4.model.records import TICK_WORDS
from bot4.shm.layout import RING_CAPACITY_WORD, RING_HEAD, RING_SLOTS, RING_TAIL, ring_words
from bot4.shm.spsc_ring import (
    consume,
    has_space,
    peek_order,
    peek_tick,
    push_order,
    push_tick,
    ring_create,
    ring_recover,
)

CAPACITY = 8
FINDINGS = ("torn", "early", "lost", "repeated")


def checksum(index: int) -> int:
    """A word that belongs to one index only."""
    return (index + 1) * 0x9E37_79B9_7F4A_7C15 >> 3 & (1 << 62) - 1


def stores_of_push(ring: np.ndarray, width: int) -> list[tuple[int, int]]:
    """What a push of the next record stores, in order: (place, value)."""
    head = int(ring[RING_HEAD])
    slot = RING_SLOTS + (head & int(ring[RING_CAPACITY_WORD]) - 1) * width
    payload = [(slot + word, checksum(head)) for word in range(width - 1)]
    return [*payload, (slot + width - 1, head + 1), (RING_HEAD, head + 1)]


def die_after(ring: np.ndarray, width: int, count: int) -> None:
    """A child makes the first `count` stores of a push and is killed."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        die_with_parent(parent)
        for place, value in stores_of_push(ring, width)[:count]:
            ring[place] = value
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


class Pair:
    """The product's reader and the product's next producer."""

    def __init__(self, ring: np.ndarray, width: int, found: dict[str, int]) -> None:
        self.ring, self.width, self.found = ring, width, found
        self.target, self.source = np.zeros(width, np.int64), np.zeros(width, np.int64)
        self.peek, self.push = (peek_tick, push_tick) if width == TICK_WORDS else (peek_order, push_order)
        self.next = 0  # index that the reader gets next

    def read(self, most: int) -> None:
        """Take up to `most` records and judge them."""
        while most and self.peek(self.ring, self.target, 0):
            index = int(self.target[-1]) - 1
            self.found["torn"] += bool((self.target[:-1] != checksum(index)).any())
            self.found["lost"] += index > self.next
            self.found["repeated"] += index < self.next
            self.next = index + 1
            consume(self.ring)
            most -= 1

    def write(self) -> None:
        """Push the next record, as what the ring alone says."""
        if has_space(self.ring, 1):
            self.source[:] = checksum(int(self.ring[RING_HEAD]))
            self.push(self.ring, self.source, 0)


def main() -> None:
    """Die at each point, read, start again."""
    parser = argparse.ArgumentParser()
    for name, value in {"width": 8, "times": 2, "seed": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    width, chance = options.width, random.Random(options.seed)
    ring = ring_create(np.frombuffer(mmap.mmap(-1, ring_words(CAPACITY, width) * 8), np.int64), CAPACITY, width)
    found = dict.fromkeys(FINDINGS, 0)
    pair = Pair(ring, width, found)
    points = range(width + 2)  # no store at all .. payload, sequence and head
    for count in points:
        for _ in range(options.times):
            for _ in range(chance.randrange(CAPACITY)):  # any place in the ring, any number of unread records
                pair.write()
            pair.read(chance.randrange(CAPACITY + 1))
            if not has_space(ring, 1):
                pair.read(1)
            index = int(ring[RING_HEAD])
            die_after(ring, width, count)
            published = count >= width
            pair.read(CAPACITY + 1)
            found["early"] += pair.next > index and not published
            found["lost"] += pair.next <= index and published
            ring_recover(ring)
            pair.write()
            pair.read(CAPACITY + 1)
            found["lost"] += pair.next != index + 1 + published or bool(ring[RING_TAIL] != ring[RING_HEAD])
    print(json.dumps(found | {"points": len(points), "killed": len(points) * options.times, "read": pair.next}))


if __name__ == "__main__":
    main()
