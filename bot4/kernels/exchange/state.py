"""The exchange's memory: every order of every account, in records of fixed capacity taken at start.

    commands -> step.py -> check -> entry.py -> walk.py -> fill.py -> balances, positions
                             |         |           |         |
                             +---------+-----------+---------+--> events (what whoever asks is told)

Rows of orders, price levels, tree nodes and lists come from stacks of free ones; what waits (in the book, for a
trigger, for its list, for its turn) is linked by row numbers in the records themselves. An order's id is its number
shifted, with its row below, so an id finds its row without a table.

Everything is an integer, and nothing wraps: prices, lots and deposits have bounds that are checked where they enter
(`exchange_memory`, `check.py`), chosen so that every product and every sum of what passed fits into 2**62.
"""

from typing import NamedTuple

import numpy as np

from bot4.model.errors import InputError
from bot4.model.units import PPM

MAX_INSTRUMENTS = 64
MAX_ACCOUNTS = 1_024
MAX_ASSETS = 64
ROW_BITS = 16  # of an order id: the row
MAX_ORDERS = 2**ROW_BITS  # open at once, all accounts together
ID_SLOTS = 2 * MAX_ORDERS
DIGIT_BITS = 6  # a node of the price tree has 64 children
MAX_DIGITS = 5
MAX_PRICE_TICKS = 2**28  # a trailing buy's trigger may be twice a price, and has to fit into the tree
VALUE_BOUND = 2**58  # of one order, one position; in 1e-8
SUPPLY_BOUND = 2**60  # of an asset over all accounts
FEE_BOUND_PPM = 100_000
TOKEN_PRICE_BOUND_E8 = 2**46 - 1  # of a whole token, so that what is paid in it is reckoned without wrapping
FUNDING_BOUND_E8 = 100_000_000  # a rate of the whole value
MAX_LOTS = 2**31 - 1
ICEBERG_PARTS = 10
MAX_TRAILING = 1_024  # of one instrument: each is looked at when the price changes
LIST_LEGS = 3
BPS = 10_000

# Bound of the events of one command, in open orders N (an iceberg counts as its parts). Who takes is the command's own
# order or one that was waiting: N + 1 at most. A fill ends a part of a maker or who takes, so there are 2N + 1; each
# tells two sides and shrinks two reduce-only orders, as one is by whoever rests then: 9N + 5. A prevented match ends
# one of two and tells both: 4N + 2. Each order is accepted, triggered and ended once, and so is its list: 4N + 7.
EVENTS_PER_ORDER = 17
EVENTS_MORE = 14
# A funding has one event for each account instead.

TREE_BID = 0
TREE_ASK = 1
TREE_RISING = 2  # orders that go off at a price at or above theirs
TREE_FALLING = 3  # ... at or below
N_TREES = 4
MAX_NODES = N_TREES * MAX_INSTRUMENTS + (MAX_DIGITS - 1) * MAX_ORDERS  # the roots, and what the levels need at most

# Where an order is.
AT_NOWHERE = 0  # a free row
AT_BOOK = 1
AT_TRIGGER = 2  # waits for a price
AT_LIST = 3  # waits for the working leg of its list
AT_QUEUE = 4  # its turn comes in this command: triggered, or its list has come to it
AT_TAKING = 5  # takes right now

LIQUIDITY_MAKER = 1
LIQUIDITY_TAKER = 2
FEE_IN_TOKEN = 4  # beside one of these: the fee was paid in the token

ALL_INSTRUMENTS = -1

