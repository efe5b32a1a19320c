"""Kraken's messages as events: as the venue documents and sends them, with the recordings where they are present."""

import contextlib
import gzip
import json
import time
from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4.adapters.kraken import fields
from bot4.adapters.kraken.parse import KrakenV1, KrakenV2, book_checksum
from bot4.adapters.kraken.symbols import parse_asset_pairs
from bot4.model.errors import InputError
from bot4.ports.feed import REASONS, Bar, BookChange, Decoder, Instrument, Message, MessageError, Quote, Status, Trade

D = Decimal
TIME = "2023-10-06T17:35:55.440295Z"
TIME_NS = 1_696_613_755_440_295_000
SECONDS = "1618678133.365913"
SECONDS_NS = 1_618_678_133_365_913_000

# The venue's documented example of version 2's check sum
ASKS = """
45285.2 0.00100000 45286.4 1.54571953 45286.6 1.54571109 45289.6 1.54560911 45290.2 0.15890660 45291.8 1.54553491
45294.7 0.04454749 45296.1 0.35380000 45297.5 0.09945542 45299.5 0.18772827"""
BIDS = """
45283.5 0.10000000 45283.4 1.54582015 45282.1 0.10000000 45281.0 0.10000000 45280.3 1.54592586 45279.0 0.07990000
45277.6 0.03310103 45277.5 0.30000000 45277.3 1.54602737 45276.6 0.15445238"""
DOCUMENTED_SUM = 3310070434

BTC = Instrument("BTC/USD", "BTC", "USD", "spot", "trading", D("0.1"), D("0.00000001"), D("0.0001"), None, None, D(1))


def _pairs(text):
    words = text.split()
    return list(zip(words[::2], words[1::2], strict=True))


def _decimals(text):
    return [(D(price), D(qty)) for price, qty in _pairs(text)]


def _json_levels(pairs):
    return "[" + ",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in pairs) + "]"


def _book2(bids=(("45283.5", "0.10000000"),), asks=(), kind="update", checksum="7", symbol="BTC/USD", extra=""):
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{symbol}","bids":{_json_levels(bids)},'
        f'"asks":{_json_levels(asks)},"checksum":{checksum},"timestamp":"{TIME}"{extra}}}]}}'
    ).encode()


BOOK2 = _book2(asks=(("45285.2", "0.00100000"), ("45286.4", "0")), kind="snapshot")
TRADE2 = (
    '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":105944.20,"qty":0.00027625,'
    f'"ord_type":"limit","trade_id":10218208,"timestamp":"{TIME}"}},{{"symbol":"BTC/USD","side":"sell","price":1e5,'
    f'"qty":2,"ord_type":"market","trade_id":10218209,"timestamp":"{TIME}"}}]}}'
).encode()
TICKER2 = (
    '{"channel":"ticker","type":"snapshot","data":[{"symbol":"BTC/USD","bid":105944.20,"bid_qty":2.5,"ask":105944.30,'
    f'"ask_qty":3.2,"last":105899.40,"timestamp":"{TIME}"}}]}}'
).encode()
OHLC2 = (
    b'{"channel":"ohlc","type":"update","timestamp":"2023-10-06T17:35:55.440295001Z","data":[{"symbol":"BTC/USD",'
    b'"interval":5,"interval_begin":"2023-10-06T17:35:00.000000000Z","open":106038.2,"high":106044.3,"low":106038.1,'
    b'"close":106040.1,"volume":0,"vwap":106039.6,"trades":12}]}'
)
SNAPSHOT1 = (
    f'[992,{{"as":[["354.80000000","1.40000000","{SECONDS}"]],"bs":[["354.10000000","2.00000000","{SECONDS}"]]}},'
    '"book-1000","XMR/USD"]'
).encode()
UPDATE1 = (
    f'[992,{{"a":[["354.90000000","0.00000000","{SECONDS}"]]}},{{"b":[["354.15000000","5.00000000","{SECONDS}","r"]],'
    '"c":"2583817756"},"book-1000","XMR/USD"]'
).encode()
TRADE1 = (
    f'[993,[["354.11000000","0.89594024","{SECONDS}","s","l",""],["354.12","1","{SECONDS}","b","m",""]],"trade",'
    '"XMR/USD"]'
).encode()
TICKER1 = b'[996,{"a":["355.24","27","27.19106411"],"b":["354.32",6,"6.87748868"]},"ticker","XMR/USD"]'
SPREAD1 = f'[0,["5698.40000","5700.00000","{SECONDS}","1.01234567","0.98765432"],"spread","XBT/USD"]'.encode()
OHLC1 = (
    b'[42,["1542057314.748456","1542057360.000000","3586.7","3586.8","3586.5","3586.6","3586.6","0.03373000",2],'
    b'"ohlc-5","XBT/USD"]'
)
V2 = [BOOK2, TRADE2, TICKER2, OHLC2]
V1 = [SNAPSHOT1, UPDATE1, TRADE1, TICKER1, SPREAD1, OHLC1]


def _refused(decoder, body):
    with pytest.raises(MessageError) as error:
        decoder.decode(body)
    assert error.value.reason in REASONS and "\n" not in str(error.value)
    return error.value


