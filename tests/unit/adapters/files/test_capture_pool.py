"""A capture as connections: who opens and closes when, what is read piece by piece, and bodies that wait."""

import gzip
import json

import pytest

from bot4.adapters.binance.parse import BinanceSpot
from bot4.adapters.binance.streams import BinanceSpotStreams
from bot4.adapters.files.capture_pool import CapturePool, contents_of
from bot4.adapters.files.raw import find_captures
from bot4.adapters.kraken.parse import KrakenV2
from bot4.model.errors import RecordingError
from bot4.ports.stream import MAX_CONNECTIONS, Closed, Opened, Readable

DECODERS = {"binance_spot": BinanceSpot()}
WANTED = {("BTCUSDT", "binance_spot")}
ADDRESS = "wss://stream.binance.com:9443/stream?streams=x"
REST = "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000"


def trade(number, symbol="BTCUSDT"):
    """A trade in the venue's words, of some length."""
    data = {"e": "trade", "E": 1, "s": symbol, "t": number, "p": "60000.00", "q": "0.5", "T": 1, "m": True, "M": True}
    return json.dumps({"stream": f"{symbol.lower()}@trade", "data": data})


def line(kind, connection, at, **more):
    """A line of the third form."""
    return json.dumps({"t": kind, "conn": connection, "ts": at, **more})


def connect(connection, at):
    """A connection is made."""
    return line("connect", connection, at, addr=ADDRESS)


def pool_of(folder, *captures):
    """The pool of captures that are lists of lines."""
    for number, lines in enumerate(captures):
        (folder / f"{number}.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    found = find_captures([folder])
    contents = contents_of(found, DECODERS, WANTED)
    streams = {"binance_spot": BinanceSpotStreams()}
    return CapturePool(found, contents, streams, {"binance_spot": "binance_spot"}, {}, {})


def told(pool):
    """All events in words, with the time at which they come; connections are read to their end."""
    found = []
    while not pool.ended:
        for event in pool.turn(0.0):
            if isinstance(event, Readable):
                buffer = memoryview(bytearray(1 << 16))
                found.append((pool.now_ns // 10**9, "reads", event.connection.id, event.connection.read_into(buffer)))
            else:
                found.append((pool.now_ns // 10**9, type(event).__name__.lower(), event.connection.id))
    return found


def test_a_connection_that_is_made_again_closes_what_it_was(tmp_path):
    first, second = trade(1), trade(2)
    lines = [connect("a", 1), line("recv", "a", 2, data=first), connect("a", 3), line("recv", "a", 4, data=second)]
    size = len(first) + 4
    assert told(pool_of(tmp_path, lines)) == [
        (2, "opened", 0), (2, "reads", 0, size), (4, "closed", 0), (4, "opened", 0), (4, "reads", 0, size),
    ]  # fmt: skip


def test_connections_end_with_their_capture_unless_it_is_the_last(tmp_path):
    one = [connect("a", 1), line("recv", "a", 2, data=trade(1))]
    other = [connect("a", 1), line("recv", "a", 5, data=trade(2))]
    kinds = [(at, what, slot) for at, what, slot, *_ in told(pool_of(tmp_path, one, other))]
    assert kinds == [(2, "opened", 0), (2, "reads", 0), (2, "closed", 0), (5, "opened", 0), (5, "reads", 0)]


def test_a_message_longer_than_a_read_is_read_on_before_time_goes_on(tmp_path):
    long = trade(1)[:-1] + " " * 100_000 + "}"
    lines = [connect("a", 1), line("recv", "a", 2, data=long), line("recv", "a", 3, data=trade(2))]
    reads = [(at, what[0]) for at, kind, _, *what in told(pool_of(tmp_path, lines)) if kind == "reads"]
    assert reads == [(2, 65_536), (2, len(long) + 10 - 65_536), (3, len(trade(2)) + 4)]


def test_what_a_dropped_connection_says_next_is_said_by_another(tmp_path):
    pool = pool_of(tmp_path, [connect("a", 1), *(line("recv", "a", at, data=trade(at)) for at in (2, 3))])
    opened, _ = pool.turn(0.0)
    pool.drop(opened.connection, "of no use")
    again, readable = pool.turn(0.0)
    assert isinstance(again, Opened) and again.connection is readable.connection is not opened.connection
    assert pool.now_ns == 3 * 10**9


def test_a_body_waits_until_it_is_asked_for_and_the_last_one_counts(tmp_path):
    bodies = [json.dumps({"lastUpdateId": number, "bids": [], "asks": []}) for number in (1, 2)]
    answers = [line("http", "h", at, url=REST, data=body) for at, body in zip((2, 3), bodies, strict=True)]
    pool = pool_of(tmp_path, [connect("a", 1), line("recv", "a", 1, data=trade(1)), *answers])
    key, request = ("binance_spot", "BTCUSDT"), BinanceSpotStreams().snapshot("BTCUSDT")
    assert request is not None
    pool.ask(key, key[0], request)
    assert pool.done() == []  # it has not been received by then
    told(pool)
    assert pool.done() == [] and pool.unused == 1
    pool.ask(key, key[0], request)
    assert pool.done() == [(key, bodies[1].encode(), "")] and pool.unused == 0


def test_more_connections_than_a_feed_may_have_are_refused(tmp_path):
    lines = []
    for number in range(MAX_CONNECTIONS + 1):
        lines += [connect(f"c{number}", 1), line("recv", f"c{number}", 2, data=trade(number))]
    with pytest.raises(RecordingError, match="more than 64 connections at a time"):
        told(pool_of(tmp_path, lines))


@pytest.mark.parametrize(("subscribed", "depth"), [(None, 25), (100, 100)])
def test_the_depth_of_krakens_books_is_what_was_subscribed_or_what_a_snapshot_needs(tmp_path, subscribed, depth):
    levels = [{"price": 100 + step, "qty": 1} for step in range(12)]
    book = {"symbol": "BTC/USD", "bids": [], "asks": levels, "checksum": 1}
    bodies = [{"channel": "book", "type": "snapshot", "data": [book | {"symbol": symbol, "asks": levels[:count]}]}
              for symbol, count in (("BTC/USD", 12), ("ETH/USD", 3))]  # fmt: skip
    if subscribed:
        bodies.insert(0, {"method": "subscribe", "result": {"channel": "book", "depth": subscribed}, "success": True})
    lines = [line("connect", "a", 1, addr="wss://ws.kraken.com/v2")]
    lines += [line("recv", "a", 2, data=json.dumps(body)) for body in bodies]
    (tmp_path / "k.jsonl").write_text("\n".join(lines))
    wanted = {("BTC/USD", "kraken"), ("ETH/USD", "kraken")}
    contents = contents_of(find_captures([tmp_path]), {"kraken_v2": KrakenV2(depth=0)}, wanted)
    assert contents.depths == {"kraken": depth} and len(contents.symbols) == 2


def test_closing_is_told_by_its_reason(tmp_path):
    lines = [connect("a", 1), line("recv", "a", 2, data=trade(1)), connect("a", 3), line("recv", "a", 4, data=trade(2))]
    pool = pool_of(tmp_path, lines)
    pool.turn(0.0)[1].connection.read_into(memoryview(bytearray(1 << 16)))
    closed = pool.turn(0.0)[0]
    assert isinstance(closed, Closed) and closed.reason == "made again"