COMMAND = np.dtype(
    [
        ("ts_ns", "i8"),
        ("account", "i4"),
        ("instrument", "i4"),  # ACTION_DEPOSIT: the asset; ACTION_CANCEL_ALL: or ALL_INSTRUMENTS
        ("action", "u1"),
        ("type", "u1"),
        ("tif", "u1"),
        ("side", "i1"),
        ("flags", "u1"),
        ("stp", "u1"),
        ("list_kind", "u1"),  # ACTION_LEG
        ("leg", "u1"),  # ACTION_LEG: 0, 1, 2 in this order; the working leg first
        ("order_id", "i8"),  # to cancel or amend; 0: by client id
        ("client_id", "i8"),  # 0: none; no two open orders of an account have the same
        ("list_client_id", "i8"),  # echoed
        ("price_ticks", "i8"),  # ACTION_FUNDING: the mark
        ("stop_ticks", "i8"),  # trigger; of a trailing order where tracking begins, 0: at once
        ("qty_lots", "i8"),
        ("display_lots", "i8"),  # iceberg: what is shown at a time; 0: all
        ("trail_bps", "i8"),
        ("expire_ns", "i8"),  # TIF_GTD
        ("amount_e8", "i8"),  # of a market order without a quantity; ACTION_DEPOSIT, signed; ACTION_FUNDING, the rate
        ("_pad", "i8", (3,)),
    ]
)

# The order as it is after what `kind` says; `last_*`, `fee_e8`, `trade_id` and `liquidity` of a fill alone. Of a
# REPORT_FUNDING: the position, signed (`last_lots`), the mark (`last_ticks`), what was paid (`fee_e8`, negative:
# received) and what is free then (`cum_value_e8`).
EVENT = np.dtype(
    [
        ("ts_ns", "i8"),
        ("event_seq", "i8"),  # 1, 2, 3, ... without a hole
        ("kind", "u1"),  # REPORT_*
        ("side", "i1"),
        ("type", "u1"),
        ("tif", "u1"),
        ("flags", "u1"),
        ("stp", "u1"),
        ("place", "u1"),  # AT_*
        ("liquidity", "u1"),
        ("account", "i4"),
        ("instrument", "u2"),
        ("code", "u2"),  # VENUE_*
        ("order_id", "i8"),
        ("client_id", "i8"),
        ("list_id", "i8"),
        ("price_ticks", "i8"),
        ("stop_ticks", "i8"),
        ("qty_lots", "i8"),
        ("cum_lots", "i8"),
        ("cum_value_e8", "i8"),
        ("last_lots", "i8"),  # REPORT_PREVENTED: the lots that were
        ("last_ticks", "i8"),
        ("fee_e8", "i8"),  # in the asset received, of a contract in the asset it settles in; or in the token
        ("trade_id", "i8"),  # REPORT_PREVENTED: number of the prevented match
    ]
)

ORDER = np.dtype(
    [
        ("next", "i4"),  # in its level or in the queue; of a free row the next free one
        ("prev", "i4"),
        ("level", "i4"),
        ("place", "i4"),
        ("account", "i4"),
        ("instrument", "i4"),
        ("seat", "i4"),
        ("side", "i4"),
        ("leaves_lots", "i8"),
        ("slice_lots", "i8"),  # what of it is shown
        ("lock_ticks", "i8"),  # a buy's price that its lock is reckoned with
        ("price_ticks", "i8"),
        ("order_id", "i8"),
        ("client_id", "i8"),
        ("cum_lots", "i8"),
        ("cum_value_e8", "i8"),
        ("qty_lots", "i8"),
        ("prevented_lots", "i8"),
        ("stop_ticks", "i8"),
        ("display_lots", "i8"),
        ("amount_e8", "i8"),
        ("trail_bps", "i8"),
        ("extreme_ticks", "i8"),  # trailing: best price since it tracks; 0: it does not yet
        ("expire_ns", "i8"),
        ("type", "i4"),
        ("tif", "i4"),
        ("flags", "i4"),
        ("stp", "i4"),
        ("locks", "i4"),  # 1: part of the account's balance is locked for it
        ("list", "i4"),  # row of its list, -1: none
        ("leg", "i4"),
        ("parts", "i4"),
        ("heap", "i4"),  # place in the heap of expiries, -1: none
        ("seat_next", "i4"),
        ("seat_prev", "i4"),
        ("trail_next", "i4"),
        ("trail_prev", "i4"),
        ("fired", "i4"),  # 1: its trigger was reached
    ]
)