def test_both_decoders_keep_the_promise():
    decoders: list[Decoder] = [KrakenV1(), KrakenV2()]
    assert {decoder.venue for decoder in decoders} == {"kraken"}


def test_a_depth_that_nobody_tells_is_the_least_that_the_snapshot_needs():
    decoder = KrakenV2(depth=0)
    for symbol, levels, depth in (
        ("BTC/USD", 12, 25),
        ("ETH/USD", 3, 10),
        ("SOL/USD", 100, 100),
        ("XBT/USD", 101, 500),
    ):
        bids = tuple((f"{1_000 - number}.0", "1") for number in range(levels))
        for body in (_book2(bids, kind="snapshot", symbol=symbol), _book2(symbol=symbol)):
            assert decoder.decode(body).events[0].depth == depth


def test_version_2_tells_books_trades_quotes_and_bars():
    decoder = KrakenV2(depth=25)
    book = BookChange(
        "BTC/USD",
        True,
        [(D("45283.5"), D("0.10000000"))],
        [(D("45285.2"), D("0.00100000")), (D("45286.4"), D(0))],
        None,
        None,
        TIME_NS,
        False,
        7,
        25,
    )
    assert decoder.decode(BOOK2) == Message("book", [book])
    assert str(decoder.decode(BOOK2).events[0].bids[0][1]) == "0.10000000"
    trades = [
        Trade("BTC/USD", D("105944.20"), D("0.00027625"), 1, "10218208", TIME_NS),
        Trade("BTC/USD", D(100000), D(2), -1, "10218209", TIME_NS),
    ]
    assert decoder.decode(TRADE2) == Message("trade", trades)
    assert decoder.decode(TRADE2.replace(b"update", b"snapshot")) == Message("trade.snapshot")
    quote = Quote("BTC/USD", D("105944.20"), D("2.5"), D("105944.30"), D("3.2"), None, TIME_NS)
    assert decoder.decode(TICKER2) == Message("ticker", [quote])
    bar = Bar(
        "BTC/USD",
        TIME_NS - 55_440_295_000,
        300 * 10**9,
        D("106038.2"),
        D("106044.3"),
        D("106038.1"),
        D("106040.1"),
        D(0),
        False,
        TIME_NS + 1,
    )
    assert decoder.decode(OHLC2) == Message("ohlc", [bar], None, TIME_NS + 1)


def test_a_side_without_orders_has_no_quote():
    for gone in (b'"bid":105944.20,', b'"ask_qty":3.2,'):
        assert KrakenV2().decode(TICKER2.replace(gone, b"")) == Message("ticker", [])
    assert KrakenV2().decode(TICKER2.replace(b"2.5", b"null")) == Message("ticker", [])


@pytest.mark.parametrize("word", ["online", "maintenance", "cancel_only", "post_only"])
def test_the_engines_status_is_of_the_whole_venue(word):
    body = f'{{"channel":"status","data":[{{"api_version":"v2","connection_id":1,"system":"{word}"}}],"type":"update"}}'
    assert KrakenV2().decode(body.encode()) == Message("status", [Status("", word == "online", word, 0)])


def test_only_the_status_of_a_pair_is_read():
    pairs = (
        '{"symbol":"BTC/USD","base":"BTC","status":"online","qty_min":0.0001}',
        '{"symbol":"EUR/USD","status":"delisted"}',
    )
    body = (
        f'{{"channel":"instrument","type":"snapshot","data":{{"assets":[{{"id":"USD"}}],"pairs":[{",".join(pairs)}]}}}}'
    )
    events = [Status("BTC/USD", True, "online", 0), Status("EUR/USD", False, "delisted", 0)]
    assert KrakenV2().decode(body.encode()) == Message("instrument", events)
    assert KrakenV2().decode(b'{"channel":"instrument","type":"update","data":{}}') == Message("instrument", [])
    for broken in (body.replace('"symbol":"BTC/USD"', '"symbol":""'), body.replace('"status":"online",', "")):
        with pytest.raises(MessageError):
            KrakenV2().decode(broken.encode())


def test_version_2_without_market_data():
    decoder = KrakenV2()
    assert decoder.decode(b'{"channel":"heartbeat"}') == Message("heartbeat")
    pong = f'{{"method":"pong","req_id":42,"time_in":"{TIME}","time_out":"{TIME}"}}'.encode()
    assert decoder.decode(pong) == Message("pong", (), None, TIME_NS)
    refusal = b'{"error":"Currency pair not supported","method":"subscribe","success":false}'
    assert decoder.decode(refusal) == Message("subscribe.error")
    assert decoder.decode(b'{"error":"Malformed request","success":false}') == Message("error")


def test_the_order_of_keys_and_blanks_do_not_matter():
    message = json.loads(BOOK2, parse_float=D)
    reordered = b'{ "data" : ' + json.dumps(message["data"], default=float).encode() + b', "type": "snapshot"'
    assert KrakenV2().decode(reordered + b', "channel":\n"book"}').events == KrakenV2().decode(BOOK2).events
    assert KrakenV2().decode(b'\n {\t"channel" : ' + BOOK2[11:]) == KrakenV2().decode(BOOK2)
    for body in V2:
        twice = body.replace(b',"type"', b',"channel":"level3","type"')
        assert _refused(KrakenV2(), twice).reason == "unknown_type"


