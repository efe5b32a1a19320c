"""The loopback exchange as Bybit: without sockets on a manual clock, and the form of its requests over real ones."""

import hmac
import json
import time
from pathlib import Path
from urllib.parse import urlencode

from rig.exchange_desk import START_NS, fixed_key
from rig.exchange_server import ExchangeServer

from bot4.adapters.exchange.assembly import assemble
from bot4.adapters.exchange.bybit.gateway import BybitGateway, Who
from bot4.adapters.exchange.commission import Tier
from bot4.adapters.exchange.front import Answer
from bot4.adapters.exchange.ledger import Ledger
from bot4.adapters.exchange.number import E8
from bot4.adapters.exchange.owner import Owner
from bot4.adapters.exchange.protocol import BYBIT
from bot4.adapters.exchange.scenario import Scenario

BTC = "BTCUSDT"


def sign(secret: bytes, timestamp: object, api_key: str, window: object, payload: str) -> str:
    """The venue's signature: HMAC-SHA256 in hex over time, key, window and what is sent."""
    return hmac.new(secret, f"{timestamp}{api_key}{window}{payload}".encode(), "sha256").hexdigest()


class BybitDesk:
    """A venue with accounts a, b, ... of 1,000,000 USDT, 100 BTC and 1,000 ETH each."""

    def __init__(
        self,
        folder: Path,
        accounts: int = 2,
        scenario: str = "",
        market_seed: int | None = None,
        fees_ppm: tuple[int, int] = (200, 550),
        usdt: int = 1_000_000,
    ) -> None:
        self.now_ns = START_NS
        self.ledger = folder / "ledger.jsonl"
        path = None
        if scenario:
            path = folder / "scenario.toml"
            path.write_text(scenario)
        money = {"USDT": usdt * E8, "BTC": 100 * E8, "ETH": 1_000 * E8}
        owners = [Owner(chr(97 + index), dict(money), (Tier(0, *fees_ppm),)) for index in range(accounts)]
        self.keys = [fixed_key(index) for index in range(accounts)]
        faults = Scenario(path, self.now_ms)
        self.made = assemble(
            owners, faults, Ledger(self.ledger), lambda: self.now_ns, market_seed, 1.0, self.keys, protocol=BYBIT
        )
        assert isinstance(self.made.gateway, BybitGateway)
        self.gateway = self.made.gateway
        self.venue = self.gateway.venue
        self.events: list[list[dict]] = [[] for _ in owners]
        for index, heard in enumerate(self.events):
            self.venue.accounts[index].listeners.append(heard.append)
        self.answer: Answer | None = None

    def tick(self, seconds: float) -> None:
        """Time goes on, and the market with it."""
        self.now_ns += int(seconds * 1e9)
        if self.made.market is not None:
            self.made.market.advance(self.now_ns)

    @property
    def now_ms(self) -> int:
        """The clock in ms."""
        return self.now_ns // 1_000_000

    def raw(self, method: str, path: str, query: str, body: bytes, who: Who):
        """One request as it is. Returns (status, JSON of the answer)."""
        self.gateway.note(who, method, f"{path}?{query}", body)
        self.answer = self.gateway.rest(method, path, query, body, who)
        return self.answer.status, json.loads(self.answer.body)

    def get(self, path: str, **params: object):
        """A public request that is answered well: its result."""
        status, answer = self.raw("GET", "/v5/" + path, urlencode(params), b"", Who("", "", "", ""))
        assert (status, answer["retCode"]) == (200, 0), answer
        return answer["result"]

    def ask(self, account: int, method: str, path: str, **params: object):
        """A signed request: the whole answer."""
        key = self.keys[account]
        query, body = ("", json.dumps(params)) if method == "POST" else (urlencode(params), "")
        stamp = str(self.now_ms)
        who = Who(key.api_key, stamp, "5000", sign(key.secret, stamp, key.api_key, 5000, query + body))
        status, answer = self.raw(method, "/v5/" + path, query, body.encode(), who)
        assert status == 200, answer
        return answer

    def done(self, account: int, method: str, path: str, **params: object):
        """A signed request that is answered well: its result."""
        answer = self.ask(account, method, path, **params)
        assert answer["retCode"] == 0, answer
        return answer["result"]

    def refused(self, account: int, method: str, path: str, **params: object) -> int:
        """A signed request that is refused: its code."""
        answer = self.ask(account, method, path, **params)
        assert answer["retCode"] and answer["result"] == {}, answer
        return answer["retCode"]

    def create(self, account: int, side: str, qty: str, price: str = "", category: str = "linear", **more: object):
        """An order that is taken: its id."""
        return self.done(account, "POST", "order/create", **order(side, qty, price, category, **more))["orderId"]

    def order(self, account: int, order_id: str, category: str = "linear") -> dict:
        """An order as it is now."""
        (row,) = self.done(account, "GET", "order/realtime", category=category, orderId=order_id)["list"]
        return row

    def position(self, account: int, symbol: str = BTC) -> dict:
        """A position as it is now."""
        (row,) = self.done(account, "GET", "position/list", category="linear", symbol=symbol)["list"]
        return row

    def coin(self, account: int, coin: str = "USDT") -> dict:
        """What there is of a coin."""
        wallet = self.done(account, "GET", "account/wallet-balance", accountType="UNIFIED", coin=coin)["list"][0]
        return wallet["coin"][0]

    def heard(self, account: int, topic: str) -> list[dict]:
        """Rows that the account has heard under a topic, and forget them."""
        rows = [event["row"] for event in self.events[account] if event["topic"] == topic]
        self.events[account] = [event for event in self.events[account] if event["topic"] != topic]
        self.venue.accounts[account].listeners[:] = [self.events[account].append]
        return rows

    def conserved(self) -> None:
        """Nothing was made and nothing lost."""
        for asset, money in self.venue.money().items():
            assert money["paid_in_e8"] == money["held_e8"] + money["fees_e8"], (asset, money)


