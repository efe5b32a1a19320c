"""The gateway on a clock of the test's own: orders that wait, a kill between check and wire, orders that come late."""

import pytest
from rig.gateway import ACCOUNT
from rig.gateway_script import EPOCH_NS, REFUSED, ScriptRig

from bot4.engine.gateway_log import Heard
from bot4.model import enums as e
from bot4.model.errors import InputError
from bot4.shm.layout import CONTROL_KILL
from bot4.shm.wires import private_wires


def spend_the_turns(rig):
    """Ten stops at once: there is no turn left within this second."""
    for _ in range(10):
        rig.place(-1, 1, stop=590_000, flags=e.ORDER_REDUCE_ONLY, wait=False)
    rig.until(lambda: rig.venue.count("order/create") == 10)


def test_an_order_that_waits_for_its_turn_is_cancelled_before_it_leaves(tmp_path):
    with ScriptRig(tmp_path).ready() as rig:
        spend_the_turns(rig)
        waiting = rig.place(-1, 1, stop=590_000, flags=e.ORDER_REDUCE_ONLY)
        other = rig.place(-1, 1, stop=590_000, flags=e.ORDER_REDUCE_ONLY)
        rig.send(e.ACTION_AMEND, waiting, qty_lots=2)
        rig.send(e.ACTION_CANCEL, waiting)
        rig.until(lambda: rig.kinds(waiting)[-1:] == ["canceled"])
        assert rig.kinds(waiting) == ["cancel_reject", "canceled"]
        rig.send(e.ACTION_CANCEL, waiting)
        rig.go_on(6.0)
        assert rig.kinds(waiting) == ["cancel_reject", "canceled", "cancel_reject"]
        assert rig.venue.count("order/create", rig.link(waiting)) == 0
        assert rig.venue.count("order/cancel") == rig.agent.stats["never_landed"] == 0
        assert rig.kinds(other) == ["ack"]


def test_nothing_opens_behind_a_kill_and_what_reduces_still_leaves(tmp_path):
    with ScriptRig(tmp_path).ready() as rig:
        rig.venue.connections = 0
        entry = rig.place(1, 5, price=599_000, wait=False)
        exit_ = rig.place(-1, 5, flags=e.ORDER_REDUCE_ONLY, wait=False)
        rig.turn()
        assert not rig.of(entry)  # it waits for a connection
        rig.wires.control[CONTROL_KILL] = 1
        rig.turn()
        rig.venue.connections = 6
        rig.until(lambda: rig.of(entry) and rig.of(exit_))
        assert (rig.kinds(entry), rig.code(entry)) == (["reject"], e.EXEC_GATE_SHUT)
        assert rig.kinds(exit_) == ["ack"] and rig.venue.count("order/create") == 1


def test_an_answer_of_ours_that_cannot_be_read_is_told_once_and_comparing_goes_on(tmp_path, caplog):
    with ScriptRig(tmp_path).ready() as rig, caplog.at_level("ERROR", "bot4"):
        resting = rig.place(1, 5, price=599_000)
        rig.until(lambda: rig.of(resting))
        rig.venue.orders[rig.link(resting)]["price"] = "59900.05"
        rig.go_on(12.0)
        told = [record.fields for record in caplog.records if record.message == "unclear answer"]
        assert sorted(fields["call"] for fields in told) == ["open", "order"] and "59900.05" in told[0]["reason"]
        rig.venue.orders[rig.link(resting)]["price"] = "59900"
        rig.send(e.ACTION_CANCEL, resting)
        rig.go_on(1.0)
        assert rig.venue.count("order/cancel") == 1


