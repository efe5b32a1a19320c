"""The ring between two processes, alive and killed: nothing lost, torn, reordered; repeated only what was in hand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("ring_hammer.py")
CLEAN = {"lost": 0, "torn": 0, "reordered": 0, "hung": 0}
both_widths = pytest.mark.parametrize("width", [8, 16])
pytestmark = pytest.mark.compiled


def hammer(**arguments) -> dict:
    """The program's findings; its children are always compiled, plain Python promises nothing between processes."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    command = [sys.executable, str(PROGRAM), *(f"--{name}={value}" for name, value in arguments.items())]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@both_widths
@pytest.mark.parametrize("capacity", [2, 64, 4096])
def test_two_processes_at_full_speed(width, capacity):
    count = 100_000 if capacity == 2 else 1_000_000
    found = hammer(width=width, capacity=capacity, count=count)
    assert found == CLEAN | {
        "handled": count,
        "published": count,
        "repeated": 0,
        "killed": 0,
    }


@both_widths
def test_a_producer_that_dies_goes_on_exactly_where_it_stopped(width):
    found = hammer(width=width, capacity=256, victim="producer", kills=100, seed=width)
    assert found | CLEAN == found
    assert found["handled"] == found["published"] > 1_000
    assert found["repeated"] == 0
    assert found["killed"] == 100


@both_widths
def test_a_consumer_that_dies_repeats_at_most_the_record_in_hand(width):
    found = hammer(width=width, capacity=256, victim="consumer", kills=100, seed=width)
    assert found | CLEAN == found
    assert found["handled"] == found["published"] > 1_000
    assert found["repeated"] <= found["killed"]
    assert found["killed"] == 100
