"""What a capture of Binance Spot says by itself, and what an account can have got of it: read with json alone.

`messages` reads the two forms of captures, `RefBook` rebuilds a book by the venue's rule in decimals, `RefOffer` judges
fills: each has to be covered by quantity that the recording showed or traded, and no quantity covers two.
"""

import gzip
import json
import re
from collections import defaultdict
from decimal import Decimal

REST = re.compile(rb"https://api\.binance\.com/api/v3/depth\?symbol=(\w+)\S* -> ([0-9.]+): (.*)")
RECEIVED = re.compile(rb"([0-9.]+): (\{.*)")


def messages(paths, symbol=""):
    """(symbol, kind, data) in order of receipt; a snapshot's kind is `snapshot`, `symbol` whose it is in a chain."""
    found = []
    for number, path in enumerate(paths):
        for line in gzip.decompress(path.read_bytes()).splitlines():
            if match := REST.match(line):
                found.append((Decimal(match[2].decode()), 0, match[1].decode(), "snapshot", json.loads(match[3])))
            elif match := RECEIVED.match(line):
                data = json.loads(match[2])
                kind = data["stream"].split("@")[1].split("_")[0]
                found.append((Decimal(match[1].decode()), 1, data["data"]["s"], kind, data["data"]))
            elif line[:1].isdigit():
                data = json.loads(line.split(b" ", 1)[1])
                kind = data["stream"].split("@")[1] if "stream" in data else "snapshot"
                found.append((number, 0, symbol, kind, data.get("data", data)))
    found.sort(key=lambda one: one[:2])
    return [one[2:] for one in found]


class RefBook:
    """One book: prices and quantities as they were told, put together from a snapshot and the changes around it."""

    def __init__(self):
        self.bids, self.asks = {}, {}
        self.last = None
        self.early = []

    def snapshot(self, data):
        """The whole book; what ended after it and came before it follows."""
        self.bids = {Decimal(price): Decimal(qty) for price, qty in data["bids"]}
        self.asks = {Decimal(price): Decimal(qty) for price, qty in data["asks"]}
        self.last = data["lastUpdateId"]
        for change in self.early:
            if change["u"] > self.last:
                self.change(change)

    def change(self, data):
        """One change. True if the book is another one now."""
        if self.last is None:
            self.early.append(data)
            return False
        if data["u"] <= self.last:
            return False
        assert data["U"] <= self.last + 1, "the recording has a gap"
        for side, rows in ((self.bids, data["b"]), (self.asks, data["a"])):
            for price, qty in rows:
                side.pop(Decimal(price), None)
                if Decimal(qty):
                    side[Decimal(price)] = Decimal(qty)
        self.last = data["u"]
        return True

    def best(self):
        """Price and quantity of the best bid and ask."""
        bid, ask = max(self.bids), min(self.asks)
        return bid, self.bids[bid], ask, self.asks[ask]


class RefOffer:
    """Judges the fills of one account against a recording; numbers in ticks and lots, `bids` says whose side it is."""

    def __init__(self):
        self.shown = {True: {}, False: {}}  # what the last message that spoke of a level said
        self.taken = {True: defaultdict(int), False: defaultdict(int)}  # by us, and still there in the recording
        self.older = {True: {}, False: {}}  # where ours wait a quote does not move the level: what it was
        self.n_taken = self.n_met = self.n_passed = 0

    def say(self, bids, price, lots):
        """A message tells a level."""
        self.taken[bids][price] = min(self.taken[bids][price], lots)
        self.shown[bids][price] = lots

    def change(self, bids, asks):
        """A change of the book or a snapshot."""
        self.older = {True: {}, False: {}}
        for side, rows in ((True, bids), (False, asks)):
            for price, lots in rows.items():
                self.say(side, price, lots)

    def quote(self, bid, ask, ours):
        """Best prices with their lots; `ours` holds (bids, price) of our orders that wait."""
        for side, (best, lots) in ((True, bid), (False, ask)):
            gone = [price for price in self.shown[side] if (price > best) == side and price != best]
            for price, told in [(price, 0) for price in gone] + [(best, lots)]:
                if (side, price) in ours:
                    before = self.older[side].get(price, self.shown[side].get(price, 0))
                    self.older[side][price] = max(before, told)
                self.say(side, price, told)

    def left(self, bids, price):
        """Lots of a level that are still there for us."""
        shown = max(self.shown[bids].get(price, 0), self.older[bids].get(price, 0))
        return shown - self.taken[bids][price]

    def took(self, bids, price, lots):
        """An order of ours has taken from this side of the book."""
        assert lots <= self.left(bids, price), f"{lots} lots at {price}, where {self.left(bids, price)} were left"
        self.taken[bids][price] += lots
        self.n_taken += lots

    def came(self, fills):
        """A message moved the book, and these of our orders (bids, price, lots) were met by it."""
        for bids, price, lots in fills:
            self.n_met += lots
            other = self.shown[not bids]
            for level in sorted((level for level in other if other[level]), reverse=not bids):
                if (level > price) if bids else (level < price):
                    break
                part = max(0, min(lots, self.left(not bids, level)))
                self.taken[not bids][level] += part
                lots -= part
            assert lots == 0, f"{lots} lots at {price} came from nowhere"

    def traded(self, price, lots, side, fills):
        """A trade (side +1: the buyer took) went through these of our orders."""
        assert sum(fill[2] for fill in fills) <= lots, "more than the trade"
        there = self.taken[side < 0]
        there[price] = max(0, there[price] - lots)  # the trade took what we had taken, in the recording
        for bids, ours, part in fills:
            self.n_passed += part
            if bids == (side < 0):
                assert ours >= price if bids else ours <= price, "the trade did not come so far"
            else:
                assert ours > price if bids else ours < price, "the trade did not go through it"
