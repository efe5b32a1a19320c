"""Bybit's instruments: what the recorded lists say, and what is refused."""

import copy
import gzip
import json
from decimal import Decimal

import pytest

from bot4.adapters.bybit.parse import BybitLinear, BybitSpot
from bot4.ports.feed import Instrument, MessageError

ENDPOINT = "/v5/market/instruments-info"
SPOT, LINEAR = BybitSpot(), BybitLinear()
CAPTURE = "cryptofeed/2026-08-09_BYBIT_first60pct.jsonl.gz"
FIXTURES = "nautilus_trader/adapter_fixtures/bybit"
BAD_NUMBERS = [
    ("NaN", "bad_number"),
    ("Infinity", "bad_number"),
    ("1e5", "bad_number"),
    ("1_0", "bad_number"),
    (" 1", "bad_number"),
    ("-1", "negative"),
    (True, "bad_field"),
    (None, "bad_field"),
    (1, "bad_field"),
]


def _response(category="linear", **lot):
    entry = {
        "symbol": "XYZUSDT",
        "status": "Trading",
        "baseCoin": "XYZ",
        "quoteCoin": "USDT",
        "priceFilter": {"tickSize": "0.10"},
        "lotSizeFilter": {"minOrderQty": "0.001", "maxOrderQty": "50"},
    }
    if category == "spot":
        entry["lotSizeFilter"] |= {"basePrecision": "0.001", "minOrderAmt": "5", "maxLimitOrderQty": "40"}
    else:
        entry["contractType"] = category.capitalize() + "Perpetual"
        entry["lotSizeFilter"] |= {"qtyStep": "0.001", "minNotionalValue": "5"}
    entry["lotSizeFilter"] |= lot
    return {"retCode": 0, "retMsg": "OK", "result": {"category": category, "list": [entry]}, "time": 1}


def _read(decoder, response):
    return decoder.instruments(ENDPOINT, json.dumps(response).encode())


def _refused(decoder, response):
    with pytest.raises(MessageError) as caught:
        _read(decoder, response)
    return caught.value.reason, str(caught.value)


def test_an_instrument_of_each_kind():
    D = Decimal
    made = Instrument(
        "XYZUSDT", "XYZ", "USDT", "linear", "trading", D("0.10"), D("0.001"), D("0.001"), D(50), D(5), D(1)
    )
    assert _read(LINEAR, _response()) == [made]
    assert f"{made.tick:f}" == "0.10"
    assert _read(SPOT, _response("spot")) == [made._replace(kind="spot", max_qty=D(40))]
    inverse = _response("inverse", minNotionalValue="")
    del inverse["result"]["category"]  # as some recorded responses: the contract type tells
    assert _read(LINEAR, inverse) == [made._replace(kind="inverse", min_notional=None)]
    response = _response(maxOrderQty="")
    response["result"]["list"][0]["status"] = "PreLaunch"
    assert _read(LINEAR, response) == [made._replace(status="prelaunch", max_qty=None)]


def test_another_endpoint_has_no_instruments():
    assert LINEAR.instruments("/v5/market/time", b"not even JSON") == []
    assert SPOT.decode_rest(ENDPOINT, {}, json.dumps(_response("spot")).encode()).kind == "rest.instruments-info"


@pytest.mark.parametrize("decoder", [SPOT, LINEAR])
def test_instruments_of_another_market_are_refused(decoder):
    other = "linear" if decoder is SPOT else "spot"
    reason, text = _refused(decoder, _response(other))
    assert reason == "bad_field" and "result.category" in text
    response = _response(other)
    del response["result"]["category"]
    reason, text = _refused(decoder, response)
    assert reason == "bad_field" and "contractType" in text


def test_a_contract_type_that_contradicts_the_category_or_is_unknown():
    response = _response()
    response["result"]["category"] = "inverse"
    assert "contractType" in _refused(LINEAR, response)[1]
    response["result"]["list"][0]["contractType"] = "Quadratic"
    assert "contractType: 'Quadratic' is not known" in _refused(LINEAR, response)[1]


def test_a_refused_request():
    assert _refused(LINEAR, {"retCode": 10001, "retMsg": "Invalid category", "result": {}, "time": 1}) == (
        "bad_field",
        "bad_field: retCode: 10001, Invalid category",
    )


