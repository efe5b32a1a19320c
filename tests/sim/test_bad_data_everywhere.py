"""No order from bad data, on every venue: each class of damage in each field of each message, many times.

A made-up market in the venue's words (`rig.market`) trades on a whole bot in one process that is fed by hand
(`rig.hand`). Between its good messages stand damaged copies of the next one. Each is refused and counted exactly once;
the feed tells nobody anything of it, but that the book is stale where a change of it may be lost; a fresh book makes it
whole, and the next damaged one meets a bot that trades. What nobody can refuse by what it says is named with its reason
in `rig.damage.could_be_true`; it is counted once too.

The default run does it twice a field and class, `make stress` a thousand times.
"""

import math
import random
from collections import Counter

import numpy as np
import pytest
from rig.damage import (
    FIELDS,
    RELATIVE,
    cells,
    could_be_true,
    crossing,
    damage,
    family,
    is_id,
    relatives,
)
from rig.hand import MS, HandBot
from rig.market import DEPTH, MARKETS

from bot4.engine.journal import read_journal
from bot4.model.enums import (
    LEG_ENTRY,
    STATUS_CLEAR,
    STATUS_STALE,
    STATUS_WHOLE,
    TICK_LEVEL,
    TICK_MARK,
    TICK_QUOTE,
    TICK_STATUS,
    TICK_TRADE,
)
from bot4.model.records import JOURNAL_INTENT, ORDER_INTENT, TICK
from bot4.shm.layout import RING_HEAD, RING_SLOTS

pytestmark = pytest.mark.compiled
BATCH = 20  # damaged messages between two good ones
GOOD = 3  # good ones
ALONE = ("spike", "scale", "duplicate", "crossed", "locked")  # may leave the book, or two of them bear each other out
TIME_LIMIT_NS = 5_000 * MS  # as shipped
PLAUSIBLE = 40  # tries of what could be true: nothing is counted there
ORDERS = 100


class Trial:
    """A market and a bot that trades on it."""

    resting = False  # entries rest in the book, or take at once

    def __init__(self, folder, venue, seed=1):
        self.market = MARKETS[venue](seed)
        self.venue, self.in_stream = venue, family(venue) != "binance"
        folder.mkdir(exist_ok=True)
        self.bot = HandBot(
            folder, self.market.streams(), self.market.decoder(), self.market.listing, resting=self.resting
        )
        self.bot.feed.memory.feed.states["time_limit_ns"] = TIME_LIMIT_NS
        self.market.time_ms = lambda: self.bot.event_ns // MS
        self.path = folder / "journal"
        self.source = random.Random(seed)
        self.bot.pool.open()
        self.bot.turn()
        self.mend()
        self.stale_numbers: set[int] = set()
        self.last: dict[str, bytes] = {}

    def mend(self):
        """A fresh book, if the one that is there is not whole."""
        if not self.bot.whole:
            self.begin_anew()
            self.bot.turn()
        assert self.bot.whole, (self.bot.told(), self.bot.reasons())

    def begin_anew(self):
        """A whole book; by REST, behind a diff that has to wait for it. Returns how many messages are too old then."""
        if not self.in_stream:
            self.bot.put(self.market.next("depth").body)
            self.bot.feed.do_work()
        self.give("whole", self.market.whole())
        return int(not self.in_stream)

    def give(self, about, body):
        """The message to the feed, on the way that such a one comes."""
        if about == "whole" and not self.in_stream:
            self.bot.fetcher.push((self.venue, self.market.symbol), body)
        else:
            self.bot.put(body)

    def good(self, about=""):
        """The market goes on, and everybody acts on it."""
        self.bot.clock.ns += MS
        message = self.market.next(about)
        self.last[message.about] = message.body
        self.bot.put(message.body)
        self.bot.turn()

    def orders(self):
        """ORDER_INTENT[n]: what went to the venue."""
        records = read_journal(self.path)
        return np.ascontiguousarray(records["body"][records["type"] == JOURNAL_INTENT]).view(ORDER_INTENT).reshape(-1)

    def published(self, begin):
        """TICK[n]: what the feed has told the venue's reader since its ring stood at `begin`."""
        ring = self.bot.wires.market
        slots = ring[RING_SLOTS:].view(TICK)
        return slots[np.arange(begin, int(ring[RING_HEAD])) % len(slots)]

    def make(self, about, cell):
        """A damaged message; None if the good one has no such field."""
        market, (_, cls) = self.market, cell
        if cls == "empty side":
            return market.without_bids() if about == "depth" else market.whole_without_bids()
        if cls == "duplicate":
            return self.last[about]
        body = market.whole() if about == "whole" else market.next(about).body
        if cls in RELATIVE:
            return crossing(market, about, body, 5 if cls == "crossed" else 0)
        return damage(self.venue, about, cell, body, self.source)

    def no_nan(self):
        """No state of anybody holds a number that is not finite."""
        for name, array in self.bot.floats():
            assert np.isfinite(array).all(), name

    def close(self):
        """Let go."""
        self.bot.close()


