"""Rules around the book: what refusals weigh, ids used once, dead-man's switches, maintenance, what is kept."""

import asyncio
import json

import pytest
from oracle.exchange_ledger import recompute
from rig.exchange_desk import BTC, Desk
from websockets.server import ServerProtocol

from bot4.adapters.exchange import connection
from bot4.adapters.exchange import venue as venue_module
from bot4.adapters.exchange.limit import BAN_AFTER
from bot4.adapters.exchange.protocol import BINANCE
from bot4.adapters.exchange.server import Server

DUPLICATE = (-2010, "Duplicate order sent.")
DAY_S = 86_400
NARROW = "[limits]\nrequest_weight_1m = 5\n"


def bad_signature(desk):
    query = f"timestamp={desk.now_ms}&signature={'0' * 64}"
    return desk.raw("GET", "/api/v3/account", query, b"", desk.keys[0].api_key)


def unknown_key(desk):
    return desk.raw("GET", "/api/v3/account", f"timestamp={desk.now_ms}&signature=1", b"", "nobody")


def no_such_path(desk):
    answer = desk.gateway.rest("POST", "/fapi/v1/countdownCancelAll", "", b"", None)
    return answer.status, answer.body


def wrong_method(desk):
    answer = desk.gateway.rest("PUT", "/api/v3/account", "", b"", None)
    return answer.status, answer.body


def no_listen_key(desk):
    return desk.raw("POST", "/api/v3/userDataStream", "", b"", "nobody")


def no_listen_path(desk):
    answer = desk.gateway.rest("GET", "/api/v3/userDataStream/more", "", b"", None)
    return answer.status, answer.body


def bad_socket_signature(desk):
    answer = desk.socket(None, "account.status", apiKey=desk.keys[0].api_key, timestamp=desk.now_ms, signature="1")
    return answer["status"], answer


def no_socket_method(desk):
    answer = desk.socket(None, "account.more")
    return answer["status"], answer


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (bad_signature, 400), (unknown_key, 401), (no_such_path, 404), (wrong_method, 405), (no_listen_key, 401),
        (no_listen_path, 404), (bad_socket_signature, 400), (no_socket_method, 400),
    ],
)  # fmt: skip
def test_whoever_guesses_is_counted_and_banned(tmp_path, ask, status):
    desk = Desk(tmp_path, scenario=NARROW)
    answers = [ask(desk)[0] for _ in range(5 + BAN_AFTER + 2)]
    assert answers[0] == status
    assert 429 in answers
    assert answers[-1] == 418
    assert desk.raw("GET", "/api/v3/ping")[0] == 418
    assert ask(desk)[0] == 418


def order(client_id, **more):
    return {"symbol": BTC, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "50000",
            "quantity": "0.01", "newClientOrderId": client_id} | more  # fmt: skip


def test_a_client_id_may_come_again_when_its_order_has_ended(tmp_path):
    desk = Desk(tmp_path)
    desk.done(0, "POST", "order", **order("mine"))
    assert desk.refused(0, "POST", "order", **order("mine")) == DUPLICATE
    desk.done(0, "DELETE", "order", symbol=BTC, origClientOrderId="mine")
    desk.done(0, "POST", "order", **order("mine"))


