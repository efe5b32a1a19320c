"""Kraken's metadata as instruments: names, steps with the venue's digits, and what is refused."""

import contextlib
import gzip
import json
from collections import Counter
from decimal import Decimal

import pytest

from bot4.adapters.kraken.parse import KrakenV1, KrakenV2
from bot4.adapters.kraken.symbols import fixed, parse_asset_pairs, parse_instrument_message
from bot4.ports.feed import Instrument, MessageError

D = Decimal
PAIR = {
    "wsname": "XBT/USDT",
    "pair_decimals": 1,
    "lot_decimals": 8,
    "ordermin": "0.00005",
    "costmin": "0.5",
    "tick_size": "0.1",
    "status": "online",
}
CHANNEL = (
    b'{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":[{"symbol":"BTC/USD","base":"BTC",'
    b'"quote":"USD","status":"online","qty_precision":8,"qty_increment":1e-08,"price_precision":2,"cost_precision":5,'
    b'"marginable":true,"cost_min":0.5,"tick_size":0.1,"price_increment":0.1,"qty_min":0.0001}]}}'
)


def _asset_pairs(**changes):
    pair = {key: value for key, value in {**PAIR, **changes}.items() if value != "gone"}
    return json.dumps({"error": [], "result": {"XBTUSDT": pair}}).encode()


def test_a_pair_has_the_name_of_each_websocket():
    wanted = Instrument(
        "XBT/USDT", "XBT", "USDT", "spot", "trading", D("0.1"), D("1E-8"), D("0.00005"), None, D("0.5"), D(1)
    )
    assert KrakenV1().instruments("/0/public/AssetPairs", _asset_pairs()) == [wanted]
    renamed = wanted._replace(symbol="BTC/USDT", base="BTC")
    assert KrakenV2().instruments("https://api.kraken.com/0/public/AssetPairs?pair=x", _asset_pairs()) == [renamed]
    assert parse_asset_pairs(_asset_pairs(wsname="XDG/XBT"), renamed=True)[0].symbol == "DOGE/BTC"
    assert KrakenV1().instruments("/0/public/Assets", b"") == [] == KrakenV2().instruments("Time", b"")


def test_what_a_pair_may_lack():
    (pair,) = parse_asset_pairs(_asset_pairs(tick_size="gone", costmin="gone", status="gone"), renamed=False)
    assert (pair.tick, pair.min_notional, pair.status) == (D("0.1"), None, "trading")
    assert parse_asset_pairs(_asset_pairs(wsname="gone"), renamed=False) == [], "a dark pool"
    assert parse_asset_pairs(_asset_pairs(status="CANCEL_ONLY"), renamed=False)[0].status == "cancel_only"


