"""Bars as a market: four points a bar, in the order, at the times and with the sizes that are written down."""

import json

import numpy as np
import pytest
from rig.feed import instruments_of
from rig.scan import SPOT

from bot4.adapters.files.bar_source import Bar, open_bars, symbol_of
from bot4.model.errors import RecordingError

HEAD = "open_time_ms,open,high,low,close,volume\n"
BEGIN = 1_704_067_200_000
MINUTE = 60_000
ROWS = ("100.00,101.00,99.50,100.50,4.00000", "100.50,100.60,99.00,99.10,0.00000", "99.10,99.20,98.00,99.00,0.00001")


def written(folder, rows=ROWS, name="BTCUSDT-1m.csv", step=MINUTE, begin=BEGIN):
    path = folder / name
    path.write_text(HEAD + "".join(f"{begin + step * number},{row}\n" for number, row in enumerate(rows)))
    return path


def opened(*paths):
    return open_bars(paths, {"BTCUSDT": instruments_of([SPOT])[0]})


def played(source, size=97):
    buffer, text = np.zeros(size, np.uint8), b""
    while count := source.read_into(buffer):
        text += buffer[:count].tobytes()
    return [(int(line.split(b" ", 1)[0]), json.loads(line.split(b" ", 1)[1])) for line in text.splitlines()]


def test_a_bar_is_four_points(tmp_path):
    (source,) = opened(written(tmp_path))
    lines = played(source)
    trades = [(ns // 10**6 - BEGIN, one["data"]["p"]) for ns, one in lines if one.get("stream") == "btcusdt@trade"]
    third = [
        (2 * MINUTE, "99.1"),
        (2 * MINUTE + MINUTE // 3, "99.2"),
        (2 * MINUTE + 2 * MINUTE // 3, "98"),
        (3 * MINUTE - 1, "99"),
    ]
    assert trades == [(0, "100"), (20_000, "99.5"), (40_000, "101"), (59_999, "100.5"), *third], "none without volume"
    quotes = [one["data"] for _, one in lines if one.get("stream") == "btcusdt@bookTicker"]
    assert [(one["b"], one["a"], one["B"]) for one in quotes[:2]] == [("99.99", "100.01", "1"), ("99.49", "99.51", "1")]
    assert quotes[-1]["B"] == "0.00001", "at least a lot"
    first, diff = (
        (one for _, one in lines if "lastUpdateId" in one or "depth" in one.get("stream", "")).__iter__(),
        None,
    )
    assert next(first)["bids"] == [["99.99", "1"]]
    diff = next(first)["data"]
    assert diff["b"] == [["99.99", "0"], ["99.49", "1"]] and diff["a"] == [["100.01", "0"], ["99.51", "1"]]


@pytest.mark.parametrize(
    ("high", "low", "points"), [(12, 9, (10, 9, 12, 11)), (11, 8, (10, 11, 8, 11)), (12, 8, (10, 12, 8, 11))]
)
def test_the_nearer_of_high_and_low_comes_first(high, low, points):
    assert Bar(0, 10, high, low, 11, 1).points == points


BAD = {
    "no bar": ("100,99,98,100,1", "row 2 is no bar"),
    "off the tick": ("100.005,101,99,100,1", "no multiple of tick_size = 0.01"),
    "one tick": ("0.01,0.01,0.01,0.01,1", "one tick"),
    "no price of a market": (
        "100,90000000000000,99,100,1",
        "row 2 has a price of 90,000,000,000,000 and a volume of 1, which no",
    ),
    "no volume of a market": (
        "100,101,99,100,1e30",
        "and a volume of 1,000,000,000,000,000,000,000,000,000,000, which",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_row_that_cannot_be_played_is_named(tmp_path, case):
    row, why = BAD[case]
    with pytest.raises(RecordingError, match=why):
        opened(written(tmp_path, (ROWS[0], row, ROWS[2])))


def test_rows_that_go_back_and_files_that_overlap_are_refused(tmp_path):
    with pytest.raises(RecordingError, match="begins no later"):
        opened(written(tmp_path, step=0))
    first = written(tmp_path, name="BTCUSDT-a.csv")
    with pytest.raises(RecordingError, match=r"before BTCUSDT-a\.csv has ended"):
        opened(first, written(tmp_path, name="BTCUSDT-b.csv", begin=BEGIN + MINUTE))
    with pytest.raises(RecordingError, match=r"before BTCUSDT-a\.csv has ended"):
        opened(first, written(tmp_path, name="BTCUSDT-b.csv", begin=BEGIN + 2 * MINUTE + 30_000, step=30_000))
    mixed = tmp_path / "BTCUSDT-c.csv"
    times = [0, 60, 120, 180, 185, 190]  # hours, and then minutes
    mixed.write_text(HEAD + "".join(f"{BEGIN + MINUTE * at},{ROWS[0]}\n" for at in times))
    with pytest.raises(RecordingError, match="of several lengths"):
        opened(mixed)
    with pytest.raises(RecordingError, match="named twice"):
        opened(first, first)


def test_files_of_a_symbol_are_a_chain_and_what_is_missing_is_told(tmp_path):
    late = written(tmp_path, name="BTCUSDT-b.csv", begin=BEGIN + 500 * MINUTE)
    rows = [*ROWS, *ROWS]
    path = tmp_path / "BTCUSDT-a.csv"
    times = [BEGIN + MINUTE * number for number in (0, 1, 2, 3, 9, 10)]
    path.write_text(HEAD + "".join(f"{time},{row}\n" for time, row in zip(times, rows, strict=True)))
    (source,) = opened(late, path)
    assert source.paths == [path, late]
    assert "5 bars are missing in BTCUSDT-a.csv" in source.gaps[0] and "h without data" in source.gaps[1]


@pytest.mark.parametrize("name", ["btcusdt-1m.csv", "BTCUSDT-8h-funding_rate.csv", "-1m.csv"])
def test_a_file_that_is_not_named_after_a_symbol_is_refused(tmp_path, name):
    with pytest.raises(RecordingError, match="name the file after it"):
        symbol_of(tmp_path / name, ["BTCUSDT"])


def test_a_file_is_named_after_the_longest_symbol_that_fits(tmp_path):
    symbols = ["BTC", "BTC-USD", "BTC/USD", "ETH/USDT", "BTCUSDT"]
    names = {
        "BTC-USD-5m.csv.gz": "BTC-USD",
        "ETH-USDT.csv": "ETH/USDT",
        "BTC-5m.csv": "BTC",
        "BTCUSDT-5m.zip": "BTCUSDT",
    }
    assert {name: symbol_of(tmp_path / name, symbols) for name in names} == names
