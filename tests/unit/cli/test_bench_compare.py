"""What counts as a regression, what a file has to be, and that both are said before or after the measurement."""

import io
import json
import subprocess
import sys

import pytest
from rich.console import Console

from bot4.cli.measure import compare
from bot4.model.errors import InputError


def line(ratio: float, low: float | None = None, high: float | None = None, **more) -> dict:
    """A case; its repeats lie 1 % around the ratio unless told otherwise."""
    spread = [low or ratio * 0.99, high or ratio * 1.01]
    return {"unit": "ns", "n": 7, "p50": 9.0, "limit": "line_2", "ratio": ratio, "ratio_range": spread} | more


def rate(ratio: float, low: float | None = None, high: float | None = None) -> dict:
    return line(ratio, low, high, unit="messages/s", rate=1e6)


def result(**cases: dict) -> dict:
    about = {"cpu": "x", "cores_used": [0, 1], "python": "3", "numba": "0", "quick": False}
    return {"machine": about, "limits": {"line_2": {"unit": "ns", "n": 7, "p50": 9.0}}, "suites": {"ring": cases}}


def compared(then: dict, now: dict, tmp_path) -> tuple[list[compare.Row], list[str]]:
    path = tmp_path / "then.json"
    path.write_text(json.dumps(then))
    return compare.compare(compare.read_earlier(path), now)


def verdict(then: dict, now: dict, tmp_path) -> str:
    rows, _ = compared(result(hop=then), result(hop=now), tmp_path)
    return rows[0].verdict


def test_a_time_that_got_longer_than_tolerance_and_spread_is_a_regression(tmp_path):
    assert verdict(line(1.0), line(1.3), tmp_path) == "REGRESSION"
    assert verdict(line(1.0), line(1.24), tmp_path) == ""
    assert verdict(line(1.3), line(1.0), tmp_path) == ""


def test_a_rate_is_worse_when_it_is_lower(tmp_path):
    assert verdict(rate(1.3), rate(1.0), tmp_path) == "REGRESSION"
    assert verdict(rate(1.0), rate(1.3), tmp_path) == ""
    assert verdict(rate(1.2), rate(1.0), tmp_path) == ""


def test_repeats_that_overlap_are_no_regression(tmp_path):
    assert verdict(line(1.0, 0.9, 1.5), line(1.4, 1.3, 1.6), tmp_path) == "within the spread"
    assert verdict(line(1.0, 0.9, 1.2), line(1.4, 1.3, 1.6), tmp_path) == "REGRESSION"
    assert verdict(rate(1.4, 1.1, 1.6), rate(1.0, 0.9, 1.2), tmp_path) == "within the spread"
    assert verdict(rate(1.4, 1.3, 1.6), rate(1.0, 0.9, 1.2), tmp_path) == "REGRESSION"


def test_a_file_without_ranges_is_compared_by_the_tolerance(tmp_path):
    bare = {key: value for key, value in line(1.0).items() if key != "ratio_range"}
    assert verdict(bare, line(1.3), tmp_path) == "REGRESSION"


def test_peers_are_shown_and_not_counted(tmp_path):
    rows, _ = compared(result(zeromq=line(100.0)), result(zeromq=line(900.0, peer=True)), tmp_path)
    assert rows[0].worse == pytest.approx(9.0) and not compare.regressions(rows)


def test_another_limit_is_not_compared(tmp_path):
    assert verdict(line(1.0), line(9.0, limit="timer"), tmp_path) == "another limit"


def test_what_is_missing_on_one_side_is_named(tmp_path):
    then = result(hop=line(1.0), gone=line(1.0))
    then["suites"]["step"] = {"risk": line(1.0)}
    now = result(hop=line(1.0), new=line(1.0))
    now["suites"]["mpmc"] = {"push_pop": line(1.0)}
    rows, missing = compared(then, now, tmp_path)
    assert [row.case for row in rows] == ["hop"]
    assert missing == [
        "ring gone: not measured now",
        "ring new: not in the file",
        "suite mpmc: not in the file",
        "suite step: not measured now",
    ]


def test_another_machine_is_told(tmp_path):
    now = result(hop=line(1.0))
    path = tmp_path / "then.json"
    path.write_text(json.dumps(now))
    now["machine"] = now["machine"] | {"cpu": "y", "quick": True}
    assert compare.other_machine(compare.read_earlier(path), now) == ["cpu was x, is y", "quick was False, is True"]


def test_the_table_has_both_ratios_and_the_change(tmp_path):
    rows, _ = compared(result(hop=line(1.0), rate=rate(1.0)), result(hop=line(1.5), rate=rate(2.0)), tmp_path)
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(compare.table(rows))
    text = console.export_text()
    assert "1.50 x worse" in text and "REGRESSION" in text and "2.00 x better" in text


DAMAGED = {
    "empty": b"",
    "cut": json.dumps(result(hop=line(1.0))).encode()[:-9],
    "no text": b"\xff\xfe\x00",
    "a list": b"[1, 2]",
    "another format": b'{"benchmarks": []}',
    "no case": json.dumps(result()).encode(),
    "a text for a ratio": json.dumps(result(hop=line(1.0) | {"ratio": "1"})).encode(),
    "a ratio of nothing": json.dumps(result(hop=line(1.0) | {"ratio": 0})).encode(),
    "not a number": json.dumps(result(hop=line(1.0) | {"ratio": float("nan")})).encode(),
    "case without limit": json.dumps(result(hop={"unit": "ns", "ratio": 1.0})).encode(),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_file_that_is_no_result_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "then.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a result of bot4-bench --json") as told:
        compare.read_earlier(path)
    assert str(path) in str(told.value) and "\n" not in str(told.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        compare.read_earlier(tmp_path / "none.json")


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--compare", "{folder}/none.json"], "No such file"),
        (["--compare", "{folder}"], "Is a directory"),
        (["--compare", "{folder}/damaged.json"], "not a result"),
        (["--html", "{folder}/none/x.html"], "there is no folder"),
        (["--html", "{folder}"], "this is a folder"),
        (["--json", "{folder}"], "this is a folder"),
        (["nonsense"], "nonsense: there is no such suite"),
        (["--suite", "nonsense"], "--suite nonsense: there is no such suite"),
    ],
)
def test_what_cannot_be_used_is_told_before_anything_is_measured(arguments, told, tmp_path):
    (tmp_path / "damaged.json").write_text("{")
    command = [sys.executable, "-m", "bot4.cli.bench", *(part.format(folder=tmp_path) for part in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and not done.stdout
    assert told in done.stderr and len(done.stderr.splitlines()) == 1
