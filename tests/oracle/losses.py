"""When an account's losses reached each of their limits: event by event, from the venue's ledger and the market alone.

Imports nothing of Bot4: the rules are those of LIMITS.md written anew, in whole numbers of any size. Execution hears of
a line of the ledger `way_ns` after the venue wrote it; at equal times that comes before a quote, a quote before a
decision.

    loss of the day     from the equity that the day's first event finds; reached once, the day is shut
    drawdown            from the highest equity
    losses in a row     of closing orders; so many, and there is a pause
    kill switch         a larger loss of the day, or a larger drawdown; for good
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

DAY_NS = 86_400 * 10**9
BPS = 10_000
ALL = 10**30  # more than any loss


class Quote(NamedTuple):
    """Best bid and ask, in ticks, and when they were received."""

    ts_ns: int
    symbol: str
    bid: int
    ask: int


@dataclass
class Limits:
    """Those that are to be watched; what is left out is never reached."""

    daily_loss_bps: int = 0
    drawdown_bps: int = 0
    kill_daily_loss_bps: int = 0
    kill_drawdown_bps: int = 0
    streak_losses: int = 0
    streak_pause_ns: int = 0
    capital_e8: int = ALL
    quote_age_ns: int = ALL
    day_offset_ns: int = 0


@dataclass
class Held:
    """One instrument: what flowed, what is held, at which price, and how its last closing orders ended."""

    value_e8: int
    cash_e8: int = 0
    lots: int = 0
    cost: int = 0  # in tick x lot
    quote: Quote | None = None
    worth_e8: int = 0  # open profit
    trip_e8: int = 0  # since it was last flat
    trip_lost: bool = False
    results: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # by closing order
    lost: set[str] = field(default_factory=set)


@dataclass
class Losses:
    """An account that is led through its session; `shut`, `killed` and `pauses` are what was found."""

    start_e8: int
    way_ns: int
    limits: Limits
    held: dict[str, Held]
    realised_e8: int = 0
    high_e8: int = 0
    day: int = -1
    day_start_e8: int = 0
    day_shut: int = -1  # the day that is
    streak: int = 0
    paused_until_ns: int = 0
    shut: list[tuple[int, int]] = field(default_factory=list)  # event time, equity
    pauses: list[tuple[int, int]] = field(default_factory=list)  # event time of the last loss, end of the pause
    killed: tuple[int, str] | None = None  # event time, and which limit
    lows: list[tuple[int, int]] = field(default_factory=list)  # each event at which the day's loss was larger than ever

    def __post_init__(self) -> None:
        self.high_e8 = self.start_e8

    @property
    def equity_e8(self) -> int:
        """Realised, and open at the last mids."""
        return self.start_e8 + self.realised_e8 + sum(one.worth_e8 for one in self.held.values())

    def reached(self, mark_e8: int, bps: int, equity_e8: int) -> bool:
        """So much of a mark, or of the capital, is lost."""
        most = min(mark_e8, self.limits.capital_e8) * bps
        return bps > 0 and mark_e8 > equity_e8 and (mark_e8 - equity_e8) * BPS >= most

    # --- events ---
    def begin(self, now_ns: int) -> None:
        """A day may have begun."""
        day = (now_ns - self.limits.day_offset_ns) // DAY_NS
        if day > self.day:
            self.day, self.day_start_e8 = day, self.equity_e8
            self.lows = [*self.lows, (now_ns, 0)]

    def mark(self, held: Held) -> None:
        """The position at its last mid, rounded down."""
        held.worth_e8 = 0
        if held.lots and held.quote is not None:
            twice = held.lots * (held.quote.bid + held.quote.ask) - 2 * held.cost
            held.worth_e8 = twice * held.value_e8 // 2
        self.high_e8 = max(self.high_e8, self.equity_e8)

    def look(self, now_ns: int) -> None:
        """What this event has brought about."""
        equity, limits = self.equity_e8, self.limits
        lost = self.day_start_e8 - equity
        if lost > self.lows[-1][1]:
            self.lows.append((now_ns, lost))
        if self.day_shut < self.day and self.reached(self.day_start_e8, limits.daily_loss_bps, equity):
            self.day_shut = self.day
            self.shut.append((now_ns, equity))
        if self.killed is None:
            if self.reached(self.high_e8, limits.kill_drawdown_bps, equity):
                self.killed = now_ns, "kill_drawdown_bps"
            elif self.reached(self.day_start_e8, limits.kill_daily_loss_bps, equity):
                self.killed = now_ns, "kill_daily_loss_bps"

    def on_quote(self, quote: Quote) -> None:
        """The market."""
        self.begin(quote.ts_ns)
        held = self.held[quote.symbol]
        held.quote = quote
        if held.lots:
            self.mark(held)
            self.look(quote.ts_ns)

    def on_line(self, line: dict[str, Any]) -> None:
        """A line of the ledger that execution is told of."""
        now_ns = line["t_ns"] + self.way_ns
        self.begin(now_ns)
        if line["kind"] == "fill":
            self.on_fill(line, now_ns)
        self.look(now_ns)

    def on_fill(self, line: dict[str, Any], now_ns: int) -> None:
        """Average cost; what a closing part takes of it is rounded down."""
        held = self.held[line["symbol"]]
        side = 1 if line["side"] == "buy" else -1
        qty, price, was = line["qty_lots"], line["price_ticks"], held.lots
        closing = min(qty, abs(was)) if was * side < 0 else 0
        profit = 0
        if closing:
            sign = 1 if was > 0 else -1
            part = abs(held.cost) * closing // abs(was)
            profit = sign * (price * closing - part)
            held.cost -= sign * part
        held.lots += side * qty
        held.cost += side * (qty - closing) * price
        result = profit * held.value_e8 - line["fee_e8"]
        self.realised_e8 += result
        held.trip_e8 += result
        if closing:
            self.on_close(held, line["client_order_id"], result, held.lots * was <= 0, now_ns)
        self.mark(held)

    def on_close(self, held: Held, order: str, result: int, ended: bool, now_ns: int) -> None:
        """A closing order counts once as a loss; a position that costs made lose counts with its end."""
        held.results[order] += result
        lost = held.results[order] < 0 and order not in held.lost
        if lost:
            held.lost.add(order)
        if lost or (ended and held.trip_e8 < 0 and not held.trip_lost):
            held.trip_lost = True
            self.streak += 1
            if self.streak == self.limits.streak_losses:
                self.streak, self.paused_until_ns = 0, now_ns + self.limits.streak_pause_ns
                self.pauses.append((now_ns, self.paused_until_ns))
        if ended:
            if held.trip_e8 >= 0:
                self.streak = 0
            held.trip_e8, held.trip_lost = 0, False

    # --- a decision ---
    def verdict(self, now_ns: int) -> str:
        """Why an entry is refused now, "" if no loss is in its way."""
        limits, equity = self.limits, self.equity_e8
        for held in self.held.values():
            if held.quote is not None and now_ns - held.quote.ts_ns > limits.quote_age_ns:
                equity -= max(held.worth_e8, 0)  # a profit that no live price bears out
        if self.killed:
            return "RISK_KILLED"
        if self.reached(self.high_e8, limits.drawdown_bps, equity):
            return "RISK_DRAWDOWN"
        if self.day_shut == self.day or self.reached(self.day_start_e8, limits.daily_loss_bps, equity):
            return "RISK_DAILY_LOSS"
        return "RISK_STREAK" if now_ns < self.paused_until_ns else ""


def lead(
    account: Losses, ledger: Iterable[dict[str, Any]], quotes: Iterable[Quote], asked_ns: Iterable[int] = ()
) -> list[str]:
    """Take the account through ledger, market and decisions in their order; the verdict of each decision."""
    told = iter([line for line in ledger if line["kind"] == "fill"])
    asked = iter(asked_ns)
    line, ask = next(told, None), next(asked, None)
    verdicts = []

    def decide(before_ns: int) -> None:
        """Decisions before that time."""
        nonlocal line, ask
        while ask is not None and ask < before_ns:
            account.begin(ask)
            verdicts.append(account.verdict(ask))
            ask = next(asked, None)

    def hear(until_ns: int) -> None:
        """Lines of the ledger, with the decisions between them."""
        nonlocal line
        while line is not None and line["t_ns"] + account.way_ns <= until_ns:
            decide(line["t_ns"] + account.way_ns)
            account.on_line(line)
            line = next(told, None)

    for quote in quotes:
        hear(quote.ts_ns)
        decide(quote.ts_ns)
        account.on_quote(quote)
    hear(ALL)
    decide(ALL)
    return verdicts
