"""Limits that are tightened while a session runs: an input in its order, for all at once, through death and replay."""

import os
import re
import shutil
import signal
from decimal import Decimal

import msgspec
import numpy as np
import pytest
from rig.execution import T0, Rig
from rig.session import REPOSITORY, Running, run_command, settings_folder
from rig.shard import UP
from rig.shard import Rig as ShardRig
from rig.tables import MS, SECOND

from bot4.adapters.files.digest import canonical_rows
from bot4.adapters.files.journal_lines import journal_lines
from bot4.adapters.system.instance import running_instance
from bot4.adapters.system.latch import KillLatch
from bot4.engine.journal import read_journal
from bot4.kernels.risk.tightening import AT_THE_START, DOWNWARDS, TIGHTER
from bot4.model.breaker import (
    BREAKER_WORDS,
    LIMIT_FAILURES,
    LIMIT_PROBES,
    breaker_row,
    breaker_rows,
    rows_of_component,
)
from bot4.model.enums import (
    ACTION_PLACE,
    INT64_MAX,
    LEG_EXIT,
    ORDER_REDUCE_ONLY,
    REPORT_LIMIT,
    REPORT_QUERY_END,
    RISK_NOTIONAL,
    RISK_POSITION,
    SIDE_SELL,
    TYPE_MARKET,
)
from bot4.model.errors import SettingsError
from bot4.model.records import JOURNAL_LIMIT, LIMITS, words
from bot4.settings.conversion import breaker_words, limit_field, limits_record
from bot4.settings.loader import load
from bot4.settings.schema import Breaker, Breakers, Limits
from bot4.shm.layout import (
    CLOCK_EXEC_SHARD,
    CLOCK_EXEC_VENUE,
    CLOCK_FEED,
    CLOCK_SHARD,
    CLOCK_VENUE,
    CONTROL_RESYNC,
    LINE,
)
from bot4.shm.wiring import attach_wires
from workers.reload import reload, tighter_breakers
from workers.session import Session, StartOptions, prepare
from workers.verify_session import verify_session

SETTINGS = load(REPOSITORY / "config" / "paper.toml")
LEAVE = {"side": SIDE_SELL, "type": TYPE_MARKET, "price_ticks": 0, "stop_ticks": 0, "leg": LEG_EXIT,
         "flags": ORDER_REDUCE_ONLY}  # fmt: skip


def ask(rig, **changes):
    """A person wants these limits, all others as they are."""
    asked = np.array(rig.limits)
    for name, value in changes.items():
        asked[name] = value
    rig.wires.asked[LINE:] = words(asked)
    rig.wires.asked[0] += 1
    rig.run()


def opened(rig):
    """Orders of shards that went out since the last call."""
    return [order for order in rig.requests() if order["action"] == ACTION_PLACE and order["leg"] <= LEG_EXIT]


def told(rig, shard):
    """Limits that a shard was told since the last call, by name."""
    return {LIMITS.names[r["code"]]: int(r["cash_e8"]) for r in rig.reports(shard) if r["kind"] == REPORT_LIMIT}


def test_a_tighter_limit_holds_for_every_shard_and_execution_and_survives_its_death(tmp_path):
    rig = Rig(tmp_path, 2, 2)
    rig.open_market()
    rig.enter(instrument=0)  # 600 of 100,000
    rig.reports(0)
    ask(rig, position_bps=50, order_notional_e8=4_000 * 10**8)
    assert told(rig, 0) == told(rig, 1) == {"position_bps": 50, "order_notional_e8": 4_000 * 10**8}
    for life in range(2):
        at = (10 + 10 * life) * MS
        for shard in (0, 1):
            rig.intent(at, shard=shard, instrument=shard)
        rig.run()
        assert opened(rig) == [] and rig.rejects == {RISK_POSITION: 2 + 2 * life}
        assert rig.limits["position_bps"][0] == 50 == rig.wires.limits[0, LIMITS.names.index("position_bps")]
        assert rig.wires.limits[1, LIMITS.names.index("position_bps")] == 200
        rig.agent.close()
        rig.start()  # the words that were asked are still there, the journal has them too
        question = rig.requests()[-1]
        rig.event(at + MS, REPORT_QUERY_END, question, event_seq=0)
        rig.run()
        assert told(rig, 0) == {"position_bps": 50, "order_notional_e8": 4_000 * 10**8}
        rig.requests()
    rig.intent(40 * MS, qty_lots=1_000, **LEAVE)
    rig.run()
    assert [order["leg"] for order in opened(rig)] == [LEG_EXIT]
    assert np.count_nonzero(rig.agent.journal.table["type"] == JOURNAL_LIMIT) == 2


