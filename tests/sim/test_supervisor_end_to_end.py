"""The whole bot by its command: synthetic market, all compositions, status, stop, kill, crash and clean-up."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from oracle.recompute import main as recompute
from rig.session import REPOSITORY, Running, run_command, settings_folder

from bot4.adapters.system.instance import instance_of, read_instance
from bot4.adapters.system.latch import KillLatch
from bot4.adapters.system.process import open_process
from bot4.shm.segment import create, segment_name
from bot4.strategies import trend

pytestmark = pytest.mark.compiled
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def config(tmp_path):
    """The session's settings file."""
    return settings_folder(tmp_path)


@pytest.fixture
def start(config):
    """Starts sessions and ends them."""
    sessions = []

    def make(*arguments):
        sessions.append(Running(config, *arguments))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()


def left(folder: Path) -> list[str]:
    """Shared memory of the instance on this state folder."""
    return sorted(path.name for path in SHARED_MEMORY.glob(f"*.{instance_of(folder)}.*"))


def seen_working(line) -> bool:
    """A status line of a session that has decided something."""
    return line["kind"] == "status" and line["orders"] > 0


def test_every_composition_gives_the_same_digest(config, tmp_path):
    """One process or several, one shard or three: same decisions, same fills, and the ledger agrees."""
    digests = {}
    for name, options in {
        "one": ["--compose", "one", "--shards", "1"],
        "one, three shards": ["--compose", "one", "--shards", "3"],
        "processes, two shards": ["--compose", "processes", "--shards", "2"],
    }.items():
        report = tmp_path / "report" / name.replace(", ", "-").replace(" ", "-")
        result = run_command(
            "start", "--config", config, "--feed", "synthetic:3", "--pace", "event", "--report", report, *options
        )
        assert result.returncode == 0, result.stderr
        session = json.loads((report / "session.json").read_text())
        digests[name] = session["digest"]
        assert session["feed"]["synthetic"] and session["latency_ns"] is None
        assert session["fills"] > 0 and all(worker["restarts"] == 0 for worker in session["workers"].values())
        assert "synthetic market (not real prices)" in result.stdout
        assert f"Report: {report / 'session.html'}" in result.stdout
        assert (report / "session.html").exists()
        ledger = max((tmp_path / "state" / "sessions").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        assert recompute([str(ledger / "ledger.jsonl"), str(report / "session.json"),
                          "--journal", str(ledger / "journal.bin")]) == 0  # fmt: skip
    assert len(set(digests.values())) == 1, digests
    assert not left(tmp_path / "state") and read_instance(tmp_path / "state") is None


def test_free_running_processes_are_measured(config, tmp_path):
    result = run_command("start", "--config", config, "--pace", "free", "--report", tmp_path / "report")
    assert result.returncode == 0, result.stderr
    session = json.loads((tmp_path / "report" / "session.json").read_text())
    assert session["digest"] is None and session["dropped"] == 0
    assert set(session["workers"]) == {"venue", "execution", "shard-0", "feed"}
    assert all(worker["core"] is not None for worker in session["workers"].values())
    assert session["latency_ns"]["tick_to_intent"]["count"] > 0


def test_one_running_session_and_its_doors(start, config, tmp_path):
    """status sees it, a second start and a reset are refused, stop ends it with a report."""
    session = start("--speed", "20x", "--report", tmp_path / "report")
    session.until(seen_working)
    found = json.loads(run_command("status", "--config", config, "--json").stdout)
    assert found["running"] and found["pid"] == session.process.pid
    assert found["session"]["messages"] > 0 and found["session"]["synthetic"]
    assert all(worker["alive"] and worker["restarts"] == 0 for worker in found["session"]["workers"].values())
    assert found["session"]["elapsed_s"] > 0 and found["session"]["ticks_per_s"] > 0
    told = run_command("status", "--config", config).stdout
    assert "running as pid" in told and "worker shard-0" in told and "synthetic" in told

    second = run_command("start", "--config", config)
    assert second.returncode == 1 and f"another supervisor (pid {session.process.pid})" in second.stderr
    refused = run_command("reset", "--config", config, "--reason", "x")
    assert refused.returncode == 1 and "stop it first" in refused.stderr

    assert json.loads(run_command("stop", "--config", config, "--json").stdout) == {"stopped": True}
    code, last, error = session.finish()
    assert (code, last["state"], error) == (0, "stopped", "")
    assert json.loads((tmp_path / "report" / "session.json").read_text())["exit"]["state"] == "stopped"
    assert not left(tmp_path / "state")


def test_kill_halts_the_running_session_and_the_next(start, config, tmp_path):
    session = start("--speed", "20x", "--stay")
    session.until(seen_working)
    result = run_command("kill", "--config", config, "--reason", "drill")
    assert result.returncode == 0 and "the running session is told" in result.stdout
    line = session.until(lambda line: line["kind"] == "status" and line["killed"] and line["state"] == "halted")
    later = session.until(lambda line: line["kind"] == "status")
    assert later["open_orders"] <= line["open_orders"] + 1  # none but a stop
    run_command("stop", "--config", config)
    code, last, error = session.finish()
    assert (code, last["state"]) == (3, "halted")
    assert error.startswith("bot4-supervisor: halted by the kill switch (drill)") and len(error.splitlines()) == 1
    assert run_command("start", "--config", config).returncode == 3
    assert KillLatch(tmp_path / "state").read().reason == "drill"


def test_ctrl_c_of_the_terminal_stops_cleanly(start, tmp_path):
    """The signal reaches every process of the group; only the supervisor heeds it."""
    session = start("--speed", "20x", "--report", tmp_path / "report")
    line = session.until(seen_working)
    for worker in line["workers"].values():
        os.kill(worker["pid"], signal.SIGINT)
    session.process.send_signal(signal.SIGINT)
    code, last, _ = session.finish()
    assert (code, last["state"]) == (0, "stopped")
    assert all(worker["restarts"] == 0 for worker in last["report"]["workers"].values())


def test_a_crash_is_cleaned_up_and_nothing_else(start, config, tmp_path):
    """kill -9 of the supervisor: its processes end, its memory is removed by the next start, a stranger's is not."""
    stranger = create(segment_name(f"stranger{os.getpid()}", "ticks"), 16)
    try:
        session = start("--speed", "20x")
        session.until(seen_working)
        found = read_instance(tmp_path / "state")
        handles = [open_process(identity) for identity in found.processes().values()]
        session.process.kill()
        session.process.wait()
        for handle in handles:
            assert handle is None or handle.wait(10.0)
        names = left(tmp_path / "state")
        assert len(names) == 11
        warmed = Path(found.session_folder) / "bot4-warm-1"  # as a template leaves it that dies while it warms up
        warmed.mkdir()
        (warmed / "journal.bin").write_bytes(b"0")
        result = run_command("start", "--config", config, "--pace", "event", "--compose", "one")
        assert result.returncode == 0, result.stderr
        for name in names:
            assert f"removed shared memory of an earlier run: /{name}" in result.stdout
        assert not left(tmp_path / "state") and not warmed.exists()
        assert not list((tmp_path / "state").rglob("bot4-warm-*"))
        assert (SHARED_MEMORY / stranger.name[1:]).exists()
    finally:
        stranger.unlink()
        stranger.close()


def test_a_dead_venue_ends_the_session_with_a_report(start, tmp_path):
    session = start("--speed", "20x", "--report", tmp_path / "report")
    line = session.until(seen_working)
    os.kill(line["workers"]["venue"]["pid"], signal.SIGKILL)
    code, last, error = session.finish()
    assert (code, last["state"]) == (1, "failed") and "ledger is the truth" in error
    assert len(error.splitlines()) == 1
    assert json.loads((tmp_path / "report" / "session.json").read_text())["exit"]["state"] == "failed"
    assert not left(tmp_path / "state")


def test_status_of_a_session_that_is_just_starting(start, config, tmp_path):
    session = start("--speed", "20x")
    while read_instance(tmp_path / "state") is None:
        time.sleep(0.001)
    found = json.loads(run_command("status", "--config", config, "--json").stdout)
    if not read_instance(tmp_path / "state").began_ns:  # the question may have taken longer than the start
        assert found["running"] and found["session"] is None
    session.until(seen_working)
    run_command("stop", "--config", config)
    assert session.finish()[0] == 0


def test_who_means_another_session_hears_of_it(config, tmp_path, start):
    """Stop and kill that reach nobody name what runs elsewhere; who named no folder has failed."""
    running = start("--speed", "1x", "--stay")
    running.until(seen_working)
    elsewhere = str((tmp_path / "state").resolve())
    other = settings_folder(tmp_path / "home")
    for command in (("stop",), ("kill", "--reason", "fat finger")):
        named = run_command(*command, "--config", other, "--json")
        assert named.returncode == 0 and elsewhere in json.loads(named.stdout)["elsewhere"], named
        unnamed = run_command(*command, folder=tmp_path / "home")
        assert unnamed.returncode == 1 and f"what runs is on {elsewhere}" in unnamed.stdout, unnamed
    assert run_command("stop", "--config", config).stdout == "stopped\n"
    running.finish()
    named = run_command("stop", "--config", other, "--json")
    assert elsewhere not in json.loads(named.stdout).get("elsewhere", []), "it has ended"


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.2, 0.4])
def test_a_signal_while_it_starts_leaves_nothing(config, tmp_path, delay_s):
    """From the moment when the folder is taken, whatever the session was doing."""
    command = [sys.executable, "-m", "bot4.cli.supervisor", "start", "--config", str(config), "--speed", "20x"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "state" / "instance.lock").exists():
        time.sleep(0.001)
    time.sleep(delay_s)
    process.terminate()
    _, error = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in error and len(error.splitlines()) <= 1, error
    assert not left(tmp_path / "state") and read_instance(tmp_path / "state") is None
    assert run_command("status", "--config", config).stdout.startswith("nothing runs")


