"""Which scanner reads a connection's messages: the venue's number, and one door to all of them."""

import numpy as np

from bot4.jit import kernel
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
