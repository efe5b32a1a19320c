"""The loopback venue itself: it serves what was recorded, strikes what the plan says, and tells each blow."""

import json
import random
import time
from collections import Counter
from contextlib import closing, contextmanager

import psutil
import pytest
from rig.reader import Clock, Reader
from rig.replayer import (
    Fault,
    OracleBook,
    Plan,
    Recorded,
    binance_tape,
    captured_tape,
    certificates,
    serve,
    serve_apart,
)

from bot4.adapters.binance.streams import BinanceSpotStreams, BinanceUsdmStreams
from bot4.adapters.bybit.streams import BybitLinearStreams
from bot4.adapters.coinbase.streams import HEARTBEATS, CoinbaseStreams
from bot4.adapters.net.dial import Cancel, verified_context
from bot4.adapters.net.pool import StreamPool, Wanted
from bot4.adapters.net.rest import get

MESSAGES = 3_000


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("tls"))


@contextmanager
def reader_of(tls, streams, symbol, clock=None):
    pool = StreamPool([Wanted(streams, [symbol])], 1e6, random.Random(1), clock or Clock(), ca_file=tls.ca_file)
    with closing(pool):
        yield Reader(pool)


def local(make, port):
    return make(ws_url=f"wss://localhost:{port}", rest_url=f"https://localhost:{port}")


@pytest.mark.data
@pytest.mark.parametrize(
    ("make", "name"),
    [(BinanceSpotStreams, "spot/btcusdt_20240808.gz"), (BinanceUsdmStreams, "usdm/btcusdt_20240808.gz")],
)
def test_a_capture_arrives_as_it_was_recorded(tls, data_dir, make, name):
    tape, snapshot = binance_tape([data_dir / "hftbacktest" / name], MESSAGES)
    streams = make()
    topics = set(streams.topics("BTCUSDT"))
    assert {message.topic for message in tape} <= topics
    plan = Plan(streams.venue, tape, snapshot)
    with serve(plan, tls.server) as venue, reader_of(tls, local(make, venue.port), "BTCUSDT") as reader:
        reader.until(lambda: len(reader.messages) == len(tape))
        assert [body for _, body in reader.messages] == [message.payload for message in tape]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "streams", "symbols"),
    [
        ("2026-08-09_BYBIT_first60pct", BybitLinearStreams(200), ("BTCUSDT", "DOGEUSDT", "ETHUSDT", "SOLUSDT")),
        ("2026-08-09_COINBASE_first60pct", CoinbaseStreams(), ("BTC-USD", "ETH-USD")),
    ],
)
def test_captures_of_connections_arrive_as_recorded(tls, data_dir, name, streams, symbols):
    topics = {topic for symbol in symbols for topic in streams.topics(symbol)}
    tape = captured_tape(data_dir / "cryptofeed" / f"{name}.jsonl.gz", streams.venue)
    tape = [message for message in tape if message.topic in topics]  # no bars
    assert len(tape) > 600
    clock, recorded = Clock(), [message.payload for message in tape]
    with serve(Plan(streams.venue, tape), tls.server) as venue:
        streams.ws_url = f"wss://localhost:{venue.port}"
        with closing(StreamPool([Wanted(streams, symbols)], 1e6, random.Random(1), clock, ca_file=tls.ca_file)) as pool:
            reader = Reader(pool)
            reader.until(
                lambda: [recorded[-1]] == [body for _, body in reader.messages[-1:]], lambda: clock.pass_s(0.3)
            )
    known = set(recorded)
    assert [body for _, body in reader.messages if body in known] == recorded


@pytest.mark.data
@pytest.mark.parametrize("position", [0, 10, 2_000])
def test_the_book_of_rest_is_that_of_the_markets_position(tls, data_dir, position):
    tape, snapshot = binance_tape([data_dir / "hftbacktest" / "usdm/btcusdt_20240808.gz"])
    tape = tape[:position]
    streams = BinanceUsdmStreams()
    with serve(Plan(streams.venue, tape, snapshot), tls.server) as venue, closing(Cancel()) as cancel:
        with reader_of(tls, local(BinanceUsdmStreams, venue.port), "BTCUSDT") as reader:
            reader.until(lambda: len(reader.messages) == len(tape))
        path, query = streams.snapshot("BTCUSDT")
        context = verified_context(tls.ca_file)
        answer = get(f"https://localhost:{venue.port}{path}?{query}", context, 30.0, cancel)
    assert answer.error == ""
    got, start = json.loads(answer.body), json.loads(snapshot)
    diffs = [json.loads(m.payload)["data"] for m in tape if "@depth" in m.topic]
    assert got["lastUpdateId"] == max([start["lastUpdateId"], *(diff["u"] for diff in diffs)])
    bids, asks = dict(start["bids"]), dict(start["asks"])
    for diff in diffs:
        if diff["u"] > start["lastUpdateId"]:
            bids |= dict(diff["b"])
            asks |= dict(diff["a"])
    best = sorted((row for row in bids.items() if float(row[1])), key=lambda row: -float(row[0]))
    assert got["bids"] == [list(row) for row in best[:1000]]
    best = sorted((row for row in asks.items() if float(row[1])), key=lambda row: float(row[0]))
    assert got["asks"] == [list(row) for row in best[:1000]]
    assert len(got["bids"]) == len(got["asks"]) == 1000


def test_a_diff_from_before_the_snapshot_changes_no_book():
    book = OracleBook(b'{"lastUpdateId":5,"bids":[["1","1"]],"asks":[["2","1"]]}')
    book.apply(b'{"stream":"a@depth","data":{"u":5,"b":[["1","0"]],"a":[]}}')
    assert json.loads(book.body(10)) == {"lastUpdateId": 5, "bids": [["1", "1"]], "asks": [["2", "1"]]}


