"""nautilus_trader's trading node with its Binance adapter on the loopback exchange: data, orders, events."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from cell import BTC, READY, run
from nautilus_trader.adapters.binance import (
    BINANCE,
    BinanceAccountType,
    BinanceDataClientConfig,
    BinanceExecClientConfig,
    BinanceKeyType,
    BinanceLiveDataClientFactory,
    BinanceLiveExecClientFactory,
)
from nautilus_trader.adapters.binance.common.enums import BinanceKlineInterval
from nautilus_trader.adapters.binance.factories import get_cached_binance_http_client
from nautilus_trader.adapters.binance.http.error import BinanceClientError
from nautilus_trader.adapters.binance.spot.http.account import BinanceSpotAccountHttpAPI
from nautilus_trader.adapters.binance.spot.http.market import BinanceSpotMarketHttpAPI
from nautilus_trader.common.component import LiveClock
from nautilus_trader.config import InstrumentProviderConfig, LoggingConfig, TradingNodeConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import BookType, OrderSide, OrderStatus, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId, TraderId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.model.orders import Order
from nautilus_trader.trading.strategy import Strategy

PATIENCE_S = 20.0
PAIR = InstrumentId.from_str(f"{BTC}.{BINANCE}")
ADDRESSES = {"base_url_http": READY["rest"], "base_url_ws": READY["ws"]}
KEYS = {"api_key": READY["api_key"], "api_secret": READY["api_secret"], "account_type": BinanceAccountType.SPOT}
PROVIDER = InstrumentProviderConfig(load_all=True)


class Ear(Strategy):
    """Hears everything and decides nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: set[str] = set()
        self.events: list[Any] = []

    def on_start(self) -> None:
        """Subscribe."""
        self.subscribe_quote_ticks(PAIR)
        self.subscribe_trade_ticks(PAIR)
        self.subscribe_order_book_deltas(PAIR, BookType.L2_MBP)
        self.subscribe_bars(BarType.from_str(f"{PAIR}-1-SECOND-LAST-EXTERNAL"))

    def on_quote_tick(self, tick: Any) -> None:
        """A quote."""
        self.heard.add("quote")

    def on_trade_tick(self, tick: Any) -> None:
        """A trade."""
        self.heard.add("trade")

    def on_order_book_deltas(self, deltas: Any) -> None:
        """A change of the book."""
        self.heard.add("book")

    def on_bar(self, bar: Any) -> None:
        """A bar."""
        self.heard.add("bar")

    def on_event(self, event: Any) -> None:
        """Orders and positions."""
        self.events.append(event)


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
node = TradingNode(
    TradingNodeConfig(
        trader_id=TraderId("TESTER-001"),
        logging=LoggingConfig(log_level="OFF"),
        data_clients={BINANCE: BinanceDataClientConfig(instrument_provider=PROVIDER, **ADDRESSES, **KEYS)},
        exec_clients={BINANCE: BinanceExecClientConfig(instrument_provider=PROVIDER, **ADDRESSES, **KEYS)},
        timeout_connection=PATIENCE_S,
        timeout_disconnection=2.0,
        timeout_post_stop=0.1,
    ),
    loop=loop,
)
node.add_data_client_factory(BINANCE, BinanceLiveDataClientFactory)
node.add_exec_client_factory(BINANCE, BinanceLiveExecClientFactory)
ear = Ear()
node.trader.add_strategy(ear)
node.build()
running = loop.create_task(node.run_async())


async def until(wanted: Callable[[], Any], what: str) -> Any:
    """Wait for something."""
    for _ in range(int(PATIENCE_S * 50)):
        if found := wanted():
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"it did not come: {what}; events: {ear.events[-8:]}")


