"""What got slower since an earlier `--json`: case by case, by the ratio to the limit of its own run.

A regression is both: the ratio is worse by more than `TOLERANCE`, and worse in each repeat now than in any repeat then.
Medians of one and the same build move by up to a quarter between two minutes of a virtual machine, so less is no news;
and where 7 repeats of two runs do not overlap, chance alone does that once in 3,432 times. A file without the ranges of
the repeats is compared by the tolerance alone. Peers are shown and never counted: they are not ours to mend.
"""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from rich.table import Table

from bot4.model.errors import InputError

TOLERANCE = 1.25
Positive = Annotated[float, msgspec.Meta(gt=0)]


class Line(msgspec.Struct):
    """What is compared of a case; a file may hold more."""

    unit: str
    limit: str
    ratio: Positive
    ratio_range: tuple[Positive, Positive] | None = None
    rate: Positive | None = None
    peer: bool = False

    @property
    def range(self) -> tuple[float, float]:
        """Least and greatest ratio of the repeats; the ratio twice where they are not known."""
        return self.ratio_range or (self.ratio, self.ratio)


class Earlier(msgspec.Struct):
    """What is read of an earlier result."""

    machine: dict[str, Any]
    limits: dict[str, dict[str, Any]]
    suites: dict[str, dict[str, Line]]


class Row(NamedTuple):
    """One case in both runs. `worse` is how many times as bad it is now: below 1 it got better."""

    suite: str
    case: str
    then: Line
    now: Line
    worse: float
    verdict: str


def read_earlier(path: Path) -> Earlier:
    """An earlier result; InputError in one line if it is none."""
    try:
        earlier = msgspec.json.decode(path.read_bytes(), type=Earlier)
    except OSError as error:
        raise InputError(f"--compare {path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"--compare {path}: not a result of bot4-bench --json: {error}") from None
    if not any(earlier.suites.values()):
        raise InputError(f"--compare {path}: not a result of bot4-bench --json with any case in it")
    return earlier


def compare(earlier: Earlier, result: dict[str, Any]) -> tuple[list[Row], list[str]]:
    """The cases of both runs, and what is missing on one side in words."""
    now = msgspec.convert(result, Earlier)
    rows, missing = [], []
    for suite in sorted(earlier.suites.keys() | now.suites.keys()):
        before, after = earlier.suites.get(suite), now.suites.get(suite)
        if before is None or after is None:
            missing.append(f"suite {suite}: {'not in the file' if before is None else 'not measured now'}")
            continue
        missing += [f"{suite} {case}: not in the file" for case in after.keys() - before.keys()]
        missing += [f"{suite} {case}: not measured now" for case in before.keys() - after.keys()]
        rows += [_row(suite, case, before[case], line) for case, line in after.items() if case in before]
    return rows, sorted(missing)


def _row(suite: str, case: str, then: Line, now: Line) -> Row:
    rate = now.rate is not None
    worse = then.ratio / now.ratio if rate else now.ratio / then.ratio
    apart = now.range[1] < then.range[0] if rate else now.range[0] > then.range[1]
    if (then.limit, then.unit) != (now.limit, now.unit):
        verdict = "another limit"
    elif now.peer or worse <= TOLERANCE:
        verdict = ""
    else:
        verdict = "REGRESSION" if apart else "within the spread"
    return Row(suite, case, then, now, worse, verdict)


def regressions(rows: list[Row]) -> list[Row]:
    """Those that count."""
    return [row for row in rows if row.verdict == "REGRESSION"]


def other_machine(earlier: Earlier, result: dict[str, Any]) -> list[str]:
    """In what the two runs differ that the ratio to the limit does not take out altogether."""
    names = ("cpu", "cores_used", "python", "numba", "quick")
    pairs = [(name, earlier.machine.get(name), result["machine"].get(name)) for name in names]
    return [f"{name} was {then}, is {now}" for name, then, now in pairs if then != now]


def table(rows: list[Row]) -> Table:
    """For the terminal."""
    made = Table(
        "suite", "case", "limit", "ratio then", "ratio now", "change", "", title="compared", title_justify="left"
    )
    for row in rows:
        change = f"{row.worse:.2f} x worse" if row.worse >= 1 else f"{1 / row.worse:.2f} x better"
        comparable = row.verdict != "another limit"
        made.add_row(
            row.suite,
            row.case,
            row.now.limit if comparable else f"{row.then.limit}, {row.now.limit}",
            *(f"{line.ratio:,.4g} [{line.range[0]:,.4g} to {line.range[1]:,.4g}]" for line in (row.then, row.now)),
            change if comparable else "",
            row.verdict,
        )
    return made
