"""Captures of connections become recordings: the books of the slow check, and the same again from every replay."""

import functools
import gzip
import json
import re
import resource
import subprocess
import sys
import zlib
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from rig.captured import SIZES, books_of, settings_of
from rig.command import session, settings_in, start_with
from rig.live import ReaderBook
from rig.market import MARKETS, START_MS, KrakenMarket, compact

from bot4.adapters.files.raw import find_captures
from bot4.adapters.files.recording import Recording
from bot4.cli.data import check_capture
from bot4.model.enums import STATUS_STALE, TICK_LEVEL, TICK_STATUS, TICK_TRADE
from bot4.model.records import TICK

# capture: venue, messages of its streams, trades, refused messages
CAPTURES = {
    "2021-04-17_KRAKEN": ("kraken", 4_279 + 8 + 18 + 125, 10, {}),
    "2021-07-22_BINANCE_FUTURES": ("binance_usdm", 1_535, 91, {"before_snapshot": 15}),
    "2021-10-12_BINANCE": ("binance_spot", 265, 2, {"before_snapshot": 5}),
    "2026-08-09_BYBIT_first60pct.jsonl.gz": ("bybit_linear", 1_932, 188, {}),
    "2026-08-09_COINBASE_first60pct.jsonl.gz": ("coinbase", 614, 57, {}),
}
LEVELS = 5_000  # of a side that are compared: what the feed keeps of a book at least
README = Path(__file__).resolve().parents[2] / "README.md"
pytestmark = pytest.mark.compiled
MS = 1_000_000


def command(*arguments, **options):
    """`bot4-data`, to its end."""
    line = [sys.executable, "-m", "bot4.cli.data", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=600, **options)


def convert(source, out, config):
    """What the command says as JSON, and its complaints."""
    result = command("convert", source, out, "--config", config, "--json")
    return (json.loads(result.stdout) if result.returncode == 0 else None), result.stderr


def rows_of(folder):
    """All records of a recording."""
    blocks = list(Recording([Path(folder)]).blocks())
    return np.concatenate(blocks) if blocks else np.zeros(0, TICK)


def books_at_the_end(folder):
    """By (symbol, venue): the book that a reader of the recording has."""
    listed = Recording([Path(folder)]).chosen
    books = [ReaderBook() for _ in listed]
    for row in rows_of(folder):
        books[int(row["instrument"])].take(row)
    return {(one.listed.symbol, one.listed.venue): book for one, book in zip(listed, books, strict=True)}


def expected_top(book, venue, symbol, count):
    """The best levels of a book of decimals, in ticks and lots as readers are told them."""
    tick, lot = (Decimal(size) for size in SIZES[venue][symbol][:2])
    return tuple(
        [(int(price / tick), max(int(qty / lot), 1)) for price, qty in book.levels(row, count)] for row in (0, 1)
    )


def same_rows(one, other):
    """Whether two recordings hold the same records, bit for bit."""
    return all((one[name] == other[name]).all() for name in TICK.names) if len(one) == len(other) else False


@pytest.mark.data
@pytest.mark.parametrize("name", CAPTURES)
def test_the_recording_ends_with_the_books_of_the_slow_check(data_dir, tmp_path, name):
    venue, messages, trades, refused = CAPTURES[name]
    source, config = data_dir / "cryptofeed" / name, settings_of(tmp_path, venue)
    said, complaints = convert(source, tmp_path / "out", config)
    assert said is not None, complaints
    assert (said["messages"], said["dropped"], said["lacking"]) == (messages, 0, [])
    said["refused"].pop("passed_over", 0)  # what a connection said before its book
    assert said["refused"] == refused
    rows = rows_of(said["folder"])
    assert len(rows) == said["ticks"] and (np.diff(rows["ts_recv_ns"]) >= 0).all()
    assert (rows["kind"] == TICK_TRADE).sum() == trades
    found, wanted = books_at_the_end(said["folder"]), books_of(source)
    assert sorted(found) == sorted(wanted)
    for key, book in wanted.items():
        assert found[key].whole and found[key].top(LEVELS) == expected_top(book, venue, key[0], LEVELS), key

    again = command("record", "--feed", f"replay:{said['folder']}", "--out", tmp_path / "again", "--config", config)
    assert again.returncode == 0, again.stderr
    assert same_rows(rows, rows_of(tmp_path / "again"))
    if venue == "bybit_linear":
        result = start_with(config, tmp_path, "--feed", f"replay:{said['folder']}", "--pace", "event")
        assert result.returncode == 0, result.stderr
        levels = session(tmp_path)["levels"]
        assert sum(levels.values()) == (rows["kind"] == TICK_LEVEL).sum() > 0 and all(levels.values())


