"""The shard step and its parts; `bot4-bench --suite step` gives the figures, here for pytest-benchmark."""

import pytest

from bot4.cli.measure import step


@pytest.fixture(scope="module")
def cases(where):
    return {case.name: case for case in step.cases(True, *where)}


@pytest.mark.parametrize("name", ["order_32", "mixed_32", "indicators", "decision", "risk", "order_write"])
def test_step(cases, repeat, name):
    assert repeat(cases[name])["n"] > 0
