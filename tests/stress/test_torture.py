"""The bot killed at every named point and at random: nothing is lost or doubled; and the judge sees what would be."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from oracle.test_recompute import journal_of, played  # noqa: F401
from rig.torture import Spec, verdict
from stress import torture

from bot4.crash import CRASH_POINTS

pytestmark = pytest.mark.compiled


def run(folder: Path, *blows: str, seed: int = 1, tries: int = 1, **changes) -> torture.Total:
    """Sessions with these blows; every one of them falls, in a later session what found no place in the first."""
    total = torture.Total()
    for attempt in range(tries):
        place = folder / f"{seed}-{attempt}"
        spec = Spec(
            **{"seed": seed + 1_000 * attempt, "blows": blows, "folder": str(place), "out": str(place / "said.json")}
            | changes
        )
        left = torture.one_session(spec, total)
        assert not total.faults, total.faults
        blows = (*left, *(blow for blow in blows if blow in CRASH_POINTS and blow not in (*total.points, *left)))
        if not blows:
            break
    assert not blows, blows
    return total


def test_execution_dies_at_every_named_point_and_nothing_is_lost_or_doubled(tmp_path):
    """Once at each point, and each kind of process at a random moment; at last while the kill switch cancels."""
    others = ("execution", "shard", "feed", "pair")
    points = [name for name in CRASH_POINTS[1:] if name != "kill_cancel"]
    total = run(tmp_path, *points, *others, "kill_cancel", tries=3, style=1, orders=12)
    found = torture.result_of(total)
    print(found, total.victims)
    assert set(CRASH_POINTS[1:]) <= set(found["crash_points"])
    assert found["kills"] >= len(CRASH_POINTS) + len(others) and found["orders"] > 12 * len(points)
    assert found["kills_with_order_in_flight"] > 0.3 * found["kills"]
    nothing = ("unknown", "lost", "doubled", "position_breaks", "naked_positions")
    assert [found[name] for name in nothing] == [0] * len(nothing)


def test_a_supervisor_that_is_killed_leaves_nobody_and_nothing_doubled(tmp_path):
    total = run(tmp_path, "shard", "supervisor", seed=2, orders=12)
    assert total.victims == {"shard": 1, "supervisor": 1} and total.orders > 20


# --- the judge can fail -------------------------------------------------------------------------------------------
def judge(tmp_path, lines, report, journal=None):
    """Counts by kind of this ledger, beside the journal of those lines unless another one is told."""
    (tmp_path / "ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "journal").write_bytes(journal_of(journal or lines))
    return +verdict(tmp_path / "ledger.jsonl", tmp_path / "journal", report | {"exit": {"state": "done"}}).kinds


def renumbered(lines):
    """The same lines with numbers without a hole."""
    return [line | {"seq": number + 1} for number, line in enumerate(lines)]


def placed(lines, type_):
    """Places of the request, and of the venue's word, of the tenth such order."""
    requests = [n for n, line in enumerate(lines) if line["kind"] == "request" and line["action"] == "place"]
    at = [n for n in requests if lines[n]["type"] == type_][9]
    return at, next(n for n in range(at, len(lines)) if lines[n]["kind"] == "order")


def test_a_right_session_is_right(played, tmp_path):  # noqa: F811
    lines, report = played
    assert judge(tmp_path, lines, report) == {} and report["orders"] > 100


def test_a_doubled_order_is_seen(played, tmp_path):  # noqa: F811
    lines, report = played
    at, told = placed(lines, "limit")
    number = max(line["venue_order_id"] or 0 for line in lines) + 1
    again = [lines[at], lines[told] | {"venue_order_id": number}]
    found = judge(tmp_path, renumbered(lines[: told + 1] + again + lines[told + 1 :]), report, lines)
    assert found["doubled"] == 2


def test_a_lost_order_is_seen(played, tmp_path):  # noqa: F811
    """One that the venue holds and the journal does not know, and one that arrived and was never answered."""
    lines, report = played
    at, told = placed(lines, "limit")
    assert judge(tmp_path, lines, report, lines[:at] + lines[at + 1 :])["lost"] == 1
    assert judge(tmp_path, renumbered(lines[:told] + lines[told + 1 :]), report, lines)["unanswered"] == 1


def test_a_lost_fill_and_another_position_are_seen(played, tmp_path):  # noqa: F811
    lines, report = played
    at = next(n for n, line in enumerate(lines) if line["kind"] == "fill")
    assert judge(tmp_path, lines, report, lines[:at] + lines[at + 1 :])["untold"] == 1
    symbol = next(iter(report["positions"]))
    other = report | {"positions": report["positions"] | {symbol: report["positions"][symbol] | {"lots": 10**6}}}
    assert judge(tmp_path, lines, other)["broken"] >= 1


def test_an_order_that_nobody_was_told_of_is_seen(played, tmp_path):  # noqa: F811
    """Journaled, never arrived, and no answer said so."""
    lines, report = played
    at, _ = placed(lines, "limit")
    ghost = lines[at] | {"client_order_id": "f" * 32}
    more = report | {"orders": report["orders"] + 1}
    assert judge(tmp_path, lines, more, [_with_id(ghost), *lines])["lost"] == 1
    assert judge(tmp_path, lines, more, [*lines, _with_id(ghost)]) == {}, "the last one is on its way"


def _with_id(line):
    """The same request under the id of the ghost."""
    body = bytearray(base64.b64decode(line["body"]))
    body[8:24] = bytes([0xFF] * 16)
    return line | {"body": base64.b64encode(bytes(body)).decode()}


def test_a_naked_position_is_seen(played, tmp_path):  # noqa: F811
    """Every stop is taken out of the ledger, and the positions are held for longer."""
    lines, report = played
    began = lines[1]["t_ns"]
    slow = [line | {"t_ns": max(0, began + 4 * (line["t_ns"] - began))} for line in lines]
    assert judge(tmp_path, slow, report) == {}
    stops = {line["client_order_id"] for line in lines if line["kind"] == "request" and line["type"] == "stop_market"}
    kept = renumbered([line for line in slow if line.get("client_order_id") not in stops])
    assert judge(tmp_path, kept, report, kept)["naked"] >= 1


# --- a normal build -----------------------------------------------------------------------------------------------
PROBE = """
import numpy as np
from bot4.shm.spsc_ring import private_rings, push_order
from bot4.jit import kernel
@kernel
def probe(ring, record):
    push_order(ring, record, 0)
probe(private_rings(1, 8, 16)[0], np.zeros(16, np.int64))
print("\\n".join(probe.inspect_llvm().values()))
"""


@pytest.mark.parametrize("crash", [False, True])
def test_only_a_build_that_asks_for_them_has_places_to_die_at(tmp_path, crash):
    (tmp_path / "probe.py").write_text(PROBE)
    environment = {name: value for name, value in os.environ.items() if name != torture.CRASH}
    environment |= {"BOT4_KERNEL_CACHE": str(tmp_path / "cache")}
    if crash:
        environment[torture.CRASH] = str(torture.crash_file(tmp_path / "words"))
    done = subprocess.run(
        [sys.executable, "probe.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "store atomic" in done.stdout and ("bot4_crash" in done.stdout) == crash
    assert all(("-crash" in folder.name) == crash for folder in (tmp_path / "cache").iterdir() if folder.is_dir())
