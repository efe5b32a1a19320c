"""Slow twin of bot4/engine/portfolio.py: average-cost accounting with Python integers."""


class RefPosition:
    """Signed lots with their cost in tick x lot."""

    def __init__(self) -> None:
        self.lots = 0
        self.cost = 0
        self.realised = 0
        self.cash = 0

    def fill(self, side: int, price: int, qty: int) -> int:
        """Apply one fill; returns the realised profit in tick x lot."""
        self.cash -= side * price * qty
        realised = 0
        while qty:
            if self.lots and (self.lots > 0) != (side > 0):
                closing = min(qty, abs(self.lots))
                sign = 1 if self.lots > 0 else -1
                removed = abs(self.cost) * closing // abs(self.lots)
                realised += sign * (price * closing - removed)
                self.cost -= sign * removed
                self.lots -= sign * closing
                qty -= closing
            else:
                self.lots += side * qty
                self.cost += side * qty * price
                qty = 0
        self.realised += realised
        return realised
