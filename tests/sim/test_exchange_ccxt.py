"""Unmodified ccxt on the loopback exchange: client x operation, each cell by itself, the ledger's money after all."""

import asyncio
from decimal import Decimal
from pathlib import Path

import ccxt
import pytest
from rig.exchange_ccxt import rest_client, stream_client
from rig.exchange_server import WIDE, ExchangeServer

pytestmark = pytest.mark.compiled
PAIR = "BTC/USDT"
PATIENCE_S = 20.0
ED25519_PEM_BYTES = 120  # ccxt takes a longer PEM for RSA


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ExchangeServer(tmp_path_factory.mktemp("ccxt"), "--speed", "5x", scenario=WIDE, market="generated:11") as made:
        yield made
        made.conserved()
        assert made.stop().kinds["request"] > 0


@pytest.fixture(scope="module")
def client(server):
    made = rest_client(server.ready)
    made.load_markets()
    return made


@pytest.fixture(autouse=True)
def money(server):
    server.signed("DELETE", "openOrders", symbol="BTCUSDT")
    yield
    server.conserved()


@pytest.fixture
def bid(client):
    """The best bid, or a share of it, as a price in ticks."""
    best = Decimal(str(client.fetch_order_book(PAIR, 5)["bids"][0][0]))
    return lambda share="1": float((best * Decimal(share)).quantize(Decimal("0.01")))


def test_markets(client):
    assert sorted(client.markets) == ["BTC/USDT", "ETH/USDT"]
    market = client.market(PAIR)
    assert market["precision"]["amount"] == 0.00001
    assert market["precision"]["price"] == 0.01
    assert market["limits"]["cost"]["min"] == 5.0
    assert abs(client.fetch_time() - client.milliseconds()) < 5_000


def test_market_data(client):
    book = client.fetch_order_book(PAIR, 20)
    assert len(book["bids"]) == len(book["asks"]) == 20
    assert book["bids"][0][0] < book["asks"][0][0]
    assert client.fetch_ticker(PAIR)["last"] > 0
    assert set(client.fetch_tickers()) == {"BTC/USDT", "ETH/USDT"}
    assert client.fetch_bids_asks([PAIR])[PAIR]["bid"] > 0
    assert client.fetch_last_prices([PAIR])[PAIR]["price"] > 0
    bars = client.fetch_ohlcv(PAIR, "1m", limit=2)
    assert bars[-1][2] >= bars[-1][3] > 0
    trades = client.fetch_trades(PAIR)
    assert all(trade["price"] > 0 for trade in trades)


def test_a_limit_order(client, bid):
    placed = client.create_order(PAIR, "limit", "buy", 0.001, bid("0.99"), {"newClientOrderId": "ccxt-1"})
    assert (placed["status"], placed["clientOrderId"]) == ("open", "ccxt-1")
    assert client.fetch_order(placed["id"], PAIR)["status"] == "open"
    assert [order["id"] for order in client.fetch_open_orders(PAIR)] == [placed["id"]]
    assert client.fetch_balance()["USDT"]["used"] == pytest.approx(placed["price"] * 0.001)
    assert client.cancel_order(placed["id"], PAIR)["status"] == "canceled"
    assert client.fetch_open_orders(PAIR) == []
    assert client.fetch_orders(PAIR)[-1]["status"] == "canceled"


def test_market_orders(client):
    before = client.fetch_balance()["BTC"]["total"]
    bought = client.create_order(PAIR, "market", "buy", 0.01)
    assert (bought["status"], bought["filled"]) == ("closed", 0.01)
    assert bought["fee"]["currency"] == "BTC"
    by_cost = client.create_market_buy_order_with_cost(PAIR, 100)
    assert by_cost["status"] == "closed"
    assert 90 < by_cost["cost"] <= 100
    sold = client.create_order(PAIR, "market", "sell", 0.005)
    assert sold["fee"]["currency"] == "USDT"
    after = client.fetch_balance()["BTC"]["total"]
    fees = bought["fee"]["cost"] + by_cost["fee"]["cost"]
    assert after == pytest.approx(before + 0.005 + by_cost["filled"] - fees, abs=1e-9)
    mine = client.fetch_my_trades(PAIR)
    assert {bought["id"], by_cost["id"], sold["id"]} <= {trade["order"] for trade in mine}
    assert {trade["order"] for trade in client.fetch_order_trades(sold["id"], PAIR)} == {sold["id"]}
    assert client.fetch_trading_fee(PAIR)["maker"] == 0.001


def test_stops(client, bid):
    limit = client.create_order(PAIR, "limit", "sell", 0.001, bid("0.98"), {"stopLossPrice": bid("0.985")})
    market = client.create_order(PAIR, "market", "sell", 0.001, None, {"stopLossPrice": bid("0.985")})
    gain = client.create_order(PAIR, "limit", "sell", 0.001, bid("1.02"), {"takeProfitPrice": bid("1.015")})
    trailing = {"trailingPercent": 1.5, "stopLossOrTakeProfit": "stopLoss"}
    trailing = client.create_order(PAIR, "limit", "sell", 0.001, bid("0.97"), trailing)
    ids = {order["id"] for order in (limit, market, gain, trailing)}
    found = {order["id"]: order for order in client.fetch_open_orders(PAIR)}
    assert ids == set(found)
    assert found[limit["id"]]["triggerPrice"] == bid("0.985") or found[limit["id"]]["triggerPrice"] > 0
    assert len(client.cancel_all_orders(PAIR)) == 4


