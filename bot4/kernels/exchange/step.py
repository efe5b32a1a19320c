"""The exchange's duty: one command in, its events out.

    memory = exchange_memory(rules, n_accounts, n_assets)
    n = exchange_step(memory, command)      the events are memory["events"][:n]

A full matching engine of many accounts and instruments: price-time priority, every order type, order lists, self-trade
prevention, balances and positions; `state.py` has the map and the bounds. The same commands give the same events, byte
for byte. (`kernels/matching` is another thing: our own orders in front of a recorded book.)

Budget: 200 ns a command that rests or leaves, 1 us a fill with both sides (`bot4-bench matching`).
"""

import numpy as np

from bot4.jit import kernel
from bot4.kernels.exchange.account import add_open, funding, lock, own_claim_e8, paid_in_free_e8
from bot4.kernels.exchange.check import check_bounds, crosses, parts_of, waits_for_price, would_fire
from bot4.kernels.exchange.ending import close
from bot4.kernels.exchange.entry import place, refuse_list, stage_leg, take_turns
from bot4.kernels.exchange.event import command_event, order_event
from bot4.kernels.exchange.identity import find_order
from bot4.kernels.exchange.queue import join_trigger, leave, lessen_booked
from bot4.kernels.exchange.state import (
    ALL_INSTRUMENTS,
    AT_BOOK,
    ICEBERG_PARTS,
    MAX_INSTRUMENTS,
    SUPPLY_BOUND,
    TREE_ASK,
    TREE_BID,
)
from bot4.kernels.exchange.tree import key_of, root_of, tree_after
from bot4.kernels.exchange.trigger import on_price
from bot4.kernels.exchange.walk import execute, has_limit
from bot4.model.enums import (
    ACTION_AMEND,
    ACTION_CANCEL,
    ACTION_CANCEL_ALL,
    ACTION_DEPOSIT,
    ACTION_EXPIRE,
    ACTION_FUNDING,
    ACTION_LEG,
    ACTION_PLACE,
    ACTION_TRADE,
    OK,
    ORDER_POST_ONLY,
    REPORT_BALANCE,
    REPORT_CANCEL_REJECT,
    REPORT_CANCELED,
    REPORT_EXPIRED,
    REPORT_REJECT,
    REPORT_REPLACED,
    VENUE_BAD_REQUEST,
    VENUE_BALANCE,
    VENUE_LIST,
    VENUE_POST_ONLY,
    VENUE_STOP_WOULD_TRIGGER,
    VENUE_TOO_MANY_ORDERS,
    VENUE_UNKNOWN_ORDER,
)


@kernel
def _check_amend(memory, command, row, leaves, price, stop, lock_ticks):
    """Why an open order cannot have these numbers, or OK. `lock_ticks`: its lock would be reckoned with."""
    order = memory["orders"][row]
    market = memory["markets"][order["instrument"]]
    if order["list"] >= 0:
        return VENUE_LIST
    in_book = order["place"] == AT_BOOK
    if leaves < 1 or leaves - order["leaves_lots"] > market["max_lots"] - order["qty_lots"]:
        return VENUE_BAD_REQUEST
    if price < 0 or price > market["max_price_ticks"] or has_limit(order["type"]) != (price > 0):
        return VENUE_BAD_REQUEST
    if command["stop_ticks"] != 0:
        if stop < 0 or stop > market["max_price_ticks"] or in_book or order["trail_bps"] > 0:
            return VENUE_BAD_REQUEST
        if not waits_for_price(order["type"]):
            return VENUE_BAD_REQUEST
        if would_fire(market, order, stop):
            return VENUE_STOP_WOULD_TRIGGER
    parts = parts_of(leaves, order["display_lots"])
    if parts > ICEBERG_PARTS and order["display_lots"] > 0:
        return VENUE_BAD_REQUEST
    if memory["desk"]["n_parts"] - order["parts"] + parts > memory["desk"]["max_orders"]:
        return VENUE_TOO_MANY_ORDERS
    if in_book and price != order["price_ticks"] and order["flags"] & ORDER_POST_ONLY:
        if crosses(memory, order, price):
            return VENUE_POST_ONLY
    if order["locks"] != 0:
        unit = lock_ticks * market["value_e8"] if order["side"] > 0 else market["lot_e8"]
        if leaves * unit - own_claim_e8(memory, row) > paid_in_free_e8(memory, row):
            return VENUE_BALANCE
    return check_bounds(memory, row, max(np.int64(0), leaves - order["leaves_lots"]))


