"""The loopback exchange without sockets, on a manual clock, with keys that are the same every time."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot4.adapters.exchange.agent import Profile
from bot4.adapters.exchange.assembly import assemble
from bot4.adapters.exchange.commission import Tier
from bot4.adapters.exchange.gateway import Answer, Session
from bot4.adapters.exchange.key import Key
from bot4.adapters.exchange.ledger import Ledger
from bot4.adapters.exchange.number import E8
from bot4.adapters.exchange.owner import Owner, Owners
from bot4.adapters.exchange.recorded import Recording
from bot4.adapters.exchange.scenario import Scenario
from bot4.adapters.exchange.symbol import changed_filters

START_NS = 1_760_000_000_000_000_000
BTC = "BTCUSDT"


def fixed_key(account: int) -> Key:
    """A key made of the account's number."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"%d" % account).digest())
    return Key(account, f"key{account}" * 8, b"secret%d" % account * 8, private.public_key(), private)


class Desk:
    """A venue with accounts a, b, ... of 1,000,000 USDT, 100 BTC and 1,000 ETH each."""

    def __init__(
        self,
        folder: Path,
        accounts: int = 2,
        scenario: str = "",
        market_seed: int | None = None,
        fees_ppm: tuple[int, int] = (1_000, 1_000),
        ledger: str = "ledger.jsonl",
        speed: float = 1.0,
        owners: Owners | None = None,
        recording: Recording | None = None,
        profiles: dict[str, Profile] | None = None,
        scenario_file: Path | None = None,
    ) -> None:
        self.now_ns = START_NS
        self.ledger = folder / ledger
        path = scenario_file
        if scenario:
            path = folder / "scenario.toml"
            path.write_text(scenario)
        money = {"USDT": 1_000_000 * E8, "BTC": 100 * E8, "ETH": 1_000 * E8}
        if recording is not None:
            traded = {asset for symbol in recording.symbols for asset in (symbol.base, symbol.quote)}
            money = {asset: money.get(asset, 1_000_000 * E8) for asset in sorted(traded)}
        if owners is None:
            owners = Owners([Owner(chr(97 + index), dict(money), (Tier(0, *fees_ppm),)) for index in range(accounts)])
        self.keys = [fixed_key(index) for index in range(len(owners.accounts))]
        faults = Scenario(path, self.now_ms)
        self.made = assemble(
            owners.accounts, faults, Ledger(self.ledger), lambda: self.now_ns, market_seed, speed, self.keys,
            token=owners.token, recording=recording, profiles=profiles,
        )  # fmt: skip
        self.gateway = self.made.gateway
        self.venue = self.gateway.venue
        self.events: list[list[dict]] = [[] for _ in owners.accounts]
        for index, heard in enumerate(self.events):
            self.venue.accounts[index].listeners.append(heard.append)
        self.answer: Answer | None = None

    def tick(self, seconds: float) -> None:
        """Time goes on, and the market with it."""
        self.now_ns += int(seconds * 1e9)
        self.venue.begin()
        if self.made.market is not None:
            self.made.market.advance(self.now_ns)

    @property
    def now_ms(self) -> int:
        """The clock in ms."""
        return self.now_ns // 1_000_000

    def raw(self, method: str, path: str, query: str = "", body: bytes = b"", api_key: str | None = None):
        """One request as it is. Returns (status, JSON of the answer)."""
        self.gateway.note(api_key, method, f"{path}?{query}", body)
        self.answer = self.gateway.rest(method, path, query, body, api_key)
        return self.answer.status, json.loads(self.answer.body or b"null")

    def get(self, path: str, **params: object):
        """A public request that is answered well."""
        status, answer = self.raw("GET", "/api/v3/" + path, urlencode(params))
        assert status == 200, answer
        return answer

    def signed(self, account: int, method: str, path: str, ed25519: bool = False, **params: object):
        """A signed request below /api/v3/. Returns (status, JSON)."""
        return self.signed_at(account, method, "/api/v3/" + path, ed25519, **params)

    def signed_at(self, account: int, method: str, path: str, ed25519: bool = False, **params: object):
        """A signed request. Returns (status, JSON)."""
        key = self.keys[account]
        query = urlencode({"timestamp": self.now_ms} | params)
        if ed25519:
            signature = quote(base64.b64encode(key.private.sign(query.encode())).decode(), safe="")
        else:
            signature = hmac.new(key.secret, query.encode(), "sha256").hexdigest()
        return self.raw(method, path, f"{query}&signature={signature}", b"", key.api_key)

    def done(self, account: int, method: str, path: str, **params: object):
        """A signed request that is answered well."""
        status, answer = self.signed(account, method, path, **params)
        assert status == 200, answer
        return answer

    def refused(self, account: int, method: str, path: str, **params: object) -> tuple[int, str]:
        """A signed request that is refused: code and text."""
        status, answer = self.signed(account, method, path, **params)
        assert 400 <= status < 500, answer
        return answer["code"], answer["msg"]

    def limit(self, account: int, side: str, price: str, quantity: str, **more: object):
        """A limit order that is taken."""
        fields = {"symbol": BTC, "side": side, "type": "LIMIT", "timeInForce": "GTC", "price": price,
                  "quantity": quantity}  # fmt: skip
        return self.done(account, "POST", "order", **(fields | more))

    def market(self, account: int, side: str, **more: object):
        """A market order that is taken."""
        return self.done(account, "POST", "order", symbol=BTC, side=side, type="MARKET", **more)

    def balances(self, account: int) -> dict[str, tuple[str, str]]:
        """Free and locked by asset."""
        rows = self.done(account, "GET", "account")["balances"]
        return {row["asset"]: (row["free"], row["locked"]) for row in rows}

    def filters(self, **values: int) -> None:
        """From now on other filters of BTCUSDT."""
        symbol = self.venue.symbol(BTC)
        symbol.filters = changed_filters(symbol.filters, values)

    def conserved(self) -> None:
        """Nothing was made and nothing lost."""
        for asset, money in self.venue.money().items():
            assert money["paid_in_e8"] == money["held_e8"] + money["fees_e8"], (asset, money)

    def socket_params(self, account: int, **params: object) -> dict[str, object]:
        """Parameters of the websocket API with key and signature."""
        key = self.keys[account]
        params = params | {"apiKey": key.api_key, "timestamp": self.now_ms}
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
        params["signature"] = hmac.new(key.secret, payload.encode(), "sha256").hexdigest()
        return params

    def socket(self, account: int | None, method: str, session: Session | None = None, **params: object) -> dict:
        """A request of the websocket API, signed with HMAC if there is an account."""
        if account is not None:
            params = self.socket_params(account, **params)
        text = json.dumps({"id": 1, "method": method, "params": params})
        return self.gateway.socket(session or Session(), self.gateway.read_socket(text))
