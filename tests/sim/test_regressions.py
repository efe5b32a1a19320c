"""Twenty failures of other people's bots, each as a named script against ours.

`Rig` is execution in its real wiring, with the test as feed, shard and venue; `ScriptRig` the gateway in front of a
venue that speaks Bybit's words, both on a clock that the test turns; `GatewayRig` the gateway in front of
`bot4-exchange` over TLS. Each test fails on the build that its patch `tests/mutants/regress_NN_*` makes.
"""

import json
from decimal import Decimal

import pytest
from rig.execution import ASK, BID, Rig
from rig.gateway import Exchange, GatewayRig
from rig.gateway_script import KEY, REFUSED, ScriptRig
from rig.tables import MS, SECOND

from bot4.engine.journal import FAILED_WORD
from bot4.model import enums as e
from bot4.model.errors import Bot4Error
from bot4.shm.layout import CONTROL_KILL, CONTROL_STOP

MINUTE = 60 * SECOND
EXIT = {
    "side": e.SIDE_SELL, "type": e.TYPE_MARKET, "price_ticks": 0, "stop_ticks": 0, "leg": e.LEG_EXIT,
    "flags": e.ORDER_REDUCE_ONLY,
}  # fmt: skip
RESTING = {"tif": e.TIF_GTC, "price_ticks": BID, "qty_lots": 100}
TOO_MANY = 10_006  # Bybit's code for "too many requests"


def opened(folder, **limits):
    """Execution with whole books."""
    rig = Rig(folder, limit_changes=limits)
    rig.open_market()
    return rig


def legs(requests):
    """What went out to the venue as orders, by leg."""
    return [int(request["leg"]) for request in requests if request["action"] == e.ACTION_PLACE]


def actions(requests):
    """What was asked of the venue."""
    return [int(request["action"]) for request in requests]


# --- what goes out ---------------------------------------------------------------------------------------------------


def test_regress_01_a_strategy_that_buys_for_ever_is_stopped_at_the_exit(tmp_path):
    """Knight, 2012: dead code woke and bought for 45 minutes; nobody stood between it and the market."""
    rig = opened(tmp_path, repeat_orders=20, gross_bps=10**6, net_bps=10**6, position_bps=10**6, cool_down_ns=0)
    for number in range(212):
        rig.intent(number * MS, qty_lots=10)
        rig.run()
        for request in rig.requests():
            rig.event(number * MS + 1, e.REPORT_EXPIRED, request)
        rig.run()
    assert rig.rejects[e.RISK_REPEAT] == 1 and rig.rejects[e.RISK_KILLED] == 212 - 20 - 1
    assert rig.wires.control[CONTROL_KILL] != 0
    rig.start()
    rig.intent(SECOND, qty_lots=10)
    rig.run()
    assert legs(rig.requests()) == [], "nor after a restart"


def test_regress_02_a_quantity_where_a_value_was_meant_does_not_leave(tmp_path):
    """Citi, 2022: the value of a basket typed into the field of its units; warnings could be clicked away."""
    rig = opened(tmp_path, order_notional_e8=10**12, order_lots=10**6, position_bps=10**6, gross_bps=10**6)
    rig.intent(5, qty_lots=10**6 + 1)  # units
    rig.intent(6, qty_lots=10**6)  # value: 0.6 of the currency a lot
    rig.intent(7, price_ticks=10 * ASK, qty_lots=10)  # a digit too many
    rig.run()
    assert legs(rig.requests()) == []
    assert rig.rejects == {e.RISK_ORDER_SIZE: 1, e.RISK_NOTIONAL: 1, e.RISK_COLLAR: 1}
    rig.intent(8, qty_lots=10)
    rig.run()
    assert legs(rig.requests()) == [e.LEG_ENTRY]


def test_regress_19_what_the_venue_is_asked_for_is_worth_what_risk_has_seen(tmp_path):
    """Contracts taken for coins: orders ten times too large. The bytes are read by another path than they are made."""
    with ScriptRig(tmp_path).ready() as rig:
        rig.venue.is_generous = True
        row = rig.agent._instruments[0]
        for lots in (1, 9, 10, 99, 100, 1_234, 99_999):
            order = rig.place(1, lots, price=599_990)
            rig.until(lambda order=order: rig.of(order))
            asked = next(asked for name, asked in rig.venue.calls if asked.get("orderLinkId") == rig.link(order))
            worth = Decimal(str(asked["qty"])) * Decimal(str(asked["price"]))
            assert int(worth * 10**8) == lots * 599_990 * int(row["value_e8"])


