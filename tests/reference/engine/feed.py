"""Slow twin of the feed: whole texts in, lists of records and counters out; dictionaries, json, no rings.

Compared field by field with what the compiled feed pushes (tests/properties/engine/test_feed.py).
"""

import re
from collections import Counter
from typing import NamedTuple

from reference.engine.feed_time import RefTimes
from reference.kernels.scan import KINDS as STREAMS
from reference.kernels.scan import Listing, RefMessage, is_narrow, ref_message

LEAP_NS = 60_000_000_000
WITNESSES = 8
PENDING_MESSAGES = 256
LAG_LIMIT_US = 2_000_000_000
KINDS = {"trade": 1, "quote": 2, "depth": 3, "mark": 4}
STATUS = 6
LAST, SNAPSHOT, BOOK_NEWER, QUOTE_NEWER = 1, 2, 4, 8
QUANTITIES = {1: (1,), 2: (1, 3), 3: (1,)}  # words of a kind that are quantities
MOST_LOTS = 2**40 - 1


class Record(NamedTuple):
    """One tick, without what the ring adds."""

    ts_ns: int
    lag_us: int
    instrument: int
    kind: int
    flags: int
    words: tuple[int, int, int, int]
    event_no: int


class Line(NamedTuple):
    """One line that is not empty; time 0 where it has none."""

    ts_ns: int
    text: bytes


def lines_of(text: bytes) -> list[Line]:
    """Lines with their receive times."""
    found = []
    for raw in text.split(b"\n"):
        if not raw.strip(b" \t\r"):
            continue
        head, _, rest = raw.partition(b" ")
        good = head.isdigit() and len(head) in (16, 19) and not head.startswith(b"0") and b" " in raw
        ts_ns = int(head) * (1_000 if len(head) == 16 else 1) if good else 0
        found.append(Line(ts_ns if ts_ns < 9 * 10**18 else 0, rest))
    return found


def told(text: bytes, listing: Listing) -> RefMessage:
    """A message; of one that is no JSON, as much of its kind as its first key tells."""
    found = ref_message(text, listing)
    snapshot = re.match(rb'[ \t\r]*\{[ \t\r]*"lastUpdateId"[ \t\r]*:', text) is not None
    if found.reason != "unparsable" and not is_narrow(text):
        return found._replace(values=found.values | {"snapshot": snapshot})
    stream = re.match(rb'[ \t\r]*\{[ \t\r]*"stream"[ \t\r]*:[ \t\r]*"([ !#-\[\]-~]*)"', text)
    kind = "depth" if snapshot else ""
    if stream:
        kind = STREAMS.get(stream[1].decode().partition("@")[2].split("@")[0], "")
        if not kind:
            return RefMessage("", "unknown_stream", {})
    return RefMessage(kind, "unparsable", {"snapshot": snapshot})


class RefCount:
    """Ids of one kind: which of them can be believed."""

    def __init__(self, step: int, per_ms: int) -> None:
        self.step, self.per_ms = step, per_ms
        self.last: tuple[int, int] | None = None
        self.suspect: tuple[int, int] | None = None

    def follows(self, number: int, ts_ns: int, before: tuple[int, int]) -> bool:
        """The time since then explains the distance."""
        return number - before[0] <= self.step + (ts_ns - before[1]) // 1_000_000 * self.per_ms

    def judge(self, number: int, ts_ns: int) -> str:
        """ "leaps", "goes on" or "anew"."""
        last, suspect = self.last, self.suspect
        self.suspect = None
        if last is None or (self.follows(number, ts_ns, last) and number >= last[0] - 100 * self.step):
            self.last = max(last or (-1, -1), (number, ts_ns), key=lambda seen: seen[0])
            return "goes on"
        if suspect and number > suspect[0] and self.follows(number, ts_ns, suspect):
            self.last = number, ts_ns
            return "anew"
        self.suspect = number, ts_ns
        return "leaps"


