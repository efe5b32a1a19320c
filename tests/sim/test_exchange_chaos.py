"""A hundred days of chaos: money and quantity are conserved in each, and the same seed gives the same bytes."""

import contextlib
import http.client
import random
import time
from collections import Counter

import pytest
from rig.exchange_chaos import LANDED, LOST, chaos, faults
from rig.exchange_desk import BTC
from rig.exchange_server import WIDE, ExchangeServer

from bot4.adapters.exchange.scenario import EVENT_KINDS, REQUEST_KINDS, STATE_KINDS

pytestmark = pytest.mark.compiled
SEEDS = range(100)
BLOCK = 20


@pytest.mark.parametrize("first", SEEDS[::BLOCK])
def test_chaos(tmp_path, first):
    struck, seen, days = Counter(), Counter(), set()
    for seed in range(first, first + BLOCK):
        one = chaos(tmp_path / f"{seed}", seed)
        two = chaos(tmp_path / f"{seed}-again", seed, looked_at=False)
        assert (one.heard, one.written) == (two.heard, two.written), f"seed {seed}: the same seed gave other bytes"
        days.add(one.written)
        struck += one.struck
        seen += one.seen
    assert len(days) == BLOCK
    rare = {kind: struck[kind] for kind in (*REQUEST_KINDS, *EVENT_KINDS, *STATE_KINDS) if struck[kind] < BLOCK / 2}
    assert not rare, "faults that hardly ever struck"
    for noticed in ("gap", "repeated", "reordered", "lost", "unreadable", "reconnected", "stale", 429, 503):
        assert seen[noticed], noticed
    for kind in LOST:
        assert seen[f"{kind} left nothing"] and not seen[f"{kind} landed"], kind
    for kind in LANDED:
        assert seen[f"{kind} landed"], kind


def anything(server, draw):
    """A request of any kind; what comes of it is not waited for long."""
    server.http_patience(0.3)
    what = draw.random()
    fields = {"symbol": BTC, "side": draw.choice(("BUY", "SELL")), "quantity": f"{draw.randrange(1, 900) / 10_000}"}
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        if what < 0.5:
            price = f"{60_000 + draw.randrange(-60, 60)}"
            server.signed("POST", "order", type="LIMIT", timeInForce="GTC", price=price, **fields)
        elif what < 0.7:
            server.signed("POST", "order", type="MARKET", **fields)
        elif what < 0.8:
            server.signed("DELETE", "openOrders", symbol=BTC)
        else:
            server.signed("GET", draw.choice(("openOrders", "account")))


def test_chaos_over_sockets(tmp_path):
    """A few days on which the faults meet real connections and a real clock."""
    with ExchangeServer(tmp_path, "--speed", "5x", scenario=WIDE, market="generated:1") as server:
        kinds = set()
        for seed in range(3):
            draw = random.Random(seed)
            server.http_patience(10.0)
            for fault in faults(draw):
                server.fault(**(fault | {"after_ms": fault.get("after_ms", 0) // 2}))
            with server.listen("/ws/btcusdt@depth@100ms"):
                end = time.monotonic() + 2.5
                for _ in range(40):
                    anything(server, draw)
                while time.monotonic() < end:
                    anything(server, draw)
            server.http_patience(10.0)
            kinds |= {row["kind"] for row in server.faults() if row["done"]}
            server.heal()
            server.conserved()
            assert server.done("GET", "account")["balances"]
        assert len(kinds & {*REQUEST_KINDS, *EVENT_KINDS}) > 10, kinds
        assert server.stop().kinds["fault"] > 30
