"""Suite `order_inside`: what an order takes on the native path, from the request in the ring to its bytes on the wire.

`gateway` is the gateway with Bybit's words and its own connections, as it runs behind execution: it reads the request,
judges it, logs it, builds and signs it, and writes it to a TLS connection on the loopback. Whoever answers there
refuses each order, so that the next one finds everything as it was. `ccxt` is the same order built and signed by ccxt,
up to the place where it would hand it to its HTTP client: what that takes is not counted. Limits: `tls_send`, the same
bytes on the same kind of connection and nothing else; `hmac`, their signature alone.
"""

import contextlib
import functools
import hmac
import importlib
import itertools
import logging
import re
import socket
import ssl
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bot4.adapters.bybit.private import BybitPrivate
from bot4.adapters.exchange.certificate import make_context
from bot4.adapters.net.caller import HttpCaller
from bot4.adapters.net.dial import verified_context
from bot4.cli.measure.harness import Case, Samples, run_pinned, scratch
from bot4.engine.gateway import GatewayAgent
from bot4.engine.gateway_log import GatewayLog
from bot4.engine.gateway_order import link_of
from bot4.model.enums import ACTION_PLACE, TIF_GTC, TYPE_LIMIT
from bot4.model.errors import Bot4Error
from bot4.model.intent import intent_of
from bot4.model.records import EXEC_REPORT, INSTRUMENT, ORDER_INTENT, SESSION, words
from bot4.ports.gateway import Reply
from bot4.ports.gateway_values import Keys
from bot4.shm.spsc_ring import consume, peek_order, push_order
from bot4.shm.wires import private_wires

SYMBOL = "BTCUSDT"
PRICE_TICKS, QTY_LOTS = 599_990, 12  # 59,999.0 and 0.012
ACCOUNT = 7
_KEYS = Keys("k" * 18, "s" * 36)
_WIDE = 1_000_000_000  # calls a second: the venue's limit is not what is measured
_LOG_RECORDS = 1 << 16
_PATIENCE_S = 40.0
_REFUSAL = b'{"retCode":110007,"retMsg":"not enough","result":{}}'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(_REFUSAL), _REFUSAL)
_KEY = {"permissions": {"ContractTrade": ["Order", "Position"], "Wallet": []}, "ips": ["127.0.0.1"], "readOnly": 0}
_CASH = {"list": [{"coin": [{"coin": "USDT", "walletBalance": "100000"}]}]}
_FEES = {"list": [{"symbol": SYMBOL, "makerFeeRate": "0", "takerFeeRate": "0"}]}


class _Connections:
    """Orders go to the socket; what the gateway asks besides is answered here, by an account that holds nothing."""

    def __init__(self, orders: HttpCaller) -> None:
        self._orders, self._replies = orders, list[tuple[int, Reply]]()
        self.free, self.trouble, self.close = orders.free, orders.trouble, orders.close
        self.sent_ns = 0

    def send(self, token: int, data: bytes, timeout_s: float) -> bool:
        if data.startswith(b"POST /v5/order/create"):
            is_out = self._orders.send(token, data, timeout_s)
            self.sent_ns = time.perf_counter_ns()
            return is_out
        path = data.split(b" ", 2)[1].partition(b"?")[0]
        result = {
            b"/v5/market/time": {"timeNano": str(time.time_ns())},
            b"/v5/user/query-api": _KEY,
            b"/v5/account/wallet-balance": _CASH,
            b"/v5/account/fee-rate": _FEES,
        }.get(path, {"list": []})
        body = msgspec.json.encode({"retCode": 0, "retMsg": "", "result": result})
        self._replies.append((token, Reply(200, {}, body)))
        return True

    def turn(self) -> list[tuple[int, Reply]]:
        replies, self._replies = self._replies, []
        return replies + self._orders.turn()


class _Stream:
    """A private stream that takes every logon and tells nothing."""

    def __init__(self) -> None:
        self._news: list[bytes | None] = [None]

    def turn(self) -> list[bytes | None]:
        news, self._news = self._news, []
        return news

    def is_open(self) -> bool:
        return True

    def send(self, text: str) -> None:
        said = msgspec.json.decode(text)
        answer = {"success": True} | {name: said[name] for name in ("op", "req_id") if name in said}
        self._news.append(msgspec.json.encode(answer))

    def drop(self, reason: str) -> None:
        self._news.append(None)

    def close(self) -> None:
        """Nothing to close."""


def instrument_row() -> np.ndarray:
    """INSTRUMENT[1]: what is ordered here."""
    row = np.zeros(1, INSTRUMENT)
    row["tick_e8"], row["lot_e8"], row["value_e8"] = 10_000_000, 100_000, 10_000
    row["price_decimals"], row["qty_decimals"] = 1, 3
    row["min_notional_e8"], row["min_qty_lots"], row["max_qty_lots"] = 500_000_000, 1, 100_000
    return row


