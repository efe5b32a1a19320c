"""The exchange's server with all of its connections in one process, on a clock that jumps to what is due next.

The loop is asyncio's own, with a selector that never waits: where nothing is ready, time goes on to the next timer. A
`Wire` is the transport of one client: what the client sends goes to the connection, what the connection writes is the
client's. So everything of the server but the kernel's sockets runs, and the same seed gives the same bytes.
"""

import asyncio
import json
import re
import selectors
from collections.abc import Callable
from typing import Any

import orjson
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.uri import parse_uri

from bot4.adapters.exchange.connection import Connection
from bot4.adapters.exchange.server import Server

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")


class _Jump(selectors.DefaultSelector):
    """Nobody is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list:
        found = super().select(0)
        if not found:
            assert timeout is not None, "nothing will ever happen"
            self.now_s += max(0.0, timeout)
        return found


class JumpLoop(asyncio.SelectorEventLoop):
    """A loop whose time is what it waits."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._jump.now_s


class Wire(asyncio.Transport):
    """One client's connection."""

    def __init__(self, server: Server, heard: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._heard, self._ended, self.over = heard, ended, False
        self.connection = Connection(server)
        self.connection.connection_made(self)

    def send(self, data: bytes) -> None:
        """Bytes of the client."""
        if not self.over:
            self.connection.data_received(data)

    def write(self, data: Any) -> None:
        """Bytes for the client."""
        if not self.over:
            self._heard(bytes(data))

    def is_closing(self) -> bool:
        """Whether it has ended."""
        return self.over

    def close(self) -> None:
        """End it, whoever wants so."""
        if not self.over:
            self.over = True
            self._loop.call_soon(self.connection.connection_lost, None)
            self._ended()

    abort = close

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def pause_reading(self) -> None:
        """What has been sent has been sent."""

    def resume_reading(self) -> None:
        """So it goes on at once."""


class Caller:
    """An HTTP client with one connection at a time. `log` gets all that it hears."""

    def __init__(self, server: Server, log: Callable[[bytes], None]) -> None:
        self._server, self._log = server, log
        self.wire: Wire | None = None
        self._data = b""
        self._news = asyncio.Event()

    def _hear(self, data: bytes) -> None:
        self._log(data)
        self._data += data
        self._news.set()

    def open(self) -> Wire:
        """The connection, a new one if the last one is over."""
        if self.wire is None or self.wire.over:
            self._data = b""
            self.wire = Wire(self._server, self._hear, self._news.set)
        return self.wire

    def close(self) -> None:
        """Hang up."""
        if self.wire is not None:
            self.wire.close()

    async def ask(self, method: str, target: str, api_key: str = "", body: bytes = b"", patience_s: float = 1.5) -> Any:
        """Status and body; None if there was no whole answer in time, and then the connection is given up."""
        wire = self.open()
        key = f"X-MBX-APIKEY: {api_key}\r\n" if api_key else ""
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\n{key}Content-Length: {len(body)}\r\n\r\n"
        self._data = b""
        wire.send(head.encode() + body)
        try:
            async with asyncio.timeout(patience_s):
                while True:
                    begin, end, rest = self._data.partition(b"\r\n\r\n")
                    size = _LENGTH.search(begin + b"\r\n") if end else None
                    if size and len(rest) >= int(size[1]):
                        return int(begin[9:12]), rest
                    if wire.over:
                        return None
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            wire.close()
            return None


class Hearer:
    """A websocket client: `told` has the messages that came, `log` gets their bytes. It comes back when it is cut."""

    def __init__(self, server: Server, path: str, log: Callable[[bytes], None], first: Callable[[], list]) -> None:
        self._server, self._path, self._log, self._first = server, path, log, first
        self.told: list[Any] = []
        self.lives = 0
        self._open()

    def _open(self) -> None:
        self.lives += 1
        self._protocol = ClientProtocol(parse_uri("ws://x" + self._path))
        self._wire = Wire(self._server, self._hear, lambda: None)
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        for message in self._first():
            self.send(message)

    def look(self) -> None:
        """Come back if the connection is over."""
        if self._wire.over:
            self._open()

    def close(self) -> None:
        """Hang up."""
        self._wire.close()

    def send(self, message: dict) -> None:
        """A message of ours."""
        self._protocol.send_text(json.dumps(message).encode())
        self._flush()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            self._wire.send(data)

    def _hear(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for frame in self._protocol.events_received():
            if getattr(frame, "opcode", None) is Opcode.TEXT:
                self._log(frame.data)
                try:
                    self.told.append(orjson.loads(frame.data))
                except ValueError:
                    self.told.append(None)
        asyncio.get_running_loop().call_soon(self._flush)