def test_a_position_that_differs_shuts_at_once_and_opens_after_two_that_agree(tmp_path, caplog):
    with ScriptRig(tmp_path).ready() as first:
        pass
    first.venue.lots = 7
    with ScriptRig(tmp_path, before=first) as rig:
        rig.until(lambda: rig.agent.differs)
        entry = rig.place(1, 5, price=599_000)
        exit_ = rig.place(-1, 5, flags=e.ORDER_REDUCE_ONLY)
        rig.until(lambda: rig.of(exit_))
        assert (rig.kinds(entry), rig.code(entry)) == (["reject"], e.VENUE_DIFFERS)
        with caplog.at_level("ERROR", "bot4"):
            rig.go_on(5.0)
        said = "the venue holds another position"
        told = next(record.fields for record in caplog.records if record.message == said)
        assert told["venue"] == {0: 7} and told["ours"] == {0: 0} and "bot4-kill --flatten" in told["then"]
        assert not rig.agent.is_ready
        rig.venue.lots, begun = 0, rig.clock.ns
        rig.until(lambda: not rig.agent.differs)
        agreed = rig.clock.ns
        assert agreed - begun < 1_100_000_000 and not rig.agent.is_ready
        rig.venue.refuses["position/list"] = 10_006  # what has no answer agrees with nothing
        rig.go_on(3.0)
        assert not rig.agent.is_ready
        rig.venue.refuses.clear()
        rig.ready()
        rig.venue.lots, asked = 7, rig.venue.count("position/list")
        rig.until(lambda: rig.agent.differs)
        assert rig.venue.count("position/list") == asked + 1
        late = rig.place(1, 5, price=599_000)
        rig.until(lambda: rig.of(late))
        assert rig.code(late) == e.VENUE_DIFFERS and rig.venue.count("order/create") == 1


def given_up(rig, how, **order):
    """An order that execution was told is not there, which the venue has taken all the same; nobody knows yet."""
    if how == "rejected":
        rig.venue.refuses["order/create"] = REFUSED
        lost = rig.place(1, 5, **order)
        rig.until(lambda: rig.kinds(lost) == ["reject"])
    else:
        rig.venue.slow.add("order/create")
        rig.venue.refuses["order/create"] = REFUSED
        lost = rig.place(1, 5, **order)
        rig.send(e.ACTION_QUERY_ORDER, lost)
        rig.until(lambda: [a for a in rig.of(lost, answers=True) if a["kind"] == e.REPORT_NOT_FOUND])
    rig.venue.refuses.clear()
    rig.venue.slow.clear()
    asked = next(asked for name, asked in rig.venue.calls if asked.get("orderLinkId") == rig.link(lost))
    rig.venue.open(rig.link(lost), asked)
    return lost


@pytest.mark.parametrize("how", ["rejected", "never_landed"])
def test_an_order_that_was_given_up_and_works_is_cancelled_until_it_has_ended(tmp_path, how):
    with ScriptRig(tmp_path).ready() as rig:
        stray = given_up(rig, how, price=599_000)
        rig.venue.refuses["order/cancel"] = REFUSED
        rig.until(lambda: rig.venue.count("order/cancel", rig.link(stray)) >= 3)
        entry = rig.place(1, 5, price=599_000)
        exit_ = rig.place(-1, 5, flags=e.ORDER_REDUCE_ONLY)
        rig.until(lambda: rig.of(entry) and rig.of(exit_))
        assert (rig.kinds(entry), rig.code(entry)) == (["reject"], e.VENUE_DIFFERS)
        assert rig.kinds(exit_) == ["ack"]
        rig.venue.refuses.clear()
        rig.until(lambda: rig.link(stray) not in rig.venue.orders)
        rig.go_on(15.0)
        after = rig.place(1, 5, price=599_000)
        rig.until(lambda: rig.of(after))
        assert rig.kinds(after) == ["ack"]


