"""What the figures were measured on: the processor, the versions, the cores used, and the counter's rate."""

import os
import platform
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numba
import numpy as np

from bot4.atomics import rdtsc

_PAIRS = 20  # of which the one with the narrowest bracket counts
_APART_S = 0.2


def tsc_ghz(apart_s: float = _APART_S) -> float:
    """Cycles of the time-stamp counter per ns, against the raw monotonic clock; good to a few parts in a million."""
    first_ns, first_tsc = _pair()
    time.sleep(apart_s)
    second_ns, second_tsc = _pair()
    return (second_tsc - first_tsc) / (second_ns - first_ns)


def _pair() -> tuple[float, int]:
    """Clock and counter at one moment: the read that was bracketed most closely."""
    best = None
    for _ in range(_PAIRS):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        counter = int(rdtsc())
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        if best is None or after - before < best[0]:
            best = (after - before, (before + after) / 2, counter)
    assert best is not None
    return best[1], best[2]


def pair_of_cores() -> tuple[int, int]:
    """The first two cores this process may use; the same one twice where there is no second."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[min(1, len(cores) - 1)]


def compiler() -> str:
    """First line of `g++ --version`, empty if there is none."""
    path = shutil.which("g++")
    if path is None:
        return ""
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return told.stdout.splitlines()[0] if told.returncode == 0 and told.stdout else ""


def machine() -> dict[str, Any]:
    """The description that stands at the head of every result."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_used": list(pair_of_cores()),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numba": numba.__version__,
        "numpy": np.__version__,
        "tsc_ghz": round(tsc_ghz(), 6),
        "cpp": compiler() or "absent: no g++, so no C++ twins",
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
