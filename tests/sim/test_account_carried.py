"""From session to session: high-water mark, the day's begin and a pause hold on, in execution's real wiring."""

import os
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from rig.execution import T0, Rig
from rig.journal import wait_for
from rig.session import settings_folder
from rig.tables import MS, SECOND

from bot4.adapters.system.account_file import AccountFile, AccountState, account_path, read_account
from bot4.adapters.system.latch import KillLatch, is_tripped
from bot4.model.enums import OK, REPORT_FUNDING, RISK_DAILY_LOSS, RISK_DRAWDOWN, RISK_STREAK
from bot4.model.errors import Bot4Error, HaltedError, SettingsError
from bot4.shm.layout import CONTROL_KILL
from workers.execution import Keeper, LatchReader
from workers.plan import FeedSpec
from workers.session import Session, StartOptions, begin_anew, carry_over, prepare
from workers.takeup import keep_begin, mark_flat
from workers.view import JsonView

DAY = 86_400 * SECOND
FILLER = {"instrument": 0, "id_hi": 1, "id_lo": 1, "order_row": -1, "side": 1}
START = 100_000 * 10**8
LIMITS = {"quote_age_ns": 400 * DAY, "streak_pause_ns": 3_600 * SECOND}


def lived(folder, cash, streak_losses=1_000):
    """A first session: fundings one after the other, then killed at once; what it left."""
    (folder / "first").mkdir(parents=True)
    rig = Rig(folder / "first", limit_changes={**LIMITS, "streak_losses": streak_losses})
    keeper = Keeper(rig.agent, AccountFile(folder, 1))
    rig.open_market()
    for number, amount in enumerate(cash, 1):
        rig.event(number * MS, REPORT_FUNDING, FILLER, cash_e8=amount)
        while keeper.do_work():
            pass
    if streak_losses == 1:
        entry, _ = rig.enter(at=10 * MS)
        rig.event(14 * MS, REPORT_FUNDING, entry, cash_e8=-1)
        rig.intent(15 * MS, side=-1, type=1, price_ticks=0, stop_ticks=0, leg=1, flags=1, qty_lots=1_000)
        rig.run()
        rig.fill(17 * MS, rig.requests()[-1])
    while keeper.do_work():
        pass
    return read_account(folder, 1)


def next_session(folder, carried, at, cash=0):
    """Another session of the account, some time later, with a funding: what its first order meets."""
    (folder / "second").mkdir()
    changes = dict(carried._asdict()) if carried else {}
    if carried:
        changes["start_equity_e8"] = changes.pop("equity_e8")
    rig = Rig(folder / "second", limit_changes=LIMITS, session_changes=changes)
    rig.open_market(at)
    rig.event(at + 2, REPORT_FUNDING, FILLER, cash_e8=cash)
    rig.intent(at + 5, qty_lots=100)
    rig.run()
    (code,) = rig.rejects or [OK]
    assert len(rig.requests()) == (code == OK)
    return code


NEXT = T0 // DAY * DAY + DAY - T0  # the next day begins
CASES = {  # what happened, how long ago, what the next session meets
    "drawdown": ([5_000 * 10**8, -15_750 * 10**8], NEXT, RISK_DRAWDOWN),
    "drawdown, a unit less": ([5_000 * 10**8, -15_750 * 10**8 + 1], NEXT, OK),
    "loss of the day": ([-3_000 * 10**8], 60 * SECOND, RISK_DAILY_LOSS),
    "loss of the day, a unit less": ([-3_000 * 10**8 + 1], 60 * SECOND, OK),
    "loss of the day before": ([-3_000 * 10**8], NEXT, OK),
}


@pytest.mark.parametrize("case", CASES)
def test_losses_hold_on_into_the_next_session(tmp_path, case):
    cash, later, code = CASES[case]
    # the first funding finds the day begun, at the start equity
    carried = lived(tmp_path, [0, *cash])
    assert carried.equity_e8 == START + sum(cash) and carried.high_water_e8 == max(START, START + cash[0])
    assert next_session(tmp_path, carried, later) == code


