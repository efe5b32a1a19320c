"""What only execution sees: all shards together, losses in a row, the capital at stake; in the real wiring.

Orders are checked against these limits where every shard's orders meet, so that what passes alone and is too much
together never stands at the venue at once.
"""

from itertools import permutations

import numpy as np
import pytest
from reference.kernels.risk.tail import could_lose
from rig.execution import ASK, BID, Rig
from rig.tables import MS, SECOND

from bot4.engine.execution import ExecutionAgent
from bot4.engine.journal import COMMIT_WORD, commit_word
from bot4.kernels.risk.correlation import ENOUGH
from bot4.model.enums import (
    LEG_EXIT,
    OK,
    ORDER_REDUCE_ONLY,
    REPORT_CANCELED,
    REPORT_FUNDING,
    RISK_CORRELATION,
    RISK_DAILY_LOSS,
    RISK_GROSS,
    RISK_MESSAGE_RATE,
    RISK_NET,
    RISK_ORDER_RATE,
    RISK_POSITION,
    RISK_SHORTFALL,
    RISK_STRATEGY,
    RISK_STREAK,
    RISK_VALUE_AT_RISK,
    RISK_VENUE,
    SIDE_SELL,
    TIF_GTC,
    TYPE_MARKET,
)
from bot4.shm.wires import GAUGE_EXEC_STREAK

MID2 = BID + ASK
LOTS = 1_000
SHORT = {"side": SIDE_SELL, "price_ticks": BID, "stop_ticks": ASK + 60_000}
LEAVE = {"side": SIDE_SELL, "type": TYPE_MARKET, "price_ticks": 0, "stop_ticks": 0, "leg": LEG_EXIT,
         "flags": ORDER_REDUCE_ONLY}  # fmt: skip


def rig_of(folder, n=3, **limits):
    """`n` instruments on as many shards, books whole; the last instrument is of another venue."""
    folder.mkdir(exist_ok=True)
    rig = Rig(folder, n, n, 20_000, limits)
    rig.instruments["venue"][n - 1] = 1
    rig.open_market()
    return rig


def equity_for(bps, lots):
    """The least equity of which that share is worth so many lots at the mid."""
    return -(-lots * MID2 * 10 * 10_000 // (2 * bps))


def answer(rig, code):
    """Whether one order went out, or that it was refused for this reason alone."""
    rig.run()
    out = rig.requests()
    assert (len(out), rig.rejects) == ((1, {}) if code == OK else (0, {code: 1}))


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=lambda order: "".join(map(str, order)))
def test_orders_that_pass_alone_and_are_too_much_together_are_never_both_at_the_venue(tmp_path, order):
    """Whoever comes last is refused, and goes through once another has ended; in every order of the shards."""
    rig = rig_of(tmp_path, gross_bps=300)  # 3,000 of 100,000; each order is worth 1,200
    for shard in order:
        rig.intent(5, shard=shard, instrument=shard, qty_lots=2_000, tif=TIF_GTC, price_ticks=BID)
    rig.run()
    resting = rig.requests()
    assert len(resting) == 2 and rig.rejects == {RISK_GROSS: 1}
    last = ({0, 1, 2} - {int(request["instrument"]) for request in resting}).pop()
    assert last == max(range(3)), "of one moment, the last instrument"
    rig.intent(6, shard=last, instrument=last, qty_lots=2_000)
    rig.run()
    assert rig.requests() == []
    rig.event(3 * MS, REPORT_CANCELED, resting[0])
    rig.intent(4 * MS, shard=last, instrument=last, qty_lots=2_000)
    rig.run()
    assert len(rig.requests()) == 1