def test_steps_have_the_digits_of_the_precision():
    (pair,) = parse_asset_pairs(_asset_pairs(tick_size="0.5", pair_decimals=3), renamed=False)
    assert str(pair.tick) == "0.500" and f"{pair.lot:f}" == "0.00000001"
    (pair,) = KrakenV2().instruments("instrument", CHANNEL)
    assert pair == Instrument(
        "BTC/USD", "BTC", "USD", "spot", "trading", D("0.1"), D("1E-8"), D("0.0001"), None, D("0.5"), D(1)
    )
    assert str(pair.tick) == "0.10"
    assert str(fixed(D("1.23"), D("0.1"))) == "1.23" and str(fixed(D("1E+2"), D("0.1"))) == "100.0"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"wsname": "XBTUSDT"}, "bad_field"),
        ({"wsname": 1}, "bad_field"),
        ({"pair_decimals": "1"}, "bad_field"),
        ({"pair_decimals": "gone"}, "bad_field"),
        ({"pair_decimals": -1}, "negative"),
        ({"lot_decimals": 31}, "bad_number"),
        ({"ordermin": "gone"}, "bad_field"),
        ({"ordermin": "NaN"}, "bad_number"),
        ({"ordermin": "0"}, "zero"),
        ({"tick_size": "0.0"}, "zero"),
        ({"tick_size": "-0.1"}, "negative"),
        ({"tick_size": 0.1}, "bad_field"),
        ({"costmin": "Infinity"}, "bad_number"),
        ({"costmin": True}, "bad_field"),
        ({"status": ""}, "bad_field"),
    ],
)
def test_pairs_that_are_refused(changes, reason):
    with pytest.raises(MessageError) as error:
        parse_asset_pairs(_asset_pairs(**changes), renamed=False)
    assert error.value.reason == reason and next(iter(changes)) in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"instrument"', b'"instruments"', "unknown_type"),
        (b'"BTC/USD"', b'""', "bad_field"),
        (b'"USD"', b"null", "bad_field"),
        (b"1e-08", b"1e-99", "bad_number"),
        (b"1e-08", b'"1e-08"', "bad_field"),
        (b"0.0001", b"-1", "negative"),
        (b"0.0001", b"0", "zero"),
        (b'"price_increment":0.1', b'"price_increment":NaN', "unparsable"),
        (b'"cost_min":0.5', b'"cost_min":true', "bad_field"),
        (b'"price_precision":2', b'"price_precision":-2', "negative"),
    ],
)
def test_instrument_messages_that_are_refused(old, new, reason):
    with pytest.raises(MessageError) as error:
        parse_instrument_message(CHANNEL.replace(old, new))
    assert error.value.reason == reason


def test_an_answer_that_holds_an_error_is_refused():
    with pytest.raises(MessageError, match="EService:Unavailable"):
        parse_asset_pairs(b'{"error":["EService:Unavailable"]}', renamed=True)


@pytest.mark.parametrize("endpoint", ["AssetPairs", "instrument"])
def test_each_single_byte_replaced_or_cut(endpoint):
    body = CHANNEL if endpoint == "instrument" else _asset_pairs()
    for k in range(len(body)):
        for byte in b'\x00"\\-9eE.,:]}[{ n\xff':
            for spoilt in (body[:k], body[:k] + bytes([byte]) + body[k + 1 :]):
                with contextlib.suppress(MessageError):
                    KrakenV2().instruments(endpoint, spoilt)


@pytest.mark.data
def test_the_recorded_pairs(data_dir):
    with gzip.open(data_dir / "cryptofeed" / "2021-04-17_KRAKEN" / "KRAKEN.0.gz", "rt") as lines:
        body = lines.readline().split(": ", 1)[1].encode()
    raw = json.loads(body)["result"]
    named = {pair["wsname"]: pair for pair in raw.values() if "wsname" in pair}
    pairs = KrakenV1().instruments("AssetPairs", body)
    assert [pair.symbol for pair in pairs] == list(named) and len(set(named)) == len(pairs) == 293
    assert len(raw) == 304
    for pair in pairs:
        wanted = named[pair.symbol]
        assert pair.tick == D(10) ** -wanted["pair_decimals"] and pair.lot == D(10) ** -wanted["lot_decimals"]
        assert pair.min_qty == D(wanted["ordermin"]) and pair.status == "trading" and pair.min_notional is None
    today = KrakenV2().instruments("AssetPairs", body)
    assert len({pair.symbol for pair in today}) == 293
    names = Counter(name for pair in today for name in (pair.base, pair.quote))
    assert names["BTC"] and names["DOGE"] and not names["XBT"] and not names["XDG"]
    fixture = data_dir / "nautilus_trader" / "adapter_fixtures" / "kraken" / "http_asset_pairs.json"
    (pair,) = KrakenV2().instruments("AssetPairs", fixture.read_bytes())
    assert pair[:6] == ("BTC/USDT", "BTC", "USDT", "spot", "trading", D("0.1")) and pair.min_notional == D("0.5")
    older = data_dir / "xchange" / "xchange-kraken" / "kraken__dto__marketdata__example-assetpairs-data.json.gz"
    with pytest.raises(MessageError, match=r"ADACAD\.ordermin"):  # from before pairs had one
        KrakenV1().instruments("AssetPairs", gzip.decompress(older.read_bytes()))
