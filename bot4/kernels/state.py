"""What a shard keeps per instrument, and what a strategy is shown of it.

Packed records, one cache-friendly block an instrument: VIEW is the strategy's window (read it, never write),
SHARD_STATE is the engine's own. Beside them lie the book, the risk view and the strategy's own state.
"""

import numpy as np

from bot4.kernels.indicators.atr import ATR
from bot4.kernels.indicators.bar import BAR
from bot4.kernels.indicators.vwap import VWAP

VIEW = np.dtype(
    [
        ("ts_ns", "i8"),  # event time
        ("bid_ticks", "i8"),  # the effective best quote
        ("ask_ticks", "i8"),
        ("bid_lots", "i8"),
        ("ask_lots", "i8"),
        ("mid", "f8"),  # ticks
        ("microprice", "f8"),  # ticks
        ("imbalance", "f8"),  # -1 .. 1
        ("position_lots", "i8"),  # signed; changes with fills, not with orders
        ("bars", "i8"),  # closed so far
        ("open", "f8"),  # the last closed bar, ticks
        ("high", "f8"),
        ("low", "f8"),
        ("close", "f8"),
        ("volume", "f8"),  # lots
        ("atr", "f8"),  # ticks, of closed bars
        ("vwap", "f8"),  # ticks, of the day
        ("trade_ticks", "i8"),  # the last trade
        ("trade_lots", "i8"),
        ("trade_side", "i8"),  # +1: the buyer took
        ("fill_ticks", "i8"),  # the last own fill
        ("fill_lots", "i8"),
        ("fill_side", "i8"),
        ("fill_leg", "i8"),  # LEG_*
        ("buy_volume", "f8"),  # of the last closed bar: lots that buyers took
        ("turnover", "f8"),  # tick x lot; over the volume it is the bar's average price
        ("bar_trades", "i8"),
        ("bar_begin_ns", "i8"),
        ("bar_end_ns", "i8"),
        ("_pad", "u1", (24,)),
    ]
)

SHARD_STATE = np.dtype(
    [
        # hot: every tick
        ("next_event_no", "i8"),
        ("last_ts_ns", "i8"),
        ("synced", "i8"),  # 0: a record is missing or was refused; wait for a snapshot
        ("order_active", "i8"),  # 1: an order of ours is in flight or rests
        ("pause_until_ns", "i8"),  # after a refusal from outside: no new order before
        ("entry_ns", "i8"),  # when the position was opened
        ("last_score", "f8"),
        ("cancel_sent_ns", "i8"),  # 0: no cancel is on its way
        # the order
        ("order_hi", "i8"),
        ("order_lo", "i8"),
        ("order_leg", "i8"),
        ("order_side", "i8"),
        ("order_leaves", "i8"),
        ("order_sent_ns", "i8"),
        ("mark_e8", "i8"),
        ("blind", "i8"),  # 1: a restarted shard has no book yet, though it missed no record
        # indicators of the engine
        ("bar", BAR),
        ("atr", ATR),
        ("vwap", VWAP),
        # how positions ended: the strategy's own statistics, for sizing; funding is not in them
        ("trips", "i8"),  # closed positions
        ("wins", "i8"),  # those that earned something
        ("won_ppb", "i8"),  # what they earned in all, each in 1e-9 of what was put in
        ("lost_ppb", "i8"),
        ("trip_cash_tl", "i8"),  # of the open position: what its fills have brought in
        ("trip_cost_tl", "i8"),  # ... what was put in
        ("trip_fees_e8", "i8"),
        ("_pad", "u1", (40,)),
    ]
)

SHARD_STATUS = np.dtype(
    [
        ("execution_gate", "i8"),  # 1: execution takes orders
        ("resyncing", "i8"),  # 1: positions and open orders are asked for, or being told, and not all have come
        ("snapshot_wanted", "i8"),  # 1: ask the feed for a snapshot
        ("lagging", "i8"),  # 1: too far behind the feed to open anything
        ("feed_ns", "i8"),  # how far the feed was when it was last looked at
        ("reports_taken", "i8"),  # by the life before
        ("reserved", "i8", (2,)),
    ]
)

assert VIEW.itemsize % 64 == 0
assert SHARD_STATE.itemsize % 64 == 0, SHARD_STATE.itemsize
assert SHARD_STATUS.itemsize == 64
