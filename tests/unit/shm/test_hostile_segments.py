"""Each name of a bot, found made by somebody else in six ways: refused, by name, and nothing is written through it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from bot4.model.errors import SegmentError
from bot4.shm.layout import SEGMENT_GENERATION_WORD, SEGMENT_LAYOUT_WORD
from bot4.shm.segment import segment_name
from bot4.shm.wiring import attach_wires, create_wires, leftovers

ROLES = ["ticks", "market", "quotes", "intents", "reports", "requests", "events",
         "clocks", "control", "waiters", "tables"]  # fmt: skip
SMALL = {"n_shards": 2, "n_instruments": 3, "ticks": 16}
only_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")


def of_another_owner(path: Path, aside: Path) -> Path:
    """The file as it is, but somebody else's."""
    os.chown(path, 12345, -1)
    return path


def of_another_mode(path: Path, aside: Path) -> Path:
    """Everybody may write."""
    path.chmod(0o666)
    return path


def of_another_size(path: Path, aside: Path) -> Path:
    """A page short: whoever maps it dies at its end."""
    os.truncate(path, path.stat().st_size - 8)
    return path


def _word(path: Path, word: int) -> Path:
    with path.open("r+b") as file:
        header = np.frombuffer(file.read(128), np.int64).copy()
        header[word] += 1
        file.seek(0)
        file.write(header.tobytes())
    return path


def of_another_layout(path: Path, aside: Path) -> Path:
    """Another version's records."""
    return _word(path, SEGMENT_LAYOUT_WORD)


def of_another_generation(path: Path, aside: Path) -> Path:
    """Another start of the bot."""
    return _word(path, SEGMENT_GENERATION_WORD)


def behind_a_link(path: Path, aside: Path) -> Path:
    """A link to a file that is all right but elsewhere; the victim's path is returned."""
    victim = aside / "victim"
    shutil.copy(path, victim)
    victim.chmod(0o600)
    path.unlink()
    path.symlink_to(victim)
    return victim


KINDS = [pytest.param(of_another_owner, marks=only_root), of_another_mode, of_another_size, of_another_layout,
         of_another_generation, behind_a_link]  # fmt: skip


@pytest.fixture
def instance():
    """A bot of its own; its names are removed afterwards."""
    made = f"h{os.getpid()}-{os.urandom(3).hex()}"
    yield made
    for path in files_of(made):
        path.unlink()


def files_of(instance: str) -> list[Path]:
    return sorted(Path("/dev/shm").glob(f"bot4.{os.getuid()}.{instance}.*"))


@pytest.mark.parametrize("spoil", KINDS)
@pytest.mark.parametrize("role", ROLES)
def test_a_start_and_a_door_refuse_it_and_leave_it_as_it_is(instance, role, spoil, tmp_path):
    made = create_wires(instance, **SMALL, generation=7)
    assert [path.name.rsplit(".", 1)[1] for path in files_of(instance)] == sorted(ROLES)
    path = Path(f"/dev/shm{segment_name(instance, role)}")
    victim = spoil(path, tmp_path)
    before = victim.read_bytes()
    facts = victim.stat()

    with pytest.raises(SegmentError, match=rf"\.{role} ") as refusal:  # a door: status, kill, a worker
        attach_wires(instance, **SMALL, generation=7)
    assert "\n" not in str(refusal.value) and len(files_of(instance)) == len(ROLES)

    made.close()
    for other in files_of(instance):
        if other != path:
            other.unlink()
    with pytest.raises(SegmentError, match=rf"\.{role} exists already"):  # a start
        create_wires(instance, **SMALL, generation=8)
    assert files_of(instance) == [path], "what was begun is gone, what was found is there"
    assert victim.read_bytes() == before
    now = victim.stat()
    assert (now.st_mode, now.st_uid, now.st_size) == (facts.st_mode, facts.st_uid, facts.st_size)
    if spoil in (of_another_owner, behind_a_link):
        assert leftovers(os.getuid(), instance) == [], "nor does a start remove it as left by a dead bot"
