"""Pinning: a worker pins itself and reports the core the kernel says it has. `settings.topology` decides where to."""

import os

from bot4.model.errors import SettingsError


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


def pinned_core(pid: int) -> int | None:
    """The one core that a process is pinned to; None if it has several, or is gone."""
    try:
        cores = os.sched_getaffinity(pid)
    except OSError:
        return None
    return next(iter(cores)) if len(cores) == 1 else None
