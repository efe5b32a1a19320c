"""The feed between its buffers and its rings: whole messages, promises, snapshots for shards, lines of any length."""

import numpy as np
import pytest
from rig.feed import START_NS, FeedRig, KnownMarket, TextSource, instruments_of, stamped
from rig.scan import SPOT, USDM

from bot4.adapters.sim.venue import VenueAgent
from bot4.engine.feed import BATCH, LAST_EVENT_NO, FeedAgent
from bot4.engine.feed_memory import BUFFER_BYTES, PENDING_MESSAGES
from bot4.kernels.book import book_level
from bot4.kernels.matching.request import is_market
from bot4.model.enums import (
    FLAG_BOOK_NEWER,
    FLAG_LAST,
    FLAG_SNAPSHOT,
    FLAG_SYNTHETIC,
    INT64_MAX,
    STATUS_CLEAR,
    STATUS_STALE,
    STATUS_WHOLE,
    TICK_LEVEL,
    TICK_QUOTE,
    TICK_STATUS,
)
from bot4.model.errors import Bot4Error, InputError
from bot4.model.records import SESSION, TICK, words
from bot4.shm.layout import (
    CLOCK_FEED,
    CONTROL_FEED_DONE,
    CONTROL_SNAPSHOT,
    CONTROL_SNAPSHOT_VENUE,
    LINE,
    RING_DROPPED,
)
from bot4.shm.spsc_ring import consume, has_space, peek_tick
from bot4.shm.wires import FEED_ROW, GAUGE_FEED_DROPPED, GAUGE_FEED_MESSAGES, private_wires

ETH = SPOT._replace(symbol="ETHUSDT")


def quote(ts_ns, update, bid="10.00", ask="10.01", symbol="BTCUSDT"):
    """One best quote of the spot venue."""
    data = {"u": update, "s": symbol, "b": bid, "B": "1", "a": ask, "A": "1"}
    return stamped(ts_ns, {"stream": f"{symbol.lower()}@bookTicker", "data": data})


def depth(ts_ns, first, last, bids=(), asks=()):
    """One diff of the spot venue."""
    data = {"e": "depthUpdate", "s": "BTCUSDT", "U": first, "u": last, "b": list(bids), "a": list(asks)}
    return stamped(ts_ns, {"stream": "btcusdt@depth@100ms", "data": data})


def snapshot(ts_ns, update, bids=(("10.00", "1"),), asks=(("10.01", "1"),)):
    """One snapshot."""
    return stamped(ts_ns, {"lastUpdateId": update, "bids": list(bids), "asks": list(asks)})


def market(seed=1, count=200):
    """The text of a known market."""
    return b"".join(KnownMarket(seed, False).run(count))


def messages(records):
    """Records grouped by message."""
    found, group = [], []
    for record in records:
        group.append(record)
        if record.flags & FLAG_LAST:
            found.append(group)
            group = []
    assert not group
    return found


# --- rings -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("full", ["shard-0", "market", "quotes"])
def test_a_waiting_feed_gives_nobody_anything_before_all_have_room(full):
    text = market()
    expected = FeedRig([text], [SPOT]).run().records()
    rig = FeedRig([text], [SPOT], capacity=32)
    others = [name for name in rig.rings() if name != full]

    def go_on():
        before = {name: len(rig.taken.get(name, [])) for name in others}
        rig.agent.do_work()
        rig.agent.do_work()  # the first one may only have found its buffer empty
        rig.drain(*others)
        return {name: len(rig.taken.get(name, [])) for name in others} != before

    stops = 0
    while not rig.wires.control[CONTROL_FEED_DONE]:
        while go_on():
            pass
        assert not go_on()
        stops += 1
        rig.drain(full)
    assert stops > 3
    rig.drain()
    assert rig.records() == rig.records("shard-0") == expected
    assert rig.wires.gauges[1 + FEED_ROW, GAUGE_FEED_DROPPED] == 0


def test_a_feed_that_does_not_wait_drops_whole_messages_for_who_has_no_room():
    text = market()
    expected = FeedRig([text], [SPOT]).run()
    rig = FeedRig([text], [SPOT], capacity=64, wait=False)
    for turn in range(2_000):
        rig.agent.do_work()
        rig.drain("market", "quotes")
        if turn % 3 == 0:
            rig.drain("shard-0")
        if rig.wires.control[CONTROL_FEED_DONE]:
            break
    rig.drain()
    got = messages(rig.records("shard-0"))
    missed = sum(map(len, messages(expected.records()))) - sum(map(len, got))
    assert missed > 0
    assert all(message in messages(expected.records()) for message in got)
    dropped = sum(int(ring[RING_DROPPED]) for ring in rig.rings().values())
    assert rig.wires.ticks[0][RING_DROPPED] == missed
    assert rig.wires.gauges[1 + FEED_ROW, GAUGE_FEED_DROPPED] == dropped


