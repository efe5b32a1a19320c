"""One JSON object per line, whatever is logged."""

import io
import json
import logging

import pytest

from bot4.log import LEVELS, start_log


def _lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_time_level_worker_event_and_fields():
    stream = io.StringIO()
    start_log("execution", stream=stream).warning("recovered\n2", extra={"fields": {"orders": 3, "pid": "kept apart"}})
    (line,) = _lines(stream)
    assert (line["level"], line["worker"], line["event"], line["orders"]) == ("warning", "execution", "recovered\n2", 3)
    assert isinstance(line["pid"], int)
    assert line["t"].endswith("Z") and len(line["t"]) == len("2026-11-21T08:00:00.123456Z")


def test_an_exception_and_an_object_stay_on_one_line():
    stream = io.StringIO()
    log = start_log("feed", stream=stream)
    try:
        raise ValueError("bad")
    except ValueError:
        log.exception("failed", extra={"fields": {"path": object}})
    (line,) = _lines(stream)
    assert "ValueError: bad" in line["traceback"] and line["path"] == "<class 'object'>"


def test_starting_again_replaces_name_level_and_stream():
    first, second = io.StringIO(), io.StringIO()
    start_log("supervisor", stream=first)
    log = start_log("shard-0", "error", second)
    log.warning("unseen")
    log.error("seen")
    assert first.getvalue() == ""
    assert [line["worker"] for line in _lines(second)] == ["shard-0"]
    assert len(log.handlers) == 1 and not log.propagate


def test_levels_are_those_of_the_standard_library():
    assert [logging.getLevelName(getattr(logging, level.upper())).lower() for level in LEVELS] == list(LEVELS)
    with pytest.raises(ValueError, match="log level 'loud'; one of debug"):
        start_log("x", "loud")
