"""Bybit v5 without its sockets: signed headers, limits by second, endpoints, and orders that come by websocket.

Every answer is an object of retCode, retMsg and result, with HTTP status 200 but where no endpoint is reached. The
limits of a scenario widen the venue's own: those of orders as `orders_10s` compares to 100, that of an address as
`raw_requests_5m` compares to 61,000.
"""

import hmac
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import orjson

from bot4.adapters.exchange.bybit import api_market as market
from bot4.adapters.exchange.bybit.api_trade import PRODUCTS, Desk
from bot4.adapters.exchange.bybit.ends import Keeper
from bot4.adapters.exchange.bybit.entry import Reader
from bot4.adapters.exchange.bybit.field import Fields
from bot4.adapters.exchange.bybit.liquidation import Liquidator
from bot4.adapters.exchange.bybit.refusal import bad, no
from bot4.adapters.exchange.bybit.words import BybitWords
from bot4.adapters.exchange.front import Answer, Front
from bot4.adapters.exchange.key import AHEAD_MS, DEFAULT_WINDOW_MS, Key
from bot4.adapters.exchange.number import parse_whole
from bot4.adapters.exchange.parameter import split_text
from bot4.adapters.exchange.refusal import Refused
from bot4.adapters.exchange.scenario import Fault, Scenario
from bot4.adapters.exchange.venue import Account, Venue

JSON = b"application/json; charset=utf-8"
_ADDRESS_LIMIT, _ADDRESS_S, _BAN_S = 600, 5, 600
_DEFAULT_ORDERS, _DEFAULT_RAW = 100, 61_000
_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=str)
_EMPTY = b"{}"
_FIVE = {500: "Server error.", 502: "Bad gateway", 503: "Service unavailable", 504: "Gateway timeout"}

Handler = Callable[[Account, Fields], Any]


class Who(NamedTuple):
    """What the headers of a request say."""

    api_key: str
    timestamp: str
    window: str
    sign: str


class Endpoint(NamedTuple):
    """A signed path: who answers, and how often a second it may be asked for contracts and for spot."""

    handler: Handler
    linear: int
    spot: int
    is_batch: bool = False


class Rates:
    """Requests of every account, by path and second."""

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._used: dict[tuple[int, str], tuple[int, int]] = {}

    def take(self, account: int, path: str, limit: int, amount: int, now_ms: int) -> tuple[int, int, int, bool]:
        """Count; limit, what is left, when the next second begins (ms), and whether it fits."""
        limit = max(1, int(limit * self._factor))
        second, used = self._used.get((account, path), (0, 0))
        if second != now_ms // 1_000:
            second, used = now_ms // 1_000, 0
        fits = used + amount <= limit
        if fits:
            used += amount
            self._used[(account, path)] = (second, used)
        return limit, limit - used, now_ms if fits else (second + 1) * 1_000, fits


