"""The commands as a user types them, in a folder of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SUPERVISOR = [sys.executable, "-m", "bot4.cli.supervisor"]
STRATEGIES = str(REPOSITORY / "tests")  # rig.puppet is one
TIMEOUT_S = 900


def settings_in(folder: Path) -> Path:
    """A copy of the shipped settings below `folder`, with the state folder there too."""
    target = folder / "config"
    target.mkdir(parents=True, exist_ok=True)
    for source in (REPOSITORY / "config").glob("*.toml"):
        (target / source.name).write_text(source.read_text())
    paper = target / "paper.toml"
    text = paper.read_text()
    assert 'folder = "state"' in text
    paper.write_text(text.replace('folder = "state"', f'folder = "{folder / "state"}"'))
    return paper


def start(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`bot4-supervisor start` with settings of its own; the report goes to folder/report."""
    return start_with(settings_in(folder), folder, *options)


def start_with(config: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The same with settings that are there."""
    command = [
        *SUPERVISOR,
        "start",
        "--config",
        str(config),
        "--until-end",
        "--report",
        str(folder / "report"),
        *options,
    ]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), STRATEGIES)))},
    )  # fmt: skip


def session(folder: Path) -> dict:
    """The session's report."""
    return json.loads((folder / "report" / "session.json").read_text())


def ledger(folder: Path) -> Path:
    """The venue's ledger of the only session in this folder."""
    (found,) = (folder / "state" / "sessions").glob("*/ledger.jsonl")
    return found


def oracle(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The independent recomputation of the session from the ledger alone."""
    script = REPOSITORY / "tests" / "oracle" / "recompute.py"
    command = [
        sys.executable,
        "-I",
        str(script),
        str(ledger(folder)),
        str(folder / "report" / "session.json"),
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
