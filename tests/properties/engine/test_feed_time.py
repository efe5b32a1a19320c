"""The venue's times against the slow twin: what is believed, and the offset of the clocks that is learned."""

import random

import numpy as np
import pytest
from reference.engine.feed_time import LASTING, MINUTE_NS, RefTimes, lag_of

from bot4.engine.feed_memory import FEED_STATE
from bot4.engine.feed_time import judge_time
from bot4.kernels.scan.scanned import (
    BIDS,
    EVENT_MS,
    IS_SNAPSHOT,
    KIND,
    N_WORDS,
    RULE_CONNECTION,
    RULE_SPOT,
    SENT_NS,
    VENUE_NS,
)
from bot4.model.enums import INPUT_OK, INPUT_VENUE_TIME, TICK_LEVEL, TICK_MARK, TICK_QUOTE, TICK_TRADE
from bot4.shm.wires import CLOCK_ANEW, CLOCK_LATEST_NS, CLOCK_OFFSET_NS, CLOCK_STAMPS, N_CLOCK_COLUMNS

KINDS = {"trade": TICK_TRADE, "quote": TICK_QUOTE, "depth": TICK_LEVEL, "mark": TICK_MARK}
START_NS = 1_700_000_000_000_000_000
MS, SECOND, HOUR = 1_000_000, 1_000_000_000, 3_600_000_000_000
LIMIT_NS = 5 * SECOND


class Rig:
    """The compiled judge of one instrument beside its twin."""

    def __init__(self, limit_ns: int, rule: int) -> None:
        self.states = np.zeros(1, FEED_STATE)
        self.states[0]["listing"]["rule"], self.states[0]["time_limit_ns"] = rule, limit_ns
        self.clock = np.zeros(N_CLOCK_COLUMNS, np.int64)
        self.message = np.zeros(N_WORDS, np.int64)
        self.rule, self.twin = rule, RefTimes(limit_ns)

    def take(self, ts_ns: int, sent_ns: int, made_ns: int = 0, kind="trade", whole=False, empty=False) -> bool:
        """Whether it is believed, which both must agree on."""
        message = self.message
        message[:] = 0
        message[KIND], message[IS_SNAPSHOT], message[VENUE_NS] = KINDS[kind], whole, made_ns
        message[BIDS] = not empty
        if self.rule == RULE_SPOT:
            message[EVENT_MS], sent_ns = sent_ns // MS, sent_ns // MS * MS if sent_ns <= 9 * 10**18 else 0
        else:
            message[SENT_NS] = sent_ns
        reason = judge_time(self.states[0], self.clock, message, np.int64(ts_ns))
        empty = empty and kind == "depth"
        assert (reason == INPUT_OK) == self.twin.judge(kind, whole, sent_ns, made_ns, ts_ns, empty)
        assert reason in (INPUT_OK, INPUT_VENUE_TIME)
        clock = self.twin.clock
        assert self.shown() == (clock.stamps, clock.offset_ns, clock.latest_ns, clock.anew)
        return bool(reason == INPUT_OK)

    def shown(self) -> tuple[int, ...]:
        """What a person sees of it."""
        return tuple(int(self.clock[at]) for at in (CLOCK_STAMPS, CLOCK_OFFSET_NS, CLOCK_LATEST_NS, CLOCK_ANEW))


def stamp(source: random.Random, ts_ns: int, offset_ns: int) -> int:
    """Mostly true, else one of the ways in which a time is wrong."""
    true = ts_ns - offset_ns - int(source.expovariate(1 / (30 * MS)))
    way = source.random()
    if way < 0.85:
        return true
    if way < 0.9:
        return source.choice((0, -1, 1, 9 * 10**18, 2**62))
    return true + source.choice((-1, 1)) * source.choice((HOUR, LIMIT_NS, 2 * LIMIT_NS, 100 * HOUR, 3 * SECOND))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("limit_ns", [0, LIMIT_NS])
