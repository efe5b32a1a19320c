"""One recorded market and one account's orders through both matching cores: a session's venue and the exchange.

The market is told in the venue's order: a trade before the change that holds it. Behind each change lies a pause in
which the book is told once more as it is: that is what a session's venue waits for, whose streams overtake each other.
"""

from decimal import Decimal
from pathlib import Path

import numpy as np
from rig.exchange_recorded import RecordedDesk

from bot4.adapters.exchange.recorded import Recording
from bot4.adapters.exchange.symbol import default_symbols
from bot4.kernels.matching.market import handle_tick
from bot4.kernels.matching.request import handle_request
from bot4.kernels.matching.state import matching_memory
from bot4.model import enums as e
from bot4.model.queue import read_queue
from bot4.model.records import INSTRUMENT, ORDER_INTENT, TICK, words
from bot4.ports.feed import BookChange, Level, Trade

BTC = "BTCUSDT"
TICK_SIZE, LOT_SIZE = Decimal("0.01"), Decimal("0.00001")
PAUSE_NS = 2_100_000_000  # longer than a trade explains a decrease
MS = 1_000_000
Book = dict[int, dict[int, int]]  # side, price in ticks: lots


class TwoCores:
    """Both cores with the same past; `fills` of each are (order, price, lots), in order."""

    def __init__(self, folder: Path, book: Book, queue: str = "risk-averse") -> None:
        self.book: Book = {side: dict(levels) for side, levels in book.items()}
        self.now = 1_000_000_000
        self.update = 1
        self.orders = 0
        self.fills: tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]] = ([], [])
        model = read_queue(queue)
        assert model is not None
        whole = BookChange(BTC, True, self._levels(self.book[1]), self._levels(self.book[-1]), None, 1, self.now)
        rest = BookChange(BTC, False, [], [], 1, 1, 2**62)  # the recording has not ended
        symbols = [symbol for symbol in default_symbols() if symbol.name == BTC]
        events = [(self.now, whole), (2**62, rest)]
        self.desk = RecordedDesk(folder, Recording(symbols, events, model), accounts=1)
        self.symbol = self.desk.symbols[BTC]
        self._market = self.desk.made.market.symbols[BTC]
        self._heard = 0
        self.instruments = np.zeros(1, INSTRUMENT)
        row = self.instruments[0]
        row["tick_e8"], row["lot_e8"], row["value_e8"] = 10**6, 10**3, 10
        row["min_qty_lots"], row["max_qty_lots"] = 1, 10**9
        self.memory = matching_memory(1, 10**16, queue=model)
        self._tick, self._request = np.zeros(1, TICK), np.zeros(1, ORDER_INTENT)
        self._number = 0
        self._record(e.TICK_STATUS, e.FLAG_SNAPSHOT, e.STATUS_CLEAR)
        for side, levels in self.book.items():
            for price, lots in levels.items():
                self._record(e.TICK_LEVEL, e.FLAG_SNAPSHOT, price, lots, side)
        self._record(e.TICK_STATUS, e.FLAG_SNAPSHOT | e.FLAG_LAST, e.STATUS_WHOLE)

    @staticmethod
    def _levels(levels: dict[int, int]) -> list[Level]:
        return [(price * TICK_SIZE, lots * LOT_SIZE) for price, lots in levels.items()]

    def _record(self, kind: int, flags: int, *values: int) -> None:
        w = (*values, 0, 0, 0, 0)[:4]
        self._number += 1
        self._tick[0] = (self.now, 0, 0, kind, flags, *w, self._number, 0, 0)
        handle_tick(self.memory, self.instruments, self._tick[0])
        self._drain()

    def _drain(self) -> None:
        desk = self.memory.desk[0]
        for event in self.memory.events[: desk["n_events"]]:
            if event["kind"] == e.REPORT_FILL:
                self.fills[0].append((int(event["id_lo"]), int(event["price_ticks"]), int(event["qty_lots"])))
        desk["n_events"] = desk["n_entries"] = 0

    def _hear(self) -> None:
        said = self.desk.events[0]
        for event in said[self._heard :]:
            if event.get("x") == "TRADE":
                price, lots = Decimal(event["L"]) / TICK_SIZE, Decimal(event["l"]) / LOT_SIZE
                self.fills[1].append((int(event["c"][1:]), int(price), int(lots)))
        self._heard = len(said)

    # --- what happens ---

    def _exchange(self, event: BookChange | Trade) -> None:
        self.desk.now_ns += MS
        self.desk.venue.begin()
        self._market.take(self.now, event)
        self._hear()

    def trade(self, price: int, lots: int, aggressor: int) -> None:
        """A trade of the recording; the book is told later."""
        self.now += MS
        self._record(e.TICK_TRADE, e.FLAG_LAST, price, lots, 0, aggressor)
        qty = lots * LOT_SIZE
        self._exchange(Trade(BTC, price * TICK_SIZE, qty, aggressor, str(self.update), self.now))

    def change(self, levels: list[tuple[int, int, int]], pause: bool = True) -> None:
        """Levels (side, price, lots) of the recording as they are now, and a pause."""
        self.now += MS
        for side, price, lots in levels:
            self.book[side].pop(price, None)
            if lots:
                self.book[side][price] = lots
        self._change(levels)
        if pause:
            for _ in range(2):
                self.now += PAUSE_NS
                self._change([(1, *max(self.book[1].items()))])

    def _change(self, levels: list[tuple[int, int, int]]) -> None:
        for number, (side, price, lots) in enumerate(levels):
            self._record(e.TICK_LEVEL, e.FLAG_LAST if number == len(levels) - 1 else 0, price, lots, side)
        told = {side: {price: lots for at, price, lots in levels if at == side} for side in (1, -1)}
        before, self.update = self.update, self.update + 1
        bids, asks = self._levels(told[1]), self._levels(told[-1])
        self._exchange(BookChange(BTC, False, bids, asks, before, self.update, self.now))

    def place(self, side: int, price: int, lots: int) -> int:
        """A limit order that rests if it cannot trade; price 0: a market order. Returns its number."""
        self.now += MS
        self.orders += 1
        self._ask(e.ACTION_PLACE, self.orders, side=side, price_ticks=price, qty_lots=lots)
        names = {"newClientOrderId": f"o{self.orders}"}
        self.desk.now_ns += MS
        if price:
            text = str(price * TICK_SIZE), str(lots * LOT_SIZE)
            self.desk.limit(0, "BUY" if side > 0 else "SELL", *text, **names)
        else:
            self.desk.market(0, "BUY" if side > 0 else "SELL", quantity=str(lots * LOT_SIZE), **names)
        self._hear()
        return self.orders

    def cancel(self, number: int) -> None:
        """An order that may be open."""
        self.now += MS
        self._ask(e.ACTION_CANCEL, number)
        self.desk.now_ns += MS
        self.desk.signed(0, "DELETE", "order", symbol=BTC, origClientOrderId=f"o{number}")

    def _ask(self, action: int, number: int, **fields: int) -> None:
        self._request[:] = 0
        row = self._request[0]
        row["ts_ns"], row["action"], row["id_hi"], row["id_lo"], row["order_row"] = self.now, action, 1, number, -1
        is_limit = fields.get("price_ticks", 0) > 0
        row["type"], row["tif"] = (e.TYPE_LIMIT, e.TIF_GTC) if is_limit else (e.TYPE_MARKET, e.TIF_IOC)
        for name, value in fields.items():
            row[name] = value
        handle_request(self.memory, self.instruments, row, words(self._request))
        self._drain()

    def places(self) -> tuple[dict[int, int], dict[int, int]]:
        """Lots of others in front of each order that waits, by its number: as each core has it."""
        orders = [self.memory.orders[row] for row in self.memory.listed[0][: self.memory.seats[0]["n_listed"]]]
        ours = {int(order["id_lo"]): int(order["queue_lots"]) for order in orders if order["open"]}
        theirs = {}
        for row in self.desk.done(0, "GET", "openOrders", symbol=BTC):
            price = int(Decimal(row["price"]) / TICK_SIZE)
            ahead = 0
            for _, account, _, lots, _ in self.desk.venue.core.queue(self.symbol, row["side"] == "BUY", price):
                if account != self._market._account.index:
                    break
                ahead += lots
            theirs[int(row["clientOrderId"][1:])] = ahead
        return ours, theirs

    def ahead(self) -> dict[int, int]:
        """The same where both are of one mind."""
        ours, theirs = self.places()
        assert ours == theirs
        return ours
