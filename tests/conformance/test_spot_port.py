"""The venue's port on coins: each verb, each outcome, each refusal of the gateway in front of Binance Spot.

What `test_venue_port` asks of a contract is asked here of a coin: nobody is short, a buy pays its fee of what it buys,
and what only reduces is cut to what is held. A level of the market is an order of the account `maker`.
"""

from itertools import count
from pathlib import Path

import pytest
from rig.exchange_desk import BTC
from rig.gateway_spot import LOT_E8, SpotExchange, SpotSocketRig, spot_row
from rig.gateway_venue import GatewayVenue

from bot4.model import enums as e
from bot4.ports.venue import ClientId, Done, NewOrder, PositionState, Refused, Unknown

pytestmark = pytest.mark.compiled
REDUCE = e.ORDER_REDUCE_ONLY
NAMES = iter(range(1, 40))
ACCOUNT = '[[account]]\nname = "{}"\nbalances = {{ USDT = "{}", BTC = "{}" }}\n'
FEES = 'maker_fee_bps = "10"\ntaker_fee_bps = "10"\n'
LOTS = 10_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One exchange for all, each test with an account of its own; its money adds up."""
    accounts = "".join(ACCOUNT.format(f"c{number}", 1_000_000, 0) + FEES for number in range(1, 40))
    accounts += "".join(ACCOUNT.format(name, 10**9, 10**4) + FEES for name in ("maker", "crowd"))
    with SpotExchange(tmp_path_factory.mktemp("exchange"), accounts=accounts) as made:
        yield made
        made.conserved()


class Bench:
    """A venue with its book."""

    silent = False

    def __init__(self, folder, server):
        self.server, self.instruments, self.ids = server, spot_row(), count(1)
        self.be("maker")
        server.signed("DELETE", "openOrders", symbol=BTC)
        for side, price in (("BUY", 59_990), ("BUY", 60_000), ("SELL", 60_010), ("SELL", 60_020)):
            self.level(side, price, "1")
        self.name = f"c{next(NAMES)}"
        self.rig = SpotSocketRig(folder, server, account=self.name, connections=3).ready()
        self.venue = GatewayVenue(self)

    def be(self, name):
        self.server.be(name)

    def level(self, side, price, qty):
        order = {"symbol": BTC, "side": side, "type": "LIMIT", "timeInForce": "GTC", "quantity": qty, "price": price}
        self.server.done("POST", "order", **order)

    def crowd(self, side, qty):
        self.be("crowd")
        self.server.done("POST", "order", symbol=BTC, side=side, type="MARKET", quantity=qty)

    def place(self, side, kind, lots, tif=e.TIF_GTC, **more):
        return self.venue.place(NewOrder(ClientId(7 << 48, next(self.ids) << 32), 0, side, kind, lots, tif, **more))

    def market(self, side, lots, **more):
        return self.place(side, e.TYPE_MARKET, lots, e.TIF_IOC, **more)

    def limit(self, side, lots, price, **more):
        return self.place(side, e.TYPE_LIMIT, lots, price_ticks=price * 100, **more)

    def stop(self, lots, trigger):
        return self.place(-1, e.TYPE_STOP_MARKET, lots, stop_ticks=trigger * 100, flags=REDUCE)


@pytest.fixture
def bench(tmp_path, server):
    made = Bench(tmp_path, server)
    yield made
    made.rig.agent.close()
    made.be(made.name)
    server.signed("DELETE", "openOrders", symbol=BTC)


def done(outcome):
    assert isinstance(outcome, Done), outcome
    return outcome.value


def code(outcome):
    assert isinstance(outcome, Refused), outcome
    return outcome.code


def lots(bench):
    return done(bench.venue.positions())[0].lots


def test_a_buy_walks_the_book_and_holds_what_the_fee_has_left(bench):
    state = done(bench.market(1, 150_000))
    assert (state.status, state.cum_lots) == (e.REPORT_EXPIRED, 149_850), "the last lots have gone as the fee"
    trades = done(bench.venue.trades_since(0))
    assert [(one.price_ticks, one.qty_lots) for one in trades] == [(6_001_000, 99_900), (6_002_000, 49_950)]
    assert [one.fee_e8 for one in trades] == [100 * 6_001_000 * 10, 50 * 6_002_000 * 10]
    assert done(bench.venue.positions())[0] == PositionState(0, 149_850, 0)
    spent = sum((one.price_ticks * one.qty_lots * 10) + one.fee_e8 for one in trades)
    assert done(bench.venue.balances()) == 10**14 - spent


def test_a_sale_pays_of_the_quote_and_is_cut_to_what_is_held(bench):
    assert code(bench.market(-1, 100, flags=REDUCE)) == e.VENUE_REDUCE_ONLY
    assert code(bench.market(-1, 100)) == e.VENUE_BALANCE
    done(bench.market(1, LOTS))
    held = lots(bench)
    assert code(bench.market(1, 100, flags=REDUCE)) == e.VENUE_BAD_REQUEST
    state = done(bench.market(-1, held + 500, flags=REDUCE))
    assert (state.status, state.qty_lots, state.cum_lots) == (e.REPORT_FILL, held, held) and lots(bench) == 0
    trade = done(bench.venue.trades_since(0))[-1]
    assert trade.fee_e8 == -(-trade.price_ticks * trade.qty_lots * 10 // 1_000)


def test_limit_orders_rest_take_up_to_their_price_or_refuse_to_take(bench):
    assert done(bench.limit(1, LOTS, 60_005)).status == e.REPORT_ACK
    assert code(bench.limit(1, LOTS, 60_010, flags=e.ORDER_POST_ONLY)) == e.VENUE_POST_ONLY
    assert done(bench.limit(1, LOTS, 60_009, flags=e.ORDER_POST_ONLY)).status == e.REPORT_ACK
    taken = done(bench.limit(1, 150_000, 60_010, tif=e.TIF_IOC))
    assert (taken.status, taken.cum_lots) == (e.REPORT_EXPIRED, 99_900)
    assert len(done(bench.venue.open_orders())) == 2
    assert len(done(bench.venue.cancel_all())) == 2 and done(bench.venue.open_orders()) == []


def test_a_stop_locks_its_coins_goes_off_and_gives_way_to_a_close(bench):
    done(bench.market(1, LOTS))
    held = lots(bench)
    guard = done(bench.stop(held, 59_000))
    assert guard.status == e.REPORT_ACK and lots(bench) == held, "what is locked is held"
    assert done(bench.market(-1, held, flags=REDUCE)).status == e.REPORT_FILL
    assert done(bench.venue.order(0, guard.id)).status == e.REPORT_CANCELED
    done(bench.market(1, LOTS))
    assert code(bench.stop(lots(bench), 60_500)) == e.VENUE_STOP_WOULD_TRIGGER
    guard = done(bench.stop(lots(bench), 59_995))
    bench.crowd("SELL", "0.95")  # 60,000
    bench.crowd("SELL", "0.10")  # 59,990
    assert done(bench.venue.order(0, guard.id)).status == e.REPORT_FILL and lots(bench) == 0


def test_filters_and_what_is_malformed(bench):
    assert code(bench.limit(1, 9, 50_000)) == e.VENUE_TOO_SMALL, "4.50 USDT"
    assert code(bench.market(1, 10**7 + 1)) == e.VENUE_TOO_LARGE
    assert code(bench.limit(1, 5_000_000, 60_000)) == e.VENUE_BALANCE
    bad = ({"side": 0}, {"type": 0}, {"tif": 0}, {"qty_lots": 0}, {"price_ticks": 0}, {"flags": 4}, {"instrument": 1})
    good = {
        "instrument": 0,
        "side": 1,
        "type": e.TYPE_LIMIT,
        "qty_lots": 100,
        "tif": e.TIF_GTC,
        "price_ticks": 6_000_000,
    }
    for number, fields in enumerate(bad):
        order = NewOrder(**{"id": ClientId(8, number + 1)} | good | fields)
        assert code(bench.venue.place(order)) == e.VENUE_BAD_REQUEST, fields


def test_a_client_id_serves_once(bench):
    order = NewOrder(ClientId(9 << 48, 1), 0, 1, e.TYPE_MARKET, LOTS, e.TIF_IOC)
    done(bench.venue.place(order))
    assert code(bench.venue.place(order)) == e.VENUE_DUPLICATE_ID
    assert lots(bench) == LOTS - 10


def test_cancel_and_what_can_be_amended(bench):
    state = done(bench.limit(1, LOTS, 59_000))
    assert done(bench.venue.amend(0, state.id, LOTS // 2)).qty_lots == LOTS // 2
    assert code(bench.venue.amend(0, state.id, LOTS)) == e.VENUE_FILTER, "an order is made smaller only"
    assert done(bench.venue.cancel(0, state.id)).status == e.REPORT_CANCELED
    assert code(bench.venue.cancel(0, state.id)) == e.VENUE_UNKNOWN_ORDER
    assert code(bench.venue.cancel(0, ClientId(1, 1))) == e.VENUE_UNKNOWN_ORDER
    done(bench.market(1, LOTS))
    guard = done(bench.stop(lots(bench), 59_000))
    bench.venue.amend(0, guard.id, lots(bench), 59_500 * 100)
    assert done(bench.venue.order(0, guard.id)).status == e.REPORT_CANCELED, "a stop is taken back for another one"


def test_orders_are_found_by_their_names_and_trades_by_the_event(bench):
    filled, resting = done(bench.market(1, LOTS)), done(bench.limit(1, LOTS, 59_000))
    assert done(bench.venue.order(0, filled.id)).cum_lots == LOTS - 10
    assert done(bench.venue.order(0, resting.id)).status == e.REPORT_ACK
    assert done(bench.venue.order(0, ClientId(1, 1))) is None
    assert [one.id for one in done(bench.venue.open_orders())] == [resting.id]
    done(bench.market(-1, 100, flags=REDUCE))
    trades = done(bench.venue.trades_since(0))
    assert [one.trade_id for one in trades] == [1, 2]
    assert done(bench.venue.trades_since(trades[0].event_seq)) == trades[1:]
    assert done(bench.venue.server_time()) > 0
    numbers = [int(event[0]["event_seq"]) for event in bench.venue.events()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_key_that_signs_by_ed25519_trades_and_hears(tmp_path, server):
    mine = next(one for one in server.ready["accounts"] if one["name"] == "c39")
    lines = Path(mine["ed25519_private_key_file"]).read_text().splitlines()
    with SpotSocketRig(tmp_path, server, secret="".join(lines[1:-1]), account="c39").ready() as rig:
        identity = rig.place(1, LOTS, price=5_000_000)
        rig.until(lambda: rig.kinds(identity)[-1:] == ["ack"])
        rig.send(e.ACTION_CANCEL, identity)
        rig.until(lambda: rig.kinds(identity)[-1:] == ["canceled"])


def test_no_answer_is_unknown_and_the_order_is_found_later(bench):
    order = NewOrder(ClientId(9 << 48, 2), 0, 1, e.TYPE_MARKET, LOTS, e.TIF_IOC)
    bench.silent = True
    bench.server.fault(kind="timeout_after", endpoint="POST /api/*")
    bench.server.fault(kind="timeout_before", endpoint="GET /api/*")
    bench.server.fault(kind="event_drop", stream="*")
    assert isinstance(bench.venue.place(order), Unknown)
    assert isinstance(bench.venue.order(0, order.id), Unknown) and isinstance(bench.venue.positions(), Unknown)
    bench.server.heal()
    bench.silent = False
    assert done(bench.venue.order(0, order.id)).cum_lots == LOTS - 10
    assert lots(bench) * LOT_E8 == (LOTS - 10) * LOT_E8
