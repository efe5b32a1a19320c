"""Bytes that nobody meant, on Bybit's REST, its three websockets and the control endpoint: an answer in its words."""

import contextlib
import json
import random
import time

import pytest
from rig.exchange_bybit import BybitServer
from rig.exchange_server import WIDE
from rig.fuzz import TEXTS, bounded, damaged_faults, damaged_frames, damaged_http, spoilt
from websockets.exceptions import ConnectionClosed

pytestmark = pytest.mark.compiled
PUBLIC = ("time", "instruments-info", "orderbook", "tickers", "recent-trade", "kline", "risk-limit")
GET = ("order/realtime", "order/history", "execution/list", "position/list", "account/wallet-balance", "account/info",
       "account/fee-rate", "account/query-dcp-info", "asset/coin/query-info", "user/query-api")  # fmt: skip
ORDERS = ("create", "amend", "cancel", "create-batch", "amend-batch", "cancel-batch")
POST = (*(f"order/{name}" for name in ORDERS), "order/cancel-all", "order/disconnected-cancel-all",
        "position/set-leverage", "position/trading-stop")  # fmt: skip
FIELDS = ("accountType", "baseCoin", "buyLeverage", "category", "closeOnTrigger", "coin", "cursor", "end", "endTime",
          "execType", "interval", "limit", "marketUnit", "openOnly", "orderFilter", "orderId", "orderLinkId",
          "orderStatus", "orderType", "positionIdx", "price", "product", "qty", "reduceOnly", "request", "sellLeverage",
          "settleCoin", "side", "smpType", "start", "startTime", "status", "stopLoss", "symbol", "takeProfit",
          "timeInForce", "timeWindow", "tpslMode", "trailingStop", "triggerBy", "triggerDirection", "triggerPrice",
          "x")  # fmt: skip
GOOD = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01",
        "price": "59000", "timeInForce": "GTC", "settleCoin": "USDT", "accountType": "UNIFIED", "interval": "1",
        "buyLeverage": "10", "sellLeverage": "10", "product": "DERIVATIVES", "timeWindow": 40}  # fmt: skip
VALUES = (*TEXTS, "Buy", "Sell", "Limit", "Market", "PostOnly", "linear", "spot", "inverse", "UNIFIED", "CancelMaker",
          None, True, 0, -1, 2**70, 1.5, [], {}, [{}], [GOOD], [[1]])  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with (
        BybitServer(tmp_path_factory.mktemp("fuzz"), scenario=WIDE, market="generated:3") as made,
        bounded(made) as held,
    ):
        yield held


def fields(draw):
    """What an order needs, mostly, and some of anything."""
    chosen = {name: value for name, value in GOOD.items() if draw.random() < 0.8}
    for name in draw.sample(FIELDS, draw.choice((0, 1, 1, 2, 6))):
        chosen[name] = draw.choice(VALUES)
    return chosen


def rest(server, count, seed):
    """Requests that are well formed and mean anything: the (HTTP status, code) that were seen."""
    draw = random.Random(seed)
    seen = set()
    for _ in range(count):
        method, path = draw.choice([("GET", f"market/{name}") for name in PUBLIC] + [("GET", name) for name in GET]
                                   + 2 * [("POST", name) for name in POST])  # fmt: skip
        params = fields(draw)
        if path.endswith("-batch") and draw.random() < 0.8:
            params = {"category": "linear", "request": [fields(draw) for _ in range(draw.choice((0, 1, 2, 30)))]}
        status, answer = server.signed(method, path, **params)
        assert status < 500, (path, params, answer)
        assert type(answer["retCode"]) is int, (path, params, answer)
        assert answer["retCode"] != 10016, (path, params, answer)
        seen.add((status, answer["retCode"]))
    return seen


