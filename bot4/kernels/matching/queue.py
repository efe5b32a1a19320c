"""The queue ahead of our resting orders, as far as a recording of levels can tell.

What a level shows when our order joins it is ahead; what comes later is behind. A trade there takes first what is
ahead (`market.trade_resting`). A level that shows less may have been traded, or somebody has cancelled: trades and
levels come by different streams, either of them first, so each waits for the other:

    a trade         explains the decreases that came before it, then those of the next two seconds
    a decrease      that no trade explains for a tenth of a second was cancelled: the session's queue model says how
                    much of it behind us (`kernels/queue_model`), and the rest was ahead
    an increase     is behind us; what comes back before the tenth of a second is over never went

So quantity that was traded is not counted as cancelled too, which would bring us forward twice.
Source: hftbacktest's queue models, which the loopback exchange has too. Twin: tests/reference/kernels/matching.py
"""

from bot4.jit import kernel
from bot4.kernels.matching.taken import displayed
from bot4.kernels.queue_model import lost_behind
from bot4.model.enums import TYPE_LIMIT

TRADE_NS = 2_000_000_000  # a trade explains decreases that come so much later
CANCEL_NS = 100_000_000  # a decrease waits so long for its trade, at least, and twice as long at most
EXPONENT_UNIT = 1_000_000


@kernel
def join_queue(memory, row):
    """An order goes to the end of its level's queue.

    Notes
    -----
    Twin: tests/reference/kernels/matching.py
    """
    order = memory.orders[row]
    shown = displayed(memory.books[order["instrument"]], order["side"], order["price_ticks"])
    order["queue_lots"] = shown
    order["seen_lots"] = shown
    order["traded_lots"] = 0
    order["fresh_lots"] = 0
    order["gone_lots"] = 0


@kernel
def note_trade(memory, row, qty_lots):
    """A trade at the order's price and side: so much of what the level loses is no cancel.

    Notes
    -----
    Twin: tests/reference/kernels/matching.py
    """
    order = memory.orders[row]
    now = memory.desk[0]["now_ns"]
    known = min(order["gone_lots"], qty_lots)
    order["gone_lots"] -= known
    more = min(order["fresh_lots"], qty_lots - known)
    order["fresh_lots"] -= more
    if now - order["traded_ns"] > TRADE_NS:
        order["traded_lots"] = 0
    order["traded_lots"] += qty_lots - known - more
    order["traded_ns"] = now


@kernel
def follow_levels(memory, instruments, index):
    """After a message: what the levels of our resting orders have lost and gained.

    Notes
    -----
    Complexity: O(open orders * log levels). Invariant: 0 <= queue_lots, and it never grows.
    Twin: tests/reference/kernels/matching.py
    """
    desk = memory.desk[0]
    now = desk["now_ns"]
    for place in range(memory.seats[index]["n_listed"]):
        row = memory.listed[index, place]
        order = memory.orders[row]
        if order["open"] == 0 or order["type"] != TYPE_LIMIT:
            continue
        shown = displayed(memory.books[index], order["side"], order["price_ticks"])
        lost = order["seen_lots"] - shown
        order["seen_lots"] = shown
        if lost > 0:
            if now - order["traded_ns"] > TRADE_NS:
                order["traded_lots"] = 0
            traded = min(order["traded_lots"], lost)
            order["traded_lots"] -= traded
            order["fresh_lots"] += lost - traded
        elif lost < 0:
            back = min(order["gone_lots"], -lost)
            order["gone_lots"] -= back
            order["fresh_lots"] -= min(order["fresh_lots"], -lost - back)
        if now - order["round_ns"] < CANCEL_NS:
            continue
        if order["gone_lots"] > 0:
            ahead = order["queue_lots"]
            waits = order["gone_lots"] + order["fresh_lots"]
            behind = max(order["seen_lots"] + waits - ahead, 0)
            gone = min(order["gone_lots"], ahead + behind)
            exponent = desk["queue_exponent_e6"] / EXPONENT_UNIT
            unit = instruments[index]["lot_e8"] * 1e-8
            off = lost_behind(desk["queue_model"], exponent, unit, ahead, behind, gone)
            order["queue_lots"] = ahead - (gone - off)
        order["gone_lots"] = order["fresh_lots"]
        order["fresh_lots"] = 0
        order["round_ns"] = now