def test_the_journal_alone_keeps_a_limit_tight(tmp_path):
    rig = Rig(tmp_path)
    rig.open_market()
    ask(rig, position_bps=50)
    rig.agent.close()
    rig.wires.asked[:] = 0
    rig.start()
    assert rig.wires.limits[0, 0] == 50 and rig.agent.memory.next_words[0] == 50


def test_the_journal_in_words_names_what_became_tighter_and_from_when(tmp_path):
    rig = Rig(tmp_path)
    rig.open_market()
    ask(rig, order_notional_e8=900 * 10**8, cool_down_ns=SECOND)
    lines = journal_lines(rig.agent.journal.table, [("BTC", Decimal("0.01"), Decimal("0.00001"))])
    told = [line for line in lines if line["record"] == "limit"]
    assert [line["tighter"] for line in told] == [{"order_notional": "900"}, {"cool_down_ms": "1000"}]
    assert all(line["from"] == "2023-11-14T22:13:20.000100000Z" and "code" not in line for line in told)


def test_another_start_of_the_session_has_the_limits_that_a_person_gave_it(tmp_path):
    """A session that is taken up: its journal knows of a tighter limit, the start is a person's."""
    rig = Rig(tmp_path)
    rig.open_market()
    ask(rig, position_bps=50)
    assert rig.limits["position_bps"][0] == 200, "from the next event on"
    rig.agent.close()
    rig.wires.asked[:] = 0
    rig.session["feed_generation"] = 2
    rig.start()
    assert rig.wires.limits[0, 0] == 200 and rig.agent.memory.next_words[0] == 200
    assert not rig.agent.memory.tightened.any()


@pytest.mark.parametrize("name", LIMITS.names)
def test_no_limit_becomes_looser_whoever_asks(tmp_path, name):
    rig = Rig(tmp_path)
    rig.open_market()
    value, bound = int(rig.limits[name][0]), int(TIGHTER[LIMITS.names.index(name)])
    ways = {AT_THE_START: (value + 1, max(value - 1, 0)), DOWNWARDS: (value + 1, -1)}
    looser = ways.get(bound, (value - 1, bound + 1))
    for number, wish in enumerate(looser, start=1):
        if wish == value:
            continue
        ask(rig, **{name: wish})
        rig.quote(number * SECOND)
        rig.run()
        assert rig.limits[name][0] == value and rig.agent.memory.account["alarms"][0] == number
    assert np.count_nonzero(rig.agent.journal.table["type"] == JOURNAL_LIMIT) == 0
    if bound != AT_THE_START:
        tighter = value - 1 if bound == DOWNWARDS else min(value + 1, bound)
        ask(rig, **{name: tighter})
        rig.quote(3 * SECOND)
        rig.run()
        assert rig.limits[name][0] == tighter


def test_a_paced_session_decides_by_the_old_limit_what_comes_before(tmp_path):
    """It holds from execution's promise to the shards on: what a shard decided up to there stands."""
    rig = Rig(tmp_path, session_changes={"paced": 1})
    clocks = rig.wires.clocks
    rig.whole(0)
    rig.quote(0)
    for clock in (CLOCK_FEED, CLOCK_VENUE, CLOCK_SHARD):
        clocks[clock] = T0 + 50 * MS
    rig.run()
    promised = int(clocks[CLOCK_EXEC_SHARD])
    assert promised > T0 + 50 * MS
    ask(rig, order_notional_e8=100 * 10**8)
    (report,) = (r for r in rig.reports(0) if r["kind"] == REPORT_LIMIT)
    assert report["ts_ns"] == promised
    at = promised - T0
    rig.intent(at - 1)
    rig.intent(at)
    for clock in (CLOCK_FEED, CLOCK_VENUE, CLOCK_SHARD):
        clocks[clock] = T0 + at + 1
    rig.run()
    assert [int(order["event_no"]) for order in rig.requests()] == [1] and rig.rejects == {RISK_NOTIONAL: 1}


