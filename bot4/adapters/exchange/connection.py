"""Connections of the server: HTTP with keep-alive, and websockets that HTTP turns into. All sizes are bounded.

A request is answered before the next one of its connection is read, so answers keep their order also where a fault
delays one. Frames are read by the sans-IO protocol of `websockets`; what goes out is a header and the bytes, the same
for everybody who hears it.
"""

import asyncio
import struct
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import httptools
import orjson
from websockets.exceptions import InvalidHandshake
from websockets.frames import CloseCode, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from bot4.adapters.exchange.api import SIGNED, WITH_KEY
from bot4.adapters.exchange.front import Answer
from bot4.adapters.exchange.gateway import Gateway, Session, identity_of
from bot4.adapters.exchange.refusal import Refused, not_valid
from bot4.adapters.exchange.scenario import Fault
from bot4.adapters.exchange.stream import MAX_STREAMS, Streams
from bot4.adapters.exchange.venue import Account

if TYPE_CHECKING:
    from bot4.adapters.exchange.server import Server

MAX_HEAD = 16_384
MAX_BODY = 65_536
LINGER_S = 1.0  # that a client whose body is too large has to hear so
MAX_FRAME = 65_536
PIECE = 4_096  # bytes of one client that are read before others get their turn
MAX_WAITING = 64  # requests that a client has sent ahead
MAX_SUBSCRIPTIONS = 65_535  # to user data, of one connection's life; as many at once as it has accounts
MAX_UNSENT = 8 * 1024 * 1024  # bytes that a client has not taken; beyond it it is cut off
PONG_LIMIT_S = 60.0
HALF_S = 30.0  # a request that has begun, or the first one of a connection, comes whole within that
IDLE_S = 600.0  # and the next one begins within that
_STATUS = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 408: b"Request Timeout", 409: b"Conflict", 413: b"Payload Too Large",
    418: b"I'm a teapot",
    429: b"Too Many Requests", 431: b"Request Header Fields Too Large", 500: b"Internal Server Error",
    502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout",
}  # fmt: skip


def encode(answer: Answer, keep_alive: bool) -> bytes:
    """An answer as HTTP."""
    head = [
        b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\nserver: nginx\r\n"
        % (answer.status, _STATUS.get(answer.status, b"Error"), answer.content, len(answer.body))
    ]
    head.extend(f"{name}: {value}\r\n".encode("ascii") for name, value in answer.headers)
    head.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
    head.append(answer.body)
    return b"".join(head)


