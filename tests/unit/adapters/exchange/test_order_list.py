"""Order lists: one cancels the other, one triggers the other, and both; what a venue refuses of them."""

import pytest
from oracle.exchange_ledger import recompute
from rig.exchange_desk import BTC, Desk

OCO = {"symbol": BTC, "side": "SELL", "quantity": "0.01", "aboveType": "LIMIT_MAKER", "abovePrice": "61000",
       "belowType": "STOP_LOSS_LIMIT", "belowStopPrice": "59000", "belowPrice": "58000",
       "belowTimeInForce": "GTC"}  # fmt: skip
OTO = {"symbol": BTC, "workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "59500", "workingQuantity": "0.01",
       "workingTimeInForce": "GTC", "pendingType": "LIMIT", "pendingSide": "SELL", "pendingPrice": "61000",
       "pendingQuantity": "0.009", "pendingTimeInForce": "GTC"}  # fmt: skip
OTOCO = {name: value for name, value in OTO.items() if not name.startswith("pending")} | {
    "pendingSide": "SELL", "pendingQuantity": "0.009", "pendingAboveType": "LIMIT_MAKER", "pendingAbovePrice": "61000",
    "pendingBelowType": "STOP_LOSS", "pendingBelowStopPrice": "58000",
}  # fmt: skip


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path)
    made.limit(1, "BUY", "59900", "5")
    made.limit(1, "SELL", "60000", "5")
    made.market(0, "BUY", quantity="0.01")
    yield made
    made.conserved()
    made.venue.ledger.close()
    recompute(made.ledger)


def statuses(desk, placed):
    return [desk.done(0, "GET", "order", symbol=BTC, orderId=leg["orderId"])["status"] for leg in placed["orders"]]


def test_an_oco_is_placed_found_and_cancelled(desk):
    placed = desk.done(0, "POST", "orderList/oco", listClientOrderId="pair", **OCO)
    assert (placed["contingencyType"], placed["listOrderStatus"]) == ("OCO", "EXECUTING")
    assert [leg["type"] for leg in placed["orderReports"]] == ["LIMIT_MAKER", "STOP_LOSS_LIMIT"]
    assert desk.balances(0)["BTC"][1] == "0.01000000", "one of the two at most trades"
    found = desk.done(0, "GET", "orderList", orderListId=placed["orderListId"])
    assert found == desk.done(0, "GET", "orderList", origClientOrderId="pair")
    assert desk.done(0, "GET", "openOrderList") == [found]
    assert desk.refused(0, "GET", "orderList", orderListId=77) == (-2018, "Order list does not exist.")
    assert desk.refused(0, "POST", "orderList/oco", listClientOrderId="pair", **OCO)[0] == -2010
    cancelled = desk.done(0, "DELETE", "orderList", symbol=BTC, orderListId=placed["orderListId"])
    assert cancelled["listOrderStatus"] == "ALL_DONE"
    assert statuses(desk, placed) == ["CANCELED", "CANCELED"]
    assert desk.done(0, "GET", "openOrderList") == []
    assert [row["listClientOrderId"] for row in desk.done(0, "GET", "allOrderList")] == ["pair"]
    lists = [event for event in desk.events[0] if event["e"] == "listStatus"]
    assert [(one["l"], one["L"]) for one in lists] == [("EXEC_STARTED", "EXECUTING"), ("ALL_DONE", "ALL_DONE")]
    assert desk.refused(0, "DELETE", "orderList", symbol=BTC, orderListId=placed["orderListId"])[0] == -2011


def test_cancelling_a_leg_cancels_the_list(desk):
    placed = desk.done(0, "POST", "orderList/oco", **OCO)
    answer = desk.done(0, "DELETE", "order", symbol=BTC, orderId=placed["orders"][0]["orderId"])
    assert answer["listOrderStatus"] == "ALL_DONE"
    assert statuses(desk, placed) == ["CANCELED", "CANCELED"]


def test_a_leg_that_trades_ends_the_other(desk):
    placed = desk.done(0, "POST", "orderList/oco", **OCO)
    desk.done(1, "DELETE", "openOrders", symbol=BTC)
    desk.limit(1, "BUY", "61000", "0.004")
    assert statuses(desk, placed) == ["PARTIALLY_FILLED", "EXPIRED"]
    desk.limit(1, "BUY", "61000", "0.006")
    assert statuses(desk, placed) == ["FILLED", "EXPIRED"]
    assert desk.done(0, "GET", "orderList", orderListId=placed["orderListId"])["listOrderStatus"] == "ALL_DONE"