def in_loop(operation: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """An operation beside the node."""
    return lambda: loop.run_until_complete(operation())


def price(share: float) -> Price:
    """A share of the best bid, in ticks."""
    return Price(float(ear.cache.quote_tick(PAIR).bid_price) * share, 2)


def quantity(amount: float) -> Quantity:
    """An amount in lots."""
    return Quantity(amount, 5)


async def reached(order: Order, *statuses: OrderStatus) -> None:
    """Wait for what becomes of an order."""
    await until(lambda: order.status in statuses, f"{order.client_order_id}: {statuses}, it is {order.status}")


async def rests(order: Order) -> Order:
    """Send an order that is accepted."""
    ear.submit_order(order)
    await reached(order, OrderStatus.ACCEPTED)
    return order


async def canceled(order: Order) -> None:
    """And take it back."""
    ear.cancel_order(order)
    await reached(order, OrderStatus.CANCELED)


def limit(side: OrderSide = OrderSide.BUY, amount: float = 0.001, share: float = 0.99, **more: Any) -> Order:
    """A limit order."""
    return ear.order_factory.limit(PAIR, side, quantity(amount), price(share), **more)


async def info() -> None:
    """Instruments with their sizes and fees, and the account."""
    await until(lambda: node.is_running() and ear.is_running, "the node runs")
    found = ear.cache.instrument(PAIR)
    assert (float(found.price_increment), float(found.size_increment)) == (0.01, 0.00001)
    assert float(found.taker_fee) == 0.001
    assert len(ear.cache.instruments()) == 2
    await until(lambda: ear.cache.quote_tick(PAIR), "a quote")
    assert float(ear.portfolio.account(PAIR.venue).balance_total(found.base_currency)) > 0


async def market_data() -> None:
    """Asked for, not streamed."""
    market = BinanceSpotMarketHttpAPI(http())
    assert (await market.query_depth(symbol=BTC, limit=5)).bids
    assert await market.query_klines(symbol=BTC, interval=BinanceKlineInterval.MINUTE_1, limit=2)
    assert await market.request_server_time() > 0
    assert (await market.query_ticker_24hr(symbol=BTC))[0].symbol == BTC


def http(secret: str = READY["api_secret"]) -> Any:
    """The adapter's client by itself."""
    get_cached_binance_http_client.cache_clear()
    return get_cached_binance_http_client(
        clock=LiveClock(), account_type=BinanceAccountType.SPOT, api_key=READY["api_key"], api_secret=secret,
        key_type=BinanceKeyType.HMAC, base_url=READY["rest"],
    )  # fmt: skip


async def streams() -> None:
    """Quotes, trades, the book and bars."""
    await until(lambda: ear.heard >= {"quote", "trade", "book", "bar"}, f"of all streams, heard {ear.heard}")
    book = ear.cache.order_book(PAIR)
    assert book.best_bid_price() < book.best_ask_price()


async def limit_order() -> None:
    """Place, query, list, cancel, one and all; each time in force."""
    order = await rests(limit())
    account = BinanceSpotAccountHttpAPI(http(), LiveClock(), BinanceAccountType.SPOT)
    name = order.client_order_id.value
    assert (await account.query_order(symbol=BTC, orig_client_order_id=name)).status.value == "NEW"
    assert name in [row.clientOrderId for row in await account.query_open_orders(symbol=BTC)]
    ear.query_order(order)
    await canceled(order)
    assert await account.query_all_orders(symbol=BTC)
    two = [await rests(limit()), await rests(limit(post_only=True))]
    ear.cancel_all_orders(PAIR)
    for one in two:
        await reached(one, OrderStatus.CANCELED)
    for tif in (TimeInForce.IOC, TimeInForce.FOK):
        order = limit(time_in_force=tif)
        ear.submit_order(order)
        await reached(order, OrderStatus.EXPIRED, OrderStatus.CANCELED)
    hidden = await rests(limit(amount=0.01, display_qty=quantity(0.002)))
    await canceled(hidden)


async def market_order() -> None:
    """By quantity and by amount, and what was traded."""
    for order in (
        ear.order_factory.market(PAIR, OrderSide.BUY, quantity(0.01)),
        ear.order_factory.market(PAIR, OrderSide.SELL, quantity(0.005)),
    ):
        ear.submit_order(order)
        await reached(order, OrderStatus.FILLED)
    assert order.filled_qty == quantity(0.005)
    account = BinanceSpotAccountHttpAPI(http(), LiveClock(), BinanceAccountType.SPOT)
    assert await account.query_user_trades(symbol=BTC)


async def order_types() -> None:
    """Stop-limit and limit-if-touched: what the adapter takes for spot."""
    await canceled(await rests(
        ear.order_factory.stop_limit(PAIR, OrderSide.SELL, quantity(0.001), price(0.97), price(0.98))
    ))  # fmt: skip
    await canceled(await rests(
        ear.order_factory.limit_if_touched(PAIR, OrderSide.SELL, quantity(0.001), price(1.02), price(1.01))
    ))  # fmt: skip


async def order_list() -> None:
    """Several orders at once; pairs are no business of the adapter."""
    orders = ear.order_factory.create_list([limit(), limit(share=0.98)])
    ear.submit_order_list(orders)
    for order in orders.orders:
        await reached(order, OrderStatus.ACCEPTED)
    ear.cancel_orders(orders.orders)
    for order in orders.orders:
        await reached(order, OrderStatus.CANCELED)


async def replace() -> None:
    """The adapter amends futures alone; an order of spot that is to be amended stays as it is, and can be canceled."""
    order = await rests(limit())
    ear.modify_order(order, quantity(0.002))
    await asyncio.sleep(0.5)
    await canceled(order)
    assert order.quantity == quantity(0.001)


async def user_events() -> None:
    """What the account's stream tells is what the node believes."""
    before = len(ear.events)
    order = limit(share=1.01)
    ear.submit_order(order)
    await reached(order, OrderStatus.FILLED)
    kinds = [type(event).__name__ for event in ear.events[before:]]
    assert "OrderFilled" in kinds
    fill = next(event for event in ear.events[before:] if type(event).__name__ == "OrderFilled")
    assert str(fill.commission.currency) == "BTC"
    account = BinanceSpotAccountHttpAPI(http(), LiveClock(), BinanceAccountType.SPOT)
    rows = (await account.query_spot_account_info()).balances
    says = {row.asset: float(row.free) + float(row.locked) for row in rows}
    believed = ear.portfolio.account(PAIR.venue)
    await until(
        lambda: all(abs(float(total) - says[str(currency)]) < 1e-6
                    for currency, total in believed.balances_total().items()),
        f"balances {says}",
    )  # fmt: skip


async def refusals() -> None:
    """Keys, filters, money, unknown orders."""

    async def says(code: int, order: Order) -> None:
        ear.submit_order(order)
        await reached(order, OrderStatus.REJECTED)
        assert str(code) in order.last_event.reason, order.last_event.reason

    await says(-1013, limit(amount=0.1, share=0.01))
    dear = limit(amount=20.0)
    ear.submit_order(dear)
    await reached(dear, OrderStatus.DENIED)  # it knows its balance by the venue's events and asks nobody
    await says(-2010, limit(share=1.05, post_only=True))
    wrong = BinanceSpotAccountHttpAPI(http("wrong"), LiveClock(), BinanceAccountType.SPOT)
    right = BinanceSpotAccountHttpAPI(http(), LiveClock(), BinanceAccountType.SPOT)
    market = BinanceSpotMarketHttpAPI(http())
    for code, ask in (
        (-1022, wrong.query_spot_account_info),
        (-2013, lambda: right.query_order(symbol=BTC, order_id=999_999_999)),
        (-2011, lambda: right.cancel_order(symbol=BTC, order_id=999_999_999)),
        (-1121, lambda: market.query_depth(symbol="NOPE", limit=5)),
    ):
        said = None
        try:
            await ask()
        except BinanceClientError as error:
            said = error.message["code"]
        assert said == code


async def limits() -> None:
    """Orders beyond the venue's rate."""
    await info()
    orders = [limit() for _ in range(8)]
    for order in orders:
        ear.submit_order(order)
    refused = await until(lambda: [one for one in orders if one.status == OrderStatus.REJECTED], "a refusal")
    assert "-1015" in refused[0].last_event.reason, refused[0].last_event.reason


operations = {
    "info": info, "streams": streams, "market data": market_data, "limit order": limit_order,
    "market order": market_order, "order types": order_types, "order list": order_list, "replace": replace,
    "refusals": refusals, "user events": user_events, "limits": limits,
}  # fmt: skip
try:
    run({name: in_loop(operation) for name, operation in operations.items()})
finally:
    loop.run_until_complete(node.stop_async())
    running.cancel()
    loop.run_until_complete(asyncio.gather(running, return_exceptions=True))
