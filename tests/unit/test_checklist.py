"""The check list says what is so: page, settings, codes, tests and mutants."""

import re
from pathlib import Path

import pytest
from checklist import BREAKERS, CHECKS, MACHINE, PAGE, defaults, fails_without, page

from bot4.model.breaker import COMPONENTS
from bot4.model.enums import REJECT_NAMES
from bot4.settings.schema import Breakers, Limits

REPOSITORY = Path(__file__).resolve().parents[2]
NOT_OF_AN_INTENT = {"RISK_SIZE_ZERO", "EXEC_RING_FULL", "EXEC_NEVER_LANDED"}


def test_the_page_is_what_would_be_written():
    assert PAGE.read_text() == page(), "run `make checklist`"


def test_every_limit_is_in_it_with_a_default_and_words():
    listed = [name for check in CHECKS for name in check.settings.split()]
    assert sorted(listed) == sorted(Limits.__struct_fields__) == sorted(defaults())


def test_every_code_that_refuses_an_intent_is_in_it():
    listed = {code for check in CHECKS for code in check.codes.split()}
    wanted = {name for code, name in REJECT_NAMES.items() if 300 < code < 500} | {"DATA_STALE"}
    assert listed == wanted - NOT_OF_AN_INTENT


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.codes.split()[0] if check.codes else check.settings)
def test_each_check_has_its_test_and_mutants_that_take_it_away(check):
    assert check.mutants
    for test in (check.test, *map(fails_without, check.mutants.split())):
        file, name = re.fullmatch(r"(tests/\S+\.py)::(test_\w+)(?:\[\S+\])?", test).groups()
        assert re.search(rf"^def {name}\(", (REPOSITORY / file).read_text(), re.MULTILINE), test


def test_every_breaker_is_in_it():
    assert sorted(one.component for one in BREAKERS) == sorted(COMPONENTS)
    assert {one.component for one in BREAKERS} - set(Breakers.__struct_fields__) == {"venue", "journal"}


@pytest.mark.parametrize("one", BREAKERS, ids=lambda one: one.component)
def test_each_breaker_has_its_test_and_mutants_that_take_it_away(one):
    for test in (one.test, *map(fails_without, (one.mutants + " " + MACHINE).split())):
        file, name = re.fullmatch(r"(tests/\S+\.py)::(test_\w+)(?:\[\S+\])?", test).groups()
        assert re.search(rf"^def {name}\(", (REPOSITORY / file).read_text(), re.MULTILINE), test
