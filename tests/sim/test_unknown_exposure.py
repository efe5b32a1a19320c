"""What nobody knows counts as if it were so: true exposure stays within its limits while orders are UNKNOWN.

The venue's truth is drawn when an order reaches it: how much of it fills, or that it never lands; and stops go off.
Execution hears of it at once or much later, of the trades of an instrument in their order or in any other, a later
entry's before an earlier exit's; meanwhile shards want more on either side. After every step what is really held, with
all that may still fill at the venue, is held against the limits of one instrument and of all.
"""

import random

import pytest
from rig.execution import ASK, BID, Rig
from rig.tables import MS

from bot4.engine.execution_memory import IN_FLIGHT_NS
from bot4.engine.order_state import BASE_FREE, OVERLAY_UNKNOWN
from bot4.jit import JIT
from bot4.model import enums as e

N, VALUE, MID2 = 3, 10, BID + ASK
EQUITY = 100_000 * 10**8
LIMITS = {"position_bps": 200, "gross_bps": 450, "net_bps": 350, "venue_bps": 400, "open_orders": 20}
SEQUENCES = 1_500 if JIT else 150  # of the default run
TOGETHER = 100  # on one rig


class Truth:
    """The venue, as it really is, and what of it execution has been told."""

    def __init__(self, folder, seed):
        self.dice = random.Random(seed)
        self.rig = Rig(folder, N, N, 4 * 16_384, LIMITS, one_segment=False)
        self.rig.open_market()
        self.lots = [0] * N  # really held
        self.in_order = seed // TOGETHER % 2 == 0  # a venue that tells an instrument's trades as they came
        self.untold = {}  # by id: order, its lots, lots that fill
        self.unfilled = set()  # of these, whose fill has not been told either
        self.working = {}  # protective orders, by id, and their lots
        self.out_of_order = self.went_off = 0
        self.at = MS
        self.unknown = self.sent = 0
        self.refused = False

    def worst(self):
        """Twice what all positions are worth: the dearest, all together, those of the dearer side."""
        held = [lots * MID2 * VALUE for lots in self.lots]
        return max(map(abs, held)), sum(map(abs, held)), max(sum(max(one, 0) for one in held),
                                                             sum(max(-one, 0) for one in held))  # fmt: skip

    def check(self):
        """Nothing that is so is beyond a limit; a fill of a lot moves the equity by less than its value."""
        most = 2 * EQUITY * 10_001 // 10_000
        one, gross, side = self.worst()
        assert one * 10_000 <= most * LIMITS["position_bps"], self.lots
        assert gross * 10_000 <= most * min(LIMITS["gross_bps"], LIMITS["venue_bps"]), self.lots
        assert side * 10_000 <= most * LIMITS["net_bps"], self.lots

    def pump(self):
        """Execution works; what it sends lands at the venue, and some of that is told at once."""
        self.rig.run()
        for request in self.rig.requests():
            identity = int(request["id_hi"]), int(request["id_lo"])
            action, leg = int(request["action"]), int(request["leg"])
            if action == e.ACTION_PLACE and leg <= e.LEG_EXIT:
                self.land(identity, request)
            elif action == e.ACTION_PLACE and leg == e.LEG_STOP:
                self.working[identity] = request, int(request["qty_lots"])
                self.rig.event(self.at, e.REPORT_ACK, request, venue_order_id=9)
            elif action == e.ACTION_PLACE:
                self.close(request)
            elif action == e.ACTION_AMEND and identity in self.working:
                self.working[identity] = self.working[identity][0], int(request["qty_lots"])
                self.rig.event(
                    self.at, e.REPORT_REPLACED, request, qty_lots=request["qty_lots"], price_ticks=request["stop_ticks"]
                )
            elif action == e.ACTION_CANCEL and self.working.pop(identity, None) is not None:
                self.rig.event(self.at, e.REPORT_CANCELED, request)
        self.rig.run()
        self.check()

    def land(self, identity, request):
        """What really becomes of an order, told now or not."""
        self.sent += 1
        index, side, qty = int(request["instrument"]), int(request["side"]), int(request["qty_lots"])
        fills = self.dice.choice((0, qty, qty, self.dice.randint(0, qty)))
        if int(request["flags"]) & e.ORDER_REDUCE_ONLY:
            fills = min(fills, max(0, -side * self.lots[index]))  # the venue clips it
        self.lots[index] += side * fills
        self.untold[identity] = request, qty, fills
        self.unfilled.add(identity)
        if self.dice.random() < 0.4:
            self.tell(identity)

    def go_off(self, identity):
        """A stop, and nobody is told."""
        request, qty = self.working.pop(identity)
        index, side = int(request["instrument"]), int(request["side"])
        fills = min(qty, max(0, -side * self.lots[index]))
        self.lots[index] += side * fills
        self.untold[identity] = request, qty, fills
        self.unfilled.add(identity)
        self.went_off += 1

    def tell(self, identity):
        """The fill, and the end of what is left; where trades come in their order, those before it come with it."""
        request, qty, fills = self.untold[identity]
        for before, (other, *_) in list(self.untold.items()):
            if before == identity:
                break
            if other["instrument"] == request["instrument"]:
                if self.in_order:
                    self.trade(before)
                else:
                    self.out_of_order += 1
        self.trade(identity)
        self.untold.pop(identity, None)
        if fills < qty:
            kind = e.REPORT_EXPIRED if fills or self.dice.random() < 0.5 else e.REPORT_REJECT
            self.rig.event(self.at, kind, request, code=0 if kind == e.REPORT_EXPIRED else e.VENUE_POST_ONLY)

    def trade(self, identity):
        """Its fill alone, unless it has been told."""
        request, qty, fills = self.untold[identity]
        if identity in self.unfilled and fills:
            self.rig.fill(self.at, request, qty=fills, price=ASK if request["side"] > 0 else BID)
        self.unfilled.discard(identity)
        if fills == qty:
            del self.untold[identity]  # there is no more to tell

    def close(self, request):
        """A close at the market, of what is really there; told at once."""
        index, side = int(request["instrument"]), int(request["side"])
        fills = min(int(request["qty_lots"]), max(0, -side * self.lots[index]))
        self.lots[index] += side * fills
        identity = int(request["id_hi"]), int(request["id_lo"])
        self.untold[identity] = request, int(request["qty_lots"]), fills
        self.unfilled.add(identity)
        self.tell(identity)

    def want(self):
        """A shard wants more, or less, of something."""
        index, side = self.dice.randrange(N), self.dice.choice((1, -1))
        held = int(self.rig.agent.memory.positions[index]["lots"])
        fields = {
            "instrument": index, "shard": index, "side": side, "price_ticks": ASK if side > 0 else BID,
            "stop_ticks": BID - 60_000 if side > 0 else ASK + 60_000,
            "qty_lots": self.dice.choice((100, 1_000, 2_000, 3_300, self.dice.randint(1, 3_400))),
        }  # fmt: skip
        if held and self.dice.random() < 0.3:
            fields.update(side=-1 if held > 0 else 1, leg=e.LEG_EXIT, flags=e.ORDER_REDUCE_ONLY, stop_ticks=0,
                          type=e.TYPE_MARKET, price_ticks=0, qty_lots=self.dice.randint(1, abs(held)))  # fmt: skip
        self.rig.intent(self.at, **fields)

    def time(self, ns):
        """The market goes on at the same prices."""
        self.at += ns
        for index in range(N):
            self.rig.quote(self.at, instrument=index)

    def sequence(self, steps):
        """So many steps, and then the truth, all of it; what is held goes."""
        for _ in range(steps):
            self.time(self.dice.choice((1, MS, 20 * MS)))
            way = self.dice.random()
            if way < 0.6:
                self.want()
            elif way < 0.8 and self.untold:
                self.tell(self.dice.choice(list(self.untold)))
            elif way < 0.85 and self.working:
                self.go_off(self.dice.choice(list(self.working)))
            elif way < 0.9:
                self.time(IN_FLIGHT_NS + 200 * MS)
            self.pump()
            orders = self.rig.agent.memory.orders
            self.unknown += int(((orders["base"] != BASE_FREE) & (orders["overlay"] & OVERLAY_UNKNOWN != 0)).sum())
            self.rig.reports(0), self.rig.reports(1), self.rig.reports(2)
        for _ in range(100):
            while self.untold:
                self.tell(next(iter(self.untold)))
            if not any(self.lots):
                break
            self.time(MS)
            self.pump()
            for index, lots in enumerate(self.rig.agent.memory.positions["lots"].tolist()):
                if lots and not self.untold:
                    self.rig.intent(
                        self.at, instrument=index, shard=index, side=-1 if lots > 0 else 1, leg=e.LEG_EXIT,
                        flags=e.ORDER_REDUCE_ONLY, type=e.TYPE_MARKET, price_ticks=0, stop_ticks=0, qty_lots=abs(lots),
                    )  # fmt: skip
                    self.pump()
        self.pump()
        assert self.rig.agent.memory.positions["lots"].tolist() == self.lots == [0] * N


