"""Queue models against their published formulas, and what holds for each of them."""

import random

import pytest
from reference.kernels.queue_model import front_after

from bot4.kernels.queue_model import lost_behind
from bot4.model.queue import QUEUE_LOG, QUEUE_POWER, QUEUE_RISK_AVERSE

MODELS = {"risk-averse": QUEUE_RISK_AVERSE, "power": QUEUE_POWER, "log": QUEUE_LOG}


@pytest.mark.parametrize("name", list(MODELS))
def test_the_front_is_the_published_one(name):
    draw = random.Random(name)
    near = 0
    for _ in range(3_000):
        size = 10 ** draw.randrange(1, 9)
        ahead, behind = draw.choice((0, draw.randrange(size))), draw.choice((0, draw.randrange(size)))
        lost = draw.randrange(ahead + behind + 1)
        n, unit = draw.choice((1.0, 2.0, 3.0, 0.5)), draw.choice((1e-5, 1e-3, 1.0))
        off = lost_behind(MODELS[name], n, unit, ahead, behind, lost)
        expected = front_after(name, n, unit, ahead, behind, lost)
        assert lost - ahead <= off <= behind and off >= 0
        front = ahead - (lost - off)
        assert abs(front - expected) <= 1, (ahead, behind, lost, n, unit)  # a float next to a whole number
        near += front != expected
    assert near < 30


def test_who_is_last_or_first():
    for model in MODELS.values():
        assert lost_behind(model, 2.0, 1.0, 10, 0, 4) == 0, "nobody is behind: all of it was ahead"
        assert lost_behind(model, 2.0, 1.0, 0, 10, 4) == 4
        assert lost_behind(model, 2.0, 1.0, 7, 3, 10) == 3
    assert lost_behind(QUEUE_RISK_AVERSE, 2.0, 1.0, 50, 50, 10) == 10, "nothing comes forward while one is behind"
    assert lost_behind(QUEUE_POWER, 2.0, 1.0, 50, 50, 10) == 5
    assert lost_behind(QUEUE_POWER, 1.0, 1.0, 30, 10, 10) == 3, "2.5, rounded against the order"
