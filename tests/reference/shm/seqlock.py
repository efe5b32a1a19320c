"""Slow twin of bot4/shm/seqlock.py: the last whole copy, or nothing while somebody is, or died, at work."""


class RefSlot:
    """`whole` is what a reader finds, None if there is nothing to be found."""

    def __init__(self) -> None:
        self.version = 0
        self.whole: tuple[int, ...] | None = None

    def begin(self) -> None:
        """The writer starts a copy; one that takes over from a dead one goes on with its number."""
        if self.version % 2 == 0:
            self.version += 1
        self.whole = None

    def end(self, payload: tuple[int, ...]) -> None:
        """The copy is whole."""
        self.version += 1
        self.whole = payload
