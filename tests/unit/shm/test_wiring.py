"""The wires of one bot: complete or absent, equal to the private ones, and nobody else's names touched."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bot4.model.errors import SegmentError
from bot4.model.records import ORDER_WORDS, TICK_WORDS
from bot4.shm.layout import CONTROL_KILL, RING_CAPACITY_WORD, RING_WIDTH_WORD, SEGMENT_OWNER_START_WORD
from bot4.shm.segment import create, segment_name
from bot4.shm.spsc_ring import peek_tick, push_tick, ring_check
from bot4.shm.wires import private_wires
from bot4.shm.wiring import attach_wires, create_wires, leftovers, unlink_leftovers

RINGS = ["ticks", "market", "quotes", "intents", "reports", "requests", "events"]
ROLES = [*RINGS, "clocks", "control", "waiters", "tables"]
SMALL = {"n_shards": 2, "n_instruments": 3, "ticks": 16}


@pytest.fixture
def instance():
    """A bot of its own; its names are removed afterwards whatever the test did."""
    made = f"w{os.getpid()}-{os.urandom(3).hex()}"
    yield made
    for path in files_of(made):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


@pytest.fixture
def shared(instance):
    made = create_wires(instance, **SMALL)
    yield made
    made.close()


def files_of(instance: str) -> list[Path]:
    return sorted(Path("/dev/shm").glob(f"bot4.{os.getuid()}.{instance}.*"))


def die_with_wires(instance: str) -> None:
    """Another process makes the wires and is gone."""
    script = f"from bot4.shm.wiring import create_wires; create_wires({instance!r}, 2, 3, ticks=16)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_arrays_are_those_of_private_wires(shared):
    twin = private_wires(**SMALL)
    for name, array, expected in zip(twin._fields, shared.wires, twin, strict=True):
        assert array.shape == expected.shape and array.dtype == expected.dtype, name
        assert array.flags.c_contiguous and array.flags.writeable, name
        assert array.size == 0 or array.ctypes.data % 128 == 0, name
        assert (array == expected).all(), name


def test_one_segment_a_family_and_all_of_one_generation(instance):
    shared = create_wires(instance, **SMALL, generation=7)
    assert [path.name.rsplit(".", 1)[1] for path in files_of(instance)] == sorted(ROLES)
    assert {segment.generation for segment in shared.segments} == {shared.generation} == {7}
    shared.unlink()
    assert files_of(instance) == []
    shared.close()


def test_no_two_arrays_overlap(shared):
    for number, array in enumerate(shared.wires):
        array[...] = number
    for number, array in enumerate(shared.wires):
        assert (array == number).all(), shared.wires._fields[number]


def test_rings_are_rings(shared):
    for name, width in (("ticks", TICK_WORDS), ("intents", ORDER_WORDS), ("reports", ORDER_WORDS)):
        for row in getattr(shared.wires, name):
            ring_check(row, width)
    for name, width in (("market", TICK_WORDS), ("quotes", TICK_WORDS), ("requests", ORDER_WORDS)):
        ring_check(getattr(shared.wires, name), width)
    assert shared.wires.ticks[1][RING_CAPACITY_WORD] == 16


def test_what_one_pushes_the_other_reads(shared, instance):
    other = attach_wires(instance, **SMALL)
    record = np.arange(TICK_WORDS, dtype=np.int64)
    push_tick(shared.wires.ticks[1], record, 0)
    out = np.zeros(TICK_WORDS, np.int64)
    assert not peek_tick(other.wires.ticks[0], out, 0)
    assert peek_tick(other.wires.ticks[1], out, 0)
    assert out[:-1].tolist() == record[:-1].tolist() and out[-1] == 1
    other.wires.control[CONTROL_KILL] = 1
    assert shared.wires.control[CONTROL_KILL] == 1
    other.close()


@pytest.mark.parametrize("wrong", [{"n_shards": 3}, {"n_instruments": 4}, {"ticks": 32}, {"generation": 9}])
def test_another_shape_or_generation_is_refused(shared, instance, wrong):
    with pytest.raises(SegmentError, match=rf"/bot4\.{os.getuid()}\.{instance}\."):
        attach_wires(instance, **SMALL | wrong)


def test_one_segment_of_another_start_is_refused(shared, instance):
    path = Path(f"/dev/shm{segment_name(instance, 'tables')}")
    kept = path.read_bytes()
    path.unlink()
    path.write_bytes(kept[:24] + (5).to_bytes(8, "little") + kept[32:])
    path.chmod(0o600)
    with pytest.raises(SegmentError, match=r"tables is refused: its generation is 5, not 1"):
        attach_wires(instance, **SMALL)


def test_a_ring_that_is_none_is_refused(shared, instance):
    shared.wires.reports[1][RING_WIDTH_WORD] = 8
    with pytest.raises(SegmentError, match="reports is refused: this memory is no ring"):
        attach_wires(instance, **SMALL)


@pytest.mark.parametrize("role", ROLES)
def test_if_one_name_is_taken_nothing_is_made(instance, role):
    taken = Path(f"/dev/shm{segment_name(instance, role)}")
    taken.write_bytes(b"somebody else's")
    with pytest.raises(SegmentError, match=rf"{role} exists already"):
        create_wires(instance, **SMALL)
    assert files_of(instance) == [taken]
    assert taken.read_bytes() == b"somebody else's"


def test_if_there_is_no_room_nothing_is_made(instance):
    facts = os.statvfs("/dev/shm")
    slots = 1 << (facts.f_blocks * facts.f_frsize // 64).bit_length()
    with pytest.raises(SegmentError, match=r"ticks of .* cannot be filled"):
        create_wires(instance, 2, 3, ticks=slots)
    assert files_of(instance) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small /dev/shm")
def test_a_full_dev_shm_is_said_for_every_segment_in_turn(instance):
    """A /dev/shm of every size too small: the segment that does not fit is named, nothing is left, nobody dies."""
    script = f"""
