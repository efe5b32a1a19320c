"""A live feed whose connections are lost again and again, on real sockets over TLS, by a clock that the test turns.

What the pool does is judged in tests/unit/adapters/net/test_pool.py (attempts, back-off, name service, TLS). Here the
whole feed stands on it: after each loss the book is whole again and the venue's, nothing is kept that grows, and the
forced end of a connection after a day costs neither the book nor a trade.
"""

import random
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
from rig.breaker import changes, row_of, state_of
from rig.feed import instruments_of
from rig.hand import MS, SECOND, Clock
from rig.live import ReaderBook
from rig.market import MARKETS
from rig.replayer import Fault, Plan, Recorded, certificates, serve

from bot4.adapters.net.pool import StreamPool, Wanted
from bot4.adapters.net.rest import RestFetcher
from bot4.engine.live import LiveFeed
from bot4.model import breaker as b
from bot4.model.enums import FLAG_LAST, STATUS_STALE, STATUS_WHOLE, TICK_STATUS, TICK_TRADE
from bot4.model.records import SESSION, TICK, words
from bot4.ports.stream import MAX_CONNECTIONS
from bot4.shm.breaker import Breaker
from bot4.shm.spsc_ring import consume, peek_tick
from bot4.shm.wires import private_wires

pytestmark = pytest.mark.compiled
VENUE = "bybit_linear"
NAMES = ("feed", "parser")
TURNS = 400_000  # far more than anything needs


def open_files():
    """How many file descriptors this process holds."""
    return len(list(Path("/proc/self/fd").iterdir()))


class Tape:
    """A market's messages, and its book at every position for whoever subscribes then."""

    def __init__(self, size):
        market = MARKETS[VENUE](4)
        self.listing, self.decoder = market.listing, market.decoder
        self.messages, self.wholes, self.books = [], [], {}
        topics = {"depth": "orderbook.50", "quote": "orderbook.1", "trade": "publicTrade", "mark": "tickers"}
        self.trades = []
        for number in range(size):
            message = market.next()
            self.messages.append(Recorded(number * MS, f"{topics[message.about]}.{market.symbol}", message.body))
            self.wholes.append(market.whole())
            self.books[market.update] = market.top()
            if message.about == "trade":
                self.trades.append(number)

    def greet(self, topic, position):
        """The whole book for a new subscription of it."""
        return [self.wholes[max(position - 1, 0)]] if topic.startswith("orderbook.50.") else []


class Rig:
    """The feed on the tape's venue, by a clock of its own."""

    def __init__(self, port, tape, ca_file, lifetime_s=0.0, breakers=()):
        """`breakers` : limits of the venue's feed and parser, if there are any."""
        self.clock, self.tape, self.told = Clock(), tape, []
        streams = MARKETS[VENUE].streams(ws_url=f"wss://localhost:{port}")
        streams.lifetime_s = lifetime_s
        session = np.zeros(1, SESSION)
        session[0]["n_shards"] = session[0]["n_instruments"] = 1
        self.wires = private_wires(1, 1)
        symbol = tape.listing.symbol
        self.rows = [
            row_of(self.wires, name, **limits) for name, limits in zip(NAMES[: len(breakers)], breakers, strict=True)
        ]
        made = tuple(Breaker(row, self.clock, self.told.append, "x") for row in self.rows)
        self.pool = StreamPool(
            [Wanted(streams, [symbol])], 1e6, random.Random(1), self.clock, ca_file=ca_file, breakers={VENUE: made}
        )
        self.feed = LiveFeed(
            self.wires, instruments_of([tape.listing]), session, [(symbol, VENUE)], {VENUE: streams},
            {VENUE: tape.decoder()}, self.pool, RestFetcher([streams], self.clock, ca_file=ca_file),
            np.full(1, 1 << 60, np.int64), clock=self.clock, parsers={VENUE: made[1]} if made else {},
        )  # fmt: skip
        self.feed.warm()
        self.book, self.states, self.trades, self.compared = ReaderBook(), [], 0, 0
        self._scratch = np.zeros(1, TICK)

    def turn(self):
        """One turn; every whole book is held against the truth."""
        self.feed.do_work()
        for ring in (self.wires.ticks[0], self.wires.quotes, self.wires.market):
            while peek_tick(ring, words(self._scratch), np.int64(0)):
                if ring is self.wires.market:
                    self._take(self._scratch[0])
                consume(ring)

    def _take(self, tick):
        if self.book.take(tick) and int(tick["flags"]) & FLAG_LAST:
            self.compared += 1
            assert self.book.top(20) == self.tape.books[self.book.update]
        if tick["kind"] == TICK_STATUS and int(tick["w0"]) in (STATUS_STALE, STATUS_WHOLE):
            self.states.append(int(tick["w0"]))
        self.trades += tick["kind"] == TICK_TRADE

    def until(self, holds, each=lambda: None):
        """Turn until it holds."""
        for _ in range(TURNS):
            if holds():
                return
            each()
            self.turn()
        raise AssertionError("it never came about")


