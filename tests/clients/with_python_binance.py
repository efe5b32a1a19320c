"""python-binance on the loopback exchange."""

import asyncio

from binance import AsyncClient, BinanceSocketManager
from binance.client import Client
from binance.exceptions import BinanceAPIException
from cell import BTC, READY, refused, run

REST, WS = READY["rest"], READY["ws"]


def connected(secret: str = READY["api_secret"]) -> Client:
    """A client whose address is the exchange's."""
    client = Client(READY["api_key"], secret, ping=False)
    client.API_URL = REST + "/api"
    return client


client = connected()
last = float(client.get_symbol_ticker(symbol=BTC)["price"])


def price(share: float) -> str:
    """A share of the last price, in ticks."""
    return f"{last * share:.2f}"


def info() -> None:
    """Server and symbols."""
    assert client.ping() == {}
    assert client.get_exchange_info()["symbols"][0]["symbol"] == BTC
    assert client.get_symbol_info("ETHUSDT")["baseAsset"] == "ETH"
    assert client.get_server_time()["serverTime"] > 0


def market_data() -> None:
    """The public answers."""
    assert client.get_order_book(symbol=BTC, limit=5)["bids"]
    assert client.get_ticker(symbol=BTC)["symbol"] == BTC
    assert len(client.get_all_tickers()) == 2
    assert client.get_orderbook_ticker(symbol=BTC)["bidPrice"]
    assert client.get_klines(symbol=BTC, interval="1m")
    assert isinstance(client.get_recent_trades(symbol=BTC), list)
    assert isinstance(client.get_aggregate_trades(symbol=BTC), list)
    assert client.get_avg_price(symbol=BTC)["mins"] == 5


def limit_order() -> None:
    """Place, query, list, cancel."""
    order = client.order_limit_buy(symbol=BTC, quantity="0.001", price=price(0.99))
    assert order["status"] == "NEW"
    assert client.get_order(symbol=BTC, orderId=order["orderId"])["status"] == "NEW"
    assert order["orderId"] in [row["orderId"] for row in client.get_open_orders(symbol=BTC)]
    assert client.cancel_order(symbol=BTC, orderId=order["orderId"])["status"] == "CANCELED"
    assert client.get_all_orders(symbol=BTC)


def market_order() -> None:
    """By quantity and by amount."""
    assert client.order_market_buy(symbol=BTC, quantity="0.01")["status"] == "FILLED"
    assert client.order_market_sell(symbol=BTC, quoteOrderQty="100")["status"] == "FILLED"
    assert client.get_my_trades(symbol=BTC)
    assert client.get_asset_balance(asset="BTC")["asset"] == "BTC"


def order_types() -> None:
    """Every type and time in force, and one that is only tried."""
    for kind, more in (
        ("LIMIT", {"timeInForce": "GTC", "price": price(0.99)}),
        ("LIMIT", {"timeInForce": "GTC", "price": price(0.99), "icebergQty": "0.0005"}),
        ("LIMIT_MAKER", {"price": price(0.99)}),
        ("STOP_LOSS", {"stopPrice": price(1.02)}),
        ("STOP_LOSS", {"trailingDelta": 150}),
        ("STOP_LOSS_LIMIT", {"timeInForce": "GTC", "price": price(1.03), "stopPrice": price(1.02)}),
        ("TAKE_PROFIT", {"stopPrice": price(0.98)}),
        ("TAKE_PROFIT_LIMIT", {"timeInForce": "GTC", "price": price(0.98), "stopPrice": price(0.98)}),
    ):
        order = client.create_order(symbol=BTC, side="BUY", type=kind, quantity="0.001", **more)
        assert client.cancel_order(symbol=BTC, orderId=order["orderId"])["status"] == "CANCELED"
    for tif in ("IOC", "FOK"):
        order = client.create_order(symbol=BTC, side="BUY", type="LIMIT", quantity="0.001", price=price(0.99),
                                    timeInForce=tif)  # fmt: skip
        assert order["status"] == "EXPIRED"
    assert client.create_test_order(symbol=BTC, side="BUY", type="MARKET", quantity="0.01") == {}


