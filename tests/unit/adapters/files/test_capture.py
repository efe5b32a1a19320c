"""Captures as chains: what a file is, files in order of time, and one clear line for each way in which one is bad."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from bot4.adapters.files.capture import open_chains
from bot4.adapters.files.raw import find_captures
from bot4.model.errors import RecordingError

CATALOGUE = [("BTCUSDT", "binance_spot"), ("ETHUSDT", "binance_spot"), ("BTCUSDT", "binance_usdm")]
SPOT = '%d {"stream":"%s@bookTicker","data":{"u":5,"s":"%s","b":"1","B":"2","a":"3","A":"4"}}\n'
USDM_DEPTH = (
    '%d {"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","s":"BTCUSDT","U":4,"u":8,"pu":3,"b":[],"a":[]}}\n'
)
MARK = '%d {"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate","s":"BTCUSDT","p":"1"}}\n'
SNAPSHOT = '%d {"lastUpdateId": 7, "bids": [], "asks": []}\n'
DAY = 86_400_000_000


def spot(us, symbol="BTCUSDT"):
    return SPOT % (us, symbol.lower(), symbol)


def write(folder: Path, name: str, text: str, pack=True) -> Path:
    data = text.encode()
    (folder / name).write_bytes(gzip.compress(data) if pack else data)
    return folder / name


def read(source, size=7) -> bytes:
    buffer, found = np.zeros(size, np.uint8), b""
    while count := source.read_into(buffer):
        found += buffer[:count].tobytes()
    return found


def test_chains_are_told_by_content_and_ordered_by_time(tmp_path):
    day = 1_700_000_000_000_000
    late = write(tmp_path, "a.gz", spot(day + DAY) + spot(day + DAY + 1)[:-1])
    early = write(tmp_path, "b.gz", spot(day)[:-1], pack=False)
    futures = write(tmp_path, "c.gz", SNAPSHOT % day + USDM_DEPTH % day)
    other = write(tmp_path, "d.gz", spot(day * 1_000, "ETHUSDT"))
    sources = open_chains([late, futures, early, other], CATALOGUE)
    assert [(source.symbol, source.venue, source.synthetic) for source in sources] == [
        ("BTCUSDT", "binance_spot", False),
        ("BTCUSDT", "binance_usdm", False),
        ("ETHUSDT", "binance_spot", False),
    ]
    assert sources[0].paths == [early, late]
    text = read(sources[0])
    assert text.decode() == spot(day) + spot(day + DAY) + spot(day + DAY + 1)[:-1]


@pytest.mark.parametrize("pack", [False, True])
def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path, pack):
    day = 1_700_000_000_000_000
    path = write(tmp_path, "x", "\ufeff" + spot(day), pack=pack)
    (source,) = open_chains([path], CATALOGUE)
    assert read(source).decode() == spot(day)
    (capture,) = find_captures([path])
    assert [message.ts_ns for message in capture.messages()] == [day * 1_000]
    third = '{"t":"recv","conn":"a","ts":1700000000.5,"data":"{}"}\n'
    (capture,) = find_captures([write(tmp_path, "y.jsonl", "\ufeff" + third, pack=pack)])
    assert [message.body for message in capture.messages()] == [b"{}"]


def test_a_contract_with_the_name_of_its_pair_is_no_inverse_one(tmp_path):
    """USD-M names the pair too, since 2025."""
    depth = USDM_DEPTH.replace('"s":"BTCUSDT"', '"s":"BTCUSDT","ps":"BTCUSDT","st":1')
    (source,) = open_chains([write(tmp_path, "x.gz", depth % 1_700_000_000_000_000)], CATALOGUE)
    assert (source.symbol, source.venue) == ("BTCUSDT", "binance_usdm")


def test_members_of_a_gzip_are_read_on(tmp_path):
    path = tmp_path / "two.gz"
    path.write_bytes(
        gzip.compress(spot(1_700_000_000_000_000).encode()) + gzip.compress(spot(1_700_000_000_000_001).encode())
    )
    (source,) = open_chains([path], CATALOGUE)
    assert read(source, 1_000).count(b"\n") == 2


def truncated(folder):
    path = write(folder, "x.gz", "".join(spot(1_700_000_000_000_000 + i * 7_919) for i in range(4_000)))
    path.write_bytes(path.read_bytes()[:-20])
    return path


def flipped(folder):
    path = write(folder, "x.gz", "".join(spot(1_700_000_000_000_000 + i * 7_919) for i in range(4_000)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    return path


def of_bytes(data):
    def make(folder):
        (folder / "x.gz").write_bytes(data)
        return folder / "x.gz"

    return make


def folder_itself(folder):
    (folder / "x.gz").mkdir()
    return folder / "x.gz"


BAD = {
    "missing": (lambda folder: folder / "x.gz", "no such file"),
    "folder": (folder_itself, "is a folder"),
    "empty": (of_bytes(b""), "empty"),
    "empty gzip": (of_bytes(gzip.compress(b"")), "empty"),
    "truncated gzip": (truncated, "truncated"),
    "damaged gzip": (flipped, "damaged"),
    "gzip header alone": (of_bytes(b"\x1f\x8b\x08"), "truncated"),
    "zip": (of_bytes(b"PK\x03\x04" + bytes(100)), "is a zip archive; convert it first"),
    "a line without an end": (of_bytes(gzip.compress(b"1700000000000000 " + b"[" * (1 << 26))), "a line longer than"),
    "parquet": (of_bytes(b"PAR1" + bytes(100) + b"PAR1"), "is Parquet"),
    "random bytes": (of_bytes(np.random.default_rng(3).bytes(50_000)), "not a capture"),
    "text": (of_bytes(b"hello\n" * 100), "not a capture"),
    "json without a time": (of_bytes(spot(1_700_000_000_000_000)[17:].encode()), "not a capture"),
    "only snapshots": (of_bytes((SNAPSHOT % 1_700_000_000_000_000).encode()), "not a capture"),
    "inverse contract": (
        of_bytes(
            b'1700000000000000 {"stream":"btcusd_perp@depth@0ms","data":{"s":"BTCUSD_PERP","ps":"BTCUSD","U":4}}\n'
        ),
        "BTCUSD_PERP of Binance COIN-M",
    ),
    "another venue": (of_bytes(b'1700000000000000 {"topic":"publicTrade.A","data":[{"L":"x"}]}\n'), "of Binance alone"),
    "two instruments": (
        of_bytes((spot(1_700_000_000_000_000) * 30 + spot(1_700_000_000_000_001, "ETHUSDT") * 2).encode()),
        "BTCUSDT and ETHUSDT, and a whole book of Binance does not say whose it is; put the lines of each",
    ),
    "a partial book without its name": (
        of_bytes(
            b'1700000000000000 {"e":"depthUpdate","s":"BTCUSDT","U":4,"u":8,"pu":3,"b":[["9","1"]],"a":[["10","5"]]}\n'
            * 20
        ),
        "a partial book (depth5, depth10, depth20) without the name",
    ),
    "packed by zstd": (of_bytes(b"\x28\xb5\x2f\xfd" + bytes(9)), "unpack it"),
    "unknown instrument": (of_bytes(spot(1_700_000_000_000_000, "DOGEUSDT").encode()), "DOGEUSDT of binance_spot"),
}


def test_a_few_messages_of_another_instrument_are_damage(tmp_path):
    day = 1_700_000_000_000_000
    half = spot(day).replace('"s":"BTCUSDT"', '"s":"ETHUSDT"') * 30  # the stream says another name
    path = write(tmp_path, "x.gz", spot(day) * 40 + spot(day, "ETHUSDT") + half)
    assert [source.symbol for source in open_chains([path], CATALOGUE)] == ["BTCUSDT"]


def test_changes_that_take_levels_off_are_no_partial_book(tmp_path):
    change = '1700000000000000 {"e":"depthUpdate","s":"BTCUSDT","U":4,"u":8,"pu":3,"b":[["9","1"]],"a":[["10","%s"]]}\n'
    path = write(tmp_path, "x.gz", change % "0.50" * 30 + change % "0.00")
    assert [source.venue for source in open_chains([path], CATALOGUE)] == ["binance_usdm"]


@pytest.mark.parametrize("name", BAD)
def test_each_bad_recording_is_one_line_that_names_the_file(tmp_path, name):
    make, words = BAD[name]
    with pytest.raises(RecordingError) as raised:
        open_chains([make(tmp_path)], CATALOGUE)
    message = str(raised.value)
    assert "x.gz" in message and words in message and "\n" not in message
    assert raised.value.exit_code == 2


def test_no_permission(tmp_path):
    path = write(tmp_path, "x.gz", spot(1_700_000_000_000_000))
    path.chmod(0)
    owner = os.geteuid()
    if owner == 0:
        os.seteuid(65_534)  # root may read everything, nobody may not
    try:
        with pytest.raises(RecordingError, match=r"x\.gz.*Permission denied"):
            open_chains([path], CATALOGUE)
    finally:
        os.seteuid(owner)


def test_a_file_named_twice_and_none_at_all(tmp_path):
    path = write(tmp_path, "x.gz", spot(1_700_000_000_000_000))
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(RecordingError, match="twice"):
        open_chains([path, tmp_path / "link"], CATALOGUE)
    with pytest.raises(RecordingError, match="no recording"):
        open_chains([], CATALOGUE)


def test_a_file_that_is_damaged_while_it_is_read_ends_the_reading(tmp_path):
    path = write(tmp_path, "x.gz", "".join(spot(1_700_000_000_000_000 + i * 7_919) for i in range(4_000)))
    (source,) = open_chains([path], CATALOGUE)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RecordingError, match="truncated"):
        read(source, 100_000)


def test_files_of_a_chain_that_overlap_are_told(tmp_path):
    begin = 1_700_000_000_000_000
    first = write(tmp_path, "a.gz", spot(begin) + spot(begin + 10))
    (source,) = open_chains([write(tmp_path, "b.gz", spot(begin + 9)), first], CATALOGUE)
    (told,) = source.gaps
    assert told.startswith("BTCUSDT: b.gz begins before a.gz ends: ") and "name one of them" in told
    assert open_chains([write(tmp_path, "c.gz", spot(begin + 10)), first], CATALOGUE)[0].gaps == []


def test_a_hole_between_the_files_of_a_chain_is_told(tmp_path):
    begin, hour = 1_700_000_000_000_000, 3_600_000_000
    first = write(tmp_path, "a.gz", spot(begin) + spot(begin + hour))
    soon = write(tmp_path, "b.gz", spot(begin + 2 * hour) + spot(begin + 3 * hour)[:-1])
    late = write(tmp_path, "c.gz", spot(begin + 8 * hour))
    (source,) = open_chains([late, soon, first], CATALOGUE)
    (told,) = source.gaps
    assert "BTCUSDT: 5.0 h without data between b.gz and c.gz" in told
    assert open_chains([first, soon], CATALOGUE)[0].gaps == []
