"""Suite `memory`: what each worker of a running session holds, in MB of 10^6 bytes.

`*_private`: pages that are its own and changed, the named segments of shared memory left out. `*_pss`: all that it has
mapped, each page divided by the number of processes that share it: the template's pages count one part in the number of
workers and template, which the case names. The limit is an interpreter that has imported NumPy and Numba.
"""

import functools
import subprocess
import sys

from bot4.cli.measure.harness import Case, Samples
from bot4.cli.measure.live import held, session

_WORKERS = ("shard-0", "execution", "feed", "venue")
_SHARERS = len(_WORKERS) + 1


def _interpreter(taken: Samples) -> None:
    program = "import numba, numpy, sys; print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        taken.add_value(held(process.pid)["private"])
        process.stdin.close()


def limits(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """What a process of its own would hold before it has done anything."""
    return [Case("interpreter_private", "MB", _interpreter)]


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases."""
    return [
        Case(
            f"{name}_{part}" + (f"_{_SHARERS}_sharers" if part == "pss" else ""),
            "MB",
            functools.partial(session().take, f"{name}_{part}"),
            limit="interpreter_private",
        )
        for name in _WORKERS
        for part in ("private", "pss")
    ]
