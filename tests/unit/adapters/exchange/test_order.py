"""Orders from the request to the book, the answers, the events and the money; each refusal by its code."""

import pytest
from oracle.exchange_ledger import recompute
from rig.exchange_desk import BTC, Desk

LIMIT = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "59000", "quantity": "0.01"}


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path)
    yield made
    made.conserved()
    made.venue.ledger.close()
    recompute(made.ledger)


def without(names, **more):
    return {name: value for name, value in LIMIT.items() if name not in names} | more


@pytest.mark.parametrize(
    ("order", "code", "says"),
    [
        (without(["price"]), -1102, "'price'"),
        (without(["timeInForce"]), -1102, "'timeInForce'"),
        (without(["quantity"]), -1102, "'quantity'"),
        (without(["side"]), -1102, "'side'"),
        (LIMIT | {"side": "LONG"}, -1117, "Invalid side."),
        (LIMIT | {"type": "LIMITED"}, -1116, "Invalid orderType."),
        (LIMIT | {"timeInForce": "GTD"}, -1115, "Invalid timeInForce."),
        (LIMIT | {"stopPrice": "1"}, -1106, "'stopPrice'"),
        (LIMIT | {"trailingDelta": "100"}, -1106, "'trailingDelta'"),
        (LIMIT | {"quoteOrderQty": "100"}, -1106, "'quoteOrderQty'"),
        (LIMIT | {"newOrderRespType": "ALL"}, -1130, "'newOrderRespType'"),
        (LIMIT | {"newClientOrderId": "a b"}, -1100, "'newClientOrderId'"),
        (LIMIT | {"strategyType": "999"}, -1134, "strategyType"),
        (LIMIT | {"type": "LIMIT_MAKER"}, -1106, "'timeInForce'"),
        (LIMIT | {"type": "MARKET"}, -1106, "'timeInForce'"),
        (without(["timeInForce"], type="MARKET"), -1106, "'price'"),
        (without(["timeInForce", "price", "quantity"], type="MARKET"), -1102, "'quoteOrderQty'"),
        (without(["timeInForce", "price"], type="MARKET", quoteOrderQty="9"), -1128, "Combination"),
        (LIMIT | {"type": "STOP_LOSS_LIMIT"}, -1102, "'stopPrice'"),
        (without(["timeInForce", "price"], type="TAKE_PROFIT"), -1102, "'trailingDelta'"),
        (LIMIT | {"price": "59000.001"}, -1013, "PRICE_FILTER"),
        (LIMIT | {"price": "0"}, -1013, "PRICE_FILTER"),
        (LIMIT | {"price": "1000001"}, -1013, "PRICE_FILTER"),
        (LIMIT | {"price": "300000.01"}, -1013, "PERCENT_PRICE_BY_SIDE"),
        (LIMIT | {"price": "11999.99"}, -1013, "PERCENT_PRICE_BY_SIDE"),
        (LIMIT | {"quantity": "0.000015"}, -1013, "LOT_SIZE"),
        (LIMIT | {"quantity": "0"}, -1013, "LOT_SIZE"),
        (LIMIT | {"quantity": "2000.00001"}, -1013, "LOT_SIZE"),
        (without(["timeInForce", "price"], type="MARKET", quantity="100.00001"), -1013, "MARKET_LOT_SIZE"),
        (LIMIT | {"quantity": "0.00008"}, -1013, "NOTIONAL"),
        (LIMIT | {"quantity": "160"}, -1013, "NOTIONAL"),
        (without(["timeInForce", "price"], type="MARKET", quantity="0.00008"), -1013, "NOTIONAL"),
        (without(["timeInForce", "price", "quantity"], type="MARKET", quoteOrderQty="4.99"), -1013, "NOTIONAL"),
        (LIMIT | {"icebergQty": "0.0009"}, -1013, "ICEBERG_PARTS"),
        (LIMIT | {"icebergQty": "0.011"}, -2010, "IcebergQty exceeds QTY."),
        (LIMIT | {"icebergQty": "0.005", "timeInForce": "IOC"}, -2010, "Unsupported order combination"),
        (LIMIT | {"type": "STOP_LOSS_LIMIT", "stopPrice": "60000.005"}, -1013, "PRICE_FILTER"),
        (LIMIT | {"type": "STOP_LOSS_LIMIT", "trailingDelta": "9"}, -1013, "TRAILING_DELTA"),
        (LIMIT | {"type": "STOP_LOSS_LIMIT", "trailingDelta": "2001"}, -1013, "TRAILING_DELTA"),
        (LIMIT | {"quantity": "20", "price": "59000"}, -2010, "insufficient balance"),
    ],
)  # fmt: skip
def test_orders_that_are_refused(desk, order, code, says):
    got, text = desk.refused(0, "POST", "order", **order)
    assert got == code
    assert says in text
    assert desk.done(0, "GET", "openOrders") == []
    assert desk.balances(0)["USDT"] == ("1000000.00000000", "0.00000000")
    if code != -2010 or "balance" not in says:
        assert desk.refused(0, "POST", "order/test", **order)[0] == code, "and so says the test endpoint"