@kernel
def amend(memory, command):
    """Another quantity (of the whole order), limit or trigger for an open order; 0 leaves each as it is.

    Notes
    -----
    A smaller quantity keeps its place in the queue. A larger one or another price goes to the end of it, and takes
    first if the price reaches the other side. An order of a list, or one that is refused, stays as it is.
    Complexity: O(orders met). Twin: tests/reference/kernels/exchange.py
    """
    row = find_order(memory, np.int64(command["account"]), command["order_id"], command["client_id"])
    if row < 0:
        command_event(memory, REPORT_CANCEL_REJECT, command, VENUE_UNKNOWN_ORDER)
        return
    order = memory["orders"][row]
    leaves = order["leaves_lots"]
    if command["qty_lots"] != 0:
        leaves = command["qty_lots"] - order["cum_lots"] - order["prevented_lots"]
    price = command["price_ticks"] if command["price_ticks"] != 0 else order["price_ticks"]
    stop = command["stop_ticks"] if command["stop_ticks"] != 0 else order["stop_ticks"]
    lock_ticks = order["lock_ticks"]
    if price != 0:
        lock_ticks = price
    elif command["stop_ticks"] != 0:
        lock_ticks = stop
    code = _check_amend(memory, command, row, leaves, price, stop, lock_ticks)
    if code != OK:
        command_event(memory, REPORT_CANCEL_REJECT, command, code)
        return
    in_book = order["place"] == AT_BOOK
    if in_book:
        keeps_place = price == order["price_ticks"] and leaves <= order["leaves_lots"]
    else:
        keeps_place = stop == order["stop_ticks"]
    more = leaves - order["leaves_lots"]
    parts = parts_of(leaves, order["display_lots"])
    memory["desk"]["n_parts"] += parts - order["parts"]
    order["parts"] = parts
    add_open(memory, row, more)
    before = own_claim_e8(memory, row)
    if not keeps_place:
        leave(memory, row)
    if in_book and keeps_place:
        lessen_booked(memory, row, -more, False)
    else:
        order["leaves_lots"] = leaves
    order["qty_lots"] += more
    order["price_ticks"] = price
    order["stop_ticks"] = stop
    order["lock_ticks"] = lock_ticks
    lock(memory, row, own_claim_e8(memory, row) - before)
    if not keeps_place and not in_book:
        join_trigger(memory, row)
    order_event(memory, REPORT_REPLACED, row, OK)
    if not keeps_place and in_book:
        execute(memory, row)


@kernel
def cancel(memory, command):
    """An open order ends, and with it the rest of its list."""
    row = find_order(memory, np.int64(command["account"]), command["order_id"], command["client_id"])
    if row < 0:
        command_event(memory, REPORT_CANCEL_REJECT, command, VENUE_UNKNOWN_ORDER)
    else:
        close(memory, row, REPORT_CANCELED, OK)


@kernel
def cancel_all(memory, command):
    """Every open order of an account on an instrument, or on all (ALL_INSTRUMENTS), ends: the oldest first."""
    account = np.int64(command["account"])
    chosen = np.int64(command["instrument"])
    n = memory["desk"]["n_instruments"]
    if account < 0 or account >= memory["desk"]["n_accounts"] or chosen < ALL_INSTRUMENTS or chosen >= n:
        command_event(memory, REPORT_CANCEL_REJECT, command, VENUE_BAD_REQUEST)
        return
    for instrument in range(n):
        if chosen != ALL_INSTRUMENTS and chosen != instrument:
            continue
        seat = memory["seats"][account * MAX_INSTRUMENTS + instrument]
        while seat["head"] >= 0:
            close(memory, np.int64(seat["head"]), REPORT_CANCELED, OK)


