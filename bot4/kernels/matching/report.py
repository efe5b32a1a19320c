"""What the venue tells execution (events) and writes down (ledger entries), into the buffers of the matching memory.

The event's time is the venue's; the loop that pushes it into the ring adds the report latency. Events are numbered
1, 2, 3, ... without a hole; answers to queries carry number 0 and come in between.
Twin: tests/reference/kernels/matching.py
"""

import numpy as np

from bot4.jit import kernel
from bot4.kernels.matching.state import (
    BALANCE_FUNDING,
    ENTRY_WORDS,
    LEDGER_BALANCE,
    LEDGER_FAULT,
    LEDGER_FILL,
    LEDGER_ORDER,
    LEDGER_REQUEST,
    MAX_FILLS,
)
from bot4.model.enums import REPORT_FILL, REPORT_FUNDING, TYPE_STOP_MARKET
from bot4.model.records import ORDER_WORDS


@kernel
def next_event(memory, kind, numbered):
    """Claim the next event slot: cleared, with kind, time and (if `numbered`) the next event number.

    Parameters
    ----------
    memory : Matching
    kind : int64, REPORT_*
    numbered : bool, False for answers to queries

    Returns
    -------
    int64, index into memory.events

    Notes
    -----
    Invariant: a caller handles one item at a time and ITEM_EVENTS bounds what one item causes.
    """
    desk = memory.desk[0]
    index = desk["n_events"]
    desk["n_events"] = index + 1
    for word in range(ORDER_WORDS):
        memory.event_words[index * ORDER_WORDS + word] = 0
    event = memory.events[index]
    event["ts_ns"] = desk["now_ns"]
    event["t_venue_ns"] = desk["now_ns"]
    event["kind"] = kind
    event["order_row"] = -1
    if numbered:
        desk["event_seq"] += 1
        event["event_seq"] = desk["event_seq"]
    return index


@kernel
def order_event(memory, row, kind, code, numbered):
    """An event about an order as the venue holds it; a stop order's trigger stands in `price_ticks`.

    Returns
    -------
    int64, index into memory.events
    """
    order = memory.orders[row]
    index = next_event(memory, kind, numbered)
    event = memory.events[index]
    event["id_hi"] = order["id_hi"]
    event["id_lo"] = order["id_lo"]
    event["price_ticks"] = order["stop_ticks"] if order["type"] == TYPE_STOP_MARKET else order["price_ticks"]
    event["qty_lots"] = order["qty_lots"]
    event["cum_lots"] = order["cum_lots"]
    event["leaves_lots"] = order["qty_lots"] - order["cum_lots"] if order["open"] != 0 else np.int64(0)
    event["venue_order_id"] = row + 1
    event["instrument"] = order["instrument"]
    event["shard"] = order["shard"]
    event["status"] = order["status"]
    event["side"] = order["side"]
    event["type"] = order["type"]
    event["flags"] = order["flags"]
    event["leg"] = order["leg"]
    event["code"] = code
    event["order_row"] = order["order_row"]
    return index


@kernel
def request_event(memory, request, kind, code, numbered):
    """An event about a request that has no order of its own: echoes whose it was.

    Returns
    -------
    int64, index into memory.events
    """
    index = next_event(memory, kind, numbered)
    event = memory.events[index]
    event["id_hi"] = request["id_hi"]
    event["id_lo"] = request["id_lo"]
    event["price_ticks"] = request["price_ticks"]
    event["qty_lots"] = request["qty_lots"]
    event["instrument"] = request["instrument"]
    event["shard"] = request["shard"]
    event["side"] = request["side"]
    event["type"] = request["type"]
    event["flags"] = request["flags"]
    event["leg"] = request["leg"]
    event["code"] = code
    event["order_row"] = request["order_row"]
    return index


@kernel
def next_entry(memory, kind):
    """Claim the next ledger entry: cleared, with number, kind, time and the account's cash. Returns its index."""
    desk = memory.desk[0]
    index = desk["n_entries"]
    desk["n_entries"] = index + 1
    for word in range(ENTRY_WORDS):
        memory.entry_words[index * ENTRY_WORDS + word] = 0
    desk["ledger_seq"] += 1
    entry = memory.entries[index]
    entry["seq"] = desk["ledger_seq"]
    entry["t_ns"] = desk["now_ns"]
    entry["kind"] = kind
    entry["cash_e8"] = desk["cash_e8"]
    return index