@pytest.mark.parametrize("cuts", [20, pytest.param(1_000, marks=pytest.mark.stress)])
def test_after_every_lost_connection_the_book_is_whole_and_nothing_has_grown(tmp_path, cuts):
    made, tape = certificates(tmp_path), Tape(cuts * 20 + 200)
    faults = [Fault(("cut", "close")[number % 2], at=number * 20 + 30, missed=5) for number in range(cuts)]
    with serve(Plan(VENUE, tape.messages, faults=faults, greet=tape.greet), made.server) as server:
        rig = Rig(server.port, tape, made.ca_file)
        slot = rig.pool.slots[0]

        def wait():
            rig.clock.ns += 20 * MS  # time passes; faster while nothing is connected and nothing opens
            if slot.current is None and slot.opening is None:
                rig.clock.ns += SECOND

        try:
            rig.until(lambda: rig.states.count(STATUS_STALE) == 5, wait)
            files, threads, begun = open_files(), threading.active_count(), (slot.attempts, rig.clock.ns)
            rig.until(lambda: rig.states.count(STATUS_STALE) == cuts and rig.book.whole, wait)
            rig.until(server.ended.is_set, wait)
            attempts, seconds = slot.attempts - begun[0], (rig.clock.ns - begun[1]) / SECOND
            assert attempts <= seconds and len(server.log) == cuts
            assert abs(open_files() - files) <= 4 and threading.active_count() <= threads + 2
            assert len(rig.pool._free) == MAX_CONNECTIONS - 1 and rig.states.count(STATUS_WHOLE) == cuts + 1
            print(f"{cuts} connections lost in {seconds:.0f} s of the clock: {attempts} attempts, {rig.compared} books")
        finally:
            rig.feed.close()


def test_the_end_of_a_connection_after_a_day_costs_neither_the_book_nor_a_trade(tmp_path):
    made, tape = certificates(tmp_path), Tape(6_000)
    with serve(Plan(VENUE, tape.messages, greet=tape.greet), made.server) as server:
        server.until = 500
        rig = Rig(server.port, tape, made.ca_file, lifetime_s=86_400.0)
        slot = rig.pool.slots[0]

        def go_on():
            rig.clock.ns += MS
            if server.position == server.until:
                server.until = min(server.position + 50, 5_900)

        try:
            rig.until(lambda: rig.book.whole and server.position > 400, lambda: None)
            rig.clock.ns += int(0.9 * 86_400) * SECOND
            rig.until(lambda: slot.opened == 2, go_on)
            rig.until(lambda: slot.leaving == [] and server.position >= 3_000, lambda: (go_on(), jump(rig)))
            rig.until(lambda: server.position >= 5_900, go_on)
            for _ in range(300):
                rig.turn()
            assert slot.opened == 2 and slot.closed == 1 and rig.states == [STATUS_WHOLE] * len(rig.states)
            assert rig.trades == sum(number < 5_900 for number in tape.trades), "none is lost, none comes twice"
        finally:
            rig.feed.close()


NO_LIMITS = {"open_ms": 1_000}


def test_a_venue_that_cannot_be_reached_is_left_alone_until_it_is_tried(tmp_path):
    """Connections are refused; after so many the venue is not even called, then once, and again once it is there."""
    made, tape = certificates(tmp_path), Tape(200)
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
    limits = {"failures": 4, "window_ms": 600_000, "open_ms": 60_000, "doublings": 1, "probes": 1}
    rig = Rig(port, tape, made.ca_file, breakers=(limits, NO_LIMITS))
    slot, row = rig.pool.slots[0], rig.rows[0]

    def wait():
        rig.clock.ns += SECOND if slot.opening is None else 0
        assert slot.attempts <= 6, "it is called as if nothing were known"

    try:
        rig.until(lambda: state_of(row) == ("open", 1), wait)
        assert slot.attempts == slot.failures == row[b.FAILURES] == 4
        begun = rig.clock.ns
        rig.until(lambda: slot.attempts == 5 and slot.opening is None, wait)
        assert state_of(row) == ("open", 2) and 60 <= (rig.clock.ns - begun) / SECOND < 100
        begun = rig.clock.ns
        with serve(Plan(VENUE, tape.messages, greet=tape.greet), made.server, port) as server:
            rig.until(lambda: rig.book.whole, wait)
            assert 120 <= (rig.clock.ns - begun) / SECOND < 160 and slot.attempts == 6
            assert state_of(row) == ("closed", 2) and server.position > 0
        assert changes(rig.told) == ["open", "half-open", "open", "half-open", "closed"]
    finally:
        rig.feed.close()


