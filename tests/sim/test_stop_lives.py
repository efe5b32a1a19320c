"""The protective stop through thousands of round trips in which everything about it goes wrong.

Entries fill in parts, stops are confirmed late, twice, never, refused, ended by the venue, filled in part, and race
with exits; amends and cancels are refused or lost. After every step, by what the venue has been asked and has said:
a stop never asks for more than the position, and no stop is left once the position is flat. How long a position stood
without protection is judged by the venue's ledger alone: until a confirmed stop covers all of it, or a close for all of
it has come. What the venue then takes to fill a close is its own affair.
"""

import random

import pytest
from rig.execution import ASK, BID, T0, Rig
from rig.tables import MS, SECOND

from bot4.jit import JIT
from bot4.model import enums as e
from bot4.shm.wires import GAUGE_EXEC_FLATTENS, GAUGE_EXEC_STOPS_TRIGGERED

TRIPS = 400 if JIT else 60  # of the default run
TOGETHER = 100  # on one rig
QTY = 1_000
ENDS = (e.REPORT_CANCELED, e.REPORT_EXPIRED)
TICKS_NS = 100 * MS  # a quote comes so often


class Stop:
    """A protective stop at the venue."""

    def __init__(self, request, silent):
        self.request, self.silent, self.acked = request, silent, False
        self.qty, self.cum, self.over = int(request["qty_lots"]), 0, False

    @property
    def leaves(self):
        """What still rests."""
        return self.qty - self.cum


class Judge:
    """Reads the venue's ledger, (time, what, order, side, lots), and nothing else.

    fill       of any order; lots of the order's side
    stop       confirmed: it rests for so many lots
    close      a market close for so many lots has come
    end        of a stop or a close
    """

    def __init__(self):
        self.lots, self.stops, self.closes = 0, {}, {}
        self.since = None  # from when on there is neither of them
        self.stopped, self.closing = [], []  # how long it took until a stop, or a close

    def read(self, line):
        """One line."""
        at, what, order, side, lots = line
        if what == "fill":
            self.lots += side * lots
            for open_ones in (self.stops, self.closes):
                if order in open_ones:
                    open_ones[order] = side, open_ones[order][1] - lots
        elif what == "end":
            self.stops.pop(order, None), self.closes.pop(order, None)
        else:
            (self.stops if what == "stop" else self.closes)[order] = side, lots
        stopped, closing = self.covered(self.stops), self.covered(self.closes)
        if not (stopped or closing):
            self.since = at if self.since is None else self.since
        elif self.since is not None:
            if self.lots:
                (self.stopped if stopped else self.closing).append(at - self.since)
            self.since = None

    def covered(self, orders):
        """Whether one of them is for the whole position."""
        return any(side * self.lots < 0 and lots >= abs(self.lots) for side, lots in orders.values()) or not self.lots