SELL = {"side": -1, "price_ticks": BID, "stop_ticks": ASK + 60_000}


@pytest.mark.parametrize("way", ["exit", "stop"])
@pytest.mark.parametrize("filled", [True, False])
def test_a_fill_that_is_told_before_the_exits_that_was_there_first(tmp_path, way, filled):
    """What may have closed the position already makes the later entry one that opens; legal orders still go."""
    rig = Rig(tmp_path, limit_changes=LIMITS)
    rig.open_market()
    _, (stop,) = rig.enter(qty_lots=2_000)
    rig.ack(4 * MS, stop)
    leave = stop
    if way == "exit":
        rig.intent(5 * MS, side=-1, leg=e.LEG_EXIT, flags=e.ORDER_REDUCE_ONLY, stop_ticks=0, type=e.TYPE_MARKET,
                   price_ticks=0, qty_lots=2_000)  # fmt: skip
        rig.run()
        (leave,) = rig.requests()
    rig.intent(6 * MS, qty_lots=3_000, **SELL)
    rig.run()
    (entry,) = rig.requests()  # to the other side, while the exit has no end and the stop stands
    rig.fill(7 * MS, entry, price=BID)
    rig.intent(8 * MS, qty_lots=1_000, **SELL)
    rig.run()
    assert rig.position["lots"] == -1_000 and rig.rejects == {e.RISK_POSITION: 1}, "3,000 may be held, and 3,333 may be"
    rig.intent(9 * MS, qty_lots=300, **SELL)
    rig.run()
    (legal,) = (one for one in rig.requests() if one["action"] == e.ACTION_PLACE and one["leg"] == e.LEG_ENTRY)
    rig.event(10 * MS, e.REPORT_EXPIRED, legal)
    if filled:
        rig.fill(11 * MS, leave, price=BID)
        rig.intent(11 * MS + 1, qty_lots=300, **SELL)
        rig.run()
        (legal,) = (one for one in rig.requests() if one["action"] == e.ACTION_PLACE and one["leg"] == e.LEG_ENTRY)
        rig.event(11 * MS + 2, e.REPORT_EXPIRED, legal)
    for order in {int(one["id_lo"]): one for one in (leave, stop)}.values():
        if not filled or order is not leave:
            rig.event(12 * MS, e.REPORT_CANCELED, order)
    rig.run()
    rig.intent(13 * MS, qty_lots=1_000, **SELL)
    rig.run()
    refused = {e.RISK_POSITION: 2 if filled else 1}
    assert rig.rejects == refused and rig.position["lots"] == (-3_000 if filled else -1_000)


