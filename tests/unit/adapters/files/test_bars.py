"""Files of bars: heads, times, archives, gaps and rows that are no bars."""

import gzip
import zipfile

import pytest

from bot4.adapters.files.bars import BarFile, are_bars
from bot4.adapters.files.raw import find_captures
from bot4.model.errors import RecordingError

HEAD = "open_time_ms,open,high,low,close,volume\n"
GOOD = "1704067200000,42283.58,42554.57,42261.02,42475.23,1271.68\n"


def bars(minutes, start=1704067200000):
    """Rows at these minutes."""
    return "".join(f"{start + 60_000 * minute},1,2,0.5,1.5,7\n" for minute in minutes)


def check(tmp_path, text):
    """What the check of such a file says."""
    path = tmp_path / "bars.csv"
    path.write_text(text)
    (found,) = find_captures([path])
    assert isinstance(found, BarFile)
    return found.check()


def test_gaps_repetitions_and_order(tmp_path):
    found = check(tmp_path, HEAD + bars([0, 1, 2, 5, 6, 6, 7, 4, 8, 9, 10]))
    assert (found["messages"], found["gaps"], found["duplicates"], found["out_of_order"]) == ({"bar": 11}, 5, 1, 1)
    assert (found["bar_ms"], found["rejected"]) == (60_000, {})


def test_heads_of_files_that_were_put_together_and_blank_lines_are_no_rows(tmp_path):
    text = "\r\n" + HEAD + bars([0, 1]) + "\n" + HEAD + bars([2, 3]) + "\n"
    found = check(tmp_path, text)
    assert (found["messages"], found["rejected"], found["gaps"]) == ({"bar": 4}, {}, 0)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1704067200000,1,2,0.5,1.5\n", "bad_field"),
        ("0,1,2,0.5,1.5,7\n", "bad_field"),
        ("today,1,2,0.5,1.5,7\n", "bad_field"),
        ("1704067260000,1,2,0.5,x,7\n", "bad_number"),
        ("1704067260000,1,NaN,0.5,1.5,7\n", "bad_number"),
        ("1704067260000,1,2,0.5,1.5,Infinity\n", "bad_number"),
        ("1704067260000,1,2,-0.5,1.5,7\n", "negative"),
        ("1704067260000,1,2,0,1.5,7\n", "zero"),
        ("1704067260000,1,1.2,0.5,1.5,7\n", "high_low"),
        ("1704067260000,1,2,1.2,1.5,7\n", "high_low"),
    ],
)
def test_a_row_that_is_no_bar_is_refused_by_reason(tmp_path, row, reason):
    found = check(tmp_path, HEAD + GOOD + row)
    assert (found["messages"], found["rejected"]) == ({"bar": 1}, {reason: 1})
    assert "row 2" in found["complaints"][reason]


def test_zip_and_gzip_with_and_without_a_head_in_ms_us_and_words(tmp_path):
    row = "1,2,0.5,1.5,7"
    texts = {
        "ms": HEAD + f"1704067200000,{row}\n1704067260000,{row}\n",
        "us": f"1736035200000000,{row},1,2,3,4,5,0\n1736035260000000,{row},1,2,3,4,5,0\n",
        "words": f"timestamp,open,high,low,close,volume\n2025-05-30 16:40:00+00:00,{row}\n"
        f"2025-05-30 16:41:00+00:00,{row}\n",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr(f"{name}.csv", text)
    found = [one.check() for one in find_captures([tmp_path])]
    assert len(found) == 6
    assert all(one["messages"] == {"bar": 2} and one["bar_ms"] == 60_000 for one in found)
    assert found[0]["first_ns"] == 1704067200000 * 10**6


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "bars.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", HEAD)
        archive.writestr("b.csv", HEAD)
    with pytest.raises(RecordingError, match=r"holds a\.csv, b\.csv; give an archive of one"):
        find_captures([path])
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(RecordingError, match=r"bars\.zip"):
        find_captures([path])


@pytest.mark.parametrize("line", [b"", b"a,b,c,d,e,f\n", b"\xff\xfe", b"1,2\n"])
def test_what_is_no_row(line):
    assert not are_bars(line)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "rows", "gaps"),
    [
        ("binance_spot_3m_2023/BTCUSDT-3m.csv.gz", 145_973, 26),
        ("defective_bybit_1m/LTCUSDT-1m_paging_gaps.csv.gz", 8_000, 31_239),
        ("binance_usdm_1m_2024-01-15/BTCUSDT-1m-2024-01-15.csv.gz", 1_440, 0),
    ],
)
def test_recorded_bars(data_dir, name, rows, gaps):
    (found,) = find_captures([data_dir / name])
    told = found.check()
    assert (told["messages"], told["rejected"], told["gaps"]) == ({"bar": rows}, {}, gaps)
