"""What a power cut, a disk that fails and a disk that is full do to execution, in the real wiring."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rig.breaker import row_of, set_limits, state_of
from rig.execution import BID, Rig
from rig.journal import other_boot, wait_for
from rig.tables import MS, SECOND

from bot4.adapters.system.latch import FILE_NAME, KillLatch
from bot4.engine.execution import OWN_NUMBERS_BITS
from bot4.engine.journal import FAILED_WORD, STRICT_WORD, SYNCED_WORD
from bot4.engine.journal_mark import read_mark
from bot4.engine.portfolio import STATE_ACTIVE, STATE_HALTED, STATE_RECOVERING
from bot4.model.breaker import NEVER, OPEN, UNTIL_NS
from bot4.model.enums import (
    ACTION_CANCEL,
    ACTION_PLACE,
    ACTION_QUERY_ORDER,
    ACTION_QUERY_TRADES,
    LEG_EXIT,
    LEG_STOP,
    ORDER_REDUCE_ONLY,
    REPORT_EXPIRED,
    REPORT_QUERY_END,
    RISK_KILLED,
    SIDE_SELL,
    TIF_GTC,
    TYPE_MARKET,
)
from bot4.model.records import JOURNAL_INTENT
from bot4.shm.layout import CONTROL_KILL
from bot4.shm.waiting import NOBODY, ONE_POLL
from workers.execution import LatchRunner

TESTS = Path(__file__).resolve().parents[1]
PLACES = os.pathsep.join((str(TESTS), str(TESTS.parent)))
RESTING = {"tif": TIF_GTC, "price_ticks": BID - 10}
LEAVE = {"side": SIDE_SELL, "type": TYPE_MARKET, "price_ticks": 0, "stop_ticks": 0, "leg": LEG_EXIT,
         "flags": ORDER_REDUCE_ONLY}  # fmt: skip
CUT = {"cool_down_ns": 0, "bucket_tokens": 1_000}


def opened(folder, **options):
    """An open market, a position of 1,000 lots with its confirmed stop, and an entry that rests."""
    rig = Rig(folder, limit_changes=CUT, **options)
    rig.open_market()
    _, (stop,) = rig.enter()
    rig.ack(4 * MS, stop)
    rig.intent(6 * MS, qty_lots=10, **RESTING)
    rig.run()
    (resting,) = rig.requests()
    rig.ack(8 * MS, resting)
    rig.run()
    return rig, stop, resting


def break_the_disk(rig):
    """From now on the journal's own descriptor is that of a device that cannot sync."""
    device = os.open("/dev/full", os.O_WRONLY)
    os.dup2(device, rig.agent.journal._descriptors[0])
    os.close(device)


def test_every_record_is_synced_soon_and_a_restart_has_a_number_of_its_own(tmp_path):
    rig, *_ = opened(tmp_path, synced=True)
    wait_for(lambda: read_mark(rig.path).seq == rig.agent.journal.count)
    assert rig.agent.epoch == read_mark(rig.path).epoch == 1
    rig.agent.close()
    rig.build()
    assert rig.agent.epoch == read_mark(rig.path).epoch == 2


def test_a_strict_order_goes_out_when_its_record_is_synced(tmp_path):
    rig = Rig(tmp_path, limit_changes=CUT, strict=True)
    rig.open_market()
    for number in range(1, 11):
        rig.intent(number * MS, qty_lots=10, **RESTING)
        rig.run()
        (entry,) = rig.requests()
        types = rig.agent.journal.table["type"]
        written = int(np.flatnonzero(types == JOURNAL_INTENT)[-1]) + 1
        assert entry["action"] == ACTION_PLACE and written <= rig.agent.journal.header[SYNCED_WORD]
        assert read_mark(rig.path).seq >= written
        rig.event(number * MS, REPORT_EXPIRED, entry)
    rig.agent.close()


