"""What the feed keeps: where each source stands, what each instrument was last told, the message in hand."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from bot4.engine.feed_ids import N_COUNT_WORDS, N_COUNTS
from bot4.kernels.book import BOOK
from bot4.kernels.scan.scanned import (
    ABSENT,
    LISTING,
    MAX_LEVELS,
    RULE_CHECKSUM,
    RULE_CONNECTION,
    RULE_FUTURES,
    RULE_SPOT,
    RULE_STREAM,
    SYMBOL_BYTES,
    scanned_memory,
)
from bot4.model.enums import FLAG_SYNTHETIC, INT64_MAX
from bot4.model.errors import Bot4Error, InputError
from bot4.model.latency import Latency, constant
from bot4.model.records import TICK, words

BUFFER_BYTES = 1 << 21  # per source, read and scanned at once; no line may be longer
QUOTE_MEMORY = 4_096  # recent quotes by update id (a power of two), to compare with depth messages that arrive later
PENDING_MESSAGES = 256  # diffs kept while a snapshot is awaited: a dozen seconds of the busiest stream
PENDING_LEVELS = 65_536
HASHES = 128
OUT_RECORDS = 24_100  # records of the largest message: 2 x MAX_LEVELS, as many pushed out, and a few marks

SOURCE = np.dtype(
    [
        ("instrument", "i8"),
        ("at", "i8"),  # next byte of the buffer
        ("end", "i8"),  # index after the last complete line
        ("filled", "i8"),  # bytes in the buffer
        ("json_at", "i8"),  # of the next line, 0: its receive time is not one
        ("next_ns", "i8"),  # receive time of the next line, INT64_MAX: none is there
        ("ready", "i8"),  # 1: the next line is known
        ("strays", "i8"),  # 1: the next line's receive time leaps ahead, those after it do not
        ("skipping", "i8"),  # 1: inside a line that is longer than the buffer
        ("ended", "i8"),  # 1: no more bytes will come
        ("hungry", "i8"),  # 1: needs bytes before anything can go on
        ("finished", "i8"),  # 1: ended and everything taken
    ]
)

FEED_STATE = np.dtype(
    [
        ("event_no", "i8"),
        ("last_recv_ns", "i8"),
        ("last_trade_id", "i8"),  # -1: none yet
        ("quote_u", "i8"),  # update id of the last quote, -1: none yet
        ("book_u", "i8"),  # last update id in the book
        ("whole", "i8"),
        ("halted", "i8"),  # HALTED_*: the venue says that it is not traded
        ("awaited", "i8"),  # snapshots in the stream that were asked for: each may replace a whole book
        ("book_venue_ns", "i8"),  # the venue's time of the last change, where it tells one
        ("fresh", "i8"),  # 1: no diff since the snapshot yet
        ("pending_messages", "i8"),
        ("pending_levels", "i8"),
        ("counts", "i8", (N_COUNTS, N_COUNT_WORDS)),  # the venue's ids, see feed_ids
        ("silent", "i8"),  # 1: stale, and for nothing but its silence
        ("book_ns", "i8"),  # when a change of the book was last heard
        ("quote_ns", "i8"),  # when a quote was last taken
        ("quote_owed", "i8"),  # 1: since then diffs have changed the best levels
        ("marks", "i8", (4,)),  # mark price, index, funding rate (ABSENT: not yet), next funding (0): as last told
        ("settlement", "i8"),  # a next funding that nobody expected, until it is told again; -1: none
        ("hashes", "i8", (HASHES,)),  # of the last trades whose ids are no numbers
        ("hashed", "i8"),  # how many there were
        ("spike_bps", "i8"),  # a price further from the last mid is not believed; 0: any is
        ("spike_at", "i8"),  # twice the mid of a quote that was not, 0: the last one was
        ("time_limit_ns", "i8"),  # a message whose venue's time is further from what is expected is none; 0: any is
        ("stamped", "i8"),  # which kinds of messages have borne a time of the venue, see feed_time
        ("mark_flags", "i8"),  # flags of every record of this instrument
        ("listing", LISTING),
        ("quote", "i8", (4,)),  # the last one: bid, lots, ask, lots
        ("pending", "i8", (PENDING_MESSAGES, 5)),  # first, last, previous update id, first level, levels
        ("pending_prices", "i8", (PENDING_LEVELS,)),  # negative: ask
        ("pending_lots", "i8", (PENDING_LEVELS,)),
        ("recent", "i8", (QUOTE_MEMORY, 5)),  # update id, bid, lots, ask, lots
    ]
)

HALTED_INSTRUMENT, HALTED_VENUE = 1, 2  # bits of FEED_STATE.halted

# words of FeedMemory.state
OUT_COUNT = 0  # records of the message in hand that wait for room
NEEDS_DATA = 1  # 1: a source is hungry
DONE = 2
N_STATE = 4

# words of DataWay.state
IS_MODELLED = 0  # 1: what decides hears of the market later than the venue
WAY_KIND = 1  # BY_NUMBER or BY_TIME
WAY_SENT = 2  # messages so far
WAY_LAST_NS = 3  # when the last one is told
WAY_IS_SHUT = 4  # 1: a ring is full of what nobody may take before the feed goes on
N_WAY_WORDS = 5

# rows of FeedMemory.snapshots, after the shards: 0 venue
READER_EXECUTION = 1
READER_RECORDER = 2
N_OTHER_READERS = 3


RULES = {
    "synthetic": RULE_SPOT,
    "binance_spot": RULE_SPOT,
    "binance_usdm": RULE_FUTURES,
    "bybit_spot": RULE_STREAM,
    "bybit_linear": RULE_STREAM,
    "kraken": RULE_CHECKSUM,
    "coinbase": RULE_CONNECTION,
}


class DataWay(NamedTuple):
    """How long the market's messages are under way to who decides; the venue and the recorder have them at once."""

    state: np.ndarray  # int64[N_WAY_WORDS]
    times: np.ndarray  # int64[n], int64[n]: a table of `model.latency`
    values: np.ndarray


