"""What the gateway tells execution: events, numbered without a hole and in the log first, and answers without one."""

from collections import deque
from collections.abc import Callable

import numpy as np

from bot4.crash import AT_EVENT_LOGGED, AT_EVENT_TOLD, AT_EVENT_UNLOGGED, die_here
from bot4.engine.gateway_log import NO_KEY, NO_PARTS, GatewayLog, Key, Parts
from bot4.engine.gateway_order import Known
from bot4.model.errors import JournalError
from bot4.model.records import EXEC_REPORT, words
from bot4.shm.spsc_ring import has_space, push_order, ring_recover


class Events:
    """The ring to execution.

    Parameters
    ----------
    ring : of events
    log : of this session
    clock : monotonic, ns
    event_ns : event time, ns
    """

    def __init__(
        self, ring: np.ndarray, log: GatewayLog, clock: Callable[[], int], event_ns: Callable[[], int]
    ) -> None:
        self._ring, self._log, self._clock, self._event_ns = ring, log, clock, event_ns
        self._out: deque[np.ndarray] = deque()
        self._report = np.zeros(1, EXEC_REPORT)
        self._report_words = words(self._report)
        self.seq = 0  # of the last event
        self.told_ns = clock()
        ring_recover(ring)

    def tell(
        self,
        known: Known | None,
        kind: int,
        code: int = 0,
        key: Key = NO_KEY,
        venue_ms: int = 0,
        parts: Parts = NO_PARTS,
        **fields: int,
    ) -> None:
        """An event: numbered, in the log first; of a trade its key, the venue's time of it, and parts of lots."""
        if not self._log.room:
            raise JournalError("the gateway's log is full; nothing can go on")
        self.seq += 1
        self._fill_report(kind, known, fields | {"code": code, "event_seq": self.seq})
        die_here(AT_EVENT_UNLOGGED)
        self._log.event(self._event_ns(), self._report_words, key, venue_ms, parts)
        die_here(AT_EVENT_LOGGED)
        self.again(self._report_words.copy())

    def answer(self, kind: int, known: Known | None = None, **fields: int) -> None:
        """An answer: no number, and nobody misses it who has been killed meanwhile."""
        self._fill_report(kind, known, fields)
        self.again(self._report_words.copy())

    def again(self, report: np.ndarray) -> None:
        """Int64[16] of EXEC_REPORT, as it is: what the log holds and execution does not."""
        self._out.append(report)
        self.told_ns = self._clock()

    def made(self, kind: int, known: Known | None, fields: dict[str, int]) -> np.ndarray:
        """Int64[16] of EXEC_REPORT, as it would be told; good until the next one."""
        self._fill_report(kind, known, fields)
        return self._report_words

    def flush(self) -> None:
        """Push what there is room for."""
        while self._out and has_space(self._ring, 1):
            push_order(self._ring, self._out.popleft(), 0)
            die_here(AT_EVENT_TOLD)

    def _fill_report(self, kind: int, known: Known | None, fields: dict[str, int]) -> None:
        self._report_words[:] = 0
        report = self._report[0]
        now = self._event_ns()
        report["ts_ns"], report["t_venue_ns"], report["kind"], report["order_row"] = now, now, kind, -1
        if known is not None:
            known.write(report)
        for name, value in fields.items():
            report[name] = value
