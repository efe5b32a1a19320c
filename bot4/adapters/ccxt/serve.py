"""What ccxt's process does: one exchange of ccxt's, asked as the gateway asks. The only file that imports ccxt.

Requests run beside each other in one loop. Each is void at its time, is signed as of the time that it names, and a new
order is one HTTP request: a second one, whoever in ccxt would make it, does not leave. Numbers are texts all the way.
What a venue has no stream for is asked for once a second; whoever listens compares all the time besides.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import import_module
from ssl import SSLContext
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bot4.adapters.ccxt.words import WORDS

NS, MS = 1_000_000_000, 1_000_000
BEAT_S = 0.5
HTTP_MS = 5_000
OPEN_S = 5.0
QUIET_S = 0.3  # after the words of a subscription have gone out
_LENGTH = struct.Struct("!I")
_TEXT = 400  # characters of an error
_HEADS = ("retry-after", "x-bapi-limit")


class NotSentError(Exception):
    """What was asked for has not gone out and will not."""


@dataclass
class _Request:
    """What is being asked, as the exchange under it needs to know."""

    name: str
    now_ms: int
    until_ns: int
    sent: int = 0  # requests that may have gone out
    status: int = 0
    head: dict[str, str] = field(default_factory=dict)

    def leaves(self) -> None:
        """One more HTTP request."""
        if time.monotonic_ns() > self.until_ns:
            raise NotSentError("too late")
        if self.name == "place" and self.sent:
            raise NotSentError("an order is one request")
        self.sent += 1


_request: ContextVar[_Request | None] = ContextVar("request", default=None)


def made(kind: type) -> type:
    """ccxt's class of a venue, held to what the gateway promises."""

    class Guarded(kind):
        offset_ms = 0  # the venue's clock less ours

        def milliseconds(self) -> int:
            return time.time_ns() // MS + self.offset_ms

        def nonce(self) -> int:
            request = _request.get()
            return request.now_ms if request is not None else self.milliseconds()

        async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
            request = _request.get()
            if request is not None:
                request.leaves()
            return await super().fetch(url, method, headers, body)

        def on_rest_response(
            self, code: int, reason: str, url: str, method: str, headers: Any, body: str, sent: Any, sent_body: Any
        ) -> str:
            request = _request.get()
            if request is not None:
                request.status = code
                request.head = {name.lower(): value for name, value in headers.items() if name.lower() in _HEADS}
            return body.strip()

    return Guarded


def point(node: dict[str, Any], rest: str, ws: str) -> None:
    """Every address of an exchange leads to those hosts; paths stay."""
    for name, value in node.items():
        if isinstance(value, dict):
            point(value, rest, ws)
        elif isinstance(value, str) and "://" in value:
            scheme, _, address = value.partition("://")
            base = ws if scheme.startswith("ws") else rest
            path = address.partition("/")[2]
            node[name] = f"{base}/{path}" if path else base


