"""hftbacktest's queue models as they are published, in decimals: how much of an order's front goes with a decrease."""

from decimal import Decimal, localcontext


def front_after(model, n, lot, front, back, change):
    """The published formula, then what has gone behind in whole lots, rounded up. Quantities in lots."""
    with localcontext() as context:
        context.prec = 60
        if model == "risk-averse":
            # its front is the smaller one of what it was and what is left of the level
            return min(front, front + back - change)
        if not front or not back:
            prob = Decimal(0 if front else 1)
        elif model == "power":
            of_front, of_back = Decimal(front) ** Decimal(n), Decimal(back) ** Decimal(n)
            prob = of_back / (of_back + of_front)
        else:
            of_front, of_back = ((1 + Decimal(x) * Decimal(lot)).ln() for x in (front, back))
            prob = of_back / (of_back + of_front)
        gone_behind = prob * change
        whole = int(gone_behind.to_integral_value("ROUND_CEILING"))
        # est_front = front - (1 - prob) * change + min(back - prob * change, 0), and never more than is left
        estimate = front - (change - whole) + min(back - whole, 0)
        return max(0, min(estimate, front + back - change))
