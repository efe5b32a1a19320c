"""Live trading against `bot4-exchange` as Bybit over TLS: settings, key file, a session, and what the ledger says."""

import base64
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rig.exchange_bybit import BybitServer
from rig.session import REPOSITORY, Running
from sim.test_kill_nine import settings

from bot4.engine.journal import read_journal
from bot4.model.enums import REPORT_FILL
from bot4.model.records import EXEC_REPORT, JOURNAL_EVENT, JOURNAL_INTENT, ORDER_INTENT

VENUE = "bybit_linear"
SYMBOL = "BTCUSDT"
INSTRUMENT = """[[instrument]]
symbol = "BTCUSDT"
venue = "bybit_linear"
tick_size = "0.1"
lot_size = "0.001"
min_notional = "5"
min_qty = "0.001"
max_qty = "100"
maker_fee_bps = "2"
taker_fee_bps = "5.5"
"""


def key_file(folder: Path, ready: dict) -> Path:
    """The first account's key as a file that only its owner may read."""
    path = folder / "key.toml"
    path.touch(mode=0o600)
    path.write_text(f'api_key = "{ready["api_key"]}"\napi_secret = "{ready["api_secret"]}"\n')
    path.chmod(0o400)
    return path


def trading_settings(folder: Path, ready: dict, paper: Path | None = None, ccxt: bool = False) -> Path:
    """Settings of a session on paper (the busy strategy's, if none are named) as live ones of Bybit's perpetual."""
    paper = paper or settings(folder / "config", REPOSITORY)
    paper.with_name("instruments.toml").write_text(INSTRUMENT)
    text = paper.read_text().replace('mode = "paper"', 'mode = "live"')
    before, _, rest = text.partition("[venue.sim]")
    _, _, after = rest.partition("[portfolio]")
    gateway = (
        f'[venue.{VENUE}]\nrest_url = "{ready["rest"]}"\nws_url = "{ready["ws"]}"\n'
        f'ws_private_url = "{ready["ws_private"]}"\nca_file = "{ready["ca"]}"\n'
        f'key_file = "{key_file(folder, ready)}"\n\n'
    )
    if ccxt:
        gateway = gateway.replace("key_file", 'ccxt = "bybit"\nkey_file')
    live = paper.with_name("live.toml")
    live.write_text(f"{before}{gateway}[portfolio]{after}")
    paper.unlink()
    return live


@contextmanager
def trading(folder: Path, server: BybitServer, ccxt: bool = False) -> Iterator[Running]:
    """A live session on that exchange, which nobody but the test ends; needs tests/ on the path of processes."""
    running = Running(
        trading_settings(folder, server.ready, ccxt=ccxt), "--feed", "live", "--report", folder / "report"
    )
    try:
        yield running
    finally:
        running.close()


class Books:
    """What the exchange's ledger says of one account, and what execution's journal says."""

    def __init__(self, ledger: Path, sessions: Path, account: str = "main") -> None:
        lines = [json.loads(line) for line in ledger.read_text().splitlines()]
        own = [line for line in lines if line.get("account") == account]
        self.orders = [line for line in own if line["kind"] == "order"]
        self.fills = [line for line in own if line["kind"] == "fill"]
        self.accepted = Counter(line["client_order_id"] for line in self.orders if line["status"] == "accepted")
        self.sent = Counter(
            json.loads(base64.b64decode(line["body"]))["orderLinkId"]
            for line in own
            if line["kind"] == "request" and line["target"] == "/v5/order/create"
        )
        sides = {"buy": 1, "sell": -1}
        self.lots = sum(sides[line["side"]] * line["qty_lots"] for line in self.fills)
        balances = [line for line in own if line["kind"] == "balance" and line["asset"] == "USDT"]
        self.cash_e8 = balances[-1]["free_e8"] + balances[-1]["locked_e8"]
        self.gained_e8 = self.cash_e8 - balances[0]["free_e8"]
        (path,) = sessions.glob("sessions/*/journal.bin")
        self.journal = read_journal(path)
        body = np.ascontiguousarray(self.journal["body"])
        self.intents = body[self.journal["type"] == JOURNAL_INTENT].view(ORDER_INTENT).reshape(-1)
        self.events = body[self.journal["type"] == JOURNAL_EVENT].view(EXEC_REPORT).reshape(-1)
        told = self.events[self.events["kind"] == REPORT_FILL]
        _, first = np.unique(told[["instrument", "trade_id"]], return_index=True)
        self.told = told[np.sort(first)]

    @property
    def told_lots(self) -> int:
        """Position by the fills that execution was told."""
        return int((self.told["side"].astype(np.int64) * self.told["qty_lots"]).sum())

    def told_gain_e8(self, value_e8: int) -> int:
        """Cash that execution's fills make, by the rule of average cost."""
        lots = cost = gained = 0
        for fill in self.told:
            side, price, qty = int(fill["side"]), int(fill["price_ticks"]), int(fill["qty_lots"])
            gained -= int(fill["fee_e8"])
            closing = min(qty, abs(lots)) if lots * side < 0 else 0
            if closing:
                part = abs(cost) * closing // abs(lots) * (1 if cost > 0 else -1)
                gained += (-side * price * closing - part) * value_e8
                cost, lots = cost - part, lots + side * closing
            cost, lots = cost + side * price * (qty - closing), lots + side * (qty - closing)
        return gained + int(self.events["cash_e8"][self.events["kind"] == 13].sum())
