"""Each rule of the exchange by itself, with what must come out written down: kernels and twin both say it."""

from typing import NamedTuple

import pytest
from rig.exchange import Pair

from bot4.kernels.exchange.state import (
    ALL_INSTRUMENTS,
    AT_LIST,
    FEE_IN_TOKEN,
    LIQUIDITY_MAKER,
    LIQUIDITY_TAKER,
    MarketRules,
    set_account,
    set_token,
)
from bot4.model import enums as e

E8 = 10**8
SPOT, PERP = 0, 1  # instruments
USD, BTC, COIN = 0, 1, 2  # assets; COIN is what fees may be paid in
A, B, C, D = range(4)  # accounts; C and D are one trade group
BUY, SELL = 1, -1
RICH = 10**9  # of each asset, in whole units


class Event(NamedTuple):
    """An event of the exchange, `order` being the order's number."""

    t: int
    seq: int
    kind: int
    side: int
    type: int
    tif: int
    flags: int
    stp: int
    place: int
    liquidity: int
    account: int
    instrument: int
    code: int
    order: int
    client: int
    list: int
    price: int
    stop: int
    qty: int
    cum: int
    value: int
    lots: int
    at: int
    fee: int
    trade: int


class Venue(Pair):
    """One spot pair (a tick is a dollar, a lot a coin) and one contract."""

    def __init__(self, fees=((0, 0),) * 4, rich=RICH, max_orders=64):
        markets = (MarketRules(BTC, USD, E8, E8, 60_000, 10_000), MarketRules(BTC, USD, E8, E8, 50_000, 100, 200))
        super().__init__(max_orders, markets, fees, (0, 0, 7, 7), token=False)
        for account in range(4):
            self.fund(account, *(rich * E8,) * 2)

    def do(self, action, **fields):
        return [Event(*said) for said in super().do(action, **fields)]

    def buy(self, account, price, qty=1, **more):
        return self.place(account=account, side=BUY, price=price, qty=qty, **more)

    def sell(self, account, price, qty=1, **more):
        return self.place(account=account, side=SELL, price=price, qty=qty, **more)

    def trade(self, price, instrument=SPOT):
        """The last price is this one, whatever it was; nothing is left of it."""
        self.sell(A, price, instrument=instrument)
        return self.buy(B, price, instrument=instrument, tif=e.TIF_IOC)

    def list(self, kind, *legs, account=A, client=77, **shared):
        said = []
        for leg, fields in enumerate(legs):
            common = {"account": account, "list_kind": kind, "leg": leg, "list_client": client, "tif": e.TIF_GTC}
            said += self.do(e.ACTION_LEG, **(common | shared | fields))
        return said

    def cancel(self, account, **named):
        return self.do(e.ACTION_CANCEL, account=account, **named)

    def amend(self, account, **fields):
        return self.do(e.ACTION_AMEND, account=account, **fields)

    def money(self, account, asset):
        """(free, locked) in whole units."""
        free, locked = self.memory["balances"][account, asset].tolist()
        return free / E8, locked / E8

    def lots(self, account):
        return int(self.memory["seats"][account * 64 + PERP]["lots"])


@pytest.fixture
def venue():
    return Venue()


def kinds(events):
    return [event.kind for event in events]


def ended(events):
    """(order, kind, code) of those that ended."""
    return [(x.order, x.kind, x.code) for x in events if x.kind in (e.REPORT_EXPIRED, e.REPORT_CANCELED)]


def makers(events):
    """(maker's order, lots, price) of the fills."""
    found = [x for x in events if x.kind == e.REPORT_FILL and x.liquidity == LIQUIDITY_MAKER]
    return [(x.order, x.lots, x.at) for x in found]


LIMIT = {"type": e.TYPE_LIMIT}
MARKET = {"type": e.TYPE_MARKET, "price": 0}
STOP = {"type": e.TYPE_STOP_MARKET}
STOP_LIMIT = {"type": e.TYPE_STOP_LIMIT}
PROFIT = {"type": e.TYPE_TAKE_PROFIT}


# --- priority --------------------------------------------------------------------------------------------------------


def test_best_price_first_then_oldest_each_at_its_own_price(venue):
    venue.sell(A, 102, 3)
    venue.sell(B, 101, 2)
    venue.sell(A, 101, 5)
    said = venue.buy(C, 102, 9)
    assert makers(said) == [(2, 2, 101), (3, 5, 101), (1, 2, 102)]
    assert [x.trade for x in said if x.kind == e.REPORT_FILL] == [1, 1, 2, 2, 3, 3]
    assert said[-2].cum == 9 and said[-2].value == (7 * 101 + 2 * 102) * E8


def test_less_keeps_the_place_more_or_another_price_loses_it(venue):
    for account in (A, B, A):
        venue.sell(account, 101, 4)
    assert kinds(venue.amend(A, order=1, qty=2)) == [e.REPORT_REPLACED]
    assert kinds(venue.amend(B, order=2, qty=5)) == [e.REPORT_REPLACED]
    assert makers(venue.buy(C, 101, 4)) == [(1, 2, 101), (3, 2, 101)]
    venue.amend(A, order=3, price=102)
    venue.amend(A, order=3, price=101)
    assert makers(venue.buy(C, 101, 6)) == [(2, 5, 101), (3, 1, 101)]


def test_an_amended_price_that_reaches_the_other_side_takes(venue):
    venue.sell(A, 101, 2)
    venue.buy(B, 100, 5)
    said = venue.amend(B, order=2, price=101)
    assert kinds(said) == [e.REPORT_REPLACED, e.REPORT_FILL, e.REPORT_FILL]
    assert venue.money(B, USD) == (RICH - 2 * 101 - 3 * 101, 3 * 101)


