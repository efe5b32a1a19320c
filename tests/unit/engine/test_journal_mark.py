"""The mark: what is synced, what a power cut leaves, and that a sync that fails is final."""

import os
import random

import numpy as np
import pytest
from rig.journal import fill, grown, other_boot, wait_for

from bot4.engine.journal import (
    COMMIT_WORD,
    FAILED_WORD,
    HEADER_BYTES,
    STRICT_WORD,
    SYNCED_WORD,
    JournalFile,
    commit_word,
    journal_settled,
    make_segment,
    segments_of,
)
from bot4.engine.journal_mark import (
    SLOT_BYTES,
    JournalSync,
    Mark,
    boot_id,
    committed,
    mark_path,
    pack_mark,
    read_mark,
    settle,
)
from bot4.model.errors import JournalError
from bot4.model.records import JOURNAL, JOURNAL_WORDS

CAPACITY = 256  # 64 KiB a segment


def synced_journal(path, records, **options):
    """A journal of so many records, all of them synced, and closed."""
    journal = grown(path, records, CAPACITY, durable=True)
    sync = JournalSync(journal, **options)
    written = journal.table.copy()
    sync.close()
    journal.close()
    return written


def test_what_is_appended_is_marked_as_synced_soon(tmp_path):
    journal = JournalFile(tmp_path / "j", CAPACITY, durable=True)
    sync = JournalSync(journal)
    assert read_mark(tmp_path / "j") == Mark(1, 1, 0, boot_id()) and sync.epoch == 1
    for count in (1, 5, 200):
        fill(journal, count - journal.count)
        wait_for(lambda wanted=count: journal.header[SYNCED_WORD] == wanted)
        assert read_mark(tmp_path / "j").seq == count
    sync.close()
    content = mark_path(tmp_path / "j").read_bytes()
    assert len(content) == 2 * SLOT_BYTES and content[:SLOT_BYTES] != content[SLOT_BYTES:]


def test_each_start_has_a_number_of_its_own_and_a_close_leaves_nothing_unsynced(tmp_path):
    for number in range(1, 5):
        journal = JournalFile(tmp_path / "j", CAPACITY, durable=True)
        sync = JournalSync(journal)
        assert sync.epoch == number == read_mark(tmp_path / "j").epoch
        fill(journal, 3)
        sync.close()
        journal.close()
        assert read_mark(tmp_path / "j").seq == 3 * number


def test_segments_of_a_synced_journal_hold_zeros_not_holes(tmp_path):
    make_segment(tmp_path / "j", 0, CAPACITY, durable=True)
    (file,) = segments_of(tmp_path / "j")
    size = HEADER_BYTES + CAPACITY * JOURNAL.itemsize
    with file.open("rb") as opened:  # before anybody has touched its pages
        assert os.lseek(opened.fileno(), 0, os.SEEK_HOLE) == size
    assert file.stat().st_blocks * 512 >= size