def test_an_order_that_was_given_up_is_a_stray_to_the_next_life_too(tmp_path):
    with ScriptRig(tmp_path).ready() as first:
        stray = given_up(first, "never_landed", price=599_000)
        link = first.link(stray)
        landed = first.venue.orders.pop(link)
        assert first.kinds(stray) == ["not_found"]
    with ScriptRig(tmp_path, before=first).ready() as second:
        second.go_on(20.0)
        assert second.kinds(stray) == ["not_found"]  # it was over before, and nobody has looked for it again
        second.venue.orders[link] = landed
        second.until(lambda: second.kinds(stray)[-1:] == ["ack"])
        second.until(lambda: link not in second.venue.orders)


def test_one_that_only_reduces_is_left(tmp_path):
    with ScriptRig(tmp_path).ready() as rig:
        stop = given_up(rig, "rejected", stop=590_000, flags=e.ORDER_REDUCE_ONLY)
        rig.until(lambda: "ack" in rig.kinds(stop))
        rig.go_on(10.0)
        assert rig.venue.count("order/cancel") == 0 and rig.link(stop) in rig.venue.orders


@pytest.mark.parametrize("is_logged", [False, True])
def test_what_the_journal_lost_in_a_power_cut_is_taken_back_and_a_stop_not_before_another_stands(
    tmp_path, monkeypatch, is_logged
):
    """Whether our own log kept the orders or not, and whichever life after the cut comes so far."""
    with ScriptRig(tmp_path).ready() as first:
        first.venue.is_generous = True
        kept, bought = first.place(1, 5, price=599_000), first.place(1, 5, price=599_000)
        first.until(lambda: first.of(bought))
        first.venue.fill(first.link(bought), 5)
        first.until(lambda: first.lots() == 5)
        journal, told = first.journal(tmp_path / "journal.bin"), list(first.events)
        log = (tmp_path / "gateway.bin").read_bytes()
        entry = first.place(1, 5, price=598_000)
        stop = first.place(-1, 5, stop=590_000, flags=e.ORDER_REDUCE_ONLY)
        first.until(lambda: first.of(stop))
        first.go_on(3.0)
    if not is_logged:
        (tmp_path / "gateway.bin").write_bytes(log)
    first.wires, first.events = private_wires(1, 1), told
    monkeypatch.setattr("bot4.engine.gateway.boot_number", lambda: 7)
    with ScriptRig(tmp_path, before=first, heard=Heard(journal), has_lost=True) as second:
        second.wires = private_wires(1, 1)  # it dies at once
    orders = first.venue.orders
    with ScriptRig(tmp_path, before=second, heard=Heard(journal)) as third:
        third.until(lambda: third.link(entry) not in orders)
        third.go_on(10.0)
        assert list(orders) == [third.link(kept), third.link(stop)] and third.lots() == 5
        refused = third.place(1, 5, price=599_000)
        own = third.place(-1, 5, stop=591_000, flags=e.ORDER_REDUCE_ONLY)
        third.until(lambda: third.link(stop) not in orders)
        assert list(orders) == [third.link(kept), third.link(own)] and third.code(refused) == e.VENUE_DIFFERS
        third.go_on(3.0)
        after = third.place(1, 5, price=599_000)
        third.until(lambda: third.kinds(after) == ["ack"])


def test_an_open_order_under_a_name_of_ours_that_nobody_knows_is_taken_back(tmp_path):
    """A stop too where nothing is held; another account's, strategy's or person's is none of our business."""
    with ScriptRig(tmp_path).ready() as rig:
        ours, others = rig.link((ACCOUNT << 48, 1 << 60)), [rig.link((8 << 48, 1)), rig.link((7 << 48 | 1 << 32, 1))]
        stop = {"side": "Sell", "orderType": "Market", "qty": "0.005", "triggerPrice": "59000", "reduceOnly": True}
        for link in (ours, *others, "of-a-person"):
            rig.venue.open(link, stop)
        rig.until(lambda: ours not in rig.venue.orders, patience_s=15.0)
        rig.go_on(15.0)
        assert list(rig.venue.orders) == [*others, "of-a-person"]
        after = rig.place(1, 5, price=599_000)
        rig.until(lambda: rig.kinds(after) == ["ack"])


