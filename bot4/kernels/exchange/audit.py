"""What must hold after every command, looked up the slow way: money, locks, positions, queues, prices.

For tests, chaos runs and whoever doubts; it walks everything and changes nothing.
Twin: `check` in tests/reference/kernels/exchange.py
"""

import numpy as np

from bot4.jit import kernel
from bot4.kernels.exchange.account import opens, own_claim_e8, reducible, sibling
from bot4.kernels.exchange.state import (
    AT_BOOK,
    AT_LIST,
    AT_TRIGGER,
    EVENTS_MORE,
    EVENTS_PER_ORDER,
    MAX_INSTRUMENTS,
    N_TREES,
    TREE_ASK,
    TREE_BID,
    TREE_FALLING,
    TREE_RISING,
)
from bot4.kernels.exchange.tree import key_of, root_of, tree_after, tree_first
from bot4.model.enums import ORDER_REDUCE_ONLY

AUDIT_OK = 0
AUDIT_MONEY = 1  # an asset's balances, fees and the cost of its contracts are not what was deposited
AUDIT_LOCKED = 2  # an account has more or less locked than its open orders need
AUDIT_POSITION = 3  # the positions of a contract do not add up to nothing, or one is beyond its bound
AUDIT_OPEN_LOTS = 4  # what is counted of open orders is not what they are
AUDIT_REDUCE = 5  # reduce-only orders ask for more than the position
AUDIT_LEVEL = 6  # a level is empty, in the wrong place, or not the sum of its orders
AUDIT_ORDER = 7  # an order's numbers do not add up, or it is not where it says
AUDIT_CROSSED = 8  # a bid meets an ask
AUDIT_LOST = 9  # orders that are in no queue or in two, or not counted
AUDIT_QUEUE = 10  # somebody's turn never came
AUDIT_EVENTS = 11  # a command told more than its bound
AUDIT_NAMES = (
    "", "money", "locked", "position", "open_lots", "reduce", "level", "order", "crossed", "lost", "queue", "events",
)  # fmt: skip


@kernel
def _audit_money(memory):
    n_accounts, n_assets = memory["desk"]["n_accounts"], memory["desk"]["n_assets"]
    n = memory["desk"]["n_instruments"]
    for asset in range(n_assets):
        held = memory["fees"][asset]
        for account in range(n_accounts):
            held += memory["balances"][account, asset]["free_e8"] + memory["balances"][account, asset]["locked_e8"]
            for instrument in range(n):
                market = memory["markets"][instrument]
                if market["linear"] != 0 and market["quote"] == asset:
                    held -= memory["seats"][account * MAX_INSTRUMENTS + instrument]["cost_tl"] * market["value_e8"]
        if held != memory["supply"][asset]:
            return AUDIT_MONEY
    return AUDIT_OK


@kernel
def _audit_locked(memory):
    n_accounts, n_assets = memory["desk"]["n_accounts"], memory["desk"]["n_assets"]
    n = memory["desk"]["n_instruments"]
    for account in range(n_accounts):
        for asset in range(n_assets):
            needed = np.int64(0)
            for instrument in range(n):
                market = memory["markets"][instrument]
                if market["base"] != asset and market["quote"] != asset:
                    continue
                row = np.int64(memory["seats"][account * MAX_INSTRUMENTS + instrument]["head"])
                while row >= 0:
                    order = memory["orders"][row]
                    pays = market["quote"] if order["side"] > 0 else market["base"]
                    if pays == asset:
                        own = own_claim_e8(memory, row)
                        other = sibling(memory, row)
                        if other < 0:
                            needed += own
                        elif order["leg"] < memory["orders"][other]["leg"]:  # a pair is counted once
                            needed += max(own, own_claim_e8(memory, other))
                    row = np.int64(order["seat_next"])
            if memory["balances"][account, asset]["locked_e8"] != needed:
                return AUDIT_LOCKED
    return AUDIT_OK


@kernel
def _audit_seats(memory):
    n = memory["desk"]["n_instruments"]
    for instrument in range(n):
        market = memory["markets"][instrument]
        lots = np.int64(0)
        for account in range(memory["desk"]["n_accounts"]):
            seat = memory["seats"][account * MAX_INSTRUMENTS + instrument]
            lots += seat["lots"]
            if abs(seat["lots"]) > market["max_position_lots"]:
                return AUDIT_POSITION
            for turn in range(2):
                side = 1 if turn == 0 else -1
                open_lots = np.int64(0)
                reduce_lots = np.int64(0)
                row = np.int64(seat["head"])
                while row >= 0:
                    order = memory["orders"][row]
                    if order["side"] == side and opens(memory, order):
                        open_lots += order["leaves_lots"]
                    if order["side"] == side and order["place"] == AT_BOOK and order["flags"] & ORDER_REDUCE_ONLY:
                        reduce_lots += order["leaves_lots"]
                    row = np.int64(order["seat_next"])
                if open_lots != seat["open_lots"][turn] or reduce_lots != seat["reduce_lots"][turn]:
                    return AUDIT_OPEN_LOTS
                if reduce_lots > reducible(seat, side):
                    return AUDIT_REDUCE
        if lots != 0:
            return AUDIT_POSITION
    return AUDIT_OK


