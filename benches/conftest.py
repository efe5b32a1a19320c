"""The cases of `bot4-bench` under pytest-benchmark: `pytest benches`. One round is one repeat of a case."""

import pytest

from bot4.cli.measure.harness import Case, Samples

ROUNDS = 3


@pytest.fixture
def repeat(benchmark):
    """Run a case for some rounds; its own figures stand beside those of pytest-benchmark."""

    def run(case: Case) -> dict:
        taken = Samples(case.unit)
        benchmark.pedantic(case.run, args=(taken,), rounds=ROUNDS)
        figures = taken.summary()
        benchmark.extra_info.update(figures)
        return figures

    return run
