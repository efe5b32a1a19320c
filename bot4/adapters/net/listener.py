"""One private websocket that is opened again whenever it is gone; read from a loop that never waits."""

import random
import ssl
import time
from collections.abc import Callable

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from bot4.adapters.net.caller import NS, Opening
from bot4.adapters.net.dial import Cancel, DialError
from bot4.adapters.net.websocket import ClosedError, Websocket, open_websocket

OPEN_S = 5.0
BACK_OFF_S, BACK_OFF_MOST_S = 0.1, 5.0
MESSAGE_BYTES = 1 << 22


class PrivateListener:
    """See `ports.gateway.Listener`.

    Parameters
    ----------
    url : wss address with its path
    context : of `verified_context`
    allowed : refuses the address that a connection really has, by a sentence; "": it may be used
    """

    def __init__(self, url: str, context: ssl.SSLContext, allowed: Callable[[str], str] = lambda address: "") -> None:
        self._url, self._context, self._allowed = url, context, allowed
        self._socket: Websocket | None = None
        self._frames: ClientProtocol | None = None
        self._parts = b""
        self._opening: Opening | None = None
        self._next_ns = 0
        self._failures = 0
        self._buffer = memoryview(bytearray(1 << 16))
        self._rng = random.Random()
        self._news: list[bytes | None] = []
        self.reason = ""  # why the last connection ended or did not come about

    def is_open(self) -> bool:
        """See ports/gateway.py."""
        return self._socket is not None

    def turn(self) -> list[bytes | None]:
        """See ports/gateway.py."""
        if self._socket is None:
            self._reopen()
        else:
            try:
                self._read(self._socket)
            except ClosedError as error:
                self.drop(str(error))
        news, self._news = self._news, []
        return news

    def send(self, text: str) -> None:
        """See ports/gateway.py."""
        if self._socket is not None:
            try:
                self._socket.send_text(text)
            except ClosedError as error:
                self.drop(str(error))

    def drop(self, reason: str) -> None:
        """See ports/gateway.py."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._news.append(None)
            self._later(reason)

    def close(self) -> None:
        """See ports/gateway.py."""
        if self._opening is not None:
            made = self._opening.finish(call_off=True)
            if made is not None:
                made.close()
            self._opening = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _later(self, reason: str) -> None:
        self.reason = reason
        self._failures += 1
        longest = min(BACK_OFF_MOST_S, BACK_OFF_S * 2.0 ** min(self._failures, 6))
        self._next_ns = time.monotonic_ns() + int(self._rng.uniform(longest / 2, longest) * NS)

    def _connect(self, cancel: Cancel) -> Websocket:
        made = open_websocket(self._url, self._context, OPEN_S, cancel)
        refusal = self._allowed(made.peer)
        if refusal:
            made.close()
            raise DialError(refusal)
        return made

    def _reopen(self) -> None:
        if self._opening is None:
            if time.monotonic_ns() >= self._next_ns:
                self._opening = Opening("private stream", self._connect)
        elif self._opening.done:
            opening, self._opening = self._opening, None
            self._socket = opening.finish()
            if self._socket is None:
                self._later(opening.error)
                return
            self._frames = ClientProtocol(parse_uri(self._url), state=State.OPEN, max_size=MESSAGE_BYTES)
            self._parts = b""
            self._news.append(None)

    def _read(self, socket: Websocket) -> None:
        assert self._frames is not None
        socket.flush()
        while count := socket.read_into(self._buffer):
            try:
                self._frames.receive_data(bytes(self._buffer[:count]))
            except WebSocketException as error:
                raise ClosedError(f"frames that are none: {error}") from None
            self._frames.data_to_send()  # what answers are needed is said below, by the socket
            for frame in self._frames.events_received():
                self._take(socket, frame)

    def _take(self, socket: Websocket, frame: object) -> None:
        opcode, data = frame.opcode, bytes(frame.data)  # type: ignore[attr-defined]
        if opcode is Opcode.PING:
            socket.send_pong(data)
        elif opcode is Opcode.CLOSE:
            raise ClosedError("the peer has closed the stream")
        elif opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._parts += data
            if frame.fin:  # type: ignore[attr-defined]
                self._news.append(self._parts)
                self._parts = b""
                self._failures = 0
