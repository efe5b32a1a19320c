"""The feed against its twin on markets that lose, repeat, swap and damage messages; and against the true book.

At every message the readers' book is the venue's book of that update, or it is stale: there is no third case.
"""

import random
import re

import pytest
from reference.engine.feed import ref_feed
from reference.kernels.book import RefBook
from rig.feed import FeedRig, KnownMarket
from rig.scan import SPOT, USDM

from bot4.jit import JIT
from bot4.model.enums import (
    FLAG_LAST,
    FLAG_SNAPSHOT,
    STATUS_CLEAR,
    STATUS_WHOLE,
    TICK_LEVEL,
    TICK_QUOTE,
    TICK_STATUS,
    TICK_TRADE,
)

LENGTH = 3_000 if JIT else 300
SEEDS = range(4) if JIT else range(1)


def damaged(lines: list[bytes], source: random.Random, share: float) -> list[bytes]:
    """Messages lost, repeated, swapped, cut, or with one byte changed, each by that share."""
    found = list(lines)
    for index in range(len(found)):
        if source.random() >= share:
            continue
        way = source.randrange(8)
        if way == 0:
            found[index] = b""
        elif way == 7:
            found[index] = digit_in_front(found[index], source)
        elif way == 1:
            found[index] += found[index]
        elif way == 2 and index:
            found[index], found[index - 1] = found[index - 1], found[index]
        elif way == 3:
            found[index] = found[index][: source.randrange(1, len(found[index]))].rstrip(b"\n") + b"\n"
        elif way == 4:
            at = source.randrange(len(found[index]) - 1)
            found[index] = found[index][:at] + bytes([source.choice(b'0123456789-,"}]x')]) + found[index][at + 1 :]
        elif way == 5:
            head, _, rest = found[index].partition(b" ")
            shift = source.choice((-3_600_000_000_000, 3_600_000_000_000, -5_000_000, 40_000_000))
            found[index] = b"%d %s" % (int(head) + shift, rest) if head.isdigit() else found[index]
        else:
            found[index] = found[index].replace(b'"s":"BTCUSDT"', b'"s":"ETHUSDT"')
    return found


def digit_in_front(line: bytes, source: random.Random) -> bytes:
    """One of its ids, if it has any, made larger by a leading digit."""
    places = [found.end() for found in re.finditer(rb'"(?:u|U|pu|t|lastUpdateId)":', line)]
    if not places:
        return line
    at = source.choice(places)
    return line[:at] + bytes([source.choice(b"123456789")]) + line[at:]


def assert_same(rig: FeedRig, texts, listings, spike_bps=0, time_limit_ns=0):
    """Records, counters and checks equal the twin's."""
    records, twins = ref_feed(texts, listings, spike_bps, time_limit_ns)
    assert rig.records("market") == records
    for index, twin in enumerate(twins):
        assert rig.counts(index) == +twin.counts
        assert rig.wires.book_checks[index].tolist() == twin.checks
        assert rig.wires.levels[index] == twin.levels
        clock = twin.times.clock
        shown = [clock.stamps, clock.offset_ns, clock.latest_ns, clock.anew]
        assert rig.wires.venue_clocks[index, : len(shown)].tolist() == shown
        assert rig.counts(index).total() == sum(1 for line in texts[index].split(b"\n") if line.strip())
    return twins


def assert_true_book(records, market: KnownMarket):
    """Whatever a reader believes to be whole is the venue's book."""
    book = RefBook(4_096)
    update = seen = 0
    for record in records:
        if record.kind == TICK_STATUS:
            update = record.words[1]
            if record.words[0] == STATUS_CLEAR:
                book.clear()
            else:
                book.whole = record.words[0] == STATUS_WHOLE
        elif record.kind == TICK_LEVEL:
            price, lots, side, update = record.words
            book.set(side, price, lots)
        elif record.kind == TICK_QUOTE:
            continue
        if book.whole and record.flags & FLAG_LAST and record.kind in (TICK_LEVEL, TICK_STATUS):
            assert (book.sides[1], book.sides[-1]) == market.books[update]
            seen += 1
    return seen