def kraken_capture(folder, *, made_again=False):
    """A conversation of version 2 in the second form, and the market that it is of: its last book is the capture's.

    ETH/USD has a trade and never a book; of BTC/USD the book is asked for twice, and half a minute is silent.
    """
    market = KrakenMarket(3)
    lines = [b"wss://ws.kraken.com/v2 <-> 1723161256.000000\n"]
    at_ms = START_MS
    market.time_ms = lambda: at_ms

    def say(body):
        lines.append(b"%d.%06d: %s\n" % (*divmod(at_ms * 1_000 + 5_000, 1_000_000), body))

    for number in range(300):
        at_ms += 30_000 if number == 120 else 200
        if made_again and number == 150:
            lines.append(b"wss://ws.kraken.com/v2 <-> 1723161256.200000\n")
            say(market.next("quote").body)  # of the new connection, before it has said its book
        if number in (0, 80) or (made_again and number == 160):
            say(SUBSCRIBED)
            say(market.whole())
        say(market.next().body)
        if number == 0:
            say(market.trade(market.mid, 5, True).replace(b"BTC/USD", b"ETH/USD"))
    path = folder / "KRAKEN.ws.1.0"
    path.write_bytes(b"".join(lines))
    return path, market


SUBSCRIBED = b'{"method":"subscribe","result":{"channel":"book","depth":25,"symbol":"BTC/USD"},"success":true}'


@pytest.mark.parametrize("made_again", [False, True])
def test_a_conversation_of_kraken_becomes_its_book(tmp_path, made_again):
    source, market = kraken_capture(tmp_path, made_again=made_again)
    said, complaints = convert(source, tmp_path / "out", settings_of(tmp_path, "kraken"))
    assert said is not None, complaints
    assert said["lacking"] == ["ETH/USD of kraken: no book became whole, so no session trades on it"]
    book = books_at_the_end(said["folder"])["BTC/USD", "kraken"]
    assert book.whole and book.top(20) == market.top()
    rows = rows_of(said["folder"])
    assert rows["ts_recv_ns"][0] == (START_MS + 205) * MS and rows["ts_recv_ns"][-1] <= (market.now_ms + 5) * MS
    stale = rows[(rows["kind"] == TICK_STATUS) & (rows["w0"] == STATUS_STALE)]
    assert len(stale) == made_again  # with its connection, until the next one has said the book
    assert ("passed_over" in said["refused"]) == made_again  # what the new one said before that
    assert said["messages"] == 305 + 3 * made_again


def test_lines_of_another_venue_are_one_connection(tmp_path):
    source, _ = kraken_capture(tmp_path)
    received = [line.partition(b": ") for line in source.read_bytes().splitlines()[1:]]
    lines = tmp_path / "lines.gz"
    lines.write_bytes(
        gzip.compress(b"".join(b"%s000 %s\n" % (at.replace(b".", b""), body) for at, _, body in received))
    )
    config = settings_of(tmp_path, "kraken")
    said, complaints = convert(lines, tmp_path / "out", config)
    assert said is not None, complaints
    other, _ = convert(source, tmp_path / "other", config)
    assert same_rows(rows_of(said["folder"]), rows_of(other["folder"]))


