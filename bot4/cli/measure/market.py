"""The prepared input of the suites that step a shard: a seeded random walk of several instruments.

Everything is set so that no check stands in the way: every message may become an order, which is the dearest step.
"""

from typing import NamedTuple

import numpy as np

from bot4.engine.shard import load_loop, shard_memory, strategy_parameters
from bot4.engine.shard_loop import ShardMemory
from bot4.kernels.parameter import defaults
from bot4.model.enums import (
    FLAG_LAST,
    FLAG_SNAPSHOT,
    STATUS_CLEAR,
    STATUS_WHOLE,
    TICK_LEVEL,
    TICK_QUOTE,
    TICK_STATUS,
    TICK_TRADE,
)
from bot4.model.records import INSTRUMENT, LIMITS, SESSION, TICK

STRATEGY = "bot4.strategies.trend"
SEED = 20_260_101
START_NS = 1_700_000_000_000_000_000
BETWEEN_NS = 1_000_000  # event time between two ticks
BARS_TO_WARM = 64  # more than the slowest indicator of the built-in strategy needs
_LEVELS = 10
_START_TICKS = 6_000_000
_DAY_NS = 86_400_000_000_000


class Market(NamedTuple):
    """What a shard needs to run, and the ticks: the first `warm` of them make book and indicators whole."""

    instruments: np.ndarray  # INSTRUMENT[n]
    limits: np.ndarray  # LIMITS[1]
    session: np.ndarray  # SESSION[1]
    params: np.ndarray  # of the strategy [1]
    ticks: np.ndarray  # TICK[warm + n]
    warm: int


def market(n_instruments: int, n: int, trade_ratio: float, always: bool, in_turn: bool = False) -> Market:
    """A market of `n` ticks after the warm-up.

    Parameters
    ----------
    n_instruments : each tick belongs to a random one, or (`in_turn`) to the next
    n : ticks
    trade_ratio : share of trades, each of which closes a bar; the others are quotes
    always : True: every message makes an order; False: thresholds as in a paper session
    """
    rng = np.random.default_rng(SEED)
    warm = BARS_TO_WARM * n_instruments
    opening = _opening(n_instruments)
    walk = np.zeros(warm + n, TICK)
    whose = np.arange(n) % n_instruments if in_turn else rng.integers(0, n_instruments, n)
    walk["instrument"] = np.concatenate([np.tile(np.arange(n_instruments), BARS_TO_WARM), whose])
    trade = rng.random(warm + n) < trade_ratio
    trade[:warm] = True
    mid = _START_TICKS + np.cumsum(rng.integers(-3, 4, warm + n))
    walk["kind"] = np.where(trade, TICK_TRADE, TICK_QUOTE)
    walk["flags"] = FLAG_LAST
    walk["w0"] = np.where(trade, mid, mid - 1)
    walk["w1"] = rng.integers(1, 1_000, warm + n)
    walk["w2"] = np.where(trade, np.arange(warm + n), mid + 1)
    walk["w3"] = np.where(trade, rng.choice((-1, 1), warm + n), rng.integers(1, 1_000, warm + n))
    for i in range(n_instruments):
        mine = walk["instrument"] == i
        walk["event_no"][mine] = np.arange(1, mine.sum() + 1)
    ticks = np.concatenate([opening, walk])
    ticks["ts_recv_ns"] = START_NS + BETWEEN_NS * np.arange(len(ticks))
    chosen = defaults_of_strategy() | {"bar_ns": 0}
    if always:
        chosen |= {"enter_threshold": 0.0, "exit_threshold": 0.0}
    return Market(
        instruments=_instruments(n_instruments),
        limits=_limits(),
        session=_session(n_instruments),
        params=strategy_parameters(STRATEGY, chosen),
        ticks=ticks,
        warm=len(opening) + warm,
    )


