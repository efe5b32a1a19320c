"""Bybit, Coinbase and Kraken through the live feed, over real sockets: the book is the venue's, or it is stale.

The truth is the tape decoded slowly by the venue's typed decoder into a dictionary. Bybit and Coinbase are recorded
markets; of Kraken's second protocol there is no recording, so a small market with true check sums is made.

What cannot be seen: of a venue without check sums (Bybit, Coinbase) a digit that was altered on its way. There a
damaged message is one that cannot be read any more; Kraken's are damaged by any bit.
"""

import heapq
import itertools
import json
import random
import re
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from reference.kernels.scan import Listing
from rig.live import LiveRig, ReaderBook
from rig.replayer import Fault, Plan, Recorded, captured_tape, certificates, serve

from bot4.adapters.bybit.parse import BybitLinear
from bot4.adapters.bybit.streams import BybitLinearStreams
from bot4.adapters.coinbase.parse import CoinbaseAdvanced
from bot4.adapters.coinbase.streams import HEARTBEATS, CoinbaseStreams
from bot4.adapters.kraken.parse import KrakenV2
from bot4.adapters.kraken.streams import INSTRUMENTS, KrakenStreams
from bot4.model.enums import FLAG_LAST, TICK_LEVEL, TICK_QUOTE, TICK_STATUS, TICK_TRADE
from bot4.ports.feed import BookChange, Decoder, Trade

pytestmark = [pytest.mark.compiled, pytest.mark.data]
LEVELS = 100  # compared a side; Bybit's and Kraken's whole books are 200 and 10
STEP = 10  # messages
MOST_LOTS = 2**40 - 1  # that a reader is told of
PATIENCE_S = 180.0


class Market(NamedTuple):
    """A venue's tape, and what reads it."""

    tape: list[Recorded]
    listing: Listing
    streams: Any
    decoder: type[Decoder]
    numbered: bool = False


class Book:
    """A book of decimals, changed by typed events."""

    def __init__(self, depth: int) -> None:
        self.sides: dict[int, dict[Decimal, Decimal]] = {1: {}, -1: {}}
        self.update = 0
        self._depth = depth

    def apply(self, change: BookChange) -> None:
        """A snapshot or a change; what is deeper than the venue keeps up to date is forgotten."""
        if change.snapshot:
            self.sides = {1: {}, -1: {}}
        self.update = change.last or self.update
        for side, rows in ((1, change.bids), (-1, change.asks)):
            levels = self.sides[side]
            for price, qty in rows:
                levels.pop(price, None)
                if qty:
                    levels[price] = qty
            if self._depth:
                for price in sorted(levels, reverse=side > 0)[self._depth :]:
                    del levels[price]

    def top(self, side: int, count: int) -> list[tuple[Decimal, Decimal]]:
        """The best levels of a side."""
        best = heapq.nlargest if side > 0 else heapq.nsmallest
        return best(count, self.sides[side].items())


def in_lots(qty: Decimal, lot: Decimal) -> int:
    """As a reader is told of it: cut, but not to nothing, and bounded."""
    return min(max(int(qty / lot), 1), MOST_LOTS)


