"""The synthetic market as sources of the feed: the embedded default when no recording is given.

Each symbol is a market of its own out of random orders (`kernels/order_flow`), as the text of a spot venue. It is made
up, and says so: `synthetic` is True, and whoever shows results of it has to label them. Same seed, symbol and sizes:
same bytes.
"""

import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from bot4.kernels.order_flow import (
    FLOW,
    LINE_BOUND,
    N_PARTS,
    NEAR,
    ONE,
    PART_ASK,
    PART_ASK_LOTS,
    PART_ASKS,
    PART_BID_LOTS,
    PART_BIDS,
    PART_BUYER_MAKER,
    PART_BYTES,
    PART_DEPTH,
    PART_DEPTH_END,
    PART_FIRST_ID,
    PART_LAST_ID,
    PART_LEVEL,
    PART_LEVEL_END,
    PART_LEVEL_LOTS,
    PART_LOTS,
    PART_PRICE,
    PART_QUOTE,
    PART_QUOTE_BID,
    PART_QUOTE_END,
    PART_SELLER_MAKER,
    PART_SNAPSHOT,
    PART_SNAPSHOT_ASKS,
    PART_SNAPSHOT_BIDS,
    PART_SNAPSHOT_END,
    PART_TRADE,
    PART_TRADE_ID,
    PART_TRADE_TIME,
    SLOTS,
    TABLE,
    Flow,
    flow_fill,
)
from bot4.model.errors import InputError
from bot4.model.units import E8

VENUE = "synthetic"
EPOCH_NS = 1_704_067_200_000_000_000  # 2024-01-01T00:00:00Z: a fixed start, so that nothing depends on the day
DEFAULT_SECONDS = 600
MAX_SECONDS = 30 * 86_400
START_PRICES = {"SYNBTC": "60000", "SYNETH": "3000", "SYNSOL": "150"}
OTHER_PRICE = "100"
STEP_RATIO = Decimal("0.00002")  # grid of the book, as a share of the price
NEAR_RATIO = Decimal("0.0012")  # how far from the best price orders arrive, as a share of the price
ORDER_VALUE = 3_000  # mean value of an order, quote currency
TARGET_ORDERS = 150  # mean orders in the book near which cancels balance arrivals
WAIT_NS = 8_000_000  # mean time between events of one symbol
REGIME_NS = 30_000_000_000  # mean length of a trend
BUFFER = LINE_BOUND * 4
_WORD = 2**64


class SyntheticSource:
    """One symbol's market, read as text."""

    synthetic = True
    venue = VENUE
    paths: tuple[()] = ()
    first_ns = EPOCH_NS

    def __init__(self, symbol: str, instrument: np.void, seed: int, seconds: int = DEFAULT_SECONDS) -> None:
        """A market of `seconds` of event time.

        Parameters
        ----------
        symbol : upper case; SYNBTC, SYNETH and SYNSOL have prices of their own, any other starts at 100
        instrument : INSTRUMENT record, whose tick and lot size the orders keep
        seed : whole number >= 0
        seconds : length, 1 to MAX_SECONDS
        """
        if not 1 <= seconds <= MAX_SECONDS:
            raise InputError(f"synthetic market: {seconds} seconds; write 1 to {MAX_SECONDS}")
        if seed < 0:
            raise InputError(f"synthetic market: seed {seed} is negative; write a whole number from 0")
        self.symbol = symbol
        self._flow = _flow(symbol, instrument, seed, seconds)
        self._text = np.zeros(BUFFER, np.uint8)
        self._at = 0
        self._end = 0

    def read_into(self, buffer: np.ndarray) -> int:
        """Fill a uint8 array as far as the market goes; the number of bytes, 0 at the end."""
        filled = 0
        while filled < buffer.size:
            if self._at == self._end:
                self._at, self._end = 0, int(flow_fill(self._flow, self._text))
                if self._end == 0:
                    break
            size = min(self._end - self._at, buffer.size - filled)
            buffer[filled : filled + size] = self._text[self._at : self._at + size]
            self._at += size
            filled += size
        return filled

    def close(self) -> None:
        """Nothing to let go of."""


def synthetic_sources(
    symbols: Sequence[str], instruments: np.ndarray, seed: int, seconds: int = DEFAULT_SECONDS
) -> list[SyntheticSource]:
    """One market a symbol, all from one seed; `instruments` is INSTRUMENT[len(symbols)] in the same order."""
    return [
        SyntheticSource(symbol, instrument, seed, seconds)
        for symbol, instrument in zip(symbols, instruments, strict=True)
    ]


