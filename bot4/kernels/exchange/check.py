"""Why a new order is refused: by its form, by who asks for how much, by the market as it is. Nothing changes here."""

import numpy as np

from bot4.jit import inlined, kernel
from bot4.kernels.exchange.account import opens, own_claim_e8, paid_in_free_e8, reducible
from bot4.kernels.exchange.queue import rising
from bot4.kernels.exchange.state import (
    BPS,
    ICEBERG_PARTS,
    MAX_TRAILING,
    SUPPLY_BOUND,
    VALUE_BOUND,
)
from bot4.kernels.exchange.tree import key_of, root_of, tree_after
from bot4.kernels.exchange.walk import against, has_limit
from bot4.model.enums import (
    LIST_OCO,
    LIST_OTOCO,
    OK,
    ORDER_POST_ONLY,
    ORDER_REDUCE_ONLY,
    SIDE_BUY,
    SIDE_SELL,
    STP_DECREMENT,
    TIF_FOK,
    TIF_GTC,
    TIF_GTD,
    TIF_IOC,
    TYPE_LIMIT,
    TYPE_MARKET,
    TYPE_TAKE_PROFIT_LIMIT,
    VENUE_BAD_REQUEST,
    VENUE_BALANCE,
    VENUE_NO_MARKET,
    VENUE_POSITION,
    VENUE_POST_ONLY,
    VENUE_REDUCE_ONLY,
    VENUE_STOP_WOULD_TRIGGER,
    VENUE_TOO_MANY_ORDERS,
)


@inlined
def waits_for_price(order_type):
    """True for the types that have a trigger."""
    return order_type != TYPE_MARKET and order_type != TYPE_LIMIT


