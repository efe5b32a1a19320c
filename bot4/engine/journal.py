"""Execution's journal: a preallocated mapped file of chained 256-byte records with a commit word.

    page 0   magic, version, capacity; the commit word (records that count) in a line of its own
    page 1.. JOURNAL records, each with the check sum of the one before

A record is written whole, then the commit word is stored: a process killed at any instruction leaves a prefix. The page
cache survives SIGKILL, not a power cut; what must survive that is synced elsewhere. A damaged record below the
commit word is never skipped or repaired: opening refuses.
"""

import contextlib
import mmap
import os
import zlib
from pathlib import Path

import numpy as np

from bot4.atomics import store_release
from bot4.jit import inlined, kernel
from bot4.model.errors import JournalError
from bot4.model.records import JOURNAL, JOURNAL_MAGIC, JOURNAL_VERSION, JOURNAL_WORDS

HEADER_BYTES = 4096
READY_BYTES = 1 << 18  # faulted in at a time: a thousand records, some tens of microseconds
_MADV_POPULATE_WRITE = 23  # of Linux 5.14; the module does not name it yet
FILE_MAGIC = 0x4C52_4E4A_3454_4F42  # "BOT4JNRL", little endian
FILE_MAGIC_WORD = 0
FILE_VERSION_WORD = 1
FILE_CAPACITY_WORD = 2
COMMIT_WORD = 8  # byte 64: a cache line of its own
CRC_WORD = JOURNAL.fields["crc"][1] // 8
PREVIOUS_WORD = JOURNAL.fields["previous_crc"][1] // 8
DEFAULT_RECORDS = 262_144  # 64 MiB


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
def journal_room(header, records):
    """Records that still fit."""
    return records.shape[0] // JOURNAL_WORDS - header[COMMIT_WORD]


@kernel
def journal_append(header, records, record, source):
    """Write one record and commit it; the caller has asked `journal_room`.

    Parameters
    ----------
    header : int64[512], first page of the file
    records : int64[capacity * 32], the rest of it
    record : JOURNAL[1], filled but for magic, version, seq and check sums
    source : int64[32], the same memory as `record`

    Notes
    -----
    Invariant: a reader that trusts only the commit word sees a prefix of what was appended.
    """
    count = header[COMMIT_WORD]
    offset = count * JOURNAL_WORDS
    if offset + JOURNAL_WORDS > len(records):
        return  # never beyond the file; whoever did not ask for room is stopped by the agent
    record[0]["magic"] = JOURNAL_MAGIC
    record[0]["version"] = JOURNAL_VERSION
    record[0]["seq"] = count + 1
    record[0]["previous_crc"] = records[offset - JOURNAL_WORDS + CRC_WORD] if count > 0 else 0
    record[0]["crc"] = record_crc(source, 0)
    for word in range(JOURNAL_WORDS):
        records[offset + word] = source[word]
    # SYNC POINT: pairs with the reader's load of the commit word: who sees the count sees the record.
    store_release(header, COMMIT_WORD, count + 1)


class JournalFile:
    """A mapped journal: `header` int64[512] and `records` int64[capacity * 32], both writable views of the file."""

    def __init__(self, path: Path, capacity: int = DEFAULT_RECORDS) -> None:
        """Open the journal at `path`, creating and preallocating it if it is not there. JournalError if damaged."""
        self.path = path
        size = HEADER_BYTES + capacity * JOURNAL.itemsize
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"{path}: cannot open the journal: {error.strerror}") from None
        try:
            present = os.fstat(descriptor).st_size
            if present == 0:
                try:
                    os.posix_fallocate(descriptor, 0, size)
                except OSError:
                    path.unlink(missing_ok=True)
                    raise
            elif present <= HEADER_BYTES or (present - HEADER_BYTES) % JOURNAL.itemsize:
                raise JournalError(f"{path}: {present} bytes is not the size of a journal; move the file away")
            else:
                size = present
            self._map = mmap.mmap(descriptor, size)
        except OSError as error:
            raise JournalError(f"{path}: no room for the journal of {size} bytes: {error.strerror}") from None
        finally:
            os.close(descriptor)
        self._ready = 0  # bytes from the start whose pages are there to be written
        self.header = np.frombuffer(self._map, np.int64, HEADER_BYTES // 8)
        self.records = np.frombuffer(self._map, np.int64, offset=HEADER_BYTES)
        if present == 0:
            self.header[FILE_VERSION_WORD] = JOURNAL_VERSION
            self.header[FILE_CAPACITY_WORD] = capacity
            self.header[FILE_MAGIC_WORD] = FILE_MAGIC
        else:
            verify(path, self.header, self.records)

    @property
    def count(self) -> int:
        """Records that count."""
        return int(self.header[COMMIT_WORD])

    def make_ready(self) -> None:
        """Fault in the pages of the next records between two batches, so that no append waits for the kernel.

        A kernel before Linux 5.14 cannot; the append then pays, some microseconds every sixteenth record.
        """
        needed = HEADER_BYTES + self.count * JOURNAL.itemsize + READY_BYTES // 2
        while self._ready < min(needed, len(self._map)):
            with contextlib.suppress(OSError):
                self._map.madvise(_MADV_POPULATE_WRITE, self._ready, min(READY_BYTES, len(self._map) - self._ready))
            self._ready += READY_BYTES

    @property
    def room(self) -> int:
        """Records that still fit."""
        return self.records.shape[0] // JOURNAL_WORDS - self.count


def verify(path: Path, header: np.ndarray, records: np.ndarray) -> int:
    """Check every committed record: magic, numbering, chain, check sum. Returns their number, raises JournalError."""
    count = int(header[COMMIT_WORD])
    capacity = records.shape[0] // JOURNAL_WORDS
    if header[FILE_MAGIC_WORD] != FILE_MAGIC or header[FILE_VERSION_WORD] != JOURNAL_VERSION:
        raise JournalError(f"{path}: not a journal of this version")
    if header[FILE_CAPACITY_WORD] != capacity or not 0 <= count <= capacity:
        raise JournalError(f"{path}: header is damaged (capacity or commit word); move the file away and reconcile")
    table = records.view(JOURNAL)
    previous = 0
    for index in range(count):
        record = table[index]
        if (
            record["magic"] != JOURNAL_MAGIC
            or record["seq"] != index + 1
            or record["previous_crc"] != previous
            or record["crc"] != _crc(records, index)
        ):
            raise JournalError(f"{path}: record {index + 1} of {count} is damaged; move the file away and reconcile")
        previous = record["crc"]
    return count


def _crc(records: np.ndarray, index: int) -> int:
    words = records[index * JOURNAL_WORDS : (index + 1) * JOURNAL_WORDS].copy()
    words[CRC_WORD] = 0
    return zlib.crc32(words.tobytes())


def read_journal(path: Path) -> np.ndarray:
    """All committed records of a journal as JOURNAL[n], checked; JournalError if it is missing or damaged."""
    try:
        raw = np.fromfile(path, np.int64)
    except OSError as error:
        raise JournalError(f"{path}: cannot read the journal: {error.strerror}") from None
    if raw.shape[0] <= HEADER_BYTES // 8 or (raw.shape[0] - HEADER_BYTES // 8) % JOURNAL_WORDS:
        raise JournalError(f"{path}: not the size of a journal")
    header, records = raw[: HEADER_BYTES // 8], raw[HEADER_BYTES // 8 :]
    count = verify(path, header, records)
    return records.view(JOURNAL)[:count]
