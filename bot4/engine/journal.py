"""Execution's journal: chained 256-byte records in preallocated mapped segments, with a commit word.

    journal.bin      page 0   magic, version, capacity, number of the segment; the commit word (records that count), the
                              room (records that fit) and what is known of the disk, each in a line of its own
                     page 1.. JOURNAL records, each with the check sum of the one before
    journal.bin.1    the same, without commit word: the chain goes over the edge
    journal.bin.mark, journal.bin.snap-*    see `journal_mark` and `journal_snapshot`

All segments lie behind each other in one reserved range of addresses, so kernels see one long array. A segment is made
whole under another name, long before it is needed and outside of every step, and appears by one rename.

A record is written whole, then the commit word is stored: a process killed at any instruction leaves a prefix. The page
cache survives SIGKILL, not a power cut: what is synced, and what an opening believes after another boot, is the mark's.
A damaged record that counts is never skipped or repaired: opening refuses.
"""

import ctypes
import mmap
import os
import threading
import weakref
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from bot4.atomics import load_acquire, sched_yield, store_release
from bot4.crash import RECORD_COMMITTED, RECORD_WHOLE, RECORD_WORD, crash_here
from bot4.jit import inlined, kernel
from bot4.model.errors import JournalError
from bot4.model.records import JOURNAL, JOURNAL_MAGIC, JOURNAL_VERSION, JOURNAL_WORDS

HEADER_BYTES = 4096
READY_BYTES = 1 << 18  # faulted in at a time: a thousand records, some tens of microseconds
_MADV_POPULATE_WRITE = 23  # of Linux 5.14; the module does not name it yet
_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000  # the module does not name them
_FALLOC_PUNCH_HOLE = 0x3  # and keep the size
_MAP_FAILED = ctypes.c_void_p(-1).value
FILE_MAGIC = 0x4C52_4E4A_3454_4F42  # "BOT4JNRL", little endian
FILE_VERSION = 2
FILE_MAGIC_WORD = 0
FILE_VERSION_WORD = 1
FILE_CAPACITY_WORD = 2  # records of each segment
FILE_SEGMENT_WORD = 3  # 0, 1, 2, ...
COMMIT_WORD = 8  # byte 64: a cache line of its own
ROOM_WORD = 16  # records that all segments together hold
SYNCED_WORD = 24  # records that a power cut would leave
STRICT_WORD = 25  # 1: an order waits until its record is synced
FAILED_WORD = 26  # 1: a sync has failed, or the disk is all but full; final
LEVEL_WORD = 27  # LEVEL_* of the disk
LEVEL_OK, LEVEL_ALARM, LEVEL_REDUCING, LEVEL_HALT = range(4)
COUNT_MASK = 0x7FFF_FFFF
CRC_WORD = JOURNAL.fields["crc"][1] // 8
PREVIOUS_WORD = JOURNAL.fields["previous_crc"][1] // 8
SEQ_WORD = JOURNAL.fields["seq"][1] // 8
PAGE_RECORDS = mmap.PAGESIZE // JOURNAL.itemsize
DEFAULT_RECORDS = 262_144  # 64 MiB
MOST_RECORDS = 1 << 26  # 16 GiB of addresses; two instruments fill them in a year
_CHECKED_AT_A_TIME = 4_096  # records: 1 MiB, so that the copy stays in the cache
_FIRST_WORD = np.int64(JOURNAL_MAGIC | JOURNAL_VERSION << 48)
_FIRST_MASK = np.int64(~(0xFFFF << 32))  # all but the record's type

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def _crc_tables() -> np.ndarray:
    """Tables of CRC-32 (reflected, polynomial 0xEDB88320) for eight bytes a step."""
    tables = np.zeros((8, 256), np.int64)
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
        tables[0, byte] = value
    for table in range(1, 8):
        for byte in range(256):
            value = int(tables[table - 1, byte])
            tables[table, byte] = (value >> 8) ^ tables[0, value & 0xFF]
    return tables


CRC_TABLES = _crc_tables()


def commit_word(count: int) -> int:
    """The commit word of so many records: the number and its complement, so that no flipped bit makes another one."""
    return count | (count ^ COUNT_MASK) << 32


