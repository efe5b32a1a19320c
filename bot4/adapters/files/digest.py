"""One number for what a session decided and traded: SHA-256 over its canonical intents and fills.

Two runs with the same digest took the same decisions, had the same ones refused and traded the same quantities at the
same prices and times. So everything that depends on the machine is left out: shard, time-stamp counter, row of the
order table, ring sequence, journal position, and the venue's own counters (its order numbers and event numbers; its
trade number only orders fills). Any number of shards and processes gives the same digest.

The bytes hashed are PREFIX and then one row of N_COLUMNS little-endian int64 for each canonical record:

    column          accepted intent (1)     denied intent (2)       fill (3)
    ts_ns           event time at which execution handled it (the journal record's)
    instrument      index in the session
    event_no        of the tick that caused the order (upper half of id_lo)
    record          1                       2                       3
    leg             0 entry, 1 exit, 2 stop, 3 flatten, 4 take-profit, 5 slice
    number          of the order within its event and leg (lower 24 bits of id_lo)
    owner           account << 16 | strategy (upper half of id_hi)
    action          ACTION_*                ACTION_*                0
    side            +1 buy, -1 sell
    type            TYPE_*
    tif             TIF_*                   TIF_*                   0
    flags           ORDER_* flags as recorded
    price_ticks     limit price             limit price             price of the fill
    qty_lots        ordered                 ordered                 filled
    stop_ticks      stop or trigger         stop or trigger         0
    ref_ticks       twice the mid seen      twice the mid seen      0
    cum_lots        0                       0                       filled so far
    leaves_lots     0                       0                       still working
    fee_e8          0                       0                       fee paid
    code            0                       reject code             0
    at_ns           the intent's own time   the intent's own time   time at the venue

Rows are sorted by (ts_ns, instrument, event_no, record, leg of an intent or trade number of a fill) and, where these
are equal, by their content, so the order in which a journal holds them does not matter. Not canonical: the feed
generation in a client id (it counts restarts), and a refusal as EXEC_DUPLICATE (the same decision, taken again by a
restarted shard).
"""

import hashlib

import numpy as np

from bot4.model.enums import EXEC_DUPLICATE, REPORT_FILL
from bot4.model.records import EXEC_REPORT, JOURNAL_DENIED, JOURNAL_EVENT, JOURNAL_INTENT, ORDER_INTENT

PREFIX = b"bot4 digest 1\n"
COLUMNS = (
    "ts_ns", "instrument", "event_no", "record", "leg", "number", "owner", "action", "side", "type", "tif", "flags",
    "price_ticks", "qty_lots", "stop_ticks", "ref_ticks", "cum_lots", "leaves_lots", "fee_e8", "code", "at_ns",
)  # fmt: skip
N_COLUMNS = len(COLUMNS)
RECORD_INTENT = 1
RECORD_DENIED = 2
RECORD_FILL = 3


def bodies(records: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The bodies of journal records as ORDER_INTENT or EXEC_REPORT records (a copy)."""
    return np.ascontiguousarray(records["body"]).view(dtype).reshape(-1)


def fill_records(records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The journal records that hold a fill and their EXEC_REPORT bodies, each trade of an instrument once.

    A trade can be told twice: by the venue's event and by the answer to a recovery's query. The first one counts.
    """
    events = records[records["type"] == JOURNAL_EVENT]
    reports = bodies(events, EXEC_REPORT)
    is_fill = reports["kind"] == REPORT_FILL
    events, reports = events[is_fill], reports[is_fill]
    order = np.lexsort((events["seq"], reports["trade_id"], reports["instrument"]))
    trade, instrument = reports["trade_id"][order], reports["instrument"][order]
    first = np.ones(len(order), bool)
    first[1:] = (trade[1:] != trade[:-1]) | (instrument[1:] != instrument[:-1])
    kept = np.sort(order[first])
    return events[kept], reports[kept]


def _common(rows: np.ndarray, journal: np.ndarray, body: np.ndarray, record: int) -> None:
    low, high = body["id_lo"], body["id_hi"]
    rows["ts_ns"] = journal["ts_ns"]
    rows["event_no"] = low >> np.uint64(32)
    rows["record"] = record
    rows["number"] = low & np.uint64(0xFF_FFFF)
    rows["owner"] = high >> np.uint64(32)
    for name in ("instrument", "leg", "side", "type", "flags", "price_ticks", "qty_lots"):
        rows[name] = body[name]


def _intent_rows(records: np.ndarray, record: int) -> tuple[np.ndarray, np.ndarray]:
    body = bodies(records, ORDER_INTENT)
    rows = np.zeros(len(records), [(name, "<i8") for name in COLUMNS])
    _common(rows, records, body, record)
    for name in ("action", "tif", "stop_ticks", "ref_ticks"):
        rows[name] = body[name]
    rows["at_ns"] = body["ts_ns"]
    if record == RECORD_DENIED:
        rows["code"] = records["code"]
    return rows, rows["leg"]


def _fill_rows(records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    journal, body = fill_records(records)
    rows = np.zeros(len(journal), [(name, "<i8") for name in COLUMNS])
    _common(rows, journal, body, RECORD_FILL)
    for name in ("cum_lots", "leaves_lots", "fee_e8"):
        rows[name] = body[name]
    rows["at_ns"] = body["t_venue_ns"]
    return rows, body["trade_id"]


def canonical_rows(records: np.ndarray) -> np.ndarray:
    """Intents, refused intents and fills of a journal as sorted rows of COLUMNS.

    Parameters
    ----------
    records : JOURNAL[n], in any order

    Returns
    -------
    structured array of little-endian int64 fields named by COLUMNS
    """
    denied = (records["type"] == JOURNAL_DENIED) & (records["code"] != EXEC_DUPLICATE)
    parts = [
        _intent_rows(records[records["type"] == JOURNAL_INTENT], RECORD_INTENT),
        _intent_rows(records[denied], RECORD_DENIED),
        _fill_rows(records),
    ]
    rows = np.concatenate([part[0] for part in parts])
    last_key = np.concatenate([part[1] for part in parts])
    keys = [rows["ts_ns"], rows["instrument"], rows["event_no"], rows["record"], last_key]
    content = [rows[name] for name in COLUMNS if name not in ("ts_ns", "instrument", "event_no", "record")]
    return rows[np.lexsort((keys + content)[::-1])]


def session_digest(records: np.ndarray) -> str:
    """SHA-256, in hexadecimal, over the canonical intents and fills of these journal records (JOURNAL[n])."""
    return hashlib.sha256(PREFIX + canonical_rows(records).tobytes()).hexdigest()
