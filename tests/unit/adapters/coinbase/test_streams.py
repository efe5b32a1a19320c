"""What Coinbase's streams need, against its documented protocol and the decoder that reads them."""

import json

import pytest

from bot4.adapters.coinbase.parse import CoinbaseAdvanced
from bot4.adapters.coinbase.streams import CoinbaseStreams
from bot4.ports.feed import MessageError

PUSHED = {"level2": "l2_data"}  # the venue's data have another name than their subscription


def test_the_decoder_knows_every_topic():
    streams, decoder = CoinbaseStreams(), CoinbaseAdvanced()
    assert streams.venue == decoder.venue
    for topic in streams.topics("BTC-USD"):
        channel = topic.partition(":")[0]
        with pytest.raises(MessageError) as error:
            decoder.decode(json.dumps({"channel": PUSHED.get(channel, channel)}).encode())
        assert error.value.reason != "unknown_type", topic
    with pytest.raises(MessageError):
        decoder.instruments(streams.metadata()[0], b"[")


def test_one_message_a_channel_and_heartbeats_once():
    streams = CoinbaseStreams()
    topics = list(dict.fromkeys(streams.topics("BTC-USD") + streams.topics("ETH-USD")))
    products = ["BTC-USD", "ETH-USD"]
    assert [json.loads(text) for text in streams.subscribe(topics, 1)] == [
        {"type": "subscribe", "channel": "level2", "product_ids": products},
        {"type": "subscribe", "channel": "ticker", "product_ids": products},
        {"type": "subscribe", "channel": "market_trades", "product_ids": products},
        {"type": "subscribe", "channel": "status", "product_ids": products},
        {"type": "subscribe", "channel": "heartbeats"},
    ]
    assert [json.loads(text) for text in streams.unsubscribe(["level2:BTC-USD"], 1)] == [
        {"type": "unsubscribe", "channel": "level2", "product_ids": ["BTC-USD"]}
    ]


def test_the_book_is_asked_for_in_the_stream():
    streams = CoinbaseStreams()
    assert streams.snapshot("BTC-USD") is None
    assert streams.book_topic("BTC-USD") in streams.topics("BTC-USD")
    assert streams.url(["x"]) == "wss://advanced-trade-ws.coinbase.com"


def test_the_book_is_one_of_the_topics():
    streams = CoinbaseStreams()
    topics = streams.topics("BTC-USD")
    assert streams.has_book(topics)
    assert not streams.has_book([topic for topic in topics if topic != streams.book_topic("BTC-USD")])
