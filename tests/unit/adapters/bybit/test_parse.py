"""Bybit's messages: the recorded ones against json and against each other, and everything that is refused."""

import gzip
import json
from bisect import bisect_left
from collections import Counter, defaultdict
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4.adapters.bybit.parse import BybitLinear, BybitSpot
from bot4.ports.feed import REASONS, Bar, BookChange, Mark, Message, MessageError, Quote, Trade

SPOT, LINEAR = BybitSpot(), BybitLinear()
D = Decimal
MS = 1_000_000
CAPTURE = "cryptofeed/2026-08-09_BYBIT_first60pct.jsonl.gz"
LEVEL_ONE = "cryptofeed/2025-06-13_BYBIT_V5/BYBIT.ws.{}.0.gz"
FIXTURES = "nautilus_trader/adapter_fixtures/bybit"

BOOK = {
    "topic": "orderbook.50.BTCUSDT",
    "type": "delta",
    "ts": 1700000000123,
    "data": {"s": "BTCUSDT", "b": [["100.50", "1.5"], ["100.0", "0"]], "a": [["101", "2"]], "u": 7, "seq": 9},
    "cts": 1700000000120,
}
TRADES = {
    "topic": "publicTrade.BTCUSDT",
    "type": "snapshot",
    "ts": 1700000000123,
    "data": [
        {"T": 1700000000120, "s": "BTCUSDT", "S": "Buy", "v": "0.10", "p": "100.50", "i": "a-1", "BT": False},
        {"T": 1700000000121, "s": "BTCUSDT", "S": "Sell", "v": "3", "p": "100", "i": "a-2", "BT": True, "RPI": False},
    ],
}
TICKER = {
    "topic": "tickers.BTCUSDT",
    "type": "snapshot",
    "data": {
        "symbol": "BTCUSDT",
        "bid1Price": "100.10",
        "bid1Size": "2",
        "ask1Price": "100.2",
        "ask1Size": "3.0",
        "markPrice": "100.15",
        "indexPrice": "100.16",
        "fundingRate": "-0.0001",
        "nextFundingTime": "1700006400000",
    },
    "cs": 5,
    "ts": 1700000000123,
}
KLINE = {
    "topic": "kline.5.BTCUSDT",
    "ts": 1700000100100,
    "type": "snapshot",
    "data": [
        {
            "start": 1700000100000,
            "end": 1700000399999,
            "interval": "5",
            "open": "1.0",
            "close": "1.5",
            "high": "2",
            "low": "0.5",
            "volume": "0",
            "turnover": "0",
            "confirm": False,
            "timestamp": 1700000100099,
        }
    ],
}
REST_BOOK = {
    "retCode": 0,
    "retMsg": "OK",
    "result": {
        "s": "BTCUSDT",
        "b": [["100", "1"]],
        "a": [["101", "2"]],
        "ts": 1700000000100,
        "u": 70,
        "cts": 1700000000090,
    },
    "time": 1700000000200,
}
SAMPLES = {"orderbook": BOOK, "publicTrade": TRADES, "tickers": TICKER, "kline": KLINE}

NUMBERS = [  # every decimal of the samples, with whether zero is one
    (BOOK, ("data", "b", 1, 0), False),
    (BOOK, ("data", "a", 0, 1), True),
    (TRADES, ("data", 1, "p"), False),
    (TRADES, ("data", 1, "v"), False),
    (TICKER, ("data", "bid1Price"), False),
    (TICKER, ("data", "bid1Size"), False),
    (TICKER, ("data", "ask1Price"), False),
    (TICKER, ("data", "ask1Size"), False),
    (TICKER, ("data", "markPrice"), False),
    (TICKER, ("data", "indexPrice"), False),
    (TICKER, ("data", "fundingRate"), True),
    (KLINE, ("data", 0, "open"), False),
    (KLINE, ("data", 0, "high"), False),
    (KLINE, ("data", 0, "low"), False),
    (KLINE, ("data", 0, "close"), False),
    (KLINE, ("data", 0, "volume"), True),
]
INTEGERS = [
    (BOOK, ("ts",)),
    (BOOK, ("cts",)),
    (BOOK, ("data", "u")),
    (TRADES, ("ts",)),
    (TRADES, ("data", 0, "T")),
    (TICKER, ("ts",)),
    (KLINE, ("ts",)),
    (KLINE, ("data", 0, "start")),
    (KLINE, ("data", 0, "end")),
    (KLINE, ("data", 0, "timestamp")),
]
OPTIONAL = {
    "bid1Price",
    "bid1Size",
    "ask1Price",
    "ask1Size",
    "markPrice",
    "indexPrice",
    "fundingRate",
    "nextFundingTime",
}
NOT_NEEDED = {"seq", "cs", "RPI", "turnover", "retMsg", "cts"} | OPTIONAL


