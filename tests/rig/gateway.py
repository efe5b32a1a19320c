"""The gateway in this process, in front of `bot4-exchange` as Bybit over TLS; the test is execution."""

import time
from itertools import count
from pathlib import Path

import numpy as np
from rig.exchange_bybit import BTC, BybitServer

from bot4.adapters.bybit.private import BybitPrivate
from bot4.adapters.net.caller import HttpCaller
from bot4.adapters.net.dial import verified_context
from bot4.adapters.net.listener import PrivateListener
from bot4.engine.gateway import GatewayAgent
from bot4.engine.gateway_log import GatewayLog, Heard
from bot4.engine.journal import JournalFile, journal_append
from bot4.model import enums as e
from bot4.model.records import (
    EXEC_REPORT,
    INSTRUMENT,
    JOURNAL,
    JOURNAL_EVENT,
    JOURNAL_INTENT,
    ORDER_INTENT,
    SESSION,
    words,
)
from bot4.ports.gateway import Caller, Listener, Private
from bot4.ports.gateway_values import Keys
from bot4.shm.spsc_ring import consume, peek_order, push_order
from bot4.shm.wires import private_wires

PATIENCE_S = 40.0
ACCOUNT = 7
NUMBERS = count(1)  # of orders, whichever exchange they go to
TICKS = 10  # of one unit of the quote currency
WIDE = """
[limits]
request_weight_1m = 1_000_000
orders_10s = 1_000_000
orders_1d = 1_000_000
raw_requests_5m = 1_000_000
"""
ACCOUNTS = """
[[account]]
name = "main"
balances = { USDT = "100000" }
maker_fee_bps = "2"
taker_fee_bps = "5.5"
[[account]]
name = "maker"
balances = { USDT = "100000000" }
"""


def instrument_row() -> np.ndarray:
    """INSTRUMENT[1]: the perpetual as the exchange has it."""
    row = np.zeros(1, INSTRUMENT)
    values = {
        "tick_e8": 10_000_000, "lot_e8": 100_000, "value_e8": 10_000, "price_decimals": 1, "qty_decimals": 3,
        "min_notional_e8": 500_000_000, "min_qty_lots": 1, "max_qty_lots": 100_000,
        "maker_fee_ppm": 200, "taker_fee_ppm": 550,
    }  # fmt: skip
    for name, value in values.items():
        row[name] = value
    return row


class Exchange(BybitServer):
    """An exchange that nobody else trades on, with a second account that makes its book."""

    def __init__(self, folder: Path, scenario: str = WIDE, accounts: str = ACCOUNTS) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "balances.toml").write_text(accounts)
        super().__init__(folder, "--tls", "--balances", str(folder / "balances.toml"), scenario=scenario)

    def be(self, name: str) -> None:
        """Ask as that account from now on."""
        account = next(one for one in self.ready["accounts"] if one["name"] == name)
        self.ready |= {"api_key": account["api_key"], "api_secret": account["api_secret"]}

    def make_book(self, qty: str = "90") -> None:
        """A book around 60,000 that is deep enough for everything."""
        self.be("maker")
        for side, price in (("Buy", "59999"), ("Sell", "60001")):
            self.done("POST", "order/create", category="linear", symbol=BTC, side=side, orderType="Limit", qty=qty,
                      price=price)  # fmt: skip


