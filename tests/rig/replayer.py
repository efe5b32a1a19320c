"""A venue on the loopback: serves recorded messages over real TLS sockets as the venue does, with faults by plan.

One thread, or a process of its own, turns one loop over all sockets; nothing in it waits. The market has one position
that all connections share: each message goes to those that have subscribed to its topic by then.

    speed 0     as fast as the slowest client reads. The market stands still while a topic of the tape is subscribed by
                nobody, so a client that was cut off misses what the fault says (`Fault.missed`) and nothing else
    speed x     by the times of the tape, x times as fast; begins when all topics are subscribed, then waits for nobody

Faults strike the message of a number, or any with a probability; `log` tells each one with its message and connection.

    cut, close  the connection ends by a reset, or with a goodbye
    drop, repeat, reorder, corrupt      one message; reorder swaps it with the next one, corrupt flips a byte
    stall       the connection's data wait for `seconds`; pings are answered
    half_open   the socket stays open, but nothing is read or written any more
"""

import json
import multiprocessing
import random
import re
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import trustme
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from bot4.adapters.coinbase.streams import HEARTBEATS
from bot4.adapters.files.capture import open_recording
from bot4.adapters.files.raw import RawCapture, find_captures

HIGH_WATER = 1 << 18  # bytes that wait for a client before the market stands still for it, at speed 0
BLOCK = 256  # messages of one piece where all of them go to a connection
REST_PATHS = ("/api/", "/fapi/", "/v5/market/", "/0/public/")
_NUMBER = re.compile(rb'("sequence_num":)[0-9]+')


class Recorded(NamedTuple):
    """One message of the tape."""

    at_ns: int
    topic: str
    payload: bytes


class Fault(NamedTuple):
    """What goes wrong: at a message number, or at any with a probability."""

    kind: str
    at: int = -1
    probability: float = 0.0
    seconds: float = 0.0
    missed: int = 0  # of cut and close at speed 0: messages of the market until the next connection is served


class Struck(NamedTuple):
    """A fault as it happened."""

    kind: str
    message: int
    connection: int


class Plan(NamedTuple):
    """What a replayer serves and how."""

    venue: str
    tape: Sequence[Recorded]
    snapshot: bytes = b""  # Binance: the capture's own; the book is carried on from it along the tape
    speed: float = 0.0
    faults: Sequence[Fault] = ()
    seed: int = 1
    rest_delay_s: float = 0.0
    rest: Mapping[str, tuple[int, str, bytes]] = {}  # path: status, a header line, body; instead of the snapshot
    greet: Callable[[str, int], Sequence[bytes]] | None = None  # what a new subscription is sent first, at a position
    numbered: bool = False  # Coinbase: the messages of each connection are numbered anew, greetings and lost ones too


class Certificates(NamedTuple):
    """What a server shows, and what its clients trust."""

    server: ssl.SSLContext
    ca_file: Path
    chain_file: Path


def certificates(folder: Path, name: str = "localhost", **kwargs: Any) -> Certificates:
    """A new authority and a certificate of a host; `kwargs` as of trustme, such as `not_after`."""
    authority = trustme.CA()
    issued = authority.issue_cert(name, **kwargs)
    ca_file, chain_file = folder / "ca.pem", folder / "server.pem"
    authority.cert_pem.write_to_path(ca_file)
    issued.private_key_and_cert_chain_pem.write_to_path(chain_file)
    return Certificates(server_context(chain_file), ca_file, chain_file)


def server_context(chain_file: Path) -> ssl.SSLContext:
    """Of a file with key and certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain_file)
    return context


def binance_tape(paths: Sequence[Path], most: int = 1 << 60) -> tuple[list[Recorded], bytes]:
    """The messages of a capture of streams, each under its stream's name, and its first snapshot (b"": none)."""
    tape: list[Recorded] = []
    snapshot = b""
    for path in paths:
        with open_recording(path) as file:
            for line in file:
                stamp, _, body = line.rstrip(b"\n").partition(b" ")
                if body.startswith(b'{"lastUpdateId"'):
                    snapshot = snapshot or body
                    continue
                begin = body.index(b'"stream":"') + 10
                topic = body[begin : body.index(b'"', begin)].decode()
                tape.append(Recorded(int(stamp) * (1_000 if len(stamp) == 16 else 1), topic, body))
                if len(tape) == most:
                    return tape, snapshot
    return tape, snapshot


