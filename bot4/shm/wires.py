"""Everything the agents of one bot share, as one tuple of arrays that a kernel can take.

    feed --ticks[k]--> shard k --intents[k]--> execution --requests--> venue
    feed --market--> venue        execution --reports[k]--> shard k
    feed --quotes--> execution    venue --events--> execution
    feed --record, raw--> recorder, where there is one

Each ring has one writer and one reader. Each row of `gauges` and `rejects` has one writer, the agent of that row;
`messages`, `refused`, `levels`, `book_checks`, `venue_clocks` belong to the feed, `positions`, `limits` to execution,
`asked` to whoever tightens limits. Plain stores suffice there: readers only look.
"""

from typing import NamedTuple

import numpy as np

from bot4.model.breaker import BREAKER_WORDS, breaker_rows
from bot4.model.enums import N_CODES, N_INPUT_REASONS, N_KINDS
from bot4.model.records import LIMIT_WORDS, ORDER_WORDS, TICK_WORDS
from bot4.shm.histogram import HISTOGRAM_WORDS
from bot4.shm.layout import CLOCK_WORDS, CONTROL_WORDS, LINE
from bot4.shm.spsc_ring import private_rings

# rows of gauges and rejects, after the shards 0 .. n_shards-1
EXECUTION_ROW = 0  # + n_shards
VENUE_ROW = 1  # + n_shards
FEED_ROW = 2  # + n_shards
RECORDER_ROW = 3  # + n_shards
N_OTHER_ROWS = 4

# gauges of every agent
GAUGE_HEARTBEAT_NS = 0  # monotonic, stamped by the work loop
GAUGE_EVENT_TIME_NS = 1  # of the last item
GAUGE_BEGAN_NS = 3  # monotonic: when the agent was built and its loop first ran
GAUGE_ITEMS = 2  # taken from rings (feed: messages read)
# feed
GAUGE_FEED_MESSAGES = 8  # read, good or bad
GAUGE_FEED_TICKS = 9  # records made
GAUGE_FEED_DROPPED = 10  # records that found a ring full
GAUGE_FEED_SPAN_START_NS = 11
GAUGE_FEED_SPAN_END_NS = 12
GAUGE_FEED_VENUES = 32  # of a live feed: N_VENUE_GAUGES words a venue, venues in alphabetical order
VENUE_HEARD = 0  # instruments whose book a connection brings
VENUE_WHOLE = 1  # instruments whose book is whole
VENUE_SINCE_NS = 2  # monotonic: since all of its instruments are heard, or since they are not
N_VENUE_GAUGES = 3
# shard
GAUGE_SHARD_STEPS = 8  # decisions taken or refused
GAUGE_SHARD_INTENTS = 9
GAUGE_SHARD_GATE_OPEN = 10  # instruments whose gate is open
# execution
GAUGE_EXEC_INTENTS = 8
GAUGE_EXEC_ORDERS = 9  # sent, protective ones included
GAUGE_EXEC_FILLS = 10
GAUGE_EXEC_EQUITY_E8 = 11
GAUGE_EXEC_HIGH_WATER_E8 = 12
GAUGE_EXEC_DAY_START_E8 = 13
GAUGE_EXEC_DRAWDOWN_PPM = 14  # the largest so far
GAUGE_EXEC_STOPS_PLACED = 15
GAUGE_EXEC_STOPS_TRIGGERED = 16
GAUGE_EXEC_NAKED_NS_MAX = 17  # longest event time between a fill and its confirmed stop
GAUGE_EXEC_FLATTENS = 18
GAUGE_EXEC_OPEN_ORDERS = 19
GAUGE_EXEC_STATE = 20  # 0 starting, 1 recovering, 2 active, 3 halted
GAUGE_EXEC_BREAKER = 21
GAUGE_EXEC_UNKNOWN = 22  # orders whose outcome is unknown
GAUGE_EXEC_ALARMS = 23
GAUGE_EXEC_STREAK = 24  # 1: nothing is opened, after too many losses in a row
GAUGE_EXEC_STREAK_UNTIL_NS = 25  # event time, of the last pause
GAUGE_EXEC_BREAKER_UNTIL_NS = 26  # ... at which the next order may try the venue
GAUGE_EXEC_DAY_SHUT_UNTIL_NS = 27  # ... at which the day ends whose loss last reached its limit
# venue
GAUGE_VENUE_ORDERS = 8
GAUGE_VENUE_FILLS = 9
GAUGE_VENUE_LEDGER = 10  # ledger entries made
GAUGE_VENUE_GUARD = 11  # a real venue's dead-man's switch: GUARD_*
GUARD_UNTOLD, GUARD_ABSENT, GUARD_ARMED, GUARD_STOP_RESTS, GUARD_NOTHING_RESTS = range(5)
# recorder
GAUGE_RECORDER_TICKS = 8  # records that are in files
GAUGE_RECORDER_RAW = 9  # raw messages that are in files
GAUGE_RECORDER_FILES = 10
GAUGE_RECORDER_FAILURES = 11  # files that could not be written; what they would have held is lost
N_GAUGES = 64