@pytest.mark.parametrize("set_by_s", [-3_600, 3_600])
def test_event_time_goes_on_whatever_the_wall_clock_is_set_to(tmp_path, set_by_s):
    with ScriptRig(tmp_path).ready() as first:
        resting = first.place(1, 5, price=599_000)
        first.until(lambda: first.of(resting))
        before = int(first.of(resting)[-1]["ts_ns"]) - first.clock.ns
    wall_ns = EPOCH_NS + set_by_s * 10**9
    with ScriptRig(tmp_path, before=first, wall_ns=wall_ns).ready() as second:
        second.send(e.ACTION_CANCEL, resting)
        second.until(lambda: second.venue.count("order/cancel") and not second.venue.orders)
        second.send(e.ACTION_CANCEL, (7 << 48, 1))
        second.until(lambda: second.of((7 << 48, 1)))
        after = int(second.of((7 << 48, 1))[-1]["ts_ns"]) - second.clock.ns
        assert abs(after - before) < 10**9
    early = ScriptRig(tmp_path, wall_ns=wall_ns)  # a monotonic clock that began anew
    early.send(e.ACTION_CANCEL, (7 << 48, 2))
    early.until(lambda: early.of((7 << 48, 2)))
    assert early.of((7 << 48, 2))[-1]["ts_ns"] >= first.of(resting)[-1]["ts_ns"]
    early.agent.close()


def test_an_order_refused_before_the_first_look_does_not_replace_it(tmp_path):
    """The market may be quicker than the first answers: what was refused meanwhile is in the log, and no session is."""
    for _ in range(2):  # another life finds the refusal in the log
        rig = ScriptRig(tmp_path)
        rig.venue.lots = 3
        early = rig.place(1, 5, price=599_000, wait=False)
        with pytest.raises(InputError, match="the account holds 1 positions"):
            rig.until(lambda rig=rig: rig.agent.is_ready)
        assert (rig.kinds(early), rig.code(early)) == (["reject"], e.VENUE_DOWN)
        rig.agent.close()


@pytest.mark.parametrize(("fee", "told"), [("0.0005501", True), ("0.00055", False), ("0.0004", False)])
def test_a_session_begins_where_the_settings_reckon_with_no_less_than_the_venues_fees(tmp_path, fee, told):
    rig = ScriptRig(tmp_path)
    rig.venue.taker_fee = fee
    if told:
        words = 'instruments.toml: taker_fee_bps of BTCUSDT: 5.5 is less than the venue takes .* write "5.51"'
        with pytest.raises(InputError, match=words):
            rig.until(lambda: rig.agent.is_ready)
    else:
        rig.ready()
    rig.agent.close()


def test_what_nobody_has_heard_is_told_again(tmp_path):
    """All processes died: what lay in the ring went with it, and execution's journal says how far it had got."""
    with ScriptRig(tmp_path).ready() as first:
        orders = [first.place(1, 5, price=599_000) for _ in range(3)]
        first.until(lambda: first.of(orders[-1]))
        told = list(first.events)
    first.wires, first.events = private_wires(1, 1), told[:1]
    with ScriptRig(tmp_path, before=first).ready() as second:
        said = [(one["event_seq"], one["kind"], one["id_lo"]) for one in second.events]
        assert said == [(one["event_seq"], one["kind"], one["id_lo"]) for one in told]
        late = second.place(1, 5, price=599_000)
        second.until(lambda: second.of(late))
        assert int(second.events[-1]["event_seq"]) == len(told) + 1


