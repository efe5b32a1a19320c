"""Wires the feed of a live session: each venue's streams and decoder, the pool of connections, REST."""

import random
import time
from pathlib import Path
from typing import Any

from bot4.adapters.binance.parse import BinanceSpot, BinanceUsdm
from bot4.adapters.binance.streams import BinanceSpotStreams, BinanceUsdmStreams
from bot4.adapters.bybit.parse import BybitLinear, BybitSpot
from bot4.adapters.bybit.streams import BybitLinearStreams, BybitSpotStreams
from bot4.adapters.coinbase.parse import CoinbaseAdvanced
from bot4.adapters.coinbase.streams import CoinbaseStreams
from bot4.adapters.kraken.parse import KrakenV2
from bot4.adapters.kraken.streams import KrakenStreams
from bot4.adapters.net.pool import StreamPool, Wanted
from bot4.adapters.net.rest import RestFetcher
from bot4.engine.live import LiveFeed
from bot4.ports.stream import Event, Request, VenueStreams
from bot4.settings.schema import Gateway
from bot4.shm.wires import Wires, private_wires
from workers.plan import Plan

STREAMS: dict[str, Any] = {
    "binance_spot": BinanceSpotStreams,
    "binance_usdm": BinanceUsdmStreams,
    "bybit_spot": BybitSpotStreams,
    "bybit_linear": BybitLinearStreams,
    "kraken": KrakenStreams,
    "coinbase": CoinbaseStreams,
}
DECODERS: dict[str, Any] = {
    "binance_spot": BinanceSpot,
    "binance_usdm": BinanceUsdm,
    "bybit_spot": BybitSpot,
    "bybit_linear": BybitLinear,
    "kraken": KrakenV2,
    "coinbase": CoinbaseAdvanced,
}

SILENCE_S = 10.0  # of a whole connection; what a book may keep silent is a limit of the settings


def streams_of(gateways: dict[str, Gateway]) -> dict[str, VenueStreams]:
    """What the streams of each venue need, at the addresses of the settings."""
    made = {}
    for venue, gateway in gateways.items():
        addresses = {"ws_url": gateway.ws_url, "rest_url": gateway.rest_url}
        made[venue] = STREAMS[venue](**{name: url for name, url in addresses.items() if url is not None})
    return made


def live_feed(plan: Plan, wires: Wires, attempt: int) -> LiveFeed:
    """The feed of a live session, its connections on their way."""
    streams = streams_of(plan.gateways)
    wanted = [Wanted(streams[venue], [symbol for symbol, of in plan.symbols if of == venue]) for venue in streams]
    ca_file = next((Path(gateway.ca_file) for gateway in plan.gateways.values() if gateway.ca_file), None)
    return LiveFeed(
        wires,
        plan.instruments,
        plan.session,
        plan.symbols,
        streams,
        {venue: DECODERS[venue]() for venue in streams},
        StreamPool(wanted, SILENCE_S, random.Random(), time.monotonic_ns, ca_file=ca_file),
        RestFetcher(list(streams.values()), time.monotonic_ns, ca_file=ca_file),
        plan.silence_ns,
        restarted=attempt > 0,
    )


class _NoConnection:
    """A pool and a fetcher of a feed that only wants to be compiled: it has nothing to connect to."""

    def turn(self, timeout_s: float) -> list[Event]:
        """Nothing happens."""
        return []

    def ask(self, key: tuple[str, str], venue: str, request: Request) -> None:
        """Nothing is stale that has no connection."""

    def done(self) -> list[tuple[tuple[str, str], bytes, str]]:
        """Nothing was asked."""
        return []

    def close(self) -> None:
        """Nothing is open."""


def warm_live(plan: Plan) -> None:
    """Compile or load the kernels of the live feed."""
    wires = private_wires(plan.n_shards, plan.n_instruments)
    nothing: Any = _NoConnection()
    feed = LiveFeed(
        wires, plan.instruments, plan.session, plan.symbols, streams_of(plan.gateways), {}, nothing, nothing,
        plan.silence_ns, restarted=True,
    )  # fmt: skip
    feed.warm()
