"""`bot4-doctor` from outside, and how it sums up."""

import io
import json
import subprocess
import sys

import pytest
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


@pytest.mark.parametrize("target", [">&-", ">/dev/full"])
def test_output_that_cannot_be_written_is_no_traceback(target):
    for door in ("doctor", "supervisor --help"):
        command = f'"$0" -m bot4.cli.{door} {target}'
        result = subprocess.run(
            ["sh", "-c", command, sys.executable], stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
        assert "Traceback" not in result.stderr and len(result.stderr.splitlines()) <= 1, result.stderr
        if "full" in target:
            assert result.returncode == 1 and "No space left on device" in result.stderr


def test_the_summary_says_what_matters_most():
    good, slow, broken = Finding("a", OK, "x"), Finding("b", MIND, "y", "z"), Finding("c", BAD, "v", "w")
    assert summary([good]) == "fit to trade, and tuned"
    assert summary([good, slow]) == "fit to trade; 1 that cost latency"
    assert summary([good, slow, broken]) == "1 to mend before a session, 1 that cost latency"
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table([good, broken]))
    assert "BAD" in console.export_text()
