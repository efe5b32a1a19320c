"""From tick to intent, two pinned processes; `bot4-bench --suite tick_to_intent` gives the figures."""

import pytest

from bot4.cli.measure import tick_to_intent


@pytest.fixture(scope="module")
def cases(where):
    return {case.name: case for case in tick_to_intent.cases(True, *where)}


@pytest.mark.parametrize("name", ["trade_written", "quote_written"])
def test_tick_to_intent(cases, repeat, name):
    assert repeat(cases[name])["n"] > 0