def captured_tape(path: Path, venue: str) -> list[Recorded]:
    """The messages of a raw capture of connections that one venue sent, answers to subscriptions left out.

    Coinbase numbers all messages of a connection together, so they all have the one topic that every connection has.
    """
    tape = []
    for capture in find_captures([path]):
        for message in capture.messages() if isinstance(capture, RawCapture) else ():
            if message.rest or message.venue != venue:
                continue
            said = json.loads(message.body)
            topic = HEARTBEATS if venue == "coinbase" else said.get("topic", "")
            if topic:
                tape.append(Recorded(message.ts_ns, topic, message.body))
    return tape


class OracleBook:
    """The book of a Binance tape at the market's position, from the capture's own snapshot on."""

    def __init__(self, snapshot: bytes) -> None:
        made = json.loads(snapshot)
        self.last = int(made["lastUpdateId"])
        self._head = {key: value for key, value in made.items() if key not in ("lastUpdateId", "bids", "asks")}
        self.sides = {name: {price: qty for price, qty, *_ in made[name]} for name in ("bids", "asks")}

    def apply(self, payload: bytes) -> None:
        """Carry on; a diff from before the snapshot changes nothing."""
        data = json.loads(payload)["data"]
        if data["u"] <= self.last:
            return
        self.last = data["u"]
        for name, rows in (("bids", data["b"]), ("asks", data["a"])):
            for price, qty in rows:
                if float(qty):
                    self.sides[name][price] = qty
                else:
                    self.sides[name].pop(price, None)

    def body(self, limit: int) -> bytes:
        """As the venue answers it."""
        best = {
            name: sorted(self.sides[name].items(), key=lambda row: float(row[0]), reverse=name == "bids")[:limit]
            for name in ("bids", "asks")
        }
        return json.dumps({"lastUpdateId": self.last, **self._head, **best}, separators=(",", ":")).encode()


class _Client:
    """One connection of a client."""

    def __init__(self, number: int, tls: ssl.SSLSocket) -> None:
        self.number, self.tls, self.fd = number, tls, tls.fileno()
        self.shaken = False  # TLS
        self.protocol = ServerProtocol()
        self.upgraded = False
        self.topics: set[str] = set()
        self.out: deque[bytes | memoryview] = deque()  # goes out at once
        self.data: deque[bytes | memoryview] = deque()  # of the market: waits while stalled
        self.waiting = 0  # bytes in both
        self.stalled_until = 0.0
        self.mutes = False  # once all has gone out
        self.muted = False
        self.swapped = b""  # a message that comes after the next one
        self.number = 0  # of its next message, where they are numbered
        self.ends = False  # after all has gone out
        self.failed = False

    def put(self, piece: bytes | memoryview, *, market: bool = False) -> None:
        (self.data if market else self.out).append(piece)
        self.waiting += len(piece)


