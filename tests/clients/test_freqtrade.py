"""freqtrade, a bot that nobody here wrote, trades on the loopback exchange as it would on the real one."""

import base64
import http.client
import json
import os
import socket
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import ccxt.pro
import pytest
from clients.environment import HERE, environment
from oracle.exchange_ledger import recompute
from rig.exchange_ccxt import OPTIONS, point
from rig.exchange_server import ExchangeServer

pytestmark = [pytest.mark.compiled, pytest.mark.stress]
START_S = 240.0
PASSWORD = "loopback"


class Bot:
    """freqtrade as a process, and what it says by its own API."""

    def __init__(self, folder: Path, ready: dict) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        urls = json.loads(json.dumps(ccxt.pro.binance().urls["api"]))
        point(urls, ready["rest"], ready["ws"])
        config = {
            "dry_run": False, "trading_mode": "spot", "stake_currency": "USDT", "stake_amount": 500,
            "max_open_trades": 2, "initial_state": "running",
            "entry_pricing": {"price_side": "other", "use_order_book": True, "order_book_top": 1},
            "exit_pricing": {"price_side": "other", "use_order_book": True, "order_book_top": 1},
            "unfilledtimeout": {"entry": 1, "exit": 1, "unit": "minutes"},
            "exchange": {
                "name": "binance", "key": ready["api_key"], "secret": ready["api_secret"],
                "pair_whitelist": ["BTC/USDT", "ETH/USDT"], "ccxt_config": {"urls": {"api": urls}, "options": OPTIONS},
            },
            "pairlists": [{"method": "StaticPairList"}],
            "api_server": {
                "enabled": True, "listen_ip_address": "127.0.0.1", "listen_port": self.port, "username": "test",
                "password": PASSWORD, "jwt_secret_key": "x" * 40, "verbosity": "error",
            },
            "internals": {"process_throttle_secs": 1},
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config))
        self.log = folder / "freqtrade.log"
        command = [
            str(environment("freqtrade") / "freqtrade"), "trade", "--config", str(folder / "config.json"), "--userdir",
            str(folder / "user"), "--strategy", "Restless", "--strategy-path", str(folder / "strategies"), "--db-url",
            f"sqlite:///{folder / 'trades.sqlite'}",
        ]  # fmt: skip
        (folder / "strategies").mkdir()
        (folder / "user").mkdir()
        (folder / "strategies" / "restless.py").write_text((HERE / "freqtrade_strategy.py").read_text())
        self._output = self.log.open("wb")
        self.process = subprocess.Popen(command, stdout=self._output, stderr=self._output, cwd=folder, env=os.environ)

    def ask(self, method: str, path: str):
        """One request of its API."""
        made = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        key = base64.b64encode(f"test:{PASSWORD}".encode()).decode()
        try:
            made.request(method, f"/api/v1/{path}", headers={"Authorization": f"Basic {key}"})
            answer = made.getresponse()
            body = answer.read()
            if answer.status == 502:
                raise ConnectionError(body)  # it serves and does not trade yet
            assert answer.status == 200, body
            return json.loads(body)
        finally:
            made.close()

    def until(self, wanted, seconds: float):
        """Wait for something."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process.poll() is None, self.said()
            try:
                if found := wanted():
                    return found
            except OSError:
                pass  # it does not serve yet
            time.sleep(0.5)
        raise AssertionError(self.said())

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text()[-4_000:] if self.log.exists() else ""

    def end(self) -> None:
        """It goes."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._output.close()


def trades_for(folder: Path, seconds: float) -> int:
    """Let it trade for so long, then compare what it believes with the ledger. Returns how many trades it closed."""
    with ExchangeServer(folder, "--speed", "5x", market="generated:21") as server:
        bot = Bot(folder, server.ready)
        try:
            assert bot.until(lambda: bot.ask("GET", "ping"), START_S) == {"status": "pong"}
            begin = time.monotonic()
            bot.until(lambda: bot.ask("GET", "count")["current"], 240.0)
            time.sleep(max(0.0, seconds - (time.monotonic() - begin)))
            bot.ask("POST", "stopentry")
            bot.until(lambda: bot.ask("GET", "count")["current"] == 0, 240.0)
            closed = [trade for trade in bot.ask("GET", "trades?limit=500")["trades"] if not trade["is_open"]]
            money = recompute(server.ledger)
            held = {asset: amount for (account, asset), amount in money.balances.items() if account == "main"}

            def believed() -> dict[str, int]:
                return {row["currency"]: round(row["balance"] * 1e8) for row in bot.ask("GET", "balance")["currencies"]}

            bot.until(lambda: held.items() <= believed().items(), 60.0)  # it looks at its wallet after each trade
        finally:
            bot.end()
        assert "Traceback" not in bot.log.read_text(), bot.said()
        traded: dict[str, int] = defaultdict(int)
        for line in server.ledger.read_bytes().splitlines():
            fill = json.loads(line)
            if fill["kind"] == "fill" and fill["account"] == "main":
                traded[str(fill["venue_order_id"])] += fill["qty_lots"] * fill["scale"]["lot_e8"]
        known = {order["order_id"]: round(order["filled"] * 1e8) for trade in closed for order in trade["orders"]
                 if order["filled"]}  # fmt: skip
        assert known == dict(traded)
        server.conserved()
        server.stop()
    return len(closed)


def test_freqtrade(tmp_path):
    assert trades_for(tmp_path, 120.0) >= 2


def test_freqtrade_for_ten_minutes(tmp_path):
    closed = trades_for(tmp_path, 600.0)
    print(f"freqtrade closed {closed} trades in ten minutes")
    assert closed >= 10
