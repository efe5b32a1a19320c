"""What a request has to be before anything of it happens: keys, signatures, times, parameters, limits."""

import hmac
import json
from urllib.parse import urlencode

import pytest
from rig.exchange_desk import BTC, Desk

from bot4.adapters.exchange.gateway import Session

ORDER = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "59000", "quantity": "0.01"}


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_both_kinds_of_signatures(desk):
    assert desk.signed(0, "GET", "account")[0] == 200
    assert desk.signed(0, "GET", "account", ed25519=True)[0] == 200


def test_keys_and_signatures_that_are_none(desk):
    query = urlencode({"timestamp": desk.now_ms, "signature": "0" * 64})
    for api_key, status, code in ((None, 401, -2014), ("a b", 401, -2014), ("unknown", 401, -2015)):
        got, answer = desk.raw("GET", "/api/v3/account", query, b"", api_key)
        assert (got, answer["code"]) == (status, code)
    key = desk.keys[0].api_key
    for signature in ("0" * 64, "AAAA", "!", "é" * 64):
        query = urlencode({"timestamp": desk.now_ms, "signature": signature})
        got, answer = desk.raw("GET", "/api/v3/account", query, b"", key)
        assert (got, answer["code"]) == (400, -1022)
    assert desk.raw("GET", "/api/v3/account", f"timestamp={desk.now_ms}", b"", key)[1]["code"] == -1102
    assert desk.raw("GET", "/api/v3/account", "signature=00", b"", key)[1]["code"] == -1102


def test_a_signature_covers_query_and_body(desk):
    key = desk.keys[0]
    query, body = (
        urlencode({"symbol": BTC, "side": "BUY"}),
        urlencode({"type": "MARKET", "quantity": "0.01", "timestamp": desk.now_ms}),
    )
    signature = hmac.new(key.secret, (query + body).encode(), "sha256").hexdigest()
    good = f"{body}&signature={signature}".encode()
    assert desk.raw("POST", "/api/v3/order/test", query, good, key.api_key) == (200, {})
    bad = good.replace(b"0.01", b"0.02")
    assert desk.raw("POST", "/api/v3/order/test", query, bad, key.api_key)[1]["code"] == -1022


@pytest.mark.parametrize(
    ("skew_ms", "window", "code"),
    [(0, None, 200), (-5_000, None, 200), (-5_001, None, -1021), (999, None, 200), (1_000, None, -1021),
     (-5_001, 6_000, 200), (-60_000, 60_000, 200), (0, 60_001, -1131)],
)  # fmt: skip
def test_when_a_request_was_made(desk, skew_ms, window, code):
    more = {} if window is None else {"recvWindow": window}
    status, answer = desk.signed(0, "GET", "account", timestamp=desk.now_ms + skew_ms, **more)
    assert (answer["code"] if status != 200 else 200) == code


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("ping", {"a": "1"}, -1101),
        ("depth", {}, -1102),
        ("depth", {"symbol": ""}, -1102),
        ("depth", {"symbol": "BTC/USDT"}, -1100),
        ("depth", {"symbol": "NOPE"}, -1121),
        ("depth", {"symbol": BTC, "limit": ""}, -1105),
        ("depth", {"symbol": BTC, "limit": "0"}, -1130),
        ("depth", {"symbol": BTC, "limit": "ten"}, -1100),
        ("depth", {"symbol": BTC, "nobody": "reads"}, -1104),
        ("klines", {"symbol": BTC, "interval": "7m"}, -1120),
        ("ticker/24hr", {"symbol": BTC, "symbols": '["ETHUSDT"]'}, -1128),
        ("ticker/price", {"symbols": '["BTCUSDT","BTCUSDT"]'}, -1151),
        ("ticker/price", {"symbols": "[1]"}, -1100),
        ("ticker/price", {"symbols": "BTCUSDT"}, -1100),
        ("ticker/24hr", {"type": "BIG"}, -1139),
        ("ticker", {}, -1102),
        ("ticker", {"symbol": BTC, "windowSize": "8d"}, -1130),
        ("aggTrades", {"symbol": BTC, "fromId": "1", "startTime": "1"}, -1128),
    ],
)
def test_parameters_that_are_refused(desk, path, params, code):
    status, answer = desk.raw("GET", "/api/v3/" + path, urlencode(params))
    assert (status, answer["code"]) == (400, code)


def test_a_parameter_that_comes_twice(desk):
    assert desk.raw("GET", "/api/v3/depth", "symbol=BTCUSDT&symbol=ETHUSDT")[1]["code"] == -1101
    assert desk.raw("GET", "/api/v3/depth", "&".join(f"p{n}=1" for n in range(65)))[1]["code"] == -1101


