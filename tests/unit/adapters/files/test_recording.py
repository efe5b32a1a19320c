"""An own recording that lost or changed something since: found by `check`, told or refused by a session."""

import gzip
import random
import shutil
import subprocess
import zlib

import numpy as np
import pytest
from rig.command import SUPERVISOR, settings_in
from typer.testing import CliRunner

from bot4.adapters.files.recording import SUMS_NAME, VERSION, Head, Listed, Recording, RecordingWriter
from bot4.adapters.files.recording_check import recording_files
from bot4.cli.data import app
from bot4.model.errors import RecordingError
from bot4.model.records import TICK
from bot4.ports.store import Raw
from bot4.shm.byte_ring import N_TAKEN, TAKEN_AT, TAKEN_END, TAKEN_NS, TAKEN_SOURCE
from workers.session import StartOptions, prepare

HOUR_NS = 3_600 * 10**9
START_NS = 1_700_000_000 * 10**9
FOLDER = "date=2023-11-14/BTCUSDT.binance_spot"
ROWS = 60  # of a part


def record(folder, parts=3, apart_ns=10**9, *, ended=True):
    """Quotes of BTCUSDT in as many parts, each with a raw message; between two parts so much time."""
    writer = RecordingWriter(
        folder, Head(VERSION, "", "test", False, "receive", [Listed("BTCUSDT", "binance_spot", "0.01", "0.00001")])
    )
    for part in range(parts):
        rows = np.zeros(ROWS, TICK)
        rows["kind"], rows["flags"], rows["w0"], rows["w2"] = 2, 1, 100, 101
        rows["seq"] = rows["event_no"] = part * ROWS + np.arange(1, ROWS + 1)
        rows["ts_recv_ns"] = START_NS + part * apart_ns + np.arange(ROWS)
        body = b'{"a":1}'
        table = np.zeros((1, N_TAKEN), np.int64)
        table[0, [TAKEN_NS, TAKEN_SOURCE, TAKEN_AT, TAKEN_END]] = int(rows["ts_recv_ns"][0]), 0, 0, len(body)
        writer.write(rows, Raw(np.frombuffer(body, np.uint8), table))
    if ended:
        writer.finish(writer.written().ticks)
    return folder


