"""`bot4-bench`: how fast the engine is on this machine, every figure beside a limit measured in the same run.

bot4-bench                        all suites, seven interleaved repeats
bot4-bench --suite ring --quick   one suite, three short repeats
bot4-bench --json bench.json      the result as a file, as described in interfaces: machine, limits, suites
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

from bot4.cli.measure import cpp, limits
from bot4.cli.measure.harness import QUICK_REPEATS, REPEATS, Case, Figures, against, measure
from bot4.cli.measure.machine import machine, pair_of_cores
from bot4.jit import JIT
from bot4.model.errors import Bot4Error, InputError

SUITES = {  # each is a module of `measure` with `cases`, and with `twins` where benches/cpp has a program of its name
    "ring": "one hop and one-way throughput between two pinned processes",
    "step": "the compiled shard step on prepared ticks, and its parts",
    "tick_to_intent": "from the tick's stamp to the order intent, two processes",
}
_FILE_WIDTH = 140  # columns of the tables where no terminal says how many it has
_LIMIT_ROUND_TRIPS = {True: 10_000, False: 100_000}

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def run(names: list[str], quick: bool, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure the suites and return what `--json` writes.

    Parameters
    ----------
    names : of SUITES
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
        for name in names:
            tell(f"compiling {name}")
            suite = importlib.import_module(f"bot4.cli.measure.{name}")
            suite_cases[name] = suite.cases(quick, ghz, cores)
            if cpp.available(name):
                limit_cases += suite.twins(quick, ghz, cores, cpp.Twin(name, Path(folder)))
        taken = measure(limit_cases + [case for cases in suite_cases.values() for case in cases], repeats, tell)
    measured = {case.name: taken[case.name].summary() for case in limit_cases}
    suites = {}
    for name, cases in suite_cases.items():
        suites[name] = {case.name: _line(case, taken[case.name].summary(), measured) for case in cases}
    return {"machine": about | {"repeats": repeats, "quick": quick}, "limits": measured, "suites": suites}


def _line(case: Case, figures: Figures, measured: dict[str, Figures]) -> Figures:
    line: Figures = figures | {"limit": case.limit, "ratio": against(figures, measured[case.limit])}
    if case.cpp in measured:
        line["cpp_ratio"] = against(figures, measured[case.cpp])
    return line


def _show(result: dict[str, Any], console: Console) -> None:
    columns = ("p50", "p90", "p99", "p99_9", "max")
    for title, cases in (("limits", result["limits"]), *result["suites"].items()):
        table = Table(
            "case", "unit", "n", *columns, "rate", "limit", "ratio", "to C++", title=title, title_justify="left"
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
                *(f"{figures[key]:.3f}" if key in figures else "" for key in ("ratio", "cpp_ratio")),
            )
        console.print(table)
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


@app.command()
def bench(
    suite: Annotated[list[str] | None, typer.Option(help="Suite to run; may be given several times.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few and short repeats: for tests, not for figures.")] = False,
    list_suites: Annotated[bool, typer.Option("--list", help="Name the suites and end.")] = False,
) -> None:
    """Measure how fast the engine is on this machine. Example: bot4-bench --suite ring --json bench.json"""
    if list_suites:
        for name, meaning in SUITES.items():
            print(f"{name:16}{meaning}")
        return
    names = suite or list(SUITES)
    for name in names:
        if name not in SUITES:
            raise InputError(f"--suite {name}: there is no such suite; choose from {', '.join(SUITES)}")
    if json_file is not None and not json_file.parent.is_dir():
        raise InputError(f"--json {json_file}: there is no folder {json_file.parent}")
    result = run(list(dict.fromkeys(names)), quick, _progress)
    _progress("")
    _show(result, Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH))
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=2) + "\n")


def main() -> None:
    """Entry point: an error that Bot4 raises on purpose is one line, without a traceback."""
    try:
        app()
    except Bot4Error as error:
        print(f"bot4-bench: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
