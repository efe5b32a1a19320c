"""The loss of the day reached its limit: nothing is opened that day, whatever is regained; the next day opens anew."""

from datetime import UTC, datetime

import pytest
from rig.execution import ASK, BID, T0, Rig
from rig.tables import MS, SECOND

from bot4.adapters.files.shut import shut_ways
from bot4.adapters.system.account_file import AccountFile, read_account
from bot4.engine.execution_memory import PROTECTIVE_RESERVE
from bot4.engine.journal import COMMIT_WORD, commit_word
from bot4.engine.portfolio import STATE_HALTED
from bot4.model.enums import (
    LEG_ENTRY,
    LEG_EXIT,
    ORDER_REDUCE_ONLY,
    REPORT_FUNDING,
    REPORT_POSITION,
    REPORT_QUERY_END,
    REPORT_TOTALS,
    RISK_BAD_ORDER,
    RISK_DAILY_LOSS,
    SIDE_SELL,
    TYPE_MARKET,
)
from bot4.model.records import JOURNAL_DAY, JOURNAL_DAY_SHUT, JOURNAL_SAMPLE, LIMITS, PORTFOLIO_TOTALS
from bot4.shm.layout import CLOCK_FEED, CONTROL_KILL, KILLED_BY_DAILY_LOSS, LINE
from workers.execution import Keeper

