"""Binance's messages: each form, each refusal, and every recorded message as the json module reads it."""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4.adapters.binance.parse import BinanceCoinm, BinanceSpot, BinanceUsdm
from bot4.ports.feed import REASONS, Bar, BookChange, Decoder, Mark, Message, MessageError, Quote, Trade
from bot4.ports.feed_values import levels

SPOT, USDM, COINM = BinanceSpot(), BinanceUsdm(), BinanceCoinm()
MS = 1_000_000


def envelope(stream: str, data: object) -> bytes:
    """As the venue writes it, without white space."""
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":")).encode()


def bare(data: object) -> bytes:
    return json.dumps(data).encode()


def d(*texts: str) -> tuple[Decimal, ...]:
    return tuple(Decimal(text) for text in texts)


TRADE = {"e": "trade", "E": 7, "s": "BTCUSDT", "t": 9, "p": "10.10", "q": "0.0020", "T": 6, "m": True, "M": True}
USDM_TRADE = {"e": "trade", "E": 7, "T": 6, "s": "BTCUSDT", "t": 9, "p": "10.1", "q": "2", "X": "MARKET", "m": False}
AGG = {"e": "aggTrade", "E": 7, "a": 5, "s": "BTCUSDT", "p": "10.1", "q": "2", "f": 1, "l": 3, "T": 6, "m": False}
SPOT_QUOTE = {"u": 5, "s": "BTCUSDT", "b": "10.10", "B": "2.00", "a": "10.20", "A": "3.5"}
USDM_QUOTE = {"e": "bookTicker", "u": 5, "s": "BTCUSDT", "b": "10.1", "B": "2", "a": "10.2", "A": "3", "T": 6, "E": 7}
SPOT_DEPTH = {
    "e": "depthUpdate", "E": 7, "s": "BTCUSDT", "U": 4, "u": 8, "b": [["10.10", "1.00"], ["9", "0.00"]],
    "a": [["10.20", "2.5"]],
}  # fmt: skip
USDM_DEPTH = {
    "e": "depthUpdate", "E": 7, "T": 6, "s": "BTCUSDT", "U": 4, "u": 8, "pu": 2, "b": [["10.10", "1"], ["9", "0"]],
    "a": [["10.20", "2.5"]],
}  # fmt: skip
SNAPSHOT = {"lastUpdateId": 7, "bids": [["10.10", "1.000"]], "asks": [["10.20", "2.5"]]}
USDM_SNAPSHOT = {"lastUpdateId": 7, "E": 5, "T": 4, "bids": [["10.10", "1.000"]], "asks": [["10.20", "2.5"]]}
MARK = {
    "e": "markPriceUpdate", "E": 7, "s": "BTCUSDT", "p": "10.1", "P": "10.2", "i": "10.3", "r": "-0.00002760", "T": 8,
}  # fmt: skip
KLINE = {
    "e": "kline", "E": 7, "s": "BTCUSDT",
    "k": {
        "t": 60_000, "T": 119_999, "s": "BTCUSDT", "i": "1m", "f": 1, "L": 2, "o": "10", "c": "11", "h": "12.0",
        "l": "9", "v": "5.50", "n": 2, "x": False, "q": "50", "V": "1", "Q": "10", "B": "0",
    },
}  # fmt: skip
FORCE_ORDER = {"e": "forceOrder", "E": 7, "o": {"s": "BTCUSDT", "S": "SELL", "q": "0.014", "p": "9910", "T": 6}}
TICKER = {"e": "24hrTicker", "E": 7, "s": "BTCUSDT", "p": "-1.5"}
MINI_TICKER = {"e": "24hrMiniTicker", "E": 7, "s": "BTCUSDT", "c": "1"}

# of every type with numbers: the decoder, the stream, the data
FORMS: dict[str, tuple[Decoder, str, dict[str, Any]]] = {
    "spot trade": (SPOT, "btcusdt@trade", TRADE),
    "spot aggTrade": (SPOT, "btcusdt@aggTrade", AGG),
    "spot bookTicker": (SPOT, "btcusdt@bookTicker", SPOT_QUOTE),
    "spot depth": (SPOT, "btcusdt@depth@100ms", SPOT_DEPTH),
    "spot depth5": (SPOT, "btcusdt@depth5@100ms", SNAPSHOT),
    "spot kline": (SPOT, "btcusdt@kline_1m", KLINE),
    "usdm trade": (USDM, "btcusdt@trade", USDM_TRADE),
    "usdm aggTrade": (USDM, "btcusdt@aggTrade", AGG),
    "usdm bookTicker": (USDM, "btcusdt@bookTicker", USDM_QUOTE),
    "usdm depth": (USDM, "btcusdt@depth@0ms", USDM_DEPTH),
    "usdm depth20": (USDM, "btcusdt@depth20@500ms", USDM_DEPTH),
    "usdm markPrice": (USDM, "btcusdt@markPrice@1s", MARK),
    "usdm kline": (USDM, "btcusdt@kline_1m", KLINE),
    "coinm depth": (COINM, "btcusd_perp@depth@0ms", USDM_DEPTH | {"s": "BTCUSD_PERP", "ps": "BTCUSD"}),
}
BODIES = [(decoder, envelope(stream, data)) for decoder, stream, data in FORMS.values()] + [
    (SPOT, bare(SPOT_QUOTE)),
    (SPOT, bare(SNAPSHOT)),
    (USDM, bare(USDM_SNAPSHOT)),
    (USDM, bare([MARK])),
    (USDM, envelope("!markPrice@arr@1s", [MARK])),
    (USDM, envelope("!forceOrder@arr", FORCE_ORDER)),
    (SPOT, envelope("!miniTicker@arr", [MINI_TICKER])),
    (SPOT, b'{"result":null,"id":1}'),
    (SPOT, b'{"error":{"code":2,"msg":"Invalid request"},"id":1}'),
]