def test_version_1_tells_books_trades_quotes_and_bars():
    decoder = KrakenV1()
    snapshot = BookChange(
        "XMR/USD", True, [(D("354.10000000"), D(2))], [(D("354.8"), D("1.4"))], None, None, SECONDS_NS, depth=1000
    )
    assert decoder.decode(SNAPSHOT1) == Message("book", (snapshot,))
    update = BookChange(
        "XMR/USD",
        False,
        [(D("354.15"), D(5))],
        [(D("354.9"), D(0))],
        None,
        None,
        SECONDS_NS,
        checksum=2583817756,
        depth=1000,
    )
    assert decoder.decode(UPDATE1) == Message("book", (update,))
    one = UPDATE1.replace(b"]]},{", b"]],")
    assert decoder.decode(one) == decoder.decode(UPDATE1)
    assert str(decoder.decode(UPDATE1).events[0].bids[0][0]) == "354.15000000"
    assert decoder.decode(TRADE1).events == [
        Trade("XMR/USD", D("354.11"), D("0.89594024"), -1, "", SECONDS_NS),
        Trade("XMR/USD", D("354.12"), D(1), 1, "", SECONDS_NS),
    ]
    quote = Quote("XMR/USD", D("354.32"), D("6.87748868"), D("355.24"), D("27.19106411"), None, 0)
    assert decoder.decode(TICKER1) == Message("ticker", (quote,))
    spread = Quote("XBT/USD", D("5698.4"), D("1.01234567"), D("5700"), D("0.98765432"), None, SECONDS_NS)
    assert decoder.decode(SPREAD1) == Message("spread", (spread,))
    begin = 1_542_057_060 * 10**9
    bar = Bar(
        "XBT/USD",
        begin,
        300 * 10**9,
        D("3586.7"),
        D("3586.8"),
        D("3586.5"),
        D("3586.6"),
        D("0.03373"),
        False,
        1_542_057_314_748_456_000,
    )
    assert decoder.decode(OHLC1) == Message("ohlc", (bar,))


def test_version_1_without_market_data():
    decoder = KrakenV1()
    for event in ("heartbeat", "subscriptionStatus", "pong", "error"):
        assert decoder.decode(f'{{"event":"{event}","status":"online"}}'.encode()) == Message(event)
    refusal = b'{"event":"subscriptionStatus","status":"error","errorMessage":"Currency pair not supported"}'
    assert decoder.decode(refusal) == Message("subscriptionStatus.error")


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        (b'"bs":', b'"b":'),
        (b'"as":', b'"a":'),
        (b'"as":[["354.80000000","1.40000000","1618678133.365913"]],', b""),
        (b'"bs":', b'"x":'),
        (b'"as":[[', b'"as":null,"x":[['),
    ],
)
def test_a_book_of_version_1_is_whole_or_a_change(bad, good):
    assert _refused(KrakenV1(), SNAPSHOT1.replace(bad, good)).reason == "bad_field"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b',"c":"2583817756"', b"", "bad_field"),
        (b'"c":"2583817756"', b'"c":2583817756', "bad_field"),
        (b"2583817756", b"4294967296", "bad_number"),
        (b"2583817756", b"-1", "bad_number"),
        (b"2583817756", b"", "bad_number"),
        (b',"r"', b',"r",1', "bad_field"),
        (b"book-1000", b"book-0", "zero"),
        (b"book-1000", b"book", "unknown_type"),
        (b"XMR/USD", b"", "bad_field"),
        (b',"XMR/USD"', b"", "bad_field"),
        (b'"c":"2583817756"}', b'"c":"2583817756"},{"b":[],"c":"1"}', "bad_field"),
    ],
)
def test_what_a_book_of_version_1_must_have(old, new, reason):
    assert _refused(KrakenV1(), UPDATE1.replace(old, new)).reason == reason


def test_the_documented_check_sum():
    asks, bids = _decimals(ASKS), _decimals(BIDS)
    assert book_checksum(bids, asks) == DOCUMENTED_SUM
    deeper = [(D("45276.5"), D(1))], [(D("45300.0"), D(1))]
    assert KrakenV1().checksum(bids + deeper[0], asks + deeper[1]) == DOCUMENTED_SUM
    message = _book2(_pairs(BIDS), _pairs(ASKS), "snapshot", str(DOCUMENTED_SUM))
    change = KrakenV2().decode(message).events[0]
    assert KrakenV2().checksum(change.bids, change.asks) == change.checksum == DOCUMENTED_SUM


