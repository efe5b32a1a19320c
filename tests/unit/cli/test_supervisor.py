"""`bot4-supervisor` from outside: exit codes, one line per error, no traceback, nothing left behind."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from rig.session import run_command, settings_folder

from bot4.adapters.system.instance import instance_of
from bot4.adapters.system.latch import KillLatch

pytestmark = pytest.mark.compiled


@pytest.fixture
def config(tmp_path):
    """The session's settings file."""
    return settings_folder(tmp_path)


def refused(result, code: int, *words: str) -> str:
    """Exactly one line on standard error, with these words, and this exit code."""
    assert result.returncode == code, result
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("bot4-supervisor: "), result.stderr
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


BAD_OPTIONS = [
    (["--feed", "nonsense"], "--feed nonsense: not known"),
    (["--feed", "synthetic:abc"], "is no seed"),
    (["--feed", "synthetic:-1"], "is no seed"),
    (["--feed", "replay:"], "no recording is named"),
    (["--feed", "replay:/no/such/file.gz"], "/no/such/file.gz: no such file"),
    (["--feed", "live", "--speed", "2x"], "a live market cannot be hurried"),
    (["--speed", "fast"], "--speed fast: not known"),
    (["--speed", "0x"], "--speed 0x: not known"),
    (["--speed", "-1x"], "--speed -1x: not known"),
    (["--speed", "1e3x"], "--speed 1e3x: not known"),
    (["--speed", "nanx"], "--speed nanx: not known"),
    (["--speed", "9999999x"], "--speed 9999999x: not known"),
    (["--pace", "slow"], "--pace slow: not known"),
    (["--pace", "event", "--speed", "1x"], "needs --speed max"),
    (["--shards", "0"], "--shards 0: write 1 to 64"),
    (["--compose", "two"], "--compose two: not known"),
    (["--config", "/no/such/paper.toml"], "/no/such/paper.toml"),
]


@pytest.mark.parametrize(("options", "words"), BAD_OPTIONS, ids=[" ".join(row[0]) for row in BAD_OPTIONS])
def test_bad_options_are_refused_in_one_line(config, tmp_path, options, words):
    given = options if "--config" in options else ["--config", config, *options]
    refused(run_command("start", *given), 2, words)
    assert not (tmp_path / "state").exists(), "nothing was touched"


def test_a_live_feed_without_an_instrument_of_a_venue_is_refused(config, tmp_path):
    instruments = config.with_name("instruments.toml")
    head, *tables = instruments.read_text().split("[[instrument]]")
    instruments.write_text("[[instrument]]".join([head, *(table for table in tables if '"synthetic"' in table)]))
    result = run_command("start", "--config", config, "--feed", "live")
    refused(result, 2, "instruments.toml", "no instrument of a venue")
    assert not (tmp_path / "state").exists(), "nothing was touched"


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "folder", "pipe", "key"])
def test_roots_that_cannot_be_used_are_refused_before_anything_is_touched(config, tmp_path, kind):
    roots = tmp_path / "roots.pem"
    if kind == "folder":
        roots.mkdir()
    elif kind == "pipe":
        os.mkfifo(roots)
    elif kind != "missing":
        key = trustme.CA().private_key_pem.bytes()
        roots.write_bytes({"empty": b"", "text": b"no certificate\n", "key": key}[kind])
    nowhere = "localhost:9"  # nobody is asked
    config.write_text(
        f'{config.read_text()}\n[venue.binance_spot]\nws_url = "wss://{nowhere}"\nrest_url = "https://{nowhere}"\n'
        f'ca_file = "{roots}"\n'
    )
    before = sorted(tmp_path.rglob("*"))
    result = run_command("start", "--config", config, "--feed", "live")
    refused(result, 2, f"{config}: venue.binance_spot.ca_file: {roots} ")
    assert sorted(tmp_path.rglob("*")) == before


def test_bad_recordings_are_refused_in_one_line(config, tmp_path):
    whole = gzip.compress(b'1723161255030314667 {"stream":"btcusdt@trade"}\n' * 1000)
    cases = {
        "empty.gz": b"",
        "random.gz": bytes(range(256)) * 20,
        "truncated.gz": whole[:-20],
        "text.gz": b"hello\nworld\n",
    }
    for name, content in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        refused(run_command("start", "--config", config, "--feed", f"replay:{path}"), 2, name)
    if os.geteuid():
        path.chmod(0)
        refused(run_command("start", "--config", config, "--feed", f"replay:{path}"), 2, "cannot be read")


def test_bad_settings_name_their_field(config):
    limits = config.with_name("limits.toml")
    limits.write_text(limits.read_text().replace("order_lots = 1000000", "order_lots = -1"))
    refused(run_command("start", "--config", config), 2, "limits.toml", "order_lots")


def test_a_missing_strategy_and_a_bad_parameter_are_refused(config):
    text = config.read_text()
    config.write_text(text.replace("bot4.strategies.trend", "bot4.strategies.nothing"))
    refused(run_command("start", "--config", config), 2, "strategy.module", "bot4.strategies.nothing")
    config.write_text(text.replace("fast_period = 5", "fast_period = 0"))
    refused(run_command("start", "--config", config), 2, str(config), "strategy.params.fast_period")
    config.write_text(text.replace("fast_period = 5", "fast_period = 12"))
    refused(run_command("start", "--config", config), 2, str(config), "fast_period: 12 is not below slow_period = 12")


