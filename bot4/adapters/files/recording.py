"""Own recordings: every record that a feed published, as Parquet by day and instrument, and raw messages beside them.

    FOLDER/20240808T235415-4711/
        recording.json                                       instruments with their sizes, what is missing
        sums.txt                                             <CRC-32> <bytes> <rows> <part>, a line each
        date=2024-08-08/BTCUSDT.binance_usdm/part-00001.parquet
        raw/date=2024-08-08/BTCUSDT.binance_usdm/part-00001.gz      <receive time ns> <message>
        raw/date=2024-08-08/binance_usdm/part-00001.gz              messages of no instrument

A row is a TICK without the ring's sequence, and `number`, which counts the records of all instruments and so tells
their order. Days are of the receive time, in UTC. A file appears whole: it is written beside its place, then renamed.
The line of its sum is written before that, so no part is without one, and only the last line of a recorder that was
killed can be without its part. Recordings of older builds have no sums: their parts are read unguarded.

A raw message is a line. Line breaks between the words of a JSON message become blanks; one that holds them and is no
JSON begins with a backslash, behind which two of them stand for one, and one with an n for a line break.

Parquet by polars: others can read it, and columns of integers compress to a fifth. Polars is imported only by whoever
reads or writes, for it starts threads, and whoever forks must have none.
"""

import errno
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from bot4.model.enums import FLAG_SNAPSHOT, STATUS_STALE, TICK_STATUS
from bot4.model.errors import RecordingError
from bot4.model.records import TICK
from bot4.ports.store import NUMBERS_APART, Raw, Written
from bot4.shm.byte_ring import TAKEN_AT, TAKEN_END, TAKEN_NS, TAKEN_SOURCE

HEAD_NAME = "recording.json"
SUMS_NAME = "sums.txt"
VERSION = 1
DAY_NS = 86_400 * 1_000_000_000
COLUMNS = tuple(name for name in TICK.names or () if name != "seq")
NUMBER = "number"
SILENCE_NS = 3_600 * 1_000_000_000  # between two records of an instrument: more is told
MEND = "restore it from a copy, or move it out of the recording, which then lacks what it held"
_SUM = re.compile(rb"([0-9a-f]{8}) ([0-9]+) ([0-9]+) (.+)")
HOLES_TOLD = 1_000  # in recording.json; all are counted, and seen in the numbers of the rows
_FAST = 1  # gzip: a recorder shares its core
_MAGIC = b"PAR1"
_ESCAPE = b"\\"
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


class Hole(NamedTuple):
    """Records of one instrument that are not in the recording."""

    instrument: int
    after: int  # event number before the hole
    missing: int
    ts_ns: int  # of the record after it


class Sum(NamedTuple):
    """What a part was when it was written."""

    crc: int
    size: int  # bytes
    rows: int  # records, or raw messages


class Listed(msgspec.Struct, forbid_unknown_fields=True):
    """One instrument of a recording; its place in the list is the `instrument` of the rows."""

    symbol: str
    venue: str
    tick_size: str
    lot_size: str

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return f"{self.symbol.replace('/', '-')}.{self.venue}"


class Head(msgspec.Struct, forbid_unknown_fields=True):
    """`recording.json`."""

    version: int
    bot4: str
    feed: str  # as it was named
    synthetic: bool  # no market made these data
    clock: str  # "receive": rows have their receive time; "venue": there was none, they have the venue's own
    instruments: list[Listed]
    ticks: int = 0  # rows written
    raw: int = 0  # raw messages written
    files: int = 0
    restarts: int = 0  # how often the feed was started again: its numbers leap there, and nothing is missing
    missing: int = 0  # records: those that the numbers of the rows show to be missing, and those lost at the end
    holes: list[Hole] = []  # the first ones
    ended: bool = False  # it was closed in order


