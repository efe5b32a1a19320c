"""Raw captures as they lie on disk: which files belong together, which venue they come from, message after message.

    <receive time> <json>                     streams of one instrument, ns or us; day files are a chain
    URL -> time: body | URL <- time: sent     cryptofeed's second form, REST and websocket in files of one folder,
    URL <-> time      | time: received        one file a connection; times in seconds
    {"t": "recv", "conn": .., "ts": ..}       cryptofeed's third form, everything in one file
    raw/date=DAY/NAME.VENUE/part-N.gz         raw messages of an own recording: lines of the first form, a folder an
                                              instrument, and a folder VENUE for messages of none

A capture may begin anywhere: of a connection whose address is not there, the messages tell the venue (`origin`). A
connection that is made again is another one, for its numbers begin anew. A line that is none is a message that its
decoder refuses, so nothing is lost here.

Read line by line: memory is bounded by the longest line. All text stays bytes; no message is interpreted here, but for
a partial book of Binance on a connection of its own: its address alone names it, so it gets the envelope that does.
"""

import gzip
import heapq
import os
import re
import zlib
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from bot4.adapters.files.archive import ArchiveFile, archive_file
from bot4.adapters.files.bars import BarFile, are_bars, are_funding_rates, first_lines
from bot4.adapters.files.capture import (
    DETECT_LINES,
    GAP_NS,
    LATEST_NS,
    LINE_BYTES,
    ZIP_MAGIC,
    detect,
    open_recording,
    time_of,
)
from bot4.adapters.files.converted_bars import ConvertedBars, are_converted_bars, converted_bars
from bot4.adapters.files.origin import origin_of
from bot4.adapters.files.recording import HEAD_NAME, SUMS_NAME, as_received
from bot4.adapters.files.recording_check import RecordingFiles, recording_files
from bot4.model.errors import RecordingError

# host and beginning of the path -> venue; the first that fits
_VENUES = (
    ("stream.binance.com", "", "binance_spot"),
    ("data-stream.binance.vision", "", "binance_spot"),
    ("data-api.binance.vision", "", "binance_spot"),
    ("api.binance.com", "", "binance_spot"),
    ("fstream.binance.com", "", "binance_usdm"),
    ("fapi.binance.com", "", "binance_usdm"),
    ("stream.bybit.com", "/v5/public/linear", "bybit_linear"),
    ("stream.bybit.com", "/v5/public/spot", "bybit_spot"),
    ("ws.kraken.com", "/v2", "kraken_v2"),
    ("ws.kraken.com", "", "kraken_v1"),
    ("api.kraken.com", "", "kraken_v1"),
    ("advanced-trade-ws.coinbase.com", "", "coinbase"),
    ("api.coinbase.com", "", "coinbase"),
)
_SNAPSHOTS = {
    "binance_spot": "https://api.binance.com/api/v3/depth",
    "binance_usdm": "https://fapi.binance.com/fapi/v1/depth",
    "synthetic": "https://api.binance.com/api/v3/depth",  # it speaks as spot does
}
_TIME = rb"([0-9]{1,10}\.[0-9]{1,9})"  # seconds
_THIRD = re.compile(rb'\s*\{\s*"t"\s*:')
_HEAD_LINES = 20  # of a file, within which one shows its form: the first ones may be blank, or the rest of a cut one
_HEAD_BYTES = 1 << 22
_REST = re.compile(rb"(\S+://\S+) -> " + _TIME + rb": (.*)", re.DOTALL)
_CONNECT = re.compile(rb"(wss?://.+) <-> " + _TIME + rb"\s*")
_SENT = re.compile(rb"(wss?://.+) <- " + _TIME + rb": ")
_RECEIVED = re.compile(_TIME + rb": (.*)", re.DOTALL)
_PARTIAL_BOOK = re.compile(r".*/ws/([^/?]+@depth(?:5|10|20)(?:@[0-9]+ms)?)/?")
_BOOK = re.compile(rb'\s*\{\s*"(?:lastUpdateId"|e"\s*:\s*"depthUpdate")')
_MORE_LINES = 10_000  # of a body that was written with line breaks
_PART = re.compile(r"(.+?)\.(?:http\.|ws\.)?[0-9.]*\.?0(?:\.gz)?")  # NAME.0, NAME.http.0.0, NAME.ws.1.0