def big_market(seed: int, futures: bool) -> KnownMarket:
    """One whose ids are as large as a venue's."""
    return KnownMarket(seed, futures, update=5_123_107_831_937 if futures else 50_123_107_831, trade=3_535_186_031)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.0, 0.002, 0.1])
@pytest.mark.parametrize("listing", [SPOT, USDM], ids=["spot", "usdm"])
def test_damaged_markets_equal_the_twin(listing, share, seed):
    market = big_market(seed, listing.futures)
    text = b"".join(damaged(market.run(LENGTH), random.Random(seed), share))
    rig = FeedRig([text], [listing], piece=50_000).run()
    (twin,) = assert_same(rig, [text], [listing])
    if share == 0.0:
        assert {reason for _, reason in +twin.counts} == {"ok", "before_snapshot", "out_of_order"}  # old snapshots
        assert assert_true_book(rig.records(), market) > LENGTH // 6
        assert twin.checks[0] == twin.checks[1] > LENGTH // 40
    assert rig.records("shard-0") == rig.records("market")
    assert rig.records("quotes") == [record for record in rig.records() if record.kind not in (1, TICK_LEVEL)]


def spiked(lines: list[bytes], source: random.Random, share: float) -> list[bytes]:
    """Quotes and trades whose prices are a fifth higher or lower, some of them twice in a row."""
    found, again = [], 0.0
    for line in lines:
        again = again if source.random() < 0.3 else 0.0
        factor = again or (source.choice((0.8, 1.2)) if source.random() < share else 0.0)
        again = factor
        if factor and (b"@bookTicker" in line or b"@trade" in line):

            def scale(match: re.Match[bytes], by: float = factor) -> bytes:
                whole, point, rest = match[2].partition(b".")
                return match[1] + str(int(int(whole) * by)).encode() + point + rest + b'"'

            line = re.sub(rb'("[bap]":")([0-9.]+)"', scale, line)
        found.append(line)
    return found


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("listing", [SPOT, USDM], ids=["spot", "usdm"])
def test_prices_that_leap_are_refused_until_a_second_quote_bears_them_out(listing, share, seed):
    market = big_market(seed, listing.futures)
    text = b"".join(spiked(market.run(LENGTH), random.Random(seed), share))
    rig = FeedRig([text], [listing])
    rig.agent.memory.states["spike_bps"] = 500
    rig.run()
    assert_same(rig, [text], [listing], 500)
    spikes = {kind: rig.counts()[kind, "spike"] for kind in ("quote", "trade")}
    fewest = min if JIT else max  # a short market may have no such trade
    assert (fewest(spikes.values()) > 0) == (share > 0), spikes
    last = 0
    for record in rig.records():
        if record.kind == TICK_QUOTE and not record.flags & FLAG_SNAPSHOT:
            last = record.words[0] + record.words[2]
        elif record.kind == TICK_TRADE and last:
            assert abs(2 * record.words[0] - last) * 10_000 <= last * 500