@pytest.mark.parametrize(("cash", "code"), [(-1, RISK_DAILY_LOSS), (0, OK)])
def test_a_day_loses_in_both_sessions_together(tmp_path, cash, code):
    carried = lived(tmp_path, [0, -3_000 * 10**8 + 1])
    assert not carried.day_shut_until_ns
    assert next_session(tmp_path, carried, 60 * SECOND, cash) == code


@pytest.mark.parametrize(("later", "code"), [(1_800 * SECOND, RISK_STREAK), (3_601 * SECOND, OK)])
def test_a_pause_holds_on_into_the_next_session(tmp_path, later, code):
    carried = lived(tmp_path, [0], streak_losses=1)
    assert carried.streak_until_ns > T0
    assert next_session(tmp_path, carried, later) == code


def test_losses_in_a_row_are_counted_on(tmp_path):
    (tmp_path / "a").mkdir()
    rig = Rig(tmp_path / "a", session_changes={"streak": 3, "day": 1, "day_start_e8": START})
    assert rig.agent.memory.account["streak"] == 3
    assert rig.build().memory.account["streak"] == 3


def test_a_death_at_the_very_beginning_does_not_begin_the_day_anew(tmp_path):
    """The journal holds the start alone: the day that was carried over goes on."""
    day = T0 // DAY
    changes = {"day": day, "day_start_e8": START + 5_000 * 10**8, "high_water_e8": START + 5_000 * 10**8}
    rig = Rig(tmp_path, limit_changes=LIMITS, session_changes=changes)
    rig.start()
    rig.event(1, 11, {"id_hi": 2, "id_lo": 0, "order_row": -1, "instrument": 0, "side": 0}, event_seq=0)
    rig.open_market(2)
    rig.intent(5, qty_lots=100)
    rig.run()
    assert rig.rejects == {RISK_DAILY_LOSS: 1}


def test_an_account_that_cannot_be_kept_trips_the_latch_and_ends_nothing(tmp_path):
    """The kill word of whoever sets it outlives the session, and a disk that takes nothing more ends no worker."""
    KillLatch(tmp_path).initialise()
    (tmp_path / "first").mkdir()
    rig = Rig(tmp_path / "first", limit_changes=LIMITS)
    file = AccountFile(tmp_path, 1)
    reader = LatchReader(Keeper(rig.agent, file), rig.wires, tmp_path / "kill.latch", rig.agent)
    os.close(file._descriptor)
    rig.open_market()
    while reader.do_work():
        pass
    assert rig.wires.control[CONTROL_KILL] == 1
    wait_for(lambda: reader.do_work() == 0 and is_tripped(tmp_path / "kill.latch"))


def test_a_word_is_not_lost_with_a_latch_that_cannot_be_written(tmp_path):
    (tmp_path / "first").mkdir()
    rig = Rig(tmp_path / "first", limit_changes=LIMITS)
    KillLatch(tmp_path).initialise()
    reader = LatchReader(rig.agent, rig.wires, tmp_path / "kill.latch", rig.agent)
    (tmp_path / "kill.latch").rename(tmp_path / "whole")
    (tmp_path / "kill.latch").mkdir()  # nothing can be written there
    reader._trip("the disk is broken")
    (tmp_path / "kill.latch").rmdir()
    (tmp_path / "whole").rename(tmp_path / "kill.latch")
    rig.wires.control[CONTROL_KILL] = 1  # as a gateway does whose key has been revoked
    reader.do_work()
    assert is_tripped(tmp_path / "kill.latch")


@pytest.fixture
def live(tmp_path):
    """Settings of a session whose market is live, and its options."""
    config = settings_folder(tmp_path)
    file = config.with_name("instruments.toml")
    tables = file.read_text().split("[[instrument]]")
    file.write_text("[[instrument]]".join(table for table in tables if "synthetic" not in table))
    state = re.search(r'^folder = "(.*)"', config.read_text(), re.MULTILINE)[1]
    Path(state).mkdir(exist_ok=True)
    return StartOptions(config=config, feed="live", report=tmp_path / "report"), Path(state)


def test_a_live_session_begins_where_the_account_stands(live):
    options, state = live
    left = AccountState(90_000 * 10**8, 110_000 * 10**8, 19_000, 91_000 * 10**8, 3, 7)
    file = AccountFile(state, 1)
    file.write(left)
    file.close()
    session = prepare(options, ask_venues=False).plan.session[0]
    got = {name: int(session["start_equity_e8" if name == "equity_e8" else name]) for name in AccountState._fields}
    assert AccountState(**got) == left._replace(stake_e8=START), "a file of before: nothing is known of a deposit"