def order(side: str, qty: str, price: str = "", category: str = "linear", **more: object) -> dict[str, object]:
    """The fields of an order: limit where there is a price, market where there is none."""
    fields = {"category": category, "symbol": BTC, "side": side, "qty": qty,
              "orderType": "Limit" if price else "Market"}  # fmt: skip
    return fields | ({"price": price} if price else {}) | more


class BybitServer(ExchangeServer):
    """A running exchange that speaks Bybit's protocol."""

    def __init__(self, folder: Path, *options: str, scenario: str = "", market: str = "none") -> None:
        super().__init__(folder, "--venue", "bybit", *options, scenario=scenario, market=market)

    def get(self, path: str, **params: object):
        """A public request that is answered well: its result."""
        status, body = self.raw("GET", f"/v5/{path}?{urlencode(params)}")
        answer = json.loads(body)
        assert (status, answer["retCode"]) == (200, 0), answer
        return answer["result"]

    def signed(self, method: str, path: str, **params: object):
        """A signed request. Returns (status, JSON)."""
        query, body = ("", json.dumps(params)) if method == "POST" else (urlencode(params), "")
        stamp, key = int(time.time() * 1_000), self.ready["api_key"]
        headers = {
            "X-BAPI-API-KEY": key,
            "X-BAPI-TIMESTAMP": str(stamp),
            "X-BAPI-RECV-WINDOW": "5000",
            "X-BAPI-SIGN": sign(self.ready["api_secret"].encode(), stamp, key, 5000, query + body),
            "Content-Type": "application/json",
        }
        target = f"/v5/{path}" + (f"?{query}" if query else "")
        status, answer = self.raw(method, target, body.encode(), headers)
        return status, json.loads(answer)

    def done(self, method: str, path: str, **params: object):
        """A signed request that is answered well: its result."""
        status, answer = self.signed(method, path, **params)
        assert (status, answer["retCode"]) == (200, 0), answer
        return answer["result"]

    def log_on(self, stream, seconds: float = 5.0) -> dict:
        """`auth` on a private or a trade connection: the answer."""
        expires = int((time.time() + seconds) * 1_000)
        signature = hmac.new(self.ready["api_secret"].encode(), f"GET/realtime{expires}".encode(), "sha256").hexdigest()
        stream.send(json.dumps({"op": "auth", "args": [self.ready["api_key"], expires, signature]}))
        return json.loads(stream.recv(10))