TOGETHER = {  # of 100,000; each order is worth 1,200, so that one or two of three are all that may be
    "gross": ({"gross_bps": 300}, RISK_GROSS, 2),
    "strategy": ({"strategy_bps": 300}, RISK_STRATEGY, 2),
    "one side": ({"net_bps": 300}, RISK_NET, 2),
    "one venue": ({"venue_bps": 200}, RISK_VENUE, 2),  # the third is of another
    "what may be lost": ({"var_bps": 300}, RISK_VALUE_AT_RISK, 2),
    "what may be lost in the worst cases": ({"shortfall_bps": 300}, RISK_SHORTFALL, 2),
    "correlation": ({"correlation_bps": 7_000}, RISK_CORRELATION, 1),  # nothing is known of them
    "orders at once": ({"order_tokens": 2, "order_refill_ns": SECOND}, RISK_ORDER_RATE, 2),
    "messages at once": ({"message_tokens": 4, "message_refill_ns": SECOND}, RISK_MESSAGE_RATE, 2),
}


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=lambda order: "".join(map(str, order)))
@pytest.mark.parametrize("case", TOGETHER)
def test_of_one_moment_no_more_goes_out_than_all_together_may(tmp_path, case, order):
    """Each of the three passes alone; the rings are filled in every order, and read by instrument."""
    changes, code, most = TOGETHER[case]
    for alone in range(3):
        rig = rig_of(tmp_path / f"alone{alone}", **changes)
        rig.intent(5, shard=alone, instrument=alone, qty_lots=2_000, tif=TIF_GTC, price_ticks=BID)
        answer(rig, OK)
    rig = rig_of(tmp_path / "together", **changes)
    for shard in order:
        rig.intent(5, shard=shard, instrument=shard, qty_lots=2_000, tif=TIF_GTC, price_ticks=BID)
    rig.run()
    out = sorted(int(request["instrument"]) for request in rig.requests())
    wanted = [0, 2] if case == "one venue" else list(range(most))
    assert out == wanted and rig.rejects == {code: 3 - most}


EXPOSURES = {
    "gross": (RISK_GROSS, {}, 2),
    "strategy": (RISK_STRATEGY, {}, 2),
    "net": (RISK_NET, {}, 2),
    "venue": (RISK_VENUE, {}, 1),
    "gross of both sides": (RISK_GROSS, SHORT, 2),
    "net of the other side": (OK, SHORT, 2),
    "another venue": (OK, {}, 2),
}


@pytest.mark.parametrize("unit", [-1, 0, 1])
@pytest.mark.parametrize("case", EXPOSURES)
def test_exposure_is_exact_to_the_last_unit_of_equity(tmp_path, case, unit):
    """One instrument holds 1,000 lots, another has an order of 500 pending, a third wants 300: 1,800 at the mid."""
    code, fields, third = EXPOSURES[case]
    name = {"net of the other side": "net", "another venue": "venue"}.get(case, case.split()[0])
    lots = {"net of the other side": 300, "another venue": 300}.get(case, 1_800)
    rig = rig_of(tmp_path, 4 if third == 1 else 3)
    if third == 1:
        rig.instruments["venue"] = 0
    rig.enter(instrument=0)
    other = 3 if third == 1 else 1
    rig.intent(6 * MS, shard=other, instrument=other, qty_lots=500, tif=TIF_GTC, price_ticks=BID)
    rig.run()
    rig.requests()
    rig.agent.memory.account["equity_e8"] = equity_for(20, lots) + unit
    rig.limits[f"{name}_bps"] = 20
    rig.agent.memory.account["high_water_e8"] = rig.agent.memory.account["day_start_e8"] = 0
    rig.intent(7 * MS, shard=third, instrument=third, qty_lots=300, **fields)
    if lots == 300 and unit < 0:
        code = RISK_NET if name == "net" else RISK_VENUE
    answer(rig, code if unit < 0 else OK)


def test_a_position_without_a_price_has_no_bound(tmp_path):
    rig = rig_of(tmp_path)
    rig.enter()
    rig.quote(6 * MS, bid=0, ask=0)
    rig.intent(7 * MS, shard=1, instrument=1, qty_lots=10)
    answer(rig, RISK_GROSS)


def test_a_position_that_lost_its_price_keeps_its_loss_and_no_profit(tmp_path):
    rig = rig_of(tmp_path)
    rig.enter()
    for at, move, worth in ((6, -5_000, -5_000.5), (8, 5_000, 0)):
        rig.quote(at * MS, bid=BID + move, ask=ASK + move)
        rig.quote((at + 1) * MS, bid=0, ask=0)
        rig.run()
        assert rig.agent.memory.account["equity_e8"] == 100_000 * 10**8 + worth * LOTS * 10


OLD = 10 * SECOND  # the age at which a quote still is one