class Address:
    """Requests of the one address that there is, and its ban."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._span = -1
        self._used = 0
        self._until_s = 0.0

    def take(self, now_s: float) -> None:
        """Count one; 403 beyond the limit, and for minutes after that."""
        span = int(now_s) // _ADDRESS_S
        if span != self._span:
            self._span, self._used = span, 0
        self._used += 1
        if self._used > self._limit and now_s >= self._until_s:
            self._until_s = now_s + _BAN_S
        if now_s < self._until_s:
            raise Refused(10018, "403, access too frequent", 403)


class BybitGateway(Front):
    """The venue behind Bybit's protocol."""

    user_events = frozenset(("order", "execution", "position", "wallet"))
    said = frozenset((b"x-bapi-api-key", b"x-bapi-timestamp", b"x-bapi-recv-window", b"x-bapi-sign"))

    def __init__(self, venue: Venue, keys: list[Key], scenario: Scenario) -> None:
        super().__init__(venue, keys, scenario)
        assert isinstance(venue.words, BybitWords)
        self.words = venue.words
        self.seed = scenario.seed
        reader = Reader(venue, self.words.states, self.seed)
        self.liquidator = Liquidator(venue, self.words.states, reader)
        self.desk = desk = Desk(venue, self.words.states, reader, Keeper(venue, self.words, reader))
        self._rates = Rates(venue.limits.orders_10s / _DEFAULT_ORDERS)
        self._address = Address(_ADDRESS_LIMIT * venue.limits.raw_requests_5m // _DEFAULT_RAW)
        self._public: dict[str, Callable[[Venue, Fields], Any]] = {
            "/v5/market/time": market.server_time,
            "/v5/market/instruments-info": market.instruments,
            "/v5/market/orderbook": market.orderbook,
            "/v5/market/tickers": market.tickers,
            "/v5/market/recent-trade": lambda venue, fields: market.recent_trades(venue, fields, self.seed),
            "/v5/market/kline": market.klines,
            "/v5/market/risk-limit": market.risk_limits,
        }
        self._signed: dict[tuple[str, str], Endpoint] = {
            ("POST", "/v5/order/create"): Endpoint(desk.create, 10, 20),
            ("POST", "/v5/order/amend"): Endpoint(desk.amend, 10, 10),
            ("POST", "/v5/order/cancel"): Endpoint(desk.cancel, 10, 20),
            ("POST", "/v5/order/cancel-all"): Endpoint(desk.cancel_all, 10, 20),
            ("POST", "/v5/order/create-batch"): Endpoint(self._batch(desk.create), 10, 20, True),
            ("POST", "/v5/order/amend-batch"): Endpoint(self._batch(desk.amend), 10, 20, True),
            ("POST", "/v5/order/cancel-batch"): Endpoint(self._batch(desk.cancel), 10, 20, True),
            ("POST", "/v5/order/disconnected-cancel-all"): Endpoint(desk.set_window, 5, 5),
            ("GET", "/v5/order/realtime"): Endpoint(self._realtime, 50, 50),
            ("GET", "/v5/order/history"): Endpoint(self._history, 50, 50),
            ("GET", "/v5/execution/list"): Endpoint(desk.executions, 50, 50),
            ("GET", "/v5/position/list"): Endpoint(desk.positions, 50, 50),
            ("POST", "/v5/position/set-leverage"): Endpoint(desk.set_leverage, 10, 10),
            ("POST", "/v5/position/trading-stop"): Endpoint(desk.trading_stop, 10, 10),
            ("GET", "/v5/account/wallet-balance"): Endpoint(desk.wallet, 50, 50),
            ("GET", "/v5/account/info"): Endpoint(desk.account_info, 50, 50),
            ("GET", "/v5/account/fee-rate"): Endpoint(desk.fee_rate, 10, 5),
            ("GET", "/v5/account/query-dcp-info"): Endpoint(desk.windows, 50, 50),
            ("GET", "/v5/asset/coin/query-info"): Endpoint(self._coins, 5, 5),
            ("GET", "/v5/user/query-api"): Endpoint(self._api_key, 10, 10),
        }
        self.guards: dict[tuple[int, str], int] = {}  # private connections that protect, by account and product
        self._next_funding_ms = market.next_funding_ms(venue.clock_ns() // 1_000_000)
        self._paths = {path for _, path in self._signed} | set(self._public)
        self._operations = {
            f"order.{name}": ("POST", f"/v5/order/{name}")
            for name in ("create", "amend", "cancel", "create-batch", "amend-batch", "cancel-batch")
        }

    def way(self, endpoint: str) -> str | None:
        """The way of `METHOD path`, or of an operation of the trade websocket."""
        name = endpoint.removeprefix("POST /v5/").replace("/", ".").removesuffix("-batch")
        if name in ("order.create", "order.amend", "position.trading-stop"):
            return "order"
        return "cancel" if name in ("order.cancel", "order.cancel-all") else None

    # --- handlers that need more than the desk ---

    def _batch(self, action: Callable[[Account, Fields], dict[str, Any]]) -> Handler:
        return lambda account, fields: self.desk.batch(account, fields, action)

    def _since_ms(self) -> int:
        return self.venue.now_ms() - self.venue.lag_ms if self.venue.lag_ms else 2**62

    def _realtime(self, account: Account, fields: Fields) -> Any:
        return self.desk.realtime(account, fields, self._since_ms())

    def _history(self, account: Account, fields: Fields) -> Any:
        return self.desk.history(account, fields, self._since_ms())

    def _coins(self, account: Account, fields: Fields) -> Any:
        return market.coins(self.venue, fields)

    def _api_key(self, account: Account, fields: Fields) -> Any:
        return self.desk.api_key(account, self.key_name(account))

    def key_name(self, account: Account) -> str:
        """The API key of an account."""
        return self._ring.name_of(account.index)

    # --- who asks ---

    def who(self, said: Mapping[bytes, bytes]) -> Who:
        """Key, time, window and signature."""
        texts = [said.get(f"x-bapi-{name}".encode(), b"").decode("latin-1") for name in
                 ("api-key", "timestamp", "recv-window", "sign")]  # fmt: skip
        return Who(*texts)

    def key_of(self, who: Who | None) -> Key | None:
        """The key of that name."""
        return self._ring.known(who.api_key) if who else None

    def _check_time(self, timestamp: str, window: str) -> None:
        now_ms = self.venue.now_ms()
        try:
            sent_ms = parse_whole(timestamp, "timestamp")
            window_ms = parse_whole(window, "recv_window") if window else DEFAULT_WINDOW_MS
        except Refused:
            raise bad("timestamp or recv_window invalid") from None
        if not now_ms - window_ms <= sent_ms < now_ms + AHEAD_MS:
            raise no(10002, "invalid request, please check your server timestamp or recv_window param. "
                     f"req_timestamp[{sent_ms}],server_timestamp[{now_ms}],recv_window[{window_ms}]")  # fmt: skip

    def _authorise(self, who: Who, payload: bytes) -> Account:
        if not (who.api_key and who.timestamp and who.sign):
            raise no(10001, f"empty value: apiTimestamp[{who.timestamp[:32]}] apiKey[{who.api_key[:64]}] "
                     f"apiSignature[{who.sign[:64]}]")  # fmt: skip
        self._check_time(who.timestamp, who.window)
        key = self._ring.known(who.api_key)
        if key is None:
            raise no(10003, "API key is invalid.")
        origin = f"{who.timestamp}{who.api_key}{who.window}".encode("latin-1") + payload
        if not self.signs(key, origin, who.sign):
            shown = origin[:200].decode("latin-1")
            raise no(10004, f"error sign! origin_string[{shown}]")
        return self.venue.accounts[key.account]

    @staticmethod
    def signs(key: Key, payload: bytes, signature: str) -> bool:
        """Whether it is the key's signature, HMAC-SHA256 in hex."""
        made = hmac.digest(key.secret, payload, "sha256").hex()
        return hmac.compare_digest(made.encode(), signature.lower().encode("utf-8", "replace"))

    def log_on(self, args: Any) -> Account:
        """The account of a websocket's `auth`: key, time it expires, and the signature over it."""
        if not (isinstance(args, list) and len(args) == 3 and isinstance(args[0], str) and isinstance(args[2], str)):
            raise bad("args of auth are key, expiry and signature")
        expires = str(args[1])
        if not (expires.isascii() and expires.isdigit() and len(expires) < 20):
            raise bad("expires invalid")
        if int(expires) <= self.venue.now_ms():
            raise no(10002, f"expires {expires} is in the past, the server's time is {self.venue.now_ms()}")
        key = self._ring.known(args[0])
        if key is None:
            raise no(10003, "API key is invalid.")
        if not self.signs(key, f"GET/realtime{expires}".encode(), args[2]):
            raise no(10004, "Error sign, please check your signature generation algorithm.")
        return self.venue.accounts[key.account]

    # --- REST ---

    def failure(self, fault: Fault) -> Answer:
        """The answer of a request that a fault answers."""
        if fault.kind == "rate_limit":
            return self._refusal(no(10006, "Too many visits. Exceeded the API Rate Limit."), [])
        text = _FIVE.get(fault.status, "Server error.")
        return self._refusal(Refused(10016, text, fault.status), [])

    def broken(self) -> Answer:
        """10016."""
        return self._refusal(Refused(10016, "Server error.", 500), [])

    def rest(self, method: str, path: str, query: str, body: bytes, who: Who) -> Answer:
        """One HTTP request, answered."""
        headers: list[tuple[str, str]] = []
        try:
            self._address.take(self.venue.clock_ns() / 1e9)
            self._begin()
            public = self._public.get(path) if method == "GET" else None
            if public is not None:
                return self._answer(public(self.venue, self._fields(query)), headers)
            endpoint = self._signed.get((method, path))
            if endpoint is None:
                return self._no_such(path)
            payload = query.encode("latin-1") if method == "GET" else body
            account = self._authorise(who, payload)
            fields = self._fields(query) if method == "GET" else self._body(body)
            self._take(endpoint, account, path, fields, headers)
            return self._answer(endpoint.handler(account, fields), headers)
        except Refused as refused:
            return self._refusal(refused, headers)
        finally:
            self.venue.ledger.flush()

    def _begin(self) -> None:
        """What is due is done first, and nobody is answered while the venue is closed for maintenance."""
        self.venue.begin()
        self.fund()
        if self.venue.is_closed:
            raise Refused(10016, "Server error. Service is restarting", 503)

    def _take(
        self, endpoint: Endpoint, account: Account, path: str, fields: Fields, headers: list[tuple[str, str]]
    ) -> None:
        is_spot = fields.text("category") == "spot"
        limit = endpoint.spot if is_spot else endpoint.linear
        amount = fields.size("request") if endpoint.is_batch else 1
        name = path + " spot" if is_spot else path
        most, left, reset_ms, fits = self._rates.take(account.index, name, limit, amount, self.venue.now_ms())
        headers.append(("X-Bapi-Limit", str(most)))
        headers.append(("X-Bapi-Limit-Status", str(left)))
        headers.append(("X-Bapi-Limit-Reset-Timestamp", str(reset_ms)))
        if not fits:
            raise no(10006, "Too many visits. Exceeded the API Rate Limit.")

    @staticmethod
    def _fields(query: str) -> Fields:
        try:
            return Fields(split_text(query))
        except Refused as refused:
            raise bad(refused.text) from None

    @staticmethod
    def _body(body: bytes) -> Fields:
        try:
            return Fields(_DECODER.decode(body or _EMPTY))
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise bad("the body is no JSON object") from None

    def _answer(self, result: Any, headers: list[tuple[str, str]]) -> Answer:
        extra: Any = {}
        if isinstance(result, tuple):
            result, extra = result
        answer = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": extra, "time": self.venue.now_ms()}
        return Answer(200, orjson.dumps(answer), headers, JSON)

    def _refusal(self, refused: Refused, headers: list[tuple[str, str]]) -> Answer:
        answer = {
            "retCode": refused.code,
            "retMsg": refused.text,
            "result": {},
            "retExtInfo": {},
            "time": self.venue.now_ms(),
        }
        return Answer(refused.status, orjson.dumps(answer), headers, JSON)

    def _no_such(self, path: str) -> Answer:
        if path in self._paths:
            return self._refusal(Refused(10017, "Route not found.", 400), [])
        return self._refusal(Refused(10017, "Route not found.", 404), [])

    # --- orders by websocket ---

    def operate(self, account: Account | None, operation: str, header: Mapping[str, Any], args: Any) -> dict[str, Any]:
        """One request of `/v5/trade`: everything of its answer but what belongs to the connection."""
        headers: list[tuple[str, str]] = []
        answer: dict[str, Any] = {"retCode": 0, "retMsg": "OK", "op": operation, "data": {}}
        try:
            self._begin()
            route = self._operations.get(operation)
            if route is None:
                raise no(10404, f"op type is not found: {operation[:64]}")
            if account is None:
                raise no(10007, "User authentication failed.")
            self._check_time(str(header.get("X-BAPI-TIMESTAMP", "")), str(header.get("X-BAPI-RECV-WINDOW") or ""))
            if not (isinstance(args, list) and len(args) == 1 and isinstance(args[0], dict)):
                raise bad("args must hold one object")
            endpoint, fields = self._signed[route], Fields(args[0])
            self._take(endpoint, account, route[1], fields, headers)
            result = endpoint.handler(account, fields)
            if isinstance(result, tuple):
                result, answer["retExtInfo"] = result
            answer["data"] = result
        except Refused as refused:
            answer["retCode"], answer["retMsg"] = refused.code, refused.text
        finally:
            self.venue.ledger.flush()
        answer["header"] = dict(headers) | {"Timenow": str(self.venue.now_ms()), "Traceid": ""}
        return answer

    # --- what happens by itself ---

    def fund(self) -> None:
        """Settle funding if its time has come; what was missed meanwhile is settled once."""
        now_ms = self.venue.clock_ns() // 1_000_000
        if now_ms < self._next_funding_ms:
            return
        self._next_funding_ms = market.next_funding_ms(now_ms)
        for symbol in self.venue.by_index:
            if symbol.is_linear:
                self.venue.fund(symbol, market.FUNDING_RATE_E8, self.words.states.mark_e8(symbol))

    def protect(self, account: Account, product: str) -> None:
        """The private connection has been gone for too long."""
        venue = self.venue
        venue.ledger.add(venue.clock_ns(), "fault", reason="disconnection protection", target=account.name)
        self.desk.cancel_category(account, PRODUCTS[product], "CancelByDCP")
        venue.ledger.flush()
