"""The bench runs whole in a small size, and what it writes has the shape and the sanity that its readers rely on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.compiled
SUITES = {
    "ring": {"hop_64", "rate_64", "hop_128", "rate_128"},
    "step": {
        *("order_1", "order_32", "order_1024", "mixed_32", "each_32"),
        *("indicators", "decision", "risk", "order_write"),
    },
    "tick_to_intent": {"trade_written", "trade_read", "quote_written", "quote_read"},
}
PERCENTILES = ("p50", "p90", "p99", "p99_9", "max")


def bench(*arguments, before=None, **environment) -> subprocess.CompletedProcess:
    """The command in a process of its own, always compiled; `before` is called in it first."""
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    command = [sys.executable, "-m", "bot4.cli.bench", *map(str, arguments)]
    told = {"env": inherited | environment, "capture_output": True, "text": True, "timeout": 300}
    return subprocess.run(command, **told, preexec_fn=before, check=False)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    done = bench("--quick", "--json", path)
    assert done.returncode == 0, done.stderr
    assert "machine: " in done.stdout
    return json.loads(path.read_text())


def check_figures(figures: dict) -> None:
    assert figures["unit"] in ("ns", "messages/s")
    assert isinstance(figures["n"], int) and figures["n"] > 0
    if figures["unit"] == "messages/s":
        assert figures["rate"] > 0 and not set(PERCENTILES) & set(figures)
        return
    values = [figures[name] for name in PERCENTILES]
    assert values == sorted(values)
    assert values[0] >= 0 and values[-1] > 0


def test_the_machine_is_described(result):
    assert set(result) == {"machine", "limits", "suites"}
    machine = result["machine"]
    assert {"cpu", "cores", "cores_used", "kernel", "python", "numba", "numpy", "tsc_ghz", "cpp"} <= set(machine)
    assert 0.5 < machine["tsc_ghz"] < 10
    assert len(machine["cores_used"]) == 2
    assert machine["quick"] is True and machine["repeats"] == 3


def test_the_limits_are_measured_in_the_same_run(result):
    assert {"line_1", "line_2", "timer"} <= set(result["limits"])
    assert ("cpp_hop_64" in result["limits"]) == (not result["machine"]["cpp"].startswith("absent"))
    for figures in result["limits"].values():
        check_figures(figures)


def test_every_case_names_the_limit_that_it_is_divided_by(result):
    assert {suite: set(cases) for suite, cases in result["suites"].items()} == SUITES
    for cases in result["suites"].values():
        for figures in cases.values():
            check_figures(figures)
            limit = result["limits"][figures["limit"]]
            assert figures["ratio"] > 0
            if "p50" in figures and "p50" in limit:
                assert figures["ratio"] == pytest.approx(figures["p50"] / limit["p50"], abs=1e-2)


def test_the_samples_are_all_there(result):
    assert result["suites"]["ring"]["rate_64"]["n"] == 3 * 199_999
    assert 3 * 8_000 < result["suites"]["ring"]["hop_64"]["n"] <= 3 * 10_000
    assert result["suites"]["tick_to_intent"]["trade_written"]["n"] == 3 * 5_000
    assert result["suites"]["step"]["each_32"]["n"] == 3 * 18_000


def test_nothing_is_left_in_shared_memory(result):
    assert not list(Path("/dev/shm").glob(f"bot4.{os.getuid()}.bench*"))


def test_one_core_is_refused():
    core = min(os.sched_getaffinity(0))
    done = bench("--quick", before=lambda: os.sched_setaffinity(0, {core}))
    assert done.returncode == 2
    assert "two cores" in done.stderr and len(done.stderr.splitlines()) == 1


def test_one_suite_alone(tmp_path):
    path = tmp_path / "one.json"
    assert bench("--suite", "ring", "--quick", "--json", path).returncode == 0
    assert set(json.loads(path.read_text())["suites"]) == {"ring"}


def test_the_suites_are_listed():
    done = bench("--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(SUITES)


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["--suite", "nonsense"], {}, "--suite nonsense"),
        (["--json", "/no/such/folder/x.json"], {}, "/no/such/folder"),
        ([], {"NUMBA_DISABLE_JIT": "1"}, "NUMBA_DISABLE_JIT"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_2(arguments, environment, told):
    done = bench(*arguments, **environment)
    assert done.returncode == 2
    assert told in done.stderr and len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
