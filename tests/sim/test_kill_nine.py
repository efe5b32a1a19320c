"""kill -9 of a shard and of execution at ten random moments of a replay, orders in flight all the time.

Whatever the moment: the run goes on to its end, and the venue's ledger, which is the only judge, knows each order once.
The strategy follows the imbalance of the best quote, so that something is always on its way.
"""

import os
import random
import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from oracle.recompute import main as recompute

from bot4.adapters.files.digest import bodies
from bot4.adapters.files.report_series import fills_of
from bot4.adapters.system.process import identify, open_process
from bot4.engine.journal import read_journal
from bot4.model.enums import LEG_ENTRY, LEG_EXIT, LEG_SLICE, REPORT_FILL
from bot4.model.records import (
    EXEC_REPORT,
    JOURNAL_EVENT,
    JOURNAL_INTENT,
    JOURNAL_SLICED,
    JOURNAL_START,
    ORDER_INTENT,
)
from bot4.shm.wires import TICK_RING_CAPACITY
from workers.session import Session, StartOptions, prepare

pytestmark = [pytest.mark.compiled, pytest.mark.data]
KILLS = 10
RECORDING = "hftbacktest/usdm/btcusdt_20240808.gz"
FIRST_NS, LAST_NS = 1_723_161_256_000_000_000, 1_723_161_595_000_000_000  # a little inside its 345 seconds
STRATEGY = """
[strategy]
id = 1
module = "rig.puppet"
[strategy.params]
bar_ns = 0
bar_kind = 0
bar_size = 0
enter_threshold = 0.6
exit_threshold = 0.0
min_hold_ns = 0
max_hold_ns = 0
position_fraction_bps = 100
sizing = 0
sizing_budget_bps = 1.0
atr_period = 2
stop_atr_multiple = 2.0
stop_min_bps = 1.0
stop_trails = 0
even_atr_multiple = 0.0
profit_atr_multiple = 3.0
slippage_ticks = 2
entry_style = 0
entry_life_ns = 1000000000
entry_slices = 0
slice_ms = 0
imbalance_levels = 1
warm_bars = 0

"""


