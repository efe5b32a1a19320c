"""binance-connector on the loopback exchange."""

import json
import queue

from binance.error import ClientError
from binance.spot import Spot
from binance.websocket.spot.websocket_api import SpotWebsocketAPIClient
from binance.websocket.spot.websocket_stream import SpotWebsocketStreamClient
from cell import BTC, READY, refused, run

REST, WS = READY["rest"], READY["ws"]
client = Spot(READY["api_key"], READY["api_secret"], base_url=REST)
last = float(client.ticker_price(BTC)["price"])


def price(share: float) -> float:
    """A share of the last price, in ticks."""
    return round(last * share, 2)


def limit_buy(share: float = 0.99) -> int:
    """A limit order that rests."""
    placed = client.new_order(BTC, "BUY", "LIMIT", quantity=0.001, price=price(share), timeInForce="GTC")
    assert placed["status"] == "NEW"
    return placed["orderId"]


def info() -> None:
    """Server and symbols."""
    assert client.ping() == {}
    assert client.exchange_info(symbol=BTC)["symbols"][0]["symbol"] == BTC
    assert client.time()["serverTime"] > 0


def market_data() -> None:
    """The public answers."""
    assert client.depth(BTC, limit=5)["bids"]
    assert client.ticker_24hr(BTC)["symbol"] == BTC
    assert client.book_ticker(BTC)["bidPrice"]
    assert client.klines(BTC, "1m")
    assert isinstance(client.trades(BTC), list)
    assert isinstance(client.agg_trades(BTC), list)
    assert client.avg_price(BTC)["mins"] == 5


def limit_order() -> None:
    """Place, query, list, cancel."""
    order = limit_buy()
    assert client.get_order(BTC, orderId=order)["status"] == "NEW"
    assert order in [row["orderId"] for row in client.get_open_orders(BTC)]
    assert client.cancel_order(BTC, orderId=order)["status"] == "CANCELED"
    assert client.get_orders(BTC)
    limit_buy()
    assert client.cancel_open_orders(BTC)


def market_order() -> None:
    """By quantity and by amount."""
    assert client.new_order(BTC, "BUY", "MARKET", quantity=0.01)["status"] == "FILLED"
    assert client.new_order(BTC, "SELL", "MARKET", quoteOrderQty=100)["status"] == "FILLED"
    assert client.my_trades(BTC)
    assert client.account()["balances"]


def order_types() -> None:
    """Every type and time in force, and one that is only tried."""
    for kind, more in (
        ("LIMIT", {"timeInForce": "GTC", "price": price(0.99)}),
        ("LIMIT", {"timeInForce": "GTC", "price": price(0.99), "icebergQty": 0.0005}),
        ("LIMIT_MAKER", {"price": price(0.99)}),
        ("STOP_LOSS", {"stopPrice": price(1.02)}),
        ("STOP_LOSS", {"trailingDelta": 150}),
        ("STOP_LOSS_LIMIT", {"timeInForce": "GTC", "price": price(1.03), "stopPrice": price(1.02)}),
        ("TAKE_PROFIT", {"stopPrice": price(0.98)}),
        ("TAKE_PROFIT_LIMIT", {"timeInForce": "GTC", "price": price(0.98), "stopPrice": price(0.98)}),
    ):
        order = client.new_order(BTC, "BUY", kind, quantity=0.001, **more)
        assert client.cancel_order(BTC, orderId=order["orderId"])["status"] == "CANCELED"
    for tif in ("IOC", "FOK"):
        order = client.new_order(BTC, "BUY", "LIMIT", quantity=0.001, price=price(0.99), timeInForce=tif)
        assert order["status"] == "EXPIRED"
    assert client.new_order_test(BTC, "BUY", "MARKET", quantity=0.01) == {}


def order_list() -> None:
    """One cancels the other; it offers no other lists."""
    placed = client.new_oco_order(
        BTC, "SELL", 0.001, "LIMIT_MAKER", "STOP_LOSS_LIMIT", abovePrice=price(1.02), belowStopPrice=price(0.98),
        belowPrice=price(0.97), belowTimeInForce="GTC",
    )  # fmt: skip
    assert client.get_oco_order(orderListId=placed["orderListId"])["listOrderStatus"] == "EXECUTING"
    assert client.get_oco_open_orders()
    assert client.cancel_oco_order(BTC, orderListId=placed["orderListId"])["listOrderStatus"] == "ALL_DONE"
    assert client.get_oco_orders()


