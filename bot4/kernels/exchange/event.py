"""What happened, as records: the order as it is then, and what is told of a fill beside it.

Twin: tests/reference/kernels/exchange.py
"""

import numpy as np

from bot4.jit import kernel
from bot4.model.enums import REPORT_FILL, REPORT_PREVENTED


@kernel
def next_event(memory, kind, code):
    """Claim the next event of this command, cleared. Returns its index; there is room by the bound in state.py."""
    desk = memory["desk"]
    index = desk["n_events"]
    desk["n_events"] = index + 1
    desk["event_seq"] += 1
    event = memory["events"][index]
    event["ts_ns"] = desk["now_ns"]
    event["event_seq"] = desk["event_seq"]
    event["kind"] = kind
    event["code"] = code
    event["liquidity"] = 0
    event["last_lots"] = 0
    event["last_ticks"] = 0
    event["fee_e8"] = 0
    event["trade_id"] = 0
    return index


@kernel
def order_event(memory, kind, row, code):
    """Tell of an order. Returns the event's index."""
    index = next_event(memory, kind, code)
    event = memory["events"][index]
    order = memory["orders"][row]
    event["side"] = order["side"]
    event["type"] = order["type"]
    event["tif"] = order["tif"]
    event["flags"] = order["flags"]
    event["stp"] = order["stp"]
    event["place"] = order["place"]
    event["account"] = order["account"]
    event["instrument"] = order["instrument"]
    event["order_id"] = order["order_id"]
    event["client_id"] = order["client_id"]
    event["list_id"] = memory["lists"][order["list"]]["list_id"] if order["list"] >= 0 else np.int64(0)
    event["price_ticks"] = order["price_ticks"]
    event["stop_ticks"] = order["stop_ticks"]
    event["qty_lots"] = order["qty_lots"]
    event["cum_lots"] = order["cum_lots"]
    event["cum_value_e8"] = order["cum_value_e8"]
    return index


@kernel
def fill_event(memory, row, price_ticks, lots, fee_e8, trade_id, liquidity):
    """Tell one side of its fill."""
    event = memory["events"][order_event(memory, REPORT_FILL, row, 0)]
    event["liquidity"] = liquidity
    event["last_lots"] = lots
    event["last_ticks"] = price_ticks
    event["fee_e8"] = fee_e8
    event["trade_id"] = trade_id


@kernel
def prevented_event(memory, row, price_ticks, lots, match_id, liquidity, code):
    """Tell one side of lots that were not traded, because they would have been with its own account."""
    event = memory["events"][order_event(memory, REPORT_PREVENTED, row, code)]
    event["liquidity"] = liquidity
    event["last_lots"] = lots
    event["last_ticks"] = price_ticks
    event["trade_id"] = match_id


@kernel
def command_event(memory, kind, command, code):
    """Answer to a command that is about no open order."""
    index = next_event(memory, kind, code)
    event = memory["events"][index]
    event["side"] = command["side"]
    event["type"] = command["type"]
    event["tif"] = command["tif"]
    event["flags"] = command["flags"]
    event["stp"] = command["stp"]
    event["place"] = 0
    event["account"] = command["account"]
    event["instrument"] = command["instrument"] & 0xFFFF
    event["order_id"] = command["order_id"]
    event["client_id"] = command["client_id"]
    event["list_id"] = 0
    event["price_ticks"] = command["price_ticks"]
    event["stop_ticks"] = command["stop_ticks"]
    event["qty_lots"] = command["qty_lots"]
    event["cum_lots"] = 0
    event["cum_value_e8"] = 0
    return index


@kernel
def list_event(memory, kind, at, account, instrument):
    """Tell of an order list: `order_id` is none, `client_id` the list's."""
    index = next_event(memory, kind, 0)
    event = memory["events"][index]
    event["side"] = 0
    event["type"] = 0
    event["tif"] = 0
    event["flags"] = 0
    event["stp"] = 0
    event["place"] = 0
    event["account"] = account
    event["instrument"] = instrument
    event["order_id"] = 0
    event["client_id"] = memory["lists"][at]["client_id"]
    event["list_id"] = memory["lists"][at]["list_id"]
    event["price_ticks"] = 0
    event["stop_ticks"] = 0
    event["qty_lots"] = 0
    event["cum_lots"] = 0
    event["cum_value_e8"] = 0
