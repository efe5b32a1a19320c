"""Plays a session again from what it was given, and compares what it decided with its journal.

A session keeps what it was given in its folder: `inputs/` has copies of its settings and `session.json`, the feed and
pace of its command; what a person tightened lies in the journal. Only sessions paced by event time can be played again:
whatever else decides there is in the inputs. On the wall clock it depends on the machine which record an agent saw
first.
"""

import hashlib
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bot4.adapters.files.digest import canonical_rows
from bot4.adapters.system.instance import instance_of
from bot4.engine.journal_mark import committed
from bot4.model.errors import Bot4Error, HaltedError, InputError
from bot4.model.records import EXEC_REPORT, JOURNAL_LIMIT
from workers.session import COMMAND_FILE, INPUTS_FOLDER, Session, StartOptions, prepare

COMPARED_AT_A_TIME = 1_000  # rows


class _Quiet:
    """A view of a session that nobody looks at."""

    every_s = 60.0

    def show(self, shot: dict[str, Any]) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing is open."""


def verify_session(folder: Path) -> dict[str, Any]:
    """Play a session again.

    Returns
    -------
    JSON types: rows compared, the digest of each COMPARED_AT_A_TIME rows, and the first `difference` (row number,
    `recorded` and `replayed`) or None

    Raises
    ------
    InputError : no session, or one that cannot be played again
    JournalError : its journal is damaged
    """
    journal = folder / "journal.bin"
    said = folder / INPUTS_FOLDER / COMMAND_FILE
    if not journal.is_file() or not said.is_file():
        raise InputError(f"{folder}: no session's folder, it has no journal.bin or no {INPUTS_FOLDER}/{COMMAND_FILE}")
    command = json.loads(said.read_bytes())
    if command["pace"] != "event":
        raise InputError(f"{folder}: ran on the wall clock, where the machine decides too; name one with --pace event")
    recorded = canonical_rows(committed(journal))
    tightened = _tightened(committed(journal))
    config = folder / INPUTS_FOLDER / command["config"]
    replayed = canonical_rows(_play_again(config, command["feed"], tightened))
    found = first_difference(recorded, replayed)
    digests = [
        hashlib.sha256(recorded[at : at + COMPARED_AT_A_TIME].tobytes()).hexdigest()[:16]
        for at in range(0, len(recorded), COMPARED_AT_A_TIME)
    ]
    difference = None
    if found is not None:
        sides = {"recorded": recorded, "replayed": replayed}
        difference = {"row": found + 1} | {name: _row(rows, found) for name, rows in sides.items()}
    return {"rows": len(recorded), "digests": digests, "difference": difference}


def _row(rows: np.ndarray, index: int) -> dict[str, int] | None:
    """A row by its columns; None if there are not so many."""
    return dict(zip(rows.dtype.names or (), map(int, rows[index]), strict=True)) if index < len(rows) else None


def first_difference(these: np.ndarray, those: np.ndarray) -> int | None:
    """Index of the first row in which two arrays of rows differ, None if they are equal: first the digests of each
    COMPARED_AT_A_TIME rows, then the rows of the first piece that is another.
    """
    for at in range(0, max(len(these), len(those)), COMPARED_AT_A_TIME):
        one, other = these[at : at + COMPARED_AT_A_TIME], those[at : at + COMPARED_AT_A_TIME]
        if hashlib.sha256(one.tobytes()).digest() != hashlib.sha256(other.tobytes()).digest():
            common = min(len(one), len(other))
            unlike = np.flatnonzero(one[:common] != other[:common])
            return at + int(unlike[0] if len(unlike) else common)
    return None


def _tightened(journal: np.ndarray) -> np.ndarray:
    """int64[n, 3]: from when on, word and value of each limit that was tightened; what a person did is an input too."""
    told = journal[journal["type"] == JOURNAL_LIMIT]
    reports = np.ascontiguousarray(told["body"]).view(EXEC_REPORT).reshape(-1)
    return np.stack([reports["ts_ns"], told["code"], reports["cash_e8"]], axis=1).astype(np.int64)


def _play_again(config: Path, feed: str, tightened: np.ndarray) -> np.ndarray:
    """The journal of the session played again, in a folder that is thrown away."""
    prepared = prepare(StartOptions(config=config, feed=feed, pace="event", compose="one"))
    with tempfile.TemporaryDirectory(prefix="bot4-again-") as name:
        state = Path(name)
        place = state / "sessions" / "again"
        plan = replace(
            prepared.plan,
            instance=instance_of(state),
            state_folder=state,
            session_folder=place,
            recorder=None,
            tightened=tightened,
        )
        workers = tuple(worker for worker in prepared.workers if worker.name != "recorder")
        again = replace(prepared, plan=plan, workers=workers, report_folder=place / "report")
        outcome, _, _ = Session(again, _Quiet()).run()
        if outcome.exit_code not in (0, HaltedError.exit_code):  # it may have set the kill switch itself
            raise Bot4Error(f"the session cannot be played again: {outcome.message}")
        return committed(plan.journal_path)
