"""What an answer of ccxt's process proves, and which numbers are taken."""

import json

import numpy as np
import pytest

from bot4.adapters.ccxt.private import CcxtPrivate
from bot4.adapters.ccxt.words import BybitLinear
from bot4.model import enums as e
from bot4.model.intent import OrderIntent
from bot4.model.records import INSTRUMENT
from bot4.ports.gateway import Reply
from bot4.ports.venue import Done, Refused, Unknown

SYMBOL = "BTCUSDT"
ORDER = {
    "link": "7" * 32, "venue_id": "v1", "symbol": SYMBOL, "side": "buy", "type": "limit", "status": "open", "end": "",
    "price": "60000.1", "stop": "", "qty": "0.003", "filled": "0", "is_triggered": False, "reduce_only": False,
    "updated_ms": 1_700_000_000_000, "made_ms": 1_700_000_000_000,
}  # fmt: skip
TRADE = {
    "what": "trade", "key": "t1", "link": "7" * 32, "symbol": SYMBOL, "side": "sell", "price": "60000.1",
    "qty": "0.003", "fee": "0.123456781", "fee_in": "USDT", "time_ms": 1_700_000_000_000,
}  # fmt: skip


@pytest.fixture
def private():
    row = np.zeros(1, INSTRUMENT)
    row["tick_e8"], row["lot_e8"], row["value_e8"] = 10_000_000, 100_000, 10_000
    return CcxtPrivate(BybitLinear, [SYMBOL], row)


def answered(private, call, done):
    return private.judge(call, Reply(200, {}, json.dumps({"done": done}).encode()))


def raised(private, call, *bases, text="", sent=True):
    body = {"raised": {"bases": bases, "text": text, "sent": sent}}
    return private.judge(call, Reply(200, {}, json.dumps(body).encode()))


def an_order():
    return OrderIntent(
        action=e.ACTION_PLACE, instrument=0, side=1, type=e.TYPE_LIMIT, tif=e.TIF_IOC, qty_lots=3, price_ticks=600_001
    )


def test_an_order_is_said_in_exact_decimals(private):
    call = private.place(an_order(), "7" * 32)
    asked = json.loads(private.sign(call, 5))
    assert asked["now_ms"] == 5 and asked["name"] == "place"
    said = asked["arguments"]
    assert (said["qty"], said["price"], said["stop"], said["tif"]) == ("0.003", "60000.1", "", "IOC")


@pytest.mark.parametrize(
    ("bases", "text", "code"),
    [
        (("InsufficientFunds", "ExchangeError"), "", e.VENUE_BALANCE),
        (("OrderImmediatelyFillable", "InvalidOrder", "ExchangeError"), "", e.VENUE_POST_ONLY),
        (("AccountNotEnabled", "PermissionDenied", "AuthenticationError", "ExchangeError"), "", e.VENUE_KEY),
        (("InvalidNonce", "NetworkError", "OperationFailed"), "", e.VENUE_TIME),
        (("RateLimitExceeded", "NetworkError"), "", e.VENUE_RATE),
        (("ExchangeError",), 'bybit {"retCode":110093,"retMsg":"x"}', e.VENUE_STOP_WOULD_TRIGGER),
        (("BadRequest",), 'bybit {"retCode":10001,"retMsg":"Qty invalid"}', e.VENUE_FILTER),
        (("BadRequest",), 'bybit {"retCode":10001,"retMsg":"side"}', e.VENUE_BAD_REQUEST),
    ],
)
def test_what_proves_that_an_order_was_refused(private, bases, text, code):
    assert raised(private, private.place(an_order(), "7" * 32), *bases, text=text) == Refused(code)


@pytest.mark.parametrize(
    "bases",
    [
        ("RequestTimeout", "NetworkError", "OperationFailed"), ("ExchangeNotAvailable", "NetworkError"),
        ("DDoSProtection", "NetworkError"), ("ExchangeError",), ("BadResponse", "OperationFailed"),
        ("OperationRejected", "ExchangeError"), ("OrderNotFound", "InvalidOrder"), ("NotSentError",), ("KeyError",), (),
    ],
)  # fmt: skip
def test_what_proves_nothing_once_something_has_gone_out(private, bases):
    assert isinstance(raised(private, private.place(an_order(), "7" * 32), *bases), Unknown)


def test_what_has_not_gone_out_is_refused_whatever_was_raised(private):
    call = private.place(an_order(), "7" * 32)
    assert raised(private, call, "KeyError", sent=False) == Refused(e.VENUE_BAD_REQUEST)
    assert isinstance(private.judge(call, Reply(0, {}, b"", "ccxt's process hangs")), Unknown)


def test_an_order_that_is_gone_is_told_for_what_takes_it_back_alone(private):
    assert raised(private, private.cancel(0, "7" * 32), "OrderNotFound") == Refused(e.VENUE_UNKNOWN_ORDER)
    unchanged = 'bybit {"retCode":10001,"retMsg":"order remains unchanged"}'
    assert raised(private, private.amend(0, "7" * 32, 3, 0), "BadRequest", text=unchanged) == Done(None)


