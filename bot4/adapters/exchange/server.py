"""The server: one loop on 127.0.0.1 that listens, lets the market move, and ends cleanly."""

import asyncio
import logging
import resource
import socket as sockets
import ssl
from collections.abc import Callable
from typing import Any

from bot4.adapters.exchange.agent import GeneratedMarket
from bot4.adapters.exchange.connection import Connection, Socket
from bot4.adapters.exchange.front import Answer, Front
from bot4.adapters.exchange.protocol import VenueProtocol
from bot4.adapters.exchange.recorded import RecordedMarket
from bot4.adapters.exchange.scenario import Fault
from bot4.adapters.exchange.venue import Account
from bot4.model.errors import Bot4Error

MARKET_S = 0.005
PING_MS = 20_000
LOOK_MS = 1_000
HANDSHAKE_S = 10.0  # of TLS: until it is done, nobody else counts the connection
SPARE_FILES = 64  # descriptors that are no client's: ledger, listening, the interpreter's own


class UserStreams:
    """Who hears which account."""

    def __init__(self) -> None:
        self._heard: dict[int, list[tuple[Any, object]]] = {}

    def add(self, account: Account, listener: tuple[Any, object]) -> None:
        """Hear an account's events."""
        heard = self._heard.setdefault(account.index, [])
        if not heard:
            account.listeners.append(lambda event: self._tell(account.index, event))
        heard.append(listener)

    def remove(self, account: Account, listener: tuple[Any, object]) -> None:
        """Hear them no more."""
        heard = self._heard.get(account.index, [])
        if listener in heard:
            heard.remove(listener)
            if not heard:
                account.listeners.clear()

    def _tell(self, index: int, event: dict) -> None:
        for socket, name in list(self._heard.get(index, ())):
            socket.hear(name, event)


