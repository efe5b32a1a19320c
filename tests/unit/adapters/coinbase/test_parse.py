"""Coinbase's messages as events: as the venue documents and sends them, with the recording where it is present."""

import bisect
import contextlib
import gzip
import json
import time
from collections import Counter, defaultdict
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4.adapters.coinbase import fields
from bot4.adapters.coinbase.parse import CoinbaseAdvanced
from bot4.ports.feed import REASONS, Bar, BookChange, Decoder, Message, MessageError, Quote, Status, Trade

D = Decimal
TIME = "2026-04-07T14:30:00.123456789Z"
TIME_NS = 1_775_572_200_123_456_789
EVENT = "2026-04-07T14:30:00.1Z"
EVENT_NS = 1_775_572_200_100_000_000
DECODER = CoinbaseAdvanced()


def _message(channel, *events, sequence=3):
    return json.dumps(
        {"channel": channel, "client_id": "", "timestamp": TIME, "sequence_num": sequence, "events": events},
        separators=(",", ":"),
    ).encode()


def _level(side, price, qty, when=EVENT):
    return {"side": side, "event_time": when, "price_level": price, "new_quantity": qty}


def _trade(number, side):
    return {"product_id": "BTC-USD", "trade_id": number, "price": "5.50", "size": "0.1", "time": EVENT, "side": side}


TICKER_PART = {
    "type": "ticker",
    "product_id": "BTC-USD",
    "price": "68900.50",
    "best_bid": "68900.00",
    "best_bid_quantity": "1.50000000",
    "best_ask": "68901.00",
    "best_ask_quantity": "0.50000000",
}
CANDLE_PART = {
    "start": "1775521800",
    "high": "68950.00",
    "low": "68850.00",
    "open": "68900.00",
    "close": "68920.50",
    "volume": "42.15",
    "product_id": "BTC-USD",
}
LEVELS = [_level("bid", "68900.00", "1.50"), _level("offer", "68901.00", "0", "2026-04-07T14:30:00.09Z")]
BOOK = _message("l2_data", {"type": "update", "product_id": "BTC-USD", "updates": LEVELS})
TRADES = _message("market_trades", {"type": "update", "trades": [_trade("8", "BUY"), _trade("7", "SELL")]})
TICKER = _message("ticker", {"type": "update", "tickers": [TICKER_PART]})
CANDLES = _message("candles", {"type": "update", "candles": [CANDLE_PART]})
HEARTBEAT = _message("heartbeats", {"current_time": "2026-08-09 21:05:48 +0000 UTC", "heartbeat_counter": 41691})
KINDS = [BOOK, TRADES, TICKER, CANDLES, HEARTBEAT]


def _refused(body):
    with pytest.raises(MessageError) as error:
        DECODER.decode(body)
    assert error.value.reason in REASONS and "\n" not in str(error.value)
    return error.value


def test_the_decoder_keeps_the_promise():
    decoder: Decoder = CoinbaseAdvanced()
    assert decoder.venue == "coinbase"
    with pytest.raises(MessageError, match="check sum"):
        decoder.checksum([], [])


def test_books_trades_quotes_and_bars():
    change = BookChange("BTC-USD", False, [(D("68900.00"), D("1.50"))], [(D("68901.00"), D(0))], None, None, EVENT_NS)
    assert DECODER.decode(BOOK) == Message("l2_data", [change], 3, TIME_NS)
    assert str(DECODER.decode(BOOK).events[0].bids[0][0]) == "68900.00"
    whole = DECODER.decode(BOOK.replace(b'"update"', b'"snapshot"'))
    assert whole.events == [change._replace(snapshot=True)]
    quote = Quote("BTC-USD", D(68900), D("1.5"), D(68901), D("0.5"), None, TIME_NS)
    assert DECODER.decode(TICKER) == Message("ticker", [quote], 3, TIME_NS)
    assert DECODER.decode(TICKER.replace(b'"ticker",', b'"ticker_batch",', 1)).kind == "ticker_batch"
    bar = Bar(
        "BTC-USD",
        1_775_521_800 * 10**9,
        300 * 10**9,
        D(68900),
        D(68950),
        D(68850),
        D("68920.5"),
        D("42.15"),
        False,
        TIME_NS,
    )
    assert DECODER.decode(CANDLES) == Message("candles", [bar], 3, TIME_NS)


