"""The order book of one instrument: price levels of both sides, with the last best quote laid over them.

Each side is a list of blocks of at most 64 sorted levels. One sorted array would move thousands of levels for a change
deep in the book, and depth streams change the whole of it; a hash map has no best price; a tree needs memory and misses
the cache at every node. Here a change searches the blocks' first prices and moves at most 63 levels; a block that is
full is split, an empty one given back. Both sides hold keys (bids +price, asks -price), so better is larger and the
best is the last.

The depth stream and the best-quote stream of a venue run apart: the depth levels stay exactly as the depth stream says,
and where the last quote is newer it decides the top (levels better than it are not there any more, the level at its
price has its quantity). Feed, shards and the simulated venue keep one book each.

Budget: 20 ns for a change near the best, 50 ns anywhere (`bot4-bench step`).
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.model.enums import (
    FLAG_BOOK_NEWER,
    FLAG_LAST,
    FLAG_QUOTE_NEWER,
    OK,
    STATUS_CLEAR,
    STATUS_WHOLE,
    TICK_LEVEL,
    TICK_QUOTE,
    TICK_STATUS,
)

BOOK_LEVELS = 4_096  # per side; a snapshot has 1,000 to 5,000, and what lies deeper is never reached by an order
BLOCK = 64  # levels a block holds: half of them are moved by a change, 256 bytes
HALF = BLOCK // 2
PACKED = 48  # levels of a block after packing: room to grow, and to hold BOOK_LEVELS in half the blocks
BLOCKS = 192

BOOK = np.dtype(
    [
        ("whole", "i8"),  # 1 while every change since the snapshot is in
        ("dropped", "i8"),  # levels that found a side full: the deepest one had to go
        ("quote_bid", "i8"),
        ("quote_bid_lots", "i8"),
        ("quote_ask", "i8"),
        ("quote_ask_lots", "i8"),
        ("quote_newer", "i8"),  # 1: the last quote is newer than the last depth message
        ("quote_ts_ns", "i8"),
        ("count", "i8", (2,)),  # levels of a side: 0 bids, 1 asks
        ("blocks", "i8", (2,)),  # blocks in use
        ("taken", "i8", (2,)),  # blocks ever taken: the next fresh one
        ("spare", "i8", (2,)),  # blocks given back
        ("order", "i8", (2, BLOCKS)),  # blocks from the deepest to the best
        ("fill", "i8", (2, BLOCKS)),  # levels in each block
        ("spares", "i8", (2, BLOCKS)),  # stack of blocks given back
        ("keys", "i8", (2, BLOCKS * BLOCK)),
        ("lots", "i8", (2, BLOCKS * BLOCK)),
        ("scratch", "i8", (2, BOOK_LEVELS)),
    ]
)


@kernel
def book_clear(book):
    """Forget all levels and the quote; the book is not whole until a status says so."""
    for row in range(2):
        book["count"][row] = 0
        book["blocks"][row] = 0
        book["taken"][row] = 0
        book["spare"][row] = 0
    book["whole"] = 0
    book["quote_newer"] = 0
    book["quote_bid"] = 0
    book["quote_bid_lots"] = 0
    book["quote_ask"] = 0
    book["quote_ask_lots"] = 0


@inlined
def book_depth(book, side):
    """Levels of a side (+1 bids, -1 asks) in the depth book."""
    return book["count"][0] if side > 0 else book["count"][1]


@kernel
def _take_block(book, row, at):
    """Put an empty block into the order at position `at`; returns it, or -1 if all are in use."""
    spare = book["spare"][row]
    if spare > 0:
        block = book["spares"][row, spare - 1]
        book["spare"][row] = spare - 1
    elif book["taken"][row] < BLOCKS:
        block = book["taken"][row]
        book["taken"][row] = block + 1
    else:
        return np.int64(-1)
    order = book["order"][row]
    blocks = book["blocks"][row]
    for index in range(blocks, at, -1):
        order[index] = order[index - 1]
    order[at] = block
    book["blocks"][row] = blocks + 1
    book["fill"][row, block] = 0
    return block


@kernel
def _pack(book, row):
    """Spread the levels of a side evenly over as few blocks as leaves room to grow: when too many are half empty."""
    order = book["order"][row]
    keys = book["keys"][row]
    lots = book["lots"][row]
    count = np.int64(0)
    for index in range(book["blocks"][row]):
        block = order[index]
        for slot in range(block * BLOCK, block * BLOCK + book["fill"][row, block]):
            book["scratch"][0, count] = keys[slot]
            book["scratch"][1, count] = lots[slot]
            count += 1
    book["blocks"][row] = 0
    book["taken"][row] = 0
    book["spare"][row] = 0
    done = np.int64(0)
    while done < count:
        block = _take_block(book, row, book["blocks"][row])
        size = min(np.int64(PACKED), count - done)
        for index in range(size):
            keys[block * BLOCK + index] = book["scratch"][0, done + index]
            lots[block * BLOCK + index] = book["scratch"][1, done + index]
        book["fill"][row, block] = size
        done += size


@inlined
def _position_of(book, row, key):
    """Position (in the order) of the block where `key` is or belongs: the last whose first key is not above it."""
    order = book["order"][row]
    keys = book["keys"][row]
    low = np.int64(0)
    high = book["blocks"][row] - 1
    while low < high:
        middle = (low + high + 1) >> 1
        if keys[order[middle] * BLOCK] <= key:
            low = middle
        else:
            high = middle - 1
    return low


@inlined
def _slot_of(keys, base, fill, key):
    """First index of a block, from 0 to fill, whose key is not below `key`."""
    low = np.int64(0)
    high = fill
    while low < high:
        middle = (low + high) >> 1
        if keys[base + middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _remove(book, row, at, index):
    """Take the level `index` out of the block at position `at`."""
    order = book["order"][row]
    block = order[at]
    base = block * BLOCK
    keys = book["keys"][row]
    lots = book["lots"][row]
    fill = book["fill"][row, block] - 1
    for slot in range(base + index, base + fill):
        keys[slot] = keys[slot + 1]
        lots[slot] = lots[slot + 1]
    book["fill"][row, block] = fill
    book["count"][row] -= 1
    if fill == 0:
        blocks = book["blocks"][row] - 1
        for position in range(at, blocks):
            order[position] = order[position + 1]
        book["blocks"][row] = blocks
        book["spares"][row, book["spare"][row]] = block
        book["spare"][row] += 1


@kernel
def _split(book, row, at):
    """Move the better half of a full block into a new one behind it; False if there is no block left."""
    block = book["order"][row, at]
    fresh = _take_block(book, row, at + 1)
    if fresh < 0:
        return False
    keys = book["keys"][row]
    lots = book["lots"][row]
    for index in range(HALF):
        keys[fresh * BLOCK + index] = keys[block * BLOCK + HALF + index]
        lots[fresh * BLOCK + index] = lots[block * BLOCK + HALF + index]
    book["fill"][row, block] = HALF
    book["fill"][row, fresh] = HALF
    return True


@kernel
def _insert(book, row, key, qty_lots):
    """Add a level that is not there; the side has room for it."""
    if book["blocks"][row] == 0:
        _take_block(book, row, np.int64(0))
    at = _position_of(book, row, key)
    if book["fill"][row, book["order"][row, at]] == BLOCK:
        if not _split(book, row, at):
            _pack(book, row)
        at = _position_of(book, row, key)
    block = book["order"][row, at]
    base = block * BLOCK
    keys = book["keys"][row]
    lots = book["lots"][row]
    fill = book["fill"][row, block]
    index = _slot_of(keys, base, fill, key)
    for slot in range(base + fill, base + index, -1):
        keys[slot] = keys[slot - 1]
        lots[slot] = lots[slot - 1]
    keys[base + index] = key
    lots[base + index] = qty_lots
    book["fill"][row, block] = fill + 1
    book["count"][row] += 1


@kernel
def book_set(book, side, price_ticks, qty_lots):
    """Set one level of the depth book; a quantity of 0 removes it, removing what is not there is no error.

    Parameters
    ----------
    book : BOOK record, changed
    side : +1 bid, -1 ask
    price_ticks : int64 > 0
    qty_lots : int64 >= 0

    Returns
    -------
    OK

    Notes
    -----
    Complexity: O(log n) to find, at most 63 levels to move. Memory: none; a side out of blocks is packed, O(n), which
    takes at least 4,000 changes to come about.
    Invariant: prices strictly sorted, best last; a full side drops its deepest level and counts it.
    Twin: tests/reference/kernels/book.py
    """
    row = 0 if side > 0 else 1
    key = side * price_ticks
    if book["count"][row] > 0:
        at = _position_of(book, row, key)
        block = book["order"][row, at]
        base = block * BLOCK
        fill = book["fill"][row, block]
        index = _slot_of(book["keys"][row], base, fill, key)
        if index < fill and book["keys"][row, base + index] == key:
            if qty_lots > 0:
                book["lots"][row, base + index] = qty_lots
            else:
                _remove(book, row, at, index)
            return OK
    if qty_lots <= 0:
        return OK
    if book["count"][row] == BOOK_LEVELS:
        book["dropped"] += 1
        if key < book["keys"][row, book["order"][row, 0] * BLOCK]:
            return OK  # deeper than the deepest we hold
        _remove(book, row, np.int64(0), np.int64(0))
    _insert(book, row, key, qty_lots)
    return OK


@kernel
def book_level(book, side, i):
    """(price_ticks, qty_lots) of the i-th best level of the depth book; (0, 0) beyond the end."""
    row = 0 if side > 0 else 1
    if i < 0 or i >= book["count"][row]:
        return np.int64(0), np.int64(0)
    at = book["blocks"][row] - 1
    block = book["order"][row, at]
    fill = book["fill"][row, block]
    while i >= fill:
        i -= fill
        at -= 1
        block = book["order"][row, at]
        fill = book["fill"][row, block]
    slot = block * BLOCK + fill - 1 - i
    return side * book["keys"][row, slot], book["lots"][row, slot]


@inlined
def book_best(book, side):
    """Best price of the depth book, 0 if the side is empty."""
    price, _ = book_level(book, side, 0)
    return price


@kernel
def _levels_beyond_quote(book, side):
    """How many levels of the depth book are at or better than the quote's price: the quote stands for all of them."""
    quote = book["quote_bid"] if side > 0 else book["quote_ask"]
    count = book_depth(book, side)
    skipped = np.int64(0)
    while skipped < count:
        price, _ = book_level(book, side, skipped)
        if side * (price - quote) < 0:
            break
        skipped += 1
    return skipped


