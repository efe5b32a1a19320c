"""Snapshots of what the journal folds to, so that a restart folds the rest alone.

    journal.bin.snap-SEQ    magic, seq, check sum of record SEQ, digest of tables, layout and code; then the arrays of
                            execution's memory as they are; at last a check sum of all of it

A snapshot is not taken from the memory that trades. A thread folds the journal a second time, behind what is appended,
into memory of its own and writes that down each EVERY records: so by construction a snapshot with the rest folded is
the fold of everything, no step waits for it, and a journal that would not fold is noticed while execution still runs.
"""

import contextlib
import hashlib
import os
import re
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bot4.engine.execution_memory import ExecutionMemory
from bot4.engine.journal import JournalFile, sync_folder
from bot4.model.errors import JournalError

EVERY = 100_000  # records
KEPT = 2  # the newest ones; older ones are removed
_HEAD = struct.Struct("<8sqq16s")  # magic, seq, check sum of that record, digest
_MAGIC = b"BOT4SNP1"
_SUM_BYTES = 16

Fold = Callable[[ExecutionMemory, int, int], int]


def folded_arrays(memory: ExecutionMemory) -> list[np.ndarray]:
    """What folding fills: orders, account, positions, views, moves, limits and figures; neither journal nor scratch."""
    return [
        memory.orders, memory.free, memory.account, memory.positions, memory.views, *memory.known, memory.stats,
        memory.failed_ns, memory.shard_bucket_ns, memory.denied_bucket_ns, memory.untold, memory.limit_words,
        memory.next_words, memory.tightened,
    ]  # fmt: skip


def digest_of(memory: ExecutionMemory, tables: tuple[np.ndarray, ...], code: str) -> bytes:
    """What a snapshot depends on beside the journal: 16 bytes of settings, layout, code and what `memory`, into which
    nothing has been folded, knows of before the session.
    """
    digest = hashlib.blake2b(code.encode(), digest_size=16)
    for array in (*tables, *folded_arrays(memory)):
        digest.update(f"{array.dtype.descr}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.digest()


def snapshots_of(path: Path) -> list[tuple[int, Path]]:
    """The snapshots beside a journal, (seq, file), newest first."""
    name = re.compile(re.escape(path.name) + r"\.snap-([1-9][0-9]{0,9})")
    found = [(int(match[1]), file) for file in path.parent.iterdir() if (match := name.fullmatch(file.name))]
    return sorted(found, reverse=True)


def read_snapshot(file: Path, seq: int, crc: int) -> tuple[bytes, memoryview] | None:
    """Digest and content of a snapshot that is whole and speaks of record `seq` with this check sum; else None."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    body, told = content[:-_SUM_BYTES], content[-_SUM_BYTES:]
    if len(content) < _HEAD.size + _SUM_BYTES or hashlib.blake2b(body, digest_size=_SUM_BYTES).digest() != told:
        return None
    magic, of, sum_of, digest = _HEAD.unpack_from(body)
    if magic != _MAGIC or of != seq or sum_of != crc:
        return None
    return digest, memoryview(body)[_HEAD.size :]


def check_snapshots(path: Path, records: np.ndarray) -> list[int]:
    """The records that a journal's snapshots speak of, newest first; JournalError names one that is damaged."""
    found = snapshots_of(path)
    for seq, file in found:
        if seq > len(records) or read_snapshot(file, seq, int(records["crc"][seq - 1])) is None:
            raise JournalError(f"{file}: not what record {seq} led to, or damaged; remove it, a start does without")
    return [seq for seq, _ in found]


class Snapshots:
    """The snapshots of one journal: read at the start, written by a thread while execution goes on.

    Parameters
    ----------
    journal : open and checked
    digest : of `digest_of`
    fold : folds records first .. count into a memory; returns 0, or the number of the record that contradicts
    fresh : makes a memory that nothing has been folded into
    """

    def __init__(
        self, journal: JournalFile, digest: bytes, fold: Fold, fresh: Callable[[], ExecutionMemory], every: int = EVERY
    ) -> None:
        self._journal, self._digest, self._fold, self._fresh = journal, digest, fold, fresh
        self._every = every
        self._memory: ExecutionMemory | None = None
        self._folded = 0  # records in `_memory`, once there is one
        self._due = (journal.count // every + 1) * every
        self._thread: threading.Thread | None = None
        self.fault = ""  # why there are no further ones

    def load(self, memory: ExecutionMemory) -> int:
        """Fill a fresh memory from the newest snapshot that fits. Returns how many records that covers, 0 for none."""
        for seq, file in snapshots_of(self._journal.path):
            if seq > self._journal.count:
                continue
            found = read_snapshot(file, seq, int(self._journal.table["crc"][seq - 1]))
            arrays = folded_arrays(memory)
            if found is None or found[0] != self._digest or len(found[1]) != sum(one.nbytes for one in arrays):
                continue
            at = 0
            for array in arrays:
                source = np.frombuffer(found[1][at : at + array.nbytes], array.dtype)
                array[...] = source.reshape(array.shape)
                at += array.nbytes
            return seq
        return 0

    def look(self) -> None:
        """Begin the next snapshot if it is due; costs nothing but a look otherwise."""
        if self._journal.count < self._due or (self._thread is not None and self._thread.is_alive()) or self.fault:
            return
        self._due = (self._journal.count // self._every + 1) * self._every
        self._thread = threading.Thread(target=self._take, name="journal-snapshot", daemon=True)
        self._thread.start()

    def _take(self) -> None:
        try:
            if self._memory is None:
                self._memory = self._fresh()
                self._folded = self.load(self._memory)
            count = self._journal.count // self._every * self._every
            contradiction = self._fold(self._memory, self._folded, count)
            if contradiction:
                self.fault = f"{self._journal.path}: record {contradiction} contradicts the records before it"
                return
            self._folded = count
            self._write(self._memory, count)
        except OSError as error:
            self.fault = f"{self._journal.path}: no snapshot can be written: {error.strerror}"

    def _write(self, memory: ExecutionMemory, seq: int) -> None:
        path = self._journal.path
        head = _HEAD.pack(_MAGIC, seq, int(self._journal.table["crc"][seq - 1]), self._digest)
        body = head + b"".join(array.tobytes() for array in folded_arrays(memory))
        target = path.with_name(f"{path.name}.snap-{seq}")
        new = target.with_name(target.name + ".new")
        try:
            with new.open("wb") as file:
                file.write(body + hashlib.blake2b(body, digest_size=_SUM_BYTES).digest())
                file.flush()
                os.fdatasync(file.fileno())
            new.replace(target)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
        for _, old in snapshots_of(path)[KEPT:]:
            old.unlink(missing_ok=True)

    def close(self) -> None:
        """Let the snapshot that is being written be finished."""
        if self._thread is not None:
            self._thread.join()
