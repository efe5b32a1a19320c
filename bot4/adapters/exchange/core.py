"""The matching core as the server sees it: commands in the venue's words in, events out. Nobody else here knows its
records.

Orders are named by the server's own numbers (the core's client ids), accounts, symbols and assets by their place.
"""

from typing import Any, NamedTuple

import numpy as np

from bot4.adapters.exchange.commission import COUNTED_IN, FeeToken, Rates
from bot4.adapters.exchange.symbol import Symbol
from bot4.kernels.exchange.door import door_depth, door_queue, door_shown, door_step
from bot4.kernels.exchange.state import (
    ALL_INSTRUMENTS,
    COMMAND,
    EVENT,
    FEE_IN_TOKEN,
    LIQUIDITY_MAKER,
    MAX_INSTRUMENTS,
    MAX_PRICE_TICKS,
    VALUE_BOUND,
    MarketRules,
    exchange_memory,
    set_account,
    set_token,
)
from bot4.model.enums import (
    ACTION_AMEND,
    ACTION_CANCEL,
    ACTION_CANCEL_ALL,
    ACTION_DEPOSIT,
    ACTION_FUNDING,
    ACTION_LEG,
    ACTION_PLACE,
    ACTION_TRADE,
    LIST_OCO,
    LIST_OTO,
    LIST_OTOCO,
    ORDER_POST_ONLY,
    ORDER_REDUCE_ONLY,
    TIF_FOK,
    TIF_GTC,
    TIF_IOC,
    TYPE_LIMIT,
    TYPE_MARKET,
    TYPE_STOP_LIMIT,
    TYPE_STOP_MARKET,
    TYPE_TAKE_PROFIT,
    TYPE_TAKE_PROFIT_LIMIT,
)

DEPTH_BOUND = 5_000
_QUEUE_ROWS = 64
_TYPES = {
    "MARKET": TYPE_MARKET, "LIMIT": TYPE_LIMIT, "LIMIT_MAKER": TYPE_LIMIT, "STOP_LOSS": TYPE_STOP_MARKET,
    "STOP_LOSS_LIMIT": TYPE_STOP_LIMIT, "TAKE_PROFIT": TYPE_TAKE_PROFIT, "TAKE_PROFIT_LIMIT": TYPE_TAKE_PROFIT_LIMIT,
}  # fmt: skip
_TIFS = {"GTC": TIF_GTC, "IOC": TIF_IOC, "FOK": TIF_FOK}
_STP = {"NONE": 0, "EXPIRE_TAKER": 1, "EXPIRE_MAKER": 2, "EXPIRE_BOTH": 3, "DECREMENT": 4}
_LISTS = {"OCO": LIST_OCO, "OTO": LIST_OTO, "OTOCO": LIST_OTOCO}


class CoreEvent(NamedTuple):
    """One event of the core, its fields as the record has them."""

    ts_ns: int
    event_seq: int
    kind: int
    side: int
    type: int
    tif: int
    flags: int
    stp: int
    place: int
    liquidity: int
    account: int
    instrument: int
    code: int
    order_id: int
    client_id: int
    list_id: int
    price_ticks: int
    stop_ticks: int
    qty_lots: int
    cum_lots: int
    cum_value_e8: int
    last_lots: int
    last_ticks: int
    fee_e8: int
    trade_id: int

    @property
    def is_maker(self) -> bool:
        """Of a fill: whether this side was waiting."""
        return self.liquidity & LIQUIDITY_MAKER != 0

    @property
    def in_token(self) -> bool:
        """Of a fill: whether its fee was paid in the token."""
        return self.liquidity & FEE_IN_TOKEN != 0


assert CoreEvent._fields == EVENT.names


class OrderWish(NamedTuple):
    """An order on its way into the core."""

    account: int
    symbol: Symbol
    number: int
    is_buy: bool
    type: str
    tif: str = "GTC"
    price_e8: int = 0
    qty_e8: int = 0
    stop_e8: int = 0
    iceberg_e8: int = 0
    trailing_bips: int = 0
    quote_qty_e8: int = 0
    stp_mode: str = "NONE"
    reduce_only: bool = False


class Position(NamedTuple):
    """What an account holds of a contract, at average cost."""

    lots: int  # below zero: short
    cost_e8: int  # of the quote asset, with the position's sign
    realised_e8: int  # all that closing has made so far, before fees
    open_lots: tuple[int, int]  # of open buys and sells that may open


