"""The journal: what is committed is read back, what is damaged is never accepted."""

import mmap
import resource
import zlib

import numpy as np
import pytest
from rig.journal import fill, grown, wait_for

from bot4.engine.journal import (
    COMMIT_WORD,
    CRC_WORD,
    HEADER_BYTES,
    PAGE_RECORDS,
    READY_BYTES,
    JournalFile,
    commit_word,
    journal_room,
    read_journal,
    record_crc,
    release_room,
    segments_of,
    whole_records,
)
from bot4.model.errors import JournalError
from bot4.model.records import JOURNAL, JOURNAL_WORDS


def test_what_is_appended_is_read_back(tmp_path):
    journal = JournalFile(tmp_path / "j", 64)
    assert journal_room(journal.header) == 64
    fill(journal, 20)
    written = journal.table.copy()
    assert np.array_equal(read_journal(tmp_path / "j"), written)
    assert JournalFile(tmp_path / "j").count == 20
    assert (tmp_path / "j").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("count", [0, 1, 16, 20, 64, 100, 128])
def test_what_ended_gives_its_room_back_and_reserves_it_when_it_goes_on(tmp_path, count):
    """Of segments of 64 records; nothing that was written is touched."""
    path = tmp_path / "j"
    journal = grown(path, count, 64)
    journal.close()
    files = segments_of(path)
    before, sizes = read_journal(path), [file.stat().st_size for file in files]
    blocks = [file.stat().st_blocks for file in files]
    release_room(path, count)
    assert np.array_equal(read_journal(path), before) and len(before) == count
    assert [file.stat().st_size for file in files] == sizes
    used = [-(-min(max(count - 64 * number, 0), 64) // PAGE_RECORDS) for number in range(len(files))]
    assert [file.stat().st_blocks * 512 // mmap.PAGESIZE for file in files] == [pages + 1 for pages in used]
    again = JournalFile(path)
    assert [file.stat().st_blocks for file in files] == blocks, "no page is missing where it is written to"
    if count < 64:
        fill(again, 1)
        assert again.count == count + 1
    again.close()


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
    journal.header[COMMIT_WORD] = commit_word(4)  # killed after the record, before the commit
    assert len(read_journal(tmp_path / "j")) == 4
    again = JournalFile(tmp_path / "j")
    fill(again, 1, seed=9)
    assert len(read_journal(tmp_path / "j")) == 5


def test_every_flipped_bit_of_committed_records_is_found(tmp_path):
    path = tmp_path / "j"
    journal = JournalFile(path, 8)
    fill(journal, 3)
    content = np.memmap(path, np.uint8, "r+")
    for bit in range(HEADER_BYTES * 8, (HEADER_BYTES + 3 * JOURNAL.itemsize) * 8):
        content[bit // 8] ^= 1 << bit % 8
        with pytest.raises(JournalError):
            read_journal(path)
        content[bit // 8] ^= 1 << bit % 8
    assert len(read_journal(path)) == 3


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
    table = journal.table
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


def test_the_chain_goes_over_the_edge_into_segments_that_were_made_before(tmp_path):
    path = tmp_path / "j"
    journal = grown(path, 53)
    written = journal.table.copy()
    assert len(written) == 53 and [file.name for file in segments_of(path)] == ["j", "j.1", "j.2", "j.3"]
    assert written["seq"].tolist() == list(range(1, 54))
    assert written["previous_crc"][1:].tolist() == written["crc"][:-1].tolist()
    assert np.array_equal(read_journal(path), written)
    again = JournalFile(path, 1_024)
    assert (again.capacity, again.segments, again.room) == (16, 4, 11), "the first segment says how long they are"
    assert np.array_equal(again.table, written)
    fill(again, 11)
    assert again.room == 0 and len(read_journal(path)) == 64
    fill(again, 1)
    assert again.count == 64, "nothing is written beyond the last segment"


def test_what_no_segment_is_mapped_to_reads_as_zeros(tmp_path):
    """Whoever prints the array in a debugger, or fails in a test, must not die of it."""
    journal = JournalFile(tmp_path / "j", 16)
    assert journal.records[16 * JOURNAL_WORDS] == journal.records[-1] == 0
    assert repr(journal.records).startswith("array([0, 0, 0")


def test_a_segment_is_made_once_half_of_the_last_one_is_used(tmp_path):
    journal = JournalFile(tmp_path / "j", 64)
    fill(journal, 32)
    journal.look_ahead()
    assert journal._making is None
    fill(journal, 1)
    journal.look_ahead()
    wait_for(lambda: journal.room == 95)
    journal.look_ahead()
    journal.close()
    assert [file.name for file in segments_of(journal.path)] == ["j", "j.1"]


def test_no_room_for_a_further_segment_leaves_what_there_is_and_is_tried_again(tmp_path):
    journal = JournalFile(tmp_path / "j", 32)
    (tmp_path / "j.1").mkdir()  # in the way
    fill(journal, 20)
    journal.look_ahead()
    wait_for(lambda: journal.fault)
    assert "j.1: no room" in journal.fault and journal.room == 12
    (tmp_path / "j.1").rmdir()
    fill(journal, 12)
    journal.look_ahead()
    wait_for(lambda: journal.room == 32)
    assert not journal.fault
    assert sorted(file.name for file in tmp_path.iterdir()) == ["j", "j.1"]


def test_a_half_made_segment_does_not_count(tmp_path):
    path = tmp_path / "j"
    grown(path, 17).close()
    (tmp_path / "j.2.new").write_bytes(b"half")  # killed while it was made
    journal = JournalFile(path)
    assert journal.segments == 2 and journal.count == 17
    fill(journal, 8)
    journal.look_ahead()
    wait_for(lambda: journal.segments == 3)
    assert not (tmp_path / "j.2.new").exists()


@pytest.mark.parametrize("fault", ["missing", "swapped", "foreign", "short"])
def test_segments_that_are_not_the_next_ones_are_refused(tmp_path, fault):
    path = tmp_path / "j"
    grown(path, 37).close()
    if fault == "missing":
        (tmp_path / "j.1").unlink()
    elif fault == "swapped":
        (tmp_path / "j.1").rename(tmp_path / "k")
        (tmp_path / "j.2").rename(tmp_path / "j.1")
        (tmp_path / "k").rename(tmp_path / "j.2")
    elif fault == "foreign":
        grown(tmp_path / "other", 37, seed=50)
        (tmp_path / "other.1").rename(tmp_path / "j.1")
        table = np.fromfile(tmp_path / "j.1", np.int64)[HEADER_BYTES // 8 :].view(JOURNAL)
        assert table["seq"][0] == 17
    else:
        with (tmp_path / "j.2").open("r+b") as file:
            file.truncate(HEADER_BYTES + 2_048)
    for opens in (JournalFile, read_journal):
        with pytest.raises(JournalError, match="j"):
            opens(path)


def test_the_commit_word_is_known_to_be_damaged(tmp_path):
    path = tmp_path / "j"
    journal = JournalFile(path, 16)
    fill(journal, 10)
    for bit in range(64):
        damaged = np.array([commit_word(10)]).view(np.uint64) ^ np.uint64(1 << bit)
        journal.header[COMMIT_WORD] = damaged.view(np.int64)[0]
        with pytest.raises(JournalError, match="damaged"):
            read_journal(path)
    journal.header[COMMIT_WORD] = commit_word(10)
    assert len(read_journal(path)) == 10


def test_many_records_are_checked_across_the_pieces_of_the_check(tmp_path):
    journal = JournalFile(tmp_path / "j", 8_192)
    fill(journal, 8_192)
    assert whole_records(journal.records[: 8_192 * JOURNAL_WORDS]) == 8_192
    for index in (0, 4_095, 4_096, 8_191):
        word = index * JOURNAL_WORDS + 9
        journal.records[word] ^= 1
        assert whole_records(journal.records[: 8_192 * JOURNAL_WORDS]) == index
        journal.records[word] ^= 1
