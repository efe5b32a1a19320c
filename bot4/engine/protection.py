"""One protective stop per position: placed after the first fill, resized with it, confirmed in time, gone when flat.

Beside a confirmed stop lies the take-profit that the entry named, for the whole position too. Both only reduce, so one
that fills takes from the other at the venue, and what is left of it follows here; of spot a resting sale would lock
the coins that the stop needs, so there the price is watched and the position closed at the market.

A stop that is refused or late, or that nobody has named, ends in a market close, and a close of which the venue says
nothing in another one: all of them only reduce, so whichever lands, nothing is opened. A venue that finds nothing to
reduce does not hold what we hold: it is asked again at growing distances, until a fill says what is. What is so little
that the venue takes no order for it is dust: nothing is placed for it before it changes. Every function looks at what
is and asks for what is missing, so it may be called after any event, and after a recovery.
"""

import numpy as np

from bot4.engine.execution_memory import PROTECTIVE_RESERVE
from bot4.engine.journal import journal_room
from bot4.engine.order_out import change_order, place_own
from bot4.engine.order_state import (
    BASE_FREE,
    BASE_WORKING,
    NEW,
    OVERLAY_UNKNOWN,
    PARTIALLY_FILLED,
    PENDING_REPLACE,
    is_open,
    status_of,
)
from bot4.jit import inlined, kernel
from bot4.model.enums import (
    ACTION_AMEND,
    ACTION_CANCEL,
    INT64_MAX,
    LEG_FLATTEN,
    LEG_PROFIT,
    LEG_STOP,
    TYPE_LIMIT,
    TYPE_MARKET,
    TYPE_STOP_MARKET,
)
from bot4.shm.spsc_ring import has_space
from bot4.shm.wires import (
    GAUGE_EXEC_FLATTENS,
    GAUGE_EXEC_NAKED_NS_MAX,
    GAUGE_EXEC_STOPS_PLACED,
)

FIRST_WAIT_NS = 1_000_000_000  # after a close that is refused so; doubled by each one more, up to ...
LONGEST_WAIT_NS = 30_000_000_000
MOST_CLOSES = 3  # of an instrument that the venue has not ended; a naked position is worth no more of them at a time


@inlined
def is_dust(position):
    """Whether the venue has said that it takes no close for so little, and nothing has changed since."""
    return position["wait_until_ns"] == INT64_MAX


@kernel
def is_covered(x, instrument):
    """True if a confirmed stop stands for the whole position, or there is none to protect, or none that could be.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    position = x.positions[instrument]
    lots = position["lots"]
    if lots == 0 or is_dust(position):
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


@inlined
def _has_room_to_spare(x, wires):
    """Room beyond what the stops and closes of all positions could ask for: a take-profit is no protection."""
    n = len(x.positions)
    spare = x.free[0] > 2 * n and has_space(wires.requests, 2 * n + 1)
    return spare and journal_room(x.header) > PROTECTIVE_RESERVE


@kernel
def _take_profit(x, wires, instruments, session, instrument):
    """Bring position and resting take-profit together: none before the stop is confirmed, none when killed.

    Returns
    -------
    bool: False if something is due that has found no room
    """
    position = x.positions[instrument]
    lots = position["lots"]
    wanted = lots != 0 and position["profit_ticks"] > 0 and x.account[0]["killed"] == 0
    wanted = wanted and instruments[instrument]["is_spot"] == 0
    row = position["profit_row"]
    if row < 0:
        if not wanted or position["flatten_row"] >= 0 or not is_covered(x, instrument):
            return True
        if not _has_room_to_spare(x, wires):
            return False
        price = position["profit_ticks"]
        position["profit_row"] = place_own(x, wires, instruments, session, instrument, LEG_PROFIT, TYPE_LIMIT, price)
        return position["profit_row"] >= 0
    order = x.orders[row]
    status = status_of(order)
    if status != NEW and status != PARTIALLY_FILLED:
        return True
    opposite = (order["side"] > 0) != (lots > 0)
    if not wanted or not opposite or order["price_ticks"] != position["profit_ticks"]:
        return change_order(x, wires, session, row, ACTION_CANCEL, 0, 0)
    left = order["qty_lots"] - order["cum_lots"]
    if left > abs(lots) or (left < abs(lots) and is_covered(x, instrument)):
        return change_order(x, wires, session, row, ACTION_AMEND, order["cum_lots"] + abs(lots), 0)
    return True


@kernel
def watch_profit(x, wires, instruments, limits, session, instrument):
    """After a quote of spot: close at the market where the take-profit would have been met.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    position = x.positions[instrument]
    price = position["bid_ticks"]  # nothing can be held short
    named = position["profit_ticks"] > 0 and instruments[instrument]["is_spot"] != 0 and x.account[0]["killed"] == 0
    if named and position["lots"] > 0 and position["whole"] != 0 and price >= position["profit_ticks"]:
        flatten(x, wires, instruments, limits, session, instrument)


