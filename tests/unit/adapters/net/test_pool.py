"""The pool of connections against real servers on the loopback: what fails, what is silent, what takes over."""

import json
import random
import resource
import socket
import threading
import time
from contextlib import contextmanager
from itertools import chain, pairwise
from pathlib import Path

import pytest
from rig.peer import server
from rig.reader import PATIENCE_S, Clock, Reader
from rig.replayer import Fault, Plan, Recorded, certificates, serve
from websockets.frames import Frame, Opcode

from bot4.adapters.binance.streams import BinanceSpotStreams, BinanceUsdmStreams
from bot4.adapters.bybit.streams import BybitLinearStreams, BybitSpotStreams
from bot4.adapters.kraken.streams import KrakenStreams
from bot4.adapters.net.pool import StreamPool, Wanted
from bot4.model.errors import InputError
from bot4.ports.stream import MAX_CONNECTIONS

SYMBOL = "BTCUSDT"
TOPICS = BinanceSpotStreams().topics(SYMBOL)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("tls"))


def tape(count, topics=TOPICS, pad=0):
    """Messages that know their number; large ones do not all fit the buffers between venue and reader."""
    made = []
    for number in range(count):
        topic = topics[number % len(topics)]
        body = json.dumps({"stream": topic, "data": {"number": number}, "pad": "x" * pad}).encode()
        made.append(Recorded(number * 1_000_000, topic, body))
    return made


def numbers(messages):
    return [json.loads(body)["data"]["number"] for _, body in messages]


def spot(port):
    return BinanceSpotStreams(f"wss://localhost:{port}", f"https://localhost:{port}")


@contextmanager
def pool_of(tls, wanted, *, silence_s=1e6, clock=None, seed=1, **kwargs):
    pool = StreamPool(wanted, silence_s, random.Random(seed), clock or time.monotonic_ns, ca_file=tls.ca_file, **kwargs)
    try:
        yield Reader(pool)
    finally:
        pool.close()


@contextmanager
def spot_pair(tls, made, *faults, symbols=(SYMBOL,), connections=1, **kwargs):
    """A venue that serves messages, and a reader of it."""
    with (
        serve(Plan("binance_spot", made, faults=faults), tls.server) as venue,
        pool_of(tls, [Wanted(spot(venue.port), symbols, connections)], **kwargs) as reader,
    ):
        yield venue, reader


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


# --- the normal case ---------------------------------------------------------------------------------------------


def test_all_messages_come_in_order(tls):
    made = tape(20_000)
    with (
        serve(Plan("binance_spot", made), tls.server) as venue,
        pool_of(tls, [Wanted(spot(venue.port), [SYMBOL])]) as reader,
    ):
        reader.until(lambda: len(reader.messages) == len(made))
        assert numbers(reader.messages) == list(range(len(made)))
        slot = reader.pool.slots[0]
        assert (slot.attempts, slot.opened, slot.closed) == (1, 1, 0)
        assert slot.bytes == reader.bytes
    assert venue.requests == ["/stream?streams=" + "/".join(TOPICS)]


def test_only_what_was_subscribed_comes_and_messages_keep_the_venues_pace(tls):
    symbols = [f"COIN{number}USDT" for number in range(12)]
    greeting = {}
    plan = Plan("bybit_linear", [], greet=lambda topic, position: greeting.setdefault(topic, [topic.encode()]))
    clock = Clock()
    with serve(plan, tls.server) as venue:
        streams = BybitLinearStreams(ws_url=f"wss://localhost:{venue.port}")
        with pool_of(tls, [Wanted(streams, symbols)], clock=clock) as reader:
            reader.until(lambda: len(venue.said) == 1)
            for _ in range(20):
                reader.turn(0.005)
            assert len(venue.said) == 1, "the clock stands still, so the venue's pace allows one message"
            reader.until(lambda: len(venue.said) == 5, lambda: clock.pass_s(0.1))
            args = [json.loads(text)["args"] for _, text in venue.said]
            assert [len(part) for part in args] == [10, 10, 10, 10, 8]
            wanted = [topic for symbol in symbols for topic in streams.topics(symbol)]
            assert sorted(chain.from_iterable(args)) == sorted(wanted) == sorted(greeting)
            clock.pass_s(20)
            reader.until(lambda: len(venue.said) == 6)
            assert venue.said[-1][1] == '{"op":"ping"}'
            reader.until(lambda: any(b"pong" in body for _, body in reader.messages))


