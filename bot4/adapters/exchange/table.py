"""The paths of the REST API and the methods of the websocket API: what is read, what it weighs, who answers."""

from typing import Any

from bot4.adapters.exchange import api_market as market
from bot4.adapters.exchange import api_trade as trade
from bot4.adapters.exchange import parameter as p
from bot4.adapters.exchange.api import SIGNED, Endpoint, endpoint

_ORDER: dict[str, Any] = {
    "symbol": p.symbol, "side": p.side, "type": p.order_type, "timeInForce": p.time_in_force, "quantity": p.decimal,
    "quoteOrderQty": p.decimal, "price": p.decimal, "newClientOrderId": p.client_id, "strategyId": p.whole,
    "strategyType": p.whole, "stopPrice": p.decimal, "trailingDelta": p.whole, "icebergQty": p.decimal,
    "newOrderRespType": p.response_type, "selfTradePreventionMode": p.stp_mode,
}  # fmt: skip
_LIST: dict[str, Any] = {
    "symbol": p.symbol, "listClientOrderId": p.client_id, "newOrderRespType": p.response_type,
    "selfTradePreventionMode": p.stp_mode,
}  # fmt: skip


def _leg(prefix: str) -> dict[str, Any]:
    return {
        prefix + "Type": p.order_type, prefix + "ClientOrderId": p.client_id, prefix + "IcebergQty": p.decimal,
        prefix + "Price": p.decimal, prefix + "StopPrice": p.decimal, prefix + "TrailingDelta": p.whole,
        prefix + "TimeInForce": p.time_in_force, prefix + "StrategyId": p.whole, prefix + "StrategyType": p.whole,
    }  # fmt: skip


_WORKING = _leg("working") | {"workingSide": p.side, "workingQuantity": p.decimal}
_PENDING = {"pendingSide": p.side, "pendingQuantity": p.decimal}
_WORKING_NEEDS = ("symbol", "workingType", "workingSide", "workingPrice", "workingQuantity", "pendingSide",
                  "pendingQuantity")  # fmt: skip
_SPAN: dict[str, Any] = {"startTime": p.whole, "endTime": p.whole, "limit": p.whole}
_ONE_ORDER: dict[str, Any] = {"symbol": p.symbol, "orderId": p.whole, "origClientOrderId": p.client_id}
_TICKER: dict[str, Any] = {"symbol": p.symbol, "symbols": p.symbols, "type": p.ticker_type,
                              "symbolStatus": p.symbol_status}  # fmt: skip
_KLINES: dict[str, Any] = {"symbol": p.symbol, "interval": p.interval, "timeZone": p.time_zone, **_SPAN}
_SYMBOL: dict[str, Any] = {"symbol": p.symbol}

PING = endpoint(market.ping, 1)
TIME = endpoint(market.time, 1)
EXCHANGE_INFO = endpoint(market.exchange_info, 20, symbol=p.symbol, symbols=p.symbols, permissions=p.text,
                         showPermissionSets=p.boolean, symbolStatus=p.symbol_status)  # fmt: skip
DEPTH = endpoint(market.depth, market.depth_weight, required=("symbol",), symbol=p.symbol, limit=p.whole,
                 symbolStatus=p.symbol_status)  # fmt: skip
TRADES = endpoint(market.trades, 25, required=("symbol",), symbol=p.symbol, limit=p.whole)
HISTORICAL = endpoint(market.historical_trades, 25, required=("symbol",), symbol=p.symbol, limit=p.whole,
                      fromId=p.whole)  # fmt: skip
AGG_TRADES = endpoint(market.agg_trades, 4, required=("symbol",), symbol=p.symbol, fromId=p.whole, **_SPAN)
KLINES = endpoint(market.klines, 2, required=("symbol", "interval"), **_KLINES)
AVG_PRICE = endpoint(market.avg_price, 2, required=("symbol",), **_SYMBOL)
TICKER_DAY = endpoint(market.ticker_day, market.by_symbol(2, 80), **_TICKER)
TICKER_TRADING_DAY = endpoint(market.ticker_trading_day, market.by_symbol(4, 200), timeZone=p.time_zone, **_TICKER)
TICKER_PRICE = endpoint(market.price_ticker, market.by_symbol(2, 4), symbol=p.symbol, symbols=p.symbols,
                        symbolStatus=p.symbol_status)  # fmt: skip
TICKER_BOOK = endpoint(market.book_ticker, market.by_symbol(2, 4), symbol=p.symbol, symbols=p.symbols,
                       symbolStatus=p.symbol_status)  # fmt: skip
TICKER_WINDOW = endpoint(market.ticker_window, market.by_symbol(4, 200), windowSize=p.window, **_TICKER)