def test_an_amend_below_what_is_filled_is_refused(venue):
    venue.sell(A, 101, 5)
    venue.buy(B, 101, 2)
    for qty in (1, 2, 10_001):
        assert [(x.kind, x.code) for x in venue.amend(A, order=1, qty=qty)] == [
            (e.REPORT_CANCEL_REJECT, e.VENUE_BAD_REQUEST)
        ]
    assert kinds(venue.amend(A, order=1, qty=3)) == [e.REPORT_REPLACED]


# --- time in force ---------------------------------------------------------------------------------------------------


def test_immediate_or_cancel_and_market_leave_nothing(venue):
    venue.sell(A, 101, 2)
    assert ended(venue.buy(B, 101, 3, tif=e.TIF_IOC)) == [(2, e.REPORT_EXPIRED, 0)]
    said = venue.place(account=B, side=SELL, qty=1, **MARKET)
    assert kinds(said) == [e.REPORT_ACK, e.REPORT_EXPIRED]


def test_fill_or_kill_is_whole_or_nothing(venue):
    venue.sell(A, 101, 2)
    venue.sell(B, 102, 2)
    assert ended(venue.buy(C, 101, 3, tif=e.TIF_FOK)) == [(3, e.REPORT_EXPIRED, e.VENUE_NOT_WHOLE)]
    assert makers(venue.buy(C, 102, 4, tif=e.TIF_FOK)) == [(1, 2, 101), (2, 2, 102)]


def test_fill_or_kill_counts_what_icebergs_hide(venue):
    venue.sell(A, 101, 10, display=1)
    assert len(makers(venue.buy(B, 101, 7, tif=e.TIF_FOK))) == 7


def test_fill_or_kill_does_not_count_on_own_orders(venue):
    """One that stops it does, behind what is shown before it; those that would expire are passed over."""
    venue.sell(A, 101, 6, display=2)
    venue.sell(B, 101, 1)
    venue.sell(A, 102, 6)
    for stp in (e.STP_EXPIRE_TAKER, e.STP_EXPIRE_BOTH, e.STP_DECREMENT):
        assert ended(venue.buy(B, 102, 3, tif=e.TIF_FOK, stp=stp))[0][2] == e.VENUE_NOT_WHOLE
    assert makers(venue.buy(B, 102, 2, tif=e.TIF_FOK, stp=e.STP_EXPIRE_TAKER)) == [(1, 2, 101)]
    said = venue.buy(B, 102, 10, tif=e.TIF_FOK, stp=e.STP_EXPIRE_MAKER)
    assert sum(lots for _, lots, _ in makers(said)) == 10
    assert ended(said) == [(2, e.REPORT_EXPIRED, e.VENUE_SELF_TRADE)]


def test_fill_or_kill_does_not_count_on_reduce_only_orders(venue):
    """The fill before them may take the position that they reduce."""
    venue.buy(A, 100, 5, instrument=PERP)
    venue.sell(B, 100, 5, instrument=PERP)
    venue.sell(A, 101, 5, instrument=PERP)
    venue.sell(A, 102, 5, instrument=PERP, flags=e.ORDER_REDUCE_ONLY)
    assert ended(venue.buy(C, 102, 8, instrument=PERP, tif=e.TIF_FOK)) == [(5, e.REPORT_EXPIRED, e.VENUE_NOT_WHOLE)]
    assert ended(venue.buy(C, 102, 8, instrument=PERP, tif=e.TIF_IOC)) == [
        (4, e.REPORT_EXPIRED, e.VENUE_REDUCE_ONLY), (6, e.REPORT_EXPIRED, 0),
    ]  # fmt: skip


def test_good_till_date_ends_by_time_whatever_comes(venue):
    venue.buy(A, 100, tif=e.TIF_GTD, expire=venue.now + 20)
    venue.buy(A, 99, tif=e.TIF_GTD, expire=venue.now + 10)
    venue.buy(A, 98, tif=e.TIF_GTD, expire=venue.now + 20)
    venue.now += 9
    assert not venue.do(e.ACTION_EXPIRE)
    venue.now += 11
    said = venue.sell(B, 98)
    assert ended(said) == [(2, e.REPORT_EXPIRED, 0), (1, e.REPORT_EXPIRED, 0), (3, e.REPORT_EXPIRED, 0)]
    assert not makers(said) and venue.money(A, USD) == (RICH, 0)
    assert venue.buy(A, 1, tif=e.TIF_GTD, expire=venue.now)[0].code == e.VENUE_BAD_REQUEST


def test_post_only_never_takes(venue):
    venue.sell(A, 101)
    said = venue.buy(B, 101, flags=e.ORDER_POST_ONLY)
    assert [(x.kind, x.code) for x in said] == [(e.REPORT_REJECT, e.VENUE_POST_ONLY)]
    assert kinds(venue.buy(B, 100, flags=e.ORDER_POST_ONLY)) == [e.REPORT_ACK]
    assert venue.amend(B, order=2, price=101)[0].code == e.VENUE_POST_ONLY


def test_an_iceberg_shows_a_part_and_its_next_part_goes_to_the_end(venue):
    venue.sell(A, 101, 5, display=2)
    venue.sell(B, 101, 3)
    assert makers(venue.buy(C, 101, 1)) == [(1, 1, 101)]
    assert makers(venue.buy(C, 101, 6)) == [(1, 1, 101), (2, 3, 101), (1, 2, 101)]
    assert makers(venue.buy(C, 101, 9)) == [(1, 1, 101)]
    assert venue.sell(A, 103, 11, display=1)[0].code == e.VENUE_BAD_REQUEST  # eleven parts