def test_a_shard_decides_by_what_it_is_told_from_then_on():
    rig = ShardRig()
    at = rig.warm_up()
    word = LIMITS.names.index("position_bps")
    rig.report(at, REPORT_LIMIT, code=word, cash_e8=1)
    rig.quote(at, UP)
    small = rig.intent()["qty_lots"]
    other = ShardRig()
    other.quote(other.warm_up(), UP)
    assert 100 * small <= other.intent()["qty_lots"]


def test_a_shard_that_is_started_again_is_told(tmp_path):
    rig = Rig(tmp_path)
    rig.open_market()
    ask(rig, var_confidence_bps=9_950, cool_down_ns=SECOND)
    rig.reports(0)
    rig.wires.control[CONTROL_RESYNC] += 1
    rig.run()
    assert told(rig, 0) == {"var_confidence_bps": 9_950, "cool_down_ns": SECOND}


def test_each_limit_of_the_file_has_its_words():
    """Each word has its field and no bound of a growing limit lies beyond what the settings take."""
    settings = load(REPOSITORY / "config" / "paper.toml")
    record = limits_record(settings)
    named = {limit_field(name) for name in LIMITS.names}
    assert named | {"lag_ms", "silence_ms", "spike_bps", "venue_time_ms"} == set(Limits.__struct_fields__)
    for word, name in enumerate(LIMITS.names):
        if TIGHTER[word] > 0:
            bound = Limits.__annotations__[limit_field(name)].__metadata__[0]
            assert TIGHTER[word] == bound.high * (MS if name.endswith("_ns") else 1), name
            assert record[name][0] <= TIGHTER[word]


BREAKER_FIELDS = [
    (component, field)
    for component in Breakers.__struct_fields__
    for field in Breaker.__struct_fields__
    if getattr(getattr(SETTINGS.breakers, component), field) is not None
]


@pytest.mark.parametrize(("component", "field"), BREAKER_FIELDS)
def test_no_breaker_becomes_looser_by_any_field(component, field):
    """Each field has one tighter side; a strategy's breaker is an input of decisions and has none."""
    table = np.zeros((breaker_rows(1), BREAKER_WORDS), np.int64)
    for name, line in breaker_words(SETTINGS).items():
        for row in rows_of_component(name, 1):
            table[row, LIMIT_FAILURES : LIMIT_PROBES + 1] = line
    own = getattr(SETTINGS.breakers, component)
    grows = field in ("window_ms", "open_ms", "doublings", "probes")
    for step in (-1, 1):
        changed = msgspec.structs.replace(own, **{field: getattr(own, field) + step})
        wanted = msgspec.structs.replace(
            SETTINGS, breakers=msgspec.structs.replace(SETTINGS.breakers, **{component: changed})
        )
        if component == "model" or (step > 0) != grows:
            with pytest.raises(SettingsError, match=f"breaker.{component}.{field}: "):
                tighter_breakers(wanted, table, breaker_words(wanted), 1)
        else:
            told = tighter_breakers(wanted, table, breaker_words(wanted), 1)
            assert told == {f"breaker.{component}.{field}": str(getattr(changed, field))}


# --- the command, on running processes -------------------------------------------------------------------------------
def change(config, name, value):
    """Another value in limits.toml."""
    file = config.with_name("limits.toml")
    text, count = re.subn(rf"^{name} = \S+", f"{name} = {value}", file.read_text(), flags=re.MULTILINE)
    assert count == 1
    file.write_text(text)


def change_breaker(config, old, new):
    """The first line of the breakers' table that has the old text."""
    file = config.with_name("limits.toml")
    head, mark, table = file.read_text().partition("[breaker]")
    assert old in table
    file.write_text(head + mark + table.replace(old, new, 1))