def refused(decoder: Decoder, body: bytes) -> MessageError:
    """The refusal of a message."""
    with pytest.raises(MessageError) as caught:
        decoder.decode(body)
    assert caught.value.reason in REASONS
    return caught.value


# --- each form ---------------------------------------------------------------------------------------------------


def test_the_classes_are_decoders_of_their_venues() -> None:
    decoders: list[Decoder] = [SPOT, USDM, COINM]
    assert [decoder.venue for decoder in decoders] == ["binance_spot", "binance_usdm", "binance_coinm"]


def test_trade() -> None:
    found = SPOT.decode(envelope("btcusdt@trade", TRADE))
    assert found == Message("trade", (Trade("BTCUSDT", *d("10.10", "0.0020"), -1, "9", 6 * MS),), None, 7 * MS)
    assert str(found.events[0].qty) == "0.0020", "digits are kept"
    assert SPOT.decode(bare(TRADE)) == found
    (event,) = USDM.decode(envelope("btcusdt@trade", USDM_TRADE)).events
    assert event == Trade("BTCUSDT", *d("10.1", "2"), 1, "9", 6 * MS)


def test_a_trade_that_is_none_of_the_market() -> None:
    fund = USDM.decode(envelope("btcusdt@trade", USDM_TRADE | {"X": "INSURANCE_FUND"}))
    assert [event.market for event in fund.events] == [False]
    nothing = USDM.decode(envelope("btcusdt@trade", USDM_TRADE | {"X": "NA", "p": "0", "q": "0"}))
    assert nothing == Message("trade", (), None, 7 * MS)
    assert refused(USDM, envelope("btcusdt@trade", USDM_TRADE | {"p": "0"})).reason == "zero"
    assert refused(USDM, envelope("btcusdt@trade", USDM_TRADE | {"X": "NA", "p": "-1"})).reason == "negative"


def test_agg_trade() -> None:
    found = USDM.decode(envelope("btcusdt@aggTrade", AGG))
    assert found == Message("aggTrade", (Trade("BTCUSDT", *d("10.1", "2"), 1, "5", 6 * MS),), None, 7 * MS)
    assert SPOT.decode(bare(AGG)) == found


def test_quote() -> None:
    event = Quote("BTCUSDT", *d("10.10", "2.00", "10.20", "3.5"), 5, 0)
    assert SPOT.decode(envelope("btcusdt@bookTicker", SPOT_QUOTE)) == Message("bookTicker", (event,))
    assert SPOT.decode(bare(SPOT_QUOTE)) == Message("bookTicker", (event,))
    found = USDM.decode(envelope("!bookTicker", USDM_QUOTE))
    assert found == Message("bookTicker", (Quote("BTCUSDT", *d("10.1", "2", "10.2", "3"), 5, 6 * MS),), None, 7 * MS)
    assert USDM.decode(bare(USDM_QUOTE)) == found
    assert refused(USDM, bare(SPOT_QUOTE)).reason == "unknown_type", "futures name the event"


def test_diff_of_a_book() -> None:
    bids, asks = [d("10.10", "1.00"), d("9", "0.00")], [d("10.20", "2.5")]
    found = SPOT.decode(envelope("btcusdt@depth@100ms", SPOT_DEPTH))
    assert found == Message(
        "depth", (BookChange("BTCUSDT", False, bids, asks, 3, 8, 7 * MS, overlap=True),), None, 7 * MS
    )
    assert SPOT.decode(bare(SPOT_DEPTH)) == SPOT.decode(envelope("btcusdt@depth", SPOT_DEPTH)) == found
    found = USDM.decode(envelope("btcusdt@depth@0ms", USDM_DEPTH))
    assert found == Message(
        "depth", (BookChange("BTCUSDT", False, bids, asks, 2, 8, 6 * MS, overlap=True),), None, 7 * MS
    )
    assert USDM.decode(bare(USDM_DEPTH)) == found
    empty = SPOT.decode(bare(SPOT_DEPTH | {"b": [], "a": []})).events[0]
    assert (empty.bids, empty.asks) == ([], [])


@pytest.mark.parametrize(
    ("decoder", "data"),
    [
        (SPOT, SPOT_DEPTH | {"U": 9}),
        (USDM, USDM_DEPTH | {"U": 9}),
        (USDM, USDM_DEPTH | {"pu": 5}),
        (USDM, SPOT_DEPTH),
        (SPOT, SPOT_DEPTH | {"U": -1}),
    ],
)
def test_ids_of_a_diff_are_in_order(decoder: Decoder, data: dict[str, Any]) -> None:
    assert refused(decoder, bare(data)).reason == ("negative" if data["U"] == -1 else "bad_field")


