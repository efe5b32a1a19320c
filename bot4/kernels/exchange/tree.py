"""Which prices have orders: a radix tree over ticks, 64 children a node, a bit for each child that is there.

A sorted array moves half of itself for a new level, a balanced tree turns and misses the cache at each comparison, a
table of all prices is a gigabyte of nothing for a price in cents. Here a price is two to five digits of six bits; a
digit is a bit to test and a row to load, the next price a count of trailing zeros. Nothing is moved or balanced, so the
worst case is the depth, whatever the market does. The upper nodes are few and stay in the nearest cache.

Keys ascend from the best: of bids and of falling triggers they are the price mirrored.
Budget: a part of the 200 ns of a command, see step.py.
"""

import numpy as np

from bot4.bits import lowest_bit
from bot4.jit import inlined, kernel
from bot4.kernels.exchange.state import DIGIT_BITS, N_TREES, TREE_ASK, TREE_RISING

_MASK = 2**DIGIT_BITS - 1
_ONE = np.int64(1)
_ABOVE = np.int64(-2)


@inlined
def key_of(market, tree, price_ticks):
    """Key of a price in one of a market's trees: the better, the smaller."""
    if tree == TREE_ASK or tree == TREE_RISING:
        return price_ticks
    return market["top_key"] - price_ticks


@inlined
def root_of(instrument, tree):
    """Node where a tree begins."""
    return np.int64(instrument) * N_TREES + tree


@inlined
def _has(bits, slot):
    return (bits >> slot) & 1 != 0


@kernel
def tree_find(memory, root, digits, key):
    """Level at a key, -1: none.

    Parameters
    ----------
    memory : EXCHANGE record
    root : int64, node
    digits : int64, depth of the tree
    key : int64, 0 <= key < 64**digits

    Notes
    -----
    Complexity: O(digits), at most 5. Twin: a sorted list, tests/reference/kernels/exchange.py
    """
    node = np.int64(root)
    shift = DIGIT_BITS * (digits - 1)
    while shift > 0:
        slot = (key >> shift) & _MASK
        if not _has(memory["node_bits"][node], slot):
            return np.int64(-1)
        node = np.int64(memory["node_child"][node, slot])
        shift -= DIGIT_BITS
    slot = key & _MASK
    if not _has(memory["node_bits"][node], slot):
        return np.int64(-1)
    return np.int64(memory["node_child"][node, slot])


@kernel
def _take_node(memory):
    """An empty node. There are as many as all levels can need."""
    desk = memory["desk"]
    node = desk["free_node"]
    if node >= 0:
        desk["free_node"] = np.int64(memory["node_child"][node, 0])
    else:
        node = desk["fresh_node"]
        desk["fresh_node"] = node + 1
    memory["node_bits"][node] = 0
    return node


@kernel
def tree_add(memory, root, digits, key, level):
    """Put a level at a key where there is none."""
    node = np.int64(root)
    shift = DIGIT_BITS * (digits - 1)
    while shift > 0:
        slot = (key >> shift) & _MASK
        if not _has(memory["node_bits"][node], slot):
            child = _take_node(memory)
            memory["node_bits"][node] |= _ONE << slot
            memory["node_child"][node, slot] = child
        node = np.int64(memory["node_child"][node, slot])
        shift -= DIGIT_BITS
    slot = key & _MASK
    memory["node_bits"][node] |= _ONE << slot
    memory["node_child"][node, slot] = level


@kernel
def tree_remove(memory, root, digits, key):
    """Take away the level at a key, with the nodes that held nothing else."""
    node = np.int64(root)
    shift = DIGIT_BITS * (digits - 1)
    cut = node
    cut_shift = shift
    while shift > 0:
        node = np.int64(memory["node_child"][node, (key >> shift) & _MASK])
        shift -= DIGIT_BITS
        if memory["node_bits"][node] != _ONE << ((key >> shift) & _MASK):
            cut = node  # holds something else too: it stays
            cut_shift = shift
    slot = (key >> cut_shift) & _MASK
    memory["node_bits"][cut] &= ~(_ONE << slot)
    node = np.int64(memory["node_child"][cut, slot])
    desk = memory["desk"]
    while cut_shift > 0:
        cut_shift -= DIGIT_BITS
        below = np.int64(memory["node_child"][node, (key >> cut_shift) & _MASK])
        memory["node_bits"][node] = 0
        memory["node_child"][node, 0] = desk["free_node"]
        desk["free_node"] = node
        node = below


@kernel
def _lowest_below(memory, node, shift):
    """Level with the smallest key under a node that is not empty."""
    while shift > 0:
        node = np.int64(memory["node_child"][node, lowest_bit(memory["node_bits"][node])])
        shift -= DIGIT_BITS
    return np.int64(memory["node_child"][node, lowest_bit(memory["node_bits"][node])])


@kernel
def tree_first(memory, root, digits):
    """Level with the smallest key, -1: the tree is empty."""
    if memory["node_bits"][root] == 0:
        return np.int64(-1)
    return _lowest_below(memory, np.int64(root), DIGIT_BITS * (digits - 1))


@kernel
def tree_after(memory, root, digits, key):
    """Level with the smallest key above `key`, -1: none."""
    node = np.int64(root)
    shift = DIGIT_BITS * (digits - 1)
    fork = np.int64(-1)
    fork_slot = np.int64(0)
    fork_shift = np.int64(0)
    while True:
        slot = (key >> shift) & _MASK
        bits = memory["node_bits"][node]
        above = bits & (_ABOVE << slot)
        if above != 0:
            fork = node
            fork_slot = np.int64(lowest_bit(above))
            fork_shift = np.int64(shift)
        if shift == 0 or not _has(bits, slot):
            break
        node = np.int64(memory["node_child"][node, slot])
        shift -= DIGIT_BITS
    if fork < 0:
        return np.int64(-1)
    child = np.int64(memory["node_child"][fork, fork_slot])
    if fork_shift == 0:
        return child
    return _lowest_below(memory, child, fork_shift - DIGIT_BITS)