@kernel
def write_request(memory, request, request_words):
    """Ledger: the request as it came, byte for byte."""
    entry = memory.entries[next_entry(memory, LEDGER_REQUEST)]
    entry["id_hi"] = request["id_hi"]
    entry["id_lo"] = request["id_lo"]
    entry["instrument"] = np.int64(request["instrument"])
    entry["side"] = np.int64(request["side"])
    entry["type"] = np.int64(request["type"])
    entry["tif"] = np.int64(request["tif"])
    entry["flags"] = np.int64(request["flags"])
    entry["leg"] = np.int64(request["leg"])
    entry["action"] = np.int64(request["action"])
    entry["price_ticks"] = request["price_ticks"]
    entry["qty_lots"] = request["qty_lots"]
    entry["stop_ticks"] = request["stop_ticks"]
    body = entry["body"]
    for word in range(ORDER_WORDS):
        body[word] = request_words[word]


@kernel
def write_order(memory, row, status, code):
    """Ledger: an order's new state and why. Returns the entry's index."""
    index = next_entry(memory, LEDGER_ORDER)
    entry = memory.entries[index]
    order = memory.orders[row]
    entry["status"] = status
    entry["code"] = code
    entry["venue_order_id"] = row + 1
    entry["id_hi"] = order["id_hi"]
    entry["id_lo"] = order["id_lo"]
    entry["instrument"] = order["instrument"]
    entry["side"] = order["side"]
    entry["type"] = order["type"]
    entry["tif"] = order["tif"]
    entry["flags"] = order["flags"]
    entry["leg"] = order["leg"]
    entry["price_ticks"] = order["price_ticks"]
    entry["qty_lots"] = order["qty_lots"]
    entry["stop_ticks"] = order["stop_ticks"]
    entry["cum_lots"] = order["cum_lots"]
    entry["leaves_lots"] = order["qty_lots"] - order["cum_lots"] if order["open"] != 0 else np.int64(0)
    return index


@kernel
def write_refusal(memory, request, status, code):
    """Ledger: a request that was refused and has no order of its own (status REPORT_REJECT or _CANCEL_REJECT)."""
    entry = memory.entries[next_entry(memory, LEDGER_ORDER)]
    entry["status"] = status
    entry["code"] = code
    entry["id_hi"] = request["id_hi"]
    entry["id_lo"] = request["id_lo"]
    entry["instrument"] = np.int64(request["instrument"])
    entry["side"] = np.int64(request["side"])
    entry["type"] = np.int64(request["type"])
    entry["flags"] = np.int64(request["flags"])
    entry["leg"] = np.int64(request["leg"])
    entry["action"] = np.int64(request["action"])
    entry["price_ticks"] = request["price_ticks"]
    entry["qty_lots"] = request["qty_lots"]
    entry["stop_ticks"] = request["stop_ticks"]


@kernel
def report_fill(memory, row, price_ticks, qty_lots, fee_e8, fee_ppm, liquidity):
    """Tell, remember and write down one fill; order, position and cash already hold it."""
    desk = memory.desk[0]
    desk["n_fills"] += 1
    trade_id = desk["n_fills"]
    index = order_event(memory, row, REPORT_FILL, 0, True)
    event = memory.events[index]
    event["price_ticks"] = price_ticks
    event["qty_lots"] = qty_lots
    event["trade_id"] = trade_id
    event["fee_e8"] = fee_e8
    memory.fills[(trade_id - 1) % MAX_FILLS] = memory.events[index]
    at = write_order(memory, row, REPORT_FILL, 0)
    entry = memory.entries[at]
    entry["kind"] = LEDGER_FILL
    entry["price_ticks"] = price_ticks
    entry["qty_lots"] = qty_lots
    entry["fee_e8"] = fee_e8
    entry["fee_ppm"] = fee_ppm
    entry["liquidity"] = liquidity
    entry["trade_id"] = trade_id
    entry["position_lots"] = memory.seats[memory.orders[row]["instrument"]]["lots"]


@kernel
def report_funding(memory, instrument, amount_e8, mark_e8, rate_e8):
    """Tell and write down one funding payment; cash already holds it."""
    event = memory.events[next_event(memory, REPORT_FUNDING, True)]
    event["instrument"] = instrument
    event["cash_e8"] = amount_e8
    event["qty_lots"] = memory.seats[instrument]["lots"]
    entry = memory.entries[next_entry(memory, LEDGER_BALANCE)]
    entry["status"] = BALANCE_FUNDING
    entry["instrument"] = instrument
    entry["amount_e8"] = amount_e8
    entry["position_lots"] = memory.seats[instrument]["lots"]
    entry["mark_e8"] = mark_e8
    entry["rate_e8"] = rate_e8


@kernel
def write_fault(memory, instrument, fault):
    """Ledger: something went wrong with what the venue itself is fed."""
    entry = memory.entries[next_entry(memory, LEDGER_FAULT)]
    entry["status"] = fault
    entry["instrument"] = instrument
