"""The execution agent: memory taken once, journal opened, then nothing but calls of the compiled step.

Start-up and crash recovery are one path: journal checked, folded, open orders UNKNOWN, queried, gate open when every
answer is in. Whether something is to be recovered is what the journal says, not an argument.
"""

from pathlib import Path

import numpy as np

from bot4.engine.execution_memory import ITEM_RECORDS, ORDER_ROWS, execution_memory
from bot4.engine.execution_step import execution_run
from bot4.engine.journal import DEFAULT_RECORDS, JournalFile
from bot4.engine.recovery import execution_fold, execution_start
from bot4.model.errors import JournalError
from bot4.model.records import JOURNAL, JOURNAL_START
from bot4.shm.spsc_ring import ring_recover
from bot4.shm.waiting import NOBODY, ONE_POLL
from bot4.shm.wires import (
    GAUGE_EXEC_DRAWDOWN_PPM,
    GAUGE_EXEC_NAKED_NS_MAX,
    POSITION_ASK,
    POSITION_BID,
    POSITION_QUOTE_NS,
    POSITION_WHOLE,
    Wires,
)

BATCH = 1_024


class ExecutionAgent:
    """Execution with its journal; `do_work` handles one bounded batch.

    Parameters
    ----------
    wires, instruments, limits, session : the bot's shared memory and tables
    journal_path : file of this run's journal; created if absent, recovered from if it has records
    capacity : records of a journal that is created
    rows : orders that may be known at a time

    Raises
    ------
    JournalError : the journal is damaged or cannot be had
    """

    def __init__(
        self,
        wires: Wires,
        instruments: np.ndarray,
        limits: np.ndarray,
        session: np.ndarray,
        journal_path: Path,
        capacity: int = DEFAULT_RECORDS,
        rows: int = ORDER_ROWS,
    ) -> None:
        self.wires, self.instruments, self.limits, self.session = wires, instruments, limits, session
        self.journal = JournalFile(journal_path, capacity)
        n_shards = int(session[0]["n_shards"])
        self.memory = execution_memory(self.journal, len(instruments), n_shards, session, rows)
        ring_recover(wires.requests)
        for shard in range(n_shards):
            ring_recover(wires.reports[shard])
        gauges = wires.gauges[n_shards]
        self.memory.stats[GAUGE_EXEC_NAKED_NS_MAX] = gauges[GAUGE_EXEC_NAKED_NS_MAX]
        self.memory.account["drawdown_ppm"] = gauges[GAUGE_EXEC_DRAWDOWN_PPM]
        damaged = execution_fold(self.memory, wires, instruments, limits, session)
        if damaged:
            raise JournalError(f"{journal_path}: record {damaged} contradicts the records before it; reconcile by hand")
        # What the quotes said last before a restart; their ring goes on from there. The journal's are older.
        quoted = wires.positions[:, POSITION_QUOTE_NS] > 0
        for name, column in (("bid_ticks", POSITION_BID), ("ask_ticks", POSITION_ASK)):
            self.memory.positions[name][quoted] = wires.positions[quoted, column]
        self.memory.positions["quote_ts_ns"] = wires.positions[:, POSITION_QUOTE_NS]
        self.memory.positions["whole"] = wires.positions[:, POSITION_WHOLE]
        types = self.journal.records.view(JOURNAL)["type"][: self.journal.count]
        self.epoch = int(np.count_nonzero(types == JOURNAL_START)) + 1
        self.started = False

    def do_work(self) -> int:
        """One batch; returns the number of items handled, 0 when there is nothing to do."""
        return self.run(ONE_POLL, NOBODY)

    def run(self, idle: np.ndarray, peers: np.ndarray) -> int:
        """The same, again and again for about a millisecond, waiting as `idle` says and waking `peers` after news."""
        if not self._opened():
            return 1
        tables = (self.instruments, self.limits, self.session)
        return int(execution_run(self.memory, self.wires, *tables, BATCH, idle, peers))

    def _opened(self) -> bool:
        """True if the start is behind us; one more step of it otherwise."""
        if self.journal.room < ITEM_RECORDS:
            raise JournalError(f"{self.journal.path}: full after {self.journal.count} records; nothing can go on")
        self.journal.make_ready()
        if not self.started:
            self.started = execution_start(self.memory, self.wires, self.session, self.epoch)
            return False
        return True

    def close(self) -> None:
        """Nothing to write: whatever counts is in the journal already."""
