"""Suite `ring`: one hop (half a round trip over two rings) and one-way throughput, in slots of 64 and 128 bytes.

The processes spin on a core each. Budget: a hop of 64 bytes within 1.1 times `line_2`, 100 M ticks/s, 50 M orders/s.
"""

# mypy: allow-untyped-defs

import functools

import numpy as np

from bot4.atomics import pause, rdtsc
from bot4.cli.measure.cpp import Twin
from bot4.cli.measure.harness import Case, Samples, run_pinned, scratch
from bot4.cli.measure.limits import half_round_trips
from bot4.jit import kernel
from bot4.model.records import ORDER_WORDS, TICK_WORDS
from bot4.shm.layout import ring_words
from bot4.shm.spsc_ring import (
    consume,
    has_space,
    peek_order,
    peek_tick,
    private_rings,
    push_order,
    push_tick,
    ring_create,
)
from bot4.shm.wires import TICK_RING_CAPACITY

WIDTHS = (TICK_WORDS, ORDER_WORDS)


@kernel
def _ping_ticks(there, back, record, target, stamps):
    for at in range(stamps.shape[0]):
        record[0] = at
        while not has_space(there, 1):
            continue
        push_tick(there, record, 0)
        while not peek_tick(back, target, 0):
            continue
        consume(back)
        stamps[at] = rdtsc()


@kernel
def _pong_ticks(there, back, target, count):
    for _ in range(count):
        while not peek_tick(there, target, 0):
            continue
        consume(there)
        while not has_space(back, 1):
            continue
        push_tick(back, target, 0)


@kernel
def _ping_orders(there, back, record, target, stamps):
    for at in range(stamps.shape[0]):
        record[0] = at
        while not has_space(there, 1):
            continue
        push_order(there, record, 0)
        while not peek_order(back, target, 0):
            continue
        consume(back)
        stamps[at] = rdtsc()


@kernel
def _pong_orders(there, back, target, count):
    for _ in range(count):
        while not peek_order(there, target, 0):
            continue
        consume(there)
        while not has_space(back, 1):
            continue
        push_order(back, target, 0)


@kernel
def _send_ticks(ring, record, count):
    for at in range(count):
        record[0] = at
        while not has_space(ring, 1):
            pause()
        push_tick(ring, record, 0)


@kernel
def _receive_ticks(ring, target, count, stamps):
    """Number of records that were not the ones expected."""
    wrong = 0
    for at in range(count):
        while not peek_tick(ring, target, 0):
            continue
        if target[0] != at:
            wrong += 1
        consume(ring)
        if at == 0:
            stamps[0] = rdtsc()
    stamps[1] = rdtsc()
    return wrong


@kernel
def _send_orders(ring, record, count):
    for at in range(count):
        record[0] = at
        while not has_space(ring, 1):
            pause()
        push_order(ring, record, 0)


@kernel
def _receive_orders(ring, target, count, stamps):
    wrong = 0
    for at in range(count):
        while not peek_order(ring, target, 0):
            continue
        if target[0] != at:
            wrong += 1
        consume(ring)
        if at == 0:
            stamps[0] = rdtsc()
    stamps[1] = rdtsc()
    return wrong


_PING = {TICK_WORDS: _ping_ticks, ORDER_WORDS: _ping_orders}
_PONG = {TICK_WORDS: _pong_ticks, ORDER_WORDS: _pong_orders}
_SEND = {TICK_WORDS: _send_ticks, ORDER_WORDS: _send_orders}
_RECEIVE = {TICK_WORDS: _receive_ticks, ORDER_WORDS: _receive_orders}


def compile_ring(width: int) -> None:
    """Every kernel once, so that the children find it compiled."""
    there, back = private_rings(2, 4, width)
    record, target, stamps = np.zeros(width, np.int64), np.zeros(width, np.int64), np.zeros(2, np.int64)
    _PING[width](there, back, record, target, stamps[:0])
    _PONG[width](there, back, target, 0)
    _SEND[width](there, record, 1)
    _RECEIVE[width](there, target, 1, stamps)


def hop(width: int, n: int, ghz: float, cores: tuple[int, int], taken: Samples) -> None:
    """One repeat: half round trips of `n` records of `width` words."""
    length = ring_words(TICK_RING_CAPACITY, width)
    shared = scratch(2 * length + n)
    there = ring_create(shared.words[:length], TICK_RING_CAPACITY, width)
    back = ring_create(shared.words[length : 2 * length], TICK_RING_CAPACITY, width)
    stamps = shared.words[2 * length :]
    record, target = np.zeros(width, np.int64), np.zeros(width, np.int64)
    run_pinned(
        [lambda: _PING[width](there, back, record, target, stamps), lambda: _PONG[width](there, back, target, n)],
        list(cores),
    )
    taken.add_durations(half_round_trips(stamps, ghz))
    shared.close()


def rate(width: int, n: int, ghz: float, cores: tuple[int, int], taken: Samples) -> None:
    """One repeat: `n` records of `width` words one way."""
    length = ring_words(TICK_RING_CAPACITY, width)
    shared = scratch(length + 16)
    ring = ring_create(shared.words[:length], TICK_RING_CAPACITY, width)
    stamps = shared.words[length:]
    record, target = np.zeros(width, np.int64), np.zeros(width, np.int64)

    def receive() -> None:
        if _RECEIVE[width](ring, target, n, stamps):
            raise AssertionError("the ring lost or changed a record")

    run_pinned([lambda: _SEND[width](ring, record, n), receive], list(cores))
    taken.add_rate(n - 1, int(stamps[1] - stamps[0]) / ghz * 1e-9)
    shared.close()


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases."""
    hops, messages = (10_000, 200_000) if quick else (100_000, 4_000_000)
    made = []
    for width in WIDTHS:
        compile_ring(width)
        size = width * 8
        hops_once = functools.partial(hop, width, hops, ghz, cores)
        rate_once = functools.partial(rate, width, messages, ghz, cores)
        made.append(Case(f"hop_{size}", "ns", hops_once, limit="line_2", cpp=f"cpp_hop_{size}"))
        made.append(Case(f"rate_{size}", "messages/s", rate_once, limit="line_2", cpp=f"cpp_rate_{size}"))
    return made


def twins(quick: bool, ghz: float, cores: tuple[int, int], twin: Twin) -> list[Case]:
    """The same cases by the C++ program, as limits."""
    hops, messages = (10_000, 200_000) if quick else (100_000, 4_000_000)

    def twin_hop(width: int, taken: Samples) -> None:
        taken.add_durations(half_round_trips(twin.run("hop", width, hops, *cores), ghz))

    def twin_rate(width: int, taken: Samples) -> None:
        first, last = twin.run("rate", width, messages, *cores)
        taken.add_rate(messages - 1, int(last - first) / ghz * 1e-9)

    made = []
    for width in WIDTHS:
        made.append(Case(f"cpp_hop_{width * 8}", "ns", functools.partial(twin_hop, width)))
        made.append(Case(f"cpp_rate_{width * 8}", "messages/s", functools.partial(twin_rate, width)))
    return made
