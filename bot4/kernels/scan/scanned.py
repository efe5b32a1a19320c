"""What a scanner makes of one message, whatever the venue: a row of integers, and tables of trades and levels.

A message is of one kind and of one instrument. One that holds more (venues may batch) is left to the typed decoders,
as is everything else that a scanner does not know: it refuses, and never guesses.
"""

from typing import NamedTuple

import numpy as np

MAX_LEVELS = 6_000  # per side and message; the venues send at most 5,000
MAX_TRADES = 1_024  # of one message
SYMBOL_BYTES = 32

# How the changes of a book follow each other (see engine/feed_depth).
RULE_SPOT = 0  # Binance spot: ids without a hole, snapshots by REST
RULE_FUTURES = 1  # Binance futures: each diff names the update before it
RULE_STREAM = 2  # Bybit: ids without a hole, snapshots in the stream
RULE_CHECKSUM = 3  # Kraken: no ids, a check sum of the best ten levels after each change
RULE_CONNECTION = 4  # Coinbase: no ids, the messages of a connection are numbered

# What the scanner has to know of an instrument.
LISTING = np.dtype(
    [
        ("price_decimals", "i8"),
        ("tick_units", "i8"),  # tick size in units of its last decimal: 1 for 0.01, 5 for 0.05
        ("qty_decimals", "i8"),
        ("lot_units", "i8"),
        ("lot_scale", "i8"),  # so many of what the scanner calls a lot make one of ours; up to 1: they are the same
        ("rule", "i8"),  # RULE_*
        ("depth", "i8"),  # levels a side that the venue keeps up to date; 0: all
        ("symbol_length", "i8"),
        ("symbol", "u1", (SYMBOL_BYTES,)),  # as the venue writes it in its messages, upper case
    ]
)

# Words of a scanned message, grouped by how their value is read.
EVENT_MS, TIME_MS, LAST_ID, FIRST_ID, PREVIOUS_ID, TRADE_ID = range(6)  # integers
BID, ASK, PRICE = 6, 7, 8  # ticks
BID_LOTS, ASK_LOTS, QTY = 9, 10, 11  # lots
MARK, INDEX, RATE = 12, 13, 14  # 1e-8
SYMBOL, BUYER_MAKER, TRADE_KIND = 15, 16, 17
BIDS, ASKS = 18, 19  # numbers of levels
STREAM, DATA = 20, 21
KIND = 24  # TICK_*, 0: not known, or a message without market data
SEEN = 25  # one bit for each key that came
REASON = 26  # the first INPUT_* among the numbers
IS_SNAPSHOT = 27
OTHER_SYMBOL = 28  # 1: stream or data name another instrument
OFF_MARKET = 29  # 1: no trade of the market (insurance fund, settlement)
LINE_END = 30  # index of the line's newline
INSTRUMENT = 31  # index of the listing
VENUE_NS = 32  # when the venue made what the message tells; 0: it does not say
SEQUENCE = 33  # of the message on its connection, -1: this venue counts none
CHECKSUM = 34  # of the book after the change, -1: none
TRADES = 35  # rows of the table of trades
SENT_NS = 36  # when the venue sent the message; 0: it does not say, or see EVENT_MS
N_WORDS = 37

ABSENT = -(1 << 62)  # instead of a value that this message leaves as it was

# columns of a trade
TRADE_PRICE, TRADE_QTY, TRADE_NUMBER, TRADE_SIDE, TRADE_NS, TRADE_OFF_MARKET, TRADE_HASHED = range(7)
N_TRADE_WORDS = 7  # HASHED: the venue's id is no number, TRADE_NUMBER is a hash of it and tells no order


class Scanned(NamedTuple):
    """One message as integers; all int64."""

    message: np.ndarray  # [N_WORDS]
    trades: np.ndarray  # [MAX_TRADES, N_TRADE_WORDS], in the order in which they were made
    prices: np.ndarray  # [2, MAX_LEVELS] bids, asks, in ticks
    lots: np.ndarray  # [2, MAX_LEVELS]


def scanned_memory() -> Scanned:
    """Room for the largest message."""
    return Scanned(
        message=np.zeros(N_WORDS, np.int64),
        trades=np.zeros((MAX_TRADES, N_TRADE_WORDS), np.int64),
        prices=np.zeros((2, MAX_LEVELS), np.int64),
        lots=np.zeros((2, MAX_LEVELS), np.int64),
    )
