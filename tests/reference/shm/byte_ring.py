"""Slow twin of the ring of messages: a queue of slots, each a first word and at most 48 bytes."""

PIECE = 48


class MessageRing:
    """Slots in a list; what does not fit is refused."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.slots: list[tuple] = []  # ("first", size, time, source) or ("piece", bytes)
        self.torn = 0

    def room(self, size: int) -> bool:
        """Whether a message of so many bytes fits."""
        return len(self.slots) + 1 + -(-size // PIECE) <= self.capacity

    def push(self, ts_ns: int, source: int, data: bytes, dies_after: int | None = None) -> None:
        """Publish a message, or as many of its slots as the feed lives for."""
        slots = [("first", len(data), ts_ns, source)]
        slots += [("piece", data[at : at + PIECE]) for at in range(0, len(data), PIECE)]
        self.slots += slots if dies_after is None else slots[:dies_after]

    def take(self) -> list[tuple[int, int, bytes]]:
        """All whole messages."""
        found = []
        while self.slots:
            first = self.slots[0]
            if first[0] == "piece":
                self.slots.pop(0)
                continue
            wanted = -(-first[1] // PIECE)
            pieces = []
            for slot in self.slots[1 : 1 + wanted]:
                if slot[0] == "first":
                    break
                pieces.append(slot[1])
            if len(pieces) < wanted and len(self.slots) == 1 + len(pieces):
                break
            del self.slots[: 1 + len(pieces)]
            if len(pieces) == wanted:
                found.append((first[2], first[3], b"".join(pieces)))
            else:
                self.torn += 1
        return found
