"""The gateway in front of the exchange's own protocol and matching without sockets, on one clock that the test turns.

`Wires` carries the gateway's requests to the exchange and answers back, and draws for each order what becomes of it on
the way: nothing, or one of the things after which nobody can say whether it has landed. The private stream is there and
silent, so everything has to be found out by asking, unless `copies` says how often it tells each thing.
"""

import json
import logging
import random
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

import numpy as np
from rig.exchange_bybit import BTC, BybitDesk
from rig.gateway import ACCOUNT, WIDE, GatewayRig, instrument_row
from rig.gateway_script import ScriptedListener

from bot4.adapters.bybit.private import BybitPrivate
from bot4.adapters.exchange.bybit.gateway import Who
from bot4.engine.gateway import GatewayAgent
from bot4.engine.gateway_log import GatewayLog
from bot4.model.records import EXEC_REPORT, ORDER_INTENT, SESSION
from bot4.ports.gateway import Reply
from bot4.ports.gateway_values import Keys
from bot4.shm.wires import private_wires

SECOND = 1_000_000_000
NO_ANSWER = Reply(0, {}, b"", "no answer in time")
CUT = Reply(0, {}, b"", "the peer has ended the connection")
STRANGE = (
    NO_ANSWER, CUT, Reply(500, {}, b""), Reply(502, {}, b"<html>bad gateway</html>"), Reply(503, {}, b""),
    Reply(504, {}, b"{}"), Reply(200, {}, b""), Reply(200, {}, b'{"retCo'), Reply(200, {}, b"\xff\x00garbage"),
)  # fmt: skip


class Wires:
    """Both connections of the gateway.

    `ambiguous` : share of orders without a clear answer, half of which land. `unheard` : share of all other
    requests that have none, half of which are heard.
    """

    orders = b"POST /v5/order/create"

    def __init__(self, desk: BybitDesk, seed: int, ambiguous: float, unheard: float) -> None:
        self.desk, self._dice, self._ambiguous, self._unheard = desk, random.Random(seed), ambiguous, unheard
        self.has_stream = True
        self.said: list[dict[str, object]] = []
        self.answer_s = 0.0005  # that an answer takes
        self.copies = 0  # of what the stream tells, at most; shuffled within two seconds
        self.struck = 0  # orders without a clear answer
        self._numbers = count()
        self._tokens = 0  # whose they are
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._replies: list[tuple[int, Reply]] = []
        self._news: list[bytes | None] = [None]

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        heappush(self._due, (self.desk.now_ns + int(seconds * SECOND), next(self._numbers), what))

    def _reply(self, token: int, reply: Reply, seconds: float) -> None:
        of = self._tokens
        self._later(seconds, lambda: self._replies.append((token, reply)) if of == self._tokens else None)

    def _ask(self, data: bytes) -> Reply:
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split()
        path, _, query = target.partition("?")
        said = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        who = Who(*(said.get(f"x-bapi-{name}", "") for name in ("api-key", "timestamp", "recv-window", "sign")))
        self.desk.gateway.note(who, method, target, body)
        answer = self.desk.gateway.rest(method, path, query, body, who)
        return Reply(answer.status, {name.lower(): value for name, value in answer.headers}, answer.body)

    # --- Caller ---

    def free(self) -> int:
        """There is always one: what is measured is what becomes of orders."""
        return 8

    def trouble(self) -> str:
        """None."""
        return ""

    def send(self, token: int, data: bytes, timeout_s: float) -> bool:
        """One request; it lands at once, late or never."""
        dice = self._dice
        is_order = data.startswith(self.orders)
        if dice.random() >= (self._ambiguous if is_order else self._unheard):
            self._reply(token, self._ask(data), self.answer_s)
            return True
        reply = dice.choice(STRANGE)
        if is_order:
            self.struck += 1
        if dice.random() < 0.5:  # it lands, at once or within its deadline, or is refused for coming too late
            late_s = dice.choice((0.0, dice.uniform(0.0, 1.9), dice.uniform(1.9, 8.0)))
            self._later(late_s, lambda: self._ask(data) and None)
        self._reply(token, reply, timeout_s if reply is NO_ANSWER else dice.uniform(0.0, timeout_s))
        return True

    def replies(self) -> list[tuple[int, Reply]]:
        """What has come until now; what is under way lands."""
        while self._due and self._due[0][0] <= self.desk.now_ns:
            heappop(self._due)[2]()
        replies, self._replies = self._replies, []
        return replies

    def tell(self) -> None:
        """What has become of orders, by the stream, once or more often and in no order."""
        events, self.desk.events[0][:] = list(self.desk.events[0]), []
        for event in events:
            if self.copies and event["topic"] in ("execution", "order"):
                message = {"topic": f"{event['topic']}.linear", "data": [event["row"]]}
                for _ in range(self._dice.randint(1, self.copies)):
                    self._later(self._dice.uniform(0.0, 2.0), partial(self.say, message))

    def renew(self) -> None:
        """Whoever comes next has connections of its own; what was sent on the old ones lands all the same."""
        self._replies, self._news, self._tokens = [], [None], self._tokens + 1

    # --- Listener ---

    def news(self) -> list[bytes | None]:
        """Words about the connection itself, and no other."""
        news, self._news = self._news, []
        return news

    def say(self, message: object) -> None:
        """To the gateway, by the stream."""
        self._news.append(None if message is None else json.dumps(message).encode())

    def close(self) -> None:
        """Nothing to close."""


