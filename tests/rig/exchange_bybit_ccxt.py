"""ccxt's Bybit and its ccxt.pro as they are, with their addresses pointed at the loopback exchange."""

from typing import Any

import ccxt
import ccxt.pro
from rig.exchange_ccxt import point

OPTIONS = {"fetchMarkets": {"types": ["spot", "linear"]}}


def client(kind: type, ready: dict, **more: Any) -> Any:
    """A Bybit client for the account of a ready file."""
    made = kind({"apiKey": ready["api_key"], "secret": ready["api_secret"], "options": OPTIONS, **more})
    point(made.urls["api"], ready["rest"], ready["ws"])
    return made


def rest_client(ready: dict, **more: Any) -> ccxt.bybit:
    """The one that asks."""
    return client(ccxt.bybit, ready, **more)


def stream_client(ready: dict, **more: Any) -> ccxt.pro.bybit:
    """The one that listens; to be closed."""
    return client(ccxt.pro.bybit, ready, **more)
