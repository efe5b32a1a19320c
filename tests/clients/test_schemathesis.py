"""schemathesis on the exchange's whole REST API: no 5xx, answers of the form described, bounded memory, whole money."""

import json
import os
import subprocess

import psutil
import pytest
from clients.environment import HERE, environment
from rig.exchange_openapi import description
from rig.exchange_server import WIDE, ExchangeServer

pytestmark = [pytest.mark.compiled, pytest.mark.stress]
MEMORY_BYTES = 120_000_000
EXAMPLES = 40  # of each endpoint and phase
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_whatever_schemathesis_makes_of_the_api(tmp_path):
    with ExchangeServer(tmp_path, scenario=WIDE, market="generated:8") as server:
        (tmp_path / "openapi.json").write_text(json.dumps(description()))
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        command = [
            str(environment("schemathesis") / "schemathesis"), "run", str(tmp_path / "openapi.json"), "--url",
            server.ready["rest"], "--checks", CHECKS, "--max-examples", str(EXAMPLES), "--seed", "1",
            "--generation-database", "none", "--request-timeout", "20", "--continue-on-failure",
        ]  # fmt: skip
        there = os.environ | {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HERE),
                              "EXCHANGE_READY": str(tmp_path / "ready.json")}  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=900, check=False, env=there, cwd=tmp_path
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
        grown = process.memory_info().rss - before
        print(done.stdout[-1_200:], f"memory grew by {grown / 1e6:.0f} MB")
        assert grown < MEMORY_BYTES
        server.conserved()
        money = server.stop()
        assert money.kinds["request"] > EXAMPLES * len(description()["paths"])
        assert money.kinds["order"] > 10