class Server:
    """Connections, streams and the market on one loop."""

    def __init__(
        self, gateway: Front, market: GeneratedMarket | RecordedMarket | None, protocol: VenueProtocol
    ) -> None:
        self.gateway = gateway
        self.protocol = protocol
        self.loop = asyncio.get_running_loop()
        self.streams = protocol.streams(gateway)
        self.user = UserStreams()
        self.connections: dict[Connection, None] = {}
        self.max_connections = max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES)
        self.failure: Bot4Error | None = None
        self.stopped = asyncio.Event()
        self._market = market
        self._listening: asyncio.Server | None = None
        self._tasks: list[asyncio.Task] = []
        self._ticks = 0

    async def listen(self, listening: sockets.socket, context: ssl.SSLContext | None) -> None:
        """Accept clients on a bound socket."""
        self._listening = await self.loop.create_server(
            lambda: Connection(self),
            sock=listening,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_S if context else None,
        )

    def run(self) -> None:
        """Let market and clock go."""
        for name, work in (("market", self._run_market()), ("clock", self._run_clock())):
            task = self.loop.create_task(work, name=name)
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    def _ended(self, task: asyncio.Task) -> None:
        """Nothing goes on without market and clock."""
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Bot4Error):
            self._end(error)
        elif error is not None:
            logging.getLogger("bot4").error("the %s has failed", task.get_name(), exc_info=error)
            self._end(Bot4Error(f"the {task.get_name()} has failed: {type(error).__name__}: {error}"))

    async def stop(self) -> None:
        """Close everything; whoever is connected is told."""
        if self._listening is not None:
            self._listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self.connections):
            connection.close()
        await asyncio.sleep(0)
        self.gateway.venue.ledger.close()

    async def _run_market(self) -> None:
        while True:
            await asyncio.sleep(MARKET_S)
            if self._market is not None:
                self._market.advance(self.gateway.venue.clock_ns())

    async def _run_clock(self) -> None:
        begin, tick_ms = self.loop.time(), self.streams.tick_ms
        while True:
            self._ticks += 1
            await asyncio.sleep(max(0.0, begin + self._ticks * tick_ms / 1_000 - self.loop.time()))
            self.gateway.venue.begin()
            self.react()
            self.streams.tick(self._ticks)
            self.gateway.venue.ledger.flush()  # tells of a failure wherever it was met
            if self._ticks * tick_ms % LOOK_MS == 0:
                now_s = self.loop.time()
                for connection in list(self.connections):
                    connection.look(now_s)
            if self._ticks * tick_ms % PING_MS == 0:
                for connection in list(self.connections):
                    if connection.socket is not None:
                        connection.socket.ping()

    def come(self, connection: Connection) -> None:
        """One more client; where there are too many, the one whose request is waited for longest goes."""
        if len(self.connections) >= self.max_connections:
            waiting = [one for one in self.connections if one.is_waiting]
            if not waiting:
                connection.abort()
                return
            longest = min(waiting, key=lambda one: one.since_s)
            del self.connections[longest]
            longest.abort()
        self.connections[connection] = None

    def react(self) -> None:
        """States of the scenario begin and end."""
        if not self.gateway.scenario.is_quiet and self.gateway.states():
            for connection in list(self.connections):
                if connection.socket is not None:
                    connection.socket.drop()

    def later(self, seconds: float, action: Callable[[], Any]) -> None:
        """Do something then."""
        self.loop.call_later(seconds, action)

    def _end(self, error: Bot4Error) -> None:
        """The ledger cannot be written, or nothing moves any more: nobody is told of anything."""
        self.failure = self.failure or error
        self.stopped.set()

    def answer(self, method: str, path: str, query: str, body: bytes, who: Any) -> Answer:
        """One HTTP request."""
        try:
            return self.gateway.rest(method, path, query, body, who)
        except Bot4Error as error:
            self._end(error)
        except Exception:
            logging.getLogger("bot4").exception("a request could not be answered: %s %s", method, path)
        return self.gateway.broken()

    def control(self, method: str, path: str, body: bytes) -> Answer:
        """A request to the server itself."""
        try:
            answer = self.gateway.control(method, path, body)
            self.react()
            self.gateway.venue.ledger.flush()
        except Bot4Error as error:
            self._end(error)
            return Answer(500, b'{"error":"the exchange ends"}')
        return answer

    def note_unreadable(self, method: str, data: bytes) -> None:
        """Bytes that are no request are in the ledger as well."""
        try:
            self.gateway.note(None, method, "unreadable", data)
            self.gateway.venue.ledger.flush()
        except Bot4Error as error:
            self._end(error)

    def guard(self, action: Callable[[], Any], broken: Callable[[], Any]) -> Any:
        """One request of a websocket; `broken` is the answer if this server fails at it."""
        try:
            return action()
        except Bot4Error as error:
            self._end(error)
        except Exception:
            logging.getLogger("bot4").exception("a request could not be answered")
        return broken()

    # --- websockets ---

    def push(self, socket: Socket, text: bytes, kind: str) -> None:
        """An event on its way out: what a fault leaves of it."""
        scenario = self.gateway.scenario
        if scenario.is_quiet:
            self._send(socket, text, kind)
            return
        held = socket.held.pop(kind, None)
        fault = scenario.event(kind, self.gateway.venue.clock_ns() // 1_000_000)
        if fault is None:
            self._send(socket, text, kind)
        else:
            self._spoil(fault, socket, text, kind)
        if held is not None:
            self._send(socket, held, kind)

    def latency_s(self, way: str) -> float | None:
        """How long the next message of a way is under way."""
        return self.gateway.scenario.latency_s(way, self.gateway.venue.clock_ns())

    def _send(self, socket: Socket, text: bytes, kind: str) -> None:
        if self.gateway.scenario.has_latencies:
            way = "answer" if kind in self.gateway.user_events else "data"
            socket.outward.put(self.latency_s(way), lambda: socket.send(text))
        else:
            socket.send(text)

    def _spoil(self, fault: Fault, socket: Socket, text: bytes, kind: str) -> None:
        ledger = self.gateway.venue.ledger
        ledger.add(self.gateway.venue.clock_ns(), "fault", reason=fault.kind, target=kind)
        ledger.flush()
        if fault.kind == "event_duplicate":
            self._send(socket, text, kind)
            self._send(socket, text, kind)
        elif fault.kind == "event_late":
            self.later(fault.delay_ms / 1_000, lambda: self._send(socket, text, kind))
        elif fault.kind == "event_reorder":
            socket.held[kind] = text  # until the next of its kind has gone
