"""Is an own recording sound? Holes, order, repetitions, crossed quotes, the offset of its clock; read part by part."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bot4.adapters.files.recording import HEAD_NAME, Recording, Silences, is_restart, read_part
from bot4.model.enums import (
    FLAG_LAST,
    FLAG_SNAPSHOT,
    KIND_NAMES,
    STATUS_CLEAR,
    STATUS_WHOLE,
    TICK_QUOTE,
    TICK_STATUS,
)

OFFSETS = 100_000  # of the last parts: enough for a median


class RecordingFiles(NamedTuple):
    """One own recording."""

    name: str
    files: tuple[Path, ...]
    folder: Path

    def check(self) -> dict[str, Any]:
        """Messages by kind, what is missing, repeated or out of order, as `bot4-data check --json` prints it.

        `gaps` counts the records that the event numbers show to be missing, or that the recorder said it lost; where
        the feed was started again its numbers leap, which is counted by `restarts`; `book.crossed` are quotes that
        cross, `book.stale` messages that came while a book that had been whole was not. Trades that the feed refused
        are in no recording. `lost` counts
        parts that are not there, `unguarded` those without a sum, `silences` the times an instrument had no record for
        more than an hour; `told` says each in words.
        RecordingError names a part that is not as it was written.
        """
        recording = Recording([self.folder])
        count = _Count(len(recording.chosen))
        silences = Silences(recording.chosen)
        for block in recording.blocks():
            count.take(block)
            silences.take(block)
        for name, written in recording.sums.items():
            if name.startswith("raw/") and (self.folder / name).exists():
                read_part(self.folder / name, written)
        lost, unguarded = recording.lost(raw=True), recording.unguarded()
        bare = [f"{unguarded:,} parts bear no sum, as older builds wrote them: damage in them is not seen."]
        head = recording.head
        complaints = {} if head.ended else {"not_closed": "the recording was not closed in order"}
        return {
            "name": self.name,
            "files": [str(path) for path in self.files],
            "venue": "+".join(sorted({chosen.listed.venue for chosen in recording.chosen})),
            "messages": {KIND_NAMES[kind]: number for kind, number in sorted(count.kinds.items())},
            "rejected": {"not_closed": 1} if complaints else {},
            "book": dict.fromkeys(("compared", "equal", "near", "near_equal"), 0)
            | {"stale": count.stale, "crossed": count.crossed},
            "clock_offset_ms": count.offset_ms(),
            "gaps": max(count.missing, head.missing),
            "restarts": int(count.restarts.max()),
            "duplicates": count.duplicates,
            "out_of_order": count.disorder,
            "first_ns": count.first_ns,
            "last_ns": count.last_ns,
            "lost": len(lost),
            "unguarded": unguarded,
            "silences": silences.count,
            "told": [*lost, *(bare if unguarded else []), *silences.told()],
            "complaints": complaints,
        }


def recording_files(folder: Path) -> RecordingFiles:
    """The recording in a folder with a head."""
    parts = sorted(folder.glob("date=*/*/part-*.parquet"))
    return RecordingFiles(folder.name, (folder / HEAD_NAME, *parts), folder)


class _Count:
    def __init__(self, instruments: int) -> None:
        self.kinds: Counter[int] = Counter()
        self.missing = self.duplicates = self.disorder = self.crossed = self.first_ns = self.last_ns = 0
        self.restarts = np.zeros(instruments, np.int64)  # of the feed, as each instrument saw them
        self.stale = 0
        self._is_stale = np.zeros(instruments, bool)  # it has been whole, and is not
        self._was_whole = np.zeros(instruments, bool)
        self._last = [0] * instruments
        self._lags: list[np.ndarray] = []

    def take(self, block: np.ndarray) -> None:
        """The next rows."""
        ends = block[block["flags"] & FLAG_LAST != 0]
        for kind, number in zip(*np.unique(ends["kind"], return_counts=True), strict=True):
            self.kinds[int(kind)] += int(number)
        times = block["ts_recv_ns"]
        before = self.last_ns or int(times[0])
        self.disorder += int(np.count_nonzero(np.diff(times, prepend=before) < 0))
        self.first_ns = self.first_ns or int(times[0])
        self.last_ns = max(self.last_ns, int(times.max()))
        quotes = block[block["kind"] == TICK_QUOTE]
        self.crossed += int(np.count_nonzero(quotes["w0"] >= quotes["w2"]))
        self._look_at_books(block)
        counted = block[block["flags"] & FLAG_SNAPSHOT == 0]
        for place in np.unique(counted["instrument"]).tolist():
            own = counted[counted["instrument"] == place]
            numbers = own["event_no"].astype(np.int64)
            steps = np.diff(numbers, prepend=self._last[place])
            leaps = is_restart(own, steps)
            self.restarts[place] += np.count_nonzero(leaps)
            self.missing += int((steps[(steps > 1) & ~leaps] - 1).sum())
            self.duplicates += int(np.count_nonzero(steps == 0))
            self.disorder += int(np.count_nonzero(steps < 0))
            self._last[place] = int(numbers[-1])
        lags = block["venue_lag_us"][block["venue_lag_us"] != 0]
        if sum(map(len, self._lags)) < OFFSETS:
            self._lags.append(lags[:OFFSETS])

    def _look_at_books(self, block: np.ndarray) -> None:
        """Messages between a word that a book is stale and the next one that it is whole."""
        for place in np.unique(block["instrument"]).tolist():
            own = block[block["instrument"] == place]
            said = np.flatnonzero((own["kind"] == TICK_STATUS) & (own["w0"] != STATUS_CLEAR))
            ends = np.cumsum((own["flags"] & FLAG_LAST != 0) & (own["kind"] != TICK_STATUS))
            bounds = np.concatenate(([0], ends[said], ends[-1:]))
            for number, count in enumerate(np.diff(bounds).tolist()):
                self.stale += count if self._is_stale[place] else 0
                if number < len(said):
                    is_whole = own["w0"][said[number]] == STATUS_WHOLE
                    self._is_stale[place] = not is_whole and self._was_whole[place]
                    self._was_whole[place] |= is_whole

    def offset_ms(self) -> float | None:
        """Receive time minus the venue's, median; None if the venue tells no time."""
        lags = np.concatenate(self._lags) if self._lags else np.zeros(0)
        return round(-float(np.median(lags)) / 1_000, 3) if len(lags) else None
