"""One supervisor per state folder: the lock that says so, and the file that tells status and stop whom to talk to.

The lock is a flock, which the kernel drops with its holder, so it never outlives a crash. The name of the instance
comes from the folder's path: two folders never share segments, and whoever holds a folder's lock owns all segments of
its name.
"""

import fcntl
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
import orjson
import psutil
from msgspec import Meta

from bot4.adapters.system.latch import FILE_NAME as LATCH_NAME
from bot4.adapters.system.latch import KillLatch
from bot4.adapters.system.process import ProcessId, open_process
from bot4.model.errors import Bot4Error, SettingsError
from bot4.settings.schema import MAX_INSTRUMENTS, MAX_SHARDS
from bot4.shm.wires import N_OTHER_ROWS

LOCK_NAME = "instance.lock"
INSTANCE_NAME = "instance.json"
_INITIALISED = b"the kill latch of this folder has been made; without its file it counts as tripped\n"


def instance_of(folder: Path) -> str:
    """The instance's name: part of its segments' names."""
    return "b" + hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:12]


Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Signed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Row = Annotated[int, Meta(ge=0, lt=MAX_SHARDS + N_OTHER_ROWS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLabel:
    """What stays the same while a session runs, for whoever shows it."""

    instance: str
    feed: str
    synthetic: bool
    pace: str
    speed: str
    symbols: tuple[str, ...]
    values_e8: tuple[Signed, ...]  # value of one tick x lot, by instrument
    start_equity_e8: Signed
    venues: tuple[str, ...] = ()  # of a live feed: by instrument


@dataclass(slots=True)
class InstanceFile:
    """What a running instance says about itself; a file that does not fit these types is not readable."""

    instance: Annotated[str, Meta(pattern="^b[0-9a-f]{1,12}$")]
    supervisor: ProcessId
    generation: Count  # of the shared memory
    n_shards: Annotated[int, Meta(ge=1, le=MAX_SHARDS)]
    n_instruments: Annotated[int, Meta(ge=1, le=MAX_INSTRUMENTS)]
    started_ns: Count  # wall clock
    began_ns: Count  # monotonic: when the last worker had been started; 0 before
    session_folder: str
    report_folder: str
    inputs_folder: str = ""  # what this start was given
    label: SessionLabel | None = None
    template: ProcessId | None = None
    workers: dict[str, ProcessId] = field(default_factory=dict)
    cores: dict[str, int | None] = field(default_factory=dict)
    restarts: dict[str, Count] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=dict)  # of the gauges, by worker

    def processes(self) -> dict[str, ProcessId]:
        """Everything below the supervisor, by name."""
        found = dict(self.workers)
        if self.template is not None:
            found["template"] = self.template
        return found

    def consistent(self) -> bool:
        """True if the parts fit each other."""
        label, last_row = self.label, self.n_shards + N_OTHER_ROWS - 1
        return (
            self.rows.keys() == self.cores.keys() == self.restarts.keys()
            and all(rows and max(rows) <= last_row for rows in self.rows.values())
            and (label is None or len(label.symbols) == len(label.values_e8) == self.n_instruments)
        )


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
        found = msgspec.json.decode((Path(folder) / INSTANCE_NAME).read_bytes(), type=InstanceFile)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found if found.consistent() else None


def running_instance(folder: Path) -> InstanceFile | None:
    """The instance that runs on this folder now, None if none does."""
    found = read_instance(folder)
    return found if found is not None and found.supervisor.alive else None


def running_folders() -> list[Path]:
    """State folders, wherever they lie, on which a supervisor of this user runs now: whoever holds a lock open."""
    found: set[Path] = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.uids().real == os.getuid():
                opened = map(_target, Path(f"/proc/{process.pid}/fd").iterdir())
                found.update(path.parent for path in opened if path.name == LOCK_NAME)
    return sorted(folder for folder in found if running_instance(folder) is not None)


def _target(link: Path) -> Path:
    with suppress(OSError):  # closed since it was listed
        return link.readlink()
    return Path()


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
