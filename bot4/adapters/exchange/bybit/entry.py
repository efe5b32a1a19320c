"""From a request to an order: fields, then the symbol's rules, then margin. Raises Refused with the venue's codes."""

from bot4.adapters.exchange.bybit.field import Fields
from bot4.adapters.exchange.bybit.order import STP_MODES, BybitOrder
from bot4.adapters.exchange.bybit.refusal import bad, no
from bot4.adapters.exchange.bybit.state import States
from bot4.adapters.exchange.bybit.symbol import KNOWN, price_text
from bot4.adapters.exchange.number import E8, mul_e8
from bot4.adapters.exchange.symbol import Symbol
from bot4.adapters.exchange.venue import Account, Venue

RISING, FALLING = 1, 2
_TRIGGERS = ("LastPrice", "IndexPrice", "MarkPrice")
_TIMES = ("GTC", "IOC", "FOK", "PostOnly")
_MAX_CONDITIONAL_SPOT = 30


def find_symbol(venue: Venue, fields: Fields) -> Symbol:
    """The symbol of a request: category and name."""
    category = fields.choice("category", KNOWN)
    name = fields.text("symbol", None)
    for symbol in venue.by_index:
        if symbol.name == name and symbol.category == category:
            return symbol
    raise no(170121, "Invalid symbol.") if category == "spot" else bad("symbol invalid")


def trigger_type(is_buy: bool, direction: int, limited: bool) -> str:
    """The venue's own word for a conditional order: a buy that waits for a rise is a stop, one that waits for a fall a
    take-profit; a sell the other way round."""
    kind = "STOP_LOSS" if is_buy == (direction == RISING) else "TAKE_PROFIT"
    return kind + "_LIMIT" if limited else kind


def check_trigger(symbol: Symbol, direction: int, stop_e8: int, last_e8: int) -> None:
    """The trigger is on the side that it says, and in ticks."""
    check_price(symbol, stop_e8)
    last, stop = price_text(symbol, last_e8), price_text(symbol, stop_e8)
    if direction == RISING and stop_e8 <= last_e8:
        raise no(110092, f"expect Rising, but trigger_price[{stop}] <= current[{last}]??LastPrice")
    if direction == FALLING and stop_e8 >= last_e8:
        raise no(110093, f"expect Falling, but trigger_price[{stop}] >= current[{last}]??LastPrice")


def check_price(symbol: Symbol, price_e8: int) -> None:
    """Bounds and ticks."""
    rules = symbol.filters
    if price_e8 % symbol.tick_e8:
        raise (
            bad("price is not a multiple of tickSize")
            if symbol.is_linear
            else no(170134, "Order price has too many decimals.")
        )
    if price_e8 < rules.min_price_e8:
        raise bad("price is below minPrice") if symbol.is_linear else no(170133, "Order price lower than the minimum.")
    if price_e8 > rules.max_price_e8:
        raise bad("price is above maxPrice") if symbol.is_linear else no(170132, "Order price too high.")


def check_limit(symbol: Symbol, is_buy: bool, price_e8: int, last_e8: int) -> None:
    """A buy is not much dearer than the market, a sell not much cheaper."""
    rules = symbol.filters
    most_e8, least_e8 = last_e8 * rules.bid_up_e8 // E8, last_e8 * rules.ask_down_e8 // E8
    if is_buy and price_e8 > most_e8:
        raise (
            no(110003, "Order price exceeds the allowable range.")
            if symbol.is_linear
            else no(170193, f"Buy order price cannot be higher than {price_text(symbol, most_e8)}.")
        )
    if not is_buy and price_e8 < least_e8:
        raise (
            no(110003, "Order price exceeds the allowable range.")
            if symbol.is_linear
            else no(170194, f"Sell order price cannot be lower than {price_text(symbol, least_e8)}.")
        )


def check_qty(symbol: Symbol, qty_e8: int, is_market: bool) -> None:
    """Lots and bounds."""
    rules = symbol.filters
    most_e8 = rules.market_max_qty_e8 if is_market else rules.max_qty_e8
    if symbol.is_linear:
        if qty_e8 < rules.min_qty_e8:
            raise bad("The number of contracts exceeds minimum limit allowed")
        if qty_e8 > most_e8:
            raise bad("The number of contracts exceeds maximum limit allowed: too large")
        if qty_e8 % symbol.lot_e8:
            raise bad("Qty invalid")
        return
    if qty_e8 < rules.min_qty_e8:
        raise no(170136, "Order quantity lower than the minimum.")
    if qty_e8 > most_e8:
        raise no(170135, "Order quantity too large.")
    if qty_e8 % symbol.lot_e8:
        raise no(170137, "Order quantity has too many decimals.")


