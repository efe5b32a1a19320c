"""The session's queue model reaches the venue: entries that rest in a recorded book fill as far as it lets them."""

import json

import pytest
from rig.session import run_command, settings_folder

pytestmark = pytest.mark.compiled
DAYS = ("btcusdt_20240808.gz", "btcusdt_20240809.gz")


def traded(tmp_path, data_dir, queue):
    """Report of a session whose entries rest."""
    config = settings_folder(tmp_path / queue.replace(":", ""))
    text = config.read_text()
    for old, new in (
        ("entry_style = 0 ", "entry_style = 1 "),
        ('queue = "risk-averse"', f'queue = "{queue}"'),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    config.write_text(text)
    feed = "replay:" + ",".join(str(data_dir / "hftbacktest" / "spot" / day) for day in DAYS)
    report = tmp_path / f"report-{queue.replace(':', '')}"
    result = run_command("start", "--config", config, "--feed", feed, "--pace", "event", "--report", report)
    assert result.returncode == 0, result.stderr
    return json.loads((report / "session.json").read_text())


def test_the_queue_model_of_the_settings_is_the_venues(tmp_path, data_dir):
    averse, power = (traded(tmp_path, data_dir, queue) for queue in ("risk-averse", "power:3"))
    assert averse["fills"] > 10 and power["fills"] > 10
    assert averse["digest"] != power["digest"]
    said = {row["name"]: row["value"] for row in power["assumptions"]}
    assert said["fill of a resting order"] == "behind the displayed queue, power:3"


@pytest.mark.parametrize("queue", ["fifo", "power:0", "power:11"])
def test_a_queue_model_that_there_is_not(tmp_path, queue):
    config = settings_folder(tmp_path)
    config.write_text(config.read_text().replace('queue = "risk-averse"', f'queue = "{queue}"'))
    result = run_command("start", "--config", config, "--feed", "synthetic:1")
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "venue.sim.queue" in result.stderr and "risk-averse, log, power or power:N" in result.stderr