PLACE = endpoint(trade.place, 1, SIGNED, ("symbol", "side", "type"), **_ORDER)
TEST = endpoint(trade.test, 1, SIGNED, ("symbol", "side", "type"), computeCommissionRates=p.boolean, **_ORDER)
QUERY = endpoint(trade.query, 4, SIGNED, ("symbol",), **_ONE_ORDER)
CANCEL = endpoint(trade.cancel, 1, SIGNED, ("symbol",), newClientOrderId=p.client_id, cancelRestrictions=p.restriction,
                  **_ONE_ORDER)  # fmt: skip
REPLACE = endpoint(
    trade.cancel_replace, 1, SIGNED, ("symbol", "side", "type", "cancelReplaceMode"), cancelReplaceMode=p.replace_mode,
    cancelOrderId=p.whole, cancelOrigClientOrderId=p.client_id, cancelNewClientOrderId=p.client_id,
    cancelRestrictions=p.restriction, orderRateLimitExceededMode=p.rate_exceeded_mode, **_ORDER,
)  # fmt: skip
AMEND = endpoint(trade.amend, 4, SIGNED, ("symbol", "newQty"), newQty=p.decimal, newClientOrderId=p.client_id,
                 **_ONE_ORDER)  # fmt: skip
OPEN_ORDERS = endpoint(trade.open_orders, market.by_symbol(6, 80), SIGNED, **_SYMBOL)
CANCEL_OPEN = endpoint(trade.cancel_open, 1, SIGNED, ("symbol",), **_SYMBOL)
ALL_ORDERS = endpoint(trade.all_orders, 20, SIGNED, ("symbol",), symbol=p.symbol, orderId=p.whole, **_SPAN)
MY_TRADES = endpoint(trade.my_trades, 20, SIGNED, ("symbol",), symbol=p.symbol, orderId=p.whole, fromId=p.whole,
                     **_SPAN)  # fmt: skip
PREVENTED = endpoint(trade.prevented, 20, SIGNED, ("symbol",), symbol=p.symbol, preventedMatchId=p.whole,
                     orderId=p.whole, fromPreventedMatchId=p.whole, limit=p.whole)  # fmt: skip
OCO = endpoint(trade.oco, 1, SIGNED, ("symbol", "side", "quantity", "aboveType", "belowType"), side=p.side,
               quantity=p.decimal, **_LIST, **_leg("above"), **_leg("below"))  # fmt: skip
OLD_OCO = endpoint(
    trade.old_oco, 1, SIGNED, ("symbol", "side", "quantity", "price", "stopPrice"), side=p.side, quantity=p.decimal,
    limitClientOrderId=p.client_id, limitStrategyId=p.whole, limitStrategyType=p.whole, price=p.decimal,
    limitIcebergQty=p.decimal, trailingDelta=p.whole, stopClientOrderId=p.client_id, stopPrice=p.decimal,
    stopStrategyId=p.whole, stopStrategyType=p.whole, stopLimitPrice=p.decimal, stopIcebergQty=p.decimal,
    stopLimitTimeInForce=p.time_in_force, **_LIST,
)  # fmt: skip
OTO = endpoint(trade.oto, 1, SIGNED, (*_WORKING_NEEDS, "pendingType"), **_LIST, **_WORKING, **_PENDING,
               **_leg("pending"))  # fmt: skip
OTOCO = endpoint(trade.otoco, 1, SIGNED, _WORKING_NEEDS, **_LIST, **_WORKING, **_PENDING, **_leg("pendingAbove"),
                 **_leg("pendingBelow"))  # fmt: skip
QUERY_LIST = endpoint(trade.query_list, 4, SIGNED, orderListId=p.whole, origClientOrderId=p.client_id)
CANCEL_LIST = endpoint(trade.cancel_list, 1, SIGNED, ("symbol",), symbol=p.symbol, orderListId=p.whole,
                       listClientOrderId=p.client_id, newClientOrderId=p.client_id)  # fmt: skip
OPEN_LISTS = endpoint(trade.open_lists, 6, SIGNED)
ALL_LISTS = endpoint(trade.all_lists, 20, SIGNED, fromId=p.whole, **_SPAN)
ACCOUNT = endpoint(trade.account, 20, SIGNED, omitZeroBalances=p.boolean)
COMMISSION = endpoint(trade.commission, 20, SIGNED, ("symbol",), **_SYMBOL)
TRADE_FEE = endpoint(trade.trade_fee, 1, SIGNED, **_SYMBOL)
FEES_IN_TOKEN = endpoint(trade.fees_in_token, 1, SIGNED)
SWITCH_TOKEN = endpoint(trade.fees_in_token, 1, SIGNED, spotBNBBurn=p.boolean, interestBNBBurn=p.boolean)
KEY_RIGHTS = endpoint(trade.key_rights, 1, SIGNED)
ORDER_LIMITS = endpoint(trade.order_limits, 40, SIGNED)

SYSTEM_STATUS = endpoint(market.system_status, 1)

