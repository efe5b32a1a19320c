"""Raw captures of the three forms: which files belong together, and every message as it was received."""

import gzip
import json
import time

import pytest

from bot4.adapters.files.raw import LINE_BYTES, RawMessage, find_captures, venue_of
from bot4.cli.data import check_capture
from bot4.model.errors import RecordingError

STREAMS = b"""1723161256172216566 {"stream":"btcusdt@bookTicker","data":{"u":5,"s":"BTCUSDT","b":"1","B":"1"}}
1723161256172216567 {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","s":"BTCUSDT","U":1,"u":2,"b":[],"a":[]}}
1723161256172216568 {"lastUpdateId":1,"bids":[],"asks":[]}

damaged line
"""
SECOND = b"""wss://ws.kraken.com <-> 1618678132.368463
wss://ws.kraken.com <- 1618678132.83097: {"event":"subscribe"}
1618678132.831468: {"event":"systemStatus"}
1618678133.5: {"a":
 1}

"""


def test_lines_of_streams_with_their_snapshot(tmp_path):
    path = tmp_path / "spot.gz"
    path.write_bytes(gzip.compress(STREAMS))
    (capture,) = find_captures([path])
    assert (capture.name, capture.venue, capture.files) == ("binance_spot:BTCUSDT", "binance_spot", (path,))
    found = list(capture.messages())
    assert [(message.ts_ns, message.rest) for message in found] == [
        (1723161256172216566, False), (1723161256172216567, False), (1723161256172216568, True), (0, False),
    ]  # fmt: skip
    assert found[2].url == "https://api.binance.com/api/v3/depth?symbol=BTCUSDT"
    assert found[3].body == b"damaged line\n"  # whoever decodes it refuses it: nothing is lost here


def test_files_of_one_folder_are_joined_by_time(tmp_path):
    (tmp_path / "KRAKEN.ws.48.0").write_bytes(SECOND)
    rest = b'https://api.kraken.com/0/public/AssetPairs -> 1618678133.0: {"x":1}\nconfiguration: {}\n'
    (tmp_path / "KRAKEN.0").write_bytes(rest)
    (capture,) = find_captures([tmp_path])
    assert capture.name == "KRAKEN" and len(capture.files) == 2
    assert list(capture.messages()) == [
        RawMessage(1618678132831468000, "KRAKEN.ws.48.0", "kraken_v1", False, "wss://ws.kraken.com",
                   b'{"event":"systemStatus"}\n'),
        RawMessage(1618678133000000000, "KRAKEN.0", "kraken_v1", True, "https://api.kraken.com/0/public/AssetPairs",
                   b'{"x":1}\n'),
        RawMessage(1618678133500000000, "KRAKEN.ws.48.0", "kraken_v1", False, "wss://ws.kraken.com", b'{"a":\n 1}\n'),
    ]  # fmt: skip


BOOK = '"b":[["9.0","1"]],"a":[["10","5"]]'
FUTURES = f'{{"e":"depthUpdate","s":"BTCUSDT","E":1,"T":1,"U":4,"u":8,"pu":3,{BOOK}}}'
SPOT = '{"lastUpdateId":8,"bids":[["9.0","1"]],"asks":[["10","5"]]}'


@pytest.mark.parametrize("form", ["second", "third"])
@pytest.mark.parametrize(("host", "body"), [("fstream.binance.com", FUTURES), ("stream.binance.com:9443", SPOT)])
def test_a_partial_book_that_its_address_alone_names_is_one(tmp_path, host, body, form):
    found = []
    for stream in ("btcusdt@depth20@100ms", "btcusdt@depth@100ms"):
        address, answer = f"wss://{host}/ws/{stream}", '{"result":null,"id":1}'
        lines = [{"t": "connect", "conn": "W", "ts": 2.0, "addr": address}]
        lines += [{"t": "recv", "conn": "W", "ts": 2.5, "data": data} for data in (answer, body)]
        path = tmp_path / stream
        if form == "third":
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        else:
            path.write_text(f"{address} <-> 1723161256.0\n1723161257.0: {answer}\n1723161257.1: {body}\n")
        (capture,) = find_captures([path])
        said, book = (message.body.strip().decode() for message in capture.messages())
        assert said == answer
        found.append(book)
        kinds = check_capture(capture)["messages"]
        assert kinds["result"] == 1 and ("depth20" in kinds) == ("depth20" in stream)
    assert found == [f'{{"stream":"btcusdt@depth20@100ms","data":{body}}}', body]


