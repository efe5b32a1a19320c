"""What a ring of many producers and consumers does, said with a list: claims in order, at most `capacity` of them."""


class ManyRing:
    """Each slot in order of its claim: [owner, words or None while it is being filled, "taken by" or None]."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.buried, self.claims = capacity, 0, 0
        self.slots: list[list] = []

    def claim(self, pid: int) -> int:
        """Index of a new slot, -1 if there is none free."""
        if len(self.slots) == self.capacity:
            return -1
        self.slots.append([pid, None, None, self.claims])
        self.claims += 1
        return self.claims - 1

    def publish(self, index: int, words: tuple, pid: int) -> bool:
        """Fill it; False if it is not one's own any more."""
        for slot in self.slots:
            if slot[3] == index and slot[0] == pid and slot[1] is None:
                slot[1] = words
                return True
        return False

    def pop(self) -> tuple | None:
        """The oldest record, if it is complete."""
        while self.slots and self.slots[0][1] == "skipped":
            self.slots.pop(0)
        if not self.slots or self.slots[0][1] is None:
            return None
        return self.slots.pop(0)[1]

    def bury(self, pid: int) -> int:
        """Skip what a dead producer had claimed."""
        count = 0
        for slot in self.slots:
            if slot[0] == pid and slot[1] is None:
                slot[1] = "skipped"
                count += 1
        self.buried += count
        return count
