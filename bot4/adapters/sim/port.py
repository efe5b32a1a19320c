"""The simulated venue through its port: the verbs as requests, the outcomes out of events.

Takes execution's side of the two rings, so it is for recovery tools and tests, never beside a running execution.
Nothing here waits: `drive` is handed in and makes the venue work (in one process: its `do_work`); a verb that has no
answer after `patience` drives is Unknown.
"""

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from bot4.kernels.matching.request import ALL_INSTRUMENTS
from bot4.model.enums import (
    ACTION_AMEND,
    ACTION_CANCEL,
    ACTION_CANCEL_ALL,
    ACTION_PLACE,
    ACTION_QUERY_BALANCE,
    ACTION_QUERY_OPEN,
    ACTION_QUERY_ORDER,
    ACTION_QUERY_POSITION,
    ACTION_QUERY_TRADES,
    REPORT_ACK,
    REPORT_BALANCE,
    REPORT_CANCEL_REJECT,
    REPORT_CANCELED,
    REPORT_FILL,
    REPORT_NOT_FOUND,
    REPORT_ORDER,
    REPORT_POSITION,
    REPORT_QUERY_END,
    REPORT_REJECT,
    REPORT_REPLACED,
)
from bot4.model.records import EXEC_REPORT, ORDER_INTENT, ORDER_WORDS, words
from bot4.ports.venue import ClientId, Done, NewOrder, OrderState, PositionState, Refused, Trade, Unknown
from bot4.shm.spsc_ring import consume, peek_order, push_order, unread_time
from bot4.shm.wires import Wires

_NO_ANSWER = "the venue did not answer"
_BEHIND = "the venue is not through with an earlier request"


def _id(report: np.void) -> ClientId:
    return ClientId(int(report["id_hi"]), int(report["id_lo"]))


def _state(report: np.void) -> OrderState:
    return OrderState(
        id=_id(report),
        venue_order_id=int(report["venue_order_id"]),
        instrument=int(report["instrument"]),
        side=int(report["side"]),
        type=int(report["type"]),
        status=int(report["status"]),
        code=int(report["code"]),
        price_ticks=int(report["price_ticks"]),
        qty_lots=int(report["qty_lots"]),
        cum_lots=int(report["cum_lots"]),
        leaves_lots=int(report["leaves_lots"]),
        flags=int(report["flags"]),
    )