# --- self-trade prevention: the scenarios of the venue's documentation -----------------------------------------------


def prevented(events):
    """(order, lots) of the prevented matches."""
    return [(x.order, x.lots) for x in events if x.kind == e.REPORT_PREVENTED]


def test_without_prevention_an_account_trades_with_itself(venue):
    venue.buy(A, 1)
    assert makers(venue.sell(A, 1)) == [(1, 1, 1)]
    assert venue.money(A, USD) == venue.money(A, BTC) == (RICH, 0)


def test_expire_maker_clears_the_way(venue):
    for price, qty in ((12, 12), (11, 13), (10, 81)):
        venue.buy(A, price, qty)
    said = venue.sell(A, 10, 30, stp=e.STP_EXPIRE_MAKER)
    assert prevented(said) == [(1, 12), (2, 13), (3, 81)]
    assert ended(said) == [(number, e.REPORT_EXPIRED, e.VENUE_SELF_TRADE) for number in (1, 2, 3)]
    assert venue.money(A, BTC) == (RICH - 30, 30)


def test_expire_taker_leaves_the_book(venue):
    venue.buy(A, 12, 12)
    said = venue.sell(A, 10, 30, stp=e.STP_EXPIRE_TAKER)
    assert prevented(said) == [(2, 30)]
    assert ended(said) == [(2, e.REPORT_EXPIRED, e.VENUE_SELF_TRADE)]


def test_expire_both_and_the_taker_decides(venue):
    venue.buy(A, 1, 1, stp=e.STP_EXPIRE_MAKER)
    said = venue.sell(A, 1, 3, stp=e.STP_EXPIRE_BOTH)
    assert prevented(said) == [(2, 3), (1, 1)]
    assert ended(said) == [(1, e.REPORT_EXPIRED, e.VENUE_SELF_TRADE), (2, e.REPORT_EXPIRED, e.VENUE_SELF_TRADE)]


def test_a_market_order_that_expired_its_makers_finds_nothing(venue):
    venue.buy(A, 1, 1)
    said = venue.place(account=A, side=SELL, qty=1, stp=e.STP_EXPIRE_MAKER, **MARKET)
    assert ended(said) == [(1, e.REPORT_EXPIRED, e.VENUE_SELF_TRADE), (2, e.REPORT_EXPIRED, 0)]


def test_decrement_takes_from_both_and_ends_the_smaller(venue):
    venue.buy(A, 2, 6)
    said = venue.sell(A, 2, 2, stp=e.STP_DECREMENT)
    assert prevented(said) == [(2, 2), (1, 2)]
    assert ended(said) == [(2, e.REPORT_EXPIRED, e.VENUE_SELF_TRADE)]
    assert venue.money(A, USD) == (RICH - 8, 8)
    assert makers(venue.sell(B, 2, 9)) == [(1, 4, 2)]


def test_a_trade_group_is_one_account_for_prevention(venue):
    venue.buy(C, 5)
    assert ended(venue.sell(D, 5, stp=e.STP_EXPIRE_TAKER)) == [(2, e.REPORT_EXPIRED, e.VENUE_SELF_TRADE)]
    assert makers(venue.sell(A, 5, stp=e.STP_EXPIRE_TAKER)) == [(1, 1, 5)]


# --- triggers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "side", "trigger", "safe"),
    [(STOP, SELL, 95, 96), (STOP, BUY, 105, 104), (PROFIT, SELL, 105, 104), (PROFIT, BUY, 95, 96)],
)
def test_a_trigger_goes_off_at_its_price_and_not_before(venue, kind, side, trigger, safe):
    venue.trade(100)
    venue.place(account=C, side=side, qty=2, stop=trigger, **kind)
    venue.place(account=D, side=-side, qty=9, price=100 + 50 * side)  # somebody to trade with
    assert kinds(venue.trade(safe)) == [e.REPORT_ACK, e.REPORT_FILL, e.REPORT_FILL]
    said = venue.trade(trigger)
    assert kinds(said)[3:] == [e.REPORT_TRIGGERED, e.REPORT_FILL, e.REPORT_FILL]
    assert makers(said)[1:] == [(4, 2, 100 + 50 * side)]


def test_a_trigger_that_is_reached_already_is_refused(venue):
    venue.trade(100)
    assert venue.place(account=A, side=SELL, qty=1, stop=100, **STOP)[0].code == e.VENUE_STOP_WOULD_TRIGGER
    assert venue.place(account=A, side=BUY, qty=1, stop=100, **PROFIT)[0].code == e.VENUE_STOP_WOULD_TRIGGER
    assert kinds(venue.place(account=A, side=SELL, qty=1, stop=99, **STOP)) == [e.REPORT_ACK]
    assert venue.amend(A, order=3, stop=100)[0].code == e.VENUE_STOP_WOULD_TRIGGER


def test_a_stop_limit_rests_where_it_says(venue):
    venue.trade(100)
    venue.place(account=C, side=SELL, qty=2, stop=95, price=97, **STOP_LIMIT)
    assert kinds(venue.trade(95)).count(e.REPORT_TRIGGERED) == 1
    assert makers(venue.buy(D, 97, 2)) == [(3, 2, 97)]