def _base(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _reason(error: BaseException) -> str:
    """What an error says, and what it came of: ccxt's own name the request alone."""
    return f"{error} ({_reason(error.__cause__)})" if error.__cause__ is not None else str(error)


class Venue:
    """One account at one venue through ccxt.

    Parameters
    ----------
    told : see `workers.ccxt_venue`
    exchange : of ccxt, its markets loaded
    """

    def __init__(self, told: Mapping[str, Any], exchange: Any) -> None:
        self.exchange, self.words = exchange, WORDS[told["venue"]]
        self._secrets = [told[name] for name in ("api_key", "api_secret") if told[name]]
        found = ((symbol, self._market(symbol)) for symbol in told["symbols"])
        self._markets = {symbol: market for symbol, market in found if market is not None}

    def _market(self, symbol: str) -> Any:
        """The one of that name and kind, by the venue's own id; None: there is none."""
        kind = self.words.kind
        return next((one for one in self.exchange.markets_by_id.get(symbol, ()) if one[kind]), None)

    def markets(self) -> dict[str, dict[str, Any]]:
        """What has to be that of the settings."""
        return {
            symbol: {
                "tick_size": _text(one["precision"]["price"]),
                "lot_size": _text(one["precision"]["amount"]),
                "contract": _text(one["contractSize"] if one["contract"] else "1"),
                "quote": _text(one["settle"] if one["contract"] else one["quote"]),
            }
            for symbol, one in self._markets.items()
        }

    def words_of(self, error: Exception) -> str:
        """An error's text, without what nobody may read."""
        text = _reason(error)
        for secret in self._secrets:
            text = text.replace(secret, "...")
        return text[:_TEXT]

    # --- what is asked ---

    async def answer(self, name: str, asked: Mapping[str, Any], now_ms: int) -> Any:
        """Do what a call of the gateway asks for; whatever ccxt raises is for the caller to tell."""
        return await getattr(self, f"_{name}")(asked, now_ms)

    async def _place(self, asked: Mapping[str, Any], now_ms: int) -> str:
        symbol = self._unified(asked["symbol"])
        self._is_exact(symbol, asked)
        more = {"clientOrderId": asked["link"]} | self.words.place(asked, now_ms)
        if asked["post_only"]:
            more["postOnly"] = True
        elif asked["tif"]:
            more["timeInForce"] = asked["tif"]
        row = await self.exchange.create_order(
            symbol, asked["type"], asked["side"], asked["qty"], asked["price"] or None, more
        )
        return _text(row["id"])

    def _is_exact(self, symbol: str, asked: Mapping[str, Any]) -> None:
        """What ccxt makes of our numbers has to be our numbers: it rounds without a word."""
        cut = {"qty": self.exchange.amount_to_precision, "price": self.exchange.price_to_precision}
        for name in ("qty", "price", "stop"):
            if asked.get(name):
                theirs = cut["qty" if name == "qty" else "price"](symbol, asked[name])
                if Decimal(theirs) != Decimal(asked[name]):
                    raise NotSentError(f"{name}: ccxt would make {theirs} of {asked[name]}")

    async def _cancel(self, asked: Mapping[str, Any], now_ms: int) -> str:
        symbol, link = self._unified(asked["symbol"]), asked["link"]
        more = self.words.named(link) if link else {}
        row = await self.exchange.cancel_order(asked["venue_id"] or None, symbol, more)
        return _text(row["id"])

    async def _amend(self, asked: Mapping[str, Any], now_ms: int) -> str:
        symbol = self._unified(asked["symbol"])
        self._is_exact(symbol, asked)
        more = self.words.named(asked["link"]) | self.words.amend(asked["stop"])
        # type and side are not said to the venue, ccxt wants them all the same
        row = await self.exchange.edit_order(None, symbol, "limit", "buy", asked["qty"], None, more)
        return _text(row["id"])

    async def _cancel_all(self, asked: Mapping[str, Any], now_ms: int) -> list[str]:
        symbol = self._unified(asked["symbol"])
        rows = await self.exchange.fetch_open_orders(symbol, None, self.words.page)
        for row in rows:
            await self.exchange.cancel_order(row["id"], symbol)
        return [_text(row["id"]) for row in rows]

    async def _cancel_but_stops(self, asked: Mapping[str, Any], now_ms: int) -> list[str]:
        rows = await self.exchange.cancel_all_orders(None, dict(self.words.but_stops))
        return [_text(row["id"]) for row in rows if row["id"]]

    async def _order(self, asked: Mapping[str, Any], now_ms: int) -> Any:
        return await self._found(self.exchange.fetch_open_orders, asked)

    async def _order_ended(self, asked: Mapping[str, Any], now_ms: int) -> Any:
        return await self._found(getattr(self.exchange, self.words.ended_call), asked)

    async def _owner(self, asked: Mapping[str, Any], now_ms: int) -> Any:
        fetch, symbol = getattr(self.exchange, self.words.ended_call), self._unified(asked["symbol"])
        rows = await fetch(symbol, None, self.words.page, self.words.by_id(asked["venue_id"]))
        return next((one for one in map(self.order, rows) if one["venue_id"] == asked["venue_id"]), None)

    async def _found(self, fetch: Callable[..., Awaitable[Any]], asked: Mapping[str, Any]) -> Any:
        link = asked["link"]
        rows = await fetch(self._unified(asked["symbol"]), None, self.words.page, self.words.named(link))
        return next((one for one in map(self.order, rows) if one["link"] == link), None)

    async def _open(self, asked: Mapping[str, Any], now_ms: int) -> Any:
        return await self._listed(self.exchange.fetch_open_orders, asked["cursor"])

    async def _ended(self, asked: Mapping[str, Any], now_ms: int) -> Any:
        return await self._listed(getattr(self.exchange, self.words.ended_call), asked["cursor"])

    async def _listed(self, fetch: Callable[..., Awaitable[Any]], cursor: str) -> Any:
        rows = await fetch(None, None, self.words.page, self.words.at(cursor))
        told = sorted(map(self.order, rows), key=lambda row: row["made_ms"], reverse=True)
        return {"rows": told, "cursor": self.words.cursor(rows)}

    async def _trades(self, asked: Mapping[str, Any], now_ms: int) -> Any:
        """A page of one of the venue's lists; the cursor says of which, for what is no trade of ours is in others."""
        link, most, lists = asked["link"], self.words.trades_page, self.words.trade_lists
        at, _, cursor = asked["cursor"].partition(":")
        name, only = lists[int(at or 0)]
        more = {"until": asked["until_ms"], "limit": most, **only, **self.words.at(cursor)}
        more |= self.words.named(link) if link else {}
        rows = await getattr(self.exchange, name)(None, asked["since_ms"], most, more)
        read = map(self.trade if name == "fetch_my_trades" else self.funding, rows)
        told = sorted((one for one in read if not link or one["link"] == link), key=lambda row: row["time_ms"])
        following = self.words.cursor(rows)
        at_next = int(at or 0) if following else int(at or 0) + 1
        is_last = not following and (link or at_next == len(lists))
        return {"rows": told[::-1], "cursor": "" if is_last else f"{at_next}:{following}"}

    async def _positions(self, asked: Mapping[str, Any], now_ms: int) -> Any:
        return [self.position(row) for row in await self.exchange.fetch_positions()]

    async def _cash(self, asked: Mapping[str, Any], now_ms: int) -> str:
        held = await self.exchange.fetch_balance()
        return _text(held[self.words.quote]["total"]) if self.words.quote in held else "0"

    async def _fees(self, asked: Mapping[str, Any], now_ms: int) -> dict[str, str]:
        row = await self.exchange.fetch_trading_fee(self._unified(asked["symbol"]))
        return {"maker": _text(row["maker"]), "taker": _text(row["taker"])}

    async def _time(self, asked: Mapping[str, Any], now_ms: int) -> int:
        return int(await self.exchange.fetch_time())

    async def _key(self, asked: Mapping[str, Any], now_ms: int) -> str:
        return str(self.words.key(await getattr(self.exchange, self.words.key_call)()))

    # --- ccxt's structures as rows of texts ---

    def _unified(self, symbol: str) -> str:
        market = self._markets.get(symbol) or self._market(symbol)
        if market is None:
            raise KeyError(f"ccxt knows no {self.words.kind} market {symbol}")
        return str(market["symbol"])

    def _own(self, unified: Any) -> str:
        """The venue's name of a symbol of ccxt's."""
        market = self.exchange.markets.get(unified)
        return _text(market["id"] if market else unified)

    def order(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """As `private` reads it."""
        info, stop = row["info"], _text(row["triggerPrice"])
        return {
            "link": _text(row["clientOrderId"]),
            "venue_id": _text(row["id"]),
            "symbol": self._own(row["symbol"]),
            "side": _text(row["side"]),
            "type": _text(row["type"]),
            "status": _text(row["status"]),
            "end": self.words.end(info),
            "price": _text(row["price"]),
            "stop": stop,
            "qty": _text(row["amount"]),
            "filled": _text(row["filled"]),
            "is_triggered": bool(stop) and self.words.is_triggered(info),
            "reduce_only": bool(row["reduceOnly"]),
            "updated_ms": row["lastUpdateTimestamp"] or row["timestamp"],
            "made_ms": row["timestamp"],
        }

    def trade(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """As `private` reads it."""
        fee = row["fee"] or {}
        return {
            "what": "trade",
            "key": _text(row["id"]),
            "link": self.words.link_of(row["info"]),
            "symbol": self._own(row["symbol"]),
            "side": _text(row["side"]),
            "price": _text(row["price"]),
            "qty": _text(row["amount"]),
            "fee": _text(fee.get("cost")) or "0",
            "fee_in": _text(fee.get("currency")),
            "time_ms": row["timestamp"],
        }

    def funding(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """As `private` reads it."""
        return {
            "what": "funding",
            "key": _text(row["id"]),
            "symbol": self._own(row["symbol"]),
            "paid": _text(row["amount"]),
            "time_ms": row["timestamp"],
        }

    def position(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """As `private` reads it."""
        return {
            "symbol": self._own(row["symbol"]),
            "side": _text(row["side"]),
            "qty": _text(row["contracts"]),
            "cost": _text(row["notional"]) or "0",
            "is_hedged": bool(row["hedged"]),
        }


class Server:
    """The loop of the process, for one socket."""

    def __init__(self, venue: Venue, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._venue, self._reader, self._writer = venue, reader, writer
        self._tasks: set[asyncio.Task[None]] = set()
        self._watching: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Until the socket has ended."""
        self._say({"markets": self._venue.markets()})
        while True:
            message = await receive(self._reader)
            if message is None:
                return
            made = self._take(message) if "token" in message else self._hear(message)
            task = asyncio.ensure_future(made)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _say(self, message: Mapping[str, Any]) -> None:
        say(self._writer, message)

    async def _take(self, message: Mapping[str, Any]) -> None:
        call = message["call"]
        request = _Request(call["name"], call["now_ms"], message["until_ns"])
        _request.set(request)
        self._venue.exchange.offset_ms = call["now_ms"] - time.time_ns() // MS
        body: dict[str, Any]
        try:
            async with asyncio.timeout(max(0.0, (request.until_ns - time.monotonic_ns()) / NS)):
                body = {"done": await self._venue.answer(request.name, call["arguments"], request.now_ms)}
        except Exception as error:  # whatever it is, it is told, and the gateway judges
            bases = [one.__name__ for one in type(error).__mro__ if issubclass(one, Exception) and one is not Exception]
            body = {"raised": {"bases": bases, "text": self._venue.words_of(error), "sent": request.sent > 0}}
        self._say({"token": message["token"], "status": request.status, "head": request.head, "body": body})

    # --- the stream ---

    async def _hear(self, message: Mapping[str, Any]) -> None:
        number, name = message["stream"], message["say"]["name"]
        if name in ("subscribe", "end"):
            await self._forget()
        if name == "subscribe":
            try:
                await self._watch(number)
            except Exception as error:
                self._gone(number, error)
                return
        if name != "end":
            self._say({"stream": number, "body": {"answered": name}})

    async def _forget(self) -> None:
        for task in self._watching:
            task.cancel()
        self._watching = []
        clients = list(self._venue.exchange.clients.values())
        self._venue.exchange.clients.clear()
        for client in clients:
            await client.close()

    async def _watch(self, number: int) -> None:
        exchange, venue = self._venue.exchange, self._venue
        kinds = (("orders", exchange.watch_orders, venue.order), ("trades", exchange.watch_my_trades, venue.trade))
        self._watching = [asyncio.ensure_future(self._follow(number, *kind)) for kind in kinds]
        end = time.monotonic() + OPEN_S
        while not exchange.clients or not all(one.isConnected for one in exchange.clients.values()):
            if time.monotonic() > end:
                raise TimeoutError("the private stream cannot be opened")
            if any(task.done() for task in self._watching):
                return  # it has told why
            await asyncio.sleep(0.01)
        await asyncio.sleep(QUIET_S)  # ccxt does not say when the venue has taken a subscription

    async def _follow(
        self, number: int, what: str, watch: Callable[[], Awaitable[Any]], read: Callable[[Any], Any]
    ) -> None:
        """Tell what comes. A connection that is another one has lost something, whether ccxt says so or not."""
        first: list[Any] = []
        try:
            while True:
                rows = [read(row) for row in await watch() if self._venue.words.is_ours(row["info"])]
                first = first or list(self._venue.exchange.clients.values())
                self._say({"stream": number, "body": {"what": what, "rows": rows}})
                if any(one not in self._venue.exchange.clients.values() for one in first):
                    raise ConnectionError("the private stream is another one")
        except Exception as error:
            self._gone(number, error)

    def _gone(self, number: int, error: Exception) -> None:
        self._say({"stream": number, "gone": f"{type(error).__name__}: {self._venue.words_of(error)}"})


def say(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    """One message to the gateway."""
    data = msgspec.json.encode(message)
    writer.write(_LENGTH.pack(len(data)) + data)


async def receive(reader: asyncio.StreamReader) -> Any:
    """One message of the gateway; None: it is gone."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return msgspec.json.decode(await reader.readexactly(length))
    except asyncio.IncompleteReadError:
        return None


async def _beat(writer: asyncio.StreamWriter) -> None:
    while True:
        say(writer, {})
        await asyncio.sleep(BEAT_S)


async def serve(ours: socket.socket, context: Callable[[str], SSLContext], allowed: Callable[[str], str]) -> None:
    """See the module; `told` comes first.

    Parameters
    ----------
    ours : to the gateway
    context : of a file of certificates; "": the system's
    allowed : refuses the address that a connection goes to, by a sentence; "": it may be used
    """
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    told = await receive(reader)
    if told is None:
        return
    exchange: Any = None
    try:
        aiohttp: Any = import_module("aiohttp")
        pro: Any = import_module("ccxt.pro")
        beat = asyncio.ensure_future(_beat(writer))
        words = WORDS[told["venue"]]

        def dial(address: Any) -> socket.socket:
            family, kind, protocol, _, place = address
            refusal = allowed(place[0])
            if refusal:
                raise OSError(refusal)
            return socket.socket(family, kind, protocol)

        async def refuse(*_: Any) -> None:
            raise aiohttp.ClientError("the venue sends us elsewhere")

        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(refuse)
        connector = aiohttp.TCPConnector(ssl=context(told["ca_file"]), socket_factory=dial)
        session = aiohttp.ClientSession(connector=connector, trace_configs=[trace])
        exchange = made(getattr(pro, told["ccxt"]))(
            {
                "session": session, "timeout": HTTP_MS,
                "enableRateLimit": False, "asyncio_loop": asyncio.get_running_loop(),
                "options": {**words.options, "maxRetriesOnFailure": 0},
            }
        )  # fmt: skip
        exchange.number = str
        point(exchange.urls["api"], _base(told["rest_url"]), _base(told["ws_url"]))
        await exchange.load_markets()
        exchange.apiKey, exchange.secret = told["api_key"], told["api_secret"]  # so what anybody may ask is not signed
        await Server(Venue(told, exchange), reader, writer).run()
        beat.cancel()
    except Exception as error:  # what cannot begin says why; the gateway begins another one
        say(writer, {"failed": f"{type(error).__name__}: {_reason(error)[:_TEXT]}"})
    finally:
        await writer.drain()
        writer.close()
        if exchange is not None:
            await exchange.close()
