"""The kill latch on disk: once tripped it stays so, through crashes and restarts, until a person resets it.

    byte 0    slot 0  (512 bytes)      magic | version | generation | state | time | length | reason | check sum
    byte 512  slot 1  (512 bytes)      the same

A change writes the older slot with the next generation and syncs file and folder, so a torn write never destroys the
last word. Only a file of exactly two whole slots with neighbouring generations, the newer one clear, reads as clear.
Everything else is tripped: missing after it was once there, short, long, a folder, unreadable, or one byte changed.

Plain Python without any of the compiled parts: it serves before anything is compiled and when all else is broken.
"""

import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bot4.model.errors import Bot4Error, InputError

FILE_NAME = "kill.latch"
SLOT_BYTES = 512
_HEAD = struct.Struct("<8sIIqqI")  # magic, version, state, generation, time, bytes of reason
_MAGIC = b"BOT4KILL"
_VERSION = 1
_CLEAR = 0x0C1EA400  # far apart in bits, so that no flipped bit makes one the other
_TRIPPED = 0x7F1BB3D5
_SUM_BYTES = 16
REASON_BYTES = SLOT_BYTES - _HEAD.size - _SUM_BYTES


class LatchState(NamedTuple):
    """What the latch says."""

    tripped: bool
    reason: str
    since_ns: int  # wall clock of the last change, 0 if not known
    generation: int
    damaged: bool  # tripped because the file cannot be trusted


@dataclass(frozen=True, slots=True)
class _Slot:
    tripped: bool
    generation: int
    since_ns: int
    reason: str


def is_tripped(path: str | os.PathLike) -> bool:
    """True unless the latch at `path` is provably clear. About 10 us: one open and one read of 1 KiB."""
    return read(path).tripped


def read(path: str | os.PathLike) -> LatchState:
    """What the latch at `path` says; never raises."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(2 * SLOT_BYTES + 1)
    except FileNotFoundError:
        return _damage("the latch file is missing")
    except OSError as error:
        return _damage(f"the latch file cannot be read: {error.strerror}")
    if len(content) != 2 * SLOT_BYTES:
        return _damage(f"the latch file has {len(content)} bytes instead of {2 * SLOT_BYTES}")
    slots = [_unpack(content[at : at + SLOT_BYTES]) for at in (0, SLOT_BYTES)]
    whole = sorted((slot for slot in slots if slot is not None), key=lambda slot: slot.generation)
    if len(whole) == 2 and whole[1].generation == whole[0].generation + 1:
        newest = whole[1]
        return LatchState(newest.tripped, newest.reason, newest.since_ns, newest.generation, False)
    if whole and whole[-1].tripped:
        newest = whole[-1]
        return LatchState(True, newest.reason, newest.since_ns, newest.generation, True)
    return _damage("the latch file is damaged", whole[-1].generation if whole else 0)


class KillLatch:
    """The latch in one state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / FILE_NAME

    def read(self) -> LatchState:
        """What it says now; never raises."""
        return read(self.path)

    def initialise(self) -> None:
        """Make a clear latch where none has ever been; the caller holds the folder's lock and knows that it is new."""
        with self._writer() as descriptor:
            if os.fstat(descriptor).st_size == 0:
                now = time.time_ns()
                self._write(descriptor, 1, _pack(False, 1, now, "never set"))
                self._write(descriptor, 0, _pack(False, 2, now, "never set"))

    def trip(self, reason: str) -> LatchState:
        """Trip it; anybody may, at any time. Returns when it is on disk.

        What tripped it first stays the reason, and its time; what comes later is told behind it.
        """
        return self._change(True, _reason(reason, "kill"))

    def reset(self, reason: str) -> LatchState:
        """Clear it; only a person's command calls this."""
        return self._change(False, _reason(reason, "reset"))

    def _change(self, tripped: bool, reason: str) -> LatchState:
        with self._writer() as descriptor:
            content = os.pread(descriptor, 2 * SLOT_BYTES, 0)
            slots = [_unpack(content[at : at + SLOT_BYTES]) for at in (0, SLOT_BYTES)]
            now = time.time_ns()
            newest = max((slot.generation for slot in slots if slot is not None), default=0)
            target = _older(slots)
            kept = slots[1 - target]
            if tripped and kept is not None and kept.tripped and kept.generation == newest:
                now, reason = kept.since_ns, kept.reason if reason in kept.reason else f"{kept.reason}; then: {reason}"
            if kept is None or kept.generation != newest or os.fstat(descriptor).st_size != 2 * SLOT_BYTES:
                # what stays beside the new word cannot be trusted: make it a whole, tripped one first
                newest += 1
                os.ftruncate(descriptor, 2 * SLOT_BYTES)
                self._write(descriptor, 1 - target, _pack(True, newest, now, "the latch file was damaged"))
            self._write(descriptor, target, _pack(tripped, newest + 1, now, reason))
        return self.read()

    @contextmanager
    def _writer(self) -> Iterator[int]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise Bot4Error(f"kill latch {self.path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # writers one by one; readers need no lock
            yield descriptor
        except OSError as error:
            raise Bot4Error(f"kill latch {self.path} cannot be written: {error.strerror}") from None
        finally:
            os.close(descriptor)

    def _write(self, descriptor: int, slot: int, content: bytes) -> None:
        os.pwrite(descriptor, content, slot * SLOT_BYTES)
        os.fsync(descriptor)  # a failure is final: it is raised, never tried again
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _older(slots: list[_Slot | None]) -> int:
    first, second = slots
    if first is None or second is None:
        return 0 if first is None else 1
    return 0 if first.generation < second.generation else 1


def _pack(tripped: bool, generation: int, now_ns: int, reason: str) -> bytes:
    text = reason.encode()[:REASON_BYTES].decode(errors="ignore").encode()
    head = _HEAD.pack(_MAGIC, _VERSION, _TRIPPED if tripped else _CLEAR, generation, now_ns, len(text))
    body = (head + text).ljust(SLOT_BYTES - _SUM_BYTES, b"\0")
    return body + hashlib.blake2b(body, digest_size=_SUM_BYTES).digest()


def _unpack(content: bytes) -> _Slot | None:
    if len(content) != SLOT_BYTES:
        return None
    body, check = content[:-_SUM_BYTES], content[-_SUM_BYTES:]
    if hashlib.blake2b(body, digest_size=_SUM_BYTES).digest() != check:
        return None
    magic, version, state, generation, since_ns, length = _HEAD.unpack_from(body)
    if magic != _MAGIC or version != _VERSION or state not in (_CLEAR, _TRIPPED):
        return None
    reason = body[_HEAD.size : _HEAD.size + length].decode(errors="replace")
    return _Slot(state == _TRIPPED, generation, since_ns, reason)


def _damage(reason: str, generation: int = 0) -> LatchState:
    return LatchState(True, reason, 0, generation, True)


def _reason(text: str, verb: str) -> str:
    text = " ".join(text.split())
    if not text:
        raise InputError(f'{verb}: --reason is empty; say why, like --reason "fat finger on ETH"')
    return text
