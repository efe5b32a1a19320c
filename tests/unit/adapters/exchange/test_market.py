"""What the venue publishes: bars and averages against sums over the trades, the book's changes against the book."""

import json
import random
from collections import defaultdict

import pytest
from oracle.exchange_ledger import recompute
from rig.exchange_desk import BTC, START_NS, Desk

from bot4.adapters.exchange.market import Tape, Trade
from bot4.adapters.exchange.number import E8
from bot4.adapters.exchange.stream import TICK_MS, Streams

START_MS = START_NS // 1_000_000
MINUTE = 60_000


def slow_bars(trades, length_ms, start_ms, end_ms, first_price):
    """Every bar of the span: fields by a walk over all trades."""
    found, close = [], first_price
    for begin in range(start_ms - start_ms % length_ms, end_ms + 1, length_ms):
        inside = [trade for trade in trades if begin <= trade.time_ms < begin + length_ms]
        prices = [trade.price_e8 for trade in inside] or [close]
        close = prices[-1]
        found.append([
            begin, prices[0], max(prices), min(prices), close, sum(trade.qty_e8 for trade in inside),
            sum(trade.price_e8 * trade.qty_e8 // E8 for trade in inside), len(inside),
            sum(trade.qty_e8 for trade in inside if not trade.buyer_maker),
        ])  # fmt: skip
    return found


def e8(text):
    whole, _, part = text.partition(".")
    return int(whole) * E8 + int(part.ljust(8, "0"))


@pytest.mark.parametrize(
    ("interval", "length"), [("1s", 1_000), ("1m", MINUTE), ("5m", 5 * MINUTE), ("1h", 60 * MINUTE)]
)
def test_bars_are_what_the_trades_make(interval, length):
    draw = random.Random(interval)
    tape = Tape(BTC, 60_000 * E8, START_MS)
    trades, now = [], START_MS
    for number in range(1, 400):
        now += int(draw.expovariate(1 / 4_000))
        price = 60_000 * E8 + draw.randrange(-1_000, 1_000) * E8 // 100
        trade = Trade(number, price, draw.randrange(1, 10**6) * 1_000, now, draw.random() < 0.5, 1, 2)
        trades.append(trade)
        tape.add(trade, draw.randrange(5))
    rows = tape.bars(interval, now, None, None, 1_000)
    expected = slow_bars(trades, length, START_MS, now, 60_000 * E8)[-1_000:]
    got = [[row[0], *(e8(row[place]) for place in (1, 2, 3, 4, 5, 7)), row[8], e8(row[9])] for row in rows]
    assert got == expected
    assert all(row[6] == row[0] + length - 1 for row in rows)
    middle = len(rows) // 2
    assert tape.bars(interval, now, rows[middle][0], None, 3) == rows[middle : middle + 3]
    assert tape.bars(interval, now, None, rows[middle][0], 3) == rows[: middle + 1][-3:]
    last = tape.kline(interval, now, rows[-1][0])["k"]
    assert [last[name] for name in "tohlcvn"] == [rows[-1][place] for place in (0, 1, 2, 3, 4, 5, 8)]


def test_the_average_of_the_last_minutes():
    tape = Tape(BTC, 60_000 * E8, START_MS)
    assert tape.average_e8(START_MS, 5) == 60_000 * E8
    tape.add(Trade(1, 50_000 * E8, 3 * E8, START_MS, False, 1, 2), 1)
    tape.add(Trade(2, 54_000 * E8, E8, START_MS + 4 * MINUTE, False, 1, 2), 1)
    assert tape.average_e8(START_MS + 4 * MINUTE, 5) == 51_000 * E8
    assert tape.average_e8(START_MS + 6 * MINUTE, 5) == 54_000 * E8
    assert tape.average_e8(START_MS + 60 * MINUTE, 5) == 54_000 * E8, "nothing was traded: the last price"


def test_aggregates_are_of_one_taker_at_one_price(tmp_path):
    desk = Desk(tmp_path)
    for price, quantity in (("60000", "0.001"), ("60000", "0.002"), ("60001", "0.003"), ("60001", "0.005")):
        desk.limit(0, "SELL", price, quantity)
    desk.market(1, "BUY", quantity="0.007")
    desk.market(1, "BUY", quantity="0.002")
    rows = [(row["a"], row["p"], row["q"], row["f"], row["l"]) for row in desk.get("aggTrades", symbol=BTC)]
    assert rows == [
        (1, "60000.00000000", "0.00300000", 1, 2), (2, "60001.00000000", "0.00400000", 3, 4),
        (3, "60001.00000000", "0.00200000", 5, 5),
    ]  # fmt: skip
    assert [row["a"] for row in desk.get("aggTrades", symbol=BTC, fromId=2, limit=1)] == [2]
    assert [row["id"] for row in desk.get("historicalTrades", symbol=BTC, fromId=4)] == [4, 5]


class Ear:
    """A connection that keeps what it hears."""

    combined = False

    def __init__(self):
        self.heard = defaultdict(list)

    def push(self, text, kind):
        """Keep it."""
        self.heard[kind].append(json.loads(text))


def apply(book, event):
    for side, name in (("bids", "b"), ("asks", "a")):
        for price, qty in event[name]:
            if float(qty):
                book[side][price] = qty
            else:
                book[side].pop(price, None)  # it may have come and gone between two messages


def test_a_book_of_differences_is_the_book(tmp_path):
    desk = Desk(tmp_path, scenario="[limits]\nrequest_weight_1m = 1000000\n", market_seed=3)
    streams = Streams(desk.venue)
    ears = {}
    for name in ("btcusdt@depth@100ms", "btcusdt@depth", "btcusdt@bookTicker", "btcusdt@trade", "btcusdt@aggTrade",
                 "btcusdt@depth5@100ms", "btcusdt@kline_1m", "btcusdt@ticker", "!miniTicker@arr", "btcusdt@avgPrice",
                 "ethusdt@trade"):  # fmt: skip
        ears[name] = Ear()
        assert streams.add(name, ears[name])
    books = {}
    for name in ("btcusdt@depth@100ms", "btcusdt@depth"):
        first = desk.get("depth", symbol=BTC, limit=5000)
        book = {side: dict(first[side]) for side in ("bids", "asks")}
        books[name] = [first["lastUpdateId"], book]
    for number in range(1, 301):
        desk.tick(0.1)
        streams.tick(number)
        truth = desk.get("depth", symbol=BTC, limit=5000)
        best = (truth["bids"][0], truth["asks"][0])
        assert e8(best[0][0]) < e8(best[1][0])
        for name, state in books.items():
            for event in ears[name].heard["depthUpdate"]:
                assert event["U"] == state[0] + 1, "ids without a hole"
                state[0] = event["u"]
                apply(state[1], event)
            ears[name].heard.clear()
            if number * TICK_MS % (100 if "100ms" in name else 1_000) == 0:
                assert state[0] == truth["lastUpdateId"]
                for side in ("bids", "asks"):
                    assert state[1][side] == dict(truth[side])
        tickers = ears["btcusdt@bookTicker"].heard["bookTicker"]
        if tickers and tickers[-1]["u"] == truth["lastUpdateId"]:
            assert [tickers[-1][field] for field in "bBaA"] == [*best[0], *best[1]]
    told = ears["btcusdt@trade"].heard["trade"]
    assert [event["t"] for event in told] == list(range(1, len(told) + 1))
    assert len(told) > 20
    whole = ears["btcusdt@aggTrade"].heard["aggTrade"]
    assert [event["a"] for event in whole] == list(range(1, len(whole) + 1))
    assert sum(e8(event["q"]) for event in whole) == sum(e8(event["q"]) for event in told)
    assert len(ears["btcusdt@depth5@100ms"].heard["depth"]) == 300
    assert len(ears["btcusdt@ticker"].heard["24hrTicker"]) == 30
    klines = ears["btcusdt@kline_1m"].heard["kline"]
    assert [event["k"]["x"] for event in klines].count(True) == len({event["k"]["t"] for event in klines}) - 1
    desk.conserved()
    desk.venue.ledger.close()
    assert recompute(desk.ledger).kinds["fill"] > 40


def test_a_book_of_differences_shows_icebergs(tmp_path):
    desk = Desk(tmp_path)
    streams, ear = Streams(desk.venue), Ear()
    streams.add("btcusdt@depth@100ms", ear)
    desk.limit(0, "SELL", "60000", "0.01", icebergQty="0.002")
    streams.tick(1)
    desk.market(1, "BUY", quantity="0.005")
    streams.tick(2)
    told = [event["a"] for event in ear.heard["depthUpdate"]]
    assert told == [[["60000.00000000", "0.00200000"]], [["60000.00000000", "0.00100000"]]]


def test_streams_that_are_none(tmp_path):
    streams = Streams(Desk(tmp_path).venue)
    for name in (
        "",
        "btcusdt",
        "btcusdt@nothing",
        "BTCUSDT@trade",
        "btcusdt@kline_7m",
        "btcusdt@depth@1ms",
        "!all@arr",
    ):
        assert not streams.add(name, Ear())


def test_tickers(tmp_path):
    desk = Desk(tmp_path)
    desk.limit(0, "SELL", "60000", "1")
    desk.market(1, "BUY", quantity="0.5")
    desk.limit(0, "SELL", "59000", "1")
    desk.market(1, "BUY", quantity="1")
    day = desk.get("ticker/24hr", symbol=BTC)
    assert (day["openPrice"], day["lastPrice"], day["highPrice"], day["lowPrice"]) == (
        "60000.00000000", "59000.00000000", "60000.00000000", "59000.00000000"
    )  # fmt: skip
    assert (day["volume"], day["quoteVolume"], day["count"]) == ("1.50000000", "89000.00000000", 2)
    assert (day["priceChange"], day["priceChangePercent"]) == ("-1000.00000000", "-1.667")
    assert (day["weightedAvgPrice"], day["askPrice"]) == ("59333.33333333", "60000.00000000")
    assert len(desk.get("ticker/24hr")) == 2
    assert [row["symbol"] for row in desk.get("ticker/price", symbols='["ETHUSDT","BTCUSDT"]')] == ["ETHUSDT", BTC]
    assert desk.get("ticker/bookTicker", symbol=BTC)["askQty"] == "0.50000000"
    assert desk.get("ticker", symbol=BTC, windowSize="1h", type="MINI")["lastPrice"] == "59000.00000000"
    assert desk.get("ticker/tradingDay", symbol=BTC)["count"] == 2
    assert desk.get("avgPrice", symbol=BTC)["price"] == "59333.33333333"


def test_what_is_shown_is_what_the_orders_show(tmp_path):
    """Door and tree against a sum over the open orders, icebergs included."""
    desk = Desk(tmp_path, market_seed=5)
    for _ in range(20):
        desk.tick(0.5)
    shown = defaultdict(int)
    for account in desk.venue.accounts:
        for order in account.open.values():
            if order.symbol.name == BTC:
                shown[order.is_buy, order.price_e8] += order.qty_e8 - order.executed_e8
    symbol = desk.venue.symbol(BTC)
    assert len(shown) > 100
    for (is_buy, price_e8), qty_e8 in shown.items():
        assert desk.venue.core.level(symbol, is_buy, price_e8) == qty_e8
        assert desk.venue.core.level(symbol, not is_buy, price_e8) == shown.get((not is_buy, price_e8), 0)
    for is_buy in (True, False):
        whole = [(price, qty) for (side, price), qty in shown.items() if side is is_buy]
        assert desk.venue.core.depth(symbol, is_buy, 5_000) == sorted(whole, reverse=is_buy)
        assert desk.venue.core.depth(symbol, is_buy, 7) == sorted(whole, reverse=is_buy)[:7]
