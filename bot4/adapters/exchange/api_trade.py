"""Answers to those who trade: orders, order lists, and the account they move."""

from collections.abc import Iterable
from itertools import takewhile
from typing import Any

from bot4.adapters.exchange.api import Call
from bot4.adapters.exchange.commission import COUNTED_IN
from bot4.adapters.exchange.entry import DEFAULT_STP, check_counts, check_ids, read_amend, read_order
from bot4.adapters.exchange.number import E8, text_e8
from bot4.adapters.exchange.order import Fill, Order, OrderList
from bot4.adapters.exchange.refusal import UNKNOWN_ORDER, Refused, missing, one_of, order_refused
from bot4.adapters.exchange.symbol import Symbol
from bot4.adapters.exchange.venue import Account, Venue

_MAX_ROWS = 1_000
_PPM = 1_000_000


def _now_s(venue: Venue) -> float:
    return venue.clock_ns() / 1e9


# --- one order ---


def _answer(order: Order, fills: list[Fill], wanted: str | None) -> dict:
    kind = wanted or ("FULL" if order.type in ("MARKET", "LIMIT") else "ACK")
    if kind == "ACK":
        return order.acknowledged()
    return order.result() if kind == "RESULT" else order.full(fills)


def _read(venue: Venue, account: Account, values: dict[str, Any], leaving: Order | None = None) -> Order:
    order = read_order(venue, account, venue.symbol(values["symbol"]), values)
    check_ids(venue, account, [order], leaving)
    check_counts(venue, account, [order], leaving)
    return order


def place(venue: Venue, call: Call) -> Any:
    """A new order."""
    account = call.owner
    order = _read(venue, account, call.values)
    with account.limit.of(_now_s(venue)):
        fills = venue.place(account, order)
    return _answer(order, fills, call.values.get("newOrderRespType"))


