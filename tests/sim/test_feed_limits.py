"""What the feed holds against a limit, at the limit itself and one unit to either side."""

import re
from decimal import Decimal

import numpy as np
import pytest
from rig.feed import FeedRig, KnownMarket
from rig.hand import MS, SECOND, HandFeed
from rig.market import MARKETS
from rig.scan import SPOT

from bot4.engine.feed_live import check_silence
from bot4.model.enums import TICK_QUOTE

SPIKE_BPS = 500


@pytest.mark.parametrize("unit", [-1, 0, 1])
@pytest.mark.parametrize("venue", ["binance_spot", "bybit_linear"])
def test_a_book_is_stale_from_the_first_nanosecond_beyond_its_silence(venue, unit):
    market = MARKETS[venue](1)
    rig = HandFeed(market.streams(), market.decoder(), market.listing)
    rig.fetcher.answer = market.whole
    rig.pool.open()
    if venue == "bybit_linear":
        rig.put(market.whole())  # there a subscription brings the book
    for _ in range(400):
        rig.clock.ns += 20 * MS
        rig.put(market.next().body)
        rig.turn()
    state, feed = rig.feed.memory.feed.states[0], rig.feed
    assert rig.whole
    heard_ns = int(state["book_ns"]) if venue == "bybit_linear" else int(min(state["book_ns"], state["quote_ns"]))
    limit = np.array([SECOND], np.int64)
    now_ns = np.int64(heard_ns + SECOND + unit)
    assert check_silence(feed.memory, rig.wires, rig.instruments, rig.session, now_ns, limit) == (unit > 0)
    assert rig.whole == (unit <= 0)


@pytest.mark.parametrize("unit", [-1, 0, 1])
@pytest.mark.parametrize("side", [-1, 1], ids=["lower", "higher"])
def test_a_leap_counts_from_the_first_tick_beyond_its_limit(side, unit):
    """A trade as far from the mid as may be, and a tick nearer and farther."""
    lines = KnownMarket(1, False).run(300)
    last = max(number for number, line in enumerate(lines) if b"@trade" in line)
    before = FeedRig([b"".join(lines[:last])], [SPOT]).run()
    twice = [sum(record.words[0:3:2]) for record in before.records() if record.kind == TICK_QUOTE][-1]
    away = twice * SPIKE_BPS // 10_000  # of twice the price
    ticks = (twice + away) // 2 if side > 0 else -(-(twice - away) // 2)
    price = (ticks + side * unit) * Decimal(SPOT.tick)
    line = re.sub(rb'"p":"[0-9.]+"', f'"p":"{price:f}"'.encode(), lines[last])
    rig = FeedRig([b"".join(lines[:last]) + line], [SPOT])
    rig.agent.memory.states["spike_bps"] = SPIKE_BPS
    rig.run()
    assert rig.counts()["trade", "spike"] == (unit > 0)
    assert len(rig.records()) == len(before.records()) + (unit <= 0)
