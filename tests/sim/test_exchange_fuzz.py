"""Bytes that nobody meant, on REST, websockets and the control endpoint: no 5xx, no hang, no crash, bounded memory."""

import contextlib
import json
import random
import socket as sockets
import time

import psutil
import pytest
from rig.exchange_server import WIDE, ExchangeServer
from websockets.exceptions import ConnectionClosed

from bot4.adapters.exchange.table import REST, SOCKET

pytestmark = pytest.mark.compiled
MEMORY_BYTES = 120_000_000  # more than that is not used by whatever comes
TEXTS = ("", "0", "-1", "1", "BTCUSDT", "ETHUSDT", "BUY", "SELL", "LIMIT", "MARKET", "STOP_LOSS", "GTC", "IOC", "FOK",
         "60000", "0.01", "1e9", "NaN", "99999999999999999999", "9223372036854775807", "9223372036854775808",
         "0.00000001", "46116860184.27387904", "true", "FULL", '["BTCUSDT"]', "[" * 200, '{"a":1}', "\x00", "é", "%",
         "a" * 2_000, "1m", "STOP_ON_FAILURE", "ALLOW_FAILURE", "1000000000", "20", "EXPIRE_BOTH", "7d")  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ExchangeServer(tmp_path_factory.mktemp("fuzz"), scenario=WIDE, market="generated:3") as made:
        process = psutil.Process(made.process.pid)
        before = process.memory_info().rss
        yield made
        assert process.memory_info().rss - before < MEMORY_BYTES
        made.conserved()
        made.stop()


def spoilt(draw, data):
    """Bytes that were good once."""
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        place = draw.randrange(len(data) + 1)
        what = draw.randrange(4)
        if what == 0 and data:
            data[place % len(data)] ^= 1 << draw.randrange(8)
        elif what == 1:
            data[place:place] = draw.randbytes(draw.randrange(1, 9))
        elif what == 2:
            del data[place : place + draw.randrange(1, 9)]
        else:
            data[place:place] = data[: draw.randrange(1, 40)]
    return bytes(data)


def parameters(draw, endpoint):
    """Some of an endpoint's parameters and some of nobody's, with values of any kind."""
    names = list(endpoint.parameters)
    chosen = draw.sample(names, draw.randrange(len(names) + 1)) if names else []
    chosen = list(dict.fromkeys([*(name for name in endpoint.required if draw.random() < 0.9), *chosen]))
    chosen = [name for name in chosen if name not in ("timestamp", "recvWindow")]
    if draw.random() < 0.1:
        chosen.append(draw.choice(("x", "limit", "symbol", "signature")))
    good = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01",
            "price": "59000"}  # fmt: skip
    return {
        name: good[name] if name in good and draw.random() < 0.7 else draw.choice(TEXTS)
        for name in dict.fromkeys(chosen)
    }


def rest(server, count, seed):
    """Requests that are well formed and mean anything."""
    draw = random.Random(seed)
    seen = set()
    for _ in range(count):
        (method, path), endpoint = draw.choice(list(REST.items()))
        params = parameters(draw, endpoint)
        headers = {}
        if endpoint.security:
            headers["X-MBX-APIKEY"] = server.ready["api_key"]
        short = path.removeprefix("/api/v3/").removeprefix("/")
        target = server.target(short, **params) if "signature" not in params else f"{path}?signature=x"
        if path.startswith("/sapi"):
            target = target.replace("/api/v3/", "/")
        if not endpoint.security:
            target = target.partition("timestamp=")[0] + "&".join(target.partition("?")[2].split("&")[1:-1])
        status, body = server.raw(method, target, b"", headers)
        assert status < 500, (target, body)
        answer = json.loads(body)
        if status >= 400:
            assert answer["code"] < 0, (target, body)
            assert answer["msg"]
        seen.add((path, status))
    return seen