REST: dict[tuple[str, str], Endpoint] = {
    ("GET", "/api/v3/ping"): PING,
    ("GET", "/api/v3/time"): TIME,
    ("GET", "/api/v3/exchangeInfo"): EXCHANGE_INFO,
    ("GET", "/api/v3/depth"): DEPTH,
    ("GET", "/api/v3/trades"): TRADES,
    ("GET", "/api/v3/historicalTrades"): HISTORICAL,
    ("GET", "/api/v3/aggTrades"): AGG_TRADES,
    ("GET", "/api/v3/klines"): KLINES,
    ("GET", "/api/v3/uiKlines"): KLINES,
    ("GET", "/api/v3/avgPrice"): AVG_PRICE,
    ("GET", "/api/v3/ticker/24hr"): TICKER_DAY,
    ("GET", "/api/v3/ticker/tradingDay"): TICKER_TRADING_DAY,
    ("GET", "/api/v3/ticker/price"): TICKER_PRICE,
    ("GET", "/api/v3/ticker/bookTicker"): TICKER_BOOK,
    ("GET", "/api/v3/ticker"): TICKER_WINDOW,
    ("POST", "/api/v3/order"): PLACE,
    ("POST", "/api/v3/order/test"): TEST,
    ("GET", "/api/v3/order"): QUERY,
    ("DELETE", "/api/v3/order"): CANCEL,
    ("POST", "/api/v3/order/cancelReplace"): REPLACE,
    ("PUT", "/api/v3/order/amend/keepPriority"): AMEND,
    ("GET", "/api/v3/openOrders"): OPEN_ORDERS,
    ("DELETE", "/api/v3/openOrders"): CANCEL_OPEN,
    ("GET", "/api/v3/allOrders"): ALL_ORDERS,
    ("GET", "/api/v3/myTrades"): MY_TRADES,
    ("GET", "/api/v3/myPreventedMatches"): PREVENTED,
    ("POST", "/api/v3/orderList/oco"): OCO,
    ("POST", "/api/v3/order/oco"): OLD_OCO,
    ("POST", "/api/v3/orderList/oto"): OTO,
    ("POST", "/api/v3/orderList/otoco"): OTOCO,
    ("GET", "/api/v3/orderList"): QUERY_LIST,
    ("DELETE", "/api/v3/orderList"): CANCEL_LIST,
    ("GET", "/api/v3/openOrderList"): OPEN_LISTS,
    ("GET", "/api/v3/allOrderList"): ALL_LISTS,
    ("GET", "/api/v3/account"): ACCOUNT,
    ("GET", "/api/v3/account/commission"): COMMISSION,
    ("GET", "/api/v3/rateLimit/order"): ORDER_LIMITS,
    ("GET", "/sapi/v1/asset/tradeFee"): TRADE_FEE,
    ("GET", "/sapi/v1/system/status"): SYSTEM_STATUS,
    ("GET", "/sapi/v1/account/apiRestrictions"): KEY_RIGHTS,
    ("GET", "/sapi/v1/bnbBurn"): FEES_IN_TOKEN,
    ("POST", "/sapi/v1/bnbBurn"): SWITCH_TOKEN,
}

SOCKET: dict[str, Endpoint] = {
    "ping": PING,
    "time": TIME,
    "exchangeInfo": EXCHANGE_INFO,
    "depth": DEPTH,
    "trades.recent": TRADES,
    "trades.historical": HISTORICAL,
    "trades.aggregate": AGG_TRADES,
    "klines": KLINES,
    "uiKlines": KLINES,
    "avgPrice": AVG_PRICE,
    "ticker.24hr": TICKER_DAY,
    "ticker.tradingDay": TICKER_TRADING_DAY,
    "ticker": TICKER_WINDOW,
    "ticker.price": TICKER_PRICE,
    "ticker.book": TICKER_BOOK,
    "order.place": PLACE,
    "order.test": TEST,
    "order.status": QUERY,
    "order.cancel": CANCEL,
    "order.cancelReplace": REPLACE,
    "order.amend.keepPriority": AMEND,
    "openOrders.status": OPEN_ORDERS,
    "openOrders.cancelAll": CANCEL_OPEN,
    "orderList.place": OLD_OCO,
    "orderList.place.oco": OCO,
    "orderList.place.oto": OTO,
    "orderList.place.otoco": OTOCO,
    "orderList.status": QUERY_LIST,
    "orderList.cancel": CANCEL_LIST,
    "openOrderLists.status": OPEN_LISTS,
    "account.status": ACCOUNT,
    "account.commission": COMMISSION,
    "account.rateLimits.orders": ORDER_LIMITS,
    "allOrders": ALL_ORDERS,
    "allOrderLists": ALL_LISTS,
    "myTrades": MY_TRADES,
    "myPreventedMatches": PREVENTED,
}
