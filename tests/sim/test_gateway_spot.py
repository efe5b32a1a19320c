"""The gateway on coins, in front of the exchange as Binance Spot: what is held is the venue's to the smallest unit."""

import json
from collections import Counter

import numpy as np
import pytest
from rig import gateway_spot
from rig.exchange_desk import BTC
from rig.gateway_desk import SECOND
from rig.gateway_spot import LOT_E8, TICKS, SpotRig, SpotWires
from sim.test_ambiguous import ASK_NS, FLIGHT, RESOLVED_S, is_told

from bot4.model import enums as e
from bot4.model.errors import InputError
from bot4.shm.layout import CONTROL_KILL

REDUCE = e.ORDER_REDUCE_ONLY
LOTS = 100_000  # one BTC


@pytest.fixture
def rig(tmp_path):
    """A gateway that takes orders."""
    with SpotRig(tmp_path) as made:
        made.until(lambda: made.agent.is_ready)
        yield made


def buy(rig, lots, price=60_001):
    """What is there at that price."""
    identity = rig.place(1, lots, price=price * TICKS, tif=e.TIF_IOC, wait=False)
    rig.until(lambda: is_over(rig, identity))
    return identity


def is_over(rig, identity):
    """Whether its last word has been said."""
    ends = (e.REPORT_REJECT, e.REPORT_CANCELED, e.REPORT_EXPIRED)
    return any(one["kind"] in ends or (one["kind"] == e.REPORT_FILL and not one["leaves_lots"] and one["cum_lots"]
               == one["qty_lots"]) for one in rig.of(identity))  # fmt: skip


def sell(rig, lots, flags=REDUCE):
    """At the market."""
    identity = rig.place(-1, lots, flags=flags, wait=False)
    rig.until(
        lambda: any(
            one["kind"] in (e.REPORT_REJECT, e.REPORT_EXPIRED)
            or (one["kind"] == e.REPORT_FILL and not one["leaves_lots"])
            for one in rig.of(identity)
        )
    )
    rig.go_on(0.05)
    return identity


def stop(rig, lots, trigger=59_000):
    """A stop that rests."""
    identity = rig.place(-1, lots, stop=trigger * TICKS, flags=REDUCE, wait=False)
    rig.until(lambda: rig.of(identity))
    return identity


def equal(rig):
    """Coins and cash are the venue's to the smallest unit, and nothing was made or lost."""
    rig.go_on(0.2)
    assert (rig.agent._lots[0], rig.agent._rest_e8[0]) == divmod(rig.held_e8(), int(rig.row["lot_e8"][0]))
    assert rig.lots() == rig.agent._lots[0]
    assert rig.cash_e8() == rig.held_e8("USDT") - 10**16
    rig.desk.conserved()


def test_a_fee_taken_of_the_coin_shrinks_what_is_held_to_the_last_unit(rig):
    dice = np.random.default_rng(5)
    for _ in range(40):
        identity = buy(rig, int(dice.integers(1, 3_000)) + 9)
        fill = next(one for one in rig.of(identity) if one["kind"] == e.REPORT_FILL)
        if fill["cum_lots"] < fill["qty_lots"] or rig.kinds(identity)[-1] == "expired":
            assert rig.kinds(identity)[-1] == "expired", "its last lots went as a fee"
        equal(rig)
    assert rig.agent._rest_e8[0] > 0
    sell(rig, rig.lots())
    equal(rig)
    assert rig.lots() == 0 and 0 < rig.held_e8() < LOT_E8 and not rig.agent.differs


COARSE = 1_000  # of the venue's steps a lot: 0.01 BTC


def crumbs(rig, dice, side, count, price):
    """Orders of the maker's of any size of the venue's, on one price."""
    for _ in range(count):
        rig.desk.limit(1, side, str(price), f"0.{int(dice.integers(9, 1_500)):05d}")