def test_stops_set_each_other_off_in_order(venue):
    venue.trade(100)
    for price in (90, 89, 88):
        venue.buy(B, price)
    venue.place(account=C, side=SELL, qty=1, stop=89, **STOP)
    venue.place(account=D, side=SELL, qty=1, stop=90, **STOP)
    venue.place(account=C, side=SELL, qty=1, stop=90, **STOP)
    said = venue.sell(A, 90)
    assert [x.order for x in said if x.kind == e.REPORT_TRIGGERED] == [7, 8, 6]
    assert makers(said) == [(3, 1, 90), (4, 1, 89), (5, 1, 88)]
    assert ended(said) == [(6, e.REPORT_EXPIRED, 0)]


TRAILS = (  # side, take-profit, stop price, bps, prices of trades, the last of which sets it off
    (BUY, False, 44_000, 500, (37_000, 44_000, 45_000, 46_000, 42_000, 44_099, 44_100)),
    (SELL, False, 39_000, 1_000, (41_500, 39_000, 37_000, 41_000, 36_901, 36_900)),
    (BUY, True, 38_000, 850, (42_000, 38_000, 37_000, 39_000, 38_000, 40_144, 40_145)),
    (SELL, True, 42_000, 750, (41_500, 39_000, 42_000, 45_000, 44_000, 46_500, 43_013, 43_012)),
    (SELL, False, 0, 700, (42_000, 39_500, 45_500, 42_316, 42_315)),
)


@pytest.mark.parametrize(("side", "profit", "stop", "bps", "prices"), TRAILS)
def test_trailing_orders_as_the_venue_documents_them(venue, side, profit, stop, bps, prices):
    venue.trade(40_000)
    kind = e.TYPE_TAKE_PROFIT_LIMIT if profit else e.TYPE_STOP_LIMIT
    venue.place(account=C, side=side, qty=1, stop=stop, trail=bps, price=1 if side > 0 else 60_000, type=kind)
    for price in prices[:-1]:
        assert e.REPORT_TRIGGERED not in kinds(venue.trade(price)), price
    assert e.REPORT_TRIGGERED in kinds(venue.trade(prices[-1]))


def test_a_trailing_order_without_a_start_needs_a_last_price(venue):
    order = {"account": A, "side": SELL, "qty": 1, "trail": 100} | STOP
    assert venue.place(**order)[0].code == e.VENUE_NO_MARKET
    venue.trade(100)
    assert kinds(venue.place(**order)) == [e.REPORT_ACK]


# --- order lists -----------------------------------------------------------------------------------------------------


def oco(venue, qty=4, **more):
    """A sell pair around 100: limit at 105 (order 3), stop at 95 (order 4)."""
    venue.trade(100)
    legs = ({"side": SELL, "qty": qty, "price": 105} | LIMIT, {"side": SELL, "qty": qty, "stop": 95} | STOP)
    return venue.list(e.LIST_OCO, *legs, **more)


def test_a_pair_locks_once_and_is_told_of(venue):
    said = oco(venue)
    assert kinds(said) == [e.REPORT_LIST_STARTED, e.REPORT_ACK, e.REPORT_ACK]
    assert said[0].client == 77 and [x.list for x in said] == [1, 1, 1]
    assert venue.money(A, BTC)[1] == 4


def test_a_buy_pair_locks_its_larger_leg(venue):
    venue.trade(100)
    legs = (
        {"side": BUY, "qty": 4, "price": 95} | LIMIT,
        {"side": BUY, "qty": 4, "stop": 105, "price": 107} | STOP_LIMIT,
    )
    venue.list(e.LIST_OCO, *legs)
    assert venue.money(A, USD)[1] == 4 * 107
    said = venue.sell(B, 95)
    assert ended(said) == [(4, e.REPORT_EXPIRED, e.VENUE_LIST)]
    assert venue.money(A, USD)[1] == 3 * 95


def test_a_part_of_one_leg_ends_the_other(venue):
    oco(venue)
    said = venue.buy(B, 105, 1)
    assert ended(said) == [(4, e.REPORT_EXPIRED, e.VENUE_LIST)]
    assert makers(said) == [(3, 1, 105)]
    assert e.REPORT_LIST_DONE not in kinds(said)
    said = venue.cancel(A, order=4)
    assert said[0].code == e.VENUE_UNKNOWN_ORDER
    said = venue.buy(B, 105, 3)
    assert said[-1].kind == e.REPORT_LIST_DONE and venue.money(A, BTC)[1] == 0


def test_a_leg_that_goes_off_ends_the_other(venue):
    oco(venue)
    venue.buy(B, 94, 4)
    said = venue.trade(95)
    assert [x.order for x in said if x.kind == e.REPORT_TRIGGERED] == [4]
    assert ended(said) == [(3, e.REPORT_EXPIRED, e.VENUE_LIST)]
    assert (5, 4, 94) in makers(said) and said[-1].kind == e.REPORT_LIST_DONE


def test_a_leg_that_goes_off_ends_the_other_before_it_trades(venue):
    venue.trade(100)
    venue.list(e.LIST_OCO, {"price": 105} | LIMIT, {"stop": 95, "price": 97} | STOP_LIMIT, side=SELL, qty=4)
    said = venue.trade(95)
    assert ended(said) == [(3, e.REPORT_EXPIRED, e.VENUE_LIST)]
    assert not makers(venue.buy(B, 96)) and makers(venue.buy(B, 105, 9)) == [(4, 4, 97)]


def test_both_legs_race_in_one_walk_and_the_first_wins(venue):
    """A buy walks from 94, where the stop would go off, to 105, where the limit leg is: the fill is first."""
    oco(venue)
    venue.sell(B, 94, 1)
    said = venue.buy(C, 105, 3)
    assert makers(said) == [(5, 1, 94), (3, 2, 105)]
    assert ended(said) == [(4, e.REPORT_EXPIRED, e.VENUE_LIST)]
    assert e.REPORT_TRIGGERED not in kinds(said)


