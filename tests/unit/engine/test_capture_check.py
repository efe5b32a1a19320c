"""The check of a capture, by a decoder whose messages the test writes itself."""

import json
from decimal import Decimal

import pytest

from bot4.engine.capture_check import CaptureCheck
from bot4.ports.feed import Bar, BookChange, Message, MessageError, Quote, Trade


def levels(pairs):
    """Exact levels."""
    return [(Decimal(price), Decimal(qty)) for price, qty in pairs]


class Plain:
    """Decodes what the tests send: the kind, then its fields."""

    venue = "plain"

    def decode(self, body):
        """One event a message."""
        kind, fields = json.loads(body)
        if kind == "bad":
            raise MessageError("bad_field", "x")
        sequence, venue_ns = fields.pop("sequence", None), fields.pop("venue_ns", 0)
        if kind == "book":
            event = BookChange("A", fields["snapshot"], levels(fields["bids"]), levels(fields["asks"]),
                               fields.get("before"), fields.get("last"), 0, fields.get("overlap", False),
                               fields.get("sum"), fields.get("depth", 0))  # fmt: skip
        elif kind == "quote":
            event = Quote("A", *(Decimal(value) for value in fields["top"]), fields["id"], 0)
        elif kind == "bar":
            event = Bar("A", 100, 100, *(Decimal(value) for value in fields["numbers"]), fields["closed"], fields["at"])
        else:
            event = Trade("A", Decimal(1), Decimal(1), 1, fields["id"], fields.get("at", 0))
        return Message(kind, (event,), sequence, venue_ns)

    def decode_rest(self, endpoint, query, body):
        """The same, as a response."""
        return self.decode(body)._replace(kind="rest.depth")

    def instruments(self, endpoint, body):
        """None."""
        return []

    def checksum(self, bids, asks):
        """The sum of the best prices."""
        return int(bids[0][0] + asks[0][0])


class Run:
    """A check that is fed by keyword."""

    def __init__(self):
        self.check, self.now = CaptureCheck({"plain": Plain()}), 0

    def send(self, kind, connection="stream", rest=False, **fields):
        """One message, a nanosecond later."""
        self.now += 1
        body = json.dumps([kind, fields]).encode()
        self.check.take(self.now, connection, "plain", ("/depth", {}) if rest else None, body)
        return self

    def snapshot(self, last=10, rest=True, **more):
        """Bid 99, ask 101."""
        return self.send("book", rest=rest, snapshot=True, bids=[("99", "1")], asks=[("101", "2")], last=last, **more)

    def diff(self, before, last, bids=(), asks=(), **more):
        """A change."""
        return self.send("book", snapshot=False, bids=bids, asks=asks, before=before, last=last, overlap=True, **more)

    def quote(self, number, bid="99", ask="101"):
        """A best quote of update `number`, sizes as in the snapshot."""
        return self.send("quote", top=(bid, "1", ask, "2"), id=number)

    def book(self):
        """compared, equal, stale."""
        found = self.check.finish()["book"]
        return found["compared"], found["equal"], found["stale"]


def test_a_quote_is_compared_with_the_book_of_its_update_whichever_comes_first():
    run = Run().snapshot().diff(10, 11, bids=[("98", "5")]).quote(12).diff(11, 12, bids=[("97", "5")])
    assert run.book() == (1, 1, 0)
    assert run.quote(12, bid="98").book() == (2, 1, 0)


def test_changes_before_the_snapshot_wait_for_it():
    run = Run().diff(8, 9).diff(9, 11, bids=[("99.5", "1")]).diff(11, 12, asks=[("101", "0"), ("100.5", "2")])
    assert run.book()[2] == 3
    run = Run().diff(8, 9).diff(9, 11, bids=[("99.5", "1")]).diff(11, 12, asks=[("101", "0"), ("100.5", "2")])
    run.snapshot().quote(12, "99.5", "100.5")
    assert run.book() == (1, 1, 0)


def test_a_gap_makes_the_book_stale_until_a_snapshot():
    run = Run().snapshot().diff(10, 11).diff(12, 13).diff(13, 14).quote(14)
    found = run.check.finish()
    assert (found["gaps"], found["book"]["stale"], found["book"]["compared"]) == (1, 2, 0)
    run = Run().snapshot().diff(10, 11).diff(12, 13).snapshot(last=13).diff(13, 14).quote(14)
    assert run.book() == (1, 1, 0)


def test_gaps_are_counted_while_the_book_is_stale():
    run = Run().snapshot().diff(10, 11).diff(12, 13).diff(13, 14).diff(20, 21).diff(30, 31)
    assert run.check.finish()["gaps"] == 3


def test_a_snapshot_within_the_change_that_showed_the_gap_heals_it():
    run = Run().snapshot().diff(10, 11).diff(14, 20).snapshot(last=17).diff(20, 21).quote(21)
    assert run.book() == (1, 1, 0)


def test_a_snapshot_on_the_stream_begins_anew_whatever_its_number():
    run = Run().snapshot(last=5_000, rest=False)
    run.send("book", snapshot=True, bids=[("7", "1")], asks=[("8", "2")], last=1)
    run.send("book", snapshot=False, bids=[("7.5", "1")], asks=[], before=1, last=2).quote(2, "7.5", "8")
    assert run.book() == (1, 1, 0)


