"""A session of the product, started as its user starts it, for the suites that look at whole processes.

`start` and `memory` take their figures from one session a repeat: ready, what each worker holds, then a kill.
"""

import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from bot4.adapters.system.instance import InstanceFile, running_instance
from bot4.cli.measure.harness import Samples
from bot4.model.errors import Bot4Error
from bot4.shm.wires import GAUGE_BEGAN_NS, GAUGE_HEARTBEAT_NS, RECORDER_ROW, Wires
from bot4.shm.wiring import attach_wires

CONFIG = Path(__file__).resolve().parents[3] / "config"
MS = 1e-6  # from ns
_SEGMENTS = "/dev/shm/bot4."
_COUNTED = {"Private_Dirty:": "private", "Pss:": "pss"}
_TIMEOUT_S = 300.0
_POLL_S = 0.001
T = TypeVar("T")
_OPTIONS = ("--feed", "synthetic", "--pace", "free", "--speed", "1x", "--compose", "processes", "--stay")


class Live:
    """One running session in a folder of its own, with the example settings; gone on exit.

    Parameters
    ----------
    kernel_cache : folder of compiled kernels; None: the one of this process
    """

    def __init__(self, kernel_cache: Path | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bot4-bench-")
        folder = Path(self._folder.name)
        shutil.copytree(CONFIG, folder / "config")
        environment = dict(os.environ)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else each start reads its own sources anew, as nobody's does
        if kernel_cache is not None:
            environment["BOT4_KERNEL_CACHE"] = str(kernel_cache)
        self._state = folder / "state"
        command = [sys.executable, "-m", "bot4.cli.supervisor", "start", *_OPTIONS]
        quiet = subprocess.DEVNULL
        self.began_ns = time.monotonic_ns()
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=quiet, stdout=quiet, stderr=subprocess.PIPE
        )

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._folder.cleanup()

    def until(self, look: Callable[[], T | None]) -> T:
        """Look again and again until there is something; an error if the session ends or nothing comes."""
        deadline = time.monotonic() + _TIMEOUT_S
        while (found := look()) is None:
            if self._process.poll() is not None:
                said = self._process.communicate()[1].decode(errors="replace").strip().splitlines()
                raise Bot4Error(f"the bench's session ended: {said[-1] if said else self._process.returncode}")
            if time.monotonic() > deadline:
                raise Bot4Error(f"the bench's session was not ready within {_TIMEOUT_S:.0f} s")
            time.sleep(_POLL_S)
        return found

    def instance(self) -> InstanceFile:
        """What runs, once all of it runs."""

        def look() -> InstanceFile | None:
            found = running_instance(self._state)
            return found if found is not None and found.began_ns and len(found.workers) == len(found.cores) else None

        return self.until(look)

    def wires(self, found: InstanceFile) -> Wires:
        """The session's shared memory."""
        return attach_wires(found.instance, found.n_shards, found.n_instruments, generation=found.generation).wires

    def ready_ns(self) -> int:
        """From the command to the moment when every worker's loop runs."""
        found = self.instance()
        began = self.wires(found).gauges[: found.n_shards + RECORDER_ROW, GAUGE_BEGAN_NS]  # it has no recorder
        return self.until(lambda: int(began.max()) - self.began_ns if began.all() else None)

    def heartbeat_after(self, wires: Wires, row: int, moment_ns: int) -> int:
        """Time of an agent's first heartbeat after a moment, monotonic."""
        beat = wires.gauges[row]
        return self.until(lambda: int(beat[GAUGE_HEARTBEAT_NS]) if beat[GAUGE_HEARTBEAT_NS] > moment_ns else None)


def held(pid: int) -> dict[str, float]:
    """MB that a process holds: `private` dirty and `pss`, the named segments of shared memory left out."""
    found = {"private": 0.0, "pss": 0.0}
    ours = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        word, _, rest = line.partition(" ")
        if "-" in word:
            ours = _SEGMENTS in line
        elif not ours and word in _COUNTED:
            found[_COUNTED[word]] += int(rest.split()[0]) * 1e-3
    return found


class Session:
    """The figures of one session a repeat; whoever asks first for one that has been taken starts the next session."""

    def __init__(self) -> None:
        self._found: dict[str, float] = {}

    def take(self, what: str, taken: Samples) -> None:
        """The figure `what`: warm, restart_polls (ms); <worker>_private, <worker>_pss (MB)."""
        if what not in self._found:
            self._found = self._run()
        taken.add_value(self._found.pop(what))

    def _run(self) -> dict[str, float]:
        with Live() as live:
            found = {"warm": live.ready_ns() * MS}
            running = live.instance()
            for name, process in running.workers.items():
                found |= {f"{name}_{part}": value for part, value in held(process.pid).items()}
            killed_ns = time.monotonic_ns()
            os.kill(running.workers["shard-0"].pid, signal.SIGKILL)
            polled_ns = live.heartbeat_after(live.wires(running), 0, killed_ns + 1_000_000)
            return found | {"restart_polls": (polled_ns - killed_ns) * MS}


@functools.cache
def session() -> Session:
    """The one that all suites of a run share."""
    return Session()
