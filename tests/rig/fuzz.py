"""Bytes that nobody meant, for whoever listens on a socket: no 5xx, no hang, no crash, bounded memory."""

import contextlib
import json
import random
import socket as sockets
from collections.abc import Callable, Iterator, Sequence

import psutil
from rig.exchange_server import ExchangeServer

MEMORY_BYTES = 120_000_000  # more than that is not used by whatever comes
HELLO = (
    b"GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXTS = ("", "0", "-1", "1", "BTCUSDT", "ETHUSDT", "BUY", "SELL", "LIMIT", "MARKET", "STOP_LOSS", "GTC", "IOC", "FOK",
         "60000", "0.01", "1e9", "NaN", "99999999999999999999", "9223372036854775807", "9223372036854775808",
         "0.00000001", "46116860184.27387904", "true", "FULL", '["BTCUSDT"]', "[" * 200, '{"a":1}', "\x00", "é", "%",
         "a" * 2_000, "1m", "STOP_ON_FAILURE", "ALLOW_FAILURE", "1000000000", "20", "EXPIRE_BOTH", "7d")  # fmt: skip


@contextlib.contextmanager
def bounded(server: ExchangeServer) -> Iterator[ExchangeServer]:
    """Whatever comes to it, its memory stays what it is, its money adds up, and it ends as it should."""
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    yield server
    assert process.memory_info().rss - before < MEMORY_BYTES
    server.conserved()
    server.stop()


def spoilt(draw: random.Random, data: bytes) -> bytes:
    """Bytes that were good once."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        place = draw.randrange(len(changed) + 1)
        what = draw.randrange(4)
        if what == 0 and changed:
            changed[place % len(changed)] ^= 1 << draw.randrange(8)
        elif what == 1:
            changed[place:place] = draw.randbytes(draw.randrange(1, 9))
        elif what == 2:
            del changed[place : place + draw.randrange(1, 9)]
        else:
            changed[place:place] = changed[: draw.randrange(1, 40)]
    return bytes(changed)


def damaged_http(server: ExchangeServer, count: int, seed: int, good: Callable[[random.Random], bytes]) -> None:
    """Whole requests with damaged bytes, several on a connection."""
    draw = random.Random(seed)
    for _ in range(count):
        with sockets.create_connection(("127.0.0.1", server.address.port), 5) as raw:
            raw.settimeout(5)
            with contextlib.suppress(ConnectionError):
                raw.sendall(spoilt(draw, good(draw)) * draw.choice((1, 1, 3)))
                raw.shutdown(sockets.SHUT_WR)
            data = b""
            with contextlib.suppress(ConnectionError):
                while piece := raw.recv(65_536):  # a time-out here is a hang
                    data += piece
            for part in data.split(b"HTTP/1.1 ")[1:]:
                assert part[:1] in (b"1", b"2", b"4"), data


def damaged_frames(server: ExchangeServer, count: int, seed: int, paths: Sequence[bytes], text: bytes) -> None:
    """Frames with damaged bytes after a good handshake."""
    draw = random.Random(seed)
    frame = bytes([0x81, 0x80 | len(text)]) + bytes(4) + text
    for _ in range(count):
        with sockets.create_connection(("127.0.0.1", server.address.port), 5) as raw:
            raw.settimeout(5)
            with contextlib.suppress(ConnectionError):
                raw.sendall(HELLO % draw.choice(paths) + spoilt(draw, frame * 3))
                raw.shutdown(sockets.SHUT_WR)
                while raw.recv(65_536):
                    pass


def damaged_faults(server: ExchangeServer, count: int, seed: int) -> None:
    """Faults that are none."""
    draw = random.Random(seed)
    for _ in range(count):
        body = spoilt(draw, b'{"kind":"halt","symbol":"BTCUSDT","symbol_status":"BREAK","after_ms":86400000}')
        status, answer = server.raw("POST", "/control/fault", body)
        assert status in (200, 400), answer
        json.loads(answer)
    server.heal()