# columns of positions
POSITION_LOTS = 0
POSITION_COST_TL = 1  # tick x lot, signed
POSITION_REALISED_TL = 2
POSITION_FEES_E8 = 3
POSITION_FUNDING_E8 = 4
POSITION_BID = 5
POSITION_ASK = 6
POSITION_STOP_TICKS = 7
POSITION_STOP_LOTS = 8  # covered by the confirmed stop
POSITION_WHOLE = 9  # the book is whole: what execution finds again when it is restarted
POSITION_QUOTE_NS = 10
N_POSITION_COLUMNS = 16

# rows of limits
LIMITS_IN_FORCE = 0
LIMITS_BEGUN = 1

# columns of gapped: 1 while that reader has missed records of the instrument and waits for a snapshot
GAPPED_SHARD = 0
GAPPED_VENUE = 1

# columns of venue_clocks, times in ns
CLOCK_STAMPS = 0  # messages whose time was compared and believed
CLOCK_OFFSET_NS = 1  # receive time minus the venue's, of the fastest way here
CLOCK_LATEST_NS = 2  # the largest delay beyond that which was believed
CLOCK_ANEW = 3  # how often the offset was learned anew
CLOCK_BEFORE_NS = 4  # lag of the last message
CLOCK_AT_NS = 5  # ... and when it was received
CLOCK_SUSPECTS = 6  # messages in a row that were not believed, as far off as each other
CLOCK_SUSPECT_NS = 7  # lag of the last of them
CLOCK_SUSPECT_SINCE_NS = 8
N_CLOCK_COLUMNS = 16

# rows of histograms: stages of the path, in cycles of the time-stamp counter
STAGES = ("feed_to_shard", "step", "tick_to_intent", "tick_to_execution", "order_inside")
STAGE_FEED_TO_SHARD, STAGE_STEP, STAGE_TICK_TO_INTENT, STAGE_TICK_TO_EXECUTION, STAGE_ORDER_INSIDE = range(5)


class Wires(NamedTuple):
    """The shared memory of one bot; all arrays int64 unless said."""

    ticks: np.ndarray  # [n_shards, ring_words] TICK rings
    market: np.ndarray  # [ring_words] TICK ring
    quotes: np.ndarray  # [ring_words] TICK ring
    record: np.ndarray  # [ring_words] TICK ring of everything; no words: nothing is recorded
    raw: np.ndarray  # [ring_words] ring of raw messages in pieces, see byte_ring; no words: they are not recorded
    intents: np.ndarray  # [n_shards, ring_words] ORDER_INTENT rings
    reports: np.ndarray  # [n_shards, ring_words] EXEC_REPORT rings
    requests: np.ndarray  # [ring_words] ORDER_INTENT ring
    events: np.ndarray  # [ring_words] EXEC_REPORT ring
    clocks: np.ndarray  # [CLOCK_WORDS]
    control: np.ndarray  # [CONTROL_WORDS]
    gauges: np.ndarray  # [n_shards + 3, N_GAUGES]
    rejects: np.ndarray  # [n_shards + 3, N_CODES]
    messages: np.ndarray  # [n_instruments, N_KINDS] accepted messages
    refused: np.ndarray  # [n_instruments, N_KINDS, N_INPUT_REASONS] refused messages; kind 0: kind not known
    levels: np.ndarray  # [n_instruments] LEVEL records made
    book_checks: np.ndarray  # [n_instruments, 2] compared with the venue's best quote, equal
    venue_clocks: np.ndarray  # [n_instruments, N_CLOCK_COLUMNS] our clock beside the venue's, see feed_time
    positions: np.ndarray  # [n_instruments, N_POSITION_COLUMNS]
    limits: np.ndarray  # [2, LIMIT_WORDS] by word of LIMITS: in force, and what the session began with
    asked: np.ndarray  # [LINE + LIMIT_WORDS] limits that a person wants tighter: counts up, then the values
    gapped: np.ndarray  # [n_instruments, 2] a writer per word: the instrument's shard, the venue
    histograms: np.ndarray  # [len(STAGES), HISTOGRAM_WORDS]
    calibration: np.ndarray  # [LINE] seqlock slot: the time-stamp counter in ns; written by the template
    breakers: np.ndarray  # [breaker_rows, BREAKER_WORDS] circuit breakers, see model/breaker: a writer per line
    waiters: np.ndarray  # [(n_shards + 3) * LINE] who sleeps, a line per agent, rows as in gauges
    kept: np.ndarray  # [n_instruments, words] what a restarted shard goes on from; no rows: nothing is kept


