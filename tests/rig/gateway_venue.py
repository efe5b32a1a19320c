"""The gateway on a bench, in front of `bot4-exchange` over real sockets: its port, and a market made by two others.

A level of the market is an order of the account `maker`, a trade one of `crowd` that takes. What a recording alone can
do (a book that is not whole, quantity that is shown and not there), spot and the time of a funding are out of its hand:
`CANNOT` says so to the suite; so it does of a resting stop that shrinks with the position, which this venue leaves as
it is and cuts when it goes off.
"""

import time
from itertools import count, islice
from pathlib import Path
from typing import ClassVar

from rig.exchange_bybit import BTC
from rig.gateway import WIDE, Exchange, GatewayRig, instrument_row
from rig.gateway_ccxt import CcxtRig

from bot4.adapters.sim.port import SimVenue
from bot4.model import enums as e
from bot4.ports.venue import ClientId, Done, NewOrder, OrderState, Refused, Unknown

PATIENCE_S, SILENT_S = 60.0, 0.2
BATCH = 10  # orders in a request
ACCOUNTS, TOGETHER = 60, 5  # one for each test
_ACCOUNT = '[[account]]\nname = "{}"\nbalances = {{ USDT = "{}" }}\nmaker_fee_bps = "2"\ntaker_fee_bps = "5"\n'
_FILTERS = {
    "min_qty_e8": 200_000, "max_qty_e8": 10**11, "market_max_qty_e8": 10**11, "ask_down_e8": 1, "bid_up_e8": 10**10,
    "max_orders": 60,
}  # fmt: skip
_ENDS = (e.REPORT_CANCELED, e.REPORT_EXPIRED, e.REPORT_REJECT)


class GatewayVenue(SimVenue):
    """The gateway's port: an answer comes when the venue has given it, not when the request has left the ring."""

    def __init__(self, bench: "GatewayBench") -> None:
        rig = bench.rig
        super().__init__(rig.wires, bench.instruments, rig.agent.do_work, time.monotonic_ns, 0)
        self._bench = bench
        self._numbers = count(1)
        self._open: dict[ClientId, int] = {}

    def place(self, order: NewOrder) -> Done[OrderState] | Refused | Unknown:
        """See ports/venue.py. What the venue takes and then gives back at once is refused."""
        outcome = super().place(order)
        if isinstance(outcome, Done) and outcome.value.status == e.REPORT_REJECT:
            return Refused(outcome.value.code)
        return outcome

    def events(self):
        """See ports/venue.py. The stream has been heard when every order that was open has been asked for."""
        self._collect()
        for client_id, instrument in list(self._open.items()):
            self.order(instrument, client_id)
        self._collect()
        while self._waiting:
            yield self._waiting.popleft()

    def _query(self, action, aux=0):
        seen = self._ask(action, 0, ClientId(5, next(self._numbers)), aux=aux)
        if isinstance(seen, Unknown):
            return seen
        beat = e.REPORT_QUERY_END
        return [row[0] for row in seen if (row[0]["event_seq"] == 0 and row[0]["kind"] not in (beat, e.REPORT_ORDER))
                or (row[0]["kind"] == e.REPORT_ORDER and action == e.ACTION_QUERY_OPEN)]  # fmt: skip

    def server_time(self):
        """See ports/venue.py."""
        seen = self._query(e.ACTION_QUERY_BALANCE)
        return seen if isinstance(seen, Unknown) else Done(int(seen[0]["t_venue_ns"]))

    def _ask(self, action, instrument, client_id, **fields):
        if action == e.ACTION_CANCEL_ALL:
            client_id = ClientId(5, next(self._numbers))
        elif action == e.ACTION_PLACE:
            self._open[client_id] = instrument
            if not self._bench.silent:
                self._wait_for_a_turn()
        self._collect()
        self._bench.rig.send(action, (client_id.high, client_id.low), **{"instrument": instrument} | fields)
        seen: list = []
        end = time.monotonic() + (SILENT_S if self._bench.silent else PATIENCE_S)
        while not any(self._answers(action, client_id, row[0]) for row in seen):
            if time.monotonic() > end:
                return Unknown("no answer")
            came = [] if self._drive() else self._collect()
            seen += came or self._collect()
            if not came:
                time.sleep(0.0005)
        return seen

    def _wait_for_a_turn(self) -> None:
        """An order that finds no connection in time is refused, on a machine that is busy too."""
        agent, end = self._bench.rig.agent, time.monotonic() + PATIENCE_S
        while not (agent.is_ready and not agent.differs and self._bench.rig.caller.free()):
            assert time.monotonic() < end
            self._drive()

    @staticmethod
    def _answers(action, client_id, row) -> bool:
        if (int(row["id_hi"]), int(row["id_lo"])) != (client_id.high, client_id.low):
            return False
        kind = int(row["kind"])
        if action == e.ACTION_PLACE:
            return kind in (e.REPORT_ACK, e.REPORT_REJECT)
        if action in (e.ACTION_CANCEL, e.ACTION_AMEND):
            return kind in (e.REPORT_REPLACED, e.REPORT_CANCEL_REJECT, *_ENDS)
        if action == e.ACTION_QUERY_ORDER:
            return kind in (e.REPORT_ORDER, e.REPORT_NOT_FOUND)
        return kind == e.REPORT_QUERY_END

    def _collect(self):
        taken = super()._collect()
        for report in taken:
            row = report[0]
            if int(row["kind"]) in _ENDS or (int(row["kind"]) == e.REPORT_FILL and not row["leaves_lots"]):
                self._open.pop(ClientId(int(row["id_hi"]), int(row["id_lo"])), None)
        return taken


