"""Tables of latencies: one table of samples for every model, which kernels look up (`bot4.kernels.latency`).

    constant       the same for each
    log-normal     drawn from a seed when the table is made: median and spread
    recorded       samples of a file, one after the other, then from the beginning again
    interpolated   by time, between the measurements of a recording (order entry and answer apart)

Nothing is drawn at random while messages go: who sends the n-th one looks at the n-th sample, so the same seed gives
the same latencies in whatever order processes run.
"""

import os
import random
import stat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bot4.model.errors import InputError

BY_NUMBER = 0
BY_TIME = 1
MAX_LATENCY_NS = 60_000_000_000  # a minute: whatever is later is lost, not late
MAX_SAMPLES = 10_000_000
MAX_TIME_NS = 2**62  # the year 2116
MAX_FILE_BYTES = 1 << 28
DRAWN = 4_096  # samples of a drawn table
_HEADER = "req_ts,exch_ts,resp_ts"
_NO_TIMES = np.zeros(1, np.int64)


class Latency(NamedTuple):
    """The table of a model."""

    kind: int
    times: np.ndarray  # int64[n], ns, rising; BY_TIME alone
    values: np.ndarray  # int64[n], ns, 0 to MAX_LATENCY_NS


def constant(ns: int) -> Latency:
    """The same for each message."""
    return Latency(BY_NUMBER, _NO_TIMES, np.array([ns], np.int64))


def log_normal(median_ns: int, sigma: float, seed: str) -> Latency:
    """Drawn once: half of them below the median, the logarithm spread by sigma; none above MAX_LATENCY_NS."""
    draw = random.Random(seed)
    drawn = [min(MAX_LATENCY_NS, round(median_ns * draw.lognormvariate(0.0, sigma))) for _ in range(DRAWN)]
    return Latency(BY_NUMBER, _NO_TIMES, np.array(drawn, np.int64))


def recorded(path: Path) -> Latency:
    """Samples of a text file, a whole number of ns a line. Raises InputError naming file and line."""
    values = [_whole(line, path, number) for number, line in enumerate(_lines(path), start=1)]
    if not values:
        raise InputError(f"{path}: has no samples; write a latency in ns on each line")
    for number, value in enumerate(values, start=1):
        _check(value, path, number)
    return Latency(BY_NUMBER, _NO_TIMES, np.array(values, np.int64))


def interpolated(path: Path, answers: bool) -> Latency:
    """Measurements of a text file with the columns req_ts,exch_ts,resp_ts (ns): sent, at the venue, answered.

    `answers` : the way back instead of the way there. Raises InputError naming file and line.
    """
    lines = _lines(path)
    if not lines or lines[0].replace(" ", "") != _HEADER:
        raise InputError(f"{path}: line 1: must be {_HEADER}")
    times: list[int] = []
    values: list[int] = []
    for number, line in enumerate(lines[1:], start=2):
        parts = line.split(",")
        if len(parts) != 3:
            raise InputError(f"{path}: line {number}: must have three columns, {_HEADER}")
        sent, there, back = (_whole(part, path, number) for part in parts)
        begin, end = (there, back) if answers else (sent, there)
        _check(end - begin, path, number)
        if times and begin <= times[-1]:
            raise InputError(f"{path}: line {number}: its time is not later than that of the line before")
        times.append(begin)
        values.append(end - begin)
    if not values:
        raise InputError(f"{path}: has no measurements below its first line")
    return Latency(BY_TIME, np.array(times, np.int64), np.array(values, np.int64))


def _lines(path: Path) -> list[str]:
    """Of a plain file: a pipe or a device could hang or never end."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path}: is no plain file; name one")
            text = file.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise InputError(f"{path}: larger than {MAX_FILE_BYTES} bytes; name the right file")
        lines = text.decode("ascii").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}; name a plain file of ASCII text") from None
    if len(lines) > MAX_SAMPLES:
        raise InputError(f"{path}: has more than {MAX_SAMPLES} lines")
    return lines


def _whole(text: str, path: Path, number: int) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MAX_TIME_NS):
        raise InputError(f"{path}: line {number}: {text[:32]!r} is no whole number of ns")
    return int(text)


def _check(value: int, path: Path, number: int) -> None:
    if not 0 <= value <= MAX_LATENCY_NS:
        raise InputError(f"{path}: line {number}: a latency of {value} ns must be from 0 to {MAX_LATENCY_NS}")
