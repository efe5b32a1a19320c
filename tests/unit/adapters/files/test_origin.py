"""What a message says of its venue: every message of every connection in the captures, and what leaves it open."""

import gzip
import json

import pytest

from bot4.adapters.files.origin import origin_of, told_by
from bot4.adapters.files.raw import find_captures

CAPTURES = (
    "2021-04-17_KRAKEN", "2021-07-22_BINANCE_FUTURES", "2021-10-12_BINANCE", "2025-06-13_BYBIT_V5",
    "2026-08-09_BYBIT_first60pct.jsonl.gz", "2026-08-09_COINBASE_first60pct.jsonl.gz",
)  # fmt: skip
OTHERS = ("2022-05-13_OKX", "2021-04-17_COINBASE_PRO")
FIXTURES = {
    "binance/futures/market_data_json/depth_update_stream.json": ("binance_usdm", "BTCUSDT"),
    "binance/futures/market_data_json/book_ticker_stream.json": ("binance_usdm", "BNBUSDT"),
    "bybit/ws_ticker_linear.json": ("bybit_linear", "BTCUSDT"),
    "bybit/ws_orderbook_snapshot.json": ("bybit", "BTCUSDT"),
    "coinbase/ws_ticker.json": ("coinbase", "BTC-USD"),
    "kraken/ws_book_update.json": ("kraken_v2", "BTC/USD"),
    "kraken/ws_pong.json": ("kraken_v2", ""),
    "kraken/ws_futures_ticker.json": ("", ""),
}


def said(data, stream=""):
    """One message of Binance."""
    return json.dumps({"stream": stream, "data": data} if stream else data).encode()


@pytest.mark.data
@pytest.mark.parametrize("name", CAPTURES)
def test_no_message_says_another_venue_than_its_address(data_dir, name):
    (capture,) = find_captures([data_dir / "cryptofeed" / name])
    told = 0
    for message in capture.messages():
        venue, symbol = ("", "") if message.rest else told_by(message.body)
        assert venue in ("", message.venue, message.venue.partition("_")[0]), message
        told += bool(venue and symbol)
    assert told > 0.8 * sum(not message.rest for message in capture.messages())


@pytest.mark.data
@pytest.mark.parametrize("name", OTHERS)
def test_other_venues_are_none_of_these(data_dir, name):
    (capture,) = find_captures([data_dir / "cryptofeed" / name])
    assert {told_by(message.body)[0] for message in capture.messages()} == {""}


@pytest.mark.data
@pytest.mark.parametrize("name", FIXTURES)
def test_single_messages(data_dir, name):
    assert told_by((data_dir / "nautilus_trader/adapter_fixtures" / name).read_bytes()) == FIXTURES[name]


@pytest.mark.data
@pytest.mark.parametrize(("name", "venue"), [
    ("spot/ethusdt_20240808.gz", "binance_spot"), ("usdm/btcusdt_20240808.gz", "binance_usdm"),
    ("usdm/btcusdt_20230404.dat.gz", "binance_usdm"), ("cm/ethusd_perp_20240809.gz", "binance_coinm"),
])  # fmt: skip
def test_each_stream_of_binance_tells_the_market_alone(data_dir, name, venue):
    lines = gzip.decompress((data_dir / "hftbacktest" / name).read_bytes()).splitlines()[:10_000]
    streams = {"trade", "bookTicker", "depth"}
    for stream in streams:
        bodies = [line.partition(b" ")[2] for line in lines if b"@" + stream.encode() in line]
        assert bodies and {told_by(body)[0] for body in bodies} == {venue}


@pytest.mark.parametrize(("body", "found"), [
    (said({"e": "trade", "s": "A", "M": True}, "a@trade"), ("binance_spot", "A")),
    (said({"e": "trade", "s": "A", "X": "MARKET"}, "a@trade"), ("binance_usdm", "A")),
    (said({"e": "trade", "s": "A", "ps": "A"}), ("binance_usdm", "A")),
    (said({"e": "aggTrade", "s": "A"}, "a@aggTrade"), ("binance_usdm", "A")),
    (said({"e": "aggTrade", "s": "BTCUSD_241227"}), ("binance_coinm", "BTCUSD_241227")),
    (said({"e": "aggTrade", "s": "BTCUSDT_241227"}), ("binance_usdm", "BTCUSDT_241227")),
    (said({"s": "A", "u": 1, "b": "1", "B": "1", "a": "1", "A": "1"}), ("binance_spot", "A")),
    (said({"lastUpdateId": 1, "bids": [], "asks": []}, "a@depth5@100ms"), ("binance_spot", "A")),
    (said({"e": "kline", "s": "A", "k": {}}, "a@kline_1m"), ("binance", "A")),
    (said([{"e": "markPriceUpdate", "s": "A"}], "!markPrice@arr"), ("binance_usdm", "A")),
    (said({"lastUpdateId": 1, "bids": [], "asks": []}), ("", "")),
    (b'{"topic":"publicTrade.A","data":[{"s":"A","S":"Buy","L":"PlusTick"}]}', ("bybit_linear", "A")),
    (b'{"topic":"publicTrade.A","data":[{"s":"A","S":"Buy"}]}', ("bybit_spot", "A")),
    (b'{"topic":"tickers.A","data":{"symbol":"A","usdIndexPrice":"1"}}', ("bybit_spot", "A")),
    (b'{"topic":"kline.1.A","data":[{}]}', ("bybit", "A")),
    (b'{"channel":"market_trades","sequence_num":3,"events":[{"trades":[{"product_id":"A-B"}]}]}', ("coinbase", "A-B")),
    (b'{"channel":"heartbeat"}', ("kraken_v2", "")),
    (b'{"channel":"trades","data":[{"coin":"BTC"}]}', ("", "")),
    (b'[0,{},"trade","XBT/USD"]', ("kraken_v1", "XBT/USD")),
    (b'{"connectionID":1,"event":"systemStatus"}', ("kraken_v1", "")),
    (b"[" * 100_000, ("", "")), (b"7", ("", "")), (b"", ("", "")), (b'{"stream":7,"data":[]}', ("", "")),
    (b'{"topic":7,"data":7}', ("bybit", "")), (b'{"channel":[],"sequence_num":0,"events":{}}', ("coinbase", "")),
])  # fmt: skip
def test_what_tells_a_market(body, found):
    assert told_by(body) == found


def test_an_open_market_is_told_by_the_messages_beside_it():
    bar = said({"e": "kline", "s": "A", "k": {}}, "a@kline_1m")
    mark = said({"e": "markPriceUpdate", "s": "A"}, "a@markPrice")
    assert origin_of([b"?", bar, mark]) == ("binance_usdm", "A")
    assert origin_of([bar, bar]) == ("binance_spot", "A")
    assert origin_of([b"?"]) == ("", "")