def mistimed(lines: list[bytes], source: random.Random, share: float) -> list[bytes]:
    """The venue's time an hour ahead or back, zero, or no time at all, of that share of the messages that bear one."""
    found = []
    for line in lines:
        own = re.search(rb'"E":([0-9]+)', line)
        if own and source.random() < share:
            true, hour = int(own[1]), 3_600_000
            wrong = source.choice((0, true + hour, true - hour, 9_000_000_000_001, 999_999_999_999_999_999))
            line = line[: own.start(1)] + b"%d" % wrong + line[own.end(1) :]
        found.append(line)
    return found


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("listing", [SPOT, USDM], ids=["spot", "usdm"])
def test_messages_of_a_wrong_time_are_refused_and_a_change_of_the_book_costs_the_book(listing, share, seed):
    market = big_market(seed, listing.futures)
    lines = market.run(LENGTH)
    text = b"".join(mistimed(lines, random.Random(seed), share))
    rig = FeedRig([text], [listing])
    rig.agent.memory.states["time_limit_ns"] = 5_000_000_000
    rig.run()
    (twin,) = assert_same(rig, [text], [listing], 0, 5_000_000_000)
    wrong = {kind: rig.counts()[kind, "venue_time"] for kind in ("trade", "depth")}
    assert (sum(wrong.values()) > 0) == (share > 0) and sum(wrong.values()) <= LENGTH * share, wrong
    assert assert_true_book(rig.records(), market) > 0
    assert abs(twin.times.clock.offset_ns) < 10_000_000


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.0001, 0.001, 0.01, 0.1])
@pytest.mark.parametrize("listing", [SPOT, USDM], ids=["spot", "usdm"])
def test_lost_repeated_renumbered_and_swapped_diffs_never_make_a_wrong_book(listing, share, seed):
    market = big_market(100 + seed, listing.futures)
    source = random.Random(seed)
    lines = market.run(LENGTH)
    depth = [index for index, line in enumerate(lines) if b"@depth" in line]
    for place, index in enumerate(depth[:-1]):
        if source.random() < share:
            way = source.randrange(4)
            if way == 0:
                lines[index] = b""
            elif way == 1:
                lines[index] += lines[index]
            elif way == 2:
                lines[index] = digit_in_front(lines[index], source)
            else:  # the contents change places, the receive times stay
                other = depth[place + 1]
                (a, _, first), (b, _, second) = lines[index].partition(b" "), lines[other].partition(b" ")
                if a and b:
                    lines[index], lines[other] = a + b" " + second, b + b" " + first
    text = b"".join(lines)
    rig = FeedRig([text], [listing]).run()
    assert_same(rig, [text], [listing])
    assert assert_true_book(rig.records(), market) > 0


@pytest.mark.parametrize("listing", [SPOT, USDM], ids=["spot", "usdm"])
@pytest.mark.parametrize(("stream", "key"), [("bookTicker", "u"), ("trade", "t"), ("depth", "u"), ("", "lastUpdateId")])
def test_one_damaged_id_costs_one_message(listing, stream, key):
    """Wherever it stands but in the first message of its kind, nothing after it is refused; a diff's costs the book."""
    source = random.Random(stream)
    market = big_market(7, listing.futures)
    lines = market.run(LENGTH, snapshots=0.1)
    clean = FeedRig([b"".join(lines)], [listing]).run()
    own = [index for index, line in enumerate(lines) if f'"{key}":'.encode() in line and stream.encode() in line]
    for index in source.sample(own[1:], min(len(own) - 1, 6)):
        at = lines[index].index(f'"{key}":'.encode()) + len(key) + 3
        text = b"".join([*lines[:index], lines[index][:at] + b"7" + lines[index][at:], *lines[index + 1 :]])
        rig = FeedRig([text], [listing]).run()
        (twin,) = assert_same(rig, [text], [listing])
        assert +twin.counts == +rig.counts()
        counts, before = rig.counts(), clean.counts()
        assert sum(count for (_, reason), count in counts.items() if reason == "id_leap") == 1
        for kind in ("quote", "trade"):
            assert counts[kind, "ok"] == before[kind, "ok"] - (kind == {"bookTicker": "quote"}.get(stream, stream))
        assert counts["depth", "gap"] + counts["depth", "no_snapshot"] < LENGTH // 4
        assert_true_book(rig.records(), market)


def test_several_sources_are_merged_by_time_then_source():
    texts = [b"".join(KnownMarket(seed, listing.futures).run(LENGTH // 3)) for seed, listing in enumerate((SPOT, USDM))]
    listings = [SPOT, USDM]
    rig = FeedRig(texts, listings, n_shards=2, piece=10_000).run()
    assert_same(rig, texts, listings)
    records = rig.records()
    assert [record.ts_ns for record in records] == sorted(record.ts_ns for record in records)
    for k in range(2):
        assert rig.records(f"shard-{k}") == [record for record in records if record.instrument == k]


@pytest.mark.parametrize("piece", [1, 7, 300, 1 << 20])
def test_the_size_of_the_pieces_changes_nothing(piece):
    text = b"".join(KnownMarket(5, False).run(LENGTH // 20))
    whole = FeedRig([text], [SPOT]).run()
    assert FeedRig([text.rstrip(b"\n")], [SPOT], piece=piece).run().records() == whole.records()
