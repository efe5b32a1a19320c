"""What goes wrong on the wire, at every message of a tape of 10,000: the book is the venue's, or it is stale.

As tests/sim/test_wire_faults.py, but without sockets and by a clock of its own (`rig.hand`), so that a connection can
be lost at each message of the tape, of each venue, and event time can be judged. A message every 20 ms; a whole book
takes a quarter of a second to come, a lost connection is back after as long. What REST answers is the book as it was
when it was asked for, and may be older by half a second when it comes: the connection it was asked for may be gone.

The oracle is the venue's own book. Where updates have ids, it is that of the update which the feed says it has reached,
and of none before the last diff that was delivered or the beginning of the connection.
"""

import random
import re
from collections import Counter

import numpy as np
import pytest
from rig.damage import family
from rig.hand import MS, HandFeed
from rig.market import MARKETS

from bot4.model.enums import STATUS_CLEAR, STATUS_WHOLE, TICK_LEVEL, TICK_STATUS
from bot4.model.records import TICK
from bot4.shm.layout import RING_HEAD, RING_SLOTS

pytestmark = pytest.mark.compiled
MESSAGES = 10_000  # of the full counts
FEW = 2_000
GAP_MS = 20  # on average
DELAY_MS = 250  # of a whole book, and of a new connection
PERIOD = 150  # messages between two cuts of a run: three seconds
REST = 50  # messages at the end of a tape: without any behind the last cut no book is whole again
HEALED_S = 2.0
_NUMBER = re.compile(rb'"sequence_num":[0-9]+')


class Tape:
    """Messages of a market with their times, and after each of them its true book and what a snapshot says of it."""

    def __init__(self, venue, size=MESSAGES, seed=3):
        market, source = MARKETS[venue](seed), random.Random(seed)
        self.market, self.bodies, self.times, self.books, self.wholes, self.about = market, [], [], [], [], []
        self.updates: list[int] = []  # of `books`
        self.truths = {market.update: [dict(side) for side in market.sides]}  # by update
        told = None
        now_ms = 0
        for _ in range(size):
            now_ms += source.randint(1, 2 * GAP_MS - 1)
            message = market.next()
            self.truths[market.update] = [dict(side) for side in market.sides]
            if message.about == "depth" or told is None:
                told, update = [dict(side) for side in market.sides], market.update
            self.bodies.append(message.body)
            self.about.append(message.about)
            self.times.append(now_ms)
            self.books.append(told)  # as a reader of the diffs knows it
            self.updates.append(update)
            self.wholes.append((market.whole(), [dict(side) for side in market.sides], market.update))


