"""Files of the Binance archive by their documented layout: known, checked, and converted exactly or refused by line."""

import gzip
import io
import json
import zipfile
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from bot4.adapters.files.archive import ArchiveFile, FieldError, scaled
from bot4.adapters.files.bars import MAX_RATIO, BarFile
from bot4.adapters.files.convert import convert_archives, convert_bars, sizes_of
from bot4.adapters.files.converted_bars import ConvertedBars
from bot4.adapters.files.raw import find_captures
from bot4.adapters.files.recording import Recording
from bot4.model.enums import FLAG_LAST, TICK_QUOTE, TICK_TRADE
from bot4.model.errors import RecordingError, UnitError

MS, US = 1_735_689_600_000, 1_735_689_600_010_866
FILES = {
    "BTCUSDT-trades-2024-12-31.csv": (
        "trades", "binance_spot", "",
        [f"7,93576.00000000,0.00071000,66.43896000,{MS},True,True",
         f"8,93576.01000000,0.00010000,9.35760100,{MS + 1},False,True"],
    ),
    "BTCUSDT-trades-2025-01-01.csv": (
        "trades", "binance_spot", "",
        [f"9,93576.5,0.00071,66.4,{US},True,True", f"10,93577,0.1,9357.7,{US},False,True"],
    ),
    "ETHUSDT-trades-2024-01-15.csv": (
        "trades", "binance_usdm", "id,price,qty,quote_qty,time,is_buyer_maker",
        [f"5,2471.12,0.500,1235.56,{MS},true", f"6,2471.13,1.250,3088.9,{MS + 2},false"],
    ),
    "BTCUSDT-aggTrades-2024-12-31.csv": (
        "aggTrades", "binance_spot", "", [f"1,0.2,50,0,0,{MS},False,True", f"2,0.3,5.5,1,4,{MS + 5},True,True"],
    ),
    "SOLUSDT-aggTrades-2024-01-15.csv": (
        "aggTrades", "binance_usdm",
        "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
        [f"11,94.1,3,20,21,{MS},true", f"12,94.25,1,22,22,{MS + 7},false"],
    ),
    "BTCUSDT-bookTicker-2024-01-15.csv": (
        "bookTicker", "binance_usdm",
        "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time",
        [f"100,41700.10,1.5,41700.20,0.003,{MS},{MS + 1}", f"105,41700.00,2,41700.20,0.004,{MS + 3},{MS + 4}"],
    ),
}  # fmt: skip


def content(name):
    """A file's text."""
    _, _, head, rows = FILES[name]
    return "\n".join([*([head] if head else []), *rows, ""]).encode()


def write(folder, name, data=None, form="plain"):
    """The file in one of the archive's packings."""
    data = content(name) if data is None else data
    if form == "zip":
        path = folder / name.replace(".csv", ".zip")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, data)
    else:
        path = folder / (name + (".gz" if form == "gzip" else ""))
        path.write_bytes(gzip.compress(data) if form == "gzip" else data)
    return path


@pytest.mark.parametrize("form", ["plain", "gzip", "zip"])
@pytest.mark.parametrize("name", FILES)
def test_each_layout_is_known_with_and_without_a_head_in_each_packing(tmp_path, name, form):
    kind, venue, head, rows = FILES[name]
    (found,) = find_captures([write(tmp_path, name, form=form)])
    assert isinstance(found, ArchiveFile)
    assert (found.kind, found.venue, found.symbol) == (kind, venue, name.partition("-")[0])
    said = found.check()
    assert said["messages"] == {kind: 2} and said["rejected"] == {} and said["gaps"] == said["duplicates"] == 0
    if head:
        bare = tmp_path / "bare"
        bare.mkdir()
        (same,) = find_captures([write(bare, name, "\n".join(rows).encode())])
        assert (same.kind, same.venue) == (kind, venue)