@pytest.mark.parametrize("kept", [5, 10, 20])
def test_partial_book(kept: int) -> None:
    found = SPOT.decode(envelope(f"btcusdt@depth{kept}", SNAPSHOT))
    event = BookChange("BTCUSDT", True, [d("10.10", "1.000")], [d("10.20", "2.5")], None, None, 0, depth=kept)
    assert found == Message(f"depth{kept}", (event,))
    found = USDM.decode(envelope(f"btcusdt@depth{kept}@100ms", USDM_DEPTH))
    (event,) = found.events
    assert (event.snapshot, event.before, event.last, event.depth, event.overlap) == (True, None, None, kept, False)
    assert (found.kind, event.venue_ns, found.venue_ns) == (f"depth{kept}", 6 * MS, 7 * MS)
    error = refused(SPOT, envelope(f"@depth{kept}", SNAPSHOT))
    assert error.reason == "bad_field" and "stream" in str(error)


def test_snapshot_of_rest() -> None:
    event = BookChange("BTCUSDT", True, [d("10.10", "1.000")], [d("10.20", "2.5")], None, 7, 0)
    query = {"symbol": "BTCUSDT", "limit": "1000"}
    assert SPOT.decode_rest("/api/v3/depth", query, bare(SNAPSHOT)) == Message("rest.depth", (event,))
    found = USDM.decode_rest("/fapi/v1/depth", query, bare(USDM_SNAPSHOT))
    assert found == Message("rest.depth", (event._replace(venue_ns=4 * MS),), None, 5 * MS)
    named = bare(USDM_SNAPSHOT | {"symbol": "BTCUSD_PERP", "pair": "BTCUSD"})
    assert COINM.decode_rest("/dapi/v1/depth", {}, named).events[0].symbol == "BTCUSD_PERP"
    with pytest.raises(MessageError, match="bad_field: symbol"):
        SPOT.decode_rest("/api/v3/depth", {}, bare(SNAPSHOT))
    with pytest.raises(MessageError, match="bad_field: lastUpdateId: missing"):
        SPOT.decode_rest("/api/v3/depth", query, b'{"code":-1121,"msg":"Invalid symbol."}')
    with pytest.raises(MessageError, match="unparsable"):
        SPOT.decode_rest("/api/v3/depth", query, b"<html>")


def test_recorded_line_of_a_snapshot() -> None:
    assert SPOT.decode(bare(SNAPSHOT)).events[0].symbol == "", "the recording's file tells it"
    found = COINM.decode(bare(USDM_SNAPSHOT | {"symbol": "BTCUSD_PERP", "pair": "BTCUSD"}))
    assert (found.kind, found.events[0].symbol, found.events[0].last) == ("rest.depth", "BTCUSD_PERP", 7)


def test_rest_without_events_and_what_is_no_endpoint() -> None:
    assert SPOT.decode_rest("/api/v3/time", {}, b'{"serverTime":7}') == Message("rest.time", (), None, 7 * MS)
    assert SPOT.decode_rest("/api/v3/ping", {}, b"{}") == Message("rest.ping")
    assert USDM.decode_rest("/fapi/v1/exchangeInfo", {}, b'{"serverTime":7,"symbols":[]}').venue_ns == 7 * MS
    for decoder, endpoint in ((SPOT, "/fapi/v1/depth"), (USDM, "/api/v3/depth"), (SPOT, "/api/v3/order"), (SPOT, "")):
        with pytest.raises(MessageError, match="unknown_type: endpoint"):
            decoder.decode_rest(endpoint, {"symbol": "BTCUSDT"}, bare(SNAPSHOT))


def test_mark() -> None:
    event = Mark("BTCUSDT", *d("10.1", "10.3", "-0.00002760"), 8 * MS, 7 * MS)
    found = Message("markPrice", (event,), None, 7 * MS)
    assert USDM.decode(envelope("btcusdt@markPrice@1s", MARK)) == USDM.decode(bare(MARK)) == found
    many = [MARK, MARK | {"s": "BTCUSDT_260327", "r": "", "T": 0, "E": 9}]
    found = USDM.decode(envelope("!markPrice@arr@1s", many))
    assert found.events == (event, Mark("BTCUSDT_260327", *d("10.1", "10.3"), None, 0, 9 * MS))
    assert found.venue_ns == 9 * MS and USDM.decode(bare(many)) == found
    least = {key: value for key, value in MARK.items() if key in ("e", "s", "p")}
    assert USDM.decode(bare(least)).events == (Mark("BTCUSDT", Decimal("10.1"), None, None, 0, 0),)
    assert refused(SPOT, bare(MARK)).reason == "unknown_type"


def test_bar() -> None:
    event = Bar("BTCUSDT", 60_000 * MS, 60_000 * MS, *d("10", "12.0", "9", "11", "5.50"), closed=False, venue_ns=7 * MS)
    found = Message("kline", (event,), None, 7 * MS)
    assert SPOT.decode(envelope("btcusdt@kline_1m", KLINE)) == SPOT.decode(bare(KLINE)) == found
    assert SPOT.decode(envelope("btcusdt@kline_1m@+08:00", KLINE)) == found
    day = 86_400_000
    month = KLINE | {"k": KLINE["k"] | {"i": "1M", "t": 31 * day, "T": 59 * day - 1}}
    assert SPOT.decode(bare(month)).events[0].length_ns == 28 * day * MS
    for wrong in ({"i": "7m"}, {"T": 59_999}, {"x": 1}):
        assert refused(SPOT, bare(KLINE | {"k": KLINE["k"] | wrong})).reason == "bad_field"