class SimVenue:
    """The simulated venue's port over the rings.

    Parameters
    ----------
    wires : Wires, of which this object takes execution's side of `requests` and `events`
    instruments : INSTRUMENT[n]
    drive : makes the venue do some work
    now_ns : the present event time; requests arrive at it plus `order_latency_ns`
    order_latency_ns : on the way to the venue
    patience : drives without an answer after which an outcome is Unknown
    """

    def __init__(
        self,
        wires: Wires,
        instruments: np.ndarray,
        drive: Callable[[], object],
        now_ns: Callable[[], int],
        order_latency_ns: int,
        patience: int = 100,
    ):
        self._wires = wires
        self._instruments = instruments
        self._drive = drive
        self._now_ns = now_ns
        self._order_latency_ns = order_latency_ns
        self._patience = patience
        self._request = np.zeros(1, ORDER_INTENT)
        self._request_words = words(self._request)
        self._report = np.zeros(1, EXEC_REPORT)
        self._report_words = words(self._report)
        self._waiting: deque[np.ndarray] = deque()  # events that `events` has not handed out

    def place(self, order: NewOrder) -> Done[OrderState] | Refused | Unknown:
        """See ports/venue.py."""
        seen = self._ask(
            ACTION_PLACE,
            order.instrument,
            order.id,
            side=order.side,
            type=order.type,
            tif=order.tif,
            flags=order.flags,
            leg=order.leg,
            price_ticks=order.price_ticks,
            qty_lots=order.qty_lots,
            stop_ticks=order.stop_ticks,
        )
        if isinstance(seen, Unknown):
            return seen
        refused = self._find(seen, order.id, REPORT_REJECT)
        if refused is not None:
            return Refused(int(refused["code"]))
        if self._find(seen, order.id, REPORT_ACK) is None:
            return Unknown(_NO_ANSWER)
        return self._known(order.instrument, order.id)

    def cancel(self, instrument: int, client_id: ClientId) -> Done[OrderState] | Refused | Unknown:
        """See ports/venue.py."""
        return self._change(ACTION_CANCEL, REPORT_CANCELED, instrument, client_id)

    def amend(
        self, instrument: int, client_id: ClientId, qty_lots: int, stop_ticks: int = 0
    ) -> Done[OrderState] | Refused | Unknown:
        """See ports/venue.py."""
        return self._change(
            ACTION_AMEND, REPORT_REPLACED, instrument, client_id, qty_lots=qty_lots, stop_ticks=stop_ticks
        )

    def cancel_all(self, instrument: int | None = None) -> Done[list[ClientId]] | Unknown:
        """See ports/venue.py."""
        seen = self._ask(ACTION_CANCEL_ALL, ALL_INSTRUMENTS if instrument is None else instrument, ClientId(0, 0))
        if isinstance(seen, Unknown):
            return seen
        return Done([_id(report[0]) for report in seen if int(report[0]["kind"]) == REPORT_CANCELED])

    def order(self, instrument: int, client_id: ClientId) -> Done[OrderState | None] | Unknown:
        """See ports/venue.py."""
        seen = self._ask(ACTION_QUERY_ORDER, instrument, client_id)
        if isinstance(seen, Unknown):
            return seen
        found = self._find(seen, client_id, REPORT_ORDER)
        if found is not None:
            return Done(_state(found))
        return Unknown(_NO_ANSWER) if self._find(seen, client_id, REPORT_NOT_FOUND) is None else Done(None)

    def open_orders(self) -> Done[list[OrderState]] | Unknown:
        """See ports/venue.py."""
        seen = self._query(ACTION_QUERY_OPEN)
        return seen if isinstance(seen, Unknown) else Done([_state(row) for row in seen if row["kind"] == REPORT_ORDER])

    def trades_since(self, event_seq: int) -> Done[list[Trade]] | Unknown:
        """See ports/venue.py."""
        seen = self._query(ACTION_QUERY_TRADES, aux=event_seq)
        if isinstance(seen, Unknown):
            return seen
        return Done(
            [
                Trade(
                    event_seq=int(row["cash_e8"]),
                    trade_id=int(row["trade_id"]),
                    id=_id(row),
                    instrument=int(row["instrument"]),
                    side=int(row["side"]),
                    price_ticks=int(row["price_ticks"]),
                    qty_lots=int(row["qty_lots"]),
                    fee_e8=int(row["fee_e8"]),
                    t_venue_ns=int(row["t_venue_ns"]),
                )
                for row in seen
                if row["kind"] == REPORT_FILL
            ]
        )

    def positions(self) -> Done[list[PositionState]] | Unknown:
        """See ports/venue.py."""
        seen = self._query(ACTION_QUERY_POSITION)
        if isinstance(seen, Unknown):
            return seen
        return Done(
            [
                PositionState(int(row["instrument"]), int(row["qty_lots"]), int(row["cash_e8"]))
                for row in seen
                if row["kind"] == REPORT_POSITION
            ]
        )

    def balances(self) -> Done[int] | Unknown:
        """See ports/venue.py."""
        seen = self._query(ACTION_QUERY_BALANCE)
        if isinstance(seen, Unknown):
            return seen
        cash = [int(row["cash_e8"]) for row in seen if row["kind"] == REPORT_BALANCE]
        return Done(cash[0]) if cash else Unknown(_NO_ANSWER)

    def server_time(self) -> Done[int] | Unknown:
        """See ports/venue.py. The time at which the venue answered a query of the balance."""
        seen = self._query(ACTION_QUERY_BALANCE)
        return seen if isinstance(seen, Unknown) else Done(int(seen[0]["t_venue_ns"]))

    def instruments(self) -> np.ndarray:
        """See ports/venue.py."""
        return self._instruments.copy()

    def events(self) -> Iterator[np.ndarray]:
        """See ports/venue.py."""
        self._drive()
        self._collect()
        while self._waiting:
            yield self._waiting.popleft()

    def _change(
        self, action: int, answer: int, instrument: int, client_id: ClientId, **fields: int
    ) -> Done[OrderState] | Refused | Unknown:
        seen = self._ask(action, instrument, client_id, **fields)
        if isinstance(seen, Unknown):
            return seen
        refused = self._find(seen, client_id, REPORT_CANCEL_REJECT)
        if refused is not None:
            return Refused(int(refused["code"]))
        if self._find(seen, client_id, answer) is None:
            return Unknown(_NO_ANSWER)
        return self._known(instrument, client_id)

    def _known(self, instrument: int, client_id: ClientId) -> Done[OrderState] | Refused | Unknown:
        """The state of an order that the venue has just acknowledged."""
        answer = self.order(instrument, client_id)
        if isinstance(answer, Unknown):
            return answer
        return Unknown(_NO_ANSWER) if answer.value is None else Done(answer.value)

    def _query(self, action: int, aux: int = 0) -> list[np.void] | Unknown:
        """All answers of a query, without the end mark; Unknown if the end mark is missing."""
        seen = self._ask(action, 0, ClientId(0, 0), aux=aux)
        if isinstance(seen, Unknown):
            return seen
        answers = [report[0] for report in seen if report[0]["event_seq"] == 0]
        if not answers or answers[-1]["kind"] != REPORT_QUERY_END:
            return Unknown(_NO_ANSWER)
        return answers[:-1]

    @staticmethod
    def _find(seen: list[np.ndarray], client_id: ClientId, kind: int) -> np.void | None:
        """The last report of a kind about an order."""
        for report in reversed(seen):
            row = report[0]
            if int(row["kind"]) == kind and _id(row) == client_id:
                return row
        return None

    def _ask(self, action: int, instrument: int, client_id: ClientId, **fields: int) -> list[np.ndarray] | Unknown:
        """Send one request and collect what comes until the venue is through with it."""
        if not self._answered():
            return Unknown(_BEHIND)
        self._collect()
        self._request[:] = 0
        request = self._request[0]
        request["ts_ns"] = self._now_ns() + self._order_latency_ns
        request["id_hi"] = client_id.high
        request["id_lo"] = client_id.low
        request["instrument"] = instrument
        request["action"] = action
        request["order_row"] = -1
        for name, value in fields.items():
            request[name] = value
        push_order(self._wires.requests, self._request_words, 0)
        seen: list[np.ndarray] = []
        return seen if self._answered(seen) else Unknown(_NO_ANSWER)

    def _answered(self, seen: list[np.ndarray] | None = None) -> bool:
        """Drive the venue until it is through with every request; add what comes meanwhile to `seen`.

        The venue takes a request off its ring after everything it caused, so the answers are then complete.
        """
        for _ in range(self._patience):
            through = unread_time(self._wires.requests, ORDER_WORDS) < 0
            came = self._collect()
            if seen is not None:
                seen += came
            if through:
                return True
            self._drive()
        return False

    def _collect(self) -> list[np.ndarray]:
        """Take everything from the events ring; real events also wait for `events`."""
        taken: list[np.ndarray] = []
        while peek_order(self._wires.events, self._report_words, 0):
            consume(self._wires.events)
            report = self._report.copy()
            taken.append(report)
            if int(report[0]["event_seq"]) > 0:
                self._waiting.append(report)
        return taken
