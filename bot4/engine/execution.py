"""The execution agent: memory taken once, journal opened, then nothing but calls of the compiled step.

Start-up, crash recovery and a start that takes up a session are one path: journal checked, folded, open orders UNKNOWN,
queried, gate open when every answer is in. Whether something is to be recovered is what the journal says, not an
argument.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bot4.engine import recovery
from bot4.engine.execution_memory import ITEM_RECORDS, NOTHING_SCHEDULED, ORDER_ROWS, ExecutionMemory, execution_memory
from bot4.engine.execution_step import execution_run
from bot4.engine.journal import DEFAULT_RECORDS, JournalFile
from bot4.engine.journal_mark import JournalSync, settle
from bot4.engine.journal_snapshot import EVERY, Snapshots, digest_of
from bot4.engine.order_out import withdraw
from bot4.engine.order_state import (
    BASE_FREE,
    BASE_WORKING,
    OVERLAY_CANCEL,
    OVERLAY_REPLACE,
    OVERLAY_UNKNOWN,
)
from bot4.engine.portfolio import STATE_ACTIVE, STATE_HALTED
from bot4.engine.protection import is_covered, is_dust
from bot4.engine.recovery import execution_fold, execution_start
from bot4.jit import source_digest
from bot4.kernels.risk.correlation import note_moves
from bot4.model.enums import LEG_ENTRY, LEG_FLATTEN, LEG_NAMES
from bot4.model.errors import JournalError
from bot4.model.records import JOURNAL_START, ORDER_WORDS, words
from bot4.model.units import from_e8
from bot4.shm.spsc_ring import next_time, ring_recover
from bot4.shm.waiting import NOBODY, ONE_POLL
from bot4.shm.wires import (
    GAUGE_EXEC_DRAWDOWN_PPM,
    GAUGE_EXEC_HIGH_WATER_E8,
    GAUGE_EXEC_NAKED_NS_MAX,
    LIMITS_BEGUN,
    LIMITS_IN_FORCE,
    POSITION_ASK,
    POSITION_BID,
    POSITION_QUOTE_NS,
    POSITION_WHOLE,
    Wires,
)

BATCH = 1_024
OWN_NUMBERS_BITS = 16  # protective orders of an instrument that one start is granted, as a power of two


def _fold(
    wires: Wires, instruments: np.ndarray, session: np.ndarray, memory: ExecutionMemory, first: int, count: int
) -> int:
    return int(execution_fold(memory, wires, instruments, memory.limits, session, first, count))


class ExecutionAgent:
    """Execution with its journal; `do_work` handles one bounded batch.

    Parameters
    ----------
    wires, instruments, limits, session : the bot's shared memory and tables; `limits` are changed where they lie when
        they are tightened
    journal_path : file of this run's journal; created if absent, recovered from if it has records
    capacity : records of each segment of a journal that is created
    rows : orders that may be known at a time
    synced : a power cut costs milliseconds of the journal; otherwise it survives the death of processes alone
    strict : an order goes out when its record is synced; implies `synced`
    every : records between two snapshots
    history : float64[seconds, n], mids of before the session, NaN where there was none; the same in each life of it
    scheduled : int64[n, 3], of a session played again: event time, word in LIMITS and value of what was tightened then

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
        synced: bool = False,
        strict: bool = False,
        every: int = EVERY,
        history: np.ndarray | None = None,
        scheduled: np.ndarray = NOTHING_SCHEDULED,
    ) -> None:
        self.wires, self.instruments, self.limits, self.session = wires, instruments, limits, session
        synced = synced or strict
        self.tail_lost = settle(journal_path)
        self.journal = JournalFile(journal_path, capacity, durable=synced)
        n_shards = int(session[0]["n_shards"])
        fresh = partial(self._fresh, rows, np.zeros((0, len(instruments))) if history is None else history, scheduled)
        begun = limits.copy()  # what folds the journal a second time tightens limits of its own
        self.memory = fresh(limits)
        fold = partial(_fold, wires, instruments, session)
        alike = session.copy()
        alike["feed_generation"] = 0  # another start of the same session folds the same
        digest = digest_of(self.memory, (instruments, limits, alike), source_digest(recovery.__file__))
        self.snapshots = Snapshots(self.journal, digest, fold, lambda: fresh(begun.copy()), every)
        ring_recover(wires.requests)
        for shard in range(n_shards):
            ring_recover(wires.reports[shard])
        covered = self.snapshots.load(self.memory)
        stats, account, gauges = self.memory.stats, self.memory.account, wires.gauges[n_shards]
        stats[GAUGE_EXEC_NAKED_NS_MAX] = max(stats[GAUGE_EXEC_NAKED_NS_MAX], gauges[GAUGE_EXEC_NAKED_NS_MAX])
        account["drawdown_ppm"] = np.maximum(account["drawdown_ppm"], gauges[GAUGE_EXEC_DRAWDOWN_PPM])
        damaged = fold(self.memory, covered, self.journal.count)
        if damaged:
            raise JournalError(f"{journal_path}: record {damaged} contradicts the records before it; reconcile by hand")
        # A quote may have brought it after the last record; no loss of before it is measured from it.
        account["high_water_e8"] = np.maximum(account["high_water_e8"], gauges[GAUGE_EXEC_HIGH_WATER_E8])
        # What the quotes said last before a restart; their ring goes on from there. The journal's are older.
        quoted = wires.positions[:, POSITION_QUOTE_NS] > 0
        for name, column in (("bid_ticks", POSITION_BID), ("ask_ticks", POSITION_ASK)):
            self.memory.positions[name][quoted] = wires.positions[quoted, column]
        self.memory.positions["quote_ts_ns"] = wires.positions[:, POSITION_QUOTE_NS]
        self.memory.positions["whole"] = wires.positions[:, POSITION_WHOLE]
        wires.limits[LIMITS_BEGUN] = words(begun)
        wires.limits[LIMITS_IN_FORCE] = self.memory.next_words
        self.epoch = int(np.count_nonzero(self.journal.table["type"] == JOURNAL_START)) + 1
        self.sync = JournalSync(self.journal, strict) if synced else None
        if self.sync is not None:
            self.epoch = max(self.epoch, self.sync.epoch)
        if self.tail_lost or (synced and self.epoch > 1 and not session[0]["paced"]):
            # Orders of our own may have gone out that the journal does not know, or a life before spent their numbers
            # and journaled none of them. Paced, ids must not depend on how often execution died.
            own = self.memory.positions["own_number"]
            np.maximum(own, self.epoch << OWN_NUMBERS_BITS, out=own)
        self.started = False

    def _fresh(self, rows: int, history: np.ndarray, scheduled: np.ndarray, limits: np.ndarray) -> ExecutionMemory:
        """Memory of a session that has just begun; between `history` and now is no move."""
        n_shards = int(self.session[0]["n_shards"])
        memory = execution_memory(self.journal, len(self.instruments), n_shards, limits, self.session, rows, scheduled)
        known, decay = memory.known, float(limits[0]["correlation_decay_ppb"]) * 1e-9
        for mids in history:
            known.fresh[:] = ~np.isnan(mids)
            known.mids[:] = np.nan_to_num(mids)
            note_moves(known, decay, 1)
        known.before[:] = 0.0
        return memory

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
        self.tend()
        if not self.started:
            self.started = execution_start(self.memory, self.wires, self.session, self.epoch)
            return False
        return True

    def settle(self, names: Sequence[str]) -> str:
        """Take back what opens and still rests; what is left at the venue before the session may end, "" if nothing.

        That is: orders that open or close at the market, orders about which it owes a word, positions without a
        confirmed stop for the whole of them. A stop that stands, and an exit that rests, stay there. `names` are those
        of the instruments.
        """
        account, orders = self.memory.account[0], self.memory.orders
        if account["state"] not in (STATE_ACTIVE, STATE_HALTED):
            return "what it was asked about its orders at the start is not answered"
        left = []
        for row in np.flatnonzero(orders["base"] != BASE_FREE):
            order = orders[row]
            owed = order["base"] != BASE_WORKING or order["overlay"] & (
                OVERLAY_UNKNOWN | OVERLAY_CANCEL | OVERLAY_REPLACE
            )
            if (
                order["done"] == 0
                and order["cum_lots"] < order["qty_lots"]
                and (owed or order["leg"] in (LEG_ENTRY, LEG_FLATTEN))
            ):
                left.append(
                    f"{LEG_NAMES[order['leg']]} {int(order['id_hi']):016x}{int(order['id_lo']):016x} of "
                    f"{names[order['instrument']]}"
                )
        for instrument in range(len(self.memory.positions)):
            withdraw(self.memory, self.wires, self.session, instrument)
            held_e8 = int(self.memory.positions["lots"][instrument]) * int(self.instruments["lot_e8"][instrument])
            if held_e8 and is_dust(self.memory.positions[instrument]):
                left.append(f"dust of {from_e8(held_e8)} {names[instrument]}, for which the venue takes no order")
            elif not is_covered(self.memory, instrument):
                left.append(f"position of {from_e8(held_e8)} {names[instrument]} without a confirmed stop")
        if not left and next_time(self.wires.events, ORDER_WORDS) >= 0:
            return "events that nobody has read"
        return ", ".join(left)

    @property
    def is_flat(self) -> bool:
        """True if nothing is held and no order is open."""
        return not self.memory.positions["lots"].any() and self.memory.account[0]["open_orders"] == 0

    def tend(self) -> None:
        """Between two batches: pages, segments and snapshots ahead of what is appended."""
        self.journal.make_ready()
        self.journal.look_ahead()
        self.snapshots.look()

    def close(self) -> None:
        """Nothing to write: whatever counts is in the journal already."""
        self.snapshots.close()
        if self.sync is not None:
            self.sync.close()
        self.journal.close()

    @property
    def warning(self) -> str:
        """What somebody should see to: room for the journal, or its snapshots; "" if all is well."""
        disk = self.sync.warning if self.sync is not None else ""
        return disk or self.journal.fault or self.snapshots.fault

    @property
    def failure(self) -> str:
        """Why nothing may be opened any more; "" as long as the journal is what it should be."""
        return self.sync.fault if self.sync is not None else ""