@inlined
def parts_of(lots, display_lots):
    """In how many pieces an order is shown."""
    return np.int64(1) if display_lots == 0 else -((-lots) // display_lots)


@kernel
def check_form(memory, command):
    """VENUE_BAD_REQUEST if the fields of an order make no sense by themselves or together, else OK.

    Notes
    -----
    Complexity: O(1). After it every product of the order's numbers fits, see state.py.
    """
    account = np.int64(command["account"])
    instrument = np.int64(command["instrument"])
    desk = memory["desk"]
    if account < 0 or account >= desk["n_accounts"] or instrument < 0 or instrument >= desk["n_instruments"]:
        return VENUE_BAD_REQUEST
    market = memory["markets"][instrument]
    order_type = np.int64(command["type"])
    tif = np.int64(command["tif"])
    side = np.int64(command["side"])
    flags = np.int64(command["flags"])
    qty = command["qty_lots"]
    price = command["price_ticks"]
    stop = command["stop_ticks"]
    trail = command["trail_bps"]
    display = command["display_lots"]
    amount = command["amount_e8"]
    if order_type < TYPE_MARKET or order_type > TYPE_TAKE_PROFIT_LIMIT or tif < TIF_GTC or tif > TIF_GTD:
        return VENUE_BAD_REQUEST
    if (side != SIDE_BUY and side != SIDE_SELL) or np.int64(command["stp"]) > STP_DECREMENT:
        return VENUE_BAD_REQUEST
    limited = has_limit(order_type)
    triggered = waits_for_price(order_type)
    if amount != 0:
        if order_type != TYPE_MARKET or market["linear"] != 0 or amount < 0 or amount > VALUE_BOUND or qty != 0:
            return VENUE_BAD_REQUEST
        if np.int64(command["stp"]) == STP_DECREMENT:
            return VENUE_BAD_REQUEST
    elif qty < 1 or qty > market["max_lots"]:
        return VENUE_BAD_REQUEST
    if price < 0 or price > market["max_price_ticks"] or limited != (price > 0):
        return VENUE_BAD_REQUEST
    if stop < 0 or stop > market["max_price_ticks"] or trail < 0 or trail >= BPS:
        return VENUE_BAD_REQUEST
    if triggered != (stop > 0 or trail > 0):
        return VENUE_BAD_REQUEST
    if (not limited and tif == TIF_FOK) or (order_type == TYPE_MARKET and tif == TIF_GTD):
        return VENUE_BAD_REQUEST
    if (tif == TIF_GTD) != (command["expire_ns"] > 0) or command["expire_ns"] < 0:
        return VENUE_BAD_REQUEST
    if tif == TIF_GTD and command["expire_ns"] <= desk["now_ns"]:
        return VENUE_BAD_REQUEST
    if flags & ~(ORDER_REDUCE_ONLY | ORDER_POST_ONLY) != 0:
        return VENUE_BAD_REQUEST
    rests = limited and tif != TIF_IOC and tif != TIF_FOK
    if flags & ORDER_POST_ONLY != 0 and (order_type != TYPE_LIMIT or not rests):
        return VENUE_BAD_REQUEST
    if flags & ORDER_REDUCE_ONLY != 0 and market["linear"] == 0:
        return VENUE_BAD_REQUEST
    if display != 0 and (display < 0 or display > qty or not rests or parts_of(qty, display) > ICEBERG_PARTS):
        return VENUE_BAD_REQUEST
    return OK


@kernel
def check_legs(memory, n):
    """VENUE_BAD_REQUEST if the staged legs make no list of their kind, else OK.

    Notes
    -----
    A pair is of one side and quantity; one of its legs may be a limit order that rests, others wait for a price. What
    waits for another order is no market order by amount.
    """
    first = memory["staged"][0]
    kind = np.int64(first["list_kind"])
    if kind < LIST_OCO or kind > LIST_OTOCO or n != (3 if kind == LIST_OTOCO else 2):
        return VENUE_BAD_REQUEST
    for leg in range(n):
        if memory["staged"][leg]["amount_e8"] != 0:
            return VENUE_BAD_REQUEST
    if kind == LIST_OCO or kind == LIST_OTOCO:
        one = memory["staged"][n - 2]
        two = memory["staged"][n - 1]
        if one["side"] != two["side"] or one["qty_lots"] != two["qty_lots"]:
            return VENUE_BAD_REQUEST
        limits = 0
        for leg in range(n - 2, n):
            pair_leg = memory["staged"][leg]
            if waits_for_price(np.int64(pair_leg["type"])):
                continue
            limits += 1
            tif = np.int64(pair_leg["tif"])
            if np.int64(pair_leg["type"]) != TYPE_LIMIT or (tif != TIF_GTC and tif != TIF_GTD):
                return VENUE_BAD_REQUEST
        if limits > 1:
            return VENUE_BAD_REQUEST
    return OK


@inlined
def _beyond(amount_e8):
    return amount_e8 > SUPPLY_BOUND or amount_e8 < -SUPPLY_BOUND


@kernel
def check_bounds(memory, row, more_lots):
    """Why an order could let a balance or a position leave the bounds that keep every sum from wrapping, or OK.

    Parameters
    ----------
    memory : EXCHANGE record
    row : int64, of an order that is counted among the open ones
    more_lots : int64 >= 0, beside what it has

    Notes
    -----
    Complexity: O(1). Errors: VENUE_BALANCE, an account (or what the exchange has collected) holds or owes more than an
    asset may have; VENUE_POSITION, the contract's position could.
    """
    order = memory["orders"][row]
    market = memory["markets"][order["instrument"]]
    balances = memory["balances"][order["account"]]
    if _beyond(balances[market["quote"]]["free_e8"]) or _beyond(balances[market["base"]]["free_e8"]):
        return VENUE_BALANCE
    if _beyond(memory["fees"][market["quote"]]) or _beyond(memory["fees"][market["base"]]):
        return VENUE_BALANCE
    if market["linear"] == 0:
        return OK
    seat = memory["seats"][order["seat"]]
    if _beyond(seat["realised_tl"]):
        return VENUE_BALANCE
    if opens(memory, order):
        held = max(np.int64(0), order["side"] * seat["lots"])
        open_lots = seat["open_lots"][0 if order["side"] > 0 else 1]
        if held + open_lots + more_lots > market["max_position_lots"]:
            return VENUE_POSITION
    return OK


@kernel
def would_fire(market, order, stop_ticks):
    """True if a trigger is reached by the last price already."""
    last = market["last_ticks"]
    if stop_ticks == 0 or last == 0:
        return False
    return last >= stop_ticks if rising(order) else last <= stop_ticks


@kernel
def crosses(memory, order, price_ticks):
    """True if an order at this price would take."""
    best = memory["markets"][order["instrument"]]["best"][against(order["side"])]
    return best >= 0 and order["side"] * (memory["levels"][best]["price_ticks"] - price_ticks) <= 0


@kernel
def _short_of_money(memory, row):
    """True if a spot market order cannot pay for what the book offers it.

    Notes
    -----
    Complexity: O(levels met).
    """
    order = memory["orders"][row]
    instrument = np.int64(order["instrument"])
    market = memory["markets"][instrument]
    by_amount = order["amount_e8"] > 0
    left = market["max_lots"] if by_amount else order["leaves_lots"]
    amount = order["amount_e8"]
    free = paid_in_free_e8(memory, row)
    tree = against(order["side"])
    level = market["best"][tree]
    while level >= 0 and left > 0:
        price = memory["levels"][level]["price_ticks"]
        lots = min(left, memory["levels"][level]["total_lots"])
        if by_amount:
            lots = min(lots, amount // (price * market["value_e8"]))
            if lots == 0:
                return False
        left -= lots
        amount -= lots * price * market["value_e8"]
        free -= lots * (price * market["value_e8"] if order["side"] > 0 else market["lot_e8"])
        if free < 0:
            return True
        level = tree_after(memory, root_of(instrument, tree), market["digits"], key_of(market, tree, price))
    return False


@kernel
def check_market(memory, row):
    """Why the market as it is refuses an order that is about to enter it, or OK.

    Notes
    -----
    Complexity: O(1), of a spot market order O(levels met). Errors: VENUE_*.
    Twin: tests/reference/kernels/exchange.py
    """
    order = memory["orders"][row]
    market = memory["markets"][order["instrument"]]
    if order["trail_bps"] > 0:
        if order["stop_ticks"] == 0 and market["last_ticks"] == 0:
            return VENUE_NO_MARKET
        if market["n_trailing"] > MAX_TRAILING:  # itself among them
            return VENUE_TOO_MANY_ORDERS
    if would_fire(market, order, order["stop_ticks"]):
        return VENUE_STOP_WOULD_TRIGGER
    if order["flags"] & ORDER_REDUCE_ONLY and reducible(memory["seats"][order["seat"]], order["side"]) == 0:
        return VENUE_REDUCE_ONLY
    if order["flags"] & ORDER_POST_ONLY and crosses(memory, order, order["price_ticks"]):
        return VENUE_POST_ONLY
    if market["linear"] == 0:
        if order["type"] == TYPE_MARKET and (order["side"] > 0 or order["amount_e8"] > 0):
            if _short_of_money(memory, row):
                return VENUE_BALANCE
        elif _needed_e8(memory, row) > paid_in_free_e8(memory, row):
            return VENUE_BALANCE
    return OK


@kernel
def lock_price(memory, order):
    """The price that a buy's lock is reckoned with: its limit, or where its trigger is; of a market order none."""
    if order["price_ticks"] > 0 or order["type"] == TYPE_MARKET:
        return order["price_ticks"]
    if order["stop_ticks"] > 0:
        return order["stop_ticks"]
    return memory["markets"][order["instrument"]]["last_ticks"]


@kernel
def _needed_e8(memory, row):
    """What an order would lock if it entered the market now."""
    order = memory["orders"][row]
    order["lock_ticks"] = lock_price(memory, order)
    order["locks"] = 1
    needed = own_claim_e8(memory, row)
    order["locks"] = 0
    return needed


@kernel
def begin_lock(memory, row):
    """From now on an order locks what it needs; the caller moves that much, for a pair the larger of the two.

    Returns
    -------
    int64 : 1e-8 of the asset that it pays with
    """
    order = memory["orders"][row]
    if memory["markets"][order["instrument"]]["linear"] != 0 or order["amount_e8"] > 0:
        return np.int64(0)
    needed = _needed_e8(memory, row)
    order["locks"] = 1
    return needed
