"""Unmodified ccxt on the loopback exchange as Bybit: client x operation, and the ledger's money after each."""

import asyncio
from decimal import Decimal

import ccxt
import pytest
from rig.exchange_bybit import BybitServer
from rig.exchange_bybit_ccxt import rest_client, stream_client
from rig.exchange_server import WIDE

pytestmark = pytest.mark.compiled
PERP, COIN = "BTC/USDT:USDT", "BTC/USDT"
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ccxt")
    with BybitServer(folder, "--speed", "5x", scenario=WIDE, market="generated:11") as made:
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
    for scope in ({"category": "linear", "settleCoin": "USDT"}, {"category": "spot"}):
        server.done("POST", "order/cancel-all", **scope)
    held = server.done("GET", "position/list", category="linear", symbol="BTCUSDT")["list"][0]
    if held["side"]:
        side = "Sell" if held["side"] == "Buy" else "Buy"
        server.done("POST", "order/create", category="linear", symbol="BTCUSDT", side=side, orderType="Market", qty="0",
                    reduceOnly=True, closeOnTrigger=True)  # fmt: skip
    yield
    server.conserved()


@pytest.fixture
def bid(client):
    """The best bid of the contract, or a share of it, as a price in ticks."""
    best = Decimal(str(client.fetch_order_book(PERP, 5)["bids"][0][0]))
    return lambda share="1": float((best * Decimal(share)).quantize(Decimal("0.1")))


def test_markets(client):
    assert sorted(client.markets) == ["BTC/USDT", "BTC/USDT:USDT", "ETH/USDT", "ETH/USDT:USDT"]
    contract, coin = client.market(PERP), client.market(COIN)
    assert (contract["precision"]["amount"], contract["precision"]["price"]) == (0.001, 0.1)
    assert (coin["precision"]["amount"], coin["limits"]["cost"]["min"]) == (0.000001, 5.0)
    assert abs(client.fetch_time() - client.milliseconds()) < 5_000
    assert set(client.fetch_currencies()) == {"BTC", "ETH", "USDT"}


@pytest.mark.parametrize("symbol", [PERP, COIN], ids=["contract", "coin"])
def test_market_data(client, symbol):
    book = client.fetch_order_book(symbol, 20)
    assert len(book["bids"]) == len(book["asks"]) == 20
    assert book["bids"][0][0] < book["asks"][0][0]
    assert client.fetch_ticker(symbol)["last"] > 0
    assert symbol in client.fetch_tickers([symbol])
    bars = client.fetch_ohlcv(symbol, "1m", limit=2)
    assert bars[-1][2] >= bars[-1][3] > 0
    assert all(trade["price"] > 0 for trade in client.fetch_trades(symbol))


@pytest.mark.parametrize("symbol", [PERP, COIN], ids=["contract", "coin"])
def test_a_limit_order(client, bid, symbol):
    link = f"ccxt-{client.milliseconds()}"
    placed = client.create_order(symbol, "limit", "buy", 0.002, bid("0.99"), {"clientOrderId": link})
    found = client.fetch_open_order(placed["id"], symbol)
    assert (found["status"], found["clientOrderId"], found["remaining"]) == ("open", link, 0.002)
    assert [order["id"] for order in client.fetch_open_orders(symbol)] == [placed["id"]]
    client.edit_order(placed["id"], symbol, "limit", "buy", 0.003, bid("0.98"))
    assert client.fetch_open_order(placed["id"], symbol)["amount"] == 0.003
    client.cancel_order(placed["id"], symbol)
    assert client.fetch_open_orders(symbol) == []
    assert client.fetch_closed_order(placed["id"], symbol)["status"] == "canceled"
    assert placed["id"] in [order["id"] for order in client.fetch_canceled_orders(symbol)]


def test_contracts(client):
    bought = client.create_order(PERP, "market", "buy", 0.01)
    order = client.fetch_closed_order(bought["id"], PERP)
    assert (order["status"], order["filled"], order["fee"]["currency"]) == ("closed", 0.01, "USDT")
    (position,) = client.fetch_positions([PERP])
    assert (position["side"], position["contracts"]) == ("long", 0.01)
    client.set_leverage(20, PERP)
    assert client.fetch_position(PERP)["leverage"] == 20
    with pytest.raises(ccxt.BadRequest, match="110043"):
        client.set_leverage(20, PERP)
    client.set_leverage(10, PERP)
    sold = client.create_order(PERP, "market", "sell", 0.01, None, {"reduceOnly": True})
    assert client.fetch_position(PERP)["contracts"] in (None, 0)
    mine = client.fetch_my_trades(PERP)
    assert {bought["id"], sold["id"]} <= {trade["order"] for trade in mine}
    assert {trade["order"] for trade in client.fetch_order_trades(sold["id"], PERP)} == {sold["id"]}