def test_a_message_larger_than_a_ring_is_dropped_and_counted_even_by_a_waiting_feed():
    bids = [(f"{9 - i // 100}.{99 - i % 100:02d}", "1") for i in range(40)]
    text = quote(START_NS, 1) + snapshot(START_NS + 1, 5, bids=bids) + quote(START_NS + 2, 6)
    rig = FeedRig([text], [SPOT], capacity=16).run()
    assert [record.kind for record in rig.records()] == [TICK_QUOTE, TICK_QUOTE]
    assert rig.wires.ticks[0][RING_DROPPED] == rig.wires.market[RING_DROPPED] == 43
    assert rig.wires.quotes[RING_DROPPED] == 0


def test_execution_gets_quotes_marks_and_states_only():
    rig = FeedRig([market()], [SPOT]).run()
    assert {record.kind for record in rig.records("quotes")} == {TICK_QUOTE, TICK_STATUS}
    assert rig.records("quotes") == [record for record in rig.records() if record.kind in (TICK_QUOTE, TICK_STATUS)]


@pytest.mark.parametrize("measure", [0, 1])
def test_records_are_stamped_only_when_measuring(measure):
    rig = FeedRig([market(count=20)], [SPOT], measure=measure).run()
    stamps = [int(tick["tsc_low"][0]) for tick in rig.taken["market"]]
    assert any(stamps) == bool(measure)


# --- time ------------------------------------------------------------------------------------------------------------


def test_the_promise_comes_before_the_message_and_is_kept():
    rig = FeedRig([market(1), market(2).replace(b"BTC", b"ETH").replace(b"btc", b"eth")], [SPOT, ETH])
    promised = 0
    while not rig.wires.control[CONTROL_FEED_DONE]:
        rig.agent.until_ns = promised + 1_500_000 if promised else START_NS
        rig.agent.do_work()
        seen = len(rig.taken.get("market", []))
        rig.drain()
        assert all(record.ts_ns >= promised for record in rig.records()[seen:])
        clock = int(rig.wires.clocks[CLOCK_FEED])
        assert clock >= promised
        assert all(record.ts_ns <= clock for record in rig.records()[seen:])
        promised = clock
    assert promised == INT64_MAX


def test_until_a_time_and_the_clock_goes_on_while_nothing_is_due():
    rig = FeedRig([quote(START_NS, 1) + quote(START_NS + 1_000, 2)], [SPOT])
    rig.agent.until_ns = START_NS + 400
    for _ in range(3):
        rig.agent.do_work()
    rig.drain()
    assert [record.ts_ns for record in rig.records()] == [START_NS]
    assert rig.wires.clocks[CLOCK_FEED] == START_NS + 400
    rig.agent.until_ns = START_NS + 1_000
    rig.run()
    assert [record.ts_ns for record in rig.records()] == [START_NS, START_NS + 1_000]


def test_a_silence_is_no_wrong_time_but_a_single_leap_is():
    later = START_NS + 3_600_000_000_000
    silent = FeedRig([quote(START_NS, 1) + b"".join(quote(later + i, 2 + i) for i in range(9))], [SPOT]).run()
    assert silent.counts() == {("quote", "ok"): 10}
    rest = b"".join(quote(START_NS + i, 2 + i) for i in range(1, 9))
    leaping = FeedRig([quote(START_NS, 1) + quote(later, 2) + rest], [SPOT]).run()
    assert leaping.counts() == {("quote", "ok"): 9, ("quote", "time_back"): 1}
    assert leaping.records()[-1].ts_ns == START_NS + 8


def test_receive_times_that_go_back_are_refused():
    rig = FeedRig([quote(START_NS + 5, 1) + quote(START_NS + 4, 2) + quote(START_NS + 5, 3)], [SPOT]).run()
    assert rig.counts() == {("quote", "ok"): 2, ("quote", "time_back"): 1}
    assert [record.event_no for record in rig.records()] == [1, 2]


