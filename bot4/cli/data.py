"""`bot4-data`: what lies in recordings, and whether it can be trusted."""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from json import loads as json_of
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Column, Table

from bot4.adapters.binance.parse import BinanceSpot, BinanceUsdm
from bot4.adapters.bybit.parse import BybitLinear, BybitSpot
from bot4.adapters.coinbase.parse import CoinbaseAdvanced
from bot4.adapters.files.archive import ArchiveFile
from bot4.adapters.files.bars import BarFile
from bot4.adapters.files.convert import convert_archives, convert_bars, refuse_names, sizes_of
from bot4.adapters.files.raw import RawCapture, find_captures, refuse_apart
from bot4.adapters.files.recording import silences_of
from bot4.adapters.files.synthetic import VENUE as SYNTHETIC
from bot4.adapters.kraken.parse import KrakenV1, KrakenV2
from bot4.adapters.system.output import run_door
from bot4.engine.capture_check import CaptureCheck
from bot4.model.errors import Bot4Error, InputError, RecordingError
from bot4.ports.feed import Decoder
from bot4.settings.loader import INSTRUMENTS_FILE

_FILE_WIDTH = 10_000  # columns where no terminal says how many it has: a name that is cut serves nobody
# keys of those whose trades bear numbers without a hole
TRADES_COUNTED = ("binance_spot", "binance_usdm", "coinbase", "kraken_v2", SYNTHETIC)
JOURNAL_NAME = "journal.bin"  # of a session's folder
_EVERY = 4_096  # messages between two moves of the progress bar

Paths = Annotated[
    list[Path], typer.Argument(help="Captures: files, or folders of them.", show_default=False, readable=False)
]
Config = Annotated[Path, typer.Option("--config", help="The session's settings file.", readable=False)]
DEFAULT_CONFIG = Path("config/paper.toml")
Json = Annotated[bool, typer.Option("--json", help="One JSON object a capture, a line each.")]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Recordings of market data: list what is there, check whether it is sound, convert it, record it.",
)


class _Synthetic(BinanceSpot):
    """The synthetic market, which speaks as spot does."""

    venue = SYNTHETIC


def decoders() -> dict[str, Decoder]:
    """A decoder for every venue that is known, by the key of `files.raw`."""
    return {
        "binance_spot": BinanceSpot(),
        "binance_usdm": BinanceUsdm(),
        "bybit_spot": BybitSpot(),
        "bybit_linear": BybitLinear(),
        "coinbase": CoinbaseAdvanced(),
        "kraken_v1": KrakenV1(),
        "kraken_v2": KrakenV2(depth=0),
        SYNTHETIC: _Synthetic(),
    }


@contextmanager
def _door() -> Iterator[None]:
    """Bad input is one line and its exit code; so is a path that nobody may look at."""
    try:
        yield
    except Bot4Error as error:
        _complain(error)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        if error.filename is None:
            raise  # it is the output that cannot be written
        _complain(f"{error.filename}: cannot be used ({error.strerror}); give one that can be")
        raise typer.Exit(InputError.exit_code) from None


def _complain(error: object) -> None:
    """A line on standard error, whatever a file is called."""
    typer.echo(f"bot4-data: {' '.join(str(error).splitlines())}", err=True)