DAY = 86_400 * SECOND
OFFSET = 60 * 60 * SECOND
NEXT = ((T0 - OFFSET) // DAY + 1) * DAY + OFFSET - T0  # the next trading day begins
LIMIT = 3_000 * 10**8
FILLER = {"instrument": 0, "id_hi": 1, "id_lo": 1, "order_row": -1, "side": 1}
WIDE = {"day_offset_ns": OFFSET, "drawdown_bps": 9_999}


def pay(rig, at, cash):
    """Funding, received or paid."""
    rig.event(at, REPORT_FUNDING, FILLER, cash_e8=cash)
    rig.run()


def opens(rig, at):
    """True if a small order goes out then."""
    rig.quote(at - 1)
    rig.run()
    rig.requests()
    before = dict(rig.rejects)
    rig.intent(at, qty_lots=100)
    rig.run()
    refused = rig.rejects != before
    if refused:
        assert set(rig.rejects) - set(before) <= {RISK_DAILY_LOSS} and rig.rejects[RISK_DAILY_LOSS] > 0
    assert len(rig.requests()) == (not refused)
    return not refused


def shut_at(folder, **session):
    """An account that has lost a day's limit, and regained it."""
    rig = Rig(folder, limit_changes=WIDE, session_changes=session)
    rig.open_market()
    rig.run()
    pay(rig, MS, -LIMIT)
    pay(rig, 2 * MS, LIMIT + 10**8)
    return rig


@pytest.mark.parametrize("unit", [-1, 0, 1])
def test_what_is_regained_opens_nothing_before_the_next_day(tmp_path, unit):
    rig = Rig(tmp_path, limit_changes=WIDE)
    rig.open_market()
    rig.run()
    pay(rig, MS, -LIMIT - unit)
    pay(rig, 2 * MS, 2 * LIMIT)
    assert rig.agent.memory.account["equity_e8"][0] > rig.agent.memory.account["day_start_e8"][0]
    assert opens(rig, 10 * MS) == (unit < 0)
    assert [row["until_ns"] for row in shut_ways(rig.wires)] == ([T0 + NEXT] if unit >= 0 else [])
    assert opens(rig, NEXT - 1) == (unit < 0)
    assert opens(rig, NEXT + 1), "and on that day"
    assert shut_ways(rig.wires) == []
    assert sum(rig.agent.journal.table["type"] == JOURNAL_DAY_SHUT) == (unit >= 0)


def test_the_trading_day_starts_so_many_minutes_after_midnight(tmp_path):
    """T0 is 22:13 of a day that began at 01:00 and ends at 01:00 of the next."""
    rig = shut_at(tmp_path)
    one = datetime(2023, 11, 15, 1, tzinfo=UTC)
    assert rig.agent.memory.account["day_shut_until_ns"][0] == one.timestamp() * 10**9
    account = rig.agent.memory.account[0]
    began = int(account["day_start_e8"])
    assert not opens(rig, NEXT - 1) and account["day_start_e8"] == began
    assert opens(rig, NEXT + 1) and account["day_start_e8"] == began + 10**8


def test_the_quote_that_loses_it_shuts_and_the_way_out_stays(tmp_path):
    rig = Rig(tmp_path, limit_changes=WIDE | {"daily_loss_bps": 40})
    rig.open_market()
    _, (stop,) = rig.enter(stop_ticks=BID - 5_000_000)
    rig.ack(4 * MS, stop)
    rig.quote(8 * MS, bid=BID - 4_000_000, ask=ASK - 4_000_000)
    rig.quote(9 * MS)
    rig.run()
    assert not opens(rig, 10 * MS)
    rig.intent(11 * MS, side=SIDE_SELL, type=TYPE_MARKET, price_ticks=0, stop_ticks=0, leg=LEG_EXIT,
               flags=ORDER_REDUCE_ONLY, qty_lots=1_000)  # fmt: skip
    rig.run()
    assert [int(one["leg"]) for one in rig.requests()] == [LEG_EXIT]


def test_the_shards_are_told(tmp_path):
    rig = shut_at(tmp_path)
    told = rig.drain(rig.wires.reports[0], PORTFOLIO_TOTALS)
    assert [one["day_shut"] for one in told if one["kind"] == REPORT_TOTALS][-1] == 1


def test_a_restart_folds_it_from_the_journal(tmp_path):
    rig = shut_at(tmp_path)
    until = rig.agent.memory.account["day_shut_until_ns"][0]
    assert until == T0 + NEXT
    assert rig.build().memory.account["day_shut_until_ns"][0] == until


@pytest.mark.parametrize("bps", [300, 4_000])
def test_the_next_session_has_it_whatever_its_limit_is(tmp_path, bps):
    (tmp_path / "first").mkdir()
    (tmp_path / "next").mkdir()
    rig = Rig(tmp_path / "first", limit_changes=WIDE)
    file = AccountFile(tmp_path, 1)
    keeper = Keeper(rig.agent, file)
    rig.open_market()
    rig.event(MS, REPORT_FUNDING, FILLER, cash_e8=-LIMIT)
    rig.event(2 * MS, REPORT_FUNDING, FILLER, cash_e8=LIMIT)
    while keeper.do_work():
        pass
    file.close()
    left = read_account(tmp_path, 1)
    carried = {name: getattr(left, name) for name in left._fields[1:]} | {"start_equity_e8": left.equity_e8}
    rig = Rig(tmp_path / "next", limit_changes=WIDE | {"daily_loss_bps": bps}, session_changes=carried)
    rig.open_market()
    assert not opens(rig, 10 * MS)
    assert opens(rig, NEXT + 1)


def test_a_limit_that_is_tightened_below_the_loss_shuts_at_once(tmp_path):
    rig = Rig(tmp_path, limit_changes=WIDE)
    rig.open_market()
    rig.run()
    pay(rig, MS, -LIMIT // 2)
    rig.wires.asked[LINE : LINE + len(LIMITS.names)] = rig.agent.memory.next_words
    rig.wires.asked[LINE + LIMITS.names.index("daily_loss_bps")] = 150
    rig.wires.asked[0] += 1
    rig.quote(2 * MS)
    rig.run()
    rig.quote(20 * MS)
    rig.run()
    assert rig.agent.memory.account["day_shut_until_ns"][0] == T0 + NEXT
    pay(rig, 21 * MS, LIMIT)
    assert not opens(rig, 30 * MS)


def test_a_loss_of_yesterday_does_not_kill_today(tmp_path):
    """4.9 % yesterday and 0.2 % with the first event of today, where 5 % of a day set the kill switch."""
    rig = Rig(tmp_path, limit_changes=WIDE | {"kill_daily_loss_bps": 500, "kill_drawdown_bps": 9_999})
    rig.open_market()
    rig.run()
    pay(rig, MS, -4_900 * 10**8)
    pay(rig, NEXT, -200 * 10**8)
    assert rig.wires.control[CONTROL_KILL] == 0
    assert rig.agent.memory.account["day_start_e8"][0] == (100_000 - 4_900) * 10**8
    assert opens(rig, NEXT + 10 * MS)


def test_an_intent_of_next_year_begins_no_day(tmp_path):
    """A shard may be mad: what it says of the time neither opens the day that is shut nor makes its loss another's."""
    rig = Rig(tmp_path, limit_changes=WIDE)
    rig.open_market()
    rig.run()
    pay(rig, MS, -LIMIT + 1)
    rig.intent(400 * DAY, qty_lots=100)
    rig.wires.clocks[CLOCK_FEED] = T0 + MS  # nobody is there yet
    rig.run()
    assert rig.rejects == {RISK_BAD_ORDER: 1}
    pay(rig, 2 * MS, -1)
    assert not opens(rig, 3 * MS)


@pytest.mark.parametrize("name", ["daily_loss_bps", "kill_daily_loss_bps"])
@pytest.mark.parametrize("when", ["before", "while"])
def test_a_loss_that_a_recovery_finds_and_that_is_regained_counts(tmp_path, name, when):
    """Told by the venue while it is asked; or journaled, and death came before the record of what follows from it."""
    rig = Rig(tmp_path, limit_changes=WIDE | {"daily_loss_bps": 9_999, name: 300})
    rig.open_market()
    rig.run()
    pay(rig, MS, -(10**8))
    count = rig.agent.journal.count
    if when == "before":
        pay(rig, 2 * MS, -LIMIT)
        rig.agent.journal.header[COMMIT_WORD] = commit_word(count + 1)
        rig.wires.control[CONTROL_KILL] = 0
    rig.start()
    question = rig.requests()[-1]
    rig.reports()
    if when == "while":
        rig.event(3 * MS, REPORT_FUNDING, FILLER, cash_e8=-LIMIT)
    rig.event(4 * MS, REPORT_FUNDING, FILLER, cash_e8=2 * LIMIT)
    rig.event(5 * MS, REPORT_QUERY_END, question, event_seq=0)
    rig.run()
    account = rig.agent.memory.account[0]
    assert account["equity_e8"] > account["day_start_e8"]
    if name == "daily_loss_bps":
        assert not opens(rig, 6 * MS) and opens(rig, NEXT)
    else:
        assert (rig.wires.control[CONTROL_KILL], account["state"]) == (KILLED_BY_DAILY_LOSS, STATE_HALTED)
        assert REPORT_POSITION in [report["kind"] for report in rig.reports()], "and the recovery came to its end"


def test_a_day_that_begins_is_journaled_though_nothing_else_is(tmp_path):
    """No room for samples: the equity that the day began with is what a restart measures its loss from."""
    rig = Rig(tmp_path, capacity=3 * PROTECTIVE_RESERVE, limit_changes=WIDE | {"daily_loss_bps": 40})
    rig.open_market()
    _, (stop,) = rig.enter(stop_ticks=BID - 5_000_000)
    rig.ack(4 * MS, stop)
    rig.quote(NEXT - 1, bid=BID + 2_000_000, ask=ASK + 2_000_000)
    rig.quote(NEXT)
    rig.run()
    rig.quote(NEXT + SECOND, bid=BID - 1_000_000, ask=ASK - 1_000_000)
    rig.run()
    account = rig.agent.memory.account[0]
    began, lost = int(account["day_start_e8"]), int(account["day_start_e8"] - account["equity_e8"])
    assert lost > 200 * 10**8 and JOURNAL_SAMPLE not in rig.agent.journal.table["type"]
    assert rig.agent.journal.table["type"].tolist().count(JOURNAL_DAY) == 2
    rig.build()
    account = rig.agent.memory.account[0]
    assert (account["day_start_e8"], account["day"]) == (began, (T0 + NEXT - OFFSET) // DAY)
    rig.start()
    question = rig.requests()[-1]
    rig.event(NEXT + 2 * SECOND, REPORT_QUERY_END, question, event_seq=0)
    rig.run()
    assert rig.agent.memory.account[0]["day_start_e8"] == began


def test_an_answer_of_tomorrow_ends_no_day_before_its_quotes(tmp_path):
    """Execution comes back at midnight: the answers are of today, the quotes that it has not read of yesterday."""
    rig = Rig(tmp_path, limit_changes=WIDE | {"daily_loss_bps": 40})
    rig.open_market()
    _, (stop,) = rig.enter(stop_ticks=BID - 5_000_000)
    rig.ack(4 * MS, stop)
    rig.run()
    rig.start()
    question = rig.requests()[-1]
    rig.quote(NEXT - 2 * MS, bid=BID - 4_500_000, ask=ASK - 4_500_000)
    rig.quote(NEXT - MS)
    rig.event(NEXT + MS, REPORT_FUNDING, FILLER, cash_e8=-1)
    rig.event(NEXT + MS, REPORT_QUERY_END, question, event_seq=0)
    rig.run()
    account = rig.agent.memory.account[0]
    assert account["now_ns"] == T0 + NEXT + MS > account["reached_ns"], "there is no quote of today"
    assert account["day_shut_until_ns"] == T0 + NEXT, "the loss is one of yesterday, regained"
    rig.intent(NEXT - MS // 2, qty_lots=100)
    rig.run()
    assert rig.rejects == {RISK_DAILY_LOSS: 1}, "on which nothing is opened"
    rig.quote(NEXT + 2 * MS)
    rig.run()
    assert account["day_start_e8"] == account["equity_e8"]
    rig.requests()
    rig.intent(NEXT + 3 * MS, qty_lots=100)
    rig.run()
    assert LEG_ENTRY in [int(one["leg"]) for one in rig.requests()], rig.rejects