# --- the book --------------------------------------------------------------------------------------------------------


def test_quotes_and_diffs_say_which_is_newer():
    text = snapshot(START_NS, 10) + quote(START_NS + 1, 10) + quote(START_NS + 2, 12)
    text += depth(START_NS + 3, 11, 11, bids=[("9.99", "2")]) + depth(START_NS + 4, 12, 13, bids=[("9.98", "2")])
    rig = FeedRig([text], [SPOT]).run()
    flags = [(record.kind, record.flags) for record in rig.records()[4:]]
    assert flags == [(2, FLAG_LAST | FLAG_BOOK_NEWER), (2, FLAG_LAST), (3, FLAG_LAST | 8), (3, FLAG_LAST)]


def test_a_lost_diff_makes_the_book_stale_until_a_snapshot():
    text = snapshot(START_NS, 10) + depth(START_NS + 1, 11, 11, bids=[("9.99", "2")])
    text += depth(START_NS + 2, 13, 13, bids=[("9.98", "2")]) + depth(START_NS + 3, 14, 14, bids=[("9.97", "2")])
    rig = FeedRig([text + quote(START_NS + 4, 14)], [SPOT]).run()
    assert rig.counts() == {
        ("depth", "ok"): 2, ("depth", "gap"): 1, ("depth", "no_snapshot"): 1, ("quote", "ok"): 1,
    }  # fmt: skip
    states = [record.words[0] for record in rig.records() if record.kind == TICK_STATUS]
    assert states == [STATUS_CLEAR, STATUS_WHOLE, STATUS_STALE]
    assert rig.records()[-1].flags == FLAG_LAST  # no whole book is newer than this quote
    healed = FeedRig([text + snapshot(START_NS + 5, 13)], [SPOT]).run()
    assert healed.counts()["depth", "ok"] == 4  # the diff that waited follows its snapshot
    assert healed.records()[-1].words[3] == 14


def test_a_crossed_book_is_stale_and_its_levels_go_nowhere():
    text = snapshot(START_NS, 10) + depth(START_NS + 1, 11, 11, bids=[("10.01", "2")])
    rig = FeedRig([text], [SPOT]).run()
    assert rig.counts() == {("depth", "ok"): 1, ("depth", "book_crossed"): 1}
    assert [record.kind for record in rig.records()] == [6, 3, 3, 6, 6]
    assert [record.event_no for record in rig.records()] == [1, 2, 3, 4, 5]
    assert rig.wires.levels[0] == 2


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (snapshot(START_NS + 1, 9), "out_of_order"),
        (snapshot(START_NS + 1, 11, bids=[("10.01", "1")]), "book_crossed"),
        (snapshot(START_NS + 1, 11, asks=[]), "zero"),
        (snapshot(START_NS + 1, 11, bids=[("10.00", "0")]), "zero"),
    ],
)
def test_a_bad_snapshot_leaves_a_whole_book_as_it_was(second, reason):
    text = snapshot(START_NS, 10) + second + depth(START_NS + 2, 11, 11, bids=[("9.99", "2")])
    rig = FeedRig([text], [SPOT]).run()
    assert rig.counts() == {("depth", "ok"): 2, ("depth", reason): 1}
    assert rig.records()[-1].words == (999, 200_000, 1, 11)


def test_more_diffs_than_can_wait_are_given_up_together():
    count = PENDING_MESSAGES + 10
    diffs = [depth(START_NS + i, 11 + i, 11 + i, bids=[("9.99", str(1 + i))]) for i in range(count)]
    text = b"".join(diffs) + snapshot(START_NS + count, 10 + PENDING_MESSAGES)
    rig = FeedRig([text], [SPOT]).run()
    assert rig.counts() == {("depth", "no_snapshot"): PENDING_MESSAGES, ("depth", "ok"): 11}


# --- ids -------------------------------------------------------------------------------------------------------------

ID = 50_000_000_000


def trade(ts_ns, number):
    """One trade of the spot venue."""
    data = {"e": "trade", "s": "BTCUSDT", "t": number, "p": "10.00", "q": "1", "m": True}
    return stamped(ts_ns, {"stream": "btcusdt@trade", "data": data})


