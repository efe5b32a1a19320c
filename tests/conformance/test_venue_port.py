"""One suite for every venue: each verb, each outcome, each refusal. The simulated venue is held to it first, then the
gateway to a real one, with an exchange behind sockets.

An adapter joins by a bench in `BENCHES`: its port as `venue`, and the market in the test's hand (`snapshot`, `level`,
`quote`, `trade`, `stale`, `mark`, `silent`). Instrument 0 is a linear contract, instrument 1 a spot pair. What a bench
cannot do stands in its `CANNOT`, and tests that need it say so by `needs`.
"""

from itertools import count, pairwise

import pytest
from rig.gateway_venue import CcxtBench, GatewayBench
from rig.sim_venue import LINEAR, SPOT, SimBench

from bot4.model.enums import (
    ORDER_POST_ONLY,
    ORDER_REDUCE_ONLY,
    REPORT_ACK,
    REPORT_CANCELED,
    REPORT_EXPIRED,
    REPORT_FILL,
    REPORT_FUNDING,
    REPORT_REJECT,
    REPORT_REPLACED,
    REPORT_TRIGGERED,
    SIDE_BUY,
    SIDE_SELL,
    TIF_GTC,
    TIF_IOC,
    TYPE_LIMIT,
    TYPE_MARKET,
    TYPE_STOP_MARKET,
    VENUE_BAD_REQUEST,
    VENUE_BALANCE,
    VENUE_DUPLICATE_ID,
    VENUE_FILTER,
    VENUE_NO_MARKET,
    VENUE_POST_ONLY,
    VENUE_REDUCE_ONLY,
    VENUE_STOP_WOULD_TRIGGER,
    VENUE_TOO_MANY_ORDERS,
    VENUE_UNKNOWN_ORDER,
)
from bot4.ports.venue import ClientId, Done, NewOrder, PositionState, Refused, Unknown, Venue

BENCHES = {"gateway": GatewayBench, "ccxt": CcxtBench, "sim": SimBench}
BOTH = [*(pytest.param(name, marks=pytest.mark.compiled) for name in ("gateway", "ccxt")), "sim"]
BIDS = {60_000: 500, 59_990: 700, 59_980: 900}
ASKS = {60_010: 400, 60_020: 600, 60_030: 800}


def needs(what):
    """What the market or the venue has to be able to do."""
    return pytest.mark.needs(what)


@pytest.fixture(scope="module", autouse=True)
def exchange_ends():
    """The exchange behind the gateway ends with the suite, and its money adds up."""
    yield
    GatewayBench.stop()
    CcxtBench.stop()


@pytest.fixture(params=BOTH)
def bench(request, tmp_path):
    """A venue with both books whole and a funded account."""
    for marker in request.node.iter_markers("needs"):
        if marker.args[0] in BENCHES[request.param].CANNOT:
            pytest.skip(f"{request.param}: no {marker.args[0]}")
    made = BENCHES[request.param](tmp_path / "ledger.jsonl")
    for instrument in (LINEAR, SPOT):
        made.snapshot(instrument, BIDS, ASKS)
    made.ids = count(1)
    yield made
    made.close()


def new(bench, side, order_type, qty, tif=TIF_GTC, instrument=LINEAR, **more) -> NewOrder:
    """An order with a fresh id."""
    return NewOrder(ClientId(7 << 48, next(bench.ids) << 32), instrument, side, order_type, qty, tif, **more)


def market(bench, side, qty, **more):
    return bench.venue.place(new(bench, side, TYPE_MARKET, qty, TIF_IOC, **more))


def limit(bench, side, qty, price, **more):
    return bench.venue.place(new(bench, side, TYPE_LIMIT, qty, price_ticks=price, **more))


def stop(bench, side, qty, trigger, **more):
    return bench.venue.place(new(bench, side, TYPE_STOP_MARKET, qty, stop_ticks=trigger, **more))


def done(outcome):
    assert isinstance(outcome, Done), outcome
    return outcome.value


