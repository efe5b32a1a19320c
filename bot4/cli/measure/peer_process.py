"""A peer at work: what a Python user would write with that library to get from a venue's bytes to our records.

Run by path, by whichever interpreter has the library (`beside` says which): it imports nothing of Bot4. Each line of
its input is a task, each line of its output the answer. Every message ends as a record of 64 bytes with whole ticks and
lots, as ours (TICK), packed into memory that was laid out before, and stamped with the clock. Numbers go through floats
wherever the library leaves a choice: the cheapest way. Nothing is validated, and no book is kept, which ours does.
"""

import asyncio
import importlib
import importlib.metadata
import json
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TRADE, QUOTE, LEVEL, LAST = 1, 2, 3, 1  # see bot4/model/enums.py
LAG_LIMIT_US = 2_000_000_000
SLOTS = 1 << 16
SLOT_BYTES = 64
SYMBOL = "BTCUSDT"

Handle = Callable[[bytes], Any]
_pack = struct.Struct("<qiHBBqqqqIIQ").pack_into
_now_ns = time.time_ns


class Records:
    """The last records, in a ring that nobody reads."""

    def __init__(self) -> None:
        self.memory = bytearray(SLOTS * SLOT_BYTES)
        self._number = 0
        self.count: Callable[[], int] = lambda: self._number  # who packs by himself counts by himself

    def write(self, kind: int, flags: int, venue_ms: int, w0: int, w1: int, w2: int, w3: int) -> None:
        """Append one; `venue_ms` 0: the venue says no time."""
        self._number = number = self._number + 1
        now_ns = _now_ns()
        lag_us = _lag_us(venue_ms, now_ns) if venue_ms else 0
        _pack(
            self.memory, number % SLOTS * SLOT_BYTES, now_ns, lag_us, 0, kind, flags, w0, w1, w2, w3, number, 0, number
        )

    def last(self) -> str:
        """The latest one, in hexadecimal digits."""
        at = self.count() % SLOTS * SLOT_BYTES
        return self.memory[at : at + SLOT_BYTES].hex()


