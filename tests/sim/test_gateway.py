"""The gateway against an exchange of its own over real sockets: what it sends, what it tells, what it refuses.

The exchange's ledger is the only judge of what was sent and what landed.
"""

import base64
import json
import random
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from rig.exchange_bybit import BTC
from rig.execution import T0, Rig
from rig.gateway import ACCOUNTS, WIDE, Exchange, GatewayRig, instrument_row
from rig.gateway_ccxt import CcxtRig
from rig.journal import wait_for

from bot4.engine.gateway_log import Heard, settle_log
from bot4.engine.journal import HEADER_BYTES
from bot4.model import enums as e
from bot4.model.errors import InputError
from bot4.model.records import (
    EXEC_REPORT,
    JOURNAL,
    JOURNAL_EVENT,
    JOURNAL_INTENT,
    JOURNAL_REQUEST,
    ORDER_INTENT,
)
from bot4.shm.layout import CONTROL_KILL
from bot4.shm.wires import GAUGE_VENUE_GUARD, GUARD_ARMED, GUARD_STOP_RESTS, VENUE_ROW

pytestmark = pytest.mark.compiled
KINDS = ("timeout_before", "timeout_after", "error_before", "error_after", "reset_before", "reset_after", "garbage",
         "empty", "late_before", "late_after")  # fmt: skip
ASK_S = 0.4  # sooner than execution does: an order that comes late is asked for before it lands
FAULTY = ("withdraws", "transfers", "unbound", "reads_only")
BAD_KEYS = "".join(
    f'[[account]]\nname = "{name}"\nbalances = {{ USDT = "100000" }}\nkey_faults = ["{name}"]\n' for name in FAULTY
)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    with Exchange(tmp_path_factory.mktemp("exchange"), accounts=ACCOUNTS + BAD_KEYS) as made:
        made.make_book()
        yield made
        made.conserved()
        made.stop()


@pytest.fixture(params=[GatewayRig, CcxtRig], ids=["native", "ccxt"])
def way(request):
    """To the venue."""
    return request.param


@pytest.fixture
def calm(exchange):
    """The exchange without faults; nothing of ours is open afterwards."""
    exchange.heal()
    yield exchange
    make_flat(exchange)


def make_flat(exchange):
    """No fault any more, nothing of ours is open."""
    exchange.heal()
    exchange.be("main")
    exchange.done("POST", "order/cancel-all", category="linear", settleCoin="USDT")
    row = exchange.done("GET", "position/list", category="linear", symbol=BTC)["list"][0]
    if row["side"]:
        exchange.done("POST", "order/create", category="linear", symbol=BTC, qty=row["size"], orderType="Market",
                      side="Sell" if row["side"] == "Buy" else "Buy", reduceOnly=True)  # fmt: skip
    exchange.be("maker")


def links(exchange):
    """Orders of the account by the ledger: how often each id was sent, and was taken."""
    lines = [json.loads(line) for line in exchange.ledger.read_text().splitlines()]
    own = [line for line in lines if line.get("account") == "main"]
    sent = Counter(
        json.loads(base64.b64decode(line["body"])).get("orderLinkId", "")
        for line in own
        if line["kind"] == "request" and line["target"].startswith("/v5/order/create")
    )
    taken = Counter(line["client_order_id"] for line in own if line["kind"] == "order" and line["status"] == "accepted")
    return sent, taken, [line for line in own if line["kind"] == "fill"]


def link(identity):
    return f"{identity[0]:016x}{identity[1]:016x}"


def ended(rig, *identities):
    """Whether each of them has an end: a last event, or all of it is filled."""
    for identity in identities:
        said = rig.of(identity)
        ends = (e.REPORT_REJECT, e.REPORT_CANCELED, e.REPORT_EXPIRED)
        if not any(report["kind"] in ends or (report["kind"] == e.REPORT_FILL and report["leaves_lots"] == 0)
                   for report in said):  # fmt: skip
            return False
    return True