class RecordingWriter:
    """Writes the parts of one recording; a second one on the same folder goes on.

    Parameters
    ----------
    folder : of this recording alone
    head : what is known before it begins
    """

    def __init__(self, folder: Path, head: Head) -> None:
        self._folder, self._head = folder, head
        self._next: dict[Path, int] = {}
        self._last: dict[int, int] = {}  # event number of the last record of each instrument
        self._restarts = np.zeros(len(head.instruments), np.int64)  # of the feed, as each instrument saw them
        names = [listed.folder for listed in head.instruments]
        self._raw_folders = names + sorted({listed.venue for listed in head.instruments})
        if (folder / HEAD_NAME).exists():
            before = read_head(folder / HEAD_NAME)
            head.missing, head.holes, head.restarts = before.missing, before.holes, before.restarts
            self._count_again()

    def _count_again(self) -> None:
        """What lies there after a writer was killed: files are whole or not there."""
        import polars as pl

        head = self._head
        for leftover in self._folder.rglob(".part-*"):
            leftover.unlink(missing_ok=True)
        self._mend_sums()
        parts = sorted(self._folder.glob("date=*/*/part-*.parquet"))
        raw = sorted(self._folder.glob("raw/date=*/*/part-*.gz"))
        head.ticks = sum(pl.scan_parquet(path).select(pl.len()).collect().item() for path in parts)
        for index, listed in enumerate(head.instruments):
            own = [path for path in parts if path.parent.name == listed.folder]
            if own:
                self._last[index] = int(pl.read_parquet(own[-1], columns=["event_no"])["event_no"][-1])
        head.raw = 0
        for path in raw:
            with gzip.open(path) as file:
                head.raw += sum(1 for _ in file)
        head.files = len(parts) + len(raw)

    def _mend_sums(self) -> None:
        """Take off the end of the sums what a writer that was killed did not get to: a part, or half a line."""
        path = self._folder / SUMS_NAME
        if not path.exists():
            return
        lines = path.read_bytes().split(b"\n")[:-1]
        if lines and not (self._folder / lines[-1].split(b" ", 3)[-1].decode(errors="replace")).exists():
            del lines[-1]
        write_whole(path, b"".join(line + b"\n" for line in lines))

    def write(self, ticks: np.ndarray, raw: Raw) -> None:
        """Write a part; see the port. What could be written stays, also if another file could not."""
        head = self._head
        failure: RecordingError | None = None
        before = int(self._restarts.max())
        for day, index, rows in _groups(ticks["ts_recv_ns"], ticks["instrument"]):
            try:
                self._write_ticks(self._folder / _day(day) / head.instruments[index].folder, ticks[rows])
                head.ticks += len(rows)
                head.files += 1
                self._note_holes(holes_of(ticks[rows], self._last, self._restarts))
            except RecordingError as error:
                failure = error
        head.restarts += int(self._restarts.max()) - before
        times = _times(raw)
        for day, index, rows in _groups(times, raw.table[:, TAKEN_SOURCE]):
            try:
                self._write_raw(self._folder / "raw" / _day(day) / self._raw_folders[index], raw, rows)
                head.raw += len(rows)
                head.files += 1
            except RecordingError as error:
                failure = error
        try:
            self._write_head()
        except RecordingError as error:
            failure = error
        if failure is not None:
            raise failure

    def written(self) -> Written:
        """What lies there."""
        return Written(self._head.ticks, self._head.raw, self._head.files)

    def _note_holes(self, holes: list[Hole]) -> None:
        head = self._head
        head.missing += sum(hole.missing for hole in holes)
        head.holes += holes[: HOLES_TOLD - len(head.holes)]

    def finish(self, published: int) -> None:
        """See the port. What was lost last leaves no hole: no record behind it tells of it."""
        self._head.ended = True
        self._head.missing = max(self._head.missing, published - self._head.ticks)
        self._write_head()

    def _write_head(self) -> None:
        text = msgspec.json.format(msgspec.json.encode(self._head), indent=1)
        write_whole(self._folder / HEAD_NAME, text + b"\n")

    def _write_ticks(self, folder: Path, rows: np.ndarray) -> None:
        import polars as pl

        columns = {NUMBER: rows["seq"].astype(np.uint64)}
        columns |= {name: np.ascontiguousarray(rows[name]) for name in COLUMNS}
        packed = io.BytesIO()
        pl.DataFrame(columns).write_parquet(packed, compression="zstd", compression_level=1)
        self._part(folder, "parquet", packed.getbuffer(), len(rows))

    def _write_raw(self, folder: Path, raw: Raw, rows: np.ndarray) -> None:
        lines = []
        for ts_ns, _, at, end in raw.table[rows].tolist():
            body = _one_line(raw.text[at:end].tobytes())
            lines.append(b"%d %s\n" % (ts_ns, body) if ts_ns else body + b"\n")
        packed = gzip.compress(b"".join(lines), _FAST)
        self._part(folder, "gz", packed, len(rows))

    def _part(self, folder: Path, suffix: str, content: bytes | memoryview, rows: int) -> None:
        if folder not in self._next:
            there = [int(path.stem.removeprefix("part-")) for path in folder.glob(f"part-*.{suffix}")]
            self._next[folder] = max(there, default=0) + 1
        path = folder / f"part-{self._next[folder]:05d}.{suffix}"
        name = path.relative_to(self._folder).as_posix()
        line = b"%08x %d %d %s\n" % (zlib.crc32(content), len(content), rows, name.encode())
        sums = self._folder / SUMS_NAME
        try:
            sums.parent.mkdir(parents=True, exist_ok=True)
            with sums.open("ab", buffering=0) as file:
                before = file.seek(0, os.SEEK_END)
                try:
                    if file.write(line) != len(line):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    write_whole(path, content)
                except (OSError, RecordingError):
                    file.truncate(before)
                    raise
        except OSError as error:
            raise _unwritten(sums, error) from None
        self._next[folder] += 1


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file beside its place, then rename it there; RecordingError if that fails, and nothing is left."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritten(path, error) from None


