"""Slow twin of the feed of a recording: which of its records go out, and what is counted."""

from typing import NamedTuple

LAST, SNAPSHOT = 1, 2


class Row(NamedTuple):
    """One recorded record, as far as it decides what becomes of it."""

    ts_ns: int
    instrument: int
    kind: int
    flags: int
    event_no: int


def messages(rows: list[Row]) -> list[tuple[list[Row], bool]]:
    """The rows in pieces that belong together, each with whether its end is there."""
    found: list[tuple[list[Row], bool]] = []
    piece: list[Row] = []
    for row in rows:
        if piece:
            step = 0 if row.flags & SNAPSHOT else 1
            if row.instrument != piece[-1].instrument or row.event_no != piece[-1].event_no + step:
                found.append((piece, False))
                piece = []
        piece.append(row)
        if row.flags & LAST:
            found.append((piece, True))
            piece = []
    return found + ([(piece, False)] if piece else [])


def published(rows: list[Row]) -> tuple[list[Row], int, int]:
    """Rows that go out, parts of messages that do not, and leaps in the numbers of what goes out."""
    out: list[Row] = []
    parts = leaps = 0
    last: dict[int, int] = {}
    for piece, whole in messages(rows):
        if not whole:
            parts += 1
            continue
        first = piece[0]
        leaps += not first.flags & SNAPSHOT and first.event_no != last.get(first.instrument, 0) + 1
        last[first.instrument] = piece[-1].event_no
        out += piece
    return out, parts, leaps
