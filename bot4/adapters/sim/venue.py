"""The simulated venue as an agent: the compiled step, and its ledger drained to the file after each batch.

The ledger is never behind what execution is told, and never incomplete when the loop goes idle or is asked to stop: the
step ends where events wait for entries to be drained, and each `do_work` ends with the drain.
"""

from pathlib import Path

import numpy as np

from bot4.adapters.sim.ledger import LedgerFile
from bot4.adapters.sim.venue_loop import NONE, venue_idle, venue_memory, venue_step
from bot4.model.enums import INT64_MAX
from bot4.model.latency import Latency
from bot4.model.queue import AVERSE, QueueModel
from bot4.shm.layout import CLOCK_VENUE
from bot4.shm.wires import Wires

BATCH_ITEMS = 2_048  # requests and market records of one do_work: some 300 us of work


class VenueAgent:
    """Simulated venue with one funded account.

    Parameters
    ----------
    wires : Wires
    instruments : INSTRUMENT[n]
    session : SESSION[1]
    start_balance_e8 : cash of the account, 1e-8 quote currency
    ledger_path : file that the ledger is appended to
    symbols : names of the instruments, by index
    latencies : of orders, cancels and reports, where they are not the session's least
    queue : where in a queue quantity goes off without a trade
    impacts : IMPACT[n], None: our taking moves no price
    """

    def __init__(
        self,
        wires: Wires,
        instruments: np.ndarray,
        session: np.ndarray,
        start_balance_e8: int,
        ledger_path: Path,
        symbols: list[str],
        latencies: tuple[Latency | None, Latency | None, Latency | None] = NONE,
        queue: QueueModel = AVERSE,
        impacts: np.ndarray | None = None,
    ):
        self.memory = venue_memory(len(instruments), start_balance_e8, latencies, queue, impacts)
        self._wires = wires
        self._instruments = instruments
        self._session = session
        self._ledger = LedgerFile(Path(ledger_path), instruments, symbols)
        self.drain()

    def do_work(self) -> int:
        """Handle a bounded batch and write its ledger entries. Returns the number of items handled."""
        items = 0
        while True:
            left = BATCH_ITEMS - items
            items += int(venue_step(self.memory, self._wires, self._instruments, self._session, left))
            drained = self.drain()
            if items == BATCH_ITEMS or not (drained and self.memory.core.desk[0]["n_events"]):
                return items

    def drain(self) -> int:
        """Move all waiting ledger entries to the file; whoever drives `venue_step` himself calls this in between."""
        core = self.memory.core
        count = int(core.desk[0]["n_entries"])
        if count:
            self._ledger.write(core.entries[:count])
            core.desk[0]["n_entries"] = 0
        return count

    def finished(self) -> bool:
        """True when the stream has ended and everything that it caused is out."""
        return bool(self._wires.clocks[CLOCK_VENUE] == INT64_MAX and venue_idle(self.memory, self._wires))

    def close(self) -> None:
        """Write what waits and close the ledger."""
        self.drain()
        self._ledger.close()