def test_no_record_is_lost_however_many_whole_books_come_at_once(tmp_path):
    levels = [[[f"{60_000 + side * (1 + step) / 10:.1f}", "0.5"] for step in range(1_000)] for side in (-1, 1)]
    lines = [b"wss://stream.bybit.com/v5/public/linear <-> 1723161256.0\n"]
    for number in range(1, 101):
        data = {"s": "BTCUSDT", "b": levels[0], "a": levels[1], "u": number, "seq": number}
        book = {"topic": "orderbook.1000.BTCUSDT", "type": "snapshot", "ts": START_MS, "data": data}
        lines.append(b"1723161256.1: %s\n" % compact(book))
    path = tmp_path / "BYBIT.ws.1.0"
    path.write_bytes(b"".join(lines))
    said, complaints = convert(path, tmp_path / "out", settings_of(tmp_path, "bybit_linear"))
    assert said is not None, complaints
    assert said["dropped"] == 0 and said["ticks"] >= 100 * 2_000 and said["refused"] == {}


class FirstVersion:
    """A book of ten levels a side of XBT/USD in the words of version 1, five decimals of a price that has one."""

    def __init__(self):
        self.lines = [b"wss://ws.kraken.com <-> 1723161256.0\n"]
        self.bids, self.asks = {}, {}
        self._at = 1723161256_000_000

    def say(self, *parts):
        """A message; times go on by a tenth of a second."""
        self._at += 100_000
        message = compact([7, *parts]) if parts else b"[7,"
        self.lines.append(b"%d.%06d: %s\n" % (*divmod(self._at, 1_000_000), message))

    def row(self, price, qty):
        """A level as it is sent."""
        return [f"{price / 10:.5f}", f"{qty / 100_000:.8f}", f"{self._at / 1e6:.6f}"]

    def snapshot(self):
        """The whole book."""
        self.bids = {600_000 - step: 1_000 + step for step in range(10)}
        self.asks = {600_001 + step: 2_000 + step for step in range(10)}
        rows = [[self.row(*level) for level in side.items()] for side in (self.asks, self.bids)]
        self.say({"as": rows[0], "bs": rows[1]}, "book-10", "XBT/USD")

    def change(self, *levels, wrong=0):
        """Asks change; those that fall out of the ten best are forgotten, and what is left is summed up."""
        self.asks |= dict(levels)
        self.asks = dict([level for level in sorted(self.asks.items()) if level[1]][:10])
        best = [*sorted(self.asks.items()), *sorted(self.bids.items(), reverse=True)]
        digits = "".join(text.replace(".", "").lstrip("0") for level in best for text in self.row(*level)[:2])
        checksum = str(zlib.crc32(digits.encode()) + wrong)
        self.say({"a": [self.row(*level) for level in levels], "c": checksum}, "book-10", "XBT/USD")

    def write(self, folder):
        """The capture."""
        path = folder / "KRAKEN.ws.1.0"
        path.write_bytes(b"".join(self.lines))
        return path


DAMAGES = {"none": {}, "sum": {"wrong": 1}, "unreadable": None}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_sum_of_the_first_version_that_is_wrong_makes_the_book_stale_until_the_next_one(tmp_path, damage):
    market = FirstVersion()
    market.snapshot()
    market.change((600_003, 5), (600_011, 4))  # the last one is deeper than ten levels
    market.change((600_002, 0), (600_010, 7))
    if damage == "unreadable":
        market.say()
    else:
        market.change((600_004, 9), **DAMAGES[damage])
    market.change((600_005, 11))
    market.say([["60000.10000", "0.50000000", "1723161256.500000", "b", "l", ""]], "trade", "XBT/USD")
    market.snapshot()
    market.change((600_006, 3))
    said, complaints = convert(market.write(tmp_path), tmp_path / "out", settings_of(tmp_path, "kraken"))
    assert said is not None, complaints
    rows = rows_of(said["folder"])
    book = books_at_the_end(said["folder"])["BTC/USD", "kraken"]
    assert book.whole and book.top(20) == (sorted(market.bids.items(), reverse=True), sorted(market.asks.items()))
    assert (rows["kind"] == TICK_TRADE).sum() == 1
    stale = rows[(rows["kind"] == TICK_STATUS) & (rows["w0"] == STATUS_STALE)]
    refused = {
        "none": {},
        "sum": {"bad_checksum": 1, "no_snapshot": 1},
        "unreadable": {"unreadable": 1, "no_snapshot": 1},
    }
    assert said["refused"] == refused[damage] and len(stale) == (damage != "none")


