"""The gateway's own log, a chained file like the journal: an order before it is sent, an event before it is pushed.

    GATEWAY_START   a start of the bot; `code`: the venue's clock when the session began, in ms; `instrument`: the
                    start's own number; `position_lots`: monotonic ns, which count in the boot that `cost_tl` stands for
    GATEWAY_SENT    body: ORDER_INTENT, as it is about to be sent; `code`: monotonic ns
    GATEWAY_EVENT   body: EXEC_REPORT, numbered; of a trade `position_lots`, `cost_tl`: its key, 128 bits of a digest,
                    and `code`: the venue's time in ms until which all trades had been seen, or of this one if sooner;
                    `realised_tl`: 1e-8 of the coin that the order has had beyond whole lots then, `bid_ticks`: 1 where
                    the parts have become a lot
    GATEWAY_KEY     the key of a trade, told before, that a power cut had taken; body: the EXEC_REPORT
    GATEWAY_HELD    before the start of a session: what of an instrument's coin is there and no whole lot; `code`: 1e-8

What a fee has taken of a coin stands in the FILL that tells of it: `cash_e8`, whole lots and the rest that is left.

So a gateway that was killed at any instruction knows which order may have left and which trades it has told; which of
its events nobody has yet is what execution's journal does not hold. Only starts are synced: what a power cut takes of
the rest is had from execution's journal, keys of trades from the venue.
"""

import hashlib
import struct
from pathlib import Path

import numpy as np

from bot4.engine.journal import (
    COMMIT_WORD,
    COUNT_MASK,
    DEFAULT_RECORDS,
    HEADER_BYTES,
    JournalFile,
    commit_word,
    holds,
    journal_append,
    segments_of,
    whole_records,
)
from bot4.engine.journal_mark import all_records, boot_id, copy_prefix
from bot4.model.records import (
    EXEC_REPORT,
    JOURNAL,
    JOURNAL_EVENT,
    JOURNAL_INTENT,
    JOURNAL_WORDS,
    ORDER_WORDS,
    words,
)

GATEWAY_START = 1
GATEWAY_SENT = 2
GATEWAY_EVENT = 3
GATEWAY_KEY = 4
GATEWAY_HELD = 5
RESERVE = 4_096  # records kept for events when orders are no longer taken

Key = tuple[int, int]
NO_KEY: Key = (0, 0)
Parts = tuple[int, int]  # of an order's fills: a lot that their parts have become, 1e-8 that are left beyond whole lots
NO_PARTS: Parts = (0, 0)


def trade_key(symbol: int, key: str) -> Key:
    """128 bits that stand for a venue's id of a trade of a symbol."""
    high, low = struct.unpack("<qq", hashlib.blake2b(f"{symbol}.{key}".encode(), digest_size=16).digest())
    return int(high), int(low)


def boot_number() -> int:
    """64 bits that stand for this boot."""
    return int.from_bytes(boot_id()[:8], "big", signed=True)


def has_begun(path: Path) -> bool:
    """Whether the session of this log may have sent anything: its first look at the account was behind it."""
    return holds(path, GATEWAY_START)


class Heard:
    """What execution's journal holds, which its process has just opened.

    Parameters
    ----------
    path : of the journal; None: there is none
    """

    def __init__(self, path: Path | None) -> None:
        self._parts: list[np.ndarray] = []
        if path is not None:
            left = int(np.fromfile(path, np.int64, COMMIT_WORD + 1)[COMMIT_WORD]) & COUNT_MASK
            for file in segments_of(path):
                self._parts.append(np.memmap(file, JOURNAL, "r", HEADER_BYTES)[:left])
                left -= len(self._parts[-1])
        self.last = self._last()  # number of the last event, 0: none

    def _last(self) -> int:
        for records in reversed(self._parts):
            for index in reversed(np.flatnonzero(records["type"] == JOURNAL_EVENT)):
                number = int(records["body"][index].view(EXEC_REPORT)["event_seq"][0])
                if number:
                    return number
        return 0

    @property
    def has_orders(self) -> bool:
        """Whether there is any order in it."""
        return any((records["type"] == JOURNAL_INTENT).any() for records in self._parts)

    def orders_and_events(self, behind: int) -> tuple[np.ndarray, np.ndarray]:
        """All orders, and the events with a number behind that one: int64[n, 16] of ORDER_INTENT, of EXEC_REPORT."""
        orders = [np.array(records["body"][records["type"] == JOURNAL_INTENT]) for records in self._parts]
        events = [np.array(records["body"][records["type"] == JOURNAL_EVENT]) for records in self._parts]
        told = np.concatenate(events) if events else np.zeros((0, ORDER_WORDS), np.int64)
        numbers = told.view(EXEC_REPORT)["event_seq"].reshape(-1)
        return np.concatenate(orders) if orders else told, told[numbers > behind]