def test_orders_of_each_kind_and_what_is_told_of_them(tmp_path, calm, way):
    with way(tmp_path, calm).ready() as rig:
        bought = rig.place(1, 10)
        rig.until(lambda: ended(rig, bought))
        assert rig.kinds(bought) == ["ack", "fill"]
        fill = rig.of(bought)[-1]
        assert (fill["price_ticks"], fill["qty_lots"], fill["trade_id"]) == (600_010, 10, 1)
        assert fill["fee_e8"] == 600_010 * 10 * 10_000 * 550 // 1_000_000
        resting = rig.place(1, 5, price=599_000, flags=e.ORDER_POST_ONLY)
        stop = rig.place(-1, 10, stop=590_000, flags=e.ORDER_REDUCE_ONLY)
        taking = rig.place(1, 5, price=600_010, flags=e.ORDER_POST_ONLY)
        too_small = rig.place(1, 1, price=1_000, tif=e.TIF_IOC)
        rig.until(lambda: rig.of(resting) and rig.of(stop) and ended(rig, taking, too_small))
        assert rig.kinds(resting) == rig.kinds(stop) == ["ack"]
        assert (rig.kinds(taking)[-1], rig.code(taking)) == ("reject", e.VENUE_POST_ONLY)
        assert (rig.kinds(too_small), rig.code(too_small)) == (["reject"], e.VENUE_FILTER)
        rig.send(e.ACTION_AMEND, stop, qty_lots=10, stop_ticks=591_000)
        rig.until(lambda: rig.kinds(stop) == ["ack", "replaced"])
        assert rig.of(stop)[-1]["price_ticks"] == 591_000
        rig.send(e.ACTION_CANCEL, resting)
        rig.until(lambda: ended(rig, resting))
        assert rig.kinds(resting) == ["ack", "canceled"]
        rig.send(e.ACTION_CANCEL, resting)
        rig.until(lambda: rig.kinds(resting)[-1] == "cancel_reject")
        sold = rig.place(-1, 4, flags=e.ORDER_REDUCE_ONLY)
        rig.until(lambda: ended(rig, sold))
        rig.send(e.ACTION_AMEND, stop, qty_lots=6)
        rig.until(lambda: rig.kinds(stop).count("replaced") == 2)
        assert rig.of(stop)[-1]["qty_lots"] == 6
        sold = rig.place(-1, 9, flags=e.ORDER_REDUCE_ONLY)
        rig.until(lambda: ended(rig, sold))
        assert (rig.kinds(sold)[-1], rig.lots()) == ("expired", 0)  # never beyond the position
        rig.send(e.ACTION_CANCEL, stop)
        rig.until(lambda: ended(rig, stop))
        rig.send(e.ACTION_QUERY_ORDER, bought)
        stranger = (7 << 48, 2**24)
        rig.send(e.ACTION_QUERY_ORDER, stranger)
        rig.send(e.ACTION_QUERY_TRADES, (5, 0), aux=int(fill["event_seq"]))
        rig.until(lambda: [a for a in rig.answers if a["kind"] == e.REPORT_QUERY_END and a["id_hi"] == 5])
        assert [int(answer["status"]) for answer in rig.of(bought, answers=True)] == [e.REPORT_FILL]
        rig.until(lambda: [a["kind"] for a in rig.of(stranger, answers=True)] == [e.REPORT_NOT_FOUND])
        told = [int(answer["trade_id"]) for answer in rig.answers if answer["kind"] == e.REPORT_FILL]
        assert told == [int(r["trade_id"]) for r in rig.events if r["kind"] == e.REPORT_FILL][1:]
    assert [int(report["event_seq"]) for report in rig.events] == list(range(1, len(rig.events) + 1))


def test_an_end_waits_for_the_fills_that_it_speaks_of(tmp_path, calm, way):
    with way(tmp_path, calm).ready() as rig:
        bought = rig.place(1, 5)
        rig.until(lambda: ended(rig, bought))
        calm.fault(kind="event_drop", stream="execution", times=1)
        sold = rig.place(-1, 9, flags=e.ORDER_REDUCE_ONLY)
        rig.until(lambda: ended(rig, sold))
        assert rig.kinds(sold) == ["ack", "fill", "expired"] and rig.lots() == 0


