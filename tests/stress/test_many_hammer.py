"""The ring of many between processes, alive and killed: nothing lost, doubled, torn, or reordered per producer."""

from functools import partial

import pytest
from rig.hammer import hammer

pytestmark = [pytest.mark.compiled, pytest.mark.alone]


hammer = partial(hammer, "many_hammer.py")


def full(*values):
    """The same with the full count."""
    return pytest.param(*values, marks=pytest.mark.stress)


@pytest.mark.parametrize(
    ("producers", "count"),
    [(64, 2_000), (128, 1_000), (256, 500), full(64, 40_000), full(128, 20_000), full(256, 10_000)],
)
def test_many_producers_at_full_speed(producers, count):
    found = hammer(producers=producers, count=count)
    print(f"{producers} producers: {found['per_s']:,} records/s")
    assert found["sent"] == found["received"] == producers * count
    assert not any(found[name] for name in ("lost", "duplicated", "torn", "reordered", "hung", "buried"))


@pytest.mark.parametrize("capacity", [2, 256])
def test_producers_that_die_between_claim_and_publish_are_stepped_over_and_counted(capacity):
    found = hammer(producers=16, count=2_000, capacity=capacity, claimants=50)
    assert found["buried"] == found["claimed"] >= 50
    assert found["sent"] == found["received"] == 32_000
    assert not any(found[name] for name in ("lost", "duplicated", "torn", "reordered", "hung"))


@pytest.mark.parametrize("seed", [1, 2, *(full(seed) for seed in range(3, 13))])
def test_killed_at_random_moments_nothing_is_lost_but_what_was_in_hand(seed):
    found = hammer(producers=8, consumers=3, count=200_000, capacity=64, kills=40, seed=seed)
    killed = found["killed"]
    assert killed["producers"] and killed["consumers"] and found["sent"] == 1_600_000
    assert found["lost"] <= killed["consumers"] and found["duplicated"] <= killed["producers"]
    assert not any(found[name] for name in ("torn", "reordered", "hung"))