def _body(message):
    return json.dumps(message, separators=(",", ":")).encode()


def _changed(message, path, value):
    """A copy with the value at the path replaced."""
    copied = json.loads(json.dumps(message))
    place = copied
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return copied


def _name(path):
    """How an error names a place."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text[1:]


def _same_place(path, text):
    """Whether an error names the place, be it by its index or as any element of an array."""
    parts = [f"[{key}]" if isinstance(key, int) else str(key) for key in path]
    anywhere = "".join("[...]" if part.startswith("[") else f".{part}" for part in parts)[1:]
    return _name(path) in text or anywhere in text


def _refused(body, decoder=LINEAR):
    with pytest.raises(MessageError) as caught:
        decoder.decode(body if isinstance(body, bytes) else _body(body))
    assert caught.value.reason in REASONS
    return caught.value.reason, str(caught.value)


# --- what a message becomes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("decoder", [SPOT, LINEAR])
def test_a_change_of_a_book(decoder):
    bids, asks = [(D("100.50"), D("1.5")), (D("100.0"), D(0))], [(D(101), D(2))]
    change = BookChange("BTCUSDT", False, bids, asks, 6, 7, 1700000000120 * MS, depth=50)
    assert decoder.decode(_body(BOOK)) == Message("orderbook", (change,), None, 1700000000123 * MS)
    whole = _changed(BOOK, ("type",), "snapshot")
    assert decoder.decode(_body(whole)).events == (change._replace(snapshot=True, before=None),)
    del whole["cts"]
    assert decoder.decode(_body(whole)).events[0].venue_ns == 1700000000123 * MS
    assert str(change.bids[0][0]) == "100.50"


def test_a_restart_is_a_whole_book_of_update_one_and_a_change_to_one_fits_no_book():
    first = _changed(BOOK, ("data", "u"), 1)
    change = LINEAR.decode(_body(first)).events[0]
    assert (change.snapshot, change.before, change.last) == (False, 0, 1)
    change = LINEAR.decode(_body(_changed(first, ("type",), "snapshot"))).events[0]
    assert (change.snapshot, change.before, change.last) == (True, None, 1)
    assert _refused(_changed(BOOK, ("data", "u"), 0))[0] == "zero"


def test_an_empty_book():
    message = _changed(_changed(BOOK, ("data", "b"), []), ("data", "a"), [])
    change = LINEAR.decode(_body(message)).events[0]
    assert (change.bids, change.asks) == ([], [])


@pytest.mark.parametrize("decoder", [SPOT, LINEAR])
def test_trades(decoder):
    assert decoder.decode(_body(TRADES)) == Message(
        "publicTrade",
        [
            Trade("BTCUSDT", D("100.50"), D("0.10"), 1, "a-1", 1700000000120 * MS, True),
            Trade("BTCUSDT", D(100), D(3), -1, "a-2", 1700000000121 * MS, False),
        ],
        None,
        1700000000123 * MS,
    )


def test_a_ticker_of_a_perpetual():
    sent = 1700000000123 * MS
    quote = Quote("BTCUSDT", D("100.10"), D(2), D("100.2"), D("3.0"), None, sent)
    mark = Mark("BTCUSDT", D("100.15"), D("100.16"), D("-0.0001"), 1700006400000 * MS, sent)
    assert LINEAR.decode(_body(TICKER)) == Message("tickers", [quote, mark], None, sent)
    assert SPOT.decode(_body(TICKER)) == Message("tickers", (), None, sent)


@pytest.mark.parametrize("name", ["bid1Price", "bid1Size", "ask1Price", "ask1Size"])
def test_a_quote_has_all_four_values(name):
    missing = json.loads(json.dumps(TICKER))
    del missing["data"][name]
    for message in (missing, _changed(TICKER, ("data", name), "")):
        assert [type(event) for event in LINEAR.decode(_body(message)).events] == [Mark]


def test_a_mark_has_what_the_message_holds():
    names = ("markPrice", "indexPrice", "fundingRate", "nextFundingTime")
    full = LINEAR.decode(_body(TICKER)).events[1]
    for kept in range(16):
        message = json.loads(json.dumps(TICKER))
        for bit, name in enumerate(names):
            if not kept >> bit & 1:
                del message["data"][name]
        wanted = [value if kept >> bit & 1 else None for bit, value in enumerate(full[1:5])]
        marks = [event for event in LINEAR.decode(_body(message)).events if isinstance(event, Mark)]
        assert marks == ([Mark("BTCUSDT", *wanted[:3], wanted[3] or 0, full.venue_ns)] if kept else [])


@pytest.mark.parametrize("decoder", [SPOT, LINEAR])
def test_a_bar(decoder):
    bar = Bar(
        "BTCUSDT", 1700000100000 * MS, 300_000 * MS, D("1.0"), D(2), D("0.5"), D("1.5"), D(0), False, 1700000100099 * MS
    )
    assert decoder.decode(_body(KLINE)) == Message("kline", [bar], None, 1700000100100 * MS)
    closed = decoder.decode(_body(_changed(KLINE, ("data", 0, "confirm"), True))).events[0]
    assert closed == bar._replace(closed=True)


@pytest.mark.parametrize(("interval", "days"), [("D", 1), ("W", 7), ("M", 28), ("M", 30), ("M", 31)])
def test_bars_of_days(interval, days):
    message = _changed(_changed(KLINE, ("topic",), f"kline.{interval}.BTCUSDT"), ("data", 0, "interval"), interval)
    message["data"][0]["end"] = message["data"][0]["start"] + days * 86_400_000 - 1
    assert LINEAR.decode(_body(message)).events[0].length_ns == days * 86_400_000 * MS
    message["data"][0]["end"] += 86_400_000 * 4
    assert _refused(message)[0] == "bad_field"


def test_a_bar_of_another_length_or_interval():
    assert "data[0].end" in _refused(_changed(KLINE, ("data", 0, "end"), 1700000400000))[1]
    assert "data[0].interval" in _refused(_changed(KLINE, ("data", 0, "interval"), "1"))[1]
    unknown = _changed(_changed(KLINE, ("topic",), "kline.7.BTCUSDT"), ("data", 0, "interval"), "7")
    assert "interval '7'" in _refused(unknown)[1]


@pytest.mark.parametrize("kind", ["liquidation", "allLiquidation", "insurance", "adlAlert", "priceLimit"])
def test_topics_without_events(kind):
    message = {"topic": f"{kind}.BTCUSDT", "type": "snapshot", "ts": 5, "data": [{"p": "NaN"}]}
    assert LINEAR.decode(_body(message)) == Message(kind, (), None, 5 * MS)
    assert _refused({**message, "ts": -5})[0] == "negative"
    if kind != "priceLimit":
        assert _refused(message, SPOT)[0] == "unknown_type"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"success": True, "ret_msg": "", "conn_id": "x", "req_id": "", "op": "subscribe"}, "subscribe"),
        ({"success": False, "ret_msg": "Invalid topic", "conn_id": "x", "op": "subscribe"}, "subscribe.failed"),
        ({"success": True, "ret_msg": "", "conn_id": "x", "op": "unsubscribe"}, "unsubscribe"),
        ({"success": True, "ret_msg": "pong", "conn_id": "x", "req_id": "", "op": "ping"}, "ping"),
        ({"args": ["1700000000123"], "op": "pong"}, "pong"),
    ],
)
@pytest.mark.parametrize("decoder", [SPOT, LINEAR])
def test_answers(decoder, answer, kind):
    assert decoder.decode(_body(answer)) == Message(kind)


@pytest.mark.parametrize("message", SAMPLES.values(), ids=SAMPLES)
def test_the_order_of_keys_blanks_and_unknown_keys_are_of_no_matter(message):
    wanted = LINEAR.decode(_body(message))
    turned = dict(reversed(message.items())) | {"later": {"topic": "tickers.X"}}
    assert LINEAR.decode(_body(turned)) == wanted
    assert LINEAR.decode(json.dumps(turned, indent=2).encode()) == wanted


def test_a_book_by_rest():
    change = BookChange("BTCUSDT", True, [(D(100), D(1))], [(D(101), D(2))], None, 70, 1700000000090 * MS, depth=25)
    wanted = Message("rest.orderbook", (change,), None, 1700000000200 * MS)
    assert LINEAR.decode_rest("/v5/market/orderbook", {"symbol": "BTCUSDT"}, _body(REST_BOOK)) == wanted
    found = LINEAR.decode_rest("/v5/market/orderbook", {"limit": "200"}, _body(REST_BOOK))
    assert found.events == (change._replace(depth=200),)
    without = json.loads(json.dumps(REST_BOOK))
    del without["result"]["cts"]
    found = SPOT.decode_rest("/v5/market/orderbook", {}, _body(without))
    assert found.events == (change._replace(depth=1, venue_ns=1700000000100 * MS),)


@pytest.mark.parametrize(
    ("endpoint", "query", "path", "value", "reason", "place"),
    [
        ("/v5/order/create", {}, ("time",), 1, "unknown_type", "/v5/order/create"),
        ("/v5/market/orderbook", {"symbol": "ETHUSDT"}, ("time",), 1, "bad_field", "result.s"),
        ("/v5/market/orderbook", {"limit": "-1"}, ("time",), 1, "bad_field", "limit"),
        ("/v5/market/orderbook", {}, ("retCode",), 10001, "bad_field", "retCode: 10001, OK"),
        ("/v5/market/orderbook", {}, ("result", "s"), "", "bad_field", "result.s"),
        ("/v5/market/orderbook", {}, ("result", "u"), -1, "negative", "result.u"),
        ("/v5/market/orderbook", {}, ("result", "u"), 2**63, "bad_field", "result.u"),
        ("/v5/market/orderbook", {}, ("result", "b"), [["1e5", "1"]], "bad_number", "result.b[0][0]"),
        ("/v5/market/orderbook", {}, ("result", "a"), [["0", "1"]], "zero", "result.a[0][0]"),
        ("/v5/market/orderbook", {}, ("result", "cts"), None, "bad_field", "result.cts"),
        ("/v5/market/time", {}, ("time",), "1", "bad_field", "time"),
        ("/v5/market/time", {}, ("time",), -1, "negative", "time"),
    ],
)
def test_refused_responses(endpoint, query, path, value, reason, place):
    with pytest.raises(MessageError) as caught:
        LINEAR.decode_rest(endpoint, query, _body(_changed(REST_BOOK, path, value)))
    assert caught.value.reason == reason and place in str(caught.value)


def test_a_check_sum_is_refused():
    for decoder in (SPOT, LINEAR):
        with pytest.raises(MessageError, match=f"{decoder.venue} sends no check sum"):
            decoder.checksum([], [])


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "unparsable"),
        (b"pong", "unparsable"),
        (b"[]", "unparsable"),
        (b"null", "unparsable"),
        (b'{"topic":"tickers.X"', "unparsable"),
        (b'{"topic":"\xff"}', "unparsable"),
        (b'{"op":"pong","x":' + b"[" * 100_000, "unparsable"),
        (b"{}", "unknown_type"),
        (b'{"op":"auth","success":false}', "unknown_type"),
        (b'{"topic":"trade.BTCUSDT"}', "unknown_type"),
        (b'{"topic":"tickers_lt.BTC3SUSDT","ts":1}', "unknown_type"),
        (b'{"topic":7}', "bad_field"),
        (b'{"topic":null,"op":"pong"}', "bad_field"),
        (b'{"op":"subscribe"}', "bad_field"),
        (b'{"op":"subscribe","success":1}', "bad_field"),
        (b'{"topic":"tickers.X","ts":1,"topic":"tickers.Y","type":"delta","data":{"symbol":"X"}}', "bad_field"),
    ],
)
def test_bodies_that_are_no_message(body, reason):
    assert _refused(body)[0] == reason


@pytest.mark.parametrize(
    "topic", ["orderbook.full.BTCUSDT", "orderbook.rpi.BTCUSDT", "orderbook.BTCUSDT", "orderbook.0.BTCUSDT"]
)
def test_books_of_another_form_are_unknown(topic):
    assert _refused(_changed(BOOK, ("topic",), topic))[0] == "unknown_type"


@pytest.mark.parametrize(
    ("message", "path"),
    [(BOOK, ("data", "s")), (TRADES, ("data", 1, "s")), (TICKER, ("data", "symbol"))],
    ids=lambda value: "" if isinstance(value, dict) else _name(value),
)
def test_a_symbol_that_contradicts_the_topic(message, path):
    for other in ("ETHUSDT", ""):
        reason, text = _refused(_changed(message, path, other))
        assert reason == "bad_field" and _name(path) in text
    short = message["topic"].rpartition(".")[0] + "."
    assert _refused(_changed(_changed(message, path, ""), ("topic",), short))[0] == "bad_field"


def test_words_of_a_fixed_set():
    assert "$.type" in _refused(_changed(BOOK, ("type",), "diff"))[1]
    assert "S`" in _refused(_changed(TRADES, ("data", 0, "S"), "buy"))[1]
    assert "data[0].i" in _refused(_changed(TRADES, ("data", 0, "i"), ""))[1]


WRONG = [("NaN", "bad_number"), ("sNaN1", "bad_number"), ("Infinity", "bad_number"), ("-Infinity", "bad_number")]
WRONG += [
    (text, "bad_number") for text in ("1e5", "1E-5", "1_0", " 1", "+1", ".5", "5.", "1.2.3", "1,5", "٣", "x", "-")
]
WRONG += [(value, "bad_field") for value in (True, None, 1, 1.5, [], {})]


@pytest.mark.parametrize(
    ("message", "path", "zero"), NUMBERS, ids=lambda value: _name(value) if isinstance(value, tuple) else ""
)
def test_bad_numbers(message, path, zero):
    for value, reason in WRONG:
        found, text = _refused(_changed(message, path, value))
        assert found == reason, (value, text)
        assert _same_place(path, text), text
    if path[-1] == "fundingRate":
        assert LINEAR.decode(_body(_changed(message, path, "-1"))).events[1].rate == -1
    else:
        assert _refused(_changed(message, path, "-1"))[0] == _refused(_changed(message, path, "-0"))[0] == "negative"
    if zero:
        LINEAR.decode(_body(_changed(message, path, "0.00")))
    else:
        reason, text = _refused(_changed(message, path, "0.00"))
        assert reason == "zero" and _name(path) in text
    if path[-1] in OPTIONAL:
        LINEAR.decode(_body(_changed(message, path, "")))
    else:
        assert _refused(_changed(message, path, ""))[0] == "bad_number"


@pytest.mark.parametrize(
    ("message", "path"), INTEGERS, ids=lambda value: _name(value) if isinstance(value, tuple) else ""
)
def test_bad_integers(message, path):
    for value in ("1", "NaN", "", True, None, 1.5, [], {}, 2**63, 10**30):
        reason, text = _refused(_changed(message, path, value))
        assert reason == "bad_field" and _same_place(path, text), (value, text)
    reason, text = _refused(_changed(message, path, -1))
    assert reason == "negative" and _name(path) in text


@pytest.mark.parametrize(
    ("value", "reason"),
    [("NaN", "bad_number"), ("1e5", "bad_number"), ("1.5", "bad_number"), ("٣", "bad_number"), ("-1", "negative")]
    + [("9" * 19, "bad_field"), ("9" * 20, "bad_number"), (1, "bad_field"), (True, "bad_field"), (None, "bad_field")],
)
def test_a_time_that_is_text(value, reason):
    found, text = _refused(_changed(TICKER, ("data", "nextFundingTime"), value))
    assert found == reason and "data.nextFundingTime" in text


def _keys(place, path=()):
    items = place.items() if isinstance(place, dict) else enumerate(place) if isinstance(place, list) else ()
    for key, value in items:
        yield from ([(*path, key)] if isinstance(place, dict) else [])
        yield from _keys(value, (*path, key))


@pytest.mark.parametrize("message", SAMPLES.values(), ids=SAMPLES)
def test_missing_keys(message):
    checked = 0
    for path in _keys(message):
        if path[-1] in NOT_NEEDED or (path == ("type",) and message in (TRADES, KLINE)):
            continue
        copied = json.loads(json.dumps(message))
        place = copied
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        reason, text = _refused(copied)
        if path == ("topic",):
            assert reason == "unknown_type"
        else:
            assert reason == "bad_field" and f"`{path[-1]}`" in text, text
        checked += 1
    assert checked >= 4


def test_rows_of_a_book_are_pairs():
    for row in (["1"], ["1", "2", "3"], [], "12", {"1": "2"}):
        assert _refused(_changed(BOOK, ("data", "b", 0), row))[0] == "bad_field"


BODIES = [_body(message) for message in (*SAMPLES.values(), {"success": True, "op": "subscribe"})]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(BODIES), st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), min_size=1, max_size=3))
def test_any_mutated_byte_gives_a_message_or_a_message_error(body, changes):
    damaged = bytearray(body)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    _message_or_error(bytes(damaged))


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=60)
    | st.text(max_size=40).map(str.encode)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["topic", "data", "op", "ts", "u", "b"]), inner)
        ),
    ).map(lambda made: json.dumps(made).encode())
)
def test_any_bytes_give_a_message_or_a_message_error(body):
    _message_or_error(body)


def _message_or_error(body):
    for decoder in (SPOT, LINEAR):
        for decode in (
            decoder.decode,
            lambda body, decoder=decoder: decoder.decode_rest("/v5/market/orderbook", {}, body),
            lambda body, decoder=decoder: decoder.instruments("/v5/market/instruments-info", body),
        ):
            try:
                decode(body)
            except MessageError as error:
                refused = error
            else:
                continue
            assert refused.reason in REASONS and str(refused).startswith(refused.reason)


def test_every_byte_of_a_message_may_be_damaged():
    """Each byte replaced by each of some that JSON gives a meaning to, and each cut."""
    for body in BODIES:
        for place in range(len(body)):
            _message_or_error(body[:place])
            for byte in b'"\\{}[],:-e0\x00\xff':
                _message_or_error(body[:place] + bytes([byte]) + body[place + 1 :])


# --- the recordings -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def capture(data_dir):
    """Bodies of the capture of August 2026: the connection is that of linear."""
    with gzip.open(data_dir / CAPTURE, "rt") as file:
        records = [json.loads(line) for line in file]
    assert [record["addr"] for record in records if record["t"] == "connect"] == [
        "wss://stream.bybit.com/v5/public/linear"
    ]
    return [record["data"].encode() for record in records if record["t"] == "recv"]


@pytest.fixture(scope="module")
def level_one(data_dir):
    """Bodies of the capture of June 2025 by market."""
    bodies = {}
    for number in (1, 2):
        with gzip.open(data_dir / LEVEL_ONE.format(number), "rb") as file:
            lines = file.read().splitlines()
        market = lines[0].split(b" ")[0].rpartition(b"/")[2].decode()
        bodies[market] = [line.partition(b": ")[2] for line in lines if not line.startswith(b"wss://")]
    return bodies


def _text(value):
    """A decimal as the venue wrote it: str() would write 0.0000001 as 1E-7."""
    return None if value is None else f"{value:f}"


def _texts(pairs):
    return [[_text(price), _text(qty)] for price, qty in pairs]


def _agrees(message, parsed):
    """Assert that a message says what json says, digit for digit; how many events of each kind it has."""
    topic = parsed.get("topic")
    if topic is None:
        assert message == Message(parsed["op"])
        return Counter()
    words = topic.split(".")
    assert message.kind == words[0] and message.venue_ns == parsed["ts"] * MS and message.sequence is None
    data = parsed["data"]
    if words[0] == "orderbook":
        (change,) = message.events
        assert change.snapshot == (parsed["type"] == "snapshot")
        assert (_texts(change.bids), _texts(change.asks)) == (data["b"], data["a"])
        assert (change.last, change.depth) == (data["u"], int(words[1]))
        assert change.before == (None if change.snapshot else data["u"] - 1)
        assert change.venue_ns == parsed["cts"] * MS and not change.overlap and change.checksum is None
    elif words[0] == "publicTrade":
        assert [
            [
                event.trade_id,
                event.venue_ns // MS,
                _text(event.price),
                _text(event.qty),
                {1: "Buy", -1: "Sell"}[event.side],
            ]
            for event in message.events
        ] == [[row["i"], row["T"], row["p"], row["v"], row["S"]] for row in data]
        assert all(event.market != row["BT"] for event, row in zip(message.events, data, strict=True))
    elif words[0] == "kline":
        for event, row in zip(message.events, data, strict=True):
            assert [_text(value) for value in event[3:8]] == [
                row[name] for name in ("open", "high", "low", "close", "volume")
            ]
            assert event[1] == row["start"] * MS and event.closed is row["confirm"]
            assert event.begin_ns + event.length_ns == (row["end"] + 1) * MS and event.venue_ns == row["timestamp"] * MS
    else:
        quotes = [event for event in message.events if isinstance(event, Quote)]
        names = ("bid1Price", "bid1Size", "ask1Price", "ask1Size")
        wanted = [[data[name] for name in names]] if all(name in data for name in names) else []
        assert [[_text(value) for value in quote[1:5]] for quote in quotes] == wanted
        marks = [event for event in message.events if isinstance(event, Mark)]
        names = ("markPrice", "indexPrice", "fundingRate", "nextFundingTime")
        wanted = [[data.get(name) for name in names]] if any(name in data for name in names) else []
        assert [
            [_text(value) for value in mark[1:4]] + [str(mark.next_ns // MS) if mark.next_ns else None]
            for mark in marks
        ] == wanted
    assert all(event.symbol == words[-1] for event in message.events)
    return Counter(type(event) for event in message.events)


@pytest.mark.data
def test_every_recorded_message_says_what_json_says(capture):
    kinds, events = Counter(), Counter()
    for body in capture:
        message = LINEAR.decode(body)
        kinds[message.kind] += 1
        events += _agrees(message, json.loads(body))
    parsed = [json.loads(body) for body in capture]
    assert kinds == Counter(message.get("topic", message.get("op")).split(".")[0] for message in parsed)
    assert kinds == {"tickers": 577, "orderbook": 1204, "kline": 55, "publicTrade": 79, "subscribe": 17}
    assert events == {BookChange: 1204, Trade: 188, Bar: 59, Quote: 107, Mark: 105}


@pytest.mark.data
@pytest.mark.parametrize(
    ("market", "decoder", "books", "answers"), [("linear", LINEAR, 198, 4), ("spot", SPOT, 139, 6)]
)
def test_recorded_books_of_level_one(level_one, market, decoder, books, answers, capsys):
    """Only whole books; an update id that comes again says the same again, else it is the next one."""
    held, kinds, repeats, steps = {}, Counter(), 0, 0
    for body in level_one[market]:
        message = decoder.decode(body)
        kinds[message.kind] += 1
        _agrees(message, json.loads(body))
        for change in message.events:
            assert change.snapshot and change.depth == 1 and change.bids[0][0] < change.asks[0][0]
            before = held.get(change.symbol)
            if before is not None and before.last == change.last:
                assert (before.bids, before.asks) == (change.bids, change.asks)
                assert change.venue_ns >= before.venue_ns
                repeats += 1
            elif before is not None:
                assert change.last == before.last + 1
                steps += 1
            held[change.symbol] = change
    assert kinds == {"orderbook": books, "subscribe": answers}
    assert repeats + steps + len(held) == books
    with capsys.disabled():
        print(f"\n{market}: {repeats} of {repeats} repeated update ids hold equal levels, {steps} steps of one")
    assert repeats == {"linear": 16, "spot": 45}[market]


def _rebuilt(capture):
    """Of every symbol: (seq, best bid, best ask) after each change; the seq is json's, events do not have it."""
    books, tops, checked = {}, defaultdict(list), 0
    for body in capture:
        message = LINEAR.decode(body)
        if message.kind != "orderbook":
            continue
        (change,) = message.events
        if change.snapshot:
            books[change.symbol] = ({}, {}, [change.last])
        bids, asks, at = books[change.symbol]
        if not change.snapshot:
            assert change.before == at[0]
            at[0] = change.last
        for side, rows in ((bids, change.bids), (asks, change.asks)):
            for price, qty in rows:
                if qty:
                    side[price] = qty
                else:
                    del side[price]  # a level that is not there would be a KeyError
        assert len(bids) == len(asks) == change.depth  # the venue removes what leaves the best 200 itself
        best = max(bids), min(asks)
        assert best[0] < best[1]
        tops[change.symbol].append((json.loads(body)["data"]["seq"], *best))
        checked += 1
    return tops, checked


