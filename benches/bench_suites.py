"""Every case of every suite of `bot4-bench`, quick, for pytest-benchmark. A suite that is added there appears here."""

import importlib

import pytest

from bot4.cli.bench import ON_REQUEST, SUITES
from bot4.cli.measure.machine import pair_of_cores, tsc_ghz


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The cases name themselves, so the suites are prepared (and compiled) while the tests are collected."""
    where = tsc_ghz(), pair_of_cores()
    cases = [
        pytest.param(case, id=f"{name}-{case.name}")
        for name in SUITES | ON_REQUEST
        for case in importlib.import_module(f"bot4.cli.measure.{name}").cases(True, *where)
    ]
    metafunc.parametrize("case", cases)


def test_case(repeat, case):
    assert repeat(case)["n"] > 0
