"""`bot4-bench`: how fast the engine is on this machine, every figure beside a limit measured in the same run.

bot4-bench                        all suites, seven interleaved repeats
bot4-bench --suite ring --quick   one suite, three short repeats
bot4-bench peers                  other transports beside our ring, on the same record
bot4-bench --json bench.json      the result as a file: machine, limits, suites
bot4-bench --compare bench.json   what got slower since then, by the ratio to the limit; exit code 1 if anything did
bot4-bench --html bench.html      the percentile curves as one page
"""

import importlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bot4.adapters.system.output import run_door
from bot4.cli.measure import compare, cpp, limits
from bot4.cli.measure.harness import (
    QUICK_REPEATS,
    REPEATS,
    Case,
    Figures,
    Samples,
    against,
    measure,
    spread,
    times_as_fast,
)
from bot4.cli.measure.machine import machine, pair_of_cores
from bot4.cli.measure.page import bench_page
from bot4.jit import JIT
from bot4.model.errors import Bot4Error, InputError

# Each is a module of `measure` with `cases`, perhaps with `limits` of its own, and with `twins` where benches/cpp has a
# program of its name.
SUITES = {
    "ring": "one hop and one-way throughput between two pinned processes",
    "mpmc": "the ring of many: alone, and fed by up to 256 processes",
    "histogram": "what it costs to count one latency",
    "step": "the compiled shard step on prepared ticks, and its parts",
    "risk": "every check of an order as execution asks them, among 1,000 instruments",
    "matching": "the exchange's matching core: commands and fills a second on one core",
    "tick_to_intent": "from the tick's stamp to the order intent, two processes",
    "tick_to_execution": "from the tick's stamp to execution and the request it sends, spinning and asleep",
    "wait": "how soon a waiting process hears the news, by the way it waits",
    "shards": "steps a second over 1 to all cores",
    "start": "until the engine works, and works again after a kill",
    "memory": "what each worker of a session holds",
}
ON_REQUEST = {  # the same, run only if named
    "parse": "from the frames in a socket's buffer to ticks in the rings, and the same messages in Python",
    "feed": "from a websocket on the loopback to ticks in the rings, beside what Python users pick",
    "order_inside": "an order on the native path, from the request in the ring to the socket, beside ccxt's own",
    "peers": "other transports between two pinned processes, with our ring beside them",
}
_FILE_WIDTH = 180  # columns of the tables where no terminal says how many it has
_LIMIT_ROUND_TRIPS = {True: 10_000, False: 100_000}

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def run(names: list[str], quick: bool, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure the suites and return what `--json` writes.

    Parameters
    ----------
    names : of SUITES or ON_REQUEST
    quick : fewer and shorter repeats, for tests
    tell : called with the progress
    """
    if not JIT:
        raise InputError("the bench measures compiled kernels: unset NUMBA_DISABLE_JIT")
    cores = pair_of_cores()
    if cores[0] == cores[1]:
        raise InputError("the bench needs two cores, for two processes that spin: this process may use one alone")
    about = machine()
    ghz = about["tsc_ghz"]
    repeats = QUICK_REPEATS if quick else REPEATS
    with tempfile.TemporaryDirectory(prefix="bot4-bench-") as folder:
        limit_cases = limits.cases(_LIMIT_ROUND_TRIPS[quick], ghz, cores)
        suite_cases: dict[str, list[Case]] = {}
        left_out: dict[str, list[str]] = {}
        for name in names:
            tell(f"compiling {name}")
            suite = importlib.import_module(f"bot4.cli.measure.{name}")
            suite_cases[name] = suite.cases(quick, ghz, cores)
            if hasattr(suite, "limits"):
                limit_cases += suite.limits(quick, ghz, cores)
            if hasattr(suite, "left_out") and (missing := suite.left_out()):
                left_out[name] = missing
            if cpp.available(name):
                limit_cases += suite.twins(quick, ghz, cores, cpp.Twin(name, Path(folder)))
        taken = measure(limit_cases + [case for cases in suite_cases.values() for case in cases], repeats, tell)
    summaries = {case: samples.summary() for case, samples in taken.items()}
    result = {
        "machine": about | {"repeats": repeats, "quick": quick},
        "limits": {case.name: summaries[case] for case in limit_cases},
        "suites": {name: _lines(cases, limit_cases, taken, summaries) for name, cases in suite_cases.items()},
    }
    return result | ({"left_out": left_out} if left_out else {})


def _lines(
    cases: list[Case], limit_cases: list[Case], taken: dict[Case, Samples], summaries: dict[Case, Figures]
) -> dict[str, Figures]:
    """The cases of one suite, each with its limit, the ratio and that ratio's range over the repeats."""
    by_limit, by_name = ({case.name: case for case in some} for some in (limit_cases, cases))
    lines = {}
    for case in cases:
        limit = by_limit[case.limit]
        line = summaries[case] | {"limit": case.limit, "ratio": against(summaries[case], summaries[limit])}
        line["ratio_range"] = spread(taken[case], taken[limit])
        if case.cpp in by_limit:
            line["cpp_ratio"] = against(line, summaries[by_limit[case.cpp]])
        if case.peer:
            line["peer"] = True
        for what, other in case.beside:
            line[f"x_{what}"] = times_as_fast(line, summaries[by_name[other]])
        lines[case.name] = line
    return lines


def _show(result: dict[str, Any], console: Console) -> None:
    columns = ("p50", "p90", "p99", "p99_9", "max")
    for title, cases in (("limits", result["limits"]), *result["suites"].items()):
        keys = dict.fromkeys(key for figures in cases.values() for key in figures)
        extra = {"cpp_ratio": "to C++"} if "cpp_ratio" in keys else {}
        extra |= {key: key.replace("_", " ") for key in keys if key.startswith("x_")}
        table = Table(
            *("case", "unit", "n", *columns, "rate", "limit", "ratio", *extra.values()),
            title=title,
            title_justify="left",
        )
        for name, figures in cases.items():
            rate = figures.get("rate")
            table.add_row(
                name,
                figures["unit"],
                f"{figures['n']:,}",
                *(f"{figures[column]:,.1f}" if column in figures else "" for column in columns),
                f"{rate:,.0f}" if rate is not None else "",
                figures.get("limit", ""),
                *(f"{figures[key]:,.4g}" if key in figures else "" for key in ("ratio", *extra)),
            )
        console.print(table)
        for reason in result.get("left_out", {}).get(title, []):
            console.print(f"left out: {reason}", soft_wrap=True, highlight=False, markup=False)
    about = result["machine"]
    console.print(
        f"machine: {about['cpu']}, {about['cores']} cores (used {about['cores_used']}), {about['kernel']}, "
        f"Python {about['python']}, Numba {about['numba']}, NumPy {about['numpy']}, TSC {about['tsc_ghz']} GHz, "
        f"C++ {about['cpp']}",
        soft_wrap=True,
        highlight=False,
    )


def _progress(text: str) -> None:
    """One changing line on a terminal; no spinner, whose thread would be there when the processes are forked."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _chosen(named: list[str], options: list[str]) -> list[str]:
    """The suites to run: all that are not on request, or those named, once each."""
    for given, names in (("", named), ("--suite ", options)):
        for name in names:
            if name not in SUITES | ON_REQUEST:
                raise InputError(f"{given}{name}: there is no such suite; choose from {', '.join(SUITES | ON_REQUEST)}")
    return list(dict.fromkeys(named + options)) or list(SUITES)


def _compared(earlier: compare.Earlier, path: Path, result: dict[str, Any], console: Console) -> int:
    """Print the comparison; returns how many cases got worse."""
    rows, missing = compare.compare(earlier, result)
    console.print(compare.table(rows))
    worse = compare.regressions(rows)
    told = [f"mind: {text}" for text in compare.other_machine(earlier, result)]
    told += [f"on one side only: {text}" for text in missing]
    told.append(
        f"{len(worse)} of {len(rows)} cases got worse than in {path}: "
        f"the ratio to the limit by more than {compare.TOLERANCE} times, and in each repeat"
    )
    for line in told:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    return len(worse)


@app.command(
    epilog="Example: bot4-bench --suite ring --json bench.json",
    context_settings={"help_option_names": ["-h", "--help"]},
)
def bench(
    suites: Annotated[list[str] | None, typer.Argument(help="Suites to run, as --suite.", show_default=False)] = None,
    suite: Annotated[list[str] | None, typer.Option(help="Suite to run; may be given several times.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")] = None,
    compare_file: Annotated[
        Path | None,
        typer.Option(
            "--compare", help="An earlier --json: what got slower since, by the ratio to the limit. Exit 1 if so."
        ),
    ] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Draw the percentile curves into this page.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few and short repeats: for tests, not for figures.")] = False,
    list_suites: Annotated[bool, typer.Option("--list", help="Name the suites and end.")] = False,
) -> None:
    """Measure how fast the engine is on this machine. `bot4-bench peers` measures other transports beside our ring."""
    if list_suites:
        for name, meaning in SUITES.items():
            print(f"{name:20}{meaning}")
        for name, meaning in ON_REQUEST.items():
            print(f"{name:20}{meaning} (only if named)")
        return
    names = _chosen(suites or [], suite or [])
    for option, path in (("--json", json_file), ("--html", html_file)):
        if path is not None and not path.parent.is_dir():
            raise InputError(f"{option} {path}: there is no folder {path.parent}")
        if path is not None and path.is_dir():
            raise InputError(f"{option} {path}: this is a folder, not a file")
    earlier = compare.read_earlier(compare_file) if compare_file is not None else None
    result = run(names, quick, _progress)
    _progress("")
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    _show(result, console)
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=2) + "\n")
    if html_file is not None:
        html_file.write_text(bench_page(result), encoding="utf-8")
    if earlier is not None and compare_file is not None and _compared(earlier, compare_file, result, console):
        raise typer.Exit(1)


def main() -> None:
    """Entry point: an error that Bot4 raises on purpose is one line, without a traceback."""

    def door() -> None:
        try:
            app()
        except Bot4Error as error:
            print(f"bot4-bench: {error}", file=sys.stderr)
            raise SystemExit(error.exit_code) from None

    run_door("bot4-bench", door)


if __name__ == "__main__":
    main()
