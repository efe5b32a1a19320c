"""The breaker of a strategy: so many failures in any window open it, wherever the window begins."""

import numpy as np
import pytest

from bot4.kernels.breaker import BREAKER, note_outcome
from bot4.model.breaker import CLOSED, MOST_FAILURES, OPEN


def made(failures):
    breaker = np.zeros(1, BREAKER)
    breaker["limit_failures"], breaker["limit_window_ns"], breaker["limit_open_ns"] = failures, 1_000, 10
    return breaker


@pytest.mark.parametrize(
    ("times", "opens"),
    [((0, 900, 1_050, 1_100), True), ((0, 600, 1_200, 1_800), False), ((0, 500, 999), True), ((0, 500, 1_000), False)],
)
def test_the_window_ends_with_each_failure_and_has_no_edge(times, opens):
    breaker = made(3)
    for time in times:
        assert breaker["state"][0] == CLOSED
        note_outcome(breaker[0], True, time)
    assert breaker["state"][0] == (OPEN if opens else CLOSED)


def test_as_many_failures_as_may_be_set_are_remembered():
    breaker = made(MOST_FAILURES)
    for time in range(0, 3 * MOST_FAILURES, 2):  # 499 of them less than a window before the last ones
        note_outcome(breaker[0], True, time)
    assert breaker["state"][0] == CLOSED
    for _ in range(MOST_FAILURES // 2 + 1):
        assert breaker["state"][0] == CLOSED
        note_outcome(breaker[0], True, 3 * MOST_FAILURES)
    assert breaker["state"][0] == OPEN
