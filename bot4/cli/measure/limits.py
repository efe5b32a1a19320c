"""What this machine can do at best, measured in the same run.

Between two cores: `line_1`, one cache line that both sides write; `line_2`, a line each way, which is what a pair of
rings must move. Half a round trip each, one counter read per round trip as in all hop cases. On one core: `timer`, a
read of the counter; `add`, one addition to a word in memory; `exchange`, one locked exchange of a word.
"""

# mypy: allow-untyped-defs

from collections.abc import Callable

import numpy as np

from bot4.atomics import compare_exchange, load_acquire, rdtsc, store_release
from bot4.cli.measure.harness import Case, Samples, run_pinned, scratch
from bot4.jit import kernel

_THERE = 0
_BACK = 32  # words: two lines and their prefetched neighbours apart
_STAMPS = 64
_BATCH = 1_000
_COUNTS = 16  # words that are added to, in no order


@kernel
def _throw(words, back, stamps):
    """Send 1, 2, 3, ... on word 0 and wait for the same number on word `back`."""
    for number in range(1, stamps.shape[0] + 1):
        store_release(words, 0, 2 * number - 1)
        while load_acquire(words, back) != 2 * number:
            continue
        stamps[number - 1] = rdtsc()


@kernel
def _catch(words, back, count):
    """The other side."""
    for number in range(1, count + 1):
        while load_acquire(words, 0) != 2 * number - 1:
            continue
        store_release(words, back, 2 * number)


@kernel
def _read_clock(stamps):
    for at in range(stamps.shape[0]):
        stamps[at] = rdtsc()


@kernel
def _add(counts, values, count, stamps):
    """Batches of additions: the word is another one each time, so it cannot stay in a register."""
    stamps[0] = rdtsc()
    for batch in range(stamps.shape[0] - 1):
        for at in range(count):
            counts[values[at]] += 1
        stamps[batch + 1] = rdtsc()


@kernel
def _exchange(words, count, stamps):
    number = words[0]
    stamps[0] = rdtsc()
    for batch in range(stamps.shape[0] - 1):
        for _ in range(count):
            compare_exchange(words, 0, number, number + 1)
            number += 1
        stamps[batch + 1] = rdtsc()


def half_round_trips(stamps: np.ndarray, ghz: float) -> np.ndarray:
    """Ns from the stamps at the end of each round trip."""
    return np.diff(stamps) / (2 * ghz)


def cases(n: int, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The limits; `n` round trips a repeat."""
    stamps = np.zeros(2, np.int64)
    words = np.zeros(_STAMPS, np.int64)
    words[_BACK] = 2
    _throw(words, _BACK, stamps[:0])  # compile here, not in the children
    _catch(words, _BACK, 0)
    _read_clock(stamps)
    counts, values = np.zeros(_COUNTS, np.int64), np.random.default_rng(1).integers(0, _COUNTS, _BATCH)
    _add(counts, values, 0, stamps)
    _exchange(words, 0, stamps)

    def line(back: int, taken: Samples) -> None:
        shared = scratch(_STAMPS + n)
        words, stamps = shared.words[:_STAMPS], shared.words[_STAMPS:]
        run_pinned([lambda: _throw(words, back, stamps), lambda: _catch(words, back, n)], list(cores))
        taken.add_durations(half_round_trips(stamps, ghz))
        shared.close()

    def clock(taken: Samples) -> None:
        stamps = np.zeros(n, np.int64)
        _read_clock(stamps)
        taken.add_durations(np.diff(stamps) / ghz)

    def batches(work: Callable[[np.ndarray], None], taken: Samples) -> None:
        stamps = np.zeros(n // 100, np.int64)
        work(stamps)
        taken.add_durations(np.diff(stamps) / (ghz * _BATCH))

    return [
        Case("line_1", "ns", lambda taken: line(_THERE, taken)),
        Case("line_2", "ns", lambda taken: line(_BACK, taken)),
        Case("timer", "ns", clock),
        Case("add", "ns", lambda taken: batches(lambda stamps: _add(counts, values, _BATCH, stamps), taken)),
        Case("exchange", "ns", lambda taken: batches(lambda stamps: _exchange(words, _BATCH, stamps), taken)),
    ]