def has_ended(rig, identity):
    """Whether the gateway holds it to be over: execution may have seen it filled before its last part came."""
    return identity in rig.agent._orders and rig.agent._orders[identity].ended


def trade_of_parts(rig, dice, rounds):
    """Entries and exits in pieces that are no whole lots, some of them left unfilled, with a stop in between."""
    for _ in range(rounds):
        crumbs(rig, dice, "SELL", 6, 60_000)
        bought = rig.place(1, int(dice.integers(1, 4)), price=60_000 * TICKS, tif=e.TIF_IOC, wait=False)
        rig.until(lambda bought=bought: has_ended(rig, bought))
        held = rig.lots()
        if held and dice.random() < 0.5:
            stop(rig, held)
        crumbs(rig, dice, "BUY", 3, 60_000 - 0.5)
        if held and dice.random() < 0.6:
            sold = rig.place(-1, int(dice.integers(1, held + 1)), flags=REDUCE, wait=False)
            rig.until(lambda sold=sold: has_ended(rig, sold))
        rig.desk.done(1, "DELETE", "openOrders", symbol=BTC)
        rig.make_book()
        equal(rig)


@pytest.mark.parametrize("copies", [1, 3, 0], ids=["heard", "shuffled", "silent"])
def test_parts_of_lots_are_held_and_paid_to_the_last_unit(tmp_path, copies):
    """The venue's step is finer than a lot of the settings, and whoever trades with us has orders of any size."""
    dice = np.random.default_rng(11)
    with SpotRig(tmp_path, 2, copies=copies, coarse=COARSE) as rig:
        rig.until(lambda: rig.agent.is_ready)
        trade_of_parts(rig, dice, 12)
        fills = [one for one in rig.events if one["kind"] == e.REPORT_FILL]
        assert sum(one["qty_lots"] == 0 for one in fills) > 5, "less than a lot, and no lot has become of it"
        for identity in {(int(one["id_hi"]), int(one["id_lo"])) for one in fills}:
            last = [one for one in rig.of(identity) if one["kind"] == e.REPORT_FILL][-1]
            told = sum(int(one["qty_lots"]) for one in rig.of(identity) if one["kind"] == e.REPORT_FILL)
            assert int(last["cum_lots"]) == told <= int(rig.placed_by(identity)["qty_lots"])
    with SpotRig(tmp_path, before=rig, copies=copies, coarse=COARSE) as again:
        again.until(lambda: again.agent.is_ready)
        equal(again)
        trade_of_parts(again, dice, 3)


def test_an_order_whose_part_makes_a_lot_of_another_ones_is_told_as_filled_and_ends_once(tmp_path):
    with SpotRig(tmp_path, coarse=COARSE) as rig:
        rig.until(lambda: rig.agent.is_ready)
        for qty, told in (("0.00950", ["ack", "fill", "expired"]), ("0.00600", ["ack", "fill"])):
            rig.desk.limit(1, "SELL", "60000", qty)
            bought = rig.place(1, 1, price=60_000 * TICKS, tif=e.TIF_IOC, wait=False)
            rig.until(lambda bought=bought: has_ended(rig, bought))
            assert rig.kinds(bought) == told
        assert rig.lots() == 1
        equal(rig)


def test_an_order_that_paid_a_fee_in_lots_ends(rig):
    identity = buy(rig, LOTS)
    assert rig.kinds(identity) == ["ack", "fill", "expired"]
    fill, end = rig.of(identity)[1:]
    assert (int(fill["qty_lots"]), int(fill["fee_e8"]), int(fill["leaves_lots"])) == (99_900, 100 * 6_000_100 * 10, 0)
    assert (int(end["cum_lots"]), int(end["leaves_lots"])) == (99_900, 0)
    small = buy(rig, 9)  # less than a lot of fee: whole lots have come, until the rest is used up
    assert rig.lots() == 99_900 + 8 and rig.kinds(small)[-1] == "expired"