@pytest.mark.data
def test_rebuilt_books_agree_with_tickers_and_trades(capture, capsys):
    """A ticker and a trade carry the matching engine's seq: they lie between two states of the book."""
    tops, checked = _rebuilt(capture)
    assert checked == 1204 and all(seqs == sorted(seqs) for seqs in ([top[0] for top in of] for of in tops.values()))
    held, tickers, trades, unchanged = defaultdict(dict), 0, 0, 0
    for body in capture:
        parsed = json.loads(body)
        word, _, symbol = parsed.get("topic", "").partition(".")
        if word == "tickers":
            held[symbol] |= parsed["data"]
            around = _around(tops[symbol], parsed["cs"])
            if around is not None:
                bid, ask = D(held[symbol]["bid1Price"]), D(held[symbol]["ask1Price"])
                assert bid in {top[1] for top in around} and ask in {top[2] for top in around}
                unchanged += len({top[1:] for top in around}) == 1
                tickers += 1
        elif word == "publicTrade":
            for event, row in zip(LINEAR.decode(body).events, parsed["data"], strict=True):
                around = _around(tops[symbol], row["seq"])
                assert around is not None
                if event.side > 0:  # the buyer took: at an ask, or above it
                    assert event.price >= min(top[2] for top in around)
                else:
                    assert event.price <= max(top[1] for top in around)
                trades += 1
    with capsys.disabled():
        print(f"\n{tickers} of {tickers} tickers have a best bid and ask of the rebuilt book, {unchanged} of one state")
        print(f"{trades} of {trades} trades lie on the side of the book that was taken from")
    assert (tickers, trades) == (574, 188)