class Truth:
    """The book after every change of the tape, its trades, and the book at any position for who subscribes late."""

    def __init__(self, market: Market) -> None:
        self._market, self._depth = market, market.streams.depth
        decoder = market.decoder()
        symbol, (tick, lot) = market.listing.symbol, market.listing[1:3]
        self.changes: list[list[BookChange]] = []
        self.states: list[tuple] = []
        self.trades: list[tuple[int, int, int]] = []
        book = Book(self._depth)
        for message in market.tape:
            events = [event for event in decoder.decode(message.payload).events if event.symbol == symbol]
            self.changes.append([event for event in events if isinstance(event, BookChange)])
            made = [event for event in events if isinstance(event, Trade) and event.market]
            self.trades += [(int(trade.price / tick), in_lots(trade.qty, lot), trade.side) for trade in made]
            for change in self.changes[-1]:
                book.apply(change)
                tops = (book.top(side, LEVELS) for side in (1, -1))
                self.states.append(tuple([(int(p / tick), in_lots(q, lot)) for p, q in top] for top in tops))
        self._book, self._at = Book(self._depth), 0
        self.begun = next(number for number, changes in enumerate(self.changes) if changes) + 1

    def greet(self, topic: str, position: int) -> Sequence[bytes]:
        """What a new subscription of the book is sent once the market has one: all of it."""
        if topic != self._market.streams.book_topic(self._market.listing.symbol) or position < self.begun:
            return []
        if position < self._at:
            self._book, self._at = Book(self._depth), 0
        for changes in self.changes[self._at : position]:
            for change in changes:
                self._book.apply(change)
        self._at = position
        bids, asks = (self._book.top(side, 1 << 20) for side in (1, -1))
        return [WHOLE[self._market.streams.venue](self._market.listing, topic, self._book.update, bids, asks)]


def compact(made: dict) -> bytes:
    return json.dumps(made, separators=(",", ":")).encode()


def bybit_whole(listing, topic, update, bids, asks):
    sides = {key: [[f"{p:f}", f"{q:f}"] for p, q in rows] for key, rows in (("b", bids), ("a", asks))}
    data = {"s": listing.symbol, **sides, "u": update, "seq": 1}
    return compact({"topic": topic, "type": "snapshot", "ts": 1786310818129, "data": data, "cts": 1786310818127})


def coinbase_whole(listing, topic, update, bids, asks):
    when = "2026-08-09T21:05:48.170326Z"
    rows = [
        {"side": side, "event_time": when, "price_level": f"{price:f}", "new_quantity": f"{qty:f}"}
        for side, levels in (("bid", bids), ("offer", asks))
        for price, qty in levels
    ]
    event = {"type": "snapshot", "product_id": listing.symbol, "updates": rows}
    return compact({"channel": "l2_data", "timestamp": when, "sequence_num": 0, "events": [event]})


def kraken_whole(listing, topic, update, bids, asks):
    sides = [[(int(p / listing.tick), int(q * 10**8)) for p, q in rows] for rows in (bids, asks)]
    return kraken_book("snapshot", sides, sides)


WHOLE = {"bybit_linear": bybit_whole, "coinbase": coinbase_whole, "kraken": kraken_whole}

# --- a market in Kraken's words --------------------------------------------------------------------------------------

KRAKEN = Listing("BTC/USD", Decimal("0.1"), Decimal("0.00000001"), False)
CHEAP = Listing("BTC/USD", Decimal("0.1"), Decimal("0.0001"), False, KRAKEN.lot)  # quantities up to 10**10 coins
KRAKEN_MESSAGES = 2_000
WHEN = '"2026-08-09T21:05:48.170326Z"'


def kraken_book(kind, levels, best):
    """A message of the book. levels : what it tells; best : (ticks, lots) of the ten best bids and asks after it."""
    digits = "".join(f"{ticks}{lots}" for side in (best[1], best[0]) for ticks, lots in side)
    written = [
        ",".join(f'{{"price":{t // 10}.{t % 10},"qty":{q // 10**8}.{q % 10**8:08d}}}' for t, q in side)
        for side in levels
    ]
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/USD","bids":[{written[0]}],"asks":[{written[1]}],'
        f'"checksum":{zlib.crc32(digits.encode())},"timestamp":{WHEN}}}]}}'
    ).encode()


def kraken_trade(number, ticks, lots, side):
    return (
        f'{{"channel":"trade","type":"update","data":[{{"symbol":"BTC/USD","side":"{side}","price":{ticks // 10}.'
        f'{ticks % 10},"qty":{lots // 10**8}.{lots % 10**8:08d},"ord_type":"market","trade_id":{number},'
        f'"timestamp":{WHEN}}}]}}'
    ).encode()