@kernel
def effective_level(book, side, i):
    """(price_ticks, qty_lots) of the i-th best level as the market stands: the quote on top where it is newer.

    Notes
    -----
    Complexity: O(levels better than the quote), few. Returns (0, 0) beyond the end.
    Twin: tests/reference/kernels/book.py
    """
    if book["quote_newer"] == 0:
        return book_level(book, side, i)
    if i == 0:
        if side > 0:
            return book["quote_bid"], book["quote_bid_lots"]
        return book["quote_ask"], book["quote_ask_lots"]
    return book_level(book, side, _levels_beyond_quote(book, side) + i - 1)


@inlined
def top_bid(book):
    """Effective best bid, 0 if there is none."""
    return book["quote_bid"] if book["quote_newer"] != 0 else book_best(book, 1)


@inlined
def top_ask(book):
    """Effective best ask, 0 if there is none."""
    return book["quote_ask"] if book["quote_newer"] != 0 else book_best(book, -1)


@inlined
def top_bid_lots(book):
    """Quantity at the effective best bid."""
    if book["quote_newer"] != 0:
        return book["quote_bid_lots"]
    _, lots = book_level(book, 1, 0)
    return lots


@inlined
def top_ask_lots(book):
    """Quantity at the effective best ask."""
    if book["quote_newer"] != 0:
        return book["quote_ask_lots"]
    _, lots = book_level(book, -1, 0)
    return lots


