"""One protective stop per position: placed after the first fill, resized with it, confirmed in time, gone when flat.

A stop that is refused or late ends in a market close. Every function looks at what is and asks for what is missing, so
it may be called after any event, and after a recovery.
"""

import numpy as np

from bot4.engine.order_out import change_order, place_own
from bot4.engine.order_state import (
    NEW,
    PARTIALLY_FILLED,
    PENDING_REPLACE,
    is_open,
    status_of,
)
from bot4.jit import inlined, kernel
from bot4.model.enums import (
    ACTION_AMEND,
    ACTION_CANCEL,
    LEG_FLATTEN,
    LEG_STOP,
    TYPE_MARKET,
    TYPE_STOP_MARKET,
)
from bot4.shm.wires import (
    GAUGE_EXEC_FLATTENS,
    GAUGE_EXEC_NAKED_NS_MAX,
    GAUGE_EXEC_STOPS_PLACED,
)


@kernel
def is_covered(x, instrument):
    """True if a confirmed stop stands for the whole position, or there is none to protect.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    position = x.positions[instrument]
    lots = position["lots"]
    if lots == 0:
        return True
    row = position["stop_row"]
    if row < 0:
        return False
    order = x.orders[row]
    status = status_of(order)
    stands = order["qty_lots"]
    if status == PENDING_REPLACE:
        stands = min(stands, order["asked_qty_lots"])
    elif status != NEW and status != PARTIALLY_FILLED:
        return False
    return (order["side"] > 0) != (lots > 0) and stands - order["cum_lots"] >= abs(lots)


@inlined
def _covered_at_last(x, position):
    """The whole position is confirmed to be protected, or gone: how long was a part of it naked?"""
    if position["naked_since_ns"] != 0:
        naked = x.account[0]["now_ns"] - position["naked_since_ns"]
        x.stats[GAUGE_EXEC_NAKED_NS_MAX] = max(x.stats[GAUGE_EXEC_NAKED_NS_MAX], naked)
        position["naked_since_ns"] = 0


@kernel
def protect(x, wires, instruments, limits, session, instrument):
    """Bring stop and position together: place, resize, remove; nothing if that is under way already.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    account = x.account[0]
    position = x.positions[instrument]
    position["retry"] = 0
    lots = position["lots"]
    row = position["stop_row"]
    if lots == 0:
        _covered_at_last(x, position)
        if row >= 0 and is_open(x.orders[row]):
            position["retry"] = 0 if change_order(x, wires, session, row, ACTION_CANCEL, 0, 0) else 1
    else:
        if is_covered(x, instrument):
            _covered_at_last(x, position)
        elif position["naked_since_ns"] == 0:
            position["naked_since_ns"] = account["now_ns"]
        if row < 0:
            row = place_own(
                x, wires, instruments, session, instrument, LEG_STOP, TYPE_STOP_MARKET, position["stop_ticks"]
            )
            position["stop_row"] = row
            if row >= 0:
                x.stats[GAUGE_EXEC_STOPS_PLACED] += 1
            else:
                position["retry"] = 1
        else:
            order = x.orders[row]
            status = status_of(order)
            if status == NEW or status == PARTIALLY_FILLED:
                if (order["side"] > 0) == (lots > 0):
                    position["retry"] = 0 if change_order(x, wires, session, row, ACTION_CANCEL, 0, 0) else 1
                elif (
                    order["qty_lots"] - order["cum_lots"] != abs(lots) or order["stop_ticks"] != position["stop_ticks"]
                ):
                    asked = order["cum_lots"] + abs(lots)
                    done = change_order(x, wires, session, row, ACTION_AMEND, asked, position["stop_ticks"])
                    position["retry"] = 0 if done else 1
    if position["naked_since_ns"] != 0:
        deadline = position["naked_since_ns"] + limits[0]["stop_confirm_ns"]
        account["next_deadline_ns"] = min(account["next_deadline_ns"], deadline)
    if position["retry"] != 0:
        account["next_deadline_ns"] = min(account["next_deadline_ns"], account["now_ns"] + 1)


@kernel
def flatten(x, wires, instruments, session, instrument):
    """Close the position at the market unless a close is in flight.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    position = x.positions[instrument]
    if position["lots"] == 0 or position["flatten_row"] >= 0:
        return
    row = place_own(x, wires, instruments, session, instrument, LEG_FLATTEN, TYPE_MARKET, np.int64(0))
    position["flatten_row"] = row
    if row >= 0:
        x.stats[GAUGE_EXEC_FLATTENS] += 1
