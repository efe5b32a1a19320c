"""ccxt itself, in this process, in front of the exchange as Bybit on the test's clock: HTTP on loopback between."""

import asyncio
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import ccxt.pro
from rig.exchange_bybit import BTC, BybitDesk

from bot4.adapters.ccxt.serve import Venue, _Request, _request, made, point
from bot4.adapters.ccxt.words import WORDS
from bot4.adapters.exchange.bybit.gateway import Who

SECOND = 1_000_000_000


class Front:
    """A desk behind a socket; account 0 asks."""

    def __init__(self, desk: BybitDesk) -> None:
        lock, self.asked = threading.Lock(), []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                who = Who(
                    *(
                        self.headers.get(f"x-bapi-{name}", "")
                        for name in ("api-key", "timestamp", "recv-window", "sign")
                    )
                )
                with lock:
                    answer = desk.gateway.rest("GET", path, query, b"", who)
                outer.asked.append(self.path)
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                pass

        outer, self.desk = self, desk
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Front":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answers(self, name: str, asked: dict[str, Any]) -> list[Any]:
        """What ccxt's process says to a question, page by page."""
        return asyncio.run(self._answers(name, asked))

    async def _answers(self, name: str, asked: dict[str, Any]) -> list[Any]:
        words, key, found = WORDS["bybit_linear"], self.desk.keys[0], []
        exchange = made(ccxt.pro.bybit)({"apiKey": key.api_key, "secret": key.secret.decode(), "enableRateLimit": False,
                                         "options": dict(words.options)})  # fmt: skip
        exchange.number = str
        exchange.offset_ms = self.desk.now_ms - time.time_ns() // 1_000_000
        here = f"127.0.0.1:{self._server.server_address[1]}"
        point(exchange.urls["api"], f"http://{here}", f"ws://{here}")
        try:
            await exchange.load_markets()
            venue = Venue({"venue": "bybit_linear", "symbols": [BTC], "api_key": "", "api_secret": ""}, exchange)
            while not found or found[-1]["cursor"]:
                _request.set(_Request(name, self.desk.now_ms, time.monotonic_ns() + 60 * SECOND))
                found.append(
                    await venue.answer(name, asked | {"cursor": found[-1]["cursor"] if found else ""}, self.desk.now_ms)
                )
        finally:
            await exchange.close()
        return found
