"""What an answer of Binance Spot's private side proves, whatever its bytes are."""

import base64
import hmac
import json
from dataclasses import astuple
from urllib.parse import parse_qsl, unquote

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.gateway_spot import LOT_E8, spot_row

from bot4.adapters.binance.private import BinancePrivate
from bot4.model import enums as e
from bot4.model.intent import OrderIntent
from bot4.ports.gateway import Page, PositionRow, Reply, Told
from bot4.ports.gateway_values import Keys
from bot4.ports.venue import Done, Refused, Unknown

SECRET = "s" * 64
WORDS = BinancePrivate(Keys("k" * 18, SECRET), "https://127.0.0.1:1", ["BTCUSDT"], spot_row(), "USDT")
LINK = "a" * 32
ORDER = {
    "symbol": "BTCUSDT", "orderId": 7, "clientOrderId": LINK, "price": "60000.00000000", "origQty": "1.00000000",
    "executedQty": "0.00001000", "status": "CANCELED", "type": "LIMIT", "side": "BUY", "stopPrice": "0.00000000",
    "updateTime": 1_700_000_000_000, "isWorking": True,
}  # fmt: skip
TRADE = {
    "symbol": "BTCUSDT", "id": 5, "orderId": 7, "price": "60000.00", "qty": "0.50000", "commission": "0.00050000",
    "commissionAsset": "BTC", "time": 1_700_000_000_000, "isBuyer": True,
}  # fmt: skip
FEES = {
    "symbol": "BTCUSDT",
    "standardCommission": {"maker": "0.00100000", "taker": "0.00110000", "buyer": "0", "seller": "0.00020000"},
    "specialCommission": {"maker": "0", "taker": "0", "buyer": "0", "seller": "0"},
    "taxCommission": {"maker": "0.00001000", "taker": "0.00001000", "buyer": "0.00000001", "seller": "0"},
}
ACCOUNT = {"balances": [{"asset": "BTC", "free": "0.50000001", "locked": "0.1"},
                        {"asset": "USDT", "free": "1", "locked": "2.00000001"}]}  # fmt: skip
RIGHTS = {"ipRestrict": True, "enableSpotAndMarginTrading": True, "enableWithdrawals": False}
PLACED = {"symbol": "BTCUSDT", "orderId": 7, "clientOrderId": LINK}
MARKET = OrderIntent(side=1, qty_lots=1, type=e.TYPE_MARKET)
EVENT = {
    "e": "executionReport", "s": "BTCUSDT", "c": LINK, "C": "", "S": "BUY", "o": "LIMIT", "x": "TRADE", "X": "FILLED",
    "i": 7, "t": 5, "q": "0.5", "p": "60000", "P": "0", "z": "0.5", "l": "0.5", "L": "60000", "n": "0.0005", "N": "BTC",
    "T": 1_700_000_000_000, "w": False,
}  # fmt: skip
CALLS = {
    "place": (WORDS.place(MARKET, LINK), PLACED),
    "replace": (WORDS.replace(MARKET, LINK, "b"), {"newOrderResponse": PLACED}),
    "cancel": (WORDS.cancel(0, LINK), PLACED | {"origClientOrderId": LINK, "clientOrderId": "x"}),
    "cancel_all": (WORDS.cancel_all(0), [PLACED]),
    "order": (WORDS.ask_order(0, LINK), ORDER),
    "open": (WORDS.ask_open(""), [ORDER, ORDER]),
    "ended": (WORDS.ask_ended_list(""), [ORDER]),
    "trades": (WORDS.ask_trades(0, 1, "", ""), [TRADE, TRADE]),
    "positions": (WORDS.ask_positions(), ACCOUNT),
    "cash": (WORDS.ask_cash(), ACCOUNT),
    "fees": (WORDS.ask_fees(0), FEES),
    "time": (WORDS.ask_time(), {"serverTime": 1_700_000_000_000}),
    "key": (WORDS.ask_key(), RIGHTS),
}
STRANGE = st.sampled_from(
    (None, True, 0, -1, 1.5, 10**30, [], {}, [[]], [1], "", "x", "-1", "NaN", "sNaN", "-Infinity", "1e99999999999",
     "9" * 40, "9" * 5_000, "1e17", "0.000000001", "BTCUSDT", "USDT", -2013, [ORDER], [TRADE])
)  # fmt: skip