@pytest.mark.parametrize("sequences", [SEQUENCES, pytest.param(100_000, marks=pytest.mark.stress)])
def test_what_is_really_held_is_never_over_a_limit(tmp_path, sequences):
    unknown = sent = mixed = went_off = 0
    refused = {}
    for begin in range(0, sequences, TOGETHER):
        folder = tmp_path / str(begin)
        folder.mkdir()
        truth = Truth(folder, begin)
        for _ in range(min(TOGETHER, sequences - begin)):
            truth.sequence(truth.dice.randint(5, 20))
        unknown, sent = unknown + truth.unknown, sent + truth.sent
        mixed, went_off = mixed + truth.out_of_order, went_off + truth.went_off
        for code, count in truth.rig.rejects.items():
            refused[code] = refused.get(code, 0) + count
        truth.rig.agent.close()
        for path in sorted(folder.iterdir()):
            path.unlink() if path.is_file() else path.rmdir()
    print(f"{sequences} sequences: {sent} orders, {unknown} times one was unknown, {mixed} trades told too early, "
          f"{went_off} stops went off, refused {refused}")  # fmt: skip
    assert unknown > sequences and sent > 3 * sequences and mixed > sequences // 10 and went_off > sequences // 10
    assert {e.RISK_POSITION, e.RISK_GROSS, e.RISK_NET, e.RISK_VENUE} <= set(refused)
