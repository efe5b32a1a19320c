"""One supervisor per state folder, and a clean-up that touches nobody else."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bot4.adapters.system.instance import (
    InstanceFile,
    InstanceLock,
    SessionLabel,
    instance_of,
    kill_orphans,
    read_instance,
    remove_instance,
    running_instance,
    write_instance,
)
from bot4.adapters.system.latch import KillLatch
from bot4.adapters.system.process import ProcessId, identify, open_process
from bot4.model.errors import Bot4Error, SettingsError
from bot4.shm.wires import N_OTHER_ROWS

# takes the lock when its standard input says so, and tells what happened
RACER = """
import sys
from pathlib import Path
from bot4.adapters.system.instance import InstanceLock
from bot4.model.errors import Bot4Error
print("ready", flush=True)
sys.stdin.readline()
lock = InstanceLock(Path(sys.argv[1]))
try:
    lock.acquire()
    print("won", flush=True)
    sys.stdin.readline()
except Bot4Error as error:
    print(f"lost {error}", flush=True)
"""
SLEEPER = "import sys; print('up', flush=True); sys.stdin.readline()"


def racer(folder: Path) -> subprocess.Popen:
    environment = os.environ | {"BOT4_WATCHER": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", RACER, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def content(supervisor: ProcessId, **more) -> InstanceFile:
    return InstanceFile(
        instance="b0", supervisor=supervisor, generation=1, n_shards=1, n_instruments=1, started_ns=0, began_ns=0,
        session_folder="s", report_folder="r", **more,
    )  # fmt: skip


LABEL = SessionLabel(
    instance="b0", feed="synthetic", synthetic=True, pace="event", speed="max", symbols=("A",), values_e8=(1,),
    start_equity_e8=10**13,
)  # fmt: skip
WHOLE = {"cores": {"feed": 1}, "restarts": {"feed": 0}, "rows": {"feed": [3]}, "label": LABEL}


@pytest.fixture
def sleeper():
    """A process that waits for its end."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_of_several_starts_at_once_exactly_one_wins(tmp_path):
    racers = [racer(tmp_path) for _ in range(4)]
    for process in racers:
        assert process.stdout.readline() == "ready\n"
    for process in racers:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.stdout.readline() for process in racers]
    assert sum(answer == "won\n" for answer in answers) == 1
    assert sum(answer.startswith("lost another supervisor") for answer in answers) == 3
    for process in racers:
        process.communicate("end\n")


