"""GET over HTTPS in threads: snapshots of books while the feed reads on, and metadata before it starts.

Dialling is shared with the websockets, so every step is verified and bounded in the same way; the answer is read by the
standard library's HTTP. One request a connection: a snapshot is asked for when something has broken, not often.

A venue is asked no more often than it takes: what is beyond that waits. One that answers 429 or 418 all the same wants
to be left alone: nothing is sent to it for as long as it says, or a minute. A redirect is not followed.
"""

import http.client
import io
import queue
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from bot4.adapters.net.dial import Cancel, DialError, Dialled, contexts_of, plain, split_url
from bot4.model.errors import Bot4Error
from bot4.ports.stream import Key, Request, VenueStreams

BODY_BYTES = 1 << 26  # the longest list of instruments known has 20 MB
GET_S = 10.0
NS = 1_000_000_000
APART_NS = NS  # between two requests of one key
PAUSE_S = 60  # after a 429 or 418 that does not say for how long
_LONGEST_PAUSE_S = 86_400
_LATER = (429, 418)
_THREADS = 2  # of a venue: one request that hangs does not hold up the next
_CHUNK = 1 << 16


class Answer(NamedTuple):
    """What came back for a GET."""

    status: int
    body: bytes
    error: str  # one line; "": status 200 and a whole body
    pause_s: int = 0  # the venue wants no request for so long


class _Bytes(io.RawIOBase):
    """The connection as the standard library reads it."""

    def __init__(self, peer: Dialled) -> None:
        self._peer = peer

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._peer.receive(len(buffer), "answer")
        buffer[: len(data)] = data
        return len(data)


class _Source:
    def __init__(self, peer: Dialled) -> None:
        self._peer = peer

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Bytes(self._peer), _CHUNK)


def get(url: str, context: ssl.SSLContext, timeout_s: float, cancel: Cancel, most: int = BODY_BYTES) -> Answer:
    """Fetch an https address; blocks at most `timeout_s`. A body longer than `most` bytes is an error.

    Never raises for what the peer does; InputError if it is no https address.
    """
    parts = split_url(url, "https")
    host = parts.hostname or ""
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = (
        f"GET {target} HTTP/1.1",
        f"Host: {parts.netloc}",
        "User-Agent: bot4",
        "Accept: application/json",
        "Accept-Encoding: identity",
        "Connection: close",
    )
    try:
        with Dialled(host, parts.port or 443, context, timeout_s, cancel) as peer:
            peer.send("".join(f"{line}\r\n" for line in (*lines, "")).encode(), "request")
            with http.client.HTTPResponse(_Source(peer), method="GET") as response:  # type: ignore[arg-type]
                response.begin()
                return _answer(host, response, most)
    except DialError as error:
        return Answer(0, b"", str(error))
    except (http.client.HTTPException, ValueError) as error:
        return Answer(0, b"", f"{host}: no HTTP answer that can be read ({type(error).__name__}: {plain(error)})")


def _answer(host: str, response: http.client.HTTPResponse, most: int) -> Answer:
    status = response.status
    if status in _LATER:
        said = response.getheader("Retry-After", "")
        wait = int(said) if said.isascii() and said.isdigit() and len(said) < 10 else PAUSE_S
        pause_s = min(max(wait, 1), _LONGEST_PAUSE_S)
        return Answer(status, b"", f"{host}: HTTP {status}: too many requests, asks for {pause_s} s without", pause_s)
    if 300 <= status < 400:
        place = plain(response.getheader("Location", ""))
        return Answer(status, b"", f"{host}: HTTP {status}: points to {place} and is not followed")
    body = response.read(most + 1)
    if len(body) > most:
        return Answer(status, b"", f"{host}: the body is longer than {most:,} bytes")
    if status != 200:
        return Answer(
            status, b"", f"{host}: HTTP {status} {plain(response.reason)}: {plain(body[:80].decode('latin-1'))}"
        )
    if response.length:
        return Answer(status, b"", f"{host}: the body is {response.length} bytes shorter than announced")
    return Answer(status, body, "")