def test_a_connection_that_sends_what_cannot_be_read_is_closed_and_the_next_one_is_tried(tmp_path):
    made, tape = certificates(tmp_path), Tape(3_000)
    for number in range(500, 1_000):
        message = tape.messages[number]
        tape.messages[number] = message._replace(payload=b'{"topic":' + message.payload[:40])
    limits = {"failure_bps": 1_000, "calls": 50, "window_ms": 600_000, "open_ms": 60_000, "doublings": 1, "probes": 20}
    with serve(Plan(VENUE, tape.messages, greet=tape.greet), made.server) as server:
        server.until = 490
        rig = Rig(server.port, tape, made.ca_file, breakers=({"open_ms": 1_000}, limits))
        slot, row = rig.pool.slots[0], rig.rows[1]

        def go_on():
            rig.clock.ns += 25 * MS if slot.current or slot.opening else SECOND
            assert row[b.WORD] or server.position < 900, "nobody minds what cannot be read"
            if server.position >= server.until and slot.current is not None:
                server.until = min(server.until + 10, 2_900)

        try:
            rig.until(lambda: rig.book.whole and server.position >= 490)
            rig.until(lambda: state_of(row) == ("open", 1), go_on)
            assert slot.closed == 1 and slot.current is None and 0 < row[b.FAILURES] < 200
            assert rig.feed.counts[f"{VENUE}: too much that cannot be read"] == 1 and not rig.book.whole
            begun = rig.clock.ns
            rig.until(lambda: state_of(row) == ("open", 2), go_on)  # the next one is no better
            assert 60 <= (rig.clock.ns - begun) / SECOND < 70 and slot.closed == slot.opened == 2
            assert row[b.FAILURES] < 400
            server.position = server.until = 1_000  # nobody is connected, and the venue has mended it
            rig.until(lambda: state_of(row) == ("closed", 2), go_on)
            assert 180 <= (rig.clock.ns - begun) / SECOND < 200
            rig.until(lambda: rig.book.whole and server.position >= 2_000, go_on)
            assert slot.opened == 3 and slot.closed == 2
            assert changes(rig.told) == ["open", "half-open", "open", "half-open", "closed"]
        finally:
            rig.feed.close()


def test_a_connection_does_not_answer_for_the_one_before_in_its_place(tmp_path):
    """The first is lost before it has sent so much that it is judged; a tenth of both together could not be read."""
    made, tape = certificates(tmp_path), Tape(1_200)
    for number in range(100, 180):
        message = tape.messages[number]
        tape.messages[number] = message._replace(payload=b'{"topic":' + message.payload[:40])
    limits = {"failure_bps": 1_000, "calls": 400, "window_ms": 600_000, "open_ms": 60_000, "probes": 20}
    plan = Plan(VENUE, tape.messages, faults=[Fault("cut", at=200)], greet=tape.greet)
    with serve(plan, made.server) as server:
        server.until = 90
        rig = Rig(server.port, tape, made.ca_file, breakers=({"open_ms": 1_000}, limits))
        slot, row = rig.pool.slots[0], rig.rows[1]

        def go_on():
            rig.clock.ns += 25 * MS if slot.current or slot.opening else SECOND
            if server.position >= server.until and slot.current is not None:
                server.until = min(server.until + 10, 1_190)

        try:
            rig.until(lambda: server.position >= 1_190 and row[b.CALLS] > 900, go_on)
            assert slot.opened == 2 and 50 < row[b.FAILURES] <= 80
            assert state_of(row) == ("closed", 0) and rig.book.whole
        finally:
            rig.feed.close()


def jump(rig):
    """The overlap of old and new connection passes faster than the market."""
    rig.clock.ns += 20 * MS
