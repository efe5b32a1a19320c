"""The instruments of Coinbase Advanced Trade, from REST's list of products.

A product is traded only if it is online and none of its flags forbids or restricts that: `status` alone says online of
products that take limit orders only. The most restricting flag is the instrument's status.
"""

from decimal import Decimal

import msgspec

from bot4.adapters.coinbase.fields import fail, named, read
from bot4.ports.feed import Instrument
from bot4.ports.feed_values import not_negative, positive

_KINDS = {"SPOT": "spot", "FUTURE": "linear"}
_FLAGS = ("is_disabled", "trading_disabled", "view_only", "cancel_only", "post_only", "limit_only", "auction_mode")


class _Future(msgspec.Struct, gc=False):
    contract_size: str


class _Product(msgspec.Struct, gc=False):
    product_id: str
    product_type: str
    base_currency_id: str
    quote_currency_id: str
    status: str
    quote_increment: str
    base_increment: str
    base_min_size: str
    base_max_size: str
    quote_min_size: str
    price_increment: str = ""
    is_disabled: bool = False
    trading_disabled: bool = False
    view_only: bool = False
    cancel_only: bool = False
    post_only: bool = False
    limit_only: bool = False
    auction_mode: bool = False
    future_product_details: _Future | None = None


class _Products(msgspec.Struct):
    products: list[_Product]


_PRODUCTS = msgspec.json.Decoder(_Products)


def _status(product: _Product) -> str:
    word = named(product.status, f"{product.product_id}.status").lower()
    if word != "online":
        return word
    return next((flag for flag in _FLAGS if getattr(product, flag)), "trading")


def _instrument(product: _Product) -> Instrument:
    name = named(product.product_id, "product_id")
    kind = _KINDS.get(product.product_type)
    if kind is None:
        fail("bad_field", f"{name}.product_type", product.product_type)
    future = product.future_product_details
    if kind != "spot" and future is None:
        fail("bad_field", f"{name}.future_product_details", future)
    tick = product.price_increment or product.quote_increment
    return Instrument(
        symbol=name,
        base=product.base_currency_id
        if kind != "spot"
        else named(product.base_currency_id, f"{name}.base_currency_id"),
        quote=named(product.quote_currency_id, f"{name}.quote_currency_id"),
        kind=kind,
        status=_status(product),
        tick=positive(tick, f"{name}.{'price' if product.price_increment else 'quote'}_increment"),
        lot=positive(product.base_increment, f"{name}.base_increment"),
        min_qty=positive(product.base_min_size, f"{name}.base_min_size"),
        max_qty=positive(product.base_max_size, f"{name}.base_max_size") if product.base_max_size else None,
        min_notional=not_negative(product.quote_min_size, f"{name}.quote_min_size") if product.quote_min_size else None,
        contract_size=Decimal(1) if future is None else positive(future.contract_size, f"{name}.contract_size"),
    )


def parse_products(body: bytes) -> list[Instrument]:
    """The instruments of a list of products."""
    return [_instrument(product) for product in read(_PRODUCTS, body, "products").products]
