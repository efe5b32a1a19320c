"""Live trading against `bot4-exchange` as Binance Spot over TLS: settings, a session, and what the ledger says."""

import json
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
from rig.exchange_server import ExchangeServer
from rig.live_trading import key_file
from rig.session import REPOSITORY
from sim.test_kill_nine import settings

from bot4.engine.gateway_log import GATEWAY_EVENT, GATEWAY_HELD
from bot4.engine.journal import read_journal
from bot4.model.enums import REPORT_FILL
from bot4.model.records import EXEC_REPORT, JOURNAL_EVENT, JOURNAL_INTENT, ORDER_INTENT

VENUE = "binance_spot"
SYMBOL = "BTCUSDT"
LOT_E8 = 1_000
COINS = {"BTC": (1_000, 10), "ETH": (10_000, 100)}  # 1e-8 of a lot, value of a tick of it; by index
DUST_E8 = 777  # of BTC before the session: less than a lot
INSTRUMENT = """[[instrument]]
symbol = "BTCUSDT"
venue = "binance_spot"
tick_size = "0.01"
lot_size = "0.00001"
min_notional = "5"
min_qty = "0.00001"
max_qty = "100"
maker_fee_bps = "10"
taker_fee_bps = "10"
"""
ETHER = """
[[instrument]]
symbol = "ETHUSDT"
venue = "binance_spot"
tick_size = "0.01"
lot_size = "0.0001"
min_notional = "5"
min_qty = "0.0001"
max_qty = "2000"
maker_fee_bps = "10"
taker_fee_bps = "10"
"""
ACCOUNTS = """
[[account]]
name = "main"
balances = { USDT = "1000000", BTC = "0.00000777" }
maker_fee_bps = "10"
taker_fee_bps = "10"
"""


class SpotServer(ExchangeServer):
    """A running exchange with a market of its own."""

    def __init__(self, folder: Path, scenario: str = "", market: str = "generated:7", accounts: str = ACCOUNTS) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "balances.toml").write_text(accounts)
        balances = ("--balances", str(folder / "balances.toml"))
        super().__init__(folder, "--tls", *balances, scenario=scenario, market=market)

    def coins(self, asset: str = "BTC") -> int:
        """What there is of an asset, free and locked, in 1e-8."""
        rows = self.done("GET", "account")["balances"]
        row = next(one for one in rows if one["asset"] == asset)
        return sum(int(row[name].replace(".", "")) for name in ("free", "locked"))

    def resting(self) -> list[dict]:
        """Open orders."""
        return self.done("GET", "openOrders")


def spot_settings(folder: Path, ready: dict, paper: Path | None = None, more: str = "") -> Path:
    """Settings of a session on paper (the busy strategy's, if none are named) as live ones of Binance Spot."""
    paper = paper or settings(folder / "config", REPOSITORY)
    paper.with_name("instruments.toml").write_text(INSTRUMENT + more)
    text = paper.read_text().replace('mode = "paper"', 'mode = "live"')
    before, _, rest = text.partition("[venue.sim]")
    _, _, after = rest.partition("[portfolio]")
    gateway = (
        f'[venue.{VENUE}]\nrest_url = "{ready["rest"]}"\nws_url = "{ready["ws"]}"\n'
        f'ws_private_url = "{ready["ws"]}/ws-api/v3"\nca_file = "{ready["ca"]}"\n'
        f'key_file = "{key_file(folder, ready)}"\n\n'
    )
    live = paper.with_name("live.toml")
    live.write_text(f"{before}{gateway}[portfolio]{after}")
    paper.unlink()
    return live


class SpotBooks:
    """What the exchange's ledger says of one account, and what execution's journal and the gateway's log say."""

    def __init__(self, ledger: Path, sessions: Path, account: str = "main") -> None:
        lines = [json.loads(line) for line in ledger.read_text().splitlines()]
        own = [line for line in lines if line.get("account") == account]
        self.orders = [line for line in own if line["kind"] == "order"]
        self.fills = [line for line in own if line["kind"] == "fill"]
        self.accepted = Counter(line["client_order_id"] for line in self.orders if line["status"] == "accepted")
        self.sent: Counter[str] = Counter()
        for line in own:
            if line["kind"] == "request" and line["target"].startswith(("/api/v3/order?", "/api/v3/order/cancelRep")):
                self.sent.update(parse_qs(urlsplit(line["target"]).query).get("newClientOrderId", ()))
        balances = [line for line in own if line["kind"] == "balance"]
        self.held = {line["asset"]: line["free_e8"] + line["locked_e8"] for line in balances}
        first = {line["asset"]: line["free_e8"] + line["locked_e8"] for line in reversed(balances)}
        self.gained = {asset: self.held[asset] - first[asset] for asset in self.held}
        (path,) = sessions.glob("sessions/*/journal.bin")
        self.journal = read_journal(path)
        body = np.ascontiguousarray(self.journal["body"])
        self.intents = body[self.journal["type"] == JOURNAL_INTENT].view(ORDER_INTENT).reshape(-1)
        events = body[self.journal["type"] == JOURNAL_EVENT].view(EXEC_REPORT).reshape(-1)
        told = events[events["kind"] == REPORT_FILL]
        _, first_of = np.unique(told[["instrument", "trade_id"]], return_index=True)
        self.told = told[np.sort(first_of)]
        (path,) = sessions.glob("sessions/*/gateway.bin")
        self.log = read_journal(path)

    def told_lots(self, index: int = 0) -> int:
        """Position by the fills that execution was told."""
        told = self.told[self.told["instrument"] == index]
        return int((told["side"].astype(np.int64) * told["qty_lots"]).sum())

    def rest_e8(self, index: int = 0) -> int:
        """What the log says is held beside whole lots."""
        kept = self.log[np.isin(self.log["type"], (GATEWAY_HELD, GATEWAY_EVENT))]
        found, lot_e8 = 0, list(COINS.values())[index][0]
        for record in kept:
            report = np.ascontiguousarray(record["body"]).view(EXEC_REPORT)[0]
            if record["type"] == GATEWAY_HELD and record["instrument"] == index:
                found = int(record["code"])
            elif record["type"] == GATEWAY_EVENT and report["kind"] == REPORT_FILL and report["instrument"] == index:
                found = int(report["cash_e8"]) % lot_e8
        return found

    @property
    def told_gain_e8(self) -> int:
        """Cash that execution's fills make, by the port's rule for coins."""
        values = [value_e8 for _, value_e8 in COINS.values()]
        return -sum(
            int(one["side"]) * int(one["price_ticks"]) * int(one["qty_lots"]) * values[one["instrument"]]
            + int(one["fee_e8"])
            for one in self.told
        )
