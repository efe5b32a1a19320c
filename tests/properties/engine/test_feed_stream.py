"""Books whose snapshots come in the stream, against the slow twin and against the truth: whole and right, or stale."""

import random

import numpy as np
import pytest
from reference.engine.feed_stream import LEVEL, STATUS, Change, RefStreamBook, digits_sum
from rig.feed import TextSource, instruments_of
from rig.scan import SPOT

from bot4.engine.feed_memory import OUT_COUNT, feed_memory
from bot4.engine.feed_message import take_scanned
from bot4.kernels.scan.scanned import (
    ASKS,
    BIDS,
    CHECKSUM,
    IS_SNAPSHOT,
    KIND,
    LAST_ID,
    PREVIOUS_ID,
    RULE_CHECKSUM,
    RULE_CONNECTION,
    RULE_STREAM,
)  # fmt: skip
from bot4.model.enums import INPUT_REASONS, TICK_LEVEL
from bot4.shm.wires import private_wires

RULES = {"ids": RULE_STREAM, "sums": RULE_CHECKSUM, "numbered": RULE_CONNECTION}
LENGTH = 600


class Rig:
    """The compiled feed of one instrument, fed with scanned changes."""

    def __init__(self, rule: str, depth: int, scale: int = 1) -> None:
        self.wires = private_wires(1, 1)
        self.feed = feed_memory(instruments_of([SPOT]), [TextSource(b"")], 1)
        listing = self.feed.states[0]["listing"]
        listing["rule"], listing["depth"], listing["tick_units"], listing["lot_units"] = RULES[rule], depth, 1, 1
        listing["lot_scale"] = scale
        self.now_ns = 1_000

    def take(self, change: Change) -> tuple[str, list]:
        """Reason, and records made."""
        feed, message = self.feed, self.feed.message
        message[:] = 0
        message[KIND], message[IS_SNAPSHOT], message[CHECKSUM] = TICK_LEVEL, change.snapshot, change.checksum
        message[LAST_ID], message[PREVIOUS_ID] = change.update, change.update - 1
        for turn, side, word in ((0, 1, BIDS), (1, -1, ASKS)):
            own = [level for level in change.levels if level[0] == side]
            message[word] = len(own)
            for index, (_, price, lots) in enumerate(own):
                feed.prices[turn, index], feed.lots[turn, index] = price, lots
        self.now_ns += 1
        before = self.wires.refused[0, TICK_LEVEL].copy(), int(self.wires.messages[0, TICK_LEVEL])
        take_scanned(feed, self.wires, np.int64(0), np.int64(self.now_ns), np.int64(0), False)
        refused = np.flatnonzero(self.wires.refused[0, TICK_LEVEL] - before[0])
        assert len(refused) + int(self.wires.messages[0, TICK_LEVEL]) - before[1] == 1  # counted once
        out = feed.out[: feed.state[OUT_COUNT]]
        made = [
            (int(tick["kind"]), int(tick["flags"]), tuple(int(tick[word]) for word in ("w0", "w1", "w2", "w3")))
            for tick in out
        ]
        numbers = [int(tick["event_no"]) for tick in out]
        assert numbers == list(range(self.numbered() - len(numbers) + 1, self.numbered() + 1))
        feed.state[OUT_COUNT] = 0
        return (INPUT_REASONS[refused[0]] if len(refused) else ""), made

    def numbered(self) -> int:
        """The last number given."""
        return int(self.feed.states[0]["event_no"])


class Venue:
    """A market whose true book is known after every change; `depth` levels a side are told (0: all)."""

    def __init__(self, seed: int, rule: str, depth: int, most: int = 50) -> None:
        self.random, self.rule, self.depth, self.most = random.Random(seed), rule, depth, most
        self.sides = {1: {1_000 - i: 5 + i for i in range(30)}, -1: {1_001 + i: 5 + i for i in range(30)}}
        self.update = 100
        self.truth: dict[int, tuple] = {}

    def told(self) -> tuple[dict[int, int], dict[int, int]]:
        """The levels that a subscriber knows."""
        count = self.depth or 10**9
        bids, asks = sorted(self.sides[1].items(), reverse=True)[:count], sorted(self.sides[-1].items())[:count]
        return dict(bids), dict(asks)

    def _sum(self) -> int:
        return digits_sum(*self.told(), 1, 1) if self.rule == "sums" else -1

    def snapshot(self) -> Change:
        """The book as it is."""
        bids, asks = self.told()
        levels = [(1, *level) for level in bids.items()] + [(-1, *level) for level in asks.items()]
        self.truth[self.update] = self.told()
        return Change(True, levels, self.update, self._sum())

    def change(self) -> Change:
        """One change; what it does to the told levels, a level that leaves them unmentioned where there are sums."""
        before = self.told()
        for _ in range(self.random.randint(1, 4)):
            side = self.random.choice((1, -1))
            best = max(self.sides[1]) if side > 0 else min(self.sides[-1])
            other = min(self.sides[-1]) if side > 0 else max(self.sides[1])
            price = best - side * self.random.randint(-2, 14)
            if (price >= other) if side > 0 else (price <= other):
                continue
            if self.random.random() < 0.4 and len(self.sides[side]) > 12:
                self.sides[side].pop(price, None)
            else:
                self.sides[side][price] = self.random.randint(1, self.most)
        self.update += 1
        after = self.told()
        levels = []
        for side, old, new in ((1, before[0], after[0]), (-1, before[1], after[1])):
            gone = [(side, price, 0) for price in old if price not in new]
            if self.rule == "sums":  # pushed out of the depth: not told
                worst = (min(new) if side > 0 else max(new)) if len(new) == self.depth else None
                gone = [g for g in gone if worst is None or (g[1] > worst if side > 0 else g[1] < worst)]
            levels += gone + [(side, price, lots) for price, lots in new.items() if old.get(price) != lots]
        self.truth[self.update] = after
        return Change(False, levels, self.update, self._sum())


