"""The venue's official clients and a widespread one, unmodified, each in an environment of its own: client x operation.

Two of them install a package of the same name, so none shares an environment. They are made below build/clients, once;
`make clients` runs this file alone.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rig.exchange_server import WIDE, ExchangeServer

pytestmark = [pytest.mark.compiled, pytest.mark.stress]
HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parents[1] / "build" / "clients"
VERSIONS = {"python-binance": "1.0.37", "binance-connector": "3.13.0", "binance-sdk-spot": "13.3.0",
            "pybit": "5.17.0"}  # fmt: skip
COMMON = ["info", "market data", "limit order", "market order", "stop order", "order list", "replace", "refusals",
          "streams"]  # fmt: skip
OPERATIONS = {
    "python-binance": [*COMMON, "user events"],
    "binance-connector": [*COMMON, "user events", "websocket api"],
    "binance-sdk-spot": [*COMMON, "websocket api"],
}
CELLS = [(client, operation) for client, operations in OPERATIONS.items() for operation in operations]


def environment(client: str) -> Path:
    """The Python of a client's own environment, which is made if it is not there."""
    folder = ENVIRONMENTS / f"{client}-{VERSIONS[client]}"
    python = folder / "bin" / "python"
    done = folder / ".done"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", f"{client}=={VERSIONS[client]}"]
        subprocess.run(install, check=True, capture_output=True, timeout=600)
        done.touch()
    return python


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ExchangeServer(
        tmp_path_factory.mktemp("clients"), "--speed", "5x", scenario=WIDE, market="generated:5"
    ) as made:
        yield made
        made.conserved()
        assert made.stop().kinds["fill"] > 10


@pytest.fixture(scope="module")
def outcomes(server):
    """What every client says of every operation; a client runs when its first cell is asked for."""
    found: dict[str, dict[str, str]] = {}

    def outcome(client: str, operation: str) -> str:
        if client not in found:
            script = HERE / f"with_{client.replace('-', '_')}.py"
            command = [str(environment(client)), str(script), str(server.folder / "ready.json")]
            done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
            assert done.returncode == 0, done.stderr
            found[client] = json.loads(done.stdout.splitlines()[-1])
        return found[client].get(operation, "was not run")

    return outcome


@pytest.mark.parametrize(("client", "operation"), CELLS, ids=[re.sub(r"\W", "_", "-".join(cell)) for cell in CELLS])
def test_cell(outcomes, client, operation):
    assert outcomes(client, operation) == "ok"
