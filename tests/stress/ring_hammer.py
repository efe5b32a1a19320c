"""Two processes on one ring, one of them killed again and again. Run as a program; prints what it saw as JSON.

Every payload word is derived from the record's index, so the reader can tell each forbidden outcome:

    lost        an index is skipped          reordered   an index comes before its predecessor, or long after
    torn        a word of another record     duplicated  an index comes twice, save the one record that a killed
                                                         reader had in hand

A process of its own because it forks: the children share the compiled kernels and are born in milliseconds.
"""

import argparse
import json
import os
import random
import signal
import time

import numpy as np

from bot4.adapters.system.process import die_with_parent
from bot4.atomics import load_acquire, pause, sched_yield, store_release
from bot4.jit import kernel
from bot4.model.enums import INT64_MAX
from bot4.model.records import TICK_WORDS
from bot4.shm.layout import RING_HEAD, ring_words
from bot4.shm.segment import create, segment_name
from bot4.shm.spsc_ring import (
    consume,
    has_space,
    peek_order,
    peek_tick,
    private_rings,
    push_order,
    push_tick,
    ring_create,
    ring_recover,
)

# words of the result area, one line each; the consumer alone writes them
HANDLED = 0  # records taken care of: the index that comes next
LOST = 16
TORN = 32
REORDERED = 48
REPEATED = 64
# words of the driver and of the producer
STOP = 80  # 1: the producer publishes no more
FINAL = 96  # how many it has published in all; INT64_MAX until it has stopped
RESULT_WORDS = 112
FACTOR = 1_000_003  # payload word = index * FACTOR + word: differs in every word and every record


@kernel
def wait_for_space(ring):
    """Spin, then give the core away: the two may share one."""
    polls = 0
    while not has_space(ring, 1):
        polls += 1
        pause()
        if polls & 63 == 0:
            sched_yield()


@kernel
def produce_ticks(ring, source, result, end):
    """Push records from the ring's head up to index `end`: what comes next is read from the ring alone."""
    for index in range(ring[RING_HEAD], end):
        if load_acquire(result, STOP) != 0:
            break
        wait_for_space(ring)
        for word in range(8):
            source[word] = index * FACTOR + word
        push_tick(ring, source, 0)
    store_release(result, FINAL, ring[RING_HEAD])


@kernel
def produce_orders(ring, source, result, end):
    """The same in records of 16 words."""
    for index in range(ring[RING_HEAD], end):
        if load_acquire(result, STOP) != 0:
            break
        wait_for_space(ring)
        for word in range(16):
            source[word] = index * FACTOR + word
        push_order(ring, source, 0)
    store_release(result, FINAL, ring[RING_HEAD])


@kernel
def check_record(target, width, result, fresh):
    """Classify the record in hand and count it."""
    handled = result[HANDLED]
    index = target[width - 1] - 1
    for word in range(width - 1):
        if target[word] != index * FACTOR + word:
            result[TORN] += 1
            return
    if index == handled:
        store_release(result, HANDLED, handled + 1)
    elif fresh and index == handled - 1:
        result[REPEATED] += 1  # killed between handling it and taking it
    elif index > handled:
        result[LOST] += 1
        store_release(result, HANDLED, index + 1)
    else:
        result[REORDERED] += 1


@kernel
def consume_ticks(ring, target, result):
    """Take records until all that were ever published are handled."""
    fresh = True
    polls = 0
    while result[HANDLED] < load_acquire(result, FINAL):
        if peek_tick(ring, target, 0):
            check_record(target, 8, result, fresh)
            consume(ring)
            fresh = False
            continue
        polls += 1
        pause()
        if polls & 63 == 0:
            sched_yield()


@kernel
def consume_orders(ring, target, result):
    """The same in records of 16 words."""
    fresh = True
    polls = 0
    while result[HANDLED] < load_acquire(result, FINAL):
        if peek_order(ring, target, 0):
            check_record(target, 16, result, fresh)
            consume(ring)
            fresh = False
            continue
        polls += 1
        pause()
        if polls & 63 == 0:
            sched_yield()


