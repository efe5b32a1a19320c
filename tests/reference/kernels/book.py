"""Slow twin of bot4/kernels/book.py: dictionaries, sorted when asked."""


class RefBook:
    """Depth levels by price and the last quote."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.clear()
        self.dropped = 0

    def clear(self) -> None:
        """Forget everything."""
        self.sides: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self.quote = {1: (0, 0), -1: (0, 0)}
        self.newer = False
        self.whole = False

    def set(self, side: int, price: int, lots: int) -> None:
        """Set or remove one level; the deepest goes when there is no room."""
        levels = self.sides[side]
        if lots:
            levels[price] = lots
        else:
            levels.pop(price, None)
        if len(levels) > self.capacity:
            del levels[min(levels, key=lambda level: side * level)]
            self.dropped += 1

    def depth(self, side: int) -> list[tuple[int, int]]:
        """Levels, best first."""
        return sorted(self.sides[side].items(), key=lambda level: -side * level[0])

    def effective(self, side: int) -> list[tuple[int, int]]:
        """Levels as the market stands, best first."""
        if not self.newer:
            return self.depth(side)
        price, lots = self.quote[side]
        return [(price, lots), *(level for level in self.depth(side) if side * (level[0] - price) < 0)]

    def imbalance(self, depth: int) -> float:
        """Share of the bid side minus share of the ask side over the best levels."""
        bids = sum(lots for _, lots in self.effective(1)[:depth])
        asks = sum(lots for _, lots in self.effective(-1)[:depth])
        return (bids - asks) / (bids + asks) if bids + asks else 0.0
