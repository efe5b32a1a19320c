"""Impact models against their twin, and against figures that others have published."""

import json
import random

import numpy as np
import pytest
from reference.kernels import impact as twin

from bot4.kernels.impact import (
    SCHEDULE,
    best_trajectory,
    decayed_flow,
    expected_cost,
    flow_share,
    impact_share,
    mean_flow_share,
    permanent_move,
    temporary_move,
    urgency,
)
from bot4.model.impact import IMPACT_LINEAR, IMPACT_SQUARE_ROOT


def schedule_of(**fields):
    made = np.zeros(1, SCHEDULE)
    for name, value in fields.items():
        made[name] = value
    return made[0]


def plan(schedule, n):
    out = np.zeros(n + 1)
    best_trajectory(schedule, out)
    return out


@pytest.mark.data
def test_the_published_plan_and_its_cost(data_dir):
    published = json.loads((data_dir / "references" / "almgren_chriss.json").read_text())
    numbers, expected = published["parameters"], published["strategy_A"]
    schedule = schedule_of(
        quantity=numbers["X"], tau=numbers["tau"], sigma=numbers["sigma_per_sqrt_day"], epsilon=numbers["epsilon"],
        gamma=numbers["gamma"], eta=numbers["eta"], risk_aversion=expected["lambda_"],
    )  # fmt: skip
    held = plan(schedule, numbers["N"])
    assert held == pytest.approx(expected["trajectory"], rel=1e-12, abs=1e-6)
    assert -np.diff(held) == pytest.approx(expected["trade_list"], rel=1e-12)
    assert expected_cost(schedule, held) == pytest.approx(expected["expected_cost"], rel=1e-14)


def test_a_flow_holds_the_price_off_as_the_twin_says():
    draw = random.Random(3)
    for _ in range(50):
        trades = sorted((draw.uniform(0, 5_000), draw.uniform(-9, 9)) for _ in range(draw.randrange(1, 20)))
        flow = now = 0.0
        for number, (at, quantity) in enumerate(trades):
            flow = decayed_flow(flow, at - now, 600.0) + quantity
            now = at
            expected = twin.displaced(trades[: number + 1], now, 2e4, 0.7, 600.0)
            assert flow_share(flow, 2e4, 0.7) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def random_schedule(draw):
    gamma, tau = 10 ** draw.uniform(-9, 0), 10 ** draw.uniform(-3, 1)
    return schedule_of(
        quantity=10 ** draw.uniform(0, 7), tau=tau, sigma=10 ** draw.uniform(-3, 1), epsilon=10 ** draw.uniform(-4, 0),
        gamma=gamma, eta=gamma * tau / 2 + 10 ** draw.uniform(-8, 0), risk_aversion=10 ** draw.uniform(-9, -2),
    )  # fmt: skip


def test_plans_and_costs_are_the_twins():
    draw = random.Random(11)
    for _ in range(300):
        schedule, n = random_schedule(draw), draw.randrange(1, 40)
        held = plan(schedule, n)
        quantity = float(schedule["quantity"])
        assert held == pytest.approx(twin.trajectory(schedule, n), rel=1e-6, abs=1e-7 * quantity)
        assert expected_cost(schedule, held) == pytest.approx(twin.cost(schedule, held), rel=1e-9)
        assert held[0] == pytest.approx(quantity) and held[-1] == 0.0 and (np.diff(held) <= 0).all()


def test_who_does_not_mind_risk_sells_evenly_and_who_does_at_once():
    calm = schedule_of(quantity=100.0, tau=0.5, sigma=1.0, eta=1e-3, gamma=1e-4, risk_aversion=0.0)
    assert urgency(calm) == 0.0
    assert plan(calm, 4).tolist() == [100.0, 75.0, 50.0, 25.0, 0.0]
    calm["risk_aversion"] = 1e-300
    assert plan(calm, 4) == pytest.approx([100.0, 75.0, 50.0, 25.0, 0.0])
    calm["risk_aversion"] = 1e300
    assert plan(calm, 100)[:3] == pytest.approx([100.0, 0.0, 0.0], abs=1e-12)


def test_shares_of_the_price():
    draw = random.Random(3)
    for _ in range(100):
        model = draw.choice((IMPACT_LINEAR, IMPACT_SQUARE_ROOT))
        numbers = (draw.uniform(0, 1e6), draw.uniform(1, 1e9), draw.uniform(0, 2))
        assert impact_share(model, *numbers) == pytest.approx(twin.share(model, *numbers))
    assert impact_share(IMPACT_LINEAR, 1.0, 100.0, 0.5) == 0.005
    assert impact_share(IMPACT_SQUARE_ROOT, 1.0, 100.0, 0.5) == 0.05


def test_what_stays_and_what_passes():
    schedule = schedule_of(quantity=1.0, tau=2.0, epsilon=0.0625, gamma=2.5e-7, eta=2.5e-6)
    assert permanent_move(schedule, 4e5) == pytest.approx(0.1)
    assert temporary_move(schedule, 4e5) == pytest.approx(0.5625)
    assert temporary_move(schedule, 0.0) == 0.0


def test_the_mean_of_the_square_root_law_is_that_of_many_small_steps():
    draw = random.Random(4)
    for _ in range(50):
        begin = draw.choice((0.0, 10 ** draw.uniform(-3, 6)))
        end = begin + 10 ** draw.uniform(-3, 6)
        middles = begin + (end - begin) * (np.arange(20_000) + 0.5) / 20_000
        steps = np.mean([twin.share(2, middle, 5e4, 0.3) for middle in middles])
        assert mean_flow_share(begin, end, 5e4, 0.3) == pytest.approx(steps, rel=1e-5)
