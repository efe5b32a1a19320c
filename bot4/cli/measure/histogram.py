"""Suite `histogram`: what it costs to count one latency.

`record`: one value into the histogram, in batches, less the same loop without it; the limit is one plain addition to a
word in memory (`add`). `stamped`: a read of the counter and the record, which is what a stage pays; there the clock is
the cost (`timer`). The values are spread over the range that latencies have. Budget: `record` 3 ns.
"""

# mypy: allow-untyped-defs

import functools

import numpy as np

from bot4.atomics import load_acquire, rdtsc
from bot4.cli.measure.harness import Case, Samples
from bot4.jit import kernel
from bot4.model.errors import Bot4Error
from bot4.shm.histogram import HISTOGRAM_COUNT, HISTOGRAM_WORDS, histogram_record

_BATCH = 1_000
_SEED = 1


@kernel
def _stamp_records(histogram, values, stamps):
    """Each batch twice: the loop alone (an acquiring load keeps it one), then with the record; three stamps a batch."""
    total = 0
    for batch in range(stamps.shape[0]):
        stamps[batch, 0] = rdtsc()
        for at in range(values.shape[0]):
            total += load_acquire(values, at)
        stamps[batch, 1] = rdtsc()
        for at in range(values.shape[0]):
            value = load_acquire(values, at)
            total += value
            histogram_record(histogram, value)
        stamps[batch, 2] = rdtsc()
    return total


@kernel
def _stamp_stages(histogram, values, stamps):
    """Batches of stages that follow each other: the end of one is the start of the next."""
    last = rdtsc()
    stamps[0] = last
    for batch in range(stamps.shape[0] - 1):
        for _ in range(values.shape[0]):
            now = rdtsc()
            histogram_record(histogram, now - last)
            last = now
        stamps[batch + 1] = last


def _check(histogram: np.ndarray, n: int) -> None:
    if histogram[HISTOGRAM_COUNT] != n:
        raise Bot4Error(f"the histogram of the bench counted {histogram[HISTOGRAM_COUNT]} values of {n}")


def _record(values: np.ndarray, batches: int, ghz: float, taken: Samples) -> None:
    histogram, stamps = np.zeros(HISTOGRAM_WORDS, np.int64), np.zeros((batches, 3), np.int64)
    _stamp_records(histogram, values, stamps)
    _check(histogram, batches * len(values))
    loop, recording = np.diff(stamps, axis=1).T
    taken.add_durations(np.maximum(recording - loop, 0) / (ghz * len(values)))


def _stamped(values: np.ndarray, batches: int, ghz: float, taken: Samples) -> None:
    histogram, stamps = np.zeros(HISTOGRAM_WORDS, np.int64), np.zeros(batches + 1, np.int64)
    _stamp_stages(histogram, values, stamps)
    _check(histogram, batches * len(values))
    taken.add_durations(np.diff(stamps) / (ghz * len(values)))


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases; they run in this process, on the core the caller is on."""
    batches = 100 if quick else 2_000
    values = np.exp(np.random.default_rng(_SEED).normal(7.0, 1.5, _BATCH)).astype(np.int64)
    made = [
        Case("record", "ns", functools.partial(_record, values, batches, ghz), limit="add"),
        Case("stamped", "ns", functools.partial(_stamped, values, batches, ghz), limit="timer"),
    ]
    for case in made:
        case.run(Samples("ns"))  # compile and warm up outside the measurement
    return made
