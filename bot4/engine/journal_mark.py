"""What a power cut leaves of a journal: the mark, the thread that syncs, and what is believed after another boot.

    journal.bin.mark    two 4 KiB slots, written alternately: magic, generation, epoch, records that are synced, id of
                        the boot, check sum; a torn write leaves the other one

Three classes. The commit word (K) survives the death of any process. Up to the mark (G) records survive a power cut: a
thread syncs what has been appended and then says so, every few milliseconds, never in a step. The epoch, the number of
this start, is in the mark before anything is sent (P), so whatever a power cut takes, no start repeats another's.

A sync that fails is final. It is never tried again, for the kernel may have dropped the pages and would then report
success; the gate is shut for good, cancels and protection go on, and the next start believes the mark.
"""

import contextlib
import hashlib
import os
import struct
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bot4.engine.journal import (
    COMMIT_WORD,
    FAILED_WORD,
    FILE_CAPACITY_WORD,
    HEADER_BYTES,
    LEVEL_HALT,
    LEVEL_REDUCING,
    LEVEL_WORD,
    MOST_RECORDS,
    STRICT_WORD,
    SYNCED_WORD,
    JournalFile,
    check_header,
    commit_word,
    make_segment,
    read_journal,
    segments_of,
    sync_folder,
    whole_records,
)
from bot4.model.errors import JournalError
from bot4.model.records import JOURNAL, JOURNAL_WORDS

SLOT_BYTES = 4096
PERIOD_S = 0.005
PERIOD_STRICT_S = 0.0005  # an order waits for it
LOOK_NS = 1_000_000_000  # at the disk
FREE_ALARM, FREE_REDUCING, FREE_HALT = 20, 10, 5  # per cent of the volume
_SLOT = struct.Struct("<8sqqq16s")
_MAGIC = b"BOT4MARK"
_SUM_BYTES = 16


class Mark(NamedTuple):
    """One slot."""

    generation: int
    epoch: int  # number of the start that wrote it
    seq: int  # records that are synced
    boot: bytes  # id of the boot that it was written in


def boot_id() -> bytes:
    """The kernel's name for this boot, 16 bytes."""
    return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))


def mark_path(path: Path) -> Path:
    """Of a journal's mark."""
    return path.with_name(path.name + ".mark")


def pack_mark(mark: Mark) -> bytes:
    """A slot's 4 KiB."""
    body = _SLOT.pack(_MAGIC, *mark).ljust(SLOT_BYTES - _SUM_BYTES, b"\0")
    return body + hashlib.blake2b(body, digest_size=_SUM_BYTES).digest()


def _unpack(content: bytes) -> Mark | None:
    body, told = content[:-_SUM_BYTES], content[-_SUM_BYTES:]
    if len(content) != SLOT_BYTES or hashlib.blake2b(body, digest_size=_SUM_BYTES).digest() != told:
        return None
    magic, *values = _SLOT.unpack_from(body)
    return Mark(*values) if magic == _MAGIC else None


def read_mark(path: Path) -> Mark | None:
    """The newest whole slot of a journal's mark; None if it has none, JournalError if neither slot is whole."""
    file = mark_path(path)
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(f"{file}: cannot be read: {error.strerror}") from None
    slots = [_unpack(content[at : at + SLOT_BYTES]) for at in (0, SLOT_BYTES)]
    whole = [slot for slot in slots if slot is not None]
    if len(content) != 2 * SLOT_BYTES or not whole:
        raise JournalError(f"{file}: damaged; move the journal away and reconcile")
    return max(whole)


