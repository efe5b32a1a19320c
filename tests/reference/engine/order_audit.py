"""What an account was allowed to do, judged from the venue's ledger and the market alone: orders over a limit.

Knows nothing of execution: positions, equity, high-water mark and day follow from the ledger's fills; what is open
from its requests and ends; all in whole numbers of any size. Whoever plays the market tells at which moments somebody
decided (`Decision`), and how much of the ledger he had been told by then. What was pending then counts as if it all
filled, a protective order on the other side as if it had gone off before.
"""

from base64 import b64decode
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

Line = dict[str, Any]

DAY_NS = 86_400 * 10**9
PROTECTIVE = ("stop", "flatten")
CHECKS = (
    "position", "gross", "strategy", "net", "venue", "order_notional", "min_notional", "order_lots", "collar",
    "stop_missing", "stop_side", "short_spot",
    "reduce_only", "open_orders", "cool_down", "rate", "duplicate", "drawdown", "daily_loss", "no_equity", "killed",
    "stale", "quote_age", "streak", "bad_order", "shard_rate", "order_rate", "message_rate", "repeat", "stop_far",
    "stop_loss", "self_trade",
)  # fmt: skip


@dataclass
class Decision:
    """A moment at which shards' orders were judged: the market as it was, and what the ledger had told."""

    now_ns: int
    known: int  # lines of the ledger that had been reported
    ids: set[str]  # client order ids that were sent in then
    killed: bool
    quotes: list[tuple[int, int, int, int]]  # since the decision before: time, instrument, bid, ask
    whole: list[tuple[int, bool]]  # ... and books that broke or were whole again, before the quotes


@dataclass
class Held:
    """One instrument."""

    lots: int = 0
    cost: int = 0
    realised: int = 0
    cash: int = 0  # fees and funding, signed
    bid: int = 0
    ask: int = 0
    quote_ns: int = 0
    whole: bool = False
    worth: Fraction = Fraction(0)
    trip: int = 0  # result since it was last flat
    trip_lost: bool = False  # a loss of it has been counted
    closed: dict[str, tuple[int, bool]] = field(default_factory=dict)  # by order: result, a loss was counted
    last_open_ns: int = 0
    bucket_ns: int = 0
    row: list[tuple[int, int]] = field(default_factory=list)  # time and side of shards' orders that went out
    open: dict[str, Line] = field(default_factory=dict)  # orders of shards by client id