import os, subprocess
from bot4.model.errors import SegmentError
from bot4.shm.wiring import create_wires
named = []
for kib in range(4, 4_000, 4):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={{kib}}k", "tmpfs", "/dev/shm"])
    if mounted.returncode:
        raise SystemExit(77)
    try:
        create_wires({instance!r}, 2, 3, ticks=64).unlink()
        fits = True
    except SegmentError as error:
        named.append(str(error).split()[1].rsplit(".", 1)[1])
        fits = False
    assert os.listdir("/dev/shm") == [], os.listdir("/dev/shm")
    subprocess.run(["umount", "-l", "/dev/shm"], check=True)
    if fits:
        break
print(*dict.fromkeys(named))
"""
    command = ["unshare", "-m", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this host does not let a test mount a small /dev/shm")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ROLES, "each of them is once the first that does not fit"


def test_leftovers_are_what_a_dead_bot_of_this_name_made(instance):
    die_with_wires(instance)
    die_with_wires(instance + "2")  # another bot whose name begins alike
    uid = os.getuid()
    assert [name.rsplit(".", 1)[1] for name in leftovers(uid, instance)] == sorted(ROLES)
    assert len(unlink_leftovers(uid, instance)) == len(ROLES)
    assert files_of(instance) == [] == leftovers(uid, instance) == unlink_leftovers(uid, instance)
    assert len(files_of(instance + "2")) == len(ROLES)
    create_wires(instance, **SMALL).unlink()  # the way is free
    assert len(unlink_leftovers(uid, instance + "2")) == len(ROLES)


def test_a_living_bots_segments_are_no_leftovers(shared, instance):
    assert leftovers(os.getuid(), instance) == []
    assert unlink_leftovers(os.getuid(), instance) == []
    assert len(files_of(instance)) == len(ROLES)
    shared.segments[0].header[SEGMENT_OWNER_START_WORD] += 1  # pid reused by a stranger
    assert [name.rsplit(".", 1)[1] for name in leftovers(os.getuid(), instance)] == ["ticks"]


def test_what_is_not_ours_is_never_removed(instance, tmp_path):
    uid = os.getuid()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link, folder, plain = (Path(f"/dev/shm{segment_name(instance, role)}") for role in ("link", "folder", "plain"))
    link.symlink_to(victim)
    folder.mkdir()
    plain.write_text("unfinished")
    assert leftovers(uid, instance) == [segment_name(instance, "plain")]
    assert leftovers(uid + 1, instance) == []
    if uid == 0:
        os.chown(plain, 12345, -1)
        assert unlink_leftovers(uid, instance) == []
    assert victim.read_text() == "precious" and link.is_symlink() and folder.is_dir()


def test_an_unfinished_segment_is_a_leftover(instance):
    name = segment_name(instance, "ticks")
    made = create(name, 64)
    made.header[:] = 0
    assert leftovers(os.getuid(), instance) == [name]
    made.close()


def test_the_recorder_has_rings_where_they_are_asked_for_and_doors_leave_them_out(instance):
    shared = create_wires(instance, **SMALL, record=32, raw=64)
    assert [int(ring[RING_CAPACITY_WORD]) for ring in (shared.wires.record, shared.wires.raw)] == [32, 64]
    feed, door = attach_wires(instance, **SMALL, record=32, raw=64), attach_wires(instance, **SMALL)
    push_tick(feed.wires.record, np.arange(8), np.int64(0))
    taken = np.zeros(8, np.int64)
    assert peek_tick(shared.wires.record, taken, np.int64(0)) and taken[:7].tolist() == list(range(7))
    assert door.wires.record.size == door.wires.raw.size == 0
    for one in (feed, door, shared):
        one.close()
