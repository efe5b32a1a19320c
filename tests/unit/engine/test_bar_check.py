"""Bars of a venue against the trades of the same recording: which are judged, what is found, and what was recorded."""

import itertools
import json
from decimal import Decimal
from urllib.parse import urlsplit

import numpy as np
import pytest

from bot4.adapters.files.raw import find_captures
from bot4.cli.data import decoders
from bot4.engine import bar_check
from bot4.engine.bar_check import LATER, RECENT, BarCheck
from bot4.kernels.indicators.bar import BAR, BAR_TIME, bar_add, bar_init
from bot4.model.units import to_units
from bot4.ports.feed import Bar, MessageError, Trade

SPAN = 60_000
NAME = "venue:A"


class Run:
    """A check that is fed by price and quantity; minute 1 begins at SPAN."""

    def __init__(self):
        self.check = BarCheck()

    def trades(self, *rows, source="one", market=True):
        """(time, price, quantity) rows."""
        for at, price, qty in rows:
            self.check.trade(NAME, source, Trade("A", Decimal(price), Decimal(qty), 1, "", at, market))
        return self

    def bar(self, at, prices, volume, closed=False, minute=1):
        """An update of venue time `at`; prices: open, high, low, close."""
        numbers = [Decimal(value) for value in (*prices, volume)]
        self.check.bar(NAME, Bar("A", minute * SPAN, SPAN, *numbers, closed, at))
        return self

    def found(self):
        """(compared, equal) at the end of the recording."""
        self.check.finish()
        return self.check.compared, self.check.equal


def heard():
    """A recording that has begun before minute 1; three trades are in it, and one after it."""
    run = Run().trades((SPAN - 1, 9, 5), (SPAN, 10, 2), (SPAN + 5, 12, 1), (2 * SPAN - 1, 11, 4))
    return run.trades((2 * SPAN, 99, 7))


@pytest.mark.parametrize(
    ("prices", "volume", "equal"),
    [
        ((10, 12, 10, 11), 7, 1),
        ((10, 12, 10, 11), 8, 0),  # a trade is missing
        ((10, 12, 10, 11), 6, 0),  # one too many, or the last one in part: a closed bar has no part of one
        ((10, 12, 10, 12), 3, 0),  # the last one is left over
        ((9, 12, 10, 11), 7, 0),
        ((10, 13, 10, 11), 7, 0),
        ((10, 12, 9, 11), 7, 0),
        ((10, 12, 10, 12), 7, 0),
    ],
)
def test_a_closed_bar_is_what_all_its_trades_make(prices, volume, equal):
    assert heard().bar(2 * SPAN + 1, prices, volume, closed=True).found() == (1, equal)


@pytest.mark.parametrize(
    ("prices", "volume", "equal"),
    [
        ((10, 10, 10, 10), 2, 1),
        ((10, 10, 10, 10), 1, 1),  # within the first trade
        ((10, 12, 10, 12), 3, 1),
        ((10, 12, 10, 10), 3, 0),
        ((10, 12, 10, 12), 2, 0),  # its last trade is not in it yet
        ((10, 12, 10, 11), 5, 1),
        ((10, 12, 10, 11), 8, 0),
    ],
)
def test_an_open_bar_is_what_its_first_trades_make(prices, volume, equal):
    assert heard().bar(SPAN + 9, prices, volume).found() == (1, equal)


def test_an_update_before_its_trade_waits_for_it():
    run = Run().bar(SPAN - 9, (9, 9, 9, 9), 4, minute=0).bar(SPAN + 6, (10, 12, 10, 12), 3)
    assert run.trades((SPAN, 10, 2), (SPAN + 5, 12, 1)).found() == (1, 1)
    run = Run().bar(SPAN - 9, (9, 9, 9, 9), 4, minute=0).bar(SPAN + 6, (10, 12, 10, 12), 3)
    assert run.trades((SPAN, 10, 2)).found() == (0, 0)  # the recording has ended in between


def test_a_bar_that_may_have_begun_before_the_recording_is_judged_from_its_end():
    def run(close, high, lost=()):
        rows = [(SPAN + 5, 12, 1), (SPAN + 6, 11, 4), (SPAN + 7, 13, 2), (SPAN + 8, 14, 3)]
        one = Run().trades(*(row for row in rows if row[1] not in lost), (2 * SPAN, 99, 7))
        one.bar(SPAN + 4, (10, 13, 8, 9), 100).bar(SPAN + 5, (10, 13, 8, 12), 101)
        one.bar(SPAN + 6, (10, 13, 8, close), 105).bar(SPAN + 7, (10, 13, 8, 13), 107)
        return one.bar(SPAN + 60, (10, high, 8, 14), 110, closed=True)

    assert run(11, 14).found() == (3, 3)  # the first update lies before the trades, the second one is believed
    assert run(12, 14).found() == (3, 2)
    assert run(11, 15).found() == (3, 2)
    assert run(11, 14, lost=(13,)).found() == (2, 1)  # what lies before seems more by what is missing


