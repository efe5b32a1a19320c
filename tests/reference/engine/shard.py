"""Slow twin of a shard: queues, dictionaries and whole series instead of rings, records and running sums.

Ticks and reports are dictionaries by field name, taken from `ticks` and `reports` by `work`; what the shard would push
lands in `sent`. Compared with the compiled shard after every item (tests/properties/engine/test_shard.py). `seen`
counts which rules were used, so that a test can tell what its random streams have reached.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from reference.kernels import decision, indicators, sizing
from reference.kernels.book import RefBook
from reference.kernels.risk import order_checks as risk

Record = dict[str, Any]
Bar = Record  # indicators.BAR_FIELDS

TRADE, QUOTE, LEVEL, MARK, FUNDING, STATUS = range(1, 7)
LAST, SNAPSHOT, BOOK_NEWER, QUOTE_NEWER = 1, 2, 4, 8
STALE, WHOLE, CLEAR = range(3)
PLACE, CANCEL = 1, 2
MARKET, LIMIT = 1, 2
GTC, IOC = 1, 2
REDUCE_ONLY, POST_ONLY = 1, 2
ENTRY, EXIT = 0, 1
REJECT, FILL, CANCELED, EXPIRED, ORDER, QUERY_END, POSITION, DENIED, TOTALS = 2, 3, 4, 5, 9, 11, 12, 14, 15
TIGHTER = 20
BAD_KIND, LATE, WARMING, NO_QUOTE, GATE_SHUT, BAD_SCORE, SIZE_ZERO, RING_FULL = 106, 103, 201, 202, 203, 204, 314, 401
MODEL_SHUT = 205
END_NS = 2**63 - 1
DAY_NS = 86_400 * 10**9
CANCEL_AGAIN_NS = 10**9
PAUSE_NS = 10**8
BOOK_LEVELS = 4_096
INTENT_FIELDS = (
    "ts_ns", "id_hi", "id_lo", "price_ticks", "qty_lots", "stop_ticks", "ref_ticks", "instrument", "strategy", "shard",
    "action", "side", "type", "tif", "flags", "leg", "event_no", "order_row", "sized_by",
    "slices", "slice_ds", "tsc", "aux", "score",
    "tsc_read", "trail_ticks", "even_ticks",
)  # fmt: skip


def sign(number: int) -> int:
    """+1, 0 or -1."""
    return (number > 0) - (number < 0)


# --- strategies ------------------------------------------------------------------------------------------------------


class RefStrategy(Protocol):
    """What a shard asks of a strategy; made anew whenever the warm-up starts."""

    warm: bool

    def on_bar(self, bar: Bar, count: int, atr: float) -> None:
        """The `count`-th bar closed."""

    def on_tick(self, view: Record) -> float:
        """The score."""

    def on_fill(self, view: Record) -> None:
        """An own fill."""


class RefPuppet:
    """The imbalance as score; certain sizes make it no number or infinite."""

    def __init__(self, params: Record) -> None:
        self.bars_needed = params["warm_bars"]
        self.warm = self.bars_needed == 0
        self.ticks = self.fills = self.filled_lots = 0

    def on_bar(self, bar: Bar, count: int, atr: float) -> None:
        """Warm after so many bars."""
        self.warm = self.warm or count >= self.bars_needed

    def on_tick(self, view: Record) -> float:
        """The imbalance."""
        self.ticks += 1
        return {13: float("nan"), 11: -float("inf")}.get(view["bid_lots"], view["imbalance"])

    def on_fill(self, view: Record) -> None:
        """Count."""
        self.fills += 1
        self.filled_lots += view["fill_side"] * view["fill_lots"]


class RefTrend:
    """The built-in strategy, each bar from the whole series of closes.

    While a series is shorter than its period, the period is what there is: the mean of all so far.
    """

    def __init__(self, params: Record) -> None:
        self.params = params
        self.closes: list[float] = []
        self.warm = False
        self.bar_score = 0.0
        self.fills = 0

    def on_bar(self, bar: Bar, count: int, atr: float) -> None:
        """Four weighted parts."""
        p, closes = self.params, self.closes
        closes.append(bar["close"])
        n = len(closes)
        unit = atr if atr > 0 else 1.0
        fast, slow = (indicators.ema(closes, min(p[f"{name}_period"], n))[-1] for name in ("fast", "slow"))
        histogram = 0.0
        if n >= p["slow_period"]:
            signal = min(p["signal_period"], n - p["slow_period"] + 1)
            histogram = indicators.macd(closes, p["fast_period"], p["slow_period"], signal)[-1][2]
        rsi = indicators.rsi(closes, min(p["rsi_period"], n - 1))[-1] if n > 1 else 0.0
        window = closes[-p["band_period"] :]
        mean, deviation = indicators.bollinger(window, len(window))[-1]
        place = (closes[-1] - mean) / deviation if deviation > 0 else 0.0
        self.bar_score = (
            p["trend_weight"] * squash((fast - slow) / unit)
            + p["macd_weight"] * squash(histogram / unit)
            + p["rsi_weight"] * (rsi / 50 - 1)
            + p["band_weight"] * squash(place)
        )
        needed = (p["slow_period"] + p["signal_period"] - 1, p["rsi_period"] + 1, p["band_period"])
        self.warm = n >= max(needed)

    def on_tick(self, view: Record) -> float:
        """With the imbalance, clipped."""
        return min(max(self.bar_score + self.params["imbalance_weight"] * view["imbalance"], -1.0), 1.0)

    def on_fill(self, view: Record) -> None:
        """Count."""
        self.fills += 1


def squash(value: float) -> float:
    """Into -1 .. 1."""
    return value / (1 + abs(value))


# --- one instrument --------------------------------------------------------------------------------------------------


@dataclass
class Order:
    """Our order in flight or at rest."""

    id_hi: int
    id_lo: int
    leg: int
    side: int
    leaves: int
    sent_ns: int
    cancel_ns: int = 0  # 0: no cancel on its way


class RefLine:
    """All that the shard knows of one of its instruments."""

    def __init__(self, params: Record, strategy: Callable[[Record], RefStrategy], view_fields: Sequence[str]) -> None:
        self.params, self.make = params, strategy
        self.sequence = decision.Sequence()
        self.book = RefBook(BOOK_LEVELS)
        self.view: Record = dict.fromkeys(view_fields, 0)
        self.risk = dict.fromkeys(
            ("position_lots", "pending_buy_lots", "pending_sell_lots", "open_orders", "bid_ticks", "ask_ticks",
             "quote_ts_ns", "equity_e8", "high_water_e8", "day_start_e8", "last_open_ns", "bucket_ns", "killed",
             "breaker_open", "stale", "streak", "day_shut", "others_gross_e8", "others_long_e8", "others_short_e8",
             "others_venue_e8", "correlation_bps", "value_at_risk_e8", "shortfall_e8", "shard_bucket_ns",
             "order_bucket_ns", "message_bucket_ns", "run", "run_ns", "exit_buy_lots", "exit_sell_lots",
             "own_bid_ticks", "own_ask_ticks", "own_stop_ticks"), 0,
        )  # fmt: skip
        self.risk["stale"] = 1
        self.blind = self.known = False  # restarted without a book yet; has met a record
        self.order: Order | None = None
        self.pause_ns = self.entry_ns = self.mark_e8 = 0
        self.score = 0.0
        self.results: list[int] = []  # of closed positions, in 1e-9 of what was put in
        self.trip: list[tuple[int, int]] = []  # side, lots x price of the open one's fills
        self.trip_cost = self.trip_fees = 0
        self.warm_up()

    def warm_up(self) -> None:
        """Bars, average range, day's average and strategy begin anew; the rest stays."""
        self.bars: list[Bar] = []
        self.trades: list[tuple[int, int, int, int]] = []  # of the open bar: time, price, lots, side
        self.day, self.day_value, self.day_lots = -1, 0, 0
        self.view["bars"], self.view["atr"] = 0, 0.0
        self.strategy = self.make(self.params)

    def inherit(self, other: "RefLine") -> None:
        """Go on from an earlier life: all but book, position and orders."""
        self.sequence, self.view, self.strategy = other.sequence, other.view, other.strategy
        self.risk["position_lots"] = self.view["position_lots"]
        self.bars, self.trades = other.bars, other.trades
        self.day, self.day_value, self.day_lots = other.day, other.day_value, other.day_lots
        self.mark_e8, self.score = other.mark_e8, other.score
        self.results, self.trip = other.results, other.trip
        self.trip_cost, self.trip_fees = other.trip_cost, other.trip_fees
        self.blind = self.known = True

    @property
    def warm(self) -> bool:
        """Strategy and average range have seen enough."""
        return self.strategy.warm and len(self.bars) > self.params["atr_period"]

    # --- market ---
    def close_bar(self) -> None:
        """The open bar is over."""
        bar = indicators.bar_row(self.trades, self.params["bar_kind"], self.params["bar_ns"])
        self.bars.append(bar)
        self.trades = []
        ranges = len(self.bars) - 1
        atr = 0.0
        if ranges:
            rows = [(past["high"], past["low"], past["close"]) for past in self.bars]
            atr = indicators.atr(rows, min(ranges, self.params["atr_period"]))[-1]
        same = ("open", "high", "low", "close", "volume", "buy_volume", "turnover")
        self.view |= {name: float(bar[name]) for name in same}
        self.view |= {f"bar_{name}": bar[name] for name in ("trades", "begin_ns", "end_ns")}
        self.view |= {"bars": len(self.bars), "atr": atr}
        self.strategy.on_bar(bar, len(self.bars), atr)

    def bar_is_over(self, now: int) -> bool:
        """Whether event time has left the span of an open time bar."""
        span = self.params["bar_ns"]
        return bool(self.trades and span and now // span != self.trades[0][0] // span)

    def trade(self, now: int, price: int, lots: int, side: int, value_e8: int) -> None:
        """Into the day's average and the open bar."""
        if now // DAY_NS != self.day:
            self.day, self.day_value, self.day_lots = now // DAY_NS, 0, 0
        self.day_value += price * lots
        self.day_lots += lots
        self.view |= {"trade_ticks": price, "trade_lots": lots, "trade_side": side}
        self.view["vwap"] = float(Fraction(self.day_value, self.day_lots))
        self.trades.append((now, price, lots, side))
        p = self.params
        if indicators.bar_is_full(self.trades, p["bar_kind"], p["bar_ns"], p["bar_size"], value_e8):
            self.close_bar()

    def change_book(self, tick: Record) -> None:
        """A level, a quote or a status."""
        kind, flags, w0 = tick["kind"], tick["flags"], tick["w0"]
        if kind == LEVEL:
            self.book.set(tick["w2"], w0, tick["w1"])
            if flags & LAST and not flags & QUOTE_NEWER:
                self.book.newer = False
        elif kind == QUOTE:
            self.book.quote = {1: (w0, tick["w1"]), -1: (tick["w2"], tick["w3"])}
            self.book.newer = not flags & BOOK_NEWER
        elif kind == STATUS and w0 == CLEAR:
            self.book.clear()
        elif kind == STATUS:
            self.book.whole = w0 == WHOLE
        self.risk["stale"] = int(not self.book.whole)

    def top(self, side: int) -> tuple[int, int]:
        """Best price and its lots; zeros if there is none."""
        return next(iter(self.book.effective(side)), (0, 0))

    # --- orders ---
    def pending(self, side: int, lots: int) -> None:
        """More (or, negative, fewer) lots wait on a side; never below none."""
        name = "pending_buy_lots" if side > 0 else "pending_sell_lots"
        self.risk[name] = max(self.risk[name] + lots, 0)

    def end_order(self) -> None:
        """It is over, and what was left of it waits no more."""
        assert self.order
        self.pending(self.order.side, -self.order.leaves)
        self.risk["open_orders"] = max(self.risk["open_orders"] - 1, 0)
        self.order = None

    def is_ours(self, report: Record) -> bool:
        """Whether a report speaks of our order."""
        ids = (report["id_hi"], report["id_lo"])
        return self.order is not None and ids == (self.order.id_hi, self.order.id_lo)


# --- the shard -------------------------------------------------------------------------------------------------------


class RefShard:
    """One shard. The caller plays everybody else: it fills the queues, sets clocks, kill word and `room`."""

    def __init__(
        self,
        k: int,
        instruments: list[Record],
        limits: Record,
        session: Record,
        params: Record,
        strategy: Callable[[Record], RefStrategy],
        view_fields: Sequence[str],
    ) -> None:
        self.k, self.instruments, self.limits, self.session = k, instruments, limits, session
        self.params, self.make, self.view_fields = params, strategy, view_fields
        self.ticks: deque[Record] = deque()
        self.reports: deque[Record] = deque()
        self.feed_ns = self.report_ns = self.kill = 0
        self.room = 0  # free slots of the intent ring
        self.sent: list[Record] = []
        self.rejects: Counter[int] = Counter()
        self.clock_ns = self.snapshots = self.resyncs = 0
        self.items = self.event_ns = self.steps = self.intents = self.open_gates = 0
        self.seen: Counter[str] = Counter()
        self.model_limits: Record = {"failures": 0}
        self.start(fresh=True)

    def start(self, fresh: bool) -> None:
        """New memory. After a restart everything is unknown, so books, positions and orders are asked for."""
        self.model, self.model_until, self.model_trips, self.model_done = "closed", 0, 0, 0
        self.bad_scores: list[int] = []
        self.gate, self.resyncing, self.late, self.far_ns, self.open_gates = fresh, not fresh, False, 0, 0
        before = {} if fresh else self.lines
        self.lines: dict[int, RefLine] = {}
        for i, instrument in enumerate(self.instruments):
            if instrument["shard"] == self.k:
                line = self.lines[i] = RefLine(self.params, self.make, self.view_fields)
                line.sequence.next, line.sequence.synced = (1, True) if fresh else (0, False)
                if i in before and before[i].known:
                    line.inherit(before[i])
                if fresh:
                    for name in ("equity_e8", "high_water_e8", "day_start_e8"):
                        line.risk[name] = self.session["start_equity_e8"]
        if not fresh:
            self.seen["restart"] += 1
            self.snapshots += 1
            self.resyncs += 1

    # --- duty cycle ---
    def work(self, most: int) -> int:
        """Up to `most` items, reports before ticks of the same time; how many."""
        paced = bool(self.session["paced"])
        handled = 0
        while handled < most:
            tick_ns = self.ticks[0]["ts_recv_ns"] if self.ticks else None
            bound = self.feed_ns if tick_ns is None else tick_ns
            if paced or bound == END_NS:
                self.clock_ns = max(self.clock_ns, bound)
            if self.reports and (self.reports[0]["ts_ns"] <= bound or (not paced and tick_ns is None)):
                now = self.reports[0]["ts_ns"]
                self.take_report(self.reports.popleft())
            elif tick_ns is not None and (not paced or self.report_ns > tick_ns):
                now = tick_ns
                limit = self.session["lag_limit_ns"]
                if limit:
                    self.far_ns = self.far_ns if self.feed_ns == END_NS else self.feed_ns
                    self.late = self.far_ns > tick_ns + limit
                self.take_tick(self.ticks.popleft())
            else:
                self.seen["waits for reports" if self.ticks else "waits for ticks" if self.reports else "idle"] += 1
                break
            handled += 1
            self.event_ns = max(self.event_ns, now)
        if handled:
            self.items += handled
            ready = self.gate and not self.resyncing and not self.late
            self.open_gates = sum(
                ready and line.sequence.synced and line.book.whole and line.warm for line in self.lines.values()
            )
            if not paced and self.ticks:
                self.clock_ns = max(self.clock_ns, self.ticks[0]["ts_recv_ns"])
        return handled

    def take_tick(self, tick: Record) -> None:
        """Step, then whatever comes of it."""
        out = self.step(tick, self.kill)
        if isinstance(out, int):
            self.rejects[out] += 1
        elif out is not None:
            if self.room > 0:
                self.room -= 1
                self.intents += 1
                self.sent.append(out)
                self.note(out)
            else:
                self.rejects[RING_FULL] += 1
        self.steps += tick["flags"] & LAST

    # --- the five stages ---
    def step(self, tick: Record, kill: int) -> Record | int | None:
        """An intent, a reject code, or nothing."""
        line = self.lines.get(tick["instrument"])
        if line is None:
            return BAD_KIND
        was_synced = line.sequence.synced
        line.known = True
        if tick["flags"] & SNAPSHOT and was_synced and tick["event_no"] >= line.sequence.next:
            line.warm_up()
            self.seen["snapshot after a hole"] += 1
        code = line.sequence.code(tick) or decision.values(tick)
        if code:
            if line.sequence.synced:  # nothing is trusted until a snapshot; asked for once
                line.sequence.synced = False
                line.warm_up()
                self.snapshots += 1
                self.seen["shut"] += 1
            return code
        self.seen["reopened"] += not was_synced
        now, kind = tick["ts_recv_ns"], tick["kind"]
        if line.bar_is_over(now):
            line.close_bar()
            self.seen["bar over" if kind == TRADE else "bar over without a trade"] += 1
        if kind == TRADE:
            bars = len(line.bars)
            value_e8 = self.instruments[tick["instrument"]]["value_e8"]
            line.trade(now, tick["w0"], tick["w1"], tick["w3"], value_e8)
            self.seen[f"bar of kind {self.params['bar_kind']} filled"] += len(line.bars) - bars
        elif kind == MARK:
            line.mark_e8 = tick["w0"]
        elif not line.blind or (kind == STATUS and tick["w0"] == CLEAR):
            self.seen["sees again"] += line.blind
            line.blind = False
            line.change_book(tick)
            if kind in (LEVEL, QUOTE):
                line.risk["quote_ts_ns"] = now
        if kind not in (TRADE, LEVEL, QUOTE):
            return None
        if not tick["flags"] & LAST:
            self.seen["within a message"] += 1
            return None
        if line.blind:
            self.seen["without a book"] += 1
            return LATE
        line.risk["killed"] = int(kill != 0)
        return self.decide(line, tick)

    def decide(self, line: RefLine, tick: Record) -> Record | int | None:
        """What to do now, at the end of a message."""
        now, p = tick["ts_recv_ns"], self.params
        (bid, bid_lots), (ask, ask_lots) = line.top(1), line.top(-1)
        line.risk |= {"bid_ticks": bid, "ask_ticks": ask}
        if not 0 < bid < ask:
            return NO_QUOTE
        depth = p["imbalance_levels"]
        line.view |= {
            "ts_ns": now, "bid_ticks": bid, "ask_ticks": ask, "bid_lots": bid_lots, "ask_lots": ask_lots,
            "mid": (bid + ask) / 2, "microprice": indicators.microprice(bid, bid_lots, ask, ask_lots),
            "imbalance": line.book.imbalance(depth) if depth > 1 else indicators.imbalance(bid_lots, ask_lots),
        }  # fmt: skip
        score = line.strategy.on_tick(line.view)
        usable = math.isfinite(score) and abs(score) <= 1
        self.judge(now, usable)
        if not usable:
            return BAD_SCORE
        line.score = score
        if line.order:
            return self.rethink(line, line.order, tick)
        held = sign(line.risk["position_lots"])
        target = decision.target(score, held, p["enter_threshold"], p["exit_threshold"])
        timed_out = bool(held and p["max_hold_ns"] and now - line.entry_ns >= p["max_hold_ns"])
        self.seen["timed out"] += timed_out
        if target == held and not timed_out:
            return None
        if now < line.pause_ns:
            self.seen["pause"] += 1
            return None
        if not held:
            if self.model != "closed":
                self.seen["model shut"] += 1
                return MODEL_SHUT
            return self.enter(line, target, tick)
        if now - line.entry_ns < p["min_hold_ns"] and not timed_out:
            self.seen["hold"] += 1
            return None
        if self.resyncing:  # an order of ours may still be told
            self.seen["exit in a picture"] += 1
            return GATE_SHUT
        if not line.strategy.warm and not timed_out:
            self.seen["exit on a cold score"] += 1
            return WARMING
        return self.leave(line, tick)

    def judge(self, now: int, is_number: bool) -> None:
        """What the strategy's breaker makes of a score."""
        p = self.model_limits
        if self.model == "open" and now >= self.model_until:
            self.model, self.model_done = "half-open", 0
        if is_number:
            if self.model == "half-open":
                self.model_done += 1
                if self.model_done >= p["probes"]:
                    self.model, self.model_trips = "closed", 0
                    self.seen["model works again"] += 1
            return
        if self.model == "open" or not p["failures"]:
            return
        if self.model == "closed":
            self.bad_scores.append(now)
            if sum(now - at < p["window_ns"] for at in self.bad_scores) < p["failures"]:
                return
        self.seen[f"model opens from {self.model}"] += 1
        self.model_until = now + p["open_ns"] * 2 ** min(self.model_trips, p["doublings"])
        self.model, self.bad_scores = "open", []
        self.model_trips += 1

    def rethink(self, line: RefLine, order: Order, tick: Record) -> Record | None:
        """One order at a time; a resting entry goes when it is too old or not wanted any more."""
        now, p = tick["ts_recv_ns"], self.params
        takes = not p["entry_style"]
        if order.leg != ENTRY or (takes and not p["entry_slices"]):
            self.seen["order out"] += 1
            return None
        if order.cancel_ns and now - order.cancel_ns < CANCEL_AGAIN_NS:
            self.seen["cancel out"] += 1
            return None
        wanted = decision.target(line.score, order.side, p["enter_threshold"], p["exit_threshold"]) == order.side
        if wanted and (takes or now - order.sent_ns < p["entry_life_ns"]):
            self.seen["rests"] += 1
            return None
        self.seen["cancel again" if order.cancel_ns else "cancel aged" if wanted else "cancel unwanted"] += 1
        ids = {"id_hi": order.id_hi, "id_lo": order.id_lo}
        return self.intent(line, tick, ENTRY) | ids | {"action": CANCEL, "side": order.side}

    def leave(self, line: RefLine, tick: Record) -> Record | int:
        """The whole position at the market."""
        lots = line.risk["position_lots"]
        out = self.intent(line, tick, EXIT)
        out |= {"side": -sign(lots), "type": MARKET, "tif": IOC, "flags": REDUCE_ONLY, "qty_lots": abs(lots)}
        return self.checked(line, out, "exit")

    def enter(self, line: RefLine, side: int, tick: Record) -> Record | int:
        """A share of equity with a stop, at the touch or resting, if gate and risk allow it."""
        now, p = tick["ts_recv_ns"], self.params
        instrument, equity = self.instruments[tick["instrument"]], line.risk["equity_e8"]
        if self.late:
            self.seen["late"] += 1
            return LATE
        is_open = self.gate and not self.resyncing
        code = decision.gate(is_open, line.warm, now - line.risk["quote_ts_ns"], self.limits["quote_age_ns"])
        if code:
            return code
        bid, ask = line.view["bid_ticks"], line.view["ask_ticks"]
        rests = bool(p["entry_style"])
        near, far = (bid, ask) if side > 0 else (ask, bid)
        price = near if rests else far + side * p["slippage_ticks"]
        stop = sizing.stop(side, price, line.view["atr"], p["stop_atr_multiple"], p["stop_min_bps"])
        lots, why = sizing.entry(
            p, line.results, line.view["atr"], side, price, stop, line.risk, instrument, self.limits
        )
        self.seen[f"sized by {why}"] += 1
        if equity > 0 and not lots:
            return SIZE_ZERO
        out = self.intent(line, tick, ENTRY) | {
            "side": side, "type": LIMIT, "tif": GTC if rests else IOC, "flags": POST_ONLY if rests else 0,
            "price_ticks": price, "qty_lots": lots or max(instrument["min_qty_lots"], 1), "sized_by": why,
            "slices": p["entry_slices"], "slice_ds": p["slice_ms"] // 100,
            "stop_ticks": stop, "trail_ticks": min(abs(price - stop), 2**31 - 1) if p["stop_trails"] and stop else 0,
            "even_ticks": int(min(line.view["atr"] * p["even_atr_multiple"], 2**31 - 1)),
            "aux": sizing.profit(side, price, line.view["atr"], p["profit_atr_multiple"]),
        }  # fmt: skip
        return self.checked(line, out, "entry at rest" if rests else "entry")

    def intent(self, line: RefLine, tick: Record, leg: int) -> Record:
        """A blank one; its id says from which event it comes."""
        account, strategy = self.session["account"], self.session["strategy"]
        return dict.fromkeys(INTENT_FIELDS, 0) | {
            "ts_ns": tick["ts_recv_ns"], "event_no": tick["event_no"], "instrument": tick["instrument"],
            "id_hi": account << 48 | strategy << 32 | tick["instrument"] << 16 | self.session["feed_generation"],
            "id_lo": tick["event_no"] << 32 | leg << 24,
            "strategy": strategy, "shard": self.k, "action": PLACE, "leg": leg, "order_row": -1,
            "ref_ticks": line.view["bid_ticks"] + line.view["ask_ticks"], "score": line.score,
        }  # fmt: skip

    def checked(self, line: RefLine, out: Record, what: str) -> Record | int:
        """The order, or why not."""
        code = risk.check(out, line.risk, self.instruments[out["instrument"]], self.limits)
        if not code:
            self.seen[what] += 1
        return code or out

    def note(self, out: Record) -> None:
        """The intent is out."""
        line = self.lines[out["instrument"]]
        if out["action"] == CANCEL:
            assert line.order
            line.order.cancel_ns = out["ts_ns"]
            return
        if not risk.reducing(out):
            line.risk["last_open_ns"] = out["ts_ns"]
            line.risk["bucket_ns"] = max(line.risk["bucket_ns"], out["ts_ns"]) + self.limits["bucket_refill_ns"]
        line.pending(out["side"], out["qty_lots"])
        line.risk["open_orders"] += 1
        line.order = Order(out["id_hi"], out["id_lo"], out["leg"], out["side"], out["qty_lots"], out["ts_ns"])

    def batch(self, ticks: Sequence[Record]) -> int:
        """Steps where every order expires at once; how many orders."""
        orders = 0
        for tick in ticks:
            out = self.step(tick, 0)
            if isinstance(out, dict) and out["action"] == PLACE:
                orders += 1
                self.note(out)
                self.lines[out["instrument"]].end_order()
        return orders

    # --- reports ---
    def take_report(self, report: Record) -> None:
        """What execution says."""
        kind = report["kind"]
        if kind == TOTALS:
            self.gate = bool(report["gate"])
            self.seen["totals"] += 1
            for line in self.lines.values():
                line.risk |= {name: report[name] for name in ("equity_e8", "high_water_e8", "day_start_e8")}
                line.risk["breaker_open"] = report["breaker"]
                line.risk["streak"] = report["streak"]
                line.risk["day_shut"] = report["day_shut"]
            return
        if kind == TIGHTER:
            self.limits[list(self.limits)[report["code"]]] = report["cash_e8"]
            self.seen["limit"] += 1
            return
        if kind == QUERY_END:
            self.seen["resynced"] += self.resyncing
            self.resyncing = False
            return
        line = self.lines.get(report["instrument"])
        if line is None:
            self.seen["report of a foreign instrument"] += 1
        elif kind == FILL:
            line.known = True
            self.fill(line, report)
        elif kind == POSITION:
            self.seen["position adopted"] += 1
            line.known = True
            lots = report["qty_lots"]
            if lots != line.view["position_lots"]:
                line.warm_up()
                line.trip, line.trip_cost, line.trip_fees = [(1, report["cash_e8"])], abs(report["cash_e8"]), 0
                self.seen["fill missed"] += 1
            self.resyncing = True  # the full picture begins
            line.order = None
            line.risk |= {"position_lots": lots, "pending_buy_lots": 0, "pending_sell_lots": 0, "open_orders": 0}
            line.view["position_lots"] = lots
            line.entry_ns = report["ts_ns"]
        elif kind == ORDER:
            self.seen["order adopted"] += 1
            ids, leaves = (report["id_hi"], report["id_lo"]), report["leaves_lots"]
            line.order = Order(*ids, report["leg"], report["side"], leaves, report["ts_ns"])
            line.pending(report["side"], leaves)
            line.risk["open_orders"] += 1
        elif kind in (CANCELED, EXPIRED, REJECT, DENIED) and line.is_ours(report):
            line.end_order()
            self.seen["order over"] += 1
            if kind in (REJECT, DENIED):
                self.seen["order refused"] += 1
                line.pause_ns = report["ts_ns"] + PAUSE_NS
        else:
            self.seen["report without effect"] += 1

    def note_result(self, line: RefLine, before: int, report: Record) -> None:
        """What a position has earned, once it is closed, as a share of what was put in."""
        side, lots, price = report["side"], report["qty_lots"], report["price_ticks"]
        closing = min(lots, abs(before)) if before * side < 0 else 0
        value = self.instruments[report["instrument"]]["value_e8"]
        line.trip_fees += report["fee_e8"]
        line.trip.append((side, closing * price))
        if closing and closing == abs(before):
            result = float(-sum(way * worth for way, worth in line.trip)) * value - line.trip_fees
            share = int(result / (float(line.trip_cost) * value) * 1e9) if line.trip_cost else 0
            line.results.append(share)
            self.seen["result won" if share > 0 else "result lost"] += 1
            line.trip, line.trip_cost, line.trip_fees = [], 0, 0
        line.trip.append((side, (lots - closing) * price))
        line.trip_cost += (lots - closing) * price

    def fill(self, line: RefLine, report: Record) -> None:
        """Every fill moves the position; one of our order also what is left of it."""
        side, lots, before = report["side"], report["qty_lots"], line.risk["position_lots"]
        after = line.risk["position_lots"] = before + side * lots
        self.note_result(line, before, report)
        if line.is_ours(report):
            assert line.order
            line.pending(side, -lots)
            line.order.leaves = max(line.order.leaves - lots, 0)
            if not line.order.leaves or not report["leaves_lots"]:
                self.seen["filled"] += 1
                line.end_order()
            else:
                self.seen["filled in part"] += 1
        else:
            self.seen["fill of another order"] += 1
        if after and sign(after) != sign(before):
            line.entry_ns = report["ts_ns"]
        line.view |= {
            "position_lots": after, "fill_ticks": report["price_ticks"], "fill_lots": lots, "fill_side": side,
            "fill_leg": report["leg"],
        }  # fmt: skip
        line.strategy.on_fill(line.view)
