"""Slow twin of bot4/kernels/risk/correlation.py: all moves of a pair are kept, and summed up anew when asked."""

import math

ENOUGH = 100
WINDOW = 1_024


class RefMoves:
    """Mids second by second; None where there was no fresh one."""

    def __init__(self, n, decay):
        self.n, self.decay = n, decay
        self.last = [None] * n
        self.pairs = {(i, j): [] for i in range(n) for j in range(i)}
        self.window = []  # the moves of the last seconds, the oldest replaced in its place
        self.seconds = 0

    def note(self, mids, seconds=1):
        """One second: a mid, or None, of each instrument; so many seconds after the one before."""
        moves = [
            (mid / last - 1.0) / math.sqrt(seconds) if mid is not None and last else None
            for mid, last in zip(mids, self.last, strict=True)
        ]
        self.last = list(mids)
        self.window[self.seconds % WINDOW : self.seconds % WINDOW + 1] = [moves]
        self.seconds += 1
        for (i, j), known in self.pairs.items():
            if moves[i] is not None and moves[j] is not None:
                known.append((moves[i], moves[j]))

    def correlation(self, i, j):
        """None: unknown."""
        if i < j:
            return self.correlation(j, i)
        known = self.pairs[i, j]
        if len(known) < ENOUGH:
            return None
        cross = own = other = 0.0
        for a, b in known:  # the order of the kernel, so that both round alike
            cross = self.decay * cross + (1.0 - self.decay) * (a * b)
            own = self.decay * own + (1.0 - self.decay) * (a * a)
            other = self.decay * other + (1.0 - self.decay) * (b * b)
        product = own * other
        return min(max(cross / math.sqrt(product), -1.0), 1.0) if product > 0 else None

    def worst_bps(self, rows, index, side):
        """rows : by instrument, whether it may be long and whether it may be short."""
        worst = -10_000
        for other, (long, short) in enumerate(rows):
            if other == index or not (long or short):
                continue
            value = self.correlation(index, other)
            if value is None:
                return 10_000
            for there, sign in ((long, 1), (short, -1)):
                if there:
                    worst = max(worst, math.ceil(sign * side * value * 10_000))
        return worst
