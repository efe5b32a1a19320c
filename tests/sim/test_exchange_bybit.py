"""bot4-exchange as Bybit, as a process over real sockets: signed requests, topics, orders, and our own feed on it."""

import contextlib
import json
import random
import subprocess
import time
from decimal import Decimal
from pathlib import Path

import pytest
from reference.kernels.scan import Listing
from rig.exchange_bybit import BTC, BybitServer, order
from rig.exchange_server import COMMAND, WIDE
from rig.live import LiveRig, ReaderBook
from websockets.exceptions import ConnectionClosed

from bot4.adapters.bybit.parse import BybitLinear, BybitSpot
from bot4.adapters.bybit.streams import BybitLinearStreams, BybitSpotStreams
from bot4.model.enums import TICK_TRADE

pytestmark = pytest.mark.compiled
PATIENCE_S = 60.0
OWN = {
    "linear": (BybitLinearStreams, BybitLinear, Listing(BTC, Decimal("0.1"), Decimal("0.001"), True)),
    "spot": (BybitSpotStreams, BybitSpot, Listing(BTC, Decimal("0.1"), Decimal("0.000001"), False)),
}


@pytest.fixture(scope="module")
def lonely(tmp_path_factory):
    with BybitServer(tmp_path_factory.mktemp("bybit"), scenario=WIDE) as made:
        yield made
        made.conserved()
        made.stop()


@pytest.fixture
def quiet(lonely):
    """One that nobody else trades on, without faults and open orders."""
    lonely.heal()
    lonely.done("POST", "order/cancel-all", category="linear", settleCoin="USDT")
    return lonely