@pytest.mark.parametrize(("tif", "status"), [("IOC", "expired"), ("FOK", "expired"), ("PO", "open")])
def test_times_in_force(client, bid, tif, status):
    order = client.create_order(PAIR, "limit", "buy", 0.001, bid("0.99"), {"timeInForce": tif})
    assert client.fetch_order(order["id"], PAIR)["status"] == status
    if status == "open":
        client.cancel_order(order["id"], PAIR)


def test_editing(client, bid):
    placed = client.create_order(PAIR, "limit", "buy", 0.001, bid("0.99"))
    edited = client.edit_order(placed["id"], PAIR, "limit", "buy", 0.002, bid("0.98"))
    assert (edited["status"], edited["amount"]) == ("open", 0.002)
    assert client.fetch_order(placed["id"], PAIR)["status"] == "canceled"
    assert [order["id"] for order in client.fetch_open_orders(PAIR)] == [edited["id"]]
    client.cancel_order(edited["id"], PAIR)


def test_order_lists_by_the_implicit_methods(client, bid):
    placed = client.private_post_orderlist_oco({
        "symbol": "BTCUSDT", "side": "SELL", "quantity": "0.001", "aboveType": "LIMIT_MAKER", "abovePrice": bid("1.02"),
        "belowType": "STOP_LOSS_LIMIT", "belowStopPrice": bid("0.98"), "belowPrice": bid("0.97"),
        "belowTimeInForce": "GTC",
    })  # fmt: skip
    assert placed["listOrderStatus"] == "EXECUTING"
    assert [leg["status"] for leg in client.fetch_open_orders(PAIR)] == ["open", "open"]
    done = client.private_delete_orderlist({"symbol": "BTCUSDT", "orderListId": placed["orderListId"]})
    assert done["listOrderStatus"] == "ALL_DONE"
    assert client.fetch_open_orders(PAIR) == []


REFUSED = {
    "price band": (ccxt.InvalidOrder, lambda c, bid: c.create_order(PAIR, "limit", "buy", 1, 1.0)),
    "notional": (ccxt.BadRequest, lambda c, bid: c.create_order(PAIR, "limit", "buy", 0.00001, bid())),
    "lot": (ccxt.ExchangeError, lambda c, bid: c.create_order(PAIR, "limit", "buy", 3_000, bid())),
    "money": (ccxt.InsufficientFunds, lambda c, bid: c.create_order(PAIR, "limit", "buy", 20, bid())),
    "maker only": (
        ccxt.OrderImmediatelyFillable,
        lambda c, bid: c.create_order(PAIR, "limit", "buy", 0.001, bid("1.01"), {"postOnly": True}),
    ),
    "trigger": (
        ccxt.OrderImmediatelyFillable,
        lambda c, bid: c.create_order(PAIR, "limit", "sell", 0.001, bid(), {"stopLossPrice": bid("1.01")}),
    ),
    "unknown to cancel": (ccxt.OrderNotFound, lambda c, bid: c.cancel_order("999999999", PAIR)),
    "unknown to query": (ccxt.OrderNotFound, lambda c, bid: c.fetch_order("999999999", PAIR)),
    "symbol": (ccxt.BadSymbol, lambda c, bid: c.public_get_depth({"symbol": "NOPE"})),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_refusals(client, bid, name):
    error, action = REFUSED[name]
    with pytest.raises(error):
        action(client, bid)
    assert client.fetch_open_orders(PAIR) == []


def test_wrong_keys(server):
    for more in ({"secret": "wrong"}, {"apiKey": "wrong"}, {"apiKey": "not a key"}):
        with pytest.raises(ccxt.AuthenticationError):
            rest_client(server.ready, **more).fetch_balance()


def test_an_ed25519_key(server):
    secret = Path(server.ready["ed25519_private_key_file"]).read_text()
    assert len(secret) <= ED25519_PEM_BYTES
    assert rest_client(server.ready, secret=secret).fetch_balance()["BTC"]["total"] > 0


def test_a_clock_that_is_wrong(server):
    client = rest_client(server.ready)
    client.nonce = lambda: client.milliseconds() - 60_000
    with pytest.raises(ccxt.InvalidNonce):
        client.fetch_balance()


def repeat(times, action):
    """Do it so often."""
    for _ in range(times):
        action()


def test_limits(tmp_path):
    limits = "[limits]\norders_10s = 2\nrequest_weight_1m = 200\n"
    with ExchangeServer(tmp_path, scenario=limits) as server:
        client = rest_client(server.ready, enableRateLimit=False)
        client.load_markets()
        for _ in range(2):
            client.create_order(PAIR, "limit", "buy", 0.001, 50_000)
        with pytest.raises(ccxt.NetworkError) as orders:  # an interval may end in between
            repeat(3, lambda: client.create_order(PAIR, "limit", "buy", 0.001, 50_000))
        assert "-1015" in str(orders.value)
        with pytest.raises(ccxt.NetworkError) as weight:
            repeat(30, client.fetch_balance)
        assert "-1003" in str(weight.value)
        server.stop()


def test_tls(tmp_path, monkeypatch):
    """As the README says it."""
    with ExchangeServer(tmp_path, "--tls", scenario=WIDE, market="generated:3") as server:
        with pytest.raises(ccxt.NetworkError):
            rest_client(server.ready).fetch_time()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.ready["ca"])
        client = rest_client(server.ready, requests_trust_env=True)
        client.load_markets()
        assert client.fetch_balance()["BTC"]["total"] > 0

        async def listen():
            streams = stream_client(server.ready, cafile=server.ready["ca"])
            try:
                await streams.load_markets()
                return await asyncio.wait_for(streams.watch_order_book(PAIR), PATIENCE_S)
            finally:
                await streams.close()

        assert asyncio.run(listen())["bids"]
        server.stop()


