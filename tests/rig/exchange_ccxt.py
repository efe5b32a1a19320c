"""ccxt and ccxt.pro as they are, with their addresses pointed at the loopback exchange."""

from typing import Any

import ccxt
import ccxt.pro

OPTIONS = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}


def point(node: dict[str, Any], rest: str, ws: str) -> None:
    """Every address of a client leads to loopback; paths stay."""
    for name, value in node.items():
        if isinstance(value, dict):
            point(value, rest, ws)
        elif isinstance(value, str) and "://" in value:
            scheme, _, address = value.partition("://")
            path = address.partition("/")[2]
            base = ws if scheme.startswith("ws") else rest
            node[name] = f"{base}/{path}" if path else base


def client(kind: type, ready: dict, **more: Any) -> Any:
    """A Binance client of ccxt or ccxt.pro for the account of a ready file."""
    made = kind({"apiKey": ready["api_key"], "secret": ready["api_secret"], "options": OPTIONS, **more})
    point(made.urls["api"], ready["rest"], ready["ws"])
    return made


def rest_client(ready: dict, **more: Any) -> ccxt.binance:
    """The one that asks."""
    return client(ccxt.binance, ready, **more)


def stream_client(ready: dict, **more: Any) -> ccxt.pro.binance:
    """The one that listens; to be closed."""
    return client(ccxt.pro.binance, ready, **more)
