"""Take-profit and stop-loss of whole positions: conditional market orders that only reduce, of the position's size."""

from bot4.adapters.exchange.bybit.entry import FALLING, RISING, Reader, trigger_type
from bot4.adapters.exchange.bybit.order import BybitOrder
from bot4.adapters.exchange.bybit.state import Ends
from bot4.adapters.exchange.bybit.words import BybitWords
from bot4.adapters.exchange.order import Order
from bot4.adapters.exchange.refusal import Refused
from bot4.adapters.exchange.symbol import Symbol
from bot4.adapters.exchange.venue import Account, Venue


class Keeper:
    """Keeps the ends of positions in step with them, and tells of positions that have moved."""

    def __init__(self, venue: Venue, words: BybitWords, reader: Reader) -> None:
        self._venue = venue
        self._words = words
        self._reader = reader
        venue.on_fills = self._on_fills

    def _on_fills(self, orders: list[Order]) -> None:
        moved = {(order.account, order.symbol.index): order for order in orders if order.symbol.is_linear}
        for order in moved.values():
            account, symbol = self._venue.accounts[order.account], order.symbol
            state = self._words.states[account.index]
            lots = self._words.states.position(account, symbol).lots
            if lots:
                state.created_ms.setdefault(symbol.index, self._venue.now_ms())
            self.tell(account, symbol)
            if not lots:
                state.realised_e8[symbol.index] = self._words.states.realised_e8(account, symbol)
                state.created_ms.pop(symbol.index, None)
            self.follow(account, symbol)

    def tell(self, account: Account, symbol: Symbol) -> None:
        """The position as it is, to those who hear of it."""
        if account.listeners:
            event = self._words.position(account, symbol)
            for listener in account.listeners:
                listener(event)

    def follow(self, account: Account, symbol: Symbol) -> None:
        """Orders of both ends are what position and prices ask for."""
        states = self._words.states
        ends = states[account.index].ends.get(symbol.index)
        if ends is None:
            return
        # either may close the position at once, which comes back here
        lots = states.position(account, symbol).lots
        price_e8 = ends.take_profit_e8 if lots else 0
        ends.take_profit = self._keep(account, symbol, lots, ends.take_profit, price_e8, "TakeProfit")
        lots = states.position(account, symbol).lots
        price_e8 = ends.stop_loss_e8 if lots else 0
        ends.stop_loss = self._keep(account, symbol, lots, ends.stop_loss, price_e8, "StopLoss")
        if not states.position(account, symbol).lots:
            states[account.index].ends.pop(symbol.index, None)

    def _keep(
        self, account: Account, symbol: Symbol, lots: int, order: BybitOrder | None, price_e8: int, name: str
    ) -> BybitOrder | None:
        is_buy = lots < 0
        qty_e8 = abs(lots) * symbol.lot_e8
        if order is not None and order.is_open:
            if not order.is_waiting:
                return order  # it is closing the position right now
            if price_e8 and lots and order.is_buy == is_buy:
                if (order.qty_e8, order.stop_e8) == (qty_e8, price_e8):
                    return order
                try:
                    self._venue.amend(account, order, qty_e8, stop_e8=price_e8)
                    return order
                except Refused:  # the market has reached the new price
                    pass
            order.cancel_type = "CancelByTpSlTsClear"
            self._venue.cancel(account, order)
        if not price_e8 or not lots:
            return None
        return self._place(account, symbol, is_buy, qty_e8, price_e8, name)

    def _place(
        self, account: Account, symbol: Symbol, is_buy: bool, qty_e8: int, price_e8: int, name: str
    ) -> BybitOrder | None:
        direction = RISING if is_buy == (name == "StopLoss") else FALLING
        for kind in (trigger_type(is_buy, direction, limited=False), "MARKET"):  # at once where the price is reached
            order = self._reader.new(account, symbol, is_buy, kind)
            order.qty_e8, order.reduce_only, order.close_on_trigger = qty_e8, True, True
            order.create_type = f"CreateBy{name}"
            order.stop_type = name
            if kind != "MARKET":
                order.stop_e8, order.trigger_direction, order.trigger_by = price_e8, direction, "LastPrice"
            try:
                self._venue.place(account, order)
            except Refused:
                continue
            return order
        return None

    def set(self, account: Account, symbol: Symbol, profit_e8: int | None, loss_e8: int | None) -> None:
        """Other prices for both ends; None leaves one, 0 takes it away."""
        ends = self._words.states[account.index].ends.setdefault(symbol.index, Ends())
        if profit_e8 is not None:
            ends.take_profit_e8 = profit_e8
        if loss_e8 is not None:
            ends.stop_loss_e8 = loss_e8
        self.follow(account, symbol)
        self.tell(account, symbol)