def replace() -> None:
    """Cancel and place."""
    done = client.cancel_and_replace(BTC, "BUY", "LIMIT", "STOP_ON_FAILURE", cancelOrderId=limit_buy(), quantity=0.001,
                                     price=price(0.98), timeInForce="GTC")  # fmt: skip
    assert done["newOrderResult"] == "SUCCESS"
    client.cancel_order(BTC, orderId=done["newOrderResponse"]["orderId"])


def refusals() -> None:
    """Keys, filters, money, unknown orders."""

    def order(quantity: float, at: float) -> None:
        client.new_order(BTC, "BUY", "LIMIT", quantity=quantity, price=at, timeInForce="GTC")

    refused(ClientError, -1022, lambda: Spot(READY["api_key"], "wrong", base_url=REST).account())
    refused(ClientError, -1013, lambda: order(0.001, 1))
    refused(ClientError, -2010, lambda: order(20, price(0.99)))
    refused(ClientError, -2011, lambda: client.cancel_order(BTC, orderId=999_999_999))
    refused(ClientError, -1121, lambda: client.depth("NOPE"))


def limits() -> None:
    """Orders beyond the venue's rate, and requests beyond its weight."""
    refused(ClientError, -1015, lambda: [limit_buy() for _ in range(20)])
    refused(ClientError, -1003, lambda: [client.account() for _ in range(100)])


def streams() -> None:
    """Raw and combined."""
    heard: queue.Queue = queue.Queue()
    stream = SpotWebsocketStreamClient(stream_url=WS, on_message=lambda _, text: heard.put(json.loads(text)))
    try:
        stream.trade(symbol=BTC)
        stream.book_ticker(symbol=BTC)
        kinds = set()
        while len(kinds) < 2:
            message = heard.get(timeout=20)
            if "s" in message:
                kinds.add(message.get("e", "bookTicker"))
    finally:
        stream.stop()


def user_events() -> None:
    """The account's own stream, by listen key."""
    heard: queue.Queue = queue.Queue()
    key = client.new_listen_key()["listenKey"]
    assert client.renew_listen_key(key) == {}
    stream = SpotWebsocketStreamClient(stream_url=WS, on_message=lambda _, text: heard.put(json.loads(text)))
    try:
        stream.user_data(listen_key=key)
        while "result" not in heard.get(timeout=20):
            pass
        client.cancel_order(BTC, orderId=limit_buy())
        kinds = []
        while "CANCELED" not in kinds:
            event = heard.get(timeout=20)
            kinds.append(event.get("x", event.get("e")))
        assert "NEW" in kinds
        assert "outboundAccountPosition" in kinds
    finally:
        stream.stop()
    assert client.close_listen_key(key) == {}


def websocket_api() -> None:
    """Orders by the websocket API."""
    heard: queue.Queue = queue.Queue()
    api = SpotWebsocketAPIClient(
        stream_url=WS + "/ws-api/v3", api_key=READY["api_key"], api_secret=READY["api_secret"],
        on_message=lambda _, text: heard.put(json.loads(text)),
    )  # fmt: skip
    try:
        api.new_order(id=1, symbol=BTC, side="BUY", type="LIMIT", timeInForce="GTC", quantity=0.001, price=price(0.99),
                      newOrderRespType="RESULT")  # fmt: skip
        placed = heard.get(timeout=20)
        assert placed["status"] == 200, placed
        api.cancel_order(symbol=BTC, orderId=placed["result"]["orderId"])
        assert heard.get(timeout=20)["result"]["status"] == "CANCELED"
        api.account()
        assert heard.get(timeout=20)["result"]["balances"]
    finally:
        api.stop()


run({
    "info": info, "market data": market_data, "limit order": limit_order, "market order": market_order,
    "order list": order_list, "replace": replace, "refusals": refusals, "streams": streams,
    "user events": user_events, "websocket api": websocket_api, "order types": order_types,
    "limits": limits,
})  # fmt: skip
