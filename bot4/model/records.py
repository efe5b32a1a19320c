"""The records that cross rings, byte for byte, and the tables that are handed to kernels.

Three records cross rings: TICK (64 bytes), ORDER_INTENT and EXEC_REPORT (128 bytes). PORTFOLIO_TOTALS is
an EXEC_REPORT whose kind is REPORT_TOTALS, read through other names. In each of them the first word is the event
time in ns and the last word the ring's sequence (transport only).

Prices are int64 ticks, quantities int64 lots, times int64 ns, money int64 in 1e-8 of the quote currency (`_e8`).
"""

import numpy as np

TICK = np.dtype(
    [
        ("ts_recv_ns", "i8"),
        ("venue_lag_us", "i4"),  # venue time minus receive time; 0 where the venue sends none
        ("instrument", "u2"),
        ("kind", "u1"),
        ("flags", "u1"),
        ("w0", "i8"),
        ("w1", "i8"),
        ("w2", "i8"),
        ("w3", "i8"),
        ("event_no", "u4"),  # counts the instrument's records, before sharding
        ("tsc_low", "u4"),  # low half of the time-stamp counter when the feed published
        ("seq", "u8"),
    ]
)

ORDER_INTENT = np.dtype(
    [
        ("ts_ns", "i8"),  # event time of the decision; on the ring to the venue: time of arrival there
        ("id_hi", "u8"),  # client order id: account u16 | strategy u16 | instrument u16 | feed generation u16
        ("id_lo", "u8"),  # event_no u32 | leg u8 | number u24
        ("price_ticks", "i8"),  # limit price; 0 for a market order
        ("qty_lots", "i8"),
        ("stop_ticks", "i8"),  # entry: where its protective stop goes; stop order: its trigger
        ("ref_ticks", "i8"),  # twice the mid price the decision saw (bid + ask)
        ("instrument", "u2"),
        ("strategy", "u2"),
        ("shard", "u2"),
        ("action", "u1"),
        ("side", "i1"),
        ("type", "u1"),
        ("tif", "u1"),
        ("flags", "u1"),
        ("leg", "u1"),
        ("event_no", "u4"),  # of the tick that caused it
        ("order_row", "i4"),  # execution's row, echoed by the venue; -1 where none
        ("sized_by", "u1"),  # SIZED_BY_*: what decided the quantity of an entry
        ("slices", "u1"),  # entry: execution sends it in so many parts, each when the one before is over; 0: as it is
        ("slice_ds", "u2"),  # ... so many tenths of a second after the one before at least; 0: parts that rest
        ("tsc", "i8"),  # time-stamp counter of the tick's publication (low half), for latency only
        ("aux", "i8"),  # entry: price of its take-profit, 0: none; ACTION_QUERY_TRADES: event_seq after which to answer
        ("score", "f8"),  # the decision's score, for the journal's reader
        ("tsc_read", "i8"),
        ("trail_ticks", "i4"),  # entry: its stop follows the price at this distance; 0: it stays
        ("even_ticks", "i4"),  # entry: so far beyond the cost its stop goes to the cost; 0: it does not
        ("seq", "u8"),
    ]
)

EXEC_REPORT = np.dtype(
    [
        ("ts_ns", "i8"),  # time of delivery
        ("id_hi", "u8"),
        ("id_lo", "u8"),
        ("price_ticks", "i8"),  # of the fill, or of the working order
        ("qty_lots", "i8"),  # of the fill, or of the working order
        ("cum_lots", "i8"),
        ("leaves_lots", "i8"),
        ("venue_order_id", "i8"),
        ("trade_id", "i8"),
        ("fee_e8", "i8"),  # positive: paid
        ("event_seq", "i8"),  # the venue's event number; 0 on answers to queries
        ("cash_e8", "i8"),  # FUNDING: amount; BALANCE: cash; POSITION: cost in tick x lot
        ("instrument", "u2"),
        ("shard", "u2"),
        ("kind", "u1"),
        ("status", "u1"),  # ORDER: REPORT_ACK, _CANCELED, _EXPIRED, _REJECT, or _FILL
        ("side", "i1"),
        ("type", "u1"),
        ("flags", "u1"),
        ("leg", "u1"),
        ("code", "u2"),
        ("order_row", "i4"),
        ("t_venue_ns", "i8"),  # when it happened at the venue
        ("seq", "u8"),
    ]
)