def test_a_sync_that_fails_shuts_the_gate_cancels_and_keeps_protection(tmp_path):
    rig, stop, resting = opened(tmp_path, synced=True)
    wait_for(lambda: rig.agent.journal.header[SYNCED_WORD] == rig.agent.journal.count)
    synced = rig.agent.journal.count
    break_the_disk(rig)
    rig.intent(10 * MS, qty_lots=10, **RESTING)
    rig.run()
    rig.requests()
    wait_for(lambda: rig.agent.failure)
    assert "cannot be synced: Invalid argument" in rig.agent.failure
    rig.quote(20 * MS)
    rig.intent(21 * MS, qty_lots=10, **RESTING)
    rig.intent(22 * MS, qty_lots=100, **LEAVE)
    rig.run()
    requests = rig.requests()
    cancelled = [int(one["order_row"]) for one in requests if one["action"] == ACTION_CANCEL]
    assert int(resting["order_row"]) in cancelled and int(stop["order_row"]) not in cancelled
    assert [one["leg"] for one in requests if one["action"] == ACTION_PLACE] == [LEG_EXIT], "out is always possible"
    assert rig.rejects == {RISK_KILLED: 1} and rig.agent.memory.account["state"] == STATE_HALTED
    rig.fill(23 * MS, requests[-1], qty=100, price=BID)
    rig.run()
    assert rig.position["lots"] == 900, "what the venue says still counts"
    assert rig.agent.journal.header[SYNCED_WORD] == read_mark(rig.path).seq == synced, "never tried again"
    rig.requests()
    rig.agent.close()
    lots, count = int(rig.position["lots"]), rig.agent.journal.count
    rig.start()
    assert (rig.position["lots"], rig.agent.failure) == (lots, "") and rig.agent.journal.count > count
    wait_for(lambda: read_mark(rig.path).seq == rig.agent.journal.count)
    assert rig.agent.memory.account["state"] == STATE_RECOVERING
    asked = {one["action"] for one in rig.requests()}
    assert asked == {ACTION_QUERY_ORDER, ACTION_QUERY_TRADES}


def test_strict_and_failed_sends_protection_alone_and_asks_about_the_rest(tmp_path):
    rig, *_ = opened(tmp_path, strict=True, n_instruments=2)
    rig.intent(9 * MS, instrument=1, qty_lots=10, **RESTING)
    rig.run()
    (resting,) = rig.requests()
    rig.agent.sync.close()
    rig.agent.sync = None
    rig.agent.memory.account["killed"] = 1  # shut before: nothing is left to halt
    rig.agent.memory.account["state"] = STATE_HALTED
    rig.agent.journal.header[FAILED_WORD] = 1
    assert rig.agent.journal.header[STRICT_WORD] == 1
    rig.intent(10 * MS, qty_lots=100, **LEAVE)
    rig.fill(12 * MS, resting, price=BID - 10)
    rig.run()
    placed = [one for one in rig.requests() if one["action"] != ACTION_CANCEL]  # what opens may be taken back
    assert [(one["action"], one["leg"], one["qty_lots"]) for one in placed] == [(ACTION_PLACE, LEG_STOP, 10)]
    exits = [row for row in rig.agent.memory.orders if row["base"] and row["leg"] == LEG_EXIT]
    assert len(exits) == 1, "journaled"
    for later in (5, 10):
        rig.quote(later * SECOND)
        rig.run()
    asked = [int(one["order_row"]) for one in rig.requests() if one["action"] in (ACTION_CANCEL, ACTION_QUERY_ORDER)]
    assert LEG_EXIT in rig.agent.memory.orders["leg"][asked]


def test_a_tail_that_a_power_cut_took_is_asked_for_and_its_numbers_are_spent(tmp_path):
    rig, stop, _ = opened(tmp_path, synced=True)
    table = rig.agent.journal.table
    kept = int(np.flatnonzero(table["type"] == JOURNAL_INTENT)[1])  # the stop's record and all after it are lost
    assert table["position_lots"][kept] == 1_000
    rig.agent.close()
    other_boot(rig.path, seq=kept - 1)
    os.truncate(rig.path, 4_096 + kept * 256 + 99)
    rig.start()
    assert rig.agent.epoch == 2 and rig.agent.memory.account["state"] == STATE_RECOVERING
    assert rig.path.with_name("journal.before-1").stat().st_size == 4_096 + kept * 256 + 99
    (question,) = rig.requests()
    assert question["action"] == ACTION_QUERY_TRADES
    rig.event(10 * MS, REPORT_QUERY_END, question, event_seq=0)
    rig.run()
    (again,) = rig.requests()
    assert (again["leg"], again["qty_lots"]) == (LEG_STOP, 1_000)
    assert (again["id_hi"], again["id_lo"]) != (stop["id_hi"], stop["id_lo"]), "the lost one's id is used once"
    assert rig.agent.memory.account["state"] == STATE_ACTIVE


def test_all_of_a_journal_may_be_lost_but_the_number_of_its_starts(tmp_path):
    rig, *_ = opened(tmp_path, synced=True)
    rig.agent.close()
    other_boot(rig.path, seq=0)
    os.truncate(rig.path, 4_096)
    rig.start()
    assert rig.agent.epoch == 2 and rig.agent.memory.account["state"] == STATE_RECOVERING
    (question,) = rig.requests()
    assert question["action"] == ACTION_QUERY_TRADES and question["id_hi"] == 2