def test_rows_become_records_in_exact_ticks_and_lots_and_the_order_of_time(tmp_path):
    names = ["ETHUSDT-trades-2024-01-15.csv", "BTCUSDT-bookTicker-2024-01-15.csv"]
    archives = find_captures([write(tmp_path, name) for name in names])
    head, _ = convert_archives(archives, tmp_path / "out", sizes_of(None, None))
    sizes = [(listed.symbol, listed.tick_size, listed.lot_size) for listed in head.instruments]
    assert sizes == [("ETHUSDT", "0.01", "0.01"), ("BTCUSDT", "0.1", "0.001")] and head.clock == "venue"
    rows = np.concatenate(list(Recording([tmp_path / "out"]).blocks()))
    assert rows["ts_recv_ns"].tolist() == [(MS + late) * 1_000_000 for late in (0, 0, 2, 3)]
    assert rows["instrument"].tolist() == [0, 1, 0, 1] and rows["event_no"].tolist() == [1, 1, 2, 2]
    assert (rows["flags"] == FLAG_LAST).all() and rows["seq"].tolist() == [1, 2, 3, 4]
    assert rows["kind"].tolist() == [TICK_TRADE, TICK_QUOTE] * 2
    assert [tuple(row) for row in rows[["w0", "w1", "w2", "w3"]].tolist()] == [
        (247_112, 50, 5, -1), (417_001, 1_500, 417_002, 3), (247_113, 125, 6, 1), (417_000, 2_000, 417_002, 4),
    ]  # fmt: skip


def test_days_in_microseconds_follow_days_in_milliseconds(tmp_path):
    names = ["BTCUSDT-trades-2025-01-01.csv", "BTCUSDT-trades-2024-12-31.csv"]  # the later one is named first
    archives = find_captures([write(tmp_path, name) for name in names])
    convert_archives(archives, tmp_path / "out", sizes_of("0.01", "0.00001"))
    rows = np.concatenate(list(Recording([tmp_path / "out"]).blocks()))
    assert rows["w2"].tolist() == [7, 8, 9, 10]
    assert rows["ts_recv_ns"].tolist() == [MS * 10**6, (MS + 1) * 10**6, US * 1_000, US * 1_000]
    assert rows["w0"].tolist() == [9_357_600, 9_357_601, 9_357_650, 9_357_700]


