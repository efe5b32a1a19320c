"""The feed agent of a live session: sockets in, ticks out; asks for a fresh book wherever one is stale.

All I/O stands behind two ports, the pool of connections and the fetcher of REST bodies. Time is the wall clock of the
start carried on by the monotonic clock, so a clock that is set does not move event time. Each connection that has
something to read is read once a turn and by a bounded amount, and only so many of its messages are taken by the slow
way (the typed decoder, messages in parts): one that floods does not keep the others waiting. What is left waits for the
next turn, and until it is taken nothing more is read; who is behind for too long is dropped.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bot4.engine import feed_live, feed_scan
from bot4.engine.feed_live import (
    CONNECTION,
    CONNECTION_BYTES,
    HEARS,
    HEARS_BOOK,
    NEEDS_ANSWER,
    NEEDS_CLOSING,
    NEEDS_DECODER,
    NEEDS_NOTHING,
    LiveMemory,
    answer_readers,
    check_silence,
    forget_connection,
    promise,
    set_halted,
    take_body,
    take_filled,
)
from bot4.engine.feed_memory import HALTED_INSTRUMENT, HALTED_VENUE, feed_memory
from bot4.engine.feed_out import go_stale, publish
from bot4.engine.feed_raw import record_message
from bot4.engine.feed_scan import SCANNERS
from bot4.engine.feed_typed import fill
from bot4.engine.shard import generate_module
from bot4.jit import JIT
from bot4.kernels.scan.directory import directory_of
from bot4.kernels.scan.frame import BINARY, CLOSE, CONTINUATION, TEXT
from bot4.kernels.scan.scanned import INSTRUMENT, KIND, SEQUENCE, Scanned
from bot4.model.breaker import CLOSED
from bot4.model.enums import INPUT_OK, INPUT_UNPARSABLE, INPUT_WRONG_SYMBOL, TICK_STATUS
from bot4.ports.feed import Decoder, MessageError, Status
from bot4.ports.store import NUMBERS_APART
from bot4.ports.stream import Closed, Connection, Fetcher, Opened, Pool, Readable, VenueStreams
from bot4.shm.breaker import Breaker
from bot4.shm.layout import CLOCK_FEED, RING_DROPPED, RING_HEAD
from bot4.shm.spsc_ring import ring_recover
from bot4.shm.wires import (
    FEED_ROW,
    GAUGE_FEED_VENUES,
    N_VENUE_GAUGES,
    VENUE_HEARD,
    VENUE_SINCE_NS,
    VENUE_WHOLE,
    Wires,
    feed_rings,
)

MAX_CONNECTIONS = 64
READ_BYTES = 1 << 18  # of one connection in one turn
BATCH = 4_096  # messages of one call of the step
MOST_SLOW = 64  # messages of one connection in one turn that the step cannot take: about two milliseconds
BEHIND_NS = 10_000_000_000  # a connection that brings more than that for so long is dropped
LOOK_NS = 20_000_000  # between two looks for silent and stale books
BALANCE_NS = 60_000_000_000  # between two looks at the load of the connections
WAIT_S = 1e-3  # for a socket: heartbeat and stop word are looked at so often
ASK_NS = 1_000_000_000  # between two requests for the same book
GIVE_UP_NS = 30_000_000_000  # a book that is stale for so long in spite of requests takes its connection along
MOST_REASONS = 256
MOST_DOUBLINGS = 4  # of a time between two requests, or two connections given up, while none helps
FIRST_NS = 1_500_000_000  # ... where the connection has not yet brought its first snapshot


def load_step(venues: Sequence[str]) -> Any:
    """`live_step` with the scanners of these venues alone compiled in."""
    needed = {SCANNERS[venue] for venue in venues}
    spared = [name for number, name in enumerate(_SCANNERS) if number not in needed]
    if not spared or not JIT:
        return feed_live.live_step
    nothing = f"from {feed_scan.__name__} import scan_nothing"
    lines = {f"from bot4.kernels.scan.{name} import scan_{name}": f"{nothing} as scan_{name}" for name in spared}
    door = generate_module(feed_scan, "bot4_scan", lines, feed_scan)
    line = "from bot4.engine.feed_scan import scan_any"
    replaced = {line: line.replace(feed_scan.__name__, door.__name__)}
    return generate_module(feed_live, "bot4_live", replaced, door).live_step


_SCANNERS = ("binance", "bybit", "kraken", "coinbase")  # by number


class _Listed(NamedTuple):
    """An instrument as the feed's memory wants to know it."""

    symbol: str
    venue: str
    synthetic: bool = False


