"""The same bytes make the same state, bit for bit: compiled, without the compiler, and compiled with bounds checked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rig.market import MARKETS

from bot4.jit import cache_root

pytestmark = pytest.mark.compiled
PROGRAM = Path(__file__).with_name("modes.py")
FEW, MANY = 200, 20_000  # of each of five venues


def left_behind(venue, count, **changes):
    """What the program says in a process of that kind."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")} | changes
    paths = (str(PROGRAM.parents[1]), os.environ.get("PYTHONPATH", ""))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    command = [sys.executable, str(PROGRAM), f"--venue={venue}", f"--count={count}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout)


def same(one, other):
    """All of it; the parts that differ are named."""
    differ = [name for name, part in one["parts"].items() if other["parts"][name] != part]
    assert not differ and one == other, differ


@pytest.mark.parametrize("venue", MARKETS)
def test_the_compiler_changes_no_bit(venue):
    compiled = left_behind(venue, FEW)
    same(compiled, left_behind(venue, FEW, NUMBA_DISABLE_JIT="1"))
    assert compiled["decisions"] >= 1 and compiled["told"]["refused"] + compiled["told"]["unreadable"] > FEW // 10


@pytest.mark.stress
@pytest.mark.parametrize("venue", MARKETS)
def test_neither_the_compiler_nor_the_check_of_bounds_changes_a_bit_of_a_hundred_thousand_messages(venue):
    compiled = left_behind(venue, MANY)
    # a cache of its own: the compiler's key does not know of the check
    checked = left_behind(venue, MANY, NUMBA_BOUNDSCHECK="1", BOT4_KERNEL_CACHE=f"{cache_root()}-bounds")
    same(compiled, checked)
    same(compiled, left_behind(venue, MANY, NUMBA_DISABLE_JIT="1"))
    print(f"{venue}: {MANY} messages, {compiled['decisions']} decisions, {compiled['told']}, {compiled['digest'][:16]}")
