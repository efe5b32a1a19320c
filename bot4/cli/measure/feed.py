"""Suite `feed`: a venue's messages from a websocket on the loopback to ticks in the rings, by one feed process.

Another process sends frames that were made before, in blocks, as fast as the socket takes them: `socket` without TLS,
`tls` with it. Beside them what Python users pick, on the same messages, each until the same records are packed, without
validation and book (see `beside`): `websockets`, `aiohttp` and `picows` with msgspec's typed structs, on asyncio's loop
and with `_uvloop` on that one, with `_decode` only to the structs; and the feeds of cryptofeed, NautilusTrader and
ccxt.pro. `wire_to_ring`: 5,000 messages a second by a timetable, each from the moment before it was sent to the end of
the feed's turn that published it. Their limit is what the socket alone gives: the same bytes, read and thrown away.
Budget: 1,000,000 messages a second without TLS; 3 x the fastest beside it.
"""

# mypy: allow-untyped-defs

import functools
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from websockets.http11 import Request
from websockets.server import ServerProtocol

from bot4.adapters.binance.streams import BinanceSpotStreams
from bot4.adapters.net.websocket import Websocket
from bot4.adapters.system.process import die_with_parent
from bot4.cli.measure.beside import find, work
from bot4.cli.measure.beside import left_out as peers_left_out
from bot4.cli.measure.frames import SYMBOL, VENUE, Stream, frame, stream_of
from bot4.cli.measure.harness import Case, Samples, scratch
from bot4.cli.measure.parse import NoConnection, begin, feed_of
from bot4.engine.live import LiveFeed
from bot4.model.errors import Bot4Error
from bot4.ports.stream import Event, Opened, Readable
from bot4.shm.layout import RING_HEAD, RING_TAIL
from bot4.shm.wires import Wires, private_wires

_MESSAGES = {True: 40_000, False: 1_000_000}
PEERS = {"websockets": 20, "aiohttp": 10, "picows": 10, "cryptofeed": 20, "nautilus_trader": 20, "ccxt": 200}  # part
_CLIENTS = ("websockets", "aiohttp", "picows")  # of websockets: with msgspec behind them, the fastest way to numbers
_RATE = 5_000  # messages a second of `wire_to_ring`
_TIMED = {True: 1_000, False: 20_000}
_BLOCK = 1 << 16
_PATIENCE_S = 60.0


# --- the sender's process --------------------------------------------------------------------------------------------


def _shake_hands(peer: socket.socket) -> None:
    """Answer the upgrade."""
    protocol = ServerProtocol()
    while True:
        protocol.receive_data(peer.recv(4_096))
        for event in protocol.events_received():
            if isinstance(event, Request):
                protocol.send_response(protocol.accept(event))
                for part in protocol.data_to_send():
                    peer.sendall(part)
                return


def _blocks(peer: socket.socket, frames: bytes) -> None:
    view = memoryview(frames)
    for at in range(0, len(view), _BLOCK):
        peer.sendall(view[at : at + _BLOCK])


def _timed(sent_ns: np.ndarray, bodies: list[bytes], peer: socket.socket) -> None:
    gap_ns = 1_000_000_000 // _RATE
    due = time.monotonic_ns() + 50_000_000
    for index, body in enumerate(bodies):
        data = frame(body)
        while (now := time.monotonic_ns()) < due:
            if due - now > 200_000:
                time.sleep((due - now - 100_000) * 1e-9)
        sent_ns[index] = due
        peer.sendall(data)
        due += gap_ns


class _Server:
    """Sends to one client, from a process of its own on another core."""

    def __init__(self, send: Callable[[socket.socket], None], core: int, certificate: Path | None = None) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            with suppress(BaseException):
                die_with_parent(parent)
                os.sched_setaffinity(0, {core})
                peer, _ = listener.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if certificate is not None:
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(certificate)
                    peer = context.wrap_socket(peer, server_side=True)
                _shake_hands(peer)
                send(peer)
                peer.recv(1)  # until the client has enough
                code = 0
            os._exit(code)
        listener.close()

    def end(self) -> None:
        """Wait for it."""
        os.waitpid(self._pid, 0)