@pytest.mark.compiled
def test_the_command_tightens_a_running_session_and_refuses_by_name(tmp_path):
    config = settings_folder(tmp_path)
    nothing = run_command("reload", "--config", config)
    assert nothing.returncode == 1 and "nothing runs" in nothing.stderr
    session = Running(config, "--feed", "synthetic:3", "--speed", "20x", "--stay")
    try:
        session.until(lambda line: line["kind"] == "status" and line["orders"] > 0)
        same = run_command("reload", "--config", config)
        assert (same.returncode, same.stdout) == (0, "limits.toml says what is in force\n")
        change(config, "position_bps", 3)
        change(config, "cool_down_ms", 700)
        change_breaker(config, "feed = { failures = 20,", "feed = { failures = 10,")
        done = run_command("reload", "--config", config)
        tighter = "tighter now: position_bps = 3, cool_down_ms = 700, breaker.feed.failures = 10\n"
        assert (done.returncode, done.stdout) == (0, tighter), done.stderr
        for good, bad, said in (
            ("feed = { failures = 10,", "feed = { failures = 11,", "breaker.feed.failures: 11 is looser than the 10"),
            (
                "slow_ms = 2000, slow_bps = 5000",
                "slow_ms = 2001, slow_bps = 5000",
                "slow_ms: 2001 is looser than the 2000",
            ),
            ("window_ms = 600000", "window_ms = 599999", "breaker.recorder.window_ms: 599999 is looser"),
            ("model = { failures = 10", "model = { failures = 9", "breaker.model.failures: is set at the start alone"),
            ("doublings = 2, probes = 1", "probes = 1, slow_ms = 5", "breaker.feed.slow_bps: missing; add it"),
        ):
            change_breaker(config, good, bad)
            refused = run_command("reload", "--config", config)
            assert refused.returncode == 2 and said in refused.stderr and refused.stderr.count("\n") == 1, refused
            change_breaker(config, bad, good)
        for name, value, was, words_ in (
            ("position_bps", 4, 3, "position_bps: 4 is looser than the 3 in force; write at most 3"),
            ("cool_down_ms", 699, 700, "cool_down_ms: 699 is looser than the 700 in force; write at least 700"),
            ("order_refill_ms", 300, 200, "order_refill_ms: is set at the start alone"),
            ("silence_ms", 900, 1000, "silence_ms: is read at the start alone; write 1000 again"),
            ("collar_bps", -1, 50, "collar_bps: -1 is outside"),
        ):
            change(config, name, value)
            change(config, "order_lots", 10)  # nothing of a file with a fault is taken
            refused = run_command("reload", "--config", config)
            assert refused.returncode == 2 and words_ in refused.stderr and refused.stderr.count("\n") == 1, refused
            change(config, name, was)
            change(config, "order_lots", 1000000)
        line = session.until(lambda line: line["kind"] == "status" and line["tightened"])
        expected = {
            "position_bps": {"in_force": "3", "begun": "200"},
            "cool_down_ms": {"in_force": "700", "begun": "500"},
            "breaker.feed.failures": {"in_force": "10", "begun": "20"},
        }
        assert line["tightened"] == expected
        os.kill(line["workers"]["execution"]["pid"], signal.SIGKILL)
        line = session.until(
            lambda line: (
                line["kind"] == "status" and line["workers"]["execution"]["restarts"] == 1 and line["state"] == "active"
            )
        )
        assert line["tightened"] == expected
        shown = run_command("status", "--config", config).stdout
        assert "limit position_bps: 3, tightened from 200\n" in shown
        assert "limit breaker.feed.failures: 10, tightened from 20\n" in shown
        assert run_command("stop", "--config", config).returncode == 0
    finally:
        session.close()
    (folder,) = (tmp_path / "state" / "sessions").iterdir()
    assert np.count_nonzero(read_journal(folder / "journal.bin")["type"] == JOURNAL_LIMIT) == 2