def check_capture(capture: RawCapture, moved: Any = None) -> dict[str, Any]:
    """Everything that is known of one capture, as the JSON of `check`."""
    known = decoders()
    check = CaptureCheck(known, TRADES_COUNTED)
    first_ns = last_ns = 0
    for number, message in enumerate(capture.messages(), start=1):
        rest = None
        if message.rest:
            parts = urlsplit(message.url)
            rest = (parts.path, dict(parse_qsl(parts.query)))
        check.take(message.ts_ns, message.connection, message.venue, rest, message.body, message.url)
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
    missing, repeated, out of order, refused, or if a book or bar does not equal what the venue says of it.

    A file that cannot be read is told and costs exit code 2; the others are read all the same.

    Forms: own recordings and converted bars; lines of '<receive time> <JSON>'; cryptofeed's second and third; CSV of
    bars, and trades, aggTrades and bookTicker of the Binance archive, plain, gzip or zip.
    """
    with _door():
        refused: list[RecordingError] = []
        captures = find_captures(paths, refused)
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
            found = []
            for capture in captures:
                task = bar.add_task(capture.name, total=None)
                try:
                    if isinstance(capture, RawCapture):
                        moved = functools.partial(_moved, bar, task)
                        found.append(check_capture(capture, moved))
                    else:
                        found.append(capture.check())
                except RecordingError as error:
                    refused.append(error)
                bar.remove_task(task)
        _join_archives(found)
        if json:
            import orjson

            for one in found:
                typer.echo(orjson.dumps(one).decode())
        else:
            _show(found)
        _tell_refused(refused)
        raise typer.Exit(2 if refused else 1 if any(_fault(one) for one in found) else 0)


def _join_archives(found: list[dict[str, Any]]) -> None:
    """What is missing between two files of the archive that go on with each other's trades, or is in both."""
    chains: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for one in found:
        if one.get("numbers", [None])[0] is not None and "bookTicker" not in one["messages"]:
            chains.setdefault((one["venue"], one["symbol"], *one["messages"]), []).append(one)
    for chain in chains.values():
        for before, after in pairwise(sorted(chain, key=lambda one: one["numbers"])):
            missing = after["numbers"][0] - before["numbers"][1] - 1
            after["gaps"] += max(0, missing)
            after["duplicates"] += max(0, -missing)


def _moved(bar: Progress, task: TaskID, done: int) -> None:
    bar.update(task, completed=done)


def _tell_refused(refused: list[RecordingError]) -> None:
    """Files that could not be read: a line each; the others were read all the same."""
    for error in refused:
        _complain(error)


def _fault(one: dict[str, Any]) -> str:
    """What is wrong with a capture, in words; "" if it is sound."""
    book, bars = one["book"], one.get("bars", {"compared": 0, "equal": 0})
    faults = {
        "of a venue that is not supported": one["rejected"].get("unknown_venue", 0),
        "refused": sum(one["rejected"].values()) - one["rejected"].get("unknown_venue", 0),
        "unlike the venue's word": book["compared"] - book["equal"] + book["near"] - book["near_equal"],
        "crossed": book["crossed"],
        "bars unlike their trades": bars["compared"] - bars["equal"],
        "missing": one["gaps"],
        "without a book": book["stale"],
        "out of order": one["out_of_order"],
        "repeated": one["duplicates"],
        "parts not there": one.get("lost", 0),
        "silences of hours": one.get("silences", 0),
    }
    return ", ".join(f"{count:,} {what}" for what, count in faults.items() if count)


