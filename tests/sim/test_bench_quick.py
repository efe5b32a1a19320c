"""The bench runs whole in a small size, and what it writes has the shape and the sanity that its readers rely on."""

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [pytest.mark.compiled, pytest.mark.alone]
_CORES = len(os.sched_getaffinity(0))
_COUNTS = {2**power for power in range(16) if 2**power <= _CORES} | {_CORES}
SUITES = {
    "ring": {"hop_64", "rate_64", "hop_128", "rate_128"},
    "mpmc": {"push_pop", "rate_from_1", "rate_from_4", "rate_from_16"},
    "histogram": {"record", "stamped"},
    "step": {
        *("order_1", "order_32", "order_1024", "mixed_32"),
        *("indicators", "decision", "breaker", "risk", "order_write"),
        *("each_32", "each_breaker", "each_risk"),
    },
    "risk": {"checks_1000", "intents_refused", "intents_journaled"},
    "matching": {"book_1k", "book_50k", "fills", "mixed", "each_book", "each_mixed"},
    "tick_to_intent": {
        f"{kind}_{moment}" for kind in ("trade", "quote", "open_100000", "open_5000") for moment in ("written", "read")
    },
    "tick_to_execution": {
        f"{way}_{moment}" for way in ("spin", "spin_open", "block") for moment in ("seen", "inside", "request")
    },
    "wait": {"spin", "backoff", "block", "yield_shared", "block_shared"},
    "shards": {f"shards_{count}" for count in _COUNTS},
    "start": {"warm", "restart_polls"},
    "memory": {
        f"{name}_{part}" for name in ("shard-0", "execution", "feed", "venue") for part in ("private", "pss_5_sharers")
    },
}
ON_REQUEST = ["parse", "feed", "order_inside", "peers"]
PERCENTILES = ("p50", "p90", "p99", "p99_9", "max")


def bench(*arguments, before=None, **environment) -> subprocess.CompletedProcess:
    """The command in a process of its own, always compiled; `before` is called in it first."""
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    command = [sys.executable, "-m", "bot4.cli.bench", *map(str, arguments)]
    told = {"env": inherited | environment, "capture_output": True, "text": True, "timeout": 300}
    return subprocess.run(command, **told, preexec_fn=before, check=False)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    done = bench("--quick", "--json", folder / "bench.json", "--html", folder / "bench.html")
    assert done.returncode == 0, done.stderr
    assert "machine: " in done.stdout
    page = (folder / "bench.html").read_text()
    assert all(f"<h2>{suite}</h2>" in page for suite in SUITES)
    return json.loads((folder / "bench.json").read_text())


def check_figures(figures: dict) -> None:
    assert figures["unit"] in ("ns", "ms", "MB", "messages/s", "steps/s", "commands/s", "fills/s", "intents/s")
    assert isinstance(figures["n"], int) and figures["n"] > 0
    if figures["unit"].endswith("/s"):
        assert figures["rate"] > 0 and not set(PERCENTILES) & set(figures)
        return
    values = [figures[name] for name in PERCENTILES]
    assert values == sorted(values)
    assert values[0] >= 0 and values[-1] > 0
    ratios, times = zip(*figures["curve"], strict=True)
    assert list(ratios) == sorted(set(ratios)) and list(times) == sorted(times)
    assert dict(figures["curve"]).get(0.5, figures["p50"]) == figures["p50"]  # one sample a repeat has no middle
    assert times[-1] <= figures["max"]


def test_the_machine_is_described(result):
    assert set(result) == {"machine", "limits", "suites"}
    machine = result["machine"]
    assert {"cpu", "cores", "cores_used", "kernel", "python", "numba", "numpy", "tsc_ghz", "cpp"} <= set(machine)
    assert 0.5 < machine["tsc_ghz"] < 10
    assert len(machine["cores_used"]) == 2
    assert machine["quick"] is True and machine["repeats"] == 3


def test_the_limits_are_measured_in_the_same_run(result):
    assert {"line_1", "line_2", "timer", "add", "exchange"} <= set(result["limits"])
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
            low, high = figures["ratio_range"]
            assert 0 < low <= high
            if "p50" in figures and "p50" in limit:
                assert figures["ratio"] == pytest.approx(figures["p50"] / limit["p50"], rel=1e-2, abs=1e-2)