# --- the feed --------------------------------------------------------------------------------------------------------


class _Plain:
    """A connection as the feed reads one, on a socket of the bench."""

    id, venue = 0, VENUE
    symbols: tuple[str, ...] = (SYMBOL,)
    topics: tuple[str, ...] = tuple(BinanceSpotStreams().topics(SYMBOL))

    def __init__(self, port: int, certificate: Path | None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._tls: Websocket | None = None  # as a live feed has it
        if certificate is not None:
            context = ssl.create_default_context(cafile=str(certificate))
            self._socket = tls = context.wrap_socket(self._socket, server_hostname="localhost")
            self._tls = Websocket(tls, b"")
        self._socket.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._socket.recv(1)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Of the socket."""
        return self._socket.fileno()

    def read_into(self, buffer: memoryview) -> int:
        """What has come."""
        if self._tls is not None:
            return self._tls.read_into(buffer)
        try:
            return self._socket.recv_into(buffer)
        except BlockingIOError:
            return 0

    def send_text(self, text: str) -> None:
        """Nothing is said to this server."""

    def send_pong(self, payload: bytes) -> None:
        """This server asks nothing."""

    def close(self) -> None:
        """Close it."""
        self._socket.close()


class _OnePool(NoConnection):
    """The one connection, always looked at: the feed spins."""

    def __init__(self, connection: _Plain) -> None:
        self._events: list[Event] = [Opened(connection, 0)]
        self._again: list[Event] = [Readable(connection)]

    def turn(self, timeout_s: float) -> list[Event]:
        """First that it is there, then that there may be something to read."""
        events, self._events = self._events, self._again
        return events


def _feed(port: int, certificate: Path | None, snapshot: bytes) -> tuple[LiveFeed, Wires, _Plain]:
    connection = _Plain(port, certificate)
    wires = private_wires(1, 1, ticks=1 << 16)
    feed = feed_of(wires)
    feed.pool = _OnePool(connection)
    feed.do_work()
    begin(feed.memory, wires, snapshot)
    return feed, wires, connection


def _drain(wires: Wires) -> None:
    for ring in (*wires.ticks, wires.market, wires.quotes):
        ring[RING_TAIL] = ring[RING_HEAD]


@contextmanager
def _pinned(core: int) -> Iterator[None]:
    """This process on one core, for as long as it measures."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _stream_rate(stream: Stream, cores: tuple[int, int], certificate: Path | None, taken: Samples) -> None:
    server = _Server(functools.partial(_blocks, frames=stream.frames), cores[0], certificate)
    feed, wires, connection = _feed(server.port, certificate, stream.snapshot)
    n = len(stream.bodies)
    done, begun, limit = 0, time.perf_counter(), time.monotonic() + _PATIENCE_S
    while done < n:
        done += feed.do_work()
        _drain(wires)
        if time.monotonic() > limit:
            raise Bot4Error(f"the feed of the bench had {done} of {n} messages after {_PATIENCE_S:.0f} s")
    seconds = time.perf_counter() - begun
    connection.close()
    server.end()
    if int(wires.messages.sum()) != n + 1:  # and the snapshot
        raise Bot4Error(f"the feed of the bench took {int(wires.messages.sum()) - 1} of {n} messages")
    taken.add_rate(n, seconds)


def _wire_to_ring(stream: Stream, cores: tuple[int, int], taken: Samples) -> None:
    n = len(stream.bodies)
    area = scratch(n)
    server = _Server(functools.partial(_timed, area.words[:n], stream.bodies), cores[0])
    feed, wires, connection = _feed(server.port, None, stream.snapshot)
    done, limit = 0, time.monotonic() + _PATIENCE_S
    found = np.zeros(n, np.int64)
    while done < n and time.monotonic() < limit:
        handled = feed.do_work()
        if handled:
            now = time.monotonic_ns()
            found[done : done + handled] = now - area.words[done : done + handled]
            done += handled
        _drain(wires)
    connection.close()
    server.end()
    area.close()
    if done < n:
        raise Bot4Error(f"the feed of the bench had {done} of {n} messages after {_PATIENCE_S:.0f} s")
    taken.add_durations(found.astype(float))


# --- beside it -------------------------------------------------------------------------------------------------------


def _beside(name: str, stream: Stream, cores: tuple[int, int], uvloop: bool, decode_only: bool, taken: Samples) -> None:
    server = _Server(functools.partial(_blocks, frames=stream.frames), cores[0])
    seconds = work(name, stream.bodies, cores[1], port=server.port, uvloop=uvloop, decode_only=decode_only)
    taken.add_rate(len(stream.bodies), seconds)
    server.end()


def left_out() -> list[str]:
    """What is not on this machine."""
    return peers_left_out(PEERS) + ([] if shutil.which("openssl") else ["tls: no openssl to make a certificate"])


# --- the limit -------------------------------------------------------------------------------------------------------


def _bare_socket(stream: Stream, cores: tuple[int, int], taken: Samples) -> None:
    server = _Server(functools.partial(_blocks, frames=stream.frames), cores[0])
    connection = _Plain(server.port, None)
    buffer = memoryview(bytearray(1 << 18))
    left, begun = len(stream.frames), time.perf_counter()
    while left:
        left -= connection.read_into(buffer)
    taken.add_rate(len(stream.bodies), time.perf_counter() - begun)
    connection.close()
    server.end()


@functools.cache
def _prepared(n: int) -> Stream:
    return stream_of("quote", n)


@functools.cache
def _certificate() -> Path | None:
    """Key and certificate of localhost, valid for a day; gone with the process."""
    if not shutil.which("openssl"):
        return None
    folder = tempfile.TemporaryDirectory(prefix="bot4-bench-tls-")
    _folders.append(folder)
    path = Path(folder.name) / "both.pem"
    key = path.with_name("key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(path)], check=True, capture_output=True, timeout=60)
    with path.open("ab") as file:
        file.write(key.read_bytes())
    return path


_folders: list[tempfile.TemporaryDirectory[str]] = []


def _on(cores: tuple[int, int], run: Callable[..., None], *arguments: Any) -> Callable[[Samples], None]:
    """The case's run on the second core; the first is the sender's."""

    def pinned(taken: Samples) -> None:
        with _pinned(cores[1]):
            run(*arguments, taken)

    return pinned


def limits(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The socket alone."""
    run = _on(cores, _bare_socket, _prepared(_MESSAGES[quick]), cores)
    return [Case("bare_socket", "messages/s", run)]


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases."""
    stream, timed = _prepared(_MESSAGES[quick]), stream_of("quote", _TIMED[quick])
    made = [Case("socket", "messages/s", _on(cores, _stream_rate, stream, cores, None), "bare_socket")]
    if _certificate() is not None:
        run = _on(cores, _stream_rate, stream, cores, _certificate())
        made.append(Case("tls", "messages/s", run, "bare_socket"))
    made.append(Case("wire_to_ring", "ns", _on(cores, _wire_to_ring, timed, cores), "line_2"))
    for name, share in PEERS.items():
        ways = {"": (False, False)} | ({"_uvloop": (True, False), "_decode": (False, True)} if name in _CLIENTS else {})
        part = stream_of("quote", len(stream.bodies) // share)
        for suffix, (uvloop, decode_only) in ways.items():
            if find(name, ("uvloop",) if uvloop else ()) is not None:
                run = _on(cores, _beside, name, part, cores, uvloop, decode_only)
                made.append(
                    Case(f"{name}{suffix}", "messages/s", run, "bare_socket", beside=(("feed", "socket"),), peer=True)
                )
    return made
