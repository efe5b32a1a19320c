"""A feed killed at any record of any ring sends exactly what was missing: nothing twice, nothing left out."""

import numpy as np
import pytest

from bot4.adapters.files.synthetic import VENUE, synthetic_sources
from bot4.engine.feed import FeedAgent
from bot4.engine.feed_memory import DONE
from bot4.engine.feed_resume import place_of, resume, slots_of, waiting
from bot4.model.enums import FLAG_LAST, FLAG_SNAPSHOT, INT64_MAX, TICK_LEVEL, TICK_TRADE
from bot4.model.errors import Bot4Error
from bot4.model.records import INSTRUMENT, SESSION, TICK, TICK_WORDS
from bot4.shm.layout import CLOCK_FEED, CONTROL_STOP, RING_HEAD, RING_TAIL
from bot4.shm.wires import FEED_ROW, GAUGE_FEED_DROPPED, GAUGE_FEED_MESSAGES, GAUGE_HEARTBEAT_NS, private_wires

SYMBOLS = ["SYNBTC", "SYNETH", "SYNSOL"]
SHARDS = 2
SECONDS = 5
CAPACITY = 1024


def tables():
    """Three synthetic instruments on two shards, and the session."""
    instruments = np.zeros(len(SYMBOLS), INSTRUMENT)
    instruments["index"] = range(len(SYMBOLS))
    instruments["shard"] = instruments["index"] % SHARDS
    instruments["is_spot"] = 1
    instruments["price_decimals"] = 2
    instruments["qty_decimals"] = 5
    instruments["tick_e8"] = 1_000_000
    instruments["lot_e8"] = 1_000
    instruments["value_e8"] = 10
    session = np.zeros(1, SESSION)
    session["n_shards"] = SHARDS
    session["n_instruments"] = len(SYMBOLS)
    return instruments, session


class Bench:
    """Wires, a feed on them, and everything that ever lay in each ring."""

    def __init__(self):
        self.instruments, self.session = tables()
        self.wires = private_wires(SHARDS, len(SYMBOLS), CAPACITY)
        self.seen = {name: [] for name in self.rings()}

    def rings(self):
        """The feed's rings by name, in the order of publication."""
        return {"market": self.wires.market, "quotes": self.wires.quotes} | {
            f"ticks-{k}": self.wires.ticks[k] for k in range(SHARDS)
        }

    def agent(self):
        """A fresh feed."""
        sources = synthetic_sources(SYMBOLS, self.instruments, 7, SECONDS)
        assert {source.venue for source in sources} == {VENUE}
        return FeedAgent(self.wires, self.instruments, self.session, sources, True)

    def drain(self):
        """Take what lies in the rings."""
        for name, ring in self.rings().items():
            self.seen[name].append(waiting(ring))
            ring[RING_TAIL] = ring[RING_HEAD]

    def finish(self, agent):
        """Run to the end."""
        while not agent.memory.state[DONE]:
            agent.do_work()
            self.drain()

    def streams(self):
        """Everything seen, without what belongs to transport and machine."""
        result = {}
        for name, parts in self.seen.items():
            records = np.concatenate(parts)
            records["seq"] = 0
            records["tsc_low"] = 0
            result[name] = records
        return result


@pytest.fixture(scope="module")
def whole():
    """The streams and counts of a feed that nobody killed."""
    bench = Bench()
    bench.finish(bench.agent())
    return bench


def resumed_after(sent: dict[str, np.ndarray]) -> Bench:
    """A bench whose dead feed had sent just these records, all taken; then a new feed to the end."""
    bench = Bench()
    for name, ring in bench.rings().items():
        records = sent[name].copy()
        records["seq"] = np.arange(1, len(records) + 1)
        kept = records[-CAPACITY:]
        slots_of(ring)[(kept["seq"] - 1).astype(np.int64) % CAPACITY] = kept
        ring[RING_HEAD] = ring[RING_TAIL] = len(records)
        bench.seen[name].append(records)
    agent = bench.agent()
    resume(agent)
    bench.drain()
    assert agent.wires is bench.wires and agent.until_ns == INT64_MAX and agent.wait
    bench.finish(agent)
    return bench


def cut(market: np.ndarray, end: int, inside: int, stage: int) -> dict[str, np.ndarray]:
    """What lies in the rings when the feed dies in the message that ends before market record `end`.

    `stage` 0, 1, 2: while it publishes to market, quotes, shard; `inside` records of that ring's part are out.
    """
    last = np.flatnonzero(market["flags"][: end - 1] & FLAG_LAST)
    begin = int(last[-1]) + 1 if last.size else 0
    before, message = market[:begin], market[begin:end]
    parts = (message, message[~np.isin(message["kind"], (TICK_TRADE, TICK_LEVEL))], message)
    out = [part if index < stage else part[:inside] if index == stage else part[:0] for index, part in enumerate(parts)]
    shard = int(message["instrument"][0]) % SHARDS
    quotes = before[~np.isin(before["kind"], (TICK_TRADE, TICK_LEVEL))]
    sent = {"market": np.concatenate([before, out[0]]), "quotes": np.concatenate([quotes, out[1]])}
    for k in range(SHARDS):
        sent[f"ticks-{k}"] = np.concatenate(
            [before[before["instrument"] % SHARDS == k], out[2][: len(out[2]) * (k == shard)]]
        )
    return sent


