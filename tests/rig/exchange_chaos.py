"""A day at the exchange on which everything goes wrong that can: faults of every kind, traders that do anything.

`chaos(folder, seed)` runs it on the clock of `exchange_loop` and returns what was heard and written. Everything is
drawn from the seed: the faults, the market, who asks what and when.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import random
import re
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson
from oracle.exchange_ledger import recompute
from rig.exchange_desk import BTC, START_NS, fixed_key
from rig.exchange_loop import Caller, Hearer, JumpLoop

from bot4.adapters.exchange.assembly import assemble
from bot4.adapters.exchange.commission import Tier
from bot4.adapters.exchange.ledger import Ledger
from bot4.adapters.exchange.number import E8
from bot4.adapters.exchange.owner import Owner
from bot4.adapters.exchange.scenario import Scenario
from bot4.adapters.exchange.server import Server

OPEN_MS = 3_500  # faults and orders happen within that
ACCOUNTS = ("rest", "other", "socket")
LOST = ("timeout_before", "error_before", "reset_before", "rate_limit")  # never land
LANDED = ("timeout_after", "error_after", "reset_after", "garbage", "empty", "late_before", "late_after")
EVENTS = ("executionReport", "depthUpdate", "*")
_ID = re.compile(rb'newClientOrderId(?:=|": ?")([a-z0-9-]+)')


class Day(NamedTuple):
    """What came of it."""

    heard: str  # hash of all answers and events, as they came
    written: str  # hash of the ledger
    struck: Counter  # faults of the ledger by kind
    seen: Counter  # what clients noticed: gap, repeated, reordered, lost, unreadable, reconnected, ...


def faults(draw: random.Random) -> list[dict[str, Any]]:
    """Faults of all kinds."""

    def span(longest_ms: int) -> dict[str, int]:
        return {"after_ms": draw.randrange(100, OPEN_MS - 1_000), "duration_ms": draw.randrange(200, longest_ms)}

    found: list[dict[str, Any]] = []

    def fault(kind: str, **fields: Any) -> None:
        found.append({"kind": kind} | fields)

    for kind in (*LOST, *LANDED):
        where = draw.choice(("POST /api/v3/order", "* /api/v3/order*", "POST *", "order.place", "*"))
        more = {"delay_ms": draw.randrange(50, 1_400)} if kind.startswith("late") else {}
        more |= {"status": draw.choice((500, 502, 503, 504))} if kind.startswith("error") else {}
        fault(kind, endpoint=where, times=draw.randrange(1, 4), skip=draw.randrange(8),
              probability=draw.choice((0.3, 1.0)), **more)  # fmt: skip
    outage = draw.choice(("GET /api/v3/openOrders", "DELETE /api/v3/order", "GET /api/v3/order"))
    fault("error_before", endpoint=outage, status=503, **span(1_500))
    fault("rate_limit", **span(400))  # a storm
    for kind in ("event_drop", "event_duplicate", "event_late", "event_reorder"):
        fault(kind, stream=draw.choice(EVENTS), times=draw.randrange(1, 5), skip=draw.randrange(6),
              delay_ms=draw.randrange(20, 900))  # fmt: skip
    fault("event_drop", stream="depthUpdate", probability=0.1)  # gaps of the book's ids
    fault("silence", stream=draw.choice(EVENTS), **span(1_000))
    fault("clock_skew", skew_ms=draw.choice((-9_000, -700, 900, 4_000)), **span(700))
    fault("halt", symbol=draw.choice((BTC, "")), **span(700))
    fault("filters", symbol=BTC, filters={"min_notional_e8": 3_000 * E8}, **span(900))
    fault("replica_lag", delay_ms=draw.randrange(100, 900), **span(2_500))
    fault("disconnect", **span(500))
    fault("maintenance", cancels_orders=draw.random() < 0.5, **span(400))
    draw.shuffle(found)
    return found


def _scenario(draw: random.Random) -> str:
    limits = f"[limits]\nrequest_weight_1m = 1_000_000\norders_10s = {draw.choice((60, 1_000))}\n"
    text = f"seed = {draw.randrange(1 << 30)}\n{limits}"
    for way in ("order", "cancel", "answer", "data"):
        if draw.random() < 0.3:
            median_us = draw.randrange(100, 30_000)
            text += f'[[latency]]\nway = "{way}"\nmodel = "log_normal"\nus = {median_us}\nsigma = 0.6\n'
    for fault in faults(draw):
        text += "[[fault]]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in fault.items())
    return text


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {one}" for name, one in value.items()) + " }"
    return json.dumps(value)


class Floor:
    """The server, its accounts, and those who trade on it."""

    def __init__(self, folder: Path, seed: int, scenario: str | None = None, market: bool = True) -> None:
        self.draw = random.Random(seed)
        self.loop = asyncio.get_running_loop()
        self.ledger = folder / "ledger.jsonl"
        text = folder / "scenario.toml"
        text.write_text(_scenario(self.draw) if scenario is None else scenario)
        money = {"USDT": 1_000_000 * E8, "BTC": 100 * E8, "ETH": 1_000 * E8}
        tiers = [(Tier(0, self.draw.choice((-100, 0, 1_000)), 1_000),) for _ in ACCOUNTS]
        owners = [Owner(name, dict(money), tier) for name, tier in zip(ACCOUNTS, tiers, strict=True)]
        self.keys = [fixed_key(index) for index in range(len(owners))]
        made = assemble(owners, Scenario(text, self.now_ms), Ledger(self.ledger), self.clock_ns,
                        seed if market else None, 1.0, self.keys)  # fmt: skip
        self.venue = made.gateway.venue
        self.server = Server(made.gateway, made.market, made.protocol)
        self.heard = hashlib.sha256()
        self.seen: Counter = Counter()
        self.numbers = [0] * len(owners)
        self.callers = [Caller(self.server, self.heard.update) for _ in owners]
        self.public = Hearer(self.server, "/stream?streams=btcusdt@depth@100ms/btcusdt@trade", self.heard.update, list)
        self.private = Hearer(self.server, "/ws-api/v3", self.heard.update, self._subscribe)

    def clock_ns(self) -> int:
        """The time of everything."""
        return START_NS + int(self.loop.time() * 1e9)

    @property
    def now_ms(self) -> int:
        """The same in ms."""
        return self.clock_ns() // 1_000_000

    def conserved(self) -> None:
        """Nothing was made and nothing lost."""
        for asset, money in self.venue.money().items():
            assert money["paid_in_e8"] == money["held_e8"] + money["fees_e8"], (asset, money)

    # --- requests ---

    async def signed(self, account: int, method: str, path: str, **params: Any) -> Any:
        """A signed request: its JSON, None if nothing came that can be read."""
        key = self.keys[account]
        query = urlencode({"timestamp": self.now_ms} | params)
        signature = hmac.new(key.secret, query.encode(), "sha256").hexdigest()
        target = f"/api/v3/{path}?{query}&signature={signature}"
        answer = await self.callers[account].ask(method, target, key.api_key, patience_s=self.draw.choice((0.3, 1.2)))
        self.conserved()
        if answer is None:
            self.seen["lost"] += 1
            return None
        status, body = answer
        self.seen[status] += 1
        try:
            found = json.loads(body)
        except ValueError:
            self.seen["unreadable"] += 1
            return None
        if status >= 400:
            self.seen[found["code"]] += 1
        return found

    def socket_request(self, account: int, method: str, **params: Any) -> dict:
        """A signed request of the websocket API."""
        key = self.keys[account]
        params |= {"apiKey": key.api_key, "timestamp": self.now_ms}
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
        params["signature"] = hmac.new(key.secret, payload.encode(), "sha256").hexdigest()
        return {"id": 1, "method": method, "params": params}

    def _subscribe(self) -> list[dict]:
        return [self.socket_request(account, "userDataStream.subscribe.signature") for account in range(len(self.keys))]

    def client_id(self, account: int) -> str:
        """A fresh one."""
        self.numbers[account] += 1
        return f"{ACCOUNTS[account]}-{self.numbers[account]}"

    def order(self, account: int) -> dict[str, Any]:
        """An order of any type, near the market."""
        draw = self.draw
        (bid_e8, _), (ask_e8, _) = self.venue.best(self.venue.symbol(BTC))
        middle = (bid_e8 + ask_e8) / 2e8 or 60_000.0
        side = draw.choice(("BUY", "SELL"))
        sign = 1 if side == "BUY" else -1
        fields: dict[str, Any] = {"symbol": BTC, "side": side, "newClientOrderId": self.client_id(account)}
        kind = draw.choice(("LIMIT", "LIMIT", "LIMIT", "MARKET", "MARKET", "LIMIT_MAKER", "STOP_LOSS",
                            "STOP_LOSS_LIMIT", "TAKE_PROFIT"))  # fmt: skip
        fields["type"] = kind
        fields["quantity"] = f"{draw.randrange(1, 9_000) / 10_000:.4f}"
        if kind == "MARKET" and draw.random() < 0.3:
            fields["quoteOrderQty"] = f"{draw.randrange(10, 5_000)}"
            del fields["quantity"]
        if kind in ("LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT"):
            fields["price"] = f"{middle + sign * draw.randrange(-20, 15):.2f}"
        if kind in ("LIMIT", "STOP_LOSS_LIMIT"):
            fields["timeInForce"] = draw.choice(("GTC", "GTC", "IOC", "FOK"))
        if kind.startswith("STOP_LOSS"):
            fields["stopPrice"] = f"{middle + sign * draw.randrange(1, 30):.2f}"
        if kind == "TAKE_PROFIT":
            fields["stopPrice"] = f"{middle - sign * draw.randrange(1, 30):.2f}"
        return fields

    async def trade(self, account: int) -> None:
        """Someone who trades by REST and, when no good answer comes, asks what became of it."""
        draw = self.draw
        while self.loop.time() * 1_000 < OPEN_MS:
            await asyncio.sleep(draw.expovariate(14))
            what = draw.random()
            opened = list(self.venue.accounts[account].open)
            if what < 0.6:
                order = self.order(account)
                if await self.signed(account, "POST", "order", **order) is None:
                    await asyncio.sleep(0.1)
                    await self.signed(account, "GET", "order", symbol=BTC, origClientOrderId=order["newClientOrderId"])
            elif what < 0.72:
                number = draw.choice(opened) if opened else 1
                await self.signed(account, "DELETE", "order", symbol=BTC, orderId=number)
            elif what < 0.78:
                await self.replace(account, draw.choice(opened) if opened else 1)
            elif what < 0.86:
                await self.oco(account)
            elif what < 0.88:
                await self.signed(account, "DELETE", "openOrders", symbol=BTC)
            elif what < 0.96:
                rows = await self.signed(account, "GET", "openOrders")
                if isinstance(rows, list):
                    self.seen["stale"] += {row["orderId"] for row in rows} != set(self.venue.accounts[account].open)
            else:
                await self.signed(account, "GET", "account")

    async def replace(self, account: int, number: int) -> None:
        """Cancel and place."""
        await self.signed(account, "POST", "order/cancelReplace", cancelReplaceMode="STOP_ON_FAILURE",
                          cancelOrderId=number, **self.order(account))  # fmt: skip

    async def oco(self, account: int) -> None:
        """A pair around the market."""
        (bid_e8, _), (ask_e8, _) = self.venue.best(self.venue.symbol(BTC))
        await self.signed(account, "POST", "orderList/oco", symbol=BTC, side="SELL", quantity="0.01",
                          aboveType="LIMIT_MAKER", abovePrice=f"{ask_e8 / 1e8 + 3:.2f}", belowType="STOP_LOSS",
                          belowStopPrice=f"{bid_e8 / 1e8 - 3:.2f}")  # fmt: skip

    async def talk(self) -> None:
        """Someone who trades by the websocket API and never waits; streams come back when they are cut."""
        draw = self.draw
        while self.loop.time() * 1_000 < OPEN_MS:
            await asyncio.sleep(draw.expovariate(10))
            for hearer in (self.public, self.private):
                hearer.look()
            if draw.random() < 0.8:
                self.private.send(self.socket_request(2, "order.place", **self.order(2)))
            else:
                self.private.send(self.socket_request(2, "openOrders.cancelAll", symbol=BTC))
            self.conserved()

    # --- the end ---

    async def run(self) -> None:
        """The whole day, and what everybody says after it."""
        self.server.run()
        await asyncio.gather(self.trade(0), self.trade(1), self.talk())
        healed = await self.callers[0].ask("DELETE", "/control/fault")
        assert healed and healed[0] == 200, healed
        await asyncio.sleep(1.5)
        said: dict[str, tuple[list, list]] = {}
        for account in range(len(ACCOUNTS)):
            rows = await self.signed(account, "GET", "allOrders", symbol=BTC, limit=1_000)
            money = await self.signed(account, "GET", "account")
            said[ACCOUNTS[account]] = rows, money["balances"]
        for caller in self.callers:
            caller.close()
        self.public.close()
        self.private.close()
        assert self.server.failure is None
        await self.server.stop()
        self.said = said

    def notice(self) -> None:
        """What was wrong with the streams, as those who hear them see it."""
        self.seen["reconnected"] = self.public.lives + self.private.lives - 2
        before = 0
        for message in self.public.told:
            if isinstance(message, dict) and message.get("stream") == "btcusdt@depth@100ms":
                data = message["data"]
                if data["u"] <= before:
                    self.seen["book backwards"] += 1
                elif before and data["U"] > before + 1:
                    self.seen["gap"] += 1
                before = max(before, data["u"])
        last, known = 0, set()
        for message in self.private.told:
            event = message.get("event", {}) if isinstance(message, dict) else {}  # garbage may be a number
            if event.get("e") == "executionReport":
                number = event["I"]
                self.seen["repeated"] += number in known
                self.seen["reordered"] += number < last
                known.add(number)
                last = max(last, number)

    def check(self) -> Counter:
        """The ledger adds up, and what the venue says after all is what the ledger says. Returns faults by kind."""
        money = recompute(self.ledger)
        lines = [orjson.loads(line) for line in self.ledger.read_bytes().splitlines()]
        state: dict[str, dict[str, tuple[int, bool]]] = defaultdict(dict)
        for line in lines:
            if line["kind"] in ("order", "fill") and line.get("status") not in ("rejected", "change_refused"):
                lots, left = line["cum_lots"], line["leaves_lots"]
                state[line["account"]][line["client_order_id"]] = lots * line["scale"]["lot_e8"], left > 0
        for name, (rows, balances) in self.said.items():
            assert {row["clientOrderId"] for row in rows} == set(state[name])
            for row in rows:
                executed_e8 = round(float(row["executedQty"]) * 1e8)
                is_open = row["status"] in ("NEW", "PARTIALLY_FILLED", "PENDING_NEW")
                assert state[name][row["clientOrderId"]] == (executed_e8, is_open), row
            for row in balances:
                total_e8 = round((float(row["free"]) + float(row["locked"])) * 1e8)
                assert abs(total_e8 - money.balances[name, row["asset"]]) <= 1, row  # the sum of two floats
        ids = {line["client_order_id"] for line in lines if line["kind"] == "order"}
        for request, line in pairwise(lines):
            if line["kind"] == "fault" and request["kind"] == "request":
                self.landed(request, line["reason"], ids)
        return Counter(line["reason"] for line in lines if line["kind"] == "fault")

    def landed(self, request: dict, kind: str, ids: set[str]) -> None:
        """A request that a fault took before it landed has left nothing."""
        text = request["target"].encode() + base64.b64decode(request["body"])
        name = _ID.search(text)
        if name is None:
            return
        there = name[1].decode() in ids
        self.seen[f"{kind} {'landed' if there else 'left nothing'}"] += 1
        assert not (there and kind in LOST), request


def chaos(folder: Path, seed: int, looked_at: bool = True) -> Day:
    """Run one day. AssertionError where something is wrong with it; of one that is not looked at, the bytes alone."""
    folder.mkdir()
    loop = JumpLoop()
    try:

        async def day() -> Floor:
            floor = Floor(folder, seed)
            await floor.run()
            return floor

        floor = loop.run_until_complete(day())
    finally:
        loop.close()
    struck: Counter = Counter()
    if looked_at:
        floor.notice()
        struck = floor.check()
    return Day(floor.heard.hexdigest(), hashlib.sha256(floor.ledger.read_bytes()).hexdigest(), struck, floor.seen)
