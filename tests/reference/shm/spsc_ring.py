"""Slow twin of bot4/shm/spsc_ring.py: a deque that refuses when it is full."""

from collections import deque


class RefRing:
    """Records are tuples of payload words; `published` counts all that ever were."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.queue: deque[tuple[int, ...]] = deque()
        self.published = 0
        self.consumed = 0
        self.dropped = 0

    def has_space(self, count: int) -> bool:
        """True if `count` more fit."""
        return len(self.queue) + count <= self.capacity

    def push(self, payload: tuple[int, ...]) -> None:
        """Append a record; the caller has asked for space."""
        assert self.has_space(1)
        self.queue.append(payload)
        self.published += 1

    def peek(self) -> tuple[int, ...] | None:
        """The oldest record and its sequence, or None."""
        return (*self.queue[0], self.consumed + 1) if self.queue else None

    def consume(self) -> None:
        """Forget the oldest."""
        self.queue.popleft()
        self.consumed += 1

    def first_time(self) -> int:
        """First word of the oldest record, -1 if there is none."""
        return self.queue[0][0] if self.queue else -1