@pytest.mark.parametrize(
    ("stale", "age", "code"), [(False, OLD, OK), (False, OLD + 1, RISK_DAILY_LOSS), (True, 2, RISK_DAILY_LOSS)]
)
def test_a_profit_at_a_price_that_is_not_live_makes_up_for_no_loss(tmp_path, stale, age, code):
    """One instrument is 1,000 up when its price stops; 15 are lost at another, where 10 end the day."""
    rig = rig_of(tmp_path, daily_loss_bps=1, quote_age_ns=OLD)
    (stop,) = rig.enter()[1]
    rig.ack(4 * MS, stop)
    rig.quote(6 * MS, bid=BID + 100_000, ask=ASK + 100_000)
    if stale:
        rig.whole(6 * MS + 1, whole=False)
    rig.run()
    rig.requests()
    rig.event(
        6 * MS + 1,
        REPORT_FUNDING,
        {"instrument": 1, "id_hi": 1, "id_lo": 1, "order_row": -1, "side": 1},
        cash_e8=-15 * 10**8,
    )
    rig.quote(6 * MS + age, instrument=1)
    rig.intent(6 * MS + age, shard=1, instrument=1, qty_lots=10)
    answer(rig, code)
    profit = int(rig.position["unrealised_e8"])
    assert profit > 9 * 10**8
    assert rig.agent.memory.account["equity_e8"] == 99_985 * 10**8 + profit, "the account's own figure stays"


