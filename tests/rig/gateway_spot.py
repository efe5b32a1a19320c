"""The gateway in front of the exchange as Binance Spot: without sockets on a clock of the test's, or with them."""

import json
import logging
from functools import partial
from pathlib import Path

import numpy as np
from rig.exchange_desk import BTC, Desk
from rig.exchange_server import WIDE, ExchangeServer
from rig.gateway import ACCOUNT, GatewayRig
from rig.gateway_desk import DeskRig, Wires
from rig.gateway_desk import _Caller as Caller
from rig.gateway_script import ScriptedListener

from bot4.adapters.binance.private import BinancePrivate
from bot4.adapters.exchange.commission import Tier
from bot4.adapters.exchange.number import E8
from bot4.adapters.exchange.owner import Owner, Owners
from bot4.adapters.net.caller import HttpCaller
from bot4.adapters.net.dial import verified_context
from bot4.adapters.net.listener import PrivateListener
from bot4.engine.gateway import GatewayAgent
from bot4.engine.gateway_log import GatewayLog
from bot4.model.records import EXEC_REPORT, INSTRUMENT, ORDER_INTENT, SESSION
from bot4.ports.gateway import Reply
from bot4.ports.gateway_values import Keys
from bot4.shm.wires import private_wires

LOT_E8, TICKS = 1_000, 100  # a lot of BTC, ticks of one USDT
FILTERS = {"max_orders": 400, "market_max_qty_e8": 10**12, "max_notional_e8": 10**18}
ACCOUNTS = """
[[account]]
name = "main"
balances = { USDT = "100000000" }
maker_fee_bps = "10"
taker_fee_bps = "10"
[[account]]
name = "maker"
balances = { USDT = "900000000", BTC = "9000" }
"""


def spot_row(coarse: int = 1) -> np.ndarray:
    """INSTRUMENT[1]: BTCUSDT as the exchange has it; `coarse`: a lot of ours is so many of the venue's steps."""
    row = np.zeros(1, INSTRUMENT)
    values = {
        "is_spot": 1, "tick_e8": 1_000_000, "lot_e8": LOT_E8, "value_e8": 10, "price_decimals": 2, "qty_decimals": 5,
        "min_notional_e8": 500_000_000, "min_qty_lots": 1, "max_qty_lots": 10**9, "maker_fee_ppm": 1_000,
        "taker_fee_ppm": 1_000,
    }  # fmt: skip
    for name, value in values.items():
        row[name] = value
    row["lot_e8"] *= coarse
    row["value_e8"] *= coarse
    return row


class SpotWires(Wires):
    """Both connections of the gateway; cancels and orders in place of others go the way of orders."""

    orders = b"POST /api/v3/order"

    def _ask(self, data: bytes) -> Reply:
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split()
        path, _, query = target.partition("?")
        said = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        key = said["x-mbx-apikey"]
        self.desk.gateway.note(key, method, target, body)
        answer = self.desk.gateway.rest(method, path, query, body, key)
        return Reply(answer.status, {name.lower(): value for name, value in answer.headers}, answer.body)

    def tell(self) -> None:
        """What has become of orders, by the stream, once or more often and in no order."""
        events, self.desk.events[0][:] = list(self.desk.events[0]), []
        for event in events:
            if self.copies:
                message = {"subscriptionId": 0, "event": event}
                for _ in range(self._dice.randint(1, self.copies)):
                    delay_s = self._dice.uniform(0.0, 2.0) if self.copies > 1 else 0.0
                    self._later(delay_s, partial(self.say, message))

    def say(self, message: object) -> None:
        """To the gateway, by the stream; what it has asked there is answered."""
        if message is not None and "success" in message:
            answered = [said["id"] for said in self.said[-1:]]
            message = {"id": answered[0], "status": 200, "result": {}}
        self._news.append(None if message is None else json.dumps(message).encode())


