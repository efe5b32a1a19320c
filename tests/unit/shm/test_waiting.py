"""Waiting and waking against the twin: the same flag, the same sleeps, whatever the sequence of work and quiet."""

import numpy as np
import pytest
from reference.shm.waiting import Sleeper
from reference.shm.waiting import wake as ref_wake

from bot4.jit import kernel
from bot4.shm.layout import LINE
from bot4.shm.waiting import SLEPT, idle_words, rest_once, rise, wake_peers

ROW, ROWS = 2, 4


@kernel
def rise_once(waiters, row, idle, empty):
    return rise(waiters, row, idle, empty)


def line(waiters):
    return [int(word) for word in waiters[ROW * LINE : ROW * LINE + 3]]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("spins", "yields"), [(0, 0), (3, 0), (0, 2), (4, 3)])
def test_every_poll_does_what_the_twin_does(seed, spins, yields):
    rng = np.random.default_rng(seed)
    waiters, idle, twin = np.zeros(ROWS * LINE, np.int64), idle_words(spins, yields, 1_000, 1), Sleeper(spins, yields)
    empty = np.int64(0)
    for _ in range(300):
        if rng.random() < 0.05:
            empty = rise_once(waiters, ROW, idle, empty)
            twin.found_work()
        else:
            woken = bool(twin.flag and rng.random() < 0.5)
            if woken:
                wake_peers(waiters, np.array([ROW]))
            done = twin.found_nothing(woken)
            empty = rest_once(waiters, ROW, idle, empty)
            if woken and done != "sleep":
                twin.flag = False
            assert (empty == SLEPT) == (done == "sleep")
            empty = max(0, empty)
        assert line(waiters) == [int(twin.flag), twin.sleeps, twin.time_outs]
    assert twin.sleeps > 3


def test_only_peers_that_show_a_flag_are_woken():
    rng = np.random.default_rng(1)
    for _ in range(50):
        up = rng.random(ROWS) < 0.5
        peers = np.flatnonzero(rng.random(ROWS) < 0.5)
        waiters, flags = np.zeros(ROWS * LINE, np.int64), dict(enumerate(up))
        waiters[::LINE] = up
        wake_peers(waiters, peers)
        ref_wake(flags, peers)
        assert [bool(word) for word in waiters[::LINE]] == [bool(flags[row]) for row in range(ROWS)]
