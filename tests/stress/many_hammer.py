"""Many producers and some consumers on one ring, some of them killed at random. Run as a program; prints JSON.

Each record says who sent it, which of his it is, and a word derived from both. Every consumer writes what it got into
a shared table, so that afterwards each record of each producer is known to have come, once, in order, or to be lost:

    lost         a record that its producer saw published and nobody got: at most what killed consumers had in hand
    torn         a word of another record         reordered     one consumer got a later record of a producer earlier
    duplicated   a record came twice: at most what killed producers had published and not yet counted

A process of its own because it forks: the children share the compiled kernels and are born in milliseconds.
"""

import argparse
import json
import mmap
import os
import random
import signal
import time

import numpy as np

from bot4.adapters.system.process import die_with_parent
from bot4.atomics import load_acquire, pause, sched_yield, store_release
from bot4.jit import kernel
from bot4.shm.layout import MANY_BURIED, ring_words
from bot4.shm.mpmc_ring import many_bury, many_claim, many_create, many_pop, many_push

FACTOR = 1_000_003
SENT, DONE, GOT, TORN, REORDERED, LINE = 0, 1, 0, 1, 2, 16  # words of a producer's line, then of a consumer's


@kernel
def produce(ring, source, line, producer, count, pid):
    """Push `count` records, going on where the line says; the line counts what is published for certain."""
    polls = 0
    while line[SENT] < count:
        number = line[SENT]
        source[0], source[1], source[2] = producer, number, producer * FACTOR + number
        if many_push(ring, source, pid):
            store_release(line, SENT, number + 1)
        else:
            polls += 1
            pause()
            if polls & 15 == 0:
                sched_yield()
    store_release(line, DONE, 1)


@kernel
def consume(ring, target, line, last, seen, stop, pid):
    """Take records until told to stop and nothing is left."""
    while True:
        ending = load_acquire(stop, 0)
        if not many_pop(ring, target, pid):
            if ending:
                return
            pause()
            sched_yield()
            continue
        producer, number = target[0], target[1]
        if target[2] != producer * FACTOR + number:
            line[TORN] += 1
            continue
        if number < last[producer]:
            line[REORDERED] += 1
        last[producer] = number
        seen[producer, number] += 1
        line[GOT] += 1


def shared(words: int) -> np.ndarray:
    """Zeroed words that forked children share."""
    return np.frombuffer(mmap.mmap(-1, words * 8), np.int64)


def child(work) -> int:
    """Fork; the child does its work and leaves, at the latest with this process."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        die_with_parent(parent)
        work(os.getpid())
        os._exit(0)
    return pid


def main() -> None:
    """Hammer and tell."""
    parser = argparse.ArgumentParser()
    for name, value in {
        "producers": 64, "consumers": 2, "count": 2_000, "capacity": 256, "kills": 0, "claimants": 0, "seed": 1,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    n, m, count = options.producers, options.consumers, options.count
    ring = many_create(shared(ring_words(options.capacity, 8)), options.capacity, 8)
    sent, got = shared(n * LINE).reshape(n, LINE), shared(m * LINE).reshape(m, LINE)
    last, seen = shared(m * n).reshape(m, n), np.frombuffer(mmap.mmap(-1, m * n * (count + 2)), np.uint8)
    seen = seen.reshape(m, n, count + 2)
    stop = shared(8)
    last[:] = -1
    scratch = np.zeros(8, np.int64)
    produce(ring, scratch, shared(LINE), 0, 0, 1)  # compiled before the forks
    stop[0] = 1
    consume(ring, scratch, shared(LINE), shared(n), seen[0], stop, 1)
    stop[0] = 0
    many_bury(ring, 1)

    def producer(k):
        return child(lambda pid: produce(ring, np.zeros(8, np.int64), sent[k], k, count, pid))

    def consumer(k):
        return child(lambda pid: consume(ring, np.zeros(8, np.int64), got[k], last[k], seen[k], stop, pid))

    def claimant(pid):
        many_claim(ring, pid)
        os.kill(pid, signal.SIGKILL)

    began = time.monotonic()
    running = {consumer(k): (consumer, k) for k in range(m)} | {producer(k): (producer, k) for k in range(n)}
    chance = random.Random(options.seed)
    killed = {"producers": 0, "consumers": 0}
    claimed = 0
    while claimed < options.claimants:  # each dies exactly between its claim and its publishing
        pid = child(claimant)
        os.waitpid(pid, 0)
        claimed += many_bury(ring, pid)  # 0 where the ring was full: it claimed nothing
    while sum(killed.values()) < options.kills and not sent[:, DONE].all():
        time.sleep(chance.random() * 0.004)
        pid = chance.choice(list(running))
        again, k = running.pop(pid)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        many_bury(ring, pid)
        if again is producer:
            killed["producers"] += 1
        else:
            killed["consumers"] += 1
        running[again(k)] = (again, k)
    limit = time.monotonic() + 40
    while not sent[:, DONE].all() and time.monotonic() < limit:
        time.sleep(0.001)
    seconds = time.monotonic() - began
    stop[0] = 1
    for pid in running:
        if time.monotonic() > limit:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    times = seen[:, :, :count].sum(axis=0)
    print(json.dumps({
        "sent": int(sent[:, SENT].sum()), "received": int((times > 0).sum()), "lost": int((times == 0).sum()),
        "duplicated": int((times > 1).sum()), "torn": int(got[:, TORN].sum()),
        "reordered": int(got[:, REORDERED].sum()),
        "buried": int(ring[MANY_BURIED]), "claimed": claimed, "killed": killed,
        "hung": int(not sent[:, DONE].all()), "per_s": round(n * count / seconds),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
