"""`bot4-data`: what lies in recordings, and whether it can be trusted."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bot4.adapters.binance.parse import BinanceSpot, BinanceUsdm
from bot4.adapters.bybit.parse import BybitLinear, BybitSpot
from bot4.adapters.coinbase.parse import CoinbaseAdvanced
from bot4.adapters.files.bars import BarFile
from bot4.adapters.files.raw import RawCapture, find_captures
from bot4.adapters.kraken.parse import KrakenV1, KrakenV2
from bot4.adapters.system.output import run_door
from bot4.engine.capture_check import CaptureCheck
from bot4.model.errors import Bot4Error
from bot4.ports.feed import Decoder

_FILE_WIDTH = 120  # columns where no terminal says how many it has
_EVERY = 4_096  # messages between two moves of the progress bar

Paths = Annotated[list[Path], typer.Argument(help="Captures: files, or folders of them.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a capture, a line each.")]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Recordings of market data: list what is there, check whether it is sound.",
)


def decoders() -> dict[str, Decoder]:
    """A decoder for every venue that is known, by the key of `files.raw`."""
    return {
        "binance_spot": BinanceSpot(),
        "binance_usdm": BinanceUsdm(),
        "bybit_spot": BybitSpot(),
        "bybit_linear": BybitLinear(),
        "coinbase": CoinbaseAdvanced(),
        "kraken_v1": KrakenV1(),
        "kraken_v2": KrakenV2(),
    }


@contextmanager
def _door() -> Iterator[None]:
    """Bad input is one line and its exit code."""
    try:
        yield
    except Bot4Error as error:
        typer.echo(f"bot4-data: {error}", err=True)
        raise typer.Exit(error.exit_code) from None


def check_capture(capture: RawCapture, moved: Any = None) -> dict[str, Any]:
    """Everything that is known of one capture, as the JSON of `check`."""
    known = decoders()
    check = CaptureCheck(known)
    first_ns = last_ns = 0
    for number, message in enumerate(capture.messages(), start=1):
        rest = None
        if message.rest:
            parts = urlsplit(message.url)
            rest = (parts.path, dict(parse_qsl(parts.query)))
        check.take(message.ts_ns, message.connection, message.venue, rest, message.body)
        first_ns, last_ns = first_ns or message.ts_ns, max(last_ns, message.ts_ns)
        if moved is not None and number % _EVERY == 0:
            moved(number)
    found = {"name": capture.name, "files": [str(path) for path in capture.files]}
    span = {"first_ns": first_ns, "last_ns": last_ns}
    return found | check.finish() | span | {"complaints": check.examples}


@app.command(epilog="Example: bot4-data check recordings/ --json")
def check(paths: Paths, json: Json = False) -> None:
    """Read captures to their end: messages by type, refused ones, books rebuilt and compared, gaps, clock offset.

    Files of one capture (REST and websocket parts, day files of one instrument) are joined. Exit code 1 if anything is
    missing, repeated, out of order, refused, or if a book does not equal what the venue says of it.

    Forms: lines of '<receive time> <JSON>'; cryptofeed's second and third; CSV of bars, plain, gzip or zip.
    """
    with _door():
        captures = find_captures(paths)
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
            found = []
            for capture in captures:
                if isinstance(capture, BarFile):
                    found.append(capture.check())
                    continue
                task = bar.add_task(capture.name, total=None)
                found.append(check_capture(capture, lambda done, task=task: bar.update(task, completed=done)))
                bar.remove_task(task)
        if json:
            import orjson

            for one in found:
                typer.echo(orjson.dumps(one).decode())
        else:
            _show(found)
        raise typer.Exit(1 if any(_fault(one) for one in found) else 0)


def _fault(one: dict[str, Any]) -> str:
    """What is wrong with a capture, in words; "" if it is sound."""
    book = one["book"]
    faults = {
        "refused": sum(one["rejected"].values()),
        "unlike the venue's word": book["compared"] - book["equal"] + book["near"] - book["near_equal"],
        "crossed": book["crossed"],
        "missing": one["gaps"],
        "without a book": book["stale"],
        "out of order": one["out_of_order"],
        "repeated": one["duplicates"],
    }
    return ", ".join(f"{count:,} {what}" for what, count in faults.items() if count)


@app.command("list", epilog="Example: bot4-data list recordings/")
def list_(paths: Paths, json: Json = False) -> None:
    """Name the captures that files and folders hold, and the files that belong together."""
    with _door():
        captures = find_captures(paths)
        if json:
            import orjson

            for capture in captures:
                files = [str(path) for path in capture.files]
                typer.echo(orjson.dumps({"name": capture.name, "files": files}).decode())
            return
        table = Table("capture", "files", box=None, pad_edge=False)
        for capture in captures:
            table.add_row(capture.name, "\n".join(str(path) for path in capture.files))
        _print(table)


def _show(found: list[dict[str, Any]]) -> None:
    columns = ("capture", "venue", "messages", "refused", "compared", "equal", "near", "near =", "stale", "gaps")
    table = Table(*columns, "doubles", "clock ms", box=None, pad_edge=False)
    for one in found:
        book, offset = one["book"], one["clock_offset_ms"]
        numbers = (sum(one["messages"].values()), sum(one["rejected"].values()), book["compared"], book["equal"],
                   book["near"], book["near_equal"], book["stale"], one["gaps"], one["duplicates"])  # fmt: skip
        clock = "" if offset is None else f"{offset:,.1f}"
        table.add_row(one["name"], one["venue"], *(f"{number:,}" for number in numbers), clock)
    _print(table)
    for one in found:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in one["messages"].items())
        _print(f"{one['name']}: {_fault(one) or 'sound'}: {kinds}")
        for reason, text in one["complaints"].items():
            _print(f"{one['name']}: {one['rejected'][reason]:,} refused as {text}")


def _print(content: Any) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    console.print(content, highlight=False, markup=False, soft_wrap=isinstance(content, str))


def main() -> None:
    """Entry point of the command."""
    run_door("bot4-data", app)


if __name__ == "__main__":
    main()