def until(stream, wanted):
    """The first message that is wanted."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        message = json.loads(stream.recv(PATIENCE_S))
        if wanted(message):
            return message
    raise AssertionError("it did not come")


def command(stream, operation, *args, **more):
    """A command of a connection: its answer."""
    stream.send(json.dumps({"op": operation, "args": list(args), "req_id": "r1"} | more))
    return until(stream, lambda message: message.get("op") in (operation, "pong"))


def test_signed_requests_and_their_headers(quiet):
    made = quiet.done("POST", "order/create", **order("Buy", "0.1", "59000"))
    assert int(quiet.headers["x-bapi-limit-status"]) < int(quiet.headers["x-bapi-limit"])
    assert quiet.done("GET", "order/realtime", category="linear", symbol=BTC)["list"][0]["orderId"] == made["orderId"]
    key, quiet.ready["api_key"] = quiet.ready["api_key"], "wrong"
    try:
        assert quiet.signed("GET", "account/info")[1]["retCode"] == 10003
    finally:
        quiet.ready["api_key"] = key
    assert quiet.raw("GET", "/v5/nothing")[0] == 404
    assert quiet.raw("POST", "/v5/order/create", b"\xff{")[0] == 200


def test_public_topics(quiet):
    with quiet.listen("/v5/public/linear") as stream:
        assert command(stream, "ping")["ret_msg"] == "pong"
        assert command(stream, "subscribe", "orderbook.1.BTCUSDT", "publicTrade.BTCUSDT")["success"] is True
        assert until(stream, lambda m: m.get("topic") == "orderbook.1.BTCUSDT")["type"] == "snapshot"
        quiet.done("POST", "order/create", **order("Buy", "0.1", "59123"))
        message = until(stream, lambda m: m.get("topic") == "orderbook.1.BTCUSDT" and m["data"]["b"])
        assert message["data"]["b"] == [["59123.00", "0.100"]]
        assert command(stream, "unsubscribe", "publicTrade.BTCUSDT")["success"] is True
        assert command(stream, "subscribe", "orderbook.3.BTCUSDT")["success"] is False
        assert command(stream, "subscribe")["success"] is False
        assert command(stream, "dance")["success"] is False
        stream.send("no json")
        assert until(stream, lambda m: m.get("op") == "")["success"] is False
    with quiet.listen("/v5/public/spot") as stream:
        answer = command(stream, "subscribe", *(f"tickers.S{number}" for number in range(11)))
        assert (answer["success"], answer["req_id"]) == (False, "r1")
    with pytest.raises(Exception, match="404"), quiet.listen("/v5/public/inverse"):
        pass


def test_private_topics(quiet):
    with quiet.listen("/v5/private") as stream:
        assert command(stream, "subscribe", "order")["success"] is False
        answer = quiet.log_on(stream)
        assert (answer["success"], answer["op"]) == (True, "auth")
        assert command(stream, "subscribe", "order", "execution.linear", "position", "wallet")["success"] is True
        assert command(stream, "subscribe", "orders")["success"] is False
        assert command(stream, "ping")["op"] == "pong"
        made = quiet.done("POST", "order/create", **order("Buy", "0.1", "59000", orderLinkId=f"l{time.time_ns()}"))
        message = until(stream, lambda m: m.get("topic") == "order")
        assert (message["data"][0]["orderId"], message["data"][0]["orderStatus"]) == (made["orderId"], "New")
        assert until(stream, lambda m: m.get("topic") == "wallet")["data"][0]["accountType"] == "UNIFIED"
        quiet.done("POST", "order/create", **order("Sell", "0.1", "59000"))  # the account with itself
        assert until(stream, lambda m: m.get("topic") == "execution.linear")["data"][0]["execQty"] == "0.100"
        assert until(stream, lambda m: m.get("topic") == "position")["data"][0]["symbol"] == BTC
    with quiet.listen("/v5/private") as stream:
        assert quiet.log_on(stream, seconds=-1)["success"] is False
        with pytest.raises(ConnectionClosed):
            stream.recv(PATIENCE_S)


def test_orders_by_websocket(quiet):
    with quiet.listen("/v5/trade") as stream:

        def operate(name, *args):
            header = {"X-BAPI-TIMESTAMP": str(int(time.time() * 1_000))}
            stream.send(json.dumps({"reqId": "t1", "header": header, "op": name, "args": args}))
            return until(stream, lambda m: m.get("op") == name)

        assert operate("order.create", order("Buy", "0.1", "59000"))["retCode"] == 10007
        assert quiet.log_on(stream)["retCode"] == 0
        assert quiet.log_on(stream)["retCode"] == 20001
        made = operate("order.create", order("Buy", "0.1", "59000"))
        assert (made["retCode"], made["reqId"], bool(made["connId"])) == (0, "t1", True)
        one = {"category": "linear", "symbol": BTC, "orderId": made["data"]["orderId"]}
        assert operate("order.amend", one | {"qty": "0.2"})["retCode"] == 0
        quiet.fault(kind="error_after", endpoint="order.cancel", times=1)
        assert operate("order.cancel", one)["retCode"] == 10016
        assert operate("order.cancel", one)["retCode"] == 110001, "the first one landed"
        stream.send(json.dumps({"op": "ping"}))
        assert until(stream, lambda m: m.get("op") == "pong")["retCode"] == 0
        assert operate("order.create", one, "all")["retCode"] == 10001


def test_faults(quiet):
    quiet.fault(kind="error_before", endpoint="POST /v5/order/create", times=1, status=503)
    assert quiet.signed("POST", "order/create", **order("Buy", "0.1", "59000"))[0] == 503
    quiet.fault(kind="rate_limit", endpoint="GET /v5/position/list", times=1)
    assert quiet.signed("GET", "position/list", category="linear", symbol=BTC)[1]["retCode"] == 10006
    quiet.fault(kind="halt", symbol=BTC, duration_ms=100)
    assert quiet.signed("POST", "order/create", **order("Buy", "0.1", "59000"))[1]["retCode"] == 110066
    with quiet.listen("/v5/public/linear") as stream:
        command(stream, "subscribe", "orderbook.50.ETHUSDT")
        until(stream, lambda m: m.get("type") == "snapshot")
        quiet.fault(kind="event_drop", stream="orderbook", times=1)
        for price in ("2990", "2991"):
            quiet.done("POST", "order/create", **order("Buy", "0.1", price, symbol="ETHUSDT"))
            time.sleep(0.1)  # so that each is a message of its own
        assert until(stream, lambda m: m.get("type") == "delta")["data"]["b"] == [["2991.00", "0.10"]]


def test_a_private_connection_that_is_gone_takes_the_orders_with_it(quiet):
    quiet.done("POST", "order/disconnected-cancel-all", product="DERIVATIVES", timeWindow=3)
    made = quiet.done("POST", "order/create", **order("Buy", "0.1", "59000"))["orderId"]
    coin = quiet.done("POST", "order/create", **order("Buy", "0.1", "59000", "spot"))["orderId"]
    with quiet.listen("/v5/private") as stream:
        quiet.log_on(stream)
        assert command(stream, "subscribe", "dcp.future")["success"] is True

    def status(category, order_id):
        (row,) = quiet.done("GET", "order/realtime", category=category, orderId=order_id)["list"]
        return row["orderStatus"], row["cancelType"]

    end = time.monotonic() + PATIENCE_S
    while status("linear", made)[0] == "New" and time.monotonic() < end:
        time.sleep(0.2)
    assert status("linear", made) == ("Cancelled", "CancelByDCP")
    assert status("spot", coin)[0] == "New"
    quiet.done("POST", "order/cancel", category="spot", symbol=BTC, orderId=coin)


@pytest.mark.parametrize("path", ["/v5/public/linear", "/v5/public/spot", "/v5/private", "/v5/trade"])
def test_whatever_comes_by_websocket_is_answered(quiet, path):
    draw = random.Random(path)
    values = [None, True, -1, 2**70, 0.5, "", "auth", "é" * 40, [], {}, [None], ["order"], ["orderbook.1.BTCUSDT"],
              [{"category": "linear"}], ["a", 1, "b"], [quiet.ready["api_key"], 2**62, "0"]]  # fmt: skip
    names = ["op", "args", "req_id", "reqId", "header"]
    for _ in range(150):
        with quiet.listen(path) as stream, contextlib.suppress(ConnectionClosed):  # some are shown the door
            for _ in range(4):
                message = {name: draw.choice(values) for name in draw.sample(names, draw.randrange(5))}
                if draw.random() < 0.7:
                    message["op"] = draw.choice(["auth", "subscribe", "unsubscribe", "order.create", "dance"])
                text = json.dumps(message)
                stream.send(draw.randbytes(20) if draw.random() < 0.1 else text)
            stream.send(json.dumps({"op": "ping"}))
            until(stream, lambda m: m.get("op") in ("ping", "pong"))
    assert quiet.get("market/time")
    assert "Traceback" not in quiet.log()


def test_fees_in_a_token_are_not_bybits(tmp_path):
    accounts = tmp_path / "accounts.toml"
    accounts.write_text('[[account]]\nname = "main"\nbalances = { USDT = "1" }\n[fee_token]\nasset = "BNB"\n')
    command = [*COMMAND, "--venue", "bybit", "--balances", str(accounts)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "fee_token: bybit has none" in done.stderr


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    with BybitServer(folder, "--tls", "--speed", "5x", scenario=WIDE, market="generated:9") as made:
        yield made
        made.conserved()
        assert made.stop().kinds["fill"] > 0


@pytest.mark.parametrize("category", ["linear", "spot"])
def test_our_own_feed_keeps_the_book_of_the_venue(market, category):
    kind, decoder, listing = OWN[category]
    port = market.address.port
    streams = kind(ws_url=f"wss://localhost:{port}", rest_url=f"https://localhost:{port}")
    rules = decoder().instruments(
        "/v5/market/instruments-info",
        market.raw("GET", f"/v5/market/instruments-info?category={category}")[1],
    )
    assert (rules[0].symbol, rules[0].tick, rules[0].lot) == (BTC, listing.tick, listing.lot)
    rig = LiveRig(streams, decoder(), listing, Path(market.ready["ca"]))
    book, trades, equal = ReaderBook(), 0, 0
    end = time.monotonic() + PATIENCE_S
    try:
        while (trades < 3 or equal < 3) and time.monotonic() < end:
            handled, ticks = rig.turn()
            for tick in ticks:
                book.take(tick)
                trades += int(tick["kind"]) == TICK_TRADE
            if not handled:
                time.sleep(0.002)
                continue
            if book.whole and trades >= 3:
                market.fault(kind="halt", duration_ms=400)  # nobody trades while the two are compared
                time.sleep(0.05)
                levels = market.get("market/orderbook", category=category, symbol=BTC, limit=50)
                settle = time.monotonic() + 0.25
                while time.monotonic() < settle:
                    for tick in rig.turn()[1]:
                        book.take(tick)
                wanted = [
                    [
                        (int(Decimal(price) / listing.tick), int(Decimal(qty) / listing.lot))
                        for price, qty in levels[side]
                    ]
                    for side in ("b", "a")
                ]
                assert [list(side) for side in book.top(50)] == wanted
                equal += 1
                market.heal()
    finally:
        with contextlib.suppress(AssertionError):
            market.heal()
        rig.close()
    assert (trades >= 3, equal, rig.refused()) == (True, 3, {})