def test_a_strategy_that_does_not_compile_is_one_line(config, tmp_path):
    text = Path(trend.__file__).read_text()
    (tmp_path / "mine.py").write_text(text.replace('view["imbalance"]', 'view["imbalence"]'))
    config.write_text(config.read_text().replace("bot4.strategies.trend", "mine"))
    environment = {"PYTHONPATH": str(tmp_path)}
    for command in ("start", "build"):
        result = run_command(command, "--config", config, environment=environment)
        assert result.returncode == 2 and len(result.stderr.splitlines()) == 1, result.stderr
        for word in ("strategy.module: mine does not compile", "mine.py, line", "imbalence"):
            assert word in result.stderr
    assert not left(tmp_path / "state")


def of_readme(config):
    """The README's strategy, and the settings as it says that they have to be."""
    (text,) = re.findall(r"(?s)```python\n(import numpy.*?)```", (REPOSITORY / "README.md").read_text())
    settings = config.read_text().replace("bot4.strategies.trend", "mine")
    begin, end = settings.index("fast_period"), settings.index("imbalance_weight")
    config.write_text(settings[:begin] + "period = 20\n" + settings[end:].partition("\n")[2])
    return text


def test_the_strategy_of_the_readme_trades(config, tmp_path):
    (tmp_path / "mine.py").write_text(of_readme(config))
    options = ("--config", config, "--pace", "event", "--report", tmp_path / "report")
    result = run_command("start", *options, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "report" / "session.json").read_text())["fills"] > 0