def test_a_bar_of_which_neither_end_is_known_is_not_judged():
    run = Run().trades((SPAN + 5, 12, 1), (SPAN + 6, 11, 4)).bar(SPAN + 5, (10, 15, 8, 12), 3)
    assert run.bar(SPAN + 6, (10, 15, 8, 11), 50).found() == (0, 0)


def test_more_trades_than_the_closed_bar_has_are_no_bar():
    run = Run().trades((SPAN + 5, 12, 1), (SPAN + 6, 11, 4), (2 * SPAN, 1, 1))
    assert run.bar(2 * SPAN, (10, 15, 8, 11), 4, closed=True).found() == (1, 0)


@pytest.mark.parametrize(("opening", "equal"), [(9, 1), (10, 1), (8, 0)])
def test_a_bar_may_begin_at_the_last_price_of_the_one_before(opening, equal):
    run = heard().bar(SPAN - 1, (9, 9, 9, 9), 5, closed=True, minute=0)
    prices = (opening, 12, min(opening, 10), 11)
    assert run.bar(2 * SPAN, prices, 7, closed=True).found() == (1, equal)


def test_trades_of_another_stream_and_off_the_market_are_passed_over():
    run = Run().trades((SPAN - 1, 9, 5)).trades((SPAN, 10, 2), source="two").trades((SPAN, 50, 2), market=False)
    assert run.trades((SPAN, 10, 2), (2 * SPAN, 1, 1)).bar(SPAN, (10, 10, 10, 10), 2, closed=True).found() == (1, 1)


def test_a_bar_is_judged_when_later_ones_have_begun_and_then_forgotten():
    run = heard().bar(SPAN + 9, (10, 12, 10, 11), 7)
    for minute in range(2, 2 + LATER):
        run.bar(minute * SPAN, (1, 1, 1, 1), 0, minute=minute)
        assert run.check.compared == (minute == 1 + LATER)
    assert len(run.check._lines[NAME].spans[SPAN]) == LATER


def test_a_bar_whose_first_trades_are_no_longer_kept_is_not_judged():
    for count, compared in ((RECENT - 1, 1), (RECENT, 0)):
        run = Run().trades((SPAN - 1, 9, 5)).trades(*((SPAN + at, 10, 1) for at in range(count)))
        run.bar(SPAN + count, (10, 10, 10, 10), count)
        assert run.trades((2 * SPAN, 1, 1)).found() == (compared, compared)


def test_a_bar_of_too_many_trades_is_not_judged(monkeypatch):
    for longest, compared in ((3, 1), (2, 0)):
        monkeypatch.setattr(bar_check, "LONGEST", longest)
        assert heard().bar(2 * SPAN, (10, 12, 10, 11), 7, closed=True).found() == (compared, compared)


# --- recorded ---------------------------------------------------------------------------------------------------------


def recorded(path):
    """(decoder's key, raw message, message) of a capture's websockets, and the instruments by key and symbol."""
    known, messages, instruments = decoders(), [], {}
    for capture in find_captures([path]):
        for raw in capture.messages():
            if raw.venue not in known:
                continue
            if raw.rest:
                for one in known[raw.venue].instruments(urlsplit(raw.url).path, raw.body):
                    instruments[raw.venue, one.symbol] = one
                continue
            try:
                messages.append((raw, known[raw.venue].decode(raw.body)))
            except MessageError:
                pytest.fail(f"{raw.body[:200]!r} is refused")
    return messages, instruments


