"""A live feed on two venues, each a peer under a script of its own: real sockets, TLS."""

import random
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from decimal import Decimal

import numpy as np
from reference.kernels.scan import Listing
from rig.feed import instruments_of
from rig.peer import server
from websockets.frames import Frame, Opcode

from bot4.adapters.bybit.parse import BybitLinear
from bot4.adapters.bybit.streams import BybitLinearStreams
from bot4.adapters.kraken.parse import KrakenV2
from bot4.adapters.kraken.streams import KrakenStreams
from bot4.adapters.net.pool import StreamPool, Wanted
from bot4.adapters.net.rest import RestFetcher
from bot4.engine.live import LiveFeed
from bot4.model.enums import TICK_TRADE
from bot4.model.records import SESSION
from bot4.shm.layout import RING_HEAD, RING_TAIL
from bot4.shm.wires import private_wires

PATIENCE_S = 60.0
KRAKEN, BYBIT = 0, 1
LISTINGS = (
    Listing("BTC/USD", Decimal("0.1"), Decimal("0.00000001"), False),
    Listing("BTCUSDT", Decimal("0.10"), Decimal("0.001"), True),
)


def frame(payload, opcode=Opcode.TEXT, fin=True):
    return Frame(opcode, payload, fin).serialize(mask=False)


def trade(number):
    return frame(
        b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1786310818129,"data":[{"T":1786310818128,"s":"BTCUSDT",'
        b'"S":"Buy","v":"0.001","p":"60000.10","L":"PlusTick","i":"%d","BT":false,"RPI":false}]}' % number
    )


class TwoVenues:
    """A live feed on two peers, each under a script of its own, called with the peer after the handshake."""

    def __init__(self, stack, tls, scripts, raw=0):
        self.over = threading.Event()
        ports = [stack.enter_context(server(tls.server, self.script(script)))[0] for script in scripts]
        streams = [
            KrakenStreams(ws_url=f"wss://localhost:{ports[KRAKEN]}"),
            BybitLinearStreams(200, ws_url=f"wss://localhost:{ports[BYBIT]}"),
        ]
        symbols = [(listing.symbol, one.venue) for listing, one in zip(LISTINGS, streams, strict=True)]
        session = np.zeros(1, SESSION)
        session[0]["n_shards"], session[0]["n_instruments"] = 1, 2
        self.wires = private_wires(1, 2, record=raw, raw=raw)
        wanted = [Wanted(one, [symbol]) for one, (symbol, _) in zip(streams, symbols, strict=True)]
        self.pool = StreamPool(wanted, 60.0, random.Random(1), time.monotonic_ns, ca_file=tls.ca_file)
        self.feed = LiveFeed(
            self.wires, instruments_of(LISTINGS), session, symbols, {one.venue: one for one in streams},
            {"kraken": KrakenV2(), "bybit_linear": BybitLinear()}, self.pool,
            RestFetcher(streams, time.monotonic_ns, ca_file=tls.ca_file), np.full(2, 10**11, np.int64),
        )  # fmt: skip
        self.feed.warm()
        if raw:
            self.wires.raw[RING_TAIL] = self.wires.raw[RING_HEAD]  # what was recorded of that
        stack.callback(self.feed.close)
        stack.callback(self.over.set)

    def script(self, own):
        """What a peer does: its script, then nothing until the test ends."""

        def run(peer):
            peer.shake_hands()
            with suppress(OSError):
                own(peer, self.over)
            self.over.wait(PATIENCE_S)

        return run

    def turn(self):
        """One turn; messages that each connection's venue has brought in it."""
        before = self.taken()
        self.feed.do_work()
        for ring in (*self.wires.ticks, self.wires.market, self.wires.quotes):
            ring[RING_TAIL] = ring[RING_HEAD]
        return [max(0, now - was) for now, was in zip(self.taken(), before, strict=True)]

    def taken(self):
        """Messages by venue, in the order of LISTINGS; of a connection that is opened anew from 0."""
        rows, venues = self.feed.memory.connections, self.feed._venues
        places = {venue: index for index, venue in enumerate(venues)}
        return [
            int(sum(rows[slot]["messages"] for slot, one in self.feed._connections.items() if one.venue == venue))
            for venue in ("kraken", "bybit_linear") if venue in places
        ]  # fmt: skip

    def trades(self):
        """Of the venue that does not flood."""
        return int(self.wires.messages[BYBIT, TICK_TRADE])

    def until(self, done):
        """Turn until it is so; the turns."""
        turns, begun = [], time.monotonic()
        while not done():
            turns.append(self.turn())
            assert time.monotonic() - begun < PATIENCE_S, (self.feed.counts, self.trades(), turns[-5:])
        return turns


@contextmanager
def two_venues(tls, *scripts, **options):
    with ExitStack() as stack:
        yield TwoVenues(stack, tls, scripts, **options)
