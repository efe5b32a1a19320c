"""ccxt on the loopback exchange."""

import ccxt
from cell import PAIR, READY, refused, run
from rig.exchange_ccxt import rest_client

client = rest_client(READY)
client.load_markets()
last = client.fetch_ticker(PAIR)["last"]


def price(share: float) -> float:
    """A share of the last price, in ticks."""
    return round(last * share, 2)


def limit_buy(share: float = 0.99, amount: float = 0.001, **more: object) -> str:
    """A limit order that rests."""
    placed = client.create_order(PAIR, "limit", "buy", amount, price(share), more)
    assert placed["status"] == "open"
    return placed["id"]


def canceled(order: str) -> None:
    """Take it back."""
    assert client.cancel_order(order, PAIR)["status"] == "canceled"


def info() -> None:
    """Server and symbols."""
    assert sorted(client.markets) == [PAIR, "ETH/USDT"]
    assert client.fetch_time() > 0


def market_data() -> None:
    """The public answers."""
    assert client.fetch_order_book(PAIR, 5)["bids"]
    assert client.fetch_ticker(PAIR)["symbol"] == PAIR
    assert client.fetch_ohlcv(PAIR, "1m")
    assert isinstance(client.fetch_trades(PAIR), list)
    assert client.fetch_bids_asks([PAIR])


def limit_order() -> None:
    """Place, query, list, cancel, one and all."""
    order = limit_buy()
    assert client.fetch_order(order, PAIR)["status"] == "open"
    assert order in [row["id"] for row in client.fetch_open_orders(PAIR)]
    canceled(order)
    assert client.fetch_orders(PAIR)
    limit_buy()
    assert client.cancel_all_orders(PAIR)


def market_order() -> None:
    """By quantity and by amount."""
    assert client.create_order(PAIR, "market", "buy", 0.01)["status"] == "closed"
    assert client.create_market_sell_order_with_cost(PAIR, 100)["status"] == "closed"
    assert client.fetch_my_trades(PAIR)
    assert client.fetch_balance()["BTC"]["total"] > 0


def order_types() -> None:
    """Every type and time in force that it offers."""
    for tif, status in (("IOC", "expired"), ("FOK", "expired"), ("PO", "open")):
        order = client.create_order(PAIR, "limit", "buy", 0.001, price(0.99), {"timeInForce": tif})["id"]
        assert client.fetch_order(order, PAIR)["status"] == status
    canceled(client.fetch_open_orders(PAIR)[0]["id"])
    canceled(limit_buy(amount=0.01, icebergQty="0.002"))
    for kind, at, more in (
        ("limit", price(0.97), {"stopLossPrice": price(0.98)}),
        ("market", None, {"stopLossPrice": price(0.98)}),
        ("limit", price(1.02), {"takeProfitPrice": price(1.01)}),
        ("market", None, {"takeProfitPrice": price(1.01)}),
        ("limit", price(0.97), {"trailingPercent": 1.5, "stopLossOrTakeProfit": "stopLoss"}),
        ("limit", price(1.02), {"trailingPercent": 1.5, "stopLossOrTakeProfit": "takeProfit"}),
    ):
        canceled(client.create_order(PAIR, kind, "sell", 0.001, at, more)["id"])
    client.create_order(PAIR, "market", "buy", 0.001, None, {"test": True})


def order_list() -> None:
    """By the implicit methods."""
    oco = client.private_post_orderlist_oco({
        "symbol": "BTCUSDT", "side": "SELL", "quantity": "0.001", "aboveType": "LIMIT_MAKER", "abovePrice": price(1.02),
        "belowType": "STOP_LOSS", "belowStopPrice": price(0.98),
    })  # fmt: skip
    working = {"symbol": "BTCUSDT", "workingType": "LIMIT", "workingSide": "BUY", "workingPrice": price(0.99),
               "workingQuantity": "0.001", "workingTimeInForce": "GTC", "pendingSide": "SELL",
               "pendingQuantity": "0.001"}  # fmt: skip
    oto = client.private_post_orderlist_oto(working | {"pendingType": "MARKET"})
    otoco = client.private_post_orderlist_otoco(working | {
        "pendingAboveType": "LIMIT_MAKER", "pendingAbovePrice": price(1.02), "pendingBelowType": "STOP_LOSS",
        "pendingBelowStopPrice": price(0.97),
    })  # fmt: skip
    for placed in (oco, oto, otoco):
        one = {"orderListId": placed["orderListId"]}
        assert client.private_get_orderlist(one)["listOrderStatus"] == "EXECUTING"
        assert client.private_delete_orderlist(one | {"symbol": "BTCUSDT"})["listOrderStatus"] == "ALL_DONE"


def replace() -> None:
    """Cancel and place."""
    edited = client.edit_order(limit_buy(), PAIR, "limit", "buy", 0.002, price(0.98))
    assert (edited["status"], edited["amount"]) == ("open", 0.002)
    canceled(edited["id"])


def refusals() -> None:
    """Keys, filters, money, unknown orders."""
    refused(ccxt.AuthenticationError, -1022, lambda: rest_client(READY, secret="wrong").fetch_balance())
    refused(ccxt.InvalidOrder, "PERCENT_PRICE_BY_SIDE", lambda: client.create_order(PAIR, "limit", "buy", 1, 1.0))
    refused(ccxt.InsufficientFunds, "insufficient balance", lambda: limit_buy(amount=20))
    refused(ccxt.OrderNotFound, -2011, lambda: client.cancel_order("999999999", PAIR))
    refused(ccxt.OrderNotFound, -2013, lambda: client.fetch_order("999999999", PAIR))
    refused(ccxt.BadSymbol, -1121, lambda: client.public_get_depth({"symbol": "NOPE"}))


def limits() -> None:
    """Orders beyond the venue's rate, and requests beyond its weight."""
    fast = rest_client(READY, enableRateLimit=False)
    refused(ccxt.NetworkError, -1015, lambda: [limit_buy(0.99) for _ in range(20)])
    refused(ccxt.NetworkError, -1003, lambda: [fast.fetch_balance() for _ in range(100)])


run({
    "info": info, "market data": market_data, "limit order": limit_order, "market order": market_order,
    "order types": order_types, "order list": order_list, "replace": replace, "refusals": refusals, "limits": limits,
})  # fmt: skip