def test_an_exit_takes_the_place_of_the_stop_whose_end_is_told_after_it(rig):
    buy(rig, LOTS)
    held = rig.lots()
    guard = stop(rig, held)
    assert rig.held_e8() - rig.desk.venue.balance(rig.desk.venue.accounts[0], "BTC")[0] == held * LOT_E8, "it locks"
    leaving = sell(rig, held)
    assert rig.kinds(leaving) == ["ack", "fill"] and rig.kinds(guard) == ["ack", "canceled"]
    numbers = [int(rig.of(identity)[-1]["event_seq"]) for identity in (leaving, guard)]
    assert numbers == sorted(numbers), "else the stop would be placed anew meanwhile"
    assert rig.lots() == 0
    equal(rig)


def test_the_end_of_a_stop_waits_a_second_for_an_exit_of_which_nothing_is_heard(rig):
    buy(rig, LOTS)
    guard, heard = stop(rig, rig.lots()), []
    rig.desk.venue.accounts[0].listeners.append(heard.append)
    rig.network.answer_s, rig.network.copies = 5.0, 0
    leaving = rig.place(-1, rig.lots(), flags=REDUCE, wait=False)
    rig.turn()
    gone = next(one for one in heard if one.get("x") == "CANCELED")
    rig.network.say({"subscriptionId": 0, "event": gone})
    rig.go_on(0.9)
    assert rig.kinds(guard) == ["ack"]
    rig.go_on(0.2)
    assert rig.kinds(guard) == ["ack", "canceled"] and not rig.of(leaving)
    rig.go_on(60.0)
    assert rig.kinds(leaving) == ["ack", "fill"]
    equal(rig)


def test_a_stop_that_fills_while_the_exit_is_on_its_way_leaves_nothing_short(rig):
    buy(rig, LOTS)
    held = rig.lots()
    guard = stop(rig, held)
    rig.network.answer_s = 0.2  # what happens at the venue is not heard for so long
    rig.network.copies = 0
    rig.desk.limit(1, "BUY", "58990", "500")
    rig.desk.market(2, "SELL", quantity="901")  # through the stop
    leaving = rig.place(-1, held, flags=REDUCE, wait=False)
    rig.until(lambda: rig.of(leaving) and rig.kinds(guard)[-1] == "fill", 30.0)
    rig.go_on(10.0)
    assert rig.kinds(leaving) == ["reject"] and rig.code(leaving) == e.VENUE_REDUCE_ONLY
    assert rig.lots() == 0
    equal(rig)


def test_an_exit_that_fills_in_part_leaves_the_rest_to_a_new_stop(rig):
    buy(rig, LOTS)
    held = rig.lots()
    guard = stop(rig, held)
    rig.desk.market(2, "SELL", quantity="899.5")  # half a coin is wanted there
    leaving = sell(rig, held)
    assert rig.kinds(leaving)[-1] == "expired" and rig.kinds(guard)[-1] == "canceled"
    assert rig.lots() == held - 50_000
    assert rig.kinds(stop(rig, rig.lots(), 58_000)) == ["ack"]
    equal(rig)


def test_an_exit_that_the_venue_refuses_leaves_the_stop(rig):
    buy(rig, LOTS)
    guard = stop(rig, rig.lots())
    rig.desk.filters(market_max_qty_e8=LOT_E8)
    leaving = rig.place(-1, rig.lots(), flags=REDUCE, wait=False)
    rig.until(lambda: rig.of(leaving))
    rig.go_on(3.0)
    assert rig.kinds(leaving) == ["reject"] and rig.code(leaving) == e.VENUE_TOO_LARGE
    assert rig.kinds(guard) == ["ack"] and rig.desk.done(0, "GET", "openOrders")[0]["status"] == "NEW"