@pytest.mark.parametrize("rule", [RULE_SPOT, RULE_CONNECTION], ids=["sent", "sent and made"])
def test_every_judgement_is_the_twins(rule, limit_ns, seed):
    source, rig = random.Random(seed), Rig(limit_ns, rule)
    ts_ns, offset_ns, refused = START_NS, source.choice((-2, 0, 7)) * SECOND, 0
    for _ in range(2_000):
        ts_ns += source.choice((0, 0, MS, 40 * MS, SECOND, 20 * SECOND)) if source.random() < 0.9 else 0
        if source.random() < 0.002:
            offset_ns += source.choice((-1, 1)) * source.choice((SECOND, HOUR, MINUTE_NS))
        kind = source.choice(tuple(KINDS))
        whole = kind == "depth" and source.random() < 0.2
        sent_ns = stamp(source, ts_ns, offset_ns) if source.random() < 0.95 else 0
        made_ns = 0
        if rule != RULE_SPOT:
            made_ns = stamp(source, ts_ns, offset_ns) - source.choice((0, 0, HOUR if whole or kind == "quote" else 0))
        if rule == RULE_CONNECTION and seed % 3 == 0:
            sent_ns = 0  # as Kraken, which says of each thing when it was made
        refused += not rig.take(ts_ns, sent_ns, made_ns, kind, whole, source.random() < 0.05)
    assert (refused > 50) == (limit_ns > 0)


@pytest.mark.parametrize("offset_ns", [-5 * SECOND, -1_272 * MS, 0, 1_272 * MS, 5 * SECOND, HOUR, -30_000 * HOUR])
def test_a_steady_offset_is_no_fault_and_is_found(offset_ns):
    source, rig = random.Random(3), Rig(LIMIT_NS, RULE_CONNECTION)
    for step in range(3_000):
        ts_ns = START_NS + step * 20 * MS
        assert rig.take(ts_ns, ts_ns - offset_ns - int(source.expovariate(1 / (10 * MS))))
    assert 0 <= rig.shown()[1] - offset_ns < 3 * MS and rig.shown()[3] == 0


@pytest.mark.parametrize("wrong_ns", [HOUR, -HOUR, LIMIT_NS + 30 * MS, -LIMIT_NS - 30 * MS])
def test_single_wrong_times_are_refused_and_teach_nothing(wrong_ns):
    source, rig, clean = random.Random(4), Rig(LIMIT_NS, RULE_CONNECTION), Rig(LIMIT_NS, RULE_CONNECTION)
    for step in range(2_000):
        ts_ns = START_NS + step * 20 * MS
        true = ts_ns - source.randrange(10 * MS)
        assert rig.take(ts_ns, true) and clean.take(ts_ns, true)
        for _ in range(step % LASTING if step else 0):
            assert not rig.take(ts_ns, true + wrong_ns)
    assert rig.shown() == clean.shown()


@pytest.mark.parametrize("unit", [-1, 0, 1])
@pytest.mark.parametrize("side", [-1, 1], ids=["earlier", "later"])
def test_a_time_is_wrong_from_the_first_nanosecond_beyond_its_limit(side, unit):
    """The clocks differ by three seconds, which both have learned."""
    rig = Rig(LIMIT_NS, RULE_CONNECTION)
    for step in range(100):
        assert rig.take(START_NS + step * SECOND, START_NS + step * SECOND - 3 * SECOND)
    now = START_NS + 100 * SECOND
    assert rig.shown()[1] == 3 * SECOND
    assert rig.take(now, now - 3 * SECOND + side * (LIMIT_NS + unit)) == (unit <= 0)


@pytest.mark.parametrize("field", ["sent", "made"])
@pytest.mark.parametrize("value", [0, -5, HOUR, -HOUR])
def test_a_wrong_time_of_either_kind_is_refused(field, value):
    rig = Rig(LIMIT_NS, RULE_CONNECTION)
    for step in range(100):
        now = START_NS + step * SECOND
        wrong = value if value <= 0 and value > -HOUR else now + value
        assert rig.take(now, now, now - 2 * MS, "depth")
        assert not rig.take(now, *((wrong, now) if field == "sent" else (now, wrong)), "depth")