@pytest.mark.parametrize(
    ("decoder", "stream", "kind", "data"),
    [
        (SPOT, "btcusdt@ticker", "ticker", TICKER),
        (USDM, "!ticker@arr", "ticker", [TICKER, TICKER]),
        (SPOT, "btcusdt@ticker_1h", "ticker", TICKER | {"e": "1hTicker"}),
        (SPOT, "!miniTicker@arr", "miniTicker", [MINI_TICKER]),
        (SPOT, "btcusdt@avgPrice", "avgPrice", {"e": "avgPrice", "E": 7, "s": "BTCUSDT", "w": "1"}),
        (USDM, "btcusdt@forceOrder", "forceOrder", FORCE_ORDER),
        (USDM, "!forceOrder@arr", "forceOrder", FORCE_ORDER),
        (USDM, "btcusdt_perpetual@continuousKline_1m", "continuousKline", {"e": "continuous_kline", "E": 7}),
        (COINM, "btcusd@indexPrice@1s", "indexPrice", {"e": "indexPriceUpdate", "E": 7}),
        (COINM, "btcusd@indexPriceKline_1m", "indexPriceKline", {"e": "indexPrice_kline", "E": 7}),
        (COINM, "btcusd_perp@markPriceKline_1m", "markPriceKline", {"e": "markPrice_kline", "E": 7}),
        (USDM, "!contractInfo", "contractInfo", {"e": "contractInfo", "E": 7}),
        (USDM, "!assetIndex@arr", "assetIndex", [{"e": "assetIndexUpdate", "E": 7}]),
        (USDM, "defiusdt@compositeIndex", "compositeIndex", {"e": "compositeIndex", "E": 7}),
    ],
)
def test_types_without_events(decoder: Decoder, stream: str, kind: str, data: object) -> None:
    assert decoder.decode(envelope(stream, data)) == decoder.decode(bare(data)) == Message(kind, (), None, 7 * MS)


def test_answers() -> None:
    for body in (b'{"result":null,"id":1}', b'{"result":["btcusdt@trade"],"id":"a"}', b'{"id":null,"result":null}'):
        assert SPOT.decode(body) == Message("result")
    for body in (b'{"error":{"code":2,"msg":"Invalid"},"id":1}', b'{"code":2,"msg":"Invalid","id":1}'):
        assert USDM.decode(body) == Message("error")


@pytest.mark.parametrize("name", FORMS)
def test_order_of_keys_white_space_and_unknown_keys_do_not_matter(name: str) -> None:
    decoder, stream, data = FORMS[name]
    found = decoder.decode(envelope(stream, data))
    turned = dict(reversed(data.items()))
    assert decoder.decode(envelope(stream, turned | {"new": {"a": [1, None]}})) == found
    assert decoder.decode(json.dumps({"data": turned, "stream": stream}, indent=1).encode()) == found


def test_times_in_microseconds() -> None:
    now = 1_723_161_257_440
    late = SPOT.decode(bare(TRADE | {"E": now * 1_000 + 7, "T": now * 1_000 + 5}))
    assert (late.venue_ns, late.events[0].venue_ns) == (now * MS + 7_000, now * MS + 5_000)
    assert SPOT.decode(bare(TRADE | {"E": now})).venue_ns == now * MS
    day = 86_400_000_000
    bar = KLINE["k"] | {"i": "1M", "t": now * 1_000, "T": now * 1_000 + 28 * day - 1}
    assert SPOT.decode(bare(KLINE | {"k": bar})).events[0].length_ns == 28 * day * 1_000


def test_there_is_no_check_sum() -> None:
    with pytest.raises(MessageError, match="binance_usdm has no check sum"):
        USDM.checksum([], [])


