"""What an endpoint is, for REST and the websocket API alike."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bot4.adapters.exchange import parameter
from bot4.adapters.exchange.parameter import Parser
from bot4.adapters.exchange.venue import Account, Venue

PUBLIC = 0
WITH_KEY = 1  # a key, no signature
SIGNED = 2
SIGNING: dict[str, Parser] = {"timestamp": parameter.whole, "recvWindow": parameter.whole}


@dataclass(slots=True)
class Call:
    """One request, read: typed values, and on whose behalf."""

    values: dict[str, Any]
    account: Account | None
    now_ms: int

    @property
    def owner(self) -> Account:
        """The account of a signed request."""
        assert self.account is not None, "the endpoint asks for no key"
        return self.account


Handler = Callable[[Venue, Call], Any]
Weight = int | Callable[[dict[str, Any]], int]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a request is read, weighed and answered."""

    handler: Handler
    weight: Weight
    security: int = PUBLIC
    parameters: dict[str, Parser] = field(default_factory=dict)
    required: tuple[str, ...] = ()

    def weigh(self, values: dict[str, Any]) -> int:
        """The request's weight."""
        return self.weight if isinstance(self.weight, int) else self.weight(values)


def endpoint(
    handler: Handler,
    weight: Weight,
    security: int = PUBLIC,
    required: tuple[str, ...] = (),
    **parameters: Any,  # each a Parser
) -> Endpoint:
    """An endpoint; a signed one takes timestamp and recvWindow too."""
    if security == SIGNED:
        parameters = parameters | SIGNING
    return Endpoint(handler, weight, security, parameters, required)
