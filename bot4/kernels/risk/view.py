"""What the risk checks know of one instrument, and the bounds that make their arithmetic safe.

Shard and execution each keep an array of these records of their own and hand one row to `check_order`; nobody shares
a row, so a hostile shard cannot soften what execution checks. 256 bytes: four cache lines an instrument. Of the other
instruments execution alone knows, see `portfolio`; a shard's view holds zeros there.
"""

import numpy as np

RISK_VIEW = np.dtype(
    [
        ("position_lots", "i8"),  # signed
        ("pending_buy_lots", "i8"),  # open and in flight, entries and exits; protective orders are not counted
        ("pending_sell_lots", "i8"),
        ("open_orders", "i8"),  # the orders behind the pending lots
        ("bid_ticks", "i8"),
        ("ask_ticks", "i8"),
        ("quote_ts_ns", "i8"),
        ("equity_e8", "i8"),
        ("high_water_e8", "i8"),
        ("day_start_e8", "i8"),
        ("last_open_ns", "i8"),  # of the last accepted opening order; 0: none yet
        ("bucket_ns", "i8"),  # token bucket: theoretical arrival time of the next order at the steady rate
        ("killed", "i4"),
        ("breaker_open", "i4"),
        ("stale", "i8"),  # 1: the book is not whole
        ("streak", "i4"),  # 1: the pause after a losing streak
        ("day_shut", "i4"),  # 1: the loss of the day has reached its limit, whatever was regained since
        ("others_gross_e8", "i8"),  # twice what all other instruments may be worth at their worst
        ("others_long_e8", "i8"),
        ("others_short_e8", "i8"),
        ("others_venue_e8", "i8"),  # ... those of this one's venue
        ("correlation_bps", "i8"),  # of the order in hand with whatever else is open, side-signed; 10,000: the same
        ("shard_bucket_ns", "i8"),  # as bucket_ns: of the opening orders of the instrument's shard
        ("order_bucket_ns", "i8"),  # ... of all shards
        ("message_bucket_ns", "i8"),  # ... of whatever goes to the venue
        ("run", "i8"),  # accepted orders of one side in a row, signed by the side
        ("run_ns", "i8"),  # of the last of them
        ("value_at_risk_e8", "i8"),  # twice what the account could lose with the order in hand, see `tail`
        ("shortfall_e8", "i8"),
        ("exit_buy_lots", "i8"),  # of the pending lots those of reduce-only orders: they never add to a position
        ("exit_sell_lots", "i8"),
        ("own_bid_ticks", "i8"),  # dearest own buy that is open or in flight, 0: none; so far as the order in hand asks
        ("own_ask_ticks", "i8"),  # cheapest own sell
        ("own_stop_ticks", "i8"),  # farthest stop of own opening orders on the side of the one in hand, 0: none
    ]
)
assert RISK_VIEW.itemsize == 256

# Bounds of an order's fields. With them every product below stays under 2**63:
#   2 * price * 10,000 < 2**55;  twice the mid * 1,000,000 bps < 2**61;  position + pending + quantity < 2**42.
MAX_PRICE_TICKS = 2**40 - 1
MAX_QTY_LOTS = 2**40 - 1
MAX_MONEY_E8 = 2**61  # about 2.3e10 units of the quote currency; more equity than that does not raise a limit
MAX_BPS = 1_000_000  # a limit above 100 times equity counts as 100 times