class Audit:
    """Breaches by limit over one ledger."""

    def __init__(self, symbols: list[str], instruments: list[Line], limits: Line, session: Line) -> None:
        self.index = {symbol: index for index, symbol in enumerate(symbols)}
        self.instruments, self.limits = instruments, limits
        self.start_e8, self.there_ns = session["start_equity_e8"], session["order_latency_ns"]
        self.way_ns = session["report_latency_ns"]
        self.held = [Held() for _ in symbols]
        self.breaches: Counter[str] = Counter(dict.fromkeys(CHECKS, 0))
        self.high = self.start_e8
        self.day, self.day_start = 0, 0
        self.shut_day = -1  # the day whose loss reached its limit
        self.streak = self.streak_until = 0
        self.sent = 0  # orders of shards
        self.buckets: Counter[str] = Counter()  # when the next one would come at the steady rate
        self.messages: list[tuple[int, int]] = []  # requests not counted yet: number in the ledger, time of sending

    # --- money ---
    @property
    def equity(self) -> int:
        """As execution can know it."""
        return self.start_e8 + sum(
            held.realised * instrument["value_e8"] + held.worth + held.cash
            for held, instrument in zip(self.held, self.instruments, strict=True)
        )

    def reach(self, now_ns: int) -> None:
        """A day begins with what there is before its first event."""
        if now_ns // DAY_NS > self.day:
            self.day, self.day_start = now_ns // DAY_NS, self.equity

    def mark(self, index: int) -> None:
        """The price or the position is another: what it is worth, and what follows from that."""
        held = self.held[index]
        held.worth = 0
        if held.lots:
            double = held.lots * (held.bid + held.ask) - 2 * held.cost
            held.worth = double * self.instruments[index]["value_e8"] // 2
        equity = self.equity
        self.high = max(self.high, equity)
        lost = self.day_start - equity
        if lost > 0 and lost * 10_000 >= self.day_start * self.limits["daily_loss_bps"]:
            self.shut_day = self.day

    def fill(self, line: Line) -> None:
        """Average cost, to the unit."""
        held = self.held[self.index[line["symbol"]]]
        side = 1 if line["side"] == "buy" else -1
        left, was, before = line["qty_lots"], held.lots, held.realised
        if held.lots * side < 0:
            closing = min(abs(held.lots), left)
            sign = 1 if held.lots > 0 else -1
            removed = abs(held.cost) * closing // abs(held.lots)
            held.realised += sign * (line["price_ticks"] * closing - removed)
            held.cost -= sign * removed
            held.lots -= sign * closing
            left -= closing
        held.lots += side * left
        held.cost += side * left * line["price_ticks"]
        held.cash -= line["fee_e8"]
        instrument = self.instruments[self.index[line["symbol"]]]
        result = (held.realised - before) * instrument["value_e8"] - line["fee_e8"]
        held.trip += result
        if was * side < 0:
            self.close(held, line, result, held.lots * was <= 0)
        if held.lots < 0 and self.instruments[self.index[line["symbol"]]]["is_spot"]:
            self.breaches["short_spot"] += 1

    def close(self, held: Held, line: Line, result: int, ended: bool) -> None:
        """Losses in a row: by order, and by position where costs alone made it lose."""
        total, counted = held.closed.get(line["client_order_id"], (0, False))
        loss = total + result < 0 and not counted
        held.closed[line["client_order_id"]] = total + result, counted or loss
        loss |= ended and held.trip < 0 and not held.trip_lost
        held.trip_lost |= loss
        self.streak += loss
        if loss and self.streak >= self.limits["streak_losses"]:
            self.streak, self.streak_until = 0, line["t_ns"] + self.way_ns + self.limits["streak_pause_ns"]
        if ended:
            self.streak = 0 if held.trip >= 0 else self.streak
            held.trip, held.trip_lost = 0, False

    # --- the ledger ---
    def learn(self, line: Line) -> None:
        """A line that execution has been told of."""
        if line["symbol"] is None:
            return
        index = self.index[line["symbol"]]
        now_ns = line["t_ns"] + self.way_ns
        self.reach(now_ns)
        if line["kind"] == "fill":
            self.fill(line)
            order = self.held[index].open.get(line["client_order_id"])
            if order is not None:
                order["leaves"] = line["leaves_lots"]
                if not line["leaves_lots"]:
                    del self.held[index].open[line["client_order_id"]]
            self.mark(index)
        elif line["kind"] == "order" and line["status"] in ("rejected", "canceled", "expired"):
            self.held[index].open.pop(line["client_order_id"], None)

    def run(self, ledger: list[Line], decisions: list[Decision]) -> Counter[str]:
        """Count the breaches."""
        requests: dict[str, list[Line]] = {}
        for line in ledger:
            if line["kind"] == "request" and line["action"] == "place" and line["leg"] not in PROTECTIVE:
                requests.setdefault(line["client_order_id"], []).append(line)
        self.sent = sum(map(len, requests.values()))
        self.breaches["duplicate"] += sum(len(lines) - 1 for lines in requests.values())
        self.messages = [(line["seq"], self.sent_ns(line)) for line in ledger if line["kind"] == "request"]
        moments = {decision.now_ns: number for number, decision in enumerate(decisions)}
        decided: dict[int, list[Line]] = {}
        for line in sorted((lines[0] for lines in requests.values()), key=lambda line: line["seq"]):
            number = moments.get(line["t_ns"] - self.there_ns, -1)
            if number < 0 or line["client_order_id"] not in decisions[number].ids:
                self.breaches["bad_order"] += 1  # nobody asked for it
            else:
                decided.setdefault(number, []).append(line)
        read = 0
        for number, decision in enumerate(decisions):
            news = ledger[read : decision.known]
            read = decision.known
            quotes = list(decision.quotes)
            for index, whole in decision.whole:
                self.held[index].whole = whole
            for line in news:
                while quotes and quotes[0][0] < line["t_ns"] + self.way_ns:
                    self.quote(*quotes.pop(0))
                self.learn(line)
            for quote in quotes:
                self.quote(*quote)
            for line in decided.get(number, []):
                self.judge(line, decision)
        return self.breaches

    def quote(self, now_ns: int, index: int, bid: int, ask: int) -> None:
        """Best bid and ask."""
        self.reach(now_ns)
        held = self.held[index]
        held.bid, held.ask, held.quote_ns = bid, ask, now_ns
        self.mark(index)

    # --- exposure ---
    def is_live(self, held: Held, now_ns: int) -> bool:
        """Its price can be believed: a whole book, and a quote that is not old."""
        return held.whole and held.bid > 0 and now_ns - held.quote_ns <= self.limits["quote_age_ns"]

    def unproven(self, now_ns: int) -> Fraction:
        """Profit at prices that cannot be believed."""
        return Fraction(sum(max(0, held.worth) for held in self.held if not self.is_live(held, now_ns)))

    def side_worth(self, index: int, side: int, now_ns: int, more: int = 0) -> Fraction:
        """What is held, pending and wanted of one instrument on one side may be worth."""
        held = self.held[index]
        pending = sum(order["leaves"] for order in held.open.values() if order["side"] == side and not order["reduces"])
        lots = max(held.lots * side, 0) + pending + more
        price = Fraction(held.bid + held.ask, 2)
        if held.lots and not self.is_live(held, now_ns):
            price = max(price, Fraction(abs(held.cost), abs(held.lots)))
        return lots * price * self.instruments[index]["value_e8"]

    def exposure(self, index: int, side: int, qty: int, now_ns: int) -> dict[str, Fraction]:
        """Of the whole account with one more order, at its worst."""
        pairs = [
            (self.side_worth(i, side, now_ns, qty if i == index else 0), self.side_worth(i, -side, now_ns))
            for i in range(len(self.held))
        ]
        venue = self.instruments[index]["venue"]
        return {
            "gross": Fraction(sum(max(pair) for pair in pairs)),
            "strategy": Fraction(sum(max(pair) for pair in pairs)),
            "net": Fraction(sum(same for same, _ in pairs)),
            "venue": Fraction(
                sum(max(p) for p, row in zip(pairs, self.instruments, strict=True) if row["venue"] == venue)
            ),
        }

    # --- one order ---
    def judge(self, line: Line, decision: Decision) -> None:
        """An order of a shard that went out: was it allowed?"""
        index = self.index[line["symbol"]]
        held, instrument, limits = self.held[index], self.instruments[index], self.limits
        side = 1 if line["side"] == "buy" else -1
        qty, price, stop = line["qty_lots"], line["price_ticks"], line["stop_ticks"]
        market = line["type"] == "market"
        mid = Fraction(held.bid + held.ask, 2)
        quoted = 0 < held.bid < held.ask and decision.now_ns - held.quote_ns <= limits["quote_age_ns"]
        found = set()
        if len(held.open) >= limits["open_orders"]:
            found.add("open_orders")
        if not market and quoted and abs(price - mid) > mid * limits["collar_bps"] / 10_000:
            found.add("collar")
        if qty <= 0 or qty > instrument["max_qty_lots"] or line["type"] not in ("market", "limit"):
            found.add("bad_order")
        held.row.append((decision.now_ns, side))
        if self.in_a_row(held, limits["repeat_pause_ns"]) > limits["repeat_orders"]:
            found.add("repeat")
        reduces = "reduce_only" in line["flags"]
        if reduces:
            if qty > -held.lots * side:
                found.add("reduce_only")
        else:
            found |= self.judge_opening(line, decision, quoted, mid)
            while self.messages[0][0] < line["seq"]:
                self.take("message", "message", self.messages.pop(0)[1])
            most = {"message": -(-limits["message_tokens"] // 2)}  # the rest is for what must get through
            for bucket, name in ((f"shard {instrument['shard']}", "shard"), ("order", "order"), ("message", "message")):
                early_ns = self.buckets[bucket] - decision.now_ns
                if early_ns > (most.get(name, limits[f"{name}_tokens"]) - 1) * limits[f"{name}_refill_ns"]:
                    found.add(f"{name}_rate")
                if name != "message":
                    self.take(bucket, name, decision.now_ns)
            held.last_open_ns = decision.now_ns
            held.bucket_ns = max(held.bucket_ns, decision.now_ns) + limits["bucket_refill_ns"]
            if stop <= 0:
                found.add("stop_missing")
        held.open[line["client_order_id"]] = {
            "side": side, "leaves": qty, "reduces": reduces, "price": 0 if market else price
        }  # fmt: skip
        self.breaches.update(found)

    @staticmethod
    def in_a_row(held: Held, pause_ns: int) -> int:
        """Orders of the last one's side, up to the last of the other side or the last pause."""
        count, (next_ns, last) = 0, held.row[-1]
        for at, side in reversed(held.row):
            if side != last or next_ns - at >= pause_ns:
                break
            count, next_ns = count + 1, at
        return count

    def sent_ns(self, line: Line) -> int:
        """When a request was sent: its first word is when it was to arrive."""
        return int.from_bytes(b64decode(line["body"])[:8], "little") - self.there_ns

    def take(self, bucket: str, name: str, at_ns: int) -> None:
        """One token."""
        self.buckets[bucket] = max(self.buckets[bucket], at_ns) + self.limits[f"{name}_refill_ns"]

    def judge_opening(self, line: Line, decision: Decision, quoted: bool, mid: Fraction) -> set[str]:
        """What holds for an order that opens risk."""
        index = self.index[line["symbol"]]
        held, instrument, limits = self.held[index], self.instruments[index], self.limits
        side = 1 if line["side"] == "buy" else -1
        qty, stop, now_ns = line["qty_lots"], line["stop_ticks"], decision.now_ns
        equity = self.equity - self.unproven(now_ns)
        market = line["type"] == "market"
        touch = held.ask if side > 0 else held.bid
        price = touch if market else line["price_ticks"]
        pending = sum(order["leaves"] for order in held.open.values() if order["side"] == side and not order["reduces"])
        lots = max(held.lots * side, 0) + pending + qty
        edge = held.bid if side > 0 else held.ask
        if not market:
            edge = min(price, edge) if side > 0 else max(price, edge)
        value = instrument["value_e8"]
        dearest = price if side > 0 else max(price, held.bid)
        loss = {
            "drawdown": (self.high, limits["drawdown_bps"]),
            "daily_loss": (self.day_start, limits["daily_loss_bps"]),
        }
        wrong = {
            "killed": decision.killed,
            "stale": not held.whole,
            "quote_age": not quoted,
            "no_equity": equity <= 0,
            "cool_down": held.last_open_ns > 0 and now_ns - held.last_open_ns < limits["cool_down_ns"],
            "rate": held.bucket_ns - now_ns > (limits["bucket_tokens"] - 1) * limits["bucket_refill_ns"],
            "order_lots": qty > limits["order_lots"],
            "stop_side": not side * (edge - stop) > 0,
            "order_notional": qty * dearest * value > limits["order_notional_e8"],
            "min_notional": qty * price * value < instrument["min_notional_e8"],
            "self_trade": any(
                order["side"] == -side and order["price"] and (market or side * (price - order["price"]) >= 0)
                for order in held.open.values()
            ),
            "stop_far": abs(price - stop) * 10_000 > price * limits["stop_bps"],
            "stop_loss": self.at_the_stop(lots, price, stop, instrument) > equity * limits["stop_loss_bps"] // 10_000,
            "position": lots * mid * value > Fraction(equity * limits["position_bps"]) / 10_000,
            "streak": now_ns < self.streak_until,
            **{
                name: worth * 10_000 > equity * limits[f"{name}_bps"]
                for name, worth in self.exposure(index, side, qty, now_ns).items()
            },
            **{name: mark > equity and (mark - equity) * 10_000 >= mark * bps for name, (mark, bps) in loss.items()},
        }
        wrong["daily_loss"] |= self.shut_day == now_ns // DAY_NS
        return {name for name, is_so in wrong.items() if is_so}

    def at_the_stop(self, lots: int, price: int, stop: int, instrument: Line) -> int:
        """The way to the stop, fees there and back, slippage there; each cost to the next whole unit."""
        value, fee = lots * instrument["value_e8"], max(instrument["taker_fee_ppm"], 0)
        back = fee + 100 * self.limits["slippage_bps"]
        costs = (Fraction(value * price * fee, 10**6), Fraction(value * stop * back, 10**6))
        return value * abs(price - stop) + sum(map(ceil, costs))
