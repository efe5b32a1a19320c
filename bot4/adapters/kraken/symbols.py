"""The instruments of Kraken spot, from REST's AssetPairs and from the second websocket version's channel.

Kraken names one market in three ways: REST's key (XXBTZUSD), the first websocket's name (XBT/USD) and the second's
(BTC/USD). A pair without a websocket name, as dark pools had none, has no market data and is left out. Tick and lot are
written with as many digits as the venue's precision has, which is what the check sum of a book in the second version
needs to know.
"""

from decimal import Decimal
from typing import Any

import msgspec

from bot4.adapters.kraken.fields import WIDE, above, count, fail, named, number, read, text, text_above
from bot4.ports.feed import Instrument

RENAMED = {"XBT": "BTC", "XDG": "DOGE"}  # an asset's name in REST and websocket 1, and in websocket 2
_DECIMALS = 30  # more of them no pair may have


class _AssetPair(msgspec.Struct, gc=False):
    pair_decimals: int
    lot_decimals: int
    wsname: str | None = None
    tick_size: str | None = None
    ordermin: str | None = None
    costmin: str | None = None
    status: str = "online"  # earlier answers listed only what could be traded, and said no more


class _AssetPairs(msgspec.Struct):
    error: list[str]
    result: dict[str, _AssetPair] = {}


class _Pair(msgspec.Struct, gc=False):
    symbol: str
    base: str
    quote: str
    status: str
    price_precision: int
    qty_precision: int
    price_increment: Any
    qty_increment: Any
    qty_min: Any
    cost_min: Any = None


class _Pairs(msgspec.Struct):
    pairs: list[_Pair]


class _InstrumentMessage(msgspec.Struct):
    channel: str
    data: _Pairs


_ASSET_PAIRS = msgspec.json.Decoder(_AssetPairs)
_INSTRUMENT = msgspec.json.Decoder(_InstrumentMessage, float_hook=Decimal)


def fixed(value: Decimal, quantum: Decimal) -> Decimal:
    """The same value with the digits of `quantum`; unchanged where it has more of them."""
    if value.same_quantum(quantum):
        return value
    written = value.quantize(quantum, context=WIDE)
    return written if written == value else value


def _status(word: str) -> str:
    return "trading" if word == "online" else word.lower()


def second_name(pair: str) -> str:
    """A pair of websocket 1 as websocket 2 calls it: BTC/USD for XBT/USD."""
    return "/".join(RENAMED.get(asset, asset) for asset in pair.split("/"))


def parse_asset_pairs(body: bytes, renamed: bool) -> list[Instrument]:
    """The instruments of an AssetPairs answer, by the names of websocket 1; of websocket 2 if `renamed`."""
    answer = read(_ASSET_PAIRS, body, "AssetPairs")
    if answer.error:
        fail("bad_field", "AssetPairs.error", answer.error)
    found = []
    for key, pair in answer.result.items():
        if not pair.wsname:
            continue
        base, slash, quote = pair.wsname.partition("/")
        if not (base and slash and quote):
            fail("bad_field", f"{key}.wsname", pair.wsname)
        if renamed:
            base, _, quote = second_name(pair.wsname).partition("/")
        step = Decimal(1).scaleb(-count(pair.pair_decimals, f"{key}.pair_decimals", _DECIMALS))
        lot = Decimal(1).scaleb(-count(pair.lot_decimals, f"{key}.lot_decimals", _DECIMALS))
        found.append(
            Instrument(
                symbol=f"{base}/{quote}",
                base=base,
                quote=quote,
                kind="spot",
                status=_status(named(pair.status, f"{key}.status")),
                tick=step if pair.tick_size is None else fixed(text_above(pair.tick_size, f"{key}.tick_size"), step),
                lot=lot,
                min_qty=text_above(pair.ordermin, f"{key}.ordermin"),
                max_qty=None,
                min_notional=None if pair.costmin is None else text(pair.costmin, f"{key}.costmin"),
                contract_size=Decimal(1),
            )
        )
    return found


def parse_instrument_message(body: bytes) -> list[Instrument]:
    """The instruments of a message of websocket 2's channel `instrument`."""
    message = read(_INSTRUMENT, body, "instrument")
    if message.channel != "instrument":
        fail("unknown_type", "channel", message.channel)
    found = []
    for pair in message.data.pairs:
        name = named(pair.symbol, "instrument.symbol")
        step = Decimal(1).scaleb(-count(pair.price_precision, f"{name}.price_precision", _DECIMALS))
        lot = Decimal(1).scaleb(-count(pair.qty_precision, f"{name}.qty_precision", _DECIMALS))
        found.append(
            Instrument(
                symbol=name,
                base=named(pair.base, f"{name}.base"),
                quote=named(pair.quote, f"{name}.quote"),
                kind="spot",
                status=_status(named(pair.status, f"{name}.status")),
                tick=fixed(above(pair.price_increment, f"{name}.price_increment"), step),
                lot=fixed(above(pair.qty_increment, f"{name}.qty_increment"), lot),
                min_qty=above(pair.qty_min, f"{name}.qty_min"),
                max_qty=None,
                min_notional=None if pair.cost_min is None else number(pair.cost_min, f"{name}.cost_min"),
                contract_size=Decimal(1),
            )
        )
    return found
