"""GET over HTTPS against real servers: whole bodies or one line that says why not, and venues that want silence."""

import threading
import time
from contextlib import closing

import pytest
from rig.peer import answers, server
from rig.reader import PATIENCE_S, Clock
from rig.replayer import Plan, certificates, serve

from bot4.adapters.binance.streams import BinanceSpotStreams
from bot4.adapters.bybit.streams import BybitSpotStreams
from bot4.adapters.net.dial import Cancel, verified_context
from bot4.adapters.net.rest import PAUSE_S, RestFetcher, get
from bot4.model.errors import InputError

PATH = "/api/v3/depth"


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("tls"))


def fetched(tls, data, most=1000, timeout_s=10.0, ca_file=None):
    with server(tls.server, answers(data)) as (port, _), closing(Cancel()) as cancel:
        context = verified_context(ca_file or tls.ca_file)
        return get(f"https://localhost:{port}{PATH}?a=b", context, timeout_s, cancel, most)


def head(status, *lines):
    return ("\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""])).encode()


@pytest.mark.parametrize(
    "data",
    [
        head("200 OK", "Content-Length: 5") + b"hello",
        head("200 OK", "Transfer-Encoding: chunked") + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        head("200", "content-length: 5") + b"hello",
    ],
)
def test_a_whole_body_is_handed_over(tls, data):
    assert fetched(tls, data) == (200, b"hello", "", 0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (head("404 Not Found", "Content-Length: 3") + b"no!", "HTTP 404 Not Found: no!"),
        (head("301 Moved", "Location: https://evil.example/"), "points to https://evil.example/ and is not followed"),
        (head("200 OK", "Content-Length: 1001") + b"x" * 1001, "longer than 1,000 bytes"),
        (
            head("200 OK", "Transfer-Encoding: chunked") + b"fff\r\n" + b"x" * 4095 + b"\r\n0\r\n\r\n",
            "longer than 1,000",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP answer that can be read"),
        (head("200 OK", *(f"H{n}: x" for n in range(200))), "no HTTP answer that can be read"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 80_000, "no HTTP answer that can be read"),
    ],
)
def test_anything_else_is_an_error_in_one_line(tls, data, words):
    answer = fetched(tls, data)
    assert words in answer.error
    assert "\n" not in answer.error
    assert answer.body == b""


@pytest.mark.parametrize(
    "data",
    [
        head("200 OK", "Content-Length: 500") + b"half",
        head("200 OK", "Transfer-Encoding: chunked") + b"fff\r\nhalf",
    ],
)
def test_half_a_body_is_never_handed_over(tls, data):
    def script(peer):
        peer.sock.recv(4096)
        peer.sock.sendall(data)

    with server(tls.server, script) as (port, _), closing(Cancel()) as cancel:
        answer = get(f"https://localhost:{port}/", verified_context(tls.ca_file), 10.0, cancel)
    assert answer.body == b""
    assert answer.error


def test_a_body_that_never_ends_is_given_up_in_time(tls):
    answer = fetched(tls, head("200 OK", "Content-Length: 500") + b"half", timeout_s=1.5)
    assert answer.error == "localhost: answer: no answer in time"


def test_an_untrusted_host_is_asked_nothing(tls, tmp_path):
    other = certificates(tmp_path)
    with serve(Plan("binance_spot", []), tls.server) as venue, closing(Cancel()) as cancel:
        answer = get(f"https://localhost:{venue.port}{PATH}", verified_context(other.ca_file), 10.0, cancel)
        assert "certificate refused" in answer.error
    assert venue.accepted == 1
    assert venue.requests == []


def test_only_https_is_spoken(tls):
    with pytest.raises(InputError, match="write https://"):
        RestFetcher([BinanceSpotStreams(rest_url="http://localhost:1")], Clock(), ca_file=tls.ca_file)


# --- the fetcher --------------------------------------------------------------------------------------------------


def take(fetcher, count):
    found = []
    give_up = time.monotonic() + PATIENCE_S
    while len(found) < count:
        assert time.monotonic() < give_up, f"{len(found)} of {count} answers came"
        found += fetcher.done()
        time.sleep(0.002)
    return found


def fetcher_of(tls, clock, *streams, **kwargs):
    return closing(RestFetcher(streams, clock, ca_file=tls.ca_file, **kwargs))


def test_a_key_is_asked_for_once_a_second(tls):
    clock, key = Clock(), ("binance_spot", "BTCUSDT")
    plan = Plan("binance_spot", [], rest={PATH: (200, "X: 1", b"{}")})
    with serve(plan, tls.server) as venue:
        streams = BinanceSpotStreams(rest_url=f"https://localhost:{venue.port}")
        with fetcher_of(tls, clock, streams) as fetcher:
            for _ in range(10):
                fetcher.ask(key, "binance_spot", streams.snapshot("BTCUSDT"))
            assert take(fetcher, 1) == [(key, b"{}", "")]
            assert venue.requests == [f"{PATH}?symbol=BTCUSDT&limit=1000"]
            fetcher.ask(key, "binance_spot", streams.snapshot("BTCUSDT"))
            fetcher.ask(("binance_spot", "ETHUSDT"), "binance_spot", streams.snapshot("ETHUSDT"))
            assert take(fetcher, 1) == [(("binance_spot", "ETHUSDT"), b"{}", "")], "another one need not wait"
            clock.pass_s(1.0)
            assert take(fetcher, 1) == [(key, b"{}", "")]
            assert len(venue.requests) == 3


@pytest.mark.parametrize(("status", "line", "pause_s"), [(429, "Retry-After: 7", 7), (418, "X: 1", PAUSE_S)])
def test_a_venue_that_asks_for_silence_is_left_alone(tls, status, line, pause_s):
    clock = Clock()
    plan = Plan("binance_spot", [], rest={PATH: (status, line, b"")})
    good = Plan("bybit_spot", [], rest={PATH: (200, "X: 1", b"good")})
    with serve(plan, tls.server) as venue, serve(good, tls.server) as other:
        streams = BinanceSpotStreams(rest_url=f"https://localhost:{venue.port}")
        others = BybitSpotStreams(rest_url=f"https://localhost:{other.port}")
        with fetcher_of(tls, clock, streams, others) as fetcher:
            for number in range(20):
                fetcher.ask(("binance_spot", f"A{number}"), "binance_spot", (PATH, ""))
            errors = [error for _, _, error in take(fetcher, 2)]
            assert all(f"HTTP {status}" in error and f"{pause_s} s" in error for error in errors)
            clock.pass_s(pause_s - 1)
            fetcher.ask(("bybit_spot", "B"), "bybit_spot", (PATH, ""))
            assert take(fetcher, 1) == [(("bybit_spot", "B"), b"good", "")], "another venue is asked as ever"
            assert len(venue.requests) == 2, "two were under way when it said so; eighteen more were wanted"
            clock.pass_s(2)
            take(fetcher, 2)
            assert len(venue.requests) == 4


def test_a_venue_is_asked_no_more_often_than_it_takes(tls):
    clock = Clock()
    plan = Plan("binance_spot", [], rest={PATH: (200, "X: 1", b"{}")})
    with serve(plan, tls.server) as venue:
        streams = BinanceSpotStreams(rest_url=f"https://localhost:{venue.port}")
        assert streams.snapshots.most * 50 <= 0.8 * 6_000 and streams.snapshots.within_s == 60.0
        streams.snapshots = streams.snapshots._replace(most=5)
        with fetcher_of(tls, clock, streams) as fetcher:
            keys = [("binance_spot", f"A{number}") for number in range(12)]
            for key in keys:
                fetcher.ask(key, "binance_spot", streams.snapshot(key[1]))
            found = [key for key, _, _ in take(fetcher, 5)]
            clock.pass_s(59.0)
            assert fetcher.done() == [] and len(venue.requests) == 5
            clock.pass_s(1.0)
            found += [key for key, _, _ in take(fetcher, 5)]
            clock.pass_s(60.0)
            found += [key for key, _, _ in take(fetcher, 2)]
            assert sorted(found) == sorted(keys)
            assert len(venue.requests) == 12


def test_a_venue_that_does_not_answer_holds_up_no_other_and_close_waits_for_nothing(tls):
    clock = Clock()
    before = threading.active_count()
    slow = Plan("binance_spot", [], rest={PATH: (200, "X: 1", b"late")}, rest_delay_s=1e6)
    good = Plan("bybit_spot", [], rest={PATH: (200, "X: 1", b"good")})
    with serve(slow, tls.server) as venue, serve(good, tls.server) as other:
        streams = BinanceSpotStreams(rest_url=f"https://localhost:{venue.port}")
        others = BybitSpotStreams(rest_url=f"https://localhost:{other.port}")
        with fetcher_of(tls, clock, streams, others, timeout_s=1e6) as fetcher:
            for number in range(4):
                fetcher.ask(("binance_spot", f"A{number}"), "binance_spot", (PATH, ""))
                fetcher.ask(("bybit_spot", f"A{number}"), "bybit_spot", (PATH, ""))
            assert {body for _, body, _ in take(fetcher, 4)} == {b"good"}
    assert threading.active_count() == before
