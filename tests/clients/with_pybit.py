"""pybit on the loopback exchange that speaks Bybit's protocol."""

import queue
import time

from cell import BTC, READY, refused, run
from pybit import _websocket_trading, unified_trading
from pybit.exceptions import InvalidRequestError
from pybit.unified_trading import HTTP, WebSocket, WebSocketTrading

unified_trading.PUBLIC_WSS = READY["ws_public"] + "/{CHANNEL_TYPE}"
unified_trading.PRIVATE_WSS = READY["ws_private"]
_websocket_trading.TRADE_WSS = READY["ws_trade"]
NET = {"testnet": False}
KEYS = {"api_key": READY["api_key"], "api_secret": READY["api_secret"]}
PATIENT = {"private_auth_expire": 10}  # its own second is too short on a busy machine, and it waits for ever then
LINEAR = {"category": "linear", "symbol": BTC}
SPOT = {"category": "spot", "symbol": BTC}


def http(**keys: str) -> HTTP:
    """A client that asks the loopback exchange."""
    made = HTTP(**(KEYS | keys))
    made.endpoint = READY["rest"]
    return made


client = http()
last = float(client.get_tickers(**LINEAR)["result"]["list"][0]["lastPrice"])


def price(share: float) -> str:
    """A share of the last price, in ticks."""
    return f"{last * share:.1f}"


def limit_buy(share: float = 0.97, **more: object) -> str:
    """A limit order that rests: its id."""
    fields = {**LINEAR, "side": "Buy", "orderType": "Limit", "qty": "0.002", "price": price(share)} | more
    return client.place_order(**fields)["result"]["orderId"]


def status(order_id: str, category: str = "linear") -> str:
    """How an order stands."""
    return client.get_open_orders(category=category, orderId=order_id)["result"]["list"][0]["orderStatus"]


def flat() -> None:
    """Neither orders nor a position."""
    client.cancel_all_orders(category="linear", settleCoin="USDT")
    held = client.get_positions(**LINEAR)["result"]["list"][0]
    if held["side"]:
        side = "Sell" if held["side"] == "Buy" else "Buy"
        client.place_order(**LINEAR, side=side, orderType="Market", qty="0", reduceOnly=True, closeOnTrigger=True)


def info() -> None:
    """Server, symbols, key, account."""
    assert int(client.get_server_time()["result"]["timeSecond"]) > 0
    for category in ("linear", "spot"):
        assert len(client.get_instruments_info(category=category)["result"]["list"]) == 2
    assert client.get_api_key_information()["result"]["apiKey"] == READY["api_key"]
    assert client.get_account_info()["result"]["marginMode"] == "REGULAR_MARGIN"
    assert client.get_fee_rates(**LINEAR)["result"]["list"][0]["symbol"] == BTC
    assert client.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]["coin"]


def market_data() -> None:
    """The public answers."""
    for scope in (LINEAR, SPOT):
        assert client.get_orderbook(**scope, limit=5)["result"]["b"]
        assert client.get_kline(**scope, interval=1)["result"]["list"]
        assert isinstance(client.get_public_trade_history(**scope)["result"]["list"], list)


def limit_order() -> None:
    """Place, query, amend, list, cancel."""
    order = limit_buy(orderLinkId=f"pybit-{time.time_ns()}")
    assert status(order) == "New"
    client.amend_order(**LINEAR, orderId=order, qty="0.003", price=price(0.96))
    (row,) = client.get_open_orders(**LINEAR)["result"]["list"]
    assert (row["orderId"], row["qty"]) == (order, "0.003")
    client.cancel_order(**LINEAR, orderId=order)
    assert status(order) == "Cancelled"
    assert order in [row["orderId"] for row in client.get_order_history(**LINEAR)["result"]["list"]]
    limit_buy()
    assert client.cancel_all_orders(**LINEAR)["result"]["list"]