@pytest.mark.parametrize("make", [quote, trade])
def test_an_id_that_leaps_is_refused_alone(make):
    text = b"".join(make(START_NS + i, 70 * ID if i == 4 else ID + i) for i in range(10))
    rig = FeedRig([text], [SPOT]).run()
    kind = make.__name__
    assert rig.counts() == {(kind, "ok"): 9, (kind, "id_leap"): 1}
    assert [record.ts_ns - START_NS for record in rig.records()] == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_a_diff_whose_id_leaps_makes_the_book_stale():
    level = [("9.99", "2")]
    text = snapshot(START_NS, ID) + depth(START_NS + 1, ID + 1, 70 * ID, level)
    rig = FeedRig([text + depth(START_NS + 2, ID + 2, ID + 2, level) + quote(START_NS + 3, ID + 3)], [SPOT]).run()
    assert rig.counts() == {
        ("depth", "ok"): 1, ("depth", "id_leap"): 1, ("depth", "no_snapshot"): 1, ("quote", "ok"): 1,
    }  # fmt: skip
    states = [record.words[0] for record in rig.records() if record.kind == TICK_STATUS]
    assert states == [STATUS_CLEAR, STATUS_WHOLE, STATUS_STALE]
    healed = text + depth(START_NS + 2, ID + 2, ID + 2, level) + snapshot(START_NS + 3, ID + 1)
    rig = FeedRig([healed], [SPOT]).run()
    assert rig.counts() == {("depth", "ok"): 3, ("depth", "id_leap"): 1}


def test_a_waiting_diff_whose_id_leaps_is_not_kept():
    text = quote(START_NS, ID) + depth(START_NS + 1, ID + 1, 70 * ID, [("9.99", "2")])
    text += depth(START_NS + 2, ID + 2, ID + 2, [("9.98", "2")]) + snapshot(START_NS + 3, ID + 1)
    rig = FeedRig([text + depth(START_NS + 4, ID + 3, ID + 3, [("9.97", "2")])], [SPOT]).run()
    assert rig.counts() == {("quote", "ok"): 1, ("depth", "id_leap"): 1, ("depth", "ok"): 3}


def test_a_snapshot_whose_id_leaps_is_refused():
    text = snapshot(START_NS, ID) + snapshot(START_NS + 1, 70 * ID) + depth(START_NS + 2, ID + 1, ID + 1)
    rig = FeedRig([text], [SPOT]).run()
    assert rig.counts() == {("depth", "ok"): 2, ("depth", "id_leap"): 1}
    assert rig.records()[-1].words[0] == STATUS_WHOLE


def test_a_pause_explains_what_is_missing():
    """An hour at a hundred times the usual rate, but not a digit more."""
    hour = 3_600_000_000_000
    later = b"".join(quote(START_NS + hour + i, ID + 300_000_000 + i) for i in range(9))
    assert FeedRig([quote(START_NS, ID) + later], [SPOT]).run().counts() == {("quote", "ok"): 10}


@pytest.mark.parametrize("start", [70 * ID, 1])
def test_ids_that_really_start_elsewhere_cost_one_message(start):
    """The venue has renumbered, or the first id of all was damaged: two ids bear each other out."""
    for make in (quote, trade):
        text = make(START_NS, ID) + b"".join(make(START_NS + 1 + i, start + i) for i in range(10))
        rig = FeedRig([text], [SPOT]).run()
        kind = make.__name__
        assert rig.counts() == {(kind, "ok"): 10, (kind, "id_leap"): 1}
    text = snapshot(START_NS, ID) + b"".join(depth(START_NS + 1 + i, start + i, start + i) for i in range(3))
    rig = FeedRig([text + snapshot(START_NS + 9, start + 1)], [SPOT]).run()
    assert rig.counts()["depth", "id_leap"] == 1
    states = [record.words[0] for record in rig.records() if record.kind == TICK_STATUS]
    assert states == [STATUS_CLEAR, STATUS_WHOLE, STATUS_STALE, STATUS_CLEAR, STATUS_WHOLE]


# --- snapshots for shards --------------------------------------------------------------------------------------------


def ask(rig, shard=0):
    rig.wires.control[CONTROL_SNAPSHOT + shard * LINE] += 1