def private_side(url: str) -> BybitPrivate:
    """The venue's words, without its limits."""
    private = BybitPrivate(_KEYS, url, [SYMBOL], instrument_row())
    private.limits, private.total = (_WIDE,) * len(private.limits), (_WIDE, 1.0)
    return private


def _order(number: int) -> np.ndarray:
    request = np.zeros(1, ORDER_INTENT)
    request["id_hi"], request["id_lo"], request["action"] = ACCOUNT << 48, number << 32, ACTION_PLACE
    request["side"], request["type"], request["tif"] = 1, TYPE_LIMIT, TIF_GTC
    request["price_ticks"], request["qty_lots"] = PRICE_TICKS, QTY_LOTS
    return request


class Native:
    """The gateway in this process, in front of a TLS server at that port that refuses every order."""

    def __init__(self, folder: Path, port: int, ca: Path) -> None:
        url = f"https://127.0.0.1:{port}"
        self._wires = private_wires(1, 1)
        self.connections = _Connections(HttpCaller(url, verified_context(ca), 1))
        session = np.zeros(1, SESSION)
        session["n_shards"] = session["n_instruments"] = 1
        session["account"] = ACCOUNT
        log = GatewayLog(folder / "gateway.bin", _LOG_RECORDS)
        logger = logging.Logger("bench", logging.CRITICAL)
        self._agent = GatewayAgent(
            self._wires, instrument_row(), session, log, private_side(url), self.connections, _Stream(), 1,
            logger=logger,
        )  # fmt: skip
        self._report = np.zeros(1, EXEC_REPORT)
        self._numbers = itertools.count(1)
        self._until(lambda: self._agent.is_ready and self.connections.free() == 1)

    def _until(self, wanted: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not wanted():
            if time.monotonic() > end:
                why = self.connections.trouble() or "no answer"
                raise Bot4Error(f"the gateway of the bench takes no orders: {why}")
            self._agent.do_work()
            self._read()

    def _read(self) -> int:
        read = 0
        while peek_order(self._wires.events, words(self._report), 0):
            consume(self._wires.events)
            read += int(self._report["event_seq"][0] > 0)
        return read

    def order(self) -> int:
        """Ns from the request in the ring to its bytes in the connection; it has been refused when this returns."""
        push_order(self._wires.requests, words(_order(next(self._numbers))), 0)
        self.connections.sent_ns = 0
        begun = time.perf_counter_ns()
        self._agent.do_work()
        took = self.connections.sent_ns - begun
        if took < 0:
            raise Bot4Error("the gateway of the bench did not send an order in the turn that read it")
        self._until(lambda: self.connections.free() == 1)
        return took

    def close(self) -> None:
        """Of the connections and the log."""
        self._agent.close()


def _refuse_all(listener: socket.socket, context: ssl.SSLContext) -> None:
    """The server: one connection, one order at a time, each refused."""
    plain, _ = listener.accept()
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with context.wrap_socket(plain, server_side=True) as tls:
        try:
            while tls.recv(1 << 16):
                tls.sendall(_ANSWER)
        except OSError:
            return  # the client has gone


def _native(n: int, port: int, folder: Path, ca: Path, samples: np.ndarray) -> None:
    native = Native(folder, port, ca)
    for at in range(n):
        samples[at] = native.order()
    native.close()


def _sample(n: int, port: int, folder: Path, ca: Path) -> bytes:
    """The bytes of one order, as the gateway signs it."""
    private = private_side(f"https://127.0.0.1:{port}")
    order = intent_of(_order(1))
    return private.sign(private.place(order, link_of(order.id_hi, order.id_lo)), time.time_ns() // 1_000_000)


def _raw(n: int, port: int, folder: Path, ca: Path, samples: np.ndarray) -> None:
    data = _sample(n, port, folder, ca)
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with verified_context(ca).wrap_socket(plain, server_hostname="127.0.0.1") as tls:
            for at in range(n):
                begun = time.perf_counter_ns()
                tls.send(data)
                samples[at] = time.perf_counter_ns() - begun
                tls.recv(1 << 16)


def _over_tls(work: Callable[..., None], n: int, cores: tuple[int, int], taken: Samples) -> None:
    """One repeat in front of the server; the two processes are gone when it is over."""
    shared = scratch(n)
    with tempfile.TemporaryDirectory(prefix="bot4-bench-") as name, socket.create_server(("127.0.0.1", 0)) as listener:
        folder, port = Path(name), listener.getsockname()[1]
        context, ca = make_context(folder)
        client = functools.partial(work, n, port, folder, ca, shared.words)
        run_pinned([client, functools.partial(_refuse_all, listener, context)], list(cores))
    taken.add_durations(shared.words[:n].copy())
    shared.close()


def _alone(work: Callable[[np.ndarray], None], n: int, core: int, taken: Samples) -> None:
    shared = scratch(n)
    run_pinned([functools.partial(work, shared.words[:n])], [core])
    taken.add_durations(shared.words[:n].copy())
    shared.close()


def _sign_alone(samples: np.ndarray) -> None:
    data, secret = _sample(1, 1, Path(), Path()), _KEYS.api_secret.encode()
    payload = b"%d%s2000%s" % (time.time_ns() // 1_000_000, _KEYS.api_key.encode(), data.partition(b"\r\n\r\n")[2])
    for at in range(len(samples)):
        begun = time.perf_counter_ns()
        hmac.digest(secret, payload, "sha256").hex()
        samples[at] = time.perf_counter_ns() - begun


class _BuiltError(Exception):
    """ccxt has built its request."""


class Ccxt:
    """ccxt's Bybit with our instrument, which builds and signs orders and sends nothing."""

    def __init__(self) -> None:
        ccxt = importlib.import_module("ccxt")  # takes seconds, and is not everywhere
        self._venue: Any = ccxt.bybit({"apiKey": _KEYS.api_key, "secret": _KEYS.api_secret, "enableRateLimit": False})
        self._venue.options["enableUnifiedMargin"], self._venue.options["enableUnifiedAccount"] = False, True
        market = {
            "id": SYMBOL, "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "baseId": "BTC",
            "quoteId": "USDT", "settleId": "USDT", "type": "swap", "spot": False, "margin": False, "swap": True,
            "future": False, "option": False, "active": True, "contract": True, "linear": True, "inverse": False,
            "contractSize": 1.0, "precision": {"amount": 0.001, "price": 0.1}, "limits": {}, "info": {},
        }  # fmt: skip
        self._venue.set_markets([self._venue.safe_market_structure(market)])
        self._venue.fetch = self._stop
        self._numbers = itertools.count(1)
        self._built_ns = 0
        self.body = ""  # of the last order
        self.headers: dict[str, str] = {}

    def _stop(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> None:
        self._built_ns = time.perf_counter_ns()
        if not url.endswith("/v5/order/create"):
            raise Bot4Error(f"ccxt would ask {url} before an order")
        self.body, self.headers = body, headers
        raise _BuiltError

    def order(self) -> int:
        """Ns to the request that it would hand to its HTTP client."""
        params = {"orderLinkId": f"{ACCOUNT << 48:016x}{next(self._numbers) << 32:016x}", "smpType": "CancelMaker"}
        begun = time.perf_counter_ns()
        with contextlib.suppress(_BuiltError):
            self._venue.create_order("BTC/USDT:USDT", "limit", "buy", QTY_LOTS / 1000, PRICE_TICKS / 10, params)
        return self._built_ns - begun


def _of_ccxt(venue: Ccxt, samples: np.ndarray) -> None:
    for at in range(len(samples)):
        samples[at] = venue.order()
    ours = msgspec.json.decode(_sample(1, 1, Path(), Path()).partition(b"\r\n\r\n")[2])
    theirs = msgspec.json.decode(venue.body)
    are_same = all(theirs.get(name) == ours[name] for name in ("symbol", "side", "orderType", "qty"))
    if not are_same or float(theirs["price"]) != float(ours["price"]):
        raise Bot4Error("ccxt of the bench has built another order")
    if not re.fullmatch("[0-9a-f]{64}", venue.headers.get("X-BAPI-SIGN", "")):
        raise Bot4Error("ccxt of the bench has not signed its order")


def left_out() -> list[str]:
    """What is not measured, in words."""
    return [] if find_spec("ccxt") else ["ccxt: not installed"]


def limits(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The same bytes, sent alone and signed alone."""
    n = 300 if quick else 2_000
    return [
        Case("tls_send", "ns", functools.partial(_over_tls, _raw, n, cores)),
        Case("hmac", "ns", functools.partial(_alone, _sign_alone, n, cores[0])),
    ]


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases."""
    n = 300 if quick else 2_000
    some = []
    beside: tuple[tuple[str, str], ...] = ()
    if find_spec("ccxt"):
        some.append(
            Case("ccxt", "ns", functools.partial(_alone, functools.partial(_of_ccxt, Ccxt()), n, cores[0]),
                 limit="hmac", peer=True)
        )  # fmt: skip
        beside = (("ccxt", "ccxt"),)
    native = functools.partial(_over_tls, _native, n, cores)
    return [Case("gateway", "ns", native, limit="tls_send", beside=beside), *some]
