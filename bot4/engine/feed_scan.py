"""Which scanner reads a connection's messages: the venue's number, and one door to all of them.

Scanners are the dearest kernels to compile, so a session's door leads to those of its venues alone: `load_step` of
engine/live makes it out of this one, with nothing behind the others.
"""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.scan.binance import scan_binance
from bot4.kernels.scan.bybit import scan_bybit
from bot4.kernels.scan.coinbase import scan_coinbase
from bot4.kernels.scan.kraken import scan_kraken
from bot4.model.enums import INPUT_UNKNOWN_STREAM

BINANCE, BYBIT, KRAKEN, COINBASE = range(4)

SCANNERS = {
    "binance_spot": BINANCE,
    "binance_usdm": BINANCE,
    "bybit_spot": BYBIT,
    "bybit_linear": BYBIT,
    "kraken": KRAKEN,
    "coinbase": COINBASE,
}


@kernel
def scan_nothing(text, at, end, directory, listings, scanned):
    """In place of a scanner that no venue of the session needs: what comes all the same is the typed decoder's.

    Notes
    -----
    Complexity: O(1). Twin: none, a constant
    """
    return np.int64(INPUT_UNKNOWN_STREAM)


@inlined
def scan_any(scanner, text, at, end, directory, listings, scanned):
    """Read one message of the venue whose scanner that is; arguments and result as of each of them.

    Notes
    -----
    Complexity: O(length). Twin: the venues' typed decoders
    """
    if scanner == BINANCE:
        return scan_binance(text, at, end, directory, listings, scanned)
    if scanner == BYBIT:
        return scan_bybit(text, at, end, directory, listings, scanned)
    if scanner == KRAKEN:
        return scan_kraken(text, at, end, directory, listings, scanned)
    if scanner == COINBASE:
        return scan_coinbase(text, at, end, directory, listings, scanned)
    return np.int64(INPUT_UNKNOWN_STREAM)