def test_a_test_order_is_no_order(desk):
    assert desk.done(0, "POST", "order/test", **LIMIT) == {}
    rates = desk.done(0, "POST", "order/test", computeCommissionRates="true", **LIMIT)
    assert rates["standardCommissionForOrder"] == {"maker": "0.00100000", "taker": "0.00100000"}
    assert desk.done(0, "GET", "allOrders", symbol=BTC) == []


def test_a_limit_order_lives_and_dies(desk):
    placed = desk.limit(0, "BUY", "59000", "0.01", newClientOrderId="mine")
    assert (placed["status"], placed["clientOrderId"], placed["fills"]) == ("NEW", "mine", [])
    assert desk.balances(0)["USDT"] == ("999410.00000000", "590.00000000")
    assert desk.get("depth", symbol=BTC)["bids"] == [["59000.00000000", "0.01000000"]]
    by_id = desk.done(0, "GET", "order", symbol=BTC, orderId=placed["orderId"])
    assert by_id == desk.done(0, "GET", "order", symbol=BTC, origClientOrderId="mine")
    assert by_id == desk.done(0, "GET", "openOrders")[0]
    assert (by_id["isWorking"], by_id["origQty"], by_id["timeInForce"]) == (True, "0.01000000", "GTC")
    assert desk.refused(1, "GET", "order", symbol=BTC, orderId=placed["orderId"])[0] == -2013, "another's order"
    assert desk.refused(0, "GET", "order", symbol="ETHUSDT", orderId=placed["orderId"])[0] == -2013
    canceled = desk.done(0, "DELETE", "order", symbol=BTC, orderId=placed["orderId"], newClientOrderId="bye")
    assert (canceled["status"], canceled["origClientOrderId"], canceled["clientOrderId"]) == ("CANCELED", "mine", "bye")
    assert desk.refused(0, "DELETE", "order", symbol=BTC, orderId=placed["orderId"]) == (-2011, "Unknown order sent.")
    assert desk.balances(0)["USDT"] == ("1000000.00000000", "0.00000000")
    kinds = [(event["e"], event.get("x"), event.get("X")) for event in desk.events[0]]
    position = ("outboundAccountPosition", None, None)
    assert kinds == [("executionReport", "NEW", "NEW"), position, ("executionReport", "CANCELED", "CANCELED"), position]
    assert (desk.events[0][2]["c"], desk.events[0][2]["C"]) == ("bye", "mine")


def test_a_trade_is_told_to_everybody(desk):
    maker = desk.limit(0, "SELL", "60000", "0.01")
    taken = desk.market(1, "BUY", quantity="0.004")
    assert (taken["status"], taken["executedQty"], taken["cummulativeQuoteQty"]) == (
        "FILLED",
        "0.00400000",
        "240.00000000",
    )
    assert taken["fills"] == [
        {
            "price": "60000.00000000",
            "qty": "0.00400000",
            "commission": "0.00000400",
            "commissionAsset": "BTC",
            "tradeId": 1,
        }
    ]
    assert desk.balances(1)["BTC"][0] == "100.00399600"
    assert desk.balances(0) == {"BTC": ("99.99000000", "0.00600000"), "ETH": ("1000.00000000", "0.00000000"),
                                "USDT": ("1000239.76000000", "0.00000000")}  # fmt: skip
    report = next(event for event in desk.events[0] if event.get("x") == "TRADE")
    told = {name: report[name] for name in "ilLnNtmzZYX"}
    assert told == {"i": maker["orderId"], "l": "0.00400000", "L": "60000.00000000", "n": "0.24000000", "N": "USDT",
                    "t": 1, "m": True, "z": "0.00400000", "Z": "240.00000000", "Y": "240.00000000",
                    "X": "PARTIALLY_FILLED"}  # fmt: skip
    trade = desk.done(1, "GET", "myTrades", symbol=BTC)[0]
    assert (trade["id"], trade["isMaker"], trade["isBuyer"], trade["quoteQty"]) == (1, False, True, "240.00000000")
    public = desk.get("trades", symbol=BTC)
    assert [(row["id"], row["price"], row["qty"], row["isBuyerMaker"]) for row in public] == [
        (1, "60000.00000000", "0.00400000", False)
    ]


