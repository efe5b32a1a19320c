"""`bot4-doctor` from outside, and how it sums up."""

import io
import json
import subprocess
import sys

from rich.console import Console

from bot4.adapters.system.host import BAD, MIND, OK, Finding
from bot4.cli.doctor import summary, table


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bot4.cli.doctor", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_it_examines_this_host_in_words_and_in_json():
    told = run("--json")
    content = json.loads(told.stdout)
    assert told.returncode == (0 if content["fit"] else 1) and not told.stderr
    words = run()
    assert words.returncode == told.returncode and all(row["name"] in words.stdout for row in content["findings"])
    assert max(map(len, words.stdout.splitlines())) <= 100
    assert "Example: bot4-doctor" in run("--help").stdout


def test_the_summary_says_what_matters_most():
    good, slow, broken = Finding("a", OK, "x"), Finding("b", MIND, "y", "z"), Finding("c", BAD, "v", "w")
    assert summary([good]) == "fit to trade, and tuned"
    assert summary([good, slow]) == "fit to trade; 1 that cost latency"
    assert summary([good, slow, broken]) == "1 to mend before a session, 1 that cost latency"
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table([good, broken]))
    assert "BAD" in console.export_text()
