"""Files of the Binance public archive: trades, aggTrades and bookTicker of spot and USD-M, as CSV, gzip or zip.

    trades      id, price, qty, quote qty, time, buyer is maker [, best match: spot]
    aggTrades   id, price, qty, first id, last id, time, buyer is maker [, best match: spot]
    bookTicker  update id, bid, qty, ask, qty, transaction time, event time        (USD-M)

With or without a head. Times are ms, or us (spot from 2025 on). The symbol is the beginning of the file's name, as the
archive writes it: BTCUSDT-aggTrades-2024-08-08.zip. Klines are files of bars. Read line by line, in exact integers.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bot4.adapters.files.bars import DAMAGE, open_table
from bot4.model.enums import TICK_QUOTE, TICK_TRADE
from bot4.model.errors import RecordingError

SCALE = 8  # decimals that are kept of any price or quantity
LINE_BYTES = 1_000  # no row comes near
_US_FROM = 10**14  # a time beyond is in us, not in ms
_LATEST_US = 9 * 10**15
_LIMIT = 2**62
_BOOLS = {b"true": True, b"false": False, b"True": True, b"False": False}
# kind and venue by the number of columns and which of them are true or false
_LAYOUTS = {
    (7, (5, 6)): ("trades", "binance_spot"),
    (6, (5,)): ("trades", "binance_usdm"),
    (8, (6, 7)): ("aggTrades", "binance_spot"),
    (7, (6,)): ("aggTrades", "binance_usdm"),
    (7, ()): ("bookTicker", "binance_usdm"),
}
_HEADS = {
    (b"id", b"price"): "trades",
    (b"agg_trade_id", b"price"): "aggTrades",
    (b"update_id", b"best_bid_price"): "bookTicker",
}


class Entry(NamedTuple):
    """One row: numbers are whole units of 1e-8."""

    line: int
    ts_ns: int
    number: int  # of the trade, of the update
    kind: int  # TICK_TRADE or TICK_QUOTE
    price_e8: int  # bid of a quote
    qty_e8: int
    other_e8: int  # ask of a quote; +1, -1: the side that took, of a trade
    other_qty_e8: int


class FieldError(ValueError):
    """A row that is none, by reason."""


class ArchiveFile(NamedTuple):
    """One file of the archive."""

    name: str
    files: tuple[Path, ...]
    kind: str  # trades, aggTrades, bookTicker
    venue: str
    symbol: str

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Number and bytes of each line but heads and blank ones. RecordingError if the file is damaged."""
        (path,) = self.files
        try:
            with open_table(path) as file:
                number = 0
                while line := file.readline(LINE_BYTES):
                    number += 1
                    if line.strip() and not is_head(line):
                        yield number, line
        except DAMAGE as error:
            raise RecordingError(f"{path}: damaged ({error}); fetch it again") from None

    def entries(self) -> Iterator[Entry]:
        """All rows. RecordingError names the line of one that is none."""
        (path,) = self.files
        for number, line in self.lines():
            try:
                yield parse(self.kind, number, line)
            except FieldError as error:
                raise RecordingError(f"{path}, line {number}: {error}: {_shown(line)}; fetch it again") from None

    def check(self) -> dict[str, Any]:
        """Rows, refused ones by reason, gaps, repetitions, order, as `bot4-data check --json` prints them."""
        rejected: Counter[str] = Counter()
        examples: dict[str, str] = {}
        gaps = duplicates = disorder = count = crossed = first_ns = last_ns = 0
        first = last = None
        for number, line in self.lines():
            try:
                entry = parse(self.kind, number, line)
            except FieldError as error:
                rejected[str(error)] += 1
                examples.setdefault(str(error), f"{error}: line {number}: {_shown(line)}")
                continue
            count += 1
            if last is not None:
                duplicates += entry.number == last
                disorder += entry.number < last or entry.ts_ns < last_ns
                gaps += max(0, entry.number - last - 1) if entry.kind == TICK_TRADE else 0
            crossed += entry.kind == TICK_QUOTE and entry.price_e8 >= entry.other_e8
            first = entry.number if first is None else first
            last, first_ns, last_ns = entry.number, first_ns or entry.ts_ns, max(last_ns, entry.ts_ns)
        book = dict.fromkeys(("compared", "equal", "near", "near_equal", "stale"), 0) | {"crossed": crossed}
        return {
            "name": self.name,
            "files": [str(path) for path in self.files],
            "venue": self.venue,
            "messages": {self.kind: count},
            "rejected": dict(sorted(rejected.items())),
            "book": book,
            "clock_offset_ms": None,
            "gaps": gaps,
            "duplicates": duplicates,
            "out_of_order": disorder,
            "first_ns": first_ns,
            "last_ns": last_ns,
            "symbol": self.symbol,
            "numbers": [first, last],
            "complaints": examples,
        }