# A price with the queue of orders that wait there.
LEVEL = np.dtype(
    [
        ("price_ticks", "i8"),
        ("shown_lots", "i8"),
        ("total_lots", "i8"),
        ("head", "i4"),
        ("tail", "i4"),
        ("instrument", "i4"),
        ("tree", "i4"),
        ("next", "i4"),  # of a free one
        ("_pad", "i4"),
    ]
)

MARKET = np.dtype(
    [
        ("linear", "i8"),  # 1: a contract with positions; 0: spot
        ("base", "i8"),
        ("quote", "i8"),
        ("lot_e8", "i8"),
        ("value_e8", "i8"),
        ("max_price_ticks", "i8"),
        ("max_lots", "i8"),
        ("max_position_lots", "i8"),
        ("digits", "i8"),  # of the price tree
        ("top_key", "i8"),
        ("last_ticks", "i8"),  # of the last trade, 0: none yet
        ("n_trailing", "i8"),
        ("trail_head", "i8"),
        ("best", "i8", (N_TREES,)),  # level, -1: none
    ]
)

# One account on one instrument.
SEAT = np.dtype(
    [
        ("lots", "i8"),
        ("cost_tl", "i8"),  # tick x lot, signed
        ("realised_tl", "i8"),
        ("open_lots", "i8", (2,)),  # buys, sells of a contract that may open
        ("reduce_lots", "i8", (2,)),  # reduce-only in the book
        ("head", "i4"),  # open orders from the oldest
        ("tail", "i4"),
    ]
)

ACCOUNT = np.dtype(
    [
        ("maker_ppm", "i8"),
        ("taker_ppm", "i8"),
        ("group", "i8"),  # 0, or as others' trade group
        ("pays_token", "i8"),  # 1: fees in the token where it can
    ]
)

BALANCE = np.dtype([("free_e8", "i8"), ("locked_e8", "i8")])

LIST = np.dtype(
    [
        ("list_id", "i8"),
        ("client_id", "i8"),
        ("kind", "i4"),
        ("legs", "i4", (LIST_LEGS,)),  # rows of those open, -1
        ("next", "i4"),
        ("_pad", "i4"),
    ]
)

DESK = np.dtype(
    [
        ("now_ns", "i8"),
        ("n_events", "i8"),  # of this command
        ("event_seq", "i8"),
        ("order_seq", "i8"),
        ("trade_seq", "i8"),
        ("prevented_seq", "i8"),
        ("list_seq", "i8"),
        ("n_parts", "i8"),  # of all open orders
        ("free_order", "i8"),
        ("fresh_order", "i8"),
        ("free_level", "i8"),
        ("fresh_level", "i8"),
        ("free_node", "i8"),
        ("fresh_node", "i8"),
        ("free_list", "i8"),
        ("fresh_list", "i8"),
        ("n_heap", "i8"),
        ("queue_head", "i8"),
        ("queue_tail", "i8"),
        ("n_staged", "i8"),  # legs of a list that has not come whole
        ("walk_first_ticks", "i8"),
        ("walk_last_ticks", "i8"),
        ("n_open", "i8"),
        ("n_instruments", "i8"),
        ("n_accounts", "i8"),
        ("n_assets", "i8"),
        ("max_orders", "i8"),
        ("token", "i8"),  # asset that fees may be paid in, -1: none
        ("token_discount_ppm", "i8"),
    ]
)

assert COMMAND.itemsize == 128 and EVENT.itemsize == 128 and ORDER.itemsize == 216
for _record in (COMMAND, EVENT, ORDER, LEVEL, MARKET, SEAT, ACCOUNT, BALANCE, LIST, DESK):
    assert _record.itemsize % 8 == 0