@pytest.mark.parametrize("unit", [-1, 0])
@pytest.mark.parametrize("move", [-100_000, 100_000], ids=["below the cost", "above the cost"])
@pytest.mark.parametrize("live", [True, False], ids=["live", "stale"])
def test_a_position_whose_price_is_not_live_counts_at_no_less_than_its_cost(tmp_path, live, move, unit):
    """1,000 lots bought at ASK and 300 more wanted elsewhere, exact to the last unit of equity."""
    rig = rig_of(tmp_path)
    rig.enter()
    rig.quote(6 * MS, bid=BID + move, ask=ASK + move)
    if not live:
        rig.whole(6 * MS + 1, whole=False)
    rig.run()
    rig.requests()
    price = MID2 + 2 * move if live or move > 0 else 2 * ASK
    profit = int(rig.position["unrealised_e8"])
    rig.agent.memory.account["equity_e8"] = (
        -(-(1_000 * price + 300 * MID2) * 10 * 10_000 // 40) + unit + (0 if live else max(0, profit))
    )
    rig.limits["gross_bps"] = 20
    rig.agent.memory.account["high_water_e8"] = rig.agent.memory.account["day_start_e8"] = 0
    rig.intent(7 * MS, shard=1, instrument=1, qty_lots=300)
    answer(rig, RISK_GROSS if unit < 0 else OK)


def test_an_exit_passes_whatever_the_account_holds(tmp_path):
    rig = rig_of(tmp_path, gross_bps=1, net_bps=1, venue_bps=1, capital_e8=10**8, streak_losses=1)
    rig.intent(5)
    rig.run()
    assert rig.rejects == {RISK_POSITION: 1}
    rig.limits["gross_bps"] = rig.limits["net_bps"] = rig.limits["venue_bps"] = 10_000
    rig.limits["capital_e8"] = 2**61
    rig.enter(at=6)
    rig.limits["gross_bps"] = rig.limits["net_bps"] = rig.limits["venue_bps"] = 1
    rig.limits["capital_e8"] = 10**8
    rig.intent(9 * MS, **LEAVE, qty_lots=LOTS)
    rig.run()
    assert [request["leg"] for request in rig.requests()] == [LEG_EXIT]


# --- losses in a row -------------------------------------------------------------------------------------------------


def round_trip(rig, at, price, fee=0, shard=0):
    """In at ASK, out at `price`."""
    entry, _ = rig.enter(at=at, shard=shard, instrument=shard)
    rig.intent(at + 3 * MS, shard=shard, instrument=shard, **LEAVE, qty_lots=entry["qty_lots"])
    rig.run()
    leave = rig.requests()[-1]
    rig.ack(at + 5 * MS, leave)
    rig.fill(at + 5 * MS, leave, price=price, fee=fee)
    rig.run()
    rig.requests()


def test_so_many_losses_in_a_row_make_a_pause_that_ends(tmp_path):
    rig = rig_of(tmp_path, streak_losses=3, streak_pause_ns=SECOND)
    for place, price in enumerate((ASK - 1, ASK - 1, ASK + 1, ASK - 1, ASK - 1)):  # the profit begins anew
        round_trip(rig, 1 + 10 * place * MS, price, shard=place % 3)
    assert rig.rejects == {}
    round_trip(rig, 61 * MS, ASK - 1)
    ended = 61 * MS + 5 * MS
    assert rig.wires.gauges[3, GAUGE_EXEC_STREAK] == 1
    rig.intent(ended + SECOND - 1, shard=1, instrument=1)  # on every shard
    rig.run()
    assert rig.rejects == {RISK_STREAK: 1} and not rig.requests()
    rig.quote(ended + SECOND, instrument=1)
    rig.intent(ended + SECOND, shard=1, instrument=1)
    rig.run()
    assert len(rig.requests()) == 1


def leave(rig, at, lots, price, parts=1):
    """A part of the position, by one order that fills in so many parts."""
    rig.intent(at, **LEAVE, qty_lots=lots)
    rig.run()
    order = rig.requests()[-1]
    for part in range(parts):
        rig.fill(at + 2 * MS + part, order, qty=lots // parts, price=price)
    rig.run()
    return rig.requests()


def test_who_keeps_one_lot_back_is_counted_all_the_same(tmp_path):
    """Three orders lose, in two parts each, and the position never ends: three losses, no more."""
    rig = rig_of(tmp_path, streak_losses=4)
    rig.enter()
    for number in range(3):
        leave(rig, (10 + 10 * number) * MS, 300, ASK - 1, parts=2)
    assert rig.position["lots"] == 100
    assert rig.agent.memory.account["streak"] == 3
    rig.limits["streak_losses"] = 1
    leave(rig, 50 * MS, 99, ASK - 1)
    rig.intent(60 * MS, shard=1, instrument=1)
    answer(rig, RISK_STREAK)


def test_a_profit_does_not_begin_the_row_anew_before_the_position_ends(tmp_path):
    rig = rig_of(tmp_path, streak_losses=100)
    rig.enter()
    leave(rig, 10 * MS, 100, ASK - 100)
    leave(rig, 20 * MS, 100, ASK + 1)
    assert rig.agent.memory.account["streak"] == 1
    leave(rig, 30 * MS, 799, ASK + 100)
    assert rig.agent.memory.account["streak"] == 1
    leave(rig, 40 * MS, 1, ASK - 1)  # it ends with a profit, though its last order has lost
    assert rig.agent.memory.account["streak"] == 0


def test_a_position_counts_no_second_loss_at_its_end(tmp_path):
    rig = rig_of(tmp_path, streak_losses=100)
    rig.enter()
    leave(rig, 10 * MS, 500, ASK - 100)
    leave(rig, 20 * MS, 500, ASK + 1)
    assert rig.position["lots"] == 0 and rig.agent.memory.account["streak"] == 1


@pytest.mark.parametrize(("fee", "stops"), [(999, False), (1_000, False), (1_001, True)])
def test_a_loss_is_what_fees_and_funding_make_of_it(tmp_path, fee, stops):
    """A profit of 1,000 units before the fee: nothing lost at 1,000, a loss at 1,001."""
    rig = rig_of(tmp_path, streak_losses=1)
    rig.instruments["value_e8"] = 1
    rig.instruments["min_notional_e8"] = 0
    round_trip(rig, 1, ASK + 1, fee=fee)
    rig.intent(20 * MS)
    answer(rig, RISK_STREAK if stops else OK)


def test_funding_belongs_to_the_position_it_was_paid_for(tmp_path):
    rig = rig_of(tmp_path, streak_losses=1)
    entry, _ = rig.enter()
    rig.event(4 * MS, REPORT_FUNDING, entry, cash_e8=-1)
    rig.intent(5 * MS, **LEAVE, qty_lots=LOTS)
    rig.run()
    leave = rig.requests()[-1]
    rig.fill(7 * MS, leave, price=ASK)
    rig.run()
    rig.requests()
    rig.intent(20 * MS)
    answer(rig, RISK_STREAK)


def test_a_turn_ends_the_position_it_turns(tmp_path):
    """A thousand bought, two thousand sold a tick lower: the loss counts before the short is closed."""
    rig = rig_of(tmp_path, streak_losses=1)
    rig.enter()
    rig.intent(6 * MS, qty_lots=2_000, **SHORT)
    rig.run()
    rig.fill(8 * MS, rig.requests()[-1], price=ASK - 1)
    rig.run()
    rig.requests()
    assert rig.position["lots"] == -1_000 and rig.position["trip_e8"] == 0
    rig.intent(20 * MS, shard=1, instrument=1)
    answer(rig, RISK_STREAK)


@pytest.mark.parametrize("records", range(4))
def test_the_losses_in_a_row_survive_a_death(tmp_path, records):
    """Killed between any two of the last fill's records: what the journal holds is counted once, and goes on."""
    rig = rig_of(tmp_path, streak_losses=2, streak_pause_ns=SECOND)
    round_trip(rig, 1, ASK - 1)
    round_trip(rig, 11 * MS, ASK - 1)
    before = rig.agent.memory.account[0][["streak", "streak_until_ns", "equity_e8", "high_water_e8", "day_start_e8"]]
    expected = before.item()
    count = rig.agent.journal.count
    rig.build()
    assert rig.agent.memory.account[0][list(before.dtype.names)].item() == expected
    rig.agent.journal.header[COMMIT_WORD] = commit_word(count - records)
    rig.build()
    streak, until = rig.agent.memory.account[0][["streak", "streak_until_ns"]].item()
    assert (streak, until > 0) in ((0, True), (1, False))


@pytest.mark.parametrize("fall", [130_000, None], ids=["a price", "no price"])
def test_an_open_loss_survives_a_death(tmp_path, fall):
    """Equity is what it was at the last sample, though the losing book says nothing afterwards."""
    rig = rig_of(tmp_path)

    def known():
        memory = rig.agent.memory
        account = memory.account[0][["equity_e8", "high_water_e8", "day_start_e8"]].item()
        return account, memory.positions[0][["bid_ticks", "ask_ticks", "unrealised_e8"]].item()

    rig.enter()
    rig.quote(SECOND, BID - 130_000, ASK - 130_000)
    rig.run()
    if fall is None:
        rig.quote(SECOND + MS, 0, 0)
    rig.quote(2 * SECOND, instrument=1)
    rig.run()
    (equity, _, day_start), (_, _, unrealised) = expected = known()
    assert unrealised < 0 and equity < day_start
    rig.build()
    assert known() == expected


# --- the capital at stake --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "code"), [(-1, RISK_POSITION), (0, OK), (1, OK)])
def test_equity_counts_as_no_more_than_the_capital_at_stake(tmp_path, unit, code):
    """2 % of the capital is just 1,000 lots at the mid; the account has a hundred times as much."""
    rig = rig_of(tmp_path, capital_e8=equity_for(200, LOTS) + unit)
    rig.intent(5, qty_lots=LOTS)
    answer(rig, code)


def test_losses_are_measured_by_the_capital_at_stake(tmp_path):
    """100 at stake of 100,000: a loss of 3 ends the day."""
    for loss, code in ((3 * 10**8 - 1, OK), (3 * 10**8, RISK_DAILY_LOSS)):
        rig = rig_of(tmp_path / str(loss), capital_e8=100 * 10**8)
        filler = {"instrument": 0, "id_hi": 1, "id_lo": 1, "order_row": -1, "side": 1}
        rig.event(2, REPORT_FUNDING, filler, cash_e8=-loss)
        rig.intent(5, qty_lots=3)
        rig.instruments["min_notional_e8"] = 0
        answer(rig, code)


# --- correlation -----------------------------------------------------------------------------------------------------


def related(folder, seconds=ENOUGH + 1, limit=7_000):
    """Two instruments that move alike and a third that goes the other way, known for so many seconds."""
    rig = rig_of(folder, correlation_bps=limit)
    for second in range(1, seconds + 1):
        move = (second * 7_919) % 201 - 100
        for instrument, sign in enumerate((1, 1, -1)):
            rig.quote(second * SECOND - MS, bid=BID + sign * move, ask=ASK + sign * move, instrument=instrument)
        rig.whole(second * SECOND)
        rig.run()
    rig.now = seconds * SECOND + MS
    for instrument in range(3):
        rig.quote(rig.now, instrument=instrument)
    rig.run()
    return rig


CORRELATED = {  # what holds already, what is wanted: instrument and side
    "the same again": ((0, {}), (1, {}), RISK_CORRELATION),
    "the opposite side of the same": ((0, {}), (1, SHORT), OK),
    "the same side of the opposite": ((0, {}), (2, {}), OK),
    "the opposite side of the opposite": ((0, {}), (2, SHORT), RISK_CORRELATION),
    "short and short again": ((1, SHORT), (0, SHORT), RISK_CORRELATION),
    "more of itself": ((0, {}), (0, {}), OK),
}


@pytest.mark.parametrize("case", CORRELATED)
@pytest.mark.parametrize("filled", [True, False], ids=["held", "pending"])
def test_no_new_position_moves_like_an_open_one(tmp_path, case, filled):
    (held, fields), (wanted, other), code = CORRELATED[case]
    rig = related(tmp_path)
    rig.intent(rig.now + 1, shard=held, instrument=held, **fields)
    rig.run()
    (entry,) = rig.requests()
    if filled:
        rig.fill(rig.now + 2 * MS, entry, price=ASK)
        rig.run()
        rig.requests()
    rig.intent(rig.now + 3 * MS, shard=wanted, instrument=wanted, **other)
    answer(rig, code)


class Seeded(Rig):
    """Execution is told of two hundred seconds before: the first two instruments moved alike."""

    def build(self):
        """As always, with a history."""
        moves = np.array([((second * 7_919) % 201 - 100) * np.array([1, 1, -1]) for second in range(200)])
        tables = self.instruments, self.limits, self.session
        self.agent = ExecutionAgent(
            self.wires, *tables, self.path, self.capacity, self.rows, history=MID2 + 2.0 * moves
        )
        return self.agent


@pytest.mark.parametrize(("fields", "code"), [({}, RISK_CORRELATION), (SHORT, OK)], ids=["the same side", "the other"])
def test_what_was_recorded_before_is_known_from_the_first_second_on(tmp_path, fields, code):
    rig = Seeded(tmp_path, 3, 3, 20_000, {"correlation_bps": 7_000})
    assert not rig.agent.memory.known.before.any(), "from there to now is no move"
    rig.open_market()
    rig.enter(at=1)
    rig.intent(5 * MS, shard=1, instrument=1, **fields)
    answer(rig, code)
    before = rig.agent.memory.known
    rig.build()
    for name, after in zip(before._fields, rig.agent.memory.known, strict=True):
        assert np.array_equal(getattr(before, name), after, equal_nan=True), name


def test_it_is_learned_however_full_the_journal_is(tmp_path):
    """As soon as no second finds room any more, what moves alike comes apart, and that is seen."""
    rig = related(tmp_path)
    # as many records as leave room for orders alone
    rig.agent.journal.header[COMMIT_WORD] = commit_word(20_000 - 16_384)
    count = rig.agent.journal.count
    for second in range(ENOUGH + 2, ENOUGH + 200):
        for instrument in range(3):
            move = (second * (7_919, 104_729, 1_299_709)[instrument]) % 20_001 - 10_000
            rig.quote(second * SECOND - MS, bid=BID + move, ask=ASK + move, instrument=instrument)
        rig.whole(second * SECOND)
        rig.run()
    assert rig.agent.journal.count == count
    known = rig.agent.memory.known
    assert known.covariance[0, 1] ** 2 < 0.1 * known.variance[0, 1] * known.variance[1, 0]


def test_what_is_not_known_counts_as_the_same_thing(tmp_path):
    """One second less than enough; the opposite side is no better then."""
    for seconds, code in ((ENOUGH, RISK_CORRELATION), (ENOUGH + 1, OK)):
        rig = related(tmp_path / str(seconds), seconds)
        rig.enter(at=rig.now + 1)
        rig.intent(rig.now + 5 * MS, shard=1, instrument=1, **SHORT)
        answer(rig, code)


@pytest.mark.parametrize(("unit", "code"), [(-1, RISK_CORRELATION), (0, OK), (1, OK)])
def test_the_limit_of_correlation_is_exact(tmp_path, unit, code):
    rig = related(tmp_path)
    known = rig.agent.memory.known
    known.covariance[1, 0], known.variance[1, 0], known.variance[0, 1] = 0.75, 1.0, 1.0
    rig.limits["correlation_bps"] = 7_500 + unit
    rig.enter(at=rig.now + 1)
    rig.intent(rig.now + 5 * MS, shard=1, instrument=1)
    answer(rig, code)


# --- value at risk ---------------------------------------------------------------------------------------------------

TAILS = {"var_bps": (RISK_VALUE_AT_RISK, 0), "shortfall_bps": (RISK_SHORTFALL, 1)}


def at_risk(rig, index, side, qty):
    """Twice what the account could lose with an order more, and on average in the worst cases, by the slow twin."""
    window = [[None if move != move else move for move in row] for row in rig.agent.memory.known.window.T.tolist()]
    rows = [
        {"lots": int(of["lots"]), "cost": int(of["cost_tl"]), "buys": int(view["pending_buy_lots"]),
         "sells": int(view["pending_sell_lots"]), "twice_mid": MID2, "live": True, "value_e8": 10}
        for of, view in zip(rig.agent.memory.positions, rig.agent.memory.views, strict=True)
    ]  # fmt: skip
    table = dict(zip(rig.limits.dtype.names, rig.limits[0].item(), strict=True))
    return could_lose(window, rows, index, side, qty, table)


@pytest.mark.parametrize("unit", [-1, 0, 1])
@pytest.mark.parametrize("name", TAILS)
@pytest.mark.parametrize("seconds", [ENOUGH, ENOUGH + 1], ids=["unknown", "known"])
def test_the_value_at_risk_is_exact_to_the_last_unit_of_equity(tmp_path, seconds, name, unit):
    """1,000 lots are held, 500 wait at another instrument, 300 are wanted at a third."""
    code, place = TAILS[name]
    rig = related(tmp_path, seconds, 10_000)
    rig.limits["var_horizon_s"] = 3_600
    rig.enter(at=rig.now + 1)
    rig.intent(rig.now + 5 * MS, shard=1, instrument=1, qty_lots=500, tif=TIF_GTC, price_ticks=BID)
    rig.run()
    rig.requests()
    worst = at_risk(rig, 2, -1, 300)
    whole = 1_800 * MID2 * 10
    assert worst == [whole, whole] if seconds == ENOUGH else 0 < worst[0] < worst[1] < whole // 10
    rig.limits[name] = 20
    rig.agent.memory.account["equity_e8"] = -(-worst[place] * 10_000 // 40) + unit
    for other in ("position_bps", "gross_bps", "net_bps", "venue_bps", "strategy_bps"):
        rig.limits[other] = 1_000_000  # no other limit is in the way
    rig.agent.memory.account["high_water_e8"] = rig.agent.memory.account["day_start_e8"] = 0
    rig.intent(rig.now + 7 * MS, shard=2, instrument=2, qty_lots=300, **SHORT)
    answer(rig, code if unit < 0 else OK)


def test_no_hedge_is_taken_for_granted(tmp_path):
    """Long and short of the same thing lose nothing together; one of them may be gone before the other."""
    rig = related(tmp_path, limit=10_000)
    rig.enter(at=rig.now + 1)
    alone = at_risk(rig, 0, 1, 0)
    rig.limits["var_bps"] = 1
    rig.agent.memory.account["equity_e8"] = alone[0] * 5_000 - 1
    for other in ("position_bps", "gross_bps", "net_bps", "venue_bps", "strategy_bps"):
        rig.limits[other] = 1_000_000
    rig.agent.memory.account["high_water_e8"] = rig.agent.memory.account["day_start_e8"] = 0
    rig.intent(rig.now + 5 * MS, shard=1, instrument=1, qty_lots=1_000, **SHORT)
    answer(rig, RISK_VALUE_AT_RISK)


def test_what_lowers_the_risk_goes_out_whatever_the_account_could_lose(tmp_path):
    rig = rig_of(tmp_path)
    rig.enter()
    rig.limits["var_bps"] = rig.limits["shortfall_bps"] = 1
    rig.intent(6 * MS, shard=1, instrument=1, qty_lots=10)
    answer(rig, RISK_VALUE_AT_RISK)
    rig.intent(7 * MS, **LEAVE, qty_lots=LOTS)
    rig.run()
    assert [request["leg"] for request in rig.requests()] == [LEG_EXIT]


def test_seconds_of_a_stale_book_teach_nothing(tmp_path):
    rig = rig_of(tmp_path, correlation_bps=7_000)
    for second in range(1, ENOUGH + 3):
        rig.whole(second * SECOND - MS, whole=second % 2 == 0, instrument=1)
        for instrument in range(3):
            rig.quote(second * SECOND - MS, bid=BID + second % 7, ask=ASK + second % 7, instrument=instrument)
        rig.whole(second * SECOND)
        rig.run()
    assert rig.agent.memory.known.shared[0, 2] > ENOUGH > rig.agent.memory.known.shared[0, 1] == 0


def test_a_restart_knows_what_was_known(tmp_path):
    rig = related(tmp_path)
    before = rig.agent.memory.known
    rig.build()
    for name, after in zip(before._fields, rig.agent.memory.known, strict=True):
        assert np.array_equal(getattr(before, name), after, equal_nan=True), name