def test_a_shard_that_asks_gets_its_book_and_nobody_else_does():
    text = snapshot(START_NS, 10, bids=[("10.00", "1"), ("9.99", "3")]) + quote(START_NS + 1, 12, "10.00", "10.02")
    rig = FeedRig([text], [SPOT]).run()
    before = {name: len(ticks) for name, ticks in rig.taken.items()}
    ask(rig)
    rig.agent.do_work()
    rig.drain()
    assert {name: len(ticks) for name, ticks in rig.taken.items() if name != "shard-0"} == {
        name: count for name, count in before.items() if name != "shard-0"
    }
    answer = rig.records("shard-0")[before["shard-0"] :]
    last = rig.records("market")[-1].event_no
    assert [(record.kind, record.words) for record in answer] == [
        (TICK_STATUS, (STATUS_CLEAR, 10, 0, 0)),
        (TICK_LEVEL, (1_000, 100_000, 1, 10)),
        (TICK_LEVEL, (999, 300_000, 1, 10)),
        (TICK_LEVEL, (1_001, 100_000, -1, 10)),
        (TICK_QUOTE, (1_000, 100_000, 1_002, 100_000)),
        (TICK_STATUS, (STATUS_WHOLE, 10, 0, 0)),
    ]
    assert {record.event_no for record in answer} == {last}
    assert {record.ts_ns for record in answer} == {START_NS + 1}
    assert all(record.flags & FLAG_SNAPSHOT for record in answer)
    assert [bool(record.flags & FLAG_LAST) for record in answer] == [False] * 5 + [True]
    rig.agent.do_work()
    rig.drain()
    assert len(rig.records("shard-0")) == before["shard-0"] + 6  # asked once, answered once


def test_a_snapshot_within_the_stream_repeats_the_number_and_keeps_the_promise():
    rig = FeedRig([market(count=3 * BATCH)], [SPOT])
    while int(rig.wires.gauges[1 + FEED_ROW, GAUGE_FEED_MESSAGES]) < BATCH:
        rig.agent.do_work()
        rig.drain()
    ask(rig)
    clock = int(rig.wires.clocks[CLOCK_FEED])
    rig.run()
    answer = [record for record in rig.records("shard-0") if record.flags & FLAG_SNAPSHOT]
    assert answer and all(record.ts_ns == clock for record in answer)
    rest = [record for record in rig.records("shard-0") if not record.flags & FLAG_SNAPSHOT]
    assert rest == rig.records("market")
    times = [record.ts_ns for record in rig.records("shard-0")]
    assert times == sorted(times)
    place = rig.records("shard-0").index(answer[-1])
    assert rig.records("shard-0")[place + 1].event_no == answer[-1].event_no + 1


def test_books_that_do_not_fit_the_ring_together_are_sent_one_after_the_other():
    bids = [(f"9.{99 - i:02d}", "1") for i in range(20)]
    texts = [snapshot(START_NS, 10, bids=bids)] * 3
    listings = [SPOT, ETH, USDM._replace(symbol="SOLUSDT")]
    rig = FeedRig(texts, listings, capacity=32).run()
    before = len(rig.records("shard-0"))
    ask(rig)
    for _ in range(3):
        rig.agent.do_work()
        rig.agent.do_work()
        rig.drain()
    answer = rig.records("shard-0")[before:]
    assert [message[0].instrument for message in messages(answer)] == [0, 1, 2]
    ask(rig)
    for _ in range(4):
        rig.agent.do_work()
        rig.drain()
    assert len(rig.records("shard-0")) == before + 2 * len(answer)


def test_a_snapshot_goes_before_messages_that_wait_for_the_same_room():
    """A reader takes record by record from a full ring: each place would go to a message, and never to the snapshot."""
    text = b"".join(snapshot(START_NS + i, 10 + i) for i in range(3))
    text += b"".join(quote(START_NS + 10 + i, 20 + i) for i in range(300))
    rig = FeedRig([text], [SPOT], capacity=16)
    for _ in range(20):
        rig.agent.do_work()
        rig.drain("market", "quotes")
    assert not has_space(rig.wires.ticks[0], 2)
    ask(rig)
    scratch = np.zeros(1, TICK)
    taken = 0
    while not (peek_tick(rig.wires.ticks[0], words(scratch), np.int64(0)) and scratch[0]["flags"] & FLAG_SNAPSHOT):
        consume(rig.wires.ticks[0])
        taken += 1
        assert taken <= 16 + 1, "what was in the ring, and the message in hand"
        rig.agent.do_work()
        rig.drain("market", "quotes")
    rig.run()
    assert sum(record.kind == TICK_QUOTE for record in rig.records("market")) == 300


