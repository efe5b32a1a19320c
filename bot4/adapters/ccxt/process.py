"""ccxt's process as the gateway sees it: requests and the private stream over one socket, never waiting.

Messages both ways are JSON with their length before them. The first one to the process is what it needs to know, keys
included: nothing of that stands in its arguments or its environment. It shows that its loop turns twice a second. One
that is silent, that dies, or that says what nobody can read is killed, what was under way is told as unanswered, and
another one is begun. A request bears the time at which it is void: a process that hung in between sends none later.
"""

import random
import socket
import struct
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from bot4.ports.gateway import Reply

NS = 1_000_000_000
START_S = 60.0  # ccxt's import and the venue's markets
SILENCE_S = 3.0
BACK_OFF_S, BACK_OFF_MOST_S = 0.1, 5.0
MESSAGE_BYTES = 1 << 26
_CHUNK = 1 << 16
_LEAVE_S = 5.0
_LENGTH = struct.Struct("!I")
_GONE, _BEGUN, _READY, _DYING = range(4)


class _Message(msgspec.Struct):
    """Of ccxt's process: an answer, a message of the stream, or a word about itself."""

    token: int = -1
    status: int = 0
    head: dict[str, str] = {}
    body: msgspec.Raw = msgspec.Raw(b"")
    stream: int = -1
    gone: str = ""
    markets: dict[str, dict[str, Any]] | None = None
    failed: str = ""


class CcxtProcess:
    """See the module. Its parent has to be the thread that lives longest: the process ends with it.

    Parameters
    ----------
    command : that begins it; the descriptor of its socket is added
    told : what it needs to know, `workers.ccxt_venue` says what
    size : requests at a time
    check : refuses the markets that it has found, by a sentence; "": they are those of the settings
    """

    def __init__(
        self,
        command: Sequence[str],
        told: Mapping[str, object],
        size: int,
        check: Callable[[Mapping[str, Mapping[str, Any]]], str],
    ) -> None:
        self._command, self._told, self._check = command, msgspec.json.encode(told), check
        self.size = size
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._state = _GONE
        self._in, self._out = bytearray(), bytearray()
        self._heard_ns = self._begun_ns = self._next_ns = 0
        self._failures = 0
        self._rng = random.Random()
        self.trouble = ""
        self.under_way: dict[int, int] = {}  # token: until when it is waited for
        self.replies: list[tuple[int, Reply]] = []
        self.news: deque[tuple[int, bytes, str]] = deque()  # of the stream: its number, message, or why it is gone

    @property
    def pid(self) -> int:
        """Of the process that is there; 0: none."""
        return self._process.pid if self._process is not None else 0

    @property
    def is_ready(self) -> bool:
        """Whether it takes requests."""
        return self._state == _READY

    def turn(self) -> None:
        """Read and write what can be, and see to it that there is one."""
        now = time.monotonic_ns()
        if self._process is None:
            if now >= self._next_ns:
                self._begin(now)
            return
        if self._state == _DYING:
            if self._process.poll() is not None:
                self._process = None
            return
        self._read(now)
        self._write()
        if self._state == _BEGUN and now - self._begun_ns > START_S * NS:
            self._end("ccxt's process does not come up")
        elif self._state == _READY and now - self._heard_ns > SILENCE_S * NS:
            self._end("ccxt's process hangs")
        for token in [token for token, until_ns in self.under_way.items() if now > until_ns]:
            del self.under_way[token]
            self.replies.append((token, Reply(0, {}, b"", "no answer in time")))

    def say(self, message: bytes) -> None:
        """Put it behind what waits for the socket."""
        if self._state in (_BEGUN, _READY):
            self._out += _LENGTH.pack(len(message)) + message
            self._write()

    def close(self) -> None:
        """End it, and wait for that."""
        if self._process is not None:
            self._end("closed by us")
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_LEAVE_S)
            self._process = None
        self._next_ns = 2**63 - 1

    # --- one process ---

    def _begin(self, now: int) -> None:
        ours, theirs = socket.socketpair()
        try:
            command = [*self._command, str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=(theirs.fileno(),)
            )
        except OSError as error:
            ours.close()
            self._later(f"ccxt's process cannot begin ({error.strerror})")
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        self._socket, self._state = ours, _BEGUN
        self._heard_ns = self._begun_ns = now
        self._in.clear()
        self._out.clear()
        self.say(self._told)

    def _later(self, reason: str) -> None:
        self.trouble = reason
        self._failures += 1
        longest = min(BACK_OFF_MOST_S, BACK_OFF_S * 2.0 ** min(self._failures, 6))
        self._next_ns = time.monotonic_ns() + int(self._rng.uniform(longest / 2, longest) * NS)

    def _end(self, reason: str) -> None:
        """Kill it; what was under way may have been done or not."""
        if self._state == _DYING:
            return
        assert self._process is not None and self._socket is not None
        self._process.kill()
        self._socket.close()
        self._socket, self._state = None, _DYING
        self.replies += [(token, Reply(0, {}, b"", reason)) for token in self.under_way]
        self.under_way.clear()
        self._later(reason)

    def _write(self) -> None:
        while self._out and self._socket is not None:
            try:
                count = self._socket.send(self._out)
            except BlockingIOError:
                return
            except OSError:
                return  # reading tells that it is gone
            del self._out[:count]

    def _read(self, now: int) -> None:
        while self._socket is not None:
            try:
                data = self._socket.recv(_CHUNK)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._end(self.trouble if self._state == _BEGUN and self.trouble else "ccxt's process has ended")
                return
            self._heard_ns = now
            self._in += data
            if len(data) < _CHUNK:
                break
        try:
            while len(self._in) >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._in)
                if length > MESSAGE_BYTES:
                    raise ValueError("a message is too long")
                if len(self._in) < _LENGTH.size + length:
                    return
                message = bytes(self._in[_LENGTH.size : _LENGTH.size + length])
                del self._in[: _LENGTH.size + length]
                self._take(msgspec.json.decode(message, type=_Message))
        except (msgspec.DecodeError, ValueError) as error:
            self._end(f"ccxt's process says what cannot be read ({str(error)[:100]})")

    def _take(self, message: _Message) -> None:
        if message.failed:
            self._end(message.failed)
        elif message.markets is not None:
            refusal = self._check(message.markets)
            if refusal:
                self._end(refusal)
            else:
                self._state, self._failures, self.trouble = _READY, 0, ""
        elif message.stream >= 0:
            self.news.append((message.stream, bytes(message.body), message.gone))
        elif message.token >= 0 and self.under_way.pop(message.token, 0):  # else it came too late, and has been told
            self.replies.append((message.token, Reply(message.status, message.head, bytes(message.body))))