def _lag_us(venue_ms: int, now_ns: int) -> int:
    return max((venue_ms * 1_000_000 - now_ns) // 1_000, -LAG_LIMIT_US)


# --- from a message to a record: libraries that decode ---------------------------------------------------------------


def _structs() -> dict[str, Any]:
    """msgspec's decoders of each kind, to typed structs of floats."""
    msgspec: Any = importlib.import_module("msgspec")
    levels = list[tuple[float, float]]
    fields: dict[str, list[tuple[str, Any]]] = {
        "quote": [("u", int), ("s", str), ("b", float), ("B", float), ("a", float), ("A", float)],
        "trade": [("E", int), ("s", str), ("t", int), ("p", float), ("q", float), ("T", int), ("m", bool)],
        "depth20": [("E", int), ("s", str), ("U", int), ("u", int), ("b", levels), ("a", levels)],
    }
    made = {}
    for kind, of in fields.items():
        data = msgspec.defstruct("Data", of, gc=False)
        outer = msgspec.defstruct("Envelope", [("stream", str), ("data", data)], gc=False)
        made[kind] = msgspec.json.Decoder(outer, strict=False).decode
    return made


def _msgspec(records: Records, kind: str) -> Handle:
    decode, memory, write = _structs()[kind], records.memory, records.write
    number = 0

    def quote(body: Any) -> None:
        nonlocal number
        data = decode(body).data
        number += 1
        _pack(memory, number % SLOTS * SLOT_BYTES, _now_ns(), 0, 0, QUOTE, LAST, int(data.b * 1e2 + 0.5),
              int(data.B * 1e8 + 0.5), int(data.a * 1e2 + 0.5), int(data.A * 1e8 + 0.5), number, 0, number)  # fmt: skip

    def trade(body: Any) -> None:
        nonlocal number
        data = decode(body).data
        number += 1
        now_ns = _now_ns()
        _pack(memory, number % SLOTS * SLOT_BYTES, now_ns, _lag_us(data.E, now_ns), 0, TRADE, LAST,
              int(data.p * 1e2 + 0.5), int(data.q * 1e8 + 0.5), data.t, -1 if data.m else 1,
              number, 0, number)  # fmt: skip

    def depth(body: Any) -> None:
        data = decode(body).data
        left = len(data.b) + len(data.a)
        for side, levels in ((1, data.b), (-1, data.a)):
            for price, lots in levels:
                left -= 1
                write(LEVEL, 0 if left else LAST, data.E, int(price * 1e2 + 0.5), int(lots * 1e8 + 0.5), side, data.u)

    if kind != "depth20":
        records.count = lambda: number
    return {"quote": quote, "trade": trade, "depth20": depth}[kind]


def _orjson(records: Records, kind: str) -> Handle:
    decode, memory, write = importlib.import_module("orjson").loads, records.memory, records.write
    number = 0

    def quote(body: Any) -> None:
        nonlocal number
        data = decode(body)["data"]
        number += 1
        _pack(memory, number % SLOTS * SLOT_BYTES, _now_ns(), 0, 0, QUOTE, LAST, int(float(data["b"]) * 1e2 + 0.5),
              int(float(data["B"]) * 1e8 + 0.5), int(float(data["a"]) * 1e2 + 0.5), int(float(data["A"]) * 1e8 + 0.5),
              number, 0, number)  # fmt: skip

    def trade(body: Any) -> None:
        nonlocal number
        data = decode(body)["data"]
        number += 1
        now_ns = _now_ns()
        _pack(memory, number % SLOTS * SLOT_BYTES, now_ns, _lag_us(data["E"], now_ns), 0, TRADE, LAST,
              int(float(data["p"]) * 1e2 + 0.5), int(float(data["q"]) * 1e8 + 0.5), data["t"], -1 if data["m"] else 1,
              number, 0, number)  # fmt: skip

    def depth(body: Any) -> None:
        data = decode(body)["data"]
        left = len(data["b"]) + len(data["a"])
        for side, levels in ((1, data["b"]), (-1, data["a"])):
            for price, lots in levels:
                left -= 1
                ticks, lots = int(float(price) * 1e2 + 0.5), int(float(lots) * 1e8 + 0.5)
                write(LEVEL, 0 if left else LAST, data["E"], ticks, lots, side, data["u"])

    if kind != "depth20":
        records.count = lambda: number
    return {"quote": quote, "trade": trade, "depth20": depth}[kind]


# --- from a message to a record: frameworks --------------------------------------------------------------------------


class _Cryptofeed:
    """Its Binance feed with a callback; its quotes have no quantities of their own, its trades are aggregated ones."""

    def __init__(self, records: Records) -> None:
        exchanges: Any = importlib.import_module("cryptofeed.exchanges")
        symbols: Any = importlib.import_module("cryptofeed.symbols")
        info = {"tick_size": {"BTC-USDT": "0.01"}, "instrument_type": {"BTC-USDT": "spot"}}
        symbols.Symbols.set(exchanges.Binance.id, {"BTC-USDT": SYMBOL}, info)
        write = records.write

        async def on_quote(quote: Any, _: float) -> None:
            raw = quote.raw
            write(QUOTE, LAST, 0, int(quote.bid * 100), int(float(raw["B"]) * 1e8 + 0.5), int(quote.ask * 100),
                  int(float(raw["A"]) * 1e8 + 0.5))  # fmt: skip

        async def on_trade(trade: Any, _: float) -> None:
            side = -1 if trade.side == "sell" else 1
            write(TRADE, LAST, trade.raw["E"], int(trade.price * 100), int(trade.amount * 100_000_000), int(trade.id),
                  side)  # fmt: skip

        self.handle = exchanges.Binance(
            symbols=["BTC-USDT"], channels=["trades", "ticker"], callbacks={"trades": on_trade, "ticker": on_quote}
        ).message_handler

    @staticmethod
    def known(body: bytes) -> bytes:
        """The trade as an aggregated one, which is what it knows."""
        message = json.loads(body)
        data = message["data"]
        if data.get("e") == "trade":
            data |= {"e": "aggTrade", "a": data["t"], "f": data["t"], "l": data["t"]}
        return json.dumps(message, separators=(",", ":")).encode()

    async def read_bodies(self, bodies: list[bytes]) -> float:
        texts = [self.known(body).decode() for body in bodies]
        begun = time.perf_counter()
        for text in texts:
            await self.handle(text, None, time.time())
        return time.perf_counter() - begun

    async def read_socket(self, port: int, n: int) -> float:
        connection: Any = importlib.import_module("cryptofeed.connection").WSAsyncConn(
            "wss://replaced", "bench", max_size=None, max_queue=None, compression=None, ping_interval=None
        )
        connection.address = f"ws://127.0.0.1:{port}/"  # it insists on TLS, which the others do without
        await connection._open()
        begun = time.perf_counter()
        async for text in connection.read():
            await self.handle(text, connection, connection.last_message)
            n -= 1
            if not n:
                break
        spent = time.perf_counter() - begun
        connection.conn.transport.abort()
        return spent


class _Ccxt:
    """ccxt.pro's Binance: its client's way from text to its unified dicts."""

    def __init__(self, records: Records) -> None:
        self.pro: Any = importlib.import_module("ccxt.pro")
        self.write = records.write

    def _exchange(self) -> Any:
        market = {
            "id": SYMBOL, "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "baseId": "BTC", "quoteId": "USDT",
            "type": "spot", "spot": True, "swap": False, "future": False, "option": False, "contract": False,
            "linear": None, "inverse": None, "settle": None, "settleId": None, "contractSize": None, "active": True,
            "precision": {"price": 0.01, "amount": 1e-8}, "limits": {}, "info": {},
        }  # fmt: skip
        exchange = self.pro.binance()
        exchange.set_markets([market])
        return exchange

    def _client(self, exchange: Any, url: str) -> Any:
        client, write = exchange.client(url), self.write
        handle, quotes, trades = exchange.handle_message, exchange.bidsasks, exchange.trades

        def on_message(client: Any, message: Any) -> None:
            handle(client, message)
            if "t" in message["data"]:
                trade = trades["BTC/USDT"][-1]
                side = -1 if trade["side"] == "sell" else 1
                write(TRADE, LAST, message["data"]["E"], int(trade["price"] * 1e2 + 0.5),
                      int(trade["amount"] * 1e8 + 0.5), int(trade["id"]), side)  # fmt: skip
            else:
                quote = quotes["BTC/USDT"]
                write(QUOTE, LAST, 0, int(quote["bid"] * 1e2 + 0.5), int(quote["bidVolume"] * 1e8 + 0.5),
                      int(quote["ask"] * 1e2 + 0.5), int(quote["askVolume"] * 1e8 + 0.5))  # fmt: skip

        client.on_message_callback = on_message
        return client

    async def read_bodies(self, bodies: list[bytes]) -> float:
        exchange = self._exchange()
        handle = self._client(exchange, "ws://127.0.0.1/stream").handle_text_or_binary_message
        texts = [body.decode() for body in bodies]
        begun = time.perf_counter()
        for text in texts:
            handle(text)
        spent = time.perf_counter() - begun
        await exchange.close()
        return spent

    async def read_socket(self, port: int, n: int) -> float:
        exchange = self._exchange()
        client = self._client(exchange, f"ws://127.0.0.1:{port}/stream")
        exchange.open()
        client.asyncio_loop, client.heartbeat = asyncio.get_running_loop(), False
        ended: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        inner = client.on_message_callback

        def count(client: Any, message: Any) -> None:
            nonlocal n
            inner(client, message)
            n -= 1
            if not n:
                ended.set_result(time.perf_counter())

        client.on_message_callback = count
        await client.connect(exchange.session)
        begun = time.perf_counter()
        spent = await ended - begun
        await exchange.close()
        return spent


class _Nautilus:
    """NautilusTrader's Binance messages and ticks behind its websocket client, without its cache and message bus."""

    def __init__(self, records: Records) -> None:
        msgspec: Any = importlib.import_module("msgspec")
        common: Any = importlib.import_module("nautilus_trader.adapters.binance.common.schemas.market")
        spot: Any = importlib.import_module("nautilus_trader.adapters.binance.spot.schemas.market")
        instrument = importlib.import_module("nautilus_trader.model.identifiers").InstrumentId.from_str(
            "BTCUSDT.BINANCE"
        )
        objects: Any = importlib.import_module("nautilus_trader.model.objects")
        ticks, lots = objects.Price.from_str("0.01").raw, objects.Quantity.from_str("0.00000001").raw
        which = msgspec.json.Decoder(common.BinanceDataMsgWrapper).decode  # its client reads the stream's name first
        as_quote = msgspec.json.Decoder(common.BinanceQuoteMsg).decode
        as_trade = msgspec.json.Decoder(spot.BinanceSpotTradeMsg).decode
        write = records.write

        def handle(body: bytes) -> None:
            if "@bookTicker" in which(body).stream:
                quote = as_quote(body).data.parse_to_quote_tick(instrument, _now_ns())
                write(QUOTE, LAST, 0, quote.bid_price.raw // ticks, quote.bid_size.raw // lots,
                      quote.ask_price.raw // ticks, quote.ask_size.raw // lots)  # fmt: skip
                return
            data = as_trade(body).data
            trade = data.parse_to_trade_tick(instrument, _now_ns())
            side = -1 if trade.aggressor_side == 2 else 1
            write(TRADE, LAST, data.E, trade.price.raw // ticks, trade.size.raw // lots, int(trade.trade_id.value),
                  side)  # fmt: skip

        self.handle = handle

    async def read_bodies(self, bodies: list[bytes]) -> float:
        return _read_bodies(self.handle, bodies)

    async def read_socket(self, port: int, n: int) -> float:
        native: Any = importlib.import_module("nautilus_trader.core.nautilus_pyo3")
        loop, handle = asyncio.get_running_loop(), self.handle
        ended: asyncio.Future[float] = loop.create_future()
        begun = 0.0

        def count(body: bytes) -> None:
            nonlocal n, begun
            begun = begun or time.perf_counter()
            handle(body)
            n -= 1
            if not n:
                loop.call_soon_threadsafe(ended.set_result, time.perf_counter())

        config = native.WebSocketConfig(f"ws://127.0.0.1:{port}/", count, [])
        client = await native.WebSocketClient.connect(config)
        spent: float = await ended - begun
        await client.disconnect()
        return spent


FRAMEWORKS: dict[str, Any] = {"cryptofeed": _Cryptofeed, "ccxt": _Ccxt, "nautilus_trader": _Nautilus}
DECODERS: dict[str, Callable[[Records, str], Handle]] = {"msgspec": _msgspec, "orjson": _orjson}


def _decode_only(name: str, kind: str) -> Handle:
    decode: Handle = _structs()[kind] if name == "msgspec" else importlib.import_module("orjson").loads
    return decode


def _read_bodies(handle: Handle, bodies: list[bytes]) -> float:
    begun = time.perf_counter()
    for body in bodies:
        handle(body)
    return time.perf_counter() - begun


# --- from a socket to messages ---------------------------------------------------------------------------------------


async def _websockets(port: int, n: int, handle: Handle) -> float:
    client: Any = importlib.import_module("websockets.asyncio.client")
    async with client.connect(f"ws://127.0.0.1:{port}/", compression=None, max_size=None, close_timeout=0) as peer:
        begun = time.perf_counter()
        for _ in range(n):
            handle(await peer.recv(decode=False))
        spent = time.perf_counter() - begun
        peer.transport.abort()
    return spent


async def _aiohttp(port: int, n: int, handle: Handle) -> float:
    aiohttp: Any = importlib.import_module("aiohttp")
    async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{port}/", timeout=0) as peer:
        begun = time.perf_counter()
        for _ in range(n):
            handle((await peer.receive()).data)
        return time.perf_counter() - begun


async def _picows(port: int, n: int, handle: Handle) -> float:
    picows: Any = importlib.import_module("picows")
    ended: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    class Listener(picows.WSListener):
        def on_ws_connected(self, transport: Any) -> None:
            self.begun, self.left = time.perf_counter(), n

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            handle(frame.get_payload_as_memoryview())
            self.left -= 1
            if not self.left:
                ended.set_result(time.perf_counter() - self.begun)

    transport, _ = await picows.ws_connect(Listener, f"ws://127.0.0.1:{port}/")
    spent = await ended
    transport.disconnect()
    return spent


SOCKETS = {"websockets": _websockets, "aiohttp": _aiohttp, "picows": _picows}


# --- tasks -----------------------------------------------------------------------------------------------------------


def _run(task: dict[str, Any]) -> tuple[float, Records]:
    """The seconds of one task, and the records that it wrote."""
    name, records = task["name"], Records()
    if name in FRAMEWORKS:
        peer = FRAMEWORKS[name](records)
        work = peer.read_socket(task["port"], task["n"]) if "port" in task else peer.read_bodies(_bodies(task))
        return asyncio.run(work), records
    if name in SOCKETS:
        handle = _decode_only("msgspec", "quote") if task["decode_only"] else _msgspec(records, "quote")
        loop = importlib.import_module("uvloop").new_event_loop if task["uvloop"] else None
        with asyncio.Runner(loop_factory=loop) as runner:
            return runner.run(SOCKETS[name](task["port"], task["n"], handle)), records
    handle = _decode_only(name, task["kind"]) if task["decode_only"] else DECODERS[name](records, task["kind"])
    return _read_bodies(handle, _bodies(task)), records


def _bodies(task: dict[str, Any]) -> list[bytes]:
    return Path(task["file"]).read_bytes().splitlines()


def _versions(names: list[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def main() -> None:
    """Say which of the packages named are here and end, or work off the tasks until the input ends."""
    if sys.argv[1:]:
        print(json.dumps(dict(_versions(sys.argv[1:]))))
        return
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    for line in sys.stdin:
        task = json.loads(line)
        os.sched_setaffinity(0, {task["core"]})
        seconds, records = _run(task)
        answer = {"seconds": seconds, "records": records.count(), "last": records.last()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