# All memory of an exchange, in one record: kernels pass it on as one address, and every place in it is known to the
# compiler. Its capacity is virtual; a page that nobody needs is never touched.
EXCHANGE = np.dtype(
    [
        ("desk", DESK),
        ("markets", MARKET, (MAX_INSTRUMENTS,)),
        ("accounts", ACCOUNT, (MAX_ACCOUNTS,)),
        ("balances", BALANCE, (MAX_ACCOUNTS, MAX_ASSETS)),
        ("fees", "i8", (MAX_ASSETS,)),  # collected so far, 1e-8
        ("supply", "i8", (MAX_ASSETS,)),  # deposits less withdrawals, 1e-8
        ("token_price_e8", "i8", (MAX_ASSETS,)),  # of one token in this asset, 0: it pays no fees of this asset
        ("seats", SEAT, (MAX_ACCOUNTS * MAX_INSTRUMENTS,)),
        ("orders", ORDER, (MAX_ORDERS,)),
        ("levels", LEVEL, (MAX_ORDERS,)),
        ("node_bits", "i8", (MAX_NODES,)),  # which children a node has
        ("node_child", "i4", (MAX_NODES, 2**DIGIT_BITS)),  # nodes, or in the last digit levels
        ("ids", "i4", (ID_SLOTS,)),  # row + 1 by account and client id, 0 free
        ("heap", "i4", (MAX_ORDERS,)),  # rows by time of expiry
        ("lists", LIST, (MAX_ORDERS,)),
        ("staged", COMMAND, (LIST_LEGS,)),
        ("events", EVENT, (EVENTS_PER_ORDER * MAX_ORDERS + EVENTS_MORE,)),  # of the last command
    ]
)


class MarketRules(NamedTuple):
    """One instrument. Spot, unless it has a bound of positions; then a linear contract that settles in `quote`."""

    base: int
    quote: int
    lot_e8: int  # size of a lot in 1e-8 of the base asset
    value_e8: int  # value of one tick x lot in 1e-8 of the quote asset
    max_price_ticks: int
    max_lots: int
    max_position_lots: int = 0


def _refusal(rules: MarketRules, n_assets: int, n_linear: int) -> str:
    """What is wrong with an instrument, with the way out; "" if nothing."""
    if not (0 <= rules.base < n_assets and 0 <= rules.quote < n_assets):
        return f"base and quote must be below {n_assets}, the number of assets"
    if rules.base == rules.quote and not rules.max_position_lots:
        return "base and quote must be two assets"
    if not 1 <= rules.max_price_ticks <= MAX_PRICE_TICKS:
        return f"max_price_ticks must be from 1 to {MAX_PRICE_TICKS}"
    if min(rules.lot_e8, rules.value_e8, rules.max_lots) < 1 or rules.max_position_lots < 0:
        return "lot_e8, value_e8 and max_lots must be above 0, max_position_lots not below"
    if rules.max_position_lots and not rules.max_lots <= rules.max_position_lots:
        return "max_lots must not exceed max_position_lots"
    lots = max(rules.max_lots, n_linear * rules.max_position_lots)
    if lots > MAX_LOTS or rules.max_price_ticks * lots * rules.value_e8 > VALUE_BOUND:
        return "max_price_ticks x max_lots x value_e8 must stay below 2**58; of contracts, the positions of all of them"
    if rules.max_lots * rules.lot_e8 > VALUE_BOUND:
        return "max_lots x lot_e8 must stay below 2**58"
    return ""


