"""Named shared memory that is private, verified and of full size: one posix_ipc segment, one int64 array.

Why not multiprocessing.shared_memory: before Python 3.13 a process that only attached removes the owner's segment
when it exits. Why posix_fallocate and not a size at creation: a full /dev/shm then fails here, by name, instead of
killing some process with SIGBUS at its first store. Where it stands: made by whoever starts the bot, before it forks.

A segment is `header | payload`; the header's words are in `layout`. The magic is stored last, when the payload is laid,
so whoever finds it half made refuses it. Nobody but the creator of a segment removes it.
"""

import contextlib
import ctypes
import errno
import functools
import hashlib
import mmap
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import posix_ipc

from bot4.model import records
from bot4.model.errors import SegmentError
from bot4.shm import layout
from bot4.shm.layout import (
    SEGMENT_GENERATION_WORD,
    SEGMENT_HEADER_WORDS,
    SEGMENT_LAYOUT_WORD,
    SEGMENT_MAGIC,
    SEGMENT_MAGIC_WORD,
    SEGMENT_OWNER_PID_WORD,
    SEGMENT_OWNER_START_WORD,
    SEGMENT_SIZE_WORD,
)

FOLDER = Path("/dev/shm")  # where Linux keeps POSIX shared memory
MODE = 0o600
WORD = records.WORD
_PART = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")  # no dot: the prefix of one instance is never that of another
_RECORDS = ("TICK", "ORDER_INTENT", "EXEC_REPORT", "PORTFOLIO_TOTALS", "INSTRUMENT", "LIMITS", "SESSION")


def segment_name(instance: str, role: str, uid: int | None = None) -> str:
    """The name /bot4.<uid>.<instance>.<role>; SegmentError if a part holds more than lower case, digits, - and _."""
    for part in (instance, role):
        if not _PART.fullmatch(part):
            raise SegmentError(f"{part!r} cannot be part of a segment's name; 1 to 32 of a-z, 0-9, '-', '_'")
    return f"/bot4.{os.getuid() if uid is None else uid}.{instance}.{role}"


@functools.cache
def layout_hash(contents: str = "") -> int:
    """What both sides must agree on: the words of `layout`, the records byte for byte, and what the payload holds."""
    digest = hashlib.sha256(contents.encode())
    for name, value in sorted(vars(layout).items()):
        if name.isupper() and isinstance(value, int):
            digest.update(f"{name}={value};".encode())
    for name in _RECORDS:
        fields = sorted((at[1], field, at[0].str) for field, at in getattr(records, name).fields.items())
        digest.update(f"{name}={fields};".encode())
    return int.from_bytes(digest.digest()[:8], "little") >> 1  # 63 bits: an int64