@kernel
def record_crc(words, offset):
    """CRC-32 of one record with its own crc word taken as zero.

    Parameters
    ----------
    words : int64[N]
    offset : index of the record's first word

    Notes
    -----
    Complexity: 32 steps of 8 table look-ups. Twin: zlib.crc32 over the record's bytes.
    """
    crc = np.int64(0xFFFFFFFF)
    for index in range(JOURNAL_WORDS):
        word = words[offset + index]
        if index == CRC_WORD:
            word = np.int64(0)
        low = (word & 0xFFFFFFFF) ^ crc
        high = (word >> 32) & 0xFFFFFFFF
        crc = (
            CRC_TABLES[7, low & 0xFF]
            ^ CRC_TABLES[6, (low >> 8) & 0xFF]
            ^ CRC_TABLES[5, (low >> 16) & 0xFF]
            ^ CRC_TABLES[4, (low >> 24) & 0xFF]
            ^ CRC_TABLES[3, high & 0xFF]
            ^ CRC_TABLES[2, (high >> 8) & 0xFF]
            ^ CRC_TABLES[1, (high >> 16) & 0xFF]
            ^ CRC_TABLES[0, (high >> 24) & 0xFF]
        )
    return crc ^ 0xFFFFFFFF


@inlined
def journal_count(header):
    """Records that count."""
    return header[COMMIT_WORD] & COUNT_MASK


@inlined
def journal_room(header):
    """Records that still fit."""
    return load_acquire(header, ROOM_WORD) - journal_count(header)


@kernel
def journal_append(header, records, record, source):
    """Write one record and commit it; the caller has asked `journal_room`.

    Parameters
    ----------
    header : int64[512], first page of the first segment
    records : int64[N * 32], those of all segments
    record : JOURNAL[1], filled but for magic, version, seq and check sums
    source : int64[32], the same memory as `record`

    Notes
    -----
    Invariant: a reader that trusts only the commit word sees a prefix of what was appended.
    """
    count = journal_count(header)
    offset = count * JOURNAL_WORDS
    if journal_room(header) < 1:
        return  # never beyond the last segment; whoever did not ask for room is stopped by the agent
    record[0]["magic"] = JOURNAL_MAGIC
    record[0]["version"] = JOURNAL_VERSION
    record[0]["seq"] = count + 1
    record[0]["previous_crc"] = records[offset - JOURNAL_WORDS + CRC_WORD] if count > 0 else 0
    record[0]["crc"] = record_crc(source, 0)
    for word in range(JOURNAL_WORDS):
        records[offset + word] = source[word]
        crash_here(RECORD_WORD)
    crash_here(RECORD_WHOLE)
    # SYNC POINT: pairs with the reader's load of the commit word: who sees the count sees the record.
    store_release(header, COMMIT_WORD, (count + 1) | ((count + 1) ^ COUNT_MASK) << 32)
    crash_here(RECORD_COMMITTED)


@inlined
def has_failed(header):
    """True once what is written may not reach the disk any more."""
    return load_acquire(header, FAILED_WORD) != 0


@kernel
def journal_settled(header):
    """Where the settings are strict: wait until all records that count are synced. False if they never will be.

    Notes
    -----
    The sync is another thread's: nothing is asked of the disk here. Twin: tests/unit/engine/test_journal_mark.py
    """
    if header[STRICT_WORD] == 0:
        return True
    # SYNC POINT: pairs with the store of the thread that syncs.
    while load_acquire(header, SYNCED_WORD) < journal_count(header):
        if has_failed(header):
            return False
        sched_yield()
    return True


def segment_path(path: Path, number: int) -> Path:
    """The file of a segment; that of the first is the journal's own name."""
    return path.with_name(f"{path.name}.{number}") if number else path


