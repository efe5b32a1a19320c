"""The gateway on a clock that the test turns, in front of a venue of a few lines that speaks Bybit's words."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
from rig.gateway import ACCOUNT, GatewayRig, instrument_row

from bot4.adapters.bybit.private import BybitPrivate
from bot4.engine.gateway import GatewayAgent
from bot4.engine.gateway_log import GatewayLog
from bot4.model.records import EXEC_REPORT, ORDER_INTENT, SESSION
from bot4.ports.gateway import Reply
from bot4.ports.gateway_values import Keys
from bot4.shm.wires import private_wires

BTC = "BTCUSDT"
EPOCH_NS = 1_700_000_000 * 10**9
KEY = {"permissions": {"ContractTrade": ["Order", "Position"], "Wallet": []}, "ips": ["127.0.0.1"], "readOnly": 0}
NO_ORDER, REFUSED = 110001, 110007


class ManualClock:
    """Monotonic ns that pass when the test says so."""

    ns = 10**12

    def __call__(self) -> int:
        return self.ns


class ScriptedVenue:
    """Both connections: takes requests, answers in the next turn, and tells on the stream what the test gives it.

    `slow` : names of calls that are taken and never answered. `lost` : names of calls that are done, and whose answers
    do not come in time. `refuses` : codes by the name of the call. `wants_s` : not 0: everything is refused, and may be
    asked for again after so long.
    `before` : what happens, once, before a call of that name is answered.
    """

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.connections = clock, 6
        self.orders: dict[str, dict[str, object]] = {}
        self.calls: list[tuple[str, dict[str, object]]] = []
        self.sent_ns: dict[str, int] = {}  # when an order was first sent
        self.lots = 0
        self.taker_fee = "0.00055"
        self.refuses: dict[str, int] = {}
        self.slow: set[str] = set()
        self.lost: set[str] = set()
        self.wants_s = 0
        self.said: list[dict[str, object]] = []  # to the stream
        self.ended: dict[str, dict[str, object]] = {}
        self.has_stream = True  # else what is said on it gets nowhere, and no new one comes about
        self.is_endless = False  # its lists
        self.is_generous = False  # with calls a second
        self.trades: list[dict[str, object]] = []
        self.before: dict[str, Callable[[], None]] = {}
        self._replies: list[tuple[int, Reply]] = []
        self._news: list[bytes | None] = [None]

    # --- Caller ---

    def free(self) -> int:
        return self.connections

    def trouble(self) -> str:
        return ""

    def send(self, token: int, data: bytes, timeout_s: float) -> bool:
        head, _, body = data.partition(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n")[0].decode().split()
        path, _, query = target.partition("?")
        asked = json.loads(body) if method == "POST" else {key: one[0] for key, one in parse_qs(query).items()}
        name = path.removeprefix("/v5/")
        self.calls.append((name, asked))
        if name == "order/create":
            self.sent_ns.setdefault(str(asked["orderLinkId"]), self.clock.ns)
        self.before.pop(name, lambda: None)()
        if self.wants_s:
            self._replies.append((token, Reply(429, {"retry-after": str(self.wants_s)}, b"")))
            return True
        code = self.refuses.get(name, 0)
        result = {} if code else self._answer(name, asked)
        if result is None:
            code, result = NO_ORDER, {}
        if name in self.lost:
            self._replies.append((token, Reply(0, {}, b"", "no answer in time")))
        elif name not in self.slow:
            reply = {"retCode": code, "retMsg": "", "result": result}
            head = {"x-bapi-limit": "1000"}
            self._replies.append((token, Reply(200, head if self.is_generous else {}, json.dumps(reply).encode())))
        return True

    def _answer(self, name: str, asked: dict[str, object]) -> dict[str, object] | None:
        link = str(asked.get("orderLinkId", ""))
        match name:
            case "market/time":
                return {"timeNano": str(EPOCH_NS + self.clock.ns)}
            case "user/query-api":
                return KEY
            case "account/wallet-balance":
                return {"list": [{"coin": [{"coin": "USDT", "walletBalance": "100000"}]}]}
            case "account/fee-rate":
                return {"list": [{"symbol": BTC, "makerFeeRate": "0.0002", "takerFeeRate": self.taker_fee}]}
            case "position/list":
                side, lots = "Sell" if self.lots < 0 else "Buy", abs(self.lots)
                size = f"{lots / 1000:.3f}"
                return {"list": [{"symbol": BTC, "positionIdx": 0, "side": side, "size": size, "positionValue": "0"}]}
            case "order/realtime":
                return self._page(list(self.orders.values()), asked)
            case "order/history":
                return self._page(list(self.ended.values()), asked)
            case "order/disconnected-cancel-all":
                return {}
            case "execution/list":
                begin, end = int(str(asked["startTime"])), int(str(asked["endTime"]))
                assert 0 <= end - begin <= 7 * 86_400_000, "the venue refuses a longer time"
                return self._page([row for row in self.trades if begin <= int(str(row["execTime"])) <= end], asked)
            case "order/create":
                self.open(link, asked)
                return {"orderId": f"v{link}"}
            case "order/cancel":
                link = link or str(asked["orderId"])[1:]
                return {"orderId": f"v{link}"} if self.end(link, "Cancelled") else None
            case "order/cancel-all":
                links = [link for link, row in self.orders.items() if not row["stopOrderType"]]
                return {"list": [{"orderId": self.end(link, "Cancelled")["orderId"]} for link in links]}
            case "order/amend":
                return {"orderId": f"v{link}"} if link in self.orders else None
        return {"list": []}

    def _page(self, rows: list[dict[str, object]], asked: dict[str, object]) -> dict[str, object]:
        """Fifty rows, the latest first."""
        rows = [row for row in reversed(rows) if asked.get("orderLinkId", row["orderLinkId"]) == row["orderLinkId"]]
        begin = int(str(asked.get("cursor", 0)))
        more = str(begin + 50) if len(rows) > begin + 50 or self.is_endless else ""
        return {"list": rows[begin : begin + 50] if not self.is_endless else rows[:50], "nextPageCursor": more}

    def end(self, link: str, status: str) -> dict[str, object]:
        """An order that rests does no more; {} where there is none."""
        row = self.orders.pop(link, {})
        if row:
            row |= {"orderStatus": status, "updatedTime": str((EPOCH_NS + self.clock.ns) // 1_000_000)}
            self.ended[link] = row
        return row

    def open(self, link: str, asked: dict[str, object]) -> None:
        """An order rests from now on."""
        self.orders[link] = {
            "symbol": BTC, "category": "linear", "orderLinkId": link, "orderId": f"v{link}",
            "orderStatus": "Untriggered" if "triggerPrice" in asked else "New",
            "side": asked["side"], "orderType": asked["orderType"], "price": asked.get("price", ""),
            "stopOrderType": "Stop" if "triggerPrice" in asked else "", "triggerPrice": asked.get("triggerPrice", ""),
            "qty": asked["qty"], "cumExecQty": "0", "rejectReason": "", "cancelType": "",
            "reduceOnly": asked.get("reduceOnly", False), "updatedTime": str((EPOCH_NS + self.clock.ns) // 1_000_000),
        }  # fmt: skip

    def lose_stream(self) -> None:
        """The stream is gone, until it is said to be another one."""
        self.has_stream = False
        self.say(None)

    def fill(self, link: str, lots: int) -> None:
        """An order that rests is filled whole; the stream does not tell."""
        row = self.end(link, "Filled") | {"cumExecQty": f"{lots / 1000:.3f}"}
        self.ended[link] = row
        self.lots += lots if row["side"] == "Buy" else -lots
        self.trades.append({
            "symbol": BTC, "category": "linear", "execType": "Trade", "execId": f"t{len(self.trades)}",
            "orderLinkId": link, "side": row["side"], "execPrice": row["price"] or row["triggerPrice"],
            "execQty": f"{lots / 1000:.3f}", "execFee": "0", "execTime": str((EPOCH_NS + self.clock.ns) // 1_000_000),
        })  # fmt: skip

    def count(self, name: str, link: str = "") -> int:
        """Calls of that name, of one order where a link is given."""
        return sum(one == name and (not link or asked.get("orderLinkId") == link) for one, asked in self.calls)

    def close(self) -> None:
        """Nothing to close."""

    # --- Caller and Listener have each a `turn` and a `send` ---

    def replies(self) -> list[tuple[int, Reply]]:
        """What has been answered since."""
        replies, self._replies = self._replies, []
        return replies

    def news(self) -> list[bytes | None]:
        """What the stream has told since."""
        news, self._news = self._news, []
        return news

    def say(self, message: object) -> None:
        """Tell something on the stream; None: it is another one."""
        self._news.append(None if message is None else json.dumps(message).encode())


class ScriptedCaller:
    """The venue's connections for requests."""

    def __init__(self, venue: ScriptedVenue) -> None:
        self.free, self.send, self.trouble, self.close = venue.free, venue.send, venue.trouble, venue.close
        self.turn = venue.replies


