"""A shard against its twin on random streams: broken data, reports in every order, kills, full rings, restarts.

After every call to work both must agree on promise, counters, gate and all that is known of every instrument; every
intent is compared field by field. Which rules the streams have reached is counted and asserted at the end.
"""

import functools
import random
from collections import Counter

import numpy as np
import pytest
from reference.engine.shard import END_NS, Record, RefPuppet, RefTrend
from rig.shard import BID, DOWN, FLAT, T0, UP, Rig
from rig.shard_pair import ShardPair
from rig.tables import MS, SECOND

from bot4.model import enums
from bot4.model.enums import (
    ACTION_PLACE,
    FLAG_BOOK_NEWER,
    FLAG_LAST,
    FLAG_QUOTE_NEWER,
    FLAG_SNAPSHOT,
    LEG_STOP,
    STATUS_CLEAR,
    STATUS_STALE,
    STATUS_WHOLE,
    TICK_FUNDING,
    TICK_LEVEL,
    TICK_MARK,
    TICK_QUOTE,
    TICK_STATUS,
    TICK_TRADE,
)
from bot4.model.records import TICK
from bot4.shm.layout import CONTROL_KILL

TIMED = 40  # seeds with time bars
SEEDS = range(TIMED + 6)
NARROW = {  # streams in which one limit is the first that is met
    20: ("gross_bps", 60), 21: ("net_bps", 60), 22: ("venue_bps", 60), 23: ("stop_bps", 1), 24: ("stop_loss_bps", 1),
    25: ("strategy_bps", 60),
}  # fmt: skip
TIGHTENED = range(30, TIMED)  # streams in which limits are tightened on the way
LENGTH = 2_000
LARGE = 2**40
ENDS = (enums.REPORT_EXPIRED, enums.REPORT_CANCELED, enums.REPORT_REJECT, enums.REPORT_DENIED)
MUTE = (enums.REPORT_ACK, enums.REPORT_CANCEL_REJECT, enums.REPORT_REPLACED, enums.REPORT_TRIGGERED, 0, 99)
SPREADS = (1,) * 14 + (30, 2_000, 70_000)
SIZES = (UP, UP, UP, UP, FLAT, FLAT, DOWN, DOWN, DOWN, DOWN, (60, 40), (40, 60), (64, 36), (36, 64), (55, 45), (45, 55),
         (13, 5), (LARGE, 1))  # fmt: skip


def rule_of_bars(seed: int, bar_ns: int) -> dict[str, int]:
    """Time bars, and from seed TIMED on the other kinds in turn; the value is no whole tick x lot."""
    if seed < TIMED:
        return {"bar_ns": bar_ns}
    kind, size = ((1, 2), (2, 90), (3, 4_000_000_003))[seed % 3]
    return {"bar_ns": 0, "bar_kind": kind, "bar_size": size}


