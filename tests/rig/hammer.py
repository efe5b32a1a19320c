"""Runs a stress program of `tests/stress` in a process of its own, because it forks."""

import json
import os
import subprocess
import sys
from pathlib import Path

STRESS = Path(__file__).resolve().parents[1] / "stress"


def hammer(program: str, **arguments) -> dict:
    """The program's findings; its children are always compiled, plain Python promises nothing between processes."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    paths = [str(STRESS.parent), os.environ.get("PYTHONPATH", "")]  # a program may use the rigs
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))  # after a copy of the tree, if one is tried
    options = [f"--{name}={value}" for name, value in arguments.items()]
    command = [sys.executable, str(STRESS / program), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
