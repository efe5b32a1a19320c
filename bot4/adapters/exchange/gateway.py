"""Requests in, answers out, without any connection: authority, limits and the ledger around the endpoints.

REST and websocket API meet here. The same requests at the same times give the same answers and the same ledger.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from bot4.adapters.exchange.api import PUBLIC, SIGNED, Call, Endpoint
from bot4.adapters.exchange.front import Answer, Front
from bot4.adapters.exchange.key import Key, check_signature, check_time
from bot4.adapters.exchange.limit import AddressLimit
from bot4.adapters.exchange.number import parse_whole
from bot4.adapters.exchange.parameter import read_parameters, split_text
from bot4.adapters.exchange.refusal import Refused, missing
from bot4.adapters.exchange.scenario import Fault, Scenario
from bot4.adapters.exchange.table import REST, SOCKET, SYSTEM_STATUS
from bot4.adapters.exchange.venue import Account, Venue

LISTEN_KEY_MS = 3_600_000
_SIGNATURE = re.compile(r"(?:^|&)signature=([^&]*)")
_LISTEN_PATH = "/api/v3/userDataStream"
_KEY_WEIGHT = 2
_UNREAD_WEIGHT = 1  # of what names no endpoint, no key, or is not signed by it
_CLOSED = (-1016, "This service is no longer available.", 503)
_FOUND = frozenset(path for _, path in REST) | {_LISTEN_PATH}
_FIVE = {
    500: (-1000, "An unknown error occurred while processing the request."),
    502: (-1001, "Internal error; unable to process your request. Please try again."),
    503: (-1008, "Server is currently overloaded with other requests. Please try again in a few minutes."),
    504: (-1007, "Timeout waiting for response from backend server. Send status unknown; execution status unknown."),
}
_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=str)
_ORDER_PATHS = frozenset(path for method, path in REST if method != "GET" and path.startswith("/api/v3/order"))
_CANCEL_PATHS = frozenset(path for method, path in REST if method == "DELETE")
_ORDERS = frozenset(
    name for name in SOCKET if name.startswith(("order.place", "order.cancelReplace", "order.amend", "orderList.place"))
)
_CANCELS = frozenset(("order.cancel", "openOrders.cancelAll", "orderList.cancel"))
_PLACES_ORDERS = frozenset(("/api/v3/order", "/api/v3/order/cancelReplace", "/api/v3/order/oco"))


@dataclass(slots=True)
class Session:
    """What a connection of the websocket API has logged on as."""

    key: Key | None = None
    since_ms: int = 0
    connected_ms: int = 0
    show_limits: bool = True


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value)


def identity_of(request: dict[str, Any]) -> str | int | None:
    """What a request wants to be known by: a text or a number of 64 bits."""
    identity = request.get("id")
    if isinstance(identity, int) and not -(2**63) <= identity < 2**63:
        return None
    return identity if isinstance(identity, str | int) else None


class Gateway(Front):
    """The venue behind Binance Spot's protocol."""

    user_events = frozenset(("executionReport", "listStatus", "outboundAccountPosition"))
    said = frozenset((b"x-mbx-apikey",))

    def __init__(self, venue: Venue, keys: list[Key], scenario: Scenario) -> None:
        super().__init__(venue, keys, scenario)
        self._address = AddressLimit(venue.limits)
        self._listen: dict[str, tuple[Account, int]] = {}
        self._listen_keys = 0

    def who(self, said: Mapping[bytes, bytes]) -> str | None:
        """The API key."""
        api_key = said.get(b"x-mbx-apikey")
        return None if api_key is None else api_key.decode("latin-1")

    def key_of(self, who: str | None) -> Key | None:
        """The key of that name."""
        return self._ring.known(who)

    def way(self, endpoint: str) -> str | None:
        """The way of `METHOD path`, or of a method of the websocket API."""
        name = endpoint.removeprefix("v3/")
        if name in _ORDERS or (name.startswith(("POST ", "PUT ")) and name.partition(" ")[2] in _ORDER_PATHS):
            return "order"
        if name in _CANCELS or (name.startswith("DELETE ") and name.partition(" ")[2] in _CANCEL_PATHS):
            return "cancel"
        return None

    # --- REST ---

    def broken(self) -> Answer:
        """-1000."""
        code, text = _FIVE[500]
        return self._refused(Refused(code, text, 500), [])

    def failure(self, fault: Fault) -> Answer:
        """The answer of a request that a fault answers."""
        if fault.kind == "rate_limit":
            refused = Refused(-1003, "Too many requests queued.", 429, retry_after_s=1)
            return self._refused(refused, [])
        code, text = _FIVE.get(fault.status, (-1000, "An unknown error occurred while processing the request."))
        return self._refused(Refused(code, text, fault.status), [])

    def rest(self, method: str, path: str, query: str, body: bytes, api_key: str | None) -> Answer:
        """One HTTP request, answered. `body` is a form; whatever is wrong with it is an answer too."""
        headers: list[tuple[str, str]] = []
        venue = self.venue
        try:
            text = body.decode("latin-1")
            now_ns = venue.clock_ns()
            if path.startswith(_LISTEN_PATH):
                return self._listen_request(method, path, query, text, api_key, headers)
            endpoint = REST.get((method, path))
            now_s = now_ns / 1e9
            self._address.check_ban(now_s)
            venue.begin()
            if endpoint is None:
                self._address.take(now_s, _UNREAD_WEIGHT)
                return self._no_such(method, path)
            if venue.is_closed and endpoint is not SYSTEM_STATUS:
                self._address.take(now_s, _UNREAD_WEIGHT)
                raise Refused(*_CLOSED)
            try:
                account, sent = self._authorise(endpoint, query, text, api_key)
            except Refused:
                self._address.take(now_s, _UNREAD_WEIGHT)
                self._used(headers)
                raise
            values, weight, refused = self._read(endpoint, sent)
            try:
                self._address.take(now_s, weight)
            finally:
                self._used(headers)
            if refused is not None:
                raise refused
            try:
                result = endpoint.handler(venue, Call(values, account, venue.now_ms()))
            finally:
                if account is not None and path in _PLACES_ORDERS:
                    headers.extend(_order_headers(account, now_s))
            return Answer(200, _dumps(result), headers)
        except Refused as refused:
            return self._refused(refused, headers)
        finally:
            venue.ledger.flush()

    @staticmethod
    def _read(endpoint: Endpoint, sent: dict[str, str]) -> tuple[dict[str, Any], int, Refused | None]:
        try:
            values = read_parameters(sent, endpoint.parameters, endpoint.required)
        except Refused as refused:
            return {}, 1, refused
        return values, endpoint.weigh(values), None

    def _authorise(
        self, endpoint: Endpoint, query: str, text: str, api_key: str | None
    ) -> tuple[Account | None, dict[str, str]]:
        """Whose request it is, and its parameters without the signature."""
        sent = split_text(query)
        if text:
            for name, value in split_text(text).items():
                if name in sent:
                    raise Refused(-1101, "Duplicate values for a parameter detected.")
                sent[name] = value
        if endpoint.security == PUBLIC:
            return None, sent
        key = self._ring.find(api_key or "")
        account = self.venue.accounts[key.account]
        if endpoint.security == SIGNED:
            signature = sent.pop("signature", "")
            if not signature:
                raise missing("signature")
            if not sent.get("timestamp"):
                raise missing("timestamp")
            window = sent.get("recvWindow")
            check_time(
                self.venue.now_ms(),
                parse_whole(sent["timestamp"], "timestamp"),
                parse_whole(window, "recvWindow") if window else None,
            )
            payload = _SIGNATURE.sub("", query) + _SIGNATURE.sub("", text)
            check_signature(key, payload.encode("latin-1"), signature)
        return account, sent

    def _used(self, headers: list[tuple[str, str]]) -> None:
        used = str(self._address.weight.used)
        headers.append(("x-mbx-used-weight", used))
        headers.append(("x-mbx-used-weight-1m", used))

    @staticmethod
    def _refused(refused: Refused, headers: list[tuple[str, str]]) -> Answer:
        if refused.retry_after_s:
            headers.append(("retry-after", str(refused.retry_after_s)))
        return Answer(refused.status, _dumps(refused.body()), headers)

    @staticmethod
    def _no_such(method: str, path: str) -> Answer:
        text = f"Path {path}, Method {method} is invalid"
        return Answer(405 if path in _FOUND else 404, _dumps({"code": -5000, "msg": text}))

    # --- listen keys ---

    def _listen_request(
        self, method: str, path: str, query: str, text: str, api_key: str | None, headers: list[tuple[str, str]]
    ) -> Answer:
        now_s = self.venue.clock_ns() / 1e9
        self._address.take(now_s, _KEY_WEIGHT)
        self._used(headers)
        if path != _LISTEN_PATH or method not in ("POST", "PUT", "DELETE"):
            return self._no_such(method, path)
        if self.venue.is_closed:
            raise Refused(*_CLOSED)
        key = self._ring.find(api_key or "")
        sent = split_text(query) | split_text(text)
        account = self.venue.accounts[key.account]
        if method == "POST":
            return Answer(200, _dumps({"listenKey": self.listen_key(account)}), headers)
        name = sent.get("listenKey")
        if not name:
            raise missing("listenKey")
        self.keep_listening(name, account, method == "PUT")
        return Answer(200, b"{}", headers)

    def listen_key(self, account: Account) -> str:
        """The account's listen key, the one that runs or a fresh one."""
        now_ms = self.venue.now_ms()
        for name, (owner, until_ms) in list(self._listen.items()):
            if until_ms <= now_ms:
                del self._listen[name]
            elif owner is account:
                self._listen[name] = (account, now_ms + LISTEN_KEY_MS)
                return name
        self._listen_keys += 1
        name = self._ring.of(account.index).derived(f"listen.{self._listen_keys}")
        self._listen[name] = (account, now_ms + LISTEN_KEY_MS)
        return name

    def keep_listening(self, name: str, account: Account, alive: bool) -> None:
        """A listen key lives on, or ends."""
        if self.listener(name) is not account:
            raise Refused(-1125, "This listenKey does not exist.")
        if alive:
            self._listen[name] = (account, self.venue.now_ms() + LISTEN_KEY_MS)
        else:
            del self._listen[name]

    def listener(self, name: str) -> Account | None:
        """Whose listen key that is, None if nobody's or over."""
        found = self._listen.get(name)
        return found[0] if found is not None and found[1] > self.venue.now_ms() else None

    # --- websocket API ---

    def read_socket(self, message: bytes | str) -> dict[str, Any]:
        """A request's JSON; numbers with a point stay the text they were. Refused if it is no request."""
        raw = message.encode("utf-8", "replace") if isinstance(message, str) else message
        try:
            request = _DECODER.decode(raw)
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Refused(-1135, "Invalid JSON Request") from None
        return request

    def socket(self, session: Session, request: dict[str, Any]) -> dict[str, Any]:
        """One request of the websocket API that is about no connection, answered."""
        venue = self.venue
        answer: dict[str, Any] = {"id": identity_of(request)}
        account: Account | None = None
        now_s = venue.clock_ns() / 1e9
        show = session.show_limits
        try:
            self._address.check_ban(now_s)
            venue.begin()
            try:
                method, params = self.request_parts(request)
                if "returnRateLimits" in params:
                    show = params["returnRateLimits"] == "true"
                endpoint = SOCKET.get(method.removeprefix("v3/"))
                if endpoint is None:
                    raise Refused(-1100, f"Invalid method: {method[:64]}" if method else "Invalid request")
                if venue.is_closed:
                    raise Refused(*_CLOSED)
                key = self.socket_key(session, params, endpoint.security)
            except Refused:
                self._address.take(now_s, _UNREAD_WEIGHT)
                raise
            account = venue.accounts[key.account] if key else None
            params.pop("returnRateLimits", None)  # it is signed with the rest
            values, weight, refused = self._read(endpoint, params)
            self._address.take(now_s, weight)
            if refused is not None:
                raise refused
            answer["status"] = 200
            answer["result"] = endpoint.handler(venue, Call(values, account, venue.now_ms()))
        except Refused as refused:
            self.refuse(answer, refused)
        finally:
            venue.ledger.flush()
        if show:
            answer["rateLimits"] = self.limits_used(account)
        return answer

    def limits_used(self, account: Account | None) -> list[dict[str, Any]]:
        """What is used of the limits, as answers of the websocket API tell it."""
        now_s = self.venue.clock_ns() / 1e9
        counts = [] if account is None else [count.state(now_s) for count in account.limit.counts]
        return [*counts, self._address.weight.state(now_s)]

    def take_weight(self, weight: int) -> None:
        """Count a request that is answered elsewhere."""
        self._address.take(self.venue.clock_ns() / 1e9, weight)

    def refuse(self, answer: dict[str, Any], refused: Refused) -> None:
        """Turn an answer into a refusal."""
        answer.pop("result", None)
        answer["status"] = refused.status
        answer["error"] = refused.body()
        if refused.retry_after_s:
            now_ms = self.venue.now_ms()
            answer["error"]["data"] = {"serverTime": now_ms, "retryAfter": now_ms + refused.retry_after_s * 1_000}

    @staticmethod
    def request_parts(request: dict[str, Any]) -> tuple[str, dict[str, str]]:
        """Method and parameters as texts."""
        method = request.get("method")
        params = request.get("params", {})
        if not isinstance(method, str) or not isinstance(params, dict):
            raise Refused(-1100, "Invalid request")
        texts: dict[str, str] = {}
        for name, value in params.items():
            if value is None:
                continue
            if isinstance(value, bool):
                texts[name] = "true" if value else "false"
            elif isinstance(value, str | int):
                texts[name] = str(value)
            else:
                texts[name] = _dumps(value).decode()
        return method, texts

    def socket_key(
        self, session: Session, params: dict[str, str], security: int, ed25519_only: bool = False
    ) -> Key | None:
        """The key a websocket request is made with; takes its part of the parameters out."""
        if security == PUBLIC:
            params.pop("apiKey", None)
            return None
        api_key = params.get("apiKey")
        if api_key is None and session.key is not None:
            if security == SIGNED:
                self._check_socket_time(params)
            return session.key
        if api_key is None:
            raise missing("apiKey")
        key = self._ring.find(api_key)
        if security == SIGNED:
            signature = params.pop("signature", "")
            if not signature:
                raise missing("signature")
            self._check_socket_time(params)
            payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
            check_signature(key, payload.encode("utf-8", "replace"), signature, ed25519_only)
        params.pop("apiKey")
        return key

    def _check_socket_time(self, params: dict[str, str]) -> None:
        if not params.get("timestamp"):
            raise missing("timestamp")
        window = params.get("recvWindow")
        check_time(
            self.venue.now_ms(),
            parse_whole(params["timestamp"], "timestamp"),
            parse_whole(window, "recvWindow") if window else None,
        )


def _order_headers(account: Account, now_s: float) -> list[tuple[str, str]]:
    found = []
    for count in account.limit.counts:
        count.take(now_s, 0)
        found.append((f"x-mbx-order-count-{count.rule.suffix.lower()}", str(count.used)))
    return found
