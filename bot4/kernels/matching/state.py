"""The simulated venue's memory: orders, positions, quantity already taken, what is to be told and written down.

Everything but the figures of impact models is int64 in records of fixed capacity, so that a kernel allocates nothing
and a test can compare the whole state byte for byte. The order table holds every order the venue has ever been sent (a
client id once used stays used); the open ones of each instrument are listed in order of arrival, which is their
priority.

    requests -> request.py -> order table ---+--> events (what execution is told)
    market   -> market.py  -> book, trades --+--> ledger (the truth that tests are judged by)
"""

from typing import NamedTuple

import numpy as np

from bot4.kernels.book import BOOK
from bot4.model.impact import IMPACT
from bot4.model.queue import AVERSE, QueueModel
from bot4.model.records import EXEC_REPORT, words

MAX_ORDERS = 2**17  # client ids a venue remembers in one run; the next new order is refused VENUE_TOO_MANY_ORDERS
ID_SLOTS = 2**18  # open addressing at a load of at most one half
MAX_OPEN = 1_024  # open orders of the account
MAX_TAKEN = 256  # levels of one instrument whose quantity we took; a walk ends where no entry is free
MAX_FILLS = 2**18  # fills that ACTION_QUERY_TRADES can answer; older ones stand in the ledger alone
ITEM_EVENTS = 8_192  # no request and no record of the market causes more events than this; bounds below
ITEM_ENTRIES = 12_288  # ... nor more ledger entries
EVENT_CAPACITY = ITEM_EVENTS
LEDGER_CAPACITY = 2 * ITEM_ENTRIES
ANSWER_CHUNK = 4_096  # trades answered before the ring is looked at again

# Bounds of one item: each open order is filled by a trade at most once, triggered once, ends once and shrinks once; a
# walk's fill either empties a level (MAX_TAKEN) or completes an order. So events <= 5 * MAX_OPEN + MAX_TAKEN + answers
# and entries <= 7 * MAX_OPEN + 2 * MAX_TAKEN.
assert ITEM_EVENTS >= 6 * MAX_OPEN + MAX_TAKEN
assert ITEM_ENTRIES >= 8 * MAX_OPEN + 2 * MAX_TAKEN

VENUE_ORDER = np.dtype(
    [
        ("id_hi", "u8"),
        ("id_lo", "u8"),
        ("instrument", "i8"),
        ("shard", "i8"),
        ("order_row", "i8"),  # execution's row as it named it last, echoed
        ("side", "i8"),
        ("type", "i8"),
        ("tif", "i8"),
        ("flags", "i8"),
        ("leg", "i8"),
        ("price_ticks", "i8"),  # limit; 0 for market and stop orders
        ("stop_ticks", "i8"),  # trigger of a stop order; else 0
        ("qty_lots", "i8"),
        ("cum_lots", "i8"),
        ("queue_lots", "i8"),  # displayed quantity of others still ahead of it at its price
        ("seen_lots", "i8"),  # what its level showed last
        ("traded_lots", "i8"),  # traded there, which the level has not shown yet
        ("traded_ns", "i8"),  # when it was last traded there
        ("fresh_lots", "i8"),  # went without a trade, in this round ...
        ("gone_lots", "i8"),  # ... and in the one before
        ("round_ns", "i8"),  # when this round began
        ("status", "i8"),  # REPORT_ACK while open, else how it ended
        ("code", "i8"),
        ("open", "i8"),  # 1: may still trade
        ("triggered", "i8"),  # 1: a stop that is now a market order and waits for a whole book
    ]
)

# One instrument: our position, and what the recording last said.
SEAT = np.dtype(
    [
        ("lots", "i8"),
        ("cost_tl", "i8"),  # tick x lot, signed
        ("realised_tl", "i8"),
        ("fees_e8", "i8"),
        ("funding_e8", "i8"),
        ("last_trade_ticks", "i8"),
        ("mark_e8", "i8"),
        ("rate_e8", "i8"),
        ("next_funding_ns", "i8"),
        ("next_event_no", "i8"),
        ("gapped", "i8"),  # 1: a record is missing; the book is no market until a new snapshot
        ("n_listed", "i8"),  # entries of `listed`, ended ones included until they are swept
        ("n_taken", "i8"),
        ("changed", "i8"),  # 1: the position or an order changed, reduce-only orders must be looked at
    ]
)

# Quantity that we took from a displayed level and that is not offered again until the recording changes the level.
TAKEN = np.dtype([("side", "i8"), ("price_ticks", "i8"), ("seen_lots", "i8"), ("taken_lots", "i8")])

DESK = np.dtype(
    [
        ("now_ns", "i8"),
        ("cash_e8", "i8"),
        ("event_seq", "i8"),
        ("n_fills", "i8"),  # also the last trade id
        ("n_orders", "i8"),
        ("n_open", "i8"),
        ("ledger_seq", "i8"),
        ("n_events", "i8"),  # waiting in `events`
        ("n_entries", "i8"),  # waiting in `entries`
        ("answer_next", "i8"),  # next trade id of a trades query that is being answered; 0: none
        ("n_accepted", "i8"),
        ("n_gaps", "i8"),  # times that an instrument began to miss records
        ("queue_model", "i8"),  # QUEUE_* of model/queue
        ("queue_exponent_e6", "i8"),
    ]
)