PORTFOLIO_TOTALS = np.dtype(
    [
        ("ts_ns", "i8"),
        ("equity_e8", "i8"),
        ("high_water_e8", "i8"),
        ("day_start_e8", "i8"),
        ("gross_e8", "i8"),  # sum of absolute position values
        ("open_orders", "i8"),
        ("breaker", "i8"),  # 0 closed, 1 open
        ("gate", "i8"),  # 1 open
        ("streak", "i8"),  # 1: the pause after a losing streak
        ("day_shut", "i8"),  # 1: the loss of the day has reached its limit
        ("reserved", "i8", (2,)),
        ("instrument", "u2"),
        ("shard", "u2"),
        ("kind", "u1"),
        ("status", "u1"),
        ("side", "i1"),
        ("type", "u1"),
        ("flags", "u1"),
        ("leg", "u1"),
        ("code", "u2"),
        ("order_row", "i4"),
        ("t_venue_ns", "i8"),
        ("seq", "u8"),
    ]
)

INSTRUMENT = np.dtype(
    [
        ("index", "u2"),
        ("shard", "u2"),
        ("is_spot", "u1"),
        ("price_decimals", "u1"),  # of the tick size
        ("qty_decimals", "u1"),  # of the lot size
        ("step_decimals", "u1"),  # 1 + decimals of the venue's own step of quantities; 0: its step is the lot
        ("tick_e8", "i8"),  # tick size in 1e-8 of the quote currency
        ("lot_e8", "i8"),  # lot size in 1e-8 of the base currency
        ("value_e8", "i8"),  # value of one tick x lot in 1e-8 of the quote currency; exact by construction
        ("min_notional_e8", "i8"),
        ("min_qty_lots", "i8"),
        ("max_qty_lots", "i8"),
        ("maker_fee_ppm", "i8"),  # of the value; negative: rebate
        ("taker_fee_ppm", "i8"),
        ("venue", "i8"),  # number of its venue in the session
    ]
)

LIMITS = np.dtype(
    [
        ("position_bps", "i8"),  # of equity, per instrument, open orders included
        ("order_notional_e8", "i8"),
        ("order_lots", "i8"),
        ("collar_bps", "i8"),  # limit price against the mid
        ("drawdown_bps", "i8"),  # of the high-water mark
        ("daily_loss_bps", "i8"),  # of the equity at the start of the day
        ("open_orders", "i8"),
        ("cool_down_ns", "i8"),  # between opening orders of one instrument
        ("bucket_tokens", "i8"),  # order rate: size of the bucket
        ("bucket_refill_ns", "i8"),  # one token per this many ns
        ("stop_confirm_ns", "i8"),  # a fill's stop must be confirmed within this, else flatten
        ("quote_age_ns", "i8"),  # an older quote is no quote
        ("breaker_failures", "i8"),  # venue failures within the window that open the breaker
        ("breaker_window_ns", "i8"),
        ("breaker_open_ns", "i8"),
        ("day_offset_ns", "i8"),  # start of the trading day after midnight UTC
        ("gross_bps", "i8"),  # of equity: all positions together, open orders included
        ("net_bps", "i8"),  # ... those of one side
        ("venue_bps", "i8"),  # ... those at one venue
        ("streak_losses", "i8"),  # so many positions closed at a loss in a row ...
        ("streak_pause_ns", "i8"),  # ... and nothing is opened for so long
        ("capital_e8", "i8"),  # equity counts as no more than this
        ("correlation_bps", "i8"),  # of a new position with an open one, side-signed, in 1/10,000
        ("correlation_decay_ppb", "i8"),  # weight of a second against the next one, in 1e-9
        ("shard_tokens", "i8"),  # opening orders of one shard: size of the bucket
        ("shard_refill_ns", "i8"),
        ("order_tokens", "i8"),  # ... of all shards
        ("order_refill_ns", "i8"),
        ("message_tokens", "i8"),  # whatever goes to the venue; opening orders leave the smaller half to all else
        ("message_refill_ns", "i8"),
        ("repeat_orders", "i8"),  # orders of one instrument and side in a row, none of them ...
        ("repeat_pause_ns", "i8"),  # ... so long after the one before, that end the opening for good
        ("stop_bps", "i8"),  # distance of the stop from the price
        ("stop_loss_bps", "i8"),  # of equity: loss at the stop, costs included
        ("slippage_bps", "i8"),  # that a stop fills beyond its price: allowance in that loss
        ("var_bps", "i8"),  # of equity: what the account may lose over the horizon, but for the share of cases ...
        ("shortfall_bps", "i8"),  # ... and on average in those cases
        ("var_confidence_bps", "i8"),  # 1 - that share, in 1/10,000
        ("var_horizon_s", "i8"),
        ("strategy_bps", "i8"),  # of equity: all positions of one strategy, open orders included
        ("kill_daily_loss_bps", "i8"),  # of the equity at the start of the day: sets the kill switch
        ("kill_drawdown_bps", "i8"),  # of the high-water mark: likewise
    ]
)

