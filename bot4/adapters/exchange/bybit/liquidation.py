"""Liquidation: an account whose contracts need more than it is worth loses its orders, then its positions.

Looked at before whatever is asked, and each turn, once prices or positions have moved. What an account is worth is what
margin is reckoned from: USDT and what its positions have won or lost at the mark price. If that is no more than the
maintenance margin, its open orders of contracts end, for they may be what nothing is left for; then each position is
closed by an order of the venue that takes what the book offers, those that have won first. The insurance fund pays what
the account has not. What the book does not offer stays, and is tried again.
"""

from bot4.adapters.exchange.bybit.entry import Reader
from bot4.adapters.exchange.bybit.state import SETTLE, States
from bot4.adapters.exchange.refusal import Refused
from bot4.adapters.exchange.symbol import Symbol
from bot4.adapters.exchange.venue import Account, Venue


class Liquidator:
    """Watches all accounts of a venue."""

    def __init__(self, venue: Venue, states: States, reader: Reader) -> None:
        self._venue, self._states, self._reader = venue, states, reader
        self._contracts = [symbol for symbol in venue.by_index if symbol.is_linear]
        self._seen: tuple[int, ...] = ()
        venue.on_begin = self.look

    def look(self) -> None:
        """Liquidate whoever is due, if anything has moved."""
        moved = self._venue.moves, *(self._states.mark_e8(symbol) for symbol in self._contracts)
        if moved == self._seen:
            return
        self._seen = moved
        for account in self._venue.accounts:
            if not account.is_agent and self._is_due(account):
                self._liquidate(account)

    def _is_due(self, account: Account) -> bool:
        margin = self._states.margin(account)
        if not margin.maintenance_e8:
            return False
        free_e8, locked_e8 = self._venue.balance(account, SETTLE)
        return free_e8 + locked_e8 + margin.profit_e8 <= margin.maintenance_e8

    def _liquidate(self, account: Account) -> None:
        for order in list(account.open.values()):
            if order.symbol.is_linear and order.is_open:
                order.cancel_type = "CancelAllBeforeLiq"  # type: ignore[attr-defined]
                self._venue.cancel(account, order)
        held = [symbol for symbol in self._contracts if self._states.position(account, symbol).lots]
        account.is_liquidated = True
        for symbol in sorted(held, key=lambda one: -self._states.profit_e8(account, one)):
            self._close(account, symbol)
        account.is_liquidated = False

    def _close(self, account: Account, symbol: Symbol) -> None:
        lots = self._states.position(account, symbol).lots
        bid, ask = self._venue.best(symbol)
        if symbol.status != "TRADING" or not (ask if lots < 0 else bid)[1]:
            self._seen = ()  # nobody is there to take it
            return
        order = self._reader.new(account, symbol, lots < 0, "MARKET")
        order.qty_e8, order.reduce_only = abs(lots) * symbol.lot_e8, True
        order.create_type, order.exec_type = "CreateByLiq", "BustTrade"
        try:
            self._venue.place(account, order)
        except Refused:
            self._seen = ()