def test_what_is_too_large_for_one_order_is_sold_in_equal_parts(rig):
    buy(rig, LOTS)
    rig.desk.filters(market_max_qty_e8=30_000 * LOT_E8)
    refused = [sell(rig, rig.lots()) for _ in range(2)]  # of 99,900 half is too much as well
    assert [rig.code(one) for one in refused] == [e.VENUE_TOO_LARGE] * 2
    rig.desk.filters(min_notional_e8=9_000 * 10**8)  # no crumb of it could be sold
    parts = []
    while rig.lots():
        before = rig.lots()
        assert rig.kinds(sell(rig, before))[-1] == "fill"
        parts.append(before - rig.lots())
    assert parts == [24_975] * 4
    equal(rig)


def test_a_stop_that_is_to_change_is_taken_back_for_another_one(rig):
    buy(rig, LOTS)
    guard = stop(rig, 50_000)
    rig.send(e.ACTION_AMEND, guard, qty_lots=rig.lots(), stop_ticks=59_500 * TICKS, type=e.TYPE_STOP_MARKET)
    rig.until(lambda: rig.kinds(guard)[-1] == "canceled")
    assert rig.kinds(stop(rig, rig.lots(), 59_500)) == ["ack"]
    assert len(rig.desk.done(0, "GET", "openOrders")) == 1, "never two"


def test_what_would_be_a_short_is_refused_before_anything_is_sent(rig):
    sent = Counter()
    sent.update(line["kind"] for line in ledger(rig))
    none = rig.place(-1, 10, flags=REDUCE, wait=False)
    rig.go_on(0.1)
    assert rig.code(none) == e.VENUE_REDUCE_ONLY
    buy(rig, LOTS)
    held = rig.lots()
    more = rig.place(-1, held + 1, wait=False)
    covers = rig.place(1, 10, flags=REDUCE, wait=False)
    rig.go_on(0.1)
    assert (rig.code(more), rig.code(covers)) == (e.VENUE_BALANCE, e.VENUE_BAD_REQUEST)
    links = {line.get("client_order_id") for line in ledger(rig)}
    assert not {rig.link(one) for one in (none, more, covers)} & links
    clipped = sell(rig, held + 50)
    assert [int(one["qty_lots"]) for one in rig.of(clipped) if one["kind"] == e.REPORT_REPLACED] == [held]
    assert rig.lots() == 0
    equal(rig)


def ledger(rig):
    """Its lines so far."""
    rig.desk.venue.ledger.flush()
    with rig.desk.ledger.open() as lines:
        return [json.loads(line) for line in lines]


def test_too_little_to_be_sold_is_told_as_dust(rig, caplog):
    rig.agent._logger.addHandler(caplog.handler)
    rig.agent._logger.setLevel("ERROR")
    buy(rig, 9)  # 5.40 USDT, less the fee: the least value is 5
    rig.desk.filters(min_notional_e8=6 * 10**8)
    for identity in (sell(rig, rig.lots()), rig.place(-1, rig.lots(), stop=59_000 * TICKS, flags=REDUCE, wait=False)):
        rig.until(lambda identity=identity: rig.of(identity))
        assert rig.code(identity) == e.VENUE_TOO_SMALL
    told = [one.fields for one in caplog.records if one.message.startswith("dust")]
    assert told == [{"instrument": BTC, "amount": "0.00008"}] * 2


def test_less_than_the_least_quantity_is_dust_too(tmp_path):
    with SpotRig(tmp_path, least=1_000) as rig:
        rig.until(lambda: rig.agent.is_ready)
        buy(rig, 1_000)  # less the fee
        rig.desk.filters(min_qty_e8=1_000 * LOT_E8)
        assert rig.code(sell(rig, rig.lots())) == e.VENUE_TOO_SMALL


def test_a_part_that_is_too_small_makes_no_dust_of_the_whole(rig):
    buy(rig, LOTS)
    rig.desk.filters(market_max_qty_e8=30 * LOT_E8, min_notional_e8=100 * 10**8)
    codes = [rig.code(sell(rig, rig.lots())) for _ in range(14)]
    assert set(codes[:11]) == {e.VENUE_TOO_LARGE} and set(codes[-2:]) == {e.VENUE_FILTER}