class Replayer:
    """Serves a plan; `serve` starts it in a thread, `serve_apart` in a process."""

    def __init__(self, plan: Plan, context: ssl.SSLContext, port: int = 0) -> None:
        self.plan, self._context = plan, context
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self.log: list[Struck] = []
        self.accepted = 0  # TCP connections
        self.requests: list[str] = []  # paths of HTTP requests, those of the handshakes too
        self.said: list[tuple[int, str]] = []  # connection, text that the client sent
        self.sent = 0  # messages of the market put on a connection, faults counted in
        self.position = 0  # next message of the tape
        self.ended = threading.Event()  # all of the tape has been put out
        self._rng = random.Random(plan.seed)
        self._frames = [_frame(message.payload) for message in plan.tape]
        self._all = memoryview(b"".join(self._frames))
        self._offsets = [0]
        for frame in self._frames:
            self._offsets.append(self._offsets[-1] + len(frame))
        self._topics = {message.topic for message in plan.tape}
        self._by_number = {fault.at: fault for fault in plan.faults if fault.at >= 0}
        self._by_chance = [fault for fault in plan.faults if fault.at < 0]
        self._oracle = OracleBook(plan.snapshot) if plan.snapshot else None
        self._oracle_at = 0  # messages of the tape that it knows
        self._clients: dict[int, _Client] = {}
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._later: list[tuple[float, _Client, bytes]] = []  # answers of REST that take their time
        self._began_s = 0.0
        self.until = len(plan.tape)  # as far as the market may go
        self._free = threading.Event()
        self._free.set()
        self._stop = threading.Event()

    # --- handling from outside ---------------------------------------------------------------------------------------

    def hold(self) -> None:
        """The market stands still until `go_on`."""
        self._free.clear()

    def go_on(self) -> None:
        """The market goes on."""
        self._free.set()

    def stop(self) -> None:
        """End the loop."""
        self._stop.set()

    def run(self) -> None:
        """Serve until `stop`."""
        try:
            while not self._stop.is_set():
                busy = self._pump()
                for fd, mask in self._poll.poll(0.0 if busy else 0.002):
                    if fd == self._listener.fileno():
                        self._accept()
                    elif fd in self._clients:
                        self._serve(self._clients[fd], mask)
                self._answer_late()
                for client in list(self._clients.values()):
                    self._flush(client)
        finally:
            for client in list(self._clients.values()):
                self._end(client, reset=False)
            self._poll.close()
            self._listener.close()

    # --- the market --------------------------------------------------------------------------------------------------

    def _pump(self) -> bool:
        """Put out what is due. Whether there may be more at once."""
        plan, size = self.plan, len(self.plan.tape)
        if self.position >= min(size, self.until) or not self._free.is_set():
            if self.position >= size and not any(client.waiting for client in self._clients.values()):
                self.ended.set()
            return False
        clients = [c for c in self._clients.values() if c.upgraded and not c.ends and not c.mutes]
        covered = set().union(*(client.topics for client in clients))
        if (plan.speed == 0 or self._began_s == 0) and not self._topics <= covered:
            return False
        now = time.monotonic()
        self._began_s = self._began_s or now
        end = min(self.position + BLOCK, self.until)
        if plan.speed == 0:
            if any(client.waiting > HIGH_WATER for client in clients):
                return False
        else:
            due_ns = plan.tape[0].at_ns + (now - self._began_s) * 1e9 * plan.speed
            while end > self.position and plan.tape[end - 1].at_ns > due_ns:
                end -= 1
        if end == self.position:
            return False
        if not plan.faults and not plan.numbered and all(self._topics <= client.topics for client in clients):
            piece = self._all[self._offsets[self.position] : self._offsets[end]]
            for client in clients:
                client.put(piece, market=True)
                self.sent += end - self.position
            self.position = end
            return True
        while self.position < end:
            struck = self._one(self.position, clients)
            self.position += 1
            if struck is not None and struck.kind in ("cut", "close", "half_open"):
                self.position = min(self.position + struck.missed, size)
                break
        return True

    def _book(self, limit: int) -> bytes:
        """The book at the market's position."""
        assert self._oracle is not None
        for message in self.plan.tape[self._oracle_at : self.position]:
            if "@depth" in message.topic:
                self._oracle.apply(message.payload)
        self._oracle_at = self.position
        return self._oracle.body(limit)

    def _one(self, number: int, clients: list[_Client]) -> Fault | None:
        """One message to all who want it; the fault that struck."""
        topic = self.plan.tape[number].topic
        fault = self._by_number.get(number)
        for possible in self._by_chance if fault is None else ():
            if self._rng.random() < possible.probability:
                fault = possible
                break
        hit = False
        for client in clients:
            if topic in client.topics and not client.ends:
                hit = True
                self._send(client, number, fault)
        return fault if hit else None

    def _send(self, client: _Client, number: int, fault: Fault | None) -> None:
        payload = self.plan.tape[number].payload
        frame = self._numbered(client, payload) if self.plan.numbered else self._frames[number]
        kind = fault.kind if fault else ""
        if fault is not None:
            self.log.append(Struck(kind, number, client.number))
        if kind == "drop":
            return
        if kind == "reorder" and not client.swapped:
            client.swapped = frame
            return
        if kind == "corrupt":
            damaged = bytearray(payload)
            damaged[self._rng.randrange(len(damaged))] ^= 1 << self._rng.randrange(8)
            frame = _frame(bytes(damaged))
        if kind == "stall":
            client.stalled_until = time.monotonic() + fault.seconds
        self.sent += 1
        client.put(frame, market=True)
        if kind == "repeat":
            client.put(frame, market=True)
        if client.swapped and kind != "reorder":
            client.put(client.swapped, market=True)
            client.swapped = b""
        if kind == "half_open":
            client.mutes = True
        if kind == "cut":
            self._end(client, reset=True)
            client.ends = True
        if kind == "close":
            client.put(Frame(Opcode.CLOSE, (1001).to_bytes(2, "big")).serialize(mask=False), market=True)
            client.ends = True

    def _numbered(self, client: _Client, payload: bytes) -> bytes:
        """As a frame, under the next number of the connection."""
        number, client.number = client.number, client.number + 1
        return _frame(_NUMBER.sub(rb"\g<1>%d" % number, payload, count=1))

    # --- the clients -------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                sock, _ = self._listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                tls = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                client = _Client(self.accepted, tls)
                self.accepted += 1
                self._clients[client.fd] = client
                self._poll.register(client.fd, select.EPOLLIN)

    def _serve(self, client: _Client, mask: int) -> None:
        if client.muted:
            if mask & (select.EPOLLHUP | select.EPOLLERR):
                self._end(client, reset=False)
            return
        try:
            if not client.shaken:
                client.tls.do_handshake()
                client.shaken = True
            while data := client.tls.recv(1 << 16):
                client.protocol.receive_data(data)
                self._hear(client)
            self._end(client, reset=False)  # the client has gone
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLWantWriteError:
            self._poll.modify(client.fd, select.EPOLLIN | select.EPOLLOUT)
        except OSError:
            self._end(client, reset=False)

    def _hear(self, client: _Client) -> None:
        for event in client.protocol.events_received():
            if isinstance(event, Request):
                self._answer_request(client, event)
            elif event.opcode is Opcode.TEXT:
                self.said.append((client.number, event.data.decode()))
                self._answer_text(client, json.loads(event.data))
            elif event.opcode is Opcode.CLOSE:
                client.ends = True
        for data in client.protocol.data_to_send():
            if data:
                client.put(data)

    def _answer_request(self, client: _Client, request: Request) -> None:
        self.requests.append(request.path)
        parts = urlsplit(request.path)
        if parts.path in self.plan.rest or (parts.path.startswith(REST_PATHS) and "Upgrade" not in request.headers):
            limit = int(parse_qs(parts.query).get("limit", ["1000"])[0])
            status, header, body = self.plan.rest.get(
                parts.path,
                (200, "X: 1", self._book(limit)) if self._oracle else (404, "X: 1", b"none"),
            )
            head = f"HTTP/1.1 {status} X\r\n{header}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            self._later.append((time.monotonic() + self.plan.rest_delay_s, client, head.encode() + body))
            return
        client.protocol.send_response(client.protocol.accept(request))
        client.upgraded = True
        named = parse_qs(parts.query).get("streams", [""])[0]
        self._subscribe(client, [topic for topic in named.split("/") if topic])

    def _answer_late(self) -> None:
        now = time.monotonic()
        for entry in [entry for entry in self._later if entry[0] <= now]:
            self._later.remove(entry)
            entry[1].put(entry[2])
            entry[1].ends = True

    def _answer_text(self, client: _Client, said: dict[str, Any]) -> None:
        begins, topics = _topics_of(self.plan.venue, said)
        for answer in _answers(self.plan.venue, said, topics):
            client.put(_frame(answer), market=True)
        if begins:
            self._subscribe(client, topics)
        else:
            client.topics -= set(topics)

    def _subscribe(self, client: _Client, topics: Sequence[str]) -> None:
        client.topics |= set(topics)
        for topic in topics:
            for payload in self.plan.greet(topic, self.position) if self.plan.greet else ():
                client.put(self._numbered(client, payload) if self.plan.numbered else _frame(payload), market=True)

    def _flush(self, client: _Client) -> None:
        if client.muted or not client.shaken or client.fd not in self._clients:
            return
        stalled = client.stalled_until > time.monotonic()
        try:
            for pieces in (client.out,) if stalled else (client.out, client.data):
                while pieces:
                    sent = client.tls.send(pieces[0])
                    client.waiting -= sent
                    piece = memoryview(pieces[0])[sent:]
                    if piece:
                        pieces[0] = piece
                    else:
                        pieces.popleft()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._poll.modify(client.fd, select.EPOLLIN | select.EPOLLOUT)
            return
        except OSError:
            self._end(client, reset=False)
            return
        self._poll.modify(client.fd, select.EPOLLIN)
        if client.mutes and not client.waiting:
            client.muted = True
            self._poll.modify(client.fd, 0)
        if client.ends and not client.waiting:
            self._end(client, reset=False)

    def _end(self, client: _Client, *, reset: bool) -> None:
        if self._clients.pop(client.fd, None) is None:
            return
        self._poll.unregister(client.fd)
        if reset:
            client.tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.tls.close()
        client.ends = True


