"""Kraken's scanner against the typed decoder of version 2, and the check sum of the compiled book against the venue's.

What was recorded is of version 1. Its books and trades are written here as version 2 writes them: the same values and
check sums, as JSON numbers. Books of cheap coins hold more lots of 1e-8 than an order of ours may have; they are read
all the same. A price beyond 2**40 ticks (somebody asks 9,999,999,997 francs for a coin) is refused by both.
"""

import json
import random
from collections import Counter
from decimal import Decimal

import numpy as np
import pytest
from rig.typed import LEFT, Pair, Venue, listing_of, mutated

from bot4.adapters.files.raw import find_captures
from bot4.adapters.kraken.parse import KrakenV1, KrakenV2
from bot4.jit import JIT
from bot4.kernels.book import BOOK, book_clear, book_depth, book_level, book_set
from bot4.kernels.checksum import book_checksum
from bot4.kernels.risk.view import MAX_PRICE_TICKS, MAX_QTY_LOTS
from bot4.kernels.scan.kraken import scan_kraken
from bot4.kernels.scan.scanned import ASKS, BIDS, CHECKSUM, INSTRUMENT, IS_SNAPSHOT, RULE_CHECKSUM
from bot4.model.enums import INPUT_OK, INPUT_OVERFLOW, INPUT_UNKNOWN_STREAM
from bot4.ports.feed import BookChange, Quote, Trade

MUTATIONS = 30_000 if JIT else 200
DEPTH = 1_000  # of the books recorded
SIDES = {1: "buy", -1: "sell"}


def text_of(ns):
    moment = np.datetime64(ns, "ns")
    return f"{np.datetime_as_string(moment, unit='us')}Z"


def rows(levels):
    return "[" + ",".join(f'{{"price":{price:f},"qty":{qty:f}}}' for price, qty in levels) + "]"


def as_version_2(event, number):
    """The message of version 2 that says the same; `number` of a trade is ours."""
    if isinstance(event, BookChange):
        kind = "snapshot" if event.snapshot else "update"
        data = f'"bids":{rows(event.bids)},"asks":{rows(event.asks)},"checksum":{event.checksum or 0}'
        channel = "book"
    elif isinstance(event, Trade):
        data = f'"side":"{SIDES[event.side]}","price":{event.price:f},"qty":{event.qty:f},"ord_type":"limit"'
        data += f',"trade_id":{number}'
        channel, kind = "trade", "update"
    else:
        data = f'"bid":{event.bid:f},"bid_qty":{event.bid_qty:f},"ask":{event.ask:f},"ask_qty":{event.ask_qty:f}'
        channel, kind = "ticker", "update"
    stamp = f',"timestamp":"{text_of(event.venue_ns)}"' if event.venue_ns else ""
    body = f'{{"channel":"{channel}","type":"{kind}","data":[{{"symbol":"{event.symbol}",{data}{stamp}}}]}}'
    return body.encode()


@pytest.fixture(scope="module")
def recorded(data_dir):
    """(messages of version 2, {symbol: decimals of its prices})."""
    decoder, made, decimals = KrakenV1(), [], {}
    for capture in find_captures([data_dir / "cryptofeed" / "2021-04-17_KRAKEN"]):
        for message in capture.messages():
            if message.rest:
                continue
            for event in decoder.decode(message.body).events:
                if isinstance(event, BookChange | Trade | Quote):
                    made.append(as_version_2(event, len(made)))
                    price = (
                        (event.bids or event.asks)[0][0] if isinstance(event, BookChange)
                        else event.bid if isinstance(event, Quote) else event.price
                    )  # fmt: skip
                    decimals[event.symbol] = max(decimals.get(event.symbol, 0), -price.as_tuple().exponent)
    return made, decimals


def kraken(decimals):
    sizes = {symbol: f"{10**-count:.{count}f}" for symbol, count in decimals.items()}
    listings = [listing_of(RULE_CHECKSUM, symbol, size, "0.00000001") for symbol, size in sizes.items()]
    bars = (b'{"channel":"ohlc"',)
    return Pair(Venue(scan_kraken, KrakenV2(depth=DEPTH), np.concatenate(listings), lambda _: False, bars))


def is_far(body, decimals):
    """Whether a price in it is beyond what any order may have."""
    found = json.loads(body, parse_float=Decimal)["data"][0]
    rows = [*found.get("bids", ()), *found.get("asks", ()), found]
    return any(int(row.get("price", 0) * 10 ** decimals[found["symbol"]]) > MAX_PRICE_TICKS for row in rows)


def fixtures(data_dir):
    folder = data_dir / "nautilus_trader" / "adapter_fixtures" / "kraken"
    names = ("book_snapshot", "book_update", "ohlc_update", "pong", "ticker_snapshot", "trade_update")
    made = [(folder / f"ws_{name}.json").read_bytes().replace(b"\n", b" ").strip() for name in names]
    answer = (
        '{"method":"subscribe","result":{"channel":"book","depth":10,"snapshot":true,"symbol":"BTC/USD"},"success":true,'
        '"time_in":"2023-10-06T17:35:55.219022Z","time_out":"2023-10-06T17:35:55.219067Z"}'
    )
    status = '{"channel":"status","type":"update","data":[{"version":"2.0.0","system":"online","connection_id":12}]}'
    more = ('{"channel":"heartbeat"}', status, answer)
    return made + [text.encode() for text in more]