def check_value(symbol: Symbol, value_e8: int) -> None:
    """What an order is worth at least, and at most."""
    rules = symbol.filters
    if value_e8 < rules.min_notional_e8:
        raise (
            no(110094, "Order does not meet minimum order value 5USDT")
            if symbol.is_linear
            else no(170140, "Order value exceeded lower limit.")
        )
    if not symbol.is_linear and value_e8 > rules.max_notional_e8:
        raise no(170124, "Order value exceeded upper limit.")


def check_counts(account: Account, symbol: Symbol, conditional: bool) -> None:
    """Open orders of a symbol, and how many of them may wait for a trigger."""
    here = [order for order in account.open.values() if order.symbol is symbol]
    waiting = sum(1 for order in here if isinstance(order, BybitOrder) and order.is_waiting)
    most = symbol.filters.max_algo_orders if symbol.is_linear else _MAX_CONDITIONAL_SPOT
    if conditional and waiting >= most:
        raise no(110009, "The number of stop orders exceeds the maximum allowable limit.")
    if not conditional and len(here) - waiting >= symbol.filters.max_orders:
        raise no(110020, "Not allowed to have more than 500 active orders.")


def check_link(account: Account, symbol: Symbol, link: str) -> None:
    """An orderLinkId is used once, as long as its order is known."""
    if link and link in account.by_client:
        raise no(110072, "OrderLinkedID is duplicate") if symbol.is_linear else no(170141, "Duplicate clientOrderId.")


def check_money(states: States, account: Account, order: BybitOrder, value_e8: int) -> None:
    """Margin of contracts, and of USDT that a coin is bought with what margin does not need; what waits for a trigger
    is asked as if it had gone off."""
    if order.reduce_only:
        return
    reference_e8 = order.price_e8 or order.stop_e8
    loss_e8 = (
        states.loss_e8(order, reference_e8, order.left_lots) if reference_e8 else states.walk_loss_e8(account, order)
    )
    if order.symbol.is_linear:
        if not states.affords(account, order, order.left_lots, loss_e8, value_e8):
            raise no(110007, "ab not enough for new order")
    elif order.is_buy and value_e8 + (0 if reference_e8 else loss_e8) > states.available_e8(account):
        raise no(170131, "Insufficient balance.")