@app.command(epilog="Example: bot4-data convert BTCUSDT-aggTrades-2024-08-08.zip recordings/btc --tick-size 0.01")
def convert(
    sources: Annotated[
        list[Path], typer.Argument(help="Files of one kind: archive, bars, or raw captures.", readable=False)
    ],
    out: Annotated[Path, typer.Argument(help="Folder that gets the Parquet files.", readable=False)],
    tick_size: Annotated[str | None, typer.Option("--tick-size", help="Default: as fine as the finest price.")] = None,
    lot_size: Annotated[str | None, typer.Option("--lot-size", help="Default: as fine as the finest quantity.")] = None,
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Turn files into own recordings that sessions replay, or bars into Parquet; all prices and quantities exact.

    Raw captures take the sizes of instruments.toml; instruments that are not there are left out, and told. Where none
    is, the error names what an [[instrument]] needs, and prints those that the capture tells the sizes of. Lines of
    Binance are read as a replay reads them, other forms and venues as a live session reads its connections.

    Exit code 1: records are missing, for the disk took no more.
    """
    with _door():
        captures = find_captures(sources)
        kinds = {type(capture) for capture in captures}
        if len(kinds) > 1:
            raise RecordingError("convert: files of several kinds are named; name those of one kind")
        said: list[dict[str, Any]]
        with _progress() as moved:
            if kinds == {ArchiveFile}:
                archives = [capture for capture in captures if isinstance(capture, ArchiveFile)]
                head, gaps = convert_archives(archives, out, sizes_of(tick_size, lot_size))
                said = [{"folder": str(out), "ticks": head.ticks, "files": head.files, "gaps": gaps}]
            elif kinds == {BarFile}:
                bars = [capture for capture in captures if isinstance(capture, BarFile)]
                refuse_names(bars, out)
                said = [convert_bars(capture, out, sizes_of(tick_size, lot_size)) for capture in bars]
            elif kinds == {RawCapture}:
                if tick_size or lot_size:
                    raise RecordingError("convert: sizes of raw captures stand in instruments.toml; leave them out")
                from workers.convert import NotConfiguredError, convert_captures

                raw = [capture for capture in captures if isinstance(capture, RawCapture)]
                refuse_apart(raw)
                try:
                    said = [convert_captures(config, raw, out, moved)]
                except NotConfiguredError as error:
                    for table in error.tables:
                        _print(table)
                    raise
            else:
                raise RecordingError("convert: what is named is converted already; use it as it is")
        for one in said:
            if "folder" in one and one["ticks"]:
                one["told"] = [*one.get("told", []), *silences_of(Path(one["folder"]))]
        _tell(said, json)


@app.command(epilog="Example: bot4-data record --feed live --out recordings/")
def record(
    out: Annotated[
        Path, typer.Option("--out", help="Folder in which the recording gets a folder of its own.", readable=False)
    ],
    feed: Annotated[str, typer.Option("--feed", help="synthetic[:SEED] | replay:PATH[,PATH...] | live")] = "live",
    raw: Annotated[bool, typer.Option("--raw", help="Record each raw message too.")] = False,
    speed: Annotated[str, typer.Option("--speed", help="1x | Nx | max")] = "max",
    config: Config = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Record a market without trading on it, until it ends or Ctrl-C. Exit code 1: records are missing."""
    with _door():
        from workers.record import record as record_feed

        with _progress() as moved:
            said = record_feed(config, feed, out, raw=raw, speed=speed, moved=moved)
        _tell([said], json)


@app.command(epilog="Example: bot4-data verify state/sessions/20261129T120000-4711")
def verify(
    path: Annotated[Path, typer.Argument(help="A session's folder, or its journal.", readable=False)],
    json: Json = False,
) -> None:
    """Prove that a journal is whole: every record, the chain over all segments, the mark of what is synced, snapshots.

    Nothing is changed. Exit code 1 names the first thing that is damaged.
    """
    with _door():
        from bot4.engine.journal import segments_of
        from bot4.engine.journal_mark import committed, read_mark
        from bot4.engine.journal_snapshot import check_snapshots

        journal = path / JOURNAL_NAME if path.is_dir() else path
        if not journal.is_file():
            raise InputError(f"{journal}: no journal there; name a session's folder or its {JOURNAL_NAME}")
        records = committed(journal)
        mark = read_mark(journal)
        said: dict[str, Any] = {"journal": str(journal), "records": len(records)}
        said |= {"segments": len(segments_of(journal)), "snapshots": len(check_snapshots(journal, records))}
        said |= {"synced": mark.seq, "starts": mark.epoch} if mark else {}
        _tell([said], json)


@app.command(epilog="Example: bot4-data journal state/sessions/20261129T120000-4711 | grep sized_by")
def journal(
    folder: Annotated[Path, typer.Argument(help="A session's folder.", readable=False)],
) -> None:
    """Print what execution knew and did, in order: one JSON object for each order, refusal, answer and event.

    Each entry says what sized it, each refusal why. Samples of prices are left out. The journal is checked first.
    """
    with _door():
        import orjson

        from bot4.adapters.files.journal_lines import journal_lines
        from bot4.engine.journal_mark import committed

        file = folder / JOURNAL_NAME
        if not file.is_file():
            raise InputError(f"{folder}: no {JOURNAL_NAME} there; name a session's folder")
        for said in journal_lines(committed(file), _sizes(folder / "inputs" / "command.json")):
            typer.echo(orjson.dumps(said).decode())


def _sizes(command: Path) -> list[tuple[str, Decimal, Decimal]]:
    """Name, tick size and lot size of each instrument, if the session's folder tells them."""
    try:
        rows = json_of(command.read_bytes())["instruments"]
        return [(name, Decimal(tick), Decimal(lot)) for name, tick, lot in rows]
    except (OSError, KeyError, TypeError, ValueError, ArithmeticError):
        return []


@app.command("verify-session", epilog="Example: bot4-data verify-session state/sessions/20261129T120000-4711")
def verify_session(
    folder: Annotated[Path, typer.Argument(help="The session's folder.", readable=False)],
    json: Json = False,
) -> None:
    """Play a session that was paced by event time again, and compare all that it decided and traded with its journal.

    Exit code 1 shows the first row that is another, as it was recorded and as it was replayed.
    """
    with _door():
        from workers.verify_session import verify_session as verify_again

        said = verify_again(folder)
        difference = said.pop("difference")
        _tell([said if json else {"session": str(folder), "rows": said["rows"]}], json)
        if difference is None:
            return
        _tell([difference], json)
        _complain(f"{folder}: row {difference['row']} of {said['rows']} is another; its code or its data have changed")
        raise typer.Exit(1)


@app.command(hidden=True)
def replay(paths: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Sessions replay: this command says how."""
    with _door():
        named = ",".join(paths or ["PATH"])
        raise InputError(f"replay: recordings are replayed by bot4-supervisor start --feed replay:{named}")


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """A count of messages on a terminal."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("messages", total=None)
        yield functools.partial(_moved, bar, task)


def _tell(said: list[dict[str, Any]], json: bool) -> None:
    sentences = ("lacking", "told")
    for one in said:
        if json:
            import orjson

            typer.echo(orjson.dumps(one).decode())
        else:
            told = {name: value for name, value in one.items() if name not in (*sentences, "left_out")}
            _print(", ".join(f"{name} {_worded(value)}" for name, value in told.items()))
            if one.get("left_out"):
                _print(f"left out, not in {INSTRUMENTS_FILE}: messages {_worded(one['left_out'])}")
        for sentence in (text for name in sentences for text in one.get(name, [])):
            _complain(sentence)
        if one.get("dropped"):
            _complain(f"{one['dropped']:,} records are in no file; make room and do it again")
    if any(one.get("dropped") for one in said):
        raise typer.Exit(1)


def _worded(value: Any) -> str:
    """A count, counts by reason, or a text."""
    if isinstance(value, dict):
        reasons = ", ".join(f"{name} {count:,}" for name, count in value.items())
        return f"{sum(value.values()):,}" + (f" ({reasons})" if reasons else "")
    return f"{value:,}" if isinstance(value, int) else str(value)


@app.command("list", epilog="Example: bot4-data list recordings/")
def list_(paths: Paths, json: Json = False) -> None:
    """Name the captures that files and folders hold, and the files that belong together."""
    with _door():
        refused: list[RecordingError] = []
        captures = find_captures(paths, refused)
        if json:
            import orjson

            for capture in captures:
                files = [str(path) for path in capture.files]
                typer.echo(orjson.dumps({"name": capture.name, "files": files}).decode())
            _tell_refused(refused)
            raise typer.Exit(2 if refused else 0)
        table = Table(_folded("capture"), _folded("files"), box=None, pad_edge=False)
        for capture in captures:
            table.add_row(capture.name, "\n".join(str(path) for path in capture.files))
        _print(table)
        _tell_refused(refused)
        raise typer.Exit(2 if refused else 0)


def _show(found: list[dict[str, Any]]) -> None:
    columns = ("venue", "messages", "refused", "compared", "equal", "near", "near =", "stale", "gaps", "doubles")
    table = Table(_folded("capture"), *columns, "clock ms", box=None, pad_edge=False)
    for one in found:
        book, offset = one["book"], one["clock_offset_ms"]
        numbers = (sum(one["messages"].values()), sum(one["rejected"].values()), book["compared"], book["equal"],
                   book["near"], book["near_equal"], book["stale"], one["gaps"], one["duplicates"])  # fmt: skip
        clock = "" if offset is None else f"{offset:,.1f}"
        table.add_row(one["name"], one["venue"], *(f"{number:,}" for number in numbers), clock)
    _print(table)
    for one in found:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in one["messages"].items())
        sound = "unguarded" if one.get("unguarded") else "sound"
        _print(f"{one['name']}: {_fault(one) or sound}: {kinds or 'no message was read'}")
        for told in one.get("told", []):
            _print(f"{one['name']}: {told}")
        if one.get("restarts"):
            _print(f"{one['name']}: the feed was started again {one['restarts']:,} times; nothing is missing there")
        for reason, text in one["complaints"].items():
            _print(f"{one['name']}: {one['rejected'][reason]:,} refused as {text}")


def _folded(name: str) -> Column:
    """A column whose texts are never cut."""
    return Column(name, overflow="fold")


def _print(content: Any) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    console.print(content, highlight=False, markup=False, soft_wrap=isinstance(content, str))


def main() -> None:
    """Entry point of the command."""
    run_door("bot4-data", app)


if __name__ == "__main__":
    main()