class CcxtCaller:
    """See `ports.gateway.Caller`."""

    def __init__(self, process: CcxtProcess) -> None:
        self._process = process

    def free(self) -> int:
        """See ports/gateway.py."""
        return self._process.size - len(self._process.under_way) if self._process.is_ready else 0

    def send(self, token: int, data: bytes, timeout_s: float) -> bool:
        """See ports/gateway.py."""
        if self.free() <= 0:
            return False
        until_ns = time.monotonic_ns() + int(timeout_s * NS)
        self._process.under_way[token] = until_ns
        self._process.say(b'{"token":%d,"until_ns":%d,"call":%s}' % (token, until_ns, data))
        return True

    def turn(self) -> list[tuple[int, Reply]]:
        """See ports/gateway.py."""
        self._process.turn()
        replies, self._process.replies = self._process.replies, []
        return replies

    def trouble(self) -> str:
        """See ports/gateway.py."""
        return self._process.trouble

    def close(self) -> None:
        """See ports/gateway.py."""
        self._process.close()


class CcxtListener:
    """See `ports.gateway.Listener`. A stream has a number: what comes of one that has been dropped is nobody's."""

    def __init__(self, process: CcxtProcess) -> None:
        self._process = process
        self._number = 0
        self._is_open = False
        self._next_ns = 0
        self._failures = 0
        self._rng = random.Random()
        self._news: list[bytes | None] = []
        self.reason = ""  # why the last one ended

    def is_open(self) -> bool:
        """See ports/gateway.py."""
        return self._is_open

    def turn(self) -> list[bytes | None]:
        """See ports/gateway.py."""
        while self._process.news:
            number, message, gone = self._process.news.popleft()
            if self._is_open and number == self._number:
                if gone:
                    self.drop(gone)
                else:
                    self._failures = 0
                    self._news.append(message)
        if self._is_open and not self._process.is_ready:
            self.drop(self._process.trouble)
        elif not self._is_open and self._process.is_ready and time.monotonic_ns() >= self._next_ns:
            self._is_open = True
            self._number += 1
            self._news.append(None)
        news, self._news = self._news, []
        return news

    def send(self, text: str) -> None:
        """See ports/gateway.py."""
        if self._is_open:
            self._process.say(b'{"stream":%d,"say":%s}' % (self._number, text.encode()))

    def drop(self, reason: str) -> None:
        """See ports/gateway.py."""
        if self._is_open:
            self.send('{"name":"end"}')
            self._is_open, self.reason = False, reason
            self._news.append(None)
            self._failures += 1
            longest = min(BACK_OFF_MOST_S, BACK_OFF_S * 2.0 ** min(self._failures, 6))
            self._next_ns = time.monotonic_ns() + int(self._rng.uniform(longest / 2, longest) * NS)

    def close(self) -> None:
        """See ports/gateway.py. The process ends with the caller."""
        self._is_open = False
