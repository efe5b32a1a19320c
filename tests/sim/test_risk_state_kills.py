"""What the limits of losses and rates are measured by survives the death of execution, a thousand times.

A random session in execution's real wiring. At random moments it is dead: what is built anew from the journal and the
shared memory knows the high-water mark, the day with its first equity and whether its loss has shut it, the losses in a
row and their pause, cool-downs, buckets and rows of repeats, to the unit.
"""

import random

import pytest
from rig.execution import ASK, BID, Rig
from rig.tables import MS, SECOND

from bot4.model.enums import (
    ACTION_PLACE,
    LEG_ENTRY,
    LEG_EXIT,
    LEG_STOP,
    ORDER_REDUCE_ONLY,
    REPORT_CANCELED,
    REPORT_FUNDING,
    REPORT_QUERY_END,
    TYPE_MARKET,
)

DAY = 86_400 * SECOND
ACCOUNT = ("high_water_e8", "day", "day_start_e8", "day_shut_until_ns", "streak", "streak_until_ns",
           "drawdown_ppm", "order_bucket_ns")  # fmt: skip
VIEW = ("last_open_ns", "bucket_ns", "run", "run_ns", "open_orders", "pending_buy_lots")
FILLER = {"instrument": 0, "id_hi": 1, "id_lo": 1, "order_row": -1, "side": 1}
KILLS = 1_000


def state(rig) -> dict[str, int]:
    """What must not change."""
    memory = rig.agent.memory
    found = {name: int(memory.account[name][0]) for name in ACCOUNT}
    return found | {name: int(memory.views[name][0]) for name in VIEW} | {"shard": int(memory.shard_bucket_ns[0])}


class Life:
    """A random session that dies now and then."""

    def __init__(self, folder, seed: int, capacity: int) -> None:
        self.dice, self.at, self.mid = random.Random(seed), 0, 0
        limits = {"daily_loss_bps": 1, "drawdown_bps": 9_000, "streak_losses": 3, "streak_pause_ns": 3_600 * SECOND,
                  "kill_drawdown_bps": 9_999, "kill_daily_loss_bps": 9_999, "repeat_orders": 1_000}  # fmt: skip
        self.rig = Rig(folder, capacity=capacity, limit_changes=limits)
        self.rig.open_market()
        self.seen = {"shut": 0, "pause": 0, "days": 0, "profit": 0}

    def quote(self) -> None:
        """The market moves; a mark of a position may be higher than ever."""
        self.mid += self.dice.randrange(-60_000, 60_001)
        self.mid = max(-2_000_000, min(self.mid, 2_000_000))
        self.rig.quote(self.at, bid=BID + self.mid, ask=ASK + self.mid)
        self.rig.run()

    def answer(self) -> None:
        """The venue works what it is sent; orders end at once, a stop stands."""
        for request in self.rig.requests():
            if request["action"] != ACTION_PLACE:
                self.rig.event(self.at, REPORT_CANCELED, request)
            elif request["leg"] == LEG_STOP:
                self.rig.ack(self.at, request)
            else:
                price = (ASK if request["side"] > 0 else BID) + self.mid
                self.rig.fill(self.at, request, price=price, fee=10**7)
            self.rig.run()

    def trade(self) -> None:
        """In, or out."""
        lots = int(self.rig.position["lots"])
        if lots:
            self.rig.intent(self.at, side=-1, type=TYPE_MARKET, price_ticks=0, stop_ticks=0, leg=LEG_EXIT,
                            flags=ORDER_REDUCE_ONLY, qty_lots=lots)  # fmt: skip
        else:
            self.rig.intent(self.at, leg=LEG_ENTRY, price_ticks=ASK + self.mid, stop_ticks=BID + self.mid - 60_000)
        self.rig.run()
        for _ in range(3):
            self.answer()

    def step(self) -> None:
        """Something happens."""
        self.at += self.dice.choice((MS, 40 * MS, SECOND, 60 * SECOND, 3_600 * SECOND))
        what = self.dice.random()
        self.quote()
        if what < 0.4:
            self.trade()
        elif what < 0.45:
            self.rig.event(self.at, REPORT_FUNDING, FILLER, cash_e8=self.dice.randrange(-(10**10), 10**10))
            self.rig.run()
        self.rig.reports()
        now = state(self.rig)
        account = self.rig.agent.memory.account[0]
        self.seen["shut"] += bool(account["reached_ns"] < now["day_shut_until_ns"])
        self.seen["pause"] += bool(account["now_ns"] < now["streak_until_ns"])
        self.seen["profit"] += now["high_water_e8"] > 100_000 * 10**8
        self.seen["days"] = now["day"]

    def die(self) -> None:
        """Dead, and built anew."""
        before = state(self.rig)
        self.rig.build()
        assert state(self.rig) == before
        self.rig.run()
        asked = [one for one in self.rig.requests() if one["action"] != ACTION_PLACE]
        for one in asked[:-1]:  # a stop that rests
            self.rig.ack(self.at, one)
        self.rig.event(self.at, REPORT_QUERY_END, asked[-1], event_seq=0)
        self.rig.run()
        self.answer()


@pytest.mark.parametrize("kills", [25, pytest.param(KILLS, marks=pytest.mark.stress)])
def test_what_limits_are_measured_by_survives_kills(tmp_path, kills):
    life = Life(tmp_path, 7, 400 * kills + 40_000)
    begun = int(life.rig.agent.memory.account["day"][0])
    for _ in range(kills):
        for _ in range(life.dice.randrange(1, 12)):
            life.step()
        life.die()
    days = life.seen["days"] - begun
    print(f"{kills} deaths over {days} days; steps while the day was shut, in a pause, above the start: {life.seen}")
    assert min(life.seen.values()) > 0 and days > 1


def test_a_mark_that_no_record_has_seen_is_kept(tmp_path):
    """A quote between two samples brings the highest equity ever, and the next one takes it back: then death."""
    rig = Rig(tmp_path)
    rig.open_market()
    _, (stop,) = rig.enter()
    rig.ack(4 * MS, stop)
    rig.quote(SECOND)
    rig.quote(SECOND + MS, bid=BID + 90_000, ask=ASK + 90_000)
    rig.run()
    mark = int(rig.agent.memory.account["high_water_e8"][0])
    rig.quote(SECOND + 2 * MS)
    rig.run()
    assert mark > 100_000 * 10**8 and rig.agent.journal.table["high_water_e8"].max() < mark
    assert rig.build().memory.account["high_water_e8"][0] == mark