def producer(ring: np.ndarray, result: np.ndarray, width: int, end: int) -> None:
    """One life of the producer."""
    ring_recover(ring)
    (produce_ticks if width == TICK_WORDS else produce_orders)(ring, np.zeros(width, np.int64), result, end)


def consumer(ring: np.ndarray, result: np.ndarray, width: int, _: int) -> None:
    """One life of the consumer."""
    (consume_ticks if width == TICK_WORDS else consume_orders)(ring, np.zeros(width, np.int64), result)


def pushed(ring: np.ndarray, _: np.ndarray) -> int:
    """How far the producers have come."""
    return int(load_acquire(ring, RING_HEAD))


def taken(_: np.ndarray, result: np.ndarray) -> int:
    """How far the consumers have come."""
    return int(load_acquire(result, HANDLED))


def born(work, core: int, *arguments) -> int:
    """Fork one life, pinned; it ends at the latest with this process."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        die_with_parent(parent)
        os.sched_setaffinity(0, {core})
        work(*arguments)
    except BaseException:  # a child never returns into the parent's code
        os._exit(1)
    os._exit(0)


def hammer(width: int, capacity: int, count: int, victim: str, kills: int, seed: int) -> dict:
    """Push `count` records through a ring; or without end until `victim` was killed `kills` times at random moments."""
    rng = random.Random(seed)
    length = ring_words(capacity, width)
    segment = create(segment_name(f"hammer{os.getpid()}", "ring"), length + RESULT_WORDS)
    segment.unlink()
    ring, result = ring_create(segment.words[:length], capacity, width), segment.words[length:]
    warm = private_rings(1, capacity, width)[0]  # compile before the fork
    producer(warm, result, width, 2)
    consumer(warm, result, width, 2)
    result[:] = 0
    result[FINAL] = INT64_MAX

    cores = sorted(os.sched_getaffinity(0))
    lives = {"producer": producer, "consumer": consumer}
    done = {"producer": pushed, "consumer": taken}[victim]
    place = {"producer": cores[0], "consumer": cores[-1]}
    count = INT64_MAX if kills else count
    running = {name: born(work, place[name], ring, result, width, count) for name, work in lives.items()}
    killed = 0
    deadline = time.monotonic() + 60  # a hang is a failure, not a wait
    try:
        for kill in range(kills):
            time.sleep(rng.uniform(0.000_2, 0.004))
            goal = done(ring, result) + 32
            while kill % 2 and done(ring, result) < goal and time.monotonic() < deadline:
                time.sleep(0.000_1)  # every second life gets somewhere, however busy the machine
            os.kill(running[victim], signal.SIGKILL)
            _, status = os.waitpid(running.pop(victim), 0)
            killed += os.WIFSIGNALED(status)
            running[victim] = born(lives[victim], place[victim], ring, result, width, count)
        if kills:
            time.sleep(0.01)  # the last life does some work too
            store_release(result, STOP, 1)
        while running and time.monotonic() < deadline:
            for name, pid in list(running.items()):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    assert status == 0, f"{name} failed"
                    del running[name]
            time.sleep(0.001)
    finally:
        for pid in running.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    names = {"handled": HANDLED, "lost": LOST, "torn": TORN, "reordered": REORDERED, "repeated": REPEATED}
    return {name: int(result[word]) for name, word in names.items()} | {
        "published": int(ring[RING_HEAD]),
        "killed": killed,
        "hung": len(running),
    }


def main() -> None:
    """Arguments as in `hammer`."""
    parser = argparse.ArgumentParser()
    for name, default in (("width", 8), ("capacity", 64), ("count", 1_000_000), ("kills", 0), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--victim", choices=("producer", "consumer"), default="producer")
    arguments = parser.parse_args()
    print(json.dumps(hammer(**vars(arguments))))


if __name__ == "__main__":
    main()
