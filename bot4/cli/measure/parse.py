"""Suite `parse`: a venue's messages from the frames in a socket's buffer to ticks in the rings, in one kernel.

All of it: the walk over the frames, the scan, validation, the book, and the records pushed for shard, venue and
execution. `mixed`: seven quotes, two trades and one depth message of 20 levels in ten. Their limit is what it takes to
look at each byte of the same messages once. Beside them Python on the same messages: `<kind>_<peer>` until the same
records are packed, without validation and book (see `beside`), `<kind>_<peer>_decode` to the peer's objects and no
further; and our own typed decoder, which is exact.
Budget: 0.3 us a quote or trade, 2 us a depth message of 20 levels.
"""

# mypy: allow-untyped-defs

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bot4.adapters.binance.parse import BinanceSpot
from bot4.adapters.binance.streams import BinanceSpotStreams
from bot4.cli.measure.beside import find, work
from bot4.cli.measure.beside import left_out as peers_left_out
from bot4.cli.measure.frames import SYMBOL, VENUE, Stream, first_diff, instruments, session, stream_of
from bot4.cli.measure.harness import Case, Samples
from bot4.engine.feed_live import HEARS_BOOK, LiveMemory, take_body
from bot4.engine.live import LiveFeed, load_step
from bot4.jit import kernel
from bot4.model.errors import Bot4Error
from bot4.ports.stream import Event, Key, Request
from bot4.shm.layout import RING_HEAD, RING_TAIL
from bot4.shm.wires import Wires, private_wires

KINDS = ("quote", "trade", "depth20", "mixed")
_MESSAGES = {True: 20_000, False: 200_000}
PEERS = {"msgspec": 10, "orjson": 10, "cryptofeed": 20, "nautilus_trader": 20, "ccxt": 200}  # part of the messages
_FRAMEWORKS = ("cryptofeed", "nautilus_trader", "ccxt")  # of quotes and trades; for books they want REST
_BATCH = 700  # messages of one call: their records find room in the rings
_TS_NS = np.int64(1_700_000_000_000_000_000)


class NoConnection:
    """Pool and fetcher of a feed whose bytes are put into its buffer by hand."""

    def turn(self, timeout_s: float) -> list[Event]:
        """Nothing happens."""
        return []

    def drop(self, connection: Any, reason: str) -> None:
        """Nothing is connected."""

    def retire(self, connection: Any) -> None:
        """Nothing is connected."""

    def rebalance(self, rates: Mapping[Key, float]) -> int:
        """Nothing is connected."""
        return 0

    def resubscribe(self, venue: str, symbol: str) -> None:
        """Nothing is connected."""

    def ask(self, key: Key, venue: str, request: Request) -> None:
        """Nobody answers."""

    def done(self) -> list[tuple[Key, bytes, str]]:
        """Nothing was asked."""
        return []

    def close(self) -> None:
        """Nothing is open."""


@kernel
def _read_each_byte(text, end):
    """The sum of all bytes: what looking at them costs."""
    total = np.int64(0)
    for at in range(end):
        total = (total * 31 + np.int64(text[at])) & 0xFFFF_FFFF
    return total


def feed_of(wires: Wires) -> LiveFeed:
    """A feed of the streams' symbol on connection 0."""
    nothing = NoConnection()
    feed = LiveFeed(
        wires, instruments(), session(), [(SYMBOL, VENUE)], {VENUE: BinanceSpotStreams()}, {VENUE: BinanceSpot()},
        nothing, nothing, np.full(1, 1 << 62, np.int64),
    )  # fmt: skip
    feed.memory.connections["sequence"] = -1
    feed.memory.members[0, 0] = HEARS_BOOK
    return feed


def begin(memory: LiveMemory, wires: Wires, snapshot: bytes) -> None:
    """The book's snapshot, so that every diff behind it counts."""
    text, row = np.frombuffer(first_diff(), np.uint8), memory.connections[0]
    memory.buffers[0, : len(text)] = text
    row["filled"] = len(text)
    load_step([VENUE])(memory, wires, instruments(), session(), np.int64(0), _TS_NS, np.int64(1))
    row["at"] = row["filled"] = 0
    body = np.frombuffer(snapshot + b"\n", np.uint8).copy()
    take_body(memory, wires, instruments(), session(), np.int64(0), body, np.int64(len(snapshot)), _TS_NS)


