"""`bot4-doctor`: is this host fit to trade on? Every finding comes with its fix; nothing is changed."""

import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bot4.adapters.system.host import BAD, MIND, OK, UNKNOWN, Finding, examine
from bot4.adapters.system.output import run_door

_MARKS = {OK: ("ok", "green"), MIND: ("mind", "yellow"), BAD: ("BAD", "bold red"), UNKNOWN: ("?", "dim")}
_FILE_WIDTH = 100  # columns where no terminal says how many it has

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def summary(findings: list[Finding]) -> str:
    """One sentence of all findings."""
    count = {state: sum(1 for finding in findings if finding.state == state) for state in _MARKS}
    if count[BAD]:
        return f"{count[BAD]} to mend before a session, {count[MIND]} that cost latency"
    return f"fit to trade; {count[MIND]} that cost latency" if count[MIND] else "fit to trade, and tuned"


def table(findings: list[Finding]) -> Table:
    """The findings as a person reads them."""
    made = Table("", "what", "found", "fix", box=None, pad_edge=False)
    for finding in findings:
        mark, style = _MARKS[finding.state]
        made.add_row(f"[{style}]{mark}[/{style}]", finding.name, finding.found, finding.fix)
    return made


@app.command(epilog="Example: bot4-doctor --json", context_settings={"help_option_names": ["-h", "--help"]})
def doctor(json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False) -> None:
    """Examine this host: clock, cores, interrupts, memory, limits. Exit code 1 if a session would fail."""
    findings = examine()
    failing = any(finding.state == BAD for finding in findings)
    if json:
        import orjson

        content: dict[str, Any] = {"fit": not failing, "findings": findings}
        typer.echo(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode())
    else:
        console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
        console.print(table(findings))
        console.print(summary(findings), highlight=False)
    raise typer.Exit(1 if failing else 0)


def main() -> None:
    """Entry point of the command."""
    run_door("bot4-doctor", app)


if __name__ == "__main__":
    main()