# --- each refusal ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason", "word"),
    [
        (b"", "unparsable", "truncated"),
        (b"hello", "unparsable", ""),
        (b"\xff\xfe", "unparsable", ""),
        (b'{"stream":"btcusdt@trade', "unparsable", ""),
        (b'{"stream":"btcusdt@nothing","data":{}', "unparsable", ""),
        (b'{"stream":"btcusdt@trade","data":{"s":5', "unparsable", ""),
        (b'{"stream":"btcusdt@trade","data":{"s":"\xff"}}', "unparsable", ""),
        (b'{"stream":"btc\xff@trade","data":{}}', "unparsable", ""),
        (b'{"a":' + b"[" * 100_000, "unparsable", ""),
        (envelope("btcusdt@trade", TRADE) + b"{}", "unparsable", ""),
        (b'{"p":NaN}', "unparsable", ""),
        (b"{}", "unknown_type", ""),
        (b"[]", "unknown_type", ""),
        (b'{"stream":"btcusdt@nothing","data":{}}', "unknown_type", "btcusdt@nothing"),
        (b'{"stream":"","data":{}}', "unknown_type", ""),
        (bare({"e": "executionReport", "E": 7}), "unknown_type", "executionReport"),
        (b"5", "bad_field", ""),
        (b"null", "bad_field", ""),
        (b'{"stream":5,"data":{}}', "bad_field", "stream"),
        (b'{"stream":"btcusdt@trade"}', "bad_field", "data: missing"),
        (b'{"stream":"btcusdt@trade","data":[]}', "bad_field", ""),
        (envelope("btcusdt@trade", AGG), "bad_field", "e: "),
        (envelope("btcusdt@ticker", MINI_TICKER), "bad_field", "e: "),
        (bare(SPOT_DEPTH | {"b": [["1"]]}), "bad_field", "b"),
        (bare(SPOT_DEPTH | {"b": [["1", "2", []]]}), "bad_field", "b"),
        (bare(SPOT_DEPTH | {"b": [["1", "2"], ["3", "x"]]}), "bad_number", "b[1][1]"),
        (bare(SNAPSHOT | {"asks": [["0.0", "2"]]}), "zero", "asks[0][0]"),
        (bare(TRADE | {"s": ""}), "bad_field", "s: "),
        (bare(TRADE | {"t": 2**63}), "bad_field", "t: "),
        (bare(TRADE | {"t": -1}), "negative", "t: "),
        (bare(TRADE | {"p": "9" * 500 + "e"}), "bad_number", "..."),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_refusals(body: bytes, reason: str, word: str) -> None:
    error = refused(SPOT, body)
    assert error.reason == reason and word in str(error)
    assert len(str(error)) < 250


@pytest.mark.parametrize("name", FORMS)
def test_a_truncated_message_is_unparsable(name: str) -> None:
    decoder, stream, data = FORMS[name]
    whole = envelope(stream, data)
    for length in range(len(whole)):
        assert refused(decoder, whole[:length]).reason == "unparsable", whole[:length]


OPTIONAL = {"e", "E", "T", "X", "M", "P", "i", "r", "f", "l", "ps"}  # i: of a mark, in a bar it is needed


@pytest.mark.parametrize("name", FORMS)
def test_each_needed_key_is_needed(name: str) -> None:
    decoder, stream, data = FORMS[name]
    for key in data:
        body = envelope(stream, {other: value for other, value in data.items() if other != key})
        if key in OPTIONAL:
            decoder.decode(body)
        else:
            error = refused(decoder, body)
            assert (error.reason, str(error)) == ("bad_field", f"bad_field: {key}: missing"), key


@pytest.mark.parametrize("decoder", [SPOT, USDM])
def test_each_key_of_a_bar_is_needed(decoder: Decoder) -> None:
    for key in "tTiohlcvx":
        candle = {other: value for other, value in KLINE["k"].items() if other != key}
        assert str(refused(decoder, bare(KLINE | {"k": candle}))) == f"bad_field: k.{key}: missing"


def _numbers(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of the prices and quantities that are read."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items:
        if isinstance(value, dict | list):
            yield from _numbers(value, (*path, key))
        elif isinstance(value, str) and key not in ("e", "s", "X", "P", "ps", "i", "n", "q", "V", "Q", "B"):
            yield (*path, key)
        elif key in ("i", "q", "B") and not path:
            yield (*path, key)


def _with(data: Any, path: tuple[Any, ...], value: object) -> Any:
    copy = json.loads(json.dumps(data))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


NO_NUMBERS = (
    *("NaN", "sNaN", "Infinity", "-Infinity", "inf", "1e5", "1E-5", "1.5e1", "-1e5", "", ".", "1.", ".5", "+1", "--1"),
    *("-", " 1", "1 ", "1\n", "1_0", "1,0", "0x1", "1x2", "1.2.3", "x", "\u0661", "\0"),
)
WRONG: dict[str, tuple[Any, ...]] = {
    "bad_number": NO_NUMBERS,
    "bad_field": (True, None, 1, 1.5, 0, -1, [], {}, ["1"]),
}


@pytest.mark.parametrize("name", FORMS)
def test_what_is_no_number_is_refused_in_every_field(name: str) -> None:
    decoder, stream, data = FORMS[name]
    paths = list(_numbers(data))
    assert len(paths) >= 2
    for path in paths:
        field = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")
        for reason, values in WRONG.items():
            for value in values:
                if (field, value) in (("i", None), ("r", None), ("r", "")):
                    continue
                error = refused(decoder, envelope(stream, _with(data, path, value)))
                assert error.reason == reason, (field, value)
                assert field.partition("[")[0] in str(error)
                if reason == "bad_number":
                    assert str(error).startswith(f"bad_number: {field}: "), error
        body = envelope(stream, _with(data, path, "-1"))
        if field == "r":
            assert decoder.decode(body).events[0].rate == -1
        else:
            assert str(refused(decoder, body)).startswith(f"negative: {field}: ")
            assert refused(decoder, envelope(stream, _with(data, path, "-0"))).reason == "negative"
        for zero in ("0", "0.000"):
            body = envelope(stream, _with(data, path, zero))
            if field in ("r", "k.v") or path[-1] == 1:
                decoder.decode(body)
            else:
                assert str(refused(decoder, body)).startswith(f"zero: {field}: ")


@pytest.mark.parametrize("name", FORMS)
def test_ids_times_and_flags_are_of_their_kind(name: str) -> None:
    decoder, stream, data = FORMS[name]
    read = {"E", "T", "t", "u", "U", "pu", "lastUpdateId", "m"} | ({"a"} if "aggTrade" in name else set())
    for key in read & data.keys():
        if (name, key) == ("spot depth5", "lastUpdateId"):
            assert refused(decoder, envelope(stream, data | {key: None})).reason == "bad_field"
        for value in (None, "5", 1.5, [], -1 if key == "m" else True, float("nan")):
            body = envelope(stream, data | {key: value})
            assert refused(decoder, body).reason == ("unparsable" if value != value else "bad_field"), (key, value)


def test_every_reason_is_reached() -> None:
    bodies = [b"", b"{}", bare(TRADE | {"p": 5}), bare(TRADE | {"p": "NaN"}), bare(TRADE | {"p": "-1"})]
    assert tuple(refused(SPOT, body).reason for body in [*bodies, bare(TRADE | {"p": "0"})]) == REASONS


# --- any bytes at all --------------------------------------------------------------------------------------------


def survives(decoder: Decoder, body: bytes) -> bool:
    """Whether it is a message; any exception but the port's own fails the test."""
    try:
        found = decoder.decode(body)
    except MessageError as error:
        if error.reason not in REASONS:
            raise
        return False
    assert isinstance(found, Message)
    for event in found.events:
        numbers = [value for value in event if isinstance(value, Decimal)]
        if isinstance(event, BookChange):
            numbers += [number for level in (*event.bids, *event.asks) for number in level]
        assert all(number.is_finite() for number in numbers)
        if not isinstance(event, Mark):
            assert all(number >= 0 for number in numbers)
    return True


@pytest.mark.parametrize("at", range(len(BODIES)))
def test_any_changed_byte(at: int) -> None:
    decoder, body = BODIES[at]
    assert survives(decoder, body)
    good = 0
    for place in range(len(body)):
        for byte in b'\x00\n "\\-.019:,[]{}aeEnx\x7f\x80\xc3\xff':
            good += survives(decoder, body[:place] + bytes([byte]) + body[place + 1 :])
        survives(decoder, body[:place] + body[place + 1 :])
    assert good, "some changes leave a message, such as another digit"


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(BODIES),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 5), st.binary(max_size=4)), max_size=5),
)
def test_any_cut_and_splice(form: tuple[Decoder, bytes], splices: list[tuple[float, int, bytes]]) -> None:
    decoder, body = form
    for where, length, new in splices:
        place = int(where * len(body))
        body = body[:place] + new + body[place + length :]
    survives(decoder, body)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([SPOT, USDM, COINM]), st.binary(max_size=60))
