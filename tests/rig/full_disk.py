"""A program on a small volume that fills up: `python full_disk.py FOLDER`, which is the volume."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from rig.execution import BID, Rig
from rig.journal import fill, wait_for
from rig.tables import MS

from bot4.engine.journal import LEVEL_ALARM, LEVEL_REDUCING, LEVEL_WORD
from bot4.model.enums import (
    ACTION_CANCEL,
    EXEC_JOURNAL_FULL,
    LEG_EXIT,
    ORDER_REDUCE_ONLY,
    SIDE_SELL,
    TIF_GTC,
    TYPE_MARKET,
)

LEAVE = {"side": SIDE_SELL, "type": TYPE_MARKET, "price_ticks": 0, "stop_ticks": 0, "leg": LEG_EXIT,
         "flags": ORDER_REDUCE_ONLY}  # fmt: skip


def take(folder: Path, free: float) -> None:
    """Fill the volume until so many per cent are free."""
    found = os.statvfs(folder)
    spare = found.f_bavail - int(found.f_blocks * free / 100)
    with (folder / "ballast").open("ab") as file, suppress(OSError):  # the last of it may be less than it said
        file.write(bytes(max(0, spare) * found.f_frsize))


def main(folder: Path) -> None:
    """Trade while it fills."""
    rig = Rig(folder, synced=True, capacity=20_480, limit_changes={"cool_down_ns": 0})
    rig.open_market()
    _, (stop,) = rig.enter()
    rig.ack(4 * MS, stop)
    rig.intent(5 * MS, qty_lots=10, tif=TIF_GTC, price_ticks=BID - 10)
    rig.run()
    (resting,) = rig.requests()
    journal = rig.agent.journal
    assert journal.header[LEVEL_WORD] == 0
    take(folder, 18)
    wait_for(lambda: journal.header[LEVEL_WORD] == LEVEL_ALARM)
    rig.intent(6 * MS, qty_lots=10, tif=TIF_GTC, price_ticks=BID - 10)
    rig.run()
    assert len(rig.requests()) == 1 and not rig.rejects
    assert rig.agent.warning == "the journal's disk has no more than 20 % left"
    print("alarm")
    take(folder, 8)
    wait_for(lambda: journal.header[LEVEL_WORD] == LEVEL_REDUCING)
    rig.intent(7 * MS, qty_lots=10, tif=TIF_GTC, price_ticks=BID - 10)
    rig.intent(8 * MS, qty_lots=100, **LEAVE)
    rig.run()
    (out,) = rig.requests()
    assert out["leg"] == LEG_EXIT and rig.rejects == {EXEC_JOURNAL_FULL: 1}
    print("reducing")
    take(folder, 4)
    wait_for(lambda: rig.agent.failure)
    assert "% left" in rig.agent.failure
    rig.run()
    gone = [int(one["order_row"]) for one in rig.requests() if one["action"] == ACTION_CANCEL]
    assert int(resting["order_row"]) in gone and int(stop["order_row"]) not in gone
    print("halted")
    take(folder, 0)
    assert os.statvfs(folder).f_bavail == 0
    count = journal.count
    fill(journal, 1_000)
    assert journal.count == count + 1_000
    print("full")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