def names_of(folder):
    """The parts that are there, by their paths in the recording."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("part-*"))


def check(folder):
    """The command; exit code and what it said."""
    result = CliRunner().invoke(app, ["check", str(folder)])
    return result.exit_code, result.output


def warnings_of(folder, tmp_path):
    """What a session on it would have a person mind."""
    return prepare(StartOptions(config=settings_in(tmp_path), feed=f"replay:{folder}")).warnings


def test_each_part_has_its_sum_before_it_is_there(tmp_path):
    folder = record(tmp_path / "own")
    lines = [line.split(" ", 3) for line in (folder / SUMS_NAME).read_text().splitlines()]
    assert sorted(name for *_, name in lines) == names_of(folder)
    for crc, size, rows, name in lines:
        content = (folder / name).read_bytes()
        assert (int(crc, 16), int(size)) == (zlib.crc32(content), len(content))
        assert int(rows) == (1 if name.startswith("raw/") else ROWS)
    assert check(folder / FOLDER)[0] == 0
    code, said = check(folder)
    assert f"{folder.name}: sound" in said and "unguarded" not in said, (code, said)
    assert warnings_of(folder, tmp_path) == ()


def test_no_byte_of_a_part_can_change_unseen(tmp_path):
    folder, source = record(tmp_path / "own", parts=1), random.Random(1)
    for name in names_of(folder):
        path = folder / name
        good = path.read_bytes()
        changed = [(at, good[:at] + bytes([good[at] ^ 1 << source.randrange(8)]) + good[at + 1 :])
                   for at in range(source.randrange(9), len(good), 9)]  # fmt: skip
        for at, content in [*changed, (-1, good[:-1]), (-2, good + b"\0"), (-3, b"")]:
            path.write_bytes(content)
            with pytest.raises(RecordingError, match="damaged") as refused:
                recording_files(folder).check()
            assert str(path) in str(refused.value) and "restore it from a copy" in str(refused.value), at
        path.write_bytes(good)
    recording_files(folder).check()


@pytest.mark.parametrize("named", ["folder", "part"])
def test_a_session_refuses_a_part_that_is_not_as_it_was_written(tmp_path, named):
    folder = record(tmp_path / "own")
    path = folder / FOLDER / "part-00002.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)
    code, said = check(folder)
    assert code == 2 and f"{path}: damaged" in said
    feed = f"replay:{path if named == 'part' else folder}"
    command = [*SUPERVISOR, "start", "--config", str(settings_in(tmp_path)), "--feed", feed]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 2 and result.stderr.count("\n") == 1, result.stderr
    assert f"{path}: damaged" in result.stderr and f"of {ROWS} records; restore it from a copy" in result.stderr


@pytest.mark.parametrize(("part", "ended"), [(1, True), (2, False), (3, True), (3, False)])
def test_a_part_that_is_not_there_is_named(tmp_path, part, ended):
    folder = record(tmp_path / "own", ended=ended)
    path = folder / FOLDER / f"part-0000{part}.parquet"
    path.unlink()
    code, said = check(folder)
    told = f"{path} is not there: {ROWS} records that were in it are missing; restore it from a copy."
    assert code == 1 and "1 parts not there" in said and told in said
    assert told in warnings_of(folder, tmp_path)
    other = folder / FOLDER / f"part-0000{part % 3 + 1}.parquet"
    assert told not in warnings_of(other, tmp_path), "of that part nobody spoke"


@pytest.mark.parametrize("ended", [True, False])
def test_a_raw_part_that_is_not_there_is_nothing_to_a_session(tmp_path, ended):
    folder = record(tmp_path / "own", ended=ended)  # its sum is the last one, and it was there
    (folder / "raw" / FOLDER / "part-00003.gz").unlink()
    assert check(folder)[1].count(" is not there") == 1
    assert not any(" is not there" in told for told in warnings_of(folder, tmp_path))


def test_a_recording_without_sums_is_read_and_told_as_unguarded(tmp_path):
    folder = record(tmp_path / "own")
    shutil.rmtree(folder / "raw" / "date=2023-11-14")
    (folder / SUMS_NAME).unlink()
    code, said = check(folder)
    assert f"{folder.name}: 1 parts not there" in said and "3 parts bear no sum" in said and code == 1
    (told,) = warnings_of(folder, tmp_path)
    assert "3 of the 6 parts that were written are not there" in told
    folder = record(tmp_path / "other")
    (folder / SUMS_NAME).unlink()
    assert f"{folder.name}: unguarded" in check(folder)[1]
    assert warnings_of(folder, tmp_path) == () and sum(map(len, Recording([folder]).blocks())) == 3 * ROWS


def test_a_line_of_the_sums_that_is_none_is_refused(tmp_path):
    folder = record(tmp_path / "own")
    sums = folder / SUMS_NAME
    sums.write_text("no sum\n" + sums.read_text())
    code, said = check(folder)
    assert code == 2 and f"{sums}, line 1: is no sum of a part; restore it" in said


@pytest.mark.parametrize("begun", ["0123abcd 77 60 " + FOLDER + "/part-00004.parquet\n", "0123abcd 7"])
def test_a_recorder_that_is_killed_between_a_sum_and_its_part_has_lost_nothing(tmp_path, begun):
    folder = record(tmp_path / "own", ended=False)
    before = (folder / SUMS_NAME).read_text()
    (folder / SUMS_NAME).write_text(before + begun)
    assert Recording([folder]).lost(raw=True) == []
    record(folder, parts=0, ended=False)  # the next one goes on
    assert (folder / SUMS_NAME).read_text() == before
    (folder / SUMS_NAME).write_text(before + begun)
    record(folder, parts=4)
    lines = (folder / SUMS_NAME).read_text().splitlines()
    assert sorted(line.split(" ", 3)[3] for line in lines) == names_of(folder) and len(lines) == 14
    assert Recording([folder]).lost(raw=True) == []


def test_what_could_not_be_written_leaves_no_sum(tmp_path):
    folder = record(tmp_path / "own", parts=1, ended=False)
    before = (folder / SUMS_NAME).read_text()
    writer = RecordingWriter(folder, Head(VERSION, "", "test", False, "receive", Recording([folder]).head.instruments))
    (folder / "date=1970-01-01").write_text("in the way")
    rows = np.zeros(1, TICK)
    rows["event_no"] = rows["seq"] = ROWS + 1
    with pytest.raises(RecordingError, match="cannot be written"):
        writer.write(rows, Raw(np.zeros(0, np.uint8), np.zeros((0, N_TAKEN), np.int64)))
    assert (folder / SUMS_NAME).read_text() == before


# --- hours without a record ---


def test_hours_without_a_record_are_told_by_check_and_by_a_session(tmp_path):
    folder = record(tmp_path / "own", apart_ns=5 * HOUR_NS)
    code, said = check(folder)
    told = "BTCUSDT: 5.0 h without data after 2023-11-15 03:13:20, the longest of 2 such silences: position, stop and "
    assert code == 1 and "2 silences of hours" in said and told in said
    (warning,) = warnings_of(folder, tmp_path)
    assert warning.startswith(told)
    assert warnings_of(record(tmp_path / "soon", apart_ns=HOUR_NS), tmp_path) == ()


def stream(begin_ms, count=40):
    """Lines of Binance USD-M: trades, one a second."""
    line = (
        '{}000000 {{"stream":"btcusdt@trade","data":{{"e":"trade","E":{},"T":{},"s":"BTCUSDT","t":{},"p":"61800.10",'
        '"q":"0.010","X":"MARKET","m":false}}}}\n'
    )
    times = [begin_ms + 1_000 * number for number in range(count)]
    return "".join(line.format(ms, ms, ms, ms // 1_000) for ms in times).encode()


def convert(tmp_path, *names):
    """The command on these captures; exit code and what it said."""
    paths = [str(tmp_path / f"{name}.gz") for name in names]
    config = str(settings_in(tmp_path))
    result = CliRunner().invoke(app, ["convert", *paths, str(tmp_path / "out"), "--config", config])
    return result.exit_code, result.output


def test_convert_refuses_files_that_lie_apart_by_hours(tmp_path):
    begin_ms, hour_ms = START_NS // 10**6, HOUR_NS // 10**6
    for name, at_ms in {"a": begin_ms, "b": begin_ms + hour_ms // 2, "c": begin_ms + 9 * hour_ms}.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(stream(at_ms)))
    code, said = convert(tmp_path, "a", "c", "b")
    assert code == 2 and said.count("\n") == 1, said
    assert f"{tmp_path}/b.gz, {tmp_path}/c.gz: more than an hour" in said and "convert each by itself" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.compiled
def test_convert_and_record_tell_of_the_hours_that_they_let_pass(tmp_path):
    begin_ms, hour_ms = START_NS // 10**6, HOUR_NS // 10**6
    (tmp_path / "a.gz").write_bytes(gzip.compress(stream(begin_ms) + stream(begin_ms + 9 * hour_ms)))
    code, said = convert(tmp_path, "a")  # a hole in a file
    assert code == 0 and "BTCUSDT: 9.0 h without data after 2023-11-14 22:13:59: position" in said, said
    feed = f"replay:{next((tmp_path / 'out').iterdir())}"
    arguments = ["record", "--feed", feed, "--out", str(tmp_path / "again"), "--config", str(settings_in(tmp_path))]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0 and "9.0 h without data" in result.output, result.output
    (tmp_path / "b.gz").write_bytes(gzip.compress(stream(begin_ms + hour_ms)))
    (tmp_path / "c.gz").write_bytes(gzip.compress(stream(begin_ms + hour_ms // 2)))
    code, said = convert(tmp_path, "b", "c")  # soon enough
    assert code == 0 and "without data" not in said, said
