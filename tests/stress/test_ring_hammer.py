"""The ring between two processes, alive and killed: nothing lost, torn, reordered; repeated only what was in hand."""

from functools import partial

import pytest
from rig.hammer import hammer

CLEAN = {"lost": 0, "torn": 0, "reordered": 0, "hung": 0}
often = pytest.mark.parametrize("kills", [100, pytest.param(1_000, marks=pytest.mark.stress)])
both_widths = pytest.mark.parametrize("width", [8, 16])
pytestmark = [pytest.mark.compiled, pytest.mark.alone]


hammer = partial(hammer, "ring_hammer.py")


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


@often
@both_widths
def test_a_producer_that_dies_goes_on_exactly_where_it_stopped(width, kills):
    found = hammer(width=width, capacity=256, victim="producer", kills=kills, seed=width)
    print(f"{8 * width} bytes a slot: {found}")
    assert found | CLEAN == found
    assert found["handled"] == found["published"] > 1_000
    assert found["repeated"] == 0
    assert found["killed"] == kills


@often
@both_widths
def test_a_consumer_that_dies_repeats_at_most_the_record_in_hand(width, kills):
    found = hammer(width=width, capacity=256, victim="consumer", kills=kills, seed=width)
    print(f"{8 * width} bytes a slot: {found}")
    assert found | CLEAN == found
    assert found["handled"] == found["published"] > 1_000
    assert found["repeated"] <= found["killed"]
    assert found["killed"] == kills
