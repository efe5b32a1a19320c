"""A program whose disk fails: `LD_PRELOAD=failing_disk.so python failing_disk.py FOLDER TIMES`, a JSON line a fault."""

import ctypes
import errno
import itertools
import json
import sys
import time
from pathlib import Path

from rig.execution import BID, Rig
from rig.journal import wait_for
from rig.tables import MS

from bot4.engine.journal import SYNCED_WORD
from bot4.engine.journal_mark import committed, read_mark
from bot4.engine.portfolio import STATE_HALTED
from bot4.model.enums import ACTION_CANCEL, ACTION_PLACE, RISK_KILLED, TIF_GTC

CALLS = ("fdatasync", "fsync", "pwrite", "write", "fallocate", "rename", "open")
ROUNDS = 60
RESTING = {"tif": TIF_GTC, "price_ticks": BID - 10, "qty_lots": 10}


def session(folder: Path, call: str, nth: int, number: int) -> dict:
    """Trade until the disk has failed, and what came of it."""
    disk = ctypes.CDLL(None)
    disk.fault_path.restype = ctypes.c_char_p
    rig = Rig(folder, synced=True, every=12, one_segment=False, limit_changes={"cool_down_ns": 0, "open_orders": 90})
    rig.open_market()
    _, (stop,) = rig.enter()
    rig.ack(4 * MS, stop)
    rig.run()
    journal, snapshots = rig.agent.journal, rig.agent.snapshots
    disk.fault_arm(call.encode(), nth, number)
    for turn in range(1, ROUNDS):
        rig.intent((4 + turn) * MS, **RESTING)
        rig.run()
        snapshots.look()
        snapshots.close()
        if turn % 3 == 0 and journal.segments < 20:
            journal._extend()
        wait_for(lambda: journal.header[SYNCED_WORD] == journal.count or rig.agent.failure)
        if disk.fault_failed():
            break
    assert disk.fault_failed(), (call, nth)
    file = Path(disk.fault_path().decode()).name
    sent = rig.requests()  # it may have halted already
    placed = [one for one in sent if one["action"] == ACTION_PLACE]
    fault = journal.fault or snapshots.fault
    begun = time.monotonic()
    while not rig.agent.failure and not fault and time.monotonic() < begun + 5:
        fault = journal.fault or snapshots.fault
    failure = rig.agent.failure
    before = dict(rig.rejects)
    rig.intent(900 * MS, **RESTING)
    rig.run()
    requests = rig.requests()
    opened = [one for one in requests if one["action"] == ACTION_PLACE]
    cancelled = {int(one["order_row"]) for one in sent + requests if one["action"] == ACTION_CANCEL}
    if failure:
        assert not opened and rig.agent.memory.account["state"] == STATE_HALTED, (call, nth)
        assert rig.rejects.get(RISK_KILLED, 0) == before.get(RISK_KILLED, 0) + 1
        assert cancelled == {int(one["order_row"]) for one in placed}, (call, nth)
        time.sleep(0.02)
        assert disk.fault_syncs_after() == 0, (call, nth)
        assert read_mark(rig.path).seq < journal.count
    else:
        assert fault and len(opened) == 1, (call, nth)
    lots, count = int(rig.position["lots"]), journal.count
    rig.agent.close()
    assert len(committed(rig.path)) == count
    rig.start()
    assert int(rig.position["lots"]) == lots == 1_000 and rig.agent.epoch == 2
    wait_for(lambda: rig.agent.journal.header[SYNCED_WORD] == rig.agent.journal.count)
    rig.agent.close()
    return {"call": call, "nth": nth, "errno": number, "fatal": bool(failure), "said": failure or fault, "file": file}


def main(folder: Path, times: int) -> None:
    """Each call of each kind, so many of them."""
    cases = itertools.product(CALLS, range(1, times + 1), (errno.EIO, errno.ENOSPC))
    for index, (call, nth, number) in enumerate(cases):
        place = folder / str(index)
        place.mkdir()
        print(json.dumps(session(place, call, nth, number)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