SESSION = np.dtype(
    [
        ("paced", "i8"),  # 1: conservative synchronisation by event time; 0: free-running
        ("order_latency_ns", "i8"),  # execution to venue
        ("report_latency_ns", "i8"),  # venue to execution
        ("internal_latency_ns", "i8"),  # execution to shard
        ("totals_grid_ns", "i8"),
        ("start_equity_e8", "i8"),
        ("account", "i8"),
        ("strategy", "i8"),
        ("feed_generation", "i8"),
        ("n_shards", "i8"),
        ("n_instruments", "i8"),
        ("measure", "i8"),  # 1: stamp stages with the time-stamp counter
        ("lag_limit_ns", "i8"),  # a shard further behind the feed opens nothing; 0: no such limit
        ("high_water_e8", "i8"),  # carried over from the session before; 0: nothing is
        ("day", "i8"),
        ("day_start_e8", "i8"),
        ("streak", "i8"),
        ("streak_until_ns", "i8"),
        ("day_shut_until_ns", "i8"),
        ("asks_first", "i8"),  # 1: a real venue is asked what it knows before the first order goes out
        ("stake_e8", "i8"),  # account.equity of the settings: what the next session compares its own with
    ]
)

# One record of execution's journal. `body` holds an ORDER_INTENT (JOURNAL_INTENT, _DENIED, _REQUEST), an EXEC_REPORT
# (JOURNAL_EVENT, _LIMIT, _DAY, _DAY_SHUT) or nothing; the risk snapshot beside it tells a reader what execution knew.
JOURNAL = np.dtype(
    [
        ("magic", "u4"),
        ("type", "u2"),
        ("version", "u2"),
        ("seq", "i8"),  # 1, 2, 3, ... without a hole
        ("previous_crc", "i8"),  # chain: the check sum of the record before
        ("crc", "i8"),  # CRC-32 of all words but this one
        ("ts_ns", "i8"),  # event time
        ("instrument", "i8"),
        ("code", "i8"),  # JOURNAL_DENIED: why
        ("position_lots", "i8"),  # of the instrument, before this record is applied; so are those below
        ("cost_tl", "i8"),
        ("realised_tl", "i8"),
        ("bid_ticks", "i8"),
        ("ask_ticks", "i8"),
        ("equity_e8", "i8"),
        ("high_water_e8", "i8"),
        ("day_start_e8", "i8"),
        ("fees_e8", "i8"),  # of the instrument so far
        ("body", "i8", (16,)),
    ]
)
JOURNAL_MAGIC = 0x4A34_5442
JOURNAL_VERSION = 1
JOURNAL_START = 1  # execution started or recovered; body[0]: epoch, body[1]: generation of its ids
JOURNAL_INTENT = 2  # an accepted intent, or a protective order of execution's own, before it goes out
JOURNAL_DENIED = 3  # an intent that execution refused
JOURNAL_EVENT = 4  # a venue event, as applied
JOURNAL_REQUEST = 5  # cancel, amend, or the question that makes an order unknown, before it goes out
JOURNAL_SAMPLE = 6  # once per second of event time and instrument: what it was worth
JOURNAL_LIMIT = 7  # a limit is tightened; code: its word in LIMITS, the body is what the shards are told
JOURNAL_DAY_SHUT = 8  # the loss of the day reached its limit; the body's cash_e8: the event time until which it holds
JOURNAL_DAY = 9  # a trading day has begun with `day_start_e8`; the body's cash_e8: its number
JOURNAL_BREAKER = 10  # the breaker of a component has changed; code: its row, the body's cash_e8: its word
JOURNAL_SLICED = 11  # an accepted intent that never goes out itself, but in slices (JOURNAL_INTENT, leg slice)

WORD = 8
TICK_WORDS = TICK.itemsize // WORD
ORDER_WORDS = ORDER_INTENT.itemsize // WORD
JOURNAL_WORDS = JOURNAL.itemsize // WORD
LIMIT_WORDS = LIMITS.itemsize // WORD

assert JOURNAL.itemsize == 256
assert TICK.itemsize == 64 and TICK.fields["seq"][1] == 56
for _record in (ORDER_INTENT, EXEC_REPORT, PORTFOLIO_TOTALS):
    assert _record.itemsize == 128 and _record.fields["seq"][1] == 120
    assert _record.fields["ts_ns"][1] == 0
assert PORTFOLIO_TOTALS.fields["kind"][1] == EXEC_REPORT.fields["kind"][1]
for _record in (TICK, ORDER_INTENT, EXEC_REPORT, PORTFOLIO_TOTALS, INSTRUMENT, LIMITS, SESSION, JOURNAL):
    assert _record.itemsize % WORD == 0
    assert all(offset % dtype.alignment == 0 for dtype, offset, *_ in _record.fields.values()), _record


def words(records: np.ndarray) -> np.ndarray:
    """The same memory as a flat int64 array, for the ring's word copies.

    Parameters
    ----------
    records : contiguous structured array whose itemsize is a multiple of 8

    Returns
    -------
    int64[n * itemsize / 8], a view
    """
    return records.view(np.int64).reshape(-1)
