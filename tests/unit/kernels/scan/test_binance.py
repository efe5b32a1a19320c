"""The scanner's table of decisions: what each kind of message needs, and what is wrong with those it refuses."""

import json

import numpy as np
import pytest
from reference.kernels.scan import is_narrow, ref_message
from rig.scan import COARSE, SPOT, USDM, assert_same, fast_message

from bot4.kernels.scan.binance import scan_time
from bot4.kernels.scan.scanned import MAX_LEVELS
from bot4.kernels.scan.token import find_newline

QUOTE = '{"stream":"btcusdt@bookTicker","data":{"u":5,"s":"BTCUSDT","b":"10.10","B":"2.00000","a":"10.20","A":"3.5"}}'
TRADE = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":7,"T":6,"s":"BTCUSDT","t":9,"p":"10.10","q":"0.002",'
    '"X":"MARKET","m":true}}'
)
DEPTH = (
    '{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":7,"T":6,"s":"BTCUSDT","U":4,"u":8,"pu":3,'
    '"b":[["10.10","1.000"],["10.00","0.000"]],"a":[["10.20","2.5"]]}}'
)
MARK = (
    '{"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate","E":7,"s":"BTCUSDT","p":"10.1","P":"10.2",'
    '"i":"10.3","r":"-0.00002760","T":8}}'
)
SNAPSHOT = '{"lastUpdateId": 7, "E": 5, "T": 4, "bids": [["10.10", "1.000"]], "asks": [["10.20", "2.5"]]}'
ALL = {"quote": QUOTE, "trade": TRADE, "depth": DEPTH, "mark": MARK, "snapshot": SNAPSHOT}


def check(text, listing=USDM):
    """Through both; the scanner's answer."""
    data = text if isinstance(text, bytes) else text.encode()
    assert_same(data, listing, ref_message(data, listing), is_narrow(data))
    return fast_message(data, listing)


@pytest.mark.parametrize("name", ALL)
def test_the_forms_of_the_venue(name):
    assert check(ALL[name]).reason == ""
    spaced = ALL[name].replace(":", " : ").replace(",", "\t, ").replace("{", "{ ").replace("[", "[ ").replace("]", " ]")
    assert check("  " + spaced + " \r").values == check(ALL[name]).values


@pytest.mark.parametrize("name", ["quote", "trade", "depth", "mark"])
def test_the_data_of_a_stream_alone_says_the_same(name):
    listing = SPOT if name == "quote" else USDM
    bare = ALL[name].partition('"data":')[2][:-1]
    wanted = check(ALL[name], listing)
    assert wanted.reason == "" and check(bare, listing) == wanted == check(f" {bare} ", listing)
    for length in range(len(bare)):
        assert check(bare[:length], listing).reason == "unparsable"
    assert check(bare.replace("BTCUSDT", "ETHUSDT"), listing).reason == "wrong_symbol"
    assert check(bare.replace('"s":"BTCUSDT",', ""), listing).reason == "unparsable"


def test_the_data_of_a_stream_alone_begins_with_its_event():
    quote = QUOTE.partition('"data":')[2][:-1]
    assert check(quote, USDM).reason == "unknown_stream"  # futures name the event of a quote
    assert check('{"e":"bookTicker",' + quote[1:], USDM).reason == ""
    trade = TRADE.partition('"data":')[2][:-1]
    for name in ("aggTrade", "trad", "trades", "", "depth"):
        assert check(trade.replace('"trade"', f'"{name}"')).reason == "unknown_stream"
    assert check('{"e":"kline","s":"BTCUSDT","k":{"t":1,"T":2}}').reason == "unknown_stream"
    assert check('{"s":"BTCUSDT",' + trade[1:]).reason == "unknown_stream"
    depth = DEPTH.partition('"data":')[2][:-1]
    assert check(depth.replace('"pu":3,', "")).reason == "unparsable"
    assert check(depth.replace('"pu":3,', ""), SPOT).reason == ""


@pytest.mark.parametrize("name", ALL)
def test_any_order_of_keys(name):
    message = json.loads(ALL[name])
    inner = message.get("data", message)
    turned = dict(reversed(inner.items()))
    text = json.dumps({"stream": message["stream"], "data": turned} if "data" in message else turned)
    assert check(text).values == check(ALL[name]).values


@pytest.mark.parametrize("name", ALL)
def test_a_truncated_message_is_unparsable(name):
    whole = ALL[name].encode()
    for length in range(len(whole)):
        assert fast_message(whole[:length], USDM).reason == "unparsable", whole[:length]
        assert check(whole[:length]).reason == "unparsable"