def test_a_session_begins_without_a_lot_and_keeps_what_is_less(tmp_path):
    whole, dust = tmp_path / "whole", tmp_path / "dust"
    for folder in (whole, dust):
        folder.mkdir()
    with SpotRig(whole, coins_e8=LOT_E8) as rig, pytest.raises(InputError, match="a session begins flat"):
        rig.until(lambda: rig.agent.is_ready)
    with SpotRig(dust, coins_e8=LOT_E8 - 1) as rig:
        rig.until(lambda: rig.agent.is_ready)
    with SpotRig(dust, before=rig) as again:  # another life reads it from the log
        again.until(lambda: again.agent.is_ready)
        buy(again, LOTS + 13)
        equal(again)
    with SpotRig(dust, before=again) as third:
        third.until(lambda: third.agent.is_ready)
        assert third.agent._rest_e8 == again.agent._rest_e8 != [LOT_E8 - 1]
        buy(third, 77)
        equal(third)
        sell(third, third.lots())
        equal(third)


def test_a_coin_that_comes_or_goes_by_itself_opens_nothing_more(rig):
    buy(rig, LOTS)
    rig.desk.market(0, "BUY", quantity="0.00100")  # a person's: it is told, so the position follows
    rig.until(lambda: rig.lots() > 99_900, 30.0)
    rig.until(lambda: not rig.agent.differs)
    equal_coins = divmod(rig.held_e8(), LOT_E8)
    assert (rig.agent._lots[0], rig.agent._rest_e8[0]) == equal_coins


def test_a_kill_goes_by_name_at_once_and_spares_the_stop(rig):
    buy(rig, LOTS)
    guard = stop(rig, rig.lots())
    resting = rig.place(1, 1_000, price=50_000 * TICKS, wait=False)
    rig.until(lambda: rig.of(resting))
    rig.wires.control[CONTROL_KILL] = 1
    rig.turn()
    begun = rig.desk.now_ns
    rig.send(e.ACTION_CANCEL, resting)
    rig.until(lambda: rig.kinds(resting)[-1] == "canceled")
    assert rig.desk.now_ns - begun < 200_000_000, "there is no call for all to wait for"
    (left,) = rig.desk.done(0, "GET", "openOrders")
    assert left["clientOrderId"] == rig.link(guard)


class Watched(SpotWires):
    """Keeps when each request came and what it was told."""

    def __init__(self, *arguments):
        self.came = []
        super().__init__(*arguments)

    def _ask(self, data):
        reply = super()._ask(data)
        self.came.append((self.desk.now_ns, reply.status, float(reply.head.get("retry-after", 0))))
        return reply


def test_who_has_been_shut_out_sends_nothing_of_any_kind(tmp_path, monkeypatch):
    monkeypatch.setattr(gateway_spot, "SpotWires", Watched)
    monkeypatch.setattr(gateway_spot, "WIDE", "[limits]\nrequest_weight_1m = 3_000\n")
    with SpotRig(tmp_path) as rig:
        rig.until(lambda: rig.agent.is_ready)
        while rig.desk.raw("GET", "/api/v3/exchangeInfo")[0] != 418:  # somebody else at this address
            pass
        before = len(rig.network.came)
        for _ in range(20):
            rig.place(1, 20, price=50_000 * TICKS, wait=False)
            rig.go_on(0.5)
        (at, status, wait_s), *others = rig.network.came[before:]
        assert status == 418 and wait_s > 10.0
        assert all(one - at < 10**7 for one, _, _ in others), "but for what was on its way"