def test_numbers_are_texts_and_multiples_or_the_list_is_none(private):
    call = private.ask_open("")
    outcome = answered(private, call, {"rows": [ORDER], "cursor": ""})
    (row,) = outcome.value.rows
    assert (row.price_ticks, row.qty_lots, row.cum_lots, row.status) == (600_001, 3, 0, e.REPORT_ACK)
    for field, value in (
        ("price", "60000.15"), ("price", 60000.5), ("qty", "NaN"), ("qty", "-0.001"), ("filled", "0.0001"),
        ("status", "pending"), ("side", ""), ("updated_ms", None), ("updated_ms", 10**20), ("link", None),
    ):  # fmt: skip
        assert isinstance(answered(private, call, {"rows": [ORDER | {field: value}], "cursor": ""}), Unknown), field
    other = ORDER | {"symbol": "ETHUSDT", "qty": "what"}
    assert len(answered(private, call, {"rows": [other, ORDER], "cursor": ""}).value.rows) == 1


def test_fees_are_rounded_against_us_and_in_our_currency(private):
    call = private.ask_trades(0, 1, "", "")
    (trade,) = answered(private, call, {"rows": [TRADE], "cursor": ""}).value.rows
    assert (trade.fee_e8, trade.side, trade.qty_lots) == (12_345_679, -1, 3)
    assert isinstance(answered(private, call, {"rows": [TRADE | {"fee_in": "BTC"}], "cursor": ""}), Unknown)
    for body in (b"", b"[]", b'{"done":5}', b'{"done":{"rows":5,"cursor":""}}', b'{"done":{"rows":[5],"cursor":""}}'):
        assert isinstance(private.judge(call, Reply(200, {}, body)), Unknown), body


@pytest.mark.parametrize(
    ("end", "status", "code"),
    [("post_only", e.REPORT_REJECT, e.VENUE_POST_ONLY), ("expired", e.REPORT_EXPIRED, 0), ("", e.REPORT_CANCELED, 0)],
)
def test_why_an_order_has_ended(private, end, status, code):
    row = ORDER | {"status": "canceled", "end": end}
    (found,) = answered(private, private.ask_open(""), {"rows": [row], "cursor": ""}).value.rows
    assert (found.status, found.code) == (status, code)


def test_two_sides_at_once_are_no_position_that_can_be_read(private):
    row = {"symbol": SYMBOL, "side": "short", "qty": "0.003", "cost": "180.0003", "is_hedged": False}
    (held,) = answered(private, private.ask_positions(), [row]).value
    assert (held.lots, held.cost_tl) == (-3, -1_800_003)
    assert isinstance(answered(private, private.ask_positions(), [row | {"is_hedged": True}]), Unknown)


def test_markets_have_to_be_those_of_the_settings(private):
    market = {"tick_size": "0.1", "lot_size": "0.001", "contract": "1", "quote": "USDT"}
    assert private.differs({SYMBOL: market}) == ""
    assert private.differs({SYMBOL: market | {"lot_size": "0.0001"}}) == ""  # ours is a multiple of it
    for field, value, said in (
        ("tick_size", "0.01", 'tick_size: 0.1 is not ccxt\'s; write "0.01"'),
        ("lot_size", "0.01", 'lot_size: 0.001 is not ccxt\'s; write "0.01"'),
        ("contract", "10", "a contract of ccxt's is 10"),
        ("quote", "USDC", "it settles in USDC"),
    ):
        assert said in private.differs({SYMBOL: market | {field: value}})
    assert "ccxt knows no such linear market" in private.differs({})


def test_the_stream_speaks_of_orders_trades_and_itself(private):
    assert private.read(b'{"answered":"subscribe"}').answered == "subscribe"
    told = private.read(json.dumps({"what": "trades", "rows": [TRADE]}).encode())
    assert [row.key for row in told.rows] == ["t1"]
    for text in (b"", b"{}", b"[]", b'{"what":"orders","rows":[{}]}', b'{"what":"orders"}'):
        with pytest.raises(ValueError, match="cannot be read"):
            private.read(text)


def test_a_pause_is_as_long_as_the_venue_says(private):
    said = {"raised": {"bases": ["RateLimitExceeded"], "text": "", "sent": True}}
    body = json.dumps(said, separators=(",", ":")).encode()
    assert private.pause_s(Reply(429, {"retry-after": "7"}, body)) == 7.0
    assert private.pause_s(Reply(200, {}, body)) == 1.0
    assert private.pause_s(Reply(200, {}, b'{"done":""}')) == 0.0
    assert (
        private.pause_s(Reply(403, {}, body)) == 600.0
        and private.pause_s(Reply(403, {"retry-after": "9"}, body)) == 9.0
    )


def test_the_stream_tells_of_other_markets_too():
    assert BybitLinear.is_ours({"category": "linear"}) and BybitLinear.is_ours({})
    assert not BybitLinear.is_ours({"category": "spot"}) and not BybitLinear.is_ours({"category": "inverse"})