def test_any_bytes(decoder: Decoder, body: bytes) -> None:
    survives(decoder, body)
    survives(decoder, b'{"stream":"btcusdt@trade","data":' + body + b"}")
    survives(decoder, b'{"stream":"' + body)
    with pytest.raises(MessageError):
        decoder.decode_rest("/fapi/v1/depth", {"symbol": "BTCUSDT"}, body)


plain = st.from_regex(r"\A[0-9]{1,6}(\.[0-9]{1,6})?\Z")
messy = st.text("0123456789.x-+e \u0661", max_size=6)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(plain | messy, plain | messy), max_size=4) | st.lists(st.tuples(plain, plain), max_size=4))
def test_levels_in_one_go_are_levels_one_by_one(side: list[tuple[str, str]]) -> None:
    number = re.compile("[0-9]+([.][0-9]+)?")
    wanted = all(number.fullmatch(price) and number.fullmatch(qty) and Decimal(price) > 0 for price, qty in side)
    try:
        found = levels(side, "b")
    except MessageError:
        assert not wanted
    else:
        assert wanted
        assert [(f"{price:f}", f"{qty:f}") for price, qty in found] == [
            (f"{Decimal(price):f}", f"{Decimal(qty):f}") for price, qty in side
        ]


# --- recordings --------------------------------------------------------------------------------------------------

HFT = {
    "spot/btcusdt_20240808.gz": SPOT,
    "spot/btcusdt_20240809.gz": SPOT,
    "spot/ethusdt_20240808.gz": SPOT,
    "usdm/btcusdt_20230404.dat.gz": USDM,
    "usdm/btcusdt_20230405.dat.gz": USDM,
    "usdm/btcusdt_20240808.gz": USDM,
    "cm/btcusd_perp_20240808.gz": COINM,
    "cm/ethusd_perp_20240809.gz": COINM,
}
CRYPTOFEED = {"2021-10-12_BINANCE": SPOT, "2021-07-22_BINANCE_FUTURES": USDM}
EVENT_KINDS = {
    "depthUpdate": "depth", "markPriceUpdate": "markPrice", "24hrTicker": "ticker", "24hrMiniTicker": "miniTicker",
}  # fmt: skip


def hft(data_dir: Path, name: str) -> list[bytes]:
    with gzip.open(data_dir / "hftbacktest" / name) as file:
        return [line.split(b" ", 1)[1].rstrip() for line in file]