def _unwritten(path: Path, error: OSError) -> RecordingError:
    return RecordingError(f"{path}: cannot be written ({error.strerror or error}); make room or name another folder")


def _one_line(body: bytes) -> bytes:
    """A raw message without a line break; see the head of this module."""
    if b"\n" not in body and not body.startswith(_ESCAPE):
        return body
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _ESCAPE + body.replace(_ESCAPE, 2 * _ESCAPE).replace(b"\n", _ESCAPE + b"n")
    return body.replace(b"\n", b" ")


def as_received(line: bytes) -> bytes:
    """The raw message of a line, without what ends the line."""
    line = line.removesuffix(b"\n")
    if not line.startswith(_ESCAPE):
        return line
    return _ESCAPED.sub(lambda found: b"\n" if found[1] == b"n" else found[1], line[1:])


def is_restart(ticks: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """bool[n]: whether the number of a record leaps because the feed was started again, which tells its books stale."""
    first = (ticks["kind"] == TICK_STATUS) & (ticks["w0"] == STATUS_STALE)
    return first & (steps > NUMBERS_APART)


def holes_of(ticks: np.ndarray, last: dict[int, int], restarts: np.ndarray) -> list[Hole]:
    """Where the event numbers of an instrument's records leap, and nobody said that they would.

    Parameters
    ----------
    ticks : TICK[n] as they were published
    last : number of the last record of each instrument so far, changed; one that is not in it begins at 1
    restarts : int64[instruments], added to: leaps that come of a new start of the feed
    """
    found = []
    counted = ticks[ticks["flags"] & FLAG_SNAPSHOT == 0]  # a snapshot on request repeats the last number
    for instrument in np.unique(counted["instrument"]).tolist():
        own = counted[counted["instrument"] == instrument]
        numbers = own["event_no"].astype(np.int64)
        steps = np.diff(numbers, prepend=last.get(instrument, 0))
        leaps = is_restart(own, steps)
        restarts[instrument] += np.count_nonzero(leaps)
        found += [
            Hole(instrument, int(numbers[at] - steps[at]), int(steps[at] - 1), int(own["ts_recv_ns"][at]))
            for at in np.flatnonzero((steps > 1) & ~leaps).tolist()
        ]
        last[instrument] = int(numbers[-1])
    return found


def _groups(times: np.ndarray, sources: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """(day, source, rows) of each file that these rows belong to."""
    days = times // DAY_NS
    for source in np.unique(sources).tolist():
        own = np.flatnonzero(sources == source)
        for day in np.unique(days[own]).tolist():
            yield day, source, own[days[own] == day]


def _times(raw: Raw) -> np.ndarray:
    """Receive times of raw messages; where a line says its own, that one (the one before it if it says none)."""
    times = raw.table[:, TAKEN_NS].copy()
    last = 0
    for row in np.flatnonzero(times == 0).tolist():
        at, end = raw.table[row, TAKEN_AT], raw.table[row, TAKEN_END]
        stamp = raw.text[at : min(end, at + 20)].tobytes().partition(b" ")[0]
        if stamp.isdigit() and len(stamp) in (16, 19):
            found = int(stamp) * (1_000 if len(stamp) == 16 else 1)
            last = found if found < 2**63 else last  # one that fits no record is none
        times[row] = last
    return times


def _day(day: int) -> str:
    return f"date={datetime.fromtimestamp(day * 86_400, UTC):%Y-%m-%d}"


# --- reading ---------------------------------------------------------------------------------------------------------


class Chosen(NamedTuple):
    """One instrument of a recording, and its files in order."""

    place: int  # among the instruments of the recording
    listed: Listed
    files: tuple[Path, ...]


def read_head(path: Path) -> Head:
    """What a `recording.json` says. RecordingError if it is none."""
    try:
        head = msgspec.json.decode(path.read_bytes(), type=Head)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror}); give a readable file") from None
    except msgspec.MsgspecError as error:
        raise RecordingError(f"{path}: is no head of a recording ({error}); restore it from a copy") from None
    if head.version != VERSION:
        raise RecordingError(f"{path}: version {head.version}, this build reads version {VERSION}; record it anew")
    return head