@pytest.mark.parametrize("name", ALL)
def test_each_needed_key_is_needed(name):
    message = json.loads(ALL[name])
    inner = message.get("data", message)
    optional = {"e", "E", "T", "X", "P", "i", "r"}
    for key in inner:
        rest = {other: value for other, value in inner.items() if other != key}
        text = json.dumps({"stream": message["stream"], "data": rest} if "data" in message else rest)
        reason = check(text).reason
        if key == "lastUpdateId":
            assert reason == "unknown_stream"
        else:
            assert reason == ("" if key in optional else "unparsable"), key


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"10.10"', '"10.15"', "off_tick"),
        ('"10.10"', '"0.00"', "zero"),
        ('"10.10"', '"-10.10"', "negative"),
        ('"10.10"', '"-0.0"', "negative"),
        ('"10.10"', '"NaN"', "bad_number"),
        ('"10.10"', '"Infinity"', "bad_number"),
        ('"10.10"', '"1e3"', "bad_number"),
        ('"10.10"', '"+10.1"', "bad_number"),
        ('"10.10"', '".1"', "bad_number"),
        ('"10.10"', '"10."', "bad_number"),
        ('"10.10"', '"1.0.1"', "bad_number"),
        ('"10.10"', '""', "bad_number"),
        ('"10.10"', '" 10.1"', "bad_number"),
        ('"10.10"', '"1' + "0" * 400 + '"', "overflow"),
        ('"10.10"', '"109951162777.6"', "overflow"),  # one tick more than a price may have
        ('"10.10"', '"109951162777.5"', ""),
        ('"10.10"', "10.10", "unparsable"),  # a number where a string belongs
        ('"10.10"', "null", "unparsable"),
    ],
)
@pytest.mark.parametrize("name", ["quote", "trade", "depth", "snapshot"])
def test_prices(name, old, new, reason):
    assert check(ALL[name].replace(old, new)).reason == reason


@pytest.mark.parametrize(
    ("new", "quote", "level"),
    [
        ("0", "zero", ""),
        ("0.0001", "off_lot", ""),
        ("-1", "negative", "negative"),
        ("1e-3", "bad_number", "bad_number"),
        ("999999999999999999", "overflow", "overflow"),
    ],
)
def test_quantities_of_quotes_and_levels(new, quote, level):
    assert check(QUOTE.replace("3.5", new)).reason == quote
    assert check(DEPTH.replace("2.5", new)).reason == level


def test_a_level_between_two_lots_counts_as_what_can_be_taken():
    assert check(DEPTH.replace("2.5", "0.0004")).values["a"] == [(102, 1)]
    assert check(DEPTH.replace("2.5", "2.5009")).values["a"] == [(102, 2500)]


def test_ticks_and_lots_that_are_no_power_of_ten():
    text = DEPTH.replace("10.10", "10.50").replace('"2.5"', '"75"').replace("1.000", "60")
    assert check(text.replace("10.20", "11"), COARSE).values["a"] == [(22, 3)]
    assert check(text.replace("10.20", "11"), COARSE).values["b"] == [(21, 2), (20, 0)]
    assert check(text.replace("10.20", "11.2"), COARSE).reason == "off_tick"


@pytest.mark.parametrize(
    ("new", "reason"),
    [("-5", "negative"), ("5.0", "bad_number"), ("5e1", "bad_number"), ("05", "unparsable"), ('"5"', "unparsable"),
     ("true", "unparsable"), ("9" * 19, "overflow"), ("9" * 18, ""), ("-", "unparsable"), ("5.", "unparsable")],
)  # fmt: skip
def test_whole_numbers(new, reason):
    assert check(QUOTE.replace('"u":5', f'"u":{new}')).reason == reason


def test_symbols():
    assert check(QUOTE.replace('"s":"BTCUSDT"', '"s":"ETHUSDT"')).reason == "wrong_symbol"
    assert check(QUOTE.replace("btcusdt@", "ethusdt@")).reason == "wrong_symbol"
    assert check(QUOTE.replace("btcusdt@", "BTCUSDT@")).reason == "wrong_symbol"
    assert check(QUOTE.replace('"s":"BTCUSDT"', '"s":"BTCUSD"')).reason == "wrong_symbol"
    assert check(QUOTE.replace('"s":"BTCUSDT"', '"s":7')).reason == "unparsable"


def test_streams_that_nobody_knows():
    for name in ("btcusdt@kline_1m", "btcusdt@bookTickers", "btcusdt@trades", "btcusdt", "btcusdt@", "btcusdt@kline"):
        found = check(QUOTE.replace("btcusdt@bookTicker", name))
        assert (found.kind, found.reason) == ("", "unknown_stream"), name
    assert check('{"result":null,"id":1}').reason == "unknown_stream"
    assert check("{}").reason == "unknown_stream"
    assert check("[]").reason == "unparsable"
    assert check("").reason == "unparsable"


@pytest.mark.parametrize("name", ALL)
def test_what_follows_a_message_belongs_to_it(name):
    for rest in ("x", "}", "{}", ALL[name], "1"):
        assert check(ALL[name] + rest).reason == "unparsable"
    assert check(ALL[name] + " \t\r ").reason == ""


def test_the_kind_of_a_refused_message_is_told():
    assert check(DEPTH[:-10]).kind == "depth"
    assert check(SNAPSHOT[:-10]).kind == "depth"
    assert check(TRADE.replace('"10.10"', '"0"')).kind == "trade"


