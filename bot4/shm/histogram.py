"""Log-linear latency histogram in shared memory: 16 sub-buckets an octave, at most 6.25 % wide, values 0 to 2**50.

One writer, relaxed plain adds (2 ns); whoever reads sees a moment's picture. First words: count, sum and maximum.
"""

import math

import numpy as np

from bot4.jit import inlined

SUB_BITS = 4
SUB_BUCKETS = 1 << SUB_BITS
MAX_VALUE = 2**50
N_BUCKETS = (50 - SUB_BITS + 1) * SUB_BUCKETS + SUB_BUCKETS
HISTOGRAM_COUNT = 0
HISTOGRAM_SUM = 1
HISTOGRAM_MAX = 2
HISTOGRAM_BUCKETS = 8
HISTOGRAM_WORDS = ((HISTOGRAM_BUCKETS + N_BUCKETS + 15) // 16) * 16


@inlined
def bucket_of(value):
    """Index of the bucket that holds `value` (int64, 0 <= value < 2**50)."""
    shift = 0
    if value >= 32:
        rest = value >> 5
        if rest >= 1 << 32:
            rest >>= 32
            shift += 32
        if rest >= 1 << 16:
            rest >>= 16
            shift += 16
        if rest >= 1 << 8:
            rest >>= 8
            shift += 8
        if rest >= 1 << 4:
            rest >>= 4
            shift += 4
        if rest >= 1 << 2:
            rest >>= 2
            shift += 2
        if rest >= 2:
            shift += 1
        shift += 1
    return (shift << SUB_BITS) + (value >> shift)


@inlined
def histogram_record(histogram, value):
    """Count one value; a negative one counts as 0, one above the range as the range's last.

    Notes
    -----
    Complexity: O(1), about 2 ns. Twin: tests/reference/shm/histogram.py
    """
    if value < 0:
        value = 0
    if value >= MAX_VALUE:
        value = MAX_VALUE - 1
    histogram[HISTOGRAM_BUCKETS + bucket_of(value)] += 1
    histogram[HISTOGRAM_COUNT] += 1
    histogram[HISTOGRAM_SUM] += value
    if value > histogram[HISTOGRAM_MAX]:
        histogram[HISTOGRAM_MAX] = value


def bucket_upper(index: int) -> int:
    """Largest value that falls into bucket `index`."""
    if index < 2 * SUB_BUCKETS:
        return index
    shift = (index >> SUB_BITS) - 1
    return (((index - (shift << SUB_BITS)) + 1) << shift) - 1


def percentile(histogram: np.ndarray, ratio: float) -> int:
    """Upper edge of the bucket that holds the `ratio` quantile, 0 < ratio <= 1, never above the maximum; 0 if empty."""
    total = int(histogram[HISTOGRAM_COUNT])
    if total == 0:
        return 0
    rank = max(1, math.ceil(ratio * total))
    counts = np.cumsum(histogram[HISTOGRAM_BUCKETS : HISTOGRAM_BUCKETS + N_BUCKETS])
    index = int(np.searchsorted(counts, rank))
    return min(bucket_upper(min(index, N_BUCKETS - 1)), int(histogram[HISTOGRAM_MAX]))