def test_to_cancel_one_leg_cancels_the_list(venue):
    oco(venue)
    said = venue.cancel(A, order=3)
    assert ended(said) == [(3, e.REPORT_CANCELED, 0), (4, e.REPORT_CANCELED, e.VENUE_LIST)]
    assert said[-1].kind == e.REPORT_LIST_DONE and venue.money(A, BTC) == (RICH - 1, 0)


def test_a_list_is_placed_whole_or_not_at_all(venue):
    venue.trade(110)
    legs = ({"side": SELL, "qty": 4, "price": 115} | LIMIT, {"side": SELL, "qty": 4, "stop": 111} | STOP)
    said = venue.list(e.LIST_OCO, *legs)
    assert [(x.kind, x.code, x.client, x.list) for x in said] == [(e.REPORT_REJECT, e.VENUE_STOP_WOULD_TRIGGER, 77, -1)]
    assert venue.money(A, BTC)[1] == 0


@pytest.mark.parametrize(
    "change",
    [{"side": BUY}, {"qty": 5}, {"type": e.TYPE_LIMIT, "price": 90, "stop": 0}, {"type": e.TYPE_MARKET, "stop": 0}],
)
def test_what_makes_no_pair_is_refused(venue, change):
    venue.trade(100)
    legs = ({"side": SELL, "qty": 4, "price": 105} | LIMIT, {"side": SELL, "qty": 4, "stop": 95} | STOP | change)
    assert [x.code for x in venue.list(e.LIST_OCO, *legs)] == [e.VENUE_BAD_REQUEST]


def test_legs_that_do_not_follow_each_other_are_no_list(venue):
    leg = {
        "account": A,
        "list_kind": e.LIST_OCO,
        "list_client": 9,
        "side": SELL,
        "qty": 1,
        "tif": 1,
        "price": 5,
    } | LIMIT
    assert not venue.do(e.ACTION_LEG, leg=0, **leg)
    said = venue.buy(B, 1)
    assert [(x.kind, x.client) for x in said] == [(e.REPORT_REJECT, 9), (e.REPORT_ACK, 0)]
    assert [x.kind for x in venue.do(e.ACTION_LEG, leg=1, **leg)] == [e.REPORT_REJECT]


def bracket(venue, **entry):
    """A buy at 100 (order 3), then a sell pair: limit at 105 (4), stop at 95 (5)."""
    venue.trade(101)
    legs = (
        {"side": BUY, "qty": 4, "price": 100} | LIMIT | entry,
        {"side": SELL, "qty": 4, "price": 105} | LIMIT,
        {"side": SELL, "qty": 4, "stop": 95} | STOP,
    )
    return venue.list(e.LIST_OTOCO, *legs)


def test_pending_legs_wait_for_the_whole_working_leg(venue):
    assert [x.place for x in bracket(venue)][2:] == [AT_LIST, AT_LIST]
    said = venue.sell(B, 100, 3)
    assert makers(said) == [(3, 3, 100)] and e.REPORT_ACK not in kinds(said)[1:]
    assert venue.money(A, BTC)[1] == 0
    said = venue.sell(B, 100, 1)
    assert [x.order for x in said if x.kind == e.REPORT_ACK] == [7, 4, 5]
    assert venue.money(A, BTC)[1] == 4
    assert ended(venue.buy(C, 105, 4)) == [(5, e.REPORT_EXPIRED, e.VENUE_LIST)]


def test_a_working_leg_that_ends_takes_its_pending_legs_along(venue):
    bracket(venue)
    venue.sell(B, 100, 3)
    said = venue.cancel(A, order=3)
    assert ended(said) == [(3, e.REPORT_CANCELED, 0), (4, e.REPORT_CANCELED, e.VENUE_LIST),
                           (5, e.REPORT_CANCELED, e.VENUE_LIST)]  # fmt: skip


def test_a_pending_leg_that_is_canceled_takes_the_list_along(venue):
    bracket(venue)
    assert [one[0] for one in ended(venue.cancel(A, order=5))] == [5, 3, 4]


def test_a_working_leg_that_takes_all_at_once_starts_its_pair_at_once(venue):
    venue.sell(B, 99, 4)
    said = bracket(venue, price=102)
    assert [x.order for x in said if x.kind == e.REPORT_ACK] == [4, 5, 6, 5, 6]
    assert venue.money(A, BTC)[1] == 4


def test_a_pending_order_that_the_market_refuses_expires(venue):
    """Its stop is reached by the time that it enters."""
    venue.trade(100)
    legs = ({"side": BUY, "qty": 1, "price": 90} | LIMIT, {"side": SELL, "qty": 1, "stop": 95} | STOP)
    venue.list(e.LIST_OTO, *legs)
    said = venue.sell(B, 90)
    assert ended(said) == [(4, e.REPORT_EXPIRED, e.VENUE_STOP_WOULD_TRIGGER)]
    assert said[-1].kind == e.REPORT_LIST_DONE


def test_an_order_of_a_list_is_not_amended(venue):
    oco(venue)
    assert venue.amend(A, order=3, qty=2)[0].code == e.VENUE_LIST


# --- money -----------------------------------------------------------------------------------------------------------