def _rates(venue: Venue, account: Account) -> dict[str, str]:
    """Maker's and taker's fee as shares."""
    venue.grade()
    tier = account.rates.tier
    return {"maker": text_e8(tier.maker_ppm * E8 // _PPM), "taker": text_e8(tier.taker_ppm * E8 // _PPM)}


def _discount(venue: Venue, account: Account, symbol: Symbol) -> dict:
    """What is left of a fee that is paid in the token, and whether it is."""
    token = venue.token
    return {
        "enabledForAccount": account.rates.pays_token,
        "enabledForSymbol": token is not None and symbol.quote == COUNTED_IN,
        "discountAsset": "BNB" if token is None else token.asset,
        "discount": text_e8(0 if token is None else (_PPM - token.discount_ppm) * E8 // _PPM),
    }


def test(venue: Venue, call: Call) -> Any:
    """A new order, checked and not sent."""
    order = _read(venue, call.owner, call.values)
    if not call.values.get("computeCommissionRates"):
        return {}
    nothing = {"maker": text_e8(0), "taker": text_e8(0)}
    return {
        "standardCommissionForOrder": _rates(venue, call.owner),
        "specialCommissionForOrder": nothing,
        "taxCommissionForOrder": nothing,
        "discount": _discount(venue, call.owner, order.symbol),
    }


_BY_ID = ("orderId", "origClientOrderId")


def _find(venue: Venue, call: Call, unknown: Refused, names: tuple[str, str] = _BY_ID) -> Order:
    values = call.values
    symbol = venue.symbol(values["symbol"])
    order_id, client_id = values.get(names[0]), values.get(names[1])
    if order_id is None and client_id is None:
        raise one_of(names[1], names[0])
    order = call.owner.find(symbol, order_id, client_id, venue.orders)
    if order is None:
        raise unknown
    return order


def query(venue: Venue, call: Call) -> Any:
    """One order, open or finished."""
    unknown = Refused(-2013, "Order does not exist.")
    for order in _shown(venue, call, [_find(venue, call, unknown)]):
        return order.info()
    raise unknown


def _shown(venue: Venue, call: Call, orders: Iterable[Order]) -> list[Order]:
    """Orders as they are, or as a replica that lags knows them."""
    if not venue.lag_ms:
        return list(orders)
    return [found for order in orders if (found := order.as_of(call.now_ms - venue.lag_ms)) is not None]


def _check_restriction(order: Order, restriction: str | None) -> None:
    wanted = {"ONLY_NEW": "NEW", "ONLY_PARTIALLY_FILLED": "PARTIALLY_FILLED"}.get(restriction or "")
    if wanted is not None and order.status != wanted:
        raise Refused(-2011, "Order was not canceled due to cancel restrictions.")


def _cancel(venue: Venue, account: Account, order: Order, cancel_id: str) -> dict:
    """Cancel one order, or the list it belongs to."""
    if not order.is_open:
        raise Refused(-2011, UNKNOWN_ORDER)
    venue.cancel(account, order, cancel_id)
    if order.order_list is not None:
        return _list_report(order.order_list)
    return order.canceled(cancel_id)


def cancel(venue: Venue, call: Call) -> Any:
    """Cancel an order."""
    order = _find(venue, call, Refused(-2011, UNKNOWN_ORDER))
    _check_restriction(order, call.values.get("cancelRestrictions"))
    return _cancel(venue, call.owner, order, _cancel_id(venue, call.values))


def _cancel_id(venue: Venue, values: dict[str, Any]) -> str:
    return values.get("newClientOrderId") or venue.made_id(venue.order_number())


def cancel_open(venue: Venue, call: Call) -> Any:
    """Cancel every order of a symbol: stops and lists too."""
    symbol = venue.symbol(call.values["symbol"])
    account = call.owner
    orders = [order for order in account.open.values() if order.symbol is symbol]
    if not orders:
        raise Refused(-2011, UNKNOWN_ORDER)
    answers = []
    for order in orders:
        if order.is_open:  # not gone with its list
            answers.append(_cancel(venue, account, order, venue.made_id(venue.order_number())))
    return answers


def open_orders(venue: Venue, call: Call) -> Any:
    """Every open order, of one symbol or of all."""
    orders = list(call.owner.open.values())
    if venue.lag_ms:
        past_ms = call.now_ms - venue.lag_ms
        orders += takewhile(lambda order: order.update_ms > past_ms, reversed(call.owner.history))
    if "symbol" in call.values:
        symbol = venue.symbol(call.values["symbol"])
        orders = [order for order in orders if order.symbol is symbol]
    return [order.info() for order in _shown(venue, call, orders) if order.is_open]


def all_orders(venue: Venue, call: Call) -> Any:
    """Open and finished orders of a symbol, by id or time."""
    values = call.values
    symbol = venue.symbol(values["symbol"])
    account = call.owner
    since, start, end = values.get("orderId"), values.get("startTime"), values.get("endTime")
    _check_span(start, end)
    limit = _limit(values)
    rows = [
        order
        for order in sorted((*account.history, *account.open.values()), key=lambda order: order.order_id)
        if order.symbol is symbol
        and (since is None or order.order_id >= since)
        and (start is None or order.time_ms >= start)
        and (end is None or order.time_ms <= end)
    ]
    rows = _shown(venue, call, rows)
    return [order.info() for order in (rows[-limit:] if since is None and start is None else rows[:limit])]


def _limit(values: dict[str, Any]) -> int:
    limit = values.get("limit", 500)
    if limit == 0:
        raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, _MAX_ROWS)


def _check_span(start: int | None, end: int | None) -> None:
    if start is not None and end is not None and end - start > 86_400_000:
        raise Refused(-1127, "More than 24 hours between startTime and endTime.")


def my_trades(venue: Venue, call: Call) -> Any:
    """Trades of the account."""
    values = call.values
    symbol = venue.symbol(values["symbol"])
    order_id, since = values.get("orderId"), values.get("fromId")
    start, end = values.get("startTime"), values.get("endTime")
    _check_span(start, end)
    limit = _limit(values)
    shown_ms = call.now_ms - venue.lag_ms
    rows = [
        (order, fill)
        for order, fill in call.owner.trades
        if order.symbol is symbol
        and (not venue.lag_ms or fill.time_ms <= shown_ms)
        and (order_id is None or order.order_id == order_id)
        and (since is None or fill.trade_id >= since)
        and (start is None or fill.time_ms >= start)
        and (end is None or fill.time_ms <= end)
    ]
    from_start = since is not None or start is not None
    return [order.trade(fill) for order, fill in (rows[:limit] if from_start else rows[-limit:])]


def prevented(venue: Venue, call: Call) -> Any:
    """Matches of the account with itself that were prevented."""
    values = call.values
    symbol = venue.symbol(values["symbol"])
    match_id, order_id = values.get("preventedMatchId"), values.get("orderId")
    if match_id is None and order_id is None:
        raise one_of("preventedMatchId", "orderId")
    return [
        row
        for row in call.owner.prevented
        if row["symbol"] == symbol.name
        and (match_id is None or row["preventedMatchId"] == match_id)
        and (order_id is None or order_id in (row.get("takerOrderId"), row.get("makerOrderId")))
    ][: _limit(values)]


def cancel_replace(venue: Venue, call: Call) -> Any:
    """Cancel one order and place another."""
    values = call.values
    account = call.owner
    stop_on_failure = values["cancelReplaceMode"] == "STOP_ON_FAILURE"
    old: Order | None = None
    answer: dict[str, Any] = {
        "cancelResult": "FAILURE", "newOrderResult": "NOT_ATTEMPTED", "cancelResponse": None, "newOrderResponse": None,
    }  # fmt: skip
    if "cancelOrderId" not in values and "cancelOrigClientOrderId" not in values:
        raise one_of("cancelOrigClientOrderId", "cancelOrderId")
    try:
        old = _find(venue, call, Refused(-2011, UNKNOWN_ORDER), ("cancelOrderId", "cancelOrigClientOrderId"))
    except Refused as refused:
        if refused.code != -2011:
            raise
        failure = refused
    new = _read(venue, account, values, old)  # what is wrong by itself cancels nothing
    account.limit.take(_now_s(venue))  # refused at once, before anything is canceled
    account.limit.give_back(_now_s(venue), 1)
    try:
        if old is None:
            raise failure
        _check_restriction(old, values.get("cancelRestrictions"))
        cancel_id = values.get("cancelNewClientOrderId") or venue.made_id(venue.order_number())
        answer["cancelResponse"] = _cancel(venue, account, old, cancel_id)
        answer["cancelResult"] = "SUCCESS"
    except Refused as refused:
        answer["cancelResponse"] = refused.body()
        if stop_on_failure:
            raise Refused(-2022, "Order cancel-replace failed.", data=answer) from None
    try:
        with account.limit.of(_now_s(venue)):
            fills = venue.place(account, new)
        answer["newOrderResponse"] = _answer(new, fills, values.get("newOrderRespType"))
        answer["newOrderResult"] = "SUCCESS"
    except Refused as refused:
        answer["newOrderResponse"] = refused.body()
        answer["newOrderResult"] = "FAILURE"
    worked = (answer["cancelResult"], answer["newOrderResult"])
    if worked == ("SUCCESS", "SUCCESS"):
        return answer
    if "SUCCESS" in worked:
        raise Refused(-2021, "Order cancel-replace partially failed.", 409, data=answer)
    raise Refused(-2022, "Order cancel-replace failed.", data=answer)


def amend(venue: Venue, call: Call) -> Any:
    """Less of an order, which keeps its place."""
    order = _find(venue, call, Refused(-2013, "Order does not exist."))
    if not order.is_open or order.type not in ("LIMIT", "LIMIT_MAKER"):
        raise Refused(-2038, "Order amend is not possible for this order.")
    read_amend(order, call.values["newQty"])
    venue.amend(call.owner, order, call.values["newQty"])
    return {"transactTime": order.update_ms, "executionId": order.order_id, "amendedOrder": {
        "symbol": order.symbol.name, "orderId": order.order_id, "orderListId": order.list_id,
        "origClientOrderId": order.client_id, "clientOrderId": order.client_id, "price": text_e8(order.price_e8),
        "qty": text_e8(order.qty_e8), "executedQty": text_e8(order.executed_e8),
        "preventedQty": text_e8(order.prevented_e8), "quoteOrderQty": text_e8(order.quote_qty_e8),
        "cumulativeQuoteQty": text_e8(order.quote_e8), "status": order.status, "timeInForce": order.tif,
        "type": order.type, "side": "BUY" if order.is_buy else "SELL", "workingTime": order.working_ms,
        "selfTradePreventionMode": order.stp_mode,
    }}  # fmt: skip


# --- order lists ---


def _list_report(order_list: OrderList) -> dict:
    return order_list.info() | {"orderReports": [_leg_report(order) for order in order_list.orders]}


def _leg_report(order: Order) -> dict:
    return order.result()


def _leg(values: dict[str, Any], names: dict[str, str], **fixed: Any) -> dict[str, Any]:
    """The parameters of one leg, under the names of a single order."""
    found = {name: values[sent] for name, sent in names.items() if sent in values}
    return found | fixed


_LEG_FIELDS = ("price", "stopPrice", "trailingDelta", "icebergQty", "timeInForce", "strategyId", "strategyType")


def _leg_names(prefix: str) -> dict[str, str]:
    names = {name: prefix + name[0].upper() + name[1:] for name in _LEG_FIELDS}
    names["newClientOrderId"] = prefix + "ClientOrderId"
    names["type"] = prefix + "Type"
    return names


def _begin_list(venue: Venue, call: Call, kind: str, contingency: str) -> OrderList:
    symbol = venue.symbol(call.values["symbol"])
    number = venue.new_list_number()
    client_id = call.values.get("listClientOrderId") or venue.made_id(-number)
    known = call.owner.lists_by_client.get(client_id)
    if known is not None and known.status != "ALL_DONE":
        raise order_refused("Duplicate order sent.")
    return OrderList(number, symbol, client_id, contingency, call.now_ms, account=call.owner.index,
                     contingency_kind=kind)  # fmt: skip


def _send_list(venue: Venue, call: Call, order_list: OrderList) -> Any:
    account = call.owner
    check_ids(venue, account, order_list.orders)
    check_counts(venue, account, order_list.orders)
    with account.limit.of(_now_s(venue), len(order_list.orders)):
        venue.place_list(account, order_list)
    report = order_list.info()
    wanted = call.values.get("newOrderRespType", "RESULT")
    if wanted == "ACK":
        report["orderReports"] = [order.acknowledged() for order in order_list.orders]
    elif wanted == "FULL":
        report["orderReports"] = [order.full(order.fills) for order in order_list.orders]
    else:
        report["orderReports"] = [order.result() for order in order_list.orders]
    return report


def _check_pair(venue: Venue, symbol: Symbol, is_buy: bool, above: Order, below: Order) -> None:
    """An OCO's legs stand where they belong: one contingent order at least, and the price between them."""
    kinds = {"above": above, "below": below}
    limits = [place for place, order in kinds.items() if order.type == "LIMIT_MAKER"]
    if len(limits) == 2:
        raise Refused(-1168, "At least one OCO order must be contingent.")
    for place, order in kinds.items():
        stop = order.type.startswith("STOP_LOSS")
        gain = order.type.startswith("TAKE_PROFIT")
        if is_buy:
            if order.type == "LIMIT_MAKER" and place == "above":
                raise Refused(-1165, "A limit order in a buy OCO must be below.")
            if stop and place == "below":
                raise Refused(-1196, "A stop loss order in a buy OCO must be above.")
            if gain and place == "above":
                raise Refused(-1198, "A take profit order in a buy OCO must be below.")
        else:
            if order.type == "LIMIT_MAKER" and place == "below":
                raise Refused(-1166, "A limit order in a sell OCO must be above.")
            if stop and place == "above":
                raise Refused(-1197, "A stop loss order in a sell OCO must be below.")
            if gain and place == "below":
                raise Refused(-1199, "A take profit order in a sell OCO must be above.")
    last_e8 = venue.tapes[symbol.index].last_e8
    above_e8 = above.price_e8 if above.type == "LIMIT_MAKER" else above.stop_e8
    below_e8 = below.price_e8 if below.type == "LIMIT_MAKER" else below.stop_e8
    if (above_e8 and above_e8 <= last_e8) or (below_e8 and below_e8 >= last_e8):
        raise order_refused("The relationship of the prices for the orders is not correct.")


_PAIR_TYPES = ("LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")


def _pair_type(kind: str) -> str:
    if kind not in _PAIR_TYPES:
        raise Refused(-1158, "Order type not supported in OCO.")
    return kind


def oco(venue: Venue, call: Call) -> Any:
    """One cancels the other."""
    values = call.values
    order_list = _begin_list(venue, call, "OCO", "OCO")
    common = {"side": values["side"], "quantity": values["quantity"],
              "selfTradePreventionMode": values.get("selfTradePreventionMode", DEFAULT_STP)}  # fmt: skip
    legs = []
    for prefix in ("above", "below"):
        _pair_type(values[prefix + "Type"])
        leg = _leg(values, _leg_names(prefix), **common)
        legs.append(read_order(venue, call.owner, order_list.symbol, leg, prefix, order_list))
    _check_pair(venue, order_list.symbol, values["side"] == "BUY", legs[0], legs[1])
    order_list.orders = legs
    return _send_list(venue, call, order_list)


def old_oco(venue: Venue, call: Call) -> Any:
    """The form of an OCO that came first: a limit order and a stop."""
    values = call.values
    order_list = _begin_list(venue, call, "OCO", "OCO")
    common = {"side": values["side"], "quantity": values["quantity"],
              "selfTradePreventionMode": values.get("selfTradePreventionMode", DEFAULT_STP)}  # fmt: skip
    limit_names = {"newClientOrderId": "limitClientOrderId", "price": "price", "icebergQty": "limitIcebergQty",
                   "strategyId": "limitStrategyId", "strategyType": "limitStrategyType"}  # fmt: skip
    stop_names = {"newClientOrderId": "stopClientOrderId", "price": "stopLimitPrice", "stopPrice": "stopPrice",
                  "timeInForce": "stopLimitTimeInForce", "icebergQty": "stopIcebergQty",
                  "trailingDelta": "trailingDelta", "strategyId": "stopStrategyId",
                  "strategyType": "stopStrategyType"}  # fmt: skip
    stop_kind = "STOP_LOSS_LIMIT" if "stopLimitPrice" in values else "STOP_LOSS"
    maker_leg = _leg(values, limit_names, type="LIMIT_MAKER", **common)
    stop_leg = _leg(values, stop_names, type=stop_kind, **common)
    maker = read_order(venue, call.owner, order_list.symbol, maker_leg, "", order_list)
    stop = read_order(venue, call.owner, order_list.symbol, stop_leg, "", order_list)
    is_buy = values["side"] == "BUY"
    above, below = (stop, maker) if is_buy else (maker, stop)
    _check_pair(venue, order_list.symbol, is_buy, above, below)
    order_list.orders = [stop, maker]
    return _send_list(venue, call, order_list)


def _working(venue: Venue, call: Call, order_list: OrderList) -> Order:
    values = call.values
    if values["workingType"] not in ("LIMIT", "LIMIT_MAKER"):
        raise Refused(-1130, "Data sent for parameter 'workingType' is not valid.")
    leg = _leg(values, _leg_names("working"), side=values["workingSide"], quantity=values["workingQuantity"],
               selfTradePreventionMode=values.get("selfTradePreventionMode", DEFAULT_STP))  # fmt: skip
    return read_order(venue, call.owner, order_list.symbol, leg, "working", order_list)


def _pending_order(
    venue: Venue, call: Call, order_list: OrderList, prefix: str, side: str, names: dict[str, str]
) -> Order:
    values = call.values
    leg = _leg(values, names, side=side, quantity=values["pendingQuantity"],
               selfTradePreventionMode=values.get("selfTradePreventionMode", DEFAULT_STP))  # fmt: skip
    return read_order(venue, call.owner, order_list.symbol, leg, prefix, order_list)


def oto(venue: Venue, call: Call) -> Any:
    """One triggers the other."""
    order_list = _begin_list(venue, call, "OTO", "OTO")
    working = _working(venue, call, order_list)
    pending = _pending_order(venue, call, order_list, "pending", call.values["pendingSide"], _leg_names("pending"))
    order_list.orders = [working, pending]
    return _send_list(venue, call, order_list)


def otoco(venue: Venue, call: Call) -> Any:
    """One triggers an OCO."""
    values = call.values
    order_list = _begin_list(venue, call, "OTOCO", "OTO")
    working = _working(venue, call, order_list)
    pair = []
    for prefix in ("pendingAbove", "pendingBelow"):
        if prefix + "Type" not in values:
            raise missing(prefix + "Type")
        _pair_type(values[prefix + "Type"])
        pair.append(_pending_order(venue, call, order_list, prefix, values["pendingSide"], _leg_names(prefix)))
    order_list.orders = [working, *pair]
    return _send_list(venue, call, order_list)


def _find_list(call: Call, number: str, client: str, unknown: Refused) -> OrderList:
    values = call.values
    if number not in values and client not in values:
        raise one_of(client, number)
    account = call.owner
    found = account.lists.get(values[number]) if number in values else account.lists_by_client.get(values[client])
    if found is None:
        raise unknown
    return found


def query_list(venue: Venue, call: Call) -> Any:
    """One order list."""
    return _find_list(call, "orderListId", "origClientOrderId", Refused(-2018, "Order list does not exist.")).info()


def cancel_list(venue: Venue, call: Call) -> Any:
    """Cancel an order list."""
    symbol = venue.symbol(call.values["symbol"])
    found = _find_list(call, "orderListId", "listClientOrderId", Refused(-2011, UNKNOWN_ORDER))
    leg = next((order for order in found.orders if order.is_open), None)
    if found.symbol is not symbol or leg is None:
        raise Refused(-2011, UNKNOWN_ORDER)
    venue.cancel(call.owner, leg, _cancel_id(venue, call.values))
    return _list_report(found)


def open_lists(venue: Venue, call: Call) -> Any:
    """Every open order list."""
    return [one.info() for one in call.owner.open_lists.values()]


def all_lists(venue: Venue, call: Call) -> Any:
    """Order lists, by id or time."""
    values = call.values
    since, start, end = values.get("fromId"), values.get("startTime"), values.get("endTime")
    if since is not None and (start is not None or end is not None):
        raise Refused(-1128, "Combination of optional parameters invalid.")
    rows = [
        one
        for one in call.owner.lists.values()
        if (since is None or one.list_id >= since)
        and (start is None or one.time_ms >= start)
        and (end is None or one.time_ms <= end)
    ]
    return [one.info() for one in rows][: _limit(values)]


# --- the account ---


def account(venue: Venue, call: Call) -> Any:
    """Balances and rates."""
    owner = call.owner
    balances = []
    for asset in venue.assets:
        free_e8, locked_e8 = venue.balance(owner, asset)
        if call.values.get("omitZeroBalances") and not free_e8 and not locked_e8:
            continue
        balances.append({"asset": asset, "free": text_e8(free_e8), "locked": text_e8(locked_e8)})
    rates = _rates(venue, owner)
    tier = owner.rates.tier
    return {
        "makerCommission": tier.maker_ppm // 100,
        "takerCommission": tier.taker_ppm // 100,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": rates | {"buyer": text_e8(0), "seller": text_e8(0)},
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": owner.update_ms,
        "accountType": "SPOT",
        "balances": balances,
        "permissions": ["SPOT"],
        "uid": owner.index + 1,
    }


def commission(venue: Venue, call: Call) -> Any:
    """Rates of one symbol."""
    owner = call.owner
    symbol = venue.symbol(call.values["symbol"])
    rates = _rates(venue, owner) | {"buyer": text_e8(0), "seller": text_e8(0)}
    nothing = dict.fromkeys(rates, text_e8(0))
    return {
        "symbol": symbol.name,
        "standardCommission": rates,
        "specialCommission": nothing,
        "taxCommission": nothing,
        "discount": _discount(venue, owner, symbol),
    }


def key_rights(venue: Venue, call: Call) -> Any:
    """What a key may do: to read and to trade from one address, and what its owner says of it."""
    faults = call.owner.key_faults
    refused = ("enableMargin", "enableFutures", "enableVanillaOptions", "enablePortfolioMarginTrading")
    return dict.fromkeys(refused, False) | {
        "ipRestrict": "unbound" not in faults,
        "enableReading": True,
        "enableSpotAndMarginTrading": "reads_only" not in faults,
        "enableWithdrawals": "withdraws" in faults,
        "enableInternalTransfer": "transfers" in faults,
        "permitsUniversalTransfer": "transfers" in faults,
    }


def fees_in_token(venue: Venue, call: Call) -> Any:
    """Whether the account pays its fees in the token, and the switch for it."""
    owner = call.owner
    wanted = call.values.get("spotBNBBurn")
    if wanted is not None:
        venue.pay_in_token(owner, wanted)
    return {"spotBNBBurn": owner.rates.pays_token, "interestBNBBurn": False}


def trade_fee(venue: Venue, call: Call) -> Any:
    """Rates of one symbol or of all, in the form of the wallet's endpoint."""
    rates = _rates(venue, call.owner)
    names = [call.values["symbol"]] if "symbol" in call.values else list(venue.symbols)
    return [
        {
            "symbol": venue.symbol(name).name,
            "makerCommission": rates["maker"],
            "takerCommission": rates["taker"],
        }
        for name in names
    ]


def order_limits(venue: Venue, call: Call) -> Any:
    """How many orders the account has sent."""
    now_s = _now_s(venue)
    return [count.state(now_s) for count in call.owner.limit.counts]