@pytest.mark.parametrize(("value", "reason"), [*BAD_NUMBERS, ("0", "zero"), ("", "bad_number")])
@pytest.mark.parametrize("category", ["spot", "linear"])
def test_bad_numbers_that_are_needed(category, value, reason):
    decoder = SPOT if category == "spot" else LINEAR
    response = _response(category)
    response["result"]["list"][0]["priceFilter"]["tickSize"] = value
    found = _refused(decoder, response)
    assert found[0] == reason and "priceFilter.tickSize" in found[1]
    name = "basePrecision" if category == "spot" else "qtyStep"
    found = _refused(decoder, _response(category, **{name: value}))
    assert found[0] == reason and f"lotSizeFilter.{name}" in found[1]
    if value != "0":
        found = _refused(decoder, _response(category, minOrderQty=value))
        assert found[0] == reason and "lotSizeFilter.minOrderQty" in found[1]


@pytest.mark.parametrize(("value", "reason"), BAD_NUMBERS)
@pytest.mark.parametrize("name", ["maxOrderQty", "maxLimitOrderQty", "minNotionalValue"])
def test_bad_numbers_that_may_be_missing(name, value, reason):
    found = _refused(LINEAR, _response(**{name: value}))
    assert found[0] == reason and f"lotSizeFilter.{name}" in found[1]


@pytest.mark.parametrize("name", ["symbol", "status", "baseCoin", "quoteCoin", "priceFilter", "lotSizeFilter"])
def test_missing_and_empty_keys(name):
    response = _response()
    missing = copy.deepcopy(response)
    del missing["result"]["list"][0][name]
    reason, text = _refused(LINEAR, missing)
    assert reason == "bad_field" and name in text
    response["result"]["list"][0][name] = ""
    reason, text = _refused(LINEAR, response)
    assert reason == "bad_field" and name in text


@pytest.mark.data
def test_the_recorded_lists_say_what_json_says(data_dir):
    with gzip.open(data_dir / CAPTURE, "rt") as file:
        records = [record for line in file if (record := json.loads(line))["t"] == "http"]
    bodies = [(record["url"], record["data"].encode()) for record in records]
    bodies += [
        ("linear", (data_dir / FIXTURES / f"http_get_instruments_{name}.json").read_bytes())
        for name in ("linear", "linear_symbol_type", "inverse")
    ]
    bodies += [("spot", (data_dir / FIXTURES / "http_get_instruments_spot.json").read_bytes())]
    counts = []
    for url, body in bodies:
        spot = "spot" in url
        found = (SPOT if spot else LINEAR).instruments(ENDPOINT, body)
        entries = json.loads(body)["result"]["list"]
        assert len(found) == len(entries)
        counts.append(len(found))
        for made, entry in zip(found, entries, strict=True):
            lot = entry["lotSizeFilter"]
            assert made.symbol == entry["symbol"] and (made.base, made.quote) == (entry["baseCoin"], entry["quoteCoin"])
            assert made.kind == ("spot" if spot else "inverse" if entry["contractType"].startswith("Inv") else "linear")
            assert made.status == "trading" and made.contract_size == 1
            assert f"{made.tick:f}" == entry["priceFilter"]["tickSize"]
            assert f"{made.lot:f}" == lot["basePrecision" if spot else "qtyStep"]
            assert f"{made.min_qty:f}" == lot["minOrderQty"]
            assert f"{made.max_qty:f}" == lot.get("maxLimitOrderQty", lot["maxOrderQty"])
            notional = lot.get("minOrderAmt", lot.get("minNotionalValue"))
            assert made.min_notional == (None if notional is None else Decimal(notional))
        assert len({made.symbol for made in found}) == len(found)
    assert counts == [800, 557, 2, 1, 1, 2]


@pytest.mark.data
def test_options_are_refused(data_dir):
    body = (data_dir / FIXTURES / "http_get_instruments_option_symbol_id.json").read_bytes()
    for decoder in (SPOT, LINEAR):
        with pytest.raises(MessageError, match=r"bad_field: result\.category: 'option'"):
            decoder.instruments(ENDPOINT, body)
