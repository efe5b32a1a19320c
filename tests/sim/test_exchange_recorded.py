"""Recordings in front of the exchange's book: without orders of ours it is the recorded book, message for message."""

import json
import random
import subprocess
import time
from collections import Counter
from decimal import Decimal

import pytest
from oracle.exchange_ledger import recompute
from reference.adapters.exchange.recorded import RefBook, RefOffer, messages
from rig.exchange_capture import Capture
from rig.exchange_desk import START_NS, fixed_key
from rig.exchange_recorded import SPOT, RecordedDesk, open_files, scaled
from rig.exchange_server import COMMAND, ExchangeServer

from bot4.adapters.exchange.assembly import assemble
from bot4.adapters.exchange.commission import Tier
from bot4.adapters.exchange.ledger import Ledger
from bot4.adapters.exchange.owner import Owner
from bot4.adapters.exchange.protocol import BYBIT
from bot4.adapters.exchange.scenario import Scenario
from bot4.adapters.exchange.symbol import default_symbols
from bot4.cli.recorded_market import open_recording
from bot4.jit import JIT
from bot4.model.queue import AVERSE
from bot4.ports.feed import BookChange, Quote
from bot4.settings.loader import load

pytestmark = pytest.mark.data
E8 = 10**8
CENT = Decimal("0.01")
SECONDS = 10 if JIT else 1
CHAINS = {
    "btc": (["btcusdt_20240808.gz", "btcusdt_20240809.gz"], "BTCUSDT", Decimal("0.00001")),
    "eth": (["ethusdt_20240808.gz"], "ETHUSDT", Decimal("0.0001")),
}
WHOLE = {"btc": (6_490, 1_072), "eth": (3_430, 500)}  # messages and coinciding quotes at least


class Watch:
    """Holds the exchange's book against an independent one."""

    def __init__(self, told, sizes, full_every=200):
        self.books = {name: RefBook() for name in sizes}
        self.sizes = sizes
        self.told = iter(told)
        self.quotes = {}
        self.trades = {name: [] for name in sizes}
        for name, kind, data in told:
            if kind == "bookTicker":
                row = (data["b"], data["B"], data["a"], data["A"])
                self.quotes[name, data["u"]] = tuple(int(Decimal(text) * E8) for text in row)
            elif kind in ("trade", "aggTrade"):
                self.trades[name].append((int(Decimal(data["p"]) * E8), int(Decimal(data["q"]) * E8), data["m"]))
        self.count = Counter()
        self.full_every = full_every
        self.desk = None
        self.tape = {name: [] for name in sizes}

    def book_at(self, name, update):
        """The rebuilt book when it has come to an update."""
        book = self.books[name]
        while book.last is None or book.last < update:
            about, kind, data = next(self.told)
            if kind == "snapshot":
                self.books[about].snapshot(data)
            elif kind == "depth":
                self.books[about].change(data)
        assert book.last == update
        return book

    def hear(self, trades):
        """The exchange's trades."""
        for symbol, trade, _ in trades:
            self.tape[symbol.name].append((trade.price_e8, trade.qty_e8, trade.buyer_maker))

    def look(self, _, event):
        """After each event of the recording."""
        if self.desk is None or isinstance(event, str) or not isinstance(event, BookChange | Quote):
            return
        venue, symbol = self.desk.venue, self.desk.symbols[event.symbol]
        one = self.desk.made.market.symbols[symbol.name]
        if not one.is_open:
            return
        (bid, bid_qty), (ask, ask_qty) = venue.best(symbol)
        if isinstance(event, Quote):
            if event.update_id < one.book.last:
                return  # of a book that has been
            self.count["quotes"] += 1
            assert (bid, bid_qty, ask, ask_qty) == self.quotes[event.symbol, event.update_id]
            return
        book, sizes = self.book_at(event.symbol, one.book.last), self.sizes[event.symbol]
        bids, asks = scaled(book.bids, *sizes), scaled(book.asks, *sizes)
        self.count["levels off the tick"] += len(book.bids) + len(book.asks) - len(bids) - len(asks)
        self.count["changes"] += 1
        assert (bid, bid_qty, ask, ask_qty) == (max(bids), bids[max(bids)], min(asks), asks[min(asks)])
        shown = venue.shown[symbol.index]
        expected = {(True, price): qty for price, qty in bids.items()}
        expected |= {(False, price): qty for price, qty in asks.items()}
        assert shown == expected, set(shown.items()) ^ set(expected.items())
        self.count["levels"] += len(expected)
        if self.count["changes"] % self.full_every == 1:
            self.count["whole books"] += 1
            assert dict(venue.core.depth(symbol, True, 5_000)) == bids
            assert dict(venue.core.depth(symbol, False, 5_000)) == asks
        quote = self.quotes.get((event.symbol, book.last))
        if quote is not None:
            self.count["coinciding quotes"] += 1
            assert (bid, bid_qty, ask, ask_qty) == quote