def test_a_snapshot_that_was_fetched_leaves_a_venue_alone_that_counts_otherwise():
    run = Run().snapshot(last=5, rest=False)
    run.send("book", rest=True, snapshot=True, bids=[("1", "1")], asks=[("2", "2")], last=900)
    run.send("book", snapshot=False, bids=[("99.5", "1")], asks=[], before=5, last=6).quote(6, "99.5")
    assert run.book() == (1, 1, 0)


def test_a_quote_that_nothing_bears_out_counts_against_the_book():
    run = Run().snapshot(rest=False)
    for number in range(300):
        run.quote(None, str(Decimal(99) - Decimal(number) / 4))
    found = run.check.finish()["book"]
    assert found["near"] > 40 and found["near_equal"] == 1


def test_quotes_are_not_judged_across_a_gap():
    run = Run().snapshot().diff(10, 11).quote(None, "98.5").diff(12, 13).snapshot(last=13)
    for last in range(14, 30):
        run.diff(last - 1, last)
    assert run.check.finish()["book"]["near"] == 0


def test_a_crossed_book_is_no_book():
    run = Run().snapshot().diff(10, 11, bids=[("101", "1")]).quote(11)
    found = run.check.finish()
    assert (found["book"]["crossed"], found["book"]["compared"]) == (1, 0)


@pytest.mark.parametrize(("total", "equal"), [(200, 1), (201, 0)])
def test_a_check_sum_is_compared(total, equal):
    run = Run().snapshot(last=None, rest=False)
    run.send("book", snapshot=False, bids=[], asks=[], sum=total)
    assert run.book()[:2] == (1, equal)


def test_levels_beyond_the_depth_are_dropped():
    run = Run().snapshot(last=None, depth=1, rest=False)
    run.send("book", snapshot=False, bids=[("99.5", "1")], asks=[], depth=1)
    run.send("book", snapshot=False, bids=[("99.5", "0")], asks=[], depth=1)
    (watched,) = run.check._books["plain:A"].values()
    assert watched.book.levels(0) == [] and len(watched.book.levels(1)) == 1


def test_a_hole_in_the_connections_count_makes_its_books_stale():
    run = Run().snapshot(rest=False, sequence=1).diff(10, 11, sequence=2).diff(11, 12, sequence=4).quote(12)
    found = run.check.finish()
    assert (found["gaps"], found["book"]["compared"], found["book"]["stale"]) == (1, 0, 1)


def test_a_later_snapshot_of_the_same_update_is_a_comparison():
    assert Run().snapshot().diff(10, 11).snapshot(last=11).book()[:2] == (1, 1)
    assert Run().snapshot().diff(10, 11, bids=[("99", "3")]).snapshot(last=11).book()[:2] == (1, 0)


def test_a_quote_without_an_update_is_looked_for_nearby():
    run = Run().snapshot().diff(10, 11, bids=[("99.5", "1")]).quote(None, "99").quote(None, "100").quote(None, "98")
    run.diff(11, 12, bids=[("100", "1")])
    for last in range(13, 19):
        run.diff(last - 1, last, bids=[("98", str(last))])
    found = run.check.finish()["book"]
    assert (found["near"], found["near_equal"]) == (2, 2)  # the third may still come
    found = run.diff(18, 19).check.finish()["book"]
    assert (found["near"], found["near_equal"], found["compared"]) == (3, 2, 0)


def test_repeated_trades_and_refused_messages_are_counted():
    run = Run().send("trade", id="7").send("trade", id="8").send("trade", id="7").send("bad").send("trade", id="")
    found = run.check.finish()
    assert (found["duplicates"], found["rejected"], found["messages"]) == (1, {"bad_field": 1}, {"trade": 4})


def test_a_quote_that_crosses_is_counted_and_not_compared():
    run = Run().snapshot().diff(10, 11, bids=[("98", "5")]).quote(11, bid="101", ask="101")
    assert (run.check.finish()["book"]["crossed"], run.check.finish()["book"]["compared"]) == (1, 0)


def test_many_offsets_are_thinned_and_their_median_stays(monkeypatch):
    monkeypatch.setattr("bot4.engine.capture_check.SAMPLED", 16)
    run = Run()
    for number in range(1_000):
        run.now += 1_000_000_000
        run.send("trade", id="", venue_ns=run.now + 1 - (2_000_000 + number % 2))
    assert run.check.finish()["clock_offset_ms"] == 2.0


def test_bars_of_the_stream_are_compared_with_trades_that_were_told_once():
    run = Run().send("trade", id="1", at=99).send("trade", id="2", at=150).send("trade", id="2", at=150)
    run.send("trade", id="3", at=160).send("trade", id="4", at=200).send("trade", id="5", at=170, rest=True)
    run.send("bar", numbers="11112", closed=True, at=200).send("bar", numbers="11119", closed=True, at=200)
    run.send("bar", numbers="11119", closed=True, at=200, rest=True)
    assert run.check.finish()["bars"] == {"compared": 2, "equal": 1}


def test_the_offset_of_the_clocks_is_the_median():
    run = Run()
    for lag in (-5, 1, 3_000_000, 4_000_000, 90_000_000):
        run.now += 1_000_000_000
        run.send("trade", id="", venue_ns=run.now + 1 - lag)
    assert run.check.finish()["clock_offset_ms"] == 3.0
    assert CaptureCheck({}).finish()["clock_offset_ms"] is None


def test_a_venue_without_a_decoder_is_told():
    check = CaptureCheck({})
    check.take(1, "W", "", None, b"{}")
    assert check.finish()["rejected"] == {"unknown_venue": 1}