def _flow(symbol: str, instrument: np.void, seed: int, seconds: int) -> Flow:
    state = np.zeros(1, FLOW)
    row = state[0]
    tick_e8, lot_e8 = int(instrument["tick_e8"]), int(instrument["lot_e8"])
    price = Decimal(START_PRICES.get(symbol, OTHER_PRICE))
    price_ticks = int(price * E8 / tick_e8)
    step_ticks = max(1, int(price_ticks * STEP_RATIO))
    mean_lots = max(1, int(ORDER_VALUE / price * E8 / lot_e8))
    row["random"] = _start_word(seed, symbol)
    row["now_ns"] = EPOCH_NS
    row["end_ns"] = EPOCH_NS + seconds * 1_000_000_000
    row["start_level"] = max(price_ticks // step_ticks, SLOTS)
    row["bid"] = row["start_level"] - 1
    row["ask"] = row["start_level"] + 1
    row["low"] = row["bid"]
    row["high"] = row["ask"]
    row["mean_lots"] = mean_lots
    row["target_lots"] = mean_lots * TARGET_ORDERS
    row["near"] = min(NEAR, max(10, int(price_ticks * NEAR_RATIO / step_ticks)))
    row["wait_ns"] = WAIT_NS
    row["regime_ns"] = REGIME_NS
    row["step_ticks"] = step_ticks
    row["tick_e8"] = tick_e8
    row["lot_e8"] = lot_e8
    row["update_id"] = 1_000
    row["trade_id"] = 100
    parts, sizes = _parts(symbol)
    return Flow(
        state=state,
        lots=np.zeros(SLOTS, np.int64),
        shown=np.zeros(SLOTS, np.int64),
        marked=np.zeros(SLOTS, np.int64),
        levels=np.zeros(SLOTS, np.int64),
        exponential=_exponential_table(),
        parts=parts,
        part_sizes=sizes,
    )


def _start_word(seed: int, symbol: str) -> int:
    """A state word far from 0, different for each seed and symbol. Source: Steele et al., splitmix64 (2014)."""
    word = seed % _WORD
    for byte in b"\0" + symbol.encode():
        word = (word + byte + 0x9E37_79B9_7F4A_7C15) % _WORD
        word = ((word ^ (word >> 30)) * 0xBF58_476D_1CE4_E5B9) % _WORD
        word = ((word ^ (word >> 27)) * 0x94D0_49BB_1331_11EB) % _WORD
        word ^= word >> 31
    word = word or 1
    return word - _WORD if word >= _WORD // 2 else word


def _exponential_table() -> np.ndarray:
    """Quantiles at the middles of TABLE equal parts, rounded, so that no machine's logarithm shows."""
    return np.array([round(-math.log((index + 0.5) / TABLE) * ONE) for index in range(TABLE)], np.int64)


def _parts(symbol: str) -> tuple[np.ndarray, np.ndarray]:
    lower = symbol.lower()
    texts = {
        PART_QUOTE: f' {{"stream":"{lower}@bookTicker","data":{{"u":',
        PART_QUOTE_BID: f',"s":"{symbol}","b":"',
        PART_BID_LOTS: '","B":"',
        PART_ASK: '","a":"',
        PART_ASK_LOTS: '","A":"',
        PART_QUOTE_END: '"}}',
        PART_TRADE: f' {{"stream":"{lower}@trade","data":{{"e":"trade","E":',
        PART_TRADE_ID: f',"s":"{symbol}","t":',
        PART_PRICE: ',"p":"',
        PART_LOTS: '","q":"',
        PART_TRADE_TIME: '","T":',
        PART_BUYER_MAKER: ',"m":true,"M":true}}',
        PART_SELLER_MAKER: ',"m":false,"M":true}}',
        PART_DEPTH: f' {{"stream":"{lower}@depth@100ms","data":{{"e":"depthUpdate","E":',
        PART_FIRST_ID: f',"s":"{symbol}","U":',
        PART_LAST_ID: ',"u":',
        PART_BIDS: ',"b":[',
        PART_ASKS: '],"a":[',
        PART_DEPTH_END: "]}}",
        PART_SNAPSHOT: ' {"lastUpdateId":',
        PART_SNAPSHOT_BIDS: ',"bids":[',
        PART_SNAPSHOT_ASKS: '],"asks":[',
        PART_SNAPSHOT_END: "]}",
        PART_LEVEL: '["',
        PART_LEVEL_LOTS: '","',
        PART_LEVEL_END: '"]',
    }
    parts = np.zeros((N_PARTS, PART_BYTES), np.uint8)
    sizes = np.zeros(N_PARTS, np.int64)
    for part, text in texts.items():
        data = text.encode()
        if len(data) > PART_BYTES:
            raise InputError(f"synthetic market: symbol {symbol} is too long")
        parts[part, : len(data)] = np.frombuffer(data, np.uint8)
        sizes[part] = len(data)
    return parts, sizes
