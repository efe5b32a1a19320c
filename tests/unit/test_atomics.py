"""Ordered loads and stores, the counter and the ways to wait: compiled, and as plain functions with the JIT off."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from bot4.atomics import load_acquire, pause, rdtsc, sched_yield, store_release
from bot4.jit import JIT, kernel

FALLBACK = """
import numpy as np
from bot4.jit import JIT
from bot4.atomics import load_acquire, pause, rdtsc, sched_yield, store_release
assert not JIT
words = np.zeros(4, np.int64)
store_release(words, 3, -(2**63))
assert load_acquire(words, 3) == -(2**63) and isinstance(load_acquire(words, 3), int)
first = rdtsc(); second = rdtsc()
assert 0 < first <= second
assert pause() is None and sched_yield() is None
"""


@kernel
def store_and_load(words, index, value):
    store_release(words, index, value)
    return load_acquire(words, index)


@kernel
def spin_until(words, value, limit):
    """Polls of word 0 until it is `value`: a load that is hoisted out of the loop never sees it."""
    for polls in range(limit):
        if load_acquire(words, 0) == value:
            return polls
        pause()
        if polls % 1_000 == 999:
            sched_yield()
    return -1


@kernel
def stamps(out):
    for at in range(out.shape[0]):
        out[at] = rdtsc()


@pytest.mark.parametrize("value", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_a_stored_word_is_loaded(value):
    words = np.full(9, 77, np.int64)
    assert store_and_load(words, 4, value) == value
    assert words[4] == value
    assert (np.delete(words, 4) == 77).all()


def test_a_spinning_reader_sees_another_threads_store():
    words = np.zeros(16, np.int64)
    started = threading.Event()
    answer = []

    def read():
        started.set()
        answer.append(spin_until(words, 5, 50_000_000))

    spin_until(words, 0, 1)  # compiled before the race
    reader = threading.Thread(target=read)
    reader.start()
    started.wait()
    store_release(words, 0, 5)
    reader.join()
    assert answer[0] >= 0


def test_the_counter_never_runs_backwards():
    out = np.zeros(10_000, np.int64)
    stamps(out)
    assert out[0] > 0
    assert (np.diff(out) >= 0).all()
    assert out[-1] > out[0]


def test_the_fallbacks_do_the_same():
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FALLBACK], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_waiting_returns():
    assert pause() is None or JIT
    assert sched_yield() is None or JIT