class RawMessage(NamedTuple):
    """One thing that was received."""

    ts_ns: int
    connection: str  # messages of one connection are in order and numbered together
    venue: str  # key of a decoder; "" if the host is not known
    rest: bool
    url: str
    body: bytes


class RawCapture(NamedTuple):
    """Files that were recorded together, in the order of their first message."""

    name: str
    venue: str  # of the lines of the first form, whose connections have no address; "" else
    symbol: str  # "": of several
    files: tuple[Path, ...]

    def messages(self) -> Iterator[RawMessage]:
        """All messages in order of receive time. RecordingError if a file is damaged."""
        if self.venue and not self.symbol:
            by_name: dict[str, list[Path]] = {}
            for path in self.files:
                by_name.setdefault(path.parent.name, []).append(path)
            own = [self._lines_of_recording(files) for files in by_name.values()]
            yield from heapq.merge(*own, key=lambda message: message.ts_ns)
            return
        if self.venue:
            for path in self.files:  # day after day, never beside each other
                yield from self._lines_of_streams(path)
            return
        parts = [_third_form(path) if _is_third_form(path) else _second_form(path) for path in self.files]
        yield from heapq.merge(*parts, key=lambda message: message.ts_ns)

    def _lines_of_recording(self, files: Iterable[Path]) -> Iterator[RawMessage]:
        """Which connection brought a message is not written down."""
        for path in files:
            for message in self._lines_of_streams(path):
                body = as_received(message.body)
                if message.rest:
                    symbol = path.parent.name.rpartition(".")[0]
                    yield message._replace(connection="", body=body, url=f"{_SNAPSHOTS[self.venue]}?symbol={symbol}")
                else:
                    yield message._replace(connection="", body=body)

    def _lines_of_streams(self, path: Path) -> Iterator[RawMessage]:
        for line in _lines(path):
            if not line.strip():
                continue
            body, ts_ns = line.partition(b" ")[2], time_of(line)
            good = ts_ns > 0
            # a snapshot was fetched by REST and lies among the streams without its address
            rest = good and self.venue in _SNAPSHOTS and body.startswith(b'{"lastUpdateId"')
            url = f"{_SNAPSHOTS[self.venue]}?symbol={self.symbol}" if rest else ""
            yield RawMessage(ts_ns, "rest" if rest else "stream", self.venue, rest, url, body if good else line)


class _Line(msgspec.Struct):
    t: str
    conn: str = ""
    ts: float = 0.0
    url: str = ""
    addr: str = ""
    data: str = ""


Found = RawCapture | BarFile | ConvertedBars | ArchiveFile | RecordingFiles


