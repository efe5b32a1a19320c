"""Files of an archive as an own recording, and files of bars as Parquet: exact integers of ticks and lots.

Sizes are given, or found: as fine as the finest number of the file. What is no multiple of a given size is refused with
its line. A row of the archive has no receive time; the recording says that its clock is the venue's. Bars become one
file each, `SYMBOL-....parquet`: open time in ns, prices in ticks, volume in lots, the sizes in `bars.json` beside it.
A sum that somebody took in binary floats (0.0058000000000000005) is read as the number that it stands for, and counted.
"""

import heapq
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Context, Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from bot4.adapters.files.archive import ArchiveFile, Entry
from bot4.adapters.files.bars import BarFile, span_of
from bot4.adapters.files.converted_bars import BARS_NAME, COLUMNS, ListedBars, read_list
from bot4.adapters.files.recording import HEAD_NAME, VERSION, Head, Listed, RecordingWriter, write_whole
from bot4.model.enums import FLAG_LAST, TICK_QUOTE, TICK_TRADE
from bot4.model.errors import RecordingError, UnitError
from bot4.model.records import TICK
from bot4.model.units import from_e8, to_e8, to_units
from bot4.ports.store import Raw

BLOCK = 262_144
_NO_RAW = Raw(np.zeros(0, np.uint8), np.zeros((0, 4), np.int64))
_MAX_DECIMALS = 18
_VENUE_DECIMALS = 8  # no venue's bars are counted finer
_FLOAT_DIGITS = 15  # significant digits that every binary float of 64 bits holds


class Sizes(NamedTuple):
    """Tick and lot size, 1e-8; 0: find them."""

    tick_e8: int
    lot_e8: int


class _Chain(NamedTuple):
    """The files of one instrument, and its sizes."""

    listed: Listed
    files: tuple[ArchiveFile, ...]
    sizes: Sizes


def sizes_of(tick: str | None, lot: str | None) -> Sizes:
    """Sizes as a user wrote them; InputError if one is none."""
    found = []
    for text, name in ((tick, "--tick-size"), (lot, "--lot-size")):
        size = to_e8(text, name) if text is not None else 0
        if text is not None and size <= 0:
            raise UnitError(f"{name}: {text} is not positive; write the size of the instrument")
        found.append(size)
    return Sizes(*found)


def convert_archives(files: Sequence[ArchiveFile], folder: Path, sizes: Sizes) -> tuple[Head, int]:
    """Files of the archive as one recording in `folder`, and how many trades their numbers show to be missing.

    RecordingError names the line that does not fit.
    """
    if (folder / HEAD_NAME).exists():
        raise RecordingError(f"{folder}: holds a recording already; name a new folder")
    chains = []
    for key in dict.fromkeys((file.symbol, file.venue) for file in files):
        own = tuple(file for file in files if (file.symbol, file.venue) == key)
        found = _find_sizes(own, sizes)
        chains.append(_Chain(Listed(*key, from_e8(found.tick_e8), from_e8(found.lot_e8)), own, found))
    names = ",".join(file.name for file in files)
    head = Head(VERSION, "", f"archive:{names}", False, "venue", [chain.listed for chain in chains])
    writer = RecordingWriter(folder, head)
    streams = [_rows(place, own, chain.sizes) for place, chain in enumerate(chains) for own in _in_time(chain.files)]
    numbers = [0] * len(chains)
    last_trade: dict[int, int] = {}
    gaps = 0
    block = np.zeros(BLOCK, TICK)
    filled = 0
    for count, (ts_ns, place, entry, units) in enumerate(heapq.merge(*streams, key=lambda row: row[:2]), start=1):
        numbers[place] += 1
        kind = entry.kind
        if kind == TICK_TRADE:
            gaps += max(0, entry.number - last_trade.get(place, entry.number - 1) - 1)
            last_trade[place] = entry.number
        values = units if kind == TICK_QUOTE else (units[0], units[1], entry.number, entry.other_e8)
        block[filled] = (ts_ns, 0, place, kind, FLAG_LAST, *values, numbers[place], 0, count)
        filled += 1
        if filled == BLOCK:
            writer.write(block, _NO_RAW)
            filled = 0
    writer.write(block[:filled], _NO_RAW)
    writer.finish(head.ticks)
    return head, gaps


def _find_sizes(files: Iterable[ArchiveFile], sizes: Sizes) -> Sizes:
    """The given sizes, or the finest power of ten that the files need."""
    if sizes.tick_e8 and sizes.lot_e8:
        return sizes
    tick, lot = sizes.tick_e8 or 10**8, sizes.lot_e8 or 10**8
    for file in files:
        for entry in file.entries():
            quote = entry.kind == TICK_QUOTE
            while not sizes.tick_e8 and (entry.price_e8 % tick or (quote and entry.other_e8 % tick)):
                tick //= 10
            while not sizes.lot_e8 and (entry.qty_e8 % lot or (quote and entry.other_qty_e8 % lot)):
                lot //= 10
    return Sizes(tick, lot)


def _in_time(files: Sequence[ArchiveFile]) -> list[list[ArchiveFile]]:
    """Files of one kind behind each other, by their first row."""
    kinds = dict.fromkeys(file.kind for file in files)
    return [sorted((file for file in files if file.kind == kind), key=_begin) for kind in kinds]


def _begin(file: ArchiveFile) -> int:
    return next((entry.ts_ns for entry in file.entries()), 0)


