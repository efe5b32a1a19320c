"""Execution in the real wiring: what goes out, what is refused and why, protection, order of events, recovery."""

import numpy as np
import pytest
from rig.breaker import row_of, state_of
from rig.execution import ASK, BID, T0, Rig
from rig.shard import DOWN, UP
from rig.shard import Rig as ShardRig
from rig.tables import MS, SECOND

from bot4.engine.journal import COMMIT_WORD, CRC_WORD, commit_word, journal_append, record_crc
from bot4.engine.order_state import BASE_FREE, ORDER, STATUS_NAMES, status_of
from bot4.engine.portfolio import STATE_ACTIVE, STATE_HALTED, STATE_RECOVERING
from bot4.model.enums import (
    ACTION_AMEND,
    ACTION_CANCEL,
    ACTION_PLACE,
    ACTION_QUERY_ORDER,
    ACTION_QUERY_TRADES,
    DATA_STALE,
    EXEC_DUPLICATE,
    EXEC_GATE_SHUT,
    EXEC_JOURNAL_FULL,
    EXEC_NEVER_LANDED,
    EXEC_NO_QUOTE,
    EXEC_TABLE_FULL,
    EXEC_UNKNOWN_INSTRUMENT,
    EXEC_VENUE_BUSY,
    INT64_MAX,
    LEG_ENTRY,
    LEG_EXIT,
    LEG_FLATTEN,
    LEG_STOP,
    ORDER_POST_ONLY,
    ORDER_REDUCE_ONLY,
    REPORT_ACK,
    REPORT_CANCELED,
    REPORT_DENIED,
    REPORT_EXPIRED,
    REPORT_FILL,
    REPORT_FUNDING,
    REPORT_NOT_FOUND,
    REPORT_ORDER,
    REPORT_QUERY_END,
    REPORT_REJECT,
    REPORT_REPLACED,
    REPORT_TRIGGERED,
    RISK_BAD_ORDER,
    RISK_BREAKER_OPEN,
    RISK_DAILY_LOSS,
    RISK_DRAWDOWN,
    RISK_KILLED,
    RISK_POSITION,
    RISK_REDUCE_ONLY,
    RISK_STOP_MISSING,
    SIDE_BUY,
    SIDE_SELL,
    TIF_GTC,
    TIF_IOC,
    TYPE_MARKET,
    TYPE_STOP_MARKET,
    VENUE_DUPLICATE_ID,
    VENUE_FILTER,
    VENUE_REDUCE_ONLY,
    VENUE_STOP_WOULD_TRIGGER,
    VENUE_TOO_LARGE,
    VENUE_TOO_SMALL,
)
from bot4.model.errors import JournalError
from bot4.model.records import (
    JOURNAL_DENIED,
    JOURNAL_EVENT,
    JOURNAL_INTENT,
    JOURNAL_REQUEST,
    JOURNAL_WORDS,
    ORDER_INTENT,
    words,
)
from bot4.shm.layout import (
    CLOCK_EXEC_SHARD,
    CLOCK_EXEC_VENUE,
    CLOCK_FEED,
    CLOCK_SHARD,
    CLOCK_VENUE,
    CONTROL_ALONE,
    CONTROL_KILL,
    CONTROL_RESYNC,
    CONTROL_STOP,
    LINE,
)
from bot4.shm.spsc_ring import has_space, push_order
from bot4.shm.wires import (
    GAUGE_EXEC_FLATTENS,
    GAUGE_EXEC_NAKED_NS_MAX,
    GAUGE_EXEC_STOPS_TRIGGERED,
    GAUGE_EXEC_UNKNOWN,
    ORDER_RING_CAPACITY,
    POSITION_LOTS,
)

STRANGERS = {"id_hi": 5, "id_lo": 6, "order_row": -1, "instrument": 0, "side": 1}  # an order that nobody here knows
STRANGERS_TRADE = {"qty_lots": 500, "price_ticks": BID, "trade_id": 9}


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    rig.open_market()
    return rig


def kinds(rig):
    return [int(kind) for kind in rig.agent.journal.table["type"]]


def test_an_accepted_intent_is_journaled_and_goes_out_with_its_latency(rig):
    rig.intent(5)
    rig.run()
    (request,) = rig.requests()
    assert (request["ts_ns"], request["action"], request["qty_lots"]) == (T0 + 5 + MS, ACTION_PLACE, 1_000)
    assert JOURNAL_INTENT in kinds(rig)
    assert rig.rejects == {}


def test_fills_move_the_position_and_the_shard_hears_of_it(rig):
    entry, _ = rig.enter()
    assert rig.position["lots"] == 1_000
    assert rig.wires.positions[0, POSITION_LOTS] == 1_000
    told = rig.reports()
    assert [report["kind"] for report in told] == [REPORT_ACK, REPORT_FILL]
    assert all(report["id_lo"] == entry["id_lo"] for report in told)
    assert told[-1]["ts_ns"] == T0 + 1 + 2 * MS + MS // 10


def test_a_repeated_fill_is_applied_once(rig):
    entry, _ = rig.enter()
    rig.event(4 * MS, REPORT_FILL, entry, qty_lots=1_000, price_ticks=ASK, trade_id=1)
    rig.run()
    assert rig.position["lots"] == 1_000


# --- refusals --------------------------------------------------------------------------------------------------------