class Reader:
    """Reads orders of one venue."""

    def __init__(self, venue: Venue, states: States, seed: int) -> None:
        self._venue = venue
        self._states = states
        self._seed = seed

    def new(self, account: Account, symbol: Symbol, is_buy: bool, kind: str) -> BybitOrder:
        """An order of a kind, with nothing in it but who, what and when."""
        venue = self._venue
        return BybitOrder(
            symbol, venue.order_number(), "", account.index, is_buy, kind, "GTC", 0, 0, 0, 0, "NONE", venue.now_ms(),
            seed=self._seed, last_price_e8=venue.tapes[symbol.index].last_e8,
        )  # fmt: skip

    def read(self, account: Account, fields: Fields) -> BybitOrder:
        """`order/create`."""
        symbol = find_symbol(self._venue, fields)
        if symbol.status != "TRADING":
            raise (
                no(110066, "Trading is currently not allowed.")
                if symbol.is_linear
                else no(170151, "The trading pair is not open yet")
            )
        side = fields.choice("side", ("Buy", "Sell"))
        is_market = fields.choice("orderType", ("Market", "Limit")) == "Market"
        time_in_force = fields.choice("timeInForce", _TIMES, "GTC")
        if fields.whole("positionIdx", 0):
            raise bad("position idx not match position mode")
        order = self.new(account, symbol, side == "Buy", "MARKET" if is_market else "LIMIT")
        order.client_id = fields.link()
        check_link(account, symbol, order.client_id)
        order.stp_mode = STP_MODES[fields.choice("smpType", list(STP_MODES), "None")]
        order.reduce_only = fields.flag("reduceOnly")
        order.close_on_trigger = fields.flag("closeOnTrigger")
        if not symbol.is_linear and (order.reduce_only or order.close_on_trigger):
            raise bad("reduceOnly is not supported in spot")
        self._read_price(order, fields, is_market, time_in_force)
        self._read_trigger(order, fields)
        self._read_qty(order, fields)
        self._read_ends(order, fields)
        check_counts(account, symbol, bool(order.stop_e8))
        value_e8 = order.quote_qty_e8 or mul_e8(order.price_e8 or order.stop_e8 or order.last_price_e8, order.qty_e8)
        if not order.reduce_only:
            check_value(symbol, value_e8)
        check_money(self._states, account, order, value_e8)
        return order

    def _read_price(self, order: BybitOrder, fields: Fields, is_market: bool, time_in_force: str) -> None:
        if is_market:
            return
        order.price_e8 = fields.decimal("price", None)
        check_price(order.symbol, order.price_e8)
        if time_in_force == "PostOnly":
            order.type = "LIMIT_MAKER"
        else:
            order.tif = time_in_force

    def _read_trigger(self, order: BybitOrder, fields: Fields) -> None:
        stop_e8 = fields.decimal("triggerPrice")
        spot_kind = fields.choice("orderFilter", ("Order", "StopOrder", "tpslOrder"), "Order")
        if not stop_e8:
            if spot_kind != "Order":
                raise no(170203, "Please enter the TP/SL price.")
            if order.price_e8:
                check_limit(order.symbol, order.is_buy, order.price_e8, order.last_price_e8)
            return
        if order.type == "LIMIT_MAKER":
            raise bad("PostOnly is not supported for conditional orders")
        direction = fields.whole("triggerDirection", 0, RISING, FALLING)
        if not direction:
            if order.symbol.is_linear:
                raise bad("triggerDirection invalid")
            direction = RISING if stop_e8 > order.last_price_e8 else FALLING
        check_trigger(order.symbol, direction, stop_e8, order.last_price_e8)
        order.stop_e8, order.trigger_direction = stop_e8, direction
        order.trigger_by = fields.choice("triggerBy", _TRIGGERS, "LastPrice")
        order.type = trigger_type(order.is_buy, direction, bool(order.price_e8))
        order.stop_type = "tpslOrder" if spot_kind == "tpslOrder" else "Stop"
        if order.symbol.is_linear:
            order.create_type = "CreateByStopOrder"

    def _read_qty(self, order: BybitOrder, fields: Fields) -> None:
        symbol = order.symbol
        qty_e8 = fields.decimal("qty", None)
        unit = fields.choice("marketUnit", ("baseCoin", "quoteCoin"), "")
        if not symbol.is_linear and order.type == "MARKET":
            order.market_unit = unit or ("quoteCoin" if order.is_buy else "baseCoin")
            if order.market_unit == "quoteCoin":
                if qty_e8 % symbol.value_e8:
                    raise no(170148, "Market order amount decimal too long")
                order.quote_qty_e8 = qty_e8
                return
        if not qty_e8 and order.reduce_only and order.close_on_trigger:
            held = self._states.position(self._venue.accounts[order.account], symbol).lots
            qty_e8 = min(abs(held) * symbol.lot_e8, symbol.filters.market_max_qty_e8)
            if not qty_e8:
                raise no(110017, "current position is zero, cannot fix reduce-only order qty")
        check_qty(symbol, qty_e8, order.is_market)
        order.qty_e8 = qty_e8

    def _read_ends(self, order: BybitOrder, fields: Fields) -> None:
        """Take-profit and stop-loss that the order takes along for the position it makes."""
        profit_e8, loss_e8 = fields.decimal("takeProfit"), fields.decimal("stopLoss")
        if not profit_e8 and not loss_e8:
            return
        if not order.symbol.is_linear:
            raise bad("takeProfit and stopLoss of spot orders are not served here, send a tpslOrder")
        if order.reduce_only:
            raise bad("reduceOnly orders have no takeProfit and stopLoss")
        check_ends(order.symbol, order.is_buy, profit_e8, loss_e8, order.price_e8 or order.last_price_e8)
        check_ends_mode(fields)
        order.take_profit_e8, order.stop_loss_e8 = profit_e8, loss_e8


def check_ends_mode(fields: Fields) -> None:
    """Those of whole positions, by market orders, are served."""
    kinds = [fields.choice(name, ("Market", "Limit"), "Market") for name in ("tpOrderType", "slOrderType")]
    if fields.choice("tpslMode", ("Full", "Partial"), "Full") == "Partial" or "Limit" in kinds:
        raise bad("tpslMode Partial is not served here, use Full or conditional reduceOnly orders")


def check_ends(symbol: Symbol, is_long: bool, profit_e8: int, loss_e8: int, base_e8: int) -> None:
    """A take-profit is on the winning side of the price, a stop-loss on the other."""
    base, side = price_text(symbol, base_e8), "Buy" if is_long else "Sell"
    for name, price_e8, above in (("TakeProfit", profit_e8, is_long), ("StopLoss", loss_e8, not is_long)):
        if not price_e8:
            continue
        check_price(symbol, price_e8)
        if price_e8 == base_e8 or (price_e8 > base_e8) != above:
            wanted = "higher" if above else "lower"
            raise bad(f"{name}:{price_text(symbol, price_e8)} set for {side} position should be {wanted} than "
                      f"base_price:{base}??LastPrice")  # fmt: skip