def data_way(latency: Latency | None) -> DataWay:
    """The way of a latency; None: none at all."""
    state = np.zeros(N_WAY_WORDS, np.int64)
    state[IS_MODELLED] = latency is not None
    kind, times, values = latency or constant(0)
    state[WAY_KIND] = kind
    return DataWay(state, times, values)


def check_data_way(way: DataWay) -> None:
    """Raises Bot4Error if a session can never end: more of the market is under way than there is room for."""
    if way.state[WAY_IS_SHUT]:
        raise Bot4Error(
            "more records of the market are under way at once than a ring has room for; lower venue.sim.data, or "
            "raise report_latency_us"
        )


class FeedMemory(NamedTuple):
    """All that the feed's step works on; process-private."""

    sources: np.ndarray  # SOURCE[n]
    buffers: np.ndarray  # uint8[n, BUFFER_BYTES]
    states: np.ndarray  # FEED_STATE[n]: instrument i is fed by source i
    books: np.ndarray  # BOOK[n]
    state: np.ndarray  # int64[N_STATE]
    message: np.ndarray  # int64[N_WORDS]: the scanned message
    trades: np.ndarray  # int64[MAX_TRADES, N_TRADE_WORDS]: its trades
    prices: np.ndarray  # int64[2, MAX_LEVELS]: its bids, asks
    lots: np.ndarray  # int64[2, MAX_LEVELS]
    out: np.ndarray  # TICK[OUT_RECORDS]: the message in hand
    out_words: np.ndarray  # int64, the same memory
    snapshots: np.ndarray  # int64[n_shards + 3, 3]: requests answered, request in work, its next instrument
    way: DataWay


class Listed(Protocol):
    """What the feed has to be told of an instrument, beside its record."""

    @property
    def symbol(self) -> str:
        """As the venue writes it."""
        ...

    @property
    def venue(self) -> str:
        """Tells how changes of its books follow each other."""
        ...

    @property
    def synthetic(self) -> bool:
        """Made up, not recorded."""
        ...


class Source(Listed, Protocol):
    """Where the bytes of one instrument come from, line by line in order of receive time."""

    def read_into(self, buffer: np.ndarray) -> int:
        """Fill a uint8 array from its start; the number of bytes, 0 at the end. RecordingError if it is damaged."""
        ...


def listing(instrument: np.void, source: Listed) -> np.ndarray:
    """What the scanner has to know of an instrument: LISTING[1]."""
    record = np.zeros(1, LISTING)
    row = record[0]
    symbol = source.symbol.encode()
    if not 0 < len(symbol) <= SYMBOL_BYTES:
        raise InputError(f"symbol {source.symbol!r} is empty or longer than {SYMBOL_BYTES} letters; shorten it")
    for size, decimals, units in (
        ("tick_e8", "price_decimals", "tick_units"),
        ("lot_e8", "qty_decimals", "lot_units"),
    ):
        row[decimals] = instrument[decimals]
        row[units] = int(instrument[size]) // 10 ** (8 - int(instrument[decimals]))
    row["lot_scale"] = 1
    if instrument["step_decimals"]:
        row["qty_decimals"], row["lot_units"] = int(instrument["step_decimals"]) - 1, 1
        row["lot_scale"] = int(instrument["lot_e8"]) * 10 ** int(row["qty_decimals"]) // 10**8
    row["rule"] = RULES[source.venue]
    row["symbol_length"] = len(symbol)
    row["symbol"][: len(symbol)] = np.frombuffer(symbol, np.uint8)
    return record


def feed_memory(
    instruments: np.ndarray, sources: Sequence[Listed], n_shards: int, latency: Latency | None = None
) -> FeedMemory:
    """All memory of the feed; pages are touched only when used.

    Parameters
    ----------
    instruments : INSTRUMENT[n]
    sources : one per instrument, in their order
    n_shards : shards that may ask for snapshots, beside venue, execution and recorder
    latency : of the market's messages on their way to shards and execution
    """
    if len(sources) != len(instruments):
        raise InputError(f"{len(sources)} sources for {len(instruments)} instruments; there has to be one each")
    n = len(sources)
    table = np.zeros(n, SOURCE)
    table["instrument"] = np.arange(n)
    states = np.zeros(n, FEED_STATE)
    states["last_trade_id"] = -1
    states["quote_u"] = -1
    states["counts"] = -1
    states["settlement"] = -1
    states["marks"][:, :3] = ABSENT
    states["recent"][:, :, 0] = -1
    for index, source in enumerate(sources):
        states[index]["listing"] = listing(instruments[index], source)[0]
        states[index]["mark_flags"] = FLAG_SYNTHETIC if source.synthetic else 0
    out = np.zeros(OUT_RECORDS, TICK)
    return FeedMemory(
        sources=table,
        buffers=np.zeros((n, BUFFER_BYTES), np.uint8),
        states=states,
        books=np.zeros(n, BOOK),
        state=np.zeros(N_STATE, np.int64),
        **scanned_memory()._asdict(),
        out=out,
        out_words=words(out),
        snapshots=np.zeros((n_shards + N_OTHER_READERS, 3), np.int64),
        way=data_way(latency),
    )


assert INT64_MAX > 0 and OUT_RECORDS >= 4 * MAX_LEVELS + 4