class Market:
    """The venue of one instrument, with faults on the stop's way."""

    def __init__(self, folder, seed):
        self.dice = random.Random(seed)
        self.rig = Rig(folder, 1, 1, 4 * 16_384, {"breaker_failures": 1_000}, one_segment=False)
        self.rig.open_market()
        self.at = MS
        self.lots = 0  # of what has been told; its sign is the side
        self.stops, self.closes, self.exits = {}, {}, {}
        self.faults = set()
        self.ledger = []

    def note(self, what, request, lots=0, at=0):
        """A line of the ledger; `at` : of a request when it arrives."""
        last = self.ledger[-1][0] if self.ledger else 0
        self.ledger.append((max(at, self.at, last), what, int(request["id_lo"]), int(request["side"]), int(lots)))

    def fill(self, request, qty, price):
        """A trade that execution is told of."""
        self.lots += int(request["side"]) * qty
        self.note("fill", request, qty)
        self.rig.fill(self.at, request, qty=qty, price=price)

    def pump(self):
        """Execution works, and the venue takes what it sends."""
        for _ in range(8):
            self.rig.run()
            asked = self.rig.requests()
            self.look(asked)
            if not asked:
                break
            for request in asked:
                self.take(request)
        self.rig.reports()

    def take(self, request):
        """One request; about stops the venue may be slow, deaf or unwilling."""
        identity, action, leg = int(request["id_lo"]), int(request["action"]), int(request["leg"])
        if leg == e.LEG_FLATTEN:
            if action == e.ACTION_PLACE:
                assert int(request["flags"]) & e.ORDER_REDUCE_ONLY
                self.note("close", request, request["qty_lots"], int(request["ts_ns"]) - T0)
                self.closes[identity] = request
        elif action == e.ACTION_PLACE and leg == e.LEG_STOP:
            way = self.dice.choice(("now",) * 5 + ("late", "silent", "refused", "twice"))
            self.faults.add(way)
            if way == "refused":
                self.rig.event(self.at, e.REPORT_REJECT, request, code=e.VENUE_FILTER)
                return
            self.stops[identity] = stop = Stop(request, way == "silent")
            if way in ("now", "twice"):
                self.confirm(stop)
                if way == "twice":
                    self.confirm(stop)
        elif identity in self.stops and action == e.ACTION_AMEND:
            stop, way = self.stops[identity], self.dice.choice(("done",) * 4 + ("refused", "lost"))
            self.faults.add(f"amend {way}")
            if stop.over or stop.silent or way == "refused":
                self.rig.event(self.at, e.REPORT_CANCEL_REJECT, request, code=e.VENUE_UNKNOWN_ORDER)
            elif way == "done":
                stop.qty = int(request["qty_lots"])
                self.note("stop", stop.request, stop.leaves)
                self.rig.event(
                    self.at, e.REPORT_REPLACED, request, qty_lots=stop.qty, price_ticks=request["stop_ticks"]
                )
        elif identity in self.stops and action == e.ACTION_CANCEL:
            stop, way = self.stops[identity], self.dice.choice(("done",) * 4 + ("lost",))
            self.faults.add(f"cancel {way}")
            if way == "done" and not stop.over:
                self.end(stop, e.REPORT_CANCELED)
        elif identity in self.stops and action == e.ACTION_QUERY_ORDER:
            self.answer(self.stops[identity], request)
        elif identity in self.closes and action == e.ACTION_QUERY_ORDER:
            close = self.closes.pop(identity)
            qty = int(close["qty_lots"])
            self.note("end", close)
            self.rig.event(self.at, e.REPORT_ORDER, request, status=e.REPORT_EXPIRED, qty_lots=qty, event_seq=0)
        elif leg <= e.LEG_EXIT and action == e.ACTION_PLACE:
            self.exits[identity] = request

    def answer(self, stop, request):
        """A question about a stop that the venue was silent about."""
        stop.silent = False
        status = e.REPORT_CANCELED if stop.over else e.REPORT_ACK
        self.rig.event(self.at, e.REPORT_ORDER, request, status=status, qty_lots=stop.qty, event_seq=0)
        stop.acked = not stop.over
        if stop.acked:
            self.note("stop", stop.request, stop.leaves)

    def confirm(self, stop):
        """The venue works it."""
        stop.acked, stop.silent = True, False
        self.note("stop", stop.request, stop.leaves)
        self.rig.event(self.at, e.REPORT_ACK, stop.request, venue_order_id=9)

    def end(self, stop, kind):
        """It rests no more."""
        stop.over = True
        self.note("end", stop.request)
        self.rig.event(self.at, kind, stop.request)

    def look(self, asked):
        """The laws, at any moment, by what was asked and said."""
        for request in asked:
            if int(request["leg"]) == e.LEG_STOP and int(request["action"]) in (e.ACTION_PLACE, e.ACTION_AMEND):
                stop = self.stops.get(int(request["id_lo"]))
                left = int(request["qty_lots"]) - (stop.cum if stop is not None else 0)
                assert left <= abs(self.lots), f"a stop of {left} for {self.lots}"
                assert int(request["flags"]) & e.ORDER_REDUCE_ONLY

    def time(self, ns):
        """The market stands still, and time goes on."""
        until = self.at + ns
        while self.at < until:
            self.at = min(until, self.at + TICKS_NS)
            self.rig.quote(self.at)
            if self.at < until:
                self.pump()

    def trip(self):
        """Into a position and out of it."""
        dice, side = self.dice, self.dice.choice((1, -1))
        buys = side > 0
        self.time(MS)
        self.rig.intent(
            self.at, side=side, qty_lots=QTY, price_ticks=ASK if buys else BID,
            stop_ticks=BID - 60_000 if buys else ASK + 60_000,
        )  # fmt: skip
        self.pump()
        assert self.exits, self.rig.rejects
        (entry,) = self.exits.values()
        self.exits.clear()
        left = QTY
        for _ in range(dice.randint(1, 3)):
            part = dice.randint(1, left)
            self.time(dice.choice((1, MS, 300 * MS)))
            self.fill(entry, part, entry["price_ticks"])
            left -= part
            self.pump()
            if not left:
                break
        if left:
            self.rig.event(self.at, e.REPORT_EXPIRED, entry)
        for _ in range(60):
            for _ in self.happen():
                self.pump()
            if not self.lots and not self.live():
                break
        assert not self.lots and not self.live(), f"{self.lots} lots and {len(self.live())} stops are left"
        assert int(self.rig.position["lots"]) == 0 and self.rig.position["stop_row"] < 0
        self.stops.clear(), self.exits.clear()  # a close that is late may meet the next position

    def live(self):
        """Stops that rest."""
        return [stop for stop in self.stops.values() if not stop.over]

    def happen(self):
        """Things, one by one, after a while: what waits for the venue may be done."""
        dice = self.dice
        self.time(dice.choice((1, MS, 200 * MS, 600 * MS, 1_100 * MS)))
        yield
        for identity, close in list(self.closes.items()):
            if dice.random() < 0.7:
                del self.closes[identity]
                if qty := min(int(close["qty_lots"]), abs(self.lots) if int(close["side"]) * self.lots < 0 else 0):
                    self.fill(close, qty, BID if close["side"] < 0 else ASK)
                self.note("end", close)
                if qty < close["qty_lots"]:
                    self.rig.event(self.at, e.REPORT_EXPIRED, close, code=e.VENUE_REDUCE_ONLY if not qty else 0)
                yield
        for stop in self.live():
            way = dice.random()
            if not stop.acked and not stop.silent:
                self.confirm(stop)
            elif stop.acked and way < 0.15 and self.lots and int(stop.request["side"]) * self.lots < 0:
                yield from self.trigger(stop)
            elif stop.acked and way < 0.2:
                self.faults.add("ended by the venue")
                self.end(stop, dice.choice(ENDS))
            yield
        for identity, request in list(self.exits.items()):
            del self.exits[identity]
            qty = min(dice.randint(0, int(request["qty_lots"])), abs(self.lots))
            if qty and int(request["side"]) * self.lots < 0:
                self.fill(request, qty, BID if request["side"] < 0 else ASK)
                if qty < request["qty_lots"]:
                    self.rig.event(self.at, e.REPORT_EXPIRED, request)
            else:
                nothing = int(request["side"]) * self.lots >= 0
                self.rig.event(self.at, e.REPORT_EXPIRED, request, code=e.VENUE_REDUCE_ONLY if nothing else 0)
            yield
        held = int(self.rig.position["lots"])
        if held and dice.random() < 0.4:
            self.rig.intent(
                self.at, side=-1 if held > 0 else 1, leg=e.LEG_EXIT, flags=e.ORDER_REDUCE_ONLY, stop_ticks=0,
                type=e.TYPE_MARKET, price_ticks=0, qty_lots=dice.choice((abs(held), max(1, abs(held) // 3))),
            )  # fmt: skip
        yield

    def trigger(self, stop):
        """It goes off, for all that it may close, or a part of that and then the rest."""
        self.faults.add("triggered")
        self.rig.event(self.at, e.REPORT_TRIGGERED, stop.request)
        qty = min(stop.leaves, abs(self.lots))
        if self.dice.random() < 0.3 and qty > 1:
            self.faults.add("triggered in parts")
            part = self.dice.randint(1, qty - 1)
            stop.cum += part
            self.fill(stop.request, part, BID - 60_000)
            yield
            qty = min(stop.leaves, abs(self.lots))
        stop.cum += qty
        stop.over = True
        self.note("end", stop.request)
        if qty:
            self.fill(stop.request, qty, BID - 60_000)
        if stop.leaves:
            self.rig.event(self.at, e.REPORT_EXPIRED, stop.request)


@pytest.mark.parametrize("trips", [TRIPS, pytest.param(10_000, marks=pytest.mark.stress)])
def test_no_position_is_naked_and_no_stop_outlives_it(tmp_path, trips):
    faults, flattens, triggered = set(), 0, 0
    stopped, closing = [], []
    for begin in range(0, trips, TOGETHER):
        folder = tmp_path / str(begin)
        folder.mkdir()
        market = Market(folder, begin)
        for _ in range(min(TOGETHER, trips - begin)):
            market.trip()
        faults |= market.faults
        judge = Judge()
        for line in market.ledger:
            judge.read(line)
        assert judge.lots == 0 and not judge.stops, "flat, and no stop is left"
        stopped, closing = stopped + judge.stopped, closing + judge.closing
        gauges = market.rig.wires.gauges[1]
        flattens += int(gauges[GAUGE_EXEC_FLATTENS])
        triggered += int(gauges[GAUGE_EXEC_STOPS_TRIGGERED])
        market.rig.agent.close()
        for path in sorted(folder.iterdir()):
            path.unlink() if path.is_file() else path.rmdir()
    for what, took in (("a stop", stopped), ("a close", closing)):
        took.sort()
        print(f"{trips} round trips, {flattens} closes, {triggered} stops went off; until {what} {len(took)} times, "
              f"p99 {took[len(took) * 99 // 100] / SECOND:.3f} s, at most {took[-1] / SECOND:.3f} s")  # fmt: skip
    assert stopped[len(stopped) * 99 // 100] <= SECOND and stopped[-1] <= 2 * SECOND
    assert closing[-1] <= 2 * SECOND
    assert faults >= {"now", "late", "silent", "refused", "twice", "amend refused", "amend lost", "cancel lost",
                      "ended by the venue", "triggered", "triggered in parts"}  # fmt: skip
    assert flattens > trips // 20 and len(closing) > trips // 20 and len(stopped) > trips // 2