def damaged(changes: list[Change], source: random.Random, share: float) -> list[Change]:
    """Dropped, repeated, swapped, and with a level changed."""
    found = list(changes)
    for index in range(1, len(found) - 1):
        if source.random() < share:
            way = source.randrange(4)
            if way == 0:
                found[index] = None
            elif way == 1:
                found[index] = [found[index], found[index]]
            elif way == 2 and isinstance(found[index + 1], Change):
                found[index], found[index + 1] = found[index + 1], found[index]
            elif found[index].levels:
                side, price, lots = found[index].levels[0]
                altered = lots - 3 if lots > 10**17 else lots + 3
                found[index] = found[index]._replace(levels=[(side, price, altered), *found[index].levels[1:]])
    return [part for item in found if item for part in (item if isinstance(item, list) else [item])]


def in_lots(book: tuple[dict[int, int], dict[int, int]], twin: RefStreamBook) -> tuple[dict[int, int], ...]:
    """A book in the venue's steps as readers are told of it."""
    return tuple({price: twin.told(steps) for price, steps in side.items()} for side in book)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1])
@pytest.mark.parametrize(
    ("rule", "depth", "scale", "most"),
    [
        ("ids", 20, 1, 50),
        ("sums", 10, 1, 50),
        ("numbered", 0, 1, 50),
        ("sums", 10, 1, 10**18 - 1),  # cheap coins in the venue's own steps: more than readers can be told
        ("sums", 10, 10**4, 10**18 - 1),
        ("numbered", 0, 7, 50),
    ],
)
def test_every_record_is_the_twins_and_a_whole_book_is_true(rule, depth, scale, most, share, seed):
    venue, source = Venue(seed, rule, depth, most), random.Random(seed)
    rig, twin = Rig(rule, depth, scale), RefStreamBook(rule, depth, scale=scale)
    changes = [venue.snapshot(), *(venue.change() for _ in range(LENGTH))]
    if rule != "numbered":  # there the numbers of the connection tell what is missing, one floor up
        changes = damaged(changes, source, share)
    kept: dict[int, dict[int, int]] = {1: {}, -1: {}}
    whole, right, asked = False, 0, 0
    truths = {repr(in_lots(truth, twin)) for truth in venue.truth.values()}
    queue = list(changes)
    while queue:
        change = queue.pop(0)
        twin.out = []
        expected = twin.take(change)
        reason, made = rig.take(change)
        assert reason == expected and made == twin.out
        for kind, _, (w0, w1, w2, _) in made:
            if kind == STATUS:
                whole = w0 == 1
                kept = {1: {}, -1: {}} if w0 == 2 else kept
            elif kind == LEVEL:
                kept[w2].pop(w0, None)
                if w1:
                    kept[w2][w0] = w1
        assert whole == bool(rig.feed.states[0]["whole"])
        if whole:
            book = dict(sorted(kept[1].items(), reverse=True)), dict(sorted(kept[-1].items()))
            if rule == "ids":
                corrupt = book != in_lots(venue.truth[int(rig.feed.states[0]["book_u"])], twin)
                assert not corrupt or share  # ids cannot tell a level that was changed on the way: TLS does
            else:
                assert repr(book) in truths
            right += 1
        elif queue and source.random() < 0.2:  # asked for, a fresh book comes
            asked += 1
            later = Venue(seed, rule, depth, most)
            later.snapshot()
            count = changes.index(change)
            states = [later.change() for _ in range(max(0, change.update - 100))]
            assert count >= 0 and (not states or states[-1].update == change.update)
            fresh = later.snapshot()
            queue = [fresh, *[c for c in queue if c.update > fresh.update or c.snapshot]]
    assert right > LENGTH // 3 and (asked > 0 or share < 0.1 or rule == "numbered")


def test_an_old_id_makes_the_book_stale_since_the_snapshots_may_have_been_the_wrong_one():
    venue = Venue(1, "ids", 20)
    rig, twin = Rig("ids", 20), RefStreamBook("ids", 20)
    wrong = venue.snapshot()._replace(update=2**62)
    for change, reason, whole in ((wrong, "", 1), (venue.change(), "out_of_order", 0), (venue.snapshot(), "", 1)):
        twin.out = []
        found = rig.take(change)
        assert found == (twin.take(change), twin.out)
        assert (found[0], rig.feed.states[0]["whole"]) == (reason, whole)