class _Caller:
    def __init__(self, wires: Wires) -> None:
        self.free, self.send, self.trouble, self.turn, self.close = (
            wires.free, wires.send, wires.trouble, wires.replies, wires.close,
        )  # fmt: skip


class DeskRig(GatewayRig):
    """One life of the gateway."""

    step_ns = 2_000_000  # that pass with a turn
    _told: dict[tuple[int, int], list[np.void]]

    def __init__(
        self,
        folder: Path,
        seed: int = 1,
        ambiguous: float = 0.0,
        unheard: float = 0.0,
        ahead_ns: int = 0,
        before: "DeskRig | None" = None,
    ) -> None:
        """`ahead_ns` : of our wall clock, before that of the venue. `before` : the life before this one."""
        if before is None:
            self.desk = BybitDesk(folder, scenario=WIDE, usdt=100_000_000)
            for side, price in (("Buy", "59999"), ("Sell", "60001")):
                self.desk.create(1, side, "90", price)
            self.wires = private_wires(1, 1)
            self.events, self.placed = [], []
            self.network = Wires(self.desk, seed, ambiguous, unheard)
        else:
            self.desk, self.wires, self.network = before.desk, before.wires, before.network
            self.events, self.placed = before.events, before.placed
            self.network.renew()
        self.answers = []
        self._told = {} if before is None else before._told
        self._indexed = len(self.events)
        self.caller, self.connections = _Caller(self.network), 8
        session = np.zeros(1, SESSION)
        session["n_shards"] = session["n_instruments"] = 1
        session["account"] = ACCOUNT
        instruments = instrument_row()
        key = self.desk.keys[0]
        private = BybitPrivate(Keys(key.api_key, key.secret.decode()), "https://127.0.0.1:1", [BTC], instruments)
        private.limits, private.total = (10**6,) * 4, (10**6, 1.0)
        self.agent = GatewayAgent(
            self.wires, instruments, session, GatewayLog(folder / "gateway.bin", 65_536), private, self.caller,
            ScriptedListener(self.network), 1, clock=lambda: self.desk.now_ns, wall=lambda: self.desk.now_ns + ahead_ns,
            logger=logging.Logger("quiet", logging.CRITICAL), **self.past(before),
        )  # fmt: skip
        self._request, self._report = np.zeros(1, ORDER_INTENT), np.zeros(1, EXEC_REPORT)

    def read(self) -> None:
        """Take everything from the events ring, and keep it by order."""
        super().read()
        for report in self.events[self._indexed :]:
            self._told.setdefault((int(report["id_hi"]), int(report["id_lo"])), []).append(report)
        self._indexed = len(self.events)

    def of(self, identity: tuple[int, int], answers: bool = False) -> list[np.void]:
        """What has been said of an order."""
        return super().of(identity, True) if answers else self._told.get(identity, [])

    def turn(self) -> None:
        """One turn, a step of the clock later."""
        self.desk.now_ns += self.step_ns
        self.network.tell()
        self.agent.do_work()
        self.read()

    def until(self, wanted: Callable[[], object], patience_s: float = 60.0) -> None:
        """Turn until it is so."""
        end = self.desk.now_ns + int(patience_s * SECOND)
        while not wanted():
            assert self.desk.now_ns < end, self.agent.stats
            self.turn()

    def go_on(self, seconds: float) -> None:
        """Let that much time pass."""
        end = self.desk.now_ns + int(seconds * SECOND)
        self.until(lambda: self.desk.now_ns >= end, 2 * seconds)
