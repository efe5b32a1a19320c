"""The venue: accounts, orders with their texts and history, and what everybody is told, over the matching core.

The core knows numbers and amounts; here are names, times and events, which the protocol puts into words. Whatever
happens goes through `_apply`: the ledger first, then the order's state, then those who listen.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from bot4.adapters.exchange.commission import COUNTED_IN, FeeToken, Rates
from bot4.adapters.exchange.core import Core, CoreEvent, OrderWish, value_of
from bot4.adapters.exchange.ledger import Ledger
from bot4.adapters.exchange.limit import FILLED_MAKER, FILLED_TAKER, Limits, OrderLimit
from bot4.adapters.exchange.market import Aggregate, Tape, Trade
from bot4.adapters.exchange.number import text_e8
from bot4.adapters.exchange.order import Fill, Order, OrderList
from bot4.adapters.exchange.refusal import Refused
from bot4.adapters.exchange.symbol import Symbol
from bot4.adapters.exchange.words import BinanceWords, Words
from bot4.kernels.exchange.state import AT_LIST
from bot4.model.enums import (
    REJECT_NAMES,
    REPORT_ACK,
    REPORT_CANCEL_REJECT,
    REPORT_CANCELED,
    REPORT_EXPIRED,
    REPORT_FILL,
    REPORT_LIST_DONE,
    REPORT_LIST_STARTED,
    REPORT_PREVENTED,
    REPORT_REJECT,
    REPORT_REPLACED,
    REPORT_TRIGGERED,
    VENUE_SELF_TRADE,
    VENUE_SPENT,
)

HISTORY = 50_000  # finished orders of one account that can still be asked for
PREVENTED = 1_000
LISTS = 10_000  # finished order lists of one account that can still be asked for
_DAY_MS = 86_400_000
_STATUS = {
    REPORT_ACK: "accepted", REPORT_FILL: "filled", REPORT_CANCELED: "canceled", REPORT_EXPIRED: "expired",
    REPORT_TRIGGERED: "triggered", REPORT_REPLACED: "replaced", REPORT_PREVENTED: "prevented",
    REPORT_REJECT: "rejected", REPORT_CANCEL_REJECT: "change_refused",
}  # fmt: skip
_TYPE_NAMES = {
    "MARKET": "market", "LIMIT": "limit", "LIMIT_MAKER": "limit", "STOP_LOSS": "stop_market",
    "STOP_LOSS_LIMIT": "stop_limit", "TAKE_PROFIT": "take_profit", "TAKE_PROFIT_LIMIT": "take_profit_limit",
}  # fmt: skip


class Account:
    """One account: its orders, and who listens to it."""

    def __init__(self, index: int, name: str, limits: Limits, rates: Rates, is_agent: bool) -> None:
        self.index = index
        self.name = name
        self.rates = rates
        self.key_faults: tuple[str, ...] = ()  # see owner
        self.is_agent = is_agent  # a part of the market: nobody asks for its past
        self.is_liquidated = False  # right now: what it owes is not its own any more
        self.limit = OrderLimit(limits)
        self.open: dict[int, Order] = {}
        self.by_client: dict[str, Order] = {}
        self.history: deque[Order] = deque()
        self.lists: dict[int, OrderList] = {}
        self.open_lists: dict[int, OrderList] = {}
        self.list_history: deque[OrderList] = deque()
        self.used_ids: dict[str, int] = {}  # of orders, by the time of their use; kept where they may be used but once
        self.lists_by_client: dict[str, OrderList] = {}
        self.trades: deque[tuple[Order, Fill]] = deque(maxlen=HISTORY)
        self.prevented: deque[dict] = deque(maxlen=PREVENTED)
        self.listeners: list[Callable[[dict], None]] = []
        self.update_ms = 0

    def has_used(self, client_id: str, now_ms: int) -> bool:
        """Whether an order had that id within a day; what is older is forgotten."""
        used = self.used_ids
        while used:
            first = next(iter(used))
            if used[first] > now_ms - _DAY_MS:
                break
            del used[first]
        return client_id in used

    def find(
        self, symbol: Symbol, order_id: int | None, client_id: str | None, orders: dict[int, Order]
    ) -> Order | None:
        """An order of this account, open or finished."""
        order = orders.get(order_id) if order_id is not None else self.by_client.get(client_id or "")
        if order is None or order.account != self.index or order.symbol is not symbol:
            return None
        if client_id is not None and order.client_id != client_id:
            return None
        return order


class Venue:
    """Everything of the exchange but its connections."""

    def __init__(
        self,
        symbols: list[Symbol],
        accounts: list[Account],
        balances: list[dict[str, int]],
        limits: Limits,
        ledger: Ledger,
        now_ns: Callable[[], int],
        seed: int = 0,
        token: FeeToken | None = None,
    ) -> None:
        """`balances` : start balance of every account by asset, in 1e-8; `token` : what fees may be paid in too."""
        self.symbols = {symbol.name: symbol for symbol in symbols}
        self.by_index = symbols
        self.token = token
        assets = {asset for symbol in symbols for asset in (symbol.base, symbol.quote)}
        self.assets = sorted(assets if token is None else assets | {token.asset})
        self.asset_index = {asset: index for index, asset in enumerate(self.assets)}
        self.accounts = accounts
        self.limits = limits
        self.ledger = ledger
        self.words: Words = BinanceWords()
        self.clock_ns = now_ns
        self.skew_ms = 0
        self.lag_ms = 0  # how old what queries of orders and trades show is
        self.is_closed = False  # for maintenance
        self.client_ids_once = False
        self._closed: list[list[str]] = [[] for _ in symbols]  # why symbols do not trade
        self._timers: dict[tuple[int, int], int] = {}  # dead-man's switches: account and symbol or -1, to ms
        self.core = Core(symbols, self.assets, [account.rates for account in accounts], token)
        start_ms = self.now_ms()
        self._graded_hour = 0
        self.tapes = [Tape(symbol.name, symbol.start_price_e8, start_ms) for symbol in symbols]
        self.orders: dict[int, Order] = {}
        self.shown: list[dict[tuple[bool, int], int]] = [{} for _ in symbols]  # the book by (bid, price)
        self.changed: list[dict[tuple[bool, int], int]] = [{} for _ in symbols]  # and what of it, since it was told
        self.update_ids = [1 for _ in symbols]
        self.book_account = -1  # the account whose orders are the recorded book: known to the core alone
        self.on_trades: Callable[[list[tuple[Symbol, Trade, Aggregate]]], None] = lambda trades: None
        self.on_taken: Callable[[Symbol, bool, int], None] | None = None  # an order of a client took so much, 1e-8
        self.on_book: Callable[[Symbol], None] = lambda symbol: None
        self.on_fills: Callable[[list[Order]], None] = lambda orders: None  # of clients, when everything is told
        self.on_begin: Callable[[], None] = lambda: None  # what else is due before a request
        self.moves = 0  # fills and fundings so far
        self._seed = seed
        self._next_order = 1
        self._next_list = 1
        self._next_execution = 1
        self._trade_ids = [0 for _ in symbols]
        self._core_trade = 0
        self._pending: dict[int, Order] = {}
        self._pending_lists: dict[int, OrderList] = {}
        self._scales = [
            {"tick_e8": symbol.tick_e8, "lot_e8": symbol.lot_e8, "value_e8": symbol.value_e8} for symbol in symbols
        ]
        self._paid_in_e8 = dict.fromkeys(self.assets, 0)
        now = self.clock_ns()
        for account, amounts in zip(accounts, balances, strict=True):
            for asset, amount_e8 in amounts.items():
                self._paid_in_e8[asset] += amount_e8
                self.core.deposit(now, account.index, self.asset_index[asset], amount_e8)
                ledger.add(now, "balance", account=account.name, asset=asset, reason="start", free_e8=amount_e8,
                           locked_e8=0)  # fmt: skip
        ledger.flush()

    # --- time and names ---

    def now_ms(self) -> int:
        """The venue's clock, wrong by whatever a scenario says."""
        return self.clock_ns() // 1_000_000 + self.skew_ms

    def symbol(self, name: str) -> Symbol:
        """A symbol by its name, or -1121."""
        found = self.symbols.get(name)
        if found is None:
            raise Refused(-1121, "Invalid symbol.")
        return found

    def order_number(self) -> int:
        """A number for an order that comes."""
        number = self._next_order
        self._next_order += 1
        return number

    def grade(self) -> None:
        """What accounts pay by their turnover until now."""
        hour = self.now_ms() // 3_600_000
        if hour != self._graded_hour:
            self._graded_hour = hour
            for account in self.accounts:
                self._grade(account)

    def _grade(self, account: Account) -> None:
        if account.rates.grade(self.now_ms()):
            self.core.set_rates(account.index, account.rates)

    def pay_in_token(self, account: Account, wanted: bool) -> None:
        """Whether an account pays fees in the token, as long as it has enough of it."""
        account.rates.pays_token = wanted
        self.core.set_rates(account.index, account.rates)

    def made_id(self, number: int) -> str:
        """A client id for what came without one: 22 letters and digits, the same for the same seed."""
        return hashlib.blake2b(f"{self._seed}.{number}".encode(), digest_size=11).hexdigest()

    # --- what accounts do ---

    def place(self, account: Account, order: Order) -> list[Fill]:
        """Send an order in; the fills it made at once. Refused if the core does not take it."""
        self._pending[order.order_id] = order
        self.grade()
        now = self.clock_ns()
        try:
            self._apply(now, self.core.place(now, _wish(order)))
        finally:
            self._pending.pop(order.order_id, None)
        return list(order.fills)

    def place_list(self, account: Account, order_list: OrderList) -> None:
        """Send an order list in, whole."""
        self._pending_lists[order_list.list_id] = order_list
        for order in order_list.orders:
            self._pending[order.order_id] = order
        self.grade()
        now = self.clock_ns()
        try:
            events = self.core.place_list(
                now, order_list.contingency_kind, order_list.list_id, [_wish(order) for order in order_list.orders]
            )
            self._apply(now, events)
        finally:
            self._pending_lists.pop(order_list.list_id, None)
            for order in order_list.orders:
                self._pending.pop(order.order_id, None)

    def turn_away(self, account: Account, order: Order, reason: int) -> None:
        """An order that the core does not take, at a venue that takes every order first: it has ended at once."""
        now = self.clock_ns()
        now_ms = self.now_ms()
        order.status, order.reason, order.update_ms = "EXPIRED", reason, now_ms
        self.orders[order.order_id] = order
        if order.client_id:
            account.by_client[order.client_id] = order
        self._finish(account, order)
        news = [(account, event) for event in self.words.order(order, "EXPIRED", now_ms, 0, None, "")]
        self._tell(now, now_ms, news, {})

    def cancel(self, account: Account, order: Order, cancel_id: str = "") -> None:
        """Cancel an order; of a list, every order of it."""
        now = self.clock_ns()
        self._apply(now, self.core.cancel(now, account.index, order.symbol, order.order_id), cancel_id)

    def amend(self, account: Account, order: Order, qty_e8: int = 0, price_e8: int = 0, stop_e8: int = 0) -> None:
        """Another quantity, price or trigger; 0 leaves each. A smaller quantity alone keeps its place in the queue."""
        now = self.clock_ns()
        events = self.core.amend(now, account.index, order.symbol, order.order_id, qty_e8, price_e8, stop_e8)
        self._apply(now, events)

    def cancel_all(self, account: Account, symbol: Symbol | None = None) -> None:
        """Cancel every order of an account, of a symbol or of all: stops and lists too."""
        now = self.clock_ns()
        self._apply(now, self.core.cancel_all(now, account.index, symbol))

    def _expire_all(self, account: Account) -> None:
        """The venue, not the client, ends every order of an account: they expire."""
        now = self.clock_ns()
        events = self.core.cancel_all(now, account.index, None)
        self._apply(
            now,
            [one._replace(kind=REPORT_EXPIRED) if one.kind == REPORT_CANCELED else one for one in events],
        )

    # --- what happens by itself ---

    def fund(self, symbol: Symbol, rate_e8: int, mark_e8: int) -> None:
        """Funding of a contract is settled: each account's position pays or receives, and is told so."""
        now = self.clock_ns()
        now_ms = self.now_ms()
        news: list[tuple[Account, dict]] = []
        self.moves += 1
        for event in self.core.fund(now, symbol, rate_e8, mark_e8):
            account = self.accounts[event.account]
            free_e8, locked_e8 = self.balance(account, symbol.quote)
            self.ledger.add(now, "balance", account=account.name, asset=symbol.quote, reason="funding", free_e8=free_e8,
                            locked_e8=locked_e8, symbol=symbol.name, contract=symbol.category, rate_e8=rate_e8,
                            scale=self._scales[symbol.index], price_ticks=event.last_ticks, qty_lots=event.last_lots,
                            fee_e8=event.fee_e8)  # fmt: skip
            if not account.is_agent:
                account.update_ms = now_ms
                told = self.words.funding(account.index, symbol, event.last_lots, mark_e8, rate_e8, event.fee_e8)
                news.extend((account, one) for one in told)
                news.extend(
                    (account, one)
                    for one in self.words.balances(account.index, {symbol.quote: (free_e8, locked_e8)}, now_ms)
                )
        self._tell(now, now_ms, news, {})

    def cancel_unless_renewed(self, account: Account, at_ms: int | None, symbol: Symbol | None = None) -> None:
        """A dead-man's switch: at a time of the venue's clock every order of the account ends, of a symbol or of all.

        Each call takes the place of the one before for the same symbol; None takes the switch away.
        """
        key = account.index, -1 if symbol is None else symbol.index
        if at_ms is None:
            self._timers.pop(key, None)
        else:
            self._timers[key] = at_ms

    def begin(self) -> None:
        """Before a request, and now and then: what is due by the clock is done first."""
        now_ms = self.now_ms()
        for key, at_ms in sorted(self._timers.items(), key=lambda timer: (timer[1], timer[0])):
            if at_ms <= now_ms:
                del self._timers[key]
                self.cancel_all(self.accounts[key[0]], None if key[1] < 0 else self.by_index[key[1]])
        self.on_begin()

    def _insure(self, now_ns: int, account: Account, asset: str) -> None:
        """What an account owes that has no position any more, or is just losing its own, the insurance fund pays."""
        free_e8, locked_e8 = self.balance(account, asset)
        if free_e8 >= 0 or account.is_agent:
            return
        of_asset = (symbol for symbol in self.by_index if symbol.is_linear and symbol.quote == asset)
        if not account.is_liquidated and any(self.core.position(account.index, symbol).lots for symbol in of_asset):
            return
        self.core.deposit(now_ns, account.index, self.asset_index[asset], -free_e8)
        self._paid_in_e8[asset] -= free_e8
        self.ledger.add(now_ns, "balance", account=account.name, asset=asset, reason="insurance", free_e8=0,
                        locked_e8=locked_e8, amount_e8=-free_e8)  # fmt: skip

    def close(self, symbol: Symbol, status: str, is_on: bool) -> None:
        """A symbol is not traded from now on, or no longer for this reason; others may go on."""
        reasons = self._closed[symbol.index]
        if is_on:
            reasons.append(status)
        else:
            reasons.remove(status)
        symbol.status = reasons[-1] if reasons else "TRADING"

    def maintain(self, is_on: bool, cancels_orders: bool) -> None:
        """The venue closes for maintenance, or opens again; its orders rest meanwhile, or end as it closes."""
        self.is_closed = is_on
        for symbol in self.by_index:
            self.close(symbol, "BREAK", is_on)
        if is_on and cancels_orders:
            for account in self.accounts:
                if account.index != self.book_account:  # the recording goes on
                    self._expire_all(account)

    def new_list_number(self) -> int:
        """A number for an order list that comes."""
        number = self._next_list
        self._next_list += 1
        return number

    # --- what a recorded market does ---

    def tell_book(self, symbol: Symbol, touched: Iterable[tuple[bool, int]]) -> None:
        """The book's own account has changed its orders at these prices (side, 1e-8): tell those who listen."""
        levels = {(symbol.index, is_bid, price_e8): None for is_bid, price_e8 in touched}
        if self._look(levels):
            self.on_book(symbol)

    def tell_trade(self, symbol: Symbol, price_ticks: int, lots: int, buyer_maker: bool) -> None:
        """Others have traded among themselves: on the tape, and for whoever waits for the price."""
        now_ns = self.clock_ns()
        self._trade_ids[symbol.index] += 1
        number = self._trade_ids[symbol.index]
        now_ms = now_ns // 1_000_000 + self.skew_ms
        trade = Trade(number, price_ticks * symbol.tick_e8, lots * symbol.lot_e8, now_ms, buyer_maker, 0, 0)
        self.on_trades([(symbol, trade, self.tapes[symbol.index].add(trade, -number))])
        self._apply(now_ns, self.core.trade_elsewhere(now_ns, symbol, price_ticks))

    def _of_book(self, event: CoreEvent) -> Order:
        """An order of the recorded book, as much of it as is needed where it trades."""
        symbol = self.by_index[event.instrument]
        return Order(
            symbol, event.client_id, f"m{event.client_id}", event.account, event.side > 0, "LIMIT", "GTC",
            event.price_ticks * symbol.tick_e8, event.qty_lots * symbol.lot_e8, 0, 0, "NONE", 0,
        )  # fmt: skip

    # --- what is asked ---

    def balance(self, account: Account, asset: str) -> tuple[int, int]:
        """Free and locked, 1e-8."""
        return self.core.balance(account.index, self.asset_index[asset])

    def average_e8(self, symbol: Symbol, minutes: int) -> int:
        """The average price of the last minutes."""
        return self.tapes[symbol.index].average_e8(self.now_ms(), minutes)

    def best(self, symbol: Symbol) -> tuple[tuple[int, int], tuple[int, int]]:
        """Best bid and ask as price and quantity in 1e-8; zeros for a side that is empty."""
        bids = self.core.depth(symbol, True, 1)
        asks = self.core.depth(symbol, False, 1)
        return bids[0] if bids else (0, 0), asks[0] if asks else (0, 0)

    def money(self) -> dict[str, dict[str, int]]:
        """Every asset: what was paid in, and what accounts and fees hold; the two are equal or something is wrong.

        An account holds a position at its cost, which its balance has not paid: what positions are worth is nobody's
        until they are closed.
        """
        found = {}
        for asset, index in self.asset_index.items():
            held_e8 = sum(sum(self.core.balance(account.index, index)) for account in self.accounts)
            for symbol in self.by_index:
                if symbol.is_linear and symbol.quote == asset:
                    costs = [self.core.position(account.index, symbol).cost_e8 for account in self.accounts]
                    held_e8 -= sum(costs)
            found[asset] = {"paid_in_e8": self._paid_in_e8[asset], "held_e8": held_e8, "fees_e8": self.core.fees(index)}
        return found

    # --- what happened ---

    def _apply(self, now_ns: int, events: list[CoreEvent], cancel_id: str = "") -> None:
        """Ledger, state, then news. Raises Refused if the command itself was refused."""
        now_ms = now_ns // 1_000_000 + self.skew_ms
        refusal: Refused | None = None
        news: list[tuple[Account, dict]] = []
        changed: dict[tuple[int, str], None] = {}
        trades: list[tuple[Symbol, Trade, int]] = []
        touched: dict[tuple[int, bool, int], None] = {}
        taken: dict[tuple[int, bool, int], int] = {}  # symbol, whether it bought, order; of clients alone
        filled: list[Order] = []
        for event in events:
            kind = event.kind
            if kind == REPORT_REJECT or kind == REPORT_CANCEL_REJECT:
                self._note(now_ns, event, None)
                if refusal is None:
                    refusal = self.words.refusal(kind == REPORT_CANCEL_REJECT, event.code)
                continue
            if kind == REPORT_LIST_STARTED or kind == REPORT_LIST_DONE:
                self._list_event(event, now_ms, news)
                continue
            order = self.orders.get(event.client_id)
            if order is None:
                order = self._pending.get(event.client_id)
            if order is None:
                if event.account != self.book_account:
                    continue
                order = self._of_book(event)
            account = self.accounts[order.account]
            fill: Fill | None = None
            name = ""
            if kind == REPORT_ACK:
                self._accept(account, order, event, now_ms)
                name = "NEW"
            elif kind == REPORT_FILL:
                is_first = not order.executed_e8
                fill = self._fill(order, event, now_ms, trades)
                if is_first:
                    account.limit.give_back(now_ms / 1_000, FILLED_MAKER if fill.maker else FILLED_TAKER)
                if not account.is_agent:
                    filled.append(order)
                name = "TRADE"
                if not fill.maker and not account.is_agent:
                    key = order.symbol.index, order.is_buy, order.order_id
                    taken[key] = taken.get(key, 0) + fill.qty_e8
            elif kind == REPORT_CANCELED:
                order.status = "CANCELED"
                name = "CANCELED"
            elif kind == REPORT_EXPIRED and event.code == VENUE_SPENT and order.executed_e8:
                self._spent(order, news)
            elif kind == REPORT_EXPIRED:
                self_trade = event.code == VENUE_SELF_TRADE
                order.status = "EXPIRED_IN_MATCH" if self_trade else "EXPIRED"
                name = "EXPIRED"
            elif kind == REPORT_TRIGGERED:
                order.working_ms = now_ms
                order.status = "NEW"
                name = "NEW"
            elif kind == REPORT_REPLACED:
                self._replace(order, event, touched)
                name = "REPLACED"
            elif kind == REPORT_PREVENTED:
                self._prevent(account, order, event, now_ms)
                name = "TRADE_PREVENTION"
            order.update_ms = now_ms
            order.reason = event.code
            self._note(now_ns, event, order, fill)
            if not order.symbol.is_linear:
                changed[(order.account, order.symbol.base)] = None
            changed[(order.account, order.symbol.quote)] = None
            if fill is not None:
                changed[(order.account, fill.fee_asset)] = None
            if order.price_e8:
                touched[(order.symbol.index, order.is_buy, order.price_e8)] = None
            if not order.is_open:
                self._finish(account, order)
            if account.listeners and name:
                number = self._next_execution
                self._next_execution += 1
                told = cancel_id if kind == REPORT_CANCELED and cancel_id else ""
                news.extend((account, one) for one in self.words.order(order, name, now_ms, number, fill, told))
        books = self._look(touched)
        self.moves += len(trades)
        for index, asset in changed if trades else ():
            self._insure(now_ns, self.accounts[index], asset)
        self._tell(now_ns, now_ms, news, changed)
        for index in {index for index, _ in changed} if trades else ():
            self._grade(self.accounts[index])
        if trades:
            self.on_trades([
                (symbol, trade, self.tapes[symbol.index].add(trade, taker)) for symbol, trade, taker in trades
            ])  # fmt: skip
        if self.on_taken is not None:
            for (index, is_buy, _), qty_e8 in taken.items():
                self.on_taken(self.by_index[index], is_buy, qty_e8)
        for index in books:
            self.on_book(self.by_index[index])
        if filled:
            self.on_fills(filled)
        if refusal is not None:
            raise refusal

    def _accept(self, account: Account, order: Order, event: CoreEvent, now_ms: int) -> None:
        self.orders[order.order_id] = order
        account.open[order.order_id] = order
        if not account.is_agent and order.client_id:
            account.by_client[order.client_id] = order
            if self.client_ids_once:
                account.used_ids.pop(order.client_id, None)
                account.used_ids[order.client_id] = now_ms
        if event.place == AT_LIST:
            order.status = "PENDING_NEW"
        else:
            order.status = "NEW"
            if not order.stop_e8 and not order.trailing_bips:
                order.working_ms = now_ms

    def _fill(self, order: Order, event: CoreEvent, now_ms: int, trades: list) -> Fill:
        symbol = order.symbol
        price_e8 = event.last_ticks * symbol.tick_e8
        qty_e8 = event.last_lots * symbol.lot_e8
        if event.trade_id != self._core_trade:  # both sides of a trade follow each other
            self._core_trade = event.trade_id
            self._trade_ids[symbol.index] += 1
            trades.append((symbol, Trade(self._trade_ids[symbol.index], price_e8, qty_e8, now_ms, False, 0, 0), 0))
        trade = trades[-1][1]
        if order.is_buy:
            trade.buyer_order = order.order_id
            trade.buyer_maker = event.is_maker
        else:
            trade.seller_order = order.order_id
        if not event.is_maker:
            trades[-1] = (symbol, trade, order.order_id)
        quote_e8 = value_of(symbol, event.last_ticks, event.last_lots)
        asset = symbol.base if order.is_buy and not symbol.is_linear else symbol.quote
        if event.in_token and self.token is not None:
            asset = self.token.asset
        fill = Fill(trade.trade_id, price_e8, qty_e8, quote_e8, event.fee_e8, asset, event.is_maker, now_ms)
        order.executed_e8 = event.cum_lots * symbol.lot_e8
        order.quote_e8 = event.cum_value_e8
        if order.working_ms < 0:
            order.working_ms = now_ms
        if order.quote_qty_e8 and not order.qty_e8:
            order.status = "PARTIALLY_FILLED"
        else:
            order.status = "FILLED" if order.executed_e8 + order.prevented_e8 >= order.qty_e8 else "PARTIALLY_FILLED"
        account = self.accounts[order.account]
        if not account.is_agent:
            order.fills.append(fill)
            account.trades.append((order, fill))
            if symbol.quote == COUNTED_IN:
                account.rates.turnover.add(now_ms, quote_e8)
            self.words.filled(order, fill)
        return fill

    def _spent(self, order: Order, news: list[tuple[Account, dict]]) -> None:
        """An order by amount has bought or sold all that it can: its last trade filled it."""
        order.status = "FILLED"
        order.qty_e8 = order.executed_e8
        self.words.spent(order, [event for _, event in news])

    @staticmethod
    def _replace(order: Order, event: CoreEvent, touched: dict[tuple[int, bool, int], None]) -> None:
        """The order's numbers are others now, and so is the level that it has left."""
        if order.price_e8:
            touched[(order.symbol.index, order.is_buy, order.price_e8)] = None
        order.qty_e8 = event.qty_lots * order.symbol.lot_e8
        order.price_e8 = event.price_ticks * order.symbol.tick_e8
        if not order.trailing_bips:
            order.stop_e8 = event.stop_ticks * order.symbol.tick_e8

    @staticmethod
    def _prevent(account: Account, order: Order, event: CoreEvent, now_ms: int) -> None:
        """One side of a match of the account with itself; sides that both lose something make one row."""
        qty_e8 = event.last_lots * order.symbol.lot_e8
        order.prevented_e8 += qty_e8
        if account.is_agent:
            return
        rows = account.prevented
        if not rows or rows[-1]["preventedMatchId"] != event.trade_id:
            rows.append({
                "symbol": order.symbol.name,
                "preventedMatchId": event.trade_id,
                "tradeGroupId": account.index + 1,
                "selfTradePreventionMode": order.stp_mode,
                "price": text_e8(event.last_ticks * order.symbol.tick_e8),
                "transactTime": now_ms,
            })  # fmt: skip
        side = "maker" if event.is_maker else "taker"
        rows[-1][f"{side}OrderId"] = order.order_id
        rows[-1][f"{side}PreventedQuantity"] = text_e8(qty_e8)

    def _list_event(self, event: CoreEvent, now_ms: int, news: list[tuple[Account, dict]]) -> None:
        account = self.accounts[event.account]
        order_list = self._pending_lists.get(event.client_id) or account.lists.get(event.client_id)
        if order_list is None:
            return
        if event.kind == REPORT_LIST_STARTED:
            account.lists[order_list.list_id] = account.open_lists[order_list.list_id] = order_list
            account.lists_by_client[order_list.client_id] = order_list
            order_list.time_ms = now_ms
        else:
            order_list.status_type = order_list.status = "ALL_DONE"
            self._finish_list(account, order_list)
        if account.listeners:
            news.extend((account, one) for one in self.words.order_list(order_list, now_ms))

    def _look(self, touched: dict[tuple[int, bool, int], None]) -> dict[int, None]:
        """Which levels of the books are other than before; each is an update. The symbols they belong to."""
        books: dict[int, None] = {}
        for index, is_bid, price_e8 in touched:
            qty_e8 = self.core.level(self.by_index[index], is_bid, price_e8)
            shown = self.shown[index]
            key = (is_bid, price_e8)
            if shown.get(key, 0) == qty_e8:
                continue
            if qty_e8:
                shown[key] = qty_e8
            else:
                del shown[key]
            self.changed[index][key] = qty_e8
            self.update_ids[index] += 1
            books[index] = None
        return books

    def _finish(self, account: Account, order: Order) -> None:
        """An order that is over: history for those who may ask, nothing for the market's own."""
        account.open.pop(order.order_id, None)
        if order.quote_qty_e8 and not order.qty_e8:
            order.qty_e8 = order.executed_e8
        if account.is_agent:
            self.orders.pop(order.order_id, None)
            return
        account.history.append(order)
        if len(account.history) > HISTORY:
            gone = account.history.popleft()
            self.orders.pop(gone.order_id, None)
            if account.by_client.get(gone.client_id) is gone:
                del account.by_client[gone.client_id]

    @staticmethod
    def _finish_list(account: Account, order_list: OrderList) -> None:
        account.open_lists.pop(order_list.list_id, None)
        account.list_history.append(order_list)
        if len(account.list_history) > LISTS:
            gone = account.list_history.popleft()
            del account.lists[gone.list_id]
            if account.lists_by_client.get(gone.client_id) is gone:
                del account.lists_by_client[gone.client_id]

    def _tell(
        self, now_ns: int, now_ms: int, news: list[tuple[Account, dict]], changed: dict[tuple[int, str], None]
    ) -> None:
        """Balances into the ledger, the ledger to disk, then everybody's events."""
        by_account: dict[int, dict[str, tuple[int, int]]] = {}
        for index, asset in changed:
            account = self.accounts[index]
            if account.is_agent:
                continue
            free_e8, locked_e8 = self.balance(account, asset)
            account.update_ms = now_ms
            self.ledger.add(now_ns, "balance", account=account.name, asset=asset, reason="change", free_e8=free_e8,
                            locked_e8=locked_e8)  # fmt: skip
            if account.listeners:
                by_account.setdefault(index, {})[asset] = (free_e8, locked_e8)
        self.ledger.flush()
        for account, event in news:
            for listener in account.listeners:
                listener(event)
        for index, balances in by_account.items():
            account = self.accounts[index]
            for event in self.words.balances(account.index, balances, now_ms):
                for listener in account.listeners:
                    listener(event)

    def _note(self, now_ns: int, event: CoreEvent, order: Order | None, fill: Fill | None = None) -> None:
        """The ledger's line of an event."""
        if not self.ledger.is_kept:
            return
        order = order or self._pending.get(event.client_id)
        symbol = order.symbol if order else None
        fields: dict[str, Any] = {
            "venue_order_id": event.client_id or None,
            "client_order_id": order.client_id if order else None,
            "symbol": symbol.name if symbol else None,
            "side": "buy" if event.side > 0 else "sell",
            "account": self.accounts[event.account].name,
            "contract": symbol.category if symbol else None,
            "scale": self._scales[symbol.index] if symbol else None,
            "type": _TYPE_NAMES[order.type] if order else None,
            "price_ticks": event.last_ticks if fill else event.price_ticks,
            "qty_lots": event.last_lots if fill else event.qty_lots,
            "cum_lots": event.cum_lots,
            "leaves_lots": max(0, event.qty_lots - event.cum_lots) if order and order.is_open else 0,
        }
        if fill:
            fields |= {
                "trade_id": fill.trade_id,
                "fee_e8": fill.fee_e8,
                "asset": fill.fee_asset,
                "value_e8": fill.quote_e8,
                "liquidity": "maker" if fill.maker else "taker",
            }
            self.ledger.add(now_ns, "fill", **fields)
        else:
            fields |= {
                "status": _STATUS[event.kind],
                "reason": REJECT_NAMES[event.code] if event.code else None,
                "tif": order.tif.lower() if order else None,
                "stop_ticks": event.stop_ticks,
                "list": order.list_id if order and order.order_list else None,
            }
            self.ledger.add(now_ns, "order", **fields)


def _wish(order: Order) -> OrderWish:
    return OrderWish(
        order.account, order.symbol, order.order_id, order.is_buy, order.type, order.tif, order.price_e8,
        0 if order.quote_qty_e8 else order.qty_e8, order.stop_e8, order.iceberg_e8, order.trailing_bips,
        order.quote_qty_e8, order.stp_mode, order.reduce_only,
    )  # fmt: skip