def _frame(payload: bytes) -> bytes:
    return Frame(Opcode.TEXT, payload).serialize(mask=False)


def _topics_of(venue: str, said: dict[str, Any]) -> tuple[bool, list[str]]:
    """What a client's message subscribes to (or ends), as topics of the product's own names."""
    if venue.startswith("bybit"):
        return said["op"] == "subscribe", list(said.get("args", ()))
    if venue == "kraken":
        named = said.get("params", {})
        topics = [f"{named['channel']}:{symbol}" for symbol in named.get("symbol", ())] or [named["channel"]]
        return said["method"] == "subscribe", topics
    if venue == "coinbase":
        products = said.get("product_ids", ())
        topics = [f"{said['channel']}:{product}" for product in products] or [said["channel"]]
        return said["type"] == "subscribe", topics
    return said["method"] == "SUBSCRIBE", list(said["params"])


def _answers(venue: str, said: dict[str, Any], topics: Sequence[str]) -> Iterator[bytes]:
    """What the venue says to it. Coinbase numbers its answers with the data, so a tape of it holds them already."""
    if venue.startswith("bybit"):
        pong = "pong" if said["op"] == "ping" else ""
        made = {"success": True, "ret_msg": pong, "conn_id": "1", "req_id": said.get("req_id", ""), "op": said["op"]}
        yield json.dumps(made).encode()
    elif venue == "kraken" and said["method"] == "ping":
        yield b'{"method":"pong"}'
    elif venue == "kraken":
        for topic in topics:
            channel, _, symbol = topic.partition(":")
            result = {"channel": channel, "symbol": symbol}
            made = {"method": said["method"], "result": result, "success": True, "req_id": said.get("req_id", 0)}
            yield json.dumps(made).encode()
    elif venue.startswith("binance"):
        yield json.dumps({"result": None, "id": said["id"]}).encode()


