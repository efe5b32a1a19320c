"""`bot4-data` on recorded captures of the four venues, and on what is none."""

import ctypes
import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rig.command import settings_in

from bot4.adapters.files.raw import find_captures
from bot4.adapters.files.recording import Recording
from bot4.cli.data import check_capture
from bot4.model.records import TICK

WANTED = {
    "hftbacktest/spot/ethusdt_20240808.gz": ("binance_spot", 33_618, 577),
    "cryptofeed/2021-10-12_BINANCE": ("binance_spot", 270, 26),
    "cryptofeed/2021-07-22_BINANCE_FUTURES": ("binance_usdm", 1_540, 50),
    "cryptofeed/2021-04-17_KRAKEN": ("kraken", 4_431, 4_269),
    "cryptofeed/2025-06-13_BYBIT_V5": ("bybit_linear+bybit_spot", 347, 61),
}


def run(*arguments):
    """The command, to its end."""
    command = [sys.executable, "-m", "bot4.cli.data", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.data
@pytest.mark.parametrize("name", WANTED)
def test_a_capture_is_explained_to_its_last_message(data_dir, name):
    venue, messages, compared = WANTED[name]
    result = run("check", data_dir / name, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["venue"], sum(found["messages"].values()), found["rejected"]) == (venue, messages, {})
    assert (found["book"]["compared"], found["book"]["equal"], found["book"]["stale"]) == (compared, compared, 0)
    assert (found["gaps"], found["duplicates"], found["out_of_order"]) == (0, 0, 0)


@pytest.mark.data
@pytest.mark.parametrize(("name", "venue", "messages", "near"), [
    ("2026-08-09_COINBASE_first60pct.jsonl.gz", "coinbase", 615, 90),
    ("2026-08-09_BYBIT_first60pct.jsonl.gz", "bybit_linear+bybit_spot", 1_934, 95),
])  # fmt: skip
def test_quotes_that_name_no_update_are_near_the_book(data_dir, name, venue, messages, near):
    result = run("check", data_dir / "cryptofeed" / name, "--json")
    found = json.loads(result.stdout)
    print(found["book"])
    assert (found["venue"], sum(found["messages"].values()), found["rejected"]) == (venue, messages, {})
    assert found["book"]["near_equal"] == found["book"]["near"] >= near and result.returncode == 0
    assert (found["book"]["stale"], found["gaps"], found["duplicates"]) == (0, 0, 0)


CUT = {  # whose lines receive something
    "hftbacktest/spot/btcusdt_20240808.gz": rb"[0-9]{16,19} ",
    "hftbacktest/usdm/btcusdt_20230404.dat.gz": rb"[0-9]{16,19} ",
    "cryptofeed/2026-08-09_BYBIT_first60pct.jsonl.gz": rb'\{"t":"(recv|http)"',
    "cryptofeed/2026-08-09_COINBASE_first60pct.jsonl.gz": rb'\{"t":"(recv|http)"',
    "cryptofeed/2021-04-17_KRAKEN/KRAKEN.ws.50.0.gz": rb"[0-9]+\.[0-9]+: ",
    "cryptofeed/2021-07-22_BINANCE_FUTURES/BINANCE_FUTURES.ws.1.0.gz": rb"[0-9]+\.[0-9]+: ",
}


@pytest.mark.data
@pytest.mark.parametrize("name", CUT)
def test_a_capture_that_was_cut_is_explained_to_its_last_line(data_dir, tmp_path, name):
    """It begins or ends in the middle of a line, or lacks some: what is no message is refused, and nothing else is."""
    lines = gzip.decompress((data_dir / name).read_bytes()).splitlines()[:4_000]
    half, word = len(lines) // 2, b"trade"
    pieces = {
        "middle": (lines[half:], b"\n", 0),
        "begin cut": ([lines[half][37:], *lines[half + 1 :]], b"\n", 1),
        "end cut": ([*lines[:half], lines[half][: len(lines[half]) // 2]], b"\n", 1),
        "blank": ([b"", *lines[:half], b" ", b""], b"\r\n", 0),
        "one kind": ([line for line in lines if word in line.lower() and re.match(CUT[name], line)], b"\n", 0),
    }
    for what, (kept, end, broken) in pieces.items():
        path = tmp_path / what / Path(name).name.removesuffix(".gz")
        path.parent.mkdir()
        path.write_bytes(end.join(kept))
        found = [check_capture(capture) for capture in find_captures([path])] if kept else []
        received = sum(bool(re.match(CUT[name], line)) for line in kept) - (what == "end cut")
        assert sum(sum(one["rejected"].values()) for one in found) == broken, (what, found)
        assert sum(sum(one["messages"].values()) for one in found) == received, (what, found)
        assert {one["out_of_order"] for one in found} <= {0}


@pytest.mark.data
def test_day_files_are_one_capture_and_the_clock_is_behind(data_dir):
    days = sorted((data_dir / "hftbacktest/spot").glob("btcusdt_*.gz"))
    found = json.loads(run("check", *reversed(days), "--json").stdout)
    assert found["files"] == [str(day) for day in days]
    assert (found["book"]["compared"], found["book"]["equal"], found["book"]["stale"]) == (1_072, 1_072, 0)
    assert -1_300 < found["clock_offset_ms"] < -1_250


@pytest.mark.data
def test_a_continuation_without_its_snapshot_has_no_book(data_dir):
    result = run("check", data_dir / "hftbacktest/usdm/btcusdt_20230405.dat.gz", "--json")
    found = json.loads(result.stdout)
    assert result.returncode == 1 and (found["book"]["compared"], found["book"]["stale"]) == (0, 11_788)


@pytest.mark.data
def test_a_damaged_message_is_named_and_costs_the_exit_code(data_dir, tmp_path):
    lines = gzip.decompress((data_dir / "hftbacktest/spot/ethusdt_20240808.gz").read_bytes()).splitlines()[:3_000]
    lines[2_000] = lines[2_000].replace(b'"s"', b'"z"')
    path = tmp_path / "damaged"
    path.write_bytes(b"\n".join(lines))
    result = run("check", path)
    assert result.returncode == 1
    assert "refused as bad_field" in result.stdout


def test_files_of_the_archive_that_go_on_with_each_other_are_held_against_each_other(tmp_path):
    for day, numbers in ((8, (1, 2)), (9, (5, 6)), (10, (6, 7))):
        rows = "".join(f"{number},1.5,2,3,{1704067200000 + day * 86_400_000 + number},true\n" for number in numbers)
        (tmp_path / f"BTCUSDT_240927-trades-2024-01-{day:02d}.csv").write_text(rows)
    result = run("check", tmp_path, "--json")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["gaps"], one["duplicates"]) for one in found] == [(0, 0), (2, 0), (0, 1)] and result.returncode == 1


def test_no_name_is_cut_where_no_terminal_says_how_wide_it_is(tmp_path):
    path = tmp_path / ("folder" * 20) / ("SYMBOL" * 20 + "-5m.csv")
    path.parent.mkdir()
    bar = "100,101,99,100,1"
    path.write_text(f"open_time,open,high,low,close,volume\n1735603200000,{bar}\n1735603500000,{bar}\n")
    assert str(path) in run("list", path).stdout and path.name in run("check", path).stdout.splitlines()[1]


@pytest.mark.data
def test_what_lies_in_a_folder_is_listed(data_dir):
    result = run("list", data_dir / "cryptofeed/2021-04-17_KRAKEN", "--json")
    (found,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert found["name"] == "KRAKEN" and len(found["files"]) == 4


def test_who_wants_to_replay_is_told_how():
    result = run("replay", "day1.gz", "day2.gz")
    assert result.returncode == 2 and "bot4-supervisor start --feed replay:day1.gz,day2.gz" in result.stderr


def test_what_is_no_capture_is_one_line(tmp_path):
    (tmp_path / "file").write_text("nothing\n")
    for arguments in (["check", tmp_path / "file"], ["list", tmp_path / "missing"]):
        result = run(*arguments)
        assert result.returncode == 2 and result.stderr.count("\n") == 1 and result.stderr.startswith("bot4-data: ")


@pytest.mark.data
def test_what_cannot_be_read_costs_the_exit_code_and_not_the_others(data_dir):
    """Inverse contracts and another venue's recording lie in the folder; captures of different years are two."""
    for verb in ("list", "check"):
        result = run(verb, data_dir / "hftbacktest", "--json")
        found = [json.loads(line) for line in result.stdout.splitlines()]
        assert result.returncode == 2 and result.stderr.count("\n") == 3
        assert result.stderr.count("COIN-M") == 2 and "hyperliquid" in result.stderr
        assert [one["name"] for one in found] == [
            "binance_spot:BTCUSDT", "binance_spot:ETHUSDT", "binance_usdm:BTCUSDT@2023-04-04",
            "binance_usdm:BTCUSDT@2024-08-08",
        ]  # fmt: skip
    assert {one["gaps"] for one in found} == {0}


@pytest.mark.data
def test_a_trade_that_is_missing_is_a_gap(data_dir, tmp_path):
    lines = gzip.decompress((data_dir / "hftbacktest/spot/ethusdt_20240808.gz").read_bytes()).splitlines()[:5_000]
    trades = [line for line in lines if b"@trade" in line]
    lines.remove(trades[len(trades) // 2])
    path = tmp_path / "missing"
    path.write_bytes(b"\n".join(lines))
    result = run("check", path, "--json")
    assert result.returncode == 1 and json.loads(result.stdout)["gaps"] == 1


@pytest.mark.data
def test_a_trade_without_a_number_is_missed_by_the_venues_bars(data_dir, tmp_path):
    name = "2026-08-09_BYBIT_first60pct.jsonl.gz"
    lines = gzip.decompress((data_dir / "cryptofeed" / name).read_bytes()).splitlines()
    trades = [line for line in lines if b"publicTrade.BTCUSDT" in line and b'"recv"' in line]
    lines.remove(trades[len(trades) // 2])
    path = tmp_path / "BYBIT.jsonl"
    path.write_bytes(b"\n".join(lines))
    result = run("check", path)
    assert result.returncode == 1 and "bars unlike their trades" in result.stdout


@pytest.mark.compiled
def test_the_raw_messages_of_the_synthetic_market_are_read(tmp_path):
    config = ["--config", settings_in(tmp_path)]
    made = run("record", "--feed", "synthetic", "--out", tmp_path / "one", "--raw", "--json", *config)
    assert made.returncode == 0, made.stderr
    checked = run("check", tmp_path / "one", "--json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    raw, own = (json.loads(line) for line in checked.stdout.splitlines())
    assert raw["venue"] == own["venue"] == "synthetic" and raw["messages"]["trade"] == own["messages"]["trade"]
    assert raw["book"]["compared"] == raw["book"]["equal"] > 0 and not raw["rejected"]


@pytest.mark.data
@pytest.mark.parametrize(("name", "host"), [("2022-05-13_OKX", "okx.com"), ("2021-04-17_COINBASE_PRO", "coinbase.com")])
def test_a_venue_that_is_not_supported_is_named(data_dir, name, host):
    result = run("check", data_dir / "cryptofeed" / name)
    assert result.returncode == 1 and "of a venue that is not supported: no message was read" in result.stdout
    assert re.search(f"refused as its venue is not supported: https://[a-z.]*{host}/", result.stdout)


@pytest.mark.compiled
@pytest.mark.data
def test_a_capture_is_recorded_checked_and_recorded_again_from_its_own_raw_messages(data_dir, tmp_path):
    config = ["--config", settings_in(tmp_path)]
    source = data_dir / "hftbacktest/usdm/btcusdt_20230404.dat.gz"
    result = run("record", "--feed", f"replay:{source}", "--out", tmp_path / "one", "--raw", "--json", *config)
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    assert (said["messages"], said["raw"], said["dropped"]) == (13_384, 13_384, 0) and said["ticks"] > 13_384
    checked = run("check", tmp_path / "one", "--json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    raw, own = (json.loads(line) for line in checked.stdout.splitlines())
    assert raw["venue"] == own["venue"] == "binance_usdm" and raw["book"]["compared"] == raw["book"]["equal"] > 0
    assert own["messages"]["trade"] == raw["messages"]["trade"] and own["gaps"] == 0
    assert own["clock_offset_ms"] is not None

    parts = ",".join(map(str, sorted((tmp_path / "one").rglob("*.gz"))))
    again = run("convert", *parts.split(","), tmp_path / "two", "--json", *config)
    assert again.returncode == 0, again.stderr
    third = run("record", "--feed", f"replay:{said['folder']}", "--out", tmp_path / "three", "--json", *config)
    assert third.returncode == 0, third.stderr
    first, second, third_ = (rows(folder) for folder in (said["folder"], tmp_path / "two", tmp_path / "three"))
    assert len(first) == said["ticks"]
    for name in TICK.names:
        assert (first[name] == second[name]).all(), name
        assert (first[name] == third_[name]).all(), name


def rows(folder):
    """All records of the only recording in a folder."""
    return np.concatenate(list(Recording([Path(folder)]).blocks()))


DRIVER = """
import contextlib, io, json, sys
from bot4.cli.data import app
for line in sys.stdin:
    told = io.StringIO()
    code = 0
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        try:
            app(json.loads(line))
        except SystemExit as error:
            code = error.code
    print(json.dumps([code, told.getvalue()]), flush=True)
"""


def give_up_rights():
    """Root reads and writes everything: without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH what its owner may."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


def run_without_rights(cases):
    """[exit code, standard error] of each command, none of which may read or write what its owner may not."""
    text = "".join(json.dumps(list(map(str, case))) + "\n" for case in cases)
    command = [sys.executable, "-c", DRIVER]
    found = subprocess.run(
        command, input=text, stdout=subprocess.PIPE, text=True, check=True, timeout=300, preexec_fn=give_up_rights
    )
    return [json.loads(line) for line in found.stdout.splitlines()]


def test_garbage_and_paths_without_rights_are_one_line_that_names_them(tmp_path):
    for name in ("shut", "shut/in", "tree", "tree/shut", "none"):
        (tmp_path / name).mkdir()
    bars, trades = tmp_path / "X-1m.csv", tmp_path / "BTCUSDT-trades-2024-01-15.csv"
    bars.write_text("1704067200000,1,2,0.5,1.5,7\n1704067260000,1,2,0.5,1.5,7\n")
    trades.write_text("1,1.5,2,3,1704067200000,true\n")
    contents = {
        "noise": bytes(range(256)) * 9,
        "empty": b"",
        "e.parquet": b"",
        "cut.gz": b"\x1f\x8b",
        "cut.zip": b"PK\x03\x04",
        "deep": b"[" * 100_000,
        "own.jsonl": b'{"t":"recv","ts":-5}\n',
        "two\nlines": b"",
        "none/bars.json": b"{}",
        "shut/file": b"x",
        "secret": b"x",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("shut", "tree/shut", "secret"):
        (tmp_path / name).chmod(0)
    config = ("--config", settings_in(tmp_path))
    named = [*contents, "pipe", "loop", "shut", "tree", "shut/in", "nosuch"]
    cases = [("check", tmp_path / name) for name in named]
    cases += [("list", tmp_path / name) for name in ("shut/file", "tree", "secret", "e.parquet")]
    cases += [("convert", tmp_path / name, tmp_path / "out", *config) for name in ("noise", "shut", "secret", "tree")]
    for out in ("shut/out", "secret", "noise"):
        cases += [("convert", source, tmp_path / out, *config) for source in (bars, trades)]
        cases.append(("record", "--feed", "synthetic", "--out", tmp_path / out, *config))
    for name in ("shut/file", "secret", "noise", "empty", "pipe", "e.parquet", "none"):
        cases.append(("record", "--feed", f"replay:{tmp_path / name}", "--out", tmp_path / "out", *config))
    cases.append(("record", "--feed", "synthetic", "--out", tmp_path / "out", "--config", tmp_path / "shut/paper.toml"))
    try:
        told = run_without_rights(cases)
    finally:
        for name in ("shut", "tree/shut"):
            (tmp_path / name).chmod(0o700)
    for case, (code, text) in zip(cases, told, strict=True):
        assert code == 2 and text.count("\n") == 1 and text.startswith("bot4-data: "), (case, code, text)
        assert str(tmp_path) in text, (case, text)
        assert case[1] != tmp_path / "tree" or str(tmp_path / "tree/shut") in text, text
    assert not (tmp_path / "out").exists()


def test_no_file_of_bars_is_written_over(tmp_path):
    """Two files of one name, and one that is there: refused before anything is written."""
    for year, price in (("2024", "1.0"), ("2025", "2.0")):
        (tmp_path / year).mkdir()
        text = f"open_time_ms,open,high,low,close,volume\n1704067200000,{price},{price},{price},{price},1\n"
        (tmp_path / year / "BTCUSDT-5m.csv").write_text(text)
    first, second = (tmp_path / year / "BTCUSDT-5m.csv" for year in ("2024", "2025"))
    out = tmp_path / "out"
    result = run("convert", first, second, out)
    assert result.returncode == 2 and "BTCUSDT-5m is the name of" in result.stderr and not out.exists()
    assert run("convert", first, out).returncode == 0
    before = (out / "BTCUSDT-5m.parquet").read_bytes()
    result = run("convert", second, out)
    assert result.returncode == 2 and "is there already" in result.stderr
    assert (out / "BTCUSDT-5m.parquet").read_bytes() == before


def test_what_cannot_be_converted_is_one_line(tmp_path):
    archive = tmp_path / "BTCUSDT-trades-2024-01-15.csv"
    archive.write_text("1,1.5,2,3,1704067200000,true\n")
    bars = tmp_path / "BTCUSDT-1m.csv"
    bars.write_text("open_time_ms,open,high,low,close,volume\n1704067200000,1,1,1,1,1\n")
    for arguments in ([archive, bars, tmp_path / "out"], [archive, tmp_path / "out", "--tick-size", "1"]):
        result = run("convert", *arguments)
        assert result.returncode == 2 and result.stderr.count("\n") == 1 and result.stderr.startswith("bot4-data: ")
    assert run("convert", archive, tmp_path / "out2", "--json").returncode == 0
