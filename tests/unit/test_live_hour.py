"""What the hour of live trading under chaos calls sound."""

import pytest
from stress.live_hour import is_sound

SOUND = {"position": [3, 3, 3], "gain_e8": [-7, -7], "sent_most_often": 1, "accepted_most_often": 1, "kills": 5,
         "minutes_of_market": 60, "faults": {"timeout_after": 1}, "exit_code": 0}  # fmt: skip
UNSOUND = {"position": [3, 3, 2], "gain_e8": [-7, -8], "sent_most_often": 2, "accepted_most_often": 0, "kills": 4,
           "faults": {}, "exit_code": 1}  # fmt: skip


@pytest.mark.parametrize("name", UNSOUND)
def test_one_thing_amiss_is_enough(name):
    assert is_sound(SOUND) and not is_sound({**SOUND, name: UNSOUND[name]})