NOTHING_KEPT = np.zeros((0, 0), np.int64)
TICK_RING_CAPACITY = 16_384  # more than the records of the largest message (a snapshot of 5,000 levels a side)
ORDER_RING_CAPACITY = 1_024
# What is written to disk waits longer than what is traded on: two seconds of 60,000 records; 12 MB of raw messages,
# which is more than the largest of them (a Coinbase snapshot of 6 MB).
RECORD_RING_CAPACITY = 131_072
RAW_RING_CAPACITY = 262_144
NO_RING = np.zeros(0, np.int64)


def feed_rings(wires: Wires) -> list[np.ndarray]:
    """All rings that the feed writes."""
    return [*wires.ticks, wires.market, wires.quotes, *(ring for ring in (wires.record, wires.raw) if ring.size)]


def plain_shapes(n_shards: int, n_instruments: int) -> dict[str, tuple[int, ...]]:
    """Shapes of all arrays of `Wires` that are not rings."""
    rows = n_shards + N_OTHER_ROWS
    return {
        "clocks": (CLOCK_WORDS,),
        "control": (CONTROL_WORDS,),
        "gauges": (rows, N_GAUGES),
        "rejects": (rows, N_CODES),
        "messages": (n_instruments, N_KINDS),
        "refused": (n_instruments, N_KINDS, N_INPUT_REASONS),
        "levels": (n_instruments,),
        "book_checks": (n_instruments, 2),
        "venue_clocks": (n_instruments, N_CLOCK_COLUMNS),
        "positions": (n_instruments, N_POSITION_COLUMNS),
        "limits": (2, LIMIT_WORDS),
        "asked": (LINE + LIMIT_WORDS,),
        "gapped": (n_instruments, 2),
        "histograms": (len(STAGES), HISTOGRAM_WORDS),
        "calibration": (LINE,),
        "breakers": (breaker_rows(n_shards), BREAKER_WORDS),
        "waiters": (rows * LINE,),
    }


def private_wires(
    n_shards: int, n_instruments: int, ticks: int = TICK_RING_CAPACITY, record: int = 0, raw: int = 0
) -> Wires:
    """Wires in this process's own memory, for one process or a test; `record`, `raw`: slots, 0: no such ring."""
    plain = {name: np.zeros(shape, np.int64) for name, shape in plain_shapes(n_shards, n_instruments).items()}
    return Wires(
        ticks=private_rings(n_shards, ticks, TICK_WORDS),
        market=private_rings(1, ticks, TICK_WORDS)[0],
        quotes=private_rings(1, ticks, TICK_WORDS)[0],
        record=private_rings(1, record, TICK_WORDS)[0] if record else NO_RING,
        raw=private_rings(1, raw, TICK_WORDS)[0] if raw else NO_RING,
        intents=private_rings(n_shards, ORDER_RING_CAPACITY, ORDER_WORDS),
        reports=private_rings(n_shards, ORDER_RING_CAPACITY, ORDER_WORDS),
        requests=private_rings(1, ORDER_RING_CAPACITY, ORDER_WORDS)[0],
        events=private_rings(1, ORDER_RING_CAPACITY, ORDER_WORDS)[0],
        kept=NOTHING_KEPT,
        **plain,
    )
