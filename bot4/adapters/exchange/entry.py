"""From the parameters of a request to an order: what a type needs and what it must not have, then the filters."""

from typing import Any

from bot4.adapters.exchange.order import Order, OrderList
from bot4.adapters.exchange.refusal import Refused, filter_failure, missing, not_required, one_of, order_refused
from bot4.adapters.exchange.symbol import ALGO_TYPES, AVERAGE_MINUTES, LIMIT_TYPES, Symbol
from bot4.adapters.exchange.venue import Account, Venue

_ICEBERG_TYPES = ("LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT")
_MIN_STRATEGY = 1_000_000
DEFAULT_STP = "EXPIRE_MAKER"


def _check_fields(kind: str, values: dict[str, Any], prefix: str, in_list: bool) -> None:
    """Everything a type needs is there, and nothing it cannot have. `prefix` names the leg of a list."""

    def name(field: str) -> str:
        return prefix + field[0].upper() + field[1:] if prefix else field

    price, tif = values.get("price"), values.get("timeInForce")
    stop, trailing = values.get("stopPrice"), values.get("trailingDelta")
    if kind in ("LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"):
        if tif is None:
            raise missing(name("timeInForce"))
    elif tif is not None:
        raise not_required(name("timeInForce"))
    if kind in LIMIT_TYPES:
        if price is None:
            raise missing(name("price"))
    elif price is not None:
        raise not_required(name("price"))
    if kind in ALGO_TYPES:
        if stop is None and trailing is None:
            raise one_of(name("stopPrice"), name("trailingDelta"))
    else:
        if stop is not None:
            raise not_required(name("stopPrice"))
        if trailing is not None:
            raise not_required(name("trailingDelta"))
    if kind == "MARKET" and not in_list:
        if values.get("quantity") is None and values.get("quoteOrderQty") is None:
            raise one_of("quantity", "quoteOrderQty")
        if values.get("quantity") is not None and values.get("quoteOrderQty") is not None:
            raise Refused(-1128, "Combination of optional parameters invalid.")
    else:
        if values.get("quoteOrderQty") is not None:
            raise not_required("quoteOrderQty")
        if values.get("quantity") is None:
            raise missing("quantity")
    if values.get("icebergQty"):
        if kind not in _ICEBERG_TYPES:
            raise not_required(name("icebergQty"))
        if kind != "LIMIT_MAKER" and tif != "GTC":
            raise order_refused("Unsupported order combination")
    strategy = values.get("strategyType")
    if strategy is not None and strategy < _MIN_STRATEGY:
        raise Refused(-1134, "strategyType was less than 1000000.")


def _check_filters(venue: Venue, order: Order) -> None:
    symbol = order.symbol
    average_e8 = venue.average_e8(symbol, AVERAGE_MINUTES)
    market = order.type in ("MARKET", "STOP_LOSS", "TAKE_PROFIT")
    if order.type in LIMIT_TYPES:
        symbol.check_price(order.price_e8)
        symbol.check_band(order.is_buy, order.price_e8, average_e8)
    if order.stop_e8:
        symbol.check_price(order.stop_e8)
    if order.trailing_bips:
        symbol.check_trailing(order.trailing_bips)
    if order.quote_qty_e8:
        if order.quote_qty_e8 < symbol.filters.min_notional_e8:
            raise filter_failure("NOTIONAL")
        if order.quote_qty_e8 > symbol.filters.max_notional_e8:
            raise filter_failure("NOTIONAL")
        return
    symbol.check_qty(order.qty_e8, market)
    if order.iceberg_e8:
        symbol.check_iceberg(order.qty_e8, order.iceberg_e8)
    reference_e8 = order.price_e8 or (order.stop_e8 if order.type != "MARKET" else 0) or average_e8
    symbol.check_notional(reference_e8, order.qty_e8, market)


def check_counts(venue: Venue, account: Account, orders: list[Order], instead_of: Order | None = None) -> None:
    """MAX_NUM_ORDERS, MAX_NUM_ALGO_ORDERS and MAX_NUM_ORDER_LISTS, with orders that come; `instead_of` leaves first."""
    if not orders:
        return
    symbol = orders[0].symbol
    rules = symbol.filters
    if len(account.open) + len(orders) > min(rules.max_orders, rules.max_algo_orders):
        here = [order for order in account.open.values() if order.symbol is symbol and order is not instead_of]
        if len(here) + len(orders) > rules.max_orders:
            raise filter_failure("MAX_NUM_ORDERS")
        coming = sum(1 for order in orders if order.type in ALGO_TYPES)
        if coming and coming + sum(1 for order in here if order.type in ALGO_TYPES) > rules.max_algo_orders:
            raise filter_failure("MAX_NUM_ALGO_ORDERS")
    if orders[0].order_list is not None:
        lists = sum(1 for one in account.open_lists.values() if one.symbol is symbol)
        if lists + 1 > rules.max_order_lists:
            raise filter_failure("MAX_NUM_ORDER_LISTS")


def check_ids(venue: Venue, account: Account, orders: list[Order], leaving: Order | None = None) -> None:
    """No open order of the account has the same client id: the venue's own rule; by the strict one none of a day."""
    seen: set[str] = set()
    for order in orders:
        known = account.by_client.get(order.client_id)
        if (known is not None and known.is_open and known is not leaving) or order.client_id in seen:
            raise order_refused("Duplicate order sent.")
        if venue.client_ids_once and account.has_used(order.client_id, venue.now_ms()):
            raise order_refused("Duplicate order sent.")
        seen.add(order.client_id)


def read_order(
    venue: Venue,
    account: Account,
    symbol: Symbol,
    values: dict[str, Any],
    prefix: str = "",
    order_list: OrderList | None = None,
) -> Order:
    """An order that passes every rule that does not depend on the book. Raises Refused.

    `values` has the names of a single order; `prefix` is what they are called with in the request of a list.
    """
    kind = values["type"]
    _check_fields(kind, values, prefix, order_list is not None)
    if symbol.status != "TRADING":
        raise Refused(-1013, "Market is closed.")
    number = venue.order_number()
    order = Order(
        symbol,
        number,
        values.get("newClientOrderId") or venue.made_id(number),
        account.index,
        values["side"] == "BUY",
        kind,
        values.get("timeInForce", "GTC"),
        values.get("price", 0),
        values.get("quantity", 0),
        values.get("stopPrice", 0),
        values.get("icebergQty", 0),
        values.get("selfTradePreventionMode", DEFAULT_STP),
        venue.now_ms(),
        quote_qty_e8=values.get("quoteOrderQty", 0),
        trailing_bips=values.get("trailingDelta", 0),
        order_list=order_list,
        strategy_id=values.get("strategyId"),
        strategy_type=values.get("strategyType"),
    )
    _check_filters(venue, order)
    return order


def read_amend(order: Order, qty_e8: int) -> None:
    """Whether an order may be made smaller. Raises Refused."""
    if qty_e8 <= order.executed_e8 or qty_e8 >= order.qty_e8:
        raise Refused(-2038, "The new quantity must be less than the order's and more than what is executed.")
    order.symbol.check_qty(qty_e8, market=False)
    order.symbol.check_notional(order.price_e8, qty_e8, market=False)