def raw_http(server, count, seed):
    """Whole requests with damaged bytes, several on a connection."""
    draw = random.Random(seed)
    key = server.ready["api_key"].encode()
    for _ in range(count):
        (method, path), _ = draw.choice(list(REST.items()))
        body = b"symbol=BTCUSDT&side=BUY"
        good = b"%s %s?symbol=BTCUSDT HTTP/1.1\r\nHost: x\r\nX-MBX-APIKEY: %s\r\nContent-Length: %d\r\n\r\n%s" % (
            method.encode(), path.encode(), key, len(body), body
        )  # fmt: skip
        if draw.random() < 0.2:
            good = (
                b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
        with sockets.create_connection(("127.0.0.1", server.address.port), 5) as raw:
            raw.settimeout(5)
            with contextlib.suppress(ConnectionError):
                raw.sendall(spoilt(draw, good) * draw.choice((1, 1, 3)))
                raw.shutdown(sockets.SHUT_WR)
            data = b""
            with contextlib.suppress(ConnectionError):
                while piece := raw.recv(65_536):  # a time-out here is a hang
                    data += piece
            for part in data.split(b"HTTP/1.1 ")[1:]:
                assert part[:1] in (b"1", b"2", b"4"), data


def websocket(server, count, seed):
    """Messages of any kind on both kinds of websockets; each connection answers a good one afterwards or is closed."""
    draw = random.Random(seed)
    methods = [*SOCKET, "session.logon", "session.status", "session.logout", "session.subscriptions",
               "userDataStream.subscribe",
               "userDataStream.subscribe.signature", "userDataStream.unsubscribe", "userDataStream.start",
               "userDataStream.ping", "userDataStream.stop", "no.such"]  # fmt: skip
    done = 0
    while done < count:
        path = draw.choice(("/ws-api/v3", "/ws", "/stream"))
        with server.listen(path) as stream, contextlib.suppress(ConnectionClosed):
            for _ in range(20):
                done += 1
                method = draw.choice(methods)
                endpoint = SOCKET.get(method, SOCKET["order.place"])
                params = parameters(draw, endpoint)
                if draw.random() < 0.7:
                    params = server.socket_params(draw.random() < 0.1, **params)
                request = {"id": draw.choice((1, "a", None, 2**70, [], {})), "method": method, "params": params}
                if path != "/ws-api/v3":
                    request["method"] = draw.choice(
                        ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "X")
                    )
                    request["params"] = draw.choice(
                        ([], ["btcusdt@trade"], [1], [None], "a", {}, list(TEXTS), ["combined", 1])
                    )
                try:
                    text = json.dumps(request)
                    if draw.random() < 0.5:
                        text = spoilt(draw, text.encode()).decode("latin-1")
                    stream.send(text if draw.random() < 0.9 else text.encode())
                except RecursionError:
                    continue
            ping = {"method": "ping"} if path == "/ws-api/v3" else {"method": "LIST_SUBSCRIPTIONS", "params": []}
            stream.send(json.dumps({"id": "the end"} | ping))
            end = time.monotonic() + 10
            while True:
                assert time.monotonic() < end, "no answer"
                answer = json.loads(stream.recv(10))
                assert answer.get("status", 200) < 500, answer
                if answer.get("id") == "the end":
                    break


def frames(server, count, seed):
    """Frames with damaged bytes after a good handshake."""
    draw = random.Random(seed)
    hello = (
        b"GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    for _ in range(count):
        frame = bytes([0x81, 0x80 | 17]) + bytes(4) + b'{"method":"ping"}'
        with sockets.create_connection(("127.0.0.1", server.address.port), 5) as raw:
            raw.settimeout(5)
            with contextlib.suppress(ConnectionError):
                raw.sendall(hello % draw.choice((b"/ws", b"/ws-api/v3")) + spoilt(draw, frame * 3))
                raw.shutdown(sockets.SHUT_WR)
                while raw.recv(65_536):
                    pass


def control(server, count, seed):
    """Faults that are none."""
    draw = random.Random(seed)
    for _ in range(count):
        body = spoilt(draw, b'{"kind":"halt","symbol":"BTCUSDT","symbol_status":"BREAK","after_ms":86400000}')
        status, answer = server.raw("POST", "/control/fault", body)
        assert status in (200, 400), answer
        json.loads(answer)
    server.heal()


def all_of_it(server, scale, seed):
    seen = rest(server, 40 * scale, seed)
    raw_http(server, 8 * scale, seed)
    websocket(server, 20 * scale, seed)
    frames(server, 4 * scale, seed)
    control(server, 4 * scale, seed)
    assert server.get("ping") == {}
    assert server.get("depth", symbol="BTCUSDT", limit=1)["bids"]
    return seen


def test_bytes_that_nobody_meant(server):
    seen = all_of_it(server, 10, 1)
    assert {status for _, status in seen} >= {200, 400}


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_more(server, seed):
    all_of_it(server, 100, seed)