def cryptofeed(data_dir: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """Every body with its URL, "" for a message of a websocket; a line that begins nothing goes on with the last."""
    begin = re.compile(rb"(?:(https?://\S+) -> )?\d+(?:\.\d+)?: (.*)", re.DOTALL)
    for path in sorted((data_dir / "cryptofeed" / name).glob("*.gz")):
        found: list[tuple[str, bytes]] = []
        with gzip.open(path) as file:
            for line in file:
                if start := begin.fullmatch(line):
                    found.append(((start[1] or b"").decode(), start[2]))
                elif line.strip() and not line.startswith((b"wss://", b"configuration: ")):
                    found[-1] = (found[-1][0], found[-1][1] + line)
        yield from found


def texts(side: Any) -> list[list[str]]:
    return [[f"{price:f}", f"{qty:f}"] for price, qty in side]


def same(found: Message, raw: Any, futures: bool) -> str:
    """Whether each value of a message is what json reads; returns the kind that json tells."""
    if "lastUpdateId" in raw:
        (event,) = found.events
        assert event.snapshot and event.before is None and event.last == raw["lastUpdateId"]
        assert texts(event.bids) == raw["bids"] and texts(event.asks) == raw["asks"]
        assert event.venue_ns == raw.get("T", 0) * MS and found.venue_ns == raw.get("E", 0) * MS
        return "rest.depth"
    data = raw.get("data", raw)
    (event,) = found.events
    assert event.symbol == data["s"] and found.sequence is None
    assert found.venue_ns == data.get("E", 0) * MS
    kind = data.get("e", "bookTicker")
    if kind in ("trade", "aggTrade"):
        assert (f"{event.price:f}", f"{event.qty:f}") == (data["p"], data["q"])
        assert event.trade_id == str(data["t" if kind == "trade" else "a"]) and event.side == (-1 if data["m"] else 1)
        assert event.market == (data.get("X", "MARKET") == "MARKET") and event.venue_ns == data["T"] * MS
    elif kind == "bookTicker":
        assert [f"{value:f}" for value in event[1:5]] == [data[key] for key in "bBaA"]
        assert (event.update_id, event.venue_ns) == (data["u"], data.get("T", 0) * MS)
    elif kind == "depthUpdate":
        assert texts(event.bids) == data["b"] and texts(event.asks) == data["a"]
        assert event.before == (data["pu"] if futures else data["U"] - 1) and event.last == data["u"]
        assert event.overlap and not event.snapshot and event.venue_ns == data.get("T", data["E"]) * MS
    elif kind == "markPriceUpdate":
        assert [f"{value:f}" for value in event[1:4]] == [data[key] for key in "pir"]
        assert (event.next_ns, event.venue_ns) == (data["T"] * MS, data["E"] * MS)
    else:
        k = data["k"]
        assert kind == "kline" and [f"{value:f}" for value in event[3:8]] == [k[key] for key in "ohlcv"]
        assert (event.begin_ns, event.length_ns) == (k["t"] * MS, (k["T"] - k["t"] + 1) * MS)
        assert event.closed is k["x"] and event.venue_ns == data["E"] * MS
    return EVENT_KINDS.get(kind, kind)


@pytest.mark.data
@pytest.mark.parametrize("name", HFT)
def test_recorded_hftbacktest(data_dir: Path, name: str) -> None:
    decoder, found, wanted = HFT[name], Counter[str](), Counter[str]()
    for body in hft(data_dir, name):
        message = decoder.decode(body)
        found[message.kind] += 1
        wanted[same(message, json.loads(body), decoder is not SPOT)] += 1
    print(name, dict(found))
    assert found == wanted and found.total() > 13_000
    if name == "usdm/btcusdt_20240808.gz":
        assert found == {"depth": 6_551, "bookTicker": 66_089, "trade": 21_313, "rest.depth": 1}


@pytest.mark.data
@pytest.mark.parametrize("name", CRYPTOFEED)
def test_recorded_cryptofeed(data_dir: Path, name: str) -> None:
    decoder, found, wanted = CRYPTOFEED[name], Counter[str](), Counter[str]()
    for url, body in cryptofeed(data_dir, name):
        raw = json.loads(body)
        if not url:
            message = decoder.decode(body)
            wanted[same(message, raw, decoder is not SPOT)] += 1
        else:
            address = urlsplit(url)
            query = dict(parse_qsl(address.query))
            message = decoder.decode_rest(address.path, query, body)
            if "symbols" in raw:
                assert message.venue_ns == raw["serverTime"] * MS
                wanted["rest.exchangeInfo"] += 1
            else:
                assert message.events[0].symbol == query["symbol"]
                wanted[same(message, raw, decoder is not SPOT)] += 1
        found[message.kind] += 1
    print(name, dict(found))
    assert found == wanted and found["rest.depth"] == 4 and found["kline"] and found["aggTrade"] and found["bookTicker"]


class Book:
    """A book by the port's words alone: snapshot, before, last, overlap."""

    def __init__(self) -> None:
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}
        self.at: int | None = None
        self.fresh = False
        self.gaps = 0

    def change(self, event: BookChange) -> bool:
        """Whether the book was changed."""
        if event.snapshot:
            self.bids, self.asks, self.at, self.fresh = dict(event.bids), dict(event.asks), event.last, True
            return True
        if self.at is None or event.last is None or event.before is None or event.last <= self.at:
            return False
        self.gaps += event.before > self.at if self.fresh and event.overlap else event.before != self.at
        for own, side in ((self.bids, event.bids), (self.asks, event.asks)):
            for price, qty in side:
                own[price] = qty
                if not qty:
                    del own[price]
        self.at, self.fresh = event.last, False
        return True

    def best(self) -> tuple[Decimal, ...]:
        bid, ask = max(self.bids), min(self.asks)
        return bid, self.bids[bid], ask, self.asks[ask]