def kernel_bar(trades, instrument, length_ns):
    """The shard's time bar of these trades by the venue's times, as one open bar."""
    state = np.zeros(1, BAR)[0]
    bar_init(state)
    for trade in trades:
        numbers = to_units(trade.price, instrument.tick, "price"), to_units(trade.qty, instrument.lot, "qty")
        assert not bar_add(state, trade.venue_ns, *numbers, trade.side, BAR_TIME, length_ns)
    return state


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "compared"),
    [
        ("2021-07-22_BINANCE_FUTURES", 63),
        ("2026-08-09_BYBIT_first60pct.jsonl.gz", 45),
        ("2026-08-09_COINBASE_first60pct.jsonl.gz", 0),  # 14 s within one bar of 300 s
        ("2021-10-12_BINANCE", 0),  # two updates in all; see below
    ],
)
def test_updates_of_recorded_bars_are_what_the_kernel_makes_of_the_trades(data_dir, name, compared):
    messages, instruments = recorded(data_dir / "cryptofeed" / name)
    check, claims = BarCheck(), []
    for raw, message in messages:
        for event in message.events:
            if isinstance(event, Trade):
                check.trade(f"{raw.venue}:{event.symbol}", (raw.connection, message.kind), event)
            elif isinstance(event, Bar):
                claims += [(raw.venue, claim) for claim in check.bar(f"{raw.venue}:{event.symbol}", event)]
    claims += [(next(iter(instruments))[0], claim) for claim in check.finish()]
    assert (check.compared, check.equal) == (compared, compared) and len(claims) == compared
    equal = 0
    for venue, (bar, trades, taken, rest, seed, _) in claims:
        instrument = instruments[venue, bar.symbol]
        made = kernel_bar(trades[:taken], instrument, bar.length_ns)
        assert (made["begin_ns"], made["end_ns"]) == (bar.begin_ns, bar.begin_ns + bar.length_ns)
        first, high, low, close = (Decimal(made[at]) * instrument.tick for at in ("open", "high", "low", "close"))
        if seed:
            first, high, low = seed.open, max(high, seed.high), min(low, seed.low)
        elif first != bar.open:  # this venue begins at the last price
            first, high, low = bar.open, max(high, bar.open), min(low, bar.open)
        volume = int(made["volume"]) * instrument.lot - rest
        before = bar.volume - volume
        assert before >= 0 if seed else before == 0
        equal += (first, high, low, close) == (bar.open, bar.high, bar.low, bar.close)
    print(f"{name}: {len(claims)} updates of bars compared, {equal} equal")
    assert equal == compared


def between(trades, first, last):
    """Trades whose ids (f, l) fill first .. last without a hole; None if they do not."""
    found = [row for row in trades if first <= row[0]["f"] and row[0]["l"] <= last]
    ids = [(row[0]["f"], row[0]["l"]) for row in found]
    whole = ids and ids[0][0] == first and ids[-1][1] == last
    return found if whole and all(a[1] + 1 == b[0] for a, b in itertools.pairwise(ids)) else None


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "compared"), [("2021-07-22_BINANCE_FUTURES", (15, 33)), ("2021-10-12_BINANCE", (1, 0))]
)
def test_bars_that_name_their_trades_have_the_volume_turnover_and_buyers_of_the_kernel(data_dir, name, compared):
    """By the ids of the first and last trade: from its beginning, and from one update to the next."""
    messages, instruments = recorded(data_dir / "cryptofeed" / name)
    trades, updates = {}, {}
    for raw, message in messages:
        body = json.loads(raw.body)["data"]
        if message.kind == "aggTrade":
            trades.setdefault(body["s"], []).append((body, message.events[0]))
        elif message.kind == "kline":
            updates.setdefault(body["s"], []).append((body["k"], message.events[0]))
    venue, wholes, changes = next(iter(instruments))[0], 0, 0
    for symbol, rows in updates.items():
        instrument = instruments[venue, symbol]
        unit = instrument.tick * instrument.lot
        earlier = None
        for k, bar in rows:
            same = earlier if earlier and earlier["t"] == k["t"] else None
            for base in (None, same) if same else (None,):
                begin = base["L"] + 1 if base else k["f"]
                found = between(trades.get(symbol, []), begin, k["L"]) if begin <= k["L"] else None
                if found is None:
                    continue
                made = kernel_bar([trade for _, trade in found], instrument, bar.length_ns)
                known = [Decimal(base[key]) if base else Decimal(0) for key in ("v", "V", "q")]
                sums = [int(made[at]) for at in ("volume", "buy_volume", "turnover")]
                sums = [a + b * c for a, b, c in zip(known, sums, (instrument.lot, instrument.lot, unit), strict=True)]
                assert sums == [Decimal(k[key]) for key in ("v", "V", "q")]
                high, low = (Decimal(made[at]) * instrument.tick for at in ("high", "low"))
                if base:
                    high, low = max(high, Decimal(base["h"])), min(low, Decimal(base["l"]))
                else:
                    assert Decimal(made["open"]) * instrument.tick == bar.open
                assert (high, low, Decimal(made["close"]) * instrument.tick) == (bar.high, bar.low, bar.close)
                assert k["n"] - (base["n"] if base else 0) == k["L"] + 1 - begin
                wholes, changes = wholes + (base is None), changes + (base is not None)
            earlier = k
    print(f"{name}: {wholes} bars from their beginning and {changes} changes compared by trade id, all equal")
    assert (wholes, changes) == compared