@contextmanager
def serve(plan: Plan, context: ssl.SSLContext, port: int = 0) -> Iterator[Replayer]:
    """A replayer in a thread of this process, on a port of its own choice unless one is named."""
    replayer = Replayer(plan, context, port)
    thread = threading.Thread(target=replayer.run, name="replayer")
    thread.start()
    try:
        yield replayer
    finally:
        replayer.stop()
        thread.join()


def _apart(plan: Plan, chain_file: Path, pipe: Any) -> None:
    replayer = Replayer(plan, server_context(chain_file))
    thread = threading.Thread(target=replayer.run, name="replayer")
    thread.start()
    pipe.send(replayer.port)
    with suppress(EOFError):
        pipe.recv()  # until the other end asks for it to end, or is gone
    replayer.stop()
    thread.join()
    with suppress(OSError):
        pipe.send((replayer.log, replayer.sent, replayer.position))


class Apart(NamedTuple):
    """A replayer in a process of its own."""

    port: int
    pid: int
    end: Callable[[], tuple[list[Struck], int, int]]  # ends it; faults, messages put out, position


@contextmanager
def serve_apart(plan: Plan, chain_file: Path) -> Iterator[Apart]:
    """A replayer in a process of its own, so that it takes no time from the reader's."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_apart, args=(plan, chain_file, theirs), name="replayer")
    process.start()
    theirs.close()
    told: list[Any] = []

    def end() -> tuple[list[Struck], int, int]:
        if not told:
            ours.send("end")
            told.append(ours.recv())
        return told[0]

    try:
        yield Apart(ours.recv(), process.pid or 0, end)
    finally:
        with suppress(OSError, EOFError):
            end()
        process.join()
        process.close()
        ours.close()