REFUSALS = {
    "another shard's instrument": ({"instrument": 1}, EXEC_UNKNOWN_INSTRUMENT),
    "no such instrument": ({"instrument": 999}, EXEC_UNKNOWN_INSTRUMENT),
    "a protective leg": ({"leg": LEG_STOP}, RISK_BAD_ORDER),
    "an unknown action": ({"action": 99}, RISK_BAD_ORDER),
    "no stop": ({"stop_ticks": 0}, RISK_STOP_MISSING),
    "over the position limit": ({"qty_lots": 4_000}, RISK_POSITION),
    "an entry by the name of an exit": ({"leg": LEG_EXIT}, RISK_BAD_ORDER),
    "an exit of nothing": ({"leg": LEG_EXIT, "flags": ORDER_REDUCE_ONLY}, RISK_REDUCE_ONLY),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_hostile_intent_is_refused_with_its_own_code(tmp_path, case):
    fields, code = REFUSALS[case]
    rig = Rig(tmp_path, n_instruments=2, n_shards=2)
    rig.open_market()
    rig.intent(5, **fields)
    rig.run()
    assert rig.requests() == []
    assert rig.rejects == {code: 1}
    (report,) = rig.reports()
    assert (report["kind"], report["code"]) == (REPORT_DENIED, code)
    rig.intent(6)
    rig.run()
    assert len(rig.requests()) == 1


def test_a_hostile_shard_cannot_move_the_clock_or_pose_as_another(tmp_path):
    rig = Rig(tmp_path, n_instruments=2, n_shards=2)
    rig.open_market()
    before = int(rig.agent.memory.account["now_ns"][0])
    record = rig.intent(5, shard=1, instrument=1)
    rig.drain(rig.wires.intents[1], ORDER_INTENT)
    record["ts_ns"] = T0 + 1_000 * SECOND  # nobody has seen a tick of that time
    push_order(rig.wires.intents[1], words(np.array([record], ORDER_INTENT)), 0)
    rig.run()
    assert rig.rejects == {RISK_BAD_ORDER: 1} and rig.agent.memory.account["now_ns"][0] == before
    rig.intent(7, shard=1, instrument=1, qty_lots=10)
    rig.run()
    (request,) = rig.requests()
    assert request["shard"] == 1
    record["ts_ns"], record["event_no"], record["stop_ticks"] = T0 + 8, 2**32 - 1, 0
    push_order(rig.wires.intents[1], words(np.array([record], ORDER_INTENT)), 0)
    rig.intent(9, shard=1, instrument=1, qty_lots=10)
    rig.run()
    assert len(rig.requests()) == 1  # a refused number locks nobody out


def test_no_shard_takes_the_id_of_another_order(tmp_path):
    rig = Rig(tmp_path, n_instruments=2, n_shards=2)
    rig.open_market()
    victim = rig.intent(5, tif=TIF_GTC, price_ticks=BID)
    rig.run()
    record = rig.intent(6, shard=1, instrument=1, tif=TIF_GTC, price_ticks=BID)
    rig.drain(rig.wires.intents[1], ORDER_INTENT)
    record["id_hi"], record["id_lo"] = victim["id_hi"], victim["id_lo"]
    push_order(rig.wires.intents[1], words(np.array([record], ORDER_INTENT)), 0)
    rig.run()
    assert len(rig.requests()) == 1 and rig.rejects == {RISK_BAD_ORDER: 1}


def test_the_shard_is_told_by_its_ring(rig):
    rig.intent(5)
    (record,) = rig.drain(rig.wires.intents[0], ORDER_INTENT)
    record["shard"] = 60_000
    push_order(rig.wires.intents[0], words(np.array([record], ORDER_INTENT)), 0)
    rig.run()
    (request,) = rig.requests()
    rig.ack(2 * MS, request)
    rig.run()
    assert request["shard"] == 0 and [report["kind"] for report in rig.reports()] == [REPORT_ACK]


def test_the_same_decision_is_taken_once(rig):
    first = rig.intent(5)
    push_order(rig.wires.intents[0], words(np.array([first], ORDER_INTENT)), 0)
    rig.run()
    assert len(rig.requests()) == 1
    assert rig.rejects == {EXEC_DUPLICATE: 1}


def test_a_stale_book_and_an_old_quote_refuse_opening_orders(rig):
    rig.whole(1, whole=False)
    rig.intent(5)
    rig.whole(6, whole=True)
    rig.intent(11 * SECOND)
    rig.run()
    assert rig.requests() == []
    assert rig.rejects == {DATA_STALE: 1, EXEC_NO_QUOTE: 1}


def test_pending_orders_count_towards_the_position(rig):
    for at in range(4):
        rig.intent(5 + at, qty_lots=1_000)
    rig.run()
    assert [request["qty_lots"] for request in rig.requests()] == [1_000, 1_000, 1_000]
    assert rig.rejects == {RISK_POSITION: 1}


def test_a_full_journal_keeps_its_reserve_for_protection(tmp_path):
    rig = Rig(tmp_path, capacity=4_200)
    rig.open_market()
    for at in range(300):
        rig.intent(5 + at, qty_lots=10)
        rig.run()
        for request in rig.requests():
            rig.event(10 + at, REPORT_EXPIRED, request)
        rig.run()
    assert rig.rejects[EXEC_JOURNAL_FULL] > 100
    assert rig.agent.journal.count < 4_200


def test_a_busy_venue_refuses_before_the_order_is_journaled(tmp_path):
    rig = Rig(tmp_path, capacity=32_768)
    rig.open_market()
    filler = np.zeros(1, ORDER_INTENT)
    filler["ts_ns"] = INT64_MAX // 2
    while has_space(rig.wires.requests, 1):
        push_order(rig.wires.requests, words(filler), 0)
    before = rig.agent.journal.count
    rig.intent(5)
    rig.run()
    assert rig.rejects == {EXEC_VENUE_BUSY: 1}
    assert kinds(rig)[before:] == [JOURNAL_DENIED]


def test_a_full_order_table_keeps_rows_for_protection(rig):
    rig.agent.memory.free[0] = 2
    rig.intent(5)
    rig.run()
    assert rig.rejects == {EXEC_TABLE_FULL: 1}


def test_daily_loss_and_drawdown_shut_the_way_in_but_not_out(tmp_path):
    for changes, code in (({"daily_loss_bps": 1}, RISK_DAILY_LOSS), ({"drawdown_bps": 1}, RISK_DRAWDOWN)):
        folder = tmp_path / str(code)
        folder.mkdir()
        rig = Rig(folder, limit_changes=changes)
        rig.open_market()
        rig.enter()
        rig.quote(10 * MS, bid=BID - 20_000, ask=ASK - 20_000)  # 200.00 below on 0.01: 2 of 100,000
        rig.run()
        rig.intent(11 * MS, price_ticks=ASK - 20_000, stop_ticks=BID - 90_000, qty_lots=100)
        rig.quote(12 * MS, bid=BID - 200_000, ask=ASK - 200_000)
        rig.intent(13 * MS, price_ticks=ASK - 200_000, stop_ticks=BID - 290_000, qty_lots=100)
        rig.intent(
            14 * MS,
            side=SIDE_SELL,
            type=TYPE_MARKET,
            price_ticks=0,
            leg=LEG_EXIT,
            flags=ORDER_REDUCE_ONLY,
            stop_ticks=0,
        )
        rig.run()
        assert rig.rejects == {code: 1}
        assert [request["leg"] for request in rig.requests()] == [0, LEG_EXIT]


def test_venue_failures_open_the_breaker_and_time_closes_it(tmp_path):
    rig = Rig(tmp_path, limit_changes={"breaker_failures": 3})
    rig.open_market()
    for at in range(3):
        rig.intent(5 + at, qty_lots=10)
        rig.run()
        rig.event(20 + at, REPORT_REJECT, rig.requests()[0], code=VENUE_FILTER)
        rig.run()
    rig.intent(30, qty_lots=10)
    rig.run()
    assert rig.rejects == {RISK_BREAKER_OPEN: 1, VENUE_FILTER: 3}
    rig.intent(SECOND + 100, qty_lots=10)
    rig.run()
    assert len(rig.requests()) == 1


def refused_by_the_venue(rig, at):
    """One order that the venue cannot take; True if it went out."""
    rig.quote(at - 1)
    rig.intent(at, qty_lots=10)
    rig.run()
    sent = rig.requests()
    for request in sent:
        rig.event(at + 1, REPORT_REJECT, request, code=VENUE_FILTER)
    rig.run()
    return len(sent) == 1


def test_a_breaker_that_is_half_open_lets_one_order_at_a_time_try_the_venue(tmp_path):
    """Every try that fails doubles the time; one that the venue works closes the breaker."""
    rig = Rig(tmp_path, limit_changes={"breaker_failures": 3, "breaker_open_ns": SECOND, "breaker_window_ns": SECOND})
    rig.open_market()
    at = 5
    assert all(refused_by_the_venue(rig, at + 2 * number) for number in range(3))
    at += 5  # the last failure
    row = row_of(rig.wires, "venue")
    assert state_of(row) == ("open", 1)
    for count, doubled in enumerate((0, 1, 2, 3, 4, 5, 5), 2):
        over = at + (SECOND << doubled)
        assert not refused_by_the_venue(rig, over - 1)
        at = over + 5
        assert refused_by_the_venue(rig, at), "a single failure opens it again"
        assert state_of(row) == ("open", count)
        at += 1
    at += (SECOND << 5) + 1
    rig.quote(at - 1)
    rig.intent(at, qty_lots=10, tif=TIF_GTC, price_ticks=BID)
    rig.intent(at + 1, qty_lots=10)  # a second one has to wait for what becomes of the first
    rig.run()
    (probe,) = rig.requests()
    assert state_of(row) == ("half-open", 8)
    rig.ack(at + 2, probe)
    rig.intent(at + 3, qty_lots=10)
    rig.intent(at + 4, qty_lots=10)
    rig.run()
    assert len(rig.requests()) == 2
    assert rig.rejects[RISK_BREAKER_OPEN] == 8 and state_of(row) == ("closed", 8)
    assert all(refused_by_the_venue(rig, at + 10 + 2 * number) for number in range(3)), "counted anew"


@pytest.mark.parametrize(
    ("at_ms", "opens"),
    [((1, 900, 1050, 1100), True), ((1, 600, 1200, 1800), False), ((1, 500, 1001), True), ((1, 500, 1002), False)],
)
def test_the_breakers_window_ends_with_each_failure_and_has_no_edge(tmp_path, at_ms, opens):
    """Three within any second, wherever it begins; failures around the end of a second that the first began count."""
    rig = Rig(tmp_path, limit_changes={"breaker_failures": 3, "breaker_window_ns": SECOND})
    rig.open_market()
    for number, at in enumerate(at_ms, 1):
        if number == len(at_ms):
            rig.start()  # what was counted before a restart counts after it
            (asked,) = rig.requests()
            rig.event((at - 1) * MS, REPORT_QUERY_END, asked, event_seq=0)
            rig.whole(at * MS - 3)
            rig.run()
        assert refused_by_the_venue(rig, at * MS)
        assert (state_of(row_of(rig.wires, "venue"))[0] == "open") == (opens and number == len(at_ms))


# --- protection ------------------------------------------------------------------------------------------------------


def test_a_fill_is_followed_by_a_stop_for_the_whole_position(rig):
    _, (stop,) = rig.enter()
    assert (stop["leg"], stop["type"], stop["side"], stop["qty_lots"]) == (LEG_STOP, TYPE_STOP_MARKET, SIDE_SELL, 1_000)
    assert stop["stop_ticks"] == BID - 60_000
    assert stop["flags"] == ORDER_REDUCE_ONLY
    rig.ack(5 * MS, stop)
    rig.run()
    assert rig.wires.gauges[1, GAUGE_EXEC_NAKED_NS_MAX] == 5 * MS - (1 + MS)
    assert rig.position["naked_since_ns"] == 0


def test_the_stop_grows_shrinks_and_goes_with_the_position(rig):
    _, (stop,) = rig.enter()
    rig.ack(5 * MS, stop)
    _, (amend,) = rig.enter(at=6 * MS, qty_lots=500)
    assert (amend["action"], amend["qty_lots"], amend["id_lo"]) == (ACTION_AMEND, 1_500, stop["id_lo"])
    rig.event(9 * MS, REPORT_REPLACED, amend, qty_lots=1_500, price_ticks=amend["stop_ticks"])
    rig.run()
    assert rig.position["naked_since_ns"] == 0
    exit_fields = {"side": SIDE_SELL, "type": TYPE_MARKET, "price_ticks": 0, "leg": LEG_EXIT}
    rig.intent(10 * MS, flags=ORDER_REDUCE_ONLY, stop_ticks=0, qty_lots=1_500, **exit_fields)
    rig.run()
    (leave,) = rig.requests()
    rig.ack(12 * MS, leave)
    rig.fill(12 * MS, leave, qty=600, price=BID)
    rig.run()
    (shrink,) = rig.requests()
    assert (shrink["action"], shrink["qty_lots"]) == (ACTION_AMEND, 900)
    rig.event(13 * MS, REPORT_REPLACED, shrink, qty_lots=900, price_ticks=shrink["stop_ticks"])
    rig.fill(14 * MS, leave, qty=900, price=BID)
    rig.run()
    (gone,) = rig.requests()
    assert (gone["action"], gone["id_lo"]) == (ACTION_CANCEL, stop["id_lo"])
    rig.event(16 * MS, REPORT_CANCELED, gone)
    rig.run()
    assert rig.position["lots"] == 0 and rig.position["stop_row"] == -1
    assert (rig.agent.memory.orders["base"] == BASE_FREE).all()
    assert rig.agent.memory.views[0]["open_orders"] == 0 and rig.agent.memory.views[0]["pending_sell_lots"] == 0


def test_a_stop_that_is_not_confirmed_in_time_ends_in_a_market_close(rig):
    rig.enter()
    rig.quote(SECOND + MS)  # the fill was at 1 ms and 1 ns
    rig.run()
    assert rig.requests() == []
    rig.quote(SECOND + MS + 1)
    rig.run()
    (close,) = rig.requests()
    assert (close["leg"], close["type"], close["qty_lots"], close["flags"]) == (
        LEG_FLATTEN,
        TYPE_MARKET,
        1_000,
        ORDER_REDUCE_ONLY,
    )
    assert rig.wires.gauges[1, GAUGE_EXEC_FLATTENS] == 1
    rig.quote(SECOND + 3 * MS)
    rig.run()
    assert rig.requests() == []  # one close at a time


def test_a_close_of_which_nothing_is_said_is_followed_by_another_within_bounds(rig):
    """A stop and a close that the venue is silent about: whichever of the closes lands first is the one that trades."""
    rig.enter()
    closes = []
    for second in range(1, 7):
        for ns in (MS, MS + 1):  # the fill was at 1 ms and 1 ns
            rig.quote(second * SECOND + ns)
            rig.run()
            sent = [one for one in rig.requests() if one["action"] == ACTION_PLACE]
            assert len(sent) == (ns > MS and second <= 3), second
            closes += sent
    kinds = {(one["leg"], one["type"], one["flags"]) for one in closes}
    assert kinds == {(LEG_FLATTEN, TYPE_MARKET, ORDER_REDUCE_ONLY)}
    assert len({(one["id_hi"], one["id_lo"]) for one in closes}) == 3
    rig.ack(7 * SECOND, closes[2])  # it works, so no other is needed
    for close in closes[:2]:
        rig.event(7 * SECOND, REPORT_NOT_FOUND, close)
    rig.quote(9 * SECOND)
    rig.run()
    assert not [one for one in rig.requests() if one["action"] == ACTION_PLACE]
    rig.event(10 * SECOND, REPORT_FILL, closes[2], qty_lots=1_000, price_ticks=BID, trade_id=2)
    rig.run()
    assert rig.position["lots"] == 0
    assert rig.wires.gauges[1, GAUGE_EXEC_NAKED_NS_MAX] > 9 * SECOND


def test_a_market_that_falls_silent_delays_neither_a_close_nor_a_question(tmp_path):
    """Where a real venue is traded on the feed's promise is the time, as long as nothing comes."""
    rig = Rig(tmp_path, session_changes={"asks_first": 1})
    (asked,) = rig.requests()
    rig.event(0, REPORT_QUERY_END, asked, event_seq=0)
    rig.open_market()
    _, (stop,) = rig.enter()

    def silent_until(ns):
        rig.wires.clocks[CLOCK_FEED] = T0 + ns
        rig.run()
        return {(int(one["action"]), int(one["id_lo"])): int(one["leg"]) for one in rig.requests()}

    filled = 1 + MS
    assert not silent_until(filled + SECOND - 1)
    (close,) = silent_until(filled + SECOND).items()
    assert (close[0][0], close[1]) == (ACTION_PLACE, LEG_FLATTEN)
    assert (ACTION_QUERY_ORDER, int(stop["id_lo"])) in silent_until(2 * SECOND + 200 * MS)
    assert not silent_until(INT64_MAX - T0), "a feed that has ended promises nothing"


def questions(rig):
    return [request for request in rig.requests() if request["action"] == ACTION_QUERY_ORDER]


@pytest.mark.parametrize("answer", [REPORT_EXPIRED, REPORT_ACK, REPORT_FILL])
def test_a_close_that_the_venue_acknowledged_and_never_ended_is_asked_about(rig, answer):
    """What takes has an end. If it is found ended another one may go, while it works none does."""

    def until(*ms):
        found = []
        for at in range(*ms, 100):
            rig.quote(at * MS)
            rig.run()
            found += rig.requests()
        of_close = [one for one in found if one["id_lo"] == close["id_lo"]]
        return of_close, [one for one in found if one["leg"] == LEG_FLATTEN and one["action"] == ACTION_PLACE]

    _, (stop,) = rig.enter()
    rig.event(5 * MS, REPORT_REJECT, stop, code=VENUE_FILTER)
    rig.run()
    (close,) = rig.requests()
    assert close["leg"] == LEG_FLATTEN
    rig.ack(6 * MS, close)
    assert until(100, 2_000) == ([], []), "it has time"
    (question,), closes = until(2_000, 4_000)
    assert question["action"] == ACTION_QUERY_ORDER and not closes
    (question,), closes = until(4_000, 6_000)
    assert question["action"] == ACTION_QUERY_ORDER and not closes, "until it is answered, and never sent again"
    assert rig.agent.memory.account[0]["alarms"] >= 2
    if answer == REPORT_FILL:
        rig.fill(6_001 * MS, close, price=BID)
        rig.run()
        assert rig.position["lots"] == 0
        return
    rig.event(6_001 * MS, REPORT_ORDER, question, status=answer, qty_lots=1_000, event_seq=0)
    asked, closes = until(6_100, 9_000)
    assert (len(asked) > 0, len(closes) > 0) == (answer == REPORT_ACK, answer == REPORT_EXPIRED)


def test_a_stop_that_went_off_and_an_entry_that_takes_are_asked_about_and_what_rests_is_not(rig):
    """Nobody says what became of them."""
    _, (stop,) = rig.enter()
    rig.ack(5 * MS, stop)
    for tif in (TIF_GTC, TIF_IOC):
        rig.intent((6 + tif) * MS, qty_lots=100, tif=tif, price_ticks=BID)
    rig.run()
    resting, taking = rig.requests()
    rig.ack(10 * MS, resting)
    rig.ack(10 * MS, taking)
    rig.quote(2_300 * MS)
    rig.run()
    assert [one["id_lo"] for one in questions(rig)] == [taking["id_lo"]]
    rig.event(2_301 * MS, REPORT_ORDER, taking, status=REPORT_EXPIRED, qty_lots=100, event_seq=0)
    rig.event(2_302 * MS, REPORT_TRIGGERED, stop)
    rig.quote(2_500 * MS)
    rig.run()
    assert [one["id_lo"] for one in questions(rig)] == [stop["id_lo"]]


@pytest.mark.parametrize("side", [SIDE_BUY, SIDE_SELL], ids=["the same side, asked about", "the other side, at once"])
def test_a_close_of_which_nothing_is_said_keeps_no_later_position_open(rig, side):
    """The stop went off instead, and the venue has forgotten the close; the next position's stop is refused."""
    _, (stop,) = rig.enter()
    rig.quote(SECOND + MS + 1)
    rig.run()
    (close,) = rig.requests()
    rig.fill(SECOND + 2 * MS, stop, price=BID)
    rig.run()
    assert close["leg"] == LEG_FLATTEN and rig.position["lots"] == 0
    at = 4 * SECOND if side == SIDE_BUY else SECOND + 100 * MS
    rig.quote(at)  # so late that the venue has just been asked about it
    rig.run()
    rig.requests()
    sells = {"side": SIDE_SELL, "price_ticks": BID, "stop_ticks": ASK + 60_000} if side == SIDE_SELL else {}
    rig.intent(at + 1, **sells)
    rig.run()
    (entry,) = (one for one in rig.requests() if one["action"] == ACTION_PLACE and one["leg"] == LEG_ENTRY)
    rig.fill(at + 2, entry, price=BID if side == SIDE_SELL else ASK)
    rig.run()
    (stop,) = rig.requests()
    rig.event(at + 3, REPORT_REJECT, stop, code=VENUE_FILTER)
    rig.run()
    (close,) = (one for one in rig.requests() if one["action"] == ACTION_PLACE)
    assert (close["leg"], close["side"], close["qty_lots"]) == (LEG_FLATTEN, -side, 1_000)


def test_a_fill_that_was_long_under_way_waits_for_its_stop_since_it_happened(rig):
    rig.intent(1)
    rig.run()
    entry = rig.requests()[-1]
    rig.ack(1 + 2 * MS, entry)
    lots = {"qty_lots": entry["qty_lots"], "price_ticks": ASK, "trade_id": 1}
    rig.event(1 + 500 * MS, REPORT_FILL, entry, t_venue_ns=T0 + 1 + MS, **lots)
    rig.run()
    assert [request["type"] for request in rig.requests()] == [TYPE_STOP_MARKET]
    rig.quote(SECOND + MS)
    rig.run()
    assert rig.requests() == []
    rig.quote(SECOND + MS + 1)
    rig.run()
    assert [request["leg"] for request in rig.requests()] == [LEG_FLATTEN]


def test_a_refused_stop_ends_in_a_market_close(rig):
    _, (stop,) = rig.enter()
    rig.event(5 * MS, REPORT_REJECT, stop, code=VENUE_STOP_WOULD_TRIGGER)
    rig.run()
    assert [request["leg"] for request in rig.requests()] == [LEG_FLATTEN]


def test_a_close_that_found_no_market_is_tried_again(rig):
    _, (stop,) = rig.enter()
    rig.event(5 * MS, REPORT_REJECT, stop, code=VENUE_STOP_WOULD_TRIGGER)
    rig.run()
    (close,) = rig.requests()
    rig.event(7 * MS, REPORT_EXPIRED, close)
    rig.quote(3 * SECOND)
    rig.run()
    assert LEG_FLATTEN in [request["leg"] for request in rig.requests()]


def nothing_to_reduce(rig, start_ms, end_ms):
    """The venue refuses what protects, 1 ms after it came; returns at how many ms a close went out."""
    closes = []
    for ms in range(start_ms, end_ms, 100):
        rig.quote(ms * MS)
        rig.run()
        while sent := [one for one in rig.requests() if one["action"] == ACTION_PLACE]:
            closes += [ms for one in sent if one["leg"] == LEG_FLATTEN]
            for one in sent:
                rig.event((ms + 1) * MS, REPORT_REJECT, one, code=VENUE_REDUCE_ONLY)
            rig.run()
    return closes


@pytest.mark.parametrize("named", [True, False], ids=["with a stop", "without"])
def test_a_venue_that_finds_nothing_to_reduce_is_asked_less_and_less_often(rig, named):
    """It does not hold what we hold: closed there by hand, or liquidated, while nobody watched."""
    if named:
        _, (stop,) = rig.enter()
        rig.event(5 * MS, REPORT_REJECT, stop, code=VENUE_REDUCE_ONLY)
    else:
        rig.event(5 * MS, REPORT_FILL, STRANGERS, **STRANGERS_TRADE)
    rig.run()
    alarms = int(rig.agent.memory.account[0]["alarms"])
    closes = nothing_to_reduce(rig, 100, 110_000)
    waits = np.diff(closes)
    assert [int(wait) // 1_000 for wait in waits] == [1, 2, 4, 8, 16, 30, 30], closes
    assert rig.agent.memory.account[0]["alarms"] == alarms + len(closes)
    rig.event(115_000 * MS, REPORT_FILL, STRANGERS, **STRANGERS_TRADE | {"trade_id": 10})
    closes = nothing_to_reduce(rig, 115_100, 120_000)
    assert len(closes) == 3 and closes[0] == 115_100
    rig.quote(124_100 * MS)
    rig.run()
    (close,) = [one for one in rig.requests() if one["leg"] == LEG_FLATTEN]
    rig.ack(124_101 * MS, close)
    rig.event(124_102 * MS, REPORT_EXPIRED, close)
    rig.run()
    assert rig.position["wait_until_ns"] == 0


def too_small(rig, at, stop):
    """Neither a stop for it is taken nor a close."""
    rig.event(at * MS, REPORT_REJECT, stop, code=VENUE_TOO_SMALL)
    rig.run()
    (close,) = rig.requests()
    assert close["leg"] == LEG_FLATTEN, "at the market it may be worth more than at the stop"
    rig.event((at + 1) * MS, REPORT_REJECT, close, code=VENUE_TOO_SMALL)
    rig.run()


def test_dust_is_left_alone_until_a_fill_and_that_outlives_execution(rig):
    _, (stop,) = rig.enter()
    alarms = int(rig.agent.memory.account[0]["alarms"])
    too_small(rig, 5, stop)
    assert rig.agent.memory.account[0]["alarms"] == alarms + 1
    assert nothing_to_reduce(rig, 100, 40_000) == [] and not rig.requests()
    assert rig.position["naked_since_ns"] == 0 and rig.position["lots"] != 0
    left = rig.agent.settle(["BTCUSDT"])
    assert left.startswith("dust of ") and left.endswith("BTCUSDT, for which the venue takes no order"), left
    rig.event(45_000 * MS, REPORT_FILL, STRANGERS, **STRANGERS_TRADE)
    rig.run()
    (stop,) = rig.requests()
    assert stop["leg"] == LEG_STOP, "it is another amount now"
    too_small(rig, 45_001, stop)
    wait = rig.position["wait_until_ns"].item()
    rig.build()
    rig.run()
    assert rig.position["wait_until_ns"] == wait and not [one for one in rig.requests() if one["leg"]]


@pytest.mark.parametrize("side", [1, -1], ids=["more of it", "the other side"])
def test_what_was_dust_before_a_fill_says_nothing_of_what_is_held_after_it(rig, side):
    """The word on the close of the little comes when much is held: a stop that is refused is followed by a close."""
    _, (stop,) = rig.enter(qty_lots=100)
    rig.event(5 * MS, REPORT_REJECT, stop, code=VENUE_TOO_SMALL)
    rig.run()
    (close,) = rig.requests()
    rig.intent(6 * MS, side=side, price_ticks=ASK if side > 0 else BID, stop_ticks=BID - side * 60_000)
    rig.run()
    (entry,) = rig.requests()
    rig.fill(7 * MS, entry)
    rig.event(8 * MS, REPORT_REJECT, close, code=VENUE_TOO_SMALL)
    rig.run()
    (stop,) = rig.requests()
    assert stop["leg"] == LEG_STOP and rig.position["naked_since_ns"] != 0
    rig.event(9 * MS, REPORT_REJECT, stop, code=VENUE_STOP_WOULD_TRIGGER)
    rig.run()
    (close,) = rig.requests()
    assert close["leg"] == LEG_FLATTEN and close["qty_lots"] == abs(100 + side * 1_000)


def test_a_close_too_large_for_one_order_goes_again_at_once(rig):
    _, (stop,) = rig.enter()
    rig.event(5 * MS, REPORT_REJECT, stop, code=VENUE_TOO_LARGE)
    rig.run()
    (close,) = rig.requests()
    rig.event(6 * MS, REPORT_REJECT, close, code=VENUE_TOO_LARGE)
    rig.run()
    (stop,) = rig.requests()
    rig.event(7 * MS, REPORT_REJECT, stop, code=VENUE_TOO_LARGE)
    rig.run()
    assert [one["leg"] for one in rig.requests()] == [LEG_FLATTEN], "the gateway makes it smaller"


def test_a_size_that_the_venue_does_not_take_is_no_failure_of_its_own(rig):
    for number in range(1, 13):
        at = number * 100
        rig.intent(at, event_no=number)
        rig.run()
        rig.event((at + 5) * MS, REPORT_REJECT, rig.requests()[-1], code=(VENUE_TOO_LARGE, VENUE_TOO_SMALL)[number % 2])
        rig.run()
    account = rig.agent.memory.account[0]
    assert account["breaker_trips"] == account["breaker_count"] == 0


def test_a_fill_of_a_part_of_a_lot_costs_and_is_no_news_to_the_shard(rig):
    entry, _ = rig.enter()
    fees, alarms = int(rig.position["fees_e8"]), int(rig.agent.memory.account[0]["alarms"])
    rig.intent(10, event_no=2)
    rig.run()
    second = rig.requests()[-1]
    rig.ack(12 * MS, second)
    rig.reports()
    part = {"qty_lots": 0, "price_ticks": BID, "fee_e8": 5}
    rig.event(13 * MS, REPORT_FILL, second, **part, trade_id=40)
    rig.event(14 * MS, REPORT_FILL, entry, **part, trade_id=41)  # it was told as filled before
    rig.run()
    assert rig.position["fees_e8"] == fees + 10 and rig.position["lots"] == 1_000
    assert rig.agent.memory.account[0]["alarms"] == alarms and not rig.agent.memory.lost.any()
    assert not [one for one in rig.reports() if one["kind"] == REPORT_FILL]


def test_what_the_journal_says_of_a_venue_that_finds_nothing_to_reduce_outlives_execution(rig):
    rig.enter()
    nothing_to_reduce(rig, 2_000, 20_000)
    wait = rig.position[["wait_ns", "wait_until_ns"]].item()
    assert wait[0] == 16 * SECOND
    rig.build()
    rig.run()
    assert rig.position[["wait_ns", "wait_until_ns"]].item() == wait


def test_a_triggered_stop_closes_and_is_counted(rig):
    _, (stop,) = rig.enter()
    rig.ack(5 * MS, stop)
    rig.event(9 * MS, REPORT_TRIGGERED, stop)
    rig.fill(9 * MS, stop, price=BID - 60_000)
    rig.run()
    assert rig.position["lots"] == 0
    assert rig.position["realised_tl"] == 1_000 * (BID - 60_000 - ASK)
    assert rig.wires.gauges[1, GAUGE_EXEC_STOPS_TRIGGERED] == 1
    assert rig.requests() == []


def test_what_only_takes_back_a_part_does_not_move_the_stop(rig):
    _, (stop,) = rig.enter()
    rig.ack(5 * MS, stop)
    _, (shrink,) = rig.enter(at=6 * MS, side=SIDE_SELL, price_ticks=BID, qty_lots=400, stop_ticks=ASK + 60_000)
    assert (shrink["action"], shrink["qty_lots"], shrink["stop_ticks"]) == (ACTION_AMEND, 600, stop["stop_ticks"])


def test_a_stop_that_shrank_to_what_it_has_filled_is_over(rig):
    _, (stop,) = rig.enter()
    rig.ack(5 * MS, stop)
    rig.fill(6 * MS, stop, qty=400, price=BID - 60_000)
    rig.event(7 * MS, REPORT_REPLACED, stop, qty_lots=400, price_ticks=stop["stop_ticks"])
    rig.run()
    again = rig.requests()[-1]
    assert (again["leg"], again["qty_lots"]) == (LEG_STOP, 600) and again["id_lo"] != stop["id_lo"]


def test_a_resting_exit_that_the_venue_shrank_holds_no_more_than_it_may_fill(rig):
    rig.enter()
    exit_fields = {"side": SIDE_SELL, "price_ticks": ASK + 100, "leg": LEG_EXIT, "tif": TIF_GTC, "stop_ticks": 0}
    rig.intent(4 * MS, flags=ORDER_REDUCE_ONLY, qty_lots=1_000, **exit_fields)
    rig.run()
    leave = rig.requests()[-1]
    rig.ack(6 * MS, leave)
    rig.event(7 * MS, REPORT_REPLACED, leave, qty_lots=600, price_ticks=0)
    rig.run()
    assert rig.agent.memory.views[0]["pending_sell_lots"] == 600
    rig.event(8 * MS, REPORT_CANCELED, leave)
    rig.run()
    assert rig.agent.memory.views[0]["pending_sell_lots"] == 0


def test_what_nobody_has_named_a_stop_for_is_closed(rig):
    """A fill of an order that was given up, or of somebody else's, long after a position that had a stop."""
    _, (stop,) = rig.enter()
    rig.ack(5 * MS, stop)
    rig.event(6 * MS, REPORT_FILL, stop, qty_lots=1_000, price_ticks=BID, trade_id=2, side=SIDE_SELL)
    rig.run()
    rig.requests()
    assert rig.position["lots"] == 0 and rig.position["stop_ticks"] > 0
    rig.event(7 * MS, REPORT_FILL, {**dict.fromkeys(("id_hi", "id_lo", "instrument"), 0), "order_row": -1, "side": 1},
              qty_lots=50, price_ticks=ASK, trade_id=3)  # fmt: skip
    rig.run()
    (close,) = rig.requests()
    assert (close["leg"], close["side"], close["qty_lots"], close["flags"]) == (LEG_FLATTEN, -1, 50, ORDER_REDUCE_ONLY)


def test_a_shard_knows_after_a_trade_by_hand_what_is_left(rig):
    """Somebody sells a part of it on the account: the exit is for the rest, and execution takes it."""
    shard = ShardRig()

    def tell():
        for report in rig.reports():
            push_order(shard.wires.reports[0], words(np.array([report])), 0)

    shard.warm_up()
    _, (stop,) = rig.enter()
    rig.ack(5 * MS, stop)
    rig.run()
    tell()
    shard.quote(20 * MS, UP)
    assert shard.risk()["position_lots"] == 1_000
    rig.event(30 * MS, REPORT_FILL, STRANGERS | {"side": SIDE_SELL}, **STRANGERS_TRADE)
    rig.run()
    tell()
    rig.quote(50 * MS)
    shard.run()
    shard.warm_up(40 * MS)  # its strategy has missed a fill
    shard.quote(50 * MS, DOWN)
    leave = shard.intent()
    assert (leave["leg"], leave["side"], leave["qty_lots"]) == (LEG_EXIT, SIDE_SELL, 500)
    rig.requests()
    rig.wires.clocks[CLOCK_FEED] = T0 + 50 * MS
    push_order(rig.wires.intents[0], words(np.array([leave])), 0)
    rig.run()
    assert rig.rejects == {} and [one["leg"] for one in rig.requests()] == [LEG_EXIT]


def test_an_overfill_is_an_alarm_and_leaves_other_orders_pending(rig):
    for at in range(2):
        rig.intent(5 + at, qty_lots=500)
    rig.run()
    first, _ = rig.requests()
    rig.fill(3 * MS, first, qty=700)
    rig.run()
    assert rig.position["lots"] == 700 and rig.agent.memory.account["alarms"] == 1
    assert rig.agent.memory.views[0]["pending_buy_lots"] == 500


def test_a_lost_stop_is_placed_anew(rig):
    _, (stop,) = rig.enter()
    rig.ack(5 * MS, stop)
    rig.event(6 * MS, REPORT_CANCELED, stop)
    rig.run()
    (again,) = rig.requests()
    assert again["leg"] == LEG_STOP and again["id_lo"] != stop["id_lo"]


# --- kill ------------------------------------------------------------------------------------------------------------


def test_the_kill_word_cancels_entries_keeps_stops_and_shuts_the_gate(rig):
    _, (stop,) = rig.enter()
    rig.ack(5 * MS, stop)
    rig.intent(6 * MS, tif=TIF_GTC, price_ticks=BID, qty_lots=100)
    rig.run()
    (resting,) = rig.requests()
    rig.ack(8 * MS, resting)
    rig.run()
    rig.wires.control[CONTROL_KILL] = 1
    rig.run()
    (cancel,) = rig.requests()
    assert (cancel["action"], cancel["id_lo"]) == (ACTION_CANCEL, resting["id_lo"])
    assert rig.agent.memory.account["state"] == STATE_HALTED
    rig.intent(9 * MS)
    rig.run()
    assert rig.requests() == [] and rig.rejects == {RISK_KILLED: 1}


def test_a_halt_goes_on_cancelling_until_the_venue_has_room_for_it(tmp_path):
    rig = Rig(tmp_path, capacity=32_768)
    rig.open_market()
    rig.intent(6 * MS, tif=TIF_GTC, price_ticks=BID, qty_lots=100)
    rig.run()
    (resting,) = rig.requests()
    rig.ack(8 * MS, resting)
    rig.run()
    filler = np.zeros(1, ORDER_INTENT)
    while has_space(rig.wires.requests, 1):
        push_order(rig.wires.requests, words(filler), 0)
    rig.wires.control[CONTROL_KILL] = 1
    rig.run()
    assert rig.agent.memory.account["state"] == STATE_HALTED
    assert not any(request["action"] == ACTION_CANCEL for request in rig.requests()), "there was no room"
    rig.quote(2_000 * MS)
    rig.run()
    (cancel,) = rig.requests()
    assert (cancel["action"], cancel["id_lo"]) == (ACTION_CANCEL, resting["id_lo"])


# --- a book that went stale -------------------------------------------------------------------------------------------


def resting_entry(rig, at=6):
    """An entry that rests in the book, confirmed; its request."""
    rig.intent(at * MS, tif=TIF_GTC, flags=ORDER_POST_ONLY, price_ticks=BID, qty_lots=100)
    rig.run()
    (entry,) = rig.requests()
    rig.ack((at + 1) * MS, entry)
    rig.run()
    return entry


def test_an_entry_that_rests_in_a_stale_book_is_taken_back_at_once_and_nothing_else_is(rig):
    _, (stop,) = rig.enter()
    rig.ack(5 * MS, stop)
    resting = resting_entry(rig)
    rig.intent(8 * MS, tif=TIF_GTC, flags=ORDER_POST_ONLY, price_ticks=BID, qty_lots=100)  # on its way
    rig.intent(8 * MS, leg=LEG_EXIT, side=-1, flags=ORDER_REDUCE_ONLY, price_ticks=ASK, qty_lots=100, stop_ticks=0)
    rig.run()
    underway, closing = rig.requests()
    rig.ack(9 * MS, closing)
    rig.whole(9 * MS, whole=False)
    rig.run()
    cancels = rig.requests()
    assert [cancel["action"] for cancel in cancels] == [ACTION_CANCEL] * 2
    assert {cancel["id_lo"] for cancel in cancels} == {resting["id_lo"], underway["id_lo"]}
    rig.whole(10 * MS)
    rig.quote(2_000 * MS)
    rig.run()
    assert not [request for request in rig.requests() if request["action"] == ACTION_CANCEL], "asked for once"


def test_taking_back_goes_on_until_the_venue_has_room_for_it(tmp_path):
    rig = Rig(tmp_path, capacity=32_768)
    rig.open_market()
    resting = resting_entry(rig)
    filler = np.zeros(1, ORDER_INTENT)
    while has_space(rig.wires.requests, 1):
        push_order(rig.wires.requests, words(filler), 0)
    rig.whole(9 * MS, whole=False)
    rig.run()
    assert not any(request["action"] == ACTION_CANCEL for request in rig.requests()), "there was no room"
    rig.quote(200 * MS)
    rig.run()
    (cancel,) = rig.requests()
    assert (cancel["action"], cancel["id_lo"]) == (ACTION_CANCEL, resting["id_lo"])


# --- order of events -------------------------------------------------------------------------------------------------


def paced_rig(tmp_path, n_shards=1, n_instruments=1):
    rig = Rig(tmp_path, n_instruments=n_instruments, n_shards=n_shards, session_changes={"paced": 1})
    clocks = rig.wires.clocks
    for instrument in range(n_instruments):
        rig.whole(0, instrument=instrument)
        rig.quote(0, instrument=instrument)
    clocks[CLOCK_FEED] = clocks[CLOCK_VENUE] = T0 + 1
    for shard in range(n_shards):
        clocks[CLOCK_SHARD + shard * LINE] = T0 + 1
    rig.run()
    return rig, clocks


@pytest.mark.parametrize("late", [CLOCK_FEED, CLOCK_VENUE, CLOCK_SHARD + LINE])
def test_an_intent_waits_for_everything_that_could_come_before_it(tmp_path, late):
    rig, clocks = paced_rig(tmp_path, n_shards=2, n_instruments=2)
    rig.intent(100)
    for clock in {CLOCK_FEED, CLOCK_VENUE, CLOCK_SHARD + LINE} - {late}:
        clocks[clock] = T0 + 101
    rig.run()
    assert rig.requests() == []
    clocks[late] = T0 + 101
    rig.run()
    assert len(rig.requests()) == 1


def test_equal_times_are_taken_as_event_quote_then_intents_by_instrument(tmp_path):
    rig, clocks = paced_rig(tmp_path, n_shards=2, n_instruments=2)
    rig.intent(100, shard=1, instrument=1, qty_lots=11)
    rig.intent(100, shard=0, instrument=0, qty_lots=12)
    rig.quote(100, bid=BID + 2, ask=ASK + 2)
    clocks[CLOCK_FEED] = clocks[CLOCK_VENUE] = clocks[CLOCK_SHARD] = clocks[CLOCK_SHARD + LINE] = T0 + 101
    rig.run()
    assert [request["qty_lots"] for request in rig.requests()] == [12, 11]
    assert rig.position["bid_ticks"] == BID + 2


def test_promises_follow_from_what_may_still_come(tmp_path):
    rig, clocks = paced_rig(tmp_path)
    clocks[CLOCK_FEED], clocks[CLOCK_VENUE], clocks[CLOCK_SHARD] = T0 + 500, T0 + 300, T0 + 400
    rig.run()
    assert clocks[CLOCK_EXEC_VENUE] == T0 + 400 + MS
    assert clocks[CLOCK_EXEC_SHARD] == T0 + 300 + MS // 10
    clocks[CLOCK_FEED] = clocks[CLOCK_VENUE] = clocks[CLOCK_SHARD] = INT64_MAX
    rig.run()
    assert clocks[CLOCK_EXEC_VENUE] == clocks[CLOCK_EXEC_SHARD] == INT64_MAX


def test_the_venue_may_come_to_what_a_second_recovery_asks(tmp_path):
    """The first one died behind an answer that had overtaken quotes: its time is later than that of every promise."""
    rig, clocks = paced_rig(tmp_path)
    rig.intent(100)
    clocks[CLOCK_FEED] = clocks[CLOCK_VENUE] = clocks[CLOCK_SHARD] = T0 + 101
    rig.run()
    (entry,) = rig.requests()
    rig.start()
    rig.requests()
    rig.event(3 * MS, REPORT_ORDER, entry, status=REPORT_ACK, qty_lots=1_000, event_seq=0)
    rig.run()
    rig.start()
    rig.run()
    assert [int(question["ts_ns"]) for question in rig.requests()] == [T0 + 4 * MS] * 2
    assert clocks[CLOCK_EXEC_VENUE] == T0 + 4 * MS


# --- recovery --------------------------------------------------------------------------------------------------------

SAME = [name for name in ORDER.names if name not in ("sent_ns", "overlay", "sends")]


def test_the_journal_alone_rebuilds_what_execution_knew(rig):
    _, (stop,) = rig.enter()
    rig.ack(5 * MS, stop)
    rig.enter(at=6 * MS, qty_lots=500)
    rig.intent(8 * MS, tif=TIF_GTC, price_ticks=BID, qty_lots=100)
    rig.run()
    before = rig.agent.memory
    again = type(rig.agent)(rig.wires, rig.instruments, rig.limits, rig.session, rig.path).memory
    for name in ("lots", "cost_tl", "realised_tl", "fees_e8", "own_number", "stop_ticks", "stop_row", "last_event_no"):
        assert again.positions[0][name] == before.positions[0][name], name
    for name in ("position_lots", "pending_buy_lots", "pending_sell_lots", "open_orders", "last_open_ns", "bucket_ns"):
        assert again.views[0][name] == before.views[0][name], name
    for name in ("equity_e8", "high_water_e8", "day_start_e8", "last_event_seq", "open_orders"):
        assert again.account[0][name] == before.account[0][name], name
    for name in SAME:
        live = before.orders["base"] != BASE_FREE
        assert np.array_equal(again.orders[name][live], before.orders[name][live]), name
    assert np.array_equal(again.orders["base"] == BASE_FREE, before.orders["base"] == BASE_FREE)


def test_a_restarted_execution_knows_that_the_books_are_whole(rig):
    rig.start()
    (trades,) = rig.requests()
    rig.event(4 * MS, REPORT_QUERY_END, trades, event_seq=0)
    rig.intent(5 * MS)
    rig.run()
    assert len(rig.requests()) == 1 and rig.rejects == {}


def test_a_restarted_execution_knows_the_last_quote_and_not_an_older_one(rig):
    rig.enter()
    rig.quote(9 * MS, bid=BID - 500, ask=ASK - 500)
    rig.run()
    rig.start()
    assert (rig.position["bid_ticks"], rig.position["ask_ticks"]) == (BID - 500, ASK - 500)


@pytest.mark.parametrize("by", ["silence", "restart"])
def test_the_journal_tells_that_an_order_was_unknown_when_its_answer_came(rig, by):
    rig.intent(5)
    rig.run()
    (entry,) = rig.requests()
    if by == "restart":
        rig.start()
    rig.quote(3 * SECOND)
    rig.run()
    question = rig.requests()[-1]
    rig.event(4 * SECOND, REPORT_NOT_FOUND, entry, event_seq=0)
    if by == "restart":
        rig.event(4 * SECOND, REPORT_QUERY_END, question, event_seq=0)
    rig.intent(5 * SECOND, qty_lots=10)
    rig.run()
    (other,) = (request for request in rig.requests() if request["action"] == ACTION_PLACE)
    assert other["order_row"] == entry["order_row"]
    rig.start()
    assert rig.agent.memory.account["open_orders"] == rig.agent.memory.views[0]["open_orders"] == 1
    assert rig.agent.memory.views[0]["pending_buy_lots"] == 10


def test_a_full_journal_ends_the_agent_and_never_grows_beyond_its_file(tmp_path):
    rig = Rig(tmp_path, capacity=64)
    rig.open_market()
    filler = {"instrument": 0, "id_hi": 1, "id_lo": 1, "order_row": -1, "side": 1}
    for at in range(100):
        rig.event(at, REPORT_FUNDING, filler, cash_e8=-1)
    with pytest.raises(JournalError, match="full"):
        rig.run()
    assert rig.agent.journal.count <= 64
    journal_append(rig.agent.journal.header, rig.agent.journal.records, rig.agent.memory.record,
                   rig.agent.memory.record_words)  # fmt: skip
    for _ in range(20):
        journal_append(rig.agent.journal.header, rig.agent.journal.records, rig.agent.memory.record,
                       rig.agent.memory.record_words)  # fmt: skip
    assert rig.agent.journal.count == 64


def test_open_orders_are_queried_and_never_sent_again(rig):
    rig.intent(5)
    rig.run()
    (entry,) = rig.requests()
    rig.start()
    queries = rig.requests()
    assert [query["action"] for query in queries] == [ACTION_QUERY_ORDER, ACTION_QUERY_TRADES]
    assert rig.agent.memory.account["state"] == STATE_RECOVERING
    rig.intent(6)
    rig.run()
    assert rig.requests() == []  # the gate is shut until every answer is in
    rig.event(3 * MS, REPORT_FILL, entry, qty_lots=1_000, price_ticks=ASK, trade_id=1)
    rig.event(4 * MS, REPORT_ORDER, entry, status=REPORT_FILL, qty_lots=1_000, cum_lots=1_000, event_seq=0)
    rig.event(4 * MS, REPORT_QUERY_END, queries[-1], event_seq=0)
    rig.run()
    assert rig.agent.memory.account["state"] == STATE_ACTIVE
    out = rig.requests()
    assert out[0]["leg"] == LEG_STOP and out[0]["qty_lots"] == 1_000
    assert rig.position["lots"] == 1_000


def test_answers_to_an_earlier_start_do_not_open_the_gate(rig):
    rig.intent(5)
    rig.run()
    rig.requests()
    rig.start()
    earlier = rig.requests()
    rig.start()
    rig.event(4 * MS, REPORT_NOT_FOUND, earlier[0], event_seq=0)
    rig.event(4 * MS, REPORT_QUERY_END, earlier[-1], event_seq=0)
    rig.run()
    assert rig.agent.memory.account["state"] == STATE_RECOVERING


def test_a_start_of_the_whole_bot_counts_events_anew_and_a_restart_of_execution_does_not(rig):
    rig.intent(5, event_no=500, qty_lots=10)
    rig.run()
    for generation, number, is_new in ((2, 3, True), (2, 3, False), (3, 1, True)):
        rig.session[0]["feed_generation"] = generation
        rig.requests()
        rig.start()
        rig.event(6 * MS, REPORT_QUERY_END, rig.requests()[-1], event_seq=0)
        rig.run()
        assert rig.agent.memory.account["state"] == STATE_ACTIVE
        rig.intent(7, event_no=number, qty_lots=10)
        rig.run()
        sent = [one for one in rig.requests() if one["action"] == ACTION_PLACE]
        assert [(int(one["event_no"]), int(one["id_hi"]) & 0xFFFF) for one in sent] == [(number, generation)] * is_new
    assert rig.rejects == {EXEC_DUPLICATE: 1}


@pytest.mark.parametrize("word", [CONTROL_STOP, CONTROL_ALONE], ids=["ends", "alone"])
def test_a_session_that_ends_or_that_nobody_watches_opens_nothing(rig, word):
    _, (stop,) = rig.enter()
    rig.ack(5 * MS, stop)
    rig.wires.control[word] = 1
    rig.intent(10 * MS, qty_lots=10)
    rig.intent(11 * MS, leg=LEG_EXIT, side=SIDE_SELL, flags=ORDER_REDUCE_ONLY, price_ticks=BID, stop_ticks=0)
    rig.run()
    assert rig.rejects == {EXEC_GATE_SHUT: 1}
    assert [out["leg"] for out in rig.requests()] == [LEG_EXIT]


@pytest.mark.parametrize("part", [1_000, 400], ids=["cancel", "amend"])
def test_a_change_that_is_never_answered_is_asked_about(rig, part):
    """A cancel or an amend may be lost like an order: silence of two seconds is an alarm and a question."""
    _, (stop,) = rig.enter()
    rig.ack(5 * MS, stop)
    exits = {"leg": LEG_EXIT, "side": SIDE_SELL, "flags": ORDER_REDUCE_ONLY, "price_ticks": BID, "stop_ticks": 0}
    rig.intent(6 * MS, qty_lots=part, **exits)
    rig.run()
    (sale,) = rig.requests()
    rig.ack(7 * MS, sale)
    rig.fill(7 * MS, sale, price=BID)
    rig.run()
    (change,) = rig.requests()
    assert change["action"] == (ACTION_CANCEL if part == 1_000 else ACTION_AMEND) and change["id_lo"] == stop["id_lo"]
    before = int(rig.agent.memory.account[0]["alarms"])
    rig.quote(3 * SECOND)
    rig.run()
    questions = [one["id_lo"] for one in rig.requests() if one["action"] == ACTION_QUERY_ORDER]
    assert questions == [stop["id_lo"]] and rig.agent.memory.account[0]["alarms"] == before + 1


def test_a_silent_venue_is_asked_and_the_order_stays_unknown(rig):
    rig.intent(5)
    rig.run()
    (entry,) = rig.requests()
    for second in range(2, 9):
        rig.quote(second * SECOND + 6)
        rig.run()
    questions = rig.requests()
    assert 3 <= len(questions) and {int(question["action"]) for question in questions} == {ACTION_QUERY_ORDER}
    assert STATUS_NAMES[status_of(rig.agent.memory.orders[int(entry["order_row"])])] == "unknown"
    assert rig.agent.memory.views[0]["pending_buy_lots"] == 1_000  # it counts as exposure all the while
    assert rig.wires.gauges[1, GAUGE_EXEC_UNKNOWN] == 1
    rig.event(9 * SECOND, REPORT_NOT_FOUND, questions[-1], event_seq=0)
    rig.quote(10 * SECOND)
    rig.run()
    assert rig.agent.memory.views[0]["pending_buy_lots"] == 0
    assert rig.wires.gauges[1, GAUGE_EXEC_UNKNOWN] == 0


def test_a_repeated_id_does_not_end_the_order_that_had_it(rig):
    rig.intent(5)
    rig.run()
    (entry,) = rig.requests()
    rig.event(2 * MS, REPORT_REJECT, entry, code=VENUE_DUPLICATE_ID)
    rig.run()
    assert STATUS_NAMES[status_of(rig.agent.memory.orders[int(entry["order_row"])])] == "unknown"


def test_a_stop_that_the_venue_shrank_itself_is_no_alarm(rig):
    _, (stop,) = rig.enter()
    rig.ack(5 * MS, stop)
    rig.event(6 * MS, REPORT_REPLACED, stop, qty_lots=600, price_ticks=stop["stop_ticks"])
    rig.run()
    assert rig.agent.memory.account["alarms"] == 0
    (grow,) = rig.requests()
    assert (grow["action"], grow["qty_lots"]) == (ACTION_AMEND, 1_000)


def test_an_order_that_never_landed_is_given_back(rig):
    rig.intent(5)
    rig.run()
    (entry,) = rig.requests()
    rig.reports()
    rig.start()
    trades = rig.requests()[-1]
    rig.event(4 * MS, REPORT_NOT_FOUND, entry, event_seq=0)
    rig.event(4 * MS, REPORT_QUERY_END, trades, event_seq=0)
    rig.run()
    assert rig.agent.memory.views[0]["pending_buy_lots"] == 0
    (denied,) = [report for report in rig.reports() if report["kind"] == REPORT_DENIED]
    assert denied["code"] == EXEC_NEVER_LANDED


def test_events_that_were_applied_before_the_crash_are_not_applied_again(rig):
    entry, (stop,) = rig.enter()
    rig.start()
    queries = rig.requests()
    repeated = rig.agent.memory.account["last_event_seq"][0]
    rig.event(4 * MS, REPORT_FUNDING, entry, cash_e8=-500, event_seq=repeated)
    rig.event(4 * MS, REPORT_FILL, entry, qty_lots=1_000, price_ticks=ASK, trade_id=1, event_seq=repeated)
    rig.event(4 * MS, REPORT_ORDER, queries[0], status=REPORT_ACK, qty_lots=1_000, event_seq=0)
    rig.event(4 * MS, REPORT_QUERY_END, queries[-1], event_seq=0)
    rig.run()
    assert rig.position["lots"] == 1_000 and rig.position["funding_e8"] == 0
    assert rig.requests() == []  # the stop that was in flight turned out to work
    assert rig.agent.memory.orders[int(rig.position["stop_row"])]["id_lo"] == stop["id_lo"]


def test_a_position_without_a_stop_gets_one_after_recovery(rig):
    rig.intent(5)
    rig.run()
    (entry,) = rig.requests()
    rig.ack(2 * MS, entry)
    rig.fill(2 * MS, entry)
    count = rig.agent.journal.count
    rig.run()
    rig.requests()
    # killed after the fill was journaled, before its stop was
    rig.agent.journal.header[COMMIT_WORD] = commit_word(count + 2)
    rig.start()
    (trades,) = rig.requests()
    rig.event(4 * MS, REPORT_QUERY_END, trades, event_seq=0)
    rig.run()
    (stop,) = rig.requests()
    assert (stop["leg"], stop["qty_lots"]) == (LEG_STOP, 1_000)


def test_a_journal_that_contradicts_itself_is_refused(rig):
    rig.enter()
    table = rig.agent.journal.table
    last = rig.agent.journal.count - 1
    assert table[last]["type"] in (JOURNAL_INTENT, JOURNAL_REQUEST, JOURNAL_EVENT)
    while table[last]["type"] != JOURNAL_INTENT:
        last -= 1
    rig.agent.journal.header[COMMIT_WORD] = commit_word(last + 1)
    table[last]["position_lots"] += 1
    rig.agent.journal.records[last * JOURNAL_WORDS + CRC_WORD] = record_crc(
        rig.agent.journal.records, last * JOURNAL_WORDS
    )
    with pytest.raises(JournalError, match="contradicts"):
        rig.start()


def test_a_restarted_shard_is_told_everything(rig):
    rig.enter()
    rig.intent(6 * MS, tif=TIF_GTC, price_ticks=BID, qty_lots=100)
    rig.run()
    rig.reports()
    rig.wires.control[CONTROL_RESYNC] += 1
    rig.run()
    told = rig.reports()
    assert [int(report["kind"]) for report in told] == [12, REPORT_ORDER, REPORT_QUERY_END]
    assert told[0]["qty_lots"] == 1_000 and told[1]["leaves_lots"] == 100


def test_the_picture_waits_until_the_shards_intents_are_read(rig):
    """A shard that died after it had sent one would be told a picture without it, and send it again."""
    rig.enter()
    rig.run()
    rig.reports()
    rig.intent(6 * MS, tif=TIF_GTC, price_ticks=BID, qty_lots=100)
    rig.wires.control[CONTROL_RESYNC] += 1
    rig.work(0)
    assert rig.reports() == []
    rig.run()
    assert REPORT_ORDER in [int(report["kind"]) for report in rig.reports()]


def test_a_shard_that_does_not_read_its_reports_is_told_everything_later(rig):
    for at in range(ORDER_RING_CAPACITY + 50):
        rig.intent(5 + at, stop_ticks=0)
        rig.run()
    assert rig.rejects[RISK_STOP_MISSING] == ORDER_RING_CAPACITY + 50
    rig.reports()
    rig.run()
    assert rig.reports()[-1]["kind"] == REPORT_QUERY_END
    assert EXEC_GATE_SHUT not in rig.rejects


def test_a_session_settles_once_nothing_opens_and_all_is_covered(rig):
    """Resting entries are taken back; what is unclear, and what has no confirmed stop, is named until it is over."""
    assert rig.agent.settle(["BTCUSDT"]) == ""
    rig.intent(5, tif=TIF_GTC, price_ticks=BID - 10, flags=ORDER_POST_ONLY)
    rig.run()
    (entry,) = rig.requests()
    assert "entry" in rig.agent.settle(["BTCUSDT"])
    (cancel,) = rig.requests()
    assert (cancel["action"], cancel["id_lo"]) == (ACTION_CANCEL, entry["id_lo"])
    rig.ack(2 * MS, entry)
    rig.fill(3 * MS, entry, qty=400, price=BID - 10)
    rig.event(4 * MS, REPORT_CANCELED, entry)
    rig.run()
    (stop,) = [one for one in rig.requests() if one["leg"] == LEG_STOP]
    told = rig.agent.settle(["BTCUSDT"])
    assert "position of 0.004 BTCUSDT without a confirmed stop" in told and "entry" not in told
    rig.ack(5 * MS, stop)
    rig.run()
    assert rig.agent.settle(["BTCUSDT"]) == ""


def test_an_entry_that_the_venue_shrank_keeps_its_stop(rig):
    """What the venue tells of it with its size is its limit, not the price of its stop."""
    rig.intent(5, tif=TIF_GTC, price_ticks=BID - 10, flags=ORDER_POST_ONLY)
    rig.run()
    (entry,) = rig.requests()
    rig.ack(2 * MS, entry)
    rig.event(3 * MS, REPORT_REPLACED, entry, qty_lots=900, price_ticks=int(entry["price_ticks"]))
    rig.fill(4 * MS, entry, qty=900, price=BID - 10)
    rig.run()
    (stop,) = rig.requests()
    assert (stop["qty_lots"], stop["stop_ticks"]) == (900, entry["stop_ticks"])
