"""Segments: private, whole or not there, and refused when anything about them is not as expected."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bot4.model.errors import SegmentError
from bot4.shm.layout import (
    SEGMENT_GENERATION_WORD,
    SEGMENT_HEADER_WORDS,
    SEGMENT_LAYOUT_WORD,
    SEGMENT_MAGIC_WORD,
    SEGMENT_OWNER_PID_WORD,
    SEGMENT_OWNER_START_WORD,
    SEGMENT_SIZE_WORD,
)
from bot4.shm.segment import attach, create, layout_hash, owner_alive, process_start, segment_name

N_WORDS = 64
SIZE = 8 * (SEGMENT_HEADER_WORDS + N_WORDS)


@pytest.fixture
def name():
    """A name that no other test has; whatever a test leaves there is removed."""
    made = segment_name(f"t{os.getpid()}-{os.urandom(3).hex()}", "role")
    yield made
    path = file_of(made)
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


@pytest.fixture
def segment(name):
    made = create(name, N_WORDS, contents="words", generation=3)
    yield made
    made.close()


def file_of(name: str) -> Path:
    return Path(f"/dev/shm{name}")


def maps_of(name: str) -> int:
    return Path("/proc/self/maps").read_text().count(name)


def refused(name: str, reason: str, **expected) -> None:
    arguments = {"contents": "words"} | expected
    before = file_of(name).read_bytes() if file_of(name).is_file() else b""
    with pytest.raises(SegmentError, match=reason) as caught:
        attach(name, N_WORDS, **arguments)
    assert name in str(caught.value) and "\n" not in str(caught.value)
    assert maps_of(name) == 0 or reason  # the owner in this very process may have it mapped
    assert not file_of(name).is_file() or file_of(name).read_bytes() == before


@pytest.mark.parametrize("part", ["", "A", "a.b", "../x", "a/b", "x" * 33, "-a", "a b", "ä", "a\n"])
def test_parts_of_a_name(part):
    for names in ((part, "role"), ("bot", part)):
        with pytest.raises(SegmentError, match="cannot be part"):
            segment_name(*names)


def test_a_name_holds_user_instance_and_role():
    assert segment_name("paper", "ticks") == f"/bot4.{os.getuid()}.paper.ticks"
    assert segment_name("paper", "ticks", 7) == "/bot4.7.paper.ticks"


def test_a_new_segment_is_private_zeroed_aligned_and_described(segment, name):
    facts = file_of(name).stat()
    assert (facts.st_mode & 0o777, facts.st_uid, facts.st_size) == (0o600, os.getuid(), SIZE)
    assert facts.st_blocks * 512 >= SIZE  # the room is taken, not promised
    assert segment.words.shape == (N_WORDS,) and segment.words.dtype == np.int64
    assert segment.words.flags.writeable and segment.words.ctypes.data % 128 == 0
    assert not segment.words.any()
    header = segment.header
    assert header[SEGMENT_SIZE_WORD] == N_WORDS
    assert header[SEGMENT_OWNER_PID_WORD] == os.getpid()
    assert header[SEGMENT_OWNER_START_WORD] == process_start(os.getpid()) > 0
    assert header[SEGMENT_LAYOUT_WORD] == layout_hash("words") != layout_hash("other")
    assert segment.generation == 3


def test_the_mode_does_not_depend_on_the_umask(name):
    before = os.umask(0o277)
    try:
        made = create(name, N_WORDS)
    finally:
        os.umask(before)
    assert file_of(name).stat().st_mode & 0o777 == 0o600
    made.close()


def test_who_attaches_sees_and_is_seen(segment, name):
    other = attach(name, N_WORDS, contents="words", generation=3)
    other.words[5] = -7
    assert segment.words[5] == -7
    segment.words[6] = 8
    assert other.words[6] == 8
    other.close()
    assert file_of(name).exists()


def test_what_was_laid_is_there_before_the_magic(name):
    seen = []

    def lay(words):
        words[:] = 9
        with pytest.raises(SegmentError, match="never finished"):
            attach(name, N_WORDS)
        seen.append(True)

    made = create(name, N_WORDS, lay=lay)
    other = attach(name, N_WORDS)
    assert seen and (other.words == 9).all()
    other.close()
    made.close()


def test_a_laying_that_fails_leaves_nothing(name):
    def lay(words):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        create(name, N_WORDS, lay=lay)
    assert not file_of(name).exists()


def test_a_name_is_taken_once(segment, name):
    with pytest.raises(SegmentError, match=r"exists already.*ls -l /dev/shm/bot4.*, remove it"):
        create(name, N_WORDS)
    assert attach(name, N_WORDS, contents="words").generation == 3


def test_a_missing_segment_is_named(name):
    refused(name, "does not exist")


@pytest.mark.parametrize(
    ("word", "value", "reason"),
    [
        (SEGMENT_MAGIC_WORD, 0, "never finished"),
        (SEGMENT_MAGIC_WORD, 1, "not a segment"),
        (SEGMENT_LAYOUT_WORD, 12, "layout"),
        (SEGMENT_SIZE_WORD, N_WORDS + 1, "words"),
        (SEGMENT_GENERATION_WORD, 4, "generation is 4, not 3"),
    ],
)
def test_a_header_that_is_not_ours_is_refused(segment, name, word, value, reason):
    segment.header[word] = value
    refused(name, reason, generation=3)


def test_other_contents_or_generation_are_refused(segment, name):
    refused(name, "layout", contents="other words")
    refused(name, "generation", generation=2)


@pytest.mark.parametrize("mode", [0o644, 0o666, 0o620, 0o400, 0o700])
def test_another_mode_is_refused(segment, name, mode):
    file_of(name).chmod(mode)
    with pytest.raises(SegmentError, match=r"mode|cannot be opened"):
        attach(name, N_WORDS, contents="words")


@pytest.mark.parametrize("size", [0, 8, SIZE - 8, SIZE + 8])
def test_another_size_is_refused_before_it_is_mapped(segment, name, size):
    os.truncate(file_of(name), size)
    with pytest.raises(SegmentError, match="size"):
        attach(name, N_WORDS, contents="words")
    os.truncate(file_of(name), SIZE)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_another_users_segment_is_refused(segment, name):
    os.chown(file_of(name), 12345, -1)
    refused(name, "owner is user 12345")


def test_a_symbolic_link_is_refused_and_not_written_through(name, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(bytes(SIZE))
    victim.chmod(0o600)
    file_of(name).symlink_to(victim)
    with pytest.raises(SegmentError, match="exists already"):
        create(name, N_WORDS)
    refused(name, "cannot be opened")
    assert victim.read_bytes() == bytes(SIZE)
    assert file_of(name).is_symlink()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused(name, make):
    make(file_of(name), 0o600)
    with pytest.raises(SegmentError, match=r"plain file|cannot be opened"):
        attach(name, N_WORDS)
    with pytest.raises(SegmentError, match="exists already"):
        create(name, N_WORDS)


def test_no_room_is_said_at_creation_and_leaves_nothing(name):
    facts = os.statvfs("/dev/shm")
    with pytest.raises(SegmentError, match="cannot be filled") as caught:
        create(name, facts.f_blocks * facts.f_frsize // 8)
    assert name in str(caught.value)
    assert not file_of(name).exists()


@pytest.mark.parametrize("n_words", [-SEGMENT_HEADER_WORDS, 2**60, 2**63])
def test_an_impossible_size_leaves_nothing(name, n_words):
    with pytest.raises(SegmentError, match="cannot be filled"):
        create(name, n_words)
    assert not file_of(name).exists()


def test_closing_frees_the_map_at_once_or_with_the_last_array(name):
    made = create(name, N_WORDS)
    other = attach(name, N_WORDS)
    assert maps_of(name) == 2
    other.close()
    other.close()  # twice is once
    assert maps_of(name) == 1
    held = made.words[3:9].reshape(2, 3)
    made.close()
    held[0, 0] = 5  # still mapped
    assert maps_of(name) == 1
    del held
    gc.collect()
    assert maps_of(name) == 0


def test_no_descriptor_is_left_open(name):
    def count():
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    made = create(name, N_WORDS)
    other = attach(name, N_WORDS)
    for _ in range(3):
        with pytest.raises(SegmentError):
            attach(name, N_WORDS + 1)
        with pytest.raises(SegmentError):
            create(name, N_WORDS)
    made.close()
    other.close()
    assert count() == before


def test_unlinking_twice_or_after_another_did(name):
    made = create(name, N_WORDS)
    made.unlink()
    made.unlink()
    assert not file_of(name).exists()
    made.words[0] = 1  # the memory lives on
    successor = create(name, N_WORDS, generation=2)
    made.unlink()  # the name means another segment now
    assert attach(name, N_WORDS).generation == 2
    successor.close()
    made.close()


def test_a_foreign_python_that_attached_and_left_takes_nothing_with_it(segment, name):
    script = f"""
