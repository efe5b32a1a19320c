"""Slow twin of bot4/shm/histogram.py: buckets as a list of upper edges that is walked, octave by octave."""

import bisect
import math

TOP = 2**50


def ref_edges() -> list[int]:
    """Largest value of each bucket: one value each below 32, then sixteen buckets an octave."""
    edges = list(range(32))
    low = 32
    while low < TOP:
        width = low // 16
        edges += [low + width * (part + 1) - 1 for part in range(16)]
        low *= 2
    return edges


class RefHistogram:
    """Keeps every value."""

    def __init__(self) -> None:
        self.edges = ref_edges()
        self.values: list[int] = []

    def record(self, value: int) -> None:
        """Count one value, clipped to the range."""
        self.values.append(min(max(value, 0), TOP - 1))

    def bucket(self, value: int) -> int:
        """Index of the first bucket whose upper edge is not below the value."""
        return bisect.bisect_left(self.edges, value)

    def counts(self) -> list[int]:
        """Values in each bucket."""
        counts = [0] * len(self.edges)
        for value in self.values:
            counts[self.bucket(value)] += 1
        return counts

    def percentile(self, ratio: float) -> int:
        """Upper edge of the bucket of the exact quantile, never above the maximum."""
        if not self.values:
            return 0
        exact = sorted(self.values)[max(1, math.ceil(ratio * len(self.values))) - 1]
        return min(self.edges[self.bucket(exact)], max(self.values))
