"""Which venue a recorded message comes from, told by the message itself: for captures that do not say it.

A message may leave open which of a venue's markets it is of (a bar of Binance, a change of Bybit's book): the ones
beside it tell, and where none does, such a message reads the same in both.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

_INVERSE = re.compile(r"[A-Z0-9]+USD_(PERP|[0-9]{6})")  # BTCUSD_PERP, BTCUSD_241227
_FUTURES_ALONE = (
    "markPriceUpdate", "forceOrder", "continuous_kline", "markPrice_kline", "indexPrice_kline", "indexPriceUpdate",
    "compositeIndex", "assetIndexUpdate", "contractInfo",
)  # fmt: skip
_LINEAR_ALONE = ("liquidation", "allLiquidation", "insurance", "adlAlert")
_LINEAR_TICKER = {
    "markPrice", "indexPrice", "bid1Price", "bid1Size", "ask1Price", "ask1Size", "fundingRate", "nextFundingTime",
    "openInterest", "openInterestValue", "tickDirection",
}  # fmt: skip
_OPEN = {"binance": "binance_spot", "bybit": "bybit_linear"}  # venue of which the market is not told -> read as


def origin_of(bodies: Iterable[bytes]) -> tuple[str, str]:
    """Venue and first symbol of messages of one connection; reads until both are told. "": not told."""
    venue = symbol = ""
    for body in bodies:
        found, name = told_by(body)
        if found and (not venue or venue in _OPEN):
            venue = found
        symbol = symbol or name
        if symbol and venue and venue not in _OPEN:
            break
    return _OPEN.get(venue, venue), symbol


def told_by(body: bytes) -> tuple[str, str]:
    """What one message tells: (venue, symbol), either "" where it does not; `binance` and `bybit`: of any market."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    if isinstance(message, list):
        return _of_list(message)
    if not isinstance(message, dict):
        return "", ""
    if "topic" in message:
        return _bybit(str(message["topic"]), message.get("data"))
    if "channel" in message:
        return _of_channel(message)
    if "method" in message and "time_in" in message:
        return "kraken_v2", ""
    if "event" in message and message.keys() & {"connectionID", "channelID", "channelName", "pair"}:
        return "kraken_v1", ""
    return _binance(message)


def _first(data: Any) -> Mapping[str, Any]:
    """The first entry of a list of them; what is neither has no fields."""
    entry = data[0] if isinstance(data, list) and data else data
    return entry if isinstance(entry, dict) else {}


def _of_list(message: list[Any]) -> tuple[str, str]:
    """Kraken's first version, or a list of Binance's events."""
    if len(message) >= 4 and isinstance(message[-1], str) and isinstance(message[-2], str):
        return "kraken_v1", message[-1]
    return _binance(_first(message))


def _of_channel(message: Mapping[str, Any]) -> tuple[str, str]:
    """Coinbase numbers its messages, Kraken says of each whether it is a snapshot."""
    if "sequence_num" in message:
        event = _first(message.get("events"))
        rows = (_first(event.get(name)) for name in ("trades", "tickers", "candles"))
        names = [str(row.get("product_id", "")) for row in (event, *rows)]
        return "coinbase", next(filter(None, names), "")
    if message.keys() == {"channel"} or message.get("type") in ("snapshot", "update"):
        return "kraken_v2", str(_first(message.get("data")).get("symbol", ""))
    return "", ""


def _bybit(topic: str, data: Any) -> tuple[str, str]:
    kind, _, symbol = topic.partition(".")
    symbol, row = symbol.rpartition(".")[2], _first(data)
    linear = kind in _LINEAR_ALONE or bool(
        {"tickers": row.keys() & _LINEAR_TICKER, "publicTrade": row.keys() & {"L"}}.get(kind)
    )
    spot = (kind == "tickers" and "usdIndexPrice" in row) or (kind == "publicTrade" and "S" in row and "L" not in row)
    return "bybit_linear" if linear else "bybit_spot" if spot else "bybit", symbol


def _binance(message: Mapping[str, Any]) -> tuple[str, str]:
    """In the envelope of a combined stream or bare."""
    stream = message.get("stream")
    data = _first(message.get("data")) if isinstance(stream, str) else message
    event = data.get("e")
    if not isinstance(stream, str) and not isinstance(event, str) and not data.keys() >= {"s", "b", "B", "a", "A"}:
        return "", ""
    name, _, word = (stream or "").partition("@")
    symbol = str(data.get("s") or ("" if name.startswith("!") else name.upper()))
    if _INVERSE.fullmatch(symbol):
        return "binance_coinm", symbol
    if event == "depthUpdate":
        futures = "pu" in data  # a partial book's too, which spot sends as `lastUpdateId`
    elif event == "aggTrade" or (event == "trade" and data.keys() & {"M", "X"}):
        futures = "M" not in data
    elif "ps" in data or event in _FUTURES_ALONE:  # the pair of a contract
        futures = True
    elif {"b", "B", "a", "A"} <= data.keys():  # a quote of spot names no event; a ticker of futures has no quote
        futures = event == "bookTicker"
    elif word.startswith("depth") and "lastUpdateId" in data:
        futures = False
    else:
        return "binance", symbol
    return "binance_usdm" if futures else "binance_spot", symbol
