"""Compiles the simulated venue beside the template: on an empty cache that halves the time to the first tick.

The venue is about as much to compile as feed, shard and execution together, and Numba compiles on one core. What this
process compiles lands in the cache on disk, where the template finds it. Usage: python -m workers.precompile
"""

import subprocess
import sys

import numpy as np

from bot4.adapters.sim import venue_loop
from bot4.jit import JIT, cache_root, source_digest
from bot4.model.records import INSTRUMENT, SESSION
from bot4.shm.wires import private_wires


def start() -> subprocess.Popen[bytes] | None:
    """Begin, if the cache has nothing of the venue yet; the caller waits for the process."""
    if not JIT or (cache_root() / source_digest(str(venue_loop.__file__))).is_dir():
        return None
    return subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.DEVNULL)


def main() -> None:
    """One call with the types of a session is enough."""
    venue = venue_loop.venue_memory(1, 0)
    venue_loop.venue_step(venue, private_wires(1, 1), np.zeros(1, INSTRUMENT), np.zeros(1, SESSION), 1)


if __name__ == "__main__":
    main()