def _rows(
    place: int, files: Sequence[ArchiveFile], sizes: Sizes
) -> Iterator[tuple[int, int, Entry, tuple[int, int, int, int]]]:
    last_ns = last_trade = 0
    before: Path | None = None  # the file that the row before lies in
    for file in files:
        for entry in file.entries():
            at = f"{file.files[0]}, line {entry.line}"
            trade = entry.kind == TICK_TRADE
            if before not in (None, file.files[0]) and (
                entry.ts_ns < last_ns or (trade and entry.number <= last_trade)
            ):
                raise RecordingError(
                    f"{at}: begins before {before} ends, so what both hold would count twice; name one of them, or cut "
                    "off what the other has"
                )
            if entry.ts_ns < last_ns:
                raise RecordingError(f"{at}: its time is before the one of the row before it; sort the file, or fix it")
            last_ns, before = entry.ts_ns, file.files[0]
            last_trade = entry.number if trade else last_trade
            quote = entry.kind == TICK_QUOTE
            price, qty = _units(entry.price_e8, sizes.tick_e8, at), _units(entry.qty_e8, sizes.lot_e8, at)
            other = _units(entry.other_e8, sizes.tick_e8, at) if quote else 0
            other_qty = _units(entry.other_qty_e8, sizes.lot_e8, at) if quote else 0
            yield entry.ts_ns, place, entry, (price, qty, other, other_qty)


def _units(value_e8: int, size_e8: int, at: str) -> int:
    units, rest = divmod(value_e8, size_e8)
    if rest:
        raise RecordingError(f"{at}: {from_e8(value_e8)} is no multiple of {from_e8(size_e8)}; give the right size")
    return units


# --- bars ------------------------------------------------------------------------------------------------------------


def _name_of(file: BarFile) -> str:
    return re.sub(r"(\.csv)?(\.gz|\.zip)?$", "", file.files[0].name)


def refuse_names(files: Sequence[BarFile], folder: Path) -> None:
    """RecordingError if two files would become one, or one that is there would be written over."""
    seen: dict[str, Path] = {}
    for file in files:
        name, path = _name_of(file), file.files[0]
        if name in seen:
            raise RecordingError(f"{path}: {name} is the name of {seen[name]} too; give each a folder")
        if (folder / f"{name}.parquet").exists():
            raise RecordingError(f"{path}: {folder / name}.parquet is there already; remove it, or name another folder")
        seen[name] = path


def convert_bars(file: BarFile, folder: Path, sizes: Sizes) -> dict[str, Any]:
    """A file of bars as Parquet in `folder`; what `bars.json` says of it. RecordingError names a row that is none."""
    import polars as pl

    path = file.files[0]
    if file.funding:
        raise RecordingError(f"{path}: holds rates of funding, no bars; leave it out")
    name = _name_of(file)
    rows: list[tuple[Any, ...]] = []
    floats = 0
    for number, row in enumerate(file.rows(), start=1):
        bar = file.bar(row)
        if isinstance(bar, str):
            raise RecordingError(f"{path}, row {number}: {bar}: {','.join(row)[:100]}; mend or remove it")
        exact = tuple(_of_float(value) for value in bar[1:])
        floats += exact != bar[1:]
        rows.append((bar[0], *exact))
    tick = Decimal(from_e8(sizes.tick_e8)) if sizes.tick_e8 else _finest(path, [bar[1:5] for bar in rows])
    lot = Decimal(from_e8(sizes.lot_e8)) if sizes.lot_e8 else _finest(path, [bar[5:] for bar in rows])
    columns: dict[str, list[int]] = {key: [] for key in COLUMNS}
    for number, bar in enumerate(rows, start=1):
        values = [bar[0] * 1_000_000]
        try:
            values += [to_units(value, tick, "price") for value in bar[1:5]]
            values.append(to_units(bar[5], lot, "volume"))
        except UnitError as error:
            raise RecordingError(f"{path}, row {number}: {error}; give the right size") from None
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    packed = io.BytesIO()
    pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Int64)).write_parquet(packed, compression="zstd")
    write_whole(folder / f"{name}.parquet", packed.getvalue())
    listed = ListedBars(name, len(rows), f"{tick:f}", f"{lot:f}", floats, **span_of([bar[0] for bar in rows]))
    listing = read_list(folder / BARS_NAME) if (folder / BARS_NAME).exists() else {}
    text = msgspec.json.format(msgspec.json.encode(listing | {name: listed}), indent=1)
    write_whole(folder / BARS_NAME, text + b"\n")
    return msgspec.structs.asdict(listed)


def _of_float(value: Decimal) -> Decimal:
    """The number that was meant, where the digits are those of a binary float: too many, and finer than a venue's."""
    _, digits, exponent = value.normalize().as_tuple()
    if len(digits) <= _FLOAT_DIGITS or int(exponent) >= -_VENUE_DECIMALS:
        return value
    return Context(prec=_FLOAT_DIGITS).create_decimal(value)


def _finest(path: Path, rows: Sequence[tuple[Decimal, ...]]) -> Decimal:
    """The largest power of ten, 1 at most, that all values are multiples of."""
    decimals = 0
    for number, row in enumerate(rows, start=1):
        decimals = max(decimals, *(-int(value.normalize().as_tuple().exponent) for value in row))
        if decimals > _MAX_DECIMALS:
            raise RecordingError(
                f"{path}, row {number}: a number of {decimals} decimals cannot be counted in units; mend or remove it"
            )
    return Decimal(1).scaleb(-decimals)
