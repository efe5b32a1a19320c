"""Suite `tick_to_execution`: from the feed's stamp on a tick to execution, which checks, journals and sends the order.

`spin_*`: two processes, one per core. One runs the product's `shard_run`; the other runs `execution_step` with a real
journal and stands for feed and venue: it pushes ticks and ends each request (expired, so that the instrument decides
again). `block`: feed, shard and execution as three processes on two cores, each asleep until it is woken, 5,000 ticks
a second.

    *_seen      tick's stamp to the intent read in execution (its own histogram: 6 % buckets, upper edge)
    *_inside    `order_inside`: intent read, risk, journal, to the request's bytes written for the venue
    *_request   tick's stamp to the request read by the venue's side
    spin_open_* ticks at a fixed rate whatever happens, measured from the time when each was due
"""

# mypy: allow-untyped-defs

import functools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bot4.atomics import load_acquire, rdtsc, store_release
from bot4.cli.measure.harness import Case, Samples, run_pinned, scratch
from bot4.cli.measure.loop import (
    OPEN_INSTRUMENTS,
    PATIENCE_CYCLES,
    QUIET_CYCLES,
    completed,
    due_time,
    durations,
    hands,
    send_tick,
)
from bot4.cli.measure.market import Market, market, shard_of
from bot4.engine.execution import ExecutionAgent
from bot4.engine.execution_step import execution_step
from bot4.engine.shard_loop import ShardMemory, shard_run, step_batch
from bot4.jit import kernel
from bot4.model.enums import REPORT_EXPIRED, STATUS_WHOLE, TICK_STATUS
from bot4.model.errors import Bot4Error
from bot4.model.records import TICK, words
from bot4.shm.layout import CLOCK_FEED, CONTROL_STOP
from bot4.shm.spsc_ring import consume, has_space, peek_order, push_order, push_tick
from bot4.shm.waiting import NEVER, idle_words, wake
from bot4.shm.wires import STAGE_ORDER_INSIDE, STAGE_TICK_TO_EXECUTION, Wires, private_wires
from bot4.shm.wiring import create_wires

_ITEMS = 64
_POLLS = 100
_RATE = 5_000  # ticks a second in the cases with a timetable
_SHARD, _EXECUTION = np.array([0]), np.array([1])  # rows of those who sleep
_TIME_OUT_NS = 10_000_000
_RECORDS_PER_ORDER = 8  # of the journal


@kernel
def _serve(shard, wires, instruments, limits, session, idle, peers):
    """The shard's process."""
    while load_acquire(wires.control, CONTROL_STOP) == 0:
        shard_run(shard, wires, instruments, limits, session, 0, _ITEMS, idle, peers)


@kernel
def _send(wires, tick_words, number, tick, hand, due):
    """A tick to the shard, and as a quote to execution."""
    store_release(wires.clocks, CLOCK_FEED, tick_words[number * 8])
    send_tick(wires.ticks[0], tick_words, number, tick, hand, due)
    push_tick(wires.quotes, hand, 0)


@kernel
def end_request(wires, request, request_words, event, event_words, seq):
    """The venue's side: take one request and end it. Returns its tick's stamp, 0 if there is none."""
    if not peek_order(wires.requests, request_words, 0):
        return np.int64(0)
    stamp = np.int64(request[0]["tsc"])
    for word in range(16):
        event_words[word] = 0
    for name_word in range(3):
        event_words[name_word] = request_words[name_word]
    answer = event[0]
    answer["order_row"] = request[0]["order_row"]
    answer["instrument"] = request[0]["instrument"]
    answer["side"] = request[0]["side"]
    answer["kind"] = REPORT_EXPIRED
    answer["event_seq"] = seq
    consume(wires.requests)
    push_order(wires.events, event_words, 0)
    return stamp


