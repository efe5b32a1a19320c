"""Suite `shards`: steps a second with one shard process per core, from one to all cores this process may use.

Each process runs the compiled step over a market of its own, in batches, with nothing else. They start together and
each counts for itself; the rate is their sum. The limit is one process alone, so the ratio is the gain of scaling.
"""

# mypy: allow-untyped-defs

import functools
import os
import time

import numpy as np

from bot4.atomics import load_acquire, store_release
from bot4.cli.measure.harness import Case, Samples, run_pinned, scratch
from bot4.cli.measure.market import Market, market, shard_of
from bot4.engine.shard_loop import step_batch
from bot4.shm.layout import LINE

_INSTRUMENTS = 32
_BATCH = 1_000


def _steps(prepared: Market, processes: int, cores: list[int], taken: Samples) -> None:
    area = scratch((processes + 1) * LINE)
    words = area.words
    batches = (len(prepared.ticks) - prepared.warm) // _BATCH
    tables = (prepared.instruments, prepared.limits, prepared.session, prepared.ticks)

    def work(number: int) -> None:
        shard = shard_of(prepared)
        step_batch(shard, *tables, 0, prepared.warm)
        store_release(words, number * LINE, 1)
        while sum(load_acquire(words, at * LINE) != 0 for at in range(processes)) < processes:
            continue  # all begin together
        begun = time.perf_counter_ns()
        for batch in range(batches):
            step_batch(shard, *tables, prepared.warm + batch * _BATCH, _BATCH)
        words[number * LINE + 1] = time.perf_counter_ns() - begun

    run_pinned([functools.partial(work, number) for number in range(processes)], cores[:processes])
    spans = np.array([words[number * LINE + 1] for number in range(processes)])
    steps = batches * _BATCH
    taken.add_rate(steps, steps / float((steps / (spans * 1e-9)).sum()))
    area.close()


def _prepared(quick: bool) -> Market:
    prepared = market(_INSTRUMENTS, 50_000 if quick else 500_000, 0.3, False)
    step_batch(shard_of(prepared), prepared.instruments, prepared.limits, prepared.session, prepared.ticks, 0, 1)
    return prepared


def limits(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """One process alone."""
    return [Case("shard_alone", "steps/s", functools.partial(_steps, _prepared(quick), 1, [cores[1]]))]


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases: 1, 2, 4, .. processes and all cores."""
    prepared = _prepared(quick)
    available = sorted(os.sched_getaffinity(0))
    counts = sorted({2**power for power in range(16) if 2**power <= len(available)} | {len(available)})
    return [
        Case(f"shards_{n}", "steps/s", functools.partial(_steps, prepared, n, available), limit="shard_alone")
        for n in counts
    ]