def test_a_trade_has_the_takers_side_and_trades_the_order_made():
    first = Trade("BTC-USD", D("5.50"), D("0.1"), 1, "7", EVENT_NS)
    second = first._replace(side=-1, trade_id="8")
    assert DECODER.decode(TRADES) == Message("market_trades", [first, second], 3, TIME_NS)


def test_trades_from_before_the_subscription_are_no_events():
    history = {"type": "snapshot", "trades": [_trade("6", "BUY")]}
    assert DECODER.decode(_message("market_trades", history)) == Message("market_trades.snapshot", [], 3, TIME_NS)
    news = {"type": "update", "trades": [_trade("7", "BUY")]}
    both = DECODER.decode(_message("market_trades", history, news))
    assert both.kind == "market_trades" and [trade.trade_id for trade in both.events] == ["7"]
    history["trades"][0]["price"] = "NaN"
    assert _refused(_message("market_trades", history)).reason == "bad_number"


def test_a_ticker_without_its_best_orders_has_no_quote():
    for key in ("best_bid", "best_bid_quantity", "best_ask", "best_ask_quantity"):
        part = {name: value for name, value in TICKER_PART.items() if name != key}
        assert not DECODER.decode(_message("ticker_batch", {"type": "snapshot", "tickers": [part]})).events
        part[key] = ""
        assert not DECODER.decode(_message("ticker", {"type": "snapshot", "tickers": [part]})).events


def test_a_product_is_traded_that_is_online():
    products = [{"id": "BTC-USD", "status": "online", "status_message": ""}, {"id": "ETH-USD", "status": "Offline"}]
    events = [Status("BTC-USD", True, "online", TIME_NS), Status("ETH-USD", False, "offline", TIME_NS)]
    body = _message("status", {"type": "snapshot", "products": products}, sequence=9)
    assert DECODER.decode(body) == Message("status", events, 9, TIME_NS)
    assert DECODER.decode(_message("status", {}, sequence=9)) == Message("status", [], 9, TIME_NS)
    assert _refused(_message("status", {"type": "snapshot", "products": [{"id": "BTC-USD"}]})).reason == "bad_field"


def test_messages_without_market_data_count_too():
    for kind in ("heartbeats", "subscriptions"):
        assert DECODER.decode(_message(kind, {}, sequence=9)) == Message(kind, (), 9, TIME_NS)
    assert DECODER.decode(b'{"type":"error","message":"authentication failure"}') == Message("error")


def test_the_order_of_keys_and_blanks_do_not_matter():
    turned = json.dumps(dict(reversed(json.loads(BOOK).items())), indent=2).encode()
    assert DECODER.decode(turned) == DECODER.decode(BOOK)
    for body in KINDS[:4]:
        twice = body.replace(b',"client_id"', b',"channel":"user","client_id"')
        assert _refused(twice).reason == "unknown_type"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "unparsable"),
        (b"\xff", "unparsable"),
        (b'{"channel":"\xff"}', "unparsable"),
        (b'{"a":' + b"[" * 100_000, "unparsable"),
        (BOOK[:-1], "unparsable"),
        (BOOK + b"x", "unparsable"),
        (b"[]", "bad_field"),
        (b"{}", "unknown_type"),
        (b'{"channel":"user","timestamp":"","sequence_num":0,"events":[]}', "unknown_type"),
        (b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","1.00","0.5"]]}', "unknown_type"),
        (b'{"type":"snapshot","product_id":"BTC-USD","bids":[],"asks":[]}', "unknown_type"),
        (BOOK.replace(b'"bid"', b'"ask"'), "bad_field"),
        (BOOK.replace(b'"update"', b'"delta"'), "bad_field"),
        (TRADES.replace(b'"BUY"', b'"UNKNOWN_ORDER_SIDE"'), "bad_field"),
        (TRADES.replace(b'"7"', b'""'), "bad_field"),
        (HEARTBEAT.replace(b'"sequence_num":3', b'"sequence_num":-1'), "negative"),
        (HEARTBEAT.replace(b'"sequence_num":3', b'"sequence_num":9223372036854775808'), "bad_number"),
        (HEARTBEAT.replace(b'"sequence_num":3', b'"sequence_num":"3"'), "bad_field"),
        (HEARTBEAT.replace(b'"sequence_num":3,', b""), "bad_field"),
        (HEARTBEAT.replace(TIME.encode(), b"2026-02-30T00:00:00Z"), "bad_field"),
        (HEARTBEAT.replace(TIME.encode(), b"1969-01-01T00:00:00Z"), "bad_field"),
        (HEARTBEAT.replace(TIME.encode(), b"9999-01-01T00:00:00Z"), "bad_field"),
        (CANDLES.replace(b"1775521800", b"x"), "bad_field"),
        (CANDLES.replace(b"1775521800", b"9999999999"), "bad_field"),
    ],
)
def test_each_reason_is_reached(body, reason):
    assert _refused(body).reason == reason