def streams_alone(folder, form):
    """A market of Binance whose messages bear no envelope, as streams that are subscribed to alone send them.

    form : lines, or connections: one a stream
    """
    market, lines, files = MARKETS["binance_spot"](3), [], {"depth": [], "quote": [], "trade": []}
    at_ms = START_MS
    market.time_ms = lambda: at_ms
    path = folder / form
    path.mkdir()
    for number in range(300):
        at_ms += 20
        message = market.next(("quote", "depth", "trade", "depth")[number % 4])
        body = message.body.partition(b'"data":')[2][:-1]
        lines.append(b"%d %s\n" % (at_ms * MS, body))
        files[message.about].append(b"%d.%03d: %s\n" % (*divmod(at_ms, 1_000), body))
        if number == 1:
            lines.append(b"%d %s\n" % (at_ms * MS + 1_000, market.whole()))
            said = b"https://api.binance.com/api/v3/depth?symbol=BTCUSDT -> %d.%03d001: %s\n"
            (path / "BINANCE.http.0.0").write_bytes(said % (*divmod(at_ms, 1_000), market.whole()))
    if form == "lines":
        (path / "BINANCE.http.0.0").write_bytes(b"".join(lines))
        return path, market
    for number, (name, said) in enumerate(files.items()):
        address = b"wss://stream.binance.com:9443/ws/btcusdt@%s <-> 1723161256.0\n" % name.encode()
        (path / f"BINANCE.ws.{number}.0").write_bytes(address + b"".join(said))
    return path, market


def test_streams_that_were_subscribed_to_alone_say_the_same(tmp_path):
    config = settings_in(tmp_path)
    for form in ("lines", "connections"):
        source, market = streams_alone(tmp_path, form)
        said, complaints = convert(source, tmp_path / f"{form}.out", config)
        assert said is not None, complaints
        assert said["lacking"] == [] and set(said["refused"]) <= {"before_snapshot"}, said
        book = books_at_the_end(said["folder"])["BTCUSDT", "binance_spot"]
        assert book.whole and book.top(20) == market.top()
        assert (rows_of(said["folder"])["kind"] == TICK_TRADE).sum() == 75
        checked = check_capture(find_captures([source])[0])
        assert checked["messages"]["depth"] == 150 and not checked["rejected"]
        assert checked["book"]["compared"] == checked["book"]["equal"] and checked["gaps"] == 0