def test_a_strategy_without_a_number_trades_nothing_and_says_so(config, tmp_path):
    text = of_readme(config)
    assert text.count("return 0.7") == 1
    (tmp_path / "mine.py").write_text(text.replace("return 0.7", "return np.nan + 0.7"))
    options = ("--config", config, "--pace", "event", "--report", tmp_path / "report")
    result = run_command("start", *options, folder=tmp_path)  # a module of the current folder is found
    assert result.returncode == 0, result.stderr
    assert "Mind: mine returned a score that is no number from -1 to 1" in result.stdout
    session = json.loads((tmp_path / "report" / "session.json").read_text())
    assert session["rejects"]["DECISION_BAD_SCORE"] > 0 and session["orders"] == 0


def test_a_report_that_cannot_be_written_does_not_cost_the_closing_lines(config, tmp_path):
    (tmp_path / "report" / "session.json").mkdir(parents=True)  # a file of this name cannot be put there any more
    result = run_command("start", "--config", config, "--pace", "event", "--report", tmp_path / "report")
    assert result.returncode == 1 and "After fees of" in result.stdout and "Digest" in result.stdout
    assert len(result.stderr.splitlines()) == 1 and "--report" in result.stderr


def test_instance_json_that_cannot_be_written_does_not_end_the_session(config, tmp_path):
    (tmp_path / "state" / "instance.json.new").mkdir(parents=True)
    result = run_command("start", "--config", config, "--pace", "event", "--report", tmp_path / "report")
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "report" / "session.json").read_text())["fills"] > 0