def test_market_orders_by_amount(desk):
    desk.limit(0, "SELL", "60000", "0.001")
    desk.limit(0, "SELL", "61000", "0.01")
    bought = desk.market(1, "BUY", quoteOrderQty="100")
    # 60 buy 0.001, and of 40 are left 0.00065 at 61,000
    assert (bought["status"], bought["executedQty"], bought["cummulativeQuoteQty"]) == (
        "FILLED",
        "0.00165000",
        "99.65000000",
    )
    assert (bought["origQty"], bought["origQuoteOrderQty"]) == ("0.00165000", "100.00000000")
    reports = [event for event in desk.events[1] if event["e"] == "executionReport"]
    assert [(one["x"], one["X"]) for one in reports] == [
        ("NEW", "NEW"),
        ("TRADE", "PARTIALLY_FILLED"),
        ("TRADE", "FILLED"),
    ]
    assert desk.market(1, "SELL", quantity="0.5")["status"] == "EXPIRED", "nobody buys"


@pytest.mark.parametrize(
    ("tif", "status", "executed"),
    [("GTC", "PARTIALLY_FILLED", "0.01"), ("IOC", "EXPIRED", "0.01"), ("FOK", "EXPIRED", "0")],
)
def test_time_in_force(desk, tif, status, executed):
    desk.limit(0, "SELL", "60000", "0.01")
    answer = desk.limit(1, "BUY", "60000", "0.03", timeInForce=tif)
    assert answer["status"] == status
    assert float(answer["executedQty"]) == float(executed)
    assert len(desk.done(1, "GET", "openOrders")) == (tif == "GTC")


def test_a_maker_only_order_never_takes(desk):
    desk.limit(0, "SELL", "60000", "0.01")
    order = without(["timeInForce"], type="LIMIT_MAKER", price="60000")
    assert desk.refused(1, "POST", "order", **order) == (-2010, "Order would immediately match and take.")
    assert desk.done(1, "POST", "order", **(order | {"price": "59999.99"}))["orderId"]


def test_icebergs_show_a_part(desk):
    desk.limit(0, "SELL", "60000", "0.01", icebergQty="0.002")
    assert desk.get("depth", symbol=BTC)["asks"] == [["60000.00000000", "0.00200000"]]
    assert desk.market(1, "BUY", quantity="0.005")["executedQty"] == "0.00500000"
    assert desk.get("depth", symbol=BTC)["asks"] == [["60000.00000000", "0.00100000"]]


def test_stops_go_off(desk):
    desk.limit(0, "SELL", "60000", "1")
    desk.market(1, "BUY", quantity="0.001")
    assert desk.refused(1, "POST", "order", **(LIMIT | {"type": "STOP_LOSS_LIMIT", "stopPrice": "59000"})) == (
        -2010, "Order would trigger immediately."
    )  # fmt: skip
    stop = desk.limit(1, "BUY", "60500", "0.01", type="STOP_LOSS_LIMIT", stopPrice="60100", newOrderRespType="RESULT")
    assert (stop["status"], stop["workingTime"], stop["stopPrice"]) == ("NEW", -1, "60100.00000000")
    assert desk.done(1, "GET", "openOrders")[0]["isWorking"] is False
    assert desk.balances(1)["USDT"][1] == "605.00000000", "a resting stop locks"
    desk.done(0, "DELETE", "openOrders", symbol=BTC)
    desk.limit(0, "SELL", "60100", "0.002")
    desk.limit(0, "SELL", "60200", "0.004")
    desk.market(1, "BUY", quantity="0.001")
    after = desk.done(1, "GET", "order", symbol=BTC, orderId=stop["orderId"])
    assert (after["status"], after["executedQty"], after["isWorking"]) == ("PARTIALLY_FILLED", "0.00500000", True)
    assert desk.get("depth", symbol=BTC) == {
        "lastUpdateId": desk.venue.update_ids[0], "bids": [["60500.00000000", "0.00500000"]], "asks": []
    }  # fmt: skip