def test_everything_in_one_file(tmp_path):
    lines = [
        {"t": "header", "format": 2},
        {"t": "http", "conn": "H", "ts": 1.5, "url": "https://api.bybit.com/v5/x?category=linear", "data": "{}"},
        {"t": "connect", "conn": "W", "ts": 2.0, "addr": "wss://stream.bybit.com/v5/public/spot"},
        {"t": "send", "conn": "W", "ts": 2.1, "data": "{}"},
        {"t": "recv", "conn": "W", "ts": 2.25, "data": "[]"},
    ]
    path = tmp_path / "BYBIT.jsonl"
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    (capture,) = find_captures([path])
    assert [(m.ts_ns, m.connection, m.venue, m.rest, m.body) for m in capture.messages()] == [
        (1_500_000_000, "H", "bybit_linear", True, b"{}"),
        (2_250_000_000, "W", "bybit_spot", False, b"[]"),
    ]
    path.write_text(path.read_text() + '\n{"t":"recv","conn":"W","ts":1e300,"data":"{}"}\n{"t":"re')
    *_, timeless, cut = capture.messages()
    assert (timeless.venue, timeless.body[:9]) == ("bybit_spot", b'{"t":"rec'), "whoever decodes it refuses it"
    assert (cut.venue, cut.body) == ("bybit_spot", b'{"t":"re')


BAR = '{"topic":"kline.1.A","data":[{}]}'
BOOK = '{"topic":"orderbook.50.A","data":{}}'
TICKER = '{"topic":"tickers.A","data":{"markPrice":"1"}}'


def third(*lines):
    return "".join(json.dumps(line) + "\n" for line in lines)


def received(conn, ts, data):
    return {"t": "recv", "conn": conn, "ts": ts, "data": data}


def test_a_capture_that_begins_in_the_middle_is_told_by_its_messages(tmp_path):
    """Of each connection without an address: those that come later tell the market of the first ones."""
    path = tmp_path / "BYBIT.jsonl"
    other = {"t": "connect", "conn": "V", "ts": 3.5, "addr": "wss://stream.bybit.com/v5/public/spot"}
    path.write_text(
        'cut off"}\n\n' + third(received("W", 1.0, BOOK), received("W", 2.0, BAR), received("W", 3.0, TICKER))
        + third(other, received("V", 4.0, BOOK))
    )  # fmt: skip
    (capture,) = find_captures([path])
    assert [(message.connection, message.venue) for message in capture.messages()] == [
        ("", "bybit_linear"), ("W", "bybit_linear"), ("W", "bybit_linear"), ("W", "bybit_linear"), ("V", "bybit_spot"),
    ]  # fmt: skip
    second = tmp_path / "OTHER.ws.1.0"
    second.write_text(f'"x":1}}\n1.5: {BOOK}\n2.5: {TICKER}\n')
    (capture,) = find_captures([second])
    assert [(message.ts_ns, message.venue) for message in capture.messages()] == [
        (0, "bybit_linear"), (1_500_000_000, "bybit_linear"), (2_500_000_000, "bybit_linear"),
    ]  # fmt: skip


def test_a_connection_that_is_made_again_is_another_one(tmp_path):
    """Its venue numbers its messages anew."""
    address = "wss://advanced-trade-ws.coinbase.com"
    connect = {"t": "connect", "conn": "W", "ts": 1.0, "addr": address}
    first, second = tmp_path / "COINBASE.jsonl", tmp_path / "COINBASE.ws.1.0"
    first.write_text(third(connect, received("W", 2.0, "{}"), connect, received("W", 3.0, "{}")))
    second.write_text(f"{address} <-> 1.0\n2.0: {{}}\n{address} <-> 2.5\n3.0: {{}}\n")
    for path in (first, second):
        (capture,) = find_captures([path])
        one, other = [message.connection for message in capture.messages()]
        assert other == f"{one}#2"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_lines_that_begin_in_the_middle_of_one(tmp_path, end):
    path = tmp_path / "spot"
    trade = '{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","M":true}}'
    cut = "9" * 200_000 + '"],"asks":[]}'  # of a snapshot
    path.write_text(end.join(["", cut, f"1723161256172216566 {trade}", f"1723161256172216567 {trade}", "17231"]))
    (capture,) = find_captures([path])
    assert capture.name == "binance_spot:BTCUSDT", "trades alone tell the market"
    assert [message.ts_ns for message in capture.messages()] == [0, 1723161256172216566, 1723161256172216567, 0]


