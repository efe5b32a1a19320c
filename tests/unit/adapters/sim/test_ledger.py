"""The ledger's file: what happens when the disk is full. Its lines are checked wherever a session is recomputed."""

from pathlib import Path

import numpy as np
import pytest

from bot4.adapters.sim.ledger import LedgerFile
from bot4.kernels.matching.state import LEDGER_ENTRY
from bot4.model.errors import Bot4Error
from bot4.model.records import INSTRUMENT


def test_a_full_disk_is_one_clear_error():
    entries = np.zeros(1, LEDGER_ENTRY)
    entries["kind"] = 1
    file = LedgerFile(Path("/dev/full"), np.zeros(1, INSTRUMENT), ["BTCUSDT"])
    with pytest.raises(Bot4Error, match="/dev/full: the ledger cannot be written: No space left on device"):
        file.write(entries)
    with pytest.raises(Bot4Error, match="No space left on device"):  # for good
        file.write(entries[:0])
    file.close()