def exchange_memory(rules: list[MarketRules], n_accounts: int, n_assets: int, max_orders: int = MAX_ORDERS) -> np.void:
    """An exchange without orders and money.

    Parameters
    ----------
    rules : the instruments, their place is their number
    n_accounts, n_assets : how many there are
    max_orders : orders open at once over all accounts, an iceberg counted as its parts

    Returns
    -------
    EXCHANGE record; process-private

    Raises
    ------
    InputError : a number is out of its range
    """
    for name, value, most in (
        ("instruments", len(rules), MAX_INSTRUMENTS),
        ("n_accounts", n_accounts, MAX_ACCOUNTS),
        ("n_assets", n_assets, MAX_ASSETS),
        ("max_orders", max_orders, MAX_ORDERS),
    ):
        if not 1 <= value <= most:
            raise InputError(f"{name}: {value} must be from 1 to {most}")
    memory = np.zeros(1, EXCHANGE)[0]
    n_linear = sum(1 for one in rules if one.max_position_lots)
    markets = memory["markets"]
    for index, one in enumerate(rules):
        refusal = _refusal(one, n_assets, n_linear)
        if refusal:
            raise InputError(f"instrument {index}: {refusal}")
        row = markets[index]
        row["linear"] = 1 if one.max_position_lots else 0
        for name in one._fields:
            row[name] = getattr(one, name)
        digits = 1
        while 2 ** (DIGIT_BITS * digits) < 2 * one.max_price_ticks + 2:
            digits += 1
        row["digits"] = digits
        row["top_key"] = 2 ** (DIGIT_BITS * digits) - 1
    markets["best"] = -1
    markets["trail_head"] = -1
    memory["seats"]["head"] = -1
    memory["seats"]["tail"] = -1
    desk = memory["desk"]
    desk["n_instruments"], desk["n_accounts"], desk["n_assets"] = len(rules), n_accounts, n_assets
    desk["max_orders"] = max_orders
    desk["token"] = -1
    for name in ("free_order", "free_level", "free_node", "free_list", "queue_head", "queue_tail"):
        desk[name] = -1
    desk["fresh_node"] = N_TREES * MAX_INSTRUMENTS
    return memory


def set_account(
    memory: np.void, account: int, maker_ppm: int, taker_ppm: int, group: int = 0, pays_token: bool = False
) -> None:
    """Fees of an account from now on, and whom it does not trade with.

    Parameters
    ----------
    memory : EXCHANGE record
    account : of those there are
    maker_ppm, taker_ppm : parts per million of what it receives; a negative fee is a rebate
    group : accounts of one group other than 0 are one for the prevention of self-trades
    pays_token : whether it pays fees in the token of `set_token` as long as it has enough of it

    Raises
    ------
    InputError : no such account, or a fee is beyond a tenth
    """
    if not 0 <= account < memory["desk"]["n_accounts"]:
        raise InputError(f"account: {account} must be from 0 to {memory['desk']['n_accounts'] - 1}")
    for name, value in (("maker_ppm", maker_ppm), ("taker_ppm", taker_ppm)):
        if abs(value) > FEE_BOUND_PPM:
            raise InputError(f"{name}: {value} must be from {-FEE_BOUND_PPM} to {FEE_BOUND_PPM}")
    memory["accounts"][account] = (maker_ppm, taker_ppm, group, int(pays_token))


def set_token(memory: np.void, asset: int, discount_ppm: int, prices_e8: dict[int, int]) -> None:
    """The asset that fees may be paid in, from now on.

    Parameters
    ----------
    memory : EXCHANGE record
    asset : of those there are
    discount_ppm : parts per million by which a fee is smaller that is paid in it
    prices_e8 : what one of it is worth, by the asset that an instrument is quoted in; fees of others are paid as usual

    Raises
    ------
    InputError : no such asset, or a number is out of its range
    """
    n_assets = int(memory["desk"]["n_assets"])
    for one in (asset, *prices_e8):
        if not 0 <= one < n_assets:
            raise InputError(f"asset: {one} must be from 0 to {n_assets - 1}")
    if asset in prices_e8:
        raise InputError(f"prices_e8: asset {asset} is the token itself")
    if not 0 <= discount_ppm <= PPM:
        raise InputError(f"discount_ppm: {discount_ppm} must be from 0 to {PPM}")
    for one, price_e8 in prices_e8.items():
        if not 1 <= price_e8 <= TOKEN_PRICE_BOUND_E8:
            raise InputError(f"prices_e8: {price_e8} of asset {one} must be from 1 to {TOKEN_PRICE_BOUND_E8}")
    memory["desk"]["token"], memory["desk"]["token_discount_ppm"] = asset, discount_ppm
    memory["token_price_e8"] = 0
    for one, price_e8 in prices_e8.items():
        memory["token_price_e8"][one] = price_e8