def test_who_is_asked_to_slow_down_sends_nothing_until_then(tmp_path, monkeypatch):
    monkeypatch.setattr(gateway_spot, "SpotWires", Watched)
    monkeypatch.setattr(gateway_spot, "WIDE", "[limits]\nrequest_weight_1m = 300\n")
    with SpotRig(tmp_path) as rig:
        rig.go_on(200.0)
        came = rig.network.came
        struck = [(at, wait_s) for at, status, wait_s in came if status in (418, 429)]
        assert len(struck) > 1 and all(wait_s for _, wait_s in struck)
        for at, wait_s in struck:
            early = [one for one, _, _ in came if at + 10**7 < one < at + wait_s * SECOND - 10**7]
            assert not early, (at, wait_s, early[:3])


class Hearing(SpotRig):
    """Keeps what is told by order."""

    def __init__(self, *arguments, **more):
        self.told, self.unknown = {}, set()
        super().__init__(*arguments, **more)

    def read(self):
        before = len(self.events)
        super().read()
        for report in self.events[before:]:
            self.told.setdefault((int(report["id_hi"]), int(report["id_lo"])), []).append(report)
        self.unknown |= {
            (int(one["id_hi"]), int(one["id_lo"])) for one in self.answers if one["kind"] == e.REPORT_NOT_FOUND
        }
        self.answers.clear()


def test_orders_of_which_nobody_can_say_whether_they_landed_are_found_out(tmp_path):
    """Buys, sales and sales in the place of a stop; half of the lost land, and the ledger judges."""
    wanted = 500
    rig = Hearing(tmp_path, 3, 0.9, 0.0, copies=0)
    dice = np.random.default_rng(3)
    placed, waiting, asked, took, guard = {}, set(), {}, [], None
    with rig:
        rig.until(lambda: rig.agent.is_ready)
        end = rig.desk.now_ns + 1_200 * SECOND
        while rig.network.struck < wanted or waiting:
            assert rig.desk.now_ns < end, "it comes to no end"
            if rig.network.struck < wanted and len(waiting) < FLIGHT:
                lots, is_stop = int(dice.integers(20, 500)), False
                if rig.lots() > 5_000 and dice.random() < 0.5:
                    is_stop = guard is None or is_told(rig, guard)
                    more = {"stop": 58_000 * TICKS} if is_stop else {}
                    identity = rig.place(-1, lots, flags=REDUCE, wait=False, **more)
                else:
                    identity = rig.place(1, lots, price=60_001 * TICKS, tif=e.TIF_IOC, wait=False)
                placed[identity] = asked[identity] = rig.desk.now_ns
                guard = identity if is_stop else guard
                waiting.add(identity)
            rig.turn()
            for identity in list(waiting):
                acked = identity == guard and "ack" in [e.REPORT_NAMES[int(one["kind"])] for one in
                                                        rig.told.get(identity, ())]  # fmt: skip
                if is_told(rig, identity) or identity in rig.unknown or acked:
                    waiting.discard(identity)
                    took.append((rig.desk.now_ns - placed[identity]) / SECOND)
                elif rig.desk.now_ns - asked[identity] > ASK_NS:
                    asked[identity] = rig.desk.now_ns
                    rig.send(e.ACTION_QUERY_ORDER, identity)
        rig.until(lambda: not rig.network._due)
        rig.until(lambda: not rig.agent.differs and rig.agent.is_ready)
        rig.go_on(30.0)
        equal(rig)
    lines = ledger(rig)
    taken = Counter(one["client_order_id"] for one in lines if one["kind"] == "order" and one["status"] == "accepted")
    own = {rig.link(identity): identity for identity in placed}
    assert max(number for link, number in taken.items() if link in own) == 1
    for link, identity in own.items():
        said = rig.told.get(identity, [])
        if identity in rig.unknown or any(one["kind"] == e.REPORT_REJECT for one in said):
            assert not taken[link], "given up, and it landed"
    at = np.quantile(took, [0.5, 0.99, 1.0])
    print(f"{rig.network.struck:,} without a clear answer, {len(took):,} {BTC} orders; known after {at.round(1)} s")
    assert at[1] <= RESOLVED_S
