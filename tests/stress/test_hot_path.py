"""A spinning shard calls neither the system nor the allocator, for a million ticks; one that yields would be caught."""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from rig.hammer import STRESS, hammer

TICKS = 1_000_000
pytestmark = [pytest.mark.compiled, pytest.mark.alone]
run = partial(hammer, "hot_path.py", ticks=TICKS)


def test_a_spinning_shard_makes_no_system_call():
    found = run(guard="seccomp", idle="spin")
    if found["refused"]:
        pytest.skip("this kernel has no seccomp")
    assert not found["forbidden_call"]
    assert found["finished"], found
    assert found["ticks"] >= TICKS and found["intents"] > 50  # as often as the answers came


def test_the_guard_kills_a_shard_that_gives_its_core_away():
    found = run(guard="seccomp", idle="backoff")
    if found["refused"]:
        pytest.skip("this kernel has no seccomp")
    assert found["forbidden_call"] and not found["finished"]


@pytest.fixture(scope="module")
def counter(tmp_path_factory) -> Path:
    """The library that counts."""
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler to build the counting library with")
    library = tmp_path_factory.mktemp("counter") / "malloc_count.so"
    command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(STRESS / "malloc_count.c"), "-ldl"]
    subprocess.run(command, check=True)
    return library


def test_a_spinning_shard_allocates_nothing(counter, monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", str(counter))
    found = run(guard="malloc", idle="spin")
    assert found["finished"] and found["ticks"] >= TICKS
    assert found["allocations"] < 10, "a million ticks in one call, whose own arguments are unpacked"


def test_the_counter_counts(counter):
    program = (
        "import ctypes; c = ctypes.c_long.in_dll(ctypes.CDLL(None), 'bot4_allocations'); "
        "b = c.value; x = [bytearray(5000) for _ in range(1000)]; print(c.value - b)"
    )
    environment = os.environ | {"LD_PRELOAD": str(counter)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 1_000
