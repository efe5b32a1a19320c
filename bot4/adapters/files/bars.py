"""Files of bars: CSV, plain, gzip or zip, with a head (open_time_ms or timestamp) or as the Binance archive has them.

A row is open time, open, high, low, close, volume, and whatever follows. Times are ms, us (the archive from 2025 on) or
written out. The length of a bar is the commonest step between two rows; a longer step is a gap of so many bars.
"""

import csv
import gzip
import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from bot4.adapters.files.capture import ZIP_MAGIC, behind_mark, open_recording
from bot4.model.errors import RecordingError

COLUMNS = 6
HEAD_BYTES = 10_000  # of a first line
MAX_RATIO = 200  # tables of numbers pack to a tenth; what packs to less than this is made to fill memory
# truncated, damaged, encrypted, packed by an unknown method
DAMAGE = (EOFError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, RuntimeError, NotImplementedError)
Number = Decimal | int
_TIMES = ("open_time_ms", "open_time", "timestamp")
_EARLIEST_MS = 1_230_768_000_000  # 2009: before the first coin there was no market; such a time counts something else
_LATEST_MS = 9 * 10**12
_MICROSECONDS = 10**14  # a time beyond is in us, not in ms


class BarFile(NamedTuple):
    """One file of bars."""

    name: str
    files: tuple[Path, ...]
    funding: bool = False  # rates of funding in the column `open`, nothing in the others

    def rows(self) -> Iterator[list[str]]:
        """The rows without heads, of which there are several in files put together, and without blank lines.

        RecordingError if the file is damaged or is no such file.
        """
        (path,) = self.files
        try:
            with open_table(path) as file:
                rows = csv.reader(io.TextIOWrapper(file, "utf-8", newline=""))
                yield from (row for row in rows if row and not _is_head(row))
        except (*DAMAGE, UnicodeDecodeError, csv.Error) as error:
            raise RecordingError(f"{path}: damaged or no CSV ({error}); fetch it again") from None

    def bar(self, row: list[str]) -> tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal] | str:
        """Open time in ms, open, high, low, close, volume; or why the row is no bar."""
        reason = _fault(row)
        if reason:
            return reason
        first, high, low, last, volume = (Decimal(text) for text in row[1:6])
        return _time_ms(row[0]), first, high, low, last, volume

    def check(self) -> dict[str, Any]:
        """Rows read, refused by reason, gaps and repetitions, as `bot4-data check --json` prints them."""
        count = BarCount()
        for row in self.rows():
            reason = _funding_fault(row) if self.funding else _fault(row)
            count.take(0 if reason else _time_ms(row[0]), reason, row)
        return count.told(self.name, self.files, "funding" if self.funding else "bar")


class BarCount:
    """Takes the rows of a file and tells what is wrong with them."""

    def __init__(self) -> None:
        self._rejected: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._times: list[int] = []
        self._rows = 0

    def take(self, time_ms: int, reason: str, row: Iterable[object]) -> None:
        """The next row: when its bar begins, or why it is none."""
        self._rows += 1
        if reason:
            self._rejected[reason] += 1
            self._examples.setdefault(reason, f"{reason}: row {self._rows}: {','.join(map(str, row))[:100]}")
        else:
            self._times.append(time_ms)

    def told(self, name: str, files: Sequence[Path], kind: str) -> dict[str, Any]:
        """As `bot4-data check --json` prints it."""
        return {
            "name": name,
            "files": [str(path) for path in files],
            "venue": "",
            "messages": {kind: len(self._times)},
            "rejected": dict(sorted(self._rejected.items())),
            "book": dict.fromkeys(("compared", "equal", "near", "near_equal", "stale", "crossed"), 0),
            "clock_offset_ms": None,
            **span_of(self._times),
            "complaints": self._examples,
        }