def test_what_left_before_another_boot_is_as_old_as_the_start(tmp_path, monkeypatch):
    """The monotonic clock has begun anew, so the time at which an order left says nothing."""
    with ScriptRig(tmp_path).ready() as first:
        first.venue.slow.add("order/create")
        first.venue.refuses["order/create"] = REFUSED
        lost = first.place(1, 5, price=599_000)
        first.until(lambda: first.venue.count("order/create"))
    monkeypatch.setattr("bot4.engine.gateway.boot_number", lambda: 7)
    first.clock.ns = begun = 10**11
    with ScriptRig(tmp_path, before=first).ready() as second:
        second.send(e.ACTION_QUERY_ORDER, lost)
        second.until(lambda: second.of(lost, answers=True))
        assert second.of(lost, answers=True)[0]["kind"] == e.REPORT_NOT_FOUND
        assert 13 * 10**9 < second.clock.ns - begun < 20 * 10**9


def test_a_fill_between_trades_and_positions_is_no_mismatch(tmp_path):
    """The stream is late; the venue has filled an order after it listed the trades, before it told the position."""
    with ScriptRig(tmp_path).ready() as rig:
        resting = rig.place(1, 5, price=599_000)
        rig.until(lambda: rig.of(resting))
        asked = rig.venue.count("position/list")
        rig.venue.before["position/list"] = lambda: rig.venue.fill(rig.link(resting), 5)
        rig.until(lambda: "fill" in rig.kinds(resting))
        assert rig.venue.count("position/list") == asked + 1 and rig.agent.is_ready
        after = rig.place(1, 5, price=599_000)
        rig.until(lambda: rig.of(after))
        assert rig.kinds(after) == ["ack"] and rig.lots() == 5


def test_a_fill_of_a_stop_comes_after_its_trigger_whoever_tells_of_it(tmp_path):
    with ScriptRig(tmp_path).ready() as rig:
        stop = rig.place(-1, 5, stop=590_000, flags=e.ORDER_REDUCE_ONLY)
        rig.until(lambda: rig.of(stop))
        rig.venue.fill(rig.link(stop), 5)  # the list of trades is the first to tell
        rig.until(lambda: "fill" in rig.kinds(stop))
        assert rig.kinds(stop) == ["ack", "triggered", "fill"]


def test_many_orders_that_are_asked_for_are_told_by_pages_of_the_venues_lists(tmp_path):
    with ScriptRig(tmp_path).ready() as first:
        first.venue.is_generous = True
        placed = [first.place(1, 1, price=599_000) for _ in range(300)]
        first.until(lambda: all(first.of(identity) for identity in placed), patience_s=60.0)
        for identity in placed[::6]:
            first.venue.end(first.link(identity), "Cancelled")
        first.venue.fill(first.link(placed[1]), 1)
    with ScriptRig(tmp_path, before=first) as rig:
        before, begun = len(rig.venue.calls), rig.clock.ns
        for identity in placed:
            rig.send(e.ACTION_QUERY_ORDER, identity)
        rig.until(lambda: all(rig.of(identity, answers=True) for identity in placed))
        took_s, asked = (rig.clock.ns - begun) / 1e9, rig.venue.calls[before:]
        states = [int(rig.of(identity, answers=True)[-1]["status"]) for identity in placed]
        assert states[:3] == [e.REPORT_CANCELED, e.REPORT_FILL, e.REPORT_ACK] and rig.lots() == 1
        assert states.count(e.REPORT_CANCELED) == 50 and states.count(e.REPORT_ACK) == 249
        assert sum(name.startswith("order/") and "orderLinkId" in one for name, one in asked) < 10
        assert len(asked) < 30 and took_s < 1.0, (len(asked), took_s)


def test_trades_are_asked_for_in_windows_that_the_venue_answers_for(tmp_path):
    """What was filled eight days after the session's last trade is found two days later."""
    day_ns = 86_400 * 10**9
    with ScriptRig(tmp_path).ready() as first:
        resting = first.place(1, 5, price=599_000)
        first.until(lambda: first.of(resting))
    first.clock.ns += 8 * day_ns
    first.venue.fill(first.link(resting), 5)
    first.clock.ns += 2 * day_ns
    with ScriptRig(tmp_path, before=first).ready() as second:
        assert second.kinds(resting)[:2] == ["ack", "fill"] and not second.agent.differs