def read_sums(folder: Path) -> dict[str, Sum]:
    """The sum of each part by its path in the recording, in the order in which they were written; {}: there are none.

    RecordingError names a line that is none. Half a line at the end is of a recorder that was killed.
    """
    path = folder / SUMS_NAME
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror}); give a readable file") from None
    sums = {}
    for number, line in enumerate(lines, start=1):
        found = _SUM.fullmatch(line)
        if found is None:
            raise RecordingError(
                f"{path}, line {number}: is no sum of a part; restore it from a copy, or remove it: nothing guards the "
                "parts then"
            )
        sums[found[4].decode(errors="replace")] = Sum(int(found[1], 16), int(found[2]), int(found[3]))
    return sums


def read_part(path: Path, written: Sum | None) -> bytes:
    """The bytes of a part; RecordingError if they are not those that were written. `written` : None: nobody knows."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror}); give a readable file") from None
    if written is not None and (len(content) != written.size or zlib.crc32(content) != written.crc):
        raise RecordingError(
            f"{path}: damaged: its {len(content):,} bytes are not the {written.size:,} that were written, of "
            f"{written.rows:,} records; {MEND}"
        )
    return content


def is_recording(path: Path) -> bool:
    """Whether a path names an own recording or a part of one: its folder, a folder in it, a Parquet file."""
    if path.is_dir():
        return next(path.rglob(HEAD_NAME), None) is not None or next(path.rglob("*.parquet"), None) is not None
    try:
        if not path.is_file():
            return False  # to open a pipe would wait for its writer
        with path.open("rb") as file:
            return file.read(4) == _MAGIC
    except OSError:
        return False


class Recording:
    """An own recording, or the part of it that these paths name.

    Attributes
    ----------
    folder, head : of the recording
    chosen : its instruments that have files among the named ones, in the recording's order
    sums : of its parts, by their paths in the folder
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.folder = _home(paths)
        self.head = read_head(self.folder / HEAD_NAME)
        self.sums = read_sums(self.folder)
        self._named = [path.resolve() for path in paths]
        named = {file.resolve() for path in paths for file in _parts(path)}
        self.chosen: list[Chosen] = []
        for index, listed in enumerate(self.head.instruments):
            found = sorted(self.folder.glob(f"date=*/{listed.folder}/part-*.parquet"))
            files = tuple(path for path in found if path.resolve() in named)
            if files:
                self.chosen.append(Chosen(index, listed, files))
        if not self.chosen:
            raise RecordingError(f"{self.folder}: nothing is recorded in it; leave it out")

    def parts(self) -> list[Path]:
        """All files of records and of raw messages that are there."""
        return [
            *sorted(self.folder.glob("date=*/*/part-*.parquet")),
            *sorted(self.folder.glob("raw/date=*/*/part-*.gz")),
        ]

    def unguarded(self) -> int:
        """How many parts have no sum: damage of their contents cannot be seen."""
        return sum(path.relative_to(self.folder).as_posix() not in self.sums for path in self.parts())

    def lost(self, *, raw: bool) -> list[str]:
        """What is to be told of parts that were written and are not there, below the named folders; a sentence each.

        Parameters
        ----------
        raw : of raw messages too
        """
        missing = [name for name in self.sums if not (self.folder / name).exists()]
        lacking = self.head.files - len(self.parts())
        if missing and not self.head.ended and lacking <= 0 and missing[-1] == next(reversed(self.sums)):
            del missing[-1]  # its recorder was killed before the part was there
        told = [
            f"{self.folder / name} is not there: {self.sums[name].rows:,} records that were in it are missing; restore "
            "it from a copy."
            for name in missing
            if (raw or not name.startswith("raw/")) and self._names(self.folder / name)
        ]
        if lacking > 0 and not self.sums and self._names(self.folder):
            told.append(
                f"{self.folder}: {lacking:,} of the {self.head.files:,} parts that were written are not there; restore "
                "them from a copy."
            )
        return told

    def _names(self, path: Path) -> bool:
        return any(path.resolve().is_relative_to(named) for named in self._named)

    def blocks(self) -> Iterator[np.ndarray]:
        """All records in the order in which they were published, as TICK[n] with the instrument's place in `chosen`.

        `seq` is the row's number. RecordingError if a file is damaged, or the rows of an instrument are not in order.
        """
        streams = [self._rows(place, chosen) for place, chosen in enumerate(self.chosen)]
        waiting: list[np.ndarray | None] = [next(stream, None) for stream in streams]
        while any(rows is not None for rows in waiting):
            bound = min(int(rows["seq"][-1]) for rows in waiting if rows is not None)
            ready = []
            for place, rows in enumerate(waiting):
                if rows is None:
                    continue
                count = int(np.searchsorted(rows["seq"], bound, side="right"))
                ready.append(rows[:count])
                waiting[place] = rows[count:] if count < len(rows) else next(streams[place], None)
            block = np.concatenate(ready)
            yield block[np.argsort(block["seq"], kind="stable")]

    def _rows(self, place: int, chosen: Chosen) -> Iterator[np.ndarray]:
        last = 0
        for path in chosen.files:
            rows = read_ticks(path, self.sums.get(path.relative_to(self.folder).as_posix()))
            if not len(rows):
                continue
            if int(rows["seq"][0]) <= last or (rows["seq"][1:] <= rows["seq"][:-1]).any():
                raise RecordingError(f"{path}: its rows are not in order; {MEND}")
            if (rows["instrument"] != chosen.place).any():
                raise RecordingError(f"{path}: holds rows of another instrument; {MEND}")
            last = int(rows["seq"][-1])
            rows["instrument"] = place
            yield rows