def more_of_size(seed: int, bar_ns: int) -> dict[str, float]:
    """Many runs size by another method, some close by time; value at risk needs bars of a known length."""
    choose = random.Random(f"size {seed}").choice
    return {
        "sizing": choose((0, 0, 1, 2, 3) if bar_ns else (0, 0, 1, 2)),
        "stop_trails": choose((0, 1)), "even_atr_multiple": choose((0.0, 1.2345678)),
        "sizing_budget_bps": choose((0.02, 0.5, 1_000.0)), "max_hold_ns": choose((0, 0, 150 * MS)),
        "profit_atr_multiple": choose((0.0, 3.4567891)),
        "entry_slices": 3 * (seed % 3 == 1), "slice_ms": 200 * (seed % 3 == 1 and seed // 4 % 2 == 0),
    }  # fmt: skip


class Stream:
    """One random run. Even seeds free-running, odd ones paced; the rest of the configuration goes by the seed too."""

    def __init__(self, seed: int, alone: bool = False) -> None:
        self.random = random.Random(seed)
        pick = self.random.choice
        trend = seed % 4 > 1
        n_shards = 1 if alone else pick((1, 2))
        self.pair = ShardPair(
            RefTrend if trend else RefPuppet,
            self.adjust,
            strategy="bot4.strategies.trend" if trend else None,
            n_instruments=3 * n_shards,
            n_shards=n_shards,
            k=n_shards - 1,
            intent_slots=4,
            session_changes={
                "paced": seed % 2, "lag_limit_ns": 0 if seed % 2 else pick((0, 1, 2 * MS)),
                "measure": seed // 8 % 2, "account": pick((1, 40_000)), "feed_generation": 1 + seed,
            },
            limit_changes={
                "position_bps": pick((150, 200)), "order_lots": 8_000, "order_notional_e8": 4_000 * 10**8,
                "open_orders": pick((1, 2)), "quote_age_ns": 200 * MS, "cool_down_ns": pick((0, 300 * MS, SECOND)),
                "bucket_tokens": pick((1, 2, 20)), "bucket_refill_ns": SECOND,
                **dict([NARROW[seed]] if seed in NARROW else []),
            },
            **(bars := rule_of_bars(seed, pick((0, 20 * MS)))), atr_period=pick((1, 3)),
            min_hold_ns=pick((0, 100 * MS)), entry_style=seed // 4 % 2, entry_life_ns=pick((100 * MS, SECOND)),
            imbalance_levels=pick((1, 3)),
            **(more_of_size(seed, bars["bar_ns"]) if seed not in NARROW else {}),
            stop_atr_multiple=1.2345678, stop_min_bps=pick((0.0, 0.0, 0.8)), slippage_ticks=pick((1, 7)),
            **({"fast_period": 2, "slow_period": 4, "signal_period": 2, "rsi_period": 3, "band_period": 4} if trend
               else {"warm_bars": pick((0, 2))}),
        )  # fmt: skip
        self.twin, self.rig = self.pair.twin, self.pair.rig
        self.own = list(self.twin.lines)
        self.price = dict.fromkeys(self.own, BID)
        self.sizes = dict.fromkeys(self.own, FLAT)
        self.at = 0
        leap = pick((60 * MS, 250 * MS, 1_100 * MS))
        # a grid hits the spans of all rules exactly, the other one both sides of them
        grid = (0, 0, 100 * MS, 100 * MS, 500 * MS)
        self.steps = pick((grid, (0, 0, 1, MS, MS, 3 * MS, 3 * MS, 10 * MS, 10 * MS, 60 * MS, leap)))
        self.drained = pick((0.02, 0.3))
        if seed % 3 == 0:
            dice = random.Random(f"model {seed}").choice
            self.pair.watch_model(
                failures=dice((1, 3)), window_ns=dice((SECOND, 60 * SECOND)), open_ns=dice((5 * MS, SECOND)),
                doublings=dice((0, 2)), probes=dice((1, 4)),
            )  # fmt: skip
        self.limits_dice = random.Random(f"limits {seed}") if seed in TIGHTENED else None

    @staticmethod
    def adjust(rig: Rig) -> None:
        """Of every three instruments one is spot and one has a large least quantity."""
        n_shards = len(rig.wires.ticks)
        for i, row in enumerate(rig.instruments):
            row["is_spot"] = i // n_shards == 1
            row["min_qty_lots"] = 500 if i // n_shards == 2 else 1

    def chance(self, share: float) -> bool:
        """True that often."""
        return self.random.random() < share

    # --- market ---
    def market(self, i: int) -> None:
        """One record, mostly good."""
        pick = self.random.choice
        line = self.twin.lines[i]
        self.price[i] += pick((-400, -20, -1, 0, 0, 0, 0, 0, 0, 0, 1, 20, 400))
        if self.chance(0.15):
            self.sizes[i] = pick(SIZES)
        if self.chance(0.01 if line.sequence.synced else 0.5):
            self.snapshot(i)
        elif self.chance(0.02):
            self.spoil(i)
        else:
            self.good(i)

    def good(self, i: int) -> None:
        """A record without fault."""
        pick, price = self.random.choice, self.price[i]
        spread = pick(SPREADS)
        flags = FLAG_LAST if self.chance(0.9) else 0
        what = self.random.random()
        if what < 0.5:
            bid, ask = self.sizes[i]
            newer = FLAG_BOOK_NEWER if self.chance(0.03) else 0
            words = (price - spread, max(min(bid, LARGE - 1), 1), price + spread, max(ask, 1))
            self.pair.tick(self.at, TICK_QUOTE, words, flags | newer, i)
        elif what < 0.65:
            side = pick((1, -1))
            newer = FLAG_QUOTE_NEWER if self.chance(0.8) else 0
            words = (price - side * pick((1, 2, 3, 9, -1)), pick((0, 5, 50)), side, 0)
            self.pair.tick(self.at, TICK_LEVEL, words, flags | newer, i)
        elif what < 0.94:
            words = (
                price + pick((0, 0, 0, 0, 0, 0, 0, 0, -3, 5, 1_000, 150_000)),
                self.random.randint(1, 99),
                0,
                pick((1, -1)),
            )
            self.pair.tick(self.at, TICK_TRADE, words, flags, i)
        elif what < 0.96:
            self.pair.tick(self.at, pick((TICK_MARK, TICK_FUNDING)), (price * 10**6, 0, 0, 0), flags, i)
        else:
            self.pair.tick(self.at, TICK_STATUS, (pick((STATUS_WHOLE, STATUS_WHOLE, STATUS_STALE)), 0, 0, 0), flags, i)

    def spoil(self, i: int) -> None:
        """A record with a fault, or one of an instrument that is not ours."""
        price, last = self.price[i], self.rig.last_event_no[i]
        kind, words, more = self.random.choice((
            (TICK_QUOTE, (price, 5, price, 5), {}),
            (TICK_QUOTE, (price, 5, price - 1, 5), {}),
            (TICK_QUOTE, (0, 5, price, 5), {}),
            (TICK_QUOTE, (price, 5, price + 2, LARGE), {}),
            (TICK_QUOTE, (price, 0, price + 2, 5), {}),
            (TICK_LEVEL, (price, -1, 1, 0), {}),
            (TICK_LEVEL, (price, 1, 2, 0), {}),
            (TICK_LEVEL, (LARGE, 1, 1, 0), {}),
            (TICK_TRADE, (price, 0, 0, 1), {}),
            (TICK_MARK, (0, 0, 0, 0), {}),
            (0, (price, 5, price + 2, 5), {}),
            (7, (price, 5, price + 2, 5), {}),
            (TICK_QUOTE, (price, 5, price + 2, 5), {"event_no": last + 2}),
            (TICK_TRADE, (price, 5, 0, 1), {"event_no": last}),
            (TICK_TRADE, (price, 5, 0, 1), {"at": self.at - SECOND}),
            (TICK_TRADE, (price, 5, 0, 1), {"foreign": len(self.rig.instruments)}),
            (TICK_TRADE, (price, 5, 0, 1), {"foreign": self.own[0] - 1}),
        ))  # fmt: skip
        at = more.pop("at", self.at)
        foreign = more.pop("foreign", None)
        if foreign is None:
            self.pair.tick(at, kind, words, FLAG_LAST, i, **more)
        elif foreign >= 0:
            self.rig.last_event_no += [0] * (foreign + 1 - len(self.rig.last_event_no))
            self.pair.tick(at, kind, words, FLAG_LAST, foreign, event_no=1)

    def snapshot(self, i: int) -> None:
        """The feed's answer, sometimes without its head or with a wrong level."""
        price, number = self.price[i], self.rig.last_event_no[i] + self.random.randint(0, 9)
        records = [(TICK_STATUS, (STATUS_CLEAR, 0, 0, 0))]
        for deep in range(1, 4):
            records += [(TICK_LEVEL, (price - deep, 40 + deep, 1, 0)), (TICK_LEVEL, (price + deep, 40, -1, 0))]
        if self.chance(0.1):
            records.append((TICK_LEVEL, (price, 5, 0, 0)))
        if self.chance(0.1):
            del records[0]
        if self.chance(0.3):
            records.append((TICK_QUOTE, (price - 1, 50, price + 1, 50)))
        records.append((TICK_STATUS, (STATUS_WHOLE, 0, 0, 0)))
        for place, (kind, words) in enumerate(records):
            last = FLAG_LAST if place == len(records) - 1 else 0
            self.pair.tick(self.at, kind, words, FLAG_SNAPSHOT | last, i, event_no=number + place)
        self.rig.event_no[i] = iter(range(number + len(records), 2**32))

    # --- execution ---
    def past_order(self, i: int) -> Record | None:
        """The order that is out, else one of the last ones."""
        line = self.twin.lines[i]
        sent = [x for x in self.twin.sent[-40:] if x["action"] == ACTION_PLACE and x["instrument"] == i]
        if line.order and self.chance(0.9):
            sent = [x for x in sent if x["id_lo"] == line.order.id_lo] or sent
        return self.random.choice(sent[-3:]) if sent else None

    def execution(self, i: int) -> None:
        """One report."""
        pick, line = self.random.choice, self.twin.lines[i]
        what, at = self.random.random(), self.at + pick((0, 0, MS, -MS))
        if what < 0.15:
            self.totals(at)
            return
        order = self.past_order(i)
        if what < 0.18:
            where = pick((len(self.rig.instruments), self.own[0] - 1))
            self.pair.report(
                at, enums.REPORT_FILL, instrument=max(where, 0), side=1, qty_lots=3, leaves_lots=1, id_lo=9
            )
        elif what < 0.185:
            self.resync()
        elif what < 0.23 and line.risk["position_lots"]:
            lots = line.risk["position_lots"]
            side = -1 if lots > 0 else 1
            self.pair.report(at, enums.REPORT_FILL, instrument=i, side=side, qty_lots=pick((abs(lots), 1)),
                             leg=LEG_STOP, id_lo=5, price_ticks=self.price[i])  # fmt: skip
        elif not order or (line.order is None and self.chance(0.85)):
            return
        elif what < 0.7:
            left = line.order.leaves if line.order else order["qty_lots"]
            lots, leaves = pick(((left, 0), (left, 0), (max(left // 3, 1), 1), (1, 5), (max(left // 2, 1), 0),
                                 (left + 1, 0)))  # fmt: skip
            self.pair.report(at, enums.REPORT_FILL, order, qty_lots=max(lots, 1), leaves_lots=leaves,
                             price_ticks=self.price[i])  # fmt: skip
        else:
            self.pair.report(at, pick(ENDS if self.chance(0.7) else MUTE), order, leaves_lots=1)

    def totals(self, at: int) -> None:
        """Mostly nothing out of the ordinary."""
        pick = self.random.choice
        equity = 100_000
        changes = {}
        if self.chance(0.25):
            equity = pick((0, 3, 300, 5_000, 100_000, 300_000, 500_000))
            ways = ("high", 120_000), ("start", 104_000), ("breaker", 1), ("streak", 1), ("gate", 0), ("gate", 1)
            name, value = pick(ways)
            changes = {name: value}
        self.pair.totals(at, equity, **changes)

    def tighten(self) -> None:
        """Execution says that some limit is tighter."""
        assert self.limits_dice
        name = self.limits_dice.choice(("position_bps", "order_lots", "quote_age_ns", "slippage_bps", "stop_bps"))
        word = list(self.twin.limits).index(name)
        value = int(self.twin.limits[name] * (1.01 if name == "slippage_bps" else 0.97))
        self.pair.report(self.at, enums.REPORT_LIMIT, code=word, cash_e8=value)

    def adopt(self, i: int, at: int) -> None:
        """Execution's word on position and orders of one instrument."""
        pick = self.random.choice
        held = self.twin.lines[i].risk["position_lots"]
        lots = pick((0, held, held, held, held, 700, -700))
        self.pair.report(at, enums.REPORT_POSITION, instrument=i, qty_lots=lots)
        for _ in range(pick((0, 0, 0, 1, 1, 1, 2))):
            order = self.past_order(i)
            if order:
                self.pair.report(at, enums.REPORT_ORDER, order, leaves_lots=pick((1, 70)), status=enums.REPORT_ACK)

    def resync(self) -> None:
        """The whole answer, work falling between its parts."""
        for i in self.own:
            self.adopt(i, self.at)
            if self.chance(0.3):
                self.pair.work(2)
        self.totals(self.at)
        self.pair.report(self.at, enums.REPORT_QUERY_END)

    # --- the run ---
    def step(self) -> None:
        """Time goes on, something happens, the shard works."""
        pick = self.random.choice
        self.at += pick(self.steps)
        i = pick(self.own)
        if self.twin.resyncing and self.chance(0.06):
            self.resync()
        elif self.chance(0.75 if self.twin.lines[i].order is None else 0.55):
            self.market(i)
        else:
            self.execution(i)
        control = self.rig.wires.control
        if self.chance(0.15 if control[CONTROL_KILL] else 0.02):
            control[CONTROL_KILL] = 0 if control[CONTROL_KILL] else pick((1, 7))
        if self.limits_dice and self.limits_dice.random() < 0.004:
            self.tighten()
        if self.chance(0.002):
            self.pair.restart()
        if self.chance(0.3):
            self.rig.feed_clock(self.at + pick((-MS, 0, 0, MS)))
        if self.chance(0.6):
            self.rig.report_clock(self.at + pick((-MS, 0, 1, MS)))
        if self.chance(0.8):
            self.pair.work(pick((1, 1, 1, 2, 5, 2_048)))
        if self.chance(self.drained):
            self.pair.drain()
        if max(len(self.twin.ticks), len(self.twin.reports)) > 60:
            self.catch_up(self.at + 1)

    def catch_up(self, at: int) -> None:
        """Nothing is held back any more."""
        self.rig.feed_clock(at)
        self.rig.report_clock(at)
        while self.pair.work(1_000):
            pass
        self.pair.drain()

    def run(self) -> Counter[str]:
        """To the end of the stream; what was reached."""
        if self.chance(0.5):  # a first life that may have taken reports alone
            self.adopt(self.own[0], 0)
            self.pair.work(1)
            self.pair.restart()
            self.resync()
        for i in self.own:
            self.pair.tick(0, TICK_STATUS, (STATUS_WHOLE, 0, 0, 0), instrument=i)
        for _ in range(LENGTH):
            self.step()
        self.catch_up(END_NS - T0)
        assert not self.twin.ticks and not self.twin.reports
        assert self.twin.clock_ns == END_NS
        codes = {enums.REJECT_NAMES[code]: count for code, count in self.twin.rejects.items()}
        return self.twin.seen + Counter(codes)


@functools.cache
def reached(seed: int) -> Counter[str]:
    """What the stream of a seed reached, shard and twin agreeing throughout."""
    return Stream(seed).run()


@pytest.mark.parametrize("seed", SEEDS)
def test_random_streams_equal_the_twin(seed):
    assert reached(seed)


@pytest.mark.parametrize("seed", [*range(8), *range(TIMED, TIMED + 3)])
def test_batches_of_steps_equal_the_twin(seed):
    """Without rings, and every order expires at once."""
    stream = Stream(seed, alone=True)
    pair, twin, rig = stream.pair, stream.twin, stream.rig
    for i in stream.own:
        pair.tick(0, TICK_STATUS, (STATUS_WHOLE, 0, 0, 0), instrument=i)
    orders = 0
    for _ in range(LENGTH // 100):
        for _ in range(40):
            stream.at += stream.random.choice((0, MS, 20 * MS))
            stream.market(stream.random.choice(stream.own))
        ticks = np.zeros(len(twin.ticks) + 1, TICK)  # the first one is left out
        for place, tick in enumerate(twin.ticks, start=1):
            for name, value in tick.items():
                ticks[name][place] = value
        tables = (rig.instruments, rig.limits, rig.session)
        found = rig.loop.step_batch(rig.agent.memory, *tables, ticks, 1, len(twin.ticks))
        assert found == twin.batch(twin.ticks)
        orders += found
        twin.ticks.clear()
        for i in stream.own:
            pair.compare_line(i)
    assert orders


# The gate or the data check is first; the others execution alone knows.
NEVER = {
    enums.EXEC_NO_QUOTE, enums.RISK_CORRELATION, enums.RISK_VALUE_AT_RISK, enums.RISK_SHORTFALL, enums.RISK_SHARD_RATE,
    enums.RISK_ORDER_RATE, enums.RISK_MESSAGE_RATE, enums.RISK_REPEAT, enums.RISK_SELF_TRADE, enums.RISK_REDUCE_ONLY,
}  # fmt: skip
CODES = {name for code, name, _ in enums.REJECTS if code < enums.EXEC_RING_FULL + 1 and code not in NEVER}
PATHS = {
    *(f"bar of kind {kind} filled" for kind in range(4)), *(f"sized by {why}" for why in (0, 2, 3, 4, 5, 6)),
    "timed out", "result won", "result lost",
    "bar over", "bar over without a trade", "cancel again", "cancel aged", "cancel out", "cancel unwanted", "entry",
    "entry at rest", "exit", "exit in a picture", "exit on a cold score", "fill missed",
    "model opens from closed", "model opens from half-open", "model shut", "model works again",
    "fill of another order", "filled", "filled in part", "hold", "idle", "late", "limit",
    "order adopted", "order out", "order over", "order refused", "pause", "position adopted", "reopened",
    "report of a foreign instrument", "report without effect", "restart", "rests", "resynced", "sees again", "shut",
    "snapshot after a hole", "totals", "without a book",
    "waits for reports", "waits for ticks", "within a message",
}  # fmt: skip


def test_the_streams_reach_every_path_and_every_code():
    total = sum((reached(seed) for seed in SEEDS), Counter())
    assert set(total) == CODES | PATHS