def test_a_fresh_book_is_asked_for_at_most_once_a_second(tls):
    clock = Clock()
    with serve(Plan("kraken", []), tls.server) as venue:
        streams = KrakenStreams(ws_url=f"wss://localhost:{venue.port}")
        with pool_of(tls, [Wanted(streams, ["BTC/USD", "ETH/USD"])], clock=clock) as reader:
            reader.until(lambda: len(venue.said) == 4, lambda: clock.pass_s(0.2))
            for _ in range(5):
                reader.pool.resubscribe("kraken", "BTC/USD")
            reader.until(lambda: len(venue.said) == 6, lambda: clock.pass_s(0.2))
            first, second = (json.loads(text) for _, text in venue.said[4:])
            assert (first["method"], second["method"]) == ("unsubscribe", "subscribe")
            assert first["params"]["symbol"] == second["params"]["symbol"] == ["BTC/USD"]
            assert second["params"]["channel"] == "book"
            assert second["params"]["snapshot"] is True
            ids = [json.loads(text)["req_id"] for _, text in venue.said]
            assert len(set(ids)) == len(ids)
            clock.pass_s(1.0)
            reader.pool.resubscribe("kraken", "BTC/USD")
            reader.until(lambda: len(venue.said) == 8, lambda: clock.pass_s(0.2))


def test_streams_of_two_addresses_have_two_connections(tls):
    with serve(Plan("binance_usdm", []), tls.server) as venue:
        streams = BinanceUsdmStreams(f"wss://localhost:{venue.port}")
        with pool_of(tls, [Wanted(streams, [SYMBOL])]) as reader:
            reader.until(lambda: len(reader.opened) == 2)
    paths = {path.partition("?")[0]: path.partition("=")[2] for path in venue.requests}
    assert paths == {
        "/public/stream": "btcusdt@bookTicker/btcusdt@trade/btcusdt@depth@0ms",
        "/market/stream": "btcusdt@markPrice@1s",
    }


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ([Wanted(BinanceSpotStreams(), [])], "symbols: none"),
        ([Wanted(BinanceSpotStreams(), ["A", "A"])], "symbols: A, A"),
        ([Wanted(BinanceSpotStreams("ws://localhost:1"), ["A"])], "write wss://"),
        ([Wanted(BinanceSpotStreams("wss://:1"), ["A"])], "write wss://"),
        ([Wanted(BinanceSpotStreams("wss://localhost:99999"), ["A"])], "write wss://"),
        ([Wanted(BinanceSpotStreams(), [f"A{n}" for n in range(40)], 40)], "40 are wanted, 32 can be kept"),
    ],
)
def test_what_cannot_be_wanted_is_refused_in_one_line(wanted, words):
    with pytest.raises(InputError) as error:
        StreamPool(wanted, 1.0, random.Random(1), Clock())
    assert words in str(error.value)
    assert "\n" not in str(error.value)


# --- what fails ---------------------------------------------------------------------------------------------------


