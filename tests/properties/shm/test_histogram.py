"""Any values: the histogram counts and ranks as the twin that keeps them all."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.shm.histogram import RefHistogram

from bot4.shm.histogram import HISTOGRAM_BUCKETS, HISTOGRAM_WORDS, histogram_record, percentile

VALUES = st.lists(st.one_of(st.integers(-3, 100), st.integers(0, 2**50 - 1), st.integers(-(2**62), 2**62)), max_size=60)


@settings(deadline=None, max_examples=60)
@given(VALUES, st.floats(0.001, 1.0))
def test_counts_and_percentiles(values, ratio):
    histogram = np.zeros(HISTOGRAM_WORDS, np.int64)
    twin = RefHistogram()
    for value in values:
        histogram_record(histogram, value)
        twin.record(value)
    assert histogram[HISTOGRAM_BUCKETS : HISTOGRAM_BUCKETS + len(twin.edges)].tolist() == twin.counts()
    assert percentile(histogram, ratio) == twin.percentile(ratio)
