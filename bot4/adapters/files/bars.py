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
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from bot4.adapters.files.capture import open_recording
from bot4.model.errors import RecordingError

ZIP_MAGIC = b"PK\x03\x04"
COLUMNS = 6
# truncated, damaged, encrypted, packed by an unknown method
_DAMAGE = (EOFError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, RuntimeError, NotImplementedError)
_TIMES = ("open_time_ms", "open_time", "timestamp")
_LATEST_MS = 9 * 10**12
_MICROSECONDS = 10**14  # a time beyond is in us, not in ms


class BarFile(NamedTuple):
    """One file of bars."""

    name: str
    files: tuple[Path, ...]

    def rows(self) -> Iterator[list[str]]:
        """The rows without their head. RecordingError if the file is damaged or is no such file."""
        (path,) = self.files
        try:
            with _open(path) as file:
                rows = csv.reader(io.TextIOWrapper(file, "utf-8", newline=""))
                for number, row in enumerate(rows):
                    if number or not _is_head(row):
                        yield row
        except (*_DAMAGE, UnicodeDecodeError, csv.Error) as error:
            raise RecordingError(f"{path}: damaged or no CSV ({error}); fetch it again") from None

    def check(self) -> dict[str, Any]:
        """Rows read, refused by reason, gaps and repetitions, as `bot4-data check --json` prints them."""
        rejected: Counter[str] = Counter()
        examples: dict[str, str] = {}
        times: list[int] = []
        for number, row in enumerate(self.rows(), start=1):
            reason = _fault(row)
            if reason:
                rejected[reason] += 1
                examples.setdefault(reason, f"{reason}: row {number}: {','.join(row)[:100]}")
            else:
                times.append(_time_ms(row[0]))
        steps = Counter(later - earlier for earlier, later in pairwise(times))
        forward = {step: count for step, count in steps.items() if step > 0}
        length = max(forward, key=lambda step: forward[step], default=0)
        gaps = sum(count * (step // length - 1) for step, count in forward.items() if step > length)
        return {
            "name": self.name,
            "files": [str(path) for path in self.files],
            "venue": "",
            "messages": {"bar": len(times)},
            "rejected": dict(sorted(rejected.items())),
            "book": dict.fromkeys(("compared", "equal", "near", "near_equal", "stale", "crossed"), 0),
            "clock_offset_ms": None,
            "gaps": gaps,
            "duplicates": steps[0],
            "out_of_order": sum(count for step, count in steps.items() if step < 0),
            "bar_ms": length,
            "first_ns": times[0] * 1_000_000 if times else 0,
            "last_ns": times[-1] * 1_000_000 if times else 0,
            "complaints": examples,
        }


def are_bars(first_line: bytes) -> bool:
    """Whether a file that begins with this line is one of bars."""
    try:
        row = first_line.decode().strip().split(",")
    except UnicodeDecodeError:
        return False
    return len(row) >= COLUMNS and (_is_head(row) or not _fault(row))


def first_line_of_zip(path: Path) -> bytes:
    """The first line of the one file in an archive; RecordingError if it is no archive of one CSV."""
    try:
        with _open(path) as file:
            line: bytes = file.readline()
            return line
    except _DAMAGE as error:
        raise RecordingError(f"{path}: the archive is damaged ({error}); fetch it again") from None


def _open(path: Path) -> Any:
    with open_recording(path) as probe:
        if probe.read(4) != ZIP_MAGIC:
            return open_recording(path)
    archive = zipfile.ZipFile(path)
    names = [name for name in archive.namelist() if name.endswith(".csv")]
    if len(names) != 1:
        raise RecordingError(f"{path}: holds {len(names)} CSV files; give an archive of one")
    return archive.open(names[0])


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
        if not 0 < _time_ms(row[0]) < _LATEST_MS:
            return "bad_field"
    except (ValueError, OverflowError):
        return "bad_field"
    try:
        first, high, low, last, volume = (Decimal(text) for text in row[1:6])
    except InvalidOperation:
        return "bad_number"
    if not all(value.is_finite() for value in (first, high, low, last, volume)):
        return "bad_number"
    if min(first, high, low, last, volume) < 0:
        return "negative"
    if 0 in (first, high, low, last):
        return "zero"
    return "" if low <= min(first, last) and high >= max(first, last) else "high_low"
