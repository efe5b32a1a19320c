"""Supervision in the real wiring, judged by the ledger: a shard in quarantine, a supervisor that hangs."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from oracle.recompute import ENDED
from rig.session import Running
from rig.torture import Found, Spec, Torturer, settings, verdict

from bot4.adapters.system.process import identify, open_process
from workers.session import Session, StartOptions, prepare
from workers.supervisor import STORM_RESTARTS

pytestmark = pytest.mark.compiled


def lines_of(ledger: Path) -> list[dict]:
    """What the ledger holds so far, without half a line at its end."""
    return [json.loads(line) for line in ledger.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


class Assassin(Torturer):
    """Kills each life of shard 0 before it has done anything, from the moment on when one of its orders rests."""

    def show(self, shot: dict) -> None:
        """One look."""
        self.last = shot
        super().show(shot)
        worker = shot["workers"]["shard-0"]
        if shot["stopping"] or self.quarantined or not (self.found.victims or self.resting(shot)):
            return
        handle = open_process(identify(worker["pid"]))
        if handle is not None:
            handle.send(signal.SIGKILL)
            handle.close()

    @property
    def quarantined(self) -> bool:
        """The supervisor said so."""
        return any("quarantine" in note for note in self.notes)

    def leave(self, event_time_ns: int) -> None:
        """Long after the quarantine."""
        if self.quarantined:
            self.base = self.base or self.last["orders"]
            super().leave(event_time_ns)

    def resting(self, shot: dict) -> list[str]:
        """Entries of shard 0 that rest at the venue."""
        if shot["orders"] < 20:
            return []
        return open_entries(lines_of(self.plan.ledger_path), self.symbols)

    @property
    def symbols(self) -> set[str]:
        """Of shard 0."""
        shards = self.plan.instruments["shard"]
        return {symbol for (symbol, _), shard in zip(self.plan.symbols, shards, strict=True) if shard == 0}


def open_entries(lines: list[dict], symbols: set[str]) -> list[str]:
    """Client ids of entries that have been accepted and have not ended."""
    last = {}
    for line in lines:
        if line["kind"] in ("order", "fill") and line["leg"] == "entry" and line["symbol"] in symbols:
            last[line["client_order_id"]] = line.get("status", "fill")
    return [name for name, status in last.items() if status not in ENDED]


def test_a_shard_in_quarantine_leaves_no_order_open_and_the_other_trades_on(tmp_path):
    """Its resting entry is taken back, its position keeps the stop; nobody waits for it."""
    spec = Spec(seed=1, blows=(), style=1, orders=60, folder=str(tmp_path), out=str(tmp_path / "said.json"))
    config = settings(tmp_path / "config", spec.style, entry_life_ns=20_000_000_000)  # so that one is met at rest
    options = StartOptions(config=config, feed="synthetic:5", pace="event", compose="processes", shards=2,
                           report=tmp_path / "report")  # fmt: skip
    prepared = prepare(options)
    assassin = Assassin(spec, prepared, Found(), None)
    outcome, _, report = Session(prepared, assassin).run()
    assassin.close()
    assert outcome.exit_code == 0, (outcome, assassin.notes)
    victims = assassin.found.victims
    assert set(victims) == {"shard-0"} and len(victims) > STORM_RESTARTS, assassin.notes
    assert sum("quarantine" in note for note in assassin.notes) == 1
    ledger = prepared.plan.ledger_path
    found = verdict(ledger, prepared.plan.journal_path, report)
    assert not +found.kinds, found.problems
    lines = lines_of(ledger)
    assert open_entries(lines, assassin.symbols) == []
    placed = [line for line in lines if line["kind"] == "request" and line["action"] == "place"]
    entries = [number for number, line in enumerate(placed) if line["leg"] == "entry"]
    mine = [number for number in entries if placed[number]["symbol"] in assassin.symbols]
    assert 0 < len(mine) and len(placed) - mine[-1] > 50, "the other one went on for long"


def test_nothing_is_opened_while_the_supervisor_hangs(tmp_path, repository, monkeypatch):
    """After half a second, until it is there again."""
    monkeypatch.setenv("PYTHONPATH", str(repository / "tests"))
    config = settings(tmp_path / "config", 0)
    session = Running(config, "--feed", "synthetic:1", "--speed", "10x", "--pace", "free", "--report", tmp_path / "out")
    entries = {}

    def count(what: str) -> int:
        (ledger,) = (tmp_path / "config" / "state" / "sessions").glob("*/ledger.jsonl")
        lines = [line for line in lines_of(ledger) if line["kind"] == "request" and line["action"] == "place"]
        entries[what] = sum(line["leg"] == "entry" for line in lines)
        return entries[what]

    try:
        session.until(lambda line: line["kind"] == "status" and line["orders"] > 50)
        os.kill(session.process.pid, signal.SIGSTOP)
        for _ in range(20):
            before = count("then")
            time.sleep(1.5)
            if count("later") == before:
                break
        os.kill(session.process.pid, signal.SIGCONT)
        before = count("goes on")
        while count("at last") < before + 20:
            session.read()
        session.process.send_signal(signal.SIGTERM)
        code, last, error = session.finish()
    finally:
        session.process.send_signal(signal.SIGCONT)  # nothing, once it has been waited for
        session.close()
    print(entries)
    assert (code, last["state"], error) == (0, "stopped", "")
    assert entries["then"] == entries["later"] > 0