class RefInstrument:
    """One instrument's stream."""

    def __init__(self, index: int, listing: Listing) -> None:
        self.index, self.listing = index, listing
        self.records: list[Record] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.checks = [0, 0]
        self.levels = 0
        self.number = 0
        self.last_ns = 0
        self.last_trade = -1
        self.updates = RefCount(10_000_000, 10_000) if listing.futures else RefCount(100_000, 100)
        self.trades = RefCount(10_000, 100)
        self.quote_u = -1
        self.quote: tuple[int, ...] = ()
        self.quotes: dict[int, tuple[int, ...]] = {}
        self.book: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self.book_u = 0
        self.whole = self.fresh = False
        self.spike_bps, self.spike_at = 0, 0
        self.times = RefTimes()
        self.settlement, self.odd_settlement = 0, None
        self.pending: list[tuple[int, int, list[tuple[int, int, int]]]] = []

    # --- out ---
    def emit(self, kind: int, flags: int, ts_ns: int, lag: int, *words: int) -> None:
        """One record."""
        self.number += 1
        full = (*words, 0, 0, 0, 0)[:4]
        full = tuple(min(w, MOST_LOTS) if i in QUANTITIES.get(kind, ()) else w for i, w in enumerate(full))
        self.records.append(Record(ts_ns, lag, self.index, kind, flags, full, self.number))

    def stale(self, ts_ns: int) -> None:
        """The book is whole no more."""
        if self.whole:
            self.whole = False
            self.emit(STATUS, LAST, ts_ns, 0, 0, self.book_u)

    def best(self) -> tuple[int, int, int, int] | None:
        """Best bid and ask of the depth book, None while a side is empty."""
        bids, asks = self.book[1], self.book[-1]
        if not bids or not asks:
            return None
        return max(bids), bids[max(bids)], min(asks), asks[min(asks)]

    def compare(self, quote: tuple[int, ...]) -> bool:
        """Book against the venue's quote of the same update."""
        same = self.best() == quote
        self.checks[0] += 1
        self.checks[1] += same
        return same

    # --- in ---
    def take(self, line: Line, stray: bool) -> None:
        """One line."""
        if line.ts_ns == 0:
            self.counts["", "unparsable"] += 1
            return
        found = told(line.text, self.listing)
        reason = self.judge(line.ts_ns, found, stray)
        if reason != "waits":
            self.counts[found.kind, reason or "ok"] += 1

    def judge(self, ts_ns: int, found, stray: bool) -> str:
        """Reason of refusal, "" or "waits"."""
        reason, values = found.reason, found.values
        if reason in ("unknown_stream", "wrong_symbol"):
            return reason
        if ts_ns < self.last_ns or stray:
            reason, ts_ns = "time_back", self.last_ns
        if reason:
            if found.kind == "depth" and not values.get("snapshot"):
                self.stale(ts_ns)
            return reason
        self.last_ns = ts_ns
        lag, snapshot = 0, bool(values.get("snapshot"))
        sent_ms = values.get("E", 0) if values.get("E", 0) <= 9_000_000_000_000 else 0
        if not self.times.judge(found.kind, snapshot, sent_ms * 1_000_000, 0, ts_ns):
            if found.kind == "depth" and not snapshot:
                self.stale(ts_ns)
            return "venue_time"
        if sent_ms > 0:
            lag = max(-LAG_LIMIT_US, min(LAG_LIMIT_US, (values["E"] * 1_000_000 - ts_ns) // 1_000))
        if found.kind == "quote":
            return self.on_quote(values, ts_ns, lag)
        if found.kind == "trade":
            return self.on_trade(values, ts_ns, lag)
        if found.kind == "mark":
            if not self.may_settle(values.get("T", 0) * 1_000_000, sent_ms * 1_000_000 or ts_ns):
                return "venue_time"
            words = (values["p"], values.get("i", 0), values.get("r", 0), values.get("T", 0) * 1_000_000)
            self.emit(KINDS["mark"], LAST, ts_ns, lag, *words)
            return ""
        levels = [(1, *level) for level in values["b"]] + [(-1, *level) for level in values["a"]]
        if values.get("snapshot"):
            return self.on_snapshot(values["u"], levels, ts_ns, lag)
        first, last = values["U"], values["u"]
        before = values["pu"] if self.listing.futures else first - 1
        if first > last or before >= last:
            self.stale(ts_ns)
            return "out_of_order"
        if not self.believes(last, ts_ns):
            self.stale(ts_ns)
            return "id_leap"
        if not self.whole:
            if len(self.pending) == PENDING_MESSAGES:
                self.give_up()
            self.pending.append((before, last, levels))
            return "waits"
        return self.on_diff(before, last, levels, ts_ns, lag)

    def may_settle(self, next_ns: int, now_ns: int) -> bool:
        """The next funding is the one that was told, or comes after it once that is past, or is told a second time."""
        known, told = self.settlement, self.odd_settlement
        self.odd_settlement = None
        if next_ns in (known, told) or (known <= now_ns < next_ns and next_ns > known):
            self.settlement = next_ns
            return True
        self.odd_settlement = next_ns
        return False

    def believes(self, update: int, ts_ns: int) -> bool:
        """False if an update id leaps; where it starts anew, everything known by the ones before is old."""
        verdict = self.updates.judge(update, ts_ns)
        if verdict == "anew":
            self.stale(ts_ns)
            self.give_up()
            self.quote_u, self.quotes = -1, {}
        return verdict != "leaps"

    def is_spike(self, twice: int, other: int) -> bool:
        """Twice a price is far from another one."""
        return bool(self.spike_bps and other) and abs(twice - other) * 10_000 > other * self.spike_bps

    def on_quote(self, values: dict, ts_ns: int, lag: int) -> str:
        """Best quote."""
        update = values["u"]
        quote = (values["b"], values["B"], values["a"], values["A"])
        if not self.believes(update, ts_ns):
            return "id_leap"
        if update <= self.quote_u:
            return "duplicate" if update == self.quote_u else "out_of_order"
        if quote[0] >= quote[2]:
            return "crossed"
        twice, before = quote[0] + quote[2], self.spike_at
        far = bool(self.quote) and self.is_spike(twice, self.quote[0] + self.quote[2])
        self.spike_at = twice if far else 0
        if far and (not before or self.is_spike(twice, before)):
            return "spike"
        self.spike_at = 0
        self.quote_u, self.quote = update, quote
        self.quotes[update] = quote
        if self.whole and update == self.book_u and not self.compare(quote):
            self.stale(ts_ns)
        known = self.whole and update <= self.book_u
        self.emit(KINDS["quote"], LAST | (BOOK_NEWER if known else 0), ts_ns, lag, *quote)
        return ""

    def on_trade(self, values: dict, ts_ns: int, lag: int) -> str:
        """Trade."""
        if values.get("X", "MARKET") != "MARKET":
            return "non_market_trade"
        number = values["t"]
        verdict = self.trades.judge(number, ts_ns)
        if verdict == "leaps":
            return "id_leap"
        if verdict == "anew":
            self.last_trade = -1
        if number <= self.last_trade:
            return "duplicate" if number == self.last_trade else "out_of_order"
        if self.quote and self.is_spike(2 * values["p"], self.quote[0] + self.quote[2]):
            return "spike"
        self.last_trade = number
        self.emit(KINDS["trade"], LAST, ts_ns, lag, values["p"], values["q"], number, -1 if values["m"] else 1)
        return ""

    def on_diff(self, before: int, last: int, levels: list[tuple[int, int, int]], ts_ns: int, lag: int) -> str:
        """Depth diff on a whole book."""
        known = self.book_u
        if self.fresh and last <= known:
            return "before_snapshot"
        if last <= known:
            return "duplicate" if last == known else "out_of_order"
        if before > known or (before != known and not self.fresh):
            self.stale(ts_ns)
            return "gap"
        for side, price, lots in levels:
            self.book[side][price] = lots
            if not lots:
                del self.book[side][price]
        self.book_u, self.fresh = last, False
        best = self.best()
        if not best or best[0] >= best[2]:
            self.stale(ts_ns)
            return "book_crossed" if best else "zero"
        if last in self.quotes and not self.compare(self.quotes[last]):
            self.stale(ts_ns)
            return "unlike_quote"
        for place, (side, price, lots) in enumerate(levels):
            newer = QUOTE_NEWER if self.quote_u > last else 0
            flags = LAST | newer if place == len(levels) - 1 else 0
            self.emit(KINDS["depth"], flags, ts_ns, lag, price, lots, side, last)
        self.levels += len(levels)
        return ""

    def on_snapshot(self, update: int, levels: list[tuple[int, int, int]], ts_ns: int, lag: int) -> str:
        """The book begins anew."""
        if not self.believes(update, ts_ns):
            return "id_leap"
        if self.whole and update < self.book_u:
            return "out_of_order"
        bids = [price for side, price, lots in levels if side > 0 and lots]
        asks = [price for side, price, lots in levels if side < 0 and lots]
        if not bids or not asks:
            return "zero"
        if max(bids) >= min(asks):
            return "book_crossed"
        self.book = {1: {}, -1: {}}
        self.emit(STATUS, 0, ts_ns, lag, 2, update)
        for side, price, lots in levels:
            if lots:
                self.book[side][price] = lots
            else:
                self.book[side].pop(price, None)
            self.emit(KINDS["depth"], 0, ts_ns, lag, price, lots, side, update)
        self.levels += len(levels)
        self.book_u, self.whole, self.fresh = update, True, True
        if self.quote_u > update:
            self.emit(KINDS["quote"], 0, ts_ns, lag, *self.quote)
        self.emit(STATUS, LAST, ts_ns, lag, 1, update)
        waiting, self.pending = self.pending, []
        for before, last, diff in waiting:
            reason = self.on_diff(before, last, diff, ts_ns, 0) if self.whole else "no_snapshot"
            self.counts["depth", reason or "ok"] += 1
        return ""

    def give_up(self) -> None:
        """Diffs that waited in vain."""
        self.counts["depth", "no_snapshot"] += len(self.pending)
        self.pending = []


def ref_feed(
    texts: list[bytes], listings: list[Listing], spike_bps: int = 0, time_limit_ns: int = 0
) -> tuple[list[Record], list[RefInstrument]]:
    """All records in the order in which they are made, and the instruments with their counters."""
    instruments = [RefInstrument(index, listing) for index, listing in enumerate(listings)]
    for instrument in instruments:
        instrument.spike_bps = spike_bps
        instrument.times = RefTimes(time_limit_ns)
    queues = [lines_of(text) for text in texts]
    heads = [0] * len(texts)
    records: list[Record] = []
    while True:
        due = []
        for index, queue in enumerate(queues):
            if heads[index] < len(queue):
                line, last_ns = queue[heads[index]], instruments[index].last_ns
                rest = queue[heads[index] + 1 : heads[index] + 1 + WITNESSES]
                leap = line.ts_ns - last_ns > LEAP_NS and last_ns > 0
                stray = leap and any(0 < other.ts_ns < line.ts_ns for other in rest)
                due.append((last_ns if stray else max(line.ts_ns, last_ns), index, stray))
        if not due:
            break
        _, index, stray = min(due)
        instrument = instruments[index]
        made = len(instrument.records)
        instrument.take(queues[index][heads[index]], stray)
        heads[index] += 1
        records += instrument.records[made:]
    for instrument in instruments:
        instrument.give_up()
    return records, instruments