@pytest.mark.compiled
def test_behind_the_end_of_the_feed_nothing_is_waited_for(tmp_path):
    config = settings_folder(tmp_path)
    session = Running(config, "--feed", "synthetic:3", "--stay")
    try:
        session.until(lambda line: line["kind"] == "status")
        found = running_instance(tmp_path / "state")
        shared = attach_wires(found.instance, found.n_shards, found.n_instruments, generation=found.generation)
        try:
            session.until(lambda line: shared.wires.clocks[CLOCK_EXEC_VENUE] == INT64_MAX)
        finally:
            shared.close()
        same = run_command("reload", "--config", config)
        assert (same.returncode, same.stdout) == (0, "limits.toml says what is in force\n")
        change(config, "position_bps", 3)
        change_breaker(config, "feed = { failures = 20,", "feed = { failures = 10,")
        refused = run_command("reload", "--config", config)
        assert refused.returncode == 1 and "the feed has ended, nothing is decided any more" in refused.stderr, refused
        shared = attach_wires(found.instance, found.n_shards, found.n_instruments, generation=found.generation)
        row = shared.wires.breakers[breaker_row("feed", found.n_shards)]
        assert row[LIMIT_FAILURES] == 20, "all of the file or nothing"
        shared.close()
        assert run_command("stop", "--config", config).returncode == 0
    finally:
        session.close()


TIGHTER_NOW = {"order_notional": "900", "breaker.recorder.failures": "2"}


class Reloader:
    """A view that tightens a limit and a breaker when event time has come to a moment."""

    every_s = 0.0

    def __init__(self, config, at_ns):
        self.config, self.at_ns = config, at_ns
        self.done = {}

    def show(self, shot):
        """One look."""
        if not self.done and shot["event_time_ns"] >= self.at_ns:
            change(self.config, "order_notional", '"900"')
            change_breaker(self.config, "recorder = { failures = 3,", "recorder = { failures = 2,")
            self.done = reload(self.config, None)

    def note(self, text):
        """Nothing."""

    def close(self):
        """Nothing is open."""


@pytest.mark.compiled
@pytest.mark.parametrize("compose", ["one", "processes"])
def test_a_session_that_was_tightened_plays_again_to_the_same_decisions(tmp_path, compose):
    config = settings_folder(tmp_path)
    options = StartOptions(config=config, feed="synthetic:3", pace="event", compose=compose, report=tmp_path / "report")
    rows, at_ns = [], 2**62
    for _ in range(2):
        prepared = prepare(options)
        reloader = Reloader(config, at_ns)
        outcome, _, _ = Session(prepared, reloader).run()
        assert outcome.exit_code == 0, outcome
        rows.append(canonical_rows(read_journal(prepared.plan.journal_path)))
        at_ns = int(np.median(rows[0]["ts_ns"]))
    assert reloader.done == TIGHTER_NOW
    assert len(rows[0]) != len(rows[1]) or (rows[0] != rows[1]).any(), "it decided otherwise"
    assert verify_session(prepared.plan.session_folder)["difference"] is None


@pytest.mark.compiled
def test_limits_of_the_start_alone_are_judged_by_the_start_that_runs(tmp_path):
    """A session that has been taken up: another start of it, with another limit, lies in its folder."""
    config = settings_folder(tmp_path)
    KillLatch(tmp_path / "state").initialise()  # the folder is not a new one
    options = StartOptions(config=config, feed="synthetic:3", speed="100x", compose="one", report=tmp_path / "report")
    prepared = prepare(options)  # it lasts long enough for a reload before its end
    before = prepared.plan.session_folder / "inputs"
    shutil.copytree(config.parent, before)
    (before / "command.json").write_text('{"config": "paper.toml"}')
    change(before / "paper.toml", "lag_ms", 1)
    reloader = Reloader(config, 1)  # once it has begun
    outcome, _, report = Session(prepared, reloader).run()
    assert outcome.exit_code == 0 and reloader.done == TIGHTER_NOW, outcome
    assert "900" in [row["value"] for row in report["assumptions"]], "the report judges by what was in force"
    assert "order_notional was tightened to 900, from 2500, while it ran." in report["warnings"]
    assert "breaker.recorder.failures was tightened to 2, from 3, while it ran." in report["warnings"]