NUMBERS = [(body, path) for body, paths in (
    (BOOK, [("updates", 0, "price_level"), ("updates", 1, "new_quantity")]),
    (TRADES, [("trades", 1, "price"), ("trades", 0, "size")]),
    (TICKER, [("tickers", 0, key) for key in TICKER_PART if key.startswith("best")]),
    (CANDLES, [("candles", 0, key) for key in ("open", "high", "low", "close", "volume")]),
) for path in paths]  # fmt: skip


def _spoilt(body, path, value):
    message = json.loads(body)
    here = message["events"][0]
    for part in path[:-1]:
        here = here[part]
    here[path[-1]] = value
    return json.dumps(message, separators=(",", ":")).encode()


@pytest.mark.parametrize(("body", "path"), NUMBERS)
def test_strange_numbers(body, path):
    key = path[-1]
    for value in ["NaN", "Infinity", "-Infinity", "-1", "-0", "", "1_0", " 1", "1e5", "+1", ".5", "5.", "٣", "x" * 300]:
        if value == "" and body is TICKER:
            continue
        error = _refused(_spoilt(body, path, value))
        assert error.reason == ("negative" if value in ("-1", "-0") else "bad_number") and key in str(error), value
    for value in [True, None, 1, -1, 0, 0.5, [], {}]:
        error = _refused(_spoilt(body, path, value))
        assert error.reason == "bad_field" and key in str(error), value
    for literal in (b"NaN", b"Infinity"):
        assert _refused(_spoilt(body, path, "LITERAL").replace(b'"LITERAL"', literal)).reason in (
            "bad_field",
            "unparsable",
        )
    if key in ("new_quantity", "volume"):
        assert DECODER.decode(_spoilt(body, path, "0.000")).events
    else:
        assert _refused(_spoilt(body, path, "0.000")).reason == "zero"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (BOOK, ("type",)),
        (BOOK, ("product_id",)),
        (BOOK, ("updates",)),
        (BOOK, ("updates", 0, "side")),
        (BOOK, ("updates", 1, "event_time")),
        (TRADES, ("trades", 0, "product_id")),
        (TRADES, ("trades", 0, "trade_id")),
        (TRADES, ("trades", 0, "time")),
        (TRADES, ("trades", 0, "side")),
        (TICKER, ("tickers", 0, "product_id")),
        (CANDLES, ("candles", 0, "product_id")),
        (CANDLES, ("candles", 0, "start")),
    ],
)
def test_strange_names_times_and_sides(body, path):
    key = path[-1]
    for value in [True, None, 1, {}, ""] + ([] if key.endswith("id") else ["NaN", "-1", "x"]):
        error = _refused(_spoilt(body, path, value))
        assert error.reason == "bad_field" and key in str(error), value
    message = json.loads(body)
    here = message["events"][0]
    for part in path[:-1]:
        here = here[part]
    del here[key]
    error = _refused(json.dumps(message).encode())
    assert error.reason == "bad_field" and key in str(error)


def test_times_are_exact():
    assert fields.seconds("1618678133", "t") == 1_618_678_133 * 10**9


# --- REST --------------------------------------------------------------------------------------------------------

ROOT = "/api/v3/brokerage/market/"
CANDLE = '{"start":"%s","low":"1","high":"3","open":"2","close":"2.5","volume":"9"}'