from bot4.shm.segment import attach
for _ in range(100):
    segment = attach({name!r}, {N_WORDS}, contents="words")
    segment.words[0] += 1
    segment.close()
kept = attach({name!r}, {N_WORDS}, contents="words")
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert file_of(name).exists()
    assert segment.words[0] == 100
    assert attach(name, N_WORDS, contents="words").words[0] == 100


@pytest.mark.parametrize("times", [2, pytest.param(100, marks=pytest.mark.stress)])
def test_each_foreign_python_that_attaches_and_leaves_takes_nothing_with_it(segment, name, times):
    script = f"""
from bot4.shm.segment import attach
attach({name!r}, {N_WORDS}, contents="words").words[0] += 1
"""
    for number in range(times):
        subprocess.run([sys.executable, "-c", script], check=True, env=os.environ | {"BOT4_WATCHER": "1"})
        assert file_of(name).exists() and segment.words[0] == number + 1
    assert attach(name, N_WORDS, contents="words").inode == segment.inode


def test_the_owner_is_a_process_not_just_a_pid(segment, name):
    assert owner_alive(name)
    started = int(segment.header[SEGMENT_OWNER_START_WORD])
    segment.header[SEGMENT_OWNER_START_WORD] = started + 1  # the pid was reused
    assert not owner_alive(name)
    segment.header[SEGMENT_OWNER_START_WORD] = 0
    assert not owner_alive(name)
    segment.header[SEGMENT_OWNER_START_WORD] = started
    segment.header[SEGMENT_OWNER_PID_WORD] = 2**22 + 1  # above every pid_max
    assert not owner_alive(name)
    assert not owner_alive(name + "x")


def test_a_zombie_is_no_owner():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert process_start(pid) == 0
    os.waitpid(pid, 0)
    assert process_start(pid) == 0
