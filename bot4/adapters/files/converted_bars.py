"""Bars as `bot4-data convert` leaves them: Parquet of whole ticks and lots, and `bars.json` with their sizes."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bot4.adapters.files.bars import BarCount, bar_fault
from bot4.model.errors import RecordingError

BARS_NAME = "bars.json"
COLUMNS = ("open_time_ns", "open_ticks", "high_ticks", "low_ticks", "close_ticks", "volume_lots")
_NS_PER_MS = 1_000_000


class ListedBars(msgspec.Struct, forbid_unknown_fields=True):
    """One file in `bars.json`."""

    name: str
    bars: int
    tick_size: str
    lot_size: str
    float_rows: int  # with a number that was written as a binary float
    gaps: int  # bars that are missing between first and last
    duplicates: int
    out_of_order: int
    bar_ms: int  # their length: the commonest step of time
    first_ns: int
    last_ns: int


class ConvertedBars(NamedTuple):
    """One file of converted bars."""

    name: str
    files: tuple[Path, ...]  # bars.json, the Parquet file
    listed: ListedBars

    def rows(self) -> Iterator[tuple[int, ...]]:
        """(open time in ns, open, high, low, close in ticks, volume in lots). RecordingError if it is damaged."""
        import polars as pl  # starts threads

        path = self.files[-1]
        try:
            frame = pl.read_parquet(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise RecordingError(f"{path}: damaged or no Parquet file ({reason}); convert it again") from None
        if tuple(frame.columns) != COLUMNS or set(frame.dtypes) != {pl.Int64} or sum(frame.null_count().row(0)):
            raise RecordingError(f"{path}: has other columns than converted bars; convert it again")
        if frame.height != self.listed.bars:
            raise RecordingError(
                f"{path}: holds {frame.height:,} bars, {BARS_NAME} says {self.listed.bars:,}; convert it again"
            )
        yield from frame.iter_rows()

    def bars(self) -> Iterator[tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal]]:
        """Open time in ms, open, high, low, close, volume, as the file of bars had them."""
        tick, lot = Decimal(self.listed.tick_size), Decimal(self.listed.lot_size)
        for ts_ns, first, high, low, last, volume in self.rows():
            yield ts_ns // _NS_PER_MS, first * tick, high * tick, low * tick, last * tick, volume * lot

    def check(self) -> dict[str, Any]:
        """Bars read, refused by reason, gaps and repetitions, as `bot4-data check --json` prints them."""
        count = BarCount()
        for row in self.rows():
            count.take(row[0] // _NS_PER_MS, bar_fault(*row[1:]), row)
        return count.told(self.name, self.files, "bar")


def read_list(path: Path) -> dict[str, ListedBars]:
    """What a `bars.json` says. RecordingError if it is none."""
    try:
        listing = msgspec.json.decode(path.read_bytes(), type=dict[str, ListedBars])
        if not listing:
            raise InvalidOperation("it names none")
        for name, listed in listing.items():
            if listed.name != name or "/" in name:
                raise InvalidOperation(f"the name {name!r}")
            if not all(Decimal(size).is_finite() and Decimal(size) > 0 for size in (listed.tick_size, listed.lot_size)):
                raise InvalidOperation(f"sizes of {listed.name}")
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror}); give a readable file") from None
    except (msgspec.MsgspecError, InvalidOperation, RecursionError) as error:
        raise RecordingError(f"{path}: is no list of converted bars ({error}); convert them again") from None
    return listing


def converted_bars(path: Path) -> list[ConvertedBars]:
    """The converted bars that a file names: `bars.json` all of its list, a Parquet file beside one itself.

    Raises
    ------
    RecordingError
        the list cannot be read, or a Parquet file is not in it
    """
    home = path.parent / BARS_NAME
    listing = read_list(home)
    if path.name != BARS_NAME and path.stem not in listing:
        raise RecordingError(f"{path}: is not in the {BARS_NAME} beside it; convert it again")
    names = list(listing) if path.name == BARS_NAME else [path.stem]
    return [ConvertedBars(name, (home, home.with_name(f"{name}.parquet")), listing[name]) for name in names]


def are_converted_bars(path: Path) -> bool:
    """Whether a path is a list of converted bars, or Parquet beside one."""
    return path.name == BARS_NAME or (path.suffix == ".parquet" and (path.parent / BARS_NAME).is_file())