def test_rest_answers_become_events():
    book = (
        f'{{"pricebook":{{"product_id":"BTC-USD","bids":[{{"price":"1.50","size":"2"}}],"asks":[],"time":"{EVENT}"}}}}'
    )
    change = BookChange("BTC-USD", True, [(D("1.5"), D(2))], [], None, None, EVENT_NS)
    answer = DECODER.decode_rest(ROOT + "product_book?product_id=BTC-USD", {}, book.encode())
    assert answer == Message("rest.product_book", (change,))
    trades = json.dumps({"trades": [_trade("8", "BUY"), _trade("7", "SELL")], "best_bid": "", "best_ask": ""})
    answer = DECODER.decode_rest(ROOT + "products/BTC-USD/ticker", {}, trades.encode())
    assert answer.kind == "rest.ticker" and list(answer.events) == list(DECODER.decode(TRADES).events)
    candles = f'{{"candles":[{CANDLE % 120},{CANDLE % 60}]}}'.encode()
    query = {"granularity": "ONE_MINUTE"}
    answer = DECODER.decode_rest(ROOT + "products/BTC-USD/candles", query, candles)
    bar = Bar("BTC-USD", 60 * 10**9, 60 * 10**9, D(2), D(3), D(1), D("2.5"), D(9), False, 0)
    assert answer == Message("rest.candles", [bar, bar._replace(begin_ns=120 * 10**9)])
    assert DECODER.decode_rest(ROOT + "products", {}, b'{"products":[]}') == Message("rest.products")
    clock = f'{{"iso":"{EVENT}","epochSeconds":"1775572200"}}'.encode()
    assert DECODER.decode_rest("/api/v3/brokerage/time", {}, clock) == Message("rest.time", (), None, EVENT_NS)


@pytest.mark.parametrize(
    ("endpoint", "query", "body", "reason"),
    [
        ("accounts", {}, b"{}", "unknown_type"),
        ("product_book", {}, b"{}", "bad_field"),
        ("product_book", {}, b"<html>", "unparsable"),
        ("products", {}, b'{"error":"unknown"}', "bad_field"),
        ("candles", {"granularity": "ONE_MINUTE"}, b'{"candles":[%s]}' % (CANDLE % 60).encode(), "bad_field"),
        ("products/X/candles", {}, b'{"candles":[]}', "bad_field"),
        ("products/X/candles", {"granularity": "ONE_DAY"}, b'{"candles":[{}]}', "bad_field"),
        ("time", {}, b'{"iso":"now"}', "bad_field"),
    ],
)
def test_rest_answers_that_are_refused(endpoint, query, body, reason):
    with pytest.raises(MessageError) as error:
        DECODER.decode_rest(endpoint, query, body)
    assert error.value.reason == reason


REST = [
    (
        "product_book",
        f'{{"pricebook":{{"product_id":"X","bids":[{{"price":"1","size":"2"}}],"asks":[],"time":"{EVENT}"}}}}',
    ),
    ("products/X/ticker", json.dumps({"trades": [_trade("8", "BUY")]})),
    ("products/X/candles", f'{{"candles":[{CANDLE % 120}]}}'),
    ("time", f'{{"iso":"{EVENT}"}}'),
]


@pytest.mark.parametrize(("endpoint", "text"), REST)
def test_each_single_byte_of_an_answer_replaced_or_cut(endpoint, text):
    body, query = text.encode(), {"granularity": "ONE_DAY"}
    assert DECODER.decode_rest(endpoint, query, body).kind == "rest." + endpoint.rpartition("/")[2]
    for k in range(len(body)):
        for byte in b'\x00"\\-9eE.,:]}[{ n\xff':
            for spoilt in (body[:k], body[:k] + bytes([byte]) + body[k + 1 :]):
                with contextlib.suppress(MessageError):
                    DECODER.decode_rest(endpoint, query, spoilt)


# --- nothing else is ever raised ---------------------------------------------------------------------------------


def _never_raises(body):
    try:
        message = DECODER.decode(body)
    except MessageError as error:
        if error.reason not in REASONS:
            raise
    else:
        assert isinstance(message, Message)


@settings(max_examples=400, deadline=None)
@given(data=st.data(), body=st.sampled_from(KINDS))
def test_any_mutated_byte_is_a_message_or_its_error(data, body):
    spoilt = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    _never_raises(bytes(spoilt))


@pytest.mark.parametrize("body", KINDS)
def test_each_single_byte_replaced_or_cut(body):
    for k in range(len(body)):
        _never_raises(body[:k])
        for byte in b'\x00"\\-9eE.,:]}[{ n\xff':
            _never_raises(body[:k] + bytes([byte]) + body[k + 1 :])


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=60))
def test_any_bytes_are_a_message_or_its_error(body):
    _never_raises(body)