class GatewayBench:
    """See the module. One exchange serves all tests of a run, each with an account of its own."""

    CANNOT = frozenset(("spot", "recording", "funding", "shrinking"))
    start_balance_e8 = 10**13
    most_open = 60
    many_trades = 1_100
    _server: Exchange | None = None
    _names = iter(range(1, ACCOUNTS + 1))
    way: type[GatewayRig] = GatewayRig
    _spare: ClassVar[list[tuple[str, GatewayRig]]] = []  # a gateway takes a second to be sure: several at once

    def __init__(self, path: Path) -> None:
        self.server = self._serve(path.parent)
        self.instruments = instrument_row()
        self.instruments["min_qty_lots"] = 2
        self._silent = False
        self._levels: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self._as("maker", "POST", "order/cancel-all", category="linear", settleCoin="USDT")
        self._as("maker", "POST", "order/create", **self._order(1, 60_005, 2))
        self._as("crowd", "POST", "order/create", **self._order(-1, 60_005, 2))  # the last price
        self.name, self.rig = self._gateway(path.parent)
        self.venue = GatewayVenue(self)

    @classmethod
    def _serve(cls, folder: Path) -> Exchange:
        if cls._server is None:
            names = [f"c{number}" for number in range(1, ACCOUNTS + 1)]
            accounts = "".join(_ACCOUNT.format(name, 100_000) for name in names)
            accounts += "".join(_ACCOUNT.format(name, 900_000_000) for name in ("maker", "crowd"))
            cls._server = Exchange(folder / "exchange", WIDE, accounts)
            cls._server.fault(kind="filters", symbol=BTC, filters=_FILTERS)
        return cls._server

    def _gateway(self, folder: Path) -> tuple[str, GatewayRig]:
        spare = self._spare
        if not spare:
            for number in islice(self._names, TOGETHER):
                name = f"c{number}"
                (folder / name).mkdir()
                spare.append((name, self.way(folder / name, self.server, account=name, equity_e8=1, connections=3)))
            end = time.monotonic() + PATIENCE_S
            while not all(rig.agent.is_ready for _, rig in spare):
                assert time.monotonic() < end
                for _, rig in spare:
                    rig.turn()
        name, rig = spare.pop()
        return name, rig.ready()

    @classmethod
    def stop(cls) -> None:
        """No test comes any more: nothing was made and nothing lost."""
        while cls._spare:
            cls._spare.pop()[1].agent.close()
        if cls._server is not None:
            server, cls._server = cls._server, None
            with server:
                server.conserved()
                server.stop()

    def close(self) -> None:
        """Nothing of ours is left open."""
        self.rig.agent.close()
        self._as(self.name, "POST", "order/cancel-all", category="linear", settleCoin="USDT")

    @property
    def silent(self) -> bool:
        """Whether the venue does what it is told and answers nothing."""
        return self._silent

    @silent.setter
    def silent(self, wanted: bool) -> None:
        self._silent = wanted
        if wanted:
            self.server.fault(kind="timeout_after", endpoint="POST /v5/*")
            self.server.fault(kind="timeout_before", endpoint="GET /v5/*")
            self.server.fault(kind="event_drop", stream="*")
        else:
            self.server.heal()
            self.server.fault(kind="filters", symbol=BTC, filters=_FILTERS)

    # --- the market ---

    def _as(self, name: str, method: str, path: str, **fields):
        self.server.be(name)
        return self.server.done(method, path, **fields)

    @staticmethod
    def _order(side: int, price: int, lots: int, **more) -> dict:
        return {
            "category": "linear", "symbol": BTC, "side": "Buy" if side > 0 else "Sell", "orderType": "Limit",
            "price": f"{price / 10:.1f}", "qty": f"{lots / 1000:.3f}",
        } | more  # fmt: skip

    def snapshot(self, instrument: int, bids: dict[int, int], asks: dict[int, int]) -> None:
        """A new whole book: {price: quantity} of both sides."""
        if instrument:
            return  # there is no such instrument here
        self._as("maker", "POST", "order/cancel-all", category="linear", settleCoin="USDT")
        for side, levels in ((1, bids), (-1, asks)):
            self._levels[side] = dict(levels)
            for price, lots in levels.items():
                self.level(instrument, side, price, lots)

    def level(self, instrument: int, side: int, price: int, lots: int) -> None:
        """Somebody wants so much more at a price."""
        self._as("maker", "POST", "order/create", **self._order(side, price, lots))

    def trade(self, instrument: int, price: int, lots: int, aggressor: int, times: int = 1) -> None:
        """Somebody takes at a price, and what is better there goes away as long: what we have there is taken first."""
        side = -aggressor
        mine, others = self._levels[side], self._levels[aggressor]
        better = {at: left for at, left in mine.items() if side * at > side * price}
        if better:
            rest = {at: left for at, left in mine.items() if at not in better}
            self.snapshot(instrument, *((rest, others) if side > 0 else (others, rest)))
        if price not in mine and all(side * price < side * at for at in others):
            self.level(instrument, side, price, lots * times)
        one = self._order(aggressor, price, lots, timeInForce="IOC")
        while times > 0:
            batch = [one] * min(times, BATCH)
            done = self._as("crowd", "POST", "order/create-batch", category="linear", request=batch)
            assert all(row["orderId"] for row in done["list"]), done
            times -= len(batch)
        for at, left in better.items():
            self._levels[side][at] = left
            self.level(instrument, side, at, left)


class CcxtBench(GatewayBench):
    """The same through ccxt, on an exchange of its own."""

    way = CcxtRig
    _server: Exchange | None = None
    _names = iter(range(1, ACCOUNTS + 1))
    _spare: ClassVar[list[tuple[str, GatewayRig]]] = []