def test_coins(client):
    before = client.fetch_balance()["BTC"]["total"]
    by_cost = client.create_market_buy_order_with_cost(COIN, 600)
    bought = client.fetch_closed_order(by_cost["id"], COIN)
    assert bought["status"] == "closed"
    assert 590 < bought["cost"] <= 600
    sold = client.create_order(COIN, "market", "sell", 0.005)
    assert client.fetch_closed_order(sold["id"], COIN)["fee"]["currency"] == "USDT"
    after = client.fetch_balance()["BTC"]["total"]
    assert after == pytest.approx(before + bought["filled"] - bought["fee"]["cost"] - 0.005, abs=1e-8)
    assert client.fetch_trading_fee(PERP)["taker"] == 0.00055


def test_conditional_orders(client, bid):
    up = client.create_order(PERP, "market", "buy", 0.002, None, {"triggerPrice": bid("1.05"), "triggerDirection": 1})
    down = client.create_order(PERP, "limit", "sell", 0.002, bid("0.94"),
                               {"triggerPrice": bid("0.95"), "triggerDirection": 2})  # fmt: skip
    client.create_order(PERP, "market", "buy", 0.002)
    stop = client.create_order(PERP, "market", "sell", 0.002, None, {"stopLossPrice": bid("0.9")})
    gain = client.create_order(PERP, "market", "sell", 0.002, None, {"takeProfitPrice": bid("1.1")})
    found = {order["id"]: order for order in client.fetch_open_orders(PERP)}
    assert {up["id"], down["id"], stop["id"], gain["id"]} == set(found)
    assert found[stop["id"]]["stopLossPrice"] == bid("0.9")
    assert len(client.cancel_all_orders(PERP)) == 4
    coin = client.create_order(COIN, "limit", "buy", 0.002, bid("0.9"), {"triggerPrice": bid("0.92")})
    assert client.fetch_open_order(coin["id"], COIN)["triggerPrice"] > 0
    client.cancel_order(coin["id"], COIN)


def test_take_profit_and_stop_loss_of_a_position(client, bid):
    ends = {"stopLoss": {"triggerPrice": bid("0.9")}, "takeProfit": {"triggerPrice": bid("1.1")}}
    client.create_order(PERP, "market", "buy", 0.002, None, ends)
    assert {order["info"]["stopOrderType"] for order in client.fetch_open_orders(PERP)} == {"StopLoss", "TakeProfit"}
    client.create_order(PERP, "market", "sell", None, None,
                        {"stopLossPrice": bid("0.91"), "tradingStopEndpoint": True})  # fmt: skip
    assert float(client.fetch_position(PERP)["info"]["stopLoss"]) == bid("0.91")


@pytest.mark.parametrize(("tif", "status"), [("IOC", "canceled"), ("FOK", "canceled"), ("PO", "open")])
def test_times_in_force(client, bid, tif, status):
    order = client.create_order(PERP, "limit", "buy", 0.002, bid("0.99"), {"timeInForce": tif})
    rows = client.fetch_open_orders(PERP) + client.fetch_canceled_orders(PERP)
    assert next(row for row in rows if row["id"] == order["id"])["status"] == status


def test_several_at_once(client, bid):
    wanted = [{"symbol": PERP, "type": "limit", "side": "buy", "amount": 0.002, "price": bid(share)}
              for share in ("0.99", "0.98")]  # fmt: skip
    made = client.create_orders(wanted)
    assert len(client.fetch_open_orders(PERP)) == 2
    client.cancel_orders([order["id"] for order in made], PERP)
    assert client.fetch_open_orders(PERP) == []


def test_refusals(server, client, bid):
    wrong_key = rest_client(server.ready | {"api_key": "wrong"})
    wrong_secret = rest_client(server.ready | {"api_secret": "wrong"})
    for one in (wrong_key, wrong_secret):
        with pytest.raises(ccxt.AuthenticationError):
            one.private_get_v5_account_info()
    with pytest.raises(ccxt.InsufficientFunds, match="110007"):
        client.create_order(PERP, "limit", "buy", 400, bid("0.99"))
    with pytest.raises(ccxt.InsufficientFunds, match="170131"):
        client.create_order(COIN, "limit", "buy", 20, bid("0.99"))
    with pytest.raises(ccxt.InvalidOrder, match="110094"):
        client.create_order(PERP, "limit", "buy", 0.001, 1000)
    with pytest.raises(ccxt.InvalidOrder, match="110003"):
        client.create_order(PERP, "limit", "buy", 0.001, bid("1.2"))
    with pytest.raises(ccxt.InvalidOrder, match="110017"):
        client.create_order(PERP, "market", "sell", 0.001, None, {"reduceOnly": True})
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order("00000000-0000-4000-8000-000000000000", PERP)
    link = {"clientOrderId": f"once-{client.milliseconds()}"}
    client.create_order(PERP, "limit", "buy", 0.002, bid("0.99"), link)
    with pytest.raises(ccxt.InvalidOrder, match="110072"):
        client.create_order(PERP, "limit", "buy", 0.002, bid("0.99"), link)
    server.fault(kind="rate_limit", endpoint="GET /v5/position/list", times=1)
    with pytest.raises(ccxt.RateLimitExceeded):
        client.fetch_positions([PERP])
    server.heal()


