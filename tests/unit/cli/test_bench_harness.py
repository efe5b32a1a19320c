"""The bench's arithmetic on samples that are known, and its pinned processes."""

import os
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from bot4.cli.measure.harness import Case, Samples, against, measure, run_pinned, scratch, spread, times_as_fast
from bot4.model.errors import Bot4Error


def durations(*medians: float) -> Samples:
    """One repeat for each median, samples from half of it to one and a half times."""
    taken = Samples("ns")
    for median in medians:
        taken.add_durations(np.linspace(0.5, 1.5, 101) * median, 0.0)
    return taken


def rates(*per_s: float) -> Samples:
    taken = Samples("messages/s")
    for rate in per_s:
        taken.add_rate(int(rate), 1.0)
    return taken


def test_percentiles_are_medians_of_the_repeats_and_the_maximum_is_the_worst():
    figures = durations(10.0, 1_000.0, 12.0).summary()
    assert figures["p50"] == 12.0 and figures["max"] == 1_500.0 and figures["n"] == 303


def test_the_first_samples_do_not_count():
    taken = Samples("ns")
    taken.add_durations(np.array([1e9] + [1.0] * 9))
    assert taken.n == 9 and taken.summary()["max"] == 1.0


def test_ratios_to_the_limit():
    limit = durations(10.0).summary()
    assert against(durations(25.0).summary(), limit) == 2.5
    assert against(rates(5e7).summary(), limit) == 0.5  # one message in 20 ns where the limit takes 10
    assert against(rates(100).summary(), rates(1_000_000).summary()) == 0.0001


def test_the_range_pairs_each_repeat_with_the_limits_repeat_beside_it():
    slow_minute = durations(10.0, 40.0, 10.0)
    assert spread(durations(20.0, 80.0, 30.0), slow_minute) == [2.0, 3.0]
    assert spread(rates(5e7, 1e7, 5e7), slow_minute) == [0.4, 0.5]
    assert spread(rates(30, 10), rates(10, 10)) == [1.0, 3.0]


def test_how_many_times_as_fast():
    assert times_as_fast(durations(100.0).summary(), durations(10.0).summary()) == 10.0
    assert times_as_fast(rates(100).summary(), rates(1_000).summary()) == 10.0


def test_cases_of_one_name_keep_their_samples_apart_and_run_in_turn():
    order = []

    def case(rate: float) -> Case:
        def once(taken: Samples) -> None:
            order.append(rate)
            taken.add_rate(int(rate), 1.0)

        return Case("same", "messages/s", once)

    one, other = case(10), case(20)
    taken = measure([one, other], 3)
    assert taken[one].rates == [10.0] * 3 and taken[other].rates == [20.0] * 3
    assert order == [10, 20] * 3


def test_pinned_processes_run_where_they_should():
    core = min(os.sched_getaffinity(0))
    shared = scratch(8)

    def work() -> None:
        shared.words[0] = min(os.sched_getaffinity(0)) + 1

    run_pinned([work], [core])
    assert shared.words[0] == core + 1
    shared.close()


def test_a_process_that_fails_ends_the_others():
    core = min(os.sched_getaffinity(0))
    before = set(psutil.Process().children())

    def fail() -> None:
        raise AssertionError

    with pytest.raises(Bot4Error, match="ended with status"):
        run_pinned([lambda: time.sleep(60), fail], [core, core])
    with pytest.raises(Bot4Error, match="too busy"):
        run_pinned([lambda: time.sleep(60)], [core], timeout_s=0.05)
    assert set(psutil.Process().children()) <= before


def test_pinned_processes_do_not_outlive_a_bench_that_is_killed():
    program = (
        "import os, sys, time\n"
        "from bot4.cli.measure.harness import run_pinned\n"
        "def work():\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(60)\n"
        "run_pinned([work], [min(os.sched_getaffinity(0))])\n"
    )
    bench = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(bench.stdout.readline()))
    bench.kill()
    bench.wait()
    bench.stdout.close()
    _, alive = psutil.wait_procs([child], timeout=10)
    for left in alive:
        left.kill()
    assert not alive
