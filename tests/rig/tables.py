"""Tables that tests hand to kernels: one spot-like and one linear instrument, wide limits, short latencies."""

import numpy as np

from bot4.model.records import INSTRUMENT, LIMITS, SESSION

MS = 1_000_000
SECOND = 1_000_000_000


def instruments(count=1, n_shards=1, spot=False):
    """INSTRUMENT[count] with tick 0.01, lot 0.00001, value 1e-7 (10 e8), maker 200 ppm, taker 1,000 ppm."""
    table = np.zeros(count, INSTRUMENT)
    table["index"] = np.arange(count)
    table["shard"] = np.arange(count) % n_shards
    table["is_spot"] = spot
    table["price_decimals"], table["qty_decimals"] = 2, 5
    table["tick_e8"], table["lot_e8"], table["value_e8"] = 10**6, 1_000, 10
    table["min_qty_lots"], table["max_qty_lots"] = 1, 10**9
    table["min_notional_e8"] = 5 * 10**8
    table["maker_fee_ppm"], table["taker_fee_ppm"] = 200, 1_000
    return table


def limits(**changes):
    """LIMITS[1]: the product's defaults in spirit; `changes` by field name."""
    table = np.zeros(1, LIMITS)
    defaults = {
        "position_bps": 200,
        "order_notional_e8": 5_000 * 10**8,
        "order_lots": 10**7,
        "collar_bps": 100,
        "drawdown_bps": 1_500,
        "daily_loss_bps": 300,
        "open_orders": 4,
        "cool_down_ns": 0,
        "bucket_tokens": 1_000,
        "bucket_refill_ns": MS,
        "shard_tokens": 10**6,
        "shard_refill_ns": 1,
        "order_tokens": 10**6,
        "order_refill_ns": 1,
        "message_tokens": 10**6,
        "message_refill_ns": 1,
        "repeat_orders": 10**6,
        "repeat_pause_ns": 60 * SECOND,
        "stop_bps": 10**6,
        "stop_loss_bps": 10_000,
        "slippage_bps": 50,
        "stop_confirm_ns": SECOND,
        "quote_age_ns": 10 * SECOND,
        "breaker_failures": 5,
        "breaker_window_ns": SECOND,
        "breaker_open_ns": SECOND,
        "day_offset_ns": 0,
        "gross_bps": 10_000,
        "net_bps": 10_000,
        "venue_bps": 10_000,
        "strategy_bps": 10_000,
        "kill_daily_loss_bps": 10**6,
        "kill_drawdown_bps": 10**6,
        "streak_losses": 1_000,
        "streak_pause_ns": SECOND,
        "capital_e8": 2**61,
        "correlation_bps": 10_000,
        "correlation_decay_ppb": 990_000_000,
        "var_bps": 10_000,
        "shortfall_bps": 10_000,
        "var_confidence_bps": 9_900,
        "var_horizon_s": 1,
    }
    for name, value in {**defaults, **changes}.items():
        table[name] = value
    return table


def session(n_shards=1, n_instruments=1, **changes):
    """SESSION[1]: 1 ms each way, 0.1 ms inside, 100,000 of equity; `changes` by field name."""
    table = np.zeros(1, SESSION)
    defaults = {
        "order_latency_ns": MS,
        "report_latency_ns": MS,
        "internal_latency_ns": MS // 10,
        "totals_grid_ns": 100 * MS,
        "start_equity_e8": 100_000 * 10**8,
        "account": 1,
        "strategy": 1,
        "feed_generation": 1,
    }
    for name, value in {**defaults, "n_shards": n_shards, "n_instruments": n_instruments, **changes}.items():
        table[name] = value
    return table
