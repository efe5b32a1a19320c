"""Which session a start goes on with, and what of the settings may not be another then."""

import json
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from sim.ring_pair import ring_pair_plan

from bot4.adapters.system.account_file import AccountFile, AccountState, read_account
from bot4.adapters.system.latch import KillLatch
from bot4.engine.gateway_log import NO_KEY, GatewayLog
from bot4.model.errors import SettingsError
from bot4.model.records import EXEC_REPORT, words
from workers.plan import FeedSpec
from workers.session import carry_over, status
from workers.takeup import BEGIN_FILE, free_name, keep_begin, last_session, mark_flat, read_begin, taken_up
from workers.view import status_lines


def plan_of(folder, name="1", generation=1, **row):
    """A live plan whose session has a folder."""
    plan = ring_pair_plan("takeup", folder, ticks=1)
    plan = replace(plan, session=plan.session.copy(), traded="bybit_linear", session_folder=folder / "sessions" / name)
    for field, value in {"account": 7, "feed_generation": generation, **row}.items():
        plan.session[0][field] = value
    return plan


def begun(folder, name, generation, is_ready=True, **row):
    """A session that has begun, and was ready to send or not."""
    plan = plan_of(folder, name, generation, **row)
    plan.session_folder.mkdir(parents=True)
    keep_begin(plan)
    log = GatewayLog(plan.gateway_path, 16)
    log.event(1, words(np.zeros(1, EXEC_REPORT)), NO_KEY, 0)  # something was refused before that
    if is_ready:
        log.start(1, 2, 3, generation)
    log.close()
    return plan


def test_it_is_the_accounts_last_one_that_was_ready_and_has_not_ended_flat(tmp_path):
    now = plan_of(tmp_path, "now", 9)
    assert last_session(now) is None
    first = begun(tmp_path, "z", 1)
    second = begun(tmp_path, "a", 2, start_equity_e8=5, streak=2)
    begun(tmp_path, "b", 3, is_ready=False)
    begun(tmp_path, "c", 4, account=8)
    folder, begin = last_session(now)
    assert (folder, begin.generation) == (second.session_folder, 2)
    plan = taken_up(now, folder, begin)
    assert plan.session_folder == second.session_folder and plan.journal_path == second.journal_path
    row = plan.session[0]
    assert (row["start_equity_e8"], row["streak"], row["feed_generation"]) == (5, 2, 9)
    assert last_session(replace(now, traded="other")) is None
    mark_flat(second.session_folder)
    assert last_session(now) is None  # what was before has been taken up by it, or is over too
    assert not (first.session_folder / "flat").exists()


def test_settings_that_its_journal_cannot_be_read_with_are_named(tmp_path):
    begun(tmp_path, "a", 2)
    now = plan_of(tmp_path, "now", 9)
    folder, begin = last_session(now)
    for field, told in (("tick_e8", "tick_size"), ("lot_e8", "lot_size"), ("is_spot", "is_spot")):
        sizes = now.instruments.copy()
        sizes[0][field] += 1
        with pytest.raises(SettingsError, match=rf"instrument\[0\].{told}: .*session a, .*bot4-kill --flatten"):
            taken_up(replace(now, instruments=sizes), folder, begin)
    more = replace(now, symbols=(*now.symbols, ("X", "v")), instruments=np.repeat(now.instruments, 2))
    with pytest.raises(SettingsError, match=r"instruments.toml: symbols of the session: .*, X, .*goes on with"):
        taken_up(more, folder, begin)
    with pytest.raises(SettingsError, match=r"topology.toml: shards: 2, .*goes on with 1"):
        taken_up(replace(now, n_shards=2), folder, begin)


@pytest.mark.parametrize("stake", [5_000, 100_000], ids=["withdrawal", "deposit"])
def test_another_equity_in_the_settings_is_refused_before_anything_of_it_is_kept(tmp_path, stake):
    """What the journal was begun with goes on: taken for a deposit, it would be forgotten, and a loss of the next."""
    begun(tmp_path, "a", 2, start_equity_e8=10_000 * 10**8, stake_e8=10_000 * 10**8)
    now = plan_of(tmp_path, "now", 9)
    now = replace(now, feed=FeedSpec(kind="live", text="live"), state_folder=tmp_path)
    left = AccountState(9_000 * 10**8, 10_000 * 10**8, 1, 10_000 * 10**8, 0, 0, 10_000 * 10**8)
    file = AccountFile(tmp_path, 7, "bybit_linear")
    file.write(left)
    file.close()
    for equity, refused in ((stake, True), (10_000, False)):
        told = carry_over(now, SimpleNamespace(account=SimpleNamespace(equity=str(equity), id=7), path="live.toml"))
        assert bool(told) == refused
        words_ = rf"account.equity: {equity}, .*goes on with 10000; write that, or close what is open"
        with pytest.raises(SettingsError, match=words_) if refused else nullcontext():
            plan = taken_up(now, *last_session(now))
    assert plan.session[0]["stake_e8"] == plan.session[0]["start_equity_e8"] == 10_000 * 10**8
    assert read_account(tmp_path, 7, "bybit_linear") == left


@pytest.mark.parametrize("content", ["", "{}", '{"account": 1}', "[1]", "\xff"])
def test_a_begin_that_does_not_say_so_is_named(tmp_path, content):
    plan = begun(tmp_path, "a", 2)
    path = plan.session_folder / BEGIN_FILE
    begin = path.read_text()
    path.write_text(content)
    with pytest.raises(SettingsError, match=f"{BEGIN_FILE}: is damaged"):
        last_session(plan)
    mark_flat(plan.session_folder)
    assert last_session(plan) is None, "what is over keeps nobody from starting"
    path.write_text(begin.replace("streak_until_ns", "other"))
    with pytest.raises(SettingsError, match=f"{BEGIN_FILE}: is damaged"):
        read_begin(plan.session_folder)


def test_a_session_of_before_the_shut_day_was_kept_is_taken_up(tmp_path):
    plan = begun(tmp_path, "a", 2)
    path = plan.session_folder / BEGIN_FILE
    begin = json.loads(path.read_bytes())
    del begin["carried"]["day_shut_until_ns"]
    path.write_text(json.dumps(begin))
    assert read_begin(plan.session_folder).carried["day_shut_until_ns"] == 0


def test_status_names_what_has_not_ended_flat_where_nothing_runs(tmp_path):
    left = begun(tmp_path, "a", 2).session_folder
    other = begun(tmp_path, "c", 4, account=8).session_folder
    begun(tmp_path, "b", 3, is_ready=False)
    mark_flat(other)
    KillLatch(tmp_path).initialise()
    found = status(tmp_path)
    assert found["not_flat"] == [{"session_folder": str(left), "account": 7, "venue": "bybit_linear"}]
    told = status_lines(found)[-1]
    assert told.startswith(f"NOT ENDED FLAT: {left}, account 7 at bybit_linear") and "bot4-kill --flatten" in told
    (left / BEGIN_FILE).write_text("{}")
    assert "NOT known" in status_lines(status(tmp_path))[-1] and status(tmp_path)["not_flat"] is None
    keep_begin(plan_of(tmp_path, "a", 2))
    mark_flat(left)
    assert status_lines(status(tmp_path))[1:] == ["kill latch: clear"]


def test_nothing_of_before_is_written_over(tmp_path):
    assert free_name(tmp_path, "report").name == "report"
    for name in ("report", "report-2"):
        (tmp_path / name).mkdir()
        assert free_name(tmp_path, "report").name == name
        (tmp_path / name / "session.json").touch()
    assert free_name(tmp_path, "report").name == "report-3"