def test_the_check_sum_needs_the_precision_where_zeros_are_left_out():
    def short(pairs):
        return [tuple(f"{D(value).normalize():f}" for value in pair) for pair in pairs]

    message = _book2(short(_pairs(BIDS)), short(_pairs(ASKS)), "snapshot", str(DOCUMENTED_SUM))
    as_sent = KrakenV2().decode(message).events[0]
    assert book_checksum(as_sent.bids, as_sent.asks) != DOCUMENTED_SUM
    change = KrakenV2([BTC]).decode(message).events[0]
    assert change == as_sent, "the values are the same"
    assert book_checksum(change.bids, change.asks) == DOCUMENTED_SUM
    finer = _book2([("45283.55", "0.123456789")])
    assert KrakenV2([BTC]).decode(finer).events[0].bids == [(D("45283.55"), D("0.123456789"))], "never rounded"


def test_a_depth_that_cannot_be_subscribed_is_refused():
    with pytest.raises(InputError, match="depth"):
        KrakenV2(depth=20)


def _spoilt(body, path, value):
    """The message with the value at a path replaced; a path's last part may be absent."""
    message = json.loads(body)
    here = message
    for part in path[:-1]:
        here = here[part]
    here[path[-1]] = value
    return json.dumps(message).encode()


STRANGE = ["NaN", "Infinity", "-1", "", "1_0", " 1", "1e5", "٣", True, None, -1, -0.5, 0, [], {}, "x" * 300]
NUMBERS2 = [(body, path) for body, paths in (
    (BOOK2, [("data", 0, "bids", 0, "price"), ("data", 0, "asks", 0, "qty"), ("data", 0, "checksum")]),
    (TRADE2, [("data", 1, "price"), ("data", 0, "qty"), ("data", 0, "trade_id")]),
    (TICKER2, [("data", 0, key) for key in ("bid", "bid_qty", "ask", "ask_qty")]),
    (OHLC2, [("data", 0, key) for key in ("interval", "open", "high", "low", "close", "volume")]),
) for path in paths]  # fmt: skip
TEXTS1 = [(body, path) for body, paths in (
    (SNAPSHOT1, [(1, "as", 0, 0), (1, "bs", 0, 1)]),
    (UPDATE1, [(1, "a", 0, 0), (2, "b", 0, 1)]),
    (TRADE1, [(1, 0, 0), (1, 1, 1)]),
    (TICKER1, [(1, "a", 0), (1, "a", 2), (1, "b", 0), (1, "b", 2)]),
    (SPREAD1, [(1, 0), (1, 1), (1, 3), (1, 4)]),
    (OHLC1, [(1, 2), (1, 3), (1, 4), (1, 5), (1, 7)]),
) for path in paths]  # fmt: skip
MAY_BE_ZERO = {"qty", "volume", "checksum", "trade_id"}


@pytest.mark.parametrize(("body", "path"), NUMBERS2)
def test_strange_numbers_of_version_2(body, path):
    key = path[-1]
    for value in STRANGE:
        spoilt = _spoilt(body, path, value)
        if value is None and body is TICKER2:
            assert KrakenV2().decode(spoilt) == Message("ticker", [])
        elif value == 0 and type(value) is int and key in MAY_BE_ZERO and (body, key) != (TRADE2, "qty"):
            KrakenV2().decode(spoilt)
        else:
            error = _refused(KrakenV2(), spoilt)
            if type(value) is int:
                assert error.reason == ("zero" if value == 0 else "negative"), (path, value)
            elif value != -0.5:
                assert error.reason == "bad_field", (path, value)
            assert key in str(error)
    if key not in ("checksum", "trade_id", "interval"):
        assert _refused(KrakenV2(), _spoilt(body, path, -0.5)).reason == "negative"
        for literal in (b"1e999999", b"1e99999999999999999999", b"1e-61"):
            spoilt = _spoilt(body, path, "LITERAL").replace(b'"LITERAL"', literal)
            assert _refused(KrakenV2(), spoilt).reason == "bad_number"
    for literal in (b"NaN", b"-Infinity", b"01", b"1."):
        spoilt = _spoilt(body, path, "LITERAL").replace(b'"LITERAL"', literal)
        assert _refused(KrakenV2(), spoilt).reason == "unparsable"
    huge = _spoilt(body, path, "LITERAL").replace(b'"LITERAL"', b"9" * 5000)
    assert _refused(KrakenV2(), huge).reason in ("bad_field", "bad_number")


@pytest.mark.parametrize(("body", "path"), TEXTS1)
def test_strange_texts_of_version_1(body, path):
    for value in STRANGE:
        error = _refused(KrakenV1(), _spoilt(body, path, value))
        wanted = ("negative" if value == "-1" else "bad_number") if type(value) is str else "bad_field"
        assert error.reason == wanted, (path, value)
    zero = _spoilt(body, path, "0.000")
    if path[-1] in (1, 7) and body in (SNAPSHOT1, UPDATE1, OHLC1):
        KrakenV1().decode(zero)
    else:
        assert _refused(KrakenV1(), zero).reason == "zero"