def kraken_market(seed=7, most=10**10):
    """Messages of a market whose book is deeper than what is told of it: a level that moves up into the ten is told
    then, one that is pushed out of them is never told of again.
    """
    source = random.Random(seed)
    book = {side: {650_000 - side * (i + 1) * 3: source.randint(1, most) for i in range(30)} for side in (1, -1)}

    def best():
        return [sorted(book[1].items(), reverse=True)[:10], sorted(book[-1].items())[:10]]

    known = best()
    tape = [Recorded(0, "book:BTC/USD", kraken_book("snapshot", known, known))]
    while len(tape) < KRAKEN_MESSAGES:
        at_ns = len(tape) * 1_000_000
        if source.random() < 0.2:
            side = source.choice((1, -1))
            ticks, _ = known[0 if side < 0 else 1][0]
            made = kraken_trade(len(tape), ticks, source.randint(1, most // 10), "buy" if side > 0 else "sell")
            tape.append(Recorded(at_ns, "trade:BTC/USD", made))
            continue
        for _ in range(source.randint(1, 3)):
            side = source.choice((1, -1))
            own, other = (max(book[1]), min(book[-1])) if side > 0 else (min(book[-1]), max(book[1]))
            ticks = own - side * source.randint(-2, 12)
            if side * (other - ticks) <= 0 or (ticks in book[side] and source.random() < 0.5 and len(book[side]) > 15):
                book[side].pop(own if side * (other - ticks) <= 0 else ticks)
            else:
                book[side][ticks] = source.randint(1, most)
            if len(book[side]) < 15:
                book[side] |= {min(book[1]) - 3: 5} if side > 0 else {max(book[-1]) + 3: 5}
        now = best()
        told = []
        for place, side in ((0, 1), (1, -1)):
            before, after = dict(known[place]), dict(now[place])
            gone = [(ticks, 0) for ticks in before if ticks not in book[side]]
            told.append(gone + [(ticks, lots) for ticks, lots in after.items() if before.get(ticks) != lots])
        known = now
        if any(told):
            tape.append(Recorded(at_ns, "book:BTC/USD", kraken_book("update", told, now)))
    return tape


# --- the runs --------------------------------------------------------------------------------------------------------


def coinbase_tape(path, product):
    """What the venue tells of one product, with all that is told of none."""
    kept = []
    for message in captured_tape(path, "coinbase"):
        said = json.loads(message.payload)
        about = {row.get("product_id") for event in said["events"] for row in (event, *event.get("trades", ()))}
        about |= {row.get("product_id") for event in said["events"] for row in event.get("tickers", ())}
        if said["channel"] != "candles" and about - {None} <= {product}:
            kept.append(message)
    return kept


@pytest.fixture(scope="module")
def markets(data_dir):
    """The tapes with their truths, each made once."""
    made: dict[str, tuple[Market, Truth]] = {}

    def market(name):
        if name not in made:
            folder = data_dir / "cryptofeed"
            if name == "kraken":
                one = Market(kraken_market(), KRAKEN, KrakenStreams(), KrakenV2)
            elif name == "kraken, cheap coins":
                one = Market(kraken_market(most=10**18 - 1), CHEAP, KrakenStreams(), KrakenV2)
            elif name == "bybit":
                tape = captured_tape(folder / "2026-08-09_BYBIT_first60pct.jsonl.gz", "bybit_linear")
                tape = [m for m in tape if m.topic.endswith(".BTCUSDT") and not m.topic.startswith("kline")]
                listing = Listing("BTCUSDT", Decimal("0.10"), Decimal("0.001"), True)
                one = Market(tape, listing, BybitLinearStreams(200), BybitLinear)
            else:
                tape = coinbase_tape(folder / "2026-08-09_COINBASE_first60pct.jsonl.gz", "ETH-USD")
                listing = Listing("ETH-USD", Decimal("0.01"), Decimal("0.00000001"), False)
                one = Market(tape, listing, CoinbaseStreams(), CoinbaseAdvanced, numbered=True)
            made[name] = one, Truth(one)
        return made[name]

    return market


class Looks(NamedTuple):
    """What a run has seen."""

    counts: Counter
    trades: list[tuple[int, int, int]]
    spells: list[bool]  # the book came (True) and went
    log: list
    rig: LiveRig


def run(folder, market, truth, faults=(), tape=None, time_limit_ns=0):
    """The tape through the feed; at every message the book is one of the truth, in their order, or stale."""
    made = certificates(folder)
    streams, listing = market.streams, market.listing
    plan = Plan(streams.venue, tape or market.tape, faults=faults, greet=truth.greet, numbered=market.numbered)
    book, counts, trades, spells = ReaderBook(), Counter(), [], []
    with serve(plan, made.server) as server:
        server.until = STEP
        streams.ws_url, streams.rest_url = f"wss://localhost:{server.port}", f"https://localhost:{server.port}"
        rig = LiveRig(streams, market.decoder(), listing, made.ca_file, 5.0)
        state = rig.feed.memory.feed.states[0]
        state["time_limit_ns"] = time_limit_ns
        at, begun = 0, time.monotonic()
        try:
            while server.position < len(plan.tape) or not book.whole or counts["idle"] < 200:
                handled, ticks = rig.turn()
                counts["taken"] += handled
                counts["idle"] = 0 if handled or ticks else counts["idle"] + 1
                if counts["idle"] > 1 and (book.whole or not spells or state["halted"]):
                    server.until = min(server.position + STEP, len(plan.tape))  # while it is stale the market stands
                assert time.monotonic() - begun < PATIENCE_S, (counts, rig.refused(), rig.feed.counts, server.log)
                for tick in ticks:
                    was, kind = book.whole, int(tick["kind"])
                    book.take(tick)
                    if was != book.whole:
                        spells.append(book.whole)
                    if kind == TICK_TRADE:
                        trades.append(tuple(int(tick[word]) for word in ("w0", "w1", "w3")))
                    if kind in (TICK_LEVEL, TICK_QUOTE, TICK_STATUS) and book.whole and int(tick["flags"]) & FLAG_LAST:
                        counts["whole"] += 1
                        at = place(truth.states, book.top(LEVELS), at)
                    if kind == TICK_QUOTE and book.whole:
                        bids, asks = book.top(1)
                        assert (*bids[0], *asks[0]) == tuple(int(tick[word]) for word in ("w0", "w1", "w2", "w3"))
            assert book.top(LEVELS) == truth.states[-1], "the last book is the last one of the truth"
            return Looks(counts, trades, spells, list(server.log), rig)
        finally:
            rig.close()


def place(states, top, at):
    """Where that book is among the true ones, not before `at`."""
    for number in range(at, len(states)):
        if states[number] == top:
            return number
    raise AssertionError(f"after state {at} of {len(states)} the venue never had this book: {top[0][:5]} {top[1][:5]}")


@pytest.mark.parametrize("name", ["bybit", "coinbase", "kraken", "kraken, cheap coins"])
def test_every_book_and_every_trade_is_the_venues(tmp_path, markets, name):
    market, truth = markets(name)
    looks = run(tmp_path, market, truth)
    assert looks.spells == [True] and looks.trades == truth.trades and len(truth.trades) >= 10
    assert looks.counts["whole"] > 0.6 * len(truth.states) > 100, looks.counts
    assert not looks.rig.refused() and not looks.rig.feed.counts
    checks, equal = looks.rig.wires.book_checks[0].tolist()
    assert checks == equal == (len(truth.states) if market.streams.venue == "kraken" else 0)
    print(f"{name}: {looks.counts['whole']} books compared, {checks} check sums, {len(truth.trades)} trades")


@pytest.mark.parametrize("kind", ["drop", "repeat", "reorder", "cut"])
@pytest.mark.parametrize("name", ["bybit", "coinbase", "kraken"])
def test_a_whole_book_is_the_venues_whatever_is_lost_repeated_or_swapped(tmp_path, markets, name, kind):
    market, truth = markets(name)
    count = 3 if kind == "cut" else 10
    size = len(market.tape)
    numbers = random.Random(kind).sample(range(truth.begun + 5, size - 20), count)
    looks = run(tmp_path, market, truth, tuple(Fault(kind, at=number) for number in numbers))
    assert len(looks.log) == count
    if kind == "cut" or (name == "coinbase" and kind != "repeat"):
        assert looks.spells.count(False) >= 1  # every message of its connections is numbered
    print(f"{name}: {kind}: {count} faults, {looks.counts['whole']} books, {looks.spells.count(False)} times stale")


def apart(market, truth, count):
    """Numbers of messages of the book, further apart than the market goes before the feed has seen them."""
    begin, end = truth.begun + STEP, len(market.tape) - 2 * STEP
    places = [begin + place * (end - begin) // count for place in range(count)]
    numbers = [next(at for at in range(place, end + STEP) if truth.changes[at]) for place in places]
    assert min(after - before for before, after in itertools.pairwise(numbers)) > STEP
    return numbers


@pytest.mark.parametrize("name", ["bybit", "coinbase", "kraken"])
def test_a_message_that_cannot_be_read_makes_the_book_stale_until_it_is_whole_anew(tmp_path, markets, name):
    market, truth = markets(name)
    source, tape = random.Random(5), list(market.tape)
    for number in apart(market, truth, 6):
        body = tape[number].payload
        tape[number] = tape[number]._replace(payload=body[: source.randrange(1, len(body))])
    looks = run(tmp_path, market, truth, tape=tape)
    assert looks.spells == [True] + [False, True] * 6 and looks.rig.feed.counts.total() == 6, looks.rig.feed.counts


HOUR_NS = 3_600_000_000_000
LIMIT_NS = 600_000_000_000  # the largest that the settings allow: these markets are played at no pace


def text_time(ns):
    return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns % 10**9 // 1000:06d}Z"


def nanoseconds(text):
    return int(datetime.fromisoformat(text).timestamp() * 10**6) * 1_000


def mistimed(body, key, wrong_ns):
    """The message with another time of that name: so much later, or 0."""

    def put(found):
        if found[2].startswith(b'"'):
            true = nanoseconds(found[2].strip(b'"').decode())
            return found[1] + f'"{text_time(true + wrong_ns if wrong_ns else 0)}"'.encode()
        return found[1] + b"%d" % (int(found[2]) + wrong_ns // 1_000_000 if wrong_ns else 0)

    made, count = re.subn(rb'("%s":)("[^"]+"|[0-9]+)' % key.encode(), put, body)
    assert count
    return made


@pytest.mark.parametrize(
    ("name", "key"),
    [("bybit", "ts"), ("bybit", "cts"), ("coinbase", "timestamp"), ("coinbase", "event_time"), ("kraken", "timestamp")],
)
def test_a_change_of_the_book_with_a_wrong_time_makes_it_stale_until_it_is_whole_anew(tmp_path, markets, name, key):
    market, truth = markets(name)
    tape = list(market.tape)
    for number, wrong_ns in zip(apart(market, truth, 6), itertools.cycle((HOUR_NS, -HOUR_NS, 0)), strict=False):
        tape[number] = tape[number]._replace(payload=mistimed(tape[number].payload, key, wrong_ns))
    looks = run(tmp_path, market, truth, tape=tape, time_limit_ns=LIMIT_NS)
    assert looks.spells == [True] + [False, True] * 6 and looks.rig.refused()["venue_time"] == 6, looks.rig.refused()
    stamps, offset_ns, _, anew = looks.rig.wires.venue_clocks[0, :4].tolist()
    behind_ns = time.time_ns() - market.tape[-1].at_ns if name != "kraken" else offset_ns
    assert stamps > 100 and anew == 0 and abs(offset_ns - behind_ns) < LIMIT_NS


@pytest.mark.parametrize(("name", "key"), [("bybit", "T"), ("coinbase", "time"), ("kraken", "timestamp")])
def test_a_trade_with_a_wrong_time_is_refused_alone(tmp_path, markets, name, key):
    market, truth = markets(name)
    decoder, tape = market.decoder(), list(market.tape)
    told = [sum(isinstance(event, Trade) for event in decoder.decode(message.payload).events) for message in tape]
    numbers = [number for number, trades in enumerate(told) if trades][1::2][:6]
    for number, wrong_ns in zip(numbers, itertools.cycle((HOUR_NS, -HOUR_NS, 0)), strict=False):
        tape[number] = tape[number]._replace(payload=mistimed(tape[number].payload, key, wrong_ns))
    looks = run(tmp_path, market, truth, tape=tape, time_limit_ns=LIMIT_NS)
    assert looks.spells == [True] and looks.rig.refused() == {"venue_time": len(numbers)} and len(numbers) >= 3
    assert len(looks.trades) == len(truth.trades) - sum(told[number] for number in numbers)


STATUS = {
    "kraken": lambda word: (
        '{"channel":"instrument","type":"update","data":{"assets":[],"pairs":[{"symbol":"ETH/USD","status":"delisted"},'
        f'{{"symbol":"BTC/USD","status":"{word}"}}]}}}}'
    ),
    "kraken engine": lambda word: (
        f'{{"channel":"status","type":"update","data":[{{"api_version":"v2","system":"{word}","version":"2.0.0"}}]}}'
    ),
    "coinbase": lambda word: (
        '{"channel":"status","timestamp":"2026-08-09T21:05:48.17Z","sequence_num":0,"events":[{"type":"snapshot",'
        f'"products":[{{"id":"ETH-USD","status":"{word}"}},{{"id":"BTC-USD","status":"offline"}}]}}]}}'
    ),
}


@pytest.mark.parametrize("form", STATUS)
def test_what_the_venue_says_is_not_traded_has_no_book_until_it_is(tmp_path, markets, form):
    name = form.partition(" ")[0]
    market, truth = markets(name)
    topic = HEARTBEATS if name == "coinbase" else INSTRUMENTS
    begin, end = apart(market, truth, 2)
    before, tape = len(truth.trades), list(market.tape)
    words = ((end, "online"), (end - 50, "cancel_only"), (begin + 50, "offline"), (begin, "maintenance"))
    for number, word in words:
        tape.insert(number, Recorded(tape[number].at_ns, topic, STATUS[form](word).encode()))
    market = market._replace(tape=tape)
    looks = run(tmp_path, market, Truth(market))
    assert looks.spells == [True, False, True], looks.spells
    halted = looks.rig.refused()["halted"]
    assert 0.5 * (end - begin) < halted <= end - begin + 3, (halted, begin, end)
    assert looks.rig.wires.messages[0, TICK_STATUS] == len(words)
    assert sum(looks.rig.feed.counts.values()) == 3 and len(looks.trades) < before


def test_a_digit_that_was_altered_is_found_by_the_check_sum(tmp_path, markets):
    market, truth = markets("kraken")
    source, tape = random.Random(5), list(market.tape)
    numbers = apart(market, truth, 20)
    for number in numbers:
        body = bytearray(tape[number].payload)
        places = [
            found.start(1) for found in re.finditer(rb'"(?:qty|price)":[0-9]*([1-9])', body[: body.index(b"checks")])
        ]
        body[source.choice(places)] ^= 1
        tape[number] = tape[number]._replace(payload=bytes(body))
    looks = run(tmp_path, market, truth, tape=tape)
    assert looks.spells == [True] + [False, True] * 20, looks.rig.refused()
    refused = looks.rig.refused()
    assert refused.pop("bad_checksum") + refused.pop("book_crossed", 0) == 20, refused


def test_any_bit_of_a_venue_with_check_sums_that_was_altered_leaves_no_wrong_book(tmp_path, markets):
    market, truth = markets("kraken")
    numbers = random.Random(6).sample(range(5, len(market.tape) - 20), 30)
    looks = run(tmp_path, market, truth, tuple(Fault("corrupt", at=number) for number in numbers))
    assert len(looks.log) == 30 and looks.spells.count(False) >= 10
    print(
        f"30 altered bits: {looks.spells.count(False)} times stale, {looks.rig.refused()} {dict(looks.rig.feed.counts)}"
    )
