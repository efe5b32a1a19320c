"""Connections without sockets, on a clock that jumps: late requests, too many clients, what is written down."""

import asyncio
import base64
import json

import orjson
import pytest
from rig.exchange_chaos import Floor
from rig.exchange_loop import Hearer, JumpLoop, Wire

from bot4.adapters.exchange.connection import HALF_S, IDLE_S

pytestmark = pytest.mark.compiled
PING = b"GET /api/v3/ping HTTP/1.1\r\nHost: x\r\n\r\n"
HELLO = (b"GET /ws-api/v3 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n")  # fmt: skip


class Client:
    """A connection and what came over it."""

    def __init__(self, server):
        self.heard = b""
        self.wire = Wire(server, self.hear, lambda: None)

    def hear(self, data):
        self.heard += data


@pytest.fixture
def play(tmp_path):
    """Run a coroutine that is given a floor whose market and clock run."""
    loop = JumpLoop()

    def run(scene, market=True):
        async def whole():
            floor = Floor(tmp_path, 1, scenario="", market=market)
            floor.server.run()
            try:
                await scene(floor)
            finally:
                await floor.server.stop()
            return [orjson.loads(line) for line in floor.ledger.read_bytes().splitlines()]

        return loop.run_until_complete(whole())

    yield run
    loop.close()


async def until(loop, seconds):
    await asyncio.sleep(seconds - loop.time())


def test_half_a_request_is_not_waited_for(play):
    async def scene(floor):
        silent, slow, idle, heard = (Client(floor.server) for _ in range(4))
        slow.wire.send(b"GET /api/v3/ti")
        idle.wire.send(PING)
        heard.wire.send(HELLO)
        for second in range(1, int(HALF_S)):
            await until(floor.loop, second)
            slow.wire.send(b"m")  # who sends a byte a second is no faster
        assert not slow.wire.over and not silent.wire.over
        await until(floor.loop, HALF_S + 2)
        assert slow.wire.over and slow.heard.startswith(b"HTTP/1.1 408 ")
        assert silent.wire.over and silent.heard == b""
        await until(floor.loop, IDLE_S - 2)
        assert not idle.wire.over and b"200 OK" in idle.heard
        await until(floor.loop, IDLE_S + 2)
        assert idle.wire.over

    play(scene, market=False)


def test_a_client_too_many_takes_the_place_of_the_one_waited_for_longest(play):
    async def scene(floor):
        server = floor.server
        before = list(server.connections)
        server.max_connections = len(before) + 3
        first, second = Client(server), Client(server)
        talking = Client(server)
        talking.wire.send(HELLO)
        await until(floor.loop, 1)
        first.wire.send(PING)  # so the second one is waited for longer
        new = Client(server)
        new.wire.send(PING)
        assert b"200 OK" in new.heard
        assert [client.wire.over for client in (first, second, talking, new)] == [False, True, False, False]
        await until(floor.loop, 2)
        assert len(server.connections) == server.max_connections
        first.wire.close()
        new.wire.close()
        await until(floor.loop, 3)
        others = [Client(server) for _ in range(2)]
        for client in others:
            client.wire.send(HELLO)
        refused = Client(server)
        assert refused.wire.over and not any(client.wire.over for client in (*others, talking))

    play(scene)


def test_a_websocket_may_be_asked_for_behind_other_requests(play):
    async def scene(floor):
        client = Client(floor.server)
        frame = bytes([0x81, 0x80 | 17]) + bytes(4) + b'{"method":"ping"}'
        client.wire.send(PING + HELLO + frame)
        assert client.heard.startswith(b"HTTP/1.1 200 OK")
        assert client.heard.count(b"HTTP/1.1 101 ") == 1
        assert b'"status":200' in client.heard.partition(b"HTTP/1.1 101 ")[2]

    play(scene)


def test_everything_that_came_is_written_down(play):
    async def scene(floor):
        broken = Client(floor.server)
        broken.wire.send(b"NONSENSE \x01\r\n\r\n")
        assert broken.heard.startswith(b"HTTP/1.1 400 ")
        large = Client(floor.server)
        large.wire.send(b"GET /" + b"a" * 20_000)
        await until(floor.loop, 0.1)
        assert large.heard.startswith(b"HTTP/1.1 431 ")
        assert (await floor.callers[0].ask("POST", "/control/fault", body=b'{"kind":"halt"}'))[0] == 200
        assert (await floor.callers[0].ask("GET", "/api/v3/nothing?x=1"))[0] == 404
        for path in ("/ws", "/ws-api/v3"):
            stream = Hearer(floor.server, path, lambda data: None, list)
            stream.send({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": path})
            stream._protocol.send_text(b"not JSON for " + path.encode())
            stream._flush()

    lines = play(scene)
    requests = [(line["method"], line["target"], base64.b64decode(line["body"])) for line in lines
                if line["kind"] == "request"]  # fmt: skip
    assert ("HTTP", "unreadable", b"NONSENSE \x01\r\n\r\n") in requests
    assert any(method == "HTTP" and body.startswith(b"GET /aaaa") for method, _, body in requests)
    assert ("POST", "/control/fault", b'{"kind":"halt"}') in requests
    assert ("GET", "/api/v3/nothing?x=1", b"") in requests
    for path in ("/ws", "/ws-api/v3"):
        assert ("GET", path, b"") in requests
        said = json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": path}).encode()
        assert ("WS", "SUBSCRIBE", said) in requests
        assert ("WS", "unreadable", b"not JSON for " + path.encode()) in requests


@pytest.mark.parametrize("name", ["market", "clock"])
def test_nothing_goes_on_without_market_and_clock(play, name, caplog):
    async def scene(floor):
        if name == "market":
            floor.venue.accounts.clear()
        else:
            floor.server.connections[None] = None
        await until(floor.loop, 3)
        assert floor.server.stopped.is_set()
        assert str(floor.server.failure).startswith(f"the {name} has failed: ")
        floor.server.connections.pop(None, None)

    play(scene)
    assert f"the {name} has failed" in caplog.text