class Killer:
    """A view that looks at every step of the supervisor and kills when its next moment has come."""

    every_s = 0.0

    def __init__(self, seed: int, *victims: str) -> None:
        choose = random.Random(seed)
        self.moments = sorted(choose.randrange(FIRST_NS, LAST_NS) for _ in range(KILLS))
        self.victims = choose.sample(victims * (KILLS // len(victims)), KILLS)
        self.kills = KILLS
        self.killed: list[str] = []
        self.open_orders: list[int] = []  # when it killed
        self.notes: list[str] = []
        self.ended: set[int] = set()
        self.seen: set = set()

    def patience_ns(self, done: int) -> int:
        """Until this event time it waits for an open order: half of the way to its next moment."""
        return (self.moments[done] + [*self.moments, LAST_NS][done + 1]) // 2

    def show(self, shot):
        """One look."""
        self.seen.update(identify(worker["pid"]) for worker in shot["workers"].values() if worker["alive"])
        done = len(self.killed)
        if done == self.kills or shot["event_time_ns"] < self.moments[done]:
            return
        if self.victims[done] not in shot["workers"]:
            return
        open_orders = shot["open_orders"] + shot["unknown_orders"]
        if not open_orders and shot["event_time_ns"] < self.patience_ns(done):
            return
        pid = shot["workers"][self.victims[done]]["pid"]
        handle = open_process(identify(pid)) if pid not in self.ended else None
        if handle is not None:
            handle.send(signal.SIGKILL)
            handle.close()
            self.ended.add(pid)
            self.killed.append(self.victims[done])
            self.open_orders.append(open_orders)

    def note(self, text):
        """Kept for the assertion's message."""
        self.notes.append(text)

    def close(self):
        """Nothing is open."""


def settings(folder: Path, repository: Path, slices: int = 0) -> Path:
    """The repository's settings with the busy strategy, few limits in its way, and a state folder of its own."""
    cut = f"entry_slices = {slices}\nslice_ms = {100 if slices else 0}\n"
    strategy = STRATEGY.replace("entry_slices = 0\nslice_ms = 0\n", cut)
    folder.mkdir()
    for file in (repository / "config").glob("*.toml"):
        text = file.read_text().replace('folder = "state"', f'folder = "{folder / "state"}"')
        text = re.sub(r"\[strategy\].*?(?=\[venue)", lambda _: strategy, text, flags=re.DOTALL)
        text = re.sub(r"cool_down_ms = \d+", "cool_down_ms = 0", text)
        text = re.sub(r"bucket_tokens = \d+", "bucket_tokens = 1000", text)
        text = re.sub(r"^(shard|order|message)_tokens = \d+", r"\1_tokens = 10000", text, flags=re.MULTILINE)
        text = re.sub(r"repeat_orders = \d+", "repeat_orders = 1000", text)
        text = re.sub(r"streak_losses = \d+", "streak_losses = 1000", text)
        (folder / file.name).write_text(text)
    return folder / "paper.toml"


def options_of(folder: Path, config: Path, recording: Path, pace: str, compose: str) -> StartOptions:
    """A replay of the recording."""
    return StartOptions(
        config=config, feed=f"replay:{recording}", pace=pace, compose=compose, shards=1, report=folder / "report"
    )


def slices_within_their_entries(records: np.ndarray) -> int:
    """How many slices went out; what is filled of an entry's and what goes out are never more than it, kills or not."""
    intents, reports = bodies(records, ORDER_INTENT), bodies(records, EXEC_REPORT)
    whole = filled = count = 0
    names: set[int] = set()
    trades: set[int] = set()  # one may be told twice: by the event and by an answer
    for record, intent, report in zip(records, intents, reports, strict=True):
        if record["type"] == JOURNAL_SLICED:
            whole, filled, names = int(intent["qty_lots"]), 0, set()
        elif record["type"] == JOURNAL_INTENT and intent["leg"] == LEG_SLICE:
            names.add(int(intent["id_lo"]))
            count += 1
            assert filled + intent["qty_lots"] <= whole, record["seq"]
        elif record["type"] == JOURNAL_EVENT and report["kind"] == REPORT_FILL and int(report["id_lo"]) in names:
            filled += int(report["qty_lots"]) if int(report["trade_id"]) not in trades else 0
            trades.add(int(report["trade_id"]))
    return count


@pytest.mark.parametrize(("seed", "pace"), [(1, "event"), (2, "event"), (3, "free")])
def test_ten_kills_lose_and_double_nothing(tmp_path, data_dir, repository, capsys, seed, pace):
    config = settings(tmp_path / "config", repository, slices=3 if seed == 2 else 0)
    options = options_of(tmp_path, config, data_dir / RECORDING, pace, "processes")
    if pace == "free":  # at max the market runs away from an execution that is starting again, and no order is open
        options = replace(options, speed="40x")
    prepared = prepare(options)
    killer = Killer(seed, "shard-0", "execution")
    outcome, _, report = Session(prepared, killer).run()

    assert outcome.exit_code == 0, (outcome, killer.notes)
    assert len(killer.killed) == KILLS, killer.killed
    print(f"open orders at the kills: {killer.open_orders}")
    assert sum(count > 0 for count in killer.open_orders) >= 2, "orders were open when it killed"
    restarts = {name: worker["restarts"] for name, worker in report["workers"].items()}
    kills = {name: killer.killed.count(name) for name in ("shard-0", "execution")}
    assert restarts == {"feed": 0, "venue": 0} | kills, killer.notes
    assert report["orders"] >= 5, report
    assert not any(identity.alive for identity in killer.seen)
    assert not list(Path("/dev/shm").glob(f"*{prepared.plan.instance}*"))
    # free-running, the venue's market goes on while execution is away, so a stop may come late; doubled it may not
    limit = "1" if pace == "event" else "86400"
    plan = prepared.plan
    judged = recompute(
        [str(plan.ledger_path), str(tmp_path / "report" / "session.json"), "--journal", str(plan.journal_path),
         "--stop-limit-s", limit]
    )  # fmt: skip
    assert judged == 0, capsys.readouterr().out[-3000:]
    records = read_journal(plan.journal_path)
    starts = np.flatnonzero(records["type"] == JOURNAL_START)
    # a process that was killed before its first record has left no mark in the journal
    assert 1 < len(starts) <= 1 + killer.killed.count("execution")
    assert (slices_within_their_entries(records) > 20) == (seed == 2)
    if pace == "free":
        return  # free-running the recording may be over before the last one is back
    after = records[starts[1] :]
    intents = np.ascontiguousarray(after["body"][after["type"] == JOURNAL_INTENT]).view(ORDER_INTENT)
    assert np.isin(intents["leg"], (LEG_ENTRY, LEG_SLICE)).any(), (
        "nothing was opened any more after execution came back"
    )


def test_a_feed_that_is_killed_goes_on_where_it_was(tmp_path, data_dir, repository):
    """Paced by event time nobody can tell: same digest, same counts as one process that nobody disturbed."""
    config = settings(tmp_path / "config", repository)
    reports = {}
    for compose in ("one", "processes"):
        killer = Killer(4, "feed") if compose == "processes" else Killer(4, "nobody")
        prepared = prepare(options_of(tmp_path / compose, config, data_dir / RECORDING, "event", compose))
        outcome, _, reports[compose] = Session(prepared, killer).run()
        assert outcome.exit_code == 0, (outcome, killer.notes)
    assert reports["processes"]["workers"]["feed"]["restarts"] == len(killer.killed) > 2
    for key in ("digest", "messages", "levels", "rejected_input", "dropped", "fills", "positions", "book"):
        assert reports["one"][key] == reports["processes"][key], key


class OneShot(Killer):
    """Kills shard-0 once, when half of the recording is over."""

    def __init__(self) -> None:
        super().__init__(0, "shard-0")
        self.moments, self.victims = [(FIRST_NS + LAST_NS) // 2], ["shard-0"]
        self.kills = 1
        self.at_ns = 0

    def show(self, shot):
        """One look; notes how far the shard was."""
        super().show(shot)
        if self.killed and not self.at_ns:
            self.at_ns = shot["event_time_ns"]


def intents_from(path: Path, ts_ns: int) -> int:
    """Entries and exits of the journal from that event time on."""
    records = read_journal(path)
    intents = np.ascontiguousarray(records["body"][records["type"] == JOURNAL_INTENT]).view(ORDER_INTENT)
    return int(np.count_nonzero((intents["ts_ns"] >= ts_ns) & (intents["leg"] <= LEG_EXIT)))


@pytest.mark.parametrize("pace", ["event", "free"])
def test_a_shard_that_is_killed_trades_again(tmp_path, data_dir, repository, pace):
    """The feed that waits for room lets the snapshot go first, so the shard's gate opens again."""
    config = settings(tmp_path / "config", repository)
    killer = OneShot()
    hit = prepare(options_of(tmp_path / "hit", config, data_dir / RECORDING, pace, "processes"))
    outcome, _, report = Session(hit, killer).run()
    assert outcome.exit_code == 0, (outcome, killer.notes)
    assert report["workers"]["shard-0"]["restarts"] == 1
    assert not any("lost its place" in warning for warning in report["warnings"])
    # what lay in the ring before the snapshot, and the message in hand
    assert report["rejects"].get("DATA_GAP", 0) < 2 * TICK_RING_CAPACITY
    found = intents_from(hit.plan.journal_path, killer.at_ns)
    if pace == "free":
        assert found > 0  # free-running at max the market runs ahead: how many is a matter of speed
        return
    calm = prepare(options_of(tmp_path / "calm", config, data_dir / RECORDING, pace, "one"))
    assert Session(calm, Killer(0, "nobody")).run()[0].exit_code == 0
    expected = intents_from(calm.plan.journal_path, killer.at_ns)
    print(f"{found} orders after the kill, {expected} undisturbed; refused: {report['rejects']}")
    assert expected > 30 and 2 * found >= expected


class Stall(OneShot):
    """Stops the venue when a third of the recording is over and lets it go on when half of it is."""

    def __init__(self) -> None:
        super().__init__()
        self.pid = 0
        self.state = "not yet"

    def show(self, shot):
        """One look."""
        self.seen.update(identify(worker["pid"]) for worker in shot["workers"].values() if worker["alive"])
        span_ns = LAST_NS - FIRST_NS
        if self.state == "not yet" and shot["event_time_ns"] > FIRST_NS + span_ns // 3:
            self.pid, self.state = shot["workers"]["venue"]["pid"], "stopped"
            os.kill(self.pid, signal.SIGSTOP)
        elif self.state == "stopped" and shot["event_time_ns"] > FIRST_NS + span_ns // 2:
            os.kill(self.pid, signal.SIGCONT)
            self.state, self.at_ns = "over", shot["event_time_ns"]


def test_a_venue_that_stood_still_trades_again(tmp_path, data_dir, repository):
    """What it missed is a hole that a snapshot closes: afterwards orders are filled as before."""
    config = settings(tmp_path / "config", repository)
    options = replace(options_of(tmp_path, config, data_dir / RECORDING, "free", "processes"), speed="40x")
    stall = Stall()
    prepared = prepare(options)
    outcome, _, report = Session(prepared, stall).run()
    assert outcome.exit_code == 0 and stall.state == "over", (outcome, stall.notes)
    assert report["dropped"] > 0 and not any("found no market" in warning for warning in report["warnings"])
    assert '"fault"' in prepared.plan.ledger_path.read_text()
    fills = fills_of(read_journal(prepared.plan.journal_path))
    after = np.count_nonzero(fills["ts_ns"] > stall.at_ns + 10_000_000_000)
    print(f"{after} of {len(fills)} fills after the stall; refused: {report['rejects']}")
    assert after > 10


class Slow(Killer):
    """Stops the shard four times for half a second, twenty seconds of event time."""

    def __init__(self) -> None:
        super().__init__(0, "nobody")
        span_ns = LAST_NS - FIRST_NS
        self.starts = [FIRST_NS + span_ns * part // 6 for part in range(1, 5)]
        self.late: list[int] = []  # event times at which it was stopped
        self.stopped_s = 0.0

    def show(self, shot):
        """One look."""
        if self.stopped_s:
            if time.monotonic() > self.stopped_s + 0.5:
                os.kill(shot["workers"]["shard-0"]["pid"], signal.SIGCONT)
                self.stopped_s = 0.0
        elif len(self.late) < len(self.starts) and shot["event_time_ns"] > self.starts[len(self.late)]:
            os.kill(shot["workers"]["shard-0"]["pid"], signal.SIGSTOP)
            self.late.append(shot["event_time_ns"])
            self.stopped_s = time.monotonic()


def test_a_shard_that_lags_opens_nothing_and_trades_again_when_it_has_caught_up(tmp_path, data_dir, repository):
    config = settings(tmp_path / "config", repository)
    speed, lag_ns, stop_ns = 40, 40 * 250_000_000, 40 * 500_000_000
    recording = data_dir / "hftbacktest/spot/ethusdt_20240808.gz"
    options = replace(options_of(tmp_path, config, recording, "free", "processes"), speed=f"{speed}x")
    slow, prepared = Slow(), prepare(options)
    outcome, _, report = Session(prepared, slow).run()
    assert outcome.exit_code == 0 and len(slow.late) == 4, (outcome, slow.notes)
    assert report["dropped"] == 0  # what it did not open it saw: no gap has shut it
    records = read_journal(prepared.plan.journal_path)
    intents = np.ascontiguousarray(records["body"][records["type"] == JOURNAL_INTENT]).view(ORDER_INTENT)
    opened = np.sort(intents["ts_ns"][intents["leg"] == LEG_ENTRY])
    margin_ns = 2_000_000_000  # of event time between a look and a signal
    count = [
        int(np.count_nonzero((opened > begin + margin_ns) & (opened < begin + stop_ns - lag_ns - margin_ns)))
        for begin in slow.late
    ]
    print(f"{len(opened)} opened, {count} from ticks that were late; refused: {report['rejects']}")
    assert count == [0] * 4 and report["rejects"]["DATA_STALE"] > 0
    assert np.count_nonzero(opened > slow.late[-1] + 2 * stop_ns) > 5 < np.count_nonzero(opened < slow.late[0])
