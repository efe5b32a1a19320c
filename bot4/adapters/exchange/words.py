"""How a venue says what has happened: refusals of the core, and events of an account."""

from typing import Any, Protocol

from bot4.adapters.exchange.number import text_e8
from bot4.adapters.exchange.order import Fill, Order, OrderList
from bot4.adapters.exchange.refusal import NO_BALANCE, UNKNOWN_ORDER, Refused, order_refused
from bot4.adapters.exchange.symbol import Symbol
from bot4.model.enums import (
    REJECT_NAMES,
    VENUE_BALANCE,
    VENUE_DUPLICATE_ID,
    VENUE_NO_MARKET,
    VENUE_POST_ONLY,
    VENUE_STOP_WOULD_TRIGGER,
    VENUE_TOO_MANY_ORDERS,
    VENUE_UNKNOWN_ORDER,
)


class Words(Protocol):
    """One venue's words."""

    def refusal(self, is_change: bool, code: int) -> Refused:
        """What the core refused with VENUE_*: a new order, or the change of one."""

    def order(
        self, order: Order, kind: str, now_ms: int, execution_id: int, fill: Fill | None, cancel_id: str
    ) -> list[dict[str, Any]]:
        """The events of an order; kind is NEW, CANCELED, TRADE, EXPIRED, TRADE_PREVENTION or REPLACED."""

    def spent(self, order: Order, events: list[dict[str, Any]]) -> None:
        """The last trade among the events that wait filled an order by amount: let it say so."""

    def order_list(self, order_list: OrderList, now_ms: int) -> list[dict[str, Any]]:
        """The events of an order list."""

    def filled(self, order: Order, fill: Fill) -> None:
        """An order of a client has been filled: for those who keep count, before anybody is told."""

    def funding(
        self, account: int, symbol: Symbol, lots: int, mark_e8: int, rate_e8: int, paid_e8: int
    ) -> list[dict[str, Any]]:
        """A client's position, in signed lots, has paid its funding; what it received is below zero."""

    def balances(self, account: int, balances: dict[str, tuple[int, int]], now_ms: int) -> list[dict[str, Any]]:
        """The events of an account's balances, free and locked in 1e-8 by asset, after everything else."""


_REFUSALS = {
    VENUE_POST_ONLY: "Order would immediately match and take.",
    VENUE_BALANCE: NO_BALANCE,
    VENUE_DUPLICATE_ID: "Duplicate order sent.",
    VENUE_STOP_WOULD_TRIGGER: "Order would trigger immediately.",
    VENUE_NO_MARKET: "Order book liquidity is less than symbol minimum quantity.",
    VENUE_UNKNOWN_ORDER: UNKNOWN_ORDER,
    VENUE_TOO_MANY_ORDERS: "The exchange has too many open orders.",
}


class BinanceWords:
    """Binance Spot's."""

    def refusal(self, is_change: bool, code: int) -> Refused:
        """-2010, of a change -2011."""
        if is_change:
            return Refused(-2011, _REFUSALS.get(code, UNKNOWN_ORDER))
        text = _REFUSALS.get(code)
        if text is None:
            return order_refused(f"Order was rejected by the matching engine: {REJECT_NAMES.get(code, code)}.")
        return order_refused(text)

    def order(
        self, order: Order, kind: str, now_ms: int, execution_id: int, fill: Fill | None, cancel_id: str
    ) -> list[dict[str, Any]]:
        """`executionReport`."""
        return [order.event(kind, now_ms, execution_id, fill, cancel_id)]

    def spent(self, order: Order, events: list[dict[str, Any]]) -> None:
        """The order's last report is that of a filled one."""
        for event in reversed(events):
            if event.get("i") == order.order_id:
                event["X"], event["q"], event["w"] = "FILLED", text_e8(order.qty_e8), False
                break

    def order_list(self, order_list: OrderList, now_ms: int) -> list[dict[str, Any]]:
        """`listStatus`."""
        return [order_list.event(now_ms)]

    def filled(self, order: Order, fill: Fill) -> None:
        """Everything that is counted is in the order."""

    def funding(
        self, account: int, symbol: Symbol, lots: int, mark_e8: int, rate_e8: int, paid_e8: int
    ) -> list[dict[str, Any]]:
        """Coins have none."""
        return []

    def balances(self, account: int, balances: dict[str, tuple[int, int]], now_ms: int) -> list[dict[str, Any]]:
        """`outboundAccountPosition`."""
        rows = [{"a": asset, "f": text_e8(free), "l": text_e8(locked)} for asset, (free, locked) in balances.items()]
        return [{"e": "outboundAccountPosition", "E": now_ms, "u": now_ms, "B": rows}]
