"""The least reader of a pool: bytes in, whole messages out, pings answered. It keeps all that it sees."""

import time
from collections.abc import Callable

from websockets.frames import Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

from bot4.adapters.net.pool import StreamPool
from bot4.ports.stream import Closed, Connection, Event, Opened, Readable

BUFFER = 1 << 16
PATIENCE_S = 40.0  # of a test: far more than anything needs; what takes so long has failed


class Clock:
    """Time that stands still unless it is told otherwise."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.ns

    def pass_s(self, seconds: float) -> None:
        """Go on."""
        self.ns += int(seconds * 1e9)


class Reader:
    """Turns a pool and reads."""

    def __init__(self, pool: StreamPool) -> None:
        self.pool = pool
        self.messages: list[tuple[Connection, bytes]] = []
        self.opened: list[Opened] = []
        self.closed: list[Closed] = []
        self.bytes = 0
        self._buffer = bytearray(BUFFER)
        self._frames: dict[Connection, Protocol] = {}

    def turn(self, timeout_s: float = 0.0) -> list[Event]:
        """One turn; everything readable is read once."""
        events = self.pool.turn(timeout_s)
        for event in events:
            if isinstance(event, Opened):
                self.opened.append(event)
                self._frames[event.connection] = Protocol(CLIENT, state=OPEN, max_size=None)
            elif isinstance(event, Closed):
                self.closed.append(event)
                self._frames.pop(event.connection, None)
            elif isinstance(event, Readable):
                self._read(event.connection)
        return events

    def _read(self, connection: Connection) -> None:
        count = connection.read_into(memoryview(self._buffer))
        self.bytes += count
        frames = self._frames.get(connection)
        if not count or frames is None:
            return
        frames.receive_data(bytes(self._buffer[:count]))
        for frame in frames.events_received():
            if frame.opcode is Opcode.PING:
                connection.send_pong(frame.data)
            elif frame.opcode is Opcode.TEXT:
                self.messages.append((connection, bytes(frame.data)))
            elif frame.opcode is Opcode.CLOSE:
                self.pool.drop(connection, "closed by the venue")
                self._frames.pop(connection, None)
                return

    def until(self, holds: Callable[[], object], each: Callable[[], object] = lambda: None) -> None:
        """Turn until it holds; `each` is done before every turn. Fails after a time that nothing needs."""
        give_up = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < give_up, "it never came about"
            each()
            self.turn(0.002)
