"""Recorded captures of Binance as byte sources: `<local receive time> <raw JSON>` a line, gzip or plain text.

A chain is the captures of one instrument in the order of their first receive time (a day file after the other). What
instrument a file holds is read from its content: the stream names tell the symbol, the sequence fields tell the market.
Every file is read through once before a session starts, so a damaged one is refused before anything has happened.
"""

import gzip
import json
import zlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bot4.model.errors import RecordingError

DETECT_LINES = 2_000  # a second of a busy stream; a snapshot may come first
CHUNK_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"


class CaptureSource:
    """The bytes of one chain, file after file, decompressed as they are read.

    Attributes
    ----------
    symbol, venue : what the chain holds, e.g. BTCUSDT and binance_spot
    futures : True for USD-M futures, whose sequence rule differs from spot
    paths : files in order of time
    """

    synthetic = False

    def __init__(self, symbol: str, venue: str, paths: Sequence[Path]) -> None:
        self.symbol, self.venue, self.paths = symbol, venue, list(paths)
        self.futures = venue == "binance_usdm"
        self._next = 0
        self._file: BinaryIO | None = None
        self._last = b"\n"

    def read_into(self, buffer: np.ndarray) -> int:
        """Fill a uint8 array from its start; returns the number of bytes, 0 at the end of the chain."""
        while True:
            if self._file is None:
                if self._next == len(self.paths):
                    return 0
                self._file = _open(self.paths[self._next])
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
    RecordingError : a file is missing, unreadable, empty, damaged, no capture, or not configured
    """
    chains: dict[tuple[str, str], list[tuple[int, Path]]] = {}
    for path in paths:
        symbol, venue, first_ns = detect(path)
        if (symbol, venue) not in catalogue:
            raise RecordingError(
                f"{path}: holds {symbol} of {venue}, which is not configured; add it to instruments.toml"
            )
        files = chains.setdefault((symbol, venue), [])
        if any(path.resolve() == other.resolve() for _, other in files):
            raise RecordingError(f"{path}: named twice; name each file once")
        files.append((first_ns, path))
    if not chains:
        raise RecordingError("no recording named; write replay:PATH[,PATH...]")
    return [
        CaptureSource(symbol, venue, [path for _, path in sorted(files)]) for (symbol, venue), files in chains.items()
    ]


def detect(path: Path) -> tuple[str, str, int]:
    """(symbol, venue, first receive time in ns) of a capture; reads it to its end to see that it is whole."""
    head: list[bytes] = []
    carry = b""
    total = 0
    with _open(path) as file:
        chunk = bytearray(CHUNK_BYTES)
        view = memoryview(chunk)
        while count := _read(file, view, path):
            total += count
            if len(head) < DETECT_LINES:
                lines = (carry + bytes(view[:count])).split(b"\n")
                carry = lines.pop()
                head += lines
    if total == 0:
        raise RecordingError(f"{path}: the file is empty")
    head.append(carry)
    return _identify(path, head)


def _identify(path: Path, lines: Sequence[bytes]) -> tuple[str, str, int]:
    symbol, futures, first_ns = "", None, 0
    for line in lines:
        stamp, _, body = line.partition(b" ")
        if not stamp.isdigit() or len(stamp) not in (16, 19):
            continue
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            continue
        if not isinstance(message, dict):
            continue
        first_ns = first_ns or int(stamp) * (1_000 if len(stamp) == 16 else 1)
        data = message.get("data")
        if not isinstance(data, dict) or "@" not in str(message.get("stream")):
            continue
        symbol = symbol or str(data.get("s", ""))
        if "U" in data:
            futures = "pu" in data
        elif "B" in data:
            futures = "e" in data
        if symbol and futures is not None:
            return symbol, "binance_usdm" if futures else "binance_spot", first_ns
    raise RecordingError(
        f"{path}: not a capture of Binance streams; each line must be '<receive time> <JSON>' with "
        "bookTicker or depth among the streams"
    )


def _open(path: Path) -> BinaryIO:
    try:
        with path.open("rb") as probe:
            magic = probe.read(2)
        return gzip.open(path, "rb") if magic == GZIP_MAGIC else path.open("rb")  # type: ignore[return-value]
    except FileNotFoundError:
        raise RecordingError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise RecordingError(f"{path}: is a folder; name the files in it") from None
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from None


def _read(file: BinaryIO, buffer: memoryview, path: Path) -> int:
    try:
        return file.readinto(buffer) or 0  # type: ignore[attr-defined]
    except EOFError:
        raise RecordingError(f"{path}: the gzip file is truncated; fetch it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise RecordingError(f"{path}: the gzip file is damaged ({error}); fetch it again") from None
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror or error}") from None
