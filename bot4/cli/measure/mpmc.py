"""Suite `mpmc`: the ring of many producers and consumers, in slots of 64 bytes.

`push_pop`: one record in and out again in this process, in batches, nobody else there: six locked exchanges.
`rate_from_<n>`: `n` producers, each a process, and one consumer on a core of its own; the producers share the other
cores, so with more producers than those the scheduler takes part. A producer that finds the ring full sleeps: whoever
spins or yields there keeps the one that was preempted in the middle of a record from its turn. Every record is checked
to come once and in order.
"""

# mypy: allow-untyped-defs

import functools
import os
import time
from collections.abc import Callable

import numpy as np

from bot4.atomics import pause, rdtsc
from bot4.cli.measure.harness import Case, Samples, run_pinned, scratch
from bot4.jit import kernel
from bot4.model.errors import Bot4Error
from bot4.model.records import TICK_WORDS
from bot4.shm.layout import ring_words
from bot4.shm.mpmc_ring import many_create, many_pop, many_push

PRODUCERS = {True: (1, 4, 16), False: (1, 4, 16, 64, 128, 256)}
_BATCH = 1_000
_CAPACITY = 1_024
_PATIENCE = 100  # polls of a full ring before its producer sleeps
_REST_S = 50e-6  # times the number of producers: together they must leave most of a core idle


@kernel
def _stamp_push_pop(ring, source, target, count, pid, stamps):
    """Batches of a push and a pop. Returns how many did not come back as they went."""
    wrong = 0
    stamps[0] = rdtsc()
    for batch in range(stamps.shape[0] - 1):
        for number in range(count):
            source[0] = number
            if not many_push(ring, source, pid) or not many_pop(ring, target, pid) or target[0] != number:
                wrong += 1
        stamps[batch + 1] = rdtsc()
    return wrong


@kernel
def _produce(ring, source, producer, first, count, pid):
    """Push the records `first` to `count`; returns how far it came before the ring stayed full."""
    source[0] = producer
    for number in range(first, count):
        source[1] = number
        polls = 0
        while not many_push(ring, source, pid):
            pause()
            polls += 1
            if polls == _PATIENCE:
                return number
    return count


@kernel
def _consume(ring, target, awaited, count, pid, stamps):
    """Take `count` records; a stamp at the first and at the last. Returns how many were not the producer's next one."""
    wrong = 0
    for at in range(count):
        while not many_pop(ring, target, pid):
            pause()
        if at == 0:
            stamps[0] = rdtsc()
        if target[1] != awaited[target[0]]:
            wrong += 1
        awaited[target[0]] += 1
    stamps[1] = rdtsc()
    return wrong


class _Gate:
    """Holds the producers, asleep, until all of them are there: who spins would take the others' core."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._arrived, self._arrive = os.pipe()
        self._passing, self._pass = os.pipe()

    def wait(self) -> None:
        """A producer's side."""
        os.write(self._arrive, b".")
        os.read(self._passing, 1)

    def open(self) -> None:
        """The consumer's side: wait for all, then let them go."""
        waiting = self.n
        while waiting:
            waiting -= len(os.read(self._arrived, waiting))
        os.write(self._pass, b"." * self.n)

    def close(self) -> None:
        """Give the descriptors back."""
        for descriptor in (self._arrived, self._arrive, self._passing, self._pass):
            os.close(descriptor)


def _push_pop(batches: int, ghz: float, taken: Samples) -> None:
    memory = scratch(ring_words(_CAPACITY, TICK_WORDS))
    ring = many_create(memory.words, _CAPACITY, TICK_WORDS)
    source, target, stamps = np.zeros(TICK_WORDS, np.int64), np.zeros(TICK_WORDS, np.int64), np.zeros(batches, np.int64)
    if _stamp_push_pop(ring, source, target, _BATCH, os.getpid(), stamps):
        raise Bot4Error("the ring of many lost or changed a record")
    taken.add_durations(np.diff(stamps) / (ghz * _BATCH))
    memory.close()


def _rate(producers: int, n: int, ghz: float, cores: tuple[int, int], taken: Samples) -> None:
    length = ring_words(_CAPACITY, TICK_WORDS)
    each = n // producers
    shared = scratch(length + 16)
    ring, stamps = many_create(shared.words[:length], _CAPACITY, TICK_WORDS), shared.words[length:]
    source, target = np.zeros(TICK_WORDS, np.int64), np.zeros(TICK_WORDS, np.int64)
    awaited = np.zeros(producers, np.int64)
    gate = _Gate(producers)

    def produce(producer: int) -> None:
        gate.wait()
        sent = 0
        while sent < each:
            sent = _produce(ring, source, producer, sent, each, os.getpid())
            if sent < each:
                time.sleep(_REST_S * producers)

    def consume() -> None:
        gate.open()
        if _consume(ring, target, awaited, each * producers, os.getpid(), stamps):
            raise AssertionError("the ring of many lost, doubled or reordered a record")

    others = [core for core in sorted(os.sched_getaffinity(0)) if core != cores[0]]
    works: list[Callable[[], None]] = [
        consume,
        *(functools.partial(produce, producer) for producer in range(producers)),
    ]
    try:
        run_pinned(works, [cores[0], *(others[producer % len(others)] for producer in range(producers))])
    finally:
        gate.close()
    taken.add_rate(each * producers - 1, int(stamps[1] - stamps[0]) / ghz * 1e-9)
    shared.close()


def _compile() -> None:
    """Every kernel once, so that the children find it compiled."""
    memory = scratch(ring_words(4, TICK_WORDS))
    ring = many_create(memory.words, 4, TICK_WORDS)
    words, stamps = np.zeros(TICK_WORDS, np.int64), np.zeros(2, np.int64)
    _produce(ring, words, 0, 0, 1, 1)
    _consume(ring, words, np.zeros(1, np.int64), 1, 1, stamps)
    memory.close()


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases."""
    batches, messages = (20, 16_384) if quick else (400, 1_024_000)
    _compile()
    _push_pop(2, ghz, Samples("ns"))
    made = [Case("push_pop", "ns", functools.partial(_push_pop, batches, ghz), limit="exchange")]
    for producers in PRODUCERS[quick]:
        once = functools.partial(_rate, producers, messages, ghz, cores)
        made.append(Case(f"rate_from_{producers}", "messages/s", once, limit="line_2"))
    return made
