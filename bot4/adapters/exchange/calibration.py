"""How busy a recorded market is, as a profile for the agents of the generated one.

What a recording of levels and trades can tell, and no more: a level that grows is an order that came, one that shrinks
without a trade is one that went, trades of one moment and side are one market order. Orders far from the market say
nothing about it and are left out.

    limit_rate    growing levels within FAR of the best price of their side, per second
    near_ratio    median distance from the mid of those, as of an exponential distribution
    value         their mean value
    market_rate   market orders x (1 - b), b the share that others caused: counts of a Hawkes process in long spans have
                  1 / (1 - b)**2 as variance by mean
    burst_decay   from the same ratio in short spans
    share         beta distribution with the mean and the variance of the share of the best level that an order took
    target        levels a side within FAR of the best price
    step_ratio    root of the mean square of the mid's changes in a second; at most a twentieth of the distance, since
                  the agents move the mid by trades alone and follow no faster: in a wild market they are too calm
"""

import math
import statistics
from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from bot4.adapters.exchange.agent import Profile
from bot4.model.errors import RecordingError
from bot4.ports.feed import BookChange, Quote, Trade

FAR = 0.002  # of the price
MIN_SPAN_S = 20.0
MIN_ORDERS = 50
_SECOND_NS = 1_000_000_000
_SHORT_S = 0.5
_LONG_S = 5.0
_MOST_CAUSED = 0.95
_STEADY = 20.0


class Fitted(NamedTuple):
    """A profile, and what it was made of."""

    profile: Profile
    span_s: float
    grown: int  # levels that grew
    shrunk: int  # ... or shrank without a trade
    market_orders: int

    def text(self, symbol: str) -> str:
        """What was found, in one line."""
        p = self.profile
        return (
            f"{symbol}, {self.span_s:.0f} s: {p.limit_rate:.3g} limit orders/s of {p.value:.3g} on average, "
            f"{self.shrunk / self.span_s:.3g} cancels/s, half of them within {p.near_ratio * math.log(2) * 1e4:.3g} bp "
            f"of the mid; {self.market_orders / self.span_s:.3g} market orders/s, "
            f"{p.burst_jump / p.burst_decay:.0%} of them caused by others for {1 / p.burst_decay:.2g} s, "
            f"{p.share[0] / sum(p.share):.0%} of the best level each; {p.target:.3g} levels a side, "
            f"{p.step_ratio * 1e4:.2g} bp a square-root second"
        )