@pytest.mark.parametrize(
    ("decoder", "body", "path"),
    [
        (KrakenV2(), BOOK2, ("data", 0, "symbol")),
        (KrakenV2(), BOOK2, ("data", 0, "timestamp")),
        (KrakenV2(), TRADE2, ("data", 0, "side")),
        (KrakenV2(), TRADE2, ("data", 0, "timestamp")),
        (KrakenV2(), TRADE2, ("type",)),
        (KrakenV2(), TICKER2, ("data", 0, "symbol")),
        (KrakenV2(), OHLC2, ("data", 0, "interval_begin")),
        (KrakenV2(), OHLC2, ("timestamp",)),
        (KrakenV1(), SNAPSHOT1, (1, "as", 0, 2)),
        (KrakenV1(), TRADE1, (1, 0, 2)),
        (KrakenV1(), TRADE1, (1, 0, 3)),
        (KrakenV1(), SPREAD1, (1, 2)),
        (KrakenV1(), OHLC1, (1, 1)),
        (KrakenV1(), OHLC1, (3,)),
    ],
)
def test_strange_names_times_and_sides(decoder, body, path):
    moments = ["2023-13-06T17:35:55Z", "1969-12-31T23:59:59Z", "9999-01-01T00:00:00Z", "2023-10-06T24:00:00Z"]
    name = path[-1] in ("symbol", 3) and body in (BOOK2, TICKER2, OHLC1)
    for value in [True, None, 1, [], {}, ""] + ([] if name else ["x", "-1", "NaN", "9999999999", *moments]):
        if (value, path[-1]) == ("", "timestamp") and body is not TRADE2:
            decoder.decode(_spoilt(body, path, value))  # a time that is not sent
        else:
            assert _refused(decoder, _spoilt(body, path, value)).reason == "bad_field", value


@pytest.mark.parametrize("body", V2)
def test_each_missing_key_of_version_2_is_named(body):
    whole = json.loads(body)
    for key in whole["data"][0]:
        part = json.loads(body)
        del part["data"][0][key]
        if key in ("vwap", "trades", "ord_type", "last") or (body in (BOOK2, TICKER2) and key == "timestamp"):
            KrakenV2().decode(json.dumps(part).encode())
        elif body is TICKER2 and key != "symbol":
            assert not KrakenV2().decode(json.dumps(part).encode()).events
        else:
            error = _refused(KrakenV2(), json.dumps(part).encode())
            assert error.reason == "bad_field" and key in str(error)


@pytest.mark.parametrize(
    ("decoder", "body", "reason"),
    [
        (KrakenV2(), b"", "unparsable"),
        (KrakenV2(), b"\xff", "unparsable"),
        (KrakenV2(), b'{"channel":"trade"', "unparsable"),
        (KrakenV2(), b'{"channel":"\xff"}', "unparsable"),
        (KrakenV2(), b'{"a":' + b"[" * 100_000, "unparsable"),
        (KrakenV2(), BOOK2 + b"x", "unparsable"),
        (KrakenV2(), BOOK2.replace(b"BTC", b"\xff"), "unparsable"),
        (KrakenV2(), b"[]", "bad_field"),
        (KrakenV2(), b"{}", "unknown_type"),
        (KrakenV2(), b'{"channel":"level3"}', "unknown_type"),
        (KrakenV2(), b'{"channel":"executions"}', "unknown_type"),
        (KrakenV2(), b'{"method":"add_order","success":true}', "unknown_type"),
        (KrakenV2(), BOOK2.replace(b'"checksum":7', b'"checksum":4294967296'), "bad_number"),
        (KrakenV2(), OHLC2.replace(b'"interval":5', b'"interval":525601'), "bad_number"),
        (KrakenV1(), b"", "unparsable"),
        (KrakenV1(), b"[", "unparsable"),
        (KrakenV1(), b"[[[[" * 50_000, "unparsable"),
        (KrakenV1(), b"[1,2,3]", "bad_field"),
        (KrakenV1(), b"{}", "bad_field"),
        (KrakenV1(), b'{"event":"addOrderStatus"}', "unknown_type"),
        (KrakenV1(), b'[0,{},"openOrders","XBT/USD"]', "unknown_type"),
        (KrakenV1(), TRADE1.replace(b'"trade"', b'{},"trade"'), "bad_field"),
        (KrakenV1(), OHLC1.replace(b"1542057360.000000", b"299"), "bad_field"),
        (KrakenV1(), OHLC1.replace(b"ohlc-5", b"ohlc-0"), "zero"),
        (KrakenV1(), SPREAD1.replace(b',"0.98765432"', b""), "bad_field"),
        (KrakenV1(), TRADE1.replace(b'"b","m",""', b'["b"]'), "bad_field"),
    ],
)
def test_each_reason_is_reached(decoder, body, reason):
    assert _refused(decoder, body).reason == reason


def test_times_are_exact():
    assert fields.seconds("1618678133", "t") == 1_618_678_133 * 10**9
    assert fields.seconds_number(D("1762795433.9717445"), "t") == 1_762_795_433_971_744_500
    with pytest.raises(MessageError, match="t: "):
        fields.seconds_number(D("1e12"), "t")


# --- REST --------------------------------------------------------------------------------------------------------


def _answer(result):
    return f'{{"error":[],"result":{result}}}'.encode()


