"""A session whose ways to the simulated venue are slow and uneven: it ends, and every composition says the same."""

import json

import pytest
from rig.session import run_command, settings_folder

pytestmark = pytest.mark.compiled

WAYS = """
[venue.sim.order]
model = "log_normal"
us = 20_000
sigma = "0.8"
seed = 7
[venue.sim.cancel]
model = "recorded"
file = "{samples}"
[venue.sim.report]
model = "log_normal"
us = 15_000
sigma = "0.8"
seed = 8
"""


DATA = """
[venue.sim.data]
model = "log_normal"
us = 20_000
sigma = "0.8"
seed = 3
"""


def run(config, report, *options):
    """A session of the synthetic market; what it reports."""
    result = run_command(
        "start", "--config", config, "--feed", "synthetic:3", "--pace", "event", "--report", report, *options
    )
    assert result.returncode == 0, result.stderr
    return json.loads((report / "session.json").read_text())


def test_slow_ways_change_what_is_traded_and_not_with_the_composition(tmp_path):
    config = settings_folder(tmp_path)
    plain = run(config, tmp_path / "plain", "--compose", "one")
    (tmp_path / "samples").write_text("60000000\n150000000\n")
    config.write_text(config.read_text() + WAYS.format(samples=tmp_path / "samples"))
    slow = run(config, tmp_path / "slow", "--compose", "one")
    apart = run(config, tmp_path / "apart", "--compose", "processes", "--shards", "2")
    assert slow["digest"] == apart["digest"] != plain["digest"]
    assert slow["fills"] > 0 and all(worker["restarts"] == 0 for worker in apart["workers"].values())


def test_data_that_come_late_change_what_is_traded_and_not_with_the_composition(tmp_path):
    config = settings_folder(tmp_path)
    plain = run(config, tmp_path / "plain", "--compose", "one")
    config.write_text(config.read_text() + DATA)
    late = run(config, tmp_path / "late", "--compose", "one")
    apart = run(config, tmp_path / "apart", "--compose", "processes", "--shards", "2")
    assert late["digest"] == apart["digest"] != plain["digest"]
    assert late["fills"] > 0 and all(worker["restarts"] == 0 for worker in apart["workers"].values())
    said = {row["name"]: row["value"] for row in late["assumptions"]}
    assert said["data latency"].startswith("19869.728 µs, p99 ")
    assert "data latency" not in {row["name"] for row in plain["assumptions"]}


@pytest.mark.parametrize("compose", ["one", "processes"])
def test_more_data_under_way_than_there_is_room_for_end_the_session_with_the_reason(tmp_path, compose):
    (tmp_path / "samples").write_text("60000000000\n")
    config = settings_folder(tmp_path)
    config.write_text(config.read_text() + f'\n[venue.sim.data]\nmodel = "recorded"\nfile = "{tmp_path}/samples"\n')
    feed = ("--feed", "synthetic:3", "--pace", "event", "--compose", compose)
    result = run_command("start", "--config", config, *feed)
    assert result.returncode == 1 and "lower venue.sim.data" in result.stderr


def test_the_data_of_a_live_market_have_no_model(tmp_path):
    config = settings_folder(tmp_path)
    config.write_text(config.read_text() + DATA)
    result = run_command("start", "--config", config, "--feed", "live")
    assert result.returncode == 2 and "venue.sim.data: a live market" in result.stderr


def test_a_model_without_what_it_needs_is_refused(tmp_path):
    config = settings_folder(tmp_path)
    config.write_text(config.read_text() + '\n[venue.sim.order]\nmodel = "log_normal"\nus = 5\n')
    result = run_command("start", "--config", config, "--feed", "synthetic:3", "--pace", "event")
    assert result.returncode == 2 and "venue.sim.order.sigma: missing" in result.stderr
    assert "Traceback" not in result.stderr
