"""What Kraken's streams need, against its documented protocol and the decoder that reads them."""

import json

import pytest

from bot4.adapters.kraken.parse import DEPTHS, KrakenV2
from bot4.adapters.kraken.streams import KrakenStreams
from bot4.model.errors import InputError
from bot4.ports.feed import MessageError


def test_the_decoder_knows_every_topic():
    streams, decoder = KrakenStreams(), KrakenV2()
    assert streams.venue == decoder.venue
    for topic in streams.topics("BTC/USD"):
        with pytest.raises(MessageError) as error:
            decoder.decode(json.dumps({"channel": topic.partition(":")[0]}).encode())
        assert error.value.reason != "unknown_type", topic
    with pytest.raises(MessageError):
        decoder.instruments(streams.metadata()[0], b"[")


def test_one_message_a_channel():
    streams = KrakenStreams(depth=25)
    topics = list(dict.fromkeys(streams.topics("BTC/USD") + streams.topics("ETH/USD")))
    pairs = ["BTC/USD", "ETH/USD"]
    assert [json.loads(text) for text in streams.subscribe(topics, 5)] == [
        {"method": "subscribe", "params": params, "req_id": number}
        for number, params in enumerate(
            (
                {"channel": "book", "symbol": pairs, "depth": 25, "snapshot": True},
                {"channel": "ticker", "symbol": pairs, "event_trigger": "bbo", "snapshot": True},
                {"channel": "trade", "symbol": pairs, "snapshot": False},
                {"channel": "instrument", "snapshot": True},
            ),
            start=5,
        )
    ]
    assert [json.loads(text) for text in streams.unsubscribe(["book:BTC/USD"], 9)] == [
        {"method": "unsubscribe", "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 25}, "req_id": 9}
    ]
    assert streams.url(topics) == "wss://ws.kraken.com/v2"


def test_depths_are_those_of_the_venue():
    assert [KrakenStreams(depth=depth).depth for depth in DEPTHS] == list(DEPTHS)
    with pytest.raises(InputError, match="kraken book depth: 11 is none of 10"):
        KrakenStreams(depth=11)


def test_the_book_is_asked_for_in_the_stream():
    streams = KrakenStreams()
    assert streams.snapshot("BTC/USD") is None
    assert streams.book_topic("BTC/USD") in streams.topics("BTC/USD")


def test_the_book_is_one_of_the_topics():
    streams = KrakenStreams()
    topics = streams.topics("BTC/USD")
    assert streams.has_book(topics)
    assert not streams.has_book([topic for topic in topics if topic != streams.book_topic("BTC/USD")])