# --- the recording -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(data_dir):
    """Every message received, and what the decoder makes of it."""
    path = data_dir / "cryptofeed" / "2026-08-09_COINBASE_first60pct.jsonl.gz"
    with gzip.open(path, "rt") as lines:
        bodies = [line["data"].encode() for line in map(json.loads, lines) if line["t"] == "recv"]
    spent, found = Counter(), []
    for body in bodies:
        start = time.perf_counter_ns()
        message = DECODER.decode(body)
        spent[message.kind] += time.perf_counter_ns() - start
        found.append((body, message))
    counts = Counter(message.kind for _, message in found)
    figures = ", ".join(f"{kind} {counts[kind]} ({spent[kind] / counts[kind] / 1000:.1f} us)" for kind in counts)
    print(f"\ncoinbase: {len(found)} messages: {figures}")
    return found


def _as_json_says(event, raw_event, raw):
    if isinstance(event, BookChange):
        rows = raw_event["updates"]
        for levels, side in ((event.bids, "bid"), (event.asks, "offer")):
            wanted = [(row["price_level"], row["new_quantity"]) for row in rows if row["side"] == side]
            assert [(f"{price:f}", f"{qty:f}") for price, qty in levels] == wanted
        assert event.snapshot == (raw_event["type"] == "snapshot") and event.symbol == raw_event["product_id"]
    elif isinstance(event, Trade):
        assert (event.symbol, f"{event.price:f}", f"{event.qty:f}") == (raw["product_id"], raw["price"], raw["size"])
        assert (event.trade_id, event.side) == (raw["trade_id"], {"SELL": 1, "BUY": -1}[raw["side"]])
    elif isinstance(event, Quote):
        keys = ("best_bid", "best_bid_quantity", "best_ask", "best_ask_quantity")
        assert tuple(f"{value:f}" for value in event[1:5]) == tuple(raw[key] for key in keys)
    else:
        assert tuple(f"{v:f}" for v in event[3:8]) == tuple(raw[k] for k in ("open", "high", "low", "close", "volume"))
        assert event.begin_ns == int(raw["start"]) * 10**9


@pytest.mark.data
def test_every_recorded_message_decodes_to_what_json_says(recorded):
    kinds, wanted = Counter(), Counter()
    for body, message in recorded:
        raw = json.loads(body)
        (raw_event,) = raw["events"]
        history = raw["channel"] == "market_trades" and raw_event["type"] == "snapshot"
        kinds[message.kind] += 1
        wanted[raw["channel"] + (".snapshot" if history else "")] += 1
        if history or message.kind in ("heartbeats", "subscriptions"):
            assert not message.events
        elif message.kind == "l2_data":
            (event,) = message.events
            _as_json_says(event, raw_event, None)
        else:
            rows = raw_event[{"market_trades": "trades", "ticker": "tickers", "candles": "candles"}[message.kind]]
            rows = rows[::-1] if message.kind == "market_trades" else rows
            assert len(rows) == len(message.events) > 0
            for event, row in zip(message.events, rows, strict=True):
                _as_json_says(event, raw_event, row)
    assert kinds == wanted and set(kinds) == {
        "market_trades.snapshot",
        "market_trades",
        "subscriptions",
        "candles",
        "ticker",
        "l2_data",
        "heartbeats",
    }


@pytest.mark.data
def test_the_recorded_sequence_has_no_hole(recorded):
    assert [message.sequence for _, message in recorded] == list(range(len(recorded)))
    times = [message.venue_ns for _, message in recorded]
    assert all(times)
    print(f"\ncoinbase: sequence 0 to {len(recorded) - 1} without a hole")


@pytest.fixture(scope="module")
def best(recorded):
    """For each product the sequence numbers of its book's changes, and the best levels after each."""
    books, found = {}, defaultdict(lambda: ([], []))
    for _, message in recorded:
        for change in message.events if message.kind == "l2_data" else ():
            book = books.setdefault(change.symbol, ({}, {}))
            for side, levels in zip(book, (change.bids, change.asks), strict=True):
                if change.snapshot:
                    side.clear()
                for price, qty in levels:
                    if qty:
                        side[price] = qty
                    else:
                        side.pop(price, None)
            bid, ask = max(book[0]), min(book[1])
            assert bid < ask, "never crossed"
            sequences, bests = found[change.symbol]
            sequences.append(message.sequence)
            bests.append((bid, book[0][bid], ask, book[1][ask]))
    return found


