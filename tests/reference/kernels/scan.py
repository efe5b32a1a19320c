"""Slow twin of bot4/kernels/scan: the standard library's json and Decimal, one message at a time.

Where the scanner is narrower than JSON on purpose, `is_narrow` says so: there it may refuse what this twin accepts.
"""

import json
import re
from decimal import Decimal
from typing import Any, NamedTuple

MAX_LEVELS = 6_000
MAX_TICKS, MAX_QUANTITY = 2**40 - 1, 10**18 - 1
KINDS = {"bookTicker": "quote", "trade": "trade", "depth": "depth", "markPrice": "mark"}
EVENTS = {"bookTicker": "quote", "trade": "trade", "depthUpdate": "depth", "markPriceUpdate": "mark"}
PRICES = {"quote": ("b", "a"), "trade": ("p",)}
LOTS = {"quote": ("B", "A"), "trade": ("q",)}
INTEGERS = {"quote": ("u",), "trade": ("t",), "depth": ("U", "u", "pu"), "mark": ()}
NEEDED = {
    "quote": {"s", "u", "b", "B", "a", "A"},
    "trade": {"s", "t", "p", "q", "m"},
    "depth": {"s", "U", "u", "b", "a"},
    "mark": {"s", "p"},
}


class Listing(NamedTuple):
    """An instrument as the twin sees it."""

    symbol: str
    tick: Decimal
    lot: Decimal
    futures: bool
    step: Decimal = Decimal(0)  # the venue's own of quantities, where that is finer than the lot

    @property
    def decimals(self) -> tuple[int, int]:
        """Decimals of tick and lot."""
        return tuple(max(0, -int(size.normalize().as_tuple().exponent)) for size in (self.tick, self.lot))


class Number(str):
    """A JSON number as it was written."""


class RefMessage(NamedTuple):
    """What a message says: kind "" if that cannot be told, reason "" if it is good."""

    kind: str
    reason: str
    values: dict[str, Any]


class MalformedError(Exception):
    """Not what this kind of message looks like."""


def _constant(name: str) -> None:
    raise ValueError(name)


def _load(text: bytes) -> Any:
    return json.loads(
        text.decode("utf-8"),
        object_pairs_hook=lambda pairs: ("object", pairs),
        parse_float=Number,
        parse_int=Number,
        parse_constant=_constant,
    )


def ref_decimal(text: str, unit: Decimal, decimals: int, off: str, limit: int) -> tuple[int, str]:
    """(units, "") or (0, reason); `off` "" cuts what is finer than a unit, never down to nothing."""
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]{1,40})?", text):
        return 0, "bad_number"
    if text.startswith("-"):
        return 0, "negative"
    if len(text.split(".", maxsplit=1)[0]) + decimals > 18:
        return 0, "overflow"
    units = Decimal(text) / unit
    whole = int(units)
    if whole > limit:
        return 0, "overflow"
    if units != whole:
        return (0, off) if off else (max(whole, 1), "")
    return whole, ""


def _integer(value: Any) -> tuple[int, str]:
    if not isinstance(value, Number):
        raise MalformedError
    if not re.fullmatch(r"-?[0-9]+", value):
        return 0, "bad_number"
    if value.startswith("-"):
        return 0, "negative"
    return (0, "overflow") if len(value) > 18 else (int(value), "")


def _text(value: Any) -> str:
    if not isinstance(value, str) or isinstance(value, Number):
        raise MalformedError
    return value


def _levels(value: Any, listing: Listing) -> tuple[list[tuple[int, int]], str]:
    if not isinstance(value, list):
        raise MalformedError
    levels, reason = [], ""
    price_decimals, qty_decimals = listing.decimals
    for place, pair in enumerate(value):
        if not isinstance(pair, list) or len(pair) != 2:
            raise MalformedError
        price, bad_price = ref_decimal(_text(pair[0]), listing.tick, price_decimals, "off_tick", MAX_TICKS)
        lots, bad_lots = ref_decimal(_text(pair[1]), listing.lot, qty_decimals, "", MAX_QUANTITY)
        if not bad_price and price == 0:
            bad_price = "zero"
        many = "too_many_levels" if place >= MAX_LEVELS else ""
        reason = reason or bad_price or bad_lots or many
        levels.append((price, lots))
    return levels, reason


def _rate(text: str) -> tuple[int, str]:
    if text == "":
        return 0, ""
    negative = text.startswith("-")
    value, bad = ref_decimal(text[negative:], Decimal("1e-8"), 8, "bad_number", 10**18)
    return (0, "bad_number") if bad else (-value if negative else value, "")


