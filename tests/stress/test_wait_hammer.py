"""No wake-up is lost: two processes that sleep for each other, a hundred thousand times."""

from functools import partial

import pytest
from rig.hammer import hammer

pytestmark = [pytest.mark.compiled, pytest.mark.alone]
run = partial(hammer, "wait_hammer.py")


@pytest.mark.parametrize("spins", [0, 255])
def test_no_sleep_ends_by_its_time_out(spins):
    rounds = 100_000
    found = run(rounds=rounds, spins=spins)
    assert found["answered"] == rounds
    assert found["time_outs"] == 0
    assert found["sleeps"] > (rounds if spins == 0 else 100), "they really slept"