def find_captures(paths: Iterable[Path], refused: list[RecordingError] | None = None) -> list[Found]:
    """The captures that these files and folders hold.

    Parameters
    ----------
    paths : files and folders
    refused : takes the error of each file that cannot be read or is no capture; None: the first one is raised

    Raises
    ------
    RecordingError
        there is no file at all, or one is no capture and nobody takes the errors
    """
    tables: list[BarFile | ArchiveFile] = []
    recordings: dict[Path, RecordingFiles] = {}
    chains: dict[str, list[tuple[int, int, Path]]] = {}
    groups: dict[tuple[Path, str], list[Path]] = {}
    streams: dict[str, tuple[str, str]] = {}
    raw: dict[tuple[Path, str], list[Path]] = {}
    bars: dict[Path, ConvertedBars] = {}
    for path in _files(paths, refused):
        try:
            if are_converted_bars(path):
                bars |= {one.files[-1]: one for one in converted_bars(path)}
                continue
            home = _recording_of(path)
            if home is not None:
                recordings[home] = recordings.get(home) or recording_files(home)
                continue
            venue = _raw_of_recording(path)
            if venue:
                raw.setdefault((path.parents[3], venue), []).append(path)
                continue
            head = _first_lines(path)
            form = _form_of(head)
            if form == "lines":
                found = detect(path)
                key = f"{found.venue}:{found.symbol}"
                streams[key] = (found.venue, found.symbol)
                chains.setdefault(key, []).append((found.first_ns, found.last_ns, path))
            elif form == "third":
                groups[path.parent, path.name.removesuffix(".gz").removesuffix(".jsonl")] = [path]
            elif form == "second":
                part = _PART.fullmatch(path.name)
                groups.setdefault((path.parent, part[1] if part else path.name), []).append(path)
            elif (archive := archive_file(path, head[0], head[1])) is not None:
                tables.append(archive)
            elif are_bars(head[0]):
                tables.append(BarFile(path.name, (path,), are_funding_rates(path)))
            else:
                raise RecordingError(f"{path}: no capture of a form that is known; see bot4-data check --help")
        except RecordingError as error:
            if refused is None:
                raise
            refused.append(error)
    made: list[Found] = []
    for key in sorted(chains):
        made += _chains(key, streams[key], sorted(chains[key]))
    made += [RawCapture(name, "", "", tuple(sorted(files))) for (_, name), files in sorted(groups.items())]
    made += [
        RawCapture(f"{home.name}/raw:{venue}", venue, "", tuple(sorted(files)))
        for (home, venue), files in sorted(raw.items())
    ]
    made += [*tables, *bars.values()]
    made += recordings.values()
    if not made and not refused:
        raise RecordingError("no file named; write bot4-data check PATH...")
    return made