def _around(tops, seq):
    """The states of the book before and after a seq; None where the recording has none of one side."""
    after = bisect_left(tops, seq, key=lambda top: top[0])
    return tops[after - 1 : after + 1] if 0 < after < len(tops) else None


@pytest.mark.data
def test_bars_are_made_of_the_trades(capture, capsys):
    """Every bar of the one minute that was recorded from its begin equals a sum of its first trades, exactly."""
    trades, bars = defaultdict(list), []
    for body in capture:
        for event in LINEAR.decode(body).events:
            if isinstance(event, Trade):
                trades[event.symbol, event.venue_ns // 60_000_000_000].append(event)
            elif isinstance(event, Bar):
                bars.append(event)
    minute = max(bar.begin_ns for bar in bars) // 60_000_000_000
    compared = 0
    for bar in bars:
        if bar.begin_ns // 60_000_000_000 != minute:
            continue
        states = {(D(0), bar.open, bar.open, bar.open)}
        volume, high, low = D(0), bar.open, bar.open
        for trade in trades[bar.symbol, minute]:
            volume, high, low = volume + trade.qty, max(high, trade.price), min(low, trade.price)
            states.add((volume, high, low, trade.price))
        assert (bar.volume, bar.high, bar.low, bar.close) in states
        compared += 1
    with capsys.disabled():
        print(f"\n{compared} of {compared} bars equal the sum of their trades")
    assert compared == 49


@pytest.mark.data
def test_recorded_fixtures(data_dir):
    folder = data_dir / FIXTURES
    for name, kind in (("ws_orderbook_snapshot", "orderbook"), ("ws_kline", "kline"), ("ws_ticker_linear", "tickers")):
        assert LINEAR.decode((folder / f"{name}.json").read_bytes()).kind == kind
    assert LINEAR.decode((folder / "ws_subscription_failure.json").read_bytes()) == Message("subscribe.failed")
    for name in ("ws_public_trade", "ws_auth_failure", "ws_account_wallet"):  # of no public topic
        assert _refused((folder / f"{name}.json").read_bytes())[0] == "unknown_type"
    for name, endpoint in (
        ("klines_linear", "kline"),
        ("trades_recent", "recent-trade"),
        ("funding_history", "funding/history"),
    ):
        message = LINEAR.decode_rest(f"/v5/market/{endpoint}", {}, (folder / f"http_get_{name}.json").read_bytes())
        assert message.kind == "rest." + endpoint.rpartition("/")[2] and message.events == ()