class Core:
    """The exchange's memory and its one step."""

    def __init__(
        self, symbols: list[Symbol], assets: list[str], rates: list[Rates], token: FeeToken | None = None
    ) -> None:
        """`rates` : what every account pays; `token` : what it may pay in."""
        place = {asset: index for index, asset in enumerate(assets)}
        rules = []
        n_linear = sum(1 for symbol in symbols if symbol.is_linear)
        for symbol in symbols:
            max_ticks = min(symbol.filters.max_price_e8 // symbol.tick_e8, MAX_PRICE_TICKS)
            lots = min(symbol.filters.max_qty_e8 // symbol.lot_e8, VALUE_BOUND // (max_ticks * symbol.value_e8))
            held = VALUE_BOUND // (max_ticks * symbol.value_e8) // n_linear if symbol.is_linear else 0
            rules.append(
                MarketRules(
                    place[symbol.base], place[symbol.quote], symbol.lot_e8, symbol.value_e8, max_ticks,
                    min(lots, held) if held else lots, held,
                )
            )  # fmt: skip
        self._record = memory = exchange_memory(rules, len(rates), len(assets))
        if token is not None:
            prices = {place[COUNTED_IN]: token.price_e8} if COUNTED_IN in place else {}
            set_token(memory, place[token.asset], token.discount_ppm, prices)
        for account, one in enumerate(rates):
            self.set_rates(account, one)
        self.memory: Any = memory.base  # the array of one that the record was taken out of
        self._events, self._balances, self._fees = memory["events"], memory["balances"], memory["fees"]
        self._seats = memory["seats"]
        self._command = np.zeros(1, COMMAND)
        self._levels = np.zeros((DEPTH_BOUND, 2), np.int64)
        self._queue = np.zeros((_QUEUE_ROWS, 5), np.int64)
        self.depth(symbols[0], True, 1)  # compiled now, not when the first order waits for it
        self.level(symbols[0], True, symbols[0].tick_e8)
        self.queue(symbols[0], True, 1)

    def set_rates(self, account: int, rates: Rates) -> None:
        """What an account pays from now on."""
        tier = rates.tier
        set_account(self._record, account, tier.maker_ppm, tier.taker_ppm, pays_token=rates.pays_token)

    # --- commands; each returns what happened, in order ---

    def place(self, ts_ns: int, wish: OrderWish) -> list[CoreEvent]:
        """One order."""
        return self._step(self._order(ts_ns, ACTION_PLACE, wish))

    def place_list(self, ts_ns: int, kind: str, list_number: int, wishes: list[OrderWish]) -> list[CoreEvent]:
        """An order list, all legs or none; the working leg first."""
        events: list[CoreEvent] = []
        for leg, wish in enumerate(wishes):
            events = self._step(self._order(ts_ns, ACTION_LEG, wish, _LISTS[kind], leg, list_number))
        return events

    def cancel(self, ts_ns: int, account: int, symbol: Symbol, number: int) -> list[CoreEvent]:
        """One order; of a list, the list."""
        return self._step(
            (ts_ns, account, symbol.index, ACTION_CANCEL, 0, 0, 0, 0, 0, 0, 0, 0, number, 0, 0, 0, 0, 0, 0, 0, 0,
             (0, 0, 0))
        )  # fmt: skip

    def cancel_all(self, ts_ns: int, account: int, symbol: Symbol | None) -> list[CoreEvent]:
        """Every open order of an account, of a symbol or of all."""
        instrument = ALL_INSTRUMENTS if symbol is None else symbol.index
        return self._step((ts_ns, account, instrument, ACTION_CANCEL_ALL, *(0,) * 17, (0, 0, 0)))

    def amend(
        self, ts_ns: int, account: int, symbol: Symbol, number: int, qty_e8: int, price_e8: int, stop_e8: int
    ) -> list[CoreEvent]:
        """Another quantity, limit or trigger; 0 leaves each. Less at the same price keeps its place."""
        tick, lot = symbol.tick_e8, symbol.lot_e8
        return self._step(
            (ts_ns, account, symbol.index, ACTION_AMEND, 0, 0, 0, 0, 0, 0, 0, 0, number, 0, price_e8 // tick,
             stop_e8 // tick, qty_e8 // lot, 0, 0, 0, 0, (0, 0, 0))
        )  # fmt: skip

    def fund(self, ts_ns: int, symbol: Symbol, rate_e8: int, mark_e8: int) -> list[CoreEvent]:
        """Every position of a contract pays or receives a share of its value, in 1e-8."""
        return self._step(
            (ts_ns, 0, symbol.index, ACTION_FUNDING, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, mark_e8 // symbol.tick_e8, 0, 0, 0,
             0, 0, rate_e8, (0, 0, 0))
        )  # fmt: skip

    def deposit(self, ts_ns: int, account: int, asset: int, amount_e8: int) -> list[CoreEvent]:
        """Money from outside."""
        nothing = (0,) * 16
        return self._step((ts_ns, account, asset, ACTION_DEPOSIT, *nothing, amount_e8, (0, 0, 0)))

    def trade_elsewhere(self, ts_ns: int, symbol: Symbol, price_ticks: int) -> list[CoreEvent]:
        """Others have traded at that price: whoever waits for it goes off."""
        return self._step(
            (ts_ns, 0, symbol.index, ACTION_TRADE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, price_ticks, 0, 0, 0, 0, 0, 0,
             (0, 0, 0))
        )  # fmt: skip

    @staticmethod
    def _order(
        ts_ns: int, action: int, wish: OrderWish, list_kind: int = 0, leg: int = 0, list_number: int = 0
    ) -> tuple:
        tick, lot = wish.symbol.tick_e8, wish.symbol.lot_e8
        return (
            ts_ns,
            wish.account,
            wish.symbol.index,
            action,
            _TYPES[wish.type],
            _TIFS[wish.tif],
            1 if wish.is_buy else -1,
            (ORDER_POST_ONLY if wish.type == "LIMIT_MAKER" else 0) | (ORDER_REDUCE_ONLY if wish.reduce_only else 0),
            _STP[wish.stp_mode],
            list_kind,
            leg,
            0,
            wish.number,
            list_number,
            wish.price_e8 // tick,
            wish.stop_e8 // tick,
            wish.qty_e8 // lot,
            wish.iceberg_e8 // lot,
            wish.trailing_bips,
            0,
            wish.quote_qty_e8,
            (0, 0, 0),
        )

    def _step(self, command: tuple) -> list[CoreEvent]:
        self._command[0] = command
        count = door_step(self.memory, self._command)
        return [CoreEvent._make(row) for row in self._events[:count].tolist()]

    # --- what is there ---

    def balance(self, account: int, asset: int) -> tuple[int, int]:
        """Free and locked, in 1e-8."""
        return self._balances[account, asset].item()

    def position(self, account: int, symbol: Symbol) -> Position:
        """What an account holds of a contract."""
        lots, cost, realised, opening, *_ = self._seats[account * MAX_INSTRUMENTS + symbol.index].item()
        buys, sells = opening
        return Position(lots, cost * symbol.value_e8, realised * symbol.value_e8, (int(buys), int(sells)))

    def fees(self, asset: int) -> int:
        """What the venue has earned in an asset, in 1e-8."""
        return int(self._fees[asset])

    def depth(self, symbol: Symbol, bids: bool, limit: int) -> list[tuple[int, int]]:
        """The best levels, as price and shown quantity in 1e-8."""
        count = door_depth(self.memory, symbol.index, 1 if bids else -1, self._levels[: min(limit, DEPTH_BOUND)])
        tick, lot = symbol.tick_e8, symbol.lot_e8
        return [(price * tick, lots * lot) for price, lots in self._levels[:count].tolist()]

    def level(self, symbol: Symbol, bids: bool, price_e8: int) -> int:
        """What is shown at a price, in 1e-8."""
        return int(door_shown(self.memory, symbol.index, 1 if bids else -1, price_e8 // symbol.tick_e8)) * symbol.lot_e8

    def queue(self, symbol: Symbol, bids: bool, price_ticks: int) -> list[list[int]]:
        """The orders at a price, who is first first: number, account, lots shown, lots left, lots of the whole."""
        side = 1 if bids else -1
        count = door_queue(self.memory, symbol.index, side, price_ticks, self._queue)
        if count > len(self._queue):
            self._queue = np.zeros((2 * count, 5), np.int64)
            count = door_queue(self.memory, symbol.index, side, price_ticks, self._queue)
        return self._queue[:count].tolist()

    def bounds(self, symbol: Symbol) -> tuple[int, int]:
        """The largest price in ticks and the largest order in lots."""
        market = self.memory["markets"][0, symbol.index]
        return int(market["max_price_ticks"]), int(market["max_lots"])

    @property
    def open_orders(self) -> int:
        """How many there are, of all accounts."""
        return int(self.memory["desk"]["n_open"][0])


def value_of(symbol: Symbol, price_ticks: int, lots: int) -> int:
    """Value in 1e-8 of the quote asset."""
    return price_ticks * lots * symbol.value_e8
