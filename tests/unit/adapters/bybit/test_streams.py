"""What Bybit's streams need, against its documented protocol and the decoder that reads them."""

import json

import pytest

from bot4.adapters.bybit.parse import BybitLinear, BybitSpot
from bot4.adapters.bybit.streams import BybitLinearStreams, BybitSpotStreams
from bot4.model.errors import InputError
from bot4.ports.feed import MessageError

ALL = [(BybitSpotStreams(), BybitSpot()), (BybitLinearStreams(), BybitLinear())]


@pytest.mark.parametrize(("streams", "decoder"), ALL)
def test_the_decoder_knows_every_topic(streams, decoder):
    assert streams.venue == decoder.venue
    for topic in streams.topics("BTCUSDT"):
        with pytest.raises(MessageError) as error:
            decoder.decode(json.dumps({"topic": topic}).encode())
        assert error.value.reason != "unknown_type", topic
    with pytest.raises(MessageError):
        decoder.instruments(streams.metadata()[0], b"[")


def test_addresses():
    assert BybitSpotStreams().url(["x"]) == "wss://stream.bybit.com/v5/public/spot"
    assert BybitLinearStreams().url(["x"]) == "wss://stream.bybit.com/v5/public/linear"


def test_ten_topics_a_message_and_ids_of_their_own():
    streams = BybitLinearStreams()
    topics = [f"orderbook.50.A{number}" for number in range(21)]
    for op, make in (("subscribe", streams.subscribe), ("unsubscribe", streams.unsubscribe)):
        said = [json.loads(text) for text in make(topics, 7)]
        assert [len(message["args"]) for message in said] == [10, 10, 1]
        assert [message["req_id"] for message in said] == ["7", "8", "9"]
        assert [topic for message in said for topic in message["args"]] == topics
        assert {message["op"] for message in said} == {op}


def test_the_book_is_asked_for_in_the_stream():
    streams = BybitLinearStreams()
    assert streams.snapshot("BTCUSDT") is None
    assert streams.book_topic("BTCUSDT") in streams.topics("BTCUSDT")
    assert streams.depth == 50
    assert json.loads(streams.heartbeat.text) == {"op": "ping"}
    assert streams.heartbeat.every_s <= 20


def test_depths_are_those_of_the_venue():
    assert BybitSpotStreams(200).topics("BTCUSDT")[0] == "orderbook.200.BTCUSDT"
    with pytest.raises(InputError, match="bybit book depth: 1 is none of 50, 200"):
        BybitSpotStreams(1)


def test_the_topics_of_a_connection_fit_the_venues_characters():
    streams = BybitLinearStreams()
    longest = max(map(len, streams.topics("1000000LONGESTUSDT-27JUN25")))
    assert streams.max_topics * longest < 21_000


def test_the_book_is_one_of_the_topics():
    streams = BybitLinearStreams()
    topics = streams.topics("BTCUSDT")
    assert streams.has_book(topics)
    assert not streams.has_book([topic for topic in topics if topic != streams.book_topic("BTCUSDT")])