class Silences:
    """Hours in which an instrument has no record: they are told, for positions are carried across.

    Attributes
    ----------
    count : of all instruments
    """

    def __init__(self, chosen: Sequence[Chosen]) -> None:
        self.count = 0
        self._chosen = chosen
        self._last = np.zeros(len(chosen), np.int64)
        self._longest: dict[int, tuple[int, int]] = {}  # place -> its length and begin, ns
        self._counts = np.zeros(len(chosen), np.int64)

    def take(self, block: np.ndarray) -> None:
        """The next rows; TICK[n], `instrument` the place in `chosen`."""
        for place in np.unique(block["instrument"]).tolist():
            times = block["ts_recv_ns"][block["instrument"] == place]
            steps = np.diff(times, prepend=self._last[place] or times[0])
            found = np.flatnonzero(steps > SILENCE_NS)
            self._counts[place] += len(found)
            self.count += len(found)
            for at in found.tolist():
                length = int(steps[at])
                self._longest[place] = max(self._longest.get(place, (0, 0)), (length, int(times[at]) - length))
            self._last[place] = max(self._last[place], int(times.max()))

    def told(self) -> list[str]:
        """A sentence for each instrument that was silent."""
        sentences = []
        for place, (length, begin_ns) in sorted(self._longest.items()):
            more = f", the longest of {self._counts[place]:,} such silences" if self._counts[place] > 1 else ""
            sentences.append(
                f"{self._chosen[place].listed.symbol}: {length / SILENCE_NS:,.1f} h without data after "
                f"{datetime.fromtimestamp(begin_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S}{more}: position, stop and "
                "indicators are carried across; replay the days one by one if they are not one recording."
            )
        return sentences