def listening(server, listen):
    """Run something with a client that listens."""

    async def run():
        made = stream_client(server.ready)
        try:
            await made.load_markets()
            return await asyncio.wait_for(listen(made), PATIENCE_S)
        finally:
            await made.close()

    return asyncio.run(run())


@pytest.mark.parametrize("symbol", [PERP, COIN], ids=["contract", "coin"])
def test_market_streams(server, symbol):
    async def listen(client):
        book = await client.watch_order_book(symbol, 50)
        for _ in range(3):
            book = await client.watch_order_book(symbol, 50)
        trades = await client.watch_trades(symbol)
        ticker = await client.watch_ticker(symbol)
        bars = await client.watch_ohlcv(symbol, "1m")
        return book, trades, ticker, bars

    book, trades, ticker, bars = listening(server, listen)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert trades[-1]["symbol"] == ticker["symbol"] == symbol
    assert bars[-1][4] > 0


def test_user_events(server, bid):
    async def listen(client):
        async def positions():
            while not (found := await client.watch_positions([PERP])):
                pass  # the first answer is what there is already
            return found

        waiting = [client.watch_orders(PERP), client.watch_my_trades(PERP), client.watch_balance(), positions()]
        tasks = [asyncio.ensure_future(one) for one in waiting]
        placed = []
        while not all(task.done() for task in tasks):  # ccxt does not tell when it has subscribed
            placed.append((await client.create_order(PERP, "market", "buy", 0.002))["id"])
            await asyncio.wait(tasks, timeout=1)
        return placed, *[task.result() for task in tasks]

    placed, orders, mine, balance, positions = listening(server, listen)
    assert orders[-1]["id"] in placed
    assert mine[-1]["order"] in placed
    assert balance["USDT"]["total"] > 0
    assert positions[0]["symbol"] == PERP


def test_orders_by_websocket(server, bid):
    price, other = bid("0.99"), bid("0.98")

    async def work(client):
        made = await client.create_order_ws(PERP, "limit", "buy", 0.002, price)
        await client.edit_order_ws(made["id"], PERP, "limit", "buy", 0.003, other)
        edited = (await client.fetch_open_orders(PERP))[0]
        await client.cancel_order_ws(made["id"], PERP)
        return made["id"], edited, await client.fetch_open_orders(PERP)

    made, edited, left = listening(server, work)
    assert (edited["id"], edited["amount"], left) == (made, 0.003, [])


LIQUIDATED = """
[[account]]
name = "main"
balances = { USDT = "1000" }
[[account]]
name = "maker"
balances = { USDT = "100000000" }
[[account]]
name = "other"
balances = { USDT = "100000000" }
"""


def test_a_liquidation(tmp_path):
    """As ccxt tells of it: a position that is gone, a trade of no order that was asked for, and nothing owed."""
    (tmp_path / "balances.toml").write_text(LIQUIDATED)
    with BybitServer(tmp_path, "--balances", str(tmp_path / "balances.toml"), scenario=WIDE) as server:
        main, maker, other = (
            rest_client(server.ready | {"api_key": one["api_key"], "api_secret": one["api_secret"]})
            for one in server.ready["accounts"]
        )
        for one in (main, maker, other):
            one.load_markets()
        main.set_leverage(100, PERP)
        maker.create_order(PERP, "limit", "sell", 0.15, 60_000)
        bought = main.create_order(PERP, "limit", "buy", 0.15, 60_000)
        resting = main.create_order(PERP, "limit", "buy", 0.001, 50_000)
        maker.create_order(PERP, "limit", "buy", 0.2, 53_000)
        maker.create_order(PERP, "limit", "buy", 0.001, 53_500)
        other.create_order(PERP, "market", "sell", 0.001)
        assert main.fetch_position(PERP)["contracts"] in (None, 0)
        assert main.fetch_balance()["total"].get("USDT", 0) == 0
        assert resting["id"] in [one["id"] for one in main.fetch_canceled_orders(PERP)]
        assert {trade["order"] for trade in main.fetch_my_trades(PERP)} == {bought["id"]}, "it asks for Trade alone"
        trades = main.fetch_my_trades(PERP, params={"execType": "BustTrade"})
        assert [(trade["side"], trade["amount"], trade["price"]) for trade in trades] == [("sell", 0.15, 53_000)]
        assert {trade["info"]["execType"] for trade in trades} == {"BustTrade"}
        server.conserved()
        assert server.stop().balances["main", "USDT"] == 0