CROSSES = {GatewayRig: 300, CcxtRig: 30}


def test_two_strategies_that_cross_on_purpose_never_trade_with_each_other(tmp_path, calm, way):
    """Each order meets the resting one of the other side: the venue ends that, and execution is told so, once."""
    with way(tmp_path, calm).ready() as rig:
        crossing = []
        for number in range(CROSSES[way] + 1):
            crossing.append(rig.place(-1 if number % 2 else 1, 1 + number % 3, price=600_000))
            rig.until(lambda: rig.of(crossing[-1]) and ended(rig, *crossing[-2:-1]))
        assert all(rig.kinds(one) == ["ack", "expired"] for one in crossing[:-1])
        assert {rig.code(one) for one in crossing[:-1]} == {e.VENUE_SELF_TRADE}
        assert rig.kinds(crossing[-1]) == ["ack"] and rig.lots() == 0
        lines = [json.loads(line) for line in calm.ledger.read_text().splitlines()]
        ours = set(map(link, crossing))
        said = [line for line in lines if line["kind"] == "order" and line["client_order_id"] in ours]
        ends = Counter((line["status"], line["reason"]) for line in said if line["status"] in ("expired", "filled"))
        assert ends == {("expired", "VENUE_SELF_TRADE"): len(crossing) - 1}
        assert not [line for line in lines if line["kind"] == "fill" and line["client_order_id"] in ours]
        both_sides = Counter(line["trade_id"] for line in lines if line["kind"] == "fill" and line["account"] == "main")
        assert set(both_sides.values()) <= {1}


def test_a_persons_trade_is_told_as_none_of_our_orders(tmp_path, calm, way):
    """It bears no id of ours, and the venue's answer to a question without an id is its latest order, which is."""
    with way(tmp_path, calm).ready() as rig:
        calm.fault(kind="event_drop", stream="execution")
        calm.be("main")
        calm.done("POST", "order/create", category="linear", symbol=BTC, side="Buy", qty="0.003", orderType="Market")
        ours = [rig.place(1, lots) for lots in (4, 5)]
        rig.until(lambda: all(ended(rig, one) for one in ours) and rig.lots() == 12)
        for one, lots in zip(ours, (4, 5), strict=True):
            assert sum(int(r["qty_lots"]) for r in rig.of(one) if r["kind"] == e.REPORT_FILL) == lots


