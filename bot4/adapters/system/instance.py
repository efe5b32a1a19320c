"""One supervisor per state folder: the lock that says so, and the file that tells status and stop whom to talk to.

The lock is a flock, which the kernel drops with its holder, so it never outlives a crash. The name of the instance
comes from the folder's path: two folders never share segments, and whoever holds a folder's lock owns all segments of
its name.
"""

import fcntl
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from bot4.adapters.system.latch import FILE_NAME as LATCH_NAME
from bot4.adapters.system.latch import KillLatch
from bot4.adapters.system.process import ProcessId, open_process
from bot4.model.errors import Bot4Error, SettingsError

LOCK_NAME = "instance.lock"
INSTANCE_NAME = "instance.json"
_INITIALISED = b"the kill latch of this folder has been made; without its file it counts as tripped\n"


def instance_of(folder: Path) -> str:
    """The instance's name: part of its segments' names."""
    return "b" + hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:12]


@dataclass(slots=True)
class InstanceFile:
    """What a running instance says about itself."""

    instance: str
    supervisor: ProcessId
    generation: int  # of the shared memory
    n_shards: int
    n_instruments: int
    started_ns: int  # wall clock
    began_ns: int  # monotonic: when the last worker had been started; 0 before
    session_folder: str
    report_folder: str
    label: dict[str, Any] = field(default_factory=dict)  # what does not change while it runs, for whoever shows it
    template: ProcessId | None = None
    workers: dict[str, ProcessId] = field(default_factory=dict)
    cores: dict[str, int | None] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    rows: dict[str, list[int]] = field(default_factory=dict)  # of the gauges, by worker

    def processes(self) -> dict[str, ProcessId]:
        """Everything below the supervisor, by name."""
        found = dict(self.workers)
        if self.template is not None:
            found["template"] = self.template
        return found


class InstanceLock:
    """The lock on one state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / LOCK_NAME
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock, make the latch of a new folder. Bot4Error if another supervisor has it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise SettingsError(
                f"state folder {self.folder} cannot be used ({error.strerror}); name one that you may write, "
                "as folder below [state] in the session's file"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            running = read_instance(self.folder)
            who = f" (pid {running.supervisor.pid})" if running is not None else ""
            raise Bot4Error(
                f"another supervisor{who} runs on state folder {self.folder}; "
                "stop it first, or use another [state] folder"
            ) from None
        self._descriptor = descriptor
        self._make_latch()

    def _make_latch(self) -> None:
        if os.fstat(self._descriptor).st_size:
            return  # initialised before: a missing latch file now means tripped
        used = any(path.name != LOCK_NAME for path in self.folder.iterdir() if _is_ours(path.name))
        if not used:
            KillLatch(self.folder).initialise()
        os.pwrite(self._descriptor, _INITIALISED, 0)
        os.fsync(self._descriptor)

    def release(self) -> None:
        """Give the lock back; the file stays."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _is_ours(name: str) -> bool:
    return name in (LATCH_NAME, INSTANCE_NAME, "sessions")


def write_instance(folder: Path, content: InstanceFile) -> None:
    """Replace instance.json, whole or not at all."""
    target = folder / INSTANCE_NAME
    fresh = folder / f"{INSTANCE_NAME}.new"
    fresh.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    fresh.replace(target)


def read_instance(folder: Path) -> InstanceFile | None:
    """What the last instance on this folder said about itself; None if there is nothing readable."""
    try:
        found = orjson.loads((Path(folder) / INSTANCE_NAME).read_bytes())
        found["supervisor"] = ProcessId(**found["supervisor"])
        found["template"] = ProcessId(**found["template"]) if found["template"] else None
        found["workers"] = {name: ProcessId(**identity) for name, identity in found["workers"].items()}
        return InstanceFile(**found)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def running_instance(folder: Path) -> InstanceFile | None:
    """The instance that runs on this folder now, None if none does."""
    found = read_instance(folder)
    return found if found is not None and found.supervisor.alive else None


def remove_instance(folder: Path) -> None:
    """Forget the instance: it has ended."""
    (folder / INSTANCE_NAME).unlink(missing_ok=True)


def kill_orphans(folder: Path) -> list[str]:
    """End what a dead supervisor of this folder left running, by pid and start time only; say what was ended.

    The caller holds the lock.
    """
    found = read_instance(folder)
    if found is None:
        return []
    ended = []
    for name, identity in found.processes().items():
        handle = open_process(identity)
        if handle is None:
            continue
        try:
            if not handle.kill():
                raise Bot4Error(f"{name} (pid {identity.pid}) of an earlier run does not end; end it by hand")
            ended.append(f"{name} (pid {identity.pid})")
        finally:
            handle.close()
    return ended
