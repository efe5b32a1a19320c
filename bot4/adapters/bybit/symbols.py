"""Bybit's instruments: /v5/market/instruments-info of spot, linear and inverse contracts.

A lot is `basePrecision` on spot and `qtyStep` on contracts; an inverse contract is 1 unit of the quote currency. A
response is one page of the list: its `nextPageCursor` says whether there is another, which the reader has to ask for.
"""

from decimal import Decimal

import msgspec
from msgspec import field

from bot4.adapters.bybit.value import accepted_at, parsed
from bot4.ports.feed import Instrument, MessageError
from bot4.ports.feed_values import not_negative, positive

SUFFIX = "/instruments-info"
ONE = Decimal(1)


class _Price(msgspec.Struct):
    tick: str = field(name="tickSize")


class _Lot(msgspec.Struct):
    """Sizes of an order; spot and contracts name them differently."""

    min_qty: str = field(name="minOrderQty")
    max_qty: str = field(name="maxOrderQty", default="")
    max_limit_qty: str = field(name="maxLimitOrderQty", default="")  # the newer name, of limit orders alone
    step: str = field(name="qtyStep", default="")
    precision: str = field(name="basePrecision", default="")
    min_notional: str = field(name="minNotionalValue", default="")
    min_amount: str = field(name="minOrderAmt", default="")


class _Entry(msgspec.Struct):
    symbol: str
    status: str
    base: str = field(name="baseCoin")
    quote: str = field(name="quoteCoin")
    price: _Price = field(name="priceFilter")
    lot: _Lot = field(name="lotSizeFilter")
    contract: str = field(name="contractType", default="")


class _Result(msgspec.Struct):
    list: list[_Entry]
    category: str = ""


class _Response(msgspec.Struct):
    result: _Result


_response = msgspec.json.Decoder(_Response)


def instruments_of(categories: tuple[str, ...], body: bytes) -> list[Instrument]:
    """The instruments of a response.

    Parameters
    ----------
    categories : spot, linear, inverse: those that the decoder's market has
    body : the response

    Raises
    ------
    MessageError : the request was refused, the list is of another category, or an entry cannot be used
    """
    accepted_at(body)
    result = parsed(_response, body).result
    if result.category and result.category not in categories:
        raise MessageError("bad_field", f"result.category: {result.category[:20]!r} is not {' or '.join(categories)}")
    return [
        _instrument(entry, result.category, categories, f"result.list[{row}].") for row, entry in enumerate(result.list)
    ]


def _instrument(entry: _Entry, category: str, categories: tuple[str, ...], where: str) -> Instrument:
    kind = _kind(entry.contract, where)
    if kind not in categories or category not in ("", kind):
        raise MessageError(
            "bad_field", f"{where}contractType: {entry.contract[:40]!r} is not {category or categories[0]}"
        )
    for name, text in (
        ("symbol", entry.symbol),
        ("baseCoin", entry.base),
        ("quoteCoin", entry.quote),
        ("status", entry.status),
    ):
        if not text:
            raise MessageError("bad_field", f"{where}{name}: empty")
    lot, where_lot = entry.lot, where + "lotSizeFilter."
    step = ("basePrecision", lot.precision) if kind == "spot" else ("qtyStep", lot.step)
    largest = ("maxLimitOrderQty", lot.max_limit_qty) if lot.max_limit_qty else ("maxOrderQty", lot.max_qty)
    least = ("minOrderAmt", lot.min_amount) if kind == "spot" else ("minNotionalValue", lot.min_notional)
    return Instrument(
        entry.symbol,
        entry.base,
        entry.quote,
        kind,
        entry.status.lower(),
        positive(entry.price.tick, where + "priceFilter.tickSize"),
        positive(step[1], where_lot + step[0]),
        not_negative(lot.min_qty, where_lot + "minOrderQty"),
        positive(largest[1], where_lot + largest[0]) if largest[1] else None,
        not_negative(least[1], where_lot + least[0]) if least[1] else None,
        ONE,
    )


def _kind(contract: str, where: str) -> str:
    """Spot entries have no contract type; contracts name theirs, such as LinearPerpetual or InverseFutures."""
    for begin, kind in (("Linear", "linear"), ("Inverse", "inverse")):
        if contract.startswith(begin):
            return kind
    if contract:
        raise MessageError("bad_field", f"{where}contractType: {contract[:40]!r} is not known")
    return "spot"
