"""Waiting without work, and waking who waits: spin, then offer the core, then sleep until somebody has news.

Each agent has a line of `wires.waiters`. Who finds nothing to do often enough sets its flag, looks once more, and then
sleeps on the flag; who has published something looks at the flags of those it concerns, and wakes whose flag is set.
Either the sleeper's last look sees the news or the publisher sees the flag: no wake-up is lost, whatever the
interleaving. Nobody who spins ever calls the system.

Source: the Dekker handshake, as in the eventcount. Budget: a fence (8 ns) and a load per peer and batch. Twin:
tests/reference/shm/waiting.py
"""

import numpy as np

from bot4.atomics import (
    fence,
    futex_wait,
    futex_wake,
    load_acquire,
    pause,
    sched_yield,
    store_release,
    store_sequential,
)
from bot4.jit import inlined, kernel
from bot4.shm.layout import LINE

# words of a waiter's line
WAITER_FLAG = 0  # 1: sleeps or is about to; the futex
WAITER_SLEEPS = 1
WAITER_TIME_OUTS = 2  # sleeps that nobody ended
WAITER_ORDER = 3  # of a controlled worker: which way to wait, an index of WAYS; written by whoever controls it

# words of an idle strategy
IDLE_SPINS = 0  # empty polls before the core is offered to others
IDLE_YIELDS = 1  # offers before the first sleep
IDLE_TIME_OUT_NS = 2  # of a sleep: heartbeat, stop word and kill word are looked at so often
IDLE_POLLS = 3  # polls of one call
IDLE_WORDS = 4

WAYS = ("spin", "backoff", "block", "hold")
SPIN, BACKOFF, BLOCK, HOLD = range(4)
NEVER = 1 << 62
SLEPT = -1


def idle_words(spins: int, yields: int, time_out_ns: int, polls: int) -> np.ndarray:
    """An idle strategy as a kernel takes it: int64[IDLE_WORDS]."""
    words = np.zeros(IDLE_WORDS, np.int64)
    words[IDLE_SPINS], words[IDLE_YIELDS] = spins, yields
    words[IDLE_TIME_OUT_NS], words[IDLE_POLLS] = time_out_ns, polls
    return words


ONE_POLL = idle_words(1, 0, 0, 1)  # a single look, without waiting
NOBODY = np.zeros(0, np.int64)  # to wake


@inlined
def wake(waiters, peers):
    """Wake those of `peers` (int64[n], rows) that sleep; called after what they wait for has been published."""
    # SYNC POINT: pairs with store_sequential in rest: the news is visible before the flags are read.
    fence()
    for at in range(peers.shape[0]):
        flag = peers[at] * LINE + WAITER_FLAG
        if load_acquire(waiters, flag) != 0:
            store_release(waiters, flag, 0)
            futex_wake(waiters, flag)


@inlined
def rest(waiters, row, idle, empty):
    """One more poll found nothing: wait a little, in the way that `idle` says.

    Parameters
    ----------
    waiters : int64[rows * LINE]; row : int64, the caller's
    idle : int64[IDLE_WORDS]
    empty : int64, empty polls in a row before this one

    Returns
    -------
    int64, empty polls in a row with this one; SLEPT after a sleep
    """
    if empty < idle[IDLE_SPINS]:
        pause()
        return empty + 1
    patience = idle[IDLE_SPINS] + idle[IDLE_YIELDS]
    if empty < patience:
        sched_yield()
        return empty + 1
    flag = row * LINE + WAITER_FLAG
    if empty == patience:
        # SYNC POINT: pairs with fence in wake: the flag is visible before the caller polls once more.
        store_sequential(waiters, flag, 1)
        return empty + 1
    futex_wait(waiters, flag, 1, idle[IDLE_TIME_OUT_NS])
    waiters[row * LINE + WAITER_SLEEPS] += 1
    if load_acquire(waiters, flag) != 0:
        waiters[row * LINE + WAITER_TIME_OUTS] += 1
    store_release(waiters, flag, 0)
    return SLEPT


@inlined
def rise(waiters, row, idle, empty):
    """There was something to do: take the flag back if it had been set. Returns 0 empty polls."""
    if empty > idle[IDLE_SPINS] + idle[IDLE_YIELDS]:
        store_release(waiters, row * LINE + WAITER_FLAG, 0)
    return np.int64(0)


@kernel
def wake_peers(waiters, peers):
    """`wake` for a loop in Python."""
    wake(waiters, peers)


@kernel
def rest_once(waiters, row, idle, empty):
    """`rest` for a loop in Python."""
    return rest(waiters, row, idle, empty)