def _field(kind: str, key: str, value: Any, listing: Listing) -> tuple[Any, str]:
    """(value, reason) of one key that matters."""
    price_decimals, qty_decimals = listing.decimals
    if key in INTEGERS[kind] or key in ("E", "T"):
        return _integer(value)
    if kind == "depth":
        return _levels(value, listing)
    if key == "m":
        if not isinstance(value, bool):
            raise MalformedError
        return value, ""
    text = _text(value)
    if key == "X":
        return text, ""
    if key == "r":
        return _rate(text)
    if kind == "mark":
        number, bad = ref_decimal(text, Decimal("1e-8"), 8, "bad_number", 10**18)
    elif key in PRICES[kind]:
        number, bad = ref_decimal(text, listing.tick, price_decimals, "off_tick", MAX_TICKS)
    else:
        number, bad = ref_decimal(text, listing.lot, qty_decimals, "off_lot", MAX_QUANTITY)
    if not bad and number == 0 and key != "i":
        bad = "zero"
    return number, bad


def _known(kind: str) -> set[str]:
    keys = set(NEEDED[kind]) | {"E", "T"}
    return keys | {"quote": set(), "trade": {"X"}, "depth": {"pu"}, "mark": {"i", "r"}}[kind]


def ref_message(text: bytes, listing: Listing) -> RefMessage:
    """Kind, reason and values of one message."""
    try:
        message = _load(text)
    except (ValueError, RecursionError):
        return RefMessage("", "unparsable", {})
    if not isinstance(message, tuple):
        return RefMessage("", "unparsable", {})
    outer = dict(message[1])
    if _is_bare(text, listing):
        kind = EVENTS.get(outer["e"], "") if text.lstrip().startswith(b'{"e"') else "quote"
        return _data(kind, message[1], listing, listing.symbol) if kind else RefMessage("", "unknown_stream", {})
    if "stream" not in outer:
        return _snapshot(message[1], listing) if "lastUpdateId" in outer else RefMessage("", "unknown_stream", {})
    name = outer["stream"]
    if not isinstance(name, str) or isinstance(name, Number):
        return RefMessage("", "unparsable", {})
    symbol, _, rest = name.partition("@")
    kind = KINDS.get(rest.split("@")[0], "")
    if not kind:
        return RefMessage("", "unknown_stream", {})
    data = outer.get("data")
    if not isinstance(data, tuple):
        return RefMessage(kind, "unparsable", {})
    return _data(kind, data[1], listing, symbol.upper() if symbol == symbol.lower() else "")


def _is_bare(text: bytes, listing: Listing) -> bool:
    """Whether a message is the data of a stream without its envelope, by its first key."""
    text = text.lstrip()
    return text.startswith(b'{"e":"') or (text.startswith(b'{"u":') and not listing.futures)


def _data(kind: str, pairs: list[tuple[str, Any]], listing: Listing, symbol: str) -> RefMessage:
    """The data of a stream of that symbol."""
    needed = NEEDED[kind] | ({"pu"} if kind == "depth" and listing.futures else set())
    values: dict[str, Any] = {}
    reason = ""
    try:
        for key, value in pairs:
            if key == "s":
                values["s"] = _text(value)
            elif key in _known(kind):
                values[key], bad = _field(kind, key, value, listing)
                reason = reason or bad
    except MalformedError:
        return RefMessage(kind, "unparsable", {})
    if not needed <= values.keys():
        return RefMessage(kind, "unparsable", {})
    if values["s"] != listing.symbol or symbol != listing.symbol:
        return RefMessage(kind, "wrong_symbol", {})
    if reason == "zero" and values.get("X", "MARKET") != "MARKET":
        reason = ""
    return RefMessage(kind, reason, values)


def _snapshot(pairs: list[tuple[str, Any]], listing: Listing) -> RefMessage:
    values: dict[str, Any] = {"snapshot": True}
    reason = ""
    try:
        for key, value in pairs:
            if key in ("lastUpdateId", "E"):
                number, bad = _integer(value)
                values["u" if key == "lastUpdateId" else "E"] = number
            elif key in ("bids", "asks"):
                values[key[0]], bad = _levels(value, listing)
            else:
                continue
            reason = reason or bad
    except MalformedError:
        return RefMessage("depth", "unparsable", {})
    if not {"u", "b", "a"} <= values.keys():
        return RefMessage("depth", "unparsable", {})
    return RefMessage("depth", reason, values)


def is_narrow(text: bytes) -> bool:
    """Whether the scanner may refuse this although json takes it."""
    if b"\\" in text or any(byte > 126 for byte in text):
        return True
    try:
        message = _load(text)
    except (ValueError, RecursionError):
        return False
    if not isinstance(message, tuple):
        return False
    pairs = message[1]
    keys = [key for key, _ in pairs]
    inner = dict(pairs).get("data")
    data = inner[1] if isinstance(inner, tuple) else []
    for names in (keys, [key for key, _ in data]):
        if len(set(names)) != len(names):
            return True
    if "data" in keys and ("stream" not in keys or keys.index("data") < keys.index("stream")):
        return True
    if "stream" in keys and {"lastUpdateId", "bids", "asks"} & set(keys):
        return True
    held = {"data", "bids", "asks"} | ({"b", "a"} if text.lstrip().startswith(b'{"e":"') else set())
    loose = [value for key, value in pairs if key not in held]
    loose += [value for key, value in data if key not in ("b", "a")]
    return any(isinstance(value, list | tuple) for value in loose)