def test_of_a_whole_book_and_a_best_quote_what_they_tell_may_be_old():
    rig = Rig(LIMIT_NS, RULE_CONNECTION)
    for step in range(20):
        now = START_NS + step * SECOND
        assert rig.take(now, now, now - HOUR, "quote")
        assert rig.take(now, now - HOUR, now - 30 * HOUR, "depth", whole=True)
        assert rig.take(now, now, 0, "depth", empty=True)
        assert rig.take(now, now, now, "depth")
        assert not rig.take(now, now, now - HOUR, "depth")
        assert not rig.take(now, now, now + HOUR, "quote")
        assert not rig.take(now, now, now + HOUR, "depth", whole=True)
        assert not rig.take(now, now + HOUR, now, "depth", whole=True)
    assert rig.shown()[1] == 0


def test_a_clock_that_is_set_ahead_is_learned_from_a_few_messages_and_one_set_back_after_a_jam_would_be_over():
    rig = Rig(LIMIT_NS, RULE_CONNECTION)
    now = START_NS
    for ahead_ns in (0, HOUR, 30 * HOUR, 30 * HOUR + 2 * SECOND):
        told = [rig.take(now := now + 50 * MS, now + ahead_ns) for _ in range(50)]
        assert told.count(False) in (0, LASTING - 1)
    assert rig.shown()[3] == 2
    refused = 0
    while not rig.take(now, now):
        now, refused = now + 50 * MS, refused + 1
    assert refused * 50 * MS == MINUTE_NS and rig.shown()[1] == 0
    assert all(rig.take(now + step * MS, now + step * MS) for step in range(50))


@pytest.mark.parametrize("wrong_ns", [HOUR, -HOUR])
@pytest.mark.parametrize("wrong", [1, 3, LASTING])
def test_a_wrong_time_that_comes_first_is_found_out_by_those_behind_it(wrong, wrong_ns):
    rig = Rig(LIMIT_NS, RULE_CONNECTION)
    told = []
    for step in range(100):
        now = START_NS + step * 20 * MS
        told.append(rig.take(now, now + (wrong_ns if step < wrong else 0)))
    assert told.count(False) == LASTING - 1 and all(told[wrong + LASTING :]) and rig.shown()[1] == 0


def test_a_jam_is_refused_while_it_lasts_and_leaves_the_offset_alone():
    rig = Rig(LIMIT_NS, RULE_CONNECTION)
    now = START_NS
    for now in range(START_NS, START_NS + 10 * SECOND, 20 * MS):
        assert rig.take(now, now - MS)
    for held_ns in (4 * SECOND, 30 * SECOND):
        begun = now
        told = [rig.take(begun + held_ns, begun + step * 20 * MS) for step in range(held_ns // (20 * MS))]
        assert told.count(False) == max(0, (held_ns - LIMIT_NS) // (20 * MS)), "of those that are too late"
        now = begun + held_ns
        assert rig.take(now, now - MS)
    assert MS <= rig.shown()[1] < 60 * MS and rig.shown()[3] == 0


def test_lateness_that_creeps_in_is_refused():
    rig = Rig(LIMIT_NS, RULE_CONNECTION)
    told = [rig.take(START_NS + step * 100 * MS, START_NS + step * 99 * MS) for step in range(10_000)]
    assert told.index(False) * MS == pytest.approx(LIMIT_NS, rel=0.15), "a growing queue is no drift of a clock"


def test_a_recording_that_is_played_fast_is_believed():
    rig = Rig(LIMIT_NS, RULE_CONNECTION)
    for step in range(5_000):
        assert rig.take(START_NS + step // 256 * MS, START_NS - 10**17 + step * 40 * MS)


def test_lags_at_the_ends_of_time_do_not_wrap():
    rig = Rig(LIMIT_NS, RULE_CONNECTION)
    for ts_ns in (10**18, 9 * 10**18):
        for venue_ns in (1, 9 * 10**18, 2**63 - 1):
            assert abs(lag_of(venue_ns, ts_ns)) <= 4 * 10**18
            for _ in range(20):
                rig.take(ts_ns, venue_ns)