def replay(tmp_path, paths, told, sizes, seconds):
    """Play a recording without orders of ours, each message looked at."""
    watch = Watch(told, sizes)
    desk = RecordedDesk(tmp_path, open_files(paths), watch.look, accounts=1, ledger="ledger")
    watch.desk = desk
    desk.venue.on_trades = watch.hear
    desk.run(seconds)
    for name, tape in watch.tape.items():
        all_trades = watch.trades[name]
        if desk.made.market.has_ended:
            begin = len(all_trades) - len(tape)
        else:
            begin = all_trades.index(tape[0])
        assert tape == all_trades[begin : begin + len(tape)], "the trades are those of the recording"
        watch.count["trades"] += len(tape)
    assert all(symbol.status == "BREAK" for symbol in desk.symbols.values()) == desk.made.market.has_ended
    desk.conserved()
    print(f"{', '.join(sizes)}: " + ", ".join(f"{n:,} {what}" for what, n in sorted(watch.count.items())))
    return watch.count


@pytest.mark.parametrize("name", list(CHAINS))
def test_the_book_is_the_recorded_one_after_each_message(data_dir, tmp_path, name):
    files, symbol, lot = CHAINS[name]
    paths = [data_dir / SPOT / file for file in files]
    count = replay(tmp_path, paths, messages(paths, symbol), {symbol: (CENT, lot)}, 4 * SECONDS)
    assert count["changes"] > 36 * SECONDS and count["coinciding quotes"] > SECONDS
    assert count["quotes"] > 100 * SECONDS and count["trades"] > 10 * SECONDS


@pytest.mark.stress
@pytest.mark.compiled
@pytest.mark.parametrize("name", list(CHAINS))
def test_the_book_is_the_recorded_one_to_the_end(data_dir, tmp_path, name):
    files, symbol, lot = CHAINS[name]
    paths = [data_dir / SPOT / file for file in files]
    count = replay(tmp_path, paths, messages(paths, symbol), {symbol: (CENT, lot)}, 1e9)
    assert count["changes"] >= WHOLE[name][0]
    assert count["coinciding quotes"] >= WHOLE[name][1]


