"""Recorded captures as byte sources: `<local receive time> <raw JSON>` a line, gzip or plain text.

A chain is the captures of one instrument in the order of their first receive time (a day file after the other). What
instrument a file holds is read from its content (`origin`).
Every file is read through once before a session starts, so a damaged one is refused before anything has happened.
"""

import gzip
import re
import stat
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from bot4.adapters.files.origin import origin_of
from bot4.model.errors import RecordingError

DETECT_LINES = 2_000  # a second of a busy stream; a snapshot may come first
CHUNK_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = b"PK\x03\x04"
PARQUET_MAGIC = b"PAR1"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors begin a text with it; it says nothing
OTHER_MAGIC = {b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x04\x22\x4d\x18": "lz4"}
LINE_BYTES = 1 << 26  # no message of a venue comes near
REPLAYED = ("binance_spot", "binance_usdm")
FEW = 20  # of so many messages one may be of another instrument; so many changes of a book take a level off
TAIL_BYTES = 1 << 16  # of a file's end, to find its last line's time
LATEST_NS = 9_000_000_000_000_000_000  # 2255: as the scanner of lines reads them; an int64 holds it
GAP_NS = 3_600 * 1_000_000_000  # between two files of a chain: more is told, for positions are carried across it
_STREAM = re.compile(rb'\{"stream":"([^"@]*)@')
_SYMBOL = re.compile(rb'"s":"([A-Z0-9_]+)"')
_BARE_CHANGE = b'{"e":"depthUpdate"'
_TAKEN_OFF = re.compile(rb'"0(\.0*)?"\s*\]')


class Capture(NamedTuple):
    """What one file holds."""

    symbol: str
    venue: str
    first_ns: int  # receive time of its first message
    last_ns: int  # of its last


class CaptureSource:
    """The bytes of one chain, file after file, decompressed as they are read.

    Attributes
    ----------
    symbol, venue : what the chain holds, e.g. BTCUSDT and binance_spot
    paths : files in order of time
    gaps : what a person should know of the times between them, a sentence each
    """

    synthetic = False

    def __init__(self, symbol: str, venue: str, paths: Sequence[Path], gaps: Sequence[str] = ()) -> None:
        self.symbol, self.venue, self.paths, self.gaps = symbol, venue, list(paths), list(gaps)
        self._next = 0
        self._file: BinaryIO | None = None
        self._last = b"\n"

    def read_into(self, buffer: np.ndarray) -> int:
        """Fill a uint8 array from its start; returns the number of bytes, 0 at the end of the chain."""
        while True:
            if self._file is None:
                if self._next == len(self.paths):
                    return 0
                self._file = open_recording(self.paths[self._next])
                self._next += 1
                if self._last != b"\n":  # the file before ended without a newline
                    self._last = b"\n"
                    buffer[0] = ord(self._last)
                    return 1
            count = _read(self._file, buffer.data, self.paths[self._next - 1])
            if count:
                self._last = buffer[count - 1 : count].tobytes()
                return count
            self._file.close()
            self._file = None


def open_chains(paths: Iterable[Path], catalogue: Collection[tuple[str, str]]) -> list[CaptureSource]:
    """Check the files, find out what they hold, and join them to chains, one per instrument.

    Parameters
    ----------
    paths : files in any order; chains are numbered by the first file that names them
    catalogue : (symbol, venue) of the configured instruments

    Raises
    ------
    RecordingError : a file is missing, unreadable, empty, damaged, no capture, not Binance's, or not configured
    """
    chains: dict[tuple[str, str], list[tuple[int, int, Path]]] = {}
    for path in paths:
        symbol, venue, first_ns, last_ns = detect(path)
        if venue not in REPLAYED:
            raise RecordingError(
                f"{path}: holds {symbol} of {venue}; raw captures are replayed of Binance alone: convert it first, "
                f"bot4-data convert {path} OUT, and replay what that writes"
            )
        if (symbol, venue) not in catalogue:
            raise RecordingError(
                f"{path}: holds {symbol} of {venue}, which is not configured; add it to instruments.toml"
            )
        files = chains.setdefault((symbol, venue), [])
        check_named_once(path, [other for *_, other in files])
        files.append((first_ns, last_ns, path))
    if not chains:
        raise RecordingError("no recording named; write replay:PATH[,PATH...]")
    return [
        CaptureSource(symbol, venue, [path for *_, path in sorted(files)], gaps_between(symbol, sorted(files)))
        for (symbol, venue), files in chains.items()
    ]


def check_named_once(path: Path, others: Iterable[Path]) -> None:
    """RecordingError if a file is among the others already."""
    if any(path.resolve() == other.resolve() for other in others):
        raise RecordingError(f"{path}: named twice; name each file once")


def gaps_between(symbol: str, files: Sequence[tuple[int, int, Path]]) -> list[str]:
    """What is to be told of the time between two files of a chain; `files` : first and last time in ns, path."""
    told = []
    for (_, ended_ns, before), (begins_ns, _, after) in pairwise(files):
        if begins_ns - ended_ns > GAP_NS:
            hours = (begins_ns - ended_ns) / GAP_NS
            told.append(
                f"{symbol}: {hours:,.1f} h without data between {before.name} and {after.name}: position, stop and "
                "indicators are carried across; replay the files one by one if they are not one recording."
            )
        elif begins_ns < ended_ns:
            told.append(
                f"{symbol}: {after.name} begins before {before.name} ends: what comes late is refused, and the book is "
                "stale until a whole one comes; name one of them, or cut off what the other has."
            )
    return told


def detect(path: Path) -> Capture:
    """What a capture holds; reads it to its end to see that it is whole."""
    head: list[bytes] = []
    carry = tail = b""
    total = 0
    with open_recording(path) as file:
        chunk = bytearray(CHUNK_BYTES)
        view = memoryview(chunk)
        while count := _read(file, view, path):
            total += count
            tail = (tail + bytes(view[max(0, count - TAIL_BYTES) : count]))[-TAIL_BYTES:]
            if len(head) < DETECT_LINES:
                lines = (carry + bytes(view[:count])).split(b"\n")
                carry = lines.pop()
                head += lines
                if len(carry) > LINE_BYTES:
                    raise RecordingError(f"{path}: a line longer than {LINE_BYTES:,} bytes; that is no capture")
    if total == 0:
        raise RecordingError(f"{path}: the file is empty; fetch it again or leave it out")
    head.append(carry)
    if head[0].startswith(ZIP_MAGIC):
        raise RecordingError(
            f"{path}: is a zip archive; convert it first, and replay what bot4-data convert has written"
        )
    symbol, venue, first_ns = _identify(path, head)
    last_ns = next((found for line in reversed(tail.split(b"\n")[1:]) if (found := time_of(line))), first_ns)
    return Capture(symbol, venue, first_ns, max(first_ns, last_ns))


def time_of(line: bytes) -> int:
    """Receive time of a line in ns, 0 if it begins with none before LATEST_NS."""
    stamp = line.partition(b" ")[0]
    if not stamp.isdigit() or len(stamp) not in (16, 19) or stamp.startswith(b"0"):
        return 0
    ts_ns = int(stamp) * (1_000 if len(stamp) == 16 else 1)
    return ts_ns if ts_ns < LATEST_NS else 0


def _identify(path: Path, lines: Sequence[bytes]) -> tuple[str, str, int]:
    stamped = [(line.partition(b" ")[2], at) for line in lines if (at := time_of(line))]
    venue, symbol = origin_of(body for body, _ in stamped)
    if not (venue and symbol):
        raise RecordingError(
            f"{path}: not a capture that can be replayed or converted; each line must be '<receive time> <JSON>' with "
            "messages of a venue as it sends them. Files of bars are played by --feed bars:VENUE:PATH"
        )
    if venue == "binance_coinm":
        raise RecordingError(
            f"{path}: holds {symbol} of Binance COIN-M, an inverse contract paid in coin, which Bot4 does not "
            "trade; name a capture of spot or USD-M"
        )
    if venue in REPLAYED:
        bodies = [body for body, _ in stamped]
        _refuse_others(path, symbol, bodies)
        _refuse_partial_books(path, bodies)
    return symbol, venue, stamped[0][1]


def _refuse_others(path: Path, symbol: str, bodies: Sequence[bytes]) -> None:
    """RecordingError if messages of another instrument lie between those of this one.

    A message counts that says the other name wherever it says one, and a few are damage, which a session counts.
    """
    others: Counter[str] = Counter()
    for body in bodies:
        stream, named = _STREAM.match(body), _SYMBOL.search(body)
        if named and (stream is None or stream[1].upper() == named[1]):
            others[named[1].decode()] += named[1] != symbol.encode()
    if others.total() > max(1, len(bodies) // FEW):
        other = max(others, key=lambda name: others[name])
        raise RecordingError(
            f"{path}: holds {symbol} and {other}, and a whole book of Binance does "
            "not say whose it is; put the lines of each instrument, with its own whole books, into a file of its own"
        )


def _refuse_partial_books(path: Path, bodies: Iterable[bytes]) -> None:
    """RecordingError if changes of a book that have no envelope never take a level off: no change of a market is so."""
    changes = [body for body in bodies if body.startswith(_BARE_CHANGE)]
    if len(changes) >= FEW and not any(map(_TAKEN_OFF.search, changes)):
        raise RecordingError(
            f"{path}: its depthUpdates take no level off, so they are a partial book (depth5, depth10, depth20) "
            "without the name of its stream; record it as a combined stream, /stream?streams=..., which names it"
        )


def open_recording(path: Path) -> BinaryIO:
    """A plain or gzip file for reading bytes, behind its byte order mark; RecordingError if it is none."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise RecordingError(f"{path}: is a pipe or a device; name a plain file")
        with path.open("rb") as probe:
            head = probe.read(max(map(len, OTHER_MAGIC)))
        for magic, packer in OTHER_MAGIC.items():
            if head.startswith(magic):
                raise RecordingError(f"{path}: is packed by {packer}; unpack it, or pack it by gzip")
        if head.startswith(PARQUET_MAGIC):
            raise RecordingError(f"{path}: is Parquet, which no session plays by itself; name the file it was made of")
        packed = head.startswith(GZIP_MAGIC)
        return behind_mark(gzip.open(path, "rb") if packed else path.open("rb"))  # type: ignore[arg-type]
    except FileNotFoundError:
        raise RecordingError(f"{path}: no such file; mind its path") from None
    except IsADirectoryError:
        raise RecordingError(f"{path}: is a folder; name the files in it") from None
    except EOFError:
        raise RecordingError(f"{path}: the gzip file is truncated; fetch it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise RecordingError(f"{path}: the gzip file is damaged ({error}); fetch it again") from None
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror}); give a readable file") from None


def behind_mark(file: BinaryIO) -> BinaryIO:
    """The same file, behind its byte order mark if it begins with one."""
    if file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
        file.seek(0)
    return file


def _read(file: BinaryIO, buffer: memoryview, path: Path) -> int:
    try:
        return file.readinto(buffer) or 0  # type: ignore[attr-defined]
    except EOFError:
        raise RecordingError(f"{path}: the gzip file is truncated; fetch it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise RecordingError(f"{path}: the gzip file is damaged ({error}); fetch it again") from None
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror or error}); give a readable file") from None