class ScriptedListener:
    """The venue's stream: there from the beginning unless the test takes it away, takes every logon."""

    def __init__(self, venue: ScriptedVenue) -> None:
        self._venue, self.turn, self.close = venue, venue.news, venue.close

    def is_open(self) -> bool:
        return self._venue.has_stream

    def send(self, text: str) -> None:
        if not self._venue.has_stream:
            return
        said = json.loads(text)
        self._venue.said.append(said)
        self._venue.say({"success": True} | {name: said[name] for name in ("op", "req_id") if name in said})

    def drop(self, reason: str) -> None:
        self._venue.say(None)


class ScriptRig(GatewayRig):
    """One life of the gateway, a millisecond a turn; another one on the same folder is its restart."""

    def __init__(self, folder: Path, before: "ScriptRig | None" = None, wall_ns: int = EPOCH_NS, **more) -> None:
        self.wires = before.wires if before else private_wires(1, 1)
        self.events = before.events if before else []
        self.answers, self.placed = [], []
        more = self.past(before) | more
        self.clock = before.clock if before else ManualClock()
        self.venue = before.venue if before else ScriptedVenue(self.clock)
        self.caller = ScriptedCaller(self.venue)
        self.connections = self.venue.connections
        if before:
            self.venue.replies()  # went down with its connections
            self.venue.say(None)
        session = np.zeros(1, SESSION)
        session["n_shards"] = session["n_instruments"] = 1
        session["account"] = ACCOUNT
        instruments = instrument_row()
        self.private = BybitPrivate(Keys("k" * 18, "s" * 36), "https://127.0.0.1:1", [BTC], instruments)
        self.agent = GatewayAgent(
            self.wires, instruments, session, GatewayLog(folder / "gateway.bin", 32_768), self.private, self.caller,
            ScriptedListener(self.venue), 1, clock=self.clock, wall=lambda: wall_ns + self.clock.ns, **more,
        )  # fmt: skip
        self._request, self._report = np.zeros(1, ORDER_INTENT), np.zeros(1, EXEC_REPORT)

    def turn(self) -> None:
        """One turn, a millisecond later."""
        self.clock.ns += 1_000_000
        self.agent.do_work()
        self.read()

    def until(self, wanted, patience_s: float = 40.0) -> None:
        """Turn until it is so."""
        end = self.clock.ns + int(patience_s * 10**9)
        while not wanted():
            assert self.clock.ns < end, (self.agent.stats, [report["kind"] for report in self.events[-20:]])
            self.turn()

    def go_on(self, seconds: float) -> None:
        """Let that much time pass."""
        end = self.clock.ns + int(seconds * 10**9)
        self.until(lambda: self.clock.ns >= end)