def segments_of(path: Path) -> list[Path]:
    """The segments that are there, in order."""
    found = [path]
    while (following := segment_path(path, len(found))).is_file():
        found.append(following)
    return found


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. OSError if it fails, which is final."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_segment(path: Path, number: int, capacity: int, durable: bool, prefix: bytes = b"", count: int = 0) -> None:
    """Write a whole segment under another name, then give it its own; OSError leaves nothing behind.

    Parameters
    ----------
    path : of the journal
    number, capacity : of the segment, and how many records it holds
    durable : write the zeros instead of reserving room alone, so that a later sync has nothing but records to write,
        and sync file and folder
    prefix : records that it begins with
    count : of the commit word, for the first segment
    """
    target = segment_path(path, number)
    new = target.with_name(target.name + ".new")
    new.unlink(missing_ok=True)
    header = np.zeros(HEADER_BYTES // 8, np.int64)
    header[FILE_MAGIC_WORD], header[FILE_VERSION_WORD] = FILE_MAGIC, FILE_VERSION
    header[FILE_CAPACITY_WORD], header[FILE_SEGMENT_WORD] = capacity, number
    if number == 0:
        header[COMMIT_WORD] = commit_word(count)
    size = HEADER_BYTES + capacity * JOURNAL.itemsize
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.posix_fallocate(descriptor, 0, size)
            _write(descriptor, 0, header.tobytes() + prefix)
            if durable:
                zeros = bytes(1 << 20)
                for offset in range(HEADER_BYTES + len(prefix), size, len(zeros)):
                    _write(descriptor, offset, zeros[: size - offset])
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        new.rename(target)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def release_room(path: Path, count: int) -> None:
    """Give the disk back what a journal that has ended did not need; its files keep their size and read as zeros there.

    Whoever opens it again to write reserves the room anew. OSError if the file system cannot do that; nothing is lost.

    Parameters
    ----------
    path : of the journal
    count : records that are committed
    """
    for number, file in enumerate(segments_of(path)):
        descriptor = os.open(file, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            capacity = (size - HEADER_BYTES) // JOURNAL.itemsize
            used = HEADER_BYTES + min(max(count - number * capacity, 0), capacity) * JOURNAL.itemsize
            used = -(-used // mmap.PAGESIZE) * mmap.PAGESIZE
            if used < size and _libc.fallocate(descriptor, _FALLOC_PUNCH_HOLE, used, size - used):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        finally:
            os.close(descriptor)


def _write(descriptor: int, offset: int, content: bytes) -> None:
    if os.pwrite(descriptor, content, offset) != len(content):
        raise OSError(28, os.strerror(28))


class JournalFile:
    """A mapped journal: `header` int64[512] and `records` int64[N * 32], both writable views of its segments.

    Only the first `room + count` records may be written; what follows are addresses that no segment is mapped to yet.
    """

    def __init__(self, path: Path, capacity: int = DEFAULT_RECORDS, durable: bool = False) -> None:
        """Open the journal at `path`, creating and preallocating it if it is not there.

        Parameters
        ----------
        capacity : records of a segment that is created, rounded up to whole pages
        durable : what is made is synced before it is used

        Raises
        ------
        JournalError : damaged, or it cannot be had
        """
        self.path, self.durable = path, durable
        self.fault = ""  # why there is no further segment, if there is none
        self._making: threading.Thread | None = None
        self._ready = 0  # bytes from the start of the records whose pages are there to be written
        self._descriptors: list[int] = []  # of the segments, where they are synced
        self.segments = 0
        try:
            descriptor = _open(path)
        except FileNotFoundError:
            self._make(0, -(-capacity // PAGE_RECORDS) * PAGE_RECORDS)
            descriptor = _open(path)
        try:
            self.capacity = _capacity_of(path, 0, descriptor)
            size = HEADER_BYTES + MOST_RECORDS * JOURNAL.itemsize
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
            base = _libc.mmap(None, size, mmap.PROT_READ, flags, -1, 0)  # zeros to whoever only looks
            if base == _MAP_FAILED:
                reason = os.strerror(ctypes.get_errno())
                raise JournalError(f"{path}: no addresses for {size:,} bytes ({reason}); allow them (ulimit -v)")
            self._base = base
            memory: Any = (ctypes.c_byte * size).from_address(base)
            weakref.finalize(memory, _libc.munmap, base, size)  # once no array looks at it any more
        except BaseException:
            os.close(descriptor)
            raise
        try:
            self._map(descriptor)
            for number in range(1, len(segments_of(path))):
                self._map(_open(segment_path(path, number)))
            self.header = np.frombuffer(memory, np.int64, HEADER_BYTES // 8)
            self.records = np.frombuffer(memory, np.int64, offset=HEADER_BYTES)
            room = self.capacity * self.segments
            verify(path, self.header, self.records[: room * JOURNAL_WORDS])
        except BaseException:
            self.close()
            raise
        self.header[ROOM_WORD] = room
        for word in (SYNCED_WORD, STRICT_WORD, FAILED_WORD, LEVEL_WORD):
            self.header[word] = 0

    def _make(self, number: int, capacity: int) -> None:
        try:
            make_segment(self.path, number, capacity, self.durable)
        except FileNotFoundError as error:
            raise JournalError(f"{self.path}: cannot open the journal: {error.strerror}") from None
        except OSError as error:
            size = HEADER_BYTES + capacity * JOURNAL.itemsize
            path = segment_path(self.path, number)
            raise JournalError(f"{path}: no room for the journal of {size} bytes: {error.strerror}") from None

    def _map(self, descriptor: int) -> None:
        """Put the next segment's records behind those of the one before; the first brings the header along."""
        number, length = self.segments, self.capacity * JOURNAL.itemsize
        try:
            if _capacity_of(self.path, number, descriptor) != self.capacity:
                raise JournalError(f"{segment_path(self.path, number)}: its size is not that of the first segment")
            try:  # a session that ended gave its room back; a page without any would end this process
                os.posix_fallocate(descriptor, 0, HEADER_BYTES + length)
            except OSError as error:
                name = segment_path(self.path, number)
                raise JournalError(f"{name}: no room for {length:,} bytes of it: {error.strerror}") from None
            at, skipped = (self._base + HEADER_BYTES + number * length, HEADER_BYTES) if number else (self._base, 0)
            both, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | _MAP_FIXED
            if _libc.mmap(at, length + HEADER_BYTES - skipped, both, flags, descriptor, skipped) == _MAP_FAILED:
                reason = os.strerror(ctypes.get_errno())
                raise JournalError(f"{segment_path(self.path, number)}: cannot be mapped: {reason}")
        except BaseException:
            os.close(descriptor)
            raise
        if self.durable:
            self._descriptors.append(descriptor)
        else:
            os.close(descriptor)
        self.segments += 1

    @property
    def count(self) -> int:
        """Records that count."""
        return int(self.header[COMMIT_WORD]) & COUNT_MASK

    @property
    def room(self) -> int:
        """Records that still fit."""
        return int(self.header[ROOM_WORD]) - self.count

    @property
    def table(self) -> np.ndarray:
        """The records that count, JOURNAL[n]: a view."""
        return self.records[: self.count * JOURNAL_WORDS].view(JOURNAL)

    def make_ready(self) -> None:
        """Fault in the pages of the next records between two batches, so that no append waits for the kernel.

        A kernel before Linux 5.14 cannot; the append then pays, some microseconds every sixteenth record.
        """
        end = int(self.header[ROOM_WORD]) * JOURNAL.itemsize
        needed = min(self.count * JOURNAL.itemsize + READY_BYTES // 2, end)
        while self._ready < needed:
            at = self._base + HEADER_BYTES + self._ready
            _libc.madvise(at, min(READY_BYTES, end - self._ready), _MADV_POPULATE_WRITE)
            self._ready += READY_BYTES

    def look_ahead(self) -> None:
        """Have the next segment made by a thread once the last one is half full; costs nothing but a look otherwise.

        If it cannot be made, `fault` says why, and it is tried again with the next page of records.
        """
        room, count = self.room, self.count
        if room >= self.capacity // 2 or (self._making is not None and self._making.is_alive()):
            return
        if self.fault and count % PAGE_RECORDS:
            return
        if (self.segments + 1) * self.capacity <= MOST_RECORDS:
            self._making = threading.Thread(target=self._extend, name="journal-segment", daemon=True)
            self._making.start()

    def _extend(self) -> None:
        try:
            self._make(self.segments, self.capacity)
            self._map(_open(segment_path(self.path, self.segments)))
        except (JournalError, OSError) as error:
            self.fault = str(error)
            return
        self.fault = ""
        # SYNC POINT: pairs with load_acquire in journal_room: who sees the room finds it mapped.
        self.header[ROOM_WORD] = self.segments * self.capacity

    def sync(self, number: int) -> None:
        """Write a segment's pages to the disk; OSError if that fails, which is final."""
        os.fdatasync(self._descriptors[number])

    def close(self) -> None:
        """Let go of the files; the memory stays for as long as an array looks at it."""
        if self._making is not None:
            self._making.join()
        while self._descriptors:
            os.close(self._descriptors.pop())


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise JournalError(f"{path}: cannot open the journal: {error.strerror}") from None


def capacity_of(path: Path, number: int, size: int, header: np.ndarray) -> int:
    """Records of a segment by its size and its header, which have to agree; JournalError if it is none of ours."""
    name = segment_path(path, number)
    records, rest = divmod(size - HEADER_BYTES, JOURNAL.itemsize)
    if records < 1 or rest or records % PAGE_RECORDS:
        raise JournalError(f"{name}: {size} bytes is not the size of a journal; move the file away")
    check_header(name, number, header, records)
    return records


def _capacity_of(path: Path, number: int, descriptor: int) -> int:
    header = os.pread(descriptor, HEADER_BYTES, 0).ljust(HEADER_BYTES, b"\0")
    return capacity_of(path, number, os.fstat(descriptor).st_size, np.frombuffer(header, np.int64))


def check_header(name: Path, number: int, header: np.ndarray, capacity: int) -> None:
    """JournalError unless the first words are those of this segment; `capacity` is what its size says."""
    if header[FILE_MAGIC_WORD] != FILE_MAGIC or header[FILE_VERSION_WORD] != FILE_VERSION:
        raise JournalError(f"{name}: not a journal of this version")
    if header[FILE_CAPACITY_WORD] != capacity or header[FILE_SEGMENT_WORD] != number:
        raise JournalError(f"{name}: header is damaged (capacity or number); move the journal away and reconcile")


def verify(path: Path, header: np.ndarray, records: np.ndarray) -> int:
    """Check every committed record: magic, numbering, chain, check sum. Returns their number, raises JournalError."""
    word = int(header[COMMIT_WORD])
    count = word & COUNT_MASK
    if word != commit_word(count):
        raise JournalError(f"{path}: header is damaged (commit word); move the journal away and reconcile")
    if count * JOURNAL_WORDS > len(records):
        raise JournalError(f"{path}: {count} records count and a segment is missing; find it, or reconcile")
    whole = whole_records(records[: count * JOURNAL_WORDS])
    if whole < count:
        raise JournalError(f"{path}: record {whole + 1} of {count} is damaged; move the journal away and reconcile")
    return count


def whole_records(records: np.ndarray) -> int:
    """How many records from the first on are what was written: magic, numbering, chain and check sum.

    Parameters
    ----------
    records : int64[n * 32]

    Notes
    -----
    Complexity: O(n), half a second for a million records.
    """
    previous = 0
    n = len(records) // JOURNAL_WORDS
    for first in range(0, n, _CHECKED_AT_A_TIME):
        chunk = records[first * JOURNAL_WORDS : (first + _CHECKED_AT_A_TIME) * JOURNAL_WORDS]
        table = chunk.reshape(-1, JOURNAL_WORDS).copy()
        sums = table[:, CRC_WORD].copy()
        table[:, CRC_WORD] = 0
        content = table.reshape(-1).data.cast("B")
        size, crc32 = JOURNAL.itemsize, zlib.crc32
        found = [crc32(content[at : at + size]) for at in range(0, len(content), size)]
        good = sums == np.array(found, np.int64)
        good &= table[:, 0] & _FIRST_MASK == _FIRST_WORD
        good &= table[:, SEQ_WORD] == np.arange(first + 1, first + 1 + len(table))
        good &= table[:, PREVIOUS_WORD] == np.concatenate(([previous], sums[:-1]))
        if not good.all():
            return first + int(np.argmin(good))
        previous = int(sums[-1])
    return n


def holds(path: Path, kind: int) -> bool:
    """Whether a record of this type ever got into a chained file, however damaged it is."""
    for file in segments_of(path) if path.exists() else ():
        whole = max(0, file.stat().st_size - HEADER_BYTES) // JOURNAL.itemsize
        if whole and (np.memmap(file, JOURNAL, "r", HEADER_BYTES, whole)["type"] == kind).any():
            return True
    return False


def read_journal(path: Path) -> np.ndarray:
    """All committed records of a journal as JOURNAL[n], checked; JournalError if it is missing or damaged."""
    try:
        contents = [np.fromfile(file, np.int64) for file in segments_of(path)]
        sizes = [file.stat().st_size for file in segments_of(path)]
    except OSError as error:
        raise JournalError(f"{path}: cannot read the journal: {error.strerror}") from None
    for number, (content, size) in enumerate(zip(contents, sizes, strict=True)):
        capacity_of(path, number, size, content)
    header = contents[0]
    records = np.concatenate([content[HEADER_BYTES // 8 :] for content in contents])
    count = verify(path, header, records)
    return records.view(JOURNAL)[:count]
