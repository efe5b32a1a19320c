"""What the pool keeps of each connection and of the place that wants one."""

import random
import ssl
import threading
from collections import Counter, deque
from collections.abc import Callable

from bot4.adapters.net.dial import Cancel, plain
from bot4.adapters.net.websocket import ClosedError, Websocket, open_websocket
from bot4.model.errors import Bot4Error
from bot4.ports.stream import VenueStreams
from bot4.shm.breaker import GuardedCall

NS = 1_000_000_000
ATTEMPT_NS = NS  # at least so long between two attempts of a slot, and of all slots that try a host again
BACK_OFF_S = 1.0  # longest delay after a connection that was steady; twice as long after each failure,
BACK_OFF_MOST_S = 30.0  # but never longer than this
STEADY_NS = 30 * NS  # a connection that lived so long was no failure
_REASONS = 32  # kept apart; more are counted together
_DOUBLINGS = 5  # reach BACK_OFF_MOST_S


class PooledConnection:
    """A connection of the pool, as the reader sees it (`bot4.ports.stream.Connection`), and the times it is judged by.

    When the peer is gone nothing is raised to the reader: `failure` says why, and the pool's next turn tells it.
    """

    def __init__(self, number: int, slot: "Slot", symbols: tuple[str, ...], socket: Websocket, now_ns: int) -> None:
        self.id, self.slot, self.socket = number, slot, socket
        self.venue, self.symbols = slot.streams.venue, symbols
        self.topics = slot.topics_of(symbols)
        self.opened_ns = self.heard_ns = now_ns
        self.first_data_ns = 0  # 0: none yet
        self.renew_ns = 0  # 0: never
        self.beat_ns = 0
        self.asked_ns = 0  # a ping was sent then; 0: none since it was heard of last
        self.texts: deque[str] = deque()  # to be sent, no faster than the venue allows
        self.text_ns = 0
        self.failure = ""
        self.changed: Callable[[PooledConnection], None] = lambda connection: None

    def fileno(self) -> int:
        """Of the socket."""
        return self.socket.fileno()

    def read_into(self, buffer: memoryview) -> int:
        """Read what has come. Returns bytes; 0: nothing now, or gone: see `failure`."""
        try:
            count = self.socket.read_into(buffer)
        except ClosedError as error:
            self.fail(str(error))
            return 0
        self.slot.bytes += count
        if self.socket.reads_want_write:
            self.changed(self)
        return count

    def send_text(self, text: str) -> None:
        """Send a message."""
        self._sent(self.socket.send_text, text)

    def send_pong(self, payload: bytes) -> None:
        """Answer a ping."""
        self._sent(self.socket.send_pong, payload)

    def send_ping(self) -> None:
        """Ask for a sign of life."""
        self._sent(self.socket.send_ping, b"")

    def fail(self, reason: str) -> None:
        """It is gone: the first reason counts."""
        self.failure = self.failure or reason
        self.changed(self)

    def _sent(self, send: Callable[..., None], content: object) -> None:
        try:
            send(content)
        except ClosedError as error:
            self.fail(str(error))
            return
        if self.socket.wants_write:
            self.changed(self)


class Opening:
    """One attempt to connect, in a thread of its own: a dead host holds up nobody else."""

    def __init__(
        self,
        slot: "Slot",
        context: ssl.SSLContext,
        timeout_s: float,
        done: Callable[["Opening"], None],
    ) -> None:
        self.slot, self.symbols = slot, slot.symbols
        self.socket: Websocket | None = None
        self.error = ""
        self.cancel = Cancel()
        url = slot.streams.url(slot.topics_of(self.symbols))
        self._thread = threading.Thread(
            target=self._run, args=(url, context, timeout_s, done), name=f"open {slot.streams.venue}", daemon=True
        )
        self._thread.start()

    def _run(self, url: str, context: ssl.SSLContext, timeout_s: float, done: Callable[["Opening"], None]) -> None:
        try:
            self.socket = open_websocket(url, context, timeout_s, self.cancel)
        except Bot4Error as error:
            self.error = str(error)
        except Exception as error:  # the slot has to go on, whatever it was
            self.error = f"{type(error).__name__}: {plain(error)}"
        done(self)

    def finish(self) -> None:
        """Wait for the thread, which is over or called off; give back what it holds."""
        self._thread.join()
        self.cancel.close()


class Slot:
    """A place that always wants one connection: some symbols of one route of a venue."""

    def __init__(self, number: int, streams: VenueStreams, route: str, symbols: tuple[str, ...]) -> None:
        self.number, self.streams, self.route, self.symbols = number, streams, route, symbols
        self.current: PooledConnection | None = None
        self.leaving: list[PooledConnection] = []  # replaced, and still needed until the successors speak
        self.opening: Opening | None = None
        self.guarded: GuardedCall | None = None  # that opening, as the venue's breaker knows it
        self.next_attempt_ns = 0
        self.last_attempt_ns = -ATTEMPT_NS
        self.failures = 0  # in a row
        self.attempts = self.opened = self.closed = self.bytes = 0
        self.heard_ns = 0  # of any connection of the slot
        self.reasons: Counter[str] = Counter()

    def topics_of(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        """The topics of these symbols that belong to the route, each once."""
        topics = dict.fromkeys(topic for symbol in symbols for topic in self.streams.topics(symbol))
        return tuple(topic for topic in topics if self.streams.route(topic) == self.route)

    def wants_opening(self, now_ns: int) -> bool:
        """Whether a connection is missing, or the one that is there has to be replaced."""
        current = self.current
        if self.opening is not None:
            return False
        if current is None or current.symbols != self.symbols:
            return True
        return 0 < current.renew_ns <= now_ns

    def end_call(self, outcome: int) -> None:
        """What has become of the opening, for the venue's breaker."""
        guarded, self.guarded = self.guarded, None
        if guarded is not None:
            guarded.end(outcome)

    def count(self, reason: str) -> None:
        """Why a connection ended, or did not come about."""
        known = reason in self.reasons or len(self.reasons) < _REASONS
        self.reasons[reason if known else "others"] += 1

    def back_off(self, rng: random.Random, now_ns: int) -> None:
        """When the next attempt may be: exponential, with full jitter."""
        longest = min(BACK_OFF_MOST_S, BACK_OFF_S * 2.0 ** min(self.failures, _DOUBLINGS))
        self.next_attempt_ns = now_ns + int(rng.uniform(0.0, longest) * NS)