# --- outcomes that nobody knows --------------------------------------------------------------------------------------


def test_regress_03_an_answer_that_does_not_come_is_no_refusal(tmp_path):
    """A timeout was taken for a failure, and the order was placed once more."""
    with ScriptRig(tmp_path).ready() as rig:
        rig.venue.lost.add("order/create")
        order = rig.place(1, 5, price=599_000)
        rig.until(lambda: rig.of(order))
        assert rig.kinds(order) == ["ack"]
        rig.go_on(20.0)
        assert rig.venue.count("order/create") == 1 and rig.kinds(order) == ["ack"]


def test_regress_04_nothing_is_ordered_again_while_the_first_order_is_not_known(tmp_path):
    """ "Ordering again" after a read timeout; the first one had landed."""
    rig = opened(tmp_path)
    rig.intent(5)
    rig.run()
    (entry,) = rig.requests()
    for second in range(2, 20):
        rig.quote(second * SECOND)
        rig.intent(second * SECOND + 1, event_no=int(entry["event_no"]))  # the strategy says it once more
        rig.run()
    asked = rig.requests()
    assert set(actions(asked)) == {e.ACTION_QUERY_ORDER} and rig.rejects == {e.EXEC_DUPLICATE: 18}
    assert rig.agent.memory.views[0]["pending_buy_lots"] == entry["qty_lots"], "it may be there, so it counts"


def test_regress_05_an_order_that_was_taken_before_the_network_went_is_not_forgotten(tmp_path):
    """DNS failed: orders that the venue had taken were marked as failed, and a position grew that nobody tracked."""
    with ScriptRig(tmp_path).ready() as rig:
        taken = rig.place(1, 5, price=599_000)
        rig.until(lambda: rig.of(taken))
        rig.venue.connections = 0
        rig.venue.lose_stream()
        late = rig.place(1, 5, price=599_000, wait=False)
        rig.until(lambda: rig.of(late))
        assert (rig.kinds(late), rig.code(late)) == (["reject"], e.VENUE_DOWN)  # it never left
        rig.venue.fill(rig.link(taken), 5)
        for _ in range(6):
            rig.go_on(10.0)
        assert rig.kinds(taken) == ["ack"]
        rig.venue.connections, rig.venue.has_stream = 6, True
        rig.venue.say(None)
        rig.until(lambda: rig.lots() == 5)
        assert rig.kinds(taken) == ["ack", "fill"] and rig.venue.count("order/create") == 1


def test_regress_06_orders_whose_answers_were_lost_are_found_and_taken_back(tmp_path):
    """Six buys that network errors had made "dead" were alive, filled, and made an inventory that nobody wanted."""
    with ScriptRig(tmp_path).ready() as rig:
        rig.venue.lost.add("order/create")
        orders = [rig.place(1, 5, price=599_000) for _ in range(6)]
        rig.until(lambda: rig.venue.count("order/create") == 6)
        for order in orders[:3]:
            rig.venue.fill(rig.link(order), 5)
        for order in orders:
            rig.send(e.ACTION_CANCEL, order)
        rig.until(lambda: all(rig.kinds(order)[-1:] in (["fill"], ["canceled"]) for order in orders))
        assert rig.lots() == rig.venue.lots == 15 and not rig.venue.orders
        assert rig.venue.count("order/create") == 6


def test_regress_09_an_order_that_is_not_there_yet_has_not_been_rejected(tmp_path):
    """Not found in time was taken for "rejected"; the order lived, and what it filled was an orphan."""
    with ScriptRig(tmp_path).ready() as rig:
        rig.venue.lost.add("order/create")
        rig.venue.refuses["order/create"] = REFUSED  # nothing is opened now, and nobody is told
        order = rig.place(1, 5, price=599_000)
        rig.go_on(3.0)
        assert rig.venue.count("order/realtime", rig.link(order)) >= 2 and not rig.of(order)
        asked = next(asked for name, asked in rig.venue.calls if asked.get("orderLinkId") == rig.link(order))
        rig.venue.open(rig.link(order), asked)  # it comes late
        rig.until(lambda: rig.of(order))
        assert rig.kinds(order) == ["ack"] and rig.agent.stats["never_landed"] == 0