def _parse(stream: Stream, taken: Samples) -> None:
    wires = private_wires(1, 1)
    feed = feed_of(wires)
    step, memory = load_step([VENUE]), feed.memory
    text, arguments = np.frombuffer(stream.frames, np.uint8), (instruments(), session())
    begin(memory, wires, stream.snapshot)
    row, buffer = memory.connections[0], memory.buffers[0]
    n, at, spent_ns = len(stream.bodies), 0, 0
    room = 1 << 18  # as much as the feed reads at once
    while at < len(text):
        left = int(row["filled"] - row["at"])
        buffer[:left] = buffer[row["at"] : row["filled"]].copy()
        part = text[at : at + room - left]
        buffer[left : left + len(part)] = part
        row["at"], row["filled"] = 0, left + len(part)
        at += len(part)
        handled = _BATCH
        while handled == _BATCH:
            _drain(wires)
            begun = time.perf_counter_ns()
            handled = step(memory, wires, *arguments, np.int64(0), _TS_NS, np.int64(_BATCH))
            spent_ns += time.perf_counter_ns() - begun
    _drain(wires)
    if int(wires.messages.sum()) != n + 1:  # and the snapshot
        raise Bot4Error(f"the feed of the bench took {int(wires.messages.sum()) - 1} of {n} messages")
    taken.add_value(spent_ns / n)


def _drain(wires: Wires) -> None:
    for ring in (*wires.ticks, wires.market, wires.quotes):
        ring[RING_TAIL] = ring[RING_HEAD]


def _bytes(stream: Stream, taken: Samples) -> None:
    text = np.frombuffer(stream.frames, np.uint8)
    begun = time.perf_counter_ns()
    _read_each_byte(text, np.int64(len(text)))
    taken.add_value((time.perf_counter_ns() - begun) / len(stream.bodies))


# --- the same messages in Python -------------------------------------------------------------------------------------


def _in_python(decode: Callable[[bytes], object], stream: Stream, taken: Samples) -> None:
    bodies = stream.bodies[: len(stream.bodies) // 10]
    begun = time.perf_counter_ns()
    for body in bodies:
        decode(body)
    taken.add_value((time.perf_counter_ns() - begun) / len(bodies))


def _beside(name: str, kind: str, bodies: list[bytes], core: int, decode_only: bool, taken: Samples) -> None:
    seconds = work(name, bodies, core, kind=kind, decode_only=decode_only)
    taken.add_value(seconds * 1e9 / len(bodies))


def left_out() -> list[str]:
    """Peers that are nowhere here."""
    return peers_left_out(PEERS)


def limits(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """Each byte of the messages looked at once."""
    n = _MESSAGES[quick]
    streams = {kind: stream_of(kind, n if kind in ("quote", "trade") else n // 10) for kind in KINDS}
    for stream in streams.values():
        _read_each_byte(np.frombuffer(stream.frames, np.uint8), np.int64(1))
    return [Case(f"bytes_{kind}", "ns", functools.partial(_bytes, stream)) for kind, stream in streams.items()]


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases."""
    n = _MESSAGES[quick]
    made = []
    ours = BinanceSpot()
    for kind in KINDS:
        stream = stream_of(kind, n if kind in ("quote", "trade") else n // 10)
        made.append(Case(kind, "ns", functools.partial(_parse, stream), limit=f"bytes_{kind}"))
        if kind == "mixed":
            continue
        made.append(Case(f"{kind}_typed", "ns", functools.partial(_in_python, ours.decode, stream), f"bytes_{kind}"))
        for name, share in PEERS.items():
            if find(name) is None or (kind == "depth20" and name in _FRAMEWORKS):
                continue
            bodies = stream.bodies[: len(stream.bodies) // share]
            for suffix, decode_only in (("", False), ("_decode", True)):
                if decode_only and name in _FRAMEWORKS:
                    continue
                run = functools.partial(_beside, name, kind, bodies, cores[1], decode_only)
                made.append(
                    Case(f"{kind}_{name}{suffix}", "ns", run, f"bytes_{kind}", beside=(("kernel", kind),), peer=True)
                )
    return made