@pytest.mark.data
def test_the_forms_of_the_documentation(data_dir):
    pair = kraken({"BTC/USD": 1})
    assert [pair.compare(body) for body in fixtures(data_dir)] == [0] * 7 + [INPUT_UNKNOWN_STREAM, 0]


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (b'{"method":"subscribe","success":true,"result":{}}', False),
        (b'{"method":"subscribe","success":false,"error":"no"}', True),
        (b'{"method":"subscribe","error":"no","success":true}', True),
        (b'{"method":"subscribe","success":false,"result":{}}', True),
        (b'{"method":"subscribe"}', True),
        (b'{"method":"add_order","success":true}', True),
        (b'{"channel":"heartbeat","error":"no"}', True),
        (b'{"channel":"level3","data":[]}', True),
        (b'{"channel":"trade","type":"update","data":[]}', True),
    ],
)
def test_what_is_refused_is_left_to_the_typed_decoder(body, left):
    assert (kraken({"BTC/USD": 1}).compare(body) in LEFT) == left


@pytest.mark.data
def test_every_recorded_value_is_taken_and_equal(recorded):
    bodies, decimals = recorded
    pair, counts = kraken(decimals), Counter()
    for body in bodies if JIT else bodies[:500]:
        counts[pair.compare(body)] += 1
    total = sum(counts.values())
    absurd = sum(is_far(body, decimals) for body in bodies) if JIT else 0
    print(f"kraken: {counts[INPUT_OK]} of {total} taken by the scanner, {absurd} with a price beyond all bounds")
    assert counts[INPUT_OVERFLOW] == absurd < 10 and counts[INPUT_OK] + counts[INPUT_OVERFLOW] == total > 400, counts


@pytest.mark.data
def test_damaged_messages_are_refused_or_equal(data_dir, recorded):
    bodies, decimals = recorded
    pair, source, counts = kraken(decimals | {"BTC/USD": 1}), random.Random(9), Counter()
    short = [body for body in bodies if len(body) < 3_000]
    few = [body for body in short if not body.startswith(b'{"channel":"book"')]
    for _ in range(MUTATIONS):
        line = source.choice(source.choice((short, few, fixtures(data_dir))))
        reason = pair.compare(mutated(line, source, short))
        counts["left" if reason in LEFT else "bad number" if reason else "taken"] += 1
    print(dict(counts))
    assert min(counts["left"], counts["taken"]) > MUTATIONS // 100 and counts["bad number"] > 0


def test_trades_of_two_symbols_are_left_to_the_typed_decoder():
    trade = '{{"symbol":"{}","side":"buy","price":5.1,"qty":1,"trade_id":{},"timestamp":"2023-10-06T17:35:55Z"}}'
    pair = kraken({"BTC/USD": 1, "ETH/USD": 1})
    for symbols, left in ((("BTC/USD", "BTC/USD"), False), (("BTC/USD", "ETH/USD"), True)):
        data = ",".join(trade.format(symbol, number) for number, symbol in enumerate(symbols))
        for kind in ("update", "snapshot"):
            body = f'{{"channel":"trade","type":"{kind}","data":[{data}]}}'.encode()
            assert (pair.compare(body) in LEFT) == left
    assert json.loads(body)


@pytest.mark.data
@pytest.mark.compiled
def test_check_sums_of_the_compiled_books_are_the_venues(recorded):
    bodies, decimals = recorded
    pair, equal, most, lost = kraken(decimals), 0, 0, set()
    books = np.zeros(len(decimals), BOOK)
    for body in bodies:
        if not body.startswith(b'{"channel":"book"'):
            continue
        reason, _, _ = pair.scan(body)
        message = pair.scanned.message
        if is_far(body, decimals):
            lost.add(int(message[INSTRUMENT]))
        if int(message[INSTRUMENT]) in lost:
            continue
        assert reason == INPUT_OK
        book, listing = books[message[INSTRUMENT]], pair.venue.listings[message[INSTRUMENT]]
        if message[IS_SNAPSHOT]:
            book_clear(book)
        for row, side, place in ((0, 1, BIDS), (1, -1, ASKS)):
            for index in range(message[place]):
                price, lots = pair.scanned.prices[row, index], pair.scanned.lots[row, index]
                book_set(book, np.int64(side), price, lots)
                most = max(most, int(lots))
            while book_depth(book, np.int64(side)) > DEPTH:
                price, _ = book_level(book, np.int64(side), book_depth(book, np.int64(side)) - 1)
                book_set(book, np.int64(side), price, np.int64(0))
        if not message[IS_SNAPSHOT]:
            assert book_checksum(book, listing) == message[CHECKSUM], body
            equal += 1
    print(f"kraken: {equal} sums equal, {len(decimals) - len(lost)} books of {len(decimals)}, levels to {most} lots")
    assert equal > 500 and most > MAX_QTY_LOTS and len(lost) < 4