class RestFetcher:
    """Fetches for a reader that must not wait (`bot4.ports.stream.Fetcher`).

    Parameters
    ----------
    streams : of each venue: its `rest_url` is asked, as often as its `snapshots` say
    clock : monotonic time in ns
    ca_file : the only roots that are trusted, for all venues or by venue; None: the system's
    timeout_s : for one request
    """

    def __init__(
        self,
        streams: Iterable[VenueStreams],
        clock: Callable[[], int],
        *,
        ca_file: Path | Mapping[str, Path] | None = None,
        timeout_s: float = GET_S,
    ) -> None:
        self._clock, self._timeout_s = clock, timeout_s
        streams = list(streams)
        self._urls = {of.venue: of.rest_url for of in streams}
        self._most = {of.venue: of.snapshots for of in streams}
        self._sent: dict[str, deque[int]] = {venue: deque() for venue in self._urls}  # when, by venue
        self._contexts = contexts_of(self._urls, ca_file)
        for url in self._urls.values():
            split_url(url, "https")
        self._cancel = Cancel()
        self._wanted: dict[Key, tuple[str, Request]] = {}  # asked, and not yet due
        self._under_way: dict[Key, str] = {}  # with its venue
        self._sent_ns: dict[Key, int] = {}
        self._silent_until_ns: dict[str, int] = {}
        self._answers: deque[tuple[Key, str, Answer]] = deque()
        self._jobs: dict[str, queue.SimpleQueue[tuple[Key, str] | None]] = {}
        self._threads: list[threading.Thread] = []

    def ask(self, key: Key, venue: str, request: Request) -> None:
        """Fetch path and query of the venue's REST address, at most once a second for a key."""
        if key not in self._under_way:
            self._wanted[key] = (venue, request)
            self._send_due()

    def done(self) -> list[tuple[Key, bytes, str]]:
        """What has come since: key, body, error."""
        if not self._answers and not self._wanted:
            return []
        found = []
        while self._answers:
            key, venue, answer = self._answers.popleft()
            del self._under_way[key]
            if answer.pause_s:
                until_ns = self._clock() + answer.pause_s * NS
                self._silent_until_ns[venue] = max(until_ns, self._silent_until_ns.get(venue, 0))
            found.append((key, answer.body, answer.error))
        self._send_due()
        return found

    def close(self) -> None:
        """Call off what is under way and end the threads."""
        self._cancel.set()
        for venue in self._jobs:
            for _ in range(_THREADS):
                self._jobs[venue].put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._cancel.close()

    def _send_due(self) -> None:
        now_ns = self._clock()
        for key, (venue, request) in list(self._wanted.items()):
            if now_ns < self._silent_until_ns.get(venue, now_ns):
                continue
            if now_ns - self._sent_ns.get(key, now_ns - APART_NS) < APART_NS:
                continue
            if sum(other == venue for other in self._under_way.values()) >= _THREADS:
                continue  # the next one goes when it is known that the venue does not ask for silence
            if not self._has_room(venue, now_ns):
                continue
            del self._wanted[key]
            self._under_way[key] = venue
            self._sent_ns[key] = now_ns
            path, query = request
            self._queue_of(venue).put((key, f"{self._urls[venue]}{path}" + (f"?{query}" if query else "")))

    def _has_room(self, venue: str, now_ns: int) -> bool:
        """Whether the venue takes another request; then it is counted."""
        most, sent = self._most[venue], self._sent[venue]
        if most is None:
            return True
        while sent and now_ns - sent[0] >= most.within_s * NS:
            sent.popleft()
        if len(sent) >= most.most:
            return False
        sent.append(now_ns)
        return True

    def _queue_of(self, venue: str) -> "queue.SimpleQueue[tuple[Key, str] | None]":
        jobs = self._jobs.get(venue)
        if jobs is None:
            jobs = self._jobs[venue] = queue.SimpleQueue()
            for _ in range(_THREADS):
                thread = threading.Thread(target=self._run, args=(venue, jobs), name=f"rest {venue}", daemon=True)
                thread.start()
                self._threads.append(thread)
        return jobs

    def _run(self, venue: str, jobs: "queue.SimpleQueue[tuple[Key, str] | None]") -> None:
        while (job := jobs.get()) is not None:
            key, url = job
            try:
                answer = get(url, self._contexts[venue], self._timeout_s, self._cancel)
            except Bot4Error as error:
                answer = Answer(0, b"", str(error))
            except Exception as error:  # the thread has to go on, whatever it was
                answer = Answer(0, b"", f"{type(error).__name__}: {plain(error)}")
            self._answers.append((key, venue, answer))