class GatewayRig:
    """One life of the gateway; another one on the same folder and wires is its restart."""

    def __init__(self, folder: Path, server: Exchange, account="main", equity_e8=9 * 10**12, **more) -> None:
        before = more.pop("before", None)
        key = next(one for one in server.ready["accounts"] if one["name"] == account)
        secret = more.pop("secret", key["api_secret"])
        self.wires = before.wires if before else private_wires(1, 1)
        self.events: list[np.void] = before.events if before else []  # numbered, as execution has read them
        self.answers: list[np.void] = []
        self.placed: list[np.void] = list(before.placed) if before else []
        more = self.past(before) | more
        session = np.zeros(1, SESSION)
        session["n_shards"] = session["n_instruments"] = 1
        session["account"] = ACCOUNT
        instruments = instrument_row()
        self.connections = more.pop("connections", 6)
        private, self.caller, listener = self.side(server, Keys(key["api_key"], secret), instruments)
        private.total = more.pop("total", private.total)
        self.agent = GatewayAgent(
            self.wires, instruments, session, GatewayLog(folder / "gateway.bin", 32_768), private, self.caller,
            listener, equity_e8, **more,
        )  # fmt: skip
        self._request, self._report = np.zeros(1, ORDER_INTENT), np.zeros(1, EXEC_REPORT)

    def side(self, server: Exchange, keys: Keys, instruments: np.ndarray) -> tuple[Private, Caller, Listener]:
        """The venue's words and connections."""
        context = verified_context(Path(server.ready["ca"]))
        rest = server.ready["rest"]
        return (
            BybitPrivate(keys, rest, [BTC], instruments),
            HttpCaller(rest, context, self.connections),
            PrivateListener(server.ready["ws_private"], context),
        )

    def past(self, before: "GatewayRig | None") -> dict[str, object]:
        """What execution's journal would hold of the life before."""
        heard = Heard(None)
        heard.last = int(self.events[-1]["event_seq"]) if self.events else 0
        return {"heard": heard}

    def journal(self, path: Path) -> Path:
        """What execution would have journaled of it: every order, and every event that it has read."""
        file, record = JournalFile(path, 1_024), np.zeros(1, JOURNAL)
        for kind, bodies in ((JOURNAL_INTENT, self.placed), (JOURNAL_EVENT, self.events)):
            for body in bodies:
                record["type"], record["body"] = kind, words(np.array([body]))
                journal_append(file.header, file.records, record, words(record))
        file.close()
        return path

    def __enter__(self) -> "GatewayRig":
        return self

    def __exit__(self, *_: object) -> None:
        self.agent.close()

    def turn(self) -> None:
        """Let it work and read what it says; sleep a little where there is nothing."""
        done = self.agent.do_work()
        self.read()
        if not done:
            time.sleep(0.0005)

    def read(self) -> None:
        """Take everything from the events ring."""
        while peek_order(self.wires.events, words(self._report), 0):
            consume(self.wires.events)
            report = self._report.copy()[0]
            (self.events if report["event_seq"] else self.answers).append(report)

    def until(self, wanted, patience_s: float = PATIENCE_S) -> None:
        """Turn until it is so."""
        end = time.monotonic() + patience_s
        while not wanted():
            assert time.monotonic() < end, (self.agent.stats, [report["kind"] for report in self.events[-20:]])
            self.turn()

    def ready(self) -> "GatewayRig":
        """Turn until it takes orders, with every connection."""
        try:
            self.until(lambda: self.agent.is_ready and self.caller.free() == self.connections)
        except BaseException:
            self.agent.close()
            raise
        return self

    def send(self, action: int, identity: tuple[int, int] = (0, 0), **fields: int) -> None:
        """A request of execution."""
        self._request[:] = 0
        for name, value in ({"action": action, "id_hi": identity[0], "id_lo": identity[1]} | fields).items():
            self._request[name] = value
        if action == e.ACTION_PLACE:
            self.placed.append(self._request.copy()[0])
        push_order(self.wires.requests, words(self._request), 0)

    def place(self, side: int, qty: int, price=0, stop=0, flags=0, tif=0, wait=True) -> tuple[int, int]:
        """A new order under a new id: limit where there is a price, stop where there is a trigger. Returns the id.

        `wait` : for a connection that can take it.
        """
        if wait:
            self.until(self.caller.free)
        identity = (ACCOUNT << 48, next(NUMBERS) << 32)
        kind = e.TYPE_LIMIT if price else e.TYPE_STOP_MARKET if stop else e.TYPE_MARKET
        tif = tif or (e.TIF_IOC if kind == e.TYPE_MARKET else e.TIF_GTC)
        self.send(
            e.ACTION_PLACE, identity, side=side, type=kind, tif=tif, qty_lots=qty, price_ticks=price, stop_ticks=stop,
            flags=flags,
        )  # fmt: skip
        if wait:
            self.turn()
        return identity

    def of(self, identity: tuple[int, int], answers: bool = False) -> list[np.void]:
        """What has been said of an order."""
        said = self.answers if answers else self.events
        return [report for report in said if (int(report["id_hi"]), int(report["id_lo"])) == identity]

    def kinds(self, identity: tuple[int, int]) -> list[str]:
        """The events of an order by name."""
        return [e.REPORT_NAMES[int(report["kind"])] for report in self.of(identity)]

    def code(self, identity: tuple[int, int]) -> int:
        """Of an order's last event."""
        return int(self.of(identity)[-1]["code"])

    def lots(self) -> int:
        """Position by the fills that were told."""
        fills = [report for report in self.events if report["kind"] == e.REPORT_FILL]
        return sum(int(report["side"]) * int(report["qty_lots"]) for report in fills)

    def link(self, identity: tuple[int, int]) -> str:
        """The order's name at the venue."""
        return f"{identity[0]:016x}{identity[1]:016x}"
