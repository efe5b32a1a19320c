"""What an answer of Bybit's private side proves, whatever its bytes are."""

import json
from dataclasses import astuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.gateway import instrument_row

from bot4.adapters.bybit.private import BybitPrivate
from bot4.model.enums import VENUE_RATE
from bot4.model.intent import OrderIntent
from bot4.ports.gateway import Page, Reply, Told
from bot4.ports.gateway_values import Keys
from bot4.ports.venue import Done, Refused, Unknown

WORDS = BybitPrivate(Keys("k" * 18, "s" * 36), "https://127.0.0.1:1", ["BTCUSDT"], instrument_row())
ORDER = {
    "symbol": "BTCUSDT", "category": "linear", "side": "Buy", "orderLinkId": "a", "orderId": "1",
    "orderStatus": "Cancelled", "stopOrderType": "", "cumExecQty": "0.001", "rejectReason": "", "cancelType": "",
    "orderType": "Limit", "price": "60000", "triggerPrice": "", "qty": "1", "updatedTime": "1700000000000",
    "reduceOnly": False,
}  # fmt: skip
TRADE = {
    "symbol": "BTCUSDT", "category": "linear", "side": "Sell", "orderLinkId": "a", "execId": "1", "execType": "Trade",
    "execTime": "1700000000000", "execPrice": "60000", "execQty": "0.5", "execFee": "-0.123456789",
}  # fmt: skip
FUNDING = TRADE | {"execType": "Funding"}
POSITION = {"symbol": "BTCUSDT", "positionIdx": 0, "side": "Sell", "size": "0.001", "positionValue": "60"}
KEY = {"permissions": {"ContractTrade": ["Order", "Position"], "Wallet": []}, "ips": ["127.0.0.1"], "readOnly": 0}
CALLS = {
    "place": (WORDS.place(OrderIntent(side=1, qty_lots=1), "a"), {"orderId": "1"}),
    "cancel_all": (WORDS.cancel_all(0), {"list": [{"orderId": "1"}]}),
    "order": (WORDS.ask_order(0, "a"), {"list": [ORDER]}),
    "open": (WORDS.ask_open(""), {"list": [ORDER, ORDER], "nextPageCursor": "x"}),
    "trades": (WORDS.ask_trades(0, 1, "", ""), {"list": [TRADE, FUNDING], "nextPageCursor": ""}),
    "positions": (WORDS.ask_positions(), {"list": [POSITION]}),
    "cash": (WORDS.ask_cash(), {"list": [{"coin": [{"coin": "USDT", "walletBalance": "1"}]}]}),
    "fees": (WORDS.ask_fees(0), {"list": [{"symbol": "BTCUSDT", "makerFeeRate": "0.0002", "takerFeeRate": "0.00055"}]}),
    "time": (WORDS.ask_time(), {"timeNano": "1700000000000000000"}),
    "key": (WORDS.ask_key(), KEY),
}
STRANGE = st.sampled_from(
    (None, True, 0, -1, 1.5, 10**30, [], {}, [[]], [1], "", "x", "-1", "NaN", "sNaN", "-Infinity", "1e99999999999",
     "9" * 40, "9" * 5_000, "1e17", "0.000000001", "BTCUSDT", "USDT", 110001, [ORDER], [TRADE])
)  # fmt: skip


def judged(name, result, status=200):
    body = result if isinstance(result, bytes) else json.dumps({"retCode": 0, "result": result}).encode()
    return WORDS.judge(CALLS[name][0], Reply(status, {}, body))


def test_an_answer_that_speaks_of_another_order_proves_nothing():
    assert judged("place", {"orderId": "1", "orderLinkId": "a"}) == Done("1")
    assert isinstance(judged("place", {"orderId": "1", "orderLinkId": "b"}), Unknown)