def market_order() -> None:
    """Both ways, with a position between them."""
    flat()
    order = client.place_order(**LINEAR, side="Buy", orderType="Market", qty="0.01")["result"]["orderId"]
    assert status(order) == "Filled"
    held = client.get_positions(**LINEAR)["result"]["list"][0]
    assert (held["side"], held["size"]) == ("Buy", "0.010")
    client.place_order(**LINEAR, side="Sell", orderType="Market", qty="0.01", reduceOnly=True)
    assert client.get_positions(**LINEAR)["result"]["list"][0]["side"] == ""
    assert order in [row["orderId"] for row in client.get_executions(**LINEAR)["result"]["list"]]


def spot_orders() -> None:
    """By value and by quantity, and one that rests."""
    by_value = client.place_order(**SPOT, side="Buy", orderType="Market", qty="600")["result"]["orderId"]
    assert status(by_value, "spot") == "Filled"
    by_qty = client.place_order(**SPOT, side="Sell", orderType="Market", qty="0.005")["result"]["orderId"]
    assert status(by_qty, "spot") == "Filled"
    resting = client.place_order(**SPOT, side="Buy", orderType="Limit", qty="0.001", price=price(0.97))
    client.cancel_order(**SPOT, orderId=resting["result"]["orderId"])


def times_in_force() -> None:
    """GTC, IOC, FOK and PostOnly."""
    for time_in_force, wanted in (("GTC", "New"), ("IOC", "Cancelled"), ("FOK", "Cancelled"), ("PostOnly", "New")):
        assert status(limit_buy(timeInForce=time_in_force)) == wanted
    assert status(limit_buy(1.02, timeInForce="PostOnly")) == "Cancelled"
    flat()


def conditional_orders() -> None:
    """That wait for a price, on contracts and on coins."""
    for share, direction in ((1.05, 1), (0.95, 2)):
        for side, kind in (("Buy", "Market"), ("Sell", "Market"), ("Buy", "Limit"), ("Sell", "Limit")):
            fields = {"price": price(share)} if kind == "Limit" else {}
            order = client.place_order(**LINEAR, side=side, orderType=kind, qty="0.002", triggerPrice=price(share),
                                       triggerDirection=direction, **fields)["result"]["orderId"]  # fmt: skip
            assert status(order) == "Untriggered"
    flat()
    order = client.place_order(**SPOT, side="Buy", orderType="Limit", qty="0.001", price=price(0.9),
                               triggerPrice=price(0.92), orderFilter="tpslOrder")["result"]["orderId"]  # fmt: skip
    assert status(order, "spot") == "Untriggered"
    client.cancel_order(**SPOT, orderId=order)


def positions() -> None:
    """Leverage, take-profit and stop-loss."""
    flat()
    client.set_leverage(**LINEAR, buyLeverage="20", sellLeverage="20")
    client.set_leverage(**LINEAR, buyLeverage="10", sellLeverage="10")
    client.place_order(**LINEAR, side="Buy", orderType="Market", qty="0.01", takeProfit=price(1.1), stopLoss=price(0.9))
    client.set_trading_stop(**LINEAR, takeProfit=price(1.2), positionIdx=0)
    assert client.get_positions(**LINEAR)["result"]["list"][0]["takeProfit"] == f"{float(price(1.2)):.2f}"
    flat()
    assert client.get_open_orders(**LINEAR)["result"]["list"] == []


def batches() -> None:
    """Several at once."""
    rows = [{"symbol": BTC, "side": "Buy", "orderType": "Limit", "qty": "0.002", "price": price(share)}
            for share in (0.97, 0.96)]  # fmt: skip
    made = client.place_batch_order(category="linear", request=rows)["result"]["list"]
    names = [{"symbol": BTC, "orderId": row["orderId"]} for row in made]
    client.amend_batch_order(category="linear", request=[one | {"qty": "0.003"} for one in names])
    client.cancel_batch_order(category="linear", request=names)
    assert client.get_open_orders(**LINEAR)["result"]["list"] == []


def protection() -> None:
    """Disconnection protection is set."""
    client.set_dcp(product="SPOT", timeWindow=40)


