"""The venue's official clients and a widespread one, unmodified, each in an environment of its own: client x operation.

Two of them install a package of the same name, so none shares an environment. They are made below build/clients, once;
`make clients` runs this file alone.
"""

import json
import os
import re
import subprocess

import pytest
from clients.environment import HERE, environment
from rig.exchange_server import WIDE, ExchangeServer

pytestmark = [pytest.mark.compiled, pytest.mark.stress]
COMMON = ["info", "market data", "limit order", "market order", "order types", "order list", "replace",
          "refusals", "limits"]  # fmt: skip
OPERATIONS = {
    "ccxt": COMMON,
    "ccxt.pro": [*(name for name in COMMON if name != "order list"), "streams", "user events"],
    "python-binance": [*COMMON, "streams", "user events"],
    "binance-connector": [*COMMON, "streams", "user events", "websocket api"],
    "binance-sdk-spot": [*COMMON, "streams", "websocket api"],
    "nautilus_trader": [*COMMON, "streams", "user events"],
}  # fmt: skip
CELLS = [(client, operation) for client, operations in OPERATIONS.items() for operation in operations]
NARROW = """
[limits]
orders_10s = 5
request_weight_1m = 1_000
"""
CLIENT_S = 240.0


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ExchangeServer(
        tmp_path_factory.mktemp("clients"), "--speed", "5x", scenario=WIDE, market="generated:5"
    ) as made:
        yield made
        made.conserved()
        assert made.stop().kinds["fill"] > 10


def outcome_of(client: str, operations: list[str], server: ExchangeServer) -> dict[str, str]:
    """What a client says of some operations."""
    script = HERE / f"with_{re.sub(r'[-.]', '_', client)}.py"
    python = str(environment(client) / "python")
    command = [python, str(script), str(server.folder / "ready.json"), *operations]
    there = os.environ | {"PYTHONPATH": str(HERE.parent)}  # for what tells ccxt where the exchange is
    done = subprocess.run(command, capture_output=True, text=True, timeout=CLIENT_S, check=False, env=there)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def outcomes(server, tmp_path_factory):
    """What every client says of every operation; a client runs when its first cell is asked for."""
    found: dict[str, dict[str, str]] = {}

    def outcome(client: str, operation: str) -> str:
        if client not in found:
            wide = [name for name in OPERATIONS[client] if name != "limits"]
            found[client] = outcome_of(client, wide, server)
            with ExchangeServer(tmp_path_factory.mktemp("narrow"), scenario=NARROW, market="generated:5") as narrow:
                found[client] |= outcome_of(client, ["limits"], narrow)
                narrow.stop()
        return found[client].get(operation, "was not run")

    yield outcome
    print("\n" + table(found))


def table(found: dict[str, dict[str, str]]) -> str:
    """Clients by operations; "-" where a client does not offer it, or does it in another cell."""
    names = list(dict.fromkeys(operation for operations in OPERATIONS.values() for operation in operations))
    rows = [f"| {'operation':14} | " + " | ".join(found) + " |", "|---" * (1 + len(found)) + "|"]
    for name in names:
        cells = [
            ("ok" if outcomes.get(name) == "ok" else "FAILS") if name in OPERATIONS[client] else "-"
            for client, outcomes in found.items()
        ]
        rows.append(f"| {name:14} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


@pytest.mark.parametrize(("client", "operation"), CELLS, ids=[re.sub(r"\W", "_", "-".join(cell)) for cell in CELLS])
def test_cell(outcomes, client, operation):
    assert outcomes(client, operation) == "ok"
