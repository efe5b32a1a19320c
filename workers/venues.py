"""The venues that can be heard: which streams and which decoder belong to each name of the settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from bot4.adapters.binance.parse import BinanceSpot, BinanceUsdm
from bot4.adapters.binance.streams import BinanceSpotStreams, BinanceUsdmStreams
from bot4.adapters.bybit.parse import BybitLinear, BybitSpot
from bot4.adapters.bybit.streams import BybitLinearStreams, BybitSpotStreams
from bot4.adapters.coinbase.parse import CoinbaseAdvanced
from bot4.adapters.coinbase.streams import CoinbaseStreams
from bot4.adapters.kraken.parse import KrakenV2
from bot4.adapters.kraken.streams import KrakenStreams
from bot4.adapters.net.pool import Wanted
from bot4.ports.stream import VenueStreams
from bot4.settings.schema import Gateway

SYMBOLS = 8  # of one connection, or fewer: what one of them loses the others keep

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


def streams_of(gateways: Mapping[str, Gateway]) -> dict[str, VenueStreams]:
    """What the streams of each venue need, at the addresses of the settings."""
    made = {}
    for venue, gateway in gateways.items():
        addresses = {"ws_url": gateway.ws_url, "rest_url": gateway.rest_url}
        made[venue] = STREAMS[venue](**{name: url for name, url in addresses.items() if url is not None})
    return made


def wanted_of(streams: Mapping[str, VenueStreams], symbols: Sequence[tuple[str, str]]) -> list[Wanted]:
    """The connections that a feed of these instruments wants."""
    wanted = []
    for venue, of_venue in streams.items():
        own = [symbol for symbol, of in symbols if of == venue]
        if own:
            wanted.append(Wanted(of_venue, own, -(-len(own) // SYMBOLS)))
    return wanted
