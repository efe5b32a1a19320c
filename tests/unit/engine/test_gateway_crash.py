"""The gateway dies at each of its named points; the next life knows what the venue knows, and sends nothing twice."""

import pytest
from rig.gateway_script import REFUSED, ScriptRig

from bot4 import crash
from bot4.engine import gateway, gateway_calls, gateway_events
from bot4.model import enums as e

STARTING = ("gateway_folding", "gateway_folded", "gateway_comparing", "gateway_compared", "gateway_inquired")
ON_ITS_WAY = ("gateway_unlogged", "gateway_logged", "gateway_sent")
PROOF_NS = 13 * 10**9  # deadline, engine and margin: sooner nothing that has left is given up
PATIENCE_S = 60.0


class Died(BaseException):
    """Instead of SIGKILL: what is in files stays as it was, and the connections are gone."""


@pytest.fixture
def arm(monkeypatch):
    """Let who comes by that point die, the first or the nth time."""

    def die_at(name, nth=1):
        armed = [crash.POINT_NAMES.index(name)] * nth

        def die(place):
            if place in armed:
                armed.pop()
                if not armed:
                    raise Died

        for module in (gateway, gateway_calls, gateway_events):
            monkeypatch.setattr(module, "die_here", die)

    return die_at


def trade(rig):
    """An entry that is filled, and a stop that is taken back."""
    entry = rig.place(1, 5, price=599_000)
    rig.until(lambda: rig.of(entry))
    rig.venue.fill(rig.link(entry), 5)
    rig.until(lambda: "fill" in rig.kinds(entry))
    stop = rig.place(-1, 5, stop=590_000, flags=e.ORDER_REDUCE_ONLY)
    rig.until(lambda: rig.of(stop))
    rig.send(e.ACTION_CANCEL, stop)
    rig.until(lambda: "canceled" in rig.kinds(stop))


def asked(rig, order):
    """Execution asks for it: the answer."""
    rig.send(e.ACTION_QUERY_ORDER, order)
    rig.until(lambda: rig.of(order, answers=True), PATIENCE_S)
    return rig.of(order, answers=True)[-1]


def judged(rig, orders):
    """Every order went out once at most, and is what the venue says; every event has one number and one meaning."""
    meanings = {}
    for one in rig.events:
        said = (int(one["kind"]), int(one["id_lo"]), int(one["trade_id"]))
        assert meanings.setdefault(int(one["event_seq"]), said) == said
    assert sorted(meanings) == list(range(1, len(meanings) + 1))
    fills = [one for one in meanings.values() if one[0] == e.REPORT_FILL]
    assert len(fills) == len(rig.venue.trades)
    for order in orders:
        rig.answers.clear()
        answer = asked(rig, order)
        link, kind = rig.link(order), int(answer["kind"])
        sent = rig.venue.count("order/create", link)
        assert sent <= 1
        if link in rig.venue.orders:
            assert (kind, answer["status"]) == (e.REPORT_ORDER, e.REPORT_ACK)
        elif link in rig.venue.ended:
            assert kind == e.REPORT_ORDER and answer["status"] in (e.REPORT_FILL, e.REPORT_CANCELED)
        else:
            assert kind == e.REPORT_NOT_FOUND
            assert not sent or rig.clock.ns - rig.venue.sent_ns[link] > PROOF_NS
    assert sum(5 for one in fills) == rig.venue.lots


def dies(arm, rig, name, act):
    """It does, there."""
    arm(name)
    with pytest.raises(Died):
        act()
    rig.agent._log.close()  # the kernel's part


def identities(*rigs):
    """Everything that execution has sent an order for."""
    return [(int(one["id_hi"]), int(one["id_lo"])) for rig in rigs for one in rig.placed]


@pytest.mark.parametrize("name", [name for name in crash.GATEWAY_POINTS if name not in STARTING])
def test_a_gateway_that_dies_at_work(tmp_path, arm, name):
    first = ScriptRig(tmp_path).ready()
    dies(arm, first, name, lambda: trade(first))
    with ScriptRig(tmp_path, before=first).ready() as second:
        judged(second, identities(first))
        trade(second)
        judged(second, identities(first, second))


@pytest.mark.parametrize("name", STARTING)
def test_a_gateway_that_dies_while_it_takes_up_what_another_life_has_left(tmp_path, arm, name):
    first = ScriptRig(tmp_path).ready()
    dies(arm, first, "gateway_stop_logged", lambda: trade(first))
    orders = identities(first)

    def next_life():
        second = ScriptRig(tmp_path, before=first)
        for order in orders:
            second.send(e.ACTION_QUERY_ORDER, order)
        second.go_on(PATIENCE_S)

    dies(arm, first, name, next_life)
    with ScriptRig(tmp_path, before=first).ready() as third:
        judged(third, orders)


@pytest.mark.parametrize("name", ON_ITS_WAY)
def test_what_may_be_on_its_way_when_the_gateway_dies_is_given_up_by_proof_alone(tmp_path, arm, name):
    """The venue has taken it, and nothing is to be seen of it yet."""
    first = ScriptRig(tmp_path).ready()
    first.venue.slow.add("order/create")
    first.venue.refuses["order/create"] = REFUSED
    dies(arm, first, name, lambda: trade(first))
    with ScriptRig(tmp_path, before=first).ready() as second:
        judged(second, identities(first))


def test_a_number_that_execution_may_have_heard_has_one_meaning_for_good(tmp_path, arm):
    """Of two orders one is told; in the next life the other one is the first to be heard of."""
    first = ScriptRig(tmp_path).ready()
    orders = [first.place(1, 5, price=599_000, wait=False) for _ in range(2)]
    dies(arm, first, "gateway_event_unlogged", lambda: first.go_on(1.0))
    first.venue.end(first.link(orders[0]), "Cancelled")
    with ScriptRig(tmp_path, before=first).ready() as second:
        judged(second, orders)
