"""Bytes that nobody meant, on REST, websockets and the control endpoint: no 5xx, no hang, no crash, bounded memory."""

import contextlib
import json
import random
import time

import pytest
from rig.exchange_server import WIDE, ExchangeServer
from rig.fuzz import HELLO, TEXTS, bounded, damaged_faults, damaged_frames, damaged_http, spoilt
from websockets.exceptions import ConnectionClosed

from bot4.adapters.exchange.table import REST, SOCKET

pytestmark = pytest.mark.compiled


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with (
        ExchangeServer(tmp_path_factory.mktemp("fuzz"), scenario=WIDE, market="generated:3") as made,
        bounded(made) as held,
    ):
        yield held


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


def request(server, draw):
    """A good one."""
    (method, path), _ = draw.choice(list(REST.items()))
    if draw.random() < 0.2:
        return HELLO % b"/ws"
    key, body = server.ready["api_key"].encode(), b"symbol=BTCUSDT&side=BUY"
    return b"%s %s?symbol=BTCUSDT HTTP/1.1\r\nHost: x\r\nX-MBX-APIKEY: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        method.encode(), path.encode(), key, len(body), body
    )  # fmt: skip


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


def all_of_it(server, scale, seed):
    seen = rest(server, 40 * scale, seed)
    damaged_http(server, 8 * scale, seed, lambda draw: request(server, draw))
    websocket(server, 20 * scale, seed)
    damaged_frames(server, 4 * scale, seed, (b"/ws", b"/ws-api/v3"), b'{"method":"ping"}')
    damaged_faults(server, 4 * scale, seed)
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