def defaults_of_strategy() -> dict[str, int | float]:
    """The built-in strategy's own parameters."""
    from bot4.strategies.trend import PARAMETERS

    return defaults(PARAMETERS)


def shard_of(prepared: Market) -> ShardMemory:
    """A fresh shard 0 for this market."""
    return shard_memory(
        load_loop(STRATEGY), prepared.params, prepared.instruments, prepared.limits, prepared.session, 0, True
    )


def _opening(n_instruments: int) -> np.ndarray:
    """For each instrument: forget the book, ten levels a side, one quote, the book is whole. None of it is numbered."""
    records = []
    for i in range(n_instruments):
        rows = [(TICK_STATUS, STATUS_CLEAR, 0, 0, 0)]
        for level in range(_LEVELS):
            rows.append((TICK_LEVEL, _START_TICKS - 1 - level, 500, 1, 1))
            rows.append((TICK_LEVEL, _START_TICKS + 1 + level, 500, -1, 1))
        rows.append((TICK_QUOTE, _START_TICKS - 1, 500, _START_TICKS + 1, 500))
        rows.append((TICK_STATUS, STATUS_WHOLE, 0, 0, 0))
        part = np.zeros(len(rows), TICK)
        part["instrument"] = i
        part["kind"], part["w0"], part["w1"], part["w2"], part["w3"] = np.array(rows).T
        part["flags"] = FLAG_SNAPSHOT
        part["flags"][-1] = FLAG_SNAPSHOT | FLAG_LAST
        records.append(part)
    return np.concatenate(records)


def _instruments(n: int) -> np.ndarray:
    table = np.zeros(n, INSTRUMENT)
    table["index"] = np.arange(n)
    table["price_decimals"], table["qty_decimals"] = 2, 4
    table["tick_e8"], table["lot_e8"], table["value_e8"] = 1_000_000, 10_000, 100
    table["min_notional_e8"], table["min_qty_lots"], table["max_qty_lots"] = 500_000_000, 1, 10_000_000
    table["maker_fee_ppm"], table["taker_fee_ppm"] = 200, 500
    return table


def _limits() -> np.ndarray:
    row = np.zeros(1, LIMITS)
    row["position_bps"], row["collar_bps"], row["drawdown_bps"], row["daily_loss_bps"] = 200, 100, 1_500, 300
    row["order_notional_e8"], row["order_lots"], row["open_orders"] = 10**13, 10_000_000, 1_024
    row["bucket_tokens"], row["bucket_refill_ns"] = 1_000_000, 1
    for name in ("shard", "order", "message"):
        row[f"{name}_tokens"], row[f"{name}_refill_ns"] = 1_000_000, 1
    row["repeat_orders"], row["repeat_pause_ns"] = 2**62, 1
    row["stop_bps"], row["stop_loss_bps"], row["slippage_bps"] = 4_000, 1_000, 50
    row["stop_confirm_ns"], row["quote_age_ns"] = 10**9, _DAY_NS
    row["gross_bps"] = row["net_bps"] = row["venue_bps"] = row["strategy_bps"] = 2_000  # as large as people set them
    row["kill_daily_loss_bps"] = row["kill_drawdown_bps"] = 10_000
    row["streak_losses"], row["capital_e8"], row["correlation_bps"] = 1_000, 2**61, 10_000
    row["var_bps"] = row["shortfall_bps"] = 10_000
    row["var_confidence_bps"], row["var_horizon_s"] = 9_900, 86_400
    return row


def _session(n_instruments: int) -> np.ndarray:
    row = np.zeros(1, SESSION)
    row["order_latency_ns"], row["report_latency_ns"], row["internal_latency_ns"] = 1, 1, 1
    row["totals_grid_ns"], row["start_equity_e8"] = 100_000_000, 100_000 * 10**8
    row["account"], row["strategy"], row["feed_generation"] = 1, 1, 1
    row["n_shards"], row["n_instruments"], row["measure"] = 1, n_instruments, 1
    return row
