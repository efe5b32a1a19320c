"""Suite `start`: how long until the engine works, and until it works again.

`warm`: from the command to the moment when the loop of every worker runs, kernels from the cache. `cold`: the same with
an empty cache, measured once in a full run. `restart_polls`: from a kill -9 of the shard to the first heartbeat of its
successor. `restart_gate`: to its gate being open again, with snapshot and full picture, on a market at real speed; left
out by `--quick`. The limit is an interpreter that imports NumPy and Numba and ends.
"""

import functools
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bot4.cli.measure.harness import Case, Samples
from bot4.cli.measure.live import MS, Live, session
from bot4.shm.wires import GAUGE_SHARD_GATE_OPEN


def _interpreter(taken: Samples) -> None:
    began = time.monotonic_ns()
    subprocess.run([sys.executable, "-c", "import numba, numpy"], check=True)
    taken.add_value((time.monotonic_ns() - began) * MS)


def _cold(taken: Samples) -> None:
    if taken.n:
        return  # it takes half a minute
    with tempfile.TemporaryDirectory(prefix="bot4-bench-") as cache, Live(Path(cache)) as live:
        taken.add_value(live.ready_ns() * MS)


def _restart_gate(taken: Samples) -> None:
    with Live() as live:
        live.ready_ns()
        found = live.instance()
        gauges = live.wires(found).gauges[0]
        live.until(lambda: True if gauges[GAUGE_SHARD_GATE_OPEN] > 0 else None)
        killed_ns = time.monotonic_ns()
        os.kill(found.workers["shard-0"].pid, signal.SIGKILL)
        live.heartbeat_after(live.wires(found), 0, killed_ns + 1_000_000)  # its successor's
        live.until(lambda: True if gauges[GAUGE_SHARD_GATE_OPEN] > 0 else None)
        taken.add_value((time.monotonic_ns() - killed_ns) * MS)


def limits(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """What no Python with Numba can do without."""
    return [Case("interpreter", "ms", _interpreter)]


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases."""
    made = [
        Case(name, "ms", functools.partial(session().take, name), limit="interpreter")
        for name in ("warm", "restart_polls")
    ]
    if not quick:
        made.append(Case("restart_gate", "ms", _restart_gate, limit="interpreter"))
        made.append(Case("cold", "ms", _cold, limit="interpreter"))
    return made
