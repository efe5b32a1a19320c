"""When a book on live connections is whole: what a late answer, a quiet market and a quote that contradicts do to it.

The whole live feed on a clock that the test turns (`rig.hand`), on a made-up market whose book is known (`rig.market`).
"""

from collections.abc import Callable

import pytest
from rig.hand import MS, SECOND, HandFeed
from rig.market import DEPTH, FUNDING_MS, MARKETS, BinanceUsdmMarket, Market, compact

from bot4.kernels.book import book_depth, book_level
from bot4.model.enums import TICK_MARK
from bot4.model.records import TICK
from bot4.shm.layout import RING_HEAD, RING_SLOTS

BINANCE = ("binance_spot", "binance_usdm")
LOOK = 20 * MS  # the feed looks at its books so often
SNAPSHOT_NS = 100 * MS  # of REST


class Rig(HandFeed):
    """A feed on a market of Binance; what is whole is held against the market's book."""

    market: BinanceUsdmMarket

    def __init__(self, venue: str, silence_s: float = 1e9) -> None:
        self.market = MARKETS[venue](5)
        super().__init__(
            self.market.streams(), self.market.decoder(), self.market.listing, spike_bps=0, silence_s=silence_s
        )
        self.market.time_ms = lambda: self.event_ns // MS
        self.fetcher.answer = self.market.whole
        self.fetcher.delay_ns = SNAPSHOT_NS

    def give(self, *kinds: str) -> None:
        """The market goes on and tells of it."""
        for kind in kinds:
            self.put(self.market.next(kind).body)
            self.turn()

    def deep(self) -> None:
        """A change of the book away from its best levels."""
        price = min(self.market.sides[0])
        self.market.sides[0][price] += 1
        self.market.update += 1
        self.put(self.market.depth([(price, self.market.sides[0][price])], []))
        self.turn()

    def wait(self, ns: int, holds: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, or until something holds."""
        until_ns = self.clock.ns + ns
        while self.clock.ns < until_ns and not holds():
            self.clock.ns += LOOK
            self.turn()

    def begin(self) -> None:
        """Open a connection; the book becomes whole."""
        self.pool.open()
        self.turn()
        self.give("quote", "depth")
        self.wait(5 * SECOND, lambda: self.whole)
        assert self.is_the_venues

    @property
    def is_the_venues(self) -> bool:
        """Whether the book is whole and as the market's."""
        return self.whole and self.levels() == self.market.top()

    def levels(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Of the feed's book: bids, asks, the best first."""
        book = self.feed.memory.feed.books[0]
        bids, asks = (
            [tuple(map(int, book_level(book, side, at))) for at in range(min(DEPTH, book_depth(book, side)))]
            for side in (1, -1)
        )
        return bids, asks


@pytest.mark.parametrize("waits", [False, True], ids=["no diff yet", "a diff waits"])
@pytest.mark.parametrize("venue", BINANCE)
def test_a_book_asked_for_on_a_lost_connection_begins_none_on_the_next(venue, waits):
    rig = Rig(venue)
    rig.fetcher.delay_ns = 4 * SECOND
    rig.pool.open()
    rig.turn()
    rig.give("quote", "depth")
    rig.wait(100 * MS, lambda: rig.fetcher.asked == 1)
    rig.pool.cut()
    rig.turn()
    for _ in range(50):
        rig.market.next("depth")  # nobody is connected
    rig.pool.open()
    rig.turn()
    rig.give("quote", "depth") if waits else rig.give("quote")
    rig.fetcher.delay_ns = SNAPSHOT_NS
    rig.wait(4 * SECOND + LOOK, lambda: "gap" in rig.reasons())
    assert not rig.whole and rig.fetcher.asked == (2 if waits else 1), "another is asked for where a diff waits for it"
    assert rig.reasons() == ({"no_snapshot": 1, "gap": 1} if waits else {"no_snapshot": 2})
    rig.give("depth")
    rig.wait(5 * SECOND, lambda: rig.whole)
    assert rig.fetcher.asked == 2 and rig.is_the_venues


@pytest.mark.parametrize("venue", BINANCE)
def test_an_answer_that_misses_a_diff_between_those_that_wait_begins_no_book(venue):
    rig = Rig(venue)
    rig.pool.open()
    rig.turn()
    rig.give("quote", "depth")
    rig.wait(100 * MS, lambda: rig.fetcher.asked == 1)
    rig.market.next("depth")  # lost
    rig.give("depth")
    begun = rig.wires.levels[0]
    rig.wait(SNAPSHOT_NS + LOOK)
    assert not rig.whole and rig.wires.levels[0] == begun and rig.reasons() == {"gap": 1}
    rig.wait(5 * SECOND, lambda: rig.whole)
    assert rig.is_the_venues


@pytest.mark.parametrize("venue", BINANCE)
def test_a_symbol_that_changes_less_often_than_its_limit_is_not_asked_for_again_and_again(venue):
    rig = Rig(venue, silence_s=1.0)
    rig.begin()
    for _ in range(40):
        rig.wait(1_250 * MS)
        assert not rig.whole, "it has not changed for longer than its limit"
        rig.give("quote", "depth")
        rig.wait(LOOK)
        assert rig.is_the_venues
    assert rig.fetcher.asked == 1 and rig.reasons() == {"before_snapshot": 1}


@pytest.mark.parametrize("venue", BINANCE)
def test_a_diff_that_was_lost_in_the_silence_is_no_silence(venue):
    rig = Rig(venue, silence_s=1.0)
    rig.begin()
    rig.wait(1_250 * MS)
    assert not rig.whole
    rig.market.next("depth")  # lost
    rig.give("quote", "depth")
    rig.wait(2 * SECOND, lambda: rig.whole or rig.fetcher.asked == 2)
    assert not rig.whole
    rig.give("quote", "depth")
    rig.wait(5 * SECOND, lambda: rig.whole)
    assert rig.fetcher.asked == 2 and rig.is_the_venues
    assert "gap" not in rig.reasons(), "the diff behind the hole waits for the snapshot too"


@pytest.mark.parametrize("venue", BINANCE)
def test_a_book_whose_connection_was_lost_in_its_silence_does_not_just_go_on(venue):
    rig = Rig(venue, silence_s=1.0)
    rig.begin()
    rig.wait(1_250 * MS)
    rig.pool.cut()
    rig.turn()
    rig.pool.open()
    rig.turn()
    rig.give("quote", "depth")
    rig.wait(5 * SECOND, lambda: rig.whole)
    assert rig.fetcher.asked == 2 and rig.is_the_venues


@pytest.mark.parametrize("order", [("quote", "depth"), ("depth", "quote")], ids=" then ".join)
@pytest.mark.parametrize("venue", BINANCE)
def test_a_best_quote_unlike_the_book_of_its_update_makes_the_book_stale(venue, order):
    """A level that the venue has and the book has not: no id and no time tells of it, the quote does."""
    rig = Rig(venue)
    rig.begin()
    market = rig.market
    market.next("quote")  # not told: what the diff says of it is altered on the way
    market.random.random = lambda: 1.0  # type: ignore[method-assign]  # a diff tells what is, the market stays
    diff = market.next("depth").body
    best = market.price(market.top()[0][0][0])
    assert best.encode() in diff
    for side in market.sides[:1]:
        side[max(side)] += 7
    quote = market.quote()
    for kind in order:
        rig.put(quote if kind == "quote" else diff)
        rig.turn()
    assert not rig.whole and rig.wires.book_checks[0].tolist()[0] == rig.wires.book_checks[0].tolist()[1] + 1
    assert rig.reasons().get("unlike_quote", 0) == (order[0] == "quote")
    rig.give("depth")
    rig.wait(5 * SECOND, lambda: rig.whole)
    assert rig.fetcher.asked == 2 and rig.is_the_venues


@pytest.mark.parametrize("venue", BINANCE)
def test_books_that_contradict_their_quotes_again_and_again_are_asked_for_ever_more_rarely(venue):
    rig = Rig(venue)
    rig.begin()
    begun_ns = rig.clock.ns
    while rig.clock.ns - begun_ns < 60 * SECOND:
        rig.wait(60 * SECOND, lambda: rig.whole)
        rig.give("depth")
        side = rig.market.sides[0]
        side[max(side)] += 7
        rig.put(rig.market.quote())
        rig.turn()
        side[max(side)] -= 7
        rig.give("depth")
    assert 4 < rig.fetcher.asked <= 8


@pytest.mark.parametrize("venue", BINANCE)
def test_a_stream_of_quotes_that_died_costs_the_connection(venue):
    rig = Rig(venue, silence_s=1.0)
    rig.begin()
    for _ in range(330):
        rig.wait(100 * MS)
        rig.give("depth")
    assert rig.pool.dropped == ["a book that no request mends"] and not rig.whole
    rig.give("quote", "depth")
    rig.wait(5 * SECOND, lambda: rig.whole)
    assert rig.is_the_venues


@pytest.mark.parametrize("venue", BINANCE)
def test_a_stream_of_quotes_that_was_never_there_costs_the_connection_ever_more_rarely(venue):
    rig, symbol = Rig(venue, silence_s=1.0), MARKETS[venue](5).symbol
    rig.pool.open()
    told, given_up = [], []
    for tenth in range(1_000):
        rig.give("depth")
        rig.wait(100 * MS)
        told += [tenth] * (rig.feed.counts[f"{venue}: {symbol} has changes of its book and no best quote"] - len(told))
        given_up += [tenth] * (len(rig.pool.dropped) - len(given_up))
    assert 10 <= told[0] <= 13 and rig.fetcher.asked == 0 and not rig.whole
    assert len(given_up) == 2 and 295 <= given_up[0] <= 305 and 895 <= given_up[1] <= 910
    assert len(told) == 3, "of each connection once"
    rig.give("quote", "depth")
    rig.wait(5 * SECOND, lambda: rig.whole)
    assert rig.is_the_venues


@pytest.mark.parametrize("venue", BINANCE)
def test_a_quiet_best_quote_over_a_busy_book_costs_nothing(venue):
    rig = Rig(venue, silence_s=1.0)
    rig.begin()
    for _ in range(200):
        rig.wait(200 * MS)
        rig.deep()
    assert rig.pool.dropped == [] and rig.fetcher.asked == 1 and not rig.whole
    rig.give("quote", "depth")
    rig.wait(LOOK)
    assert rig.is_the_venues and rig.fetcher.asked == 1


def bybit() -> tuple[HandFeed, Market]:
    """A feed on Bybit, its market."""
    market = MARKETS["bybit_linear"](5)
    rig = HandFeed(market.streams(), market.decoder(), market.listing, spike_bps=0)
    market.time_ms = lambda: rig.event_ns // MS
    return rig, market


def test_a_book_that_was_asked_for_on_a_lost_connection_is_not_awaited_on_the_next():
    rig, market = bybit()
    rig.pool.open()
    rig.put(market.whole())
    rig.turn()
    old = market.whole()
    market.next("depth")  # lost
    rig.put(market.next("depth").body)
    rig.turn()
    assert not rig.whole
    rig.clock.ns += 2 * SECOND
    rig.turn()  # asked for by subscribing anew; the answer goes down with the connection
    rig.pool.cut()
    rig.turn()
    rig.pool.open()
    rig.put(market.whole())
    rig.turn()
    assert rig.whole
    rig.put(old)
    rig.turn()
    assert rig.whole and rig.feed.memory.feed.states[0]["book_u"] == market.update
    assert rig.reasons() == {"gap": 1, "out_of_order": 1}


def ticker(market: Market, kind: str, **fields: str) -> bytes:
    """A ticker that holds these."""
    data = {"symbol": market.symbol, **fields}
    return compact({"topic": f"tickers.{market.symbol}", "type": kind, "data": data, "cs": 1, "ts": market.now_ms})


def marks(rig: HandFeed) -> list[tuple[int, int, int, int]]:
    """What has been told: mark, index, rate, next funding."""
    ring = rig.wires.market
    ticks = ring[RING_SLOTS:].view(TICK)[: int(ring[RING_HEAD])]
    return [tuple(map(int, row)) for row in ticks[ticks["kind"] == TICK_MARK][["w0", "w1", "w2", "w3"]].tolist()]


FUNDING = {"fundingRate": "0.0001", "nextFundingTime": str(FUNDING_MS)}


@pytest.mark.parametrize("late", ["book", "ticker"])
def test_a_ticker_counts_whether_or_not_the_book_is_there(late):
    rig, market = bybit()
    rig.pool.open()
    whole = ticker(market, "snapshot", markPrice="60000.10", indexPrice="60000.20", **FUNDING)
    rig.put(*((whole, market.whole()) if late == "book" else (market.whole(), whole)))
    rig.put(ticker(market, "delta", markPrice="60000.30"))
    rig.turn()
    rig.pool.cut()
    rig.turn()
    rig.pool.open()
    rig.put(
        ticker(market, "snapshot", markPrice="60000.40", indexPrice="60000.20", **FUNDING | {"fundingRate": "-0.0002"})
    )
    rig.put(market.whole(), ticker(market, "delta", markPrice="60000.50"))
    rig.turn()
    rest = 6_000_020_000_000, 10_000, FUNDING_MS * MS
    after = rest[0], -20_000, rest[2]
    assert marks(rig) == [
        (6_000_010_000_000, *rest), (6_000_030_000_000, *rest),
        (6_000_040_000_000, *after), (6_000_050_000_000, *after),
    ]  # fmt: skip


@pytest.mark.parametrize("missing", ["markPrice", "indexPrice", "fundingRate", "nextFundingTime"])
def test_marks_are_told_once_all_of_them_are_known(missing):
    rig, market = bybit()
    rig.pool.open()
    fields = {"markPrice": "60000.10", "indexPrice": "60000.20", **FUNDING}
    rig.put(market.whole())
    rig.put(ticker(market, "delta", **{name: text for name, text in fields.items() if name != missing}))
    rig.turn()
    assert marks(rig) == []
    rig.put(ticker(market, "delta", **{missing: fields[missing]}))
    rig.turn()
    assert marks(rig) == [(6_000_010_000_000, 6_000_020_000_000, 10_000, FUNDING_MS * MS)]
