"""Pinning: a worker pins itself and reports the core the kernel says it has. `settings.topology` decides where to.

Feed and shards, on the wall clock, also ask to be run before others that share their core: on a core of its own that
changes nothing, beside others it halves the slowest hundredth of what waits in the socket.
"""

import os
from contextlib import suppress

from bot4.model.errors import SettingsError

FAVOURED = -10  # as `nice` counts


def available_cores() -> list[int]:
    """Cores this process may run on."""
    return sorted(os.sched_getaffinity(0))


def pin(core: int | None) -> int | None:
    """Pin this process to `core` (None: leave it) and return the one core it now has, None if it has several."""
    if core is not None:
        try:
            os.sched_setaffinity(0, {core})
        except OSError:
            usable = ", ".join(map(str, available_cores()))
            raise SettingsError(f"topology: core {core} cannot be used here; usable are {usable}") from None
    return pinned_core(0)


def favour() -> None:
    """Ask that this process be run before others; where that is not allowed it is not, and `bot4-doctor` says so."""
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, FAVOURED)


def pinned_core(pid: int) -> int | None:
    """The one core that a process is pinned to; None if it has several, or is gone."""
    try:
        cores = os.sched_getaffinity(pid)
    except OSError:
        return None
    return next(iter(cores)) if len(cores) == 1 else None