@pytest.mark.parametrize("dies", [False, True])
def test_an_inquiry_looks_for_trades_no_further_back_than_its_order(tmp_path, dies):
    """Of a session that is a hundred days old: one window, in the life that sent the order and in the next one."""
    with ScriptRig(tmp_path).ready() as rig:
        venue = rig.venue
        rig.clock.ns += 100 * 86_400 * 10**9
        rig.ready().go_on(13.0)  # silence has dropped the stream
        traded = rig.place(1, 5, price=599_000)
        rig.until(lambda: rig.of(traded))
        venue.fill(rig.link(traded), 5)
        rig.until(lambda: rig.lots() == 5)
        order = rig.place(1, 5, price=599_000)
        rig.until(lambda: rig.of(order))
        begun = len(venue.calls)
        if not dies:
            venue.fill(rig.link(order), 5)
            rig.send(e.ACTION_QUERY_ORDER, order)
            rig.until(lambda: rig.lots() == 10)
    if dies:
        venue.has_stream = False
        venue.fill(rig.link(order), 5)
        with ScriptRig(tmp_path, before=rig) as rig:
            rig.send(e.ACTION_QUERY_ORDER, order)
            rig.until(lambda: rig.lots() == 10)
    asked = [one for name, one in venue.calls[begun:] if name == "execution/list" and "orderLinkId" in one]
    assert len(asked) == 1


@pytest.mark.parametrize("dies", [False, True])
def test_what_others_did_before_our_own_fill_is_found_whoever_asks_for_that_first(tmp_path, dies):
    """An inquiry about one order shows no trade of anybody else; a death behind it leaves its fill in the log."""
    with ScriptRig(tmp_path).ready() as first:
        resting = first.place(1, 5, price=599_000)
        first.until(lambda: first.of(resting))
    venue, clock = first.venue, first.clock
    clock.ns += 60 * 10**9
    venue.open("of-a-person", {"side": "Buy", "orderType": "Limit", "price": "59900", "qty": "0.003"})
    venue.fill("of-a-person", 3)
    paid = {"execType": "Funding", "execId": "paid", "orderLinkId": "", "execFee": "1.5"}
    venue.trades.append(venue.trades[-1] | paid)
    clock.ns += 600 * 10**9
    venue.fill(first.link(resting), 5)
    clock.ns += 600 * 10**9
    venue.has_stream = False
    with ScriptRig(tmp_path, before=first) as second:
        second.send(e.ACTION_QUERY_ORDER, resting)
        second.until(lambda: second.lots() == 5)
        venue.has_stream = True
        if not dies:
            venue.say(None)
            second.ready()
    with ScriptRig(tmp_path, before=second).ready() as third:
        assert third.lots() == venue.lots == 8
        assert [one["cash_e8"] for one in third.events if one["kind"] == e.REPORT_FUNDING] == [-150_000_000]


def test_a_list_without_an_end_is_none_and_nothing_opens(tmp_path, caplog):
    with ScriptRig(tmp_path).ready() as first:
        resting = first.place(1, 5, price=599_000)
        first.until(lambda: first.of(resting))
    first.venue.is_endless = first.venue.is_generous = True
    with ScriptRig(tmp_path, before=first) as rig, caplog.at_level("ERROR", "bot4"):
        rig.until(lambda: [one for one in caplog.records if "has no end" in one.message])
        entry = rig.place(1, 5, price=599_000)
        rig.until(lambda: rig.of(entry))
        assert rig.code(entry) == e.VENUE_DOWN and not rig.agent.is_ready


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_kill_takes_everything_but_stops_back_in_one_call_and_by_name_what_is_left(tmp_path, is_refused):
    with ScriptRig(tmp_path).ready() as rig:
        rig.venue.is_generous = True
        entries = [rig.place(1, 1, price=599_000) for _ in range(30)]
        stop = rig.place(-1, 5, stop=590_000, flags=e.ORDER_REDUCE_ONLY)
        rig.until(lambda: all(rig.of(identity) for identity in (*entries, stop)))
        rig.go_on(3.0)  # nobody looks for them any more
        if is_refused:
            rig.venue.refuses["order/cancel-all"] = REFUSED
        rig.wires.control[CONTROL_KILL] = 1
        for identity in entries:
            rig.send(e.ACTION_CANCEL, identity)
        rig.turn()
        assert rig.venue.count("order/cancel-all") == 1
        rig.until(lambda: all("canceled" in rig.kinds(identity) for identity in entries))
        assert rig.venue.count("order/cancel") == (len(entries) if is_refused else 0)
        assert list(rig.venue.orders) == [rig.link(stop)]