def test_what_is_narrower_than_json():
    assert fast_message(QUOTE.replace('"u":5', '"u":5,"u":5').encode(), USDM).reason == "unparsable"
    assert fast_message(QUOTE.replace('"u":5', '"x":[1],"u":5').encode(), USDM).reason == "unparsable"
    assert fast_message(QUOTE.replace('"s"', '"\\u0073"').encode(), USDM).reason == "unparsable"
    assert fast_message(QUOTE.replace('"u":5', '"x":"é","u":5').encode(), USDM).reason == "unparsable"
    assert check(QUOTE.replace('"u":5', '"x":null,"y":-1.5e+3,"z":"","u":5')).reason == ""
    turned = '{"data":' + QUOTE.split('"data":')[1][:-1] + ',"stream":"btcusdt@bookTicker"}'
    assert json.loads(turned) and fast_message(turned.encode(), USDM).reason == "unparsable"
    assert fast_message((SNAPSHOT[:-1] + ',"stream":"btcusdt@trade"}').encode(), USDM).reason == "unparsable"


def test_trades_that_are_none_of_the_market():
    assert check(TRADE).values["off"] is False
    for name in ("INSURANCE_FUND", "MARKE", "MARKETS", "MARKET@", "market", ""):
        assert check(TRADE.replace('"MARKET"', f'"{name}"')).values["off"] is True
    assert check(TRADE.replace('"X":"MARKET",', "")).values["off"] is False
    empty = TRADE.replace(TRADE.split('"p":')[1].split(",", maxsplit=1)[0], '"0"').replace("MARKET", "NA")
    assert check(empty).reason == "" and check(empty).values["off"] is True  # as futures send them now and then
    assert check(empty.replace("NA", "MARKET")).reason == "zero"
    assert check(TRADE.replace("true", "false")).values["m"] is False
    for literal in ("tru", "truex", "null", "1", '"true"', "nil"):
        assert check(TRADE.replace("true", literal)).reason == "unparsable"


def test_mark_prices():
    assert check(MARK).values["r"] == -2760
    assert check(MARK.replace('"-0.00002760"', '""')).values["r"] == 0
    for rate in ("--1", "-", "x", "0.000000001"):
        assert check(MARK.replace("-0.00002760", rate)).reason == "bad_number"
    assert check(MARK.replace('"10.1"', '"0"')).reason == "zero"
    assert check(MARK.replace('"10.3"', '"0"')).reason == ""
    assert check(MARK.replace('"10.1"', '"9999999999.99999999"')).values["p"] == 10**18 - 1
    assert check(MARK.replace('"10.1"', '"10000000000"')).reason == "overflow"


def test_spot_needs_no_previous_update():
    assert check(DEPTH.replace('"pu":3,', ""), USDM).reason == "unparsable"
    assert check(DEPTH.replace('"pu":3,', ""), SPOT).reason == ""


def test_more_levels_than_a_message_may_have():
    level = '["10.10","1"]'
    for count, reason in ((MAX_LEVELS, ""), (MAX_LEVELS + 1, "too_many_levels")):
        text = DEPTH.replace('"a":[["10.20","2.5"]]', f'"a":[{",".join([level] * count)}]')
        assert fast_message(text.encode(), USDM).reason == reason
    assert check(DEPTH.replace('[["10.20","2.5"]]', "[]")).values["a"] == []
    for broken in ("[[]]", '[["1"]]', '[["1","2","3"]]', "[,]", '[["1","2"],]', '[["1","2"]', '["1","2"]', "[[1,2]]"):
        assert check(DEPTH.replace('[["10.20","2.5"]]', broken)).reason == "unparsable", broken


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"1680652700423575 {", (1_680_652_700_423_575_000, 17)),
        (b"1723161255030314667 {", (1_723_161_255_030_314_667, 20)),
        (b"8999999999999999999 {", (8_999_999_999_999_999_999, 20)),
        (b"9000000000000000000 {", (-1, 0)),
        (b"8999999999999999 {", (8_999_999_999_999_999_000, 17)),
        (b"9300000000000000 {", (-1, 0)),
        (b"168065270042357 {", (-1, 0)),
        (b"16806527004235751 {", (-1, 0)),
        (b"17231612550303146670 {", (-1, 0)),
        (b"0680652700423575 {", (-1, 0)),
        (b"1680652700423575{", (-1, 0)),
        (b"168065270042357x {", (-1, 0)),
        (b"-680652700423575 {", (-1, 0)),
        (b" {", (-1, 0)),
        (b"", (-1, 0)),
    ],
)
def test_receive_times(line, expected):
    assert scan_time(np.frombuffer(line + b"\n", np.uint8).copy(), np.int64(0)) == expected


def test_newlines():
    text = np.frombuffer(b"ab\ncd\n\n", np.uint8)
    assert [find_newline(text, np.int64(at), np.int64(7)) for at in (0, 2, 3, 6, 7)] == [2, 2, 5, 6, -1]
    assert find_newline(text, np.int64(3), np.int64(5)) == -1
