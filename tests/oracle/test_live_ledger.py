"""The judge of live sessions finds a right one right, and sees everything that may be wrong with one."""

import base64
import json
from itertools import count

import pytest
from oracle.live_ledger import CREATE, EVENT, SECOND, judge, told_by
from oracle.recompute import JOURNAL_EVENT, JOURNAL_INTENT, REQUEST

ACK, FILL, CANCELED, REPLACED, NOT_FOUND = 1, 3, 4, 7, 10
LIMIT_NS = 2 * SECOND
SIDES = {1: "buy", -1: "sell"}
TYPES = {"market": 1, "limit": 2, "stop_market": 3}


class Story:
    """A session as the exchange's ledger and the journal tell it; times in seconds."""

    def __init__(self):
        self.lines, self.bodies, self.now = [], [], 0.0
        self.numbers, self.ids = count(1), count(1)
        self.ended_s = 1e6

    def line(self, kind, **fields):
        self.lines.append({"kind": kind, "t_ns": int(self.now * SECOND), "account": "main", **fields})

    def event(self, client_id, kind, side=0, price=0, qty=0, fee=0, number=None):
        number = next(self.numbers) if number is None else number
        words = (0, int(client_id[:16], 16), int(client_id[16:], 16), price, qty, 0, 0, 0, 0, fee, number, 0, 0, 0)
        self.bodies.append((JOURNAL_EVENT, EVENT.pack(*words, kind, 0, side)))

    def place(self, side, type_, qty, lands=True, told=True):
        """A new order: journaled, sent, accepted, told. Its id."""
        low = next(self.ids)
        client_id = f"{7:016x}{low:016x}"
        intent = REQUEST.pack(0, 7, low, 0, qty, 0, 0, 0, 0, 0, 1, side, TYPES[type_], 1, 0)
        self.bodies.append((JOURNAL_INTENT, intent))
        body = {"orderLinkId": client_id, "reduceOnly": type_ != "limit"}
        body |= {"triggerPrice": "1"} if type_ == "stop_market" else {}
        self.line("request", target=CREATE, body=base64.b64encode(json.dumps(body).encode()).decode())
        if lands:
            self.state(client_id, "accepted", side=SIDES[side], type=type_, qty_lots=qty)
        if told:
            self.event(client_id, ACK, side, qty=qty)
        return client_id

    def state(self, client_id, status, **fields):
        self.line("order", client_order_id=client_id, status=status, **fields)

    def fill(self, client_id, side, qty, price=100, told=True):
        self.line("fill", client_order_id=client_id, side=SIDES[side], price_ticks=price, qty_lots=qty, fee_e8=5)
        if told:
            self.event(client_id, FILL, side, price, qty, 5)

    def cancel(self, client_id):
        self.state(client_id, "canceled")
        self.event(client_id, CANCELED)

    def judged(self, **more):
        found = judge(self.lines, told_by(self.bodies), int(self.ended_s * SECOND), LIMIT_NS, **more)
        assert sum(found.kinds.values()) == len(found.problems)
        return dict(found.kinds)


@pytest.fixture
def story():
    """An entry in two parts with a stop that follows it, a close, and an order that never landed."""
    one = Story()
    one.entry = one.place(1, "limit", 3)
    one.fill(one.entry, 1, 1)
    one.stop = one.place(-1, "stop_market", 1)
    one.now = 10.0
    one.fill(one.entry, 1, 2)
    one.state(one.stop, "replaced", qty_lots=3)
    one.event(one.stop, REPLACED, -1, qty=3)
    one.now = 20.0
    one.exit = one.place(-1, "market", 3)
    one.fill(one.exit, -1, 3)
    one.cancel(one.stop)
    one.ghost = one.place(1, "limit", 1, lands=False, told=False)
    one.event(one.ghost, NOT_FOUND)
    return one


def without(story, **wanted):
    """The line that is so, taken out of the ledger."""
    found = [line for line in story.lines if all(line.get(name) == value for name, value in wanted.items())]
    assert found
    story.lines.remove(found[0])


def test_a_right_session_is_right(story):
    assert story.judged(reported=0, held=0) == {}


def test_what_is_told_again_after_a_death_counts_once(story):
    story.bodies += [body for body in story.bodies if body[0] == JOURNAL_EVENT]
    assert story.judged() == {}


def test_an_order_that_the_journal_does_not_know_is_lost(story):
    unknown = story.place(1, "limit", 1)
    story.bodies = [
        body for body in story.bodies if f"{body[1][8:16][::-1].hex()}{body[1][16:24][::-1].hex()}" != unknown
    ]
    assert story.judged() == {"lost": 1}