@kernel
def deposit(memory, command):
    """Money comes to an account, or leaves it; the event's `cum_value_e8` is what is free then.

    Notes
    -----
    Errors: VENUE_BALANCE (more than is free, or than an asset may have), VENUE_BAD_REQUEST.
    """
    account = np.int64(command["account"])
    asset = np.int64(command["instrument"])
    amount = command["amount_e8"]
    desk = memory["desk"]
    if account < 0 or account >= desk["n_accounts"] or asset < 0 or asset >= desk["n_assets"] or amount == 0:
        command_event(memory, REPORT_REJECT, command, VENUE_BAD_REQUEST)
        return
    balance = memory["balances"][account, asset]
    too_much = amount > SUPPLY_BOUND - memory["supply"][asset] if amount > 0 else -balance["free_e8"] > amount
    if too_much:
        command_event(memory, REPORT_REJECT, command, VENUE_BALANCE)
        return
    balance["free_e8"] += amount
    memory["supply"][asset] += amount
    event = memory["events"][command_event(memory, REPORT_BALANCE, command, OK)]
    event["cum_value_e8"] = balance["free_e8"]


@kernel
def trade_elsewhere(memory, command):
    """Others have traded at a price, none of the orders here among them: it sets off who waits for it.

    Notes
    -----
    Errors: VENUE_BAD_REQUEST. Twin: tests/reference/kernels/exchange.py
    """
    instrument = np.int64(command["instrument"])
    price = command["price_ticks"]
    if instrument < 0 or instrument >= memory["desk"]["n_instruments"]:
        command_event(memory, REPORT_REJECT, command, VENUE_BAD_REQUEST)
    elif price < 1 or price > memory["markets"][instrument]["max_price_ticks"]:
        command_event(memory, REPORT_REJECT, command, VENUE_BAD_REQUEST)
    else:
        on_price(memory, instrument, price)


@kernel
def exchange_step(memory, command):
    """Do what one command says, and everything that follows from it.

    Parameters
    ----------
    memory : EXCHANGE record
    command : COMMAND record; time never goes back, an earlier `ts_ns` counts as the latest one

    Returns
    -------
    int64 : how many events there are in memory["events"]

    Notes
    -----
    Complexity: O(orders met). First the orders end whose time has come. Errors: an event REPORT_REJECT or
    REPORT_CANCEL_REJECT with a code VENUE_*, and nothing has changed.
    Invariant: what `audit.py` checks. Twin: tests/reference/kernels/exchange.py
    """
    desk = memory["desk"]
    desk["n_events"] = 0
    desk["now_ns"] = max(desk["now_ns"], command["ts_ns"])
    while desk["n_heap"] > 0 and memory["orders"][memory["heap"][0]]["expire_ns"] <= desk["now_ns"]:
        close(memory, np.int64(memory["heap"][0]), REPORT_EXPIRED, OK)
    action = np.int64(command["action"])
    if desk["n_staged"] > 0 and action != ACTION_LEG:
        refuse_list(memory, VENUE_BAD_REQUEST)
    if action == ACTION_PLACE:
        place(memory, command)
    elif action == ACTION_CANCEL:
        cancel(memory, command)
    elif action == ACTION_AMEND:
        amend(memory, command)
    elif action == ACTION_CANCEL_ALL:
        cancel_all(memory, command)
    elif action == ACTION_LEG:
        stage_leg(memory, command)
    elif action == ACTION_DEPOSIT:
        deposit(memory, command)
    elif action == ACTION_FUNDING:
        funding(memory, command)
    elif action == ACTION_TRADE:
        trade_elsewhere(memory, command)
    elif action != ACTION_EXPIRE:
        command_event(memory, REPORT_REJECT, command, VENUE_BAD_REQUEST)
    take_turns(memory)
    return desk["n_events"]


@kernel
def depth(memory, instrument, side, out):
    """Best levels of a side as everybody sees them, hidden lots left out.

    Parameters
    ----------
    memory : EXCHANGE record
    instrument : int64, of those there are
    side : int64, +1 bids, -1 asks
    out : int64[n, 2], price in ticks and lots, is written

    Returns
    -------
    int64 : levels written, at most n
    """
    market = memory["markets"][instrument]
    tree = np.int64(TREE_BID if side > 0 else TREE_ASK)
    level = market["best"][tree]
    n = np.int64(0)
    while level >= 0 and n < len(out):
        row = memory["levels"][level]
        out[n, 0] = row["price_ticks"]
        out[n, 1] = row["shown_lots"]
        n += 1
        key = key_of(market, tree, row["price_ticks"])
        level = tree_after(memory, root_of(instrument, tree), market["digits"], key)
    return n