def test_orders_lock_what_they_pay_with_and_give_back_what_they_do_not_need(venue):
    venue.buy(A, 100, 3)
    assert venue.money(A, USD) == (RICH - 300, 300)
    venue.sell(B, 90, 1)
    venue.sell(B, 98, 2)
    assert venue.money(B, BTC) == (RICH - 3, 0) and venue.money(A, USD) == (RICH - 300, 0)
    venue.sell(C, 200, 2)
    venue.buy(D, 250, 1)
    assert venue.money(D, USD) == (RICH - 200, 0) and venue.money(C, BTC) == (RICH - 2, 1)
    venue.place(account=A, side=SELL, qty=4, stop=50, **STOP)
    assert venue.money(A, BTC) == (RICH - 1, 4)
    venue.place(account=A, side=BUY, qty=2, stop=300, **STOP)
    assert venue.money(A, USD) == (RICH - 300 - 600, 600)
    assert len(venue.do(e.ACTION_CANCEL_ALL, account=A, instrument=ALL_INSTRUMENTS)) == 2
    assert venue.money(A, BTC) == (RICH + 3, 0)


def test_who_cannot_pay_is_refused():
    venue = Venue(rich=100)
    venue.sell(B, 60, 2)
    assert venue.buy(A, 51, 2)[0].code == e.VENUE_BALANCE
    assert venue.sell(A, 51, 101)[0].code == e.VENUE_BALANCE
    assert venue.place(account=A, side=BUY, qty=2, **MARKET)[0].code == e.VENUE_BALANCE
    assert venue.place(account=A, side=BUY, qty=2, stop=51, **STOP)[0].code == e.VENUE_BALANCE
    assert kinds(venue.buy(A, 50, 2)) == [e.REPORT_ACK]
    assert venue.amend(A, order=2, price=51)[0].code == e.VENUE_BALANCE
    assert venue.amend(A, order=2, qty=3)[0].code == e.VENUE_BALANCE
    assert kinds(venue.amend(A, order=2, qty=5, price=20)) == [e.REPORT_REPLACED]


def test_a_triggered_buy_takes_as_far_as_its_money_goes():
    venue = Venue(rich=100)
    venue.trade(10)
    venue.place(account=C, side=BUY, qty=8, stop=12, **STOP)
    venue.sell(B, 20, 8)
    said = venue.trade(12)
    assert [lots for number, lots, price in makers(said) if price == 20] == [5]
    assert ended(said)[-1] == (3, e.REPORT_EXPIRED, e.VENUE_BALANCE)


def test_a_market_order_by_amount_spends_no_more_and_no_part_of_a_lot(venue):
    venue.sell(A, 30, 2)
    venue.sell(A, 40, 9)
    said = venue.place(account=B, side=BUY, amount=150 * E8, **MARKET)
    assert makers(said) == [(1, 2, 30), (2, 2, 40)]
    assert ended(said) == [(3, e.REPORT_EXPIRED, e.VENUE_SPENT)]
    venue.buy(A, 20, 9)
    said = venue.place(account=B, side=SELL, amount=50 * E8, **MARKET)
    assert makers(said) == [(4, 2, 20)] and ended(said)[0][2] == e.VENUE_SPENT


