"""The wires of one bot in shared memory: one segment per family of arrays, made once, mapped by every process.

A bot is (user, instance): /bot4.<uid>.<instance>.<role>. The supervisor removes what a dead bot of that very name left,
creates the wires and forks the workers, which inherit the maps; a door that was not forked (status, kill) attaches.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import posix_ipc

from bot4.model.errors import SegmentError
from bot4.model.records import ORDER_WORDS, TICK_WORDS
from bot4.shm.layout import LINE, ring_words
from bot4.shm.segment import FOLDER, Segment, attach, create, owner_alive, segment_name
from bot4.shm.spsc_ring import ring_check, ring_create
from bot4.shm.wires import NO_RING, NOTHING_KEPT, ORDER_RING_CAPACITY, TICK_RING_CAPACITY, Wires, plain_shapes

_ALONE = (
    "clocks",
    "control",
    "waiters",
)  # of the plain arrays these have a segment of their own: a door may map just one


class SharedWires:
    """The wires and the segments they lie in."""

    def __init__(self, wires: Wires, segments: list[Segment]) -> None:
        self.wires = wires
        self.segments = segments

    @property
    def generation(self) -> int:
        """Which start of this bot made the wires."""
        return self.segments[0].generation

    def close(self) -> None:
        """Let go of all memory; arrays that are still held elsewhere keep theirs mapped."""
        self.wires = Wires(*(np.zeros(0, np.int64) for _ in Wires._fields))
        for segment in self.segments:
            segment.close()

    def unlink(self) -> None:
        """Remove all names; processes that mapped the segments keep them."""
        for segment in self.segments:
            segment.unlink()


class _Family(NamedTuple):
    """One segment: its role in the name, its size, and how its arrays lie in it."""

    role: str
    n_words: int
    contents: str
    lay: Callable[[np.ndarray], object]
    check: Callable[[np.ndarray], object]
    arrays: Callable[[np.ndarray], dict[str, np.ndarray]]


def _ring_family(role: str, count: int | None, capacity: int, width: int) -> _Family:
    """`count` rings as rows of one array, or one ring alone (None)."""
    length = ring_words(capacity, width)
    rows = 1 if count is None else count

    def lay(words):
        for row in words.reshape(rows, length):
            ring_create(row, capacity, width)

    def check(words):
        for row in words.reshape(rows, length):
            ring_check(row, width)

    def arrays(words):
        return {role: words if count is None else words.reshape(rows, length)}

    return _Family(role, rows * length, f"{rows} rings of {capacity} x {width}", lay, check, arrays)


def _plain_family(role: str, shapes: dict[str, tuple[int, ...]]) -> _Family:
    """Plain arrays one after another, each beginning on a line of its own."""
    places: dict[str, tuple[int, int]] = {}
    end = 0
    for name, shape in shapes.items():
        length = int(np.prod(shape))
        places[name] = (end, end + length)
        end += -(-length // LINE) * LINE

    def nothing(words):
        """Zeros are right."""

    def arrays(words):
        return {name: words[start:stop].reshape(shapes[name]) for name, (start, stop) in places.items()}

    return _Family(role, end, str(shapes), nothing, nothing, arrays)


def _families(n_shards: int, n_instruments: int, ticks: int, record: int, raw: int) -> list[_Family]:
    plain = plain_shapes(n_shards, n_instruments)
    recorded = {"record": record, "raw": raw}
    return [
        _ring_family("ticks", n_shards, ticks, TICK_WORDS),
        _ring_family("market", None, ticks, TICK_WORDS),
        _ring_family("quotes", None, ticks, TICK_WORDS),
        *(_ring_family(role, None, slots, TICK_WORDS) for role, slots in recorded.items() if slots),
        _ring_family("intents", n_shards, ORDER_RING_CAPACITY, ORDER_WORDS),
        _ring_family("reports", n_shards, ORDER_RING_CAPACITY, ORDER_WORDS),
        _ring_family("requests", None, ORDER_RING_CAPACITY, ORDER_WORDS),
        _ring_family("events", None, ORDER_RING_CAPACITY, ORDER_WORDS),
        *(_plain_family(name, {name: plain[name]}) for name in _ALONE),
        _plain_family("tables", {name: shape for name, shape in plain.items() if name not in _ALONE}),
    ]


def create_wires(
    instance: str,
    n_shards: int,
    n_instruments: int,
    ticks: int = TICK_RING_CAPACITY,
    generation: int = 1,
    record: int = 0,
    raw: int = 0,
) -> SharedWires:
    """Make the shared memory of one bot: all of it, or (SegmentError, naming the segment) nothing.

    Parameters
    ----------
    instance : name of the bot among those of this user
    n_shards, n_instruments : > 0
    ticks : slots of each tick ring, a power of two
    generation : number of this start of the bot
    record, raw : slots of the recorder's rings, powers of two; 0: no such ring
    """
    segments: list[Segment] = []
    arrays: dict[str, np.ndarray] = {"record": NO_RING, "raw": NO_RING}
    try:
        for family in _families(n_shards, n_instruments, ticks, record, raw):
            name = segment_name(instance, family.role)
            made = create(name, family.n_words, contents=family.contents, generation=generation, lay=family.lay)
            segments.append(made)
            arrays |= family.arrays(made.words)
    except BaseException:
        arrays.clear()
        _drop(segments, remove=True)
        raise
    return SharedWires(Wires(kept=NOTHING_KEPT, **arrays), segments)


def attach_wires(
    instance: str,
    n_shards: int,
    n_instruments: int,
    ticks: int = TICK_RING_CAPACITY,
    generation: int | None = None,
    record: int = 0,
    raw: int = 0,
) -> SharedWires:
    """Map the wires of a running bot; arguments as for `create_wires`. SegmentError if any part is not as expected.

    Whoever neither records nor feeds a recorder leaves the recorder's rings out.
    """
    segments: list[Segment] = []
    arrays: dict[str, np.ndarray] = {"record": NO_RING, "raw": NO_RING}
    try:
        for family in _families(n_shards, n_instruments, ticks, record, raw):
            name = segment_name(instance, family.role)
            found = attach(name, family.n_words, contents=family.contents, generation=generation)
            segments.append(found)
            generation = found.generation  # all segments of one start, never a mixture
            try:
                family.check(found.words)
            except SegmentError as error:
                raise SegmentError(f"segment {name} is refused: {error}") from None
            arrays |= family.arrays(found.words)
    except BaseException:
        arrays.clear()
        _drop(segments, remove=False)
        raise
    return SharedWires(Wires(kept=NOTHING_KEPT, **arrays), segments)


def _drop(segments: list[Segment], remove: bool) -> None:
    for segment in segments:
        if remove:
            segment.unlink()
        segment.close()


def leftovers(uid: int, instance: str) -> list[str]:
    """Names of segments of this user and instance whose creator is dead: no links, no other user's files.

    The caller holds the instance's lock: a segment that somebody is just making would look unfinished.
    """
    prefix = segment_name(instance, "x", uid)[1:-1]
    found = []
    for path in sorted(FOLDER.glob(f"{prefix}*")):
        name = f"/{path.name}"
        try:
            facts = os.lstat(path)
        except FileNotFoundError:
            continue
        plain = path.is_file() and not path.is_symlink()
        if plain and facts.st_uid == uid and not owner_alive(name):
            found.append(name)
    return found


def unlink_leftovers(uid: int, instance: str) -> list[str]:
    """Remove what `leftovers` finds and say what was removed."""
    removed = []
    for name in leftovers(uid, instance):
        try:
            posix_ipc.unlink_shared_memory(name)
            removed.append(name)
        except posix_ipc.ExistentialError:
            pass  # gone already
    return removed
