"""Latency models: the lookup against its twin, the tables that are drawn and read, and what is refused."""

import itertools
import os
import random
import statistics

import numpy as np
import pytest
from reference.kernels import latency as twin

from bot4.kernels.latency import latency_ns
from bot4.model import latency
from bot4.model.errors import InputError
from bot4.model.latency import (
    BY_NUMBER,
    BY_TIME,
    MAX_LATENCY_NS,
    constant,
    interpolated,
    log_normal,
    recorded,
)

DAY = 86_400 * 10**9


def look(table, number=0, now=0):
    return int(latency_ns(table.kind, table.times, table.values, np.int64(number), np.int64(now)))


def test_between_measurements_in_proportion():
    draw = random.Random(2)
    for _ in range(300):
        n = draw.randrange(1, 30)
        begin, span = draw.randrange(10**18), draw.choice((100, 10**9, DAY, 1_000 * DAY))
        times = sorted(draw.sample(range(begin, begin + max(span, n)), n))
        values = [draw.choice((0, 1, draw.randrange(10**6), draw.randrange(MAX_LATENCY_NS + 1))) for _ in range(n)]
        for _ in range(10):
            now = draw.choice((draw.randrange(begin - 10, begin + span + 10), draw.choice(times)))
            made = latency_ns(BY_TIME, np.array(times), np.array(values), np.int64(0), np.int64(now))
            exact = twin.latency(1, times, values, 0, now)
            steepest = max((abs(a - b) for a, b in itertools.pairwise(values)), default=0)
            assert abs(made - exact) <= 1 + steepest / 2**24
            assert min(values) <= made <= max(values)
            if now in times:
                assert made == exact


def test_by_number_in_turn():
    values = [5, 3, 9]
    for number in range(10):
        made = latency_ns(BY_NUMBER, np.zeros(1, np.int64), np.array(values), np.int64(number), np.int64(7))
        assert made == twin.latency(0, [], values, number, 7)
    assert {look(constant(1_234), number) for number in range(5)} == {1_234}


def test_drawn_latencies_are_the_seeds_and_log_normal():
    table = log_normal(2_000_000, 0.5, "7.order")
    assert table.values.tolist() == log_normal(2_000_000, 0.5, "7.order").values.tolist()
    assert table.values.tolist() != log_normal(2_000_000, 0.5, "8.order").values.tolist()
    logarithms = np.log(table.values)
    assert statistics.median(table.values) == pytest.approx(2_000_000, rel=0.05)
    assert logarithms.std() == pytest.approx(0.5, rel=0.05)
    assert log_normal(MAX_LATENCY_NS, 5.0, "x").values.max() == MAX_LATENCY_NS


def test_samples_of_a_file_come_one_after_the_other(tmp_path):
    path = tmp_path / "samples"
    path.write_text("100\n 300 \n200\n")
    assert [look(recorded(path), number) for number in range(5)] == [100, 300, 200, 100, 300]


def test_measurements_of_a_recording_by_time_and_way(tmp_path):
    path = tmp_path / "measured.csv"
    path.write_text("req_ts,exch_ts,resp_ts\n1000,1100,1400\n2000,2300,2400\n")
    there, back = interpolated(path, answers=False), interpolated(path, answers=True)
    assert [look(there, now=now) for now in (0, 1_000, 1_500, 2_000, 9_999)] == [100, 100, 200, 300, 300]
    assert [look(back, now=now) for now in (0, 1_100, 1_700, 2_300)] == [300, 300, 200, 100]


def test_measurements_of_this_century(tmp_path):
    path = tmp_path / "measured.csv"
    begun = 1_723_161_250_000_000_000
    rows = f"{begun},{begun + 300},{begun + 900}\n{begun + 1000},{begun + 1500},{2**62}\n"
    path.write_text(f"req_ts,exch_ts,resp_ts\n{rows}")
    with pytest.raises(InputError, match="from 0 to"):
        interpolated(path, answers=True)
    there = interpolated(path, answers=False)
    assert [look(there, now=begun + after) for after in (-1, 0, 500, 1_000)] == [300, 300, 400, 500]
    path.write_text(f"req_ts,exch_ts,resp_ts\n1,2,{2**62 + 1}\n")
    with pytest.raises(InputError, match="no whole number"):
        interpolated(path, answers=False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no samples"), ("1\n-1\n", "line 2"), ("1.5\n", "line 1"), ("\n", "line 1"), ("nan\n", "line 1"),
        ("60000000001\n", "from 0 to"), ("\u0663\n", "read"),
    ],
)  # fmt: skip
def test_samples_that_are_refused(tmp_path, text, says):
    path = tmp_path / "samples"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=says) as error:
        recorded(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1,2,3\n", "line 1"), ("req_ts,exch_ts,resp_ts\n", "no measurements"),
        ("req_ts,exch_ts,resp_ts\n1,2\n", "line 2: must have three"), ("req_ts,exch_ts,resp_ts\n2,1,3\n", "from 0 to"),
        ("req_ts,exch_ts,resp_ts\n1,2,3\n1,2,3\n", "line 3: its time"), ("req_ts,exch_ts,resp_ts\n1,x,3\n", "no whole"),
    ],
)  # fmt: skip
def test_measurements_that_are_refused(tmp_path, text, says):
    path = tmp_path / "measured.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        interpolated(path, answers=False)
    with pytest.raises(InputError, match="read"):
        interpolated(tmp_path / "none", answers=False)


@pytest.mark.parametrize("read", [recorded, lambda path: interpolated(path, answers=False)], ids=["recorded", "times"])
def test_files_that_would_never_end_are_refused(tmp_path, monkeypatch, read):
    monkeypatch.setattr(latency, "MAX_FILE_BYTES", 1_000)
    pipe, large, endless = tmp_path / "pipe", tmp_path / "large", tmp_path / "endless"
    os.mkfifo(pipe)
    endless.symlink_to("/dev/zero")
    for path in (pipe, endless):
        with pytest.raises(InputError, match="no plain file") as error:
            read(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    large.write_text("1" * 1_001)
    with pytest.raises(InputError, match="larger than"):
        read(large)
