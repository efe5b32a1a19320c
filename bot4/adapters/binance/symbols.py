"""The instruments of Binance's `exchangeInfo`: tick, lot and limits as the venue's own filters state them.

Read once at the start of a session, so that settings and recordings are compared with what the venue says. A filter
that an instrument has to have and has not is an error: an order made without it would be refused anyway.
"""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from bot4.adapters.binance.checks import NOT_JSON, Id, Name, refusal
from bot4.ports.feed import Instrument, MessageError
from bot4.ports.feed_values import not_negative, positive

SELF_TRADE = "EXPIRE_MAKER"  # of own orders that meet, the one that rests gives way: what each order asks for


class _Filter(msgspec.Struct, gc=False, rename="camel"):
    filter_type: str
    tick_size: str | None = None
    step_size: str | None = None
    min_qty: str | None = None
    max_qty: str | None = None
    min_notional: str | None = None
    notional: str | None = None  # the futures' name for it


class _Symbol(msgspec.Struct, gc=False, rename="camel"):
    symbol: Name
    base_asset: Name
    quote_asset: Name
    filters: list[_Filter]
    status: Name | None = None
    contract_status: Name | None = None  # COIN-M's name for it
    contract_size: Id = 1
    allowed_self_trade_prevention_modes: list[str] = []  # of spot; futures have them all


class _ExchangeInfo(msgspec.Struct, gc=False):
    symbols: list[_Symbol]


_exchange_info = msgspec.json.Decoder(_ExchangeInfo).decode


def decode_instruments(body: bytes, kind: str) -> list[Instrument]:
    """Every instrument of an exchangeInfo response, in its order.

    Parameters
    ----------
    body : the response
    kind : spot, linear, inverse: of the market that answered; one response never mixes them
    """
    try:
        info = _exchange_info(body)
    except NOT_JSON as error:
        raise refusal(body, error) from None
    return [_instrument(entry, kind, f"symbols[{at}]") for at, entry in enumerate(info.symbols)]


def _instrument(entry: _Symbol, kind: str, where: str) -> Instrument:
    status = entry.status or entry.contract_status
    if status is None:
        raise MessageError("bad_field", f"{where}.status: missing ({entry.symbol})")
    if not entry.contract_size:
        raise MessageError("zero", f"{where}.contractSize: 0 ({entry.symbol})")
    filters = {found.filter_type: found for found in entry.filters}
    price, lot = (_needed(filters, name, entry.symbol, where) for name in ("PRICE_FILTER", "LOT_SIZE"))
    max_qty = _number(lot.max_qty, f"{where}.maxQty", entry.symbol, zero=True)
    return Instrument(
        symbol=entry.symbol,
        base=entry.base_asset,
        quote=entry.quote_asset,
        kind=kind,
        status=status.lower(),
        tick=_number(price.tick_size, f"{where}.tickSize", entry.symbol),
        lot=_number(lot.step_size, f"{where}.stepSize", entry.symbol),
        min_qty=_number(lot.min_qty, f"{where}.minQty", entry.symbol, zero=True),
        max_qty=max_qty or None,  # the venue's 0 switches a limit off
        min_notional=_min_notional(filters, entry.symbol, where),
        contract_size=Decimal(entry.contract_size),
        keeps_apart=kind != "spot" or SELF_TRADE in entry.allowed_self_trade_prevention_modes,
    )


def _needed(filters: Mapping[str, _Filter], name: str, symbol: str, where: str) -> _Filter:
    found = filters.get(name)
    if found is None:
        raise MessageError("bad_field", f"{where}.filters: no {name} ({symbol})")
    return found


def _min_notional(filters: Mapping[str, _Filter], symbol: str, where: str) -> Decimal | None:
    """NOTIONAL replaced MIN_NOTIONAL on spot; USD-M has MIN_NOTIONAL, COIN-M none."""
    found = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL")
    if found is None:
        return None
    value = found.notional if found.min_notional is None else found.min_notional
    return _number(value, f"{where}.minNotional", symbol, zero=True)


def _number(text: str | None, field: str, symbol: str, zero: bool = False) -> Decimal:
    field = f"{field} ({symbol})"
    if text is None:
        raise MessageError("bad_field", f"{field}: missing")
    return not_negative(text, field) if zero else positive(text, field)
