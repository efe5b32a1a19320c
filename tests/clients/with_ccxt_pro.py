"""ccxt.pro on the loopback exchange: streams, the account's events, and orders by the websocket API."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import ccxt
from cell import PAIR, READY, run
from rig.exchange_ccxt import stream_client

PATIENCE_S = 20.0
Operation = Callable[[Any, float], Coroutine[Any, Any, None]]


def alone(operation: Operation) -> Callable[[], None]:
    """An operation with a client of its own and the best bid."""

    async def whole() -> None:
        client = stream_client(READY)
        try:
            await client.load_markets()
            best = (await client.fetch_order_book(PAIR, 5))["bids"][0][0]
            await asyncio.wait_for(operation(client, best), 3 * PATIENCE_S)
        finally:
            await client.close()

    return lambda: asyncio.run(whole())


async def info(client: Any, best: float) -> None:
    """Server and symbols."""
    assert sorted(client.markets) == [PAIR, "ETH/USDT"]
    assert await client.fetch_time() > 0


async def market_data(client: Any, best: float) -> None:
    """Asked for by the websocket API."""
    assert (await client.fetch_ohlcv_ws(PAIR, "1m"))[-1][4] > 0
    assert isinstance(await client.fetch_trades_ws(PAIR), list)


async def streams(client: Any, best: float) -> None:
    """Trades, the book, tickers, bars, quotes."""
    assert (await client.watch_trades(PAIR))[-1]["price"] > 0
    for _ in range(5):
        book = await client.watch_order_book(PAIR)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert (await client.watch_ticker(PAIR))["last"] > 0
    assert (await client.watch_ohlcv(PAIR, "1m"))[-1][4] > 0
    assert (await client.watch_bids_asks([PAIR]))[PAIR]["bid"] > 0


async def limit_order(client: Any, best: float) -> None:
    """Place, query, list, cancel, one and all."""
    placed = await client.create_order_ws(PAIR, "limit", "buy", 0.001, round(best * 0.99, 2))
    assert placed["status"] == "open"
    assert (await client.fetch_order_ws(placed["id"], PAIR))["status"] == "open"
    assert placed["id"] in [order["id"] for order in await client.fetch_open_orders_ws(PAIR)]
    assert (await client.cancel_order_ws(placed["id"], PAIR))["status"] == "canceled"
    assert await client.fetch_orders_ws(PAIR)
    await client.create_order_ws(PAIR, "limit", "buy", 0.001, round(best * 0.99, 2))
    assert await client.cancel_all_orders_ws(PAIR)


async def market_order(client: Any, best: float) -> None:
    """And what was traded."""
    sold = await client.create_order_ws(PAIR, "market", "sell", 0.001)
    assert sold["status"] == "closed"
    assert sold["id"] in [trade["order"] for trade in await client.fetch_my_trades_ws(PAIR)]
    assert (await client.fetch_balance_ws())["info"]["balances"][0]["asset"] == "BTC"


async def order_types(client: Any, best: float) -> None:
    """Every type and time in force that it offers."""
    for tif in ("IOC", "FOK"):
        placed = await client.create_order_ws(PAIR, "limit", "buy", 0.001, round(best * 0.99, 2), {"timeInForce": tif})
        assert (await client.fetch_order_ws(placed["id"], PAIR))["status"] == "expired"
    for kind, share, stop in (  # in the venue's own words: of ccxt's it sends both
        ("STOP_LOSS_LIMIT", 0.97, 0.98), ("STOP_LOSS", 0.0, 0.98), ("TAKE_PROFIT_LIMIT", 1.02, 1.01),
        ("TAKE_PROFIT", 0.0, 1.01), ("LIMIT_MAKER", 1.02, 0.0),
    ):  # fmt: skip
        price = round(best * share, 2) if share else None
        more = {"stopPrice": round(best * stop, 2)} if stop else {}
        placed = await client.create_order_ws(PAIR, kind, "sell", 0.001, price, more)
        assert (await client.cancel_order_ws(placed["id"], PAIR))["status"] == "canceled"


async def replace(client: Any, best: float) -> None:
    """Cancel and place."""
    placed = await client.create_order_ws(PAIR, "limit", "buy", 0.001, round(best * 0.99, 2))
    edited = await client.edit_order_ws(placed["id"], PAIR, "limit", "buy", 0.002, round(best * 0.98, 2))
    assert edited["amount"] == 0.002
    assert (await client.cancel_order_ws(edited["id"], PAIR))["status"] == "canceled"


async def user_events(client: Any, best: float) -> None:
    """Orders, trades and balances as they happen."""
    seen = []

    async def keep(kind: str, watch: Callable[[], Any], read: Callable[[Any], tuple]) -> None:
        while True:
            news = await watch()
            seen.extend((kind, *read(one)) for one in (news if isinstance(news, list) else [news]))

    tasks = [
        asyncio.ensure_future(keep("order", lambda: client.watch_orders(PAIR), lambda one: (one["id"], one["status"]))),
        asyncio.ensure_future(keep("trade", lambda: client.watch_my_trades(PAIR), lambda one: (one["order"],))),
        asyncio.ensure_future(keep("balance", client.watch_balance, lambda one: ())),
    ]
    await client.ensure_user_data_stream_ws_subscribe_signature("spot")  # as each of the tasks does
    rests = await client.create_order(PAIR, "limit", "buy", 0.001, round(best * 0.99, 2))
    await client.cancel_order(rests["id"], PAIR)
    takes = await client.create_order(PAIR, "market", "buy", 0.001)
    wanted = [("order", rests["id"], "open"), ("order", rests["id"], "canceled"), ("order", takes["id"], "closed"),
              ("trade", takes["id"]), ("balance",)]  # fmt: skip
    for _ in range(int(PATIENCE_S * 20)):
        if all(one in seen for one in wanted):
            break
        await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [one for one in wanted if one not in seen] == [], seen


async def refusals(client: Any, best: float) -> None:
    """Keys, filters, money, unknown orders."""

    async def says(error: type[Exception], action: Coroutine[Any, Any, Any]) -> None:
        try:
            await action
        except error:
            return
        raise AssertionError(f"{error.__name__} was not raised")

    await says(ccxt.InsufficientFunds, client.create_order_ws(PAIR, "limit", "buy", 20, round(best * 0.99, 2)))
    await says(ccxt.InvalidOrder, client.create_order_ws(PAIR, "limit", "buy", 1, 1.0))
    await says(ccxt.OrderNotFound, client.cancel_order_ws("999999999", PAIR))
    wrong = stream_client(READY, secret="wrong")
    try:
        await wrong.load_markets()
        await says(ccxt.AuthenticationError, wrong.fetch_balance_ws())
    finally:
        await wrong.close()


async def limits(client: Any, best: float) -> None:
    """Orders beyond the venue's rate."""
    said = ""
    try:
        for _ in range(20):
            await client.create_order_ws(PAIR, "limit", "buy", 0.001, round(best * 0.99, 2))
    except ccxt.NetworkError as error:
        said = str(error)
    assert "-1015" in said


run({
    name: alone(operation)
    for name, operation in {
        "info": info, "market data": market_data, "streams": streams, "limit order": limit_order,
        "market order": market_order, "order types": order_types, "replace": replace, "refusals": refusals,
        "user events": user_events, "limits": limits,
    }.items()
})  # fmt: skip
