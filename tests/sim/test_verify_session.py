"""A recorded session plays again to the same decisions; the first one that is another is shown."""

import json
import subprocess
import sys

import numpy as np
import pytest
from rig.session import run_command, settings_folder

from bot4.adapters.files.digest import COLUMNS, canonical_rows
from bot4.engine.journal import CRC_WORD, PREVIOUS_WORD, JournalFile, read_journal, record_crc
from bot4.model.records import JOURNAL_INTENT, JOURNAL_WORDS
from workers.verify_session import COMPARED_AT_A_TIME, first_difference

pytestmark = pytest.mark.compiled


def verify(folder):
    """Exit code, JSON lines, standard error."""
    command = [sys.executable, "-m", "bot4.cli.data", "verify-session", str(folder), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    return result.returncode, [json.loads(line) for line in result.stdout.splitlines()], result.stderr


def change_an_intent(path):
    """Another quantity in the middle of a journal, with all check sums after it made right. Returns its row."""
    journal = JournalFile(path)
    table = journal.table
    index = int(np.flatnonzero(table["type"] == JOURNAL_INTENT)[7])
    rows = canonical_rows(table.copy())
    table["body"][index][4] += 1
    for at in range(index, journal.count):
        word = at * JOURNAL_WORDS
        journal.records[word + PREVIOUS_WORD] = journal.records[word - JOURNAL_WORDS + CRC_WORD]
        journal.records[word + CRC_WORD] = record_crc(journal.records, word)
    journal.close()
    return first_difference(rows, canonical_rows(read_journal(path)))


def test_a_session_plays_again_and_a_changed_decision_is_found(tmp_path):
    config = settings_folder(tmp_path)
    result = run_command("start", "--config", config, "--feed", "synthetic:3", "--pace", "event")
    assert result.returncode == 0, result.stderr
    (folder,) = (tmp_path / "state" / "sessions").iterdir()
    config.write_text("nobody's any more")  # the session has kept its own
    code, (said,), error = verify(folder)
    assert (code, error) == (0, "") and said["rows"] > 50
    assert len(said["digests"]) == -(-said["rows"] // COMPARED_AT_A_TIME)
    row = change_an_intent(folder / "journal.bin")
    code, (again, difference), error = verify(folder)
    assert code == 1 and again["rows"] == said["rows"] and f"row {row + 1} of" in error
    assert difference["row"] == row + 1
    unlike = {name for name in COLUMNS if difference["recorded"][name] != difference["replayed"][name]}
    assert unlike == {"qty_lots"} and difference["recorded"]["qty_lots"] == difference["replayed"]["qty_lots"] + 1


def test_the_first_difference_is_found_in_any_piece():
    rows = np.zeros(2_500, [(name, "<i8") for name in COLUMNS])
    rows["ts_ns"] = np.arange(2_500)
    assert first_difference(rows, rows.copy()) is None
    for index in (0, 999, 1_000, 2_499):
        other = rows.copy()
        other["code"][index] = 1
        assert first_difference(rows, other) == index
    assert first_difference(rows, rows[:2_300]) == 2_300 == first_difference(rows[:2_300], rows)


def test_what_cannot_be_played_again_is_one_line(tmp_path):
    (tmp_path / "inputs").mkdir()
    for said, why in (
        (None, "no session's folder"),
        ({"config": "p", "feed": "synthetic", "pace": "free"}, "wall clock"),
    ):
        if said is not None:
            (tmp_path / "journal.bin").write_bytes(b"")
            (tmp_path / "inputs" / "command.json").write_text(json.dumps(said))
        code, lines, error = verify(tmp_path)
        assert (code, lines) == (2, []) and why in error and error.count("\n") == 1
