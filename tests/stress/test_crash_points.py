"""A producer that dies between any two stores: no torn slot is delivered, and what was not published is not there."""

from functools import partial

import pytest
from rig.hammer import hammer

pytestmark = [pytest.mark.compiled, pytest.mark.alone]
hammer = partial(hammer, "crash_points.py")


@pytest.mark.parametrize("times", [3, pytest.param(100, marks=pytest.mark.stress)])
@pytest.mark.parametrize("width", [8, 16])
def test_each_word_of_a_slot_may_be_the_last(width, times):
    found = hammer(width=width, times=times)
    print(f"{8 * width} bytes a slot, {found['killed']} producers died at {found['points']} points: {found}")
    assert found["killed"] == times * (width + 2) and found["read"] > found["killed"]
    assert not any(found[name] for name in ("torn", "early", "lost", "repeated"))
