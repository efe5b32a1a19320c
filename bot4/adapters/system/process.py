"""Other processes, named so that a reused pid cannot be mistaken: pid and start time, then a pidfd.

A bare pid names whoever has it now; a pidfd names one process for good, is readable the moment it ends, and is the only
way a signal leaves this file.
"""

import ctypes
import os
import resource
import select
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from bot4.model.errors import Bot4Error
from bot4.shm.segment import process_start

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_TIMERSLACK = 29
_PR_SET_NAME = 15


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process for good: `start` is its start time in clock ticks since boot."""

    pid: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    start: Annotated[int, Meta(ge=0, le=2**63 - 1)]

    @property
    def alive(self) -> bool:
        """True while this very process runs."""
        return self.start != 0 and process_start(self.pid) == self.start


def identify(pid: int) -> ProcessId:
    """The identity of a process that runs now; start 0 if there is none."""
    return ProcessId(pid, process_start(pid))


class Handle:
    """A pidfd on one process. Closing it does nothing to the process."""

    def __init__(self, identity: ProcessId, descriptor: int) -> None:
        self.identity = identity
        self.descriptor = descriptor

    def fileno(self) -> int:
        """For poll: readable when the process has ended."""
        return self.descriptor

    @property
    def ended(self) -> bool:
        """True once the process has ended, reaped or not."""
        return self.wait(0.0)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end; False if the process outlived the time."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def send(self, number: int) -> bool:
        """Signal the process; False if it has ended."""
        try:
            signal.pidfd_send_signal(self.descriptor, number)
        except ProcessLookupError:
            return False
        return True

    def kill(self, timeout_s: float = 10.0) -> bool:
        """SIGKILL and wait; False if the process is still there after the time (stuck in the kernel)."""
        self.send(signal.SIGKILL)
        return self.wait(timeout_s)

    def close(self) -> None:
        """Let go of the descriptor."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def open_process(identity: ProcessId) -> Handle | None:
    """A handle on exactly this process; None if it is gone, even when its pid has a new owner.

    The pidfd is opened first and the start time compared after: what the descriptor means can no longer change.
    """
    try:
        descriptor = os.pidfd_open(identity.pid)
    except (OSError, OverflowError):  # ESRCH, or EINVAL for a pid that no process can have
        return None
    if not identity.alive:
        os.close(descriptor)
        return None
    return Handle(identity, descriptor)


def open_child(pid: int) -> Handle:
    """A handle on a child that has just been forked and not been reaped (its pid is still its own)."""
    return Handle(identify(pid), os.pidfd_open(pid))


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends; leave at once if it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def name_process(name: str) -> None:
    """The name that ps and top show (15 bytes)."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _prctl(_PR_SET_NAME, ctypes.addressof(buffer))


def hide_memory() -> None:
    """No core dump and no debugger shows what this process knows."""
    _prctl(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def sharpen_timers() -> None:
    """Let a sleep of 50 us be one: the default timer slack adds as much again."""
    _prctl(_PR_SET_TIMERSLACK, 1)


def aim_out_of_memory(score: int) -> None:
    """Where memory is short the kernel kills the highest score first: 0 to 1000, added to a process's share of it."""
    with suppress(PermissionError):  # only whoever was made harder to kill may not say so
        Path("/proc/self/oom_score_adj").write_text(str(score))


def run_state(pid: int) -> tuple[str, int] | None:
    """A process's state (R runs or waits for a core, S sleeps, T is stopped) and its CPU time in ns; None: gone."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        return state, int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    except (OSError, IndexError, ValueError):
        return None


def thread_count() -> int:
    """Threads of this process."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def memory_mb(pid: int) -> tuple[float, float] | None:
    """(proportional, private) memory in MB, None if the kernel does not tell."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    kilobytes = {}
    for line in text.splitlines()[1:]:
        name, _, rest = line.partition(":")
        kilobytes[name] = int(rest.split()[0])
    private = kilobytes.get("Private_Clean", 0) + kilobytes.get("Private_Dirty", 0)
    return round(kilobytes.get("Pss", 0) / 1024, 1), round(private / 1024, 1)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero) != 0:
        raise Bot4Error(f"prctl({option}) is refused: {os.strerror(ctypes.get_errno())}")