def test_by_the_strict_rule_a_client_id_is_used_for_a_day(tmp_path):
    desk = Desk(tmp_path, scenario="[rules]\nclient_ids_once = true\n")
    desk.done(0, "POST", "order", **order("mine"))
    desk.tick(1.0)
    desk.done(0, "DELETE", "order", symbol=BTC, origClientOrderId="mine")
    assert desk.refused(0, "POST", "order", **order("mine")) == DUPLICATE
    desk.done(1, "POST", "order", **order("mine"))  # another account's
    assert desk.refused(0, "POST", "order", **order("poor", quantity="100"))[0] == -2010
    desk.done(0, "POST", "order", **order("poor"))  # what was refused has used nothing
    replace = {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrigClientOrderId": "poor"}
    assert desk.refused(0, "POST", "order/cancelReplace", **order("poor"), **replace) == DUPLICATE
    assert len(desk.done(0, "GET", "openOrders")) == 1, "nothing was canceled"
    pair = {"symbol": BTC, "side": "SELL", "quantity": "0.01", "aboveType": "LIMIT_MAKER", "abovePrice": "70000",
            "belowType": "STOP_LOSS", "belowStopPrice": "40000"}  # fmt: skip
    assert desk.refused(0, "POST", "orderList/oco", **pair, aboveClientOrderId="mine") == DUPLICATE
    desk.tick(DAY_S - 1.001)
    assert desk.refused(0, "POST", "order", **order("mine")) == DUPLICATE
    desk.tick(0.001)
    desk.done(0, "POST", "order", **order("mine"))
    assert desk.refused(0, "POST", "order", **order("poor")) == DUPLICATE
    assert list(desk.venue.accounts[0].used_ids) == ["poor", "mine"], "older ones are forgotten"


def crowd(desk):
    """A limit order, a stop and a pair of account 0, one order of account 1."""
    desk.limit(0, "BUY", "50000", "0.01")
    stop = {"symbol": BTC, "side": "SELL", "type": "STOP_LOSS", "quantity": "1", "stopPrice": "40000"}
    desk.done(0, "POST", "order", **stop)
    pair = {"symbol": BTC, "side": "SELL", "quantity": "2", "aboveType": "LIMIT_MAKER", "abovePrice": "70000",
            "belowType": "STOP_LOSS", "belowStopPrice": "40000"}  # fmt: skip
    desk.done(0, "POST", "orderList/oco", **pair)
    desk.limit(1, "BUY", "50000", "0.01")


def test_resting_stops_and_lists_lock_and_cancel_all_takes_them_too(tmp_path):
    desk = Desk(tmp_path)
    crowd(desk)
    assert desk.balances(0)["BTC"] == ("97.00000000", "3.00000000"), "the stop and the pair, which counts once"
    assert desk.balances(0)["USDT"] == ("999500.00000000", "500.00000000")
    assert len(desk.done(0, "DELETE", "openOrders", symbol=BTC)) == 3
    assert desk.balances(0)["BTC"][1] == desk.balances(0)["USDT"][1] == "0.00000000"
    assert desk.done(0, "GET", "openOrders") == [] and len(desk.done(1, "GET", "openOrders")) == 1


def test_a_dead_mans_switch_ends_every_order_of_its_account(tmp_path):
    desk = Desk(tmp_path)
    crowd(desk)
    account = desk.venue.accounts[0]
    desk.venue.cancel_unless_renewed(account, desk.now_ms + 5_000)
    desk.tick(4.0)
    desk.venue.cancel_unless_renewed(account, desk.now_ms + 5_000)
    desk.tick(4.0)
    assert len(desk.done(0, "GET", "openOrders")) == 4, "it was renewed"
    desk.venue.cancel_unless_renewed(account, desk.now_ms + 2_000, desk.venue.symbol("ETHUSDT"))
    desk.tick(0.999)
    assert len(desk.done(0, "GET", "openOrders")) == 4
    desk.now_ns += 1_000_000  # nobody looks at the clock but the next request
    assert desk.done(0, "GET", "openOrders") == []
    assert len(desk.done(1, "GET", "openOrders")) == 1
    assert desk.balances(0)["BTC"][1] == "0.00000000"
    told = [event["x"] for event in desk.events[0] if event["e"] == "executionReport"]
    assert told.count("CANCELED") == 4
    desk.limit(0, "BUY", "50000", "0.01")
    desk.tick(60.0)
    assert len(desk.done(0, "GET", "openOrders")) == 1, "it works once, and the other one was for another symbol"
    desk.venue.cancel_unless_renewed(account, desk.now_ms + 1_000)
    desk.venue.cancel_unless_renewed(account, None)
    desk.tick(60.0)
    assert len(desk.done(0, "GET", "openOrders")) == 1, "it was taken away"
    desk.conserved()
    recompute(desk.ledger)


MAINTENANCE = """
[[fault]]
kind = "maintenance"
after_ms = 1000
duration_ms = 60000
cancels_orders = {}
[[fault]]
kind = "halt"
symbol = "ETHUSDT"
symbol_status = "BREAK"
after_ms = 30000
duration_ms = 60000
"""
CLOSED = {"code": -1016, "msg": "This service is no longer available."}


@pytest.mark.parametrize("cancels", ["false", "true"])
def test_a_venue_that_is_closed_for_maintenance(tmp_path, cancels):
    desk = Desk(tmp_path, scenario=MAINTENANCE.format(cancels), market_seed=3)
    crowd_of = desk.limit(0, "BUY", "50000", "0.01")["orderId"]

    def system():
        return desk.raw("GET", "/sapi/v1/system/status")[1]

    assert system() == {"status": 0, "msg": "normal"}
    desk.tick(1.0)
    assert desk.gateway.states(), "and everybody is disconnected"
    assert system() == {"status": 1, "msg": "system_maintenance"}
    assert desk.raw("GET", "/api/v3/time") == (503, CLOSED)
    assert desk.signed(0, "POST", "order", **order("x")) == (503, CLOSED)
    assert desk.raw("POST", "/api/v3/userDataStream", "", b"", desk.keys[0].api_key) == (503, CLOSED)
    answer = desk.socket(0, "openOrders.status")
    assert (answer["status"], answer["error"]) == (503, CLOSED)
    trades = desk.venue._trade_ids[0]
    desk.tick(30.0)
    assert not desk.gateway.states()
    assert desk.venue._trade_ids[0] == trades, "the market rests"
    desk.tick(30.0)
    desk.gateway.states()
    assert system()["status"] == 0
    assert [row["status"] for row in desk.get("exchangeInfo")["symbols"]] == ["TRADING", "BREAK"], "another reason"
    other = order("y", symbol="ETHUSDT", price="2000")
    assert desk.refused(0, "POST", "order", **other) == (-1013, "Market is closed.")
    found = desk.done(0, "GET", "order", symbol=BTC, orderId=crowd_of)["status"]
    assert found == ("EXPIRED" if cancels == "true" else "NEW"), "the venue has ended it, not its owner"
    told = [event["x"] for event in desk.events[0] if event["e"] == "executionReport"]
    assert told == (["NEW", "EXPIRED"] if cancels == "true" else ["NEW"])
    desk.tick(30.0)
    desk.gateway.states()
    assert [row["status"] for row in desk.get("exchangeInfo")["symbols"]] == ["TRADING", "TRADING"]
    desk.done(0, "POST", "order", **other)
    desk.conserved()
    recompute(desk.ledger)


def test_order_lists_that_are_over_are_kept_up_to_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(venue_module, "LISTS", 3)
    desk = Desk(tmp_path)
    pair = {"symbol": BTC, "side": "SELL", "quantity": "0.01", "aboveType": "LIMIT_MAKER", "abovePrice": "70000",
            "belowType": "STOP_LOSS", "belowStopPrice": "40000"}  # fmt: skip
    numbers = [
        desk.done(0, "POST", "orderList/oco", **pair, listClientOrderId=f"list{number % 6}")["orderListId"]
        for number in range(5)
    ]
    assert [row["orderListId"] for row in desk.done(0, "GET", "openOrderList")] == numbers
    for number in (*numbers[1:], numbers[0]):
        desk.done(0, "DELETE", "orderList", symbol=BTC, orderListId=number)
    assert desk.done(0, "GET", "openOrderList") == []
    kept = [row["orderListId"] for row in desk.done(0, "GET", "allOrderList")]
    assert kept == [numbers[0], numbers[3], numbers[4]]
    account = desk.venue.accounts[0]
    assert sorted(account.lists_by_client) == ["list0", "list3", "list4"] and len(account.list_history) == 3
    assert desk.refused(0, "GET", "orderList", orderListId=numbers[1])[0] == -2018


def test_there_is_no_dead_mans_switch_on_spot(tmp_path):
    desk = Desk(tmp_path)
    for path in ("/api/v3/countdownCancelAll", "/fapi/v1/countdownCancelAll", "/sapi/v1/countdownCancelAll"):
        answer = desk.gateway.rest("POST", path, "symbol=BTCUSDT&countdownTime=1000", b"", desk.keys[0].api_key)
        assert answer.status == 404


def test_subscriptions_of_a_connection_are_bounded(tmp_path, monkeypatch):
    """One at a time for each account, and so many in its life."""
    monkeypatch.setattr(connection, "MAX_SUBSCRIPTIONS", 4)
    desk = Desk(tmp_path, accounts=3)

    async def run():
        server = Server(desk.gateway, None, BINANCE)
        socket = connection.ApiSocket(server, connection.Connection(server), ServerProtocol(), show_limits=False)

        def ask(name, params):
            return json.loads(socket._answer(name, {"id": 1, "method": name, "params": params}))

        def subscribe(account):
            name = "userDataStream.subscribe.signature"
            answer = ask(name, desk.socket_params(account))
            return answer["result"]["subscriptionId"] if answer["status"] == 200 else answer["error"]["code"]

        def unsubscribe():
            assert ask("userDataStream.unsubscribe", {})["status"] == 200

        found = [subscribe(0), subscribe(1), subscribe(0)]
        unsubscribe()
        found += [subscribe(0), subscribe(2), subscribe(1)]
        unsubscribe()
        return [*found, subscribe(0)]

    assert asyncio.run(run()) == [0, 1, -2035, 2, 3, -1034, -1034]
