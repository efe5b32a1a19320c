"""How every figure is taken: pinned processes on one shared segment, repeats of all cases in turn, medians of them.

The cases of a run are interleaved, so that a noisy minute of the machine hits all of them; each percentile is the
median of the repeats' percentiles, the maximum is the worst of all samples. Gates are ratios to a limit that was
measured in the same run, never absolute times.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bot4.adapters.system.process import die_with_parent
from bot4.model.errors import Bot4Error
from bot4.shm.segment import Segment, create, segment_name

QUICK_REPEATS = 3
REPEATS = 7
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999}
CURVE = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99999)
WARM_UP_RATIO = 0.1  # first part of the samples that does not count
TIMEOUT_S = 60.0
_POLL_S = 0.002


Figures = dict[str, Any]  # one line of the result: numbers, texts, and the curve


@dataclass
class Samples:
    """What one case gave over all repeats: a list of durations in ns, or a rate, per repeat."""

    unit: str
    durations: list[np.ndarray] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    n: int = 0

    def add_durations(self, durations_ns: np.ndarray, warm_up_ratio: float = WARM_UP_RATIO) -> None:
        """One repeat's samples in ns, the first part of them not counted."""
        kept = durations_ns[int(len(durations_ns) * warm_up_ratio) :]
        self.durations.append(kept)
        self.n += len(kept)

    def add_value(self, value: float) -> None:
        """One repeat's only sample, whatever its unit."""
        self.durations.append(np.array([value]))
        self.n += 1

    def add_rate(self, n: int, seconds: float) -> None:
        """One repeat's count and time."""
        self.rates.append(n / seconds)
        self.n += n

    def summary(self) -> Figures:
        """`unit, n` and either the percentiles, the maximum and the curve, or the rate."""
        if self.rates:
            return {"unit": self.unit, "n": self.n, "rate": round(float(np.median(self.rates)), 1)}
        fewest = min(len(one) for one in self.durations)
        reached = [ratio for ratio in CURVE if (1 - ratio) * fewest >= 1 - 1e-9]
        ratios = [*PERCENTILES.values(), *reached]
        each = [np.quantile(one, ratios, method="higher") for one in self.durations]
        medians = [round(float(value), 3) for value in np.median(each, axis=0)]
        figures: Figures = {"unit": self.unit, "n": self.n} | dict(zip(PERCENTILES, medians, strict=False))
        figures["max"] = round(float(max(one.max() for one in self.durations)), 3)
        figures["curve"] = [list(point) for point in zip(reached, medians[len(PERCENTILES) :], strict=True)]
        return figures

    def centres(self) -> np.ndarray:
        """The rate of each repeat, or its median."""
        return np.array(self.rates or [np.quantile(one, 0.5, method="higher") for one in self.durations])


Run = Callable[[Samples], None]


@dataclass(frozen=True)
class Case:
    """One line of the result: what it is called, what it is divided by, and how one repeat of it is run."""

    name: str
    unit: str
    run: Run
    limit: str = ""  # empty: it is a limit itself
    cpp: str = ""  # the limit that is its C++ twin, where there is one
    beside: tuple[tuple[str, str], ...] = ()  # (as what, case of its suite): `x_<as what>` says how many times as fast
    peer: bool = False  # somebody else's work: shown, never a regression of ours


def measure(cases: list[Case], repeats: int, tell: Callable[[str], None] = lambda _: None) -> dict[Case, Samples]:
    """Run all cases `repeats` times in turn. Two suites may have cases of one name."""
    taken = {case: Samples(case.unit) for case in cases}
    for repeat in range(repeats):
        for case in cases:
            tell(f"repeat {repeat + 1} of {repeats}: {case.name}")
            case.run(taken[case])
    return taken


def against(figures: Figures, limit: Figures) -> float:
    """Ratio of a case to its limit: times are divided; a rate is compared with a rate, or with one message per time."""
    kinds = "rate" in figures, "rate" in limit
    return _digits(_ratio(kinds, _centre(figures), _centre(limit)))


def times_as_fast(figures: Figures, other: Figures) -> float:
    """How many times as fast `other` is: above 1 if it needs less time, or has the higher rate."""
    quotient = float(_centre(other)) / float(_centre(figures))
    return _digits(quotient if "rate" in figures else 1 / quotient)


def spread(case: Samples, limit: Samples) -> list[float]:
    """Least and greatest ratio of a repeat to the limit's repeat that was taken beside it."""
    kinds = bool(case.rates), bool(limit.rates)
    each = [_ratio(kinds, *pair) for pair in zip(case.centres(), limit.centres(), strict=False)]  # some are run once
    return [_digits(min(each)), _digits(max(each))]


def _centre(figures: Figures) -> float:
    return float(figures["rate"] if "rate" in figures else figures["p50"])


def _ratio(are_rates: tuple[bool, bool], centre: float, of_limit: float) -> float:
    return centre * of_limit * 1e-9 if are_rates == (True, False) else centre / of_limit


def _digits(value: float) -> float:
    """Six digits: a peer's rate may be a thousandth of its limit."""
    return float(f"{value:.6g}")


def scratch(n_words: int) -> Segment:
    """Zeroed shared memory without a name: gone with the processes that map it."""
    segment = create(segment_name(f"bench{os.getpid()}", "scratch"), n_words)
    segment.unlink()
    return segment


def run_pinned(works: Sequence[Callable[[], None]], cores: Sequence[int], timeout_s: float = TIMEOUT_S) -> None:
    """Fork one process per work, pinned; return when all have ended well, end them all if one fails or none comes back.

    The kernels that they call have been compiled by the caller before, so a child starts within milliseconds.
    """
    running = [_born(work, core) for work, core in zip(works, cores, strict=True)]
    try:
        deadline = time.monotonic() + timeout_s
        while running:
            for pid in list(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    running.remove(pid)
                    if status != 0:
                        raise Bot4Error(f"a pinned process of the bench ended with status {status}")
            if time.monotonic() > deadline:
                raise Bot4Error(
                    f"the bench's processes did not finish within {timeout_s:.0f} s: the machine is too busy"
                )
            time.sleep(_POLL_S)
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _born(work: Callable[[], None], core: int) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        die_with_parent(parent)  # it spins: a bench that is killed must not leave it behind
        os.sched_setaffinity(0, {core})
        work()
    except BaseException:  # the child never returns into the parent's code
        os._exit(1)
    os._exit(0)
