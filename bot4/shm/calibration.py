"""The time-stamp counter in nanoseconds: a slot of the wires that the template writes once a second.

Stages are stamped in cycles, which cost 20 ns less than a clock; whoever shows them converts by what stands here. The
longer the counter has been compared with the monotonic clock, the better its rate is known: 20 ppm after 50 ms, below
1 ppm after seconds.
"""

import time
from typing import NamedTuple

import numpy as np

from bot4.atomics import rdtsc
from bot4.shm.layout import (
    CALIBRATION_MONOTONIC_NS,
    CALIBRATION_TSC,
    CALIBRATION_TSC_HZ,
    CALIBRATION_WALL_NS,
    CALIBRATION_WORDS,
)
from bot4.shm.seqlock import seqlock_read, seqlock_write

LOOKS = 5  # at all clocks together; the quickest counts, for nobody was interrupted in it
SHORTEST_NS = 50_000_000  # between the first stamp and the first rate


class Stamp(NamedTuple):
    """One moment on three clocks."""

    tsc: int
    monotonic_ns: int
    wall_ns: int


class Calibration(NamedTuple):
    """What the slot says."""

    tsc: int
    monotonic_ns: int
    wall_ns: int
    tsc_hz: int

    @property
    def cycles_per_ns(self) -> float:
        """Cycles of the time-stamp counter per nanosecond."""
        return self.tsc_hz / 1e9

    def wall_ns_of(self, tsc: int) -> int:
        """Wall time of a stamp."""
        return self.wall_ns + (tsc - self.tsc) * 1_000_000_000 // self.tsc_hz


def stamp() -> Stamp:
    """The three clocks at one moment, as near as Python comes to it."""
    best, shortest = Stamp(0, 0, 0), 1 << 62
    for _ in range(LOOKS):
        before = rdtsc()
        found = Stamp(before, time.monotonic_ns(), time.time_ns())
        span = rdtsc() - before
        if span < shortest:
            best, shortest = found._replace(tsc=before + span // 2), span
    return best


def calibrate(slot: np.ndarray, began: Stamp) -> None:
    """Write the calibration, measured since `began`, for at least 50 ms; by the slot's only writer."""
    while time.monotonic_ns() - began.monotonic_ns < SHORTEST_NS:
        time.sleep(0.005)
    now = stamp()
    words = np.zeros(CALIBRATION_WORDS, np.int64)
    words[CALIBRATION_TSC], words[CALIBRATION_MONOTONIC_NS], words[CALIBRATION_WALL_NS] = now
    words[CALIBRATION_TSC_HZ] = (now.tsc - began.tsc) * 1_000_000_000 // (now.monotonic_ns - began.monotonic_ns)
    seqlock_write(slot, words)


def calibration_of(slot: np.ndarray) -> Calibration | None:
    """What the slot says; None before it was first written, and if its writer died at work."""
    words = np.zeros(CALIBRATION_WORDS, np.int64)
    return Calibration(*words.tolist()) if seqlock_read(slot, words) else None