def test_the_same_client_id_only_after_the_first_has_ended(desk):
    first = desk.limit(0, "BUY", "59000", "0.01", newClientOrderId="same")
    again = LIMIT | {"newClientOrderId": "same"}
    assert desk.refused(0, "POST", "order", **again) == (-2010, "Duplicate order sent.")
    desk.limit(1, "BUY", "59000", "0.01", newClientOrderId="same")  # another account's
    desk.done(0, "DELETE", "order", symbol=BTC, origClientOrderId="same")
    second = desk.limit(0, "BUY", "59000", "0.01", newClientOrderId="same")
    found = desk.done(0, "GET", "order", symbol=BTC, origClientOrderId="same")
    assert found["orderId"] == second["orderId"] != first["orderId"]


def test_nobody_trades_with_himself(desk):
    desk.limit(0, "SELL", "60000", "0.01")
    taken = desk.limit(0, "BUY", "60000", "0.01", selfTradePreventionMode="EXPIRE_TAKER")
    assert (taken["status"], taken["executedQty"]) == ("EXPIRED_IN_MATCH", "0.00000000")
    rows = desk.done(0, "GET", "myPreventedMatches", symbol=BTC, orderId=taken["orderId"])
    assert [row["takerPreventedQuantity"] for row in rows] == ["0.01000000"]
    assert [event["x"] for event in desk.events[0] if event.get("i") == taken["orderId"]] == [
        "NEW", "TRADE_PREVENTION", "EXPIRED"
    ]  # fmt: skip
    decremented = desk.limit(0, "BUY", "60000", "0.004", selfTradePreventionMode="DECREMENT")
    assert decremented["preventedQuantity"] == "0.00400000"
    both = desk.limit(0, "BUY", "60000", "0.004", selfTradePreventionMode="NONE")
    assert both["status"] == "FILLED"


def test_how_many_orders_may_be_open(desk):
    desk.filters(max_orders=6, max_algo_orders=2)
    stop = LIMIT | {"type": "STOP_LOSS_LIMIT", "stopPrice": "61000", "price": "61000"}
    desk.done(0, "POST", "order", **stop)
    desk.done(0, "POST", "order", **stop)
    assert desk.refused(0, "POST", "order", **stop) == (-1013, "Filter failure: MAX_NUM_ALGO_ORDERS")
    for _ in range(4):
        desk.done(0, "POST", "order", **LIMIT)
    assert desk.refused(0, "POST", "order", **LIMIT) == (-1013, "Filter failure: MAX_NUM_ORDERS")
    desk.done(0, "POST", "order", **(LIMIT | {"symbol": "ETHUSDT", "price": "2900"}))
    assert len(desk.done(0, "DELETE", "openOrders", symbol=BTC)) == 6
    assert desk.refused(0, "DELETE", "openOrders", symbol=BTC) == (-2011, "Unknown order sent.")


def test_cancel_restrictions(desk):
    order = desk.limit(0, "SELL", "60000", "0.01")["orderId"]
    says = (-2011, "Order was not canceled due to cancel restrictions.")
    assert (
        desk.refused(0, "DELETE", "order", symbol=BTC, orderId=order, cancelRestrictions="ONLY_PARTIALLY_FILLED")
        == says
    )
    desk.market(1, "BUY", quantity="0.001")
    assert desk.refused(0, "DELETE", "order", symbol=BTC, orderId=order, cancelRestrictions="ONLY_NEW") == says
    assert desk.refused(0, "DELETE", "order", symbol=BTC, orderId=order, cancelRestrictions="ANY")[0] == -1145
    desk.done(0, "DELETE", "order", symbol=BTC, orderId=order, cancelRestrictions="ONLY_PARTIALLY_FILLED")


