"""pybit, unmodified and in an environment of its own, on the exchange as Bybit: client x operation."""

import json
import subprocess

import pytest
from clients.environment import HERE, environment
from rig.exchange_bybit import BybitServer
from rig.exchange_server import WIDE

pytestmark = [pytest.mark.compiled, pytest.mark.stress]
OPERATIONS = [
    "info", "market data", "limit order", "market order", "spot orders", "times in force", "conditional orders",
    "positions", "batches", "protection", "refusals", "streams", "user events", "orders by websocket",
]  # fmt: skip


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """What the client says of every operation."""
    folder = tmp_path_factory.mktemp("pybit")
    with BybitServer(folder, "--speed", "5x", scenario=WIDE, market="generated:5") as server:
        command = [str(environment("pybit") / "python"), str(HERE / "with_pybit.py"), str(folder / "ready.json")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout.splitlines()[-1])
        server.conserved()
        assert server.stop().kinds["fill"] > 10


@pytest.mark.parametrize("operation", OPERATIONS, ids=[one.replace(" ", "_") for one in OPERATIONS])
def test_cell(outcome, operation):
    assert outcome.get(operation, "was not run") == "ok"