def text_frame(payload: bytes) -> bytes:
    """A whole text frame of a server."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + struct.pack("!H", size) + payload
    return b"\x81\x7f" + struct.pack("!Q", size) + payload


class Line:
    """What is late on one way; nothing overtakes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[float, Callable[[], Any]]] = deque()

    def put(self, seconds: float | None, action: Callable[[], Any]) -> None:
        """Do something in so many seconds, and after all that was put here before; None: as soon as that allows."""
        if not self._waiting:
            if seconds is None:
                action()
                return
            self._loop.call_later(seconds, self._go)
        self._waiting.append((self._loop.time() + (seconds or 0.0), action))

    def _go(self) -> None:
        self._waiting.popleft()[1]()
        if self._waiting:
            self._loop.call_later(max(0.0, self._waiting[0][0] - self._loop.time()), self._go)


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpRequestParser(self)
        self._raw = bytearray()  # what has come of a request, for the ledger if it cannot be read
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_size = 0
        self._unread = 0  # bytes since the parser last had a body or a request: it keeps unfinished lines itself
        self._target = b""
        self._body = bytearray()
        self._said: dict[bytes, bytes] = {}  # headers that say who asks
        self._wanted = server.gateway.said
        self._too_large = 0
        self._has_failed = False  # it has its last answer; what comes is not read
        self._waiting: deque[tuple[str, bytes, bytes, dict[bytes, bytes], bool]] = deque()
        self._busy = False  # an answer is on its way, later
        self._half = True  # a request has to come whole
        self.since_s = server.loop.time()  # that it has begun, or that the last one ended
        self.socket: Socket | None = None

    # --- transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass
        self._server.come(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._transport = None
        self._server.connections.pop(self, None)
        if self.socket is not None:
            self.socket.gone()
        self.socket = None

    def data_received(self, data: bytes) -> None:
        """Bytes of a client, whatever they are; who sends many of them waits for the others after each piece."""
        if len(data) <= PIECE:
            self._take(data)
            return
        if self._transport is not None:
            self._transport.pause_reading()
        self._take_pieces(data, 0)

    def _take_pieces(self, data: bytes, begin: int) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._take(data[begin : begin + PIECE])
        if begin + PIECE < len(data):
            self._server.loop.call_soon(self._take_pieces, data, begin + PIECE)
        elif not transport.is_closing():
            transport.resume_reading()

    def _take(self, data: bytes) -> None:
        if self._has_failed:
            return
        if self.socket is not None:
            self.socket.received(data)
            return
        self._raw += data if len(self._raw) <= MAX_HEAD else b""
        self._unread += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])  # frames may have come with the request
        except httptools.HttpParserError:
            self._fail(400)
        if self.socket is None and max(self._head_size, self._unread - PIECE) > MAX_HEAD:
            self._fail(431)

    def eof_received(self) -> bool:
        """The client sends no more."""
        return False

    # --- HTTP, called by the parser ---

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self._half:
            self._half, self.since_s = True, self._server.loop.time()
        self._unread = 0
        self._headers.clear()
        self._target = b""
        self._body.clear()
        self._said = {}
        self._too_large = 0
        self._head_size = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._target += url
        self._head_size += len(url)
        if self._head_size > MAX_HEAD:
            self._too_large = 431

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """One header."""
        self._head_size += len(name) + len(value or b"")
        if self._head_size > MAX_HEAD:
            self._too_large = 431
        else:
            self._headers.append((name, value or b""))
        lower = name.lower()
        if lower in self._wanted:
            self._said[lower] = value or b""

    def on_headers_complete(self) -> None:
        """The head has come: a body that it says is too large is not waited for."""
        for name, value in self._headers:
            if name.lower() == b"content-length" and int(value) > MAX_BODY:  # the parser takes digits alone
                self._fail(413)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._unread = 0
        if len(self._body) + len(body) > MAX_BODY:
            self._fail(413)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """A request has come whole."""
        parser = self._parser
        if parser.should_upgrade():
            return
        if self._too_large:
            self._fail(self._too_large)
            return
        self._raw.clear()
        self._half, self.since_s = False, self._server.loop.time()
        request = (
            parser.get_method().decode("latin-1"), self._target, bytes(self._body), self._said,
            parser.should_keep_alive(),
        )  # fmt: skip
        if self._busy:
            if len(self._waiting) == MAX_WAITING:
                self._fail(413)
            else:
                self._waiting.append(request)
            return
        self._serve(*request)

    def _serve(self, method: str, target: bytes, body: bytes, said: dict[bytes, bytes], keep_alive: bool) -> None:
        if self._transport is None or self._transport.is_closing() or self._has_failed:
            return
        path, _, query = target.decode("latin-1").partition("?")
        gateway = self._server.gateway
        who = gateway.who(said)
        gateway.note(who, method, target.decode("latin-1"), body)
        if path.startswith("/control/"):
            self._write(self._server.control(method, path, body), keep_alive)
            return
        struck = gateway.fault_of(f"{method} {path}")
        if struck is None:
            request = (method, path, query, body, who)
            way = gateway.way(f"{method} {path}") if gateway.scenario.has_latencies else None
            if way is None:
                self._write(self._server.answer(*request), keep_alive)
            else:
                self._busy = True
                self._server.later(self._server.latency_s(way) or 0.0, lambda: self._answer_late(request, keep_alive))
            return
        self._busy = True
        self._spoil(struck[0], struck[1], (method, path, query, body, who), keep_alive)

    def _spoil(self, fault: Fault, noise: bytes, request: tuple, keep_alive: bool) -> None:
        """What a fault makes of a request."""
        kind = fault.kind
        answer = self._server.answer
        if kind in ("error_before", "rate_limit"):
            self._done(self._server.gateway.failure(fault), keep_alive)
        elif kind == "error_after":
            answer(*request)
            self._done(self._server.gateway.failure(fault), keep_alive)
        elif kind == "timeout_after":
            answer(*request)
        elif kind == "reset_before":
            self.abort()
        elif kind == "reset_after":
            data = encode(answer(*request), keep_alive)
            self._send(data[: len(data) // 2])
            self._server.later(0.01, self.abort)
        elif kind == "garbage":
            answer(*request)
            self._done(Answer(200, noise), keep_alive)
        elif kind == "empty":
            answer(*request)
            self._done(Answer(200, b""), keep_alive)
        elif kind == "late_before":
            self._server.later(fault.delay_ms / 1_000, lambda: self._done(answer(*request), keep_alive))
        elif kind == "late_after":
            late = answer(*request)
            self._server.later(fault.delay_ms / 1_000, lambda: self._done(late, keep_alive))
        # timeout_before: nothing lands and nothing comes

    def _answer_late(self, request: tuple, keep_alive: bool) -> None:
        answer = self._server.answer(*request)
        self._server.later(self._server.latency_s("answer") or 0.0, lambda: self._done(answer, keep_alive))

    def _done(self, answer: Answer, keep_alive: bool) -> None:
        self._busy = False
        self._write(answer, keep_alive)
        while self._waiting and not self._busy:
            self._serve(*self._waiting.popleft())

    def _write(self, answer: Answer, keep_alive: bool) -> None:
        self._send(encode(answer, keep_alive))
        if not keep_alive and self._transport is not None:
            self._transport.close()

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
            if self._transport.get_write_buffer_size() > MAX_UNSENT:
                self.abort()

    def _fail(self, status: int) -> None:
        if self._transport is None or self._transport.is_closing() or self._has_failed:
            return
        self._too_large = status
        self._has_failed = True
        self._server.note_unreadable("HTTP", bytes(self._raw))
        self._send(encode(Answer(status, b"", content=b"text/plain"), keep_alive=False))
        if status == 413:
            self._server.later(LINGER_S, self.close)  # closed now, what is still sent would reset the answer
        else:
            self._transport.close()

    def abort(self) -> None:
        """End it without a word."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_waiting(self) -> bool:
        """Whether a request is waited for; it may be ended then."""
        return self.socket is None and not self._busy

    def look(self, now_s: float) -> None:
        """End it if the request that is waited for is too late."""
        if self.is_waiting and now_s - self.since_s > (HALF_S if self._half else IDLE_S):
            if self._half and self._raw:
                self._fail(408)
            else:
                self.close()

    def close(self) -> None:
        """The server goes."""
        if self.socket is not None:
            self.socket.close(CloseCode.GOING_AWAY)
        if self._transport is not None:
            self._transport.close()

    # --- the way to a websocket ---

    def _upgrade(self, rest: bytes) -> None:
        protocol = ServerProtocol(max_size=MAX_FRAME)
        line = b"%s %s HTTP/%s\r\n" % (
            self._parser.get_method(), self._target, self._parser.get_http_version().encode()
        )  # fmt: skip
        protocol.receive_data(line + b"".join(b"%s: %s\r\n" % one for one in self._headers) + b"\r\n")
        events = protocol.events_received()
        if self._busy or protocol.handshake_exc is not None or not events or not isinstance(events[0], Request):
            self._fail(400)
            return
        self._raw.clear()
        gateway = self._server.gateway
        gateway.note(gateway.who(self._said), "GET", self._target.decode("latin-1"), b"")
        path, _, query = events[0].path.partition("?")
        made = self._server.protocol.socket(self._server, self, protocol, path, query)
        if made is None:
            protocol.send_response(protocol.reject(404, "no such stream\n"))
        else:
            try:
                protocol.send_response(protocol.accept(events[0]))
            except InvalidHandshake:
                made = None
        for data in protocol.data_to_send():
            if data:
                self._send(data)
        if made is None or protocol.state is not State.OPEN:
            if self._transport is not None:
                self._transport.close()
            return
        self.socket = made
        made.opened()
        made.received(rest)


class Socket(ABC):
    """What websockets of both kinds share."""

    def __init__(self, server: "Server", connection: Connection, protocol: ServerProtocol) -> None:
        self.server = server
        self._connection = connection
        self._protocol = protocol
        self.heard_s = server.loop.time()
        self.held: dict[str, bytes] = {}  # by kind, events that go out behind the next one of their kind
        self._parts: list[bytes] = []
        self.inward, self.outward = Line(server.loop), Line(server.loop)

    def opened(self) -> None:  # noqa: B027 - not everybody has something to do then
        """The handshake is done."""

    def gone(self) -> None:  # noqa: B027
        """The connection has ended."""

    @abstractmethod
    def request(self, text: bytes) -> None:
        """A message of the client."""

    def received(self, data: bytes) -> None:
        """Bytes of the client."""
        self._protocol.receive_data(data)
        self.handle(self._protocol.events_received())

    def handle(self, frames: list) -> None:
        """Frames of the client, whole or in parts; answers of the protocol go out behind them."""
        for frame in frames:
            if frame.opcode is Opcode.PONG:
                self.heard_s = self.server.loop.time()
            elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                if frame.data:  # of empty parts there could be any number
                    self._parts.append(bytes(frame.data))  # all parts together are bounded by the protocol
                if frame.fin:
                    text = b"".join(self._parts)
                    self._parts.clear()
                    self.request(text)
        self._flush()
        if self._protocol.close_expected() and self._connection._transport is not None:
            self._connection._transport.close()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._connection._send(data)
            elif self._connection._transport is not None:
                self._connection._transport.close()

    def send(self, payload: bytes) -> None:
        """A text message to the client."""
        if self._protocol.state is State.OPEN:
            self._connection._send(text_frame(payload))

    def push(self, text: bytes, kind: str) -> None:
        """An event to the client, unless a fault has it."""
        self.server.push(self, text, kind)

    def answer_in_time(self, way: str | None, answer: Callable[[], bytes]) -> None:
        """Answer a request: at once, or when the scenario's latencies of its way have passed."""

        def land() -> None:
            made = answer()
            self.outward.put(self.server.latency_s("answer"), lambda: self.send(made))

        if way is None:
            self.send(answer())
        else:
            self.inward.put(self.server.latency_s(way), land)

    def ping(self) -> None:
        """Ask whether the client is there; one that has not answered for long is cut off."""
        if self.server.loop.time() - self.heard_s > PONG_LIMIT_S:
            self._connection.abort()
        elif self._protocol.state is State.OPEN:
            self._protocol.send_ping(str(self.server.gateway.venue.now_ms()).encode())
            self._flush()

    def close(self, code: int = CloseCode.NORMAL_CLOSURE) -> None:
        """Say goodbye."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code)
            self._flush()

    def drop(self) -> None:
        """End without a word."""
        self._connection.abort()

    def spoil(self, fault: Fault, noise: bytes, answer: Callable[[], bytes], error: bytes) -> None:
        """What a fault makes of a request; `answer` does it, `error` is what some faults say instead."""
        kind = fault.kind
        if kind in ("error_before", "rate_limit"):
            self.send(error)
        elif kind == "error_after":
            answer()
            self.send(error)
        elif kind == "timeout_after":
            answer()
        elif kind == "reset_before":
            self.drop()
        elif kind == "reset_after":
            answer()
            self.drop()
        elif kind == "garbage":
            answer()
            self.send(noise.hex().encode())
        elif kind == "empty":
            answer()
            self.send(b"")
        elif kind == "late_before":
            self.server.later(fault.delay_ms / 1_000, lambda: self.send(answer()))
        elif kind == "late_after":
            late = answer()
            self.server.later(fault.delay_ms / 1_000, lambda: self.send(late))


class StreamSocket(Socket):
    """`/ws` and `/stream`: market streams, and user data by listen key."""

    def __init__(
        self, server: "Server", connection: Connection, protocol: ServerProtocol, combined: bool, names: list[str]
    ) -> None:
        super().__init__(server, connection, protocol)
        assert isinstance(server.gateway, Gateway) and isinstance(server.streams, Streams)
        self.gateway, self.streams = server.gateway, server.streams
        self.combined = combined
        self._names: dict[str, Account | None] = {}
        self._first = names

    def opened(self) -> None:
        """Hear what the address names."""
        for name in self._first:
            self._add(name)

    def gone(self) -> None:
        """Hear no more."""
        for name in list(self._names):
            self._remove(name)

    def _add(self, name: str) -> None:
        if name in self._names:
            return
        account = self.gateway.listener(name)
        if account is not None:
            self._names[name] = account
            self.server.user.add(account, (self, name))
        elif self.streams.add(name, self):
            self._names[name] = None

    def _remove(self, name: str) -> None:
        account = self._names.pop(name, None)
        if account is not None:
            self.server.user.remove(account, (self, name))
        else:
            self.streams.remove(name, self)

    def hear(self, name: object, event: dict) -> None:
        """An event of the account, under the listen key that asked for it."""
        data = orjson.dumps({"stream": name, "data": event} if self.combined else event)
        self.push(data, event["e"])

    def request(self, text: bytes) -> None:
        """SUBSCRIBE and its like."""
        gateway = self.gateway
        try:
            request = gateway.read_socket(text)
        except Refused as refused:
            self.server.note_unreadable("WS", text)
            self.send(orjson.dumps({"error": {"code": 2, "msg": f"Invalid request: {refused.text}"}, "id": None}))
            return
        identity = identity_of(request)
        gateway.note(None, "WS", str(request.get("method"))[:128], text)
        try:
            answer: dict[str, Any] = {"result": self._command(request), "id": identity}
        except Refused as refused:
            answer = {"error": {"code": 2, "msg": f"Invalid request: {refused.text}"}, "id": identity}
        self.send(orjson.dumps(answer))

    def _command(self, request: dict[str, Any]) -> Any:
        method, params = request.get("method"), request.get("params", [])
        if not isinstance(params, list):
            raise Refused(2, "params must be a list")
        if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            if not params or not all(isinstance(name, str) and len(name) <= 128 for name in params):
                raise Refused(2, "params must be stream names")
            if method == "SUBSCRIBE":
                if len(self._names) + len(params) > MAX_STREAMS:
                    raise Refused(2, f"at most {MAX_STREAMS} streams a connection")
                for name in params:
                    self._add(name)
            else:
                for name in params:
                    self._remove(name)
            return None
        if method == "LIST_SUBSCRIPTIONS":
            return list(self._names)
        if method == "SET_PROPERTY" and len(params) == 2 and params[0] == "combined" and isinstance(params[1], bool):
            self.combined = params[1]
            return None
        if method == "GET_PROPERTY" and params == ["combined"]:
            return self.combined
        raise Refused(2, "unknown method")


class ApiSocket(Socket):
    """`/ws-api/v3`: requests as on REST, and user data on the same connection."""

    combined = False

    def __init__(self, server: "Server", connection: Connection, protocol: ServerProtocol, show_limits: bool) -> None:
        super().__init__(server, connection, protocol)
        assert isinstance(server.gateway, Gateway)
        self.gateway = server.gateway
        self.session = Session(connected_ms=self.gateway.venue.now_ms(), show_limits=show_limits)
        self._subscriptions: dict[int, Account] = {}
        self._next = 0

    def gone(self) -> None:
        """Hear no more."""
        for number in list(self._subscriptions):
            self._unsubscribe(number)

    def _unsubscribe(self, number: int) -> None:
        account = self._subscriptions.pop(number)
        self.server.user.remove(account, (self, number))

    def hear(self, name: object, event: dict) -> None:
        """An event of the account, under the number of its subscription."""
        self.push(orjson.dumps({"subscriptionId": name, "event": event}), event["e"])

    def request(self, text: bytes) -> None:
        """One request."""
        gateway = self.gateway
        try:
            request = gateway.read_socket(text)
        except Refused as refused:
            self.server.note_unreadable("WS", text)
            self.send(orjson.dumps({"id": None, "status": 400, "error": refused.body()}))
            return
        method = request.get("method")
        name = method if isinstance(method, str) else ""
        params = request.get("params")
        api_key = params.get("apiKey") if isinstance(params, dict) else None
        gateway.note(api_key if isinstance(api_key, str) else None, "WS", name[:128], text)
        struck = gateway.fault_of(name)
        if struck is None:
            way = gateway.way(name) if gateway.scenario.has_latencies else None
            self.answer_in_time(way, lambda: self._answer(name, request))
        else:
            failure = gateway.failure(struck[0])
            error = {"id": identity_of(request), "status": failure.status, "error": orjson.loads(failure.body)}
            self.spoil(struck[0], struck[1], lambda: self._answer(name, request), orjson.dumps(error))

    def _answer(self, name: str, request: dict[str, Any]) -> bytes:
        handler = _OF_CONNECTION.get(name.removeprefix("v3/"))

        def action() -> dict[str, Any]:
            return self.gateway.socket(self.session, request) if handler is None else self._own(handler, request)

        def broken() -> dict[str, Any]:
            error = orjson.loads(self.gateway.broken().body)
            return {"id": identity_of(request), "status": 500, "error": error}

        return orjson.dumps(self.server.guard(action, broken))

    def _own(self, handler: Any, request: dict[str, Any]) -> dict[str, Any]:
        """A request about the connection itself."""
        gateway = self.gateway
        answer: dict[str, Any] = {"id": identity_of(request)}
        try:
            _, params = gateway.request_parts(request)
            gateway.take_weight(2)
            answer["status"] = 200
            answer["result"] = handler(self, params)
        except Refused as refused:
            gateway.refuse(answer, refused)
        finally:
            gateway.venue.ledger.flush()
        if self.session.show_limits:
            answer["rateLimits"] = gateway.limits_used(None)
        return answer

    # --- methods of the connection ---

    def _logon(self, params: dict[str, str]) -> Any:
        key = self.gateway.socket_key(Session(), params, SIGNED, ed25519_only=True)
        self.session.key = key
        self.session.since_ms = self.gateway.venue.now_ms()
        return self._status(params)

    def _status(self, params: dict[str, str]) -> Any:
        session = self.session
        return {
            "apiKey": session.key.api_key if session.key else None,
            "authorizedSince": session.since_ms if session.key else None,
            "connectedSince": session.connected_ms,
            "returnRateLimits": session.show_limits,
            "serverTime": self.gateway.venue.now_ms(),
            "userDataStream": bool(self._subscriptions),
        }

    def _logout(self, params: dict[str, str]) -> Any:
        self.session.key = None
        return self._status(params)

    def _subscribe(self, params: dict[str, str]) -> Any:
        if self.session.key is None:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return self._begin(self.session.key.account)

    def _subscribe_signed(self, params: dict[str, str]) -> Any:
        if "apiKey" not in params:
            raise Refused(-1102, "Mandatory parameter 'apiKey' was not sent, was empty/null, or malformed.")
        key = self.gateway.socket_key(self.session, params, SIGNED)
        assert key is not None
        return self._begin(key.account)

    def _begin(self, index: int) -> Any:
        account = self.gateway.venue.accounts[index]
        if account in self._subscriptions.values():
            raise Refused(-2035, "User Data Stream subscription already active.")
        number = self._next
        if number == MAX_SUBSCRIPTIONS:
            raise Refused(-1034, f"Too many subscriptions; at most {MAX_SUBSCRIPTIONS} over a connection's life.")
        self._next += 1
        self._subscriptions[number] = account
        self.server.user.add(account, (self, number))
        return {"subscriptionId": number}

    def _unsubscribe_all(self, params: dict[str, str]) -> Any:
        chosen = params.get("subscriptionId")
        if chosen is None:
            numbers = list(self._subscriptions)
        elif chosen.isascii() and chosen.isdigit() and len(chosen) < 19 and int(chosen) in self._subscriptions:
            numbers = [int(chosen)]
        else:
            raise not_valid("subscriptionId")
        for number in numbers:
            self._unsubscribe(number)
        return {}

    def _list(self, params: dict[str, str]) -> Any:
        return [{"subscriptionId": number} for number in self._subscriptions]

    def _listen_start(self, params: dict[str, str]) -> Any:
        return {"listenKey": self.gateway.listen_key(self._listen_account(params))}

    def _listen_ping(self, params: dict[str, str]) -> Any:
        self.gateway.keep_listening(params.get("listenKey", ""), self._listen_account(params), alive=True)
        return {}

    def _listen_stop(self, params: dict[str, str]) -> Any:
        self.gateway.keep_listening(params.get("listenKey", ""), self._listen_account(params), alive=False)
        return {}

    def _listen_account(self, params: dict[str, str]) -> Account:
        key = self.gateway.socket_key(self.session, params, WITH_KEY)
        assert key is not None
        return self.gateway.venue.accounts[key.account]


_OF_CONNECTION = {
    "session.logon": ApiSocket._logon,
    "session.status": ApiSocket._status,
    "session.logout": ApiSocket._logout,
    "session.subscriptions": ApiSocket._list,
    "userDataStream.subscribe": ApiSocket._subscribe,
    "userDataStream.subscribe.signature": ApiSocket._subscribe_signed,
    "userDataStream.unsubscribe": ApiSocket._unsubscribe_all,
    "userDataStream.start": ApiSocket._listen_start,
    "userDataStream.ping": ApiSocket._listen_ping,
    "userDataStream.stop": ApiSocket._listen_stop,
}


def binance_socket(
    server: "Server", connection: Connection, protocol: ServerProtocol, path: str, query: str
) -> Socket | None:
    """The kind of websocket that a path of Binance Spot asks for; None if there is none."""
    fields = dict(part.partition("=")[::2] for part in query.split("&") if part)
    if path in ("/ws-api/v3", "/ws-api/v3/"):
        return ApiSocket(server, connection, protocol, fields.get("returnRateLimits") != "false")
    if path == "/ws" or path.startswith("/ws/"):
        names = [name for name in path[4:].split("/") if name]
        return StreamSocket(server, connection, protocol, False, names)
    if path == "/stream" or path.startswith("/stream/"):
        names = [name for name in fields.get("streams", "").split("/") if name]
        return StreamSocket(server, connection, protocol, True, names)
    return None