def test_rest_answers_become_events():
    decoder = KrakenV2()
    depth = _answer(
        '{"XXBTZEUR":{"asks":[["530.75513","0.248",1391825343]],"bids":[["526.26000","0.500",1391825340]]}}'
    )
    book = BookChange("XXBTZEUR", True, [(D("526.26"), D("0.5"))], [(D("530.75513"), D("0.248"))], None, None, 0)
    assert decoder.decode_rest("/0/public/Depth", {}, depth) == Message("rest.Depth", [book])
    asked = decoder.decode_rest("https://api.kraken.com/0/public/Depth?count=1", {"pair": "BTC/EUR"}, depth)
    assert asked.events[0] == book._replace(symbol="BTC/EUR")
    trades = _answer('{"X":[["5.50","0.1",1762795433.9717445,"b","l","",7],["5","1",1,"s","m",""]],"last":"1"}')
    assert decoder.decode_rest("Trades", {}, trades).events == [
        Trade("X", D("5.5"), D("0.1"), 1, "7", 1_762_795_433_971_744_500),
        Trade("X", D(5), D(1), -1, "", 10**9),
    ]
    bars = _answer('{"X":[[60,"1","3","1","2","2","9",4],[120,"2","2","2","2","2","0",0]],"last":60}')
    assert decoder.decode_rest("OHLC", {"interval": "1"}, bars).events == [
        Bar("X", 60 * 10**9, 60 * 10**9, D(1), D(3), D(1), D(2), D(9), True, 0),
        Bar("X", 120 * 10**9, 60 * 10**9, D(2), D(2), D(2), D(2), D(0), False, 0),
    ]
    ticker = _answer('{"X":{"a":["3","1","1.5"],"b":["2","1","1.000"]}}')
    assert KrakenV1().decode_rest("Ticker", {}, ticker).events == [Quote("X", D(2), D(1), D(3), D("1.5"), None, 0)]
    clock = _answer('{"unixtime":1762820224}')
    assert decoder.decode_rest("Time", {}, clock) == Message("rest.Time", (), None, 1_762_820_224 * 10**9)
    assert KrakenV1().decode_rest("Assets", {}, _answer("{}")) == Message("rest.Assets")


@pytest.mark.parametrize(
    ("endpoint", "query", "body", "reason"),
    [
        ("Balance", {}, _answer("{}"), "unknown_type"),
        ("Depth", {}, b'{"error":["EQuery:Unknown asset pair"]}', "bad_field"),
        ("Depth", {}, b'{"error":[]}', "bad_field"),
        ("Depth", {}, b"<html>", "unparsable"),
        ("Depth", {}, _answer('{"X":{"asks":[["1"]],"bids":[]}}'), "bad_field"),
        ("Depth", {}, _answer('{"X":{"asks":[["0","1",1]],"bids":[]}}'), "zero"),
        ("Trades", {}, _answer('{"X":[["1","1",1]]}'), "bad_field"),
        ("Trades", {}, _answer('{"X":[["1","1",1,"x","l","",7]]}'), "bad_field"),
        ("Trades", {}, _answer('{"X":[["1","1",1,"b","l","","7"]]}'), "bad_field"),
        ("Trades", {}, _answer('{"X":[["1","1","1","b","l","",7]]}'), "bad_field"),
        ("Trades", {}, _answer('{"X":[["1","1",-1,"b","l","",7]]}'), "negative"),
        ("OHLC", {"interval": "0"}, _answer("{}"), "bad_field"),
        ("OHLC", {"interval": "x"}, _answer("{}"), "bad_field"),
        ("OHLC", {}, _answer('{"X":[[60,"1"]]}'), "bad_field"),
        ("Ticker", {}, _answer('{"X":{"a":["562.26651","1"],"b":["560.46600","1"]}}'), "bad_field"),
        ("Time", {}, _answer('{"unixtime":-1}'), "negative"),
    ],
)
def test_rest_answers_that_are_refused(endpoint, query, body, reason):
    with pytest.raises(MessageError) as error:
        KrakenV2().decode_rest(endpoint, query, body)
    assert error.value.reason == reason


REST = [
    ("Depth", _answer('{"X":{"asks":[["5.5","0.2",1]],"bids":[["5.4","0.5",2]]}}')),
    ("Trades", _answer('{"X":[["5.50","0.1",1.97,"b","l","",7],["5","1",1,"s","m",""]],"last":"1"}')),
    ("OHLC", _answer('{"X":[[60,"1","3","1","2","2","9",4]],"last":60}')),
    ("Ticker", _answer('{"X":{"a":["3","1","1.5"],"b":["2","1","1.000"]}}')),
    ("Time", _answer('{"unixtime":1762820224}')),
]


@pytest.mark.parametrize(("endpoint", "body"), REST)
def test_each_single_byte_of_an_answer_replaced_or_cut(endpoint, body):
    assert KrakenV1().decode_rest(endpoint, {}, body).kind == f"rest.{endpoint}"
    for k in range(len(body)):
        for byte in b'\x00"\\-9eE.,:]}[{ n\xff':
            for spoilt in (body[:k], body[:k] + bytes([byte]) + body[k + 1 :]):
                with contextlib.suppress(MessageError):
                    KrakenV1().decode_rest(endpoint, {}, spoilt)


