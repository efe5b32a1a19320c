"""Requests over kept TLS connections, from a loop that never waits: opened in threads, then raw non-blocking sockets.

One request at a time on each connection, so that an answer belongs to its request without any doubt. A connection whose
answer did not come in time is closed: what comes late must not be taken for the next one's; so is one on which anything
came that nobody asked for, before the next request is written. What was sent and not answered is told as that and never
sent again here.
"""

import random
import select
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import httptools

from bot4.adapters.net.dial import Cancel, DialError, Dialled, plain, split_url, told
from bot4.model.errors import Bot4Error
from bot4.ports.gateway import Reply

NS = 1_000_000_000
OPEN_S = 5.0
BACK_OFF_S, BACK_OFF_MOST_S = 0.1, 5.0
BODY_BYTES = 1 << 24
_CHUNK = 1 << 16
_OPENING, _IDLE, _BUSY, _GONE = range(4)


class Opening:
    """One attempt to connect, in a thread of its own."""

    def __init__(self, name: str, connect: Callable[[Cancel], Any]) -> None:
        self.result: Any = None
        self.error = ""
        self.done = False
        self._cancel = Cancel()
        self._thread = threading.Thread(target=self._run, args=(connect,), name=f"open {name}", daemon=True)
        self._thread.start()

    def _run(self, connect: Callable[[Cancel], Any]) -> None:
        try:
            self.result = connect(self._cancel)
        except Bot4Error as error:
            self.error = str(error)
        except Exception as error:  # the place has to go on, whatever it was
            self.error = f"{type(error).__name__}: {plain(error)}"
        self.done = True

    def finish(self, call_off: bool = False) -> Any:
        """What has been opened; waits for the thread, which is over or called off."""
        if call_off:
            self._cancel.set()
        self._thread.join()
        self._cancel.close()
        return self.result


