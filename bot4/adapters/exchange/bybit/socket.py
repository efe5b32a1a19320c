"""Websockets of Bybit: public topics by category, the private topics of an account, and orders."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from websockets.server import ServerProtocol

from bot4.adapters.exchange.bybit.gateway import BybitGateway
from bot4.adapters.exchange.bybit.refusal import bad, no
from bot4.adapters.exchange.bybit.stream import BybitStreams
from bot4.adapters.exchange.bybit.symbol import CATEGORIES
from bot4.adapters.exchange.connection import Connection, Socket
from bot4.adapters.exchange.refusal import Refused
from bot4.adapters.exchange.venue import Account

if TYPE_CHECKING:
    from bot4.adapters.exchange.server import Server

_MAX_ARGS = {"spot": 10, "linear": 2_000}
_MAX_TOPICS = 500
_PRIVATE = ("order", "execution", "execution.fast", "position", "wallet", "greeks", "dcp")
_DCP = {"dcp.future": ("DERIVATIVES",), "dcp.spot": ("SPOT",), "dcp.option": ("OPTIONS",),
        "dcp": ("DERIVATIVES", "SPOT", "OPTIONS")}  # fmt: skip
_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=str)


class _BybitSocket(Socket, ABC):
    """What the three share: the form of commands, and ping."""

    def __init__(self, server: "Server", connection: Connection, protocol: ServerProtocol) -> None:
        super().__init__(server, connection, protocol)
        assert isinstance(server.gateway, BybitGateway) and isinstance(server.streams, BybitStreams)
        self.gateway, self.streams = server.gateway, server.streams
        self.conn_id = secrets.token_hex(10)

    def request(self, text: bytes) -> None:
        """One command."""
        try:
            request = _DECODER.decode(text)
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            request = {}
        operation = request.get("op")
        name = operation if isinstance(operation, str) else ""
        identity = request.get("req_id")
        self.command(name, request.get("args"), identity if isinstance(identity, str) else "", request, text)

    @abstractmethod
    def command(self, name: str, args: Any, identity: str, request: dict[str, Any], text: bytes) -> None:
        """A command, read."""

    def reply(self, operation: str, success: bool, text: str, identity: str) -> None:
        """The answer of a command about the connection."""
        answer = {"success": success, "ret_msg": text, "conn_id": self.conn_id, "req_id": identity, "op": operation}
        self.send(orjson.dumps(answer))

    def topics(self, args: Any, most: int) -> list[str]:
        """The topics of a command; Refused where they are none."""
        if not isinstance(args, list) or not args or not all(isinstance(one, str) and len(one) < 128 for one in args):
            raise bad("args must be topics")
        if len(args) > most:
            raise bad(f"args size >{most}")
        return args


class PublicSocket(_BybitSocket):
    """`/v5/public/linear` and `/v5/public/spot`."""

    def __init__(self, server: "Server", connection: Connection, protocol: ServerProtocol, category: str) -> None:
        super().__init__(server, connection, protocol)
        self._category = category
        self._names: dict[str, None] = {}

    def gone(self) -> None:
        """Hear no more."""
        for name in self._names:
            self.streams.remove(self._category, name, self)

    def command(self, name: str, args: Any, identity: str, request: dict[str, Any], text: bytes) -> None:
        """subscribe, unsubscribe, ping."""
        if name == "ping":
            self.reply("ping", True, "pong", identity)
            return
        if name not in ("subscribe", "unsubscribe"):
            self.reply(name, False, "error:invalid op", identity)
            return
        try:
            topics = self.topics(args, _MAX_ARGS[self._category])
        except Refused as refused:
            self.reply(name, False, refused.text, identity)
            return
        if name == "unsubscribe":
            for topic in topics:
                if topic in self._names:
                    del self._names[topic]
                    self.streams.remove(self._category, topic, self)
            self.reply(name, True, "", identity)
            return
        if len(self._names) + len(topics) > _MAX_TOPICS:
            self.reply(name, False, f"error:at most {_MAX_TOPICS} topics a connection", identity)
            return
        first = []
        for topic in topics:
            message = self.streams.add(self._category, topic, self)
            if message is None:
                self.reply(name, False, f"error:handler not found,topic:{topic}", identity)
                return
            self._names[topic] = None
            first.append((topic, message))
        self.reply(name, True, "" if self._category == "linear" else "subscribe", identity)
        for topic, message in first:
            if message:
                self.push(message, topic.partition(".")[0])


class PrivateSocket(_BybitSocket):
    """`/v5/private`: what happens to one account."""

    def __init__(self, server: "Server", connection: Connection, protocol: ServerProtocol) -> None:
        super().__init__(server, connection, protocol)
        self._account: Account | None = None
        self._names: dict[str, None] = {}

    def gone(self) -> None:
        """Hear no more; whose orders this connection protected is watched from now on."""
        if self._account is None:
            return
        self.server.user.remove(self._account, (self, ""))
        for product in self._protected():
            self.gateway.guards[(self._account.index, product)] -= 1
            if not self.gateway.guards[(self._account.index, product)]:
                self.streams.gone(self._account.index, product)

    def _protected(self) -> list[str]:
        return list(dict.fromkeys(product for name in self._names for product in _DCP.get(name, ())))

    def command(self, name: str, args: Any, identity: str, request: dict[str, Any], text: bytes) -> None:
        """auth, subscribe, unsubscribe, ping."""
        if name == "ping":
            answer = {"req_id": identity, "op": "pong", "args": [str(self.gateway.venue.now_ms())],
                      "conn_id": self.conn_id}  # fmt: skip
            self.send(orjson.dumps(answer))
            return
        try:
            if name == "auth":
                self._log_on(args)
            elif name in ("subscribe", "unsubscribe"):
                self._subscribe(name, self.topics(args, _MAX_TOPICS))
            else:
                raise bad("invalid op")
        except Refused as refused:
            self.reply(name, False, refused.text, identity)
            if name == "auth":
                self.close()
            return
        self.reply(name, True, "", identity)

    def _log_on(self, args: Any) -> None:
        account = self.gateway.log_on(args)
        if self._account is not None:
            raise no(20001, "repeat auth")
        self._account = account
        self.server.user.add(account, (self, ""))

    def _subscribe(self, name: str, topics: list[str]) -> None:
        account = self._account
        if account is None:
            raise no(10007, "Request not authorized")
        for topic in topics:
            base, _, category = topic.rpartition(".")
            if topic not in _PRIVATE and topic not in _DCP and not (base in _PRIVATE and category in CATEGORIES):
                raise bad(f"handler not found,topic:{topic}")
        before = self._protected()
        for topic in topics:
            if name == "subscribe":
                self._names[topic] = None
            else:
                self._names.pop(topic, None)
        after = self._protected()
        for product in after:
            if product not in before:
                self.gateway.guards[(account.index, product)] = self.gateway.guards.get((account.index, product), 0) + 1
                self.streams.back(account.index, product)
        for product in before:
            if product not in after:
                self.gateway.guards[(account.index, product)] -= 1

    def hear(self, name: object, event: dict) -> None:
        """A row of the account, under each topic that it belongs to."""
        topic, row = event["topic"], event["row"]
        for heard in self._names:
            if heard == topic or heard == f"{topic}.{row.get('category')}":
                self._tell(heard, row, topic)
            elif topic == "execution" and heard in ("execution.fast", f"execution.fast.{row.get('category')}"):
                names = ("category", "symbol", "execId", "execPrice", "execQty", "orderId", "isMaker", "orderLinkId",
                         "side", "execTime", "seq")  # fmt: skip
                self._tell(heard, {name: row[name] for name in names}, topic)

    def _tell(self, heard: str, row: dict[str, Any], kind: str) -> None:
        now_ms = self.gateway.venue.now_ms()
        message = {"id": secrets.token_hex(16), "topic": heard, "creationTime": now_ms, "data": [row]}
        self.push(orjson.dumps(message), kind)


class TradeSocket(_BybitSocket):
    """`/v5/trade`: orders, after `auth`."""

    def __init__(self, server: "Server", connection: Connection, protocol: ServerProtocol) -> None:
        super().__init__(server, connection, protocol)
        self._account: Account | None = None

    def command(self, name: str, args: Any, identity: str, request: dict[str, Any], text: bytes) -> None:
        """auth, ping, or one operation on orders."""
        known = request.get("reqId")
        own: dict[str, Any] = {"reqId": known} if isinstance(known, str) else {}
        if name == "ping":
            self._say({"retCode": 0, "retMsg": "OK", "op": "pong", "data": [str(self.gateway.venue.now_ms())]}, own)
        elif name == "auth":
            self._log_on(args, own)
        else:
            self._operate(name, args, request.get("header"), text, own)

    def _say(self, answer: dict[str, Any], own: dict[str, Any]) -> None:
        self.send(orjson.dumps(own | answer | {"connId": self.conn_id}))

    def _log_on(self, args: Any, own: dict[str, Any]) -> None:
        code, text = 0, "OK"
        try:
            account = self.gateway.log_on(args)
            if self._account is not None:
                raise no(20001, "repeat auth")
            self._account = account
        except Refused as refused:
            code, text = refused.code, refused.text
        self._say({"retCode": code, "retMsg": text, "op": "auth"}, own)

    def _operate(self, name: str, args: Any, header: Any, text: bytes, own: dict[str, Any]) -> None:
        gateway = self.gateway
        gateway.note_account(self._account, name[:128], text)

        def answer() -> bytes:
            said: Mapping[str, Any] = header if isinstance(header, dict) else {}
            made = self.server.guard(lambda: gateway.operate(self._account, name, said, args), broken)
            return orjson.dumps(own | made | {"connId": self.conn_id})

        def broken() -> dict[str, Any]:
            return {"retCode": 10016, "retMsg": "Server error.", "op": name, "data": {}, "header": {}}

        struck = gateway.fault_of(name)
        if struck is None:
            way = gateway.way(name) if gateway.scenario.has_latencies else None
            self.answer_in_time(way, answer)
            return
        said = orjson.loads(gateway.failure(struck[0]).body)
        error = broken() | {"retCode": said["retCode"], "retMsg": said["retMsg"], "connId": self.conn_id}
        self.spoil(struck[0], struck[1], answer, orjson.dumps(own | error))


def bybit_socket(
    server: "Server", connection: Connection, protocol: ServerProtocol, path: str, query: str
) -> Socket | None:
    """The kind of websocket that a path asks for; None if there is none."""
    if path == "/v5/private":
        return PrivateSocket(server, connection, protocol)
    if path == "/v5/trade":
        return TradeSocket(server, connection, protocol)
    for category in CATEGORIES:
        if path == f"/v5/public/{category}":
            return PublicSocket(server, connection, protocol, category)
    return None
