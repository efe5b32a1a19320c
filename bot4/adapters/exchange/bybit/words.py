"""How Bybit says what has happened: rows of the private topics `order`, `execution`, `position` and `wallet`."""

from typing import Any

from bot4.adapters.exchange.bybit.order import BybitOrder, funding_row
from bot4.adapters.exchange.bybit.refusal import of_core
from bot4.adapters.exchange.bybit.state import Ends, States, rates_ppm
from bot4.adapters.exchange.bybit.text import trade_text
from bot4.adapters.exchange.order import Fill, Order, OrderList
from bot4.adapters.exchange.refusal import Refused
from bot4.adapters.exchange.symbol import Symbol
from bot4.adapters.exchange.venue import Account, Venue


def event(topic: str, row: dict[str, Any]) -> dict[str, Any]:
    """One row for those who hear a topic."""
    return {"topic": topic, "row": row}


class BybitWords:
    """Bybit's."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._fundings = 0
        self.states = States(venue)

    def refusal(self, is_change: bool, code: int) -> Refused:
        """retCode and retMsg."""
        return of_core(code)

    def order(
        self, order: Order, kind: str, now_ms: int, execution_id: int, fill: Fill | None, cancel_id: str
    ) -> list[dict[str, Any]]:
        """The order as it is now, and the fill that made it so."""
        assert isinstance(order, BybitOrder)
        if fill is None:
            fired = kind == "NEW" and order.stop_e8 and order.working_ms >= 0
            return [event("order", order.row("Triggered" if fired else ""))]
        account = self._venue.accounts[order.account]
        leaves_e8 = max(0, order.qty_e8 - order.executed_e8 - order.prevented_e8)
        ppm = rates_ppm(account)[not fill.maker]
        return [event("execution", order.execution(fill, leaves_e8, ppm)), event("order", order.row())]

    def filled(self, order: Order, fill: Fill) -> None:
        """Fees of contracts, and what the order wants to become of the position."""
        assert isinstance(order, BybitOrder)
        order.fee_e8 += fill.fee_e8
        if order.symbol.is_linear:
            index, state = order.symbol.index, self.states[order.account]
            state.fees_e8[index] = state.fees_e8.get(index, 0) + fill.fee_e8
            if order.take_profit_e8 or order.stop_loss_e8:
                ends = state.ends.setdefault(index, Ends())
                ends.take_profit_e8 = order.take_profit_e8 or ends.take_profit_e8
                ends.stop_loss_e8 = order.stop_loss_e8 or ends.stop_loss_e8

    def spent(self, order: Order, events: list[dict[str, Any]]) -> None:
        """The order's last row is that of a filled one."""
        assert isinstance(order, BybitOrder)
        for one in reversed(events):
            if one["topic"] == "order" and one["row"]["orderId"] == order.text_id:
                one["row"] = order.row()
                break

    def order_list(self, order_list: OrderList, now_ms: int) -> list[dict[str, Any]]:
        """There are no lists, so there are no events of them."""
        return []

    def funding(
        self, account: int, symbol: Symbol, lots: int, mark_e8: int, rate_e8: int, paid_e8: int
    ) -> list[dict[str, Any]]:
        """An execution of its own kind."""
        state = self.states[account]
        state.fees_e8[symbol.index] = state.fees_e8.get(symbol.index, 0) + paid_e8
        self._fundings += 1
        number = trade_text(0, "funding", self._fundings)
        row = funding_row(symbol, number, self._venue.now_ms(), lots, mark_e8, rate_e8, paid_e8)
        state.fundings.append((self._venue.now_ms(), row))
        return [event("execution", row)]

    def balances(self, account: int, balances: dict[str, tuple[int, int]], now_ms: int) -> list[dict[str, Any]]:
        """The wallet, with the coins that have changed."""
        return [event("wallet", self.states.wallet_row(self._venue.accounts[account], list(balances)))]

    def position(self, account: Account, symbol: Symbol) -> dict[str, Any]:
        """A position as the stream tells of it."""
        row = self.states.position_row(account, symbol)
        row["entryPrice"] = row.pop("avgPrice")
        return event("position", row | {"category": symbol.category})