class _Connection:
    """A place that always wants one connection."""

    def __init__(self) -> None:
        self.state = _GONE
        self.opening: Opening | None = None
        self.tls: ssl.SSLSocket | None = None
        self.come = select.poll()  # whether anything has
        self.next_ns = 0
        self.failures = 0
        self.out = b""
        self.is_stuck = False  # what is left of it waits for room
        self.token = -1
        self.until_ns = 0
        self.used_ns = 0
        self.head: dict[str, str] = {}
        self.body = bytearray()
        self.whole = self.stays = False
        self.parser: Any = None

    # --- called by the parser ---

    def on_message_begin(self) -> None:
        """One answer to one request."""
        if self.whole:
            raise ValueError("a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self.head[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self.body += body
        if len(self.body) > BODY_BYTES:
            raise ValueError("too long")

    def on_message_complete(self) -> None:
        """It is whole, unless it says that one will come. Whether the peer stays is known at this moment alone."""
        if self.parser.get_status_code() < 200:
            self.head = {}
            return
        self.whole, self.stays = True, self.parser.should_keep_alive()


class HttpCaller:
    """A pool of connections to one host.

    Parameters
    ----------
    url : https address of the venue
    context : of `verified_context`
    size : connections
    allowed : refuses the address that a connection really has, by a sentence; "": it may be used
    """

    def __init__(
        self, url: str, context: ssl.SSLContext, size: int, allowed: Callable[[str], str] = lambda address: ""
    ) -> None:
        parts = split_url(url, "https")
        self._host, self._port, self._context, self._allowed = parts.hostname or "", parts.port or 443, context, allowed
        self._places = [_Connection() for _ in range(size)]
        self._poll = select.poll()
        self._by_descriptor: dict[int, _Connection] = {}
        self._replies: list[tuple[int, Reply]] = []
        self._trouble = ""
        self._rng = random.Random()
        self._next_look_ns = 0

    def free(self) -> int:
        """See ports/gateway.py."""
        return sum(place.state == _IDLE for place in self._places)

    def trouble(self) -> str:
        """See ports/gateway.py."""
        return self._trouble

    def send(self, token: int, data: bytes, timeout_s: float) -> bool:
        """See ports/gateway.py. The connection that was used last is the most alive."""
        best = self._best()
        while best is not None and not self._is_silent(best):
            best = self._best()
        if best is None:
            return False
        now = time.monotonic_ns()
        best.state, best.token, best.out = _BUSY, token, data
        best.until_ns, best.used_ns = now + int(timeout_s * NS), now
        best.head, best.whole = {}, False
        best.body.clear()
        best.parser = httptools.HttpResponseParser(best)
        self._flush(best)
        return True

    def _best(self) -> _Connection | None:
        best = None
        for place in self._places:
            if place.state == _IDLE and (best is None or place.used_ns > best.used_ns):
                best = place
        return best

    def _is_silent(self, place: _Connection) -> bool:
        """Nothing lies there that would be taken for the answer of the next request; else it is dropped."""
        assert place.tls is not None
        if not place.come.poll(0) and not place.tls.pending():
            return True
        try:
            said = place.tls.recv(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except OSError as error:
            self._drop(place, told(error))
            return False
        self._drop(place, "an answer that nobody asked for" if said else "the peer has ended the connection")
        return False

    def turn(self) -> list[tuple[int, Reply]]:
        """See ports/gateway.py."""
        for descriptor, mask in self._poll.poll(0):
            place = self._by_descriptor.get(descriptor)
            if place is None:
                continue
            if mask & select.POLLOUT and place.out:
                self._flush(place)
            if mask & ~select.POLLOUT and place.tls is not None:
                self._read(place)
        now = time.monotonic_ns()
        if now >= self._next_look_ns:
            self._next_look_ns = now + NS // 1000
            for place in self._places:
                self._look(place, now)
        replies, self._replies = self._replies, []
        return replies

    def close(self) -> None:
        """See ports/gateway.py."""
        for place in self._places:
            if place.opening is not None:
                made = place.opening.finish(call_off=True)
                if made is not None:
                    made.close()
                place.opening = None
            self._drop(place, "closed by us")

    # --- one connection ---

    def _connect(self, cancel: Cancel) -> ssl.SSLSocket:
        with Dialled(self._host, self._port, self._context, OPEN_S, cancel) as peer:
            refusal = self._allowed(str(peer.tls.getpeername()[0]))
            if refusal:
                raise DialError(refusal)
            return peer.release()

    def _look(self, place: _Connection, now: int) -> None:
        if place.state == _BUSY and now > place.until_ns:
            self._drop(place, f"{self._host}: no answer in time")
        if place.state == _GONE and now >= place.next_ns:
            place.state = _OPENING
            place.opening = Opening(self._host, self._connect)
        elif place.opening is not None and place.opening.done:
            opening, place.opening = place.opening, None
            place.tls = opening.finish()
            self._trouble = opening.error
            if place.tls is None:
                place.state = _GONE
                place.failures += 1
                longest = min(BACK_OFF_MOST_S, BACK_OFF_S * 2.0 ** min(place.failures, 6))
                place.next_ns = now + int(self._rng.uniform(longest / 2, longest) * NS)
            else:
                place.state, place.failures = _IDLE, 0
                self._by_descriptor[place.tls.fileno()] = place
                self._poll.register(place.tls, select.POLLIN)
                place.come, place.is_stuck = select.poll(), False
                place.come.register(place.tls, select.POLLIN)

    def _flush(self, place: _Connection) -> None:
        assert place.tls is not None
        while place.out:
            try:
                count = place.tls.send(place.out)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if not place.is_stuck:
                    place.is_stuck = True
                    self._poll.modify(place.tls, select.POLLIN | select.POLLOUT)
                return
            except OSError as error:
                self._drop(place, told(error))
                return
            place.out = place.out[count:]
        if place.is_stuck:
            place.is_stuck = False
            self._poll.modify(place.tls, select.POLLIN)

    def _read(self, place: _Connection) -> None:
        assert place.tls is not None
        try:
            while True:
                data = place.tls.recv(_CHUNK)
                if not data:
                    self._drop(place, f"{self._host}: the peer has ended the connection")
                    return
                if place.state != _BUSY:
                    self._drop(place, f"{self._host}: an answer that nobody asked for")
                    return
                place.parser.feed_data(data)
                if place.whole:
                    self._answered(place)
                    return
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except (httptools.HttpParserError, ValueError):
            self._drop(place, f"{self._host}: no HTTP answer that can be read")
        except OSError as error:
            self._drop(place, told(error))

    def _answered(self, place: _Connection) -> None:
        self._replies.append((place.token, Reply(place.parser.get_status_code(), place.head, bytes(place.body))))
        place.token, place.state = -1, _IDLE
        if not place.stays:
            self._drop(place, "")

    def _drop(self, place: _Connection, reason: str) -> None:
        if place.state == _BUSY:
            self._replies.append((place.token, Reply(0, {}, b"", reason or "closed")))
            place.token = -1
        if place.tls is not None:
            self._poll.unregister(place.tls)
            del self._by_descriptor[place.tls.fileno()]
            place.tls.close()
            place.tls = None
        place.out = b""
        if place.state != _OPENING:
            place.state = _GONE