def span_of(times_ms: Sequence[int]) -> dict[str, int]:
    """What the times at which bars begin say: bars missing, repeated and out of order, their length, first and last."""
    steps = Counter(later - earlier for earlier, later in pairwise(times_ms))
    forward = {step: count for step, count in steps.items() if step > 0}
    length = max(forward, key=lambda step: forward[step], default=0)
    return {
        "gaps": sum(count * (step // length - 1) for step, count in forward.items() if step > length),
        "duplicates": steps[0],
        "out_of_order": sum(count for step, count in steps.items() if step < 0),
        "bar_ms": length,
        "first_ns": times_ms[0] * 1_000_000 if times_ms else 0,
        "last_ns": times_ms[-1] * 1_000_000 if times_ms else 0,
    }


def _funding_fault(row: list[str]) -> str:
    """Why a row is no rate of funding, "" if it is one; a rate may be negative or zero."""
    reason = _fault([row[0], "1", "1", "1", "1", "0"]) if len(row) >= COLUMNS else "bad_field"
    if reason:
        return reason
    try:
        return "" if Decimal(row[1]).is_finite() else "bad_number"
    except InvalidOperation:
        return "bad_number"


def are_funding_rates(path: Path) -> bool:
    """Whether a file in the form of bars has rates of funding in it, as its name says."""
    return "-funding_rate" in path.name


def are_bars(first_line: bytes) -> bool:
    """Whether a file that begins with this line is one of bars."""
    try:
        row = first_line.decode().strip().split(",")
    except UnicodeDecodeError:
        return False
    return len(row) >= COLUMNS and (_is_head(row) or not _fault(row))


def first_lines(path: Path) -> list[bytes]:
    """The first two lines of a table; RecordingError if it is an archive of anything else than one CSV."""
    try:
        with open_table(path) as file:
            return [file.readline(HEAD_BYTES), file.readline(HEAD_BYTES)]
    except DAMAGE as error:
        raise RecordingError(f"{path}: the archive is damaged ({error}); fetch it again") from None


def open_table(path: Path) -> Any:
    """A plain, gzip or zip file for reading lines; RecordingError if a zip file is not one CSV of a likely size."""
    with open_recording(path) as probe:
        if probe.read(4) != ZIP_MAGIC:
            return open_recording(path)
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise RecordingError(f"{path}: the archive is damaged ({error}); fetch it again") from None
    members = archive.infolist()
    if len(members) != 1 or not members[0].filename.endswith(".csv") or "/" in members[0].filename:
        names = ", ".join(member.filename for member in members[:3])
        raise RecordingError(f"{path}: holds {names or 'nothing'}; give an archive of one CSV file and nothing else")
    if members[0].file_size > MAX_RATIO * max(1, members[0].compress_size):
        raise RecordingError(f"{path}: unpacks to more than {MAX_RATIO} times its size; this is no file of a market")
    return behind_mark(archive.open(members[0]))  # type: ignore[arg-type]


def _is_head(row: list[str]) -> bool:
    return len(row) >= COLUMNS and row[0] in _TIMES and row[1:5] == ["open", "high", "low", "close"]


def _time_ms(text: str) -> int:
    if text.isdigit() and len(text) < 20:
        return int(text) // 1_000 if int(text) >= _MICROSECONDS else int(text)
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


def _fault(row: list[str]) -> str:
    """Why a row is no bar, "" if it is one."""
    if len(row) < COLUMNS:
        return "bad_field"
    try:
        if not _EARLIEST_MS < _time_ms(row[0]) < _LATEST_MS:
            return "bad_field"
    except (ValueError, OverflowError):
        return "bad_field"
    try:
        values = [Decimal(text) for text in row[1:6]]
    except InvalidOperation:
        return "bad_number"
    return "bad_number" if not all(value.is_finite() for value in values) else bar_fault(*values)


def bar_fault(first: Number, high: Number, low: Number, last: Number, volume: Number) -> str:
    """Why these are no open, high, low, close and volume; "" if they are."""
    if min(first, high, low, last, volume) < 0:
        return "negative"
    if 0 in (first, high, low, last):
        return "zero"
    return "" if low <= min(first, last) and high >= max(first, last) else "high_low"