def test_an_account_that_cannot_be_known_is_refused_at_start(live):
    options, state = live
    account_path(state, 1).write_bytes(b"\0" * 512)
    with pytest.raises(SettingsError, match="is damaged; put a copy of it back, or move it away to begin anew"):
        prepare(options, ask_venues=False)


def test_another_account_and_a_replay_begin_with_nothing(live):
    options, state = live
    account_path(state, 2).write_bytes(b"\0" * 512)
    prepared = prepare(options, ask_venues=False)
    assert prepared.plan.session[0]["high_water_e8"] == 0
    account_path(state, 1).write_bytes(b"\0" * 512)
    carry_over(replace(prepared.plan, feed=FeedSpec(kind="synthetic")), prepared.settings)
    assert prepared.plan.session[0]["high_water_e8"] == 0


@pytest.mark.parametrize(("left", "begins"), [(90_000, 90_000), (110_000, 100_000)], ids=["lost", "won"])
def test_where_a_venue_holds_the_money_a_loss_counts_on(live, left, begins):
    """No more than the settings say is at stake there, what was won beyond is no loss; paper is another account."""
    options, state = live
    prepared = prepare(options, ask_venues=False)
    for venue, equity in (("", 70_000), ("bybit_linear", left)):
        file = AccountFile(state, 1, venue)
        file.write(AccountState(equity * 10**8, 110_000 * 10**8, 3, 100_000 * 10**8, 4, 5))
        file.close()
    traded = replace(prepared.plan, traded="bybit_linear")
    carry_over(traded, prepared.settings)
    carry_over(traded, prepared.settings)  # once more behind the lock
    session = traded.session[0]
    beyond = (left - begins) * 10**8
    assert session["start_equity_e8"] == begins * 10**8
    assert (session["high_water_e8"], session["day_start_e8"]) == (110_000 * 10**8 - beyond, 100_000 * 10**8 - beyond)
    carry_over(prepared.plan, prepared.settings)
    assert prepared.plan.session[0]["start_equity_e8"] == 70_000 * 10**8


@pytest.mark.parametrize("venue", ["", "bybit_linear"], ids=["paper", "traded"])
@pytest.mark.parametrize(("stake", "what"), [(150_000, "a withdrawal of 50000"), (80_000, "a deposit of 20000")])
def test_another_equity_in_the_settings_is_a_deposit_or_a_withdrawal_and_no_loss(live, venue, stake, what):
    """10,000 had been lost: just that is lost now, and a start with the same settings again says nothing."""
    options, state = live
    prepared = prepare(options, ask_venues=False)
    plan = replace(prepared.plan, traded=venue)
    file = AccountFile(state, 1, venue)
    lost, mark = (stake - 10_000) * 10**8, (stake + 5_000) * 10**8
    file.write(AccountState(lost, mark, 3, stake * 10**8, 4, 5, stake * 10**8))
    told = carry_over(plan, prepared.settings)
    session = plan.session[0]
    assert what in told and f"account.equity was {stake} at" in told and "is 100000 now" in told
    assert (session["start_equity_e8"], session["high_water_e8"]) == (90_000 * 10**8, 105_000 * 10**8)
    assert (session["day_start_e8"], session["stake_e8"]) == (START, START)
    file.write(AccountState(lost, mark, 3, stake * 10**8, 4, 5, START))
    file.close()
    assert carry_over(plan, prepared.settings) == ""


def test_a_withdrawal_of_more_than_is_left_is_refused_by_name(live):
    options, state = live
    prepared = prepare(options, ask_venues=False)
    file = AccountFile(state, 1)
    file.write(AccountState(50_000 * 10**8, 150_000 * 10**8, 3, 150_000 * 10**8, 4, 5, 150_000 * 10**8))
    file.close()
    with pytest.raises(SettingsError, match=r"account.equity: 50000 less than at .* which has left 50000"):
        carry_over(prepared.plan, prepared.settings)