def request(server, draw):
    """A good one, but for its signature."""
    key, body = server.ready["api_key"].encode(), json.dumps(GOOD).encode()
    method, path = draw.choice((("GET", "market/tickers"), ("GET", "order/realtime"), ("POST", "order/create")))
    return (
        b"%s /v5/%s?category=linear&symbol=BTCUSDT HTTP/1.1\r\nHost: x\r\nX-BAPI-API-KEY: %s\r\n"
        b"X-BAPI-TIMESTAMP: %d\r\nX-BAPI-RECV-WINDOW: 5000\r\nX-BAPI-SIGN: %s\r\nContent-Length: %d\r\n\r\n%s"
        % (method.encode(), path.encode(), key, time.time() * 1_000, b"0" * 64, len(body), body)
    )


def command(draw, path):
    """Something that looks like one of a websocket."""
    topics = ["publicTrade.BTCUSDT", "orderbook.50.BTCUSDT", "tickers.ETHUSDT", "kline.1.BTCUSDT", "order", "execution",
              "wallet", "dcp.future", "a.b.c", "", "é"]  # fmt: skip
    if path == "/v5/trade":
        header = draw.choice(({"X-BAPI-TIMESTAMP": str(int(time.time() * 1_000))}, {}, None, [], "a"))
        args = draw.choice(([fields(draw)], [fields(draw)], [], [1], {}, None, [{"request": [fields(draw)]}]))
        operation = f"order.{draw.choice((*ORDERS, 'x'))}"
        return {"reqId": draw.choice(("1", 1, None, [])), "header": header, "op": operation, "args": args}
    args = draw.choice((draw.sample(topics, 3), [], None, {}, [1], "a", [None], ["a" * 500], list(TEXTS)))
    operation = draw.choice(("subscribe", "subscribe", "unsubscribe", "auth", "ping", "x", 1, None))
    return {"req_id": draw.choice(("1", 1, None, [])), "op": operation, "args": args}


def websocket(server, count, seed):
    """Messages of any kind; each connection answers a ping afterwards or is closed. How many answered."""
    draw = random.Random(seed)
    answered = 0
    for _ in range(count // 20):
        path = draw.choice(("/v5/public/linear", "/v5/public/spot", "/v5/private", "/v5/trade"))
        with server.listen(path) as stream, contextlib.suppress(ConnectionClosed):
            if path in ("/v5/private", "/v5/trade") and draw.random() < 0.8:
                server.log_on(stream)
            for _ in range(20):
                text = json.dumps(command(draw, path))
                if draw.random() < 0.4:
                    text = spoilt(draw, text.encode()).decode("latin-1")
                stream.send(text if draw.random() < 0.9 else text.encode())
            stream.send('{"op":"ping","req_id":"the end","reqId":"the end"}')
            end = time.monotonic() + 10
            while True:
                assert time.monotonic() < end, "no answer"
                answer = json.loads(stream.recv(10))
                assert answer.get("retCode") != 10016, answer
                if "the end" in (answer.get("req_id"), answer.get("reqId")):
                    answered += 1
                    break
    return answered


def all_of_it(server, scale, seed):
    seen = rest(server, 40 * scale, seed)
    damaged_http(server, 8 * scale, seed, lambda draw: request(server, draw))
    answered = websocket(server, 20 * scale, seed)
    sockets = (b"/v5/public/linear", b"/v5/private", b"/v5/trade")
    damaged_frames(server, 4 * scale, seed, sockets, b'{"op":"ping"}')
    damaged_faults(server, 4 * scale, seed)
    assert server.get("market/orderbook", category="linear", symbol="BTCUSDT", limit=1)["b"]
    assert server.done("GET", "position/list", category="linear", symbol="BTCUSDT")["list"]
    return seen, answered


def test_bytes_that_nobody_meant(server):
    seen, answered = all_of_it(server, 10, 1)
    assert (200, 0) in seen and {code for _, code in seen} > {0, 10001} and answered


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_more(server, seed):
    all_of_it(server, 100, seed)