def dead_port():
    """A port of this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def attempts_in_vain(tls, seed, address, reason, hours=1.0):
    """Times in seconds of the attempts at an address where nobody answers."""
    clock, times = Clock(), []
    with pool_of(tls, [Wanted(BinanceSpotStreams(address), [SYMBOL])], clock=clock, seed=seed) as reader:
        slot, begin = reader.pool.slots[0], clock.ns
        while clock.ns - begin < hours * 3600e9:
            reader.turn()
            if slot.attempts > len(times):
                times.append((clock.ns - begin) / 1e9)
                reader.until(lambda: slot.opening is None)  # the attempt fails in real time, at once
            clock.pass_s(0.1)
        assert not reader.opened
        assert sum(slot.reasons.values()) == slot.attempts
        assert all(reason in known for known in slot.reasons)
    return times


@pytest.mark.parametrize(
    ("host", "reason"), [("localhost", "no TCP connection"), (f"{'x' * 70}.invalid", "no such host")]
)
def test_attempts_come_at_random_ever_later_and_never_within_a_second(tls, host, reason):
    address = f"wss://{host}:{dead_port()}"
    times = attempts_in_vain(tls, 1, address, reason)
    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps) >= 1.0
    assert max(gaps) <= 30.2, "30 s and the grain of the clock"
    later = gaps[8:]
    assert 12.0 < sum(later) / len(later) < 18.0, "on average half of the longest delay"
    assert len({round(gap) for gap in later}) > 15, "jitter spreads them"
    assert times != attempts_in_vain(tls, 2, address, reason)


def test_slots_that_fail_together_try_again_one_a_second(tls):
    streams = BinanceSpotStreams(f"wss://localhost:{dead_port()}")
    clock, times = Clock(), []
    with pool_of(tls, [Wanted(streams, [f"A{n}" for n in range(16)], 16)], clock=clock) as reader:
        slots, begin = reader.pool.slots, clock.ns
        for _ in range(1_200):
            reader.turn()
            new = sum(slot.attempts for slot in slots) - len(times)
            times += [(clock.ns - begin) / 1e9] * new
            reader.until(lambda: all(slot.opening is None for slot in slots))
            clock.pass_s(0.1)
        assert all(slot.attempts >= 3 for slot in slots)
    assert times[:16] == [times[0]] * 16, "the first of all go at once"
    again = times[16:]
    assert len(again) > 60 and min(after - before for before, after in pairwise(again)) >= 1.0


def test_a_process_without_file_descriptors_tries_again(tls):
    clock = Clock()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with spot_pair(tls, [], clock=clock) as (_, reader):
        slot = reader.pool.slots[0]
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            reader.turn()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert list(slot.reasons) == ["OSError: [Errno 24] Too many open files"]
        reader.until(lambda: reader.opened, lambda: clock.pass_s(0.5))


def test_the_venue_limits_the_attempts_of_all_slots_together(tls):
    streams = BybitSpotStreams(ws_url=f"wss://localhost:{dead_port()}")
    streams.attempts = streams.attempts._replace(most=20, within_s=300.0)
    clock = Clock()
    with pool_of(tls, [Wanted(streams, [f"A{n}" for n in range(8)], 8)], clock=clock) as reader:
        slots = reader.pool.slots
        for _ in range(100):
            reader.until(lambda: all(slot.opening is None for slot in slots))
            clock.pass_s(2.9)
            reader.turn()
        assert sum(slot.attempts for slot in slots) == 20
        clock.pass_s(20)
        reader.until(lambda: sum(slot.attempts for slot in slots) > 20)


def test_a_thousand_disconnects_leave_nothing_behind(tls):
    cuts = 1_000
    faults = [Fault(("cut", "close")[number % 2], at=number * 3 + 2) for number in range(cuts)]
    clock = Clock()
    with spot_pair(tls, tape(cuts * 3 + 3), *faults, clock=clock) as (venue, reader):
        slot = reader.pool.slots[0]

        def wait():
            if slot.current is None and slot.opening is None:
                clock.pass_s(30.0)

        reader.until(lambda: slot.opened == 10, wait)
        files, threads = open_files(), threading.active_count()
        began = slot.attempts, clock.ns
        reader.until(lambda: slot.opened == cuts + 1, wait)
        assert slot.attempts - began[0] <= (clock.ns - began[1]) / 1e9
        assert open_files() - files <= 4, "the one opening and the one connection that come and go"
        assert threading.active_count() <= threads + 2
        assert len(venue.log) == cuts
        assert len(reader.pool._free) == MAX_CONNECTIONS - 1
        assert len(slot.reasons) < 8
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(("open", "names"))]


# --- what is silent -----------------------------------------------------------------------------------------------


def test_a_half_open_connection_is_asked_then_closed_and_opened_anew(tls):
    made = tape(300)
    clock = Clock()
    with spot_pair(tls, made, Fault("half_open", at=99), silence_s=10.0, clock=clock) as (_, reader):
        reader.until(lambda: len(reader.messages) == 100)
        for seconds in (5.0, 4.9):
            clock.pass_s(seconds)
            for _ in range(20):
                reader.turn(0.005)
            assert not reader.closed
        clock.pass_s(0.2)
        reader.until(lambda: reader.closed)
        assert reader.closed[0].reason == "silent for 10 s"
        reader.until(lambda: len(reader.messages) == 300, lambda: clock.pass_s(0.2))
        assert numbers(reader.messages) == list(range(300))


def test_a_reader_that_stood_still_does_not_take_its_peer_for_silent(tls):
    clock = Clock()
    with spot_pair(tls, [], silence_s=10.0, clock=clock) as (_, reader):
        reader.until(lambda: reader.opened)
        clock.pass_s(3600.0)
        reader.until(lambda: reader.pool.slots[0].bytes)  # the answer to the ping that came late
        assert not reader.closed


def test_a_quiet_venue_that_answers_pings_is_left_alone(tls):
    clock = Clock()
    with spot_pair(tls, [], silence_s=10.0, clock=clock) as (_, reader):
        reader.until(lambda: reader.opened)
        slot = reader.pool.slots[0]
        for _ in range(20):
            clock.pass_s(5.0)
            reader.until(lambda before=slot.bytes: slot.bytes > before)  # the answer to our ping
        assert not reader.closed


def test_a_connection_that_is_closed_by_the_reader_is_opened_anew_under_another_turn(tls):
    clock = Clock()
    with spot_pair(tls, [], clock=clock) as (_, reader):
        reader.until(lambda: reader.opened)
        connection = reader.opened[0].connection
        reader.pool.drop(connection, "a damaged frame")
        reader.pool.drop(connection, "twice does nothing")
        assert connection.read_into(memoryview(bytearray(10))) == 0
        reader.until(lambda: len(reader.opened) == 2, lambda: clock.pass_s(1.0))
        assert reader.pool.slots[0].reasons == {"a damaged frame": 1}
        assert not reader.closed


def test_a_ping_of_the_venue_is_answered(tls):
    found = []

    def script(peer):
        peer.shake_hands(Frame(Opcode.PING, b"1723161253937").serialize(mask=False))
        found.extend(peer.frames(1))

    with server(tls.server, script) as (port, _), pool_of(tls, [Wanted(spot(port), [SYMBOL])]) as reader:
        reader.until(lambda: found)
    assert (found[0].opcode, bytes(found[0].data)) == (Opcode.PONG, b"1723161253937")


# --- nobody waits for another -------------------------------------------------------------------------------------


class Mute:
    """Takes connections and never says a word."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def test_a_host_that_never_answers_holds_up_nobody(tls):
    made = tape(5_000)
    with Mute() as mute, serve(Plan("binance_spot", made), tls.server) as venue:
        dead = BybitSpotStreams(ws_url=f"wss://localhost:{mute.port}")
        with pool_of(tls, [Wanted(dead, ["A"]), Wanted(spot(venue.port), [SYMBOL])]) as reader:
            reader.until(lambda: len(reader.messages) == len(made))
            assert numbers(reader.messages) == list(range(len(made)))
            assert reader.pool.slots[0].opening is not None, "all of it came while the other one is still waiting"
            longest = max(self_timed(reader) for _ in range(50))
            assert longest < reader.pool._open_s / 2
        assert reader.pool.slots[0].opened == 0


