"""Files of bars as sources of the feed: each bar is played as four points of a market, as the text of a spot venue.

What a bar does not say is assumed, and the report says so:

    order      open, then whichever of high and low is nearer to it, then the other one, then close
    when       at the bar's begin, after a third, after two thirds, a millisecond before its end
    quote      one tick below and one above the point's price, so that the mid is the price itself
    quantity   a quarter of the bar's volume, at least a lot: displayed on either side, and traded

So the path within a bar is certain, and its quantity known before its end: a strategy that decides between two closes
earns here what nobody could. A bar without volume is no market: nothing is played, and the last quote grows old.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bot4.adapters.files.bars import BarFile, are_funding_rates, span_of
from bot4.adapters.files.capture import check_named_once, gaps_between
from bot4.kernels.risk.view import MAX_PRICE_TICKS, MAX_QTY_LOTS
from bot4.model.errors import RecordingError
from bot4.model.units import E8, decimal_string

POINTS = 4
TEXT = "binance_spot"  # the form of the lines, whatever the instrument's venue
_NS_PER_MS = 1_000_000


class Bar(NamedTuple):
    """Begin in ms; open, high, low, close in ticks; volume in lots, rounded down."""

    time_ms: int
    first: int
    high: int
    low: int
    last: int
    volume: int

    @property
    def points(self) -> tuple[int, int, int, int]:
        """Its prices in the order in which they are played."""
        between = (self.high, self.low) if self.high - self.first <= self.first - self.low else (self.low, self.high)
        return self.first, *between, self.last


class BarSource:
    """The bars of one instrument, file after file, read as text.

    Attributes
    ----------
    symbol : what the files are named after
    paths : files in order of time
    gaps : what a person should know of bars that are missing, a sentence each
    """

    synthetic = False
    venue = TEXT

    def __init__(
        self, symbol: str, instrument: np.void, files: Sequence[tuple[int, int, int, Path]], gaps: Sequence[str]
    ) -> None:
        """`files` : first and last time, length of a bar in ms, path; in order of time."""
        self.symbol, self.paths, self.gaps = symbol, [path for *_, path in files], list(gaps)
        self._sizes = int(instrument["tick_e8"]), int(instrument["lot_e8"])
        self._lines = chain.from_iterable(self._play(path, bar_ms) for _, _, bar_ms, path in files)
        self._rest = b""
        self._number = 0  # update id of the book, and of the quote; trades have it too
        self._shown: tuple[int, int] | None = None  # bid and ask of the point before

    def read_into(self, buffer: np.ndarray) -> int:
        """Fill a uint8 array from its start; returns the number of bytes, 0 at the end."""
        filled = 0
        while filled < buffer.size:
            if not self._rest:
                self._rest = next(self._lines, b"")
                if not self._rest:
                    break
            part = self._rest[: buffer.size - filled]
            buffer[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
            self._rest = self._rest[len(part) :]
            filled += len(part)
        return filled

    def _play(self, path: Path, bar_ms: int) -> Iterator[bytes]:
        """The text of one file, a bar at a time."""
        for bar in read_bars(path, *self._sizes):
            if bar.volume:
                times = (0, bar_ms // 3, 2 * bar_ms // 3, bar_ms - 1)
                lots = max(1, bar.volume // POINTS)
                text = [self._point(bar.time_ms + ms, price, lots) for ms, price in zip(times, bar.points, strict=True)]
                yield "".join(text).encode()

    def _point(self, time_ms: int, price: int, lots: int) -> str:
        """Book, quote and trade at one price."""
        tick, lot = self._sizes
        size = decimal_string(Decimal(lots * lot).scaleb(-8))
        traded, bid, ask = (decimal_string(Decimal(ticks * tick).scaleb(-8)) for ticks in (price, price - 1, price + 1))
        begin, name, lower = f"{time_ms * _NS_PER_MS} ", self.symbol, self.symbol.lower()
        if self._shown is None:
            self._number = 1
            book = f'{{"lastUpdateId":1,"bids":[["{bid}","{size}"]],"asks":[["{ask}","{size}"]]}}'
            selling = False
        else:
            self._number += 1
            old = (decimal_string(Decimal(ticks * tick).scaleb(-8)) for ticks in self._shown)
            bids, asks = (
                ("" if gone == new else f'["{gone}","0"],') + f'["{new}","{size}"]'
                for gone, new in zip(old, (bid, ask), strict=True)
            )
            book = (
                f'{{"stream":"{lower}@depth@100ms","data":{{"e":"depthUpdate","E":{time_ms},"s":"{name}",'
                f'"U":{self._number},"u":{self._number},"b":[{bids}],"a":[{asks}]}}}}'
            )
            selling = price - 1 < self._shown[0]
        self._shown = price - 1, price + 1
        quote = (
            f'{{"stream":"{lower}@bookTicker","data":{{"u":{self._number},"s":"{name}","b":"{bid}","B":"{size}",'
            f'"a":"{ask}","A":"{size}"}}}}'
        )
        trade = (
            f'{{"stream":"{lower}@trade","data":{{"e":"trade","E":{time_ms},"s":"{name}","t":{self._number},'
            f'"p":"{traded}","q":"{size}","T":{time_ms},"m":{"true" if selling else "false"},"M":true}}}}'
        )
        return f"{begin}{book}\n{begin}{quote}\n{begin}{trade}\n"


def read_bars(path: Path, tick_e8: int, lot_e8: int) -> Iterator[Bar]:
    """The bars of a file. RecordingError at a row that is none, is out of order, or does not keep to the tick size."""
    file, before = BarFile(path.name, (path,)), 0
    for number, row in enumerate(file.rows(), start=1):
        found = file.bar(row)
        if isinstance(found, str):
            raise RecordingError(f"{path}: row {number} is no bar ({found}); see bot4-data check")
        time_ms, *prices, volume = found
        if time_ms <= before:
            raise RecordingError(f"{path}: row {number} begins no later than the one before; see bot4-data check")
        before = time_ms
        if max(prices) * E8 > MAX_PRICE_TICKS * tick_e8 or volume * E8 > MAX_QTY_LOTS * lot_e8:
            what = f"has a price of {max(prices):,f} and a volume of {volume:,f}, which no market has"
            raise RecordingError(f"{path}: row {number} {what}; fetch it again")
        steps = [divmod(price * E8, tick_e8) for price in prices]
        if any(rest for _, rest in steps):
            size = decimal_string(Decimal(tick_e8).scaleb(-8))
            raise RecordingError(f"{path}: row {number} has a price that is no multiple of tick_size = {size}; mend it")
        first, high, low, last = ticks = [int(whole) for whole, _ in steps]
        if min(ticks) < 2:
            raise RecordingError(f"{path}: row {number} has a price of one tick, below which nothing can be bid")
        lots = int(volume * E8 / lot_e8)
        yield Bar(time_ms, first, high, low, last, lots)


def symbol_of(path: Path, symbols: Iterable[str]) -> str:
    """Which of the symbols a file of bars is named after: BTCUSDT-5m.csv.gz holds BTCUSDT, BTC-USD-5m.csv BTC/USD."""
    name = path.name.partition(".")[0] + "-"
    found = [symbol for symbol in symbols if name.startswith(symbol.replace("/", "-") + "-")]
    if are_funding_rates(path) or not found:
        raise RecordingError(
            f"{path}: no bars of an instrument of this venue; name the file after its symbol in instruments.toml, as "
            "in BTCUSDT-5m.csv.gz (BTC-USD-5m.csv.gz for BTC/USD), or add the [[instrument]]"
        )
    return max(found, key=len)


def open_bars(paths: Iterable[Path], instruments: dict[str, np.void]) -> list[BarSource]:
    """Read the files through once, and join those of one symbol in the order of their times.

    Parameters
    ----------
    paths : files in any order; sources are numbered by the first file that names their symbol
    instruments : INSTRUMENT of each symbol

    Raises
    ------
    RecordingError : a file is missing, damaged, or holds no bars that could be played
    """
    found: dict[str, list[tuple[int, int, int, Path]]] = {}
    missing: dict[str, list[str]] = {}
    for path in paths:
        symbol = symbol_of(path, instruments)
        instrument = instruments[symbol]
        times = [bar.time_ms for bar in read_bars(path, int(instrument["tick_e8"]), int(instrument["lot_e8"]))]
        if len(times) < 2:
            raise RecordingError(f"{path}: holds fewer than two bars; fetch it again or leave it out")
        files = found.setdefault(symbol, [])
        check_named_once(path, [other for *_, other in files])
        span = span_of(times)
        if min(later - earlier for earlier, later in pairwise(times)) < span["bar_ms"]:
            raise RecordingError(
                f"{path}: bars of several lengths, one begins before the other has ended; split the file"
            )
        files.append((times[0], times[-1], span["bar_ms"], path))
        if span["gaps"]:
            told = f"{symbol}: {span['gaps']:,} bars are missing in {path.name}; position and stop are carried across."
            missing.setdefault(symbol, []).append(told)
    sources = []
    for symbol, files in found.items():
        files.sort()
        for (_, last, length, before), (begins, *_, after) in pairwise(files):
            if begins < last + length:
                raise RecordingError(f"{after}: begins before {before.name} has ended; leave one of them out")
        spans = [(first * _NS_PER_MS, last * _NS_PER_MS, path) for first, last, _, path in files]
        gaps = [*missing.get(symbol, []), *gaps_between(symbol, spans)]
        sources.append(BarSource(symbol, instruments[symbol], files, gaps))
    return sources
