"""Bybit's protocol in front of the venue: requests, orders, positions, margin, and what is told of them."""

import hmac
import json
from decimal import Decimal
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle.exchange_ledger import recompute
from rig.exchange_bybit import BTC, BybitDesk, order, sign

from bot4.adapters.exchange.bybit.gateway import Who
from bot4.adapters.exchange.bybit.state import maintenance_of, tier_of
from bot4.adapters.exchange.bybit.stream import BybitStreams
from bot4.adapters.exchange.bybit.text import order_number, order_text, plain, scaled
from bot4.adapters.exchange.number import E8
from bot4.adapters.exchange.symbol import changed_filters

SETTLE = {"category": "linear", "settleCoin": "USDT"}


@pytest.fixture
def desk(tmp_path):
    made = BybitDesk(tmp_path)
    yield made
    made.conserved()
    made.venue.ledger.close()
    recompute(made.ledger)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One that lives through many requests."""
    made = BybitDesk(tmp_path_factory.mktemp("shared"))
    book(made)
    yield made
    made.conserved()
    made.venue.ledger.close()
    recompute(made.ledger)


def book(desk, category="linear"):
    """Account b makes a market around 60,000."""
    desk.create(1, "Buy", "5", "59990", category)
    desk.create(1, "Sell", "5", "60010", category)


def test_texts():
    assert [plain(value) for value in (0, E8, 150_000_000, -E8 // 2)] == ["0", "1", "1.5", "-0.5"]
    assert [scaled(E8 * 3 // 2, decimals) for decimals in (0, 1, 3)] == ["1", "1.5", "1.500"]
    for number in (1, 12_345, 2**40):
        for is_linear in (True, False):
            text = order_text(7, number, is_linear)
            assert order_number(text) == number
            assert text == order_text(7, number, is_linear)
    assert [order_number(text) for text in ("", "7", "g" * 36, "x-12345678901z")] == [None] * 4


def test_market_data(desk):
    book(desk)
    assert abs(int(desk.get("market/time")["timeNano"]) - desk.now_ns) < 10**9
    linear = desk.get("market/instruments-info", category="linear")["list"]
    assert [row["symbol"] for row in linear] == ["BTCUSDT", "ETHUSDT"]
    assert linear[0]["priceFilter"] == {"minPrice": "0.10", "maxPrice": "999999.90", "tickSize": "0.10"}
    spot = desk.get("market/instruments-info", category="spot", symbol=BTC)["list"]
    assert spot[0]["lotSizeFilter"]["basePrecision"] == "0.000001"
    levels = desk.get("market/orderbook", category="linear", symbol=BTC)
    assert (levels["b"], levels["a"]) == ([["59990.00", "5.000"]], [["60010.00", "5.000"]])
    assert desk.get("market/orderbook", category="spot", symbol=BTC)["b"] == []
    desk.create(0, "Buy", "1")
    (trade,) = desk.get("market/recent-trade", category="linear", symbol=BTC)["list"]
    assert (trade["price"], trade["size"], trade["side"]) == ("60010.00", "1.000", "Buy")
    (row,) = desk.get("market/tickers", category="linear", symbol=BTC)["list"]
    assert (row["lastPrice"], row["bid1Price"], row["markPrice"]) == ("60010.00", "59990.00", "60010.00")
    assert row["openInterest"] == "1.000"
    bars = desk.get("market/kline", category="linear", symbol=BTC, interval="1")["list"]
    assert bars[0][1:] == ["60010.00", "60010.00", "60010.00", "60010.00", "1", "60010"]


def test_who_asks(desk):
    key = desk.keys[0]
    stamp, query = str(desk.now_ms), "accountType=UNIFIED"

    def ask(who, path="/v5/account/wallet-balance"):
        return desk.raw("GET", path, query, b"", who)[1]["retCode"]

    good = sign(key.secret, stamp, key.api_key, 5000, query)
    assert ask(Who(key.api_key, stamp, "5000", good)) == 0
    assert ask(Who("", "", "", "")) == 10001
    assert ask(Who(key.api_key, stamp, "6000", good)) == 10004
    assert ask(Who(key.api_key, stamp, "5000", "0" * 64)) == 10004
    assert ask(Who("nobody", stamp, "5000", good)) == 10003
    for sent_ms, code in ((desk.now_ms - 5_000, 0), (desk.now_ms - 5_001, 10002), (desk.now_ms + 1_000, 10002)):
        again = sign(key.secret, sent_ms, key.api_key, 5000, query)
        assert ask(Who(key.api_key, str(sent_ms), "5000", again)) == code
    assert ask(Who(key.api_key, "soon", "5000", good)) == 10001
    assert desk.raw("GET", "/v5/nothing", "", b"", Who("", "", "", ""))[0] == 404
    assert desk.raw("PUT", "/v5/order/create", "", b"", Who("", "", "", ""))[0] == 400


def test_limits_of_orders_and_of_the_address(tmp_path):
    desk = BybitDesk(tmp_path)
    for number in range(10):
        desk.create(0, "Buy", "0.1", str(50_000 + number))
        assert dict(desk.answer.headers)["X-Bapi-Limit-Status"] == str(9 - number)
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.1", "50000")) == 10006
    headers = dict(desk.answer.headers)
    assert headers["X-Bapi-Limit"] == "10"
    assert int(headers["X-Bapi-Limit-Reset-Timestamp"]) == (desk.now_ms // 1_000 + 1) * 1_000
    desk.create(1, "Buy", "0.1", "50000")  # by account
    desk.tick(1)
    desk.create(0, "Buy", "0.1", "50000")
    several = [order("Buy", "0.1", "50000") for _ in range(10)]
    assert desk.refused(0, "POST", "order/create-batch", category="linear", request=[*several, several[0]]) == 10006
    desk.tick(5)
    for _ in range(600):
        desk.get("market/time")
    assert desk.raw("GET", "/v5/market/time", "", b"", Who("", "", "", ""))[0] == 403
    desk.tick(590)
    assert desk.raw("GET", "/v5/market/time", "", b"", Who("", "", "", ""))[0] == 403
    desk.tick(20)
    desk.get("market/time")


def test_an_order_from_its_acceptance_to_its_end(desk):
    made = desk.create(0, "Buy", "0.5", "59000", orderLinkId="mine-1")
    row = desk.order(0, made)
    assert (row["orderStatus"], row["leavesQty"], row["orderLinkId"], row["avgPrice"]) == ("New", "0.500", "mine-1", "")
    assert desk.heard(0, "order")[0]["orderId"] == made
    desk.done(0, "POST", "order/amend", category="linear", symbol=BTC, orderLinkId="mine-1", qty="0.7", price="59100")
    row = desk.order(0, made)
    assert (row["qty"], row["price"], row["leavesValue"]) == ("0.700", "59100.00", "41370")
    assert desk.get("market/orderbook", category="linear", symbol=BTC)["b"] == [["59100.00", "0.700"]]
    sold = desk.create(1, "Sell", "0.2", "59100", timeInForce="IOC")
    assert desk.order(1, sold)["orderStatus"] == "Filled"
    row = desk.order(0, made)
    assert (row["orderStatus"], row["cumExecQty"], row["cumExecValue"]) == ("PartiallyFilled", "0.200", "11820")
    assert Decimal(row["cumExecFee"]) == Decimal("11820") * Decimal("0.0002")
    (fill,) = desk.heard(0, "execution")
    assert (fill["isMaker"], fill["execQty"], fill["leavesQty"], fill["feeRate"]) == (True, "0.200", "0.500", "0.0002")
    desk.done(0, "POST", "order/cancel", category="linear", symbol=BTC, orderId=made)
    row = desk.order(0, made)
    assert (row["orderStatus"], row["cancelType"], row["leavesQty"]) == ("Cancelled", "CancelByUser", "0.000")
    assert desk.refused(0, "POST", "order/cancel", category="linear", symbol=BTC, orderId=made) == 110001
    assert desk.refused(0, "POST", "order/amend", category="linear", symbol=BTC, orderId=made, qty="1") == 110001
    assert [one["orderStatus"] for one in desk.heard(0, "order")][-3:] == ["New", "PartiallyFilled", "Cancelled"]
    assert desk.done(0, "GET", "order/history", category="linear", symbol=BTC)["list"][0]["orderId"] == made
    assert [one["execId"] for one in desk.done(0, "GET", "execution/list", category="linear")["list"]] == [
        fill["execId"]
    ]
    assert desk.done(1, "GET", "order/realtime", category="linear", orderId=made)["list"] == []  # another's


def test_an_order_link_is_used_once(desk):
    first = desk.create(0, "Buy", "0.1", "50000", orderLinkId="a")
    again = order("Buy", "0.1", "50000", orderLinkId="a")
    assert desk.refused(0, "POST", "order/create", **again) == 110072
    desk.done(0, "POST", "order/cancel", category="linear", symbol=BTC, orderId=first)
    assert desk.refused(0, "POST", "order/create", **again) == 110072
    desk.create(1, "Buy", "0.1", "50000", orderLinkId="a")
    desk.create(0, "Buy", "0.1", "50000", "spot", orderLinkId="b")
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.1", "50000", "spot", orderLinkId="b")) == 170141
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.1", "50000", orderLinkId="no spaces")) == 10001


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (order("Buy", "0.0001", "60000"), 10001),
        (order("Buy", "0.0015", "60000"), 10001),
        (order("Buy", "501", "60000"), 10001),
        (order("Buy", "101"), 10001),
        (order("Buy", "0.1", "60000.05"), 10001),
        (order("Buy", "0.1", "0.01"), 10001),
        (order("Buy", "0.1", "66000.1"), 110003),
        (order("Sell", "0.1", "53999.9"), 110003),
        (order("Buy", "0.001", "4000"), 110094),
        (order("Buy", "500", "60000"), 110007),
        (order("Sell", "0.1", "60000", reduceOnly=True), 110017),
        (order("Sell", "0", reduceOnly=True, closeOnTrigger=True), 110017),
        (order("Buy", "0.1", triggerPrice="59000", triggerDirection=1), 110092),
        (order("Buy", "0.1", triggerPrice="61000", triggerDirection=2), 110093),
        (order("Buy", "0.1", triggerPrice="61000"), 10001),
        (order("Buy", "0.1", "60000", positionIdx=1), 10001),
        (order("Buy", "0.1", "60000", takeProfit="59000"), 10001),
        (order("Buy", "0.1", "60000", stopLoss="61000"), 10001),
        (order("Buy", "0.1", "60000", timeInForce="GTX"), 10001),
        (order("Buy", "0.1", "60000", symbol="NOPE"), 10001),
        (order("Buy", "0.1", "60000", category="margin"), 10001),
        (order("Buy", "0.1", "60000", category="inverse"), 10001),
        (order("Buy", "-1", "60000"), 10001),
        ({"category": "linear"}, 10001),
        (order("Buy", "0.0000001", "60000", "spot"), 170136),
        (order("Buy", "0.0000015", "60000", "spot"), 170137),
        (order("Buy", "231", "60000", "spot"), 170135),
        (order("Buy", "0.1", "60000.05", "spot"), 170134),
        (order("Buy", "0.1", "1000000", "spot"), 170132),
        (order("Buy", "0.1", "66000.1", "spot"), 170193),
        (order("Sell", "0.1", "53999", "spot"), 170194),
        (order("Buy", "0.00001", "60000", "spot"), 170140),
        (order("Buy", "20", "60000", "spot"), 170131),
        (order("Sell", "101", "60000", "spot"), 170131),
        (order("Buy", "1", "60000", "spot", symbol="NOPE"), 170121),
        (order("Buy", "1", "60000", "spot", reduceOnly=True), 10001),
        (order("Buy", "1", "60000", "spot", orderFilter="tpslOrder"), 170203),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else f"{value.get('category')}-{value.get('side')}",
)  # fmt: skip
def test_refusals(desk, fields, code):
    assert desk.refused(0, "POST", "order/create", **fields) == code
    assert desk.done(0, "GET", "order/realtime", **SETTLE)["list"] == []
    assert desk.heard(0, "order") == []


def test_a_closed_market_takes_nothing(desk):
    made = desk.create(0, "Buy", "0.1", "60000")
    for symbol in desk.venue.by_index:
        symbol.status = "HALT"
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.1", "60000")) == 110066
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.1", "60000", "spot")) == 170151
    assert desk.get("market/instruments-info", category="linear")["list"][0]["status"] == "PreLaunch"
    desk.done(0, "POST", "order/cancel", category="linear", symbol=BTC, orderId=made)


def test_nobody_is_answered_while_the_venue_is_maintained(desk):
    made = desk.create(0, "Buy", "0.1", "60000")
    desk.venue.maintain(True, False)
    assert desk.raw("GET", "/v5/market/time", "", b"", Who("", "", "", ""))[0] == 503
    operated = desk.gateway.operate(desk.venue.accounts[0], "order.cancel", {}, [])
    assert operated["retCode"] == 10016
    desk.venue.maintain(False, False)
    assert desk.order(0, made)["orderStatus"] == "New"


def test_ways_of_latencies(desk):
    ways = {name: desk.gateway.way(name) for name in ("POST /v5/order/create", "POST /v5/order/amend-batch",
            "POST /v5/order/cancel-all", "GET /v5/order/realtime", "order.create", "order.cancel", "ping")}  # fmt: skip
    assert list(ways.values()) == ["order", "order", "cancel", None, "order", "cancel", None]


def test_times_in_force(desk):
    book(desk)
    crossing = desk.create(0, "Buy", "1", "60010", timeInForce="PostOnly")
    row = desk.order(0, crossing)
    assert (row["orderStatus"], row["rejectReason"]) == ("Cancelled", "EC_PostOnlyWillTakeLiquidity")
    assert [one["orderStatus"] for one in desk.heard(0, "order")] == ["Cancelled"]
    making = desk.order(0, desk.create(0, "Buy", "1", "60000", timeInForce="PostOnly"))
    assert (making["orderStatus"], making["timeInForce"]) == ("New", "PostOnly")
    whole = desk.order(0, desk.create(0, "Buy", "6", "60010", timeInForce="FOK"))
    assert (whole["orderStatus"], whole["rejectReason"]) == ("Cancelled", "EC_NoEnoughQtyToFill")
    rest = desk.order(0, desk.create(0, "Buy", "6", "60010", timeInForce="IOC"))
    assert (rest["orderStatus"], rest["cumExecQty"], rest["rejectReason"]) == (
        "Cancelled", "5.000", "EC_NoImmediateQtyToFill")  # fmt: skip
    empty = desk.order(0, desk.create(0, "Buy", "1"))
    assert (empty["orderStatus"], empty["cumExecQty"], empty["orderType"]) == ("Cancelled", "0.000", "Market")


def test_spot(desk):
    book(desk, "spot")
    by_value = desk.order(0, desk.create(0, "Buy", "6001", category="spot"), "spot")
    assert (by_value["orderStatus"], by_value["cumExecQty"], by_value["marketUnit"]) == (
        "Filled", "0.100000", "quoteCoin")  # fmt: skip
    assert by_value["cumFeeDetail"] == {"BTC": "0.000055"}
    by_qty = desk.order(0, desk.create(0, "Buy", "0.1", category="spot", marketUnit="baseCoin"), "spot")
    assert (by_qty["cumExecValue"], by_qty["avgPrice"]) == ("6001", "60010.0000")
    sold = desk.order(0, desk.create(0, "Sell", "0.1", category="spot"), "spot")
    assert sold["cumFeeDetail"] == {"USDT": plain(599_900_000_000 * 550 // 1_000_000)}
    part = desk.create(0, "Buy", "6", "60010", "spot", timeInForce="IOC")
    assert desk.order(0, part, "spot")["orderStatus"] == "PartiallyFilledCanceled"
    resting = desk.create(0, "Sell", "1", "61000", "spot")
    assert desk.coin(0, "BTC")["locked"] == "1"
    desk.done(0, "POST", "order/cancel", category="spot", symbol=BTC, orderId=resting)
    assert desk.refused(0, "POST", "order/cancel", category="spot", symbol=BTC, orderId=resting) == 170142
    assert desk.refused(0, "POST", "order/cancel", category="spot", symbol=BTC, orderId=part) == 170142
    assert desk.refused(0, "POST", "order/cancel", category="spot", symbol=BTC, orderId="1") == 170213
    waiting = desk.create(0, "Sell", "1", "58000", "spot", triggerPrice="59000", orderFilter="StopOrder")
    assert desk.order(0, waiting, "spot")["orderStatus"] == "Untriggered"
    desk.done(0, "POST", "order/cancel-all", category="spot", symbol=BTC)
    assert desk.order(0, waiting, "spot")["orderStatus"] == "Deactivated"


def test_conditional_orders(desk):
    book(desk)
    stop = desk.create(0, "Buy", "1", triggerPrice="60100", triggerDirection=1)
    limit = desk.create(0, "Sell", "1", "60200", triggerPrice="60150", triggerDirection=1)
    dip = desk.create(0, "Buy", "1", "59000", triggerPrice="59500", triggerDirection=2, triggerBy="MarkPrice")
    rows = {row["orderId"]: row for row in desk.done(0, "GET", "order/realtime", **SETTLE)["list"]}
    assert {row["orderStatus"] for row in rows.values()} == {"Untriggered"}
    assert (rows[dip]["triggerBy"], rows[dip]["triggerDirection"], rows[dip]["stopOrderType"]) == (
        "MarkPrice", 2, "Stop")  # fmt: skip
    desk.done(0, "POST", "order/amend", category="linear", symbol=BTC, orderId=dip, triggerPrice="59600")
    assert desk.order(0, dip)["triggerPrice"] == "59600.00"
    desk.done(1, "POST", "order/cancel-all", category="linear", symbol=BTC)
    desk.create(1, "Sell", "3", "60160")
    desk.heard(0, "order")
    desk.create(1, "Buy", "1", "60160")  # the price passes both triggers above
    assert desk.order(0, stop)["orderStatus"] == "Filled"
    assert desk.order(0, limit)["orderStatus"] == "New"
    assert [(row["orderId"] == stop, row["orderStatus"]) for row in desk.heard(0, "order")][:2] == [
        (True, "Triggered"), (False, "Triggered")]  # fmt: skip
    rows = desk.done(0, "GET", "order/realtime", orderFilter="StopOrder", **SETTLE)["list"]
    assert [row["orderId"] for row in rows] == [dip, limit]


def test_open_orders_are_bounded(desk):
    for number in range(10):
        desk.create(0, "Buy", "1", triggerPrice=str(61_000 + number), triggerDirection=1)
    desk.tick(1)
    more = order("Buy", "1", triggerPrice="62000", triggerDirection=1)
    assert desk.refused(0, "POST", "order/create", **more) == 110009
    for symbol in desk.venue.by_index:
        symbol.filters = changed_filters(symbol.filters, {"max_orders": 2})
    desk.create(0, "Buy", "0.1", "50000")
    desk.create(0, "Buy", "0.1", "50000")
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.1", "50000")) == 110020


def test_positions_at_average_cost(desk):
    desk.create(1, "Sell", "1", "60000")
    desk.create(0, "Buy", "1")
    desk.create(1, "Sell", "1", "60600")
    desk.create(0, "Buy", "1")
    held = desk.position(0)
    assert (held["side"], held["size"], held["avgPrice"], held["positionValue"]) == (
        "Buy", "2.000", "60300.0000", "120600")  # fmt: skip
    assert (held["unrealisedPnl"], held["markPrice"], held["positionIM"], held["leverage"]) == (
        "600", "60600.00", "12120", "10")  # fmt: skip
    assert desk.position(1)["unrealisedPnl"] == "-600"
    desk.create(1, "Buy", "3", "61000")
    before = Decimal(desk.coin(0)["walletBalance"])
    desk.create(0, "Sell", "3")  # closes two, and turns
    held = desk.position(0)
    assert (held["side"], held["size"], held["avgPrice"]) == ("Sell", "1.000", "61000.0000")
    fees = Decimal(3 * 61_000) * Decimal("0.00055")
    assert Decimal(desk.coin(0)["walletBalance"]) == before + 2 * (61_000 - 60_300) - fees
    fees += Decimal(60_000 + 60_600) * Decimal("0.00055")
    assert Decimal(held["cumRealisedPnl"]) == 1_400 - fees
    last = desk.heard(0, "position")[-1]
    assert (last["side"], last["size"], last["entryPrice"], last["category"]) == (
        "Sell", "1.000", "61000.0000", "linear")  # fmt: skip
    assert desk.heard(0, "wallet")[-1]["coin"][0]["coin"] == "USDT"
    assert [row["symbol"] for row in desk.done(0, "GET", "position/list", **SETTLE)["list"]] == [BTC]
    for category in ("inverse", "option"):
        assert desk.done(0, "GET", "position/list", category=category)["list"] == []


def test_funding_is_settled_when_its_time_comes(desk):
    desk.create(1, "Sell", "2", "60000")
    desk.create(0, "Buy", "2")
    (row,) = desk.get("market/tickers", category="linear", symbol=BTC)["list"]
    assert row["fundingRate"] == "0.0001"
    before = [Decimal(desk.coin(account)["walletBalance"]) for account in (0, 1)]
    realised = Decimal(desk.position(0)["cumRealisedPnl"])
    due_ms = int(row["nextFundingTime"])
    desk.heard(0, "execution")
    desk.tick((due_ms - desk.now_ms - 1) / 1_000)
    assert Decimal(desk.coin(0)["walletBalance"]) == before[0]
    desk.tick(0.002)
    after = [Decimal(desk.coin(account)["walletBalance"]) for account in (0, 1)]
    assert [after[0] - before[0], after[1] - before[1]] == [-12, 12]
    (told,) = desk.heard(0, "execution")
    assert (told["execType"], told["execFee"], told["execQty"], told["feeRate"]) == ("Funding", "12", "2.000", "0.0001")
    assert desk.heard(0, "wallet")[-1]["coin"][0]["walletBalance"] == plain(int(after[0] * E8))
    assert Decimal(desk.position(0)["cumRealisedPnl"]) == realised - 12
    kinds = [one["execType"] for one in desk.done(0, "GET", "execution/list", category="linear")["list"]]
    assert kinds == ["Funding", "Trade"]
    desk.tick(3_600)
    assert Decimal(desk.coin(0)["walletBalance"]) == after[0]


def test_who_makes_the_market_pays_funding_too_and_trades_on(tmp_path):
    desk = BybitDesk(tmp_path, market_seed=3)
    due_ns = int(desk.get("market/tickers", category="linear", symbol=BTC)["list"][0]["nextFundingTime"]) * 10**6
    for begin_ns in (desk.now_ns, due_ns - 10**9):
        desk.now_ns = begin_ns
        for _ in range(8):
            desk.tick(0.5)
            desk.get("market/time")
    desk.conserved()
    desk.venue.ledger.close()
    lines = [json.loads(line) for line in desk.ledger.read_text().splitlines()]
    paid = [line["seq"] for line in lines if line.get("reason") == "funding" and line["account"] == "market-0"]
    assert paid and any(line["kind"] == "fill" and line["seq"] > paid[-1] for line in lines)
    recompute(desk.ledger)


def test_margin(tmp_path):
    desk = BybitDesk(tmp_path, usdt=10_000)
    assert desk.refused(0, "POST", "order/create", **order("Buy", "1.7", "60000")) == 110007
    desk.create(0, "Buy", "1.6", "60000")  # 9,600 of 10,000
    wallet = desk.done(0, "GET", "account/wallet-balance", accountType="UNIFIED")["list"][0]
    assert (wallet["totalInitialMargin"], wallet["totalAvailableBalance"]) == ("9600", "400")
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.1", "60000")) == 110007
    desk.create(0, "Sell", "1.6", "60500")  # the other side needs nothing more
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.01", "60000", "spot")) == 170131
    conditional = {"triggerPrice": "61000", "triggerDirection": 1}  # asked as if it had gone off
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.1", **conditional)) == 110007
    waiting = desk.create(0, "Buy", "0.05", **conditional)
    wallet = desk.done(0, "GET", "account/wallet-balance", accountType="UNIFIED")["list"][0]
    assert wallet["totalAvailableBalance"] == "100"
    amend = {"category": "linear", "symbol": BTC, "orderId": waiting}
    assert desk.refused(0, "POST", "order/amend", qty="0.1", **amend) == 110007
    desk.done(0, "POST", "order/cancel", category="linear", symbol=BTC, orderId=waiting)
    leverage = {"category": "linear", "symbol": BTC}
    assert desk.refused(0, "POST", "position/set-leverage", buyLeverage="5", sellLeverage="5", **leverage) == 110044
    assert desk.refused(0, "POST", "position/set-leverage", buyLeverage="10", sellLeverage="10", **leverage) == 110043
    assert desk.refused(0, "POST", "position/set-leverage", buyLeverage="101", sellLeverage="101", **leverage) == 10001
    assert desk.refused(0, "POST", "position/set-leverage", buyLeverage="20", sellLeverage="10", **leverage) == 10001
    desk.done(0, "POST", "position/set-leverage", buyLeverage="50", sellLeverage="50", **leverage)
    more = desk.create(0, "Buy", "6", "60000")  # 7.6 at 50 times: 9,120
    amend = {"category": "linear", "symbol": BTC, "orderId": more}
    assert desk.refused(0, "POST", "order/amend", qty="7", **amend) == 110007
    desk.done(0, "POST", "order/amend", qty="5", **amend)
    desk.create(1, "Sell", "1", "59500")
    assert desk.position(0)["size"] == "1.000"
    desk.create(1, "Sell", "0.1", "60000")
    desk.create(0, "Sell", "1", reduceOnly=True)
    desk.conserved()


def test_coins_are_bought_with_what_margin_leaves(tmp_path):
    desk = BybitDesk(tmp_path, usdt=1_000)
    desk.create(0, "Buy", "0.1", "60000")  # 600 of 1,000
    trigger = {"triggerPrice": "60005", "orderFilter": "tpslOrder"}
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.0155", "60010", "spot", **trigger)) == 170131
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.0155", "", "spot", **trigger)) == 170131
    desk.create(1, "Sell", "0.001", "60000", "spot")
    desk.create(1, "Sell", "1", "64000", "spot")
    walk = order("Buy", "0.0065", "", "spot", marketUnit="baseCoin")  # 390 at the last price, 412 in the book
    assert desk.refused(0, "POST", "order/create", **walk) == 170131
    waiting = desk.create(0, "Buy", "0.006", "60010", "spot", **trigger)  # locks 360.06
    amend = {"category": "spot", "symbol": BTC, "orderId": waiting}
    assert desk.refused(0, "POST", "order/amend", qty="0.007", **amend) == 170131
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.001", "60000", "spot")) == 170131
    wallet = desk.done(0, "GET", "account/wallet-balance", accountType="UNIFIED")["list"][0]
    assert wallet["totalAvailableBalance"] == "39.94"
    desk.conserved()


def test_what_an_order_loses_at_once_has_to_be_there(tmp_path):
    desk = BybitDesk(tmp_path, accounts=3, usdt=1_000)
    for account in (0, 1, 2):
        desk.done(account, "POST", "position/set-leverage", category="linear", symbol=BTC, buyLeverage="100",
                  sellLeverage="100")  # fmt: skip
    resting = desk.create(1, "Sell", "0.9", "66000")  # at the mark of 60,000 it needs 540
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.9", "66000")) == 110007  # and loses 5,400
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.9")) == 110007  # so does a market order
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.2", "66000")) == 110007
    desk.done(1, "POST", "order/cancel", category="linear", symbol=BTC, orderId=resting)
    trigger = {"triggerPrice": "60001", "triggerDirection": 1}
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.9", "66000", **trigger)) == 110007
    first = desk.create(0, "Buy", "0.1", "66000")  # 60, and 600 that it would lose
    wallet = desk.done(0, "GET", "account/wallet-balance", accountType="UNIFIED")["list"][0]
    assert wallet["totalAvailableBalance"] == "340"
    assert desk.refused(0, "POST", "order/create", **order("Buy", "0.1", "66000")) == 110007
    amend = {"category": "linear", "symbol": BTC, "orderId": desk.create(0, "Buy", "0.1", "60000")}
    assert desk.refused(0, "POST", "order/amend", price="63000", **amend) == 110007  # 300 of 280
    desk.done(0, "POST", "order/amend", price="62000", **amend)
    desk.done(0, "POST", "order/cancel-all", category="linear", symbol=BTC)
    assert desk.order(0, first)["orderStatus"] == "Cancelled"
    desk.tick(2)
    desk.create(2, "Buy", "0.1", "59990")
    desk.create(2, "Buy", "0.4", "56000")
    own = desk.create(0, "Buy", "0.01", "59995")
    assert desk.refused(0, "POST", "order/create", **order("Sell", "0.5")) == 110007  # walks to 56,000
    desk.create(0, "Sell", "0.1", smpType="CancelMaker")
    assert desk.order(0, own)["orderStatus"] == "Cancelled"
    desk.create(2, "Sell", "0.1", "60000")
    desk.create(0, "Buy", "0.1")  # who closes is not asked
    assert recompute(desk.ledger).balances["a", "USDT"] > 0
    desk.conserved()


def ledger(desk, reason):
    lines = [json.loads(line) for line in desk.ledger.read_text().splitlines()]
    return [line for line in lines if line.get("reason") == reason]


def deep_in(tmp_path):
    """Account a holds 0.15 BTC at 60,000 with 1,000 USDT, at a leverage of 100."""
    desk = BybitDesk(tmp_path, accounts=5, usdt=1_000)
    desk.done(0, "POST", "position/set-leverage", category="linear", symbol=BTC, buyLeverage="100", sellLeverage="100")
    desk.create(1, "Sell", "0.15", "60000")
    desk.create(0, "Buy", "0.15", "60000")
    return desk


def trade_at(desk, price):
    """Others trade so little there; whoever asks next finds the venue at that mark price."""
    desk.create(2, "Buy", "0.001", price)
    desk.create(3, "Sell", "0.001")
    desk.get("market/time")


def test_who_closes_beyond_his_own_money_owes_nothing(tmp_path):
    desk = deep_in(tmp_path)
    desk.create(2, "Buy", "0.15", "50000")
    desk.create(0, "Sell", "0.15", reduceOnly=True)
    assert desk.coin(0)["walletBalance"] == "0"
    (line,) = ledger(desk, "insurance")
    assert line["account"] == "a" and line["amount_e8"] > 500 * E8
    assert recompute(desk.ledger).balances["a", "USDT"] == 0
    desk.conserved()


def test_liquidation_as_its_account_sees_it(tmp_path):
    desk = deep_in(tmp_path)
    resting = desk.create(0, "Buy", "0.001", "50000")
    stop = desk.create(0, "Sell", "0.15", triggerPrice="51000", triggerDirection=2, reduceOnly=True)
    for topic in ("order", "execution", "position", "wallet"):
        desk.heard(0, topic)
    desk.create(2, "Buy", "0.15", "53000")
    trade_at(desk, "53720")
    assert desk.position(0)["size"] == "0.150", "worth more than the maintenance margin of 40.29"
    row = desk.done(0, "GET", "account/wallet-balance", accountType="UNIFIED")["list"][0]["coin"]
    (coin,) = (one for one in row if one["coin"] == "USDT")
    assert Decimal(coin["equity"]) > Decimal(coin["totalPositionMM"]) == Decimal("40.29")
    trade_at(desk, "53600")
    assert desk.position(0)["size"] == "0.000" and desk.coin(0)["walletBalance"] == "0"
    orders = desk.heard(0, "order")
    assert [(row["orderId"], row["orderStatus"], row["cancelType"]) for row in orders[:2]] == [
        (resting, "Cancelled", "CancelAllBeforeLiq"), (stop, "Deactivated", "CancelAllBeforeLiq"),
    ]  # fmt: skip
    (trade,) = desk.heard(0, "execution")
    assert (trade["execType"], trade["createType"], trade["execPrice"]) == ("BustTrade", "CreateByLiq", "53000.00")
    assert (trade["orderLinkId"], trade["side"], trade["execQty"]) == ("", "Sell", "0.150")
    assert orders[-1]["orderId"] == trade["orderId"] and orders[-1]["orderStatus"] == "Filled"
    assert desk.heard(0, "position")[-1]["size"] == "0.000"
    wallets = [Decimal(coin["walletBalance"]) for row in desk.heard(0, "wallet") for coin in row["coin"]]
    assert wallets and min(wallets) >= 0, "never below zero, not for an instant"
    found = desk.done(0, "GET", "execution/list", category="linear", execType="BustTrade")["list"]
    assert [row["execId"] for row in found] == [trade["execId"]]
    assert len(ledger(desk, "insurance")) == 1 and recompute(desk.ledger).balances["a", "USDT"] == 0
    desk.conserved()


def test_a_position_that_nobody_takes_is_liquidated_when_somebody_does(tmp_path):
    desk = deep_in(tmp_path)
    trade_at(desk, "53000")
    assert desk.position(0)["size"] == "0.150" and desk.coin(0)["walletBalance"] != "0"
    desk.create(2, "Buy", "0.1", "53500")
    assert desk.position(0)["size"] == "0.050", "as far as the book offers"
    desk.create(4, "Buy", "0.1", "53100")
    assert desk.position(0)["size"] == "0.050", "and what is left is enough for what is left"
    trade_at(desk, "53200")
    assert desk.position(0)["size"] == "0.000" and Decimal(desk.coin(0)["walletBalance"]) == 0
    assert len(ledger(desk, "insurance")) == 1
    recompute(desk.ledger)
    desk.conserved()


def test_what_has_won_is_closed_before_what_has_lost(tmp_path):
    """So that the fund pays no more than the account owes with all of it."""
    desk = deep_in(tmp_path)
    short = {"symbol": "ETHUSDT"}
    desk.create(4, "Buy", "0.5", "3000", **short)
    desk.create(0, "Sell", "0.5", "3000", **short)
    desk.create(3, "Sell", "0.5", "2900", **short)
    desk.create(2, "Buy", "0.15", "53000")
    trade_at(desk, "53500")
    assert (desk.position(0)["size"], desk.position(0, "ETHUSDT")["size"]) == ("0.000", "0.00")
    (line,) = ledger(desk, "insurance")
    assert line["amount_e8"] < 30 * E8, "1050 lost, 50 won, 1000 less the fees its own"
    recompute(desk.ledger)
    desk.conserved()


def test_who_owes_less_than_his_position_has_won_is_not_insured(tmp_path):
    desk = deep_in(tmp_path)
    ether = {"symbol": "ETHUSDT"}
    for buyer, seller, qty, price in ((4, 0, "0.5", "3000"), (2, 3, "0.01", "2940")):
        desk.create(buyer, "Buy", qty, price, **ether)
        desk.create(seller, "Sell", qty, **ether)
    desk.create(2, "Buy", "0.15", "53380")
    desk.create(0, "Sell", "0.15", reduceOnly=True)
    assert -15 < Decimal(desk.coin(0)["walletBalance"]) < 0 < Decimal(desk.coin(0)["equity"])
    assert desk.position(0, "ETHUSDT")["size"] == "0.50" and not ledger(desk, "insurance")
    recompute(desk.ledger)


def test_maintenance_margin_by_tiers(desk):
    million = 10**6 * E8
    assert [maintenance_of(value * million) // E8 for value in (0, 1, 2, 3, 10, 12)] == [
        0, 5_000, 10_000, 20_000, 150_000, 200_000,
    ]  # fmt: skip
    assert maintenance_of(1) == 1, "rounded up"
    rows = desk.get("market/risk-limit", category="linear", symbol=BTC)["list"]
    assert [row["riskLimitValue"] for row in rows] == ["2000000", "4000000", "6000000", "8000000", "10000000"]
    for value in (1, 3, 5, 7, 9):
        row = rows[tier_of(value * million)]
        needed = value * 10**6 * Decimal(row["maintenanceMargin"]) - Decimal(row["mmDeduction"] or 0)
        assert needed == maintenance_of(value * million) // E8


def test_reduce_only_orders_follow_the_position(desk):
    desk.create(1, "Sell", "1", "60000")
    desk.create(0, "Buy", "1")
    first = desk.create(0, "Sell", "1", "61000", reduceOnly=True)
    desk.create(1, "Buy", "0.6", "60000")
    desk.create(0, "Sell", "0.6")
    assert desk.order(0, first)["leavesQty"] == "0.400"
    desk.create(1, "Buy", "1", "60000")
    close = desk.create(0, "Sell", "0", reduceOnly=True, closeOnTrigger=True)
    assert (desk.order(0, close)["cumExecQty"], desk.position(0)["side"]) == ("0.400", "")
    row = desk.order(0, first)
    assert (row["orderStatus"], row["cancelType"]) == ("Cancelled", "CancelByReduceOnly")


def ends_of(desk):
    """The orders that stand for take-profit and stop-loss: kind to quantity, trigger and side."""
    rows = desk.done(0, "GET", "order/realtime", orderFilter="StopOrder", **SETTLE)["list"]
    return {row["stopOrderType"]: (row["qty"], row["triggerPrice"], row["side"]) for row in rows}


def test_the_ends_of_a_position(desk):
    desk.create(1, "Sell", "5", "60000")
    desk.create(0, "Buy", "1", takeProfit="61000", stopLoss="59000")
    assert ends_of(desk) == {
        "TakeProfit": ("1.000", "61000.00", "Sell"), "StopLoss": ("1.000", "59000.00", "Sell")}  # fmt: skip
    desk.create(0, "Buy", "1")
    assert {row[0] for row in ends_of(desk).values()} == {"2.000"}
    stop = {"category": "linear", "symbol": BTC, "positionIdx": 0}
    desk.done(0, "POST", "position/trading-stop", stopLoss="59500", **stop)
    assert ends_of(desk)["StopLoss"] == ("2.000", "59500.00", "Sell")
    assert (desk.position(0)["takeProfit"], desk.position(0)["stopLoss"]) == ("61000.00", "59500.00")
    desk.done(0, "POST", "position/trading-stop", takeProfit="0", **stop)
    assert set(ends_of(desk)) == {"StopLoss"}
    desk.done(0, "POST", "position/trading-stop", takeProfit="60500", **stop)
    assert desk.refused(0, "POST", "position/trading-stop", takeProfit="59000", **stop) == 10001
    assert desk.refused(0, "POST", "position/trading-stop", trailingStop="10", **stop) == 10001
    assert desk.refused(1, "POST", "position/trading-stop", takeProfit="62000", category="linear", symbol="ETHUSDT",
                        ) == 10001  # fmt: skip
    desk.done(1, "POST", "order/cancel-all", category="linear", symbol=BTC)
    desk.create(1, "Buy", "3", "59450")
    desk.create(1, "Sell", "0.1", "59450")  # reaches the stop
    assert desk.position(0)["side"] == ""
    assert ends_of(desk) == {}
    rows = {row["stopOrderType"]: row for row in desk.done(0, "GET", "order/history", category="linear")["list"]
            if row["orderStatus"] in ("Filled", "Deactivated")}  # fmt: skip
    assert rows["StopLoss"]["orderStatus"] == "Filled"
    assert (rows["TakeProfit"]["orderStatus"], rows["TakeProfit"]["cancelType"]) == (
        "Deactivated", "CancelByTpSlTsClear")  # fmt: skip


def test_batches_and_pages(desk):
    rows = [order("Buy", "0.1", str(50_000 + number)) for number in range(3)]
    rows[1]["price"] = "50000.05"
    answer = desk.ask(0, "POST", "order/create-batch", category="linear", request=rows)
    assert [one["code"] for one in answer["retExtInfo"]["list"]] == [0, 10001, 0]
    ids = [one["orderId"] for one in answer["result"]["list"]]
    assert ids[1] == "" and answer["retCode"] == 0
    amends = [{"symbol": BTC, "orderId": ids[0], "qty": "0.2"}, {"symbol": BTC, "orderId": ids[2], "price": "50003"}]
    answer = desk.ask(0, "POST", "order/amend-batch", category="linear", request=amends)
    assert [one["code"] for one in answer["retExtInfo"]["list"]] == [0, 0]
    page = desk.done(0, "GET", "order/realtime", limit=1, **SETTLE)
    assert [row["price"] for row in page["list"]] == ["50003.00"]
    page = desk.done(0, "GET", "order/realtime", limit=1, cursor=page["nextPageCursor"], **SETTLE)
    assert ([row["qty"] for row in page["list"]], page["nextPageCursor"]) == (["0.200"], "")
    cancels = [{"symbol": BTC, "orderId": one} for one in (ids[0], "nothing", ids[2])]
    answer = desk.ask(0, "POST", "order/cancel-batch", category="linear", request=cancels)
    assert [one["code"] for one in answer["retExtInfo"]["list"]] == [0, 110001, 0]
    assert desk.refused(0, "POST", "order/create-batch", category="linear", request=[]) == 10001
    assert [row["orderStatus"] for row in desk.done(0, "GET", "order/realtime", openOnly=1, **SETTLE)["list"]] == [
        "Cancelled", "Cancelled"]  # fmt: skip


def test_the_account(desk):
    assert desk.done(0, "GET", "account/info")["unifiedMarginStatus"] == 5
    assert desk.done(0, "GET", "user/query-api")["apiKey"] == desk.keys[0].api_key
    fees = desk.done(0, "GET", "account/fee-rate", category="linear", symbol=BTC)["list"]
    assert fees == [{"symbol": BTC, "baseCoin": "", "makerFeeRate": "0.0002", "takerFeeRate": "0.00055"}]
    wallet = desk.done(0, "GET", "account/wallet-balance", accountType="UNIFIED")["list"][0]
    assert wallet["totalEquity"] == "10000000"  # 1,000,000 + 100 x 60,000 + 1,000 x 3,000
    assert [row["coin"] for row in wallet["coin"]] == ["BTC", "ETH", "USDT"]
    assert desk.refused(0, "GET", "account/wallet-balance", accountType="FUND") == 10001
    assert [row["coin"] for row in desk.done(0, "GET", "asset/coin/query-info")["rows"]] == ["BTC", "ETH", "USDT"]


def test_self_trades_are_prevented_as_asked(desk):
    resting = desk.create(0, "Sell", "1", "60000")
    taking = desk.create(0, "Buy", "1", "60000", smpType="CancelTaker")
    assert (desk.order(0, taking)["cancelType"], desk.order(0, resting)["orderStatus"]) == ("CancelBySmp", "New")
    desk.create(0, "Buy", "1", "60000", smpType="CancelMaker")
    assert desk.order(0, resting)["cancelType"] == "CancelBySmp"


def test_who_is_gone_too_long_loses_the_orders_of_the_product(desk):
    streams = BybitStreams(desk.gateway)
    desk.done(0, "POST", "order/disconnected-cancel-all", product="DERIVATIVES", timeWindow=10)
    for window in (2, 301, None):
        fields = {} if window is None else {"timeWindow": window}
        assert desk.refused(0, "POST", "order/disconnected-cancel-all", **fields) == 10001
    assert desk.done(0, "GET", "account/query-dcp-info")["dcpInfos"] == [
        {"product": "DERIVATIVES", "dcpStatus": "ON", "timeWindow": "10"}
    ]
    linear, spot = desk.create(0, "Buy", "1", "59000"), desk.create(0, "Buy", "1", "59000", "spot")
    others = desk.create(1, "Buy", "1", "59000")
    streams.gone(0, "DERIVATIVES")
    streams.gone(0, "SPOT")
    desk.tick(9)
    streams.tick(1)
    streams.back(0, "DERIVATIVES")
    desk.tick(9)
    streams.tick(2)
    assert desk.order(0, linear)["orderStatus"] == "New"
    streams.gone(0, "DERIVATIVES")
    desk.tick(10)
    streams.tick(3)
    assert desk.order(0, linear)["orderStatus"] == "New"
    desk.tick(0.001)
    streams.tick(4)
    row = desk.order(0, linear)
    assert (row["orderStatus"], row["cancelType"]) == ("Cancelled", "CancelByDCP")
    assert desk.order(0, spot, "spot")["orderStatus"] == desk.order(1, others)["orderStatus"] == "New"


def test_orders_by_websocket(desk):
    account = desk.venue.accounts[0]
    header = {"X-BAPI-TIMESTAMP": str(desk.now_ms)}

    def operate(operation, args, who=account, head=header):
        return desk.gateway.operate(who, operation, head, args)

    made = operate("order.create", [order("Buy", "1", "59000")])
    assert (made["retCode"], made["op"], made["header"]["X-Bapi-Limit-Status"]) == (0, "order.create", "9")
    one = {"category": "linear", "symbol": BTC, "orderId": made["data"]["orderId"]}
    assert operate("order.amend", [one | {"qty": "2"}])["retCode"] == 0
    assert operate("order.cancel", [one])["retCode"] == 0
    assert operate("order.cancel", [one])["retCode"] == 110001
    assert operate("order.nothing", [one])["retCode"] == 10404
    assert operate("order.create", [one, one])["retCode"] == 10001
    assert operate("order.create", [one], None)["retCode"] == 10007
    assert operate("order.create", [one], account, {})["retCode"] == 10001
    assert operate("order.create", [one], account, {"X-BAPI-TIMESTAMP": str(desk.now_ms - 6_000)})["retCode"] == 10002


class Ear:
    """Hears topics."""

    def __init__(self):
        self.messages = []

    def push(self, text, kind):
        self.messages.append(json.loads(text))


def test_books_by_their_topics(desk):
    streams, ear, late = BybitStreams(desk.gateway), Ear(), Ear()
    book(desk)
    first = json.loads(streams.add("linear", "orderbook.50.BTCUSDT", ear))
    assert (first["type"], first["data"]["b"]) == ("snapshot", [["59990.00", "5.000"]])
    desk.create(0, "Buy", "1", "59995")
    desk.create(0, "Buy", "1")
    streams.tick(1)
    (delta,) = ear.messages
    assert (delta["type"], delta["data"]["u"]) == ("delta", first["data"]["u"] + 1)
    assert (delta["data"]["b"], delta["data"]["a"]) == ([["59995.00", "1.000"]], [["60010.00", "4.000"]])
    again = json.loads(streams.add("linear", "orderbook.50.BTCUSDT", late))
    assert again["data"]["u"] == delta["data"]["u"]
    desk.done(0, "POST", "order/cancel-all", category="linear", symbol=BTC)
    streams.tick(2)
    assert ear.messages[-1]["data"]["b"] == late.messages[-1]["data"]["b"] == [["59995.00", "0"]]
    streams.tick(3)
    assert len(ear.messages) == 2
    for name in ("orderbook.25.BTCUSDT", "orderbook.50.NOPE", "kline.2.BTCUSDT", "nothing"):
        assert streams.add("linear", name, ear) is None
    best = json.loads(streams.add("linear", "orderbook.1.BTCUSDT", late))
    desk.tick(3)
    streams.tick(4)
    repeated = late.messages[-1]
    assert (repeated["topic"], repeated["type"], repeated["data"]["u"]) == (
        "orderbook.1.BTCUSDT", "snapshot", best["data"]["u"])  # fmt: skip


def test_levels_that_leave_the_best_are_taken_away(desk):
    streams, ear = BybitStreams(desk.gateway), Ear()
    venue = desk.venue
    account = venue.accounts[1]
    for number in range(60):
        fresh = desk.gateway.desk._reader.new(account, venue.by_index[0], True, "LIMIT")
        fresh.price_e8, fresh.qty_e8 = (58_000 - number) * E8, E8
        venue.place(account, fresh)
    held = {one[0]: one[1] for one in json.loads(streams.add("linear", "orderbook.50.BTCUSDT", ear))["data"]["b"]}
    assert len(held) == 50
    for number in range(5):
        desk.create(0, "Buy", "1", str(58_001 + number))
        streams.tick(number + 1)
    for message in ear.messages:
        for price, qty in message["data"]["b"]:
            if qty == "0":
                del held[price]
            else:
                held[price] = qty
        assert len(held) == 50
    assert sorted(held, key=float, reverse=True) == [
        row[0] for row in desk.get("market/orderbook", category="linear", symbol=BTC, limit=50)["b"]]  # fmt: skip


def test_tickers_and_bars_by_their_topics(desk):
    streams, ear = BybitStreams(desk.gateway), Ear()
    book(desk)
    whole = json.loads(streams.add("linear", "tickers.BTCUSDT", ear))
    assert (whole["type"], whole["data"]["bid1Price"]) == ("snapshot", "59990.00")
    streams.add("linear", "kline.1.BTCUSDT", ear)
    streams.add("linear", "publicTrade.BTCUSDT", ear)
    desk.create(0, "Buy", "1")
    (trades,) = ear.messages
    assert [(row["S"], row["v"], row["p"]) for row in trades["data"]] == [("Buy", "1.000", "60010.00")]
    streams.tick(50)
    delta, bar = ear.messages[1:]
    assert delta["data"].items() >= {"symbol": BTC, "lastPrice": "60010.00", "ask1Size": "4.000"}.items()
    assert "bid1Price" not in delta["data"]
    assert (bar["data"][0]["close"], bar["data"][0]["volume"], bar["data"][0]["confirm"]) == ("60010.00", "1", False)
    desk.tick(60)
    streams.tick(100)
    assert [row["confirm"] for row in ear.messages[-1]["data"]] == [True, False]
    spot = json.loads(streams.add("spot", "tickers.BTCUSDT", ear))
    assert "bid1Price" not in spot["data"]


def traded(folder):
    """Two traders on a generated market: the desk, and every answer."""
    folder.mkdir()
    wide = "seed = 5\n[limits]\norders_10s = 1_000_000\nraw_requests_5m = 100_000_000\n"
    desk = BybitDesk(folder, market_seed=3, scenario=wide)
    answers = []
    for number in range(60):
        desk.tick(0.25)
        category = ("linear", "linear", "spot")[number % 3]
        side = "Buy" if number % 5 < 3 else "Sell"
        more = {"takeProfit": "70000"} if category == "linear" and side == "Buy" and number % 7 == 0 else {}
        if category == "spot":
            more["marketUnit"] = "baseCoin"
        answers.append(desk.ask(number % 2, "POST", "order/create", **order(side, "0.05", category=category, **more)))
        desk.conserved()
    answers += [event for heard in desk.events for event in heard]
    desk.venue.ledger.close()
    return desk, answers


def test_a_market_and_traders_conserve_money_the_same_way_each_time(tmp_path):
    desk, answers = traded(tmp_path / "one")
    assert any(desk.position(account)["side"] for account in (0, 1))
    assert recompute(desk.ledger).kinds["fill"] > 100
    again, repeated = traded(tmp_path / "two")
    assert again.ledger.read_bytes() == desk.ledger.read_bytes()
    assert repeated == answers


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40), st.lists(st.integers(), max_size=3),
    st.sampled_from([BTC, "linear", "spot", "Buy", "Sell", "Limit", "Market", "1", "0.1", "60000", "USDT", "UNIFIED"]),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
)  # fmt: skip
NAMES = (
    "category", "symbol", "side", "orderType", "qty", "price", "triggerPrice", "triggerDirection", "timeInForce",
    "orderId", "orderLinkId", "reduceOnly", "takeProfit", "stopLoss", "settleCoin", "baseCoin", "limit", "cursor",
    "interval", "start", "end", "startTime", "endTime", "request", "buyLeverage", "sellLeverage", "timeWindow",
    "product", "accountType", "coin", "orderFilter", "marketUnit", "smpType", "openOnly", "positionIdx", "execType",
)  # fmt: skip
REQUESTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=12)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), fields=REQUESTS)
def test_whatever_is_asked_is_answered(shared, data, fields):
    desk = shared
    desk.tick(1)
    ways = [*desk.gateway._signed, *(("GET", path) for path in desk.gateway._public)]
    method, path = data.draw(st.sampled_from(ways))
    if method == "POST":
        query, body = "", json.dumps(fields).encode() if data.draw(st.booleans()) else data.draw(st.binary(max_size=60))
    else:
        texts = {name: value for name, value in fields.items() if isinstance(value, str | int)}
        query, body = urlencode(texts, errors="replace"), b""
    key, stamp = desk.keys[0], str(desk.now_ms)
    payload = f"{stamp}{key.api_key}5000".encode() + query.encode() + body
    who = Who(key.api_key, stamp, "5000", hmac.new(key.secret, payload, "sha256").hexdigest())
    status, answer = desk.raw(method, path, query, body, who)
    assert status == 200
    assert set(answer) == {"retCode", "retMsg", "result", "retExtInfo", "time"}
    assert answer["retCode"] not in (10003, 10004, 10016)
    operation = data.draw(st.sampled_from([*desk.gateway._operations, "order.none"]))
    made = desk.gateway.operate(desk.venue.accounts[0], operation, {"X-BAPI-TIMESTAMP": stamp}, [fields])
    assert isinstance(json.loads(json.dumps(made))["retCode"], int)
    desk.conserved()
