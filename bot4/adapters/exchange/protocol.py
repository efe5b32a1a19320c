"""The protocols that the exchange speaks: endpoints with signing and words of refusal, streams, and websockets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from websockets.server import ServerProtocol

from bot4.adapters.exchange.bybit.gateway import BybitGateway
from bot4.adapters.exchange.bybit.socket import bybit_socket
from bot4.adapters.exchange.bybit.stream import BybitStreams
from bot4.adapters.exchange.bybit.symbol import bybit_symbols
from bot4.adapters.exchange.bybit.words import BybitWords
from bot4.adapters.exchange.connection import Connection, Socket, binance_socket
from bot4.adapters.exchange.front import Front
from bot4.adapters.exchange.gateway import Gateway
from bot4.adapters.exchange.key import Key
from bot4.adapters.exchange.scenario import Scenario
from bot4.adapters.exchange.stream import Streams
from bot4.adapters.exchange.symbol import Symbol, default_symbols
from bot4.adapters.exchange.venue import Venue
from bot4.adapters.exchange.words import BinanceWords, Words

if TYPE_CHECKING:
    from bot4.adapters.exchange.server import Server


class Feed(Protocol):
    """The market streams of a venue."""

    tick_ms: int

    def tick(self, number: int) -> None:
        """Once every `tick_ms`: what is due goes out; `number` counts the ticks."""


@dataclass(frozen=True, slots=True)
class VenueProtocol:
    """Everything in which one venue is not like another."""

    symbols: Callable[[], list[Symbol]]
    words: Callable[[Venue], Words]
    gateway: Callable[[Venue, list[Key], Scenario], Front]
    streams: Callable[[Front], Feed]
    socket: Callable[["Server", Connection, ServerProtocol, str, str], Socket | None]  # None: no such path
    addresses: dict[str, str]  # of the ready file, by name: paths below the websocket address
    fees_ppm: tuple[int, int]  # that the venue takes of a new account, for making and for taking


def _bybit_streams(gateway: Front) -> Feed:
    assert isinstance(gateway, BybitGateway)
    return BybitStreams(gateway)


BINANCE = VenueProtocol(
    default_symbols,
    lambda venue: BinanceWords(),
    Gateway,
    lambda gateway: Streams(gateway.venue),
    binance_socket,
    {"ws_api": "/ws-api/v3"},
    (1_000, 1_000),
)
BYBIT = VenueProtocol(
    bybit_symbols,
    BybitWords,
    BybitGateway,
    _bybit_streams,
    bybit_socket,
    {"ws_public": "/v5/public", "ws_private": "/v5/private", "ws_trade": "/v5/trade"},
    (200, 550),
)
PROTOCOLS = {"binance": BINANCE, "bybit": BYBIT}