def test_a_strangers_trade_that_reduces_is_told_as_a_close(tmp_path):
    """Of `bot4-kill`, or of a person: the report must not call it an entry."""
    with ScriptRig(tmp_path).ready() as rig:
        bought = rig.place(1, 5, price=599_000)
        rig.until(lambda: rig.of(bought))
        rig.venue.fill(rig.link(bought), 5)
        rig.until(lambda: rig.lots() == 5)
        asked = {"side": "Sell", "orderType": "Market", "price": "59900", "qty": "0.005", "reduceOnly": True}
        rig.venue.open("of-somebody-else", asked)
        rig.venue.fill("of-somebody-else", 5)
        rig.until(lambda: rig.lots() == 0)
        assert [int(one["leg"]) for one in rig.events if one["kind"] == e.REPORT_FILL] == [e.LEG_ENTRY, e.LEG_FLATTEN]


def fill_part(rig, link, lots, row):
    """An order that the venue has not shown until now rests, filled in part; the stream does not tell."""
    row["cumExecQty"] = f"{lots / 1000:.3f}"
    rig.venue.orders[link] = row
    rig.venue.lots += lots
    now_ms = (EPOCH_NS + rig.clock.ns) // 1_000_000
    rig.venue.trades.append(
        {"symbol": "BTCUSDT", "category": "linear", "execType": "Trade", "execId": "t0", "orderLinkId": link,
         "side": "Buy", "execPrice": row["price"], "execQty": f"{lots / 1000:.3f}", "execFee": "0",
         "execTime": str(now_ms)}
    )  # fmt: skip


def test_a_fill_that_a_proof_has_told_itself_ends_the_proof(tmp_path):
    """The venue's lists lag: the order's own trades are none yet, and a moment later those of all hold one."""
    with ScriptRig(tmp_path).ready() as rig:
        rig.venue.lost.add("order/create")
        order = rig.place(1, 5, price=600_000, wait=False)
        link = rig.link(order)
        rig.until(lambda: link in rig.venue.orders)
        row = rig.venue.orders.pop(link)
        struck = []

        def look(after_its_own):
            whose = rig.venue.calls[-1][1].get("orderLinkId")
            if after_its_own and not whose:
                struck.append(1)
                fill_part(rig, link, 2, row)
            else:
                rig.venue.before["execution/list"] = lambda: look(whose == link)

        rig.venue.before["execution/list"] = lambda: look(False)
        rig.go_on(30.0)
        assert struck and rig.kinds(order) == ["ack", "fill"] and rig.agent.stats["never_landed"] == 0


def test_who_cannot_prove_anything_asks_less_and_less_often(tmp_path):
    with ScriptRig(tmp_path).ready() as rig:
        rig.venue.lost.add("order/create")
        order = rig.place(1, 5, price=600_000, wait=False)
        rig.until(lambda: rig.link(order) in rig.venue.orders)
        rig.venue.orders.clear()
        rig.venue.lots = 7  # somebody else's, whose trades are not listed
        rig.go_on(30.0)
        before = len(rig.venue.calls)
        rig.go_on(30.0)
        assert len(rig.venue.calls) - before < 300