@pytest.mark.parametrize(("change", "said"), [
    ((b"93576.01000000", b"93576.015"), "line 2: 93576.015 is no multiple of 0.01"),
    ((b"0.00010000", b"0.000105"), "line 2: 0.000105 is no multiple of 0.00001"),
    ((b"93576.01000000", b"-1"), "line 2: bad_number"),
    ((b"93576.01000000", b"nan"), "line 2: bad_number"),
    ((b"93576.01000000", b"1e3"), "line 2: bad_number"),
    ((b"93576.01000000", b"0"), "line 2: zero"),
    ((b"93576.01000000", b"9" * 19), "line 2: bad_number"),
    ((b"93576.01000000", b"0.000000001"), "line 2: too_fine"),
    ((b"False", b"maybe"), "line 2: bad_field"),
    ((str(MS + 1).encode(), b"17"), "line 2: its time is before"),
    ((str(MS + 1).encode(), b"x"), "line 2: bad_time"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_line(tmp_path, change, said):
    name = "BTCUSDT-trades-2024-12-31.csv"
    archives = find_captures([write(tmp_path, name, content(name).replace(*change))])
    with pytest.raises(RecordingError) as caught:
        convert_archives(archives, tmp_path / "out", sizes_of("0.01", "0.00001"))
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("late", [0, 1], ids=["repeats", "goes_back"])
def test_files_that_overlap_are_told_by_both_names(tmp_path, late):
    first = content("BTCUSDT-trades-2024-12-31.csv").replace(str(MS + 1).encode(), str(MS + 5).encode())
    first = write(tmp_path, "BTCUSDT-trades-2024-12-31.csv", first)
    rows = [f"{8 + late},93576.5,0.00071,66.4,{MS + 5 - late},True,True", f"10,93577,0.1,9357.7,{MS + 9},False,True"]
    second = write(tmp_path, "BTCUSDT-trades-2025-01-01.csv", "\n".join(rows).encode())
    with pytest.raises(RecordingError, match=r"line 1: begins before .* ends, .*name one of them, or cut") as caught:
        convert_archives(find_captures([second, first]), tmp_path / "out", sizes_of("0.01", "0.00001"))
    assert str(caught.value).startswith(f"{second}, line 1") and str(first) in str(caught.value)
    follows = second.read_bytes().replace(rows[0].encode(), f"9,93576.5,0.00071,66.4,{MS + 5},True,True".encode())
    second.write_bytes(follows)
    head, gaps = convert_archives(find_captures([second, first]), tmp_path / "next", sizes_of("0.01", "0.00001"))
    assert (head.ticks, gaps) == (4, 0)


@pytest.mark.parametrize("form", ["plain", "gzip", "zip"])
@pytest.mark.parametrize("name", FILES)
def test_a_byte_order_mark_says_nothing(tmp_path, name, form):
    (found,) = find_captures([write(tmp_path, name, b"\xef\xbb\xbf" + content(name), form)])
    assert isinstance(found, ArchiveFile)
    said = found.check()
    assert said["messages"] == {FILES[name][0]: 2} and said["rejected"] == {}


@pytest.mark.parametrize("name", [name for name in FILES if "klines" not in name and FILES[name][2]])
def test_heads_of_files_that_were_put_together_and_blank_lines_are_no_rows(tmp_path, name):
    kind, _, head, rows = FILES[name]
    data = "\r\n".join(["", head, rows[0], "", head, *rows[1:], ""]).encode()
    (found,) = find_captures([write(tmp_path, name, data)])
    said = found.check()
    assert said["messages"] == {kind: len(rows)} and said["rejected"] == {}


def test_check_counts_what_convert_refuses(tmp_path):
    rows = [f"{number},1.5,2,3,{MS + number},true" for number in (1, 2, 2, 5, 4)] + [f"6,1.5,-2,3,{MS},true", "x"]
    (found,) = find_captures([write(tmp_path, "BTCUSDT-trades-2024-01-15.csv", "\n".join(rows).encode())])
    said = found.check()
    assert (said["gaps"], said["duplicates"], said["out_of_order"]) == (2, 1, 1)
    assert said["rejected"] == {"bad_field": 1, "bad_number": 1} and said["messages"] == {"trades": 5}


def test_a_name_without_a_symbol_is_refused(tmp_path):
    with pytest.raises(RecordingError, match="does not begin with a symbol"):
        find_captures([write(tmp_path, "trades.csv", content("ETHUSDT-trades-2024-01-15.csv"))])


def test_archives_of_anything_else_than_one_table_are_refused(tmp_path):
    path = tmp_path / "BTCUSDT-trades-2024-01-15.zip"
    for members in ({"a.csv": b"1", "b.csv": b"2"}, {"run.sh": b"1"}, {"../a.csv": b"1"}):
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        with pytest.raises(RecordingError, match="give an archive of one CSV file and nothing else"):
            find_captures([path])


def test_a_table_that_packs_too_well_is_refused(tmp_path):
    path = write(tmp_path, "BTCUSDT-trades-2024-01-15.csv", b"1" * 10_000_000, form="zip")
    assert 10_000_000 > MAX_RATIO * path.stat().st_size
    with pytest.raises(RecordingError, match="no file of a market"):
        find_captures([path])


def test_a_folder_with_a_recording_gets_no_second_one(tmp_path):
    archives = find_captures([write(tmp_path, "ETHUSDT-trades-2024-01-15.csv")])
    convert_archives(archives, tmp_path / "out", sizes_of(None, None))
    with pytest.raises(RecordingError, match="holds a recording already"):
        convert_archives(archives, tmp_path / "out", sizes_of(None, None))


@pytest.mark.parametrize(("tick", "lot"), [("0", None), ("-1", None), (None, "nan"), ("0.000000001", None)])
def test_sizes_that_are_none(tick, lot):
    with pytest.raises(UnitError):
        sizes_of(tick, lot)


@pytest.mark.parametrize("text", [b"", b".", b".5", b"+1", b" 1", b"1_0", "１".encode(), b"1.2.3"])
def test_what_is_no_number(text):
    with pytest.raises(FieldError):
        scaled(text)


# --- bars ---


def test_bars_become_integers_that_give_the_same_numbers_back(tmp_path):
    path = tmp_path / "BTCUSDT-1m.csv"
    rows = ["1704067200000,42283.58,42298.62,42261.02,42298.61,35.92724",
            "1704067260000,42298.62,42320,42298.6,42300.1,0"]  # fmt: skip
    path.write_text("\n".join(["open_time_ms,open,high,low,close,volume", *rows, ""]))
    (file,) = find_captures([path])
    said = convert_bars(file, tmp_path, sizes_of(None, None))
    assert (said["bars"], said["tick_size"], said["lot_size"]) == (2, "0.01", "0.00001")
    frame = pl.read_parquet(tmp_path / "BTCUSDT-1m.parquet")
    for found, row in zip(frame.rows(), rows, strict=True):
        numbers = [Decimal(cell) for cell in row.split(",")]
        assert found[0] == int(numbers[0]) * 10**6
        assert [Decimal(value) * Decimal("0.01") for value in found[1:5]] == numbers[1:5]
        assert Decimal(found[5]) * Decimal("0.00001") == numbers[5]
    assert json.loads((tmp_path / "bars.json").read_text())["BTCUSDT-1m"]["bars"] == 2


def test_sums_of_binary_floats_are_the_numbers_that_were_meant_and_are_counted(tmp_path):
    path = tmp_path / "X-1m.csv"
    volumes = {
        "0.0058000000000000005": "0.0058", "0.5146644499999999": "0.51466445", "218102.59507500002": "218102.595075",
        "12345678.12345601": "12345678.12345601", "46780258.1338": "46780258.1338",
    }  # fmt: skip
    rows = [f"{1704067200000 + 60_000 * n},1,1,1,1,{volume}" for n, volume in enumerate(volumes)]
    path.write_text("\n".join(["open_time_ms,open,high,low,close,volume", *rows, ""]))
    said = convert_bars(BarFile("X", (path,)), tmp_path, sizes_of(None, None))
    found = pl.read_parquet(tmp_path / "X-1m.parquet")["volume_lots"]
    assert [Decimal(lots) * Decimal(said["lot_size"]) for lots in found] == [Decimal(one) for one in volumes.values()]
    assert said["float_rows"] == 3


@pytest.mark.parametrize(("row", "sizes", "said"), [
    ("1704067260000,1,1.01,1,1.005,1", ("0.01", None), "row 2: price: 1.005 is not a multiple"),
    ("1704067260000,1,1,1,1,0.5", (None, "1"), "row 2: volume: 0.5 is not a multiple"),
    ("1704067260000,1,2,1,3,1", (None, None), "row 2: high_low"),
])  # fmt: skip
def test_bars_that_do_not_fit_are_refused_with_their_row(tmp_path, row, sizes, said):
    path = tmp_path / "X-1m.csv"
    path.write_text(f"open_time_ms,open,high,low,close,volume\n1704067200000,1,1,1,1,1\n{row}\n")
    with pytest.raises(RecordingError, match=said):
        convert_bars(BarFile("X", (path,)), tmp_path, sizes_of(*sizes))


@pytest.mark.parametrize("packed", ["csv", "csv.gz", "zip"])
def test_klines_of_the_archive_are_converted_and_read_again_as_they_were(tmp_path, packed):
    source = tmp_path / f"BTCUSDT-1m-2024-01.{packed}"
    text = "".join(
        f"{1704067200000 + 60_000 * minute},{42_000 + minute}.5,43000,41000.25,42000,{minute}.00001,"
        f"{1704067259999 + 60_000 * minute},99.5,17,3.5,40.25,0\n"
        for minute in (0, 1, 2, 5)
    )
    if packed == "zip":
        with zipfile.ZipFile(source, "w") as archive:
            archive.writestr("BTCUSDT-1m-2024-01.csv", text)
    else:
        source.write_bytes(gzip.compress(text.encode()) if packed == "csv.gz" else text.encode())
    (file,) = find_captures([source])
    out = tmp_path / "bars"
    said = convert_bars(file, out, sizes_of(None, None))
    assert (said["gaps"], said["duplicates"], said["out_of_order"], said["bar_ms"]) == (2, 0, 0, 60_000)
    assert (said["first_ns"], said["last_ns"]) == (1704067200000 * 10**6, 1704067500000 * 10**6)
    for named in ([out], [out / "bars.json"], [out / "BTCUSDT-1m-2024-01.parquet"]):
        (found,) = find_captures(named)
        assert isinstance(found, ConvertedBars)
        assert list(found.bars()) == [file.bar(row) for row in file.rows()]
        expected = file.check() | {"name": "BTCUSDT-1m-2024-01", "files": [str(path) for path in found.files]}
        assert found.check() == expected and expected["gaps"] == 2


def test_a_conversion_tells_how_many_trades_are_missing(tmp_path):
    for day, numbers in ((8, (1, 2, 5)), (9, (6, 9))):
        lines = "".join(f"{number},2.5,1,{2 + number},{1704067200000 + number},True,True\n" for number in numbers)
        (tmp_path / f"BTCUSDT-trades-2024-01-{day:02d}.csv").write_text(lines)
    _, gaps = convert_archives(find_captures([tmp_path]), tmp_path / "out", sizes_of(None, None))
    assert gaps == 4


def converted(tmp_path):
    """A folder with two files of converted bars."""
    for name in ("A-1m", "B-1m"):
        path = tmp_path / f"{name}.csv"
        path.write_text("1704067200000,1,2,0.5,1.5,7\n1704067260000,1,2,0.5,1.5,7\n")
        convert_bars(BarFile(name, (path,)), tmp_path / "bars", sizes_of(None, None))
    return tmp_path / "bars"


def test_converted_bars_that_are_none_are_refused_by_reason(tmp_path):
    folder = converted(tmp_path)
    frame = pl.read_parquet(folder / "A-1m.parquet")
    frame.with_columns(high_ticks=pl.lit(1, pl.Int64)).write_parquet(folder / "A-1m.parquet")
    found = {one.name: one.check() for one in find_captures([folder])}
    assert found["A-1m"]["rejected"] == {"high_low": 2} and found["B-1m"]["rejected"] == {}


@pytest.mark.parametrize("damage", ["gone", "cut", "columns", "short", "unlisted", "list", "size", "name"])
def test_damaged_converted_bars_are_one_line_that_names_the_file(tmp_path, damage):
    folder = converted(tmp_path)
    path, listing = folder / "A-1m.parquet", folder / "bars.json"
    frame = pl.read_parquet(path)
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:50])
    elif damage == "columns":
        frame.drop("volume_lots").write_parquet(path)
    elif damage == "short":
        frame.head(1).write_parquet(path)
    elif damage == "unlisted":
        path.rename(folder / "C-1m.parquet")
    else:
        text = {"list": "[1]", "size": listing.read_text().replace('"0.1"', '"x"'),
                "name": listing.read_text().replace('"A-1m"', '"../A-1m"')}[damage]  # fmt: skip
        listing.write_text(text)
    refused = []
    for one in find_captures([folder], refused):
        try:
            one.check()
        except RecordingError as error:
            refused.append(error)
    assert refused and all("\n" not in str(error) and str(folder) in str(error) for error in refused)


@pytest.mark.data
def test_rates_of_funding_are_no_bars(data_dir):
    (file,) = find_captures([data_dir / "binance_usdm_1h_2025/BTCUSDT-1h-funding_rate.csv.gz"])
    said = file.check()
    assert said["messages"] == {"funding": 1_247} and said["rejected"] == {} and said["gaps"] == 0
    with pytest.raises(RecordingError, match="rates of funding"):
        convert_bars(file, io.BytesIO(), sizes_of(None, None))