def test_a_missing_file_beside_the_sessions_file_names_itself(config):
    config.with_name("limits.toml").unlink()
    refused(run_command("start", "--config", config), 2, "limits.toml: no such file", "beside")


def test_a_report_folder_that_cannot_be_written_is_refused(config, tmp_path):
    (tmp_path / "file").write_text("")
    refused(run_command("start", "--config", config, "--report", tmp_path / "file"), 2, "--report")


def test_a_state_folder_that_cannot_be_made_is_refused(config, tmp_path):
    (tmp_path / "state").write_text("")
    refused(run_command("start", "--config", config), 2, "state folder", "name one that you may write")


def test_kernels_that_cannot_be_kept_are_refused_in_one_line(config, tmp_path):
    (tmp_path / "file").write_text("")
    environment = {"BOT4_KERNEL_CACHE": str(tmp_path / "file" / "kernels")}
    for arguments in (("start", "--config", config), ("build", "--config", config)):
        refused(run_command(*arguments, environment=environment), 2, "set BOT4_KERNEL_CACHE")
    bench = [sys.executable, "-m", "bot4.cli.bench", "--quick"]
    result = subprocess.run(bench, capture_output=True, text=True, check=False, env=os.environ | environment)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1 and "BOT4_KERNEL_CACHE" in result.stderr


def test_unknown_options_and_commands_are_usage_errors(config):
    for arguments in (["start", "--nonsense"], ["dance"], ["kill", "--config", config], ["stop", "--timeout", "-1"]):
        result = run_command(*arguments)
        assert result.returncode == 2 and "Traceback" not in result.stderr and result.stderr


@pytest.mark.parametrize("command", ["start", "status", "stop", "kill", "reset", "build"])
def test_help_has_an_example(command):
    result = run_command(command, "--help")
    assert result.returncode == 0
    assert f"Example: bot4-supervisor {command}" in result.stdout
    assert "--json" in result.stdout and "--config" in result.stdout


def test_the_kill_latch_survives_and_blocks_a_start_until_a_person_resets_it(config, tmp_path):
    state = tmp_path / "state"
    assert run_command("kill", "--config", config, "--reason", "fat finger").returncode == 0
    for _ in range(2):
        refused(run_command("start", "--config", config), 3, "fat finger", "bot4-supervisor reset --reason")
    told = json.loads(run_command("start", "--config", config, "--json").stdout)
    assert (told["kind"], told["exit_code"], told["state"]) == ("end", 3, "refused") and "fat finger" in told["message"]
    status = run_command("status", "--config", config, "--json")
    assert status.returncode == 3
    found = json.loads(status.stdout)
    assert found["latch"]["tripped"] and found["latch"]["reason"] == "fat finger" and not found["running"]
    refused(run_command("reset", "--config", config, "--reason", "  "), 2, "--reason is empty")
    assert run_command("reset", "--config", config).returncode == 2, "the reason is not optional"
    assert KillLatch(state).read().tripped
    result = run_command("reset", "--config", config, "--reason", "positions checked", "--json")
    assert json.loads(result.stdout) == {"reset": True}
    assert run_command("reset", "--config", config, "--reason", "again").stdout.endswith("was not set\n")
    assert run_command("status", "--config", config).returncode == 0


def test_a_latch_is_told_before_settings_and_input_are_refused(config, tmp_path):
    assert run_command("kill", "--config", config, "--reason", "fat finger").returncode == 0
    config.with_name("limits.toml").write_text("oops = = 1\n")
    refused(run_command("start", "--config", config, "--feed", "replay:/no/such/file.gz"), 3, "fat finger")


def test_a_latch_that_vanished_blocks_a_start(config, tmp_path):
    assert run_command("kill", "--config", config, "--reason", "x").returncode == 0
    assert run_command("reset", "--config", config, "--reason", "y").returncode == 0
    KillLatch(tmp_path / "state").path.unlink()
    refused(run_command("start", "--config", config), 3, "missing", "reset")


def test_kill_and_reset_need_no_settings(tmp_path):
    state = tmp_path / "elsewhere"
    told = json.loads(run_command("kill", "--state", state, "--reason", "x", "--json").stdout)
    assert (told["tripped"], told["running"]) == (True, False)
    assert run_command("status", "--state", state).returncode == 3
    assert run_command("reset", "--state", state, "--reason", "y").returncode == 0