def code(outcome) -> int:
    assert isinstance(outcome, Refused), outcome
    return outcome.code


def lots(bench, instrument=LINEAR) -> int:
    return done(bench.venue.positions())[instrument].lots


def kinds(bench) -> list[int]:
    return [int(event[0]["kind"]) for event in bench.venue.events()]


def test_the_port_has_every_verb_of_the_protocol(bench):
    verbs = [name for name in vars(Venue) if not name.startswith("_")]
    assert verbs == [
        "place", "cancel", "amend", "cancel_all", "order", "open_orders", "trades_since", "positions", "balances",
        "server_time", "instruments", "events",
    ]  # fmt: skip
    assert all(callable(getattr(bench.venue, verb)) for verb in verbs)


# --- place ---------------------------------------------------------------------------------------------------------


def test_market_order_walks_the_book_and_pays_for_each_level(bench):
    state = done(market(bench, SIDE_BUY, 500))
    assert (state.status, state.cum_lots, state.leaves_lots) == (REPORT_FILL, 500, 0)
    trades = done(bench.venue.trades_since(0))
    assert [(trade.price_ticks, trade.qty_lots) for trade in trades] == [(60_010, 400), (60_020, 100)]
    assert [trade.fee_e8 for trade in trades] == [60_010 * 400 * 10_000 // 2_000, 60_020 * 100 * 10_000 // 2_000]
    assert done(bench.venue.positions())[LINEAR] == PositionState(LINEAR, 500, 60_010 * 400 + 60_020 * 100)


def test_what_a_market_order_finds_no_book_for_expires(bench):
    state = done(market(bench, SIDE_SELL, 3_000))
    assert (state.status, state.cum_lots, state.leaves_lots) == (REPORT_EXPIRED, 2_100, 0)
    assert lots(bench) == -2_100


def test_limit_ioc_takes_up_to_its_price_and_the_rest_expires(bench):
    state = done(limit(bench, SIDE_BUY, 1_500, 60_020, tif=TIF_IOC))
    assert (state.status, state.cum_lots) == (REPORT_EXPIRED, 1_000)
    assert done(bench.venue.open_orders()) == []


def test_limit_gtc_rests_and_a_trade_through_it_fills_it_as_maker(bench):
    state = done(limit(bench, SIDE_BUY, 50, 60_005))
    assert (state.status, state.leaves_lots) == (REPORT_ACK, 50)
    bench.trade(LINEAR, 60_004, 80, SIDE_SELL)
    assert done(bench.venue.order(LINEAR, state.id)).status == REPORT_FILL
    (trade,) = done(bench.venue.trades_since(0))
    assert (trade.price_ticks, trade.fee_e8) == (60_005, 60_005 * 50 * 10_000 // 5_000)


@needs("recording")
def test_market_without_a_whole_book_is_refused_but_a_stop_may_rest(bench):
    market(bench, SIDE_BUY, 100)
    bench.stale(LINEAR)
    assert code(market(bench, SIDE_BUY, 100)) == VENUE_NO_MARKET
    assert code(limit(bench, SIDE_BUY, 100, 60_000)) == VENUE_NO_MARKET
    assert done(stop(bench, SIDE_SELL, 100, 59_000, flags=ORDER_REDUCE_ONLY)).status == REPORT_ACK


@needs("recording")
def test_market_without_the_other_side_is_refused(bench):
    bench.snapshot(LINEAR, BIDS, {})
    assert code(market(bench, SIDE_BUY, 100)) == VENUE_NO_MARKET


def test_post_only_that_would_take_is_refused(bench):
    assert code(limit(bench, SIDE_BUY, 100, 60_010, flags=ORDER_POST_ONLY)) == VENUE_POST_ONLY
    assert code(limit(bench, SIDE_SELL, 100, 60_000, flags=ORDER_POST_ONLY)) == VENUE_POST_ONLY
    assert done(limit(bench, SIDE_BUY, 100, 60_009, flags=ORDER_POST_ONLY)).status == REPORT_ACK


def test_reduce_only_without_a_position_to_reduce_is_refused(bench):
    assert code(market(bench, SIDE_SELL, 100, flags=ORDER_REDUCE_ONLY)) == VENUE_REDUCE_ONLY
    market(bench, SIDE_BUY, 100)
    assert code(market(bench, SIDE_BUY, 100, flags=ORDER_REDUCE_ONLY)) == VENUE_REDUCE_ONLY


def test_reduce_only_never_turns_the_position(bench):
    market(bench, SIDE_BUY, 100)
    state = done(market(bench, SIDE_SELL, 250, flags=ORDER_REDUCE_ONLY))
    assert (state.status, state.cum_lots, state.code) == (REPORT_EXPIRED, 100, VENUE_REDUCE_ONLY)
    assert lots(bench) == 0


@needs("shrinking")
def test_resting_reduce_only_orders_shrink_with_the_position_and_end_with_it(bench):
    market(bench, SIDE_BUY, 300)
    protective = done(stop(bench, SIDE_SELL, 300, 59_000, flags=ORDER_REDUCE_ONLY))
    kinds(bench)
    market(bench, SIDE_SELL, 100)
    assert kinds(bench) == [REPORT_ACK, REPORT_FILL, REPORT_REPLACED]
    assert done(bench.venue.order(LINEAR, protective.id)).leaves_lots == 200
    market(bench, SIDE_SELL, 200)
    assert kinds(bench) == [REPORT_ACK, REPORT_FILL, REPORT_EXPIRED]
    assert done(bench.venue.order(LINEAR, protective.id)).status == REPORT_EXPIRED
    assert done(bench.venue.open_orders()) == []


def test_stop_triggers_on_a_trade_at_its_price_and_sells_at_the_market(bench):
    market(bench, SIDE_BUY, 100)
    protective = done(stop(bench, SIDE_SELL, 100, 59_995, flags=ORDER_REDUCE_ONLY))
    bench.trade(LINEAR, 59_996, 10, SIDE_SELL)
    assert done(bench.venue.order(LINEAR, protective.id)).status == REPORT_ACK
    kinds(bench)
    bench.trade(LINEAR, 59_995, 10, SIDE_SELL)
    assert kinds(bench) == [REPORT_TRIGGERED, REPORT_FILL]
    assert done(bench.venue.order(LINEAR, protective.id)).status == REPORT_FILL
    assert lots(bench) == 0 and done(bench.venue.trades_since(0))[-1].price_ticks in BIDS


def test_buy_stop_triggers_upwards(bench):
    market(bench, SIDE_SELL, 100)
    done(stop(bench, SIDE_BUY, 100, 60_020, flags=ORDER_REDUCE_ONLY))
    bench.trade(LINEAR, 60_019, 10, SIDE_BUY)
    assert lots(bench) == -100
    bench.trade(LINEAR, 60_021, 10, SIDE_BUY)
    assert lots(bench) == 0


@needs("recording")
def test_stop_that_would_go_off_at_once_is_refused(bench):
    market(bench, SIDE_BUY, 100)
    assert code(stop(bench, SIDE_SELL, 100, 60_000)) == VENUE_STOP_WOULD_TRIGGER  # no trade yet: by the best bid
    bench.trade(LINEAR, 59_900, 10, SIDE_SELL)
    assert code(stop(bench, SIDE_SELL, 100, 59_900)) == VENUE_STOP_WOULD_TRIGGER
    assert done(stop(bench, SIDE_SELL, 100, 59_899)).status == REPORT_ACK
    assert code(stop(bench, SIDE_BUY, 100, 59_900)) == VENUE_STOP_WOULD_TRIGGER


@needs("recording")
def test_stop_triggered_without_a_whole_book_waits_for_one(bench):
    market(bench, SIDE_BUY, 100)
    done(stop(bench, SIDE_SELL, 100, 59_900, flags=ORDER_REDUCE_ONLY))
    bench.stale(LINEAR)
    kinds(bench)
    bench.trade(LINEAR, 59_900, 10, SIDE_SELL)
    assert kinds(bench) == [REPORT_TRIGGERED]
    bench.snapshot(LINEAR, {59_890: 1_000}, {59_910: 1_000})
    assert kinds(bench) == [REPORT_FILL]
    assert (lots(bench), done(bench.venue.trades_since(0))[-1].price_ticks) == (0, 59_890)


def test_filters(bench):
    assert code(market(bench, SIDE_BUY, 1)) == VENUE_FILTER  # below the least quantity
    assert code(market(bench, SIDE_BUY, 1_000_001)) == VENUE_FILTER
    assert code(limit(bench, SIDE_BUY, 2, 20_000)) == VENUE_FILTER  # below the least value
    assert done(limit(bench, SIDE_BUY, 2, 25_000)).status == REPORT_ACK
    assert code(limit(bench, SIDE_BUY, 1_000_000, 2**40)) == VENUE_FILTER  # a value beyond every account
    market(bench, SIDE_BUY, 100)
    assert done(limit(bench, SIDE_SELL, 2, 20_000, tif=TIF_IOC, flags=ORDER_REDUCE_ONLY)).status == REPORT_FILL


@needs("spot")
def test_spot_sells_no_more_than_it_holds_and_buys_no_more_than_it_can_pay(bench):
    assert code(market(bench, SIDE_SELL, 100, instrument=SPOT)) == VENUE_BALANCE
    market(bench, SIDE_BUY, 100, instrument=SPOT)
    assert code(market(bench, SIDE_SELL, 101, instrument=SPOT)) == VENUE_BALANCE
    assert code(limit(bench, SIDE_BUY, 1_000_000, 1_000_000, instrument=SPOT)) == VENUE_BALANCE
    done(stop(bench, SIDE_SELL, 100, 59_000, instrument=SPOT, flags=ORDER_REDUCE_ONLY))  # holds nothing back
    assert done(market(bench, SIDE_SELL, 100, instrument=SPOT)).status == REPORT_FILL
    assert lots(bench, SPOT) == 0
    assert done(bench.venue.open_orders()) == []


def test_resting_spot_buys_hold_the_cash_they_need(tmp_path):
    bench = SimBench(tmp_path / "ledger.jsonl", start_balance_e8=10**9)
    bench.ids = count(1)
    bench.snapshot(SPOT, BIDS, ASKS)
    held = done(limit(bench, SIDE_BUY, 1_000, 59_000, instrument=SPOT))
    assert code(bench.venue.amend(SPOT, held.id, 2_000)) == VENUE_BALANCE
    assert done(bench.venue.amend(SPOT, held.id, 1_001)).qty_lots == 1_001
    assert code(limit(bench, SIDE_BUY, 1_000, 59_000, instrument=SPOT)) == VENUE_BALANCE
    assert code(market(bench, SIDE_BUY, 1_000, instrument=SPOT)) == VENUE_BALANCE
    done(bench.venue.cancel(SPOT, held.id))
    assert done(limit(bench, SIDE_BUY, 1_000, 59_000, instrument=SPOT)).status == REPORT_ACK
    bench.close()


def test_malformed_requests_are_refused(bench):
    identity = ClientId(9, 9)
    good = {
        "id": identity, "instrument": LINEAR, "side": SIDE_BUY, "type": TYPE_LIMIT, "qty_lots": 100, "tif": TIF_GTC,
        "price_ticks": 60_000,
    }  # fmt: skip
    bad = (
        {"instrument": 2}, {"side": 0}, {"side": 2}, {"type": 0}, {"type": 4}, {"tif": 0}, {"tif": 3}, {"qty_lots": 0},
        {"qty_lots": -5}, {"price_ticks": 0}, {"price_ticks": -1}, {"flags": 4}, {"id": ClientId(0, 0)},
        {"type": TYPE_STOP_MARKET, "stop_ticks": 0}, {"type": TYPE_STOP_MARKET, "stop_ticks": 50_000, "tif": TIF_IOC},
        {"flags": ORDER_POST_ONLY, "tif": TIF_IOC}, {"flags": ORDER_POST_ONLY, "type": TYPE_MARKET},
    )  # fmt: skip
    for number, fields in enumerate(bad):
        order = NewOrder(**{**good, "id": ClientId(8, number + 1), **fields})
        assert code(bench.venue.place(order)) == VENUE_BAD_REQUEST, fields


def test_a_client_id_serves_once_for_ever(bench):
    order = new(bench, SIDE_BUY, TYPE_MARKET, 100, TIF_IOC)
    done(bench.venue.place(order))
    assert code(bench.venue.place(order)) == VENUE_DUPLICATE_ID
    refused = new(bench, SIDE_SELL, TYPE_LIMIT, 1, price_ticks=60_000)
    assert code(bench.venue.place(refused)) == VENUE_FILTER
    assert code(bench.venue.place(refused)) == VENUE_DUPLICATE_ID
    assert done(bench.venue.order(LINEAR, order.id)).cum_lots == 100
    assert lots(bench) == 100


def test_the_limit_of_open_orders(bench):
    for _ in range(bench.most_open):
        done(limit(bench, SIDE_BUY, 2, 50_000))
    assert code(limit(bench, SIDE_BUY, 2, 50_000)) == VENUE_TOO_MANY_ORDERS
    (*_, last) = done(bench.venue.open_orders())
    done(bench.venue.cancel(LINEAR, last.id))
    assert done(limit(bench, SIDE_BUY, 2, 50_000)).status == REPORT_ACK


# --- what rests ----------------------------------------------------------------------------------------------------


def test_queue_ahead_is_used_up_by_trades_at_the_price(bench):
    state = done(limit(bench, SIDE_BUY, 100, 60_000))  # behind 500
    bench.trade(LINEAR, 60_000, 450, SIDE_SELL)
    bench.trade(LINEAR, 60_000, 300, SIDE_BUY)  # the buyer took: not our side of the book
    assert done(bench.venue.order(LINEAR, state.id)).cum_lots == 0
    bench.trade(LINEAR, 60_000, 90, SIDE_SELL)  # 50 to the queue, 40 to us
    assert done(bench.venue.order(LINEAR, state.id)).cum_lots == 40
    bench.trade(LINEAR, 60_000, 90, SIDE_SELL)
    assert done(bench.venue.order(LINEAR, state.id)).status == REPORT_FILL


def test_one_trade_is_shared_out_once(bench):
    first = done(limit(bench, SIDE_SELL, 60, 60_005))
    second = done(limit(bench, SIDE_SELL, 60, 60_004))
    bench.trade(LINEAR, 60_006, 100, SIDE_BUY)
    assert done(bench.venue.order(LINEAR, second.id)).cum_lots == 60  # the better price goes first
    assert done(bench.venue.order(LINEAR, first.id)).cum_lots == 40


@needs("recording")
def test_a_resting_order_is_filled_when_the_other_side_comes_to_it(bench):
    state = done(limit(bench, SIDE_BUY, 100, 60_005))
    bench.quote(LINEAR, 59_990, 10, 60_004, 30)
    known = done(bench.venue.order(LINEAR, state.id))
    assert (known.cum_lots, known.status) == (30, REPORT_ACK)
    bench.quote(LINEAR, 59_990, 11, 60_004, 30)  # the same ask: nothing new is offered
    assert done(bench.venue.order(LINEAR, state.id)).cum_lots == 30
    bench.quote(LINEAR, 59_990, 11, 60_004, 200)
    assert done(bench.venue.order(LINEAR, state.id)).status == REPORT_FILL
    assert {trade.price_ticks for trade in done(bench.venue.trades_since(0))} == {60_005}


@needs("recording")
def test_quantity_taken_is_not_offered_again_until_the_level_changes(bench):
    assert done(market(bench, SIDE_BUY, 300)).cum_lots == 300
    assert done(limit(bench, SIDE_BUY, 300, 60_010, tif=TIF_IOC)).cum_lots == 100
    bench.level(LINEAR, -1, 60_020, 5_000)  # another level changes: this one stays taken
    bench.level(LINEAR, -1, 60_010, 400)  # the recording says the same again
    assert done(limit(bench, SIDE_BUY, 300, 60_010, tif=TIF_IOC)).cum_lots == 0
    bench.level(LINEAR, -1, 60_010, 350)
    assert done(limit(bench, SIDE_BUY, 300, 60_010, tif=TIF_IOC)).cum_lots == 300


# --- cancel, amend -------------------------------------------------------------------------------------------------


def test_cancel(bench):
    state = done(limit(bench, SIDE_BUY, 100, 59_000))
    assert done(bench.venue.cancel(LINEAR, state.id)).status == REPORT_CANCELED
    assert code(bench.venue.cancel(LINEAR, state.id)) == VENUE_UNKNOWN_ORDER
    assert code(bench.venue.cancel(LINEAR, ClientId(1, 1))) == VENUE_UNKNOWN_ORDER


def test_amend_changes_quantity_and_trigger(bench):
    market(bench, SIDE_BUY, 300)
    state = done(stop(bench, SIDE_SELL, 100, 59_000, flags=ORDER_REDUCE_ONLY))
    changed = done(bench.venue.amend(LINEAR, state.id, 300, 59_500))
    assert (changed.qty_lots, changed.price_ticks, changed.status) == (300, 59_500, REPORT_ACK)
    assert done(bench.venue.amend(LINEAR, state.id, 200)).price_ticks == 59_500


@needs("shrinking")
def test_an_amend_gives_a_reduce_only_order_what_there_is_to_reduce(bench):
    market(bench, SIDE_BUY, 300)
    state = done(stop(bench, SIDE_SELL, 100, 59_000, flags=ORDER_REDUCE_ONLY))
    assert done(bench.venue.amend(LINEAR, state.id, 900)).qty_lots == 300


def test_amend_counts_what_is_filled(bench):
    state = done(limit(bench, SIDE_BUY, 1_000, 60_010))
    assert state.cum_lots == 400
    changed = done(bench.venue.amend(LINEAR, state.id, 600))
    assert (changed.qty_lots, changed.cum_lots, changed.leaves_lots) == (600, 400, 200)
    assert code(bench.venue.amend(LINEAR, state.id, 400)) == VENUE_FILTER


def test_amend_upwards_goes_to_the_end_of_the_queue_and_downwards_keeps_its_place(bench):
    state = done(limit(bench, SIDE_BUY, 100, 60_000))
    bench.trade(LINEAR, 60_000, 500, SIDE_SELL)  # the queue ahead is gone
    done(bench.venue.amend(LINEAR, state.id, 50))
    bench.trade(LINEAR, 60_000, 10, SIDE_SELL)
    assert done(bench.venue.order(LINEAR, state.id)).cum_lots == 10
    bench.level(LINEAR, 1, 60_000, 500)
    done(bench.venue.amend(LINEAR, state.id, 100))
    bench.trade(LINEAR, 60_000, 500, SIDE_SELL)
    assert done(bench.venue.order(LINEAR, state.id)).cum_lots == 10


def test_amend_refused_leaves_the_order_as_it_was(bench):
    market(bench, SIDE_BUY, 300)
    state = done(stop(bench, SIDE_SELL, 300, 59_000, flags=ORDER_REDUCE_ONLY))
    assert code(bench.venue.amend(LINEAR, ClientId(1, 1), 100)) == VENUE_UNKNOWN_ORDER
    assert code(bench.venue.amend(LINEAR, state.id, 0)) == VENUE_BAD_REQUEST
    assert code(bench.venue.amend(LINEAR, state.id, 1)) == VENUE_FILTER
    assert code(bench.venue.amend(LINEAR, state.id, 300, 60_020)) == VENUE_STOP_WOULD_TRIGGER
    known = done(bench.venue.order(LINEAR, state.id))
    assert (known.qty_lots, known.price_ticks, known.status) == (300, 59_000, REPORT_ACK)
    small = done(limit(bench, SIDE_BUY, 100, 20_000))
    assert code(bench.venue.amend(LINEAR, small.id, 2)) == VENUE_FILTER  # below the least value


def test_cancel_all(bench):
    ids = [done(limit(bench, SIDE_BUY, 100, 59_000 - number)).id for number in range(3)]
    assert sorted(done(bench.venue.cancel_all()), key=str) == ids
    assert done(bench.venue.open_orders()) == done(bench.venue.cancel_all(LINEAR)) == []


@needs("spot")
def test_cancel_all_of_one_instrument_leaves_the_others(bench):
    kept = done(limit(bench, SIDE_BUY, 100, 59_000, instrument=SPOT))
    ids = [done(limit(bench, SIDE_BUY, 100, 59_000 - number)).id for number in range(3)]
    assert done(bench.venue.cancel_all(LINEAR)) == ids
    assert [order.id for order in done(bench.venue.open_orders())] == [kept.id]
    assert done(bench.venue.cancel_all()) == [kept.id]
    assert done(bench.venue.cancel_all()) == []


# --- queries -------------------------------------------------------------------------------------------------------


def test_order_by_client_id_tells_how_it_ended(bench):
    filled = done(market(bench, SIDE_BUY, 100))
    resting = done(limit(bench, SIDE_BUY, 100, 59_000))
    refused = new(bench, SIDE_BUY, TYPE_LIMIT, 1, price_ticks=59_000)
    bench.venue.place(refused)
    known = done(bench.venue.order(LINEAR, filled.id))
    assert (known.status, known.cum_lots, known.venue_order_id) == (REPORT_FILL, 100, filled.venue_order_id)
    assert done(bench.venue.order(LINEAR, resting.id)).status == REPORT_ACK
    known = done(bench.venue.order(LINEAR, refused.id))
    assert (known.status, known.code) == (REPORT_REJECT, VENUE_FILTER)
    assert done(bench.venue.order(LINEAR, ClientId(1, 1))) is None


def test_open_orders_come_in_order_of_arrival(bench):
    ids = [done(limit(bench, SIDE_BUY, 100, 59_000 + number)).id for number in range(5)]
    done(bench.venue.cancel(LINEAR, ids[2]))
    assert [order.id for order in done(bench.venue.open_orders())] == [*ids[:2], *ids[3:]]


def test_trades_since_an_event(bench):
    for side in (SIDE_BUY, SIDE_SELL, SIDE_BUY):
        market(bench, side, 450)
    trades = done(bench.venue.trades_since(0))
    fills = [event[0] for event in bench.venue.events() if event[0]["kind"] == REPORT_FILL]
    assert [trade.event_seq for trade in trades] == [fill["event_seq"] for fill in fills]
    assert [trade.trade_id for trade in trades] == list(range(1, len(trades) + 1))
    for number, trade in enumerate(trades):
        assert done(bench.venue.trades_since(trade.event_seq)) == trades[number + 1 :]


def test_more_trades_than_the_ring_holds_are_answered_whole(bench):
    state = done(limit(bench, SIDE_BUY, 20_000, 60_005))
    for _ in range(bench.many_trades // 100):
        bench.trade(LINEAR, 60_004, 2, SIDE_SELL, times=100)
        assert REPORT_FILL in kinds(bench)
    trades = done(bench.venue.trades_since(0))
    assert len(trades) == bench.many_trades
    assert sum(trade.qty_lots for trade in trades) == done(bench.venue.order(LINEAR, state.id)).cum_lots


def test_balances_of_a_linear_contract_move_by_profit_and_fees_alone(bench):
    market(bench, SIDE_BUY, 400)
    fees = sum(trade.fee_e8 for trade in done(bench.venue.trades_since(0)))
    assert done(bench.venue.balances()) == bench.start_balance_e8 - fees
    market(bench, SIDE_SELL, 400)
    fees = sum(trade.fee_e8 for trade in done(bench.venue.trades_since(0)))
    assert done(bench.venue.balances()) == bench.start_balance_e8 - 400 * 10 * 10_000 - fees


@needs("spot")
def test_balances_of_a_spot_pair_move_by_the_whole_value(bench):
    market(bench, SIDE_BUY, 400, instrument=SPOT)
    (trade,) = done(bench.venue.trades_since(0))
    assert done(bench.venue.balances()) == bench.start_balance_e8 - 60_010 * 400 * 10 - trade.fee_e8
    assert trade.fee_e8 == -(-60_010 * 400 * 10 // 1_000)


@needs("spot")
def test_maker_rebate_is_paid(bench):
    done(limit(bench, SIDE_BUY, 400, 60_005, instrument=SPOT))
    bench.trade(SPOT, 60_000, 1_000, SIDE_SELL)
    (trade,) = done(bench.venue.trades_since(0))
    assert trade.fee_e8 == -(60_005 * 400 * 10 // 10_000)


@needs("funding")
def test_funding_is_charged_at_its_time_by_the_last_mark_before(bench):
    market(bench, SIDE_BUY, 400)
    cash = done(bench.venue.balances())
    due = bench.now_ns + 10**9
    bench.mark(LINEAR, 6_000_000_000_001, 10_000, due)
    bench.now_ns = due + 1
    bench.mark(LINEAR, 6_100_000_000_000, 20_000, due)
    assert done(bench.venue.balances()) == cash  # not announced anew yet
    bench.mark(LINEAR, 6_200_000_000_000, 30_000, due + 8 * 3_600 * 10**9)
    # 0.4 base at 61,000 and 0.02 %
    assert done(bench.venue.balances()) == cash - 488_000_000
    events = [event[0] for event in bench.venue.events() if event[0]["kind"] == REPORT_FUNDING]
    assert [int(event["cash_e8"]) for event in events] == [-488_000_000]


def test_server_time_goes_on(bench):
    first = done(bench.venue.server_time())
    bench.trade(LINEAR, 60_000, 2, SIDE_SELL)
    assert done(bench.venue.server_time()) > first


@needs("spot")
def test_instruments_are_what_is_traded(bench):
    assert list(bench.venue.instruments()["is_spot"]) == [0, 1]


# --- events, unknown -----------------------------------------------------------------------------------------------


def test_events_are_numbered_without_a_hole_and_answers_are_none(bench):
    for number in range(20):
        side = SIDE_BUY if number % 2 else SIDE_SELL
        market(bench, side, 100 + number)
        done(bench.venue.positions())
        limit(bench, side, 1, 60_000)
        done(bench.venue.cancel_all())
    seen = [event[0] for event in bench.venue.events()]
    assert [int(event["event_seq"]) for event in seen] == list(range(1, len(seen) + 1))
    assert all(early["ts_ns"] <= late["ts_ns"] for early, late in pairwise(seen))
    assert list(bench.venue.events()) == []


def test_no_answer_is_unknown_and_the_order_is_found_later(bench):
    order = new(bench, SIDE_BUY, TYPE_MARKET, 100, TIF_IOC)
    bench.silent = True
    assert isinstance(bench.venue.place(order), Unknown)
    for query in (
        lambda: bench.venue.order(LINEAR, order.id), bench.venue.open_orders, bench.venue.positions,
        bench.venue.balances, bench.venue.server_time, bench.venue.cancel_all, lambda: bench.venue.trades_since(0),
        lambda: bench.venue.cancel(LINEAR, order.id), lambda: bench.venue.amend(LINEAR, order.id, 5),
    ):  # fmt: skip
        assert isinstance(query(), Unknown)
    bench.silent = False
    known = done(bench.venue.order(LINEAR, order.id))
    assert (known.status, known.cum_lots) == (REPORT_FILL, 100)
    assert code(bench.venue.place(order)) == VENUE_DUPLICATE_ID