def test_a_waiting_snapshot_promises_the_next_message():
    """Or a reader whose promises reach no further than its input would never make the room."""
    rig = FeedRig([snapshot(START_NS, 10) + quote(START_NS + 5, 11) + quote(START_NS + 90, 12)], [SPOT], capacity=8)
    rig.agent.until_ns = START_NS + 5
    rig.agent.do_work()
    rig.agent.do_work()
    rig.drain("market", "quotes")
    ask(rig)
    rig.agent.until_ns = INT64_MAX
    rig.agent.do_work()
    rig.drain("market", "quotes")
    assert rig.records()[-1].ts_ns == START_NS + 5
    assert rig.wires.clocks[CLOCK_FEED] == START_NS + 90
    rig.run()
    answer = [record for record in rig.records("shard-0") if record.flags & FLAG_SNAPSHOT]
    assert {record.ts_ns for record in answer} == {START_NS + 90}
    assert rig.records("shard-0")[-1] == rig.records()[-1]


def test_a_snapshot_that_no_ring_can_hold_keeps_nobody_waiting():
    bids = [(f"9.{99 - i:02d}", "1") for i in range(20)]
    text = depth(START_NS, 11, 11) + quote(START_NS + 1, 11)
    rig = FeedRig([snapshot(START_NS, 10, bids=bids) + text], [SPOT], capacity=64)
    rig.run()
    small = FeedRig([text], [SPOT], capacity=16)
    small.agent.memory.books[0] = rig.agent.memory.books[0]
    ask(small)
    small.run()
    assert small.wires.ticks[0][RING_DROPPED] == 24
    assert [record.kind for record in small.records("shard-0")] == [TICK_QUOTE]


def test_the_venue_that_asks_gets_every_book():
    text = snapshot(START_NS, 10, bids=[("10.00", "1"), ("9.99", "3")])
    rig = FeedRig([text, quote(START_NS + 1, 5, symbol="ETHUSDT")], [SPOT, ETH], n_shards=2).run()
    before = {name: len(ticks) for name, ticks in rig.taken.items()}
    rig.wires.control[CONTROL_SNAPSHOT_VENUE] += 1
    rig.agent.do_work()
    rig.drain()
    after = {name: len(ticks) for name, ticks in rig.taken.items()}
    assert {name for name in after if after[name] != before[name]} == {"market"}
    answer = messages(rig.records()[before["market"] :])
    assert [[record.kind for record in message] for message in answer] == [[6, 3, 3, 3, 6], [6, 2, 6]]
    assert [message[0].instrument for message in answer] == [0, 1]
    assert all(record.flags & FLAG_SNAPSHOT for message in answer for record in message)


@pytest.mark.parametrize("stale", [False, True])
def test_execution_is_told_of_each_book_when_its_ring_has_missed_something(stale):
    """It gets a part of the records, so it cannot see the hole; a lost state of the book would be believed for ever."""
    text = quote(START_NS, 1) + snapshot(START_NS + 1, 10, bids=[("10.00", "1"), ("9.99", "3")])
    text += b"".join(quote(START_NS + 2 + i, 20 + i) for i in range(40))
    text += depth(START_NS + 50, 12 if stale else 11, 12)  # a gap: the book is stale
    rig = FeedRig([text], [SPOT], capacity=32, wait=False)
    lost = FeedRig([text], [SPOT], capacity=32, wait=False)
    for turn in range(60):
        for made in (rig, lost):
            made.agent.until_ns = START_NS + turn
            made.agent.do_work()
            made.drain("market", "shard-0", *(["quotes"] if made is rig or turn > 55 else []))
    rig.run()
    lost.run()
    assert lost.wires.quotes[RING_DROPPED] > 0 and rig.wires.quotes[RING_DROPPED] == 0
    states = [record.words[0] for record in lost.records("quotes") if record.kind == TICK_STATUS]
    assert states[-1] == (STATUS_STALE if stale else STATUS_WHOLE)
    told = [record for record in lost.records("quotes") if record.flags & FLAG_SNAPSHOT]
    assert [record.kind for record in told] == [TICK_STATUS] * (len(told)) and told
    assert not [record for record in rig.records("quotes") if record.flags & FLAG_SNAPSHOT]
    assert rig.records("market") == lost.records("market")


