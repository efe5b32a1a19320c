"""The book against its twin: the same seeded commands, compared level by level."""

import numpy as np
import pytest
from reference.kernels.book import RefBook

from bot4.jit import JIT
from bot4.kernels.book import (
    BOOK,
    BOOK_LEVELS,
    book_apply_tick,
    book_best,
    book_depth,
    book_imbalance,
    book_level,
    book_set,
    effective_level,
    top_ask,
    top_ask_lots,
    top_bid,
    top_bid_lots,
)
from bot4.model.enums import (
    FLAG_BOOK_NEWER,
    FLAG_LAST,
    FLAG_QUOTE_NEWER,
    STATUS_CLEAR,
    STATUS_STALE,
    STATUS_WHOLE,
    TICK_LEVEL,
    TICK_QUOTE,
    TICK_STATUS,
    TICK_TRADE,
)
from bot4.model.records import TICK

COMMANDS = 100_000 if JIT else 3_000


def tick(kind, w0=0, w1=0, w2=0, w3=0, flags=FLAG_LAST, ts=5):
    """One TICK record."""
    record = np.zeros(1, TICK)
    record["kind"], record["flags"], record["ts_recv_ns"] = kind, flags, ts
    record["w0"], record["w1"], record["w2"], record["w3"] = w0, w1, w2, w3
    return record[0]


def assert_same(book, twin):
    for side in (1, -1):
        levels = twin.depth(side)
        assert book_depth(book, side) == len(levels)
        assert [book_level(book, side, i) for i in range(len(levels) + 1)] == [*levels, (0, 0)]
        assert book_best(book, side) == (levels[0][0] if levels else 0)
        effective = twin.effective(side)
        assert [effective_level(book, side, i) for i in range(len(effective) + 1)] == [*effective, (0, 0)]
    bids, asks = twin.effective(1), twin.effective(-1)
    assert (top_bid(book), top_bid_lots(book)) == (bids[0] if bids else (0, 0))
    assert (top_ask(book), top_ask_lots(book)) == (asks[0] if asks else (0, 0))
    for depth in (1, 5):
        assert book_imbalance(book, depth) == pytest.approx(twin.imbalance(depth), abs=1e-12)


def test_seeded_commands_equal_the_twin():
    random = np.random.default_rng(11)
    book, twin = np.zeros(1, BOOK)[0], RefBook(BOOK_LEVELS)
    sides = random.choice((-1, 1), COMMANDS)
    offsets = random.geometric(0.02, COMMANDS)
    lots = np.where(random.random(COMMANDS) < 0.45, 0, random.integers(1, 10**9, COMMANDS))
    kinds = random.random(COMMANDS)
    for step in range(COMMANDS):
        side = int(sides[step])
        if kinds[step] < 0.1:
            bid = 10_000 - int(offsets[step] % 40)
            quote = (bid, int(lots[step]) + 1, bid + 1 + int(offsets[step] % 3), int(offsets[step]))
            newer = kinds[step] < 0.08
            book_apply_tick(book, tick(TICK_QUOTE, *quote, flags=FLAG_LAST | (0 if newer else FLAG_BOOK_NEWER)))
            twin.quote, twin.newer = {1: quote[:2], -1: quote[2:]}, newer
        elif kinds[step] < 0.1001:
            book_apply_tick(book, tick(TICK_STATUS, STATUS_CLEAR))
            twin.clear()
        else:
            price = 10_000 - side * int(offsets[step])
            last, keeps = kinds[step] < 0.3, kinds[step] < 0.2
            flags = (FLAG_LAST if last else 0) | (FLAG_QUOTE_NEWER if keeps else 0)
            book_apply_tick(book, tick(TICK_LEVEL, price, int(lots[step]), side, flags=flags))
            twin.set(side, price, int(lots[step]))
            if last and not keeps:
                twin.newer = False
        if step % 97 == 0 or step > COMMANDS - 20:
            assert_same(book, twin)
    assert_same(book, twin)


@pytest.mark.parametrize("side", [1, -1])
def test_a_full_side_drops_its_deepest_level(side):
    book, twin = np.zeros(1, BOOK)[0], RefBook(BOOK_LEVELS)
    prices = np.random.default_rng(3).permutation(np.arange(1, BOOK_LEVELS + 41)) + 100
    for price in prices:
        book_set(book, side, int(price), 7)
        twin.set(side, int(price), 7)
    assert book["dropped"] == twin.dropped == 40
    assert_same(book, twin)


def test_status_and_foreign_kinds():
    book = np.zeros(1, BOOK)[0]
    book_apply_tick(book, tick(TICK_STATUS, STATUS_WHOLE))
    assert book["whole"] == 1
    book_apply_tick(book, tick(TICK_TRADE, 5, 5, 5, 1))
    assert book["whole"] == 1 and book_depth(book, 1) == 0
    book_apply_tick(book, tick(TICK_STATUS, STATUS_STALE))
    assert book["whole"] == 0


def test_removing_a_level_that_is_not_there_changes_nothing():
    book = np.zeros(1, BOOK)[0]
    book_set(book, 1, 100, 5)
    book_set(book, 1, 99, 0)
    assert book_level(book, 1, 0) == (100, 5) and book_depth(book, 1) == 1