LEDGER_REQUEST = 1
LEDGER_ORDER = 2
LEDGER_FILL = 3
LEDGER_BALANCE = 4
LEDGER_FAULT = 5
LEDGER_KINDS = ("", "request", "order", "fill", "balance", "fault")

FAULT_GAP = 1  # a record of the market is missing
FAULT_NAMES = ("", "market_gap")

BALANCE_START = 1
BALANCE_FUNDING = 2
BALANCE_NAMES = ("", "start", "funding")

LIQUIDITY_MAKER = 1
LIQUIDITY_TAKER = 2

LEDGER_ENTRY = np.dtype(
    [
        ("seq", "i8"),
        ("t_ns", "i8"),
        ("kind", "i8"),
        ("status", "i8"),  # order: REPORT_*; balance: BALANCE_*; fault: FAULT_*
        ("code", "i8"),
        ("venue_order_id", "i8"),
        ("id_hi", "u8"),
        ("id_lo", "u8"),
        ("instrument", "i8"),
        ("side", "i8"),
        ("type", "i8"),
        ("tif", "i8"),
        ("flags", "i8"),
        ("leg", "i8"),
        ("action", "i8"),
        ("price_ticks", "i8"),
        ("qty_lots", "i8"),
        ("stop_ticks", "i8"),
        ("cum_lots", "i8"),
        ("leaves_lots", "i8"),
        ("fee_e8", "i8"),
        ("fee_ppm", "i8"),
        ("liquidity", "i8"),
        ("trade_id", "i8"),
        ("amount_e8", "i8"),
        ("cash_e8", "i8"),
        ("position_lots", "i8"),
        ("mark_e8", "i8"),
        ("rate_e8", "i8"),
        ("body", "i8", (16,)),
    ]
)


ENTRY_WORDS = LEDGER_ENTRY.itemsize // 8


class Matching(NamedTuple):
    """All memory of the matching core; process-private."""

    desk: np.ndarray  # DESK[1]
    books: np.ndarray  # BOOK[n]
    seats: np.ndarray  # SEAT[n]
    taken: np.ndarray  # TAKEN[n, MAX_TAKEN]
    listed: np.ndarray  # int64[n, MAX_OPEN]: rows of open orders, in order of arrival
    orders: np.ndarray  # VENUE_ORDER[MAX_ORDERS]; venue_order_id is row + 1
    ids: np.ndarray  # int64[ID_SLOTS]: row + 1, 0 free
    fills: np.ndarray  # EXEC_REPORT[MAX_FILLS]: trade id t at (t - 1) % MAX_FILLS
    events: np.ndarray  # EXEC_REPORT[EVENT_CAPACITY]
    entries: np.ndarray  # LEDGER_ENTRY[LEDGER_CAPACITY]
    event_words: np.ndarray  # int64, the memory of `events`
    entry_words: np.ndarray  # int64, the memory of `entries`
    impacts: np.ndarray  # IMPACT[n]


def matching_memory(
    n_instruments: int,
    start_balance_e8: int,
    max_orders: int = MAX_ORDERS,
    queue: QueueModel = AVERSE,
    impacts: np.ndarray | None = None,
) -> Matching:
    """Memory of a venue with one funded account; pages are touched only when used.

    Parameters
    ----------
    n_instruments : rows of books and positions
    start_balance_e8 : cash of the account, 1e-8 quote currency
    max_orders : client ids it remembers, at most MAX_ORDERS (tests take less)
    queue : where in a queue quantity goes off without a trade
    impacts : IMPACT[n], how our taking moves the prices we take at; None: not at all
    """
    events = np.zeros(EVENT_CAPACITY, EXEC_REPORT)
    entries = np.zeros(LEDGER_CAPACITY, LEDGER_ENTRY)
    memory = Matching(
        desk=np.zeros(1, DESK),
        books=np.zeros(n_instruments, BOOK),
        seats=np.zeros(n_instruments, SEAT),
        taken=np.zeros((n_instruments, MAX_TAKEN), TAKEN),
        listed=np.zeros((n_instruments, MAX_OPEN), np.int64),
        orders=np.zeros(min(max_orders, MAX_ORDERS), VENUE_ORDER),
        ids=np.zeros(ID_SLOTS, np.int64),
        fills=np.zeros(MAX_FILLS, EXEC_REPORT),
        events=events,
        entries=entries,
        event_words=words(events),
        entry_words=words(entries),
        impacts=np.zeros(n_instruments, IMPACT) if impacts is None else impacts.copy(),
    )
    memory.desk[0]["cash_e8"] = start_balance_e8
    memory.desk[0]["queue_model"] = queue.model
    memory.desk[0]["queue_exponent_e6"] = round(queue.exponent * 1_000_000)
    entry = memory.entries[0]
    entry["seq"] = 1
    entry["kind"] = LEDGER_BALANCE
    entry["status"] = BALANCE_START
    entry["instrument"] = -1
    entry["amount_e8"] = start_balance_e8
    entry["cash_e8"] = start_balance_e8
    memory.desk[0]["ledger_seq"] = 1
    memory.desk[0]["n_entries"] = 1
    return memory
