"""Limits that are tightened while the session runs: an input of decisions like any other.

What a person asks for lies in `wires.asked`; in a session that is played again, what was asked for then lies in memory
with its event time. A change holds from one event time on, for execution and for every shard: later than all that has
been decided, no earlier than execution's promise to the shards. It is journaled before anybody is told, so a restart
knows it; what is not tighter is no change, whoever wrote it.
"""

import numpy as np

from bot4.atomics import load_acquire
from bot4.engine.execution_memory import DAY_NS, ITEM_RECORDS, PROTECTIVE_RESERVE
from bot4.engine.journal import journal_room
from bot4.engine.report_out import clear_report, count_alarm, push_report, write_journal
from bot4.jit import inlined, kernel
from bot4.kernels.risk.tightening import is_tighter
from bot4.model.enums import INT64_MAX, REPORT_LIMIT
from bot4.model.records import JOURNAL_DAY, JOURNAL_LIMIT
from bot4.shm.layout import CLOCK_EXEC_SHARD, LINE
from bot4.shm.wires import LIMITS_IN_FORCE


@kernel
def _tighten(x, wires, session, word, value, from_ns):
    """One limit, from that event time on: journal, then the shards."""
    if value == x.next_words[word]:
        return
    account = x.account[0]
    if not is_tighter(word, value, x.next_words[word]):
        count_alarm(x)
        return
    clear_report(x)
    report = x.report[0]
    report["kind"] = REPORT_LIMIT
    report["ts_ns"] = from_ns
    report["code"] = word
    report["cash_e8"] = value
    write_journal(x, JOURNAL_LIMIT, account["now_ns"], np.int64(-1), word, x.report_words)
    note_limit(x, word, value, from_ns)
    wires.limits[LIMITS_IN_FORCE, word] = value
    for shard in range(session[0]["n_shards"]):
        report["shard"] = shard
        push_report(x, wires, shard)


@inlined
def note_limit(x, word, value, from_ns):
    """Enter a change, also when it is read back."""
    x.next_words[word] = value
    x.tightened[word] = 1
    x.account[0]["limits_ns"] = from_ns


@kernel
def take_limits(x, wires, session, bound_ns):
    """See whether limits are to be tightened; one change of some of them at a time.

    Parameters
    ----------
    bound_ns : the promise to the shards that is about to be given: what is scheduled before it must be told now

    Notes
    -----
    Complexity: O(1) while nobody asks. Twin: tests/reference/engine/execution.py
    """
    account = x.account[0]
    if account["limits_ns"] != 0:
        return
    from_ns = INT64_MAX
    for row in range(len(x.scheduled)):
        at_ns = x.scheduled[row, 0]
        word = x.scheduled[row, 1]
        if at_ns < min(bound_ns, from_ns) and is_tighter(word, x.scheduled[row, 2], x.next_words[word]):
            from_ns = at_ns
    # SYNC POINT: pairs with the store_release of whoever asks; the values lie there before the number.
    number = load_acquire(wires.asked, 0)
    if (from_ns == INT64_MAX and number == account["asked"]) or journal_room(x.header) < PROTECTIVE_RESERVE:
        return
    if from_ns < INT64_MAX:
        for row in range(len(x.scheduled)):
            if x.scheduled[row, 0] == from_ns:
                _tighten(x, wires, session, x.scheduled[row, 1], x.scheduled[row, 2], from_ns)
        return
    account["asked"] = number
    from_ns = account["now_ns"] + session[0]["internal_latency_ns"]
    promised_ns = load_acquire(wires.clocks, CLOCK_EXEC_SHARD)
    if session[0]["paced"] != 0 and promised_ns < INT64_MAX:  # at the end of the market nobody decides any more
        from_ns = max(from_ns, promised_ns)
    for word in range(len(x.next_words)):
        _tighten(x, wires, session, np.int64(word), wires.asked[LINE + word], from_ns)


@kernel
def _begin_day(x, day):
    """Journaled at once: the equity that a day began with is what its loss is measured from, however long nothing
    else is journaled in it.
    """
    account = x.account[0]
    account["day"] = day
    account["started"] = 1
    account["day_start_e8"] = account["equity_e8"]
    if journal_room(x.header) >= ITEM_RECORDS:
        clear_report(x)
        x.report[0]["cash_e8"] = day
        write_journal(x, JOURNAL_DAY, account["now_ns"], np.int64(-1), np.int64(0), x.report_words)


@inlined
def reach(x, time_ns):
    """The market has been taken so far: the day begins with the equity that it finds, limits that hold from then on do.

    Event time itself may be ahead of that after a recovery, whose answers are taken before older quotes.
    """
    account = x.account[0]
    account["reached_ns"] = max(account["reached_ns"], time_ns)
    day = (account["reached_ns"] - x.limits[0]["day_offset_ns"]) // DAY_NS
    if day > account["day"] or account["started"] == 0:
        _begin_day(x, day)
    hold_limits(x, max(account["now_ns"], time_ns))


@inlined
def hold_limits(x, now_ns):
    """Limits that have been tightened hold from a time on, which may have come."""
    account = x.account[0]
    if account["limits_ns"] != 0 and now_ns >= account["limits_ns"]:
        account["limits_ns"] = 0
        account["next_deadline_ns"] = 0  # that of a stop may have come nearer
        account["next_grid_ns"] = 0  # a loss may have reached its limit
        for word in range(len(x.next_words)):
            x.limit_words[word] = x.next_words[word]