def archive_file(path: Path, first: bytes, second: bytes) -> ArchiveFile | None:
    """What a file is that begins with these two lines; None if it is none of the archive's."""
    head = is_head(first)
    cells = (second if head else first).strip().split(b",")
    found = _LAYOUTS.get((len(cells), tuple(index for index, cell in enumerate(cells) if cell in _BOOLS)))
    if found is None or not all(cell.replace(b".", b"", 1).isdigit() or cell in _BOOLS for cell in cells):
        return None
    kind, venue = found
    if kind == "bookTicker" and not head and not _is_entry(kind, first):
        return None  # any table of seven numbers
    if head and _HEADS[tuple(first.strip().split(b",")[:2])] != kind:  # type: ignore[index]
        return None
    symbol = path.name.partition("-")[0]
    if not symbol.replace("_", "").isalnum() or symbol.upper() != symbol or "-" not in path.name:
        raise RecordingError(f"{path}: the name does not begin with a symbol; name it as the archive does: SYMBOL-...")
    return ArchiveFile(path.name, (path,), kind, venue, symbol)


def _is_entry(kind: str, line: bytes) -> bool:
    try:
        parse(kind, 1, line)
    except FieldError:
        return False
    return True


def is_head(line: bytes) -> bool:
    """Whether a line names the columns of a file of the archive."""
    return tuple(line.strip().split(b",")[:2]) in _HEADS


def scaled(text: bytes) -> int:
    """A decimal number without a sign in units of 1e-8; FieldError if it is none, or finer."""
    whole, _, fraction = text.partition(b".")
    if not whole.isdigit() or (fraction and not fraction.isdigit()) or len(whole) > 18:
        raise FieldError("bad_number")
    fraction = fraction.rstrip(b"0")
    if len(fraction) > SCALE:
        raise FieldError("too_fine")
    value = int(whole) * 10**SCALE + int(fraction.ljust(SCALE, b"0"))
    if value >= _LIMIT:
        raise FieldError("overflow")
    return value


def _time_ns(text: bytes) -> int:
    if not text.isdigit() or len(text) > 16:
        raise FieldError("bad_time")
    moment = int(text)
    moment_us = moment if moment >= _US_FROM else moment * 1_000
    if not 0 < moment_us < _LATEST_US:
        raise FieldError("bad_time")
    return moment_us * 1_000


def parse(kind: str, number: int, line: bytes) -> Entry:
    """A line as an entry; FieldError by reason if it is none."""
    cells = line.strip().split(b",")
    if kind == "bookTicker":
        if len(cells) != 7:
            raise FieldError("bad_field")
        bid, bid_qty, ask, ask_qty = (scaled(cell) for cell in cells[1:5])
        if 0 in (bid, ask, bid_qty, ask_qty):
            raise FieldError("zero")
        moment, update = _time_ns(cells[5]), _id(cells[0])
        return Entry(number, moment, update, TICK_QUOTE, bid, bid_qty, ask, ask_qty)
    time_at, maker_at = (4, 5) if kind == "trades" else (5, 6)
    if len(cells) not in (maker_at + 1, maker_at + 2) or cells[maker_at] not in _BOOLS:
        raise FieldError("bad_field")
    price, qty = scaled(cells[1]), scaled(cells[2])
    if 0 in (price, qty):
        raise FieldError("zero")
    side = -1 if _BOOLS[cells[maker_at]] else 1
    return Entry(number, _time_ns(cells[time_at]), _id(cells[0]), TICK_TRADE, price, qty, side, 0)


def _id(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise FieldError("bad_field")
    return int(text)


def _shown(line: bytes) -> str:
    return line.strip().decode(errors="replace")[:100]