def process_start(pid: int) -> int:
    """Start time of a process, clock ticks since boot, 0 if there is none: with the pid it names one for good."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = text[text.rindex(")") + 2 :].split()
    return 0 if fields[0] in "ZX" else int(fields[19])  # a zombie holds nothing any more


def nameless_words(rows: int, columns: int) -> np.ndarray:
    """Zeroed memory, int64[rows, columns], that this process shares with those it forks; it goes with the last one."""
    if not rows * columns:
        return np.zeros((rows, columns), np.int64)
    pages = mmap.mmap(-1, rows * columns * 8)
    return np.frombuffer(pages, np.int64).reshape(rows, columns)


class Segment:
    """One mapped segment. `words` is its payload, int64[n], writable, aligned to 128 bytes."""

    def __init__(self, name: str, descriptor: int, size: int) -> None:
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)  # pre-faulted: no page fault on the hot path
        self.name = name
        self.inode = os.fstat(descriptor).st_ino
        self._map: mmap.mmap | None = mmap.mmap(descriptor, size, flags, mmap.PROT_READ | mmap.PROT_WRITE)
        everything = np.frombuffer(self._map, np.int64)
        self.header: np.ndarray = everything[:SEGMENT_HEADER_WORDS]
        self.words: np.ndarray = everything[SEGMENT_HEADER_WORDS:]
        self.locked = _lock(everything)

    @property
    def generation(self) -> int:
        """Which start of the bot made this segment."""
        return int(self.header[SEGMENT_GENERATION_WORD])

    def close(self) -> None:
        """Let go of the memory. Arrays that others still hold keep it mapped until the last of them is gone."""
        mapped, self._map = self._map, None
        self.header = self.words = np.zeros(0, np.int64)
        if mapped is not None:
            with contextlib.suppress(BufferError):  # an array lives on: the map goes with its last reference
                mapped.close()

    def unlink(self) -> None:
        """Remove the name, if it still means this very segment; the memory lives until the last process lets go."""
        try:
            if os.lstat(_path(self.name)).st_ino == self.inode:
                posix_ipc.unlink_shared_memory(self.name)
        except (FileNotFoundError, posix_ipc.ExistentialError):
            pass  # somebody removed it already


def create(
    name: str,
    n_words: int,
    *,
    contents: str = "",
    generation: int = 1,
    lay: Callable[[np.ndarray], object] | None = None,
) -> Segment:
    """Make a segment that did not exist and fill it with zeros.

    Parameters
    ----------
    name : from `segment_name`
    n_words : payload words, > 0
    contents : description of the payload, part of the layout hash
    generation : number of this start of the bot, >= 0
    lay : called with the payload before anybody can attach

    Raises
    ------
    SegmentError
        the name is taken, or there is no room; nothing is left behind
    """
    size = (SEGMENT_HEADER_WORDS + n_words) * WORD
    try:
        handle = posix_ipc.SharedMemory(name, flags=posix_ipc.O_CREX, mode=MODE, size=0)
    except posix_ipc.ExistentialError:
        raise SegmentError(
            f"segment {name} exists already: a bot of this instance runs or has left it behind; {_way_out(name)}"
        ) from None
    except (OSError, posix_ipc.Error) as error:
        raise SegmentError(f"segment {name} cannot be made: {error}; {_cure(error, _way_out(name))}") from None
    try:
        os.fchmod(handle.fd, MODE)  # whatever the umask was
        os.posix_fallocate(handle.fd, 0, size)
        segment = Segment(name, handle.fd, size)
        header = segment.header
        header[SEGMENT_OWNER_PID_WORD] = os.getpid()
        header[SEGMENT_OWNER_START_WORD] = process_start(os.getpid())
        header[SEGMENT_LAYOUT_WORD] = layout_hash(contents)
        header[SEGMENT_SIZE_WORD] = n_words
        header[SEGMENT_GENERATION_WORD] = generation
        if lay is not None:
            lay(segment.words)
        header[SEGMENT_MAGIC_WORD] = SEGMENT_MAGIC
        return segment
    except BaseException as error:
        handle.unlink()
        if isinstance(error, (OSError, ValueError, OverflowError)):
            cure = _cure(error, f"free {FOLDER}")
            raise SegmentError(f"segment {name} of {size:,} bytes cannot be filled: {error}; {cure}") from None
        raise
    finally:
        handle.close_fd()


def attach(name: str, n_words: int, *, contents: str = "", generation: int | None = None) -> Segment:
    """Map a segment that another process made, after proving that it is what this process expects.

    Parameters
    ----------
    name, n_words, contents : as given to `create`
    generation : refuse any other; None takes what is there

    Raises
    ------
    SegmentError
        names the segment and what is wrong; nothing has been written
    """
    size = (SEGMENT_HEADER_WORDS + n_words) * WORD
    try:
        handle = posix_ipc.SharedMemory(name)  # shm_open follows no symbolic link
    except posix_ipc.ExistentialError:
        raise SegmentError(f"segment {name} does not exist: start the bot first") from None
    except (OSError, ValueError, posix_ipc.Error) as error:
        raise SegmentError(f"segment {name} cannot be opened: {error}") from None
    try:
        _refuse(name, _fault_of_file(os.fstat(handle.fd), size))
        segment = Segment(name, handle.fd, size)
    finally:
        handle.close_fd()
    fault = _fault_of_header(segment.header, n_words, layout_hash(contents), generation)
    if fault:
        segment.close()
    _refuse(name, fault)
    return segment


def owner_alive(name: str) -> bool:
    """True if the process that made this segment runs; False if it is gone or the segment was never finished."""
    try:
        with open(_path(name), "rb", opener=_open_no_follow) as file:
            content = file.read(SEGMENT_HEADER_WORDS * WORD)
    except OSError:
        return False
    header = np.frombuffer(content.ljust(SEGMENT_HEADER_WORDS * WORD, b"\0"), np.int64)
    started = int(header[SEGMENT_OWNER_START_WORD])
    return started != 0 and process_start(int(header[SEGMENT_OWNER_PID_WORD])) == started


def _path(name: str) -> str:
    return f"{FOLDER}{name}"


def _open_no_follow(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _refuse(name: str, fault: str) -> None:
    if fault:
        raise SegmentError(f"segment {name} is refused: {fault}; {_way_out(name)}")


def _way_out(name: str) -> str:
    return f"if none runs, see who made it (ls -l {FOLDER}{name}), remove it and start again"


def _cure(error: BaseException, usual: str) -> str:
    return "allow more open files (ulimit -n)" if getattr(error, "errno", 0) == errno.EMFILE else usual


def _fault_of_file(found: os.stat_result, size: int) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "it is not a plain file"
    if found.st_uid != os.getuid():
        return f"its owner is user {found.st_uid}, not {os.getuid()}"
    if stat.S_IMODE(found.st_mode) != MODE:
        return f"its mode is {stat.S_IMODE(found.st_mode):04o}, not {MODE:04o}"
    if found.st_size != size:
        return f"its size is {found.st_size:,} bytes, not {size:,}"
    return ""


def _fault_of_header(header: np.ndarray, n_words: int, layout_word: int, generation: int | None) -> str:
    if header[SEGMENT_MAGIC_WORD] != SEGMENT_MAGIC:
        return "it is not a segment of Bot4, or was never finished"
    if header[SEGMENT_LAYOUT_WORD] != layout_word:
        return "its layout is another version's; stop the bot that made it"
    if header[SEGMENT_SIZE_WORD] != n_words:
        return f"its header says {int(header[SEGMENT_SIZE_WORD]):,} words, not {n_words:,}"
    if generation is not None and header[SEGMENT_GENERATION_WORD] != generation:
        return f"its generation is {int(header[SEGMENT_GENERATION_WORD])}, not {generation}"
    return ""


def _lock(memory: np.ndarray) -> bool:
    """Keep the pages in memory; False where the user's limit forbids it, which costs nothing but a risk under swap."""
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.mlock(ctypes.c_void_p(memory.ctypes.data), ctypes.c_size_t(memory.nbytes)) == 0