def test_the_fee_is_of_what_is_received_rounded_up():
    venue = Venue(fees=((100, 0), (0, 333), (-150, 0), (0, 0)))
    venue.sell(A, 7, 1)
    said = venue.buy(B, 7, 1)
    paid = {x.liquidity: x.fee for x in said if x.kind == e.REPORT_FILL}
    assert paid == {LIQUIDITY_TAKER: 333 * E8 // 10**6, LIQUIDITY_MAKER: 7 * 100 * E8 // 10**6}
    assert venue.money(A, USD)[0] == pytest.approx(RICH + 7 - 0.0007, abs=1e-8)
    assert venue.money(B, BTC)[0] == pytest.approx(RICH + 1 - 0.000333, abs=1e-8)
    venue.buy(C, 7, 1)
    venue.sell(D, 7, 1)
    assert venue.memory["fees"][:2].tolist() == [70_000, 33_300 - 15_000]


def test_a_fee_smaller_than_a_unit_is_a_unit_and_such_a_rebate_is_none():
    pair = Pair(16, (MarketRules(1, 0, 1, 1, 100, 100),), ((-1, 0), (0, 1)), (0, 0), token=False)
    pair.fund(0, 10**6, 10**6)
    pair.fund(1, 10**6, 10**6)
    pair.place(account=0, side=SELL, price=3, qty=5)
    fills = [Event(*x) for x in pair.place(account=1, side=BUY, price=3, qty=5)][1:]
    assert [x.fee for x in fills] == [1, 0]


def paying_in_token(ppm, discount_ppm, price, *coins):
    """A venue where A and B pay in the token, of which they have so much (in 1e-8)."""
    venue = Venue(fees=((-50, ppm), (ppm, ppm), (0, 0), (0, 0)))
    twin = venue.twin
    set_token(venue.memory, COIN, discount_ppm, {USD: price * E8})
    twin.token, twin.discount_ppm, twin.token_prices, twin.pays_token = COIN, discount_ppm, {USD: price * E8}, {A, B}
    for account, amount in enumerate(coins):
        set_account(venue.memory, account, *twin.fee_ppm[account], 0, pays_token=True)
        venue.do(e.ACTION_DEPOSIT, account=account, instrument=COIN, amount=amount)
    return venue


def test_a_fee_in_the_token_is_a_share_of_the_value_less_the_discount():
    venue = paying_in_token(1_000, 250_000, 600, 5 * E8, 5 * E8)
    venue.sell(B, 60_000, 1)
    fills = [x for x in venue.buy(A, 60_000, 1) if x.kind == e.REPORT_FILL]
    assert [(x.account, x.liquidity, x.fee) for x in fills] == [
        (A, LIQUIDITY_TAKER | FEE_IN_TOKEN, 7_500_000), (B, LIQUIDITY_MAKER | FEE_IN_TOKEN, 7_500_000)
    ], "60 dollars less a quarter are 0.075 of what costs 600"  # fmt: skip
    assert venue.money(A, COIN)[0] == venue.money(B, COIN)[0] == 4.925
    assert venue.money(A, BTC)[0] == RICH + 1, "what was bought came whole"
    assert venue.memory["fees"][:3].tolist() == [0, 0, 15_000_000]


def test_who_has_too_little_of_the_token_pays_as_usual_and_rebates_are_no_business_of_it():
    venue = paying_in_token(1_000, 0, 700, 8_571_428, 8_571_429)  # sixty dollars are 0.085714285...
    venue.sell(B, 60_000, 1)
    fills = [x for x in venue.buy(A, 60_000, 1) if x.kind == e.REPORT_FILL]
    assert [(x.account, x.liquidity, x.fee) for x in fills] == [
        (A, LIQUIDITY_TAKER, 100_000), (B, LIQUIDITY_MAKER | FEE_IN_TOKEN, 8_571_429)
    ]  # fmt: skip
    assert venue.money(B, COIN) == (0, 0)
    venue.sell(A, 60_000, 1)
    fills = [x for x in venue.buy(B, 60_000, 1) if x.kind == e.REPORT_FILL]
    assert [(x.account, x.liquidity, x.fee) for x in fills] == [
        (B, LIQUIDITY_TAKER, 100_000), (A, LIQUIDITY_MAKER, -3 * E8)
    ], "a rebate comes in what is received"  # fmt: skip
    contract = [x for x in venue.trade(100, PERP) if x.kind == e.REPORT_FILL]
    assert {x.liquidity & FEE_IN_TOKEN for x in contract} == {0}, "nothing is left"
    venue.do(e.ACTION_DEPOSIT, account=B, instrument=COIN, amount=E8)
    assert [x.fee for x in venue.trade(700, PERP) if x.account == B and x.liquidity == 6] == [100_000]


def test_who_pays_nothing_pays_it_as_usual():
    venue = paying_in_token(0, 0, 700, E8, E8)
    venue.sell(B, 60_000, 1)
    fills = [x for x in venue.buy(A, 60_000, 1) if x.kind == e.REPORT_FILL]
    assert [(x.liquidity, x.fee) for x in fills] == [(LIQUIDITY_TAKER, 0), (LIQUIDITY_MAKER, 0)]


def test_funding_moves_money_from_those_who_are_long_to_those_who_are_short():
    venue = Venue(rich=1_000)
    venue.sell(A, 100, 3, instrument=PERP)
    venue.buy(B, 100, 1, instrument=PERP)
    venue.buy(C, 100, 2, instrument=PERP)
    before = venue.memory["balances"]["free_e8"][:3, USD].tolist()
    said = venue.do(e.ACTION_FUNDING, instrument=PERP, price=120, amount=10_001)  # 0.010001 % of 120
    assert [(x.kind, x.account, x.lots, x.at, x.fee) for x in said] == [
        (e.REPORT_FUNDING, A, -3, 120, -3 * 1_200_120), (e.REPORT_FUNDING, B, 1, 120, 1_200_120),
        (e.REPORT_FUNDING, C, 2, 120, 2 * 1_200_120),
    ]  # fmt: skip
    after = venue.memory["balances"]["free_e8"][:3, USD].tolist()
    assert [x - y for x, y in zip(after, before, strict=True)] == [3_600_360, -1_200_120, -2_400_240]
    assert [x.value for x in said] == after
    said = venue.do(e.ACTION_FUNDING, instrument=PERP, price=120, amount=-10_001)
    assert venue.memory["balances"]["free_e8"][:3, USD].tolist() == before, "and back, at a negative rate"


def test_what_does_not_divide_of_a_funding_is_the_venues():
    pair = Pair(16, (MarketRules(1, 0, 1, 1, 100, 100, 100),), ((0, 0),) * 3, (0,) * 3, token=False)
    for account in range(3):
        pair.fund(account, 10**6)
    pair.place(account=0, side=SELL, price=3, qty=5)
    pair.place(account=1, side=BUY, price=3, qty=2)
    pair.place(account=2, side=BUY, price=3, qty=3)
    said = [Event(*x) for x in pair.do(e.ACTION_FUNDING, instrument=0, price=3, amount=E8 // 7)]
    assert [x.fee for x in said] == [-2, 1, 2] and pair.memory["fees"][0] == 1


@pytest.mark.parametrize(
    "fields", [{"instrument": SPOT}, {"instrument": 2}, {"price": 0}, {"price": 50_001}, {"amount": E8 + 1}]
)
def test_a_funding_that_cannot_be_is_refused(venue, fields):
    venue.trade(100, PERP)
    command = {"instrument": PERP, "price": 50_000, "amount": -E8}
    assert kinds(venue.do(e.ACTION_FUNDING, **(command | fields))) == [e.REPORT_REJECT]
    assert kinds(venue.do(e.ACTION_FUNDING, **command)) == [e.REPORT_FUNDING] * 2


def test_money_comes_and_goes_within_bounds(venue):
    assert venue.do(e.ACTION_DEPOSIT, account=A, instrument=USD, amount=-(RICH + 1) * E8)[0].code == e.VENUE_BALANCE
    assert venue.do(e.ACTION_DEPOSIT, account=A, instrument=USD, amount=2**60)[0].code == e.VENUE_BALANCE
    assert venue.do(e.ACTION_DEPOSIT, account=A, instrument=2, amount=2**60)[0].value == 2**60
    assert venue.do(e.ACTION_DEPOSIT, account=A, instrument=3, amount=1)[0].code == e.VENUE_BAD_REQUEST
    venue.buy(A, 10, 1)
    said = venue.do(e.ACTION_DEPOSIT, account=A, instrument=USD, amount=-RICH * E8)
    assert said[0].code == e.VENUE_BALANCE  # what is locked does not leave


# --- contracts -------------------------------------------------------------------------------------------------------


def test_profit_is_realised_by_average_cost(venue):
    venue.buy(A, 100, 3, instrument=PERP)
    venue.sell(B, 100, 3, instrument=PERP)
    assert venue.money(A, USD) == (RICH, 0)
    venue.buy(A, 130, 1, instrument=PERP)
    venue.sell(B, 130, 1, instrument=PERP)
    venue.sell(A, 110, 2, instrument=PERP)
    venue.buy(C, 110, 2, instrument=PERP)
    assert venue.lots(A) == 2 and venue.money(A, USD) == (RICH + 2 * 110 - 215, 0)


def test_a_position_cannot_outgrow_its_bound(venue):
    venue.buy(A, 100, 100, instrument=PERP)
    venue.sell(B, 100, 100, instrument=PERP)
    venue.buy(A, 100, 60, instrument=PERP)
    assert venue.buy(A, 90, 41, instrument=PERP)[0].code == e.VENUE_POSITION
    assert kinds(venue.buy(A, 90, 40, instrument=PERP)) == [e.REPORT_ACK]
    assert venue.amend(A, order=4, qty=41)[0].code == e.VENUE_POSITION
    assert kinds(venue.sell(A, 300, 100, instrument=PERP)) == [e.REPORT_ACK]


def test_reduce_only_never_opens(venue):
    reduce_only = {"instrument": PERP, "flags": e.ORDER_REDUCE_ONLY}
    assert venue.sell(A, 100, 1, **reduce_only)[0].code == e.VENUE_REDUCE_ONLY
    assert venue.sell(A, 100, 1, flags=e.ORDER_REDUCE_ONLY)[0].code == e.VENUE_BAD_REQUEST
    venue.buy(A, 100, 5, instrument=PERP)
    venue.sell(B, 100, 5, instrument=PERP)
    venue.buy(C, 99, 9, instrument=PERP)
    said = venue.sell(A, 99, 7, tif=e.TIF_IOC, **reduce_only)
    assert makers(said) == [(3, 5, 99)] and ended(said) == [(4, e.REPORT_EXPIRED, e.VENUE_REDUCE_ONLY)]
    assert venue.lots(A) == 0


def test_reduce_only_orders_shrink_with_the_position_the_newest_first(venue):
    reduce_only = {"instrument": PERP, "flags": e.ORDER_REDUCE_ONLY}
    venue.buy(A, 100, 5, instrument=PERP)
    venue.sell(B, 100, 5, instrument=PERP)
    venue.sell(A, 110, 2, **reduce_only)
    said = venue.sell(A, 111, 5, **reduce_only)
    assert [(x.kind, x.order, x.qty) for x in said] == [(e.REPORT_ACK, 4, 5), (e.REPORT_REPLACED, 4, 3)]
    venue.buy(B, 105, 4, instrument=PERP)
    said = venue.sell(A, 105, 4, instrument=PERP)
    assert ended(said) == [(4, e.REPORT_EXPIRED, e.VENUE_REDUCE_ONLY)]
    assert [(x.order, x.qty) for x in said if x.kind == e.REPORT_REPLACED] == [(3, 1)]


def test_reduce_only_orders_shrink_when_another_order_of_the_account_is_met(venue):
    venue.buy(A, 100, 5, instrument=PERP)
    venue.sell(B, 100, 5, instrument=PERP)
    venue.sell(A, 110, 4, instrument=PERP, flags=e.ORDER_REDUCE_ONLY)
    venue.sell(A, 105, 3, instrument=PERP)
    said = venue.buy(B, 105, 3, instrument=PERP)
    assert [(x.order, x.qty) for x in said if x.kind == e.REPORT_REPLACED] == [(3, 2)]


# --- names -----------------------------------------------------------------------------------------------------------


def test_a_client_id_serves_one_open_order_of_an_account(venue):
    venue.buy(A, 10, client=5)
    assert venue.buy(A, 11, client=5)[0].code == e.VENUE_DUPLICATE_ID
    assert kinds(venue.buy(B, 11, client=5)) == [e.REPORT_ACK]
    assert venue.cancel(C, client=5)[0].code == venue.cancel(B, order=1)[0].code == e.VENUE_UNKNOWN_ORDER
    assert ended(venue.cancel(A, client=5)) == [(1, e.REPORT_CANCELED, 0)]
    assert venue.cancel(A, order=1)[0].code == e.VENUE_UNKNOWN_ORDER
    assert kinds(venue.buy(A, 11, client=5)) == [e.REPORT_ACK]


def test_cancel_all_takes_stops_and_lists_too(venue):
    oco(venue)
    venue.buy(A, 50)
    venue.buy(B, 50)
    assert [one[0] for one in ended(venue.do(e.ACTION_CANCEL_ALL, account=A, instrument=SPOT))] == [3, 4, 5]
    assert not venue.do(e.ACTION_CANCEL_ALL, account=A, instrument=ALL_INSTRUMENTS)
    assert venue.do(e.ACTION_CANCEL_ALL, account=A, instrument=2)[0].code == e.VENUE_BAD_REQUEST


def test_time_never_goes_back(venue):
    venue.buy(A, 10)
    venue.now -= 500
    assert venue.cancel(A, order=1)[0].t == 1_000