def test_execution_keeps_what_the_settings_said(tmp_path):
    rig = Rig(tmp_path, session_changes={"stake_e8": START})
    keeper = Keeper(rig.agent, AccountFile(tmp_path, 1))
    rig.open_market()
    rig.event(MS, REPORT_FUNDING, FILLER, cash_e8=5)
    while keeper.do_work():
        pass
    assert read_account(tmp_path, 1).stake_e8 == START


def test_what_another_session_left_meanwhile_is_not_overlooked(live):
    """Settings are checked before the lock is had, so the account is read again behind it."""
    options, state = live
    prepared = prepare(options, ask_venues=False)
    file = AccountFile(state, 1)
    file.write(AccountState(95_000 * 10**8, 110_000 * 10**8, 3, 100_000 * 10**8, 4, 5))
    file.close()
    (state / "sessions").touch()  # in the way of the session's folder: far enough
    KillLatch(state).initialise()
    with pytest.raises(NotADirectoryError):
        Session(prepared, JsonView()).run()
    assert prepared.plan.session[0]["start_equity_e8"] == 95_000 * 10**8


KILLS = {  # what is measured from which mark, and how much of 100,000 is too much
    "kill_drawdown_bps": ("high_water_e8", 20_000, "since its high-water mark of 100000: .*raise it, or move .*away"),
    "kill_daily_loss_bps": ("day_start_e8", 5_000, "since the trading day began with 100000: .*wait for the next one"),
}


@pytest.mark.parametrize("unit", [-1, 0])
@pytest.mark.parametrize("name", KILLS)
def test_a_new_session_is_refused_where_its_first_event_would_set_the_kill_switch_again(live, name, unit):
    """After a reset: to the unit of what execution's own first event does."""
    options, state = live
    mark, most, words = KILLS[name]
    lost = AccountState(START - most * 10**8 - unit, 0, 10**6, 0, 0, 0, START)  # a day that is not over
    left = lost._replace(**{mark: START})
    file = AccountFile(state, 1)
    file.write(left)
    file.close()
    KillLatch(state).initialise()
    (state / "sessions").touch()  # in the way of the session's folder: far enough
    with pytest.raises(HaltedError, match=f"lost {most}.* {words}") if unit == 0 else pytest.raises(NotADirectoryError):
        Session(prepare(options, ask_venues=False), JsonView()).run()
    assert not is_tripped(state / "kill.latch")
    changes = {**left._asdict(), "start_equity_e8": left.equity_e8, "day": T0 // DAY}
    del changes["equity_e8"]
    (state / "rig").mkdir()
    rig = Rig(state / "rig", limit_changes={name: most // 10}, session_changes=changes)
    rig.event(MS, REPORT_FUNDING, FILLER, cash_e8=0)
    rig.run()
    assert bool(rig.wires.control[CONTROL_KILL]) == (unit == 0)


def test_a_new_session_of_another_day_does_not_begin_with_the_loss_of_the_day_before(live):
    options, state = live
    file = AccountFile(state, 1)
    file.write(AccountState(90_000 * 10**8, START, 19_000, START, 0, 0, START))
    file.close()
    plan = prepare(options, ask_venues=False).plan
    assert plan.session[0]["day_start_e8"] == START
    begin_anew(plan)
    assert (plan.session[0]["day"], plan.session[0]["day_start_e8"], plan.session[0]["high_water_e8"]) == (0, 0, START)


@pytest.mark.parametrize(("content", "told"), [(None, "is lost"), ("4", "holds 4"), ("5", "")])
def test_a_number_that_orders_have_had_is_given_to_no_other_start(live, content, told):
    """The file that counts is lost, or an old copy of it: sessions know better."""
    options, state = live
    prepared = prepare(options, ask_venues=False)
    plan = replace(prepared.plan, traded="bybit_linear")
    before = replace(plan, session=plan.session.copy(), session_folder=state / "sessions" / "before")
    before.session[0]["feed_generation"] = 5
    before.session_folder.mkdir(parents=True)
    keep_begin(before)
    mark_flat(before.session_folder)
    if content:
        (state / "generation").write_text(content)
    session = Session(replace(prepared, plan=plan), JsonView())
    with pytest.raises(Bot4Error, match=f"generation: {told}, .* number 5; put") if told else nullcontext():
        session._begin()
    assert (plan.session[0]["feed_generation"] == 6) == (not told)