def test_what_somebody_should_see_to_is_logged_once(tmp_path, capsys):
    rig = Rig(tmp_path)
    KillLatch(tmp_path).initialise()
    runner = LatchRunner(rig.agent, rig.wires, tmp_path / FILE_NAME, rig.agent)
    rig.agent.journal._extend()  # a folder of that name is in the way
    until = time.monotonic() + 0.1
    wait_for(lambda: runner.run(ONE_POLL, NOBODY) >= 0 and time.monotonic() > until and runner._warned)
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert (said["level"], said["worker"]) == ("warning", "execution")
    assert said["event"] == rig.agent.journal.fault and "journal.1: no room for the journal" in said["event"]


def test_a_journal_that_fails_trips_the_latch(tmp_path):
    """So the next start is a person's decision."""
    latch = KillLatch(tmp_path)
    latch.initialise()
    rig, *_ = opened(tmp_path, synced=True)
    runner = LatchRunner(rig.agent, rig.wires, tmp_path / FILE_NAME, rig.agent)
    runner.run(ONE_POLL, NOBODY)
    row = row_of(rig.wires, "journal", failures=1, window_ms=1)
    assert not latch.read().tripped and state_of(row) == ("closed", 0)
    break_the_disk(rig)
    rig.intent(10 * MS, qty_lots=10, **RESTING)
    wait_for(lambda: runner.run(ONE_POLL, NOBODY) >= 0 and latch.read().tripped)
    assert latch.read().reason == "the journal cannot be synced: Invalid argument"
    assert rig.wires.control[CONTROL_KILL] == 1 and rig.agent.memory.account["state"] == STATE_HALTED
    assert state_of(row) == ("open", 1) and row[UNTIL_NS] == NEVER
    set_limits(row, open_ms=1)  # whatever anybody sets: it is open for the life of this process
    time.sleep(0.05)
    for _ in range(3):
        runner.run(ONE_POLL, NOBODY)
    assert state_of(row) == ("open", 1) and runner._journal.state == OPEN
    runner.close()


def private_volume(size):
    """A command's beginning that runs it with a small volume of its own on $VOLUME; None if that is not allowed."""
    mount = f'mount -t tmpfs -o size={size} none "$VOLUME" && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    try:
        probe = subprocess.run(
            [*command, "true"], env={**os.environ, "VOLUME": "/mnt"}, capture_output=True, check=False
        )
    except OSError:
        return None
    return command if probe.returncode == 0 else None


def test_a_disk_that_fills_up_alarms_reduces_halts_and_still_takes_the_way_out(tmp_path):
    volume = private_volume("16m")
    if volume is None:
        pytest.skip("no volume of its own can be mounted here")
    environment = {**os.environ, "VOLUME": str(tmp_path), "PYTHONPATH": PLACES}
    command = [*volume, sys.executable, str(TESTS / "rig" / "full_disk.py"), str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "alarm\nreducing\nhalted\nfull\n"


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.stress)])
def test_each_call_to_the_disk_may_fail(tmp_path, times):
    """EIO and ENOSPC from every kind of call: what is final shuts the gate, what is not goes on, a restart recovers."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here")
    library = tmp_path / "failing_disk.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(TESTS / "rig" / "failing_disk.c"), "-ldl"]
    subprocess.run(command, check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": PLACES}
    command = [sys.executable, str(TESTS / "rig" / "failing_disk.py"), str(tmp_path), str(times)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(told) == 7 * 2 * times
    fatal = {(one["call"], one["file"]) for one in told if one["fatal"]}
    assert fatal >= {("fdatasync", "journal"), ("fdatasync", "journal.mark"), ("pwrite", "journal.mark")}
    assert {call for call, _ in fatal} == {"fdatasync", "pwrite"}
    assert all("cannot be synced" in one["said"] for one in told if one["fatal"])


def test_numbers_spent_after_a_power_cut_stay_spent(tmp_path):
    """A second death before the next stop does not take the raise back."""
    rig = Rig(tmp_path, synced=True, session_changes={"paced": 0})
    rig.open_market()
    rig.enter()
    rig.agent.close()
    other_boot(rig.path)
    rig.start()
    spent = int(rig.agent.memory.positions["own_number"][0])
    rig.agent.close()
    rig.start()
    assert int(rig.agent.memory.positions["own_number"][0]) >= spent >= 1 << OWN_NUMBERS_BITS
