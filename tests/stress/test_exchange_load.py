"""How many signed orders a second go through the loopback exchange, over keep-alive connections.

Every order is answered well, is in the ledger, and the money adds up. The figures are printed: rate, and the server's
processor time a request, which says what a core of its own would do. No figure is asserted.
"""

import asyncio
import hmac
import json
import time

import psutil
import pytest
from rig.exchange_server import ExchangeServer

pytestmark = [pytest.mark.compiled, pytest.mark.stress, pytest.mark.alone]
LIMITS = """
[limits]
request_weight_1m = 1_000_000_000
orders_10s = 1_000_000_000
orders_1d = 1_000_000_000
raw_requests_5m = 1_000_000_000
"""
CONNECTIONS = 8
ROUNDS = 1_500  # of an order and its cancel, on each connection
ORDER = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.001&price=50000&newOrderRespType=ACK"


class Client(asyncio.Protocol):
    """The least that speaks HTTP: one request at a time, lengths as the server writes them."""

    def __init__(self, ready: dict) -> None:
        self._key = ready["api_key"]
        self._secret = ready["api_secret"].encode()
        self._buffer = b""

    def connection_made(self, transport):
        """It is there."""
        self._transport = transport

    def data_received(self, data):
        """An answer or a part of it."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        begin = self._buffer.find(b"content-length: ") + 16
        size = end + 4 + int(self._buffer[begin : self._buffer.find(b"\r", begin)])
        if len(self._buffer) >= size:
            answer, self._buffer = self._buffer[:size], self._buffer[size:]
            self._answer.set_result((answer[9:12], answer[end + 4 :]))

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def ask(self, method: str, query: str) -> asyncio.Future:
        """A signed request."""
        query += f"&timestamp={time.time_ns() // 1_000_000}"
        signature = hmac.digest(self._secret, query.encode(), "sha256").hex()
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(
            f"{method} /api/v3/order?{query}&signature={signature} HTTP/1.1\r\nHost: x\r\n"
            f"X-MBX-APIKEY: {self._key}\r\n\r\n".encode()
        )
        return self._answer


async def _rounds(client: Client) -> None:
    for _ in range(ROUNDS):
        status, body = await client.ask("POST", ORDER)
        assert status == b"200", body
        status, body = await client.ask("DELETE", f"symbol=BTCUSDT&orderId={json.loads(body)['orderId']}")
        assert status == b"200", body


async def _load(server: ExchangeServer) -> None:
    loop = asyncio.get_running_loop()
    host, port = server.address.hostname, server.address.port
    clients = [(await loop.create_connection(lambda: Client(server.ready), host, port))[1] for _ in range(CONNECTIONS)]
    await asyncio.gather(*(_rounds(client) for client in clients))
    for client in clients:
        client.close()
    await asyncio.sleep(0.1)  # the loop lets go of the sockets


def test_signed_orders_a_second(tmp_path):
    with ExchangeServer(tmp_path, scenario=LIMITS) as server:
        process = psutil.Process(server.process.pid)
        used = process.cpu_times()
        begin = time.perf_counter()
        asyncio.run(_load(server))
        seconds = time.perf_counter() - begin
        after = process.cpu_times()
        requests = 2 * ROUNDS * CONNECTIONS
        busy = (after.user + after.system) - (used.user + used.system)
        rate, free = requests / seconds, requests / busy
        print(
            f"\n{requests} signed orders and cancels over {CONNECTIONS} connections: {rate:,.0f} a second; "
            f"{busy / requests * 1e6:.0f} us of the server's processor each: {free:,.0f} on a core of its own"
        )
        server.conserved()
        kinds = server.stop().kinds
        assert kinds["request"] >= requests
        assert kinds["order"] == requests