def refused(trial, about, cell, count):
    """So many of that cell between good messages: each is refused, and nobody is told anything of it."""
    bot, market, made = trial.bot, trial.market, 0
    while made < count:
        for _ in range(GOOD):
            trial.good()
        if about != "whole":
            trial.good(about)
        trial.mend()
        alone = cell[1] in ALONE or is_id(trial.venue, about, cell[0])
        size = 1 if alone else min(BATCH, count - made)
        before, begin = bot.told(), int(bot.wires.market[RING_HEAD])
        done = fresh = probes = 0
        for _ in range(size):
            bad = trial.make(about, cell)
            if bad is None:
                continue
            done += 1
            if trial.in_stream and about == "whole":  # a whole book is looked at only where none is
                bot.put(b"?")
                probes += 1
            trial.give(about, bad)
            if trial.in_stream and not alone:  # what its connection cannot read always costs the book
                bot.put(market.whole())
                fresh += 1
                continue
            bot.feed.do_work()
            if not bot.whole:
                probes += trial.begin_anew()
                fresh += 1
        bot.read_all()
        made += done
        after, ticks = bot.told(), trial.published(begin)
        assert after.bad - before.bad - probes == done, (about, cell, before, after, bot.reasons())
        assert after.accepted - before.accepted == fresh and bot.whole, (about, cell, before, after)
        kinds = Counter(ticks["kind"].tolist())
        states = Counter(ticks["w0"][ticks["kind"] == TICK_STATUS].tolist())
        assert kinds[TICK_TRADE] == kinds[TICK_MARK] == 0, (about, cell, kinds)
        assert states[STATUS_CLEAR] == states[STATUS_WHOLE], (about, cell, states)
        assert kinds[TICK_LEVEL] == 2 * DEPTH * states[STATUS_WHOLE], (about, cell, kinds, states)
        assert kinds[TICK_QUOTE] <= states[STATUS_WHOLE]
        stale = ticks[(ticks["kind"] == TICK_STATUS) & (ticks["w0"] == STATUS_STALE)]
        trial.stale_numbers |= set(stale["event_no"].tolist())
        bot.settle()
        trial.no_nan()
    return made


def plausible(trial, about, cell, count):
    """So many that could be true: whatever becomes of each, it is counted once, and the book heals.

    Returns how many, and how many of them were refused all the same.
    """
    bot, made, turned_down = trial.bot, 0, 0
    while made < count:
        trial.good()
        if about != "whole":
            trial.good(about)
        if about == "whole" and trial.in_stream:
            bot.put(b"?")
            bot.turn()
        else:
            trial.mend()
        bad = trial.make(about, cell)
        if bad is None:
            continue
        made += 1
        before = bot.told()
        trial.give(about, bad)
        bot.turn()
        after = bot.told()
        counted = after.bad + after.accepted + after.silent - before.bad - before.accepted - before.silent
        assert counted >= 1 or after.holes > before.holes, (about, cell, before, after)
        turned = after.refused - before.refused + after.unreadable - before.unreadable
        assert turned <= (2 if about == "mark" else 1)  # a ticker tells of a mark and of a quote
        turned_down += after.bad > before.bad
        trial.no_nan()
        bot.put(b"?")  # begin anew: it may have been believed
        bot.turn()
        bot.turn()
        trial.mend()
    return made, turned_down


def kinds_of(venue):
    """What there is to damage."""
    return [*dict.fromkeys(MARKETS[venue].kinds), "whole"]