@pytest.mark.parametrize("torn", [0, 1])
def test_a_torn_slot_leaves_the_other_one(tmp_path, torn):
    path = mark_path(tmp_path / "j")
    older, newer = Mark(6, 2, 100, boot_id()), Mark(7, 2, 120, boot_id())
    slots = [older, newer]
    content = bytearray(pack_mark(older) + pack_mark(newer))
    content[torn * SLOT_BYTES + 30] ^= 1
    path.write_bytes(content)
    assert read_mark(tmp_path / "j") == slots[1 - torn]
    content[(1 - torn) * SLOT_BYTES + 4_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(JournalError, match="mark: damaged"):
        read_mark(tmp_path / "j")


def test_fewer_records_than_were_synced_are_refused(tmp_path):
    path = tmp_path / "j"
    synced_journal(path, 100)
    journal = JournalFile(path)
    journal.header[COMMIT_WORD] = commit_word(99)  # a commit word of long ago: the last acknowledged record is gone
    with pytest.raises(JournalError, match="99 records count, and 100 were synced"):
        JournalSync(journal)
    with pytest.raises(JournalError, match="99 records count, and 100 were synced"):
        committed(path)
    path.unlink()
    with pytest.raises(JournalError, match="missing, and 100 records"):
        settle(path)


def test_after_another_boot_what_is_whole_counts_and_the_rest_is_kept_as_evidence(tmp_path):
    path = tmp_path / "j"
    written = synced_journal(path, 300)
    other_boot(path, seq=280)
    table = np.memmap(path.with_name("j.1"), np.int64, "r+", HEADER_BYTES).view(JOURNAL)
    table["equity_e8"][290 - CAPACITY] += 1
    table.flush()
    before = [file.read_bytes() for file in segments_of(path)]
    assert np.array_equal(committed(path), written[:290])
    assert settle(path)
    assert [file.with_name(f"{file.name}.before-1").read_bytes() for file in segments_of(path)] == before
    journal = JournalFile(path, durable=True)
    assert np.array_equal(journal.table, written[:290]) and journal.room == 2 * CAPACITY - 290
    assert not journal.records[290 * JOURNAL_WORDS : 2 * CAPACITY * JOURNAL_WORDS].any()
    sync = JournalSync(journal)
    assert sync.epoch == 2
    fill(journal, 5)
    sync.close()
    assert len(committed(path)) == 295 and not settle(path)


def test_after_another_boot_a_damaged_record_below_the_mark_is_refused(tmp_path):
    path = tmp_path / "j"
    synced_journal(path, 300)
    other_boot(path, seq=291)
    table = np.memmap(path.with_name("j.1"), np.int64, "r+", HEADER_BYTES).view(JOURNAL)
    table["equity_e8"][290 - CAPACITY] += 1
    table.flush()
    for opens in (committed, settle):
        with pytest.raises(JournalError, match="record 291 is damaged, and 291 were synced"):
            opens(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["j", "j.1", "j.mark"], "nothing is changed"


def test_settling_that_was_killed_comes_to_the_same_when_it_is_done_again(tmp_path):
    path = tmp_path / "j"
    written = synced_journal(path, 300)
    other_boot(path, seq=200)
    os.truncate(path.with_name("j.1"), HEADER_BYTES + 10 * JOURNAL.itemsize + 7)
    for _ in range(2):  # the mark still names the boot before
        assert settle(path)
        assert np.array_equal(committed(path), written[:266])
    assert path.with_name("j.1.before-1").stat().st_size == HEADER_BYTES + 10 * JOURNAL.itemsize + 7


@pytest.mark.parametrize("step", [97, pytest.param(1, marks=pytest.mark.stress)])
def test_a_journal_cut_at_any_byte_is_its_exact_prefix(tmp_path, step):
    """Of the last 64 KiB, and one byte on either side of each edge."""
    path = tmp_path / "j"
    written = synced_journal(path, 2 * CAPACITY + 40)
    other_boot(path, seq=0)
    segment = HEADER_BYTES + CAPACITY * JOURNAL.itemsize
    end = 2 * CAPACITY * JOURNAL.itemsize + 40 * JOURNAL.itemsize  # of the records, as if there were no headers
    edges = {edge + more for edge in (CAPACITY * 256, 2 * CAPACITY * 256, end) for more in (-257, -256, -255, -1, 0, 1)}
    for kept in sorted({*range(end - 65_536, end, step), *(edge for edge in edges if edge <= end)}, reverse=True):
        number, within = divmod(kept, CAPACITY * 256)
        os.truncate(path.with_name(f"j.{number}") if number else path, HEADER_BYTES + within)
        for later in range(number + 1, 3):
            path.with_name(f"j.{later}").unlink(missing_ok=True)
        whole, rest = divmod(kept, 256)
        if rest and not any(written[whole].tobytes()[rest:]):
            whole += 1  # zeros alone were cut off: the record is what was written
        assert np.array_equal(committed(path), written[:whole]), kept
    assert segment > 65_536


@pytest.mark.parametrize("seed", range(12))
def test_a_cut_journal_goes_on(tmp_path, seed):
    path = tmp_path / "j"
    written = synced_journal(path, CAPACITY + 40)
    other_boot(path, seq=0)
    kept = random.Random(seed).randrange(CAPACITY * 256, (CAPACITY + 40) * 256)
    os.truncate(path.with_name("j.1"), HEADER_BYTES + kept - CAPACITY * 256)
    assert settle(path)
    journal = JournalFile(path, durable=True)
    sync = JournalSync(journal)
    fill(journal, 10, seed=seed)
    sync.close()
    found = committed(path)
    assert len(found) == kept // 256 + 10 and np.array_equal(found[: kept // 256], written[: kept // 256])


def small_journal(path):
    """64 KiB of header and 240 records, all synced; the bytes as they may be changed, and what was written."""
    journal = JournalFile(path, 240, durable=True)
    fill(journal, 240)
    sync = JournalSync(journal)
    sync.close()
    journal.close()
    assert path.stat().st_size == 65_536
    return np.memmap(path, np.uint8, "r+"), journal.table.copy()


def accepted(path, written, changed):
    """False if the journal is refused; whatever is accepted is what was written."""
    try:
        found = committed(path)
    except JournalError:
        return False
    assert np.array_equal(found, written), changed
    return True


@pytest.mark.parametrize("step", [389, pytest.param(1, marks=pytest.mark.stress)])
@pytest.mark.parametrize("boot", ["same", "other"])
def test_no_flipped_bit_makes_a_wrong_record(tmp_path, step, boot):
    path = tmp_path / "j"
    content, written = small_journal(path)
    if boot == "other":
        other_boot(path)
    for bit in range(step // 2, len(content) * 8, step):
        content[bit // 8] ^= 1 << bit % 8
        assert not accepted(path, written, bit) or bit < HEADER_BYTES * 8, bit
        content[bit // 8] ^= 1 << bit % 8
    assert accepted(path, written, None)


@pytest.mark.parametrize("count", [1_000, pytest.param(100_000, marks=pytest.mark.stress)])
def test_no_fault_of_sectors_makes_a_wrong_record(tmp_path, count):
    """Bits at random, and sectors zeroed, stale, swapped and written twice."""
    path = tmp_path / "j"
    content, written = small_journal(path)
    elder, _ = small_journal_of_another_day(tmp_path / "elder")
    good = content.copy()
    dice = random.Random(5)
    refused = 0
    for _ in range(count):
        kind = dice.choice(("bits", "zeroed", "stale", "swapped", "doubled"))
        sectors = dice.sample(range(128), 2)
        one, two = (slice(512 * sector, 512 * sector + 512) for sector in sectors)
        if kind == "bits":
            for _ in range(dice.randint(2, 9)):
                content[dice.randrange(65_536)] ^= 1 << dice.randrange(8)
        elif kind == "zeroed":
            content[one] = 0
        elif kind == "stale":
            content[one] = elder[one]
        elif kind == "swapped":
            content[one], content[two] = good[two], good[one]
        else:
            content[one] = good[two]
        same = np.array_equal(content[HEADER_BYTES:], good[HEADER_BYTES:])
        taken = accepted(path, written, (kind, sectors))
        assert same or not taken, (kind, sectors)
        refused += not taken
        content[:] = good
    assert refused > count * 0.8


def small_journal_of_another_day(path):
    """The same size, other records."""
    journal = JournalFile(path, 240, durable=True)
    fill(journal, 240, seed=77)
    journal.close()
    return np.fromfile(path, np.uint8), None


@pytest.mark.parametrize("seeds", [100, pytest.param(10_000, marks=pytest.mark.stress)])
def test_a_power_cut_leaves_a_prefix_no_shorter_than_the_mark(tmp_path, seeds):
    """Any subset of the pages that were written and not synced is on the disk, some of them half."""
    path = tmp_path / "j"
    journal = grown(path, 230, CAPACITY, durable=True)
    sync = JournalSync(journal)
    marks, disk = [mark_path(path).read_bytes()], [[file.read_bytes() for file in segments_of(path)]]
    for more in (13, 40, 200):
        fill(journal, more, seed=more)
        if journal.room < CAPACITY // 2:
            journal.look_ahead()
            wait_for(lambda: journal.room >= CAPACITY // 2)
        wait_for(lambda: journal.header[SYNCED_WORD] == journal.count)
        marks.append(mark_path(path).read_bytes())
        disk.append([file.read_bytes() for file in segments_of(path)])
    written = journal.table.copy()
    sync.close()
    journal.close()
    lost = 0
    for seed in range(seeds):
        dice = random.Random(seed)
        place = dice.randrange(len(marks) - 1)
        old, new = disk[place], disk[place + 1]
        folder = tmp_path / "disk"
        folder.mkdir(exist_ok=True)
        for number, after in enumerate(new):
            before = old[number] if number < len(old) else after[:HEADER_BYTES].ljust(len(after), b"\0")
            pages = []
            for at in range(0, len(after), 4_096):
                was, now = before[at : at + 4_096], after[at : at + 4_096]
                half = 512 * dice.randint(1, 7)
                pages.append(dice.choice((was, now, now, now[:half] + was[half:])))
            (folder / f"j.{number}" if number else folder / "j").write_bytes(b"".join(pages))
        mark_path(folder / "j").write_bytes(marks[place])
        other_boot(folder / "j")
        found = committed(folder / "j")
        synced = read_mark(folder / "j").seq
        assert synced <= len(found) and np.array_equal(found, written[: len(found)]), seed
        lost += len(found) < read_mark_seq(marks[place + 1])
        if seed % 50 == 0:
            assert settle(folder / "j")
            again = JournalFile(folder / "j", durable=True)
            assert np.array_equal(again.table, written[: len(found)]), seed
            after = JournalSync(again)
            assert after.epoch > 1, "no start repeats the number of another"
            after.close()
            again.close()
            for file in folder.iterdir():
                file.unlink()
    assert lost > seeds // 2


def read_mark_seq(content):
    """The larger seq of a mark's two slots."""
    return max(int.from_bytes(content[at + 24 : at + 32], "little") for at in (0, SLOT_BYTES))


def test_strict_waits_for_the_sync_and_not_for_ever(tmp_path):
    journal = JournalFile(tmp_path / "j", CAPACITY, durable=True)
    assert journal_settled(journal.header), "nobody asked for it"
    sync = JournalSync(journal, strict=True)
    for _ in range(20):
        fill(journal, 1)
        assert journal_settled(journal.header)
        assert read_mark(tmp_path / "j").seq == journal.count == journal.header[SYNCED_WORD]
    sync.close()
    journal.close()
    journal.header[FAILED_WORD] = 1
    fill(journal, 1)
    assert journal.header[STRICT_WORD] == 1 and not journal_settled(journal.header)
