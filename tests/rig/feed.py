"""A feed on private rings whose readers keep everything, and a market whose true book is known at every update."""

import json
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
from reference.engine.feed import Record
from reference.kernels.scan import Listing

from bot4.engine.feed import FeedAgent
from bot4.model.enums import INPUT_REASONS, KIND_NAMES
from bot4.model.latency import Latency
from bot4.model.records import INSTRUMENT, SESSION, TICK, words
from bot4.shm.layout import CONTROL_FEED_DONE
from bot4.shm.spsc_ring import consume, peek_tick
from bot4.shm.wires import Wires, private_wires

CALLS_MAX = 200_000  # far more than any test needs
START_NS = 1_700_000_000_000_000_000


class TextSource:
    """A text as a source, given out in pieces of any size."""

    def __init__(self, text: bytes, symbol: str = "BTCUSDT", futures: bool = False, piece: int = 1 << 20) -> None:
        self.venue = "binance_usdm" if futures else "binance_spot"
        self.symbol, self.synthetic = symbol, False
        self._text, self._piece = text, piece

    def read_into(self, buffer: np.ndarray) -> int:
        """As the port says."""
        part = self._text[: min(self._piece, buffer.size)]
        self._text = self._text[len(part) :]
        buffer[: len(part)] = np.frombuffer(part, np.uint8)
        return len(part)


def instruments_of(listings: Sequence[Listing], n_shards: int = 1) -> np.ndarray:
    """INSTRUMENT[n], dealt to the shards in turn."""
    table = np.zeros(len(listings), INSTRUMENT)
    for index, listing in enumerate(listings):
        row = table[index]
        row["index"], row["shard"] = index, index % n_shards
        row["tick_e8"], row["lot_e8"] = int(listing.tick.scaleb(8)), int(listing.lot.scaleb(8))
        row["price_decimals"], row["qty_decimals"] = listing.decimals
        row["step_decimals"] = 1 - int(listing.step.normalize().as_tuple().exponent) if listing.step else 0
        row["is_spot"] = not listing.futures
    return table


class FeedRig:
    """One feed, its rings and what their readers took."""

    def __init__(
        self,
        texts: Sequence[bytes],
        listings: Sequence[Listing],
        *,
        n_shards: int = 1,
        wait: bool = True,
        capacity: int = 16_384,
        measure: int = 0,
        piece: int = 1 << 20,
        latency: Latency | None = None,
        record: int = 0,
    ) -> None:
        self.instruments = instruments_of(listings, n_shards)
        self.session = np.zeros(1, SESSION)
        self.session[0]["n_shards"] = n_shards
        self.session[0]["n_instruments"] = len(listings)
        self.session[0]["measure"] = measure
        self.wires: Wires = private_wires(n_shards, len(listings), capacity, record)
        sources = [
            TextSource(text, listing.symbol, listing.futures, piece)
            for text, listing in zip(texts, listings, strict=True)
        ]
        self.agent = FeedAgent(self.wires, self.instruments, self.session, sources, wait, latency)
        self.taken: dict[str, list[np.ndarray]] = {}

    def rings(self) -> dict[str, np.ndarray]:
        """Every ring of the feed by name."""
        shards = {f"shard-{k}": ring for k, ring in enumerate(self.wires.ticks)}
        return shards | {"market": self.wires.market, "quotes": self.wires.quotes}

    def drain(self, *names: str) -> None:
        """Take what is in the named rings, or in all."""
        scratch = np.zeros(1, TICK)
        for name, ring in (self.rings() | {"record": self.wires.record}).items():
            if name not in (names or self.rings()):
                continue
            while peek_tick(ring, words(scratch), np.int64(0)):
                self.taken.setdefault(name, []).append(scratch.copy())
                consume(ring)

    def run(self) -> "FeedRig":
        """To the end."""
        for _ in range(CALLS_MAX):
            self.agent.do_work()
            self.drain()
            if self.wires.control[CONTROL_FEED_DONE]:
                return self
        raise AssertionError(f"the feed has not ended after {CALLS_MAX} calls")

    def records(self, name: str = "market") -> list[Record]:
        """What a ring's reader took, in the twin's form."""
        return [
            Record(
                int(tick["ts_recv_ns"]), int(tick["venue_lag_us"]), int(tick["instrument"]), int(tick["kind"]),
                int(tick["flags"]), tuple(int(tick[word]) for word in ("w0", "w1", "w2", "w3")), int(tick["event_no"]),
            )
            for (tick,) in self.taken.get(name, [])
        ]  # fmt: skip

    def counts(self, index: int = 0) -> Counter[tuple[str, str]]:
        """Messages of one instrument by kind and reason, as the twin counts them."""
        found: Counter[tuple[str, str]] = Counter()
        for kind, name in enumerate(KIND_NAMES):
            found[name, "ok"] += int(self.wires.messages[index, kind])
            for reason, text in enumerate(INPUT_REASONS):
                if reason:
                    found[name, text] += int(self.wires.refused[index, kind, reason])
        return +found


# --- a market whose book is known ------------------------------------------------------------------------------------