def test_a_venue_that_missed_records_trades_again(tmp_path):
    """Stopped while the feed does not wait: when it goes on it finds the hole, asks, and has a market again."""
    market = KnownMarket(3, False)
    rig = FeedRig([b"".join(market.run(900))], [SPOT], capacity=128, wait=False)
    rig.session[0]["paced"] = 0
    venue = VenueAgent(rig.wires, rig.instruments, rig.session, 10**13, tmp_path / "ledger.jsonl", ["BTCUSDT"])
    seat = venue.memory.core.seats[0]
    gapped = []
    span_ns = market.now_ns - START_NS
    for turn in range(300):
        rig.agent.until_ns = START_NS + span_ns * turn // 300
        rig.agent.do_work()
        rig.agent.do_work()
        rig.drain("shard-0", "quotes")
        if not 100 <= turn < 200:
            venue.do_work()
            gapped.append(int(seat["gapped"]))
    rig.wires.clocks[CLOCK_FEED] = market.now_ns
    assert rig.wires.market[RING_DROPPED] > 0
    assert 1 in gapped and sum(gapped) < 10 and not gapped[-1]
    assert rig.wires.control[CONTROL_SNAPSHOT_VENUE] >= 1
    assert is_market(venue.memory.core, 0)
    book = venue.memory.core.books[0]
    for side in (1, -1):
        assert book_level(book, side, 0) == book_level(rig.agent.memory.books[0], side, 0)
    venue.close()


def test_a_snapshot_of_a_stale_book_says_so():
    rig = FeedRig([depth(START_NS, 11, 11, bids=[("9.99", "2")])], [SPOT]).run()
    ask(rig)
    rig.agent.do_work()
    rig.drain()
    assert [record.words[0] for record in rig.records("shard-0")] == [STATUS_CLEAR, STATUS_STALE]
    assert [record.event_no for record in rig.records("shard-0")] == [0, 0]


# --- lines -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [100_000, BUFFER_BYTES])
def test_a_line_longer_than_the_buffer_is_one_refused_message(piece):
    text = quote(START_NS, 1) + b"x" * (3 * BUFFER_BYTES) + b"\n" + quote(START_NS + 1, 2)
    rig = FeedRig([text], [SPOT], piece=piece).run()
    assert rig.counts() == {("quote", "ok"): 2, ("", "unparsable"): 1}
    endless = FeedRig([quote(START_NS, 1) + b"x" * (2 * BUFFER_BYTES)], [SPOT], piece=piece).run()
    assert endless.counts() == {("quote", "ok"): 1, ("", "unparsable"): 1}


def test_empty_lines_and_the_ends_of_other_systems():
    text = b"\n \r\n" + quote(START_NS, 1).replace(b"\n", b"\r\n") + b"\n\n" + quote(START_NS + 1, 2)[:-1]
    assert FeedRig([text], [SPOT]).run().counts() == {("quote", "ok"): 2}
    assert FeedRig([b""], [SPOT]).run().counts() == {}


def test_lines_without_a_time_are_counted_where_they_stand():
    text = quote(START_NS, 1) + b"nonsense\n{}\n" + quote(START_NS, 2)[3:] + quote(START_NS + 1, 3)
    assert FeedRig([text], [SPOT]).run().counts() == {("quote", "ok"): 2, ("", "unparsable"): 3}


def test_made_up_markets_mark_each_record():
    source = TextSource(market(count=30))
    source.synthetic = True
    rig = FeedRig([b""], [SPOT])
    rig.agent = FeedAgent(rig.wires, rig.instruments, rig.session, [source], True)
    rig.run()
    ask(rig)
    rig.agent.do_work()
    rig.drain()
    assert all(record.flags & FLAG_SYNTHETIC for record in rig.records("shard-0"))


def test_each_instrument_needs_a_source_and_a_symbol():
    session, wires = np.zeros(1, SESSION), private_wires(1, 1)
    with pytest.raises(InputError, match="0 sources for 1 instruments"):
        FeedAgent(wires, instruments_of([SPOT]), session, [], True)
    for symbol in ("", "X" * 33):
        with pytest.raises(InputError, match="symbol"):
            FeedAgent(wires, instruments_of([SPOT]), session, [TextSource(b"", symbol)], True)


def test_numbers_end_before_they_come_again():
    """An order id is made of the number: a session ends rather than number a second record like an earlier one."""
    rig = FeedRig([market()], [SPOT])
    rig.agent.memory.states["event_no"] = LAST_EVENT_NO + 1
    with pytest.raises(Bot4Error, match="start a new one"):
        rig.run()
    rig = FeedRig([market()], [SPOT])
    rig.agent.memory.states["event_no"] = LAST_EVENT_NO - 100_000
    assert len(rig.run().records())