def silences_of(folder: Path) -> list[str]:
    """What is to be told of the hours in which a recording is silent; reads all of it."""
    recording = Recording([folder])
    silences = Silences(recording.chosen)
    for block in recording.blocks():
        silences.take(block)
    return silences.told()


def read_ticks(path: Path, written: Sum | None) -> np.ndarray:
    """The rows of one part: TICK[n], `seq` is the row's number. RecordingError if it is damaged or no such file."""
    import polars as pl

    content = read_part(path, written)
    try:
        frame = pl.read_parquet(content)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise RecordingError(f"{path}: damaged or no Parquet file ({reason}); {MEND}") from None
    expected = {name: TICK[name] for name in COLUMNS} | {NUMBER: np.dtype("u8")}
    for name, kind in expected.items():
        if name not in frame.columns or frame[name].to_numpy().dtype != kind:
            raise RecordingError(f"{path}: column {name} is missing or of another type; this is no own recording")
    rows = np.zeros(frame.height, TICK)
    for name in COLUMNS:
        rows[name] = frame[name].to_numpy()
    rows["seq"] = frame[NUMBER].to_numpy()
    return rows


def _parts(path: Path) -> Iterable[Path]:
    return sorted(path.rglob("part-*.parquet")) if path.is_dir() else [path]


def _home(paths: Sequence[Path]) -> Path:
    """The one recording that all these paths belong to."""
    homes: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise RecordingError(f"{path}: no such file or folder; name a recording or a part of one")
        below = sorted(head.parent for head in path.rglob(HEAD_NAME)) if path.is_dir() else []
        above = [folder for folder in (path, *path.resolve().parents) if (folder / HEAD_NAME).is_file()][:1]
        found = below or above
        if not found:
            raise RecordingError(f"{path}: no {HEAD_NAME} beside it or above it; name the folder of a recording")
        homes |= {home.resolve(): home for home in found}
    if len(homes) > 1:
        names = ", ".join(sorted(home.name for home in homes.values()))
        raise RecordingError(f"{len(homes)} recordings are named ({names}); name one of them")
    return next(iter(homes.values()))