def spiked(body):
    """A trade at one and a half times its price."""
    price = json.loads(body)["data"][0]["p"]
    return body.replace(b'"%s"' % price.encode(), b'"%d"' % (Decimal(price) * 3 // 2))


def of_yesterday(body):
    """A message that was sent a day before."""
    return re.sub(rb'"ts":([0-9]+)', lambda found: b'"ts":%d' % (int(found[1]) - 86_400_000), body, count=1)


def made_up(folder, damage=lambda body: body):
    """A capture of 120 messages, of which one is damaged."""
    market, at_ms = MARKETS["bybit_linear"](3), START_MS
    market.time_ms = lambda: at_ms
    lines = [b"wss://stream.bybit.com/v5/public/linear <-> 1723161256.0\n"]
    for number in range(120):
        at_ms += 20
        body = market.whole() if number == 0 else market.next("trade" if number % 2 else "depth").body
        body = damage(body) if number == 81 else body
        lines.append(b"%d.%03d: %s\n" % (*divmod(at_ms, 1_000), body))
    path = folder / "BYBIT.ws.1.0"
    path.write_bytes(b"".join(lines))
    return path


@pytest.mark.parametrize(("damage", "reason"), [(spiked, "spike"), (of_yesterday, "venue_time")])
def test_prices_and_times_that_a_session_would_not_believe_are_not_converted_either(tmp_path, damage, reason):
    path = made_up(tmp_path, damage)
    said, complaints = convert(path, tmp_path / "out", settings_of(tmp_path, "bybit_linear"))
    assert said is not None, complaints
    assert said["refused"] == {reason: 1}
    assert (rows_of(said["folder"])["kind"] == TICK_TRADE).sum() == 59


def test_a_disk_that_takes_no_more_makes_no_sound_recording(tmp_path):
    path, config = made_up(tmp_path), settings_of(tmp_path, "bybit_linear")
    small = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (2_500, 2_500))  # no part is so small
    result = command("convert", path, tmp_path / "out", "--config", config, "--json", preexec_fn=small)
    said = json.loads(result.stdout)
    assert said["ticks"] == 0 and f"{said['dropped']:,} records are in no file" in result.stderr
    assert result.returncode == 1 and said["dropped"] > 100
    assert json.loads((Path(said["folder"]) / "recording.json").read_text())["missing"] == said["dropped"]
    checked = command("check", said["folder"])
    assert checked.returncode == 2 and "nothing is recorded in it" in checked.stderr


@pytest.mark.data
@pytest.mark.parametrize("name", ["2026-08-09_BYBIT_first60pct.jsonl.gz", "2026-08-09_COINBASE_first60pct.jsonl.gz"])
def test_what_is_not_configured_is_left_out_counted_and_costs_the_others_nothing(data_dir, tmp_path, name):
    venue, messages, *_ = CAPTURES[name]
    config = settings_of(tmp_path, venue)
    whole, _ = convert(data_dir / "cryptofeed" / name, tmp_path / "whole", config)
    file = config.with_name("instruments.toml")
    file.write_text(file.read_text().split("\n[[instrument]]")[0])
    said, complaints = convert(data_dir / "cryptofeed" / name, tmp_path / "one", config)
    assert said is not None, complaints
    assert said["messages"] + sum(said["left_out"].values()) == messages and said["lacking"] == []
    first, *others = (f"{symbol} of {venue}" for symbol in SIZES[venue])
    assert said["left_out"] and set(said["left_out"]) <= set(others) - {first}
    assert set(said["refused"]) <= {"passed_over"}, said
    own = []
    for folder in (whole["folder"], said["folder"]):
        symbols = [one.listed.symbol for one in Recording([Path(folder)]).chosen]
        rows = rows_of(folder)
        own.append(rows[rows["instrument"] == symbols.index(next(iter(SIZES[venue])))])
    for field in ("ts_recv_ns", "kind", "flags", "w0", "w1", "w2", "w3"):
        assert (own[0][field] == own[1][field]).all(), field


@pytest.mark.data
def test_the_tables_that_a_capture_tells_the_sizes_of_convert_it(data_dir, tmp_path):
    source, config = data_dir / "cryptofeed/2021-04-17_KRAKEN", settings_in(tmp_path)
    result = command("convert", source, tmp_path / "out", "--config", config)
    assert result.returncode == 2 and "the sizes that the capture tells are printed, of 10 of them" in result.stderr
    config.with_name("instruments.toml").write_text(result.stdout)
    said, complaints = convert(source, tmp_path / "out", config)  # whatever they are priced in: nothing is traded
    assert said is not None, complaints
    assert (len(said["lacking"]), said["left_out"]) == (0, {})


@pytest.mark.data
def test_the_command_of_the_readme_runs(data_dir, tmp_path):
    (path,) = re.findall(r"bot4-data convert ../shared/data/(\S+) recordings ", README.read_text())
    said, complaints = convert(data_dir / path, tmp_path / "out", settings_in(tmp_path))
    assert said is not None and said["ticks"] > 0, complaints
    assert said["lacking"] == [] and said["left_out"]


def without_instruments(tmp_path):
    path, _ = kraken_capture(tmp_path)
    fields = "symbol, venue, tick_size, lot_size, min_notional, min_qty, max_qty, maker_fee_bps, taker_fee_bps"
    asked = f"for each that is wanted to {tmp_path}/config/instruments.toml, with {fields}\n"
    return path, f"holds BTC/USD of kraken, ETH/USD of kraken, none of them configured; add an [[instrument]] {asked}"


def raw_of_a_recording(tmp_path):
    path = tmp_path / "own/raw/date=2026-11-30/BTC-USD.kraken/part-00001"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"1723161256205000000 " + SUBSCRIBED + b"\n")
    (tmp_path / "own/recording.json").write_bytes(b"{}")
    return path, "replay the recording itself"