@kernel
def _drive(x, wires, tables, tick_words, first, gap, tick, hand, request, request_words, event, event_words, seen):
    """Feed, execution and venue in one loop. Returns how many requests were read."""
    instruments, limits, session = tables
    sent = 0
    read = 0
    begun = rdtsc()
    last = begun
    while read < seen.shape[0]:
        execution_step(x, wires, instruments, limits, session, _ITEMS)
        stamp = end_request(wires, request, request_words, event, event_words, read + 1)
        if stamp != 0:
            seen[read] = rdtsc() - stamp
            read += 1
            last = rdtsc()
            execution_step(x, wires, instruments, limits, session, _ITEMS)  # the shard is told before the next tick
        due = sent < seen.shape[0] and (sent == read if gap == 0 else rdtsc() >= begun + gap * sent)
        if due and has_space(wires.ticks[0], 1) and has_space(wires.quotes, 1):
            _send(wires, tick_words, first + sent, tick, hand, due_time(begun, gap, sent))
            sent += 1
            last = rdtsc()
        elif rdtsc() - last > (PATIENCE_CYCLES if gap == 0 or sent < seen.shape[0] else QUIET_CYCLES):
            break
    # SYNC POINT: pairs with load_acquire in _serve.
    store_release(wires.control, CONTROL_STOP, 1)
    return read


@kernel
def _send_and_wake(wires, tick_words, number, tick, hand, both):
    """The feed of the blocking case: one tick, stamped now."""
    if has_space(wires.ticks[0], 1) and has_space(wires.quotes, 1):
        _send(wires, tick_words, number, tick, hand, rdtsc())
        wake(wires.waiters, both)
        return 1
    return 0


@kernel
def _end_and_wake(wires, request, request_words, event, event_words, seq, execution):
    """The venue of the blocking case."""
    stamp = end_request(wires, request, request_words, event, event_words, seq)
    if stamp != 0:
        wake(wires.waiters, execution)
    return stamp


def _open_books(wires: Wires, n_instruments: int, ts_ns: int) -> None:
    """Tell execution that every book is whole."""
    status = np.zeros(1, TICK)
    status["kind"], status["w0"], status["ts_recv_ns"] = TICK_STATUS, STATUS_WHOLE, ts_ns
    for instrument in range(n_instruments):
        status["instrument"] = instrument
        push_tick(wires.quotes, words(status), 0)


class _Loop:
    """One run a repeat, from which the three cases of a kind take their samples."""

    def __init__(self, prepared: Market, n: int, rate: int, ghz: float, cores: tuple[int, int]) -> None:
        self.prepared, self.n, self.ghz, self.cores = prepared, n, ghz, cores
        self.gap = int(ghz * 1e9 / rate) if rate else 0
        self.samples: dict[str, np.ndarray] = {}

    def take(self, what: str, taken: Samples) -> None:
        """The samples `what` of this repeat's run; the first to ask runs it."""
        if what not in self.samples:
            self._run()
        found = self.samples.pop(what)
        taken.add_durations(found, warm_up_ratio=0.0 if what != "request" else 0.1)

    def _run(self) -> None:
        prepared = self.prepared
        shard = shard_of(prepared)
        tables = (prepared.instruments, prepared.limits, prepared.session)
        step_batch(shard, *tables, prepared.ticks, 0, prepared.warm)
        shared = create_wires(f"bench{os.getpid()}", 1, len(prepared.instruments))
        shared.unlink()
        area = scratch(self.n + 1)
        with tempfile.TemporaryDirectory(prefix="bot4-bench-") as folder:
            _open_books(shared.wires, len(prepared.instruments), int(prepared.ticks["ts_recv_ns"][0]))
            agent = ExecutionAgent(shared.wires, *tables, Path(folder) / "journal", _RECORDS_PER_ORDER * self.n + 4_096)
            while not agent.started or agent.do_work():
                agent.do_work()
            works = self._works(agent, shard, shared.wires, tables, area.words[: self.n], area.words[self.n :])
            run_pinned(works, [self.cores[at % 2] for at in range(len(works))])
            agent.close()
        samples = {"request": area.words[: area.words[self.n]] / self.ghz}
        for what, stage in (("seen", STAGE_TICK_TO_EXECUTION), ("inside", STAGE_ORDER_INSIDE)):
            samples[what] = durations(shared.wires.histograms[stage], self.ghz)
        if self.gap == 0 and len(samples["request"]) != self.n:
            raise Bot4Error(f"execution of the bench sent {len(samples['request'])} orders for {self.n} ticks")
        self.samples = {what: completed(found, self.n) for what, found in samples.items()}
        area.close()
        shared.close()

    def _works(
        self, agent: ExecutionAgent, shard: ShardMemory, wires: Wires, tables: Any, seen: np.ndarray, count: np.ndarray
    ) -> list[Callable[[], None]]:
        prepared = self.prepared
        hand = hands()
        idle = idle_words(NEVER, 0, 1, _POLLS)
        nobody = np.zeros(0, np.int64)

        def drive() -> None:
            arguments = (words(prepared.ticks), prepared.warm, self.gap, *hand)
            count[0] = _drive(agent.memory, wires, tables, *arguments, seen)

        return [drive, lambda: _serve(shard, wires, *tables, idle, nobody)]