# --- nothing else is ever raised ---------------------------------------------------------------------------------


def _never_raises(decoder, body):
    try:
        message = decoder.decode(body)
    except MessageError as error:
        if error.reason not in REASONS:
            raise
    else:
        assert isinstance(message, Message)
        for event in message.events:
            if isinstance(event, BookChange):
                decoder.checksum(event.bids, event.asks)


@settings(max_examples=400, deadline=None)
@given(data=st.data(), which=st.sampled_from([*((KrakenV2([BTC]), m) for m in V2), *((KrakenV1(), m) for m in V1)]))
def test_any_mutated_byte_is_a_message_or_its_error(data, which):
    decoder, body = which
    spoilt = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    _never_raises(decoder, bytes(spoilt))


@pytest.mark.parametrize("decoder", [KrakenV1(), KrakenV2([BTC])])
def test_each_single_byte_replaced_or_cut(decoder):
    for body in V1 if isinstance(decoder, KrakenV1) else V2:
        for k in range(len(body)):
            _never_raises(decoder, body[:k])
            for byte in b'\x00"\\-9eE.,:]}[{ n\xff':
                _never_raises(decoder, body[:k] + bytes([byte]) + body[k + 1 :])


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=60))
def test_any_bytes_are_a_message_or_its_error(body):
    _never_raises(KrakenV1(), body)
    _never_raises(KrakenV2(), body)


# --- recordings --------------------------------------------------------------------------------------------------


def _capture(data_dir):
    """Every message received on the three connections of the capture, in the order received."""
    for number in (48, 49, 50):
        with gzip.open(data_dir / "cryptofeed" / "2021-04-17_KRAKEN" / f"KRAKEN.ws.{number}.0.gz", "rt") as lines:
            for line in lines:
                if line.strip() and not line.startswith("wss:"):
                    yield line.split(": ", 1)[1].strip().encode()


def _kind(message):
    return message["event"] if isinstance(message, dict) else message[-2].split("-")[0]


@pytest.mark.data
def test_every_recorded_message_decodes_to_what_json_says(data_dir):
    decoder = KrakenV1()
    kinds, wanted, spent = Counter(), Counter(), 0
    sides = Counter()
    for body in _capture(data_dir):
        raw = json.loads(body)
        start = time.perf_counter_ns()
        message = decoder.decode(body)
        spent += time.perf_counter_ns() - start
        kinds[message.kind] += 1
        wanted[_kind(raw)] += 1
        assert message.kind == _kind(raw) and message.sequence is None
        if isinstance(raw, dict):
            assert message.events == ((Status("", True, "online", 0),) if "systemStatus" in raw.values() else ())
            continue
        assert all(event.symbol == raw[-1] for event in message.events)
        if message.kind == "trade":
            assert len(message.events) == len(raw[1])
            for trade, row in zip(message.events, raw[1], strict=True):
                assert [f"{trade.price}", f"{trade.qty}"] == row[:2]
                assert trade.venue_ns == int(D(row[2]) * 10**9) and trade.side == {"b": 1, "s": -1}[row[3]]
                sides[trade.side] += 1
        elif message.kind == "ticker":
            (quote,) = message.events
            assert [f"{quote.ask}", f"{quote.ask_qty}"] == raw[1]["a"][::2]
            assert [f"{quote.bid}", f"{quote.bid_qty}"] == raw[1]["b"][::2]
        else:
            (change,) = message.events
            merged = {key: value for part in raw[1:-2] for key, value in part.items()}
            assert change.depth == 1000 and change.snapshot == ("as" in merged)
            assert change.checksum == (int(merged["c"]) if "c" in merged else None)
            for levels, keys in ((change.asks, ("as", "a")), (change.bids, ("bs", "b"))):
                rows = merged.get(keys[0], merged.get(keys[1], []))
                assert [(f"{p:f}", f"{q:f}") for p, q in levels] == [(row[0], row[1]) for row in rows]
    assert kinds == wanted and sides[1] and sides[-1]
    total = sum(kinds.values())
    print(f"\nkraken v1: {total} messages {dict(kinds)}, {spent / total / 1000:.1f} us each")


def _apply(book, change):
    for side, levels in zip(book, (change.bids, change.asks), strict=True):
        if change.snapshot:
            side.clear()
        for price, qty in levels:
            if qty:
                side.pop(price, None)  # the digits of the latest level count, the price's too
                side[price] = qty
            else:
                side.pop(price, None)
    bids, asks = (sorted(side.items(), reverse=k == 0) for k, side in enumerate(book))
    for side, ordered in zip(book, (bids, asks), strict=True):
        for price, _ in ordered[change.depth :]:
            del side[price]
    return bids[: change.depth], asks[: change.depth]


@pytest.mark.data
def test_the_recorded_books_pass_every_check_sum(data_dir):
    decoder = KrakenV1()
    books, checked, passed = {}, 0, 0
    for body in _capture(data_dir):
        if b'"book-' not in body or not body.startswith(b"["):
            continue
        (change,) = decoder.decode(body).events
        book = books.setdefault(change.symbol, ({}, {}))
        bids, asks = _apply(book, change)
        assert not bids or not asks or bids[0][0] < asks[0][0]
        if change.checksum is not None:
            checked += 1
            passed += decoder.checksum(bids, asks) == change.checksum
    print(f"\nkraken v1: {passed} of {checked} check sums pass over {len(books)} books")
    assert len(books) == 10 and checked == passed > 4000