class Wire:
    """A tape on its way to a feed, and a reader that holds every book against the truth."""

    def __init__(self, tape):
        self.tape, market = tape, tape.market
        self.in_stream = family(market.venue) != "binance"
        self.rig = HandFeed(market.streams(), market.decoder(), market.listing, silence_s=30.0)
        self.rig.pool.greet = self._greet
        self.rig.fetcher.answer = self._answer
        self.position = -1  # of the market
        self.number = 0  # of the connection's next message
        self.later: list[tuple[int, str]] = []
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.whole = False
        self.expected, self.update = None, 0  # the true book after what was delivered, and its update
        self.reached = 0  # the update that the feed says it has
        self.slow = random.Random(5)
        self.seen = Counter()
        self.spells: list[tuple[bool, int]] = []

    @property
    def now_ms(self):
        """Of the tape."""
        return (self.rig.clock.ns - 1_000_000 * MS) // MS

    def _greet(self):
        if self.in_stream:
            self.later.append((self.now_ms + DELAY_MS, "whole"))

    def _answer(self):
        self.rig.fetcher.delay_ns = self.slow.randint(DELAY_MS // 5, 2 * DELAY_MS) * MS
        return self.tape.wholes[max(self.position, 0)][0]

    def numbered(self, body):
        """As the connection numbers it, where the venue does."""
        if self.tape.market.venue != "coinbase":
            return body
        self.number += 1
        return _NUMBER.sub(b'"sequence_num":%d' % (self.number - 1), body, count=1)

    def open(self):
        """A new connection."""
        self.number = 0
        self.update = self.tape.updates[max(self.position, 0)]
        self.rig.pool.open()

    def cut(self):
        """The connection is lost, another one comes."""
        if self.rig.pool.connection is not None:
            self.rig.pool.cut()
            self.later = [(self.now_ms + DELAY_MS, "open")]

    def due(self, until_ms):
        """Let time pass, and what is due with it."""
        while True:
            first = min(self.later, default=(until_ms + 1, ""))
            step_ms = min(first[0], until_ms)
            while not self.whole and self.now_ms + 20 < step_ms:  # the feed looks for stale books every 20 ms
                self.rig.clock.ns += 20 * MS
                self.turn()
            self.rig.clock.ns = max(self.rig.clock.ns, (1_000_000 + step_ms) * MS)
            if first[0] > until_ms:
                return
            self.later.remove(first)
            if first[1] == "open":
                self.open()
                self.turn()
            elif self.rig.pool.connection is not None:
                body, self.expected, self.update = self.tape.wholes[max(self.position, 0)]
                self.rig.put(self.numbered(body))
                self.turn()

    def deliver(self, body, index):
        """One message to the feed, if it is connected."""
        if self.rig.pool.connection is not None:
            self.rig.put(body)
            if self.tape.about[index] == "depth" and self.tape.updates[index] > self.update:
                self.expected, self.update = self.tape.books[index], self.tape.updates[index]
        self.turn()

    def turn(self):
        """The feed works; its reader reads, and compares."""
        ring = self.rig.wires.market
        begin = int(ring[RING_HEAD])
        self.rig.turn()
        slots = ring[RING_SLOTS:].view(TICK)
        ticks = slots[np.arange(begin, int(ring[RING_HEAD])) % len(slots)]
        names = ("kind", "w0", "w1", "w2", "w3", "ts_recv_ns")
        for kind, w0, w1, w2, w3, ts_ns in zip(*(ticks[name].tolist() for name in names), strict=True):
            if kind == TICK_LEVEL:
                self.reached = w3
                side = self.sides[0 if w2 > 0 else 1]
                if w1:
                    side[w0] = w1
                else:
                    side.pop(w0, None)
            elif kind == TICK_STATUS and w0 == STATUS_CLEAR:
                self.sides, self.reached = ({}, {}), w1
            elif kind == TICK_STATUS:
                if self.whole != (w0 == STATUS_WHOLE):
                    self.spells.append((w0 == STATUS_WHOLE, ts_ns))
                self.whole = w0 == STATUS_WHOLE
        self.seen["whole" if self.whole else "stale"] += 1
        if self.whole:
            if not self.in_stream:
                self.expected = self.tape.truths[max(self.reached, self.update)]
            assert list(self.sides) == list(self.expected), (self.position, self.rig.reasons())

    def run(self, faults):
        """The tape with faults by message number. Returns their times in ns."""
        tape, struck, held = self.tape, [], None
        self.open()
        self.turn()
        for index, body in enumerate(tape.bodies):
            self.due(tape.times[index])
            self.position = index
            kind = faults.get(index)
            if kind == "cut":
                self.cut()
                struck.append(self.rig.event_ns)
            body = self.numbered(body) if self.rig.pool.connection is not None else body
            if kind in ("drop", "repeat", "reorder"):
                struck.append(self.rig.event_ns)
            if kind == "drop":
                continue
            if kind == "reorder" and held is None:
                held = body, index
                continue
            self.deliver(body, index)
            if kind == "repeat":
                self.deliver(body, index)
            if held is not None:
                if self.tape.about[index] == "depth":
                    self.rig.put(held[0])  # it is older than what came before it
                    self.turn()
                else:
                    self.deliver(*held)
                held = None
        self.due(tape.times[-1] + 20_000)
        return struck


def away_s(wire, struck):
    """How long each spell without a book lasted after the last fault in it, in s."""
    found = []
    for (was, begun), (_, ended) in zip(wire.spells, wire.spells[1:], strict=False):
        if not was:
            last = max([at for at in struck if at <= ended], default=begun)
            found.append((ended - max(begun, last)) / 1e9)
    return found


@pytest.fixture(scope="module")
def tapes():
    """Each venue's, made once."""
    made: dict[tuple[str, int], Tape] = {}
    return lambda *key: made[key] if key in made else made.setdefault(key, Tape(*key))


def cut_at(tape, offset):
    """A run that is cut at every PERIOD-th message; its longest time without a book."""
    wire = Wire(tape)
    places = range(offset, len(tape.bodies) - REST, PERIOD)
    struck = wire.run(dict.fromkeys(places, "cut"))
    away = away_s(wire, struck)
    assert wire.whole and len(struck) >= len(places) - 1 and len(away) >= len(places) - 2, (len(struck), len(away))
    assert max(away) <= HEALED_S, away
    return max(away), len(struck), wire.seen["whole"]


@pytest.mark.parametrize("venue", MARKETS)
def test_a_connection_lost_at_some_messages_leaves_no_wrong_book(tapes, venue):
    away, cuts, whole = cut_at(tapes(venue, FEW), 7)
    print(f"{venue}: {cuts} connections lost, {whole} books compared, whole again within {away:.2f} s")


@pytest.mark.stress
@pytest.mark.parametrize("venue", MARKETS)
def test_a_connection_lost_at_every_message_leaves_no_wrong_book(tapes, venue):
    found = [cut_at(tapes(venue, MESSAGES), offset) for offset in range(PERIOD)]
    away, cuts, whole = max(row[0] for row in found), sum(row[1] for row in found), sum(row[2] for row in found)
    assert cuts >= MESSAGES - REST - PERIOD
    print(f"{venue}: {cuts} connections lost, {whole} books compared, whole again within {away:.2f} s")


def lossy(tape, kind, share):
    """A run in which this share of the messages is lost, repeated or swapped with the next one."""
    source, size = random.Random(f"{kind}{share}"), len(tape.bodies)
    count = round(share * size)
    depth = [index for index in range(500, size - 500) if tape.about[index] == "depth"]
    places = source.sample(range(500, size - 500), count) if count > 1 else [source.choice(depth)]
    wire = Wire(tape)
    struck = wire.run(dict.fromkeys(places, kind))
    away = away_s(wire, struck)
    stale = wire.seen["stale"] / wire.seen.total()
    print(f"{tape.market.venue}: {kind} {share:.2%}: {len(struck)} faults, stale for {stale:.2%}", end=", ")
    print(f"whole again within {max(away, default=0):.2f} s; {wire.rig.reasons()}")
    assert wire.whole and len(struck) == len(places)
    if share < 0.1:  # with more, the next fault strikes before the book of the last one is there
        assert max(away, default=0) <= HEALED_S, away
        assert wire.seen["whole"] > size // 2
    if share <= 0.0001:
        assert stale <= 0.05


@pytest.mark.parametrize("kind", ["drop", "repeat", "reorder"])
@pytest.mark.parametrize("venue", MARKETS)
def test_a_whole_book_is_the_venues_whatever_is_lost_repeated_or_swapped(tapes, venue, kind):
    lossy(tapes(venue, FEW), kind, 0.01)


@pytest.mark.stress
@pytest.mark.parametrize("share", [0.0001, 0.001, 0.01, 0.1])
@pytest.mark.parametrize("kind", ["drop", "repeat", "reorder"])
@pytest.mark.parametrize("venue", MARKETS)
def test_the_same_with_any_share_of_ten_thousand_messages(tapes, venue, kind, share):
    lossy(tapes(venue, MESSAGES), kind, share)