class _Fit:
    """Counts of one symbol."""

    def __init__(self) -> None:
        self.sides: tuple[dict[float, float], dict[float, float]] = ({}, {})
        self.last_id = -1  # of the snapshot; before it there is no book
        self.first_ns = self.last_ns = 0
        self.distances: list[float] = []
        self.values: list[float] = []
        self.shrunk = 0
        self.depths: list[int] = []
        self.mids: list[float] = []
        self.traded: set[float] = set()  # prices since the last change
        self.orders: list[tuple[int, int, float, float]] = []  # time, side, quantity, of the best level then

    def change(self, ts_ns: int, event: BookChange) -> None:
        """A snapshot or a change of the book."""
        if event.snapshot:
            self.sides, self.last_id = ({}, {}), event.last or 0
        elif self.last_id < 0 or (event.last or 0) <= self.last_id:
            return
        mid = self.mid()
        for side, rows in zip(self.sides, (event.bids, event.asks), strict=True):
            for price, qty in ((float(price), float(qty)) for price, qty in rows):
                before = side.get(price, 0.0)
                if not event.snapshot and mid and abs(price - mid) < FAR * mid:
                    if qty > before:
                        self.distances.append(abs(price - mid) / mid)
                        self.values.append((qty - before) * price)
                    elif qty < before and price not in self.traded:
                        self.shrunk += 1
                if qty:
                    side[price] = qty
                else:
                    side.pop(price, None)
        self.traded.clear()
        mid = self.mid()
        if not mid:
            return
        self.first_ns = self.first_ns or ts_ns
        self.last_ns = ts_ns
        second = (ts_ns - self.first_ns) // _SECOND_NS
        if second >= len(self.mids):
            self.mids += [mid] * (second + 1 - len(self.mids))
            self.depths.append(sum(abs(price - mid) < FAR * mid for side in self.sides for price in side) // 2)

    def mid(self) -> float:
        """Between the best prices; 0: there are none."""
        bids, asks = self.sides
        return (max(bids) + min(asks)) / 2 if bids and asks else 0.0

    def trade(self, event: Trade) -> None:
        """One trade; of a market order the ones of its moment and side."""
        price, qty = float(event.price), float(event.qty)
        self.traded.add(price)
        if not self.first_ns:
            return
        if self.orders and self.orders[-1][:2] == (event.venue_ns, event.side):
            at, side, before, best = self.orders[-1]
            self.orders[-1] = (at, side, before + qty, best)
            return
        book = self.sides[1 if event.side > 0 else 0]
        best = book.get(min(book) if event.side > 0 else max(book), 0.0) if book else 0.0
        self.orders.append((event.venue_ns, event.side, qty, best))

    def fitted(self, name: str) -> Fitted:
        """The profile."""
        span = (self.last_ns - self.first_ns) / _SECOND_NS
        if span < MIN_SPAN_S or len(self.orders) < MIN_ORDERS or len(self.distances) < MIN_ORDERS:
            raise RecordingError(
                f"--calibrate: {name} has {span:.0f} s with a whole book, {len(self.distances)} limit and "
                f"{len(self.orders)} market orders; {MIN_SPAN_S:.0f} s and {MIN_ORDERS} of each are needed"
            )
        rate = len(self.orders) / span
        caused, decay = _hawkes([order[0] for order in self.orders])
        shares = [min(qty / best, 1.0) for _, _, qty, best in self.orders if best]
        moves = [math.log(after / before) for before, after in zip(self.mids, self.mids[1:], strict=False)]
        near = statistics.median(self.distances) / math.log(2)
        profile = Profile(
            limit_rate=len(self.distances) / span,
            market_rate=rate * (1 - caused),
            burst_jump=caused * decay,
            burst_decay=decay,
            target=max(10.0, statistics.fmean(self.depths)),
            near_ratio=near,
            step_ratio=min(math.sqrt(statistics.fmean(move * move for move in moves)), near / _STEADY),
            value=statistics.fmean(self.values),
            share=_beta(shares),
            share_scale=1.0,
        )
        return Fitted(profile, span, len(self.distances), self.shrunk, len(self.orders))


def _dispersion(times_ns: list[int], span_s: float) -> float:
    """Variance by mean of the counts in spans of that length."""
    length = int(span_s * _SECOND_NS)
    counts = []
    at = times_ns[0]
    while at + length <= times_ns[-1]:
        counts.append(bisect_left(times_ns, at + length) - bisect_left(times_ns, at))
        at += length
    return statistics.pvariance(counts) / statistics.fmean(counts) if counts else 1.0


def _hawkes(times_ns: list[int]) -> tuple[float, float]:
    """Share of events that others caused, and the decay per second, from the dispersion in long and short spans.

    Notes
    -----
    D(w) = g + (1 - g) (1 - exp(-k w)) / (k w), g = 1 / (1 - b)**2, k = decay (1 - b). Source: A. G. Hawkes, "Spectra of
    some self-exciting and mutually exciting point processes", 1971.
    """
    times = sorted(times_ns)
    short = _dispersion(times, _SHORT_S)
    long = max(_dispersion(times, _LONG_S), short, 1.0)
    caused = min(1.0 - 1.0 / math.sqrt(long), _MOST_CAUSED)
    if caused < 0.01:
        return 0.0, 1.0
    limit = 1.0 / (1.0 - caused) ** 2
    low, high = 1e-2, 1e3
    for _ in range(60):
        k = math.sqrt(low * high)
        if limit + (1.0 - limit) * (1.0 - math.exp(-k * _SHORT_S)) / (k * _SHORT_S) < short:
            low = k
        else:
            high = k
    return caused, k / (1.0 - caused)


def _beta(shares: list[float]) -> tuple[float, float]:
    """Both parameters, from mean and variance."""
    mean = min(max(statistics.fmean(shares), 1e-3), 1 - 1e-3)
    variance = max(statistics.pvariance(shares), 1e-6)
    size = max(mean * (1 - mean) / variance - 1, 1e-2)
    return mean * size, (1 - mean) * size


def fit(events: Iterable[tuple[int, BookChange | Quote | Trade | str]]) -> dict[str, Fitted]:
    """A profile of each symbol of a recording.

    Parameters
    ----------
    events : time and event, in the venue's order

    Raises
    ------
    RecordingError : too little of a symbol to say anything
    """
    fits: dict[str, _Fit] = {}
    for ts_ns, event in events:
        if isinstance(event, BookChange):
            fits.setdefault(event.symbol, _Fit()).change(ts_ns, event)
        elif isinstance(event, Trade):
            fits.setdefault(event.symbol, _Fit()).trade(event)
    return {name: one.fitted(name) for name, one in fits.items()}
