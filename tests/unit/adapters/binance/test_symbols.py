"""The instruments of exchangeInfo: each filter, each refusal, and the recorded lists as the json module reads them."""

import gzip
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot4.adapters.binance.parse import BinanceCoinm, BinanceSpot, BinanceUsdm
from bot4.ports.feed import REASONS, Decoder, Instrument, MessageError

SPOT, USDM, COINM = BinanceSpot(), BinanceUsdm(), BinanceCoinm()
ENDPOINTS: dict[str, Decoder] = {
    "/api/v3/exchangeInfo": SPOT,
    "/fapi/v1/exchangeInfo": USDM,
    "/dapi/v1/exchangeInfo": COINM,
}
PRICE = {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": "0.01000000"}
LOT = {"filterType": "LOT_SIZE", "minQty": "0.00010000", "maxQty": "9000.00000000", "stepSize": "0.00010000"}
OTHERS = [{"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200}, {"filterType": "NEW", "tickSize": "5"}]
NOTIONAL = {"filterType": "NOTIONAL", "minNotional": "5.00000000", "maxNotional": "9000000.00000000"}
OLD_NOTIONAL = {"filterType": "MIN_NOTIONAL", "minNotional": "10.00000000"}
USDM_NOTIONAL = {"filterType": "MIN_NOTIONAL", "notional": "100"}
BTC = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"}
BTCUSD = {
    "symbol": "BTCUSD_PERP", "pair": "BTCUSD", "contractStatus": "TRADING", "contractType": "PERPETUAL",
    "contractSize": 100, "baseAsset": "BTC", "quoteAsset": "USD", "marginAsset": "BTC",
}  # fmt: skip


def info(*symbols: dict[str, Any]) -> bytes:
    return json.dumps({"timezone": "UTC", "serverTime": 7, "symbols": symbols}).encode()


def btc(*filters: dict[str, Any], **other: Any) -> bytes:
    return info(BTC | {"filters": filters or [PRICE, LOT, NOTIONAL]} | other)


def refused(body: bytes) -> MessageError:
    """The refusal of a response of spot."""
    with pytest.raises(MessageError) as caught:
        SPOT.instruments("/api/v3/exchangeInfo", body)
    assert caught.value.reason in REASONS
    return caught.value


def test_spot() -> None:
    (found,) = SPOT.instruments("/api/v3/exchangeInfo", btc(*OTHERS, LOT, NOTIONAL, PRICE))
    wanted = [Decimal(text) for text in ("0.01", "0.0001", "0.0001", "9000", "5", "1")]
    assert found == Instrument("BTCUSDT", "BTC", "USDT", "spot", "trading", *wanted, keeps_apart=False)
    for modes in (["EXPIRE_MAKER"], ["EXPIRE_TAKER"]):
        (one,) = SPOT.instruments("/api/v3/exchangeInfo", btc(allowedSelfTradePreventionModes=modes))
        assert one.keeps_apart == (modes == ["EXPIRE_MAKER"])
    assert str(found.tick) == "0.01000000", "digits are kept"


@pytest.mark.parametrize(
    ("notional", "wanted"),
    [([], None), ([OLD_NOTIONAL], 10), ([USDM_NOTIONAL], 100), ([NOTIONAL], 5), ([OLD_NOTIONAL, NOTIONAL], 5)],
)
def test_least_notional(notional: list[dict[str, Any]], wanted: int | None) -> None:
    (found,) = SPOT.instruments("/api/v3/exchangeInfo", btc(PRICE, LOT, *notional))
    assert found.min_notional == wanted


def test_futures() -> None:
    (found,) = USDM.instruments("/fapi/v1/exchangeInfo", btc(PRICE, LOT, USDM_NOTIONAL, status="PENDING_TRADING"))
    assert (found.kind, found.status, found.contract_size) == ("linear", "pending_trading", 1)
    (found,) = COINM.instruments("/dapi/v1/exchangeInfo", info(BTCUSD | {"filters": [PRICE, LOT]}))
    assert (found.kind, found.status, found.contract_size) == ("inverse", "trading", 100)
    assert (found.base, found.quote, found.min_notional) == ("BTC", "USD", None)


def test_order_is_kept_and_another_endpoint_has_none() -> None:
    body = info(*(BTC | {"symbol": name, "filters": [PRICE, LOT]} for name in ("B", "C", "A")))
    assert [found.symbol for found in SPOT.instruments("/api/v3/exchangeInfo", body)] == ["B", "C", "A"]
    for endpoint in ("/api/v3/depth", "/fapi/v1/exchangeInfo", "", "/api/v3/exchangeInfo/more"):
        assert SPOT.instruments(endpoint, body) == []


def test_a_limit_of_zero_is_none() -> None:
    (found,) = SPOT.instruments(
        "/api/v3/exchangeInfo", btc(PRICE, LOT | {"maxQty": "0.00", "minQty": "0"}, NOTIONAL | {"minNotional": "0"})
    )
    assert (found.max_qty, found.min_qty, found.min_notional) == (None, 0, 0)


@pytest.mark.parametrize(
    ("body", "reason", "word"),
    [
        (b"", "unparsable", ""),
        (b"<html>", "unparsable", ""),
        (btc()[:-1], "unparsable", ""),
        (b'{"code":-1003,"msg":"Too many requests."}', "bad_field", "symbols: missing"),
        (b'{"symbols":null}', "bad_field", "symbols"),
        (info({}), "bad_field", "missing"),
        (btc(LOT), "bad_field", "symbols[0].filters: no PRICE_FILTER (BTCUSDT)"),
        (btc(PRICE), "bad_field", "symbols[0].filters: no LOT_SIZE (BTCUSDT)"),
        (btc(PRICE, {"filterType": "LOT_SIZE", "minQty": "1", "maxQty": "2"}), "bad_field", "stepSize"),
        (btc(PRICE, LOT, {"filterType": "NOTIONAL"}), "bad_field", "minNotional"),
        (btc(status=None), "bad_field", "status"),
        (btc(status=5), "bad_field", "status"),
        (btc(symbol=""), "bad_field", "symbol"),
        (btc(contractSize=0), "zero", "contractSize"),
        (btc(contractSize=-1), "negative", "contractSize"),
        (btc(contractSize="100"), "bad_field", "contractSize"),
        (btc(filters={}), "bad_field", "filters"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_refusals(body: bytes, reason: str, word: str) -> None:
    error = refused(body)
    assert error.reason == reason and word in str(error)


@pytest.mark.parametrize("key", ["tickSize", "stepSize", "minQty", "maxQty", "minNotional"])
def test_what_is_no_number_is_refused(key: str) -> None:
    def changed(value: object) -> bytes:
        return btc(*(each | {key: value} if key in each else each for each in (PRICE, LOT, NOTIONAL)))

    assert SPOT.instruments("/api/v3/exchangeInfo", changed("1"))
    for value in ("NaN", "Infinity", "1e5", "", "+1", ".5", "1_0"):
        assert refused(changed(value)).reason == "bad_number"
    for value in (True, None, 1, 0.5, [], {}):
        error = refused(changed(value))
        assert error.reason == "bad_field"
    error = refused(changed("-1"))
    assert error.reason == "negative" and key in str(error) and "BTCUSDT" in str(error)
    if key in ("tickSize", "stepSize"):
        assert refused(changed("0.00")).reason == "zero"


def test_any_changed_byte() -> None:
    body, good = btc(PRICE, LOT, NOTIONAL), 0
    for place in range(len(body)):
        for byte in b'\x00 "\\-.09:,[]{}en\xff':
            try:
                good += bool(SPOT.instruments("/api/v3/exchangeInfo", body[:place] + bytes([byte]) + body[place + 1 :]))
            except MessageError as error:
                if error.reason not in REASONS:
                    raise
    assert good


def compare(found: list[Instrument], symbols: list[dict[str, Any]]) -> None:
    """Whether each instrument has the values that json reads."""
    assert len(found) == len(symbols)
    for instrument, raw in zip(found, symbols, strict=True):
        filters = {each["filterType"]: each for each in raw["filters"]}
        least = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
        assert instrument.symbol == raw["symbol"]
        assert instrument.status == (raw.get("status") or raw["contractStatus"]).lower()
        assert (instrument.base, instrument.quote) == (raw["baseAsset"], raw["quoteAsset"])
        lot = filters["LOT_SIZE"]
        written = [filters["PRICE_FILTER"]["tickSize"], lot["stepSize"], lot["minQty"], lot["maxQty"]]
        assert [f"{value:f}" for value in instrument[5:9] if value is not None] == written
        notional = least.get("minNotional", least.get("notional"))
        assert instrument.min_notional == (None if notional is None else Decimal(notional))
        assert instrument.contract_size == raw.get("contractSize", 1)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "endpoint", "statuses"),
    [
        ("2021-10-12_BINANCE/BINANCE.0.gz", "/api/v3/exchangeInfo", {"trading": 1_262, "break": 433}),
        (
            "2021-07-22_BINANCE_FUTURES/BINANCE_FUTURES.0.gz",
            "/fapi/v1/exchangeInfo",
            {"trading": 121, "pending_trading": 1},
        ),
    ],
)
def test_recorded_cryptofeed(data_dir: Path, name: str, endpoint: str, statuses: dict[str, int]) -> None:
    with gzip.open(data_dir / "cryptofeed" / name) as file:
        url, body = file.readline().split(b" -> ", 1)
    assert url.decode().endswith(endpoint)
    body = body.split(b": ", 1)[1]
    found = ENDPOINTS[endpoint].instruments(endpoint, body)
    compare(found, json.loads(body)["symbols"])
    assert Counter(instrument.status for instrument in found) == statuses
    assert len({instrument.symbol for instrument in found}) == len(found)


@pytest.mark.data
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_recorded_routes(data_dir: Path, endpoint: str) -> None:
    with gzip.open(data_dir / "gocryptotrader" / "binance_http_routes.json.gz") as file:
        calls = json.load(file)["routes"][endpoint]["GET"]
    assert calls
    for call in calls:
        found = ENDPOINTS[endpoint].instruments(endpoint, json.dumps(call["data"]).encode())
        compare(found, call["data"]["symbols"])
        assert len(found) == 25
        assert {one.kind for one in found} == {{"a": "spot", "f": "linear", "d": "inverse"}[endpoint[1]]}


@pytest.mark.data
def test_an_example_without_filters_is_refused(data_dir: Path) -> None:
    folder = data_dir / "nautilus_trader/adapter_fixtures/binance/spot/http_json"
    body = (folder / "exchange_info_response.json").read_bytes()
    assert refused(body).reason == "bad_field"
