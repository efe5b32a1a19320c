"""Are a capture's trades all there? The venue's own bars say so: each of their updates has to be what its trades make.

An update is found among the trades of its span by its volume: with the trades up to there, open, high, low and close
must be its own. It may fall within a trade, where a venue tells several fills at one price as one trade; a closed bar
may not, and none of its trades may be left over. Trades and bars come on streams of their own, one a little after the
other, so a bar is judged late, when all of both have come.

    begun in the recording    the instrument was heard before: judged from the first trade on
    closed in the recording   what it had before the recording is its last volume less the trades; its first update
                              since then is believed, the next ones are judged
    neither                   nothing can be said

Some venues open a bar with its first trade, others at the last price of the bar before, which then counts for high and
low as well. Nothing in the messages says which; so the one or the other has to fit.

Slow and exact like all of the check of captures, and without any code of the shard's own bars.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import accumulate
from typing import NamedTuple

from bot4.ports.feed import Bar, Trade

RECENT = 1_000  # trades kept for a bar whose first update comes after them
LATER = 2  # bars of the same length that have begun before one is judged
LONGEST = 100_000  # trades of a bar; one with more is not judged


class Claim(NamedTuple):
    """An update of a bar, and the trades that have to make it."""

    bar: Bar
    trades: Sequence[Trade]  # of the bar's span, in order
    taken: int  # the first so many make it; 0: no number of them can
    rest: Decimal  # lots of the last of those that are not in it yet
    seed: Bar | None  # an earlier update, if the bar has begun before the recording
    equal: bool


class Span:
    """One bar: its trades and what the venue says of it."""

    def __init__(self, trades: list[Trade], whole: bool) -> None:
        self.trades = trades
        self.whole = whole  # the recording has begun before it
        self.updates: list[Bar] = []


class Line:
    """One instrument."""

    def __init__(self, source: object) -> None:
        self.source = source
        self.recent: deque[Trade] = deque(maxlen=RECENT)
        self.first_ns = self.last_ns = 0  # venue's times: of the first thing heard, of the last trade
        self.spans: dict[int, dict[int, Span]] = {}  # by length, by beginning
        self.closes: dict[int, tuple[int, Decimal]] = {}  # by length, of the last bar that was judged: end and close

    def heard(self, venue_ns: int) -> None:
        """A trade, or a bar's update, of this venue time."""
        self.first_ns = min(self.first_ns, venue_ns) if self.first_ns else venue_ns


def claims(span: Span, last_ns: int, opening: Decimal | None) -> Iterator[Claim]:
    """What can be judged of a bar.

    Parameters
    ----------
    last_ns : venue's time of the last trade, of any bar
    opening : the last price of the bar before, None if it is not known
    """
    trades, updates = span.trades, span.updates
    if not updates or len(trades) > LONGEST:
        return
    complete = last_ns >= updates[0].begin_ns + updates[0].length_ns
    if not span.whole and not (updates[-1].closed and complete):
        return
    sums = list(accumulate(trade.qty for trade in trades))
    total = sums[-1] if sums else Decimal(0)
    before = Decimal(0) if span.whole else updates[-1].volume - total
    if before < 0:
        yield Claim(updates[-1], trades, 0, Decimal(0), None, False)
        return
    prices = [trade.price for trade in trades]
    highs, lows = list(accumulate(prices, max)), list(accumulate(prices, min))
    seed = None
    for bar in updates:
        wanted = bar.volume - before
        if wanted <= 0:
            continue  # nothing traded yet, or nothing since the recording began
        if not span.whole and seed is None:
            seed = bar
            continue
        if wanted > total:
            if complete or last_ns > bar.venue_ns:
                yield Claim(bar, trades, 0, Decimal(0), seed, False)
            continue  # else its trades may come after the end of the recording
        at = bisect_left(sums, wanted)
        rest = sums[at] - wanted
        made = [(prices[0], highs[at], lows[at])]
        if seed:
            made = [(seed.open, max(highs[at], seed.high), min(lows[at], seed.low))]
        elif opening is not None:
            made.append((opening, max(highs[at], opening), min(lows[at], opening)))
        whole = not bar.closed or (rest == 0 and at == len(trades) - 1)
        equal = whole and (bar.open, bar.high, bar.low) in made and bar.close == prices[at]
        yield Claim(bar, trades, at + 1, rest, seed, equal)


class BarCheck:
    """Takes the trades and bars of one capture in order and counts the comparisons."""

    def __init__(self) -> None:
        self.compared = self.equal = 0
        self._lines: dict[str, Line] = {}

    def trade(self, name: str, source: object, trade: Trade) -> None:
        """A trade of the instrument `name`, not a repeated one. Those of another source than the first are passed over:
        a recording may hold the same trades twice, single and together.
        """
        line = self._lines.setdefault(name, Line(source))
        if line.source is None:
            line.source = source
        if source != line.source or not trade.market:
            return
        line.heard(trade.venue_ns)
        line.recent.append(trade)
        line.last_ns = max(line.last_ns, trade.venue_ns)
        for length_ns, spans in line.spans.items():
            for begin_ns, span in spans.items():
                if begin_ns <= trade.venue_ns < begin_ns + length_ns and len(span.trades) <= LONGEST:
                    span.trades.append(trade)

    def bar(self, name: str, bar: Bar) -> list[Claim]:
        """A bar's update; returns what could be judged since."""
        line = self._lines.setdefault(name, Line(None))
        spans = line.spans.setdefault(bar.length_ns, {})
        if bar.begin_ns not in spans:
            end_ns = bar.begin_ns + bar.length_ns
            inside = [trade for trade in line.recent if bar.begin_ns <= trade.venue_ns < end_ns]
            lost = len(line.recent) == RECENT and line.recent[0].venue_ns >= bar.begin_ns
            spans[bar.begin_ns] = Span(inside, 0 < line.first_ns < bar.begin_ns and not lost)
        line.heard(bar.venue_ns)
        spans[bar.begin_ns].updates.append(bar)
        found = []
        while len(spans) > LATER:
            found += self._judge(line, spans.pop(min(spans)))
        return found

    def finish(self) -> list[Claim]:
        """The rest, when the recording is over."""
        found = []
        for line in self._lines.values():
            for spans in line.spans.values():
                for begin_ns in sorted(spans):
                    found += self._judge(line, spans[begin_ns])
            line.spans.clear()
        return found

    def _judge(self, line: Line, span: Span) -> list[Claim]:
        first, last = span.updates[0], span.updates[-1]
        end_ns, close = line.closes.get(first.length_ns, (0, None))
        found = list(claims(span, line.last_ns, close if end_ns == first.begin_ns else None))
        line.closes[first.length_ns] = (first.begin_ns + first.length_ns, last.close)
        self.compared += len(found)
        self.equal += sum(claim.equal for claim in found)
        return found