@kernel
def _audit_level(memory, level, instrument, tree):
    """AUDIT_* and how many orders wait at a level."""
    place = memory["levels"][level]
    in_book = tree == TREE_BID or tree == TREE_ASK
    shown = np.int64(0)
    total = np.int64(0)
    count = np.int64(0)
    before = np.int64(-1)
    row = np.int64(place["head"])
    while row >= 0:
        order = memory["orders"][row]
        count += 1
        shown += order["slice_lots"]
        total += order["leaves_lots"]
        price = order["price_ticks"] if in_book else order["stop_ticks"]
        if order["level"] != level or order["prev"] != before or price != place["price_ticks"]:
            return AUDIT_ORDER, count
        if order["instrument"] != instrument or order["place"] != (AT_BOOK if in_book else AT_TRIGGER):
            return AUDIT_ORDER, count
        if in_book and (order["slice_lots"] < 1 or order["slice_lots"] > order["leaves_lots"]):
            return AUDIT_ORDER, count
        if order["leaves_lots"] != order["qty_lots"] - order["cum_lots"] - order["prevented_lots"]:
            return AUDIT_ORDER, count
        before = row
        row = np.int64(order["next"])
    if count == 0 or place["tail"] != before:
        return AUDIT_LEVEL, count
    if in_book and (shown != place["shown_lots"] or total != place["total_lots"]):
        return AUDIT_LEVEL, count
    return AUDIT_OK, count


@kernel
def _audit_books(memory):
    """AUDIT_* and how many orders wait in all trees."""
    total = np.int64(0)
    for instrument in range(memory["desk"]["n_instruments"]):
        market = memory["markets"][instrument]
        for tree in range(N_TREES):
            root = root_of(instrument, tree)
            level = tree_first(memory, root, market["digits"])
            if level != market["best"][tree]:
                return AUDIT_LEVEL, total
            before = np.int64(-1)
            while level >= 0:
                code, count = _audit_level(memory, level, instrument, tree)
                total += count
                if code != AUDIT_OK:
                    return code, total
                key = key_of(market, tree, memory["levels"][level]["price_ticks"])
                if key <= before:
                    return AUDIT_LEVEL, total
                before = key
                level = tree_after(memory, root, market["digits"], key)
        bid = market["best"][TREE_BID]
        ask = market["best"][TREE_ASK]
        if bid >= 0 and ask >= 0 and memory["levels"][bid]["price_ticks"] >= memory["levels"][ask]["price_ticks"]:
            return AUDIT_CROSSED, total
        rising = market["best"][TREE_RISING]
        if rising >= 0 and market["last_ticks"] > 0 and memory["levels"][rising]["price_ticks"] <= market["last_ticks"]:
            return AUDIT_QUEUE, total
        falling = market["best"][TREE_FALLING]
        if falling >= 0 and memory["levels"][falling]["price_ticks"] >= market["last_ticks"] > 0:
            return AUDIT_QUEUE, total
    return AUDIT_OK, total


@kernel
def audit(memory):
    """AUDIT_OK, or the first thing that does not hold between two commands.

    Notes
    -----
    Complexity: O(accounts * assets * instruments + orders).
    """
    code = _audit_money(memory)
    if code == AUDIT_OK:
        code = _audit_locked(memory)
    if code == AUDIT_OK:
        code = _audit_seats(memory)
    if code != AUDIT_OK:
        return code
    code, waiting = _audit_books(memory)
    if code != AUDIT_OK:
        return code
    desk = memory["desk"]
    listed = np.int64(0)
    parts = np.int64(0)
    pending = np.int64(0)
    for at in range(desk["n_accounts"] * MAX_INSTRUMENTS):
        row = np.int64(memory["seats"][at]["head"])
        while row >= 0:
            listed += 1
            parts += memory["orders"][row]["parts"]
            pending += 1 if memory["orders"][row]["place"] == AT_LIST else 0
            row = np.int64(memory["orders"][row]["seat_next"])
    if listed != desk["n_open"] or parts != desk["n_parts"] or waiting + pending != listed:
        return AUDIT_LOST
    if desk["queue_head"] >= 0:
        return AUDIT_QUEUE
    if desk["n_events"] > max(desk["n_accounts"], EVENTS_PER_ORDER * desk["max_orders"] + EVENTS_MORE):
        return AUDIT_EVENTS
    return AUDIT_OK
