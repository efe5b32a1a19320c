"""A live session killed at every point of the gateway and of every kind: the exchange's ledger finds nothing wrong."""

import pytest
from rig.torture import Spec
from stress import torture

from bot4.crash import GATEWAY_POINTS

pytestmark = [pytest.mark.compiled, pytest.mark.alone]
KINDS = ("execution", "shard", "feed", "recorder", "pair", "supervisor")


@pytest.mark.parametrize(
    ("points", "kinds"),
    [
        pytest.param(GATEWAY_POINTS[2::7], ("execution", "feed"), id="few"),
        pytest.param(GATEWAY_POINTS[::3], KINDS, id="third", marks=pytest.mark.stress),
        pytest.param(GATEWAY_POINTS, KINDS, id="all", marks=pytest.mark.stress),
    ],
)
def test_a_live_session_dies_at_points_of_the_gateway_and_nothing_is_lost_or_doubled(tmp_path, points, kinds):
    """A kill of a live session takes seconds, so most of them are among the hammers."""
    total, blows = torture.Total(), (*points, *kinds)
    for attempt in range(3):
        place = tmp_path / str(attempt)
        spec = Spec(
            seed=1 + 1_000 * attempt,
            blows=blows,
            feed="live",
            orders=4,
            folder=str(place),
            out=str(place / "said.json"),
        )
        blows = tuple(torture.live_session(spec, total))
        assert not total.faults, total.faults
        if not blows:
            break
    found = torture.result_of(total)
    print(found, total.victims, total.naked_s)
    assert not blows and set(points) <= set(found["crash_points"])
    assert {"execution", *kinds} - {"pair"} == set(total.victims)
    assert found["kills"] >= len(points) + len(kinds) and found["orders"] > found["kills"]
    assert found["kills_with_order_in_flight"] > 0.3 * found["kills"]
    nothing = ("unknown", "lost", "doubled", "position_breaks", "naked_positions")
    assert [found[name] for name in nothing] == [0] * len(nothing)
