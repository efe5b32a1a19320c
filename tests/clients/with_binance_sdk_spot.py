"""binance-sdk-spot on the loopback exchange: REST, market streams, websocket API with logon."""

import asyncio
from pathlib import Path

from binance_sdk_spot.spot import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
    Spot,
)
from cell import BTC, READY, refused, run

REST, WS = READY["rest"], READY["ws"]
TIMEOUT_MS = 10_000


def spot(secret: str = READY["api_secret"]) -> Spot:
    """A client whose addresses are the exchange's."""
    return Spot(
        config_rest_api=ConfigurationRestAPI(
            api_key=READY["api_key"], api_secret=secret, base_path=REST, timeout=TIMEOUT_MS, retries=0
        ),
        config_ws_api=ConfigurationWebSocketAPI(
            api_key=READY["api_key"],
            private_key=Path(READY["ed25519_private_key_file"]).read_text(),
            stream_url=WS + "/ws-api/v3",
        ),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=WS),
    )


client = spot().rest_api
last = float(client.ticker_price(symbol=BTC).data().actual_instance.price)


def price(share: float) -> float:
    """A share of the last price, in ticks."""
    return round(last * share, 2)


def limit_buy(quantity: float = 0.001, at: float | None = None) -> int:
    """A limit order that rests."""
    placed = client.new_order(symbol=BTC, side="BUY", type="LIMIT", quantity=quantity, price=at or price(0.99),
                              time_in_force="GTC").data()  # fmt: skip
    assert placed.status == "NEW"
    return placed.order_id


def info() -> None:
    """Server and symbols."""
    client.ping()
    assert client.time().data().server_time > 0
    assert client.exchange_info(symbol=BTC).data().symbols[0].symbol == BTC


def market_data() -> None:
    """The public answers."""
    assert client.depth(symbol=BTC, limit=5).data().bids
    assert client.ticker24hr(symbol=BTC).data().actual_instance.symbol == BTC
    assert client.klines(symbol=BTC, interval="1m").data()
    assert client.avg_price(symbol=BTC).data().mins == 5
    client.get_trades(symbol=BTC).data()
    client.agg_trades(symbol=BTC).data()
    assert client.ticker_book_ticker(symbol=BTC).data()


def limit_order() -> None:
    """Place, query, list, cancel."""
    order = limit_buy()
    assert client.get_order(symbol=BTC, order_id=order).data().status == "NEW"
    assert order in [row.order_id for row in client.get_open_orders(symbol=BTC).data()]
    assert client.delete_order(symbol=BTC, order_id=order).data().status == "CANCELED"
    assert client.all_orders(symbol=BTC).data()
    limit_buy()
    assert client.delete_open_orders(symbol=BTC).data()


def market_order() -> None:
    """By quantity and by amount."""
    bought = client.new_order(symbol=BTC, side="BUY", type="MARKET", quantity=0.01).data()
    assert bought.status == "FILLED"
    assert bought.fills[0].commission_asset == "BTC"
    assert client.new_order(symbol=BTC, side="SELL", type="MARKET", quote_order_qty=100).data().status == "FILLED"
    assert client.my_trades(symbol=BTC).data()
    assert client.get_account().data().balances
    assert client.account_commission(symbol=BTC).data().symbol == BTC
    assert client.rate_limit_order().data()


def order_types() -> None:
    """Every type and time in force, and one that is only tried."""
    for kind, more in (
        ("LIMIT", {"time_in_force": "GTC", "price": price(0.99)}),
        ("LIMIT", {"time_in_force": "GTC", "price": price(0.99), "iceberg_qty": 0.0005}),
        ("LIMIT_MAKER", {"price": price(0.99)}),
        ("STOP_LOSS", {"stop_price": price(1.02)}),
        ("STOP_LOSS", {"trailing_delta": 150}),
        ("STOP_LOSS_LIMIT", {"time_in_force": "GTC", "price": price(1.03), "stop_price": price(1.02)}),
        ("TAKE_PROFIT", {"stop_price": price(0.98)}),
        ("TAKE_PROFIT_LIMIT", {"time_in_force": "GTC", "price": price(0.98), "stop_price": price(0.98)}),
    ):
        order = client.new_order(symbol=BTC, side="BUY", type=kind, quantity=0.001, **more).data().order_id
        assert client.delete_order(symbol=BTC, order_id=order).data().status == "CANCELED"
    for tif in ("IOC", "FOK"):
        order = client.new_order(symbol=BTC, side="BUY", type="LIMIT", quantity=0.001, price=price(0.99),
                                 time_in_force=tif).data()  # fmt: skip
        assert order.status == "EXPIRED"
    client.order_test(symbol=BTC, side="BUY", type="MARKET", quantity=0.01).data()


