"""All connections of a feed: opened by threads, read by the one thread that turns the pool.

    turn -> poll the sockets -> take what the openers have brought -> look at the clock -> events

A slot is a place that always wants one connection. What can go wrong with it:

    the opening fails       the next one comes after a random part of 2, 4, 8 .. 30 s, never within a second of the last
                            one that any slot has tried again at this host
    the peer ends it        the same; if it had lived for half a minute, after a random part of 1 s
    nothing at all comes    after half of `silence_s` it is asked by a ping, after as long again closed: a cable that
                            was pulled sends no goodbye
    the venue's lifetime    before it is over a successor is opened; the old one goes when the successor has spoken for
                            `overlap_s` and all of the old one is read, so nothing is missing in between
    loads that drift        `rebalance`; slots that change their symbols are replaced in the same way

Nothing blocks longer than the time-out that `turn` is given. Own code and no event loop of the standard library: the
reader spins or sleeps in its own loop, and the bytes have to reach it where it wants them, uncopied.
"""

import os
import random
import select
from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bot4.adapters.net.dial import contexts_of, plain, split_url
from bot4.adapters.net.slot import ATTEMPT_NS, NS, STEADY_NS, Opening, PooledConnection, Slot
from bot4.adapters.net.split import heaviest, matched, split, topics_by_route
from bot4.adapters.net.websocket import ClosedError
from bot4.model.breaker import DONE, FAILED, VOID
from bot4.model.errors import InputError
from bot4.ports.stream import MAX_CONNECTIONS, Closed, Connection, Event, Key, Opened, Readable, VenueStreams
from bot4.shm.breaker import Breaker

OPEN_S = 10.0  # for name, TCP, TLS and handshake together
OVERLAP_S = 5.0  # that a connection and its successor both speak; a snapshot of megabytes comes within
SLOTS = MAX_CONNECTIONS // 2  # so that each may have a successor
RENEW = (0.8, 0.9)  # of the venue's lifetime, drawn for each connection so that they do not all go at once
WORTHWHILE = 0.8  # a new split is taken if its heaviest connection carries less than this part of what it does now
RESUBSCRIBE_NS = NS  # at least so long between two requests for one symbol
_NEVER_NS = 1 << 62


class Wanted(NamedTuple):
    """What is wanted of one venue."""

    streams: VenueStreams
    symbols: Sequence[str]
    connections: int = 1  # of each route; more where the venue's limit of topics demands it


def parts_of(one: Wanted) -> list[tuple[str, tuple[str, ...]]]:
    """Route and symbols of each connection that is wanted."""
    return [
        (route, symbols)
        for route in topics_by_route(one.streams, one.symbols)
        for symbols in split(one.streams, route, one.symbols, one.connections, {})
    ]