@pytest.mark.data
def test_the_recorded_books_agree_with_the_tickers(recorded, best):
    """A ticker is of no certain change of the book; it is the book's best right before or after, but for late ones."""
    tally = Counter()
    for _, message in recorded:
        for quote in message.events if message.kind == "ticker" else ():
            sequences, bests = best[quote.symbol]
            k = bisect.bisect(sequences, message.sequence) - 1
            if k < 0:
                continue  # before the book's snapshot
            tally["tickers"] += 1
            prices = quote.bid, quote.ask
            tally["price before"] += prices == bests[k][::2]
            tally["price beside"] += prices in [level[::2] for level in bests[k : k + 2]]
            tally["price near"] += prices in [level[::2] for level in bests[max(k - 4, 0) : k + 6]]
            tally["all before"] += quote[1:5] == bests[k]
            tally["all beside"] += quote[1:5] in bests[k : k + 2]
            tally["all near"] += quote[1:5] in bests[max(k - 4, 0) : k + 6]
    print(f"\ncoinbase: tickers against the book before, before or after, and near: {dict(tally)}")
    assert tally["tickers"] > 90 and tally["price near"] == tally["tickers"]
    assert tally["price beside"] >= tally["tickers"] - 1 and tally["all near"] >= tally["tickers"] - 2


@pytest.mark.data
def test_the_recorded_sides_are_the_makers(recorded, best):
    """A buyer takes at the best ask of the book before, a seller at the best bid: so the sides are turned rightly."""
    tally = Counter()
    last = {}
    for _, message in recorded:
        for trade in message.events if message.kind == "market_trades" else ():
            assert int(trade.trade_id) > last.get(trade.symbol, 0), "in the order made"
            last[trade.symbol] = int(trade.trade_id)
            sequences, bests = best[trade.symbol]
            k = bisect.bisect(sequences, message.sequence) - 1
            if k >= 0:
                at = "ask" if trade.price >= bests[k][2] else "bid" if trade.price <= bests[k][0] else "between"
                tally[trade.side, at] += 1
    print(f"\ncoinbase: taker's side and where it traded: {dict(tally)}")
    assert tally[1, "ask"] > 30 and tally[-1, "bid"] > 10 and not tally[1, "bid"] and not tally[-1, "ask"]


@pytest.mark.data
def test_the_fixtures(data_dir):
    folder = data_dir / "nautilus_trader" / "adapter_fixtures" / "coinbase"
    kinds = [DECODER.decode(path.read_bytes()).kind for path in sorted(folder.glob("ws_*.json"))]
    assert kinds == ["candles", "l2_data", "l2_data", "subscriptions", "ticker"]
    for path in sorted(folder.glob("ws_*.json")):
        raw = json.loads(path.read_bytes())
        rows = [row for event in raw["events"] for key in ("tickers", "candles") for row in event.get(key, ())]
        events = DECODER.decode(path.read_bytes()).events
        for event, row in zip(events, rows or [None] * len(events), strict=True):
            _as_json_says(event, raw["events"][0], row)
    (book,) = DECODER.decode_rest(ROOT + "product_book", {}, (folder / "http_product_book.json").read_bytes()).events
    assert len(book.bids) == len(book.asks) == 5 and book.bids[0] == (D("68923.66"), D("0.17189468"))
    trades = DECODER.decode_rest(
        ROOT + "products/BTC-USD/ticker", {}, (folder / "http_ticker.json").read_bytes()
    ).events
    assert [trade.side for trade in trades] == [-1, 1, 1] and trades[-1].price == D("68923.67"), "the best ask"
    candles = (folder / "http_candles.json").read_bytes()
    bars = DECODER.decode_rest(ROOT + "products/BTC-USD/candles", {"granularity": "ONE_HOUR"}, candles).events
    assert [bar.begin_ns for bar in bars] == [1_712_188_800 * 10**9, 1_712_192_400 * 10**9]


@pytest.mark.data
def test_the_retired_feed_is_of_an_unknown_type(data_dir):
    folder = data_dir / "cryptofeed" / "2021-04-17_COINBASE_PRO"
    refused = Counter()
    for path in sorted(folder.glob("*.ws.*")):
        with gzip.open(path, "rt") as lines:
            for line in lines:
                if line.strip() and not line.startswith("wss:"):
                    refused[_refused(line.split(": ", 1)[1].encode()).reason] += 1
    print(f"\ncoinbase: {dict(refused)} messages of the retired feed refused")
    assert set(refused) == {"unknown_type"}