def test_paths_and_methods_that_are_none(desk):
    nothing = {"code": -5000, "msg": "Path /api/v3/nothing, Method GET is invalid"}
    assert desk.raw("GET", "/api/v3/nothing") == (404, nothing)
    assert desk.gateway.rest("PATCH", "/api/v3/order", "", b"", None).status == 405
    assert desk.gateway.rest("GET", "/api/v3/userDataStream", "", b"", desk.keys[0].api_key).status == 405


def test_weights_in_headers_and_429(tmp_path):
    desk = Desk(tmp_path, scenario="[limits]\nrequest_weight_1m = 30\n")
    desk.get("exchangeInfo")
    assert dict(desk.answer.headers)["x-mbx-used-weight-1m"] == "20"
    desk.get("depth", symbol=BTC)
    assert dict(desk.answer.headers)["x-mbx-used-weight"] == "25"
    desk.get("depth", symbol=BTC)
    status, answer = desk.raw("GET", "/api/v3/ping")
    assert (status, answer["code"]) == (429, -1003)
    assert int(dict(desk.answer.headers)["retry-after"]) > 0
    desk.tick(60)
    desk.get("ping")


def test_order_counts_in_headers_and_429(tmp_path):
    desk = Desk(tmp_path, scenario="[limits]\norders_10s = 2\n")
    desk.done(0, "POST", "order", **ORDER)
    desk.done(0, "POST", "order", **ORDER)
    headers = dict(desk.answer.headers)
    assert (headers["x-mbx-order-count-10s"], headers["x-mbx-order-count-1d"]) == ("2", "2")
    status, answer = desk.signed(0, "POST", "order", **ORDER)
    assert (status, answer["code"]) == (429, -1015)
    desk.done(1, "POST", "order", **ORDER)  # counted by account
    assert [row["count"] for row in desk.done(0, "GET", "rateLimit/order")] == [2, 2]
    desk.tick(10)
    desk.done(0, "POST", "order", **ORDER)


def test_orders_that_fill_or_are_refused_do_not_count(tmp_path):
    """The venue's own examples: a first fill as taker takes one off, as maker five, and no order refused is one."""
    desk = Desk(tmp_path)

    def counts(account=0):
        return {row["count"] for row in desk.done(account, "GET", "rateLimit/order")}

    for _ in range(3):
        maker = desk.limit(0, "SELL", "60000", "0.002")
    assert counts() == {3}
    desk.limit(1, "BUY", "60000", "0.001")
    assert (counts(0), counts(1)) == ({0}, {0}), "one of three as maker, and a taker's own"
    desk.limit(0, "SELL", "61000", "0.002")
    desk.limit(1, "BUY", "60000", "0.001")
    assert counts() == {1}, "the rest of it is not a first fill"
    desk.done(0, "DELETE", "order", symbol=BTC, orderId=maker["orderId"])
    assert counts() == {1}, "canceled ones stay in it"
    taker = {"symbol": BTC, "side": "BUY", "type": "LIMIT_MAKER", "price": "60500", "quantity": "0.001"}
    assert desk.refused(1, "POST", "order", **taker)[0] == -2010
    assert counts(1) == {0}, "the core has refused it"


def test_the_websocket_api_reads_the_same(desk):
    assert desk.socket(None, "time")["result"] == {"serverTime": desk.now_ms}
    answer = desk.socket(0, "order.place", **ORDER)
    assert answer["status"] == 200, answer
    assert answer["result"]["status"] == "NEW"
    assert [rule["rateLimitType"] for rule in answer["rateLimits"]] == ["ORDERS", "ORDERS", "REQUEST_WEIGHT"]
    order = desk.socket(0, "order.status", symbol=BTC, orderId=answer["result"]["orderId"])["result"]
    assert order["status"] == "NEW"
    assert "rateLimits" not in desk.socket(None, "ping", returnRateLimits="false")
    for method, params, code in (
        ("no.such", {}, -1100), ("depth", {}, -1102), ("order.status", {"symbol": BTC}, -1102)
    ):  # fmt: skip
        answer = desk.socket(0 if method.startswith("order") else None, method, **params)
        assert (answer["status"], answer["error"]["code"]) == (400, code)
    request = {"id": 2, "method": "account.status", "params": {"timestamp": desk.now_ms}}
    assert desk.gateway.socket(Session(), request)["error"]["code"] == -1102
    wrong = {"id": 2, "method": "account.status",
             "params": {"timestamp": desk.now_ms, "apiKey": desk.keys[0].api_key, "signature": "0" * 64}}  # fmt: skip
    assert desk.gateway.socket(Session(), wrong)["error"]["code"] == -1022


def test_numbers_of_json_stay_the_text_they_were(desk):
    request = desk.gateway.read_socket('{"params": {"quantity": 0.10000000000000001, "price": 59000.10, "n": 5}}')
    assert request["params"] == {"quantity": "0.10000000000000001", "price": "59000.10", "n": 5}
    assert json.dumps(request)
