"""Coinbase's products as instruments."""

import contextlib
import gzip
import json
from collections import Counter
from decimal import Decimal

import pytest

from bot4.adapters.coinbase.parse import CoinbaseAdvanced
from bot4.adapters.coinbase.symbols import parse_products
from bot4.ports.feed import Instrument, MessageError

D = Decimal
PRODUCT = {
    "product_id": "BTC-USD",
    "product_type": "SPOT",
    "base_currency_id": "BTC",
    "quote_currency_id": "USD",
    "status": "online",
    "quote_increment": "0.01",
    "price_increment": "0.01",
    "base_increment": "0.00000001",
    "base_min_size": "0.00000002",
    "base_max_size": "3400",
    "quote_min_size": "1",
    "future_product_details": None,
}
WANTED = Instrument("BTC-USD", "BTC", "USD", "spot", "trading", D("0.01"), D("1E-8"), D("2E-8"), D(3400), D(1), D(1))


def _products(**changes):
    product = {key: value for key, value in {**PRODUCT, **changes}.items() if value != "gone"}
    return json.dumps({"products": [product], "num_products": 1}).encode()


def test_a_product_becomes_an_instrument():
    decoder = CoinbaseAdvanced()
    assert decoder.instruments("/api/v3/brokerage/market/products?limit=1", _products()) == [WANTED]
    assert decoder.instruments("/api/v3/brokerage/market/product_book", b"") == []


def test_the_tick_is_the_price_increment_where_there_is_one():
    assert parse_products(_products(price_increment="0.1"))[0].tick == D("0.1")
    assert parse_products(_products(price_increment="gone"))[0].tick == D("0.01")
    assert parse_products(_products(base_max_size="", quote_min_size=""))[0][8:10] == (None, None)


@pytest.mark.parametrize(
    "flag", ["is_disabled", "trading_disabled", "view_only", "cancel_only", "post_only", "limit_only", "auction_mode"]
)
def test_an_online_product_may_still_not_trade_freely(flag):
    assert parse_products(_products(**{flag: True}))[0].status == flag
    assert parse_products(_products(**{flag: True, "status": "Delisted"}))[0].status == "delisted"


def test_a_future_has_the_size_of_its_contract():
    future = _products(product_type="FUTURE", base_currency_id="", future_product_details={"contract_size": "0.01"})
    assert parse_products(future)[0][1:4] == ("", "USD", "linear")
    assert parse_products(future)[0].contract_size == D("0.01")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        *(({key: "gone"}, "bad_field") for key in PRODUCT if key not in ("price_increment", "future_product_details")),
        *(({key: 1}, "bad_field") for key in PRODUCT),
        *(({key: None}, "bad_field") for key in PRODUCT if key != "future_product_details"),
        *(({key: ""}, "bad_field") for key in ("product_id", "base_currency_id", "quote_currency_id", "status")),
        *(({key: "NaN"}, "bad_number") for key in PRODUCT if key.endswith(("increment", "size"))),
        *(({key: "-1"}, "negative") for key in PRODUCT if key.endswith(("increment", "size"))),
        *(({key: "0"}, "zero") for key in ("base_increment", "base_min_size", "base_max_size", "price_increment")),
        ({"base_increment": ""}, "bad_number"),
        ({"product_type": "OPTION"}, "bad_field"),
        ({"product_type": "FUTURE"}, "bad_field"),
        ({"limit_only": "true"}, "bad_field"),
    ],
)
def test_products_that_are_refused(changes, reason):
    if changes.get("quote_increment") in ("NaN", "-1"):
        changes = {**changes, "price_increment": ""}
    with pytest.raises(MessageError) as error:
        parse_products(_products(**changes))
    assert error.value.reason == reason
    if "FUTURE" not in changes.values():
        assert next(iter(changes)) in str(error.value)


def test_each_single_byte_replaced_or_cut():
    body = _products()
    for k in range(len(body)):
        for byte in b'\x00"\\-9eE.,:]}[{ n\xff':
            for spoilt in (body[:k], body[:k] + bytes([byte]) + body[k + 1 :]):
                with contextlib.suppress(MessageError):
                    parse_products(spoilt)


@pytest.mark.data
def test_the_recorded_products(data_dir):
    path = data_dir / "cryptofeed" / "2026-08-09_COINBASE_first60pct.jsonl.gz"
    with gzip.open(path, "rt") as lines:
        answers = [line for line in map(json.loads, lines) if line["t"] == "http"]
    assert len(answers) == 1
    body = answers[0]["data"].encode()
    raw = json.loads(body)["products"]
    products = CoinbaseAdvanced().instruments(answers[0]["url"], body)
    assert [product.symbol for product in products] == [product["product_id"] for product in raw]
    for product, wanted in zip(products, raw, strict=True):
        assert product[1:4] == (wanted["base_currency_id"], wanted["quote_currency_id"], "spot")
        assert product.tick == D(wanted["quote_increment"]) and product.lot == D(wanted["base_increment"])
        assert product.min_qty == D(wanted["base_min_size"]) and product.max_qty == D(wanted["base_max_size"])
        assert product.min_notional == D(wanted["quote_min_size"])
    assert Counter(product.status for product in products) == {"trading": 882, "limit_only": 30, "delisted": 8}
    fixture = data_dir / "nautilus_trader" / "adapter_fixtures" / "coinbase" / "http_products.json"
    assert [product.symbol for product in parse_products(fixture.read_bytes())] == ["BTC-USD", "BTC-USDC"]