def _chains(key: str, stream: tuple[str, str], files: list[tuple[int, int, Path]]) -> list[RawCapture]:
    """Files of one instrument as captures: what begins long after the one before ended is another capture."""
    parts: list[list[Path]] = []
    ended_ns = 0
    days = []
    for first_ns, last_ns, path in files:
        if not parts or first_ns - ended_ns > GAP_NS:
            parts.append([])
            days.append(datetime.fromtimestamp(first_ns // 10**9, UTC).strftime("%Y-%m-%d"))
        parts[-1].append(path)
        ended_ns = max(ended_ns, last_ns)
    names = [key] if len(parts) == 1 else [f"{key}@{day}" for day in days]
    return [RawCapture(name, *stream, tuple(part)) for name, part in zip(names, parts, strict=True)]


def refuse_apart(captures: Iterable[RawCapture]) -> None:
    """RecordingError if lines of one instrument lie apart by hours: one recording would carry positions across."""
    first: dict[tuple[str, str], RawCapture] = {}
    for capture in captures:
        before = first.setdefault((capture.venue, capture.symbol), capture)
        if capture.symbol and before is not capture:
            raise RecordingError(
                f"{before.files[-1]}, {capture.files[0]}: more than an hour without data lies between them "
                f"({before.name}, {capture.name}), and a session on one recording of both would carry position, stop "
                "and indicators across; convert each by itself"
            )


def _recording_of(path: Path) -> Path | None:
    """The folder of the own recording that a file belongs to; None for any other, its raw messages among them."""
    if path.name not in (HEAD_NAME, SUMS_NAME) and path.suffix != ".parquet":
        return None
    for folder in list(path.parents)[:3]:
        if (folder / HEAD_NAME).is_file():
            return folder
    raise RecordingError(f"{path}: no {HEAD_NAME} beside it or above it; it is no part of a recording")


def _raw_of_recording(path: Path) -> str:
    """The venue that a file of an own recording holds raw messages of; "" for any other file."""
    folders = [folder.name for folder in list(path.parents)[:3]]
    if len(folders) < 3 or folders[2] != "raw" or not (path.parents[3] / HEAD_NAME).is_file():
        return ""
    venue = folders[0].rpartition(".")[2]
    return "kraken_v2" if venue == "kraken" else venue


def _files(paths: Iterable[Path], refused: list[RecordingError] | None) -> Iterator[Path]:
    """The files that are named, and those in folders that are, in order; a folder that cannot be read is refused."""
    for path in paths:
        denied: list[OSError] = []
        try:
            if not path.is_dir():
                yield path
                continue
            inside = sorted(
                child
                for folder, _, names in os.walk(path, onerror=denied.append)
                for child in (Path(folder, name) for name in names if not name.startswith("."))
                if child.is_file()
            )
        except OSError as error:
            denied, inside = [error], []
        errors = [
            RecordingError(f"{error.filename}: cannot be read ({error.strerror}); give what can be") for error in denied
        ]
        if not inside and not denied:
            errors.append(RecordingError(f"{path}: no plain file in this folder; name one with captures"))
        if errors and refused is None:
            raise errors[0]
        if refused is not None:
            refused += errors
        yield from inside


def _lines(path: Path) -> Generator[bytes, None, None]:
    with open_recording(path) as file:
        try:
            while line := file.readline(LINE_BYTES):
                if len(line) == LINE_BYTES:
                    raise RecordingError(f"{path}: a line longer than {LINE_BYTES:,} bytes; that is no capture")
                yield line
        except EOFError:
            raise RecordingError(f"{path}: the gzip file is truncated; fetch it again") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise RecordingError(f"{path}: the gzip file is damaged ({error}); fetch it again") from None


def _first_lines(path: Path) -> list[bytes]:
    """At least two lines of a file, blank ones left out, up to the first that shows the form of a capture."""
    lines, found, size = _lines(path), [], 0
    for line in islice(lines, _HEAD_LINES):
        size += len(line)
        if line.startswith(ZIP_MAGIC):
            found = list(first_lines(path))
            break
        if line.strip():
            found.append(line)
        if size > _HEAD_BYTES or _form_of(found):
            break
    lines.close()
    if not found:
        raise RecordingError(f"{path}: the file is empty; fetch it again or leave it out")
    return [*found, b""]


def _form_of(lines: Iterable[bytes]) -> str:
    """Form of the first line that has one; "": none has."""
    for line in lines:
        if time_of(line):
            return "lines"
        if _THIRD.match(line):
            return "third"
        if any(form.match(line) for form in (_RECEIVED, _REST, _CONNECT, _SENT)):
            return "second"
    return ""


def _second_form(path: Path) -> Iterator[RawMessage]:
    """Bodies may hold line breaks: what begins as none of the known lines goes on with the one before."""
    url, venue, opened, pending, more, size = "", "", 0, None, [b""], 0
    told = cache(lambda: origin_of(_bodies_of_second(path))[0])  # once, whatever it is
    for line in _lines(path):
        found: RawMessage | None = None
        if match := _RECEIVED.match(line):
            venue = venue if url or venue else told()
            ts_ns = _ns(match[1])
            body = _named_book(url, match[2]) if ts_ns else line  # whoever decodes that refuses it
            found = RawMessage(ts_ns, _numbered(path.name, opened), venue, False, url, body)
        elif match := _REST.match(line):
            address = match[1].decode(errors="replace")
            ts_ns = _ns(match[2])
            found = RawMessage(ts_ns, path.name, venue_of(address), True, address, match[3] if ts_ns else line)
        elif match := _CONNECT.match(line):
            url = match[1].decode(errors="replace")
            venue, opened = venue_of(url), opened + 1
        elif not _SENT.match(line) and not line.startswith(b"configuration: "):
            if pending is not None and line.strip():
                more.append(line)
                size += len(line)
                if size > LINE_BYTES or len(more) > _MORE_LINES:
                    raise RecordingError(f"{path}: a message of more than {_MORE_LINES:,} lines; that is no capture")
            elif line.strip():  # the rest of a message whose beginning was cut off
                yield RawMessage(0, path.name, venue or told(), False, url, line)
            continue
        if pending is not None:
            yield pending._replace(body=pending.body + b"".join(more))
        pending, more, size = found, [], 0
    if pending is not None:
        yield pending._replace(body=pending.body + b"".join(more))


def _bodies_of_second(path: Path) -> Iterator[bytes]:
    """What the only connection of a file received first."""
    matches = (_RECEIVED.match(line) for line in islice(_lines(path), DETECT_LINES))
    return (match[2] for match in matches if match)


def refuse_conversations(paths: Iterable[Path]) -> None:
    """RecordingError if a file is of the second or third form, which no session plays by itself."""
    for path in paths:
        form = _form_of(_first_lines(path))
        if form in ("second", "third"):
            named = path if form == "third" else path.parent
            raise RecordingError(
                f"{path}: a capture of connections, which no session plays by itself: convert it first, bot4-data "
                f"convert {named} OUT, and replay what that writes"
            )


def _is_third_form(path: Path) -> bool:
    return _form_of(_first_lines(path)) == "third"


def _third_form(path: Path) -> Iterator[RawMessage]:
    addresses: dict[str, str] = {}
    venues: dict[str, str] = {}
    opened: Counter[str] = Counter()
    venue, ts_ns = "", 0  # of the message before
    told = cache(lambda: origin_of(_bodies_of_third(path))[0])  # once, whatever it is
    for text, line in _lines_of_third(path):
        if line is None:
            venue = venue or told()
            yield RawMessage(ts_ns, "", venue, False, "", text)
        elif line.t == "connect":
            addresses[line.conn] = line.addr
            venues[line.conn] = venue_of(line.addr)
            opened[line.conn] += 1
        elif line.t in ("http", "recv"):
            rest = line.t == "http"
            if not rest and line.conn not in venues:
                venues[line.conn] = origin_of(_bodies_of_third(path, line.conn))[0]
            url = line.url if rest else addresses.get(line.conn, "")
            venue = venue_of(url) if rest else venues[line.conn]
            ts_ns = round(line.ts * 1e6) * 1_000
            body = line.data.encode() if rest else _named_book(url, line.data.encode())
            yield RawMessage(ts_ns, _numbered(line.conn, opened[line.conn]), venue, rest, url, body)


def _lines_of_third(path: Path) -> Iterator[tuple[bytes, _Line | None]]:
    """Each line and what it says; None: it is no such line, or its time is none. RecordingError if all are such."""
    decoder = msgspec.json.Decoder(_Line)
    good = False
    for text in _lines(path):
        if not text.strip():
            continue
        line = None
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            line = decoder.decode(text)
        if line and line.t in ("http", "recv") and not 0 < line.ts < LATEST_NS / 1e9:
            line = None
        good = good or line is not None
        yield text, line
    if not good:
        raise RecordingError(f"{path}: no line of it can be read; fetch it again")


def _bodies_of_third(path: Path, connection: str = "") -> Iterator[bytes]:
    """What a connection received first; "": any."""
    lines = (line for _, line in _lines_of_third(path) if line and line.t == "recv")
    found = (line.data.encode() for line in lines if connection in ("", line.conn))
    return islice(found, DETECT_LINES)


def _named_book(url: str, body: bytes) -> bytes:
    """The message of an address, in the envelope of its stream if it is a partial book that bears no name."""
    stream = _PARTIAL_BOOK.fullmatch(url)
    return b'{"stream":"%s","data":%s}' % (stream[1].encode(), body.strip()) if stream and _BOOK.match(body) else body


def _numbered(connection: str, opened: int) -> str:
    """The name of a connection that has been made so many times."""
    return f"{connection}#{opened}" if opened > 1 else connection


def _ns(seconds: bytes) -> int:
    """Nanoseconds; 0: no time that a feed can count with."""
    whole, _, fraction = seconds.partition(b".")
    ts_ns = int(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0") or 0)
    return ts_ns if ts_ns < LATEST_NS else 0


def venue_of(url: str) -> str:
    """Which decoder reads what comes from an address; "" if none does."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return ""
    for known, path, venue in _VENUES:
        if host == known and parts.path.startswith(path):
            return venue
    if host == "api.bybit.com":
        return "bybit_linear" if "category=linear" in parts.query else "bybit_spot"
    return ""