def order_list() -> None:
    """OCO, OTO and OTOCO."""
    oco = client.order_list_oco(
        symbol=BTC, side="SELL", quantity=0.001, above_type="LIMIT_MAKER", above_price=price(1.02),
        below_type="STOP_LOSS_LIMIT", below_stop_price=price(0.98), below_price=price(0.97), below_time_in_force="GTC",
    ).data()  # fmt: skip
    assert oco.list_order_status == "EXECUTING"
    assert client.get_order_list(order_list_id=oco.order_list_id).data().contingency_type == "OCO"
    assert client.delete_order_list(symbol=BTC, order_list_id=oco.order_list_id).data().list_order_status == "ALL_DONE"
    oto = client.order_list_oto(
        symbol=BTC, working_type="LIMIT", working_side="BUY", working_price=price(0.99), working_quantity=0.001,
        working_time_in_force="GTC", pending_type="LIMIT", pending_side="SELL", pending_quantity=0.001,
        pending_price=price(1.02), pending_time_in_force="GTC",
    ).data()  # fmt: skip
    assert client.delete_order_list(symbol=BTC, order_list_id=oto.order_list_id).data().list_order_status == "ALL_DONE"
    otoco = client.order_list_otoco(
        symbol=BTC, working_type="LIMIT", working_side="BUY", working_price=price(0.99), working_quantity=0.001,
        working_time_in_force="GTC", pending_side="SELL", pending_quantity=0.001, pending_above_type="LIMIT_MAKER",
        pending_above_price=price(1.02), pending_below_type="STOP_LOSS", pending_below_stop_price=price(0.97),
    ).data()  # fmt: skip
    assert len(otoco.orders) == 3
    client.delete_order_list(symbol=BTC, order_list_id=otoco.order_list_id).data()


def replace() -> None:
    """Cancel and place."""
    done = client.order_cancel_replace(
        symbol=BTC, side="BUY", type="LIMIT", cancel_replace_mode="STOP_ON_FAILURE", cancel_order_id=limit_buy(),
        quantity=0.002, price=price(0.98), time_in_force="GTC",
    ).data()  # fmt: skip
    assert done.new_order_result == "SUCCESS"
    order = done.new_order_response.order_id
    amended = client.order_amend_keep_priority(symbol=BTC, order_id=order, new_qty=0.001).data()
    assert amended.amended_order.qty == "0.00100000"
    client.delete_order(symbol=BTC, order_id=order)


def refusals() -> None:
    """Keys, filters, money, unknown orders."""
    refused(Exception, -1022, spot("wrong").rest_api.get_account)
    refused(Exception, -1013, lambda: limit_buy(0.001, 1.0))
    refused(Exception, -2010, lambda: limit_buy(20.0))
    refused(Exception, -2011, lambda: client.delete_order(symbol=BTC, order_id=999_999_999))
    refused(Exception, -1121, lambda: client.depth(symbol="NOPE"))


def limits() -> None:
    """Orders beyond the venue's rate, and requests beyond its weight."""
    refused(Exception, -1015, lambda: [limit_buy() for _ in range(20)])
    refused(Exception, -1003, lambda: [client.get_account() for _ in range(100)])


async def _streams() -> None:
    streams = spot().websocket_streams
    connection = await streams.create_connection()
    heard: asyncio.Queue = asyncio.Queue()
    try:
        for made in (await connection.trade(symbol="btcusdt"), await connection.diff_book_depth(symbol="btcusdt")):
            made.on("message", heard.put_nowait)
        kinds = set()
        while len(kinds) < 2:
            kinds.add(type(await asyncio.wait_for(heard.get(), 20)).__name__)
    finally:
        await connection.close_connection(close_session=True)


def streams() -> None:
    """Trades and the book's changes."""
    asyncio.run(_streams())


async def _websocket_api() -> None:
    connection = await spot().websocket_api.create_connection()
    heard: list[str] = []
    try:
        assert (await connection.ping()).data() is not None
        await connection.session_logon()
        subscribed = await connection.user_data_stream_subscribe()
        subscribed.stream.on("message", lambda data: heard.append(str(data)))
        placed = await connection.order_place(
            symbol=BTC, side="BUY", type="LIMIT", quantity=0.001, price=price(0.99), time_in_force="GTC"
        )
        order = placed.data().result.order_id
        assert (await connection.order_status(symbol=BTC, order_id=order)).data().result.status == "NEW"
        assert (await connection.order_cancel(symbol=BTC, order_id=order)).data().result.status == "CANCELED"
        assert (await connection.account_status()).data().result.balances
        for _ in range(200):
            if any("CANCELED" in one for one in heard) and any("OutboundAccountPosition" in one for one in heard):
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError(f"no event came: {heard}")
    finally:
        await connection.close_connection(close_session=True)


def websocket_api() -> None:
    """Logon, orders and the account's events on one connection."""
    asyncio.run(_websocket_api())


run({
    "info": info, "market data": market_data, "limit order": limit_order, "market order": market_order,
    "order list": order_list, "replace": replace, "refusals": refusals, "streams": streams,
    "websocket api": websocket_api, "order types": order_types, "limits": limits,
})  # fmt: skip