@pytest.mark.parametrize("target", [">&-", ">/dev/full", ">/dev/full --json"])
def test_output_that_cannot_be_written_costs_the_lines_alone(config, tmp_path, target):
    """Closed or full: one line, exit code 1, the report is there and the shared memory is gone."""
    command = '"$0" -m bot4.cli.supervisor start --config "$1" --pace event --compose one --report "$2" ' + target
    result = subprocess.run(
        ["sh", "-c", command, sys.executable, str(config), str(tmp_path / "report")],
        stderr=subprocess.PIPE, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("bot4-supervisor: standard output cannot be written: ")
    assert json.loads((tmp_path / "report" / "session.json").read_text())["fills"] > 0
    assert not left(tmp_path / "state") and read_instance(tmp_path / "state") is None


def test_a_reader_that_stalls_does_not_hold_up_the_end(config, tmp_path):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while os.write(writer, bytes(65_536)):
            pass
    os.set_blocking(writer, True)
    command = [sys.executable, "-m", "bot4.cli.supervisor", "start", "--config", config, "--speed", "20x", "--stay",
               "--report", tmp_path / "report", "--json"]  # fmt: skip
    process = subprocess.Popen([str(part) for part in command], stdout=writer, stderr=subprocess.PIPE, text=True)
    try:
        os.close(writer)
        while not (found := read_instance(tmp_path / "state")) or not found.began_ns:
            assert process.poll() is None
            time.sleep(0.05)
        assert run_command("stop", "--config", config).returncode == 0
        _, error = process.communicate(timeout=60)
        assert process.returncode == 1 and "nobody reads it; the report is in" in error and len(error.splitlines()) == 1
        assert (tmp_path / "report" / "session.json").exists() and not left(tmp_path / "state")
    finally:
        process.kill()
        process.communicate()
        os.close(reader)


def test_a_damaged_journal_does_not_cost_the_report(start, config, tmp_path):
    session = start("--speed", "20x", "--report", tmp_path / "report")
    session.until(seen_working)
    (journal,) = (tmp_path / "state" / "sessions").glob("*/journal.bin")
    with journal.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 256)
    run_command("stop", "--config", config)
    code, last, _ = session.finish()
    assert code == 0 and last["report"]["fills"] == 0 and sum(map(sum_of, last["report"]["messages"].values())) > 0
    assert any("the report is without orders and fills" in line.get("text", "") for line in session.lines)


def test_a_strict_session_is_synced_whole_and_verified(config, tmp_path):
    config.write_text(config.read_text().replace("# strict = true", "strict = true"))
    result = run_command("start", "--config", config, "--feed", "synthetic:3", "--pace", "event")
    assert result.returncode == 0, result.stderr
    (folder,) = (tmp_path / "state" / "sessions").iterdir()
    command = [sys.executable, "-m", "bot4.cli.data", "verify", str(folder), "--json"]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert said["records"] == said["synced"] > 100 and (said["segments"], said["starts"]) == (1, 1)
    with (folder / "journal.bin").open("r+b") as file:
        file.seek(4_096 + 50 * 256 + 77)
        file.write(b"\xff\xfe")
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "record 51 of" in result.stderr and result.stderr.count("\n") == 1


def sum_of(kinds) -> int:
    """All messages of an instrument."""
    return sum(kinds.values())