def refusals() -> None:
    """Keys, filters, money, unknown orders, links."""

    def order(qty: str, at: str, **more: object) -> None:
        client.place_order(**LINEAR, side="Buy", orderType="Limit", qty=qty, price=at, **more)

    refused(InvalidRequestError, 10003, lambda: http(api_key="wrong").get_account_info())
    refused(InvalidRequestError, 10004, lambda: http(api_secret="wrong").get_account_info())
    refused(InvalidRequestError, 10001, lambda: order("0.0001", price(0.97)))
    refused(InvalidRequestError, 110003, lambda: order("0.01", price(1.2)))
    refused(InvalidRequestError, 110094, lambda: order("0.001", "1000"))
    refused(InvalidRequestError, 110007, lambda: order("400", price(0.97)))
    refused(InvalidRequestError, 110001, lambda: client.cancel_order(**LINEAR, orderId="nothing"))
    refused(InvalidRequestError, 10001, lambda: client.get_orderbook(category="linear", symbol="NOPE"))
    link = f"once-{time.time_ns()}"
    order("0.002", price(0.97), orderLinkId=link)
    refused(InvalidRequestError, 110072, lambda: order("0.002", price(0.97), orderLinkId=link))
    flat()


def next_of(heard: queue.Queue, wanted) -> dict:
    """The first message that is wanted."""
    while True:
        message = heard.get(timeout=30)
        if wanted(message):
            return message


def streams() -> None:
    """Books, trades, tickers and bars of both categories."""
    for category in ("linear", "spot"):
        heard: queue.Queue = queue.Queue()
        stream = WebSocket(channel_type=category, **NET)
        try:
            stream.orderbook_stream(50, BTC, heard.put)
            stream.trade_stream(BTC, heard.put)
            stream.ticker_stream(BTC, heard.put)
            stream.kline_stream(1, BTC, heard.put)
            for topic in (f"orderbook.50.{BTC}", f"publicTrade.{BTC}", f"tickers.{BTC}", f"kline.1.{BTC}"):
                next_of(heard, lambda message, topic=topic: message["topic"] == topic)
        finally:
            stream.exit()


def user_events() -> None:
    """Orders, executions, positions and the wallet."""
    flat()
    heard: queue.Queue = queue.Queue()
    stream = WebSocket(channel_type="private", **NET, **KEYS, **PATIENT)
    try:
        stream.order_stream(heard.put)
        stream.execution_stream(heard.put)
        stream.position_stream(heard.put)
        stream.wallet_stream(heard.put)
        time.sleep(1)  # pybit tells nobody that it has subscribed
        client.place_order(**LINEAR, side="Buy", orderType="Market", qty="0.002")
        topics: set[str] = set()
        while topics != {"order", "execution", "position", "wallet"}:
            topics.add(heard.get(timeout=30)["topic"])
    finally:
        stream.exit()
    flat()


def orders_by_websocket() -> None:
    """Place, amend, cancel, and one that is refused."""
    heard: queue.Queue = queue.Queue()
    trading = WebSocketTrading(**NET, **KEYS, **PATIENT)
    try:
        fields = {**LINEAR, "side": "Buy", "orderType": "Limit", "qty": "0.002", "price": price(0.97)}
        trading.place_order(heard.put, **fields)
        order = heard.get(timeout=30)["data"]["orderId"]
        trading.amend_order(heard.put, **LINEAR, orderId=order, qty="0.003")
        assert heard.get(timeout=30)["retCode"] == 0
        trading.cancel_order(heard.put, **LINEAR, orderId=order)
        assert heard.get(timeout=30)["retCode"] == 0
        trading.cancel_order(heard.put, heard.put, **LINEAR, orderId=order)
        assert heard.get(timeout=30)["retCode"] == 110001
    finally:
        trading.exit()


run({
    "info": info, "market data": market_data, "limit order": limit_order, "market order": market_order,
    "spot orders": spot_orders, "times in force": times_in_force, "conditional orders": conditional_orders,
    "positions": positions, "batches": batches, "protection": protection, "refusals": refusals, "streams": streams,
    "user events": user_events, "orders by websocket": orders_by_websocket,
})  # fmt: skip