class Trader:
    """Orders by chance near the market, and every fill of them held against what the recording had."""

    def __init__(self, seed, lot):
        self.draw = random.Random(seed)
        self.lot = lot
        self.offer = RefOffer()
        self.desk = None
        self.name = ""
        self.last = self.last_quote = -1
        self.read = 0
        self.resting = set()
        self.asked = Counter()

    def ticks(self, price):
        return int(price * 100)

    def lots(self, qty):
        return max(int(qty // self.lot), 1) if qty else 0

    def rows(self, levels):
        return {self.ticks(price): self.lots(qty) for price, qty in levels}

    def start(self, desk, name, book):
        """From a whole book on."""
        self.desk, self.name = desk, name
        self.offer.change(self.rows(book.bids.items()), self.rows(book.asks.items()))
        self.last = book.last

    def fills(self):
        """Those since the last look: (whether it waited, bought, price, lots)."""
        found = []
        for event in self.desk.events[0][self.read :]:
            if event["e"] == "executionReport" and event["x"] == "TRADE":
                price, qty = self.ticks(Decimal(event["L"])), self.lots(Decimal(event["l"]))
                found.append((event["m"], event["S"] == "BUY", price, qty))
        self.read = len(self.desk.events[0])
        return found

    def look(self, _, event):
        """After each event of the recording."""
        if self.desk is None or isinstance(event, str):
            return
        fills = self.fills()
        assert all(fill[0] for fill in fills), "ours waited"
        met = [fill[1:] for fill in fills]
        if isinstance(event, BookChange):
            if event.last > self.last:
                self.last = event.last
                self.offer.change(self.rows(event.bids), self.rows(event.asks))
            self.offer.came(met)
        elif isinstance(event, Quote):
            if event.update_id > max(self.last, self.last_quote):
                self.last_quote = event.update_id
                bid = self.ticks(event.bid), self.lots(event.bid_qty)
                ask = self.ticks(event.ask), self.lots(event.ask_qty)
                self.offer.quote(bid, ask, self.resting)
            self.offer.came(met)
        else:
            self.offer.traded(self.ticks(event.price), self.lots(event.qty), event.side, met)
        self.rest()

    def rest(self):
        orders = self.desk.venue.accounts[0].open.values()
        self.resting = {(order.is_buy, order.price_e8 * 100 // E8) for order in orders}

    def act(self):
        """One request, and what it got at once."""
        draw, desk = self.draw, self.desk
        symbol = desk.symbols[self.name]
        (bid, _), (ask, _) = desk.venue.best(symbol)
        if symbol.status != "TRADING" or not bid or not ask:
            return
        open_orders = list(desk.venue.accounts[0].open)
        what = draw.random()
        fields = {"symbol": self.name, "side": draw.choice(("BUY", "SELL"))}
        buys = fields["side"] == "BUY"
        qty = self.lot * draw.choice((draw.randrange(100, 1_000), draw.randrange(1_000, 30_000)))
        if open_orders and what < len(open_orders) / 24:
            status, _ = desk.signed(0, "DELETE", "order", symbol=self.name, orderId=draw.choice(open_orders))
        elif what < 0.75:
            away = draw.choice((0, 0, 0, 1, 2, 30, 300, -1, -2, -100)) * E8 // 100
            price = (bid - away) if buys else (ask + away)
            fields |= {"type": "LIMIT", "timeInForce": draw.choice(("GTC", "GTC", "GTC", "IOC", "FOK"))}
            status, _ = desk.signed(0, "POST", "order", price=Decimal(price) / E8, quantity=qty, **fields)
        else:
            status, _ = desk.signed(0, "POST", "order", type="MARKET", quantity=qty, **fields)
        self.asked[status] += 1
        for waited, bought, price, lots in self.fills():
            assert not waited
            self.offer.took(not bought, price, lots)
        self.rest()


WIDE = "[limits]\nrequest_weight_1m = 1_000_000\norders_10s = 1_000_000\norders_1d = 1_000_000\n"


def trade_at_random(tmp_path, data_dir, name, queue, seed, seconds):
    """A random trader against a recording: each fill was there, nothing is lost."""
    files, symbol, lot = CHAINS[name]
    paths = [data_dir / SPOT / file for file in files]
    trader = Trader(seed, lot)
    desk = RecordedDesk(tmp_path, open_files(paths, queue), trader.look, accounts=1, scenario=WIDE)
    book = RefBook()
    for _, kind, data in messages(paths, symbol):
        if kind == "snapshot":
            book.snapshot(data)
        elif kind == "depth":
            if book.last == desk.made.market.symbols[symbol].book.last:
                break
            book.change(data)
        if book.last == desk.made.market.symbols[symbol].book.last:
            break
    trader.start(desk, symbol, book)
    end_ns = desk.now_ns + int(seconds * 1e9)
    steps = 0
    while desk.now_ns < end_ns and not desk.made.market.has_ended:
        desk.tick(trader.draw.choice((0.005, 0.02, 0.05)))
        trader.act()
        steps += 1
        if steps % 200 == 0:
            desk.conserved()
    desk.conserved()
    recompute(desk.ledger)
    offer = trader.offer
    print(f"{name} {queue} {seed}: {dict(trader.asked)}, lots: {offer.n_taken:,} taken, {offer.n_met:,} met by the "
          f"book, {offer.n_passed:,} by trades")  # fmt: skip
    assert trader.asked[200] > 0.7 * trader.asked.total()
    return offer


@pytest.mark.parametrize(("name", "queue"), [("btc", "risk-averse"), ("eth", "power"), ("btc", "log")])
def test_no_fill_that_the_recording_could_not_have_given(data_dir, tmp_path, name, queue):
    offer = trade_at_random(tmp_path, data_dir, name, queue, 7, 1.5 * SECONDS)
    assert offer.n_taken and (offer.n_passed or not JIT)


@pytest.mark.stress
@pytest.mark.compiled
@pytest.mark.parametrize("queue", ["risk-averse", "power", "power:3", "log"])
@pytest.mark.parametrize("name", list(CHAINS))
def test_no_fill_too_many_in_two_minutes(data_dir, tmp_path, name, queue):
    offer = trade_at_random(tmp_path, data_dir, name, queue, 11, 120)
    assert offer.n_taken and offer.n_passed and offer.n_met


def test_a_capture_with_metadata_brings_its_own_symbols(data_dir, tmp_path):
    """Four symbols of 2021, their sizes from the capture's exchangeInfo."""
    folder = data_dir / "cryptofeed" / "2021-10-12_BINANCE"
    paths = sorted(folder.iterdir())
    sizes = {
        "NKNUSDT": (Decimal("0.0001"), Decimal(1)), "BLZETH": (Decimal("0.00000001"), Decimal(1)),
        "LRCBTC": (Decimal("0.00000001"), Decimal(1)), "RUNEEUR": (Decimal("0.001"), Decimal("0.1")),
    }  # fmt: skip
    told = messages([path for path in paths if path.name != "BINANCE.0.gz"])
    count = replay(tmp_path, paths, told, sizes, 1e9)
    assert count["changes"] > 100 and count["coinciding quotes"] > 10


def test_the_sizes_of_the_shipped_settings_are_those_of_the_exchange(repository):
    settings = {one.symbol: one for one in load(repository / "config" / "paper.toml").instruments
                if one.venue == "binance_spot"}  # fmt: skip
    for symbol in default_symbols():
        one = settings[symbol.name]
        assert (symbol.tick_e8, symbol.lot_e8) == (int(Decimal(one.tick_size) * E8), int(Decimal(one.lot_size) * E8))


def until(stream, wanted, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        message = json.loads(stream.recv(seconds))
        if wanted(message):
            return message
    raise AssertionError("it did not come")


@pytest.mark.compiled
def test_a_recorded_market_is_not_moved_by_an_impact(tmp_path):
    capture = Capture("60000.00 5", "60000.10 3").depth("60000.00 4").write(tmp_path / "capture.gz")
    (tmp_path / "s.toml").write_text("[[impact]]\nmodel = 'linear'\ndaily_quantity = 1000.0\ncoefficient = 1.0\n")
    options = ["--market", f"recorded:{capture}", "--scenario", str(tmp_path / "s.toml")]
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and "impact: a recorded market" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.compiled
def test_a_recorded_market_over_sockets(data_dir, tmp_path):
    """Both symbols at four times the speed: streams, an order that walks the recorded book, the ledger."""
    files = ",".join(str(data_dir / SPOT / name) for name in ("btcusdt_20240808.gz", "ethusdt_20240808.gz"))
    with ExchangeServer(tmp_path, "--speed", "4x", "--queue", "log", market=f"recorded:{files}") as server:
        assert {one["symbol"] for one in server.get("exchangeInfo")["symbols"]} == {"BTCUSDT", "ETHUSDT"}
        with server.listen("/stream?streams=btcusdt@depth@100ms/btcusdt@trade/ethusdt@bookTicker") as stream:
            for name in ("btcusdt@depth@100ms", "btcusdt@trade", "ethusdt@bookTicker"):
                until(stream, lambda m, name=name: m["stream"] == name)
            order = server.done("POST", "order", symbol="BTCUSDT", side="SELL", type="MARKET", quantity="0.5")
            assert order["status"] == "FILLED" and order["executedQty"] == "0.50000000"
            fill = order["fills"][0]
            trade = until(stream, lambda m: m["stream"] == "btcusdt@trade" and m["data"]["t"] == fill["tradeId"])
            assert trade["data"]["m"] and trade["data"]["p"] == fill["price"]
            diff = until(stream, lambda m: m["stream"] == "btcusdt@depth@100ms")["data"]
            assert until(stream, lambda m: m["stream"] == "btcusdt@depth@100ms")["data"]["U"] == diff["u"] + 1
        server.conserved()
        assert server.stop().kinds["fill"] >= 2


class PerpetualBook(RefBook):
    """A book of the perpetuals: each change names the last id of the one before it."""

    fresh = True

    def change(self, data):
        """One change; the first one after the snapshot may begin before it."""
        if self.last is None:
            self.early.append(data)
            return False
        if data["u"] < self.last:
            return False
        assert data["pu"] == self.last or (self.fresh and data["U"] <= self.last <= data["u"]), "a gap"
        self.fresh, self.last = False, data["U"] - 1  # ids of all symbols are one row: those between are of others
        return super().change(data)


@pytest.mark.compiled
def test_perpetuals_are_bybits_contracts_over_and_over(data_dir, tmp_path):
    """A hundred seconds of a perpetual of Binance behind Bybit's protocol, twice: the recorded book each time."""
    path = data_dir / "hftbacktest/usdm/btcusdt_20230404.dat.gz"
    told = [data for _, kind, data in messages([path], "BTCUSDT") if kind in ("depth", "snapshot")]
    recording = open_recording([path], AVERSE, "bybit", BYBIT.symbols(), again=True)
    (symbol,) = recording.symbols
    assert (symbol.name, symbol.category, symbol.tick_e8, symbol.lot_e8) == ("BTCUSDT", "linear", E8 // 10, E8 // 1_000)
    rounds, seen, clock = 0, Counter(), [START_NS]

    def watched():
        nonlocal rounds
        book, rest, last_ns = None, iter(()), 0
        for ts_ns, event in recording.events:
            assert ts_ns >= last_ns and not isinstance(event, str)
            last_ns = ts_ns
            if isinstance(event, BookChange) and event.snapshot:
                rounds += 1
                book, rest = PerpetualBook(), iter(told)
                seen[rounds, "shift"] = event.last - next(one["lastUpdateId"] for one in told if "lastUpdateId" in one)
            yield ts_ns, event
            one = market.symbols["BTCUSDT"] if market else None
            if book is None or one is None or not one.is_open or not isinstance(event, BookChange):
                continue
            while book.last is None or book.last + seen[rounds, "shift"] < one.book.last:
                data = next(rest)
                (book.snapshot if "lastUpdateId" in data else book.change)(data)
            seen[rounds, "books"] += 1
            best = tuple(int(one * E8) for one in book.best())
            assert tuple(number for side in venue.best(symbol) for number in side) == best
            if seen[rounds, "books"] % 100 == 1:
                bids, asks = (scaled(side, Decimal("0.1"), Decimal("0.001")) for side in (book.bids, book.asks))
                assert dict(venue.core.depth(symbol, True, 5_000)) == bids
                assert dict(venue.core.depth(symbol, False, 5_000)) == asks

    market = None
    made = assemble(
        [Owner("a", {"USDT": 10**13}, (Tier(0, 200, 550),))], Scenario(None, START_NS // 10**6), Ledger(None),
        lambda: clock[0], None, keys=[fixed_key(0)], protocol=BYBIT, recording=recording._replace(events=watched()),
    )  # fmt: skip
    venue, market = made.gateway.venue, made.market
    while not (rounds == 2 and seen[2, "books"] >= 500):
        clock[0] += 5_000_000
        market.advance(clock[0])
        assert rounds < 3
    assert seen[1, "books"] > 4_000 and seen[2, "shift"] > 0
    assert market.symbols["BTCUSDT"].left_out == 0