def test_regress_11_a_cancel_without_an_answer_cancels_nothing(tmp_path):
    """An order was "cancelled" when its cancel timed out; it had filled, and the bot held what it did not know of."""
    with ScriptRig(tmp_path).ready() as rig:
        order = rig.place(1, 5, price=599_000)
        rig.until(lambda: rig.of(order))
        rig.venue.lost.add("order/cancel")
        rig.venue.before["order/cancel"] = lambda: rig.venue.fill(rig.link(order), 5)
        rig.send(e.ACTION_CANCEL, order)
        rig.until(lambda: rig.lots() == 5)
        rig.go_on(10.0)
        assert rig.kinds(order)[-1] == "fill" and "canceled" not in rig.kinds(order)


def test_regress_18_who_is_asked_to_slow_down_sends_nothing_until_then(tmp_path):
    """Storms of roll-backs and retries ended in a ban of the address with orders open."""
    with ScriptRig(tmp_path).ready() as rig:
        order = rig.place(1, 5, price=599_000)
        rig.until(lambda: rig.of(order))
        rig.venue.lost.add("order/create")
        unknown = [rig.place(1, 5, price=599_000) for _ in range(4)]
        rig.venue.wants_s = 20
        asked = rig.venue.count("order/realtime")
        rig.until(lambda: rig.venue.count("order/realtime") > asked)
        rig.go_on(0.1)  # what was under way
        before = len(rig.venue.calls)
        late = rig.place(1, 5, price=599_000)
        rig.send(e.ACTION_CANCEL, order)
        rig.go_on(19.0)
        assert len(rig.venue.calls) == before
        assert (rig.kinds(late), rig.code(late)) == (["reject"], e.VENUE_RATE), (
            "it does not wait and leave at an old price"
        )
        rig.venue.wants_s = 0
        rig.until(lambda: rig.kinds(order)[-1] == "canceled" and all(rig.kinds(one) == ["ack"] for one in unknown))
        assert rig.venue.count("order/create", rig.link(late)) == 0


# --- the market is not what it seems ---------------------------------------------------------------------------------


def test_regress_07_nothing_is_opened_at_a_price_that_has_stood_still(tmp_path):
    """A book that was stuck for 45 minutes, and orders at the same old price all the while."""
    rig = opened(tmp_path, quote_age_ns=SECOND)
    rig.intent(5, **RESTING)
    rig.run()
    (resting,) = rig.requests()
    rig.ack(6, resting)
    for minute in range(1, 46):
        rig.intent(minute * MINUTE, qty_lots=10)
        rig.run()
    assert rig.rejects == {e.EXEC_NO_QUOTE: 45} and rig.requests() == []
    rig.whole(46 * MINUTE, whole=False)  # the feed has noticed: what rests goes
    rig.run()
    (cancel,) = rig.requests()
    assert (cancel["action"], cancel["id_lo"]) == (e.ACTION_CANCEL, resting["id_lo"])
    rig.intent(47 * MINUTE, qty_lots=10)
    rig.quote(48 * MINUTE)  # a quote is not a whole book
    rig.intent(48 * MINUTE + 1, qty_lots=10)
    rig.run()
    assert legs(rig.requests()) == [] and rig.rejects == {e.EXEC_NO_QUOTE: 45, e.DATA_STALE: 2}


# --- positions and restarts ------------------------------------------------------------------------------------------


def test_regress_08_a_position_that_cannot_be_asked_for_is_not_flat(tmp_path):
    """A warm restart made up an opposite fill, and the bot believed that it was flat."""
    with ScriptRig(tmp_path).ready() as first:
        bought = first.place(1, 5, price=599_000)
        first.until(lambda: first.of(bought))
        first.venue.fill(first.link(bought), 5)
        first.until(lambda: first.lots() == 5)
    first.venue.refuses["position/list"] = TOO_MANY
    with ScriptRig(tmp_path, before=first) as rig:
        rig.go_on(20.0)
        assert not rig.agent.is_ready and rig.lots() == 5
        entry = rig.place(1, 5, price=599_000)
        rig.until(lambda: rig.of(entry))
        assert (rig.kinds(entry), rig.code(entry)) == (["reject"], e.VENUE_DOWN)
        rig.venue.refuses.clear()
        asked = rig.venue.count("position/list")
        rig.until(lambda: rig.agent.is_ready)
        assert rig.venue.count("position/list") >= asked + 2, "two comparisons that agree"
        assert rig.lots() == rig.venue.lots == 5 and not [one for one in rig.events if one["kind"] == e.REPORT_POSITION]


