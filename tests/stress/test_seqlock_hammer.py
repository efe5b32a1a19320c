"""The seqlock between processes, its writer alive and killed: never a torn copy, never an older one, nobody hangs."""

from functools import partial

import pytest
from rig.hammer import hammer

pytestmark = pytest.mark.compiled
hammer = partial(hammer, "seqlock_hammer.py")
CLEAN = {"torn": 0, "reordered": 0, "hung": 0}


@pytest.mark.parametrize("rest", [0, 20])
@pytest.mark.parametrize("width", [4, 15])
def test_two_readers_and_a_writer_at_full_speed(width, rest):
    found = hammer(width=width, rest=rest, reads=1_000_000)
    assert found | CLEAN == found
    assert found["reads"] >= 2_000_000 and found["written"] > 1_000


def test_a_writer_killed_anywhere_leaves_no_torn_copy():
    found = hammer(rest=0, kills=100)
    assert found | CLEAN == found
    assert found["killed"] == 100 and found["reads"] > 1_000_000


def test_readers_of_a_writer_that_died_at_work_find_nothing_and_go_on():
    found = hammer(kills=100, middle=1)
    assert found | CLEAN == found
    assert found["killed"] == found["halfway"] == 100
    assert found["refused"] >= 2 * 100, "each reader came back from each dead writer's slot"
    assert found["reads"] > 100_000