def settle_log(path: Path) -> bool:
    """Before a log is opened: True if it was written in another boot, whose power cut may have taken records of it.

    What is whole from the first record on counts then; the files as they were stay beside it.
    """
    if not has_begun(path):
        return False
    word, capacity, records = all_records(path)
    starts = records.view(JOURNAL)
    starts = starts[starts["type"] == GATEWAY_START]
    if int(starts["cost_tl"][-1]) == boot_number():
        return False
    whole = whole_records(records)
    rest = records[whole * JOURNAL_WORDS :]
    if word != commit_word(whole) or rest.any():
        copy_prefix(path, capacity, records[: whole * JOURNAL_WORDS], int(starts["instrument"][-1]))
    return True


class GatewayLog:
    """The file, opened or made anew. JournalError if it is damaged.

    Parameters
    ----------
    path : of this session's log
    capacity : records of one that is made
    """

    def __init__(self, path: Path, capacity: int = DEFAULT_RECORDS) -> None:
        self._file = JournalFile(path, capacity, durable=True)
        self._record = np.zeros(1, JOURNAL)
        self._words = words(self._record)
        self._body = self._words[-self._record["body"].shape[1] :]

    @property
    def is_new(self) -> bool:
        """Whether nothing is in it yet."""
        return self._file.count == 0

    @property
    def has_room(self) -> bool:
        """Whether another order may be taken."""
        return self._file.room > RESERVE

    def records(self) -> np.ndarray:
        """JOURNAL[n], all of them."""
        return self._file.table

    def start(self, t_ns: int, venue_ms: int, mono_ns: int, generation: int) -> None:
        """The bot has been started; on disk when this returns, for the next start asks whether there was one."""
        self._append(GATEWAY_START, t_ns, venue_ms, (mono_ns, boot_number()), None, generation)
        self._file.sync((self._file.count - 1) // self._file.capacity)

    def sent(self, t_ns: int, mono_ns: int, order: np.ndarray) -> None:
        """An order is about to be sent: int64[16] of ORDER_INTENT."""
        self._append(GATEWAY_SENT, t_ns, mono_ns, NO_KEY, order)

    def event(self, t_ns: int, report: np.ndarray, key: Key, venue_ms: int, parts: Parts = NO_PARTS) -> None:
        """An event is about to be pushed: int64[16] of EXEC_REPORT."""
        self._append(GATEWAY_EVENT, t_ns, venue_ms, key, report, parts=parts)

    def key(self, t_ns: int, report: np.ndarray, key: Key, venue_ms: int, parts: Parts) -> None:
        """The key of a trade that was told as int64[16] of EXEC_REPORT and is in the log without one."""
        self._append(GATEWAY_KEY, t_ns, venue_ms, key, report, parts=parts)

    def held(self, t_ns: int, instrument: int, rest_e8: int) -> None:
        """What of a coin is there and no whole lot, before a session begins."""
        self._append(GATEWAY_HELD, t_ns, rest_e8, NO_KEY, None, instrument)

    def _append(
        self,
        kind: int,
        t_ns: int,
        code: int,
        key: Key,
        body: np.ndarray | None,
        instrument: int = -1,
        parts: Parts = NO_PARTS,
    ) -> None:
        self._words[:] = 0
        record = self._record[0]
        record["type"], record["ts_ns"], record["code"], record["instrument"] = kind, t_ns, code, instrument
        record["position_lots"], record["cost_tl"] = key
        record["bid_ticks"], record["realised_tl"] = parts
        if body is not None:
            self._body[:] = body
        journal_append(self._file.header, self._file.records, self._record, self._words)

    def make_ready(self) -> None:
        """Fault in the pages of the next records, and see to it that there are some."""
        self._file.make_ready()
        self._file.look_ahead()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    @property
    def room(self) -> int:
        """Records that still fit."""
        return self._file.room
