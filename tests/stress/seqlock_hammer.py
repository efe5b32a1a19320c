"""One writer and some readers on one seqlock slot, the writer killed again and again. Run as a program; prints JSON.

Every payload word is derived from the number of the copy, so a reader can tell each forbidden outcome:

    torn       words of two copies in one        reordered   an older copy after a newer one

    refused    reads without a copy: the writer was at work in each try, or dead
    halfway    kills that left an odd version
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
from bot4.atomics import load_acquire, pause, store_release
from bot4.jit import kernel
from bot4.shm.layout import SEQLOCK_PAYLOAD, SEQLOCK_VERSION
from bot4.shm.seqlock import seqlock_read, seqlock_write

FACTOR = 1_000_003
LINE = 16
READS, TORN, REORDERED, REFUSED, LAST = range(5)  # words of a reader's line


@kernel
def write(slot, source, stop, rest):
    """Copy after copy, going on with the number that the version implies, with `rest` pauses between two."""
    number = slot[0] // 2 + 1
    while load_acquire(stop, 0) == 0:
        for word in range(len(source)):
            source[word] = number * FACTOR + word
        seqlock_write(slot, source)
        number += 1
        for _ in range(rest):
            pause()


@kernel
def read(slot, target, line, stop, reads):
    """Read and judge until `reads` copies were had, or until told to stop."""
    while line[READS] < reads and load_acquire(stop, 0) == 0:
        if not seqlock_read(slot, target):
            line[REFUSED] += 1
            continue
        for word in range(len(target)):
            if target[word] != target[0] + word:
                line[TORN] += 1
                break
        if target[0] < line[LAST]:
            line[REORDERED] += 1
        line[LAST] = target[0]
        store_release(line, READS, line[READS] + 1)


def shared(words: int) -> np.ndarray:
    """Zeroed words that forked children share."""
    return np.frombuffer(mmap.mmap(-1, words * 8), np.int64)


def child(core: int, work, *arguments) -> int:
    """Fork, pinned; the child does its work and leaves, at the latest with this process."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        die_with_parent(parent)
        os.sched_setaffinity(0, {core})
        work(*arguments)
        os._exit(0)
    return pid


def main() -> None:
    """Hammer and tell."""
    parser = argparse.ArgumentParser()
    for name, value in {
        "readers": 2, "reads": 500_000, "width": 15, "rest": 20, "kills": 0, "middle": 0, "seed": 1,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    n, width = options.readers, options.width
    slot, lines, stop = shared(SEQLOCK_PAYLOAD + width), shared(n * LINE).reshape(n, LINE), shared(LINE)
    scratch, copy = shared(SEQLOCK_PAYLOAD + width), np.zeros(width, np.int64)
    stop[0] = 1
    write(scratch, copy, stop, 0)  # compiled before the forks
    read(scratch, copy, shared(LINE), stop, 0)
    stop[0] = 0
    reads = options.reads if not options.kills else 1 << 62
    cores = sorted(os.sched_getaffinity(0))

    def writer() -> int:
        return child(cores[0], write, slot, np.zeros(width, np.int64), stop, options.rest)

    def at_work() -> int:
        """A writer that has begun a copy and dies after a random number of its words."""
        words = chance.randrange(width + 1)
        slot[SEQLOCK_VERSION] |= 1
        slot[SEQLOCK_PAYLOAD : SEQLOCK_PAYLOAD + words] = (1 << 50) + np.arange(words)
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    chance = random.Random(options.seed)
    began = time.monotonic()
    limit = began + 60  # a hang is a failure, not a wait
    readers = [child(cores[(k + 1) % len(cores)], read, slot, np.zeros(width, np.int64), lines[k], stop, reads)
               for k in range(n)]  # fmt: skip
    alive = writer()
    halfway = 0
    for _ in range(options.kills):
        time.sleep(chance.uniform(0.000_5, 0.005))
        os.kill(alive, signal.SIGKILL)
        os.waitpid(alive, 0)
        if options.middle:
            os.waitpid(child(cores[0], at_work), 0)
        halfway += int(slot[SEQLOCK_VERSION]) & 1
        before = lines[:, REFUSED].copy()
        while slot[SEQLOCK_VERSION] & 1 and (lines[:, REFUSED] == before).any() and time.monotonic() < limit:
            time.sleep(0.000_2)  # each reader comes back empty-handed from the dead writer's slot
        alive = writer()
    if options.kills:
        time.sleep(0.02)  # the last life does some work too
        stop[0] = 1
    hung = 0
    for pid in readers:
        while not os.waitpid(pid, os.WNOHANG)[0]:
            if time.monotonic() > limit:
                hung += 1
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                break
            time.sleep(0.001)
    stop[0] = 1
    os.waitpid(alive, 0)
    seconds = time.monotonic() - began
    print(json.dumps({
        "reads": int(lines[:, READS].sum()), "torn": int(lines[:, TORN].sum()),
        "reordered": int(lines[:, REORDERED].sum()), "refused": int(lines[:, REFUSED].sum()),
        "written": int(slot[SEQLOCK_VERSION]) // 2, "killed": options.kills, "halfway": halfway, "hung": hung,
        "reads_per_s": round(lines[:, READS].sum() / seconds),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