def compared(messages: list[Message]) -> tuple[int, int]:
    """Books from snapshots and diffs against quotes of the same update: comparisons, gaps. They have to be equal."""
    quotes = {}
    snapshots: dict[str, BookChange] = {}
    diffs: dict[str, list[BookChange]] = {}
    for message in messages:
        for event in message.events:
            if isinstance(event, Quote):
                quotes[event.symbol, event.update_id] = event[1:5]
            elif isinstance(event, BookChange) and event.snapshot:
                snapshots[event.symbol] = event
            elif isinstance(event, BookChange):
                diffs.setdefault(event.symbol, []).append(event)
    count = gaps = 0
    for symbol, changes in diffs.items():
        book = Book()
        book.change(snapshots.get(symbol) or snapshots[""])
        for change in changes:
            if book.change(change) and (symbol, change.last) in quotes:
                assert book.best() == quotes[symbol, change.last], (symbol, change.last)
                count += 1
        assert not book.fresh, "some diff followed the snapshot"
        gaps += book.gaps
    return count, gaps


@pytest.mark.data
@pytest.mark.parametrize(
    ("names", "least"),
    [
        (["spot/btcusdt_20240808.gz", "spot/btcusdt_20240809.gz"], 1_000),
        (["spot/ethusdt_20240808.gz"], 500),
        (["usdm/btcusdt_20230404.dat.gz", "usdm/btcusdt_20230405.dat.gz"], 1_500),
        (["usdm/btcusdt_20240808.gz"], 600),
        (["cm/btcusd_perp_20240808.gz"], 1_000),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_books_of_hftbacktest_are_the_quotes(data_dir: Path, names: list[str], least: int) -> None:
    messages = [HFT[name].decode(body) for name in names for body in hft(data_dir, name)]
    count, gaps = compared(messages)
    print(names, "quotes compared:", count)
    assert count >= least and gaps == 0


@pytest.mark.data
@pytest.mark.parametrize("name", CRYPTOFEED)
def test_books_of_cryptofeed_are_the_quotes(data_dir: Path, name: str) -> None:
    decoder, messages = CRYPTOFEED[name], []
    for url, body in cryptofeed(data_dir, name):
        address = urlsplit(url)
        query = dict(parse_qsl(address.query))
        messages.append(decoder.decode_rest(address.path, query, body) if url else decoder.decode(body))
    count, gaps = compared(messages)
    print(name, "quotes compared:", count)
    assert count >= 25 and gaps == 0


FIXTURES = "nautilus_trader/adapter_fixtures/binance"


@pytest.mark.data
def test_examples_of_other_projects(data_dir: Path) -> None:
    files = sorted((data_dir / FIXTURES / "futures" / "market_data_json").glob("*.json"))
    kinds = [USDM.decode(path.read_bytes()).kind for path in files]
    assert kinds == ["bookTicker", "depth", "kline", "forceOrder", "ticker", "trade"]
    folder = data_dir / "xchange" / "xchange-stream-binance"
    texts = {path.stem.rpartition("__")[2]: path.read_text() for path in folder.glob("*test*Event.json")}
    bodies = {name: re.sub(r"//.*", "", text).encode() for name, text in texts.items()}
    assert refused(SPOT, texts["testTradeEvent"].encode()).reason == "unparsable", "its comments are no JSON"
    assert SPOT.decode(bodies["testTradeEvent"]).kind == "trade"
    assert SPOT.decode(bodies["testKlineEvent"]).kind == "kline"
    assert refused(SPOT, bodies["testDepthEvent"]).reason == "bad_field", "of a time before U and levels of two"
    body = (data_dir / "xchange" / "xchange-binance" / "__files__depth.json").read_bytes()
    assert SPOT.decode_rest("/api/v3/depth", {"symbol": "BTCUSDT"}, body).events[0].last == 1_027_024


@pytest.mark.data
def test_private_messages_are_no_market_data(data_dir: Path) -> None:
    lines = (data_dir / "gocryptotrader" / "binance_wsHandleData.json").read_bytes().splitlines()
    public = [line for line in lines if b'"BNBBTC@' in line]
    assert [SPOT.decode(line).kind for line in public] == ["ticker", "kline", "trade", "depth"]
    private = [line for line in lines if line not in public]
    private += [path.read_bytes() for path in (data_dir / FIXTURES).glob("*/user_data_json/*.json")]
    assert len(private) > 15
    for body in private:
        for decoder in (SPOT, USDM):
            assert refused(decoder, body).reason == "unknown_type", body


@pytest.mark.data
def test_recorded_routes(data_dir: Path) -> None:
    with gzip.open(data_dir / "gocryptotrader" / "binance_http_routes.json.gz") as file:
        routes = json.load(file)["routes"]
    count = 0
    for decoder, endpoint in ((SPOT, "/api/v3/depth"), (USDM, "/fapi/v1/depth")):
        for call in routes[endpoint]["GET"]:
            query = dict(parse_qsl(call["queryString"]))
            message = decoder.decode_rest(endpoint, query, bare(call["data"]))
            assert same(message, call["data"], decoder is USDM) == message.kind
            assert message.events[0].symbol == query["symbol"]
            count += 1
    assert count >= 4
