"""What Binance's streams need, against its documented protocol and the decoder that reads them."""

import json

import pytest

from bot4.adapters.binance.parse import BinanceSpot, BinanceUsdm
from bot4.adapters.binance.streams import BinanceSpotStreams, BinanceUsdmStreams
from bot4.ports.feed import MessageError

ALL = [(BinanceSpotStreams(), BinanceSpot()), (BinanceUsdmStreams(), BinanceUsdm())]


@pytest.mark.parametrize(("streams", "decoder"), ALL)
def test_the_decoder_knows_every_topic(streams, decoder):
    assert streams.venue == decoder.venue
    for topic in streams.topics("BTCUSDT"):
        with pytest.raises(MessageError) as error:
            decoder.decode(json.dumps({"stream": topic, "data": {}}).encode())
        assert error.value.reason != "unknown_type", topic


@pytest.mark.parametrize(("streams", "decoder"), ALL)
def test_snapshot_and_metadata_are_what_the_decoder_reads(streams, decoder):
    path, query = streams.snapshot("BTCUSDT")
    assert query == "symbol=BTCUSDT&limit=1000"
    body = b'{"lastUpdateId":1,"bids":[["1","1"]],"asks":[["2","1"]]}'
    assert decoder.decode_rest(path, {"symbol": "BTCUSDT"}, body).events[0].snapshot
    with pytest.raises(MessageError):
        decoder.instruments(streams.metadata()[0], b"[")
    assert decoder.instruments("/elsewhere", b"[") == []


def test_addresses_name_all_streams_and_nothing_is_said():
    spot, usdm = BinanceSpotStreams(), BinanceUsdmStreams()
    topics = spot.topics("BTCUSDT") + spot.topics("ETHUSDT")
    assert spot.url(topics) == (
        "wss://stream.binance.com:9443/stream?streams=btcusdt@bookTicker/btcusdt@trade/btcusdt@depth@100ms"
        "/ethusdt@bookTicker/ethusdt@trade/ethusdt@depth@100ms"
    )
    assert spot.subscribe(topics, 1) == []
    routes = {topic: usdm.route(topic) for topic in usdm.topics("BTCUSDT")}
    assert routes == {
        "btcusdt@bookTicker": "/public",
        "btcusdt@trade": "/public",
        "btcusdt@depth@0ms": "/public",
        "btcusdt@markPrice@1s": "/market",
    }
    assert usdm.url(["btcusdt@markPrice@1s"]) == "wss://fstream.binance.com/market/stream?streams=btcusdt@markPrice@1s"


@pytest.mark.parametrize(("streams", "decoder"), ALL)
def test_the_longest_address_is_one_that_proxies_pass(streams, decoder):
    topics = [streams.topics("1000000LONGESTUSDT")[-1] + str(number) for number in range(streams.max_topics)]
    assert len(streams.url(topics)) < 8_192


def test_the_connection_of_the_mark_price_has_no_book():
    streams = BinanceUsdmStreams()
    assert streams.has_book(["btcusdt@trade", "btcusdt@depth@0ms"])
    assert not streams.has_book(["btcusdt@markPrice@1s"])
    assert BinanceSpotStreams().has_book(BinanceSpotStreams().topics("BTCUSDT"))
