"""What the settings say of impact reaches the venue and the report, and every composition pays the same."""

import json

import pytest
from rig.session import run_command, settings_folder

pytestmark = pytest.mark.compiled
MODEL = 'impact = { model = "almgren_chriss", gamma = "0", eta = "0", epsilon = "0.005", tau_s = 60 }'


def run(config, report, *options):
    """A session of the synthetic market; what it reports."""
    result = run_command(
        "start", "--config", config, "--feed", "synthetic:3", "--pace", "event", "--report", report, *options
    )
    assert result.returncode == 0, result.stderr
    return json.loads((report / "session.json").read_text())


def test_impact_costs_and_every_composition_pays_the_same(tmp_path):
    config = settings_folder(tmp_path)
    plain = run(config, tmp_path / "plain", "--compose", "one")
    table = config.with_name("instruments.toml")
    symbol = 'symbol = "SYNBTC"'
    table.write_text(table.read_text().replace(symbol, f"{symbol}\n{MODEL}"))
    moved = run(config, tmp_path / "moved", "--compose", "one")
    apart = run(config, tmp_path / "apart", "--compose", "processes", "--shards", "2")
    assert moved["digest"] == apart["digest"] != plain["digest"]
    said = {row["name"]: row for row in moved["assumptions"]}
    assert said["impact of SYNBTC"]["value"] == "Almgren-Chriss: gamma 0, eta 0, epsilon 0.005, intervals of 60 s"
    assert "no market impact" not in said["fill of a taking order"]["note"]
    assert not any(name.startswith("impact") for name in (row["name"] for row in plain["assumptions"]))


def test_an_impact_without_what_it_needs_is_refused(tmp_path):
    config = settings_folder(tmp_path)
    table = config.with_name("instruments.toml")
    symbol = 'symbol = "SYNBTC"'
    table.write_text(table.read_text().replace(symbol, f'{symbol}\nimpact = {{ model = "linear", coefficient = "1" }}'))
    result = run_command("start", "--config", config, "--feed", "synthetic:3", "--pace", "event")
    assert result.returncode == 2 and "impact.daily_quantity: missing by linear; add it" in result.stderr