class _BlockingLoop(_Loop):
    """Three processes that sleep: the feed and the venue in the first, the shard in the second, execution beside it."""

    def _works(
        self, agent: ExecutionAgent, shard: ShardMemory, wires: Wires, tables: Any, seen: np.ndarray, count: np.ndarray
    ) -> list[Callable[[], None]]:
        prepared = self.prepared
        tick, hand, request, request_words, event, event_words = hands()
        idle = idle_words(0, 0, _TIME_OUT_NS, _POLLS)

        def drive() -> None:
            read = 0
            both = np.array([0, 1])
            for number in range(self.n):
                arguments = (words(prepared.ticks), prepared.warm + number, tick, hand, both)
                if not _send_and_wake(wires, *arguments):
                    raise AssertionError("a ring is full")
                time.sleep(1 / _RATE)
                while stamp := _end_and_wake(wires, request, request_words, event, event_words, read + 1, _EXECUTION):
                    seen[read] = rdtsc() - stamp
                    read += 1
            count[0] = read
            wires.control[CONTROL_STOP] = 1

        def execute() -> None:
            while not wires.control[CONTROL_STOP]:
                agent.run(idle, _SHARD)

        return [drive, lambda: _serve(shard, wires, *tables, idle, _EXECUTION), execute]


def _compile(prepared: Market) -> None:
    """All kernels once in this process, with nothing to do."""
    shard = shard_of(prepared)
    wires = private_wires(1, len(prepared.instruments))
    tables = (prepared.instruments, prepared.limits, prepared.session)
    nobody, idle = np.zeros(0, np.int64), idle_words(0, 0, 1, 2)
    hand = hands()
    with tempfile.TemporaryDirectory(prefix="bot4-bench-") as folder:
        agent = ExecutionAgent(wires, *tables, Path(folder) / "journal", 4_096)
        while not agent.started or agent.do_work():
            agent.do_work()
        agent.run(idle, nobody)
        _drive(agent.memory, wires, tables, words(prepared.ticks), 0, 0, *hand, np.zeros(0, np.int64))
        _serve(shard, wires, *tables, idle, nobody)
        _send_and_wake(wires, words(prepared.ticks), prepared.warm, *hand[:2], nobody)
        _end_and_wake(wires, *hand[2:], 1, nobody)
        agent.close()


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases."""
    n = 2_000 if quick else 20_000
    prepared = market(OPEN_INSTRUMENTS, n, 0.0, True, in_turn=True)
    _compile(prepared)
    loops = {"spin": _Loop(prepared, n, 0, ghz, cores)}
    timed = n // 4
    loops["spin_open"] = _Loop(prepared, timed, _RATE, ghz, cores)
    loops["block"] = _BlockingLoop(prepared, timed, _RATE, ghz, cores)
    return [
        Case(f"{name}_{what}", "ns", functools.partial(loop.take, what), limit="line_2")
        for name, loop in loops.items()
        for what in ("seen", "inside", "request")
    ]
