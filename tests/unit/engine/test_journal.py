"""The journal: what is committed is read back, what is damaged is never accepted."""

import mmap
import resource
import zlib

import numpy as np
import pytest

from bot4.engine.journal import (
    COMMIT_WORD,
    CRC_WORD,
    HEADER_BYTES,
    READY_BYTES,
    JournalFile,
    journal_append,
    journal_room,
    read_journal,
    record_crc,
)
from bot4.model.errors import JournalError
from bot4.model.records import JOURNAL, JOURNAL_WORDS, words


def fill(journal, count, seed=1):
    """Append `count` records of random content and return them."""
    random = np.random.default_rng(seed)
    record = np.zeros(1, JOURNAL)
    view = words(record)
    for _ in range(count):
        view[:] = random.integers(-(2**62), 2**62, JOURNAL_WORDS)
        journal_append(journal.header, journal.records, record, view)
    return journal.records.view(JOURNAL)[:count].copy()


def test_what_is_appended_is_read_back(tmp_path):
    journal = JournalFile(tmp_path / "j", 64)
    assert journal_room(journal.header, journal.records) == 64
    written = fill(journal, 20)
    assert np.array_equal(read_journal(tmp_path / "j"), written)
    assert JournalFile(tmp_path / "j").count == 20
    assert (tmp_path / "j").stat().st_mode & 0o777 == 0o600


def faults_of(journal, count):
    """Page faults of this process while so many records are appended."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    fill(journal, count)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_appends_meet_pages_that_are_ready(tmp_path):
    journals = [JournalFile(tmp_path / name, 4_096) for name in ("warm", "bare", "ready")]
    faults_of(journals[0], 10)
    journals[2].make_ready()
    count = READY_BYTES // JOURNAL.itemsize - 100
    bare, ready = (faults_of(journal, count) for journal in journals[1:])
    assert bare >= READY_BYTES // mmap.PAGESIZE - 20
    assert ready < bare / 4
    journals[2].make_ready()
    assert faults_of(journals[2], 400) < 20, "it stays ahead"


def test_check_sum_is_crc32_without_its_own_word():
    record = np.random.default_rng(5).integers(-(2**63), 2**63 - 1, JOURNAL_WORDS)
    blank = record.copy()
    blank[CRC_WORD] = 0
    assert record_crc(record, 0) == zlib.crc32(blank.tobytes())


def test_a_record_beyond_the_commit_word_does_not_count(tmp_path):
    journal = JournalFile(tmp_path / "j", 64)
    fill(journal, 5)
    journal.header[COMMIT_WORD] = 4  # killed after the record, before the commit
    assert len(read_journal(tmp_path / "j")) == 4
    again = JournalFile(tmp_path / "j")
    fill(again, 1, seed=9)
    assert len(read_journal(tmp_path / "j")) == 5


def test_every_flipped_bit_of_committed_records_is_found(tmp_path):
    path = tmp_path / "j"
    journal = JournalFile(path, 8)
    fill(journal, 3)
    whole = bytearray(path.read_bytes())
    end = HEADER_BYTES + 3 * JOURNAL.itemsize
    for bit in range(HEADER_BYTES * 8, end * 8):
        whole[bit // 8] ^= 1 << bit % 8
        path.write_bytes(whole)
        with pytest.raises(JournalError):
            read_journal(path)
        whole[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("size", [1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 100, HEADER_BYTES + 256 * 3 + 8])
def test_a_file_of_another_size_is_refused(tmp_path, size):
    path = tmp_path / "j"
    path.write_bytes(b"\0" * size)
    with pytest.raises(JournalError):
        JournalFile(path)


def test_swapped_repeated_and_zeroed_records_are_refused(tmp_path):
    path = tmp_path / "j"
    journal = JournalFile(path, 8)
    fill(journal, 4)
    table = journal.records.view(JOURNAL)
    good = table.copy()
    for damage in ([1, 0, 2, 3], [0, 0, 2, 3], [0, 1, 3, 3]):
        table[:4] = good[damage]
        with pytest.raises(JournalError):
            read_journal(path)
    table[:4] = good[:4]
    table[3] = np.zeros((), JOURNAL)
    with pytest.raises(JournalError):
        read_journal(path)


def test_no_room_on_disk_and_no_permission_are_clear_errors(tmp_path):
    with pytest.raises(JournalError, match="cannot open"):
        JournalFile(tmp_path / "absent" / "j")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(JournalError, match="cannot open"):
        JournalFile(tmp_path / "link")