def test_cancel_and_replace(desk):
    old = desk.limit(0, "BUY", "59000", "0.01")["orderId"]
    replace = LIMIT | {"cancelReplaceMode": "STOP_ON_FAILURE", "price": "58000"}
    done = desk.done(0, "POST", "order/cancelReplace", cancelOrderId=old, **replace)
    assert (done["cancelResult"], done["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    status, both = desk.signed(0, "POST", "order/cancelReplace", cancelOrderId=old, **replace)
    assert (status, both["code"], both["data"]["newOrderResult"]) == (400, -2022, "NOT_ATTEMPTED")
    assert both["data"]["cancelResponse"]["code"] == -2011
    go_on = replace | {"cancelReplaceMode": "ALLOW_FAILURE"}
    status, part = desk.signed(0, "POST", "order/cancelReplace", cancelOrderId=old, **go_on)
    assert (status, part["code"], part["data"]["newOrderResult"]) == (409, -2021, "SUCCESS")
    current = part["data"]["newOrderResponse"]["orderId"]
    too_much = go_on | {"quantity": "100", "price": "59000"}
    status, part = desk.signed(0, "POST", "order/cancelReplace", cancelOrderId=current, **too_much)
    assert (status, part["code"], part["data"]["newOrderResponse"]["code"]) == (409, -2021, -2010)
    assert desk.refused(0, "POST", "order/cancelReplace", **replace)[0] == -1102
    open_before = desk.done(0, "GET", "openOrders")
    bad = replace | {"price": "0.001"}
    assert desk.refused(0, "POST", "order/cancelReplace", cancelOrderId=open_before[0]["orderId"], **bad)[0] == -1013
    assert desk.done(0, "GET", "openOrders") == open_before, "what is wrong by itself cancels nothing"


def test_less_of_an_order_keeps_its_place(desk):
    first = desk.limit(0, "SELL", "60000", "0.01")["orderId"]
    desk.limit(1, "SELL", "60000", "0.01")
    amended = desk.done(0, "PUT", "order/amend/keepPriority", symbol=BTC, orderId=first, newQty="0.004")
    assert (amended["amendedOrder"]["qty"], amended["amendedOrder"]["status"]) == ("0.00400000", "NEW")
    assert desk.refused(0, "PUT", "order/amend/keepPriority", symbol=BTC, orderId=first, newQty="0.004")[0] == -2038
    assert desk.refused(0, "PUT", "order/amend/keepPriority", symbol=BTC, orderId=first, newQty="0.00001")[0] == -1013
    desk.market(1, "BUY", quantity="0.004", selfTradePreventionMode="NONE")
    assert desk.done(0, "GET", "order", symbol=BTC, orderId=first)["status"] == "FILLED"


def test_history_by_id_time_and_number(desk):
    ids = []
    for _ in range(4):
        ids.append(desk.limit(0, "SELL", "60000", "0.001")["orderId"])
        desk.market(1, "BUY", quantity="0.001")
        desk.tick(1)
    start = desk.now_ms - 2_000
    for path, field in (("allOrders", "orderId"), ("myTrades", "orderId")):

        def found(path=path, field=field, **more):
            return [row[field] for row in desk.done(0, "GET", path, symbol=BTC, **more)]

        assert found() == ids
        assert found(limit=2) == ids[2:]
        assert found(startTime=start) == ids[2:]
        assert found(startTime=start, endTime=start) == [ids[2]]
        assert desk.refused(0, "GET", path, symbol=BTC, startTime=0, endTime=10**9)[0] == -1127
    assert [row["orderId"] for row in desk.done(0, "GET", "allOrders", symbol=BTC, orderId=ids[1], limit=2)] == ids[1:3]
    assert [row["id"] for row in desk.done(0, "GET", "myTrades", symbol=BTC, fromId=3)] == [3, 4]
    assert [row["id"] for row in desk.done(0, "GET", "myTrades", symbol=BTC, orderId=ids[1])] == [2]


def test_listen_keys(desk):
    key = desk.keys[0].api_key
    status, made = desk.raw("POST", "/api/v3/userDataStream", "", b"", key)
    assert status == 200
    name = made["listenKey"]
    assert desk.raw("POST", "/api/v3/userDataStream", "", b"", key)[1]["listenKey"] == name
    assert desk.gateway.listener(name) is desk.venue.accounts[0]
    assert desk.raw("PUT", "/api/v3/userDataStream", f"listenKey={name}", b"", key) == (200, {})
    other = desk.keys[1].api_key
    assert desk.raw("PUT", "/api/v3/userDataStream", f"listenKey={name}", b"", other)[1]["code"] == -1125
    assert desk.raw("PUT", "/api/v3/userDataStream", "", b"", key)[1]["code"] == -1102
    desk.tick(3_601)
    assert desk.gateway.listener(name) is None
    fresh = desk.raw("POST", "/api/v3/userDataStream", "", b"", key)[1]["listenKey"]
    assert fresh != name
    assert desk.raw("DELETE", "/api/v3/userDataStream", f"listenKey={fresh}", b"", key) == (200, {})
    assert desk.gateway.listener(fresh) is None
