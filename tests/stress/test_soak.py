"""A live session at a steady rate: nothing is lost, nothing grows. Ten minutes of it: see soak.py."""

from functools import partial

import pytest
from rig.hammer import hammer

pytestmark = pytest.mark.compiled
soak = partial(hammer, "soak.py")
GROWS_MB = 4.0  # a process that leaks at this rate of messages is far beyond it
RECORDER_MB = 400.0


@pytest.mark.parametrize(
    ("seconds", "rate"), [(10, 2_000), pytest.param(60, 10_000, marks=pytest.mark.stress)]
)  # a machine that is busy with other tests has no 10,000 a second to give
def test_nothing_is_lost_and_nothing_grows(seconds, rate):
    found = soak(seconds=seconds, rate=rate)
    print(found)
    assert found["dropped"] == found["recorder_dropped"] == found["trades_out_of_row"] == found["restarts"] == 0, found
    assert found["trades"] == found["trades_recorded"] > 0.1 * rate * seconds
    assert found["taken"] > 0.9 * rate * seconds and set(found["refused"]) <= {"before_snapshot", "no_snapshot"}
    for name, held in found["memory"].items():
        grown = held["end_mb"] - held["quarter_mb"]
        assert held["end_mb"] < RECORDER_MB if name == "recorder" else grown < GROWS_MB, (name, held)