def ambiguous(folder, exchange, count, seed, way=GatewayRig, **more):
    """Orders of which half have no clear answer: what is told of each is what the ledger says of it."""
    dice = random.Random(seed)
    for kind in KINDS:
        exchange.fault(kind=kind, endpoint="POST /v5/order/create", probability=0.08, delay_ms=1_200)
    exchange.fault(kind="event_drop", stream="execution", probability=0.1)
    exchange.fault(kind="event_drop", stream="order", probability=0.1)
    exchange.fault(kind="event_duplicate", stream="execution", probability=0.1)
    with way(folder, exchange, **more).ready() as rig:
        asked, waiting, placed = {}, set(), []
        begun = time.monotonic()
        while len(placed) < count or waiting:
            assert time.monotonic() - begun < 60 + 2 * count, (rig.agent.stats, [rig.kinds(one) for one in waiting])
            if len(placed) < count and rig.caller.free():
                identity = rig.place(dice.choice((1, -1)), dice.randrange(1, 5))
                placed.append(identity)
                waiting.add(identity)
                asked[identity] = time.monotonic()
            rig.turn()
            now = time.monotonic()
            for identity in list(waiting):
                if ended(rig, identity) or any(a["kind"] == e.REPORT_NOT_FOUND for a in rig.of(identity, True)):
                    waiting.discard(identity)
                elif now - asked[identity] > ASK_S:  # as execution does with an order that nothing is heard of
                    asked[identity] = now
                    rig.send(e.ACTION_QUERY_ORDER, identity)
        rig.until(lambda: not rig.agent.differs)
    sent, taken, fills = links(exchange)
    mine = {link(identity) for identity in placed}
    refused = [identity for identity in placed if rig.kinds(identity) == ["reject"]]
    here = [identity for identity in placed if sent[link(identity)]]
    assert max(sent[one] for one in mine) == 1 and max(taken[one] for one in mine) == 1
    lost = [identity for identity in placed if any(a["kind"] == e.REPORT_NOT_FOUND for a in rig.of(identity, True))]
    assert lost and not any(taken[link(identity)] for identity in (*lost, *refused))
    assert {link(identity) for identity in here} - {one for one in mine if taken[one]} == {
        link(identity) for identity in (*lost, *(one for one in refused if sent[link(one)]))
    }
    lots = Counter()
    for fill in fills:
        if fill["client_order_id"] in mine:
            lots[fill["client_order_id"]] += fill["qty_lots"]
    for identity in placed:
        told = [report for report in rig.of(identity) if report["kind"] == e.REPORT_FILL]
        assert sum(int(report["qty_lots"]) for report in told) == lots[link(identity)], link(identity)
    assert [int(report["event_seq"]) for report in rig.events] == list(range(1, len(rig.events) + 1))
    struck = sum(fault["done"] for fault in exchange.faults() if fault["kind"] in KINDS)
    print(f"{len(placed)} orders, {struck} without a clear answer, {len(lost)} never landed, {len(refused)} refused")
    return struck


def test_ambiguous_outcomes_are_found_out_and_never_sent_again(tmp_path, calm, way):
    assert ambiguous(tmp_path, calm, 100, 1, way) > 50


@pytest.mark.stress
def test_two_thousand_ambiguous_outcomes(tmp_path, calm):
    struck, seed = 0, 2
    while struck < 2_000:
        folder = tmp_path / str(seed)
        folder.mkdir()
        struck += ambiguous(folder, calm, 400, seed, connections=24, total=(1_000_000, 1.0))
        make_flat(calm)
        seed += 1


def test_a_restarted_gateway_goes_on_without_hole_or_repeat(tmp_path, calm):
    with GatewayRig(tmp_path, calm).ready() as first:
        bought = first.place(1, 10)
        first.until(lambda: ended(first, bought))
        resting = first.place(1, 5, price=599_000)
        first.until(lambda: first.of(resting))
        calm.fault(kind="event_drop", stream="*")  # what happens now is told by nobody
        sold = first.place(-1, 10)
        first.turn()
    seen = len(first.events)
    unread = first.place(1, 3, wait=False)  # lies in the ring unread
    calm.heal()
    with GatewayRig(tmp_path, calm, before=first).ready() as second:
        second.until(lambda: ended(second, sold))
        assert second.kinds(bought) == ["ack", "fill"] and second.lots() == 0
        second.send(e.ACTION_CANCEL, resting)
        second.until(lambda: ended(second, resting))
        second.send(e.ACTION_QUERY_ORDER, unread)
        second.until(lambda: second.of(unread, answers=True))
        assert [int(a["kind"]) for a in second.of(unread, answers=True)] == [e.REPORT_NOT_FOUND]
        assert len(second.events) > seen
    assert [int(report["event_seq"]) for report in second.events] == list(range(1, len(second.events) + 1))
    sent, taken, _ = links(calm)
    assert sent[link(unread)] == taken[link(unread)] == 0 and sent[link(sold)] == taken[link(sold)] == 1