def test_the_samples_are_all_there(result):
    assert result["suites"]["ring"]["rate_64"]["n"] == 3 * 199_999
    assert 3 * 8_000 < result["suites"]["ring"]["hop_64"]["n"] <= 3 * 10_000
    assert result["suites"]["tick_to_intent"]["trade_written"]["n"] == 3 * 5_000
    for name in ("each_32", "each_breaker", "each_risk"):
        assert 3 * 17_900 < result["suites"]["step"][name]["n"] <= 3 * 18_000
    assert result["suites"]["mpmc"]["rate_from_16"]["n"] == 3 * 16_383
    assert result["suites"]["histogram"]["record"]["n"] == 3 * 90


def test_nothing_is_left_in_shared_memory(result):
    assert not list(Path("/dev/shm").glob(f"bot4.{os.getuid()}.bench*"))


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    """Whatever is installed: at least what the standard library has."""
    path = tmp_path_factory.mktemp("peers") / "peers.json"
    done = bench("peers", "--quick", "--json", path)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text())


def test_peers_stand_beside_both_rows_of_our_ring(peers):
    _, content = peers
    assert set(content["suites"]) == {"peers"}
    cases = content["suites"]["peers"]
    for what in ("hop", "rate"):
        rings = f"ring_kernel_{what}", f"ring_python_{what}"
        named = [name for name in cases if name.endswith(what)]
        assert {*rings, f"mp_queue_{what}", f"mp_pipe_{what}"} <= set(named)
        for name in named:
            check_figures(cases[name])
            assert cases[name].get("peer", False) == (name not in rings)
            for ring in rings if cases[name].get("peer") else ():
                slower, faster = (name, ring) if what == "hop" else (ring, name)
                centre = "p50" if what == "hop" else "rate"
                expected = cases[slower][centre] / cases[faster][centre]
                assert cases[name][f"x_{ring.removesuffix(f'_{what}')}"] == pytest.approx(expected, rel=1e-3)


def test_peers_that_are_not_installed_are_named_with_the_way_to_install_them(peers):
    shown, content = peers
    packages = {"zmq": "pyzmq", "iceoryx2": "iceoryx2", "faster_fifo": "faster-fifo"}
    absent = {package for module, package in packages.items() if find_spec(module) is None}
    told = " ".join(content.get("left_out", {}).get("peers", []))
    assert all(package in told for package in absent) and ("bot4[peers]" in told) == bool(absent)
    assert told in shown
    timed = {name.rsplit("_", 1)[0] for name in content["suites"]["peers"]}
    assert len(timed) == 4 + len(packages) - len(absent)


def test_peers_leave_nothing_behind(peers):
    assert not list(Path("/dev/shm").glob("bot4bench*"))
    assert not list(Path(tempfile.gettempdir()).glob("bot4-peers-*"))


def test_what_got_slower_is_told_and_is_exit_1(tmp_path):
    earlier, page = tmp_path / "earlier.json", tmp_path / "page.html"
    assert bench("histogram", "--quick", "--json", earlier).returncode == 0
    content = json.loads(earlier.read_text())
    record = content["suites"]["histogram"]["record"]
    record["ratio"], record["ratio_range"] = record["ratio"] / 100, [value / 100 for value in record["ratio_range"]]
    content["suites"]["histogram"]["gone"] = record
    earlier.write_text(json.dumps(content))
    done = bench("--suite", "histogram", "--quick", "--compare", earlier, "--html", page)
    assert done.returncode == 1 and not done.stderr
    assert "REGRESSION" in done.stdout and "histogram gone: not measured now" in done.stdout
    assert page.is_file()
    record["ratio"], record["ratio_range"] = record["ratio"] * 1e6, [value * 1e6 for value in record["ratio_range"]]
    content["suites"]["histogram"]["stamped"] = content["suites"]["histogram"]["stamped"] | record
    earlier.write_text(json.dumps(content))
    done = bench("histogram", "--quick", "--compare", earlier)
    assert done.returncode == 0 and "REGRESSION" not in done.stdout


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
    assert [line.split()[0] for line in done.stdout.splitlines()] == [*SUITES, *ON_REQUEST]


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
