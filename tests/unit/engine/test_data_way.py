"""Data under way to who decides: the venue has each message at once, execution and shards so much later, in order."""

from decimal import Decimal

import pytest
from reference.kernels.scan import Listing
from rig.feed import FeedRig, KnownMarket

from bot4.model.enums import FLAG_SNAPSHOT
from bot4.model.errors import Bot4Error
from bot4.model.latency import constant, log_normal
from bot4.shm.layout import CONTROL_SNAPSHOT

MARKET = b"".join(KnownMarket(5, futures=False).run(400))
SPOT = Listing("BTCUSDT", Decimal("0.01"), Decimal("0.00001"), False)


def made(latency, **options):
    return FeedRig([MARKET], [SPOT], latency=latency, **options)


def times(records):
    """(event number, time) of each record."""
    return [(record.event_no, record.ts_ns) for record in records]


def expected(records, latency):
    """When shards are told: each message takes its sample, none overtakes; no two of this market have one time."""
    told, message, sent, result = 0, -1, 0, []
    for record in records:
        if record.ts_ns != sent:
            message, sent = message + 1, record.ts_ns
            told = max(told, sent + int(latency.values[message % len(latency.values)]))
        result.append((record.event_no, told))
    return result


@pytest.mark.parametrize("latency", [constant(7_000_000), log_normal(30_000_000, 1.5, "11")], ids=["same", "drawn"])
def test_the_venue_hears_at_once_and_who_decides_later(latency):
    plain, late = made(None).run(), made(latency, record=16_384).run()
    late.drain("record")
    assert late.records() == late.records("record") == plain.records(), "venue and recorder"
    assert times(late.records("shard-0")) == expected(plain.records(), latency)
    quotes = dict(times(late.records("shard-0")))
    assert times(late.records("quotes")) == [(no, quotes[no]) for no, _ in times(plain.records("quotes"))]
    assert [record._replace(ts_ns=0) for record in late.records("shard-0")] == [
        record._replace(ts_ns=0) for record in plain.records("shard-0")
    ]


def test_a_snapshot_waits_its_turn_behind_what_is_under_way():
    rig = made(constant(50_000_000), piece=4_096)
    while len(rig.taken.get("shard-0", [])) < 100:
        rig.agent.do_work()
        rig.drain()
    rig.wires.control[CONTROL_SNAPSHOT] += 1
    rig.run()
    told = rig.records("shard-0")
    assert sum(record.flags & FLAG_SNAPSHOT > 0 for record in told) > 2
    assert [record.ts_ns for record in told] == sorted(record.ts_ns for record in told)


def test_a_ring_that_nobody_may_empty_ends_the_feed_and_one_that_is_only_full_does_not():
    for latency, is_shut in ((constant(10_000_000_000), True), (constant(1), False)):
        rig = made(latency, capacity=64)
        rig.session[0]["paced"] = 1
        rig.agent.do_work()
        rig.drain("market")
        if is_shut:
            with pytest.raises(Bot4Error, match=r"lower venue\.sim\.data"):
                rig.run()
        else:
            rig.run()
            assert len(rig.records("shard-0")) == len(rig.records()) > 64