class StreamPool:
    """The connections of all venues (`bot4.ports.stream.Pool`).

    Parameters
    ----------
    wanted : by venue
    silence_s : a connection of which nothing at all came for so long is closed and opened anew
    rng : draws the delays
    clock : monotonic time in ns
    ca_file : the only roots that are trusted, for all venues or by venue; None: the system's
    open_s : for one opening
    overlap_s : that an old connection lives beside its successor
    breakers : by venue: those that each let another connection be opened, the first of them told how that went; a
        venue without any is always tried

    InputError for addresses, symbols or files that cannot be used, naming them.
    """

    def __init__(
        self,
        wanted: Sequence[Wanted],
        silence_s: float,
        rng: random.Random,
        clock: Callable[[], int],
        *,
        ca_file: Path | Mapping[str, Path] | None = None,
        open_s: float = OPEN_S,
        overlap_s: float = OVERLAP_S,
        breakers: Mapping[str, Sequence[Breaker]] | None = None,
    ) -> None:
        self._breakers = breakers or {}
        self._contexts = contexts_of((one.streams.venue for one in wanted), ca_file)
        self._rng, self._clock = rng, clock
        self._silence_ns, self._overlap_ns = int(silence_s * NS), int(overlap_s * NS)
        self._open_s = open_s
        self._wanted = {one.streams.venue: one for one in wanted}
        self.slots: list[Slot] = []
        for one in wanted:
            self._add_slots(one)
        self._free = deque(range(MAX_CONNECTIONS))
        self._attempts: dict[str, deque[int]] = {one.streams.venue: deque() for one in wanted}
        self._again_ns: dict[str, int] = {}  # by host: when the next slot may try again there
        self._resubscribed: dict[Key, int] = {}
        self._request_id = 0
        self._living: dict[int, PooledConnection] = {}  # by file descriptor
        self._changed: set[PooledConnection] = set()  # to be looked at: failed, or wants to write
        self._due_ns = 0
        self._brought: deque[Opening] = deque()  # by the openers
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(self._wake, select.EPOLLIN)
        self._is_closed = False

    def _add_slots(self, one: Wanted) -> None:
        if not one.symbols or len(set(one.symbols)) != len(one.symbols):
            raise InputError(f"{one.streams.venue}: symbols: {', '.join(one.symbols) or 'none'}; name each one once")
        for route, symbols in parts_of(one):
            slot = Slot(len(self.slots), one.streams, route, symbols)
            split_url(one.streams.url(slot.topics_of(symbols)), "wss")
            self.slots.append(slot)
        if len(self.slots) > SLOTS:
            raise InputError(f"connections: {len(self.slots)} are wanted, {SLOTS} can be kept; ask for fewer")

    # --- the reader's side -------------------------------------------------------------------------------------------

    def turn(self, timeout_s: float) -> list[Event]:
        """What has happened: connections that went, that came, and that have something to read, in this order."""
        now_ns = self._clock()
        readable = dict.fromkeys(connection for connection in self._living.values() if connection.socket.pending)
        if readable or self._changed:
            timeout_s = 0.0
        else:
            timeout_s = max(0.0, min(timeout_s, (self._due_ns - now_ns) / NS))
        ready = self._epoll.poll(timeout_s)
        now_ns = self._clock()
        for connection in readable:
            self._heard(connection, now_ns)
        for fd, mask in ready:
            if fd == self._wake:
                os.eventfd_read(self._wake)
                self._due_ns = 0
                continue
            connection = self._living[fd]
            if mask & ~select.EPOLLOUT:
                self._heard(connection, now_ns)
                readable[connection] = None
            if mask & select.EPOLLOUT:
                if connection.socket.reads_want_write:
                    readable[connection] = None
                self._flush(connection)
        events: list[Event] = []
        if self._changed:
            events += self._look_at_changed(now_ns)
        if now_ns >= self._due_ns:
            events += self._look(now_ns, readable)
        events += [Readable(connection) for connection in readable if self._lives(connection)]
        return events

    def drop(self, connection: Connection, reason: str) -> None:
        """Close it and open another; of one that has been replaced, close it."""
        if isinstance(connection, PooledConnection) and self._lives(connection):
            self._end(connection, reason, self._clock())

    def retire(self, connection: Connection) -> None:
        """Close one that has been replaced; of one that has no successor nothing happens."""
        if isinstance(connection, PooledConnection) and connection in connection.slot.leaving:
            self._end(connection, "replaced", self._clock())

    def resubscribe(self, venue: str, symbol: str) -> None:
        """Subscribe anew to the book's topic, unless that was done less than a second ago or nothing is connected."""
        now_ns = self._clock()
        streams = self._wanted[venue].streams
        topic = streams.book_topic(symbol)
        if now_ns - self._resubscribed.get((venue, symbol), -RESUBSCRIBE_NS) < RESUBSCRIBE_NS:
            return
        for slot in self.slots:
            connection = slot.current
            if slot.streams is streams and connection is not None and topic in connection.topics:
                self._resubscribed[venue, symbol] = now_ns
                self._say(connection, streams.unsubscribe([topic], self._next_id()))
                self._say(connection, streams.subscribe([topic], self._next_id()))

    def rebalance(self, rates: Mapping[Key, float]) -> int:
        """Split anew by measured rates (messages per second by venue and symbol). Returns how many slots change.

        A route is left as it is unless its heaviest connection would be relieved by a fifth. Connections that are kept
        do not notice; the others are replaced, and what moves is spoken of by both until the new one has spoken.
        """
        changed = 0
        for venue, one in self._wanted.items():
            by_symbol = {symbol: rates[venue, symbol] for symbol in one.symbols if (venue, symbol) in rates}
            for route in topics_by_route(one.streams, one.symbols):
                slots = [slot for slot in self.slots if slot.streams is one.streams and slot.route == route]
                before = [slot.symbols for slot in slots]
                after = matched(before, split(one.streams, route, one.symbols, len(slots), by_symbol))
                if heaviest(after, by_symbol) >= WORTHWHILE * heaviest(before, by_symbol):
                    continue
                for slot, symbols in zip(slots, after, strict=True):
                    changed += slot.symbols != symbols
                    slot.symbols = symbols
        self._due_ns = 0
        return changed

    def close(self) -> None:
        """Close all connections, call off all openings and wait for their threads."""
        if self._is_closed:
            return
        self._is_closed = True
        openings = [slot.opening for slot in self.slots if slot.opening is not None]
        for opening in openings:
            opening.cancel.set()
        for opening in openings:
            opening.finish()
            if opening.socket is not None:
                opening.socket.close()
        for connection in self._living.values():
            connection.socket.close()
        self._living.clear()
        self._epoll.close()
        os.close(self._wake)

    # --- what came ---------------------------------------------------------------------------------------------------

    def _lives(self, connection: PooledConnection) -> bool:
        return self._living.get(connection.socket.fileno()) is connection

    def _heard(self, connection: PooledConnection, now_ns: int) -> None:
        connection.heard_ns = connection.slot.heard_ns = now_ns
        connection.asked_ns = 0
        if connection.first_data_ns == 0:
            connection.first_data_ns = now_ns
            self._due_ns = min(self._due_ns, now_ns + self._overlap_ns)  # a predecessor may go then

    def _flush(self, connection: PooledConnection) -> None:
        try:
            connection.socket.flush()
        except ClosedError as error:
            connection.fail(str(error))
        self._changed.add(connection)

    def _look_at_changed(self, now_ns: int) -> Iterator[Event]:
        changed, self._changed = self._changed, set()
        for connection in sorted(changed, key=lambda connection: connection.id):
            if not self._lives(connection):
                continue
            if connection.failure:
                self._end(connection, connection.failure, now_ns)
                yield Closed(connection, connection.failure)
            else:
                mask = select.EPOLLIN | (select.EPOLLOUT if connection.socket.wants_write else 0)
                self._epoll.modify(connection.socket.fileno(), mask)

    def _end(self, connection: PooledConnection, reason: str, now_ns: int) -> None:
        """Close it, give its id back, and see when another is opened."""
        slot = connection.slot
        self._epoll.unregister(connection.socket.fileno())
        del self._living[connection.socket.fileno()]
        connection.socket.close()
        self._free.appendleft(connection.id)  # its buffer has been touched already
        slot.closed += 1
        slot.count(reason)
        if connection in slot.leaving:
            slot.leaving.remove(connection)
            return
        slot.current = None
        slot.failures = 0 if now_ns - connection.opened_ns >= STEADY_NS else slot.failures + 1
        if slot.failures and (breakers := self._breakers.get(slot.streams.venue)):
            breakers[0].note(FAILED)  # lost young
        slot.back_off(self._rng, now_ns)
        self._due_ns = 0

    # --- what is due -------------------------------------------------------------------------------------------------

    def _look(self, now_ns: int, readable: Container[PooledConnection]) -> list[Event]:
        """Everything that goes by the clock; says when the next of it is due."""
        events: list[Event] = []
        while self._brought:
            events += self._take(self._brought.popleft(), now_ns)
        due = [_NEVER_NS]
        for connection in list(self._living.values()):
            if self._is_replaced(connection, now_ns, due) and connection not in readable:
                self._end(connection, "replaced", now_ns)
                events.insert(0, Closed(connection, "replaced"))
            elif 0 < connection.asked_ns <= now_ns - self._silence_ns // 2:
                reason = f"silent for {self._silence_ns / NS:g} s"
                self._end(connection, reason, now_ns)
                events.insert(0, Closed(connection, reason))
            else:
                due.append(self._tend(connection, now_ns))
        for slot in self.slots:
            if slot.wants_opening(now_ns):
                due.append(self._open(slot, now_ns))
        self._due_ns = min(due)
        return events

    def _is_replaced(self, connection: PooledConnection, now_ns: int, due: list[int]) -> bool:
        """Whether others have spoken of all its symbols for so long that what it had sent before has come.

        It still has to be read: a reader that is behind would lose what lies in the socket.
        """
        slot = connection.slot
        if connection not in slot.leaving:
            return False
        speaking: dict[str, int] = {}
        for other in self.slots:
            current = other.current
            if other.streams is slot.streams and other.route == slot.route and current and current.first_data_ns:
                speaking |= dict.fromkeys(current.symbols, current.first_data_ns)
        if not all(symbol in speaking for symbol in connection.symbols):
            return False
        due.append(max(speaking[symbol] for symbol in connection.symbols) + self._overlap_ns)
        return now_ns >= due[-1]

    def _tend(self, connection: PooledConnection, now_ns: int) -> int:
        """Ask a silent peer, beat, send what waits. Returns when to look again."""
        due_ns = connection.heard_ns + self._silence_ns // 2
        if now_ns >= due_ns and not connection.asked_ns:
            connection.asked_ns = now_ns  # not when it should have been: a reader that stood still is no silent peer
            connection.send_ping()
        if connection.asked_ns:
            due_ns = connection.asked_ns + self._silence_ns // 2
        beat = connection.slot.streams.heartbeat
        if beat is not None:
            if now_ns >= connection.beat_ns:
                connection.beat_ns = now_ns + int(beat.every_s * NS)
                connection.texts.append(beat.text)
            due_ns = min(due_ns, connection.beat_ns)
        while connection.texts and now_ns >= connection.text_ns and not connection.failure:
            connection.text_ns = now_ns + NS // connection.slot.streams.texts_per_s
            connection.send_text(connection.texts.popleft())
        if connection.texts:
            due_ns = min(due_ns, connection.text_ns)
        if connection.renew_ns > now_ns:
            due_ns = min(due_ns, connection.renew_ns)
        return due_ns

    def _open(self, slot: Slot, now_ns: int) -> int:
        """Begin an opening if it may be now. Returns when to look again."""
        attempts = self._attempts[slot.streams.venue]
        most = slot.streams.attempts
        within_ns = int(most.within_s * NS)
        while attempts and now_ns - attempts[0] >= within_ns:
            attempts.popleft()
        host = split_url(slot.streams.ws_url, "wss").netloc
        at_ns = max(slot.next_attempt_ns, slot.last_attempt_ns + ATTEMPT_NS)
        again = slot.attempts > 0 and slot.current is None  # it has failed or was lost, perhaps with many others
        if again:
            at_ns = max(at_ns, self._again_ns.get(host, 0))
        if len(attempts) >= most.most:
            at_ns = max(at_ns, attempts[0] + within_ns)
        if not self._free:
            at_ns = max(at_ns, now_ns + ATTEMPT_NS)
        breakers = self._breakers.get(slot.streams.venue, ())
        at_ns = max([at_ns, *(breaker.until_ns for breaker in breakers)])
        if now_ns < at_ns:
            return at_ns
        if not all(breaker.lets_through() for breaker in breakers[1:]):
            return now_ns + ATTEMPT_NS  # somebody is trying the venue
        slot.guarded = breakers[0].begin() if breakers else None
        if breakers and slot.guarded is None:
            return now_ns + ATTEMPT_NS
        attempts.append(now_ns)
        if again:
            self._again_ns[host] = now_ns + ATTEMPT_NS
        slot.last_attempt_ns = now_ns
        slot.attempts += 1
        try:
            slot.opening = Opening(slot, self._contexts[slot.streams.venue], self._open_s, self._bring)
        except (OSError, RuntimeError) as error:  # no file descriptor or thread is left: perhaps later
            slot.end_call(VOID)  # the venue has not been asked
            self._failed(slot, f"{type(error).__name__}: {plain(error)}", now_ns)
            return slot.next_attempt_ns
        return _NEVER_NS

    def _failed(self, slot: Slot, reason: str, now_ns: int) -> None:
        """An attempt came to nothing."""
        slot.end_call(FAILED)
        slot.failures += 1
        slot.count(reason)
        slot.back_off(self._rng, now_ns)

    def _bring(self, opening: Opening) -> None:
        """An opener has ended; called in its thread."""
        self._brought.append(opening)
        os.eventfd_write(self._wake, 1)

    def _take(self, opening: Opening, now_ns: int) -> list[Event]:
        """What an opener has brought."""
        opening.finish()
        slot, socket = opening.slot, opening.socket
        slot.opening = None
        if socket is None:
            self._failed(slot, opening.error, now_ns)
            return []
        slot.end_call(DONE)
        if opening.symbols != slot.symbols or not self._free:
            socket.close()  # something else is wanted by now
            slot.count("not wanted any more")
            return []
        connection = PooledConnection(self._free.popleft(), slot, opening.symbols, socket, now_ns)
        connection.changed = self._changed.add
        if slot.streams.lifetime_s:
            connection.renew_ns = now_ns + int(slot.streams.lifetime_s * self._rng.uniform(*RENEW) * NS)
        if slot.streams.heartbeat is not None:
            connection.beat_ns = now_ns + int(slot.streams.heartbeat.every_s * NS)
        replaced, slot.current = slot.current, connection
        if replaced is not None:
            slot.leaving.append(replaced)
        slot.opened += 1
        self._living[socket.fileno()] = connection
        self._epoll.register(socket.fileno(), select.EPOLLIN)
        self._say(connection, slot.streams.subscribe(connection.topics, self._next_id(len(connection.topics))))
        return [Opened(connection, slot.number, replaced)]

    def _say(self, connection: PooledConnection, texts: Sequence[str]) -> None:
        connection.texts.extend(texts)
        self._due_ns = 0

    def _next_id(self, count: int = 1) -> int:
        """The first of so many ids of requests."""
        first = self._request_id + 1
        self._request_id += count
        return first