def test_an_order_that_was_given_up_and_works_is_lost(story):
    story.event(story.place(1, "limit", 1), NOT_FOUND)
    assert story.judged() == {"lost": 1}


@pytest.mark.parametrize("late", [False, True])
def test_an_end_that_nobody_noticed_is_lost_unless_it_came_after_the_session(story, late):
    story.ended_s, story.now = 30.0, 31.0 if late else 29.0
    story.state(story.place(-1, "stop_market", 1), "canceled")
    assert story.judged() == ({} if late else {"lost": 1})


def test_an_order_that_works_by_the_journal_alone_is_lost(story):
    story.place(1, "limit", 1, lands=False)
    assert story.judged() == {"lost": 1}


def test_a_fill_that_the_journal_does_not_know_is_lost_and_breaks_the_position(story):
    order = story.place(1, "limit", 2)
    story.place(-1, "stop_market", 1)
    story.fill(order, 1, 1, told=False)
    assert story.judged() == {"lost": 1, "broken": 1}


def test_a_fill_in_another_way_than_it_was_is_seen(story):
    story.lines = [line | {"price_ticks": 101} if line["kind"] == "fill" else line for line in story.lines]
    assert story.judged() == {"lost": 3, "broken": 3}


def test_a_stop_that_trades_after_the_session_is_nobodys_business(story):
    story.ended_s = 30.0
    story.fill(story.place(1, "limit", 1), 1, 1)
    stop = story.place(-1, "stop_market", 1)
    story.now = 31.0
    story.fill(stop, -1, 1, told=False)
    assert story.judged(reported=1, held=0) == {}
    assert story.judged(reported=0, held=0) == {"broken": 1}


@pytest.mark.parametrize("accepted", [False, True])
def test_an_order_that_is_sent_twice_is_doubled(story, accepted):
    again = [line for line in story.lines if line["kind"] == "request"][:1]
    again += [line for line in story.lines if line.get("status") == "accepted"][:1] if accepted else []
    story.lines[3:3] = again
    assert story.judged()["doubled"] == 1 + accepted


def test_an_order_that_is_journaled_twice_is_doubled(story):
    story.bodies.insert(1, story.bodies[0])
    assert story.judged() == {"doubled": 1}


def test_a_fill_that_is_told_under_two_numbers_is_doubled(story):
    story.event(story.entry, FILL, 1, 100, 2, 5)
    assert story.judged() == {"doubled": 1, "broken": 1}


def test_a_fill_that_never_was_breaks_the_position(story):
    story.event(story.entry, FILL, 1, 100, 7, 5)
    assert story.judged() == {"broken": 2}


def test_an_order_of_which_nobody_was_told_anything_is_unknown(story):
    story.cancel(story.place(1, "limit", 1, told=False))
    assert story.judged() == {}
    story.place(1, "limit", 1, lands=False, told=False)
    assert story.judged() == {"unknown": 1}


def test_another_position_than_the_fills_say_is_seen(story):
    assert story.judged(reported=1, held=0) == {"broken": 1}
    assert story.judged(reported=0, held=-1) == {"broken": 1}


def test_a_position_whose_stop_never_came_is_naked(story):
    without(story, client_order_id=story.stop, status="accepted")
    assert "naked" in story.judged()


def test_a_stop_that_is_too_small_leaves_the_rest_naked(story):
    without(story, client_order_id=story.stop, status="replaced")
    assert story.judged() == {"naked": 1}


def test_a_stop_of_the_wrong_side_protects_nothing(story):
    story.fill(story.place(1, "limit", 1), 1, 1)
    story.place(1, "stop_market", 1)
    story.now += 3.0
    story.line("balance")
    assert set(story.judged()) == {"naked"}


def naked_for(story, seconds, *closes):
    """Filled without a stop, for so long, with requests to close at these times."""
    story.fill(story.place(1, "limit", 1), 1, 1)
    began = story.now
    for at in closes:
        story.now = began + at
        story.event(story.place(-1, "market", 1, lands=False, told=False), NOT_FOUND)
    story.now = began + seconds
    story.fill(story.place(-1, "market", 1), -1, 1)


def test_the_limit_of_a_naked_position_begins_anew_with_each_close_that_is_asked_for(story):
    naked_for(story, 1.9)
    naked_for(story, 5.0, 1.5, 3.2)
    assert story.judged() == {}
    naked_for(story, 5.0, 1.5)
    assert story.judged() == {"naked": 1}


def test_the_time_in_which_execution_is_not_there_does_not_count(story):
    began = int(story.now * SECOND)
    naked_for(story, 10.0)
    assert story.judged(absent=[(began, began + 9 * SECOND)]) == {}
    assert story.judged(absent=[(began, began + 7 * SECOND)]) == {"naked": 1}
    assert set(story.judged()) == {"naked"}