@pytest.mark.parametrize("kept", [1, 5])
def test_a_power_cut_takes_the_logs_tail_and_nothing_is_lost_or_told_twice(tmp_path, calm, monkeypatch, kept):
    """The journal is synced, the log is not: orders and events come from the one, keys of trades from the venue."""
    with GatewayRig(tmp_path, calm).ready() as first:
        bought = first.place(1, 10)
        first.until(lambda: ended(first, bought))
        resting = first.place(1, 5, price=599_000)
        again = first.place(1, 10)
        first.until(lambda: first.of(resting) and ended(first, again))
        calm.fault(kind="event_drop", stream="*")
        unheard = first.place(1, 4)
        first.turn()
    calm.heal()
    told = len(first.events)
    log = tmp_path / "gateway.bin"
    with log.open("r+b") as file:
        file.seek(HEADER_BYTES + kept * JOURNAL.itemsize)
        file.write(bytes(JOURNAL.itemsize))  # one page did not get to the disk
    for name in ("gateway", "gateway_log"):
        monkeypatch.setattr(f"bot4.engine.{name}.boot_number", lambda: 7)
    heard = Heard(first.journal(tmp_path / "journal.bin"))
    assert (heard.last, heard.has_orders) == (told, True)
    for life in range(2):  # the second one finds everything in the log
        assert settle_log(log) == (life == 0)
        with GatewayRig(tmp_path, calm, before=first, heard=heard, has_lost=life == 0) as next_one:
            next_one.ready()
            if life == 0:
                next_one.until(lambda: ended(next_one, unheard))
            first = next_one
            assert first.lots() == 24 and not first.agent.differs
            heard = Heard(first.journal(tmp_path / f"journal-{life}.bin"))
    with GatewayRig(tmp_path, calm, before=first) as last:
        last.ready()
        last.send(e.ACTION_CANCEL, resting)
        last.until(lambda: ended(last, resting))
        sold = last.place(-1, 24)
        last.until(lambda: ended(last, sold))
    assert [int(report["event_seq"]) for report in last.events] == list(range(1, len(last.events) + 1))
    sent, taken, _ = links(calm)
    assert sent[link(unheard)] == taken[link(unheard)] == sent[link(resting)] == 1
    assert list(tmp_path.glob("gateway.bin.before-*"))


def test_what_is_beyond_the_rate_is_refused_here_and_cancels_still_go(tmp_path):
    with Exchange(tmp_path / "exchange", scenario="") as narrow:
        narrow.make_book()
        with GatewayRig(tmp_path, narrow, connections=12).ready() as rig:
            resting = rig.place(1, 1, price=599_000)
            rig.until(lambda: rig.of(resting))
            burst = [rig.place(1, 1, price=599_000, wait=False) for _ in range(15)]
            rig.send(e.ACTION_CANCEL, resting)
            rig.until(lambda: all(rig.of(identity) for identity in burst) and ended(rig, resting))
            refused = [identity for identity in burst if rig.kinds(identity) == ["reject"]]
            assert 7 <= len(refused) <= 10 and {rig.code(identity) for identity in refused} == {e.VENUE_RATE}
            time.sleep(1.2)
            narrow.fault(kind="rate_limit", endpoint="POST /v5/order/create", times=1)
            hit = rig.place(1, 1, price=599_000)
            rig.until(lambda: rig.of(hit))
            assert (rig.kinds(hit), rig.code(hit)) == (["reject"], e.VENUE_RATE)
            after = rig.place(1, 1, price=599_000)
            rig.until(lambda: rig.of(after))
            assert rig.code(after) == e.VENUE_RATE  # the venue wants to be left alone, and is
            sent, *_ = links(narrow)
            assert not sent[link(after)] and sum(sent.values()) == 16 - len(refused) + 1
            time.sleep(1.2)
            later = rig.place(1, 1, price=599_000)
            rig.until(lambda: rig.of(later))
            assert rig.kinds(later) == ["ack"]
        narrow.stop()