# --- faults -------------------------------------------------------------------------------------------------------

TOPIC = "btcusdt@trade"


def numbered(count, at_ns=1_000_000):
    topics = BinanceSpotStreams().topics("BTCUSDT")
    return [Recorded(n * at_ns, topics[n % 3], b'{"number":%d,"same":"%d"}' % (n, n)) for n in range(count)]


def run(tls, tape, *faults, seed=1):
    """All of the tape with faults; what came, and what the venue says it did."""
    clock = Clock()
    plan = Plan("binance_spot", tape, faults=faults, seed=seed)
    with serve(plan, tls.server) as venue:
        with reader_of(tls, local(BinanceSpotStreams, venue.port), "BTCUSDT", clock) as reader:
            reader.until(venue.ended.is_set, lambda: clock.pass_s(0.5))
            while reader.turn(0.2):
                pass
        return [body for _, body in reader.messages], venue


def number_of(body):
    return int(body.split(b'"same":"')[1].rstrip(b'"}'))


def test_drop_repeat_and_reorder_strike_the_message_of_their_number(tls):
    faults = [Fault("drop", at=10), Fault("repeat", at=20), Fault("reorder", at=30)]
    came, venue = run(tls, numbered(50), *faults)
    expected = [n for n in range(50) if n != 10]
    expected.insert(expected.index(20), 20)
    at = expected.index(30)
    expected[at], expected[at + 1] = 31, 30
    assert [number_of(body) for body in came] == expected
    assert [(struck.kind, struck.message) for struck in venue.log] == [("drop", 10), ("repeat", 20), ("reorder", 30)]


def test_faults_by_chance_are_all_told_and_come_again_with_the_seed(tls):
    faults = [Fault("drop", probability=0.02), Fault("repeat", probability=0.03), Fault("corrupt", probability=0.05)]
    tape = numbered(5_000)
    came, venue = run(tls, tape, *faults)
    told = Counter(struck.kind for struck in venue.log)
    assert min(told.values()) > 50
    assert len(came) == len(tape) - told["drop"] + told["repeat"]
    sent = {message.payload for message in tape}
    damaged = [body for body in came if body not in sent]
    assert len(damaged) == told["corrupt"]
    again, second = run(tls, tape, *faults)
    assert again == came
    assert second.log == venue.log
    assert run(tls, tape, *faults, seed=2)[1].log != venue.log


@pytest.mark.parametrize("kind", ["cut", "close"])
def test_a_cut_misses_as_many_messages_as_the_plan_says(tls, kind):
    came, venue = run(tls, numbered(300), Fault(kind, at=99, missed=50))
    numbers = [number_of(body) for body in came]
    assert [struck.message for struck in venue.log] == [99]
    assert numbers[-150:] == list(range(150, 300))
    if kind == "close":
        assert numbers == [*range(100), *range(150, 300)]


def test_a_stall_delays_and_loses_nothing(tls):
    begin = time.monotonic()
    came, venue = run(tls, numbered(300), Fault("stall", at=99, seconds=0.5))
    assert time.monotonic() - begin >= 0.5
    assert [number_of(body) for body in came] == list(range(300))
    assert [struck.kind for struck in venue.log] == ["stall"]


def test_messages_come_at_the_pace_of_the_tape(tls):
    tape = numbered(100, at_ns=100_000_000)  # 9.9 s
    plan = Plan("binance_spot", tape, speed=20.0)
    with serve(plan, tls.server) as venue, reader_of(tls, local(BinanceSpotStreams, venue.port), "BTCUSDT") as reader:
        reader.until(lambda: reader.messages)
        begin = time.monotonic()
        reader.until(lambda: len(reader.messages) == 100)
        assert time.monotonic() - begin > 0.3, "never faster; how much slower is the machine's affair"


def test_other_venues_serve_what_was_subscribed_and_nothing_else(tls):
    symbols = ("BTC-USD", "ETH-USD")
    topics = [topic for symbol in symbols for topic in CoinbaseStreams().topics(symbol) if topic != HEARTBEATS]
    tape = [Recorded(n, topics[n % len(topics)], b'{"same":"%d"}' % n) for n in range(100)]
    clock = Clock()
    with serve(Plan("coinbase", tape, speed=1e9), tls.server) as venue:
        wanted = [Wanted(CoinbaseStreams(f"wss://localhost:{venue.port}"), symbols, 2)]
        with closing(StreamPool(wanted, 1e6, random.Random(1), clock, ca_file=tls.ca_file)) as pool:
            reader = Reader(pool)
            reader.until(venue.ended.is_set, lambda: clock.pass_s(0.3))
            while reader.turn(0.2):
                pass
    for symbol in symbols:
        came = [body for connection, body in reader.messages if connection.symbols == (symbol,)]
        assert came == [message.payload for message in tape if message.topic.endswith(symbol)]


# --- a process of its own ------------------------------------------------------------------------------------------


def test_a_replayer_in_its_own_process_serves_reports_and_ends(tls):
    tape = numbered(2_000)
    plan = Plan("binance_spot", tape, faults=[Fault("drop", at=7)])
    with serve_apart(plan, tls.chain_file) as venue:
        assert psutil.pid_exists(venue.pid)
        with reader_of(tls, local(BinanceSpotStreams, venue.port), "BTCUSDT") as reader:
            reader.until(lambda: len(reader.messages) == len(tape) - 1)
        log, sent, position = venue.end()
        assert [(struck.kind, struck.message) for struck in log] == [("drop", 7)]
        assert (sent, position) == (len(tape) - 1, len(tape))
    assert not psutil.pid_exists(venue.pid)