@pytest.mark.data
def test_the_fixtures_of_version_2(data_dir):
    folder = data_dir / "nautilus_trader" / "adapter_fixtures" / "kraken"
    pairs = KrakenV2().instruments("AssetPairs", (folder / "http_asset_pairs.json").read_bytes())
    decoder = KrakenV2(pairs)
    kinds = {}
    for name in ("book_snapshot", "book_update", "ohlc_update", "pong", "ticker_snapshot", "trade_update"):
        body = (folder / f"ws_{name}.json").read_bytes()
        message = decoder.decode(body)
        kinds[name] = message.kind
        raw = json.loads(body, parse_float=D, parse_int=D)
        for event, part in zip(message.events, raw.get("data", ()), strict=True):
            assert event.symbol == part["symbol"]
            if isinstance(event, BookChange):
                assert event.bids == [(level["price"], level["qty"]) for level in part["bids"]]
                assert event.asks == [(level["price"], level["qty"]) for level in part["asks"]]
                assert event.snapshot == (raw["type"] == "snapshot") and event.checksum == part["checksum"]
            elif isinstance(event, Trade):
                assert (event.price, event.qty, event.trade_id) == (part["price"], part["qty"], str(part["trade_id"]))
            elif isinstance(event, Quote):
                assert event[1:5] == (part["bid"], part["bid_qty"], part["ask"], part["ask_qty"])
            else:
                assert event[3:8] == tuple(part[key] for key in ("open", "high", "low", "close", "volume"))
    assert kinds == {name: name.split("_")[0] for name in kinds}
    for name in ("ws_l3_snapshot.json", "ws_add_order_response_failure.json", "ws_futures_ticker.json"):
        assert _refused(decoder, (folder / name).read_bytes()).reason == "unknown_type"


@pytest.mark.data
def test_the_fixtures_of_rest(data_dir):
    folder = data_dir / "nautilus_trader" / "adapter_fixtures" / "kraken"
    body = gzip.decompress((folder / "http_trades.json.gz").read_bytes())
    rows = json.loads(body, parse_float=D)["result"]["XBTUSDT"]
    message = KrakenV2().decode_rest("/0/public/Trades", {"pair": "BTC/USDT"}, body)
    assert len(message.events) == len(rows) > 100
    for trade, row in zip(message.events, rows, strict=True):
        assert trade[:3] == ("BTC/USDT", D(row[0]), D(row[1]))
        assert trade[3:6] == ({"b": 1, "s": -1}[row[3]], str(row[6]), int(row[2] * 10**9))
    (book,) = KrakenV2().decode_rest("Depth", {}, (folder / "http_order_book.json").read_bytes()).events
    assert book.symbol == "XBTUSDT" and len(book.bids) == len(book.asks) == 5
    (quote,) = KrakenV2().decode_rest("Ticker", {}, (folder / "http_ticker.json").read_bytes()).events
    assert quote.bid == D("105944.2") and quote.ask == D("105944.3")
    assert KrakenV2().decode_rest("Time", {}, (folder / "http_server_time.json").read_bytes()).venue_ns
    stream = data_dir / "xchange" / "xchange-stream-kraken"
    kinds = [KrakenV1().decode(path.read_bytes()).kind for path in sorted(stream.glob("*.json"))]
    assert kinds == ["systemStatus", "book", "book", "subscriptionStatus", "ticker"]
    market = data_dir / "xchange" / "xchange-kraken"
    ohlc = gzip.decompress((market / "kraken__dto__marketdata__example-ohlc-data.json.gz").read_bytes())
    bars = KrakenV1().decode_rest("OHLC", {}, ohlc).events
    assert len(bars) > 100 and [bar.closed for bar in bars].count(False) == 1


@pytest.mark.data
def test_version_1_writes_more_digits_than_the_precision_of_the_pair(data_dir):
    """Why its check sums are made of the texts: the pair's own precision would not give them."""
    path = data_dir / "cryptofeed" / "2021-04-17_KRAKEN" / "KRAKEN.0.gz"
    with gzip.open(path, "rt") as lines:
        pairs = parse_asset_pairs(lines.readline().split(": ", 1)[1].encode(), renamed=False)
    ticks = {pair.symbol: -pair.tick.as_tuple().exponent for pair in pairs}
    longer = set()
    for body in _capture(data_dir):
        if body.startswith(b"[") and b'"as":' in body:
            (change,) = KrakenV1().decode(body).events
            digits = {-price.as_tuple().exponent for price, _ in change.bids}
            assert len(digits) == 1 and min(digits) >= ticks[change.symbol]
            if digits != {ticks[change.symbol]}:
                longer.add(change.symbol)
    print(f"\nkraken v1: more digits than the pair's precision: {sorted(longer)}")
    assert "XMR/USD" in longer
