"""Two processes that sleep until the other has news, again and again. Run as a program; prints what it saw as JSON.

Each round one side publishes a number, wakes the other and waits for its answer. Both the pause before an answer and
the patience before a sleep are random, nothing to a few microseconds, so that the news falls before, into and after the
other's way to sleep. A lost wake-up shows as a sleep that only its time-out ends.
"""

import argparse
import json
import os

import numpy as np

from bot4.adapters.system.process import die_with_parent
from bot4.atomics import load_acquire, pause, store_release
from bot4.jit import kernel
from bot4.shm.layout import LINE
from bot4.shm.segment import create, segment_name
from bot4.shm.waiting import IDLE_SPINS, WAITER_SLEEPS, WAITER_TIME_OUTS, idle_words, rest, rise, wake

NEWS = 4 * LINE  # + side * LINE: the number last published
TIME_OUT_NS = 10_000_000_000  # no busy machine keeps a process from its core so long


@kernel
def play(words, side, rounds, spins, idle, peers, seed):
    """One side: side 0 begins. Every number is answered by the same number."""
    random = seed
    for number in range(1, rounds + 1):
        if side == 0:
            store_release(words, NEWS, number)
            wake(words, peers)
        random = (random * 6364136223846793005 + 1442695040888963407) & 0x7FFFFFFFFFFFFFFF
        idle[IDLE_SPINS] = (random >> 40) % (spins + 1)
        empty = np.int64(0)
        while load_acquire(words, NEWS + (1 - side) * LINE) < number:
            empty = max(0, rest(words, side, idle, empty))
            if words[side * LINE + WAITER_TIME_OUTS] > 0:
                return  # one lost wake-up is enough to know
        rise(words, side, idle, empty)
        for _ in range((random >> 20) & 255):
            pause()
        if side == 1:
            store_release(words, NEWS + LINE, number)
            wake(words, peers)


def main() -> None:
    """Fork the second side, play the first."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100_000)
    parser.add_argument("--spins", type=int, default=0, help="the most")
    options = parser.parse_args()
    segment = create(segment_name(f"wait{os.getpid()}", "words"), 8 * LINE)
    segment.unlink()
    words = segment.words
    idle = idle_words(0, 0, TIME_OUT_NS, 1)
    play(words, 0, 0, 0, idle, np.array([1]), 1)
    parent = os.getpid()
    pid = os.fork()
    side = 1 if pid == 0 else 0
    if side:
        die_with_parent(parent)
    play(words, side, options.rounds, options.spins, idle, np.array([1 - side]), 77 + side)
    if side:
        os._exit(0)
    os.waitpid(pid, 0)
    rows = [words[row * LINE : row * LINE + 3] for row in range(2)]
    print(
        json.dumps(
            {
                "answered": int(words[NEWS + LINE]),
                "sleeps": int(sum(row[WAITER_SLEEPS] for row in rows)),
                "time_outs": int(sum(row[WAITER_TIME_OUTS] for row in rows)),
            }
        )
    )


if __name__ == "__main__":
    main()