@kernel
def protect(x, wires, instruments, limits, session, instrument):
    """Bring position, stop and take-profit together: place, resize, remove; nothing if that is under way already.

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
        if row < 0 and account["now_ns"] < position["wait_until_ns"]:
            position["retry"] = 0 if is_dust(position) else 1
        elif row < 0 and position["stop_ticks"] <= 0:
            flatten(x, wires, instruments, limits, session, instrument)  # there is no price that a stop could be at
            position["retry"] = 1 if position["flatten_row"] < 0 else 0
        elif row < 0:
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
    if not _take_profit(x, wires, instruments, session, instrument):
        position["retry"] = 1
    if position["naked_since_ns"] != 0:
        deadline = position["naked_since_ns"] + limits[0]["stop_confirm_ns"]
        account["next_deadline_ns"] = min(account["next_deadline_ns"], deadline)
    if position["retry"] != 0:
        account["next_deadline_ns"] = min(account["next_deadline_ns"], account["now_ns"] + 1)


@kernel
def move_stop(x, wires, instruments, limits, session, instrument):
    """After a quote: the stop follows the price at its distance, and once far enough beyond the cost is at the cost.

    Only towards the price, and not by less than an eighth of the distance: each move is a message. What the price that
    the position could be left at has not shown moves nothing, nor does a book that is not whole.

    Notes
    -----
    Twin: tests/reference/engine/execution.py
    """
    position = x.positions[instrument]
    trail = position["trail_ticks"]
    even = position["even_ticks"]
    lots = position["lots"]
    if lots == 0 or position["whole"] == 0 or position["bid_ticks"] <= 0 or (trail == 0 and even == 0):
        return
    sign = np.int64(1) if lots > 0 else np.int64(-1)
    price = position["bid_ticks"] if lots > 0 else position["ask_ticks"]
    cost = -((-position["cost_tl"]) // lots) if lots > 0 else position["cost_tl"] // lots  # the better one of two ticks
    gained = np.int64(0)  # ticks that the stop moves
    if trail > 0:
        gained = sign * (price - position["stop_ticks"]) - trail
    if even > 0 and sign * (price - cost) >= even:
        gained = max(gained, sign * (cost - position["stop_ticks"]))
    if gained >= max(trail >> 3, np.int64(1)):
        position["stop_ticks"] += sign * gained
        protect(x, wires, instruments, limits, session, instrument)


@inlined
def wait_longer(position, at_ns):
    """The venue has found nothing to reduce, or its filters forbid it: the next close waits, each one twice as long."""
    if at_ns >= position["wait_until_ns"]:
        position["wait_ns"] = min(max(FIRST_WAIT_NS, 2 * position["wait_ns"]), LONGEST_WAIT_NS)
        position["wait_until_ns"] = at_ns + position["wait_ns"]


@inlined
def wait_for_a_fill(position):
    """It is dust: the venue takes no close for so little."""
    position["wait_until_ns"] = INT64_MAX  # before a fill


@inlined
def wait_no_more(position):
    """A fill or a close that is accepted: the venue holds something."""
    position["wait_ns"] = position["wait_until_ns"] = 0


@kernel
def _may_close(x, limits, instrument):
    """False while the last close has time to be answered or works, while too many of them have no end, and while the
    venue that found nothing to reduce is left alone. Closes of a position that was on the other side close none here.
    """
    position = x.positions[instrument]
    if x.account[0]["now_ns"] < position["wait_until_ns"]:
        return False
    side = 1 if position["lots"] < 0 else -1
    row = position["flatten_row"]
    if row >= 0 and x.orders[row]["side"] == side:
        last = x.orders[row]
        # An unknown one has had its time: since then the venue has only been asked about it.
        is_unknown = last["overlay"] & OVERLAY_UNKNOWN != 0
        is_new = not is_unknown and x.account[0]["now_ns"] - last["sent_ns"] < limits[0]["stop_confirm_ns"]
        if last["base"] == BASE_WORKING or is_new:
            return False
    closes = np.int64(0)
    for other in range(len(x.orders)):
        order = x.orders[other]
        if order["base"] == BASE_FREE or order["leg"] != LEG_FLATTEN or order["instrument"] != instrument:
            continue
        if order["side"] == side:
            closes += 1
    return closes < MOST_CLOSES


@kernel
def flatten(x, wires, instruments, limits, session, instrument):
    """Close the position at the market, again where the venue leaves a close without a word.

    Notes
    -----
    Bound: one close per `stop_confirm_ns`, MOST_CLOSES without an end. A venue lets what only reduces trade at most the
    position (`ports/venue.py`), so those that land late find nothing. Twin: tests/reference/engine/execution.py
    """
    position = x.positions[instrument]
    if position["lots"] == 0 or not _may_close(x, limits, instrument):
        return
    row = place_own(x, wires, instruments, session, instrument, LEG_FLATTEN, TYPE_MARKET, np.int64(0))
    if row >= 0:
        position["flatten_row"] = row
        x.stats[GAUGE_EXEC_FLATTENS] += 1
