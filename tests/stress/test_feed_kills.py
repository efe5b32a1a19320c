"""A feed killed hundreds of times: its readers get every record once, in order, and each decision is one order."""

from functools import partial

import pytest
from rig.hammer import hammer

pytestmark = [pytest.mark.compiled, pytest.mark.alone]
hammer = partial(hammer, "feed_kills.py")
WRONG = ("repeated", "missing", "other", "twice", "different", "hung", "failed")


@pytest.mark.parametrize(("kills", "seconds"), [(10, 10), pytest.param(500, 60, marks=pytest.mark.stress)])
def test_nothing_comes_twice_and_nothing_is_left_out(kills, seconds):
    found = hammer(kills=kills, seconds=seconds)
    print(found)
    assert not any(found[name] for name in WRONG), found
    assert found["killed"] == kills and found["records"] > 100 * seconds and found["orders"] > seconds
