"""One client connection of a websocket: opened by a thread that may wait, then a raw socket that never does.

The handshake is that of the `websockets` library's protocol without I/O; no extension is offered, so frames are plain.
After it the bytes belong to the reader, who walks the frames himself where they lie: a library that makes an object of
every frame would cost more than the rest of the feed. What we send is small, so the library makes those frames.
"""

import ssl

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from bot4.adapters.net.dial import Cancel, DialError, Dialled, plain, split_url, told
from bot4.model.errors import InputError

HANDSHAKE_BYTES = 1 << 14  # of the answer, up to its empty line
QUEUE_BYTES = 1 << 20  # that the peer has not taken; one that takes so little is as good as gone
_RECORD = 1 << 14  # largest that TLS makes
_END = b"\r\n\r\n"
_PAYLOAD = 125  # of a control frame


class ClosedError(DialError):
    """The connection is gone; the text is the reason."""


class Websocket:
    """A connection whose handshake has succeeded; made by `open_websocket`. Nothing here blocks.

    Parameters
    ----------
    tls : non-blocking
    first : bytes that came with the answer to the handshake
    """

    def __init__(self, tls: ssl.SSLSocket, first: bytes) -> None:
        self._tls, self._first = tls, first
        self._out = bytearray()
        self._fileno = tls.fileno()
        self.reads_want_write = False  # TLS has to send before it can read

    def fileno(self) -> int:
        """Of the socket; the same after it has been closed."""
        return self._fileno

    @property
    def peer(self) -> str:
        """The address that it is really connected to; OSError where it is not any more."""
        return str(self._tls.getpeername()[0])

    @property
    def pending(self) -> bool:
        """Whether something can be read that the socket does not show."""
        return bool(self._first) or self._tls.pending() > 0

    @property
    def wants_write(self) -> bool:
        """Whether the socket has to take something before all is sent."""
        return bool(self._out) or self.reads_want_write

    def read_into(self, buffer: memoryview) -> int:
        """Read what has come, as much as fits. Returns bytes; 0: nothing now. ClosedError: the peer is gone."""
        if self._first:
            count = min(len(self._first), len(buffer))
            buffer[:count] = self._first[:count]
            self._first = self._first[count:]
            return count
        filled = 0
        self.reads_want_write = False
        while filled < len(buffer):
            try:
                count = self._tls.recv_into(buffer[filled:])
            except ssl.SSLWantReadError:
                break
            except ssl.SSLWantWriteError:
                self.reads_want_write = True
                break
            except OSError as error:
                if filled:
                    break  # told by the next call
                raise ClosedError(told(error)) from None
            if count == 0:
                if filled:
                    break
                raise ClosedError("the peer has ended the connection")
            filled += count
        return filled

    def send_text(self, text: str) -> None:
        """Queue a message and send what the socket takes. ClosedError."""
        self._send(Opcode.TEXT, text.encode())

    def send_ping(self, payload: bytes = b"") -> None:
        """Ask for a sign of life. ClosedError."""
        self._send(Opcode.PING, payload)

    def send_pong(self, payload: bytes) -> None:
        """Answer a ping. ClosedError."""
        self._send(Opcode.PONG, payload[:_PAYLOAD])

    def flush(self) -> None:
        """Send what the socket takes of what is queued. ClosedError."""
        while self._out:
            try:
                count = self._tls.send(self._out)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                raise ClosedError(told(error)) from None
            del self._out[:count]

    def close(self) -> None:
        """Say goodbye if the socket takes it, and close. May be called again."""
        if self._tls.fileno() < 0:
            return
        try:
            if not self._out:
                self._send(Opcode.CLOSE, (1000).to_bytes(2, "big"))
        except ClosedError:
            pass
        self._tls.close()

    def _send(self, opcode: Opcode, payload: bytes) -> None:
        if self._tls.fileno() < 0:
            raise ClosedError("closed by us")
        if len(self._out) > QUEUE_BYTES:
            raise ClosedError("the peer takes nothing that is sent to it")
        self._out += Frame(opcode, payload).serialize(mask=True)
        self.flush()


def open_websocket(url: str, context: ssl.SSLContext, timeout_s: float, cancel: Cancel) -> Websocket:
    """Connect, upgrade, hand over. Blocks at most `timeout_s`; DialError says in one line what failed.

    A redirect is not followed: who sends one is not the venue that the settings name.
    """
    parts = split_url(url, "wss")
    host = parts.hostname or ""
    try:
        protocol = ClientProtocol(parse_uri(url))
    except WebSocketException as error:
        raise InputError(f"address {plain(url)!r}: {plain(error)}") from None
    with Dialled(host, parts.port or 443, context, timeout_s, cancel) as peer:
        protocol.send_request(protocol.connect())
        peer.send(b"".join(protocol.data_to_send()), "request to upgrade")
        answer = b""
        while (end := answer.find(_END)) < 0:
            if len(answer) > HANDSHAKE_BYTES:
                raise DialError(f"{host}: the answer to the handshake is longer than {HANDSHAKE_BYTES} bytes")
            more = peer.receive(_RECORD, "answer to the upgrade")
            if not more:
                raise DialError(f"{host}: ended the connection instead of an answer to the handshake")
            answer += more
        end += len(_END)
        _check(protocol, host, answer[:end])
        return Websocket(peer.release(), answer[end:])


def _check(protocol: ClientProtocol, host: str, head: bytes) -> None:
    """That the answer agrees to what was asked for."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise DialError(f"{host}: answers the handshake by something that is no HTTP")
    if words[1] != "101":
        place = next((line[9:].strip() for line in lines if line[:9].lower() == "location:"), "")
        where = f", which points to {plain(place)} and is not followed" if place else ""
        raise DialError(f"{host}: answers the handshake by HTTP {plain(' '.join(words[1:]))}{where}")
    protocol.receive_data(head)
    protocol.events_received()
    if protocol.handshake_exc is not None:
        raise DialError(f"{host}: the handshake is no websocket's: {plain(protocol.handshake_exc)}")