def same(bench: Bench, whole: Bench) -> None:
    expected, found = whole.streams(), bench.streams()
    for name in expected:
        assert np.array_equal(expected[name], found[name]), name
    for table in ("messages", "refused", "levels", "book_checks", "venue_clocks"):
        assert np.array_equal(getattr(bench.wires, table), getattr(whole.wires, table)), table
    assert bench.wires.clocks[CLOCK_FEED] == INT64_MAX


def test_the_bench_has_what_it_takes(whole):
    market = whole.streams()["market"]
    assert len(market) > CAPACITY and set(market["instrument"]) == {0, 1, 2}
    assert len(whole.streams()["quotes"]) > 50


@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("seed", range(6))
def test_killed_inside_a_message(whole, stage, seed):
    choose = np.random.default_rng(seed * 3 + stage)
    market = whole.streams()["market"]
    ends = np.flatnonzero(market["flags"] & FLAG_LAST) + 1
    end = int(choose.choice(ends[:3] if seed == 0 else ends))
    last = np.flatnonzero(market["flags"][: end - 1] & FLAG_LAST)
    length = end - (int(last[-1]) + 1 if last.size else 0)
    same(resumed_after(cut(market, end, int(choose.integers(0, length + 1)), stage)), whole)


def test_killed_before_it_sent_anything(whole):
    same(resumed_after({name: np.zeros(0, TICK) for name in whole.seen}), whole)


def test_killed_after_it_had_sent_everything(whole):
    same(resumed_after(whole.streams()), whole)


def test_snapshots_in_a_ring_are_passed_over(whole):
    """A shard had asked: its ring holds records that are not part of the recording, of a quieter instrument too."""
    market = whole.streams()["market"]
    end = int((np.flatnonzero(market["flags"] & FLAG_LAST) + 1)[40])
    sent = cut(market, end, end, 2)
    last = sent["ticks-0"][-1]["instrument"]
    quieter = np.flatnonzero(sent["ticks-0"]["instrument"] != last)[-1]
    snapshot = sent["ticks-0"][quieter : quieter + 1].repeat(5)
    snapshot["flags"] |= FLAG_SNAPSHOT
    sent["ticks-0"] = np.concatenate([sent["ticks-0"], snapshot])
    bench = resumed_after(sent)
    expected, found = whole.streams()["ticks-0"], bench.streams()["ticks-0"]
    own = found[found["flags"] & FLAG_SNAPSHOT == 0]
    assert np.array_equal(own, expected) and len(found) == len(expected) + 5


def test_a_place_covered_by_snapshots_cannot_be_found():
    ring = private_wires(1, 1, 64).market
    slots_of(ring)["seq"] = np.arange(1, 65)
    slots_of(ring)["flags"] = FLAG_SNAPSHOT
    ring[RING_HEAD] = 64
    with pytest.raises(Bot4Error, match="snapshots have covered"):
        place_of(ring)


def test_another_recording_is_noticed(whole):
    strange = whole.streams()["market"][:100].copy()
    strange["event_no"] += 1_000_000
    sent = {name: np.zeros(0, TICK) for name in whole.seen} | {"market": strange}
    with pytest.raises(Bot4Error, match="the recording is not what it was"):
        resumed_after(sent)


def test_heartbeat_and_drops_stay(whole):
    bench = Bench()
    row = bench.wires.gauges[SHARDS + FEED_ROW]
    row[GAUGE_HEARTBEAT_NS], row[GAUGE_FEED_DROPPED], row[GAUGE_FEED_MESSAGES] = 5, 6, 7
    resume(bench.agent())
    assert list(row[[GAUGE_HEARTBEAT_NS, GAUGE_FEED_DROPPED, GAUGE_FEED_MESSAGES]]) == [5, 6, 0]


def test_a_stop_ends_the_wait_for_a_full_ring(whole):
    """Nobody reads any more: the new feed must not wait for room for ever."""
    bench = Bench()
    records = whole.streams()["market"][:CAPACITY].copy()
    records["seq"] = np.arange(1, CAPACITY + 1)
    slots_of(bench.wires.market)[:] = records
    bench.wires.market[RING_HEAD] = CAPACITY
    bench.wires.control[CONTROL_STOP] = 1
    resume(bench.agent())
    assert bench.wires.market[RING_HEAD] == CAPACITY and TICK_WORDS == 8
