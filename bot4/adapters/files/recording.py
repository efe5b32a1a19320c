"""Own recordings: every record that a feed published, as Parquet by day and instrument, and raw messages beside them.

    FOLDER/20240808T235415-4711/
        recording.json                                       instruments with their sizes, what is missing
        date=2024-08-08/BTCUSDT.binance_usdm/part-00001.parquet
        raw/date=2024-08-08/BTCUSDT.binance_usdm/part-00001.gz      <receive time ns> <message>
        raw/date=2024-08-08/binance_usdm/part-00001.gz              messages of no instrument

A row is a TICK without the ring's sequence, and `number`, which counts the records of all instruments and so tells
their order. Days are of the receive time, in UTC. A file appears whole: it is written beside its place, then renamed.

A raw message is a line. Line breaks between the words of a JSON message become blanks; one that holds them and is no
JSON begins with a backslash, behind which two of them stand for one, and one with an n for a line break.

Parquet by polars: others can read it, and columns of integers compress to a fifth. Polars is imported only by whoever
reads or writes, for it starts threads, and whoever forks must have none.
"""

import gzip
import io
import os
import re
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
VERSION = 1
DAY_NS = 86_400 * 1_000_000_000
COLUMNS = tuple(name for name in TICK.names or () if name != "seq")
NUMBER = "number"
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
    missing: int = 0  # records that the numbers of the rows show to be missing
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

    def finish(self) -> None:
        """Say that this was all."""
        self._head.ended = True
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
        self._part(folder, "parquet", packed.getbuffer())

    def _write_raw(self, folder: Path, raw: Raw, rows: np.ndarray) -> None:
        lines = []
        for ts_ns, _, at, end in raw.table[rows].tolist():
            body = _one_line(raw.text[at:end].tobytes())
            lines.append(b"%d %s\n" % (ts_ns, body) if ts_ns else body + b"\n")
        packed = gzip.compress(b"".join(lines), _FAST)
        self._part(folder, "gz", packed)

    def _part(self, folder: Path, suffix: str, content: bytes | memoryview) -> None:
        if folder not in self._next:
            there = [int(path.stem.removeprefix("part-")) for path in folder.glob(f"part-*.{suffix}")]
            self._next[folder] = max(there, default=0) + 1
        write_whole(folder / f"part-{self._next[folder]:05d}.{suffix}", content)
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
        reason = error.strerror or str(error)
        raise RecordingError(f"{path}: cannot be written ({reason}); make room or name another folder") from None


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
        raise RecordingError(f"{path}: is no head of a recording ({error}); fetch it again") from None
    if head.version != VERSION:
        raise RecordingError(f"{path}: version {head.version}, this build reads version {VERSION}; record it anew")
    return head


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
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.folder = _home(paths)
        self.head = read_head(self.folder / HEAD_NAME)
        named = {file.resolve() for path in paths for file in _parts(path)}
        self.chosen: list[Chosen] = []
        for index, listed in enumerate(self.head.instruments):
            found = sorted(self.folder.glob(f"date=*/{listed.folder}/part-*.parquet"))
            files = tuple(path for path in found if path.resolve() in named)
            if files:
                self.chosen.append(Chosen(index, listed, files))
        if not self.chosen:
            raise RecordingError(f"{self.folder}: nothing is recorded in it; leave it out")

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
            rows = read_ticks(path)
            if not len(rows):
                continue
            if int(rows["seq"][0]) <= last or (rows["seq"][1:] <= rows["seq"][:-1]).any():
                raise RecordingError(f"{path}: its rows are not in order; fetch it again")
            if (rows["instrument"] != chosen.place).any():
                raise RecordingError(f"{path}: holds rows of another instrument; fetch it again")
            last = int(rows["seq"][-1])
            rows["instrument"] = place
            yield rows


def read_ticks(path: Path) -> np.ndarray:
    """The rows of one part: TICK[n], `seq` is the row's number. RecordingError if it is damaged or no such file."""
    import polars as pl

    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise RecordingError(f"{path}: damaged or no Parquet file ({reason}); fetch it again") from None
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