def test_a_stop_outlives_us_and_an_entry_does_not(tmp_path, calm):
    """The private stream is gone without a word: the venue ends what opens, and nothing while a stop rests."""
    for name, has_stop in (("alone", False), ("beside", True)):
        (tmp_path / name).mkdir()
        with GatewayRig(tmp_path / name, calm, guard_s=3).ready() as rig:
            entry = rig.place(1, 5, price=599_000)
            if has_stop:
                bought = rig.place(1, 2)
                rig.until(lambda rig=rig, bought=bought: ended(rig, bought))
                stop = rig.place(-1, 2, stop=590_000, flags=e.ORDER_REDUCE_ONLY)
                rig.until(lambda rig=rig, stop=stop: rig.of(stop))
            wanted = GUARD_STOP_RESTS if has_stop else GUARD_ARMED
            rig.until(lambda rig=rig, wanted=wanted: rig.wires.gauges[1 + VENUE_ROW][GAUGE_VENUE_GUARD] == wanted)
            rig.until(lambda rig=rig, entry=entry: rig.of(entry))
            for _ in range(200):  # the word has been heard
                rig.turn()
        calm.be("main")
        if has_stop:
            time.sleep(5.0)
        else:
            wait_for(lambda: "disconnection protection" in calm.ledger.read_text())
        rows = calm.done("GET", "order/realtime", category="linear", settleCoin="USDT")["list"]
        assert sorted(row["orderLinkId"] for row in rows) == sorted([link(entry), link(stop)] if has_stop else [])


@pytest.mark.parametrize("count", [100, pytest.param(1_000, marks=pytest.mark.stress)])
def test_many_open_orders_are_settled_by_pages_and_taken_back_at_once(tmp_path, count):
    """After a restart, and by the kill switch; the times are told, the bound is on our own work."""
    narrow = '[[fault]]\nkind = "filters"\nfilters = { max_orders = 2_000 }\n'
    with Exchange(tmp_path / "exchange", scenario=WIDE + narrow) as server:
        server.make_book()
        more = {"total": (1_000_000, 1.0)}
        with GatewayRig(tmp_path, server, **more).ready() as first:
            placed = [first.place(1, 1, price=599_000) for _ in range(count)]
            bought = first.place(1, 2)
            first.until(lambda: ended(first, bought))  # a stop that overtook it would find nothing to reduce
            stop = first.place(-1, 2, stop=590_000, flags=e.ORDER_REDUCE_ONLY)
            first.until(lambda: all(first.of(one) for one in (*placed, stop)))
        with GatewayRig(tmp_path, server, before=first, **more) as rig:
            asked = len(server.ledger.read_text().splitlines())
            begun = time.monotonic()
            for identity in (*placed, stop):
                rig.send(e.ACTION_QUERY_ORDER, identity)
            rig.until(lambda: len(rig.answers) > count and all(rig.of(one, answers=True) for one in (*placed, stop)))
            settled_s = time.monotonic() - begun
            rig.until(lambda: rig.agent.is_ready)
            lines = [json.loads(line) for line in server.ledger.read_text().splitlines()[asked:]]
            single = sum("orderLinkId=" in line.get("target", "") for line in lines)
            assert single < 10, single
            begun, work = time.monotonic(), time.process_time()
            rig.wires.control[CONTROL_KILL] = 1
            for identity in placed:
                rig.send(e.ACTION_CANCEL, identity)
            rig.turn()
            work, out_s = time.process_time() - work, time.monotonic() - begun
            rig.until(lambda: ended(rig, *placed))
            told_s = time.monotonic() - begun
        lines = [json.loads(line) for line in server.ledger.read_text().splitlines()]
        names = Counter(line["target"] for line in lines if line["kind"] == "request" and "/cancel" in line["target"])
        assert names == {"/v5/order/cancel-all": 1}
        server.be("main")
        (left,) = server.done("GET", "order/realtime", category="linear", settleCoin="USDT")["list"]
        assert left["orderLinkId"] == link(stop) and left["reduceOnly"]
        print(f"{count} open orders: settled in {settled_s:.2f} s after a restart; the kill's cancels out in "
              f"{out_s * 1e3:.1f} ms ({work * 1e3:.1f} ms of work), all told in {told_s:.2f} s")  # fmt: skip
        assert work < 0.25
        server.stop()


