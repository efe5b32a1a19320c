"""The kill latch: what was tripped is never read as clear, whatever happens to the file."""

import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from bot4.adapters.system import latch
from bot4.adapters.system.latch import SLOT_BYTES, KillLatch, is_tripped, read
from bot4.model.errors import Bot4Error, InputError


@pytest.fixture
def fresh(tmp_path):
    """A clear latch."""
    made = KillLatch(tmp_path)
    made.initialise()
    return made


def tripped(folder: Path) -> KillLatch:
    made = KillLatch(folder)
    made.initialise()
    made.trip("fat finger")
    return made


def test_a_new_latch_is_clear(fresh):
    assert not fresh.read().tripped and not is_tripped(fresh.path)
    assert stat.S_IMODE(fresh.path.stat().st_mode) == 0o600


def test_a_missing_latch_is_tripped(tmp_path):
    found = read(tmp_path / "kill.latch")
    assert found.tripped and found.damaged and "missing" in found.reason


def test_trip_and_reset_alternate_and_keep_the_reason(fresh):
    for number in range(5):
        assert fresh.trip(f"reason {number}").reason == f"reason {number}"
        assert is_tripped(fresh.path)
        assert not fresh.reset(f"checked {number}").tripped
        assert fresh.read().reason == f"checked {number}"
    assert fresh.read().generation == 12


def test_tripping_twice_stays_tripped(fresh):
    fresh.trip("first")
    first = fresh.read()
    assert fresh.trip("second").reason == "first; then: second"
    assert fresh.trip("first").reason == "first; then: second", "said before"
    assert fresh.read().since_ns == first.since_ns
    fresh.reset("looked at")
    assert fresh.trip("third").reason == "third"
    assert is_tripped(fresh.path)


def test_trip_where_nothing_has_ever_been(tmp_path):
    made = KillLatch(tmp_path / "not" / "there")
    assert made.trip("early").tripped
    made.initialise()
    assert made.read().tripped, "making the latch must not clear one that is there"


@pytest.mark.parametrize("start", ["clear", "tripped", "reset"])
def test_each_changed_byte_is_tripped(tmp_path, start):
    made = KillLatch(tmp_path)
    made.initialise()
    if start != "clear":
        made.trip("fat finger")
    if start == "reset":
        made.reset("checked")
    whole = made.path.read_bytes()
    assert len(whole) == 2 * SLOT_BYTES
    for at in range(len(whole)):
        for flip in (0x01, 0x80, 0xFF):
            made.path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
            assert is_tripped(made.path), (start, at, flip)


def test_each_length_but_the_right_one_is_tripped(fresh):
    whole = fresh.path.read_bytes()
    for length in [*range(0, len(whole), 37), len(whole) - 1]:
        fresh.path.write_bytes(whole[:length])
        assert is_tripped(fresh.path), length
    fresh.path.write_bytes(whole + b"\0")
    assert is_tripped(fresh.path)


def test_a_torn_trip_is_tripped(fresh):
    """Whatever prefix of the new slot reached the disk: somebody wanted a halt."""
    before = fresh.path.read_bytes()
    fresh.trip("power cut")
    after = fresh.path.read_bytes()
    slot = next(at for at in (0, SLOT_BYTES) if before[at : at + SLOT_BYTES] != after[at : at + SLOT_BYTES])
    differ = [at for at in range(slot, slot + SLOT_BYTES) if before[at] != after[at]]
    for count in range(differ[0] + 1, slot + SLOT_BYTES):
        fresh.path.write_bytes(before[:slot] + after[slot:count] + before[count:])
        assert is_tripped(fresh.path), count


def test_an_old_slot_put_back_is_tripped(fresh):
    """A stale sector beside a newer slot is no neighbour of it."""
    old = fresh.path.read_bytes()
    fresh.trip("halt")
    fresh.reset("checked")
    fresh.trip("halt again")
    now = fresh.path.read_bytes()
    for slot in (0, SLOT_BYTES):
        mixed = bytearray(now)
        mixed[slot : slot + SLOT_BYTES] = old[slot : slot + SLOT_BYTES]
        fresh.path.write_bytes(mixed)
        assert is_tripped(fresh.path)


@pytest.mark.parametrize("damage", ["both", "newest", "oldest", "gone", "short"])
def test_reset_mends_a_damaged_latch(tmp_path, damage):
    made = tripped(tmp_path)
    whole = bytearray(made.path.read_bytes())
    if damage == "gone":
        made.path.unlink()
    elif damage == "short":
        made.path.write_bytes(whole[:700])
    else:
        newest = 0 if whole[16] > whole[SLOT_BYTES + 16] else SLOT_BYTES  # generation's low byte
        hit = {"both": (0, SLOT_BYTES), "newest": (newest,), "oldest": (SLOT_BYTES - newest,)}[damage]
        for slot in hit:
            whole[slot + 40] ^= 1
        made.path.write_bytes(whole)
    assert is_tripped(made.path)
    assert not made.reset("looked at it").tripped
    assert not is_tripped(made.path)
    assert made.trip("and again").tripped


def test_a_damaged_latch_keeps_the_reason_that_is_still_whole(tmp_path):
    made = tripped(tmp_path)
    made.trip("second")
    whole = bytearray(made.path.read_bytes())
    newest = 0 if whole[16] > whole[SLOT_BYTES + 16] else SLOT_BYTES
    whole[newest + 100] ^= 1
    made.path.write_bytes(whole)
    found = made.read()
    assert found.tripped and found.damaged and found.reason == "fat finger"


def test_a_folder_in_its_place_is_tripped(tmp_path):
    (tmp_path / latch.FILE_NAME).mkdir()
    assert is_tripped(tmp_path / latch.FILE_NAME)
    with pytest.raises(Bot4Error, match="cannot be written"):
        KillLatch(tmp_path).trip("halt")


def test_a_link_in_its_place_is_not_written_through(tmp_path):
    target = tmp_path / "elsewhere"
    target.write_bytes(b"precious")
    (tmp_path / latch.FILE_NAME).symlink_to(target)
    with pytest.raises(Bot4Error):
        KillLatch(tmp_path).trip("halt")
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("reason", ["", "   ", "\n"])
def test_reset_and_trip_need_a_reason(fresh, reason):
    for change in (fresh.trip, fresh.reset):
        with pytest.raises(InputError, match="--reason is empty"):
            change(reason)
    assert not fresh.read().tripped


def test_a_long_reason_is_cut_at_a_whole_character(fresh):
    found = fresh.trip("é" * 1000)
    assert found.tripped and set(found.reason) == {"é"} and len(found.reason.encode()) <= latch.REASON_BYTES


def test_lines_in_a_reason_become_one(fresh):
    assert fresh.trip("a\nb\tc").reason == "a b c"


def test_a_failed_sync_is_raised_and_not_tried_again(fresh, monkeypatch):
    calls = []

    def fail(descriptor):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            calls.append(descriptor)
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Bot4Error, match="Input/output error"):
        fresh.trip("halt")
    assert len(calls) == 1
    monkeypatch.undo()
    assert is_tripped(fresh.path), "the word is there even if it may not outlive a power cut"


def _trip_many(folder, number):
    for count in range(20):
        KillLatch(folder).trip(f"{number} {count}")


def test_writers_at_once_lose_nothing(fresh):
    """Each change is one generation; a reader never sees it clear in between."""
    fresh.trip("first")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_trip_many, args=(fresh.folder, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert is_tripped(fresh.path)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert fresh.read().generation == 3 + 3 * 20
