"""The venues that can be heard: which streams and which decoder belong to each name of the settings."""

from collections.abc import Mapping
from typing import Any

from bot4.adapters.binance.parse import BinanceSpot, BinanceUsdm
from bot4.adapters.binance.streams import BinanceSpotStreams, BinanceUsdmStreams
from bot4.adapters.bybit.parse import BybitLinear, BybitSpot
from bot4.adapters.bybit.streams import BybitLinearStreams, BybitSpotStreams
from bot4.adapters.coinbase.parse import CoinbaseAdvanced
from bot4.adapters.coinbase.streams import CoinbaseStreams
from bot4.adapters.kraken.parse import KrakenV2
from bot4.adapters.kraken.streams import KrakenStreams
from bot4.ports.stream import VenueStreams
from bot4.settings.schema import Gateway

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