# --- ccxt.pro ---


def pro(server, act):
    """Run `act(client)` with a client of its own."""

    async def run():
        client = stream_client(server.ready)
        try:
            await client.load_markets()
            return await asyncio.wait_for(act(client), 3 * PATIENCE_S)
        finally:
            await client.close()

    return asyncio.run(run())


def test_market_streams(server):
    async def act(client):
        trades = await client.watch_trades(PAIR)
        assert trades[-1]["price"] > 0
        for _ in range(5):
            book = await client.watch_order_book(PAIR)
        assert book["bids"][0][0] < book["asks"][0][0]
        assert (await client.watch_ticker(PAIR))["last"] > 0
        assert (await client.watch_ohlcv(PAIR, "1m"))[-1][4] > 0
        quotes = await client.watch_bids_asks([PAIR])
        assert quotes[PAIR]["bid"] < quotes[PAIR]["ask"]

    pro(server, act)


def test_user_events(server):
    async def act(client):
        seen = []

        async def keep(kind, watch, read):
            while True:
                news = await watch()
                seen.extend((kind, *read(one)) for one in (news if isinstance(news, list) else [news]))

        def order(one):
            return one["id"], one["status"]

        tasks = [
            asyncio.ensure_future(keep("order", lambda: client.watch_orders(PAIR), order)),
            asyncio.ensure_future(keep("trade", lambda: client.watch_my_trades(PAIR), lambda one: (one["order"],))),
            asyncio.ensure_future(keep("balance", client.watch_balance, lambda one: (one["BTC"]["total"],))),
        ]
        await client.ensure_user_data_stream_ws_subscribe_signature("spot")  # as each of the tasks does
        best = (await client.fetch_order_book(PAIR, 5))["bids"][0][0]
        rests = await client.create_order(PAIR, "limit", "buy", 0.001, round(best * 0.99, 2))
        await client.cancel_order(rests["id"], PAIR)
        takes = await client.create_order(PAIR, "market", "buy", 0.001)
        total = (await client.fetch_balance())["BTC"]["total"]
        wanted = [("order", rests["id"], "open"), ("order", rests["id"], "canceled"), ("order", takes["id"], "closed"),
                  ("trade", takes["id"]), ("balance", total)]  # fmt: skip
        for _ in range(int(PATIENCE_S * 20)):
            if all(one in seen for one in wanted):
                break
            await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [one for one in wanted if one not in seen] == [], seen

    pro(server, act)


def test_orders_by_the_websocket_api(server):
    async def act(client):
        best = (await client.fetch_order_book(PAIR, 5))["bids"][0][0]
        placed = await client.create_order_ws(PAIR, "limit", "buy", 0.001, round(best * 0.99, 2))
        assert placed["status"] == "open"
        assert (await client.fetch_order_ws(placed["id"], PAIR))["status"] == "open"
        assert [order["id"] for order in await client.fetch_open_orders_ws(PAIR)] == [placed["id"]]
        edited = await client.edit_order_ws(placed["id"], PAIR, "limit", "buy", 0.002, round(best * 0.98, 2))
        assert edited["amount"] == 0.002
        assert (await client.cancel_order_ws(edited["id"], PAIR))["status"] == "canceled"
        market = await client.create_order_ws(PAIR, "market", "sell", 0.001)
        assert market["status"] == "closed"
        assert market["id"] in [trade["order"] for trade in await client.fetch_my_trades_ws(PAIR)]
        assert (await client.fetch_ohlcv_ws(PAIR, "1m"))[-1][4] > 0
        assert (await client.fetch_balance_ws())["info"]["balances"][0]["asset"] == "BTC"
        with pytest.raises(ccxt.InsufficientFunds):
            await client.create_order_ws(PAIR, "limit", "buy", 20, round(best * 0.99, 2))
        await client.create_order_ws(PAIR, "limit", "buy", 0.001, round(best * 0.99, 2))
        assert await client.cancel_all_orders_ws(PAIR)

    pro(server, act)