def test_a_stop_that_goes_off_ends_the_other(desk):
    placed = desk.done(0, "POST", "orderList/oco", **OCO)
    desk.done(1, "DELETE", "openOrders", symbol=BTC)
    desk.limit(1, "BUY", "58900", "0.02")
    desk.market(0, "SELL", quantity="0.001")
    assert statuses(desk, placed) == ["EXPIRED", "FILLED"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"belowType": "LIMIT_MAKER", "belowPrice": "59000", "belowStopPrice": None, "belowTimeInForce": None}, -1168),
        ({"belowType": "LIMIT"}, -1158),
        ({"side": "BUY"}, -1165),
        ({"aboveType": "STOP_LOSS", "aboveStopPrice": "61000", "abovePrice": None}, -1197),
        ({"belowType": "TAKE_PROFIT_LIMIT"}, -1199),
        ({"abovePrice": "59000"}, -2010),
        ({"belowStopPrice": "60500"}, -2010),
        ({"belowStopPrice": None}, -1102),
        ({"abovePrice": None}, -1102),
        ({"quantity": "0.000001"}, -1013),
        ({"quantity": "120"}, -2010),
    ],
)
def test_pairs_that_are_refused(desk, change, code):
    order = {name: value for name, value in (OCO | change).items() if value is not None}
    before = desk.balances(0)
    assert desk.refused(0, "POST", "orderList/oco", **order)[0] == code
    assert desk.balances(0) == before
    assert desk.done(0, "GET", "openOrders") == []


def test_missing_fields_of_a_leg_have_the_name_that_was_sent(desk):
    order = {name: value for name, value in OCO.items() if name != "belowTimeInForce"}
    assert "'belowTimeInForce'" in desk.refused(0, "POST", "orderList/oco", **order)[1]


def test_the_old_form_of_an_oco(desk):
    placed = desk.done(0, "POST", "order/oco", symbol=BTC, side="SELL", quantity="0.01", price="61000",
                       stopPrice="59000", stopLimitPrice="58000", stopLimitTimeInForce="GTC")  # fmt: skip
    assert [leg["type"] for leg in placed["orderReports"]] == ["STOP_LOSS_LIMIT", "LIMIT_MAKER"]
    bad = desk.refused(
        0, "POST", "order/oco", symbol=BTC, side="SELL", quantity="0.01", price="59000", stopPrice="61000"
    )
    assert bad == (-2010, "The relationship of the prices for the orders is not correct.")


def test_one_triggers_the_other(desk):
    placed = desk.done(0, "POST", "orderList/oto", **OTO)
    assert placed["contingencyType"] == "OTO"
    assert statuses(desk, placed) == ["NEW", "PENDING_NEW"]
    desk.done(1, "DELETE", "openOrders", symbol=BTC)
    desk.limit(1, "SELL", "59500", "0.004")
    assert statuses(desk, placed) == ["PARTIALLY_FILLED", "PENDING_NEW"]
    desk.limit(1, "SELL", "59500", "0.006")
    assert statuses(desk, placed) == ["FILLED", "NEW"]
    desk.limit(1, "BUY", "61000", "0.009")
    assert statuses(desk, placed) == ["FILLED", "FILLED"]


def test_one_triggers_a_pair(desk):
    placed = desk.done(0, "POST", "orderList/otoco", **OTOCO)
    assert statuses(desk, placed) == ["NEW", "PENDING_NEW", "PENDING_NEW"]
    desk.done(1, "DELETE", "openOrders", symbol=BTC)
    desk.limit(1, "SELL", "59500", "0.01")
    assert statuses(desk, placed) == ["FILLED", "NEW", "NEW"]
    desk.limit(1, "BUY", "61000", "0.009")
    assert statuses(desk, placed) == ["FILLED", "FILLED", "EXPIRED"]
    assert desk.done(0, "GET", "orderList", orderListId=placed["orderListId"])["listOrderStatus"] == "ALL_DONE"


def test_how_many_lists_may_be_open(desk):
    desk.filters(max_order_lists=1)
    desk.done(0, "POST", "orderList/oco", **OCO)
    assert desk.refused(0, "POST", "orderList/oco", **OCO) == (-1013, "Filter failure: MAX_NUM_ORDER_LISTS")
