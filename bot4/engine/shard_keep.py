"""What a shard leaves for its next life: indicators and strategy of each instrument, as of its last record.

A shard that is killed would otherwise begin with empty indicators and open nothing until they are warm again. So after
each record, before the record is taken from the ring, a row of memory that outlives the process gets a copy: two copies
in turn, and one word that names the valid one together with the record it belongs to. A kill at any instruction leaves
the copy before or the copy after. Books and orders are not kept: feed and execution tell them anew. A position that
execution tells otherwise than it was kept shows that the strategy has missed a fill; then it begins anew too.

    word 0    (next event_no + 1) * 2 + the valid copy; 0: nothing has been kept
    word 1    event time of the last record
    word 8    copy 0: SHARD_STATE, VIEW, the strategy's STATE, how many reports had been taken; then copy 1

Stands between step and ring. Budget: 30 ns for the built-in strategy, off the path of the order.
Twin: tests/reference/engine/shard.py
"""

from typing import TYPE_CHECKING

import numpy as np

from bot4.atomics import store_release
from bot4.jit import inlined

if TYPE_CHECKING:
    from bot4.engine.shard_loop import ShardMemory

NUMBER, TIME = 0, 1
COPIES = 8  # a line of its own for the words above
LINE_WORDS = 8
_OF_THE_ORDER = (
    "order_active", "pause_until_ns", "entry_ns", "cancel_sent_ns", "order_hi", "order_lo", "order_leg", "order_side",
    "order_leaves", "order_sent_ns",
)  # fmt: skip


def kept_words(*dtypes: np.dtype) -> int:
    """Words of a row for these records of one instrument."""
    words = sum(dtype.itemsize for dtype in dtypes) // 8 + 1
    return COPIES + 2 * (-(-words // LINE_WORDS) * LINE_WORDS)


@inlined
def _put(kept, i, at, words):
    for word in range(words.shape[1]):
        kept[i, at + word] = words[i, word]
    return at + words.shape[1]


@inlined
def keep(kept, i, state, state_words, view_words, strategy_words, told):
    """Keep all of instrument `i`.

    Parameters
    ----------
    kept : int64[n_instruments, words], changed
    i : int64
    state : SHARD_STATE of the instrument
    state_words, view_words, strategy_words : int64[n_instruments, words]
    told : int64, reports taken so far, the one in hand included

    Notes
    -----
    Complexity: O(words of the strategy's state). Invariant: at every instruction one whole copy is valid.
    """
    copy = 1 - (kept[i, NUMBER] & 1)
    at = COPIES + copy * ((kept.shape[1] - COPIES) // 2)
    at = _put(kept, i, at, state_words)
    at = _put(kept, i, at, view_words)
    at = _put(kept, i, at, strategy_words)
    kept[i, at] = told
    kept[i, TIME] = state["last_ts_ns"]
    # SYNC POINT: whoever reads this word after our death finds the copy that it names complete.
    store_release(kept[i], NUMBER, ((state["next_event_no"] + 1) << 1) | copy)


@inlined
def keep_number(kept, i, state):
    """A record within a message has moved only the book: its number and time are all there is to keep."""
    kept[i, TIME] = state["last_ts_ns"]
    store_release(kept[i], NUMBER, ((state["next_event_no"] + 1) << 1) | (kept[i, NUMBER] & 1))


def restore(memory: "ShardMemory", i: int) -> int:
    """Go on from what an earlier life kept of instrument `i`.

    Returns
    -------
    how many reports that life had taken; -1 if it kept nothing
    """
    row = memory.kept[i]
    number = int(row[NUMBER])
    if number == 0:
        return -1
    at = COPIES + (number & 1) * ((len(row) - COPIES) // 2)
    for words in (memory.state_words, memory.view_words, memory.strategy_words):
        words[i] = row[at : at + words.shape[1]]
        at += words.shape[1]
    state = memory.states[i]
    state["next_event_no"], state["last_ts_ns"], state["blind"] = (number >> 1) - 1, row[TIME], 1
    for name in _OF_THE_ORDER:
        state[name] = 0
    memory.risks[i]["position_lots"] = memory.views[i]["position_lots"]
    return int(row[at])