class SpotRig(DeskRig):
    """One life of the gateway; account 0 is ours and has no coin, account 1 makes the book, account 2 takes."""

    def __init__(
        self,
        folder: Path,
        seed: int = 1,
        ambiguous: float = 0.0,
        unheard: float = 0.0,
        before: "SpotRig | None" = None,
        coins_e8: int = 0,
        copies: int = 1,
        scenario: str = "",
        coarse: int = 1,
        least: int = 1,
    ) -> None:
        """`coarse` : see `spot_row`. `least` : lots of an order. `coins_e8` : of BTC before. `copies` : of what the
        stream tells; 0: it is silent.
        """
        if before is None:
            rich = {"USDT": 10**9 * E8, "BTC": 10**5 * E8}
            money = ({"USDT": 10**8 * E8, "BTC": coins_e8}, rich, dict(rich))
            owners = [Owner("abc"[index], one, (Tier(0, 1_000, 1_000),)) for index, one in enumerate(money)]
            self.desk = Desk(folder, scenario=WIDE + scenario, owners=Owners(owners))
            self.make_book()
            self.wires = private_wires(1, 1)
            self.events, self.placed = [], []
            self.network = SpotWires(self.desk, seed, ambiguous, unheard)
            self.network.copies = copies
        else:
            self.desk, self.wires, self.network = before.desk, before.wires, before.network
            self.events, self.placed = before.events, before.placed
            self.network.renew()
        self.row = spot_row(coarse)
        self.row["min_qty_lots"] = least
        self.answers = []
        self._told = {} if before is None else before._told
        self._indexed = len(self.events)
        self.caller, self.connections = Caller(self.network), 8
        session = np.zeros(1, SESSION)
        session["n_shards"] = session["n_instruments"] = 1
        session["account"] = ACCOUNT
        key = self.desk.keys[0]
        keys = Keys(key.api_key, key.secret.decode())
        private = BinancePrivate(keys, "https://127.0.0.1:1", [BTC], self.row, "USDT")
        private.limits, private.total = (10**6,) * 4, (10**6, 1.0)
        self.agent = GatewayAgent(
            self.wires, self.row, session, GatewayLog(folder / "gateway.bin", 65_536), private, self.caller,
            ScriptedListener(self.network), 1, clock=lambda: self.desk.now_ns, wall=lambda: self.desk.now_ns,
            logger=logging.Logger("quiet", logging.CRITICAL), **self.past(before),
        )  # fmt: skip
        self._request, self._report = np.zeros(1, ORDER_INTENT), np.zeros(1, EXEC_REPORT)

    def make_book(self, qty: str = "900") -> None:
        """A book around 60,000 that is deep enough for everything."""
        self.desk.filters(**FILTERS)
        for side, price in (("BUY", "59999"), ("SELL", "60001")):
            self.desk.limit(1, side, price, qty)

    def held_e8(self, asset: str = "BTC") -> int:
        """What there is of an asset, free and locked."""
        free_e8, locked_e8 = self.desk.venue.balance(self.desk.venue.accounts[0], asset)
        return free_e8 + locked_e8

    def placed_by(self, identity: tuple[int, int]) -> np.void:
        """The order as execution has sent it."""
        return next(one for one in self.placed if (int(one["id_hi"]), int(one["id_lo"])) == identity)

    def cash_e8(self) -> int:
        """What the fills that were told have made of the cash, by the port's rule for coins."""
        fills = [one for one in self.events if one["kind"] == 3]
        value = self.row["value_e8"][0]
        return -sum(
            int(one["side"]) * int(one["price_ticks"]) * int(one["qty_lots"]) * int(value) + int(one["fee_e8"])
            for one in fills
        )


class SpotExchange(ExchangeServer):
    """A running exchange over TLS that nobody else trades on, with a second account that makes its book."""

    def __init__(self, folder: Path, scenario: str = WIDE, accounts: str = ACCOUNTS) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "balances.toml").write_text(accounts)
        super().__init__(folder, "--tls", "--balances", str(folder / "balances.toml"), scenario=scenario)

    def be(self, name: str) -> None:
        """Ask as that account from now on."""
        account = next(one for one in self.ready["accounts"] if one["name"] == name)
        self.ready |= {"api_key": account["api_key"], "api_secret": account["api_secret"]}

    def make_book(self, qty: str = "100") -> None:
        """A book around 60,000 that is deep enough for everything."""
        self.be("maker")
        for side, price in (("BUY", "59999"), ("SELL", "60001")):
            order = {
                "symbol": BTC,
                "side": side,
                "type": "LIMIT",
                "timeInForce": "GTC",
                "quantity": qty,
                "price": price,
            }
            self.done("POST", "order", **order)


class SpotSocketRig(GatewayRig):
    """One life of the gateway over real sockets."""

    def __init__(
        self, folder: Path, server: ExchangeServer, secret: str = "", connections: int = 6, account: str = "main"
    ) -> None:
        key = next(one for one in server.ready["accounts"] if one["name"] == account)
        self.wires = private_wires(1, 1)
        self.events, self.answers, self.placed = [], [], []
        session = np.zeros(1, SESSION)
        session["n_shards"] = session["n_instruments"] = 1
        session["account"] = ACCOUNT
        context = verified_context(Path(server.ready["ca"]))
        self.connections = connections
        self.caller = HttpCaller(server.ready["rest"], context, connections)
        keys = Keys(key["api_key"], secret or key["api_secret"])
        private = BinancePrivate(keys, server.ready["rest"], [BTC], spot_row(), "USDT")
        self.agent = GatewayAgent(
            self.wires, spot_row(), session, GatewayLog(folder / "gateway.bin", 32_768), private, self.caller,
            PrivateListener(server.ready["ws"] + "/ws-api/v3", context), 1, **self.past(None),
        )  # fmt: skip
        self._request, self._report = np.zeros(1, ORDER_INTENT), np.zeros(1, EXEC_REPORT)