def judged(name, result, status=200, words=WORDS):
    body = result if isinstance(result, bytes) else json.dumps(result).encode()
    return words.judge(CALLS[name][0], Reply(status, {}, body))


def refused(name, code, text="", status=400, **more):
    return judged(name, {"code": code, "msg": text} | more, status)


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


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_the_answer_is_it_is_an_outcome_of_numbers_that_fit(data):
    name = data.draw(st.sampled_from(sorted(CALLS)))
    whole = CALLS[name][1]
    for _ in range(data.draw(st.integers(1, 2))):
        whole = put(whole, data.draw(st.sampled_from(list(places(whole)))), data.draw(STRANGE))
    body = json.dumps(whole).encode()
    body = body[: data.draw(st.sampled_from((len(body), len(body) // 2)))]
    status = data.draw(st.sampled_from((200, 200, 400, 403, 500)))
    outcome = WORDS.judge(CALLS[name][0], Reply(status, {}, body))
    assert isinstance(outcome, Done | Refused | Unknown)
    if isinstance(outcome, Done):
        value = outcome.value
        check_fits(value.rows if isinstance(value, Page) else value if isinstance(value, list) else ())
        assert name not in ("time", "cash") or -(2**63) <= value < 2**63
        assert name not in ("place", "replace", "key") or isinstance(value, str)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_the_stream_says_is_read_or_refused(data):
    whole = {"subscriptionId": 0, "event": EVENT}
    whole = put(whole, data.draw(st.sampled_from(list(places(whole)))), data.draw(STRANGE))
    try:
        told = WORDS.read(json.dumps(whole).encode())
    except ValueError:
        return
    assert isinstance(told, Told)
    check_fits(told.rows)


@pytest.mark.parametrize("text", [b"", b"\xff", b"[", b"[" * 200_000, b'"\\ud800"', b"0", b'{"code":[]}', b"<html>"])
def test_what_is_no_answer_proves_nothing(text):
    for name in CALLS:
        assert isinstance(judged(name, text), Unknown)
        assert isinstance(judged(name, text, 400), Unknown)
        assert all(judged(name, text, status) == Refused(e.VENUE_RATE) for status in (403, 418, 429))
    with pytest.raises(ValueError, match="cannot be read"):
        WORDS.read(text)


def test_a_refusal_counts_where_the_venues_word_is_clear_and_nothing_does_that_comes_with_a_failure_of_its_own():
    for code, text, expected in (
        (-1021, "Timestamp for this request is outside of the recvWindow.", e.VENUE_TIME),
        (-2010, "Account has insufficient balance for requested action.", e.VENUE_BALANCE),
        (-2010, "Duplicate order sent.", e.VENUE_DUPLICATE_ID),
        (-2010, "Order would immediately match and take.", e.VENUE_POST_ONLY),
        (-2010, "Order would trigger immediately.", e.VENUE_STOP_WOULD_TRIGGER),
        (-2010, "Something nobody has heard of.", e.VENUE_BAD_REQUEST),
        (-1013, "Filter failure: NOTIONAL", e.VENUE_TOO_SMALL),
        (-1013, "Filter failure: MAX_NUM_ALGO_ORDERS", e.VENUE_TOO_MANY_ORDERS),
        (-1013, "Market is closed.", e.VENUE_NO_MARKET),
        (-1102, "Mandatory parameter", e.VENUE_BAD_REQUEST),
        (-2015, "Invalid API-key, IP, or permissions for action.", e.VENUE_KEY),
        (-1022, "Signature for this request is not valid.", e.VENUE_KEY),
        (-2013, "Order does not exist.", e.VENUE_UNKNOWN_ORDER),
    ):  # fmt: skip
        assert refused("place", code, text) == Refused(expected), text
        assert isinstance(refused("place", code, text, 503), Unknown)
    assert refused("cancel", -2011, "Unknown order sent.") == Refused(e.VENUE_UNKNOWN_ORDER)
    assert refused("place", -1003, "Too many requests", 429) == Refused(e.VENUE_RATE)
    assert refused("place", -1015, "Too many new orders", 429) == Refused(e.VENUE_RATE)
    assert refused("order", -2013) == Done(None)
    for code in (-1000, -1001, -1006, -1007, -1008, 0, -9_999):
        assert isinstance(refused("place", code), Unknown)
    assert isinstance(WORDS.judge(CALLS["place"][0], Reply(0, {}, b"", "cut")), Unknown)


def test_of_an_order_in_the_place_of_another_the_new_one_counts():
    def half(cancel, new, response, gone=None):
        return {"cancelResult": cancel, "newOrderResult": new, "newOrderResponse": response, "cancelResponse": gone}

    broke = {"code": -2010, "msg": "Account has insufficient balance for requested action."}
    unknown = {"code": -2011, "msg": "Unknown order sent."}
    assert refused("replace", -2021, "", 409, data=half("FAILURE", "SUCCESS", PLACED, unknown)) == Done("BTCUSDT:7")
    assert refused("replace", -2021, "", 409, data=half("SUCCESS", "FAILURE", broke)) == Refused(e.VENUE_BALANCE)
    assert refused("replace", -2022, "", 400, data=half("FAILURE", "FAILURE", broke, unknown)) == Refused(
        e.VENUE_BALANCE
    )
    nothing = half("FAILURE", "NOT_ATTEMPTED", None, unknown)
    assert refused("replace", -2022, "", 400, data=nothing) == Refused(e.VENUE_UNKNOWN_ORDER)
    assert isinstance(refused("replace", -2021, "", 409), Unknown)
    assert judged("replace", {"newOrderResponse": PLACED}) == Done("BTCUSDT:7")


def test_an_answer_that_speaks_of_another_order_proves_nothing():
    assert judged("place", PLACED) == Done("BTCUSDT:7")
    assert isinstance(judged("place", PLACED | {"clientOrderId": "b"}), Unknown)
    assert isinstance(judged("cancel", PLACED | {"origClientOrderId": "b"}), Unknown)


def test_what_is_held_is_whole_lots_and_a_rest_and_locked_coins_are_held_too():
    assert judged("positions", ACCOUNT) == Done([PositionRow(0, 60_000, 0, 1)])
    assert judged("cash", ACCOUNT) == Done(300_000_001)
    assert judged("positions", {"balances": []}) == Done([]) and judged("cash", {"balances": []}) == Done(0)


def test_fees_are_all_that_is_taken_of_the_dearer_side():
    assert judged("fees", FEES) == Done((1_210, 1_310))
    for spoilt in (
        {"symbol": "ETHUSDT"},
        {"standardCommission": FEES["taxCommission"] | {"maker": "2"}},
        {"taxCommission": {}},
    ):
        assert isinstance(judged("fees", FEES | spoilt), Unknown), spoilt


def test_a_fee_is_of_the_coin_of_the_quote_or_of_a_third_asset():
    def fees(**fields):
        (row,) = judged("trades", [TRADE | fields]).value.rows
        return row.fee_e8, row.coin_fee_e8

    assert fees() == (0, 50_000)
    assert fees(commissionAsset="USDT", commission="30", isBuyer=False) == (3_000_000_000, 0)
    assert fees(commissionAsset="BNB", commission="0.03") == (60_000 * 50_000_000 // 1_000, 0), "no less than it cost"
    assert fees(commissionAsset="BNB", commission="0") == (0, 0)
    told = WORDS.read(json.dumps({"subscriptionId": 0, "event": EVENT}).encode())
    assert (told.rows[0].coin_fee_e8, told.rows[0].link, told.rows[0].venue_id) == (50_000, LINK, "BTCUSDT:7")
    assert (told.rows[1].status, told.rows[1].cum_lots, LOT_E8) == (e.REPORT_FILL, 50_000, 1_000)


def test_an_order_that_was_taken_back_keeps_its_name_on_the_stream():
    event = EVENT | {"x": "CANCELED", "X": "CANCELED", "c": "of the request", "C": LINK}
    (row,) = WORDS.read(json.dumps({"subscriptionId": 0, "event": event}).encode()).rows
    assert (row.link, row.status) == (LINK, e.REPORT_CANCELED)
    other = json.dumps({"subscriptionId": 0, "event": EVENT | {"s": "ETHUSDT"}}).encode()
    assert WORDS.read(other) == Told()
    assert WORDS.read(b'{"event":{"e":"eventStreamTerminated"}}').refused
    assert WORDS.read(b'{"id":"subscribe","status":200,"result":{"subscriptionId":0}}') == Told(answered="subscribe")
    assert "subscribe: no" in WORDS.read(b'{"id":"subscribe","status":401,"error":{"code":1,"msg":"no"}}').refused


def test_a_key_that_can_move_money_or_may_not_trade_is_refused():
    assert judged("key", RIGHTS) == Done("")
    for fields, expected in (
        ({"enableWithdrawals": True}, "can move money away (enableWithdrawals)"),
        ({"permitsUniversalTransfer": True}, "can move money away (permitsUniversalTransfer)"),
        ({"ipRestrict": False}, "not bound to an address"), ({"enableSpotAndMarginTrading": False}, "may not trade"),
    ):  # fmt: skip
        assert expected in judged("key", RIGHTS | fields).value
    assert "does not say what the key may do" in refused("key", -5000, "Path is invalid", 404).value


def test_lists_go_on_from_symbol_to_symbol_and_trades_by_number():
    rows = spot_row()
    two = BinancePrivate(Keys("k", SECRET), "https://v:1", ["ETHUSDT", "BTCUSDT"], rows[[0, 0]], "USDT")
    call = two.ask_open("")
    assert "symbol=ETHUSDT" in call.payload
    assert two.judge(call, Reply(200, {}, b"[]")) == Done(Page((), "1"))
    assert two.judge(two.ask_open("1"), Reply(200, {}, b"[]")) == Done(Page((), ""))
    full = [TRADE | {"id": number} for number in range(1_000)]
    page = two.judge(two.ask_trades(0, 1, "", "1"), Reply(200, {}, json.dumps(full).encode())).value
    assert page.cursor == "1:1000" and [int(row.key) for row in page.rows] == list(range(999, -1, -1))
    assert "fromId=1000" in two.ask_trades(0, 1, "", page.cursor).payload
    whole = BinancePrivate(Keys("k", SECRET), "https://v:1", ["BTCUSDT"], rows, "USDT", whole=True)
    other = ORDER | {"symbol": "XRPUSDC", "price": "0.5"}
    page = whole.judge(whole.ask_open(""), Reply(200, {}, json.dumps([ORDER, other]).encode())).value
    assert [row.instrument for row in page.rows] == [0, 1] and whole.symbols == ["BTCUSDT", "XRPUSDC"]


def test_a_row_that_cannot_be_read_counts_where_it_is_ours():
    outcome = judged("open", [ORDER, ORDER | {"price": "60000.005"}])
    assert isinstance(outcome, Unknown) and "BTCUSDT" in outcome.reason
    assert isinstance(judged("open", {}), Unknown) and isinstance(judged("order", ORDER | {"symbol": "X"}), Unknown)


def test_how_long_the_venue_wants_nothing():
    assert WORDS.pause_s(Reply(429, {"retry-after": "7"}, b"")) == 7.0
    assert WORDS.pause_s(Reply(418, {}, b"")) > WORDS.pause_s(Reply(429, {}, b"")) > 0.0
    assert WORDS.pause_s(Reply(200, {"retry-after": "7"}, b"")) == WORDS.pause_s(Reply(400, {}, b"")) == 0.0


def test_requests_are_signed_by_either_kind_of_key_and_say_how_long_they_are_good():
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode().splitlines()
    other = BinancePrivate(Keys("k", "".join(pem[1:-1])), "https://v:1", ["BTCUSDT"], spot_row(), "USDT")
    for words in (WORDS, other):
        line, *heads = words.sign(words.place(MARKET, LINK), 1_700_000_000_000).split(b"\r\n")
        method, target, _ = line.decode().split()
        query, _, signature = target.partition("?")[2].partition("&signature=")
        fields = dict(parse_qsl(query))
        assert method == "POST" and fields["recvWindow"] == "2000" and fields["timestamp"] == "1700000000000"
        assert fields["newClientOrderId"] == LINK and len(LINK) <= 36 and b"Content-Length: 0" in heads
        if words is WORDS:
            assert signature == hmac.digest(SECRET.encode(), query.encode(), "sha256").hex()
        else:
            private.public_key().verify(base64.b64decode(unquote(signature)), query.encode())
    assert SECRET not in repr(WORDS._sign) and b"signature" not in WORDS.sign(WORDS.ask_time(), 1)