def stamped(ts_ns: int, message: dict) -> bytes:
    """One line."""
    return b"%d %s\n" % (ts_ns, json.dumps(message, separators=(",", ":")).encode())


class KnownMarket:
    """Random messages of one instrument in the venue's forms; `books[u]` is the book after update u."""

    def __init__(self, seed: int, futures: bool, update: int = 1_000, trade: int = 50) -> None:
        self.random = random.Random(seed)
        self.futures = futures
        self.symbol = "BTCUSDT"
        self.update = update
        self.sent = update
        self.trade = trade
        self.now_ns = START_NS
        self.book = {1: {1_000 - i: 10 + i for i in range(8)}, -1: {1_002 + i: 10 + i for i in range(8)}}
        self.changes: dict[tuple[int, int], int] = {}
        self.books: dict[int, tuple[dict[int, int], dict[int, int]]] = {}
        self.keep()

    def keep(self) -> None:
        """Remember the book of this update."""
        self.books[self.update] = (dict(self.book[1]), dict(self.book[-1]))

    def price(self, ticks: int) -> str:
        """As text."""
        return f"{ticks // 10}.{ticks % 10}0" if self.futures else f"{ticks // 100}.{ticks % 100:02d}000000"

    def lots(self, lots: int) -> str:
        """As text."""
        return f"{lots / 1_000:.3f}" if self.futures else f"{lots / 100_000:.8f}"

    def _levels(self, levels: list[tuple[int, int]]) -> list[list[str]]:
        return [[self.price(price), self.lots(lots)] for price, lots in levels]

    def _line(self, stream: str, data: dict) -> bytes:
        self.now_ns += self.random.randint(0, 3_000_000)
        return stamped(self.now_ns, {"stream": f"btcusdt@{stream}", "data": data})

    def move(self) -> None:
        """One change of one level, never crossing."""
        self.update += self.random.randint(1, 3) if self.futures else 1
        side = self.random.choice((1, -1))
        best = max(self.book[1]) if side > 0 else min(self.book[-1])
        other = min(self.book[-1]) if side > 0 else max(self.book[1])
        price = best + side * self.random.randint(-6, 2)
        if side * (other - price) <= 0:
            price = best
        lots = self.random.choice((0, 0, 1, 5, 40))
        if lots == 0 and len(self.book[side]) < 4:
            lots = 7
        if lots:
            self.book[side][price] = lots
        else:
            self.book[side].pop(price, None)
        self.changes[side, price] = lots
        self.keep()

    def depth(self) -> bytes:
        """The changes since the last one."""
        first = self.sent + 1
        data = {"e": "depthUpdate", "E": self.now_ns // 1_000_000 + 3, "s": self.symbol, "U": first, "u": self.update}
        if self.futures:
            data["pu"] = self.sent
        for key, side in (("b", 1), ("a", -1)):
            data[key] = self._levels([(price, lots) for (s, price), lots in self.changes.items() if s == side])
        self.changes, self.sent = {}, self.update
        return self._line("depth@100ms", data)

    def quote(self) -> bytes:
        """The best bid and ask."""
        bid, ask = max(self.book[1]), min(self.book[-1])
        data = {"u": self.update, "s": self.symbol, "b": self.price(bid), "B": self.lots(self.book[1][bid])}
        data |= {"a": self.price(ask), "A": self.lots(self.book[-1][ask])}
        return self._line("bookTicker", data)

    def one_trade(self) -> bytes:
        """A trade at the best bid."""
        self.trade += 1
        data = {"e": "trade", "E": self.now_ns // 1_000_000, "s": self.symbol, "t": self.trade, "m": True}
        data |= {"p": self.price(max(self.book[1])), "q": self.lots(3), "T": self.now_ns // 1_000_000}
        return self._line("trade", data)

    def snapshot(self) -> bytes:
        """The whole book as REST gives it."""
        levels = {key: self._levels(list(self.book[side].items())) for key, side in (("bids", 1), ("asks", -1))}
        self.now_ns += 1_000
        return stamped(self.now_ns, {"lastUpdateId": self.update, **levels})

    def run(self, count: int, snapshots: float = 0.02) -> list[bytes]:
        """Lines; a snapshot arrives later than it was made, after some of the diffs that follow it."""
        lines: list[bytes] = []
        late: list[tuple[int, bytes]] = []
        while len(lines) < count:
            self.move()
            what = self.random.random()
            if what < 0.45:
                lines.append(self.quote())
            if what > 0.65 or 0.35 < what < 0.45:
                lines.append(self.depth())
            if 0.6 < what < 0.7:
                lines.append(self.quote())
            if 0.3 < what < 0.4:
                lines.append(self.one_trade())
            if what < snapshots or (
                not late and len(lines) > 8 and what < 0.3 and not any(b"lastU" in x for x in lines)
            ):
                late.append((len(lines) + self.random.randint(0, 6), self.snapshot()))
            while late and late[0][0] <= len(lines):
                _, line = late.pop(0)
                self.now_ns += 1_000
                lines.append(b"%d %s" % (self.now_ns, line.split(b" ", 1)[1]))
        return lines
