"""The ring between two pinned processes; `bot4-bench --suite ring` gives the figures, here for pytest-benchmark."""

import pytest

from bot4.cli.measure import ring


@pytest.fixture(scope="module")
def cases(where):
    return {case.name: case for case in ring.cases(True, *where)}


@pytest.mark.parametrize("name", ["hop_64", "rate_64", "hop_128", "rate_128"])
def test_ring(cases, repeat, name):
    assert repeat(cases[name])["n"] > 0
