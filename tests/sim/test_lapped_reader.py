"""A shard that stands still for many ring sizes: what it missed is counted exactly, and it is stale until it is whole.

The real feed, which does not wait, and the real shard on private wires. The market is known: an undisturbed feed tells
every record, and how many of them must find the ring full follows from counting slots.
"""

import random
from decimal import Decimal

import numpy as np
import pytest
from reference.kernels.scan import Listing
from rig import puppet
from rig.feed import FeedRig, KnownMarket, TextSource
from rig.tables import instruments, limits, session

from bot4.engine.feed import FeedAgent
from bot4.engine.feed_resume import waiting
from bot4.engine.shard import ShardAgent, load_loop, strategy_parameters
from bot4.kernels.parameter import defaults
from bot4.model.enums import FLAG_LAST, FLAG_SNAPSHOT, REPORT_EXPIRED, STATUS_CLEAR, STATUS_WHOLE, TICK_STATUS
from bot4.model.records import EXEC_REPORT, ORDER_INTENT, words
from bot4.shm.layout import CONTROL_SNAPSHOT, RING_DROPPED, RING_HEAD, RING_TAIL
from bot4.shm.spsc_ring import consume, peek_order, push_order
from bot4.shm.wires import GAPPED_SHARD, GAUGE_SHARD_GATE_OPEN, private_wires

STRATEGY = "rig.puppet"
CAPACITY = 128  # a whole book fits
LONGEST = 50  # ring sizes
SPOT = Listing("BTCUSDT", Decimal("0.01"), Decimal("0.00001"), False)
BEFORE, AFTER = 600, 400  # records before the pause and after it
STRIDE = 8  # records between two turns of a shard that is awake


@pytest.fixture(scope="module")
def market():
    """(text, records of an undisturbed feed as (event_no, time, last of its message))."""
    text = b"".join(KnownMarket(5, False).run(8_000, snapshots=0.001))
    records = [(int(tick["event_no"]), int(tick["ts_recv_ns"]), bool(tick["flags"] & FLAG_LAST))
               for (tick,) in FeedRig([text], [SPOT]).run().taken["shard-0"]]  # fmt: skip
    assert [number for number, _, _ in records] == list(range(1, len(records) + 1))
    assert len(records) > BEFORE + LONGEST * CAPACITY + AFTER
    return text, records


def messages(records):
    """Sizes of the messages."""
    ends = [number for number, _, last in records if last]
    return [end - begin for begin, end in zip([records[0][0] - 1, *ends], ends, strict=False)]


class Pair:
    """Feed and shard; everything that the shard is given is looked at first."""

    def __init__(self, text: bytes) -> None:
        tables = instruments(1), session(1, 1)
        self.wires = private_wires(1, 1, CAPACITY)
        self.feed = FeedAgent(self.wires, *tables, [TextSource(text)], False)
        table = {**defaults(puppet.PARAMETERS), "bar_ns": 0, "atr_period": 1, "min_hold_ns": 0, "exit_threshold": 0.1,
                 "warm_bars": 0, "stop_min_bps": 50.0}  # fmt: skip
        self.shard = ShardAgent(
            load_loop(STRATEGY), self.wires, tables[0], limits(order_lots=10**9, bucket_tokens=10**9, collar_bps=2_000),
            tables[1], 0, strategy_parameters(STRATEGY, table),
        )  # fmt: skip
        self.ring = self.wires.ticks[0]
        self.expected = 1  # event number that comes next
        self.missed = 0
        self.synced, self.whole = True, False
        self.fit: dict[int, bool] = {}  # event number: nothing was missing when it came
        self.intents: list[int] = []  # their event numbers

    def advance(self, until_ns: int) -> None:
        """The feed goes on to this time; venue and execution keep up."""
        self.feed.until_ns = until_ns
        while self.feed.do_work():
            for ring in (self.wires.market, self.wires.quotes):
                ring[RING_TAIL] = ring[RING_HEAD]
        for ring in (self.wires.market, self.wires.quotes):
            ring[RING_TAIL] = ring[RING_HEAD]

    def look(self) -> None:
        """What a reader can see in the ring: holes in the numbers, and whether the book is whole."""
        for tick in waiting(self.ring):
            number, picture = int(tick["event_no"]), bool(tick["flags"] & FLAG_SNAPSHOT)
            hole = number + picture - self.expected
            assert hole >= 0
            self.missed += hole
            self.expected = number + 1
            if picture and tick["kind"] == TICK_STATUS and tick["w0"] == STATUS_CLEAR:
                self.synced, self.whole = True, False
            elif hole:
                self.synced = False
            if self.synced and tick["kind"] == TICK_STATUS and tick["flags"] & FLAG_LAST:
                self.whole = tick["w0"] == STATUS_WHOLE
            if not picture:
                self.fit[number] = self.synced and self.whole

    def work(self) -> None:
        """The shard takes all there is; each of its orders expires at once."""
        self.look()
        intent, report = np.zeros(1, ORDER_INTENT), np.zeros(1, EXEC_REPORT)
        while self.shard.do_work():
            while peek_order(self.wires.intents[0], words(intent), 0):
                consume(self.wires.intents[0])
                self.intents.append(int(intent[0]["event_no"]))
                report["kind"] = REPORT_EXPIRED
                for name in ("ts_ns", "id_hi", "id_lo", "instrument", "side", "leg"):
                    report[name] = intent[name]
                push_order(self.wires.reports[0], words(report), 0)
        gauges = self.wires.gauges[0]
        assert self.wires.gapped[0, GAPPED_SHARD] == (not self.synced)
        assert self.synced or gauges[GAUGE_SHARD_GATE_OPEN] == 0


@pytest.mark.parametrize("runs", [25, pytest.param(1_000, marks=pytest.mark.stress)])
def test_what_a_paused_shard_missed_is_counted_exactly_and_it_decides_nothing_before_it_is_whole(market, runs):
    text, records = market
    total, before, after = 0, 0, 0
    for run in range(runs):
        chance = random.Random(run)
        first = chance.randrange(BEFORE // 2, BEFORE)
        length = (1 + run % LONGEST if runs >= LONGEST else chance.randint(1, LONGEST)) * CAPACITY
        pair = Pair(text)
        for at in range(0, first, STRIDE):
            pair.advance(records[at][1])
            pair.work()
        pair.advance(records[first][1])
        pair.work()
        done = pair.expected - 1  # a time may have several messages
        assert pair.missed == pair.ring[RING_DROPPED] == 0
        before += len(pair.intents)

        pair.advance(records[first + length][1])  # the shard stands still
        paused = [record for record in records[done:] if record[1] <= records[first + length][1]]
        filled = dropped = 0
        for size in messages(paused):
            if filled + size <= CAPACITY:
                filled += size
            else:
                dropped += size
        assert pair.ring[RING_HEAD] - pair.ring[RING_TAIL] == filled
        assert pair.ring[RING_DROPPED] == dropped
        reported = len(pair.intents)
        for at in range(first + length, first + length + AFTER, STRIDE):
            pair.work()
            pair.advance(records[at][1])
        pair.work()
        assert pair.missed == dropped == pair.ring[RING_DROPPED], run
        assert dropped == 0 or pair.wires.control[CONTROL_SNAPSHOT] >= 1
        assert all(pair.fit[number] for number in pair.intents), "an order from a gapped state"
        assert pair.synced and pair.whole
        after += len([number for number in pair.intents[reported:] if number > done + length])
        total += dropped
    print(f"{runs} pauses: {total:,} records missed, counted and seen; {before:,} orders before, {after:,} after")
    assert total > runs * CAPACITY and before > runs and after > runs