def test_regress_10_a_fill_counts_once_whoever_tells_of_it(tmp_path):
    """One fill was inferred, then told, then told again by the next start: it counted each time."""
    with ScriptRig(tmp_path).ready() as first:
        order = first.place(1, 5, price=599_000)
        first.until(lambda: first.of(order))
        first.venue.fill(first.link(order), 5)
        trade = {"topic": "execution", "data": [first.venue.trades[0]]}
        first.until(lambda: first.lots() == 5)  # found by asking
        for _ in range(3):
            first.venue.say(trade)
        first.go_on(1.0)
        assert first.lots() == 5
    with ScriptRig(tmp_path, before=first) as rig:
        rig.venue.say(trade)
        rig.until(lambda: rig.agent.is_ready)
        rig.venue.say(trade)
        rig.go_on(5.0)
        assert rig.lots() == rig.venue.lots == 5


def test_regress_12_a_fill_is_kept_though_the_disk_does_not_take_it(tmp_path):
    """A locked database: the order had filled, and it was never stored."""
    rig = opened(tmp_path)
    rig.intent(5)
    rig.run()
    (entry,) = rig.requests()
    rig.agent.memory.header[FAILED_WORD] = 1  # what the syncing thread writes when the disk has said no
    rig.fill(6 * MS, entry)
    rig.intent(7 * MS, qty_lots=10)
    rig.run()
    assert rig.position["lots"] == 1_000 and legs(rig.requests())[0] == e.LEG_STOP
    assert rig.rejects == {e.RISK_KILLED: 1}, "and nothing more is opened"
    rig.start()
    assert rig.position["lots"] == 1_000, "in the journal all the same"


def test_regress_13_no_stop_is_placed_behind_a_position_that_has_closed(tmp_path):
    """A stop that came back after the exit could have opened a position the other way round."""
    rig = opened(tmp_path)
    _, (stop,) = rig.enter()
    rig.ack(4 * MS, stop)
    rig.intent(5 * MS, **EXIT)
    rig.run()
    (leave,) = rig.requests()
    rig.fill(6 * MS, leave)
    rig.run()
    (cancel,) = rig.requests()
    assert (cancel["action"], cancel["id_lo"]) == (e.ACTION_CANCEL, stop["id_lo"])
    rig.event(7 * MS, e.REPORT_CANCELED, stop)
    for second in range(1, 10):
        rig.quote(second * SECOND)
        rig.run()
    rig.start()
    assert legs(rig.requests()) == [] and rig.position["lots"] == 0


def test_regress_14_a_position_whose_stops_the_venue_refuses_is_closed(tmp_path):
    """The venue moved stops to another address: every stop was refused, and positions stood without any."""
    rig = opened(tmp_path)
    _, (stop,) = rig.enter()
    rig.event(5 * MS, e.REPORT_REJECT, stop, code=e.VENUE_BAD_REQUEST)
    rig.run()
    (close,) = rig.requests()
    assert (close["leg"], close["type"], close["qty_lots"]) == (e.LEG_FLATTEN, e.TYPE_MARKET, 1_000)
    assert close["flags"] == e.ORDER_REDUCE_ONLY and close["ts_ns"] - stop["ts_ns"] < 2 * SECOND
    rig.fill(6 * MS, close)
    rig.run()
    assert rig.position["lots"] == 0 and rig.requests() == []


