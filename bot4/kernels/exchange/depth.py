"""What the book shows at one price, for those who publish its changes."""

import numpy as np

from bot4.jit import kernel
from bot4.kernels.exchange.state import TREE_ASK, TREE_BID
from bot4.kernels.exchange.tree import key_of, root_of, tree_find


@kernel
def shown_lots(memory, instrument, side, price_ticks):
    """Lots that everybody sees at a price, 0: none.

    Parameters
    ----------
    memory : Exchange
    instrument : int64, of those there are
    side : int64, +1 bids, -1 asks
    price_ticks : int64, 1 to the instrument's largest

    Notes
    -----
    Complexity: O(digits of the price), at most 5. Twin: the book's dictionary, tests/reference/kernels/exchange.py
    """
    market = memory.markets[instrument]
    tree = np.int64(TREE_BID if side > 0 else TREE_ASK)
    level = tree_find(memory, root_of(instrument, tree), market["digits"], key_of(market, tree, price_ticks))
    if level < 0:
        return np.int64(0)
    return memory.levels[level]["shown_lots"]