class LiveFeed:
    """Connections in, ticks out.

    Parameters
    ----------
    wires, instruments, session : the bot's shared memory and tables
    symbols : (symbol, venue) of each instrument
    streams : by venue: what its streams need
    decoders : by venue: the typed decoder of its messages
    pool, fetcher : the connections, and REST
    silence_ns : int64[n] after so long without a change a book is stale
    restarts : how many feeds have numbered records of this session before
    clock : monotonic time in ns
    parsers : by venue: the breaker of what its connections send; whose is open loses the connection that opened it, and
        the pool opens none until it is tried
    """

    waits_itself = True  # for its sockets: the work loop need not rest

    def __init__(
        self,
        wires: Wires,
        instruments: np.ndarray,
        session: np.ndarray,
        symbols: Sequence[tuple[str, str]],
        streams: Mapping[str, VenueStreams],
        decoders: Mapping[str, Decoder],
        pool: Pool,
        fetcher: Fetcher,
        silence_ns: np.ndarray,
        *,
        restarts: int = 0,
        clock: Callable[[], int] = time.monotonic_ns,
        parsers: Mapping[str, Breaker] | None = None,
    ) -> None:
        self._parsers = parsers or {}
        self._judged: dict[int, tuple[int, int]] = {}  # by connection: messages taken and refused when last looked at
        self._trying: set[int] = set()  # connections that were opened while that breaker was not closed
        self.wires, self.instruments, self.session = wires, instruments, session
        self.symbols, self.streams, self.decoders = symbols, streams, decoders
        self.pool, self.fetcher, self.silence_ns = pool, fetcher, silence_ns
        self.counts: Counter[str] = Counter()  # by venue and reason: what no instrument could be told of
        self._venues = sorted({venue for _, venue in symbols})
        self._step = load_step(self._venues)
        self._index = {name: index for index, name in enumerate(symbols)}
        self._connections: dict[int, Connection] = {}
        self._parts: dict[int, bytearray] = {}
        self._left: set[int] = set()  # connections of which something that was read is left to take
        self._behind: dict[int, int] = {}  # connections that bring more than a turn takes, and since when
        self._asked_ns = [0] * len(symbols)
        self._tries = [0] * len(symbols)  # requests since the book last held
        self._stale_ns = [0] * len(symbols)  # since when it is not, or its connection was given up
        self._given_up = [0] * len(symbols)  # connections before its first quote
        self._unquoted: set[int] = set()  # books of which no quote came in time, each told once a connection
        self._looked_ns = 0
        self._balanced_ns = 0
        self._messages = np.zeros(len(symbols), np.int64)  # of each instrument, when loads were last looked at
        self._body = np.zeros(CONNECTION_BYTES, np.uint8)
        self.memory = self._make_memory()
        wires.venue_clocks[...] = 0  # a feed that is started again learns them again: its event time may be another
        for ring in feed_rings(wires):
            ring_recover(ring)
        clock_ns = int(wires.clocks[CLOCK_FEED])  # event time goes on from there, whatever the wall clock says now
        self._clock = clock
        self._offset_ns = (clock_ns if restarts and clock_ns else time.time_ns()) - clock()
        if restarts:
            self._go_on(restarts)

    def _make_memory(self) -> LiveMemory:
        feed = feed_memory(self.instruments, [_Listed(*name) for name in self.symbols], len(self.wires.ticks))
        for index, (_, venue) in enumerate(self.symbols):
            feed.states[index]["listing"]["depth"] = self.streams[venue].depth
        listings = np.ascontiguousarray(feed.states["listing"])
        tables = [
            directory_of(listings, np.array([i for i, (_, of) in enumerate(self.symbols) if of == venue], np.int64))
            for venue in self._venues
        ]
        return LiveMemory(
            feed=feed,
            connections=np.zeros(MAX_CONNECTIONS, CONNECTION),
            buffers=np.zeros((MAX_CONNECTIONS, CONNECTION_BYTES), np.uint8),
            members=np.zeros((MAX_CONNECTIONS, len(self.symbols)), np.int64),
            owners=np.full(len(self.symbols), -1, np.int64),
            listings=listings,
            directories=np.stack(tables),
        )

    def _go_on(self, restarts: int) -> None:
        """Another feed has died: numbers that it may have given are not given again, and its books are told stale.

        So far apart after every death that each reader sees the hole, whichever part of a message it was given.
        """
        before = int(self.wires.market[RING_HEAD]) + int(self.wires.market[RING_DROPPED])
        self.memory.feed.states["event_no"] = before + restarts * NUMBERS_APART
        now_ns = self._now_ns()
        for index in range(len(self.symbols)):
            self.memory.feed.states[index]["whole"] = 1  # as far as anybody knows
            go_stale(self.memory.feed, index, now_ns)
            publish(self.memory.feed, self.wires, self.instruments, self.session, False)

    def _now_ns(self) -> int:
        return max(self._clock() + self._offset_ns, int(self.wires.clocks[CLOCK_FEED]))

    def do_work(self) -> int:
        """One turn: what has come is read and published, what is stale is asked for. Returns messages taken."""
        handled = 0
        answer_readers(self.memory, self.wires, self.instruments, self.session)
        left = [self._connections[slot] for slot in self._left]
        idle = self._behind.keys() - self._left
        for event in self.pool.turn(0.0 if left else WAIT_S):
            if isinstance(event, Readable):
                if event.connection not in left:
                    idle.discard(event.connection.id)
                    self._read(event.connection)
                    handled += self._take(event.connection)
            elif isinstance(event, Opened):
                self._open(event.connection)
            elif isinstance(event, Closed):
                self._forget(event.connection.id)
        for slot in idle:
            self._behind.pop(slot, None)
        for connection in left:
            handled += self._take(connection)
        now_ns = self._now_ns()
        self._take_bodies(now_ns)
        if now_ns - self._looked_ns >= LOOK_NS:
            self._looked_ns = now_ns
            check_silence(self.memory, self.wires, self.instruments, self.session, np.int64(now_ns), self.silence_ns)
            self._ask(now_ns)
            self._judge()
            self._show()
        if now_ns - self._balanced_ns >= BALANCE_NS:
            self._balance(now_ns)
        promise(self.wires.clocks, np.int64(self._now_ns()))
        return handled

    def close(self) -> None:
        """Close all connections."""
        self.pool.close()
        self.fetcher.close()

    def _show(self) -> None:
        """What of each venue is heard and whole, for whoever looks at the session."""
        feed = self.wires.gauges[int(self.session[0]["n_shards"]) + FEED_ROW, GAUGE_FEED_VENUES:]
        heard = (self.memory.members == HEARS_BOOK).any(axis=0)
        whole = self.memory.feed.states["whole"] != 0
        for place, venue in enumerate(self._venues):
            own = np.array([of == venue for _, of in self.symbols])
            row = feed[place * N_VENUE_GAUGES :]
            count = int(heard[own].sum())
            if not row[VENUE_SINCE_NS] or (count == own.sum()) != (row[VENUE_HEARD] == own.sum()):
                row[VENUE_SINCE_NS] = self._clock()
            row[VENUE_HEARD], row[VENUE_WHOLE] = count, int(whole[own].sum())

    def _judge(self) -> None:
        """What could not be read of each connection, for the breaker of its venue's parser.

        While that is not closed only connections that were opened since say something: the others have not done it.
        """
        for connection in list(self._connections.values()):
            breaker = self._parsers.get(connection.venue)
            if breaker is None:
                continue
            row, slot = self.memory.connections[connection.id], connection.id
            found = int(row["messages"]), int(row["refused"])
            before, self._judged[slot] = self._judged.get(slot, (0, 0)), found
            if breaker.state == CLOSED or slot in self._trying:
                messages = found[0] - before[0]
                failures = min(messages, found[1] - before[1])  # a message may be several events
                if breaker.note_many(messages, failures, source=slot):
                    self._drop(connection, "too much that cannot be read")

    # --- connections -------------------------------------------------------------------------------------------------

    def _open(self, connection: Connection) -> None:
        self._connections[connection.id] = connection
        self.memory.connections[connection.id : connection.id + 1] = np.zeros(1, CONNECTION)
        row = self.memory.connections[connection.id]
        row["scanner"], row["venue"] = SCANNERS[connection.venue], self._venues.index(connection.venue)
        row["sequence"] = -1
        if connection.venue in self._parsers and self._parsers[connection.venue].state != CLOSED:
            self._trying.add(connection.id)
        hears = HEARS_BOOK if self.streams[connection.venue].has_book(connection.topics) else HEARS
        for symbol in connection.symbols:
            index = self._index[symbol, connection.venue]
            self.memory.members[connection.id, index] = hears
            if hears != HEARS_BOOK:
                continue
            self._tries[index] = 0  # what did not help another connection may help this one
            if self.streams[connection.venue].snapshot(symbol) is None:
                self._asked_ns[index] = self._now_ns()  # by subscribing: another whole book would be one too many

    def _forget(self, slot: int) -> None:
        """The pool has closed it."""
        connection = self._connections.pop(slot, None)
        if connection is not None:
            if connection.venue in self._parsers:
                self._parsers[connection.venue].clear(slot)  # the next one in its place has done nothing yet
            self._parts.pop(slot, None)
            self._judged.pop(slot, None)
            self._trying.discard(slot)
            self._left.discard(slot)
            self._behind.pop(slot, None)
            forget_connection(
                self.memory, self.wires, self.instruments, self.session, np.int64(slot), np.int64(self._now_ns())
            )

    def _drop(self, connection: Connection, reason: str) -> None:
        """Nothing that it sends can be trusted any more: the pool opens another one."""
        self._count(f"{connection.venue}: {reason}")
        self._forget(connection.id)
        self.pool.drop(connection, reason)

    def _read(self, connection: Connection) -> None:
        """Read what has come, once."""
        slot = connection.id
        row, buffer = self.memory.connections[slot], self.memory.buffers[slot]
        at, filled = int(row["at"]), int(row["filled"])
        if at == filled:
            at = filled = 0
        elif at >= READ_BYTES or filled + READ_BYTES >= CONNECTION_BYTES:
            buffer[: filled - at] = buffer[at:filled].copy()
            at, filled = 0, filled - at
        count = connection.read_into(buffer[filled : min(filled + READ_BYTES, CONNECTION_BYTES - 1)].data)
        row["at"], row["filled"] = at, filled + count

    def _take(self, connection: Connection) -> int:
        """Take the messages that lie in the buffer, as many as one turn may; how many they were."""
        slot = connection.id
        row, buffer = self.memory.connections[slot], self.memory.buffers[slot]
        ts_ns = np.int64(self._now_ns())
        handled = slow = 0
        while self._connections.get(slot) is connection:
            if slow == MOST_SLOW:
                self._left.add(slot)
                if ts_ns - self._behind.setdefault(slot, int(ts_ns)) > BEHIND_NS:
                    self._drop(connection, "more messages that have to be read slowly than can be")
                break
            taken = self._step(
                self.memory, self.wires, self.instruments, self.session, np.int64(slot), ts_ns, np.int64(BATCH)
            )
            handled += taken
            needs = int(row["needs"])
            if needs == NEEDS_ANSWER:
                self._answer(connection, row, buffer, int(ts_ns))
            elif needs == NEEDS_DECODER:
                self._decode(connection, buffer[row["first"] : row["last"]].tobytes(), int(ts_ns))
            elif needs != NEEDS_CLOSING and taken < BATCH:  # no whole frame is left
                if slot not in self._left:
                    self._behind.pop(slot, None)  # all that a read brought was taken in its turn
                self._left.discard(slot)
                break
            slow += needs != NEEDS_NOTHING
            if slot in self._connections and int(row["needs"]) == NEEDS_CLOSING:
                self._drop(connection, "a damaged frame, or numbers that cannot be followed")
        if row["ping_last"] and self._connections.get(slot) is connection:
            connection.send_pong(buffer[row["ping_first"] : row["ping_last"]].tobytes())
            row["ping_last"] = 0
        return handled

    def _answer(self, connection: Connection, row: np.void, buffer: np.ndarray, ts_ns: int) -> None:
        """The end, a message in parts, or one of bytes."""
        payload = buffer[row["first"] : row["last"]].tobytes()
        opcode, final = int(row["opcode"]), bool(row["final"])
        started = connection.id in self._parts
        if opcode == CLOSE:
            self._drop(connection, "closed by the venue")
        elif (opcode != CONTINUATION) == started:
            self._drop(connection, "parts of a message out of order")
        elif opcode in (TEXT, CONTINUATION):
            parts = self._parts.setdefault(connection.id, bytearray())
            parts += payload
            if len(parts) > CONNECTION_BYTES:
                self._drop(connection, "a message larger than any")
            elif final:
                self._decode(connection, bytes(self._parts.pop(connection.id)), ts_ns)
            row["parted"] = not final
        elif opcode == BINARY:
            self._decode(connection, payload, ts_ns)  # no venue sends these: it is refused there

    # --- what the scanner does not know ------------------------------------------------------------------------------

    def _decode(self, connection: Connection, body: bytes, ts_ns: int) -> None:
        """Give a message to the typed decoder; take its events one by one."""
        slot, message = connection.id, self.memory.feed.message
        self.memory.connections[slot]["messages"] += 1
        try:
            decoded = self.decoders[connection.venue].decode(body)
        except MessageError as error:
            self._count(f"{connection.venue}: {error.reason}")
            self._record(-1, connection, body, ts_ns)
            self._blank(-1)
            self._take_filled(slot, ts_ns, INPUT_UNPARSABLE)
            return
        sequence = -1 if decoded.sequence is None else decoded.sequence
        if 0 <= sequence <= int(self.memory.connections[slot]["sequence"]):
            self._record(-1, connection, body, ts_ns)
            self._blank(sequence)
            self._take_filled(slot, ts_ns, INPUT_OK)  # a repeat: none of its events is taken, and it is counted so
            return
        if decoded.kind.endswith((".failed", ".error")) or decoded.kind == "error":
            self._count(f"{connection.venue}: refused a subscription")
        indices = [self._index.get((event.symbol, connection.venue), -1) for event in decoded.events]
        self._record(next((index for index in indices if index >= 0), -1), connection, body, ts_ns)
        taken = False
        for event in decoded.events:
            if isinstance(event, Status):
                self._take_status(event, connection.venue, ts_ns)
                continue
            instrument = self._index.get((event.symbol, connection.venue), -1)
            if instrument < 0:  # of nothing that we have subscribed to: a damaged name, as the scanners see it
                self._blank(-1 if taken else sequence)
                self._take_filled(slot, ts_ns, INPUT_WRONG_SYMBOL)
                taken = True
                continue
            self._blank(-1 if taken else sequence)
            reason = fill(event, self.memory.listings[instrument], self._scanned(), decoded.venue_ns)
            if message[KIND] == 0 and reason == INPUT_OK:
                continue  # a bar
            message[INSTRUMENT] = instrument
            message[SEQUENCE] = -1 if taken else sequence
            self._take_filled(slot, ts_ns, reason)
            taken = True
        if not taken:
            self._blank(sequence)
            self._take_filled(slot, ts_ns, INPUT_OK)

    def _record(self, instrument: int, connection: Connection, body: bytes, ts_ns: int) -> None:
        """The raw message, for whoever records it; -1: of no instrument, but of its venue."""
        source = instrument if instrument >= 0 else len(self.symbols) + self._venues.index(connection.venue)
        text, size = np.frombuffer(body, np.uint8), np.int64(len(body))
        record_message(self.wires, np.int64(source), np.int64(ts_ns), text, np.int64(0), size)

    def _take_status(self, event: Status, venue: str, ts_ns: int) -> None:
        """What is not traded has no book, and nothing that is told of it is taken, until the venue says otherwise."""
        found = [self._index.get((event.symbol, venue), -1)] if event.symbol else range(len(self.symbols))
        bit = HALTED_INSTRUMENT if event.symbol else HALTED_VENUE
        for index in found:
            if index < 0 or self.symbols[index][1] != venue:
                continue
            self.wires.messages[index, TICK_STATUS] += 1
            if not event.trading:
                self._count(f"{venue}: {self.symbols[index][0]} is {event.word}")
            set_halted(
                self.memory, self.wires, self.instruments, self.session,
                np.int64(index), np.int64(bit), not event.trading, np.int64(ts_ns),
            )  # fmt: skip

    def _count(self, reason: str) -> None:
        """Texts of venues may differ each time: beyond a bound they are one."""
        self.counts[reason if reason in self.counts or len(self.counts) < MOST_REASONS else "other reasons"] += 1

    def _blank(self, sequence: int) -> None:
        message = self.memory.feed.message
        message[:] = 0
        message[INSTRUMENT], message[SEQUENCE] = -1, sequence

    def _scanned(self) -> Scanned:
        feed = self.memory.feed
        return Scanned(feed.message, feed.trades, feed.prices, feed.lots)

    def _take_filled(self, slot: int, ts_ns: int, reason: int) -> None:
        take_filled(
            self.memory, self.wires, self.instruments, self.session, np.int64(slot), np.int64(ts_ns), np.int64(reason)
        )

    def _balance(self, now_ns: int) -> None:
        """Share the instruments out over the connections by what they bring."""
        count = self.wires.messages.sum(axis=1)
        if self._balanced_ns:
            per_s = (count - self._messages) * 1e9 / (now_ns - self._balanced_ns)
            self.pool.rebalance({(venue, symbol): float(per_s[i]) for i, (symbol, venue) in enumerate(self.symbols)})
        self._messages, self._balanced_ns = count, now_ns

    # --- fresh books -------------------------------------------------------------------------------------------------

    def _ask(self, now_ns: int) -> None:
        """Ask for every book that is stale and has a connection."""
        states, members = self.memory.feed.states, self.memory.members
        for index in np.flatnonzero((states["whole"] != 0) | (states["halted"] != 0)).tolist():
            self._stale_ns[index] = 0
            symbol, venue = self.symbols[index]
            held = now_ns - self._asked_ns[index] >= ASK_NS
            if held or self.streams[venue].snapshot(symbol) is None:  # by REST, which is dear, that did not help
                self._tries[index] = 0
        for index in np.flatnonzero((states["whole"] == 0) & (states["halted"] == 0)).tolist():
            symbol, venue = self.symbols[index]
            request = self.streams[venue].snapshot(symbol)
            quoted = now_ns - int(states[index]["quote_ns"]) <= int(self.silence_ns[index])
            if self._is_beyond_mending(index, now_ns, request is None, quoted):
                continue
            if request is not None and (not quoted or states[index]["silent"]):
                continue  # its quotes are silent: a book without them would be stale again at once; or it goes on
            first = request is None and self.memory.owners[index] < 0
            apart_ns = (FIRST_NS if first else ASK_NS) << min(max(self._tries[index] - 1, 0), MOST_DOUBLINGS)
            if now_ns - self._asked_ns[index] < apart_ns or not (members[:, index] == HEARS_BOOK).any():
                continue
            if request is not None:
                if states[index]["pending_messages"]:  # a snapshot from before the first diff would leave a hole
                    self._asked_ns[index] = now_ns
                    self._tries[index] += 1
                    self.fetcher.ask((venue, symbol), venue, request)
            else:
                self._asked_ns[index] = now_ns
                self._tries[index] += 1
                states[index]["awaited"] += 1
                self.pool.resubscribe(venue, symbol)

    def _is_beyond_mending(self, index: int, now_ns: int, in_stream: bool, quoted: bool) -> bool:
        """Whether a book has been stale for too long: then its connections are closed, and the pool opens others.

        Not where the market may just be quiet: a venue that sends snapshots in the stream owes one; elsewhere quotes
        without any change of the book are the sign, or changes of its best levels without any quote. Of a book whose
        best levels nobody has told yet any change may be one of them; that may cost a connection for nothing, and is
        done ever more rarely.
        """
        state, members = self.memory.feed.states[index], self.memory.members
        unchanged = quoted and not state["pending_messages"] and state["book_ns"] > 0
        unquoted = not in_stream and state["quote_ns"] == 0 and state["pending_messages"] > 0
        if not (in_stream or unchanged or unquoted or (state["quote_owed"] and not quoted)):
            self._stale_ns[index] = 0
            self._unquoted.discard(index)
            return False
        self._stale_ns[index] = self._stale_ns[index] or now_ns
        stale_ns = now_ns - self._stale_ns[index]
        if unquoted and stale_ns > self.silence_ns[index] and index not in self._unquoted:
            symbol, venue = self.symbols[index]
            self._unquoted.add(index)
            self._count(f"{venue}: {symbol} has changes of its book and no best quote")
        if stale_ns < GIVE_UP_NS << (min(self._given_up[index], MOST_DOUBLINGS) if unquoted else 0):
            return False
        self._stale_ns[index] = now_ns
        self._given_up[index] += unquoted
        self._unquoted.discard(index)
        for connection in list(self._connections.values()):
            if members[connection.id, index] == HEARS_BOOK:
                self._drop(connection, "a book that no request mends")
        return True

    def _take_bodies(self, now_ns: int) -> None:
        for (venue, symbol), body, error in self.fetcher.done():
            if error or len(body) >= CONNECTION_BYTES:
                self._count(f"{venue}: REST {error or 'body too long'}")
                continue
            index = self._index[symbol, venue]
            if not (self.memory.members[:, index] == HEARS_BOOK).any():
                continue  # the connection has gone meanwhile: nothing would carry the book on
            self._body[: len(body)] = np.frombuffer(body, np.uint8)
            self._body[len(body)] = 10
            take_body(
                self.memory, self.wires, self.instruments, self.session,
                np.int64(index), self._body, np.int64(len(body)), np.int64(now_ns),
            )  # fmt: skip

    def warm(self) -> None:
        """Call every kernel once, with nothing to do: a worker that is forked afterwards compiles nothing."""
        arguments = self.memory, self.wires, self.instruments, self.session
        now_ns = np.int64(self._now_ns())
        self._step(*arguments, np.int64(0), now_ns, np.int64(1))
        self._blank(-1)
        self._take_filled(0, int(now_ns), INPUT_OK)
        if any(self.streams[venue].snapshot(symbol) is not None for symbol, venue in self.symbols):
            self._body[0] = 10
            take_body(*arguments, np.int64(0), self._body, np.int64(0), now_ns)
        forget_connection(*arguments, np.int64(0), now_ns)
        set_halted(*arguments, np.int64(0), np.int64(0), False, now_ns)
        self.do_work()