def order_list() -> None:
    """OCO, OTO and OTOCO."""
    placed = client.create_oco_order(
        symbol=BTC, side="SELL", quantity="0.001", aboveType="LIMIT_MAKER", abovePrice=price(1.02),
        belowType="STOP_LOSS_LIMIT", belowStopPrice=price(0.98), belowPrice=price(0.97), belowTimeInForce="GTC",
    )  # fmt: skip
    assert placed["listOrderStatus"] == "EXECUTING"
    working = {"symbol": BTC, "workingType": "LIMIT", "workingSide": "BUY", "workingPrice": price(0.99),
               "workingQuantity": "0.001", "workingTimeInForce": "GTC", "pendingSide": "SELL",
               "pendingQuantity": "0.001"}  # fmt: skip
    oto = client.v3_post_order_list_oto(**working, pendingType="MARKET")
    otoco = client.v3_post_order_list_otoco(
        **working, pendingAboveType="LIMIT_MAKER", pendingAbovePrice=price(1.02), pendingBelowType="STOP_LOSS",
        pendingBelowStopPrice=price(0.97),
    )  # fmt: skip
    for one in (placed, oto, otoco):
        done = client.v3_delete_order_list(symbol=BTC, orderListId=one["orderListId"])
        assert done["listOrderStatus"] == "ALL_DONE"


def replace() -> None:
    """Cancel and place."""
    order = client.order_limit_buy(symbol=BTC, quantity="0.001", price=price(0.99))
    done = client.cancel_replace_order(
        symbol=BTC, side="BUY", type="LIMIT", timeInForce="GTC", cancelReplaceMode="STOP_ON_FAILURE", quantity="0.001",
        cancelOrderId=order["orderId"], price=price(0.98),
    )  # fmt: skip
    assert done["newOrderResult"] == "SUCCESS"
    client.cancel_order(symbol=BTC, orderId=done["newOrderResponse"]["orderId"])


def refusals() -> None:
    """Keys, filters, money, unknown orders."""
    error = BinanceAPIException
    refused(error, -1022, lambda: connected("wrong").get_account())
    refused(error, -1013, lambda: client.order_limit_buy(symbol=BTC, quantity="0.001", price="1"))
    refused(error, -2010, lambda: client.order_limit_buy(symbol=BTC, quantity="20", price=price(0.99)))
    refused(error, -2011, lambda: client.cancel_order(symbol=BTC, orderId=999_999_999))
    refused(error, -1121, lambda: client.get_order_book(symbol="NOPE"))


def limits() -> None:
    """Orders beyond the venue's rate, and requests beyond its weight."""
    error = BinanceAPIException
    order = {"symbol": BTC, "quantity": "0.001", "price": price(0.99)}
    refused(error, -1015, lambda: [client.order_limit_buy(**order) for _ in range(20)])
    refused(error, -1003, lambda: [client.get_account() for _ in range(100)])


async def _streams() -> None:
    made = AsyncClient(READY["api_key"], READY["api_secret"])
    made.API_URL = REST + "/api"
    manager = BinanceSocketManager(made)
    manager.STREAM_URL = WS + "/"
    try:
        async with manager.trade_socket(BTC) as stream:
            assert (await asyncio.wait_for(stream.recv(), 20))["e"] == "trade"
        async with manager.depth_socket(BTC, depth="5") as stream:
            assert (await asyncio.wait_for(stream.recv(), 20))["bids"]
        async with manager.multiplex_socket(["btcusdt@bookTicker", "ethusdt@depth@100ms"]) as stream:
            assert "stream" in await asyncio.wait_for(stream.recv(), 20)
    finally:
        await made.close_connection()


def streams() -> None:
    """Raw, partial and combined."""
    asyncio.run(_streams())


async def _user_events() -> None:
    made = AsyncClient(READY["api_key"], READY["api_secret"])
    made.API_URL = REST + "/api"
    made.ws_api._url = WS + "/ws-api/v3"
    manager = BinanceSocketManager(made)
    manager.STREAM_URL = WS + "/"
    try:
        async with manager.user_socket() as stream:
            await asyncio.sleep(0.5)
            order = await made.order_limit_buy(symbol=BTC, quantity="0.001", price=price(0.99))
            await made.cancel_order(symbol=BTC, orderId=order["orderId"])
            kinds = []
            while "CANCELED" not in kinds:
                event = await asyncio.wait_for(stream.recv(), 20)
                event = event.get("event", event)
                kinds.append(event.get("x", event.get("e")))
            assert "NEW" in kinds
            assert "outboundAccountPosition" in kinds
    finally:
        await made.close_connection()


def user_events() -> None:
    """The account's own stream."""
    asyncio.run(_user_events())


run({
    "info": info, "market data": market_data, "limit order": limit_order, "market order": market_order,
    "order list": order_list, "replace": replace, "refusals": refusals, "streams": streams,
    "user events": user_events, "order types": order_types, "limits": limits,
})  # fmt: skip