def test_the_lock_ends_with_its_holder(tmp_path):
    holder = racer(tmp_path)
    holder.stdout.readline()
    holder.stdin.write("go\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "won\n"
    with pytest.raises(Bot4Error, match="another supervisor"):
        InstanceLock(tmp_path).acquire()
    holder.kill()
    holder.communicate()
    lock = InstanceLock(tmp_path)
    lock.acquire()
    lock.release()


def test_the_first_start_makes_a_clear_latch(tmp_path):
    lock = InstanceLock(tmp_path / "new")
    lock.acquire()
    assert not KillLatch(tmp_path / "new").read().tripped
    lock.release()


def test_a_latch_that_vanished_stays_tripped_through_starts(tmp_path):
    lock = InstanceLock(tmp_path)
    lock.acquire()
    lock.release()
    KillLatch(tmp_path).path.unlink()
    for _ in range(3):
        assert KillLatch(tmp_path).read().tripped
        lock.acquire()
        lock.release()
    assert "missing" in KillLatch(tmp_path).read().reason


def test_latch_and_lock_gone_but_sessions_there_is_tripped(tmp_path):
    (tmp_path / "sessions").mkdir()
    lock = InstanceLock(tmp_path)
    lock.acquire()
    lock.release()
    assert KillLatch(tmp_path).read().tripped


def test_a_latch_tripped_before_the_first_start_counts(tmp_path):
    KillLatch(tmp_path).trip("early")
    lock = InstanceLock(tmp_path)
    lock.acquire()
    lock.release()
    assert KillLatch(tmp_path).read().reason == "early"


def test_a_state_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be used"):
        InstanceLock(tmp_path / "file" / "state").acquire()


def test_the_name_comes_from_the_real_path(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert instance_of(tmp_path / "a") == instance_of(tmp_path / "link") != instance_of(tmp_path)


def test_instance_file_comes_back_as_written(tmp_path):
    me = identify(os.getpid())
    written = content(me, **WHOLE | {"template": me, "workers": {"feed": me}})
    write_instance(tmp_path, written)
    assert read_instance(tmp_path) == written == running_instance(tmp_path)
    remove_instance(tmp_path)
    assert read_instance(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"supervisor": 3}', "\0", "[" * 100_000], ids=range(6))
def test_an_unreadable_instance_file_is_no_instance(tmp_path, text):
    (tmp_path / "instance.json").write_text(text)
    assert read_instance(tmp_path) is None
    assert kill_orphans(tmp_path) == []


DAMAGE = [
    {"workers": []},
    {"supervisor": {"pid": "a", "start": 0}},
    {"supervisor": {"pid": 2**70, "start": 1}},
    {"supervisor": {"pid": -1, "start": 1}},
    {"supervisor": {"pid": 1}},
    {"template": {"pid": 1, "start": 2**70}},
    {"workers": {"feed": {"pid": None, "start": 1}}},
    {"n_shards": "x"},
    {"n_shards": 0},
    {"n_shards": 10**6},
    {"n_instruments": -1},
    {"generation": 2**64},
    {"instance": "../b0"},
    {"instance": None},
    {"began_ns": "now"},
    {"cores": {}},
    {"restarts": {"feed": -1}},
    {"rows": {"feed": []}},
    {"rows": {"feed": [1 + N_OTHER_ROWS]}},
    {"rows": {"feed": [-1]}},
    {"label": {"feed": "synthetic"}},
    {"label": {"symbols": ["A", "B"]}},
    {"label": {"start_equity_e8": 2**63}},
    {"label": {"synthetic": "yes"}},
]


@pytest.mark.parametrize("damage", DAMAGE, ids=str)
def test_a_damaged_instance_file_is_no_instance(tmp_path, damage):
    """Valid JSON whose values do not fit: as unreadable as random bytes."""
    me = identify(os.getpid())
    write_instance(tmp_path, content(me, **WHOLE | {"template": me, "workers": {"feed": me}}))
    assert running_instance(tmp_path) is not None
    whole = json.loads((tmp_path / "instance.json").read_text())
    damaged = whole | damage
    if "label" in damage and "feed" not in damage["label"]:
        damaged["label"] = whole["label"] | damage["label"]
    (tmp_path / "instance.json").write_text(json.dumps(damaged))
    assert read_instance(tmp_path) is None and running_instance(tmp_path) is None
    assert kill_orphans(tmp_path) == []


def test_a_dead_supervisor_runs_nothing(tmp_path, sleeper):
    write_instance(tmp_path, content(identify(sleeper.pid)))
    assert running_instance(tmp_path) is not None
    sleeper.kill()
    sleeper.wait()
    assert running_instance(tmp_path) is None


def test_orphans_are_ended(tmp_path, sleeper):
    write_instance(tmp_path, content(ProcessId(1, 1), workers={"feed": identify(sleeper.pid)}))
    assert kill_orphans(tmp_path) == [f"feed (pid {sleeper.pid})"]
    assert sleeper.wait() == -signal.SIGKILL


def test_the_new_owner_of_a_pid_is_left_alone(tmp_path, sleeper):
    """Same pid, other start time: that is a stranger."""
    stranger = ProcessId(sleeper.pid, identify(sleeper.pid).start - 1)
    write_instance(tmp_path, content(stranger, template=stranger, workers={"feed": stranger, "venue": ProcessId(0, 0)}))
    assert open_process(stranger) is None
    assert kill_orphans(tmp_path) == []
    assert running_instance(tmp_path) is None
    assert sleeper.poll() is None