def settle(path: Path) -> bool:
    """Before a journal is opened: take what its mark says into account. True if a power cut may have taken its tail.

    After another boot the commit word says nothing. What is whole from the first record on counts, no less than the
    mark says; the rest is discarded: the prefix is copied into new segments, the old ones stay as `*.before-EPOCH`.

    Raises
    ------
    JournalError : fewer records are whole than were synced
    """
    mark = read_mark(path)
    if mark is None:
        return False
    if not path.exists():
        if mark.seq == 0:
            return True
        raise JournalError(f"{path}: missing, and {mark.seq} records of it were synced; find it, or reconcile")
    if mark.boot == boot_id():
        return False
    try:
        word, capacity, records = all_records(path)
    except OSError as error:
        raise JournalError(f"{path}: cannot read the journal: {error.strerror}") from None
    whole = len(_prefix(path, records, mark.seq)) // JOURNAL_WORDS
    if word != commit_word(whole) or records[whole * JOURNAL_WORDS :].any():
        copy_prefix(path, capacity, records[: whole * JOURNAL_WORDS], mark.epoch)
    return True


def all_records(path: Path) -> tuple[int, int, np.ndarray]:
    """The commit word, the records of a segment, and everything that the segments hold, int64[n * 32].

    What a file has lost of its end counts as zeros.
    """
    content = path.read_bytes()
    header = np.frombuffer(content[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0"), np.int64)
    capacity = int(header[FILE_CAPACITY_WORD])
    size = HEADER_BYTES + capacity * JOURNAL.itemsize
    parts = []
    for number, file in enumerate(segments_of(path)):
        content = file.read_bytes() if number else content
        if number == 0 or len(content) >= HEADER_BYTES:
            own = header if number == 0 else np.frombuffer(content[:HEADER_BYTES], np.int64)
            check_header(file, number, own, capacity)
        if not 0 < capacity <= MOST_RECORDS or len(content) > size:
            raise JournalError(f"{file}: {len(content)} bytes is not the size of a journal; move the file away")
        parts.append(content[HEADER_BYTES:].ljust(size - HEADER_BYTES, b"\0"))
    return int(header[COMMIT_WORD]), capacity, np.frombuffer(b"".join(parts), np.int64)


def _prefix(path: Path, records: np.ndarray, synced: int) -> np.ndarray:
    """What counts after another boot; JournalError if that is less than was synced."""
    whole = whole_records(records)
    if whole < synced:
        raise JournalError(
            f"{path}: record {whole + 1} is damaged, and {synced} were synced; move the journal away and reconcile"
        )
    return records[: whole * JOURNAL_WORDS]


def committed(path: Path) -> np.ndarray:
    """The records that a start would believe, JOURNAL[n], nothing changed; JournalError if it would refuse."""
    mark = read_mark(path)
    if mark is not None and mark.boot != boot_id():
        return _prefix(path, all_records(path)[2], mark.seq).view(JOURNAL)
    records = read_journal(path)
    _refuse_fewer(path, len(records), mark)
    return records


def _refuse_fewer(path: Path, count: int, mark: Mark | None) -> None:
    if mark is not None and count < mark.seq:
        raise JournalError(
            f"{path}: {count} records count, and {mark.seq} were synced; move the journal away and reconcile"
        )


def copy_prefix(path: Path, capacity: int, prefix: np.ndarray, epoch: int) -> None:
    """Segments anew that hold the prefix alone; killed at any moment and run again, it comes to the same."""
    whole = len(prefix) // JOURNAL_WORDS
    words = capacity * JOURNAL_WORDS
    try:
        for number, file in enumerate(segments_of(path)):
            if 0 < number < whole // capacity:
                continue  # nothing in it changes
            with contextlib.suppress(FileExistsError):  # from an earlier try: that is the older one
                file.with_name(f"{file.name}.before-{epoch}").hardlink_to(file)
            content = prefix[number * words : (number + 1) * words].tobytes()
            make_segment(path, number, capacity, True, content, whole)
    except OSError as error:
        raise JournalError(f"{path}: its prefix cannot be copied: {error.strerror}; nothing is lost") from None


def limit_of(level: int) -> int:
    """Per cent of the disk that are left at most at this LEVEL_*."""
    return (100, FREE_ALARM, FREE_REDUCING, FREE_HALT)[level]


class JournalSync:
    """Keeps a journal's mark, and the thread that syncs.

    Parameters
    ----------
    journal : open and checked, its segments durable
    strict : True if orders wait until their records are synced

    Raises
    ------
    JournalError : fewer records count than were synced, or the mark cannot be written
    """

    def __init__(self, journal: JournalFile, strict: bool = False) -> None:
        self._journal, self._strict = journal, strict
        self.fault = ""  # why nothing is synced any more
        self.warning = ""  # how full the disk is, if that matters
        self._stop = threading.Event()
        mark = read_mark(journal.path)
        _refuse_fewer(journal.path, journal.count, mark)
        self._mark = Mark(mark.generation if mark else 0, (mark.epoch if mark else 0) + 1, 0, boot_id())
        try:
            self._descriptor = self._open(mark)
            self._commit()
        except OSError as error:
            raise JournalError(f"{mark_path(journal.path)}: cannot be written: {error.strerror}") from None
        journal.header[STRICT_WORD] = int(strict)
        self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)
        self._thread.start()

    @property
    def epoch(self) -> int:
        """Number of this start, durable: 1, 2, 3, ..."""
        return self._mark.epoch

    def _open(self, mark: Mark | None) -> int:
        path = mark_path(self._journal.path)
        if mark is None:  # two slots of no start, synced, before there is a name for them
            new = path.with_name(path.name + ".new")
            none = Mark(0, 0, 0, bytes(16))
            with new.open("wb") as file:
                file.write(pack_mark(none) * 2)
                file.flush()
                os.fsync(file.fileno())
            new.rename(path)
            sync_folder(path.parent)
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)

    def _commit(self) -> None:
        """Sync what has been appended, then say so."""
        journal, done = self._journal, self._mark.seq
        count = journal.count
        for number in range(done // journal.capacity, max(0, count - 1) // journal.capacity + 1):
            journal.sync(number)
        self._mark = self._mark._replace(generation=self._mark.generation + 1, seq=count)
        slot = self._mark.generation % 2 * SLOT_BYTES
        if os.pwrite(self._descriptor, pack_mark(self._mark), slot) != SLOT_BYTES:
            raise OSError(28, os.strerror(28))
        os.fdatasync(self._descriptor)
        # SYNC POINT: pairs with load_acquire in journal_settled.
        journal.header[SYNCED_WORD] = count

    def _run(self) -> None:
        try:
            looked = 0
            stopped = False
            while not stopped:
                stopped = self._stop.wait(PERIOD_STRICT_S if self._strict else PERIOD_S)
                if self._journal.count > self._mark.seq:
                    self._commit()
                if time.monotonic_ns() - looked >= LOOK_NS:
                    looked = time.monotonic_ns()
                    self._look_at_disk()
                    stopped = stopped or bool(self.fault)
        except OSError as error:
            self._fail(f"the journal cannot be synced: {error.strerror}")
        except BaseException:
            self._fail("the thread that syncs the journal has died")
            raise

    def _look_at_disk(self) -> None:
        found = os.statvfs(self._journal.path.parent)
        free = 100 * found.f_bavail / max(1, found.f_blocks)
        level = max(level for level in range(LEVEL_HALT + 1) if free <= limit_of(level))
        self._journal.header[LEVEL_WORD] = level
        then = "; nothing is opened any more" if level >= LEVEL_REDUCING else ""
        self.warning = f"the journal's disk has no more than {limit_of(level)} % left{then}" if level else ""
        if level == LEVEL_HALT:
            self._fail(f"the journal's disk has {free:.1f} % left; free it")

    def _fail(self, why: str) -> None:
        self.fault = why
        self._journal.header[FAILED_WORD] = 1

    def close(self) -> None:
        """Sync what is left and end the thread."""
        self._stop.set()
        self._thread.join()
        os.close(self._descriptor)