def run(folder, venue, tries):
    """Every cell of a venue, `tries` times; a table of what was done."""
    table: dict[tuple[str, str], dict[str, str]] = {}
    total = taken = 0
    for about in kinds_of(venue):
        trial = Trial(folder / about, venue)
        for _ in range(60):
            trial.good()
        body = trial.market.whole() if about == "whole" else trial.market.next(about).body
        trial.mend()
        for cell in [*cells(venue, about, body), *relatives(venue, about)]:
            row = table.setdefault((about, cell[0]), {})
            if could_be_true(venue, about, cell):
                done, bad = plausible(trial, about, cell, min(tries, PLAUSIBLE))
                row[cell[1]] = f"({bad} of {done})"
                taken += done
            else:
                done = refused(trial, about, cell, tries)
                row[cell[1]] = f"{done}"
                total += done
        opened = trial.orders()
        opened = opened[opened["leg"] == LEG_ENTRY]
        assert len(opened) >= min(ORDERS, tries), (about, len(opened))
        assert not set(opened["event_no"].tolist()) & trial.stale_numbers, "an order was caused by a damaged message"
        assert all(math.isfinite(score) for score in opened["score"])
        trial.close()
    print(f"{venue}: {total} damaged messages refused and counted one by one, {taken} that could be true")
    for (about, field), row in table.items():
        print(f"  {about:6}{field:19}" + ", ".join(f"{cls} {count}" for cls, count in row.items()))
    return table


@pytest.mark.parametrize("venue", MARKETS)
def test_no_order_from_any_damage_of_any_field(tmp_path, venue):
    table = run(tmp_path, venue, 2)
    assert {field.name for about in kinds_of(venue) for field in FIELDS[family(venue), about]} == {
        field for _, field in table
    } - {"message"}


@pytest.mark.stress
@pytest.mark.parametrize("venue", MARKETS)
def test_no_order_from_any_damage_of_any_field_a_thousand_times(tmp_path, venue):
    run(tmp_path, venue, 1_000)


@pytest.mark.parametrize("venue", MARKETS)
def test_the_same_market_without_damage_is_traded(tmp_path, venue):
    trial = Trial(tmp_path, venue)
    for _ in range(3_000):
        trial.good()
    told, opened = trial.bot.told(), trial.orders()
    assert told.bad == told.holes == 0 or set(trial.bot.reasons()) == {"before_snapshot"}, trial.bot.reasons()
    assert np.count_nonzero(opened["leg"] == LEG_ENTRY) >= ORDERS
    trial.no_nan()
    trial.close()


def test_a_snapshot_with_a_wrong_id_is_found_by_the_next_change(tmp_path):
    trial = Trial(tmp_path, "bybit_linear")
    bot, market = trial.bot, trial.market
    for _ in range(20):
        trial.good()
    bot.put(b"?")
    bot.turn()
    assert not bot.whole
    good = market.whole()
    bot.put(good.replace(b'"u":%d' % market.update, b'"u":9223372036854775807'))
    bot.turn()
    assert bot.whole and bot.told().unreadable == 1
    trial.good("depth")
    assert not bot.whole and bot.reasons() == {"out_of_order": 1}, "its ids were the wrong ones, not the change's"
    trial.mend()
    trial.good("depth")
    assert bot.whole and bot.reasons() == {"out_of_order": 1}
    trial.close()


@pytest.mark.parametrize("venue", MARKETS)
@pytest.mark.parametrize(
    "raw",
    [
        b"\x81\x7f\x40" + bytes(7),  # a length beyond any
        b"\x81\x7f\xff" + bytes(7),
        b"\xf1\x05hello",  # reserved bits
        b"\x83\x05hello",  # a kind of frame that there is none
        b"\x81\x85\x01\x02\x03\x04hello",  # masked, which a server never does
        b"\x89\x7e\x01\x00" + bytes(256),  # a control frame that is too long
    ],
)
def test_a_damaged_frame_costs_the_connection_and_nothing_more(tmp_path, venue, raw):
    trial = Trial(tmp_path, venue)
    for _ in range(200):
        trial.good()
    begin, before = int(trial.bot.wires.market[RING_HEAD]), trial.bot.told()
    trial.bot.pool.put(raw)
    trial.bot.turn()
    assert len(trial.bot.pool.dropped) == 1 and not trial.bot.whole
    assert trial.published(begin)["w0"].tolist() == [STATUS_STALE] and trial.bot.told().accepted == before.accepted
    trial.mend()
    for _ in range(50):
        trial.good()
    assert trial.bot.whole
    trial.close()