def self_timed(reader):
    begin = time.monotonic()
    reader.turn(0.001)
    return time.monotonic() - begin


def test_a_name_service_that_hangs_holds_up_nobody_and_keeps_one_thread(tls, monkeypatch):
    """Only the system's own call is replaced: no name service can be made to hang on demand."""
    goes_on, calls, real = threading.Event(), [], socket.getaddrinfo

    def hangs(host, *args, **kwargs):
        if host != "hangs.invalid":
            return real(host, *args, **kwargs)
        calls.append(host)
        goes_on.wait(PATIENCE_S)
        raise socket.gaierror(-2, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    made = tape(2_000)
    clock = Clock()
    streams = BybitSpotStreams(ws_url="wss://hangs.invalid:1")
    with serve(Plan("binance_spot", made), tls.server) as venue:
        wanted = [Wanted(streams, ["A"]), Wanted(spot(venue.port), [SYMBOL])]
        with pool_of(tls, wanted, clock=clock, open_s=0.5) as reader:
            slot = reader.pool.slots[0]
            reader.until(lambda: slot.attempts == 4, lambda: clock.pass_s(0.3))
            reader.until(lambda: len(reader.messages) == len(made), lambda: clock.pass_s(0.3))
            assert slot.reasons["hangs.invalid: name service: no answer in time"] >= 3
            assert len(calls) == 1, "all attempts wait for the one question"
            assert sum(thread.name == "names" for thread in threading.enumerate()) == 1
            begin = time.monotonic()
        assert time.monotonic() - begin < PATIENCE_S / 2, "closing waits for no name service"
    goes_on.set()


def test_a_host_that_never_answers_is_given_up_in_time(tls):
    with Mute() as mute, pool_of(tls, [Wanted(spot(mute.port), [SYMBOL])], open_s=1.0) as reader:
        slot = reader.pool.slots[0]
        reader.until(lambda: slot.reasons)
        assert list(slot.reasons) == ["localhost: TLS handshake: no answer in time"]


def test_a_flood_on_one_connection_does_not_starve_another(tls):
    flood = [Recorded(0, topic, b'{"stream":"flood","data":{"pad":"%s"}}' % (b"x" * 1000)) for topic in TOPICS] * 8_000
    made = tape(200)
    with serve(Plan("binance_spot", flood), tls.server) as loud, serve(Plan("binance_spot", made), tls.server) as quiet:
        quiet.hold()
        louder = BinanceSpotStreams(f"wss://localhost:{loud.port}")
        louder.venue = "flood"
        with pool_of(tls, [Wanted(louder, [SYMBOL]), Wanted(spot(quiet.port), [SYMBOL])]) as reader:
            reader.until(lambda: reader.bytes > 1_000_000 and len(reader.opened) == 2)
            quiet.go_on()
            reader.until(lambda: sum(c.venue == "binance_spot" for c, _ in reader.messages) == len(made))
            assert not loud.ended.is_set(), "the quiet one came through while the flood went on"


# --- taking over --------------------------------------------------------------------------------------------------


def test_a_successor_takes_over_before_the_lifetime_is_over_and_nothing_is_missing(tls):
    made = tape(30_000, pad=1_000)
    clock = Clock()
    with serve(Plan("binance_spot", made), tls.server) as venue:
        streams = spot(venue.port)
        with pool_of(tls, [Wanted(streams, [SYMBOL])], clock=clock, overlap_s=5.0) as reader:
            reader.until(lambda: len(reader.messages) > 1_000)
            old = reader.opened[0].connection
            clock.pass_s(0.79 * streams.lifetime_s)
            reader.turn()
            assert reader.pool.slots[0].attempts == 1
            clock.pass_s(0.12 * streams.lifetime_s)
            venue.hold()
            reader.until(lambda: len(reader.opened) == 2)
            assert reader.opened[1].replaces is old
            assert reader.opened[1].connection.id != old.id
            for _ in range(20):
                clock.pass_s(5.0)
                reader.turn(0.002)
            assert not reader.closed, "the successor has said nothing yet"
            venue.go_on()
            reader.until(lambda: sum(c is not old for c, _ in reader.messages) > 100)
            reader.until(lambda: reader.closed, lambda: clock.pass_s(1.0))
            assert reader.closed[0].connection is old
            assert reader.closed[0].reason == "replaced"
            reader.until(lambda: numbers(reader.messages[-1:]) == [len(made) - 1])
            new = [
                number for (c, _), number in zip(reader.messages, numbers(reader.messages), strict=True) if c is not old
            ]
            assert new == list(range(new[0], len(made)))
            seen_of_old = {
                number for (c, _), number in zip(reader.messages, numbers(reader.messages), strict=True) if c is old
            }
            assert set(range(new[0])) <= seen_of_old, "no message between the two is missing"
            assert new[0] in seen_of_old, "for a time both have spoken"


def test_the_reader_may_retire_what_has_a_successor_and_nothing_else(tls):
    clock = Clock()
    with spot_pair(tls, [], clock=clock) as (_, reader):
        reader.until(lambda: reader.opened)
        old = reader.opened[0].connection
        reader.pool.retire(old)
        assert reader.pool.slots[0].current is old
        clock.pass_s(0.9 * BinanceSpotStreams.lifetime_s)
        reader.until(lambda: len(reader.opened) == 2)
        reader.pool.retire(old)
        assert reader.pool.slots[0].leaving == []
        assert reader.pool.slots[0].reasons == {"replaced": 1}
        for _ in range(20):
            clock.pass_s(1.0)
            reader.turn(0.002)
        assert len(reader.opened) == 2
        assert not reader.closed


def test_loads_are_split_anew_by_measured_rates(tls):
    symbols = [f"A{number}USDT" for number in range(6)]
    streams = BinanceSpotStreams()
    topics = [topic for symbol in symbols for topic in streams.topics(symbol)]
    made = tape(30_000, topics, pad=1_000)
    clock = Clock()
    with spot_pair(tls, made, symbols=symbols, connections=2, clock=clock, overlap_s=1.0) as (venue, reader):
        reader.until(lambda: len(reader.messages) > 1_000)
        assert sorted(len(slot.symbols) for slot in reader.pool.slots) == [3, 3]
        even = {("binance_spot", symbol): 10.0 for symbol in symbols}
        assert reader.pool.rebalance(even) == 0
        heavy = even | {("binance_spot", reader.pool.slots[0].symbols[0]): 50.0}
        assert reader.pool.rebalance(heavy) == 2
        assert sorted(len(slot.symbols) for slot in reader.pool.slots) == [1, 5]
        reader.until(lambda: len(reader.closed) == 2, lambda: clock.pass_s(0.01))  # the overlap is many turns long
        assert {closed.reason for closed in reader.closed} == {"replaced"}
        assert {slot.current.symbols for slot in reader.pool.slots} == {slot.symbols for slot in reader.pool.slots}
        reader.until(venue.ended.is_set)
        while reader.turn(0.2):
            pass
        assert set(numbers(reader.messages)) == set(range(len(made))), "what moved was spoken of all the time"
