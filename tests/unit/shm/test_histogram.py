"""The latency histogram against its twin, and at its edges."""

import itertools

import numpy as np
import pytest
from reference.shm.histogram import RefHistogram, ref_edges

from bot4.jit import kernel
from bot4.shm.histogram import (
    HISTOGRAM_BUCKETS,
    HISTOGRAM_COUNT,
    HISTOGRAM_MAX,
    HISTOGRAM_SUM,
    HISTOGRAM_WORDS,
    MAX_VALUE,
    N_BUCKETS,
    bucket_of,
    bucket_upper,
    histogram_record,
    percentile,
)


@kernel
def record_all(histogram, values):
    """Count every value (compiled call site: the functions under test are inlined, as in the product)."""
    for at in range(values.shape[0]):
        histogram_record(histogram, values[at])


@kernel
def buckets_of(values, out):
    """Bucket of each value."""
    for at in range(values.shape[0]):
        out[at] = bucket_of(values[at])


def filled(values) -> np.ndarray:
    histogram = np.zeros(HISTOGRAM_WORDS, np.int64)
    record_all(histogram, np.asarray(values, np.int64))
    return histogram


def test_bucket_edges_are_the_twins():
    edges = ref_edges()
    assert [bucket_upper(index) for index in range(len(edges))] == edges
    assert len(edges) <= N_BUCKETS
    assert HISTOGRAM_BUCKETS + N_BUCKETS <= HISTOGRAM_WORDS
    assert all(high <= low * 1.0625 + 1 for low, high in itertools.pairwise(edges))


def test_bucket_of_every_edge_and_its_neighbours():
    edges = np.asarray(ref_edges(), np.int64)
    for shift in (-1, 0, 1):
        values = edges + shift
        values = values[(values >= 0) & (values < MAX_VALUE)]
        out = np.zeros_like(values)
        buckets_of(values, out)
        assert out.tolist() == np.searchsorted(edges, values).tolist()


def test_same_counts_as_the_twin_for_random_values():
    rng = np.random.default_rng(7)
    values = np.concatenate(
        [(2.0 ** rng.uniform(0, 51, 3_000)).astype(np.int64), [-5, -1, 0, MAX_VALUE - 1, MAX_VALUE, 2**62]]
    )
    twin = RefHistogram()
    for value in values.tolist():
        twin.record(value)
    histogram = filled(values)
    counts = histogram[HISTOGRAM_BUCKETS : HISTOGRAM_BUCKETS + len(twin.edges)]
    assert counts.tolist() == twin.counts()
    assert histogram[HISTOGRAM_COUNT] == len(values)
    assert histogram[HISTOGRAM_SUM] == sum(twin.values)
    assert histogram[HISTOGRAM_MAX] == max(twin.values)
    for ratio in (0.001, 0.5, 0.9, 0.99, 0.999, 1.0):
        assert percentile(histogram, ratio) == twin.percentile(ratio)


def test_empty_histogram_has_percentile_zero():
    assert percentile(np.zeros(HISTOGRAM_WORDS, np.int64), 0.99) == 0


@pytest.mark.parametrize("value", [0, 1, 31, 32, 33, 1_000, MAX_VALUE - 1])
def test_one_value_is_every_percentile(value):
    histogram = filled([value])
    assert {percentile(histogram, ratio) for ratio in (0.01, 0.5, 1.0)} == {value}