@pytest.mark.parametrize(("account", "said"), [
    ("withdraws", "can move money away"), ("transfers", "can move money away"), ("unbound", "not bound to an address"),
    ("reads_only", "may not trade"),
])  # fmt: skip
def test_a_key_that_may_too_much_or_too_little_is_refused(tmp_path, calm, way, account, said):
    with way(tmp_path, calm, account=account) as rig, pytest.raises(InputError, match=said):
        rig.ready()


def test_a_wrong_secret_is_refused_and_not_shown(tmp_path, calm, way):
    with way(tmp_path, calm, secret="another-secret") as rig, pytest.raises(InputError) as refused:
        rig.ready()
    assert "does not accept" in str(refused.value) and "another-secret" not in str(refused.value)


def test_a_session_begins_flat_and_with_the_money_that_it_counts_on(tmp_path, calm, way):
    with way(tmp_path, calm, equity_e8=10**13 + 1) as rig, pytest.raises(InputError, match=r"account\.equity"):
        rig.ready()
    calm.be("main")
    calm.done("POST", "order/create", category="linear", symbol=BTC, side="Buy", orderType="Market", qty="0.001")
    with way(tmp_path, calm, equity_e8=1) as rig, pytest.raises(InputError, match="begins flat"):
        rig.ready()


def test_execution_asks_about_a_close_whose_fill_the_stream_swallowed(tmp_path, calm, monkeypatch):
    """The venue takes the close and says so; of its fill and its end nobody hears. It is not sent again."""
    monkeypatch.setattr("rig.gateway.ACCOUNT", 1)
    rig = Rig(tmp_path)
    rig.instruments["value_e8"] = instrument_row()["value_e8"]

    def go_on(gateway, wanted):
        until = time.monotonic() + 20
        while not wanted():
            assert time.monotonic() < until, (rig.rejects, gateway.agent.stats)
            gateway.agent.do_work()
            rig.quote(time.time_ns() - T0, 599_990, 600_010)
            rig.run()
            rig.reports()

    def about_close(kind, dtype=ORDER_INTENT):
        table = rig.agent.journal.table
        bodies = np.ascontiguousarray(table["body"])
        sent = bodies[table["type"] == JOURNAL_INTENT].view(ORDER_INTENT).reshape(-1)
        closes = sent["id_lo"][sent["leg"] == e.LEG_FLATTEN]
        found = bodies[table["type"] == kind].view(dtype).reshape(-1)
        return found[np.isin(found["id_lo"], closes)]

    with GatewayRig(tmp_path, calm, before=SimpleNamespace(wires=rig.wires, events=[], placed=[])).ready() as gateway:
        rig.whole(time.time_ns() - T0)
        rig.quote(time.time_ns() - T0, 599_990, 600_010)
        calm.fault(kind="timeout_before", endpoint="POST /v5/order/create", skip=1, times=1)  # the stop
        rig.intent(time.time_ns() - T0, price_ticks=600_010, qty_lots=10, stop_ticks=594_000)
        go_on(gateway, lambda: rig.position["lots"] == 10)
        for stream in ("execution", "order"):
            calm.fault(kind="event_drop", stream=stream)
        for lists in ("execution", "position"):  # nor do the gateway's own comparisons tell
            calm.fault(kind="error_before", endpoint=f"GET /v5/{lists}/list")
        go_on(gateway, lambda: len(about_close(JOURNAL_REQUEST)))
        calm.heal()
        go_on(gateway, lambda: rig.position["lots"] == 0)
    assert {int(one["action"]) for one in about_close(JOURNAL_REQUEST)} == {e.ACTION_QUERY_ORDER}
    told = [int(one["kind"]) for one in about_close(JOURNAL_EVENT, EXEC_REPORT)]
    assert told[0] == e.REPORT_ACK and e.REPORT_FILL in told
    (close,) = about_close(JOURNAL_INTENT)
    by_venue, taken, fills = links(calm)
    name = link((int(close["id_hi"]), int(close["id_lo"])))
    assert by_venue[name] == taken[name] == 1 and sum(fill["client_order_id"] == name for fill in fills) == 1
    rig.agent.close()