ROW = '{"T":1,"s":"A","S":"Buy","v":"1","p":"2","L":"PlusTick","i":"x","BT":false,"seq":1}'
TRADE = f'{{"topic":"publicTrade.A","type":"snapshot","ts":1,"data":[{ROW}]}}'
FORMS = {
    "lines": "%s " + TRADE,
    "second": "%s: " + TRADE,
    "rest": "https://api.bybit.com/v5/market/time -> %s: " + TRADE,
    "third": '{"t": "recv", "conn": "a", "ts": %s, "data": ' + json.dumps(TRADE) + "}",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_message_at_a_time_that_no_feed_can_count_with_is_one_that_is_refused(tmp_path, form):
    good, late = ("1723161256172216566", "9300000000000000") if form == "lines" else ("1723161256.5", "9300000000.5")
    path = tmp_path / "BYBIT.ws.1.0"
    path.write_text("".join(FORMS[form] % at + "\n" for at in (good, late, good)))
    (capture,) = find_captures([path])
    found = list(capture.messages())
    assert late.encode() in found[1].body and all(late.encode() not in found[place].body for place in (0, 2))
    assert all(message.ts_ns < 2**63 for message in found)
    if form != "rest":
        checked = check_capture(capture)
        assert (checked["messages"], sum(checked["rejected"].values())) == ({"publicTrade": 2}, 1)


def test_lines_of_any_venue_are_a_capture(tmp_path):
    path = tmp_path / "linear.txt"
    path.write_text(f"1723161256172216566 {BOOK}\n1723161256172216567 {TICKER}\n")
    (capture,) = find_captures([path])
    assert (capture.name, capture.venue, capture.symbol) == ("bybit_linear:A", "bybit_linear", "A")


@pytest.mark.parametrize(("magic", "packer"), [(b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh9", "bzip2")])
def test_a_file_that_is_packed_otherwise_is_refused_by_its_packers_name(tmp_path, magic, packer):
    path = tmp_path / "spot"
    path.write_bytes(magic + bytes(100))
    with pytest.raises(RecordingError, match=packer):
        find_captures([path])


@pytest.mark.parametrize("content", [b"", b"open,high\n1,2\n", b"\x00\x01\x02"])
def test_what_is_no_capture_is_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="file"):
        find_captures([path])


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "KRAKEN.ws.1.0.gz"
    path.write_bytes(gzip.compress(SECOND * 500)[:-20])
    with pytest.raises(RecordingError, match="truncated"):
        list(find_captures([path])[0].messages())


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(RecordingError, match="no plain file"):
        find_captures([tmp_path])


@pytest.mark.parametrize(
    ("url", "venue"),
    [
        ("wss://fstream.binance.com/stream?streams=a", "binance_usdm"),
        ("wss://stream.binance.com:9443/ws", "binance_spot"),
        ("wss://ws.kraken.com/v2", "kraken_v2"),
        ("https://api.bybit.com/v5/market/tickers?category=spot", "bybit_spot"),
        ("wss://advanced-trade-ws.coinbase.com", "coinbase"),
        ("wss://ws.okx.com:8443/ws/v5/public", ""),
        ("", ""),
    ],
)
def test_the_address_tells_the_venue(url, venue):
    assert venue_of(url) == venue


@pytest.mark.parametrize(
    "line",
    [
        b"https://x/y -> 1.2.3: {}\n",
        b"https://x/y -> " + b"9" * 5_000 + b".1: {}\n",
        b"9" * 25 + b".5: {}\n",
        b'{"t":"recv","conn":"W","ts":1e300,"data":""}\n',
        b'{"t":"recv","conn":"W","ts":-1,"data":""}\n',
        b"x" * (LINE_BYTES + 1),
    ],
)
def test_a_line_beyond_all_bounds_is_refused(tmp_path, line):
    path = tmp_path / "X.ws.1.0"
    path.write_bytes(line)
    with pytest.raises(RecordingError, match=r"X\.ws"):
        list(find_captures([path])[0].messages())


def test_an_address_that_is_none_has_no_venue(tmp_path):
    path = tmp_path / "X.0"
    path.write_bytes(b"https://[api/ -> 1618678133.5: {}\n")
    (message,) = find_captures([path])[0].messages()
    assert message.venue == ""


def test_a_body_of_many_lines_is_read_in_one_go_or_refused(tmp_path):
    path = tmp_path / "X.0"
    head = b"https://api.kraken.com/0 -> 1618678133.5: {\n"
    path.write_bytes(head + b"1,\n" * 9_000)
    (message,) = find_captures([path])[0].messages()
    assert len(message.body) == 2 + 3 * 9_000
    path.write_bytes(head + b"1,\n" * 60_000)
    with pytest.raises(RecordingError, match="lines"):
        list(find_captures([path])[0].messages())


def read_in(path, number, line):
    """Seconds for so many lines that tell no venue, the best of three."""
    path.write_bytes(b"".join(line % (1_700_000_000 + at) for at in range(number)) + LAST[path.suffix])
    (capture,) = find_captures([path])
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        assert len(list(capture.messages())) == number + 1
        times.append(time.perf_counter() - begun)
    return min(times)


LAST = {".1": b'1.5: {"b":1}\n', ".jsonl": b'{"t":"recv","conn":"b","ts":1700000000.0,"data":"{}"}\n'}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("X.ws.1", b'%d.5: {"a":1}\n'),
        ("x.jsonl", b'{"t":"recv","conn":"a\x96","ts":%d.0,"data":"{}"}\n'),  # a byte that is no text
    ],
)
def test_a_file_that_tells_no_venue_takes_as_long_as_it_has_lines(tmp_path, name, line):
    few, many = read_in(tmp_path / name, 200, line), read_in(tmp_path / name, 1_600, line)
    assert many < 24 * few, "eight times as many lines"