@kernel
def book_apply_tick(book, tick):
    """Apply one LEVEL, QUOTE or STATUS record; other kinds leave the book as it is.

    Parameters
    ----------
    book : BOOK record, changed
    tick : TICK record
    """
    kind = np.int64(tick["kind"])
    flags = np.int64(tick["flags"])
    if kind == TICK_LEVEL:
        book_set(book, tick["w2"], tick["w0"], tick["w1"])
        if flags & FLAG_LAST and not flags & FLAG_QUOTE_NEWER:
            book["quote_newer"] = 0
    elif kind == TICK_QUOTE:
        book["quote_bid"] = tick["w0"]
        book["quote_bid_lots"] = tick["w1"]
        book["quote_ask"] = tick["w2"]
        book["quote_ask_lots"] = tick["w3"]
        book["quote_ts_ns"] = tick["ts_recv_ns"]
        book["quote_newer"] = 0 if flags & FLAG_BOOK_NEWER else 1
    elif kind == TICK_STATUS:
        if tick["w0"] == STATUS_CLEAR:
            book_clear(book)
        else:
            book["whole"] = 1 if tick["w0"] == STATUS_WHOLE else 0


@kernel
def book_imbalance(book, depth):
    """(bid lots - ask lots) / (bid lots + ask lots) over the best `depth` effective levels of each side.

    Parameters
    ----------
    book : BOOK record
    depth : int64 >= 1

    Returns
    -------
    float64 in [-1, 1]; 0 for an empty book

    Notes
    -----
    Complexity: O(depth). Twin: tests/reference/kernels/book.py
    """
    bids = np.int64(0)
    asks = np.int64(0)
    skip_bids = np.int64(0)
    skip_asks = np.int64(0)
    first = np.int64(0)
    if book["quote_newer"] != 0:
        bids = book["quote_bid_lots"]
        asks = book["quote_ask_lots"]
        skip_bids = _levels_beyond_quote(book, 1)
        skip_asks = _levels_beyond_quote(book, -1)
        first = np.int64(1)
    for i in range(first, depth):
        _, lots = book_level(book, 1, skip_bids + i - first)
        bids += lots
        _, lots = book_level(book, -1, skip_asks + i - first)
        asks += lots
    total = bids + asks
    if total <= 0:
        return 0.0
    return (bids - asks) / total