def test_regress_15_a_start_survives_a_missing_stop_and_a_fill_of_long_ago(tmp_path):
    """One bot crashed at each start over a stop that was gone, another hung an old fill on a new trade."""
    rig = opened(tmp_path)
    entry, (stop,) = rig.enter()
    rig.ack(4 * MS, stop)
    rig.run()
    rig.start()
    questions = [request for request in rig.requests() if request["action"] == e.ACTION_QUERY_ORDER]
    (question,) = [request for request in questions if request["id_lo"] == stop["id_lo"]]
    rig.event(5 * MS, e.REPORT_CANCELED, stop)  # gone while nobody looked
    rig.fill(5 * MS, entry)
    rig.event(5 * MS, e.REPORT_FILL, entry, qty_lots=1_000, price_ticks=ASK, trade_id=1)  # of before, once more
    rig.event(6 * MS, e.REPORT_NOT_FOUND, question, event_seq=0)
    rig.event(6 * MS, e.REPORT_QUERY_END, question, event_seq=0)
    rig.quote(7 * MS)
    rig.run()
    assert rig.position["lots"] == 2_000, "what the venue filled is held; what it has told twice, once"


# --- shut is shut ----------------------------------------------------------------------------------------------------


def test_regress_16_at_the_drawdown_nothing_works_that_opens_and_the_stop_stands(tmp_path):
    """Trading was "stopped" at ten per cent; what was open went on, and the account lost forty."""
    rig = opened(tmp_path, drawdown_bps=1, daily_loss_bps=9_999)
    _, (stop,) = rig.enter(stop_ticks=BID - 150_000)
    rig.ack(4 * MS, stop)
    rig.quote(10 * MS, bid=BID - 110_000, ask=ASK - 110_000)
    rig.intent(11 * MS, price_ticks=ASK - 110_000, stop_ticks=BID - 190_000, qty_lots=100)
    rig.run()
    assert rig.rejects == {e.RISK_DRAWDOWN: 1} and legs(rig.requests()) == []
    rig.event(12 * MS, e.REPORT_TRIGGERED, stop)
    rig.fill(12 * MS, stop, price=BID - 150_000)
    rig.quote(13 * MS)  # all the way back
    rig.intent(14 * MS, qty_lots=100)
    rig.run()
    assert rig.position["lots"] == 0 and rig.rejects == {e.RISK_DRAWDOWN: 2}


def test_regress_17_a_session_that_ends_places_nothing_new(tmp_path):
    """Orders were placed while the bot shut down, and stayed behind."""
    rig = opened(tmp_path)
    _, (stop,) = rig.enter()
    rig.ack(4 * MS, stop)
    rig.run()
    rig.wires.control[CONTROL_STOP] = 1
    for number in range(10):
        rig.intent(5 * MS + number, qty_lots=10)
    rig.intent(6 * MS, **EXIT)
    rig.run()
    assert legs(rig.requests()) == [e.LEG_EXIT] and rig.rejects == {e.EXEC_GATE_SHUT: 10}


@pytest.mark.parametrize("flaw", ["withdraws", "from_anywhere"])
def test_regress_20_a_key_that_could_rob_the_account_is_not_used(tmp_path, monkeypatch, flaw):
    """Stolen keys withdrew what they could reach: ours can withdraw nothing, from one address alone."""
    key = json.loads(json.dumps(KEY))
    if flaw == "withdraws":
        key["permissions"]["Wallet"] = ["Withdraw"]
    else:
        key["ips"] = ["*"]
    monkeypatch.setattr("rig.gateway_script.KEY", key)
    with ScriptRig(tmp_path) as rig, pytest.raises(Bot4Error, match="key"):
        rig.go_on(5.0)
    assert rig.venue.count("order/create") == 0


@pytest.mark.compiled
def test_regress_03_over_real_connections(tmp_path):
    """The same as the third, with an exchange that takes the order and then cuts the connection."""
    with Exchange(tmp_path / "exchange") as server:
        server.make_book()
        server.fault(kind="timeout_after", endpoint="POST /v5/order/create", times=1)
        with GatewayRig(tmp_path, server).ready() as rig:
            order = rig.place(1, 5, price=599_000)
            rig.until(lambda: rig.of(order))
            assert rig.kinds(order) == ["ack"]
        server.stop()
        lines = [json.loads(line) for line in server.ledger.read_text().splitlines()]
        mine = f"{order[0]:016x}{order[1]:016x}"
        assert sum(line.get("client_order_id") == mine and line["status"] == "accepted" for line in lines
                   if line["kind"] == "order") == 1  # fmt: skip