def places(value, path=()):
    """Every place within a value, by the keys that lead there."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def put(value, path, what):
    """The value with something else in one place."""
    if not path:
        return what
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(copy[path[0]], path[1:], what)
    return copy


def check_fits(rows):
    for row in rows:
        for field in row if isinstance(row, str) else astuple(row):
            assert isinstance(field, str | bool) or -(2**63) <= field < 2**63
            assert not isinstance(field, str) or field.encode() is not None


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_the_answer_is_it_is_an_outcome_of_numbers_that_fit(data):
    name = data.draw(st.sampled_from(sorted(CALLS)))
    whole = {"retCode": 0, "retMsg": "", "result": CALLS[name][1]}
    for _ in range(data.draw(st.integers(1, 2))):
        whole = put(whole, data.draw(st.sampled_from(list(places(whole)))), data.draw(STRANGE))
    body = json.dumps(whole).encode()
    body = body[: data.draw(st.sampled_from((len(body), len(body) // 2)))]
    status = data.draw(st.sampled_from((200, 200, 403, 500)))
    outcome = WORDS.judge(CALLS[name][0], Reply(status, {}, body))
    assert isinstance(outcome, Done | Refused | Unknown)
    if isinstance(outcome, Done):
        value = outcome.value
        check_fits(value.rows if isinstance(value, Page) else value if isinstance(value, list) else ())
        assert name not in ("time", "cash") or -(2**63) <= value < 2**63
        assert name not in ("place", "key") or isinstance(value, str)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_the_stream_says_is_read_or_refused(data):
    topic, row = data.draw(st.sampled_from((("execution.linear", TRADE), ("order.linear", ORDER))))
    whole = {"topic": topic, "data": [row]}
    whole = put(whole, data.draw(st.sampled_from(list(places(whole)))), data.draw(STRANGE))
    try:
        told = WORDS.read(json.dumps(whole).encode())
    except ValueError:
        return
    assert isinstance(told, Told)
    check_fits(told.rows)


@pytest.mark.parametrize("text", [b"", b"\xff", b"[", b"[" * 200_000, b'"\\ud800"', b"0", b'{"retCode":[]}',
                                  b'{"retCode":{}}'])  # fmt: skip
def test_what_is_no_answer_proves_nothing(text):
    for name in CALLS:
        assert isinstance(judged(name, text), Unknown)
        assert judged(name, text, 403) == Refused(VENUE_RATE)
    with pytest.raises(ValueError, match="cannot be read"):
        WORDS.read(text)


def test_numbers_in_a_head_are_bounded():
    endless = {"x-bapi-limit": "9" * 5_000, "retry-after": "9" * 5_000}
    assert WORDS.limit_of(Reply(200, endless, b"")) == 0
    assert WORDS.pause_s(Reply(429, endless, b"")) == 1.0
    assert WORDS.limit_of(Reply(200, {"x-bapi-limit": "20"}, b"")) == 20


def test_a_row_that_cannot_be_read_counts_where_it_is_ours():
    stranger = ORDER | {"symbol": "ETHUSDT", "category": 7, "orderStatus": "Never heard of"}
    broken = ORDER | {"price": "60000.05"}
    assert len(judged("open", {"list": [ORDER, stranger, ORDER]}).value.rows) == 2
    assert len(judged("open", {"list": [{"symbol": "ETHUSDT"}]}).value.rows) == 0
    outcome = judged("open", {"list": [ORDER, broken]})
    assert isinstance(outcome, Unknown) and "BTCUSDT" in outcome.reason and "60000.05" in outcome.reason
    for row in (7, {}, {"symbol": []}):
        assert isinstance(judged("open", {"list": [ORDER, row]}), Unknown)  # it may be anybody's
    for none in ("", {}, None):
        assert isinstance(judged("order", {"list": none}), Unknown)  # no list is not an empty one
    assert judged("order", {"list": []}) == Done(None)
    assert isinstance(judged("order", {"list": [stranger]}), Unknown)
    assert isinstance(judged("order", {"list": [ORDER | {"symbol": "ETHUSDT"}]}), Unknown)


def test_a_number_beyond_what_fits_is_none():
    rows = {"open": ORDER, "trades": TRADE, "positions": POSITION}
    numbers = {
        "price", "qty", "cumExecQty", "updatedTime", "execPrice", "execQty", "execFee", "execTime", "size",
        "positionValue",
    }  # fmt: skip
    for name, row in rows.items():
        for field in sorted(numbers & set(row)):
            for text in ("9" * 40, "1e15", "1e999999", "NaN", "-Infinity"):
                assert isinstance(judged(name, {"list": [row | {field: text}]}), Unknown), (field, text)
    for text in ("9" * 40, "1e11", "NaN"):
        assert isinstance(judged("cash", {"list": [{"coin": [{"coin": "USDT", "walletBalance": text}]}]}), Unknown)
    assert isinstance(judged("time", {"timeNano": "9" * 19}), Unknown)
    assert isinstance(judged("trades", {"list": [TRADE | {"execQty": "-0.5"}]}), Unknown)
