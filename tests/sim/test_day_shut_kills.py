"""kill -9 of execution, again and again, while the loss of the day has shut the day and has been regained since.

Real processes on a recorded market without fees, so that a loss comes and goes; the trading day ends in the middle of
it. The ledger alone says whether anything was opened on the day that was shut, and on the next.
"""

import re
import signal

import pytest
from oracle.losses import Held, Limits, Losses, lead
from rig.losing import START_E8, WAY_NS, asked, capture_quotes, lines, lost_at, records, run, settings_of, shut_ns

from bot4.adapters.system.process import identify, open_process
from bot4.engine.journal import read_journal
from bot4.model.records import JOURNAL_START
from workers.session import Session, StartOptions, prepare

pytestmark = [pytest.mark.compiled, pytest.mark.data]

CAPTURE = "hftbacktest/spot/ethusdt_20240808.gz"
NEXT_DAY_NS = 1_723_161_420_000_000_000  # 23:57:00, three minutes before the recording's end
CHANGES: dict[str, object] = {
    "day_offset_minutes": 23 * 60 + 57,
    "enter_threshold": 0.3,
    "order_lots": 100_000,  # so that a loss is some dollars: the capital that it is a share of has to pay the order
    "order_notional": '"1000000"',
}
KILLS = 8
SPACING_NS = 12 * 10**9


class Traced(Losses):
    """Notes what there is after each event, and what is held."""

    def look(self, now_ns):
        """One event."""
        super().look(now_ns)
        self.trace.append((now_ns, self.equity_e8, any(one.lots for one in self.held.values())))


class Killer:
    """A view that kills execution whenever it works and the day is shut, until it has done so often enough."""

    every_s = 0.0

    def __init__(self) -> None:
        self.killed: set[int] = set()
        self.notes: list[str] = []
        self.next_ns = 0

    def show(self, shot):
        """One look."""
        shut = [row for row in shot["shut"] if row["limit"] == "daily_loss_bps"]
        execution = shot["workers"].get("execution")
        if not shut or len(self.killed) == KILLS or not self.next_ns <= shot["event_time_ns"] < NEXT_DAY_NS:
            return
        if not execution or not execution["alive"] or execution["pid"] in self.killed or shot["state"] != "active":
            return
        handle = open_process(identify(execution["pid"]))
        if handle is not None:
            handle.send(signal.SIGKILL)
            handle.close()
            self.killed.add(execution["pid"])
            self.next_ns = shot["event_time_ns"] + SPACING_NS  # between two it gets something done

    def note(self, text):
        """Kept for the assertion's message."""
        self.notes.append(text)

    def close(self):
        """Nothing is open."""


def without_fees(config):
    """The settings, with instruments that cost nothing."""
    file = config.with_name("instruments.toml")
    file.write_text(re.sub(r'_fee_bps = "[\d.]+"', '_fee_bps = "0"', file.read_text()))
    return config


def regained(path, folder) -> int:
    """A loss of that market's first day that a position has made, and that is less once the position is closed."""
    run(folder, without_fees(settings_of(folder, **CHANGES)), f"replay:{path}")
    limits = Limits(day_offset_ns=(23 * 60 + 57) * 60 * 10**9)
    account = Traced(START_E8, WAY_NS, limits, {"ETHUSDT": Held(100)})
    account.trace = []
    lead(account, lines(folder), capture_quotes(path, "0.01"))
    for now_ns, loss in account.lows:
        later = [row for row in account.trace if row[0] > now_ns and not row[2]]
        flat_ns, equity, _ = later[0]
        if loss > 4 * 10**8 and flat_ns < NEXT_DAY_NS - 30 * 10**9 and equity > START_E8 - loss:
            return loss
    raise AssertionError("no loss is regained")


def test_nothing_is_opened_on_a_day_that_is_shut_however_often_execution_is_killed(tmp_path, data_dir):
    path = data_dir / CAPTURE
    (tmp_path / "calm").mkdir()
    loss = regained(path, tmp_path / "calm")
    folder = tmp_path / "hit"
    folder.mkdir()
    config = without_fees(settings_of(folder, daily_loss_bps=1, capital=lost_at(loss, 1), **CHANGES))
    prepared = prepare(
        StartOptions(config=config, feed=f"replay:{path}", pace="event", compose="processes", shards=1,
                     report=folder / "report")
    )  # fmt: skip
    killer = Killer()
    outcome, _, report = Session(prepared, killer).run()
    assert outcome.exit_code == 0, (outcome, killer.notes)
    assert len(killer.killed) == KILLS == report["workers"]["execution"]["restarts"], killer.notes

    journal = read_journal(prepared.plan.journal_path)
    first, *others = shut_ns(journal)
    assert first < NEXT_DAY_NS <= min(others, default=NEXT_DAY_NS)
    starts = journal["ts_ns"][journal["type"] == JOURNAL_START]
    assert ((first <= starts) & (starts < NEXT_DAY_NS)).sum() == KILLS, "it came back while the day was shut"
    times, codes = asked(records(folder))
    opened = [now_ns for now_ns, code in zip(times, codes, strict=True) if not code]
    assert [now_ns for now_ns in opened if first <= now_ns < NEXT_DAY_NS] == []
    assert opened[0] < first and opened[-1] >= NEXT_DAY_NS
    sent = [line for line in lines(folder) if line["kind"] == "request" and line["leg"] == "entry"]
    assert [line["t_ns"] - WAY_NS for line in sent if line["action"] == "place"] == opened
    calm, _ = asked(records(tmp_path / "calm"))
    would = [now_ns for now_ns in calm if first <= now_ns < NEXT_DAY_NS]
    later = sum(now_ns >= NEXT_DAY_NS for now_ns in opened)
    print(
        f"shut for {(NEXT_DAY_NS - first) / 1e9:.0f} s, {KILLS} kills; {len(would)} entries without it, {later} after"
    )
    assert len(would) > 10
