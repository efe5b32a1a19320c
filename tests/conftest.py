"""Fixtures of all tests: the recordings, the compile cache, and the check that nothing is left in shared memory.

Recordings lie below BOT4_DATA (default: ../shared/data beside the repository). Where they are absent, their tests are
skipped by that reason; with BOT4_REQUIRE_DATA=1 they fail instead, so that a check run never passes by skipping.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
os.environ.setdefault("BOT4_KERNEL_CACHE", str(REPOSITORY / "build" / "kernels"))  # read when the first kernel is made

import numpy as np  # noqa: E402
import psutil  # noqa: E402

from bot4.jit import JIT  # noqa: E402
from bot4.shm.layout import SEGMENT_MAGIC, SEGMENT_MAGIC_WORD, SEGMENT_OWNER_PID_WORD  # noqa: E402

SHARED_MEMORY = Path("/dev/shm")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has no meaning without the compiler."""
    if JIT:
        return
    left_out = [item for item in items if item.get_closest_marker("compiled")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the recordings; skips where it is absent, fails there when BOT4_REQUIRE_DATA=1."""
    folder = Path(os.environ.get("BOT4_DATA") or REPOSITORY.parent / "shared" / "data")
    folder = folder if folder.is_absolute() else REPOSITORY / folder
    if (folder / "hftbacktest").is_dir():
        return folder
    reason = "the recordings are absent: name their folder by BOT4_DATA"
    if os.environ.get("BOT4_REQUIRE_DATA") == "1":
        pytest.fail(f"{reason}, as BOT4_REQUIRE_DATA=1 demands")
    pytest.skip(reason)


def _segments() -> set[Path]:
    return set(SHARED_MEMORY.glob(f"bot4.{os.getuid()}.*"))


def _belongs_elsewhere(segment: Path) -> bool:
    """Whether a living process that these tests did not start owns the segment: another session on this machine."""
    words = np.fromfile(segment, np.int64, SEGMENT_OWNER_PID_WORD + 1) if segment.exists() else np.zeros(0, np.int64)
    if words.size <= SEGMENT_OWNER_PID_WORD or words[SEGMENT_MAGIC_WORD] != SEGMENT_MAGIC:
        return not segment.exists()
    owner = int(words[SEGMENT_OWNER_PID_WORD])
    ours = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    return owner not in ours and psutil.pid_exists(owner)


@pytest.fixture(scope="session", autouse=True)
def no_segment_left() -> Iterator[None]:
    """At the end of the tests no segment of theirs is left in shared memory."""
    before = _segments()
    yield
    patience = time.monotonic() + 30  # a session of the tests beside these may just have been killed, to be cleaned up
    while left := sorted(segment.name for segment in _segments() - before if not _belongs_elsewhere(segment)):
        assert time.monotonic() < patience, f"left in shared memory: {', '.join(left)}"
        time.sleep(0.5)
