"""The seqlock between processes, its writer alive and killed: never a torn copy, never an older one, nobody hangs."""

from functools import partial

import pytest
from rig.hammer import hammer

pytestmark = [pytest.mark.compiled, pytest.mark.alone]
hammer = partial(hammer, "seqlock_hammer.py")
often = pytest.mark.parametrize("kills", [30, pytest.param(100, marks=pytest.mark.stress)])
CLEAN = {"torn": 0, "reordered": 0, "hung": 0}


@pytest.mark.parametrize("reads", [200_000, pytest.param(5_000_000, marks=pytest.mark.stress)])
@pytest.mark.parametrize("rest", [2, 20])
@pytest.mark.parametrize("width", [4, 15])
def test_two_readers_and_a_writer_at_full_speed(width, rest, reads):
    found = hammer(width=width, rest=rest, reads=reads)
    print(f"{width} words, {rest} pauses between two copies: {found}")
    assert found | CLEAN == found
    assert found["reads"] >= 2 * reads and found["written"] > 1_000


@often
def test_a_writer_killed_anywhere_leaves_no_torn_copy(kills):
    found = hammer(rest=0, kills=kills)  # all the time at work, so that kills fall into the middle
    print(found)
    assert found | CLEAN == found
    assert found["killed"] == kills and found["halfway"] and found["reads"] and found["written"] > 1_000


@often
def test_readers_of_a_writer_that_died_at_work_find_nothing_and_go_on(kills):
    found = hammer(kills=kills, middle=1)
    print(found)
    assert found | CLEAN == found
    assert found["killed"] == found["halfway"] == kills
    assert found["refused"] >= 2 * kills, "each reader came back from each dead writer's slot"
    assert found["reads"] > 100_000