def of_another_venue(tmp_path):
    path = tmp_path / "OTHER.ws.1.0"
    path.write_bytes(b'wss://ws.elsewhere.com <-> 1.5\n1.6: {"a":1}\n')
    return path, "no market data of a venue that a session hears"


def of_two_depths(tmp_path):
    path = tmp_path / "BYBIT.ws.1.0"
    book = (
        b'{"topic":"orderbook.%d.BTCUSDT","type":"snapshot","ts":1,"data":{"s":"BTCUSDT","b":[],"a":[],"u":1,"seq":1}}'
    )
    lines = [b"wss://stream.bybit.com/v5/public/linear <-> 1.5\n", *(b"1.6: %s\n" % (book % n) for n in (50, 200))]
    path.write_bytes(b"".join(lines))
    return path, "several depths (50, 200)"


@pytest.mark.parametrize("make", [without_instruments, raw_of_a_recording, of_another_venue, of_two_depths])
def test_what_cannot_be_converted_is_one_line_that_names_it(tmp_path, make):
    path, words = make(tmp_path)
    said, complaints = convert(path, tmp_path / "out", settings_of(tmp_path, "bybit_linear"))
    assert said is None and words in complaints and complaints.count("\n") == 1, complaints
    assert not (tmp_path / "out").exists()


def test_a_session_says_how_a_capture_of_connections_is_converted(tmp_path):
    path, _ = kraken_capture(tmp_path)
    result = start_with(settings_of(tmp_path, "kraken"), tmp_path, "--feed", f"replay:{path}")
    assert result.returncode == 2 and f"convert it first, bot4-data convert {tmp_path} OUT" in result.stderr


@pytest.mark.data
def test_what_is_refused_is_told_by_reason_and_what_has_no_book_by_name(data_dir, tmp_path):
    source = data_dir / "hftbacktest/spot/btcusdt_20240809.gz"  # goes on where another file ended: no snapshot
    result = command("convert", source, tmp_path / "out", "--config", settings_in(tmp_path))
    assert result.returncode == 0 and "refused 3,044 (no_snapshot 3,044)" in result.stdout, result.stdout
    assert "BTCUSDT of binance_spot: no book became whole" in result.stderr
    alone = data_dir / "cryptofeed/2021-10-12_BINANCE/BINANCE.ws.1.0.gz"
    said, complaints = convert(alone, tmp_path / "alone", settings_of(tmp_path, "binance_spot"))
    assert said is not None and said["refused"] == {"no_snapshot": 177} and len(said["lacking"]) == 4, complaints
    config = settings_of(tmp_path, "bybit_linear", "bybit_spot")
    said, complaints = convert(data_dir / "cryptofeed/2025-06-13_BYBIT_V5", tmp_path / "quotes", config)
    assert said is not None and said["ticks"] == 0  # the best levels alone, which no book is made of
    assert len(said["lacking"]) == 10 and complaints.count("nothing of it could be taken") == 10
