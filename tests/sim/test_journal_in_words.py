"""`bot4-data journal`: each order says what sized it, each refusal why; the sums are the ledger's."""

import json
import subprocess
import sys
from collections import Counter
from decimal import Decimal

import pytest
from rig.session import run_command, settings_folder

pytestmark = pytest.mark.compiled


def journal(folder):
    """Exit code, JSON lines, standard error."""
    command = [sys.executable, "-m", "bot4.cli.data", "journal", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    return result.returncode, [json.loads(line) for line in result.stdout.splitlines()], result.stderr


def test_the_words_add_up_to_the_report_and_the_ledger(tmp_path):
    config = settings_folder(tmp_path)
    result = run_command(
        "start", "--config", config, "--feed", "synthetic:3", "--pace", "event", "--report", tmp_path / "report"
    )
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "report" / "session.json").read_text())
    (folder,) = (tmp_path / "state" / "sessions").iterdir()
    assert folder.stat().st_mode & 0o077 == 0, "nobody else reads what is traded"
    code, lines, error = journal(folder)
    assert (code, error) == (0, "")
    orders = [line for line in lines if line["record"] == "order"]
    assert len(orders) == report["orders"] > 20
    assert Counter(line["sized_by"] for line in orders if line["leg"] == "entry") == report["sized_by"]
    assert not any("sized_by" in line for line in orders if line["leg"] != "entry")
    fills = [line for line in lines if line.get("says") == "fill"]
    assert len(fills) == report["fills"]
    ledger = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    booked = [row for row in ledger if row["kind"] == "fill"]
    assert [line["id"] for line in fills] == [row["client_order_id"] for row in booked]
    assert sum(Decimal(line["fee"]) for line in fills) == Decimal(report["result"]["fees"])
    for line in lines:
        assert (line["record"] == "refused") <= ("because" in line), line


def test_without_what_the_session_was_given_ticks_and_lots_are_told(tmp_path):
    config = settings_folder(tmp_path)
    assert run_command("start", "--config", config, "--feed", "synthetic:3", "--pace", "event").returncode == 0
    (folder,) = (tmp_path / "state" / "sessions").iterdir()
    (folder / "inputs" / "command.json").write_text('{"instruments": [["BTC", "x"]]}')
    code, lines, _ = journal(folder)
    order = next(line for line in lines if line["record"] == "order")
    assert code == 0 and isinstance(order["instrument"], int) and order["price"].endswith(" ticks")
    code, lines, error = journal(tmp_path)
    assert (code, lines) == (2, []) and "name a session's folder" in error