def test_kill_status_stop_and_reset_read_the_state_folder_alone(config, tmp_path):
    for name in ("limits.toml", "instruments.toml", "topology.toml"):
        config.with_name(name).write_text("oops = = 1\n")
    config.write_text(f'mode = 7\n[state]\nfolder = "{tmp_path / "state"}"\n')
    assert run_command("kill", "--config", config, "--reason", "x").returncode == 0
    assert KillLatch(tmp_path / "state").read().reason == "x"
    assert run_command("status", "--config", config).returncode == 3
    assert run_command("stop", "--config", config).returncode == 0
    assert run_command("reset", "--config", config, "--reason", "y").returncode == 0
    for text, word in (("[state\n", "not TOML"), ("[state]\nfolder = 7\n", "state.folder"), ("", "state.folder")):
        config.write_text(text)
        refused(run_command("kill", "--config", config, "--reason", "x"), 2, word, "--state FOLDER")


def test_reset_where_nothing_is(tmp_path):
    refused(run_command("reset", "--state", tmp_path / "none", "--reason", "x"), 2, "nothing to reset")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("word", ["status", "stop"])
def test_a_state_folder_that_is_not_there_is_said_to_be_none(tmp_path, word):
    refused(run_command(word, "--state", tmp_path / "none"), 2, "--state", "no such folder")


def test_status_and_stop_where_nothing_runs(config, tmp_path):
    result = run_command("status", "--config", config)
    assert result.returncode == 0 and "nothing runs" in result.stdout
    assert json.loads(run_command("status", "--config", config, "--json").stdout)["running"] is False
    result = run_command("stop", "--config", config, "--json")
    assert result.returncode == 0 and json.loads(result.stdout)["stopped"] is False


def test_a_damaged_instance_file_stops_no_command(config, tmp_path):
    state = tmp_path / "state"
    assert run_command("kill", "--state", state, "--reason", "x").returncode == 0
    assert run_command("reset", "--state", state, "--reason", "y").returncode == 0
    for text in ('{"supervisor":{"pid":1,"start":0},"template":null,"workers":[]}', '{"supervisor":{"pid":"a"}}'):
        (state / "instance.json").write_text(text)
        for command in (("status",), ("stop",), ("kill", "--reason", "x"), ("reset", "--reason", "y")):
            result = run_command(*command, "--state", state)
            assert result.returncode == 0 and not result.stderr, result.stderr


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_an_answer_that_cannot_be_written_is_one_line(config, more):
    for command in ("status", "stop"):
        with open("/dev/full", "w") as full:  # noqa: PTH123
            result = subprocess.run(
                [sys.executable, "-m", "bot4.cli.supervisor", command, "--config", str(config), *more],
                stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
            )  # fmt: skip
        refused(result, 1, "standard output cannot be written: No space left on device")


@pytest.mark.parametrize("kind", ["/dev/null", "/dev/zero", "fifo"])
def test_a_pipe_or_a_device_is_no_file_to_read(config, tmp_path, kind):
    path = Path(kind)
    if kind == "fifo":
        os.mkfifo(path := tmp_path / "pipe")
    for options in (["--config", path], ["--config", config, "--feed", f"replay:{path}"]):
        refused(run_command("start", *options), 2, str(path), "is a pipe or a device; name a plain file")


def test_a_folder_that_was_deleted_is_one_line(config, tmp_path):
    gone = tmp_path / "gone"
    command = 'mkdir "$2" && cd "$2" && rmdir "$2" && exec "$0" -P -m bot4.cli.supervisor start --config "$1"'
    result = subprocess.run(
        ["sh", "-c", command, sys.executable, str(config), str(gone)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    refused(result, 2, "the current folder has been deleted")


@pytest.mark.parametrize("limit", [16, 20])
def test_too_few_open_files_are_one_line(config, limit):
    """Whatever it is that cannot be opened, and no shared memory stays."""
    command = f'ulimit -n {limit} && exec "$0" -m bot4.cli.supervisor start --config "$1" --pace event --compose one'
    result = subprocess.run(
        ["sh", "-c", command, sys.executable, str(config)], capture_output=True, text=True, check=False, timeout=120
    )
    refused(result, 1, "Too many open files", "ulimit -n")
    name = instance_of(config.parent.parent / "state")
    assert not list(Path("/dev/shm").glob(f"*.{name}.*"))


def test_a_wrong_option_is_told_in_json_too(config):
    for arguments in (["start", "--json", "--bogus"], ["dance", "--json"], ["start", "--json", "--shards", "x"]):
        result = run_command(*arguments)
        told = json.loads(result.stdout)
        assert (result.returncode, told["exit_code"], told["state"]) == (2, 2, "refused") and told["message"]
        assert "Usage" in result.stderr


def test_the_supervisor_never_imports_numba(config, tmp_path):
    """Neither the doors nor a prepared session."""
    code = (
        "import sys; from bot4.cli.supervisor import _door\n"
        "with _door():\n"
        "    from pathlib import Path\n"
        "    from workers.session import StartOptions, prepare\n"
        "    prepare(StartOptions(config=Path(sys.argv[1])))\n"
        "import os; assert 'numba' not in sys.modules and 'BOT4_WATCHER' not in os.environ"
    )
    subprocess.run([sys.executable, "-c", code, config], check=True, timeout=60)


def test_the_module_is_light():
    """What a door costs before it knows what it shall do."""
    code = (
        "import sys, bot4.cli.supervisor; assert not {'numpy', 'numba', 'multiprocess', 'msgspec'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=Path(__file__).parent)
